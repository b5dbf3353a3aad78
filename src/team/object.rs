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
//! | two commits on one head | The one that decides first moves the head; the other is `stale-log`, as its `prev` is not the head any more. What it had read of D1 for the members of before does not matter then. |
//! | a commit and its own repetition | The later to decide finds the entries in the log and gives the answer of the first. |
//! | a device is added or revoked while a commit or a share is under way | It is as if it had happened just after: the epoch names heads that are not the current ones, is stale by that, and takes nothing more. |
//! | two different snippets of one id | R2 creates an object once. Whose request created it is admitted without a look at R2; the other sees that the object's hash is not the one that it states, and is `conflict`. |
//! | a snippet is refused and shared again at once | The request that created the object has it erased. Until R2 has confirmed that, there is a row in `erasures`, and whoever comes with that id is told to come back: the object that they found may be about to vanish. |
//! | a snippet is refused whose object another request has created | The object is left alone: it is its creator's, who may be on the way to be admitted. |
//! | a snippet is refused while another request has found its object there | That one is not the object's creator, and looks at R2 before it is admitted. The object is gone, or its erasure is under way: `unavailable` either way, and the retry creates it anew. |
//! | a snippet is deleted while it is shared again | The row in the index stays for good, so the id is `gone`, and what the second request may have put into R2 is erased like that of any refusal. |
//! | an account is deleted while its user founds or joins the team, by another device | Before the object decides on the commit, the round trip to D1 that reads the devices also counts it in `user_teams`. While it is under way [`Forget`] is told to come back; after it they are a member; and one that begins after `Forget` is seen by the deletion, which compares the counts before it ends the account, or finds that the account has ended, and with it the device. A commit that is refused takes its count back. |
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

use osmynt_core::limits::{MAX_INTEGER, PAGE};
use osmynt_core::snippet::Audience;
use osmynt_core::statement::{InviteProof, SnippetStatement, TeamEntry};
use osmynt_core::teamlog::{CommitEntry, Role, TeamEvent, TeamState, UserHead};
use osmynt_core::{Code, Envelope, Head, InviteId, PublicKey, TeamId, Time, Unverified, UserId, Verified, api, b64u};
use worker::{
    Bucket, Date, DurableObject, Env, Object, Request, Response, State, Storage, console_error, durable_object,
};

use super::directory::CurrentDevices;
use super::requests::{
    Admit, Admitted, Asker, Commit, Delete, Describe, Description, Everyone, Fate, Find, Forget, Found, List,
    Operation, OwnPage, Part, ReadEnvelopes, ReadEveryone, ReadLog, ReadOwn, receive, reply,
};
use super::store::{Erasure, IndexedSnippet, Reader, Store};
use crate::crypto;
use crate::db::{Db, ProjectedMember, Projection};
use crate::problem::Problem;
use crate::snippets;

