//! Where a received path may lead: only to files of the recipient's own repository.
//!
//! [`RepoPath`] is the pure half: no accepted text names a place outside the repository or inside a `.git` folder.
//! [`Worktree::locate`] is the half that looks at the disk: no symbolic link on the way leads out.
//!
//! Names are not looked at first and used later, since another program may swap a folder for a link in between. The
//! top folder is opened once, and everything below it through the open folder that it is in.

use cap_fs_ext::{DirExt, FollowSymlinks, MetadataExt, OpenOptionsFollowExt};
use cap_std::{
    ambient_authority,
    fs::{Dir, Metadata, OpenOptions, Permissions},
};
use cap_tempfile::TempFile;
use osmynt_core::text;
use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    fmt, fs,
    io::{self, Read, Write},
    iter, mem,
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

    /// The paths of the files called `name` in the folders that lead to this file, from the top on.
    pub(crate) fn in_each_folder(&self, name: &str) -> impl Iterator<Item = Self> {
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

/// A work tree: the files of a repository on this machine, or a copy of some of them.
#[derive(Debug)]
pub(crate) struct Worktree {
    path: PathBuf,
    top: Dir,
    git_folders: Vec<FolderId>,
}

/// The device and the number of a folder, which are the same by whatever name it was opened.
type FolderId = (u64, u64);

/// Whether symbolic links on the way to a file may be followed, as long as they stay inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Links {
    /// Yes.
    Follow,
    /// No: the path must name the file by its own name.
    Refuse,
}

/// More links than this on the way to one file are a loop, as Linux has it.
const MOST_LINKS: u8 = 40;

/// The content of a file and its permissions; none where there is no file.
pub(crate) type Held = Option<(Vec<u8>, Permissions)>;

/// Files by their paths.
pub(crate) type Files = BTreeMap<RepoPath, Held>;

impl Worktree {
    /// `top` is the top folder, `git_folders` are where git keeps its own data, which may lie inside `top` under any
    /// name.
    pub(crate) fn new(top: &Path, git_folders: &[&Path]) -> io::Result<Self> {
        let path = fs::canonicalize(top)?;
        let open = |folder: &Path| Dir::open_ambient_dir(folder, ambient_authority());
        let top = open(&path)?;
        let git_folders = git_folders.iter().map(|folder| id(&open(folder)?)).collect::<io::Result<_>>()?;
        Ok(Self { path, top, git_folders })
    }

    /// The file that `path` names, or the place for it. The file need not exist, nor the folders that lead to it.
    ///
    /// Every folder is opened from the one above it, and never through a link: a link is read, and the names in it are
    /// walked in the same way.
    pub(crate) fn locate(&self, path: &RepoPath, links: Links) -> io::Result<Result<Place, Unsafe>> {
        let mut place = Place { top: self.top.try_clone()?, folders: vec![], missing: vec![], name: OsString::new() };
        // The names still to be walked, the next one last, and whether a link gave them.
        let mut names: Vec<(OsString, bool)> = path.0.split('/').rev().map(|name| (name.into(), false)).collect();
        let mut links_left = 0..MOST_LINKS;
        while let Some((name, from_link)) = names.pop() {
            if name == ".." {
                if place.folders.pop().is_none() {
                    return Ok(Err(Unsafe::Link));
                }
                continue;
            }
            // The path itself has no such name, but a link may.
            if name.to_str().is_some_and(is_git_folder) {
                return Ok(Err(Unsafe::Link));
            }
            match place.look(&name)? {
                // A link that leads nowhere would be filled in by a write through it.
                None if from_link => return Ok(Err(Unsafe::Link)),
                None if names.is_empty() => return Ok(Ok(Place { name, ..place })),
                None => place.missing.push(name),
                Some(found) if found.is_symlink() => {
                    if links == Links::Refuse || links_left.next().is_none() {
                        return Ok(Err(Unsafe::Link));
                    }
                    let mut target = place.folder().read_link_contents(&name)?;
                    if let Ok(inside) = target.strip_prefix(&self.path) {
                        target = inside.to_owned();
                        place.folders.clear();
                    }
                    for part in target.components().rev() {
                        match part {
                            Component::Normal(_) | Component::ParentDir => names.push((part.as_os_str().into(), true)),
                            Component::CurDir => {}
                            Component::RootDir | Component::Prefix(_) => return Ok(Err(Unsafe::Link)),
                        }
                    }
                }
                Some(found) if found.is_dir() && !names.is_empty() => {
                    let folder = place.folder().open_dir_nofollow(&name)?;
                    if self.git_folders.contains(&id(&folder)?) {
                        return Ok(Err(Unsafe::Link));
                    }
                    place.folders.push((name, folder));
                }
                Some(found) if found.is_file() && names.is_empty() => return Ok(Ok(Place { name, ..place })),
                Some(_) => return Ok(Err(Unsafe::NotAFile)),
            }
        }
        Ok(Err(Unsafe::NotAFile))
    }
}

fn id(folder: &Dir) -> io::Result<FolderId> {
    let found = folder.dir_metadata()?;
    Ok((found.dev(), found.ino()))
}

