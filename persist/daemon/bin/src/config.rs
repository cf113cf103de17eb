//! The configuration of the persist process: its table of keys, and how they go together.

use anyhow::ensure;
use ringway_parts::sections::{MySql, Otlp, Peers, Redis, RocketMq};
use ringway_service::sections::{Admin, Log};
use ringway_service::{keys, settings};

use crate::push::Push;

/// A hundred years.
const MONTHS_MAX: u64 = 1_200;
/// A day.
const DRIFT_CHECK_S_MAX: u64 = 24 * 3_600;
/// A day.
const HOLE_ALARM_MS_MAX: u64 = 24 * 3_600_000;
/// Bytes of an owner's name.
const OWNER_BYTES_MAX: usize = 32;

settings! {
    Config of "ringway-persist" by "ringway-persist config", checked by check {
        /// This process among the others, and what is kept.
        persist { persist: Persist = Persist::default(); }

        /// Recipients who do not acknowledge: nudges at the gateways, then a push vendor.
        push { push: Push = Push::default(); }

        /// Links to the gateways.
        peers { peers: Peers = Peers::default(); }

        /// Redis: numbers, cursors and routes.
        redis { redis: Redis = Redis::default(); }

        /// MySQL or MariaDB: the archive, and the leases by which these processes share their work.
        mysql { mysql: MySql = MySql::default(); }

        /// RocketMQ: the event log.
        rocketmq { rocketmq: RocketMq = RocketMq::default(); }

        /// OpenTelemetry: traces of a few messages, exported to a collector.
        otlp { otlp: Otlp = Otlp::default(); }

        /// The admin listener.
        admin { admin: Admin = Admin::on(7482); }

        /// Logs, on standard error.
        log { log: Log = Log::json(); }
    }
}

keys! {
    /// The section `persist`.
    pub(crate) Persist {
        owner: String = String::new(), "", None, restart,
            "Name of this process, of a-z, 0-9 and \"-\", at most 32 characters; no two processes share it. Empty: the \
             host's name, cut short, and a number that is drawn at each start.";
        retention_months: u64 = 0, "months", Some((0, MONTHS_MAX)), restart,
            "Whole months of messages kept beside the current one; older tables are dropped. 0 keeps all.";
        drift_check_s: u64 = 600, "seconds", Some((0, DRIFT_CHECK_S_MAX)), restart,
            "How often one of these processes begins to compare Redis with the database, conversation by conversation, \
             and repairs what has drifted. 0: never.";
        hole_alarm_ms: u64 = 60_000, "milliseconds", Some((1_000, HOLE_ALARM_MS_MAX)), restart,
            "How long the archive may lack a number of a conversation while it has higher ones; then the hole is counted \
             and logged with the node that has the message.";
    }
}

/// Whether a text is the name of a process among others.
pub(crate) fn is_name(name: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    name.len() <= OWNER_BYTES_MAX && name.bytes().all(fits)
}

fn check(config: &Config) -> anyhow::Result<()> {
    let owner = &config.persist.owner;
    ensure!(is_name(owner), "persist.owner {owner:?} is no name of a process");
    config.push.check()?;
    config.redis.check()?;
    config.mysql.check()?;
    config.rocketmq.check()?;
    config.otlp.check()?;
    config.log.check()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringway_service::testing;

    #[test]
    fn every_key_is_explained_and_the_example_in_deploy_holds_the_defaults() {
        testing::check_table::<Config>(include_str!("../../../../deploy/config/persist.toml"));
    }

    #[test]
    fn the_files_of_the_deployments_are_configurations() {
        let deploy = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../deploy");
        for file in ["compose/ringway/persist.toml", "k8s/config/persist.toml"] {
            testing::check_file::<Config>(&format!("{deploy}/{file}"));
        }
    }

    #[test]
    fn what_does_not_go_together_is_refused() {
        fn check_refused(change: impl FnOnce(&mut Config), expected: &str) {
            testing::check_refused(change, expected);
        }
        check_refused(|config| config.persist.owner = "Persist 1".into(), "persist.owner");
        check_refused(|config| config.push.url = "x".into(), "push.url");
        check_refused(|config| config.redis.url = "x".into(), "redis.url");
        check_refused(|config| config.mysql.url = "x".into(), "mysql.url");
        check_refused(|config| config.rocketmq.topic.clear(), "rocketmq.topic");
        check_refused(|config| config.otlp.endpoint = "x".into(), "otlp.endpoint");
        check_refused(|config| config.log.level = "inof".into(), "log.level");
    }
}
