// A client of docs/protocol.md, in memory: signs in, keeps keys, verifies everything that the service says (section 11).

import { Api, Problem } from "./api.mjs";
import { ascending, b64u, hashOf, randomBytes, Refused, require, sameHead, utf8 } from "./encodings.mjs";
import { makeCode, parseCode } from "./invitation.mjs";
import {
  contentKeyPurpose, deviceSetHash, envelopeSetHash, keyPairFromScalar, makeKeyPair, makeSecretKey, openEnvelope, openProfile,
  requireCommitted, scalarOf, sealEnvelope, sealProfile, teamKeyCommitment, teamKeyPurpose,
} from "./keys.mjs";
import { CLOCK_SKEW, HANDSHAKE_LIFETIME, MEMBERS_EVER, POLL_INTERVAL, USER_LOG_ENTRIES } from "./limits.mjs";
import {
  join as joinContainer, newSnippetId, openContent, openHeader, requireStated, sealContent, split, SUITE, unwrapContentKey,
  wrapContentKey,
} from "./snippet.mjs";
import { openSelfSigned, parse, sign, verify } from "./statements.mjs";
import { devicesOf, TeamLog } from "./teamlog.mjs";
import { loginOf, nameCommitment, newOpening, openPrekey, requireTimely, UserLog, Window } from "./userlog.mjs";

export { ascending } from "./encodings.mjs";
export { parseCode } from "./invitation.mjs";

/** What the service said cannot be true. */
export class TamperError extends Error {
  constructor(message, options) {
    super(message, options);
    this.name = "TamperError";
  }
}

/**
 * A key that this device should have been given, and was not, or that is not the one that was committed to. The fault is that of
 * `device`, a device of `user`, which sealed it. Whatever else there is to read is not affected.
 */
export class Unreadable extends Refused {
  constructor(detail, { device, user }, options) {
    super("unreadable", `${detail}; sealed by the device ${device} of ${user}`, options);
    this.name = "Unreadable";
    Object.assign(this, { device, user });
  }
}

/** Runs checks of what the service said: whatever they refuse is an accusation. */
async function distrust(checks) {
  try {
    return await checks();
  } catch (cause) {
    throw cause instanceof Refused && !(cause instanceof Unreadable) ? new TamperError(cause.message, { cause }) : cause;
  }
}

/** Opens what `sealer` sealed, `{ device, user }`: whatever does not open is the sealer's fault. */
async function opening(sealer, open) {
  try {
    return await open();
  } catch (cause) {
    throw cause instanceof Refused ? new Unreadable(cause.message, sealer, { cause }) : cause;
  }
}

/** The code of a refusal for want of a key, which is nobody's fault: a device has no keys from before it was added. */
const NO_KEY = "not-found";

/** What could be opened, or else null and why not: `[opened, refusal]`. */
const attempt = (opened) =>
  opened.then(
    (value) => [value, null],
    (error) => {
      if (error instanceof Unreadable || (error instanceof Refused && error.code === NO_KEY)) return [null, error];
      throw error;
    },
  );

const DEFAULT_POLICY = { max_epoch_age: 30 * 24 * 3600, joining: "invitation" };
const ATTEMPTS = 5;
/** The head in a pin. */
const headOf = ({ seq, hash }) => ({ seq, hash });

/** More entries of a team's log, or snippets in a list, this client does not collect: a service could send them for ever. */
const MOST_ITEMS = 100_000;

export class Client {
  /**
   * Signs in a new device. `approve` is given the answer to the handshake, goes through the browser's part, and resolves when
   * that is done. `clock` gives seconds. If the account has no user yet, the device founds one; otherwise it stays inactive
   * until another device adds it ([`describe`]) or it starts over ([`startOver`]).
   */
  static async signIn({ origin, name, approve, fetch, clock = () => Math.floor(Date.now() / 1000), sleep }) {
    const key = await makeKeyPair("ECDSA");
    const client = new Client(new Api(origin, key, fetch), clock, key);
    await client.obtainTokens(name, approve, sleep);
    const { device, other } = await client.me();
    client.user = device.user ?? other?.user ?? null;
    if (client.user === null) await client.beginLog();
    return client;
  }

