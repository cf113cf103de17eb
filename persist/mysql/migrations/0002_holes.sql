-- Format 2: which conversations have a hole, so that nobody has to look through all of them. As with the first, every
-- statement can be run again. A version that does not know the table leaves rows of it behind: whoever reads it
-- compares `dense` with that of the conversation.

-- Conversations whose `dense` is below their `head`, and since when it has been this one.
CREATE TABLE IF NOT EXISTS holes (
    conversation BIGINT UNSIGNED NOT NULL PRIMARY KEY,
    dense        BIGINT UNSIGNED NOT NULL,
    since_ms     BIGINT UNSIGNED NOT NULL,
    KEY oldest (since_ms)
) ENGINE = InnoDB;

INSERT INTO holes (conversation, dense, since_ms)
    SELECT id, dense, CAST(UNIX_TIMESTAMP(NOW(3)) * 1000 AS UNSIGNED) FROM conversations WHERE dense < head
    ON DUPLICATE KEY UPDATE dense = VALUES(dense);
