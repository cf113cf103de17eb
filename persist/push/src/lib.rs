//! Reminds recipients who do not acknowledge: first the gateways that hold their devices, then a push vendor.
//!
//! ```text
//!  archived batch ──► recipients ──► book ──nudge_after_ms, not acknowledged──► nudge at the gateways
//!                                      │
//!                                      └──push_after_ms, still not──► vendor push, once while it stays unread
//! ```
//!
//! All of it is best effort, bounded and in memory: what is dropped, or lost with its process, the recipient finds at
//! the next connect. [`Reminders`] is the way in; [`HttpVendor`] is a vendor that takes notices by HTTP.

mod book;
mod config;
mod http;
pub mod limits;
mod metrics;
mod pusher;
mod recipients;
mod reminders;

pub use config::RemindersConfig;
pub use http::{HttpVendor, HttpVendorConfig, HttpVendorError};
pub use reminders::{Reminders, RemindersPorts};
