//! Numbered messages in memory, for tests that are about who may read them and not about their store.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use ringway_engine::event::MessageEvent;
use ringway_engine::ids::{ConversationId, DeviceId, Uid};
use ringway_engine::packet::schema::{Conversation, Conversations, Message};
use ringway_store::ports::{
    Archive, ArchiveBatch, ArchivedMessage, CursorUpdate, DevicePoint, LogOffset, Numbered, Page, PageFrom,
    SharedState, StoreError,
};

#[derive(Debug, Default)]
pub(crate) struct Ledger(Mutex<BTreeMap<String, Vec<Arc<Message>>>>);

#[async_trait]
impl SharedState for Ledger {
    async fn known(&self, _: &ConversationId, _: &str, _: &str, _: bool) -> Result<Option<Numbered>, StoreError> {
        Ok(None)
    }

    async fn number(&self, batch: &[Arc<MessageEvent>]) -> Result<Vec<Numbered>, StoreError> {
        let mut all = self.0.lock().unwrap();
        let number = |event: &Arc<MessageEvent>| {
            let messages = all.entry(event.conv.clone()).or_default();
            let seq = messages.len() as u64 + 1;
            messages.push(Arc::new(event.to_message(1, seq)));
            Numbered { epoch: 1, seq, msg_id: event.msg_id, ts_ms: event.ts_ms, duplicate: false }
        };
        Ok(batch.iter().map(number).collect())
    }

    async fn points(&self, _: &Uid, _: &DeviceId, _: u64) -> Result<Vec<DevicePoint>, StoreError> {
        Ok(Vec::new())
    }

    async fn head(&self, conv: &ConversationId) -> Result<(u64, u64), StoreError> {
        Ok((1, self.0.lock().unwrap().get(conv.as_str()).map_or(0, |messages| messages.len() as u64)))
    }

    async fn acknowledge(&self, _: Vec<CursorUpdate>) {}

    async fn page(&self, conv: &ConversationId, from: PageFrom, limit: usize) -> Result<Page, StoreError> {
        let all = self.0.lock().unwrap();
        let messages = all.get(conv.as_str()).cloned().unwrap_or_default();
        let head = messages.len() as u64;
        let (items, more): (Vec<_>, bool) = match from {
            PageFrom::After(seq) => {
                let above: Vec<_> = messages.into_iter().filter(|message| message.seq > seq).collect();
                let more = above.len() > limit;
                (above.into_iter().take(limit).collect(), more)
            }
            PageFrom::Before(seq) => {
                let below: Vec<_> = messages.into_iter().filter(|message| message.seq < seq).collect();
                let skipped = below.len().saturating_sub(limit);
                (below.into_iter().skip(skipped).collect(), skipped > 0)
            }
        };
        Ok(Page { items, epoch: 1, head, more })
    }

    async fn conversations(&self, uid: &Uid, after: &str, limit: usize) -> Result<Conversations, StoreError> {
        let all = self.0.lock().unwrap();
        let own = |conv: &str| ConversationId::parse(conv).unwrap().names(uid.as_str());
        let mut items: Vec<Conversation> = all
            .iter()
            .filter(|(conv, _)| conv.as_str() > after && own(conv))
            .map(|(conv, messages)| Conversation { conv: conv.clone(), head: messages.len() as u64, ..<_>::default() })
            .collect();
        let more = items.len() > limit;
        items.truncate(limit);
        Ok(Conversations { items, more })
    }

    async fn mark_read(&self, _: &ConversationId, _: &Uid, _: u64) {}

    fn unarchived_bytes(&self) -> usize {
        0
    }
}

#[async_trait]
impl Archive for Ledger {
    async fn commit(&self, _: &ArchiveBatch) -> Result<(), StoreError> {
        Ok(())
    }

    async fn consumed_offset(&self) -> Result<LogOffset, StoreError> {
        Ok(LogOffset(0))
    }

    async fn page(&self, conv: &ConversationId, from: PageFrom, limit: usize) -> Result<Vec<Arc<Message>>, StoreError> {
        Ok(SharedState::page(self, conv, from, limit).await?.items)
    }

    async fn message(&self, msg_id: u64) -> Result<Option<ArchivedMessage>, StoreError> {
        let all = self.0.lock().unwrap();
        let found = all.values().flatten().find(|message| message.msg_id == msg_id);
        Ok(found.map(|message| ArchivedMessage { message: message.clone(), archived_at_ms: 5 }))
    }

    async fn highest_msg_id(&self) -> Result<u64, StoreError> {
        Ok(0)
    }
}
