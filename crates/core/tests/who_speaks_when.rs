//! Rule 3 of section 4 and the times of section 11: which device speaks for a user when an entry is received, and when an
//! entry can have been received.
#![allow(clippy::unwrap_used, clippy::arithmetic_side_effects, clippy::indexing_slicing, missing_docs)]
mod support;

use osmynt_core::teamlog::{CommitEntry, Policy, Role, TeamEvent, TeamState};
use osmynt_core::{Code, Time, Unverified, UserId, Window};
use support::{Key, Now, P256, POLICY, Person, START, Team, Verdict, code, ready};

const OWNER: u32 = 0;
const MEMBER: u32 = 2;

/// Much later than anything that happened before.
const LATER: Time = Time(START.0 + 100_000);

/// What a client says to an entry by a device of a member that a service which lies shows it.
fn shown(team: &mut Team, user: UserId, device: &Key, received_at: Time) -> Verdict {
    team.now = received_at;
    let entry = team.signed_by(device, user, TeamEvent::MemberLeft {});
    team.shown(&entry, received_at).map(|_| ())
}

#[test]
fn a_device_speaks_from_five_minutes_before_it_was_added() {
    let mut team = Team::of_four();
    let member = team.user(MEMBER);
    let second = Key::test(250);
    team.now = LATER;
    team.add_device(member, &second).unwrap();
    assert_eq!(shown(&mut team, member, &second, Time(LATER.0 - 301)), Err(Code::Forbidden));
    assert_eq!(shown(&mut team, member, &second, Time(LATER.0 - 300)), Ok(()));
    assert_eq!(shown(&mut team, member, &second, LATER.plus(1_000_000)), Ok(()), "and ever after");
}

#[test]
fn a_device_speaks_until_five_minutes_after_it_was_revoked() {
    let mut team = Team::of_four();
    let member = team.user(MEMBER);
    let first = team.person(member).device().clone();
    team.add_device(member, &Key::test(250)).unwrap();
    team.now = LATER;
    team.revoke_device(member, &first).unwrap();
    assert_eq!(shown(&mut team, member, &first, LATER.plus(300)), Ok(()));
    assert_eq!(shown(&mut team, member, &first, LATER.plus(301)), Err(Code::Forbidden));
}

#[test]
fn a_device_never_speaks_once_a_rotation_has_named_its_revocation() {
    let mut team = Team::of_four();
    let (owner, member) = (team.user(OWNER), team.user(MEMBER));
    let first = team.person(member).device().clone();
    team.add_device(member, &Key::test(250)).unwrap();
    team.now = LATER;
    team.revoke_device(member, &first).unwrap();
    team.now = LATER.plus(1);
    team.rotate(owner).unwrap();
    assert_eq!(shown(&mut team, member, &first, LATER.plus(1)), Err(Code::Forbidden));
}

#[test]
fn a_revocation_that_a_rotation_has_named_stays_named_when_its_user_leaves_and_joins_again() {
    let mut team = Team::of_four();
    let (owner, member) = (team.user(OWNER), team.user(MEMBER));
    let (first, second) = (team.person(member).device().clone(), Key::test(250));
    team.add_device(member, &second).unwrap();
    team.now = LATER;
    let key = team.invite(owner, Role::Member, 2).unwrap();
    team.revoke_device(member, &first).unwrap();
    team.rotate(owner).unwrap();
    team.leave(member).unwrap();
    let joined = team.signed_by(&first, member, team.joined(member, &key));
    assert_eq!(team.shown(&joined, team.now).map(|_| ()), Err(Code::Forbidden), "the revoked device does not join");
    // Nor does it get the key if another device of the same user plays along.
    let joined = team.joined(member, &key);
    let (outdated, _) = support::rotation(&team.world, team.state.as_ref(), std::slice::from_ref(&joined), member, 1);
    let entries = team.signed(member, vec![joined, TeamEvent::KeyRotated(outdated)]);
    let state = team.shown(&entries[0], team.now).unwrap();
    let refused = support::follow(Some(&state), &entries[1], team.now, &support::Then(&team.world));
    assert_eq!(refused.map(|_| ()), Err(Code::CoverageMismatch), "not at a head before the revocation");
    team.join(member, &key).unwrap();
    assert_eq!(&team.replayed().unwrap(), team.state());
}

#[test]
fn the_service_lets_a_device_speak_only_while_it_is_active() {
    let mut team = Team::of_four();
    let (owner, member) = (team.user(OWNER), team.user(MEMBER));
    let first = team.person(member).device().clone();
    let second = Key::test(250);
    let leave = |team: &mut Team, device: &Key| {
        let entry = team.signed_by(device, member, TeamEvent::MemberLeft {});
        team.submit(&[entry], &[])
    };
    assert_eq!(leave(&mut team, &second), Err(Code::Forbidden), "before it is added");
    team.add_device(member, &second).unwrap();
    team.revoke_device(member, &first).unwrap();
    assert_eq!(leave(&mut team, &first), Err(Code::Forbidden), "from the moment on in which it is revoked");
    team.rotate(owner).unwrap();
    assert_eq!(leave(&mut team, &second), Ok(()));
}

