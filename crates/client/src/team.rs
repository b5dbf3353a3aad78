//! Teams: create, invite, join, remove, leave, roles, names, rotation.

use std::collections::BTreeMap;
use std::time::Duration;

use osmynt_core::statement::InviteProof;
use osmynt_core::teamlog::{Policy, Role, TeamEvent, TeamState};
use osmynt_core::{Bytes, Head, InviteId, TeamId, Time, UserId, api, b64u, limits, text};
use serde::{Deserialize, Serialize};

use crate::commit::{self, Author, Built};
use crate::http::Request;
use crate::keys::Signer;
use crate::logs::{People, TeamView, VerifiedUser};
use crate::seal;
use crate::session::{Synced, person};
use crate::vault::KnownName;
use crate::{Client, Error, Result, Server, system};

/// Reading, rebuilding and sending again when somebody else was faster: this many times in all.
const ATTEMPTS: usize = 5;
/// An id may be shortened to this many characters.
pub(crate) const SHORTEST_PREFIX: usize = 4;
/// A new team's epochs last 30 days, unless something else ends them.
const MAX_EPOCH_AGE: u64 = 30 * 24 * 3600;
const LINK: &str = "/join#v1.";

/// One line of the list of teams.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TeamSummary {
    /// The team.
    pub id: TeamId,
    /// Its name, from its sealed profile. None when this device has no key of it (yet).
    pub name: Option<String>,
    /// The caller's role, as the service says.
    pub role: Role,
    /// The epoch, as the service says.
    pub epoch: u64,
}

/// A team as its verified log has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Team {
    /// The team.
    pub id: TeamId,
    /// Its name.
    pub name: String,
    /// The caller's role.
    pub role: Role,
    /// The current epoch.
    pub epoch: u64,
    /// When that epoch began.
    pub epoch_began: Time,
    /// Whether it must be rotated before the next share (that happens by itself).
    pub stale: bool,
    /// The number of log entries verified.
    pub entries: u64,
    /// The members, owners first, then by login.
    pub members: Vec<Member>,
    /// Open invitations.
    pub invites: Vec<Invite>,
}

/// Somebody. The login is what the service says; the user id is what the logs say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// User id.
    pub user: UserId,
    /// GitHub login as told by the service, if it told one (it names only present members).
    pub login: Option<String>,
}

/// A member of a team.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Who.
    pub person: Person,
    /// Role.
    pub role: Role,
    /// Active devices.
    pub devices: usize,
    /// Whether it is the caller.
    pub me: bool,
}

/// An open invitation as the log has it; nobody can make its link again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invite {
    /// Its id.
    pub id: InviteId,
    /// The role it gives.
    pub role: Role,
    /// When it expires.
    pub expires: Time,
    /// How many more may use it.
    pub uses_left: u32,
}

/// A new invitation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invitation {
    /// What the log has of it.
    pub invite: Invite,
    /// The link. Whoever has it can join.
    pub link: String,
}

// What a person does.
impl Client {
    /// The caller's teams.
    pub fn teams(&self) -> Result<Vec<TeamSummary>> {
        let mine: api::MyTeams = self.json(&Request::get("/v1/teams"))?;
        let mut known = self.vault.read()?.teams;
        let mut teams = Vec::with_capacity(mine.teams.len());
        for api::MyTeam { team, role, epoch } in mine.teams {
            let name = match known.remove(&team).and_then(|team| team.name) {
                Some(known) => Some(known.name),
                None => self.team_name(&self.sync(team, None)?.view)?,
            };
            teams.push(TeamSummary { id: team, name, role, epoch });
        }
        Ok(teams)
    }

    /// Finds a team of the caller by its name, its id or the beginning of its id (4 characters or more); without a
    /// selector, the only one. More than one that fits is an error that lists them.
    pub fn find_team(&self, selector: Option<&str>) -> Result<TeamId> {
        let mut teams = self.teams()?;
        let Some(selector) = selector else {
            return match teams.as_slice() {
                [only] => Ok(only.id),
                [] => Err(Error::usage("you are in no team yet: create one, or join with an invitation's link")),
                _ => {
                    Err(Error::usage(format!("you are in several teams; say which: {}", list_teams(&teams).join(", "))))
                }
            };
        };
        let fits = |team: &TeamSummary| team.name.as_deref() == Some(selector) || fits_id(&team.id, selector);
        if !teams.iter().any(fits) {
            // Somebody may have renamed it.
            for team in &mut teams {
                team.name = self.team_name(&self.sync(team.id, None)?.view)?;
            }
        }
        teams.retain(fits);
        choose("team", selector, &teams, |team| team.id, list_teams)
    }

