//! The Durable Object of a team: where commits and snippets are taken one at a time.
//!
//! A thin shell. [`requests`](super::requests) says what it can be asked, `osmynt_core::teamlog` what is allowed,
//! [`store`](super::store) what is kept. Left for here is the order of things, since the object is not alone:
//!
//! **Between two awaits nothing else runs; across an await anything may.** Every call of D1, R2 or Web Crypto lets other
//! requests in. So each operation first reads and verifies, awaiting what it must, and then decides and writes without an
//! await in between, from state that it looks up only then.
//!
//! | race | what happens |
//! |---|---|
//! | two commits on one head | The one that decides first moves the head; the other finds another head than the one it was looked up for, and is `stale-log`. |
//! | a commit that continues one which is still under way | It is `stale-log` at once, as it does not continue the head. It may not wait with what it has looked up: the commit before it may name that its device was revoked since, and no client would read the log any more. |
//! | D1 takes long to answer | What it said may be out of date. After a minute nothing is decided on it, as clients allow five between what a user log and a team log say. |
//! | a commit and its own repetition | The later to decide finds the entries in the log and gives the answer of the first. |
//! | a device is added or revoked while a commit or a share is under way | It is as if it had happened just after: the epoch names heads that are not the current ones, is stale by that, and takes nothing more. |
//! | two different snippets of one id | R2 creates an object once. Whose request created it is admitted without a look at R2; the other sees that the object's hash is not the one that it states, and is `conflict`. |
//! | a snippet is refused and shared again at once | The request that created the object has it erased. Until R2 has confirmed that, there is a row in `erasures`, and whoever comes with that id is told to come back: the object that they found may be about to vanish. |
//! | a snippet is refused whose object another request has created | The object is left alone: it is its creator's, who may be on the way to be admitted. |
//! | a snippet is refused while another request has found its object there | That one is not the object's creator, and looks at R2 before it is admitted. The object is gone, or its erasure is under way: `unavailable` either way, and the retry creates it anew. |
//! | a snippet is deleted while it is shared again | The row in the index stays for good, so the id is `gone`, and what the second request may have put into R2 is erased like that of any refusal. |
//! | a user is deleted while they found or join the team, by another device | Before the object decides on the commit, the round trip to D1 that reads the devices also counts it in `user_teams`. While it is under way [`Forget`] is told to come back; after it they are a member; and one that begins after `Forget` is seen by the deletion, which compares the counts before it ends the user, or finds that the user has ended, and with them the device. A commit that is refused takes its count back. |
//! | a team is erased while something of it is under way | From the moment of the decision there is no team, and each request sees that when it decides. A projection on its way to D1 would bring its rows back: while there is one, `Forget` is told to come back. |
//! | a snippet's object reaches R2 after its team was erased | Its request finds no team, and has the erasure begin again. It lists what R2 has, and ends only when nothing began while it listed. |
//! | a team is founded by the same entry while it is erased | It is told to come back until nothing is left of the first one. |
//! | a crash between two steps | What must happen outside is written down in the same transaction as what it follows from (`outbox`, `erasures`, `erased_team`), with an alarm for it. What a request had put into R2 before it died is found by its retry; without one it is an object that nobody can list. |
//!
//! Memory is a cache of the stored state: it may be lost at any time, and is replaced only after a write has succeeded.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::rc::Rc;
use std::time::Duration;

use osmynt_core::limits::{PAGE, PAGE_BYTES, PENDING_SECONDS};
use osmynt_core::statement::{InviteProof, SnippetStatement, TeamEntry};
use osmynt_core::teamlog::{CommitEntry, Role, TeamEvent, TeamState, UserHead};
use osmynt_core::{Code, DeviceId, Envelope, Head, Refusal, TeamId, Unverified, UserId, Verified, api};
use worker::{Bucket, DurableObject, Env, Object, Request, Response, State, Storage, console_error, durable_object};

use super::directory::CurrentDevices;
use super::requests::{
    Admit, Admitted, Asker, Commit, Delete, Disband, Everyone, Fate, Find, Forget, Forgetting, Found, List, Operation,
    OwnPage, Part, ReadEnvelopes, ReadEveryone, ReadLog, ReadOwn, receive, reply,
};
use super::store::{Erasure, IndexedSnippet, Store};
use crate::crypto::WebCrypto;
use crate::db::{Db, ProjectedMember, Projection};
use crate::problem::Problem;
use crate::routes::{Cursor, now};
use crate::snippets;

