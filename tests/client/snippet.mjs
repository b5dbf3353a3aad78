// Section 7 of docs/protocol.md: the container, padding, and what is sealed under the content key.

import {
  aeadOpen, aeadSeal, array, b64u, concat, envelope, fromUtf8, hashOf, hkdf, integer, labelled, literal, openBox, openObject,
  optional, paddedJson, parseAs, randomBytes, require, sealBox, string, unpadJson, utf8,
} from "./encodings.mjs";
import { contentKeyCommitment, requireCommitted } from "./keys.mjs";
import {
  ENVELOPES_BYTES, ENVELOPES_PER_SNIPPET, HEADER_BYTES, SNIPPET_CIPHERTEXT_BYTES, SNIPPET_CONTENT_BYTES, STATEMENT_LIMITS,
} from "./limits.mjs";

export const SUITE = "A256GCM";
export const MEDIA_TYPE = "application/vnd.osmynt.snippet";

// --- container ---

/** The wire form. `envelopes` is empty for a snippet to the team. */
export function join(statement, ciphertext, envelopes = []) {
  const parts = [utf8(statement), utf8(envelopes.length === 0 ? "" : JSON.stringify(envelopes))];
  return concat(...parts.flatMap((part) => [lengthOf(part), part]), ciphertext);
}

function lengthOf(part) {
  const length = new Uint8Array(4);
  new DataView(length.buffer).setUint32(0, part.length);
  return length;
}

/** `{ statement, envelopes, ciphertext }`; there are no envelopes for a snippet to the team. */
export function split(container) {
  let at = 0;
  const take = (length, what) => {
    require(container.length >= at + length, "invalid-request", `the snippet ends within ${what}`);
    at += length;
    return container.subarray(at - length, at);
  };
  const part = (limit, what) => {
    const four = take(4, `the length of ${what}`);
    const length = new DataView(four.buffer, four.byteOffset).getUint32(0);
    require(length <= limit, "too-large", `${what} of more than ${limit} bytes`);
    return fromUtf8(take(length, what));
  };
  const statement = part(STATEMENT_LIMITS["osmynt-snippet+jws"], "the statement");
  const envelopes = part(ENVELOPES_BYTES, "the envelopes");
  return {
    statement,
    envelopes: envelopes === "" ? [] : parseAs(array(envelope, { min: 1, max: ENVELOPES_PER_SNIPPET }), envelopes, "envelopes"),
    ciphertext: container.subarray(at),
  };
}

// --- padding ---

/** Padmé of a length of 2 or more. Lengths are far below 2^31, so 32-bit operations do. */
export function padme(length) {
  const exponent = 31 - Math.clz32(length);
  const significant = 32 - Math.clz32(exponent);
  const mask = 2 ** Math.max(exponent - significant, 0) - 1;
  return (length + mask) & ~mask;
}

export function pad(content) {
  require(content.length <= SNIPPET_CONTENT_BYTES, "too-large", "more than 10 MiB of content");
  const padded = new Uint8Array(paddedLength(content.length));
  padded.set(content);
  return padded;
}

// Padmé of 10 MiB is 10 MiB, so that the limit on the content is one on the padded content as well.
const paddedLength = (length) => padme(Math.max(length, 256));

export function unpad(padded, size) {
  require(size <= padded.length && paddedLength(size) === padded.length, "invalid-request", "the content is not padded as it should be");
  require(padded.subarray(size).every((byte) => byte === 0), "invalid-request", "the padding is not zero");
  return padded.subarray(0, size);
}

// --- ids ---

/** A UUID of version 7 (RFC 9562) for the given time in milliseconds. */
export function newSnippetId(milliseconds) {
  const id = randomBytes(16);
  const view = new DataView(id.buffer);
  view.setUint16(0, Math.floor(milliseconds / 2 ** 32));
  view.setUint32(2, milliseconds % 2 ** 32);
  id[6] = 0x70 | (id[6] & 0x0f);
  id[8] = 0x80 | (id[8] & 0x3f);
  return Buffer.from(id).toString("hex").replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}

