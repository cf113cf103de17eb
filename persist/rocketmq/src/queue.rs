//! One queue, as its consumer reads it: plain pulls at an offset. Which process reads which queue is decided
//! elsewhere; the broker is told nothing but what is consumed, for operators' tools.
//!
//! A dropped read or wait leaves nothing behind.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use ringway_store::ports::{LogOffset, LogQueue, LogReadError, LogRecord};
use rocketmq_protocol::RemotingCommand;
use tokio::sync::watch;

use crate::broker::Broker;
use crate::config::RocketConfig;
use crate::error::{NoAnswer, RocketError};
use crate::limits::{PULL_RECORDS_MAX, READ_TIMEOUT_MS, SUSPEND_GRACE_MS, SUSPEND_MS, WAIT_PAUSE_MS, WAIT_RETRY_MS};
use crate::requests::{self, Pulled};

pub(crate) struct RocketQueue {
    pub(crate) name: String,
    pub(crate) config: Arc<RocketConfig>,
    pub(crate) queue_id: i32,
    pub(crate) broker: Arc<Broker>,
    pub(crate) closing: watch::Receiver<bool>,
    /// Where the broker's queue ended when it was last heard of.
    end: AtomicU64,
    /// What is consumed.
    released: AtomicU64,
    /// What of it the broker was told; only the committer changes it.
    committed: AtomicU64,
}

impl RocketQueue {
    pub(crate) fn new(
        config: &Arc<RocketConfig>,
        name: String,
        queue_id: i32,
        broker: Arc<Broker>,
        closing: watch::Receiver<bool>,
    ) -> Self {
        let config = Arc::clone(config);
        let (end, released, committed) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
        Self { name, config, queue_id, broker, closing, end, released, committed }
    }

    /// Asks where the queue ends, and whether it may be read.
    pub(crate) async fn learn_end(&self) -> Result<(), RocketError> {
        let answer = self.ask(requests::end(&self.config.topic, self.queue_id)).await?;
        let end = requests::read_end(&answer).map_err(unavailable)?;
        // Else a reader without the right would wait for records for ever.
        let answer = self.ask(requests::pull(&self.config, self.queue_id, end, 1, false)).await?;
        requests::read_pulled(&answer).map_err(unavailable)?;
        self.end.store(end, Ordering::Release);
        Ok(())
    }

    async fn ask(&self, command: RemotingCommand) -> Result<RemotingCommand, RocketError> {
        let timeout = Duration::from_millis(READ_TIMEOUT_MS);
        let answer = self.broker.connection.call(command, timeout).await.map_err(unavailable)?;
        self.broker.refusal(&answer).map_or(Ok(answer), Err)
    }

    /// Tells the broker what is consumed, if that is news; one call at a time.
    pub(crate) async fn commit(&self) -> Result<(), NoAnswer> {
        let released = self.released.load(Ordering::Acquire);
        if released <= self.committed.load(Ordering::Acquire) {
            return Ok(());
        }
        let answer = self.call(requests::commit(&self.config, self.queue_id, released), READ_TIMEOUT_MS).await?;
        requests::successful(&answer)?;
        self.committed.store(released, Ordering::Release);
        Ok(())
    }

    /// Asks what the broker was told, by whichever process.
    pub(crate) async fn ask_committed(&self) -> Result<Option<u64>, NoAnswer> {
        let answer = self.call(requests::committed(&self.config, self.queue_id), READ_TIMEOUT_MS).await?;
        requests::read_committed(&answer)
    }

    async fn call(&self, command: RemotingCommand, timeout_ms: u64) -> Result<RemotingCommand, NoAnswer> {
        let answer = self.broker.connection.call(command, Duration::from_millis(timeout_ms)).await?;
        self.broker.refusal(&answer).map_or(Ok(answer), |refused| Err(NoAnswer(refused.to_string())))
    }

    async fn pull(&self, from: u64, records_max: usize, waiting: bool) -> Result<Pulled, NoAnswer> {
        let command = requests::pull(&self.config, self.queue_id, from, records_max, waiting);
        let timeout_ms = if waiting { SUSPEND_MS + SUSPEND_GRACE_MS } else { READ_TIMEOUT_MS };
        let pulled = requests::read_pulled(&self.call(command, timeout_ms).await?)?;
        self.end.store(pulled.end, Ordering::Release);
        Ok(pulled)
    }

    /// Waits once; true when the queue is known to reach beyond the offset.
    async fn waited(&self, offset: LogOffset) -> bool {
        // At its end, not at the offset: a pull beyond the end is answered at once.
        let end = self.end.load(Ordering::Acquire);
        if end > offset.0 {
            return true;
        }
        let pause_ms = match self.pull(end, 1, true).await {
            Ok(pulled) if !pulled.records.is_empty() => return pulled.end > offset.0,
            Ok(_) => WAIT_PAUSE_MS,
            Err(why) => {
                tracing::debug!(queue = self.name, %why, "a wait for records failed");
                WAIT_RETRY_MS
            }
        };
        tokio::time::sleep(Duration::from_millis(pause_ms)).await;
        false
    }

    fn is_closed(&self) -> bool {
        *self.closing.borrow()
    }
}

fn unavailable(why: NoAnswer) -> RocketError {
    RocketError::Unavailable(why.0)
}

