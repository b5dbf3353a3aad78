//! What Osmynt's service and its clients must agree on: formats, identifiers, signed statements, and the
//! rules of the two logs.
//!
//! The service uses this crate to decide what to accept; every client uses the same code to verify what the
//! service says.
//! Nothing here does I/O, reads a clock, draws randomness, checks a signature or decrypts: time
//! and the verdict on a signature come in as arguments, so that the Worker can ask Web Crypto and a native
//! client can ask its own library, and both get the same answer from the same rules.
//!
//! Start reading at [`teamlog`] (who may do what in a team), [`userlog`] (which devices speak for a user) and
//! [`statement`] (how an untrusted string becomes a [`Verified`] statement). `docs/protocol.md` is the
//! specification; section numbers in comments refer to it.
//!
//! Not here: encryption and key storage (`osmynt-client`), routes and storage (the Worker).

pub mod api;
pub mod b64u;
pub mod dpop;
mod error;
mod ids;
mod jwk;
pub mod jws;
pub mod labels;
pub mod limits;
pub mod names;
pub mod sealed;
pub mod snippet;
pub mod statement;
pub mod teamlog;
pub mod text;
pub mod time;
pub mod userlog;

pub use b64u::Bytes;
pub use error::{Code, Refusal};
pub use ids::{AccountId, DeviceId, Hash, Head, InviteId, KeyId, SnippetId, TeamId, UserId};
pub use jwk::PublicKey;
pub use jws::Verifier;
pub use sealed::{Envelope, SealedBox};
pub use statement::{Payload, Unverified, Verified, signing_input};
pub use time::{Time, Window};

/// The result of everything in this crate that can refuse.
pub type Result<T, E = Refusal> = core::result::Result<T, E>;
