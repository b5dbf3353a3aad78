// The names that the independent client shows for people, and when it doubts them.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Client } from "./client/client.mjs";
import { NOW, USERS } from "./support/protocol.mjs";

describe("people's names", () => {
  const [a, b, c] = USERS;
  const client = () => new Client(null, () => NOW, null);
  const viewOf = (logins) => ({ log: { roster: new Map(Object.keys(logins).map((user) => [user, {}])), pending: new Map() }, logins: new Map(Object.entries(logins)) });
  const doubts = (client, logins) => [...client.people(viewOf(logins)).values()].map(({ login, doubt }) => [login, doubt]);

  it("are what they first were, until somebody accepts another", () => {
    const one = client();
    assert.deepEqual(doubts(one, { [a]: "ada" }), [["ada", null]]);
    assert.deepEqual(doubts(one, { [a]: "eve" }), [["eve", "changed"]]);
    assert.throws(() => one.userCalled(viewOf({ [a]: "eve" }), "eve"), { code: "forbidden" });
    one.acceptName(viewOf({ [a]: "eve" }), a);
    assert.deepEqual(doubts(one, { [a]: "eve" }), [["eve", null]]);
    assert.equal(one.userCalled(viewOf({ [a]: "eve" }), "eve"), a);
  });

  it("are in doubt when two have one, in any letter case, and when they do not open", () => {
    const one = client();
    assert.deepEqual(doubts(one, { [a]: "ada", [b]: "Ada", [c]: "grace" }), [["ada", "shared"], ["Ada", "shared"], ["grace", null]]);
    assert.deepEqual(doubts(one, { [a]: null, [c]: "grace" }), [["ada", "unopened"], ["grace", null]]);
    assert.deepEqual(doubts(client(), { [a]: null }), [[null, "unopened"]]);
    const other = client();
    assert.deepEqual(doubts(other, { [a]: "ada" }), [["ada", null]]);
    assert.deepEqual(doubts(other, { [b]: "ADA" }), [["ADA", "shared"]], "another was known by it before, in another team");
    assert.deepEqual(doubts(other, { [a]: "ada" }), [["ada", null]]);
    assert.throws(() => one.userCalled(viewOf({ [a]: "ada", [b]: "Ada" }), "ada"), { code: "forbidden" });
    assert.throws(() => one.userCalled(viewOf({ [a]: "ada" }), "linus"), { code: "not-found" });
  });
});
