//! Sealing and opening: every use of AES-256-GCM, HKDF-SHA256 and HPKE in the protocol.
//!
//! Pure functions: keys and randomness come in, sealed things go out. Each key is bound to its purpose by a label of
//! [`osmynt_core::labels`], and a key that came from elsewhere is checked against its signed commitment
//! ([`Key::committed`]) before it is used, because AES-GCM alone lets one ciphertext open under two keys
//! (Albertini et al., "How to Abuse and Fix Authenticated Encryption Without Key Commitment", 2022).

use std::fmt;

use aes_gcm::aead::{Aead as _, KeyInit as _, Payload};
use aes_gcm::{Aes256Gcm, Nonce};
use hkdf::Hkdf;
use hpke::rand_core::{TryCryptoRng, TryRng};
use hpke::{Deserializable as _, Kem as _, OpModeR, OpModeS, Serializable as _};
use osmynt_core::sealed::ENVELOPE_SUITE;
use osmynt_core::snippet::{Header, padded_length};
use osmynt_core::statement::SnippetStatement;
use osmynt_core::{
    Bytes, DeviceId, Envelope, Hash, KeyId, PublicKey, SealedBox, SnippetId, TeamId, b64u, labels, limits, text,
};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use sha2::Sha256;
use zeroize::{Zeroize as _, ZeroizeOnDrop, Zeroizing};

use crate::{Error, Result};

/// Bytes of an AES-GCM tag.
const TAG_BYTES: u64 = 16;

type Kem = hpke::kem::DhP256HkdfSha256;
type Kdf = hpke::kdf::HkdfSha256;
type Aead = hpke::aead::AesGcm256;
type PrivateKey = <Kem as hpke::Kem>::PrivateKey;

/// A symmetric 256-bit key: of a team's epoch, of a snippet, or of the vault. Wiped when dropped.
#[derive(Clone, ZeroizeOnDrop)]
pub struct Key([u8; 32]);

/// The private half of a signed prekey (ECDH P-256). Wiped when dropped.
#[derive(Clone)]
pub struct Prekey {
    secret: PrivateKey,
    public: PublicKey,
}

/// What a snippet consists of before it is signed.
#[derive(Debug)]
pub struct SealedSnippet {
    /// Nonce of the ciphertext.
    pub nonce: Bytes<12>,
    /// The sealed header.
    pub header: SealedBox,
    /// Commitment to the content key.
    pub commitment: Hash,
    /// The padded content, sealed.
    pub ciphertext: Vec<u8>,
}

/// The profile of a team, as it is sealed.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Profile {
    name: String,
}

/// Seals a snippet's content and header (section 7). `nonces` are fresh: for the content and for the header.
///
/// [`Error::Usage`] over 10 MiB of content, or over 4,096 bytes of header.
pub fn seal_snippet(
    key: &Key,
    team: TeamId,
    snippet: SnippetId,
    header: &Header,
    content: &[u8],
    nonces: [[u8; 12]; 2],
) -> Result<SealedSnippet> {
    if content.len() > limits::SNIPPET_CONTENT_BYTES {
        return Err(Error::usage("a snippet has at most 10 MiB"));
    }
    let [for_content, for_header] = nonces;
    let mut padded = Zeroizing::new(content.to_vec());
    // Below 10 MiB the padded length fits any usize.
    padded.resize(usize::try_from(padded_length(content.len() as u64)).unwrap_or(content.len()), 0);
    let header = padded_json(header, limits::SEALED_HEADER_BYTES).ok_or_else(|| {
        Error::usage("title, path, repository and language are too long together: at most 4,096 bytes")
    })?;
    Ok(SealedSnippet {
        ciphertext: seal(&key.0, for_content, labels::snippet_body(team, snippet).as_bytes(), &padded)?,
        header: seal_box(&key.0, for_header, &labels::snippet_header(team, snippet), &header)?,
        nonce: Bytes(for_content),
        commitment: key.commitment(&labels::commit_content_key(team, snippet)),
    })
}

/// Opens the header of a snippet. `key` has been checked against the statement's commitment.
///
/// Lists show the size without the content, so one that the statement's length cannot mean is refused here. The rules
/// bound the length, and the size with it, to 10 MiB.
pub fn open_header(key: &Key, said: &SnippetStatement) -> Result<Header> {
    let label = labels::snippet_header(said.team, said.snippet);
    let plain = open_box(&key.0, &said.header, &label).ok_or_else(|| tampered("the snippet's header does not open"))?;
    let header: Header =
        serde_json::from_slice(&plain).map_err(|_| tampered("the snippet's header is not as specified"))?;
    if padded_length(header.size).checked_add(TAG_BYTES) == Some(said.length) {
        Ok(header)
    } else {
        Err(tampered("the snippet's header states another size than its content has"))
    }
}

