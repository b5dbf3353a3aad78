//! Snippets (section 7): one self-contained immutable object each.

use serde::{Deserialize, Serialize};

#[cfg(doc)]
use crate::labels;
use crate::limits::{SNIPPET_CIPHERTEXT_BYTES, SNIPPET_ENVELOPES_BYTES, STATEMENT_BYTES};
use crate::{Code, Envelope, Hash, Refusal, Result, SealedBox, UserId};

/// The media type of a snippet.
pub const MEDIA_TYPE: &str = "application/vnd.osmynt.snippet";
/// The one suite of this version for header and content: AES-256-GCM.
pub const SUITE: &str = "A256GCM";
/// Content shorter than this is padded to it.
pub const SMALLEST_PADDED: u64 = 256;

/// Who can open a snippet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Audience {
    /// Everybody who has the team key of an epoch.
    Team {
        /// The epoch.
        epoch: u64,
        /// The content key, sealed under a key derived from the team key.
        wrapped: SealedBox,
    },
    /// Named members, and the author.
    Members {
        /// The epoch at which the devices were looked up.
        epoch: u64,
        /// The named members, ascending, without the author.
        members: Vec<UserId>,
        /// Hash of the set of envelopes that stand beside the statement, see [`labels::envelope_set`].
        envelopes: Hash,
    },
}

impl Audience {
    /// The epoch that it names.
    pub const fn epoch(&self) -> u64 {
        match self {
            Self::Team { epoch, .. } | Self::Members { epoch, .. } => *epoch,
        }
    }
}

/// What people want to know of a snippet before they open it. Sealed, and padded with spaces. Members that this version does
/// not know are ignored, so that it can grow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// What the content is.
    pub kind: Kind,
    /// Bytes of content before padding.
    pub size: u64,
    /// What the author calls it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// Programming language, lower case.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
    /// Path below the repository's top, with `/`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Name of the repository.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repository: Option<String>,
    /// Where in the author's file the content stood.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lines: Option<Lines>,
    /// What the content replaces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<Base>,
}

/// What the content of a snippet is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Lines of a text file, or all of them.
    Code,
    /// A unified diff.
    Diff,
    /// Any other file.
    File,
}

/// A range of lines: 1-based, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lines {
    /// The first.
    pub from: u64,
    /// The last.
    pub to: u64,
}

/// The committed state that a piece of code was made on: what a three-way merge starts from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Base {
    /// Git's object id of the whole file, in hexadecimal.
    pub blob: String,
    /// First line of the blob that the content replaces; none with `to` when it replaces the whole file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<u64>,
    /// Last line that it replaces; `from` - 1 when it is inserted before `from`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<u64>,
}

/// A snippet on the wire or in a file (section 7): each of the first two parts is preceded by its length, 4 bytes,
/// big-endian.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Container<'a> {
    /// The `osmynt-snippet+jws`.
    pub statement: &'a str,
    /// JSON: an array of [`Envelope`]. Empty for a snippet to the team.
    pub envelopes: &'a [u8],
    /// The sealed content.
    pub ciphertext: &'a [u8],
}

impl<'a> Container<'a> {
    /// Splits a snippet. `invalid-request` when it is cut short, `too-large` over the limits of section 12.
    pub fn split(snippet: &'a [u8]) -> Result<Self> {
        let (statement, rest) = part(snippet, STATEMENT_BYTES)?;
        let (envelopes, ciphertext) = part(rest, SNIPPET_ENVELOPES_BYTES)?;
        if statement.is_empty() {
            return Err(Refusal::invalid("a snippet begins with its statement"));
        }
        if ciphertext.len() as u64 > SNIPPET_CIPHERTEXT_BYTES {
            return Err(Refusal::new(Code::TooLarge, "a snippet has at most 10 MiB of content"));
        }
        let statement = core::str::from_utf8(statement).map_err(|_| Refusal::invalid("the statement is not text"))?;
        Ok(Self { statement, envelopes, ciphertext })
    }

    /// The envelopes, parsed. `invalid-request` if they are neither absent nor a JSON array of envelopes, at least one.
    pub fn envelopes(&self) -> Result<Vec<Envelope>> {
        parse_envelopes(self.envelopes)
    }
}

/// Parses the envelopes of a snippet. No bytes stand for none; an empty array does not.
pub fn parse_envelopes(json: &[u8]) -> Result<Vec<Envelope>> {
    if json.is_empty() {
        return Ok(Vec::new());
    }
    let envelopes: Vec<Envelope> = serde_json::from_slice(json)
        .map_err(|_| Refusal::invalid("a snippet's envelopes are a JSON array of envelopes"))?;
    if envelopes.is_empty() {
        return Err(Refusal::invalid("a snippet without envelopes has no bytes in their place, not an empty array"));
    }
    Ok(envelopes)
}

