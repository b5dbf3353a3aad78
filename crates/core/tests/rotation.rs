//! Section 5: which devices have the key of an epoch, and when an epoch has ended.
#![allow(clippy::unwrap_used, clippy::arithmetic_side_effects, clippy::indexing_slicing, missing_docs)]
mod support;

use std::collections::BTreeMap;

use osmynt_core::limits::{
    DEVICES_PER_TEAM, JSON_BODY_BYTES, MAX_INTEGER, MEMBERS_PER_TEAM, PROFILE_BYTES, USER_LOG_ENTRIES,
};
use osmynt_core::statement::TeamEntry;
use osmynt_core::teamlog::{Directory, Member, Role, Rotation, TeamEvent, TeamState};
use osmynt_core::userlog::{Device, Snapshot};
use osmynt_core::{Code, DeviceId, Envelope, Hash, Head, KeyId, Payload, Refusal, UserId, api, labels};
use support::{Key, Now, POLICY, Person, Team, Then, Verdict, chained, code, decide, envelope, follow, prekey, sealed};

const OWNER: u32 = 0;
const MEMBER: u32 = 2;
const OTHER: u32 = 3;
const STRANGER: u32 = 4;

fn sealed_to(rotation: &Rotation, envelopes: &[Envelope]) -> Rotation {
    Rotation { envelopes: labels::envelope_set(envelopes), ..rotation.clone() }
}

/// What the service says to a rotation by the owner.
fn refusal(team: &Team, rotation: Rotation, envelopes: &[Envelope]) -> Option<Refusal> {
    let entries = team.signed(team.user(OWNER), vec![TeamEvent::KeyRotated(rotation)]);
    decide(team.state.as_ref(), &entries, envelopes, team.now, &Now(&team.world)).err()
}

fn verdict(team: &Team, rotation: Rotation, envelopes: &[Envelope]) -> Verdict {
    refusal(team, rotation, envelopes).map_or(Ok(()), |refusal| Err(refusal.code))
}

#[test]
fn envelopes_cover_exactly_the_active_devices() {
    let team = Team::of_four();
    let (rotation, envelopes) = team.rotation(&[], team.user(OWNER));
    let stranger = envelope(team.person(team.user(STRANGER)).device().device());
    let with = |envelopes: &[Envelope]| sealed_to(&rotation, envelopes);
    let mut missing = envelopes.clone();
    missing.pop();
    let twice = [envelopes.clone(), vec![envelopes[0].clone()]].concat();
    let mut replaced = missing.clone();
    replaced.push(envelopes[0].clone());
    let added = [envelopes.clone(), vec![stranger.clone()]].concat();
    let mut swapped = missing.clone();
    swapped.push(stranger);
    for (why, code, rotation, sent) in [
        ("one missing", Code::CoverageMismatch, with(&missing), &missing),
        ("one twice", Code::InvalidRequest, with(&twice), &twice),
        ("one twice instead of another", Code::InvalidRequest, with(&replaced), &replaced),
        ("one for a stranger", Code::CoverageMismatch, with(&added), &added),
        ("a stranger instead of a member", Code::CoverageMismatch, with(&swapped), &swapped),
        ("another set than was signed", Code::InvalidRequest, with(&missing), &envelopes),
        ("none", Code::CoverageMismatch, with(&[]), &vec![]),
    ] {
        assert_eq!(verdict(&team, rotation, sent), Err(code), "{why}");
    }
    let mut shuffled = envelopes;
    shuffled.reverse();
    assert_eq!(verdict(&team, rotation, &shuffled), Ok(()), "the order does not matter");
}

#[test]
fn a_mismatch_names_the_devices_that_are_missing_or_not_expected() {
    let mut team = Team::of_four();
    let (rotation, mut envelopes) = team.rotation(&[], team.user(OWNER));
    let gone = envelopes.remove(1).device;
    let stranger = Key::test(77).device();
    envelopes.push(envelope(stranger));
    let detail = refusal(&team, sealed_to(&rotation, &envelopes), &envelopes).unwrap().detail;
    assert!(detail.ends_with(&format!("; missing: {gone}; not expected: {stranger}")), "{detail}");

    let member = team.user(MEMBER);
    for n in 0..12 {
        team.add_device(member, &Key::test(250 + n)).unwrap();
    }
    let (rotation, envelopes) = team.rotation(&[], team.user(OWNER));
    let of_member: Vec<DeviceId> = team.person(member).log.active().map(|(device, _)| *device).collect();
    let few: Vec<Envelope> = envelopes.into_iter().filter(|envelope| !of_member.contains(&envelope.device)).collect();
    let detail = refusal(&team, sealed_to(&rotation, &few), &few).unwrap().detail;
    assert_eq!(detail.matches(", ").count(), 9, "at most ten by name: {detail}");
    assert!(detail.ends_with(" and 3 more"), "{detail}");
    assert!(!detail.contains("not expected"), "{detail}");
}

