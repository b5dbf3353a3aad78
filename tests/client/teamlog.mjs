// Sections 4 to 6 of docs/protocol.md: a team's log, verified from its first entry.

import { ascending, head as headShape, require, sameHead, thumbprint } from "./encodings.mjs";
import { deviceSetHash, headSetHash } from "./keys.mjs";
import { CLOCK_SKEW, DEVICES_PER_TEAM, INVITE_SECONDS, MEMBERS, MEMBERS_EVER, OPEN_INVITES, PENDING_SECONDS } from "./limits.mjs";
import { parse, ROLES, verify } from "./statements.mjs";
import { ANY_TIME, requireTimely } from "./userlog.mjs";

const rank = (role) => ROLES.indexOf(role);

/**
 * The state that a team's log leads to. A `directory` is a map of verified [`UserLog`]s by user id.
 *
 * Members are `{ user, role, invite, named, devices }`: `invite` is the id of the invitation that they came in by (null for the
 * founder), `named` the user-log head that the last rotation since they joined has named (null before the first), `devices` the
 * ids of those active at it. Members are replaced, never changed, so that `past` can keep them.
 */
export class TeamLog {
  team = null;
  policy = null;
  roster = new Map();
  /** Who waits to be confirmed: `{ user, role, invite, at }`, by user. */
  pending = new Map();
  /** By id: `{ id, key, role, exp, uses, used, closed, by, user, seq }`. */
  invites = new Map();
  /** The `seq` of the entry that barred somebody last, by user. */
  barred = new Map();
  /** The user-log head that a rotation named last, by user; also of those who are in the team no more. */
  named = new Map();
  /** `{ number, seq, commitment, profile, receivedAt, user, device }` of the latest rotation. */
  epoch = null;
  /** Everybody who is or ever was a member or pending. */
  everyone = new Set();
  /** Whether a member left since the epoch began. */
  left = false;
  /** The device that must rotate before anybody appends anything else. */
  due = null;
  /** What held right after each entry: `{ hash, receivedAt, roster, epoch }`, and the entry's own `author` and `event`. */
  past = [];

  /** The verified log from the entries of an answer. */
  static async read(entries, directory, window = ANY_TIME) {
    const log = new TeamLog();
    for (const { jws, received_at } of entries) await log.append(jws, received_at, directory, window);
    log.requireSettled();
    return log;
  }

  /** A log to which entries can be appended without changing this one. */
  draft() {
    return Object.assign(new TeamLog(), this, {
      roster: new Map(this.roster),
      pending: new Map(this.pending),
      invites: new Map(this.invites),
      barred: new Map(this.barred),
      named: new Map(this.named),
      everyone: new Set(this.everyone),
      past: [...this.past],
    });
  }

  async append(jws, receivedAt, directory, window = ANY_TIME) {
    const entry = { ...(await parse("osmynt-team+jws", jws)), receivedAt, directory };
    const { team, seq, prev, iat, user, event } = entry.payload;

    // 1
    require(team === this.team, "invalid-request", "an entry of another team's log");
    require(seq === this.past.length && prev === (this.head?.hash ?? null), "stale-log", "the entry does not continue the log");
    require((event.type === "team.created") === (seq === 0), "invalid-request", "team.created comes first, and only once");
    // 2
    requireTimely(iat, receivedAt, this.past.at(-1)?.receivedAt);
    window.requireWithin(seq, receivedAt);
    this.forgetPending(receivedAt);
    // 3
    await this.verifyAuthor(entry);
    // 4
    require(this.due === null || this.due === entry.kid, "forbidden", "another device has to rotate first");
    // 5
    await EVENTS[event.type](this, entry, event);

    this.past.push({ hash: entry.hash, receivedAt, author: { user, device: entry.kid }, event, roster: new Map(this.roster), epoch: this.epoch });
    return entry;
  }

  forgetPending(receivedAt) {
    for (const { user, at } of this.pending.values()) {
      if (receivedAt - at > PENDING_SECONDS) this.pending.delete(user);
    }
  }

  /** Rule 3. */
  async verifyAuthor(entry) {
    const { user, event } = entry.payload;
    const member = this.roster.get(user);
    const comesIn = ["team.created", "member.joined"].includes(event.type);
    const withdraws = event.type === "member.left" && this.pending.has(user);
    require(member !== undefined || comesIn || withdraws, "forbidden", "the author is not a member");
    const log = entry.directory.get(user);
    require(log?.speaksAt(entry.kid, entry.receivedAt), "forbidden", "the device does not speak for the author");
    const device = log.devices.get(entry.kid);
    const wasRevoked = device.revoked !== null && device.revoked <= (this.named.get(user)?.seq ?? -1);
    require(!wasRevoked, "forbidden", "a revoked device");
    await verify(entry, device.jwk);
  }

