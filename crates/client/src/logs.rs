//! Verifying user logs and team logs from their first entry, and keeping what was verified.
//!
//! Everything here takes what the service said and what was verified before, and gives what is verified now or
//! [`Error::Tampered`]. The rules themselves are `osmynt-core`'s; added are the signatures, the pinned heads, and the
//! memory of how things stood at earlier entries, which it takes to judge a snippet that was made then.

use std::collections::BTreeMap;

use osmynt_core::api::{DirectoryUser, LoggedEntry};
use osmynt_core::statement::{InviteProof, PrekeyKind, PrekeyStatement, SnippetStatement, TeamEntry, UserEntry};
use osmynt_core::teamlog::{
    CommitEntry, DeviceSpan, Directory, Epoch, Role, Rotation, TeamEvent, TeamState, check_snippet,
};
use osmynt_core::userlog::{Snapshot, UserLog};
use osmynt_core::{
    DeviceId, Hash, Head, PublicKey, Refusal, SealedBox, SnippetId, TeamId, Time, Unverified, UserId, Verified, limits,
};
use serde::{Deserialize, Serialize};

use crate::keys::{verify, verify_parsed};
use crate::{Error, Result};

/// A user log that was verified from its first entry, with the entries to prove it again.
#[derive(Debug, Clone)]
pub struct VerifiedUser {
    log: UserLog,
    entries: Vec<LoggedEntry>,
}

impl VerifiedUser {
    /// Verifies all of a user's log.
    pub fn verify(user: UserId, entries: Vec<LoggedEntry>) -> Result<Self> {
        let mut log = UserLog::new(user);
        for (seq, entry) in entries.iter().enumerate() {
            apply_user_entry(&mut log, entry)
                .map_err(|refusal| Error::tampered(format_args!("entry {seq} of the user log of {user}"), &refusal))?;
        }
        if log.head().is_none() {
            return Err(tampered(format!("the user log of {user} is empty")));
        }
        Ok(Self { log, entries })
    }

    /// Refuses this log unless it contains the head that was verified before: anything else is a fork or a rollback.
    pub fn continues(&self, pinned: Head) -> Result<()> {
        let user = self.log.user();
        match self.log.hash_at(pinned.seq) {
            Some(hash) if hash == pinned.hash => Ok(()),
            Some(_) => Err(tampered(format!(
                "the service shows another log of user {user} than before: entry {} is not the one seen earlier (a fork)",
                pinned.seq
            ))),
            None => Err(tampered(format!(
                "the service shows an older log of user {user} than before: it lacks entry {} (a rollback)",
                pinned.seq
            ))),
        }
    }

    /// The log.
    pub const fn log(&self) -> &UserLog {
        &self.log
    }

    /// Its entries, as they were received.
    pub fn entries(&self) -> &[LoggedEntry] {
        &self.entries
    }

    /// Its identity. A verified log is never empty.
    pub fn identity(&self) -> Result<Hash> {
        self.log.identity().ok_or_else(|| tampered("a user log is empty"))
    }

    /// Checks that a prekey belongs to one of the log's active devices. Gives that device and the prekey.
    pub fn prekey(&self, compact: &str) -> Result<(DeviceId, PublicKey), Refusal> {
        let unknown = || {
            Refusal::new(osmynt_core::Code::Forbidden, "a prekey is signed by a device that is not active in the log")
        };
        let statement = Unverified::<PrekeyStatement>::parse(compact)?;
        let device = DeviceId(statement.kid());
        let (_, known) = self.log.active().find(|(id, _)| **id == device).ok_or_else(unknown)?;
        let statement = verify_parsed(statement, &known.key)?;
        let PrekeyStatement { user, kind: PrekeyKind::Signed, key, .. } = *statement.payload();
        if user == self.log.user() { Ok((device, key)) } else { Err(unknown()) }
    }
}

