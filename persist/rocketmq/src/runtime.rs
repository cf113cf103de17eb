//! The client's own threads: RocketMQ's transport runs its connections on a runtime that belongs to this adapter.
//!
//! One worker thread carries all connections of one log, or of one set of queues. The runtime ends with
//! [`Runtime::close`]; dropped without it, its tasks are cancelled and its threads end by themselves.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rocketmq_runtime::{ChildServiceContext, ProcessMemoryLimit, RuntimeConfig, RuntimeOwner, ShutdownDeadline};
use rocketmq_transport::api::{ConnectConfig, DefaultRequestProcessor, TransportClient, TransportClientConfig};

use crate::config::RocketConfig;
use crate::error::{NoAnswer, RocketError};
use crate::limits::{CLIENT_MEMORY_BYTES_MAX, CLOSE_MS, CONNECT_TIMEOUT_MS};
use crate::tls::Tls;

pub(crate) type Client = TransportClient<DefaultRequestProcessor>;

pub(crate) struct Runtime {
    owner: Mutex<Option<RuntimeOwner>>,
    context: ChildServiceContext,
    transport: Arc<TransportClientConfig>,
    pub(crate) tls: Tls,
}

impl Runtime {
    /// The threads are named after the topic, as far as the kernel's 15 letters go.
    pub(crate) fn start(config: &RocketConfig) -> Result<Arc<Self>, RocketError> {
        let tls = Tls::new(config.tls.as_ref())?;
        let failed = |error: &dyn std::fmt::Display| RocketError::Client(error.to_string());
        let memory = ProcessMemoryLimit::configured(CLIENT_MEMORY_BYTES_MAX).map_err(|error| failed(&error))?;
        let plan = RuntimeOwner::plan(RuntimeConfig::for_parallelism(format!("rmq-{}", config.topic), 1))
            .map_err(|error| failed(&error))?;
        let owner = plan.with_memory_limit(memory).build().map_err(|error| failed(&error))?;
        let context = owner.root_context().component("ringway");
        let connect = ConnectConfig { timeout: Duration::from_millis(CONNECT_TIMEOUT_MS) };
        let transport =
            Arc::new(TransportClientConfig { connect, tls: tls.transport.clone(), ..TransportClientConfig::default() });
        Ok(Arc::new(Self { owner: Mutex::new(Some(owner)), context, transport, tls }))
    }

    /// A client without any connection yet. It is not started: what that adds is looking after name servers and idle
    /// connections, and this adapter does both itself.
    pub(crate) fn client(&self) -> Result<Arc<Client>, NoAnswer> {
        let context = self.context.try_component("connection").map_err(|error| NoAnswer(error.to_string()))?;
        let client = Client::builder(Arc::clone(&self.transport), DefaultRequestProcessor, context).build();
        client.map(Arc::new).map_err(|error| NoAnswer(error.to_string()))
    }

    /// Ends a client that is of no use any more; requests that still wait on it fail.
    pub(crate) fn discard(&self, client: Arc<Client>) {
        let task = async move {
            client.shutdown_graceful(deadline()).await;
        };
        if let Err(error) = self.context.spawn_service("discard", task) {
            // The runtime is closing, which ends the client too.
            tracing::debug!(%error, "rocketmq connection is ended by the close");
        }
    }

    /// Ends all connections, tasks and threads.
    pub(crate) async fn close(&self) {
        let owner = self.owner.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(owner) = owner else { return };
        let report = owner.shutdown_tasks_until(deadline()).await;
        if !report.is_healthy() {
            tracing::warn!(report = %report.to_json(), "rocketmq client did not end in good order");
        }
        drop(owner);
    }
}

fn deadline() -> ShutdownDeadline {
    ShutdownDeadline::after(Duration::from_millis(CLOSE_MS))
}
