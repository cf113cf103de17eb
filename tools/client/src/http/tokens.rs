//! Tokens of a sign-in that renew themselves.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use tokio::sync::Mutex;

use super::{Api, ApiError, Session, is_over};
use crate::token::{TokenError, TokenSource};

/// A [`TokenSource`] over a sign-in: refreshes when a fifth of the token's time is left, or when asked.
/// Clones share the sign-in, and only one of them refreshes at a time: a refresh token works once.
#[derive(Debug, Clone)]
pub struct SessionTokens {
    api: Api,
    held: Arc<Mutex<Held>>,
}

#[derive(Debug)]
struct Held {
    session: Session,
    renew_at: Instant,
}

impl Held {
    fn new(session: Session) -> Self {
        let renew_at = Instant::now() + Duration::from_secs(session.expires_in).mul_f64(0.8);
        Self { session, renew_at }
    }
}

impl SessionTokens {
    /// Starts from a sign-in.
    #[must_use]
    pub fn new(api: Api, session: Session) -> Self {
        Self { api, held: Arc::new(Mutex::new(Held::new(session))) }
    }

    /// The sign-in as it is now, to be kept over a restart.
    pub async fn session(&self) -> Session {
        self.held.lock().await.session.clone()
    }

    /// A valid access token for the HTTP API.
    ///
    /// # Errors
    /// See [`ApiError`].
    pub async fn access(&self) -> Result<String, ApiError> {
        self.renewed(false).await
    }

    async fn renewed(&self, fresh: bool) -> Result<String, ApiError> {
        let held = self.held.lock().await;
        if fresh || Instant::now() >= held.renew_at {
            // On a task of its own: were this future dropped between the exchange and the note of it, the
            // new refresh token would be lost and the old one is used up.
            let (api, refresh_token) = (self.api.clone(), held.session.refresh_token.clone());
            let shared = Arc::clone(&self.held);
            drop(held);
            let exchange = tokio::spawn(async move {
                let mut held = shared.lock().await;
                // Another caller may have been first.
                if held.session.refresh_token == refresh_token {
                    *held = Held::new(api.refresh(&refresh_token).await?);
                }
                Ok(held.session.access_token.clone())
            });
            return exchange.await.unwrap_or_else(|error| Err(ApiError::Unreachable(error.to_string())));
        }
        Ok(held.session.access_token.clone())
    }
}

#[async_trait]
impl TokenSource for SessionTokens {
    async fn token(&self, fresh: bool) -> Result<String, TokenError> {
        self.renewed(fresh).await.map_err(|error| match error {
            ApiError::Problem { retry_after_ms, .. } if !is_over(&error) => {
                TokenError::Temporary { reason: error.to_string(), retry_after_ms }
            }
            _ if is_over(&error) => TokenError::Permanent(error.to_string()),
            _ => TokenError::Temporary { reason: error.to_string(), retry_after_ms: 0 },
        })
    }
}
