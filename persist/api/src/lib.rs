//! The HTTP API: accounts, groups, conversations, history, health.
