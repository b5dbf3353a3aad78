//! Reading teams from a service that lies: lists, pages, keys and what becomes of the caller's place.

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
use osmynt_client::{Class, Error, Place, Role, TeamId, Time, commit};
use osmynt_core::api::{DirectoryPage, Erasure, LoggedEntry, MyEnvelopes, MyTeams, TeamLog};
use osmynt_core::teamlog::TeamEvent;

use support::home::{Folder, LATER};
use support::service::{Received, Service};
use support::stage::{Stage, Stored, head, json, now};
use support::{Human, START, World, draft, people, random};

fn two() -> (Human, Human, World) {
    let (ada, ben) = (Human::new(1), Human::new(2));
    let mut world = World::found(&ada, "teams");
    world.join(&ada, &ben, Role::Member, &[&ada]);
    (ada, ben, world)
}

#[test]
fn a_team_that_vanishes_is_told_and_never_replaced_by_another() {
    let ada = Human::new(1);
    let (first, second) = (World::found(&ada, "first"), World::found(&ada, "second"));
    let stage = Stage::new("teams-vanish", &[&ada], &[&first]);
    let client = stage.client();
    client.team(first.team).unwrap();
    assert_eq!(client.find_team(None).unwrap(), first.team);

    // Another team of the same name, in the place of the one that was.
    stage.shown().show(&second);
    stage.shown().teams.retain(|team| team.team == second.team);
    let places: Vec<(TeamId, bool)> =
        client.teams().unwrap().into_iter().map(|team| (team.id, team.place == Place::Vanished)).collect();
    assert!(places.contains(&(first.team, true)) && places.contains(&(second.team, false)), "{places:?}");
    assert!(matches!(client.find_team(None), Err(Error::Vanished { .. })));
    assert!(matches!(client.find_team(Some("Team")), Err(Error::Ambiguous { .. })), "both are called so");
    assert!(matches!(client.find_team(Some(&first.team.to_string()[..12])), Err(Error::Vanished { .. })));
    assert_eq!(client.find_team(Some(&second.team.to_string())).unwrap(), second.team);

    assert!(client.forget_team(second.team).is_err(), "it is there");
    client.forget_team(first.team).unwrap();
    assert_eq!(client.find_team(None).unwrap(), second.team);
    assert!(matches!(client.forget_team(first.team), Err(Error::NotFound { .. })));
}

#[test]
fn a_long_log_is_read_page_by_page() {
    let (ada, ben, mut world) = two();
    for minute in 0..60 {
        world.now = world.now.plus(minute);
        let role = if minute % 2 == 0 { Role::Admin } else { Role::Member };
        let events = vec![TeamEvent::RoleChanged { user: ben.user, role }];
        world.commit(&ada, events, true, &[&ada, &ben]);
    }
    assert!(world.log.len() > 100);
    let stage = Stage::new("teams-long", &[&ada, &ben], &[&world]);
    assert_eq!(stage.client().team(world.team).unwrap().entries, world.log.len() as u64);
    let logs = stage.service.requests().into_iter().filter(|request| request.path.contains("/log?from="));
    assert_eq!(logs.count(), 2);
}

#[test]
fn a_log_that_never_comes_to_its_head_is_given_up() {
    let (ada, ben, world) = two();
    let stage = Stage::new("teams-endless", &[&ada, &ben], &[&world]);
    let path = |what: &str| format!("/v1/teams/{}/{what}", world.team);
    let further = |seq| osmynt_core::Head { seq, ..head(&world.log) };
    let refused = |stage: &Stage| stage.client().team(world.team).unwrap_err();

    let none_left = TeamLog { entries: Vec::new(), head: further(99) };
    let all = TeamLog { entries: world.log.clone(), head: further(99) };
    stage.shown().instead.push((path("log?from=0"), json(&all)));
    stage.shown().instead.push((path("log?from="), json(&none_left)));
    assert_eq!(refused(&stage).class(), Class::Tampered, "it says that there is more and shows none");

    let many = TeamLog { entries: vec![world.log[0].clone(); 101], head: head(&world.log) };
    stage.shown().instead = vec![(path("log"), json(&many))];
    assert_eq!(refused(&stage).class(), Class::Internal, "a page of more than 100");

    stage.shown().instead.clear();
    assert!(stage.client().team(world.team).is_ok());
}

