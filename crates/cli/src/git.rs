//! Everything that is asked of git, each question one function.
//!
//! Git runs with explicit arguments, without a shell, without hooks, pagers, prompts, external diff programs or file
//! system monitors, and without the `GIT_*` variables that would point it at another repository than the one around
//! the folder it is asked about.

use crate::{
    failure::{Failure, Result},
    worktree::{Files, Links, Worktree},
};
use osmynt_core::text::quoted;
use osmynt_edits::{Patch, RepoPath};
use std::{
    env,
    ffi::OsStr,
    fs, io,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

/// More of git's words is not shown: enough for advice that names a folder.
const GIT_CHARS: usize = 1_000;

/// A repository with files on this machine.
#[derive(Debug)]
pub(crate) struct Repository {
    top: PathBuf,
    git_folder: PathBuf,
    /// Where git keeps what several work trees share. Mostly the same folder.
    common_folder: PathBuf,
}

/// What became of a three-way merge of one file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Merge {
    /// The merged text.
    Clean(Vec<u8>),
    /// The text with conflict markers.
    Conflict(Vec<u8>),
    /// Git does not merge binary files.
    Binary,
}

/// What became of a patch, or would.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Applied {
    /// What the files hold with it, and those of them that have conflict markers.
    Done { after: Files, conflicts: Vec<String> },
    /// It was in before.
    AlreadyThere,
    /// It does not fit; this is what git said.
    Refused(String),
}

impl Repository {
    /// The repository that `folder` is in. `None` when it is in none.
    pub(crate) fn around(folder: &Path) -> Result<Option<Self>> {
        let asked =
            ["rev-parse", "--show-toplevel", "--absolute-git-dir", "--path-format=absolute", "--git-common-dir"];
        let output = run(git(folder).args(asked), b"")?;
        if !output.status.success() {
            let said = said(&output);
            return if said.contains("not a git repository") || said.contains("must be run in a work tree") {
                Ok(None)
            } else {
                Err(Failure::failed(format!("git cannot read this repository: {}", words(&said))))
            };
        }
        let text =
            String::from_utf8(output.stdout).map_err(|_| Failure::failed("the repository's path is not UTF-8"))?;
        let mut paths = text.lines().map(PathBuf::from);
        let mut path = || paths.next().ok_or_else(|| Failure::failed("git did not say where the repository is"));
        Ok(Some(Self { top: path()?, git_folder: path()?, common_folder: path()? }))
    }

    /// The top folder.
    pub(crate) fn top(&self) -> &Path {
        &self.top
    }

    /// The files, for writing.
    pub(crate) fn worktree(&self) -> io::Result<Worktree> {
        Worktree::new(&self.top, &[&self.git_folder, &self.common_folder])
    }

    /// What people call the repository: the last part of the address of `origin`, or the folder's name.
    pub(crate) fn name(&self) -> Option<String> {
        let origin = run(git(&self.top).args(["config", "--get", "remote.origin.url"]), b"").ok()?;
        name_in_address(&String::from_utf8_lossy(&origin.stdout))
            .or_else(|| Some(self.top.file_name()?.to_str()?.to_owned()))
    }

    /// The id of the plain file `path` as last committed. `None` when there is none.
    pub(crate) fn committed(&self, path: &RepoPath) -> Result<Option<String>> {
        let output = run(git(&self.top).args(["ls-tree", "-z", "--full-tree", "HEAD", "--", path.as_str()]), b"")?;
        // `mode SP type SP id TAB path NUL`. Before the first commit there is no HEAD and git fails.
        let entry = String::from_utf8_lossy(&output.stdout);
        let mut words = entry.split([' ', '\t']);
        let plain = words.next().is_some_and(|mode| mode.starts_with("100")) && words.next() == Some("blob");
        Ok(words.next().filter(|_| plain && output.status.success()).map(str::to_owned))
    }

    /// `git diff -U0` of the file against its last commit.
    pub(crate) fn changes_since_head(&self, path: &RepoPath) -> Result<Vec<u8>> {
        let output = run(
            git(&self.top)
                .args([
                    "diff",
                    "--no-ext-diff",
                    "--no-textconv",
                    "--no-color",
                    "--no-renames",
                    "--unified=0",
                    "--inter-hunk-context=0",
                ])
                .args(["HEAD", "--", path.as_str()]),
            b"",
        )?;
        succeeded(output)
    }

