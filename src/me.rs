//! The caller's own user: who they are, the log of their devices, and this device's prekey.

use std::collections::{BTreeMap, BTreeSet};

use osmynt_core::api::{AccountEventType, AppendToMyLog, AskErasure, Me, MyDevice, MyLog, RenewPrekey, UserLogHead};
use osmynt_core::limits::{DEVICES_PER_USER, ENTRIES_PER_COMMIT, PAGE, PAGE_BYTES};
use osmynt_core::statement::{DeviceStatement, PrekeyStatement, UserEntry};
use osmynt_core::userlog::{UserEvent, UserLog};
use osmynt_core::{Code, DeviceId, KeyId, Payload, PublicKey, Time, Unverified, UserId, Verified, api};
use worker::Response;

use crate::auth::{ActiveCaller, Caller, Speaker, in_no_log};
use crate::crypto::WebCrypto;
use crate::db::{Append, Asked, Before, ChangedDevice, Db, NewEntry, NewEvent, NewName, Withdrawn};
use crate::problem::Problem;
use crate::routes::{Call, now};

/// How long an append may take from its receipt until it is written.
const APPEND_SECONDS: u64 = 60;

/// `GET /v1/me`
pub(crate) async fn show(call: Call, caller: Caller) -> Result<Response, Problem> {
    let (other, erasures) = Db::open(&call.env)?.other_and_erasures(caller.account.id, call.now).await?;
    let (user, head) = caller.user.unzip();
    let device = MyDevice { id: caller.device, user, active: user.is_some() };
    let other = other.filter(|_| user.is_none());
    Ok(Response::from_json(&Me { account: caller.account, device, head, other, erasures })?)
}

// A page of a user log, prekeys included, is never larger than a page may be: so the number of entries is enough to cut by.
const _: () = assert!(PAGE * UserEntry::LIMIT + DEVICES_PER_USER * PrekeyStatement::LIMIT <= PAGE_BYTES);

/// `GET /v1/me/log`
pub(crate) async fn log(call: Call, caller: Caller) -> Result<Response, Problem> {
    let from = call.integer("from")?.unwrap_or(0);
    let page = match caller.user {
        Some((user, _)) => Db::open(&call.env)?.my_log(user, from, PAGE).await?,
        None => MyLog { entries: Vec::new(), head: None, name: None, prekeys: Vec::new() },
    };
    Ok(Response::from_json(&page)?)
}

