//! A signed-in person's client, and reading a team up to its head.

use osmynt_core::api::{self, Erasure};
use osmynt_core::statement::{PrekeyKind, PrekeyStatement};
use osmynt_core::{DeviceId, Head, TeamId, Time, UserId, Window, limits};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

use crate::http::{Http, OnWait, Request};
use crate::index::{self, Index};
use crate::keys::DeviceKeys;
use crate::logs::{KeptUser, People, TeamView, VerifiedUser};
use crate::people::{Logins, Names, has_nameless, lower};
use crate::seal::{self, Key};
use crate::vault::{KnownName, Secrets, TeamSecrets, Vault};
use crate::{Error, Home, Profile, Result, system, unlock};

/// A signed-in person's access to the service, from one home.
///
/// Its methods are in [`crate::signin`], [`crate::sessions`], [`crate::account`], [`crate::team`] and [`crate::share`]. Each reads what it needs from the home
/// and leaves there what it learned, so that several processes may use one home at a time. Nothing in the home is ever
/// deleted because of what the service says.
#[derive(Debug)]
pub struct Client {
    pub(crate) home: Home,
    pub(crate) vault: Vault,
    pub(crate) http: Http,
    pub(crate) profile: Profile,
    pub(crate) keys: DeviceKeys,
}

/// A team up to its head, and everybody it takes to verify it.
#[derive(Debug)]
pub(crate) struct Synced {
    pub(crate) view: TeamView,
    pub(crate) people: People,
}

/// When each log was last read up to its head, by this machine's clock before it asked. Such a time never goes back.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Readings {
    teams: BTreeMap<TeamId, Time>,
    users: BTreeMap<UserId, Time>,
}

/// What was learned of the erasure of this home's user, and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Notice {
    asked_at: Time,
    erasure: Option<Erasure>,
}

const READINGS: &str = "read.json";
const TEAMS: &str = "teams.json";
const LOGINS: &str = "logins.json";
const NOTICE: &str = "notice.json";
/// The service is asked for notices no more often than this.
const NOTICE_SECONDS: u64 = 3600;
/// How often a team is read in all, when other commands in this home keep changing it.
const READINGS_OVERTAKEN: usize = 5;

impl Client {
    /// Opens the home of somebody who has signed in. [`Error::NotSignedIn`] otherwise. Talks to nobody.
    /// `on_wait` is told of each wait that the service asks for.
    pub fn open(home: Home, on_wait: OnWait) -> Result<Self> {
        let profile = home.profile()?.ok_or(Error::NotSignedIn)?;
        let vault = Vault::open(&home)?;
        let keys = vault.read()?.device.ok_or(Error::NotSignedIn)?;
        Ok(Self { http: Http::new(profile.server.clone(), on_wait), home, vault, profile, keys })
    }

    /// Whose home this is, and of which service.
    pub const fn profile(&self) -> &Profile {
        &self.profile
    }

    /// This device's user. [`Error::UnknownDevice`] while it is in no user's log.
    pub fn user(&self) -> Result<UserId> {
        self.profile.user.ok_or(Error::UnknownDevice)
    }

    pub(crate) fn device(&self) -> DeviceId {
        DeviceId(self.keys.signer.kid())
    }
}

// What the service says of the caller.
impl Client {
    /// Asks the service about the caller, and refuses what contradicts this home. Keeps what it says of erasures.
    pub(crate) fn ask_me(&self) -> Result<api::Me> {
        let me: api::Me = self.json(&Request::get("/v1/me"))?;
        self.check_me(&me)?;
        self.keep_notice(self.own_erasure(&me.erasures))?;
        Ok(me)
    }

    /// Refuses an answer about another account or device, or that takes this device out of its user's log.
    pub(crate) fn check_me(&self, me: &api::Me) -> Result<()> {
        let lie = |what: String| Err(Error::Tampered { what });
        if me.account.id != self.profile.account {
            return lie(format!("the service answers with another account than {}", self.profile.account));
        }
        if me.device.id != self.device() {
            return lie(format!("the service answers with another device than {}", self.device()));
        }
        match self.profile.user {
            Some(user) if me.device.user != Some(user) => {
                lie(format!("the service says that this device is not in the log of its user {user}"))
            }
            _ => Ok(()),
        }
    }

