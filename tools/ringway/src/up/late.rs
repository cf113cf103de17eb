//! The gateways' port before there is a gateway.
//!
//! The admin listener answers from the first moment, so that `/readyz` can say what the node waits for.
//! Until the gateway is there, everything that would need it is refused as temporary.

use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use ringway_engine::ids::Uid;
use ringway_engine::packet::schema::Sent;
use ringway_store::ports::{Gateways, ServerMessage, Signal, SubmitError};

/// A place for the gateway, filled once.
#[derive(Default)]
pub(super) struct LateGateways(OnceLock<Arc<dyn Gateways>>);

impl LateGateways {
    /// The gateway is there now.
    pub(super) fn fill(&self, gateways: Arc<dyn Gateways>) {
        // Filled once, by the start.
        let _ = self.0.set(gateways);
    }

    fn get(&self) -> Result<&Arc<dyn Gateways>, SubmitError> {
        self.0.get().ok_or_else(|| SubmitError::Temporary("the gateway is starting".to_owned()))
    }
}

#[async_trait]
impl Gateways for LateGateways {
    async fn submit(&self, message: ServerMessage) -> Result<Sent, SubmitError> {
        self.get()?.submit(message).await
    }

    async fn signal(&self, signal: Signal) -> Result<(), SubmitError> {
        self.get()?.signal(signal).await
    }

    async fn trace(&self, msg_id: u64) -> String {
        match self.0.get() {
            Some(gateways) => gateways.trace(msg_id).await,
            None => "[]".to_owned(),
        }
    }

    fn metrics(&self) -> String {
        self.0.get().map_or_else(String::new, |gateways| gateways.metrics())
    }

    fn ready(&self) -> bool {
        self.0.get().is_some_and(|gateways| gateways.ready())
    }

    async fn online(&self, uids: &[Uid]) -> Vec<Uid> {
        match self.0.get() {
            Some(gateways) => gateways.online(uids).await,
            None => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn before_there_is_a_gateway_nothing_is_ready_and_everything_temporary() {
        let late = LateGateways::default();
        let revoked = Signal::SessionRevoked { sid: "s".to_owned(), until_ms: 1 };
        assert!(matches!(late.signal(revoked).await, Err(SubmitError::Temporary(_))));
        assert!(!late.ready() && late.metrics().is_empty());
        assert_eq!(late.trace(1).await, "[]");
        assert!(late.online(&[Uid::parse("alice").unwrap()]).await.is_empty());
    }
}
