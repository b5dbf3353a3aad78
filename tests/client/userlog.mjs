// Section 3 of docs/protocol.md: a user's log, verified from its first entry.

import { require, seconds } from "./encodings.mjs";
import { CLOCK_SKEW, DEVICES_PER_USER } from "./limits.mjs";
import { openSelfSigned, parse, verify } from "./statements.mjs";

export class UserLog {
  /** Hash and receipt time of each entry. */
  entries = [];
  /** By device id: `{ id, jwk, identity, added, revoked }`, the latter two as `seq`, `revoked` null while active. */
  devices = new Map();
  /** Identities in their order, each with the `seq` that began it. */
  identities = [];

  constructor(user) {
    this.user = user;
  }

  /** The verified log of `user` from the entries of an answer: `[{ jws, received_at }]`. */
  static async read(user, entries) {
    const log = new UserLog(user);
    for (const { jws, received_at } of entries) await log.append(jws, seconds(received_at));
    return log;
  }

  async append(jws, receivedAt) {
    const entry = await parse("osmynt-user+jws", jws);
    const { user, seq, prev, iat, event } = entry.payload;
    require(user === this.user, "invalid-request", "an entry of another user's log");
    require(seq === this.entries.length && prev === (this.head?.hash ?? null), "stale-log", "the entry does not continue the log");
    requireTimely(iat, receivedAt, this.entries.at(-1)?.receivedAt);

    const device = event.type === "device.revoked" ? null : await openDevice(event.device, this.user);
    require(device === null || !this.devices.has(device.id), "conflict", "the device was in this log before");
    const bySelf = event.type === "identity.reset" || (event.type === "device.added" && seq === 0);
    const author = bySelf ? device : this.activeDevice(entry.kid);
    await verify(entry, author.jwk);
    const added = (identity) => this.devices.set(device.id, { ...device, identity, added: seq, revoked: null });

    switch (event.type) {
      case "device.added":
        require(this.active().length < DEVICES_PER_USER, "too-large", "more than 20 active devices");
        if (seq === 0) this.identities.push({ identity: entry.hash, seq });
        added(this.identity);
        break;
      case "device.revoked": {
        const revoked = this.activeDevice(event.device);
        require(this.active().length > 1, "forbidden", "the last active device stays");
        revoked.revoked = seq;
        break;
      }
      case "identity.reset":
        require(seq > 0, "invalid-request", "there is nothing to reset");
        for (const earlier of this.active()) earlier.revoked = seq;
        this.identities.push({ identity: entry.hash, seq });
        added(entry.hash);
        break;
    }
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

  get identity() {
    return this.identities.at(-1)?.identity ?? null;
  }

  /** Whether `head` is an entry of this log. */
  contains(head) {
    return this.entries[head.seq]?.hash === head.hash;
  }

  active() {
    return [...this.devices.values()].filter((device) => device.revoked === null);
  }

  /** The ids of the devices that were active right after entry `seq`, if the user had `identity` then; otherwise none. */
  devicesAt(seq, identity) {
    const then = this.identities.findLast((each) => each.seq <= seq);
    if (then?.identity !== identity) return [];
    return [...this.devices.values()]
      .filter(({ added, revoked }) => added <= seq && (revoked === null || revoked > seq))
      .map(({ id }) => id);
  }
}

/** The time rules that user and team logs share. */
export function requireTimely(iat, receivedAt, before = 0) {
  require(Math.abs(iat - receivedAt) <= CLOCK_SKEW, "clock-skew", "the stated time is not within 300 seconds of the receipt time");
  require(receivedAt >= before, "clock-skew", "received before the entry before it");
}

async function openDevice(jws, user) {
  const { kid, payload } = await openSelfSigned("osmynt-device+jws", jws);
  require(payload.user === user, "invalid-request", "a device of another user");
  return { id: kid, jwk: payload.jwk };
}

/** A verified signed prekey of an active device of `log`: `{ device, jwk }`. */
export async function openPrekey(jws, log) {
  const statement = await parse("osmynt-prekey+jws", jws);
  await verify(statement, log.activeDevice(statement.kid).jwk);
  require(statement.payload.user === log.user, "invalid-request", "a prekey of another user");
  return { device: statement.kid, jwk: statement.payload.key };
}

