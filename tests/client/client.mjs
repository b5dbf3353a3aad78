// A client of docs/protocol.md, in memory: signs in, keeps keys, verifies everything that the service says (section 11).

import { Api, Problem } from "./api.mjs";
import {
  b64u, fromUtf8, hash, hashOf, head as headShape, object, parseAs, randomBytes, Refused, require, sameHead, seconds, string, utf8,
} from "./encodings.mjs";
import {
  contentKeyPurpose, deviceSetHash, envelopeSetHash, keyPairFromScalar, makeKeyPair, makeSecretKey, openEnvelope, openProfile,
  requireCommitted, scalarOf, sealEnvelope, sealProfile, teamKeyCommitment, teamKeyPurpose,
} from "./keys.mjs";
import {
  join as joinContainer, newSnippetId, openContent, openHeader, sealContent, split, SUITE, unwrapContentKey, wrapContentKey,
} from "./snippet.mjs";
import { CLOCK_SKEW } from "./limits.mjs";
import { openSelfSigned, parse, sign, verify } from "./statements.mjs";
import { devicesOf, TeamLog } from "./teamlog.mjs";
import { openPrekey, requireTimely, UserLog } from "./userlog.mjs";

/** What the service said cannot be true. */
export class TamperError extends Error {
  constructor(message, options) {
    super(message, options);
    this.name = "TamperError";
  }
}

/** Runs checks of what the service said: whatever they refuse is an accusation. */
async function distrust(checks) {
  try {
    return await checks();
  } catch (cause) {
    throw cause instanceof Refused ? new TamperError(cause.message, { cause }) : cause;
  }
}

/** The code of a refusal for want of a key, which is nobody's fault: a device has no keys from before it was added. */
const NO_KEY = "not-found";

const orNull = (key) =>
  key.catch((error) => {
    if (error instanceof Refused && error.code === NO_KEY) return null;
    throw error;
  });

const DEFAULT_POLICY = { max_epoch_age: 30 * 24 * 3600 };
const ATTEMPTS = 5;

export class Client {
  /**
   * Signs in a new device. `approve` is given the answer to the handshake, goes through the browser's part, and resolves when
   * that is done. `clock` gives seconds. A device whose user has no log yet begins it; others stay inactive.
   */
  static async signIn({ origin, name, approve, fetch, clock = () => Math.floor(Date.now() / 1000), sleep }) {
    const key = await makeKeyPair("ECDSA");
    const client = new Client(new Api(origin, key, fetch), clock, key);
    await client.obtainTokens(name, approve, sleep);
    const { user, device, log } = await client.api.me();
    await distrust(() => {
      require(user.id === client.user, "invalid-request", "the service speaks of another user");
      require(device.id === client.device.id, "invalid-request", "the service speaks of another device");
    });
    client.person = user;
    if (log === null) await client.beginLog();
    return client;
  }

  constructor(api, clock, device) {
    this.api = api;
    this.now = clock;
    this.device = device;
    this.user = null;
    this.tokens = null;
    /** Of a refresh that was begun and has no answer yet. */
    this.idempotencyKey = null;
    /** This device's prekey pairs by key id, and the id of the current one. */
    this.prekeys = new Map();
    this.prekey = null;
    /** Prekeys of the user's other devices, as those told directly: the service tells them with a team's directory only. */
    this.siblingPrekeys = new Map();
    /** The heads verified last, by user and by team. */
    this.pins = new Map();
    /** Team keys by `team epoch`. */
    this.teamKeys = new Map();
    /** Names that invitation links told, by team. */
    this.linkNames = new Map();
  }

  // --- sign-in, section 9 ---

