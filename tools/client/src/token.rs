//! Where access tokens come from.

use async_trait::async_trait;
use thiserror::Error;

/// Why there is no token.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TokenError {
    /// Later there may be: the API does not answer, or asks to wait this many milliseconds.
    #[error("{reason}")]
    Temporary {
        /// For people.
        reason: String,
        /// Not before; 0 when nobody said.
        retry_after_ms: u64,
    },
    /// There never will be: logged out, revoked. The client closes.
    #[error("{0}")]
    Permanent(String),
}

/// Gives access tokens. A plain `String` is one that cannot be renewed.
#[async_trait]
pub trait TokenSource: Send + Sync + 'static {
    /// A token; with `fresh`, one newer than the last, which the server did not take or which ends soon.
    ///
    /// # Errors
    /// See [`TokenError`].
    async fn token(&self, fresh: bool) -> Result<String, TokenError>;

    /// Whether `fresh` can give another token.
    fn renewable(&self) -> bool {
        true
    }
}

#[async_trait]
impl TokenSource for String {
    async fn token(&self, _fresh: bool) -> Result<String, TokenError> {
        Ok(self.clone())
    }

    fn renewable(&self) -> bool {
        false
    }
}