/// Opens the content of a snippet and takes off the padding. `key` has been checked against the statement's
/// commitment, and `ciphertext` against its hash and length; `size` is what the header says.
pub fn open_content(key: &Key, said: &SnippetStatement, ciphertext: &[u8], size: u64) -> Result<Zeroizing<Vec<u8>>> {
    let label = labels::snippet_body(said.team, said.snippet);
    let plain = open(&key.0, said.nonce.0, label.as_bytes(), ciphertext)
        .ok_or_else(|| tampered("the snippet's content does not open"))?;
    let mut plain = Zeroizing::new(plain);
    let fits = padded_length(size) == plain.len() as u64;
    let size = usize::try_from(size).ok().filter(|_| fits);
    let padding = size.and_then(|size| plain.get(size..));
    match (size, padding) {
        (Some(size), Some(padding)) if padding.iter().all(|byte| *byte == 0) => {
            plain.truncate(size);
            Ok(plain)
        }
        _ => Err(tampered("the snippet's content is not padded as its header says")),
    }
}

/// Wraps a content key for everybody who has the team key of `epoch`.
pub fn wrap(
    team_key: &Key,
    team: TeamId,
    epoch: u64,
    snippet: SnippetId,
    content_key: &Key,
    nonce: [u8; 12],
) -> Result<SealedBox> {
    let label = labels::wrap(team, epoch, snippet);
    seal_box(&team_key.derive(&label), nonce, &label, &content_key.0)
}

/// Unwraps a content key. The caller checks its commitment.
pub fn unwrap(team_key: &Key, team: TeamId, epoch: u64, snippet: SnippetId, wrapped: &SealedBox) -> Result<Key> {
    let label = labels::wrap(team, epoch, snippet);
    open_box(&team_key.derive(&label), wrapped, &label)
        .and_then(|plain| Key::from_slice(&plain))
        .ok_or_else(|| tampered("the snippet's key does not open with the team's"))
}

/// Seals the team's name under an epoch's key.
pub fn seal_profile(team_key: &Key, team: TeamId, epoch: u64, name: &str, nonce: [u8; 12]) -> Result<SealedBox> {
    let plain = padded_json(&Profile { name: name.to_owned() }, limits::PROFILE_BYTES)
        .ok_or_else(|| Error::usage("the team's name is too long"))?;
    let label = labels::profile(team, epoch);
    seal_box(&team_key.derive(&label), nonce, &label, &plain)
}

/// Opens the team's name; none if whoever sealed it did not do it as specified.
pub fn open_profile(team_key: &Key, team: TeamId, epoch: u64, sealed: &SealedBox) -> Option<String> {
    let label = labels::profile(team, epoch);
    let plain = open_box(&team_key.derive(&label), sealed, &label)?;
    let Profile { name } = serde_json::from_slice(&plain).ok()?;
    text::check_name(&name, limits::TEAM_NAME_CHARS).is_ok().then_some(name)
}

/// What an envelope is for: the part of its label that both ends know.
#[derive(Debug, Clone, Copy)]
pub enum Purpose {
    /// The team key of an epoch.
    TeamKey {
        /// The team.
        team: TeamId,
        /// The epoch.
        epoch: u64,
    },
    /// The content key of a snippet.
    ContentKey {
        /// The team.
        team: TeamId,
        /// The snippet.
        snippet: SnippetId,
    },
}

impl Purpose {
    fn info(self, sender: DeviceId, recipient: DeviceId, prekey: KeyId) -> String {
        match self {
            Self::TeamKey { team, epoch } => labels::envelope_team_key(team, epoch, sender, recipient, prekey),
            Self::ContentKey { team, snippet } => {
                labels::envelope_content_key(team, snippet, sender, recipient, prekey)
            }
        }
    }
}

