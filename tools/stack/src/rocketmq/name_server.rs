//! The name server: where clients ask which broker has a topic.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::broker;
use super::java::{Classes, Program};
use super::remoting::{self, Code, Door};
use super::tls::RocketMqTls;
use crate::server::Plan;

const PROGRAM: Program<'_> = Program {
    main: "org.apache.rocketmq.namesrv.NamesrvStartup",
    memory: &["-Xms32m", "-Xmx128m"],
    properties: "namesrv.properties",
};

/// How a name server is started.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct NameServerPlan {
    pub(super) folder: PathBuf,
    pub(crate) port: u16,
    /// Of the broker that registers with it.
    pub(super) broker_port: u16,
    /// Whether that one has access control.
    #[serde(default)]
    pub(super) broker_has_access_control: bool,
    #[serde(default)]
    pub(super) tls: Option<RocketMqTls>,
    pub(super) classes: Classes,
}

impl Plan for NameServerPlan {
    fn name(&self) -> &str {
        "namesrv"
    }

    fn folder(&self) -> &Path {
        &self.folder
    }

    fn prepare(&self) -> Result<()> {
        let properties = [
            ("bindAddress", "127.0.0.1".to_owned()),
            ("listenPort", self.port.to_string()),
            ("rocketmqHome", self.folder.display().to_string()),
            ("kvConfigPath", self.folder.join("kvConfig.json").display().to_string()),
            // Else it dials itself on the machine's own address, where it does not listen.
            ("scanAvailableNameSrv", "false".to_owned()),
        ];
        PROGRAM.write(&self.folder, &properties)
    }

    fn command(&self) -> Result<Command> {
        PROGRAM.command(&self.folder, &self.classes, self.tls.as_ref())
    }

    fn ask(&self, _pid: u32) -> Result<()> {
        // Any answer will do: it knows no topic before a broker came.
        let door = Door { account: None, tls: self.tls.clone() };
        remoting::request(self.port, &door, Code::Route, &[("topic", "none")], b"")?;
        // It forgets all topics when it ends; a broker that runs tells them again. One that does not run, or not yet,
        // does so when it starts.
        let door = Door { account: broker::account(self.broker_has_access_control), ..door };
        let _ = broker::register(self.broker_port, &door);
        Ok(())
    }
}
