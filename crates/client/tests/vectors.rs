//! Makes the examples in `tests/vectors/`, which pin every format that is stored or signed, and compares them with
//! what is there. The JavaScript tests check the same files with an independent client.
//!
//! After a deliberate change of a format: `OSMYNT_WRITE_VECTORS=1 cargo test -p osmynt-client --test vectors`.
//!
//! Every key here is made from small numbers and known to everybody.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    missing_docs,
    reason = "tests"
)]

use std::path::PathBuf;

use osmynt_client::invitation::Code;
use osmynt_client::keys::Signer;
use osmynt_client::logs::{self, Receipt, TeamView, verify_snippet};
use osmynt_client::seal::{self, Key, Prekey, Purpose};
use osmynt_core::api::{DirectoryUser, LoggedEntry};
use osmynt_core::names::{Name, Provider};
use osmynt_core::snippet::{Audience, Base, Header, Kind, Lines, SUITE, padded_length, prefix};
use osmynt_core::statement::{
    DeviceStatement, HandshakeStatement, InviteProof, PrekeyKind, PrekeyStatement, SnippetStatement, TeamEntry,
    UserEntry,
};
use osmynt_core::teamlog::{Joining, Policy, Role, Rotation, TeamEvent};
use osmynt_core::userlog::UserEvent;
use osmynt_core::{
    Bytes, DeviceId, Envelope, Hash, Head, InviteId, Payload, PublicKey, SnippetId, TeamId, Time, Unverified, UserId,
    Window, b64u, labels,
};
use serde_json::{Value, json};

const NOW: Time = Time(1_800_000_000);

fn signer(n: u8) -> Signer {
    Signer::from_scalar(&scalar(n)).unwrap()
}

fn scalar(n: u8) -> [u8; 32] {
    let mut scalar = [0; 32];
    scalar[31] = n;
    scalar
}

fn bytes<const N: usize>(n: u8) -> [u8; N] {
    [n; N]
}

fn private_jwk(public: &PublicKey, d: &[u8; 32]) -> Value {
    let mut jwk = serde_json::to_value(public).unwrap();
    jwk["d"] = json!(b64u::encode(d));
    json!({ "TEST-ONLY private key": jwk, "thumbprint": public.thumbprint() })
}

fn signing_key(n: u8) -> Value {
    private_jwk(signer(n).public(), &scalar(n))
}

fn prekey(n: u8) -> Prekey {
    Prekey::derive(&bytes(n)).unwrap()
}

fn prekey_json(n: u8) -> Value {
    let scalar: String = serde_json::from_value(serde_json::to_value(prekey(n)).unwrap()).unwrap();
    let mut key = private_jwk(prekey(n).public(), &b64u::decode_array(&scalar).unwrap());
    key["made by DeriveKeyPair (RFC 9180 section 7.1.3) of ikm"] = json!(b64u::encode(&bytes::<32>(n)));
    key
}

fn device(n: u8) -> DeviceId {
    DeviceId(signer(n).kid())
}

fn hash_of<T: Payload>(compact: &str) -> Hash {
    Unverified::<T>::parse(compact).unwrap().hash()
}

fn statement<T: Payload>(key: u8, payload: &T) -> Value {
    let compact = signer(key).sign(payload).unwrap();
    json!({
        "typ": T::TYP,
        "signed with": signing_key(key),
        "payload": serde_json::to_value(payload).unwrap(),
        "compact": compact,
        "hash": hash_of::<T>(&compact),
    })
}

fn snippet_id() -> SnippetId {
    "0192f3a4-5b6c-7d8e-9f00-112233445566".parse().unwrap()
}

/// Somebody: the entries of their log, and what the name in it opens to.
struct Person {
    user: UserId,
    log: Vec<String>,
    name: Name,
}

