//! People, devices and a service that keeps their logs, for tests of the rules. The keys are made here and are
//! worth nothing.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs, unreachable_pub)]
#![allow(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

pub mod acts;

use core::pin::pin;
use core::task::{Context, Poll, Waker};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use osmynt_core::sealed::ENVELOPE_SUITE;
use osmynt_core::snippet::{Audience, SUITE};
use osmynt_core::statement::{DeviceStatement, InviteProof, SnippetStatement, TeamEntry, UserEntry};
use osmynt_core::teamlog::{CommitEntry, Directory, Joining, Policy, Role, Rotation, TeamEvent, TeamState};
use osmynt_core::userlog::{Device, Snapshot, UserEvent, UserLog};
use osmynt_core::{
    Bytes, Code, DeviceId, Envelope, Hash, Head, InviteId, KeyId, Payload, PublicKey, Refusal, SealedBox, SnippetId,
    TeamId, Time, Unverified, UserId, Verified, Verifier, b64u, labels, signing_input,
};
use p256::ecdsa::signature::{Signer, Verifier as _};
use p256::ecdsa::{Signature, SigningKey, VerifyingKey};

pub const START: Time = Time(1_800_000_000);
pub const POLICY: Policy = Policy { max_epoch_age: 30 * 24 * 3600, joining: Joining::Invitation };

/// What tests compare: done, or the code of the refusal.
pub type Verdict<T = ()> = Result<T, Code>;

#[allow(clippy::needless_pass_by_value)] // for `map_err`
pub fn code(refusal: Refusal) -> Code {
    refusal.code
}

/// Checks signatures at once, and each only once.
pub struct P256;

impl Verifier for P256 {
    type Error = Refusal;

    async fn es256(&self, key: &PublicKey, message: &[u8], signature: &[u8; 64]) -> osmynt_core::Result<bool> {
        thread_local! { static CHECKED: RefCell<BTreeMap<Hash, bool>> = RefCell::default(); }
        let question = Hash::of(&[&key.to_sec1()[..], signature, message].concat());
        Ok(CHECKED.with_borrow_mut(|checked| {
            *checked.entry(question).or_insert_with(|| {
                let key = VerifyingKey::from_sec1_bytes(&key.to_sec1()).unwrap();
                Signature::from_slice(signature).is_ok_and(|signature| key.verify(message, &signature).is_ok())
            })
        }))
    }
}

/// The result of a future that never waits.
pub fn ready<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("nothing here waits"),
    }
}

/// A signing key that only tests have: scalar `n` + 1.
#[derive(Clone)]
pub struct Key {
    secret: SigningKey,
    public: PublicKey,
}

impl Key {
    pub fn test(n: u32) -> Self {
        thread_local! { static MADE: RefCell<BTreeMap<u32, Key>> = RefCell::default(); }
        MADE.with_borrow_mut(|made| {
            made.entry(n)
                .or_insert_with(|| {
                    let mut scalar = [0; 32];
                    scalar[28..].copy_from_slice(&(n + 1).to_be_bytes());
                    let secret = SigningKey::from_slice(&scalar).unwrap();
                    let public = p256::PublicKey::from(*secret.verifying_key()).into();
                    Self { secret, public }
                })
                .clone()
        })
    }

    pub const fn public(&self) -> PublicKey {
        self.public
    }

    pub fn thumbprint(&self) -> Hash {
        self.public().thumbprint()
    }

    pub fn device(&self) -> DeviceId {
        DeviceId(self.thumbprint())
    }

    pub fn invite(&self) -> InviteId {
        InviteId(self.thumbprint())
    }

    /// Signs a payload.
    pub fn sign<T: Payload>(&self, payload: &T) -> String {
        self.sign_as(self.thumbprint(), payload)
    }

    /// Signs a payload under a `kid` that need not be this key's.
    pub fn sign_as<T: Payload>(&self, kid: Hash, payload: &T) -> String {
        self.finish(&signing_input(kid, payload).unwrap())
    }