    /// Reads and verifies a team.
    pub fn team(&self, team: TeamId) -> Result<Team> {
        let synced = self.sync(team, None)?;
        self.describe(&synced)
    }

    /// Creates a team with the caller as its owner.
    pub fn create_team(&self, name: &str) -> Result<Team> {
        check_name(name)?;
        let me = self.my_log()?.ok_or(Error::UnknownDevice)?;
        let created = TeamEvent::TeamCreated {
            nonce: Bytes(system::random()?),
            identity: me.identity()?,
            policy: Policy { max_epoch_age: MAX_EPOCH_AGE },
        };
        let people = self.only_me(me);
        let built = self.build(None, vec![created], Some(name), &people)?;
        let team = built.state.team();
        self.send(&Request::post("/v1/teams", &built.request)?, &built)?;
        self.remember_name(team, KnownName { name: name.to_owned(), seq: built.state.head().seq, vouched: true })?;
        self.team(team)
    }

    /// Makes an invitation that expires after `lifetime` (at most 30 days) and that `uses` people (1 to 100) can use.
    pub fn invite(&self, team: TeamId, role: Role, lifetime: Duration, uses: u32) -> Result<Invitation> {
        if !(1..=limits::INVITATION_SECONDS).contains(&lifetime.as_secs()) {
            return Err(Error::usage("an invitation lasts from 1 second to 30 days"));
        }
        if !(1..=limits::INVITATION_USES).contains(&uses) {
            return Err(Error::usage("an invitation can be used 1 to 100 times"));
        }
        let signer = Signer::generate(system::random)?;
        let expires = system::now().plus(lifetime.as_secs());
        let (synced, built) = self.change(team, false, |_| {
            Ok(vec![TeamEvent::InviteCreated { key: *signer.public(), role, exp: expires, uses }])
        })?;
        let link =
            Link { team, key: Bytes(*signer.scalar()), head: built.state.head(), name: self.known_name(&synced.view)? };
        Ok(Invitation {
            invite: Invite { id: InviteId(signer.kid()), role, expires, uses_left: uses },
            link: link.to_url(&self.profile.server)?,
        })
    }

    /// Revokes an open invitation, named by its id or the beginning of it.
    pub fn revoke_invite(&self, team: TeamId, invite: &str) -> Result<InviteId> {
        let mut chosen = None;
        self.change(team, false, |synced| {
            let open = synced.view.state().open_invites(system::now()).map(|(id, _)| id);
            let fitting: Vec<InviteId> = open.filter(|id| fits_id(id, invite)).collect();
            let list = |ids: &[InviteId]| ids.iter().map(InviteId::to_string).collect();
            let id = choose("invitation", invite, &fitting, |id| *id, list)?;
            chosen = Some(id);
            Ok(vec![TeamEvent::InviteRevoked { invite: id }])
        })?;
        chosen.ok_or_else(|| no_such("invitation", invite))
    }

    /// Joins the team that an invitation's link is for.
    pub fn join(&self, link: &str) -> Result<Team> {
        let link = Link::from_url(link, &self.profile.server)?;
        let signer = Signer::from_scalar(&link.key.0)?;
        let identity = self.my_log()?.ok_or(Error::UnknownDevice)?.identity()?;
        with_rebuilds(|| {
            let proof = signer.sign(&InviteProof {
                team: link.team,
                invite: InviteId(signer.kid()),
                user: self.profile.user,
                identity,
                iat: system::now(),
            })?;
            let synced = self.sync(link.team, Some(&proof))?;
            if !synced.view.contains(link.head) {
                return Err(Error::Tampered {
                    what: "the service shows another team log than the one that the invitation was made in".to_owned(),
                });
            }
            let joined = TeamEvent::MemberJoined { invite: InviteId(signer.kid()), identity, proof };
            let state = synced.view.state();
            let built = self.build(Some(state), vec![joined], Some(&link.name), &synced.people)?;
            self.send(&commit_request(link.team, &built)?, &built)
        })?;
        let name = KnownName { name: link.name, seq: link.head.seq, vouched: true };
        self.remember_name(link.team, name)?;
        self.team(link.team)
    }

    /// Removes a member, named by login (with or without `@`), user id or the beginning of it, and rotates.
    pub fn remove_member(&self, team: TeamId, member: &str) -> Result<Person> {
        let person = self.find_member(team, member)?;
        self.change(team, true, |_| Ok(vec![TeamEvent::MemberRemoved { user: person.user }]))?;
        Ok(person)
    }