impl Person {
    /// With a first device, which adds another one if there is one, and signs a name.
    fn new(first: u8, second: Option<u8>, id: u64, login: &str) -> Self {
        let own = |user, n| signer(n).sign(&DeviceStatement { user, jwk: *signer(n).public(), iat: NOW }).unwrap();
        let event = UserEvent::DeviceAdded { device: own(None, first) };
        let founding = signer(first).sign(&UserEntry { user: None, seq: 0, prev: None, iat: NOW, event }).unwrap();
        let user = UserId(hash_of::<UserEntry>(&founding));
        let name = Name { provider: Provider::GitHub, id, login: login.to_owned(), salt: Bytes(bytes(0x5b)) };
        let mut person = Self { user, log: vec![founding], name };
        if let Some(second) = second {
            person.append(first, UserEvent::DeviceAdded { device: own(Some(user), second) });
        }
        person.append(first, UserEvent::NameSigned { commitment: person.name.commitment(user) });
        person
    }

    fn append(&mut self, by: u8, event: UserEvent) {
        let (seq, prev) = (self.log.len() as u64, self.log.last().map(|entry| hash_of::<UserEntry>(entry)));
        let entry = UserEntry { user: Some(self.user), seq, prev, iat: NOW, event };
        self.log.push(signer(by).sign(&entry).unwrap());
    }

    fn head(&self) -> Head {
        Head { seq: self.log.len() as u64 - 1, hash: hash_of::<UserEntry>(self.log.last().unwrap()) }
    }

    fn json(&self, devices: &[u8]) -> Value {
        let mut devices: Vec<DeviceId> = devices.iter().map(|n| device(*n)).collect();
        devices.sort_unstable();
        let Name { id, login, salt, .. } = &self.name;
        json!({
            "user": self.user,
            "entries": logged::<UserEntry>(&self.log),
            "head": self.head(),
            "active devices, ascending": devices,
            "name": self.name,
            "name commitment input": format!("osmynt/v1/name\n{}\ngithub\n{id}\n{login}\n{salt}", self.user),
            "name commitment": self.name.commitment(self.user),
        })
    }
}

fn logged<T: Payload>(entries: &[String]) -> Vec<Value> {
    entries.iter().map(|entry| json!({ "jws": entry, "received_at": NOW, "hash": hash_of::<T>(entry) })).collect()
}

/// Two people: Ada with devices 1 and 2, Grace with device 3.
struct People {
    ada: Person,
    grace: Person,
}

impl People {
    fn new() -> Self {
        Self { ada: Person::new(1, Some(2), 1815, "ada"), grace: Person::new(3, None, 1906, "Grace-H") }
    }
}

/// A log that Ada founds and Grace joins by an invitation.
struct Team {
    entries: Vec<String>,
    envelopes: Vec<Vec<Envelope>>,
}

const TEAM_KEYS: [[u8; 32]; 2] = [[0x11; 32], [0x22; 32]];
const NAME: &str = "Compilers & friends";

/// A device of a member, and the key that is sealed to.
type Recipient = (UserId, u8, u8);

impl Team {
    fn new(people: &People) -> Self {
        let mut team = Self { entries: Vec::new(), envelopes: Vec::new() };
        let People { ada, grace } = people;
        let policy = Policy { max_epoch_age: 2_592_000, joining: Joining::Invitation };
        team.append(1, ada.user, TeamEvent::TeamCreated { nonce: Bytes(bytes(0x5a)), policy });
        let ada_devices = [(ada.user, 1, 31), (ada.user, 2, 32)];
        team.rotate(1, ada.user, 1, &[ada], &ada_devices);
        let exp = NOW.plus(259_200);
        let (key, role) = (*signer(9).public(), Role::Member);
        team.append(1, ada.user, TeamEvent::InviteCreated { key, role, exp, uses: 1, user: None });
        let invite = InviteId(signer(9).kid());
        let proof = signer(9).sign(&team.proof(people)).unwrap();
        team.append(3, grace.user, TeamEvent::MemberJoined { invite, proof });
        let all = [ada_devices[0], ada_devices[1], (grace.user, 3, 33)];
        team.rotate(3, grace.user, 2, &[ada, grace], &all);
        team
    }

    fn proof(&self, people: &People) -> InviteProof {
        InviteProof { team: self.id(), invite: InviteId(signer(9).kid()), user: people.grace.user, iat: NOW }
    }

