//! Snippets: share, list, open, delete, export.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use osmynt_core::snippet::{self, Base, Container, Header, Kind, Lines, SUITE};
use osmynt_core::statement::SnippetStatement;
use osmynt_core::{
    Code, DeviceId, Envelope, Hash, Refusal, SnippetId, TeamId, Time, Unverified, UserId, Verified, api, labels, limits,
};

use crate::error::Class;
use crate::http::Request;
use crate::keys::{RustCrypto, Signer, checked};
use crate::logs::{People, Receipt, TeamView, verify_snippet};
use crate::people::{Names, Person};
use crate::seal::{self, Key, Purpose};
use crate::session::{Synced, check_page};
use crate::team::{SHORTEST_PREFIX, choose, current_epoch, no_such, with_rebuilds};
use crate::{Client, Error, Result, system, unlock};

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
    /// Some of its members, named as in [`Client::remove_member`].
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
    /// When it is over.
    pub expires_at: Option<Time>,
    /// Whether this home had listed it before, or a person had seen it opened ([`Client::mark_seen`]).
    pub known: bool,
    /// Whether the author is the caller, or any snippet of theirs was known so.
    pub author_known: bool,
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
    /// Seals, signs and sends a draft. Rotates first when the epoch is stale, or this device has no good key of it, and
    /// retries.
    pub fn share(&self, team: TeamId, draft: &Draft) -> Result<Shared> {
        let mut rotated = false;
        let stored = with_rebuilds(|| {
            let mut synced = self.sync(team, None)?;
            // Before anything is changed for its sake.
            self.check_confirmed(&synced.view)?;
            let recipients = self.recipients(&synced, &draft.to)?;
            if self.is_ended(&synced)? {
                self.rotate(team)?;
                rotated = true;
                synced = self.sync(team, None)?;
            }
            self.share_once(&synced, draft, recipients.as_ref())
        })?;
        Ok(Shared { team, snippet: stored.snippet, received_at: stored.received_at, rotated })
    }

    /// The newest `limit` snippets of a team that the caller can open and that are not over.
    pub fn list(&self, team: TeamId, limit: usize) -> Result<Listing> {
        let now = system::now();
        let mut listed = Vec::new();
        let more = self.each_page(team, |page| {
            listed.extend(page.into_iter().filter(|entry| !is_over(entry, now)));
            listed.len() <= limit
        })?;
        let more = more || listed.len() > limit;
        listed.truncate(limit);
        // The log after the list: whatever the list names is then in the log.
        let synced = self.sync(team, None)?;
        let names = self.names(&synced)?;
        let mut read = Vec::with_capacity(listed.len());
        let mut seen = BTreeSet::new();
        for entry in listed {
            let id = Unverified::<SnippetStatement>::parse(&entry.statement).ok().map(|said| said.payload().snippet);
            let verified = verify_listed(&synced, &entry).and_then(|statement| {
                if !seen.insert(statement.payload().snippet) {
                    return Err(Error::Tampered { what: "the service lists one snippet twice".to_owned() });
                }
                let key = self.content_key(&synced.view, &statement, &entry.envelopes)?;
                let snippet = self.describe_snippet(&statement, &key, Some(entry.received_at), &names)?;
                Ok((statement, snippet))
            });
            match verified {
                // What ails one statement is said of that one; what ails the connection ends the list.
                Err(error) if !is_of_one(&error) => return Err(error),
                verified => read.push((id, verified)),
            }
        }
        let mut listing = Listing { snippets: Vec::new(), rejected: Vec::new(), more };
        self.indexed(|index| {
            let authors = index.authors();
            for (id, verified) in read {
                let taken = verified.and_then(|(statement, mut snippet)| {
                    snippet.known = index.take(&statement, snippet.received_at, true)?;
                    snippet.author_known |= authors.contains(&snippet.author.user);
                    Ok(snippet)
                });
                match taken {
                    Ok(snippet) => listing.snippets.push(snippet),
                    Err(error) => listing.rejected.push(Rejected { id, error }),
                }
            }
            Ok(())
        })?;
        Ok(listing)
    }

    /// Finds a snippet, in `team` or in all the caller's teams: by its id; by a short id that this home has shown for it; or
    /// by the beginning or the end of its id, 4 characters or more, first among the snippets that this home knows, then among
    /// the newest of the teams. Of several teams only what was verified is found.
    pub fn find_snippet(&self, team: Option<TeamId>, selector: &str) -> Result<(TeamId, SnippetId)> {
        if let (Some(team), Ok(snippet)) = (team, selector.parse()) {
            return Ok((team, snippet));
        }
        if selector.len() < SHORTEST_PREFIX {
            return Err(Error::usage("give at least 4 characters of a snippet's id"));
        }
        let mut fitting = self.index()?.find(team, selector);
        if fitting.is_empty() {
            let teams = match team {
                Some(team) => vec![team],
                None => self.listed()?.into_iter().filter(|team| !team.vanished).map(|team| team.id).collect(),
            };
            if let Ok(snippet) = selector.parse() {
                fitting = self.locate(snippet, &teams)?;
            } else {
                for team in teams {
                    self.read_list(team)?;
                }
                fitting = self.index()?.find(team, selector);
            }
        }
        let list = |found: &[(TeamId, SnippetId)]| {
            found.iter().map(|(team, id)| format!("{id} (of the team {team})")).collect()
        };
        choose("snippet", selector, &fitting, |found| *found, list)
    }

    /// A short id to show a snippet with: 8 characters or more, the end of its id. It is never given for another snippet in
    /// this home, so that whoever types it gets what they saw.
    pub fn short_id(&self, team: TeamId, snippet: SnippetId) -> Result<String> {
        self.indexed(|index| Ok(index.short(team, snippet)))
    }

    /// The same for several.
    pub fn short_ids(&self, snippets: &[(TeamId, SnippetId)]) -> Result<Vec<String>> {
        self.indexed(|index| Ok(snippets.iter().map(|(team, snippet)| index.short(*team, *snippet)).collect()))
    }

    /// Notes that a person has seen an opened snippet and whose it is: from now on both are known here. Opening alone does not
    /// do that, as what was opened may be refused without a look at it.
    pub fn mark_seen(&self, opened: &Opened) -> Result<()> {
        self.indexed(|index| {
            index.mark_seen(opened.snippet.team, opened.snippet.id);
            Ok(())
        })
    }

    /// Fetches, verifies and decrypts a snippet.
    pub fn open_snippet(&self, team: TeamId, snippet: SnippetId) -> Result<Opened> {
        self.fetch(team, snippet).map(|(opened, _)| opened)
    }

    /// Deletes a snippet from the service.
    pub fn delete_snippet(&self, team: TeamId, snippet: SnippetId) -> Result<()> {
        self.empty(&Request::delete(snippet_path(team, snippet)))
    }

    /// The snippet's bytes as the service gives them out (`application/vnd.osmynt.snippet`), after verifying and opening
    /// them: to keep as a file. They open on the caller's devices alone if the snippet was sent to named members.
    pub fn export(&self, team: TeamId, snippet: SnippetId) -> Result<Vec<u8>> {
        self.fetch(team, snippet).map(|(_, bytes)| bytes)
    }

    /// Verifies and decrypts a snippet from a file, with what this home knows of its team. Asks the service only for what
    /// this home has not read yet: the team's log as far as the author knew it, and the key of that epoch.
    pub fn open_file(&self, bytes: &[u8]) -> Result<Opened> {
        let no_snippet = |_| Error::NoSnippetFile;
        let container = Container::split(bytes).map_err(no_snippet)?;
        let said = Unverified::<SnippetStatement>::parse(container.statement).map_err(no_snippet)?;
        let said = said.payload();
        // Only where this home has not read as far in the team's log as the author had does the service have to help.
        let known = self.offline(said.team)?.filter(|known| said.head.seq <= known.view.state().head().seq);
        let synced = match known {
            Some(known) => known,
            None => self.sync(said.team, None)?,
        };
        self.open_bytes(&synced, bytes, None, None)
    }
}

