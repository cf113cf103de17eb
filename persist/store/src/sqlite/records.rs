//! The [`Records`] port over the statements of `conversations` and `cursors`.

use std::collections::HashMap;

use async_trait::async_trait;
use ringway_engine::ids::{DeviceId, Uid};
use ringway_engine::packet::schema::Message;

use super::{Database, conversations, cursors};
use crate::ports::{CursorUpdate, HeldNumber, ListRow, Place, Records, StoreError};

#[async_trait]
impl Records for Database {
    async fn sends(&self, sends: &[(&str, &str, &str)]) -> Result<Vec<(usize, HeldNumber)>, StoreError> {
        conversations::sends(self, sends).await
    }

    async fn places(&self, uid: &Uid, device: &DeviceId, fresh: &[String]) -> Result<Vec<Place>, StoreError> {
        conversations::places(self, uid, device, fresh).await
    }

    async fn list(&self, uid: &Uid, after: &str, limit: usize) -> Result<Vec<ListRow>, StoreError> {
        conversations::list(self, uid, after, limit).await
    }

    async fn names(&self, uids: &[&str]) -> Result<HashMap<String, String>, StoreError> {
        conversations::names(self, uids).await
    }

    async fn times(&self, places: &[(&str, u64)]) -> Result<HashMap<(String, u64), u64>, StoreError> {
        conversations::times(self, places).await
    }

    async fn own_counts(&self, uid: &Uid, ranges: &[(&str, u64, u64)]) -> Result<HashMap<String, u64>, StoreError> {
        conversations::own_counts(self, uid, ranges).await
    }

    async fn messages_at(&self, places: &[(&str, u64)]) -> Result<HashMap<String, Message>, StoreError> {
        conversations::messages_at(self, places).await
    }

    async fn raise_cursors(&self, updates: &[(CursorUpdate, u64)]) -> Result<(), StoreError> {
        cursors::raise(self, updates).await
    }
}
