//! `share`: what is shared, and what it replaces in the repository that it comes from.

use crate::{
    args::{Share, Source},
    client,
    failure::{Failure, Result},
    git::Repository,
    list::{lines_of, place},
    output::Output,
};
use osmynt_client::{Base, Client, Draft, Error, Header, Kind, Lines, Recipients, TeamId};
use osmynt_core::text::line;
use osmynt_edits::{
    RepoPath,
    lines::{self, BaseRange, LineRange},
    looks_like_one,
};
use serde_json::json;
use std::{
    fs,
    io::{self, IsTerminal, Read},
    path::{Path, PathBuf},
};

/// The service takes no more. Longer input is not even read to its end.
const MOST_BYTES: u64 = 10 * 1024 * 1024;

/// Shares a file, some of its lines, or standard input.
pub(crate) fn run(args: &Share, out: Output) -> Result<()> {
    let source = Source::parse(&args.what, |name| Path::new(name).exists())
        .map_err(|why| Failure::usage(format!("`{}`: {why}", args.what)))?;
    // Before anything is read: whoever is not signed in should not first type the text.
    let client = client(out)?;
    let piece = match source {
        Source::Stdin => from_stdin()?,
        Source::File(path, lines) => from_file(&path, lines)?,
    };
    let Header { kind, path, lines, .. } = &piece.header;
    let (kind, what) = (*kind, place(path.as_deref(), *lines));
    let value = json!({"kind": word(kind), "path": path, "lines": lines_of(*lines)});

    let progress = out.progress("Encrypting and sharing");
    let team = team(&client, args.team.as_deref())?;
    let to = if args.to.is_empty() { Recipients::Team } else { Recipients::Members(args.to.clone()) };
    let lifetime = args.expires.map(|lifetime| lifetime.0);
    let shared = client.share(team, &piece.draft(args.title.clone(), to, lifetime))?;
    let id = client.short_id(shared.team, shared.snippet)?;
    drop(progress);

    let mut value = value;
    if let Some(fields) = value.as_object_mut() {
        fields.insert("snippet".into(), json!(shared.snippet.to_string()));
        fields.insert("team".into(), json!(shared.team.to_string()));
        fields.insert("received_at".into(), json!(shared.received_at.to_rfc3339()));
        fields.insert("rotated".into(), json!(shared.rotated));
    }
    out.answer(&value, |paint| {
        if out.is_quiet() {
            return shared.snippet.to_string();
        }
        let what = what.unwrap_or_else(|| match kind {
            Kind::Diff => "the diff".into(),
            Kind::Code | Kind::File => "standard input".into(),
        });
        let whom = if args.to.is_empty() { "the team".to_owned() } else { line(&args.to.join(", ")) };
        format!("Shared {what} with {whom}: {}", paint.id(&id))
    })
}

/// The team that is named, or the only one. Where it is not clear which that is, nothing is guessed.
fn team(client: &Client, named: Option<&str>) -> Result<TeamId> {
    client.find_team(named).map_err(|error| {
        let unclear = named.is_none() && matches!(error, Error::Usage { .. } | Error::Vanished { .. });
        if unclear { Failure::usage(error.to_string()).next("Say which team: --team TEAM") } else { error.into() }
    })
}

/// What is to be shared, before it is known with whom.
struct Piece {
    content: Vec<u8>,
    header: Header,
}

impl Piece {
    fn new(kind: Kind, content: Vec<u8>) -> Self {
        let size = u64::try_from(content.len()).unwrap_or(u64::MAX);
        let header =
            Header { kind, size, title: None, language: None, path: None, repository: None, lines: None, base: None };
        Self { content, header }
    }

    fn draft(self, title: Option<String>, to: Recipients, lifetime: Option<std::time::Duration>) -> Draft {
        let Header { kind, language, path, repository, lines, base, .. } = self.header;
        Draft { content: self.content, kind, title, language, path, repository, lines, base, to, lifetime }
    }
}

fn from_stdin() -> Result<Piece> {
    let stdin = io::stdin();
    if stdin.is_terminal() {
        return Err(Failure::usage("there is nothing on standard input")
            .next("Pipe something in, for example: git diff | osmynt share - --team TEAM"));
    }
    let content = all_of(stdin.lock(), "cannot read standard input")?;
    if content.is_empty() {
        return Err(Failure::usage("standard input is empty, so there is nothing to share"));
    }
    let kind = if looks_like_one(&content) { Kind::Diff } else { kind_of(&content) };
    let mut piece = Piece::new(kind, content);
    if kind == Kind::Diff {
        piece.header.language = Some("diff".into());
        // A diff on standard input is most likely that of the repository around.
        piece.header.repository =
            Repository::around(Path::new(".")).ok().flatten().and_then(|repository| repository.name());
    }
    Ok(piece)
}