/// Before what could not be done outside is tried again. Doubled with each time that it fails, up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_secs(2);
const LONGEST_PAUSE: Duration = Duration::from_mins(5);
/// Seconds after which the object decides nothing on what it has looked up, by its own clock. `docs/protocol.md`, section 4,
/// says why clients then never refuse what it takes.
const LOOKED_UP_SECONDS: u64 = 60;
/// How many objects R2 deletes at once.
const KEYS_PER_DELETION: usize = 1000;

/// A team.
#[durable_object(alarm)]
pub struct Team {
    env: Env,
    storage: Storage,
    store: Store,
    /// What the store has, parsed.
    cached: RefCell<Option<Rc<TeamState>>>,
    /// The erasures that are under way in this instance: the alarm leaves them alone, so that no deletion can land after
    /// another one of the same row was confirmed.
    erasing: RefCell<BTreeSet<u64>>,
    /// Counts the erasures that began in this instance.
    erasures_begun: Cell<u64>,
    /// Who is about to become a member, by requests that wait for D1.
    joining: RefCell<Vec<UserId>>,
    /// How many projections are on their way to D1.
    projecting: Cell<u32>,
    /// How long the alarm waits.
    pause: Cell<Duration>,
    /// Whether this instance has seen to it that the storage has this release's form.
    is_current: Cell<bool>,
}

impl DurableObject for Team {
    fn new(state: State, env: Env) -> Self {
        Self {
            env,
            storage: state.storage(),
            store: Store::new(state.storage()),
            cached: RefCell::default(),
            erasing: RefCell::default(),
            erasures_begun: Cell::default(),
            joining: RefCell::default(),
            projecting: Cell::default(),
            pause: Cell::new(FIRST_PAUSE),
            is_current: Cell::default(),
        }
    }

    async fn fetch(&self, request: Request) -> worker::Result<Response> {
        if let Err(error) = self.bring_forward() {
            let problem = error.into();
            log("version", &problem);
            return problem.response();
        }
        let path = request.path();
        match path.trim_start_matches('/') {
            Commit::NAME => serve(request, async |asked| self.commit(asked).await).await,
            ReadLog::NAME => serve(request, async |asked| self.log(asked).await).await,
            ReadEveryone::NAME => serve(request, async |asked| self.everyone(asked).await).await,
            ReadEnvelopes::NAME => serve(request, async |asked| self.envelopes(&asked)).await,
            Admit::NAME => serve(request, async |asked| self.admit(asked).await).await,
            Find::NAME => serve(request, async |asked| self.find(&asked)).await,
            Delete::NAME => serve(request, async |asked| self.delete(asked).await).await,
            List::NAME => serve(request, async |asked| self.list(&asked)).await,
            Disband::NAME => serve(request, async |asked: Disband| self.disband(asked.asker).await).await,
            ReadOwn::NAME => serve(request, async |asked| self.own(&asked)).await,
            Forget::NAME => serve(request, async |asked| self.forget(asked).await).await,
            _ => Problem::internal("a team was asked for what it does not do").response(),
        }
    }

    /// Does what could not be done at once.
    async fn alarm(&self) -> worker::Result<Response> {
        self.bring_forward()?;
        self.project().await;
        self.erase(self.store.erasures()?).await;
        self.erase_team().await;
        if self.store.is_settled()? {
            self.pause.set(FIRST_PAUSE);
        } else {
            self.pause.set(LONGEST_PAUSE.min(self.pause.get().saturating_mul(2)));
            self.storage.set_alarm(self.pause.get()).await?;
        }
        Response::empty()
    }
}

