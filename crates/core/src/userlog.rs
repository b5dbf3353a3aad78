//! The user log (section 3): which devices speak for a user, and since when.
//!
//! A user is a log: their id is the hash of its first entry. Whoever loses every device begins another log and is another
//! user, for everybody.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

use crate::jws::Verifier;
use crate::limits::{DEVICES_PER_USER, RESERVED_FOR_REVOCATIONS, USER_LOG_ENTRIES};
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
    /// The user says what they are called from now on.
    #[serde(rename = "name.signed")]
    NameSigned {
        /// See [`Name::commitment`](crate::names::Name::commitment).
        commitment: Hash,
    },
}

impl UserEvent {
    /// The statement of the device that the event adds, if it adds one.
    pub fn added_device(&self) -> Option<&str> {
        match self {
            Self::DeviceAdded { device } => Some(device),
            Self::DeviceRevoked { .. } | Self::NameSigned { .. } => None,
        }
    }
}

/// An entry of a user log that something began or ended with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// Its position.
    pub seq: u64,
    /// When it was received.
    pub at: Time,
}

/// A device, as its user's log knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Device {
    /// Its signing key.
    pub key: PublicKey,
    /// The entry that added it.
    pub added: Mark,
    /// The entry that revoked it.
    pub revoked: Option<Mark>,
}

impl Device {
    /// Whether the device spoke for its user when something was received, up to the tolerance between clocks.
    pub fn speaks_at(&self, received_at: Time) -> bool {
        self.added.at.is_by(received_at) && self.revoked.is_none_or(|revoked| received_at.is_by(revoked.at))
    }
}

/// What a user log said when some entry was its last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The hash of that entry.
    pub hash: Hash,
    /// The active devices, ascending.
    pub devices: Vec<DeviceId>,
    /// When the next entry was received; none if that entry is the last.
    pub replaced_at: Option<Time>,
}

/// A user log, verified from its first entry to its head.
#[derive(Debug, Clone, Default)]
pub struct UserLog {
    user: Option<UserId>,
    entries: Vec<(Hash, Time)>,
    devices: BTreeMap<DeviceId, Device>,
    name: Option<Hash>,
}

impl UserLog {
    /// The empty log of somebody who will have an id with the first entry.
    pub fn new() -> Self {
        Self::default()
    }

    /// Parses an entry, verifies its signature and that of the device statement inside, and appends it; or refuses it and
    /// stays as it was. What costs nothing is checked first.
    ///
    /// `received_at` is the service's time of receipt: now, for the service; what the service says it was, for a client,
    /// which checks it with a [`Window`](crate::time::Window).
    pub async fn take<V: Verifier>(
        &mut self,
        jws: &str,
        received_at: Time,
        verifier: &V,
    ) -> Result<Verified<UserEntry>, V::Error> {
        let entry = Unverified::<UserEntry>::parse(jws)?;
        self.check_place(entry.payload(), received_at)?;
        let key = self.author_key(&entry)?;
        let entry = entry.verify(&key, verifier).await?;
        let device = match entry.payload().event.added_device() {
            Some(statement) => {
                let statement = Unverified::<DeviceStatement>::parse(statement)?;
                let key = statement.payload().jwk;
                Some(statement.verify(&key, verifier).await?)
            }
            None => None,
        };
        self.apply(&entry, device.as_ref(), received_at)?;
        Ok(entry)
    }

