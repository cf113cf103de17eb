//! The epoch that this process works under, and how it finds the next one.
//!
//! ```text
//!   unknown ──settle──► working under E ──a script answers "fence", a new connection, SQL has moved on──► settle
//!
//!   settle: read the current epoch of SQL and the identities of the masters
//!     every master recorded for the epoch, and marked ──► work under it
//!     recorded, but not marked (the winner is marking; or flushed) ──► wait a moment, then as below
//!     otherwise ──► take the next epoch by compare-and-set;
//!                     won:  mark each server (each slot) for it, work under it
//!                     lost: look again
//! ```
//!
//! Nothing is numbered on a connection before its server was compared; and as a connection may break and be
//! made anew between that and the call, the script compares once more, on the server, in one step with the
//! numbering: the marker names epoch and server, and only the winner of the epoch writes it, once.
//!
//! One task settles at a time, the others wait for what it finds. A dropped `settle` leaves at worst an
//! epoch without markers, which the next one passes by.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use fred::types::Value;
use ringway_store::ports::{Advanced, Epoch, Epochs, StoreError};
use tokio::sync::Notify;

use crate::connection::{Connection, Master};
use crate::limits::{CLUSTER_MARKING_MS_MAX, EPOCH_CHANGES_MAX, MARKING_MS_MAX};
use crate::script::{INSTALL, SERVES};
use crate::together::together;

/// Pause between two looks at a marker that is being written.
const MARKING_PAUSE: Duration = Duration::from_millis(20);

/// The epoch that calls are made under.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Working {
    pub(crate) epoch: u64,
    pub(crate) started_ms: u64,
    /// Connection on which the servers were compared.
    generation: u64,
}

/// See the module's doc.
pub(crate) struct Fence {
    epochs: Arc<dyn Epochs>,
    working: RwLock<Option<Working>>,
    settling: tokio::sync::Mutex<()>,
    /// Told whenever the epoch has changed.
    pub(crate) changed: Notify,
}

impl Fence {
    pub(crate) fn new(epochs: Arc<dyn Epochs>) -> Self {
        Self { epochs, working: RwLock::new(None), settling: tokio::sync::Mutex::new(()), changed: Notify::new() }
    }

    /// The epoch to work under; settles first if the connection is new.
    pub(crate) async fn working(&self, connection: &Connection) -> Result<Working, StoreError> {
        match self.held().filter(|working| working.generation == connection.generation()) {
            Some(working) => Ok(working),
            None => self.settle(connection, None).await,
        }
    }

    /// The epoch worked under, if it is known, whatever became of the connection.
    pub(crate) fn held(&self) -> Option<Working> {
        *self.working.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks whether SQL has moved on.
    pub(crate) async fn poll(&self, connection: &Connection) -> Result<(), StoreError> {
        let Some(held) = self.held() else { return Ok(()) };
        if self.epochs.current().await?.number != held.epoch {
            self.settle(connection, None).await?;
        }
        Ok(())
    }

    /// Whether what was read without a fence, of these conversations and users, came from servers that serve the epoch:
    /// they still do. If not, the next epoch is settled, and it is to be read again.
    pub(crate) async fn confirm<'a>(
        &self,
        connection: &Connection,
        working: Working,
        of: impl Iterator<Item = &'a str>,
    ) -> Result<bool, StoreError> {
        let markers = connection.markers(of);
        let calls = markers.iter().map(|marker| serves(connection, marker, working.epoch)).collect();
        let serving: Vec<bool> = together(calls).await?;
        match markers.iter().zip(serving).find(|(_, serves)| !serves) {
            None => Ok(true),
            Some((marker, _)) => {
                self.settle(connection, Some((working.epoch, marker))).await?;
                Ok(false)
            }
        }
    }

