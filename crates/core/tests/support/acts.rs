//! What people do with a team, drawn at random.

use osmynt_core::teamlog::{Joining, Policy, Role, TeamEvent};
use osmynt_core::{Code, UserId};
use proptest::prelude::*;

use super::{Key, POLICY, Team, Verdict, sealed};

/// So many cases, or as many as `PROPTEST_CASES` says.
pub fn config(cases: u32) -> ProptestConfig {
    let cases = std::env::var("PROPTEST_CASES").map_or(cases, |said| said.parse().unwrap());
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

/// One thing that somebody does. People and invitations go by number; numbers beyond the last begin again.
#[derive(Debug, Clone)]
pub enum Act {
    Invite { by: u32, role: Role, uses: u32, named: Option<u32> },
    Revoke { by: u32, invitation: u32 },
    Join { who: u32, invitation: u32 },
    Confirm { by: u32, who: u32 },
    Remove { by: u32, who: u32 },
    Leave { who: u32 },
    Role { by: u32, who: u32, role: Role },
    Policy { by: u32, joining: Joining },
    Rename { by: u32 },
    Rotate { by: u32 },
    AddDevice { who: u32 },
    RevokeDevice { who: u32 },
    Wait { seconds: u64 },
}

pub fn role() -> impl Strategy<Value = Role> {
    prop_oneof![Just(Role::Member), Just(Role::Admin), Just(Role::Owner)]
}

/// Somebody. More often person 0, who founded the team, and person 2, so that much happens to one and the same.
pub fn who() -> impl Strategy<Value = u32> {
    prop_oneof![2 => Just(0), 2 => Just(2), 3 => any::<u32>()]
}

pub fn act() -> impl Strategy<Value = Act> {
    let joining = prop_oneof![Just(Joining::Invitation), Just(Joining::Confirmation)];
    let invitation = any::<u32>;
    prop_oneof![
        4 => (who(), role(), 1..3_u32, prop::option::weighted(0.3, who()))
            .prop_map(|(by, role, uses, named)| Act::Invite { by, role, uses, named }),
        1 => (who(), invitation()).prop_map(|(by, invitation)| Act::Revoke { by, invitation }),
        6 => (who(), invitation()).prop_map(|(who, invitation)| Act::Join { who, invitation }),
        3 => (who(), who()).prop_map(|(by, who)| Act::Confirm { by, who }),
        3 => (who(), who()).prop_map(|(by, who)| Act::Remove { by, who }),
        1 => who().prop_map(|who| Act::Leave { who }),
        3 => (who(), who(), role()).prop_map(|(by, who, role)| Act::Role { by, who, role }),
        2 => (who(), joining).prop_map(|(by, joining)| Act::Policy { by, joining }),
        1 => who().prop_map(|by| Act::Rename { by }),
        2 => who().prop_map(|by| Act::Rotate { by }),
        2 => who().prop_map(|who| Act::AddDevice { who }),
        2 => who().prop_map(|who| Act::RevokeDevice { who }),
        2 => prop_oneof![4 => 0..400_u64, 2 => 0..4000_u64, 1 => Just(14 * 24 * 3600 + 1)]
            .prop_map(|seconds| Act::Wait { seconds }),
    ]
}

impl Act {
    /// The same, done by somebody else.
    #[must_use]
    pub fn by(mut self, n: u32) -> Self {
        match &mut self {
            Self::Invite { by, .. }
            | Self::Revoke { by, .. }
            | Self::Confirm { by, .. }
            | Self::Remove { by, .. }
            | Self::Role { by, .. }
            | Self::Policy { by, .. }
            | Self::Rename { by }
            | Self::Rotate { by } => *by = n,
            Self::Join { who, .. } | Self::Leave { who } | Self::AddDevice { who } | Self::RevokeDevice { who } => {
                *who = n;
            }
            Self::Wait { .. } => {}
        }
        self
    }

    pub fn changes_the_world(&self) -> bool {
        matches!(self, Self::AddDevice { .. } | Self::RevokeDevice { .. } | Self::Wait { .. })
    }
}

fn person(team: &Team, n: u32) -> UserId {
    team.ids[n as usize % team.ids.len()]
}

fn waiting(team: &Team, n: u32) -> Option<UserId> {
    let waiting: Vec<UserId> = team.state().pending(team.object_time()).map(|(user, _)| user).collect();
    waiting.get(n as usize % waiting.len().max(1)).copied()
}

/// One of the last four, or any.
fn invitation(team: &Team, n: u32) -> Key {
    let count = team.invitations.max(1);
    let recent = if n.is_multiple_of(2) { count.min(4) } else { count };
    Team::invitation(count - n / 2 % recent)
}

/// Who acts upon the team, with which events, and whether an honest client rotates with them. None for what happens
/// outside the team's log.
pub fn events(team: &mut Team, act: &Act) -> Option<(UserId, Vec<TeamEvent>, bool)> {
    let (author, event, rotate) = match *act {
        Act::Invite { by, role, uses, named } => {
            let named = named.map(|who| person(team, who));
            let (_, event) = team.invite_event(role, if named.is_some() { 1 } else { uses }, named);
            (by, event, false)
        }
        Act::Revoke { by, invitation: n } => {
            (by, TeamEvent::InviteRevoked { invite: invitation(team, n).invite() }, false)
        }
        Act::Join { who, invitation: n } => {
            let event = team.joined(person(team, who), &invitation(team, n));
            (who, event, team.state().policy().joining == Joining::Invitation)
        }
        Act::Confirm { by, who } => {
            let user = waiting(team, who).unwrap_or_else(|| person(team, who));
            (by, TeamEvent::MemberConfirmed { user }, true)
        }
        Act::Remove { by, who } => {
            let refused = waiting(team, who / 2).filter(|_| who.is_multiple_of(2));
            let user = refused.unwrap_or_else(|| person(team, who / 2));
            (by, TeamEvent::MemberRemoved { user }, team.state().members().contains_key(&user))
        }
        Act::Leave { who } => (who, TeamEvent::MemberLeft {}, false),
        Act::Role { by, who, role } => (by, TeamEvent::RoleChanged { user: person(team, who), role }, false),
        Act::Policy { by, joining } => (by, TeamEvent::PolicyChanged { policy: Policy { joining, ..POLICY } }, false),
        Act::Rename { by } => (by, TeamEvent::ProfileChanged { epoch: team.epoch(), profile: sealed(256) }, false),
        Act::Rotate { by } => return Some((person(team, by), vec![], true)),
        Act::AddDevice { .. } | Act::RevokeDevice { .. } | Act::Wait { .. } => return None,
    };
    Some((person(team, author), vec![event], rotate))
}

/// Changes what is outside of the team's log. `next_key` numbers new devices.
pub fn change_world(team: &mut Team, act: &Act, next_key: &mut u32) -> Verdict {
    match *act {
        Act::AddDevice { who } => {
            *next_key += 1;
            team.add_device(person(team, who), &Key::test(*next_key))
        }
        Act::RevokeDevice { who } => {
            let user = person(team, who);
            let oldest = team.person(user).devices[0].clone();
            team.revoke_device(user, &oldest)
        }
        Act::Wait { seconds } => {
            team.now = team.now.plus(seconds);
            Ok(())
        }
        _ => Err(Code::InvalidRequest),
    }
}

/// Does it with an honest client at an honest service.
pub fn perform(team: &mut Team, act: &Act, next_key: &mut u32) -> Verdict {
    match events(team, act) {
        Some((author, events, rotate)) => team.commit(author, events, rotate),
        None => change_world(team, act, next_key),
    }
}
