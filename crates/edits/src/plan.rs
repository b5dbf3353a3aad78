//! What to do with a file of the recipient's.

use osmynt_core::snippet::{Base, Header};

use crate::lines::{self, BaseRange, LineEnds, LineRange};

/// What to do with a file.
#[derive(Debug, PartialEq, Eq)]
pub enum Plan {
    /// The file is as it should be.
    Nothing,
    /// The file gets this content, whatever it had.
    Write(Vec<u8>),
    /// The file has `present`; the change from `base` to `shared` is to be merged into it.
    /// All three have `\n` where their lines all ended in `\r\n`; the result gets the ends of `present` back by
    /// [`LineEnds::native`].
    Merge {
        /// What the file has.
        present: Vec<u8>,
        /// What the author began with.
        base: Vec<u8>,
        /// The base with the author's change.
        shared: Vec<u8>,
        /// How the lines of the file end.
        ends: LineEnds,
    },
    /// It cannot be done without guessing.
    Refuse(Why),
}

/// Why a plan cannot be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// The file has other content, and what the author began with is not known.
    Differs,
    /// Lines, but what they replace is not known.
    NoBase,
    /// What the author began with is not in this repository.
    BaseMissing,
    /// The lines that are said to be replaced are not lines of what the author began with.
    NoSuchLines,
    /// Lines of a file that is not there.
    FileMissing,
    /// The content is what its base has: there is no change to merge.
    NoChange,
    /// Bytes that cannot be merged.
    Binary,
}

/// Decides what to do with a file that has content `present` (none: there is no such file), when `header` describes
/// `content` and `base` is the blob that the header names, if this repository has it.
pub fn plan(header: &Header, content: &[u8], base: Option<Vec<u8>>, present: Option<Vec<u8>>) -> Plan {
    let range = match &header.base {
        Some(Base { from: Some(from), to: Some(to), .. }) => Some(BaseRange { from: *from, to: *to }),
        None | Some(Base { from: None, to: None, .. }) => None,
        Some(_) => return Plan::Refuse(Why::NoSuchLines),
    };
    let whole = header.lines.is_none() && range.is_none();
    let Some(present) = present else {
        return if whole { Plan::Write(content.to_vec()) } else { Plan::Refuse(Why::FileMissing) };
    };
    if whole && present == content {
        return Plan::Nothing;
    }
    if header.base.is_none() {
        let lines = header.lines.map(|lines| LineRange { from: lines.from, to: lines.to });
        return match lines {
            Some(lines) if lines::select(&present, lines).as_deref() == Some(content) => Plan::Nothing,
            Some(_) => Plan::Refuse(Why::NoBase),
            None => Plan::Refuse(Why::Differs),
        };
    }
    let Some(base) = base else { return Plan::Refuse(Why::BaseMissing) };
    let shared = match range {
        Some(range) => match lines::replace(&lf(&base), range, &lf(content)) {
            Some(shared) => shared,
            None => return Plan::Refuse(Why::NoSuchLines),
        },
        None if present == base => return Plan::Write(content.to_vec()),
        // The lines of the author's file, but no lines of the base: the header contradicts itself.
        None if header.lines.is_some() => return Plan::Refuse(Why::NoBase),
        None => lf(content),
    };
    if [&present, &base, &shared].iter().any(|text| text.contains(&0)) {
        return Plan::Refuse(Why::Binary);
    }
    if shared == lf(&base) {
        return if lf(&present) == shared { Plan::Nothing } else { Plan::Refuse(Why::NoChange) };
    }
    let ends = LineEnds::of(&present);
    Plan::Merge { present: lf(&present), base: lf(&base), shared, ends }
}