fn apply_user_entry(log: &mut UserLog, entry: &LoggedEntry) -> Result<(), Refusal> {
    let statement = Unverified::<UserEntry>::parse(&entry.jws)?;
    let key = log.author_key(&statement)?;
    let statement = verify_parsed(statement, &key)?;
    let device = match statement.payload().event.added_device() {
        Some(compact) => {
            let said = Unverified::<osmynt_core::statement::DeviceStatement>::parse(compact)?;
            let own = said.payload().jwk;
            Some(verify_parsed(said, &own)?)
        }
        None => None,
    };
    log.apply(&statement, device.as_ref(), entry.received_at)
}

/// The verified user logs that it takes to verify a team, and their devices' prekeys.
#[derive(Debug, Clone, Default)]
pub struct People {
    users: BTreeMap<UserId, VerifiedUser>,
    prekeys: BTreeMap<DeviceId, PublicKey>,
}

impl People {
    /// Verifies what the directory says of somebody and adds them. `pinned` is the head that was verified before.
    pub fn add(&mut self, said: DirectoryUser, pinned: Option<Head>) -> Result<()> {
        let user = VerifiedUser::verify(said.user, said.log)?;
        if let Some(pinned) = pinned {
            user.continues(pinned)?;
        }
        for compact in &said.prekeys {
            let (device, key) = user
                .prekey(compact)
                .map_err(|refusal| Error::tampered(format_args!("a prekey of {}", said.user), &refusal))?;
            self.prekeys.insert(device, key);
        }
        self.insert(user);
        Ok(())
    }

    /// Adds somebody who was verified elsewhere.
    pub fn insert(&mut self, user: VerifiedUser) {
        self.users.insert(user.log.user(), user);
    }

    /// Adds a device's prekey that needs no proof: one's own.
    pub fn insert_prekey(&mut self, device: DeviceId, key: PublicKey) {
        self.prekeys.insert(device, key);
    }

    /// Somebody.
    pub fn user(&self, user: UserId) -> Option<&VerifiedUser> {
        self.users.get(&user)
    }

    /// Everybody, ascending.
    pub fn users(&self) -> impl Iterator<Item = &VerifiedUser> {
        self.users.values()
    }

    /// The head of somebody's log, as verified.
    pub fn head(&self, user: UserId) -> Option<Head> {
        self.users.get(&user)?.log.head()
    }

    /// The prekey to seal to a device with.
    pub fn prekey_of(&self, device: DeviceId) -> Result<&PublicKey> {
        self.prekeys.get(&device).ok_or_else(|| {
            tampered(format!("the service gives no prekey of the device {device}, which is active in its user's log"))
        })
    }
}

impl Directory for People {
    fn device(&self, user: UserId, device: DeviceId) -> Option<DeviceSpan> {
        let device = self.users.get(&user)?.log.device(&device)?;
        Some(DeviceSpan { key: device.key, identity: device.identity, revoked: device.revoked })
    }

    fn at(&self, user: UserId, head: Head) -> Option<Snapshot> {
        self.users.get(&user)?.log.at(head)
    }
}

/// A team log that was verified from its first entry: how things stand, and how they stood.
///
/// Its serialization is what a home keeps between two commands, so that the log is verified once and then followed.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TeamView {
    state: TeamState,
    /// Hash and time of receipt of each entry.
    entries: Vec<(Hash, Time)>,
    /// Each epoch, from 1, and who began it.
    epochs: Vec<EpochBegun>,
    /// How each user stood, since which entry; none when they were not a member.
    standings: BTreeMap<UserId, Vec<(u64, Option<Standing>)>>,
    /// The profile that an owner or admin sealed last.
    vouched_profile: Option<SealedProfile>,
    /// The profile that anybody sealed last.
    last_profile: Option<SealedProfile>,
    /// The last entry that this device committed. It was not read back yet, but the log must have it from now on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    committed: Option<Head>,
}

