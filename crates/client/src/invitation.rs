//! The code that people send each other to invite (`docs/protocol.md` section 6). Pure.
//!
//! It is no address, so that no browser, and no service through a page of its own, ever gets the key in it; and it ends with
//! a checksum, so that one that was cut off or mistyped is told from one that is not valid.

use std::fmt;

use base32ct::{Base32Unpadded, Encoding as _};
use osmynt_core::{Hash, Head, TeamId};
use zeroize::Zeroizing;

use crate::{Error, Result};

const PREFIX: &str = "osmynt1";
const VERSION: u8 = 1;
const CHECKSUM_BYTES: usize = 4;
/// More than any code has: 4 bytes of a character of UTF-8, 100 characters, and 255 bytes of an origin.
const LONGEST: usize = 2048;

/// What an invitation's code says.
#[derive(Clone, PartialEq, Eq)]
pub struct Code {
    /// The team to join.
    pub team: TeamId,
    /// The private half of the invitation's key: the scalar, big-endian.
    pub key: Zeroizing<[u8; 32]>,
    /// The head of the team's log that made the invitation.
    pub head: Head,
    /// The origin of the service.
    pub origin: String,
    /// What the team is called.
    pub name: String,
}

impl Code {
    /// As it is sent.
    pub fn write(&self) -> Result<Zeroizing<String>> {
        let too_long = || Error::Internal { why: "the invitation does not fit a code".to_owned() };
        let mut bytes = Zeroizing::new(vec![VERSION]);
        bytes.extend_from_slice(self.team.0.as_bytes());
        bytes.extend_from_slice(self.key.as_slice());
        bytes.extend_from_slice(&u32::try_from(self.head.seq).map_err(|_| too_long())?.to_be_bytes());
        bytes.extend_from_slice(self.head.hash.as_bytes());
        bytes.push(u8::try_from(self.origin.len()).map_err(|_| too_long())?);
        bytes.extend_from_slice(self.origin.as_bytes());
        bytes.extend_from_slice(self.name.as_bytes());
        let checksum = checksum(&bytes);
        bytes.extend_from_slice(&checksum);
        Ok(Zeroizing::new(format!("{PREFIX}{}", *Zeroizing::new(Base32Unpadded::encode_string(&bytes)))))
    }

    /// Reads a code. White space inside is ignored, upper case taken.
    ///
    /// [`Error::Usage`] for what is none, with what is wrong: another kind of text, cut off or mistyped, of another version.
    pub fn read(text: &str) -> Result<Self> {
        let none = || Error::usage("this is not an invitation's code; it begins with osmynt1: copy all of it");
        let broken =
            || Error::usage("the invitation's code is cut off or mistyped; copy all of it, from osmynt1 to its end");
        let later = || Error::usage("the invitation was made by a later version of osmynt; update, and try again");
        let text: Zeroizing<String> =
            Zeroizing::new(text.chars().filter(|c| !c.is_whitespace()).map(|c| c.to_ascii_lowercase()).collect());
        let encoded = text.strip_prefix(PREFIX).ok_or_else(none)?;
        if encoded.len() > LONGEST {
            return Err(broken());
        }
        let bytes = Base32Unpadded::decode_vec(encoded).map(Zeroizing::new).map_err(|_| broken())?;
        // The last character may stand for more bits than the bytes have.
        if *Zeroizing::new(Base32Unpadded::encode_string(&bytes)) != encoded {
            return Err(broken());
        }
        let (content, sum) = bytes.split_last_chunk::<CHECKSUM_BYTES>().ok_or_else(broken)?;
        if *sum != checksum(content) {
            return Err(broken());
        }
        let (version, rest) = content.split_first().ok_or_else(broken)?;
        if *version != VERSION {
            return Err(later());
        }
        Self::parse(rest).ok_or_else(none)
    }