#[test]
fn an_envelope_is_sealed_to_a_key_that_its_device_has_by_a_known_suite_at_its_lengths() {
    type Change<'a> = &'a dyn Fn(&mut Envelope);
    let team = Team::of_four();
    let (rotation, envelopes) = team.rotation(&[], team.user(OWNER));
    let other = envelopes[1].device;
    let cases: [(&str, Code, Change<'_>); 7] = [
        ("a key that nobody has", Code::CoverageMismatch, &|e| e.prekey = KeyId(Hash::of(b"another"))),
        ("another device's key", Code::CoverageMismatch, &|e| e.prekey = prekey(other)),
        ("an unknown suite", Code::InvalidRequest, &|e| e.suite = "MlKem768P256".to_owned()),
        ("a short enc", Code::InvalidRequest, &|e| e.enc.truncate(64)),
        ("a long enc", Code::InvalidRequest, &|e| e.enc.push(0)),
        ("a short ct", Code::InvalidRequest, &|e| e.ct.truncate(47)),
        ("a long ct", Code::InvalidRequest, &|e| e.ct.push(0)),
    ];
    for (why, code, change) in cases {
        let mut envelopes = envelopes.clone();
        change(&mut envelopes[0]);
        let refusal = refusal(&team, sealed_to(&rotation, &envelopes), &envelopes).unwrap();
        assert_eq!(refusal.code, code, "{why}");
        let named = refusal.detail.contains(&envelopes[0].device.to_string());
        assert_eq!(named, code == Code::CoverageMismatch, "{why}: {}", refusal.detail);
    }
    assert_eq!(verdict(&team, rotation, &envelopes), Ok(()));
}

#[test]
fn a_rotation_is_computed_from_the_current_heads() {
    let mut team = Team::of_four();
    let (owner, member) = (team.user(OWNER), team.user(MEMBER));
    let outdated = team.rotation(&[], owner);
    team.add_device(member, &Key::test(250)).unwrap();
    let (rotation, envelopes) = team.rotation(&[], owner);
    let at = team.state().members().keys().position(|user| *user == member).unwrap();
    assert_eq!(rotation.seqs, (0..4).map(|n| u64::from(n == at)).collect::<Vec<_>>(), "one for each, by user id");
    let with = |seqs: Vec<u64>| Rotation { seqs, ..rotation.clone() };
    let moved = |seq: u64| with((0..4).map(|n| if n == at { seq } else { 0 }).collect());
    for (why, code, rotation) in [
        ("the head before", Code::CoverageMismatch, moved(0)),
        ("a head that never was", Code::CoverageMismatch, moved(2)),
        ("one head too few", Code::CoverageMismatch, with(rotation.seqs[..3].to_vec())),
        ("one head too many", Code::CoverageMismatch, with([rotation.seqs.clone(), vec![0]].concat())),
        ("none", Code::CoverageMismatch, with(vec![])),
        ("other hashes", Code::CoverageMismatch, Rotation { heads: Hash::of(b"x"), ..rotation.clone() }),
        ("other devices", Code::CoverageMismatch, Rotation { devices: Hash::of(b"x"), ..rotation.clone() }),
        ("the epoch again", Code::StaleLog, Rotation { epoch: rotation.epoch - 1, ..rotation.clone() }),
        ("an epoch too far", Code::StaleLog, Rotation { epoch: rotation.epoch + 1, ..rotation.clone() }),
        ("a long profile", Code::TooLarge, Rotation { profile: sealed(1025), ..rotation.clone() }),
    ] {
        assert_eq!(verdict(&team, rotation, &envelopes), Err(code), "{why}");
    }
    assert_eq!(verdict(&team, outdated.0, &outdated.1), Err(Code::CoverageMismatch), "a device was added since");
    let entries = team.signed(owner, vec![TeamEvent::KeyRotated(rotation)]);
    assert_eq!(team.submit(&entries, &envelopes), Ok(()));
    assert_eq!(&team.replayed().unwrap(), team.state());
}

/// What a client says to a rotation that a service which lies shows it, at the present time.
fn shown(team: &Team, rotation: Rotation) -> Verdict {
    let entry = team.signed(team.user(OWNER), vec![TeamEvent::KeyRotated(rotation)]).remove(0);
    team.shown(&entry, team.object_time()).map(|_| ())
}

#[test]
fn heads_only_advance_also_for_a_client() {
    let mut team = Team::of_four();
    let owner = team.user(OWNER);
    let (back, _) = team.rotation(&[], owner);
    team.add_device(team.user(MEMBER), &Key::test(250)).unwrap();
    assert_eq!(shown(&team, back.clone()), Ok(()), "a head that was current a moment ago");
    team.rotate(owner).unwrap();
    let back = Rotation { epoch: team.epoch() + 1, ..back };
    assert_eq!(shown(&team, back), Err(Code::CoverageMismatch), "not once a later one was named");
    assert_eq!(shown(&team, team.rotation(&[], owner).0), Ok(()), "the same again is no step back");
}

#[test]
fn a_device_that_a_rotation_does_not_cover_cannot_have_made_it() {
    let mut team = Team::of_four();
    let owner = team.user(OWNER);
    let (rotation, _) = team.rotation(&[], owner);
    // A service that lies takes a rotation that was computed before this device was added.
    team.add_device(owner, &Key::test(50)).unwrap();
    assert_eq!(shown(&team, rotation), Err(Code::CoverageMismatch));
}

#[test]
fn two_members_with_one_device_get_no_key() {
    let mut team = Team::of_four();
    let owner = team.user(OWNER);
    // The service lets no device into a second log; one that lies does.
    let device = team.person(team.user(MEMBER)).device().clone();
    let twin = team.meet(Person::founded(&device, team.now.plus(1)));
    let key = team.invite(owner, Role::Member, 1).unwrap();
    let joined = team.joined(twin, &key);
    let (rotation, _) = team.rotation(std::slice::from_ref(&joined), twin);
    let entries = team.signed(twin, vec![joined, TeamEvent::KeyRotated(rotation)]);
    let state = team.shown(&entries[0], team.now).unwrap();
    let refused = follow(Some(&state), &entries[1], team.now, &Then(&team.world)).unwrap_err();
    assert_eq!(refused, Code::Conflict);
}

/// A directory in which one member has very many devices.
struct Crowd<'a> {
    team: &'a Team,
    of: UserId,
    devices: Vec<DeviceId>,
}