  get head() {
    return this.past.length === 0 ? null : { seq: this.past.length - 1, hash: this.past.at(-1).hash };
  }

  contains(head) {
    headShape(head, "head");
    return this.past[head.seq]?.hash === head.hash;
  }

  /**
   * Whether the author of a profile was owner or admin before its commit: an earlier rotation has named their head, or they found
   * the team. Whoever joins by the commit knows the team's name from a code only.
   */
  isVouched(seq) {
    const { roster, epoch } = this.past[seq - 1];
    const { role, named } = roster.get(this.past[seq].author.user);
    return role !== "member" && (named !== null || epoch === null);
  }

  /** What held at `head`; refused when the log has no such entry. */
  at(head) {
    require(this.contains(head), "stale-log", "the log does not contain this head");
    return this.past[head.seq];
  }

  /** The entry that began an epoch, as in `past`. */
  rotation(epoch) {
    return this.past.find(({ event }) => event.type === "key.rotated" && event.epoch === epoch);
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
    return invite !== undefined && !invite.closed && at < invite.exp && invite.used < invite.uses;
  }

  /** The invitations that are open at a time. */
  openInvites(at) {
    return [...this.invites.values()].filter((invite) => this.isOpen(invite, at));
  }

  close(which) {
    for (const invite of [...this.invites.values()].filter(which)) this.invites.set(invite.id, { ...invite, closed: true });
  }

  /** Closes what somebody could come back by: what they made, and what they came in by. Drops whoever waits by what they made. */
  closeFor({ user, invite }) {
    this.close(({ id, by }) => by === user || id === invite);
    for (const waiting of this.pending.values()) {
      if (this.invites.get(waiting.invite).by === user) this.pending.delete(waiting.user);
    }
  }

  bar({ user, invite = null }, seq) {
    this.closeFor({ user, invite });
    this.barred.set(user, seq);
  }

  /** The rotation that `directory` asks for: `seqs` and `heads` of its event, and the roster after it. */
  async rotationFor(directory) {
    const named = ascending(this.roster.keys()).map((user) => ({ user, ...directory.get(user).head }));
    return { seqs: named.map(({ seq }) => seq), heads: await headSetHash(named), roster: this.rosterAt(named, directory) };
  }

  /** The roster with the devices that the heads lead to, given as `[{ user, seq, hash }]`. */
  rosterAt(heads, directory) {
    const roster = new Map(this.roster);
    for (const { user, ...named } of heads) {
      roster.set(user, { ...roster.get(user), named, devices: directory.get(user).devicesAt(named.seq) });
    }
    return roster;
  }

