//! Hands notices to the vendor: so many at once, so many waiting, each tried so often.
//!
//! A task of its own; dropping it drops what waits.

use std::sync::Arc;
use std::time::Duration;

use ringway_store::ports::{PushError, PushNotice, VendorPush};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::limits::{PUSH_TRIES_MAX, PUSHES_AT_ONCE};
use crate::metrics::{Metrics, add};

pub(crate) struct Pusher {
    pub(crate) vendor: Arc<dyn VendorPush>,
    pub(crate) retry_ms: u64,
    pub(crate) metrics: Arc<Metrics>,
}

impl Pusher {
    /// Runs until nobody hands notices in any more and all are handed on.
    pub(crate) async fn run(self, mut notices: mpsc::Receiver<PushNotice>) {
        let this = Arc::new(self);
        let mut pushing = JoinSet::new();
        while let Some(notice) = notices.recv().await {
            if pushing.len() >= PUSHES_AT_ONCE {
                // A panic in one is reported by the runtime, and costs that notice.
                let _ = pushing.join_next().await;
            }
            while pushing.try_join_next().is_some() {}
            let this = Arc::clone(&this);
            pushing.spawn(async move { this.push(notice).await });
        }
        while pushing.join_next().await.is_some() {}
    }

    async fn push(&self, notice: PushNotice) {
        let (uid, conv) = (notice.uid.as_str(), notice.conv.as_str());
        for attempt in 0..PUSH_TRIES_MAX {
            match self.vendor.push(&notice).await {
                Ok(()) => return add(&self.metrics.pushed),
                Err(error @ PushError::Refused(_)) => {
                    tracing::warn!(uid, conv, %error, "a push is dropped");
                    return add(&self.metrics.refused);
                }
                Err(error @ PushError::Temporary(_)) => {
                    add(&self.metrics.retried);
                    tracing::debug!(uid, conv, %error, "a push is tried again");
                    tokio::time::sleep(Duration::from_millis(self.retry_ms << attempt)).await;
                }
            }
        }
        tracing::warn!(uid, conv, tries = PUSH_TRIES_MAX, "a push is given up");
        add(&self.metrics.given_up);
    }
}
