//! Where a received path may lead: only to files of the recipient's own repository.
//!
//! [`RepoPath`] is the pure half: no accepted text names a place outside the repository or inside a `.git` folder.
//! [`Worktree::locate`] looks at the disk: no symbolic link on the way leads out.
//!
//! Names are not looked at first and used later, since another program may swap a folder for a link in between. The
//! top folder is opened once, and everything below it through the open folder that it is in.

use cap_fs_ext::{DirExt, FollowSymlinks, MetadataExt, OpenOptionsFollowExt};
use cap_std::{
    ambient_authority,
    fs::{Dir, Metadata, OpenOptions, Permissions},
};
use cap_tempfile::TempFile;
use osmynt_edits::{RepoPath, Unsafe, is_git_folder};
use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    fs,
    io::{self, Read, Write},
    mem,
    path::{Component, Path, PathBuf},
};

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
        let mut names: Vec<(OsString, bool)> =
            path.as_str().split('/').rev().map(|name| (name.into(), false)).collect();
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
#[cfg(unix)]
mod tests {
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
