//! Signing in: a handshake in the shape of RFC 8628, then the device's place in its user's log.

use std::time::Duration;

use osmynt_core::api::{self, Erasure, OtherUser, TokenRequest};
use osmynt_core::names::{Name, Provider};
use osmynt_core::statement::{DeviceStatement, HandshakeStatement, PrekeyKind, PrekeyStatement, UserEntry};
use osmynt_core::userlog::{UserEvent, UserLog};
use osmynt_core::{AccountId, Bytes, Code, DeviceId, Hash, Time, UserId, b64u, limits, text};
use zeroize::Zeroizing;

use crate::http::{Caller, Http, OnWait, Request};
use crate::keys::{DeviceKeys, RustCrypto, checked};
use crate::logs::VerifiedUser;
use crate::session::nonsense;
use crate::vault::{Session, Vault};
use crate::{Class, Client, Error, Home, Profile, Result, Server, system};

/// A sign-in under way: show these to the person, then [`Handshake::wait`].
#[derive(Debug)]
pub struct Handshake {
    /// What the browser will show as well: `XXXX-XXXX`.
    pub user_code: String,
    /// The page where the code can be typed.
    pub verification_uri: String,
    /// The page to open.
    pub verification_uri_complete: String,
    /// How long the person has.
    pub expires_in: Duration,
    pending: Pending,
}

/// What polling needs.
struct Pending {
    home: Home,
    vault: Vault,
    http: Http,
    server: Server,
    keys: DeviceKeys,
    known: bool,
    device_name: String,
    device_code: Zeroizing<String>,
    verifier: Zeroizing<String>,
    interval: u64,
    ends: Time,
}

/// Where this device stands after signing in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// The account had no user yet: this device has just founded one.
    First,
    /// It is active in its user's log.
    Known {
        /// The name that the service says, if the user has not signed it. Nothing signs it but [`Client::sign_name`].
        unsigned: Option<UnsignedName>,
    },
    /// It is in no log, and the account has a user: this one, as the service tells. It can do nothing yet but
    /// [`Client::start_over`], which leaves that user behind.
    Stranger(OtherUser),
}

/// An account at GitHub.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GitHubName {
    /// GitHub's number of the account, which stays when the login changes.
    pub id: u64,
    /// The login: ASCII as [`text::check_login`] has it if it was signed; anything if only the service says it.
    pub login: String,
}

/// A name that the service says and the user's own log does not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnsignedName {
    /// What the service says.
    pub said: GitHubName,
    /// What the last `name.signed` of the log opens to; none if the log has no such entry, or the service shows nothing
    /// that it opens to.
    pub signed: Option<GitHubName>,
}

/// What the service says about the caller, and what the caller's verified log says about this device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Me {
    /// The service's account.
    pub account: AccountId,
    /// The user, by the verified log; none while this device is in no log.
    pub user: Option<UserId>,
    /// GitHub login, as the service says. Others see [`Me::signed_login`].
    pub login: String,
    /// The login that the user's own verified log commits to; none if it commits to none, if the service shows nothing
    /// that it opens to, or while this device is in no log.
    pub signed_login: Option<String>,
    /// The name that the service says, if this device is in a log that does not say the same.
    pub unsigned: Option<UnsignedName>,
    /// Name on GitHub, as the service says.
    pub name: Option<String>,
    /// This device.
    pub device: DeviceId,
    /// What it is called.
    pub device_name: String,
    /// Whether it is one of the user's active devices, by the verified log.
    pub active: bool,
    /// How many active devices the verified log has.
    pub devices: usize,
    /// For a device that is in no log: the account's user, whom starting over would leave behind.
    pub other: Option<OtherUser>,
    /// Erasures that were asked for: of this user, or of a former one of the account.
    pub erasures: Vec<Erasure>,
}

