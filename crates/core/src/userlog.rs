//! The user log (section 3): which devices speak for a user, and since when.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

use crate::limits::DEVICES_PER_USER;
use crate::statement::{DeviceStatement, UserEntry};
use crate::{Code, DeviceId, Hash, Head, PublicKey, Refusal, Result, Time, Unverified, UserId, Verified};

/// What an entry of a user log can say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", deny_unknown_fields)]
pub enum UserEvent {
    /// A device begins to speak for the user. Signed by an active device, or by itself if it is the first.
    #[serde(rename = "device.added")]
    DeviceAdded {
        /// The device's own statement: an `osmynt-device+jws`.
        device: String,
    },
    /// A device no longer speaks for the user.
    #[serde(rename = "device.revoked")]
    DeviceRevoked {
        /// Which.
        device: DeviceId,
    },
    /// The user starts over with one new device, because every earlier one is lost.
    #[serde(rename = "identity.reset")]
    IdentityReset {
        /// The new device's own statement: an `osmynt-device+jws`.
        device: String,
    },
}

impl UserEvent {
    /// The statement of the device that the event adds, if it adds one.
    pub fn added_device(&self) -> Option<&str> {
        match self {
            Self::DeviceAdded { device } | Self::IdentityReset { device } => Some(device),
            Self::DeviceRevoked { .. } => None,
        }
    }
}

/// A device, as its user's log knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Its signing key.
    pub key: PublicKey,
    /// The identity that it belongs to.
    pub identity: Hash,
    /// Position of the entry that added it.
    pub added: u64,
    /// Position of the entry that revoked it.
    pub revoked: Option<u64>,
}

/// What a user log said at one of its heads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The user's identity.
    pub identity: Hash,
    /// The active devices, ascending.
    pub devices: Vec<DeviceId>,
}

/// A user log, verified from its first entry to its head.
#[derive(Debug, Clone)]
pub struct UserLog {
    user: UserId,
    hashes: Vec<Hash>,
    identities: Vec<(u64, Hash)>,
    devices: BTreeMap<DeviceId, Device>,
    received_at: Time,
}

impl UserLog {
    /// The empty log of a user.
    pub const fn new(user: UserId) -> Self {
        Self { user, hashes: Vec::new(), identities: Vec::new(), devices: BTreeMap::new(), received_at: Time(0) }
    }

    /// Appends an entry, or refuses it and stays as it was.
    ///
    /// `device` is the statement that stands inside an entry that adds a device. `received_at` is the service's
    /// time of receipt: now, for the service; what the service says it was, for a client.
    pub fn apply(
        &mut self,
        entry: &Verified<UserEntry>,
        device: Option<&Verified<DeviceStatement>>,
        received_at: Time,
    ) -> Result<()> {
        let said = entry.payload();
        if said.user != self.user {
            return Err(Refusal::invalid("the entry belongs to another user's log"));
        }
        if said.seq != self.next_seq() || said.prev != self.hashes.last().copied() {
            return Err(Refusal::new(Code::StaleLog, "the entry does not continue the user log; read it again"));
        }
        said.iat.check_claimed(received_at)?;
        if received_at < self.received_at {
            return Err(Refusal::new(Code::ClockSkew, "the entry is said to be received before the one before it"));
        }
        let author = DeviceId(entry.kid());
        match &said.event {
            UserEvent::DeviceAdded { device: statement } => {
                let (id, key) = self.new_device(statement, device)?;
                let identity = match self.identity() {
                    None if author == id => entry.hash(),
                    None => return Err(Refusal::forbidden("the first device adds itself")),
                    Some(identity) => {
                        self.check_active(author)?;
                        identity
                    }
                };
                if self.active().count() >= DEVICES_PER_USER {
                    return Err(Refusal::new(Code::TooLarge, "a user has at most 20 active devices; revoke one first"));
                }
                self.begin(said.seq, identity);
                self.devices.insert(id, Device { key, identity, added: said.seq, revoked: None });
            }
            UserEvent::DeviceRevoked { device } => {
                self.check_active(author)?;
                self.check_active(*device)?;
                if self.active().count() == 1 {
                    return Err(Refusal::new(Code::Conflict, "the last active device cannot be revoked"));
                }
                if let Some(device) = self.devices.get_mut(device) {
                    device.revoked = Some(said.seq);
                }
            }
            UserEvent::IdentityReset { device: statement } => {
                let (id, key) = self.new_device(statement, device)?;
                if self.hashes.is_empty() {
                    return Err(Refusal::invalid("a log begins with device.added"));
                }
                if author != id {
                    return Err(Refusal::forbidden("a reset is signed by the new device"));
                }
                for device in self.devices.values_mut() {
                    device.revoked = device.revoked.or(Some(said.seq));
                }
                self.begin(said.seq, entry.hash());
                self.devices.insert(id, Device { key, identity: entry.hash(), added: said.seq, revoked: None });
            }
        }
        self.hashes.push(entry.hash());
        self.received_at = received_at;
        Ok(())
    }

