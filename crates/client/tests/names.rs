//! Names of people: who is shown by which, what is said of odd ones, and that nobody is chosen by them.

#![allow(clippy::unwrap_used, clippy::string_slice, clippy::panic, reason = "tests")]

mod support;

use osmynt_client::{Client, Doubt, Error, Person, Role, TeamId, UserId};
use osmynt_core::names::Name;

use support::stage::{Stage, now};
use support::{Human, World};

/// Ada owns a team, with Ben and Cem.
struct Cast {
    ada: Human,
    ben: Human,
    cem: Human,
    world: World,
}

fn cast() -> Cast {
    let (ada, ben, cem) = (Human::new(1), Human::new(2), Human::new(3));
    let mut world = World::found(&ada, "names");
    world.join(&ada, &ben, Role::Member, &[&ada]);
    world.join(&ada, &cem, Role::Member, &[&ada, &ben]);
    Cast { ada, ben, cem, world }
}

fn stage(name: &str, Cast { ada, ben, cem, world }: &Cast) -> Stage {
    Stage::new(name, &[ada, ben, cem], &[world])
}

fn person(client: &Client, team: TeamId, user: UserId) -> Person {
    let team = client.team(team).unwrap();
    team.members.into_iter().map(|member| member.person).find(|person| person.user == user).unwrap()
}

fn refused(client: &Client, team: TeamId, selector: &str) -> Error {
    client.set_role(team, selector, Role::Admin).unwrap_err()
}

#[test]
fn people_are_chosen_by_a_name_without_doubt_or_by_the_beginning_of_their_id() {
    let cast = cast();
    let stage = stage("names-chosen", &cast);
    let (client, team) = (stage.client(), cast.world.team);
    let ben = person(&client, team, cast.ben.user);
    assert_eq!((ben.login.as_deref(), &ben.doubt), (Some("human-2"), &None));
    let id = ben.user.to_string();
    for selector in ["human-2", "@HUMAN-2", &id, &id[..16]] {
        let outcome = client.set_role(team, selector, Role::Admin).unwrap();
        assert_eq!(outcome.person, ben, "{selector}");
        client.set_role(team, &id, Role::Member).unwrap();
    }
    assert!(matches!(refused(&client, team, &id[..15]), Error::NotFound { .. }), "too short to be meant");
    assert!(matches!(refused(&client, team, "human"), Error::NotFound { .. }), "a part of a name");
}

#[test]
fn a_changed_name_is_told_and_chosen_by_nobody_until_it_is_accepted() {
    let mut cast = cast();
    let stage = stage("names-changed", &cast);
    let (client, team, ben) = (stage.client(), cast.world.team, cast.ben.user);
    assert_eq!(person(&client, team, ben).doubt, None);
    cast.ben.sign_name(2, "benjamin", now());
    stage.shown().replace(&cast.ben);

    let shown = person(&client, team, ben);
    assert_eq!(shown.login.as_deref(), Some("benjamin"));
    assert_eq!(shown.doubt, Some(Doubt::Changed { before: "human-2".to_owned() }));
    for name in ["benjamin", "human-2"] {
        let refused = refused(&client, team, name);
        assert!(matches!(refused, Error::Doubtful { .. }) && refused.to_string().contains(&ben.to_string()), "{name}");
    }
    assert!(client.accept_name(team, "benjamin").is_err(), "not by the name itself");
    assert_eq!(client.accept_name(team, &ben.to_string()).unwrap().doubt, None);
    assert_eq!(person(&stage.client(), team, ben).doubt, None, "from then on");
    assert!(client.set_role(team, "benjamin", Role::Admin).is_ok());
    assert!(matches!(refused(&client, team, "human-2"), Error::NotFound { .. }));
}

#[test]
fn the_same_login_of_another_github_account_is_a_change() {
    let mut cast = cast();
    let stage = stage("names-account", &cast);
    let client = stage.client();
    client.team(cast.world.team).unwrap();
    cast.ben.sign_name(77, "human-2", now());
    stage.shown().replace(&cast.ben);
    let doubt = person(&client, cast.world.team, cast.ben.user).doubt;
    assert_eq!(doubt, Some(Doubt::Changed { before: "human-2".to_owned() }));
}

