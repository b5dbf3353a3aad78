//! Verifying user logs and team logs from their first entry, and keeping what was verified.
//!
//! Everything here takes what the service said and what was verified before, and gives what is verified now or
//! [`Error::Tampered`]. The rules themselves are `osmynt-core`'s; added are the pinned heads, the times of the last reading
//! ([`Window`]), and the memory of how things stood at earlier entries, which it takes to judge a snippet that was made then.

use std::collections::BTreeMap;

use osmynt_core::api::{DirectoryUser, LoggedEntry};
use osmynt_core::names::Name;
use osmynt_core::statement::{PrekeyKind, PrekeyStatement, SnippetStatement, TeamEntry, UserEntry, parse_prekey};
use osmynt_core::teamlog::{
    CommitEntry, Directory, Epoch, Member, Role, Rotation, TeamEvent, TeamState, check_snippet,
};
use osmynt_core::userlog::{Device, Snapshot, UserLog};
use osmynt_core::{
    Code, DeviceId, Hash, Head, KeyId, PublicKey, Refusal, SealedBox, SnippetId, TeamId, Time, Unverified, UserId,
    Verified, Window, limits,
};
use serde::{Deserialize, Serialize};

use crate::keys::{RustCrypto, checked};
use crate::{Error, Result};

/// A user log that was verified from its first entry, and what the user is called.
#[derive(Debug, Clone)]
pub struct VerifiedUser {
    user: UserId,
    log: UserLog,
    entries: Vec<LoggedEntry>,
    name: Option<Name>,
    pinned: Option<Name>,
}

/// What a home keeps of a verified user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeptUser {
    /// The entries of the log, each of which was verified.
    entries: Vec<LoggedEntry>,
    /// What the last `name.signed` opens to, as it was shown last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<Name>,
    /// The name that the person at this machine knows the user by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pinned: Option<Name>,
}

impl VerifiedUser {
    /// Verifies all of a log of which nothing was known before.
    pub fn verify(user: UserId, entries: &[LoggedEntry], window: &Window) -> Result<Self> {
        let mut verified = Self::unknown(user);
        verified.take(0, entries, window)?;
        verified.check_begun()?;
        Ok(verified)
    }

    /// Somebody of whom nothing was read yet.
    pub(crate) fn unknown(user: UserId) -> Self {
        Self { user, log: UserLog::new(), entries: Vec::new(), name: None, pinned: None }
    }

    /// Somebody as they were kept. Their log was verified before it was.
    pub(crate) fn restore(user: UserId, kept: KeptUser) -> Result<Self> {
        let KeptUser { entries, name, pinned } = kept;
        let log = UserLog::restore(entries.iter().map(|entry| (entry.jws.as_str(), entry.received_at)))
            .ok()
            .filter(|log| log.user() == Some(user))
            .ok_or_else(|| Error::Internal { why: format!("what this home keeps of the user {user} is damaged") })?;
        Ok(Self { user, log, entries, name, pinned })
    }

    /// What a home keeps.
    pub(crate) fn kept(&self) -> KeptUser {
        KeptUser { entries: self.entries.clone(), name: self.name.clone(), pinned: self.pinned.clone() }
    }

    /// Reads the entries from position `from` on, which is not beyond the end: those that are known must be the same ones,
    /// new ones are verified and were received in the window. On an error the log is spoilt and must not be kept.
    pub fn take(&mut self, from: usize, entries: &[LoggedEntry], window: &Window) -> Result<()> {
        let user = self.user;
        if from.saturating_add(entries.len()) > limits::USER_LOG_ENTRIES {
            return Err(tampered(format!("the user log of {user} has more than 256 entries")));
        }
        for (seq, entry) in (from..).zip(entries) {
            let broken =
                |refusal: &Refusal| Error::tampered(format_args!("entry {seq} of the user log of {user}"), refusal);
            match self.entries.get(seq) {
                Some(known) if known.jws == entry.jws => {}
                Some(_) => {
                    let shown = Unverified::<UserEntry>::parse(&entry.jws).map_err(|refusal| broken(&refusal))?;
                    if self.log.hash_at(seq as u64) != Some(shown.hash()) {
                        return Err(tampered(format!(
                            "the service shows another log of user {user} than before: entry {seq} is not the one seen earlier (a fork)"
                        )));
                    }
                }
                None => {
                    window.check(entry.received_at).map_err(|refusal| broken(&refusal))?;
                    checked(self.log.take(&entry.jws, entry.received_at, &RustCrypto))
                        .map_err(|refusal| broken(&refusal))?;
                    if self.log.user() != Some(user) {
                        return Err(tampered(format!("the service shows another user's log as that of {user}")));
                    }
                    self.entries.push(entry.clone());
                }
            }
        }
        Ok(())
    }

