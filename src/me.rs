//! The caller's own account: who they are, the log of their devices, and this device's prekey.

use std::collections::{BTreeMap, BTreeSet};

use osmynt_core::api::{AccountEventType, AppendToMyLog, Me, MyDevice, MyLog, RenewPrekey, UserLogHead};
use osmynt_core::limits::{ENTRIES_PER_COMMIT, PAGE};
use osmynt_core::statement::{DeviceStatement, PrekeyStatement, UserEntry};
use osmynt_core::userlog::{UserEvent, UserLog};
use osmynt_core::{Code, DeviceId, PublicKey, Time, Unverified, UserId, Verified};
use worker::Response;

use crate::auth::Caller;
use crate::crypto;
use crate::db::{Append, ChangedDevice, Db, LogRow, NewEntry, NewEvent};
use crate::problem::Problem;
use crate::routes::Call;

/// `GET /v1/me`
pub(crate) async fn show(_call: Call, caller: Caller) -> Result<Response, Problem> {
    let device = MyDevice { id: caller.device, active: caller.active };
    Ok(Response::from_json(&Me { user: caller.profile, device, log: caller.log })?)
}

/// `GET /v1/me/log`
pub(crate) async fn log(call: Call, caller: Caller) -> Result<Response, Problem> {
    let from = call.integer("from")?.unwrap_or(0);
    let rows = Db::open(&call.env)?.log(caller.user, from, PAGE).await?;
    let entries = rows.into_iter().map(Into::into).collect();
    Ok(Response::from_json(&MyLog { entries, head: caller.log.map(|log| log.head) })?)
}

/// `POST /v1/me/log`: all entries are taken, or none.
///
/// 1. 1 to 16 entries (`invalid-request`, `too-large`), each signed by the session's device (`forbidden`).
/// 2. Entries that the log has already, every one of them, are taken again and change nothing.
/// 3. Each entry continues the log and is allowed by its rules: [`UserLog::apply`].
/// 4. There is exactly one signed prekey for each device that they add, signed by that device (`invalid-request`).
/// 5. No other append was faster (`stale-log`).
pub(crate) async fn append(mut call: Call, caller: Caller) -> Result<Response, Problem> {
    let body: AppendToMyLog = call.json().await?;
    // 1
    if body.entries.is_empty() {
        return Err(Problem::new(Code::InvalidRequest, "Send at least one entry."));
    }
    if body.entries.len() > ENTRIES_PER_COMMIT || body.prekeys.len() > ENTRIES_PER_COMMIT {
        return Err(Problem::new(Code::TooLarge, "Send at most 16 entries at once."));
    }
    let entries = body.entries.iter().map(|jws| Unverified::<UserEntry>::parse(jws)).collect::<Result<Vec<_>, _>>()?;
    if entries.iter().any(|entry| DeviceId(entry.kid()) != caller.device) {
        return Err(Problem::new(Code::Forbidden, "Every entry must be signed by the device that is signed in."));
    }
    let db = Db::open(&call.env)?;
    let (mut log, last_received) = replay(caller.user, db.log(caller.user, 0, usize::MAX).await?)?;
    // 2
    if entries.iter().all(|entry| log.hash_at(entry.payload().seq) == Some(entry.hash())) {
        return Ok(Response::from_json(&head(&log)?)?);
    }
    // 3
    let before: BTreeMap<DeviceId, Option<u64>> = log.devices().map(|(id, device)| (*id, device.revoked)).collect();
    // The clock of the service may step back between two appends; receipt times may not.
    let received_at = call.now.max(last_received);
    let mut taken = Vec::with_capacity(entries.len());
    for entry in entries {
        let entry = take(&mut log, entry, received_at).await?;
        taken.push(entry);
    }
    // 4
    let added =
        log.devices().filter(|(id, _)| !before.contains_key(id)).map(|(id, device)| (*id, device.key)).collect();
    let prekeys = prekeys(&body.prekeys, caller.user, &added, received_at).await?;
    // 5
    let entries = taken.iter().map(|entry| NewEntry { seq: entry.payload().seq, jws: entry.compact(), received_at });
    let devices = log.devices().filter(|(id, device)| before.get(id) != Some(&device.revoked)).map(|(id, device)| {
        let prekey = prekeys.get(id).filter(|_| device.revoked.is_none());
        ChangedDevice {
            device: *id,
            jwk: device.key,
            added: device.added,
            revoked: device.revoked,
            prekey: prekey.map(Verified::compact),
            prekey_iat: prekey.map(|prekey| prekey.payload().iat),
        }
    });
    let log = head(&log)?;
    let append = Append {
        user: caller.user,
        entries: entries.collect(),
        log: log.clone(),
        devices: devices.collect(),
        events: taken.iter().filter_map(event).collect(),
        now: received_at,
    };
    if !db.append(&append).await? {
        return Err(Problem::new(Code::StaleLog, "Another device was faster. Read the log again, rebuild, retry."));
    }
    Ok(Response::from_json(&log)?)
}

