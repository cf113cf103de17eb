//! The directory: accounts, sign-in sessions, groups, and the outbox of what they changed.

use async_trait::async_trait;
use ringway_engine::ids::{ConversationId, DeviceId, Uid};
use thiserror::Error;

use super::{ServerMessage, Signal, StoreError};

/// Why the directory refused.
#[derive(Debug, Clone, Error)]
pub enum DirectoryError {
    /// The id is in use.
    #[error("already taken")]
    Taken,
    /// No such user, group, session or member.
    #[error("not found")]
    NotFound,
    /// A bound of the directory (members of a group, groups of a user).
    #[error("limit reached: {0}")]
    Limit(&'static str),
    /// The store could not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// An account as others may see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// User id.
    pub uid: Uid,
    /// Display name.
    pub name: String,
    /// Unix milliseconds.
    pub created_ms: u64,
}

/// A sign-in to be recorded.
#[derive(Debug, Clone)]
pub struct NewSession {
    /// Session id, random, the `sid` of its tokens.
    pub sid: String,
    /// User.
    pub uid: Uid,
    /// Device it was opened on.
    pub device: DeviceId,
    /// Platform named at login.
    pub platform: String,
    /// SHA-256 of the refresh token.
    pub refresh_hash: Vec<u8>,
    /// Unix milliseconds.
    pub created_ms: u64,
    /// Unix milliseconds at which the refresh token ends.
    pub expires_ms: u64,
}

/// A recorded sign-in.
#[derive(Debug, Clone)]
pub struct LoginSession {
    /// Session id.
    pub sid: String,
    /// User.
    pub uid: Uid,
    /// Device.
    pub device: DeviceId,
    /// Unix milliseconds at which the refresh token ends.
    pub expires_ms: u64,
}

/// What a member may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The one who may dissolve and transfer.
    Owner,
    /// May add and remove members.
    Admin,
    /// May talk.
    Member,
}

/// One member of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Who.
    pub uid: Uid,
    /// As what.
    pub role: Role,
    /// Unix milliseconds.
    pub joined_ms: u64,
}

/// A user's place in a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Membership {
    /// As what.
    pub role: Role,
    /// Head of the conversation when the user joined: earlier messages are not for them.
    pub joined_seq: u64,
}

/// A group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Id without `group:`.
    pub id: String,
    /// Its conversation.
    pub conv: ConversationId,
    /// Name.
    pub name: String,
    /// Owner.
    pub owner: Uid,
    /// Number of members.
    pub members: u64,
    /// Unix milliseconds.
    pub created_ms: u64,
}

/// One thing that the gateways must still be told, in order of `id`.
#[derive(Debug, Clone)]
pub struct OutboxEntry {
    /// Rising.
    pub id: u64,
    /// Caches to change, if any; told before the message.
    pub signal: Option<Signal>,
    /// Message to send, if any; its client message id makes a repeat harmless.
    pub message: Option<ServerMessage>,
}

/// The directory. A change that live sessions or members must learn of writes its outbox entries in the
/// same transaction; the daemon relays them. System messages have type `system`, sender "" and a JSON
/// body: `{"event":"created"|"joined"|"left"|"removed","by":uid,"uids":[uid,…]}`.
#[async_trait]
pub trait Directory: Send + Sync {
    /// Creates an account. `password_hash` is empty for accounts that cannot log in by password.
    ///
    /// # Errors
    /// [`DirectoryError::Taken`].
    async fn create_account(&self, account: &Account, password_hash: &str) -> Result<(), DirectoryError>;

    /// An account.
    ///
    /// # Errors
    /// The store could not answer.
    async fn account(&self, uid: &Uid) -> Result<Option<Account>, DirectoryError>;

    /// Sets the display name.
    ///
    /// # Errors
    /// [`DirectoryError::NotFound`].
    async fn rename_account(&self, uid: &Uid, name: &str) -> Result<(), DirectoryError>;

    /// The password hash (PHC string), empty when the account has none.
    ///
    /// # Errors
    /// The store could not answer.
    async fn password_hash(&self, uid: &Uid) -> Result<Option<String>, DirectoryError>;

