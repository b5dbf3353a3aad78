//! Sections 4 to 7: who may do what in a team.
#![allow(clippy::unwrap_used, clippy::arithmetic_side_effects, clippy::indexing_slicing, missing_docs)]
mod support;

use osmynt_core::snippet::Audience;
use osmynt_core::statement::{InviteProof, SnippetStatement, TeamEntry};
use osmynt_core::teamlog::{Policy, Role, Rotation, TeamEvent, TeamState};
use osmynt_core::{Code, Hash, Head, Time, UserId};
use support::{Key, Now, POLICY, START, Team, envelope, sealed, verify};

const OWNER: u32 = 0;
const ADMIN: u32 = 1;
const MEMBER: u32 = 2;
const OTHER: u32 = 3;
const STRANGER: u32 = 4;

#[test]
fn founding_makes_an_owner_and_the_first_epoch() {
    let team = Team::founded(1);
    let state = team.state();
    assert_eq!(state.team().0, team.log[0].0.entry.hash());
    assert_eq!(state.members()[&team.user(OWNER)].role, Role::Owner);
    assert_eq!(state.epoch().unwrap().number, 1);
    assert!(!team.stale());
    assert_eq!(&team.replayed().unwrap(), state);
}

#[test]
fn create_join_and_remove_come_with_their_rotation_or_not_at_all() {
    let mut team = Team::of_four();
    let key = team.invite(team.user(OWNER), Role::Member, 1).unwrap();
    let before = team.state().clone();
    let joined = team.joined(team.user(STRANGER), &key);
    assert_eq!(team.commit(team.user(STRANGER), vec![joined], false), Err(Code::RotationRequired));
    let removed = TeamEvent::MemberRemoved { user: team.user(MEMBER) };
    assert_eq!(team.commit(team.user(OWNER), vec![removed.clone()], false), Err(Code::RotationRequired));
    assert_eq!(team.state(), &before, "nothing was taken");
    team.commit(team.user(OWNER), vec![removed], true).unwrap();
    assert_eq!(team.state().epoch().unwrap().number, before.epoch().unwrap().number + 1);
    let removed_device = team.person(team.user(MEMBER)).device().device();
    assert!(team.state().devices().all(|(_, device)| device != removed_device));

    let mut nothing = Team::founded(1);
    nothing.state = None;
    nothing.log.clear();
    let created = nothing.created(nothing.user(OWNER));
    assert_eq!(nothing.commit(nothing.user(OWNER), vec![created], false), Err(Code::RotationRequired));
}

