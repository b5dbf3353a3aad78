//! Section 6: who comes in, by which invitation, and until when.
#![allow(clippy::unwrap_used, clippy::arithmetic_side_effects, missing_docs)]
mod support;

use osmynt_core::statement::InviteProof;
use osmynt_core::teamlog::{Joining, Role, TeamEvent};
use osmynt_core::{Code, Hash, InviteId, TeamId, Time, UserId};
use support::{Key, Person, Team, Verdict, code, verify};

const OWNER: u32 = 0;
const ADMIN: u32 = 1;
const MEMBER: u32 = 2;
const OTHER: u32 = 3;
const STRANGER: u32 = 4;

fn is_open(team: &Team, invite: InviteId) -> bool {
    team.state().open_invites(team.object_time()).any(|(open, _)| open == invite)
}

#[test]
fn an_invitation_ends_by_time_by_use_and_by_word() {
    let mut team = Team::of_four();
    let (owner, stranger) = (team.user(OWNER), team.user(STRANGER));
    let revoked = team.invite(owner, Role::Member, 5).unwrap();
    let revocation = TeamEvent::InviteRevoked { invite: revoked.invite() };
    team.commit(owner, vec![revocation.clone()], false).unwrap();
    assert_eq!(team.join(stranger, &revoked), Err(Code::Gone));
    assert_eq!(team.commit(owner, vec![revocation], false), Err(Code::Gone), "it is revoked once");

    let once = team.invite(owner, Role::Member, 1).unwrap();
    team.join(stranger, &once).unwrap();
    let next = team.meet(Person::new(5));
    assert_eq!(team.join(next, &once), Err(Code::Gone));
    let twice = team.invite(owner, Role::Member, 2).unwrap();
    team.join(next, &twice).unwrap();
    let last = team.meet(Person::new(6));
    team.join(last, &twice).unwrap();
    assert!(!is_open(&team, twice.invite()));
}

#[test]
fn an_invitation_is_over_at_the_very_second_that_it_names() {
    let mut team = Team::of_four();
    let (owner, stranger) = (team.user(OWNER), team.user(STRANGER));
    let key = team.invite(owner, Role::Member, 5).unwrap();
    team.now = team.now.plus(3600);
    assert!(!is_open(&team, key.invite()));
    assert_eq!(team.join(stranger, &key), Err(Code::Gone));
    assert_eq!(team.commit(owner, vec![TeamEvent::InviteRevoked { invite: key.invite() }], false), Err(Code::Gone));
    team.now = Time(team.now.0 - 1);
    assert!(is_open(&team, key.invite()));
    assert_eq!(team.join(stranger, &key), Ok(()));
}

#[test]
fn an_invitation_is_made_within_limits() {
    let mut team = Team::of_four();
    let (owner, stranger) = (team.user(OWNER), team.user(STRANGER));
    let now = team.now;
    let key = Key::test(77).public();
    for (exp, uses, user) in [
        (now, 1, None),
        (now.plus(30 * 24 * 3600 + 1), 1, None),
        (now.plus(60), 0, None),
        (now.plus(60), 101, None),
        (now.plus(60), 2, Some(stranger)),
        (now.plus(60), 0, Some(stranger)),
    ] {
        let event = TeamEvent::InviteCreated { key, role: Role::Member, exp, uses, user };
        assert_eq!(team.commit(owner, vec![event], false), Err(Code::InvalidRequest), "{uses} uses until {exp}");
    }
    let exp = now.plus(30 * 24 * 3600);
    let event = TeamEvent::InviteCreated { key, role: Role::Member, exp, uses: 100, user: None };
    team.commit(owner, vec![event.clone()], false).unwrap();
    assert_eq!(team.commit(owner, vec![event], false), Err(Code::Conflict), "one key, one invitation");
    for _ in 1..100 {
        team.invite(owner, Role::Member, 1).unwrap();
    }
    assert_eq!(team.invite(owner, Role::Member, 1).map(|_| ()), Err(Code::TooLarge));
    team.now = team.now.plus(3600);
    assert!(team.invite(owner, Role::Member, 1).is_ok(), "expired ones make room");
}

