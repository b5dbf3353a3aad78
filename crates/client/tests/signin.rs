//! Signing in: what is kept when, and what a sign-in that comes to nothing leaves as it was.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod support;

use osmynt_client::{Class, Client, Error, Handshake, Result, Server, Standing};
use osmynt_core::Code;

use support::home::{ADA, Folder, LATER};
use support::service::{Received, Service, done, ok, problem};

const EVE: &str = "00000000-0000-4000-8000-000000000009";

fn sign_in(folder: &Folder, service: &Service) -> Result<(Client, Standing)> {
    let server: Server = service.origin.parse().unwrap();
    Handshake::start(&folder.home(), &server, "laptop", |_| {})?.wait()
}

fn handshake(origin: &str) -> String {
    ok(&format!(
        r#"{{"device_code":"code","user_code":"AAAA-AAAA","verification_uri":"{origin}/sign-in","verification_uri_complete":"{origin}/sign-in?code=AAAA-AAAA","expires_in":300,"interval":1}}"#
    ))
}

/// A service at which each handshake is approved by this user, and which does no more than what `further` says.
fn approving(account: &'static str, further: impl Fn(&Received) -> String + Send + Sync + 'static) -> Service {
    Service::start(move |request| match request.path.as_str() {
        "/v1/handshakes" => handshake(&format!("http://{}", request.header("host").unwrap())),
        "/v1/tokens" => ok(&format!(
            r#"{{"token_type":"DPoP","access_token":"new","expires_in":43200,"refresh_token":"next","refresh_expires_in":2592000,"account":"{account}"}}"#
        )),
        _ => further(request),
    })
}

#[test]
fn tokens_are_kept_before_anything_else_can_fail() {
    let service = approving(ADA, |_| problem(Code::Internal));
    let folder = Folder::signed_in("signin-kept", &service, LATER);
    assert_eq!(sign_in(&folder, &service).unwrap_err().class(), Class::Internal);
    assert_eq!(folder.session().unwrap().access_token, "new", "with the claim of these the session before has ended");
    let requests = service.requests();
    let claim = requests.iter().find(|request| request.path == "/v1/tokens").unwrap();
    assert!(claim.header("dpop").is_some() && claim.header("authorization").is_none());
}

#[test]
fn a_sign_in_of_somebody_else_is_ended_and_changes_nothing_here() {
    let service = approving(EVE, |_| done());
    let folder = Folder::signed_in("signin-other", &service, LATER);
    let refused = sign_in(&folder, &service).unwrap_err();
    assert!(matches!(refused, Error::OtherAccount { .. }), "{refused}");
    assert_eq!(folder.session().unwrap().access_token, "access-0");
    let requests = service.requests();
    let last = requests.last().unwrap();
    assert_eq!((last.method.as_str(), last.path.as_str()), ("DELETE", "/v1/me/sessions/current"));
    assert_eq!(last.header("authorization"), Some("DPoP new"));
}

#[test]
fn a_service_that_goes_by_another_address_is_named_before_anybody_signs_in() {
    let service = Service::start(|_| handshake("https://osmynt.example"));
    let folder = Folder::new("signin-address");
    let refused = sign_in(&folder, &service).unwrap_err();
    assert_eq!(refused.class(), Class::Usage);
    assert!(refused.to_string().contains("https://osmynt.example"), "{refused}");
    assert_eq!(service.requests().len(), 1);
}

#[test]
fn a_device_is_not_called_what_cannot_be_seen() {
    let service = Service::start(|_| done());
    let server: Server = service.origin.parse().unwrap();
    for name in ["", "laptop\u{ad}", "laptop ", "\u{3164}", "👩‍💻", &"x".repeat(65)] {
        let refused = Handshake::start(&Folder::new("signin-name").home(), &server, name, |_| {}).unwrap_err();
        assert!(matches!(refused, Error::Usage { .. }), "{name:?}: {refused}");
    }
    assert_eq!(service.requests().len(), 0);
}

#[test]
fn only_who_was_signed_in_before_is_told_of_revoked_devices() {
    let service = Service::start(|request| match request.path.as_str() {
        "/v1/tokens" => problem(Code::AccessDenied),
        _ => handshake(&format!("http://{}", request.header("host").unwrap())),
    });
    let refused = sign_in(&Folder::new("signin-new"), &service).unwrap_err();
    assert!(matches!(refused, Error::SignInDenied { known: false }) && refused.advice().is_none());
    let folder = Folder::signed_in("signin-revoked", &service, LATER);
    let refused = sign_in(&folder, &service).unwrap_err();
    assert!(refused.advice().unwrap().contains("osmynt logout --erase"));
    assert_eq!(folder.session().unwrap().access_token, "access-0");
}
