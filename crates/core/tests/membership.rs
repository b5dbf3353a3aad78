//! Section 4: who is a member, who waits to be one, and who may do what.
#![allow(clippy::unwrap_used, clippy::arithmetic_side_effects, clippy::indexing_slicing, missing_docs)]
mod support;

use osmynt_core::statement::TeamEntry;
use osmynt_core::teamlog::{Joining, Policy, Role, Rotation, TeamEvent, TeamState};
use osmynt_core::{Bytes, Code, Hash, TeamId, Time, UserId};
use support::{Key, Now, POLICY, Person, START, Team, Then, Verdict, code, decide, envelope, follow, sealed};

const OWNER: u32 = 0;
const ADMIN: u32 = 1;
const MEMBER: u32 = 2;
const OTHER: u32 = 3;
const STRANGER: u32 = 4;

fn lasting(max_epoch_age: u64) -> TeamEvent {
    TeamEvent::PolicyChanged { policy: Policy { max_epoch_age, ..POLICY } }
}

#[test]
fn founding_makes_an_owner_and_the_first_epoch() {
    let team = Team::founded(1);
    let state = team.state();
    let (first, _) = team.log[0].0.rsplit_once('.').unwrap();
    assert_eq!(state.team().0, Hash::of(first.as_bytes()));
    assert_eq!(state.members()[&team.user(OWNER)].role, Role::Owner);
    assert_eq!(state.epoch().unwrap().number, 1);
    assert!(!team.stale());
    assert_eq!(&team.replayed().unwrap(), state);
}

#[test]
fn a_log_begins_with_the_founding_of_its_team() {
    let team = Team::founded(1);
    let owner = team.user(OWNER);
    let device = team.person(owner).device();
    let created = TeamEvent::TeamCreated { nonce: Bytes([2; 16]), policy: POLICY };
    let good = TeamEntry { team: None, seq: 0, prev: None, iat: START, user: owner, event: created.clone() };
    let first = |entry: &TeamEntry| follow(None, &device.sign(entry), START, &Then(&team.world)).map(|_| ());
    assert_eq!(first(&good), Ok(()));
    let policy = Policy { max_epoch_age: 1, ..POLICY };
    for (why, code, entry) in [
        ("another event", Code::InvalidRequest, TeamEntry { event: TeamEvent::MemberLeft {}, ..good.clone() }),
        ("a team", Code::InvalidRequest, TeamEntry { team: Some(team.state().team()), ..good.clone() }),
        ("a past", Code::InvalidRequest, TeamEntry { prev: Some(Hash::of(b"x")), ..good.clone() }),
        ("a later place", Code::InvalidRequest, TeamEntry { seq: 1, ..good.clone() }),
        ("early", Code::ClockSkew, TeamEntry { iat: Time(START.0 - 301), ..good.clone() }),
        (
            "a policy that cannot be",
            Code::InvalidRequest,
            TeamEntry { event: TeamEvent::TeamCreated { nonce: Bytes([2; 16]), policy }, ..good.clone() },
        ),
        ("nobody's device", Code::Forbidden, TeamEntry { user: UserId(Hash::of(b"x")), ..good.clone() }),
    ] {
        assert_eq!(first(&entry), Err(code), "{why}");
    }
    let alone = vec![device.sign(&good)];
    let refusal = decide(None, &alone, &[], START, &Now(&team.world)).unwrap_err();
    assert_eq!(refusal.code, Code::RotationRequired, "without a key");
}