#[test]
fn a_directory_in_circles_or_of_too_many_is_given_up() {
    let (ada, ben, world) = two();
    let stage = Stage::new("teams-directory", &[&ada, &ben], &[&world]);
    let mut users = vec![ada.listed(), ben.listed()];
    users.sort_unstable_by_key(|user| user.user);
    let (first, last) = (users[0].user, users[1].user);
    let reversed: Vec<_> = users.iter().rev().cloned().collect();
    let pages = [
        ("again and again", DirectoryPage { users: users.clone(), next: Some(last) }),
        ("back", DirectoryPage { users: users.clone(), next: Some(first) }),
        ("not ascending", DirectoryPage { users: reversed, next: None }),
        ("nobody, and more", DirectoryPage { users: Vec::new(), next: Some(first) }),
    ];
    for (what, page) in pages {
        stage.shown().instead = vec![(format!("/v1/teams/{}/directory", world.team), json(&page))];
        assert_eq!(stage.client().team(world.team).unwrap_err().class(), Class::Internal, "{what}");
    }
}

#[test]
fn an_author_who_joined_while_the_team_was_read_is_looked_up_again() {
    let (ada, ben, world) = two();
    let stage = Stage::new("teams-meanwhile", &[&ada], &[&world]);
    assert_eq!(stage.client().team(world.team).unwrap_err().class(), Class::Tampered);
    let asked = |stage: &Stage| {
        stage.service.requests().into_iter().filter(|request| request.path.contains("/directory")).count()
    };
    assert_eq!(asked(&stage), 2, "once more, and no further");
    stage.shown().replace(&ben);
    assert!(stage.client().team(world.team).is_ok());
    assert_eq!(asked(&stage), 3);
}

#[test]
fn a_bad_key_harms_one_epoch_and_is_replaced_at_the_next_share() {
    let (ada, ben, mut world) = two();
    let earlier = world.share_as(&ben, None, &[&ada, &ben], support::snippet_id(2));
    let received_at = world.now;
    // A moment ago, so that the epoch is not over for its age.
    world.now = Time(now().0 - 600);
    world.commit(&ben, Vec::new(), true, &[&ada, &ben]);
    let stage = Stage::new("teams-bad-key", &[&ada, &ben], &[&world]);
    let (client, team) = (stage.client(), world.team);
    let shared = world.share(&ben, None, &[&ada, &ben]);
    stage.shown().take(&world, shared.clone());
    let snippet = support::snippet_id(2);
    stage.shown().snippets.push(Stored { team, snippet, bytes: earlier, received_at });
    // Ben has sealed nonsense to Ada.
    for envelope in stage.shown().envelopes.get_mut(&(team, 3)).unwrap() {
        envelope.ct[0] ^= 1;
    }
    let refused = client.open_snippet(team, shared.0).unwrap_err();
    assert!(matches!(&refused, Error::BadKey { epoch: 3, by } if by.contains("@human-2")), "{refused}");
    assert!(client.open_snippet(team, snippet).is_ok(), "the epoch before is unharmed");
    let listing = client.list(team, 10).unwrap();
    assert_eq!((listing.snippets.len(), listing.rejected.len()), (1, 1));

    let stored = client.share(team, &draft()).unwrap();
    assert!(stored.rotated);
    assert_eq!(client.team(team).unwrap().epoch, 4);
    assert_eq!(client.team(team).unwrap().name, "Team", "known from an earlier epoch");
    let opened = client.open_snippet(team, stored.snippet).unwrap();
    assert_eq!(opened.content, draft().content);
}

#[test]
fn a_missing_key_is_a_bad_one_and_a_key_from_before_one_joined_is_none() {
    let (ada, ben) = (Human::new(2), Human::new(1));
    let mut world = World::found(&ada, "teams");
    world.join(&ada, &ben, Role::Member, &[&ada]);
    let stage = Stage::new("teams-missing", &[&ben, &ada], &[&world]);
    let early = World { log: world.log[..2].to_vec(), ..world.clone() };
    let (_, before) = early.share(&ada, None, &[&ada]);
    let refused = stage.client().open_file(&before).unwrap_err();
    assert!(matches!(refused, Error::NoKey { .. }), "{refused}");

    let none = MyEnvelopes { envelopes: Vec::new(), next: None };
    stage.shown().instead.push((format!("/v1/teams/{}/envelopes", world.team), json(&none)));
    let (_, after) = world.share(&ada, None, &[&ada, &ben]);
    let refused = stage.client().open_file(&after).unwrap_err();
    assert!(matches!(refused, Error::BadKey { epoch: 2, .. }), "{refused}");
    assert_eq!(refused.class(), Class::Tampered);
}

