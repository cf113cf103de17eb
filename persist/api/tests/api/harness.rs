//! A served API on loopback with the embedded stores, and a client that shows every byte.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_trait::async_trait;
use ringway_api::{Admin, Api, ApiConfig, Nodes, Parts, ServeLimits, admin_router, router, serve};
use ringway_engine::event::MessageEvent;
use ringway_engine::ids::Uid;
use ringway_engine::packet::schema::Sent;
use ringway_store::embedded::EmbeddedState;
use ringway_store::ports::{
    Archive, Directory, Gateways, NumberedMessage, ServerMessage, SharedState, Signal, SubmitError,
};
use ringway_store::sqlite::{Database, SqliteArchive, SqliteDirectory};
use ringway_store::token::TokenKey;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

pub(crate) const PASSWORD: &str = "correct horse";

/// A gateway whose readiness the test decides.
#[derive(Debug, Default)]
pub(crate) struct Gateway {
    pub(crate) ready: AtomicBool,
}

#[async_trait]
impl Gateways for Gateway {
    async fn submit(&self, _message: ServerMessage) -> Result<Sent, SubmitError> {
        Err(SubmitError::Refused("this gateway has no sockets".into()))
    }

    async fn signal(&self, _signal: Signal) -> Result<(), SubmitError> {
        Ok(())
    }

    async fn trace(&self, msg_id: u64) -> String {
        let hop = |at_us: u64, station: &str| json!({ "at_us": at_us, "station": station, "id": msg_id.to_string() });
        json!([hop(1, "batched"), hop(3, "sent")]).to_string()
    }

    fn metrics(&self) -> String {
        "gateway_connections 3".into()
    }

    fn ready(&self) -> bool {
        self.ready.load(Ordering::Relaxed)
    }

    async fn online(&self, _uids: &[Uid]) -> Vec<Uid> {
        Vec::new()
    }
}

pub(crate) struct Server {
    pub(crate) public: SocketAddr,
    pub(crate) admin: SocketAddr,
    pub(crate) api: Arc<Api>,
    pub(crate) directory: Arc<dyn Directory>,
    pub(crate) state: Arc<dyn SharedState>,
    pub(crate) archive: Arc<dyn Archive>,
    pub(crate) gateway: Arc<Gateway>,
    pub(crate) tokens: Arc<TokenKey>,
    pub(crate) stop: Option<oneshot::Sender<()>>,
    pub(crate) served: Option<JoinHandle<()>>,
    message_ids: AtomicUsize,
    _folder: tempfile::TempDir,
}

impl Server {
    pub(crate) async fn start() -> Self {
        Self::start_with(|_| {}, ServeLimits::default()).await
    }

