//! Signing in: a handshake in the shape of RFC 8628, then the device's place in its user's log.

use std::time::Duration;

use osmynt_core::api::{self, TokenRequest};
use osmynt_core::statement::{DeviceStatement, HandshakeStatement, PrekeyKind, PrekeyStatement, UserEntry};
use osmynt_core::userlog::{UserEvent, UserLog};
use osmynt_core::{Code, DeviceId, Hash, Time, UserId, b64u, limits, text};
use zeroize::Zeroizing;

use crate::http::{Caller, Http, OnWait, Request};
use crate::keys::DeviceKeys;
use crate::logs::VerifiedUser;
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

/// Where this device stands in its user's log after signing in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It is the account's first device and has just begun the log.
    First,
    /// It was in the log already.
    Known,
    /// The account has other devices and this one is not among them. It can do nothing yet but [`Client::start_over`].
    Stranger,
}

/// What the service says about the caller, and what the caller's verified log says about this device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Me {
    /// The user.
    pub user: UserId,
    /// GitHub login, as the service says.
    pub login: String,
    /// Name on GitHub, as the service says.
    pub name: Option<String>,
    /// This device.
    pub device: DeviceId,
    /// What it is called.
    pub device_name: String,
    /// Whether it is one of the account's active devices, by the verified log.
    pub active: bool,
    /// How many active devices the verified log has.
    pub devices: usize,
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
        // Proofs name the service as it calls itself, and so do invitations.
        if !started.verification_uri.starts_with(&format!("{server}/")) {
            let page = text::quoted(&started.verification_uri, text::EXCERPT_CHARS);
            return Err(Error::usage(format!(
                "the service at {server} goes by another address, which --server must name: its sign-in page is {page}"
            )));
        }
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

    /// Polls until the person has confirmed or refused, or the handshake has ended; then keeps the tokens, and begins
    /// the user log if there is none.
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
        let mut interval = self.interval.max(1);
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
        let user = tokens.user;
        let session = Session::new(tokens, system::now())?;
        let signer = self.keys.signer.clone();
        let token = Zeroizing::new(session.access_token.clone());
        let caller = Caller { device: &signer, token: Some(&token) };
        if let Some(profile) = self.home.profile()?.filter(|profile| profile.user != user) {
            // Nobody will use it. If this fails, it ends by itself.
            let _ = self.http.empty(&Request::delete("/v1/me/sessions/current"), Some(caller));
            return Err(Error::OtherAccount { home_of: owner(&profile) });
        }
        // Before anything else can fail: with the claim of these the session before has ended.
        self.vault.update(|secrets| {
            secrets.session = Some(session);
            Ok(())
        })?;
        let me: api::Me = self.http.json(&Request::get("/v1/me"), Some(caller))?;
        let profile = Profile {
            server: self.server,
            user,
            login: me.user.login,
            device: DeviceId(self.keys.signer.kid()),
            device_name: self.device_name,
        };
        self.home.set_profile(&profile)?;
        let client = Client { home: self.home, vault: self.vault, http: self.http, profile, keys: self.keys };
        let standing = client.take_place()?;
        Ok((client, standing))
    }
}

/// Whose home it is, for a sentence.
fn owner(profile: &Profile) -> String {
    format!("{} at {}", text::word(&profile.login, text::EXCERPT_CHARS), profile.server)
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
        let me: api::Me = self.json(&Request::get("/v1/me"))?;
        let log = self.my_log()?;
        let active = |log: &VerifiedUser| log.log().active().map(|(id, _)| *id).collect::<Vec<_>>();
        let devices = log.as_ref().map(active).unwrap_or_default();
        Ok(Me {
            user: self.profile.user,
            login: me.user.login,
            name: me.user.name,
            device: self.device(),
            device_name: self.profile.device_name.clone(),
            active: devices.contains(&self.device()),
            devices: devices.len(),
        })
    }

    /// `identity.reset`: every earlier device of the account is revoked, this one is its only device, and the account is
    /// a stranger to its teams until invited again. Nothing that was sealed to the earlier devices can be opened here.
    pub fn start_over(&self) -> Result<()> {
        match self.my_log()? {
            None => self.begin_log(),
            Some(user) if user.log().device(&self.device()).is_some() => {
                Err(Error::usage("this device is in the account already; there is nothing to start over"))
            }
            Some(user) => self.append_self(user.log(), |device| UserEvent::IdentityReset { device }),
        }
    }

    /// Begins the user log if there is none; says where this device stands in it otherwise.
    fn take_place(&self) -> Result<Standing> {
        let Some(user) = self.my_log()? else {
            self.begin_log()?;
            return Ok(Standing::First);
        };
        match user.log().device(&self.device()) {
            Some(device) if device.revoked.is_none() => Ok(Standing::Known),
            None => Ok(Standing::Stranger),
            Some(_) => {
                // A device that was revoked stays so. The next sign-in makes new keys.
                self.vault.update(|secrets| {
                    secrets.device = None;
                    secrets.session = None;
                    Ok(())
                })?;
                Err(Error::UnknownDevice)
            }
        }
    }

    fn begin_log(&self) -> Result<()> {
        self.append_self(&UserLog::new(self.profile.user), |device| UserEvent::DeviceAdded { device })
    }

    /// Appends an entry by which this device adds itself, with its prekey.
    fn append_self(&self, log: &UserLog, event: impl Fn(String) -> UserEvent) -> Result<()> {
        let now = system::now();
        let user = self.profile.user;
        let signer = &self.keys.signer;
        let device = signer.sign(&DeviceStatement { user, jwk: *signer.public(), iat: now })?;
        let head = log.head();
        let entry = signer.sign(&UserEntry {
            user,
            seq: head.map_or(0, |head| head.seq.saturating_add(1)),
            prev: head.map(|head| head.hash),
            iat: now,
            event: event(device),
        })?;
        let missing = || Error::Internal { why: "this device has no prekey".to_owned() };
        let prekey = self.keys.current_prekey().ok_or_else(missing)?;
        let prekey =
            signer.sign(&PrekeyStatement { user, kind: PrekeyKind::Signed, key: *prekey.public(), iat: now })?;
        let body = api::AppendToMyLog { entries: vec![entry], prekeys: vec![prekey] };
        let _: api::UserLogHead = self.json(&Request::post("/v1/me/log", &body)?)?;
        // Reading it back verifies and pins it.
        self.my_log().map(drop)
    }
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
