// The log of a user, as the independent client verifies it, and the times of receipt of both kinds
// of log.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { hashOf, utf8 } from "./client/encodings.mjs";
import { makeKeyPair } from "./client/keys.mjs";
import { parsePrekey, sign, signText } from "./client/statements.mjs";
import { TeamLog } from "./client/teamlog.mjs";
import { loginOf, newOpening, openPrekey, UserLog, Window } from "./client/userlog.mjs";
import { CONFIRMATION, people, Person, Team } from "./support/logs.mjs";
import { HASH, NOW, refuses, USERS } from "./support/protocol.mjs";

describe("a user's log", () => {
  it("is the user: its id is the hash of its first entry", async () => {
    const person = await Person.make();
    assert.equal((await person.log()).user, person.user);
    assert.deepEqual((await person.log()).head, { seq: 0, hash: person.user });
    await refuses("invalid-request", () => UserLog.read(USERS[0], person.entries));
    const other = await Person.make();
    assert.notEqual(other.user, person.user);
    await refuses("invalid-request", () => UserLog.read(person.user, other.entries));
  });

  it("adds and revokes devices", async () => {
    const person = await Person.make();
    const second = await makeKeyPair("ECDSA");
    await person.add(second);
    await person.revoke(person.device, second);
    const log = await person.log();
    assert.deepEqual(log.active().map(({ id }) => id), [second.id]);
    assert.deepEqual([0, 1, 2].map((seq) => log.devicesAt(seq).length), [1, 2, 1]);
  });

  it("is refused when an entry breaks a rule", async () => {
    const person = await Person.make();
    const [second, stranger] = [await makeKeyPair("ECDSA"), await makeKeyPair("ECDSA")];
    await refuses("forbidden", () => person.add(second, stranger));
    await refuses("forbidden", () => person.add(second, second));
    await refuses("conflict", () => person.revoke(person.device));
    await refuses("forbidden", () => person.revoke(second));
    await refuses("stale-log", () => person.add(second, person.device, { prev: HASH }));
    await refuses("stale-log", () => person.add(second, person.device, { seq: 2 }));
    await refuses("clock-skew", () => person.add(second, person.device, { iat: NOW + 301 }));
    await refuses("clock-skew", () => person.add(second, person.device, { received: NOW - 1 }));
    await refuses("invalid-request", () => person.add(second, person.device, { user: USERS[1] }));
    for (const user of [USERS[1], null]) {
      await refuses("invalid-request", async () => person.append({ type: "device.added", device: await person.describe(second, user) }, person.device));
    }
    await person.add(second);
    await person.revoke(second);
    await refuses("conflict", () => person.add(second));
    await refuses("forbidden", () => person.add(stranger, second));
    await refuses("forbidden", () => person.sign(newOpening({ github_id: 1, login: "ada" }), second));
    for (let count = 1; count < 20; count += 1) await person.add(await makeKeyPair("ECDSA"));
    await refuses("too-large", () => person.add(stranger));
  });

  it("begins with a device that adds itself, and with nothing else", async () => {
    const [device, other] = [await makeKeyPair("ECDSA"), await makeKeyPair("ECDSA")];
    const described = (user, of = device) => sign("osmynt-device+jws", { user, jwk: of.jwk, iat: NOW }, of);
    const begin = async (event, { by = device, ...changes } = {}) =>
      new UserLog().append(await sign("osmynt-user+jws", { user: null, seq: 0, prev: null, iat: NOW, event, ...changes }, by), NOW);
    await refuses("invalid-request", async () => begin({ type: "device.added", device: await described(USERS[0]) }));
    await refuses("invalid-request", async () => begin({ type: "device.added", device: await described(null) }, { user: USERS[0] }));
    await refuses("forbidden", async () => begin({ type: "device.added", device: await described(null) }, { by: other }));
    await refuses("invalid-request", () => begin({ type: "name.signed", commitment: HASH }));
    await refuses("invalid-request", () => begin({ type: "device.revoked", device: device.id }));
    await begin({ type: "device.added", device: await described(null) });
  });

  it("has at most 256 entries, of which the last 20 are revocations", async () => {
    const person = await Person.make();
    const log = await person.log();
    // Signing 256 times takes a moment; verifying each from the beginning again would take longer.
    const append = async (event) => {
      const entry = { user: person.user, seq: log.entries.length, prev: log.head.hash, iat: NOW, event };
      await log.append(await sign("osmynt-user+jws", entry, person.device), NOW);
    };
    const added = async (device) => ({ type: "device.added", device: await person.describe(device) });
    const named = { type: "name.signed", commitment: HASH };
    const devices = await Promise.all(Array.from({ length: 19 }, () => makeKeyPair("ECDSA")));
    for (const device of devices) await append(await added(device));
    while (log.entries.length < 236) await append(named);
    await refuses("too-large", () => append(named));
    await refuses("too-large", async () => append(await added(await makeKeyPair("ECDSA"))));
    for (const device of devices) await append({ type: "device.revoked", device: device.id });
    assert.equal(log.active().length, 1);
  });

  it("opens to the name that was signed last, and to no other", async () => {
    const person = await Person.make();
    const [first, second] = ["ada", "ada-lovelace"].map((login) => newOpening({ github_id: 7, login }));
    assert.equal(await loginOf(await person.log(), first), null);
    await person.sign(first);
    assert.equal(await loginOf(await person.log(), first), "ada");
    await person.sign(second);
    const log = await person.log();
    assert.equal(await loginOf(log, second), "ada-lovelace");
    for (const wrong of [first, null, { ...second, login: "eve" }, { ...second, id: 8 }, { ...second, salt: HASH }]) {
      assert.equal(await loginOf(log, wrong), null);
    }
    assert.equal(log.commitment, await hashOf(utf8(`osmynt/v1/name\n${person.user}\ngithub\n7\nada-lovelace\n${second.salt}`)));
  });

  it("gives the prekeys of active devices, and leaves out those of unknown kinds", async () => {
    const person = await Person.make();
    const [second, { jwk: key }] = [await makeKeyPair("ECDSA"), await makeKeyPair("ECDH")];
    const prekey = (by, changes) => sign("osmynt-prekey+jws", { user: person.user, kind: "signed", key, iat: NOW, ...changes }, by);
    const log = await person.log();
    assert.deepEqual(await openPrekey(await prekey(person.device), log), { device: person.device.id, jwk: key });
    await refuses("forbidden", async () => openPrekey(await prekey(second), log));
    await refuses("invalid-request", async () => openPrekey(await prekey(person.device, { user: USERS[0] }), log));
    const header = JSON.stringify({ alg: "ES256", typ: "osmynt-prekey+jws", kid: second.id });
    const strange = (payload) => signText(header, JSON.stringify(payload), second.privateKey);
    assert.equal(await openPrekey(await strange({ kind: "one-time", hybrid: "x".repeat(5_000), level: -1.5 }), log), null);
    await refuses("too-large", async () => openPrekey(await strange({ kind: "one-time", hybrid: "x".repeat(6_000) }), log));
    for (const payload of [{ kind: 7 }, {}, "signed", { kind: "signed" }]) await refuses("invalid-request", async () => parsePrekey(await strange(payload)));
  });
});

