// What the tests of the protocol share: a fixed time, made-up ids, and the assertion of a refusal.

import assert from "node:assert/strict";
import { b64u } from "../client/encodings.mjs";

/** Asserts that the action is refused with this code, whether it throws or rejects. */
export const refuses = (code, action) => assert.rejects(async () => action(), { name: "Refused", code });
export const NOW = 1_800_000_000;
export const HASH = b64u.encode(new Uint8Array(32));
export const USERS = [1, 2, 3].map((byte) => b64u.encode(new Uint8Array(32).fill(byte)));
export const DAY = 24 * 3600;
