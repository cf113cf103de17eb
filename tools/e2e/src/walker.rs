//! A device that never gives up: it sends, comes back, resumes and repeats, and writes all of it down.
//!
//! ```text
//!  away ──upgrade, connect──► repeating what was not answered ──► sending, window open ──► away …
//! ```
//!
//! One task owns a walker. It follows the protocol document and nothing else: resume from the highest
//! number below which nothing is missing, repeat in the old order with `retry`, acknowledge now and then.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use ringway_engine::packet::Format;
use ringway_engine::packet::schema::{
    Command, ErrorReply, Message, Point, ResumePoint, Sent, ServerPacket, Sync, Target,
};
use tokio::time::error::Elapsed;

use crate::checker::{Acknowledged, Attempt, Item, Session};
use crate::peer::{self, Ended, Login, Peer};

/// Unanswered sends of one target.
const WINDOW: usize = 8;
/// Between tries of a connection; a server that is being started needs some.
const AGAIN: Duration = Duration::from_millis(20);
/// How long nothing may happen before a walker looks at its orders again.
const LOOK: Duration = Duration::from_millis(100);
/// How long a walker that is told to come home waits for what is missing.
const SILENCE_MAX: Duration = Duration::from_secs(15);
/// And how long it waits in all.
const HOME_MAX: Duration = Duration::from_secs(45);
/// Cursors are told every so many messages.
const ACK_EVERY: u64 = 32;

/// What all walkers of a test share.
#[derive(Debug, Default)]
pub struct Orders {
    /// No new sends any more.
    pub stop: AtomicBool,
    /// Sends answered so far.
    pub acknowledged: AtomicU64,
    /// Connections made so far.
    pub connections: AtomicU64,
    /// Sends refused so far with a word to come again.
    pub refused: AtomicU64,
}

/// Who a walker is and what it does.
#[derive(Debug, Clone)]
pub struct Role {
    /// User.
    pub uid: String,
    /// Device.
    pub device: String,
    /// Token.
    pub token: String,
    /// Wire format.
    pub format: Format,
    /// Where it sends; nothing for a device that only listens. With the conversation of each.
    pub targets: Vec<(Target, String)>,
    /// All conversations of the user: the walker says of each what it has, also when that is nothing.
    pub convs: Vec<String>,
    /// At least so long between two sends.
    pub pace: Duration,
}

/// A send that was not answered.
#[derive(Debug, Clone)]
struct Open {
    target: usize,
    client_msg_id: String,
    body: String,
    repeat: bool,
}

/// A walker; see the module's head.
#[derive(Debug)]
pub struct Walker {
    role: Role,
    orders: Arc<Orders>,
    next: u64,
    /// When the last one went out.
    sent: Option<Instant>,
    /// Unanswered, in the order of sending.
    open: VecDeque<Open>,
    /// Places of each conversation.
    places: BTreeMap<String, Place>,
    sessions: Vec<Session>,
    /// Conversations that were read anew because the device was too slow.
    resyncs: u64,
}

/// What a device has of a conversation.
#[derive(Debug, Default)]
struct Place {
    epoch: u64,
    /// Everything up to here is there.
    upto: u64,
    above: BTreeSet<u64>,
    /// Answers of epochs of which no message has come yet.
    own: BTreeSet<(u64, u64)>,
    told: u64,
}

impl Place {
    /// An answer to a send. One of a later epoch waits for the first message of it, which tells where that begins.
    fn add_own(&mut self, epoch: u64, seq: u64) {
        if epoch > self.epoch && self.epoch > 0 {
            self.own.insert((epoch, seq));
        } else {
            self.add(epoch, seq);
        }
    }

    fn add(&mut self, epoch: u64, seq: u64) {
        if epoch < self.epoch {
            return;
        }
        if epoch > self.epoch {
            // A later epoch is shown from where it differs: what is below stays.
            self.upto = self.upto.min(seq.saturating_sub(1));
            self.told = self.told.min(self.upto);
            self.above.retain(|above| *above < seq);
            self.above.extend(self.own.iter().filter(|own| own.0 == epoch).map(|own| own.1));
            self.own.retain(|own| own.0 > epoch);
        }
        self.epoch = epoch;
        self.above.insert(seq);
        while self.above.remove(&(self.upto + 1)) {
            self.upto += 1;
        }
        self.above.retain(|seq| *seq > self.upto);
    }
}

/// What a walker brings home.
#[derive(Debug)]
pub struct Journey {
    /// Its connections.
    pub sessions: Vec<Session>,
    /// Conversations that were read anew because the device was too slow.
    pub resyncs: u64,
}

impl Walker {
    /// One that has not been anywhere.
    #[must_use]
    pub fn new(role: Role, orders: Arc<Orders>) -> Self {
        let (open, places, sessions) = (VecDeque::new(), BTreeMap::new(), Vec::new());
        Self { role, orders, next: 0, sent: None, open, places, sessions, resyncs: 0 }
    }

