//! Teams: create, invite, join, confirm, remove, leave, roles, names, rotation, delete.

use std::collections::BTreeSet;
use std::time::Duration;

use osmynt_core::statement::InviteProof;
use osmynt_core::teamlog::{self, Joining, Policy, Role, TeamEvent, TeamState};
use osmynt_core::{Bytes, InviteId, TeamId, Time, UserId, api, limits, text};

use crate::commit::{self, Author, Built};
use crate::http::Request;
use crate::invitation;
use crate::keys::Signer;
use crate::logs::{People, TeamView};
use crate::people::{Names, Person, is_id};
use crate::seal;
use crate::session::{Synced, nonsense};
use crate::vault::KnownName;
use crate::{Client, Error, Result, system};

/// What an invitation lasts unless said otherwise: three days.
pub const INVITATION_LIFETIME: Duration = Duration::from_hours(3 * 24);

/// Reading, rebuilding and sending again when somebody else was faster: this many times in all.
const ATTEMPTS: usize = 5;
/// A team's, snippet's, invitation's or session's id may be shortened to this many characters.
pub(crate) const SHORTEST_PREFIX: usize = 4;
/// A new team's epochs last 30 days, unless something else ends them.
const MAX_EPOCH_AGE: u64 = 30 * 24 * 3600;
/// Characters of a team's id that stand for its name when nobody here knows it.
const SHORT_TEAM: usize = 8;

/// One line of the list of teams.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TeamSummary {
    /// The team.
    pub id: TeamId,
    /// Its name, from its sealed profile or the invitation. None when this device has no key of it (yet).
    pub name: Option<String>,
    /// The caller's place in it.
    pub place: Place,
    /// How many wait to be confirmed, if the caller may confirm them; otherwise 0.
    pub waiting: usize,
}

/// Somebody's place in a team.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// They are a member, as the verified log says.
    Member {
        /// Their role.
        role: Role,
        /// The current epoch.
        epoch: u64,
    },
    /// They wait to be confirmed, as the verified log says.
    Pending {
        /// The role that they will have.
        role: Role,
        /// Since when.
        asked_at: Time,
    },
    /// They were a member when this home last read the log, and the service does not list the team any more.
    Vanished,
}

/// A team as its verified log has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Team {
    /// The team.
    pub id: TeamId,
    /// Its name; `team` and the beginning of its id when it is not known here.
    pub name: String,
    /// The caller's role, or the one that they will have.
    pub role: Role,
    /// Whether the caller waits to be confirmed.
    pub pending: bool,
    /// The current epoch.
    pub epoch: u64,
    /// When that epoch began.
    pub epoch_began: Time,
    /// Whether it must be rotated before the next share (that happens by itself).
    pub stale: bool,
    /// The number of log entries verified.
    pub entries: u64,
    /// What it takes to join.
    pub joining: Joining,
    /// The members, owners first, then by login.
    pub members: Vec<Member>,
    /// Those who wait to be confirmed, by login.
    pub joiners: Vec<Joiner>,
    /// Open invitations.
    pub invites: Vec<Invite>,
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

/// Somebody who waits to be confirmed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Joiner {
    /// Who.
    pub person: Person,
    /// The role that their invitation gives.
    pub role: Role,
    /// Since when.
    pub asked_at: Time,
}

/// An open invitation as the log has it; nobody can make its code again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invite {
    /// Its id.
    pub id: InviteId,
    /// The role it gives.
    pub role: Role,
    /// When it is over.
    pub expires: Time,
    /// How many more may use it.
    pub uses_left: u32,
    /// Who made it.
    pub by: Person,
    /// The one user who may use it; none if anybody may who has the code.
    pub user: Option<UserId>,
}

/// A new invitation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invitation {
    /// What the log has of it.
    pub invite: Invite,
    /// The code. Whoever has it can join, unless the invitation is for one user.
    pub code: String,
}

