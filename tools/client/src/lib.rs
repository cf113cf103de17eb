//! The Rust SDK: reconnect, resume, resend, store by sequence.
