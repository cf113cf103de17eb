-- Format 1. Times are Unix milliseconds.
--
-- MySQL ends a transaction at each CREATE TABLE, so a migration may stop half-way: every statement here can be
-- run again. Ids and everything else that is compared are VARBINARY: the default collations ignore case and
-- trailing spaces, and would take two ids for one. Tables of messages are not here: there is one for each month.

CREATE TABLE IF NOT EXISTS state (
    name  VARBINARY(32)   NOT NULL PRIMARY KEY,
    value BIGINT UNSIGNED NOT NULL
) ENGINE = InnoDB;

-- `epoch` is the current epoch, in a row of its own that every commit of the archive reads locked and `advance`
-- writes. `outbox` is the last id given to an entry of the outbox.
INSERT INTO state (name, value) VALUES ('epoch', 1), ('outbox', 0) ON DUPLICATE KEY UPDATE name = VALUES(name);

CREATE TABLE IF NOT EXISTS epochs (
    number     BIGINT UNSIGNED NOT NULL PRIMARY KEY,
    server     TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
    started_ms BIGINT UNSIGNED NOT NULL
) ENGINE = InnoDB;
INSERT INTO epochs (number, server, started_ms) VALUES (1, '', 0) ON DUPLICATE KEY UPDATE number = VALUES(number);

-- How far each log is archived.
CREATE TABLE IF NOT EXISTS consumed_offsets (
    log         VARBINARY(128)  NOT NULL PRIMARY KEY,
    next_offset BIGINT UNSIGNED NOT NULL
) ENGINE = InnoDB;

CREATE TABLE IF NOT EXISTS users (
    uid           VARBINARY(32)  NOT NULL PRIMARY KEY,
    name          VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
    password_hash VARBINARY(512) NOT NULL,
    created_ms    BIGINT UNSIGNED NOT NULL
) ENGINE = InnoDB;

CREATE TABLE IF NOT EXISTS sessions (
    sid              VARBINARY(64) NOT NULL PRIMARY KEY,
    uid              VARBINARY(32) NOT NULL,
    device           VARBINARY(64) NOT NULL,
    platform         VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
    refresh_hash     VARBINARY(64) NOT NULL,
    created_ms       BIGINT UNSIGNED NOT NULL,
    expires_ms       BIGINT UNSIGNED NOT NULL,
    revoked_until_ms BIGINT UNSIGNED NULL,
    UNIQUE KEY by_hash (refresh_hash),
    KEY of_user (uid),
    KEY revoked (revoked_until_ms),
    FOREIGN KEY (uid) REFERENCES users (uid)
) ENGINE = InnoDB;

-- Refresh tokens that were exchanged: one that comes back was stolen.
CREATE TABLE IF NOT EXISTS spent_refresh_tokens (
    hash       VARBINARY(64)   NOT NULL PRIMARY KEY,
    sid        VARBINARY(64)   NOT NULL,
    expires_ms BIGINT UNSIGNED NOT NULL,
    KEY of_session (sid),
    FOREIGN KEY (sid) REFERENCES sessions (sid) ON DELETE CASCADE
) ENGINE = InnoDB;

CREATE TABLE IF NOT EXISTS `groups` (
    id         VARBINARY(32)   NOT NULL PRIMARY KEY,
    name       VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
    owner      VARBINARY(32)   NOT NULL,
    members    BIGINT UNSIGNED NOT NULL,
    created_ms BIGINT UNSIGNED NOT NULL
) ENGINE = InnoDB;

-- role: 0 owner, 1 admin, 2 member. Without foreign keys: accounts are never removed, and ten thousand members
-- would lock ten thousand rows of `users`.
CREATE TABLE IF NOT EXISTS group_members (
    group_id   VARBINARY(32)    NOT NULL,
    uid        VARBINARY(32)    NOT NULL,
    role       TINYINT UNSIGNED NOT NULL,
    joined_ms  BIGINT UNSIGNED  NOT NULL,
    joined_seq BIGINT UNSIGNED  NOT NULL,
    PRIMARY KEY (group_id, uid),
    KEY of_user (uid, group_id, joined_seq)
) ENGINE = InnoDB;