/// How a team was joined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Joined {
    /// The caller's place.
    pub place: JoinedAs,
    /// Whether it was the caller's before: nothing has changed then, and the invitation was not used.
    pub before: bool,
}

/// The place that somebody has who has joined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JoinedAs {
    /// The caller is a member.
    Member(Team),
    /// The caller waits to be confirmed by an owner or admin.
    Pending {
        /// The team.
        team: TeamId,
        /// Its name, as the invitation says.
        name: String,
    },
}

/// What somebody was before something was done to them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Was {
    /// A member.
    Member,
    /// Somebody who waited to be confirmed.
    Joiner,
    /// Somebody who had left.
    Former,
}

/// What was done to somebody, and which invitations that has closed: those that they had made or come in by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Who.
    pub person: Person,
    /// What they were in the team.
    pub was: Was,
    /// The invitations that nobody joins by any more.
    pub closed: Vec<InviteId>,
    /// The invitations by which anybody joins who has the code. A person who knows one comes in by it as another user.
    pub open: Vec<InviteId>,
}

impl Outcome {
    fn of(person: Person, before: &TeamState, after: &TeamState) -> Self {
        let now = system::now();
        let open: BTreeSet<InviteId> = after.open_invites(now).map(|(id, _)| id).collect();
        let closed = before.open_invites(now).map(|(id, _)| id).filter(|id| !open.contains(id)).collect();
        let for_anybody = after.open_invites(now).filter(|(_, invite)| invite.user.is_none());
        let was = if before.members().contains_key(&person.user) {
            Was::Member
        } else if before.pending(now).any(|(user, _)| user == person.user) {
            Was::Joiner
        } else {
            Was::Former
        };
        Self { was, closed, open: for_anybody.map(|(id, _)| id).collect(), person }
    }
}

/// A team of the caller's that was not read.
#[derive(Debug, Clone)]
pub(crate) struct Listed {
    pub(crate) id: TeamId,
    pub(crate) name: Option<String>,
    /// Whether only this home lists it.
    pub(crate) vanished: bool,
}

// What a person does.
impl Client {
    /// The caller's teams: those that the service lists, each read and verified, and those that it does not list any more.
    pub fn teams(&self) -> Result<Vec<TeamSummary>> {
        let me = self.user()?;
        let mut teams = Vec::new();
        for Listed { id, name, vanished } in self.listed()? {
            if vanished {
                teams.push(TeamSummary { id, name, place: Place::Vanished, waiting: 0 });
                continue;
            }
            let Synced { view, .. } = self.sync(id, None)?;
            let (state, now) = (view.state(), system::now());
            let place = if let Some(member) = state.members().get(&me) {
                Place::Member { role: member.role, epoch: current_epoch(state)? }
            } else if let Some((_, pending)) = state.pending(now).find(|(user, _)| *user == me) {
                Place::Pending { role: pending.role, asked_at: pending.asked_at }
            } else {
                // Left or removed a moment ago.
                continue;
            };
            let confirms = matches!(place, Place::Member { role: Role::Owner | Role::Admin, .. });
            let waiting = if confirms { state.pending(now).count() } else { 0 };
            teams.push(TeamSummary { id, name: self.team_name(&view)?, place, waiting });
        }
        Ok(teams)
    }

