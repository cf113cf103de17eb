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
    /// Where each of them was read.
    pub(crate) offsets: Vec<LogOffset>,
    pub(crate) reads: Vec<ReadEvent>,
    pub(crate) dead_letters: Vec<DeadLetter>,
    /// The first record.
    pub(crate) first_offset: Option<LogOffset>,
    /// One past the last record.
    pub(crate) next_offset: LogOffset,
}

/// When the first message among records was taken, Unix milliseconds; 0 when there is none.
pub(crate) fn oldest_ms(records: &[LogRecord]) -> u64 {
    let taken_ms = records.iter().find_map(|record| match Event::decode(&record.bytes) {
        Ok(Event::Message(event)) => Some(event.ts_ms),
        _ => None,
    });
    taken_ms.unwrap_or(0)
}

/// Takes records apart. What is no event, or names no conversation, is a dead letter.
pub(crate) fn decode(records: &[LogRecord]) -> Decoded {
    let mut decoded = Decoded::default();
    for record in records {
        decoded.first_offset.get_or_insert(record.offset);
        decoded.next_offset = LogOffset(record.offset.0 + 1);
        match understand(record) {
            Ok(Event::Message(event)) => {
                decoded.messages.push(Arc::new(event));
                decoded.offsets.push(record.offset);
            }
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
        Event::Message(message) => (message.conv.as_str(), None),
        Event::Read(read) => (read.conv.as_str(), Some(&read.uid)),
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
    pub(crate) fn to_batch(&self, messages: Vec<NumberedMessage>) -> ArchiveBatch {
        ArchiveBatch {
            messages,
            reads: self.reads.clone(),
            dead_letters: self.dead_letters.clone(),
            first_offset: self.first_offset,
            next_offset: self.next_offset,
        }
    }

    /// A record that is only a dead letter.
    pub(crate) fn of_letter(letter: DeadLetter) -> Self {
        let (first, next) = (letter.offset, LogOffset(letter.offset.0 + 1));
        Self { dead_letters: vec![letter], first_offset: Some(first), next_offset: next, ..Self::default() }
    }
}
