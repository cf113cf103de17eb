-- Format 1. Times are Unix milliseconds. Text sorts by bytes, which is the order of ids on the wire.

CREATE TABLE state (
    name  TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO state (name, value) VALUES ('format_version', 1), ('consumed_offset', 0);

CREATE TABLE users (
    uid           TEXT PRIMARY KEY,
    name          TEXT NOT NULL,
    password_hash TEXT NOT NULL,
    created_ms    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE sessions (
    sid              TEXT PRIMARY KEY,
    uid              TEXT NOT NULL REFERENCES users (uid),
    device           TEXT NOT NULL,
    platform         TEXT NOT NULL,
    refresh_hash     BLOB NOT NULL UNIQUE,
    created_ms       INTEGER NOT NULL,
    expires_ms       INTEGER NOT NULL,
    revoked_until_ms INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX sessions_of_user ON sessions (uid);
CREATE INDEX sessions_revoked ON sessions (revoked_until_ms) WHERE revoked_until_ms IS NOT NULL;

-- Refresh tokens that were exchanged: one that comes back was stolen.
CREATE TABLE spent_refresh_tokens (
    hash       BLOB PRIMARY KEY,
    sid        TEXT NOT NULL REFERENCES sessions (sid) ON DELETE CASCADE,
    expires_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX spent_refresh_tokens_of_session ON spent_refresh_tokens (sid);

CREATE TABLE groups (
    id         TEXT PRIMARY KEY,
    name       TEXT NOT NULL,
    owner      TEXT NOT NULL REFERENCES users (uid),
    members    INTEGER NOT NULL,
    created_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- role: 0 owner, 1 admin, 2 member.
CREATE TABLE group_members (
    group_id   TEXT NOT NULL REFERENCES groups (id) ON DELETE CASCADE,
    uid        TEXT NOT NULL REFERENCES users (uid),
    role       INTEGER NOT NULL,
    joined_ms  INTEGER NOT NULL,
    joined_seq INTEGER NOT NULL,
    PRIMARY KEY (group_id, uid)
) STRICT, WITHOUT ROWID;
CREATE INDEX group_members_of_user ON group_members (uid, group_id, joined_seq);

CREATE TABLE conversations (
    id    INTEGER PRIMARY KEY,
    conv  TEXT NOT NULL UNIQUE,
    epoch INTEGER NOT NULL,
    head  INTEGER NOT NULL
) STRICT;

-- The parties of conversations that are named by their parties (p2p, sys); groups have group_members.
CREATE TABLE conversation_users (
    uid  TEXT NOT NULL,
    conv TEXT NOT NULL,
    PRIMARY KEY (uid, conv)
) STRICT, WITHOUT ROWID;

-- key = conversations.id * 2^32 + seq: unique by (conversation, seq), and a conversation's messages lie
-- side by side. `reuse` is 0, or counts up for a client message id that was used again for a new message
-- after its time had passed. Client message ids that rise with time keep the index local, and archiving fast.
CREATE TABLE messages (
    key           INTEGER PRIMARY KEY,
    conv          INTEGER NOT NULL,
    epoch         INTEGER NOT NULL,
    msg_id        INTEGER NOT NULL,
    sender        TEXT NOT NULL,
    client_msg_id TEXT NOT NULL,
    reuse         INTEGER NOT NULL,
    kind          TEXT NOT NULL,
    body          TEXT NOT NULL,
    enc           TEXT NOT NULL,
    ts_ms         INTEGER NOT NULL,
    archived_ms   INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX messages_sends ON messages (conv, sender, client_msg_id, reuse);
CREATE INDEX messages_by_id ON messages (msg_id);

CREATE TABLE receipts (
    uid      TEXT NOT NULL,
    conv     TEXT NOT NULL,
    read_seq INTEGER NOT NULL,
    read_ms  INTEGER NOT NULL,
    PRIMARY KEY (uid, conv)
) STRICT, WITHOUT ROWID;

CREATE TABLE cursors (
    uid    TEXT NOT NULL,
    conv   TEXT NOT NULL,
    device TEXT NOT NULL,
    epoch  INTEGER NOT NULL,
    seq    INTEGER NOT NULL,
    PRIMARY KEY (uid, conv, device)
) STRICT, WITHOUT ROWID;

-- AUTOINCREMENT: an id is never used twice, so the client message id made from it is unique.
CREATE TABLE outbox (
    id     INTEGER PRIMARY KEY AUTOINCREMENT,
    signal TEXT,
    conv   TEXT,
    body   TEXT
) STRICT;

-- Records of the event log that are no events, kept for a person to look at.
CREATE TABLE dead_letters (
    log_offset  INTEGER PRIMARY KEY,
    reason      TEXT NOT NULL,
    bytes       BLOB NOT NULL,
    archived_ms INTEGER NOT NULL
) STRICT;
