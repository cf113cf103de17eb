//! The watch: what goes on without a caller.
//!
//! Every `EPOCH_POLL_MS`, and at once when the epoch changes: whether SQL has moved on; numbering again what an
//! epoch left; and letting go of messages that others have archived. Owns nothing; ends with the state.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use ringway_engine::ids::ConversationId;
use ringway_store::ports::{NumberedMessage, PageFrom, StoreError};

use crate::fence::text;
use crate::limits::{CALLS_AT_ONCE, EPOCH_POLL_MS, REPAIRS_AT_ONCE, SCRIPT_MESSAGES_MAX, WATCHED_AT_ONCE};
use crate::reply::Reply;
use crate::script::STANDING;
use crate::state::Shared;
use crate::together::together;
use crate::unsettled::Waiting;

pub(crate) async fn run(shared: Weak<Shared>) {
    for turns in 0_usize.. {
        let Some(held) = shared.upgrade() else { return };
        tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(EPOCH_POLL_MS)) => {}
            () = held.fence.changed.notified() => {}
        }
        if let Err(error) = turn(&held, turns).await {
            tracing::warn!(%error, "the watch over redis tries again");
        }
    }
}

async fn turn(shared: &Arc<Shared>, turns: usize) -> Result<(), StoreError> {
    shared.fence.poll(&shared.connection).await?;
    shared.number_again().await?;
    shared.let_go().await?;
    shared.repair(turns).await
}

impl Shared {
    /// Numbers what earlier epochs left, conversation by conversation.
    async fn number_again(&self) -> Result<(), StoreError> {
        let epoch = self.fence.working(&self.connection).await?.epoch;
        let conversations = self.unsettled().owing(epoch);
        for convs in conversations.chunks(CALLS_AT_ONCE) {
            let messages = self.number_owed(convs).await?;
            if messages > 0 {
                tracing::info!(epoch, messages, "numbered again what an earlier epoch left");
            }
        }
        Ok(())
    }

    /// Lets go of messages that other processes have archived.
    async fn let_go(&self) -> Result<(), StoreError> {
        let working = self.fence.working(&self.connection).await?;
        let age = Duration::from_millis(EPOCH_POLL_MS);
        let waiting = self.unsettled().waiting(age, WATCHED_AT_ONCE, Instant::now());
        together(waiting.iter().map(|Waiting { conv, .. }| self.let_go_of(working.epoch, conv)).collect())
            .await
            .map(drop)
    }

    async fn let_go_of(&self, epoch: u64, conv: &str) -> Result<(), StoreError> {
        let keys = vec![self.connection.keys.seq(conv), self.connection.keys.recent(conv)];
        // In one step: what is numbered between two would be taken for archived.
        let mut reply = Reply::new(self.connection.call(&STANDING, keys, vec![text(epoch)]).await?)?;
        let (head, lowest) = (reply.number()?, reply.number()?);
        if head > 0 {
            self.unsettled().archived_below(conv, epoch, lowest, head);
        }
        Ok(())
    }

    /// Looks messages up in the archive that Redis still takes for unarchived: whoever archived them died before
    /// it could tell. They may be another process's, but they hold up what this one waits for.
    async fn repair(&self, turns: usize) -> Result<(), StoreError> {
        let age = Duration::from_millis(self.config.repair_ms);
        let waiting = self.unsettled().waiting(age, WATCHED_AT_ONCE, Instant::now());
        let count = waiting.len().min(REPAIRS_AT_ONCE);
        let first = turns.wrapping_mul(REPAIRS_AT_ONCE).checked_rem(waiting.len()).unwrap_or_default();
        for Waiting { conv, .. } in waiting.into_iter().cycle().skip(first).take(count) {
            let Ok(conv) = ConversationId::parse(&conv) else { continue };
            let held = self.held_after(&conv, 0).await?;
            let Some(first) = held.first().map(|held| held.seq) else { continue };
            let archived =
                self.archive.page(&conv, PageFrom::After(first.saturating_sub(1)), SCRIPT_MESSAGES_MAX).await?;
            let same = |held: &NumberedMessage| {
                archived.iter().any(|item| (item.seq, item.msg_id) == (held.seq, held.event.msg_id))
            };
            let found: Vec<NumberedMessage> = held.into_iter().filter(same).collect();
            if !found.is_empty() {
                tracing::info!(conv = conv.as_str(), messages = found.len(), "let go of what was archived long ago");
                self.messages_archived(&found).await?;
            }
        }
        Ok(())
    }
}