/// An epoch, and who began it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EpochBegun {
    /// The epoch.
    pub epoch: Epoch,
    /// The device that made its key and sealed it to the others.
    pub by: DeviceId,
}

/// How a member stood at some entry of the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Standing {
    /// The identity that was the member.
    pub identity: Hash,
    /// The devices that the latest rotation counted.
    pub devices: Vec<DeviceId>,
}

/// A profile as it stands in the log.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SealedProfile {
    /// Position of the entry.
    pub seq: u64,
    /// The epoch whose key it is sealed under.
    pub epoch: u64,
    /// The sealed profile.
    pub sealed: SealedBox,
}

impl TeamView {
    /// Verifies a team's log from its first entry. `entries` are all there are.
    pub fn begin(team: TeamId, entries: &[LoggedEntry], people: &People) -> Result<Self> {
        let broken = |refusal: &Refusal| Error::tampered(format_args!("entry 0 of the team log of {team}"), refusal);
        let (first, rest) =
            entries.split_first().ok_or_else(|| tampered(format!("the log of team {team} is empty")))?;
        let entry = parse_entry(first, None, people).map_err(|refusal| broken(&refusal))?;
        let state = TeamState::found(&entry.entry, first.received_at, people).map_err(|refusal| broken(&refusal))?;
        if state.team() != team {
            return Err(tampered(format!("the service shows the log of team {} as that of {team}", state.team())));
        }
        let mut view = Self {
            state,
            entries: vec![(entry.entry.hash(), first.received_at)],
            epochs: Vec::new(),
            standings: BTreeMap::new(),
            vouched_profile: None,
            last_profile: None,
            committed: None,
        };
        view.note_standings(0);
        view.follow(rest, people)?;
        Ok(view)
    }

    /// Follows the log from its pinned head: the first of `entries` is the one at that head, the others are all there
    /// are after it. On an error the view is spoilt and must not be kept.
    pub fn resume(mut self, entries: &[LoggedEntry], people: &People) -> Result<Self> {
        let team = self.state.team();
        let head = self.state.head();
        let (pinned, rest) = entries.split_first().ok_or_else(|| {
            tampered(format!(
                "the service shows an older log of team {team} than before: it lacks entry {} (a rollback)",
                head.seq
            ))
        })?;
        let shown = Unverified::<TeamEntry>::parse(&pinned.jws).map_err(|refusal| {
            Error::tampered(format_args!("entry {} of the team log of {team}", head.seq), &refusal)
        })?;
        if shown.hash() != head.hash {
            return Err(tampered(format!(
                "the service shows another log of team {team} than before: entry {} is not the one seen earlier (a fork)",
                head.seq
            )));
        }
        self.follow(rest, people)?;
        Ok(self)
    }

    fn follow(&mut self, entries: &[LoggedEntry], people: &People) -> Result<()> {
        let team = self.state.team();
        for logged in entries {
            let seq = self.state.head().seq.saturating_add(1);
            self.apply(logged, people)
                .map_err(|refusal| Error::tampered(format_args!("entry {seq} of the team log of {team}"), &refusal))?;
        }
        self.state.settled().map_err(|refusal| Error::tampered(format_args!("the log of team {team}"), &refusal))?;
        if self.committed.is_some_and(|own| !self.contains(own)) {
            return Err(tampered(format!(
                "the service shows a log of team {team} without what this device did (a rollback)"
            )));
        }
        Ok(())
    }

    /// Remembers that the service has taken a commit of this device, of which `head` is the last entry.
    pub const fn expect(&mut self, head: Head) {
        self.committed = Some(head);
    }

