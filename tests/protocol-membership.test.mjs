// Who is let into a team and who is kept out, by the rules of the independent client: confirmation,
// removal, and the invitations that removal closes.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { CONFIRMATION, makeTeam, people, Person, Team } from "./support/logs.mjs";
import { DAY, HASH, NOW, refuses } from "./support/protocol.mjs";

describe("whoever must be confirmed", () => {
  /** Somebody who is pending, in a team of an owner and an admin. */
  async function setUp() {
    const [owner, admin, joiner] = await people();
    const team = await Team.make(owner);
    await team.joinAs("admin", admin);
    await team.append(owner, { type: "policy.changed", policy: CONFIRMATION });
    const invitation = await team.invite(admin, { uses: 3 });
    await team.join(joiner, invitation);
    return { team, owner, admin, joiner, invitation };
  }

  it("is no member until an admin confirms them, with a rotation", async () => {
    const { team, admin, joiner, invitation } = await setUp();
    team.log.requireSettled();
    assert.deepEqual([team.log.roster.has(joiner.user), team.log.pending.has(joiner.user)], [false, true]);
    await refuses("forbidden", () => team.rotate(joiner));
    await refuses("conflict", () => team.join(joiner, invitation));
    await team.append(admin, { type: "member.confirmed", user: joiner.user });
    await refuses("rotation-required", () => team.log.requireSettled());
    await team.rotate(admin);
    assert.equal(team.log.roster.get(joiner.user).role, "member");
    assert.equal(team.log.pending.size, 0);
    await refuses("not-found", () => team.append(admin, { type: "member.confirmed", user: joiner.user }));
  });

  it("may withdraw, without a rotation", async () => {
    const { team, joiner, invitation } = await setUp();
    await team.append(joiner, { type: "member.left" });
    team.log.requireSettled();
    assert.equal(team.log.isStale(await team.directory(), NOW), false);
    await refuses("forbidden", () => team.append(joiner, { type: "member.left" }));
    await team.join(joiner, invitation);
  });

  it("may be refused, which closes the invitation that they came by and bars them", async () => {
    const { team, owner, admin, joiner, invitation } = await setUp();
    await team.append(admin, { type: "member.removed", user: joiner.user });
    team.log.requireSettled();
    assert.equal(team.log.isOpen(team.log.invites.get(invitation.id), NOW), false);
    await refuses("forbidden", async () => team.join(joiner, await team.invite(owner)));
    await team.join(joiner, await team.invite(owner, { user: joiner.user }));
  });

  it("waits no longer than 14 days", async () => {
    const { team, admin, joiner } = await setUp();
    const confirmed = { type: "member.confirmed", user: joiner.user };
    const before = team.log;
    await team.append(admin, confirmed, { received: NOW + 14 * DAY });
    team.log = before;
    await refuses("not-found", () => team.append(admin, confirmed, { received: NOW + 14 * DAY + 1 }));
    await refuses("forbidden", () => team.append(joiner, { type: "member.left" }, { received: NOW + 14 * DAY + 1 }));
  });
});

describe("what removal closes", () => {
  const isOpen = (team, { id }) => team.log.isOpen(team.log.invites.get(id), NOW);

  it("are the invitations that the person made, and the one that they came in by", async () => {
    const [owner, admin, other] = await people();
    const team = await Team.make(owner);
    const entrance = await team.invite(owner, { role: "admin", uses: 5 });
    await team.join(admin, entrance);
    await team.rotate(admin);
    const [theirs, owners] = [await team.invite(admin, { uses: 5 }), await team.invite(owner)];
    await team.join(other, theirs);
    await team.rotate(other);
    await team.remove(owner, admin);
    assert.deepEqual([entrance, theirs, owners].map((invite) => isOpen(team, invite)), [false, false, true]);
    await refuses("forbidden", () => team.join(admin, owners));
  });

  it("is closed by a demotion, too, and by a promotion not", async () => {
    const { team, owner, admin, member } = await makeTeam();
    const theirs = await team.invite(admin);
    await team.append(owner, { type: "role.changed", user: admin.user, role: "owner" });
    assert.ok(isOpen(team, theirs));
    await team.append(owner, { type: "role.changed", user: admin.user, role: "member" });
    assert.ok(!isOpen(team, theirs));
    const later = await team.invite(owner, { uses: 2 });
    await team.append(admin, { type: "member.left" });
    await refuses("forbidden", () => team.join(admin, later));
    await team.append(member, { type: "member.left" });
    await team.rotate(owner);
    await team.join(member, later);
  });

  it("keeps out whoever was removed until an invitation names them that was made since", async () => {
    const { team, owner, member } = await makeTeam();
    const before = await team.invite(owner, { user: member.user });
    await team.remove(owner, member);
    await refuses("forbidden", () => team.join(member, before));
    await refuses("forbidden", async () => team.join(member, await team.invite(owner)));
    await team.joinAs("member", member, { user: member.user });
    await team.append(member, { type: "member.left" });
    await team.rotate(owner);
    await refuses("forbidden", async () => team.join(member, await team.invite(owner)));
  });

  it("is closed as well when somebody leaves, who may come back by what others made", async () => {
    const [owner, admin] = await people();
    const team = await Team.make(owner);
    const entrance = await team.invite(owner, { role: "admin", uses: 5 });
    await team.join(admin, entrance);
    await team.rotate(admin);
    const [theirs, owners] = [await team.invite(admin), await team.invite(owner, { uses: 2 })];
    await team.append(admin, { type: "member.left" });
    assert.deepEqual([entrance, theirs, owners].map((invite) => isOpen(team, invite)), [false, false, true]);
    await team.rotate(owner);
    await team.join(admin, owners);
  });

  for (const [what, act] of [
    ["is demoted", (team, owner, admin) => team.append(owner, { type: "role.changed", user: admin.user, role: "member" })],
    ["leaves", (team, owner, admin) => team.append(admin, { type: "member.left" })],
  ]) {
    it(`ends the waiting of those who were invited by the person who ${what}`, async () => {
      const { team, owner, admin } = await makeTeam();
      const [first, second] = [await Person.make(), await Person.make()];
      await team.append(owner, { type: "policy.changed", policy: CONFIRMATION });
      await team.join(first, await team.invite(admin));
      await team.join(second, await team.invite(owner));
      await act(team, owner, admin);
      assert.deepEqual([...team.log.pending.keys()], [second.user]);
      await refuses("not-found", () => team.append(owner, { type: "member.confirmed", user: first.user }));
    });
  }

  it("can be barred to somebody who left, also once more", async () => {
    const { team, owner, admin, member } = await makeTeam();
    const invitation = await team.invite(owner);
    await team.append(member, { type: "member.left" });
    await team.rotate(owner);
    await refuses("not-found", () => team.append(admin, { type: "member.removed", user: HASH }));
    await team.append(admin, { type: "member.removed", user: member.user });
    team.log.requireSettled();
    await refuses("forbidden", () => team.join(member, invitation));
    const theirs = await team.invite(owner, { user: member.user });
    await team.append(owner, { type: "member.removed", user: member.user });
    await refuses("forbidden", () => team.join(member, theirs));
    assert.ok(isOpen(team, invitation));
  });
});
