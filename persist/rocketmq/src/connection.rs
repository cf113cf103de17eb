//! One address, name server or broker: a connection that is thrown away when a request on it fails.
//!
//! The transport counts failed connects for each address and refuses new ones for 30 s after five of them. A client
//! that had one failure is not used again here, so the count never rises. Requests share the connection and are
//! answered in any order. A dropped request may still be carried out.

use std::error::Error;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rocketmq_protocol::RemotingCommand;
use rocketmq_transport::api::{
    OutboundRequestOutcome, OutboundRequestRejectionReason, OutboundRequestStage, RequestDeadline, RequestTarget,
};

use crate::config::Credentials;
use crate::error::NoAnswer;
use crate::runtime::{Client, Runtime};
use crate::sign::sign;

/// The client library's name for a connect that failed, which tells its cause.
const CONNECT_FAILED: &str = "transport.connection.failed";

pub(crate) struct Connection {
    runtime: Arc<Runtime>,
    credentials: Option<Credentials>,
    state: Mutex<State>,
    /// Whether anything was answered since the last connect.
    answered: AtomicBool,
}

struct State {
    address: String,
    client: Option<Arc<Client>>,
}

impl Connection {
    pub(crate) fn new(runtime: &Arc<Runtime>, credentials: Option<Credentials>, address: &str) -> Self {
        let state = State { address: address.to_owned(), client: None };
        Self { runtime: Arc::clone(runtime), credentials, state: Mutex::new(state), answered: AtomicBool::new(false) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whose requests these are, for messages; never the secret.
    pub(crate) fn who(&self) -> String {
        match &self.credentials {
            Some(credentials) => format!("requests signed by access key {:?}", credentials.access_key),
            None => "requests without a signature".to_owned(),
        }
    }

    /// From now on requests go to this address.
    pub(crate) fn set_address(&self, address: &str) {
        let mut state = self.state();
        if state.address == address {
            return;
        }
        address.clone_into(&mut state.address);
        let client = state.client.take();
        drop(state);
        if let Some(client) = client {
            self.runtime.discard(client);
        }
    }

    /// Sends a request and waits for its answer, whatever that says.
    pub(crate) async fn call(
        &self,
        mut command: RemotingCommand,
        timeout: Duration,
    ) -> Result<RemotingCommand, NoAnswer> {
        if let Some(credentials) = &self.credentials {
            sign(&mut command, credentials);
        }
        let (address, client) = self.client()?;
        let target = RequestTarget::Endpoint(address.as_str().into());
        let (why, connected) = match client.request(target, command, RequestDeadline::after(timeout)).await {
            Ok(OutboundRequestOutcome::Response(answer)) => {
                self.answered.store(true, Relaxed);
                return Ok(answer);
            }
            Ok(OutboundRequestOutcome::Rejected(rejection)) => {
                // A server may be quicker to close a connection than the request is to be written on it.
                let connected = rejection.stage() != OutboundRequestStage::BeforeWrite
                    || rejection.reason() == OutboundRequestRejectionReason::SessionClosed;
                (format!("{:?}, {:?}", rejection.reason(), rejection.stage()), connected)
            }
            Ok(OutboundRequestOutcome::Contract(contract)) => (format!("{:?}", contract.reason()), false),
            Err(error) => {
                let connected = error.code().to_string() != CONNECT_FAILED;
                (with_causes(&error), connected)
            }
        };
        let unheard = connected && !self.answered.load(Relaxed);
        self.discard(&client);
        // What a server closes before its first answer, it does not want as it is.
        if unheard && let Some(reason) = self.runtime.tls.diagnose(&address).await {
            return Err(NoAnswer(format!("{address}: {reason} ({why})")));
        }
        Err(NoAnswer(format!("{address}: {why}")))
    }

    fn client(&self) -> Result<(String, Arc<Client>), NoAnswer> {
        let mut state = self.state();
        let client = match &state.client {
            Some(client) => Arc::clone(client),
            None => {
                self.answered.store(false, Relaxed);
                Arc::clone(state.client.insert(self.runtime.client()?))
            }
        };
        Ok((state.address.clone(), client))
    }

    /// Others' requests on it fail as well: they would have to wait for their time-outs.
    fn discard(&self, failed: &Arc<Client>) {
        let mut state = self.state();
        if state.client.as_ref().is_some_and(|client| Arc::ptr_eq(client, failed)) {
            let client = state.client.take();
            drop(state);
            if let Some(client) = client {
                self.runtime.discard(client);
            }
        }
    }
}

/// An error with what caused it: the client library's own words say only that something failed.
fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let words = error.to_string();
        // Some repeat what caused them.
        if !text.ends_with(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        cause = error.source();
    }
    text
}
