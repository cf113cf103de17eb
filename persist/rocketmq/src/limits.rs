//! Bounds of the RocketMQ adapter, by name: the reason, and what happens when one is hit.

/// Records of one batch (default). A broker writes and flushes a batch as one; past a thousand the flush costs
/// nothing any more beside the records themselves.
pub const BATCH_RECORDS_MAX: usize = 1_024;
/// Bytes of one batch (default), framing included. A broker refuses what is above its `maxMessageSize`, 4 MiB unless
/// set otherwise; smaller batches keep the others' latency.
pub const BATCH_BYTES_MAX: usize = 1024 * 1024;
/// Bytes of one record (default): what a broker with its default `maxMessageSize` takes. A call with a larger one is
/// answered `Full`, and nothing of it is written.
pub const RECORD_BYTES_MAX: usize = 4 * 1024 * 1024 - 1_024;
/// Bytes that wait for one queue while a batch is on its way (default). A call past it is answered `Full`, and
/// nothing of it is written.
pub const QUEUE_WAITING_BYTES_MAX: usize = 8 * 1024 * 1024;
/// How long a batch may take (default). Past it the batch, and all that waits for its queue, is answered
/// `Unavailable`; whether the broker has it is not known.
pub const SEND_TIMEOUT_MS: u64 = 3_000;
/// Pause before a batch goes again to a broker that was too busy to look at it, as often as the time-out allows. A
/// stock broker turns away what it could not look at for 200 ms.
pub const BUSY_PAUSE_MS: u64 = 20;
/// How long a pull without suspension, or any other request of a consumer, may take.
pub const READ_TIMEOUT_MS: u64 = 3_000;
/// How long connecting may take.
pub const CONNECT_TIMEOUT_MS: u64 = 1_000;
/// How long it may take to find out whether it is for TLS that a new connection brought no answer, as the client library
/// does not say. Past it the error does without.
pub const DIAGNOSIS_MS: u64 = 1_000;
/// How long a name server may take for a route; then the next one is asked.
pub const ROUTE_TIMEOUT_MS: u64 = 2_000;
/// While a broker is away it is asked this often whether it is back; appends fail at once meanwhile.
pub const PROBE_MS: u64 = 1_000;
/// How long a broker may take to say that it is back.
pub const PROBE_TIMEOUT_MS: u64 = 1_000;
/// Brokers are asked this often for a sign of life when all is well, as they close what is silent for two minutes;
/// and the name servers for the brokers' addresses.
pub const KEEP_ALIVE_MS: u64 = 30_000;
/// Records of one pull. A stock broker gives 32 (8 from disk) whatever is asked for.
pub const PULL_RECORDS_MAX: usize = 1_024;
/// A broker holds a waiting consumer's pull this long, and up to 5 s more, as it looks only so often. A pull that a
/// killed broker never answers is noticed when the connection breaks, or after this and [`SUSPEND_GRACE_MS`].
pub const SUSPEND_MS: u64 = 2_000;
/// See [`SUSPEND_MS`].
pub const SUSPEND_GRACE_MS: u64 = 6_000;
/// Pause after a wait that failed.
pub const WAIT_RETRY_MS: u64 = 500;
/// Pause after a wait that brought nothing: whatever a broker answers, its consumers do not ask in a tight loop.
pub const WAIT_PAUSE_MS: u64 = 20;
/// Consumed offsets are told to the broker at most this often a queue; only the highest one goes.
pub const COMMIT_MS: u64 = 1_000;
/// How long a close waits for connections and threads of the client to end.
pub const CLOSE_MS: u64 = 2_000;
/// What the client may hold in memory for requests and answers. Past it requests fail as unavailable.
pub const CLIENT_MEMORY_BYTES_MAX: u64 = 512 * 1024 * 1024;

/// What a record takes in a batch beside its bytes: five numbers of 4 bytes and one of 2.
pub(crate) const FRAME_BYTES: usize = 22;

const _: () = {
    assert!(BATCH_BYTES_MAX < RECORD_BYTES_MAX, "a batch of many is smaller than the largest record alone");
    assert!(QUEUE_WAITING_BYTES_MAX > RECORD_BYTES_MAX + FRAME_BYTES, "the largest record may wait");
    assert!(PROBE_TIMEOUT_MS <= PROBE_MS && CONNECT_TIMEOUT_MS <= PROBE_MS);
    assert!(SUSPEND_GRACE_MS > 5_000, "a stock broker looks at held pulls every 5 s");
    assert!(KEEP_ALIVE_MS * 3 < 120_000, "well within a broker's idle limit");
};
