//! The account as a whole: what happened to it, all that the service holds about it, and its end.

use std::cmp::Reverse;
use std::fs::File;

use osmynt_core::api::{self, AccountEvent};
use osmynt_core::teamlog::{Role, TeamEvent, TeamState};
use osmynt_core::{Code, TeamId, UserId};

use crate::http::Request;
use crate::session::check_page;
use crate::team::Listed;
use crate::{Client, Error, Person, Result};

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
    pub fn delete_account(&self) -> Result<()> {
        for _ in 1..ATTEMPTS {
            match self.leave_and_delete() {
                // Somebody joined, or was removed, or was faster.
                Err(Error::Refused { code: Code::Conflict | Code::NotFound, .. }) => {}
                Err(error) if self.is_deleted(&error)? => return Ok(()),
                done => return done,
            }
        }
        self.leave_and_delete()
    }

    fn leave_and_delete(&self) -> Result<()> {
        for Departure { team, fate, .. } in self.departures()? {
            if fate != Fate::Deleted {
                self.change(team, false, |synced| Ok(parting(synced.view.state(), self.user()?)))?;
            }
        }
        self.set_deleting(true)?;
        let answer = self.empty(&Request::delete("/v1/me"));
        if matches!(&answer, Err(Error::Refused { code, .. }) if !matches!(code, Code::Unauthenticated | Code::Unavailable))
        {
            self.set_deleting(false)?;
        }
        answer
    }

    /// Of the teams that the service lists. One that has vanished needs nothing, and nor does a device in no log.
    fn departures(&self) -> Result<Vec<Departure>> {
        let mut departures = Vec::new();
        let Some(me) = self.profile.user else { return Ok(departures) };
        for Listed { id, .. } in self.listed()?.into_iter().filter(|team| !team.vanished) {
            let synced = self.sync(id, None)?;
            let state = synced.view.state();
            let fate = if state.members().keys().eq([&me]) {
                Fate::Deleted
            } else if let Some(heir) = heir(state, me) {
                Fate::HandedOver(self.names(&synced)?.person(heir))
            } else {
                Fate::Left
            };
            departures.push(Departure { team: id, name: self.team_name(&synced.view)?, fate });
        }
        Ok(departures)
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
