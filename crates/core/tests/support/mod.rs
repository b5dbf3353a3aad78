//! People, devices and a service that keeps their logs, for tests of the rules. The keys are made here and are
//! worth nothing.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs, unreachable_pub)]
#![allow(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

use std::collections::BTreeMap;

use osmynt_core::snippet::{Audience, SUITE};
use osmynt_core::statement::{DeviceStatement, InviteProof, SnippetStatement, TeamEntry, UserEntry};
use osmynt_core::teamlog::{
    CommitEntry, DeviceSpan, Directory, Policy, Role, Rotation, TeamEvent, TeamState, UserHead,
};
use osmynt_core::userlog::{Snapshot, UserEvent, UserLog};
use osmynt_core::{
    Bytes, Code, DeviceId, Envelope, Hash, Head, InviteId, KeyId, Payload, PublicKey, SealedBox, SnippetId, TeamId,
    Time, Unverified, UserId, Verified, b64u, labels, signing_input,
};
use p256::ecdsa::signature::{Signer, Verifier};
use p256::ecdsa::{Signature, SigningKey, VerifyingKey};

pub const START: Time = Time(1_800_000_000);
pub const POLICY: Policy = Policy { max_epoch_age: 30 * 24 * 3600 };

/// A signing key that only tests have: scalar `n`.
#[derive(Clone)]
pub struct Key(SigningKey);

impl Key {
    pub fn test(n: u32) -> Self {
        let mut scalar = [0; 32];
        scalar[28..].copy_from_slice(&(n + 1).to_be_bytes());
        Self(SigningKey::from_slice(&scalar).unwrap())
    }

    pub fn public(&self) -> PublicKey {
        p256::PublicKey::from(*self.0.verifying_key()).into()
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
        let signature: Signature = self.0.sign(input.as_bytes());
        format!("{input}.{}", b64u::encode(&signature.to_bytes()))
    }
}

pub fn verify<T: Payload>(compact: &str, key: &PublicKey) -> Result<Verified<T>, Code> {
    let unverified = Unverified::<T>::parse(compact).map_err(|refusal| refusal.code)?;
    let fits = VerifyingKey::from_sec1_bytes(&key.to_sec1())
        .unwrap()
        .verify(unverified.signing_input(), &Signature::from_slice(unverified.signature()).unwrap())
        .is_ok();
    unverified.verified(key, fits).map_err(|refusal| refusal.code)
}

pub fn sealed(plaintext: usize) -> SealedBox {
    SealedBox { nonce: Bytes([7; 12]), ct: vec![9; plaintext + 16] }
}

/// A person with devices and a log.
pub struct Person {
    pub user: UserId,
    pub devices: Vec<Key>,
    pub log: UserLog,
    pub now: Time,
}

impl Person {
    pub fn new(n: u32) -> Self {
        let user = UserId::new(uuid::Uuid::from_u128(0x1000 + u128::from(n))).unwrap();
        let mut person = Self { user, devices: Vec::new(), log: UserLog::new(user), now: START };
        let device = Key::test(n * 100);
        person.add(&device, &device.clone()).unwrap();
        person
    }

    pub fn device(&self) -> &Key {
        self.devices.last().unwrap()
    }

    pub fn statement(&self, device: &Key) -> String {
        device.sign(&DeviceStatement { user: self.user, jwk: device.public(), iat: self.now })
    }

    pub fn entry(&self, event: UserEvent) -> UserEntry {
        let head = self.log.head();
        UserEntry {
            user: self.user,
            seq: head.map_or(0, |head| head.seq + 1),
            prev: head.map(|head| head.hash),
            iat: self.now,
            event,
        }
    }

    pub fn append(&mut self, author: &Key, entry: &UserEntry) -> Result<(), Code> {
        let unverified = Unverified::<UserEntry>::parse(&author.sign(entry)).map_err(|refusal| refusal.code)?;
        let key = self.log.author_key(&unverified).map_err(|refusal| refusal.code)?;
        let entry = verify::<UserEntry>(unverified.compact(), &key)?;
        let device = match entry.payload().event.added_device() {
            None => None,
            Some(text) => {
                let inner = Unverified::<DeviceStatement>::parse(text).map_err(|refusal| refusal.code)?;
                Some(verify::<DeviceStatement>(text, &inner.payload().jwk)?)
            }
        };
        self.log.apply(&entry, device.as_ref(), self.now).map_err(|refusal| refusal.code)
    }

    pub fn add(&mut self, author: &Key, device: &Key) -> Result<(), Code> {
        let entry = self.entry(UserEvent::DeviceAdded { device: self.statement(device) });
        self.append(author, &entry)?;
        self.devices.push(device.clone());
        Ok(())
    }

