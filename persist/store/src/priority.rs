//! Threads of the slow path stand behind those of the fast path.
//!
//! Archiving may lag by a second without anyone noticing; a shard that waits behind it for its core is seen
//! at once. On a machine with cores to spare the difference is nothing.

/// What is added to the nice value: about a tenth of the weight of a thread that stayed at 0.
const NICE: i32 = 10;

/// Puts the calling thread, and the threads that it starts from now on, behind the others of this machine.
pub fn stand_behind() {
    if let Err(error) = rustix::process::nice(NICE) {
        tracing::warn!(%error, "a background thread keeps the priority of the fast path");
    }
}