impl Directory for Crowd<'_> {
    fn device(&self, user: UserId, device: DeviceId) -> Option<Device> {
        Now(&self.team.world).device(user, device)
    }

    fn head(&self, user: UserId) -> Option<Head> {
        Now(&self.team.world).head(user)
    }

    fn at(&self, user: UserId, seq: u64) -> Option<Snapshot> {
        let snapshot = Now(&self.team.world).at(user, seq)?;
        Some(if user == self.of { Snapshot { devices: self.devices.clone(), ..snapshot } } else { snapshot })
    }

    fn has_prekey(&self, device: DeviceId, key: KeyId) -> bool {
        Now(&self.team.world).has_prekey(device, key)
    }
}

#[test]
fn the_members_of_a_team_have_a_thousand_devices_at_most() {
    let team = Team::of_four();
    let (owner, of) = (team.user(OWNER), team.user(MEMBER));
    let (rotation, _) = team.rotation(&[], owner);
    for (count, verdict) in [(997, Ok(())), (998, Err(Code::TooLarge))] {
        let mut devices: Vec<DeviceId> = (0..count).map(|n: u32| DeviceId(Hash::of(&n.to_be_bytes()))).collect();
        devices.sort_unstable();
        let others = team.state().devices().filter(|(user, _)| *user != of);
        let all: Vec<(UserId, DeviceId)> = others.chain(devices.iter().map(|device| (of, *device))).collect();
        let envelopes: Vec<Envelope> = all.iter().map(|(_, device)| envelope(*device)).collect();
        let rotation = Rotation { devices: labels::device_set(all), ..sealed_to(&rotation, &envelopes) };
        let entries = team.signed(owner, vec![TeamEvent::KeyRotated(rotation)]);
        let crowd = Crowd { team: &team, of, devices };
        let decided = decide(team.state.as_ref(), &entries, &envelopes, team.now, &crowd);
        assert_eq!(decided.map(|_| ()).map_err(code), verdict, "3 and {count} devices");
    }
}

/// A directory in which every member's log is as long as a log can be. Each member has one device.
struct LongLogs<'a> {
    team: &'a Team,
    devices: BTreeMap<UserId, DeviceId>,
}

impl LongLogs<'_> {
    const LAST: u64 = USER_LOG_ENTRIES as u64 - 1;

    fn hash(user: UserId) -> Hash {
        Hash::of(format!("last entry of {user}").as_bytes())
    }
}

