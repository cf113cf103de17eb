//! End-to-end tests with real processes, and the history checker.