    /// Signs any header and payload, right or wrong.
    pub fn sign_json(&self, header: &str, payload: &str) -> String {
        self.finish(&format!("{}.{}", b64u::encode(header.as_bytes()), b64u::encode(payload.as_bytes())))
    }

    pub fn finish(&self, input: &str) -> String {
        // The same histories begin again and again, and signatures are deterministic (RFC 6979).
        thread_local! { static SIGNED: RefCell<BTreeMap<(DeviceId, Hash), String>> = RefCell::default(); }
        let signed = (self.device(), Hash::of(input.as_bytes()));
        SIGNED.with_borrow_mut(|made| {
            let sign = || {
                let signature: Signature = self.secret.sign(input.as_bytes());
                format!("{input}.{}", b64u::encode(&signature.to_bytes()))
            };
            made.entry(signed).or_insert_with(sign).clone()
        })
    }
}

pub fn verify<T: Payload>(compact: &str, key: &PublicKey) -> Verdict<Verified<T>> {
    let unverified = Unverified::<T>::parse(compact).map_err(code)?;
    ready(unverified.verify(key, &P256)).map_err(code)
}

pub fn sealed(plaintext: usize) -> SealedBox {
    SealedBox { nonce: Bytes([7; 12]), ct: vec![9; plaintext + 16] }
}

/// The one signed prekey of a device.
pub fn prekey(device: DeviceId) -> KeyId {
    KeyId(Hash::of(format!("prekey of {device}").as_bytes()))
}

pub fn envelope(device: DeviceId) -> Envelope {
    let suite = ENVELOPE_SUITE.to_owned();
    Envelope { device, prekey: prekey(device), suite, enc: vec![4; 65], ct: vec![5; 48] }
}

fn shifted(time: Time, seconds: i64) -> Time {
    Time(time.0.checked_add_signed(seconds).unwrap())
}

/// A person with devices and a log that one of them founded.
pub struct Person {
    /// The active ones, in the order in which they were added.
    pub devices: Vec<Key>,
    /// Those that were revoked. Somebody may have them.
    pub lost: Vec<Key>,
    pub log: UserLog,
    /// The log as the service shows it.
    pub entries: Vec<(String, Time)>,
    /// Clock of the person and of the service.
    pub now: Time,
}

impl Person {
    pub fn new(n: u32) -> Self {
        Self::founded(&Key::test(n * 100), START)
    }

    pub fn founded(device: &Key, now: Time) -> Self {
        let mut person = Self { devices: Vec::new(), lost: Vec::new(), log: UserLog::new(), entries: Vec::new(), now };
        person.add(&device.clone(), device).unwrap();
        person
    }

    pub fn user(&self) -> UserId {
        self.log.user().unwrap()
    }

    /// The newest device.
    pub fn device(&self) -> &Key {
        self.devices.last().unwrap()
    }

    pub fn statement(&self, device: &Key) -> String {
        device.sign(&DeviceStatement { user: self.log.user(), jwk: device.public(), iat: self.now })
    }

    pub fn entry(&self, event: UserEvent) -> UserEntry {
        let head = self.log.head();
        UserEntry {
            user: self.log.user(),
            seq: head.map_or(0, |head| head.seq + 1),
            prev: head.map(|head| head.hash),
            iat: self.now,
            event,
        }
    }

    pub fn append(&mut self, author: &Key, entry: &UserEntry) -> Verdict {
        let jws = author.sign(entry);
        ready(self.log.take(&jws, self.now, &P256)).map_err(code)?;
        self.entries.push((jws, self.now));
        Ok(())
    }

    pub fn add(&mut self, author: &Key, device: &Key) -> Verdict {
        let entry = self.entry(UserEvent::DeviceAdded { device: self.statement(device) });
        self.append(author, &entry)?;
        self.devices.push(device.clone());
        Ok(())
    }

    pub fn revoke(&mut self, author: &Key, device: &Key) -> Verdict {
        let entry = self.entry(UserEvent::DeviceRevoked { device: device.device() });
        self.append(author, &entry)?;
        self.devices.retain(|kept| kept.device() != device.device());
        self.lost.push(device.clone());
        Ok(())
    }
}