    fn parse(rest: &[u8]) -> Option<Self> {
        let (team, rest) = rest.split_first_chunk::<32>()?;
        let (key, rest) = rest.split_first_chunk::<32>()?;
        let (seq, rest) = rest.split_first_chunk::<4>()?;
        let (hash, rest) = rest.split_first_chunk::<32>()?;
        let (length, rest) = rest.split_first()?;
        let (origin, name) = rest.split_at_checked(usize::from(*length))?;
        let text = |bytes: &[u8]| std::str::from_utf8(bytes).ok().map(str::to_owned);
        Some(Self {
            team: TeamId(Hash::from_bytes(*team)),
            key: Zeroizing::new(*key),
            head: Head { seq: u32::from_be_bytes(*seq).into(), hash: Hash::from_bytes(*hash) },
            origin: text(origin)?,
            name: text(name)?,
        })
    }
}

fn checksum(bytes: &[u8]) -> [u8; CHECKSUM_BYTES] {
    Hash::of(bytes).as_bytes().first_chunk().copied().unwrap_or_default()
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Code").field("team", &self.team).field("origin", &self.origin).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(name: &str) -> Code {
        Code {
            team: TeamId(Hash::of(b"team")),
            key: Zeroizing::new([7; 32]),
            head: Head { seq: 300, hash: Hash::of(b"head") },
            origin: "https://osmynt.example".to_owned(),
            name: name.to_owned(),
        }
    }

    /// What somebody is told of a text that is no code of this version.
    fn refused(text: &str) -> String {
        Code::read(text).unwrap_err().to_string()
    }

    #[test]
    fn a_code_reads_back_as_it_was_written() {
        for name in ["T", "Compilers & friends", "Ünïcödé 名前", &"é".repeat(100)] {
            let written = code(name).write().unwrap();
            assert!(written.starts_with(PREFIX));
            assert_eq!(Code::read(&written).unwrap(), code(name));
        }
    }

    #[test]
    fn white_space_and_upper_case_change_nothing() {
        let written = code("Team").write().unwrap();
        let shouted = written.to_ascii_uppercase();
        let (first, second) = shouted.split_at(100);
        assert_eq!(Code::read(&format!("  {first}\r\n\t {second}\n")).unwrap(), code("Team"));
    }

    #[test]
    fn every_changed_character_and_every_cut_is_noticed() {
        let written = code("Team").write().unwrap();
        for at in 0..written.len() {
            for other in "abcdefghijklmnopqrstuvwxyz234567189-=".chars() {
                let mut changed: Vec<char> = written.chars().collect();
                changed[at] = other;
                let changed: String = changed.into_iter().collect();
                assert_eq!(changed != *written, Code::read(&changed).is_err(), "{other} at {at}");
            }
            let (before, after) = written.split_at(at);
            assert!(Code::read(before).is_err(), "cut at {at}");
            assert!(at == 0 || Code::read(after).is_err(), "cut up to {at}");
        }
        let mut cut = written.to_string();
        cut.pop();
        assert!(refused(&cut).contains("cut off"));
        assert!(Code::read(&format!("{}a", *written)).is_err(), "more behind it");
    }

    #[test]
    fn what_is_no_code_is_told_from_what_is_a_broken_one() {
        for other in ["", "https://osmynt.example/join", "osmynt", "hello"] {
            assert!(refused(other).contains("not an invitation's code"), "{other}");
        }
        assert!(refused(&format!("{PREFIX}{}", "a".repeat(4000))).contains("cut off"));
        let bytes = [2_u8, 0, 0];
        let sealed = [&bytes[..], &checksum(&bytes)].concat();
        assert!(refused(&format!("{PREFIX}{}", Base32Unpadded::encode_string(&sealed))).contains("later version"));
        let bytes = [VERSION, 0, 0];
        let sealed = [&bytes[..], &checksum(&bytes)].concat();
        assert!(refused(&format!("{PREFIX}{}", Base32Unpadded::encode_string(&sealed))).contains("not an invitation"));
    }

    #[test]
    fn debug_shows_no_key() {
        let team = code("Team").team;
        let expected = format!("Code {{ team: {team}, origin: \"https://osmynt.example\", .. }}");
        assert_eq!(format!("{:?}", code("Team")), expected);
    }
}