    pub(crate) async fn start_with(adapt: impl FnOnce(&mut ApiConfig), limits: ServeLimits) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(folder.path()).await.unwrap();
        let directory: Arc<dyn Directory> = Arc::new(SqliteDirectory::new(database.clone()));
        let archive: Arc<dyn Archive> = Arc::new(SqliteArchive::new(database.clone()));
        let state: Arc<dyn SharedState> = Arc::new(EmbeddedState::open(database).await.unwrap());
        let gateway = Arc::new(Gateway { ready: AtomicBool::new(true) });
        let tokens = Arc::new(TokenKey::load_or_create(&folder.path().join("token.key")).unwrap());
        let parts = Parts {
            directory: Arc::clone(&directory),
            state: Arc::clone(&state),
            gateways: gateway.clone(),
            tokens: tokens.clone(),
            nodes: Nodes::Own(Arc::new(|| 0.25)),
            requests: Arc::default(),
        };
        let (shown, asked): (Arc<Gateway>, Arc<dyn Gateways>) = (gateway.clone(), gateway.clone());
        let ready = gateway.clone();
        let admin_parts = Arc::new(Admin {
            gateways: Arc::new(asked.into()),
            archive: Arc::new(Arc::clone(&archive).into()),
            not_ready: Box::new(move || (!ready.ready()).then(|| "draining".to_owned()).into_iter().collect()),
            hops: Box::new(|id| {
                vec!["[]".to_owned(), json!([{ "at_us": 2, "station": "consumed", "id": id.to_string() }]).to_string()]
            }),
            metrics: Box::new(move || vec![shown.metrics(), "daemon_archived 7\n".to_owned()]),
            requests: Arc::clone(&parts.requests),
            token: Some("s3cret".to_owned()),
        });
        let mut config = ApiConfig::new("ws://0.0.0.0:7400/v1/ws");
        adapt(&mut config);
        let api = Api::new(parts, config);
        let public = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let admin = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (public_at, admin_at) = (public.local_addr().unwrap(), admin.local_addr().unwrap());
        let (stop, stopped) = oneshot::channel::<()>();
        let served = tokio::spawn(serve(public, router(&api), limits, async {
            let _ = stopped.await;
        }));
        tokio::spawn(serve(admin, admin_router(&admin_parts), ServeLimits::default(), std::future::pending()));
        Self {
            public: public_at,
            admin: admin_at,
            api,
            directory,
            state,
            archive,
            gateway,
            tokens,
            stop: Some(stop),
            served: Some(served),
            message_ids: AtomicUsize::new(1),
            _folder: folder,
        }
    }

    /// One request without a token.
    pub(crate) async fn call(&self, method: &str, path: &str, body: Option<Value>) -> Answer {
        self.call_with(method, path, &[], body).await
    }

    /// One request with a token.
    pub(crate) async fn call_as(&self, user: &User, method: &str, path: &str, body: Option<Value>) -> Answer {
        self.call_with(method, path, &[("authorization", &user.bearer())], body).await
    }

    pub(crate) async fn call_with(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<Value>,
    ) -> Answer {
        request(self.public, method, path, headers, body).await
    }

    pub(crate) async fn register(&self, name: &str) -> User {
        let body = json!({ "user": name, "password": PASSWORD });
        let answer = self.call("POST", "/v1/auth/register", Some(body)).await;
        assert_eq!(answer.status, 201, "{}", answer.text());
        User::from(&answer)
    }

    /// Puts a message into a conversation, as a gateway would.
    pub(crate) async fn say(&self, conv: &str, from: &str, body: &str) -> NumberedMessage {
        let id = self.message_ids.fetch_add(1, Ordering::Relaxed) as u64;
        let event = Arc::new(MessageEvent {
            conv: conv.into(),
            msg_id: id,
            from: from.into(),
            client_msg_id: format!("c-{id}").into(),
            kind: "text".into(),
            body: body.into(),
            enc: "".into(),
            ts_ms: 1_700_000_000_000 + id,
        });
        let number = self.state.number(std::slice::from_ref(&event)).await.unwrap()[0];
        NumberedMessage { event, epoch: number.epoch, seq: number.seq }
    }
}

#[derive(Debug, Clone)]
pub(crate) struct User {
    pub(crate) uid: String,
    pub(crate) access: String,
    pub(crate) refresh: String,
}

impl From<&Answer> for User {
    fn from(answer: &Answer) -> Self {
        let json = answer.json();
        let text = |name: &str| json[name].as_str().unwrap().to_owned();
        Self { uid: text("uid"), access: text("access_token"), refresh: text("refresh_token") }
    }
}

impl User {
    pub(crate) fn bearer(&self) -> String {
        format!("Bearer {}", self.access)
    }
}

/// What came back.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    fn parse(bytes: &[u8]) -> Self {
        let Some(split) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else {
            return Self { status: 0, head: String::new(), body: bytes.to_vec() };
        };
        let head = String::from_utf8(bytes[..split].to_vec()).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Self { status, head: head.to_lowercase(), body: bytes[split + 4..].to_vec() }
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {} {}", self.head, self.text()))
    }

    /// The wire's error code of a problem.
    pub(crate) fn code(&self) -> u64 {
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{} {}", self.head, self.text());
        let json = self.json();
        assert_eq!(json["status"].as_u64(), Some(self.status.into()));
        assert!(json["title"].is_string() && json["detail"].is_string() && json["type"] == "about:blank", "{json}");
        json["code"].as_u64().unwrap()
    }
}

pub(crate) async fn request(
    to: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: Option<Value>,
) -> Answer {
    let body = body.map(|body| body.to_string()).unwrap_or_default();
    let mut text = format!("{method} {path} HTTP/1.1\r\nhost: {to}\r\nconnection: close\r\n");
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    if !body.is_empty() {
        text.push_str("content-type: application/json\r\n");
    }
    text.push_str(&format!("content-length: {}\r\n\r\n{body}", body.len()));
    raw(to, text.as_bytes()).await
}

/// Sends bytes and reads until the server closes.
pub(crate) async fn raw(to: SocketAddr, bytes: &[u8]) -> Answer {
    let mut stream = TcpStream::connect(to).await.unwrap();
    // A server that refuses early may close before it has read everything.
    let _ = stream.write_all(bytes).await;
    read_answer(&mut stream).await
}

pub(crate) async fn read_answer(stream: &mut TcpStream) -> Answer {
    let mut bytes = Vec::new();
    let mut chunk = [0; 16 * 1024];
    while let Ok(read @ 1..) = stream.read(&mut chunk).await {
        bytes.extend_from_slice(&chunk[..read]);
    }
    Answer::parse(&bytes)
}
