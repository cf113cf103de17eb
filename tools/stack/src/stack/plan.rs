//! Any server's plan, as it is written into the state file.

use std::path::Path;
use std::process::Command;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use crate::deployment::NodePlan;
use crate::mariadb::MariaDbPlan;
use crate::redis::RedisPlan;
use crate::rocketmq::{BrokerPlan, NameServerPlan};
use crate::sentinel::SentinelPlan;
use crate::server::Plan;

/// One of the sorts of servers.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum AnyPlan {
    NameServer(NameServerPlan),
    Broker(BrokerPlan),
    Redis(RedisPlan),
    Sentinel(SentinelPlan),
    MariaDb(MariaDbPlan),
    Node(NodePlan),
}

impl AnyPlan {
    /// The plan, if it is Redis'.
    pub(super) fn as_redis(&self) -> Option<&RedisPlan> {
        if let Self::Redis(plan) = self { Some(plan) } else { None }
    }

    /// The plan, if it is a sentinel's.
    pub(super) fn as_sentinel(&self) -> Option<&SentinelPlan> {
        if let Self::Sentinel(plan) = self { Some(plan) } else { None }
    }

    /// The plan, if it is one of Ringway's own processes.
    pub(super) fn as_node(&self) -> Option<&NodePlan> {
        if let Self::Node(plan) = self { Some(plan) } else { None }
    }

    fn inner(&self) -> &dyn Plan {
        match self {
            Self::NameServer(plan) => plan,
            Self::Broker(plan) => plan,
            Self::Redis(plan) => plan,
            Self::Sentinel(plan) => plan,
            Self::MariaDb(plan) => plan,
            Self::Node(plan) => plan,
        }
    }
}

impl Plan for AnyPlan {
    fn name(&self) -> &str {
        self.inner().name()
    }

    fn folder(&self) -> &Path {
        self.inner().folder()
    }

    fn prepare(&self) -> Result<()> {
        self.inner().prepare()
    }

    fn command(&self) -> Result<Command> {
        self.inner().command()
    }

    fn ask(&self, pid: u32) -> Result<()> {
        self.inner().ask(pid)
    }
}
