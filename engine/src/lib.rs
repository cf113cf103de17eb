//! The instant-messaging engine: bytes, events and `now` go in, packets and effects come out.
//!
//! Nothing here opens a socket, reads a clock or draws a random number: time and seeds are
//! arguments, and what has to happen outside is returned as data. The gateway, the persist daemon,
//! the tests and the fuzz targets all drive this same code. `README.md` is the map.

mod by_conversation;
pub mod catchup;
pub mod conversation;
pub mod dedup;
pub mod delivery;
pub mod devices;
pub mod effect;
pub mod errors;
pub mod event;
pub mod ids;
pub mod limits;
pub mod names;
pub mod packet;
pub mod reorder;
pub mod session;
pub mod snowflake;
pub mod timer;
pub mod websocket;
