//! Rows of `messages`: bulk insert and pages.
//!
//! ```text
//! 63            32 31             0
//! +---------------+---------------+
//! | conversation  |   sequence    |  messages.key, the row's own number
//! +---------------+---------------+
//! ```
//!
//! So a conversation's messages lie side by side, a page is one range scan, and (conversation, sequence)
//! is unique by construction. Inserts go as statements of fixed sizes, whose texts stay prepared.

use std::sync::{Arc, LazyLock};

use ringway_engine::limits::PAGE_BYTES_MAX;
use ringway_engine::packet::schema::Message;
use sqlx::sqlite::SqliteArguments;
use sqlx::{Arguments as _, AssertSqlSafe, Sqlite, SqliteConnection, Transaction};

use super::{Database, failed, signed, unsigned};
use crate::limits::{CONVERSATION_SEQ_MAX, INSERT_ROWS_MAX};
use crate::ports::{NumberedMessage, PageFrom, StoreError};

/// The epoch of a message of a table called `m`: that in which it was archived, or the latest that has begun below it.
/// Its number holds in both, and so places rise with the numbers (see [`crate::ports::Epochs`]).
macro_rules! epoch {
    () => {
        "max(m.epoch, coalesce((SELECT max(f.epoch) FROM epoch_floors f \
         WHERE f.conv = m.conv AND f.floor < (m.key & 4294967295)), 0))"
    };
}
pub(super) use epoch;

/// The columns of [`Row`] with its key before them, of a table called `m`.
macro_rules! row {
    () => {
        concat!(
            "m.key, ",
            crate::sqlite::messages::epoch!(),
            ", m.msg_id, m.sender, m.client_msg_id, m.kind, m.body, m.enc, m.ts_ms"
        )
    };
}
pub(super) use row;

/// Rows of one statement, falling: a batch is cut into these.
const INSERT_SIZES: [usize; 4] = [INSERT_ROWS_MAX, 32, 8, 1];
const COLUMNS: &str = "key, conv, epoch, msg_id, sender, client_msg_id, reuse, kind, body, enc, ts_ms, archived_ms";
const BOUND_COLUMNS: usize = 11;

static INSERTS: LazyLock<[Arc<str>; INSERT_SIZES.len()]> = LazyLock::new(|| INSERT_SIZES.map(insert_text));

fn insert_text(rows: usize) -> Arc<str> {
    let row = "(?,?,?,?,?,?,0,?,?,?,?,?)";
    let rows = vec![row; rows].join(",");
    // Archived before: the same message under the same number, which the caller checks for. FAIL, not the
    // usual ABORT: what stands before a refused row stays, so SQLite keeps no journal to undo a statement.
    format!("INSERT OR FAIL INTO messages ({COLUMNS}) VALUES {rows} ON CONFLICT (key) DO NOTHING").into()
}

/// The key of a message in the conversation with this row number.
pub(super) fn key(conversation: i64, seq: u64) -> Result<i64, StoreError> {
    if seq > CONVERSATION_SEQ_MAX {
        return Err(StoreError::new("sqlite", format!("sequence {seq} is past what the archive can hold")));
    }
    Ok((conversation << 32) | signed(seq))
}

fn range(conversation: i64, from: PageFrom) -> (i64, i64) {
    let place = |seq: u64| (conversation << 32) | signed(seq.min(CONVERSATION_SEQ_MAX));
    match from {
        PageFrom::After(seq) => (place(seq), place(u64::MAX)),
        PageFrom::Before(seq) => (place(0), if seq > CONVERSATION_SEQ_MAX { place(seq) + 1 } else { place(seq) }),
    }
}

/// A message with the row number of its conversation.
pub(super) struct Placed<'a> {
    pub(super) conversation: i64,
    pub(super) message: &'a NumberedMessage,
}

/// What the text columns held in the row before. The driver wants each text on the heap, and most types, encodings and
/// many senders are those of the row before: they are shared with it.
type LastTexts = [Arc<str>; 5];

