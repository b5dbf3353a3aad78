// Wrong inputs around invitations: those that cannot be made, those that let nobody in any more, proofs that prove nothing, and people who are barred.

import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { MALFORMED_STATEMENTS } from "./client/forge.mjs";
import { makeKeyPair } from "./client/keys.mjs";
import { ENTRIES_PER_COMMIT, INVITE_SECONDS, OPEN_INVITES, STATEMENT_LIMITS } from "./client/limits.mjs";
import { sign } from "./client/statements.mjs";
import { makeTeam } from "./client/world.mjs";
import {
  NO_HASH, TEAM_ROUTES, admin, anId, assertAccepted, assertRefused, bodyFor, chain, eventsOf, get, joinCommit, loner, member, now, openInvitation, otherTeam,
  owner, postCommit, refuses, remember, setUp, stranger, team, tearDown, titled, view, world,
} from "./support/refusals.mjs";

before(() => setUp());
after(tearDown);

const invited = async (change) => ({ type: "invite.created", key: (await makeKeyPair("ECDSA")).jwk, role: "member", uses: 1, exp: now() + 60, ...change });

describe("invitations", () => {
  const invite = async (change) => postCommit(owner, { entries: await chain(owner, (await view(owner)).log, [await invited(change)]), envelopes: [] });
  refuses([
    ["one that ends before it begins", "invalid-request", () => invite({ exp: now() - 10 })],
    ["one of more than 30 days", "invalid-request", () => invite({ exp: now() + INVITE_SECONDS + 60 })],
    ["one without an end", "invalid-request", () => invite({ exp: undefined })],
    ["one for nobody", "invalid-request", () => invite({ uses: 0 })],
    ["one for 101", "invalid-request", () => invite({ uses: 101 })],
    ["one of two uses for one person", "invalid-request", async () => invite({ uses: 2, user: anId() })],
    ["one for an account", "invalid-request", () => invite({ user: stranger.account.id })],
    ["one for a login", "invalid-request", () => invite({ user: "stranger" })],
    ["one to an unknown role", "invalid-request", () => invite({ role: "guest" })],
  ]);

  it("refuses a key that another open invitation has", async () => {
    const key = await openInvitation();
    await assertRefused("conflict", await invite({ key: key.jwk }));
    const { log } = await view(owner);
    const twice = [await invited(), { type: "invite.revoked", invite: NO_HASH }];
    await assertRefused("gone", postCommit(owner, { entries: await chain(owner, log, twice), envelopes: [] }));
  });

  it(`refuses the one after the ${OPEN_INVITES}th that is open, until one is revoked`, async () => {
    const crowded = await owner.createTeam("Crowded");
    await remember();
    const commit = async (events) => postCommit(owner, { entries: await chain(owner, (await view(owner, crowded)).log, events), envelopes: [] }, crowded);
    const key = await makeKeyPair("ECDSA");
    const events = [await invited({ key: key.jwk }), ...(await Promise.all(Array.from({ length: OPEN_INVITES - 1 }, () => invited())))];
    while (events.length > 0) await assertAccepted(await commit(events.splice(0, ENTRIES_PER_COMMIT)));
    await assertRefused("too-large", await commit([await invited()]));
    await assertAccepted(await commit([{ type: "invite.revoked", invite: key.id }, await invited()]));
  });
});

