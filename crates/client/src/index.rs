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
    snippets: BTreeMap<SnippetId, Indexed>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Indexed {
    team: TeamId,
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
    /// another one had its id.
    pub(crate) fn take(
        &mut self,
        statement: &Verified<SnippetStatement>,
        received_at: Option<Time>,
        seen: bool,
    ) -> Result<bool> {
        let said = statement.payload();
        let entry = self.snippets.entry(said.snippet).or_insert_with(|| Indexed {
            team: said.team,
            hash: statement.hash(),
            author: said.user,
            received_at,
            seen: false,
            shown: None,
        });
        if entry.hash != statement.hash() {
            return Err(Error::Tampered {
                what: format!("the service shows another snippet {} than it did before", said.snippet),
            });
        }
        let before = entry.seen;
        entry.seen |= seen;
        Ok(before)
    }

    /// Notes that a snippet was seen.
    pub(crate) fn mark_seen(&mut self, snippet: SnippetId) {
        if let Some(entry) = self.snippets.get_mut(&snippet) {
            entry.seen = true;
        }
    }

    /// The authors of what a person has seen.
    pub(crate) fn authors(&self) -> BTreeSet<UserId> {
        self.snippets.values().filter(|entry| entry.seen).map(|entry| entry.author).collect()
    }

    /// Whether this very statement was verified here.
    pub(crate) fn has(&self, snippet: SnippetId, hash: Hash) -> bool {
        self.snippets.get(&snippet).is_some_and(|entry| entry.hash == hash)
    }

    /// Those that a selector means, of one team or of any: the one of that id; else the one that was shown with it; else
    /// those whose ids begin or end with it.
    pub(crate) fn find(&self, team: Option<TeamId>, selector: &str) -> Vec<(TeamId, SnippetId)> {
        let among = || self.snippets.iter().filter(|(_, entry)| team.is_none_or(|team| team == entry.team));
        let one = |(id, entry): (&SnippetId, &Indexed)| (entry.team, *id);
        if let Ok(id) = selector.parse::<SnippetId>() {
            return among().filter(|(known, _)| **known == id).map(one).collect();
        }
        if let Some(shown) = among().find(|(_, entry)| entry.shown.as_deref() == Some(selector)) {
            return vec![one(shown)];
        }
        let fits = |id: &SnippetId| {
            let id = id.to_string();
            id.starts_with(selector) || id.ends_with(selector)
        };
        among().filter(|(id, _)| fits(id)).map(one).collect()
    }

    /// The short id to show a snippet with: the end of its id, as long as it takes to be no other's that was shown, nor the
    /// end of another that is known. The whole id for one that is not known.
    pub(crate) fn short(&mut self, snippet: SnippetId) -> String {
        let id = snippet.to_string();
        if let Some(shown) = self.snippets.get(&snippet).and_then(|entry| entry.shown.clone()) {
            return shown;
        }
        let others = || self.snippets.iter().filter(|(other, _)| **other != snippet);
        let taken = |short: &str| {
            others().any(|(other, entry)| entry.shown.as_deref() == Some(short) || other.to_string().ends_with(short))
        };
        let starts = (0..=id.len().saturating_sub(SHORTEST)).rev();
        let short = starts
            .filter_map(|start| id.get(start..))
            .find(|short| !short.starts_with('-') && !taken(short))
            .unwrap_or(&id)
            .to_owned();
        if let Some(entry) = self.snippets.get_mut(&snippet) {
            entry.shown = Some(short.clone());
        }
        short
    }
}
