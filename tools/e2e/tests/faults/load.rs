//! The load that faults are laid on: six senders over three pairs and a group, and two devices that listen.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use ringway_e2e::checker::{self, Acknowledged, History, Item, Session};
use ringway_e2e::http;
use ringway_e2e::peer::{Login, Peer, group, user};
use ringway_e2e::people::{People, pair};
use ringway_e2e::server::Server;
use ringway_e2e::walker::{Heads, Journey, Orders, Role, Walker};
use ringway_engine::packet::Format;
use tokio::task::JoinHandle;

const USERS: [&str; 6] = ["ann", "ben", "cem", "dot", "eva", "fay"];
/// How long anything of a load may take that has no bound of its own.
const LIMIT: Duration = Duration::from_secs(60);

/// A running load.
pub(crate) struct Load {
    pub(crate) orders: Arc<Orders>,
    pub(crate) tokens: Vec<String>,
    pub(crate) group: String,
    heads: Heads,
    walkers: Vec<JoinHandle<anyhow::Result<Journey>>>,
}

impl Load {
    /// Starts all of them on a server that is ready.
    pub(crate) async fn start(server: &Server) -> Self {
        let addresses = server.addresses();
        let tokens = People::of(&server.data()).await.unwrap().add_all(&USERS).await.unwrap();
        let members: Vec<String> = USERS.iter().map(ToString::to_string).collect();
        let group_conv = http::create_group(addresses.api, &tokens[0], &members).await.unwrap();
        let (orders, heads) = (Arc::new(Orders::default()), Heads::default());
        let mut walkers = Vec::new();
        let listeners = [(0, "tablet", Format::Protobuf), (3, "tablet", Format::Json)];
        let senders = (0..USERS.len()).map(|n| (n, "phone", Format::ALL[n % 2]));
        for (n, device, format) in senders.chain(listeners) {
            let other = USERS[n ^ 1];
            let both = vec![(user(other), pair(USERS[n], other)), (group(&group_conv), group_conv.clone())];
            let targets = if device == "phone" { both } else { Vec::new() };
            let (uid, device, token) = (USERS[n].to_owned(), device.to_owned(), tokens[n].clone());
            let convs = vec![pair(USERS[n], other), group_conv.clone()];
            let role = Role { uid, device, token, format, targets, convs };
            let walker = Walker::new(role, Arc::clone(&orders)).walk(addresses.ws, heads.clone());
            walkers.push(tokio::spawn(walker));
        }
        Self { orders, tokens, group: group_conv, heads, walkers }
    }

    /// Sends answered so far.
    pub(crate) fn acknowledged(&self) -> u64 {
        self.orders.acknowledged.load(Ordering::Relaxed)
    }

    /// Waits for so many answers.
    pub(crate) async fn until_acknowledged(&mut self, count: u64) {
        let deadline = Instant::now() + LIMIT;
        while self.acknowledged() < count {
            self.look().await;
            assert!(Instant::now() < deadline, "{} answers instead of {count}", self.acknowledged());
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// Nobody goes home before it is told to; whoever does says why.
    async fn look(&mut self) {
        if let Some(at) = self.walkers.iter().position(JoinHandle::is_finished) {
            let gone = self.walkers.swap_remove(at).await.unwrap();
            panic!("a walker gave up after {} answers: {:?}", self.acknowledged(), gone.map(|_| "no reason"));
        }
    }

    /// Lets everybody finish, reads everything back and gives what is known to the checker. Repeats the first
    /// send of each sender once more, after everything else.
    pub(crate) async fn finish(mut self, server: &Server) -> History {
        self.orders.stop.store(true, Ordering::Relaxed);
        let convs: Vec<(String, usize)> =
            [0, 2, 4].map(|n| (pair(USERS[n], USERS[n + 1]), n)).into_iter().chain([(self.group.clone(), 5)]).collect();
        let mut history = History::default();
        // No new sends come; those that are open may still be numbered while this reads, so it reads until
        // everybody has come home.
        let first = self.read_back(server, &convs).await;
        self.heads.tell(first.iter().map(|(conv, items)| (conv.clone(), items.len() as u64)).collect());
        for walker in std::mem::take(&mut self.walkers) {
            let journey = tokio::time::timeout(LIMIT, walker).await.expect("a walker does not come home");
            history.sessions.extend(journey.unwrap().unwrap().sessions);
        }
        history.sessions.extend(self.repeat_first_sends(server, &history).await);
        history.archive = self.read_back(server, &convs).await;
        for (conv, _) in &convs {
            let is_in = |uid: &&&str| conv.starts_with("group:") || conv.split(':').any(|part| part == **uid);
            let members: BTreeSet<String> = USERS.iter().filter(is_in).map(ToString::to_string).collect();
            history.members.insert(conv.clone(), members);
        }
        history
    }

    async fn read_back(&self, server: &Server, convs: &[(String, usize)]) -> BTreeMap<String, Vec<Item>> {
        let mut archive = BTreeMap::new();
        for (conv, member) in convs {
            let login = Login::new(&self.tokens[*member], "reader");
            let (mut peer, _) = Peer::connect(server.addresses().ws, &login).await.unwrap();
            let items = peer.read_all(conv, 0).await.unwrap();
            archive.insert(conv.clone(), items.iter().map(Item::from).collect());
        }
        archive
    }

    /// An answer of long ago is given again.
    async fn repeat_first_sends(&self, server: &Server, history: &History) -> Vec<Session> {
        let mut again = Vec::new();
        for (n, uid) in USERS.iter().enumerate() {
            let mut own = history.sessions.iter().filter(|session| session.uid == *uid);
            let Some((attempt, first)) = own.find_map(|session| {
                let first = session.acknowledged.first()?;
                let of_it = |attempt: &&checker::Attempt| attempt.client_msg_id == first.client_msg_id;
                Some((session.attempts.iter().find(of_it)?.clone(), first.clone()))
            }) else {
                panic!("{uid} got no answer at all");
            };
            let to = if attempt.conv.starts_with("group:") { group(&attempt.conv) } else { user(USERS[n ^ 1]) };
            let login = Login::new(&self.tokens[n], "phone").at(&attempt.conv, 1, u64::MAX >> 1);
            let (mut peer, _) = Peer::connect(server.addresses().ws, &login).await.unwrap();
            let mut command = ringway_e2e::peer::send(&to, &attempt.client_msg_id, &attempt.body);
            command.send.as_mut().unwrap().retry = true;
            let sent = peer.ask(command).await.unwrap().sent.expect("a repeat is answered as the first was");
            assert_eq!((sent.seq, sent.msg_id), (first.seq, first.msg_id), "{uid}");
            let mut session = Session::new(uid, "phone");
            session.acknowledged.push(Acknowledged::of(&attempt.client_msg_id, &sent));
            session.attempts.push(attempt);
            again.push(session);
        }
        again
    }
}

/// Fails with the violations of a history, if there are any.
pub(crate) fn judge(history: &History) {
    if let Some(report) = checker::report(history) {
        panic!("{report}");
    }
}