/// Every event, and what each role gets for trying it.
#[test]
fn roles_allow_what_the_table_says() {
    type Event = fn(&mut Team) -> TeamEvent;
    type Verdicts = [Result<(), Code>; 4];
    let ok = Ok(());
    let no = Err(Code::Forbidden);
    let table: [(&str, Event, bool, Verdicts); 13] = [
        //                                                                         owner, admin, member, stranger
        ("invite a member", |t| t.invite_event(Role::Member, 1).1, false, [ok, ok, no, no]),
        ("invite an admin", |t| t.invite_event(Role::Admin, 1).1, false, [ok, ok, no, no]),
        ("invite an owner", |t| t.invite_event(Role::Owner, 1).1, false, [ok, no, no, no]),
        (
            "revoke an invitation",
            |t| {
                let key = t.invite(t.user(OWNER), Role::Member, 1).unwrap();
                TeamEvent::InviteRevoked { invite: key.invite() }
            },
            false,
            [ok, ok, no, no],
        ),
        ("remove a member", |t| TeamEvent::MemberRemoved { user: t.user(OTHER) }, true, [ok, ok, no, no]),
        (
            "remove an admin",
            |t| {
                promote(t, OTHER, Role::Admin);
                TeamEvent::MemberRemoved { user: t.user(OTHER) }
            },
            true,
            [ok, no, no, no],
        ),
        (
            "remove another owner",
            |t| {
                promote(t, OTHER, Role::Owner);
                TeamEvent::MemberRemoved { user: t.user(OTHER) }
            },
            true,
            [ok, no, no, no],
        ),
        ("leave", |_| TeamEvent::MemberLeft {}, false, [Err(Code::Conflict), ok, ok, no]),
        ("promote", |t| TeamEvent::RoleChanged { user: t.user(OTHER), role: Role::Admin }, false, [ok, no, no, no]),
        (
            "change the policy",
            |_| TeamEvent::PolicyChanged { policy: Policy { max_epoch_age: 3600 } },
            false,
            [ok, no, no, no],
        ),
        (
            "rename",
            |t| TeamEvent::ProfileChanged { epoch: t.state().epoch().unwrap().number, profile: sealed(256) },
            false,
            [ok, ok, no, no],
        ),
        (
            "found it again",
            |t| t.created(t.user(OWNER)),
            false,
            [Err(Code::InvalidRequest), Err(Code::InvalidRequest), Err(Code::InvalidRequest), no],
        ),
        ("rotate", |t| TeamEvent::KeyRotated(t.rotation(&[], t.user(OWNER)).0), false, [ok, ok, ok, no]),
    ];
    for (what, event, rotate, verdicts) in table {
        for (author, verdict) in [OWNER, ADMIN, MEMBER, STRANGER].into_iter().zip(verdicts) {
            let mut team = Team::of_four();
            let event = event(&mut team);
            let user = team.user(author);
            let before = team.state().clone();
            let envelopes =
                if rotate || what == "rotate" { team.rotation(std::slice::from_ref(&event), user).1 } else { vec![] };
            let mut events = vec![event.clone()];
            if rotate {
                events.push(TeamEvent::KeyRotated(team.rotation(&[event], user).0));
            }
            let entries = team.signed(user, events);
            assert_eq!(team.submit(entries, &envelopes), verdict, "{what} as person {author}");
            if verdict.is_err() {
                assert_eq!(team.state(), &before, "{what} as person {author}: nothing was taken");
            } else {
                assert_eq!(&team.replayed().unwrap(), team.state(), "{what} as person {author}: clients agree");
            }
        }
    }
}

fn promote(team: &mut Team, person: u32, role: Role) {
    let user = team.user(person);
    team.commit(team.user(OWNER), vec![TeamEvent::RoleChanged { user, role }], false).unwrap();
}

#[test]
fn a_team_keeps_an_owner() {
    let mut team = Team::of_four();
    let owner = team.user(OWNER);
    let demote = TeamEvent::RoleChanged { user: owner, role: Role::Member };
    assert_eq!(team.commit(owner, vec![demote.clone()], false), Err(Code::Conflict));
    assert_eq!(team.commit(owner, vec![TeamEvent::MemberLeft {}], false), Err(Code::Conflict));
    promote(&mut team, ADMIN, Role::Owner);
    assert_eq!(team.commit(owner, vec![demote], false), Ok(()));
    assert_eq!(team.commit(team.user(ADMIN), vec![TeamEvent::MemberLeft {}], false), Err(Code::Conflict));
}

#[test]
fn what_changes_nothing_or_nobody_is_refused() {
    let mut team = Team::of_four();
    let owner = team.user(OWNER);
    let nobody = team.user(STRANGER);
    for (event, rotate, code) in [
        (TeamEvent::RoleChanged { user: team.user(ADMIN), role: Role::Admin }, false, Code::Conflict),
        (TeamEvent::RoleChanged { user: nobody, role: Role::Admin }, false, Code::NotFound),
        (TeamEvent::MemberRemoved { user: nobody }, true, Code::NotFound),
        (TeamEvent::MemberRemoved { user: owner }, true, Code::InvalidRequest),
        (TeamEvent::InviteRevoked { invite: Key::test(5).invite() }, false, Code::Gone),
        (TeamEvent::PolicyChanged { policy: Policy { max_epoch_age: 3599 } }, false, Code::InvalidRequest),
        (TeamEvent::PolicyChanged { policy: Policy { max_epoch_age: 31_536_001 } }, false, Code::InvalidRequest),
        (TeamEvent::ProfileChanged { epoch: 1, profile: sealed(256) }, false, Code::StaleLog),
        (TeamEvent::ProfileChanged { epoch: 4, profile: sealed(1025) }, false, Code::TooLarge),
    ] {
        assert_eq!(team.commit(owner, vec![event.clone()], rotate), Err(code), "{event:?}");
    }
}

