//! Line ranges: which lines of a file, which lines of its last committed version they replace, and how to put them
//! there.
//!
//! Everything here is a function of bytes and numbers. Lines are counted from 1 and end after their `\n`, as git
//! counts them.

use std::str::FromStr;

/// Lines `from` to `to` of a file, both included; `from` ≤ `to`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LineRange {
    /// The first line.
    pub(crate) from: u64,
    /// The last line.
    pub(crate) to: u64,
}

impl FromStr for LineRange {
    type Err = &'static str;

    /// `12-40`, or `12` for one line.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (from, to) = text.split_once('-').unwrap_or((text, text));
        let digits = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
        if !digits(from) || !digits(to) {
            return Err("write lines as FROM-TO, for example 12-40");
        }
        match (from.parse(), to.parse()) {
            (Ok(from), Ok(to)) if 1 <= from && from <= to => Ok(Self { from, to }),
            _ => Err("lines are counted from 1, and the first is not after the last"),
        }
    }
}

/// Lines of a base blob that shared lines replace. `to` = `from` − 1 means none: an insertion before `from`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BaseRange {
    /// The first line replaced, or before which to insert.
    pub(crate) from: u64,
    /// The last line replaced.
    pub(crate) to: u64,
}

/// Where the base and the file differ: lines `old` of the base became lines `new` of the file. Both are half-open,
/// `(first, end)`, so that an empty side still has a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hunk {
    old: (u64, u64),
    new: (u64, u64),
}

/// The hunks of a `git diff -U0` of one file. `None` when a hunk header cannot be read.
pub(crate) fn hunks(diff: &[u8]) -> Option<Vec<Hunk>> {
    // With -U0 every other line begins with `+`, `-`, `\` or a word of the header, so `@@ ` is always a hunk's.
    diff.split(|&b| b == b'\n').filter(|line| line.starts_with(b"@@ ")).map(hunk).collect()
}

fn hunk(line: &[u8]) -> Option<Hunk> {
    let line = String::from_utf8_lossy(line);
    let mut words = line.split(' ').skip(1);
    let old = side(words.next()?.strip_prefix('-')?)?;
    let new = side(words.next()?.strip_prefix('+')?)?;
    Some(Hunk { old, new })
}

fn side(text: &str) -> Option<(u64, u64)> {
    let (start, count) = text.split_once(',').unwrap_or((text, "1"));
    let (start, count): (u64, u64) = (start.parse().ok()?, count.parse().ok()?);
    // An empty side names the line before it.
    let first = if count == 0 { start.checked_add(1)? } else { start };
    Some((first, first.checked_add(count)?))
}

/// The lines of the base that `range` of the file replaces, given where the two differ (`hunks`, ascending).
///
/// A border inside a hunk has no counterpart in the base, so it moves out to the border of the hunk: the base then
/// loses all lines that the hunk replaced. Lines deleted right at a border of the range belong to neither side and
/// stay.
pub(crate) fn base_of(range: LineRange, hunks: &[Hunk]) -> BaseRange {
    let end = range.to.saturating_add(1);
    let from = base_border(range.from, hunks, Side::Start);
    BaseRange { from, to: base_border(end, hunks, Side::End).saturating_sub(1) }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Start,
    End,
}

/// The place in the base of the place just before line `at` of the file.
fn base_border(at: u64, hunks: &[Hunk], side: Side) -> u64 {
    let mut base = at;
    for hunk in hunks {
        let deletion_here = hunk.new == (at, at);
        if hunk.new.0 < at && at < hunk.new.1 {
            return if side == Side::Start { hunk.old.0 } else { hunk.old.1 };
        }
        if hunk.new.1 > at || (deletion_here && side == Side::End) {
            break;
        }
        base = hunk.old.1.saturating_add(at.saturating_sub(hunk.new.1));
    }
    base
}

/// How many lines `text` has.
pub(crate) fn count(text: &[u8]) -> u64 {
    u64::try_from(lines(text).count()).unwrap_or(u64::MAX)
}

/// The bytes of `range` of `text`, line ends included. `None` when it has fewer lines.
pub(crate) fn select(text: &[u8], range: LineRange) -> Option<Vec<u8>> {
    if range.to > count(text) {
        return None;
    }
    let skipped = usize::try_from(range.from.checked_sub(1)?).ok()?;
    let taken = usize::try_from(range.to).ok()?.checked_sub(skipped)?;
    Some(lines(text).skip(skipped).take(taken).flatten().copied().collect())
}

/// `base` with `range` replaced by `content`. `None` when the base has no such lines.
pub(crate) fn replace(base: &[u8], range: BaseRange, content: &[u8]) -> Option<Vec<u8>> {
    let before = usize::try_from(range.from.checked_sub(1)?).ok()?;
    let kept_from = usize::try_from(range.to).ok()?;
    if kept_from < before || range.to > count(base) {
        return None;
    }
    let mut text: Vec<u8> = lines(base).take(before).flatten().copied().collect();
    for piece in [content.to_vec(), lines(base).skip(kept_from).flatten().copied().collect()] {
        // Only the last line of a file may lack its end; what follows another line starts on a new one.
        if !piece.is_empty() && text.last().is_some_and(|&b| b != b'\n') {
            text.push(b'\n');
        }
        text.extend(piece);
    }
    Some(text)
}

fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split_inclusive(|&b| b == b'\n')
}

/// How the lines of a text end, so that texts from systems of both kinds can be merged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LineEnds {
    /// `\n`; also a text without line ends.
    Lf,
    /// `\r\n` throughout.
    CrLf,
    /// Some of each: the bytes are taken as they are.
    Mixed,
}

impl LineEnds {
    /// What `text` uses.
    pub(crate) fn of(text: &[u8]) -> Self {
        let (mut lf, mut crlf) = (false, false);
        for line in lines(text) {
            crlf |= line.ends_with(b"\r\n");
            lf |= line.ends_with(b"\n") && !line.ends_with(b"\r\n");
        }
        match (lf, crlf) {
            (_, false) => Self::Lf,
            (false, true) => Self::CrLf,
            (true, true) => Self::Mixed,
        }
    }
}

/// `text` with `\r\n` made `\n`.
pub(crate) fn to_lf(text: &[u8]) -> Vec<u8> {
    lines(text)
        .flat_map(|line| line.strip_suffix(b"\r\n").map_or_else(|| line.to_vec(), |l| [l, b"\n"].concat()))
        .collect()
}

/// `text`, which has no `\r\n`, with `\n` made `\r\n`.
pub(crate) fn to_crlf(text: &[u8]) -> Vec<u8> {
    lines(text)
        .flat_map(|line| line.strip_suffix(b"\n").map_or_else(|| line.to_vec(), |l| [l, b"\r\n"].concat()))
        .collect()
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, reason = "numbers of a few lines")]
mod tests {
    use super::*;
    use crate::{
        git::{Merge, Repository},
        worktree::RepoPath,
    };
    use proptest::prelude::*;

    #[test]
    fn ranges_are_read_as_people_write_them() {
        assert_eq!("12-40".parse(), Ok(LineRange { from: 12, to: 40 }));
        assert_eq!("7".parse(), Ok(LineRange { from: 7, to: 7 }));
        for wrong in
            ["", "-", "3-", "-3", "0-2", "5-4", "a-b", "+1-2", "1-2-3", "99999999999999999999-99999999999999999999"]
        {
            assert!(wrong.parse::<LineRange>().is_err(), "{wrong:?}");
        }
    }

    fn hunk(old: (u64, u64), new: (u64, u64)) -> Hunk {
        Hunk { old, new }
    }

    #[test]
    fn hunk_headers_of_every_shape_are_read() {
        let diff = b"diff --git a/f b/f\nindex 1..2 100644\n--- a/f\n+++ b/f\n@@ -3 +3,2 @@ fn x() {\n-a\n+@@ -1 +1 @@\n@@ -7,2 +8,0 @@\n-b\n@@ -0,0 +1,3 @@\n";
        assert_eq!(hunks(diff), Some(vec![hunk((3, 4), (3, 5)), hunk((7, 9), (9, 9)), hunk((1, 1), (1, 4))]));
        assert_eq!(hunks(b"@@ nonsense @@"), None);
    }

    #[test]
    fn a_range_is_mapped_through_the_hunks_before_it() {
        // Line 3 became two lines; old 7 and 8 were deleted, after new line 8.
        let hunks = [hunk((3, 4), (3, 5)), hunk((7, 9), (8, 8))];
        let base = |from, to| {
            let range = base_of(LineRange { from, to }, &hunks);
            (range.from, range.to)
        };
        assert_eq!(base(1, 2), (1, 2), "before every change");
        assert_eq!(base(5, 6), (4, 5), "after the first change");
        assert_eq!(base(3, 4), (3, 3), "exactly the changed lines");
        assert_eq!(base(4, 5), (3, 4), "from the middle of a change");
        assert_eq!(base(2, 3), (2, 3), "to the middle of a change");
        assert_eq!(base(6, 7), (5, 6), "deleted lines at the border stay");
        assert_eq!(base(8, 8), (9, 9), "deleted lines at the border stay");
        assert_eq!(base(7, 8), (6, 9), "deleted lines inside are replaced too");
    }

    #[test]
    fn new_lines_replace_nothing() {
        let hunks = [hunk((4, 4), (4, 7))];
        assert_eq!(base_of(LineRange { from: 4, to: 6 }, &hunks), BaseRange { from: 4, to: 3 });
        assert_eq!(base_of(LineRange { from: 5, to: 5 }, &hunks), BaseRange { from: 4, to: 3 });
    }

