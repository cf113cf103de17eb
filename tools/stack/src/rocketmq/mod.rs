//! Apache RocketMQ: a name server and one broker, with the topics of the event log.
//!
//! Both are servers of their own: a test may kill, pause and restart one of them.

mod access;
mod artefacts;
mod broker;
mod java;
mod name_server;
mod remoting;
mod tls;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;

pub use self::access::RocketMqUser;
pub use self::broker::BrokerPlan;
use self::java::Classes;
pub use self::name_server::NameServerPlan;
pub use self::tls::RocketMqTls;
use crate::folder::Folder;
use crate::ports::{self, Reserved};
use crate::process::Life;
use crate::server::Server;
use crate::wait;

/// Topics that are there from the start.
pub const TOPICS: [&str; 3] = ["im_event", "im_signal", "im_status"];
/// How many queues each has. A conversation's queue depends on the count, so it is never left to the broker.
pub const QUEUES: u16 = 8;

/// How long a new topic may take to route.
const ROUTE_LIMIT: Duration = Duration::from_secs(20);

/// What a test may choose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RocketMqOptions {
    /// Names and counts of queues of the topics that are there from the start.
    pub topics: Vec<(String, u16)>,
    /// Who may use the broker. With one or more of them access control is on: it wants each request signed by one of
    /// them, and lets each do what its rules say. Nobody: it asks nobody who he is.
    pub users: Vec<RocketMqUser>,
    /// TLS and nothing else, on both servers; none: nothing but plain TCP.
    pub tls: Option<RocketMqTls>,
}

impl Default for RocketMqOptions {
    fn default() -> Self {
        let topics = TOPICS.iter().map(|name| ((*name).to_owned(), QUEUES)).collect();
        Self { topics, users: Vec::new(), tls: None }
    }
}

/// A running name server and broker.
#[derive(Debug)]
pub struct RocketMq {
    /// The broker; dropped first, so that it does not complain of a lost name server.
    pub broker: Server<BrokerPlan>,
    /// The name server.
    pub name_server: Server<NameServerPlan>,
}

impl RocketMq {
    /// Both servers with their files in `folder`, and the topics of the event log.
    ///
    /// # Errors
    /// A program or the artefacts are missing, or one does not serve; what it logged is part of the error.
    pub fn start(folder: &Path) -> Result<Self> {
        Self::start_with(folder, RocketMqOptions::default())
    }

    /// The same, with options.
    ///
    /// # Errors
    /// As [`RocketMq::start`].
    pub fn start_with(folder: &Path, options: RocketMqOptions) -> Result<Self> {
        Self::start_from(Classes::Archived(archive()?), folder, options)
    }

    fn start_from(classes: Classes, folder: &Path, options: RocketMqOptions) -> Result<Self> {
        let (name_server, broker) = plans_from(classes, &std::path::absolute(folder)?, options)?;
        let name_server = Server::start_planned(name_server.0, Life::Owned, Some(name_server.1))?;
        let broker = Server::start_planned(broker.0, Life::Owned, Some(broker.1))?;
        Ok(Self { broker, name_server })
    }

    /// `127.0.0.1:port` of the name server: all that a client needs to know.
    #[must_use]
    pub fn namesrv(&self) -> String {
        format!("127.0.0.1:{}", self.name_server.plan().port)
    }

    /// The broker's port on 127.0.0.1; it listens on the one two below as well.
    #[must_use]
    pub fn broker_port(&self) -> u16 {
        self.broker.plan().port
    }

    /// How many queues a topic has, as the name server tells clients.
    ///
    /// # Errors
    /// The name server does not know it, or does not answer.
    pub fn queues(&self, topic: &str) -> Result<u16> {
        self.broker.plan().queues(topic)
    }

    /// Makes a topic, one for each test for instance, and waits until clients are sent to it.
    ///
    /// # Errors
    /// The broker refused, or does not answer.
    pub fn create_topic(&self, topic: &str, queues: u16) -> Result<()> {
        let broker = self.broker.plan();
        broker.create_topic(topic, queues)?;
        wait::until(ROUTE_LIMIT, || broker.queues(topic)).map(drop)
    }
}

/// How both are started, with the ports that are kept for them.
pub(crate) type Plans = ((NameServerPlan, Reserved), (BrokerPlan, Reserved));

/// The plans of both, with the archive of classes.
pub(crate) fn plans(folder: &Path, archive: PathBuf, options: RocketMqOptions) -> Result<Plans> {
    plans_from(Classes::Archived(archive), folder, options)
}

fn plans_from(classes: Classes, folder: &Path, options: RocketMqOptions) -> Result<Plans> {
    let name_server_ports = ports::reserve(1)?;
    // The broker's port is the third of these; it takes the first as well.
    let broker_ports = ports::reserve(3)?;
    let broker_port = broker_ports.first + 2;
    let name_server = NameServerPlan {
        folder: folder.join("namesrv"),
        port: name_server_ports.first,
        broker_port,
        broker_has_access_control: !options.users.is_empty(),
        tls: options.tls.clone(),
        // One archive is made, and the broker's has most of the name server's classes.
        classes: if matches!(classes, Classes::ToArchive(_)) { Classes::Plain } else { classes.clone() },
    };
    let broker = BrokerPlan {
        folder: folder.join("broker"),
        port: broker_port,
        replication_port: broker_ports.first + 1,
        name_server_port: name_server.port,
        topics: options.topics,
        users: options.users,
        tls: options.tls,
        classes,
    };
    Ok(((name_server, name_server_ports), (broker, broker_ports)))
}

/// The archive of classes that makes starts quick, made from one start when it is not there yet.
pub(crate) fn archive() -> Result<PathBuf> {
    artefacts::classes(|archive| {
        let folder = Folder::new()?;
        let classes = Classes::ToArchive(archive.to_owned());
        let mut servers = RocketMq::start_from(classes, folder.path(), RocketMqOptions::default())?;
        servers.broker.terminate()
    })
}