#[test]
fn an_invitation_ends_by_time_by_use_and_by_word() {
    let mut team = Team::of_four();
    let (owner, stranger) = (team.user(OWNER), team.user(STRANGER));
    let revoked = team.invite(owner, Role::Member, 5).unwrap();
    team.commit(owner, vec![TeamEvent::InviteRevoked { invite: revoked.invite() }], false).unwrap();
    assert_eq!(team.join(stranger, &revoked), Err(Code::Gone));

    let once = team.invite(owner, Role::Member, 1).unwrap();
    team.join(stranger, &once).unwrap();
    team.commit(owner, vec![TeamEvent::MemberRemoved { user: stranger }], true).unwrap();
    assert_eq!(team.join(stranger, &once), Err(Code::Gone));

    let short = team.invite(owner, Role::Member, 5).unwrap();
    team.now = team.now.plus(3600);
    let in_time = team.joined(stranger, &short);
    team.now = team.now.plus(1);
    assert_eq!(team.join(stranger, &short), Err(Code::Gone));
    team.now = Time(team.now.0 - 1);
    assert_eq!(team.commit(stranger, vec![in_time], true), Ok(()), "valid to the last second");
}

#[test]
fn an_invitation_is_made_within_limits() {
    let mut team = Team::of_four();
    let owner = team.user(OWNER);
    let now = team.now;
    let key = Key::test(77).public();
    for (exp, uses, code) in [
        (now, 1, Code::InvalidRequest),
        (now.plus(30 * 24 * 3600 + 1), 1, Code::InvalidRequest),
        (now.plus(60), 0, Code::InvalidRequest),
        (now.plus(60), 101, Code::InvalidRequest),
    ] {
        let event = TeamEvent::InviteCreated { key, role: Role::Member, exp, uses };
        assert_eq!(team.commit(owner, vec![event], false), Err(code));
    }
    let event = TeamEvent::InviteCreated { key, role: Role::Member, exp: now.plus(30 * 24 * 3600), uses: 100 };
    team.commit(owner, vec![event.clone()], false).unwrap();
    assert_eq!(team.commit(owner, vec![event], false), Err(Code::Conflict), "one key, one invitation");
    for _ in 1..100 {
        team.invite(owner, Role::Member, 1).unwrap();
    }
    assert_eq!(team.invite(owner, Role::Member, 1).map(|_| ()), Err(Code::TooLarge));
    team.now = team.now.plus(3601);
    assert!(team.invite(owner, Role::Member, 1).is_ok(), "expired ones make room");
}

#[test]
fn a_proof_serves_one_user_with_one_identity_in_one_team_for_five_minutes() {
    let mut team = Team::of_four();
    let key = team.invite(team.user(OWNER), Role::Admin, 9).unwrap();
    let stranger = team.user(STRANGER);
    let identity = team.person(stranger).log.identity().unwrap();
    let (good_team, now) = (team.state().team(), team.now);
    let good = InviteProof { team: good_team, invite: key.invite(), user: stranger, identity, iat: now };
    let joined = |proof: String| TeamEvent::MemberJoined { invite: key.invite(), identity, proof };
    let member = team.user(MEMBER);
    for (why, code, proof) in [
        ("another team", Code::Forbidden, InviteProof { team: osmynt_core::TeamId(Hash::of(b"x")), ..good.clone() }),
        ("another user", Code::Forbidden, InviteProof { user: member, ..good.clone() }),
        ("another identity", Code::Forbidden, InviteProof { identity: Hash::of(b"x"), ..good.clone() }),
        ("another invitation", Code::Forbidden, InviteProof { invite: Key::test(9).invite(), ..good.clone() }),
        ("old", Code::ClockSkew, InviteProof { iat: Time(now.0 - 301), ..good.clone() }),
    ] {
        assert_eq!(team.commit(stranger, vec![joined(key.sign(&proof))], true), Err(code), "{why}");
    }
    let forged = joined(Key::test(9).sign(&good));
    assert_eq!(team.commit(stranger, vec![forged], true), Err(Code::BadSignature));
    let other = team.invite(team.user(OWNER), Role::Member, 1).unwrap();
    let by_another_invitation = joined(other.sign(&good));
    assert_eq!(team.commit(stranger, vec![by_another_invitation], true), Err(Code::BadSignature));
    team.commit(stranger, vec![joined(key.sign(&good))], true).unwrap();
    assert_eq!(team.state().members()[&stranger].role, Role::Admin, "the role is the invitation's");
    assert_eq!(team.join(stranger, &key), Err(Code::Conflict), "a member does not join");
}

