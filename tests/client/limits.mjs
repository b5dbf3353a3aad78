// Section 12 of docs/protocol.md, and the limits of statements from section 2.

/** The bytes of a statement of each kind. */
export const STATEMENT_LIMITS = {
  "osmynt-handshake+jws": 2_048,
  "osmynt-device+jws": 1_024,
  "osmynt-prekey+jws": 1_024,
  "osmynt-user+jws": 2_048,
  "osmynt-team+jws": 16_384,
  "osmynt-invite+jws": 1_024,
  "osmynt-snippet+jws": 16_384,
};
/** More than this no statement has. */
export const STATEMENT_BYTES = 16_384;
/** Of a prekey of a kind that is not known. */
export const UNKNOWN_PREKEY_BYTES = 8_192;
export const SNIPPET_CONTENT_BYTES = 10_485_760;
export const SNIPPET_CIPHERTEXT_BYTES = SNIPPET_CONTENT_BYTES + 16;
export const HEADER_BYTES = 4_096;
export const PROFILE_BYTES = 1_024;
export const ENVELOPES_PER_SNIPPET = 500;
export const ENVELOPES_BYTES = 262_144;
export const JSON_BODY_BYTES = 1_048_576;
export const USER_LOG_ENTRIES = 256;
/** The last entries of a user log, which can only be revocations. */
export const USER_LOG_RESERVED = 20;
export const DEVICES_PER_USER = 20;
export const DEVICES_PER_TEAM = 1_000;
export const MEMBERS = 1_000;
export const MEMBERS_EVER = 10_000;
export const PENDING_SECONDS = 14 * 24 * 3600;
export const ERASURE_SECONDS = 14 * 24 * 3600;
export const ENTRIES_PER_COMMIT = 16;
export const OPEN_INVITES = 100;
export const PAGE = 100;
export const PAGE_BYTES = 1_048_576;
export const CLOCK_SKEW = 300;
export const PROOF_SKEW = 60;
export const PROOF_BYTES = 4_096;
export const PROOF_ID_BYTES = 64;
export const HANDSHAKE_SECONDS = 300;
export const HANDSHAKE_LIFETIME = 900;
export const POLL_INTERVAL = 60;
export const WRONG_VERIFIERS = 5;
export const ACCESS_SECONDS = 12 * 3600;
export const SESSION_SECONDS = 30 * 24 * 3600;
export const INVITE_SECONDS = 30 * 24 * 3600;
