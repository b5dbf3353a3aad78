-- Accounts, users and what their devices signed, who is signed in, and who is in which team.
-- Times are seconds since 1970-01-01T00:00:00Z. Hashes and keys are written as in docs/protocol.md, section 1.

-- Who signs in. Of the identity provider only id, login, name and picture are kept, as it told them at the last sign-in.
CREATE TABLE accounts (
  id         TEXT    NOT NULL PRIMARY KEY,
  github_id  INTEGER NOT NULL UNIQUE,
  login      TEXT    NOT NULL,
  name       TEXT,
  avatar_url TEXT,
  created_at INTEGER NOT NULL
) STRICT;

-- A user is a log: the id is the hash of its first entry. An account has had any number of users; its present one is the
-- one that was founded last. `founded_at` orders them, so no two of an account have the same; if need be it is a second
-- late. `log_bytes` is the length of all entries together, by which pages of logs are cut.
--
-- A user who was deleted or erased has no account. If a team that goes on names them in its log, the row stays as a stub,
-- with the user log, since that team's log is verified with it.
CREATE TABLE users (
  id         TEXT    NOT NULL PRIMARY KEY,
  account    TEXT    REFERENCES accounts (id),
  founded_at INTEGER NOT NULL,
  log_seq    INTEGER NOT NULL,
  log_hash   TEXT    NOT NULL,
  log_bytes  INTEGER NOT NULL,
  UNIQUE (account, founded_at)
) STRICT;

-- Entries as they were signed. An append is a compare-and-set of the head in `users`; what else it writes takes effect only
-- with that.
CREATE TABLE user_log (
  user        TEXT    NOT NULL REFERENCES users (id),
  seq         INTEGER NOT NULL,
  jws         TEXT    NOT NULL,
  received_at INTEGER NOT NULL,
  PRIMARY KEY (user, seq)
) STRICT;

-- What the last `name.signed` of a user opens to; `seq` is its position in the user log. Beside the log, which holds a
-- salted commitment only, so that it can be erased.
CREATE TABLE names (
  user        TEXT    NOT NULL PRIMARY KEY REFERENCES users (id),
  seq         INTEGER NOT NULL,
  provider    TEXT    NOT NULL,
  provider_id INTEGER NOT NULL,
  login       TEXT    NOT NULL,
  salt        TEXT    NOT NULL
) STRICT;

-- Devices, what the user logs say of them, and their signed prekeys. The primary key is what makes a device one user's
-- for ever: `user` goes from null to a value once, when a log adds the device. Until then it is a device that has signed
-- in, and whoever signs in with it next decides the account. It is active until `revoked_seq`. `prekey_id` names the key
-- in `prekey`, so that a team can check envelopes without parsing it.
CREATE TABLE devices (
  device      TEXT    NOT NULL PRIMARY KEY,
  account     TEXT    REFERENCES accounts (id),
  user        TEXT    REFERENCES users (id),
  jwk         TEXT    NOT NULL,
  added_seq   INTEGER,
  revoked_seq INTEGER,
  prekey      TEXT,
  prekey_id   TEXT,
  prekey_iat  INTEGER,
  CHECK (account IS NOT NULL OR user IS NOT NULL),
  CHECK ((user IS NULL) = (added_seq IS NULL)),
  CHECK (revoked_seq IS NULL OR added_seq IS NOT NULL),
  CHECK ((prekey IS NULL) = (prekey_id IS NULL) AND (prekey IS NULL) = (prekey_iat IS NULL))
) STRICT;

CREATE INDEX devices_by_user ON devices (user);
CREATE INDEX devices_by_account ON devices (account);

-- Who is signed in. `generation` counts how often the session's tokens were replaced; tokens of an earlier one are worth
-- nothing. `name` is what the device called itself when it signed in.
CREATE TABLE sessions (
  id           TEXT    NOT NULL PRIMARY KEY,
  account      TEXT    NOT NULL REFERENCES accounts (id),
  device       TEXT    NOT NULL REFERENCES devices (device),
  name         TEXT    NOT NULL,
  created_at   INTEGER NOT NULL,
  expires_at   INTEGER NOT NULL,
  ended_at     INTEGER,
  generation   INTEGER NOT NULL DEFAULT 0,
  refreshed_at INTEGER
) STRICT;