    /// Refuses a log that was shown with `shown` entries, unless it was shown whole: with all that was seen before.
    pub fn check_whole(&self, shown: usize) -> Result<()> {
        if shown >= self.entries.len() {
            return self.check_begun();
        }
        Err(tampered(format!(
            "the service shows an older log of user {} than before: it lacks entry {shown} (a rollback)",
            self.user
        )))
    }

    fn check_begun(&self) -> Result<()> {
        if self.entries.is_empty() {
            return Err(tampered(format!("the user log of {} is empty", self.user)));
        }
        Ok(())
    }

    /// Takes what the service says the last `name.signed` opens to, if it does.
    pub fn take_name(&mut self, opening: Option<Name>) {
        let opens = |name: &Name| self.log.name().is_some_and(|signed| name.opens(self.user, signed).unwrap_or(false));
        self.name = opening.filter(opens);
    }

    /// Lets the person know the user by their present name from now on, if they know them by none or `anew`.
    pub(crate) fn pin_name(&mut self, anew: bool) {
        if let Some(name) = self.name.as_ref().filter(|_| anew || self.pinned.is_none()) {
            self.pinned = Some(name.clone());
        }
    }

    /// Who.
    pub const fn user(&self) -> UserId {
        self.user
    }

    /// The log. Never empty, once it was read.
    pub const fn log(&self) -> &UserLog {
        &self.log
    }

    /// Its entries, as they were received.
    pub fn entries(&self) -> &[LoggedEntry] {
        &self.entries
    }

    /// What the last `name.signed` opens to; none if the service shows nothing that it opens to.
    pub const fn name(&self) -> Option<&Name> {
        self.name.as_ref()
    }

    /// The name that the person at this machine knows the user by.
    pub const fn pinned_name(&self) -> Option<&Name> {
        self.pinned.as_ref()
    }

    /// Checks that a prekey belongs to one of the log's active devices. Gives that device and the prekey; none for a kind of
    /// prekey that this version does not know.
    pub fn prekey(&self, compact: &str) -> Result<Option<(DeviceId, PublicKey)>, Refusal> {
        let unknown = || Refusal::new(Code::Forbidden, "a prekey is signed by a device that is not active in the log");
        let Some(statement) = parse_prekey(compact)? else { return Ok(None) };
        let device = DeviceId(statement.kid());
        let known = self.log.device(&device).filter(|known| known.revoked.is_none()).ok_or_else(unknown)?;
        let statement = checked(statement.verify(&known.key, &RustCrypto))?;
        let PrekeyStatement { user, kind: PrekeyKind::Signed, key, .. } = *statement.payload();
        if user == self.user { Ok(Some((device, key))) } else { Err(unknown()) }
    }
}

impl KeptUser {
    /// This, and what somebody else has verified of the same user: the longer log, with its name. None if neither log
    /// contains the other. The name that the person knows the user by stays.
    pub(crate) fn joined(self, other: Self) -> Option<Self> {
        let pinned = self.pinned.clone().or_else(|| other.pinned.clone());
        let (long, short) = if self.entries.len() > other.entries.len() { (self, other) } else { (other, self) };
        let hash = |entry: &LoggedEntry| Some(Unverified::<UserEntry>::parse(&entry.jws).ok()?.hash());
        if let Some(last) = short.entries.last() {
            let same = long.entries.get(short.entries.len().saturating_sub(1))?;
            if same.jws != last.jws && hash(same)? != hash(last)? {
                return None;
            }
        }
        Some(Self { pinned, ..long })
    }

