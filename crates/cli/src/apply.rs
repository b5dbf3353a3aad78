//! `apply`: puts what was shared into the person's own files.
//!
//! What is to be done with a file is decided by `osmynt-edits`, from bytes alone; here is what looks at the disk, asks
//! git and writes.

use crate::{
    args::Apply,
    failure::{Failure, Result},
    git::{Applied, Merge, Repository, words},
    list::{author, author_name, given, place, title},
    open::fetch,
    output::Output,
    teams::{person, short_user},
    worktree::{Files, Held, Links, Place, Worktree},
};
use osmynt_client::{Doubt, Header, Kind, Opened, Snippet};
use osmynt_core::text::{EXCERPT_CHARS, quoted};
use osmynt_edits::{Patch, Plan, RepoPath, Unsafe, Why, plan};
use serde_json::json;
use std::{io, path::Path};

/// Applies a snippet to the repository around the current folder.
pub(crate) fn run(args: &Apply, out: Output) -> Result<()> {
    let repository = Repository::around(Path::new("."))?.ok_or_else(|| {
        Failure::usage("this folder is not in a git repository")
            .next("Go to your clone of the repository and try again, or save it: osmynt open ID -o FILE")
    })?;
    let (client, opened) = fetch(&args.which, out)?;
    let id = client.short_id(opened.snippet.team, opened.snippet.id)?;
    let apply = |dry_run| {
        if opened.snippet.header.kind == Kind::Diff {
            apply_diff(&repository, &opened, dry_run)
        } else {
            Ok(vec![apply_text(&repository, &opened, dry_run)?])
        }
    };
    if !args.dry_run && !args.yes && is_new(&opened.snippet) {
        confirm(&opened.snippet, &id, &apply(true)?, out)?;
    }
    let files = apply(args.dry_run)?;
    client.mark_seen(&opened)?;
    report(&opened, &id, &files, args.dry_run, out)
}

/// Whether the person had not seen this snippet here before, or nothing by its author.
const fn is_new(snippet: &Snippet) -> bool {
    !snippet.known || !snippet.author_known
}

/// Goes on only if the person at the terminal, shown what it is and what would become of the files, says so.
fn confirm(snippet: &Snippet, id: &str, files: &[Done], out: Output) -> Result<()> {
    let touched = files.iter().filter(|file| file.outcome != Outcome::Unchanged).count();
    if touched == 0 {
        return Ok(());
    }
    let files = told(files, true);
    let why = if snippet.author_known {
        "this snippet was never shown here before"
    } else {
        "nothing by its author was ever shown here before"
    };
    let question = format!(
        "{files}\n\nYou are asked since {why}. To look at it first: osmynt open {id}\n\nApply {}, to {}? [y/N]",
        described(snippet, id),
        counted(touched)
    );
    match out.ask(&question)? {
        None => Err(Failure::refused(format!("{}, is not applied: {why}", described(snippet, id)))
            .next(format!("Look at it: osmynt open {id}\nTo apply it without being asked, use --yes."))),
        Some(answer) if matches!(answer.to_lowercase().as_str(), "y" | "yes") => Ok(()),
        Some(_) => Err(Failure::refused("it was not confirmed, so nothing has changed")),
    }
}

/// What is applied, as part of a sentence: whose, and which.
fn described(snippet: &Snippet, id: &str) -> String {
    let which = title(snippet).map_or_else(|| id.to_owned(), |title| format!("{title} ({id})"));
    format!("what {} shared, {which}", whose(snippet))
}

/// The author with the beginning of the user id, which is theirs for certain.
fn whose(snippet: &Snippet) -> String {
    match &snippet.author {
        _ if snippet.mine => "you".into(),
        // It has the id in it.
        author if author.doubt.is_some() || author.login.is_none() => person(author),
        author => format!("@{} ({}…)", person(author), short_user(author.user)),
    }
}

