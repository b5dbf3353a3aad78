//! A small world for tests: people with devices, teams whose logs are made with real keys, and a service's answers that
//! a test can bend.

#![allow(dead_code, unreachable_pub, missing_docs, reason = "each test file uses a part of it; nothing is published")]
#![allow(clippy::unwrap_used, clippy::arithmetic_side_effects, clippy::indexing_slicing, reason = "tests")]

pub mod home;
pub mod service;
pub mod stage;

use std::collections::{BTreeMap, BTreeSet};

use osmynt_client::commit::{self, Author, Built};
use osmynt_client::keys::{DeviceKeys, Signer};
use osmynt_client::logs::{People, TeamView, VerifiedUser};
use osmynt_client::seal::Key;
use osmynt_client::share::{self, Draft, Recipients, To};
use osmynt_client::{DeviceId, Joining, Kind, Result, Role, SnippetId, TeamId, Time, UserId};
use osmynt_core::api::{DirectoryUser, LoggedEntry};
use osmynt_core::names::{Name, Provider};
use osmynt_core::statement::{DeviceStatement, InviteProof, PrekeyKind, PrekeyStatement, UserEntry};
use osmynt_core::teamlog::{Policy, TeamEvent};
use osmynt_core::userlog::UserEvent;
use osmynt_core::{Bytes, Envelope, Hash, Head, InviteId, Window};

/// Long ago, so that nothing is received in the future.
pub const START: Time = Time(1_700_000_000);
/// A reading that is the first, long after all that the tests do.
pub const ANY_TIME: Window = Window { read_at: None, now: Time(4_000_000_000) };

/// Random bytes that are the same in every run.
pub fn random(seed: &str) -> impl FnMut() -> Result<[u8; 32]> + use<> {
    let seed = seed.to_owned();
    let mut draws = 0_u64;
    move || {
        draws += 1;
        Ok(*Hash::of(format!("{seed} {draws}").as_bytes()).as_bytes())
    }
}

/// Somebody with one device.
#[derive(Clone)]
pub struct Human {
    pub user: UserId,
    pub keys: DeviceKeys,
    pub log: Vec<LoggedEntry>,
    pub prekeys: Vec<String>,
    pub name: Option<Name>,
}

impl Human {
    pub fn new(number: u8) -> Self {
        let keys = DeviceKeys::generate(START, random(&format!("human {number}"))).unwrap();
        let device = keys.signer.sign(&DeviceStatement { user: None, jwk: *keys.signer.public(), iat: START }).unwrap();
        let event = UserEvent::DeviceAdded { device };
        let first = keys.signer.sign(&UserEntry { user: None, seq: 0, prev: None, iat: START, event }).unwrap();
        let user = UserId(hash_of(&first));
        let log = vec![LoggedEntry { jws: first, received_at: START }];
        let mut human = Self { user, keys, log, prekeys: Vec::new(), name: None };
        human.sign_name(u64::from(number), &format!("human-{number}"), START);
        human.prekeys = vec![human.prekey_statement(&human.keys)];
        human
    }

    /// Says what the human is called, and shows it.
    pub fn sign_name(&mut self, id: u64, login: &str, at: Time) {
        let name = Name { provider: Provider::GitHub, id, login: login.to_owned(), salt: Bytes([9; 32]) };
        let commitment = name.commitment(self.user);
        self.append_at(&self.keys.signer.clone(), UserEvent::NameSigned { commitment }, at);
        self.name = Some(name);
    }

    pub fn device(&self) -> DeviceId {
        DeviceId(self.keys.signer.kid())
    }

    pub fn device_statement(&self, signer: &Signer) -> String {
        signer.sign(&DeviceStatement { user: Some(self.user), jwk: *signer.public(), iat: START }).unwrap()
    }

    pub fn prekey_statement(&self, keys: &DeviceKeys) -> String {
        let prekey = keys.current_prekey().unwrap();
        let statement =
            PrekeyStatement { user: self.user, kind: PrekeyKind::Signed, key: *prekey.public(), iat: START };
        keys.signer.sign(&statement).unwrap()
    }

    /// Appends an entry to the log, signed by whoever: nothing is checked here.
    pub fn append(&mut self, signer: &Signer, event: UserEvent) {
        self.append_at(signer, event, START);
    }

    /// The same, received at some time.
    pub fn append_at(&mut self, signer: &Signer, event: UserEvent, at: Time) {
        let prev = self.log.last().map(|entry| hash_of(&entry.jws));
        let seq = self.log.len() as u64;
        let entry = UserEntry { user: Some(self.user), seq, prev, iat: at, event };
        self.log.push(LoggedEntry { jws: signer.sign(&entry).unwrap(), received_at: at });
    }

    pub fn verified(&self) -> VerifiedUser {
        VerifiedUser::verify(self.user, &self.log, &ANY_TIME).unwrap()
    }

    pub fn listed(&self) -> DirectoryUser {
        DirectoryUser { user: self.user, log: self.log.clone(), name: self.name.clone(), prekeys: self.prekeys.clone() }
    }

    pub fn author(&self, now: Time) -> Author<'_> {
        Author { user: self.user, signer: &self.keys.signer, now }
    }
}

pub fn people(humans: &[&Human]) -> People {
    let mut people = People::default();
    for human in humans {
        people.add(human.listed(), None, &ANY_TIME).unwrap();
    }
    people
}