    pub fn revoke(&mut self, author: &Key, device: &Key) -> Result<(), Code> {
        let entry = self.entry(UserEvent::DeviceRevoked { device: device.device() });
        self.append(author, &entry)?;
        self.devices.retain(|kept| kept.device() != device.device());
        Ok(())
    }

    pub fn reset(&mut self, device: &Key) -> Result<(), Code> {
        let entry = self.entry(UserEvent::IdentityReset { device: self.statement(device) });
        self.append(device, &entry)?;
        self.devices = vec![device.clone()];
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
    fn device(&self, user: UserId, device: DeviceId) -> Option<DeviceSpan> {
        Then(self.0).device(user, device).filter(|span| span.revoked.is_none())
    }

    fn at(&self, user: UserId, head: Head) -> Option<Snapshot> {
        let log = &self.0.people.get(&user)?.log;
        if log.head() == Some(head) { log.at(head) } else { None }
    }
}

impl Directory for Then<'_> {
    fn device(&self, user: UserId, device: DeviceId) -> Option<DeviceSpan> {
        let device = self.0.people.get(&user)?.log.device(&device)?;
        Some(DeviceSpan { key: device.key, identity: device.identity, revoked: device.revoked })
    }

    fn at(&self, user: UserId, head: Head) -> Option<Snapshot> {
        self.0.people.get(&user)?.log.at(head)
    }
}

/// A team, its accepted log, and the envelopes of its epochs.
pub struct Team {
    pub world: World,
    pub state: Option<TeamState>,
    pub log: Vec<(CommitEntry, Time)>,
    pub now: Time,
    pub invitations: u32,
}

