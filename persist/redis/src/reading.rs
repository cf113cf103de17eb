//! Heads and pages: the unarchived part from Redis, the rest from the archive, never across a hole. What retention has
//! dropped is no hole: pages begin above it, or end there.

use std::collections::BTreeMap;
use std::sync::Arc;

use fred::types::Value;
use ringway_engine::ids::ConversationId;
use ringway_engine::limits::PAGE_BYTES_MAX;
use ringway_engine::packet::schema::Message;
use ringway_store::ports::{NumberedMessage, Page, PageFrom, StoreError};

use crate::fence::text;
use crate::held;
use crate::limits::{EPOCH_CHANGES_MAX, SCRIPT_MESSAGES_MAX};
use crate::reply::Reply;
use crate::script::READ;
use crate::state::Shared;

/// Messages by their numbers.
type Found = BTreeMap<u64, Arc<Message>>;

/// What Redis holds for one page; all of it was there at one moment, before the archive is read.
struct Snapshot {
    epoch: u64,
    /// Highest number given out, or archived.
    head: u64,
    /// Everything up to here was given out without a hole; what lies above waits.
    visible: u64,
    /// What was dense when the conversation began in this epoch: what lies above is of this epoch, whenever archived.
    floor: u64,
    /// Unarchived messages, in the direction read.
    tail: Vec<NumberedMessage>,
}

impl Shared {
    pub(crate) async fn read_head(&self, conv: &str) -> Result<(u64, u64), StoreError> {
        let snapshot = self.snapshot(conv, PageFrom::After(0), 0).await?;
        Ok((snapshot.epoch, snapshot.head))
    }

    /// The lowest messages above a number that Redis takes for unarchived, a script's worth.
    pub(crate) async fn held_after(&self, conv: &ConversationId, seq: u64) -> Result<Vec<NumberedMessage>, StoreError> {
        Ok(self.snapshot(conv.as_str(), PageFrom::After(seq), SCRIPT_MESSAGES_MAX).await?.tail)
    }

    async fn snapshot(&self, conv: &str, from: PageFrom, limit: usize) -> Result<Snapshot, StoreError> {
        let keys = &self.connection.keys;
        let (direction, seq) = match from {
            PageFrom::After(seq) => ("after", seq),
            PageFrom::Before(seq) => ("before", seq),
        };
        for _ in 0..EPOCH_CHANGES_MAX {
            let working = self.fence.working(&self.connection).await?;
            let marker = keys.marker(conv);
            let names = vec![marker.clone(), keys.seq(conv), keys.recent(conv), keys.holes(conv)];
            let arguments = vec![
                text(working.epoch),
                Value::from(direction),
                text(seq),
                text(limit as u64),
                text(PAGE_BYTES_MAX as u64),
            ];
            let mut reply = Reply::new(self.connection.call(&READ, names, arguments).await?)?;
            match reply.text()?.as_str() {
                "fence" => drop(self.fence.settle(&self.connection, Some((working.epoch, &marker))).await?),
                "start" => {
                    let start = self.epochs.starts(&[conv]).await?.pop().unwrap_or_default();
                    let visible = if start.holes.is_empty() { start.head } else { start.dense };
                    let (epoch, floor, tail) = (working.epoch, start.dense, Vec::new());
                    return Ok(Snapshot { epoch, head: start.head, visible, floor, tail });
                }
                _ => return snapshot(working.epoch, reply),
            }
        }
        Err(StoreError::new("redis", "the epoch changes faster than a page is read"))
    }