    /// Lets the person know the user by the name that they are known by there.
    pub(crate) fn repin(&mut self, user: &VerifiedUser) {
        self.pinned.clone_from(&user.pinned);
    }
}

/// The verified user logs that it takes to verify a team, and their devices' prekeys.
#[derive(Debug, Clone, Default)]
pub struct People {
    users: BTreeMap<UserId, VerifiedUser>,
    prekeys: BTreeMap<DeviceId, PublicKey>,
}

impl People {
    /// Verifies what the directory says of somebody and adds them. `kept` is what was verified before.
    pub fn add(&mut self, said: DirectoryUser, kept: Option<KeptUser>, window: &Window) -> Result<()> {
        let mut user = match kept {
            Some(kept) => VerifiedUser::restore(said.user, kept)?,
            None => VerifiedUser::unknown(said.user),
        };
        user.take(0, &said.log, window)?;
        user.check_whole(said.log.len())?;
        user.take_name(said.name);
        for compact in &said.prekeys {
            let prekey = user.prekey(compact);
            let prekey =
                prekey.map_err(|refusal| Error::tampered(format_args!("a prekey of {}", said.user), &refusal))?;
            self.prekeys.extend(prekey);
        }
        self.insert(user);
        Ok(())
    }

    /// Adds somebody who was verified elsewhere.
    pub fn insert(&mut self, user: VerifiedUser) {
        self.users.insert(user.user, user);
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

    pub(crate) fn users_mut(&mut self) -> impl Iterator<Item = &mut VerifiedUser> {
        self.users.values_mut()
    }

    /// The head of somebody's log, as verified.
    pub fn head(&self, user: UserId) -> Option<Head> {
        self.users.get(&user)?.log.head()
    }

    /// The prekey to seal to a device of a user with. [`Error::NoPrekey`] if it has none that this version knows.
    pub fn prekey_of(&self, user: UserId, device: DeviceId) -> Result<&PublicKey> {
        self.prekeys.get(&device).ok_or(Error::NoPrekey { user, device })
    }
}

impl Directory for People {
    fn device(&self, user: UserId, device: DeviceId) -> Option<Device> {
        self.users.get(&user)?.log.device(&device).copied()
    }

    fn head(&self, user: UserId) -> Option<Head> {
        Self::head(self, user)
    }

    fn at(&self, user: UserId, seq: u64) -> Option<Snapshot> {
        self.users.get(&user)?.log.at(seq)
    }

    fn has_prekey(&self, device: DeviceId, prekey: KeyId) -> bool {
        self.prekeys.get(&device).is_some_and(|known| known.thumbprint() == prekey.0)
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
    /// How each user stood, in the order of the log.
    standings: BTreeMap<UserId, Vec<Standing>>,
    /// The profile that somebody sealed last who was an owner or admin before that commit.
    vouched_profile: Option<SealedProfile>,
    /// The profile that anybody sealed last.
    last_profile: Option<SealedProfile>,
    /// The last entries of this device's commits that were not read back yet. The log must have them from now on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    committed: Vec<Head>,
}

/// Since which entry a user has had which devices in the device set; none when they were not a member.
type Standing = (u64, Option<Vec<DeviceId>>);

/// An epoch, and who began it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EpochBegun {
    /// The epoch.
    pub epoch: Epoch,
    /// Who made its key.
    pub user: UserId,
    /// The device that did, and sealed it to the others.
    pub by: DeviceId,
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

// Reading a log page by page.
impl TeamView {
    /// Verifies the first page of a team's log, which is nothing known before.
    pub fn begin(team: TeamId, entries: &[LoggedEntry], people: &People, window: &Window) -> Result<Self> {
        let broken = |refusal: &Refusal| Error::tampered(format_args!("entry 0 of the team log of {team}"), refusal);
        let (first, rest) =
            entries.split_first().ok_or_else(|| tampered(format!("the log of team {team} is empty")))?;
        window.check(first.received_at).map_err(|refusal| broken(&refusal))?;
        let entry = verify_entry(first, None, people).map_err(|refusal| broken(&refusal))?;
        let state = TeamState::found(&entry, first.received_at, people).map_err(|refusal| broken(&refusal))?;
        if state.team() != team {
            return Err(tampered(format!("the service shows the log of team {} as that of {team}", state.team())));
        }
        let mut view = Self {
            state,
            entries: vec![(entry.entry().hash(), first.received_at)],
            epochs: Vec::new(),
            standings: BTreeMap::new(),
            vouched_profile: None,
            last_profile: None,
            committed: Vec::new(),
        };
        view.note_standings(0);
        view.follow(rest, people, window)?;
        Ok(view)
    }