describe("joining", () => {
  let open, expired, revoked, used, foreign, forLoner;
  before(async () => {
    open = await openInvitation({ uses: 5 });
    expired = await openInvitation({ iat: now() - 200, exp: now() - 100 });
    revoked = await openInvitation();
    const { log } = await view(owner);
    await assertAccepted(postCommit(owner, { entries: await chain(owner, log, [{ type: "invite.revoked", invite: revoked.id }]), envelopes: [] }));
    used = await openInvitation({ user: loner.user });
    await assertAccepted(postCommit(loner, await joinCommit(loner, used)));
    await loner.leave(team);
    await remember();
    await owner.rotate(team);
    await remember();
    foreign = await openInvitation({ inTeam: otherTeam });
    forLoner = await openInvitation({ user: loner.user });
  });
  const join = (key, options) => async () => postCommit(stranger, await joinCommit(stranger, await key(), options));
  refuses([
    ["one that has expired", "gone", join(() => expired)],
    ["one that was revoked", "gone", join(() => revoked)],
    ["one that is used up", "gone", join(() => used)],
    ["one of another team", "gone", join(() => foreign)],
    ["one that nobody made", "gone", join(() => makeKeyPair("ECDSA"))],
    ["one for somebody else", "forbidden", join(() => forLoner)],
    ["a proof that another key signed", "bad-signature", async () =>
      postCommit(stranger, await joinCommit(stranger, open, { by: { id: open.id, privateKey: foreign.privateKey } }))],
    ["a proof of another invitation's key", "bad-signature", async () => postCommit(stranger, await joinCommit(stranger, open, { by: foreign }))],
    ["a proof for another user", "forbidden", async () => postCommit(stranger, await joinCommit(stranger, open, { proof: { user: loner.user } }))],
    ["a proof for another team", "forbidden", async () => postCommit(stranger, await joinCommit(stranger, open, { proof: { team: otherTeam } }))],
    ["a proof that names another invitation", "forbidden", async () => postCommit(stranger, await joinCommit(stranger, open, { proof: { invite: foreign.id } }))],
    ["a statement for a proof that is none", "invalid-request", async () => postCommit(stranger, await joinCommit(stranger, open, { event: { proof: "a.b.c" } }))],
    ["a proof of more bytes than it may have", "too-large", async () =>
      postCommit(stranger, await joinCommit(stranger, open, { event: { proof: "a".repeat(STATEMENT_LIMITS["osmynt-invite+jws"] + 1) } }))],
    ["an identity", "invalid-request", async () => postCommit(stranger, await joinCommit(stranger, open, { event: { identity: NO_HASH } }))],
    ["a role of one's own choice", "invalid-request", async () => postCommit(stranger, await joinCommit(stranger, open, { event: { role: "owner" } }))],
    ["no rotation", "rotation-required", async () => {
      const { entries } = await joinCommit(stranger, open);
      return postCommit(stranger, { entries: entries.slice(0, 1), envelopes: [] });
    }],
    ["a rotation before it", "not-found", async () => {
      const { entries, envelopes } = await joinCommit(stranger, open);
      const events = await eventsOf(entries);
      return postCommit(stranger, { entries: await chain(stranger, (await view(owner)).log, events.toReversed()), envelopes });
    }],
    ["another event instead of a rotation", "forbidden", async () => {
      const [event] = await eventsOf((await joinCommit(stranger, open)).entries);
      const revocation = { type: "invite.revoked", invite: open.id };
      return postCommit(stranger, { entries: await chain(stranger, (await view(owner)).log, [event, revocation]), envelopes: [] });
    }],
    ["no envelope for those who are there", "coverage-mismatch", async () => {
      const { entries, envelopes } = await joinCommit(stranger, open);
      return postCommit(stranger, { entries, envelopes: envelopes.filter(({ device }) => device === stranger.device.id) });
    }],
    ["no envelope for the one who joins", "coverage-mismatch", async () => {
      const { entries, envelopes } = await joinCommit(stranger, open);
      return postCommit(stranger, { entries, envelopes: envelopes.filter(({ device }) => device !== stranger.device.id) });
    }],
    ["the membership they have", "conflict", async () => postCommit(member, await joinCommit(member, open))],
    ["the commit of somebody else", "forbidden", async () => postCommit(loner, await joinCommit(stranger, open))],
  ]);
  // The proof's own iat may be skewed against the entry's, both within reach of the service's clock; see the table of statements for the rest.
  refuses(MALFORMED_STATEMENTS.map(([what, code, forge]) => [`a proof with ${what}`, code, async () =>
    postCommit(stranger, await joinCommit(stranger, open, { proofBy: (payload, signer) => forge("osmynt-invite+jws", payload, signer) }))]));

  it("works with the same proof without the mistake, and for the one whom an invitation names", async () => {
    await assertAccepted(postCommit(stranger, await joinCommit(stranger, open)));
    await assertAccepted(postCommit(loner, await joinCommit(loner, forLoner)));
  });
});