impl Handshake {
    /// Starts a sign-in. Makes the device's keys if this home has none yet; a session that there is stays until the new one
    /// is there. `device_name` is as [`text::check_name`] has it, of at most 64 characters. `on_wait` is told of each wait
    /// that the service asks for.
    pub fn start(home: &Home, server: &Server, device_name: &str, on_wait: OnWait) -> Result<Self> {
        text::check_name(device_name, limits::DEVICE_NAME_CHARS)
            .map_err(|refusal| Error::usage(format!("the device cannot be called that: {}", refusal.detail)))?;
        let profile = home.profile()?;
        let known = profile.is_some();
        if let Some(profile) = profile.filter(|profile| profile.server != *server) {
            return Err(Error::OtherAccount { home_of: owner(&profile) });
        }
        let vault = Vault::open(home)?;
        let now = system::now();
        let keys = vault.update(|secrets| match &secrets.device {
            Some(keys) => Ok(keys.clone()),
            None => Ok(secrets.device.insert(DeviceKeys::generate(now, system::random)?).clone()),
        })?;
        let verifier = Zeroizing::new(b64u::encode(&system::random::<32>()?));
        let statement = keys.signer.sign(&HandshakeStatement {
            jwk: *keys.signer.public(),
            challenge: Hash::of(verifier.as_bytes()),
            name: device_name.to_owned(),
            iat: now,
        })?;
        let http = Http::new(server.clone(), on_wait);
        let started: api::HandshakeStarted =
            http.json(&Request::post_once("/v1/handshakes", &api::StartHandshake { statement })?, None)?;
        check_started(&started, server)?;
        Ok(Self {
            user_code: started.user_code,
            verification_uri: started.verification_uri,
            verification_uri_complete: started.verification_uri_complete,
            expires_in: Duration::from_secs(started.expires_in),
            pending: Pending {
                home: home.clone(),
                vault,
                http,
                server: server.clone(),
                keys,
                known,
                device_name: device_name.to_owned(),
                device_code: Zeroizing::new(started.device_code),
                verifier,
                interval: started.interval,
                ends: now.plus(started.expires_in),
            },
        })
    }

    /// Polls until the person has confirmed or refused, or the handshake has ended; then keeps the tokens, and founds a user
    /// if the account has none.
    ///
    /// [`Error::RevokedDevice`] if the user's verified log says so; what this home keeps stays, as it does with every error.
    pub fn wait(self) -> Result<(Client, Standing)> {
        let tokens = self.pending.poll()?;
        self.pending.accept(tokens)
    }
}

impl Pending {
    /// RFC 8628 section 3.5.
    fn poll(&self) -> Result<api::Tokens> {
        let request =
            TokenRequest::DeviceCode { device_code: self.device_code.to_string(), verifier: self.verifier.to_string() };
        let caller = Caller { device: &self.keys.signer, token: None };
        let mut interval = self.interval;
        while system::now() < self.ends {
            std::thread::sleep(Duration::from_secs(interval));
            match self.http.json(&Request::post_once("/v1/tokens", &request)?, Some(caller)) {
                Ok(tokens) => return Ok(tokens),
                Err(error) => interval = next_interval(interval, error, self.known)?,
            }
        }
        Err(Error::SignInExpired)
    }

    fn accept(self, tokens: api::Tokens) -> Result<(Client, Standing)> {
        let account = tokens.account;
        let session = Session::new(tokens, system::now())?;
        let signer = self.keys.signer.clone();
        let token = Zeroizing::new(session.access_token.clone());
        let caller = Caller { device: &signer, token: Some(&token) };
        let known = self.home.profile()?;
        if let Some(profile) = known.as_ref().filter(|profile| profile.account != account) {
            // Nobody will use it. If this fails, it ends by itself.
            let _ = self.http.empty(&Request::delete("/v1/me/sessions/current"), Some(caller));
            return Err(Error::OtherAccount { home_of: owner(profile) });
        }
        // Before anything else can fail: with the claim of these the session before has ended.
        self.vault.update(|secrets| {
            secrets.session = Some(session);
            Ok(())
        })?;
        let me: api::Me = self.http.json(&Request::get("/v1/me"), Some(caller))?;
        let profile = Profile {
            server: self.server,
            account,
            user: known.and_then(|profile| profile.user),
            login: me.account.login.clone(),
            device: DeviceId(self.keys.signer.kid()),
            device_name: self.device_name,
        };
        let mut client = Client { home: self.home, vault: self.vault, http: self.http, profile, keys: self.keys };
        client.check_me(&me)?;
        client.home.set_profile(&client.profile)?;
        let standing = client.take_place(me)?;
        Ok((client, standing))
    }
}

