// A sign-in step by step, for tests that want to go wrong between two of them: the device's part and the person's.

import assert from "node:assert/strict";

import { Api } from "../client/api.mjs";
import { Client } from "../client/client.mjs";
import { b64u, hashOf, randomBytes, utf8 } from "../client/encodings.mjs";
import { makeKeyPair } from "../client/keys.mjs";
import { sign } from "../client/statements.mjs";
import { Browser, approve } from "./browser.mjs";

/**
 * Starts a handshake at the service with this address, for a new device or the one with this key pair. Gives `{ key, api, verifier, started }`,
 * where `started` is the service's answer.
 */
export async function startHandshake(url, { name = "a device", key } = {}) {
  const device = key ?? (await makeKeyPair("ECDSA"));
  const api = new Api(url, device);
  const verifier = b64u.encode(randomBytes(32));
  const payload = { jwk: device.jwk, challenge: await hashOf(utf8(verifier)), name, iat: Math.floor(Date.now() / 1000) };
  const started = await api.handshake(await sign("osmynt-handshake+jws", payload, device));
  return { key: device, api, verifier, started };
}

/** The answer to a device that asks for the tokens of its handshake. */
export const poll = ({ api, started, verifier }) =>
  postTokens(api, { grant_type: "urn:ietf:params:oauth:grant-type:device_code", device_code: started.device_code, verifier });

/** The answer to a device that refreshes its tokens. */
export const refresh = ({ api, tokens }) => postTokens(api, refreshOf(tokens));

/** A new refresh of these tokens, as a body. */
export const refreshOf = ({ refresh_token }) => ({ grant_type: "refresh_token", refresh_token, idempotency_key: b64u.encode(randomBytes(16)) });

async function postTokens(api, body) {
  const headers = { "Content-Type": "application/json", ...(await api.credentials("POST", "/v1/tokens")) };
  return fetch(`${api.origin}/v1/tokens`, { method: "POST", headers, body: JSON.stringify(body) });
}

/** The tokens of a device that a person approves: what `startHandshake` gives, `tokens`, and an `api` that uses them. */
export async function signIn(url, login, options = {}) {
  const handshake = await startHandshake(url, options);
  const page = await approve(handshake.started.verification_uri_complete, login);
  assert.equal(page.status, 200, page.text);
  const answer = await poll(handshake);
  assert.equal(answer.status, 200);
  return withTokens(handshake, await answer.json());
}

/** The same device with these tokens. */
export function withTokens(device, tokens) {
  const api = new Api(device.api.origin, device.key);
  api.accessToken = tokens.access_token;
  return { ...device, api, tokens };
}

/** A browser on the page where the person with this login confirms: `{ browser, start, github, confirm }`, the pages on the way. */
export async function browseToConfirmation(handshake, login, browser = new Browser()) {
  const start = await browser.open(handshake.started.verification_uri_complete);
  const github = await browser.press(start, start.onlyButton());
  const confirm = await browser.press(github, github.button("as", login));
  assert.ok(confirm.button("decision", "approve"), confirm.text);
  return { browser, start, github, confirm };
}

/** Lets `signIn` sign in with the independent client, and leaves the founding of a user for later. Gives what it gives. */
export async function beforeFounding(signIn) {
  const { beginLog } = Client.prototype;
  Client.prototype.beginLog = async () => {};
  try {
    return await signIn();
  } finally {
    Client.prototype.beginLog = beginLog;
  }
}