#[test]
fn a_reader_by_invitation_needs_an_open_invitation_and_a_new_proof() {
    let mut team = Team::of_four();
    let owner = team.user(OWNER);
    let key = team.invite(owner, Role::Member, 1).unwrap();
    let user = team.user(STRANGER);
    let (id, identity) = (team.state().team(), team.person(user).log.identity().unwrap());
    let proof = |iat: Time, key: &Key| {
        let proof = InviteProof { team: id, invite: key.invite(), user, identity, iat };
        verify::<InviteProof>(&key.sign(&proof), &key.public()).unwrap()
    };
    let now = team.now;
    let good = proof(now, &key);
    let admit = |team: &Team, proof: &_, now| team.state().admit_reader(proof, now).map_err(|refusal| refusal.code);
    assert_eq!(admit(&team, &good, now), Ok(()));
    assert_eq!(admit(&team, &good, now.plus(301)), Err(Code::ClockSkew));
    assert_eq!(admit(&team, &proof(now, &Key::test(9)), now), Err(Code::Gone), "an invitation nobody made");
    let late = now.plus(3601);
    assert_eq!(admit(&team, &proof(late, &key), late), Err(Code::Gone));
    team.commit(owner, vec![TeamEvent::InviteRevoked { invite: key.invite() }], false).unwrap();
    assert_eq!(admit(&team, &good, now), Err(Code::Gone));
}

#[test]
fn an_entry_continues_the_log_of_its_team_by_a_device_of_its_author() {
    let mut team = Team::of_four();
    let owner = team.user(OWNER);
    let head = team.state().head();
    let device = team.person(owner).device().clone();
    let good = TeamEntry {
        team: Some(team.state().team()),
        seq: head.seq + 1,
        prev: Some(head.hash),
        iat: team.now,
        user: owner,
        event: TeamEvent::PolicyChanged { policy: Policy { max_epoch_age: 7200 } },
    };
    let now = team.now;
    for (why, code, entry) in [
        ("a gap", Code::StaleLog, TeamEntry { seq: head.seq + 2, ..good.clone() }),
        ("a fork", Code::StaleLog, TeamEntry { prev: Some(Hash::of(b"x")), ..good.clone() }),
        ("an overwrite", Code::StaleLog, TeamEntry { seq: head.seq, ..good.clone() }),
        (
            "another team",
            Code::InvalidRequest,
            TeamEntry { team: Some(osmynt_core::TeamId(Hash::of(b"x"))), ..good.clone() },
        ),
        ("no team", Code::InvalidRequest, TeamEntry { team: None, ..good.clone() }),
        ("early", Code::ClockSkew, TeamEntry { iat: Time(now.0 - 301), ..good.clone() }),
        ("late", Code::ClockSkew, TeamEntry { iat: Time(now.0 + 301), ..good.clone() }),
        ("in another's name", Code::Forbidden, TeamEntry { user: team.user(ADMIN), ..good.clone() }),
    ] {
        let entry = team.verified(&device, &entry);
        assert_eq!(team.submit(vec![entry], &[]), Err(code), "{why}");
    }
    let entry = team.verified(&device, &good);
    team.submit(vec![entry.clone()], &[]).unwrap();
    assert_eq!(team.submit(vec![entry], &[]), Err(Code::StaleLog), "twice");
}

