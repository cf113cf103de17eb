//! What the archive has taken over: copies, client message ids and marks in Redis that may go.

use std::collections::BTreeMap;

use fred::types::Value;
use ringway_store::ports::{ArchiveBatch, NumberedMessage, StoreError};

use crate::fence::text;
use crate::limits::{SCRIPT_MESSAGES_MAX, SEQUENCE_IDLE_MS};
use crate::numbering::parties;
use crate::reply::Reply;
use crate::script::ARCHIVED;
use crate::state::Shared;
use crate::together::together;

impl Shared {
    pub(crate) async fn archived(&self, batch: &ArchiveBatch) -> Result<(), StoreError> {
        self.messages_archived(&batch.messages).await?;
        self.reads_archived(&batch.reads).await
    }

    /// Tells Redis and this process that the messages are in the archive under these numbers.
    pub(crate) async fn messages_archived(&self, messages: &[NumberedMessage]) -> Result<(), StoreError> {
        let epoch = self.fence.working(&self.connection).await?.epoch;
        let mut conversations: BTreeMap<&str, Vec<&NumberedMessage>> = BTreeMap::new();
        for message in messages {
            conversations.entry(&message.event.conv).or_default().push(message);
        }
        let mut calls = Vec::new();
        for (conv, messages) in &conversations {
            for chunk in messages.chunks(SCRIPT_MESSAGES_MAX) {
                calls.push(self.conversation_archived(epoch, conv, chunk));
            }
        }
        together(calls).await?;
        let mut unsettled = self.unsettled();
        for message in messages {
            unsettled.archived(&message.event.conv, message.epoch, message.seq, message.event.msg_id);
        }
        Ok(())
    }

    async fn conversation_archived(
        &self,
        epoch: u64,
        conv: &str,
        messages: &[&NumberedMessage],
    ) -> Result<(), StoreError> {
        let keys_of = &self.connection.keys;
        let mut keys = vec![keys_of.seq(conv), keys_of.recent(conv)];
        let mut arguments = vec![text(epoch), text(self.config.dedup_s * 1_000), text(SEQUENCE_IDLE_MS)];
        for message in messages {
            keys.push(keys_of.send(conv, &message.event.from, &message.event.client_msg_id));
            arguments.push(text(message.seq));
        }
        let mut reply = Reply::new(self.connection.call(&ARCHIVED, keys, arguments).await?)?;
        if reply.number()? == 1 {
            // SQL names it from now on.
            for uid in parties(conv) {
                self.connection.command("SREM", keys_of.fresh(&uid), vec![Value::from(conv)]).await?;
            }
        }
        Ok(())
    }
}