  async obtainTokens(name, approve, sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms))) {
    const verifier = b64u.encode(randomBytes(32));
    const statement = { jwk: this.device.jwk, challenge: await hashOf(utf8(verifier)), name, iat: this.now() };
    const handshake = await this.api.handshake(await sign("osmynt-handshake+jws", statement, this.device));
    await approve(handshake);
    let { interval } = handshake;
    for (;;) {
      try {
        this.keep(await this.api.tokens(handshake.device_code, verifier));
        break;
      } catch (problem) {
        if (problem.code !== "authorization_pending" && problem.code !== "slow_down") throw problem;
        if (problem.code === "slow_down") interval += 5;
        await sleep(interval * 1000);
      }
    }
    this.user = this.tokens.user;
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

  // --- the user's own log, section 3 ---

  async beginLog() {
    const { device, prekey } = await this.describe();
    await this.appendToOwnLog(new UserLog(this.user), { type: "device.added", device }, [prekey]);
  }

  /** What another device of the user needs in order to add this one: `{ device, prekey }`, both statements. */
  async describe() {
    const device = await sign("osmynt-device+jws", { user: this.user, jwk: this.device.jwk, iat: this.now() }, this.device);
    return { device, prekey: await this.newPrekey() };
  }

  async newPrekey() {
    const pair = await makeKeyPair("ECDH");
    this.prekeys.set(pair.id, pair);
    this.prekey = pair.id;
    return sign("osmynt-prekey+jws", { user: this.user, kind: "signed", key: pair.jwk, iat: this.now() }, this.device);
  }

  async renewPrekey() {
    await this.api.replacePrekey(await this.newPrekey());
  }

  async addDevice({ device, prekey }) {
    const { kid } = await openSelfSigned("osmynt-device+jws", device);
    await this.appendToOwnLog(await this.ownLog(), { type: "device.added", device }, [prekey]);
    this.learnSiblingPrekey(kid, (await parse("osmynt-prekey+jws", prekey)).payload.key);
  }

  learnSiblingPrekey(device, jwk) {
    this.siblingPrekeys.set(device, jwk);
  }

  async revokeDevice(device) {
    await this.appendToOwnLog(await this.ownLog(), { type: "device.revoked", device }, []);
  }

  /** Starts the account over with this device. */
  async resetIdentity() {
    const { device, prekey } = await this.describe();
    await this.appendToOwnLog(await this.ownLog(), { type: "identity.reset", device }, [prekey]);
  }

  async appendToOwnLog(log, event, prekeys) {
    const entry = { user: this.user, seq: log.entries.length, prev: log.head?.hash ?? null, iat: this.now(), event };
    const jws = await sign("osmynt-user+jws", entry, this.device);
    await log.append(jws, Math.max(this.now(), log.entries.at(-1)?.receivedAt ?? 0));
    const { head, identity } = await this.api.appendToMyLog([jws], prekeys);
    await distrust(() => require(sameHead(head, log.head) && identity === log.identity, "stale-log", "the log went elsewhere"));
    this.raise(this.user, head);
  }

  /** Remembers the head of a log after something of this client's own, unless it has come further meanwhile. */
  raise(key, head) {
    if (head.seq > (this.pins.get(key)?.seq ?? -1)) this.pins.set(key, head);
  }

  async ownLog() {
    const pinned = new Map(this.pins);
    const { entries, head } = await this.pages((from) => this.api.myLog(from));
    return distrust(async () => {
      const log = await UserLog.read(this.user, entries);
      this.pin(pinned, this.user, log, head);
      return log;
    });
  }

  /** All entries of a log, page by page, and its head. */
  async pages(page) {
    const entries = [];
    for (;;) {
      const next = await page(entries.length);
      entries.push(...next.entries);
      if (next.entries.length === 0 || next.head === null || entries.length > next.head.seq) return { entries, head: next.head };
    }
  }

  /**
   * Refuses a log that does not end in `head` or lacks the head that was verified last before it was asked for, as `pinned` has it;
   * and remembers its head, unless something else that this client does has come further meanwhile.
   */
  pin(pinned, key, log, head) {
    require(sameHead(log.head, head), "stale-log", "the log does not end in its head");
    const before = pinned.get(key);
    require(before === undefined || log.contains(before), "stale-log", "the log lacks a head that it had: a fork or a rollback");
    const present = this.pins.get(key);
    if (log.head !== null && (present === undefined || log.contains(present))) this.pins.set(key, log.head);
    else require(present === undefined || present.seq > log.head.seq, "stale-log", "two logs at the same time: a fork");
  }

  // --- reading a team ---

  /**
   * A verified view of a team: `{ log, directory, prekeys }`. The log is read first, so that the directory is never older.
   * With `proof` as the holder of an invitation.
   */
  async read(team, proof) {
    const pinned = new Map(this.pins);
    const { entries, head } = await this.pages((from) => this.api.log(team, from, proof));
    const users = [];
    for (let after = null; ; ) {
      const page = await this.api.directory(team, after, proof);
      users.push(...page.users);
      if (page.next === null) break;
      await distrust(() => require(after === null || page.next > after, "invalid-request", "the directory goes in a circle"));
      after = page.next;
    }
    return distrust(async () => {
      const { directory, prekeys } = await this.verifyDirectory(pinned, users);
      const log = await TeamLog.read(entries, directory);
      require(log.team === team, "invalid-request", "the log of another team");
      for (const user of log.everyone) require(directory.has(user), "invalid-request", "the directory leaves somebody out");
      this.pin(pinned, team, log, head);
      return { log, directory, prekeys };
    });
  }

  async verifyDirectory(pinned, users) {
    const directory = new Map();
    const prekeys = new Map();
    for (const { user, log: entries, prekeys: statements } of users) {
      require(!directory.has(user), "invalid-request", "the directory repeats somebody");
      const log = await UserLog.read(user, entries);
      this.pin(pinned, user, log, log.head);
      directory.set(user, log);
      for (const statement of statements) {
        const { device, jwk } = await openPrekey(statement, log);
        require(!prekeys.has(device), "invalid-request", "two signed prekeys of one device");
        prekeys.set(device, jwk);
      }
    }
    return { directory, prekeys };
  }

  /** The team key of an epoch. */
  async teamKey({ log }, epoch) {
    const name = `${log.team} ${epoch}`;
    if (!this.teamKeys.has(name)) {
      const rotation = log.past.find(({ event }) => event.type === "key.rotated" && event.epoch === epoch);
      const { envelopes } = await this.api.envelopes(log.team, epoch);
      const found = envelopes.find((each) => each.epoch === epoch);
      require(found !== undefined, NO_KEY, "this device was not given the key of that epoch");
      this.teamKeys.set(name, await distrust(() => this.openTeamKey(log.team, epoch, rotation, found.envelope)));
    }
    return this.teamKeys.get(name);
  }

  async openTeamKey(team, epoch, { author, event }, envelope) {
    const key = await openEnvelope(envelope, teamKeyPurpose(team, epoch, author.device), this.ownPrekey(envelope));
    requireCommitted(await teamKeyCommitment(key, team, epoch), event.commitment);
    return key;
  }

  ownPrekey({ device, prekey }) {
    require(device === this.device.id && this.prekeys.has(prekey), "invalid-request", "an envelope for somebody else");
    return this.prekeys.get(prekey);
  }

  /** The name that an owner or admin sealed last; failing that, the invitation's; failing that, one that a plain member sealed. */
  async teamName(view) {
    const sealed = view.log.past.filter(({ event }) => event.profile !== undefined).reverse();
    const byRole = ({ author, roster }) => (roster.get(author.user)?.role === "member" ? 1 : 0);
    for (const plain of [0, 1]) {
      if (plain === 1 && this.linkNames.has(view.log.team)) return this.linkNames.get(view.log.team);
      for (const { event } of sealed.filter((each) => byRole(each) === plain)) {
        const key = await orNull(this.teamKey(view, event.epoch));
        if (key !== null) return (await distrust(() => openProfile(key, view.log.team, event.epoch, event.profile))).name;
      }
    }
    throw new Refused("not-found", "no profile that this device can open");
  }

  // --- changing a team ---

  async createTeam(name, policy = DEFAULT_POLICY) {
    const own = await this.ownLog();
    const view = { log: new TeamLog(), directory: new Map([[this.user, own]]), prekeys: new Map() };
    const event = { type: "team.created", nonce: b64u.encode(randomBytes(16)), identity: own.identity, policy };
    const commit = await this.buildCommit(view, [event], name);
    return this.sendCommit(commit, () => this.api.createTeam(commit.body));
  }

  async invite(team, { role = "member", uses = 1, seconds: lifetime = 7 * 24 * 3600 } = {}) {
    const pair = await makeKeyPair("ECDSA");
    const commit = await this.change(team, () => [{ type: "invite.created", key: pair.jwk, role, exp: this.now() + lifetime, uses }]);
    const name = await this.teamName(commit);
    const link = { team, key: b64u.encode(await scalarOf(pair.privateKey)), head: commit.log.head, name };
    return { id: pair.id, link: `${this.api.origin}/join#v1.${b64u.encode(utf8(JSON.stringify(link)))}` };
  }

  revokeInvite = (team, invite) => this.change(team, () => [{ type: "invite.revoked", invite }]);
  removeMember = (team, user) => this.change(team, () => [{ type: "member.removed", user }], { rotate: true });
  leave = (team) => this.change(team, () => [{ type: "member.left" }]);
  changeRole = (team, user, role) => this.change(team, () => [{ type: "role.changed", user, role }]);
  changePolicy = (team, policy) => this.change(team, () => [{ type: "policy.changed", policy }]);
  rotate = (team) => this.change(team, () => [], { rotate: true });

  rename = (team, name) =>
    this.change(team, async (view) => {
      const { number } = view.log.epoch;
      return [{ type: "profile.changed", epoch: number, profile: await sealProfile(await this.teamKey(view, number), team, number, { name }) }];
    });

  /** Joins the team of an invitation link, and returns its id. */
  async join(link) {
    const { origin, team, key, head, name } = parseLink(link);
    require(origin === this.api.origin, "invalid-request", "an invitation to another service");
    const invitation = await keyPairFromScalar("ECDSA", b64u.decode(key, 32));
    await this.retrying(null, async () => {
      const own = await this.ownLog();
      const proven = { team, invite: invitation.id, user: this.user, identity: own.identity, iat: this.now() };
      const proof = await sign("osmynt-invite+jws", proven, invitation);
      const view = await this.read(team, proof);
      await distrust(() => require(view.log.contains(head), "stale-log", "the log lacks the head of the invitation"));
      const commit = await this.buildCommit(view, [{ type: "member.joined", invite: invitation.id, identity: own.identity, proof }], name);
      await this.sendCommit(commit, () => this.api.commit(team, commit.body));
    });
    this.linkNames.set(team, name);
    return team;
  }

  /** Commits the events that `events` makes of a fresh view, with a rotation if asked for. */
  change(team, events, { rotate = false } = {}) {
    return this.retrying(team, async () => {
      const view = await this.read(team);
      const commit = await this.buildCommit(view, await events(view), rotate ? await this.teamName(view) : null);
      await this.sendCommit(commit, () => this.api.commit(team, commit.body));
      return commit;
    });
  }

  /**
   * Entries for `events` and, where `name` is given, a rotation that seals it. They pass the same state machine that verifies
   * the logs of others: what it refuses is not sent. Returns the view after the commit, with the `body` to send.
   */
  async buildCommit({ log, directory, prekeys }, events, name) {
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
    return { log: draft, directory, prekeys, key: rotation?.key, body: { entries, envelopes: rotation?.envelopes ?? [] } };
  }

  async buildRotation(log, directory, prekeys, name) {
    const { heads, roster } = log.rotationFor(directory);
    const epoch = (log.epoch?.number ?? 0) + 1;
    const key = makeSecretKey();
    const devices = devicesOf(roster);
    const envelopes = await this.sealToAll(key, teamKeyPurpose(log.team, epoch, this.device.id), devices, prekeys);
    const event = {
      type: "key.rotated",
      epoch,
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
    const jwk = device === this.device.id ? this.prekeys.get(this.prekey).jwk : (prekeys.get(device) ?? this.siblingPrekeys.get(device));
    if (jwk === undefined) throw new TamperError(`the directory has no prekey of the device ${device}`);
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

  /** Section 11, point 7. */
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
      const container = await this.buildSnippet(await this.read(team), snippet, content, { to, header, exp });
      await this.insisting(() => this.api.putSnippet(team, snippet, container));
    });
    return snippet;
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
    const statement = {
      suite: SUITE,
      team: log.team,
      snippet,
      user: this.user,
      audience: to === null ? await this.sealToTeam(view, snippet, contentKey) : await this.sealToMembers(view, snippet, contentKey, to),
      ...members,
      head: log.head,
      iat: this.now(),
      ...(exp !== undefined && { exp }),
    };
    return joinContainer(await sign("osmynt-snippet+jws", statement, this.device), ciphertext);
  }

  async sealToTeam(view, snippet, contentKey) {
    const { team, epoch } = view.log;
    const wrapped = await wrapContentKey(contentKey, await this.teamKey(view, epoch.number), team, epoch.number, snippet);
    return { type: "team", epoch: epoch.number, wrapped };
  }

  async sealToMembers({ log, prekeys }, snippet, contentKey, to) {
    const members = [...to].sort();
    const devices = devicesOf(audienceOf(log.roster, members, this.user));
    const envelopes = await this.sealToAll(contentKey, contentKeyPurpose(log.team, snippet, this.device.id), devices, prekeys);
    return { type: "members", epoch: log.epoch.number, members, envelopes };
  }

  /** A verified snippet: `{ statement, header, content }`. */
  async open(team, snippet) {
    const container = await this.api.snippet(team, snippet);
    // Read after the snippet, so that the log has the snippet's head.
    const view = await this.read(team);
    const { payload, kid, ciphertext } = await distrust(async () => {
      const { statement, ciphertext } = split(container);
      const verified = await this.verifySnippet(view, statement);
      require(verified.payload.snippet === snippet, "invalid-request", "another snippet");
      return { ...verified, ciphertext };
    });
    require(payload.exp == null || payload.exp > this.now(), "gone", "the snippet has expired");
    const contentKey = await this.contentKey(view, payload, kid);
    return { statement: payload, ...(await distrust(() => openContent(contentKey, payload, ciphertext))) };
  }

  /** The verified snippets for this user: `[{ statement, header, receivedAt }]`, newest first. `header` is null where this device has no key. */
  async list(team, { limit } = {}) {
    const found = [];
    for (let cursor = null; ; ) {
      const page = await this.api.snippets(team, { cursor, limit });
      found.push(...page.snippets);
      if (page.next === null) break;
      cursor = page.next;
    }
    const view = await this.read(team);
    const listed = [];
    for (const { statement, received_at } of found) {
      const { payload, kid, past } = await distrust(() => this.verifySnippet(view, statement));
      const receivedAt = seconds(received_at);
      await distrust(() => {
        requireTimely(payload.iat, receivedAt, past.receivedAt);
        require(listed.every((each) => each.statement.snippet !== payload.snippet), "invalid-request", "a snippet is listed twice");
      });
      const contentKey = await orNull(this.contentKey(view, payload, kid));
      const header = contentKey === null ? null : await distrust(() => openHeader(contentKey, payload));
      listed.push({ statement: payload, header, receivedAt });
    }
    return listed;
  }

  /** Section 11, point 5, but for the ciphertext. Returns the statement and what the team's log held at its head. */
  async verifySnippet({ log, directory }, compact) {
    const statement = await parse("osmynt-snippet+jws", compact);
    const { team, user, audience, head, iat, exp } = statement.payload;
    require(team === log.team, "invalid-request", "a snippet of another team");
    const past = log.at(head);
    // A snippet is admitted under fresh epochs only, in which a member's devices are those that the epoch names.
    const isAuthors = past.roster.get(user)?.devices.includes(statement.kid);
    require(isAuthors, "forbidden", "not signed by a device that a member had then");
    await verify(statement, directory.get(user).devices.get(statement.kid).jwk);
    require(audience.epoch === past.epoch.number, "rotation-required", "not the epoch at its head");
    require(exp == null || exp > iat, "invalid-request", "expired before it was made");
    // Its receipt time lies between that of its head and that of the next entry, whether or not the service tells it.
    const next = log.past[head.seq + 1]?.receivedAt ?? Infinity;
    require(iat >= past.receivedAt - CLOCK_SKEW && iat <= next + CLOCK_SKEW, "clock-skew", "the stated time does not fit the log's times");
    if (audience.type === "members") requireExactAudience(past.roster, audience, user);
    return { ...statement, past };
  }

  async contentKey(view, { team, snippet, audience }, sender) {
    if (audience.type === "team") {
      const teamKey = await this.teamKey(view, audience.epoch);
      return distrust(() => unwrapContentKey(audience.wrapped, teamKey, team, audience.epoch, snippet));
    }
    const envelope = audience.envelopes.find(({ device }) => device === this.device.id);
    require(envelope !== undefined, NO_KEY, "the snippet is for other devices");
    return distrust(() => openEnvelope(envelope, contentKeyPurpose(team, snippet, sender), this.ownPrekey(envelope)));
  }

  deleteSnippet = (team, snippet) => this.api.deleteSnippet(team, snippet);
}