#[test]
fn a_commit_is_by_one_device_within_limits_with_its_rotation_last() {
    let mut team = Team::of_four();
    let (owner, admin) = (team.user(OWNER), team.user(ADMIN));
    assert_eq!(team.submit(vec![], &[]), Err(Code::InvalidRequest));
    let policy = |n: u64| TeamEvent::PolicyChanged { policy: Policy { max_epoch_age: 7200 + n } };
    assert_eq!(team.commit(owner, (0..17).map(policy).collect(), false), Err(Code::TooLarge));
    assert_eq!(team.commit(owner, (0..16).map(policy).collect(), false), Ok(()));

    let (rotation, envelopes) = team.rotation(&[], owner);
    let entries = team.signed(owner, vec![TeamEvent::KeyRotated(rotation), policy(0)]);
    assert_eq!(team.submit(entries, &envelopes), Err(Code::InvalidRequest), "not last");

    let entries = team.signed(owner, vec![policy(0)]);
    assert_eq!(team.submit(entries, &[envelope(Key::test(5).device())]), Err(Code::InvalidRequest), "no rotation");

    let first = team.signed(owner, vec![TeamEvent::MemberRemoved { user: team.user(MEMBER) }]);
    let mut second = team.signed(admin, vec![policy(0), TeamEvent::MemberLeft {}]);
    second.remove(0);
    assert_eq!(
        team.submit([first, second].concat(), &[]),
        Err(Code::InvalidRequest),
        "two devices do not make one commit"
    );
}

#[test]
fn while_a_rotation_is_due_nobody_else_appends() {
    let mut team = Team::of_four();
    let (owner, admin) = (team.user(OWNER), team.user(ADMIN));
    let removal = team.signed(owner, vec![TeamEvent::MemberRemoved { user: team.user(MEMBER) }]);
    let mut state = team.state().clone();
    state.apply(&removal[0], team.now, &Now(&team.world)).unwrap();
    assert_eq!(state.settled().unwrap_err().code, Code::RotationRequired);
    team.state = Some(state.clone());
    let by_another = team.signed(admin, vec![TeamEvent::MemberLeft {}]);
    assert_eq!(state.apply(&by_another[0], team.now, &Now(&team.world)).unwrap_err().code, Code::Forbidden);
    team.log.push((removal[0].clone(), team.now));
    assert_eq!(team.replayed(), Err(Code::RotationRequired), "a log that ends here was cut");
}

#[test]
fn envelopes_cover_exactly_the_active_devices() {
    let mut team = Team::of_four();
    let owner = team.user(OWNER);
    let (rotation, envelopes) = team.rotation(&[], owner);
    let stranger = envelope(team.person(team.user(STRANGER)).device().device());
    let with = |envelopes: &[osmynt_core::Envelope]| Rotation {
        envelopes: osmynt_core::labels::envelope_set(envelopes),
        ..rotation.clone()
    };
    let mut missing = envelopes.clone();
    missing.pop();
    let twice = [envelopes.clone(), vec![envelopes[0].clone()]].concat();
    let mut replaced = missing.clone();
    replaced.push(envelopes[0].clone());
    let added = [envelopes.clone(), vec![stranger.clone()]].concat();
    let mut swapped = missing.clone();
    swapped.push(stranger);
    for (why, rotation, sent) in [
        ("one missing", with(&missing), &missing),
        ("one twice", with(&twice), &twice),
        ("one twice instead of another", with(&replaced), &replaced),
        ("one for a stranger", with(&added), &added),
        ("a stranger instead of a member", with(&swapped), &swapped),
        ("another set than was signed", with(&missing), &envelopes),
        ("none", with(&[]), &vec![]),
    ] {
        let entries = team.signed(owner, vec![TeamEvent::KeyRotated(rotation)]);
        assert_eq!(team.submit(entries, sent), Err(Code::CoverageMismatch), "{why}");
    }
    let mut shuffled = envelopes.clone();
    shuffled.reverse();
    let entries = team.signed(owner, vec![TeamEvent::KeyRotated(rotation)]);
    assert_eq!(team.submit(entries, &shuffled), Ok(()), "the order does not matter");
}