    /// Walks, from one gateway to the next when a connection breaks, until it is told to stop, has an answer to everything it sent and has seen every conversation of
    /// `heads` up to its head, which it is told when it asks after the stop.
    ///
    /// # Errors
    /// The server breaks the protocol, or refuses what it should take.
    pub async fn walk(mut self, gateways: Vec<SocketAddr>, heads: Heads) -> Result<Journey> {
        for address in gateways.into_iter().cycle() {
            let session = Session::new(&self.role.uid, &self.role.device);
            self.sessions.push(session);
            match self.visit(address, &heads).await {
                Ok(()) => {
                    let Self { sessions, resyncs, .. } = self;
                    return Ok(Journey { sessions, resyncs });
                }
                Err(error) if is_breakage(&error) => {
                    self.open.iter_mut().for_each(|open| open.repeat = true);
                    tokio::time::sleep(AGAIN).await;
                }
                Err(error) => return Err(error.context(format!("{} of {}", self.role.device, self.role.uid))),
            }
        }
        bail!("no gateway to walk to")
    }

    /// One connection, to its end; `Ok` when all is done.
    async fn visit(&mut self, address: SocketAddr, heads: &Heads) -> Result<()> {
        let point = |conv: &String| {
            let place = self.places.get(conv);
            place.map_or(ResumePoint { epoch: 1, seq: 0 }, |place| ResumePoint { epoch: place.epoch, seq: place.upto })
        };
        let resume = self.role.convs.iter().map(|conv| (conv.clone(), point(conv))).collect();
        let login = Login {
            token: self.role.token.clone(),
            device: self.role.device.clone(),
            resume,
            format: self.role.format,
        };
        // What came above a hole comes again.
        for place in self.places.values_mut() {
            place.above.clear();
            place.own.clear();
        }
        let (mut peer, connected) = Peer::connect(address, &login).await?;
        for (conv, _) in connected.recovered.iter().filter(|(_, recovered)| !**recovered) {
            self.read_on(&mut peer, conv).await?;
        }
        self.orders.connections.fetch_add(1, Ordering::Relaxed);
        let mut flying: BTreeMap<u64, Open> = BTreeMap::new();
        for open in self.open.clone() {
            let id = self.send(&mut peer, &open).await?;
            flying.insert(id, open);
        }
        let mut heard = Instant::now();
        loop {
            while let Some(open) = self.compose() {
                let id = self.send(&mut peer, &open).await?;
                self.open.push_back(open.clone());
                flying.insert(id, open);
            }
            if self.is_done(heads) {
                return Ok(());
            }
            if heads.told().is_some_and(|told| told.elapsed() > HOME_MAX) {
                bail!("much comes, but not all: {}", self.standing(heads));
            }
            let packet = match peer.next_within(self.patience()).await {
                Ok(packet) => packet,
                Err(error) if !error.is::<Elapsed>() => return Err(error),
                Err(_) if heads.told().is_some_and(|told| heard.max(told).elapsed() > SILENCE_MAX) => {
                    bail!("nothing comes: {}", self.standing(heads));
                }
                Err(_) => continue,
            };
            heard = Instant::now();
            self.take(&mut peer, packet, &mut flying).await?;
        }
    }

    /// How long to listen before the next look around: until the next send may go out, when that is sooner.
    fn patience(&self) -> Duration {
        let rest = self.sent.map_or(LOOK, |sent| self.role.pace.saturating_sub(sent.elapsed()));
        if rest.is_zero() { LOOK } else { rest.min(LOOK) }
    }

    /// The next send, if the window and the orders allow one: targets in turn.
    fn compose(&mut self) -> Option<Open> {
        let targets = self.role.targets.len();
        if targets == 0 || self.orders.stop.load(Ordering::Relaxed) || self.open.len() >= WINDOW * targets {
            return None;
        }
        if self.sent.is_some_and(|sent| sent.elapsed() < self.role.pace) {
            return None;
        }
        self.sent = Some(Instant::now());
        self.next += 1;
        let (uid, device, n) = (&self.role.uid, &self.role.device, self.next);
        let client_msg_id = format!("{uid}-{device}-{n}");
        Some(Open {
            target: n as usize % targets,
            body: format!("message {client_msg_id}"),
            client_msg_id,
            repeat: false,
        })
    }

    async fn send(&mut self, peer: &mut Peer, open: &Open) -> Result<u64> {
        let Some((target, conv)) = self.role.targets.get(open.target) else { bail!("no such target") };
        let mut command = peer::send(target, &open.client_msg_id, &open.body);
        if let Some(send) = &mut command.send {
            send.retry = open.repeat;
        }
        let attempt =
            Attempt { conv: conv.clone(), client_msg_id: open.client_msg_id.clone(), body: open.body.clone() };
        // Written down before it goes out: a cut write may have arrived.
        if let Some(session) = self.sessions.last_mut() {
            session.attempts.push(attempt);
        }
        peer.command(command).await
    }

