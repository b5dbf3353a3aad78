//! The members' devices as D1 has them at one moment: the service's answer to what the rules of the log ask.

use std::collections::{BTreeMap, BTreeSet};

use osmynt_core::teamlog::Directory;
use osmynt_core::userlog::{Device, Mark, Snapshot};
use osmynt_core::{DeviceId, Head, KeyId, PublicKey, TeamId, UserId};
use worker::Env;

use super::requests::Asker;
use crate::db::Db;
use crate::problem::Problem;

/// Who has which devices, and which of them speaks.
pub(super) struct CurrentDevices {
    users: BTreeMap<UserId, (Head, Vec<DeviceId>)>,
    prekeys: BTreeSet<(DeviceId, KeyId)>,
    asker: Asker,
    /// The asker's device, if it is active.
    speaker: Option<Device>,
}

impl CurrentDevices {
    /// Reads them in one round trip. `key` is that of the asker's device. If the asker is about to be in a team, `joins` is
    /// that team.
    pub(super) async fn read(
        env: &Env,
        users: &[UserId],
        asker: Asker,
        key: PublicKey,
        joins: Option<TeamId>,
    ) -> Result<Self, Problem> {
        let joins = joins.map(|team| (asker.user, team));
        let mut current = Self { users: BTreeMap::new(), prekeys: BTreeSet::new(), asker, speaker: None };
        for row in Db::open(env)?.active_devices(users, asker.device, joins).await? {
            let (_, devices) = current.users.entry(row.user).or_insert((row.head(), Vec::new()));
            devices.extend(row.device);
            current.prekeys.extend(row.device.zip(row.prekey_id));
            if row.user == asker.user && row.device == Some(asker.device) {
                let added = row.added_seq.zip(row.added_at).map(|(seq, at)| Mark { seq, at });
                current.speaker = added.map(|added| Device { key, added, revoked: None });
            }
        }
        Ok(current)
    }
}

impl Directory for CurrentDevices {
    /// Only for the device that signed what is being decided on: the rules ask for no other.
    fn device(&self, user: UserId, device: DeviceId) -> Option<Device> {
        self.speaker.filter(|_| user == self.asker.user && device == self.asker.device)
    }

    fn head(&self, user: UserId) -> Option<Head> {
        self.users.get(&user).map(|(head, _)| *head)
    }

    fn at(&self, user: UserId, seq: u64) -> Option<Snapshot> {
        let (head, devices) = self.users.get(&user).filter(|(head, _)| head.seq == seq)?;
        Some(Snapshot { hash: head.hash, devices: devices.clone(), replaced_at: None })
    }

    fn has_prekey(&self, device: DeviceId, prekey: KeyId) -> bool {
        self.prekeys.contains(&(device, prekey))
    }
}