describe("whoever was removed, refused or demoted", () => {
  let people, inTeam;
  before(async () => {
    const [first, second] = await Promise.all(["stranger", "loner"].map((login) => world.signIn(login)));
    for (const each of [first, second]) await each.startOver();
    people = { first, second };
    inTeam = await makeTeam(owner, "Barred", { admin });
    await remember();
  });
  /** Another user, in no team. */
  const newcomer = async (login) => {
    const client = await world.signIn(login);
    await client.startOver();
    await remember();
    return client;
  };
  /** The commit of somebody who asks to be confirmed. */
  const askWith = async (client, key) => {
    const { entries } = await joinCommit(client, key, { inTeam });
    return postCommit(client, { entries: entries.slice(0, 1), envelopes: [] }, inTeam);
  };
  const joinWith = async (client, key) => postCommit(client, await joinCommit(client, key, { inTeam }), inTeam);
  const invitation = (options) => openInvitation({ ...options, inTeam });
  /** Commits events without a rotation by the owner. */
  const ownerCommits = async (...events) => postCommit(owner, { entries: await chain(owner, (await view(owner, inTeam)).log, events), envelopes: [] }, inTeam);

  it("comes in only by an invitation that was made later and names them", async () => {
    const { first, second } = people;
    const key = await invitation({ uses: 5 });
    const other = await invitation({ uses: 5 });
    const before = await invitation({ user: first.user });
    await assertAccepted(await joinWith(first, key));
    await owner.removeMember(inTeam, first.user);
    await remember();
    // The one that they came in by is closed for everybody, others are not.
    await assertRefused("gone", await joinWith(first, key));
    await assertRefused("gone", await joinWith(second, key));
    await assertRefused("forbidden", await joinWith(first, other));
    await assertRefused("forbidden", await joinWith(first, before));
    await assertRefused("forbidden", await joinWith(first, await invitation({ uses: 5 })));
    await assertAccepted(await joinWith(second, other));
    await assertAccepted(await joinWith(first, await invitation({ user: first.user })));
    for (const each of [first, second]) await owner.removeMember(inTeam, each.user);
    await remember();
  });

  it("finds closed what they had made, as does whoever holds it", async () => {
    const { first, second } = people;
    await assertAccepted(await joinWith(first, await invitation({ user: first.user, role: "admin" })));
    const made = await invitation({ by: first, uses: 5 });
    await assertAccepted(await ownerCommits({ type: "role.changed", user: first.user, role: "member" }));
    await assertRefused("gone", await joinWith(second, made));
    // Demoted, and barred: leaving and coming back does not help.
    const open = await invitation({ uses: 5 });
    await first.leave(inTeam);
    await owner.rotate(inTeam);
    await remember();
    await assertRefused("forbidden", await joinWith(first, open));
  });

  it("is not barred by leaving, but what they had made and what they came in by is closed", async () => {
    const { second } = people;
    const comer = await newcomer("stranger");
    const key = await invitation({ role: "admin", uses: 3 });
    await assertAccepted(await joinWith(comer, key));
    const made = await invitation({ by: comer, uses: 5 });
    await comer.leave(inTeam);
    await owner.rotate(inTeam);
    await remember();
    for (const each of [comer, second]) {
      for (const closed of [made, key]) await assertRefused("gone", await joinWith(each, closed));
    }
    await assertAccepted(await joinWith(comer, await invitation()));
    people.plain = comer;
  });

  it("left before they could be removed: the same, once somebody removes them all the same", async () => {
    const comer = await newcomer("stranger");
    await assertAccepted(await joinWith(comer, await invitation()));
    await comer.leave(inTeam);
    await owner.rotate(inTeam);
    await remember();
    const open = await invitation({ uses: 5 });
    const removal = { type: "member.removed", user: comer.user };
    const { log } = await view(owner, inTeam);
    await assertRefused("forbidden", postCommit(people.plain, { entries: await chain(people.plain, log, [removal]), envelopes: [] }, inTeam));
    await assertAccepted(await ownerCommits(removal));
    await assertRefused("forbidden", await joinWith(comer, open));
    // Barred again, they do not come in by what was made for them in between.
    const between = await invitation({ user: comer.user });
    await assertAccepted(await ownerCommits(removal));
    await assertRefused("forbidden", await joinWith(comer, between));
    await assertAccepted(await joinWith(comer, await invitation({ user: comer.user })));
  });

  it("was not let in while they waited: the same", async () => {
    const comer = await newcomer("loner");
    await owner.changePolicy(inTeam, { joining: "confirmation" });
    await remember();
    const ask = (key) => askWith(comer, key);
    const [key, other] = [await invitation({ uses: 5 }), await invitation({ uses: 5 })];
    // A rotation does not make them a member, whether or not it is for them as well.
    await assertRefused("coverage-mismatch", await joinWith(comer, key));
    const seen = await view(owner, inTeam);
    const rotation = await comer.buildRotation(seen.log, seen.directory, seen.prekeys, "x");
    const [joining] = await eventsOf((await joinCommit(comer, key, { inTeam })).entries);
    const entries = await chain(comer, seen.log, [joining, rotation.event]);
    await assertRefused("forbidden", postCommit(comer, { entries, envelopes: rotation.envelopes }, inTeam));
    await assertAccepted(await ask(key));
    await assertRefused("conflict", await ask(other));
    await assertAccepted(await ownerCommits({ type: "member.removed", user: comer.user }));
    await assertRefused("gone", await ask(key));
    await assertRefused("forbidden", await ask(other));
    await assertAccepted(await ask(await invitation({ user: comer.user })));
  });

  it("takes with them whoever waits by an invitation of theirs", async () => {
    await owner.changePolicy(inTeam, { joining: "invitation" });
    await remember();
    const [maker, comer, other] = [await newcomer("stranger"), await newcomer("loner"), await newcomer("loner")];
    await assertAccepted(await joinWith(maker, await invitation({ user: maker.user, role: "admin" })));
    await owner.changePolicy(inTeam, { joining: "confirmation" });
    await remember();
    await assertAccepted(await askWith(comer, await invitation({ by: maker })));
    await assertAccepted(await askWith(other, await invitation()));
    await assertAccepted(await ownerCommits({ type: "role.changed", user: maker.user, role: "member" }));
    const isPending = async ({ user }) => (await view(owner, inTeam)).log.pending.has(user);
    assert.deepEqual([await isPending(comer), await isPending(other)], [false, true]);
    await assertRefused("not-found", await ownerCommits({ type: "member.confirmed", user: comer.user }));
    await assertRefused("not-found", get(comer, `/v1/teams/${inTeam}/log`));
    // They are not barred themselves.
    await assertAccepted(await askWith(comer, await invitation()));
  });
});