#[test]
fn whoever_rotates_without_knowing_the_teams_name_gives_it_none() {
    let (ada, ben) = (Human::new(1), Human::new(2));
    let mut world = World::found(&ada, "teams");
    world.join(&ada, &ben, Role::Member, &[&ada]);
    let stage = Stage::new("teams-nameless", &[&ada, &ben], &[&world]);
    for envelopes in stage.shown().envelopes.values_mut() {
        envelopes.retain(|envelope| envelope.device != ada.device());
    }
    let client = stage.client();
    assert_eq!(client.rotate(world.team).unwrap(), 3);
    assert_eq!(client.teams().unwrap()[0].name, None, "an owner's word for it would be everybody's");
}

#[test]
fn an_owners_rotation_seals_no_name_that_a_plain_member_made_up() {
    let (ada, ben) = (Human::new(1), Human::new(2));
    let mut world = World::found(&ada, "teams");
    world.join(&ada, &ben, Role::Member, &[&ada]);
    let humans = [&ada, &ben];
    let (before, author) = (world.view(&humans), ben.author(world.now));
    let named =
        commit::build(Some(before.state()), Vec::new(), Some("Evil"), &author, &people(&humans), random("evil"));
    world.take(named.unwrap());
    let stage = Stage::new("teams-made-up", &humans, &[&world]);
    for (_, envelopes) in stage.shown().envelopes.iter_mut().filter(|((_, epoch), _)| *epoch < 3) {
        envelopes.retain(|envelope| envelope.device != ada.device());
    }
    let client = stage.client();
    assert_eq!(client.teams().unwrap()[0].name.as_deref(), Some("Evil"), "for want of another");
    assert_eq!(client.rotate(world.team).unwrap(), 4);

    world.log = stage.shown().logs[&world.team].clone();
    world.envelopes.insert(4, stage.shown().envelopes[&(world.team, 4)].clone());
    let other = Stage::new("teams-made-up-other", &humans, &[&world]);
    assert_eq!(other.client().teams().unwrap()[0].name, None, "an owner's word for it would be everybody's");
}

#[test]
fn a_code_renames_no_team_of_whoever_is_in_it_already() {
    let (ada, ben, world) = two();
    let stage = Stage::new("teams-code", &[&ada, &ben], &[&world]);
    let client = stage.client();
    assert_eq!(client.teams().unwrap()[0].name.as_deref(), Some("Team"));
    let key = Signer::generate(random("made up")).unwrap().scalar();
    let (origin, head) = (stage.service.origin.clone(), head(&world.log));
    let code = Code { team: world.team, key, head, origin, name: "Payroll".to_owned() };
    assert!(client.join(&code.write().unwrap()).unwrap().before);
    assert_eq!(client.teams().unwrap()[0].name.as_deref(), Some("Team"));
}

#[test]
fn a_commit_that_was_taken_meanwhile_is_not_forgotten_by_a_command_that_began_to_read_before() {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
    let (ada, ben) = (Human::new(1), Human::new(2));
    let mut world = World::found(&ada, "teams");
    world.now = Time(now().0 - 900);
    world.join(&ada, &ben, Role::Member, &[&ada]);
    let mut fork = world.clone();
    fork.now = Time(now().0 - 60);
    fork.commit(&ben, Vec::new(), true, &[&ada, &ben]);
    let stage = Stage::new("teams-meanwhile", &[&ada, &ben], &[&world]);
    // 1: the next page of the log is the fork's; 2: the directory is kept back; 3: until 4.
    let phase = Arc::new(AtomicUsize::new(0));
    let forked = json(&TeamLog { entries: fork.log[world.log.len() - 1..].to_vec(), head: head(&fork.log) });
    let (shown, at) = (Arc::clone(&stage.shown), Arc::clone(&phase));
    let service = Service::start(move |request: &Received| {
        if request.path.contains("/log?from") && at.compare_exchange(1, 2, SeqCst, SeqCst).is_ok() {
            return forked.clone().into_bytes();
        }
        if request.path.contains("/directory") && at.compare_exchange(2, 3, SeqCst, SeqCst).is_ok() {
            while at.load(SeqCst) != 4 {
                std::thread::yield_now();
            }
        }
        shown.lock().unwrap().answer(request)
    });
    let home = Folder::signed_in("teams-meanwhile-home", &service, LATER);
    home.client().team(world.team).unwrap();
    phase.store(1, SeqCst);
    std::thread::scope(|scope| {
        let slow = scope.spawn(|| home.client().team(world.team).map(|team| team.members.len()));
        while phase.load(SeqCst) != 3 {
            assert!(!slow.is_finished(), "it was to wait for the directory");
            std::thread::yield_now();
        }
        home.client().remove_member(world.team, "human-2").unwrap();
        phase.store(4, SeqCst);
        assert_eq!(slow.join().unwrap().unwrap(), 1, "it reads again, what is true now");
    });
    stage.shown().show(&fork);
    let refused = home.client().share(world.team, &draft()).unwrap_err();
    assert_eq!(refused.class(), Class::Tampered, "{refused}");
}

