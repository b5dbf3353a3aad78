//! A signed-in person's client, and reading a team up to its head.

use osmynt_core::api::{self, LoggedEntry};
use osmynt_core::statement::{PrekeyKind, PrekeyStatement};
use osmynt_core::{DeviceId, Head, TeamId, UserId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

use crate::http::{Http, OnWait, Request};
use crate::keys::DeviceKeys;
use crate::logs::{People, TeamView, VerifiedUser};
use crate::seal::{self, Key};
use crate::vault::{KnownName, Secrets, TeamSecrets, Vault};
use crate::{Error, Home, Person, Profile, Result, system, unlock};

/// A signed-in person's access to the service, from one home.
///
/// Its methods are in [`crate::signin`], [`crate::sessions`], [`crate::account`], [`crate::team`] and [`crate::share`]. Each reads what it needs from the home
/// and leaves there what it learned, so that several processes may use one home at a time.
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

/// What is kept of a verified user log.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PinnedUser {
    head: Head,
    entries: Vec<LoggedEntry>,
}

const LOGINS: &str = "logins.json";

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

    pub(crate) fn device(&self) -> DeviceId {
        DeviceId(self.keys.signer.kid())
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
        let (user, key) = (self.profile.user, *next.public());
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
    /// Reads a team up to its head and verifies all of it. `proof` is that of an invitation, for somebody who is not a
    /// member yet.
    pub(crate) fn sync(&self, team: TeamId, proof: Option<&str>) -> Result<Synced> {
        if proof.is_none() {
            self.renew_prekey()?;
        }
        let pinned = self.pinned_team(team)?;
        // The log first: whoever it names is then in the directory.
        let from = pinned.as_ref().map_or(0, |view| view.state().head().seq);
        let (entries, head) = self.team_entries(team, from, proof)?;
        let mut people = self.directory(team, proof)?;
        if people.user(self.profile.user).is_none() {
            people.insert(self.my_log()?.ok_or(Error::UnknownDevice)?);
            if let Some(prekey) = self.keys.current_prekey() {
                people.insert_prekey(self.device(), *prekey.public());
            }
        }
        let view = match pinned {
            Some(pinned) => pinned.resume(&entries, &people)?,
            None => TeamView::begin(team, &entries, &people)?,
        };
        if view.state().head() != head {
            return Err(Error::Tampered {
                what: format!("the service shows a log of team {team} that does not end where it says"),
            });
        }
        self.pin(&view, &people)?;
        Ok(Synced { view, people })
    }

    /// A team as it was verified last, without asking the service.
    pub(crate) fn offline(&self, team: TeamId) -> Result<Option<Synced>> {
        let Some(view) = self.pinned_team(team)? else { return Ok(None) };
        let mut people = People::default();
        for user in view.state().everyone() {
            if let Some(pinned) = self.home.read_json::<PinnedUser>(&user_file(*user))? {
                people.insert(VerifiedUser::verify(*user, pinned.entries)?);
            }
        }
        Ok(Some(Synced { view, people }))
    }

    /// The caller's own user log, verified and pinned; none while it is empty.
    pub(crate) fn my_log(&self) -> Result<Option<VerifiedUser>> {
        let mut entries = Vec::new();
        loop {
            let page: api::MyLog = self.json(&Request::get(format!("/v1/me/log?from={}", entries.len())))?;
            let more = !page.entries.is_empty();
            entries.extend(page.entries);
            let Some(head) = page.head else { break };
            if !more || entries.len() as u64 > head.seq {
                break;
            }
        }
        let user = self.profile.user;
        let pinned = self.pinned_user(user)?;
        if entries.is_empty() && pinned.is_none() {
            return Ok(None);
        }
        let log = VerifiedUser::verify(user, entries)?;
        if let Some(pinned) = pinned {
            log.continues(pinned)?;
        }
        self.home.locked(|| self.pin_user(&log))?;
        Ok(Some(log))
    }

    /// The entries from `from` on, and the head that the service says they lead to.
    fn team_entries(&self, team: TeamId, from: u64, proof: Option<&str>) -> Result<(Vec<LoggedEntry>, Head)> {
        let mut entries = Vec::new();
        loop {
            let next = from.saturating_add(entries.len() as u64);
            let page: api::TeamLog =
                self.json(&with_proof(Request::get(format!("/v1/teams/{team}/log?from={next}")), proof))?;
            let more = !page.entries.is_empty();
            entries.extend(page.entries);
            if !more || from.saturating_add(entries.len() as u64) > page.head.seq {
                return Ok((entries, page.head));
            }
        }
    }

    fn directory(&self, team: TeamId, proof: Option<&str>) -> Result<People> {
        let mut people = People::default();
        let mut after: Option<UserId> = None;
        loop {
            let query = after.map(|user| format!("?after={user}")).unwrap_or_default();
            let request = with_proof(Request::get(format!("/v1/teams/{team}/directory{query}")), proof);
            let page: api::DirectoryPage = self.json(&request)?;
            for user in page.users {
                let pinned = self.pinned_user(user.user)?;
                people.add(user, pinned)?;
            }
            match page.next {
                // Ascending, so that no service can keep a client reading for ever.
                Some(next) if after.is_none_or(|after| next > after) => after = Some(next),
                Some(_) => return Err(Error::Internal { why: "the service's directory goes in circles".to_owned() }),
                None => return Ok(people),
            }
        }
    }

    fn pinned_team(&self, team: TeamId) -> Result<Option<TeamView>> {
        self.home.read_json(&team_file(team))
    }

    fn pinned_user(&self, user: UserId) -> Result<Option<Head>> {
        Ok(self.home.read_json::<PinnedUser>(&user_file(user))?.map(|pinned| pinned.head))
    }

    /// Keeps what was verified. If another process has come further meanwhile, what it has must contain this, and
    /// stays; if the two contradict each other, the service has told them different things.
    fn pin(&self, view: &TeamView, people: &People) -> Result<()> {
        self.home.locked(|| {
            for user in people.users() {
                self.pin_user(user)?;
            }
            let team = view.state().team();
            let head = view.state().head();
            match self.pinned_team(team)? {
                Some(pinned) if pinned.state().head() == head || pinned.contains(head) => Ok(()),
                Some(pinned) if !view.contains(pinned.state().head()) => Err(Error::Tampered {
                    what: format!("the service shows two logs of team {team} at the same time (a fork)"),
                }),
                _ => self.home.write_json(&team_file(team), view),
            }
        })
    }

    /// Keeps that the service has taken a commit of this device: it cannot show a log without it any more.
    pub(crate) fn pin_commit(&self, team: TeamId, head: Head) -> Result<()> {
        self.home.locked(|| match self.pinned_team(team)? {
            Some(mut view) => {
                view.expect(head);
                self.home.write_json(&team_file(team), &view)
            }
            // A team that was made just now: its id is the hash of its first entry, and is all that is known.
            None => Ok(()),
        })
    }

    fn pin_user(&self, user: &VerifiedUser) -> Result<()> {
        let log = user.log();
        let Some(head) = log.head() else { return Ok(()) };
        match self.pinned_user(log.user())? {
            Some(pinned) if pinned.seq >= head.seq => Ok(()),
            Some(pinned) => {
                user.continues(pinned)?;
                self.write_user(user, head)
            }
            None => self.write_user(user, head),
        }
    }

    fn write_user(&self, user: &VerifiedUser, head: Head) -> Result<()> {
        let pinned = PinnedUser { head, entries: user.entries().to_vec() };
        self.home.write_json(&user_file(user.log().user()), &pinned)
    }
}

