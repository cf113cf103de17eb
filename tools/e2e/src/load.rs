//! The load that faults are laid on: six senders over three pairs and a group, and two devices that listen.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use ringway_engine::packet::Format;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::checker::{self, Acknowledged, Attempt, History, Item, Session};
use crate::http;
use crate::peer::{self, Login, Peer, group, user};
use crate::people::{People, pair};
use crate::server::Server;
use crate::walker::{Heads, Journey, Orders, Role, Walker};

/// Who takes part.
pub const USERS: [&str; 6] = ["ann", "ben", "cem", "dot", "eva", "fay"];
/// How long anything of a load may take that has no bound of its own.
const LIMIT: Duration = Duration::from_secs(60);

/// Where a load goes.
#[derive(Debug, Clone)]
pub struct Site {
    /// Gateways; a walker whose connection breaks tries the next one.
    pub ws: Vec<SocketAddr>,
    /// The API.
    pub api: SocketAddr,
    /// Access tokens of [`USERS`], in their order.
    pub tokens: Vec<String>,
    /// At least so long between two sends of a device: a load that lasts long need not be as much as can be.
    pub pace: Duration,
}

impl Site {
    /// A single server, with accounts made in its data folder.
    ///
    /// # Errors
    /// The folder cannot be used.
    pub async fn of(server: &Server) -> Result<Self> {
        let tokens = People::of(&server.data()).await?.add_all(&USERS).await?;
        let addresses = server.addresses();
        Ok(Self { ws: vec![addresses.ws], api: addresses.api, tokens, pace: Duration::ZERO })
    }

    /// Connects to the first gateway that takes it.
    async fn connect(&self, login: &Login) -> Result<Peer> {
        let deadline = Instant::now() + LIMIT;
        loop {
            for address in &self.ws {
                match Peer::connect(*address, login).await {
                    Ok((peer, _)) => return Ok(peer),
                    Err(error) if Instant::now() > deadline => return Err(error),
                    Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
                }
            }
        }
    }
}

/// A running load.
#[derive(Debug)]
pub struct Load {
    /// What the walkers are told, and what they count.
    pub orders: Arc<Orders>,
    /// Where it goes.
    pub site: Site,
    group: String,
    heads: Heads,
    walkers: Vec<JoinHandle<Result<Journey>>>,
}

impl Load {
    /// Starts all of them.
    ///
    /// # Errors
    /// The group cannot be made.
    pub async fn start(site: Site) -> Result<Self> {
        let members: Vec<String> = USERS.iter().map(ToString::to_string).collect();
        let first = site.tokens.first().context("no tokens")?;
        let group_conv = http::create_group(site.api, first, &members).await?;
        let (orders, heads) = (Arc::new(Orders::default()), Heads::default());
        let mut walkers = Vec::new();
        let listeners = [(0, "tablet", Format::Protobuf), (3, "tablet", Format::Json)];
        let format = |n: usize| if n.is_multiple_of(2) { Format::Json } else { Format::Protobuf };
        let senders = (0..USERS.len()).map(|n| (n, "phone", format(n)));
        for (n, device, format) in senders.chain(listeners) {
            let (uid, other) = (name(n), name(n ^ 1));
            let both = vec![(user(other), pair(uid, other)), (group(&group_conv), group_conv.clone())];
            let targets = if device == "phone" { both } else { Vec::new() };
            let token = site.tokens.get(n).context("a token is missing")?.clone();
            let convs = vec![pair(uid, other), group_conv.clone()];
            let (uid, device, pace) = (uid.to_owned(), device.to_owned(), site.pace);
            let role = Role { uid, device, token, format, targets, convs, pace };
            let mut ws = site.ws.clone();
            ws.rotate_left(n % site.ws.len().max(1));
            walkers.push(tokio::spawn(Walker::new(role, Arc::clone(&orders)).walk(ws, heads.clone())));
        }
        Ok(Self { orders, site, group: group_conv, heads, walkers })
    }

    /// Sends answered so far.
    #[must_use]
    pub fn acknowledged(&self) -> u64 {
        self.orders.acknowledged.load(Ordering::Relaxed)
    }

