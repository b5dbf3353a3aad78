//! Tokens and sessions: one refresh for all processes, none lost, and signing out.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    reason = "tests"
)]

mod support;

use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use osmynt_client::vault::{Session, Vault};
use osmynt_client::{Class, Client, Deletion, Error, Home, Keystore, SignedOut, Time};
use osmynt_core::api::TokenRequest;
use osmynt_core::{Bytes, Code};

use support::Human;
use support::service::{Received, Service, done, ok, problem};

const USER: &str = "00000000-0000-4000-8000-000000000001";
/// As far away as a clock goes.
const LATER: Time = Time(4_000_000_000);

/// A home that is signed in to a service, gone after the test.
struct SignedIn {
    folder: PathBuf,
    home: Home,
}

impl SignedIn {
    fn new(name: &str, service: &Service, access_ends: Time) -> Self {
        let folder = std::env::temp_dir().join(format!("osmynt-sessions-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        let home = Home::at(&folder, Keystore::File);
        let keys = Human::new(1).keys;
        let device = keys.signer.kid();
        let vault = Vault::open(&home).unwrap();
        vault
            .update(|secrets| {
                secrets.device = Some(keys);
                secrets.session = Some(generation(0, access_ends));
                Ok(())
            })
            .unwrap();
        let profile = format!(
            r#"{{"server":"{}","user":"{USER}","login":"ada","device":"{device}","device_name":"laptop"}}"#,
            service.origin
        );
        // With the rights that a file of a home has.
        fs::copy(folder.join("vault"), folder.join("profile.json")).unwrap();
        fs::write(folder.join("profile.json"), profile).unwrap();
        Self { folder, home }
    }

    /// As another process would.
    fn client(&self) -> Client {
        Client::open(self.home.clone(), |_| {}).unwrap()
    }

    fn session(&self) -> Option<Session> {
        Vault::open(&self.home).unwrap().read().unwrap().session
    }

    fn set_session(&self, session: Session) {
        let vault = Vault::open(&self.home).unwrap();
        vault
            .update(|secrets| {
                secrets.session = Some(session);
                Ok(())
            })
            .unwrap();
    }
}

impl Drop for SignedIn {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn generation(number: u32, access_ends: Time) -> Session {
    Session {
        access_token: format!("access-{number}"),
        access_ends,
        refresh_token: format!("refresh-{number}"),
        refresh_ends: LATER,
        idempotency_key: None,
        deleting: false,
    }
}

fn tokens(number: u32) -> String {
    ok(&format!(
        r#"{{"token_type":"DPoP","access_token":"access-{number}","expires_in":43200,"refresh_token":"refresh-{number}","refresh_expires_in":2592000,"user":"{USER}"}}"#
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
        let home = SignedIn::new(name, &service, ends);
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
    let folder = Arc::new(Mutex::new(None::<PathBuf>));
    let other = Arc::clone(&folder);
    let service = Service::start(move |request| match request.header("authorization") {
        Some("DPoP access-0") => {
            // Now another process refreshes.
            let home = Home::at(other.lock().unwrap().clone().unwrap(), Keystore::File);
            Vault::open(&home)
                .unwrap()
                .update(|secrets| {
                    secrets.session = Some(generation(1, LATER));
                    Ok(())
                })
                .unwrap();
            problem(Code::Unauthenticated)
        }
        Some("DPoP access-1") => ok(r#"{"sessions":[]}"#),
        _ => problem(Code::Internal),
    });
    let home = SignedIn::new("meanwhile", &service, LATER);
    *folder.lock().unwrap() = Some(home.folder.clone());
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
    let home = SignedIn::new("lost", &service, Time(1));
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
    let folder = Arc::new(Mutex::new(None::<PathBuf>));
    let own = Arc::clone(&folder);
    let service = Service::start(move |request| match request.path.as_str() {
        "/v1/tokens" => {
            let home = Home::at(own.lock().unwrap().clone().unwrap(), Keystore::File);
            let kept = Vault::open(&home).unwrap().read().unwrap().session.unwrap();
            if kept.idempotency_key == Some(presented(request).1) { tokens(1) } else { problem(Code::Internal) }
        }
        _ => ok(r#"{"sessions":[]}"#),
    });
    let home = SignedIn::new("before", &service, Time(1));
    *folder.lock().unwrap() = Some(home.folder.clone());
    home.client().sessions().unwrap();
}

#[test]
fn a_refresh_that_is_refused_means_that_the_sign_in_is_over_unless_there_is_a_new_one() {
    let folder = Arc::new(Mutex::new(None::<PathBuf>));
    let own = Arc::clone(&folder);
    let service = Service::start(move |request| match (request.path.as_str(), request.header("authorization")) {
        ("/v1/tokens", _) => {
            if let Some(folder) = own.lock().unwrap().clone() {
                let vault = Vault::open(&Home::at(folder, Keystore::File)).unwrap();
                vault
                    .update(|secrets| {
                        secrets.session = Some(generation(9, LATER));
                        Ok(())
                    })
                    .unwrap();
            }
            problem(Code::Unauthenticated)
        }
        (_, Some("DPoP access-9")) => ok(r#"{"sessions":[]}"#),
        _ => problem(Code::Unauthenticated),
    });
    let home = SignedIn::new("over", &service, Time(1));
    assert!(matches!(home.client().sessions().unwrap_err(), Error::SessionOver));
    *folder.lock().unwrap() = Some(home.folder.clone());
    home.client().sessions().unwrap();
    assert_eq!(home.session().unwrap().access_token, "access-9");
}

#[test]
fn an_answer_to_a_refresh_does_not_undo_a_sign_in() {
    let folder = Arc::new(Mutex::new(None::<PathBuf>));
    let own = Arc::clone(&folder);
    let service = Service::start(move |request| {
        if request.path != "/v1/tokens" {
            return ok(r#"{"sessions":[]}"#);
        }
        let vault = Vault::open(&Home::at(own.lock().unwrap().clone().unwrap(), Keystore::File)).unwrap();
        vault
            .update(|secrets| {
                secrets.session = Some(generation(9, LATER));
                Ok(())
            })
            .unwrap();
        tokens(1)
    });
    let home = SignedIn::new("undone", &service, Time(1));
    *folder.lock().unwrap() = Some(home.folder.clone());
    home.client().sessions().unwrap();
    assert_eq!(home.session().unwrap().access_token, "access-9");
}

fn listed(id: &str, current: bool) -> String {
    let device = Human::new(1).keys.signer.kid();
    format!(
        r#"{{"id":"{id}","device":"{device}","name":"laptop","created_at":"2026-01-01T00:00:00Z","refreshed_at":"2026-01-01T00:00:00Z","expires_at":"2026-02-01T00:00:00Z","current":{current}}}"#
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
    let home = SignedIn::new("revoke", &service, LATER);
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
    let home = SignedIn::new("path", &service, LATER);
    assert_eq!(home.client().revoke_other_sessions().unwrap_err().class(), Class::Internal);
    assert_eq!(service.requests().len(), 1);
}

#[test]
fn signing_out_forgets_the_tokens_once_the_service_has_ended_the_session_or_had() {
    let service = Service::start(|_| done());
    let home = SignedIn::new("out", &service, LATER);
    assert_eq!(home.client().sign_out(false).unwrap(), SignedOut::Now);
    assert_eq!(service.count("DELETE", "/v1/me/sessions/current"), 1);
    assert!(home.session().is_none());
    assert!(matches!(home.client().sessions().unwrap_err(), Error::NotSignedIn));

    home.set_session(generation(0, LATER));
    assert_eq!(home.client().sign_out(true).unwrap(), SignedOut::Now);
    assert_eq!(service.count("DELETE", "/v1/me/sessions"), 1);

    let over = Service::start(|_| problem(Code::Unauthenticated));
    let home = SignedIn::new("out-over", &over, LATER);
    assert_eq!(home.client().sign_out(false).unwrap(), SignedOut::Before);
    assert!(home.session().is_none());

    let gone = Service::start(|_| problem(Code::Unavailable));
    let home = SignedIn::new("out-gone", &gone, LATER);
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
    let home = SignedIn::new("delete", &service, LATER);
    assert_eq!(home.client().deletion().unwrap(), Deletion::Ahead(Vec::new()));
    home.client().delete_account().unwrap();
    // And after a crash as well.
    assert_eq!(home.client().deletion().unwrap(), Deletion::Done);
}

#[test]
fn a_sign_in_that_is_over_is_no_deleted_account() {
    let service = Service::start(|_| problem(Code::Unauthenticated));
    let home = SignedIn::new("not-deleted", &service, LATER);
    assert!(matches!(home.client().deletion().unwrap_err(), Error::SessionOver));
    assert!(matches!(home.client().delete_account().unwrap_err(), Error::SessionOver));

    // Not after a refusal either.
    let refusing = Service::start(|request| match (request.method.as_str(), request.path.as_str()) {
        ("GET", "/v1/teams") => ok(r#"{"teams":[]}"#),
        _ => problem(Code::Forbidden),
    });
    let home = SignedIn::new("refused-deletion", &refusing, LATER);
    assert_eq!(home.client().delete_account().unwrap_err().class(), Class::Refused);
    assert!(!home.session().unwrap().deleting);
}