    /// Takes up a log where it was left: the first of `entries` is the one at the pinned head, the others come after it. On
    /// an error the view is spoilt and must not be kept.
    pub fn resume(&mut self, entries: &[LoggedEntry], people: &People, window: &Window) -> Result<()> {
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
        self.follow(rest, people, window)
    }

    /// Verifies the next entries, received in the window. On an error the view is spoilt and must not be kept.
    pub fn follow(&mut self, entries: &[LoggedEntry], people: &People, window: &Window) -> Result<()> {
        let team = self.state.team();
        for logged in entries {
            let seq = self.state.head().seq.saturating_add(1);
            self.apply(logged, people, window)
                .map_err(|refusal| Error::tampered(format_args!("entry {seq} of the team log of {team}"), &refusal))?;
        }
        Ok(())
    }

    /// Whether a head that the service says the log ends at is reached. [`Error::Tampered`] if it is another one, or if
    /// nothing can end there.
    pub fn ends_at(&mut self, head: Head) -> Result<bool> {
        let team = self.state.team();
        if self.state.head().seq < head.seq {
            return Ok(false);
        }
        if self.state.head() != head {
            return Err(tampered(format!("the service shows a log of team {team} that does not end where it says")));
        }
        self.state.settled().map_err(|refusal| Error::tampered(format_args!("the log of team {team}"), &refusal))?;
        if !self.has_commits_of(self) {
            return Err(tampered(format!(
                "the service shows a log of team {team} without what this device did (a rollback)"
            )));
        }
        self.committed.clear();
        Ok(true)
    }

    /// Remembers that the service has taken a commit of this device, of which `head` is the last entry.
    pub fn expect(&mut self, head: Head) {
        self.committed.push(head);
    }

    /// Whether this view has every commit that another one knows to be taken, and has not read back.
    pub fn has_commits_of(&self, other: &Self) -> bool {
        other.committed.iter().all(|own| self.contains(*own))
    }

    /// Whether every commit of this device that the view knows of was read back.
    pub const fn is_settled(&self) -> bool {
        self.committed.is_empty()
    }