    fn code(&self) -> Code {
        Code {
            team: self.id(),
            key: scalar(9).into(),
            head: Head { seq: 2, hash: hash_of::<TeamEntry>(&self.entries[2]) },
            origin: "https://osmynt.example".to_owned(),
            name: NAME.to_owned(),
        }
    }

    fn id(&self) -> TeamId {
        TeamId(hash_of::<TeamEntry>(&self.entries[0]))
    }

    fn head(&self) -> Head {
        Head { seq: self.entries.len() as u64 - 1, hash: hash_of::<TeamEntry>(self.entries.last().unwrap()) }
    }

    fn append(&mut self, author: u8, user: UserId, event: TeamEvent) {
        let team = (!self.entries.is_empty()).then(|| self.id());
        let prev = self.entries.last().map(|entry| hash_of::<TeamEntry>(entry));
        let entry = TeamEntry { team, seq: self.entries.len() as u64, prev, iat: NOW, user, event };
        self.entries.push(signer(author).sign(&entry).unwrap());
    }

    fn rotate(&mut self, author: u8, user: UserId, epoch: u64, members: &[&Person], devices: &[Recipient]) {
        let team = self.id();
        let key = Key::new(TEAM_KEYS[usize::try_from(epoch).unwrap() - 1]);
        let purpose = Purpose::TeamKey { team, epoch };
        let envelopes: Vec<Envelope> = devices
            .iter()
            .map(|(_, n, p)| {
                seal::seal_envelope(&key, purpose, device(author), device(*n), prekey(*p).public(), &bytes(*p + 100))
                    .unwrap()
            })
            .collect();
        let mut members = members.to_vec();
        members.sort_unstable_by_key(|member| member.user);
        let rotation = Rotation {
            epoch,
            seqs: members.iter().map(|member| member.head().seq).collect(),
            heads: labels::head_set(members.iter().map(|member| (member.user, member.head()))),
            devices: labels::device_set(devices.iter().map(|(user, n, _)| (*user, device(*n)))),
            envelopes: labels::envelope_set(&envelopes),
            commitment: key.commitment(&labels::commit_team_key(team, epoch)),
            profile: seal::seal_profile(&key, team, epoch, NAME, bytes(0x77)).unwrap(),
        };
        self.envelopes.push(envelopes);
        self.append(author, user, TeamEvent::KeyRotated(rotation));
    }
}

fn encodings() -> Value {
    let padded = [0_u64, 1, 256, 257, 1000, 1025, 65_537, 1_000_000, 10_485_759, 10_485_760]
        .map(|length| json!({ "length": length, "padded": padded_length(length) }));
    json!({
        "about": "Section 1: b64u, hashes, public keys and thumbprints. Section 7: Padmé.",
        "b64u": [
            { "bytes (hex)": "", "b64u": b64u::encode(b"") },
            { "bytes (hex)": "fbff", "b64u": b64u::encode(b"\xfb\xff") },
            { "bytes (hex)": "000102", "b64u": b64u::encode(b"\0\x01\x02") },
        ],
        "b64u that is refused": ["-_9", "-_8=", "+/8", " -_8", "-_8\n", "A"],
        "sha256": [
            { "ascii": "", "hash": Hash::of(b"") },
            { "ascii": "osmynt", "hash": Hash::of(b"osmynt") },
        ],
        "keys": [signing_key(1), signing_key(2), prekey_json(31)],
        "padded_length": padded,
    })
}

fn statements(people: &People, team: &Team) -> Value {
    let jwk = *signer(1).public();
    json!({
        "about": "Section 2: one statement of each kind that stands outside a log. `hash` is over header.payload.",
        "statements": [
            statement(1, &HandshakeStatement {
                jwk,
                challenge: Hash::of(b"dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"),
                name: "ada's laptop".to_owned(),
                iat: NOW,
            }),
            statement(1, &DeviceStatement { user: None, jwk, iat: NOW }),
            statement(2, &DeviceStatement { user: Some(people.ada.user), jwk: *signer(2).public(), iat: NOW }),
            statement(1, &PrekeyStatement {
                user: people.ada.user,
                kind: PrekeyKind::Signed,
                key: *prekey(31).public(),
                iat: NOW,
            }),
            statement(9, &team.proof(people)),
        ],
        "verifier of the handshake's challenge": "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
    })
}

