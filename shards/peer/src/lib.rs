//! Links between nodes over TCP: gateway to gateway, and from the persist daemon and the API to gateways.
//!
//! A process that has something to say opens a link ([`PeerLinks`]); a gateway listens ([`PeerServer`]). A link
//! carries one-way [`Word`]s, which may be lost, and [`Ask`]s, which are answered or fail in time. Words of one link
//! are heard in the order said. [`RemoteGateways`] is the port of daemon and API to all gateways.
//!
//! Both ends prove that they hold the shared key, and every frame after that carries a tag that nobody else can
//! make. Nothing is encrypted: see the README.
//!
//! All of it runs on tokio, never on a shard.

mod backoff;
mod body;
mod connection;
mod convert;
mod counters;
mod debts;
mod error;
mod frame;
mod greet;
mod hello;
mod key;
mod limits;
mod link;
mod links;
mod open;
mod queue;
mod quiet;
mod remote;
mod seal;
mod server;
mod stream;
mod sync;
mod trace;
mod words;

pub use counters::{LinkCounters, ServerCounters};
pub use error::{KeyError, PeerError};
pub use key::PeerKey;
pub use limits::PeerLimits;
pub use links::PeerLinks;
pub use remote::RemoteGateways;
pub use server::{PeerHandler, PeerServer};
pub use words::{Ask, Deliver, DeliverItem, Reply, TransientPush, TransientTo, Word};