#[test]
fn a_rotation_is_computed_from_the_current_heads() {
    let mut team = Team::of_four();
    let (owner, member) = (team.user(OWNER), team.user(MEMBER));
    let outdated = team.rotation(&[], owner);
    let first = team.person(member).device().clone();
    team.person_mut(member).add(&first, &Key::test(250)).unwrap();
    let current = team.rotation(&[], owner);
    assert_eq!(current.0.heads.len(), 1, "only the head that changed is named");
    let head = current.0.heads[0];
    for (why, code, (rotation, envelopes)) in [
        ("a device was added since", Code::CoverageMismatch, outdated.clone()),
        (
            "the old devices at the new head",
            Code::CoverageMismatch,
            (Rotation { heads: vec![head], ..outdated.0 }, outdated.1),
        ),
        ("a head that never was", Code::CoverageMismatch, {
            let forged = osmynt_core::teamlog::UserHead { hash: Hash::of(b"x"), ..head };
            (Rotation { heads: vec![forged], ..current.0.clone() }, current.1.clone())
        }),
        ("a head that did not change", Code::CoverageMismatch, {
            let Head { seq, hash } = team.person(owner).log.head().unwrap();
            let unchanged = osmynt_core::teamlog::UserHead { user: owner, seq, hash };
            (Rotation { heads: vec![unchanged, head], ..current.0.clone() }, current.1.clone())
        }),
        (
            "a head twice",
            Code::InvalidRequest,
            (Rotation { heads: vec![head, head], ..current.0.clone() }, current.1.clone()),
        ),
        ("a stranger's head", Code::CoverageMismatch, {
            let stranger = team.user(STRANGER);
            let Head { seq, hash } = team.person(stranger).log.head().unwrap();
            let other = osmynt_core::teamlog::UserHead { user: stranger, seq, hash };
            (Rotation { heads: vec![head, other], ..current.0.clone() }, current.1.clone())
        }),
        (
            "the epoch again",
            Code::StaleLog,
            (Rotation { epoch: current.0.epoch - 1, ..current.0.clone() }, current.1.clone()),
        ),
        (
            "an epoch too far",
            Code::StaleLog,
            (Rotation { epoch: current.0.epoch + 1, ..current.0.clone() }, current.1.clone()),
        ),
        (
            "another device set",
            Code::CoverageMismatch,
            (Rotation { devices: Hash::of(b"x"), ..current.0.clone() }, current.1.clone()),
        ),
    ] {
        let entries = team.signed(owner, vec![TeamEvent::KeyRotated(rotation)]);
        assert_eq!(team.submit(entries, &envelopes), Err(code), "{why}");
    }
    let entries = team.signed(owner, vec![TeamEvent::KeyRotated(current.0)]);
    assert_eq!(team.submit(entries, &current.1), Ok(()));
    assert_eq!(&team.replayed().unwrap(), team.state());
}

#[test]
fn an_epoch_is_stale_after_a_leave_a_change_of_devices_or_its_age() {
    let mut team = Team::of_four();
    let owner = team.user(OWNER);
    assert!(!team.stale());
    team.commit(team.user(OTHER), vec![TeamEvent::MemberLeft {}], false).unwrap();
    assert!(team.stale(), "somebody left");
    team.commit(owner, vec![], true).unwrap();
    assert!(!team.stale());
    let member = team.user(MEMBER);
    let first = team.person(member).device().clone();
    team.person_mut(member).add(&first, &Key::test(250)).unwrap();
    assert!(team.stale(), "a device was added");
    team.commit(owner, vec![], true).unwrap();
    team.person_mut(member).revoke(&Key::test(250), &first).unwrap();
    assert!(team.stale(), "a device was revoked");
    team.commit(owner, vec![], true).unwrap();
    assert!(team.state().devices().all(|(_, device)| device != first.device()));
    team.now = team.now.plus(POLICY.max_epoch_age);
    assert!(!team.stale());
    team.now = team.now.plus(1);
    assert!(team.stale(), "it is too old");
}

#[test]
fn a_revoked_device_cannot_append_even_to_a_log_that_only_clients_see() {
    let mut team = Team::of_four();
    let member = team.user(MEMBER);
    let (first, second) = (team.person(member).device().clone(), Key::test(250));
    team.person_mut(member).add(&first, &second).unwrap();
    team.commit(team.user(OWNER), vec![], true).unwrap();
    team.person_mut(member).revoke(&second, &first).unwrap();
    let entry = |team: &Team| {
        let head = team.state().head();
        team.verified(
            &first,
            &TeamEntry {
                team: Some(team.state().team()),
                seq: head.seq + 1,
                prev: Some(head.hash),
                iat: team.now,
                user: member,
                event: TeamEvent::MemberLeft {},
            },
        )
    };
    let now_entry = entry(&team);
    assert_eq!(team.submit(vec![now_entry], &[]), Err(Code::Forbidden), "the service knows at once");
    team.commit(team.user(OWNER), vec![], true).unwrap();
    // A service that lies appends it all the same; a client refuses, for the rotation has named the revocation.
    let forged = entry(&team);
    team.log.push((forged, team.now));
    assert_eq!(team.replayed(), Err(Code::Forbidden));
}

