-- Format 3: the authority on epochs. Everything archived so far was numbered in epoch 1, without holes.

UPDATE state SET value = 3 WHERE name = 'format_version';

-- The current epoch, in a row of its own that every commit of the archive reads and `advance` writes.
INSERT INTO state (name, value) VALUES ('epoch', 1);

CREATE TABLE epochs (
    number     INTEGER PRIMARY KEY,
    server     TEXT NOT NULL,
    started_ms INTEGER NOT NULL
) STRICT;
INSERT INTO epochs (number, server, started_ms) VALUES (1, '', 0);

-- Everything up to `dense` is archived; above it, up to `head`, numbers may be missing.
ALTER TABLE conversations ADD COLUMN dense INTEGER NOT NULL DEFAULT 0;
UPDATE conversations SET dense = head;

-- What was dense when the first message of a later epoch was archived.
CREATE TABLE epoch_floors (
    conv  INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    floor INTEGER NOT NULL,
    PRIMARY KEY (conv, epoch)
) STRICT, WITHOUT ROWID;
