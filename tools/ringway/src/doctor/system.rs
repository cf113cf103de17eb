//! Kernel, io_uring, cores and clock.

use std::time::{Duration, SystemTime};

use ringway_engine::snowflake::EPOCH_MS;

use super::finding::Finding;
use crate::clock::unix_ms;
use crate::config::Config;

/// The oldest kernel with everything a shard's ring uses.
const KERNEL_MIN: (u32, u32) = (6, 1);
/// How far the newest file may seem to lie in the future.
const AHEAD_S: u64 = 60;

pub(super) fn kernel() -> Finding {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let release = release.trim();
    if version(release).is_some_and(|found| found >= KERNEL_MIN) {
        Finding::ok("kernel", release)
    } else {
        let (major, minor) = KERNEL_MIN;
        Finding::fail("kernel", format!("{release:?} is too old: use Linux {major}.{minor} or newer"))
    }
}

fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

pub(super) fn io_uring() -> Finding {
    match ringway_ring::runtime::check_support() {
        Ok(support) => Finding::ok("io_uring", format!("allowed, with {}", support.flags.join(" and "))),
        Err(unsupported) => Finding::fail("io_uring", format!("{}. {}", unsupported.reason, unsupported.remedy)),
    }
}

pub(super) fn cores(config: &Config) -> Finding {
    let usable = std::thread::available_parallelism().map_or(1, usize::from);
    let shards = config.gateway.shard_count();
    let text = format!("{usable} usable, {shards} shards");
    if shards > usable {
        Finding::warn("cores", format!("{text}: shards that share a core wait for each other; lower gateway.shards"))
    } else {
        Finding::ok("cores", text)
    }
}

/// Message ids hold the time since 2024 and must rise over restarts.
pub(super) fn clock(config: &Config) -> Finding {
    if unix_ms() < EPOCH_MS {
        return Finding::fail("clock", "it stands before 2024: set it, and keep it with NTP");
    }
    let newest = newest_change(config);
    let ahead = newest.and_then(|changed| changed.duration_since(SystemTime::now()).ok()).unwrap_or(Duration::ZERO);
    if ahead.as_secs() > AHEAD_S {
        let seconds = ahead.as_secs();
        Finding::warn(
            "clock",
            format!("the data folder was changed {seconds} s in the future: set the clock, keep it with NTP"),
        )
    } else {
        Finding::ok("clock", "plausible; keep it with NTP")
    }
}

fn newest_change(config: &Config) -> Option<SystemTime> {
    let entries = std::fs::read_dir(&config.data.folder).ok()?;
    entries.filter_map(|entry| entry.ok()?.metadata().ok()?.modified().ok()).max()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_read_up_to_their_second_number() {
        let check = |release, expected| assert_eq!(version(release), expected, "{release}");
        check("6.18.0-1-amd64", Some((6, 18)));
        check("5.10.0", Some((5, 10)));
        check("6.1", Some((6, 1)));
        check("", None);
        assert!((5, 19) < KERNEL_MIN && (6, 10) > KERNEL_MIN);
    }
}