#[test]
fn envelopes_in_circles_are_given_up() {
    let (ada, ben, world) = two();
    let stage = Stage::new("teams-envelopes", &[&ada, &ben], &[&world]);
    let none = MyEnvelopes { envelopes: Vec::new(), next: Some(1) };
    stage.shown().instead.push((format!("/v1/teams/{}/envelopes", world.team), json(&none)));
    assert_eq!(stage.client().team(world.team).unwrap_err().class(), Class::Internal);
}

#[test]
fn the_only_member_is_told_to_delete_the_team_instead_of_leaving() {
    let ada = Human::new(1);
    let world = World::found(&ada, "alone");
    let stage = Stage::new("teams-alone", &[&ada], &[&world]);
    let client = stage.client();
    let refused = client.leave(world.team).unwrap_err();
    assert!(matches!(refused, Error::Usage { .. }) && refused.to_string().contains("team delete"), "{refused}");
    client.delete_team(world.team).unwrap();
    stage.shown().teams.clear();
    assert!(client.teams().unwrap().is_empty(), "it is not missed");
}

#[test]
fn a_device_that_is_said_to_be_in_no_log_or_another_one_is_lied_about_and_keeps_everything() {
    let (ada, ben, world) = two();
    let stage = Stage::new("teams-disowned", &[&ada, &ben], &[&world]);
    stage.client().team(world.team).unwrap();
    let vault = stage.home.read("vault");
    for said in [None, Some(ben.user)] {
        stage.shown().user = said;
        assert_eq!(stage.client().me().unwrap_err().class(), Class::Tampered);
    }
    assert_eq!(stage.home.read("vault"), vault);
}

#[test]
fn an_erasure_is_told_with_everything_and_asked_for_once_an_hour() {
    let ada = Human::new(1);
    let stage = Stage::new("teams-erasure", &[&ada], &[]);
    let erasure = Erasure { user: ada.user, asked_at: START, due_at: START.plus(1) };
    stage.shown().erasures = vec![Erasure { user: Human::new(2).user, ..erasure.clone() }, erasure.clone()];
    for _ in 0..3 {
        assert_eq!(stage.client().notice().unwrap(), Some(erasure.clone()), "of this very user");
    }
    assert_eq!(stage.service.count("GET", "/v1/me"), 1);
    stage.shown().erasures.clear();
    stage.client().object_to_erasure(ada.user).unwrap();
    assert_eq!(stage.client().notice().unwrap(), None);
}

#[test]
fn an_answer_to_a_commit_about_another_state_is_caught() {
    let (ada, ben, world) = two();
    let stage = Stage::new("teams-answer", &[&ada, &ben], &[&world]);
    let committed = osmynt_core::api::Committed { team: world.team, head: head(&world.log), epoch: 3 };
    stage.shown().instead.push((format!("/v1/teams/{}/commits", world.team), json(&committed)));
    assert_eq!(stage.client().rotate(world.team).unwrap_err().class(), Class::Tampered);
}

#[test]
fn a_device_that_was_added_in_secret_is_caught_if_it_is_dated_back() {
    let (ada, mut ben, world) = two();
    let stage = Stage::new("teams-dated-back", &[&ada, &ben], &[&world]);
    stage.client().team(world.team).unwrap();
    let log: Vec<LoggedEntry> = ben.log.clone();
    ben.sign_name(2, "benjamin", START.plus(60));
    stage.shown().replace(&ben);
    assert_eq!(stage.client().team(world.team).unwrap_err().class(), Class::Tampered);
    ben.log = log;
    ben.sign_name(2, "benjamin", now());
    stage.shown().replace(&ben);
    assert!(stage.client().team(world.team).is_ok());
}

#[test]
fn a_list_that_names_a_team_twice_is_refused() {
    let (ada, ben, world) = two();
    let stage = Stage::new("teams-twice", &[&ada, &ben], &[&world]);
    let teams = stage.shown().teams.clone();
    let twice = MyTeams { teams: [teams.clone(), teams].concat() };
    stage.shown().instead.push(("/v1/teams".to_owned(), json(&twice)));
    assert_eq!(stage.client().find_team(None).unwrap_err().class(), Class::Internal);
}
