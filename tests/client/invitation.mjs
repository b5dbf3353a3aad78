// Section 6 of docs/protocol.md: the code of an invitation, which people send each other.

import { b64u, base32, concat, fromUtf8, require, sha256, utf8 } from "./encodings.mjs";

const PREFIX = "osmynt1";
const VERSION = 1;

/** The code of `{ origin, team, key, head, name }`, where `key` is the private scalar. */
export async function makeCode({ origin, team, key, head, name }) {
  const seq = new Uint8Array(4);
  new DataView(seq.buffer).setUint32(0, head.seq);
  const address = utf8(origin);
  require(address.length <= 255, "too-large", "an origin of more than 255 bytes");
  const body = concat(
    Uint8Array.of(VERSION), b64u.decode(team, 32), key, seq, b64u.decode(head.hash, 32), Uint8Array.of(address.length), address, utf8(name),
  );
  return PREFIX + base32.encode(concat(body, await checksum(body)));
}

/** What a code holds. White space and upper case do no harm. */
export async function parseCode(code) {
  const text = code.replace(/\s/g, "").toLowerCase();
  require(text.startsWith(PREFIX), "invalid-request", "not the code of an invitation");
  const bytes = decode(text.slice(PREFIX.length));
  const body = bytes.subarray(0, -4);
  const sum = bytes.subarray(-4);
  require(bytes.length > 4 && Buffer.compare(await checksum(body), sum) === 0, "invalid-request", "the code was cut off or mistyped");

  let at = 0;
  const take = (length) => {
    require(at + length <= body.length, "invalid-request", "the code is too short");
    at += length;
    return body.subarray(at - length, at);
  };
  const [version] = take(1);
  require(version === VERSION, "invalid-request", `the code has the unknown version ${version}`);
  const team = b64u.encode(take(32));
  const key = take(32);
  const four = take(4);
  const head = { seq: new DataView(four.buffer, four.byteOffset).getUint32(0), hash: b64u.encode(take(32)) };
  const origin = fromUtf8(take(take(1)[0]));
  const name = fromUtf8(body.subarray(at));
  return { origin, team, key, head, name };
}

function decode(text) {
  try {
    return base32.decode(text);
  } catch {
    // Nothing of a code has a checksum that fits.
    return new Uint8Array();
  }
}

const checksum = async (body) => (await sha256(body)).subarray(0, 4);
