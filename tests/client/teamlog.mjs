// Sections 4 to 6 of docs/protocol.md: a team's log, verified from its first entry.

import { head as headShape, require, sameHead, seconds, thumbprint } from "./encodings.mjs";
import { deviceSetHash } from "./keys.mjs";
import { CLOCK_SKEW, DEVICES_PER_TEAM, INVITE_SECONDS, OPEN_INVITES } from "./limits.mjs";
import { parse, ROLES, verify } from "./statements.mjs";
import { requireTimely } from "./userlog.mjs";

const rank = (role) => ROLES.indexOf(role);

/**
 * The state that a team's log leads to. A `directory` is a map of verified [`UserLog`]s by user id.
 *
 * Members are `{ user, identity, role, named, devices }`: `named` is the user-log head that rotations since they joined have named
 * (null before the first), `devices` the ids of those active at it. Members are replaced, never changed, so that `past` can keep them.
 */
export class TeamLog {
  team = null;
  policy = null;
  roster = new Map();
  invites = new Map();
  /** `{ number, seq, commitment, profile, receivedAt, user, device }` of the latest rotation. */
  epoch = null;
  everyone = new Set();
  /** Whether somebody left since the epoch began. */
  left = false;
  /** The device that must rotate before anybody appends anything else. */
  due = null;
  /** What held right after each entry: `{ hash, receivedAt, roster, epoch }`, and the entry's own `author` and `event`. */
  past = [];

  /** The verified log from the entries of an answer. */
  static async read(entries, directory) {
    const log = new TeamLog();
    for (const { jws, received_at } of entries) await log.append(jws, seconds(received_at), directory);
    log.requireSettled();
    return log;
  }

  /** A log to which entries can be appended without changing this one. */
  draft() {
    return Object.assign(new TeamLog(), this, {
      roster: new Map(this.roster),
      invites: new Map(this.invites),
      everyone: new Set(this.everyone),
      past: [...this.past],
    });
  }

  async append(jws, receivedAt, directory) {
    const entry = { ...(await parse("osmynt-team+jws", jws)), receivedAt, directory };
    const { team, seq, prev, iat, user, event } = entry.payload;

    // 1
    require(seq === this.past.length && prev === (this.head?.hash ?? null), "stale-log", "the entry does not continue the log");
    require(team === this.team, "invalid-request", "an entry of another team's log");
    // 2
    requireTimely(iat, receivedAt, this.past.at(-1)?.receivedAt);
    // 3
    await this.verifyAuthor(entry);
    // 4
    require(this.due === null || this.due === entry.kid, "forbidden", "another device has to rotate first");
    // 5
    require((event.type === "team.created") === (seq === 0), "invalid-request", "team.created comes first, and only once");
    await EVENTS[event.type](this, entry, event);

    this.past.push({ hash: entry.hash, receivedAt, author: { user, device: entry.kid }, event, roster: new Map(this.roster), epoch: this.epoch });
    return entry;
  }

  /** Rule 3: a device of the author's, added under the identity that the team knows, and not revoked as far as the team knows. */
  async verifyAuthor(entry) {
    const { user, event } = entry.payload;
    const founds = ["team.created", "member.joined"].includes(event.type);
    const member = founds ? { identity: event.identity, named: null } : this.roster.get(user);
    require(member !== undefined, "forbidden", "the author is not a member");
    const device = entry.directory.get(user)?.devices.get(entry.kid);
    require(device?.identity === member.identity, "forbidden", "not a device of the author's");
    require(device.revoked === null || member.named === null || device.revoked > member.named.seq, "forbidden", "a revoked device");
    await verify(entry, device.jwk);
  }

  get head() {
    return this.past.length === 0 ? null : { seq: this.past.length - 1, hash: this.past.at(-1).hash };
  }

  contains(head) {
    headShape(head, "head");
    return this.past[head.seq]?.hash === head.hash;
  }

  /** What held at `head`; refused when the log has no such entry. */
  at(head) {
    require(this.contains(head), "stale-log", "the log does not contain this head");
    return this.past[head.seq];
  }

  requireSettled() {
    require(this.due === null, "rotation-required", "a rotation is due");
  }

  isStale(directory, now) {
    if (this.left || now - this.epoch.receivedAt > this.policy.max_epoch_age) return true;
    return [...this.roster.values()].some(({ user, named }) => !sameHead(directory.get(user)?.head, named));
  }

  owners() {
    return [...this.roster.values()].filter(({ role }) => role === "owner");
  }

  isLastOwner(user) {
    return this.roster.get(user)?.role === "owner" && this.owners().length === 1;
  }

  isOpen(invite, at) {
    return invite !== undefined && !invite.revoked && invite.exp > at && invite.used < invite.uses;
  }

  /** The rotation that `directory` asks for: its heads, and the device set after it. */
  rotationFor(directory) {
    const heads = [...this.roster.values()]
      .map(({ user, named }) => ({ user, named, now: directory.get(user)?.head }))
      .filter(({ named, now }) => !sameHead(named, now))
      .map(({ user, now }) => ({ user, ...now }))
      .sort((a, b) => (a.user < b.user ? -1 : 1));
    return { heads, roster: this.rosterAt(heads, directory) };
  }

  /** The roster with the devices that `heads` lead to. */
  rosterAt(heads, directory) {
    const roster = new Map(this.roster);
    for (const { user, ...named } of heads) {
      const member = roster.get(user);
      roster.set(user, { ...member, named, devices: directory.get(user).devicesAt(named.seq, member.identity) });
    }
    return roster;
  }

