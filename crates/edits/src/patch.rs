//! What a received patch would touch, read before git is given it.
//!
//! Git has its own checks. These come first, refuse more (symbolic links, submodules), and are held against git's own
//! reading of the patch by [`Patch::covers`], so that the two cannot disagree about which files are meant.

use crate::{RepoPath, Unsafe};
use osmynt_core::text::{EXCERPT_CHARS, quoted};
use std::{collections::BTreeSet, fmt};

/// A patch whose every path is inside the repository and which changes plain files only.
#[derive(Debug, PartialEq, Eq)]
pub struct Patch {
    /// Every path that it reads, writes, removes or renames.
    pub paths: BTreeSet<RepoPath>,
    /// Whether names come without the `a/` and `b/` that git puts in front.
    pub bare_names: bool,
}

/// Why a patch was not taken.
#[derive(Debug, PartialEq, Eq)]
pub enum Refused {
    /// It names no file.
    Empty,
    /// A path leads out of the repository.
    Path(String, Unsafe),
    /// It makes or changes a symbolic link or a submodule.
    Mode(String),
    /// A name or a hunk header cannot be read.
    Unreadable,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("the diff names no file"),
            Self::Path(path, why) => {
                write!(f, "the diff would write to {}: {why}", quoted(path, EXCERPT_CHARS))
            }
            Self::Mode(mode) if mode == "120000" => f.write_str("the diff makes or changes a symbolic link"),
            Self::Mode(mode) if mode == "160000" => f.write_str("the diff makes or changes a submodule"),
            Self::Mode(mode) => {
                write!(f, "the diff makes something that is not a plain file, of mode {}", quoted(mode, EXCERPT_CHARS))
            }
            Self::Unreadable => f.write_str("the diff is damaged"),
        }
    }
}

/// Whether `content` is a unified or git diff: a file header, or git's own, before the first hunk.
pub fn looks_like_one(content: &[u8]) -> bool {
    let mut previous: &[u8] = b"";
    for line in content.split(|&b| b == b'\n') {
        if line.starts_with(b"diff --git ") || (previous.starts_with(b"--- ") && line.starts_with(b"+++ ")) {
            return true;
        }
        previous = line;
    }
    false
}

impl Patch {
    /// Reads the headers of a unified or git diff.
    pub fn read(content: &[u8]) -> Result<Self, Refused> {
        let names = names(content)?;
        if names.is_empty() {
            return Err(Refused::Empty);
        }
        // `git diff` writes `a/` and `b/`, or `i/`, `w/`, `c/`, `o/` with diff.mnemonicPrefix, or nothing with
        // diff.noprefix.
        let bare_names = names.iter().any(|name| name.prefixed && !starts_with_prefix(&name.text));
        let mut paths = BTreeSet::new();
        for name in names {
            let text = match name.text.split_once('/') {
                Some((_, rest)) if name.prefixed && !bare_names => rest,
                _ => &name.text,
            };
            paths.insert(RepoPath::parse(text).map_err(|why| Refused::Path(text.to_owned(), why))?);
        }
        Ok(Self { paths, bare_names })
    }

    /// Whether each of `touched`, which is git's reading of the same patch, is among the paths that were checked.
    pub fn covers(&self, touched: &[String]) -> bool {
        touched.iter().all(|path| self.paths.iter().any(|own| own.as_str() == path))
    }
}

fn starts_with_prefix(name: &str) -> bool {
    name.split_once('/').is_some_and(|(first, _)| matches!(first, "a" | "b" | "c" | "i" | "o" | "w"))
}

struct Name {
    text: String,
    /// Whether git's `a/` or `b/` stands in front (it does not in `rename from` and the like).
    prefixed: bool,
}

