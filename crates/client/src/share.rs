//! Snippets: share, list, open, delete, export.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use osmynt_core::snippet::{self, Base, Header, Kind, Lines, SUITE};
use osmynt_core::statement::SnippetStatement;
use osmynt_core::{Code, DeviceId, Hash, Refusal, SnippetId, TeamId, Time, Unverified, UserId, Verified, api, limits};

use crate::http::Request;
use crate::keys::Signer;
use crate::logs::{People, TeamView, verify_snippet};
use crate::seal::{self, Key, Purpose};
use crate::session::{Synced, person};
use crate::team::{SHORTEST_PREFIX, choose, current_epoch, with_rebuilds};
use crate::{Client, Error, Person, Result, system, unlock};

/// A snippet is looked for among this many pages of each team.
const PAGES_SEARCHED: usize = 50;

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

// What a person does.
impl Client {
    /// Seals, signs and sends a draft. Rotates first when the epoch is stale, and retries.
    pub fn share(&self, team: TeamId, draft: &Draft) -> Result<Shared> {
        let recipients = match &draft.to {
            Recipients::Team => None,
            Recipients::Members(selectors) => Some(self.recipients(team, selectors)?),
        };
        let mut rotated = false;
        let stored = with_rebuilds(|| {
            let mut synced = self.sync(team, None)?;
            if synced.view.stale(system::now(), &synced.people) {
                self.rotate(team)?;
                rotated = true;
                synced = self.sync(team, None)?;
            }
            self.share_once(&synced, draft, recipients.as_ref())
        })?;
        Ok(Shared { team, snippet: stored.snippet, received_at: stored.received_at, rotated })
    }

    /// The newest `limit` snippets of a team that the caller can open.
    pub fn list(&self, team: TeamId, limit: usize) -> Result<Listing> {
        let mut listed = Vec::new();
        let more = self.each_page(team, |page| {
            listed.extend(page);
            listed.len() <= limit
        })?;
        let more = more || listed.len() > limit;
        listed.truncate(limit);
        // The log after the list: whatever the list names is then in the log.
        let synced = self.sync(team, None)?;
        self.team_card(team)?;
        let logins = self.logins()?;
        let mut listing = Listing { snippets: Vec::new(), rejected: Vec::new(), more };
        let mut seen = BTreeSet::new();
        for entry in listed {
            let id = Unverified::<SnippetStatement>::parse(&entry.statement).ok().map(|said| said.payload().snippet);
            let verified =
                verify_snippet(&synced.view, &synced.people, &entry.statement, None, Some(entry.received_at));
            let read = verified.and_then(|statement| {
                if !seen.insert(statement.payload().snippet) {
                    return Err(Error::Tampered { what: "the service lists one snippet twice".to_owned() });
                }
                let key = self.content_key(&synced.view, &statement)?;
                self.describe_snippet(&statement, &key, Some(entry.received_at), &logins)
            });
            match read {
                Ok(snippet) => listing.snippets.push(snippet),
                // What ails one statement is said of that one; what ails the connection ends the list.
                Err(error @ (Error::Tampered { .. } | Error::NoKey { .. })) => {
                    listing.rejected.push(Rejected { id, error });
                }
                Err(error) => return Err(error),
            }
        }
        Ok(listing)
    }

    /// Finds a snippet by its id, or by the beginning or the end of it, 4 characters or more (ids made at about the
    /// same time begin alike). Looks in `team`, or in all the caller's teams.
    pub fn find_snippet(&self, team: Option<TeamId>, selector: &str) -> Result<(TeamId, SnippetId)> {
        if let (Some(team), Ok(snippet)) = (team, selector.parse()) {
            return Ok((team, snippet));
        }
        if selector.len() < SHORTEST_PREFIX {
            return Err(Error::usage("give at least 4 characters of a snippet's id"));
        }
        let teams = match team {
            Some(team) => vec![team],
            None => self.json::<api::MyTeams>(&Request::get("/v1/teams"))?.teams.iter().map(|team| team.team).collect(),
        };
        let mut fitting = Vec::new();
        for team in teams {
            let mut pages = 1..PAGES_SEARCHED;
            self.each_page(team, |page| {
                // Only ids are looked at here; whatever is opened is verified then.
                let ids = page.iter().filter_map(|entry| Unverified::<SnippetStatement>::parse(&entry.statement).ok());
                fitting.extend(ids.map(|said| (team, said.payload().snippet)).filter(|(_, id)| {
                    let id = id.to_string();
                    id.starts_with(selector) || id.ends_with(selector)
                }));
                pages.next().is_some()
            })?;
        }
        let list = |found: &[(TeamId, SnippetId)]| found.iter().map(|(_, id)| id.to_string()).collect();
        choose("snippet", selector, &fitting, |found| *found, list)
    }

    /// Fetches, verifies and decrypts a snippet.
    pub fn open_snippet(&self, team: TeamId, snippet: SnippetId) -> Result<Opened> {
        let bytes = self.fetch(team, snippet)?;
        let synced = self.sync(team, None)?;
        self.team_card(team)?;
        self.open_bytes(&synced, &bytes, Some(snippet))
    }