    /// Finds a team of the caller by its name, its id or the beginning of its id (4 characters or more); without a
    /// selector, the only one. More than one that fits is an error that lists them, also if one of them is a team that the
    /// service does not list any more; and so is such a team ([`Error::Vanished`]), without a selector whichever it is.
    pub fn find_team(&self, selector: Option<&str>) -> Result<TeamId> {
        let Some(selector) = selector else {
            let teams = self.listed()?;
            refuse_vanished(&teams)?;
            return match teams.as_slice() {
                [only] => Ok(only.id),
                [] => Err(Error::usage("you are in no team yet: create one, or join with an invitation's code")),
                _ => {
                    let list = list_teams(&teams).join(", ");
                    Err(Error::usage(format!("you are in several teams; say which: {list}")))
                }
            };
        };
        // A whole id says which team is meant, whatever the service lists.
        if let Ok(team) = selector.parse() {
            return Ok(team);
        }
        // Names are read anew: somebody may have renamed a team, to the name of another one too.
        let teams = self.teams()?.into_iter().map(|TeamSummary { id, name, place, .. }| Listed {
            id,
            name,
            vanished: place == Place::Vanished,
        });
        let fits = |team: &Listed| team.name.as_deref() == Some(selector) || fits_id(&team.id, selector);
        let fitting: Vec<Listed> = teams.filter(fits).collect();
        let team = choose("team", selector, &fitting, |team| team.id, list_teams)?;
        refuse_vanished(&fitting)?;
        Ok(team)
    }

    /// Takes a team off this home's list that the service does not list any more. Its keys stay in the vault.
    pub fn forget_team(&self, team: TeamId) -> Result<()> {
        match self.listed()?.iter().find(|known| known.id == team) {
            Some(known) if known.vanished => self.home.locked(|| self.list_team(team, false)),
            Some(_) => Err(Error::usage("the service lists this team; leave it instead")),
            None => Err(no_such("team", &team.to_string())),
        }
    }

    /// The caller's teams that this home knows by a name. Asks nobody.
    pub fn teams_called(&self, name: &str) -> Result<Vec<TeamId>> {
        let names = self.vault.read()?.teams;
        let called =
            |team: &TeamId| names.get(team).and_then(|team| team.name.as_ref()).is_some_and(|known| known.name == name);
        Ok(self.listed_teams()?.into_iter().filter(called).collect())
    }

    /// Reads and verifies a team.
    pub fn team(&self, team: TeamId) -> Result<Team> {
        let synced = self.sync(team, None)?;
        self.describe(&synced)
    }

    /// Creates a team with the caller as its owner.
    pub fn create_team(&self, name: &str) -> Result<Team> {
        check_name(name)?;
        let (_, people) = self.my_log()?;
        let policy = Policy { max_epoch_age: MAX_EPOCH_AGE, joining: Joining::Invitation };
        let created = TeamEvent::TeamCreated { nonce: Bytes(system::random()?), policy };
        let built = self.build(None, vec![created], Some(name), &people)?;
        let team = built.state.team();
        self.send(&Request::post("/v1/teams", &built.request)?, &built)?;
        self.remember_name(team, KnownName { name: name.to_owned(), seq: built.state.head().seq, vouched: true })?;
        self.team(team)
    }

    /// Deletes a team with all that is in it, for everybody. By an owner. Its keys stay in the vault.
    pub fn delete_team(&self, team: TeamId) -> Result<()> {
        self.empty(&Request::delete(format!("/v1/teams/{team}")))?;
        self.home.locked(|| self.list_team(team, false))
    }

    /// Makes an invitation that is over after `lifetime` (at most 30 days) and that `uses` people (1 to 100) can use; or one
    /// that only the user `only` can, once: a whole user id, or 16 characters or more of that of somebody who is or was in the team.
    pub fn invite(
        &self,
        team: TeamId,
        role: Role,
        lifetime: Duration,
        uses: u32,
        only: Option<&str>,
    ) -> Result<Invitation> {
        if !(1..=limits::INVITATION_SECONDS).contains(&lifetime.as_secs()) {
            return Err(Error::usage("an invitation lasts from 1 second to 30 days"));
        }
        if !(1..=limits::INVITATION_USES).contains(&uses) {
            return Err(Error::usage("an invitation can be used 1 to 100 times"));
        }
        if only.is_some() && uses != 1 {
            return Err(Error::usage("an invitation for one user can be used once"));
        }
        let signer = Signer::generate(system::random)?;
        let expires = system::now().plus(lifetime.as_secs());
        let mut named = None;
        let (synced, built) = self.change(team, false, |synced| {
            named = only.map(|only| find_user(synced.view.state(), only)).transpose()?;
            Ok(vec![TeamEvent::InviteCreated { key: *signer.public(), role, exp: expires, uses, user: named }])
        })?;
        let code = invitation::Code {
            team,
            key: signer.scalar(),
            head: built.state.head(),
            origin: self.profile.server.to_string(),
            name: self.known_name(&synced.view)?,
        };
        let by = self.names(&synced)?.person(self.user()?);
        let invite = Invite { id: InviteId(signer.kid()), role, expires, uses_left: uses, by, user: named };
        Ok(Invitation { invite, code: code.write()?.to_string() })
    }