/// Why a pull at an offset brought nothing; none when that is the end.
fn nothing(from: u64, pulled: &Pulled) -> Option<LogReadError> {
    let Pulled { start, end, .. } = pulled;
    if from < *start {
        return Some(LogReadError::Released(LogOffset(*start)));
    }
    if from > *end {
        let why = format!("the broker's queue ends at {end}, before {from}, up to which it was consumed");
        return Some(LogReadError::Damaged(why));
    }
    (from < *end).then(|| LogReadError::Unavailable(format!("the broker gives nothing at {from} of {start}..{end}")))
}

/// Adds what was pulled; true when no more is wanted.
fn collect(
    records: &mut Vec<LogRecord>,
    pulled: Vec<LogRecord>,
    next: &mut u64,
    bytes: &mut usize,
    bytes_max: usize,
) -> Result<bool, LogReadError> {
    for record in pulled {
        if record.offset.0 != *next {
            let why = format!("offset {next} is missing, {} follows", record.offset.0);
            return if records.is_empty() { Err(LogReadError::Damaged(why)) } else { Ok(true) };
        }
        if !records.is_empty() && *bytes + record.bytes.len() > bytes_max {
            return Ok(true);
        }
        *bytes += record.bytes.len();
        *next += 1;
        records.push(record);
    }
    Ok(*bytes >= bytes_max)
}

#[async_trait]
impl LogQueue for RocketQueue {
    fn name(&self) -> &str {
        &self.name
    }

    async fn read(
        &self,
        from: LogOffset,
        records_max: usize,
        bytes_max: usize,
    ) -> Result<Vec<LogRecord>, LogReadError> {
        let (mut records, mut next, mut bytes) = (Vec::new(), from.0, 0);
        // A broker gives few records a pull, so one read makes several.
        while records.len() < records_max {
            if self.is_closed() {
                return Err(LogReadError::Closed);
            }
            let wanted = (records_max - records.len()).min(PULL_RECORDS_MAX);
            let pulled = match self.pull(next, wanted, false).await {
                Ok(pulled) => pulled,
                Err(_) if !records.is_empty() => break,
                Err(why) => return Err(LogReadError::Unavailable(why.to_string())),
            };
            if pulled.records.is_empty() {
                match nothing(next, &pulled) {
                    Some(error) if records.is_empty() => return Err(error),
                    _ => break,
                }
            }
            let end = pulled.end;
            if collect(&mut records, pulled.records, &mut next, &mut bytes, bytes_max)? || next >= end {
                break;
            }
        }
        Ok(records)
    }

    async fn wait_for(&self, offset: LogOffset) -> Result<(), LogReadError> {
        let mut closing = self.closing.clone();
        tokio::select! {
            () = async { while !self.waited(offset).await {} } => Ok(()),
            // An error says that the queues were dropped.
            _ = closing.wait_for(|closing| *closing) => Err(LogReadError::Closed),
        }
    }

    fn end(&self) -> LogOffset {
        LogOffset(self.end.load(Ordering::Acquire))
    }

    fn release(&self, before: LogOffset) {
        self.released.fetch_max(before.0, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn pulled(offsets: std::ops::Range<u64>, start: u64, end: u64) -> Pulled {
        let records =
            offsets.map(|offset| LogRecord { offset: LogOffset(offset), bytes: Bytes::from_static(b"0123456789") });
        Pulled { records: records.collect(), start, end }
    }

    #[test]
    fn an_empty_pull_is_told_apart() {
        let empty = pulled(0..0, 10, 20);
        assert!(matches!(nothing(9, &empty), Some(LogReadError::Released(LogOffset(10)))));
        assert!(matches!(nothing(15, &empty), Some(LogReadError::Unavailable(_))));
        assert!(nothing(20, &empty).is_none());
        let Some(LogReadError::Damaged(why)) = nothing(21, &empty) else { panic!("beyond the end") };
        assert_eq!(why, "the broker's queue ends at 20, before 21, up to which it was consumed");
    }

    #[test]
    fn a_page_is_bounded_in_bytes_and_has_one_record_at_least() {
        let page = |bytes_max| {
            let (mut records, mut next, mut bytes) = (Vec::new(), 5, 0);
            let done = collect(&mut records, pulled(5..9, 0, 9).records, &mut next, &mut bytes, bytes_max).unwrap();
            (records.len(), done)
        };
        assert_eq!(page(1), (1, true));
        assert_eq!(page(25), (2, true));
        assert_eq!(page(40), (4, true));
        assert_eq!(page(41), (4, false));
    }

    #[test]
    fn a_hole_is_damage_and_what_lies_before_it_is_given() {
        let (mut records, mut next, mut bytes) = (Vec::new(), 5, 0);
        let mut collect = |records: &mut Vec<LogRecord>, page| collect(records, page, &mut next, &mut bytes, 1_000);
        assert!(!collect(&mut records, pulled(5..6, 0, 9).records).unwrap());
        assert!(collect(&mut records, pulled(7..9, 0, 9).records).unwrap());
        assert_eq!(records.len(), 1);
        let error = collect(&mut Vec::new(), pulled(7..9, 0, 9).records).unwrap_err();
        assert_eq!(error.to_string(), "event log is damaged: offset 6 is missing, 7 follows");
    }
}