#[test]
fn a_proof_serves_one_user_in_one_team_for_five_minutes() {
    let mut team = Team::of_four();
    let key = team.invite(team.user(OWNER), Role::Admin, 9).unwrap();
    let stranger = team.user(STRANGER);
    let (good_team, now) = (team.state().team(), team.now);
    let good = InviteProof { team: good_team, invite: key.invite(), user: stranger, iat: now };
    let joined = |proof: String| TeamEvent::MemberJoined { invite: key.invite(), proof };
    let member = team.user(MEMBER);
    for (why, code, proof) in [
        ("another team", Code::Forbidden, InviteProof { team: TeamId(Hash::of(b"x")), ..good.clone() }),
        ("another user", Code::Forbidden, InviteProof { user: member, ..good.clone() }),
        ("another invitation", Code::Forbidden, InviteProof { invite: Key::test(9).invite(), ..good.clone() }),
        ("old", Code::ClockSkew, InviteProof { iat: Time(now.0 - 301), ..good.clone() }),
        ("early", Code::ClockSkew, InviteProof { iat: now.plus(301), ..good.clone() }),
    ] {
        assert_eq!(team.commit(stranger, vec![joined(key.sign(&proof))], true), Err(code), "{why}");
    }
    let forged = joined(Key::test(9).sign(&good));
    assert_eq!(team.commit(stranger, vec![forged], true), Err(Code::BadSignature));
    let other = team.invite(team.user(OWNER), Role::Member, 1).unwrap();
    let by_another_invitation = joined(other.sign(&good));
    assert_eq!(team.commit(stranger, vec![by_another_invitation], true), Err(Code::BadSignature));
    let of_nobody = TeamEvent::MemberJoined { invite: Key::test(9).invite(), proof: key.sign(&good) };
    assert_eq!(team.commit(stranger, vec![of_nobody], true), Err(Code::Gone), "an invitation that nobody made");
    team.commit(stranger, vec![joined(key.sign(&good))], true).unwrap();
    assert_eq!(team.state().members()[&stranger].role, Role::Admin, "the role is the invitation's");
    assert_eq!(team.join(stranger, &key), Err(Code::Conflict), "a member does not join");
}

/// What the holder of an invitation gets who wants to read.
fn read(team: &Team, user: UserId, key: &Key, iat: Time, now: Time) -> Verdict {
    let proof = InviteProof { team: team.state().team(), invite: key.invite(), user, iat };
    let proof = verify::<InviteProof>(&key.sign(&proof), &key.public()).unwrap();
    team.state().admit_reader(&proof, now).map_err(code)
}

#[test]
fn a_reader_by_invitation_needs_an_open_invitation_and_a_new_proof() {
    let mut team = Team::of_four();
    let owner = team.user(OWNER);
    let key = team.invite(owner, Role::Member, 1).unwrap();
    let (user, now) = (team.user(STRANGER), team.now);
    assert_eq!(read(&team, user, &key, now, now), Ok(()));
    assert_eq!(read(&team, user, &key, now, now.plus(301)), Err(Code::ClockSkew));
    assert_eq!(read(&team, user, &Key::test(9), now, now), Err(Code::Gone), "an invitation nobody made");
    let late = now.plus(3600);
    assert_eq!(read(&team, user, &key, late, late), Err(Code::Gone));
    for (why, proof) in [
        ("another team", InviteProof { team: TeamId(Hash::of(b"x")), invite: key.invite(), user, iat: now }),
        ("another key", InviteProof { team: team.state().team(), invite: key.invite(), user, iat: now }),
    ] {
        let key = if why == "another key" { Key::test(9) } else { key.clone() };
        let proof = verify::<InviteProof>(&key.sign(&proof), &key.public()).unwrap();
        assert_eq!(team.state().admit_reader(&proof, now).map_err(code), Err(Code::Forbidden), "{why}");
    }
    team.commit(owner, vec![TeamEvent::InviteRevoked { invite: key.invite() }], false).unwrap();
    assert_eq!(read(&team, user, &key, now, now), Err(Code::Gone));
}