fn from_file(path: &Path, range: Option<LineRange>) -> Result<Piece> {
    let shown = path.display();
    let cannot_read = format!("cannot read {shown}");
    let place = fs::canonicalize(path).map_err(Failure::io(cannot_read.clone()))?;
    let file = fs::File::open(&place).map_err(Failure::io(cannot_read.clone()))?;
    if file.metadata().is_ok_and(|found| found.is_dir()) {
        return Err(Failure::usage(format!("{shown} is a folder")).next("Share one file at a time."));
    }

    let mut piece = if let Some(range) = range {
        let text = fs::read(&place).map_err(Failure::io(cannot_read))?;
        Piece::new(Kind::Code, selected(&text, range).map_err(|why| Failure::usage(format!("{shown} {why}")))?)
    } else {
        let content = all_of(file, &cannot_read)?;
        let named_diff = extension(&place).is_some_and(|extension| matches!(extension.as_str(), "diff" | "patch"));
        let kind = if named_diff && looks_like_one(&content) { Kind::Diff } else { kind_of(&content) };
        Piece::new(kind, content)
    };
    piece.header.lines = range.map(|LineRange { from, to }| Lines { from, to });
    piece.header.language = language(&place, piece.header.kind);
    piece.header.path = place.file_name().map(|name| name.to_string_lossy().into_owned());
    if let Some((repository, inside)) = home_of(&place) {
        piece.header.repository = repository.name();
        if piece.header.kind != Kind::Diff {
            piece.header.base = base(&repository, &inside, range)?;
        }
        piece.header.path = Some(inside.as_str().to_owned());
    }
    Ok(piece)
}

/// The repository that a file is in, and its path there. None is no failure: things outside of repositories can be
/// shared, too.
fn home_of(place: &Path) -> Option<(Repository, RepoPath)> {
    let repository = Repository::around(place.parent()?).ok()??;
    let inside = place.strip_prefix(fs::canonicalize(repository.top()).ok()?).ok()?;
    let parts: Option<Vec<&str>> = inside.iter().map(|part| part.to_str()).collect();
    let path = RepoPath::parse(&parts?.join("/")).ok()?;
    Some((repository, path))
}

/// What the shared lines, or the whole file, replace in the file as last committed.
fn base(repository: &Repository, path: &RepoPath, range: Option<LineRange>) -> Result<Option<Base>> {
    let Some(blob) = repository.committed(path)? else { return Ok(None) };
    let Some(range) = range else { return Ok(Some(Base { blob, from: None, to: None })) };
    let changes = repository.changes_since_head(path)?;
    let hunks = lines::hunks(&changes)
        .ok_or_else(|| Failure::failed("git described the changes to the file in a way that is not understood"))?;
    let BaseRange { from, to } = lines::base_of(range, &hunks);
    Ok(Some(Base { blob, from: Some(from), to: Some(to) }))
}

fn selected(text: &[u8], range: LineRange) -> Result<Vec<u8>, String> {
    if text.contains(&0) {
        return Err("is not a text file, so it has no lines to share; leave out the range".into());
    }
    lines::select(text, range).ok_or_else(|| {
        let count = lines::count(text);
        format!("has only {count} line{}", if count == 1 { "" } else { "s" })
    })
}

fn all_of(source: impl Read, cannot_read: &str) -> Result<Vec<u8>> {
    let mut content = Vec::new();
    let read = source.take(MOST_BYTES.saturating_add(1)).read_to_end(&mut content).map_err(Failure::io(cannot_read))?;
    if u64::try_from(read).is_ok_and(|read| read > MOST_BYTES) {
        return Err(Failure::usage("it is larger than 10 MiB, which is the most that can be shared")
            .next("Share the lines that matter, as FILE:FROM-TO."));
    }
    Ok(content)
}

fn kind_of(content: &[u8]) -> Kind {
    if std::str::from_utf8(content).is_ok_and(|text| !text.contains('\0')) { Kind::Code } else { Kind::File }
}

/// A kind in JSON.
pub(crate) fn word(kind: Kind) -> &'static str {
    match kind {
        Kind::Code => "code",
        Kind::Diff => "diff",
        Kind::File => "file",
    }
}

fn extension(path: &Path) -> Option<String> {
    Some(path.extension()?.to_str()?.to_ascii_lowercase())
}