    /// Waits for so many answers.
    ///
    /// # Errors
    /// They do not come in a minute, or somebody gave up.
    pub async fn until_acknowledged(&mut self, count: u64) -> Result<()> {
        let deadline = Instant::now() + LIMIT;
        while self.acknowledged() < count {
            self.look().await?;
            if Instant::now() > deadline {
                bail!("{} answers instead of {count}", self.acknowledged());
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        Ok(())
    }

    /// Nobody goes home before it is told to; whoever does says why.
    ///
    /// # Errors
    /// Why it did.
    pub async fn look(&mut self) -> Result<()> {
        if let Some(at) = self.walkers.iter().position(JoinHandle::is_finished) {
            let gone = self.walkers.swap_remove(at).await?;
            bail!("a walker gave up after {} answers: {:?}", self.acknowledged(), gone.map(|_| "no reason"));
        }
        Ok(())
    }

    /// Lets everybody finish, reads everything back and gives what is known to the checker. Repeats the first
    /// send of each sender once more, after everything else.
    ///
    /// # Errors
    /// Somebody does not come home, or a conversation cannot be read back.
    pub async fn finish(mut self) -> Result<History> {
        self.orders.stop.store(true, Ordering::Relaxed);
        let convs: Vec<(String, usize)> =
            [0, 2, 4].map(|n| (pair(name(n), name(n + 1)), n)).into_iter().chain([(self.group.clone(), 5)]).collect();
        let mut history = History::default();
        // No new sends come; those that are open may still be numbered while this reads, so it reads until
        // everybody has come home.
        let first = timeout(LIMIT, self.read_back_with_own_word(&convs)).await;
        let first = first.context("what the server says of the group does not come")??;
        self.heads.tell(first.iter().map(|(conv, items)| (conv.clone(), items.len() as u64)).collect());
        for walker in std::mem::take(&mut self.walkers) {
            let journey = timeout(LIMIT, walker).await.context("a walker does not come home")?;
            history.sessions.extend(journey??.sessions);
        }
        history.sessions.extend(self.repeat_first_sends(&history).await?);
        history.archive = self.read_back(&convs).await?;
        for (conv, _) in &convs {
            let is_in = |uid: &&&str| conv.starts_with("group:") || conv.split(':').any(|part| part == **uid);
            let members: BTreeSet<String> = USERS.iter().filter(is_in).map(ToString::to_string).collect();
            history.members.insert(conv.clone(), members);
        }
        Ok(history)
    }

    fn token(&self, n: usize) -> Result<&str> {
        self.site.tokens.get(n).map(String::as_str).context("a token is missing")
    }

    async fn read_back(&self, convs: &[(String, usize)]) -> Result<BTreeMap<String, Vec<Item>>> {
        let mut archive = BTreeMap::new();
        for (conv, member) in convs {
            let mut peer = self.site.connect(&Login::new(self.token(*member)?, "reader")).await?;
            let items =
                timeout(LIMIT, peer.read_all(conv, 0)).await.with_context(|| format!("{conv} has a hole"))??;
            archive.insert(conv.clone(), items.iter().map(Item::from).collect());
        }
        Ok(archive)
    }

    /// The server's word that the group was made comes through the outbox, which a daemon empties: while that one is
    /// away it waits, and may come after all else. Those who go home before it would not have seen it.
    async fn read_back_with_own_word(&self, convs: &[(String, usize)]) -> Result<BTreeMap<String, Vec<Item>>> {
        loop {
            let read = self.read_back(convs).await?;
            if read.get(&self.group).is_some_and(|items| items.iter().any(|item| item.from.is_empty())) {
                return Ok(read);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// An answer of long ago is given again; under a later epoch it may name another number.
    async fn repeat_first_sends(&self, history: &History) -> Result<Vec<Session>> {
        let mut again = Vec::new();
        for (n, uid) in USERS.iter().enumerate() {
            let mut own = history.sessions.iter().filter(|session| session.uid == *uid);
            let Some((attempt, first)) = own.find_map(|session| {
                let first = session.acknowledged.first()?;
                let of_it = |attempt: &&Attempt| attempt.client_msg_id == first.client_msg_id;
                Some((session.attempts.iter().find(of_it)?.clone(), first.clone()))
            }) else {
                bail!("{uid} got no answer at all");
            };
            let to = if attempt.conv.starts_with("group:") { group(&attempt.conv) } else { user(name(n ^ 1)) };
            let login = Login::new(self.token(n)?, "phone").at(&attempt.conv, 1, u64::MAX >> 1);
            let mut peer = self.site.connect(&login).await?;
            let mut command = peer::send(&to, &attempt.client_msg_id, &attempt.body);
            if let Some(send) = &mut command.send {
                send.retry = true;
            }
            let sent = peer.ask(command).await?.sent.context("a repeat is answered as the first was")?;
            if sent.epoch == first.epoch && (sent.seq, sent.msg_id) != (first.seq, first.msg_id) {
                bail!("{uid}: a repeat of {first:?} was answered by {sent:?}");
            }
            let mut session = Session::new(uid, "phone");
            session.acknowledged.push(Acknowledged::of(&attempt.client_msg_id, &sent));
            session.attempts.push(attempt);
            again.push(session);
        }
        Ok(again)
    }
}

fn name(n: usize) -> &'static str {
    USERS.get(n).copied().unwrap_or_default()
}

/// Judges a history.
///
/// # Errors
/// Its violations, if there are any.
pub fn judge(history: &History) -> Result<()> {
    checker::report(history).map_or(Ok(()), |report| Err(anyhow::Error::msg(report)))
}