impl Placed<'_> {
    fn bind(&self, texts: &mut LastTexts, arguments: &mut SqliteArguments, archived_ms: i64) -> Result<(), StoreError> {
        let event = &self.message.event;
        let refused = |error| StoreError::new("sqlite", error);
        arguments.add(key(self.conversation, self.message.seq)?).map_err(refused)?;
        arguments.add(self.conversation).map_err(refused)?;
        arguments.add(signed(self.message.epoch)).map_err(refused)?;
        arguments.add(signed(event.msg_id)).map_err(refused)?;
        let own = [event.from.as_str(), &event.client_msg_id, &event.kind, &event.body, &event.enc];
        for (text, last) in own.into_iter().zip(texts) {
            if **last != *text {
                *last = text.into();
            }
            arguments.add(Arc::clone(last)).map_err(refused)?;
        }
        arguments.add(signed(event.ts_ms)).map_err(refused)?;
        arguments.add(archived_ms).map_err(refused)
    }
}

/// Inserts messages in as few statements as may be.
pub(super) async fn insert(
    transaction: &mut Transaction<'static, Sqlite>,
    mut messages: &[Placed<'_>],
    archived_ms: u64,
) -> Result<(), StoreError> {
    while !messages.is_empty() {
        let sizes = INSERT_SIZES.iter().zip(INSERTS.iter());
        let fitting = sizes.into_iter().find_map(|(size, text)| Some((messages.split_at_checked(*size)?, text)));
        let Some(((chunk, rest), text)) = fitting else { break };
        messages = rest;
        let mut arguments = SqliteArguments::default();
        arguments.reserve(chunk.len() * BOUND_COLUMNS, 0);
        let mut texts = LastTexts::default();
        for message in chunk {
            message.bind(&mut texts, &mut arguments, signed(archived_ms))?;
        }
        let insert = sqlx::query_with(AssertSqlSafe(Arc::clone(text)), arguments);
        match insert.execute(&mut **transaction).await {
            Ok(done) if done.rows_affected() == chunk.len() as u64 => {}
            Ok(_) => check_present(transaction, chunk).await?,
            Err(sqlx::Error::Database(error)) if error.is_unique_violation() => {
                insert_reused(transaction, chunk, archived_ms).await?;
            }
            Err(error) => return Err(failed(error)),
        }
    }
    Ok(())
}

/// Some of these numbers were taken. By the same messages: they were archived before, all is well.
/// By others: the numbering is broken, and nothing may be thrown away.
async fn check_present(connection: &mut SqliteConnection, chunk: &[Placed<'_>]) -> Result<(), StoreError> {
    for placed in chunk {
        let found = holder(connection, placed).await?;
        let event = &placed.message.event;
        if found != Some(signed(event.msg_id)) {
            let (conv, seq, mine) = (&event.conv, placed.message.seq, event.msg_id);
            let what = format!("{conv} {seq} is to be message {mine}, but holds {found:?}");
            return Err(StoreError::new("sqlite", what));
        }
    }
    Ok(())
}

/// The epoch of a number that neither belongs to the current epoch nor is archived with its message, if there is one.
pub(super) async fn stale(
    connection: &mut SqliteConnection,
    placed: &[Placed<'_>],
    current: u64,
) -> Result<Option<u64>, StoreError> {
    for placed in placed.iter().filter(|placed| placed.message.epoch != current) {
        let found = holder(connection, placed).await?;
        if found != Some(signed(placed.message.event.msg_id)) {
            return Ok(Some(placed.message.epoch));
        }
    }
    Ok(None)
}

/// The message that holds this number.
async fn holder(connection: &mut SqliteConnection, placed: &Placed<'_>) -> Result<Option<i64>, StoreError> {
    sqlx::query_scalar("SELECT msg_id FROM messages WHERE key = ?1")
        .bind(key(placed.conversation, placed.message.seq)?)
        .fetch_optional(connection)
        .await
        .map_err(failed)
}

/// One by one, for a chunk in which a client message id comes back after its time: its message is a new one.
async fn insert_reused(
    transaction: &mut Transaction<'static, Sqlite>,
    chunk: &[Placed<'_>],
    archived_ms: u64,
) -> Result<(), StoreError> {
    for placed in chunk {
        let mut arguments = SqliteArguments::default();
        placed.bind(&mut LastTexts::default(), &mut arguments, signed(archived_ms))?;
        let done = sqlx::query_with(
            "INSERT INTO messages (key, conv, epoch, msg_id, sender, client_msg_id, reuse, kind, body, enc, ts_ms, \
             archived_ms) VALUES (?1, ?2, ?3, ?4, ?5, ?6, \
             (SELECT coalesce(max(reuse) + 1, 0) FROM messages WHERE conv = ?2 AND sender = ?5 AND client_msg_id = ?6), \
             ?7, ?8, ?9, ?10, ?11) ON CONFLICT (key) DO NOTHING",
            arguments,
        )
        .execute(&mut **transaction)
        .await
        .map_err(failed)?;
        if done.rows_affected() == 0 {
            check_present(transaction, std::slice::from_ref(placed)).await?;
        }
    }
    Ok(())
}

/// The columns of a message after its key.
pub(super) type Row = (i64, i64, i64, String, String, String, String, String, i64);

pub(super) fn message(conv: &str, (key, epoch, msg_id, from, client_msg_id, kind, body, enc, ts_ms): Row) -> Message {
    Message {
        conv: conv.to_owned(),
        msg_id: unsigned(msg_id),
        epoch: unsigned(epoch),
        seq: unsigned(key & signed(CONVERSATION_SEQ_MAX)),
        from,
        client_msg_id,
        kind,
        body,
        enc,
        ts: unsigned(ts_ms),
    }
}

/// A page of the conversation with this row number, rising.
pub(crate) async fn page(
    database: &Database,
    conv: &str,
    from: PageFrom,
    limit: usize,
) -> Result<Vec<Arc<Message>>, StoreError> {
    let mut reader = database.readers.acquire().await.map_err(failed)?;
    let conversation: Option<i64> = sqlx::query_scalar("SELECT id FROM conversations WHERE conv = ?1")
        .bind(conv)
        .fetch_optional(&mut *reader)
        .await
        .map_err(failed)?;
    let Some(conversation) = conversation else { return Ok(Vec::new()) };
    let (above, below) = range(conversation, from);
    let rising = matches!(from, PageFrom::After(_));
    let text = if rising {
        concat!("SELECT ", row!(), " FROM messages m WHERE m.key > ?1 AND m.key <= ?2 ORDER BY m.key LIMIT ?3")
    } else {
        concat!("SELECT ", row!(), " FROM messages m WHERE m.key > ?1 AND m.key < ?2 ORDER BY m.key DESC LIMIT ?3")
    };
    let rows: Vec<Row> = sqlx::query_as(text)
        .bind(above)
        .bind(below)
        .bind(signed(limit as u64))
        .fetch_all(&mut *reader)
        .await
        .map_err(failed)?;
    let mut items: Vec<Arc<Message>> = Vec::with_capacity(rows.len());
    let mut bytes = 0;
    for row in rows {
        let item = message(conv, row);
        bytes += item.body.len();
        if bytes > PAGE_BYTES_MAX && !items.is_empty() {
            break;
        }
        items.push(Arc::new(item));
    }
    if !rising {
        items.reverse();
    }
    Ok(items)
}

/// A message by its id, and when it was archived.
pub(super) async fn by_id(database: &Database, msg_id: u64) -> Result<Option<(Message, u64)>, StoreError> {
    type Found = (String, i64, i64, i64, i64, String, String, String, String, String, i64);
    let found: Option<Found> = sqlx::query_as(concat!(
        "SELECT c.conv, m.archived_ms, ",
        row!(),
        " FROM messages m JOIN conversations c ON c.id = m.conv WHERE m.msg_id = ?1 LIMIT 1"
    ))
    .bind(signed(msg_id))
    .fetch_optional(&database.readers)
    .await
    .map_err(failed)?;
    Ok(found.map(|(conv, archived_ms, key, epoch, msg_id, from, client_msg_id, kind, body, enc, ts_ms)| {
        let row = (key, epoch, msg_id, from, client_msg_id, kind, body, enc, ts_ms);
        (message(&conv, row), unsigned(archived_ms))
    }))
}
