// A stand-in for GitHub's OAuth web flow, for tests and `npm run dev`: the same addresses, parameters and errors as GitHub, with
// people who exist only here. It is strict where GitHub is lenient, so that a service that works with it asks for no more than it
// needs: no scope, PKCE with S256, a state, the exact callback.
import { createHash, randomBytes, randomUUID } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:http";

/** Three people for whoever does not care. */
export const PEOPLE = [person(1001, "ada", "Ada"), person(1002, "grace", "Grace"), person(1003, "linus", "Linus")];

/** An account. Everything beyond id, login, name and avatar is derived, and no business of the service. */
export function person(id, login, name) {
  return { id, login, name, avatar_url: `https://avatars.invalid/u/${id}` };
}

/** What GitHub tells about an account besides what the service may keep; a test looks for these in its stores. */
export function privateParts({ login }) {
  return {
    email: `${login}.private@mail.invalid`,
    company: `${login} and Partners`,
    location: `Street of ${login} 7`,
    bio: `Biography of ${login}`,
    blog: `https://blog-of-${login}.invalid`,
    node_id: `MDQ6VXNlcl9${login}`,
  };
}

/**
 * Starts it on loopback. Gives `url`, `apiUrl`, `clientId`, `clientSecret`, `people` (an array that may be changed), `requests` (what the
 * service asked, as `{ path, … }`), `outage` (set it to true and GitHub answers 503), and `close`.
 */
export async function startGitHub({ people = PEOPLE, callback, clientId = "osmynt-local", clientSecret = randomBytes(20).toString("hex"), port = 0 } = {}) {
  const github = { people: [...people], requests: [], outage: false, clientId, clientSecret };
  const codes = new Map();
  const tokens = new Map();

  const routes = {
    // The page where a person agrees. The form leads back here with the person chosen.
    "GET /login/oauth/authorize": ({ query }) => {
      const problem = authorizationProblem(query);
      if (problem) return page(400, `<h1>GitHub stand-in</h1><p>${escape(problem)}</p>`);
      const hidden = [...query].map(([name, value]) => `<input type="hidden" name="${escape(name)}" value="${escape(value)}">`).join("");
      const buttons = github.people
        .map(({ login, name }) => `<p><button name="as" value="${escape(login)}">${escape(name ?? login)} (${escape(login)})</button></p>`)
        .join("");
      return page(200, `<h1>GitHub stand-in</h1><p>Nobody here is real. Who are you?</p>
<form method="post" action="/login/oauth/authorize">${hidden}${buttons}<p><button name="as" value="">Nobody: cancel</button></p></form>`);
    },

    "POST /login/oauth/authorize": ({ form }) => {
      const problem = authorizationProblem(form);
      if (problem) return page(400, `<h1>GitHub stand-in</h1><p>${escape(problem)}</p>`);
      const back = new URL(form.get("redirect_uri"));
      back.searchParams.set("state", form.get("state"));
      const who = github.people.find(({ login }) => login === form.get("as"));
      if (who) {
        const code = randomBytes(10).toString("hex");
        codes.set(code, { who, redirect: form.get("redirect_uri"), challenge: form.get("code_challenge") });
        back.searchParams.set("code", code);
      } else {
        back.searchParams.set("error", "access_denied");
        back.searchParams.set("error_description", "The user has denied your application access.");
      }
      return { status: 302, headers: { location: back.href } };
    },

    // Errors are answered with status 200, as GitHub does.
    "POST /login/oauth/access_token": ({ form, headers }) => {
      if (!/\bapplication\/json\b/.test(headers.accept ?? "")) return text(406, "This stand-in answers in JSON only: send Accept: application/json.");
      const grant = codes.get(form.get("code"));
      if (form.get("client_id") !== clientId || form.get("client_secret") !== clientSecret) return json(200, { error: "incorrect_client_credentials" });
      codes.delete(form.get("code"));
      const verifier = form.get("code_verifier") ?? "";
      const proven = grant && createHash("sha256").update(verifier).digest("base64url") === grant.challenge;
      if (!proven) return json(200, { error: "bad_verification_code" });
      if (form.get("redirect_uri") !== grant.redirect) return json(200, { error: "redirect_uri_mismatch" });
      const token = `gho_${randomBytes(18).toString("hex")}`;
      tokens.set(token, grant.who);
      return json(200, { access_token: token, token_type: "bearer", scope: "" });
    },

    "GET /api/user": ({ headers }) => {
      if (!headers["user-agent"]) return text(403, "Request forbidden by administrative rules. Please make sure your request has a User-Agent header.");
      const who = tokens.get(/^Bearer (\S+)$/.exec(headers.authorization ?? "")?.[1]);
      if (!who) return json(401, { message: "Bad credentials" });
      return json(200, { ...who, ...privateParts(who), type: "User", created_at: "2011-01-25T18:44:36Z" });
    },
  };

  function authorizationProblem(query) {
    if (query.get("client_id") !== clientId) return "The client_id is unknown.";
    if (callback ? query.get("redirect_uri") !== callback : !URL.canParse(query.get("redirect_uri"))) return "The redirect_uri is not the registered one.";
    if (!query.get("state")) return "The state is missing.";
    if (query.get("code_challenge_method") !== "S256") return "PKCE with S256 is missing.";
    if (!/^[\w-]{43}$/.test(query.get("code_challenge") ?? "")) return "The code_challenge is not one.";
    if (query.get("scope")) return "A scope is asked for; the public profile needs none.";
    return null;
  }

  const server = createServer(async (request, response) => {
    const { pathname, searchParams: query } = new URL(request.url, "http://github");
    const { headers } = request;
    const form = await formOf(request);
    github.requests.push({ method: request.method, path: pathname, headers, query, form });
    const route = routes[`${request.method} ${pathname}`];
    const answer = github.outage ? text(503, "No server is currently available.") : route ? route({ query, form, headers }) : text(404, "Not Found");
    response.writeHead(answer.status, { "x-github-request-id": randomUUID(), ...answer.headers });
    response.end(answer.body);
  });
  server.listen(port, "127.0.0.1");
  await once(server, "listening");

  github.url = `http://127.0.0.1:${server.address().port}`;
  github.apiUrl = `${github.url}/api`;
  github.close = async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  };
  return github;
}

/** The body as parameters, from either of the two forms that GitHub takes. */
async function formOf(request) {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  const body = Buffer.concat(chunks).toString("utf8");
  if (!/json/.test(request.headers["content-type"] ?? "")) return new URLSearchParams(body);
  return new URLSearchParams(JSON.parse(body));
}

const json = (status, value) => ({ status, headers: { "content-type": "application/json; charset=utf-8" }, body: JSON.stringify(value) });
const text = (status, body) => ({ status, headers: { "content-type": "text/plain" }, body });
const page = (status, body) => ({
  status,
  headers: { "content-type": "text/html; charset=utf-8" },
  body: `<!doctype html><html lang="en"><meta charset="utf-8"><title>GitHub stand-in</title><body>${body}</body></html>`,
});
const escape = (value) => value.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
