// Section 3 of docs/protocol.md: a user's log, verified from its first entry, and the name that it signs.

import { b64u, bytes, hashOf, integer, labelled, literal, login, object, randomBytes, require, utf8 } from "./encodings.mjs";
import { CLOCK_SKEW, DEVICES_PER_USER, USER_LOG_ENTRIES, USER_LOG_RESERVED } from "./limits.mjs";
import { openSelfSigned, parse, parsePrekey, verify } from "./statements.mjs";

export class UserLog {
  /** The user id: the hash of the first entry, null before there is one. */
  user = null;
  /** Hash and receipt time of each entry. */
  entries = [];
  /**
   * By device id: `{ id, jwk, added, addedAt, revoked, revokedAt }`: the `seq` and the receipt time of what added and revoked
   * it, the latter two null while it is active.
   */
  devices = new Map();
  /** What the last `name.signed` commits to, if there is one. */
  commitment = null;

  /** The verified log of `user` from the entries of an answer: `[{ jws, received_at }]`. */
  static async read(user, entries, window = ANY_TIME) {
    const log = new UserLog();
    for (const { jws, received_at } of entries) await log.append(jws, received_at, window);
    require(log.user === user, "invalid-request", "the log of another user");
    return log;
  }

  async append(jws, receivedAt, window = ANY_TIME) {
    const entry = await parse("osmynt-user+jws", jws);
    const { user, seq, prev, iat, event } = entry.payload;
    require(user === this.user, "invalid-request", "an entry of another user's log");
    require(seq === this.entries.length && prev === (this.head?.hash ?? null), "stale-log", "the entry does not continue the log");
    require(seq > 0 || event.type === "device.added", "invalid-request", "a log begins with a device");
    requireTimely(iat, receivedAt, this.entries.at(-1)?.receivedAt);
    window.requireWithin(seq, receivedAt);
    require(seq < USER_LOG_ENTRIES, "too-large", "more than 256 entries");
    const isReserved = seq >= USER_LOG_ENTRIES - USER_LOG_RESERVED;
    require(!isReserved || event.type === "device.revoked", "too-large", "the last 20 entries are for revocations");
    await EVENTS[event.type](this, { ...entry, receivedAt }, event);
    this.user ??= entry.hash;
    this.entries.push({ hash: entry.hash, receivedAt });
    return entry;
  }

  activeDevice(id) {
    const device = this.devices.get(id);
    require(device?.revoked === null, "forbidden", "not an active device of the user");
    return device;
  }

  get head() {
    return this.entries.length === 0 ? null : { seq: this.entries.length - 1, hash: this.entries.at(-1).hash };
  }

  /** Whether `head` is an entry of this log. */
  contains(head) {
    return this.entries[head.seq]?.hash === head.hash;
  }

  active() {
    return [...this.devices.values()].filter((device) => device.revoked === null);
  }

  /** The ids of the devices that were active right after entry `seq`. */
  devicesAt(seq) {
    const wasActive = ({ added, revoked }) => added <= seq && (revoked === null || revoked > seq);
    return [...this.devices.values()].filter(wasActive).map(({ id }) => id);
  }

  /** Whether the device may speak for this user at a receipt time, as far as the two clocks can tell: section 4, rule 3. */
  speaksAt(id, receivedAt) {
    const device = this.devices.get(id);
    if (device === undefined || device.addedAt > receivedAt + CLOCK_SKEW) return false;
    return device.revoked === null || device.revokedAt >= receivedAt - CLOCK_SKEW;
  }
}

const EVENTS = {
  async "device.added"(log, entry, event) {
    const { kid, payload } = await openSelfSigned("osmynt-device+jws", event.device);
    require(payload.user === log.user, "invalid-request", "a device of another user");
    const isFirst = entry.payload.seq === 0;
    require(!isFirst || entry.kid === kid, "forbidden", "the first device adds itself");
    await verify(entry, isFirst ? payload.jwk : log.activeDevice(entry.kid).jwk);
    require(!log.devices.has(kid), "conflict", "the device was in this log before");
    require(log.active().length < DEVICES_PER_USER, "too-large", "more than 20 active devices");
    const { seq } = entry.payload;
    log.devices.set(kid, { id: kid, jwk: payload.jwk, added: seq, addedAt: entry.receivedAt, revoked: null, revokedAt: null });
  },

  async "device.revoked"(log, entry, event) {
    await verify(entry, log.activeDevice(entry.kid).jwk);
    const device = log.activeDevice(event.device);
    require(log.active().length > 1, "conflict", "the last active device stays");
    log.devices.set(device.id, { ...device, revoked: entry.payload.seq, revokedAt: entry.receivedAt });
  },

  async "name.signed"(log, entry, event) {
    await verify(entry, log.activeDevice(entry.kid).jwk);
    log.commitment = event.commitment;
  },
};

// --- time ---

/** The rules of time that user and team logs share. */
export function requireTimely(iat, receivedAt, before = 0) {
  require(Math.abs(iat - receivedAt) <= CLOCK_SKEW, "clock-skew", "the stated time is not within 300 seconds of the receipt time");
  require(receivedAt >= before, "clock-skew", "received before the entry before it");
}

/** Which receipt times a client believes: section 11, point 3. Times are seconds by its own clock. */
export class Window {
  /** `pin` is `{ seq, readAt }` of the log's last complete reading, if there was one. */
  constructor(now, pin) {
    Object.assign(this, { now, pin });
  }

  requireWithin(seq, receivedAt) {
    require(receivedAt <= this.now + CLOCK_SKEW, "clock-skew", "received in the future");
    const isNew = this.pin !== undefined && seq > this.pin.seq;
    require(!isNew || receivedAt >= this.pin.readAt - CLOCK_SKEW, "clock-skew", "new, and yet received before the log was last read");
  }
}

/** For logs that are made here, or whose times are not in question. */
export const ANY_TIME = new Window(Infinity);

// --- names ---

export const opening = object({ provider: literal("github"), id: integer, login, salt: bytes(32) });

export const newOpening = ({ github_id, login }) => ({ provider: "github", id: github_id, login, salt: b64u.encode(randomBytes(32)) });

export const nameCommitment = (user, { provider, id, login, salt }) =>
  hashOf(utf8(labelled("osmynt/v1/name", user, provider, id, login, salt)));

/** The login that the log's last `name.signed` opens to; null when there is none or `opening` does not open it. */
export async function loginOf(log, opening) {
  if (log.commitment === null || opening === null) return null;
  return (await nameCommitment(log.user, opening)) === log.commitment ? opening.login : null;
}

// --- prekeys ---

/** A verified signed prekey of an active device of `log`: `{ device, jwk }`; null for one of an unknown kind. */
export async function openPrekey(jws, log) {
  const statement = await parsePrekey(jws);
  if (statement === null) return null;
  await verify(statement, log.activeDevice(statement.kid).jwk);
  require(statement.payload.user === log.user, "invalid-request", "a prekey of another user");
  return { device: statement.kid, jwk: statement.payload.key };
}