impl Directory for LongLogs<'_> {
    fn device(&self, user: UserId, device: DeviceId) -> Option<Device> {
        Now(&self.team.world).device(user, device)
    }

    fn head(&self, user: UserId) -> Option<Head> {
        Some(Head { seq: Self::LAST, hash: Self::hash(user) })
    }

    fn at(&self, user: UserId, seq: u64) -> Option<Snapshot> {
        let device = self.devices.get(&user).filter(|_| seq == Self::LAST)?;
        Some(Snapshot { hash: Self::hash(user), devices: vec![*device], replaced_at: None })
    }

    fn has_prekey(&self, device: DeviceId, key: KeyId) -> bool {
        prekey(device) == key
    }
}

/// The team with members added to its state until there are as many as a team can have.
fn filled(team: &Team) -> TeamState {
    let mut state = serde_json::to_value(team.state()).unwrap();
    let new = MEMBERS_PER_TEAM - team.state().members().len();
    for n in 0..new {
        let hash = Hash::of(&n.to_be_bytes());
        let member = Member {
            role: Role::Member,
            joined_seq: 0,
            since_epoch: 1,
            invite: None,
            head: Some(Head { seq: 0, hash }),
            devices: vec![DeviceId(hash)],
        };
        state["members"][UserId(hash).to_string()] = serde_json::to_value(member).unwrap();
        state["everyone"].as_array_mut().unwrap().push(serde_json::to_value(UserId(hash)).unwrap());
    }
    serde_json::from_value(state).unwrap()
}

#[test]
fn a_rotation_of_a_full_team_fits_when_every_members_log_has_changed() {
    let team = Team::founded(1);
    let owner = team.user(OWNER);
    let state = filled(&team);
    let directory = LongLogs { team: &team, devices: state.devices().collect() };
    assert_eq!((state.members().len(), directory.devices.len()), (MEMBERS_PER_TEAM, DEVICES_PER_TEAM));
    assert!(state.members().keys().all(|user| directory.head(*user) != state.members()[user].head), "all have changed");

    let envelopes: Vec<Envelope> = directory.devices.values().map(|device| envelope(*device)).collect();
    let heads = state.members().keys().map(|user| (*user, directory.head(*user).unwrap()));
    let rotation = Rotation {
        epoch: team.epoch() + 1,
        seqs: vec![LongLogs::LAST; MEMBERS_PER_TEAM],
        heads: labels::head_set(heads),
        devices: labels::device_set(state.devices()),
        envelopes: labels::envelope_set(&envelopes),
        commitment: Hash::of(b"commitment"),
        profile: sealed(PROFILE_BYTES),
    };
    let device = team.person(owner).device();
    let entries = chained(Some(&state), device, owner, vec![TeamEvent::KeyRotated(rotation)], team.now);
    // `epoch` and the entry's own `seq` may still grow to the largest integer.
    let to_grow = 2 * MAX_INTEGER.to_string().len() * 4 / 3;
    let length = entries[0].len();
    assert!(length + to_grow <= TeamEntry::LIMIT, "{length} bytes");
    let commit = api::Commit { entries: entries.clone(), envelopes: envelopes.clone() };
    let body = serde_json::to_vec(&commit).unwrap().len();
    assert!(body as u64 <= JSON_BODY_BYTES, "{body} bytes");

    let decided = decide(Some(&state), &entries, &envelopes, team.now, &directory).unwrap();
    assert_eq!(decided.epoch().unwrap().number, team.epoch() + 1);
    assert!(!decided.stale(team.now, |user| directory.head(user)));
    let shown = follow(Some(&state), &entries[0], team.now, &directory).unwrap();
    assert_eq!(shown, decided, "a client comes to the same state");
}

#[test]
fn an_epoch_is_stale_after_a_leave_a_change_of_a_user_log_or_its_age() {
    let mut team = Team::of_four();
    let owner = team.user(OWNER);
    assert!(!team.stale());
    team.leave(team.user(OTHER)).unwrap();
    assert!(team.stale(), "somebody left");
    team.rotate(owner).unwrap();
    assert!(!team.stale());
    let member = team.user(MEMBER);
    let first = team.person(member).device().clone();
    team.add_device(member, &Key::test(250)).unwrap();
    assert!(team.stale(), "a device was added");
    team.rotate(owner).unwrap();
    team.revoke_device(member, &first).unwrap();
    assert!(team.stale(), "a device was revoked");
    team.rotate(owner).unwrap();
    assert!(team.state().devices().all(|(_, device)| device != first.device()));
    team.now = team.now.plus(POLICY.max_epoch_age);
    assert!(!team.stale());
    team.now = team.now.plus(1);
    assert!(team.stale(), "it is too old");
}