// --- sealing ---

const bodyLabel = (team, snippet) => labelled("osmynt/v1/snippet", "body", team, snippet);
const headerLabel = (team, snippet) => labelled("osmynt/v1/snippet", "header", team, snippet);

const lineRange = openObject({ from: integer, to: integer });
const headerShape = openObject({
  kind: literal("code", "diff", "file"),
  size: integer,
  title: optional(string),
  language: optional(string),
  path: optional(string),
  repository: optional(string),
  base: optional((value, path) => {
    openObject({ blob: string, from: optional(integer), to: optional(integer) })(value, path);
    require((value.from == null) === (value.to == null), "invalid-request", `${path} has one of from and to alone`);
  }),
});

/** The header, without `lines` that make no sense. Members that nobody knows stay. */
function readHeader(plaintext) {
  const { lines, ...header } = unpadJson(headerShape, plaintext, HEADER_BYTES, "header", { anyNumber: true });
  try {
    lineRange(lines, "lines");
  } catch {
    return header;
  }
  return lines.from <= lines.to ? { ...header, lines } : header;
}

/** The ciphertext, and those members of the statement that follow from content and key. */
export async function sealContent(contentKey, team, snippet, header, content) {
  headerShape(header, "header");
  const nonce = randomBytes(12);
  const ciphertext = await aeadSeal(contentKey, nonce, pad(content), bodyLabel(team, snippet));
  return {
    ciphertext,
    members: {
      nonce: b64u.encode(nonce),
      header: await sealBox(contentKey, paddedJson(header, HEADER_BYTES), headerLabel(team, snippet)),
      commitment: await contentKeyCommitment(contentKey, team, snippet),
      sha256: await hashOf(ciphertext),
      length: ciphertext.length,
    },
  };
}

/** Title and the like of a snippet whose content key is at hand. */
export async function openHeader(contentKey, statement) {
  requireCommitted(await contentKeyCommitment(contentKey, statement.team, statement.snippet), statement.commitment);
  const plaintext = await openBox(contentKey, statement.header, headerLabel(statement.team, statement.snippet));
  const header = readHeader(plaintext);
  require(header.size <= SNIPPET_CONTENT_BYTES && paddedLength(header.size) + 16 === statement.length, "invalid-request", "the header states another size");
  return header;
}

/** Header and content of a verified statement and its ciphertext. */
export async function openContent(contentKey, statement, ciphertext) {
  await requireStated(statement, ciphertext);
  const header = await openHeader(contentKey, statement);
  const padded = await aeadOpen(contentKey, b64u.decode(statement.nonce, 12), ciphertext, bodyLabel(statement.team, statement.snippet));
  return { header, content: unpad(padded, header.size) };
}

/** Refuses a ciphertext that is not the one that the statement states. */
export async function requireStated(statement, ciphertext) {
  require(ciphertext.length <= SNIPPET_CIPHERTEXT_BYTES, "too-large", "more than 10 MiB of ciphertext");
  require(ciphertext.length === statement.length, "invalid-request", "the ciphertext has not the stated length");
  require((await hashOf(ciphertext)) === statement.sha256, "invalid-request", "the ciphertext has not the stated hash");
}

// --- content keys for the team ---

const wrapLabel = (team, epoch, snippet) => labelled("osmynt/v1/wrap", team, epoch, snippet);

export async function wrapContentKey(contentKey, teamKey, team, epoch, snippet) {
  const label = wrapLabel(team, epoch, snippet);
  return sealBox(await hkdf(teamKey, label), contentKey, label);
}

export async function unwrapContentKey(box, teamKey, team, epoch, snippet) {
  const label = wrapLabel(team, epoch, snippet);
  return openBox(await hkdf(teamKey, label), box, label);
}