    pub(crate) async fn read_page(
        &self,
        conv: &ConversationId,
        from: PageFrom,
        limit: usize,
    ) -> Result<Page, StoreError> {
        let limit = limit.max(1);
        let snapshot = self.snapshot(conv.as_str(), from, limit).await?;
        let Snapshot { epoch, head, visible, .. } = snapshot;
        let (mut from, mut kept) = (from, 1);
        let tail = snapshot.tail.iter().filter(|held| is_shown(held.seq, from, visible));
        let mut found: Found =
            tail.map(|held| (held.seq, Arc::new(held.event.to_message(held.epoch, held.seq)))).collect();
        if !covers(&found, from, visible, limit) {
            self.add_archived(conv, from, limit, &snapshot, &mut found).await?;
            if lacks(&found, from, visible, limit) {
                kept = self.archive.first_kept(conv).await?;
                if let PageFrom::After(seq) = &mut from
                    && kept > seq.saturating_add(1)
                {
                    *seq = kept - 1;
                    self.add_archived(conv, from, limit, &snapshot, &mut found).await?;
                }
            }
        }
        let items = run(conv.as_str(), found, from, visible, limit);
        let more = match from {
            PageFrom::After(seq) => items.last().map_or(seq, |last| last.seq) < head,
            // Below a hole there is more, though not now.
            PageFrom::Before(_) => items.first().map_or(first(from, visible), |first| first.seq - 1) >= kept,
        };
        Ok(Page { items, epoch, head, more })
    }

    /// Adds a page of the archive to what was found.
    async fn add_archived(
        &self,
        conv: &ConversationId,
        from: PageFrom,
        limit: usize,
        &Snapshot { epoch, visible, floor, .. }: &Snapshot,
        found: &mut Found,
    ) -> Result<(), StoreError> {
        let from = match from {
            PageFrom::After(_) => from,
            PageFrom::Before(seq) => PageFrom::Before(seq.min(visible.saturating_add(1))),
        };
        for mut item in self.archive.page(conv, from, limit).await? {
            if is_shown(item.seq, from, visible) {
                if item.seq > floor && item.epoch < epoch {
                    Arc::make_mut(&mut item).epoch = epoch;
                }
                found.entry(item.seq).or_insert(item);
            }
        }
        Ok(())
    }
}

/// Whether a page may show a number.
fn is_shown(seq: u64, from: PageFrom, visible: u64) -> bool {
    let is_asked = match from {
        PageFrom::After(after) => seq > after,
        PageFrom::Before(before) => seq < before,
    };
    is_asked && seq <= visible
}

/// Whether a page that nothing else bounds ends, going down, or begins, going up, where the archive has nothing.
fn lacks(found: &Found, from: PageFrom, visible: u64, limit: usize) -> bool {
    match from {
        PageFrom::After(_) => first(from, visible) <= visible && !found.contains_key(&first(from, visible)),
        PageFrom::Before(_) => found.len() < limit && !found.contains_key(&1) && visible > 0,
    }
}

fn snapshot(epoch: u64, mut reply: Reply) -> Result<Snapshot, StoreError> {
    let (head, hole, floor) = (reply.number()?, reply.number()?, reply.number()?);
    let mut tail = Vec::new();
    while !reply.is_empty() {
        let (seq, member) = (reply.number()?, reply.bytes()?);
        tail.push(NumberedMessage { event: held::event(&member)?, epoch, seq });
    }
    let visible = if hole == 0 { head } else { hole.saturating_sub(1).min(head) };
    Ok(Snapshot { epoch, head, visible, floor, tail })
}

/// The number a page begins with: the lowest going up, the highest going down.
fn first(from: PageFrom, visible: u64) -> u64 {
    match from {
        PageFrom::After(seq) => seq.saturating_add(1),
        PageFrom::Before(seq) => seq.saturating_sub(1).min(visible),
    }
}

/// The found messages in the direction read.
fn directed(found: &Found, from: PageFrom) -> Box<dyn Iterator<Item = &Arc<Message>> + '_> {
    match from {
        PageFrom::After(_) => Box::new(found.values()),
        PageFrom::Before(_) => Box::new(found.values().rev()),
    }
}

/// Whether what Redis holds is the whole page.
fn covers(found: &Found, from: PageFrom, visible: u64, limit: usize) -> bool {
    let first = first(from, visible);
    let wanted = match from {
        PageFrom::After(_) => visible.saturating_add(1).saturating_sub(first),
        PageFrom::Before(_) => first,
    };
    let wanted = usize::try_from(wanted).unwrap_or(usize::MAX).min(limit);
    let run = directed(found, from).enumerate().take_while(|(at, item)| distance(from, first, item.seq) == Some(*at));
    let (mut count, mut bytes) = (0, 0);
    for (_, item) in run {
        count += 1;
        bytes += item.body.len();
    }
    count >= wanted || bytes > PAGE_BYTES_MAX
}

