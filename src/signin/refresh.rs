//! Refreshing tokens (section 9 of the protocol): each refresh token is used once, and who uses one a second time is told
//! from who repeats a request whose answer was lost.
//!
//! A client stores an idempotency key before it first sends a request, and repeats the request with the same key. So two
//! keys for one token come from two holders of the token, and the service cannot know which of them is the thief: the
//! session ends for both. What a thief got before that is worth nothing afterwards, as access tokens belong to a
//! generation as well.

use osmynt_core::Bytes;

/// What a client sends along with a refresh token, the same for each repetition.
pub(crate) type IdempotencyKey = Bytes<16>;

/// What becomes of a request to replace the tokens of some generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The tokens of the next generation, which is the latest.
    Successor,
    /// A late repetition: the tokens that it asks for were replaced as well. Refused, and no harm done.
    Superseded,
    /// Somebody has used the token under another key: the session ends.
    Reused,
}

/// Judges a request for the successor of generation `presented`, after it was noted as the one use of that generation if
/// there was none: `recorded` is the key of that use, `current` the session's generation by now.
pub(crate) fn judge(presented: u64, key: IdempotencyKey, recorded: IdempotencyKey, current: u64) -> Verdict {
    if key != recorded {
        Verdict::Reused
    } else if presented.checked_add(1) == Some(current) {
        Verdict::Successor
    } else {
        Verdict::Superseded
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A session as D1 has it: the key by which each generation was used. Its length is the generation.
    #[derive(Clone, Default)]
    struct Session {
        used: Vec<IdempotencyKey>,
        ended: bool,
    }

    impl Session {
        fn generation(&self) -> u64 {
            self.used.len() as u64
        }

        /// The generation that the caller has tokens of now.
        fn refresh(&mut self, presented: u64, key: IdempotencyKey) -> Option<u64> {
            if self.ended {
                return None;
            }
            if presented == self.generation() {
                self.used.push(key);
            }
            let recorded = *self.used.get(usize::try_from(presented).unwrap())?;
            match judge(presented, key, recorded, self.generation()) {
                Verdict::Successor => Some(self.generation()),
                Verdict::Superseded => None,
                Verdict::Reused => {
                    self.ended = true;
                    None
                }
            }
        }

        fn accepts(&self, generation: u64) -> bool {
            !self.ended && generation == self.generation()
        }
    }

    /// What somebody holds: tokens of a generation, and the key of a refresh that was not answered.
    #[derive(Clone, Copy)]
    struct Holder {
        generation: u64,
        pending: Option<IdempotencyKey>,
    }

    #[derive(Clone)]
    struct World {
        session: Session,
        owner: Holder,
        thief: Option<Holder>,
        /// Every request of the owner's, to arrive a second time at any later moment.
        sent: Vec<(u64, IdempotencyKey)>,
        keys: u8,
        /// Whether the owner's pending refresh was begun after the theft.
        begun_since: bool,
        /// Whether the service has heard of a refresh that the owner began after the theft.
        refreshed_since: bool,
    }

    impl World {
        fn key(&mut self) -> IdempotencyKey {
            self.keys = self.keys.wrapping_add(1);
            Bytes([self.keys; 16])
        }

        /// One refresh, as a client does it: the pending key if there is one, else a new one that is pending first.
        fn owner_sends(&mut self, arrives: bool, is_answered: bool) {
            if self.owner.pending.is_none() {
                self.begun_since = self.thief.is_some();
            }
            let key = self.owner.pending.unwrap_or_else(|| self.key());
            self.owner.pending = Some(key);
            if !arrives {
                return;
            }
            self.refreshed_since |= self.begun_since;
            self.sent.push((self.owner.generation, key));
            let answer = self.session.refresh(self.owner.generation, key);
            if let Some(generation) = answer.filter(|_| is_answered) {
                self.owner = Holder { generation, pending: None };
            }
        }

        fn thief_sends(&mut self, with_pending: bool) {
            let Some(thief) = self.thief else { return };
            let own = self.key();
            let key = thief.pending.filter(|_| with_pending).unwrap_or(own);
            if let Some(generation) = self.session.refresh(thief.generation, key) {
                self.thief = Some(Holder { generation, pending: None });
            }
        }

        fn act(&mut self, action: u8) {
            match action {
                0 => self.owner_sends(true, true),
                1 => self.owner_sends(true, false),
                2 => self.owner_sends(false, false),
                3 => {
                    for (generation, key) in self.sent.clone() {
                        let _ = self.session.refresh(generation, key);
                    }
                }
                4 => {
                    self.thief = Some(self.owner);
                    self.begun_since = false;
                    self.refreshed_since = false;
                }
                5 => self.thief_sends(false),
                _ => self.thief_sends(true),
            }
        }

        fn check(&self, history: &[u8]) {
            match self.thief {
                None => {
                    assert!(!self.session.ended, "the owner alone was signed out by {history:?}");
                    let holds = self.owner.generation;
                    let can_go_on = self.session.accepts(holds) || self.owner.pending.is_some();
                    assert!(can_go_on, "the owner alone lost the session by {history:?}");
                }
                Some(thief) if self.refreshed_since => {
                    assert!(!self.session.accepts(thief.generation), "the thief still acts after {history:?}");
                    for key in [Some(Bytes([255; 16])), thief.pending].into_iter().flatten() {
                        let answer = self.session.clone().refresh(thief.generation, key);
                        assert_eq!(answer, None, "the thief still refreshes after {history:?}");
                    }
                }
                Some(_) => {}
            }
        }
    }

    /// Every sequence of: the owner refreshes; the answer is lost; the request is lost; all earlier requests arrive again; a
    /// thief copies all that the owner has; the thief refreshes, with a key of their own or the one that they found.
    #[test]
    fn no_interleaving_leaves_a_thief_with_a_session_or_signs_an_owner_out_who_is_alone() {
        fn explore(world: &World, history: &mut Vec<u8>, depth: usize) {
            world.check(history);
            if depth == 0 {
                return;
            }
            for action in 0..7 {
                let mut next = world.clone();
                next.act(action);
                history.push(action);
                explore(&next, history, depth - 1);
                history.pop();
            }
        }
        let owner = Holder { generation: 0, pending: None };
        let world = World {
            session: Session::default(),
            owner,
            thief: None,
            sent: Vec::new(),
            keys: 0,
            begun_since: false,
            refreshed_since: false,
        };
        explore(&world, &mut Vec::new(), 7);
    }

    #[test]
    fn a_late_repetition_is_refused_without_ending_anything() {
        let (first, second) = (Bytes([1; 16]), Bytes([2; 16]));
        let mut session = Session::default();
        assert_eq!(session.refresh(0, first), Some(1));
        assert_eq!(session.refresh(0, first), Some(1));
        assert_eq!(session.refresh(1, second), Some(2));
        assert_eq!(session.refresh(0, first), None);
        assert!(session.accepts(2));
    }
}
