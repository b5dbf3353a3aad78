//! The members' devices as D1 has them at one moment: the service's answer to what the rules of the log ask.

use std::collections::BTreeMap;

use osmynt_core::teamlog::{DeviceSpan, Directory};
use osmynt_core::userlog::Snapshot;
use osmynt_core::{DeviceId, Head, PublicKey, TeamId, UserId};
use worker::Env;

use super::requests::Asker;
use crate::db::Db;
use crate::problem::Problem;

/// Who has which devices, and which of them speaks.
pub(super) struct CurrentDevices {
    users: BTreeMap<UserId, (Head, Snapshot)>,
    speaker: DeviceId,
    key: PublicKey,
}

impl CurrentDevices {
    /// Reads them in one round trip. `key` is that of the asker's device. If the asker is about to be a member of a team,
    /// `joins` is that team.
    pub(super) async fn read(
        env: &Env,
        users: &[UserId],
        asker: Asker,
        key: PublicKey,
        joins: Option<TeamId>,
    ) -> Result<Self, Problem> {
        let joins = joins.map(|team| (asker.user, team));
        let mut current: BTreeMap<UserId, (Head, Snapshot)> = BTreeMap::new();
        for row in Db::open(env)?.active_devices(users, joins).await? {
            let snapshot = Snapshot { identity: row.identity, devices: Vec::new() };
            let (_, snapshot) = current.entry(row.user).or_insert((row.head(), snapshot));
            snapshot.devices.extend(row.device);
        }
        Ok(Self { users: current, speaker: asker.device, key })
    }
}

impl Directory for CurrentDevices {
    /// Only for the device that signed what is being decided on: the rules ask for no other.
    fn device(&self, user: UserId, device: DeviceId) -> Option<DeviceSpan> {
        let (_, now) = self.users.get(&user)?;
        (device == self.speaker && now.devices.contains(&device)).then_some(DeviceSpan {
            key: self.key,
            identity: now.identity,
            revoked: None,
        })
    }

    fn at(&self, user: UserId, head: Head) -> Option<Snapshot> {
        self.users.get(&user).filter(|(current, _)| *current == head).map(|(_, now)| now.clone())
    }
}
