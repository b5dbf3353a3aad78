//! `list`, `delete` and `export`, and how a snippet is named and described.

use crate::{
    args::{Delete, Export, List},
    client,
    failure::{Exit, Failure, Result},
    output::{Output, ago, bytes, now, table},
    share::word,
    teams::{called, name_or_id, of, person, vanished},
};
use osmynt_client::{
    Audience, Client, Doubt, Kind, Lines, Listing, Person, Place, Rejected, Snippet, TeamId, TeamSummary, Time,
};
use osmynt_core::text::{self, line};
use serde_json::{Value, json};
use std::{
    cmp::Reverse,
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// Lists what the person can open.
pub(crate) fn run(args: &List, out: Output) -> Result<()> {
    let client = client(out)?;
    let limit = usize::try_from(args.limit).unwrap_or(usize::MAX);
    let progress = out.progress("Reading and verifying");
    let mine = client.teams()?;
    let teams: Vec<TeamId> = match &args.team {
        Some(team) => vec![client.find_team(Some(team))?],
        None => mine.iter().filter(|team| matches!(team.place, Place::Member { .. })).map(|team| team.id).collect(),
    };
    let unread: Vec<String> = mine.iter().filter(|_| args.team.is_none()).filter_map(unread).collect();
    let names: BTreeMap<TeamId, Option<String>> = mine.into_iter().map(|team| (team.id, team.name)).collect();
    let Listing { snippets, rejected, more } = newest(&client, &teams, limit)?;
    let ids = client.short_ids(&snippets.iter().map(|snippet| (snippet.team, snippet.id)).collect::<Vec<_>>())?;
    drop(progress);

    let name = |team: TeamId| names.get(&team).and_then(Option::as_deref);
    let value = json!({
        "snippets": snippets.iter().map(|snippet| described(snippet, name(snippet.team))).collect::<Vec<_>>(),
        "rejected": rejected.iter().map(left_out).collect::<Vec<_>>(),
        "more": more,
    });
    out.answer(&value, |paint| {
        if snippets.is_empty() {
            return "Nothing was shared yet. Share something with: osmynt share FILE --team TEAM".into();
        }
        let several = teams.len() > 1;
        let rows: Vec<_> = snippets
            .iter()
            .zip(&ids)
            .map(|(snippet, id)| {
                let mut row =
                    vec![id.clone(), ago(snippet.received_at.unwrap_or(snippet.issued_at), now()), author(snippet)];
                if several {
                    row.push(name_or_id(name(snippet.team), snippet.team));
                }
                row.push(what(snippet));
                row.push(bytes(snippet.header.size));
                row.push(title(snippet).unwrap_or_default());
                row
            })
            .collect();
        table(&rows, |column, cell| match column {
            0 => paint.id(cell),
            1 => paint.faint(cell),
            2 if cell.contains('(') => paint.warning(cell),
            _ => cell.to_owned(),
        })
    })?;
    for note in unread {
        out.note(&note);
    }
    if more {
        out.note("there are more; see them with --limit.");
    }
    for one in &rejected {
        let which = one.id.map_or_else(|| "a snippet".to_owned(), |id| id.to_string());
        out.note(&format!("{which} is left out: {}", line(&one.error.to_string())));
    }
    // What merely cannot be read (its key never reached this device) is no sign of an attack; what does not verify is.
    let forged = rejected
        .into_iter()
        .map(|one| Failure::from(one.error))
        .filter(|failure| failure.exit == Exit::Untrusted)
        .count();
    if forged > 0 {
        let which = if forged == 1 { "one thing".to_owned() } else { format!("{forged} things") };
        return Err(Failure::untrusted(format!("{which} in the list did not verify"))
            .next("What is shown above did. Tell whoever runs the service."));
    }
    Ok(())
}

/// Why nothing of a team is listed.
fn unread(team: &TeamSummary) -> Option<String> {
    match team.place {
        Place::Member { .. } => None,
        Place::Pending { .. } => Some(format!(
            "nothing of {} is listed: an owner or admin must confirm you first.",
            called(team.name.as_deref(), team.id)
        )),
        Place::Vanished => Some(vanished(team.name.as_deref(), team.id)),
    }
}

/// The newest of several teams together.
fn newest(client: &Client, teams: &[TeamId], limit: usize) -> Result<Listing> {
    let mut all = Listing { snippets: Vec::new(), rejected: Vec::new(), more: false };
    for team in teams {
        let listing = client.list(*team, limit)?;
        all.snippets.extend(listing.snippets);
        all.rejected.extend(listing.rejected);
        all.more |= listing.more;
    }
    all.snippets.sort_by_key(|snippet| Reverse((snippet.received_at, snippet.id)));
    all.more |= all.snippets.len() > limit;
    all.snippets.truncate(limit);
    Ok(all)
}

/// Deletes a snippet.
pub(crate) fn delete(args: &Delete, out: Output) -> Result<()> {
    let client = client(out)?;
    let progress = out.progress("Deleting");
    let (team, snippet) = client.find_snippet(None, &args.id)?;
    let id = client.short_id(team, snippet)?;
    client.delete_snippet(team, snippet)?;
    drop(progress);
    out.done(&json!({"snippet": snippet.to_string(), "team": team.to_string(), "deleted": true}), |paint| {
        format!("Deleted {}. Whoever opened it before may still have it.", paint.id(&id))
    })
}

/// Saves a snippet as it is stored.
pub(crate) fn export(args: &Export, out: Output) -> Result<()> {
    let client = client(out)?;
    let progress = out.progress("Fetching and verifying");
    let (team, snippet) = client.find_snippet(None, &args.id)?;
    let stored = client.export(team, snippet)?;
    let id = client.short_id(team, snippet)?;
    drop(progress);
    let file = args.output.clone().unwrap_or_else(|| PathBuf::from(format!("{id}.osmynt")));
    if file == Path::new("-") {
        return Output::raw(&stored);
    }
    fs::write(&file, &stored).map_err(Failure::io(format!("cannot write {}", file.display())))?;
    let shown = line(&file.to_string_lossy());
    out.done(&json!({"snippet": snippet.to_string(), "team": team.to_string(), "file": file.to_string_lossy()}), |_| {
        format!("Saved to {shown}.")
    })
}

/// A snippet for a program.
pub(crate) fn described(snippet: &Snippet, team_name: Option<&str>) -> Value {
    let Snippet { header, .. } = snippet;
    json!({
        "snippet": snippet.id.to_string(),
        "team": snippet.team.to_string(),
        "team_name": team_name,
        "kind": word(header.kind),
        "title": header.title,
        "author": author_name(snippet),
        "author_user": snippet.author.user.to_string(),
        "author_doubt": snippet.author.doubt.as_ref().map(Doubt::code),
        "device": snippet.device.to_string(),
        "mine": snippet.mine,
        "audience": match &snippet.audience {
            Audience::Team { epoch } => json!({"type": "team", "epoch": epoch}),
            Audience::Members(members) => {
                json!({"type": "members", "members": members.iter().map(of).collect::<Vec<_>>()})
            }
        },
        "size": header.size,
        "language": header.language,
        "path": header.path,
        "repository": header.repository,
        "lines": lines_of(header.lines),
        "created_at": snippet.issued_at.to_rfc3339(),
        "received_at": snippet.received_at.map(Time::to_rfc3339),
        "expires_at": snippet.expires_at.map(Time::to_rfc3339),
    })
}

fn left_out(one: &Rejected) -> Value {
    json!({"snippet": one.id.map(|id| id.to_string()), "message": one.error.to_string()})
}

/// Who shared it, for a program: the login, or the user id where there is no login or something odd about it.
pub(crate) fn author_name(snippet: &Snippet) -> String {
    let Person { user, login, doubt } = &snippet.author;
    login.clone().filter(|_| doubt.is_none()).unwrap_or_else(|| user.to_string())
}

/// A range of lines for a program.
pub(crate) fn lines_of(lines: Option<Lines>) -> Value {
    lines.map_or(Value::Null, |Lines { from, to }| json!({"from": from, "to": to}))
}

/// Who shared it, for a person.
pub(crate) fn author(snippet: &Snippet) -> String {
    if snippet.mine { "you".into() } else { person(&snippet.author) }
}

/// What it is, for a person: where it comes from, or at least its kind.
pub(crate) fn what(snippet: &Snippet) -> String {
    let header = &snippet.header;
    place(header.path.as_deref(), header.lines).unwrap_or_else(|| match (header.kind, &header.repository) {
        (Kind::Diff, Some(repository)) => format!("diff of {}", given(repository)),
        (kind, _) => word(kind).to_owned(),
    })
}

/// What its author calls it, for a person: between quotes, so that it passes for nothing else on the line.
pub(crate) fn title(snippet: &Snippet) -> Option<String> {
    snippet.header.title.as_deref().map(|title| text::quoted(title, text::EXCERPT_CHARS))
}

/// A path or a repository's name as its author gave it, all of it, for a terminal.
pub(crate) fn given(name: &str) -> String {
    text::word(name, usize::MAX)
}

/// `src/main.rs:10-42`, fit for a terminal.
pub(crate) fn place(path: Option<&str>, lines: Option<Lines>) -> Option<String> {
    let path = given(path?);
    Some(match lines {
        None => path,
        Some(Lines { from, to }) if from == to => format!("{path}:{from}"),
        Some(Lines { from, to }) => format!("{path}:{from}-{to}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_fit_for_a_terminal() {
        assert_eq!(place(Some("a\u{1b}[2J.rs"), Some(Lines { from: 1, to: 2 })).unwrap(), "a\\u{1b}[2J.rs:1-2");
        assert_eq!(place(Some("a"), Some(Lines { from: 7, to: 7 })).unwrap(), "a:7");
        assert_eq!(place(Some("a has it. Run b"), Some(Lines { from: 7, to: 7 })).unwrap(), "\"a has it. Run b\":7");
        assert_eq!(place(None, None), None);
    }
}
