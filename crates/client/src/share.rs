//! Snippets: share, list, open, delete, export.

use crate::{Base, Client, DeviceId, Error, Header, Kind, Lines, Person, Result, SnippetId, TeamId, Time};
use std::time::Duration;

/// What somebody wants to share. `size` of the header is counted from `content`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// The content: at most 10 MiB.
    pub content: Vec<u8>,
    /// What it is.
    pub kind: Kind,
    /// A title.
    pub title: Option<String>,
    /// The language, by its usual lower-case name (`rust`).
    pub language: Option<String>,
    /// Relative to the repository's top, with `/`.
    pub path: Option<String>,
    /// The repository, as a person would name it.
    pub repository: Option<String>,
    /// 1-based, inclusive, in the author's file.
    pub lines: Option<Lines>,
    /// What the content replaces.
    pub base: Option<Base>,
    /// Who shall be able to open it.
    pub to: Recipients,
    /// How long it shall be there; for ever if none.
    pub lifetime: Option<Duration>,
}

/// Whom a draft is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recipients {
    /// The whole team.
    Team,
    /// Some of its members, named by login (with or without `@`), user id or the beginning of it.
    Members(Vec<String>),
}

/// A snippet that the service has taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shared {
    /// The team.
    pub team: TeamId,
    /// The snippet.
    pub snippet: SnippetId,
    /// When the service took it.
    pub received_at: Time,
    /// Whether the team's key had to be rotated first.
    pub rotated: bool,
}

/// What is known of a snippet without its content: verified and decrypted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snippet {
    /// The team.
    pub team: TeamId,
    /// The snippet.
    pub id: SnippetId,
    /// Who signed it.
    pub author: Person,
    /// With which device.
    pub device: DeviceId,
    /// Whether that is the caller.
    pub mine: bool,
    /// Whom it was sent to.
    pub audience: Audience,
    /// The decrypted header.
    pub header: Header,
    /// When the author says to have made it.
    pub issued_at: Time,
    /// When the service says to have received it. None for a file.
    pub received_at: Option<Time>,
    /// When it expires.
    pub expires_at: Option<Time>,
}

/// Whom a snippet was sent to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Audience {
    /// Everybody who was in the team in that epoch.
    Team {
        /// The epoch.
        epoch: u64,
    },
    /// These members, and the author.
    Members(Vec<Person>),
}

/// A list of snippets, newest first.
#[derive(Debug)]
pub struct Listing {
    /// Those that verified.
    pub snippets: Vec<Snippet>,
    /// Those that did not. One bad snippet must not hide the others, but must not pass unseen either.
    pub rejected: Vec<Rejected>,
    /// Whether there are more than were asked for.
    pub more: bool,
}

/// Something in a list that did not verify or could not be decrypted.
#[derive(Debug)]
pub struct Rejected {
    /// Which, if that much can be read.
    pub id: Option<SnippetId>,
    /// Why.
    pub error: Error,
}

/// A snippet with its content.
#[derive(Debug)]
pub struct Opened {
    /// What it is.
    pub snippet: Snippet,
    /// The content, without padding.
    pub content: Vec<u8>,
}

impl Client {
    /// Seals, signs and sends a draft. Rotates first when the epoch is stale, and retries.
    pub fn share(&self, team: TeamId, draft: &Draft) -> Result<Shared> {
        let _ = (team, draft);
        Err(Error::NotSignedIn)
    }

    /// The newest `limit` snippets of a team that the caller can open.
    pub fn list(&self, team: TeamId, limit: usize) -> Result<Listing> {
        let _ = (team, limit);
        Err(Error::NotSignedIn)
    }

    /// Finds a snippet by its id or a part of it: its beginning or its end, 4 characters or more (ids made at about the same time begin
    /// alike). Looks in `team`, or in all the caller's teams.
    pub fn find_snippet(&self, team: Option<TeamId>, selector: &str) -> Result<(TeamId, SnippetId)> {
        let _ = (team, selector);
        Err(Error::NotSignedIn)
    }

    /// Fetches, verifies and decrypts a snippet.
    pub fn open_snippet(&self, team: TeamId, snippet: SnippetId) -> Result<Opened> {
        let _ = (team, snippet);
        Err(Error::NotSignedIn)
    }

    /// Deletes a snippet from the service.
    pub fn delete_snippet(&self, team: TeamId, snippet: SnippetId) -> Result<()> {
        let _ = (team, snippet);
        Err(Error::NotSignedIn)
    }

    /// The snippet's bytes as they are stored (`application/vnd.osmynt.snippet`), after verifying them: to keep as a file.
    pub fn export(&self, team: TeamId, snippet: SnippetId) -> Result<Vec<u8>> {
        let _ = (team, snippet);
        Err(Error::NotSignedIn)
    }

    /// Verifies and decrypts a snippet from a file, offline, with what this home knows of its team.
    pub fn open_file(&self, bytes: &[u8]) -> Result<Opened> {
        let _ = bytes;
        Err(Error::NotSignedIn)
    }
}