    /// Deletes a snippet from the service.
    pub fn delete_snippet(&self, team: TeamId, snippet: SnippetId) -> Result<()> {
        self.empty(&Request::delete(snippet_path(team, snippet)))
    }

    /// The snippet's bytes as they are stored (`application/vnd.osmynt.snippet`), after verifying and opening them: to
    /// keep as a file.
    pub fn export(&self, team: TeamId, snippet: SnippetId) -> Result<Vec<u8>> {
        let bytes = self.fetch(team, snippet)?;
        let synced = self.sync(team, None)?;
        self.open_bytes(&synced, &bytes, Some(snippet))?;
        Ok(bytes)
    }

    /// Verifies and decrypts a snippet from a file, with what this home knows of its team. Asks the service only for what
    /// this home has not read yet: the team's log as far as the author knew it, and the key of that epoch.
    pub fn open_file(&self, bytes: &[u8]) -> Result<Opened> {
        let no_snippet = |_| Error::Tampered { what: "this file is no snippet, or a damaged one".into() };
        let (statement, _) = snippet::split(bytes).map_err(no_snippet)?;
        let said = Unverified::<SnippetStatement>::parse(statement).map_err(no_snippet)?;
        let said = said.payload();
        // Only where this home has not read as far in the team's log as the author had does the service have to help.
        let known = self.offline(said.team)?.filter(|known| said.head.seq <= known.view.state().head().seq);
        let synced = match known {
            Some(known) => known,
            None => self.sync(said.team, None)?,
        };
        self.open_bytes(&synced, bytes, None)
    }
}

// Sharing.
impl Client {
    /// The named users, ascending, without the caller.
    fn recipients(&self, team: TeamId, selectors: &[String]) -> Result<BTreeSet<UserId>> {
        let mut users = BTreeSet::new();
        for selector in selectors {
            users.insert(self.find_member(team, selector)?.user);
        }
        users.remove(&self.profile.user);
        match users.len() {
            0 => Err(Error::usage("name at least one member besides yourself")),
            1..=limits::NAMED_MEMBERS => Ok(users),
            _ => Err(Error::usage("a snippet names at most 64 members; share it with the team instead")),
        }
    }

    fn share_once(
        &self,
        synced: &Synced,
        draft: &Draft,
        recipients: Option<&BTreeSet<UserId>>,
    ) -> Result<api::SnippetStored> {
        let now = system::now();
        let team = synced.view.state().team();
        let audience = match recipients {
            None => To::Team(self.team_key(&synced.view, current_epoch(synced.view.state())?)?),
            Some(users) => To::Members(users),
        };
        let author = Author { user: self.profile.user, signer: &self.keys.signer, now };
        let snippet = SnippetId::new(
            uuid::Builder::from_unix_timestamp_millis(system::now_millis(), &system::random()?).into_uuid(),
        )?;
        let bytes = build(&synced.view, &synced.people, snippet, draft, &audience, &author, system::random)?;
        self.json(&Request::put_snippet(snippet_path(team, snippet), bytes))
    }
}

/// Who shares, and when.
#[derive(Debug)]
pub struct Author<'a> {
    /// The user.
    pub user: UserId,
    /// The device's key.
    pub signer: &'a Signer,
    /// This machine's time.
    pub now: Time,
}

/// Whom a snippet is sealed to.
#[derive(Debug)]
pub enum To<'a> {
    /// Everybody who has this key, that of the current epoch.
    Team(Key),
    /// The devices of these members, who are not the author.
    Members(&'a BTreeSet<UserId>),
}

/// Builds a snippet's bytes: seals the draft under a new content key, seals that key to the audience, and signs.
/// Pure. `random` gives 32 fresh bytes at each call.
pub fn build(
    view: &TeamView,
    people: &People,
    snippet: SnippetId,
    draft: &Draft,
    to: &To<'_>,
    author: &Author<'_>,
    mut random: impl FnMut() -> Result<[u8; 32]>,
) -> Result<Vec<u8>> {
    let state = view.state();
    let team = state.team();
    let epoch = current_epoch(state)?;
    let sender = DeviceId(author.signer.kid());
    let key = Key::new(random()?);
    let nonces = [seal::nonce(random()?), seal::nonce(random()?)];
    let sealed = seal::seal_snippet(&key, team, snippet, &draft.header(), &draft.content, nonces)?;
    let audience = match to {
        To::Team(team_key) => {
            let wrapped = seal::wrap(team_key, team, epoch, snippet, &key, seal::nonce(random()?))?;
            snippet::Audience::Team { epoch, wrapped }
        }
        To::Members(members) => {
            let mut devices: BTreeSet<DeviceId> = state.member(author.user)?.devices.iter().copied().collect();
            for user in *members {
                devices.extend(&state.member(*user)?.devices);
            }
            if devices.len() > limits::ENVELOPES_PER_SNIPPET {
                return Err(Error::usage("these members have more than 128 devices; share it with the team instead"));
            }
            let mut envelopes = Vec::with_capacity(devices.len());
            for device in devices {
                let purpose = Purpose::ContentKey { team, snippet };
                let prekey = people.prekey_of(device)?;
                envelopes.push(seal::seal_envelope(&key, purpose, sender, device, prekey, &random()?)?);
            }
            snippet::Audience::Members { epoch, members: members.iter().copied().collect(), envelopes }
        }
    };
    let statement = author.signer.sign(&SnippetStatement {
        suite: SUITE.to_owned(),
        team,
        snippet,
        user: author.user,
        audience,
        nonce: sealed.nonce,
        header: sealed.header,
        commitment: sealed.commitment,
        sha256: Hash::of(&sealed.ciphertext),
        length: sealed.ciphertext.len() as u64,
        head: state.head(),
        iat: author.now,
        exp: draft.lifetime.map(|lifetime| author.now.plus(lifetime.as_secs())),
    })?;
    let mut bytes = snippet::prefix(&statement)?;
    bytes.extend_from_slice(&sealed.ciphertext);
    Ok(bytes)
}

