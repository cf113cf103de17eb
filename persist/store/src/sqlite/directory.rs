//! The directory over SQLite: each call is one statement or one transaction, in the file of its noun.

use async_trait::async_trait;
use ringway_engine::ids::{ConversationId, Uid};

use super::{Database, accounts, groups, outbox, sessions};
use crate::ports::{
    Account, Directory, DirectoryError, Group, LoginSession, Member, Membership, NewSession, OutboxEntry,
};

/// The directory.
#[derive(Debug, Clone)]
pub struct SqliteDirectory {
    database: Database,
}

impl SqliteDirectory {
    /// On an open database.
    #[must_use]
    pub fn new(database: Database) -> Self {
        Self { database }
    }
}

#[async_trait]
impl Directory for SqliteDirectory {
    async fn create_account(&self, account: &Account, password_hash: &str) -> Result<(), DirectoryError> {
        accounts::create(&self.database, account, password_hash).await
    }

    async fn account(&self, uid: &Uid) -> Result<Option<Account>, DirectoryError> {
        accounts::find(&self.database, uid).await
    }

    async fn rename_account(&self, uid: &Uid, name: &str) -> Result<(), DirectoryError> {
        accounts::rename(&self.database, uid, name).await
    }

    async fn password_hash(&self, uid: &Uid) -> Result<Option<String>, DirectoryError> {
        accounts::password_hash(&self.database, uid).await
    }

    async fn open_session(&self, session: &NewSession) -> Result<(), DirectoryError> {
        sessions::open(&self.database, session).await
    }

    async fn rotate_session(
        &self,
        old_hash: &[u8],
        new_hash: &[u8],
        now_ms: u64,
        expires_ms: u64,
    ) -> Result<LoginSession, DirectoryError> {
        sessions::rotate(&self.database, old_hash, new_hash, now_ms, expires_ms).await
    }

    async fn revoke_session(&self, sid: &str, now_ms: u64, until_ms: u64) -> Result<(), DirectoryError> {
        sessions::revoke(&self.database, sid, now_ms, until_ms).await
    }

    async fn revoked_sessions(&self, now_ms: u64) -> Result<Vec<(String, u64)>, DirectoryError> {
        sessions::revoked(&self.database, now_ms).await
    }

    async fn create_group(
        &self,
        id: &str,
        name: &str,
        owner: &Uid,
        members: &[Uid],
        now_ms: u64,
    ) -> Result<Group, DirectoryError> {
        groups::create(&self.database, id, name, owner, members, now_ms).await
    }

    async fn group(&self, id: &str) -> Result<Option<Group>, DirectoryError> {
        groups::find(&self.database, id).await
    }

    async fn members(&self, id: &str, after: &str, limit: usize) -> Result<Vec<Member>, DirectoryError> {
        groups::members(&self.database, id, after, limit).await
    }

    async fn add_members(
        &self,
        id: &str,
        by: &Uid,
        uids: &[Uid],
        joined_seq: u64,
        now_ms: u64,
    ) -> Result<Vec<Uid>, DirectoryError> {
        groups::add(&self.database, id, by, uids, joined_seq, now_ms).await
    }

    async fn remove_member(&self, id: &str, by: &Uid, uid: &Uid, now_ms: u64) -> Result<(), DirectoryError> {
        groups::remove(&self.database, id, by, uid, now_ms).await
    }

    async fn membership(&self, id: &str, uid: &Uid) -> Result<Option<Membership>, DirectoryError> {
        groups::membership(&self.database, id, uid).await
    }

    async fn groups_of(&self, uid: &Uid) -> Result<Vec<ConversationId>, DirectoryError> {
        groups::of_user(&self.database, uid).await
    }

    async fn outbox(&self, limit: usize) -> Result<Vec<OutboxEntry>, DirectoryError> {
        outbox::list(&self.database, limit).await
    }

    async fn outbox_done(&self, up_to_id: u64) -> Result<(), DirectoryError> {
        outbox::done(&self.database, up_to_id).await
    }

    async fn outbox_wait(&self) {
        outbox::wait(&self.database).await;
    }
}
