// Section 8 of docs/protocol.md: proofs of possession (RFC 9449).

import { b64u, hashOf, randomBytes, utf8 } from "./encodings.mjs";
import { signText } from "./statements.mjs";

/**
 * The proof that a request is made by the device with this key pair: `method` and `url` are the request's, `token` the access token that it
 * carries, if any. A test that wants a flaw changes members of the header or the claims (undefined takes one away), or has another key sign.
 */
export async function proofFor({ method, url, token, key, header = {}, claims = {}, signedBy = key }) {
  const { origin, pathname } = new URL(url);
  const said = {
    jti: b64u.encode(randomBytes(16)),
    htm: method,
    htu: `${origin}${pathname}`,
    iat: Math.floor(Date.now() / 1000),
    ath: token === undefined ? undefined : await hashOf(utf8(token)),
    ...claims,
  };
  return signText(JSON.stringify({ typ: "dpop+jwt", alg: "ES256", jwk: key.jwk, ...header }), JSON.stringify(said), signedBy.privateKey);
}