    fn apply(&mut self, logged: &LoggedEntry, people: &People, window: &Window) -> Result<(), Refusal> {
        window.check(logged.received_at)?;
        let entry = verify_entry(logged, Some(&self.state), people)?;
        let said = entry.entry().payload();
        // The author's role before the commit counts. Whoever joins by it has the name from an invitation's code, which is not
        // signed: no rotation has named their head yet. The founder begins the first epoch.
        let counted = |member: &Member| member.head.is_some() || self.state.epoch().is_none();
        let author = self.state.members().get(&said.user);
        let vouched = author.is_some_and(|member| member.role > Role::Member && counted(member));
        self.state.apply(&entry, logged.received_at, people)?;
        let seq = self.state.head().seq;
        let profile = match &said.event {
            TeamEvent::KeyRotated(Rotation { epoch, profile, .. }) => {
                if let Some(epoch) = self.state.epoch() {
                    self.epochs.push(EpochBegun { epoch, user: said.user, by: DeviceId(entry.entry().kid()) });
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
        self.entries.push((entry.entry().hash(), logged.received_at));
        self.note_standings(seq);
        Ok(())
    }

    /// Writes down whose standing the entry at `seq` has changed.
    fn note_standings(&mut self, seq: u64) {
        for user in self.state.everyone() {
            let now = self.state.members().get(user).map(|member| member.devices.clone());
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

    /// A user's devices that the latest rotation had counted when the entry at `seq` was the last; none if they were not a
    /// member.
    pub fn devices_at(&self, user: UserId, seq: u64) -> Option<&[DeviceId]> {
        let standings = self.standings.get(&user)?;
        let (_, devices) = standings.iter().rev().find(|(since, _)| *since <= seq)?;
        devices.as_deref()
    }

    /// The profile that somebody sealed last who was an owner or admin before that commit, and the one that anybody did.
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

/// What is known of a snippet's receipt: when the service says to have received it, which a file does not tell; and this
/// machine's time.
#[derive(Debug, Clone, Copy)]
pub struct Receipt {
    /// The service's word; none for a file.
    pub received_at: Option<Time>,
    /// Now.
    pub now: Time,
}

/// Verifies the statement of a snippet (`docs/protocol.md` section 11, point 6): that a device signed it which spoke for its
/// author at its receipt, and which the rotation before the head that it names had counted; that the author was a member
/// then; that the head is in the log and was its end at that time; and that it names the epoch of that time.
///
/// `expected` is the snippet that was asked for, if one was. Without a time of receipt, the time of the signature counts.
pub fn verify_snippet(
    view: &TeamView,
    people: &People,
    compact: &str,
    expected: Option<SnippetId>,
    receipt: Receipt,
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
    let devices = view.devices_at(user, head.seq).ok_or_else(|| {
        tampered(format!("the snippet {} is signed in the name of {user}, who was not a member then", said.snippet))
    })?;
    let received_at = receipt.received_at.unwrap_or(said.iat);
    let known = people
        .device(user, device)
        .filter(|known| devices.contains(&device) && known.speaks_at(received_at))
        .ok_or_else(|| {
        tampered(format!("the snippet {} is signed by a device that was not its author's then", said.snippet))
    })?;
    if view.epoch_at(head.seq).map(|begun| begun.epoch.number) != Some(said.audience.epoch()) {
        return Err(tampered(format!("the snippet {} names an epoch that was not current then", said.snippet)));
    }
    check_times(view, said, received_at, receipt.now)?;
    check_snippet(said, received_at).map_err(|refusal| broken(&refusal))?;
    checked(statement.verify(&known.key, &RustCrypto)).map_err(|refusal| broken(&refusal))
}

/// A snippet is received while its head is the last entry: after that entry, and before the next; and not in the future.
fn check_times(view: &TeamView, said: &SnippetStatement, received_at: Time, now: Time) -> Result<()> {
    let received = |seq: u64| view.entry(seq).map(|(_, received_at)| *received_at);
    let too_early = received(said.head.seq).is_some_and(|begun| !begun.is_by(received_at));
    let next = said.head.seq.checked_add(1).and_then(received);
    let too_late = next.is_some_and(|ended| !received_at.is_by(ended));
    if too_early || too_late {
        return Err(tampered(format!("the snippet {} does not fit the team log's times", said.snippet)));
    }
    if !received_at.is_by(now) {
        return Err(tampered(format!("the snippet {} is said to have been received in the future", said.snippet)));
    }
    Ok(())
}

/// Parses an entry of a team log and verifies its signature, and that of the proof inside a `member.joined`.
/// `state` is that before the entry; none for the first.
fn verify_entry(logged: &LoggedEntry, state: Option<&TeamState>, people: &People) -> Result<CommitEntry, Refusal> {
    let entry = Unverified::<TeamEntry>::parse(&logged.jws)?;
    let key = TeamState::author_key(&entry, people)?;
    checked(CommitEntry::verify(entry, &key, state, logged.received_at, &RustCrypto))
}

fn tampered(what: impl Into<String>) -> Error {
    Error::Tampered { what: what.into() }
}
