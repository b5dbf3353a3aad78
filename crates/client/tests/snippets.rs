//! Finding snippets again: an id that was shown here never means another one, and only what was verified is found.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    reason = "tests"
)]

mod support;

use osmynt_client::{Class, Error, Recipients, Role, SnippetId};
use osmynt_core::snippet::Container;
use osmynt_core::statement::SnippetStatement;
use osmynt_core::{Time, Unverified};

use support::stage::{Stage, Stored};
use support::{Human, World, draft, snippet_id};

fn stage(name: &str) -> (Human, Human, World, Stage) {
    let (ada, ben) = (Human::new(1), Human::new(2));
    let mut world = World::found(&ada, "snippets");
    world.join(&ada, &ben, Role::Member, &[&ada]);
    let stage = Stage::new(name, &[&ada, &ben], &[&world]);
    (ada, ben, world, stage)
}

fn share(world: &World, by: &Human, humans: &[&Human], id: SnippetId) -> (SnippetId, Vec<u8>) {
    (id, world.share_as(by, None, humans, id))
}

fn bent(by: &Human, bytes: &[u8], bend: impl FnOnce(&mut SnippetStatement)) -> Vec<u8> {
    let container = Container::split(bytes).unwrap();
    let mut said = Unverified::<SnippetStatement>::parse(container.statement).unwrap().payload().clone();
    bend(&mut said);
    let prefix = osmynt_core::snippet::prefix(&by.keys.signer.sign(&said).unwrap(), &[]).unwrap();
    [&prefix, container.ciphertext].concat()
}

#[test]
fn a_snippet_is_known_once_it_was_listed_or_seen_and_so_is_its_author() {
    let (ada, ben, world, stage) = stage("snippets-known");
    let client = stage.client();
    stage.shown().take(&world, share(&world, &ben, &[&ada, &ben], snippet_id(1)));
    let familiar = |id| {
        let snippet = client.open_snippet(world.team, id).unwrap().snippet;
        (snippet.known, snippet.author_known)
    };
    assert_eq!(familiar(snippet_id(1)), (false, false));
    assert_eq!(familiar(snippet_id(1)), (false, false), "opened is not seen: it may have been refused without a look");
    client.mark_seen(&client.open_snippet(world.team, snippet_id(1)).unwrap()).unwrap();
    assert_eq!(familiar(snippet_id(1)), (true, true));
    stage.shown().take(&world, share(&world, &ben, &[&ada, &ben], snippet_id(2)));
    assert_eq!(client.find_snippet(None, "5502").unwrap().1, snippet_id(2));
    assert_eq!(familiar(snippet_id(2)), (false, true), "found is not shown");
    stage.shown().take(&world, share(&world, &ada, &[&ada, &ben], snippet_id(3)));
    let listed = client.list(world.team, 10).unwrap().snippets;
    let known: Vec<bool> = listed.iter().map(|snippet| snippet.known).collect();
    assert_eq!(known, [false, false, true]);
    assert!(listed[0].mine && listed[0].author_known);
    assert_eq!(familiar(snippet_id(3)), (true, true));
}

#[test]
fn a_short_id_that_was_shown_means_that_snippet_for_ever() {
    let (ada, ben, world, stage) = stage("snippets-short");
    let client = stage.client();
    let other: SnippetId = "0192f3a4-5b6c-7d8e-9f00-aa2233445501".parse().unwrap();
    let everybody = [&ada, &ben];
    stage.shown().take(&world, share(&world, &ben, &everybody, snippet_id(1)));
    client.list(world.team, 10).unwrap();
    let short = client.short_id(world.team, snippet_id(1)).unwrap();
    assert_eq!(short, "33445501");

    stage.shown().take(&world, share(&world, &ben, &everybody, other));
    client.list(world.team, 10).unwrap();
    assert_eq!(
        client.short_ids(&[(world.team, other), (world.team, snippet_id(1))]).unwrap(),
        ["a2233445501", "33445501"]
    );
    let find = |selector: &str| stage.client().find_snippet(None, selector);
    assert_eq!(find(&short).unwrap(), (world.team, snippet_id(1)), "although both end so");
    assert_eq!(find("a2233445501").unwrap(), (world.team, other));
    assert!(matches!(find("5501").unwrap_err(), Error::Ambiguous { .. }));
    assert_eq!(find(&other.to_string()).unwrap(), (world.team, other));
    assert!(matches!(find("nothing").unwrap_err(), Error::NotFound { .. }));
    assert!(matches!(find("501").unwrap_err(), Error::Usage { .. }), "too short to be meant");
}