CREATE INDEX sessions_by_device ON sessions (device);
CREATE INDEX sessions_by_account ON sessions (account);

-- How the refresh token of each generation was used: once, under this key. The primary key makes using one a
-- compare-and-set. The key tells a repetition, whose answer was lost, from another use, which is theft.
CREATE TABLE refreshes (
  session         TEXT    NOT NULL REFERENCES sessions (id),
  generation      INTEGER NOT NULL,
  idempotency_key TEXT    NOT NULL,
  refreshed_at    INTEGER NOT NULL,
  PRIMARY KEY (session, generation)
) STRICT, WITHOUT ROWID;

-- Proofs of possession that were used. The primary key lets each be used once. After `ends_at` it is refused for its age.
CREATE TABLE proofs (
  device  TEXT    NOT NULL,
  jti     TEXT    NOT NULL,
  ends_at INTEGER NOT NULL,
  PRIMARY KEY (device, jti)
) STRICT, WITHOUT ROWID;

-- A handshake that a person has decided about; without an account if they refused it. The primary key lets them decide
-- once; `session` goes from null to a value once, when the device claims its tokens. `name` is what the device called itself.
CREATE TABLE handshakes (
  id         TEXT    NOT NULL PRIMARY KEY,
  device     TEXT    NOT NULL,
  jwk        TEXT    NOT NULL,
  name       TEXT    NOT NULL,
  account    TEXT    REFERENCES accounts (id),
  decided_at INTEGER NOT NULL,
  session    TEXT,
  CHECK (session IS NULL OR account IS NOT NULL)
) STRICT;

-- How many polls of a handshake came with a wrong verifier.
CREATE TABLE failed_polls (
  handshake TEXT    NOT NULL PRIMARY KEY,
  count     INTEGER NOT NULL,
  failed_at INTEGER NOT NULL
) STRICT;

-- What happened to an account, for its person to see.
CREATE TABLE account_events (
  id      INTEGER PRIMARY KEY,
  account TEXT    NOT NULL REFERENCES accounts (id),
  at      INTEGER NOT NULL,
  type    TEXT    NOT NULL,
  device  TEXT,
  session TEXT
) STRICT;

CREATE INDEX account_events_by_account ON account_events (account, id);

-- Former users of an account that somebody asked to erase, once each. `asked_by` is the account's user who asked, who may
-- be gone by now; `device` is theirs that sent the request. Nobody objects any more once it is due.
CREATE TABLE erasures (
  user     TEXT    NOT NULL PRIMARY KEY REFERENCES users (id),
  asked_by TEXT    NOT NULL,
  device   TEXT    NOT NULL,
  asked_at INTEGER NOT NULL,
  due_at   INTEGER NOT NULL
) STRICT;

-- The projection of the team logs: what the service must know of a team before it wakes its Durable Object.
-- `seq` is the team log's head that the rows stand for; an older projection never overwrites a newer one.
CREATE TABLE teams (
  id    TEXT    NOT NULL PRIMARY KEY,
  seq   INTEGER NOT NULL,
  epoch INTEGER NOT NULL
) STRICT;

-- Members, and those who wait to be confirmed: for them, `pending_until` is the last second of their waiting, after which
-- the row stands for nothing, and `role` what they would become.
CREATE TABLE team_members (
  team          TEXT NOT NULL REFERENCES teams (id),
  user          TEXT NOT NULL REFERENCES users (id),
  role          TEXT NOT NULL CHECK (role IN ('owner', 'admin', 'member')),
  pending_until INTEGER,
  PRIMARY KEY (team, user)
) STRICT;

CREATE INDEX team_members_by_user ON team_members (user);

-- The teams that a user is or ever was in: where to look for what is theirs. `joins` counts how often they founded or
-- joined the team or have just set out to, as the team has not decided yet: a deletion of the user under way must notice.
-- The rows of a stub tell what it is kept for.
CREATE TABLE user_teams (
  user  TEXT    NOT NULL REFERENCES users (id),
  team  TEXT    NOT NULL,
  joins INTEGER NOT NULL,
  PRIMARY KEY (user, team)
) STRICT, WITHOUT ROWID;

CREATE INDEX user_teams_by_team ON user_teams (team);
