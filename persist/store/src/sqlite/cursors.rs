//! Rows of `cursors`: what each device has acknowledged.

use super::{Database, failed, json_list};
use crate::ports::{CursorUpdate, StoreError};

/// Raises cursors. The second of a pair is the head of the conversation as far as memory knows it:
/// nobody has received what does not exist, so a cursor ends at the higher of that and the archived head.
pub(crate) async fn raise(database: &Database, updates: &[(CursorUpdate, u64)]) -> Result<(), StoreError> {
    let list: Vec<(&str, &str, &str, u64, i64, i64)> = updates
        .iter()
        .map(|(update, head)| {
            let (uid, conv, device) = (update.uid.as_str(), update.conv.as_str(), update.device.as_str());
            (uid, conv, device, update.epoch, super::signed(update.seq), super::signed(*head))
        })
        .collect();
    sqlx::query(
        "INSERT INTO cursors (uid, conv, device, epoch, seq) \
         SELECT j.value ->> 0, j.value ->> 1, j.value ->> 2, j.value ->> 3, \
                min(j.value ->> 4, max(j.value ->> 5, \
                    coalesce((SELECT head FROM conversations c WHERE c.conv = j.value ->> 1), 0))) \
         FROM json_each(?1) j WHERE true \
         ON CONFLICT (uid, conv, device) DO UPDATE SET epoch = excluded.epoch, seq = excluded.seq \
         WHERE (excluded.epoch, excluded.seq) > (epoch, seq)",
    )
    .bind(json_list(&list)?)
    .execute(&database.writer)
    .await
    .map_err(failed)?;
    Ok(())
}
