//! The key store: one encrypted file that holds every secret of a home.
//!
//! The file `vault` is `osmynt-vault-1` and a line feed ‖ vault id (16 bytes) ‖ nonce (12 bytes) ‖ AES-256-GCM of the
//! JSON of [`Secrets`], with everything before the nonce as associated data. Its key lives in the operating system's
//! key store, as service `osmynt` and with the vault id as the account. Where there is no such store, or where
//! `OSMYNT_KEYSTORE=file` asks for it, the key lives in the file `vault.key`, which only its owner can read: this
//! keeps secrets out of backups of one file and out of a leaked `vault`, and no more.
//!
//! Several processes may use one vault: changes are made under the home's lock and replace the file at once.

use std::collections::BTreeMap;
use std::{fmt, fs, io};

use osmynt_core::{Bytes, TeamId, Time, api, b64u};
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::home::{Home, Keystore};
use crate::keys::DeviceKeys;
use crate::seal::{self, Key};
use crate::{Error, Result, system};

const MAGIC: &[u8] = b"osmynt-vault-1\n";
const VAULT: &str = "vault";
const KEY_FILE: &str = "vault.key";
const SERVICE: &str = "osmynt";

/// An open vault.
#[derive(Debug)]
pub struct Vault {
    home: Home,
    id: [u8; 16],
    key: Key,
}

/// Everything secret. Whatever is added must have a default, so that older vaults open.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Secrets {
    /// This device's keys; none before the first sign-in.
    pub device: Option<DeviceKeys>,
    /// The tokens; none after signing out.
    pub session: Option<Session>,
    /// What is known of each team.
    #[serde(default)]
    pub teams: BTreeMap<TeamId, TeamSecrets>,
}

/// The tokens of a sign-in.
#[derive(Clone, Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
#[serde(deny_unknown_fields)]
pub struct Session {
    /// For requests.
    pub access_token: String,
    /// When it ends, by this machine's clock.
    #[zeroize(skip)]
    pub access_ends: Time,
    /// For the next access token.
    pub refresh_token: String,
    /// When it ends, by this machine's clock.
    #[zeroize(skip)]
    pub refresh_ends: Time,
    /// The key of the refresh that may be under way: kept before it is sent, and until its answer is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[zeroize(skip)]
    pub idempotency_key: Option<Bytes<16>>,
    /// Whether the account was asked to be deleted, and no answer has come yet.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    #[zeroize(skip)]
    pub deleting: bool,
}

impl Session {
    /// From an answer to `POST /v1/tokens` that came just now.
    pub fn new(tokens: api::Tokens, now: Time) -> Result<Self> {
        if !tokens.token_type.eq_ignore_ascii_case("DPoP") {
            return Err(Error::Internal {
                why: "the service gives out tokens of a kind that is not used here".to_owned(),
            });
        }
        Ok(Self {
            access_token: tokens.access_token,
            access_ends: now.plus(tokens.expires_in),
            refresh_token: tokens.refresh_token,
            refresh_ends: now.plus(tokens.refresh_expires_in),
            idempotency_key: None,
            deleting: false,
        })
    }
}

/// What is known of a team and must not be seen by others.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TeamSecrets {
    /// The name, and the position of the log entry that it is from.
    #[serde(default)]
    pub name: Option<KnownName>,
    /// Team keys by epoch.
    #[serde(default)]
    pub keys: BTreeMap<u64, Key>,
}

/// A team's name and where it is from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KnownName {
    /// The name.
    pub name: String,
    /// Position of the entry that it is from, or of the invitation's head.
    pub seq: u64,
    /// Whether an owner or admin vouches for it.
    pub vouched: bool,
}

impl Vault {
    /// Opens the home's vault, and makes one if there is none.
    ///
    /// [`Error::KeyStore`] when the system's key store does not give the key, [`Error::Home`] when the files are not
    /// as they were written.
    pub fn open(home: &Home) -> Result<Self> {
        home.locked(|| match home.read(VAULT)? {
            Some(bytes) => {
                let (id, _) = split(home, &bytes)?;
                let key = find_key(home, &id)?;
                let vault = Self { home: home.clone(), id, key };
                vault.decrypt(&bytes)?;
                Ok(vault)
            }
            None => Self::create(home),
        })
    }

    /// All secrets as they are now.
    pub fn read(&self) -> Result<Secrets> {
        let missing = || self.unusable("has been removed");
        self.decrypt(&self.home.read(VAULT)?.ok_or_else(missing)?)
    }

    /// Changes secrets. No other process reads or changes them meanwhile; either all of the change lasts or none.
    pub fn update<T>(&self, change: impl FnOnce(&mut Secrets) -> Result<T>) -> Result<T> {
        self.home.locked(|| {
            let mut secrets = self.read()?;
            let result = change(&mut secrets)?;
            self.write(&secrets)?;
            Ok(result)
        })
    }

    fn create(home: &Home) -> Result<Self> {
        let id = system::random()?;
        let key = Key::new(system::random()?);
        keep_key(home, &id, &key)?;
        let vault = Self { home: home.clone(), id, key };
        vault.write(&Secrets::default())?;
        Ok(vault)
    }

    fn write(&self, secrets: &Secrets) -> Result<()> {
        let json = serde_json::to_vec(secrets).map(Zeroizing::new);
        let json = json.map_err(|_| Error::Internal { why: "the vault cannot be written as JSON".to_owned() })?;
        let mut bytes = [MAGIC, &self.id].concat();
        let nonce = system::random::<12>()?;
        let sealed = seal::seal_bytes(&self.key, nonce, &bytes, &json)?;
        bytes.extend_from_slice(&nonce);
        bytes.extend_from_slice(&sealed);
        self.home.write(VAULT, &bytes)
    }

