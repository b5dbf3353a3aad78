//! What holds after any history of a team, however people act.
#![allow(clippy::unwrap_used, clippy::arithmetic_side_effects, clippy::indexing_slicing, missing_docs)]
mod support;

use osmynt_core::teamlog::{Policy, Role, TeamEvent};
use osmynt_core::{Code, DeviceId};
use proptest::prelude::*;
use support::{Key, Team, sealed};

const PEOPLE: u32 = 5;

#[derive(Debug, Clone)]
enum Act {
    Invite { by: u32, role: Role, uses: u32 },
    Join { who: u32, invitation: u32 },
    Remove { by: u32, who: u32 },
    Leave { who: u32 },
    Role { by: u32, who: u32, role: Role },
    Policy { by: u32 },
    Rename { by: u32 },
    Rotate { by: u32 },
    AddDevice { who: u32 },
    RevokeDevice { who: u32 },
    Reset { who: u32 },
    Wait { seconds: u64 },
}

fn act() -> impl Strategy<Value = Act> {
    let who = || 0..PEOPLE;
    let role = || prop_oneof![Just(Role::Member), Just(Role::Admin), Just(Role::Owner)];
    prop_oneof![
        3 => (who(), role(), 1..3_u32).prop_map(|(by, role, uses)| Act::Invite { by, role, uses }),
        5 => (who(), 1..4_u32).prop_map(|(who, invitation)| Act::Join { who, invitation }),
        2 => (who(), who()).prop_map(|(by, who)| Act::Remove { by, who }),
        1 => who().prop_map(|who| Act::Leave { who }),
        2 => (who(), who(), role()).prop_map(|(by, who, role)| Act::Role { by, who, role }),
        1 => who().prop_map(|by| Act::Policy { by }),
        1 => who().prop_map(|by| Act::Rename { by }),
        2 => who().prop_map(|by| Act::Rotate { by }),
        2 => who().prop_map(|who| Act::AddDevice { who }),
        1 => who().prop_map(|who| Act::RevokeDevice { who }),
        1 => who().prop_map(|who| Act::Reset { who }),
        1 => (0..4000_u64).prop_map(|seconds| Act::Wait { seconds }),
    ]
}

fn perform(team: &mut Team, act: &Act, next_key: &mut u32) -> Result<(), Code> {
    match *act {
        Act::Invite { by, role, uses } => team.invite(team.user(by), role, uses).map(|_| ()),
        Act::Join { who, invitation } if invitation <= team.invitations => {
            team.join(team.user(who), &Key::test(1_000_000 + invitation))
        }
        Act::Join { .. } => Ok(()),
        Act::Remove { by, who } => {
            let user = team.user(who);
            team.commit(team.user(by), vec![TeamEvent::MemberRemoved { user }], true)
        }
        Act::Leave { who } => team.commit(team.user(who), vec![TeamEvent::MemberLeft {}], false),
        Act::Role { by, who, role } => {
            let user = team.user(who);
            team.commit(team.user(by), vec![TeamEvent::RoleChanged { user, role }], false)
        }
        Act::Policy { by } => {
            let policy = Policy { max_epoch_age: 3600 };
            team.commit(team.user(by), vec![TeamEvent::PolicyChanged { policy }], false)
        }
        Act::Rename { by } => {
            let epoch = team.state().epoch().unwrap().number;
            team.commit(team.user(by), vec![TeamEvent::ProfileChanged { epoch, profile: sealed(256) }], false)
        }
        Act::Rotate { by } => team.commit(team.user(by), vec![], true),
        Act::AddDevice { who } => {
            *next_key += 1;
            let (user, now) = (team.user(who), team.now);
            let person = team.person_mut(user);
            person.now = now;
            let author = person.device().clone();
            person.add(&author, &Key::test(*next_key))
        }
        Act::RevokeDevice { who } => {
            let (user, now) = (team.user(who), team.now);
            let person = team.person_mut(user);
            person.now = now;
            let (author, oldest) = (person.device().clone(), person.devices[0].clone());
            person.revoke(&author, &oldest)
        }
        Act::Reset { who } => {
            *next_key += 1;
            let (user, now) = (team.user(who), team.now);
            let person = team.person_mut(user);
            person.now = now;
            person.reset(&Key::test(*next_key))
        }
        Act::Wait { seconds } => {
            team.now = team.now.plus(seconds);
            Ok(())
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_history_keeps_the_promises(acts in prop::collection::vec(act(), 1..40)) {
        let mut team = Team::founded(PEOPLE);
        let mut next_key = 500_000;
        for act in &acts {
            let (before, length) = (team.state().clone(), team.log.len());
            let world_changes = matches!(act, Act::AddDevice { .. } | Act::RevokeDevice { .. } | Act::Reset { .. });
            let verdict = perform(&mut team, act, &mut next_key);
            let state = team.state();
            if verdict.is_err() || world_changes {
                prop_assert_eq!(state, &before, "what is refused changes nothing");
                prop_assert_eq!(team.log.len(), length);
            }
            prop_assert!(state.members().values().any(|member| member.role == Role::Owner), "somebody owns it");
            prop_assert!(state.settled().is_ok(), "no rotation is left undone");
            let (epoch, earlier) = (state.epoch().unwrap(), before.epoch().unwrap());
            prop_assert!(epoch.number == earlier.number || epoch.number == earlier.number + 1);
            for gone in before.members().keys().filter(|user| !state.members().contains_key(user)) {
                let left = matches!(act, Act::Leave { .. });
                prop_assert!(left == (epoch.number == earlier.number), "only who leaves is not followed by a rotation");
                prop_assert!(!left || team.stale(), "and then nothing is shared until somebody rotates");
                prop_assert!(state.devices().all(|(user, _)| user != *gone));
            }
            if !team.stale() {
                let mut covered: Vec<DeviceId> = state.devices().map(|(_, device)| device).collect();
                let mut active: Vec<DeviceId> = state
                    .members()
                    .iter()
                    .map(|(user, member)| (&team.person(*user).log, member))
                    .filter(|(log, member)| log.identity() == Some(member.identity))
                    .flat_map(|(log, _)| log.active().map(|(device, _)| *device))
                    .collect();
                covered.sort_unstable();
                active.sort_unstable();
                prop_assert_eq!(covered, active, "a key is current only while it is sealed to exactly the active devices");
            }
        }
        prop_assert_eq!(&team.replayed().unwrap(), team.state(), "clients come to the service's state");
    }
}