// The log.
impl Team {
    /// Takes a commit, if the rules allow it, or finds that it was taken before.
    ///
    /// 1. Every entry is by the asker, and said to be signed by the device of their session (`forbidden`; to whom 3 refuses,
    ///    `not-found`).
    /// 2. A repetition is given the answer of the first.
    /// 3. Who is neither a member nor waits to be confirmed only joins (`not-found`).
    /// 4. The commit continues the log (`stale-log`), also after everything was looked up.
    /// 5. The signatures match (`bad-signature`). Everything else is for [`TeamState::commit`] to say.
    async fn commit(&self, asked: Commit) -> Result<api::Committed, Problem> {
        let Commit { asker, key, founding, changes } = asked;
        // 1
        let entries: Vec<_> =
            changes.entries.iter().map(|entry| Unverified::parse(entry)).collect::<Result<_, Refusal>>()?;
        let first = entries.first().ok_or_else(|| Problem::internal("a commit of no entries reached the team"))?;
        if !by(asker, &entries) {
            if !founding {
                self.may_commit(self.team()?.as_deref(), founding, asker, first)?;
            }
            return Err(Problem::new(
                Code::Forbidden,
                "Every entry names the caller as its author, and is signed by the device that is signed in.",
            ));
        }
        // 2
        if let Some(committed) = self.repeated(&entries)? {
            // What D1 did not hear of the first time, it hears of now, rather than at the alarm.
            if self.store.is_unprojected()? {
                self.with_alarm(self.project()).await;
            }
            return Ok(committed);
        }
        let before = self.team()?;
        // 3
        self.may_commit(before.as_deref(), founding, asker, first)?;
        // 4
        let said = first.payload();
        if before.as_ref().is_some_and(|team| said.prev != Some(team.head().hash)) {
            return Err(stale());
        }
        let joining = match (&before, &said.event) {
            (None, _) => Some(TeamId(first.hash())),
            // What is refused anyway need not be counted.
            (Some(team), TeamEvent::MemberJoined { invite, .. }) => {
                team.open_invites(now()).any(|(open, _)| open == *invite).then(|| team.team())
            }
            _ => None,
        };
        // 5
        let mut verified = Vec::with_capacity(entries.len());
        for entry in entries {
            verified.push(CommitEntry::verify(entry, &key, before.as_deref(), now(), &WebCrypto).await?);
        }
        // Whoever may be a member after this commit.
        let mut users: BTreeSet<UserId> = before.iter().flat_map(|team| team.members().keys().copied()).collect();
        users.insert(asker.user);
        users.extend(verified.iter().filter_map(|entry| match entry.entry().payload().event {
            TeamEvent::MemberConfirmed { user } => Some(user),
            _ => None,
        }));
        let users: Vec<UserId> = users.into_iter().collect();
        self.joining.borrow_mut().extend(joining.map(|_| asker.user));
        let looked_up_at = now();
        let devices = CurrentDevices::read(&self.env, &users, asker, key, joining).await;
        if joining.is_some() {
            let mut users = self.joining.borrow_mut();
            if let Some(at) = users.iter().position(|user| *user == asker.user) {
                users.swap_remove(at);
            }
        }
        // If that failed, nothing was counted that would have to be taken back.
        let devices = devices?;
        let head = before.as_ref().map(|team| team.head());
        let outcome = if now().since(looked_up_at) > LOOKED_UP_SECONDS {
            Err(come_back("D1 took too long to answer"))
        } else {
            self.take(head, &verified, &changes.envelopes, &devices)
        };
        if let (Err(_), Some(team)) = (&outcome, joining)
            && let Err(problem) = Db::open(&self.env)?.not_joined(asker.user, team).await
        {
            // It costs a deletion of the user a look at this team, and nothing else.
            log(Commit::NAME, &problem);
        }
        let committed = outcome?;
        if self.store.is_unprojected()? {
            self.with_alarm(self.project()).await;
        }
        Ok(committed)
    }

    /// Whether somebody may commit at all.
    fn may_commit(
        &self,
        team: Option<&TeamState>,
        founding: bool,
        asker: Asker,
        first: &Unverified<TeamEntry>,
    ) -> Result<(), Problem> {
        let Some(team) = team else {
            return match (founding, self.store.erased_team()?) {
                (true, None) => Ok(()),
                (true, Some(_)) => Err(come_back("it is being erased")),
                (false, _) => Err(Problem::not_found()),
            };
        };
        if founding {
            return Err(Problem::new(Code::StaleLog, "The team exists: read its log."));
        }
        let allowed = match &first.payload().event {
            _ if team.members().contains_key(&asker.user) => true,
            TeamEvent::MemberJoined { .. } => true,
            // They know that there is this team; what else they may not do, the rules say (`forbidden`).
            _ => is_pending(team, asker.user),
        };
        if allowed { Ok(()) } else { Err(Problem::not_found()) }
    }

    /// Decides on a commit and writes it: without an await in between. `head` is that of the team when the commit was
    /// verified and D1 was read.
    fn take(
        &self,
        head: Option<Head>,
        entries: &[CommitEntry],
        envelopes: &[Envelope],
        devices: &CurrentDevices,
    ) -> Result<api::Committed, Problem> {
        if let Some(committed) = self.repeated(entries.iter().map(CommitEntry::entry))? {
            return Ok(committed);
        }
        let current = self.team()?;
        if current.as_ref().map(|team| team.head()) != head {
            // Without a head there was no team: it was founded or, with one, erased meanwhile.
            return Err(if current.is_some() { stale() } else { Problem::not_found() });
        }
        if current.is_none() && self.store.erased_team()?.is_some() {
            return Err(come_back("it is being erased"));
        }
        let next = TeamState::commit(current.as_deref(), entries, envelopes, now(), devices)?;
        self.store.commit(current.as_deref(), &next, entries, envelopes)?;
        let committed = committed(&next);
        self.cached.replace(Some(Rc::new(next)));
        Ok(committed)
    }