#[test]
fn a_name_that_two_have_or_had_chooses_neither() {
    let mut cast = cast();
    cast.cem.sign_name(3, "Human-2", now());
    let stage = stage("names-shared", &cast);
    let (client, team) = (stage.client(), cast.world.team);
    for human in [&cast.ben, &cast.cem] {
        assert_eq!(person(&client, team, human.user).doubt, Some(Doubt::Shared));
    }
    let told = refused(&client, team, "human-2");
    assert!(matches!(&told, Error::Doubtful { people, .. } if people.len() == 2), "{told}");

    // Ben goes by another name now, and Cem has the one by which Ben is known here.
    cast.ben.sign_name(2, "benjamin", now());
    stage.shown().replace(&cast.ben);
    assert_eq!(person(&client, team, cast.cem.user).doubt, Some(Doubt::Shared));
    assert!(matches!(refused(&client, team, "human-2"), Error::Doubtful { .. }));
}

#[test]
fn a_login_is_that_of_the_first_who_had_it_here_also_in_another_team_and_after_they_are_gone() {
    let cast = cast();
    let mut dan = Human::new(4);
    // Whoever takes over an account at GitHub signs its login and its number.
    dan.sign_name(2, "human-2", now());
    let mut other = World::found(&cast.ada, "names-elsewhere");
    other.join(&cast.ada, &dan, Role::Member, &[&cast.ada]);
    let stage = Stage::new("names-first", &[&cast.ada, &cast.ben, &cast.cem, &dan], &[&cast.world, &other]);
    let client = stage.client();
    assert_eq!(person(&client, cast.world.team, cast.ben.user).doubt, None);
    assert_eq!(person(&client, other.team, dan.user).doubt, Some(Doubt::Shared));
    assert!(matches!(refused(&client, other.team, "human-2"), Error::Doubtful { .. }));
    assert_eq!(person(&client, cast.world.team, cast.ben.user).doubt, None, "the first one stays who they were");
    assert_eq!(client.accept_name(other.team, &dan.user.to_string()).unwrap().doubt, None);
    assert_eq!(person(&stage.client(), other.team, dan.user).doubt, None, "from then on");
}

#[test]
fn while_a_name_is_withheld_nobody_new_is_chosen_by_login() {
    let mut cast = cast();
    // With the service: Cem signs Ben's login, and Ben's own is not shown.
    cast.cem.sign_name(3, "human-2", support::START);
    let mut hiding = cast.ben.clone();
    hiding.name = None;
    let stage = Stage::new("names-withheld", &[&cast.ada, &hiding, &cast.cem], &[&cast.world]);
    let (client, team) = (stage.client(), cast.world.team);
    for _ in 0..2 {
        let error = refused(&client, team, "human-2");
        assert!(matches!(&error, Error::Doubtful { people, .. } if people.len() == 2), "{error}");
    }
    stage.shown().replace(&cast.ben);
    assert!(matches!(refused(&client, team, "human-2"), Error::Doubtful { .. }), "it is the name of two");
    assert!(client.set_role(team, &cast.ben.user.to_string(), Role::Admin).is_ok());
}

#[test]
fn somebody_known_before_is_chosen_by_login_while_another_name_is_withheld() {
    let mut cast = cast();
    let mut hiding = cast.cem.clone();
    hiding.name = None;
    let stage = stage("names-known", &cast);
    let (client, team) = (stage.client(), cast.world.team);
    client.team(team).unwrap();
    cast.cem = hiding;
    stage.shown().replace(&cast.cem);
    assert_eq!(client.set_role(team, "human-2", Role::Admin).unwrap().person.user, cast.ben.user);
}

#[test]
fn a_name_that_does_not_open_is_the_one_that_was_verified_last_and_chooses_nobody() {
    let mut cast = cast();
    let stage = stage("names-unopened", &cast);
    let (client, team, ben) = (stage.client(), cast.world.team, cast.ben.user);
    client.team(team).unwrap();
    let signed = cast.ben.name.clone().unwrap();
    for shown in [None, Some(Name { login: "human-3".to_owned(), ..signed })] {
        cast.ben.name = shown;
        stage.shown().replace(&cast.ben);
        let told = person(&client, team, ben);
        assert_eq!((told.login.as_deref(), told.doubt), (Some("human-2"), Some(Doubt::Unopened)));
        assert!(matches!(refused(&client, team, "human-2"), Error::Doubtful { .. }));
        assert!(client.accept_name(team, &ben.to_string()).is_err());
    }
}
