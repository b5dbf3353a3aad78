//! The account as a whole: what happened to it, all that the service holds about it, and its end.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::fmt;
use std::fs::File;

use osmynt_core::api::{self, AccountEvent};
use osmynt_core::teamlog::{Role, TeamEvent, TeamState};
use osmynt_core::{Code, TeamId, UserId, limits, text};

use crate::http::Request;
use crate::session::{Synced, check_page};
use crate::team::Listed;
use crate::{Client, Error, Person, Result, system};

/// An answer to `GET /v1/me/export` of more bytes is not taken.
const EXPORT_BYTES: u64 = 256 * 1024 * 1024;
/// Leaving teams and deleting again when somebody joined meanwhile: this many times in all.
const ATTEMPTS: usize = 5;

/// What deleting the account takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Deletion {
    /// What will become of each team.
    Ahead(Vec<Departure>),
    /// Nothing more: it was asked for before, and the service no longer knows this sign-in.
    Done,
}

/// What becomes of a team when its member is deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Departure {
    /// Which.
    pub team: TeamId,
    /// Its name, as far as this device knows it.
    pub name: Option<String>,
    /// What becomes of it.
    pub fate: Fate,
}

/// What becomes of a team.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// Nobody else is in it: it is deleted with all that is in it.
    Deleted,
    /// It goes on without the caller, who is a member or waits to be confirmed.
    Left,
    /// The caller was its only owner: this member becomes one.
    HandedOver(Person),
}

impl Client {
    /// What happened to the account, newest first, at most `limit`; and whether there is more.
    pub fn events(&self, limit: usize) -> Result<(Vec<AccountEvent>, bool)> {
        let mut events = Vec::new();
        let mut query = String::new();
        loop {
            let page: api::AccountEvents = self.json(&Request::get(format!("/v1/me/events{query}")))?;
            check_page(page.events.len())?;
            let empty = page.events.is_empty();
            events.extend(page.events);
            let more = page.next.is_some() || events.len() > limit;
            match page.next {
                Some(cursor) if events.len() < limit && !empty => query = format!("?cursor={cursor}"),
                _ => {
                    events.truncate(limit);
                    return Ok((events, more));
                }
            }
        }
    }

    /// Writes all that the service holds about the caller to an empty file, as the service's JSON document. After a failure
    /// the file holds anything.
    pub fn export_account(&self, file: &File) -> Result<()> {
        self.download(&Request::get("/v1/me/export"), file, EXPORT_BYTES)
    }

    /// What it takes to delete this home's user, and with the last one the account; and what will become of each team.
    pub fn deletion(&self) -> Result<Deletion> {
        match self.departures() {
            Err(error) if self.is_deleted(&error)? => Ok(Deletion::Done),
            departures => departures.map(Deletion::Ahead),
        }
    }

    /// Takes the caller out of every team that others are in, then deletes this home's user, and the account if it has no
    /// other (`docs/protocol.md` section 10). It may be done again until it succeeds. What this home holds stays: see
    /// [`crate::Home::erase`].
    ///
    /// `confirmed` is what [`Client::deletion`] gave and the person agreed to. [`Error::Unconfirmed`] when something else
    /// would become of a team: found before anything is changed, or when it is the team's turn. Gives what of `confirmed`
    /// has happened: all but the teams that were gone already.
    pub fn delete_account(&self, confirmed: &[Departure]) -> Result<Vec<Departure>> {
        let mut over = BTreeSet::new();
        let mut repeats = 1..ATTEMPTS;
        loop {
            match self.leave_and_delete(confirmed, &mut over) {
                // Somebody joined, or was removed, or was faster.
                Err(Error::Refused { code: Code::Conflict | Code::NotFound, .. }) if repeats.next().is_some() => {}
                Err(error) if !self.is_deleted(&error)? => return Err(error),
                _ => return Ok(confirmed.iter().filter(|departure| over.contains(&departure.team)).cloned().collect()),
            }
        }
    }

    fn leave_and_delete(&self, confirmed: &[Departure], over: &mut BTreeSet<TeamId>) -> Result<()> {
        let departures = self.departures()?;
        for departure in &departures {
            departure.check(confirmed)?;
        }
        for Departure { team, name, fate } in departures {
            if fate != Fate::Deleted {
                // The service chooses what it shows when: it is the log that the commit continues that must fit.
                self.change(team, false, |synced| {
                    let me = self.user()?;
                    Departure { team, name: name.clone(), fate: self.fate(synced, me)? }.check(confirmed)?;
                    // Before it is sent: if the answer is lost, the service shows the log no more.
                    over.insert(team);
                    Ok(parting(synced.view.state(), me))
                })?;
            }
            over.insert(team);
        }
        self.set_deleting(true)?;
        let answer = self.empty(&Request::delete("/v1/me"));
        if matches!(&answer, Err(Error::Refused { code, .. }) if !matches!(code, Code::Unauthenticated | Code::Unavailable))
        {
            self.set_deleting(false)?;
        }
        answer
    }