/// A file of a work tree, or the place for one.
///
/// It holds the folder open that the file is in, and every folder above it, each opened from the one above without
/// following a link. What happens to their names later has no influence on which file is read, written or removed.
#[derive(Debug)]
pub(crate) struct Place {
    top: Dir,
    /// The folders below `top`, the outermost first.
    folders: Vec<(OsString, Dir)>,
    /// The names of the folders below those that did not exist.
    missing: Vec<OsString>,
    name: OsString,
}

impl Place {
    /// The content of the file and its permissions. `None` when there is none.
    pub(crate) fn read(&self) -> io::Result<Held> {
        if !self.missing.is_empty() {
            return Ok(None);
        }
        let mut file =
            match self.folder().open_with(&self.name, OpenOptions::new().read(true).follow(FollowSymlinks::No)) {
                Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
                opened => opened?,
            };
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(Some((bytes, file.metadata()?.permissions())))
    }

    /// Writes the file, whole or not at all, and makes the folders that are missing. Without `permissions` it gets
    /// those of a new file.
    ///
    /// The file is replaced by renaming: a link planted in its place meanwhile is replaced too, never written through.
    pub(crate) fn write(mut self, bytes: &[u8], permissions: Option<Permissions>) -> io::Result<()> {
        for name in mem::take(&mut self.missing) {
            match self.folder().create_dir(&name) {
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
                made => made?,
            }
            let folder = self.folder().open_dir_nofollow(&name)?;
            self.folders.push((name, folder));
        }
        let mut next = TempFile::new(self.folder())?;
        // Before anything is in it that others may not read.
        if let Some(permissions) = permissions {
            next.as_file().set_permissions(permissions)?;
        }
        next.write_all(bytes)?;
        next.replace(&self.name)
    }

    /// Removes the file, and the folders that it leaves empty.
    pub(crate) fn remove(mut self) -> io::Result<()> {
        self.folder().remove_file(&self.name)?;
        while let Some((name, folder)) = self.folders.pop() {
            // Windows keeps a folder as long as it is open.
            drop(folder);
            if self.folder().remove_dir(name).is_err() {
                break;
            }
        }
        Ok(())
    }

