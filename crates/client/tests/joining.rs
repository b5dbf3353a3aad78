//! Inviting, joining, confirming and removing.

#![allow(
    clippy::unwrap_used,
    clippy::string_slice,
    clippy::panic,
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    reason = "tests"
)]

mod support;

use osmynt_client::invitation::Code;
use osmynt_client::keys::Signer;
use osmynt_client::seal;
use osmynt_client::{Class, Error, INVITATION_LIFETIME, InviteId, JoinedAs, Joining, Place, Role, Was};
use osmynt_core::statement::InviteProof;
use osmynt_core::teamlog::{Policy, TeamEvent};
use osmynt_core::{Hash, Head};

use support::stage::{Stage, head, now};
use support::{Human, World, random};

/// A team that somebody owns, up to the present.
fn found(owner: &Human) -> World {
    let mut world = World::found(owner, "joining");
    world.now = osmynt_client::Time(now().0 - 600);
    world
}

fn invite(world: &mut World, by: &Human, uses: u32, humans: &[&Human]) -> Signer {
    let signer = Signer::generate(random(&format!("invitation {}", world.log.len()))).unwrap();
    let exp = world.now.plus(7200);
    let created = TeamEvent::InviteCreated { key: *signer.public(), role: Role::Member, exp, uses, user: None };
    world.commit(by, vec![created], false, humans);
    signer
}

/// Somebody joins, or asks to.
fn join(world: &mut World, joiner: &Human, invitation: &Signer, rotate: bool, humans: &[&Human]) {
    let invite = InviteId(invitation.kid());
    let iat = world.now.plus(60);
    let proof = InviteProof { team: world.team, invite, user: joiner.user, iat };
    let proof = invitation.sign(&proof).unwrap();
    world.commit(joiner, vec![TeamEvent::MemberJoined { invite, proof }], rotate, humans);
}

fn confirming(world: &mut World, owner: &Human, humans: &[&Human]) {
    let policy = Policy { max_epoch_age: 3600, joining: Joining::Confirmation };
    world.commit(owner, vec![TeamEvent::PolicyChanged { policy }], false, humans);
}

fn rename(world: &mut World, by: &Human, name: &str, humans: &[&Human]) {
    let epoch = world.view(humans).state().epoch().unwrap().number;
    let nonce = seal::nonce(random(name)().unwrap());
    let profile = seal::seal_profile(&world.keys[&epoch], world.team, epoch, name, nonce).unwrap();
    world.commit(by, vec![TeamEvent::ProfileChanged { epoch, profile }], false, humans);
}

fn code(world: &World, invitation: &Signer, origin: &str, head: Head) -> String {
    let key = invitation.scalar();
    let code = Code { team: world.team, key, head, origin: origin.to_owned(), name: "Team".to_owned() };
    code.write().unwrap().to_string()
}

#[test]
fn a_code_makes_a_member_who_has_the_next_key() {
    let (ada, ben) = (Human::new(1), Human::new(2));
    let mut world = found(&ben);
    let invitation = invite(&mut world, &ben, 1, &[&ben]);
    let stage = Stage::new("joining-member", &[&ada, &ben], &[&world]);
    let client = stage.client();
    let elsewhere = code(&world, &invitation, "https://osmynt.example", head(&world.log));
    assert!(matches!(client.join(&elsewhere).unwrap_err(), Error::Usage { .. }));
    let never = Head { hash: Hash::of(b"never"), ..head(&world.log) };
    let forked = code(&world, &invitation, &stage.service.origin, never);
    assert_eq!(client.join(&forked).unwrap_err().class(), Class::Tampered);

    let code = code(&world, &invitation, &stage.service.origin, head(&world.log));
    let member = |joined: osmynt_client::Joined| match joined.place {
        JoinedAs::Member(team) => (team, joined.before),
        JoinedAs::Pending { .. } => panic!("a member"),
    };
    let (team, before) = member(client.join(&format!(" {}\n", code.to_uppercase())).unwrap());
    assert!(!before);
    assert_eq!((team.name.as_str(), team.role, team.pending), ("Team", Role::Member, false));
    assert_eq!(team.members.len(), 2);
    assert_eq!(client.find_team(None).unwrap(), world.team);

    let sent = stage.service.requests().len();
    assert_eq!(member(client.join(&code).unwrap()), (team, true), "who is in the team already");
    let later = stage.service.requests();
    assert!(later[sent..].iter().all(|request| request.method == "GET"), "nothing is used up");
}

