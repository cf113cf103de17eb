//! One address, name server or broker: a connection that is thrown away when a request on it fails.
//!
//! The transport counts failed connects for each address and refuses new ones for 30 s after five of them. A client
//! that had one failure is not used again here, so the count never rises. Requests share the connection and are
//! answered in any order. A dropped request may still be carried out.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rocketmq_protocol::RemotingCommand;
use rocketmq_transport::api::{OutboundRequestOutcome, RequestDeadline, RequestTarget};

use crate::config::Credentials;
use crate::error::NoAnswer;
use crate::runtime::{Client, Runtime};
use crate::sign::sign;

pub(crate) struct Connection {
    runtime: Arc<Runtime>,
    credentials: Option<Credentials>,
    state: Mutex<State>,
}

struct State {
    address: String,
    client: Option<Arc<Client>>,
}

impl Connection {
    pub(crate) fn new(runtime: &Arc<Runtime>, credentials: Option<Credentials>, address: &str) -> Self {
        let state = State { address: address.to_owned(), client: None };
        Self { runtime: Arc::clone(runtime), credentials, state: Mutex::new(state) }
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
        let why = match client.request(target, command, RequestDeadline::after(timeout)).await {
            Ok(OutboundRequestOutcome::Response(answer)) => return Ok(answer),
            Ok(OutboundRequestOutcome::Rejected(rejection)) => {
                format!("{:?}, {:?}", rejection.reason(), rejection.stage())
            }
            Ok(OutboundRequestOutcome::Contract(contract)) => format!("{:?}", contract.reason()),
            Err(error) => error.to_string(),
        };
        self.discard(&client);
        Err(NoAnswer(format!("{address}: {why}")))
    }

    fn client(&self) -> Result<(String, Arc<Client>), NoAnswer> {
        let mut state = self.state();
        let client = match &state.client {
            Some(client) => Arc::clone(client),
            None => Arc::clone(state.client.insert(self.runtime.client()?)),
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