// Sharing.
impl Client {
    /// The named users, ascending, without the caller; none for the team.
    fn recipients(&self, synced: &Synced, to: &Recipients) -> Result<Option<BTreeSet<UserId>>> {
        let Recipients::Members(selectors) = to else { return Ok(None) };
        let mut users = BTreeSet::new();
        for selector in selectors {
            let person = self.find_member(synced, selector)?;
            let active = synced.people.user(person.user).is_some_and(|known| known.log().active().next().is_some());
            if !active {
                return Err(Error::usage(format!("{person} has no active device that could open it")));
            }
            users.insert(person.user);
        }
        users.remove(&self.user()?);
        match users.len() {
            0 => Err(Error::usage("name at least one member besides yourself")),
            1..=limits::NAMED_MEMBERS => Ok(Some(users)),
            _ => Err(Error::usage("a snippet names at most 64 members; share it with the team instead")),
        }
    }

    /// Whether nothing can be shared under the current epoch.
    fn is_ended(&self, synced: &Synced) -> Result<bool> {
        if synced.view.stale(system::now(), &synced.people) {
            return Ok(true);
        }
        match self.team_key(&synced.view, current_epoch(synced.view.state())?) {
            Err(Error::BadKey { .. }) => Ok(true),
            key => key.map(|_| false),
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
        let author = Author { user: self.user()?, signer: &self.keys.signer, now };
        let snippet = SnippetId::new(
            uuid::Builder::from_unix_timestamp_millis(system::now_millis(), &system::random()?).into_uuid(),
        )?;
        let bytes = build(&synced.view, &synced.people, snippet, draft, &audience, &author, system::random)?;
        let statement = Container::split(&bytes)?.statement.to_owned();
        let stored: api::SnippetStored = self.json(&Request::put_snippet(snippet_path(team, snippet), bytes))?;
        // Not before it was signed, and not in the future.
        let plausible = now.is_by(stored.received_at) && stored.received_at.is_by(system::now());
        if stored.snippet != snippet || !plausible {
            return Err(Error::Tampered {
                what: format!("the service answers to the snippet {snippet} with another one"),
            });
        }
        let statement = Unverified::<SnippetStatement>::parse(&statement)?;
        let statement = checked(statement.verify(self.keys.signer.public(), &RustCrypto))?;
        self.indexed(|index| index.take(&statement, Some(stored.received_at), true))?;
        Ok(stored)
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

/// Builds a snippet's bytes, with all its envelopes: seals the draft under a new content key, seals that key to the audience,
/// and signs. Pure. `random` gives 32 fresh bytes at each call.
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
    let mut envelopes = Vec::new();
    let audience = match to {
        To::Team(team_key) => {
            let wrapped = seal::wrap(team_key, team, epoch, snippet, &key, seal::nonce(random()?))?;
            snippet::Audience::Team { epoch, wrapped }
        }
        To::Members(members) => {
            // Ascending by device.
            let mut devices = BTreeMap::new();
            for user in members.iter().chain([&author.user]) {
                devices.extend(state.member(*user)?.devices.iter().map(|device| (*device, *user)));
            }
            if devices.len() > limits::ENVELOPES_PER_SNIPPET {
                return Err(Error::usage("these members have more than 500 devices; share it with the team instead"));
            }
            for (device, user) in devices {
                let purpose = Purpose::ContentKey { team, snippet };
                let prekey = people.prekey_of(user, device)?;
                envelopes.push(seal::seal_envelope(&key, purpose, sender, device, prekey, &random()?)?);
            }
            let members = members.iter().copied().collect();
            snippet::Audience::Members { epoch, members, envelopes: labels::envelope_set(&envelopes) }
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
    let mut bytes = snippet::prefix(&statement, &envelopes)?;
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
    /// A snippet from the service, opened, and its bytes.
    fn fetch(&self, team: TeamId, snippet: SnippetId) -> Result<(Opened, Vec<u8>)> {
        let (bytes, received_at) = match self.snippet(&Request::get(snippet_path(team, snippet))) {
            Err(Error::Refused { code: Code::NotFound, .. }) => return Err(no_such("snippet", &snippet.to_string())),
            answer => answer?,
        };
        let synced = self.sync(team, None)?;
        Ok((self.open_bytes(&synced, &bytes, Some(snippet), Some(received_at))?, bytes))
    }

    /// Verifies, then decrypts.
    fn open_bytes(
        &self,
        synced: &Synced,
        bytes: &[u8],
        expected: Option<SnippetId>,
        received_at: Option<Time>,
    ) -> Result<Opened> {
        let broken = |refusal: Refusal| Error::tampered("the snippet", &refusal);
        let container = Container::split(bytes).map_err(broken)?;
        let now = system::now();
        let receipt = Receipt { received_at, now };
        let statement = verify_snippet(&synced.view, &synced.people, container.statement, expected, receipt)?;
        if statement.payload().exp.is_some_and(|exp| exp <= now) {
            return Err(Refusal::new(Code::Gone, "the snippet has expired").into());
        }
        check_ciphertext(&statement, container.ciphertext)?;
        let key = self.content_key(&synced.view, &statement, &container.envelopes().map_err(broken)?)?;
        let mut snippet = self.describe_snippet(&statement, &key, received_at, &self.names(synced)?)?;
        let content = seal::open_content(&key, statement.payload(), container.ciphertext, snippet.header.size)?;
        self.indexed(|index| {
            snippet.author_known |= index.authors().contains(&snippet.author.user);
            snippet.known = index.take(&statement, received_at, false)?;
            Ok(())
        })?;
        Ok(Opened { snippet, content: content.to_vec() })
    }

    /// [`Error::NoKey`] when the snippet is not for this device; [`Error::Tampered`] when it is, and its author has sealed
    /// nothing to it.
    fn content_key(
        &self,
        view: &TeamView,
        statement: &Verified<SnippetStatement>,
        envelopes: &[Envelope],
    ) -> Result<Key> {
        let said = statement.payload();
        let key = unlock::content_key(statement, envelopes, &self.keys, |epoch| self.team_key(view, epoch));
        let me = self.user()?;
        let counted = view.devices_at(me, said.head.seq).is_some_and(|devices| devices.contains(&self.device()));
        match (&key, &said.audience) {
            (Err(Error::NoKey { .. }), snippet::Audience::Members { members, .. })
                if counted && (said.user == me || members.contains(&me)) =>
            {
                Err(Error::Tampered {
                    what: format!("the snippet {} is for this device and has no key for it", said.snippet),
                })
            }
            _ => key,
        }
    }

    /// What a verified snippet says. Whether it is known here is not looked up.
    fn describe_snippet(
        &self,
        statement: &Verified<SnippetStatement>,
        key: &Key,
        received_at: Option<Time>,
        names: &Names<'_>,
    ) -> Result<Snippet> {
        let said = statement.payload();
        let mine = self.profile.user == Some(said.user);
        Ok(Snippet {
            team: said.team,
            id: said.snippet,
            author: names.person(said.user),
            device: DeviceId(statement.kid()),
            mine,
            audience: match &said.audience {
                snippet::Audience::Team { epoch, .. } => Audience::Team { epoch: *epoch },
                snippet::Audience::Members { members, .. } => {
                    Audience::Members(members.iter().map(|user| names.person(*user)).collect())
                }
            },
            header: seal::open_header(key, said)?,
            issued_at: said.iat,
            received_at,
            expires_at: said.exp,
            known: false,
            author_known: mine,
        })
    }

    /// The teams that have a snippet of this id which the caller can open. With one team there is nothing to find out.
    fn locate(&self, snippet: SnippetId, teams: &[TeamId]) -> Result<Vec<(TeamId, SnippetId)>> {
        if let [only] = teams {
            return Ok(vec![(*only, snippet)]);
        }
        let mut found = Vec::new();
        let mut broken = None;
        for team in teams {
            match self.fetch(*team, snippet) {
                Ok(_) => found.push((*team, snippet)),
                Err(Error::NotFound { .. }) => {}
                // Any member of one team can put something under an id of another, and must not be in its way.
                Err(error) if is_of_one(&error) || error.class() == Class::NotFound => broken = Some(error),
                Err(error) => return Err(error),
            }
        }
        match broken {
            Some(error) if found.is_empty() => Err(error),
            _ => Ok(found),
        }
    }

    /// Takes the newest snippets of a team into the index: those that verify.
    fn read_list(&self, team: TeamId) -> Result<()> {
        let mut listed = Vec::new();
        let mut pages = 1..PAGES_SEARCHED;
        self.each_page(team, |page| {
            listed.extend(page);
            pages.next().is_some()
        })?;
        let synced = self.sync(team, None)?;
        let known = self.index()?;
        let mut verified = Vec::new();
        for entry in listed {
            let said = Unverified::<SnippetStatement>::parse(&entry.statement);
            if said.is_ok_and(|said| known.has(team, said.payload().snippet, said.hash())) {
                continue;
            }
            match verify_listed(&synced, &entry) {
                Ok(statement) => verified.push((statement, entry.received_at)),
                Err(error) if is_of_one(&error) => {}
                Err(error) => return Err(error),
            }
        }
        self.indexed(|index| {
            for (statement, received_at) in verified {
                // What contradicts the index is told when it is listed or opened.
                let _ = index.take(&statement, Some(received_at), false);
            }
            Ok(())
        })
    }

    /// Hands over page after page of a team's list, newest first, until `take` has enough. Says whether there is more.
    fn each_page(&self, team: TeamId, mut take: impl FnMut(Vec<api::ListedSnippet>) -> bool) -> Result<bool> {
        let mut query = String::new();
        loop {
            let request = Request::get(format!("/v1/teams/{team}/snippets{query}"));
            let api::SnippetPage { snippets, next } = self.json(&request)?;
            check_page(snippets.len())?;
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

fn verify_listed(synced: &Synced, entry: &api::ListedSnippet) -> Result<Verified<SnippetStatement>> {
    let receipt = Receipt { received_at: Some(entry.received_at), now: system::now() };
    verify_snippet(&synced.view, &synced.people, &entry.statement, None, receipt)
}

/// Whether a snippet says that it is over. What cannot be read is not left out, but rejected later.
fn is_over(entry: &api::ListedSnippet, now: Time) -> bool {
    let said = Unverified::<SnippetStatement>::parse(&entry.statement);
    said.is_ok_and(|said| said.payload().exp.is_some_and(|exp| exp <= now))
}

/// Whether an error is about one snippet, and not about the connection or this home.
const fn is_of_one(error: &Error) -> bool {
    matches!(error, Error::Tampered { .. } | Error::NoKey { .. } | Error::BadKey { .. })
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
