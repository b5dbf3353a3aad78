//! The bodies of requests and answers (sections 8 to 10).

use serde::{Deserialize, Serialize};

use crate::names::Name;
use crate::teamlog::Role;
use crate::{AccountId, Bytes, Code, DeviceId, Envelope, Head, Refusal, SnippetId, TeamId, Time, UserId};

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
        account: Account,
        /// With which device.
        device: MyDevice,
        /// The last entry of the device's user's log; none while the device is in no log.
        head: Option<Head>,
        /// The account's user, for a device that is in no log: what starting over would leave behind. None if the account
        /// has no user yet.
        other: Option<OtherUser>,
        /// Erasures that were asked for: of the device's own user, or of another of the account's.
        erasures: Vec<Erasure>,
    }

    /// An account, as the identity provider describes it. Nothing of it is verified.
    Account {
        /// The service's id.
        id: AccountId,
        /// The identity provider's number of it.
        github_id: u64,
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
        /// In whose log it stands; none if it is in none yet.
        user: Option<UserId>,
        /// Whether it is active there.
        active: bool,
    }

    /// A user of the account whom the device does not speak for.
    OtherUser {
        /// Who.
        user: UserId,
        /// How many active devices they have.
        devices: u64,
        /// Their teams, ascending.
        teams: Vec<OtherTeam>,
    }

    /// A team of a user whom the device does not speak for.
    OtherTeam {
        /// Which.
        team: TeamId,
        /// Their role; none if they wait to be confirmed.
        role: Option<Role>,
        /// How many other members there are.
        others: u64,
        /// Whether another member is an owner.
        other_owner: bool,
    }

    /// The erasure of a user of the account that was asked for.
    Erasure {
        /// Whom.
        user: UserId,
        /// When it was asked for.
        asked_at: Time,
        /// When it is done, unless one of the user's devices objects.
        due_at: Time,
    }

    /// `POST /v1/me/erasures`
    AskErasure {
        /// Whom: a former user of the account.
        user: UserId,
    }

    /// Where a user log stands.
    UserLogHead {
        /// Whose.
        user: UserId,
        /// The last entry.
        head: Head,
    }

    /// An entry of a log with its time of receipt.
    LoggedEntry {
        /// The entry, as it was signed.
        jws: String,
        /// When the service received it.
        received_at: Time,
    }

    /// `GET /v1/me/log`
    MyLog {
        /// The entries of a page.
        entries: Vec<LoggedEntry>,
        /// The last entry of the log; none while it is empty.
        head: Option<Head>,
        /// What the last `name.signed` opens to; none if there is none.
        name: Option<Name>,
        /// The signed prekeys of the active devices: `osmynt-prekey+jws`.
        prekeys: Vec<String>,
    }

    /// `POST /v1/me/log`
    AppendToMyLog {
        /// Entries: `osmynt-user+jws`.
        entries: Vec<String>,
        /// One `osmynt-prekey+jws` for each device that they add.
        prekeys: Vec<String>,
        /// What each `name.signed` among them opens to, in their order.
        names: Vec<Name>,
        /// Whether a log may be founded although the account has a user.
        start_over: bool,
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
        created_at: Time,
        /// When it got its present tokens.
        refreshed_at: Time,
        /// When it ends at the latest.
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

    /// A team of the caller's. Everything else about it is in its log.
    MyTeam {
        /// Which.
        team: TeamId,
        /// Whether the caller waits to be confirmed.
        pending: bool,
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
        /// What the last `name.signed` opens to; none if there is none, or if it was erased.
        name: Option<Name>,
        /// The prekeys of the active devices: `osmynt-prekey+jws`.
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
        /// Those of its envelopes that are for the caller's devices.
        envelopes: Vec<Envelope>,
        /// When it was admitted.
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
    pub account: AccountId,
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
    /// The account was started over: the device founded another user.
    StartedOver,
    /// The erasure of a former user was asked for.
    ErasureAsked,
    /// That was withdrawn, or one of the user's devices objected.
    ErasureWithdrawn,
    /// A former user was erased.
    Erased,
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
