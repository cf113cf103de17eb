//! The I/O layer of a shard: io_uring runtime, sockets, mailboxes, TLS.
