//! Signing in: a handshake in the shape of RFC 8628, then the device's place in its user's log.

use crate::{Client, DeviceId, Error, Home, Result, Server, UserId};
use std::time::Duration;

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

/// What the service says about the caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Me {
    /// The user.
    pub user: UserId,
    /// GitHub login.
    pub login: String,
    /// Name on GitHub.
    pub name: Option<String>,
    /// This device.
    pub device: DeviceId,
    /// What it is called.
    pub device_name: String,
    /// Whether it is one of the account's active devices.
    pub active: bool,
    /// How many active devices the (verified) user log has.
    pub devices: usize,
}

impl Handshake {
    /// Starts a sign-in. Makes the device's keys if this home has none yet. `device_name` is 1 to 64 printable characters.
    pub fn start(home: &Home, server: &Server, device_name: &str) -> Result<Self> {
        let _ = (home, server, device_name);
        Err(Error::NotSignedIn)
    }

    /// Polls until the person has confirmed or refused, or the handshake has ended; then keeps the tokens, and begins
    /// the user log if there is none.
    pub fn wait(self) -> Result<(Client, Standing)> {
        Err(Error::NotSignedIn)
    }
}

impl Client {
    /// Asks the service who the caller is, and verifies the caller's user log.
    pub fn me(&self) -> Result<Me> {
        Err(Error::NotSignedIn)
    }

    /// `identity.reset`: every earlier device of the account is revoked, this one is its only device, and the account is
    /// a stranger to its teams until invited again. Nothing that was sealed to the earlier devices can be opened here.
    pub fn start_over(&self) -> Result<()> {
        Err(Error::NotSignedIn)
    }

    /// Forgets the tokens. The device's keys stay, for the next sign-in.
    pub fn sign_out(self) -> Result<()> {
        Err(Error::NotSignedIn)
    }
}
