//! Sessions whose access tokens are refused before they expire.
//!
//! The directory is the authority; this is its list, at most [`REVOKED_AGE_MS`] old, so that a request
//! does not cost a query. What this process revokes itself counts at once.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use ringway_store::ports::{Directory, DirectoryError};

use crate::limits::REVOKED_AGE_MS;

/// The list. Entries end with the last token of their session, which bounds it by the revocations of
/// one token life.
#[derive(Debug, Default)]
pub(crate) struct Revoked {
    until_ms: Mutex<HashMap<String, u64>>,
    /// When it was last read; held while it is read, so that one request does it for all that wait.
    read_at_ms: tokio::sync::Mutex<Option<u64>>,
}

impl Revoked {
    /// Whether tokens of the session are refused.
    ///
    /// # Errors
    /// The directory could not answer: a token that may be revoked is not let in.
    pub(crate) async fn contains(
        &self,
        sid: &str,
        directory: &dyn Directory,
        now_ms: u64,
    ) -> Result<bool, DirectoryError> {
        let mut read_at_ms = self.read_at_ms.lock().await;
        if read_at_ms.is_none_or(|at| now_ms.abs_diff(at) >= REVOKED_AGE_MS) {
            let fresh = directory.revoked_sessions(now_ms).await?;
            let mut until_ms = self.until_ms.lock().unwrap_or_else(PoisonError::into_inner);
            until_ms.retain(|_, until| *until > now_ms);
            until_ms.extend(fresh);
            *read_at_ms = Some(now_ms);
        }
        drop(read_at_ms);
        Ok(self.until_ms.lock().unwrap_or_else(PoisonError::into_inner).contains_key(sid))
    }

    /// Refuses the session from now on.
    pub(crate) fn insert(&self, sid: &str, until_ms: u64) {
        self.until_ms.lock().unwrap_or_else(PoisonError::into_inner).insert(sid.to_owned(), until_ms);
    }
}
