//! Ringway itself over a stack: gateways, persist daemons and the API, as processes of the same folder.

mod node;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

pub use self::node::{NodeKind, NodePlan};
use crate::ports::{self, Reserved};

/// How many of each; there is one API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Gateways, `gateway-1` and on.
    pub gateways: usize,
    /// Persist daemons, `persist-1` and on.
    pub persists: usize,
}

/// Where the servers are that a process runs on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backends {
    /// The name server, `host:port`.
    pub namesrv: String,
    /// The broker, `host:port`, as the name server tells it.
    pub broker: String,
    /// Redis, a URL.
    pub redis: String,
    /// The primary of the database, a URL.
    pub mysql: String,
}

/// Plans all processes, with the ports that are kept for them. Makes the keys that they share. `way` tells how a process
/// of a name reaches the servers.
pub(crate) fn plans(
    folder: &Path,
    size: Size,
    way: &dyn Fn(&str) -> Backends,
    programs: &Path,
) -> Result<Vec<(NodePlan, Reserved)>> {
    let keys = Keys::make(&keys_folder(folder))?;
    let common = Common { folder, way, programs, keys: &keys };
    let gateways = (1..=size.gateways).map(|n| common.gateway(n));
    let persists = (1..=size.persists).map(|n| common.persist(n));
    gateways.chain(persists).chain([common.api()]).collect()
}

/// Where the keys of a stack's folder are.
pub(crate) fn keys_folder(stack: &Path) -> PathBuf {
    stack.join("keys")
}

/// Files that all processes of a deployment share.
struct Keys {
    peers: PathBuf,
    tokens: PathBuf,
}

impl Keys {
    /// Random ones; those that are there stay.
    fn make(folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let keys = Self { peers: folder.join("peers.key"), tokens: folder.join("token.key") };
        for file in [&keys.peers, &keys.tokens].into_iter().filter(|file| !file.exists()) {
            let mut random = fs::File::open("/dev/urandom")?;
            let mut bytes = [0; 32];
            std::io::Read::read_exact(&mut random, &mut bytes)?;
            fs::write(file, bytes).with_context(|| format!("cannot write {}", file.display()))?;
        }
        Ok(keys)
    }
}

/// What the plans have in common.
struct Common<'a> {
    folder: &'a Path,
    way: &'a dyn Fn(&str) -> Backends,
    programs: &'a Path,
    keys: &'a Keys,
}

impl Common<'_> {
    fn gateway(&self, n: usize) -> Result<(NodePlan, Reserved)> {
        let ports = ports::reserve(3)?;
        let (listen, admin, peer) = (ports.first, ports.first + 1, ports.first + 2);
        let name = format!("gateway-{n}");
        let spool = self.folder.join(&name).join("spool");
        let own = format!(
            "[node]\nname = \"{name}\"\nnumber = {n}\n\n\
             [gateway]\nlisten = \"127.0.0.1:{listen}\"\nshards = 1\npin = false\n\n\
             [spool]\nfolder = {spool:?}\n\n{tokens}\n\
             [peers]\nlisten = \"127.0.0.1:{peer}\"\nkey_file = {key:?}\n",
            tokens = self.tokens(),
            key = self.keys.peers,
        );
        let own = own + &self.rocketmq(&name);
        Ok((self.plan(NodeKind::Gateway, name, (listen, admin), &own), ports))
    }

    fn persist(&self, n: usize) -> Result<(NodePlan, Reserved)> {
        let ports = ports::reserve(1)?;
        let name = format!("persist-{n}");
        let own = format!("[persist]\nowner = \"{name}\"\n\n{}{}", self.peers(), self.rocketmq(&name));
        Ok((self.plan(NodeKind::Persist, name, (0, ports.first), &own), ports))
    }

    fn api(&self) -> Result<(NodePlan, Reserved)> {
        let ports = ports::reserve(2)?;
        let (listen, admin) = (ports.first, ports.first + 1);
        let own = format!("[api]\nlisten = \"127.0.0.1:{listen}\"\n\n{}\n{}", self.tokens(), self.peers());
        Ok((self.plan(NodeKind::Api, "api".to_owned(), (listen, admin), &own), ports))
    }

    fn tokens(&self) -> String {
        format!("[tokens]\nkey_file = {:?}\n", self.keys.tokens)
    }

    fn peers(&self) -> String {
        format!("[peers]\nkey_file = {:?}\n\n", self.keys.peers)
    }

    fn rocketmq(&self, name: &str) -> String {
        format!("\n[rocketmq]\nname_servers = [{:?}]\n", (self.way)(name).namesrv)
    }

    fn plan(&self, kind: NodeKind, name: String, (port, admin_port): (u16, u16), own: &str) -> NodePlan {
        let Backends { redis, mysql, .. } = (self.way)(&name);
        let config = format!(
            "{own}\n[mysql]\nurl = {mysql:?}\n\n[redis]\nurl = {redis:?}\n\n\
             [admin]\nlisten = \"127.0.0.1:{admin_port}\"\n"
        );
        let (folder, program) = (self.folder.join(&name), self.programs.join(kind.program()));
        NodePlan { kind, name, folder, program, port, admin_port, config }
    }
}