    /// What was answered to a commit, if the log holds it, entry for entry.
    fn repeated<'a, T: Stated + 'a>(
        &self,
        entries: impl IntoIterator<Item = &'a T>,
    ) -> Result<Option<api::Committed>, Problem> {
        let Some(team) = self.team()? else { return Ok(None) };
        let mut last = None;
        for head in entries.into_iter().map(Stated::position) {
            let Some(epoch) = self.store.epoch_after(head)? else { return Ok(None) };
            last = Some(api::Committed { team: team.team(), head, epoch });
        }
        Ok(last)
    }

    async fn log(&self, asked: ReadLog) -> Result<api::TeamLog, Problem> {
        let team = self.open_to(asked.asker, asked.invite.as_deref()).await?;
        let mut entries = self.store.entries(asked.from, PAGE)?;
        entries.truncate(fitting(entries.iter().map(|entry| entry.jws.len())));
        Ok(api::TeamLog { entries, head: team.head() })
    }

    async fn everyone(&self, asked: ReadEveryone) -> Result<Everyone, Problem> {
        let team = self.open_to(asked.asker, asked.invite.as_deref()).await?;
        let from = asked.after.map_or(Bound::Unbounded, Bound::Excluded);
        // Who is about to join is not in the log yet, and will seal the next key to all devices of theirs.
        let mut everyone = team.everyone().clone();
        everyone.insert(asked.asker.user);
        let mut rest = everyone.range((from, Bound::Unbounded)).copied();
        let users: Vec<UserId> = rest.by_ref().take(PAGE).collect();
        let next = rest.next().and_then(|_| users.last().copied());
        Ok(Everyone { users, next })
    }

    /// Envelopes have one length, so that a page is cut by their number alone.
    fn envelopes(&self, asked: &ReadEnvelopes) -> Result<api::MyEnvelopes, Problem> {
        self.member(asked.asker)?;
        let mut envelopes = self.store.envelopes(asked.asker.device, asked.from, PAGE.saturating_add(1))?;
        let next = envelopes.get(PAGE).map(|more| more.epoch);
        envelopes.truncate(PAGE);
        Ok(api::MyEnvelopes { envelopes, next })
    }
}

// Snippets.
impl Team {
    /// Decides on a snippet. If it is refused for good, and this request put its object into R2, the object is erased.
    async fn admit(&self, asked: Admit) -> Result<Admitted, Problem> {
        let Admit { asker, statement, envelopes, heads: known, created } = asked;
        // Nobody but the Worker reaches this object, and it sends only what it has verified with the key of the asker's
        // session, before it let anything into R2.
        let snippet = Verified::<SnippetStatement>::stored(&statement)?;
        let known = heads(&known)?;
        let outcome = if created { Ok(()) } else { self.check_object(&snippet).await };

        // No await from here until it is written.
        let outcome = outcome.and_then(|()| self.decide(asker, &snippet, envelopes, &known));
        if let Err(problem) = &outcome
            && created
            && !matches!(problem.refusal.code, Code::Internal | Code::Unavailable)
        {
            if self.team()?.is_some() {
                let erasure = self.store.insert_erasure(snippet.payload().snippet)?;
                self.with_alarm(self.erase(vec![erasure])).await;
            } else {
                self.begin_to_erase(snippet.payload().team)?;
                self.with_alarm(self.erase_team()).await;
            }
        }
        outcome
    }

    fn decide(
        &self,
        asker: Asker,
        snippet: &Verified<SnippetStatement>,
        envelopes: Vec<Envelope>,
        heads: &BTreeMap<UserId, Head>,
    ) -> Result<Admitted, Problem> {
        let said = snippet.payload();
        let team = self.member(asker)?;
        match self.store.snippet(said.snippet)? {
            Some(IndexedSnippet { statement: None, .. }) => return Err(deleted()),
            Some(indexed) if indexed.hash == snippet.hash() => {
                return Ok(Admitted { received_at: indexed.received_at, first: false });
            }
            Some(_) => return Err(other_bytes()),
            None => {}
        }
        if self.store.is_erasing(said.snippet)? {
            return Err(come_back("its object is about to vanish"));
        }
        // D1 has not heard of somebody who joined a moment ago, or is behind for some other reason. A rotation, which the
        // rules would ask for, would not help.
        if team.members().keys().any(|user| !heads.contains_key(user)) {
            return Err(come_back("the projection lacks a member"));
        }
        let now = now();
        team.admit(snippet, &envelopes, now, |user| heads.get(&user).copied())?;
        let users: BTreeMap<DeviceId, UserId> = team.devices().map(|(user, device)| (device, user)).collect();
        let owned = envelopes.into_iter().filter_map(|envelope| Some((*users.get(&envelope.device)?, envelope)));
        self.store.index(snippet, &owned.collect::<Vec<_>>(), now)?;
        Ok(Admitted { received_at: now, first: true })
    }