    /// The open invitations.
    pub fn invites(&self, team: TeamId) -> Result<Vec<Invite>> {
        let synced = self.sync(team, None)?;
        Ok(invites(synced.view.state(), &self.names(&synced)?))
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

    /// Joins the team that an invitation's code is for, or asks to, as the team's policy says. Nothing happens if the caller
    /// is in the team already, or has asked already.
    pub fn join(&self, code: &str) -> Result<Joined> {
        let code = invitation::Code::read(code)?;
        let (here, origin) = (&self.profile.server, &code.origin);
        if origin != here.as_str() {
            let origin = text::quoted(origin, text::EXCERPT_CHARS);
            return Err(Error::usage(format!("the invitation is for {origin}, and you are signed in at {here}")));
        }
        check_name(&code.name)?;
        let signer = Signer::from_scalar(&code.key)?;
        let (invite, user) = (InviteId(signer.kid()), self.user()?);
        let (mut member, mut before) = (false, false);
        with_rebuilds(|| {
            let proof = signer.sign(&InviteProof { team: code.team, invite, user, iat: system::now() })?;
            let synced = self.sync(code.team, Some(&proof))?;
            if !synced.view.contains(code.head) {
                return Err(Error::Tampered {
                    what: "the service shows another team log than the one that the invitation was made in".to_owned(),
                });
            }
            let state = synced.view.state();
            member = state.members().contains_key(&user);
            before = member || state.pending(system::now()).any(|(waiting, _)| waiting == user);
            if before {
                return Ok(());
            }
            member = state.policy().joining == Joining::Invitation;
            let joined = TeamEvent::MemberJoined { invite, proof };
            let name = member.then_some(code.name.as_str());
            let built = self.build(Some(state), vec![joined], name, &synced.people)?;
            self.send(&commit_request(code.team, &built)?, &built)
        })?;
        // The key in a code that was not used was never checked: the code may be made up.
        if !before {
            // Whoever passes a code on can write another name into it.
            let name = KnownName { name: code.name.clone(), seq: code.head.seq, vouched: false };
            self.remember_name(code.team, name)?;
        }
        let place = if member {
            JoinedAs::Member(self.team(code.team)?)
        } else {
            let name = self.vault.read()?.teams.remove(&code.team).and_then(|team| team.name);
            JoinedAs::Pending { team: code.team, name: name.map_or_else(|| stand_in(code.team), |known| known.name) }
        };
        Ok(Joined { place, before })
    }

    /// Makes somebody a member who waits to be confirmed, and rotates. Named as in [`Client::remove_member`].
    pub fn confirm(&self, team: TeamId, joiner: &str) -> Result<Person> {
        let mut person = None;
        self.change(team, true, |synced| {
            let (state, names) = (synced.view.state(), self.names(synced)?);
            let chosen = match names.choose(state.pending(system::now()).map(|(user, _)| user), joiner) {
                Err(Error::NotFound { .. }) => Err(match names.choose(state.members().keys().copied(), joiner) {
                    Ok(member) => {
                        Error::usage(format!("{member} is in the team already, so there is nothing to confirm"))
                    }
                    Err(_) => no_such("joiner", joiner),
                }),
                chosen => chosen,
            }?;
            let user = person.insert(chosen).user;
            Ok(vec![TeamEvent::MemberConfirmed { user }])
        })?;
        person.ok_or_else(|| no_such("joiner", joiner))
    }

    /// Removes a member and rotates, refuses somebody who waits to be one, or bars somebody who has left. Named by user id, whole or its beginning (16
    /// characters or more), or by a login of which there is nothing odd to say, with or without `@`.
    pub fn remove_member(&self, team: TeamId, member: &str) -> Result<Outcome> {
        let mut person = None;
        let (synced, built) = self.change_as(team, |synced| {
            let state = synced.view.state();
            let waiting = state.pending(system::now()).map(|(user, _)| user);
            let all = state.members().keys().copied().chain(waiting);
            let names = self.names(synced)?;
            let chosen = match names.choose(all, member) {
                // Whoever left before they could be removed.
                Err(Error::NotFound { .. }) => names.choose(state.everyone().iter().copied(), member)?,
                chosen => chosen?,
            };
            let user = person.insert(chosen).user;
            Ok((vec![TeamEvent::MemberRemoved { user }], state.members().contains_key(&user)))
        })?;
        let person = person.ok_or_else(|| no_such("member", member))?;
        Ok(Outcome::of(person, synced.view.state(), &built.state))
    }

    /// Leaves the team, or asks no more to be confirmed. Its keys stay in the vault, for what was received before.
    pub fn leave(&self, team: TeamId) -> Result<()> {
        let me = self.user()?;
        let left = self.change(team, false, |synced| {
            if synced.view.state().members().keys().eq([&me]) {
                return Err(Error::usage(
                    "you are the only member of this team; delete it with `osmynt team delete` instead",
                ));
            }
            Ok(vec![TeamEvent::MemberLeft {}])
        });
        left.map(drop)
    }

    /// Changes a member's role. Named as in [`Client::remove_member`].
    pub fn set_role(&self, team: TeamId, member: &str, role: Role) -> Result<Outcome> {
        let mut person = None;
        let (synced, built) = self.change(team, false, |synced| {
            let user = person.insert(self.find_member(synced, member)?).user;
            Ok(vec![TeamEvent::RoleChanged { user, role }])
        })?;
        let person = person.ok_or_else(|| no_such("member", member))?;
        Ok(Outcome::of(person, synced.view.state(), &built.state))
    }

    /// Changes what it takes to join.
    pub fn set_joining(&self, team: TeamId, joining: Joining) -> Result<()> {
        let changed = self.change(team, false, |synced| {
            let policy = Policy { joining, ..synced.view.state().policy() };
            Ok(vec![TeamEvent::PolicyChanged { policy }])
        });
        changed.map(drop)
    }

    /// Takes somebody's present name for theirs from now on. Named by user id, whole or its beginning (16 characters or more),
    /// as their name is what is in doubt.
    pub fn accept_name(&self, team: TeamId, user: &str) -> Result<Person> {
        let mut synced = self.sync(team, None)?;
        let user = find_user(synced.view.state(), user)?;
        let known = synced.people.users_mut().find(|known| known.user() == user);
        let known = known.ok_or_else(|| no_such("member", &user.to_string()))?;
        if known.name().is_none() {
            return Err(Error::usage("the service shows no name that they have signed, so there is none to accept"));
        }
        self.pin_name_anew(known)?;
        Ok(self.names(&synced)?.person(user))
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
    /// The caller's teams without reading them: those that the service lists, and those that only this home does.
    pub(crate) fn listed(&self) -> Result<Vec<Listed>> {
        let mine: api::MyTeams = self.json(&Request::get("/v1/teams"))?;
        let shown: BTreeSet<TeamId> = mine.teams.iter().map(|team| team.team).collect();
        if shown.len() != mine.teams.len() {
            return Err(nonsense("it lists a team twice"));
        }
        let names = self.vault.read()?.teams;
        let all: BTreeSet<TeamId> = self.listed_teams()?.union(&shown).copied().collect();
        let listed = |id: TeamId| Listed {
            id,
            name: names.get(&id).and_then(|team| team.name.as_ref()).map(|known| known.name.clone()),
            vanished: !shown.contains(&id),
        };
        Ok(all.into_iter().map(listed).collect())
    }

    /// Reads the team, builds a commit of what `events` wants then, and sends it; all of it again, a few times, when
    /// somebody else changed the team meanwhile.
    pub(crate) fn change(
        &self,
        team: TeamId,
        rotate: bool,
        mut events: impl FnMut(&Synced) -> Result<Vec<TeamEvent>>,
    ) -> Result<(Synced, Built)> {
        self.change_as(team, |synced| Ok((events(synced)?, rotate)))
    }

    /// The same, if whether to rotate depends on how things stand.
    fn change_as(
        &self,
        team: TeamId,
        mut events: impl FnMut(&Synced) -> Result<(Vec<TeamEvent>, bool)>,
    ) -> Result<(Synced, Built)> {
        with_rebuilds(|| {
            let synced = self.sync(team, None)?;
            let (events, rotate) = events(&synced)?;
            if !matches!(events.as_slice(), [TeamEvent::MemberLeft {}]) {
                self.check_confirmed(&synced.view)?;
            }
            let name = if rotate { Some(self.name_to_seal(&synced.view)?) } else { None };
            let built = self.build(Some(synced.view.state()), events, name.as_deref(), &synced.people)?;
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
        let author = Author { user: self.user()?, signer: &self.keys.signer, now: system::now() };
        commit::build(current, events, rotate_as, &author, people, system::random)
    }

    fn send(&self, request: &Request, built: &Built) -> Result<()> {
        let committed: api::Committed = self.json(request)?;
        let (team, head) = (built.state.team(), built.state.head());
        if (committed.team, committed.head, committed.epoch) != (team, head, current_epoch(&built.state)?) {
            return Err(Error::Tampered {
                what: format!("the service answers a commit to team {team} with another one"),
            });
        }
        let mine = built.state.members().contains_key(&self.user()?);
        self.pin_commit(team, head, mine)?;
        match &built.team_key {
            Some(key) => self.remember_key(built.state.team(), current_epoch(&built.state)?, key.clone()),
            None => Ok(()),
        }
    }

    /// Refuses what only a member may do to somebody who waits to be one.
    pub(crate) fn check_confirmed(&self, view: &TeamView) -> Result<()> {
        let me = self.user()?;
        if view.state().pending(system::now()).any(|(user, _)| user == me) {
            return Err(Error::Pending { team: text::word(&self.known_name(view)?, limits::TEAM_NAME_CHARS) });
        }
        Ok(())
    }

    /// The name that a rotation seals. What an owner or admin seals counts for everybody, so they seal only a name that one has
    /// vouched for, and otherwise an empty one, which everybody ignores.
    fn name_to_seal(&self, view: &TeamView) -> Result<String> {
        let vouches = view.state().member(self.user()?)?.role > Role::Member;
        let known = self.known_team_name(view)?.filter(|known| known.vouched || !vouches);
        Ok(known.map(|known| known.name).unwrap_or_default())
    }

    /// What to call the team: its name from the vault, from the profile of any
    /// epoch that this device has the key of, or from the invitation. If none of these has one, `team` and the first 8
    /// characters of the team's id; an owner or admin can rename it then.
    fn known_name(&self, view: &TeamView) -> Result<String> {
        Ok(self.team_name(view)?.unwrap_or_else(|| stand_in(view.state().team())))
    }

    /// Finds a member. Named as in [`Client::remove_member`].
    pub(crate) fn find_member(&self, synced: &Synced, selector: &str) -> Result<Person> {
        self.names(synced)?.choose(synced.view.state().members().keys().copied(), selector)
    }

    fn describe(&self, synced: &Synced) -> Result<Team> {
        let Synced { view, people } = synced;
        let (state, names) = (view.state(), self.names(synced)?);
        let (now, me) = (system::now(), self.user()?);
        let mut members: Vec<Member> = state
            .members()
            .iter()
            .map(|(user, member)| Member {
                person: names.person(*user),
                role: member.role,
                devices: member.devices.len(),
                me: *user == me,
            })
            .collect();
        members.sort_by(|a, b| b.role.cmp(&a.role).then_with(|| a.person.login.cmp(&b.person.login)));
        let waiting = state.pending(now).map(|(user, pending)| Joiner {
            person: names.person(user),
            role: pending.role,
            asked_at: pending.asked_at,
        });
        let mut joiners: Vec<Joiner> = waiting.collect();
        joiners.sort_by(|a, b| a.person.login.cmp(&b.person.login));
        let pending = joiners.iter().find(|joiner| joiner.person.user == me);
        let role = match pending {
            Some(joiner) => joiner.role,
            None => state.member(me)?.role,
        };
        let epoch = state.epoch().ok_or_else(|| no_such("epoch", &state.team().to_string()))?;
        Ok(Team {
            id: state.team(),
            name: self.known_name(view)?,
            role,
            pending: pending.is_some(),
            epoch: epoch.number,
            epoch_began: epoch.received_at,
            stale: view.stale(now, people),
            entries: view.entry_count(),
            joining: state.policy().joining,
            members,
            joiners,
            invites: invites(state, &names),
        })
    }
}

/// Somebody who is or was in a team, by their user id or its beginning; anybody by their whole user id.
fn find_user(state: &TeamState, selector: &str) -> Result<UserId> {
    if let Ok(user) = selector.parse() {
        return Ok(user);
    }
    let fitting: Vec<UserId> = state.everyone().iter().copied().filter(|user| is_id(*user, selector)).collect();
    if fitting.is_empty() {
        return Err(Error::usage(format!(
            "\"{selector}\" is no user id, nor the beginning of one of somebody who is or was in the team; `osmynt whoami` \
             shows people theirs"
        )));
    }
    let list = |users: &[UserId]| users.iter().map(UserId::to_string).collect();
    choose("member", selector, &fitting, |user| *user, list)
}

fn invites(state: &TeamState, names: &Names<'_>) -> Vec<Invite> {
    let invite = |(id, invite): (InviteId, &teamlog::Invite)| Invite {
        id,
        role: invite.role,
        expires: invite.exp,
        uses_left: invite.uses_left,
        by: names.person(invite.by),
        user: invite.user,
    };
    state.open_invites(system::now()).map(invite).collect()
}

fn stand_in(team: TeamId) -> String {
    let id = team.to_string();
    format!("team {}", id.get(..SHORT_TEAM).unwrap_or(&id))
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

pub(crate) fn no_such(what: &'static str, selector: &str) -> Error {
    Error::NotFound { what, selector: selector.to_owned() }
}

fn refuse_vanished(teams: &[Listed]) -> Result<()> {
    // That they have vanished is what the error says.
    let shown = |team: &Listed| Listed { vanished: false, ..team.clone() };
    let vanished: Vec<Listed> = teams.iter().filter(|team| team.vanished).map(shown).collect();
    if vanished.is_empty() { Ok(()) } else { Err(Error::Vanished { teams: list_teams(&vanished) }) }
}

fn list_teams(teams: &[Listed]) -> Vec<String> {
    let line = |team: &Listed| {
        let gone = if team.vanished { ", which the service does not list any more" } else { "" };
        match &team.name {
            Some(name) => format!("{} ({}{gone})", text::word(name, limits::TEAM_NAME_CHARS), team.id),
            None => format!("{}{gone}", team.id),
        }
    };
    teams.iter().map(line).collect()
}