-- Everything up to `dense` is archived; above it, up to `head`, numbers may be missing. `month` (YYYYMM, 0 for none)
-- is the newest that holds messages of the conversation.
CREATE TABLE IF NOT EXISTS conversations (
    id    BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
    conv  VARBINARY(80)   NOT NULL,
    epoch BIGINT UNSIGNED NOT NULL DEFAULT 0,
    head  BIGINT UNSIGNED NOT NULL DEFAULT 0,
    dense BIGINT UNSIGNED NOT NULL DEFAULT 0,
    month INT UNSIGNED    NOT NULL DEFAULT 0,
    UNIQUE KEY by_conv (conv)
) ENGINE = InnoDB;

-- The parties of conversations that are named by their parties (p2p, sys); groups have group_members.
CREATE TABLE IF NOT EXISTS conversation_users (
    uid  VARBINARY(32) NOT NULL,
    conv VARBINARY(80) NOT NULL,
    PRIMARY KEY (uid, conv)
) ENGINE = InnoDB;

-- Which months hold which numbers. The ranges of one conversation do not overlap and rise with the month.
CREATE TABLE IF NOT EXISTS conversation_months (
    conversation BIGINT UNSIGNED NOT NULL,
    month        INT UNSIGNED    NOT NULL,
    first_seq    BIGINT UNSIGNED NOT NULL,
    last_seq     BIGINT UNSIGNED NOT NULL,
    PRIMARY KEY (conversation, month),
    KEY of_month (month)
) ENGINE = InnoDB;

-- What was dense when the first message of a later epoch was archived.
CREATE TABLE IF NOT EXISTS epoch_floors (
    conversation BIGINT UNSIGNED NOT NULL,
    epoch        BIGINT UNSIGNED NOT NULL,
    floor        BIGINT UNSIGNED NOT NULL,
    PRIMARY KEY (conversation, epoch)
) ENGINE = InnoDB;

CREATE TABLE IF NOT EXISTS receipts (
    uid      VARBINARY(32)   NOT NULL,
    conv     VARBINARY(80)   NOT NULL,
    read_seq BIGINT UNSIGNED NOT NULL,
    read_ms  BIGINT UNSIGNED NOT NULL,
    PRIMARY KEY (uid, conv)
) ENGINE = InnoDB;

CREATE TABLE IF NOT EXISTS cursors (
    uid    VARBINARY(32)   NOT NULL,
    conv   VARBINARY(80)   NOT NULL,
    device VARBINARY(64)   NOT NULL,
    epoch  BIGINT UNSIGNED NOT NULL,
    seq    BIGINT UNSIGNED NOT NULL,
    PRIMARY KEY (uid, conv, device)
) ENGINE = InnoDB;

-- Ids come from `state`, not from AUTO_INCREMENT: see src/directory/outbox.rs.
CREATE TABLE IF NOT EXISTS outbox (
    id      BIGINT UNSIGNED NOT NULL PRIMARY KEY,
    `signal` MEDIUMTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NULL,
    conv    VARBINARY(80) NULL,
    body    MEDIUMTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NULL
) ENGINE = InnoDB;

-- Records of the event log that are no events, kept for a person to look at.
CREATE TABLE IF NOT EXISTS dead_letters (
    log         VARBINARY(128)  NOT NULL,
    log_offset  BIGINT UNSIGNED NOT NULL,
    reason      TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
    bytes       MEDIUMBLOB      NOT NULL,
    archived_ms BIGINT UNSIGNED NOT NULL,
    PRIMARY KEY (log, log_offset),
    KEY latest (archived_ms)
) ENGINE = InnoDB;

-- Names that one process of several holds for a while, by the clock of this server.
CREATE TABLE IF NOT EXISTS leases (
    name     VARBINARY(128)  NOT NULL PRIMARY KEY,
    owner    VARBINARY(128)  NOT NULL,
    until_ms BIGINT UNSIGNED NOT NULL,
    KEY run_out (until_ms)
) ENGINE = InnoDB;
