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

use osmynt_client::keys::Signer;
use osmynt_client::seal::{self, Key, Prekey, Purpose};
use osmynt_core::snippet::{Audience, Base, Header, Kind, Lines, SUITE, padded_length, prefix};
use osmynt_core::statement::{
    DeviceStatement, HandshakeStatement, InviteProof, PrekeyKind, PrekeyStatement, SnippetStatement, TeamEntry,
    UserEntry,
};
use osmynt_core::teamlog::{Policy, Role, Rotation, TeamEvent, UserHead};
use osmynt_core::userlog::UserEvent;
use osmynt_core::{
    Bytes, DeviceId, Envelope, Hash, Head, InviteId, Payload, PublicKey, SnippetId, TeamId, Time, Unverified, UserId,
    b64u, labels,
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

fn user(n: u64) -> UserId {
    format!("0192f3a4-0000-7000-8000-{n:012x}").parse().unwrap()
}

fn snippet_id() -> SnippetId {
    "0192f3a4-5b6c-7d8e-9f00-112233445566".parse().unwrap()
}

/// Two people: Ada with devices 1 and 2, Grace with device 3.
struct People {
    ada: Vec<String>,
    grace: Vec<String>,
}

impl People {
    fn new() -> Self {
        let own = |user, n| signer(n).sign(&DeviceStatement { user, jwk: *signer(n).public(), iat: NOW }).unwrap();
        let entry = |user, n: u8, past: &[String], event| {
            let prev = past.last().map(|entry| hash_of::<UserEntry>(entry));
            let seq = past.len() as u64;
            signer(n).sign(&UserEntry { user, seq, prev, iat: NOW, event }).unwrap()
        };
        let mut ada = vec![entry(user(1), 1, &[], UserEvent::DeviceAdded { device: own(user(1), 1) })];
        ada.push(entry(user(1), 1, &ada, UserEvent::DeviceAdded { device: own(user(1), 2) }));
        let grace = vec![entry(user(2), 3, &[], UserEvent::DeviceAdded { device: own(user(2), 3) })];
        Self { ada, grace }
    }

    fn identity(log: &[String]) -> Hash {
        hash_of::<UserEntry>(&log[0])
    }

    fn head(user: UserId, log: &[String]) -> UserHead {
        UserHead { user, seq: log.len() as u64 - 1, hash: hash_of::<UserEntry>(log.last().unwrap()) }
    }
}

/// A log that Ada founds and Grace joins by an invitation.
struct Team {
    entries: Vec<String>,
    envelopes: Vec<Vec<Envelope>>,
}

const TEAM_KEYS: [[u8; 32]; 2] = [[0x11; 32], [0x22; 32]];
const NAME: &str = "Compilers & friends";

impl Team {
    fn new(people: &People) -> Self {
        let mut team = Self { entries: Vec::new(), envelopes: Vec::new() };
        let (ada, grace) = (People::identity(&people.ada), People::identity(&people.grace));
        team.append(
            1,
            user(1),
            TeamEvent::TeamCreated {
                nonce: Bytes(bytes(0x5a)),
                identity: ada,
                policy: Policy { max_epoch_age: 2_592_000 },
            },
        );
        let ada_devices = [(user(1), 1, 31), (user(1), 2, 32)];
        team.rotate(1, user(1), 1, vec![People::head(user(1), &people.ada)], &ada_devices);
        team.append(
            1,
            user(1),
            TeamEvent::InviteCreated { key: *signer(9).public(), role: Role::Member, exp: NOW.plus(86_400), uses: 1 },
        );
        let invite = InviteId(signer(9).kid());
        let proof = InviteProof { team: team.id(), invite, user: user(2), identity: grace, iat: NOW };
        let proof = signer(9).sign(&proof).unwrap();
        team.append(3, user(2), TeamEvent::MemberJoined { invite, identity: grace, proof });
        let all = [ada_devices[0], ada_devices[1], (user(2), 3, 33)];
        team.rotate(3, user(2), 2, vec![People::head(user(2), &people.grace)], &all);
        team
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

    fn rotate(&mut self, author: u8, user: UserId, epoch: u64, heads: Vec<UserHead>, devices: &[(UserId, u8, u8)]) {
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
        let rotation = Rotation {
            epoch,
            heads,
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
            statement(1, &DeviceStatement { user: user(1), jwk, iat: NOW }),
            statement(1, &PrekeyStatement { user: user(1), kind: PrekeyKind::Signed, key: *prekey(31).public(), iat: NOW }),
            statement(9, &InviteProof {
                team: team.id(),
                invite: InviteId(signer(9).kid()),
                user: user(2),
                identity: People::identity(&people.grace),
                iat: NOW,
            }),
        ],
        "verifier of the handshake's challenge": "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
    })
}

fn user_log(people: &People) -> Value {
    let entry = |entry: &String| json!({ "jws": entry, "received_at": NOW, "hash": hash_of::<UserEntry>(entry) });
    let mut devices = vec![device(1), device(2)];
    devices.sort_unstable();
    json!({
        "about": "Section 3: a user log of two devices, and one of one device. `received_at` in integer seconds here.",
        "logs": [
            {
                "user": user(1),
                "entries": people.ada.iter().map(entry).collect::<Vec<_>>(),
                "identity": People::identity(&people.ada),
                "active devices, ascending": devices,
            },
            {
                "user": user(2),
                "entries": people.grace.iter().map(entry).collect::<Vec<_>>(),
                "identity": People::identity(&people.grace),
                "active devices, ascending": [device(3)],
            },
        ],
    })
}

fn team_log(people: &People, team: &Team) -> Value {
    let (epoch, devices) = (2, [(user(1), device(1)), (user(1), device(2)), (user(2), device(3))]);
    json!({
        "about": "Sections 4 to 6: a team that one founds and another joins by invitation. The members' user logs are in user-log.json.",
        "team": team.id(),
        "entries": team.entries.iter().map(|entry| json!({ "jws": entry, "received_at": NOW, "hash": hash_of::<TeamEntry>(entry) })).collect::<Vec<_>>(),
        "head": team.head(),
        "members": [
            { "user": user(1), "role": "owner", "identity": People::identity(&people.ada), "since_epoch": 1 },
            { "user": user(2), "role": "member", "identity": People::identity(&people.grace), "since_epoch": 2 },
        ],
        "epoch": epoch,
        "device set hash": labels::device_set(devices),
        "empty device set hash": labels::device_set([]),
        "envelope set hash": labels::envelope_set(&team.envelopes[1]),
        "invitation": {
            "key": signing_key(9),
            "link": format!("https://osmynt.example/join#v1.{}", b64u::encode(&serde_json::to_vec(&json!({
                "team": team.id(),
                "key": b64u::encode(&scalar(9)),
                "head": { "seq": 2, "hash": hash_of::<TeamEntry>(&team.entries[2]) },
                "name": NAME,
            })).unwrap())),
        },
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

fn snippets(team: &Team) -> Value {
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
    let to_grace = Audience::Members { epoch: 2, members: vec![user(2)], envelopes };
    let example = |audience: Audience, exp| {
        let said = SnippetStatement {
            suite: SUITE.to_owned(),
            team: team.id(),
            snippet: snippet_id(),
            user: user(1),
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
        let container = [prefix(&compact).unwrap(), sealed.ciphertext.clone()].concat();
        json!({ "statement": compact, "container": b64u::encode(&container) })
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
        "to the team": example(to_team, None),
        "to one member": example(to_grace, Some(NOW.plus(3600))),
    })
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
        ("snippets", snippets(&team)),
    ] {
        let path = folder.join(format!("{name}.json"));
        let made = format!("{value:#}\n");
        if std::env::var_os("OSMYNT_WRITE_VECTORS").is_some() {
            std::fs::write(&path, &made).unwrap();
        }
        assert_eq!(std::fs::read_to_string(&path).unwrap(), made, "{name}.json is no longer what this code makes");
    }
}