/// `PUT /v1/me/prekey`: replaces this device's signed prekey. Refused with `conflict` if the present one was signed later.
pub(crate) async fn renew_prekey(mut call: Call, caller: Caller) -> Result<Response, Problem> {
    let RenewPrekey { prekey } = call.json().await?;
    let prekey = Unverified::parse(&prekey)?;
    if DeviceId(prekey.kid()) != caller.device {
        return Err(Problem::new(Code::Forbidden, "A prekey must be signed by the device that is signed in."));
    }
    let prekey = check_prekey(prekey, caller.user, &caller.key, call.now).await?;
    let iat = prekey.payload().iat;
    if !Db::open(&call.env)?.renew_prekey(caller.user, caller.device, prekey.compact(), iat).await? {
        return Err(Problem::new(Code::Conflict, "The present prekey was signed later than this one."));
    }
    Ok(Response::empty()?.with_status(204))
}

/// The log as it stands. Its entries were verified when they were taken, and are not again: replaying the rules is cheap,
/// signatures are not.
fn replay(user: UserId, rows: Vec<LogRow>) -> Result<(UserLog, Time), Problem> {
    let corrupt = |_| Problem::internal("a user log that was taken is refused now");
    let mut log = UserLog::new(user);
    let mut last_received = Time(0);
    for LogRow { jws, received_at } in rows {
        let entry = Unverified::<UserEntry>::parse(&jws).map_err(corrupt)?;
        let key = log.author_key(&entry).map_err(corrupt)?;
        let entry = entry.verified(&key, true).map_err(corrupt)?;
        let device = entry.payload().event.added_device().map(Unverified::<DeviceStatement>::parse).transpose();
        let device = device.map_err(corrupt)?.map(|device| {
            let key = device.payload().jwk;
            device.verified(&key, true)
        });
        let device = device.transpose().map_err(corrupt)?;
        log.apply(&entry, device.as_ref(), received_at).map_err(corrupt)?;
        last_received = received_at;
    }
    Ok((log, last_received))
}

/// Verifies an entry, and the statement of the device that it adds, and appends it.
async fn take(
    log: &mut UserLog,
    entry: Unverified<UserEntry>,
    received_at: Time,
) -> Result<Verified<UserEntry>, Problem> {
    let key = log.author_key(&entry)?;
    let entry = crypto::verify(entry, &key).await?;
    let device = match entry.payload().event.added_device() {
        Some(statement) => {
            let statement = Unverified::<DeviceStatement>::parse(statement)?;
            statement.payload().iat.check_claimed(received_at)?;
            let key = statement.payload().jwk;
            Some(crypto::verify(statement, &key).await?)
        }
        None => None,
    };
    log.apply(&entry, device.as_ref(), received_at)?;
    Ok(entry)
}

/// The signed prekeys of the devices that an append adds: one for each and no other.
async fn prekeys(
    sent: &[String],
    user: UserId,
    added: &BTreeMap<DeviceId, PublicKey>,
    received_at: Time,
) -> Result<BTreeMap<DeviceId, Verified<PrekeyStatement>>, Problem> {
    let sent = sent.iter().map(|jws| Unverified::parse(jws)).collect::<Result<Vec<_>, _>>()?;
    let signers: BTreeSet<DeviceId> = sent.iter().map(|prekey| DeviceId(prekey.kid())).collect();
    if sent.len() != added.len() || !signers.iter().eq(added.keys()) {
        let detail = "Send exactly one signed prekey for each device that the entries add, signed by that device.";
        return Err(Problem::new(Code::InvalidRequest, detail));
    }
    let mut prekeys = BTreeMap::new();
    for prekey in sent {
        let device = DeviceId(prekey.kid());
        if let Some(key) = added.get(&device) {
            prekeys.insert(device, check_prekey(prekey, user, key, received_at).await?);
        }
    }
    Ok(prekeys)
}

async fn check_prekey(
    prekey: Unverified<PrekeyStatement>,
    user: UserId,
    key: &PublicKey,
    received_at: Time,
) -> Result<Verified<PrekeyStatement>, Problem> {
    let said = prekey.payload();
    if said.user != user {
        return Err(Problem::new(Code::InvalidRequest, "The prekey is said to be another user's."));
    }
    said.iat.check_claimed(received_at)?;
    crypto::verify(prekey, key).await
}

/// What an entry means for the account.
fn event(entry: &Verified<UserEntry>) -> Option<NewEvent> {
    let added = |device: &str| Unverified::<DeviceStatement>::parse(device).ok().map(|device| DeviceId(device.kid()));
    let (r#type, device) = match &entry.payload().event {
        UserEvent::DeviceAdded { device } => (AccountEventType::DeviceAdded, added(device)?),
        UserEvent::IdentityReset { device } => (AccountEventType::IdentityReset, added(device)?),
        UserEvent::DeviceRevoked { device } => (AccountEventType::DeviceRevoked, *device),
    };
    Some(NewEvent { r#type, device })
}

fn head(log: &UserLog) -> Result<UserLogHead, Problem> {
    let head = log.head().zip(log.identity());
    let (head, identity) = head.ok_or_else(|| Problem::internal("a log that has entries has no head"))?;
    Ok(UserLogHead { head, identity })
}