    fn find(&self, asked: &Find) -> Result<Found, Problem> {
        self.member(asked.asker)?;
        let user = asked.asker.user;
        let snippet = self.store.snippet(asked.snippet)?.ok_or_else(Problem::not_found)?;
        if !self.store.is_for(&snippet, user)? {
            return Err(Problem::not_found());
        }
        let statement = snippet.statement.ok_or_else(deleted)?;
        if snippet.exp.is_some_and(|exp| exp <= now()) {
            return Err(Problem::new(Code::Gone, "The snippet has expired."));
        }
        let envelopes = self.store.sealed_keys(snippet.seq, user)?;
        Ok(Found { statement, envelopes, received_at: snippet.received_at })
    }

    /// By its author, an owner or an admin (`forbidden`); it need not be for them. As often as they like.
    async fn delete(&self, asked: Delete) -> Result<(), Problem> {
        let team = self.member(asked.asker)?;
        let user = asked.asker.user;
        let snippet = self.store.snippet(asked.snippet)?.ok_or_else(Problem::not_found)?;
        if snippet.author != user && team.member(user)?.role < Role::Admin {
            return Err(if self.store.is_for(&snippet, user)? {
                Problem::new(
                    Code::Forbidden,
                    "Only its author, an owner or an admin deletes a snippet: ask one of them.",
                )
            } else {
                Problem::not_found()
            });
        }
        if snippet.statement.is_some() {
            let erasure = self.store.delete(asked.snippet)?;
            self.with_alarm(self.erase(vec![erasure])).await;
        }
        Ok(())
    }

    fn list(&self, asked: &List) -> Result<api::SnippetPage, Problem> {
        self.member(asked.asker)?;
        let mut page = self.store.list(asked.asker.user, asked.before, asked.limit.saturating_add(1), now())?;
        let size = |listed: &api::ListedSnippet| {
            let envelopes = listed.envelopes.len().saturating_mul(ENVELOPE_BYTES);
            listed.statement.len().saturating_add(envelopes)
        };
        let end = asked.limit.min(fitting(page.iter().map(|(_, listed)| size(listed))));
        let more = page.len() > end;
        page.truncate(end);
        let next = page.last().filter(|_| more).map(|(seq, _)| Cursor(*seq).to_string());
        Ok(api::SnippetPage { snippets: page.into_iter().map(|(_, listed)| listed).collect(), next })
    }

    /// Whether the object that a request found in R2 is there still, and is what its statement says. It does not matter if
    /// the index knows the id already.
    async fn check_object(&self, snippet: &Verified<SnippetStatement>) -> Result<(), Problem> {
        let said = snippet.payload();
        loop {
            if self.team()?.is_none() || self.store.snippet(said.snippet)?.is_some() {
                return Ok(());
            }
            if self.store.is_erasing(said.snippet)? {
                return Err(come_back("its object is about to vanish"));
            }
            let before = self.erasures_begun.get();
            let object = self.bucket()?.head(snippets::object_key(said.team, said.snippet)).await?;
            // An erasure that began and ended while R2 was asked may have been of this object, after R2 saw it.
            if self.erasures_begun.get() != before {
                continue;
            }
            let object = object.ok_or_else(|| come_back("its object has vanished"))?;
            let hash = object.checksum().sha256;
            let fits = hash.as_deref() == Some(said.sha256.as_bytes().as_slice()) && object.size() == said.length;
            return if fits { Ok(()) } else { Err(other_bytes()) };
        }
    }
}

