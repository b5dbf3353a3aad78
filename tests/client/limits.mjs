// Section 12 of docs/protocol.md.

export const STATEMENT_BYTES = 65_536;
export const SNIPPET_CONTENT_BYTES = 10_485_760;
export const SNIPPET_CIPHERTEXT_BYTES = SNIPPET_CONTENT_BYTES + 16;
export const HEADER_BYTES = 4_096;
export const PROFILE_BYTES = 1_024;
export const JSON_BODY_BYTES = 1_048_576;
export const DEVICES_PER_USER = 20;
export const DEVICES_PER_TEAM = 1_000;
export const ENTRIES_PER_COMMIT = 16;
export const ENVELOPES_PER_SNIPPET = 128;
export const OPEN_INVITES = 100;
export const PAGE = 100;
export const CLOCK_SKEW = 300;
export const PROOF_SKEW = 60;
export const PROOF_BYTES = 4_096;
export const PROOF_ID_BYTES = 64;
export const HANDSHAKE_SECONDS = 300;
export const WRONG_VERIFIERS = 5;
export const ACCESS_SECONDS = 12 * 3600;
export const SESSION_SECONDS = 30 * 24 * 3600;
export const INVITE_SECONDS = 30 * 24 * 3600;