#[test]
fn a_reader_is_not_barred_and_is_the_one_that_the_invitation_names() {
    let mut team = Team::of_four();
    let (owner, member, stranger) = (team.user(OWNER), team.user(MEMBER), team.user(STRANGER));
    team.remove(owner, member).unwrap();
    let now = team.now;
    let open = team.invite(owner, Role::Member, 5).unwrap();
    assert_eq!(read(&team, member, &open, now, now), Err(Code::Forbidden));
    let named = team.invite_user(owner, Role::Member, member).unwrap();
    assert_eq!(read(&team, member, &named, now, now), Ok(()));
    assert_eq!(read(&team, stranger, &named, now, now), Err(Code::Forbidden));
}

#[test]
fn an_invitation_that_names_a_user_serves_nobody_else_and_once() {
    let mut team = Team::of_four();
    let (owner, stranger) = (team.user(OWNER), team.user(STRANGER));
    let other = team.meet(Person::new(5));
    let key = team.invite_user(owner, Role::Member, stranger).unwrap();
    assert_eq!(team.join(other, &key), Err(Code::Forbidden));
    team.join(stranger, &key).unwrap();
    team.leave(stranger).unwrap();
    assert_eq!(team.join(stranger, &key), Err(Code::Gone));
}

/// A team whose admin, person 1, came in by an invitation that is still open, and has made another one.
fn with_an_admin_who_invites() -> (Team, Key, Key) {
    let mut team = Team::founded(5);
    let came_in_by = team.invite(team.user(OWNER), Role::Admin, 3).unwrap();
    team.join(team.user(ADMIN), &came_in_by).unwrap();
    let made = team.invite(team.user(ADMIN), Role::Member, 3).unwrap();
    let unrelated = team.invite(team.user(OWNER), Role::Member, 3).unwrap();
    assert!(is_open(&team, came_in_by.invite()) && is_open(&team, made.invite()) && is_open(&team, unrelated.invite()));
    (team, made, came_in_by)
}

/// Whether, after something happened to the admin, an invitation is closed: also to somebody else.
fn is_closed(team: &mut Team, key: &Key) -> bool {
    let closed = !is_open(team, key.invite());
    assert_eq!(team.join(team.user(STRANGER), key), if closed { Err(Code::Gone) } else { Ok(()) });
    assert_eq!(&team.replayed().unwrap(), team.state());
    closed
}

#[test]
fn removal_closes_the_invitations_that_the_removed_made() {
    let (mut team, made, _) = with_an_admin_who_invites();
    team.remove(team.user(OWNER), team.user(ADMIN)).unwrap();
    assert!(is_closed(&mut team, &made));
}

#[test]
fn removal_closes_the_invitation_that_the_removed_came_in_by() {
    let (mut team, _, came_in_by) = with_an_admin_who_invites();
    team.remove(team.user(OWNER), team.user(ADMIN)).unwrap();
    assert!(is_closed(&mut team, &came_in_by));
}

#[test]
fn demotion_closes_the_invitations_that_the_demoted_made() {
    let (mut team, made, _) = with_an_admin_who_invites();
    team.set_role(team.user(OWNER), team.user(ADMIN), Role::Member).unwrap();
    assert!(is_closed(&mut team, &made));
}

#[test]
fn demotion_closes_the_invitation_that_the_demoted_came_in_by() {
    let (mut team, _, came_in_by) = with_an_admin_who_invites();
    team.set_role(team.user(OWNER), team.user(ADMIN), Role::Member).unwrap();
    assert!(is_closed(&mut team, &came_in_by));
}

