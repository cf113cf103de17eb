//! Records of the log into a batch for the archive.

use std::sync::Arc;

use ringway_engine::event::{Event, MessageEvent, ReadEvent};
use ringway_engine::ids::{ConversationId, Uid};
use ringway_store::ports::{ArchiveBatch, DeadLetter, LogOffset, LogRecord, NumberedMessage, SharedState, StoreError};

/// Messages handed to the state in one call.
const NUMBERED_AT_ONCE: usize = 64;

/// Records, understood.
#[derive(Debug, Default)]
pub(crate) struct Decoded {
    pub(crate) messages: Vec<Arc<MessageEvent>>,
    pub(crate) reads: Vec<ReadEvent>,
    pub(crate) dead_letters: Vec<DeadLetter>,
    /// One past the last record.
    pub(crate) next_offset: LogOffset,
}

/// Takes records apart. What is no event, or names no conversation, is a dead letter.
pub(crate) fn decode(records: &[LogRecord]) -> Decoded {
    let mut decoded = Decoded::default();
    for record in records {
        decoded.next_offset = LogOffset(record.offset.0 + 1);
        match understand(record) {
            Ok(Event::Message(event)) => decoded.messages.push(Arc::new(event)),
            Ok(Event::Read(event)) => decoded.reads.push(event),
            Err(reason) => {
                let (offset, bytes) = (record.offset, record.bytes.clone());
                decoded.dead_letters.push(DeadLetter { offset, reason, bytes });
            }
        }
    }
    decoded
}

fn understand(record: &LogRecord) -> Result<Event, String> {
    let event = Event::decode(&record.bytes).map_err(|error| error.to_string())?;
    let (conv, uid) = match &event {
        Event::Message(message) => (&message.conv, None),
        Event::Read(read) => (&read.conv, Some(&read.uid)),
    };
    ConversationId::parse(conv).map_err(|error| error.to_string())?;
    uid.map(|uid| Uid::parse(uid)).transpose().map_err(|error| error.to_string())?;
    Ok(event)
}

/// Numbers a batch and makes its read marks known. May be called again for the same one.
pub(crate) async fn number(state: &dyn SharedState, decoded: &Decoded) -> Result<Vec<NumberedMessage>, StoreError> {
    let mut numbers = Vec::with_capacity(decoded.messages.len());
    // In pieces, so that the gateway's own batches get their turn in between.
    for messages in decoded.messages.chunks(NUMBERED_AT_ONCE) {
        numbers.extend(state.number(messages).await?);
    }
    for read in &decoded.reads {
        if let (Ok(conv), Ok(uid)) = (ConversationId::parse(&read.conv), Uid::parse(&read.uid)) {
            state.mark_read(&conv, &uid, read.seq).await;
        }
    }
    let pairs = decoded.messages.iter().zip(numbers);
    // A message whose number belongs to another one is a repeat that was appended twice: it ends here.
    let own = pairs.filter(|(event, number)| number.msg_id == event.msg_id);
    Ok(own
        .map(|(event, number)| NumberedMessage { event: Arc::clone(event), epoch: number.epoch, seq: number.seq })
        .collect())
}

impl Decoded {
    /// The batch to be archived.
    pub(crate) fn into_batch(self, messages: Vec<NumberedMessage>) -> ArchiveBatch {
        let Self { reads, dead_letters, next_offset, .. } = self;
        ArchiveBatch { messages, reads, dead_letters, next_offset }
    }

    /// When the first of its messages was taken, Unix milliseconds.
    pub(crate) fn oldest_ms(&self) -> Option<u64> {
        self.messages.first().map(|event| event.ts_ms)
    }
}