/** Ids that are hashes, ascending as section 1 has it: by the hashes that they stand for. The order of their text is another. */
export const ascending = (ids) => ids.toSorted((a, b) => Buffer.compare(b64u.decode(a), b64u.decode(b)));

/** The part of a roster that a snippet to `members` is sealed to: they and the author. */
function audienceOf(roster, members, author) {
  return new Map([...members, author].map((user) => [user, roster.get(user) ?? { user, devices: [] }]));
}

function requireExactAudience(roster, { members, envelopes }, author) {
  const areAscending = members.every((user, index) => index === 0 || members[index - 1] < user);
  require(areAscending && !members.includes(author), "invalid-request", "members are distinct, ascending, and not the author");
  require(members.every((user) => roster.has(user)), "invalid-request", "sent to somebody who is no member");
  const expected = ascending(devicesOf(audienceOf(roster, members, author)).map(({ device }) => device));
  const found = envelopes.map(({ device }) => device);
  require(expected.join() === found.join(), "coverage-mismatch", "not one envelope for each device, ascending");
}

const linkShape = object({ team: hash, key: hash, head: headShape, name: string });

/** The contents of an invitation link's fragment, and the service that it leads to. */
export function parseLink(link) {
  const { origin, pathname, hash: fragment } = new URL(link);
  require(pathname === "/join" && fragment.startsWith("#v1."), "invalid-request", "not an invitation link");
  return { origin, ...parseAs(linkShape, fromUtf8(b64u.decode(fragment.slice(4))), "link") };
}
