//! Limits of the process: descriptors and locked memory.

use rustix::process::{Resource, getrlimit};

use super::finding::{Finding, bytes};
use crate::config::Config;

/// Descriptors a node needs besides its connections: stores, log, HTTP, and some for each shard.
const OWN: u64 = 256;
const OWN_PER_SHARD: u64 = 16;
/// Below this much locked memory the journal's rings may be refused.
const MEMLOCK_MIN: u64 = 2 * 1024 * 1024;
/// What common set-ups allow.
const MEMLOCK_GOOD: u64 = 8 * 1024 * 1024;

/// The hard limit counts: a node raises its soft limit to it.
pub(super) fn descriptors(config: &Config) -> Finding {
    let maximum = getrlimit(Resource::Nofile).maximum;
    judge_descriptors(maximum, config.gateway.shard_count() as u64, config.gateway.connections_max)
}

fn judge_descriptors(maximum: Option<u64>, shards: u64, connections_max: u64) -> Finding {
    let name = "descriptors";
    let Some(maximum) = maximum else { return Finding::ok(name, "unlimited") };
    let own = OWN + OWN_PER_SHARD * shards;
    let carried = maximum.saturating_sub(own);
    if carried == 0 {
        Finding::fail(name, format!("{maximum} are too few: set LimitNOFILE= in the unit file, or `ulimit -Hn`"))
    } else if carried < connections_max {
        let text = format!(
            "{maximum} carry about {carried} connections, gateway.connections_max is {connections_max}: raise \
             LimitNOFILE= in the unit file, or lower the key so that more are refused in order"
        );
        Finding::warn(name, text)
    } else {
        Finding::ok(name, format!("{maximum} for {connections_max} connections"))
    }
}

pub(super) fn memlock() -> Finding {
    judge_memlock(getrlimit(Resource::Memlock).current)
}

fn judge_memlock(current: Option<u64>) -> Finding {
    let name = "memlock";
    match current {
        None => Finding::ok(name, "unlimited"),
        Some(current) if current >= MEMLOCK_GOOD => Finding::ok(name, bytes(current)),
        Some(current) if current >= MEMLOCK_MIN => {
            Finding::warn(name, format!("{} is little: set LimitMEMLOCK=8M in the unit file", bytes(current)))
        }
        Some(current) => {
            Finding::fail(name, format!("{} is too little: set LimitMEMLOCK=8M in the unit file", bytes(current)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::Level;
    use super::*;

    #[test]
    fn descriptors_are_judged_by_the_connections_they_carry() {
        let check = |maximum, connections, level| {
            assert_eq!(judge_descriptors(maximum, 2, connections).level, level, "{maximum:?} {connections}");
        };
        check(None, 1_000_000, Level::Ok);
        check(Some(20_000), 10_000, Level::Ok);
        check(Some(20_000), 1_000_000, Level::Warn);
        check(Some(128), 10, Level::Fail);
    }

    #[test]
    fn locked_memory_is_judged_by_what_the_rings_take() {
        let check = |current, level| assert_eq!(judge_memlock(current).level, level, "{current:?}");
        check(None, Level::Ok);
        check(Some(8 << 20), Level::Ok);
        check(Some(4 << 20), Level::Warn);
        check(Some(64 << 10), Level::Fail);
    }
}
