//! Where a received path may lead: only to files of the recipient's own repository.
//!
//! [`RepoPath`] is the pure half: no accepted text names a place outside the repository or inside a `.git` folder.
//! [`Worktree::locate`] is the half that looks at the disk: no symbolic link on the way leads out.

use osmynt_core::text;
use std::{
    fmt, fs, io,
    path::{Component, Path, PathBuf},
};

/// A path relative to a repository's top, with `/` between its parts, that stays inside the repository by its
/// spelling alone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RepoPath(String);

/// Why a path was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unsafe {
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
    pub(crate) fn parse(text: &str) -> Result<Self, Unsafe> {
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
    pub(crate) fn as_str(&self) -> &str {
        &self.0
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
fn is_git_folder(part: &str) -> bool {
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

/// A repository's files on this machine.
#[derive(Debug)]
pub(crate) struct Worktree {
    top: PathBuf,
    git_folders: Vec<PathBuf>,
}

impl Worktree {
    /// `top` is the top folder, `git_folders` are where git keeps its own data, which may lie inside `top` under any
    /// name.
    pub(crate) fn new(top: &Path, git_folders: &[PathBuf]) -> io::Result<Self> {
        let git_folders = git_folders.iter().map(fs::canonicalize).collect::<Result<_, _>>()?;
        Ok(Self { top: fs::canonicalize(top)?, git_folders })
    }

    /// The place on disk that `path` names, every symbolic link on the way followed, and inside the repository all
    /// the same. The file need not exist.
    pub(crate) fn locate(&self, path: &RepoPath) -> io::Result<Result<PathBuf, Unsafe>> {
        let mut place = self.top.clone();
        let mut parts = path.0.split('/').peekable();
        while let Some(part) = parts.next() {
            place.push(part);
            match fs::symlink_metadata(&place) {
                Ok(found) => {
                    if found.is_symlink() {
                        // A link that leads nowhere would be filled in by a write through it.
                        let Ok(target) = fs::canonicalize(&place) else { return Ok(Err(Unsafe::Link)) };
                        place = target;
                    }
                    if fs::metadata(&place)?.is_dir() != parts.peek().is_some() {
                        return Ok(Err(Unsafe::NotAFile));
                    }
                    if !self.holds(&place) {
                        return Ok(Err(Unsafe::Link));
                    }
                }
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => return Err(e),
            }
        }
        Ok(if self.holds(&place) { Ok(place) } else { Err(Unsafe::Link) })
    }

    /// Whether `place`, which has no symbolic link in it, is one of the repository's files.
    fn holds(&self, place: &Path) -> bool {
        let Ok(inside) = place.strip_prefix(&self.top) else { return false };
        !self.git_folders.iter().any(|folder| place.starts_with(folder))
            && inside.components().all(|part| match part {
                Component::Normal(name) => !name.to_str().is_some_and(is_git_folder),
                _ => false,
            })
    }
}

/// Writes `bytes` to `place`, which [`Worktree::locate`] gave, whole or not at all.
///
/// A new file is created exclusively and an existing one replaced by renaming, so that a link planted at `place`
/// after it was located is replaced or refused, never written through.
pub(crate) fn write(place: &Path, bytes: &[u8]) -> io::Result<()> {
    use io::Write;
    let folder = place.parent().ok_or(io::ErrorKind::InvalidInput)?;
    fs::create_dir_all(folder)?;
    match fs::symlink_metadata(place) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            fs::OpenOptions::new().write(true).create_new(true).open(place)?.write_all(bytes)
        }
        Err(e) => Err(e),
        Ok(present) => {
            let mut next = tempfile::NamedTempFile::new_in(folder)?;
            next.write_all(bytes)?;
            next.as_file().set_permissions(present.permissions())?;
            next.persist(place)?;
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

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

    #[cfg(unix)]
    mod on_disk {
        use super::*;
        use std::os::unix::fs::{PermissionsExt, symlink};

        fn repository() -> (tempfile::TempDir, Worktree) {
            let around = tempfile::tempdir().unwrap();
            let top = around.path().join("repo");
            for folder in ["repo/.git", "repo/src", "outside", "repo/data"] {
                fs::create_dir_all(around.path().join(folder)).unwrap();
            }
            let worktree = Worktree::new(&top, &[top.join(".git"), top.join("data")]).unwrap();
            (around, worktree)
        }

        fn locate(worktree: &Worktree, path: &str) -> Result<PathBuf, Unsafe> {
            worktree.locate(&RepoPath::parse(path).unwrap()).unwrap()
        }

        #[test]
        fn existing_and_new_files_are_found_inside() {
            let (_around, worktree) = repository();
            fs::write(worktree.top.join("src/a"), "a").unwrap();
            assert_eq!(locate(&worktree, "src/a"), Ok(worktree.top.join("src/a")));
            assert_eq!(locate(&worktree, "new/folder/b"), Ok(worktree.top.join("new/folder/b")));
        }

        #[test]
        fn links_that_lead_out_or_into_git_or_nowhere_are_refused() {
            let (around, worktree) = repository();
            symlink(around.path().join("outside"), worktree.top.join("away")).unwrap();
            symlink("../outside/file", worktree.top.join("dangling")).unwrap();
            symlink(".git", worktree.top.join("docs")).unwrap();
            fs::write(around.path().join("outside/secret"), "x").unwrap();
            symlink("../../outside/secret", worktree.top.join("src/secret")).unwrap();
            for path in ["away/x", "dangling", "docs/config", "src/secret"] {
                assert_eq!(locate(&worktree, path), Err(Unsafe::Link), "{path}");
            }
        }

        #[test]
        fn a_git_folder_under_another_name_is_refused() {
            let (_around, worktree) = repository();
            assert_eq!(locate(&worktree, "data/config"), Err(Unsafe::Link));
        }

        #[test]
        fn a_link_that_stays_inside_leads_to_its_target() {
            let (_around, worktree) = repository();
            fs::write(worktree.top.join("src/a"), "a").unwrap();
            symlink("src", worktree.top.join("lib")).unwrap();
            assert_eq!(locate(&worktree, "lib/a"), Ok(worktree.top.join("src/a")));
        }

        #[test]
        fn a_folder_is_not_a_file() {
            let (_around, worktree) = repository();
            fs::write(worktree.top.join("src/a"), "a").unwrap();
            assert_eq!(locate(&worktree, "src"), Err(Unsafe::NotAFile));
            assert_eq!(locate(&worktree, "src/a/b"), Err(Unsafe::NotAFile));
        }

        #[test]
        fn writing_keeps_the_mode_and_never_follows_a_link_planted_meanwhile() {
            let (around, worktree) = repository();
            let place = worktree.top.join("src/run");
            write(&place, b"one").unwrap();
            fs::set_permissions(&place, fs::Permissions::from_mode(0o755)).unwrap();
            write(&place, b"two").unwrap();
            assert_eq!(fs::read(&place).unwrap(), b"two");
            assert_eq!(fs::metadata(&place).unwrap().permissions().mode() & 0o777, 0o755);

            let secret = around.path().join("outside/secret");
            fs::write(&secret, "untouched").unwrap();
            fs::remove_file(&place).unwrap();
            symlink(&secret, &place).unwrap();
            write(&place, b"three").unwrap();
            assert_eq!(fs::read(&secret).unwrap(), b"untouched");
            assert_eq!(fs::read(&place).unwrap(), b"three");
        }
    }
}
