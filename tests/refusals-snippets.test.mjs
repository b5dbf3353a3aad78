// Wrong snippets, and reading and deleting those that are another's.

import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { ascending } from "./client/client.mjs";
import { b64u, concat, randomBytes, utf8 } from "./client/encodings.mjs";
import { envelopeSetHash } from "./client/keys.mjs";
import { ENVELOPES_BYTES, ENVELOPES_PER_SNIPPET, SNIPPET_CIPHERTEXT_BYTES, STATEMENT_LIMITS } from "./client/limits.mjs";
import { join, MEDIA_TYPE, newSnippetId } from "./client/snippet.mjs";
import {
  NO_HASH, admin, anEnvelope, anId, assertAccepted, assertRefused, code, commitOf, get, joinCommit, loner, member, openInvitation, otherTeam, owner, pending,
  postCommit, putSnippet, refuses, remember, remove, sendBrokenOff, sendChunked, sendHeadersOnly, setUp, signSnippet, snippet, snippetOf, spoiltSnippet, stranger,
  team, tearDown, unchanged, view,
} from "./support/refusals.mjs";

before(() => setUp());
after(tearDown);

const STATEMENT_BYTES = STATEMENT_LIMITS["osmynt-snippet+jws"];
/** 4 bytes, big-endian. */
const four = (length) => new Uint8Array(new Uint32Array([length]).buffer).reverse();

