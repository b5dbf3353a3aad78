//! Signing in: a handshake in the shape of RFC 8628, then the device's place in its user's log.

use std::time::Duration;

use osmynt_core::api::{self, TokenRequest};
use osmynt_core::statement::{DeviceStatement, HandshakeStatement, PrekeyKind, PrekeyStatement, UserEntry};
use osmynt_core::userlog::{UserEvent, UserLog};
use osmynt_core::{Code, DeviceId, Hash, Time, UserId, b64u, limits};
use zeroize::Zeroizing;

use crate::http::{Http, Request};
use crate::keys::DeviceKeys;
use crate::logs::VerifiedUser;
use crate::vault::{Session, Vault};
use crate::{Client, Error, Home, Profile, Result, Server, system};

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
    /// Starts a sign-in. Makes the device's keys if this home has none yet. `device_name` is 1 to 64 printable characters.
    pub fn start(home: &Home, server: &Server, device_name: &str) -> Result<Self> {
        let characters = device_name.chars().count();
        if !(1..=limits::DEVICE_NAME_CHARS).contains(&characters) || device_name.chars().any(char::is_control) {
            return Err(Error::usage("a device's name has 1 to 64 printable characters"));
        }
        if let Some(profile) = home.profile()?.filter(|profile| profile.server != *server) {
            return Err(Error::OtherAccount { home_of: format!("{} at {}", profile.login, profile.server) });
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
        let http = Http::new(server.clone());
        let started: api::HandshakeStarted =
            http.json(&Request::post_once("/v1/handshakes", &api::StartHandshake { statement })?, None)?;
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
        const LONGER: u64 = 5;
        let request =
            TokenRequest::DeviceCode { device_code: self.device_code.to_string(), verifier: self.verifier.to_string() };
        let mut interval = self.interval.max(1);
        while system::now() < self.ends {
            std::thread::sleep(Duration::from_secs(interval));
            match self.http.json(&Request::post_once("/v1/tokens", &request)?, None) {
                Ok(tokens) => return Ok(tokens),
                Err(Error::Refused { code: Code::AuthorizationPending, .. } | Error::Unavailable { .. }) => {}
                Err(Error::Refused { code: Code::SlowDown, .. }) => interval = interval.saturating_add(LONGER),
                Err(Error::Refused { code: Code::AccessDenied, .. }) => return Err(Error::SignInDenied),
                Err(Error::Refused { code: Code::ExpiredToken, .. }) => return Err(Error::SignInExpired),
                Err(error) => return Err(error),
            }
        }
        Err(Error::SignInExpired)
    }

    fn accept(self, tokens: api::Tokens) -> Result<(Client, Standing)> {
        let incomplete = || Error::Internal { why: "the service's answer lacks the refresh token".to_owned() };
        let now = system::now();
        let session = Session {
            access_token: tokens.access_token,
            access_ends: now.plus(tokens.expires_in),
            refresh_token: tokens.refresh_token.ok_or_else(incomplete)?,
            refresh_ends: now.plus(tokens.refresh_expires_in.ok_or_else(incomplete)?),
        };
        let earlier = self.home.profile()?;
        if let Some(profile) = earlier.filter(|profile| profile.user != tokens.user) {
            return Err(Error::OtherAccount { home_of: format!("{} at {}", profile.login, profile.server) });
        }
        let me: api::Me = self.http.json(&Request::get("/v1/me"), Some(&session.access_token))?;
        let profile = Profile {
            server: self.server,
            user: tokens.user,
            login: me.user.login,
            device: DeviceId(self.keys.signer.kid()),
            device_name: self.device_name,
        };
        self.vault.update(|secrets| {
            secrets.session = Some(session);
            Ok(())
        })?;
        self.home.set_profile(&profile)?;
        let client = Client { home: self.home, vault: self.vault, http: self.http, profile, keys: self.keys };
        let standing = client.take_place()?;
        Ok((client, standing))
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

    /// Forgets the tokens. The device's keys stay, for the next sign-in.
    pub fn sign_out(self) -> Result<()> {
        self.vault.update(|secrets| {
            secrets.session = None;
            Ok(())
        })
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
