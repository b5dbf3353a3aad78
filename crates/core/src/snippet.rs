//! Snippets (section 7): one self-contained immutable object each.

use serde::{Deserialize, Serialize};

use crate::limits::{SNIPPET_CIPHERTEXT_BYTES, STATEMENT_BYTES};
use crate::{Code, Envelope, Refusal, Result, SealedBox, UserId};

/// The media type of a snippet.
pub const MEDIA_TYPE: &str = "application/vnd.osmynt.snippet";
/// The one suite of this version.
pub const SUITE: &str = "P256-HKDF-SHA256-A256GCM";
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
        /// The content key, sealed to each device; ascending by device.
        envelopes: Vec<Envelope>,
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

/// What people want to know of a snippet before they open it. Sealed, and padded with spaces.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
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
#[serde(deny_unknown_fields)]
pub struct Lines {
    /// The first.
    pub from: u64,
    /// The last.
    pub to: u64,
}

/// The committed state that a piece of code was made on: what a three-way merge starts from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
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

/// Splits a snippet into its statement and its ciphertext. `invalid-request` when it is cut short,
/// `too-large` over the limits of section 12.
pub fn split(snippet: &[u8]) -> Result<(&str, &[u8])> {
    let cut_short = || Refusal::invalid("the snippet is cut short");
    let (length, rest) = snippet.split_at_checked(4).ok_or_else(cut_short)?;
    let length = statement_length(length.try_into().map_err(|_| cut_short())?)?;
    let (statement, ciphertext) = rest.split_at_checked(length).ok_or_else(cut_short)?;
    if ciphertext.len() as u64 > SNIPPET_CIPHERTEXT_BYTES {
        return Err(Refusal::new(Code::TooLarge, "a snippet has at most 10 MiB of content"));
    }
    let statement = core::str::from_utf8(statement).map_err(|_| Refusal::invalid("the statement is not text"))?;
    Ok((statement, ciphertext))
}

/// Reads the first four bytes of a snippet: how many bytes of statement follow. `too-large` over 64 KiB,
/// `invalid-request` when there are none.
pub fn statement_length(bytes: [u8; 4]) -> Result<usize> {
    if bytes == [0; 4] {
        return Err(Refusal::invalid("a snippet begins with its statement"));
    }
    usize::try_from(u32::from_be_bytes(bytes))
        .ok()
        .filter(|length| *length <= STATEMENT_BYTES)
        .ok_or_else(|| Refusal::new(Code::TooLarge, "a statement has at most 64 KiB"))
}

/// What stands before the ciphertext: the statement's length and the statement. `too-large` over 64 KiB.
pub fn prefix(statement: &str) -> Result<Vec<u8>> {
    let length = u32::try_from(statement.len())
        .ok()
        .filter(|_| statement.len() <= STATEMENT_BYTES)
        .ok_or_else(|| Refusal::new(Code::TooLarge, "a statement has at most 64 KiB"))?;
    Ok([&length.to_be_bytes(), statement.as_bytes()].concat())
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
        fn no_bytes_make_split_panic(bytes: Vec<u8>) {
            let _ = split(&bytes);
        }
    }

    #[test]
    fn a_snippet_splits_where_it_was_joined() {
        let mut snippet = prefix("a.b.c").unwrap();
        assert_eq!(snippet, b"\0\0\0\x05a.b.c");
        snippet.extend_from_slice(b"rest");
        assert_eq!(split(&snippet).unwrap(), ("a.b.c", &b"rest"[..]));
        assert_eq!(split(&snippet[..8]).unwrap_err().code, Code::InvalidRequest);
        assert_eq!(split(b"\0\x02\0\0").unwrap_err().code, Code::TooLarge);
    }
}