#[test]
fn another_snippet_under_an_id_that_was_seen_is_caught() {
    let (ada, ben, world, stage) = stage("snippets-swapped");
    let client = stage.client();
    let (id, bytes) = share(&world, &ben, &[&ada, &ben], snippet_id(1));
    let second = bent(&ben, &bytes, |said| said.iat = said.iat.plus(1));
    stage.shown().take(&world, (id, bytes));
    client.list(world.team, 10).unwrap();
    stage.shown().snippets[0].bytes = second;
    let refused = client.open_snippet(world.team, id).unwrap_err();
    assert_eq!(refused.class(), Class::Tampered, "{refused}");
    let listing = client.list(world.team, 10).unwrap();
    assert!(listing.snippets.is_empty() && listing.rejected.len() == 1);
}

#[test]
fn a_file_takes_no_id_away_from_a_snippet_of_the_service() {
    let (ada, ben, world, stage) = stage("snippets-file");
    let client = stage.client();
    let (id, file) = share(&world, &ben, &[&ada, &ben], snippet_id(1));
    client.mark_seen(&client.open_file(&file).unwrap()).unwrap();
    assert!(client.open_file(&file).unwrap().snippet.known);
    let (_, bytes) = share(&world, &ada, &[&ada, &ben], id);
    stage.shown().take(&world, (id, bytes));
    assert!(!client.open_snippet(world.team, id).unwrap().snippet.known, "what was seen was the file");
    let listing = client.list(world.team, 10).unwrap();
    assert_eq!((listing.snippets.len(), listing.rejected.len()), (1, 0));
    assert_eq!(client.open_file(&file).unwrap_err().class(), Class::Tampered);
}

#[test]
fn a_whole_id_is_asked_for_and_never_looked_for_in_lists() {
    let (ada, ben, world, stage) = stage("snippets-whole");
    let everybody = [&ada, &ben];
    stage.shown().take(&world, share(&world, &ben, &everybody, snippet_id(1)));
    let whole = |id: SnippetId| stage.client().find_snippet(None, &id.to_string());
    let lists = || stage.service.requests().iter().filter(|request| request.path.ends_with("/snippets")).count();
    assert_eq!(whole(snippet_id(1)).unwrap(), (world.team, snippet_id(1)));

    let other = World::found(&ada, "another team");
    stage.shown().show(&other);
    assert_eq!(whole(snippet_id(1)).unwrap(), (world.team, snippet_id(1)));
    assert!(matches!(whole(snippet_id(2)).unwrap_err(), Error::NotFound { .. }));
    // What somebody puts under that id in another team is in nobody's way.
    stage.shown().take(&world, share(&world, &ben, &everybody, snippet_id(3)));
    let (_, bytes) = share(&other, &ada, &[&ada], snippet_id(3));
    stage.shown().take(&other, (snippet_id(3), bent(&ben, &bytes, |_| {})));
    assert_eq!(whole(snippet_id(3)).unwrap(), (world.team, snippet_id(3)));
    stage.shown().take(&other, share(&other, &ada, &[&ada], snippet_id(4)));
    stage.shown().take(&world, share(&world, &ben, &everybody, snippet_id(4)));
    assert!(matches!(whole(snippet_id(4)).unwrap_err(), Error::Ambiguous { .. }));
    assert_eq!(lists(), 0);
}

