//! Paths that others give, as far as their spelling tells where they lead.

use std::{fmt, iter};

use osmynt_core::text;

/// A path relative to a repository's top, with `/` between its parts, that stays inside the repository by its
/// spelling alone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RepoPath(String);

/// Why a path was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsafe {
    /// It is empty, or has an empty or `.` part.
    Malformed,
    /// It starts at the root of a file system or at a drive.
    Absolute,
    /// It has a `..` part.
    Parent,
    /// It leads into a `.git` folder, by one of the spellings that some file system takes for `.git`.
    GitFolder,
    /// It has a backslash or a control character, which no portable file name has.
    Character,
    /// A symbolic link on the way leads out of the repository, into its `.git` folder or nowhere.
    Link,
    /// A file stands where the path needs a folder, or a folder where it needs a file.
    NotAFile,
}

impl fmt::Display for Unsafe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "it is not a plain relative path",
            Self::Absolute => "it is absolute",
            Self::Parent => "it has a `..` in it",
            Self::GitFolder => "it leads into a .git folder",
            Self::Character => "it has a character that file names do not have",
            Self::Link => "a symbolic link on the way leads out of the repository",
            Self::NotAFile => "there is a file where it needs a folder, or a folder where it needs a file",
        })
    }
}

impl RepoPath {
    /// Takes `text` when every part of it is an ordinary name.
    pub fn parse(text: &str) -> Result<Self, Unsafe> {
        if text.chars().any(|c| c == '\\' || c.is_control()) {
            return Err(Unsafe::Character);
        }
        if text.starts_with('/') || has_drive(text) {
            return Err(Unsafe::Absolute);
        }
        for part in text.split('/') {
            match part {
                "" | "." => return Err(Unsafe::Malformed),
                ".." => return Err(Unsafe::Parent),
                // Windows drops trailing dots and spaces, which makes `.. ` another spelling of `..`.
                _ if part.trim_end_matches(['.', ' ']).is_empty() => return Err(Unsafe::Parent),
                _ if is_git_folder(part) => return Err(Unsafe::GitFolder),
                _ => {}
            }
        }
        Ok(Self(text.to_owned()))
    }

    /// The path as it was given.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The paths of the files called `name` in the folders that lead to this file, from the top on.
    pub fn in_each_folder(&self, name: &str) -> impl Iterator<Item = Self> {
        let below = self.0.match_indices('/').filter_map(|(at, _)| self.0.get(..=at));
        iter::once("").chain(below).map(move |folder| Self(format!("{folder}{name}")))
    }
}

/// For a sentence: a teammate may have given the name.
impl fmt::Display for RepoPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&text::word(&self.0, usize::MAX))
    }
}

/// `C:` in front makes a path absolute, or relative to another drive, on Windows.
fn has_drive(text: &str) -> bool {
    let mut chars = text.chars();
    chars.next().is_some_and(|c| c.is_ascii_alphabetic()) && chars.next() == Some(':')
}

/// Whether some file system opens `.git` when asked for `part`. The spellings are those that git itself refuses in an
/// index (`verify_path`): letter case; code points that HFS+ ignores; on NTFS the short name, streams and trailing
/// dots and spaces.
pub fn is_git_folder(part: &str) -> bool {
    let folded: String = part
        .chars()
        .filter(
            |c| !matches!(c, '\u{200c}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{206a}'..='\u{206f}' | '\u{feff}'),
        )
        .flat_map(char::to_lowercase)
        .collect();
    let name = folded.split(':').next().unwrap_or_default().trim_end_matches(['.', ' ']);
    name == ".git" || name.strip_prefix("git~").is_some_and(|n| !n.is_empty() && n.chars().all(|c| c.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ordinary_paths_are_taken() {
        for path in [
            "a",
            "src/main.rs",
            "a b/ö.txt",
            ".gitignore",
            ".github/workflows/ci.yml",
            "..a/b..",
            "git~x",
            "...a",
            "ab:c",
        ] {
            assert_eq!(RepoPath::parse(path).as_ref().map(RepoPath::as_str), Ok(path));
        }
    }

    #[test]
    fn paths_that_lead_out_are_refused() {
        for (path, why) in [
            ("", Unsafe::Malformed),
            ("a//b", Unsafe::Malformed),
            ("./a", Unsafe::Malformed),
            ("a/", Unsafe::Malformed),
            ("/etc/passwd", Unsafe::Absolute),
            ("C:/Windows/x", Unsafe::Absolute),
            ("c:x", Unsafe::Absolute),
            ("../a", Unsafe::Parent),
            ("a/../../b", Unsafe::Parent),
            ("a/.. /b", Unsafe::Parent),
            ("a/..../b", Unsafe::Parent),
            ("..\\a", Unsafe::Character),
            ("a\0b", Unsafe::Character),
            ("a\u{1b}[2Jb", Unsafe::Character),
        ] {
            assert_eq!(RepoPath::parse(path), Err(why), "{path:?}");
        }
    }

    #[test]
    fn every_spelling_of_a_git_folder_is_refused() {
        for path in [
            ".git",
            ".git/config",
            "sub/.git/hooks/pre-commit",
            ".GIT/config",
            ".Git /x",
            ".git./x",
            "git~1/config",
            "GIT~2/x",
            ".g\u{200c}it/config",
            ".git::$INDEX_ALLOCATION/x",
        ] {
            assert_eq!(RepoPath::parse(path), Err(Unsafe::GitFolder), "{path:?}");
        }
    }

    /// What the kernel would do with the path, without links: the reference that the parser is held against.
    fn walk(path: &str) -> Option<Vec<String>> {
        let mut at = Vec::new();
        if Path::new(path).is_absolute() {
            return None;
        }
        for part in path.split(['/', '\\']) {
            match part {
                "" | "." => {}
                ".." => {
                    at.pop()?;
                }
                name => at.push(name.to_owned()),
            }
        }
        Some(at)
    }

    fn hostile_path() -> impl Strategy<Value = String> {
        let part = prop_oneof![
            Just("..".to_owned()),
            Just(".".to_owned()),
            Just(String::new()),
            Just(".git".to_owned()),
            Just(".GiT".to_owned()),
            Just("git~1".to_owned()),
            Just("C:".to_owned()),
            Just(".. ".to_owned()),
            "[a-z]{1,4}",
            any::<String>(),
        ];
        (prop::collection::vec(part, 0..6), prop::sample::select(vec!["/", "\\"]))
            .prop_map(|(parts, by)| parts.join(by))
    }

    proptest! {
        #[test]
        fn no_accepted_path_leaves_the_repository(path in hostile_path()) {
            if let Ok(taken) = RepoPath::parse(&path) {
                let parts = walk(taken.as_str());
                prop_assert!(parts.is_some(), "{path:?} leads out");
                let parts = parts.unwrap();
                prop_assert!(!parts.is_empty());
                prop_assert!(parts.iter().all(|part| !part.eq_ignore_ascii_case(".git")), "{path:?} leads into .git");
                prop_assert_eq!(parts.join("/"), path, "an accepted path has one spelling");
            }
        }
    }
}
