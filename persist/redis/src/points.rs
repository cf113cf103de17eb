//! Where a device stands in each conversation of its user.

use std::collections::HashMap;

use fred::types::Value;
use ringway_engine::ids::{ConversationId, DeviceId, Uid};
use ringway_engine::limits::OFFLINE_MESSAGES_MAX;
use ringway_store::offline;
use ringway_store::ports::{Cursor, DevicePoint, Place, StoreError};

use crate::connection::failed;
use crate::limits::EPOCH_CHANGES_MAX;
use crate::reply::texts;
use crate::state::Shared;
use crate::together::together;

/// Cursors of one user in one conversation, by device.
pub(crate) type Cursors = HashMap<String, Vec<(String, Cursor)>>;

impl Shared {
    pub(crate) async fn device_points(
        &self,
        uid: &Uid,
        device: &DeviceId,
        now_ms: u64,
    ) -> Result<Vec<DevicePoint>, StoreError> {
        let mut points = self.known_points(uid, device).await?;
        offline::bound_by_age(&*self.records, &mut points, now_ms).await?;
        Ok(points)
    }

    /// Points without the bound by age.
    async fn known_points(&self, uid: &Uid, device: &DeviceId) -> Result<Vec<DevicePoint>, StoreError> {
        for _ in 0..EPOCH_CHANGES_MAX {
            let working = self.fence.working(&self.connection).await?;
            let points = self.points_in(working.epoch, uid, device).await?;
            let read = points.iter().map(|point| point.conv.as_str()).chain([uid.as_str()]);
            if self.fence.confirm(&self.connection, working, read).await? {
                return Ok(points);
            }
        }
        Err(StoreError::new("redis", "the epoch changes faster than points are read"))
    }

    async fn points_in(&self, epoch: u64, uid: &Uid, device: &DeviceId) -> Result<Vec<DevicePoint>, StoreError> {
        let fresh = self.fresh_of(uid).await?;
        let waiting = self.cursors_of(uid).await?;
        let places = self.records.places(uid, device, &fresh).await?;
        let heads = self.heads(epoch, places.iter().map(|place| place.conv.as_str())).await?;
        let mut cursors: Vec<[Option<Cursor>; 2]> = Vec::with_capacity(places.len());
        for place in &places {
            let in_redis = waiting.get(&place.conv).map_or(&[][..], Vec::as_slice);
            let own = in_redis.iter().filter(|(name, _)| name == device.as_str()).map(|(_, cursor)| *cursor).max();
            let any = in_redis.iter().map(|(_, cursor)| *cursor).max();
            cursors.push([place.device_cursor.max(own), place.user_cursor.max(any)]);
        }
        let cursors = self.in_epoch(epoch, &places, cursors).await?;
        let mut points = Vec::with_capacity(places.len());
        for ((place, head), [device_cursor, user_cursor]) in places.into_iter().zip(heads).zip(cursors) {
            let head = head.max(place.head);
            if head == 0 {
                continue;
            }
            points.push(DevicePoint {
                conv: ConversationId::parse(&place.conv).map_err(|error| StoreError::new("redis", error))?,
                epoch,
                head,
                floor: place.joined_seq.max(head.saturating_sub(OFFLINE_MESSAGES_MAX)),
                device_cursor: device_cursor.map(|seq| seq.min(head)),
                user_cursor: user_cursor.map(|seq| seq.min(head)),
            });
        }
        Ok(points)
    }

    /// What cursors mean in this epoch: one of an earlier epoch ends at the floor of that.
    async fn in_epoch(
        &self,
        epoch: u64,
        places: &[Place],
        cursors: Vec<[Option<Cursor>; 2]>,
    ) -> Result<Vec<[Option<u64>; 2]>, StoreError> {
        let pairs = || places.iter().zip(&cursors).flat_map(|(place, pair)| pair.iter().map(move |one| (place, one)));
        let old: Vec<(&str, u64)> = pairs()
            .filter_map(|(place, cursor)| Some((place.conv.as_str(), cursor.filter(|held| held.epoch < epoch)?.epoch)))
            .collect();
        let floors = if old.is_empty() { Vec::new() } else { self.epochs.floors(&old).await? };
        let floors: HashMap<(&str, u64), u64> = old.into_iter().zip(floors).collect();
        let bound = |place: &Place, cursor: Cursor| {
            let floor = floors.get(&(place.conv.as_str(), cursor.epoch)).copied().unwrap_or(u64::MAX);
            cursor.seq.min(floor)
        };
        Ok(places
            .iter()
            .zip(&cursors)
            .map(|(place, pair)| pair.map(|cursor| cursor.map(|cursor| bound(place, cursor))))
            .collect())
    }

    /// Conversations of a user that SQL may not know yet.
    pub(crate) async fn fresh_of(&self, uid: &Uid) -> Result<Vec<String>, StoreError> {
        let key = self.connection.keys.fresh(uid.as_str());
        texts(self.connection.command("SMEMBERS", key, Vec::new()).await?)
    }

    /// Highest numbers given out in this epoch, in the order asked; 0 where Redis knows none.
    pub(crate) async fn heads<'a>(
        &self,
        epoch: u64,
        convs: impl Iterator<Item = &'a str>,
    ) -> Result<Vec<u64>, StoreError> {
        together(convs.map(|conv| self.head_in(epoch, self.connection.keys.seq(conv))).collect()).await
    }

    async fn head_in(&self, epoch: u64, key: String) -> Result<u64, StoreError> {
        let fields = vec![Value::from("epoch"), Value::from("head")];
        let found = self.connection.command("HMGET", key, fields).await?;
        let (of, head): (Option<u64>, Option<u64>) = found.convert().map_err(failed)?;
        Ok(head.filter(|_| of == Some(epoch)).unwrap_or(0))
    }
}
