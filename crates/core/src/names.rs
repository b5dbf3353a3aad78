//! Names of people (section 3): what a user's own device signed, and what that opens to.
//!
//! A log only holds a commitment. What it opens to is kept beside the log, so that it can be erased: without it the
//! commitment tells nothing, as it is salted.

use serde::{Deserialize, Serialize};

use crate::{Bytes, Hash, Result, UserId, labels, text};

/// Who vouches that an account is somebody's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Provider {
    /// GitHub, or the GitHub Enterprise Server that the service is configured for.
    GitHub,
}

impl Provider {
    /// As it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::GitHub => "github",
        }
    }
}

/// What a `name.signed` opens to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Name {
    /// Who vouches.
    pub provider: Provider,
    /// The provider's number of the account, which stays when the login changes.
    pub id: u64,
    /// The login, see [`text::check_login`].
    pub login: String,
    /// 32 random bytes.
    pub salt: Bytes<32>,
}

impl Name {
    /// What `name.signed` says of it in the log of a user.
    pub fn commitment(&self, user: UserId) -> Hash {
        labels::name(user, self.provider.as_str(), self.id, &self.login, &self.salt)
    }

    /// Whether a commitment in the log of a user opens to this, and the login may be one. `invalid-request` for the latter.
    pub fn opens(&self, user: UserId, commitment: Hash) -> Result<bool> {
        text::check_login(&self.login)?;
        Ok(self.commitment(user) == commitment)
    }
}
