//! The archive over MySQL.
//!
//! ```text
//!  commit:  log's offset (locked) ► epoch (shared lock) ► conversations (locked) ► messages ► heads ► reads ► offset
//! ```
//!
//! Every commit takes its locks in this order, conversations by their names, so two of them wait for each other rather
//! than meet in a deadlock; one that does is run again. What a commit finds archived under the same number it leaves as
//! it is, so a commit whose end is not known can be repeated.

mod commit;
mod conversations;
mod letters;
mod messages;
mod pages;
mod place;

use std::sync::Arc;

use async_trait::async_trait;
use ringway_engine::ids::ConversationId;
use ringway_engine::packet::schema::Message;
use ringway_store::ports::{Archive, ArchiveBatch, ArchivedMessage, CommitError, LogOffset, PageFrom, StoreError};

use crate::database::Database;
use crate::fault::{Fault, Tries, retried};
pub use letters::KeptLetter;
pub(crate) use messages::{COLUMNS, Row, message};

/// The archive of one log.
#[derive(Debug, Clone)]
pub struct MySqlArchive {
    database: Database,
    log: Arc<str>,
}

impl MySqlArchive {
    /// The archive, with the offset of the log of this name (at most 128 bytes): each queue of an event log has an
    /// offset of its own, so a consumer of several opens the archive once for each. Messages are one archive.
    #[must_use]
    pub fn new(database: Database, log: &str) -> Self {
        Self { database, log: log.into() }
    }
}

#[async_trait]
impl Archive for MySqlArchive {
    async fn commit(&self, batch: &ArchiveBatch) -> Result<(), CommitError> {
        self.database
            .bounded(async {
                let mut tries = Tries::new();
                loop {
                    match commit::attempt(&self.database, &self.log, batch).await {
                        Ok(()) => return Ok(()),
                        // Made outside of a transaction, which it would end.
                        Err(Fault::NoMonth(month)) => {
                            self.database.make_month(month).await.map_err(CommitError::from).map_err(Fault::Refused)?
                        }
                        Err(fault) => tries.again(fault).await?,
                    }
                }
            })
            .await
    }

    async fn consumed_offset(&self) -> Result<LogOffset, StoreError> {
        self.database
            .bounded(async {
                let found: Option<u64> = sqlx::query_scalar("SELECT next_offset FROM consumed_offsets WHERE log = ?")
                    .bind(&*self.log)
                    .fetch_optional(self.database.primary())
                    .await?;
                Ok::<_, Fault<StoreError>>(LogOffset(found.unwrap_or(0)))
            })
            .await
    }

    async fn set_consumed_offset(&self, offset: LogOffset) -> Result<(), StoreError> {
        retried!(self.database, commit::set_offset(&self.database, &self.log, offset))
    }

    async fn page(&self, conv: &ConversationId, from: PageFrom, limit: usize) -> Result<Vec<Arc<Message>>, StoreError> {
        pages::page(&self.database, conv.as_str(), from, limit).await
    }

    async fn first_kept(&self, conv: &ConversationId) -> Result<u64, StoreError> {
        pages::first_kept(&self.database, conv.as_str()).await
    }

    async fn message(&self, msg_id: u64) -> Result<Option<ArchivedMessage>, StoreError> {
        pages::by_id(&self.database, msg_id).await
    }

    async fn highest_msg_id(&self) -> Result<u64, StoreError> {
        pages::highest_msg_id(&self.database).await
    }
}
