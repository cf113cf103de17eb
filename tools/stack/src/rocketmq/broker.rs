//! The broker: a primary alone, which flushes each append to disk before it answers.
//!
//! It takes `port` and `port - 2`. It registers its topics by itself only 10 s after a start, and 30 s after the name
//! server's; told to change its permission, to what it is anyway, it does so at once. So it serves when the name server
//! knows its topics.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};

use super::access::{self, Account, RocketMqUser};
use super::java::{Classes, Program};
use super::remoting::{self, Answer, Code, Door};
use super::tls::RocketMqTls;
use crate::server::Plan;

const PROGRAM: Program<'_> = Program {
    main: "org.apache.rocketmq.broker.BrokerStartup",
    memory: &["-Xms64m", "-Xmx256m", "-XX:MaxDirectMemorySize=512m"],
    properties: "broker.properties",
};
/// The cluster's name, which is a key of the client's administrative calls.
pub(super) const CLUSTER: &str = "ringway";
/// What we sign with where there is access control: the broker lives no longer than its test.
const SECRET: &str = "ringway-stack";
/// Reading and writing.
const PERMISSION: &str = "6";

/// Settings that do not depend on the folder or the port. Small files, since a new folder is the common case; pulls
/// that end soon, so that a consumer stops quickly; and what a test would wait for is done every second.
const FIXED: &[(&str, &str)] = &[
    ("brokerClusterName", CLUSTER),
    ("brokerName", "broker-a"),
    ("brokerId", "0"),
    ("brokerRole", "ASYNC_MASTER"),
    ("bindAddress", "127.0.0.1"),
    ("brokerIP1", "127.0.0.1"),
    ("brokerIP2", "127.0.0.1"),
    ("flushDiskType", "SYNC_FLUSH"),
    ("autoCreateTopicEnable", "false"),
    ("autoCreateSubscriptionGroup", "true"),
    ("traceTopicEnable", "false"),
    ("mappedFileSizeCommitLog", "67108864"),
    ("mappedFileSizeConsumeQueue", "600000"),
    ("mappedFileSizeTimerLog", "1048576"),
    ("timerWheelEnable", "false"),
    ("enableCompaction", "false"),
    ("maxHashSlotNum", "50000"),
    ("maxIndexNum", "200000"),
    // A disk that others have filled is no reason to delete what nobody has read, or to take nothing more.
    ("cleanFileForciblyEnable", "false"),
    ("diskMaxUsedSpaceRatio", "95"),
    ("diskSpaceWarningLevelRatio", "99"),
    ("reviveQueueNum", "1"),
    ("flushConsumerOffsetInterval", "1000"),
    ("longPollingEnable", "false"),
    ("shortPollingTimeMills", "500"),
    ("consumerManageThreadPoolNums", "1"),
];

/// How a broker is started.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct BrokerPlan {
    pub(super) folder: PathBuf,
    pub(crate) port: u16,
    /// The port that replication would have; nobody listens there.
    pub(super) replication_port: u16,
    pub(super) name_server_port: u16,
    /// Names and counts of queues.
    pub(super) topics: Vec<(String, u16)>,
    /// Who may use it; nobody: there is no access control.
    #[serde(default)]
    pub(super) users: Vec<RocketMqUser>,
    #[serde(default)]
    pub(super) tls: Option<RocketMqTls>,
    pub(super) classes: Classes,
}

impl BrokerPlan {
    /// Makes a topic, or changes its count of queues.
    pub(super) fn create_topic(&self, topic: &str, queues: u16) -> Result<()> {
        let queues = queues.to_string();
        let fields = [
            ("topic", topic),
            ("defaultTopic", "TBW102"),
            ("readQueueNums", &queues),
            ("writeQueueNums", &queues),
            ("perm", PERMISSION),
            ("topicFilterType", "SINGLE_TAG"),
            ("topicSysFlag", "0"),
            ("order", "false"),
        ];
        let answer = self.request(Code::UpdateTopic, &fields, b"")?;
        if answer.code != 0 {
            bail!("topic {topic} was refused with {}: {}", answer.code, answer.remark);
        }
        Ok(())
    }