#[test]
fn join_confirm_and_remove_come_with_their_rotation_or_not_at_all() {
    let mut team = Team::of_four();
    let (owner, stranger) = (team.user(OWNER), team.user(STRANGER));
    let key = team.invite(owner, Role::Member, 2).unwrap();
    let before = team.state().clone();
    let joined = team.joined(stranger, &key);
    assert_eq!(team.commit(stranger, vec![joined], false), Err(Code::RotationRequired));
    let removed = TeamEvent::MemberRemoved { user: team.user(MEMBER) };
    assert_eq!(team.commit(owner, vec![removed.clone()], false), Err(Code::RotationRequired));
    assert_eq!(team.state(), &before, "nothing was taken");
    team.commit(owner, vec![removed], true).unwrap();
    assert_eq!(team.epoch(), before.epoch().unwrap().number + 1);
    let removed_device = team.person(team.user(MEMBER)).device().device();
    assert!(team.state().devices().all(|(_, device)| device != removed_device));

    team.set_joining(Joining::Confirmation);
    team.join(stranger, &key).unwrap();
    let confirmed = TeamEvent::MemberConfirmed { user: stranger };
    assert_eq!(team.commit(owner, vec![confirmed.clone()], false), Err(Code::RotationRequired));
    team.commit(owner, vec![confirmed], true).unwrap();
}

/// Every event, and what each role gets for trying it.
#[test]
fn roles_allow_what_the_table_says() {
    type Event = fn(&mut Team) -> TeamEvent;
    type Verdicts = [Verdict; 4];
    let ok = Ok(());
    let no = Err(Code::Forbidden);
    let table: [(&str, Event, bool, Verdicts); 17] = [
        //                                                                              owner, admin, member, stranger
        ("invite a member", |t| t.invite_event(Role::Member, 1, None).1, false, [ok, ok, no, no]),
        ("invite an admin", |t| t.invite_event(Role::Admin, 1, None).1, false, [ok, ok, no, no]),
        ("invite an owner", |t| t.invite_event(Role::Owner, 1, None).1, false, [ok, no, no, no]),
        ("revoke an invitation", |t| revocation(t), false, [ok, ok, no, no]),
        ("confirm a member", |t| confirmation(t, Role::Member), true, [ok, ok, no, no]),
        ("confirm an admin", |t| confirmation(t, Role::Admin), true, [ok, ok, no, no]),
        ("confirm an owner", |t| confirmation(t, Role::Owner), true, [ok, no, no, no]),
        ("refuse an owner", |t| refusal(t), false, [ok, ok, no, no]),
        ("remove a member", |t| TeamEvent::MemberRemoved { user: t.user(OTHER) }, true, [ok, ok, no, no]),
        ("remove an admin", |t| removal_of(t, Role::Admin), true, [ok, no, no, no]),
        ("remove another owner", |t| removal_of(t, Role::Owner), true, [ok, no, no, no]),
        ("leave", |_| TeamEvent::MemberLeft {}, false, [Err(Code::Conflict), ok, ok, no]),
        ("promote", |t| TeamEvent::RoleChanged { user: t.user(OTHER), role: Role::Admin }, false, [ok, no, no, no]),
        ("change the policy", |_| lasting(3600), false, [ok, no, no, no]),
        ("rename", |t| TeamEvent::ProfileChanged { epoch: t.epoch(), profile: sealed(256) }, false, [ok, ok, no, no]),
        (
            "found it again",
            |_| TeamEvent::TeamCreated { nonce: Bytes([1; 16]), policy: POLICY },
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
            assert_eq!(team.submit(&entries, &envelopes), verdict, "{what} as person {author}");
            if verdict.is_err() {
                assert_eq!(team.state(), &before, "{what} as person {author}: nothing was taken");
            } else {
                assert_eq!(&team.replayed().unwrap(), team.state(), "{what} as person {author}: clients agree");
            }
        }
    }
}

fn revocation(team: &mut Team) -> TeamEvent {
    let key = team.invite(team.user(OWNER), Role::Member, 1).unwrap();
    TeamEvent::InviteRevoked { invite: key.invite() }
}

/// Somebody who is no other person of the tests waits to get a role.
fn somebody_waits(team: &mut Team, role: Role) -> UserId {
    let user = team.meet(Person::new(9));
    let key = team.invite(team.user(OWNER), role, 1).unwrap();
    team.set_joining(Joining::Confirmation);
    team.join(user, &key).unwrap();
    user
}

fn confirmation(team: &mut Team, role: Role) -> TeamEvent {
    TeamEvent::MemberConfirmed { user: somebody_waits(team, role) }
}

