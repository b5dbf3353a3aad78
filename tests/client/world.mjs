// A service and people who use it with the independent client.

import { approve } from "../support/browser.mjs";
import { person } from "../support/github.mjs";
import { startService } from "../support/harness.mjs";
import { Client } from "./client.mjs";

/** A running service whose GitHub knows these logins. */
export async function startWorld(logins, options = {}) {
  const people = logins.map((login, index) => person(2001 + index, login, `${login[0].toUpperCase()}${login.slice(1)}`));
  const service = await startService({ people, ...options });
  const signIn = (login, { origin = service.url, ...more } = {}) =>
    Client.signIn({
      origin,
      name: `${login}'s laptop`,
      approve: ({ verification_uri_complete }) => approve(verification_uri_complete, login),
      ...more,
    });
  return { service, signIn, dispose: () => service.dispose() };
}

/** Makes a team of `founder`, and lets the others join in the role that is their key: `{ admin: client, … }` or a list of pairs. */
export async function makeTeam(founder, name, others = {}) {
  const team = await founder.createTeam(name);
  for (const [role, client] of Array.isArray(others) ? others : Object.entries(others)) {
    await client.join((await founder.invite(team, { role })).code);
  }
  return team;
}