  constructor(api, clock, device) {
    this.api = api;
    this.now = clock;
    this.device = device;
    /** The user of this device; before it is in a log, the one that it would be added to, as the service says. */
    this.user = null;
    /** The user that this device founded, if it did. */
    this.founded = null;
    /** What the service says of the account. */
    this.account = null;
    this.tokens = null;
    /** Of a refresh that was begun and has no answer yet. */
    this.idempotencyKey = null;
    /** This device's prekey pairs by key id, and the id of the current one. */
    this.prekeys = new Map();
    this.prekey = null;
    /** By user and by team: the head that was verified last and when it was read, `{ seq, hash, readAt }`. */
    this.pins = new Map();
    /** The login that each user was first seen with. */
    this.logins = new Map();
    /** Team keys by `team epoch`. */
    this.teamKeys = new Map();
    /** Names that invitations told, and names that were known last, by team. */
    this.codeNames = new Map();
    this.teamNames = new Map();
    /** The teams that this client is in, or waits to be in. */
    this.ownTeams = new Set();
  }

  // --- sign-in, section 9 ---

  async obtainTokens(name, approve, sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms))) {
    const verifier = b64u.encode(randomBytes(32));
    const statement = { jwk: this.device.jwk, challenge: await hashOf(utf8(verifier)), name, iat: this.now() };
    const handshake = await this.api.handshake(await sign("osmynt-handshake+jws", statement, this.device));
    await distrust(() => {
      const addresses = [handshake.verification_uri, handshake.verification_uri_complete];
      require(addresses.every((address) => address.startsWith(`${this.api.origin}/`)), "invalid-request", "an address of another service");
      require(handshake.interval <= POLL_INTERVAL && handshake.expires_in <= HANDSHAKE_LIFETIME, "invalid-request", "a sign-in that takes too long");
    });
    await approve(handshake);
    let { interval } = handshake;
    for (;;) {
      try {
        this.keep(await this.api.tokens(handshake.device_code, verifier));
        return;
      } catch (problem) {
        if (problem.code !== "authorization_pending" && problem.code !== "slow_down") throw problem;
        if (problem.code === "slow_down") interval += 5;
        await sleep(interval * 1000);
      }
    }
  }

  /** The next generation of tokens. A refresh whose answer did not come is repeated with the key that it was begun with. */
  async refresh() {
    this.idempotencyKey ??= b64u.encode(randomBytes(16));
    this.keep(await this.api.refresh(this.tokens.refresh_token, this.idempotencyKey));
  }

  keep(tokens) {
    this.tokens = tokens;
    this.api.accessToken = tokens.access_token;
    this.idempotencyKey = null;
  }

  /** What the service says of account and device, as far as it is not false. */
  async me() {
    const me = await this.api.me();
    await distrust(() => {
      require(me.account.id === this.tokens.account, "invalid-request", "the service speaks of another account");
      require(me.device.id === this.device.id, "invalid-request", "the service speaks of another device");
      require(this.founded === null || me.device.user === this.founded, "invalid-request", "the service has this device in another log");
    });
    this.account = me.account;
    return me;
  }

  // --- the user's own log, section 3 ---

  /** Founds a user with this device. */
  async beginLog({ startOver = false } = {}) {
    if (this.account === null) await this.me();
    const log = new UserLog();
    const device = await this.describeDevice(null);
    const entries = [await this.appendTo(log, { type: "device.added", device })];
    const name = newOpening(this.account);
    entries.push(await this.appendTo(log, { type: "name.signed", commitment: await nameCommitment(log.user, name) }));
    await this.sendOwn(log, entries, [await this.newPrekey(log.user)], [name], startOver);
    this.user = log.user;
    this.founded = log.user;
  }

  /** Founds another user of the account with this device, which is in no log yet. */
  startOver = () => this.beginLog({ startOver: true });

  /** What another device of the user needs in order to add this one: `{ device, prekey }`, both statements. */
  async describe() {
    return { device: await this.describeDevice(this.user), prekey: await this.newPrekey() };
  }

  describeDevice = (user) => sign("osmynt-device+jws", { user, jwk: this.device.jwk, iat: this.now() }, this.device);

  async newPrekey(user = this.user) {
    const pair = await makeKeyPair("ECDH");
    this.prekeys.set(pair.id, pair);
    this.prekey = pair.id;
    return sign("osmynt-prekey+jws", { user, kind: "signed", key: pair.jwk, iat: this.now() }, this.device);
  }

  async renewPrekey() {
    await this.api.replacePrekey(await this.newPrekey());
  }

  addDevice = async ({ device, prekey }) => this.appendToOwnLog(await this.ownLog(), { type: "device.added", device }, [prekey]);
  revokeDevice = async (device) => this.appendToOwnLog(await this.ownLog(), { type: "device.revoked", device });

  /** Signs the login that GitHub gave at the last sign-in. */
  async signName() {
    const { account } = await this.me();
    const name = newOpening(account);
    await this.appendToOwnLog(await this.ownLog(), { type: "name.signed", commitment: await nameCommitment(this.user, name) }, [], [name]);
  }

  async appendToOwnLog(log, event, prekeys = [], names = []) {
    const entries = [await this.appendTo(log, event)];
    await this.sendOwn(log, entries, prekeys, names);
  }

  async appendTo(log, event) {
    const entry = { user: log.user, seq: log.entries.length, prev: log.head?.hash ?? null, iat: this.now(), event };
    const jws = await sign("osmynt-user+jws", entry, this.device);
    await log.append(jws, Math.max(this.now(), log.entries.at(-1)?.receivedAt ?? 0));
    return jws;
  }

  async sendOwn(log, entries, prekeys, names, startOver) {
    const { head, user } = await this.api.appendToMyLog(entries, prekeys, names, startOver);
    await distrust(() => require(sameHead(head, log.head) && user === log.user, "stale-log", "the log went elsewhere"));
    this.raise(log.user, head);
  }

  /** Remembers the head of a log after something of this client's own, unless it has come further meanwhile. */
  raise(key, head) {
    const pin = this.pins.get(key);
    if (head.seq > (pin?.seq ?? -1)) this.pins.set(key, { ...head, readAt: pin?.readAt ?? 0 });
  }

  ownLog = async () => (await this.readOwn()).log;

  /** This user's own log, and the prekeys of the devices in it: `{ log, prekeys }`. */
  async readOwn() {
    const reading = this.beginReading();
    let statements = [];
    const { entries, head } = await this.pages(USER_LOG_ENTRIES, async (from) => {
      const page = await this.api.myLog(from);
      statements = page.prekeys;
      return page;
    });
    return distrust(async () => {
      const log = await UserLog.read(this.user, entries, this.window(reading, this.user));
      this.pin(reading, this.user, log, head);
      const prekeys = new Map();
      await this.verifyPrekeys(log, statements, prekeys);
      return { log, prekeys };
    });
  }

  /** All entries of a log, of which there are `most`, page by page, and its head. */
  async pages(most, page) {
    const entries = [];
    for (;;) {
      const next = await page(entries.length);
      entries.push(...next.entries);
      await distrust(() => require(entries.length <= most && (next.head?.seq ?? 0) < most, "too-large", `more than ${most} entries`));
      if (next.entries.length === 0 || next.head === null || entries.length > next.head.seq) return { entries, head: next.head };
    }
  }

  // --- what was verified before, section 11, points 2 and 3 ---

  beginReading = () => ({ pinned: new Map(this.pins), readAt: this.now() });
  window = ({ pinned }, key) => new Window(this.now(), pinned.get(key));

  /**
   * Refuses a log that does not end in `head` or lacks the head that was verified last before it was asked for; and remembers its
   * head, unless something else that this client does has come further meanwhile.
   */
  pin({ pinned, readAt }, key, log, head) {
    require(sameHead(log.head, head), "stale-log", "the log does not end in its head");
    const before = pinned.get(key);
    require(before === undefined || log.contains(headOf(before)), "stale-log", "the log lacks a head that it had: a fork or a rollback");
    const present = this.pins.get(key);
    if (present === undefined || log.contains(headOf(present))) this.pins.set(key, { ...log.head, readAt: Math.max(readAt, present?.readAt ?? 0) });
    else require(present.seq > log.head.seq, "stale-log", "two logs at the same time: a fork");
  }

  // --- reading a team ---

  /**
   * A verified view of a team: `{ log, directory, prekeys, logins }`. The log is read first, so that the directory is never
   * older. With `proof` as the holder of an invitation.
   */
  async read(team, proof) {
    const reading = this.beginReading();
    const { entries, head } = await this.pages(MOST_ITEMS, (from) => this.api.log(team, from, proof));
    const users = [];
    for (let after = null; ; ) {
      const page = await this.api.directory(team, after, proof);
      users.push(...page.users);
      // Everybody who ever was in the team, and the caller.
      await distrust(() => require(users.length <= MEMBERS_EVER + 1, "too-large", "more people than a team has"));
      if (page.next === null) break;
      await distrust(() => require(page.users.length > 0, "invalid-request", "a directory that goes on without a user"));
      await distrust(() => require(after === null || page.next > after, "invalid-request", "the directory goes in a circle"));
      after = page.next;
    }
    return distrust(async () => {
      const people = await this.verifyDirectory(reading, users);
      const log = await TeamLog.read(entries, people.directory, this.window(reading, team));
      require(log.team === team, "invalid-request", "the log of another team");
      for (const user of log.everyone) require(people.directory.has(user), "invalid-request", "the directory leaves somebody out");
      this.pin(reading, team, log, head);
      return { log, ...people };
    });
  }

  async verifyDirectory(reading, users) {
    const directory = new Map();
    const prekeys = new Map();
    const logins = new Map();
    for (const { user, log: entries, name, prekeys: statements } of users) {
      require(!directory.has(user), "invalid-request", "the directory repeats somebody");
      const log = await UserLog.read(user, entries, this.window(reading, user));
      this.pin(reading, user, log, log.head);
      directory.set(user, log);
      logins.set(user, await loginOf(log, name));
      await this.verifyPrekeys(log, statements, prekeys);
    }
    return { directory, prekeys, logins };
  }

  /** Adds the signed prekeys of a user's devices to `prekeys`. */
  async verifyPrekeys(log, statements, prekeys) {
    for (const statement of statements) {
      const prekey = await openPrekey(statement, log);
      if (prekey === null) continue;
      require(!prekeys.has(prekey.device), "invalid-request", "two signed prekeys of one device");
      prekeys.set(prekey.device, prekey.jwk);
    }
  }

  /**
   * Members and whoever is pending, by user: `{ user, login, doubt }`. `doubt` says why the login is not to be relied upon:
   * "changed" since it was pinned, "shared" with another, "unopened" (the login is then the pinned one, if any); null otherwise.
   */
  people({ log, logins }) {
    const present = [...log.roster.keys(), ...log.pending.keys()];
    const nameless = this.#nameless(log, logins);
    const people = present.map((user) => {
      const found = logins.get(user);
      if (found === null) return { user, login: this.logins.get(user) ?? null, doubt: "unopened" };
      if (!this.logins.has(user) && !nameless) this.logins.set(user, found);
      return { user, login: found, doubt: [found, undefined].includes(this.logins.get(user)) ? null : "changed" };
    });
    const bearers = (name) => people.filter(({ login }) => login?.toLowerCase() === name.toLowerCase());
    // Somebody whom this client knew by it before, in whichever team.
    const first = (name) => [...this.logins].find(([, login]) => login?.toLowerCase() === name.toLowerCase())?.[0];
    const isShared = ({ user, login }) => bearers(login).length > 1 || (user !== this.user && ![user, undefined].includes(first(login)));
    const withDoubt = (person) => (person.doubt === null && isShared(person) ? { ...person, doubt: "shared" } : person);
    return new Map(people.map((person) => [person.user, withDoubt(person)]));
  }

  /** Whether somebody else is there by whom no name is shown, and who is known by none: theirs may be any. */
  #nameless({ roster, pending }, logins) {
    return [...roster.keys(), ...pending.keys()].some((user) => user !== this.user && logins.get(user) === null && !this.logins.has(user));
  }

  /** Relies on the login that somebody has now. */
  acceptName({ logins }, user) {
    this.logins.delete(user);
    // From now on they are the first.
    this.logins = new Map([[user, logins.get(user)], ...this.logins]);
  }

  /** The user id of the member with this login, about which there is no doubt. */
  userCalled(view, login) {
    const found = [...this.people(view).values()].find((person) => person.login === login);
    require(found !== undefined, "not-found", `no member is called ${login}`);
    require(found.doubt === null, "forbidden", `the name ${login} is in doubt (${found.doubt}): use the user id`);
    require(!this.#nameless(view.log, view.logins) || this.logins.has(found.user), "forbidden", `somebody whose name is not shown may be ${login} as well: use the user id`);
    return found.user;
  }

  /** The team key of an epoch. */
  async teamKey({ log }, epoch) {
    const name = `${log.team} ${epoch}`;
    if (!this.teamKeys.has(name)) {
      const rotation = log.rotation(epoch);
      const { envelopes } = await this.api.envelopes(log.team, epoch);
      await distrust(() => envelopes.forEach((each, index) => {
        require(each.epoch > (envelopes[index - 1]?.epoch ?? epoch - 1), "invalid-request", "envelopes of other epochs");
        require(each.envelope.device === this.device.id, "invalid-request", "an envelope for another device");
      }));
      const found = envelopes.find((each) => each.epoch === epoch);
      const isForUs = rotation?.roster.get(this.user)?.devices.includes(this.device.id);
      require(found !== undefined || isForUs, NO_KEY, "this device was not given the key of that epoch");
      this.teamKeys.set(name, await this.openTeamKey(log.team, epoch, rotation, found?.envelope));
    }
    return this.teamKeys.get(name);
  }

  openTeamKey = (team, epoch, { author, event }, envelope) =>
    opening(author, async () => {
      require(envelope !== undefined, "invalid-request", `the key of epoch ${epoch} is missing`);
      const key = await openEnvelope(envelope, teamKeyPurpose(team, epoch, author.device), this.ownPrekey(envelope));
      requireCommitted(await teamKeyCommitment(key, team, epoch), event.commitment);
      return key;
    });

  ownPrekey({ device, prekey }) {
    require(device === this.device.id && this.prekeys.has(prekey), "invalid-request", "an envelope for somebody else");
    return this.prekeys.get(prekey);
  }

  /** The name that an owner or admin sealed last; failing that, the invitation's; failing that, one that nobody vouches for. */
  async teamName(view) {
    const name = await this.knownName(view);
    if (name === undefined) throw new Refused("not-found", "no profile that this device can open");
    return name;
  }

  /** The same; undefined if there is none. */
  async knownName(view) {
    const { team } = view.log;
    const name =
      (await this.nameSealed(view, true)) ?? this.codeNames.get(team) ?? this.teamNames.get(team) ?? (await this.nameSealed(view, false));
    if (name !== undefined) this.teamNames.set(team, name);
    return name;
  }

  /** What a rotation seals: a name that counts for everybody only if it did so before. */
  async nameToSeal(view) {
    const { roster } = view.log;
    require(roster.has(this.user), "forbidden", "only members rotate");
    const isPlain = roster.get(this.user).role === "member";
    return (await (isPlain ? this.knownName(view) : this.nameSealed(view, true))) ?? "";
  }

  /** The last name that somebody has sealed who vouches for it, or does not. */
  nameSealed(view, vouched) {
    const { past } = view.log;
    const sealed = [...past.keys()].filter((seq) => past[seq].event.profile !== undefined && view.log.isVouched(seq) === vouched);
    return this.nameIn(view, sealed.reverse());
  }

  /** The name in the first of these entries' profiles that opens. */
  async nameIn(view, sealed) {
    for (const { event, author } of sealed.map((seq) => view.log.past[seq])) {
      const [key] = await attempt(this.teamKey(view, event.epoch));
      if (key === null) continue;
      const [profile] = await attempt(opening(author, () => openProfile(key, view.log.team, event.epoch, event.profile)));
      if (profile !== null) return profile.name;
    }
    return undefined;
  }

  // --- changing a team ---

  async createTeam(name, policy = DEFAULT_POLICY) {
    const { log: own, prekeys } = await this.readOwn();
    const view = { log: new TeamLog(), directory: new Map([[this.user, own]]), prekeys };
    const event = { type: "team.created", nonce: b64u.encode(randomBytes(16)), policy };
    const commit = await this.buildCommit(view, [event], name);
    const team = await this.sendCommit(commit, () => this.api.createTeam(commit.body));
    this.ownTeams.add(team);
    return team;
  }

  /** The caller's teams, as the service lists them, and those that it does not list any more: `{ teams, vanished }`. */
  async teams() {
    const { teams } = await this.api.teams();
    const listed = teams.map(({ team }) => team);
    await distrust(() => require(ascending(new Set(listed)).join() === listed.join(), "invalid-request", "the teams are not ascending"));
    return { teams, vanished: [...this.ownTeams].filter((team) => !listed.includes(team)) };
  }

  async deleteTeam(team) {
    await this.api.deleteTeam(team);
    this.ownTeams.delete(team);
  }

  /** An invitation, for the user with id `user` alone if that is given: `{ id, code }`. */
  async invite(team, { role = "member", uses = 1, seconds: lifetime = 3 * 24 * 3600, user } = {}) {
    const pair = await makeKeyPair("ECDSA");
    const exp = this.now() + lifetime;
    const commit = await this.change(team, () => [{ type: "invite.created", key: pair.jwk, role, exp, uses, ...(user !== undefined && { user }) }]);
    const code = { origin: this.api.origin, team, key: await scalarOf(pair.privateKey), head: commit.log.head, name: await this.teamName(commit) };
    return { id: pair.id, code: await makeCode(code) };
  }

  revokeInvite = (team, invite) => this.change(team, () => [{ type: "invite.revoked", invite }]);
  /** Lets in somebody who waits to be confirmed. */
  confirm = (team, user) => this.change(team, () => [{ type: "member.confirmed", user }], { rotate: () => true });
  /** Removes a member, or refuses somebody who waits to be confirmed. */
  removeMember = (team, user) => this.change(team, () => [{ type: "member.removed", user }], { rotate: ({ log }) => log.roster.has(user) });
  changeRole = (team, user, role) => this.change(team, () => [{ type: "role.changed", user, role }]);
  /** Members of the policy that are not given stay as they are. */
  changePolicy = (team, policy) => this.change(team, ({ log }) => [{ type: "policy.changed", policy: { ...log.policy, ...policy } }]);
  rotate = (team) => this.change(team, () => [], { rotate: () => true });

  /** Leaves a team, or withdraws from waiting to be confirmed. */
  async leave(team) {
    const commit = await this.change(team, () => [{ type: "member.left" }]);
    this.ownTeams.delete(team);
    return commit;
  }

  rename = (team, name) =>
    this.change(team, async (view) => {
      const { number } = view.log.epoch;
      return [{ type: "profile.changed", epoch: number, profile: await sealProfile(await this.teamKey(view, number), team, number, { name }) }];
    });

  /** Joins the team of an invitation's code, or asks to be confirmed if that is the team's policy; returns the team's id. */
  async join(code) {
    const { origin, team, key, head, name } = await parseCode(code);
    require(origin === this.api.origin, "invalid-request", "an invitation to another service");
    const invitation = await keyPairFromScalar("ECDSA", key);
    await this.retrying(null, async () => {
      const proven = { team, invite: invitation.id, user: this.user, iat: this.now() };
      const proof = await sign("osmynt-invite+jws", proven, invitation);
      const view = await this.read(team, proof);
      await distrust(() => require(view.log.contains(head), "stale-log", "the log lacks the head of the invitation"));
      const rotates = view.log.policy.joining === "invitation";
      const commit = await this.buildCommit(view, [{ type: "member.joined", invite: invitation.id, proof }], rotates ? name : null);
      await this.sendCommit(commit, () => this.api.commit(team, commit.body));
    });
    this.codeNames.set(team, name);
    this.ownTeams.add(team);
    return team;
  }

  /** Commits the events that `events` makes of a fresh view, with a rotation if `rotate` says so of it. */
  change(team, events, { rotate = () => false } = {}) {
    return this.retrying(team, async () => {
      const view = await this.read(team);
      const commit = await this.buildCommit(view, await events(view), rotate(view) ? await this.nameToSeal(view) : null);
      await this.sendCommit(commit, () => this.api.commit(team, commit.body));
      return commit;
    });
  }

  /**
   * Entries for `events` and, where `name` is given, a rotation that seals it. They pass the same state machine that verifies
   * the logs of others: what it refuses is not sent. Returns the view after the commit, with the `body` to send.
   */
  async buildCommit(view, events, name) {
    const { log, directory, prekeys } = view;
    const draft = log.draft();
    const entries = [];
    const append = async (event) => {
      const entry = { team: draft.team, seq: draft.past.length, prev: draft.head?.hash ?? null, iat: this.now(), user: this.user, event };
      const jws = await sign("osmynt-team+jws", entry, this.device);
      await draft.append(jws, Math.max(this.now(), draft.past.at(-1)?.receivedAt ?? 0), directory);
      entries.push(jws);
    };
    for (const event of events) await append(event);
    const rotation = name === null ? null : await this.buildRotation(draft, directory, prekeys, name);
    if (rotation !== null) await append(rotation.event);
    draft.requireSettled();
    return { ...view, log: draft, key: rotation?.key, body: { entries, envelopes: rotation?.envelopes ?? [] } };
  }

  async buildRotation(log, directory, prekeys, name) {
    const { seqs, heads, roster } = await log.rotationFor(directory);
    const epoch = (log.epoch?.number ?? 0) + 1;
    const key = makeSecretKey();
    const devices = devicesOf(roster);
    const envelopes = await this.sealToAll(key, teamKeyPurpose(log.team, epoch, this.device.id), devices, prekeys);
    const event = {
      type: "key.rotated",
      epoch,
      seqs,
      heads,
      devices: await deviceSetHash(devices),
      envelopes: await envelopeSetHash(envelopes),
      commitment: await teamKeyCommitment(key, log.team, epoch),
      profile: await sealProfile(key, log.team, epoch, { name }),
    };
    return { event, envelopes, key };
  }

  /** One envelope for each device, ascending by device. */
  async sealToAll(key, purpose, devices, prekeys) {
    const ids = ascending(devices.map(({ device }) => device));
    return Promise.all(ids.map((device) => sealEnvelope(key, purpose, { device, prekey: this.prekeyOf(device, prekeys) })));
  }

  prekeyOf(device, prekeys) {
    const own = device === this.device.id ? this.prekeys.get(this.prekey)?.jwk : undefined;
    const jwk = prekeys.get(device) ?? own;
    // There may be one of a kind that this client does not know.
    require(jwk !== undefined, NO_KEY, `there is no prekey of the device ${device} to seal to`);
    return jwk;
  }

  async sendCommit({ log, key }, send) {
    const answer = await send();
    await distrust(() => {
      require(answer.team === log.team && sameHead(answer.head, log.head), "stale-log", "the commit went elsewhere");
      require(answer.epoch === log.epoch.number, "stale-log", "the service speaks of another epoch");
    });
    this.raise(log.team, log.head);
    if (key !== undefined) this.teamKeys.set(`${log.team} ${log.epoch.number}`, key);
    return log.team;
  }

  /** Section 11, point 11. */
  async retrying(team, action) {
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await action();
      } catch (error) {
        const again = error instanceof Problem && ["stale-log", "coverage-mismatch", "rotation-required"].includes(error.code);
        if (!again || attempt === ATTEMPTS) throw error;
        if (error.code === "rotation-required" && team !== null) await this.rotate(team);
      }
    }
  }

  // --- snippets, section 7 ---

  /** Shares `content` with the team, or with the members in `to`; returns the snippet's id. */
  async share(team, content, { to = null, header = {}, exp } = {}) {
    const snippet = newSnippetId(this.now() * 1000);
    await this.retrying(team, async () => {
      const container = await this.buildSnippet(await this.readFresh(team), snippet, content, { to, header, exp });
      await this.insisting(() => this.api.putSnippet(team, snippet, container));
    });
    return snippet;
  }

  /** A view of a team whose epoch is not stale, and of whose epoch this device has the key. */
  async readFresh(team) {
    const view = await this.read(team);
    const { log, directory } = view;
    if (!log.isStale(directory, this.now()) && (await attempt(this.teamKey(view, log.epoch.number)))[0] !== null) return view;
    await this.rotate(team);
    return this.read(team);
  }

  /** Sends the very same again while the service has no time: sealed anew, it would be another snippet of the same id. */
  async insisting(send) {
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await send();
      } catch (error) {
        if (!(error instanceof Problem && error.code === "unavailable") || attempt === ATTEMPTS) throw error;
      }
    }
  }

  async buildSnippet(view, snippet, content, { to, header, exp }) {
    const { log } = view;
    const contentKey = makeSecretKey();
    const fullHeader = { kind: "code", size: content.length, ...header };
    const { ciphertext, members } = await sealContent(contentKey, log.team, snippet, fullHeader, content);
    const sealed = to === null ? await this.sealToTeam(view, snippet, contentKey) : await this.sealToMembers(view, snippet, contentKey, to);
    const statement = {
      suite: SUITE,
      team: log.team,
      snippet,
      user: this.user,
      audience: sealed.audience,
      ...members,
      head: log.head,
      iat: this.now(),
      ...(exp !== undefined && { exp }),
    };
    return joinContainer(await sign("osmynt-snippet+jws", statement, this.device), ciphertext, sealed.envelopes);
  }

  async sealToTeam(view, snippet, contentKey) {
    const { team, epoch } = view.log;
    const wrapped = await wrapContentKey(contentKey, await this.teamKey(view, epoch.number), team, epoch.number, snippet);
    return { audience: { type: "team", epoch: epoch.number, wrapped }, envelopes: [] };
  }

  async sealToMembers({ log, prekeys }, snippet, contentKey, to) {
    const members = ascending(to);
    const devices = devicesOf(audienceOf(log.roster, members, this.user));
    const envelopes = await this.sealToAll(contentKey, contentKeyPurpose(log.team, snippet, this.device.id), devices, prekeys);
    const audience = { type: "members", epoch: log.epoch.number, members, envelopes: await envelopeSetHash(envelopes) };
    return { audience, envelopes };
  }

  /** A verified snippet: `{ statement, header, content, receivedAt }`. */
  async open(team, snippet) {
    const { container, receivedAt } = await this.api.snippetReceived(team, snippet);
    // Read after the snippet, so that the log has the snippet's head.
    const view = await this.read(team);
    const { payload, kid, envelopes, ciphertext } = await distrust(async () => {
      const { statement, ...parts } = split(container);
      const verified = await this.verifySnippet(view, statement, parts.envelopes, receivedAt);
      require(verified.payload.snippet === snippet, "invalid-request", "another snippet");
      await requireStated(verified.payload, parts.ciphertext);
      return { ...verified, ...parts };
    });
    require(payload.exp == null || payload.exp > this.now(), "gone", "the snippet has expired");
    const author = { device: kid, user: payload.user };
    const contentKey = await this.contentKey(view, payload, author, envelopes);
    return { statement: payload, ...(await opening(author, () => openContent(contentKey, payload, ciphertext))), receivedAt };
  }

  /**
   * The verified snippets for this user: `[{ statement, header, receivedAt, refusal }]`, newest first. `header` is null where this
   * device has no key or the author did not seal it well: `refusal` says why.
   */
  async list(team, { limit } = {}) {
    const found = [];
    for (let cursor = null; ; ) {
      const page = await this.api.snippets(team, { cursor, limit });
      found.push(...page.snippets);
      await distrust(() => require(found.length <= MOST_ITEMS, "too-large", "more snippets than this client reads"));
      if (page.next === null) break;
      await distrust(() => require(page.snippets.length > 0, "invalid-request", "a list that goes on without a snippet"));
      cursor = page.next;
    }
    const view = await this.read(team);
    const listed = [];
    for (const { statement, envelopes, received_at: receivedAt } of found) {
      const { payload, kid } = await distrust(() => this.verifySnippet(view, statement, envelopes, receivedAt));
      const isNew = listed.every((each) => each.statement.snippet !== payload.snippet);
      await distrust(() => require(isNew, "invalid-request", "a snippet is listed twice"));
      const author = { device: kid, user: payload.user };
      const open = async () => opening(author, async () => openHeader(await this.contentKey(view, payload, author, envelopes), payload));
      const [header, refusal] = await attempt(open());
      listed.push({ statement: payload, header, receivedAt, refusal });
    }
    return listed;
  }

  /**
   * Section 11, point 6, but for the ciphertext. For a file, `receivedAt` is the statement's own time. Returns the statement and
   * what the team's log held at its head.
   */
  async verifySnippet({ log, directory }, compact, envelopes, receivedAt) {
    const statement = await parse("osmynt-snippet+jws", compact);
    const { team, user, audience, head, iat, exp } = statement.payload;
    require(team === log.team, "invalid-request", "a snippet of another team");
    const past = log.at(head);
    require(past.roster.get(user)?.devices.includes(statement.kid), "forbidden", "not signed by a device that a member had then");
    const at = receivedAt ?? iat;
    require(directory.get(user).speaksAt(statement.kid, at), "forbidden", "signed by a device that did not speak for the author then");
    await verify(statement, directory.get(user).devices.get(statement.kid).jwk);
    require(audience.epoch === past.epoch.number, "rotation-required", "not the epoch at its head");
    require(exp == null || exp > iat, "invalid-request", "expired before it was made");
    const next = log.past[head.seq + 1]?.receivedAt ?? Infinity;
    requireTimely(iat, at);
    require(at >= past.receivedAt - CLOCK_SKEW && at <= next + CLOCK_SKEW, "clock-skew", "received at a time that does not fit the log's");
    require(at <= this.now() + CLOCK_SKEW, "clock-skew", "received in the future");
    if (audience.type === "members") requireAudience(past.roster, audience, user);
    else require(envelopes.length === 0, "invalid-request", "envelopes of a snippet to the team");
    return { ...statement, past };
  }

  async contentKey(view, { team, snippet, audience }, author, envelopes) {
    if (audience.type === "team") {
      const teamKey = await this.teamKey(view, audience.epoch);
      return opening(author, () => unwrapContentKey(audience.wrapped, teamKey, team, audience.epoch, snippet));
    }
    const envelope = envelopes.find(({ device }) => device === this.device.id);
    const devices = view.log.rotation(audience.epoch).roster.get(this.user)?.devices ?? [];
    const isForUs = [...audience.members, author.user].includes(this.user) && devices.includes(this.device.id);
    require(envelope !== undefined || isForUs, NO_KEY, "the snippet is for other devices");
    return opening(author, () => {
      require(envelope !== undefined, "invalid-request", "the envelope for this device is missing");
      return openEnvelope(envelope, contentKeyPurpose(team, snippet, author.device), this.ownPrekey(envelope));
    });
  }

  deleteSnippet = (team, snippet) => this.api.deleteSnippet(team, snippet);
}

/** The part of a roster that a snippet to `members` is sealed to: they and the author. */
function audienceOf(roster, members, author) {
  return new Map([...members, author].map((user) => [user, roster.get(user) ?? { user, devices: [] }]));
}

function requireAudience(roster, { members }, author) {
  require(ascending(new Set(members)).join() === members.join(), "invalid-request", "members are distinct and ascending");
  require(!members.includes(author), "invalid-request", "the author is not one of the members");
  require(members.every((user) => roster.has(user)), "invalid-request", "sent to somebody who is no member");
}