/// Seals a key to one device's prekey (section 5). `ikm` is 32 fresh random bytes, the `ikmE` of RFC 9180.
pub fn seal_envelope(
    key: &Key,
    purpose: Purpose,
    sender: DeviceId,
    recipient: DeviceId,
    prekey: &PublicKey,
    ikm: &[u8; 32],
) -> Result<Envelope> {
    let id = KeyId(prekey.thumbprint());
    let info = purpose.info(sender, recipient, id);
    let (enc, ct) = hpke_seal(prekey, info.as_bytes(), &[], &key.0, ikm)?;
    Ok(Envelope { device: recipient, prekey: id, suite: ENVELOPE_SUITE.to_owned(), enc: enc.to_vec(), ct })
}

/// Opens an envelope to this device with the prekey that it names. The caller checks the key's commitment.
///
/// [`Error::Tampered`] also for a suite that this version does not know.
pub fn open_envelope(envelope: &Envelope, purpose: Purpose, sender: DeviceId, prekey: &Prekey) -> Result<Key> {
    envelope.check().map_err(|refusal| Error::tampered("a key that was sealed to this device", &refusal))?;
    let info = purpose.info(sender, envelope.device, envelope.prekey);
    hpke_open(prekey, &envelope.enc, info.as_bytes(), &[], &envelope.ct)
        .and_then(|plain| Key::from_slice(&plain))
        .ok_or_else(|| tampered("a key that was sealed to this device does not open"))
}

impl Key {
    /// A new key of 32 fresh random bytes.
    pub const fn new(random: [u8; 32]) -> Self {
        Self(random)
    }

    /// The key's commitment under one of the labels made for it.
    pub fn commitment(&self, label: &str) -> Hash {
        Hash::from_bytes(*self.derive(label))
    }

    /// This key, if it is the one that was committed to.
    pub fn committed(self, label: &str, commitment: &Hash) -> Result<Self> {
        // A commitment is public: comparing it in variable time gives nothing away.
        if self.commitment(label) == *commitment {
            Ok(self)
        } else {
            Err(tampered("a key is not the one that its author has committed to"))
        }
    }

    /// HKDF-SHA256 (RFC 5869) with an empty salt.
    fn derive(&self, info: &str) -> Zeroizing<[u8; 32]> {
        let mut output = Zeroizing::new([0; 32]);
        // Fails only over 255 * 32 bytes of output.
        let expanded = Hkdf::<Sha256>::new(None, &self.0).expand(info.as_bytes(), output.as_mut_slice());
        debug_assert!(expanded.is_ok(), "32 bytes are within what RFC 5869 allows");
        output
    }

    fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    pub(crate) const fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl Prekey {
    /// The key pair that RFC 9180 section 7.1.3 derives from 32 fresh random bytes.
    pub fn derive(ikm: &[u8; 32]) -> Result<Self> {
        let (secret, _) = Kem::derive_keypair(ikm);
        Self::with_secret(secret)
    }

    /// The public half.
    pub const fn public(&self) -> &PublicKey {
        &self.public
    }

    /// Its id: the thumbprint of the public half.
    pub fn id(&self) -> KeyId {
        KeyId(self.public.thumbprint())
    }

    fn from_scalar(scalar: &[u8]) -> Result<Self> {
        let secret = PrivateKey::from_bytes(scalar).map_err(|_| internal("these bytes are no private key"))?;
        Self::with_secret(secret)
    }

    fn with_secret(secret: PrivateKey) -> Result<Self> {
        let public = PublicKey::from_sec1(&Kem::sk_to_pk(&secret).to_bytes())?;
        Ok(Self { secret, public })
    }
}

/// A nonce of fresh random bytes.
pub fn nonce(random: [u8; 32]) -> [u8; 12] {
    let [nonce @ .., _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _] = random;
    nonce
}

/// AES-256-GCM with a random nonce, as a box of JSON.
fn seal_box(key: &[u8; 32], nonce: [u8; 12], label: &str, plain: &[u8]) -> Result<SealedBox> {
    Ok(SealedBox { nonce: Bytes(nonce), ct: seal(key, nonce, label.as_bytes(), plain)? })
}

fn open_box(key: &[u8; 32], sealed: &SealedBox, label: &str) -> Option<Zeroizing<Vec<u8>>> {
    open(key, sealed.nonce.0, label.as_bytes(), &sealed.ct).map(Zeroizing::new)
}

/// AES-256-GCM, for the vault.
pub(crate) fn seal_bytes(key: &Key, nonce: [u8; 12], aad: &[u8], plain: &[u8]) -> Result<Vec<u8>> {
    seal(&key.0, nonce, aad, plain)
}

/// The inverse of [`seal_bytes`]; none when it does not open.
pub(crate) fn open_bytes(key: &Key, nonce: [u8; 12], aad: &[u8], sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    open(&key.0, nonce, aad, sealed).map(Zeroizing::new)
}

pub(crate) fn seal(key: &[u8; 32], nonce: [u8; 12], aad: &[u8], plain: &[u8]) -> Result<Vec<u8>> {
    let payload = Payload { msg: plain, aad };
    Aes256Gcm::new(key.into()).encrypt(&Nonce::from(nonce), payload).map_err(|_| internal("AES-GCM did not seal"))
}

/// None when it does not open: another key, another label, or other bytes.
pub(crate) fn open(key: &[u8; 32], nonce: [u8; 12], aad: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
    let payload = Payload { msg: sealed, aad };
    Aes256Gcm::new(key.into()).decrypt(&Nonce::from(nonce), payload).ok()
}

pub(crate) fn hpke_seal(
    recipient: &PublicKey,
    info: &[u8],
    aad: &[u8],
    plain: &[u8],
    ikm: &[u8; 32],
) -> Result<([u8; 65], Vec<u8>)> {
    let failed = |_| internal("HPKE did not seal");
    let recipient = <Kem as hpke::Kem>::PublicKey::from_bytes(&recipient.to_sec1()).map_err(failed)?;
    let mut ikm = EphemeralIkm { bytes: *ikm, draws: 0 };
    let (enc, ct) =
        hpke::single_shot_seal_with_rng::<Aead, Kdf, Kem>(&OpModeS::Base, &recipient, info, plain, aad, &mut ikm)
            .map_err(failed)?;
    if ikm.draws != 1 {
        // Never with this version of the library. With one that draws otherwise, nothing may be sent.
        return Err(internal("HPKE drew randomness in another way than expected"));
    }
    Ok((enc.to_bytes().into(), ct))
}

pub(crate) fn hpke_open(prekey: &Prekey, enc: &[u8], info: &[u8], aad: &[u8], ct: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let enc = <Kem as hpke::Kem>::EncappedKey::from_bytes(enc).ok()?;
    hpke::single_shot_open::<Aead, Kdf, Kem>(&OpModeR::Base, &prekey.secret, &enc, info, ct, aad)
        .ok()
        .map(Zeroizing::new)
}

/// Gives HPKE the 32 bytes that it makes its ephemeral key of, and counts how often it asks.
struct EphemeralIkm {
    bytes: [u8; 32],
    draws: u32,
}

impl TryRng for EphemeralIkm {
    type Error = core::convert::Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        self.draws = u32::MAX;
        Ok(0)
    }

    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        self.draws = u32::MAX;
        Ok(0)
    }

    fn try_fill_bytes(&mut self, target: &mut [u8]) -> Result<(), Self::Error> {
        self.draws = if target.len() == self.bytes.len() { self.draws.saturating_add(1) } else { u32::MAX };
        for (target, source) in target.iter_mut().zip(self.bytes) {
            *target = source;
        }
        Ok(())
    }
}

impl TryCryptoRng for EphemeralIkm {}

impl Drop for EphemeralIkm {
    fn drop(&mut self) {
        self.bytes.zeroize();
    }
}

/// JSON, padded with spaces to a multiple of 256 bytes; none over `limit`.
fn padded_json(value: &impl Serialize, limit: usize) -> Option<Zeroizing<Vec<u8>>> {
    let mut json = Zeroizing::new(serde_json::to_vec(value).ok()?);
    let padded = json.len().checked_next_multiple_of(limits::PADDING_BLOCK).filter(|padded| *padded <= limit)?;
    json.resize(padded, b' ');
    Some(json)
}

fn tampered(what: &str) -> Error {
    Error::Tampered { what: what.to_owned() }
}

fn internal(why: &str) -> Error {
    Error::Internal { why: why.to_owned() }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(…)")
    }
}

impl fmt::Debug for Prekey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Prekey({})", self.id())
    }
}

impl Serialize for Key {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&Zeroizing::new(b64u::encode(&self.0)))
    }
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Zeroizing::new(String::deserialize(deserializer)?);
        b64u::decode_array(&text).map(Self).map_err(|_| D::Error::custom("not a key"))
    }
}

impl Serialize for Prekey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let scalar = Zeroizing::new(<[u8; 32]>::from(self.secret.to_bytes()));
        serializer.serialize_str(&Zeroizing::new(b64u::encode(scalar.as_slice())))
    }
}