/// Everybody's logs. `Now` answers as the service does, `Then` as a client does.
#[derive(Default)]
pub struct World {
    pub people: BTreeMap<UserId, Person>,
}

pub struct Now<'a>(pub &'a World);
pub struct Then<'a>(pub &'a World);

impl Directory for Now<'_> {
    fn device(&self, user: UserId, device: DeviceId) -> Option<Device> {
        Then(self.0).device(user, device).filter(|device| device.revoked.is_none())
    }

    fn head(&self, user: UserId) -> Option<Head> {
        Then(self.0).head(user)
    }

    fn at(&self, user: UserId, seq: u64) -> Option<Snapshot> {
        Then(self.0).at(user, seq).filter(|snapshot| snapshot.replaced_at.is_none())
    }

    fn has_prekey(&self, device: DeviceId, key: KeyId) -> bool {
        prekey(device) == key
    }
}

impl Directory for Then<'_> {
    fn device(&self, user: UserId, device: DeviceId) -> Option<Device> {
        self.0.people.get(&user)?.log.device(&device).copied()
    }

    fn head(&self, user: UserId) -> Option<Head> {
        self.0.people.get(&user)?.log.head()
    }

    fn at(&self, user: UserId, seq: u64) -> Option<Snapshot> {
        self.0.people.get(&user)?.log.at(seq)
    }

    fn has_prekey(&self, device: DeviceId, key: KeyId) -> bool {
        prekey(device) == key
    }
}

/// Parses and verifies the entry that follows a state.
fn verified(
    state: Option<&TeamState>,
    jws: &str,
    received_at: Time,
    directory: &impl Directory,
) -> Result<CommitEntry, Refusal> {
    let entry = Unverified::<TeamEntry>::parse(jws)?;
    let key = TeamState::author_key(&entry, directory)?;
    ready(CommitEntry::verify(entry, &key, state, received_at, &P256))
}

/// What the service makes of a commit.
pub fn decide(
    state: Option<&TeamState>,
    entries: &[String],
    envelopes: &[Envelope],
    now: Time,
    directory: &impl Directory,
) -> Result<TeamState, Refusal> {
    let received_at = state.map_or(now, |state| now.max(state.received_at()));
    let entries: Result<Vec<_>, Refusal> =
        entries.iter().map(|jws| verified(state, jws, received_at, directory)).collect();
    TeamState::commit(state, &entries?, envelopes, now, directory)
}

/// What a client makes of the next entry that the service shows it.
pub fn follow(
    state: Option<&TeamState>,
    jws: &str,
    received_at: Time,
    directory: &impl Directory,
) -> Verdict<TeamState> {
    let entry = verified(state, jws, received_at, directory).map_err(code)?;
    let Some(state) = state else { return TeamState::found(&entry, received_at, directory).map_err(code) };
    let mut state = state.clone();
    state.apply(&entry, received_at, directory).map_err(code)?;
    Ok(state)
}

/// Signs events as the entries that follow a state.
pub fn chained(
    state: Option<&TeamState>,
    device: &Key,
    author: UserId,
    events: Vec<TeamEvent>,
    iat: Time,
) -> Vec<String> {
    let (mut team, head) = (state.map(TeamState::team), state.map(TeamState::head));
    let mut next = head.map_or((0, None), |head| (head.seq + 1, Some(head.hash)));
    let mut entries = Vec::new();
    for event in events {
        let (seq, prev) = next;
        let input = signing_input(device.thumbprint(), &TeamEntry { team, seq, prev, iat, user: author, event });
        let jws = device.finish(&input.unwrap());
        let hash = Hash::of(jws.rsplit_once('.').unwrap().0.as_bytes());
        team = team.or(Some(TeamId(hash)));
        next = (seq + 1, Some(hash));
        entries.push(jws);
    }
    entries
}