  /** Makes somebody a member, `{ user, role, invite }`, and a rotation by `device` due. */
  join(member, device) {
    this.roster.set(member.user, { invite: null, ...member, named: null, devices: [] });
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
  "team.created"(log, entry, { policy }) {
    log.team = entry.hash;
    log.policy = policy;
    log.join({ user: entry.payload.user, role: "owner" }, entry.kid);
  },

  async "invite.created"(log, entry, { key, role, exp, uses, user = null }) {
    const own = log.requireRole(entry, "admin");
    require(rank(role) <= rank(own), "forbidden", "a role above the author's own");
    const { iat, seq } = entry.payload;
    require(exp > iat && exp - iat <= INVITE_SECONDS, "invalid-request", "an invitation expires within 30 days");
    require(user === null || uses === 1, "invalid-request", "an invitation for one person has one use");
    const id = await thumbprint(key);
    require(!log.isOpen(log.invites.get(id), entry.receivedAt), "conflict", "an open invitation has this key");
    require(log.openInvites(entry.receivedAt).length < OPEN_INVITES, "too-large", "more than 100 open invitations");
    log.invites.set(id, { id, key, role, exp, uses, used: 0, closed: false, by: entry.payload.user, user, seq });
  },

  "invite.revoked"(log, entry, { invite }) {
    log.requireRole(entry, "admin");
    require(log.isOpen(log.invites.get(invite), entry.receivedAt), "gone", "the invitation is not open");
    log.close(({ id }) => id === invite);
  },

  async "member.joined"(log, entry, { invite, proof }) {
    const { user, iat } = entry.payload;
    const found = log.invites.get(invite);
    require(log.isOpen(found, entry.receivedAt), "gone", "the invitation is not open");
    const { payload: proven } = await verify(await parse("osmynt-invite+jws", proof), found.key);
    const fits = proven.team === log.team && proven.invite === invite && proven.user === user;
    require(fits, "forbidden", "the proof is for something else");
    require(Math.abs(proven.iat - iat) <= CLOCK_SKEW, "clock-skew", "the proof is too old");
    require(found.user === null || found.user === user, "forbidden", "the invitation is for somebody else");
    // Only an invitation that was made since for them alone lets somebody in who was barred.
    const isBarred = log.barred.has(user) && !(found.user === user && found.seq > log.barred.get(user));
    require(!isBarred, "forbidden", "the author is barred");
    require(!log.roster.has(user) && !log.pending.has(user), "conflict", "already a member, or pending");
    require(log.roster.size + log.pending.size < MEMBERS, "too-large", "more than 1,000 members");
    require(log.everyone.has(user) || log.everyone.size < MEMBERS_EVER, "too-large", "more than 10,000 who ever were members");
    log.invites.set(invite, { ...found, used: found.used + 1 });
    if (log.policy.joining === "confirmation") {
      log.pending.set(user, { user, role: found.role, invite, at: entry.receivedAt });
      log.everyone.add(user);
    } else {
      log.join({ user, role: found.role, invite }, entry.kid);
    }
  },

  "member.confirmed"(log, entry, { user }) {
    const own = log.requireRole(entry, "admin");
    const waiting = log.pending.get(user);
    require(waiting !== undefined, "not-found", "nobody who waits to be confirmed");
    require(rank(waiting.role) <= rank(own), "forbidden", "a role above the author's own");
    log.pending.delete(user);
    log.join({ user, role: waiting.role, invite: waiting.invite }, entry.kid);
  },

  "member.removed"(log, entry, { user }) {
    const own = log.requireRole(entry, "admin");
    require(user !== entry.payload.user, "invalid-request", "nobody removes themselves");
    const waiting = log.pending.get(user);
    const member = log.roster.get(user);
    if (waiting !== undefined) {
      log.pending.delete(user);
    } else if (member !== undefined) {
      // So the last owner stays: only an owner removes owners, and nobody themselves.
      require(own === "owner" || member.role === "member", "forbidden", "an admin removes plain members only");
      log.roster.delete(user);
      log.due = entry.kid;
    } else {
      require(log.everyone.has(user), "not-found", "not a member, and never was");
    }
    log.bar(waiting ?? member ?? { user }, entry.payload.seq);
  },

  "member.left"(log, entry) {
    const { user } = entry.payload;
    if (log.pending.delete(user)) return;
    require(!log.isLastOwner(user), "conflict", "the last owner stays");
    log.closeFor(log.roster.get(user));
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
    if (rank(role) < rank(member.role)) log.bar(member, entry.payload.seq);
  },

  "policy.changed"(log, entry, { policy }) {
    log.requireRole(entry, "owner");
    log.policy = policy;
  },

  "profile.changed"(log, entry, { epoch }) {
    log.requireRole(entry, "admin");
    require(epoch === log.epoch?.number, "stale-log", "not the current epoch");
  },

  async "key.rotated"(log, entry, { epoch, seqs, heads, devices, commitment, profile }) {
    const { directory, receivedAt } = entry;
    require(epoch === (log.epoch?.number ?? 0) + 1, "stale-log", "not the next epoch");
    const members = ascending(log.roster.keys());
    require(seqs.length === members.length, "coverage-mismatch", "not one head for each member");
    const named = members.map((user, index) => {
      const seq = seqs[index];
      const { entries } = directory.get(user);
      const before = log.named.get(user)?.seq ?? 0;
      require(seq < entries.length, "coverage-mismatch", "a head that is not in the user's log");
      require(seq >= before, "coverage-mismatch", "a head that is older than the one named before");
      const wasReplaced = seq + 1 < entries.length && entries[seq + 1].receivedAt < receivedAt - CLOCK_SKEW;
      require(!wasReplaced, "coverage-mismatch", "a head that was followed by another long before");
      return { user, seq, hash: entries[seq].hash };
    });
    const roster = log.rosterAt(named, directory);
    const set = devicesOf(roster);
    require(new Set(set.map(({ device }) => device)).size === set.length, "conflict", "two members have one device");
    require(set.length <= DEVICES_PER_TEAM, "too-large", "more than 1,000 devices");
    require((await headSetHash(named)) === heads, "coverage-mismatch", "other heads");
    require((await deviceSetHash(set)) === devices, "coverage-mismatch", "another device set");
    require(roster.get(entry.payload.user).devices.includes(entry.kid), "coverage-mismatch", "the rotation leaves out its author");
    log.roster = roster;
    for (const { user, ...head } of named) log.named.set(user, head);
    log.epoch = { number: epoch, seq: entry.payload.seq, commitment, profile, receivedAt, user: entry.payload.user, device: entry.kid };
    log.left = false;
    log.due = null;
  },
};
