//! Line ranges: which lines of a file, which lines of its last committed version they replace, and how to put them
//! there.
//!
//! Everything here is a function of bytes and numbers. Lines are counted from 1 and end after their `\n`, as git
//! counts them.

use std::str::FromStr;

/// Lines `from` to `to` of a file, both included; `from` ≤ `to`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LineRange {
    /// The first line.
    pub from: u64,
    /// The last line.
    pub to: u64,
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
pub struct BaseRange {
    /// The first line replaced, or before which to insert.
    pub from: u64,
    /// The last line replaced.
    pub to: u64,
}

/// Where the base and the file differ: lines `old` of the base became lines `new` of the file. Both are half-open,
/// `(first, end)`, so that an empty side still has a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hunk {
    /// Of the base.
    pub old: (u64, u64),
    /// Of the file.
    pub new: (u64, u64),
}

/// The hunks of a `git diff -U0` of one file. `None` when a hunk header cannot be read.
pub fn hunks(diff: &[u8]) -> Option<Vec<Hunk>> {
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
pub fn base_of(range: LineRange, hunks: &[Hunk]) -> BaseRange {
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
pub fn count(text: &[u8]) -> u64 {
    u64::try_from(lines(text).count()).unwrap_or(u64::MAX)
}

/// The bytes of `range` of `text`, line ends included. `None` when it has fewer lines.
pub fn select(text: &[u8], range: LineRange) -> Option<Vec<u8>> {
    if range.to > count(text) {
        return None;
    }
    let skipped = usize::try_from(range.from.checked_sub(1)?).ok()?;
    let taken = usize::try_from(range.to).ok()?.checked_sub(skipped)?;
    Some(lines(text).skip(skipped).take(taken).flatten().copied().collect())
}

/// `base` with `range` replaced by `content`. `None` when the base has no such lines.
pub fn replace(base: &[u8], range: BaseRange, content: &[u8]) -> Option<Vec<u8>> {
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
pub enum LineEnds {
    /// `\n`; also a text without line ends.
    Lf,
    /// `\r\n` throughout.
    CrLf,
    /// Some of each: the bytes are taken as they are.
    Mixed,
}

impl LineEnds {
    /// What `text` uses.
    pub fn of(text: &[u8]) -> Self {
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

    /// `text`, which has `\n` alone, with these ends.
    pub fn native(self, text: Vec<u8>) -> Vec<u8> {
        if self == Self::CrLf { to_crlf(&text) } else { text }
    }
}

/// `text` with `\r\n` made `\n`.
pub fn to_lf(text: &[u8]) -> Vec<u8> {
    lines(text)
        .flat_map(|line| line.strip_suffix(b"\r\n").map_or_else(|| line.to_vec(), |l| [l, b"\n"].concat()))
        .collect()
}

/// `text`, which has no `\r\n`, with `\n` made `\r\n`.
fn to_crlf(text: &[u8]) -> Vec<u8> {
    lines(text)
        .flat_map(|line| line.strip_suffix(b"\n").map_or_else(|| line.to_vec(), |l| [l, b"\r\n"].concat()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