fn counted(files: usize) -> String {
    format!("{files} file{}", if files == 1 { "" } else { "s" })
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

fn report(opened: &Opened, id: &str, files: &[Done], dry_run: bool, out: Output) -> Result<()> {
    let snippet = &opened.snippet;
    let value = json!({
        "snippet": snippet.id.to_string(),
        "title": snippet.header.title,
        "author": author_name(snippet),
        "author_user": snippet.author.user.to_string(),
        "author_doubt": snippet.author.doubt.as_ref().map(Doubt::code),
        "dry_run": dry_run,
        "files": files.iter().map(|file| json!({"path": file.path, "outcome": file.outcome.word()})).collect::<Vec<_>>(),
    });
    out.done(&value, |paint| {
        let title = title(snippet).map(|title| format!("{title}, ")).unwrap_or_default();
        format!("{}  {title}by {}\n{}", paint.id(id), author(snippet), told(files, dry_run))
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

/// What became of each file, or would.
fn told(files: &[Done], dry_run: bool) -> String {
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
}

// Lines and whole files

fn apply_text(repository: &Repository, opened: &Opened, dry_run: bool) -> Result<Done> {
    let header = &opened.snippet.header;
    let named = header.path.as_deref().ok_or_else(|| {
        Failure::refused("it does not say which file it belongs to")
            .next("Save it where you want it: osmynt open ID -o FILE")
    })?;
    let path = RepoPath::parse(named).map_err(|why| outside(named, why))?;
    let worktree = worktree(repository)?;
    let before = read(&worktree, &path, Links::Follow)?;
    let base = match &header.base {
        Some(base) => repository.blob(&base.blob)?,
        None => None,
    };
    let created = before.is_none();
    let present = before.as_ref().map(|(bytes, _)| bytes.clone());
    let (outcome, bytes) = match plan(header, &opened.content, base, present) {
        Plan::Nothing => (Outcome::Unchanged, None),
        Plan::Write(bytes) => (if created { Outcome::Created } else { Outcome::Changed }, Some(bytes)),
        Plan::Refuse(why) => return Err(refusal(why, header)),
        Plan::Merge { present, base, shared, ends } => {
            let native = |text: Vec<u8>| ends.native(text);
            match repository.merge(&present, &base, &shared)? {
                Merge::Clean(merged) if merged == present => (Outcome::Unchanged, None),
                Merge::Clean(merged) => (Outcome::Changed, Some(native(merged))),
                Merge::Conflict(marked) => (Outcome::Conflict, Some(native(marked))),
                Merge::Binary => return Err(refusal(Why::Binary, header)),
            }
        }
    };
    if let Some(bytes) = bytes.filter(|_| !dry_run) {
        let place = unchanged(&worktree, &path, Links::Follow, &before)?;
        let permissions = before.map(|(_, permissions)| permissions);
        place.write(&bytes, permissions).map_err(Failure::io(format!("cannot write {path}")))?;
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
    let worktree = worktree(repository)?;
    let before = patch
        .paths
        .iter()
        .map(|path| Ok((path.clone(), read(&worktree, path, Links::Refuse)?)))
        .collect::<Result<Files>>()?;
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
    let attributes = attributes(&worktree, &patch)?;
    let (after, conflicts) = match repository.apply(&opened.content, &patch, &before, &attributes)? {
        Applied::Done { after, conflicts } => (after, conflicts),
        Applied::AlreadyThere => (before.clone(), Vec::new()),
        Applied::Refused(said) => {
            return Err(Failure::refused(format!("the diff does not fit your files: {}", words(&said))).next(
                "Nothing was changed. Check out the version that it was made from, or look at it with: osmynt open ID",
            ));
        }
    };
    if !dry_run {
        write_all(&worktree, &before, &after)?;
    }
    Ok(before
        .into_iter()
        .zip(after.into_values())
        .map(|((path, old), new)| {
            let outcome = match (&old, &new) {
                _ if conflicts.iter().any(|conflict| conflict == path.as_str()) => Outcome::Conflict,
                (old, new) if old == new => Outcome::Unchanged,
                (Some(_), None) => Outcome::Removed,
                (None, _) => Outcome::Created,
                (Some(_), Some(_)) => Outcome::Changed,
            };
            Done { path: path.as_str().to_owned(), outcome }
        })
        .collect())
}

/// The `.gitattributes` of the folders that a patch touches. They say how git converts line ends and which files it
/// does not merge.
fn attributes(worktree: &Worktree, patch: &Patch) -> Result<Files> {
    let paths = patch.paths.iter().flat_map(|path| path.in_each_folder(".gitattributes"));
    let mut files = Files::new();
    for path in paths.filter(|path| !patch.paths.contains(path)) {
        // Git takes no notice of one that is a link either.
        if let Ok(place) = worktree.locate(&path, Links::Refuse).map_err(cannot_look())? {
            let held = place.read().map_err(Failure::io(format!("cannot read {path}")))?;
            files.insert(path, held);
        }
    }
    Ok(files)
}

/// Changes the files from what they hold in `before` to what they hold in `after`. Both have the same paths.
fn write_all(worktree: &Worktree, before: &Files, after: &Files) -> Result<()> {
    let mut changes: Vec<_> = before.iter().zip(after.values()).filter(|((_, old), new)| old != new).collect();
    // Files are removed last, so that a failure on the way loses nothing.
    changes.sort_by_key(|(_, new)| new.is_none());
    for ((path, old), new) in changes {
        let place = unchanged(worktree, path, Links::Refuse, old)?;
        match new {
            Some((bytes, permissions)) => place.write(bytes, Some(permissions.clone())),
            None => place.remove(),
        }
        .map_err(Failure::io(format!("cannot write {path}")))?;
    }
    Ok(())
}

// Files

fn worktree(repository: &Repository) -> Result<Worktree> {
    repository.worktree().map_err(cannot_look())
}

/// What the file holds.
fn read(worktree: &Worktree, path: &RepoPath, links: Links) -> Result<Held> {
    let place = worktree.locate(path, links).map_err(cannot_look())?;
    let place = place.map_err(|why| outside(path.as_str(), why))?;
    place.read().map_err(Failure::io(format!("cannot read {path}")))
}

/// The place of a file that still holds what was read from it: what is about to be written was made of that.
fn unchanged(worktree: &Worktree, path: &RepoPath, links: Links, old: &Held) -> Result<Place> {
    let place = worktree.locate(path, links).map_err(cannot_look())?;
    match place {
        Ok(place) if place.read().map_err(Failure::io(format!("cannot read {path}")))? == *old => Ok(place),
        _ => Err(Failure::failed(format!("another program changed {path} meanwhile"))
            .next("Look with `git status` at what was written before, and try again.")),
    }
}

fn cannot_look() -> impl FnOnce(io::Error) -> Failure {
    Failure::io("cannot look at the repository's files")
}

fn outside(path: &str, why: Unsafe) -> Failure {
    Failure::refused(format!("it would write to {}: {why}", quoted(path, EXCERPT_CHARS)))
        .next("Nothing was changed. No honest share does that: ask its author, and look at it with: osmynt open ID")
}

#[cfg(test)]
mod tests {
    use super::*;
    use osmynt_client::{Base, Lines};
    use std::{collections::BTreeMap, fs};

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
            let author = Person { user: team.parse().unwrap(), login: None, doubt: None };
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
                known: true,
                author_known: true,
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

        fn refused(snippet: &Snippet, outcome: Outcome) -> Option<Failure> {
            let files = [Done { path: "f".into(), outcome }];
            confirm(snippet, "26f8ad91", &files, Output::json_only()).err()
        }

        #[test]
        fn what_was_never_shown_is_not_applied_where_nobody_can_be_asked() {
            let Opened { mut snippet, .. } = opened(header(None, None), b"x");
            assert!(!is_new(&snippet));
            for (known, author_known) in [(false, false), (false, true), (true, false)] {
                (snippet.known, snippet.author_known) = (known, author_known);
                assert!(is_new(&snippet));
                let failure = refused(&snippet, Outcome::Changed).unwrap();
                assert_eq!(failure.exit, crate::failure::Exit::Refused);
                assert!(failure.next.unwrap().contains("--yes"));
            }
            assert!(refused(&snippet, Outcome::Unchanged).is_none(), "nothing would be written");
        }

        #[test]
        fn the_question_names_author_id_title_and_snippet() {
            let Opened { mut snippet, .. } = opened(header(None, None), b"x");
            snippet.author.login = Some("mallory".into());
            snippet.header.title = Some("Fix".into());
            assert_eq!(described(&snippet, "26f8ad91"), "what @mallory (AAAAAAAAAAAAAAAA…) shared, \"Fix\" (26f8ad91)");
            snippet.author.doubt = Some(Doubt::Shared);
            snippet.header.title = None;
            assert_eq!(
                described(&snippet, "26f8ad91"),
                "what mallory AAAAAAAAAAAAAAAA (somebody else has or had this name) shared, 26f8ad91"
            );
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
        fn a_dry_run_of_a_diff_says_what_it_would_do_and_does_nothing() {
            let (folder, repository) = repository(BASE);
            fs::create_dir(folder.path().join("old")).unwrap();
            fs::write(folder.path().join("old/g"), "g\n").unwrap();
            let diff = "--- a/f\n+++ b/f\n@@ -1,3 +1,3 @@\n 1\n-2\n+two\n 3\n\
                diff --git a/old/g b/new/g\nsimilarity index 100%\nrename from old/g\nrename to new/g\n";
            let dry = apply_diff(&repository, &diff_opened(diff), true).unwrap();
            assert_eq!(
                outcomes(&dry),
                [("f", Outcome::Changed), ("new/g", Outcome::Created), ("old/g", Outcome::Removed)]
            );
            assert_eq!(fs::read(folder.path().join("f")).unwrap(), BASE);
            assert!(folder.path().join("old/g").exists() && !folder.path().join("new").exists());
            assert_eq!(apply_diff(&repository, &diff_opened(diff), false).unwrap(), dry);
            assert_eq!(fs::read(folder.path().join("f")).unwrap(), b"1\ntwo\n3\n");
            assert_eq!(fs::read(folder.path().join("new/g")).unwrap(), b"g\n");
            assert!(!folder.path().join("old").exists(), "the folder is empty");
        }

        #[test]
        fn line_ends_are_converted_as_uncommitted_attributes_say() {
            let (folder, repository) = repository(BASE);
            fs::create_dir(folder.path().join("new")).unwrap();
            fs::write(folder.path().join("new/.gitattributes"), "g text eol=crlf\n").unwrap();
            fs::write(folder.path().join(".gitattributes"), "f text eol=crlf\n").unwrap();
            fs::write(folder.path().join("f"), "1\r\n2\r\n3\r\n").unwrap();
            apply_diff(&repository, &diff_opened(DIFF), false).unwrap();
            assert_eq!(fs::read(folder.path().join("f")).unwrap(), b"1\r\ntwo\r\n3\r\n");
            assert_eq!(fs::read(folder.path().join("new/g")).unwrap(), b"g\r\n");
        }

        #[cfg(unix)]
        #[test]
        fn a_diff_keeps_and_sets_who_may_run_a_file() {
            use std::os::unix::fs::PermissionsExt;
            let (folder, repository) = repository(BASE);
            let file = folder.path().join("f");
            let runs = |name: &str| fs::metadata(folder.path().join(name)).unwrap().permissions().mode() & 0o111 != 0;
            fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
            apply_diff(&repository, &diff_opened(DIFF), false).unwrap();
            assert_eq!(fs::read(&file).unwrap(), b"1\ntwo\n3\n");
            assert!(runs("f") && !runs("new/g"));
            let modes = "diff --git a/f b/f\nold mode 100755\nnew mode 100644\n\
                diff --git a/new/g b/new/g\nold mode 100644\nnew mode 100755\n";
            apply_diff(&repository, &diff_opened(modes), false).unwrap();
            assert!(!runs("f") && runs("new/g"));
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

        #[cfg(unix)]
        const TWO_NEW_FILES: &str = "--- /dev/null\n+++ b/src/a\n@@ -0,0 +1 @@\n+x\n\
            --- /dev/null\n+++ b/src/b\n@@ -0,0 +1 @@\n+x\n";

        /// Everything below `folder`, by name and content.
        #[cfg(unix)]
        fn listing(folder: &Path) -> BTreeMap<String, Vec<u8>> {
            let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
            entries
                .map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap_or_default()))
                .collect()
        }

        /// Has git run `command` each time that it writes a file.
        #[cfg(unix)]
        fn run_while_git_writes(folder: &Path, command: &str) {
            fs::write(folder.join(".git/info/attributes"), "* filter=meanwhile\n").unwrap();
            let set = std::process::Command::new("git")
                .current_dir(folder)
                .args(["config", "filter.meanwhile.smudge", &format!("cat; {command}; :")])
                .status();
            assert!(set.unwrap().success());
        }

        #[cfg(unix)]
        #[test]
        fn a_folder_swapped_for_a_link_while_git_works_leads_nowhere() {
            let (folder, repository) = repository(BASE);
            let outside = tempfile::tempdir().unwrap();
            fs::write(outside.path().join("a"), "mine").unwrap();
            let before = listing(outside.path());
            fs::create_dir(folder.path().join("src")).unwrap();
            let (top, away) = (folder.path().display(), outside.path().display());
            run_while_git_writes(folder.path(), &format!("mv {top}/src {top}/aside && ln -s {away} {top}/src"));
            let done = apply_diff(&repository, &diff_opened(TWO_NEW_FILES), false);
            assert!(fs::symlink_metadata(folder.path().join("src")).unwrap().is_symlink(), "swapped");
            assert_eq!(listing(outside.path()), before);
            assert!(done.is_err(), "{done:?}");
        }

        #[cfg(unix)]
        #[test]
        fn what_another_program_wrote_meanwhile_is_not_overwritten() {
            let (folder, repository) = repository(BASE);
            run_while_git_writes(folder.path(), &format!("echo mine >> {}/f", folder.path().display()));
            let failure = apply_diff(&repository, &diff_opened(DIFF), false).unwrap_err();
            assert!(failure.message.contains("another program changed f"), "{failure:?}");
            assert!(fs::read_to_string(folder.path().join("f")).unwrap().starts_with("1\n2\n3\nmine\n"));
            assert!(!folder.path().join("new").exists());
        }

        #[cfg(unix)]
        #[test]
        fn nothing_is_written_outside_while_a_folder_is_swapped_for_a_link_all_the_time() {
            use std::sync::atomic::{AtomicBool, Ordering};
            let (folder, repository) = repository(BASE);
            let outside = tempfile::tempdir().unwrap();
            fs::write(outside.path().join("there"), BASE).unwrap();
            let before = listing(outside.path());
            let [src, aside, link] = ["src", "aside", "link"].map(|name| folder.path().join(name));
            fs::create_dir(&src).unwrap();
            std::os::unix::fs::symlink(outside.path(), &link).unwrap();
            let stop = AtomicBool::new(false);
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    while !stop.load(Ordering::Relaxed) {
                        // Each step may fail: an application makes the folder when it finds none.
                        drop(fs::remove_dir_all(&aside));
                        for (from, to) in [(&src, &aside), (&link, &src), (&src, &link), (&aside, &src)] {
                            drop(fs::rename(from, to));
                        }
                    }
                });
                for round in 0..970 {
                    let mut header = header(None, None);
                    header.path = Some(format!("src/text{round}"));
                    drop(apply_text(&repository, &opened(header, b"x\n"), false));
                }
                for round in 0..30 {
                    let diff = format!("--- /dev/null\n+++ b/src/diff{round}\n@@ -0,0 +1 @@\n+x\n");
                    drop(apply_diff(&repository, &diff_opened(&diff), false));
                }
                stop.store(true, Ordering::Relaxed);
            });
            assert_eq!(listing(outside.path()), before);
        }
    }
}