// What is a user's, whether or not they are a member now.
impl Team {
    fn own(&self, asked: &ReadOwn) -> Result<OwnPage, Problem> {
        let Some(team) = self.team()? else { return Ok(OwnPage::default()) };
        let after = asked.from.saturating_add(PAGE as u64);
        if matches!(asked.part, Part::Entries) {
            let entries = self.store.entries(asked.from, PAGE)?;
            let next = (entries.len() == PAGE).then_some(after);
            let mut items = Vec::new();
            for entry in entries {
                if concerns(&entry.jws, asked.user)? {
                    items.push(serde_json::to_string(&entry)?);
                }
            }
            return Ok(OwnPage { items, next });
        }
        let page = self.store.own(team.team(), asked)?;
        let next = match asked.part {
            Part::Envelopes => (after <= epoch(&team)).then_some(after),
            _ => page.get(PAGE.saturating_sub(1)).map(|last| last.at.saturating_add(1)),
        };
        Ok(OwnPage { items: page.into_iter().map(|own| own.json).collect(), next })
    }

    /// 1. Nothing is decided while the user is about to become a member, or while D1 may yet hear of the team: come back.
    /// 2. A team in which nobody else is a member goes with everything.
    /// 3. Who is in it with others, or waits to be confirmed, is not deleted before they have left (`conflict`). Who is
    ///    erased stays in it: membership changes by signed entries alone.
    /// 4. Of anybody else the snippets go, and what is kept for them alone. The log stays.
    async fn forget(&self, asked: Forget) -> Result<Fate, Problem> {
        let Forget { user, devices, how } = asked;
        // 1
        if self.joining.borrow().contains(&user) || self.projecting.get() > 0 {
            return Err(come_back("somebody joins, or D1 is being told"));
        }
        let Some(team) = self.team()? else {
            if self.store.erased_team()?.is_some() {
                self.with_alarm(self.erase_team()).await;
            }
            return Ok(Fate::Erased);
        };
        if !team.everyone().contains(&user) {
            return Ok(Fate::Stranger);
        }
        // 2
        let is_member = team.members().contains_key(&user);
        if is_member && team.members().len() == 1 {
            if how != Forgetting::LookOnly {
                self.begin_to_erase(team.team())?;
                self.with_alarm(self.erase_team()).await;
            }
            return Ok(Fate::Erased);
        }
        // 3
        if how != Forgetting::Erased && (is_member || is_pending(&team, user)) {
            let detail = "You are in a team with others, or wait to be confirmed in one. Leave each such team first (where \
                          you are its only owner, make somebody else an owner before), then delete yourself.";
            return Err(Problem::new(Code::Conflict, detail));
        }
        // 4
        if how != Forgetting::LookOnly {
            let erasures = self.store.forget(user, &devices)?;
            self.with_alarm(self.erase(erasures)).await;
        }
        Ok(Fate::Named)
    }

    /// Deletes the team, for an owner. As often as they like: of one that is gone nothing is left to be decided.
    async fn disband(&self, asker: Asker) -> Result<(), Problem> {
        if !self.joining.borrow().is_empty() || self.projecting.get() > 0 {
            return Err(come_back("somebody joins, or D1 is being told"));
        }
        if let Some(team) = self.team()? {
            if self.member(asker)?.member(asker.user)?.role < Role::Owner {
                return Err(Problem::new(
                    Code::Forbidden,
                    "Only an owner deletes a team: ask one of them, or leave it.",
                ));
            }
            self.begin_to_erase(team.team())?;
        }
        self.with_alarm(self.erase_team()).await;
        Ok(())
    }
}

// What happens outside, after something was decided here.
impl Team {
    /// Does `work`, which is noted in the store as still to be done, with an alarm for the case that it fails or is cut
    /// off. Called in one go with the note, so that there is never the one without the other.
    async fn with_alarm(&self, work: impl Future<Output = ()>) {
        if let Err(error) = self.storage.set_alarm(FIRST_PAUSE).await {
            log("alarm", &error.into());
        }
        work.await;
        if self.store.is_settled().is_ok_and(|settled| settled)
            && let Err(error) = self.storage.delete_alarm().await
        {
            log("alarm", &error.into());
        }
    }

    /// Tells D1 where the team stands, if it may not know.
    async fn project(&self) {
        self.projecting.set(self.projecting.get().saturating_add(1));
        let outcome: Result<(), Problem> = async {
            let Some(team) = self.team()? else { return Ok(()) };
            if self.store.is_unprojected()? {
                Db::open(&self.env)?.project(&projection(&team)).await?;
                self.store.projected(team.head().seq)?;
            }
            Ok(())
        }
        .await;
        self.projecting.set(self.projecting.get().saturating_sub(1));
        if let Err(problem) = outcome {
            log("project", &problem);
        }
    }

