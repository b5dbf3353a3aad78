//! Signed statements (section 2): JWS in compact serialization, ES256, one `typ` per kind.
//!
//! An outside string becomes an [`Unverified`] statement by parsing, and a [`Verified`] one by [`Unverified::verify`], which
//! is the only place that checks a signature. Rules take `Verified` statements only, so a check cannot be forgotten. What
//! was verified once and comes back from trusted storage says so: [`Verified::stored`].

use core::fmt;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::jws::{self, ALG, Compact, Verifier};
use crate::snippet::Audience;
use crate::teamlog::TeamEvent;
use crate::userlog::UserEvent;
use crate::{
    Bytes, Code, Hash, Head, InviteId, PublicKey, Refusal, Result, SealedBox, SnippetId, TeamId, Time, UserId,
};

/// What a statement says. Each kind has a `typ` of its own, so that one can never pass for another
/// (RFC 8725 section 3.11).
pub trait Payload: Serialize + DeserializeOwned {
    /// The `typ` in the header.
    const TYP: &'static str;
    /// Bytes that a statement of this kind has at most in compact serialization.
    const LIMIT: usize;
}

/// The string that a signer signs: `header.payload`. The statement is this, a dot, and b64u of r ‖ s.
pub fn signing_input<T: Payload>(kid: Hash, payload: &T) -> Result<String> {
    let header = Header { alg: ALG.to_owned(), typ: T::TYP.to_owned(), kid };
    jws::signing_input(&header, payload)
}

/// A statement that is well formed. Nobody has checked its signature yet.
#[derive(Clone)]
pub struct Unverified<T> {
    compact: String,
    signed: usize,
    kid: Hash,
    signature: [u8; 64],
    payload: T,
}

impl<T: Payload> Unverified<T> {
    /// Parses the compact serialization.
    ///
    /// `too-large` over [`Payload::LIMIT`]; `invalid-request` for another `alg` or `typ`, unknown or repeated members,
    /// non-canonical base64url, and whatever else is not as in section 2.
    pub fn parse(compact: &str) -> Result<Self> {
        if compact.len() > T::LIMIT {
            let (typ, limit) = (T::TYP, T::LIMIT);
            return Err(Refusal::new(Code::TooLarge, format!("an {typ} has at most {limit} bytes")));
        }
        let parts = Compact::parse(compact)?;
        let header: Header = serde_json::from_slice(&parts.header)
            .map_err(|_| Refusal::invalid("a statement's header has exactly `alg`, `typ` and `kid`"))?;
        if header.alg != ALG {
            return Err(Refusal::invalid("a statement is signed with ES256"));
        }
        if header.typ != T::TYP {
            return Err(Refusal::invalid(format!("expected a statement of typ {}", T::TYP)));
        }
        let payload = serde_json::from_slice(&parts.payload)
            // Not the error's own text, which repeats what was sent.
            .map_err(|error| {
                let (typ, column) = (T::TYP, error.column());
                Refusal::invalid(format!("the payload of {typ} is not as specified, at column {column}"))
            })?;
        Ok(Self {
            signed: parts.signed.len(),
            kid: header.kid,
            signature: parts.signature,
            payload,
            compact: compact.to_owned(),
        })
    }

    /// Checks the signature with the key that the signer is known by. `bad-signature` if it does not match, or if `kid`
    /// is not the thumbprint of `key`.
    pub async fn verify<V: Verifier>(self, key: &PublicKey, verifier: &V) -> Result<Verified<T>, V::Error> {
        if key.thumbprint() == self.kid && verifier.es256(key, self.signing_input(), &self.signature).await? {
            Ok(Verified(self))
        } else {
            let detail = format!("the signature of an {} does not match", T::TYP);
            Err(Refusal::new(Code::BadSignature, detail).into())
        }
    }
}

impl<T> Unverified<T> {
    /// Thumbprint of the key that is said to have signed.
    pub const fn kid(&self) -> Hash {
        self.kid
    }

    /// What is said. Not to be trusted: nobody has checked who said it.
    pub const fn payload(&self) -> &T {
        &self.payload
    }

    /// The received bytes.
    pub fn compact(&self) -> &str {
        &self.compact
    }

    /// The received bytes that are signed.
    pub fn signing_input(&self) -> &[u8] {
        self.compact.as_bytes().get(..self.signed).unwrap_or_default()
    }

    /// r ‖ s.
    pub const fn signature(&self) -> &[u8; 64] {
        &self.signature
    }

    /// Hash of the statement: of what is signed, never of the signature, which can take many forms.
    pub fn hash(&self) -> Hash {
        Hash::of(self.signing_input())
    }
}

/// A statement whose signature fits the key that `kid` names.
#[derive(Clone)]
pub struct Verified<T>(Unverified<T>);

impl<T: Payload> Verified<T> {
    /// A statement that was verified before it was stored where only the caller writes: nothing is checked again but its
    /// form. Never for what somebody sent.
    pub fn stored(compact: &str) -> Result<Self> {
        Unverified::parse(compact).map(Self)
    }
}

impl<T> Verified<T> {
    /// What is said.
    pub const fn payload(&self) -> &T {
        &self.0.payload
    }

    /// Thumbprint of the key that signed.
    pub const fn kid(&self) -> Hash {
        self.0.kid
    }