/// A text for merging: `\r\n` made `\n` where all lines end so, as git itself does between repository and files on
/// Windows.
fn lf(text: &[u8]) -> Vec<u8> {
    match LineEnds::of(text) {
        LineEnds::CrLf => lines::to_lf(text),
        LineEnds::Lf | LineEnds::Mixed => text.to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use osmynt_core::snippet::{Kind, Lines};

    use super::*;

    const BASE: &[u8] = b"1\n2\n3\n";

    #[allow(clippy::option_option, reason = "no base, a base for the whole file, a base for lines")]
    fn header(lines: Option<(u64, u64)>, base: Option<Option<(u64, u64)>>) -> Header {
        Header {
            kind: Kind::Code,
            size: 0,
            title: None,
            language: None,
            path: Some("f".into()),
            repository: None,
            lines: lines.map(|(from, to)| Lines { from, to }),
            base: base.map(|range| Base { blob: String::new(), from: range.map(|r| r.0), to: range.map(|r| r.1) }),
        }
    }

    fn merge(present: &[u8], base: &[u8], shared: &[u8], ends: LineEnds) -> Plan {
        Plan::Merge { present: present.to_vec(), base: base.to_vec(), shared: shared.to_vec(), ends }
    }

    #[test]
    fn a_whole_file_creates_a_missing_one() {
        for base in [None, Some(None)] {
            assert_eq!(plan(&header(None, base), b"new", None, None), Plan::Write(b"new".to_vec()));
        }
    }

    #[test]
    fn a_whole_file_that_is_there_already_needs_nothing() {
        assert_eq!(plan(&header(None, None), b"same", None, Some(b"same".to_vec())), Plan::Nothing);
        assert_eq!(plan(&header(None, Some(None)), b"same", None, Some(b"same".to_vec())), Plan::Nothing);
    }

    #[test]
    fn without_a_base_a_file_with_other_content_is_never_overwritten() {
        assert_eq!(plan(&header(None, None), b"new", None, Some(b"mine".to_vec())), Plan::Refuse(Why::Differs));
        assert_eq!(
            plan(&header(None, Some(None)), b"new", None, Some(b"mine".to_vec())),
            Plan::Refuse(Why::BaseMissing)
        );
        assert_eq!(plan(&header(Some((2, 2)), None), b"x\n", None, Some(BASE.to_vec())), Plan::Refuse(Why::NoBase));
    }

    #[test]
    fn lines_that_are_there_already_need_nothing() {
        assert_eq!(plan(&header(Some((2, 2)), None), b"2\n", None, Some(BASE.to_vec())), Plan::Nothing);
    }

    #[test]
    fn an_untouched_file_takes_the_whole_of_a_new_one_even_if_binary() {
        assert_eq!(
            plan(&header(None, Some(None)), b"\0b", Some(b"\0a".to_vec()), Some(b"\0a".to_vec())),
            Plan::Write(b"\0b".to_vec())
        );
        assert_eq!(
            plan(&header(None, Some(None)), b"\0b", Some(b"\0a".to_vec()), Some(b"\0c".to_vec())),
            Plan::Refuse(Why::Binary)
        );
    }

    #[test]
    fn lines_are_merged_from_the_base_in_which_they_are_replaced() {
        let header = header(Some((2, 3)), Some(Some((2, 2))));
        let plan = plan(&header, b"two\nmore\n", Some(BASE.to_vec()), Some(b"1\n2\n3\nmine\n".to_vec()));
        assert_eq!(plan, merge(b"1\n2\n3\nmine\n", BASE, b"1\ntwo\nmore\n3\n", LineEnds::Lf));
    }

    #[test]
    fn lines_need_their_base_and_their_file() {
        let header = header(Some((2, 2)), Some(Some((2, 2))));
        assert_eq!(plan(&header, b"x\n", None, Some(BASE.to_vec())), Plan::Refuse(Why::BaseMissing));
        assert_eq!(plan(&header, b"x\n", Some(BASE.to_vec()), None), Plan::Refuse(Why::FileMissing));
        assert_eq!(plan(&header, b"x\n", Some(b"1\n".to_vec()), Some(BASE.to_vec())), Plan::Refuse(Why::NoSuchLines));
    }

    #[test]
    fn lines_as_they_were_committed_are_no_change_to_apply() {
        let header = header(Some((2, 2)), Some(Some((2, 2))));
        assert_eq!(plan(&header, b"2\n", Some(BASE.to_vec()), Some(BASE.to_vec())), Plan::Nothing);
        assert_eq!(plan(&header, b"2\n", Some(BASE.to_vec()), Some(b"1\n3\n".to_vec())), Plan::Refuse(Why::NoChange));
    }

    #[test]
    fn texts_with_other_line_ends_are_merged_in_one_form_and_kept_in_their_own() {
        let header = header(Some((2, 2)), Some(Some((2, 2))));
        let plan = plan(&header, b"two\n", Some(BASE.to_vec()), Some(b"1\r\n2\r\n3\r\n".to_vec()));
        assert_eq!(plan, merge(BASE, BASE, b"1\ntwo\n3\n", LineEnds::CrLf));
    }

    #[test]
    fn a_header_that_contradicts_itself_is_not_applied() {
        let mut header = header(Some((2, 2)), Some(None));
        assert_eq!(plan(&header, b"x", Some(BASE.to_vec()), Some(b"mine".to_vec())), Plan::Refuse(Why::NoBase));
        header.base = Some(Base { blob: String::new(), from: Some(2), to: None });
        assert_eq!(plan(&header, b"x", Some(BASE.to_vec()), Some(b"mine".to_vec())), Plan::Refuse(Why::NoSuchLines));
    }
}
