-- Users, what their devices signed, who is signed in, and who is in which team.
-- Times are seconds since 1970-01-01T00:00:00Z. Hashes and keys are written as in docs/protocol.md, section 1.

-- Of the identity provider only id, login, name and picture are kept.
-- The last three columns say where the user's log stands; they are null while it is empty.
CREATE TABLE users (
  id         TEXT    NOT NULL PRIMARY KEY,
  github_id  INTEGER NOT NULL UNIQUE,
  login      TEXT    NOT NULL,
  name       TEXT,
  avatar_url TEXT,
  created_at INTEGER NOT NULL,
  log_seq    INTEGER,
  log_hash   TEXT,
  identity   TEXT,
  CHECK ((log_seq IS NULL) = (log_hash IS NULL) AND (log_seq IS NULL) = (identity IS NULL))
) STRICT;

-- Entries as they were signed. The primary key makes an append a compare-and-append: of two appends to the same
-- head one meets a row.
CREATE TABLE user_log (
  user        TEXT    NOT NULL REFERENCES users (id),
  seq         INTEGER NOT NULL,
  jws         TEXT    NOT NULL,
  received_at INTEGER NOT NULL,
  PRIMARY KEY (user, seq)
) STRICT;

-- What user_log says of each device, and the device's signed prekey. A device that has signed in and is not in the
-- log yet has no added_seq. It is active from added_seq until revoked_seq.
CREATE TABLE devices (
  user        TEXT    NOT NULL REFERENCES users (id),
  device      TEXT    NOT NULL,
  jwk         TEXT    NOT NULL,
  added_seq   INTEGER,
  revoked_seq INTEGER,
  prekey      TEXT,
  prekey_iat  INTEGER,
  PRIMARY KEY (user, device),
  CHECK (revoked_seq IS NULL OR added_seq IS NOT NULL),
  CHECK ((prekey IS NULL) = (prekey_iat IS NULL))
) STRICT;

CREATE TABLE sessions (
  id         TEXT    NOT NULL PRIMARY KEY,
  user       TEXT    NOT NULL,
  device     TEXT    NOT NULL,
  created_at INTEGER NOT NULL,
  expires_at INTEGER NOT NULL,
  ended_at   INTEGER,
  FOREIGN KEY (user, device) REFERENCES devices (user, device)
) STRICT;

CREATE INDEX sessions_by_device ON sessions (user, device);

-- A handshake that a person has decided about. The primary key lets them decide once; `session` goes from null to a
-- value once, when the device claims its tokens.
CREATE TABLE handshakes (
  id         TEXT    NOT NULL PRIMARY KEY,
  device     TEXT    NOT NULL,
  jwk        TEXT    NOT NULL,
  user       TEXT    REFERENCES users (id),
  decided_at INTEGER NOT NULL,
  session    TEXT,
  CHECK (session IS NULL OR user IS NOT NULL)
) STRICT;

-- The projection of the team logs: what the service must know of a team before it wakes its Durable Object.
-- `seq` is the team log's head that the rows stand for; an older projection never overwrites a newer one.
CREATE TABLE teams (
  id    TEXT    NOT NULL PRIMARY KEY,
  seq   INTEGER NOT NULL,
  epoch INTEGER NOT NULL
) STRICT;

CREATE TABLE team_members (
  team     TEXT NOT NULL REFERENCES teams (id),
  user     TEXT NOT NULL REFERENCES users (id),
  identity TEXT NOT NULL,
  role     TEXT NOT NULL CHECK (role IN ('owner', 'admin', 'member')),
  PRIMARY KEY (team, user)
) STRICT;

CREATE INDEX team_members_by_user ON team_members (user);
