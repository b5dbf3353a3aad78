// Somebody who has a copy of all that the service stores, and the key store of one device: what can they read? It asks no service and keeps
// no rule: every key that there is is tried on everything that it could fit. Made from the independent client, so that a rule which
// the `osmynt` command only follows out of politeness protects nothing here.
import { createCipheriv, createDecipheriv, createHash } from "node:crypto";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";

import { Api } from "../client/api.mjs";
import { Client } from "../client/client.mjs";
import { b64u } from "../client/encodings.mjs";
import { contentKeyPurpose, keyPairFromScalar, openEnvelope, teamKeyPurpose } from "../client/keys.mjs";
import { join as joined, openContent, unwrapContentKey } from "../client/snippet.mjs";

/** What is in a dump (dump.mjs) of one team's log, envelopes and snippets, by reading the stores as they are. */
export function readTeam({ parts, rows }) {
  const tables = [...rows.values()].find(({ entries, envelopes, snippets }) => entries && envelopes && snippets);
  const blobs = new Map(
    parts
      .filter(({ where }) => /^r2\/.*\/blobs\//.test(where))
      .map(({ bytes }) => [createHash("sha256").update(bytes).digest("base64url"), bytes]),
  );
  const entries = tables.entries.map(({ jws, received_at }) => ({ ...decode(jws), receivedAt: Number(received_at) }));
  const sealed = (seq) => tables.snippet_envelopes.filter((row) => row.seq === seq).map(({ envelope }) => JSON.parse(envelope));
  const snippets = tables.snippets
    .filter(({ statement }) => statement !== null)
    .map(({ seq, statement }) => ({ ...decode(statement), envelopes: sealed(seq), ciphertext: blobs.get(decode(statement).payload.sha256) }));
  const envelopes = tables.envelopes.map(({ device, epoch, envelope }) => ({ device, epoch: Number(epoch), envelope: JSON.parse(envelope) }));
  return { entries, snippets, envelopes };
}

/** The bytes of a snippet, with the envelopes of everybody it is for, which the service gives nobody. */
export const containerOf = ({ compact, envelopes, ciphertext }) => joined(compact, ciphertext, envelopes);

/** Every secret in the key store of a home: `{ device, prekeys, teamKeys }`, the last two as private keys and 32-byte keys. */
export async function keysOf(home) {
  const { secrets } = await openVault(home);
  const scalars = secrets.device.prekeys.map(({ secret }) => b64u.decode(secret, 32));
  return {
    device: (await keyPairFromScalar("ECDSA", b64u.decode(secrets.device.signer, 32))).id,
    prekeys: await Promise.all(scalars.map((scalar) => keyPairFromScalar("ECDH", scalar))),
    teamKeys: Object.values(secrets.teams).flatMap(({ keys }) => Object.values(keys).map((text) => b64u.decode(text, 32))),
  };
}

/** All that a key store holds, as it stands there. */
export const secretsOf = async (home) => (await openVault(home)).secrets;

/** The independent client, in the place of the command whose home this is, for what the command does not do. */
export async function clientOf(home, origin) {
  const { device, session } = await secretsOf(home);
  const key = await keyPairFromScalar("ECDSA", b64u.decode(device.signer, 32));
  const client = new Client(new Api(origin, key), () => Math.floor(Date.now() / 1000), key);
  client.keep(session);
  const { account, device: place } = await client.api.me();
  client.tokens = { ...session, account: account.id };
  client.user = place.user;
  return client;
}

/** Changes what a key store holds, as only its owner's machine could: for tests of what happens with time. */
export async function changeVault(home, change) {
  const { secrets, key, id, nonce } = await openVault(home);
  change(secrets);
  // A nonce that was used before: worth a thought anywhere but in a test.
  const cipher = createCipheriv("aes-256-gcm", key, nonce).setAAD(id);
  const sealed = Buffer.concat([cipher.update(JSON.stringify(secrets)), cipher.final()]);
  await writeFile(join(home, "vault"), Buffer.concat([id, nonce, sealed, cipher.getAuthTag()]));
}

async function openVault(home) {
  const vault = await readFile(join(home, "vault"));
  const key = b64u.decode((await readFile(join(home, "vault.key"), "utf8")).trim(), 32);
  // "osmynt-vault-1\n" and the vault's id, which are authenticated; the nonce; the ciphertext; its tag.
  const [id, nonce, sealed, tag] = [vault.subarray(0, 31), vault.subarray(31, 43), vault.subarray(43, -16), vault.subarray(-16)];
  const cipher = createDecipheriv("aes-256-gcm", key, nonce).setAAD(id).setAuthTag(tag);
  const secrets = JSON.parse(Buffer.concat([cipher.update(sealed), cipher.final()]).toString("utf8"));
  return { secrets, key, id, nonce };
}

/** All that can be read with these keys: a `Map` from snippet id to `{ header, content }`, and the epochs whose keys were in envelopes. */
export async function intrude({ entries, snippets, envelopes }, { prekeys, teamKeys }) {
  const team = snippets[0]?.payload.team;
  const rotations = new Map(entries.filter(({ payload }) => payload.event.type === "key.rotated").map((entry) => [entry.payload.event.epoch, entry]));

  const epochs = new Set();
  const keys = [...teamKeys];
  for (const { epoch, envelope } of envelopes) {
    for (const key of await openedBy(prekeys, envelope, teamKeyPurpose(team, epoch, rotations.get(epoch).header.kid))) {
      epochs.add(epoch);
      keys.push(key);
    }
  }

  const read = new Map();
  for (const { header, payload, envelopes: sealed, ciphertext } of snippets) {
    const { audience, snippet } = payload;
    const candidates = [...keys];
    for (const key of keys) {
      if (audience.wrapped) candidates.push(await orNothing(unwrapContentKey(audience.wrapped, key, team, audience.epoch, snippet)));
    }
    for (const envelope of sealed) candidates.push(...(await openedBy(prekeys, envelope, contentKeyPurpose(team, snippet, header.kid))));
    for (const key of candidates.filter(Boolean)) {
      const opened = await orNothing(openContent(key, payload, ciphertext));
      if (opened) read.set(snippet, opened);
    }
  }
  return { read, epochs };
}

/** The keys that come out of an envelope, whichever prekey it says that it is for. */
async function openedBy(prekeys, envelope, purpose) {
  const tried = prekeys.map((prekey) => orNothing(openEnvelope(envelope, purpose, { ...prekey, id: envelope.prekey })));
  return (await Promise.all(tried)).filter(Boolean);
}

function decode(compact) {
  const [header, payload] = compact.split(".").slice(0, 2).map((part) => JSON.parse(Buffer.from(part, "base64url").toString("utf8")));
  return { compact, header, payload };
}

/** A key that does not fit is what is expected here; a mistake in this program is not. */
async function orNothing(attempt) {
  try {
    return await attempt;
  } catch (error) {
    if (error.name === "Refused" || error.name === "OperationError") return undefined;
    throw error;
  }
}
