//! Who gets a team whose owner goes, and that it is whom the owner confirmed.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    reason = "tests"
)]

mod support;

use osmynt_client::account::parting;
use osmynt_client::{Class, Client, Deletion, Departure, Error, Fate, Role, TeamId, Time, UserId};
use osmynt_core::teamlog::TeamEvent;

use support::stage::{Stage, now};
use support::{Human, World};

/// To whom the team goes when `leaver` goes.
fn heir(world: &World, leaver: &Human, humans: &[&Human]) -> Option<UserId> {
    let events = parting(world.view(humans).state(), leaver.user);
    match events.as_slice() {
        [TeamEvent::MemberLeft {}] => None,
        [TeamEvent::RoleChanged { user, role: Role::Owner }, TeamEvent::MemberLeft {}] => Some(*user),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_only_owner_hands_over_to_the_admin_who_was_there_first_or_else_to_the_member_who_was() {
    let (ada, ben, cem, dan) = (Human::new(9), Human::new(4), Human::new(3), Human::new(2));
    let mut world = World::found(&ada, "handing over");
    world.join(&ada, &ben, Role::Member, &[&ada]);
    world.join(&ada, &cem, Role::Member, &[&ada, &ben]);
    world.join(&ada, &dan, Role::Member, &[&ada, &ben, &cem]);
    let all = [&ada, &ben, &cem, &dan];
    assert_eq!(heir(&world, &ada, &all), Some(ben.user), "whose id is not the first");
    assert_eq!(heir(&world, &ben, &all), None, "is no owner");

    for user in [dan.user, cem.user] {
        world.commit(&ada, vec![TeamEvent::RoleChanged { user, role: Role::Admin }], false, &all);
    }
    assert_eq!(heir(&world, &ada, &all), Some(cem.user), "who was there before dan");

    world.commit(&ada, vec![TeamEvent::RoleChanged { user: dan.user, role: Role::Owner }], false, &all);
    assert_eq!(heir(&world, &ada, &all), None, "dan is an owner too");

    // The rules of the log take it.
    world.commit(&dan, vec![TeamEvent::RoleChanged { user: ada.user, role: Role::Member }], false, &all);
    let events = parting(world.view(&all).state(), dan.user);
    world.commit(&dan, events, false, &all);
    assert_eq!(world.view(&all).state().members().get(&cem.user).unwrap().role, Role::Owner);
}

/// A team of Ada, its only owner; who of the others joined first would own it after her.
fn led(seed: &str, others: &[&Human]) -> World {
    let ada = Human::new(1);
    let mut world = World::found(&ada, seed);
    let mut all = vec![&ada];
    for other in others {
        world.join(&ada, other, Role::Member, &all);
        all.push(other);
    }
    world
}

/// The team once Ben has left, received a moment ago.
fn without_ben(world: &World, all: &[&Human]) -> World {
    let mut world = later(world);
    world.commit(all[1], vec![TeamEvent::MemberLeft {}], false, all);
    world
}

/// The team when what is done next is received a moment ago: a client lets nothing be received before it read the log.
fn later(world: &World) -> World {
    World { now: Time(now().0 - 60), ..world.clone() }
}

/// What the person is shown, and confirms.
fn ahead(client: &Client) -> Vec<Departure> {
    match client.deletion().unwrap() {
        Deletion::Ahead(departures) => departures,
        Deletion::Done => panic!("nothing was deleted"),
    }
}

/// Who gets which team.
fn heirs(departures: &[Departure]) -> Vec<(TeamId, Option<UserId>)> {
    let heir = |departure: &Departure| match &departure.fate {
        Fate::HandedOver(heir) => Some(heir.user),
        Fate::Deleted | Fate::Left => None,
    };
    departures.iter().map(|departure| (departure.team, heir(departure))).collect()
}

/// How often a team was changed, and the account deleted.
fn done(stage: &Stage, worlds: &[&World]) -> (Vec<usize>, usize) {
    let commits = |world: &&World| stage.service.count("POST", &format!("/v1/teams/{}/commits", world.team));
    (worlds.iter().map(commits).collect(), stage.service.count("DELETE", "/v1/me"))
}

#[track_caller]
fn assert_unconfirmed(result: Result<Vec<Departure>, Error>, says: &[&str]) {
    let error = result.unwrap_err();
    assert!(matches!(error, Error::Unconfirmed { .. }) && error.class() == Class::Conflict, "{error:?}");
    let said = error.to_string();
    for part in says {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert!(error.advice().unwrap().contains("`osmynt account delete` again"));
}

#[test]
fn a_team_goes_to_nobody_but_the_member_who_was_confirmed() {
    let all = [&Human::new(1), &Human::new(2), &Human::new(3)];
    let [_, ben, cem] = all;
    let world = led("held back", &[ben, cem]);
    let stage = Stage::new("delete-heir", &all, &[&world]);
    let client = stage.client();
    let confirmed = ahead(&client);
    assert_eq!(heirs(&confirmed), [(world.team, Some(ben.user))]);

    // Ben had left long ago, and that comes to light once the question is answered.
    stage.shown().show(&without_ben(&world, &all));
    let [was, is] = [ben, cem].map(|human| format!("{}) becomes its owner", human.user));
    assert_unconfirmed(client.delete_account(&confirmed), &["\"Team\"", &was, &is]);
    assert_eq!(done(&stage, &[&world]), (vec![0], 0), "nothing has changed");

    let confirmed = ahead(&client);
    assert_eq!(heirs(&confirmed), [(world.team, Some(cem.user))]);
    assert_eq!(client.delete_account(&confirmed).unwrap(), confirmed);
    assert_eq!(done(&stage, &[&world]), (vec![1], 1));
    let mut after = world.clone();
    after.log = stage.shown().logs[&world.team].clone();
    assert_eq!(after.view(&all).state().members()[&cem.user].role, Role::Owner);
}

#[test]
fn each_team_is_looked_at_again_when_it_is_left_and_a_repeat_goes_on_with_what_is_left() {
    let all = [&Human::new(1), &Human::new(2), &Human::new(3)];
    let [_, ben, cem] = all;
    let mut worlds = [led("one", &[ben, cem]), led("two", &[ben, cem])];
    worlds.sort_unstable_by_key(|world| world.team);
    let [first, second] = &worlds;
    let stage = Stage::new("delete-in-turn", &all, &[first, second]);
    let client = stage.client();
    let confirmed = ahead(&client);
    let commits = format!("/v1/teams/{}/commits", first.team);
    stage.shown().after.push(("POST", commits, without_ben(second, &all)));

    assert_unconfirmed(client.delete_account(&confirmed), &[&ben.user.to_string(), &cem.user.to_string()]);
    assert_eq!(done(&stage, &[first, second]), (vec![1, 0], 0), "it stops there");

    let confirmed = ahead(&client);
    assert_eq!(heirs(&confirmed), [(second.team, Some(cem.user))], "the first is left already");
    assert_eq!(client.delete_account(&confirmed).unwrap(), confirmed);
    assert_eq!(done(&stage, &[first, second]), (vec![1, 1], 1));
}

#[test]
fn what_was_confirmed_of_a_team_holds_for_that_team_and_fate_alone() {
    let all = [&Human::new(1), &Human::new(2), &Human::new(3)];
    let [ada, ben, _] = all;
    let (alone, other) = (led("alone", &[]), led("other", &[]));
    let stage = Stage::new("delete-fates", &all, &[&alone]);
    let client = stage.client();
    let confirmed = ahead(&client);

    stage.shown().show(&other);
    assert_unconfirmed(client.delete_account(&confirmed), &["not in the list you confirmed (it is deleted"]);
    stage.shown().teams.retain(|team| team.team == alone.team);

    let mut joined = later(&alone);
    joined.join(ada, ben, Role::Member, &[ada]);
    stage.shown().show(&joined);
    assert_unconfirmed(client.delete_account(&confirmed), &["confirmed: it is deleted", "becomes its owner)"]);
    assert_eq!(done(&stage, &[&alone, &other]), (vec![0, 0], 0));

    // A team that is gone needs nothing, and is not said to have been left.
    stage.shown().teams.clear();
    assert_eq!(client.delete_account(&confirmed).unwrap(), []);
}
