//! Teams: create, invite, join, remove, leave, roles, names, rotation.

use crate::{Client, Error, InviteId, Result, Role, TeamId, Time, UserId};
use std::time::Duration;

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

impl Client {
    /// The caller's teams.
    pub fn teams(&self) -> Result<Vec<TeamSummary>> {
        Err(Error::NotSignedIn)
    }

    /// Finds a team of the caller by its name, its id or the beginning of its id (4 characters or more); without a
    /// selector, the only one. More than one that fits is an error that lists them.
    pub fn find_team(&self, selector: Option<&str>) -> Result<TeamId> {
        let _ = selector;
        Err(Error::NotSignedIn)
    }

    /// Creates a team with the caller as its owner.
    pub fn create_team(&self, name: &str) -> Result<Team> {
        let _ = name;
        Err(Error::NotSignedIn)
    }

    /// Reads and verifies a team.
    pub fn team(&self, team: TeamId) -> Result<Team> {
        let _ = team;
        Err(Error::NotSignedIn)
    }

    /// Makes an invitation that expires after `lifetime` (at most 30 days) and that `uses` people (1 to 100) can use.
    pub fn invite(&self, team: TeamId, role: Role, lifetime: Duration, uses: u32) -> Result<Invitation> {
        let _ = (team, role, lifetime, uses);
        Err(Error::NotSignedIn)
    }

    /// Revokes an open invitation, named by its id or the beginning of it.
    pub fn revoke_invite(&self, team: TeamId, invite: &str) -> Result<InviteId> {
        let _ = (team, invite);
        Err(Error::NotSignedIn)
    }

    /// Joins the team that an invitation's link is for.
    pub fn join(&self, link: &str) -> Result<Team> {
        let _ = link;
        Err(Error::NotSignedIn)
    }

    /// Removes a member, named by login (with or without `@`), user id or the beginning of it, and rotates.
    pub fn remove_member(&self, team: TeamId, member: &str) -> Result<Person> {
        let _ = (team, member);
        Err(Error::NotSignedIn)
    }

    /// Leaves the team. Its keys stay in the vault, for what was received before.
    pub fn leave(&self, team: TeamId) -> Result<()> {
        let _ = team;
        Err(Error::NotSignedIn)
    }

    /// Changes a member's role.
    pub fn set_role(&self, team: TeamId, member: &str, role: Role) -> Result<Person> {
        let _ = (team, member, role);
        Err(Error::NotSignedIn)
    }

    /// Renames the team (1 to 100 characters).
    pub fn rename(&self, team: TeamId, name: &str) -> Result<()> {
        let _ = (team, name);
        Err(Error::NotSignedIn)
    }

    /// Begins a new epoch. Gives its number.
    pub fn rotate(&self, team: TeamId) -> Result<u64> {
        let _ = team;
        Err(Error::NotSignedIn)
    }
}
