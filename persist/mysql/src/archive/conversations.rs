//! Rows of `conversations`: locked by a commit, made by the first one, raised by each.

use std::collections::{BTreeMap, HashMap};

use ringway_engine::ids::{ConversationId, ConversationKind};
use ringway_store::ports::CommitError;
use sqlx::MySqlConnection;

use crate::fault::Fault;
use crate::holes::Standing;
use crate::limits::LIST_MAX;
use crate::lists::{filled, push_list, statement};
use crate::months::Month;
use crate::text::Text;

/// A conversation, its row locked.
#[derive(Debug, Clone)]
pub(super) struct Conversation {
    pub(super) id: u64,
    pub(super) epoch: u64,
    pub(super) head: u64,
    pub(super) dense: u64,
    /// The newest month that has messages of it.
    pub(super) month: Option<Month>,
}

impl Conversation {
    pub(super) fn standing(&self) -> Standing {
        Standing { dense: self.dense, head: self.head }
    }
}

/// What a commit changes of a conversation.
#[derive(Debug)]
pub(super) struct Raised<'a> {
    pub(super) conv: &'a str,
    pub(super) now: Conversation,
    /// What was dense before, when an epoch begins with this commit.
    pub(super) floor: Option<u64>,
    /// Numbers written, lowest and highest, of each month.
    pub(super) months: BTreeMap<Month, (u64, u64)>,
}

/// Locks the rows of these conversations, which come sorted, and makes those that are missing.
pub(super) async fn lock<'a>(
    connection: &mut MySqlConnection,
    convs: &[&'a str],
) -> Result<BTreeMap<&'a str, Conversation>, Fault<CommitError>> {
    let mut locked = BTreeMap::new();
    for chunk in convs.chunks(LIST_MAX) {
        let mut found = select(connection, chunk).await?;
        let missing: Vec<&str> = chunk.iter().copied().filter(|conv| !found.contains_key(*conv)).collect();
        if !missing.is_empty() {
            make(connection, &missing).await?;
            found.extend(select(connection, &missing).await?);
        }
        for conv in chunk {
            let row = found.remove(*conv);
            let row = row.ok_or_else(|| Fault::wrong(format!("no row for conversation {conv}")))?;
            locked.insert(*conv, row);
        }
    }
    Ok(locked)
}

async fn select(
    connection: &mut MySqlConnection,
    convs: &[&str],
) -> Result<HashMap<String, Conversation>, sqlx::Error> {
    type Found = (Text, u64, u64, u64, u64, u32);
    let mut select = statement("SELECT conv, id, epoch, head, dense, month FROM conversations WHERE conv IN ");
    push_list(&mut select, convs.iter().copied());
    select.push(" ORDER BY conv FOR UPDATE");
    let rows: Vec<Found> = select.build_query_as().fetch_all(connection).await?;
    let row = |(conv, id, epoch, head, dense, month): Found| {
        (conv.0, Conversation { id, epoch, head, dense, month: Month::from_number(month) })
    };
    Ok(rows.into_iter().map(row).collect())
}

async fn make(connection: &mut MySqlConnection, convs: &[&str]) -> Result<(), Fault<CommitError>> {
    let mut insert = statement("INSERT INTO conversations (conv) ");
    insert.push_values(filled(convs), |mut row, conv| {
        row.push_bind(*conv);
    });
    insert.push(" ON DUPLICATE KEY UPDATE conv = VALUES(conv)");
    insert.build().execute(&mut *connection).await?;
    let mut parties: Vec<(String, &str)> = Vec::new();
    for conv in convs {
        let id = ConversationId::parse(conv).map_err(Fault::wrong)?;
        match id.kind() {
            ConversationKind::P2p(low, high) => {
                parties.push((low.to_owned(), conv));
                parties.push((high.to_owned(), conv));
            }
            ConversationKind::System(uid) => parties.push((uid.to_owned(), conv)),
            ConversationKind::Group(_) => {}
        }
    }
    parties.sort_unstable();
    for chunk in parties.chunks(LIST_MAX) {
        let mut insert = statement("INSERT INTO conversation_users (uid, conv) ");
        insert.push_values(filled(chunk), |mut row, (uid, conv)| {
            row.push_bind(uid).push_bind(*conv);
        });
        insert.push(" ON DUPLICATE KEY UPDATE conv = VALUES(conv)");
        insert.build().execute(&mut *connection).await?;
    }
    Ok(())
}

