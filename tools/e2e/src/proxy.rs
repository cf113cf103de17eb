//! A way to a server that can be cut or made slow: what a firewall, a broken cable or a partition does to one node, and
//! what a server does that is too busy.
//!
//! While it is cut nothing passes and nothing is refused: connections stay open in silence, as when packets are
//! dropped. When it is mended they are closed, and new ones pass. Dropping it closes everything.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// A frame of the name server's is no longer than this.
const FRAME_BYTES_MAX: u32 = 16 * 1024 * 1024;
/// Bytes of an answer that are passed at once.
const PIECE_BYTES: usize = 64 * 1024;

/// See the module.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    cut: watch::Sender<bool>,
    pause: watch::Sender<Duration>,
    task: JoinHandle<()>,
}

/// What is done to answers on their way.
#[derive(Debug, Clone, Copy)]
enum Answers {
    /// Nothing.
    Pass,
    /// RocketMQ's frames: this port becomes that one, wherever it is told. Both have as many digits.
    Port(u16, u16),
}

impl Proxy {
    /// A way to a server.
    ///
    /// # Errors
    /// No port is free.
    pub async fn to(server: SocketAddr) -> io::Result<Self> {
        Self::start(server, Answers::Pass).await
    }

    /// A way to a RocketMQ name server that tells the broker to be where `broker` is, another way.
    ///
    /// # Errors
    /// No port is free, or the ports differ in length.
    pub async fn to_name_server(server: SocketAddr, broker: SocketAddr, by: &Self) -> io::Result<Self> {
        let (old, new) = (broker.port(), by.address.port());
        if old.to_string().len() != new.to_string().len() {
            return Err(io::Error::other(format!("port {new} cannot stand for {old}: the frame would be longer")));
        }
        Self::start(server, Answers::Port(old, new)).await
    }