  join(member, device) {
    this.roster.set(member.user, { ...member, named: null, devices: [] });
    this.everyone.add(member.user);
    this.due = device;
  }

  requireRole(entry, least) {
    const { role } = this.roster.get(entry.payload.user);
    require(rank(role) >= rank(least), "forbidden", `${entry.payload.event.type} is not for the role ${role}`);
    return role;
  }
}

/** All devices of a roster, as [`deviceSetHash`] takes them. */
export const devicesOf = (roster) => [...roster.values()].flatMap(({ user, devices }) => devices.map((device) => ({ user, device })));

/** Rule 5. */
const EVENTS = {
  "team.created"(log, entry, { identity, policy }) {
    log.team = entry.hash;
    log.policy = policy;
    log.join({ user: entry.payload.user, identity, role: "owner" }, entry.kid);
  },

  async "invite.created"(log, entry, { key, role, exp, uses }) {
    const own = log.requireRole(entry, "admin");
    require(rank(role) <= rank(own), "forbidden", "a role above the author's own");
    const { iat } = entry.payload;
    require(exp > iat && exp - iat <= INVITE_SECONDS, "invalid-request", "an invitation expires within 30 days");
    const id = await thumbprint(key);
    require(!log.isOpen(log.invites.get(id), entry.receivedAt), "conflict", "an open invitation has this key");
    const open = [...log.invites.values()].filter((each) => log.isOpen(each, entry.receivedAt));
    require(open.length < OPEN_INVITES, "too-large", "more than 100 open invitations");
    log.invites.set(id, { key, role, exp, uses, used: 0, revoked: false });
  },

  "invite.revoked"(log, entry, { invite }) {
    log.requireRole(entry, "admin");
    const found = log.invites.get(invite);
    require(log.isOpen(found, entry.receivedAt), "gone", "the invitation is not open");
    log.invites.set(invite, { ...found, revoked: true });
  },

  async "member.joined"(log, entry, { invite, identity, proof }) {
    const { user } = entry.payload;
    const found = log.invites.get(invite);
    require(log.isOpen(found, entry.receivedAt), "gone", "the invitation is not open");
    const statement = await verify(await parse("osmynt-invite+jws", proof), found.key);
    const proven = statement.payload;
    const fits = proven.team === log.team && proven.invite === invite && proven.user === user && proven.identity === identity;
    require(fits, "forbidden", "the proof is for something else");
    require(Math.abs(proven.iat - entry.payload.iat) <= CLOCK_SKEW, "forbidden", "the proof is too old");
    require(log.roster.get(user)?.identity !== identity, "conflict", "already a member");
    require(!log.isLastOwner(user), "conflict", "the last owner cannot be replaced");
    log.invites.set(invite, { ...found, used: found.used + 1 });
    log.join({ user, identity, role: found.role }, entry.kid);
  },

  "member.removed"(log, entry, { user }) {
    const own = log.requireRole(entry, "admin");
    require(user !== entry.payload.user, "forbidden", "nobody removes themselves");
    const member = log.roster.get(user);
    require(member !== undefined, "not-found", "not a member");
    require(own === "owner" || member.role === "member", "forbidden", "an admin removes plain members only");
    log.roster.delete(user);
    log.due = entry.kid;
  },

  "member.left"(log, entry) {
    const { user } = entry.payload;
    require(!log.isLastOwner(user), "conflict", "the last owner stays");
    log.roster.delete(user);
    log.left = true;
  },

  "role.changed"(log, entry, { user, role }) {
    log.requireRole(entry, "owner");
    const member = log.roster.get(user);
    require(member !== undefined, "not-found", "not a member");
    require(member.role !== role, "conflict", "not a change");
    require(!log.isLastOwner(user), "conflict", "the last owner stays one");
    log.roster.set(user, { ...member, role });
  },

  "policy.changed"(log, entry, { policy }) {
    log.requireRole(entry, "owner");
    log.policy = policy;
  },

  "profile.changed"(log, entry, { epoch }) {
    log.requireRole(entry, "admin");
    require(epoch === log.epoch?.number, "stale-log", "not the current epoch");
  },

  async "key.rotated"(log, entry, { epoch, heads, devices, commitment, profile }) {
    const { directory, receivedAt } = entry;
    require(epoch === (log.epoch?.number ?? 0) + 1, "stale-log", "not the next epoch");
    heads.forEach(({ user, seq, hash }, index) => {
      const named = log.roster.get(user)?.named;
      require(named !== undefined, "coverage-mismatch", "a head of somebody who is no member");
      require(index === 0 || heads[index - 1].user < user, "invalid-request", "heads ascend by user");
      require(directory.get(user)?.contains({ seq, hash }), "coverage-mismatch", "a head that is not in the user's log");
      require(named === null || seq > named.seq, "coverage-mismatch", "a head that is not newer than the one named before");
    });
    const roster = log.rosterAt(heads, directory);
    require([...roster.values()].every(({ named }) => named !== null), "coverage-mismatch", "a member's head is missing");
    const set = devicesOf(roster);
    require(set.length <= DEVICES_PER_TEAM, "too-large", "more than 1,000 devices");
    require((await deviceSetHash(set)) === devices, "coverage-mismatch", "another device set");
    // A device that is active, as rule 3 demands of an author, is in the set of the current heads.
    require(roster.get(entry.payload.user).devices.includes(entry.kid), "forbidden", "the rotation leaves out its author");
    log.roster = roster;
    log.epoch = { number: epoch, seq: entry.payload.seq, commitment, profile, receivedAt, user: entry.payload.user, device: entry.kid };
    log.left = false;
    log.due = null;
  },
};