    fn apply(&mut self, logged: &LoggedEntry, people: &People) -> Result<(), Refusal> {
        let entry = parse_entry(logged, Some(&self.state), people)?;
        let said = entry.entry.payload();
        // The author's role is that before the entry: nobody renames a team by the entry that ends their membership.
        let vouched = self.state.members().get(&said.user).is_some_and(|member| member.role > Role::Member);
        self.state.apply(&entry, logged.received_at, people)?;
        let seq = self.state.head().seq;
        let profile = match &said.event {
            TeamEvent::KeyRotated(Rotation { epoch, profile, .. }) => {
                if let Some(epoch) = self.state.epoch() {
                    self.epochs.push(EpochBegun { epoch, by: DeviceId(entry.entry.kid()) });
                }
                Some((*epoch, profile))
            }
            TeamEvent::ProfileChanged { epoch, profile } => Some((*epoch, profile)),
            _ => None,
        };
        if let Some((epoch, sealed)) = profile {
            let profile = SealedProfile { seq, epoch, sealed: sealed.clone() };
            if vouched {
                self.vouched_profile = Some(profile.clone());
            }
            self.last_profile = Some(profile);
        }
        self.entries.push((entry.entry.hash(), logged.received_at));
        self.note_standings(seq);
        Ok(())
    }

    /// Writes down whose standing the entry at `seq` has changed.
    fn note_standings(&mut self, seq: u64) {
        for user in self.state.everyone() {
            let now = self
                .state
                .members()
                .get(user)
                .map(|member| Standing { identity: member.identity, devices: member.devices.clone() });
            let past = self.standings.entry(*user).or_default();
            if past.last().map(|(_, standing)| standing) != Some(&now) {
                past.push((seq, now));
            }
        }
    }
}

// What the log says.
impl TeamView {
    /// How things stand.
    pub const fn state(&self) -> &TeamState {
        &self.state
    }

    /// The number of entries.
    pub fn entry_count(&self) -> u64 {
        self.entries.len() as u64
    }

    /// Whether the log contains that head.
    pub fn contains(&self, head: Head) -> bool {
        self.entry(head.seq).is_some_and(|(hash, _)| *hash == head.hash)
    }

    /// An epoch that is or was.
    pub fn epoch(&self, number: u64) -> Option<&EpochBegun> {
        let index = usize::try_from(number.checked_sub(1)?).ok()?;
        self.epochs.get(index).filter(|begun| begun.epoch.number == number)
    }

    /// The epoch that was current when the entry at `seq` was the last.
    pub fn epoch_at(&self, seq: u64) -> Option<&EpochBegun> {
        self.epochs.iter().rev().find(|begun| begun.epoch.seq <= seq)
    }

    /// How a user stood when the entry at `seq` was the last; none if they were not a member.
    pub fn standing_at(&self, user: UserId, seq: u64) -> Option<&Standing> {
        let standings = self.standings.get(&user)?;
        let (_, standing) = standings.iter().rev().find(|(since, _)| *since <= seq)?;
        standing.as_ref()
    }

    /// The profile that an owner or admin sealed last, and the one that anybody did.
    pub fn profiles(&self) -> (Option<&SealedProfile>, Option<&SealedProfile>) {
        (self.vouched_profile.as_ref(), self.last_profile.as_ref())
    }

    /// Whether the epoch has ended, given the verified user logs.
    pub fn stale(&self, now: Time, people: &People) -> bool {
        self.state.stale(now, |user| people.head(user))
    }

    fn entry(&self, seq: u64) -> Option<&(Hash, Time)> {
        self.entries.get(usize::try_from(seq).ok()?)
    }
}