#[test]
fn a_device_that_a_rotation_does_not_cover_cannot_have_made_it() {
    let mut team = Team::of_four();
    let owner = team.user(OWNER);
    let (rotation, _) = team.rotation(&[], owner);
    // A service that lies takes a rotation that was computed before this device was added.
    let (first, second) = (team.person(owner).device().clone(), Key::test(50));
    team.person_mut(owner).add(&first, &second).unwrap();
    let forged = team.signed(owner, vec![TeamEvent::KeyRotated(rotation)]).remove(0);
    team.log.push((forged, team.now));
    assert_eq!(team.replayed(), Err(Code::CoverageMismatch));
}

#[test]
fn after_a_reset_the_account_is_a_stranger_until_invited_again() {
    let mut team = Team::of_four();
    let (owner, member) = (team.user(OWNER), team.user(MEMBER));
    let new = Key::test(260);
    team.person_mut(member).reset(&new).unwrap();
    assert!(team.stale());
    assert_eq!(team.commit(member, vec![TeamEvent::MemberLeft {}], false), Err(Code::Forbidden));
    team.commit(owner, vec![], true).unwrap();
    assert!(team.state().members()[&member].devices.is_empty(), "no key is sealed to a stranger");
    let key = team.invite(owner, Role::Member, 1).unwrap();
    team.join(member, &key).unwrap();
    assert_eq!(team.state().members()[&member].devices, [new.device()]);
    assert_eq!(team.state().members()[&member].since_epoch, team.state().epoch().unwrap().number);
    assert_eq!(&team.replayed().unwrap(), team.state());
}

#[test]
fn the_last_owner_who_reset_cannot_come_back_as_less() {
    let mut team = Team::of_four();
    let (owner, admin) = (team.user(OWNER), team.user(ADMIN));
    team.person_mut(owner).reset(&Key::test(261)).unwrap();
    let key = team.invite(admin, Role::Member, 1).unwrap();
    assert_eq!(team.join(owner, &key), Err(Code::Conflict));
}

#[test]
fn receipt_times_do_not_go_back() {
    let mut team = Team::of_four();
    let owner = team.user(OWNER);
    team.now = team.now.plus(200);
    team.invite(owner, Role::Member, 1).unwrap();
    team.now = Time(team.now.0 - 100);
    team.invite(owner, Role::Member, 1).unwrap();
    assert_eq!(team.state().received_at(), team.now.plus(100), "the service keeps the later time");
    assert_eq!(&team.replayed().unwrap(), team.state());
    team.log.last_mut().unwrap().1 = team.now;
    assert_eq!(team.replayed(), Err(Code::ClockSkew), "a client notices when the service does not");
}