#[test]
fn promotion_closes_nothing() {
    let (mut team, made, came_in_by) = with_an_admin_who_invites();
    team.set_role(team.user(OWNER), team.user(ADMIN), Role::Owner).unwrap();
    assert!(is_open(&team, came_in_by.invite()));
    assert!(!is_closed(&mut team, &made));
}

#[test]
fn leaving_closes_the_invitations_that_the_leaver_made_and_the_one_they_came_in_by() {
    let (mut team, made, came_in_by) = with_an_admin_who_invites();
    let unrelated = Team::invitation(3);
    team.leave(team.user(ADMIN)).unwrap();
    assert_eq!(team.join(team.user(STRANGER), &made), Err(Code::Gone));
    assert!(is_closed(&mut team, &came_in_by));
    assert!(!is_closed(&mut team, &unrelated));
}

#[test]
fn whoever_left_before_they_could_be_removed_is_barred_all_the_same() {
    let (mut team, ..) = with_an_admin_who_invites();
    let (owner, admin) = (team.user(OWNER), team.user(ADMIN));
    let open = team.invite(owner, Role::Member, 3).unwrap();
    team.leave(admin).unwrap();
    let epoch = team.epoch();
    let removed = |user| vec![TeamEvent::MemberRemoved { user }];
    assert_eq!(team.commit(owner, removed(admin), false), Ok(()), "there is nothing to rotate for");
    assert_eq!(team.epoch(), epoch);
    assert_eq!(team.join(admin, &open), Err(Code::Forbidden));
    let theirs = team.invite_user(owner, Role::Member, admin).unwrap();
    assert_eq!(team.commit(owner, removed(admin), false), Ok(()), "once more, as there is an invitation for them now");
    assert_eq!(team.join(admin, &theirs), Err(Code::Forbidden));
    assert_eq!(team.commit(owner, removed(team.user(STRANGER)), false), Err(Code::NotFound), "who never was in it");
}

/// A team in which the stranger waits to be confirmed, by an invitation that the admin made.
fn with_an_admin_whose_guest_waits() -> Team {
    let (mut team, made, _) = with_an_admin_who_invites();
    team.set_joining(Joining::Confirmation);
    team.join(team.user(STRANGER), &made).unwrap();
    team
}

fn assert_nobody_waits(team: &mut Team) {
    let (owner, stranger) = (team.user(OWNER), team.user(STRANGER));
    assert_eq!(team.state().pending(team.object_time()).count(), 0);
    assert_eq!(team.commit(owner, vec![TeamEvent::MemberConfirmed { user: stranger }], true), Err(Code::NotFound));
}

#[test]
fn removal_drops_whoever_waits_by_an_invitation_that_the_removed_made() {
    let mut team = with_an_admin_whose_guest_waits();
    team.remove(team.user(OWNER), team.user(ADMIN)).unwrap();
    assert_nobody_waits(&mut team);
}

#[test]
fn leaving_drops_whoever_waits_by_an_invitation_that_the_leaver_made() {
    let mut team = with_an_admin_whose_guest_waits();
    team.leave(team.user(ADMIN)).unwrap();
    assert_nobody_waits(&mut team);
}

#[test]
fn leaving_keeps_whoever_waits_by_an_invitation_that_somebody_else_made() {
    let (mut team, _) = with_somebody_who_waits();
    team.leave(team.user(ADMIN)).unwrap();
    assert_eq!(team.state().pending(team.object_time()).count(), 1);
    assert_eq!(team.confirm(team.user(OWNER), team.user(STRANGER)), Ok(()));
}

#[test]
fn what_closes_one_persons_invitations_leaves_those_of_others_open() {
    let (mut team, ..) = with_an_admin_who_invites();
    let unrelated = Team::invitation(3);
    team.remove(team.user(OWNER), team.user(ADMIN)).unwrap();
    assert!(!is_closed(&mut team, &unrelated));
}