    /// Leaves the team. Its keys stay in the vault, for what was received before.
    pub fn leave(&self, team: TeamId) -> Result<()> {
        self.change(team, false, |_| Ok(vec![TeamEvent::MemberLeft {}])).map(drop)
    }

    /// Changes a member's role.
    pub fn set_role(&self, team: TeamId, member: &str, role: Role) -> Result<Person> {
        let person = self.find_member(team, member)?;
        self.change(team, false, |_| Ok(vec![TeamEvent::RoleChanged { user: person.user, role }]))?;
        Ok(person)
    }

    /// Renames the team ([`text::check_name`], 1 to 100 characters).
    pub fn rename(&self, team: TeamId, name: &str) -> Result<()> {
        check_name(name)?;
        let (_, built) = self.change(team, false, |synced| {
            let epoch = current_epoch(synced.view.state())?;
            let key = self.team_key(&synced.view, epoch)?;
            let profile = seal::seal_profile(&key, team, epoch, name, system::random()?)?;
            Ok(vec![TeamEvent::ProfileChanged { epoch, profile }])
        })?;
        self.remember_name(team, KnownName { name: name.to_owned(), seq: built.state.head().seq, vouched: true })
    }

    /// Begins a new epoch. Gives its number.
    pub fn rotate(&self, team: TeamId) -> Result<u64> {
        let (_, built) = self.change(team, true, |_| Ok(Vec::new()))?;
        current_epoch(&built.state)
    }
}

// How it is done.
impl Client {
    /// Reads the team, builds a commit of what `events` wants then, and sends it; all of it again, a few times, when
    /// somebody else changed the team meanwhile.
    pub(crate) fn change(
        &self,
        team: TeamId,
        rotate: bool,
        mut events: impl FnMut(&Synced) -> Result<Vec<TeamEvent>>,
    ) -> Result<(Synced, Built)> {
        with_rebuilds(|| {
            let synced = self.sync(team, None)?;
            let name = if rotate { Some(self.known_name(&synced.view)?) } else { None };
            let built = self.build(Some(synced.view.state()), events(&synced)?, name.as_deref(), &synced.people)?;
            self.send(&commit_request(team, &built)?, &built)?;
            Ok((synced, built))
        })
    }

    fn build(
        &self,
        current: Option<&TeamState>,
        events: Vec<TeamEvent>,
        rotate_as: Option<&str>,
        people: &People,
    ) -> Result<Built> {
        let author = Author { user: self.profile.user, signer: &self.keys.signer, now: system::now() };
        commit::build(current, events, rotate_as, &author, people, system::random)
    }

    fn send(&self, request: &Request, built: &Built) -> Result<()> {
        let committed: api::Committed = self.json(request)?;
        let (team, head) = (built.state.team(), built.state.head());
        if (committed.team, committed.head) != (team, head) {
            return Err(Error::Tampered {
                what: format!("the service answers a commit to team {team} with another one"),
            });
        }
        self.pin_commit(team, head)?;
        match &built.team_key {
            Some(key) => self.remember_key(built.state.team(), current_epoch(&built.state)?, key.clone()),
            None => Ok(()),
        }
    }

    fn only_me(&self, me: VerifiedUser) -> People {
        let mut people = People::default();
        people.insert(me);
        if let Some(prekey) = self.keys.current_prekey() {
            people.insert_prekey(self.device(), *prekey.public());
        }
        people
    }

    /// The team's name, which whoever rotates must know in order to seal it anew.
    fn known_name(&self, view: &TeamView) -> Result<String> {
        self.team_name(view)?.ok_or_else(|| Error::NoKey { what: "the team's name".to_owned() })
    }

    /// Finds a member by login (with or without `@`), user id or the beginning of it.
    pub(crate) fn find_member(&self, team: TeamId, selector: &str) -> Result<Person> {
        let members = self.team_card(team)?.members;
        let login = selector.strip_prefix('@').unwrap_or(selector);
        let people: BTreeMap<UserId, String> = members.into_iter().map(|member| (member.user, member.login)).collect();
        let fitting: Vec<Person> = people
            .iter()
            .filter(|(user, known)| known.eq_ignore_ascii_case(login) || fits_id(user, selector))
            .map(|(user, _)| person(*user, &people))
            .collect();
        choose("member", selector, &fitting, Person::clone, |people| people.iter().map(Person::to_string).collect())
    }

