// Logs of users and teams, signed entry by entry without any service, so that a test can break each
// rule.

import { b64u, randomBytes } from "../client/encodings.mjs";
import { deviceSetHash, headSetHash, makeKeyPair, makeSecretKey, sealProfile, teamKeyCommitment } from "../client/keys.mjs";
import { parse, sign } from "../client/statements.mjs";
import { devicesOf, TeamLog } from "../client/teamlog.mjs";
import { nameCommitment, UserLog } from "../client/userlog.mjs";
import { HASH, NOW, USERS } from "./protocol.mjs";

export const POLICY = { max_epoch_age: 3600, joining: "invitation" };
export const CONFIRMATION = { ...POLICY, joining: "confirmation" };

/** A user with a log of their own. */
export class Person {
  static async make({ received = NOW } = {}) {
    const person = new Person();
    person.device = await makeKeyPair("ECDSA");
    person.entries = [];
    await person.append({ type: "device.added", device: await person.describe(person.device, null) }, person.device, { received, iat: received, user: null });
    person.user = (await parse("osmynt-user+jws", person.entries[0].jws)).hash;
    return person;
  }
  describe = async (device, user = this.user) => sign("osmynt-device+jws", { user, jwk: device.jwk, iat: NOW }, device);
  add = async (device, by = this.device, changes) => this.append({ type: "device.added", device: await this.describe(device) }, by, changes);
  revoke = (device, by = this.device, changes) => this.append({ type: "device.revoked", device: device.id }, by, changes);
  sign = async (opening, by = this.device) => this.append({ type: "name.signed", commitment: await nameCommitment(this.user, opening) }, by);
  async append(event, by, { received = NOW, window, ...changes } = {}) {
    const log = this.entries.length === 0 ? new UserLog() : await this.log();
    const entry = { user: this.user, seq: this.entries.length, prev: log.head?.hash ?? null, iat: received, event, ...changes };
    const signed = { jws: await sign("osmynt-user+jws", entry, by), received_at: received };
    await log.append(signed.jws, received, window);
    this.entries.push(signed);
  }
  log = (window) => UserLog.read(this.user, this.entries, window);
}

/** A team log written by several people. */
export class Team {
  static async make(founder, policy = POLICY) {
    const team = new Team();
    team.people = [founder];
    team.log = new TeamLog();
    team.entries = [];
    await team.append(founder, { type: "team.created", nonce: b64u.encode(randomBytes(16)), policy });
    await team.rotate(founder);
    return team;
  }
  async directory() {
    const logs = await Promise.all(this.people.map(async (person) => [person.user, await person.log()]));
    return new Map([...logs, ...(this.crowds ?? [])]);
  }
  async append(person, event, { received = this.now ?? NOW, by = person.device, ...changes } = {}) {
    const { log } = this;
    const entry = { team: log.team, seq: log.past.length, prev: log.head?.hash ?? null, iat: received, user: person.user, event, ...changes };
    const draft = log.draft();
    const jws = await sign("osmynt-team+jws", entry, by);
    await draft.append(jws, received, await this.directory());
    this.log = draft;
    this.entries.push({ jws, received_at: received });
  }
  /** A rotation to what the directory says, or to `heads` as `[{ user, seq, hash }]`; `changes` are members of the event. */
  async rotate(person, { by, received, heads, directory, ...changes } = {}) {
    const { seqs, heads: hash, roster } = await this.log.rotationFor(directory ?? (await this.directory()));
    const epoch = (this.log.epoch?.number ?? 0) + 1;
    const named = heads === undefined ? { seqs, heads: hash } : { seqs: heads.map(({ seq }) => seq), heads: await headSetHash(heads) };
    const profile = await sealProfile(makeSecretKey(), this.log.team, epoch, { name: "x" });
    const commitment = await teamKeyCommitment(makeSecretKey(), this.log.team, epoch);
    const event = { type: "key.rotated", epoch, ...named, devices: await deviceSetHash(devicesOf(roster)), envelopes: HASH, commitment, profile, ...changes };
    await this.append(person, event, { by, ...(received !== undefined && { received }) });
  }
  async invite(by, { role = "member", uses = 1, exp = (this.now ?? NOW) + 3600, ...more } = {}) {
    const key = await makeKeyPair("ECDSA");
    await this.append(by, { type: "invite.created", key: key.jwk, role, uses, exp, ...more });
    return key;
  }
  async join(person, invitation, { proof: changes, ...more } = {}) {
    if (!this.people.includes(person)) this.people.push(person);
    const proven = { team: this.log.team, invite: invitation.id, user: person.user, iat: more.received ?? this.now ?? NOW, ...changes };
    const proof = await sign("osmynt-invite+jws", proven, more.signer ?? invitation);
    await this.append(person, { type: "member.joined", invite: invitation.id, proof }, more.received === undefined ? {} : { received: more.received });
  }
  async joinAs(role, person, options) {
    await this.join(person, await this.invite(this.people[0], { role, ...options }));
    await this.rotate(person);
  }
  async remove(by, person) {
    await this.append(by, { type: "member.removed", user: person.user });
    await this.rotate(by);
  }
}

export const people = (options) => Promise.all(USERS.map(() => Person.make(options)));

/** A team of an owner, an admin and a member. */
export async function makeTeam() {
  const [owner, admin, member] = await people();
  const team = await Team.make(owner);
  await team.joinAs("admin", admin);
  await team.joinAs("member", member);
  return { team, owner, admin, member };
}