    /// What has this name in the innermost folder.
    fn look(&self, name: &OsStr) -> io::Result<Option<Metadata>> {
        if !self.missing.is_empty() {
            return Ok(None);
        }
        match self.folder().symlink_metadata(name) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            found => found.map(Some),
        }
    }

    /// The innermost folder.
    fn folder(&self) -> &Dir {
        self.folders.last().map_or(&self.top, |(_, folder)| folder)
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
            let worktree = Worktree::new(&top, &[&top.join(".git"), &top.join("data")]).unwrap();
            (around, worktree)
        }

        fn place(worktree: &Worktree, path: &str) -> Result<Place, Unsafe> {
            worktree.locate(&RepoPath::parse(path).unwrap(), Links::Follow).unwrap()
        }

        /// Where the place is, from the top.
        fn locate(worktree: &Worktree, path: &str) -> Result<String, Unsafe> {
            let place = place(worktree, path)?;
            let folders = place.folders.iter().map(|(name, _)| name).chain(&place.missing);
            Ok(folders.chain([&place.name]).map(|name| name.to_str().unwrap()).collect::<Vec<_>>().join("/"))
        }

        #[test]
        fn existing_and_new_files_are_found_inside() {
            let (_around, worktree) = repository();
            fs::write(worktree.path.join("src/a"), "a").unwrap();
            assert_eq!(locate(&worktree, "src/a"), Ok("src/a".into()));
            assert_eq!(locate(&worktree, "new/folder/b"), Ok("new/folder/b".into()));
        }

        #[test]
        fn links_that_lead_out_or_into_git_or_nowhere_are_refused() {
            let (around, worktree) = repository();
            symlink(around.path().join("outside"), worktree.path.join("away")).unwrap();
            symlink("../outside/file", worktree.path.join("dangling")).unwrap();
            symlink("src/none", worktree.path.join("nowhere")).unwrap();
            symlink(".git", worktree.path.join("docs")).unwrap();
            fs::write(around.path().join("outside/secret"), "x").unwrap();
            symlink("../../outside/secret", worktree.path.join("src/secret")).unwrap();
            symlink("loop", worktree.path.join("loop")).unwrap();
            symlink("data", worktree.path.join("notes")).unwrap();
            symlink("src/../.git/config", worktree.path.join("settings")).unwrap();
            fs::create_dir_all(worktree.path.join("vendor/.git")).unwrap();
            symlink("vendor/.git", worktree.path.join("other")).unwrap();
            for path in ["away/x", "dangling", "nowhere", "docs/config", "src/secret", "loop", "notes/config"] {
                assert_eq!(locate(&worktree, path), Err(Unsafe::Link), "{path}");
            }
            for path in ["settings", "other/config"] {
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
            fs::write(worktree.path.join("src/a"), "a").unwrap();
            symlink("src", worktree.path.join("lib")).unwrap();
            symlink("../lib/../src/a", worktree.path.join("src/itself")).unwrap();
            symlink(worktree.path.join("src"), worktree.path.join("src/absolute")).unwrap();
            for path in ["lib/a", "src/itself", "src/absolute/a"] {
                assert_eq!(locate(&worktree, path), Ok("src/a".into()), "{path}");
                let refused = worktree.locate(&RepoPath::parse(path).unwrap(), Links::Refuse).unwrap();
                assert_eq!(refused.err(), Some(Unsafe::Link), "{path}");
            }
            assert_eq!(locate(&worktree, "lib/new/b"), Ok("src/new/b".into()));
        }

        #[test]
        fn a_folder_is_not_a_file() {
            let (_around, worktree) = repository();
            fs::write(worktree.path.join("src/a"), "a").unwrap();
            assert_eq!(locate(&worktree, "src"), Err(Unsafe::NotAFile));
            assert_eq!(locate(&worktree, "src/a/b"), Err(Unsafe::NotAFile));
        }

        fn write(worktree: &Worktree, path: &str, bytes: &[u8]) -> io::Result<()> {
            let place = place(worktree, path).unwrap();
            let permissions = place.read().unwrap().map(|(_, permissions)| permissions);
            place.write(bytes, permissions)
        }

        #[test]
        fn writing_keeps_the_mode_and_leaves_no_other_file() {
            let (_around, worktree) = repository();
            let file = worktree.path.join("src/run");
            write(&worktree, "src/run", b"one").unwrap();
            fs::write(worktree.path.join("plain"), "").unwrap();
            let mode = |file: &Path| fs::metadata(file).unwrap().permissions().mode() & 0o777;
            assert_eq!(mode(&file), mode(&worktree.path.join("plain")), "a new file has the mode of any other");
            for kept in [0o755, 0o600, 0o400] {
                fs::set_permissions(&file, fs::Permissions::from_mode(kept)).unwrap();
                write(&worktree, "src/run", b"two").unwrap();
                assert_eq!(fs::read(&file).unwrap(), b"two");
                assert_eq!(mode(&file), kept);
            }
            assert_eq!(fs::read_dir(worktree.path.join("src")).unwrap().count(), 1);
        }

        #[test]
        fn a_link_planted_after_a_place_was_located_is_never_followed() {
            let (around, worktree) = repository();
            let outside = around.path().join("outside");
            fs::write(outside.join("secret"), "untouched").unwrap();
            let (folder, aside) = (worktree.path.join("src"), worktree.path.join("aside"));

            // For the file.
            fs::write(worktree.path.join(".git/config"), "untouched").unwrap();
            for (path, target) in [("src/a", &outside.join("secret")), ("b", &PathBuf::from(".git/config"))] {
                let located = place(&worktree, path).unwrap();
                symlink(target, worktree.path.join(path)).unwrap();
                assert!(located.read().is_err(), "{path}");
                located.write(b"one", None).unwrap();
                assert_eq!(fs::read(worktree.path.join(path)).unwrap(), b"one");
            }

            // For its folder.
            let (changed, created, removed) = ("src/a", "src/secret", "src/gone");
            fs::write(folder.join("gone"), "").unwrap();
            fs::write(outside.join("gone"), "untouched").unwrap();
            let [changed, created, removed] = [changed, created, removed].map(|path| place(&worktree, path).unwrap());
            fs::rename(&folder, &aside).unwrap();
            symlink(&outside, &folder).unwrap();
            assert_eq!(changed.read().unwrap().unwrap().0, b"one");
            changed.write(b"two", None).unwrap();
            created.write(b"three", None).unwrap();
            removed.remove().unwrap();
            assert_eq!(fs::read(aside.join("a")).unwrap(), b"two");
            assert_eq!(fs::read(aside.join("secret")).unwrap(), b"three");
            assert!(!aside.join("gone").exists());

            // For a folder that was missing.
            for (path, target) in [("new/a", &outside), ("other/a", &PathBuf::from(".git"))] {
                let located = place(&worktree, path).unwrap();
                symlink(target, worktree.path.join(path).parent().unwrap()).unwrap();
                assert!(located.write(b"four", None).is_err(), "{path}");
            }
            assert_eq!(fs::read(worktree.path.join(".git/config")).unwrap(), b"untouched");
            assert_eq!(fs::read_dir(worktree.path.join(".git")).unwrap().count(), 1);

            assert_eq!(fs::read(outside.join("secret")).unwrap(), b"untouched");
            assert_eq!(fs::read(outside.join("gone")).unwrap(), b"untouched");
            assert_eq!(fs::read_dir(&outside).unwrap().count(), 2);
        }

        #[test]
        fn removing_a_file_removes_the_folders_that_it_leaves_empty() {
            let (_around, worktree) = repository();
            for path in ["src/a/b/c", "src/d"] {
                write(&worktree, path, b"").unwrap();
            }
            place(&worktree, "src/a/b/c").unwrap().remove().unwrap();
            assert_eq!(fs::read_dir(worktree.path.join("src")).unwrap().count(), 1);
            place(&worktree, "src/d").unwrap().remove().unwrap();
            assert!(!worktree.path.join("src").exists());
        }
    }
}