fn user_log(people: &People) -> Value {
    json!({
        "about": "Section 3: a user log of two devices, and one of one device. Each ends with a signed name.",
        "logs": [people.ada.json(&[1, 2]), people.grace.json(&[3])],
    })
}

fn devices_of(people: &People) -> [(UserId, DeviceId); 3] {
    [(people.ada.user, device(1)), (people.ada.user, device(2)), (people.grace.user, device(3))]
}

fn team_log(people: &People, team: &Team) -> Value {
    let member = |person: &Person, role, since| {
        (person.user, json!({ "user": person.user, "role": role, "since_epoch": since }))
    };
    let mut members = [member(&people.ada, Role::Owner, 1), member(&people.grace, Role::Member, 2)];
    members.sort_unstable_by_key(|(user, _)| *user);
    json!({
        "about": "Sections 4 to 6: a team that one founds and another joins by invitation. The members' user logs are in user-log.json.",
        "team": team.id(),
        "entries": logged::<TeamEntry>(&team.entries),
        "head": team.head(),
        "members, ascending": members.map(|(_, member)| member),
        "epoch": 2,
        "heads hash": labels::head_set([(people.ada.user, people.ada.head()), (people.grace.user, people.grace.head())]),
        "device set hash": labels::device_set(devices_of(people)),
        "empty device set hash": labels::device_set([]),
        "envelope set hash": labels::envelope_set(&team.envelopes[1]),
        "invitation": invitation(team),
    })
}

fn invitation(team: &Team) -> Value {
    let code = team.code();
    json!({
        "key": signing_key(9),
        "team": code.team,
        "head": code.head,
        "origin": code.origin,
        "name": code.name,
        "code": *code.write().unwrap(),
    })
}

/// What is hashed: the label and the lines, ascending, with line feeds between them.
fn hashed(label: &str, mut lines: Vec<String>, hash: Hash) -> Value {
    lines.sort_unstable();
    lines.insert(0, label.to_owned());
    assert_eq!(Hash::of(lines.join("\n").as_bytes()), hash);
    json!({ "lines": lines, "hash": hash })
}

fn worked_join(people: &People, team: &Team) -> Value {
    let People { ada, grace } = people;
    let commit = |entries: &[String], envelopes: &[Envelope]| json!({ "entries": entries, "envelopes": envelopes });
    let heads = [(ada.user, ada.head()), (grace.user, grace.head())];
    let mut members = heads.map(|(user, head)| (user, json!({ "user": user, "seq": head.seq })));
    members.sort_unstable_by_key(|(user, _)| *user);
    let members = members.map(|(_, member)| member);
    let envelope_line = |e: &Envelope| {
        format!("{} {} {} {} {}", e.device, e.prekey, e.suite, b64u::encode(&e.enc), b64u::encode(&e.ct))
    };
    let keys = [(31, 1, 0), (32, 1, 0), (31, 2, 1), (32, 2, 1), (33, 2, 1)].map(|(p, epoch, index)| {
        let id = osmynt_core::KeyId(prekey(p).public().thumbprint());
        let envelope = team.envelopes[index].iter().find(|envelope| envelope.prekey == id).unwrap();
        json!({
            "epoch": epoch,
            "envelope": envelope,
            "recipient's prekey": prekey_json(p),
            "opens to the team key": b64u::encode(&TEAM_KEYS[index]),
        })
    });
    json!({
        "about": "Section 14: one join from beginning to end. Ada, with devices 1 and 2, founds a team and invites; Grace, with device 3, joins.",
        "user logs": [ada.json(&[1, 2]), grace.json(&[3])],
        "1. the founding commit": commit(&team.entries[..2], &team.envelopes[0]),
        "the team's id: the hash of its first entry": team.id(),
        "2. the commit that invites": commit(&team.entries[2..3], &[]),
        "3. the invitation": invitation(team),
        "4. the proof": statement(9, &team.proof(people)),
        "5. the joiner's commit": commit(&team.entries[3..], &team.envelopes[1]),
        "the head after it": team.head(),
        "what its rotation hashes": {
            "members, ascending, with the positions of their heads": members,
            "heads": hashed(
                "osmynt/v1/heads",
                heads.iter().map(|(user, Head { seq, hash })| format!("{user} {seq} {hash}")).collect(),
                labels::head_set(heads),
            ),
            "devices": hashed(
                "osmynt/v1/devices",
                devices_of(people).iter().map(|(user, device)| format!("{user} {device}")).collect(),
                labels::device_set(devices_of(people)),
            ),
            "envelopes": hashed(
                "osmynt/v1/envelopes",
                team.envelopes[1].iter().map(envelope_line).collect(),
                labels::envelope_set(&team.envelopes[1]),
            ),
        },
        "6. what the envelopes open to": keys,
    })
}