    async fn take(&mut self, peer: &mut Peer, packet: ServerPacket, flying: &mut BTreeMap<u64, Open>) -> Result<()> {
        if let Some(message) = &packet.message {
            self.see(peer, message, false).await?;
        }
        if let Some(page) = &packet.messages {
            for message in &page.items {
                self.see(peer, message, packet.id != 0).await?;
            }
            if packet.id != 0 && page.more {
                self.read_on(peer, &page.conv).await?;
            }
        }
        if let Some(resync) = &packet.resync {
            self.resyncs += 1;
            self.read_on(peer, &resync.conv).await?;
        }
        if let Some(sent) = &packet.sent {
            let Some(open) = flying.remove(&packet.id) else { bail!("an answer to nothing: {packet:?}") };
            self.answered(&open, sent);
        }
        if let Some(error) = &packet.error {
            self.refused(error)?;
        }
        Ok(())
    }

    async fn see(&mut self, peer: &mut Peer, message: &Message, asked: bool) -> Result<()> {
        if let Some(session) = self.sessions.last_mut() {
            let came = if asked { &mut session.read } else { &mut session.seen };
            came.entry(message.conv.clone()).or_default().push(Item::from(message));
        }
        let place = self.places.entry(message.conv.clone()).or_default();
        place.add(message.epoch, message.seq);
        if place.upto >= place.told + ACK_EVERY {
            place.told = place.upto;
            let ack = Point { conv: message.conv.clone(), epoch: place.epoch, seq: place.upto };
            peer.commands(&[Command { ack: Some(ack), ..Command::default() }]).await?;
        }
        Ok(())
    }

    /// Asks for the page above what is there.
    async fn read_on(&mut self, peer: &mut Peer, conv: &str) -> Result<()> {
        let sync = Sync { conv: conv.to_owned(), after_seq: self.upto(conv), ..Sync::default() };
        peer.command(Command { sync: Some(sync), ..Command::default() }).await?;
        Ok(())
    }

    fn answered(&mut self, open: &Open, sent: &Sent) {
        self.open.retain(|other| other.client_msg_id != open.client_msg_id);
        self.places.entry(sent.conv.clone()).or_default().add_own(sent.epoch, sent.seq);
        if let Some(session) = self.sessions.last_mut() {
            session.acknowledged.push(Acknowledged::of(&open.client_msg_id, sent));
        }
        self.orders.acknowledged.fetch_add(1, Ordering::Relaxed);
    }

    /// A refusal for a while ends the connection: what was not answered is then repeated in its old order,
    /// and no send that the server passed over is among those whose order counts.
    fn refused(&mut self, error: &ErrorReply) -> Result<()> {
        if !error.temporary {
            bail!("refused for good: {error:?}");
        }
        self.orders.refused.fetch_add(1, Ordering::Relaxed);
        if let Some(session) = self.sessions.last_mut() {
            let open: BTreeSet<&str> = self.open.iter().map(|open| open.client_msg_id.as_str()).collect();
            session.attempts.retain(|attempt| !open.contains(attempt.client_msg_id.as_str()));
        }
        Err(Ended { code: None }.into())
    }

    fn is_done(&self, heads: &Heads) -> bool {
        let Some(heads) = heads.get() else { return false };
        let wanted = |conv: &String| heads.get(conv).copied().unwrap_or(0);
        self.open.is_empty() && self.role.convs.iter().all(|conv| self.upto(conv) >= wanted(conv))
    }

    /// For people: what is missing, and where what came on the last connection did not follow on.
    fn standing(&self, heads: &Heads) -> String {
        let mut lines = vec![format!("{} unanswered, {} resyncs", self.open.len(), self.resyncs)];
        for (conv, place) in &self.places {
            let head = heads.get().and_then(|heads| heads.get(conv)).copied().unwrap_or(0);
            let Place { epoch, upto, above, .. } = place;
            lines.push(format!(
                "{conv}: epoch {epoch}, all up to {upto} of {head}, then {} from {:?}",
                above.len(),
                above.first()
            ));
            let items = self.sessions.last().and_then(|session| session.seen.get(conv)).into_iter().flatten();
            let mut before = (0, 0);
            for item in items {
                let at = (item.epoch, item.seq);
                if at != (before.0, before.1 + 1) {
                    lines.push(format!("    {before:?} was followed by {at:?}"));
                }
                before = at;
            }
        }
        lines.join("\n")
    }

    fn upto(&self, conv: &str) -> u64 {
        self.places.get(conv).map_or(0, |place| place.upto)
    }
}

/// Where each conversation ends, once that is known; shared by all walkers of a test.
#[derive(Debug, Clone, Default)]
pub struct Heads(Arc<std::sync::OnceLock<(Instant, BTreeMap<String, u64>)>>);

impl Heads {
    /// Tells them.
    pub fn tell(&self, heads: BTreeMap<String, u64>) {
        // Told once, by the test.
        let _ = self.0.set((Instant::now(), heads));
    }

    fn get(&self) -> Option<&BTreeMap<String, u64>> {
        self.0.get().map(|(_, heads)| heads)
    }

    fn told(&self) -> Option<Instant> {
        self.0.get().map(|(told, _)| *told)
    }
}

/// Whether the connection broke, or was never there, rather than something being wrong.
fn is_breakage(error: &anyhow::Error) -> bool {
    let text = format!("{error:#}");
    let is_away = text.contains("closed without an answer") || text.contains("upgrade answered 503");
    is_away || error.is::<Ended>() || error.is::<std::io::Error>()
}