impl<'de> Deserialize<'de> for Prekey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Zeroizing::new(String::deserialize(deserializer)?);
        let scalar = Zeroizing::new(b64u::decode(&text).map_err(|_| D::Error::custom("not a private key"))?);
        Self::from_scalar(&scalar).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use osmynt_core::snippet::Kind;

    fn team(seed: u8) -> TeamId {
        TeamId(Hash::of(&[seed]))
    }

    fn device(seed: u8) -> DeviceId {
        DeviceId(Hash::of(&[seed]))
    }

    fn snippet(last: u8) -> SnippetId {
        format!("0192f3a4-5b6c-7d8e-9f00-1122334455{last:02x}").parse().unwrap()
    }

    fn header(size: u64) -> Header {
        Header {
            kind: Kind::Code,
            size,
            title: Some("a title".to_owned()),
            language: None,
            path: None,
            repository: None,
            lines: None,
            base: None,
        }
    }

    /// A statement around sealed parts; who signed it plays no part in decryption.
    fn said(sealed: &SealedSnippet, team: TeamId, snippet: SnippetId) -> SnippetStatement {
        SnippetStatement {
            suite: osmynt_core::snippet::SUITE.to_owned(),
            team,
            snippet,
            user: osmynt_core::UserId(Hash::of(b"user")),
            audience: osmynt_core::snippet::Audience::Members {
                epoch: 1,
                members: Vec::new(),
                envelopes: labels::envelope_set([]),
            },
            nonce: sealed.nonce,
            header: sealed.header.clone(),
            commitment: sealed.commitment,
            sha256: Hash::of(&sealed.ciphertext),
            length: sealed.ciphertext.len() as u64,
            head: osmynt_core::Head { seq: 1, hash: Hash::of(b"") },
            iat: osmynt_core::Time(0),
            exp: None,
        }
    }

    #[test]
    fn debug_shows_no_key() {
        assert_eq!(format!("{:?}", Key::new([7; 32])), "Key(…)");
        let prekey = Prekey::derive(&[7; 32]).unwrap();
        assert_eq!(format!("{prekey:?}"), format!("Prekey({})", prekey.id()));
    }

    #[test]
    fn an_envelope_opens_only_for_what_it_was_sealed_for() {
        let key = Key::new([1; 32]);
        let (sender, recipient) = (device(1), device(2));
        let prekey = Prekey::derive(&[2; 32]).unwrap();
        let purpose = Purpose::TeamKey { team: team(1), epoch: 3 };
        let envelope = seal_envelope(&key, purpose, sender, recipient, prekey.public(), &[3; 32]).unwrap();
        let opened = open_envelope(&envelope, purpose, sender, &prekey).unwrap();
        assert_eq!(opened.bytes(), key.bytes());

        let other_prekey = Prekey::derive(&[4; 32]).unwrap();
        assert!(open_envelope(&envelope, purpose, sender, &other_prekey).is_err(), "another key");
        assert!(open_envelope(&envelope, purpose, device(3), &prekey).is_err(), "another sender");
        for (what, purpose) in [
            ("another epoch", Purpose::TeamKey { team: team(1), epoch: 4 }),
            ("another team", Purpose::TeamKey { team: team(2), epoch: 3 }),
            ("another purpose", Purpose::ContentKey { team: team(1), snippet: snippet(1) }),
        ] {
            assert!(open_envelope(&envelope, purpose, sender, &prekey).is_err(), "{what}");
        }
        let mut elsewhere = envelope.clone();
        elsewhere.device = device(4);
        assert!(open_envelope(&elsewhere, purpose, sender, &prekey).is_err(), "another recipient");
        let mut flipped = envelope.clone();
        flipped.ct[0] ^= 1;
        assert!(open_envelope(&flipped, purpose, sender, &prekey).is_err(), "flipped");
        let mut unknown = envelope;
        unknown.suite = "X25519-HKDF-SHA256-A256GCM".to_owned();
        assert!(open_envelope(&unknown, purpose, sender, &prekey).is_err(), "another suite");
    }

    #[test]
    fn a_key_is_used_only_if_it_was_committed_to() {
        let label = labels::commit_team_key(team(1), 1);
        let commitment = Key::new([1; 32]).commitment(&label);
        assert!(Key::new([1; 32]).committed(&label, &commitment).is_ok());
        assert!(Key::new([2; 32]).committed(&label, &commitment).is_err());
        assert!(Key::new([1; 32]).committed(&labels::commit_team_key(team(1), 2), &commitment).is_err());
    }

    #[test]
    fn a_snippet_opens_to_what_was_sealed_and_its_length_is_hidden() {
        let key = Key::new([1; 32]);
        let (team, snippet) = (team(1), snippet(1));
        for content in [&b""[..], b"fn main() {}", &[0; 256], &[7; 300], &vec![9; 70_000]] {
            let size = content.len() as u64;
            let sealed = seal_snippet(&key, team, snippet, &header(size), content, [[1; 12], [2; 12]]).unwrap();
            assert_eq!(sealed.ciphertext.len() as u64, padded_length(size) + 16);
            let said = said(&sealed, team, snippet);
            assert_eq!(open_header(&key, &said).unwrap(), header(size));
            assert_eq!(open_content(&key, &said, &sealed.ciphertext, size).unwrap().as_slice(), content);
        }
    }

    #[test]
    fn a_snippet_opens_only_whole_and_in_its_place() {
        let key = Key::new([1; 32]);
        let sealed = seal_snippet(&key, team(1), snippet(1), &header(3), b"abc", [[1; 12], [2; 12]]).unwrap();
        let right = said(&sealed, team(1), snippet(1));
        for (what, wrong) in
            [("another team", said(&sealed, team(2), snippet(1))), ("another id", said(&sealed, team(1), snippet(2)))]
        {
            assert!(open_header(&key, &wrong).is_err(), "{what}");
            assert!(open_content(&key, &wrong, &sealed.ciphertext, 3).is_err(), "{what}");
        }
        assert!(open_content(&Key::new([2; 32]), &right, &sealed.ciphertext, 3).is_err(), "another key");
        let mut flipped = sealed.ciphertext.clone();
        flipped[0] ^= 1;
        assert!(open_content(&key, &right, &flipped, 3).is_err(), "a flipped bit");
        let mut swapped = right.clone();
        swapped.header = SealedBox { nonce: sealed.nonce, ct: sealed.ciphertext.clone() };
        assert!(open_header(&key, &swapped).is_err(), "the content in the place of the header");
    }

    #[test]
    fn content_that_is_longer_or_shorter_than_its_header_says_is_refused() {
        let key = Key::new([1; 32]);
        let sealed = seal_snippet(&key, team(1), snippet(1), &header(3), b"abc", [[1; 12], [2; 12]]).unwrap();
        let said = said(&sealed, team(1), snippet(1));
        for size in [2, 257, u64::MAX] {
            assert!(open_content(&key, &said, &sealed.ciphertext, size).is_err(), "{size}");
        }
    }

    #[test]
    fn a_header_that_states_a_size_which_the_content_cannot_have_is_refused() {
        let key = Key::new([1; 32]);
        for size in [0, 256, 257, 272, 273, (1 << 53) - 1, u64::MAX] {
            let sealed =
                seal_snippet(&key, team(1), snippet(1), &header(size), &[b'x'; 260], [[1; 12], [2; 12]]).unwrap();
            let opened = open_header(&key, &said(&sealed, team(1), snippet(1)));
            if (257..=272).contains(&size) {
                assert_eq!(opened.unwrap(), header(size), "the content tells, once it is there");
            } else {
                assert!(matches!(opened, Err(Error::Tampered { .. })), "{size}");
            }
        }
    }

    #[test]
    fn a_header_that_does_not_fit_is_refused_before_it_is_sealed() {
        let mut long = header(0);
        long.path = Some("x".repeat(4096));
        let refused = seal_snippet(&Key::new([1; 32]), team(1), snippet(1), &long, b"", [[1; 12], [2; 12]]);
        assert!(matches!(refused, Err(Error::Usage { .. })));
    }

    #[test]
    fn a_profile_opens_only_under_its_epoch_and_with_a_name_that_may_be() {
        let key = Key::new([1; 32]);
        let sealed = seal_profile(&key, team(1), 2, "Platform", [1; 12]).unwrap();
        assert_eq!(sealed.ct.len(), 256 + 16, "short and long names look alike");
        assert_eq!(open_profile(&key, team(1), 2, &sealed).as_deref(), Some("Platform"));
        assert_eq!(open_profile(&key, team(1), 3, &sealed), None);
        for name in ["", "Platform\u{ad}", "Platform ", "\u{202e}mroftalP"] {
            let sealed = seal_profile(&key, team(1), 2, name, [1; 12]).unwrap();
            assert_eq!(open_profile(&key, team(1), 2, &sealed), None, "{name:?}");
        }
    }
}
