//! How long a thread may keep a core that it shares.
//!
//! The archive's thread works in turns of many milliseconds. On a core that it shares with a shard or the
//! journal, a message that comes meanwhile would wait for the end of its slice, which on a common machine
//! is the next tick of the clock, 4 ms away. With short slices it waits for a fraction of one.

use std::io;

/// The slice that [`take_short_turns`] asks for.
const SLICE_NS: u64 = 300_000;

/// Asks for short slices for the calling thread and the threads that it starts from now on (sched(7); Linux
/// 6.12 and later, of no effect before). A thread under another policy than the usual one was given it on
/// purpose and keeps it.
///
/// # Errors
/// What the kernel said.
pub fn take_short_turns() -> io::Result<()> {
    let mut attributes = attributes()?;
    if attributes.sched_policy != libc::SCHED_OTHER as u32 {
        return Ok(());
    }
    attributes.sched_runtime = SLICE_NS;
    // SAFETY: the attributes are initialised, tell their size, and outlive the call, which only reads them;
    // 0 is the calling thread, and there are no flags.
    let result = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0) };
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// The calling thread's policy, nice value and slice.
fn attributes() -> io::Result<libc::sched_attr> {
    let size = size_of::<libc::sched_attr>() as u32;
    let mut attributes = libc::sched_attr {
        size,
        sched_policy: 0,
        sched_flags: 0,
        sched_nice: 0,
        sched_priority: 0,
        sched_runtime: 0,
        sched_deadline: 0,
        sched_period: 0,
    };
    // SAFETY: the kernel writes at most `size` bytes, which is what the structure has; 0 is the calling
    // thread, and there are no flags.
    let result = unsafe { libc::syscall(libc::SYS_sched_getattr, 0, &raw mut attributes, size, 0) };
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(attributes) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_hands_its_slice_on_and_keeps_its_nice_value() {
        std::thread::spawn(|| {
            rustix::process::nice(3).unwrap();
            take_short_turns().unwrap();
            let inherited = std::thread::spawn(|| attributes().unwrap()).join().unwrap();
            assert_eq!((inherited.sched_policy, inherited.sched_nice), (libc::SCHED_OTHER as u32, 3));
            // Before Linux 6.12 there is nothing to be told.
            assert!([0, SLICE_NS].contains(&inherited.sched_runtime), "{}", inherited.sched_runtime);
        })
        .join()
        .unwrap();
    }
}
