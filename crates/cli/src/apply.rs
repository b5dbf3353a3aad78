//! `apply`: puts what was shared into the person's own files.
//!
//! What is to be done with a file is decided by [`plan`], from bytes alone; the rest of this file looks at the disk,
//! asks git and writes.

use crate::{
    args::Apply,
    failure::{Failure, Result},
    git::{Applied, Merge, Repository, words},
    list::{given, place},
    open::fetch,
    output::Output,
    patch::Patch,
    ranges::{self, BaseRange, LineEnds, LineRange},
    worktree::{self, RepoPath},
};
use osmynt_client::{Base, Header, Kind, Opened};
use osmynt_core::text::{EXCERPT_CHARS, quoted};
use serde_json::json;
use std::{collections::BTreeMap, fs, io, path::Path};

/// Applies a snippet to the repository around the current folder.
pub(crate) fn run(args: &Apply, out: Output) -> Result<()> {
    let repository = Repository::around(Path::new("."))?.ok_or_else(|| {
        Failure::usage("this folder is not in a git repository")
            .next("Go to your clone of the repository and try again, or save it: osmynt open ID -o FILE")
    })?;
    let opened = fetch(&args.which, out)?;
    let files = if opened.snippet.header.kind == Kind::Diff {
        apply_diff(&repository, &opened, args.dry_run)?
    } else {
        vec![apply_text(&repository, &opened, args.dry_run)?]
    };
    report(&opened, &files, args.dry_run, out)
}

/// What became of a file, or would.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Done {
    path: String,
    outcome: Outcome,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Created,
    Changed,
    Removed,
    Unchanged,
    Conflict,
}

impl Outcome {
    const fn word(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Changed => "changed",
            Self::Removed => "removed",
            Self::Unchanged => "unchanged",
            Self::Conflict => "conflict",
        }
    }
}

fn report(opened: &Opened, files: &[Done], dry_run: bool, out: Output) -> Result<()> {
    let value = json!({
        "snippet": opened.snippet.id.to_string(),
        "dry_run": dry_run,
        "files": files.iter().map(|file| json!({"path": file.path, "outcome": file.outcome.word()})).collect::<Vec<_>>(),
    });
    out.done(&value, |_| {
        let would = |did: &str, would: &str| if dry_run { format!("Would {would}") } else { did.to_owned() };
        let said: Vec<String> = files
            .iter()
            .map(|file| {
                let path = given(&file.path);
                match file.outcome {
                    Outcome::Created => format!("{} {path}", would("Created", "create")),
                    Outcome::Changed => format!("{} {path}", would("Changed", "change")),
                    Outcome::Removed => format!("{} {path}", would("Removed", "remove")),
                    Outcome::Unchanged => format!("Nothing to do: {path} has it already"),
                    Outcome::Conflict => format!("{} conflict markers in {path}", would("Left", "leave")),
                }
            })
            .collect();
        said.join("\n")
    })?;
    let conflicts: Vec<String> =
        files.iter().filter(|file| file.outcome == Outcome::Conflict).map(|file| given(&file.path)).collect();
    if conflicts.is_empty() {
        return Ok(());
    }
    let failure = Failure::conflict(format!(
        "your own changes and the shared ones touch the same lines of {}",
        conflicts.join(", ")
    ));
    Err(failure.next(if dry_run {
        "Nothing was changed. Without --dry-run, both versions are put into the file for you to choose from."
    } else {
        "Look for <<<<<<< in the file, keep what is right and remove the markers."
    }))
}

// Lines and whole files

/// What to do with a file.
#[derive(Debug, PartialEq, Eq)]
enum Plan {
    /// The file is as it should be.
    Nothing,
    /// The file gets this content, whatever it had.
    Write(Vec<u8>),
    /// The file has `present`; the change from `base` to `shared` is to be merged into it.
    Merge { present: Vec<u8>, base: Vec<u8>, shared: Vec<u8>, ends: LineEnds },
    /// It cannot be done without guessing.
    Refuse(Why),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
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
fn plan(header: &Header, content: &[u8], base: Option<Vec<u8>>, present: Option<Vec<u8>>) -> Plan {
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
            Some(lines) if ranges::select(&present, lines).as_deref() == Some(content) => Plan::Nothing,
            Some(_) => Plan::Refuse(Why::NoBase),
            None => Plan::Refuse(Why::Differs),
        };
    }
    let Some(base) = base else { return Plan::Refuse(Why::BaseMissing) };
    let shared = match range {
        Some(range) => match ranges::replace(&lf(&base), range, &lf(content)) {
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
        LineEnds::CrLf => ranges::to_lf(text),
        LineEnds::Lf | LineEnds::Mixed => text.to_vec(),
    }
}

