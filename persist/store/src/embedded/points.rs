//! Where a device stands in each conversation of its user.

use ringway_engine::ids::{ConversationId, DeviceId, Uid};
use ringway_engine::limits::{OFFLINE_MESSAGES_MAX, OFFLINE_MS};

use super::EPOCH;
use super::state::EmbeddedState;
use crate::ports::{Cursor, DevicePoint, StoreError};
use crate::sqlite;

impl EmbeddedState {
    pub(super) async fn device_points(
        &self,
        uid: &Uid,
        device: &DeviceId,
        now_ms: u64,
    ) -> Result<Vec<DevicePoint>, StoreError> {
        let mut points = self.known_points(uid, device).await?;
        // The age of a queue costs a look-up, so it is only looked at where something is queued.
        let oldest = |point: &DevicePoint| point.device_cursor.or(point.user_cursor).unwrap_or(0).max(point.floor) + 1;
        let queued: Vec<(&str, u64)> = points
            .iter()
            .filter(|point| oldest(point) <= point.head)
            .map(|point| (point.conv.as_str(), oldest(point)))
            .collect();
        if queued.is_empty() {
            return Ok(points);
        }
        let times = sqlite::times(&self.database, &queued).await?;
        let cutoff_ms = now_ms.saturating_sub(OFFLINE_MS);
        for point in &mut points {
            let first = oldest(point);
            let conv = point.conv.to_string();
            if times.get(&(conv.clone(), first)).is_some_and(|ts_ms| *ts_ms < cutoff_ms) {
                point.floor = self.last_before(&conv, first, point.head, cutoff_ms).await?;
            }
        }
        Ok(points)
    }

    /// Points without the bound by age.
    async fn known_points(&self, uid: &Uid, device: &DeviceId) -> Result<Vec<DevicePoint>, StoreError> {
        loop {
            let (marks, fresh, forgotten) = {
                let memory = self.memory();
                (memory.marks.of_user(uid), memory.tails.fresh_of(uid.as_str()), memory.tails.forgotten())
            };
            let places = sqlite::places(&self.database, uid, device, &fresh).await?;
            let mut memory = self.memory();
            if memory.tails.forgotten() != forgotten {
                // A head may have left memory after the database was read.
                continue;
            }
            let mut points = Vec::with_capacity(places.len());
            for place in places {
                let head = memory.tails.get(&place.conv).map_or(place.head, |conversation| conversation.head);
                if head == 0 {
                    continue;
                }
                let (device_waiting, user_waiting) = marks.cursors(&place.conv, device);
                let written = |cursor: Option<Cursor>| cursor.map(|cursor| cursor.seq);
                let conv = ConversationId::parse(&place.conv).map_err(|error| StoreError::new("sqlite", error))?;
                points.push(DevicePoint {
                    conv,
                    epoch: EPOCH,
                    head,
                    floor: place.joined_seq.max(head.saturating_sub(OFFLINE_MESSAGES_MAX)),
                    device_cursor: written(place.device_cursor).max(device_waiting).map(|seq| seq.min(head)),
                    user_cursor: written(place.user_cursor).max(user_waiting).map(|seq| seq.min(head)),
                });
            }
            return Ok(points);
        }
    }

    /// The last number from `first` (which is old) to `head` whose message was taken before `cutoff_ms`:
    /// a binary search, as times rise with numbers but for small steps of the clock.
    async fn last_before(&self, conv: &str, first: u64, head: u64, cutoff_ms: u64) -> Result<u64, StoreError> {
        let (mut old, mut young) = (first, head + 1);
        while young - old > 1 {
            let middle = old + (young - old) / 2;
            let times = sqlite::times(&self.database, &[(conv, middle)]).await?;
            // What is not archived yet is young.
            if times.get(&(conv.to_owned(), middle)).is_some_and(|ts_ms| *ts_ms < cutoff_ms) {
                old = middle;
            } else {
                young = middle;
            }
        }
        Ok(old)
    }
}