describe("an invitation as a header", () => {
  let key, over, old, forLoner, barred;
  before(async () => {
    barred = await world.signIn("stranger");
    await barred.startOver();
    const came = await openInvitation();
    await assertAccepted(postCommit(barred, await joinCommit(barred, came)));
    await owner.removeMember(team, barred.user);
    reader = await world.signIn("stranger");
    await reader.startOver();
    await remember();
    [key, forLoner] = [await openInvitation({ uses: 5 }), await openInvitation({ user: loner.user })];
    over = await openInvitation({ iat: now() - 200, exp: now() - 100 });
    old = now() - 400;
  });
  /** Somebody who is in no team. */
  let reader;
  const proofFor = (client, { change = {}, by = key } = {}) =>
    sign("osmynt-invite+jws", { team, invite: by.id, user: client.user, iat: now(), ...change }, by);
  const ask = async (route, options, id = team, client = reader) => get(client, `/v1/teams/${id}/${route}`, { "Osmynt-Invite": await proofFor(client, options) });

  it("opens the log and the directory", async () => {
    for (const route of ["log", "directory"]) await assertAccepted(await ask(route));
  });
  for (const route of ["log", "directory"]) {
    refuses([
      [`a proof of a key that is not invited: ${route}`, "not-found", async () => ask(route, { by: await makeKeyPair("ECDSA") })],
      [`a proof for another user: ${route}`, "not-found", () => ask(route, { change: { user: loner.user } })],
      [`a proof for another team: ${route}`, "not-found", () => ask(route, { change: { team: otherTeam } })],
      [`a proof that names another invitation: ${route}`, "not-found", () => ask(route, { change: { invite: anId() } })],
      [`a proof that another key signed: ${route}`, "not-found", async () => ask(route, { by: { id: key.id, privateKey: (await makeKeyPair("ECDSA")).privateKey } })],
      [`a proof that is none: ${route}`, "not-found", () => get(reader, `/v1/teams/${team}/${route}`, { "Osmynt-Invite": "x" })],
      [`a proof that is none, for a team that does not exist: ${route}`, "not-found", () => get(reader, `/v1/teams/${NO_HASH}/${route}`, { "Osmynt-Invite": "x" })],
      [`a proof for a team that does not exist: ${route}`, "not-found", () => ask(route, { change: { team: NO_HASH } }, NO_HASH)],
      [`a proof of one that is over: ${route}`, "gone", () => ask(route, { by: over })],
      [`an old proof: ${route}`, "clock-skew", () => ask(route, { change: { iat: old } })],
      [`a proof of one for somebody else: ${route}`, "forbidden", () => ask(route, { by: forLoner })],
      [`a proof for somebody who is barred: ${route}`, "forbidden", () => ask(route, {}, team, barred)],
    ]);
  }
  for (const [method, path] of TEAM_ROUTES.filter(([, path]) => !/log|directory|commits/.test(path("")))) {
    it(`opens nothing else: ${titled(method, path)}`, async () => {
      const { body, headers } = await bodyFor(method, path(team));
      await assertRefused("not-found", { method, path: path(team), as: reader, headers: { ...headers, "Osmynt-Invite": await proofFor(reader) }, body });
    });
  }

  it("opens as much to whoever waits to be confirmed without it", async () => {
    await owner.changePolicy(team, { joining: "confirmation" });
    await remember();
    const { entries } = await joinCommit(reader, key);
    await assertAccepted(postCommit(reader, { entries: entries.slice(0, 1), envelopes: [] }));
    for (const route of ["log", "directory"]) await assertAccepted(get(reader, `/v1/teams/${team}/${route}`));
  });
});