#[test]
fn what_does_not_verify_is_found_by_nobody() {
    let (ada, ben, world, stage) = stage("snippets-forged");
    let eve = Human::new(3);
    let (_, bytes) = share(&world, &ben, &[&ada, &ben], snippet_id(1));
    stage.shown().take(&world, (snippet_id(1), bent(&eve, &bytes, |_| {})));
    let refused = stage.client().find_snippet(None, "5501").unwrap_err();
    assert!(matches!(refused, Error::NotFound { .. }), "{refused}");
}

#[test]
fn what_is_over_is_left_out_of_lists() {
    let (ada, ben, world, stage) = stage("snippets-over");
    let (id, bytes) = share(&world, &ben, &[&ada, &ben], snippet_id(1));
    let over = bent(&ben, &bytes, |said| said.exp = Some(world.now.plus(60)));
    stage.shown().take(&world, (id, over));
    let listing = stage.client().list(world.team, 10).unwrap();
    assert!(listing.snippets.is_empty() && listing.rejected.is_empty());
    let refused = stage.client().open_snippet(world.team, id).unwrap_err();
    assert_eq!(refused.class(), Class::NotFound, "{refused}");
}

#[test]
fn a_time_of_receipt_that_does_not_fit_is_caught_on_opening() {
    let (ada, ben, world, stage) = stage("snippets-receipt");
    stage.shown().take(&world, share(&world, &ben, &[&ada, &ben], snippet_id(1)));
    let right = stage.shown().snippets[0].clone();
    for received_at in [Time(right.received_at.0 - 301), right.received_at.plus(301)] {
        stage.shown().snippets = vec![Stored { received_at, ..right.clone() }];
        let refused = stage.client().open_snippet(world.team, right.snippet).unwrap_err();
        assert_eq!(refused.class(), Class::Tampered, "{refused}");
    }
    stage.shown().snippets = vec![right];
    assert!(stage.client().open_snippet(world.team, snippet_id(1)).is_ok());
}

#[test]
fn a_snippet_for_named_members_takes_its_envelopes_along() {
    let (_, ben, world, stage) = stage("snippets-named");
    let client = stage.client();
    let draft = osmynt_client::Draft { to: Recipients::Members(vec!["human-2".to_owned()]), ..draft() };
    let shared = client.share(world.team, &draft).unwrap();
    let opened = client.open_snippet(world.team, shared.snippet).unwrap();
    assert_eq!(opened.content, draft.content);
    assert!(opened.snippet.known && opened.snippet.mine, "what one shares oneself is known");
    let container = stage.shown().snippets[0].bytes.clone();
    let envelopes = Container::split(&container).unwrap().envelopes().unwrap();
    assert!(envelopes.iter().any(|envelope| envelope.device == ben.device()));

    // A service that gives none out.
    let statement = Container::split(&container).unwrap();
    let prefix = osmynt_core::snippet::prefix(statement.statement, &[]).unwrap();
    stage.shown().snippets[0].bytes = [&prefix, statement.ciphertext].concat();
    let refused = client.open_snippet(world.team, shared.snippet).unwrap_err();
    assert!(refused.to_string().contains("no key for it"), "{refused}");
}

#[test]
fn an_answer_about_another_snippet_or_time_is_caught() {
    let (_, _, world, stage) = stage("snippets-answer");
    let client = stage.client();
    client.share(world.team, &draft()).unwrap();
    let path = format!("/v1/teams/{}/snippets/", world.team);
    let answer = |snippet, received_at| support::stage::json(&osmynt_core::api::SnippetStored { snippet, received_at });
    stage.shown().instead.push((path, answer(snippet_id(9), support::stage::now())));
    assert_eq!(client.share(world.team, &draft()).unwrap_err().class(), Class::Tampered);
}