    fn describe(&self, Synced { view, people }: &Synced) -> Result<Team> {
        let state = view.state();
        let now = system::now();
        let logins = {
            self.team_card(state.team())?;
            self.logins()?
        };
        let me = self.profile.user;
        let mut members: Vec<Member> = state
            .members()
            .iter()
            .map(|(user, member)| Member {
                person: person(*user, &logins),
                role: member.role,
                devices: member.devices.len(),
                me: *user == me,
            })
            .collect();
        members.sort_by(|a, b| b.role.cmp(&a.role).then_with(|| a.person.login.cmp(&b.person.login)));
        let epoch = state.epoch().ok_or_else(|| no_such("epoch", &state.team().to_string()))?;
        Ok(Team {
            id: state.team(),
            name: self.team_name(view)?.unwrap_or_default(),
            role: state.member(me)?.role,
            epoch: epoch.number,
            epoch_began: epoch.received_at,
            stale: view.stale(now, people),
            entries: view.entry_count(),
            members,
            invites: state
                .open_invites(now)
                .map(|(id, invite)| Invite { id, role: invite.role, expires: invite.exp, uses_left: invite.uses_left })
                .collect(),
        })
    }
}

/// What stands behind `#v1.` in an invitation's link (`docs/protocol.md` section 6).
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Link {
    team: TeamId,
    key: Bytes<32>,
    head: Head,
    name: String,
}

impl Link {
    fn to_url(&self, server: &Server) -> Result<String> {
        let json = serde_json::to_vec(self)
            .map_err(|_| Error::Internal { why: "the invitation cannot be written as JSON".to_owned() })?;
        Ok(format!("{server}{LINK}{}", b64u::encode(&json)))
    }

    fn from_url(url: &str, server: &Server) -> Result<Self> {
        let refuse = || Error::usage("this is not an invitation's link; copy all of it, with what follows the #");
        let (origin, fragment) = url.trim().split_once(LINK).ok_or_else(refuse)?;
        if origin != server.as_str() {
            let origin = text::quoted(origin, text::EXCERPT_CHARS);
            return Err(Error::usage(format!("the invitation is for {origin}, and you are signed in at {server}")));
        }
        let json = b64u::decode(fragment).map_err(|_| refuse())?;
        let link: Self = serde_json::from_slice(&json).map_err(|_| refuse())?;
        check_name(&link.name)?;
        Ok(link)
    }
}

/// Reads, builds and sends, and does all of it again while the service says that somebody else was faster
/// (`docs/protocol.md` section 11, point 7); a few times at most.
pub(crate) fn with_rebuilds<T>(mut attempt: impl FnMut() -> Result<T>) -> Result<T> {
    for _ in 1..ATTEMPTS {
        match attempt() {
            Err(error) if error.wants_rebuild() => {}
            done => return done,
        }
    }
    attempt()
}

fn commit_request(team: TeamId, built: &Built) -> Result<Request> {
    Request::post(format!("/v1/teams/{team}/commits"), &built.request)
}

pub(crate) fn current_epoch(state: &TeamState) -> Result<u64> {
    state.epoch().map(|epoch| epoch.number).ok_or_else(|| Error::Internal { why: "the team has no epoch".to_owned() })
}

fn check_name(name: &str) -> Result<()> {
    text::check_name(name, limits::TEAM_NAME_CHARS)
        .map_err(|refusal| Error::usage(format!("the team cannot be called that: {}", refusal.detail)))
}

/// Whether a selector is an id or the beginning of it.
pub(crate) fn fits_id(id: &impl ToString, selector: &str) -> bool {
    selector.len() >= SHORTEST_PREFIX && id.to_string().starts_with(selector)
}

/// The only one of those that fit; [`Error::NotFound`] or [`Error::Ambiguous`] otherwise.
pub(crate) fn choose<T, Id>(
    what: &'static str,
    selector: &str,
    fitting: &[T],
    id: impl Fn(&T) -> Id,
    list: impl Fn(&[T]) -> Vec<String>,
) -> Result<Id> {
    match fitting {
        [only] => Ok(id(only)),
        [] => Err(no_such(what, selector)),
        several => Err(Error::Ambiguous { what, selector: selector.to_owned(), candidates: list(several) }),
    }
}

fn no_such(what: &'static str, selector: &str) -> Error {
    Error::NotFound { what, selector: selector.to_owned() }
}

fn list_teams(teams: &[TeamSummary]) -> Vec<String> {
    let line = |team: &TeamSummary| match &team.name {
        Some(name) => format!("{} ({})", text::word(name, limits::TEAM_NAME_CHARS), team.id),
        None => team.id.to_string(),
    };
    teams.iter().map(line).collect()
}

impl std::fmt::Display for Person {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.login {
            Some(login) => write!(f, "@{} ({})", text::word(login, text::EXCERPT_CHARS), self.user),
            None => write!(f, "{}", self.user),
        }
    }
}