    /// An erasure of this home's user that was asked for, to be shown with everything. Asks the service at most once an hour;
    /// otherwise, and when it does not answer, what it said last counts.
    pub fn notice(&self) -> Result<Option<Erasure>> {
        let now = system::now();
        let known: Option<Notice> = self.home.read_json(NOTICE)?;
        let fresh = |known: &Notice| known.asked_at <= now && now.since(known.asked_at) < NOTICE_SECONDS;
        if known.as_ref().is_some_and(fresh) || self.profile.user.is_none() || !self.is_signed_in()? {
            return Ok(known.and_then(|known| known.erasure));
        }
        // First, so that a service that cannot be reached is not waited for with every command.
        let erasure = known.and_then(|known| known.erasure);
        self.keep_notice(erasure.clone())?;
        match self.ask_me() {
            Ok(me) => Ok(self.own_erasure(&me.erasures)),
            Err(error @ Error::Tampered { .. }) => Err(error),
            Err(_) => Ok(erasure),
        }
    }

    fn own_erasure(&self, erasures: &[Erasure]) -> Option<Erasure> {
        erasures.iter().find(|erasure| Some(erasure.user) == self.profile.user).cloned()
    }

    pub(crate) fn keep_notice(&self, erasure: Option<Erasure>) -> Result<()> {
        let notice = Notice { asked_at: system::now(), erasure };
        self.home.locked(|| self.home.write_json(NOTICE, &notice))
    }
}