    /// Makes the objects of snippets vanish, unless that is under way.
    async fn erase(&self, mut erasures: Vec<Erasure>) {
        erasures.retain(|erasure| self.erasing.borrow_mut().insert(erasure.id));
        for some in erasures.chunks(KEYS_PER_DELETION) {
            self.erasures_begun.set(self.erasures_begun.get().wrapping_add(1));
            let outcome: Result<(), Problem> = async {
                let Some(team) = self.team()? else { return Ok(()) };
                let keys = some.iter().map(|erasure| snippets::object_key(team.team(), erasure.snippet));
                self.bucket()?.delete_multiple(keys.collect()).await?;
                // Unless all of the team was erased meanwhile.
                if self.team()?.is_some() {
                    self.store.erased(some)?;
                }
                Ok(())
            }
            .await;
            for erasure in some {
                self.erasing.borrow_mut().remove(&erasure.id);
            }
            if let Err(problem) = outcome {
                log("erase", &problem);
            }
        }
    }

    /// From here on there is no team, and what R2 has of it is to vanish.
    fn begin_to_erase(&self, team: TeamId) -> Result<(), Problem> {
        self.store.erase_team(team)?;
        self.cached.replace(None);
        self.erasures_begun.set(self.erasures_begun.get().wrapping_add(1));
        Ok(())
    }

    /// Makes everything vanish that R2 has of a team that was erased, also what no index knows, and what D1 has; and then
    /// the note of it.
    async fn erase_team(&self) {
        let outcome: Result<(), Problem> = async {
            while let Some(team) = self.store.erased_team()? {
                let begun = self.erasures_begun.get();
                let found = self.bucket()?.list().prefix(snippets::keys_of(team)).execute().await?;
                let keys: Vec<String> = found.objects().iter().map(Object::key).collect();
                if !keys.is_empty() {
                    self.bucket()?.delete_multiple(keys).await?;
                    continue;
                }
                Db::open(&self.env)?.forget_team(team).await?;
                if self.erasures_begun.get() == begun {
                    self.storage.delete_all().await?;
                    break;
                }
            }
            Ok(())
        }
        .await;
        if let Err(problem) = outcome {
            log("erase-team", &problem);
        }
    }

    fn bucket(&self) -> Result<Bucket, Problem> {
        Ok(self.env.bucket(snippets::BUCKET)?)
    }
}

// Who may ask.
impl Team {
    /// The team as it stands; none before the first commit.
    fn team(&self) -> Result<Option<Rc<TeamState>>, Problem> {
        let mut cached = self.cached.borrow_mut();
        if cached.is_none() {
            *cached = self.store.team()?.map(Rc::new);
        }
        Ok(cached.clone())
    }

    /// The team, for a member. The projection in D1, by which the Worker let them through, may be behind.
    fn member(&self, asker: Asker) -> Result<Rc<TeamState>, Problem> {
        let team = self.team()?.ok_or_else(Problem::not_found)?;
        if team.members().contains_key(&asker.user) { Ok(team) } else { Err(Problem::not_found()) }
    }

    /// The team, for a member, for who waits to be confirmed, or for who holds an invitation and proves it (section 6).
    ///
    /// Who proves nothing must not learn that the team exists (`not-found`). Who holds an invitation that is over may
    /// (`gone`).
    async fn open_to(&self, asker: Asker, invite: Option<&str>) -> Result<Rc<TeamState>, Problem> {
        let team = self.team()?.ok_or_else(Problem::not_found)?;
        if team.members().contains_key(&asker.user) || is_pending(&team, asker.user) {
            return Ok(team);
        }
        let proof = Unverified::<InviteProof>::parse(invite.ok_or_else(Problem::not_found)?);
        let proof = proof.map_err(|_| Problem::not_found())?;
        let said = proof.payload();
        if said.team != team.team() || said.user != asker.user {
            return Err(Problem::not_found());
        }
        let key = self.store.invitation(said.invite)?.ok_or_else(Problem::not_found)?;
        let proof = proof.verify(&key, &WebCrypto).await.map_err(|problem| match problem.refusal.code {
            Code::BadSignature => Problem::not_found(),
            _ => problem,
        })?;
        // Looked up again: the invitation may have been revoked meanwhile.
        let team = self.team()?.ok_or_else(Problem::not_found)?;
        team.admit_reader(&proof, now())?;
        Ok(team)
    }

    /// Sees to it, once in this instance, that the storage has this release's form.
    fn bring_forward(&self) -> worker::Result<()> {
        if !self.is_current.get() {
            self.store.bring_forward()?;
            self.is_current.set(true);
        }
        Ok(())
    }
}