    /// Records a sign-in.
    ///
    /// # Errors
    /// The store could not answer.
    async fn open_session(&self, session: &NewSession) -> Result<(), DirectoryError>;

    /// Exchanges a refresh token: the session whose current hash is `old_hash` gets `new_hash`. A hash that
    /// was already exchanged revokes its session (a stolen token shows itself so) and is `NotFound`.
    ///
    /// # Errors
    /// [`DirectoryError::NotFound`] for an unknown, expired, revoked or reused token.
    async fn rotate_session(
        &self,
        old_hash: &[u8],
        new_hash: &[u8],
        now_ms: u64,
        expires_ms: u64,
    ) -> Result<LoginSession, DirectoryError>;

    /// Revokes a session and tells the gateways. `until_ms`: when the last access token of it ends.
    ///
    /// # Errors
    /// [`DirectoryError::NotFound`].
    async fn revoke_session(&self, sid: &str, now_ms: u64, until_ms: u64) -> Result<(), DirectoryError>;

    /// Sessions revoked whose access tokens may still be unexpired at `now_ms`: (sid, until_ms).
    ///
    /// # Errors
    /// The store could not answer.
    async fn revoked_sessions(&self, now_ms: u64) -> Result<Vec<(String, u64)>, DirectoryError>;

    /// Creates a group with its owner and first members (the owner need not be named among them; names
    /// must exist) and puts out the `created` system message.
    ///
    /// # Errors
    /// [`DirectoryError::NotFound`] when a member does not exist; [`DirectoryError::Limit`].
    async fn create_group(
        &self,
        id: &str,
        name: &str,
        owner: &Uid,
        members: &[Uid],
        now_ms: u64,
    ) -> Result<Group, DirectoryError>;

    /// A group.
    ///
    /// # Errors
    /// The store could not answer.
    async fn group(&self, id: &str) -> Result<Option<Group>, DirectoryError>;

    /// Members after `after` in the order of ids, at most `limit`.
    ///
    /// # Errors
    /// [`DirectoryError::NotFound`].
    async fn members(&self, id: &str, after: &str, limit: usize) -> Result<Vec<Member>, DirectoryError>;

    /// Adds users; those already in stay as they are. `joined_seq` is the conversation's head. Answers who was new.
    ///
    /// # Errors
    /// [`DirectoryError::NotFound`] when the group or a user does not exist; [`DirectoryError::Limit`].
    async fn add_members(
        &self,
        id: &str,
        by: &Uid,
        uids: &[Uid],
        joined_seq: u64,
        now_ms: u64,
    ) -> Result<Vec<Uid>, DirectoryError>;

    /// Removes a member; `by` is the member itself when leaving. An owner who leaves hands the group to the
    /// longest-standing admin, else member; the last one to leave dissolves it.
    ///
    /// # Errors
    /// [`DirectoryError::NotFound`] when there is no such group or member.
    async fn remove_member(&self, id: &str, by: &Uid, uid: &Uid, now_ms: u64) -> Result<(), DirectoryError>;

    /// A user's place in a group; `None` when it is not a member or there is no such group.
    ///
    /// # Errors
    /// The store could not answer.
    async fn membership(&self, id: &str, uid: &Uid) -> Result<Option<Membership>, DirectoryError>;

    /// The conversations of all groups the user is in.
    ///
    /// # Errors
    /// The store could not answer.
    async fn groups_of(&self, uid: &Uid) -> Result<Vec<ConversationId>, DirectoryError>;

    /// The oldest entries of the outbox.
    ///
    /// # Errors
    /// The store could not answer.
    async fn outbox(&self, limit: usize) -> Result<Vec<OutboxEntry>, DirectoryError>;

    /// Removes entries that were relayed.
    ///
    /// # Errors
    /// The store could not answer; relaying them again is harmless.
    async fn outbox_done(&self, up_to_id: u64) -> Result<(), DirectoryError>;

    /// Returns soon after something was put into the outbox (at the latest after a second).
    async fn outbox_wait(&self);
}