/// Whose home it is, for a sentence.
fn owner(profile: &Profile) -> String {
    format!("{} at {}", text::word(&profile.login, text::EXCERPT_CHARS), profile.server)
}

/// Refuses a handshake that is not one of this service's: an address elsewhere to go to, or times that make no sense.
fn check_started(started: &api::HandshakeStarted, server: &Server) -> Result<()> {
    const LONGEST_INTERVAL: u64 = 60;
    const LONGEST: u64 = 900;
    let pages = [&started.verification_uri, &started.verification_uri_complete];
    // Proofs name the service as it calls itself, and so do invitations.
    if let Some(page) = pages.into_iter().find(|page| !page.starts_with(&format!("{server}/"))) {
        let page = text::quoted(page, text::EXCERPT_CHARS);
        return Err(Error::usage(format!(
            "the service at {server} goes by another address, which --server must name: its sign-in page is {page}"
        )));
    }
    let is_text = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
    if !pages.into_iter().chain([&started.user_code]).all(|text| is_text(text)) {
        return Err(nonsense("its sign-in page or code is none"));
    }
    if !(1..=LONGEST_INTERVAL).contains(&started.interval) || !(1..=LONGEST).contains(&started.expires_in) {
        return Err(nonsense("a sign-in takes at most 15 minutes, with a minute between polls"));
    }
    Ok(())
}

/// How many seconds to wait before the next poll, if there is to be one. `known` is whether this device was signed in
/// before.
fn next_interval(interval: u64, error: Error, known: bool) -> Result<u64> {
    const LONGER: u64 = 5;
    const LONGEST: u64 = 30;
    match error {
        Error::Refused { code: Code::AuthorizationPending, .. } => Ok(interval),
        Error::Refused { code: Code::SlowDown, .. } => Ok(interval.saturating_add(LONGER)),
        Error::Refused { code: Code::AccessDenied, .. } => Err(Error::SignInDenied { known }),
        Error::Refused { code: Code::ExpiredToken, .. } => Err(Error::SignInExpired),
        // "the client MUST unilaterally reduce its polling frequency before retrying"
        error if error.class() == Class::Unavailable => Ok(interval.max(interval.saturating_mul(2).min(LONGEST))),
        error => Err(error),
    }
}

impl Client {
    /// Asks the service who the caller is, and verifies the caller's user log.
    pub fn me(&self) -> Result<Me> {
        let me = self.ask_me()?;
        let log = self.profile.user.map(|user| self.log_of_mine(user)).transpose()?;
        let log = log.map(|(log, _)| log);
        let active: Vec<DeviceId> = log.iter().flat_map(|log| log.log().active().map(|(device, _)| *device)).collect();
        Ok(Me {
            account: self.profile.account,
            user: self.profile.user,
            signed_login: log.as_ref().and_then(VerifiedUser::name).map(|name| name.login.clone()),
            unsigned: log.and_then(|log| unsigned(&log, &me.account)),
            login: me.account.login,
            name: me.account.name,
            device: self.device(),
            device_name: self.profile.device_name.clone(),
            active: active.contains(&self.device()),
            devices: active.len(),
            other: me.other,
            erasures: me.erasures,
        })
    }

    /// Founds another user of the account with this device, which is in no log. The account's present user is left behind:
    /// their devices, teams and snippets stay theirs, and nothing that was sealed to them opens here. The person has
    /// confirmed that. Gives the new user.
    pub fn start_over(&mut self) -> Result<UserId> {
        let me = self.ask_me()?;
        if me.device.user.is_some() {
            return Err(Error::usage("this device stands in a user's log already; there is nothing to start over"));
        }
        self.found(&me.account, true)
    }