/// Answers a request for an operation. What the caller is not told goes to the log here.
async fn serve<O: Operation>(
    mut request: Request,
    operate: impl AsyncFnOnce(O) -> Result<O::Answer, Problem>,
) -> worker::Result<Response> {
    let outcome = match receive::<O>(&mut request).await {
        Ok(asked) => operate(asked).await,
        Err(problem) => Err(problem),
    };
    if let Err(problem) = &outcome {
        log(O::NAME, problem);
    }
    reply::<O>(&outcome)
}

/// Whether the asker is the author of each entry, and each is signed by the device of the asker's session.
fn by(asker: Asker, entries: &[Unverified<TeamEntry>]) -> bool {
    entries.iter().all(|entry| entry.payload().user == asker.user && entry.kid() == asker.device.0)
}

/// Something that says where in a log it stands.
trait Stated {
    fn position(&self) -> Head;
}

impl Stated for Unverified<TeamEntry> {
    fn position(&self) -> Head {
        Head { seq: self.payload().seq, hash: self.hash() }
    }
}

impl Stated for Verified<TeamEntry> {
    fn position(&self) -> Head {
        Head { seq: self.payload().seq, hash: self.hash() }
    }
}

/// How many of these fit on a page, by their lengths in bytes: at least one.
fn fitting(lengths: impl Iterator<Item = usize>) -> usize {
    let mut sum = 0_usize;
    let fits = lengths.take_while(|length| {
        sum = sum.saturating_add(*length);
        sum <= PAGE_BYTES
    });
    fits.count().max(1)
}

/// Bytes of an envelope as JSON, about.
const ENVELOPE_BYTES: usize = 350;

/// Whether an entry is by a user or about them.
fn concerns(entry: &str, user: UserId) -> Result<bool, Problem> {
    let entry = Unverified::<TeamEntry>::parse(entry)?;
    let said = entry.payload();
    let about = match &said.event {
        TeamEvent::MemberConfirmed { user }
        | TeamEvent::MemberRemoved { user }
        | TeamEvent::RoleChanged { user, .. }
        | TeamEvent::InviteCreated { user: Some(user), .. } => Some(*user),
        _ => None,
    };
    Ok(said.user == user || about == Some(user))
}

fn is_pending(team: &TeamState, user: UserId) -> bool {
    team.pending(now()).any(|(pending, _)| pending == user)
}

fn committed(team: &TeamState) -> api::Committed {
    api::Committed { team: team.team(), head: team.head(), epoch: epoch(team) }
}

fn epoch(team: &TeamState) -> u64 {
    team.epoch().map_or(0, |epoch| epoch.number)
}

fn projection(team: &TeamState) -> Projection {
    let members = team.members().iter();
    let members = members.map(|(user, member)| ProjectedMember { user: *user, role: member.role, pending_until: None });
    let pending = team.pending(team.received_at());
    let pending = pending.map(|(user, pending)| {
        let until = pending.asked_at.plus(PENDING_SECONDS);
        ProjectedMember { user, role: pending.role, pending_until: Some(until) }
    });
    Projection {
        team: team.team(),
        seq: team.head().seq,
        epoch: epoch(team),
        members: members.chain(pending).collect(),
    }
}

/// Reads the members' user-log heads as D1 wrote them.
fn heads(json: &str) -> Result<BTreeMap<UserId, Head>, Problem> {
    let heads: Vec<UserHead> = serde_json::from_str(json)?;
    Ok(heads.into_iter().map(|UserHead { user, seq, hash }| (user, Head { seq, hash })).collect())
}

fn stale() -> Problem {
    Problem::new(Code::StaleLog, "The commit does not continue the team log: read it again, rebuild, retry.")
}

fn deleted() -> Problem {
    Problem::new(Code::Gone, "The snippet was deleted.")
}

fn other_bytes() -> Problem {
    Problem::new(Code::Conflict, "There is another snippet with this id: share under a new one.")
}

fn come_back(why: &'static str) -> Problem {
    Problem::unavailable("The team is catching up with something. Retry in a moment.", why)
}

/// A line for whoever runs the service. It names no team and nobody.
fn log(operation: &str, problem: &Problem) {
    if let Some(internal) = &problem.internal {
        console_error!("{}", serde_json::json!({ "team": operation, "internal": internal }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_ends_before_it_is_too_large_and_has_at_least_one_item() {
        assert_eq!(fitting([PAGE_BYTES + 1, 1].into_iter()), 1);
        assert_eq!(fitting([PAGE_BYTES - 1, 1, 1].into_iter()), 2);
        assert_eq!(fitting([1, 1, 1].into_iter()), 3);
    }
}