describe("PUT /v1/teams/{team}/snippets/{snippet}", () => {
  const forTeam = (change, options) => () => spoiltSnippet(member, change, options);
  const forMembers = (change, to = () => [owner.user]) => async () => spoiltSnippet(member, change, { to: to() });
  const audience = (change) => async (payload) => ({ audience: { ...payload.audience, ...(await change(payload.audience)) } });
  /** A snippet to the owner with other envelopes, whose hash it states rightly. */
  const sealed = (change) => async () => {
    const { payload, envelopes, ciphertext } = await snippetOf(member, { to: [owner.user] });
    const changed = await change(envelopes);
    const spoilt = { ...payload, audience: { ...payload.audience, envelopes: await envelopeSetHash(changed) } };
    return putSnippet(member, join(await signSnippet(member, spoilt), ciphertext, changed), payload.snippet);
  };
  const firstSealed = (change) => sealed(([one, ...rest]) => [{ ...one, ...change(one) }, ...rest]);
  /** The bytes of a snippet, changed: of one to the team, or with `to` to members. The parts are `{ container, statement, envelopes, ciphertext }`. */
  const raw = (change, { to = () => null } = {}) => async () => {
    const { payload, envelopes, ciphertext } = await snippetOf(member, { to: to() });
    const statement = await signSnippet(member, payload);
    return putSnippet(member, await change({ container: join(statement, ciphertext, envelopes), statement, envelopes, ciphertext }), payload.snippet);
  };
  const toOwner = { to: () => [owner.user] };
  /** The container with these bytes for envelopes. */
  const withEnvelopes = (bytes, length = bytes.length) => ({ statement, ciphertext }) =>
    concat(four(utf8(statement).length), utf8(statement), four(length), bytes, ciphertext);

  refuses([
    ["another hash", "invalid-request", forTeam(() => ({ sha256: NO_HASH }))],
    ["a length that is too small", "invalid-request", forTeam(({ length }) => ({ length: length - 1 }))],
    ["a length that is too large", "invalid-request", forTeam(({ length }) => ({ length: length + 1 }))],
    ["a length of nothing", "invalid-request", forTeam(() => ({ length: 0 }))],
    ["a length above the limit", "invalid-request", forTeam(() => ({ length: SNIPPET_CIPHERTEXT_BYTES + 1 }))],
    ["content that is not padded", "invalid-request", async () => {
      const { payload, ciphertext } = await snippetOf(member);
      const longer = concat(ciphertext, new Uint8Array(1));
      const statement = await signSnippet(member, { ...payload, length: longer.length });
      return putSnippet(member, join(statement, longer), payload.snippet);
    }],
    ["bytes that are missing", "invalid-request", raw(({ container }) => container.subarray(0, -1))],
    ["a byte more", "invalid-request", raw(({ container }) => concat(container, new Uint8Array(1)))],
    ["a byte changed", "invalid-request", raw(({ container }) => container.with(-1, container.at(-1) ^ 1))],
    ["no ciphertext", "invalid-request", raw(({ statement }) => join(statement, new Uint8Array()))],
    ["nothing", "invalid-request", raw(() => new Uint8Array())],
    ["three bytes", "invalid-request", raw(({ container }) => container.subarray(0, 3))],
    ["a statement that is cut off", "invalid-request", raw(({ container }) => container.subarray(0, 100))],
    ["a statement of nothing", "invalid-request", raw(({ container }) => concat(four(0), container.subarray(4)))],
    ["a statement of one byte more than it may have", "too-large", raw(({ container }) => concat(four(STATEMENT_BYTES + 1), container.subarray(4)))],
    ["a statement of 4 GiB", "too-large", raw(({ container }) => concat(four(2 ** 32 - 1), container.subarray(4)))],
    ["a statement that is not UTF-8", "invalid-request", raw(({ container }) => container.with(5, 0xff))],
    ["nothing after the statement", "invalid-request", raw(({ statement }) => concat(four(utf8(statement).length), utf8(statement)))],
    ["envelopes that are cut off", "invalid-request", raw(({ statement }) => concat(four(utf8(statement).length), utf8(statement), four(100), utf8("[{")))],
    ["envelopes of one byte more than they may have", "too-large", raw(withEnvelopes(new Uint8Array(), ENVELOPES_BYTES + 1))],
    ["envelopes of 4 GiB", "too-large", raw(withEnvelopes(new Uint8Array(), 2 ** 32 - 1))],
    ["envelopes that are not JSON", "invalid-request", raw(withEnvelopes(utf8("{{")), toOwner)],
    ["envelopes that are no array", "invalid-request", raw(withEnvelopes(utf8("{}")), toOwner)],
    ["envelopes that are not UTF-8", "invalid-request", raw(withEnvelopes(new Uint8Array([0x5b, 0xff, 0x5d])), toOwner)],
    ["envelopes with something behind them", "invalid-request", raw((parts) => withEnvelopes(utf8(`${JSON.stringify(parts.envelopes)}[]`))(parts), toOwner)],
    ["envelopes in the statement", "invalid-request", forMembers(audience(() => ({ envelopes: [] })))],
    ["envelopes of a snippet to the team", "invalid-request", raw(async (parts) => withEnvelopes(utf8(JSON.stringify([await anEnvelope(owner.device.id)])))(parts))],
    ["an empty array of envelopes of a snippet to the team", "invalid-request", raw(withEnvelopes(utf8("[]")))],
    ["an empty array of envelopes of a snippet to members", "invalid-request", raw(withEnvelopes(utf8("[]")), toOwner)],
    ["another team", "invalid-request", forTeam(() => ({ team: otherTeam }))],
    ["another id than the address", "invalid-request", forTeam(() => ({}), { id: newSnippetId(0) })],
    ["an id of another version", "invalid-request", forTeam(() => ({ snippet: crypto.randomUUID() }))],
    ["an id in upper case", "invalid-request", forTeam(({ snippet }) => ({ snippet: snippet.toUpperCase() }))],
    ["another suite", "invalid-request", forTeam(() => ({ suite: "P384-HKDF-SHA384-A256GCM" }))],
    ["another author", "forbidden", forTeam(() => ({ user: owner.user }))],
    ["an account for an author", "invalid-request", forTeam(() => ({ user: member.account.id }))],
    ["another device", "forbidden", async () => {
      const { payload, ciphertext } = await snippetOf(owner);
      return putSnippet(member, join(await signSnippet(owner, payload), ciphertext), payload.snippet);
    }],
    ["a device that is in no log", "forbidden", async () => {
      const { payload, ciphertext } = await snippetOf(member);
      return putSnippet(member, join(await signSnippet(pending, payload), ciphertext), payload.snippet);
    }],
    ["an earlier head", "stale-log", forTeam(async ({ head }) => ({ head: { seq: head.seq - 1, hash: (await view(member)).log.past[head.seq - 1].hash } }))],
    ["a head of no log", "stale-log", forTeam(({ head }) => ({ head: { ...head, hash: NO_HASH } }))],
    ["a head to come", "stale-log", forTeam(({ head }) => ({ head: { ...head, seq: head.seq + 1 } }))],
    ["an earlier epoch", "rotation-required", forTeam(audience(({ epoch }) => ({ epoch: epoch - 1 })))],
    ["an epoch to come", "rotation-required", forTeam(audience(({ epoch }) => ({ epoch: epoch + 1 })))],
    ["an end in the past", "invalid-request", forTeam(({ iat }) => ({ iat: iat - 100, exp: iat - 50 }))],
    ["an end before the beginning", "invalid-request", forTeam(({ iat }) => ({ exp: iat - 1 }))],
    ["an end at the beginning", "invalid-request", forTeam(({ iat }) => ({ iat: iat + 100, exp: iat + 100 }))],
    ["a header that is too long", "too-large", forTeam(({ header }) => ({ header: { ...header, ct: b64u.encode(randomBytes(4096 + 17)) } }))],
    ["a header that is no sealed box", "invalid-request", forTeam(({ header }) => ({ header: { nonce: header.nonce } }))],
    ["a short nonce", "invalid-request", forTeam(() => ({ nonce: b64u.encode(randomBytes(11)) }))],
    ["a wrapped key of 31 bytes", "invalid-request", forTeam(audience(({ wrapped }) => ({ wrapped: { ...wrapped, ct: b64u.encode(randomBytes(47)) } })))],
    ["an unknown audience", "invalid-request", forTeam(({ audience }) => ({ audience: { ...audience, type: "world" } }))],
    ["nobody for an audience", "invalid-request", forMembers(audience(() => ({ members: [] })))],
    ["a stranger in the audience", "invalid-request", forMembers(audience(({ members }) => ({ members: ascending([...members, stranger.user]) })))],
    ["the author in the audience", "invalid-request", forMembers(audience(({ members }) => ({ members: ascending([...members, member.user]) })))],
    ["somebody twice in the audience", "invalid-request", forMembers(audience(({ members }) => ({ members: [...members, ...members] })))],
    ["an account in the audience", "invalid-request", forMembers(audience(() => ({ members: [owner.account.id] })))],
    ["an audience out of order", "invalid-request", forMembers(audience(({ members }) => ({ members: members.toReversed() })), () => [owner.user, admin.user])],
    ["65 in the audience", "invalid-request", forMembers(audience(() => ({ members: ascending(Array.from({ length: 65 }, anId)) })))],
    ["another hash of the envelopes", "invalid-request", forMembers(audience(() => ({ envelopes: NO_HASH })))],
    ["an envelope missing", "coverage-mismatch", sealed((all) => all.slice(1))],
    ["no envelope for the author", "coverage-mismatch", sealed((all) => all.filter(({ device }) => device !== member.device.id))],
    ["no envelopes", "coverage-mismatch", sealed(() => [])],
    ["an envelope twice", "invalid-request", sealed((all) => [all[0], ...all])],
    ["envelopes out of order", "invalid-request", sealed((all) => all.toReversed())],
    ["an envelope for a member who is not named", "coverage-mismatch", sealed((all) => withEnvelope(all, admin.device.id))],
    ["an envelope for a stranger", "coverage-mismatch", sealed((all) => withEnvelope(all, stranger.device.id))],
    ["an envelope for a device that is in no log", "coverage-mismatch", sealed((all) => withEnvelope(all, pending.device.id))],
    [`${ENVELOPES_PER_SNIPPET + 1} envelopes`, "too-large", sealed((all) => Array(ENVELOPES_PER_SNIPPET + 1).fill(all[0]))],
    ["an envelope with an unknown member", "invalid-request", firstSealed(() => ({ more: 1 }))],
    ["an envelope of an unknown suite", "invalid-request", firstSealed(() => ({ suite: "MLKEM768-P256-HKDF-SHA256-A256GCM" }))],
    ["an envelope of a short key", "invalid-request", firstSealed(() => ({ ct: b64u.encode(randomBytes(47)) }))],
    ["an envelope with an encapsulated key of 64 bytes", "invalid-request", firstSealed(() => ({ enc: b64u.encode(randomBytes(64)) }))],
    ["another content type", "invalid-request", async () => {
      const { payload, ciphertext } = await snippetOf(member);
      const request = putSnippet(member, join(await signSnippet(member, payload), ciphertext), payload.snippet);
      return { ...request, headers: { ...request.headers, "Content-Type": "application/octet-stream" } };
    }],
    ["an address that is no id", "invalid-request", forTeam(() => ({}), { id: "x" })],
    ["an address in upper case", "invalid-request", () => spoiltSnippet(member, () => ({}), { id: newSnippetId(Date.now()).toUpperCase() })],
  ]);
  const inOrder = (envelopes) => ascending(envelopes.map(({ device }) => device)).map((id) => envelopes.find(({ device }) => device === id));
  const withEnvelope = async (envelopes, device) => inOrder([...envelopes, await anEnvelope(device)]);

  it("names the devices whose envelopes are missing, and those whose are not expected", async () => {
    const request = await sealed(async (all) => inOrder([...all.filter(({ device }) => device !== owner.device.id), await anEnvelope(admin.device.id)]))();
    const { detail } = await assertRefused("coverage-mismatch", request);
    assert.match(detail, new RegExp(`missing: ${owner.device.id}`));
    assert.match(detail, new RegExp(`not expected: ${admin.device.id}`));
  });

  const address = () => `/v1/teams/${team}/snippets/${newSnippetId(Date.now())}`;
  it("refuses a body over the limit before reading it", async () => {
    const headers = { "Content-Type": MEDIA_TYPE, "Content-Length": 8 + STATEMENT_BYTES + ENVELOPES_BYTES + SNIPPET_CIPHERTEXT_BYTES + 1 };
    await assertRefused("too-large", { as: member, method: "PUT", path: address(), headers }, sendHeadersOnly);
  });

  it("refuses a body of unknown length", async () => {
    const { payload, ciphertext } = await snippetOf(member);
    await assertRefused("invalid-request", putSnippet(member, join(await signSnippet(member, payload), ciphertext), payload.snippet), sendChunked);
  });

  it("refuses a body that breaks off within what comes before the ciphertext", async () => {
    const { payload } = await snippetOf(member);
    await assertRefused("invalid-request", putSnippet(member, join(await signSnippet(member, payload), new Uint8Array()), payload.snippet), sendBrokenOff);
  });

  it("takes an id once, with the same bytes again, and with no others", async () => {
    const { payload, ciphertext } = await snippetOf(member);
    const container = join(await signSnippet(member, payload), ciphertext);
    const first = await assertAccepted(putSnippet(member, container, payload.snippet));
    assert.equal(first.status, 201);
    const before = unchanged;
    const again = await assertAccepted(putSnippet(member, container, payload.snippet));
    assert.equal(again.status, 200);
    assert.deepEqual(await again.json(), await first.json());
    assert.deepEqual(unchanged, before);
    const changed = await snippetOf(member, { id: payload.snippet, content: utf8("other") });
    await assertRefused("conflict", putSnippet(member, join(await signSnippet(member, changed.payload), changed.ciphertext), payload.snippet));
    const byOther = await snippetOf(owner, { id: payload.snippet });
    await assertRefused("conflict", putSnippet(owner, join(await signSnippet(owner, byOther.payload), byOther.ciphertext), payload.snippet));
  });

  it("takes one to members with its envelopes alone, and the same again", async () => {
    const { payload, envelopes, ciphertext } = await snippetOf(member, { to: [owner.user] });
    const statement = await signSnippet(member, payload);
    await assertRefused("invalid-request", putSnippet(member, join(statement, ciphertext), payload.snippet));
    const [first, again] = [201, 200].map((status) => ({ status, request: putSnippet(member, join(statement, ciphertext, envelopes), payload.snippet) }));
    for (const { status, request } of [first, again]) assert.equal((await assertAccepted(request)).status, status);
  });

  it("takes no id that was deleted", async () => {
    const { payload, ciphertext } = await snippetOf(member);
    const request = putSnippet(member, join(await signSnippet(member, payload), ciphertext), payload.snippet);
    await assertAccepted(request);
    const path = `/v1/teams/${team}/snippets/${payload.snippet}`;
    await assertAccepted(remove(member, path));
    const before = unchanged;
    await assertAccepted(remove(member, path));
    assert.deepEqual(unchanged, before);
    await assertRefused("gone", request);
    await assertRefused("gone", get(member, path));
    const other = await snippetOf(member, { id: payload.snippet });
    await assertRefused("gone", putSnippet(member, join(await signSnippet(member, other.payload), other.ciphertext), payload.snippet));
  });

  it("takes none under an epoch that somebody left", async () => {
    const leaving = await openInvitation();
    await assertAccepted(postCommit(loner, await joinCommit(loner, leaving)));
    await loner.leave(team);
    await remember();
    await assertRefused("rotation-required", await spoiltSnippet(member, () => ({})));
    await assertAccepted(postCommit(member, await commitOf(member, [])));
    await assertAccepted(await spoiltSnippet(member, () => ({})));
  });
});

describe("reading and deleting a snippet", () => {
  let letter;
  before(async () => {
    letter = await owner.share(team, code, { to: [admin.user] });
    await remember();
  });
  const at = (id) => `/v1/teams/${team}/snippets/${id}`;
  refuses([
    ["one that is for others", "not-found", () => get(member, at(letter))],
    ["one that does not exist", "not-found", () => get(member, at(newSnippetId(0)))],
    ["one of another team", "not-found", () => get(owner, `/v1/teams/${otherTeam}/snippets/${snippet}`)],
    ["an id that is none", "not-found", () => get(member, at("x"))],
    ["to delete what is another's", "forbidden", () => remove(member, at(snippet))],
    ["to delete what is for others", "not-found", () => remove(member, at(letter))],
    ["to delete what does not exist", "not-found", () => remove(owner, at(newSnippetId(0)))],
    ["to delete in another team", "not-found", () => remove(owner, `/v1/teams/${otherTeam}/snippets/${snippet}`)],
  ]);

  it("looks the same whether it is for others or does not exist", async () => {
    assert.deepEqual(await assertRefused("not-found", get(member, at(letter))), await assertRefused("not-found", get(member, at(newSnippetId(0)))));
  });
});
