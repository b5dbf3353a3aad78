//! Who gets a team whose owner goes.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod support;

use osmynt_client::account::parting;
use osmynt_client::{Role, UserId};
use osmynt_core::teamlog::TeamEvent;

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