    /// The content of a blob. `None` when the repository does not have it.
    pub(crate) fn blob(&self, id: &str) -> Result<Option<Vec<u8>>> {
        // A teammate sent the id: only a full one, never an expression like `HEAD:secret`.
        if !matches!(id.len(), 40 | 64) || !id.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Ok(None);
        }
        let output = run(git(&self.top).args(["cat-file", "blob", id]), b"")?;
        Ok(output.status.success().then_some(output.stdout))
    }

    /// The id that `content` has, or would have, as a blob.
    #[cfg(test)]
    pub(crate) fn blob_id(&self, content: &[u8]) -> Result<String> {
        let output = run(git(&self.top).args(["hash-object", "--stdin", "--no-filters"]), content)?;
        Ok(String::from_utf8_lossy(&succeeded(output)?).trim().to_owned())
    }

    /// Three-way merge: the changes from `base` to `shared` made to `present`.
    pub(crate) fn merge(&self, present: &[u8], base: &[u8], shared: &[u8]) -> Result<Merge> {
        let folder = tempfile::tempdir().map_err(Failure::io("cannot make a temporary folder"))?;
        for (name, text) in [("present", present), ("base", base), ("shared", shared)] {
            fs::write(folder.path().join(name), text).map_err(Failure::io("cannot write a temporary file"))?;
        }
        let output = run(
            git(&self.top)
                .args(["merge-file", "--stdout", "--quiet", "-L", "yours", "-L", "base", "-L", "shared", "--"])
                .args(["present", "base", "shared"].map(|name| folder.path().join(name))),
            b"",
        )?;
        match output.status.code() {
            Some(0) => Ok(Merge::Clean(output.stdout)),
            // The number of conflicts, cut off at 127.
            Some(1..=127) => Ok(Merge::Conflict(output.stdout)),
            _ if said(&output).to_lowercase().contains("binary") => Ok(Merge::Binary),
            _ => Err(Failure::failed(format!("git cannot merge: {}", words(&said(&output))))),
        }
    }

    /// The files that git itself finds in a patch, by the names that they would have afterwards.
    pub(crate) fn touched(&self, content: &[u8], patch: &Patch) -> Result<Result<Vec<String>, String>> {
        let output = run(git(&self.top).args(["apply", "--numstat", "-z", strip(patch), "-"]), content)?;
        if !output.status.success() {
            return Ok(Err(said(&output)));
        }
        // `added TAB deleted TAB path NUL`
        let listing = String::from_utf8_lossy(&output.stdout).into_owned();
        Ok(Ok(listing
            .split_terminator('\0')
            .filter_map(|entry| entry.splitn(3, '\t').nth(2))
            .map(str::to_owned)
            .collect()))
    }

    /// Applies a patch to copies of `files`, by three-way merge where git knows the versions it was made from, else by
    /// its context. `files` are those that the patch touches; `attributes` are the `.gitattributes` that apply to them.
    ///
    /// Git works on a work tree of its own, in a temporary folder: it opens files by name, so a folder of the
    /// repository that is swapped for a link meanwhile would lead it out. It merges against a copy of the index that
    /// has the files as they are now, so that work in progress neither stands in the way nor is lost, and nothing is
    /// staged.
    pub(crate) fn apply(&self, content: &[u8], patch: &Patch, files: &Files, attributes: &Files) -> Result<Applied> {
        let cannot = || Failure::io("cannot merge in a temporary folder");
        let scratch = tempfile::tempdir().map_err(cannot())?;
        let (top, index) = (scratch.path().join("files"), scratch.path().join("index"));
        fs::create_dir(&top).map_err(cannot())?;
        let tree = Worktree::new(&top, &[]).map_err(cannot())?;
        let place = |path: &RepoPath| {
            let place = tree.locate(path, Links::Refuse).map_err(cannot())?;
            place.map_err(|why| Failure::failed(format!("cannot merge {path}: {why}")))
        };
        for (path, held) in files.iter().chain(attributes) {
            if let Some((bytes, permissions)) = held {
                place(path)?.write(bytes, Some(permissions.clone())).map_err(cannot())?;
            }
        }
        match fs::copy(self.git_folder.join("index"), &index) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {} // nothing was ever staged
            copied => drop(copied.map_err(Failure::io("cannot copy the repository's index"))?),
        }
        let git = |args: &[&str], input: &[u8]| {
            let mut command = git(&top);
            command.env("GIT_DIR", &self.git_folder).env("GIT_WORK_TREE", &top).env("GIT_INDEX_FILE", &index);
            run(command.args(args), input)
        };
        let all = listed(files.keys());
        succeeded(git(&["update-index", "--add", "--remove", "--force-remove", "-z", "--stdin"], &all)?)?;
        let present = listed(files.iter().filter(|(_, held)| held.is_some()).map(|(path, _)| path));
        succeeded(git(&["update-index", "--add", "-z", "--stdin"], &present)?)?;

        let output = git(&["apply", "--3way", "--whitespace=nowarn", strip(patch), "-"], content)?;
        let said = said(&output);
        let conflicts = conflicts(&said);
        if conflicts.is_empty() && !output.status.success() {
            // It is in the files already when it can be taken out.
            let reverse = git(&["apply", "--check", "--reverse", strip(patch), "-"], content)?;
            return Ok(if reverse.status.success() { Applied::AlreadyThere } else { Applied::Refused(said) });
        }
        let after = files.keys().map(|path| Ok((path.clone(), place(path)?.read().map_err(cannot())?)));
        Ok(Applied::Done { after: after.collect::<Result<_>>()?, conflicts })
    }

    /// An empty repository in `folder`.
    #[cfg(test)]
    #[allow(clippy::unwrap_used)]
    pub(crate) fn for_tests(folder: &Path) -> Self {
        succeeded(run(git(folder).args(["init", "--quiet"]), b"").unwrap()).unwrap();
        Self::around(folder).unwrap().unwrap()
    }

    /// Commits one file.
    #[cfg(test)]
    #[allow(clippy::unwrap_used)]
    pub(crate) fn commit_for_tests(&self, path: &str, content: &[u8]) {
        fs::write(self.top.join(path), content).unwrap();
        let identity = ["-c", "user.name=Test", "-c", "user.email=test@example.org", "-c", "commit.gpgSign=false"];
        succeeded(run(git(&self.top).args(["add", "--force", "--", path]), b"").unwrap()).unwrap();
        succeeded(
            run(git(&self.top).args(identity).args(["commit", "--quiet", "--allow-empty", "--message=x"]), b"")
                .unwrap(),
        )
        .unwrap();
    }
}

