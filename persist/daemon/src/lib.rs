//! Consumes the event log: numbers, archives, keeps cursors and offline queues.