    /// Finds the epoch to work under. `refused`: the epoch and the marker of a call that the server fenced.
    pub(crate) async fn settle(
        &self,
        connection: &Connection,
        refused: Option<(u64, &str)>,
    ) -> Result<Working, StoreError> {
        let _one = self.settling.lock().await;
        if let (Some(held), Some((epoch, _))) = (self.held(), refused)
            && held.epoch > epoch
            && held.generation == connection.generation()
        {
            // Somebody settled it meanwhile.
            return Ok(held);
        }
        for _ in 0..EPOCH_CHANGES_MAX {
            let generation = connection.generation();
            let current = self.epochs.current().await?;
            let masters = connection.masters().await?;
            let recorded = masters.iter().all(|master| current.server.contains(&master.identity));
            let fenced = refused.filter(|(epoch, _)| *epoch >= current.number);
            let serves = recorded
                && match fenced {
                    None => true,
                    Some((_, marker)) => marked(connection, marker, current.number).await?,
                };
            if serves {
                return Ok(self.adopt(&current, generation));
            }
            if let Advanced::Won(epoch) = self.epochs.advance(current.number, &list(&masters)).await? {
                tracing::warn!(
                    epoch = epoch.number,
                    server = epoch.server,
                    before = current.server,
                    "took a new epoch"
                );
                install(connection, epoch.number, &masters).await?;
                return Ok(self.adopt(&epoch, generation));
            }
        }
        Err(StoreError::new("redis", "the epoch changes faster than it can be followed"))
    }

    /// The memory of a server that serves this epoch was found set back: takes the next one, if this one is current
    /// still. False when it is over already.
    pub(crate) async fn renew(&self, connection: &Connection, epoch: u64) -> Result<bool, StoreError> {
        let _one = self.settling.lock().await;
        let generation = connection.generation();
        let masters = connection.masters().await?;
        let Advanced::Won(next) = self.epochs.advance(epoch, &list(&masters)).await? else { return Ok(false) };
        tracing::warn!(epoch = next.number, server = next.server, "took a new epoch: numbers had drifted");
        install(connection, next.number, &masters).await?;
        self.adopt(&next, generation);
        Ok(true)
    }

    fn adopt(&self, epoch: &Epoch, generation: u64) -> Working {
        let working = Working { epoch: epoch.number, started_ms: epoch.started_ms, generation };
        let before = self.working.write().unwrap_or_else(PoisonError::into_inner).replace(working);
        if before.is_some_and(|before| before.epoch != working.epoch) {
            self.changed.notify_one();
        }
        working
    }
}

/// What is recorded for an epoch: the identities, sorted.
fn list(masters: &[Master]) -> String {
    let mut identities: Vec<&str> = masters.iter().map(|master| master.identity.as_str()).collect();
    identities.sort_unstable();
    identities.join(",")
}

/// Whether the server of this marker is marked, or is within the time that its winner has for it.
async fn marked(connection: &Connection, marker: &str, epoch: u64) -> Result<bool, StoreError> {
    let limit_ms = if connection.slots().is_empty() { MARKING_MS_MAX } else { CLUSTER_MARKING_MS_MAX };
    let until = Instant::now() + Duration::from_millis(limit_ms);
    loop {
        if serves(connection, marker, epoch).await? {
            return Ok(true);
        }
        if Instant::now() >= until {
            return Ok(false);
        }
        tokio::time::sleep(MARKING_PAUSE).await;
    }
}

async fn serves(connection: &Connection, marker: &str, epoch: u64) -> Result<bool, StoreError> {
    let answer = connection.call(&SERVES, vec![marker.to_owned()], vec![text(epoch)]).await?;
    Ok(answer.as_u64() == Some(1))
}

async fn mark(connection: &Connection, epoch: u64, marker: String, replication_id: &str) -> Result<(), StoreError> {
    let arguments = vec![text(epoch), Value::from(replication_id)];
    match connection.call(&INSTALL, vec![marker], arguments).await?.as_u64() {
        Some(1) => Ok(()),
        _ => Err(StoreError::new("redis", format!("a server changed while it was marked for epoch {epoch}"))),
    }
}

async fn install(connection: &Connection, epoch: u64, masters: &[Master]) -> Result<(), StoreError> {
    let slots = connection.slots();
    if let (true, [master]) = (slots.is_empty(), masters) {
        return mark(connection, epoch, connection.keys.server_marker(), &master.replication_id).await;
    }
    let owner = |server| masters.iter().find(|master| master.server.as_ref() == Some(server));
    // A slot whose master is away stays unmarked: it is not in the epoch.
    let marks = slots.iter().filter_map(|(slot, server)| Some((connection.keys.slot_marker(*slot), owner(server)?)));
    let marks = marks.map(|(marker, master)| mark(connection, epoch, marker, &master.replication_id)).collect();
    together(marks).await.map(drop)
}

/// A number as Redis and Lua take it.
pub(crate) fn text(number: u64) -> Value {
    Value::from(number.to_string())
}