fn refusal(team: &mut Team) -> TeamEvent {
    TeamEvent::MemberRemoved { user: somebody_waits(team, Role::Owner) }
}

fn removal_of(team: &mut Team, role: Role) -> TeamEvent {
    let user = team.user(OTHER);
    team.set_role(team.user(OWNER), user, role).unwrap();
    TeamEvent::MemberRemoved { user }
}

#[test]
fn a_team_keeps_an_owner() {
    let mut team = Team::of_four();
    let (owner, admin) = (team.user(OWNER), team.user(ADMIN));
    assert_eq!(team.set_role(owner, owner, Role::Member), Err(Code::Conflict));
    assert_eq!(team.leave(owner), Err(Code::Conflict));
    team.set_role(owner, admin, Role::Owner).unwrap();
    assert_eq!(team.set_role(owner, owner, Role::Member), Ok(()));
    assert_eq!(team.leave(admin), Err(Code::Conflict));
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
        (TeamEvent::MemberConfirmed { user: nobody }, true, Code::NotFound),
        (TeamEvent::MemberConfirmed { user: team.user(MEMBER) }, true, Code::NotFound),
        (TeamEvent::InviteRevoked { invite: Key::test(5).invite() }, false, Code::Gone),
        (lasting(3599), false, Code::InvalidRequest),
        (lasting(31_536_001), false, Code::InvalidRequest),
        (TeamEvent::ProfileChanged { epoch: 1, profile: sealed(256) }, false, Code::StaleLog),
        (TeamEvent::ProfileChanged { epoch: 4, profile: sealed(1025) }, false, Code::TooLarge),
    ] {
        assert_eq!(team.commit(owner, vec![event.clone()], rotate), Err(code), "{event:?}");
    }
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
        event: lasting(7200),
    };
    let now = team.now;
    for (why, code, entry) in [
        ("a gap", Code::StaleLog, TeamEntry { seq: head.seq + 2, ..good.clone() }),
        ("a fork", Code::StaleLog, TeamEntry { prev: Some(Hash::of(b"x")), ..good.clone() }),
        ("an overwrite", Code::StaleLog, TeamEntry { seq: head.seq, ..good.clone() }),
        ("another team", Code::InvalidRequest, TeamEntry { team: Some(TeamId(Hash::of(b"x"))), ..good.clone() }),
        ("no team", Code::InvalidRequest, TeamEntry { team: None, ..good.clone() }),
        ("early", Code::ClockSkew, TeamEntry { iat: Time(now.0 - 301), ..good.clone() }),
        ("late", Code::ClockSkew, TeamEntry { iat: Time(now.0 + 301), ..good.clone() }),
        ("in another's name", Code::Forbidden, TeamEntry { user: team.user(ADMIN), ..good.clone() }),
    ] {
        assert_eq!(team.submit(&[device.sign(&entry)], &[]), Err(code), "{why}");
    }
    let forged = Key::test(77).sign_as(device.thumbprint(), &good);
    assert_eq!(team.submit(&[forged], &[]), Err(Code::BadSignature));
    let entry = device.sign(&good);
    team.submit(std::slice::from_ref(&entry), &[]).unwrap();
    assert_eq!(team.submit(&[entry], &[]), Err(Code::StaleLog), "twice");
}