/// Archived heads of those conversations that have a row.
pub(super) async fn heads(
    connection: &mut MySqlConnection,
    convs: &[&str],
) -> Result<HashMap<String, u64>, sqlx::Error> {
    let mut heads = HashMap::with_capacity(convs.len());
    for chunk in convs.chunks(LIST_MAX) {
        let mut select = statement("SELECT conv, head FROM conversations WHERE conv IN ");
        push_list(&mut select, chunk.iter().copied());
        let rows: Vec<(Text, u64)> = select.build_query_as().fetch_all(&mut *connection).await?;
        heads.extend(rows.into_iter().map(|(conv, head)| (conv.0, head)));
    }
    Ok(heads)
}

/// Writes what has changed. The rows are locked, so the inserts only ever meet rows that are there.
pub(super) async fn raise(connection: &mut MySqlConnection, raised: &[Raised<'_>]) -> Result<(), sqlx::Error> {
    for chunk in raised.chunks(LIST_MAX) {
        let mut insert = statement("INSERT INTO conversations (id, conv, epoch, head, dense, month) ");
        insert.push_values(filled(chunk), |mut row, raised| {
            let now = &raised.now;
            row.push_bind(now.id).push_bind(raised.conv).push_bind(now.epoch).push_bind(now.head).push_bind(now.dense);
            row.push_bind(now.month.map_or(0, Month::number));
        });
        insert.push(
            " ON DUPLICATE KEY UPDATE epoch = VALUES(epoch), head = VALUES(head), dense = VALUES(dense), \
             month = VALUES(month)",
        );
        insert.build().execute(&mut *connection).await?;
    }
    let floors: Vec<(u64, u64, u64)> =
        raised.iter().filter_map(|raised| Some((raised.now.id, raised.now.epoch, raised.floor?))).collect();
    for chunk in floors.chunks(LIST_MAX) {
        let mut insert = statement("INSERT INTO epoch_floors (conversation, epoch, floor) ");
        insert.push_values(filled(chunk), |mut row, (id, epoch, floor)| {
            row.push_bind(*id).push_bind(*epoch).push_bind(*floor);
        });
        insert.push(" ON DUPLICATE KEY UPDATE floor = VALUES(floor)");
        insert.build().execute(&mut *connection).await?;
    }
    Ok(())
}

/// Widens the spans of the months written to.
pub(super) async fn widen(connection: &mut MySqlConnection, raised: &[Raised<'_>]) -> Result<(), sqlx::Error> {
    let spans: Vec<(u64, Month, u64, u64)> = raised
        .iter()
        .flat_map(|raised| raised.months.iter().map(|(month, (first, last))| (raised.now.id, *month, *first, *last)))
        .collect();
    for chunk in spans.chunks(LIST_MAX) {
        let mut insert = statement("INSERT INTO conversation_months (conversation, month, first_seq, last_seq) ");
        insert.push_values(filled(chunk), |mut row, (id, month, first, last)| {
            row.push_bind(*id).push_bind(month.number()).push_bind(*first).push_bind(*last);
        });
        insert.push(
            " ON DUPLICATE KEY UPDATE first_seq = LEAST(first_seq, VALUES(first_seq)), \
             last_seq = GREATEST(last_seq, VALUES(last_seq))",
        );
        insert.build().execute(&mut *connection).await?;
    }
    Ok(())
}