fn apply_text(repository: &Repository, opened: &Opened, dry_run: bool) -> Result<Done> {
    let header = &opened.snippet.header;
    let named = header.path.as_deref().ok_or_else(|| {
        Failure::refused("it does not say which file it belongs to")
            .next("Save it where you want it: osmynt open ID -o FILE")
    })?;
    let path = safe(named)?;
    let file = locate(repository, &path)?;
    let present = match fs::read(&file) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => None,
        read => Some(read.map_err(Failure::io(format!("cannot read {path}")))?),
    };
    let base = match &header.base {
        Some(base) => repository.blob(&base.blob)?,
        None => None,
    };
    let created = present.is_none();
    let (outcome, bytes) = match plan(header, &opened.content, base, present) {
        Plan::Nothing => (Outcome::Unchanged, None),
        Plan::Write(bytes) => (if created { Outcome::Created } else { Outcome::Changed }, Some(bytes)),
        Plan::Refuse(why) => return Err(refusal(why, header)),
        Plan::Merge { present, base, shared, ends } => {
            let native = |text: Vec<u8>| if ends == LineEnds::CrLf { ranges::to_crlf(&text) } else { text };
            match repository.merge(&present, &base, &shared)? {
                Merge::Clean(merged) if merged == present => (Outcome::Unchanged, None),
                Merge::Clean(merged) => (Outcome::Changed, Some(native(merged))),
                Merge::Conflict(marked) => (Outcome::Conflict, Some(native(marked))),
                Merge::Binary => return Err(refusal(Why::Binary, header)),
            }
        }
    };
    if let Some(bytes) = bytes.filter(|_| !dry_run) {
        worktree::write(&file, &bytes).map_err(Failure::io(format!("cannot write {path}")))?;
    }
    Ok(Done { path: path.as_str().to_owned(), outcome })
}

fn refusal(why: Why, header: &Header) -> Failure {
    let what = place(header.path.as_deref(), header.lines).unwrap_or_default();
    let path = header.path.as_deref().map(given).unwrap_or_default();
    let whose = header.repository.as_deref().map(|name| format!(" of {}", given(name))).unwrap_or_default();
    let look = "Compare and choose by hand: osmynt open ID -o FILE";
    match why {
        Why::Differs => Failure::refused(format!(
            "{path} is there already, with other content, and was never committed where it comes from"
        ))
        .next(look),
        Why::NoBase => Failure::refused(format!(
            "{what} comes from a file that was never committed, so its place in your file is not known"
        ))
        .next(look),
        Why::BaseMissing => {
            Failure::refused(format!("{what} was changed from a version{whose} that this repository does not have"))
                .next("Run `git fetch` in your clone and try again, or compare by hand: osmynt open ID -o FILE")
        }
        Why::NoSuchLines => {
            Failure::refused(format!("{what} says that it replaces lines that its base does not have")).next(look)
        }
        Why::FileMissing => Failure::refused(format!("there is no {path} here to put the lines into"))
            .next("Check out the version that has it, or look at the lines: osmynt open ID"),
        Why::NoChange => Failure::refused(format!(
            "{what} is as its author committed it, so there is no change to apply, but your file differs"
        ))
        .next("Take it over with git (git pull, git merge), or compare by hand: osmynt open ID"),
        Why::Binary => Failure::refused(format!(
            "{path} is not text and differs from what the author began with, so the two cannot be merged"
        ))
        .next(look),
    }
}

// Diffs

