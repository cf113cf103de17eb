-- Format 2. Client message ids rise with time, so an index that begins with them grows at its end: a batch
-- touches a few of its pages instead of one for each conversation.

DROP INDEX messages_sends;
CREATE UNIQUE INDEX messages_sends ON messages (client_msg_id, conv, sender, reuse);

UPDATE state SET value = 2 WHERE name = 'format_version';