/// Verifies the statement of a snippet (`docs/protocol.md` section 11, point 5): that a device signed it which its
/// author, a member at the head that it names, had then; that the head is in the log; and that it names the epoch of
/// that time.
///
/// `expected` is the snippet that was asked for, if one was. `received_at` is when the service says to have received
/// it; a file does not tell.
pub fn verify_snippet(
    view: &TeamView,
    people: &People,
    compact: &str,
    expected: Option<SnippetId>,
    received_at: Option<Time>,
) -> Result<Verified<SnippetStatement>> {
    let broken = |refusal: &Refusal| Error::tampered("the snippet's statement", refusal);
    let statement = Unverified::<SnippetStatement>::parse(compact).map_err(|refusal| broken(&refusal))?;
    let said = statement.payload();
    let (team, user, head) = (said.team, said.user, said.head);
    if team != view.state.team() {
        return Err(tampered(format!("the service shows a snippet of team {team} as one of {}", view.state.team())));
    }
    if let Some(expected) = expected.filter(|expected| *expected != said.snippet) {
        return Err(tampered(format!("the service shows the snippet {} as {expected}", said.snippet)));
    }
    if !view.contains(head) {
        return Err(tampered(format!("the snippet {} names a state of the team log that never was", said.snippet)));
    }
    let device = DeviceId(statement.kid());
    let standing = view.standing_at(user, head.seq).ok_or_else(|| {
        tampered(format!("the snippet {} is signed in the name of {user}, who was not a member then", said.snippet))
    })?;
    let known = people
        .device(user, device)
        .filter(|known| known.identity == standing.identity && standing.devices.contains(&device));
    let known = known.ok_or_else(|| {
        tampered(format!("the snippet {} is signed by a device that was not its author's then", said.snippet))
    })?;
    if view.epoch_at(head.seq).map(|begun| begun.epoch.number) != Some(said.audience.epoch()) {
        return Err(tampered(format!("the snippet {} names an epoch that was not current then", said.snippet)));
    }
    check_times(view, said, received_at)?;
    let statement = verify_parsed(statement, &known.key).map_err(|refusal| broken(&refusal))?;
    check_snippet(statement.payload(), received_at.unwrap_or(statement.payload().iat))
        .map_err(|refusal| broken(&refusal))?;
    Ok(statement)
}

/// A snippet is received while its head is the last entry: after that entry, and before the next.
fn check_times(view: &TeamView, said: &SnippetStatement, received_at: Option<Time>) -> Result<()> {
    let received = |seq: u64| view.entry(seq).map(|(_, received_at)| *received_at);
    let time = received_at.unwrap_or(said.iat);
    let too_early = received(said.head.seq).is_some_and(|begun| time.plus(limits::CLOCK_SKEW) < begun);
    let next = said.head.seq.checked_add(1).and_then(received);
    let too_late = next.is_some_and(|ended| ended.plus(limits::CLOCK_SKEW) < time);
    if too_early || too_late {
        return Err(tampered(format!("the snippet {} does not fit the team log's times", said.snippet)));
    }
    Ok(())
}

/// Parses an entry of a team log and verifies its signature, and that of the proof inside a `member.joined`.
/// `state` is that before the entry; none for the first.
fn parse_entry(logged: &LoggedEntry, state: Option<&TeamState>, people: &People) -> Result<CommitEntry, Refusal> {
    let entry = Unverified::<TeamEntry>::parse(&logged.jws)?;
    let key = TeamState::author_key(&entry, people)?;
    with_proof(verify_parsed(entry, &key)?, state, logged.received_at)
}

/// Adds the proof inside a `member.joined`, verified with the key of the open invitation that it names. Without such
/// an invitation there is no proof, and the rules refuse the entry.
pub(crate) fn with_proof(
    entry: Verified<TeamEntry>,
    state: Option<&TeamState>,
    received_at: Time,
) -> Result<CommitEntry, Refusal> {
    let proof = match (&entry.payload().event, state) {
        (TeamEvent::MemberJoined { invite, proof, .. }, Some(state)) => state
            .open_invites(received_at)
            .find(|(id, _)| id == invite)
            .map(|(_, open)| verify::<InviteProof>(proof, &open.key))
            .transpose()?,
        _ => None,
    };
    Ok(CommitEntry { entry, proof })
}

fn tampered(what: impl Into<String>) -> Error {
    Error::Tampered { what: what.into() }
}