/// The rotation that a client makes after some events, and its envelopes. An honest client leaves out 0 entries at the end
/// of its own user's log.
pub fn rotation(
    world: &World,
    state: Option<&TeamState>,
    events: &[TeamEvent],
    author: UserId,
    back: u64,
) -> (Rotation, Vec<Envelope>) {
    let mut members: BTreeSet<UserId> =
        state.map(|state| state.members().keys().copied().collect()).unwrap_or_default();
    let confirmed = state.is_some_and(|state| state.policy().joining == Joining::Confirmation);
    for event in events {
        match event {
            TeamEvent::TeamCreated { .. } => drop(members.insert(author)),
            TeamEvent::MemberJoined { .. } if !confirmed => drop(members.insert(author)),
            TeamEvent::MemberConfirmed { user } => drop(members.insert(*user)),
            TeamEvent::MemberRemoved { user } => drop(members.remove(user)),
            TeamEvent::MemberLeft {} => drop(members.remove(&author)),
            _ => {}
        }
    }
    let (mut heads, mut devices) = (Vec::new(), Vec::new());
    for user in members {
        let log = &world.people[&user].log;
        let left_out = if user == author { back } else { 0 };
        let seq = log.head().unwrap().seq.saturating_sub(left_out);
        let snapshot = log.at(seq).unwrap();
        heads.push((user, Head { seq, hash: snapshot.hash }));
        devices.extend(snapshot.devices.into_iter().map(|device| (user, device)));
    }
    let envelopes: Vec<Envelope> = devices.iter().map(|(_, device)| envelope(*device)).collect();
    let rotation = Rotation {
        epoch: state.and_then(TeamState::epoch).map_or(0, |epoch| epoch.number) + 1,
        seqs: heads.iter().map(|(_, head)| head.seq).collect(),
        heads: labels::head_set(heads),
        devices: labels::device_set(devices),
        envelopes: labels::envelope_set(&envelopes),
        commitment: Hash::of(b"commitment"),
        profile: sealed(256),
    };
    (rotation, envelopes)
}

/// A team, its accepted log, and the people of its world.
pub struct Team {
    pub world: World,
    /// Everybody in the world, in the order of the numbers that tests call them by.
    pub ids: Vec<UserId>,
    pub state: Option<TeamState>,
    /// The log as the service shows it.
    pub log: Vec<(String, Time)>,
    /// The true time, and that of people's clocks.
    pub now: Time,
    /// Seconds that the clock which receives user logs is ahead.
    pub d1: i64,
    /// Seconds that the clock which receives the team's log is ahead.
    pub object: i64,
    pub invitations: u32,
}

impl Team {
    /// Person 0 founds a team.
    pub fn founded(people: u32) -> Self {
        Self::with_policy(people, POLICY)
    }

    pub fn with_policy(people: u32, policy: Policy) -> Self {
        let people: Vec<Person> = (0..people).map(Person::new).collect();
        let ids: Vec<UserId> = people.iter().map(Person::user).collect();
        let world = World { people: ids.iter().copied().zip(people).collect() };
        let mut team = Self { world, ids, state: None, log: Vec::new(), now: START, d1: 0, object: 0, invitations: 0 };
        let created = TeamEvent::TeamCreated { nonce: Bytes([1; 16]), policy };
        team.commit(team.user(0), vec![created], true).unwrap();
        team
    }

    /// Persons 0 (owner), 1 (admin), 2 and 3 (members), and 4, a stranger.
    pub fn of_four() -> Self {
        let mut team = Self::founded(5);
        for (n, role) in [(1, Role::Admin), (2, Role::Member), (3, Role::Member)] {
            let key = team.invite(team.user(0), role, 1).unwrap();
            team.join(team.user(n), &key).unwrap();
        }
        team
    }

    /// Persons 0 (owner), 1 (admin), 2 and 3 (members), whose policy is now that joiners are confirmed, and 4, a stranger.
    pub fn of_four_that_confirms() -> Self {
        let mut team = Self::of_four();
        team.set_joining(Joining::Confirmation);
        team
    }

    pub fn set_joining(&mut self, joining: Joining) {
        let policy = Policy { joining, ..POLICY };
        self.commit(self.user(0), vec![TeamEvent::PolicyChanged { policy }], false).unwrap();
    }

    pub fn user(&self, n: u32) -> UserId {
        self.ids[n as usize]
    }

