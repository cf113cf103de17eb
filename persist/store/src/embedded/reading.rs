//! Heads and pages: the unarchived tail from memory, the rest from the archive.

use std::sync::Arc;

use ringway_engine::limits::PAGE_BYTES_MAX;
use ringway_engine::packet::schema::Message;

use super::EPOCH;
use super::state::EmbeddedState;
use crate::ports::{Page, PageFrom, StoreError};
use crate::sqlite;

/// What memory holds for one page.
struct Snapshot {
    head: u64,
    /// Everything below is archived.
    tail_first: u64,
    tail: Vec<Arc<Message>>,
}

impl EmbeddedState {
    pub(super) async fn read_head(&self, conv: &str) -> Result<(u64, u64), StoreError> {
        if let Some(conversation) = self.memory().tails.get(conv) {
            return Ok((EPOCH, conversation.head));
        }
        let heads = sqlite::heads(&self.database, &[conv]).await?;
        Ok((EPOCH, heads.get(conv).map_or(0, |(_, head)| *head)))
    }

    fn snapshot(&self, conv: &str, from: PageFrom, limit: usize) -> Option<Snapshot> {
        let mut memory = self.memory();
        let conversation = memory.tails.get(conv)?;
        let limit_numbers = limit as u64;
        let tail: Vec<Message> = match from {
            PageFrom::After(seq) => {
                let first = seq.saturating_add(1).max(conversation.tail_first());
                conversation.range(first, first.saturating_add(limit_numbers.saturating_sub(1))).collect()
            }
            PageFrom::Before(seq) => {
                let last = seq.saturating_sub(1).min(conversation.head);
                conversation.range((last + 1).saturating_sub(limit_numbers), last).collect()
            }
        };
        let tail = tail.into_iter().map(Arc::new).collect();
        Some(Snapshot { head: conversation.head, tail_first: conversation.tail_first(), tail })
    }

    pub(super) async fn read_page(&self, conv: &str, from: PageFrom, limit: usize) -> Result<Page, StoreError> {
        let limit = limit.max(1);
        let Snapshot { mut head, tail_first, tail } = match self.snapshot(conv, from, limit) {
            Some(snapshot) => snapshot,
            None => {
                let head = self.read_head(conv).await?.1;
                Snapshot { head, tail_first: u64::MAX, tail: Vec::new() }
            }
        };
        let mut items = match from {
            PageFrom::After(seq) if seq.saturating_add(1) < tail_first => {
                let mut items = sqlite::page(&self.database, conv, from, limit).await?;
                items.retain(|item| item.seq < tail_first);
                items.extend(tail);
                items
            }
            PageFrom::Before(seq) if tail.len() < limit => {
                let before = PageFrom::Before(seq.min(tail_first));
                let mut items = sqlite::page(&self.database, conv, before, limit - tail.len()).await?;
                items.extend(tail);
                items
            }
            _ => tail,
        };
        cut(conv, &mut items, from, limit);
        head = head.max(items.last().map_or(0, |last| last.seq));
        let more = match from {
            PageFrom::After(seq) => items.last().map_or(seq, |last| last.seq) < head,
            PageFrom::Before(_) => items.first().is_some_and(|first| first.seq > 1),
        };
        Ok(Page { items, epoch: EPOCH, head, more })
    }
}

/// Cuts a page to its bounds and to a run without holes, from the end that was asked for.
fn cut(conv: &str, items: &mut Vec<Arc<Message>>, from: PageFrom, limit: usize) {
    let rising = matches!(from, PageFrom::After(_));
    if !rising {
        items.reverse();
    }
    let mut expected = match from {
        PageFrom::After(seq) => seq.checked_add(1),
        PageFrom::Before(_) => items.first().map(|first| first.seq),
    };
    let (mut bytes, mut kept) = (0, 0);
    for item in items.iter().take(limit) {
        bytes += item.body.len();
        if bytes > PAGE_BYTES_MAX && kept > 0 {
            break;
        }
        if expected != Some(item.seq) {
            // A page that was cut by its bytes ends early; a number that is nowhere is an alarm.
            if kept == 0 {
                tracing::error!(conv, expected, found = item.seq, "conversation has a hole");
            }
            break;
        }
        expected = if rising { item.seq.checked_add(1) } else { item.seq.checked_sub(1) };
        kept += 1;
    }
    items.truncate(kept);
    if !rising {
        items.reverse();
    }
}