    /// Signs another name in the own log: one that [`Me::unsigned`] told, and that the person has confirmed. Others see that
    /// it has changed. [`Error::Refused`] if GitHub gave the service another one at the last sign-in.
    pub fn sign_name(&mut self, name: &GitHubName) -> Result<()> {
        let (mine, _) = self.my_log()?;
        let mut log = mine.log().clone();
        let (entry, opening) = self.name_entry(&log, name.clone())?;
        checked(log.take(&entry, system::now().max(log.received_at().unwrap_or(Time(0))), &RustCrypto))?;
        let body =
            api::AppendToMyLog { entries: vec![entry], prekeys: Vec::new(), names: vec![opening], start_over: false };
        self.append(&body, mine.user(), &log)?;
        self.be(mine.user(), &name.login)?;
        self.my_log().map(drop)
    }

    /// Asks to erase a former user of this account. Gives when it will be done.
    pub fn ask_erasure(&self, user: UserId) -> Result<Erasure> {
        let erasure: Erasure = self.json(&Request::post("/v1/me/erasures", &api::AskErasure { user })?)?;
        if erasure.user != user || erasure.due_at < erasure.asked_at {
            return Err(Error::Tampered {
                what: "the service answers with another erasure than was asked for".to_owned(),
            });
        }
        Ok(erasure)
    }

    /// Objects to an erasure of this device's user, or withdraws one that was asked for. It takes the device's key and no
    /// session: whoever took over the account at GitHub can end sessions.
    pub fn object_to_erasure(&self, user: UserId) -> Result<()> {
        let caller = Caller { device: &self.keys.signer, token: None };
        self.http.empty(&Request::delete(format!("/v1/me/erasures/{user}")), Some(caller))?;
        if self.profile.user == Some(user) { self.keep_notice(None) } else { Ok(()) }
    }

    /// Founds a user if the account has none; finds out where this device stands otherwise.
    fn take_place(&mut self, me: api::Me) -> Result<Standing> {
        let Some(user) = me.device.user else {
            return match me.other {
                Some(other) => Ok(Standing::Stranger(other)),
                None => self.found(&me.account, false).map(|_| Standing::First),
            };
        };
        let (log, _) = self.log_of_mine(user)?;
        let Some(device) = log.log().device(&self.device()) else {
            let what = format!("the service says that this device is in the log of user {user}, and it is not");
            return Err(Error::Tampered { what });
        };
        if device.revoked.is_some() {
            return Err(Error::RevokedDevice);
        }
        // The service alone could give somebody another's name, so only the person says that it has changed.
        let unsigned = unsigned(&log, &me.account);
        self.be(user, log.name().map_or(&me.account.login, |name| &name.login))?;
        Ok(Standing::Known { unsigned })
    }

    /// Makes the first entries of a user's log: this device and the account's login. Their id is the hash of the former.
    fn found(&mut self, account: &api::Account, start_over: bool) -> Result<UserId> {
        let now = system::now();
        let signer = &self.keys.signer;
        let device = signer.sign(&DeviceStatement { user: None, jwk: *signer.public(), iat: now })?;
        let event = UserEvent::DeviceAdded { device };
        let first = signer.sign(&UserEntry { user: None, seq: 0, prev: None, iat: now, event })?;
        let mut log = UserLog::new();
        checked(log.take(&first, now, &RustCrypto))?;
        let none = || Error::Internal { why: "this device has no prekey, or no log".to_owned() };
        let user = log.user().ok_or_else(none)?;
        let (named, name) = self.name_entry(&log, said(account))?;
        checked(log.take(&named, now, &RustCrypto))?;
        let prekey = self.keys.current_prekey().ok_or_else(none)?;
        let prekey =
            signer.sign(&PrekeyStatement { user, kind: PrekeyKind::Signed, key: *prekey.public(), iat: now })?;
        let body =
            api::AppendToMyLog { entries: vec![first, named], prekeys: vec![prekey], names: vec![name], start_over };
        self.append(&body, user, &log)?;
        self.be(user, &account.login)?;
        // Reading it back verifies and pins it.
        self.my_log()?;
        Ok(user)
    }