    /// The key that an entry must be signed with: that of the active device it names or, where a device speaks
    /// for itself, the key in its statement. `forbidden` when neither.
    pub fn author_key(&self, entry: &Unverified<UserEntry>) -> Result<PublicKey> {
        let author = DeviceId(entry.kid());
        if let Some(device) = self.devices.get(&author).filter(|device| device.revoked.is_none()) {
            return Ok(device.key);
        }
        let statement = entry.payload().event.added_device();
        let statement = statement.map(Unverified::<DeviceStatement>::parse).transpose()?;
        statement
            .filter(|statement| statement.kid() == entry.kid())
            .map(|statement| statement.payload().jwk)
            .ok_or_else(|| Refusal::forbidden("the entry is signed by a device that is not active in this log"))
    }

    /// Whose log it is.
    pub const fn user(&self) -> UserId {
        self.user
    }

    /// The last entry; none while the log is empty.
    pub fn head(&self) -> Option<Head> {
        let hash = *self.hashes.last()?;
        Some(Head { seq: self.next_seq().checked_sub(1)?, hash })
    }

    /// The user's identity: hash of the entry that it began with; none while the log is empty.
    pub fn identity(&self) -> Option<Hash> {
        self.identities.last().map(|(_, identity)| *identity)
    }

    /// Hash of the entry at a position.
    pub fn hash_at(&self, seq: u64) -> Option<Hash> {
        self.hashes.get(usize::try_from(seq).ok()?).copied()
    }

    /// A device that is or was in the log.
    pub fn device(&self, device: &DeviceId) -> Option<&Device> {
        self.devices.get(device)
    }

    /// Every device that is or was in the log, ascending.
    pub fn devices(&self) -> impl Iterator<Item = (&DeviceId, &Device)> {
        self.devices.iter()
    }

    /// The devices that speak for the user now, ascending.
    pub fn active(&self) -> impl Iterator<Item = (&DeviceId, &Device)> {
        self.devices.iter().filter(|(_, device)| device.revoked.is_none())
    }

    /// What the log said at one of its heads; none if this log never had that head.
    pub fn at(&self, head: Head) -> Option<Snapshot> {
        self.hash_at(head.seq).filter(|hash| *hash == head.hash)?;
        let (_, identity) = self.identities.iter().rev().find(|(since, _)| *since <= head.seq)?;
        let active =
            |device: &Device| device.added <= head.seq && device.revoked.is_none_or(|revoked| revoked > head.seq);
        let devices = self.devices.iter().filter(|(_, device)| active(device)).map(|(id, _)| *id).collect();
        Some(Snapshot { identity: *identity, devices })
    }

    fn next_seq(&self) -> u64 {
        self.hashes.len() as u64
    }

    fn begin(&mut self, seq: u64, identity: Hash) {
        if self.identity() != Some(identity) {
            self.identities.push((seq, identity));
        }
    }

    fn check_active(&self, device: DeviceId) -> Result<()> {
        match self.devices.get(&device) {
            Some(Device { revoked: None, .. }) => Ok(()),
            _ => Err(Refusal::forbidden("the device is not active in this log")),
        }
    }

    fn new_device(&self, text: &str, statement: Option<&Verified<DeviceStatement>>) -> Result<(DeviceId, PublicKey)> {
        let statement = statement
            .filter(|statement| statement.compact() == text)
            .ok_or_else(|| Refusal::new(Code::BadSignature, "the new device's own statement is missing"))?;
        let said = statement.payload();
        let id = DeviceId(said.jwk.thumbprint());
        if said.user != self.user || statement.kid() != id.0 {
            return Err(Refusal::invalid("the new device's statement is about another user or device"));
        }
        if self.devices.contains_key(&id) {
            return Err(Refusal::new(Code::Conflict, "this device was in the log before; make a new key"));
        }
        Ok((id, said.jwk))
    }
}