#[test]
fn a_snippet_is_admitted_at_the_current_head_and_epoch_from_a_members_device() {
    let mut team = Team::of_four();
    let (owner, member, stranger) = (team.user(OWNER), team.user(MEMBER), team.user(STRANGER));
    let device = team.person(member).device().clone();
    let good = team.snippet(member, team.to_team());
    assert_eq!(team.admit(&device, &good), Ok(()));
    let now = team.now;
    let direct = |members: Vec<UserId>, envelopes| Audience::Members { epoch: 4, members, envelopes };
    let Audience::Members { envelopes, .. } = team.to_members(member, &[owner]) else { panic!("a direct audience") };
    let mut reversed = envelopes.clone();
    reversed.reverse();
    let other = team.user(OTHER);
    let more = team.to_members(member, &[owner, other]);
    let Audience::Members { envelopes: too_many, .. } = more else { panic!("a direct audience") };
    let with = |audience| SnippetStatement { audience, ..good.clone() };
    let wrapped = |epoch, length| Audience::Team { epoch, wrapped: sealed(length) };
    for (why, code, said) in [
        ("another suite", Code::InvalidRequest, SnippetStatement { suite: "none".to_owned(), ..good.clone() }),
        (
            "another team",
            Code::InvalidRequest,
            SnippetStatement { team: osmynt_core::TeamId(Hash::of(b"x")), ..good.clone() },
        ),
        (
            "an earlier head",
            Code::StaleLog,
            SnippetStatement { head: Head { seq: good.head.seq - 1, ..good.head }, ..good.clone() },
        ),
        (
            "a head that never was",
            Code::StaleLog,
            SnippetStatement { head: Head { hash: Hash::of(b"x"), ..good.head }, ..good.clone() },
        ),
        ("an earlier epoch", Code::RotationRequired, with(wrapped(3, 32))),
        ("a later epoch", Code::RotationRequired, with(wrapped(5, 32))),
        ("a long key", Code::InvalidRequest, with(wrapped(4, 33))),
        ("early", Code::ClockSkew, SnippetStatement { iat: Time(now.0 - 301), ..good.clone() }),
        ("late", Code::ClockSkew, SnippetStatement { iat: Time(now.0 + 301), ..good.clone() }),
        ("ended", Code::InvalidRequest, SnippetStatement { exp: Some(now), ..good.clone() }),
        ("an end beyond numbers", Code::InvalidRequest, SnippetStatement { exp: Some(Time(1 << 53)), ..good.clone() }),
        ("not padded", Code::InvalidRequest, SnippetStatement { length: 257 + 16, ..good.clone() }),
        ("too short", Code::InvalidRequest, SnippetStatement { length: 255 + 16, ..good.clone() }),
        ("too long", Code::TooLarge, SnippetStatement { length: 10 * 1024 * 1024 + 17, ..good.clone() }),
        ("a long header", Code::TooLarge, SnippetStatement { header: sealed(4097), ..good.clone() }),
        ("to nobody", Code::InvalidRequest, with(direct(vec![], envelopes.clone()))),
        ("to oneself", Code::InvalidRequest, with(direct(vec![member], envelopes.clone()))),
        ("to a stranger", Code::InvalidRequest, with(direct(vec![stranger], envelopes.clone()))),
        ("to one twice", Code::InvalidRequest, with(direct(vec![owner, owner], envelopes.clone()))),
        ("envelopes in disorder", Code::InvalidRequest, with(direct(vec![owner], reversed))),
        ("an envelope missing", Code::CoverageMismatch, with(direct(vec![owner], envelopes[1..].to_vec()))),
        ("an envelope too many", Code::CoverageMismatch, with(direct(vec![owner], too_many))),
        ("in another's name", Code::Forbidden, SnippetStatement { user: owner, ..good.clone() }),
        ("by a stranger", Code::Forbidden, SnippetStatement { user: stranger, ..good.clone() }),
    ] {
        assert_eq!(team.admit(&device, &said), Err(code), "{why}");
    }
    assert_eq!(team.admit(&device, &with(direct(vec![owner], envelopes))), Ok(()));

    team.commit(owner, vec![TeamEvent::MemberRemoved { user: member }], true).unwrap();
    let late = team.snippet(member, team.to_team());
    assert_eq!(team.admit(&device, &late), Err(Code::Forbidden), "a removed member shares nothing");
}

#[test]
fn nothing_is_shared_under_a_stale_epoch() {
    let mut team = Team::of_four();
    let (owner, member) = (team.user(OWNER), team.user(MEMBER));
    let device = team.person(owner).device().clone();
    let first = team.person(member).device().clone();
    team.person_mut(member).add(&first, &Key::test(250)).unwrap();
    for audience in [team.to_team(), team.to_members(owner, &[member])] {
        let snippet = team.snippet(owner, audience);
        assert_eq!(team.admit(&device, &snippet), Err(Code::RotationRequired));
    }
    team.commit(owner, vec![], true).unwrap();
    for audience in [team.to_team(), team.to_members(owner, &[member])] {
        let snippet = team.snippet(owner, audience);
        assert_eq!(team.admit(&device, &snippet), Ok(()));
    }
}

/// The Durable Object keeps this text. A change of it needs a migration of what is stored.
#[test]
fn the_stored_form_of_a_state_is_pinned() {
    let mut team = Team::founded(2);
    team.invite(team.user(OWNER), Role::Member, 2).unwrap();
    let stored = serde_json::to_string(team.state()).unwrap();
    assert_eq!(stored, include_str!("stored_state.json").trim_end());
    assert_eq!(&serde_json::from_str::<TeamState>(&stored).unwrap(), team.state());
    assert_eq!(team.state().received_at(), START);
}