/// A team in which the stranger waits to be confirmed, by an invitation that is still open.
fn with_somebody_who_waits() -> (Team, Key) {
    let mut team = Team::of_four_that_confirms();
    let key = team.invite(team.user(OWNER), Role::Member, 3).unwrap();
    team.join(team.user(STRANGER), &key).unwrap();
    (team, key)
}

#[test]
fn refusal_closes_the_invitation_that_the_refused_asked_by() {
    let (mut team, key) = with_somebody_who_waits();
    let next = team.meet(Person::new(5));
    assert!(is_open(&team, key.invite()));
    team.remove(team.user(ADMIN), team.user(STRANGER)).unwrap();
    assert!(!is_open(&team, key.invite()));
    assert_eq!(team.join(next, &key), Err(Code::Gone));
}

#[test]
fn withdrawal_closes_nothing() {
    let (mut team, key) = with_somebody_who_waits();
    team.leave(team.user(STRANGER)).unwrap();
    assert_eq!(team.join(team.user(STRANGER), &key), Ok(()), "who withdrew may ask again");
}

/// What somebody gets who comes back in every way that there is.
fn returns(team: &mut Team, user: UserId, made_before: &Key) {
    let owner = team.user(OWNER);
    assert_eq!(team.join(user, made_before), Err(Code::Forbidden), "by one that named them before");
    let open = team.invite(owner, Role::Member, 5).unwrap();
    assert_eq!(team.join(user, &open), Err(Code::Forbidden), "by one for anybody");
    let other = team.invite_user(owner, Role::Member, team.user(OTHER)).unwrap();
    assert_eq!(team.join(user, &other), Err(Code::Forbidden), "by one for somebody else");
    let named = team.invite_user(owner, Role::Member, user).unwrap();
    assert_eq!(team.join(user, &named), Ok(()), "by one that was made later and names them");
    assert_eq!(&team.replayed().unwrap(), team.state());
}

#[test]
fn the_removed_come_in_only_by_a_later_invitation_that_names_them() {
    let mut team = Team::of_four();
    let (owner, member) = (team.user(OWNER), team.user(MEMBER));
    let before = team.invite_user(owner, Role::Member, member).unwrap();
    team.remove(owner, member).unwrap();
    returns(&mut team, member, &before);
    team.leave(member).unwrap();
    let open = team.invite(owner, Role::Member, 5).unwrap();
    assert_eq!(team.join(member, &open), Err(Code::Forbidden), "also the next time");
}

#[test]
fn the_refused_come_in_only_by_a_later_invitation_that_names_them() {
    let (mut team, _) = with_somebody_who_waits();
    let (owner, stranger) = (team.user(OWNER), team.user(STRANGER));
    let before = team.invite_user(owner, Role::Member, stranger).unwrap();
    team.remove(team.user(ADMIN), stranger).unwrap();
    returns(&mut team, stranger, &before);
    team.confirm(owner, stranger).unwrap();
}

#[test]
fn the_demoted_who_left_come_in_only_by_a_later_invitation_that_names_them() {
    let mut team = Team::of_four();
    let (owner, admin) = (team.user(OWNER), team.user(ADMIN));
    let before = team.invite_user(owner, Role::Admin, admin).unwrap();
    team.set_role(owner, admin, Role::Member).unwrap();
    team.leave(admin).unwrap();
    returns(&mut team, admin, &before);
}

#[test]
fn whoever_left_of_their_own_accord_comes_in_by_any_open_invitation() {
    let mut team = Team::of_four();
    let (owner, member) = (team.user(OWNER), team.user(MEMBER));
    let key = team.invite(owner, Role::Member, 1).unwrap();
    team.leave(member).unwrap();
    assert_eq!(team.join(member, &key), Ok(()));
    assert_eq!(team.state().members()[&member].since_epoch, team.epoch(), "without the earlier keys");
}