fn apply_diff(repository: &Repository, opened: &Opened, dry_run: bool) -> Result<Vec<Done>> {
    let patch = Patch::read(&opened.content).map_err(|why| {
        Failure::refused(why.to_string()).next("Nothing was changed. Look at it with: osmynt open ID")
    })?;
    let before = files_of(repository, &patch)?;
    match repository.touched(&opened.content, &patch)? {
        Ok(touched) if patch.covers(&touched) => {}
        Ok(_) => {
            return Err(Failure::refused("it is not certain which files the diff would write to")
                .next("Nothing was changed. Look at it with: osmynt open ID"));
        }
        Err(said) => {
            return Err(Failure::refused(format!("git cannot read the diff: {}", words(&said)))
                .next("Nothing was changed. Look at it with: osmynt open ID"));
        }
    }
    let conflicts = match repository.apply(&opened.content, &patch, dry_run)? {
        Applied::Clean => Vec::new(),
        Applied::Conflicts(paths) => paths,
        Applied::AlreadyThere => {
            return Ok(patch
                .paths
                .iter()
                .map(|path| Done { path: path.as_str().to_owned(), outcome: Outcome::Unchanged })
                .collect());
        }
        Applied::Refused(said) => {
            return Err(Failure::refused(format!("the diff does not fit your files: {}", words(&said))).next(
                "Nothing was changed. Check out the version that it was made from, or look at it with: osmynt open ID",
            ));
        }
    };
    // A dry run changes nothing, so there is nothing to compare: say what the diff is about.
    let after = if dry_run { None } else { Some(files_of(repository, &patch)?) };
    Ok(before
        .into_iter()
        .map(|(path, old)| {
            let new = after.as_ref().and_then(|after| after.get(&path));
            let outcome = match (old, new) {
                _ if conflicts.iter().any(|conflict| conflict == path.as_str()) => Outcome::Conflict,
                (old, Some(new)) if old == *new => Outcome::Unchanged,
                (Some(_), Some(None)) => Outcome::Removed,
                (None, _) => Outcome::Created,
                (Some(_), _) => Outcome::Changed,
            };
            Done { path: path.as_str().to_owned(), outcome }
        })
        .collect())
}

/// The content of a file and its permissions; none where there is no file.
type Held = Option<(Vec<u8>, fs::Permissions)>;

/// What the files that a patch touches hold. Each of them is checked to be a plain file of the repository, or none.
fn files_of(repository: &Repository, patch: &Patch) -> Result<BTreeMap<RepoPath, Held>> {
    let top = fs::canonicalize(repository.top()).map_err(Failure::io("cannot read the repository's folder"))?;
    let mut files = BTreeMap::new();
    for path in &patch.paths {
        let file = locate(repository, path)?;
        // Git writes by the name, so the name itself must not be a link, wherever it leads.
        if file != top.join(path.as_str()) {
            return Err(outside(path.as_str(), worktree::Unsafe::Link));
        }
        let held = match fs::read(&file) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => None,
            read => {
                let found = fs::metadata(&file).map_err(Failure::io(format!("cannot read {path}")))?;
                Some((read.map_err(Failure::io(format!("cannot read {path}")))?, found.permissions()))
            }
        };
        files.insert(path.clone(), held);
    }
    Ok(files)
}

// Paths

fn safe(path: &str) -> Result<RepoPath> {
    RepoPath::parse(path).map_err(|why| outside(path, why))
}

fn locate(repository: &Repository, path: &RepoPath) -> Result<std::path::PathBuf> {
    let cannot_look = || Failure::io("cannot look at the repository's files");
    let worktree = repository.worktree().map_err(cannot_look())?;
    worktree.locate(path).map_err(cannot_look())?.map_err(|why| outside(path.as_str(), why))
}

fn outside(path: &str, why: worktree::Unsafe) -> Failure {
    Failure::refused(format!("it would write to {}: {why}", quoted(path, EXCERPT_CHARS)))
        .next("Nothing was changed. No honest share does that: ask its author, and look at it with: osmynt open ID")
}

#[cfg(test)]
mod tests {
    use super::*;
    use osmynt_client::Lines;

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

    /// A repository, and the snippet that somebody else shared from their own clone of it.
    mod in_a_repository {
        use super::*;
        use osmynt_client::{Audience, Opened, Person, Snippet, Time};

        fn repository(content: &[u8]) -> (tempfile::TempDir, Repository) {
            let folder = tempfile::tempdir().unwrap();
            let repository = Repository::for_tests(folder.path());
            repository.commit_for_tests("f", content);
            (folder, repository)
        }

        fn opened(header: Header, content: &[u8]) -> Opened {
            let team = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
            let author = Person { user: "936da01f-9abd-4d9d-80c7-02af85c822a8".parse().unwrap(), login: None };
            let snippet = Snippet {
                team: team.parse().unwrap(),
                id: "0190163d-8694-739b-aea5-966c26f8ad91".parse().unwrap(),
                author,
                device: team.parse().unwrap(),
                mine: false,
                audience: Audience::Team { epoch: 1 },
                header,
                issued_at: Time(0),
                received_at: None,
                expires_at: None,
            };
            Opened { snippet, content: content.to_vec() }
        }