#[test]
fn a_device_that_is_revoked_between_the_check_of_its_signature_and_the_decision_speaks_no_more() {
    let mut team = Team::of_four();
    let member = team.user(MEMBER);
    let first = team.person(member).device().clone();
    let entry = Unverified::parse(&team.signed_by(&first, member, TeamEvent::MemberLeft {})).unwrap();
    let verified = ready(CommitEntry::verify(entry, &first.public(), team.state.as_ref(), team.now, &P256)).unwrap();
    let decide = |team: &Team| {
        let entries = std::slice::from_ref(&verified);
        let state = TeamState::commit(team.state.as_ref(), entries, &[], team.now, &Now(&team.world));
        state.map(|_| ()).map_err(code)
    };
    assert_eq!(decide(&team), Ok(()));
    team.add_device(member, &Key::test(250)).unwrap();
    team.revoke_device(member, &first).unwrap();
    assert_eq!(decide(&team), Err(Code::Forbidden));
}

#[test]
fn whoever_joins_or_founds_speaks_by_the_same_rule() {
    let mut team = Team::of_four();
    let stranger = team.user(4);
    let first = team.person(stranger).device().clone();
    team.add_device(stranger, &Key::test(450)).unwrap();
    team.now = LATER;
    let key = team.invite(team.user(OWNER), Role::Member, 1).unwrap();
    team.revoke_device(stranger, &first).unwrap();
    for (received_at, verdict) in [(LATER.plus(300), Ok(())), (LATER.plus(301), Err(Code::Forbidden))] {
        team.now = received_at;
        let joined = team.signed_by(&first, stranger, team.joined(stranger, &key));
        assert_eq!(team.shown(&joined, received_at).map(|_| ()), verdict, "{received_at}");
        let created = TeamEvent::TeamCreated { nonce: osmynt_core::Bytes([1; 16]), policy: POLICY };
        let first_entry = support::chained(None, &first, stranger, vec![created], received_at);
        let founded = support::follow(None, &first_entry[0], received_at, &support::Then(&team.world));
        assert_eq!(founded.map(|_| ()), verdict, "{received_at}");
    }
}

#[test]
fn a_rotation_may_name_a_head_that_was_replaced_within_five_minutes_and_no_other() {
    let mut team = Team::of_four();
    let (owner, member) = (team.user(OWNER), team.user(MEMBER));
    let (rotation, _) = team.rotation(&[], owner);
    team.now = LATER;
    team.add_device(member, &Key::test(250)).unwrap();
    for (received_at, verdict) in [(LATER.plus(300), Ok(())), (LATER.plus(301), Err(Code::CoverageMismatch))] {
        team.now = received_at;
        let entry = team.signed(owner, vec![TeamEvent::KeyRotated(rotation.clone())]).remove(0);
        assert_eq!(team.shown(&entry, received_at).map(|_| ()), verdict, "{received_at}");
    }
}

#[test]
fn a_client_takes_no_entry_that_its_last_reading_should_have_shown() {
    let mut team = Team::of_four();
    let (owner, member) = (team.user(OWNER), team.user(MEMBER));
    let first = team.person(member).device().clone();
    team.add_device(member, &Key::test(250)).unwrap();
    team.rotate(owner).unwrap();
    team.now = LATER;
    team.revoke_device(member, &first).unwrap();
    // The client has read both logs to their ends, an hour later. No rotation has named the revocation. A service that lies
    // lets the revoked device speak at a time when it still could.
    let read_at = LATER.plus(3600);
    let window = Window { read_at: Some(read_at), now: read_at.plus(60) };
    assert_eq!(shown(&mut team, member, &first, LATER.plus(300)), Ok(()), "by the rules of the log alone");
    assert_eq!(window.check(LATER.plus(300)).map_err(code), Err(Code::ClockSkew), "but it cannot be new");
    assert_eq!(shown(&mut team, member, &first, read_at), Err(Code::Forbidden), "and later it does not speak");
}

#[test]
fn an_entry_was_received_since_the_last_reading_and_not_in_the_future() {
    let now = LATER;
    let window = Window { read_at: Some(Time(now.0 - 1000)), now };
    for (received_at, verdict) in [
        (now.0 - 1301, Err(Code::ClockSkew)),
        (now.0 - 1300, Ok(())),
        (now.0, Ok(())),
        (now.0 + 300, Ok(())),
        (now.0 + 301, Err(Code::ClockSkew)),
    ] {
        assert_eq!(window.check(Time(received_at)).map_err(code), verdict, "{received_at}");
    }
    assert!(Window { read_at: None, now }.check(START).is_ok(), "a log that was never read may be old");
}

#[test]
fn the_times_of_a_log_are_its_own_and_do_not_go_back() {
    let mut person = Person::new(1);
    let first = person.device().clone();
    person.now = LATER;
    person.add(&first, &Key::test(101)).unwrap();
    person.now = Time(LATER.0 - 1);
    assert_eq!(person.add(&first, &Key::test(102)), Err(Code::ClockSkew));
    let mut team = Team::of_four();
    let owner = team.user(OWNER);
    team.now = LATER;
    let event = TeamEvent::PolicyChanged { policy: Policy { max_epoch_age: 7200, ..POLICY } };
    team.commit(owner, vec![event.clone()], false).unwrap();
    team.now = Time(LATER.0 - 1);
    let entry = team.signed(owner, vec![event]).remove(0);
    assert_eq!(team.shown(&entry, team.now), Err(Code::ClockSkew));
}
