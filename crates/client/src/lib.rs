//! The Osmynt client: everything between a person's command and the service.
//!
//! In scope: keys and where they are kept ([`vault`]), sealing and opening ([`seal`]), talking to the service
//! ([`http`]), verifying what it says ([`logs`]), and the things a person does: [`signin`], [`sessions`], [`account`],
//! [`team`], [`share`].
//! Not in scope: reading arguments and printing (that is the command's), and deciding what a log allows (that is
//! `osmynt-core`'s, the same code that the service runs).
//!
//! **What is verified when.** The service is not trusted (`docs/protocol.md` section 11). Every operation on a team
//! first reads what is new in its log and in its members' user logs, checks signatures, chain and rules from where
//! this home last stood, and refuses logs that do not contain what was verified before. Keys are sealed only to devices
//! found in logs verified that way; keys and snippets are used only after their commitments and signatures were checked.
//! People are shown by what their own devices signed ([`people`]), and every answer is checked against what was asked.
//!
//! Start at [`Client`].

pub mod account;
pub mod commit;
pub mod error;
pub mod home;
pub mod http;
mod index;
pub mod invitation;
pub mod keys;
pub mod logs;
pub mod people;
pub mod seal;
mod session;
pub mod sessions;
pub mod share;
pub mod signin;
mod system;
pub mod team;
mod tokens;
pub mod unlock;
pub mod vault;
#[cfg(test)]
mod vectors;

pub use account::{Deletion, Departure, Fate};
pub use error::{Class, Error, Result};
pub use home::{Home, Keystore, Profile, Server};
pub use osmynt_core::api::{AccountEvent, AccountEventType, Erasure, MySession, OtherTeam, OtherUser};
pub use osmynt_core::snippet::{Base, Header, Kind, Lines};
pub use osmynt_core::teamlog::{Joining, Role};
pub use osmynt_core::{AccountId, DeviceId, InviteId, SnippetId, TeamId, Time, UserId};
pub use people::{Doubt, Person, USER_ID_CHARS};
pub use session::Client;
pub use sessions::SignedOut;
pub use share::{Audience, Draft, Listing, Opened, Recipients, Rejected, Shared, Snippet};
pub use signin::{GitHubName, Handshake, Me, Standing, UnsignedName};
pub use team::{
    INVITATION_LIFETIME, Invitation, Invite, Joined, JoinedAs, Joiner, Member, Outcome, Place, Team, TeamSummary, Was,
};