/// Before what could not be done outside is tried again. Doubled with each time that it fails, up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_secs(2);
const LONGEST_PAUSE: Duration = Duration::from_mins(5);
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
        }
    }

    async fn fetch(&self, request: Request) -> worker::Result<Response> {
        let path = request.path();
        match path.trim_start_matches('/') {
            Commit::NAME => serve(request, async |asked| self.commit(asked).await).await,
            ReadLog::NAME => serve(request, async |asked| self.log(asked).await).await,
            ReadEveryone::NAME => serve(request, async |asked| self.everyone(asked).await).await,
            Describe::NAME => serve(request, async |asked| self.describe(&asked)).await,
            ReadEnvelopes::NAME => serve(request, async |asked| self.envelopes(&asked)).await,
            Admit::NAME => serve(request, async |asked| self.admit(asked).await).await,
            Find::NAME => serve(request, async |asked| self.find(&asked)).await,
            Delete::NAME => serve(request, async |asked| self.delete(asked).await).await,
            List::NAME => serve(request, async |asked| self.list(&asked)).await,
            ReadOwn::NAME => serve(request, async |asked| self.own(&asked)).await,
            Forget::NAME => serve(request, async |asked| self.forget(asked).await).await,
            _ => Problem::internal("a team was asked for what it does not do").response(),
        }
    }

    /// Does what could not be done at once.
    async fn alarm(&self) -> worker::Result<Response> {
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
    /// 1. Every entry is by the asker, signed by the device of their session (`forbidden`, `bad-signature`).
    /// 2. Who is not a member only joins, or repeats what they did when they were one (`not-found`).
    /// 3. Everything else is for [`TeamState::commit`] to say.
    async fn commit(&self, asked: Commit) -> Result<api::Committed, Problem> {
        let Commit { asker, key, founding, changes } = asked;
        let entries = by(asker, &changes.entries)?;
        let before = self.team()?;
        let entries = verify(entries, &key, before.as_deref()).await?;
        let mut users: BTreeSet<UserId> = before.iter().flat_map(|team| team.members().keys().copied()).collect();
        users.insert(asker.user);
        let users: Vec<UserId> = users.into_iter().collect();
        let joining = match (&before, entries.first()) {
            (None, Some(first)) if founding => Some(TeamId(first.entry.hash())),
            (Some(team), Some(first)) => first.proof.as_ref().map(|_| team.team()),
            _ => None,
        };
        self.joining.borrow_mut().extend(joining.map(|_| asker.user));
        let devices = CurrentDevices::read(&self.env, &users, asker, key, joining).await;
        if joining.is_some() {
            let mut users = self.joining.borrow_mut();
            if let Some(at) = users.iter().position(|user| *user == asker.user) {
                users.swap_remove(at);
            }
        }
        let outcome = self.take(asker, founding, &entries, &changes.envelopes, &devices?);
        if let (Err(_), Some(team)) = (&outcome, joining)
            && let Err(problem) = Db::open(&self.env)?.not_joined(asker.user, team).await
        {
            // It costs a deletion of the account a look at this team, and nothing else.
            log(Commit::NAME, &problem);
        }
        let committed = outcome?;
        if self.store.is_unprojected()? {
            self.with_alarm(self.project()).await;
        }
        Ok(committed)
    }

    /// Decides on a commit and writes it: without an await in between. If the team is another by now than it was when the
    /// entries were verified and D1 was read, so is its head, and the commit does not continue the log.
    fn take(
        &self,
        asker: Asker,
        founding: bool,
        entries: &[CommitEntry],
        envelopes: &[Envelope],
        devices: &CurrentDevices,
    ) -> Result<api::Committed, Problem> {
        if let Some(committed) = self.repeated(entries)? {
            return Ok(committed);
        }
        let current = self.team()?;
        match &current {
            None if founding => {
                if self.store.erased_team()?.is_some() {
                    return Err(come_back("it is being erased"));
                }
            }
            Some(_) if founding => return Err(Problem::new(Code::StaleLog, "The team exists: read its log.")),
            Some(team) if is_member(team, asker) || joins(entries) => {}
            _ => return Err(Problem::not_found()),
        }
        let next = TeamState::commit(current.as_deref(), entries, envelopes, now(), devices)?;
        self.store.commit(&next, entries, envelopes)?;
        let committed = committed(&next);
        self.cached.replace(Some(Rc::new(next)));
        Ok(committed)
    }

    /// What was answered to a commit, if the log holds it, entry for entry.
    fn repeated(&self, entries: &[CommitEntry]) -> Result<Option<api::Committed>, Problem> {
        let Some(team) = self.team()? else { return Ok(None) };
        let mut last = None;
        for CommitEntry { entry, .. } in entries {
            let head = Head { seq: entry.payload().seq, hash: entry.hash() };
            let Some(epoch) = self.store.epoch_after(head)? else { return Ok(None) };
            last = Some(api::Committed { team: team.team(), head, epoch });
        }
        Ok(last)
    }

    async fn log(&self, asked: ReadLog) -> Result<api::TeamLog, Problem> {
        let team = self.open_to(asked.asker, asked.invite.as_deref()).await?;
        Ok(api::TeamLog { entries: self.store.entries(asked.from, PAGE)?, head: team.head() })
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

    fn describe(&self, asked: &Describe) -> Result<Description, Problem> {
        let (team, _) = self.member(asked.asker)?;
        let (now, heads) = (now(), heads(&asked.heads)?);
        let members = team.members().iter().map(|(user, member)| (*user, member.identity, member.role)).collect();
        let invites = team.open_invites(now).map(|(invite, open)| api::OpenInvite {
            invite,
            role: open.role,
            exp: open.exp,
            uses_left: open.uses_left,
        });
        Ok(Description {
            head: team.head(),
            epoch: epoch(&team),
            stale: team.stale(now, |user| heads.get(&user).copied()),
            policy: team.policy(),
            members,
            invites: invites.collect(),
        })
    }

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
        let Admit { asker, key, statement, heads: known, created } = asked;
        // The Worker has verified the signature, before it let anything into R2.
        let snippet = Unverified::<SnippetStatement>::parse(&statement)?.verified(&key, true)?;
        let known = heads(&known)?;
        let outcome = if created { Ok(()) } else { self.check_object(&snippet).await };

        // No await from here until it is written.
        let outcome = outcome.and_then(|()| self.decide(asker, &snippet, &known));
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
        heads: &BTreeMap<UserId, Head>,
    ) -> Result<Admitted, Problem> {
        let said = snippet.payload();
        let (team, _) = self.member(asker)?;
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
        team.admit(snippet, now, |user| heads.get(&user).copied())?;
        let named = match &said.audience {
            Audience::Team { .. } => Vec::new(),
            Audience::Members { members, .. } => {
                let users = members.iter().chain([&said.user]);
                users.filter_map(|user| Some((*user, team.members().get(user)?.identity))).collect()
            }
        };
        self.store.index(snippet, &named, now)?;
        Ok(Admitted { received_at: now, first: true })
    }

    fn find(&self, asked: &Find) -> Result<Found, Problem> {
        let (_, reader) = self.member(asked.asker)?;
        let snippet = self.store.snippet(asked.snippet)?.ok_or_else(Problem::not_found)?;
        if !self.store.is_for(&snippet, reader)? {
            return Err(Problem::not_found());
        }
        let statement = snippet.statement.ok_or_else(deleted)?;
        if snippet.exp.is_some_and(|exp| exp <= now()) {
            return Err(Problem::new(Code::Gone, "The snippet has expired."));
        }
        Ok(Found { statement })
    }

    /// By its author, an owner or an admin (`forbidden`); it need not be for them. As often as they like.
    async fn delete(&self, asked: Delete) -> Result<(), Problem> {
        let (team, reader) = self.member(asked.asker)?;
        let snippet = self.store.snippet(asked.snippet)?.ok_or_else(Problem::not_found)?;
        let role = team.member(asked.asker.user)?.role;
        if snippet.author != asked.asker.user && role < Role::Admin {
            return Err(if self.store.is_for(&snippet, reader)? {
                Problem::new(Code::Forbidden, "A snippet is deleted by its author, an owner or an admin.")
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
        let (_, reader) = self.member(asked.asker)?;
        let before = asked.cursor.as_deref().map_or(Ok(MAX_INTEGER), position)?;
        let mut page = self.store.list(reader, before, asked.limit.saturating_add(1), now())?;
        let more = page.len() > asked.limit;
        page.truncate(asked.limit);
        let next = page.last().filter(|_| more).map(|(seq, _)| cursor(*seq));
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
                if concerns(&entry.jws, asked.asker.user)? {
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

    /// 1. Nothing is decided while the asker is about to become a member, or while D1 may yet hear of the team: come back.
    /// 2. A team in which nobody else is, under whichever identity the asker is, goes with everything.
    /// 3. Who is in it with others stays in it (`conflict`).
    /// 4. Of anybody else the snippets go, and what is kept for them alone. The log stays.
    async fn forget(&self, asked: Forget) -> Result<Fate, Problem> {
        let Forget { asker, devices, dry } = asked;
        // 1
        if self.joining.borrow().contains(&asker.user) || self.projecting.get() > 0 {
            return Err(come_back("somebody joins, or D1 is being told"));
        }
        let Some(team) = self.team()? else {
            if self.store.erased_team()?.is_some() {
                self.with_alarm(self.erase_team()).await;
            }
            return Ok(Fate::Erased);
        };
        if !team.everyone().contains(&asker.user) {
            return Ok(Fate::Stranger);
        }
        // 2
        if team.members().keys().all(|user| *user == asker.user) {
            if !dry {
                self.begin_to_erase(team.team())?;
                self.with_alarm(self.erase_team()).await;
            }
            return Ok(Fate::Erased);
        }
        // 3
        if is_member(&team, asker) {
            let detail = "You are in a team with others. Leave each such team first (where you are its only owner, make \
                          somebody else an owner before), then delete the account.";
            return Err(Problem::new(Code::Conflict, detail));
        }
        // 4
        if !dry {
            let erasures = self.store.forget(asker.user, &devices)?;
            self.with_alarm(self.erase(erasures)).await;
        }
        Ok(Fate::Named)
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

    /// Makes everything vanish that R2 has of a team that was erased, also what no index knows, and then the note of it.
    async fn erase_team(&self) {
        let outcome: Result<(), Problem> = async {
            while let Some(team) = self.store.erased_team()? {
                let begun = self.erasures_begun.get();
                let found = self.bucket()?.list().prefix(snippets::keys_of(team)).execute().await?;
                let keys: Vec<String> = found.objects().iter().map(Object::key).collect();
                if !keys.is_empty() {
                    self.bucket()?.delete_multiple(keys).await?;
                } else if self.erasures_begun.get() == begun {
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
    fn member(&self, asker: Asker) -> Result<(Rc<TeamState>, Reader), Problem> {
        let team = self.team()?.ok_or_else(Problem::not_found)?;
        let member = team.members().get(&asker.user).filter(|member| member.identity == asker.identity);
        let since_epoch = member.ok_or_else(Problem::not_found)?.since_epoch;
        Ok((team, Reader { user: asker.user, identity: asker.identity, since_epoch }))
    }

    /// The team, for a member or for who holds an invitation and proves it (section 6).
    ///
    /// Who proves nothing must not learn that the team exists (`not-found`). Who holds an invitation that is over may
    /// (`gone`).
    async fn open_to(&self, asker: Asker, invite: Option<&str>) -> Result<Rc<TeamState>, Problem> {
        let team = self.team()?.ok_or_else(Problem::not_found)?;
        if is_member(&team, asker) {
            return Ok(team);
        }
        let proof = Unverified::<InviteProof>::parse(invite.ok_or_else(Problem::not_found)?);
        let proof = proof.map_err(|_| Problem::not_found())?;
        let said = proof.payload();
        if said.team != team.team() || said.user != asker.user || said.identity != asker.identity {
            return Err(Problem::not_found());
        }
        let key = self.store.invitation(said.invite)?.ok_or_else(Problem::not_found)?;
        let proof = crypto::verify(proof, &key).await.map_err(|problem| match problem.refusal.code {
            Code::BadSignature => Problem::not_found(),
            _ => problem,
        })?;
        // Looked up again: the invitation may have been revoked meanwhile.
        let team = self.team()?.ok_or_else(Problem::not_found)?;
        team.admit_reader(&proof, now())?;
        Ok(team)
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

/// The entries, if the asker is the author of each of them and each is signed by the device of the asker's session.
fn by(asker: Asker, entries: &[String]) -> Result<Vec<Unverified<TeamEntry>>, Problem> {
    entries
        .iter()
        .map(|entry| {
            let entry = Unverified::<TeamEntry>::parse(entry)?;
            if entry.payload().user == asker.user && entry.kid() == asker.device.0 {
                Ok(entry)
            } else {
                Err(Problem::new(Code::Forbidden, "Every entry is by the caller, signed by the session's device."))
            }
        })
        .collect()
}

/// Verifies entries and the proofs in them. A proof whose invitation is not open stays unverified: that is what it will be
/// refused for.
async fn verify(
    entries: Vec<Unverified<TeamEntry>>,
    key: &PublicKey,
    team: Option<&TeamState>,
) -> Result<Vec<CommitEntry>, Problem> {
    let mut verified = Vec::with_capacity(entries.len());
    for entry in entries {
        let proof = match (&entry.payload().event, team) {
            (TeamEvent::MemberJoined { invite, proof, .. }, Some(team)) => {
                let proof = Unverified::<InviteProof>::parse(proof)?;
                match invite_key(team, *invite, now()) {
                    Some(key) => Some(crypto::verify(proof, &key).await?),
                    None => None,
                }
            }
            _ => None,
        };
        verified.push(CommitEntry { entry: crypto::verify(entry, key).await?, proof });
    }
    Ok(verified)
}

fn invite_key(team: &TeamState, invite: InviteId, now: Time) -> Option<PublicKey> {
    team.open_invites(now).find(|(id, _)| *id == invite).map(|(_, open)| open.key)
}

/// Whether an entry is by a user or about them.
fn concerns(entry: &str, user: UserId) -> Result<bool, Problem> {
    let entry = Unverified::<TeamEntry>::parse(entry)?;
    let said = entry.payload();
    let about = match &said.event {
        TeamEvent::MemberRemoved { user } | TeamEvent::RoleChanged { user, .. } => Some(*user),
        _ => None,
    };
    Ok(said.user == user || about == Some(user))
}

fn is_member(team: &TeamState, asker: Asker) -> bool {
    team.members().get(&asker.user).is_some_and(|member| member.identity == asker.identity)
}

fn joins(entries: &[CommitEntry]) -> bool {
    entries.first().is_some_and(|first| matches!(first.entry.payload().event, TeamEvent::MemberJoined { .. }))
}

fn committed(team: &TeamState) -> api::Committed {
    api::Committed { team: team.team(), head: team.head(), epoch: epoch(team) }
}

fn epoch(team: &TeamState) -> u64 {
    team.epoch().map_or(0, |epoch| epoch.number)
}

fn projection(team: &TeamState) -> Projection {
    let members = team.members().iter();
    let members =
        members.map(|(user, member)| ProjectedMember { user: *user, identity: member.identity, role: member.role });
    Projection { team: team.team(), seq: team.head().seq, epoch: epoch(team), members: members.collect() }
}

/// Reads the members' user-log heads as D1 wrote them.
fn heads(json: &str) -> Result<BTreeMap<UserId, Head>, Problem> {
    let heads: Vec<UserHead> = serde_json::from_str(json)?;
    Ok(heads.into_iter().map(|UserHead { user, seq, hash }| (user, Head { seq, hash })).collect())
}

/// A cursor is a position in the index, in a form that invites nobody to count with it.
fn cursor(position: u64) -> String {
    b64u::encode(&position.to_be_bytes())
}

fn position(cursor: &str) -> Result<u64, Problem> {
    Ok(u64::from_be_bytes(b64u::decode_array(cursor)?))
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

fn now() -> Time {
    Time(Date::now().as_millis() / 1000)
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
    fn a_cursor_leads_back_to_its_position() {
        for at in [0, 1, 255, MAX_INTEGER] {
            assert_eq!(position(&cursor(at)).ok(), Some(at));
        }
        assert!(["", "AA", "AAAAAAAAAAAA", "!!!!!!!!!!!"].iter().all(|text| position(text).is_err()));
    }
}