#[test]
fn a_commit_is_by_one_device_within_limits_with_its_rotation_last() {
    let mut team = Team::of_four();
    let (owner, admin) = (team.user(OWNER), team.user(ADMIN));
    assert_eq!(team.submit(&[], &[]), Err(Code::InvalidRequest));
    let policies = |count: u64| (0..count).map(|n| lasting(7200 + n)).collect();
    assert_eq!(team.commit(owner, policies(17), false), Err(Code::TooLarge));
    assert_eq!(team.commit(owner, policies(16), false), Ok(()));

    let (rotation, envelopes) = team.rotation(&[], owner);
    let entries = team.signed(owner, vec![TeamEvent::KeyRotated(rotation.clone()), lasting(7200)]);
    assert_eq!(team.submit(&entries, &envelopes), Err(Code::InvalidRequest), "not last");
    let again = Rotation { epoch: rotation.epoch + 1, ..rotation.clone() };
    let entries = team.signed(owner, vec![TeamEvent::KeyRotated(rotation), TeamEvent::KeyRotated(again)]);
    assert_eq!(team.submit(&entries, &envelopes), Err(Code::InvalidRequest), "two, of which one is not last");

    let entries = team.signed(owner, vec![lasting(7200)]);
    assert_eq!(team.submit(&entries, &[envelope(Key::test(5).device())]), Err(Code::InvalidRequest), "no rotation");

    let first = team.signed(owner, vec![TeamEvent::MemberRemoved { user: team.user(MEMBER) }]);
    let mut second = team.signed(admin, vec![lasting(7200), TeamEvent::MemberLeft {}]);
    second.remove(0);
    let both = [first, second].concat();
    assert_eq!(team.submit(&both, &[]), Err(Code::InvalidRequest), "two devices do not make one commit");
}

