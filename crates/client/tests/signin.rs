//! Signing in: what is kept when, and what a sign-in that comes to nothing leaves as it was.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod support;

use std::sync::{Arc, Mutex};

use osmynt_client::{
    Class, Client, DeviceId, Error, GitHubName, Handshake, OtherUser, Result, Server, Standing, UnsignedName, UserId,
};
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
    /// What GitHub calls the account; `ada` if nothing else.
    login: Mutex<Option<&'static str>>,
    appended: Mutex<Vec<AppendToMyLog>>,
}

impl Fresh {
    fn answer(&self, request: &Received) -> String {
        let mut appended = self.appended.lock().unwrap();
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
                        login: self.login.lock().unwrap().unwrap_or("ada").to_owned(),
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
                appended.push(serde_json::from_str(&request.body).unwrap());
                let user = self.lie.unwrap_or_else(|| user_of(appended.first().unwrap()));
                json(&UserLogHead { user, head: head(&logged(&appended)) })
            }
            _ => {
                let all = logged(&appended);
                let from = request.path.split_once("?from=").map_or(0, |(_, from)| from.parse().unwrap());
                let name = appended.last().unwrap().names.first().cloned();
                let prekeys = appended.first().unwrap().prekeys.clone();
                json(&MyLog { head: Some(head(&all)), entries: all.into_iter().skip(from).collect(), name, prekeys })
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

fn logged(appended: &[AppendToMyLog]) -> Vec<LoggedEntry> {
    appended
        .iter()
        .flat_map(|append| &append.entries)
        .map(|jws| LoggedEntry { jws: jws.clone(), received_at: now() })
        .collect()
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
    assert_eq!((standing, client.user().unwrap()), (Standing::Known { unsigned: None }, ada.user));
    assert_eq!(stage.service.count("POST", "/v1/me/log"), 0, "the name is signed already");
    let me = client.me().unwrap();
    assert_eq!((me.signed_login.as_deref(), me.unsigned), (Some("human-1"), None));
}

fn github(id: u64, login: &str) -> GitHubName {
    GitHubName { id, login: login.to_owned() }
}

#[test]
fn another_name_than_the_signed_one_is_told_and_never_signed_by_a_sign_in() {
    for (case, id, login) in [("login", 1, "before"), ("number", 77, "human-1")] {
        let mut ada = Human::new(1);
        ada.sign_name(id, login, START);
        let stage = returning(&format!("signin-another-{case}"), &ada);
        let (client, standing) = sign_in(&stage.home, &stage.service).unwrap();
        let told = Some(UnsignedName { said: github(1, "human-1"), signed: Some(github(id, login)) });
        assert_eq!(standing, Standing::Known { unsigned: told.clone() }, "{case}");
        assert_eq!(client.profile().login, login, "who somebody is here is what they signed");
        let me = client.me().unwrap();
        assert_eq!((me.login.as_str(), me.signed_login.as_deref(), me.unsigned), ("human-1", Some(login), told));
        assert_eq!(stage.service.count("POST", "/v1/me/log"), 0, "{case}");
    }
}

#[test]
fn a_name_is_not_signed_by_a_sign_in_because_the_service_hides_the_signed_one() {
    let mut ada = Human::new(1);
    ada.name = None;
    let stage = returning("signin-hidden", &ada);
    let (client, standing) = sign_in(&stage.home, &stage.service).unwrap();
    assert_eq!(standing, Standing::Known { unsigned: Some(UnsignedName { said: github(1, "human-1"), signed: None }) });
    assert_eq!(client.me().unwrap().signed_login, None);
    assert_eq!(stage.service.count("POST", "/v1/me/log"), 0);
}

#[test]
fn a_changed_login_is_signed_when_the_person_says_so() {
    let (fresh, service) = Fresh::default().service();
    let folder = Folder::new("signin-sign-name");
    let (mut client, _) = sign_in(&folder, &service).unwrap();
    *fresh.login.lock().unwrap() = Some("lovelace");
    let told = client.me().unwrap().unsigned.unwrap();
    assert_eq!(told, UnsignedName { said: github(1815, "lovelace"), signed: Some(github(1815, "ada")) });
    assert_eq!(fresh.appended.lock().unwrap().len(), 1, "asking signs nothing");
    client.sign_name(&told.said).unwrap();
    {
        let appended = fresh.appended.lock().unwrap();
        let [_, append] = appended.as_slice() else { panic!("two requests") };
        assert_eq!((append.entries.len(), append.prekeys.len(), append.start_over), (1, 0, false));
    }
    let me = client.me().unwrap();
    assert_eq!((me.signed_login.as_deref(), me.unsigned), (Some("lovelace"), None));
    assert_eq!(folder.home().profile().unwrap().unwrap().login, "lovelace");
}

#[test]
fn a_name_that_the_service_refuses_or_that_can_be_none_is_not_signed() {
    let mut ada = Human::new(1);
    ada.sign_name(1, "before", START);
    let stage = returning("signin-refused-name", &ada);
    let (mut client, _) = sign_in(&stage.home, &stage.service).unwrap();
    // Its log is there to be read, and takes nothing.
    let refused = client.sign_name(&github(1, "human-1")).unwrap_err();
    assert!(matches!(refused, Error::Refused { .. }), "{refused}");
    assert_eq!(stage.service.count("POST", "/v1/me/log"), 1);
    for none in ["", "human 1", "human\u{ad}1"] {
        assert_eq!(client.sign_name(&github(1, none)).unwrap_err().class(), Class::Internal, "{none:?}");
    }
    assert_eq!(stage.service.count("POST", "/v1/me/log"), 1, "a login that nobody could open is not sent");
    let me = client.me().unwrap();
    assert_eq!((me.signed_login.as_deref(), client.profile().login.as_str()), (Some("before"), "before"));
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
