//! Tokens and sessions: one refresh for all processes, none lost, and signing out.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    reason = "tests"
)]

mod support;

use std::sync::{Arc, Mutex};

use osmynt_client::vault::Vault;
use osmynt_client::{Class, Deletion, Error, Home, SignedOut, Time};
use osmynt_core::api::TokenRequest;
use osmynt_core::{Bytes, Code};

use support::Human;
use support::home::{ADA, Folder, LATER, generation, set_session};
use support::service::{Received, Service, done, ok, problem};

/// The home that a service's answer is about: made after the service.
type Later = Arc<Mutex<Option<Home>>>;

fn tokens(number: u32) -> String {
    ok(&format!(
        r#"{{"token_type":"DPoP","access_token":"access-{number}","expires_in":43200,"refresh_token":"refresh-{number}","refresh_expires_in":2592000,"account":"{ADA}"}}"#
    ))
}

/// What a refresh presents.
fn presented(request: &Received) -> (String, Bytes<16>) {
    match serde_json::from_str(&request.body).unwrap() {
        TokenRequest::RefreshToken { refresh_token, idempotency_key } => (refresh_token, idempotency_key),
        other @ TokenRequest::DeviceCode { .. } => panic!("{other:?}"),
    }
}

/// Takes the access token of the first generation only, and gives out that generation for the one before.
fn strict() -> Service {
    Service::start(|request| match (request.path.as_str(), request.header("authorization")) {
        ("/v1/tokens", _) if presented(request).0 == "refresh-0" => tokens(1),
        ("/v1/me/sessions", Some("DPoP access-1")) => ok(r#"{"sessions":[]}"#),
        _ => problem(Code::Unauthenticated),
    })
}

#[test]
fn processes_that_find_the_same_tokens_over_at_once_make_one_refresh() {
    for (name, ends) in [("expired", Time(1)), ("refused", LATER)] {
        let service = strict();
        let home = Folder::signed_in(name, &service, ends);
        std::thread::scope(|scope| {
            for _ in 0..10 {
                scope.spawn(|| home.client().sessions().unwrap());
            }
        });
        assert_eq!(service.count("POST", "/v1/tokens"), 1, "{name}");
        let kept = home.session().unwrap();
        assert_eq!((kept.access_token.as_str(), kept.refresh_token.as_str()), ("access-1", "refresh-1"));
        assert_eq!(kept.idempotency_key, None);
    }
}

#[test]
fn tokens_that_another_process_has_got_meanwhile_are_used() {
    let later = Later::default();
    let other = Arc::clone(&later);
    let service = Service::start(move |request| match request.header("authorization") {
        Some("DPoP access-0") => {
            // Now another process refreshes.
            set_session(other.lock().unwrap().as_ref().unwrap(), generation(1, LATER));
            problem(Code::Unauthenticated)
        }
        Some("DPoP access-1") => ok(r#"{"sessions":[]}"#),
        _ => problem(Code::Internal),
    });
    let home = Folder::signed_in("meanwhile", &service, LATER);
    *later.lock().unwrap() = Some(home.home());
    home.client().sessions().unwrap();
    assert_eq!(service.count("POST", "/v1/tokens"), 0);
}

#[test]
fn a_lost_answer_is_asked_for_again_with_the_same_key_by_whoever_comes_next() {
    let lost = Arc::new(Mutex::new(4));
    let service = Service::start(move |request| match request.path.as_str() {
        "/v1/tokens" => {
            let mut lost = lost.lock().unwrap();
            *lost -= 1;
            if *lost >= 0 { String::new() } else { tokens(1) }
        }
        _ => ok(r#"{"sessions":[]}"#),
    });
    let home = Folder::signed_in("lost", &service, Time(1));
    assert_eq!(home.client().sessions().unwrap_err().class(), Class::Unavailable);
    let kept = home.session().unwrap();
    assert_eq!(kept.refresh_token, "refresh-0");
    home.client().sessions().unwrap();
    let refreshes: Vec<_> = service.requests().into_iter().filter(|request| request.path == "/v1/tokens").collect();
    assert_eq!(refreshes.len(), 5);
    for request in &refreshes {
        assert_eq!(presented(request), ("refresh-0".to_owned(), kept.idempotency_key.unwrap()));
    }
    assert_eq!(home.session().unwrap().idempotency_key, None, "the next refresh has a key of its own");
}

#[test]
fn the_key_of_a_refresh_is_kept_before_it_is_sent() {
    let later = Later::default();
    let own = Arc::clone(&later);
    let service = Service::start(move |request| match request.path.as_str() {
        "/v1/tokens" => {
            let home = own.lock().unwrap();
            let kept = Vault::open(home.as_ref().unwrap()).unwrap().read().unwrap().session.unwrap();
            if kept.idempotency_key == Some(presented(request).1) { tokens(1) } else { problem(Code::Internal) }
        }
        _ => ok(r#"{"sessions":[]}"#),
    });
    let home = Folder::signed_in("before", &service, Time(1));
    *later.lock().unwrap() = Some(home.home());
    home.client().sessions().unwrap();
}

#[test]
fn a_refresh_that_is_refused_means_that_the_sign_in_is_over_unless_there_is_a_new_one() {
    let later = Later::default();
    let own = Arc::clone(&later);
    let service = Service::start(move |request| match (request.path.as_str(), request.header("authorization")) {
        ("/v1/tokens", _) => {
            if let Some(home) = own.lock().unwrap().as_ref() {
                set_session(home, generation(9, LATER));
            }
            problem(Code::Unauthenticated)
        }
        (_, Some("DPoP access-9")) => ok(r#"{"sessions":[]}"#),
        _ => problem(Code::Unauthenticated),
    });
    let home = Folder::signed_in("over", &service, Time(1));
    assert!(matches!(home.client().sessions().unwrap_err(), Error::SessionOver));
    *later.lock().unwrap() = Some(home.home());
    home.client().sessions().unwrap();
    assert_eq!(home.session().unwrap().access_token, "access-9");
}

#[test]
fn an_answer_to_a_refresh_does_not_undo_a_sign_in() {
    let later = Later::default();
    let own = Arc::clone(&later);
    let service = Service::start(move |request| {
        if request.path != "/v1/tokens" {
            return ok(r#"{"sessions":[]}"#);
        }
        set_session(own.lock().unwrap().as_ref().unwrap(), generation(9, LATER));
        tokens(1)
    });
    let home = Folder::signed_in("undone", &service, Time(1));
    *later.lock().unwrap() = Some(home.home());
    home.client().sessions().unwrap();
    assert_eq!(home.session().unwrap().access_token, "access-9");
}

fn listed(id: &str, current: bool) -> String {
    let device = Human::new(1).keys.signer.kid();
    format!(
        r#"{{"id":"{id}","device":"{device}","name":"laptop","created_at":1767225600,"refreshed_at":1767225600,"expires_at":1769904000,"current":{current}}}"#
    )
}

#[test]
fn sessions_are_ended_by_the_beginnings_of_their_ids_all_or_none() {
    let service = Service::start(|request| match request.method.as_str() {
        "GET" => {
            let all = [("abcdefgh", true), ("abcx1111", false), ("zzzz2222", false), ("zzzz3333", false)];
            let all: Vec<_> = all.into_iter().map(|(id, current)| listed(id, current)).collect();
            ok(&format!(r#"{{"sessions":[{}]}}"#, all.join(",")))
        }
        _ => done(),
    });
    let home = Folder::signed_in("revoke", &service, LATER);
    let client = home.client();
    let revoke = |ids: &[&str]| client.revoke_sessions(&ids.iter().map(ToString::to_string).collect::<Vec<_>>());
    assert!(matches!(revoke(&["abcx", "zzzz"]).unwrap_err(), Error::Ambiguous { what: "session", .. }));
    assert!(matches!(revoke(&["abcx", "nope"]).unwrap_err(), Error::NotFound { what: "session", .. }));
    assert!(matches!(revoke(&["abcx", "zzz"]).unwrap_err(), Error::NotFound { .. }), "too short to be meant");
    assert!(matches!(revoke(&["abcx", "abcd"]).unwrap_err(), Error::Usage { .. }), "this very session");
    let deletes = || service.requests().into_iter().filter(|request| request.method == "DELETE").map(|r| r.path);
    assert_eq!(deletes().count(), 0);
    revoke(&["abcx", "abcx11"]).unwrap();
    assert_eq!(deletes().collect::<Vec<_>>(), ["/v1/me/sessions/abcx1111"]);
    let others = client.revoke_other_sessions().unwrap();
    assert_eq!(others.iter().map(|one| one.id.as_str()).collect::<Vec<_>>(), ["abcx1111", "zzzz2222", "zzzz3333"]);
}

#[test]
fn a_session_named_by_a_path_is_no_session() {
    let service = Service::start(|_| ok(&format!(r#"{{"sessions":[{}]}}"#, listed("../teams/x", false))));
    let home = Folder::signed_in("path", &service, LATER);
    assert_eq!(home.client().revoke_other_sessions().unwrap_err().class(), Class::Internal);
    assert_eq!(service.requests().len(), 1);
}

#[test]
fn signing_out_forgets_the_tokens_once_the_service_has_ended_the_session_or_had() {
    let service = Service::start(|_| done());
    let home = Folder::signed_in("out", &service, LATER);
    assert_eq!(home.client().sign_out(false).unwrap(), SignedOut::Now);
    assert_eq!(service.count("DELETE", "/v1/me/sessions/current"), 1);
    assert!(home.session().is_none());
    assert!(matches!(home.client().sessions().unwrap_err(), Error::NotSignedIn));

    home.set_session(generation(0, LATER));
    assert_eq!(home.client().sign_out(true).unwrap(), SignedOut::Now);
    assert_eq!(service.count("DELETE", "/v1/me/sessions"), 1);

    let over = Service::start(|_| problem(Code::Unauthenticated));
    let home = Folder::signed_in("out-over", &over, LATER);
    assert_eq!(home.client().sign_out(false).unwrap(), SignedOut::Before);
    assert!(home.session().is_none());

    let gone = Service::start(|_| problem(Code::Unavailable));
    let home = Folder::signed_in("out-gone", &gone, LATER);
    assert_eq!(home.client().sign_out(false).unwrap_err().class(), Class::Unavailable);
    assert!(home.session().is_some(), "nothing changes");
}

/// A service at which a user without teams can delete the account; the answer gets lost.
fn forgetful() -> Service {
    let deleted = Mutex::new(false);
    Service::start(move |request| {
        let mut deleted = deleted.lock().unwrap();
        match (request.method.as_str(), request.path.as_str()) {
            _ if *deleted => problem(Code::Unauthenticated),
            ("GET", "/v1/teams") => ok(r#"{"teams":[]}"#),
            ("DELETE", "/v1/me") => {
                *deleted = true;
                String::new()
            }
            _ => problem(Code::NotFound),
        }
    })
}

#[test]
fn an_account_whose_deletion_was_not_answered_is_deleted() {
    let service = forgetful();
    let home = Folder::signed_in("delete", &service, LATER);
    assert_eq!(home.client().deletion().unwrap(), Deletion::Ahead(Vec::new()));
    home.client().delete_account(&[]).unwrap();
    // And after a crash as well.
    assert_eq!(home.client().deletion().unwrap(), Deletion::Done);
}

#[test]
fn a_sign_in_that_is_over_is_no_deleted_account() {
    let service = Service::start(|_| problem(Code::Unauthenticated));
    let home = Folder::signed_in("not-deleted", &service, LATER);
    assert!(matches!(home.client().deletion().unwrap_err(), Error::SessionOver));
    assert!(matches!(home.client().delete_account(&[]).unwrap_err(), Error::SessionOver));

    // Not after a refusal either.
    let refusing = Service::start(|request| match (request.method.as_str(), request.path.as_str()) {
        ("GET", "/v1/teams") => ok(r#"{"teams":[]}"#),
        _ => problem(Code::Forbidden),
    });
    let home = Folder::signed_in("refused-deletion", &refusing, LATER);
    assert_eq!(home.client().delete_account(&[]).unwrap_err().class(), Class::Refused);
    assert!(!home.session().unwrap().deleting);
}