        fn lines_opened(repository: &Repository, content: &[u8]) -> Opened {
            let mut header = header(Some((2, 2)), Some(Some((2, 2))));
            header.base.as_mut().unwrap().blob = repository.blob_id(BASE).unwrap();
            opened(header, content)
        }

        fn diff_opened(content: &str) -> Opened {
            opened(Header { kind: Kind::Diff, path: None, ..header(None, None) }, content.as_bytes())
        }

        #[test]
        fn lines_are_merged_beside_ones_own_changes() {
            let (folder, repository) = repository(BASE);
            fs::write(folder.path().join("f"), "0\n1\n2\n3\n4\n").unwrap();
            let opened = lines_opened(&repository, b"two\n");
            let dry = apply_text(&repository, &opened, true);
            assert_eq!(fs::read(folder.path().join("f")).unwrap(), b"0\n1\n2\n3\n4\n", "a dry run writes nothing");
            let wet = apply_text(&repository, &opened, false).unwrap();
            assert_eq!(dry.unwrap(), wet);
            assert_eq!(wet.outcome, Outcome::Changed);
            assert_eq!(fs::read(folder.path().join("f")).unwrap(), b"0\n1\ntwo\n3\n4\n");
            assert_eq!(
                apply_text(&repository, &opened, false).unwrap().outcome,
                Outcome::Unchanged,
                "again: nothing to do"
            );
        }

        #[test]
        fn a_conflict_leaves_both_versions_marked() {
            let (folder, repository) = repository(BASE);
            fs::write(folder.path().join("f"), "1\nmine\n3\n").unwrap();
            let done = apply_text(&repository, &lines_opened(&repository, b"theirs\n"), false).unwrap();
            assert_eq!(done.outcome, Outcome::Conflict);
            assert_eq!(
                fs::read_to_string(folder.path().join("f")).unwrap(),
                "1\n<<<<<<< yours\nmine\n=======\ntheirs\n>>>>>>> shared\n3\n"
            );
        }

        #[test]
        fn a_base_is_a_blob_and_never_an_expression() {
            let (_folder, repository) = repository(BASE);
            let mut opened = lines_opened(&repository, b"x\n");
            opened.snippet.header.base.as_mut().unwrap().blob = "HEAD:f".into();
            let failure = apply_text(&repository, &opened, false).unwrap_err();
            assert!(failure.message.contains("does not have"), "{failure:?}");
        }

        const DIFF: &str =
            "--- a/f\n+++ b/f\n@@ -1,3 +1,3 @@\n 1\n-2\n+two\n 3\n--- /dev/null\n+++ b/new/g\n@@ -0,0 +1 @@\n+g\n";

        fn outcomes(files: &[Done]) -> Vec<(&str, Outcome)> {
            files.iter().map(|file| (file.path.as_str(), file.outcome)).collect()
        }

        #[test]
        fn a_diff_is_applied_to_files_with_uncommitted_changes_and_nothing_is_staged() {
            let (folder, repository) = repository(BASE);
            fs::write(folder.path().join("f"), "1\n2\n3\n4\n5\n").unwrap();
            let dry = apply_diff(&repository, &diff_opened(DIFF), true).unwrap();
            assert_eq!(outcomes(&dry), [("f", Outcome::Changed), ("new/g", Outcome::Created)]);
            assert_eq!(fs::read(folder.path().join("f")).unwrap(), b"1\n2\n3\n4\n5\n");
            let done = apply_diff(&repository, &diff_opened(DIFF), false).unwrap();
            assert_eq!(outcomes(&done), [("f", Outcome::Changed), ("new/g", Outcome::Created)]);
            assert_eq!(fs::read(folder.path().join("f")).unwrap(), b"1\ntwo\n3\n4\n5\n");
            assert_eq!(fs::read(folder.path().join("new/g")).unwrap(), b"g\n");
            let staged = std::process::Command::new("git")
                .current_dir(folder.path())
                .args(["diff", "--cached", "--name-only"])
                .output()
                .unwrap();
            assert_eq!(String::from_utf8(staged.stdout).unwrap(), "");
        }