    /// The received bytes.
    pub fn compact(&self) -> &str {
        &self.0.compact
    }

    /// Hash of the statement, see [`Unverified::hash`].
    pub fn hash(&self) -> Hash {
        self.0.hash()
    }
}

impl<T: fmt::Debug> fmt::Debug for Unverified<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unverified").field("kid", &self.kid).field("payload", &self.payload).finish_non_exhaustive()
    }
}

impl<T: fmt::Debug> fmt::Debug for Verified<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verified").field("kid", &self.0.kid).field("payload", &self.0.payload).finish_non_exhaustive()
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    alg: String,
    typ: String,
    kid: Hash,
}

macro_rules! payload {
    ($typ:literal, $limit:literal, $(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub struct $name { $($(#[$field_doc])* pub $field: $type,)* }

        impl Payload for $name {
            const TYP: &'static str = $typ;
            const LIMIT: usize = $limit;
        }
    };
}

payload! { "osmynt-handshake+jws", 2048,
    /// A device starts a sign-in (section 9).
    HandshakeStatement {
        /// The device's signing key.
        jwk: PublicKey,
        /// SHA-256 of the verifier that the device will show when it polls (RFC 7636, S256).
        challenge: Hash,
        /// What people call the device.
        name: String,
        /// When it was signed.
        iat: Time,
    }
}

payload! { "osmynt-device+jws", 1024,
    /// A device describes itself (section 3).
    DeviceStatement {
        /// Whose device it is to be; none for the device that founds a log, as the user's id follows from it.
        user: Option<UserId>,
        /// Its signing key; the statement is signed with it.
        jwk: PublicKey,
        /// When it was signed.
        iat: Time,
    }
}

/// What an encryption key may be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PrekeyKind {
    /// Any number of envelopes, until the device replaces it.
    Signed,
}

/// The kind of a prekey, whatever else it says.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct AnyPrekey {
    kind: String,
}

impl Payload for AnyPrekey {
    const TYP: &'static str = PrekeyStatement::TYP;
    // A key of another kind may be longer, but not without end.
    const LIMIT: usize = 8192;
}

/// Parses an `osmynt-prekey+jws`. None if it is of a kind that this version does not know: such a prekey is left out and
/// is no error, so that new kinds can come without breaking earlier clients.
pub fn parse_prekey(compact: &str) -> Result<Option<Unverified<PrekeyStatement>>> {
    let kind = Unverified::<AnyPrekey>::parse(compact)?.payload.kind;
    if serde_json::from_value::<PrekeyKind>(kind.into()).is_err() {
        return Ok(None);
    }
    Unverified::parse(compact).map(Some)
}

payload! { "osmynt-prekey+jws", 1024,
    /// A device publishes one of its encryption keys (section 3).
    PrekeyStatement {
        /// Whose device it is.
        user: UserId,
        /// What the key may be used for.
        kind: PrekeyKind,
        /// The key: ECDH on P-256.
        key: PublicKey,
        /// When it was signed.
        iat: Time,
    }
}

payload! { "osmynt-user+jws", 2048,
    /// An entry of a user log (section 3).
    UserEntry {
        /// Whose log it is; none at the first entry, whose hash is the user's id.
        user: Option<UserId>,
        /// Position in the log.
        seq: u64,
        /// Hash of the entry before; none at the first.
        prev: Option<Hash>,
        /// When it was signed.
        iat: Time,
        /// What happened.
        event: UserEvent,
    }
}

payload! { "osmynt-team+jws", 16_384,
    /// An entry of a team log (section 4).
    TeamEntry {
        /// The team; none at the first entry, whose hash is the team's id.
        team: Option<TeamId>,
        /// Position in the log.
        seq: u64,
        /// Hash of the entry before; none at the first.
        prev: Option<Hash>,
        /// When it was signed.
        iat: Time,
        /// The author.
        user: UserId,
        /// What happened.
        event: TeamEvent,
    }
}

payload! { "osmynt-invite+jws", 1024,
    /// The holder of an invitation vouches for who uses it (section 6).
    InviteProof {
        /// The team to join.
        team: TeamId,
        /// The invitation; its key signs.
        invite: InviteId,
        /// Who uses it.
        user: UserId,
        /// When it was signed.
        iat: Time,
    }
}

payload! { "osmynt-snippet+jws", 16_384,
    /// The statement of a snippet (section 7).
    SnippetStatement {
        /// Which algorithms sealed header and content: always [`SUITE`](crate::snippet::SUITE).
        suite: String,
        /// The team it belongs to.
        team: TeamId,
        /// Its id.
        snippet: SnippetId,
        /// The author.
        user: UserId,
        /// Who can open it.
        audience: Audience,
        /// Nonce of the ciphertext.
        nonce: Bytes<12>,
        /// Title, path and the like, sealed.
        header: SealedBox,
        /// Commitment to the content key.
        commitment: Hash,
        /// SHA-256 of the ciphertext.
        sha256: Hash,
        /// Bytes of the ciphertext.
        length: u64,
        /// The team log's head as the author knew it.
        head: Head,
        /// When it was signed.
        iat: Time,
        /// When it ends, if ever.
        exp: Option<Time>,
    }
}