#[test]
fn a_code_makes_somebody_wait_where_the_team_confirms_and_they_may_change_their_mind() {
    let (ada, ben) = (Human::new(1), Human::new(2));
    let mut world = found(&ben);
    confirming(&mut world, &ben, &[&ben]);
    let invitation = invite(&mut world, &ben, 1, &[&ben]);
    let stage = Stage::new("joining-pending", &[&ada, &ben], &[&world]);
    let client = stage.client();
    let code = code(&world, &invitation, &stage.service.origin, head(&world.log));
    let (team, key, head) = (world.team, invitation.scalar(), head(&world.log));
    let renaming = Code { team, key, head, origin: stage.service.origin.clone(), name: "Payroll".to_owned() };
    for (code, before) in [(code, false), (renaming.write().unwrap().to_string(), true)] {
        let joined = client.join(&code).unwrap();
        assert_eq!(joined.place, JoinedAs::Pending { team: world.team, name: "Team".to_owned() });
        assert_eq!(joined.before, before);
    }
    assert!(matches!(client.rotate(world.team), Err(Error::Pending { .. })), "who waits changes nothing");
    let sent = stage.service.requests().into_iter().find(|request| request.path.ends_with("/commits")).unwrap();
    assert!(sent.body.contains(r#""envelopes":[]"#), "nothing is sealed to whom nobody has confirmed");

    let team = client.team(world.team).unwrap();
    assert!(team.pending && team.joiners.len() == 1 && team.members.len() == 1);
    let teams = client.teams().unwrap();
    assert!(matches!(teams[0].place, Place::Pending { role: Role::Member, .. }));
    assert_eq!(teams[0].name.as_deref(), Some("Team"), "from the invitation");
    client.leave(world.team).unwrap();
    stage.shown().teams.clear();
    assert!(client.teams().unwrap().is_empty(), "who was no member misses no team");
}

#[test]
fn who_waits_is_confirmed_with_a_new_key_or_refused() {
    let (ada, ben, cem) = (Human::new(1), Human::new(2), Human::new(3));
    let mut world = found(&ada);
    let all = [&ada, &ben, &cem];
    confirming(&mut world, &ada, &[&ada]);
    let invitation = invite(&mut world, &ada, 5, &[&ada]);
    join(&mut world, &ben, &invitation, false, &[&ada, &ben]);
    join(&mut world, &cem, &invitation, false, &all);
    let stage = Stage::new("joining-confirm", &all, &[&world]);
    let client = stage.client();
    assert!(matches!(client.confirm(world.team, "nobody").unwrap_err(), Error::NotFound { .. }));
    assert_eq!(client.confirm(world.team, "human-2").unwrap().user, ben.user);
    assert!(stage.shown().envelopes[&(world.team, 2)].iter().any(|envelope| envelope.device == ben.device()));
    let again = client.confirm(world.team, "human-2").unwrap_err();
    assert!(again.to_string().contains("is in the team already"), "{again}");

    let refused = client.remove_member(world.team, "human-3").unwrap();
    assert_eq!((refused.person.user, refused.was), (cem.user, Was::Joiner));
    assert_eq!(refused.closed, [InviteId(invitation.kid())], "by which Cem came");
    let team = client.team(world.team).unwrap();
    assert_eq!((team.members.len(), team.joiners.len(), team.epoch), (2, 0, 2), "a refusal needs no new key");
}

#[test]
fn whoever_left_first_is_barred_and_is_named_as_they_were_known() {
    let (ada, ben) = (Human::new(1), Human::new(2));
    let mut world = found(&ada);
    let both = [&ada, &ben];
    let came_by = invite(&mut world, &ada, 5, &[&ada]);
    join(&mut world, &ben, &came_by, true, &both);
    let spare = invite(&mut world, &ada, 5, &both);
    world.commit(&ben, vec![TeamEvent::MemberLeft {}], false, &both);
    let stage = Stage::new("joining-left", &both, &[&world]);
    let client = stage.client();
    let barred = client.remove_member(world.team, &ben.user.to_string()).unwrap();
    assert_eq!((barred.person.user, barred.was, barred.closed), (ben.user, Was::Former, vec![]));
    assert_eq!(barred.open, [InviteId(spare.kid())], "leaving has closed the other");
    client.remove_member(world.team, &ben.user.to_string()).unwrap();
}

#[test]
fn removing_somebody_closes_what_they_could_come_back_by_and_says_so() {
    let (ada, ben) = (Human::new(1), Human::new(2));
    let mut world = found(&ada);
    let both = [&ada, &ben];
    let came_by = invite(&mut world, &ada, 5, &[&ada]);
    join(&mut world, &ben, &came_by, true, &both);
    world.commit(&ada, vec![TeamEvent::RoleChanged { user: ben.user, role: Role::Admin }], false, &both);
    let made = invite(&mut world, &ben, 5, &both);
    let stage = Stage::new("joining-remove", &both, &[&world]);
    let client = stage.client();
    let other = client.invite(world.team, Role::Member, INVITATION_LIFETIME, 1, None).unwrap();
    assert!(other.code.starts_with("osmynt1"));
    assert_eq!(other.invite.by.user, ada.user);
    assert_eq!(client.invites(world.team).unwrap().len(), 3);

    let removed = client.remove_member(world.team, "human-2").unwrap();
    assert_eq!(removed.was, Was::Member);
    assert_eq!(removed.open, [other.invite.id], "by which Ben may come as another user");
    let mut closed = removed.closed;
    closed.sort_unstable();
    let mut expected = [InviteId(came_by.kid()), InviteId(made.kid())];
    expected.sort_unstable();
    assert_eq!(closed, expected);
    let left: Vec<InviteId> = client.invites(world.team).unwrap().into_iter().map(|invite| invite.id).collect();
    assert_eq!(left, [other.invite.id]);

    // Only for them, by the beginning of their id, as their name is known no more.
    let id = ben.user.to_string();
    let again = client.invite(world.team, Role::Member, INVITATION_LIFETIME, 1, Some(&id[..16])).unwrap();
    assert_eq!(again.invite.user, Some(ben.user));
    assert!(matches!(
        client.invite(world.team, Role::Member, INVITATION_LIFETIME, 2, Some(&id)).unwrap_err(),
        Error::Usage { .. }
    ));
    client.set_joining(world.team, Joining::Confirmation).unwrap();
    assert_eq!(client.team(world.team).unwrap().joining, Joining::Confirmation);
}

#[test]
fn a_join_renames_no_team_whatever_name_the_code_has_and_whatever_role_it_gives() {
    let (ada, ben) = (Human::new(1), Human::new(2));
    let mut world = found(&ada);
    rename(&mut world, &ada, "New name", &[&ada]);
    // World::join seals "Team", as a joiner does whose code is older than the new name.
    world.join(&ada, &ben, Role::Admin, &[&ada]);
    let both = [&ada, &ben];
    let name = |home: &str, world: &World| {
        let stage = Stage::new(home, &both, &[world]);
        stage.client().teams().unwrap()[0].name.clone().unwrap()
    };
    assert_eq!(name("joining-name", &world), "New name");
    rename(&mut world, &ben, "Newer name", &both);
    assert_eq!(name("joining-renamed", &world), "Newer name", "from then on they are an admin like any other");
}

#[test]
fn nor_does_a_later_rotation_of_whoever_joined_by_it_as_an_admin() {
    // The caller is the first.
    let (ben, ada) = (Human::new(1), Human::new(2));
    let mut world = found(&ada);
    let signer = Signer::generate(random("an admin's")).unwrap();
    let exp = world.now.plus(7200);
    let created = TeamEvent::InviteCreated { key: *signer.public(), role: Role::Admin, exp, uses: 1, user: None };
    world.commit(&ada, vec![created], false, &[&ada]);
    let joining = Stage::new("joining-admin", &[&ben, &ada], &[&world]);
    let client = joining.client();
    client.join(&code(&world, &signer, &joining.service.origin, head(&world.log))).unwrap();
    client.rotate(world.team).unwrap();
    assert_eq!(client.teams().unwrap()[0].name.as_deref(), Some("Team"), "as the code says");

    // A home that does not have the code.
    world.log = joining.shown().logs[&world.team].clone();
    for ((_, epoch), envelopes) in &joining.shown().envelopes {
        world.envelopes.insert(*epoch, envelopes.clone());
    }
    let other = Stage::new("joining-admin-other", &[&ben, &ada], &[&world]);
    assert_eq!(other.client().teams().unwrap()[0].name, None, "nobody has vouched for what the code says");
}
