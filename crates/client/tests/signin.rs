//! Signing in: what is kept when, and what a sign-in that comes to nothing leaves as it was.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod support;

use std::sync::{Arc, Mutex};

use osmynt_client::{Class, Client, DeviceId, Error, Handshake, OtherUser, Result, Server, Standing, UserId};
use osmynt_core::api::{Account, AppendToMyLog, LoggedEntry, Me, MyDevice, MyLog, UserLogHead};
use osmynt_core::userlog::UserEvent;
use osmynt_core::{Code, Hash};

use support::home::{ADA, Folder, LATER};
use support::service::{Received, Service, done, ok, problem};
use support::stage::{Stage, head, json, now};
use support::{Human, START};

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
        "/v1/tokens" => tokens(account),
        _ => further(request),
    })
}

fn tokens(account: &str) -> String {
    ok(&format!(
        r#"{{"token_type":"DPoP","access_token":"new","expires_in":43200,"refresh_token":"next","refresh_expires_in":2592000,"account":"{account}"}}"#
    ))
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

/// What a service has of an account whose device is in no log, and what it is sent.
#[derive(Default)]
struct Fresh {
    device: Mutex<Option<DeviceId>>,
    other: Option<OtherUser>,
    /// Whom it says to have founded, in the place of whom it has.
    lie: Option<UserId>,
    appended: Mutex<Vec<AppendToMyLog>>,
}

impl Fresh {
    fn answer(&self, request: &Received) -> String {
        let appended = self.appended.lock().unwrap();
        match (request.method.as_str(), request.path.split('?').next().unwrap()) {
            ("GET", "/v1/me") => {
                let proof = osmynt_core::dpop::UnverifiedProof::parse(request.header("dpop").unwrap()).unwrap();
                let device = DeviceId(proof.key().thumbprint());
                *self.device.lock().unwrap() = Some(device);
                let user = appended.first().map(user_of);
                json(&Me {
                    account: Account {
                        id: ADA.parse().unwrap(),
                        github_id: 1815,
                        login: "ada".to_owned(),
                        name: None,
                        avatar_url: None,
                    },
                    device: MyDevice { id: device, user, active: user.is_some() },
                    head: None,
                    other: self.other.clone(),
                    erasures: Vec::new(),
                })
            }
            ("POST", "/v1/me/log") => {
                drop(appended);
                let append: AppendToMyLog = serde_json::from_str(&request.body).unwrap();
                let user = self.lie.unwrap_or_else(|| user_of(&append));
                let answer = json(&UserLogHead { user, head: head(&logged(&append)) });
                self.appended.lock().unwrap().push(append);
                answer
            }
            _ => {
                let append = appended.first().unwrap();
                let (entries, prekeys) = (logged(append), append.prekeys.clone());
                json(&MyLog { head: Some(head(&entries)), entries, name: append.names.first().cloned(), prekeys })
            }
        }
    }

    fn service(self) -> (Arc<Self>, Service) {
        let fresh = Arc::new(self);
        let answering = Arc::clone(&fresh);
        (fresh, approving(ADA, move |request| answering.answer(request)))
    }
}

fn user_of(append: &AppendToMyLog) -> UserId {
    UserId(support::hash_of(append.entries.first().unwrap()))
}

fn logged(append: &AppendToMyLog) -> Vec<LoggedEntry> {
    append.entries.iter().map(|jws| LoggedEntry { jws: jws.clone(), received_at: now() }).collect()
}

#[test]
fn the_first_device_of_an_account_founds_a_user_and_signs_the_login() {
    let (fresh, service) = Fresh::default().service();
    let folder = Folder::new("signin-first");
    let (client, standing) = sign_in(&folder, &service).unwrap();
    assert_eq!(standing, Standing::First);
    let appended = fresh.appended.lock().unwrap();
    let [append] = appended.as_slice() else { panic!("one request") };
    assert_eq!((append.entries.len(), append.prekeys.len(), append.start_over), (2, 1, false));
    let user = user_of(append);
    assert_eq!(client.user().unwrap(), user, "the hash of the first entry");
    assert_eq!(folder.home().profile().unwrap().unwrap().user, Some(user));
    let name = append.names.first().unwrap();
    assert_eq!((name.id, name.login.as_str()), (1815, "ada"));
}

#[test]
fn a_founding_that_is_answered_with_another_user_is_caught_and_kept_by_nobody() {
    let (_, service) = Fresh { lie: Some(UserId(Hash::of(b"another"))), ..Fresh::default() }.service();
    let folder = Folder::new("signin-lie");
    assert_eq!(sign_in(&folder, &service).unwrap_err().class(), Class::Tampered);
    assert_eq!(folder.home().profile().unwrap().unwrap().user, None);
}

#[test]
fn a_stranger_founds_another_user_only_when_told_to() {
    let other = OtherUser { user: Human::new(2).user, devices: 1, teams: Vec::new() };
    let (fresh, service) = Fresh { other: Some(other.clone()), ..Fresh::default() }.service();
    let folder = Folder::new("signin-stranger");
    let (mut client, standing) = sign_in(&folder, &service).unwrap();
    assert_eq!(standing, Standing::Stranger(other));
    assert!(matches!(client.user(), Err(Error::UnknownDevice)));
    assert!(fresh.appended.lock().unwrap().is_empty());
    let user = client.start_over().unwrap();
    assert!(fresh.appended.lock().unwrap().iter().all(|append| append.start_over && user_of(append) == user));
    assert_eq!(folder.client().user().unwrap(), user);
    assert!(matches!(client.start_over(), Err(Error::Usage { .. })), "there is nothing to start over");
}

/// Ada's home at a service where she can sign in.
fn returning(name: &str, ada: &Human) -> Stage {
    let stage = Stage::new(name, &[ada], &[]);
    let origin = stage.service.origin.clone();
    stage.shown().instead =
        vec![("/v1/handshakes".to_owned(), handshake(&origin)), ("/v1/tokens".to_owned(), tokens(ADA))];
    stage
}

#[test]
fn a_known_device_keeps_its_user_and_its_name() {
    let ada = Human::new(1);
    let stage = returning("signin-known", &ada);
    let (client, standing) = sign_in(&stage.home, &stage.service).unwrap();
    assert_eq!((standing, client.user().unwrap()), (Standing::Known, ada.user));
    assert_eq!(stage.service.count("POST", "/v1/me/log"), 0, "the name is signed already");
}

#[test]
fn a_login_that_has_changed_is_signed_at_the_next_sign_in() {
    let mut ada = Human::new(1);
    ada.sign_name(1, "before", START);
    let stage = returning("signin-renamed", &ada);
    let (_, standing) = sign_in(&stage.home, &stage.service).unwrap();
    assert_eq!(standing, Standing::Known, "although the service refused the name");
    let sent =
        stage.service.requests().into_iter().find(|request| request.method == "POST" && request.path == "/v1/me/log");
    let append: AppendToMyLog = serde_json::from_str(&sent.unwrap().body).unwrap();
    assert_eq!(append.names.first().unwrap().login, "human-1");
}

#[test]
fn a_revoked_device_is_told_so_and_keeps_what_it_has() {
    let mut ada = Human::new(1);
    let second = Human::new(5).keys;
    let statement = ada.device_statement(&second.signer);
    let first = ada.keys.signer.clone();
    ada.append(&first, UserEvent::DeviceAdded { device: statement });
    let revoked = UserEvent::DeviceRevoked { device: ada.device() };
    ada.append(&second.signer, revoked);
    ada.prekeys.clear();
    let stage = returning("signin-was-revoked", &ada);
    assert!(matches!(sign_in(&stage.home, &stage.service), Err(Error::RevokedDevice)));
    let secrets = osmynt_client::vault::Vault::open(&stage.home.home()).unwrap().read().unwrap();
    assert!(secrets.device.is_some_and(|keys| keys.signer.kid() == first.kid()));
    assert_eq!(secrets.session.unwrap().access_token, "new");
}

#[test]
fn a_handshake_without_end_or_without_a_pause_makes_no_sense() {
    for (what, times) in [
        ("an end far away", r#""expires_in":901,"interval":2"#),
        ("no time at all", r#""expires_in":0,"interval":2"#),
        ("no pause", r#""expires_in":300,"interval":0"#),
        ("a long pause", r#""expires_in":300,"interval":61"#),
    ] {
        let service = Service::start(move |request| {
            let origin = format!("http://{}", request.header("host").unwrap());
            ok(&handshake(&origin)
                .rsplit_once("\r\n\r\n")
                .unwrap()
                .1
                .replace(r#""expires_in":300,"interval":1"#, times))
        });
        let refused = sign_in(&Folder::new("signin-times"), &service).unwrap_err();
        assert_eq!(refused.class(), Class::Internal, "{what}: {refused}");
    }
}

#[test]
fn a_page_elsewhere_is_not_shown_even_if_it_begins_like_the_service() {
    for elsewhere in ["https://evil.example/", "@evil.example/", ".evil.example/"] {
        let service = Service::start(move |request| {
            let origin = format!("http://{}", request.header("host").unwrap());
            let page =
                if elsewhere.starts_with("https") { elsewhere.to_owned() } else { format!("{origin}{elsewhere}") };
            let complete = format!(r#""verification_uri_complete":"{page}""#);
            let mine = format!(r#""verification_uri_complete":"{origin}/sign-in?code=AAAA-AAAA""#);
            let json = handshake(&origin);
            let body = json.rsplit_once("\r\n\r\n").unwrap().1.replace(&mine, &complete);
            ok(&body)
        });
        let refused = sign_in(&Folder::new("signin-elsewhere"), &service).unwrap_err();
        assert!(matches!(refused, Error::Usage { .. }), "{elsewhere}: {refused}");
    }
}