// This device's prekey.
impl Client {
    /// Publishes another prekey when the present one has served its time.
    fn renew_prekey(&self) -> Result<()> {
        let now = system::now();
        if !self.keys.is_prekey_due(now) {
            return Ok(());
        }
        let next = self.vault.update(|secrets| {
            let device = secrets.device.as_mut().ok_or(Error::NotSignedIn)?;
            // Another process may have done it meanwhile.
            device.is_prekey_due(now).then(|| device.next_prekey(system::random)).transpose()
        })?;
        let Some(next) = next else { return Ok(()) };
        let (user, key) = (self.user()?, *next.public());
        let statement = PrekeyStatement { user, kind: PrekeyKind::Signed, key, iat: now };
        let prekey = self.keys.signer.sign(&statement)?;
        match self.empty(&Request::put("/v1/me/prekey", &api::RenewPrekey { prekey })?) {
            Ok(()) => self.vault.update(|secrets| {
                let device = secrets.device.as_mut().ok_or(Error::NotSignedIn)?;
                device.prekey_published(&next.id(), now);
                Ok(())
            }),
            // It is no reason not to do what was asked for, and is tried again next time.
            Err(Error::Refused { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

// Reading and verifying.
impl Client {
    /// Reads a team up to its head and verifies all of it, page by page. `proof` is that of an invitation, for somebody who
    /// is not a member yet.
    pub(crate) fn sync(&self, team: TeamId, proof: Option<&str>) -> Result<Synced> {
        self.user()?;
        if proof.is_none() {
            self.renew_prekey()?;
        }
        for _ in 0..READINGS_OVERTAKEN {
            if let Some(synced) = self.read_team(team, proof)? {
                return Ok(synced);
            }
        }
        Err(Error::Internal { why: "other commands on this machine keep changing this team".to_owned() })
    }

    /// One attempt; none if it was out of date before it could be kept.
    fn read_team(&self, team: TeamId, proof: Option<&str>) -> Result<Option<Synced>> {
        let asked_at = system::now();
        let readings = self.readings()?;
        let read_at = readings.teams.get(&team).copied();
        let mut known = self.pinned_team(team)?;
        let mut at_pin = true;
        let from = known.as_ref().map_or(0, |view| view.state().head().seq);
        let mut page = self.log_page(team, from, proof)?;
        // The directory after the log: whoever that page names is in it.
        let (mut people, mut directory_at) = self.directory(team, &readings, proof)?;
        let mut again = true;
        let view = loop {
            let window = Window { read_at, now: system::now() };
            let mut next = match take_page(team, known.clone(), at_pin, &page, &people, &window) {
                // Somebody may have joined, or added a device, while this was read.
                Err(Error::Tampered { .. }) if again => {
                    again = false;
                    (people, directory_at) = self.directory(team, &readings, proof)?;
                    take_page(team, known, at_pin, &page, &people, &window)?
                }
                taken => taken?,
            };
            if next.ends_at(page.head)? {
                break next;
            }
            page = self.log_page(team, next.state().head().seq.saturating_add(1), proof)?;
            known = Some(next);
            at_pin = false;
        };
        // A withheld name may be the very login that another user shows, so none is pinned until all are shown.
        if !has_nameless(view.state(), &people, self.profile.user) {
            for user in people.users_mut() {
                user.pin_name(false);
            }
        }
        let pinned = self.pin(&view, &people, asked_at, directory_at)?;
        Ok(pinned.then_some(Synced { view, people }))
    }

    /// A team as it was verified last, without asking the service.
    pub(crate) fn offline(&self, team: TeamId) -> Result<Option<Synced>> {
        let Some(view) = self.pinned_team(team)? else { return Ok(None) };
        let mut people = People::default();
        for user in view.state().everyone() {
            if let Some(kept) = self.kept_user(*user)? {
                people.insert(VerifiedUser::restore(*user, kept)?);
            }
        }
        Ok(Some(Synced { view, people }))
    }

    /// The names of a team's people, for the caller.
    pub(crate) fn names<'a>(&self, synced: &'a Synced) -> Result<Names<'a>> {
        Ok(Names::new(synced.view.state(), &synced.people, self.profile.user, self.logins()?))
    }

    /// The caller's own user log, verified and pinned, with the prekeys of the own devices.
    pub(crate) fn my_log(&self) -> Result<(VerifiedUser, People)> {
        self.log_of_mine(self.user()?)
    }

    /// The same of a user who is to be the caller's.
    pub(crate) fn log_of_mine(&self, user: UserId) -> Result<(VerifiedUser, People)> {
        let asked_at = system::now();
        let read_at = self.readings()?.users.get(&user).copied();
        let mut log = match self.kept_user(user)? {
            Some(kept) => VerifiedUser::restore(user, kept)?,
            None => VerifiedUser::unknown(user),
        };
        let mut next = log.entries().len().saturating_sub(1);
        let page = loop {
            let page: api::MyLog = self.json(&Request::get(format!("/v1/me/log?from={next}")))?;
            check_page(page.entries.len())?;
            log.take(next, &page.entries, &Window { read_at, now: system::now() })?;
            next = next.saturating_add(page.entries.len());
            log.check_whole(next)?;
            match (log.log().head(), page.head) {
                (Some(read), Some(said)) if read == said => break page,
                (Some(read), Some(said)) if read.seq < said.seq && !page.entries.is_empty() => {}
                _ => {
                    return Err(Error::Tampered {
                        what: format!("the service shows a log of user {user} that does not end where it says"),
                    });
                }
            }
        };
        log.take_name(page.name);
        log.pin_name(false);
        let mut people = People::default();
        for compact in &page.prekeys {
            if let Some((device, key)) =
                log.prekey(compact).map_err(|refusal| Error::tampered("a prekey of this user", &refusal))?
            {
                people.insert_prekey(device, key);
            }
        }
        people.insert(log.clone());
        self.home.locked(|| {
            self.pin_user(&log)?;
            self.note_readings(None, [user], asked_at)
        })?;
        Ok((log, people))
    }

    fn log_page(&self, team: TeamId, from: u64, proof: Option<&str>) -> Result<api::TeamLog> {
        let request = with_proof(Request::get(format!("/v1/teams/{team}/log?from={from}")), proof);
        let page: api::TeamLog = self.json(&request)?;
        check_page(page.entries.len())?;
        Ok(page)
    }

    /// Everybody whom the directory lists, each verified as they come; and when it was asked.
    fn directory(&self, team: TeamId, readings: &Readings, proof: Option<&str>) -> Result<(People, Time)> {
        let asked_at = system::now();
        let mut people = People::default();
        let mut after: Option<UserId> = None;
        // Those who are or ever were in the team, and the caller.
        let mut left = limits::USERS_PER_TEAM.saturating_add(1);
        loop {
            let query = after.map(|user| format!("?after={user}")).unwrap_or_default();
            let request = with_proof(Request::get(format!("/v1/teams/{team}/directory{query}")), proof);
            let page: api::DirectoryPage = self.json(&request)?;
            check_page(page.users.len())?;
            left = left.checked_sub(page.users.len()).ok_or_else(|| nonsense("its directory has too many users"))?;
            let empty = page.users.is_empty();
            for user in page.users {
                // Ascending, so that no service can keep a client reading for ever.
                if after.is_some_and(|after| user.user <= after) {
                    return Err(nonsense("its directory goes in circles"));
                }
                after = Some(user.user);
                let window = Window { read_at: readings.users.get(&user.user).copied(), now: system::now() };
                let kept = self.kept_user(user.user)?;
                people.add(user, kept, &window)?;
            }
            match page.next {
                None => return Ok((people, asked_at)),
                Some(next) if !empty && after.is_none_or(|after| next >= after) => after = Some(next),
                Some(_) => return Err(nonsense("its directory goes in circles")),
            }
        }
    }

    fn pinned_team(&self, team: TeamId) -> Result<Option<TeamView>> {
        self.home.read_json(&team_file(team))
    }

    pub(crate) fn kept_user(&self, user: UserId) -> Result<Option<KeptUser>> {
        self.home.read_json(&user_file(user))
    }

    fn readings(&self) -> Result<Readings> {
        Ok(self.home.read_json(READINGS)?.unwrap_or_default())
    }

    /// Keeps what was verified. False, and nothing of the team is kept, if another process has read more meanwhile or has had a
    /// commit accepted: what was read is out of date. If the two contradict each other, the service has told them different
    /// things.
    fn pin(&self, view: &TeamView, people: &People, asked_at: Time, directory_at: Time) -> Result<bool> {
        self.home.locked(|| {
            for user in people.users() {
                self.pin_user(user)?;
            }
            self.note_logins(people.users())?;
            let team = view.state().team();
            let head = view.state().head();
            let known = self.pinned_team(team)?;
            if let Some(pinned) = &known {
                let before = pinned.state().head();
                if !view.contains(before) && !pinned.contains(head) {
                    return Err(Error::Tampered {
                        what: format!("the service shows two logs of team {team} at the same time (a fork)"),
                    });
                }
                if !view.contains(before) || !view.has_commits_of(pinned) {
                    return Ok(false);
                }
            }
            if known.is_none_or(|pinned| pinned.state().head() != head || !pinned.is_settled()) {
                self.home.write_json(&team_file(team), view)?;
                let mine = self.profile.user.is_some_and(|me| view.state().members().contains_key(&me));
                self.list_team(team, mine)?;
            }
            // Last: a time that is too early does no harm.
            self.note_readings(None, people.users().map(VerifiedUser::user), directory_at)?;
            self.note_readings(Some(team), [], asked_at)?;
            Ok(true)
        })
    }

    /// Keeps that the service has taken a commit of this device: it cannot show a log without it any more. `mine`: whether
    /// the caller is a member after it.
    pub(crate) fn pin_commit(&self, team: TeamId, head: Head, mine: bool) -> Result<()> {
        self.home.locked(|| {
            self.list_team(team, mine)?;
            match self.pinned_team(team)? {
                Some(mut view) => {
                    view.expect(head);
                    self.home.write_json(&team_file(team), &view)
                }
                // A team that was made just now: its id is the hash of its first entry, and is all that is known.
                None => Ok(()),
            }
        })
    }

    fn pin_user(&self, user: &VerifiedUser) -> Result<()> {
        let ours = user.kept();
        let Some(kept) = self.kept_user(user.user())? else {
            return self.home.write_json(&user_file(user.user()), &ours);
        };
        let next = kept.clone().joined(ours).ok_or_else(|| Error::Tampered {
            what: format!("the service shows two logs of user {} at the same time (a fork)", user.user()),
        })?;
        if next == kept { Ok(()) } else { self.home.write_json(&user_file(user.user()), &next) }
    }

    /// Lets the person know a user by their present name.
    pub(crate) fn pin_name_anew(&self, user: &mut VerifiedUser) -> Result<()> {
        user.pin_name(true);
        let user = &*user;
        self.home.locked(|| {
            self.pin_user(user)?;
            let Some(mut kept) = self.kept_user(user.user())? else { return Ok(()) };
            kept.repin(user);
            self.home.write_json(&user_file(user.user()), &kept)?;
            let mut logins = self.logins()?;
            logins.extend(user.name().map(|name| (lower(&name.login), user.user())));
            self.home.write_json(LOGINS, &logins)
        })
    }

    fn logins(&self) -> Result<Logins> {
        Ok(self.home.read_json(LOGINS)?.unwrap_or_default())
    }

    /// Remembers who was known here first by each login. Inside of [`Home::locked`].
    fn note_logins<'a>(&self, users: impl Iterator<Item = &'a VerifiedUser>) -> Result<()> {
        let mut logins = self.logins()?;
        let before = logins.len();
        for user in users {
            for name in user.pinned_name().into_iter().chain(user.name()) {
                logins.entry(lower(&name.login)).or_insert(user.user());
            }
        }
        // Entries are only added.
        if logins.len() == before { Ok(()) } else { self.home.write_json(LOGINS, &logins) }
    }

    /// Inside of [`Home::locked`].
    fn note_readings(
        &self,
        team: Option<TeamId>,
        users: impl IntoIterator<Item = UserId>,
        asked_at: Time,
    ) -> Result<()> {
        let before = self.readings()?;
        let mut readings = before.clone();
        for user in users {
            let read_at = readings.users.entry(user).or_insert(asked_at);
            *read_at = asked_at.max(*read_at);
        }
        if let Some(team) = team {
            let read_at = readings.teams.entry(team).or_insert(asked_at);
            *read_at = asked_at.max(*read_at);
        }
        if readings == before { Ok(()) } else { self.home.write_json(READINGS, &readings) }
    }
}

// The home's own lists.
impl Client {
    /// The teams that this person is a member of, as far as this home has verified them.
    pub(crate) fn listed_teams(&self) -> Result<BTreeSet<TeamId>> {
        Ok(self.home.read_json(TEAMS)?.unwrap_or_default())
    }

    /// Inside of [`Home::locked`].
    pub(crate) fn list_team(&self, team: TeamId, mine: bool) -> Result<()> {
        let mut teams = self.listed_teams()?;
        let changed = if mine { teams.insert(team) } else { teams.remove(&team) };
        if changed { self.home.write_json(TEAMS, &teams) } else { Ok(()) }
    }

    pub(crate) fn index(&self) -> Result<Index> {
        Ok(self.home.read_json(index::FILE)?.unwrap_or_default())
    }

    /// Changes the index of snippets. No other process reads or changes it meanwhile.
    pub(crate) fn indexed<T>(&self, change: impl FnOnce(&mut Index) -> Result<T>) -> Result<T> {
        self.home.locked(|| {
            let before = self.index()?;
            let mut index = before.clone();
            let result = change(&mut index)?;
            if index != before {
                self.home.write_json(index::FILE, &index)?;
            }
            Ok(result)
        })
    }
}

// Team keys and names.
impl Client {
    /// The team key of an epoch: from the vault, or from the envelopes that were sealed to this device. Checked against
    /// the commitment in the verified log.
    ///
    /// [`Error::NoKey`] when none was sealed to this device; [`Error::BadKey`] when one had to be, and there is none that is
    /// good. Other epochs are not affected by that.
    pub(crate) fn team_key(&self, view: &TeamView, epoch: u64) -> Result<Key> {
        let team = view.state().team();
        let known = |secrets: &Secrets| secrets.teams.get(&team).and_then(|team| team.keys.get(&epoch).cloned());
        if let Some(key) = known(&self.vault.read()?) {
            return Ok(key);
        }
        let no_key = || Error::NoKey { what: format!("epoch {epoch} of the team") };
        let begun = view.epoch(epoch).ok_or_else(no_key)?;
        let counted =
            view.devices_at(self.user()?, begun.epoch.seq).is_some_and(|devices| devices.contains(&self.device()));
        if !counted {
            return Err(no_key());
        }
        let opened = self.open_envelopes(view, epoch)?;
        let key = self.vault.update(|secrets| {
            let keys = &mut secrets.teams.entry(team).or_default().keys;
            for (epoch, key) in opened {
                keys.entry(epoch).or_insert(key);
            }
            Ok(known(secrets))
        })?;
        if let Some(key) = key {
            return Ok(key);
        }
        let by = match self.offline(team)? {
            Some(synced) => self.names(&synced)?.person(begun.user).to_string(),
            None => begun.user.to_string(),
        };
        Err(Error::BadKey { epoch, by: format!("{by} with the device {}", begun.by) })
    }

    /// Opens this device's envelopes from an epoch on, those that do open.
    fn open_envelopes(&self, view: &TeamView, from: u64) -> Result<Vec<(u64, Key)>> {
        let team = view.state().team();
        let mut keys = Vec::new();
        let mut next = from;
        loop {
            let page: api::MyEnvelopes = self.json(&Request::get(format!("/v1/teams/{team}/envelopes?from={next}")))?;
            check_page(page.envelopes.len())?;
            let empty = page.envelopes.is_empty();
            for api::EpochEnvelope { epoch, envelope } in page.envelopes {
                if epoch < next {
                    return Err(nonsense("its envelopes go in circles"));
                }
                next = epoch.saturating_add(1);
                // An epoch that began after the log was read is of no use yet.
                if view.epoch(epoch).is_none() {
                    return Ok(keys);
                }
                match unlock::team_key(view, epoch, &envelope, &self.keys) {
                    Ok(key) => keys.push((epoch, key)),
                    Err(Error::NoKey { .. } | Error::Tampered { .. }) => {}
                    Err(error) => return Err(error),
                }
            }
            match page.next {
                Some(more) if !empty && more >= next => next = more,
                Some(_) => return Err(nonsense("its envelopes go in circles")),
                None => return Ok(keys),
            }
        }
    }

    /// The team's name: the one that an owner or admin sealed last, as far as this device has the keys; failing that
    /// the one in the invitation, or one that anybody sealed (`docs/protocol.md` section 5).
    pub(crate) fn team_name(&self, view: &TeamView) -> Result<Option<String>> {
        Ok(self.known_team_name(view)?.map(|known| known.name))
    }

    /// The same, with who vouches for it.
    pub(crate) fn known_team_name(&self, view: &TeamView) -> Result<Option<KnownName>> {
        let team = view.state().team();
        let mut name = self.vault.read()?.teams.remove(&team).and_then(|team| team.name);
        let (vouched, last) = view.profiles();
        for (profile, vouched) in [(vouched, true), (last, false)] {
            let Some(profile) = profile else { continue };
            let newer = name.as_ref().is_none_or(|name| vouched && (!name.vouched || profile.seq > name.seq));
            if !newer {
                continue;
            }
            let key = match self.team_key(view, profile.epoch) {
                Err(Error::NoKey { .. } | Error::BadKey { .. }) => continue,
                key => key?,
            };
            // A member may have sealed nonsense; then the name stays what it was.
            if let Some(opened) = seal::open_profile(&key, team, profile.epoch, &profile.sealed) {
                let known = KnownName { name: opened, seq: profile.seq, vouched };
                self.remember_name(team, known.clone())?;
                name = Some(known);
            }
        }
        Ok(name)
    }

    pub(crate) fn remember_name(&self, team: TeamId, name: KnownName) -> Result<()> {
        self.vault.update(|secrets| {
            secrets.teams.entry(team).or_default().name = Some(name);
            Ok(())
        })
    }

    pub(crate) fn remember_key(&self, team: TeamId, epoch: u64, key: Key) -> Result<()> {
        self.vault.update(|secrets| {
            let TeamSecrets { keys, .. } = secrets.teams.entry(team).or_default();
            keys.insert(epoch, key);
            Ok(())
        })
    }
}

/// What is known of a team's log after a page of it, which may be the first, begin at the pinned head, or go on.
fn take_page(
    team: TeamId,
    known: Option<TeamView>,
    at_pin: bool,
    page: &api::TeamLog,
    people: &People,
    window: &Window,
) -> Result<TeamView> {
    let Some(mut view) = known else { return TeamView::begin(team, &page.entries, people, window) };
    let before = view.state().head();
    if at_pin {
        view.resume(&page.entries, people, window)?;
    } else {
        view.follow(&page.entries, people, window)?;
    }
    if view.state().head() == before && before.seq < page.head.seq {
        return Err(Error::Tampered {
            what: format!("the service shows no entries up to where it says the log of team {team} ends"),
        });
    }
    Ok(view)
}

pub(crate) fn check_page(items: usize) -> Result<()> {
    if items <= limits::PAGE { Ok(()) } else { Err(nonsense("its page has more than 100 items")) }
}

pub(crate) fn nonsense(why: &str) -> Error {
    Error::Internal { why: format!("the service's answer makes no sense: {why}") }
}

fn with_proof(request: Request, proof: Option<&str>) -> Request {
    match proof {
        Some(proof) => request.with_invite_proof(proof.to_owned()),
        None => request,
    }
}

fn team_file(team: TeamId) -> String {
    format!("teams/{team}.json")
}

fn user_file(user: UserId) -> String {
    format!("users/{user}.json")
}