fn team_keys(team: &Team) -> Value {
    let epochs: Vec<Value> = (1_u64..=2)
        .map(|epoch| {
            let index = usize::try_from(epoch).unwrap() - 1;
            let (sender, rotation) = [(1, 1), (3, 4)][index];
            let entry = Unverified::<TeamEntry>::parse(&team.entries[rotation]).unwrap();
            let TeamEvent::KeyRotated(rotation) = &entry.payload().event else { panic!("a rotation") };
            let envelopes: Vec<Value> = team.envelopes[index]
                .iter()
                .zip([31, 32, 33])
                .map(|(envelope, p)| {
                    let info =
                        labels::envelope_team_key(team.id(), epoch, device(sender), envelope.device, envelope.prekey);
                    json!({
                        "envelope": envelope,
                        "info": info,
                        "recipient's prekey": prekey_json(p),
                        "ikmE (RFC 9180 section 7.1.3)": b64u::encode(&bytes::<32>(p + 100)),
                    })
                })
                .collect();
            json!({
                "epoch": epoch,
                "team key": b64u::encode(&TEAM_KEYS[index]),
                "commitment label": labels::commit_team_key(team.id(), epoch),
                "commitment": rotation.commitment,
                "profile label": labels::profile(team.id(), epoch),
                "profile": rotation.profile,
                "name in the profile": NAME,
                "sender": device(sender),
                "envelopes": envelopes,
            })
        })
        .collect();
    json!({ "about": "Section 5: the keys of the team in team-log.json.", "team": team.id(), "epochs": epochs })
}

