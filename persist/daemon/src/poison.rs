//! Records that an archive refuses for what is in them: found by halving, set aside as dead letters.
//!
//! ```text
//!   all that was read ──committed──────────────────────────────► the queue goes on
//!        │ failed POISON_TRIES_MAX times, then some more while an empty batch goes through each time
//!        ▼
//!   two halves, the first one first ──committed──► the other half …
//!        │ refused
//!        ▼
//!   one record ──failed as often as the whole, alone──► dead letter, with what the archive said
//! ```
//!
//! A store that is away refuses the empty batch too: then nothing is halved, and nothing set aside.

use ringway_store::ports::{DeadLetter, LogRecord};
use tokio::sync::watch;

use crate::backoff::Backoff;
use crate::batch::{self, Decoded};
use crate::consumer::{Committed, Consumed, Consumer, Patience};
use crate::limits::POISON_REFUSALS_MAX;

/// For a part of what was refused.
const IMPATIENT: Patience = Patience { failures_max: 0, refusals_max: 1 };

impl Consumer {
    fn patience(&self) -> Patience {
        Patience { failures_max: self.config.poison_tries, refusals_max: POISON_REFUSALS_MAX }
    }

    /// Brings records into the archive; none when a stop came while a store was away.
    pub(crate) async fn consume(&self, records: &[LogRecord], stop: &mut watch::Receiver<bool>) -> Option<Consumed> {
        let mut parts = vec![records];
        let mut consumed = Consumed::Elsewhere;
        while let Some(part) = parts.pop() {
            let decoded = batch::decode(part);
            self.report(&decoded);
            // A smaller part was read before, with the rest.
            if part.len() == records.len() {
                self.trace.consumed(&decoded);
            }
            // A part of what was refused as a whole is not given the benefit of the doubt until it is alone.
            let doubtful = part.len() > 1 && part.len() < records.len();
            let patience = if doubtful { IMPATIENT } else { self.patience() };
            match self.commit(&decoded, patience, stop).await? {
                Committed::Done(batch) => {
                    self.committed(&decoded, &batch, stop).await?;
                    consumed = Consumed::UpTo(batch.next_offset);
                }
                Committed::Elsewhere => return Some(Consumed::Elsewhere),
                Committed::Refused(error) => match part {
                    [single] => match self.set_aside(single, &error.to_string(), stop).await? {
                        Consumed::Elsewhere => return Some(Consumed::Elsewhere),
                        up_to @ Consumed::UpTo(_) => consumed = up_to,
                    },
                    _ => {
                        let queue = self.queue.name();
                        tracing::warn!(queue, %error, records = part.len(), "a batch is refused for what is in it: halved");
                        let (first, second) = part.split_at(part.len() / 2);
                        parts.extend([second, first]);
                    }
                },
            }
        }
        Some(consumed)
    }

    /// A record that cannot be archived becomes a dead letter.
    async fn set_aside(&self, record: &LogRecord, error: &str, stop: &mut watch::Receiver<bool>) -> Option<Consumed> {
        let reason = format!("the archive refuses it: {error}");
        let letter = DeadLetter { offset: record.offset, reason, bytes: record.bytes.clone() };
        let decoded = Decoded::of_letter(letter);
        self.report(&decoded);
        let mut backoff = Backoff::new();
        loop {
            match self.commit(&decoded, self.patience(), stop).await? {
                Committed::Done(batch) => {
                    self.committed(&decoded, &batch, stop).await?;
                    return Some(Consumed::UpTo(batch.next_offset));
                }
                Committed::Elsewhere => return Some(Consumed::Elsewhere),
                // Nothing of the record is left to be refused but its bytes: this is the archive's own trouble.
                Committed::Refused(error) => {
                    self.retry(&error, "a dead letter is not archived yet", &mut backoff, stop).await?;
                }
            }
        }
    }

    fn report(&self, decoded: &Decoded) {
        let queue = self.queue.name();
        for letter in &decoded.dead_letters {
            tracing::error!(
                queue,
                offset = letter.offset.0,
                reason = letter.reason,
                "log record becomes a dead letter"
            );
        }
    }
}