    /// Of the teams that the service lists and that the caller is in. A team that has vanished needs nothing, and nor does a
    /// device in no log.
    fn departures(&self) -> Result<Vec<Departure>> {
        let mut departures = Vec::new();
        let Some(me) = self.profile.user else { return Ok(departures) };
        for Listed { id, .. } in self.listed()?.into_iter().filter(|team| !team.vanished) {
            let synced = self.sync(id, None)?;
            let state = synced.view.state();
            if state.members().contains_key(&me) || state.pending(system::now()).any(|(user, _)| user == me) {
                let (name, fate) = (self.team_name(&synced.view)?, self.fate(&synced, me)?);
                departures.push(Departure { team: id, name, fate });
            }
        }
        Ok(departures)
    }

    fn fate(&self, synced: &Synced, me: UserId) -> Result<Fate> {
        let state = synced.view.state();
        Ok(if state.members().keys().eq([&me]) {
            Fate::Deleted
        } else if let Some(heir) = heir(state, me) {
            Fate::HandedOver(self.names(synced)?.person(heir))
        } else {
            Fate::Left
        })
    }

    /// Whether a failure means that the account is gone: its deletion was asked for, no answer came, and now the sign-in
    /// that was good then is good for nothing.
    fn is_deleted(&self, error: &Error) -> Result<bool> {
        let over = matches!(error, Error::SessionOver | Error::Refused { code: Code::Unauthenticated, .. });
        Ok(over && self.session()?.deleting)
    }

    fn set_deleting(&self, deleting: bool) -> Result<()> {
        self.vault.update(|secrets| {
            secrets.session.as_mut().ok_or(Error::NotSignedIn)?.deleting = deleting;
            Ok(())
        })
    }
}

impl Departure {
    /// Refuses what is not among the departures that the person confirmed.
    fn check(&self, confirmed: &[Self]) -> Result<()> {
        let team = self.name.as_deref().map_or_else(
            || format!("team {}", self.team),
            |name| format!("the team {}", text::quoted(name, limits::TEAM_NAME_CHARS)),
        );
        match confirmed.iter().find(|departure| departure.team == self.team) {
            Some(departure) if departure.fate.is(&self.fate) => Ok(()),
            Some(Self { fate, .. }) => Err(Error::Unconfirmed {
                what: format!("{team} has changed since you confirmed (confirmed: {fate}; now: {})", self.fate),
            }),
            None => {
                Err(Error::Unconfirmed { what: format!("{team} was not in the list you confirmed ({})", self.fate) })
            }
        }
    }
}

impl Fate {
    /// Whether it is the same. What somebody is called does not matter: the user id says who it is.
    fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::HandedOver(heir), Self::HandedOver(other)) => heir.user == other.user,
            _ => self == other,
        }
    }
}

/// For a sentence about the team, without a full stop.
impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Deleted => f.write_str("it is deleted, as nobody else is in it"),
            Self::Left => f.write_str("you leave it"),
            Self::HandedOver(heir) => write!(f, "you leave it, and {heir} becomes its owner"),
        }
    }
}

/// The entries by which a member leaves for good, so that the team keeps an owner (`docs/protocol.md` section 10).
pub fn parting(state: &TeamState, me: UserId) -> Vec<TeamEvent> {
    let hand_over = heir(state, me).map(|user| TeamEvent::RoleChanged { user, role: Role::Owner });
    hand_over.into_iter().chain([TeamEvent::MemberLeft {}]).collect()
}

/// Who must become an owner so that `me` can leave: the admin who has been in the team longest, or else the member who has.
fn heir(state: &TeamState, me: UserId) -> Option<UserId> {
    let members = state.members();
    let is_owner = |user: &UserId| members.get(user).is_some_and(|member| member.role == Role::Owner);
    let mut others = members.iter().filter(|(user, _)| **user != me);
    if !is_owner(&me) || others.clone().any(|(user, _)| is_owner(user)) {
        return None;
    }
    others.by_ref().min_by_key(|(_, member)| (Reverse(member.role), member.joined_seq)).map(|(user, _)| *user)
}