/// `POST /v1/me/log`: all entries are taken, or none.
///
/// 1. 1 to 16 entries (`invalid-request`, `too-large`), each signed by the session's device (`forbidden`).
/// 2. Entries that the log has already, every one of them, are taken again and change nothing.
/// 3. There is an opening for each `name.signed` (`invalid-request`), with what GitHub gave for the account (`forbidden`).
/// 4. No device is or comes in two logs, and an account that has a user gets another only if that is wanted (`conflict`).
/// 5. Each entry continues the log and is allowed by its rules: [`UserLog::take`].
/// 6. There is exactly one signed prekey for each device that they add, signed by that device (`invalid-request`).
/// 7. No other append was faster (`stale-log`).
pub(crate) async fn append(mut call: Call, caller: Caller) -> Result<Response, Problem> {
    let body: AppendToMyLog = call.json().await?;
    // 1
    if body.entries.len() > ENTRIES_PER_COMMIT || body.prekeys.len() > ENTRIES_PER_COMMIT {
        return Err(Problem::new(
            Code::TooLarge,
            "Send at most 16 entries at once, with a prekey for each new device.",
        ));
    }
    let entries = body.entries.iter().map(|jws| Unverified::<UserEntry>::parse(jws)).collect::<Result<Vec<_>, _>>()?;
    let first = entries.first().ok_or_else(|| Problem::new(Code::InvalidRequest, "Send at least one entry."))?;
    if entries.iter().any(|entry| DeviceId(entry.kid()) != caller.device) {
        return Err(Problem::new(Code::Forbidden, "Sign every entry with the device that is signed in."));
    }
    let founding = first.payload().user.is_none();
    let user = match caller.user {
        _ if founding => UserId(first.hash()),
        Some((user, _)) => user,
        None => return Err(in_no_log()),
    };
    let added = added_devices(&entries)?;
    // 2
    let db = Db::open(&call.env)?;
    let Before { log, others, foreign } = db.before_append(caller.account.id, user, &ids(&added)).await?;
    let stored = log.iter().map(|row| (row.jws.as_str(), row.received_at));
    let mut log =
        UserLog::restore(stored).map_err(|_| Problem::internal("a user log that was taken is refused now"))?;
    if entries.iter().all(|entry| log.hash_at(entry.payload().seq) == Some(entry.hash())) {
        return Ok(Response::from_json(&head(&log)?)?);
    }
    // 3
    let name = last_name(&body, &entries, user, &caller.account)?;
    // 4
    if founding && caller.user.is_some() {
        let detail = "This device is in a user log already, and cannot found another. To begin anew, make new keys: \
                      `osmynt logout --erase`, then sign in again.";
        return Err(Problem::new(Code::Conflict, detail));
    }
    if let Some(device) = foreign {
        let detail = format!(
            "The device {device} is in another user's log, and a device belongs to one user for ever. Make new keys \
             there: `osmynt logout --erase`, then sign in again."
        );
        return Err(Problem::new(Code::Conflict, detail));
    }
    if founding && others && !body.start_over {
        let detail = "This account has a user. Have one of that user's devices add this one; or, if you have none of them \
                      any more, start over as another user: `start_over`.";
        return Err(Problem::new(Code::Conflict, detail));
    }
    // 5
    let before = log.head().map(|head| head.hash);
    let known: BTreeMap<DeviceId, bool> = log.devices().map(|(id, device)| (*id, device.revoked.is_some())).collect();
    // The clock of the service may step back between two appends; receipt times may not.
    let received_at = log.received_at().map_or(call.now, |last| call.now.max(last));
    let mut taken = Vec::with_capacity(entries.len());
    for statement in &added {
        statement.payload().iat.check_claimed(received_at)?;
    }
    for jws in &body.entries {
        taken.push(log.take(jws, received_at, &WebCrypto).await?);
    }
    // 6
    let added = log.devices().filter(|(id, _)| !known.contains_key(id)).map(|(id, device)| (*id, device.key)).collect();
    let prekeys = prekeys(&body.prekeys, user, &added, received_at).await?;
    // 7
    let entries = taken.iter().map(|entry| NewEntry { seq: entry.payload().seq, jws: entry.compact(), received_at });
    let changed = log.devices().filter(|(id, device)| known.get(id) != Some(&device.revoked.is_some()));
    let devices = changed.map(|(id, device)| {
        let prekey = prekeys.get(id).filter(|_| device.revoked.is_none());
        ChangedDevice {
            device: *id,
            jwk: device.key,
            added: device.added.seq,
            revoked: device.revoked.map(|revoked| revoked.seq),
            prekey: prekey.map(Verified::compact),
            prekey_id: prekey.map(|prekey| KeyId(prekey.payload().key.thumbprint())),
            prekey_iat: prekey.map(|prekey| prekey.payload().iat),
        }
    });
    let log_head = head(&log)?;
    let started_over = NewEvent { r#type: AccountEventType::StartedOver, device: caller.device };
    let append = Append {
        account: caller.account.id,
        user,
        before,
        start_over: body.start_over,
        entries: entries.collect(),
        head: log_head.head,
        devices: devices.collect(),
        name,
        events: (founding && others)
            .then_some(started_over)
            .into_iter()
            .chain(taken.iter().filter_map(event))
            .collect(),
        now: received_at,
    };
    // Readers would take an entry that comes into being long after its receipt time for one that was kept from them.
    if now().since(call.now) > APPEND_SECONDS {
        let detail = "The service was too slow. Retry in a moment.";
        return Err(Problem::unavailable(detail, "an append took too long"));
    }
    if !db.append(&append).await? {
        return Err(Problem::new(Code::StaleLog, "Another device was faster. Read the log again, rebuild, retry."));
    }
    Ok(Response::from_json(&log_head)?)
}

/// `PUT /v1/me/prekey`: replaces this device's signed prekey. Refused with `conflict` if the present one was signed later.
pub(crate) async fn renew_prekey(mut call: Call, active: ActiveCaller) -> Result<Response, Problem> {
    let ActiveCaller { caller, user } = active;
    let RenewPrekey { prekey } = call.json().await?;
    let prekey = Unverified::parse(&prekey)?;
    if DeviceId(prekey.kid()) != caller.device {
        return Err(Problem::new(Code::Forbidden, "Sign the prekey with the device that is signed in."));
    }
    let prekey = check_prekey(prekey, user, &caller.key, call.now).await?;
    let said = prekey.payload();
    let key = KeyId(said.key.thumbprint());
    if !Db::open(&call.env)?.renew_prekey(caller.device, prekey.compact(), key, said.iat).await? {
        let detail = "The present prekey was signed later than this one. Sign a new one; if this one is new, set this \
                      machine's clock.";
        return Err(Problem::new(Code::Conflict, detail));
    }
    Ok(Response::empty()?.with_status(204))
}

/// `POST /v1/me/erasures`: a former user of the account is to be erased.
pub(crate) async fn ask_erasure(mut call: Call, active: ActiveCaller) -> Result<Response, Problem> {
    let ActiveCaller { caller, user: by } = active;
    let AskErasure { user } = call.json().await?;
    match Db::open(&call.env)?.ask_erasure(caller.account.id, by, caller.device, user, call.now).await? {
        Asked::Erasure(erasure) => Ok(Response::from_json(&erasure)?),
        Asked::NotPresent => {
            let detail = "Ask with a device of the account's present user: the one that was founded last.";
            Err(Problem::new(Code::Forbidden, detail))
        }
        Asked::NotFormer => {
            let detail = "No former user of this account has this id.";
            Err(Problem::new(Code::NotFound, detail))
        }
    }
}

/// `DELETE /v1/me/erasures/{user}`: one of the devices objects, or the one who asked withdraws. A device needs no session for
/// that, as only GitHub opens another, and the account there may be somebody else's by now.
pub(crate) async fn withdraw_erasure(call: Call, speaker: Speaker) -> Result<Response, Problem> {
    let Speaker { account, user: by, device } = speaker;
    let user: UserId = call.param("user").map_err(|_| Problem::not_found())?;
    match Db::open(&call.env)?.withdraw_erasure(account, by, device, user, call.now).await? {
        Withdrawn::Done => Ok(Response::empty()?.with_status(204)),
        Withdrawn::TooLate => Err(Problem::new(Code::Gone, "The erasure is due, and cannot be stopped any more.")),
        Withdrawn::NotOwn => {
            let detail = "Use a device of the user who is to be erased, or of the one who asked for it.";
            Err(Problem::new(Code::Forbidden, detail))
        }
        Withdrawn::Stranger => Err(Problem::not_found()),
    }
}

/// The statements of the devices that entries add. Nothing of it is verified.
fn added_devices(entries: &[Unverified<UserEntry>]) -> Result<Vec<Unverified<DeviceStatement>>, Problem> {
    let statements = entries.iter().filter_map(|entry| entry.payload().event.added_device());
    Ok(statements.map(Unverified::parse).collect::<Result<_, _>>()?)
}

fn ids(statements: &[Unverified<DeviceStatement>]) -> Vec<DeviceId> {
    statements.iter().map(|statement| DeviceId(statement.kid())).collect()
}

/// What the last `name.signed` opens to, if there is one and the account vouches for each.
fn last_name<'a>(
    body: &'a AppendToMyLog,
    entries: &[Unverified<UserEntry>],
    user: UserId,
    account: &api::Account,
) -> Result<Option<NewName<'a>>, Problem> {
    let signed = entries.iter().map(Unverified::payload).filter_map(|entry| match entry.event {
        UserEvent::NameSigned { commitment } => Some((entry.seq, commitment)),
        _ => None,
    });
    let signed: Vec<_> = signed.collect();
    if signed.len() != body.names.len() {
        let detail = "Send what each name.signed opens to, in their order, in `names`.";
        return Err(Problem::new(Code::InvalidRequest, detail));
    }
    let mut last = None;
    for ((seq, commitment), name) in signed.into_iter().zip(&body.names) {
        if !name.opens(user, commitment)? {
            let detail = "A name does not match the commitment in its name.signed. Sign it again.";
            return Err(Problem::new(Code::InvalidRequest, detail));
        }
        if name.id != account.github_id || name.login != account.login {
            let detail = "A name is not the one that GitHub gave at the last sign-in. If your login at GitHub has changed, \
                          sign in again, then sign the name.";
            return Err(Problem::new(Code::Forbidden, detail));
        }
        last = Some(NewName { seq, name });
    }
    Ok(last)
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
        return Err(Problem::new(Code::InvalidRequest, "The prekey names another user: name the one that it is for."));
    }
    said.iat.check_claimed(received_at)?;
    prekey.verify(key, &WebCrypto).await
}

/// What an entry means for the account.
fn event(entry: &Verified<UserEntry>) -> Option<NewEvent> {
    let added = |device: &str| Unverified::<DeviceStatement>::parse(device).ok().map(|device| DeviceId(device.kid()));
    let (r#type, device) = match &entry.payload().event {
        UserEvent::DeviceAdded { device } => (AccountEventType::DeviceAdded, added(device)?),
        UserEvent::DeviceRevoked { device } => (AccountEventType::DeviceRevoked, *device),
        UserEvent::NameSigned { .. } => return None,
    };
    Some(NewEvent { r#type, device })
}

fn head(log: &UserLog) -> Result<UserLogHead, Problem> {
    let head = log.user().zip(log.head());
    let (user, head) = head.ok_or_else(|| Problem::internal("a log that has entries has no head"))?;
    Ok(UserLogHead { user, head })
}