// Team keys and names.
impl Client {
    /// The team key of an epoch: from the vault, or from the envelopes that were sealed to this device. Checked against
    /// the commitment in the verified log. [`Error::NoKey`] when there is none for this device.
    pub(crate) fn team_key(&self, view: &TeamView, epoch: u64) -> Result<Key> {
        let team = view.state().team();
        let known = |secrets: &Secrets| secrets.teams.get(&team).and_then(|team| team.keys.get(&epoch).cloned());
        if let Some(key) = known(&self.vault.read()?) {
            return Ok(key);
        }
        let opened = self.open_envelopes(view, epoch)?;
        self.vault.update(|secrets| {
            let keys = &mut secrets.teams.entry(team).or_default().keys;
            for (epoch, key) in opened {
                keys.entry(epoch).or_insert(key);
            }
            known(secrets).ok_or_else(|| Error::NoKey { what: format!("epoch {epoch} of the team") })
        })
    }

    /// Opens this device's envelopes from an epoch on.
    fn open_envelopes(&self, view: &TeamView, from: u64) -> Result<Vec<(u64, Key)>> {
        let team = view.state().team();
        let mut keys = Vec::new();
        let mut next = Some(from);
        while let Some(from) = next {
            let page: api::MyEnvelopes = self.json(&Request::get(format!("/v1/teams/{team}/envelopes?from={from}")))?;
            for api::EpochEnvelope { epoch, envelope } in page.envelopes {
                if envelope.device != self.device() {
                    return Err(Error::Tampered {
                        what: format!(
                            "the service gives out an envelope of another device for epoch {epoch} of team {team}"
                        ),
                    });
                }
                // An epoch that began after the log was read is of no use yet.
                if view.epoch(epoch).is_some() {
                    keys.push((epoch, unlock::team_key(view, epoch, &envelope, &self.keys)?));
                }
            }
            next = page.next.filter(|next| *next > from);
        }
        Ok(keys)
    }

    /// The team's name: the one that an owner or admin sealed last, as far as this device has the keys; failing that
    /// the one in the invitation, or one that anybody sealed (`docs/protocol.md` section 5).
    pub(crate) fn team_name(&self, view: &TeamView) -> Result<Option<String>> {
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
                Err(Error::NoKey { .. }) => continue,
                key => key?,
            };
            // A member may have sealed nonsense; then the name stays what it was.
            if let Some(opened) = seal::open_profile(&key, team, profile.epoch, &profile.sealed) {
                let known = KnownName { name: opened, seq: profile.seq, vouched };
                self.remember_name(team, known.clone())?;
                name = Some(known);
            }
        }
        Ok(name.map(|name| name.name))
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

// Names of people: what the service says, kept for when it no longer does.
impl Client {
    /// What the service says of a team, and keeps the members' logins.
    pub(crate) fn team_card(&self, team: TeamId) -> Result<api::Team> {
        let card: api::Team = self.json(&Request::get(format!("/v1/teams/{team}")))?;
        self.home.locked(|| {
            let mut logins = self.logins()?;
            let before = logins.clone();
            logins.extend(card.members.iter().map(|member| (member.user, member.login.clone())));
            if logins == before { Ok(()) } else { self.home.write_json(LOGINS, &logins) }
        })?;
        Ok(card)
    }

    pub(crate) fn logins(&self) -> Result<BTreeMap<UserId, String>> {
        let mut logins: BTreeMap<UserId, String> = self.home.read_json(LOGINS)?.unwrap_or_default();
        logins.insert(self.profile.user, self.profile.login.clone());
        Ok(logins)
    }
}

pub(crate) fn person(user: UserId, logins: &BTreeMap<UserId, String>) -> Person {
    Person { user, login: logins.get(&user).cloned() }
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