/// Every file name in the headers of the patch. Lines of hunks are skipped by their count, as git does.
fn names(content: &[u8]) -> Result<Vec<Name>, Refused> {
    let mut names = Vec::new();
    let mut lines = content.split(|&b| b == b'\n');
    while let Some(line) = lines.next() {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.starts_with(b"@@ -") {
            skip_hunk(line, &mut lines)?;
            continue;
        }
        let Some(header) = Header::of(line)? else { continue };
        match header {
            Header::Mode(mode) if !matches!(mode.as_str(), "100644" | "100755" | "100664") => {
                return Err(Refused::Mode(mode));
            }
            Header::Mode(_) => {}
            Header::Name(text) if text == "/dev/null" => {}
            Header::Name(text) => names.push(Name { text, prefixed: true }),
            Header::Moved(text) => names.push(Name { text, prefixed: false }),
        }
    }
    Ok(names)
}

enum Header {
    Mode(String),
    Name(String),
    Moved(String),
}

impl Header {
    fn of(line: &[u8]) -> Result<Option<Self>, Refused> {
        let after = |prefix: &str| line.strip_prefix(prefix.as_bytes());
        for prefix in ["old mode ", "new mode ", "new file mode ", "deleted file mode "] {
            if let Some(mode) = after(prefix) {
                return Ok(Some(Self::Mode(text(mode)?.trim().to_owned())));
            }
        }
        for prefix in ["rename from ", "rename to ", "rename old ", "rename new ", "copy from ", "copy to "] {
            if let Some(name) = after(prefix) {
                return Ok(Some(Self::Moved(unquoted(name)?)));
            }
        }
        for prefix in ["--- ", "+++ "] {
            if let Some(name) = after(prefix) {
                // A tab ends the name: a time follows, or nothing where the name has a space.
                let name = name.split(|&b| b == b'\t').next().unwrap_or_default();
                return Ok(Some(Self::Name(unquoted(name)?)));
            }
        }
        if let Some(rest) = after("index ") {
            // `index 1234567..89abcde 100644`; without a mode the file's own is kept.
            let mode = text(rest)?.split_whitespace().nth(1).map(str::to_owned);
            return Ok(mode.map(Self::Mode));
        }
        if let Some(rest) = after("diff --git ") {
            return Ok(same_names(rest)?.map(Self::Name));
        }
        Ok(None)
    }
}

/// The name in `diff --git a/name b/name`, for patches that say it nowhere else (a change of mode, an empty file).
/// With two different names there are `rename` or `copy` lines as well.
fn same_names(rest: &[u8]) -> Result<Option<String>, Refused> {
    let middle = rest.len().checked_div(2).unwrap_or_default();
    let (first, second) = rest.split_at_checked(middle).ok_or(Refused::Unreadable)?;
    let Some(second) = second.strip_prefix(b" ") else { return Ok(None) };
    let (first, second) = (unquoted(first)?, unquoted(second)?);
    let bare = |name: &str| {
        if starts_with_prefix(name) {
            name.split_once('/').map(|(_, rest)| rest.to_owned())
        } else {
            Some(name.to_owned())
        }
    };
    Ok((bare(&first) == bare(&second)).then_some(second))
}

/// Passes over as many lines as `@@ -a,b +c,d @@` announces.
fn skip_hunk<'a>(header: &[u8], lines: &mut impl Iterator<Item = &'a [u8]>) -> Result<(), Refused> {
    let header = String::from_utf8_lossy(header);
    let mut words = header.split(' ').skip(1);
    let mut count = |sign: char| -> Option<u64> {
        let word = words.next()?.strip_prefix(sign)?;
        word.split_once(',').map_or(Some(1), |(_, count)| count.parse().ok())
    };
    let (mut old, mut new) = (count('-').ok_or(Refused::Unreadable)?, count('+').ok_or(Refused::Unreadable)?);
    while old > 0 || new > 0 {
        let line = lines.next().ok_or(Refused::Unreadable)?;
        let (removed, added) = match line.first() {
            Some(b'-') => (1, 0),
            Some(b'+') => (0, 1),
            // Some mailers strip the space of an empty context line.
            Some(b' ' | b'\r') | None => (1, 1),
            Some(b'\\') => (0, 0),
            Some(_) => return Err(Refused::Unreadable),
        };
        old = old.checked_sub(removed).ok_or(Refused::Unreadable)?;
        new = new.checked_sub(added).ok_or(Refused::Unreadable)?;
    }
    Ok(())
}