impl Draft {
    fn header(&self) -> Header {
        Header {
            kind: self.kind,
            size: self.content.len() as u64,
            title: self.title.clone(),
            language: self.language.clone(),
            path: self.path.clone(),
            repository: self.repository.clone(),
            lines: self.lines,
            base: self.base.clone(),
        }
    }
}

// Opening.
impl Client {
    fn fetch(&self, team: TeamId, snippet: SnippetId) -> Result<Vec<u8>> {
        self.snippet(&Request::get(snippet_path(team, snippet)))
    }

    /// Verifies, then decrypts.
    fn open_bytes(&self, synced: &Synced, bytes: &[u8], expected: Option<SnippetId>) -> Result<Opened> {
        let broken = |refusal: Refusal| Error::tampered("the snippet", &refusal);
        let (compact, ciphertext) = snippet::split(bytes).map_err(broken)?;
        let statement = verify_snippet(&synced.view, &synced.people, compact, expected, None)?;
        if statement.payload().exp.is_some_and(|exp| exp <= system::now()) {
            return Err(Refusal::new(Code::Gone, "the snippet has expired").into());
        }
        check_ciphertext(&statement, ciphertext)?;
        let key = self.content_key(&synced.view, &statement)?;
        let snippet = self.describe_snippet(&statement, &key, None, &self.logins()?)?;
        let content = seal::open_content(&key, statement.payload(), ciphertext, snippet.header.size)?;
        Ok(Opened { snippet, content: content.to_vec() })
    }

    fn content_key(&self, view: &TeamView, statement: &Verified<SnippetStatement>) -> Result<Key> {
        unlock::content_key(statement, &self.keys, |epoch| self.team_key(view, epoch))
    }

    fn describe_snippet(
        &self,
        statement: &Verified<SnippetStatement>,
        key: &Key,
        received_at: Option<Time>,
        logins: &BTreeMap<UserId, String>,
    ) -> Result<Snippet> {
        let said = statement.payload();
        Ok(Snippet {
            team: said.team,
            id: said.snippet,
            author: person(said.user, logins),
            device: DeviceId(statement.kid()),
            mine: said.user == self.profile.user,
            audience: match &said.audience {
                snippet::Audience::Team { epoch, .. } => Audience::Team { epoch: *epoch },
                snippet::Audience::Members { members, .. } => {
                    Audience::Members(members.iter().map(|user| person(*user, logins)).collect())
                }
            },
            header: seal::open_header(key, said)?,
            issued_at: said.iat,
            received_at,
            expires_at: said.exp,
        })
    }

    /// Hands over page after page of a team's list, newest first, until `take` has enough. Says whether there is more.
    fn each_page(&self, team: TeamId, mut take: impl FnMut(Vec<api::ListedSnippet>) -> bool) -> Result<bool> {
        let mut query = String::new();
        loop {
            let request = Request::get(format!("/v1/teams/{team}/snippets{query}"));
            let api::SnippetPage { snippets, next } = self.json(&request)?;
            let empty = snippets.is_empty();
            let more = take(snippets);
            match next {
                Some(_) if !more => return Ok(true),
                // An empty page that promises more would have no end.
                Some(cursor) if !empty => query = format!("?cursor={cursor}"),
                _ => return Ok(false),
            }
        }
    }
}

/// Whether the ciphertext is the one that was signed.
pub fn check_ciphertext(statement: &Verified<SnippetStatement>, ciphertext: &[u8]) -> Result<()> {
    let said = statement.payload();
    if ciphertext.len() as u64 == said.length && Hash::of(ciphertext) == said.sha256 {
        Ok(())
    } else {
        Err(Error::Tampered { what: format!("the content of the snippet {} is not what was signed", said.snippet) })
    }
}

fn snippet_path(team: TeamId, snippet: SnippetId) -> String {
    format!("/v1/teams/{team}/snippets/{snippet}")
}
