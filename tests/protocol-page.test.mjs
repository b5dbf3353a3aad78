// docs/protocol.md and the independent client name the same problems and keep the same limits.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, it } from "node:test";
import { STATUS } from "./client/api.mjs";
import * as limits from "./client/limits.mjs";
import { DAY } from "./support/protocol.mjs";

describe("the page", () => {
  const page = readFileSync(new URL("../docs/protocol.md", import.meta.url), "utf8");
  const rowsOf = (heading) => {
    const [, section] = page.split(new RegExp(`^## ${heading}$`, "m"));
    return section.split(/^## /m)[0].split("\n").filter((line) => /^\| (?!---)/.test(line)).map((line) => line.split("|").slice(1, -1).map((cell) => cell.trim()));
  };

  it("names the problems that this client knows, with their status", () => {
    const named = rowsOf("8 HTTP").filter(([, status]) => /^\d+$/.test(status));
    const listed = named.flatMap(([codes, status]) => codes.split(", ").map((code) => [code.replaceAll("`", ""), Number(status)]));
    assert.deepEqual(Object.fromEntries(listed), STATUS);
  });

  it("has the limits that this client keeps", () => {
    const kept = {
      statement: [2],
      "snippet content": [10, limits.SNIPPET_CONTENT_BYTES, limits.SNIPPET_CIPHERTEXT_BYTES - limits.SNIPPET_CONTENT_BYTES],
      "sealed header": [limits.HEADER_BYTES, limits.PROFILE_BYTES],
      "envelopes of a snippet": [limits.ENVELOPES_PER_SNIPPET, limits.ENVELOPES_BYTES],
      "JSON body": [limits.JSON_BODY_BYTES / 2 ** 20],
      "entries of a user log": [limits.USER_LOG_ENTRIES, limits.USER_LOG_RESERVED],
      "active devices of a user / of a team's members together": [limits.DEVICES_PER_USER, limits.DEVICES_PER_TEAM],
      "members of a team, pending ones included / users who ever were": [limits.MEMBERS, limits.MEMBERS_EVER],
      pending: [limits.PENDING_SECONDS / DAY],
      "erasure of a former user": [limits.ERASURE_SECONDS / DAY],
      "entries in a commit": [limits.ENTRIES_PER_COMMIT],
      "open invitations of a team / uses of one": [limits.OPEN_INVITES, 100],
      page: [limits.PAGE, limits.PAGE_BYTES / 2 ** 20],
      "clock difference of statements and receipts / of proofs": [limits.CLOCK_SKEW, limits.PROOF_SKEW],
      proof: [limits.PROOF_BYTES, limits.PROOF_ID_BYTES],
      handshake: [limits.HANDSHAKE_SECONDS, limits.WRONG_VERIFIERS],
      "access token / session with its refresh tokens": [limits.ACCESS_SECONDS / 3600, limits.SESSION_SECONDS / DAY],
    };
    const stated = rowsOf("12 Limits").slice(1).map(([what, limit]) => [what, numbersIn(limit)]);
    assert.deepEqual(Object.fromEntries(stated), kept);
  });

  it("has the limits of statements that this client keeps", () => {
    const stated = rowsOf("2 Statements").slice(1).map(([typ, , bytes]) => [typ.replaceAll("`", ""), numbersIn(bytes)[0]]);
    assert.deepEqual(Object.fromEntries(stated), limits.STATEMENT_LIMITS);
  });

  const numbersIn = (text) => text.match(/\d[\d,]*/g).map((number) => Number(number.replaceAll(",", "")));
});