/// The hash of a statement, whatever its kind.
pub fn hash_of(compact: &str) -> Hash {
    Hash::of(compact.rsplit_once('.').unwrap().0.as_bytes())
}

/// Reads a whole log that nothing was known of, in one page.
pub fn read(team: TeamId, log: &[LoggedEntry], people: &People) -> Result<TeamView> {
    let mut view = TeamView::begin(team, log, people, &ANY_TIME)?;
    let head = Head { seq: log.len() as u64 - 1, hash: hash_of(&log[log.len() - 1].jws) };
    view.ends_at(head).map(|_| view)
}

/// A team as an honest service has it.
#[derive(Clone)]
pub struct World {
    pub team: TeamId,
    pub log: Vec<LoggedEntry>,
    pub keys: BTreeMap<u64, Key>,
    pub envelopes: BTreeMap<u64, Vec<Envelope>>,
    pub now: Time,
    pub seed: String,
}

impl World {
    pub fn found(owner: &Human, seed: &str) -> Self {
        let [nonce @ .., _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _] = *Hash::of(seed.as_bytes()).as_bytes();
        let created = TeamEvent::TeamCreated {
            nonce: Bytes(nonce),
            policy: Policy { max_epoch_age: 30 * 24 * 3600, joining: Joining::Invitation },
        };
        let built =
            commit::build(None, vec![created], Some("Team"), &owner.author(START), &people(&[owner]), random(seed))
                .unwrap();
        let mut world = Self {
            team: built.state.team(),
            log: Vec::new(),
            keys: BTreeMap::new(),
            envelopes: BTreeMap::new(),
            now: START,
            seed: seed.to_owned(),
        };
        world.take(built);
        world
    }

    pub fn view(&self, humans: &[&Human]) -> TeamView {
        read(self.team, &self.log, &people(humans)).unwrap()
    }

    /// Somebody commits, a minute after whatever was before.
    pub fn commit(&mut self, by: &Human, events: Vec<TeamEvent>, rotate: bool, humans: &[&Human]) {
        self.now = self.now.plus(60);
        let built = self.build(by, events, rotate, humans);
        self.take(built);
    }

    pub fn build(&self, by: &Human, events: Vec<TeamEvent>, rotate: bool, humans: &[&Human]) -> Built {
        let view = self.view(humans);
        let seed = format!("{} {}", self.seed, self.log.len());
        let name = rotate.then_some("Team");
        commit::build(Some(view.state()), events, name, &by.author(self.now), &people(humans), random(&seed)).unwrap()
    }

    pub fn take(&mut self, built: Built) {
        let entries = built.request.entries.into_iter();
        self.log.extend(entries.map(|jws| LoggedEntry { jws, received_at: self.now }));
        if let Some(key) = built.team_key {
            let epoch = built.state.epoch().unwrap().number;
            self.keys.insert(epoch, key);
            self.envelopes.insert(epoch, built.request.envelopes);
        }
    }

    /// `by` invites, `joiner` joins.
    pub fn join(&mut self, by: &Human, joiner: &Human, role: Role, humans: &[&Human]) {
        let invitation = Signer::generate(random(&format!("invitation {}", joiner.user))).unwrap();
        let exp = self.now.plus(3600);
        let created = TeamEvent::InviteCreated { key: *invitation.public(), role, exp, uses: 1, user: None };
        self.commit(by, vec![created], false, humans);
        let invite = InviteId(invitation.kid());
        let proof = InviteProof { team: self.team, invite, user: joiner.user, iat: self.now };
        let proof = invitation.sign(&proof).unwrap();
        let event = TeamEvent::MemberJoined { invite, proof };
        let mut everybody = humans.to_vec();
        everybody.push(joiner);
        self.commit(joiner, vec![event], true, &everybody);
    }

    /// A snippet for the team, or for some of it.
    pub fn share(&self, by: &Human, to: Option<&[&Human]>, humans: &[&Human]) -> (SnippetId, Vec<u8>) {
        (snippet_id(1), self.share_as(by, to, humans, snippet_id(1)))
    }

    /// The same, under an id of its own.
    pub fn share_as(&self, by: &Human, to: Option<&[&Human]>, humans: &[&Human], snippet: SnippetId) -> Vec<u8> {
        let view = self.view(humans);
        let users: BTreeSet<UserId> = to.unwrap_or_default().iter().map(|human| human.user).collect();
        let epoch = view.state().epoch().unwrap().number;
        let to = if to.is_some() { To::Members(&users) } else { To::Team(self.keys[&epoch].clone()) };
        let author = share::Author { user: by.user, signer: &by.keys.signer, now: self.now };
        let random = random(&format!("{} snippet", self.seed));
        share::build(&view, &people(humans), snippet, &draft(), &to, &author, random).unwrap()
    }
}

pub fn snippet_id(last: u8) -> SnippetId {
    format!("0192f3a4-5b6c-7d8e-9f00-1122334455{last:02x}").parse().unwrap()
}

pub fn draft() -> Draft {
    Draft {
        content: b"fn main() {}\n".to_vec(),
        kind: Kind::Code,
        title: Some("main".to_owned()),
        language: Some("rust".to_owned()),
        path: Some("src/main.rs".to_owned()),
        repository: None,
        lines: None,
        base: None,
        to: Recipients::Team,
        lifetime: None,
    }
}
