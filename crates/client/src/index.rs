//! What this home has verified of snippets: an id that was shown here once never means anything else, and a shortened id is
//! resolved among these first.

use std::collections::{BTreeMap, BTreeSet};

use osmynt_core::statement::SnippetStatement;
use osmynt_core::{Hash, SnippetId, TeamId, Time, UserId, Verified};
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// The file of the home.
pub(crate) const FILE: &str = "snippets.json";
/// A short id has at least this many characters.
const SHORTEST: usize = 8;

/// The snippets that were verified in this home.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Index {
    /// By team: whoever is in two teams may use an id of the one in the other.
    teams: BTreeMap<TeamId, BTreeMap<SnippetId, Indexed>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Indexed {
    /// Of the statement.
    hash: Hash,
    author: UserId,
    /// What the service said when it was verified first; none if that was a file.
    received_at: Option<Time>,
    /// Whether it was listed, or a person has seen it opened.
    seen: bool,
    /// The short id that it was shown with.
    shown: Option<String>,
}

impl Index {
    /// Takes in a verified snippet; `seen` if a person sees it. Says whether it was before. [`Error::Tampered`] if
    /// another one had its id, unless that was a file's and this is the service's.
    pub(crate) fn take(
        &mut self,
        statement: &Verified<SnippetStatement>,
        received_at: Option<Time>,
        seen: bool,
    ) -> Result<bool> {
        let said = statement.payload();
        let taken = Indexed { hash: statement.hash(), author: said.user, received_at, seen: false, shown: None };
        let entry = self.teams.entry(said.team).or_default().entry(said.snippet).or_insert_with(|| taken.clone());
        if entry.hash != taken.hash {
            if entry.received_at.is_some() || received_at.is_none() {
                return Err(Error::Tampered {
                    what: format!("this is another snippet {} than was shown here before", said.snippet),
                });
            }
            // Any member can make a file with an id that the service gave to another snippet.
            *entry = taken;
        }
        entry.received_at = entry.received_at.or(received_at);
        let before = entry.seen;
        entry.seen |= seen;
        Ok(before)
    }

    /// Notes that a snippet was seen.
    pub(crate) fn mark_seen(&mut self, team: TeamId, snippet: SnippetId) {
        if let Some(entry) = self.entry(team, snippet) {
            entry.seen = true;
        }
    }

    /// The authors of what a person has seen.
    pub(crate) fn authors(&self) -> BTreeSet<UserId> {
        self.all().filter(|(_, _, entry)| entry.seen).map(|(_, _, entry)| entry.author).collect()
    }

    /// Whether this very statement was verified here.
    pub(crate) fn has(&self, team: TeamId, snippet: SnippetId, hash: Hash) -> bool {
        self.teams.get(&team).and_then(|of_team| of_team.get(&snippet)).is_some_and(|entry| entry.hash == hash)
    }

    /// Those that a selector means, of one team or of any: the one of that id; else the one that was shown with it; else
    /// those whose ids begin or end with it. Of an id that several teams have, the one that a person has seen.
    pub(crate) fn find(&self, team: Option<TeamId>, selector: &str) -> Vec<(TeamId, SnippetId)> {
        let among = || self.all().filter(|(of, _, _)| team.is_none_or(|team| team == *of));
        if let Ok(id) = selector.parse::<SnippetId>() {
            let mut found: Vec<_> = among().filter(|(_, known, _)| *known == id).collect();
            if found.iter().filter(|(_, _, entry)| entry.seen).count() == 1 {
                found.retain(|(_, _, entry)| entry.seen);
            }
            return found.into_iter().map(|(team, id, _)| (team, id)).collect();
        }
        if let Some((team, id, _)) = among().find(|(_, _, entry)| entry.shown.as_deref() == Some(selector)) {
            return vec![(team, id)];
        }
        let fits = |id: &SnippetId| {
            let id = id.to_string();
            id.starts_with(selector) || id.ends_with(selector)
        };
        among().filter(|(_, id, _)| fits(id)).map(|(team, id, _)| (team, id)).collect()
    }

    /// The short id to show a snippet with: the end of its id, as long as it takes to be no other's that was shown, nor the
    /// end of another that is known. The whole id for one that is not known.
    pub(crate) fn short(&mut self, team: TeamId, snippet: SnippetId) -> String {
        let id = snippet.to_string();
        if let Some(shown) = self.entry(team, snippet).and_then(|entry| entry.shown.clone()) {
            return shown;
        }
        let others = || self.all().filter(|(of, other, _)| (*of, *other) != (team, snippet));
        let taken = |short: &str| {
            others()
                .any(|(_, other, entry)| entry.shown.as_deref() == Some(short) || other.to_string().ends_with(short))
        };
        let starts = (0..=id.len().saturating_sub(SHORTEST)).rev();
        let short = starts
            .filter_map(|start| id.get(start..))
            .find(|short| !short.starts_with('-') && !taken(short))
            .unwrap_or(&id)
            .to_owned();
        if let Some(entry) = self.entry(team, snippet) {
            entry.shown = Some(short.clone());
        }
        short
    }

    fn all(&self) -> impl Iterator<Item = (TeamId, SnippetId, &Indexed)> {
        self.teams.iter().flat_map(|(team, snippets)| snippets.iter().map(|(id, entry)| (*team, *id, entry)))
    }

    fn entry(&mut self, team: TeamId, snippet: SnippetId) -> Option<&mut Indexed> {
        self.teams.get_mut(&team)?.get_mut(&snippet)
    }
}