fn snippets(people: &People, team: &Team) -> Value {
    let content = b"fn main() {\n    println!(\"hello\");\n}\n";
    let header = Header {
        kind: Kind::Code,
        size: content.len() as u64,
        title: Some("Greeting".to_owned()),
        language: Some("rust".to_owned()),
        path: Some("src/main.rs".to_owned()),
        repository: Some("greeter".to_owned()),
        lines: Some(Lines { from: 1, to: 3 }),
        base: Some(Base { blob: "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391".to_owned(), from: Some(1), to: Some(0) }),
    };
    let key = Key::new(bytes(0x33));
    let sealed =
        seal::seal_snippet(&key, team.id(), snippet_id(), &header, content, [bytes(0x44), bytes(0x55)]).unwrap();
    let to_team = Audience::Team {
        epoch: 2,
        wrapped: seal::wrap(&Key::new(TEAM_KEYS[1]), team.id(), 2, snippet_id(), &key, bytes(0x66)).unwrap(),
    };
    let purpose = Purpose::ContentKey { team: team.id(), snippet: snippet_id() };
    let mut envelopes: Vec<Envelope> = [(1, 31), (2, 32), (3, 33)]
        .map(|(n, p)| {
            seal::seal_envelope(&key, purpose, device(1), device(n), prekey(p).public(), &bytes(p + 100)).unwrap()
        })
        .into();
    envelopes.sort_unstable_by_key(|envelope| envelope.device);
    let to_grace =
        Audience::Members { epoch: 2, members: vec![people.grace.user], envelopes: labels::envelope_set(&envelopes) };
    let example = |audience: Audience, envelopes: &[Envelope], exp| {
        let said = SnippetStatement {
            suite: SUITE.to_owned(),
            team: team.id(),
            snippet: snippet_id(),
            user: people.ada.user,
            audience,
            nonce: sealed.nonce,
            header: sealed.header.clone(),
            commitment: sealed.commitment,
            sha256: Hash::of(&sealed.ciphertext),
            length: sealed.ciphertext.len() as u64,
            head: team.head(),
            iat: NOW,
            exp,
        };
        let compact = signer(1).sign(&said).unwrap();
        let container = [prefix(&compact, envelopes).unwrap(), sealed.ciphertext.clone()].concat();
        json!({ "statement": compact, "envelopes": envelopes, "container": b64u::encode(&container) })
    };
    json!({
        "about": "Section 7: one content, shared with the team of team-log.json, and with its second member alone.",
        "author's device": signing_key(1),
        "content key": b64u::encode(&bytes::<32>(0x33)),
        "content": String::from_utf8_lossy(content),
        "header": header,
        "commitment label": labels::commit_content_key(team.id(), snippet_id()),
        "body label": labels::snippet_body(team.id(), snippet_id()),
        "header label": labels::snippet_header(team.id(), snippet_id()),
        "wrap label": labels::wrap(team.id(), 2, snippet_id()),
        "envelope label, from device 1 to device 3": labels::envelope_content_key(
            team.id(), snippet_id(), device(1), device(3), osmynt_core::KeyId(prekey(33).public().thumbprint())),
        "recipient's prekey": prekey_json(33),
        "to the team": example(to_team, &[], None),
        "to one member": example(to_grace, &envelopes, Some(NOW.plus(3600))),
    })
}

/// The examples obey the rules, so that whoever implements these can try them on the examples.
#[test]
fn the_published_examples_verify() {
    let people = People::new();
    let team = Team::new(&people);
    let window = Window::receiving(NOW);
    let entries = |log: &[String]| -> Vec<LoggedEntry> {
        log.iter().map(|jws| LoggedEntry { jws: jws.clone(), received_at: NOW }).collect()
    };
    let mut directory = logs::People::default();
    for Person { user, log, name } in [&people.ada, &people.grace] {
        let said = DirectoryUser { user: *user, log: entries(log), name: Some(name.clone()), prekeys: Vec::new() };
        directory.add(said, None, &window).unwrap();
        assert_eq!(directory.user(*user).unwrap().name(), Some(name));
    }
    let mut view = TeamView::begin(team.id(), &entries(&team.entries), &directory, &window).unwrap();
    assert!(view.ends_at(team.head()).unwrap());
    let snippets = snippets(&people, &team);
    for to in ["to the team", "to one member"] {
        let compact = snippets[to]["statement"].as_str().unwrap();
        let receipt = Receipt { received_at: Some(NOW), now: NOW };
        verify_snippet(&view, &directory, compact, Some(snippet_id()), receipt).unwrap();
    }
    assert_eq!(Code::read(&team.code().write().unwrap()).unwrap(), team.code());
}

#[test]
fn the_published_examples_are_what_this_code_makes() {
    let people = People::new();
    let team = Team::new(&people);
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors");
    for (name, value) in [
        ("encodings", encodings()),
        ("statements", statements(&people, &team)),
        ("user-log", user_log(&people)),
        ("team-log", team_log(&people, &team)),
        ("team-keys", team_keys(&team)),
        ("snippets", snippets(&people, &team)),
        ("join", worked_join(&people, &team)),
    ] {
        let path = folder.join(format!("{name}.json"));
        let made = format!("{value:#}\n");
        if std::env::var_os("OSMYNT_WRITE_VECTORS").is_some() {
            std::fs::write(&path, &made).unwrap();
        }
        assert_eq!(std::fs::read_to_string(&path).unwrap(), made, "{name}.json is no longer what this code makes");
    }
}