/// Reads the length of the next part of a snippet. `too-large` over `limit`.
pub fn part_length(bytes: [u8; 4], limit: usize) -> Result<usize> {
    usize::try_from(u32::from_be_bytes(bytes))
        .ok()
        .filter(|length| *length <= limit)
        .ok_or_else(|| Refusal::new(Code::TooLarge, format!("this part of a snippet has at most {limit} bytes")))
}

/// What stands before the ciphertext: statement and envelopes, each after its length. `too-large` over their limits.
pub fn prefix(statement: &str, envelopes: &[Envelope]) -> Result<Vec<u8>> {
    let json = if envelopes.is_empty() { Vec::new() } else { serde_json::to_vec(envelopes).unwrap_or_default() };
    let mut prefix = Vec::with_capacity(json.len().saturating_add(statement.len()).saturating_add(8));
    for (part, limit) in [(statement.as_bytes(), STATEMENT_BYTES), (json.as_slice(), SNIPPET_ENVELOPES_BYTES)] {
        let length = u32::try_from(part.len())
            .ok()
            .filter(|_| part.len() <= limit)
            .ok_or_else(|| Refusal::new(Code::TooLarge, format!("this part of a snippet has at most {limit} bytes")))?;
        prefix.extend_from_slice(&length.to_be_bytes());
        prefix.extend_from_slice(part);
    }
    Ok(prefix)
}

fn part(bytes: &[u8], limit: usize) -> Result<(&[u8], &[u8])> {
    let cut_short = || Refusal::invalid("the snippet is cut short");
    let (length, rest) = bytes.split_first_chunk::<4>().ok_or_else(cut_short)?;
    rest.split_at_checked(part_length(*length, limit)?).ok_or_else(cut_short)
}

/// The length that content of `length` bytes is padded to: Padmé (Nikitin et al., "Reducing Metadata Leakage
/// from Encrypted Files and Communication with PURBs", 2019) of at least 256 bytes. It grows the content by 12 %
/// at most and lets out O(log log) bits of the length.
pub fn padded_length(length: u64) -> u64 {
    let length = length.max(SMALLEST_PADDED);
    let exponent = u64::BITS.saturating_sub(1).saturating_sub(length.leading_zeros());
    let kept = u32::BITS.saturating_sub(exponent.leading_zeros());
    let mask = (1_u64 << exponent.saturating_sub(kept)).wrapping_sub(1);
    length.saturating_add(mask) & !mask
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn padding_follows_padme() {
        for (length, padded) in [
            (0, 256),
            (1, 256),
            (256, 256),
            (257, 272),
            (272, 272),
            (273, 288),
            (512, 512),
            (513, 544),
            (1000, 1024),
            (1025, 1088),
            (65_536, 65_536),
            (65_537, 67_584),
            (1_000_000, 1_015_808),
            (10 * 1024 * 1024, 10 * 1024 * 1024),
        ] {
            assert_eq!(padded_length(length), padded, "{length}");
        }
    }

    proptest! {
        #[test]
        fn padding_never_shrinks_and_costs_at_most_an_eighth(length in 256_u64..20_000_000) {
            let padded = padded_length(length);
            prop_assert!(padded >= length && padded.abs_diff(length) <= length / 8);
            prop_assert_eq!(padded_length(padded), padded);
        }

        #[test]
        fn no_bytes_make_splitting_panic(bytes: Vec<u8>) {
            let _ = Container::split(&bytes);
        }
    }

    #[test]
    fn a_snippet_splits_where_it_was_joined() {
        let mut snippet = prefix("a.b.c", &[]).unwrap();
        assert_eq!(snippet, b"\0\0\0\x05a.b.c\0\0\0\0");
        snippet.extend_from_slice(b"rest");
        let split = Container::split(&snippet).unwrap();
        assert_eq!((split.statement, split.envelopes, split.ciphertext), ("a.b.c", &b""[..], &b"rest"[..]));
        for cut in [3, 8, 9, 12] {
            assert_eq!(Container::split(&snippet[..cut]).unwrap_err().code, Code::InvalidRequest, "{cut}");
        }
        assert_eq!(Container::split(b"\0\x02\0\0").unwrap_err().code, Code::TooLarge);
        assert_eq!(Container::split(b"\0\0\0\0\0\0\0\0").unwrap_err().code, Code::InvalidRequest);
    }
}