describe("receipt times", () => {
  it("are believed when they are near the client's clock, and for new entries not from before the last reading", async () => {
    const person = await Person.make();
    const read = (now, pin) => person.log(new Window(now, pin));
    await read(NOW - 300);
    await refuses("clock-skew", () => read(NOW - 301));
    await person.add(await makeKeyPair("ECDSA"), person.device, { received: NOW + 1000 });
    // What is new was received at NOW + 1000.
    await read(NOW + 5000, { seq: 0, readAt: NOW + 1300 });
    await refuses("clock-skew", () => read(NOW + 5000, { seq: 0, readAt: NOW + 1301 }));
    await read(NOW + 5000, { seq: 1, readAt: NOW + 4000 });
  });

  it("of a team's log are held against the same", async () => {
    const [owner] = await people();
    const team = await Team.make(owner);
    await team.append(owner, { type: "policy.changed", policy: CONFIRMATION }, { received: NOW + 1000 });
    const read = async (now, pin) => TeamLog.read(team.entries, await team.directory(), new Window(now, pin));
    await read(NOW + 700);
    await refuses("clock-skew", () => read(NOW + 699));
    await read(NOW + 5000, { seq: 1, readAt: NOW + 1300 });
    await refuses("clock-skew", () => read(NOW + 5000, { seq: 1, readAt: NOW + 1301 }));
  });
});
