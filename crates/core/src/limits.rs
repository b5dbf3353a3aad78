//! Every limit of the protocol (section 12), in one place.

/// Bytes of a snippet's statement in compact serialization. Each kind of statement has a limit of its own, see
/// [`Payload::LIMIT`](crate::Payload::LIMIT); none is larger than this.
pub const STATEMENT_BYTES: usize = 16 * 1024;
/// Bytes of a snippet's envelopes as JSON.
pub const SNIPPET_ENVELOPES_BYTES: usize = 256 * 1024;
/// Bytes of a snippet's content before padding.
pub const SNIPPET_CONTENT_BYTES: usize = 10 * 1024 * 1024;
/// Bytes of a snippet's ciphertext: the padded content and the AES-GCM tag.
pub const SNIPPET_CIPHERTEXT_BYTES: u64 = SNIPPET_CONTENT_BYTES as u64 + 16;
/// Bytes of a whole snippet: two lengths, statement, envelopes, ciphertext.
pub const SNIPPET_BYTES: u64 = 8 + (STATEMENT_BYTES + SNIPPET_ENVELOPES_BYTES) as u64 + SNIPPET_CIPHERTEXT_BYTES;
/// Bytes of a snippet's padded header before sealing.
pub const SEALED_HEADER_BYTES: usize = 4096;
/// Bytes of a team's padded profile before sealing.
pub const PROFILE_BYTES: usize = 1024;
/// Characters of a team's name.
pub const TEAM_NAME_CHARS: usize = 100;
/// Headers and profiles are padded to a multiple of this many bytes.
pub const PADDING_BLOCK: usize = 256;
/// Bytes of a request body that is JSON.
pub const JSON_BODY_BYTES: u64 = 1024 * 1024;
/// Bytes of a page of any list, unless its first item alone has more.
pub const PAGE_BYTES: usize = 1024 * 1024;
/// Entries of a user log.
pub const USER_LOG_ENTRIES: usize = 256;
/// Of these, how many at the end are kept for revocations, so that nobody can fill a log to keep a device in it.
pub const RESERVED_FOR_REVOCATIONS: usize = 20;
/// Active devices of one user.
pub const DEVICES_PER_USER: usize = 20;
/// Active devices of all members of a team together.
pub const DEVICES_PER_TEAM: usize = 1000;
/// Members of a team, those who wait to be confirmed included.
pub const MEMBERS_PER_TEAM: usize = 1000;
/// Users who are or ever were in a team.
pub const USERS_PER_TEAM: usize = 10_000;
/// Seconds after which nobody who waits to be confirmed waits any more.
pub const PENDING_SECONDS: u64 = 14 * 24 * 3600;
/// Seconds from the request to erase a former user of an account until it is done, unless one of its devices objects.
pub const ERASURE_SECONDS: u64 = 14 * 24 * 3600;
/// Entries in one commit, and in one append to a user log.
pub const ENTRIES_PER_COMMIT: usize = 16;
/// Open invitations of a team.
pub const OPEN_INVITATIONS: usize = 100;
/// Uses of one invitation.
pub const INVITATION_USES: u32 = 100;
/// Seconds that an invitation may be valid for.
pub const INVITATION_SECONDS: u64 = 30 * 24 * 3600;
/// Members that a direct snippet may name.
pub const NAMED_MEMBERS: usize = 64;
/// Envelopes in one snippet.
pub const ENVELOPES_PER_SNIPPET: usize = 500;
/// Seconds between the shortest and the longest age that a policy may allow an epoch.
pub const EPOCH_AGE_SECONDS: core::ops::RangeInclusive<u64> = 3600..=31_536_000;
/// Items on a page of any list.
pub const PAGE: usize = 100;
/// Seconds that two clocks may differ: a statement's `iat` from the time of its receipt, and times of receipt that were
/// taken from different clocks of the service, or are compared with a client's.
pub const CLOCK_SKEW: u64 = 300;
/// Seconds that the `iat` of a DPoP proof may differ from the time of its receipt.
pub const PROOF_SKEW: u64 = 60;
/// Bytes of a DPoP proof.
pub const PROOF_BYTES: usize = 4096;
/// Bytes of a DPoP proof's `jti`.
pub const PROOF_ID_BYTES: usize = 64;
/// Polls of a handshake with a wrong verifier, of which the last ends it.
pub const WRONG_VERIFIERS: u32 = 5;
/// Characters of a device's name.
pub const DEVICE_NAME_CHARS: usize = 64;
/// Seconds from the start of a handshake to its end.
pub const HANDSHAKE_SECONDS: u64 = 300;
/// Seconds between two polls of a handshake.
pub const POLL_SECONDS: u64 = 2;
/// Seconds that an access token is valid for.
pub const ACCESS_SECONDS: u64 = 12 * 3600;
/// Seconds from a sign-in to the end of its session and of all its refresh tokens.
pub const REFRESH_SECONDS: u64 = 30 * 24 * 3600;
/// The largest integer that a statement may hold: 2^53 - 1, the largest that every JSON reader keeps exact.
pub const MAX_INTEGER: u64 = (1 << 53) - 1;
