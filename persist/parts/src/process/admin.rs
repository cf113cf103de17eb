//! The admin listener of a process: it answers from the process's first moment to its last.

use std::sync::Arc;

use anyhow::{Context as _, ensure};
use ringway_api::{Admin, ServeLimits, admin_router, serve};
use ringway_service::machine::reachable;
use ringway_service::sections::Admin as Keys;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::Surroundings;
use crate::sections::secret;

/// The listener and its task.
pub(super) struct Listener {
    /// Where it is reached from here.
    pub(super) url: String,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Listener {
    /// Listens and answers.
    ///
    /// # Errors
    /// The address cannot be listened on, or the file of the secret not be read.
    pub(super) async fn start(keys: &Keys, around: &Surroundings) -> anyhow::Result<Self> {
        let address = keys.listen;
        let token = secret("admin.secret_file", keys.secret_file.as_ref())?;
        ensure!(token.as_deref() != Some(""), "admin.secret_file: there is nothing in it");
        let listening = || format!("cannot listen on {address} (admin.listen)");
        let listener = TcpListener::bind(address).await.with_context(listening)?;
        let url = format!("http://{}", reachable(listener.local_addr()?));
        let [judged, measured, asked] = [&around.board; 3].map(Arc::clone);
        let admin = Arc::new(Admin {
            gateways: Arc::clone(&around.gateways),
            archive: Arc::clone(&around.archive),
            not_ready: Box::new(move || judged.reasons()),
            hops: Box::new(move |msg_id| asked.hops(msg_id)),
            metrics: Box::new(move || measured.measures()),
            requests: Arc::clone(&around.requests),
            token,
        });
        let (stop, mut stopped) = watch::channel(false);
        let told = async move {
            // A sender that is gone can tell nobody to stop: that is a stop too.
            let _ = stopped.wait_for(|stopped| *stopped).await;
        };
        let task = tokio::spawn(serve(listener, admin_router(&admin), ServeLimits::default(), told));
        Ok(Self { url, stop, task })
    }

    /// Waits until it ends by itself, which it has no business to.
    pub(super) async fn ended(&mut self) {
        // How it ended is told by whoever waits.
        let _ = (&mut self.task).await;
    }

    /// Finishes what is being answered, and ends.
    pub(super) async fn stop(self) {
        self.stop.send_replace(true);
        // One that has ended by itself was told before.
        let _ = self.task.await;
    }
}
