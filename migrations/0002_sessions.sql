-- Sessions that a stolen token cannot use, and what a user can see and take back of their account.

-- What people call the device, as it said when it signed in.
ALTER TABLE handshakes ADD COLUMN name TEXT NOT NULL DEFAULT '';
ALTER TABLE sessions ADD COLUMN name TEXT NOT NULL DEFAULT '';

-- How often the session's tokens were replaced, and when last. Tokens of an earlier generation are worth nothing.
ALTER TABLE sessions ADD COLUMN generation INTEGER NOT NULL DEFAULT 0;
ALTER TABLE sessions ADD COLUMN refreshed_at INTEGER;

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

-- How many polls of a handshake came with a wrong verifier.
CREATE TABLE failed_polls (
  handshake TEXT    NOT NULL PRIMARY KEY,
  count     INTEGER NOT NULL,
  failed_at INTEGER NOT NULL
) STRICT;

-- What happened to an account, for its user to see.
CREATE TABLE account_events (
  id      INTEGER PRIMARY KEY,
  user    TEXT    NOT NULL REFERENCES users (id),
  at      INTEGER NOT NULL,
  type    TEXT    NOT NULL,
  device  TEXT,
  session TEXT
) STRICT;

CREATE INDEX account_events_by_user ON account_events (user, id);

-- The teams that a user is or ever was in: where to look for what is theirs. `joins` counts how often they founded or
-- joined the team or have just set out to, as the team has not decided yet: a deletion of the account under way must notice.
--
-- A user who has deleted their account and is named in the log of a team that goes on leaves a stub in `users`, with which
-- that log is verified: no login, name or picture, and in the place of GitHub's number a negative one that means nothing,
-- so that who signs in with the same GitHub account is a new user. Their rows here tell what the stub is kept for.
CREATE TABLE user_teams (
  user  TEXT    NOT NULL REFERENCES users (id),
  team  TEXT    NOT NULL,
  joins INTEGER NOT NULL,
  PRIMARY KEY (user, team)
) STRICT, WITHOUT ROWID;

CREATE INDEX user_teams_by_team ON user_teams (team);
-- One device may serve several users.
CREATE INDEX devices_by_device ON devices (device);

INSERT INTO user_teams (user, team, joins) SELECT user, team, 1 FROM team_members;
