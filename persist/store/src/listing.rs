//! Lines of a user's conversation list, once a shared state has added what is not archived yet.

use std::collections::HashMap;

use ringway_engine::ids::{ConversationId, ConversationKind, Uid};
use ringway_engine::packet::schema::{Conversation, Message};

use crate::ports::{ListRow, Records, StoreError};

/// A row of the archive with what the state adds.
#[derive(Debug)]
pub struct ListedRow {
    /// The row, its head raised to what the state knows.
    pub listed: ListRow,
    /// The newest number that readers may see.
    pub visible: u64,
    /// Its message, if the state has it; else the archive does.
    pub last: Option<Message>,
    /// Unread messages are counted above this number.
    pub above: u64,
    /// Up to here the user's own are counted in the archive.
    pub archived: u64,
    /// The user's own among the unarchived ones.
    pub own: u64,
}

/// The lines of a list, in the order of the rows. `epoch` is the current one.
///
/// # Errors
/// The records could not answer.
pub async fn lines(
    records: &dyn Records,
    epoch: u64,
    uid: &Uid,
    rows: Vec<ListedRow>,
) -> Result<Vec<Conversation>, StoreError> {
    let wanted: Vec<(&str, u64)> = rows
        .iter()
        .filter(|row| row.last.is_none() && row.visible > 0)
        .map(|row| (row.listed.conv.as_str(), row.visible))
        .collect();
    let mut archived = records.messages_at(&wanted).await?;
    let ranges: Vec<(&str, u64, u64)> = rows
        .iter()
        .filter(|row| row.above < row.archived)
        .map(|row| (row.listed.conv.as_str(), row.above, row.archived))
        .collect();
    let own = records.own_counts(uid, &ranges).await?;
    let others: Vec<&str> = rows.iter().filter_map(|row| other_party(&row.listed.conv, uid)).collect();
    let names = records.names(&others).await?;
    let line = |mut row: ListedRow| {
        row.own += own.get(&row.listed.conv).copied().unwrap_or(0);
        row.last = row.last.or_else(|| archived.remove(&row.listed.conv));
        line(epoch, uid, row, &names)
    };
    Ok(rows.into_iter().map(line).collect())
}

fn line(epoch: u64, uid: &Uid, row: ListedRow, names: &HashMap<String, String>) -> Conversation {
    let ListedRow { listed, last, above, own, .. } = row;
    let group = ConversationId::parse(&listed.conv).is_ok_and(|id| matches!(id.kind(), ConversationKind::Group(_)));
    let other = || other_party(&listed.conv, uid).and_then(|other| names.get(other)).cloned().unwrap_or_default();
    let name = if group { listed.name.clone() } else { other() };
    Conversation {
        head: listed.head,
        read: listed.read.min(listed.head),
        unread: (listed.head - above).saturating_sub(own),
        // What was said before the user joined is not shown.
        last: last.filter(|last| last.seq > listed.joined_seq),
        name,
        epoch,
        conv: listed.conv,
        ..Conversation::default()
    }
}

fn other_party<'a>(conv: &'a str, uid: &Uid) -> Option<&'a str> {
    let (low, high) = conv.strip_prefix("p2p:")?.split_once(':')?;
    Some(if low == uid.as_str() { high } else { low })
}