fn text(bytes: &[u8]) -> Result<&str, Refused> {
    std::str::from_utf8(bytes).map_err(|_| Refused::Unreadable)
}

/// A name as git writes it: plain, or in double quotes with C escapes when it has unusual characters.
fn unquoted(name: &[u8]) -> Result<String, Refused> {
    let Some(inner) = name.strip_prefix(b"\"").and_then(|n| n.strip_suffix(b"\"")) else {
        return text(name).map(str::to_owned);
    };
    let mut bytes = Vec::new();
    let mut rest = inner.iter().copied();
    while let Some(byte) = rest.next() {
        if byte != b'\\' {
            bytes.push(byte);
            continue;
        }
        bytes.push(match rest.next().ok_or(Refused::Unreadable)? {
            b'a' => 0x07,
            b'b' => 0x08,
            b't' => b'\t',
            b'n' => b'\n',
            b'v' => 0x0b,
            b'f' => 0x0c,
            b'r' => b'\r',
            plain @ (b'"' | b'\\') => plain,
            high @ b'0'..=b'3' => {
                let mut digit =
                    || rest.next().filter(|d| (b'0'..=b'7').contains(d)).map(|d| d & 7).ok_or(Refused::Unreadable);
                ((high & 7) << 6) | (digit()? << 3) | digit()?
            }
            _ => return Err(Refused::Unreadable),
        });
    }
    String::from_utf8(bytes).map_err(|_| Refused::Unreadable)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(patch: &str) -> Result<Vec<String>, Refused> {
        Patch::read(patch.as_bytes()).map(|patch| patch.paths.iter().map(|path| path.as_str().to_owned()).collect())
    }

    #[test]
    fn diffs_are_told_from_other_text() {
        assert!(looks_like_one(b"diff --git a/x b/x\nold mode 100644\nnew mode 100755\n"));
        assert!(looks_like_one(b"From 12 Mon\nSubject: x\n\n--- a/x\n+++ b/x\n@@ -1 +1 @@\n-a\n+b\n"));
        assert!(!looks_like_one(b"--- title\nbody\n+++ end\n"));
        assert!(!looks_like_one(b"fn main() {}\n"));
        assert!(!looks_like_one(b""));
    }

    #[test]
    fn every_name_in_the_headers_is_seen() {
        let patch = "diff --git a/src/a b/src/a\nindex 1..2 100644\n--- a/src/a\n+++ b/src/a\n@@ -1 +1 @@\n-x\n+y\n\
            diff --git a/old name b/new name\nsimilarity index 100%\nrename from old name\nrename to new name\n\
            diff --git a/gone b/gone\ndeleted file mode 100644\nindex 1..0\n--- a/gone\n+++ /dev/null\n@@ -1 +0,0 @@\n-x\n\
            diff --git a/empty b/empty\nnew file mode 100644\nindex 0..e\n\
            diff --git \"a/t\\303\\266st\" \"b/t\\303\\266st\"\nold mode 100644\nnew mode 100755\n";
        assert_eq!(paths(patch).unwrap(), ["empty", "gone", "new name", "old name", "src/a", "töst"]);
    }

    #[test]
    fn lines_inside_a_hunk_are_not_taken_for_headers() {
        let patch = "--- a/q.sql\n+++ b/q.sql\n@@ -1,3 +1,3 @@\n--- /etc/passwd\n+++ /etc/passwd\n select\n \n";
        assert_eq!(paths(patch).unwrap(), ["q.sql"]);
    }

    #[test]
    fn a_header_after_a_hunk_is_seen_whatever_stands_between() {
        let patch = "--- a/x\n+++ b/x\n@@ -1 +1 @@\n-a\n+b\nnoise\n--- a/../../y\n+++ b/../../y\n@@ -1 +1 @@\n-a\n+b\n";
        assert_eq!(paths(patch), Err(Refused::Path("../../y".into(), Unsafe::Parent)));
    }

    #[test]
    fn paths_out_of_the_repository_are_refused_in_every_header() {
        let refused = |patch: &str| matches!(paths(patch), Err(Refused::Path(..)));
        assert!(refused("--- a/x\n+++ b/../x\n@@ -1 +1 @@\n-a\n+b\n"));
        assert!(refused("--- /dev/null\n+++ b/.git/hooks/pre-commit\n@@ -0,0 +1 @@\n+x\n"));
        assert!(refused("--- /dev/null\n+++ \"b/.git/\\150ooks/x\"\n@@ -0,0 +1 @@\n+x\n"));
        assert!(refused("--- /etc/passwd\n+++ /etc/passwd\n@@ -1 +1 @@\n-a\n+b\n"));
        assert!(refused("diff --git a/x b/y\nsimilarity index 100%\nrename from ../x\nrename to y\n"));
        assert!(refused("diff --git a/x b/y\nsimilarity index 100%\nrename from x\nrename to /y\n"));
        assert!(refused("diff --git a/x b/y\nsimilarity index 100%\ncopy from .git/config\ncopy to y\n"));
        assert!(refused("diff --git a/.git/x b/.git/x\nold mode 100644\nnew mode 100755\n"));
    }

    #[test]
    fn links_and_submodules_are_refused_in_every_header() {
        for (header, mode) in [
            ("new file mode 120000\nindex 0..1\n", "120000"),
            ("deleted file mode 120000\n", "120000"),
            ("old mode 100644\nnew mode 120000\n", "120000"),
            ("index 1..2 120000\n", "120000"),
            ("new file mode 160000\n", "160000"),
            ("index 1..2 160000\n", "160000"),
            ("new file mode 040000\n", "040000"),
        ] {
            let patch = format!("diff --git a/x b/x\n{header}--- a/x\n+++ b/x\n@@ -1 +1 @@\n-a\n+b\n");
            assert_eq!(paths(&patch), Err(Refused::Mode(mode.into())), "{header}");
        }
    }

    #[test]
    fn names_without_prefixes_are_recognised() {
        let bare = Patch::read(b"diff --git src/x src/x\n--- src/x\n+++ src/x\n@@ -1 +1 @@\n-a\n+b\n").unwrap();
        assert!(bare.bare_names);
        assert_eq!(bare.paths.iter().map(RepoPath::as_str).collect::<Vec<_>>(), ["src/x"]);
        assert!(!Patch::read(b"diff --git i/x w/x\n--- i/x\n+++ w/x\n@@ -1 +1 @@\n-a\n+b\n").unwrap().bare_names);
    }

    #[test]
    fn a_patch_that_git_reads_otherwise_is_noticed() {
        let patch = Patch::read(b"--- a/x\n+++ b/x\n@@ -1 +1 @@\n-a\n+b\n").unwrap();
        assert!(patch.covers(&["x".into()]));
        assert!(!patch.covers(&["x".into(), "y".into()]));
    }

    #[test]
    fn damaged_patches_are_refused() {
        for patch in
            ["--- a/x\n+++ b/x\n@@ -1 +1 @@\n-a\n", "--- a/x\n+++ b/x\n@@ -1,9 +1 @@\n?\n", "--- \"a/\\9\"\n+++ b/x\n"]
        {
            assert_eq!(paths(patch), Err(Refused::Unreadable), "{patch:?}");
        }
        assert_eq!(paths("hello\n"), Err(Refused::Empty));
    }

    #[test]
    fn commands_of_other_tools_do_not_confuse_the_reading() {
        assert_eq!(
            paths("Index: x\n=====\n--- x\t2020-01-01\n+++ x\t2020-01-02\n@@ -1 +1 @@\n-a\n+b\n").unwrap(),
            ["x"]
        );
    }
}
