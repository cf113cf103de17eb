//! Bounds of reminders, by name: the reason, and what happens when one is hit.

/// A recipient that has not acknowledged a message this long after it was taken is nudged (default).
pub const NUDGE_AFTER_MS: u64 = 3_000;
/// A recipient that has still not acknowledged it gets a vendor push (default).
pub const PUSH_AFTER_MS: u64 = 10_000;
/// Members of a group that are reminded one by one (default); larger groups are not reminded at all.
pub const GROUP_WRITE_FANOUT_MAX: u64 = 500;
/// Archived messages that wait to be looked at. Past it they are dropped, and nobody is reminded of them.
pub const NOTED_MAX: usize = 65_536;
/// Recipients and conversations that are waited for, one entry each whatever the number of messages. Past it those
/// that were pushed longest ago are forgotten, and may be pushed again; when there are none, new ones are dropped, and
/// nobody is reminded of them.
pub const WAITING_MAX: usize = 200_000;
/// An entry that was pushed is kept this long to hold back further pushes; then it is forgotten.
pub const PUSHED_KEPT_MS: u64 = 24 * 3_600_000;
/// A message that was taken longer ago reminds nobody: a queue that is read again for repair does not wake everybody
/// who has been away for weeks.
pub const REMINDED_MS: u64 = 24 * 3_600_000;
/// Users whose cursors are read at once: what reminders may ask of the state and of SQL, half of the connections that
/// a process has by default, so that the archive never waits for long. The rest wait.
pub const CHECKS_AT_ONCE: usize = 8;
/// After a look that failed the next one is this much later.
pub const CHECK_RETRY_MS: u64 = 2_000;
/// Due entries are looked for this often.
pub const TICK_MS: u64 = 200;
/// Notices that wait for the vendor. Past it new ones are dropped.
pub const PUSHES_WAITING_MAX: usize = 10_000;
/// Notices handed to the vendor at once.
pub const PUSHES_AT_ONCE: usize = 32;
/// Times that a notice is handed over before it is given up.
pub const PUSH_TRIES_MAX: u32 = 5;
/// Pause before the second try; it doubles.
pub const PUSH_RETRY_MS: u64 = 500;
/// How long an HTTP vendor may take to answer (default).
pub const HTTP_TIMEOUT_MS: u64 = 5_000;
/// Groups whose members are remembered, and users whose accounts are. Past it all are forgotten, and read again.
pub const GROUPS_REMEMBERED_MAX: usize = 10_000;
/// How long they are believed.
pub const GROUP_MEMBERS_MS: u64 = 30_000;
/// Members read from the directory at once.
pub const MEMBERS_AT_ONCE: usize = 500;

const _: () = {
    assert!(NUDGE_AFTER_MS + 2 * TICK_MS < PUSH_AFTER_MS, "a nudge has time to help");
    assert!(PUSH_AFTER_MS < REMINDED_MS);
    assert!(PUSHES_AT_ONCE < PUSHES_WAITING_MAX);
    assert!(GROUP_WRITE_FANOUT_MAX < WAITING_MAX as u64);
};