    /// Gives somebody the next number.
    pub fn meet(&mut self, person: Person) -> UserId {
        let user = person.user();
        self.world.people.insert(user, person);
        self.ids.push(user);
        user
    }

    pub fn person(&self, user: UserId) -> &Person {
        &self.world.people[&user]
    }

    /// A person, when the service's clock for user logs shows the present time.
    pub fn person_mut(&mut self, user: UserId) -> &mut Person {
        let now = shifted(self.now, self.d1);
        let person = self.world.people.get_mut(&user).unwrap();
        // The service keeps the later time when its clock steps back.
        person.now = person.log.received_at().map_or(now, |last| now.max(last));
        person
    }

    pub fn state(&self) -> &TeamState {
        self.state.as_ref().unwrap()
    }

    pub fn epoch(&self) -> u64 {
        self.state().epoch().unwrap().number
    }

    /// The clock that receives the team's log.
    pub fn object_time(&self) -> Time {
        shifted(self.now, self.object)
    }

    pub fn add_device(&mut self, user: UserId, device: &Key) -> Verdict {
        let person = self.person_mut(user);
        let author = person.device().clone();
        person.add(&author, device)
    }

    /// By the newest of the other devices.
    pub fn revoke_device(&mut self, user: UserId, device: &Key) -> Verdict {
        let person = self.person_mut(user);
        let other = person.devices.iter().rfind(|other| other.device() != device.device());
        let author = other.unwrap_or(device).clone();
        person.revoke(&author, device)
    }

    pub fn joined(&self, user: UserId, key: &Key) -> TeamEvent {
        let proof = InviteProof { team: self.state().team(), invite: key.invite(), user, iat: self.now };
        TeamEvent::MemberJoined { invite: key.invite(), proof: key.sign(&proof) }
    }

    /// The invitation that was made as the n-th, from 1.
    pub fn invitation(n: u32) -> Key {
        Key::test(1_000_000 + n)
    }

    pub fn invite_event(&mut self, role: Role, uses: u32, named: Option<UserId>) -> (Key, TeamEvent) {
        self.invitations += 1;
        let key = Self::invitation(self.invitations);
        let event = TeamEvent::InviteCreated { key: key.public(), role, exp: self.now.plus(3600), uses, user: named };
        (key, event)
    }

    pub fn invite(&mut self, author: UserId, role: Role, uses: u32) -> Verdict<Key> {
        let (key, event) = self.invite_event(role, uses, None);
        self.commit(author, vec![event], false).map(|()| key)
    }

    pub fn invite_user(&mut self, author: UserId, role: Role, user: UserId) -> Verdict<Key> {
        let (key, event) = self.invite_event(role, 1, Some(user));
        self.commit(author, vec![event], false).map(|()| key)
    }

    /// Joins with a rotation or asks to join, as the policy says.
    pub fn join(&mut self, user: UserId, key: &Key) -> Verdict {
        let rotate = self.state().policy().joining == Joining::Invitation;
        self.commit(user, vec![self.joined(user, key)], rotate)
    }

    pub fn leave(&mut self, user: UserId) -> Verdict {
        self.commit(user, vec![TeamEvent::MemberLeft {}], false)
    }

    pub fn confirm(&mut self, author: UserId, user: UserId) -> Verdict {
        self.commit(author, vec![TeamEvent::MemberConfirmed { user }], true)
    }

    /// Removes a member, or refuses somebody who waits.
    pub fn remove(&mut self, author: UserId, user: UserId) -> Verdict {
        let rotate = self.state().members().contains_key(&user);
        self.commit(author, vec![TeamEvent::MemberRemoved { user }], rotate)
    }

    pub fn set_role(&mut self, author: UserId, user: UserId, role: Role) -> Verdict {
        self.commit(author, vec![TeamEvent::RoleChanged { user, role }], false)
    }

    pub fn rotate(&mut self, author: UserId) -> Verdict {
        self.commit(author, vec![], true)
    }

    /// The rotation that an honest client makes after some events, and its envelopes.
    pub fn rotation(&self, events: &[TeamEvent], author: UserId) -> (Rotation, Vec<Envelope>) {
        rotation(&self.world, self.state.as_ref(), events, author, 0)
    }