    /// A log as it was stored, entry by entry with its time of receipt, after each was taken: only for storage that nobody
    /// else writes to.
    pub fn restore<'a>(entries: impl IntoIterator<Item = (&'a str, Time)>) -> Result<Self> {
        let mut log = Self::new();
        for (jws, received_at) in entries {
            let entry = Verified::<UserEntry>::stored(jws)?;
            let device = entry.payload().event.added_device().map(Verified::<DeviceStatement>::stored).transpose()?;
            log.apply(&entry, device.as_ref(), received_at)?;
        }
        Ok(log)
    }

    /// Appends a verified entry, or refuses it and stays as it was. `device` is the verified statement that stands inside
    /// an entry that adds a device.
    fn apply(
        &mut self,
        entry: &Verified<UserEntry>,
        device: Option<&Verified<DeviceStatement>>,
        received_at: Time,
    ) -> Result<()> {
        let said = entry.payload();
        self.check_place(said, received_at)?;
        let author = DeviceId(entry.kid());
        let mark = Mark { seq: said.seq, at: received_at };
        match &said.event {
            UserEvent::DeviceAdded { device: statement } => {
                let (id, key) = self.new_device(statement, device)?;
                if self.entries.is_empty() {
                    if author != id {
                        return Err(Refusal::forbidden("the first device adds itself"));
                    }
                } else {
                    self.check_active(author)?;
                }
                if self.active().count() >= DEVICES_PER_USER {
                    return Err(Refusal::new(Code::TooLarge, "a user has at most 20 active devices; revoke one first"));
                }
                self.devices.insert(id, Device { key, added: mark, revoked: None });
            }
            UserEvent::DeviceRevoked { device } => {
                self.check_active(author)?;
                self.check_active(*device)?;
                if self.active().count() == 1 {
                    return Err(Refusal::new(Code::Conflict, "the last active device cannot be revoked"));
                }
                if let Some(device) = self.devices.get_mut(device) {
                    device.revoked = Some(mark);
                }
            }
            UserEvent::NameSigned { commitment } => {
                self.check_active(author)?;
                self.name = Some(*commitment);
            }
        }
        self.user = self.user.or(Some(UserId(entry.hash())));
        self.entries.push((entry.hash(), received_at));
        Ok(())
    }

    /// The key that an entry must be signed with: that of the active device it names or, for the first entry, the key in
    /// the statement of the device that founds the log. `forbidden` when neither.
    fn author_key(&self, entry: &Unverified<UserEntry>) -> Result<PublicKey> {
        let author = DeviceId(entry.kid());
        let stranger = || Refusal::forbidden("the entry is signed by a device that is not active in this log");
        if !self.entries.is_empty() {
            return self
                .devices
                .get(&author)
                .filter(|device| device.revoked.is_none())
                .map(|device| device.key)
                .ok_or_else(stranger);
        }
        let statement = entry.payload().event.added_device().ok_or_else(begins_with_a_device)?;
        let statement = Unverified::<DeviceStatement>::parse(statement)?;
        if statement.kid() == entry.kid() { Ok(statement.payload().jwk) } else { Err(stranger()) }
    }

    /// Whose log it is; none while it is empty.
    pub const fn user(&self) -> Option<UserId> {
        self.user
    }

    /// The last entry; none while the log is empty.
    pub fn head(&self) -> Option<Head> {
        let (hash, _) = *self.entries.last()?;
        Some(Head { seq: self.next_seq().checked_sub(1)?, hash })
    }

    /// When the last entry was received; none while the log is empty.
    pub fn received_at(&self) -> Option<Time> {
        self.entries.last().map(|(_, received_at)| *received_at)
    }

    /// Hash of the entry at a position.
    pub fn hash_at(&self, seq: u64) -> Option<Hash> {
        self.entries.get(usize::try_from(seq).ok()?).map(|(hash, _)| *hash)
    }

    /// The commitment to the user's name that was signed last.
    pub const fn name(&self) -> Option<Hash> {
        self.name
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

    /// What the log said when the entry at a position was its last; none if it never had so many.
    pub fn at(&self, seq: u64) -> Option<Snapshot> {
        let hash = self.hash_at(seq)?;
        let next = usize::try_from(seq.checked_add(1)?).ok()?;
        let active =
            |device: &Device| device.added.seq <= seq && device.revoked.is_none_or(|revoked| revoked.seq > seq);
        let devices = self.devices.iter().filter(|(_, device)| active(device)).map(|(id, _)| *id).collect();
        Some(Snapshot { hash, devices, replaced_at: self.entries.get(next).map(|(_, received_at)| *received_at) })
    }

    fn next_seq(&self) -> u64 {
        self.entries.len() as u64
    }

    /// What can be refused without looking at a signature.
    fn check_place(&self, said: &UserEntry, received_at: Time) -> Result<()> {
        if said.user != self.user {
            return Err(Refusal::invalid("the entry belongs to another user's log"));
        }
        if said.seq != self.next_seq() || said.prev != self.entries.last().map(|(hash, _)| *hash) {
            return Err(Refusal::new(Code::StaleLog, "the entry does not continue the user log; read it again"));
        }
        if self.entries.is_empty() && said.event.added_device().is_none() {
            return Err(begins_with_a_device());
        }
        said.iat.check_claimed(received_at)?;
        if self.received_at().is_some_and(|last| received_at < last) {
            return Err(Refusal::new(Code::ClockSkew, "the entry is said to be received before the one before it"));
        }
        let reserved = if matches!(said.event, UserEvent::DeviceRevoked { .. }) { 0 } else { RESERVED_FOR_REVOCATIONS };
        if self.entries.len() >= USER_LOG_ENTRIES.saturating_sub(reserved) {
            return Err(Refusal::new(Code::TooLarge, "this user log is full; only revocations have room"));
        }
        Ok(())
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

fn begins_with_a_device() -> Refusal {
    Refusal::invalid("a user log begins with device.added")
}
