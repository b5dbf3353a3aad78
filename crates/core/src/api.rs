//! The bodies of requests and answers (sections 8 to 10).

use serde::{Deserialize, Serialize};

use crate::teamlog::{Policy, Role};
use crate::{Bytes, Code, DeviceId, Envelope, Hash, Head, InviteId, Refusal, SnippetId, TeamId, Time, UserId};

macro_rules! body {
    ($($(#[$doc:meta])* $name:ident { $($(#[$field:meta])* $member:ident: $type:ty,)* })*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub struct $name { $($(#[$field])* pub $member: $type,)* }
    )*};
}

body! {
    /// `POST /v1/handshakes`
    StartHandshake {
        /// An `osmynt-handshake+jws`.
        statement: String,
    }

    /// The answer to [`StartHandshake`], with the names of RFC 8628 section 3.2.
    HandshakeStarted {
        /// What the client polls with. A secret.
        device_code: String,
        /// What the person compares.
        user_code: String,
        /// Where the person types it.
        verification_uri: String,
        /// Where the person need not type it.
        verification_uri_complete: String,
        /// Seconds until the handshake ends.
        expires_in: u64,
        /// Seconds to wait between two polls.
        interval: u64,
    }

    /// `GET /v1/me`
    Me {
        /// Who is signed in.
        user: Profile,
        /// With which device.
        device: MyDevice,
        /// The user log; none while it is empty.
        log: Option<UserLogHead>,
    }

    /// What the identity provider says of a user. Nothing of it is verified.
    Profile {
        /// Our id.
        id: UserId,
        /// Login name at the identity provider.
        login: String,
        /// Display name.
        name: Option<String>,
        /// Picture.
        avatar_url: Option<String>,
    }

    /// The device of a session.
    MyDevice {
        /// Which.
        id: DeviceId,
        /// Whether it is active in the user's log.
        active: bool,
    }

    /// Where a user log stands.
    UserLogHead {
        /// The last entry.
        head: Head,
        /// The user's identity.
        identity: Hash,
    }

    /// An entry of a log with its time of receipt.
    LoggedEntry {
        /// The entry, as it was signed.
        jws: String,
        /// When the service received it.
        #[serde(with = "crate::time::rfc3339")]
        received_at: Time,
    }

    /// `GET /v1/me/log`
    MyLog {
        /// The entries of a page.
        entries: Vec<LoggedEntry>,
        /// The last entry of the log; none while it is empty.
        head: Option<Head>,
    }

    /// `POST /v1/me/log`
    AppendToMyLog {
        /// Entries: `osmynt-user+jws`.
        entries: Vec<String>,
        /// One `osmynt-prekey+jws` for each device that they add.
        prekeys: Vec<String>,
    }

    /// `GET /v1/me/sessions`
    MySessions {
        /// The open sessions, newest first.
        sessions: Vec<MySession>,
    }

    /// An open session: a device that is signed in.
    MySession {
        /// Which.
        id: String,
        /// The device.
        device: DeviceId,
        /// What the device called itself when it signed in.
        name: String,
        /// When it signed in.
        #[serde(with = "crate::time::rfc3339")]
        created_at: Time,
        /// When it got its present tokens.
        #[serde(with = "crate::time::rfc3339")]
        refreshed_at: Time,
        /// When it ends at the latest.
        #[serde(with = "crate::time::rfc3339")]
        expires_at: Time,
        /// Whether it is the one that asks.
        current: bool,
    }

    /// `GET /v1/me/events`
    AccountEvents {
        /// Newest first.
        events: Vec<AccountEvent>,
        /// What to ask for next (`cursor`), if there is more.
        next: Option<String>,
    }

    /// Something that happened to the caller's account.
    AccountEvent {
        /// When.
        #[serde(with = "crate::time::rfc3339")]
        at: Time,
        /// What.
        r#type: AccountEventType,
        /// The device that it was about.
        device: Option<DeviceId>,
        /// The session that it was about.
        session: Option<String>,
    }

    /// `PUT /v1/me/prekey`
    RenewPrekey {
        /// An `osmynt-prekey+jws`.
        prekey: String,
    }

    /// `POST /v1/teams`, `POST /v1/teams/{team}/commits`
    Commit {
        /// Entries: `osmynt-team+jws`.
        entries: Vec<String>,
        /// With `key.rotated`, one for each device.
        envelopes: Vec<Envelope>,
    }

    /// The answer to [`Commit`].
    Committed {
        /// The team.
        team: TeamId,
        /// Its log's last entry.
        head: Head,
        /// Its epoch.
        epoch: u64,
    }

    /// `GET /v1/teams`
    MyTeams {
        /// The caller's teams, ascending by id.
        teams: Vec<MyTeam>,
    }

    /// A team of the caller's.
    MyTeam {
        /// Which.
        team: TeamId,
        /// The caller's role.
        role: Role,
        /// Its epoch.
        epoch: u64,
    }

    /// `GET /v1/teams/{team}`
    Team {
        /// Which.
        team: TeamId,
        /// Its log's last entry.
        head: Head,
        /// Its epoch.
        epoch: u64,
        /// Whether somebody has to rotate before anybody can share.
        stale: bool,
        /// Its policy.
        policy: Policy,
        /// Its members, ascending by user.
        members: Vec<TeamMember>,
        /// Its open invitations, ascending by id.
        invites: Vec<OpenInvite>,
    }

    /// A member of a team.
    TeamMember {
        /// Who.
        user: UserId,
        /// With which identity.
        identity: Hash,
        /// In which role.
        role: Role,
        /// Login name at the identity provider; not verified.
        login: String,
        /// Display name; not verified.
        name: Option<String>,
        /// Picture; not verified.
        avatar_url: Option<String>,
    }

    /// An invitation that is open.
    OpenInvite {
        /// Which.
        invite: InviteId,
        /// The role of those who join by it.
        role: Role,
        /// When it ends.
        #[serde(with = "crate::time::rfc3339")]
        exp: Time,
        /// How many may still join by it.
        uses_left: u32,
    }

    /// `GET /v1/teams/{team}/log`
    TeamLog {
        /// The entries of a page.
        entries: Vec<LoggedEntry>,
        /// The last entry of the log.
        head: Head,
    }

    /// `GET /v1/teams/{team}/directory`
    DirectoryPage {
        /// Everybody who is or was a member, ascending.
        users: Vec<DirectoryUser>,
        /// What to ask for next (`after`), if there is more.
        next: Option<UserId>,
    }

    /// A user, as needed to verify them and to seal to them.
    DirectoryUser {
        /// Who.
        user: UserId,
        /// The whole user log.
        log: Vec<LoggedEntry>,
        /// The signed prekeys of the active devices: `osmynt-prekey+jws`.
        prekeys: Vec<String>,
    }

    /// `GET /v1/teams/{team}/envelopes`
    MyEnvelopes {
        /// Ascending by epoch.
        envelopes: Vec<EpochEnvelope>,
        /// What to ask for next (`from`), if there is more.
        next: Option<u64>,
    }

    /// A team key, sealed to the calling device.
    EpochEnvelope {
        /// Which epoch's.
        epoch: u64,
        /// The sealed key.
        envelope: Envelope,
    }

    /// `PUT /v1/teams/{team}/snippets/{snippet}`
    SnippetStored {
        /// Which.
        snippet: SnippetId,
        /// When it was admitted.
        #[serde(with = "crate::time::rfc3339")]
        received_at: Time,
    }

    /// `GET /v1/teams/{team}/snippets`
    SnippetPage {
        /// Newest first.
        snippets: Vec<ListedSnippet>,
        /// What to ask for next (`cursor`), if there is more.
        next: Option<String>,
    }

    /// A snippet in a list.
    ListedSnippet {
        /// Its `osmynt-snippet+jws`.
        statement: String,
        /// When it was admitted.
        #[serde(with = "crate::time::rfc3339")]
        received_at: Time,
    }

    /// RFC 9457, `application/problem+json`.
    Problem {
        /// `urn:osmynt:problem:` and the code.
        r#type: String,
        /// A short text for people.
        title: String,
        /// The HTTP status.
        status: u16,
        /// The code, see [`Code`].
        code: String,
        /// What to tell the caller.
        detail: String,
    }
}

/// `POST /v1/tokens`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "grant_type", deny_unknown_fields)]
pub enum TokenRequest {
    /// RFC 8628 section 3.4.
    #[serde(rename = "urn:ietf:params:oauth:grant-type:device_code")]
    DeviceCode {
        /// From [`HandshakeStarted`].
        device_code: String,
        /// What the challenge was made of.
        verifier: String,
    },
    /// RFC 6749 section 6.
    #[serde(rename = "refresh_token")]
    RefreshToken {
        /// From [`Tokens`], the latest.
        refresh_token: String,
        /// Made anew for each refresh, and sent again with a repetition whose answer was lost.
        idempotency_key: Bytes<16>,
    },
}

/// The answer to [`TokenRequest`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tokens {
    /// `DPoP`: requests prove that they come from the device.
    pub token_type: String,
    /// For `Authorization`.
    pub access_token: String,
    /// Seconds until it ends.
    pub expires_in: u64,
    /// For the next tokens; the one before is worth nothing now.
    pub refresh_token: String,
    /// Seconds until that ends: with the session.
    pub refresh_expires_in: u64,
    /// Who signed in.
    pub user: UserId,
}

/// What can happen to an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AccountEventType {
    /// A device signed in: a session began.
    SignedIn,
    /// A session ended itself.
    SignedOut,
    /// A session was ended by another.
    SessionRevoked,
    /// A refresh token was used twice, so one of the two users had stolen it. The session ended.
    RefreshReused,
    /// A device was added to the user log.
    DeviceAdded,
    /// A device was revoked.
    DeviceRevoked,
    /// The account was started over with this device.
    IdentityReset,
}

impl From<&Refusal> for Problem {
    fn from(refusal: &Refusal) -> Self {
        let code: Code = refusal.code;
        Self {
            r#type: format!("urn:osmynt:problem:{code}"),
            title: code.title().to_owned(),
            status: code.status(),
            code: code.to_string(),
            detail: refusal.detail.clone().into_owned(),
        }
    }
}