    fn decrypt(&self, bytes: &[u8]) -> Result<Secrets> {
        let (id, rest) = split(&self.home, bytes)?;
        let (nonce, sealed) = rest.split_first_chunk::<12>().ok_or_else(|| self.unusable("is cut short"))?;
        if id != self.id {
            return Err(self.unusable("has been replaced"));
        }
        let json = seal::open_bytes(&self.key, *nonce, &[MAGIC, &id].concat(), sealed)
            .ok_or_else(|| self.unusable("does not open with its key"))?;
        serde_json::from_slice(&json).map_err(|_| self.unusable("was written by another version of osmynt"))
    }

    fn unusable(&self, why: &str) -> Error {
        Error::Home { path: self.home.path().join(VAULT), why: why.to_owned() }
    }
}

fn split<'a>(home: &Home, bytes: &'a [u8]) -> Result<([u8; 16], &'a [u8])> {
    let split = bytes.strip_prefix(MAGIC).and_then(<[u8]>::split_first_chunk::<16>);
    let (id, rest) = split.ok_or_else(|| Error::Home {
        path: home.path().join(VAULT),
        why: "is not a vault of this version of osmynt".to_owned(),
    })?;
    Ok((*id, rest))
}

/// The key of an existing vault: in the file if there is one, else in the system's key store.
fn find_key(home: &Home, id: &[u8; 16]) -> Result<Key> {
    let unusable = || Error::Home { path: home.path().join(KEY_FILE), why: "is not a key".to_owned() };
    if home.keystore() != Keystore::System
        && let Some(text) = home.read(KEY_FILE)?.map(Zeroizing::new)
    {
        let text = std::str::from_utf8(&text).map_err(|_| unusable())?;
        return b64u::decode_array(text.trim_end()).map(Key::new).map_err(|_| unusable());
    }
    if home.keystore() == Keystore::File {
        return Err(Error::Home {
            path: home.path().join(KEY_FILE),
            why: "is missing, and with it the key".to_owned(),
        });
    }
    let secret = platform::entry(id).and_then(|entry| entry.get_secret()).map(Zeroizing::new);
    let secret = secret.map_err(|error| Error::KeyStore { why: error.to_string() })?;
    let key = secret.as_slice().try_into().map(Key::new);
    key.map_err(|_| Error::KeyStore { why: "it holds something else in the place of the key".to_owned() })
}

/// Keeps the key of a new vault, and proves that it can be read back.
fn keep_key(home: &Home, id: &[u8; 16], key: &Key) -> Result<()> {
    if home.keystore() != Keystore::File {
        let kept = platform::entry(id).and_then(|entry| {
            entry.set_secret(key.bytes())?;
            entry.get_secret().map(Zeroizing::new)
        });
        match kept {
            Ok(secret) if secret.as_slice() == key.bytes() => return Ok(()),
            Ok(_) if home.keystore() == Keystore::System => {
                return Err(Error::KeyStore { why: "it does not give back what it was given".to_owned() });
            }
            Err(error) if home.keystore() == Keystore::System => {
                return Err(Error::KeyStore { why: error.to_string() });
            }
            // There is none on this machine, or none that answers.
            _ => {}
        }
    }
    let mut text = Zeroizing::new(b64u::encode(key.bytes()));
    text.push('\n');
    home.write(KEY_FILE, text.as_bytes())
}

/// Removes the key of the home's vault from the system's key store, if that is where it is.
pub(crate) fn forget_key(home: &Home) -> Result<()> {
    let in_file = home.keystore() != Keystore::System && home.path().join(KEY_FILE).exists();
    if in_file || home.keystore() == Keystore::File {
        return Ok(());
    }
    let vault = home.path().join(VAULT);
    let bytes = match fs::read(&vault) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        read => read.map_err(|error| Error::Home { path: vault, why: error.to_string() })?,
    };
    // A vault that is none of ours has no key that could be found.
    let Ok((id, _)) = split(home, &bytes) else { return Ok(()) };
    match platform::entry(&id).and_then(|entry| entry.delete_credential()) {
        Ok(()) | Err(keyring_core::Error::NoEntry) => Ok(()),
        Err(error) => Err(Error::KeyStore { why: error.to_string() }),
    }
}

/// The one key store of each platform.
mod platform {
    use keyring_core::{Entry, Result};
    use osmynt_core::b64u;

    pub(super) fn entry(id: &[u8; 16]) -> Result<Entry> {
        build(super::SERVICE, &b64u::encode(id))
    }

    #[cfg(any(target_os = "linux", target_os = "freebsd"))]
    fn build(service: &str, user: &str) -> Result<Entry> {
        use keyring_core::api::CredentialStoreApi as _;
        zbus_secret_service_keyring_store::Store::new()?.build(service, user, None)
    }

    #[cfg(target_os = "macos")]
    fn build(service: &str, user: &str) -> Result<Entry> {
        use keyring_core::api::CredentialStoreApi as _;
        apple_native_keyring_store::keychain::Store::new()?.build(service, user, None)
    }

    #[cfg(windows)]
    fn build(service: &str, user: &str) -> Result<Entry> {
        use keyring_core::api::CredentialStoreApi as _;
        windows_native_keyring_store::Store::new()?.build(service, user, None)
    }

    #[cfg(not(any(target_os = "linux", target_os = "freebsd", target_os = "macos", windows)))]
    fn build(_service: &str, _user: &str) -> Result<Entry> {
        Err(keyring_core::Error::NoDefaultStore)
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("access_ends", &self.access_ends).finish_non_exhaustive()
    }
}