    /// The next entry of a log, which says what its user is called, and what it opens to.
    fn name_entry(&self, log: &UserLog, name: GitHubName) -> Result<(String, Name)> {
        let none = || Error::Internal { why: "an empty log has no name".to_owned() };
        let (user, head) = (log.user().ok_or_else(none)?, log.head().ok_or_else(none)?);
        let salt = Bytes(system::random()?);
        let name = Name { provider: Provider::GitHub, id: name.id, login: name.login, salt };
        let commitment = name.commitment(user);
        // A login that nobody could open is not signed.
        name.opens(user, commitment).map_err(|refusal| nonsense(&refusal.detail))?;
        let entry = self.keys.signer.sign(&UserEntry {
            user: Some(user),
            seq: head.seq.saturating_add(1),
            prev: Some(head.hash),
            iat: system::now(),
            event: UserEvent::NameSigned { commitment },
        })?;
        Ok((entry, name))
    }

    /// Appends to the own log, which then ends as `log` does.
    fn append(&self, body: &api::AppendToMyLog, user: UserId, log: &UserLog) -> Result<()> {
        let answer: api::UserLogHead = self.json(&Request::post("/v1/me/log", body)?)?;
        if answer.user != user || Some(answer.head) != log.head() {
            let what = format!("the service answers an append to the log of user {user} with another log");
            return Err(Error::Tampered { what });
        }
        Ok(())
    }

    /// Lets this home be a user's, who has this login.
    fn be(&mut self, user: UserId, login: &str) -> Result<()> {
        self.profile.user = Some(user);
        login.clone_into(&mut self.profile.login);
        self.home.set_profile(&self.profile)
    }
}

/// What the service says of an account.
fn said(account: &api::Account) -> GitHubName {
    GitHubName { id: account.github_id, login: account.login.clone() }
}

/// What the service says of the account, if the user's log does not say the same.
fn unsigned(log: &VerifiedUser, account: &api::Account) -> Option<UnsignedName> {
    let said = said(account);
    let signed = log.name().map(|name| GitHubName { id: name.id, login: name.login.clone() });
    (signed.as_ref() != Some(&said)).then_some(UnsignedName { said, signed })
}

impl std::fmt::Debug for Pending {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pending").field("server", &self.server).field("ends", &self.ends).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn polls_become_rarer_when_the_service_says_so_or_is_not_there() {
        let refused = |code| Error::Refused { code, detail: String::new() };
        let next = |interval, error| next_interval(interval, error, false);
        assert_eq!(next(2, refused(Code::AuthorizationPending)).unwrap(), 2);
        assert_eq!(next(2, refused(Code::SlowDown)).unwrap(), 7);
        assert_eq!(next(7, refused(Code::AuthorizationPending)).unwrap(), 7, "from then on");
        for gone in [Error::Unavailable { why: String::new() }, Error::RateLimited { wait: None }] {
            assert_eq!(next(7, gone).unwrap(), 14);
        }
        assert_eq!(next(20, refused(Code::Unavailable)).unwrap(), 30);
        assert_eq!(next(40, refused(Code::Unavailable)).unwrap(), 40, "never more often");
    }

    #[test]
    fn polls_end_when_there_is_nothing_to_wait_for() {
        let refused = |code| next_interval(2, Error::Refused { code, detail: String::new() }, true).unwrap_err();
        assert!(matches!(refused(Code::AccessDenied), Error::SignInDenied { known: true }));
        assert!(matches!(refused(Code::ExpiredToken), Error::SignInExpired));
        assert!(matches!(refused(Code::ClockSkew), Error::Refused { code: Code::ClockSkew, .. }));
    }
}