fn distance(from: PageFrom, first: u64, seq: u64) -> Option<usize> {
    let steps = match from {
        PageFrom::After(_) => seq.checked_sub(first),
        PageFrom::Before(_) => first.checked_sub(seq),
    };
    usize::try_from(steps?).ok()
}

/// The page: from the end that was asked for, to its bounds, or to the first number that is not there.
fn run(conv: &str, found: Found, from: PageFrom, visible: u64, limit: usize) -> Vec<Arc<Message>> {
    let first = first(from, visible);
    let (mut items, mut bytes): (Vec<Arc<Message>>, usize) = (Vec::new(), 0);
    for (at, item) in directed(&found, from).take(limit).enumerate() {
        if distance(from, first, item.seq) != Some(at) {
            if items.is_empty() {
                tracing::warn!(conv, expected = first, found = item.seq, "a number is not in the archive yet");
            }
            break;
        }
        bytes += item.body.len();
        if bytes > PAGE_BYTES_MAX && !items.is_empty() {
            break;
        }
        items.push(Arc::clone(item));
    }
    if matches!(from, PageFrom::Before(_)) {
        items.reverse();
    }
    items
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringway_store::conformance::message;

    fn check(numbers: &[u64], from: PageFrom, visible: u64, limit: usize, expected: &[u64]) {
        let item = |seq: u64| (seq, Arc::new(message("p2p:a:b", "a", "c", seq, 1).to_message(1, seq)));
        let found = numbers.iter().copied().map(item).collect();
        let page = run("p2p:a:b", found, from, visible, limit);
        assert_eq!(page.iter().map(|item| item.seq).collect::<Vec<_>>(), expected, "{from:?} of {numbers:?}");
    }

    #[test]
    fn a_page_ends_at_a_hole() {
        check(&[4, 5, 7, 8], PageFrom::After(3), 8, 9, &[4, 5]);
        check(&[4, 5, 7, 8], PageFrom::After(3), 8, 1, &[4]);
        check(&[5, 6], PageFrom::After(3), 6, 9, &[]);
        check(&[4, 5, 7, 8], PageFrom::Before(9), 8, 9, &[7, 8]);
        check(&[4, 5], PageFrom::Before(u64::MAX), 5, 1, &[5]);
        check(&[4, 5], PageFrom::Before(u64::MAX), 6, 9, &[]);
        check(&[], PageFrom::After(0), 0, 9, &[]);
    }

    #[test]
    fn what_retention_left_is_asked_for_only_where_a_page_stops_at_nothing() {
        let item = |seq: u64| (seq, Arc::new(message("p2p:a:b", "a", "c", seq, 1).to_message(1, seq)));
        let found = |numbers: std::ops::RangeInclusive<u64>| numbers.map(item).collect::<Found>();
        assert!(lacks(&found(5..=9), PageFrom::After(3), 9, 9));
        assert!(!lacks(&found(4..=9), PageFrom::After(3), 9, 9));
        assert!(!lacks(&Found::new(), PageFrom::After(9), 9, 9), "nothing is there");
        assert!(lacks(&found(5..=9), PageFrom::Before(10), 9, 9));
        assert!(!lacks(&found(5..=9), PageFrom::Before(10), 9, 5), "it is full");
        assert!(!lacks(&found(1..=9), PageFrom::Before(10), 9, 90), "all is there");
        assert!(!lacks(&Found::new(), PageFrom::Before(10), 0, 9), "nothing ever was");
    }

    #[test]
    fn the_archive_is_asked_only_for_what_is_not_in_redis() {
        let item = |seq: u64| (seq, Arc::new(message("p2p:a:b", "a", "c", seq, 1).to_message(1, seq)));
        let found: BTreeMap<_, _> = [7, 8, 9].into_iter().map(item).collect();
        assert!(covers(&found, PageFrom::After(6), 9, 100));
        assert!(!covers(&found, PageFrom::After(5), 9, 100));
        assert!(covers(&found, PageFrom::Before(u64::MAX), 9, 3));
        assert!(!covers(&found, PageFrom::Before(u64::MAX), 9, 4));
        assert!(covers(&BTreeMap::new(), PageFrom::After(9), 9, 4));
    }
}