    /// How many queues of a topic the name server sends clients to; fails unless it sends them to this broker.
    pub(super) fn queues(&self, topic: &str) -> Result<u16> {
        let door = Door { account: None, tls: self.tls.clone() };
        let answer = remoting::request(self.name_server_port, &door, Code::Route, &[("topic", topic)], b"")?;
        let address = format!("\"127.0.0.1:{}\"", self.port);
        let route = String::from_utf8_lossy(&answer.body);
        if answer.code != 0 || !route.contains(&address) {
            bail!("topic {topic} does not route yet");
        }
        // Almost JSON: the numbers that are keys have no quotes. With one broker, the count stands there once.
        let count = route.split_once("\"writeQueueNums\":").context("a route without a count of queues")?.1;
        let digits = count.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(count.len());
        Ok(count.get(..digits).unwrap_or_default().parse()?)
    }

    fn account(&self) -> Option<Account> {
        account(!self.users.is_empty())
    }

    fn door(&self) -> Door {
        Door { account: self.account(), tls: self.tls.clone() }
    }

    fn request(&self, code: Code, fields: &[(&str, &str)], body: &[u8]) -> Result<Answer> {
        remoting::request(self.port, &self.door(), code, fields, body)
    }

    /// Whether it answers a request; the name server knows nothing of a broker that is stopped where it is.
    fn answers(&self) -> Result<()> {
        let answer = self.request(Code::BrokerConfig, &[], b"")?;
        if answer.code != 0 {
            bail!("it answers with {}: {}", answer.code, answer.remark);
        }
        Ok(())
    }
}

/// Who we are to a broker that has access control.
pub(super) fn account(has_access_control: bool) -> Option<Account> {
    has_access_control.then(|| Account { name: CLUSTER.to_owned(), secret: SECRET.to_owned() })
}

/// Has the broker on a port register its topics with its name server now.
pub(super) fn register(port: u16, door: &Door) -> Result<()> {
    let body = format!("brokerPermission={PERMISSION}");
    let answer = remoting::request(port, door, Code::UpdateBrokerConfig, &[], body.as_bytes())?;
    if answer.code != 0 {
        bail!("it does not register its topics: {}", answer.remark);
    }
    Ok(())
}

impl Plan for BrokerPlan {
    fn name(&self) -> &str {
        "broker"
    }

    fn folder(&self) -> &Path {
        &self.folder
    }

    fn prepare(&self) -> Result<()> {
        let store = self.folder.join("store");
        let mut properties: Vec<(&str, String)> =
            FIXED.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        properties.extend([
            ("namesrvAddr", format!("127.0.0.1:{}", self.name_server_port)),
            ("listenPort", self.port.to_string()),
            ("haListenPort", self.replication_port.to_string()),
            ("rocketmqHome", self.folder.display().to_string()),
            ("storePathRootDir", store.display().to_string()),
            ("storePathCommitLog", store.join("commitlog").display().to_string()),
        ]);
        if let Some(account) = self.account() {
            properties.extend(access::settings(&account));
        }
        PROGRAM.write(&self.folder, &properties)
    }

    fn command(&self) -> Result<Command> {
        PROGRAM.command(&self.folder, &self.classes, self.tls.as_ref())
    }

    fn ask(&self, _pid: u32) -> Result<()> {
        self.answers()?;
        for user in &self.users {
            access::make(self.port, &self.door(), user)?;
        }
        if self.topics.iter().all(|(topic, _)| self.queues(topic).is_ok()) {
            return Ok(());
        }
        register(self.port, &self.door())?;
        for (topic, queues) in &self.topics {
            if self.queues(topic).is_err() {
                self.create_topic(topic, *queues)?;
                self.queues(topic)?;
            }
        }
        Ok(())
    }
}