    #[test]
    fn replacing_keeps_lines_apart_even_without_a_last_line_end() {
        let range = |from, to| BaseRange { from, to };
        assert_eq!(replace(b"a\nb\nc\n", range(2, 2), b"B").unwrap(), b"a\nB\nc\n");
        assert_eq!(replace(b"a\nb", range(3, 2), b"c").unwrap(), b"a\nb\nc");
        assert_eq!(replace(b"a\nb\n", range(1, 0), b"z\n").unwrap(), b"z\na\nb\n");
        assert_eq!(replace(b"a\nb\n", range(1, 2), b"").unwrap(), b"");
        assert_eq!(replace(b"", range(1, 0), b"x").unwrap(), b"x");
    }

    #[test]
    fn lines_that_the_base_does_not_have_are_refused() {
        for (from, to) in [(0, 0), (0, 1), (4, 4), (2, 3), (3, 1), (5, 4), (u64::MAX, u64::MAX)] {
            assert_eq!(replace(b"a\nb\n", BaseRange { from, to }, b"x"), None, "{from}-{to}");
        }
        assert_eq!(select(b"a\nb\n", LineRange { from: 2, to: 3 }), None);
    }

    #[test]
    fn line_ends_are_told_and_changed() {
        assert_eq!(LineEnds::of(b"a\nb"), LineEnds::Lf);
        assert_eq!(LineEnds::of(b"a\r\nb\r\n"), LineEnds::CrLf);
        assert_eq!(LineEnds::of(b"a\r\nb\n"), LineEnds::Mixed);
        assert_eq!(to_lf(b"a\r\nb\r\n\r\nc"), b"a\nb\n\nc");
        assert_eq!(to_crlf(b"a\nb\n\nc"), b"a\r\nb\r\n\r\nc");
    }

    /// A text and what an author made of it, line by line. No two lines are alike, so that there is one way only to tell
    /// the two apart, and git finds it.
    fn edited() -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
        let edit = (prop::sample::select(vec![0, 0, 0, 1, 3]), prop::sample::select(vec![true, true, false]));
        (prop::collection::vec(edit, 0..16), 0..3, any::<[bool; 2]>()).prop_map(|(edits, last, ended)| {
            let (mut base, mut file) = (Vec::new(), Vec::new());
            for (line, (inserted, kept)) in edits.into_iter().enumerate() {
                file.extend((0..inserted).map(|n| format!("new {line} {n}")));
                base.push(format!("line {line}"));
                file.extend(kept.then(|| format!("line {line}")));
            }
            file.extend((0..last).map(|n| format!("last {n}")));
            let text = |lines: Vec<String>, ended: bool| match lines.join("\n") {
                text if ended && !text.is_empty() => text + "\n",
                text => text,
            };
            (text(base, ended[0]).into_bytes(), text(file, ended[1]).into_bytes())
        })
    }

    /// What sharing lines is for, held against git itself: whoever has the base gets, by replacing, the author's lines
    /// in their place; and merging that back into the author's file changes nothing, unless the range cut a change.
    fn lands_where_it_came_from(base: &[u8], file: &[u8], range: LineRange) -> Result<(), TestCaseError> {
        let folder = tempfile::tempdir().unwrap();
        let repository = Repository::for_tests(folder.path());
        repository.commit_for_tests("f", base);
        std::fs::write(folder.path().join("f"), file).unwrap();
        let found = hunks(&repository.changes_since_head(&RepoPath::parse("f").unwrap()).unwrap()).unwrap();

        let shared = select(file, range).unwrap();
        let result = replace(base, base_of(range, &found), &shared);
        prop_assert!(result.is_some(), "{range:?} leads out of the base");
        let result = result.unwrap();

        let end = range.to + 1;
        let inside = |at: u64, hunk: &Hunk| hunk.new.0 < at && at < hunk.new.1;
        let deleted_at = |at: u64| found.iter().any(|hunk| hunk.new == (at, at));
        if !found.iter().any(|hunk| inside(range.from, hunk) || inside(end, hunk)) {
            match repository.merge(file, base, &result).unwrap() {
                Merge::Clean(merged) => prop_assert_eq!(merged, file, "sharing back to the author changes nothing"),
                other => prop_assert!(false, "{range:?} of {found:?}: {other:?}"),
            }
        }
        let all = range == LineRange { from: 1, to: count(file) };
        if all && !deleted_at(range.from) && !deleted_at(end) {
            prop_assert_eq!(result, file, "all lines shared make the author's file");
        }
        Ok(())
    }

    proptest! {
        // Each case starts git some five times.
        #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

        #[test]
        fn a_range_mapped_through_a_real_diff_lands_where_it_came_from(
            (base, file) in edited(), (a, b) in (0_u64..30, 0_u64..30),
        ) {
            prop_assume!(!file.is_empty());
            let (a, b) = (a % count(&file) + 1, b % count(&file) + 1);
            lands_where_it_came_from(&base, &file, LineRange { from: a.min(b), to: a.max(b) })?;
        }
    }
}