impl Team {
    /// Person 0 founds a team.
    pub fn founded(people: u32) -> Self {
        let world = World { people: (0..people).map(Person::new).map(|person| (person.user, person)).collect() };
        let mut team = Self { world, state: None, log: Vec::new(), now: START, invitations: 0 };
        let founder = team.user(0);
        team.commit(founder, vec![team.created(founder)], true).unwrap();
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

    #[allow(clippy::unused_self)] // reads better where it is used
    pub fn user(&self, n: u32) -> UserId {
        UserId::new(uuid::Uuid::from_u128(0x1000 + u128::from(n))).unwrap()
    }

    pub fn person(&self, user: UserId) -> &Person {
        &self.world.people[&user]
    }

    pub fn person_mut(&mut self, user: UserId) -> &mut Person {
        self.world.people.get_mut(&user).unwrap()
    }

    pub fn state(&self) -> &TeamState {
        self.state.as_ref().unwrap()
    }

    pub fn created(&self, user: UserId) -> TeamEvent {
        let identity = self.person(user).log.identity().unwrap();
        TeamEvent::TeamCreated { nonce: Bytes([1; 16]), identity, policy: POLICY }
    }

    pub fn joined(&self, user: UserId, key: &Key) -> TeamEvent {
        let identity = self.person(user).log.identity().unwrap();
        let proof = InviteProof { team: self.state().team(), invite: key.invite(), user, identity, iat: self.now };
        TeamEvent::MemberJoined { invite: key.invite(), identity, proof: key.sign(&proof) }
    }

    pub fn invite_event(&mut self, role: Role, uses: u32) -> (Key, TeamEvent) {
        self.invitations += 1;
        let key = Key::test(1_000_000 + self.invitations);
        let event = TeamEvent::InviteCreated { key: key.public(), role, exp: self.now.plus(3600), uses };
        (key, event)
    }

    pub fn invite(&mut self, author: UserId, role: Role, uses: u32) -> Result<Key, Code> {
        let (key, event) = self.invite_event(role, uses);
        self.commit(author, vec![event], false).map(|()| key)
    }

    pub fn join(&mut self, user: UserId, key: &Key) -> Result<(), Code> {
        self.commit(user, vec![self.joined(user, key)], true)
    }

    /// The rotation that an honest client makes after some events, and its envelopes.
    pub fn rotation(&self, events: &[TeamEvent], author: UserId) -> (Rotation, Vec<Envelope>) {
        let state = self.state.as_ref();
        let mut members: BTreeMap<UserId, (Hash, Option<Head>)> = state
            .map(|state| state.members().iter().map(|(user, m)| (*user, (m.identity, m.head))).collect())
            .unwrap_or_default();
        for event in events {
            match event {
                TeamEvent::TeamCreated { identity, .. } | TeamEvent::MemberJoined { identity, .. } => {
                    members.insert(author, (*identity, None));
                }
                TeamEvent::MemberRemoved { user } => {
                    members.remove(user);
                }
                _ => {}
            }
        }
        let mut heads = Vec::new();
        let mut devices = Vec::new();
        for (user, (identity, named)) in members {
            let log = &self.person(user).log;
            let head = log.head().unwrap();
            if named != Some(head) {
                heads.push(UserHead { user, seq: head.seq, hash: head.hash });
            }
            if log.identity() == Some(identity) {
                devices.extend(log.active().map(|(device, _)| (user, *device)));
            }
        }
        let envelopes: Vec<Envelope> = devices.iter().map(|(_, device)| envelope(*device)).collect();
        let rotation = Rotation {
            epoch: state.and_then(TeamState::epoch).map_or(0, |epoch| epoch.number) + 1,
            heads,
            devices: labels::device_set(devices),
            envelopes: labels::envelope_set(&envelopes),
            commitment: Hash::of(b"commitment"),
            profile: sealed(256),
        };
        (rotation, envelopes)
    }

    /// Signs events as one commit, as the author's newest device would.
    pub fn signed(&self, author: UserId, events: Vec<TeamEvent>) -> Vec<CommitEntry> {
        let head = self.state.as_ref().map(TeamState::head);
        let mut next = head.map_or((0, None), |head| (head.seq + 1, Some(head.hash)));
        let mut team = self.state.as_ref().map(TeamState::team);
        let device = self.person(author).device();
        let mut entries = Vec::new();
        for event in events {
            let (seq, prev) = next;
            let entry = TeamEntry { team, seq, prev, iat: self.now, user: author, event };
            let entry = self.verified(device, &entry);
            team = team.or(Some(TeamId(entry.entry.hash())));
            next = (seq + 1, Some(entry.entry.hash()));
            entries.push(entry);
        }
        entries
    }

    pub fn verified(&self, device: &Key, entry: &TeamEntry) -> CommitEntry {
        let proof = match &entry.event {
            TeamEvent::MemberJoined { proof, .. } => {
                let kid = Unverified::<InviteProof>::parse(proof).unwrap().kid();
                let key = (1..=self.invitations).map(|n| Key::test(1_000_000 + n)).find(|key| key.thumbprint() == kid);
                key.map(|key| verify(proof, &key.public()).unwrap())
            }
            _ => None,
        };
        CommitEntry { entry: verify(&device.sign(entry), &device.public()).unwrap(), proof }
    }

    pub fn commit(&mut self, author: UserId, mut events: Vec<TeamEvent>, rotate: bool) -> Result<(), Code> {
        let mut envelopes = Vec::new();
        if rotate {
            let (rotation, sealed) = self.rotation(&events, author);
            events.push(TeamEvent::KeyRotated(rotation));
            envelopes = sealed;
        }
        let entries = self.signed(author, events);
        self.submit(entries, &envelopes)
    }

    pub fn submit(&mut self, entries: Vec<CommitEntry>, envelopes: &[Envelope]) -> Result<(), Code> {
        let state = TeamState::commit(self.state.as_ref(), &entries, envelopes, self.now, &Now(&self.world))
            .map_err(|refusal| refusal.code)?;
        let received_at = state.received_at();
        self.log.extend(entries.into_iter().map(|entry| (entry, received_at)));
        self.state = Some(state);
        Ok(())
    }

    /// What a client makes of the log.
    pub fn replayed(&self) -> Result<TeamState, Code> {
        let (first, received_at) = &self.log[0];
        let directory = Then(&self.world);
        let mut state = TeamState::found(&first.entry, *received_at, &directory).map_err(|refusal| refusal.code)?;
        for (entry, received_at) in &self.log[1..] {
            state.apply(entry, *received_at, &directory).map_err(|refusal| refusal.code)?;
        }
        state.settled().map_err(|refusal| refusal.code)?;
        Ok(state)
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
        Audience::Team { epoch: self.state().epoch().unwrap().number, wrapped: sealed(32) }
    }

    pub fn to_members(&self, author: UserId, members: &[UserId]) -> Audience {
        let mut members = members.to_vec();
        members.sort_unstable();
        let everyone = members.iter().chain([&author]);
        let mut envelopes: Vec<Envelope> =
            everyone.flat_map(|user| self.person(*user).log.active().map(|(device, _)| envelope(*device))).collect();
        envelopes.sort_unstable_by_key(|envelope| envelope.device);
        Audience::Members { epoch: self.state().epoch().unwrap().number, members, envelopes }
    }

    pub fn admit(&self, device: &Key, statement: &SnippetStatement) -> Result<(), Code> {
        let snippet = verify::<SnippetStatement>(&device.sign(statement), &device.public())?;
        self.state().admit(&snippet, self.now, |user| self.head_of(user)).map_err(|refusal| refusal.code)
    }
}

pub fn envelope(device: DeviceId) -> Envelope {
    Envelope { device, prekey: KeyId(Hash::of(b"prekey")), enc: Bytes([4; 65]), ct: Bytes([5; 48]) }
}