        #[test]
        fn a_diff_that_is_in_already_needs_nothing() {
            let (_folder, repository) = repository(BASE);
            apply_diff(&repository, &diff_opened(DIFF), false).unwrap();
            let again = apply_diff(&repository, &diff_opened(DIFF), false).unwrap();
            assert_eq!(outcomes(&again), [("f", Outcome::Unchanged), ("new/g", Outcome::Unchanged)]);
        }

        #[test]
        fn a_diff_against_known_versions_conflicts_with_markers() {
            let (folder, repository) = repository(BASE);
            fs::write(folder.path().join("f"), "1\nmine\n3\n").unwrap();
            let known = format!(
                "diff --git a/f b/f\nindex {}..1234567 100644\n--- a/f\n+++ b/f\n@@ -1,3 +1,3 @@\n 1\n-2\n+two\n 3\n",
                repository.blob_id(BASE).unwrap()
            );
            // Git needs the author's version only to tell it from others, which it makes itself from the base and the
            // diff.
            let dry = apply_diff(&repository, &diff_opened(&known), true).unwrap();
            assert_eq!(outcomes(&dry), [("f", Outcome::Conflict)]);
            assert_eq!(fs::read(folder.path().join("f")).unwrap(), b"1\nmine\n3\n");
            let done = apply_diff(&repository, &diff_opened(&known), false).unwrap();
            assert_eq!(outcomes(&done), [("f", Outcome::Conflict)]);
            let text = fs::read_to_string(folder.path().join("f")).unwrap();
            assert!(text.contains("<<<<<<< ours\nmine\n=======\ntwo\n>>>>>>> theirs"), "{text}");
        }

        #[test]
        fn a_diff_that_does_not_fit_changes_nothing() {
            let (folder, repository) = repository(b"a\nb\nc\n");
            let failure = apply_diff(&repository, &diff_opened(DIFF), false).unwrap_err();
            assert_eq!(failure.exit, crate::failure::Exit::Refused);
            assert!(!folder.path().join("new").exists());
        }

        #[test]
        fn hostile_paths_are_refused_before_anything_is_written() {
            let (folder, repository) = repository(BASE);
            for path in ["/tmp/x", "../x", "a/../../x", ".git/hooks/pre-commit", ".GIT/config", "sub/.git/config"] {
                let mut opened = lines_opened(&repository, b"x\n");
                opened.snippet.header.path = Some(path.into());
                assert_eq!(
                    apply_text(&repository, &opened, false).unwrap_err().exit,
                    crate::failure::Exit::Refused,
                    "{path}"
                );
                let diff = format!("{DIFF}--- /dev/null\n+++ b/{path}\n@@ -0,0 +1 @@\n+x\n");
                assert_eq!(
                    apply_diff(&repository, &diff_opened(&diff), false).unwrap_err().exit,
                    crate::failure::Exit::Refused,
                    "{path}"
                );
            }
            assert_eq!(fs::read(folder.path().join("f")).unwrap(), BASE);
        }

        #[cfg(unix)]
        #[test]
        fn links_are_neither_made_nor_followed_out() {
            let (folder, repository) = repository(BASE);
            let outside = tempfile::tempdir().unwrap();
            std::os::unix::fs::symlink(outside.path(), folder.path().join("away")).unwrap();
            std::os::unix::fs::symlink("f", folder.path().join("inside")).unwrap();
            let write = |path: &str| format!("--- /dev/null\n+++ b/{path}\n@@ -0,0 +1 @@\n+x\n");
            let through = "--- a/inside\n+++ b/inside\n@@ -1,3 +1,3 @@\n 1\n-2\n+two\n 3\n".to_owned();
            let link =
                "diff --git a/l b/l\nnew file mode 120000\n--- /dev/null\n+++ b/l\n@@ -0,0 +1 @@\n+/etc/passwd\n"
                    .to_owned();
            for diff in [write("away/x"), through, link] {
                assert_eq!(
                    apply_diff(&repository, &diff_opened(&diff), false).unwrap_err().exit,
                    crate::failure::Exit::Refused,
                    "{diff}"
                );
            }
            let mut opened = lines_opened(&repository, b"x\n");
            opened.snippet.header.lines = None;
            opened.snippet.header.base = None;
            opened.snippet.header.path = Some("away/x".into());
            assert_eq!(apply_text(&repository, &opened, false).unwrap_err().exit, crate::failure::Exit::Refused);
            assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
        }
    }
}
