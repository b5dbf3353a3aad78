//! What holds after any history of a team, however people act.
#![allow(clippy::unwrap_used, clippy::arithmetic_side_effects, clippy::indexing_slicing, missing_docs)]
mod support;

use std::collections::BTreeSet;

use osmynt_core::DeviceId;
use osmynt_core::teamlog::{Role, TeamState};
use proptest::prelude::*;
use support::acts::{Act, act, config, perform};
use support::{Team, Then, follow};

proptest! {
    #![proptest_config(config(48))]

    #[test]
    fn any_history_keeps_the_promises(mut acts in prop::collection::vec(act(), 1..60), early: bool) {
        let mut team = if early { Team::founded(6) } else { Team::of_four() };
        acts.insert(0, Act::Rotate { by: 0 });
        let mut next_key = 500_000;
        for act in &acts {
            let (before, length) = (team.state().clone(), team.log.len());
            let verdict = perform(&mut team, act, &mut next_key);
            let state = team.state();
            if verdict.is_err() || act.changes_the_world() {
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
            for new in state.members().keys().filter(|user| !before.members().contains_key(user)) {
                prop_assert_eq!(state.members()[new].since_epoch, epoch.number, "who is new has no earlier key");
            }
            for (user, _) in state.pending(team.object_time()) {
                prop_assert!(!state.members().contains_key(&user), "who waits is no member");
                prop_assert!(state.devices().all(|(member, _)| member != user), "and has no key");
                prop_assert!(state.everyone().contains(&user));
            }
            let covered: Vec<DeviceId> = state.devices().map(|(_, device)| device).collect();
            prop_assert_eq!(covered.iter().collect::<BTreeSet<_>>().len(), covered.len(), "one device, one member");
            if !team.stale() {
                let logs = state.members().keys().map(|user| &team.person(*user).log);
                let active: Vec<DeviceId> = logs.flat_map(|log| log.active().map(|(device, _)| *device)).collect();
                prop_assert_eq!(covered, active, "a key is current only while it is sealed to exactly the active devices");
            }
            let stored = serde_json::to_string(state).unwrap();
            prop_assert_eq!(&serde_json::from_str::<TeamState>(&stored).unwrap(), state, "it can be stored");
        }
        prop_assert_eq!(&team.replayed().unwrap(), team.state(), "clients come to the service's state");
    }

    #[test]
    fn a_client_that_reads_now_and_then_comes_to_the_same_state(
        steps in prop::collection::vec((act(), any::<bool>()), 1..50)
    ) {
        let mut team = Team::of_four();
        let mut next_key = 500_000;
        let (mut client, mut read) = (None, 0);
        for (act, reads) in &steps {
            let _ = perform(&mut team, act, &mut next_key);
            if !reads {
                continue;
            }
            for (jws, received_at) in &team.log[read..] {
                client = Some(follow(client.as_ref(), jws, *received_at, &Then(&team.world)).unwrap());
            }
            read = team.log.len();
            prop_assert_eq!(client.as_ref(), team.state.as_ref());
        }
    }
}