/// The language by the name that editors use for it (the Language Server Protocol's identifiers); the extension
/// itself where there is no better.
fn language(path: &Path, kind: Kind) -> Option<String> {
    match kind {
        Kind::File => return None,
        Kind::Diff => return Some("diff".into()),
        Kind::Code => {}
    }
    let name = path.file_name()?.to_str()?.to_ascii_lowercase();
    match name.as_str() {
        "dockerfile" | "containerfile" => return Some("dockerfile".into()),
        "makefile" | "gnumakefile" => return Some("makefile".into()),
        _ => {}
    }
    let extension = extension(&PathBuf::from(name))?;
    let known = match extension.as_str() {
        "rs" => "rust",
        "py" | "pyi" => "python",
        "js" | "mjs" | "cjs" => "javascript",
        "jsx" => "javascriptreact",
        "ts" | "mts" | "cts" => "typescript",
        "tsx" => "typescriptreact",
        "rb" => "ruby",
        "kt" | "kts" => "kotlin",
        "cs" => "csharp",
        "fs" => "fsharp",
        "cc" | "cpp" | "cxx" | "hh" | "hpp" | "hxx" => "cpp",
        "h" => "c",
        "m" => "objective-c",
        "sh" | "bash" | "zsh" => "shellscript",
        "ps1" => "powershell",
        "md" => "markdown",
        "yml" => "yaml",
        "htm" => "html",
        "ex" | "exs" => "elixir",
        "erl" => "erlang",
        "hs" => "haskell",
        "ml" => "ocaml",
        "pl" | "pm" => "perl",
        "jl" => "julia",
        "clj" => "clojure",
        "tex" => "latex",
        "txt" => "plaintext",
        other => other,
    };
    Some(known.to_owned())
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, reason = "numbers of a few lines")]
mod tests {
    use super::*;
    use crate::git::Merge;
    use osmynt_edits::lines::{Hunk, base_of, count, hunks, replace, select};
    use proptest::prelude::*;

    #[test]
    fn text_is_code_and_other_bytes_are_a_file() {
        assert_eq!(kind_of("fn main() {} // ö".as_bytes()), Kind::Code);
        assert_eq!(kind_of(b""), Kind::Code);
        assert_eq!(kind_of(b"\x89PNG\r\n"), Kind::File);
        assert_eq!(kind_of(b"a\0b"), Kind::File);
    }

    #[test]
    fn languages_have_the_names_that_editors_use() {
        let of = |name: &str| language(Path::new(name), Kind::Code);
        assert_eq!(of("src/main.rs").as_deref(), Some("rust"));
        assert_eq!(of("A.TSX").as_deref(), Some("typescriptreact"));
        assert_eq!(of("Dockerfile").as_deref(), Some("dockerfile"));
        assert_eq!(of("x.zig").as_deref(), Some("zig"));
        assert_eq!(of("LICENSE"), None);
        assert_eq!(language(Path::new("x.png"), Kind::File), None);
    }

    #[test]
    fn lines_of_a_binary_file_or_beyond_the_end_cannot_be_shared() {
        let range = LineRange { from: 1, to: 2 };
        assert_eq!(selected(b"a\nb\nc", range).unwrap(), b"a\nb\n");
        assert_eq!(selected(b"a", range).unwrap_err(), "has only 1 line");
        assert!(selected(b"a\0\nb\n", range).unwrap_err().contains("not a text file"));
    }

    #[test]
    fn a_file_knows_its_repository_and_what_it_replaces() {
        let folder = tempfile::tempdir().unwrap();
        let repository = Repository::for_tests(folder.path());
        fs::create_dir(folder.path().join("src")).unwrap();
        repository.commit_for_tests("src/a.rs", b"1\n2\n3\n");
        fs::write(folder.path().join("src/a.rs"), "1\nnew\n2\n3\n").unwrap();

        let piece = from_file(&folder.path().join("src/a.rs"), Some(LineRange { from: 2, to: 3 })).unwrap();
        assert_eq!(piece.content, b"new\n2\n");
        let header = piece.header;
        assert_eq!(
            (header.kind, header.path.as_deref(), header.language.as_deref()),
            (Kind::Code, Some("src/a.rs"), Some("rust"))
        );
        assert_eq!(header.lines, Some(Lines { from: 2, to: 3 }));
        let blob = repository.blob_id(b"1\n2\n3\n").unwrap();
        assert_eq!(header.base, Some(Base { blob, from: Some(2), to: Some(2) }));
        assert_eq!(header.repository.as_deref(), folder.path().file_name().and_then(|name| name.to_str()));
    }

    #[test]
    fn a_file_outside_of_a_repository_has_a_name_and_nothing_more() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a.bin"), b"\0\x01").unwrap();
        let header = from_file(&folder.path().join("a.bin"), None).unwrap().header;
        assert_eq!(
            (header.kind, header.path.as_deref(), header.repository, header.base),
            (Kind::File, Some("a.bin"), None, None)
        );
    }

    #[test]
    fn a_file_that_was_never_committed_replaces_nothing() {
        let folder = tempfile::tempdir().unwrap();
        Repository::for_tests(folder.path());
        fs::write(folder.path().join("a.txt"), "a\n").unwrap();
        let header = from_file(&folder.path().join("a.txt"), Some(LineRange { from: 1, to: 1 })).unwrap().header;
        assert_eq!((header.path.as_deref(), header.base), (Some("a.txt"), None));
    }

    #[test]
    fn a_patch_file_is_a_diff_only_if_it_is_one() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a.patch"), "--- a/x\n+++ b/x\n@@ -1 +1 @@\n-a\n+b\n").unwrap();
        fs::write(folder.path().join("b.diff"), "just words\n").unwrap();
        assert_eq!(from_file(&folder.path().join("a.patch"), None).unwrap().header.kind, Kind::Diff);
        assert_eq!(from_file(&folder.path().join("b.diff"), None).unwrap().header.kind, Kind::Code);
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