    /// Signs events as one commit, as the author's newest device would.
    pub fn signed(&self, author: UserId, events: Vec<TeamEvent>) -> Vec<String> {
        chained(self.state.as_ref(), self.person(author).device(), author, events, self.now)
    }

    /// Signs one event with any device.
    pub fn signed_by(&self, device: &Key, author: UserId, event: TeamEvent) -> String {
        chained(self.state.as_ref(), device, author, vec![event], self.now).remove(0)
    }

    pub fn commit(&mut self, author: UserId, mut events: Vec<TeamEvent>, rotate: bool) -> Verdict {
        let mut envelopes = Vec::new();
        if rotate {
            let (rotation, sealed) = self.rotation(&events, author);
            events.push(TeamEvent::KeyRotated(rotation));
            envelopes = sealed;
        }
        let entries = self.signed(author, events);
        self.submit(&entries, &envelopes)
    }

    pub fn submit(&mut self, entries: &[String], envelopes: &[Envelope]) -> Verdict {
        let state = decide(self.state.as_ref(), entries, envelopes, self.object_time(), &Now(&self.world));
        self.take(state.map_err(code)?, entries);
        Ok(())
    }

    /// Keeps what was decided.
    pub fn take(&mut self, state: TeamState, entries: &[String]) {
        let received_at = state.received_at();
        self.log.extend(entries.iter().map(|entry| (entry.clone(), received_at)));
        self.state = Some(state);
    }

    /// What a client makes of the log that it is shown.
    pub fn replayed(&self) -> Verdict<TeamState> {
        let directory = Then(&self.world);
        let mut state = None;
        for (jws, received_at) in &self.log {
            state = Some(follow(state.as_ref(), jws, *received_at, &directory)?);
        }
        let state = state.unwrap();
        state.settled().map_err(code)?;
        Ok(state)
    }

    /// What a client makes of the log if a service that lies shows one entry more.
    pub fn shown(&self, entry: &str, received_at: Time) -> Verdict<TeamState> {
        follow(self.state.as_ref(), entry, received_at, &Then(&self.world))
    }

    pub fn head_of(&self, user: UserId) -> Option<Head> {
        self.world.people.get(&user)?.log.head()
    }

    pub fn stale(&self) -> bool {
        self.state().stale(self.now, |user| self.head_of(user))
    }

    pub fn snippet(&self, author: UserId, audience: Audience) -> SnippetStatement {
        SnippetStatement {
            suite: SUITE.to_owned(),
            team: self.state().team(),
            snippet: "0192f3a4-5b6c-7d8e-9f00-112233445566".parse::<SnippetId>().unwrap(),
            user: author,
            audience,
            nonce: Bytes([3; 12]),
            header: sealed(256),
            commitment: Hash::of(b"content key"),
            sha256: Hash::of(b"ciphertext"),
            length: 256 + 16,
            head: self.state().head(),
            iat: self.now,
            exp: None,
        }
    }

    pub fn to_team(&self) -> Audience {
        Audience::Team { epoch: self.epoch(), wrapped: sealed(32) }
    }

    /// An audience of members, and the envelopes for them and the author.
    pub fn to_members(&self, author: UserId, members: &[UserId]) -> (Audience, Vec<Envelope>) {
        let mut members = members.to_vec();
        members.sort_unstable();
        let everyone = members.iter().chain([&author]);
        let mut envelopes: Vec<Envelope> =
            everyone.flat_map(|user| self.person(*user).log.active().map(|(device, _)| envelope(*device))).collect();
        envelopes.sort_unstable_by_key(|envelope| envelope.device);
        (Audience::Members { epoch: self.epoch(), members, envelopes: labels::envelope_set(&envelopes) }, envelopes)
    }

    pub fn admit(&self, device: &Key, statement: &SnippetStatement, envelopes: &[Envelope]) -> Verdict {
        let snippet = verify::<SnippetStatement>(&device.sign(statement), &device.public())?;
        self.state().admit(&snippet, envelopes, self.now, |user| self.head_of(user)).map_err(code)
    }
}