fn strip(patch: &Patch) -> &'static str {
    if patch.bare_names { "-p0" } else { "-p1" }
}

/// Paths for standard input, each with a NUL after it.
fn listed<'a>(paths: impl Iterator<Item = &'a RepoPath>) -> Vec<u8> {
    paths.flat_map(|path| [path.as_str().as_bytes(), b"\0"].concat()).collect()
}

/// The names in `Applied patch to 'name' with conflicts.`
fn conflicts(said: &str) -> Vec<String> {
    said.lines()
        .filter_map(|line| line.strip_prefix("Applied patch to '")?.strip_suffix("' with conflicts."))
        .map(str::to_owned)
        .collect()
}

/// The last part of a repository's address: `https://host/org/name.git`, `git@host:name.git`, `/srv/git/name/`, `C:\git\name`.
fn name_in_address(address: &str) -> Option<String> {
    let last = address.trim().trim_end_matches(['/', '\\']).rsplit(['/', ':', '\\']).next()?;
    let name = last.strip_suffix(".git").unwrap_or(last);
    (!name.is_empty()).then(|| name.to_owned())
}

/// Git, asked about the repository around `folder`.
fn git(folder: &Path) -> Command {
    let mut command = Command::new("git");
    for (name, _) in env::vars_os() {
        if is_redirecting(&name) {
            command.env_remove(name);
        }
    }
    command
        .current_dir(folder)
        .env("LC_ALL", "C")
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("GIT_LITERAL_PATHSPECS", "1")
        .env("GIT_OPTIONAL_LOCKS", "0")
        .args([
            "--no-pager",
            "-c",
            "core.hooksPath=/dev/null",
            "-c",
            "core.fsmonitor=false",
            "-c",
            "core.protectHFS=true",
        ])
        .args(["-c", "core.protectNTFS=true", "-c", "core.quotePath=false", "-c", "merge.conflictStyle=merge"]);
    command
}

/// `GIT_DIR`, `GIT_INDEX_FILE`, `GIT_EXTERNAL_DIFF` and whatever else a hook or a script may have set. What says
/// where the person's configuration is and how far to look for a repository stays.
fn is_redirecting(name: &OsStr) -> bool {
    let kept = [
        "GIT_CONFIG_GLOBAL",
        "GIT_CONFIG_SYSTEM",
        "GIT_CONFIG_NOSYSTEM",
        "GIT_CEILING_DIRECTORIES",
        "GIT_DISCOVERY_ACROSS_FILESYSTEM",
    ];
    name.to_str().is_some_and(|name| name.starts_with("GIT_") && !kept.contains(&name))
}

/// Runs to the end, with `input` on standard input.
fn run(command: &mut Command, input: &[u8]) -> Result<Output> {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().map_err(|e| {
            if e.kind() == io::ErrorKind::NotFound {
                Failure::failed("git is not installed, or not on the PATH").next("Install git and try again.")
            } else {
                Failure::io("cannot start git")(e)
            }
        })?;
    let stdin = child.stdin.take();
    std::thread::scope(|scope| {
        // Written beside reading, since git answers before it has read all. It may stop reading early; its status then
        // says why.
        scope.spawn(move || stdin.map(|mut stdin| stdin.write_all(input)));
        child.wait_with_output()
    })
    .map_err(Failure::io("cannot run git"))
}

fn succeeded(output: Output) -> Result<Vec<u8>> {
    if output.status.success() {
        Ok(output.stdout)
    } else {
        Err(Failure::failed(format!("git failed: {}", words(&said(&output)))))
    }
}

/// What git said, inside a sentence of ours. It repeats names and lines of what it was given.
pub(crate) fn words(said: &str) -> String {
    let lines: Vec<&str> = said.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    quoted(&lines.join("; "), GIT_CHARS)
}

/// What git wrote to standard error.
fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).trim().to_owned()
}