#[test]
fn while_a_rotation_is_due_nobody_else_appends() {
    let mut team = Team::of_four();
    let (owner, admin) = (team.user(OWNER), team.user(ADMIN));
    let removal = team.signed(owner, vec![TeamEvent::MemberRemoved { user: team.user(MEMBER) }]).remove(0);
    let state = team.shown(&removal, team.now).unwrap();
    assert_eq!(state.settled().map_err(code), Err(Code::RotationRequired));
    team.take(state, &[removal]);
    let by_another = team.signed(admin, vec![TeamEvent::MemberLeft {}]).remove(0);
    assert_eq!(team.shown(&by_another, team.now), Err(Code::Forbidden));
    let second = Key::test(77);
    team.add_device(owner, &second).unwrap();
    let by_another = team.signed_by(&second, owner, lasting(7200));
    assert_eq!(team.shown(&by_another, team.now), Err(Code::Forbidden), "nor another device of the same member");
    assert_eq!(team.replayed(), Err(Code::RotationRequired), "a log that ends here was cut");
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
fn nothing_is_taken_while_the_log_is_ahead_of_the_clock_by_more_than_five_minutes() {
    let mut team = Team::of_four();
    let owner = team.user(OWNER);
    team.object = 301;
    assert_eq!(team.commit(owner, vec![lasting(7200)], false), Err(Code::ClockSkew), "the author's clock is far away");
    team.object = 300;
    team.commit(owner, vec![lasting(7200)], false).unwrap();
    team.object = 0;
    team.commit(owner, vec![lasting(7201)], false).unwrap();
    team.object = -1;
    assert_eq!(team.commit(owner, vec![lasting(7202)], false), Err(Code::ClockSkew));
}

#[test]
fn whoever_waits_to_be_confirmed_has_no_key_and_can_only_withdraw() {
    let mut team = Team::of_four_that_confirms();
    let (owner, stranger) = (team.user(OWNER), team.user(STRANGER));
    let key = team.invite(owner, Role::Owner, 1).unwrap();
    let epoch = team.epoch();
    let joined = team.joined(stranger, &key);
    assert_eq!(team.commit(stranger, vec![joined], true), Err(Code::Forbidden), "they do not rotate");
    team.join(stranger, &key).unwrap();
    assert_eq!(team.state().pending(team.now).map(|(user, _)| user).collect::<Vec<_>>(), [stranger]);
    assert!(!team.state().members().contains_key(&stranger));
    assert_eq!(team.epoch(), epoch, "nothing has begun");
    assert!(!team.stale(), "nothing has to begin");
    let (rotation, envelopes) = team.rotation(&[], owner);
    assert!(envelopes.iter().all(|envelope| envelope.device != team.person(stranger).device().device()));
    for event in [
        TeamEvent::KeyRotated(rotation),
        team.invite_event(Role::Member, 1, None).1,
        TeamEvent::MemberConfirmed { user: stranger },
        TeamEvent::RoleChanged { user: stranger, role: Role::Member },
        TeamEvent::MemberRemoved { user: team.user(MEMBER) },
        TeamEvent::ProfileChanged { epoch, profile: sealed(256) },
        lasting(7200),
    ] {
        let sent = if matches!(event, TeamEvent::KeyRotated(_)) { envelopes.as_slice() } else { &[] };
        let entries = team.signed(stranger, vec![event.clone()]);
        assert_eq!(team.submit(&entries, sent), Err(Code::Forbidden), "{event:?}");
    }
    let snippet = team.snippet(stranger, team.to_team());
    let device = team.person(stranger).device();
    assert_eq!(team.admit(device, &snippet, &[]), Err(Code::Forbidden), "they share nothing");
    let again = team.invite(owner, Role::Member, 1).unwrap();
    assert_eq!(team.join(stranger, &again), Err(Code::Conflict), "they ask once");
    team.leave(stranger).unwrap();
    assert_eq!(team.state().pending(team.now).count(), 0);
    assert!(!team.stale(), "nobody has left who had a key");
    assert!(team.state().everyone().contains(&stranger), "their user log is still needed to verify the team's");
    assert_eq!(team.confirm(owner, stranger), Err(Code::NotFound));
    assert_eq!(&team.replayed().unwrap(), team.state());
}

#[test]
fn confirmation_makes_a_member_who_has_no_earlier_key() {
    let mut team = Team::of_four_that_confirms();
    let (admin, stranger) = (team.user(ADMIN), team.user(STRANGER));
    let key = team.invite(admin, Role::Admin, 1).unwrap();
    team.join(stranger, &key).unwrap();
    let epoch = team.epoch();
    team.confirm(admin, stranger).unwrap();
    let member = &team.state().members()[&stranger];
    assert_eq!((member.role, member.since_epoch, member.invite), (Role::Admin, epoch + 1, Some(key.invite())));
    assert_eq!(member.devices, [team.person(stranger).device().device()]);
    assert_eq!(team.state().pending(team.now).count(), 0);
    assert_eq!(team.confirm(admin, stranger), Err(Code::NotFound), "once");
    assert_eq!(&team.replayed().unwrap(), team.state());
}

#[test]
fn whoever_waits_is_refused_without_a_rotation() {
    let mut team = Team::of_four_that_confirms();
    let (admin, stranger) = (team.user(ADMIN), team.user(STRANGER));
    let key = team.invite(admin, Role::Member, 1).unwrap();
    team.join(stranger, &key).unwrap();
    let epoch = team.epoch();
    team.remove(admin, stranger).unwrap();
    assert_eq!((team.epoch(), team.stale()), (epoch, false));
    assert_eq!(team.leave(stranger), Err(Code::Forbidden), "they are out");
    assert_eq!(team.remove(admin, stranger), Ok(()), "again changes nothing");
}

#[test]
fn nobody_waits_for_longer_than_fourteen_days() {
    let mut team = Team::of_four_that_confirms();
    let (owner, stranger) = (team.user(OWNER), team.user(STRANGER));
    let key = team.invite(owner, Role::Member, 1).unwrap();
    team.join(stranger, &key).unwrap();
    team.now = team.now.plus(14 * 24 * 3600);
    assert_eq!(team.state().pending(team.now).count(), 1);
    let mut in_time = Team { state: team.state.clone(), ..Team::of_four_that_confirms() };
    in_time.now = team.now;
    assert_eq!(in_time.confirm(owner, stranger), Ok(()));

    team.now = team.now.plus(1);
    assert_eq!(team.state().pending(team.now).count(), 0);
    assert_eq!(team.confirm(owner, stranger), Err(Code::NotFound));
    assert_eq!(team.leave(stranger), Err(Code::Forbidden));
    let mut barring = Team { state: team.state.clone(), ..Team::of_four_that_confirms() };
    barring.now = team.now;
    assert_eq!(barring.remove(owner, stranger), Ok(()), "it is not too late to bar them");
    let again = team.invite(owner, Role::Member, 1).unwrap();
    assert_eq!(team.join(stranger, &again), Ok(()), "they were not refused and may ask again");
}

#[test]
fn a_change_of_policy_leaves_those_waiting_who_wait() {
    let mut team = Team::of_four_that_confirms();
    let (owner, stranger) = (team.user(OWNER), team.user(STRANGER));
    let key = team.invite(owner, Role::Member, 1).unwrap();
    team.join(stranger, &key).unwrap();
    team.set_joining(Joining::Invitation);
    assert_eq!(team.state().pending(team.now).count(), 1);
    assert_eq!(team.confirm(owner, stranger), Ok(()));
}

/// A team whose stored state was changed: what would take thousands of entries to get to.
fn as_if(team: &mut Team, change: impl Fn(&mut serde_json::Value)) {
    let mut stored = serde_json::to_value(team.state()).unwrap();
    change(&mut stored);
    team.state = Some(serde_json::from_value(stored).unwrap());
}

fn somebody(n: usize) -> String {
    Hash::of(format!("somebody {n}").as_bytes()).to_string()
}

#[test]
fn a_team_has_a_thousand_members_and_pending_at_most() {
    let mut team = Team::of_four_that_confirms();
    let (owner, stranger) = (team.user(OWNER), team.user(STRANGER));
    let key = team.invite(owner, Role::Member, 1).unwrap();
    let crowd = |members: usize, pending: usize| {
        move |stored: &mut serde_json::Value| {
            let member = stored["members"].as_object().unwrap().values().next().unwrap().clone();
            let waits = serde_json::json!({
                "role": "member", "invite": member["head"]["hash"], "by": somebody(0), "asked_seq": 1, "asked_at": START
            });
            for n in 4..members {
                stored["members"].as_object_mut().unwrap().insert(somebody(n), member.clone());
            }
            for n in 0..pending {
                stored["pending"].as_object_mut().unwrap().insert(somebody(members + n), waits.clone());
            }
        }
    };
    for (members, pending, verdict) in
        [(1000, 0, Err(Code::TooLarge)), (990, 10, Err(Code::TooLarge)), (990, 9, Ok(()))]
    {
        let mut full = Team { state: team.state.clone(), ..Team::founded(5) };
        as_if(&mut full, crowd(members, pending));
        assert_eq!(full.join(stranger, &key), verdict, "{members} members and {pending} pending");
    }
}

#[test]
fn at_most_ten_thousand_users_were_ever_in_a_team() {
    let mut team = Team::of_four_that_confirms();
    let (owner, member, stranger) = (team.user(OWNER), team.user(MEMBER), team.user(STRANGER));
    team.leave(member).unwrap();
    let key = team.invite(owner, Role::Member, 2).unwrap();
    as_if(&mut team, |stored| {
        let everyone = stored["everyone"].as_array_mut().unwrap();
        everyone.extend((everyone.len()..10_000).map(|n| somebody(n).into()));
    });
    assert_eq!(team.join(stranger, &key), Err(Code::TooLarge));
    assert_eq!(team.join(member, &key), Ok(()), "who was in it before comes back");
}

/// The Durable Object keeps this text. A change of it needs a migration of what is stored.
#[test]
fn the_stored_form_of_a_state_is_pinned() {
    let mut team = Team::of_four_that_confirms();
    let (owner, admin) = (team.user(OWNER), team.user(ADMIN));
    team.remove(owner, team.user(OTHER)).unwrap();
    let key = team.invite(admin, Role::Member, 2).unwrap();
    team.join(team.user(STRANGER), &key).unwrap();
    team.invite_user(owner, Role::Admin, team.user(OTHER)).unwrap();
    team.leave(team.user(MEMBER)).unwrap();
    let stored = serde_json::to_string(team.state()).unwrap();
    assert_eq!(stored, include_str!("stored_state.json").trim_end());
    assert_eq!(&serde_json::from_str::<TeamState>(&stored).unwrap(), team.state());
    assert_eq!(team.state().received_at(), START);
}
