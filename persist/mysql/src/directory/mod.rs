//! The directory over MySQL: each call is one statement or one transaction, in the file of its noun.
//!
//! All of it is read from the primary: what a session may do must not depend on how far a replica is.

mod accounts;
mod groups;
mod outbox;
mod sessions;

use async_trait::async_trait;
use ringway_engine::ids::{ConversationId, Uid};
use ringway_store::ports::{
    Account, Directory, DirectoryError, Group, LoginSession, Member, Membership, NewSession, OutboxEntry, StoreError,
};

use crate::database::Database;
use crate::fault::{Fault, retried};

/// A failed attempt of a call.
type Failed = Fault<DirectoryError>;

impl From<StoreError> for Failed {
    fn from(error: StoreError) -> Self {
        Self::Refused(error.into())
    }
}

impl From<DirectoryError> for Failed {
    fn from(refusal: DirectoryError) -> Self {
        Self::Refused(refusal)
    }
}

/// The directory.
#[derive(Debug, Clone)]
pub struct MySqlDirectory {
    database: Database,
}

impl MySqlDirectory {
    /// On an open database.
    #[must_use]
    pub fn new(database: Database) -> Self {
        Self { database }
    }

    fn told(&self) {
        self.database.outbox_filled().notify_one();
    }
}

#[async_trait]
impl Directory for MySqlDirectory {
    async fn create_account(&self, account: &Account, password_hash: &str) -> Result<(), DirectoryError> {
        retried!(self.database, accounts::create(&self.database, account, password_hash))
    }

    async fn account(&self, uid: &Uid) -> Result<Option<Account>, DirectoryError> {
        self.database.bounded(accounts::find(&self.database, uid)).await
    }

    async fn rename_account(&self, uid: &Uid, name: &str) -> Result<(), DirectoryError> {
        retried!(self.database, accounts::rename(&self.database, uid, name))
    }

    async fn password_hash(&self, uid: &Uid) -> Result<Option<String>, DirectoryError> {
        self.database.bounded(accounts::password_hash(&self.database, uid)).await
    }

    async fn open_session(&self, session: &NewSession) -> Result<(), DirectoryError> {
        retried!(self.database, sessions::open(&self.database, session))
    }

    async fn rotate_session(
        &self,
        old_hash: &[u8],
        new_hash: &[u8],
        now_ms: u64,
        expires_ms: u64,
    ) -> Result<LoginSession, DirectoryError> {
        let rotated =
            retried!(self.database, sessions::rotate(&self.database, old_hash, new_hash, now_ms, expires_ms))?;
        // No session: the token was refused, and perhaps its session revoked.
        rotated.ok_or_else(|| {
            self.told();
            DirectoryError::NotFound
        })
    }

    async fn revoke_session(&self, sid: &str, now_ms: u64, until_ms: u64) -> Result<(), DirectoryError> {
        retried!(self.database, sessions::revoke(&self.database, sid, now_ms, until_ms))?;
        self.told();
        Ok(())
    }

    async fn revoked_sessions(&self, now_ms: u64) -> Result<Vec<(String, u64)>, DirectoryError> {
        self.database.bounded(sessions::revoked(&self.database, now_ms)).await
    }

    async fn create_group(
        &self,
        id: &str,
        name: &str,
        owner: &Uid,
        members: &[Uid],
        now_ms: u64,
    ) -> Result<Group, DirectoryError> {
        let group = retried!(self.database, groups::create(&self.database, id, name, owner, members, now_ms))?;
        self.told();
        Ok(group)
    }

    async fn group(&self, id: &str) -> Result<Option<Group>, DirectoryError> {
        self.database.bounded(groups::find(&self.database, id)).await
    }

    async fn members(&self, id: &str, after: &str, limit: usize) -> Result<Vec<Member>, DirectoryError> {
        self.database.bounded(groups::members(&self.database, id, after, limit)).await
    }

    async fn add_members(
        &self,
        id: &str,
        by: &Uid,
        uids: &[Uid],
        joined_seq: u64,
        now_ms: u64,
    ) -> Result<Vec<Uid>, DirectoryError> {
        let added = retried!(self.database, groups::add(&self.database, id, by, uids, joined_seq, now_ms))?;
        self.told();
        Ok(added)
    }

    async fn remove_member(&self, id: &str, by: &Uid, uid: &Uid, now_ms: u64) -> Result<(), DirectoryError> {
        retried!(self.database, groups::remove(&self.database, id, by, uid, now_ms))?;
        self.told();
        Ok(())
    }

    async fn membership(&self, id: &str, uid: &Uid) -> Result<Option<Membership>, DirectoryError> {
        self.database.bounded(groups::membership(&self.database, id, uid)).await
    }

    async fn groups_of(&self, uid: &Uid) -> Result<Vec<ConversationId>, DirectoryError> {
        self.database.bounded(groups::of_user(&self.database, uid)).await
    }

    async fn outbox(&self, limit: usize) -> Result<Vec<OutboxEntry>, DirectoryError> {
        self.database.bounded(outbox::list(&self.database, limit)).await
    }

    async fn outbox_done(&self, up_to_id: u64) -> Result<(), DirectoryError> {
        retried!(self.database, outbox::done(&self.database, up_to_id))
    }

    async fn outbox_wait(&self) {
        outbox::wait(&self.database).await;
    }
}