    async fn start(server: SocketAddr, answers: Answers) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (cut, is_cut) = watch::channel(false);
        let (pause, paused) = watch::channel(Duration::ZERO);
        let task = tokio::spawn(async move {
            // Dropped with the task, and with it every connection.
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                while connections.try_join_next().is_some() {}
                connections.spawn(pass(client, server, (answers, paused.clone()), is_cut.clone()));
            }
        });
        Ok(Self { address, cut, pause, task })
    }

    /// Where it is entered.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Nothing passes any more.
    pub fn cut(&self) {
        self.cut.send_replace(true);
    }

    /// Each answer comes so much later from now on. A name server's do not.
    pub fn slow(&self, by: Duration) {
        self.pause.send_replace(by);
    }

    /// What comes from now on passes.
    pub fn mend(&self) {
        self.cut.send_replace(false);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// One connection. Its end is an error or not: the two ends see it close either way.
async fn pass(
    mut client: TcpStream,
    server: SocketAddr,
    (answers, paused): (Answers, watch::Receiver<Duration>),
    mut is_cut: watch::Receiver<bool>,
) {
    let was_cut = *is_cut.borrow_and_update();
    if !was_cut {
        let Ok(mut server) = TcpStream::connect(server).await else { return };
        // Small frames go out at once, as without a proxy between.
        let _ = (client.set_nodelay(true), server.set_nodelay(true));
        let passing = async {
            match answers {
                Answers::Pass => pass_pieces(&mut client, &mut server, &paused).await,
                Answers::Port(old, new) => pass_frames(&mut client, &mut server, old, new).await,
            }
        };
        tokio::select! {
            _ = passing => return,
            _ = is_cut.wait_for(|cut| *cut) => {}
        }
        // Both stay open, in silence.
        let _ = is_cut.wait_for(|cut| !*cut).await;
        return;
    }
    let _ = is_cut.wait_for(|cut| !*cut).await;
}

/// Passes what is asked as it comes, and answers after a pause.
async fn pass_pieces(
    client: &mut TcpStream,
    server: &mut TcpStream,
    paused: &watch::Receiver<Duration>,
) -> io::Result<()> {
    let (mut asks, mut to_client) = client.split();
    let (mut answers, mut to_server) = server.split();
    let ask = tokio::io::copy(&mut asks, &mut to_server);
    let answer = async {
        let mut piece = vec![0; PIECE_BYTES];
        loop {
            let read = answers.read(&mut piece).await?;
            let pause = *paused.borrow();
            if !pause.is_zero() {
                tokio::time::sleep(pause).await;
            }
            match piece.get(..read) {
                None | Some([]) => return Ok(()),
                Some(piece) => to_client.write_all(piece).await?,
            }
        }
    };
    tokio::select! {
        ended = ask => ended.map(drop),
        ended = answer => ended,
    }
}

/// Passes what is asked as it comes, and answers frame by frame: four bytes of length, then as many.
async fn pass_frames(client: &mut TcpStream, server: &mut TcpStream, old: u16, new: u16) -> io::Result<()> {
    let (mut asks, mut to_client) = client.split();
    let (mut answers, mut to_server) = server.split();
    let (old, new) = (format!(":{old}"), format!(":{new}"));
    let ask = tokio::io::copy(&mut asks, &mut to_server);
    let answer = async {
        loop {
            let length = answers.read_u32().await?;
            if length > FRAME_BYTES_MAX {
                return Err(io::Error::other("no frame of a name server"));
            }
            let mut frame = vec![0; length as usize];
            answers.read_exact(&mut frame).await?;
            replace(&mut frame, old.as_bytes(), new.as_bytes());
            to_client.write_u32(length).await?;
            to_client.write_all(&frame).await?;
        }
    };
    tokio::select! {
        ended = ask => ended.map(drop),
        ended = answer => ended,
    }
}

/// Puts one text for another of the same length.
fn replace(bytes: &mut [u8], old: &[u8], new: &[u8]) {
    let mut at = 0;
    while let Some(found) = bytes.get(at..).and_then(|rest| rest.windows(old.len()).position(|part| part == old)) {
        if let Some(place) = bytes.get_mut(at + found..at + found + new.len()) {
            place.copy_from_slice(new);
        }
        at += found + old.len();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    /// Answers each byte with the same.
    async fn echo() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut reader, mut writer) = stream.split();
                    let _ = tokio::io::copy(&mut reader, &mut writer).await;
                });
            }
        });
        address
    }

    async fn answers(stream: &mut TcpStream, limit: Duration) -> bool {
        stream.write_all(b"x").await.is_ok()
            && matches!(tokio::time::timeout(limit, stream.read_u8()).await, Ok(Ok(b'x')))
    }

    #[tokio::test]
    async fn a_cut_way_is_silent_and_a_mended_one_passes_what_comes_anew() {
        let proxy = Proxy::to(echo().await).await.unwrap();
        let (short, long) = (Duration::from_millis(50), Duration::from_secs(10));
        let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
        assert!(answers(&mut stream, long).await);
        proxy.cut();
        assert!(!answers(&mut stream, short).await);
        let mut other = TcpStream::connect(proxy.address()).await.unwrap();
        assert!(!answers(&mut other, short).await);
        proxy.mend();
        assert_eq!(stream.read(&mut [0; 9]).await.unwrap_or(0), 0, "what was open is closed");
        let mut third = TcpStream::connect(proxy.address()).await.unwrap();
        assert!(answers(&mut third, long).await);
    }

    #[tokio::test]
    async fn a_slow_way_answers_later() {
        let proxy = Proxy::to(echo().await).await.unwrap();
        let (pause, long) = (Duration::from_millis(100), Duration::from_secs(10));
        let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
        assert!(answers(&mut stream, long).await);
        proxy.slow(pause);
        let asked = Instant::now();
        assert!(answers(&mut stream, long).await && asked.elapsed() >= pause);
    }

    #[test]
    fn a_port_is_put_for_another_wherever_it_is_told() {
        let mut frame = br#"{"0":"127.0.0.1:10911","v":":10911"} 10911"#.to_vec();
        replace(&mut frame, b":10911", b":20911");
        assert_eq!(frame, br#"{"0":"127.0.0.1:20911","v":":20911"} 10911"#);
    }
}
