//! Where a device stands in each conversation of its user.

use ringway_engine::ids::{ConversationId, DeviceId, Uid};
use ringway_engine::limits::OFFLINE_MESSAGES_MAX;

use super::EPOCH;
use super::state::EmbeddedState;
use crate::ports::{Cursor, DevicePoint, StoreError};
use crate::{offline, sqlite};

impl EmbeddedState {
    pub(super) async fn device_points(
        &self,
        uid: &Uid,
        device: &DeviceId,
        now_ms: u64,
    ) -> Result<Vec<DevicePoint>, StoreError> {
        let mut points = self.known_points(uid, device).await?;
        offline::bound_by_age(&self.database, &mut points, now_ms).await?;
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
}
