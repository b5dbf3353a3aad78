//! Building a commit: signed entries and, with a rotation, a new team key sealed to every device of the members.
//!
//! Pure: it takes a verified state, verified people, a time and random bytes, and runs the very check that the service
//! runs before it gives the commit out. So a commit that the rules forbid is refused here, in the same words.

use osmynt_core::api;
use osmynt_core::statement::TeamEntry;
use osmynt_core::teamlog::{CommitEntry, Directory as _, Rotation, TeamEvent, TeamState};
use osmynt_core::{DeviceId, Time, Unverified, UserId, labels};

use crate::keys::{RustCrypto, Signer, checked};
use crate::logs::People;
use crate::seal::{self, Key, Purpose};
use crate::{Error, Result};

/// A commit, ready to be sent.
#[derive(Debug)]
pub struct Built {
    /// What to send.
    pub request: api::Commit,
    /// The state after it.
    pub state: TeamState,
    /// The new team key, if it rotates.
    pub team_key: Option<Key>,
}

/// Who commits, and with what.
#[derive(Debug)]
pub struct Author<'a> {
    /// The user.
    pub user: UserId,
    /// The device's key.
    pub signer: &'a Signer,
    /// This machine's time.
    pub now: Time,
}

/// Builds a commit of `events` after `current` (none to found a team), ending with `key.rotated` if `rotate_as` gives
/// the team's name to seal. `random` gives 32 fresh bytes at each call.
pub fn build(
    current: Option<&TeamState>,
    events: Vec<TeamEvent>,
    rotate_as: Option<&str>,
    author: &Author<'_>,
    people: &People,
    mut random: impl FnMut() -> Result<[u8; 32]>,
) -> Result<Built> {
    let mut chain = Chain { state: current.cloned(), entries: Vec::new(), author, people };
    for event in events {
        chain.append(event)?;
    }
    let mut envelopes = Vec::new();
    let mut team_key = None;
    if let (Some(name), Some(state)) = (rotate_as, &chain.state) {
        let key = Key::new(random()?);
        let (rotation, sealed) = rotate(state, name, author, people, &key, &mut random)?;
        envelopes = sealed;
        team_key = Some(key);
        chain.append(TeamEvent::KeyRotated(rotation))?;
    }
    let entries = chain.entries;
    let state = TeamState::commit(current, &entries, &envelopes, author.now, people)?;
    let entries = entries.iter().map(|entry| entry.entry().compact().to_owned()).collect();
    Ok(Built { request: api::Commit { entries, envelopes }, state, team_key })
}

/// Entries that each continue the one before.
struct Chain<'a> {
    state: Option<TeamState>,
    entries: Vec<CommitEntry>,
    author: &'a Author<'a>,
    people: &'a People,
}

impl Chain<'_> {
    fn append(&mut self, event: TeamEvent) -> Result<()> {
        let head = self.state.as_ref().map(TeamState::head);
        let statement = self.author.signer.sign(&TeamEntry {
            team: self.state.as_ref().map(TeamState::team),
            seq: head.map_or(0, |head| head.seq.saturating_add(1)),
            prev: head.map(|head| head.hash),
            iat: self.author.now,
            user: self.author.user,
            event,
        })?;
        // The service's clock may be a little ahead; receipt times never step back.
        let received_at = self.state.as_ref().map_or(self.author.now, |state| state.received_at().max(self.author.now));
        let (key, state) = (self.author.signer.public(), self.state.as_ref());
        let entry = Unverified::parse(&statement)?;
        let entry = checked(CommitEntry::verify(entry, key, state, received_at, &RustCrypto))?;
        match &mut self.state {
            Some(state) => state.apply(&entry, received_at, self.people)?,
            None => self.state = Some(TeamState::found(&entry, received_at, self.people)?),
        }
        self.entries.push(entry);
        Ok(())
    }
}

/// `key.rotated` for the members of `state`, as their verified user logs have them now.
fn rotate(
    state: &TeamState,
    name: &str,
    author: &Author<'_>,
    people: &People,
    key: &Key,
    random: &mut impl FnMut() -> Result<[u8; 32]>,
) -> Result<(Rotation, Vec<osmynt_core::Envelope>)> {
    let team = state.team();
    let epoch = state.epoch().map_or(0, |epoch| epoch.number).saturating_add(1);
    let sender = DeviceId(author.signer.kid());
    let mut seqs = Vec::with_capacity(state.members().len());
    let mut heads = Vec::with_capacity(state.members().len());
    let mut devices = Vec::new();
    for user in state.members().keys() {
        let missing = || Error::Tampered { what: format!("the service hides the user log of the member {user}") };
        let head = people.head(*user).ok_or_else(missing)?;
        let snapshot = people.at(*user, head.seq).ok_or_else(missing)?;
        seqs.push(head.seq);
        heads.push((*user, head));
        devices.extend(snapshot.devices.into_iter().map(|device| (*user, device)));
    }
    let mut envelopes = Vec::with_capacity(devices.len());
    for (user, device) in &devices {
        let prekey = people.prekey_of(*user, *device)?;
        let purpose = Purpose::TeamKey { team, epoch };
        envelopes.push(seal::seal_envelope(key, purpose, sender, *device, prekey, &random()?)?);
    }
    let rotation = Rotation {
        epoch,
        seqs,
        heads: labels::head_set(heads),
        devices: labels::device_set(devices),
        envelopes: labels::envelope_set(&envelopes),
        commitment: key.commitment(&labels::commit_team_key(team, epoch)),
        profile: seal::seal_profile(key, team, epoch, name, seal::nonce(random()?))?,
    };
    Ok((rotation, envelopes))
}
