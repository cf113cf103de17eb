//! Rings against plain sockets, where the kernel decides: bytes larger than any buffer, readers that do not read, places
//! that are used again.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

use std::collections::BTreeMap;
use std::io::{Error, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use ringway_perf_ring::{Ring, Service, Settings};

/// Nothing takes so long.
const PATIENCE: Duration = Duration::from_secs(20);
/// More than the kernel holds of one connection.
const BYTES: usize = 30_000_000;
const ANSWER_BYTES: usize = 1_000_000;

/// Keeps what it is told.
#[derive(Default)]
struct Witness {
    entered: Vec<usize>,
    received: BTreeMap<usize, Vec<u8>>,
    sent: Vec<usize>,
    ended: Vec<(usize, Option<std::io::ErrorKind>)>,
    /// Connections whose bytes are not wanted end at the first.
    refuses: bool,
}

impl Service for Witness {
    fn entered(&mut self, at: usize) {
        self.entered.push(at);
    }

    fn received(&mut self, at: usize, bytes: &mut [u8]) -> bool {
        // They may be changed where they lie.
        bytes.iter_mut().for_each(|byte| *byte ^= 1);
        self.received.entry(at).or_default().extend_from_slice(bytes);
        !self.refuses
    }

    fn sent(&mut self, at: usize) {
        self.sent.push(at);
    }

    fn ended(&mut self, at: usize, error: Option<Error>) {
        self.ended.push((at, error.map(|error| error.kind())));
    }
}

struct Test {
    ring: Ring,
    witness: Witness,
}

impl Test {
    /// With few small buffers, so that they run out.
    fn new(connections_max: u32) -> Self {
        let settings = Settings { submissions: 8, completions: 64, buffers: 256, buffer_bytes: 64, connections_max };
        Self { ring: Ring::new(&settings).unwrap(), witness: Witness::default() }
    }

    fn turn(&mut self) {
        self.ring.wait(Some(Duration::from_millis(20))).unwrap();
        self.ring.handle(usize::MAX, &mut self.witness).unwrap();
    }

    /// As many as an end takes: cancelled, closed, told.
    fn turns(&mut self) {
        (0..3).for_each(|_| self.turn());
    }

    fn until(&mut self, what: &str, mut is_so: impl FnMut(&Witness) -> bool) {
        let limit = Instant::now() + PATIENCE;
        while !is_so(&self.witness) {
            assert!(Instant::now() < limit, "{what}");
            self.turn();
        }
    }

    /// A connection of the ring, and its other end.
    fn connect(&mut self, listener: &TcpListener) -> (usize, TcpStream) {
        let ours = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (theirs, _) = listener.accept().unwrap();
        theirs.set_read_timeout(Some(PATIENCE)).unwrap();
        (self.ring.add(ours.into()).unwrap(), theirs)
    }

    fn received(&self, at: usize) -> &[u8] {
        self.witness.received.get(&at).map_or(&[], Vec::as_slice)
    }
}

fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").unwrap()
}

fn letter() -> Vec<u8> {
    (0..BYTES).map(|at| (at % 251) as u8).collect()
}

#[test]
fn a_connection_may_wait_for_room_and_buffers_may_run_out() {
    let (listener, mut test) = (listener(), Test::new(16));
    let (at, mut theirs) = test.connect(&listener);
    // Nobody reads yet: the kernel has no room for all.
    let mut bytes = letter();
    assert!(test.ring.send(at, &mut bytes));
    assert!(bytes.is_empty());
    test.turn();
    let mut more = b"more".to_vec();
    assert!(!test.ring.send(at, &mut more), "the first is still under way");
    assert_eq!(more, b"more");
    let reader = std::thread::spawn(move || {
        let mut got = vec![0; BYTES];
        theirs.read_exact(&mut got).unwrap();
        theirs.write_all(&letter()[..ANSWER_BYTES]).unwrap();
        let mut last = [0; 4];
        theirs.read_exact(&mut last).unwrap();
        (got, last)
    });
    test.until("the first goes out", |witness| witness.sent == [at]);
    assert!(test.ring.send(at, &mut more));
    // A megabyte through 256 buffers of 64 bytes.
    test.until("the answer", |witness| witness.received.get(&at).is_some_and(|got| got.len() == ANSWER_BYTES));
    let flipped: Vec<u8> = letter().iter().take(ANSWER_BYTES).map(|byte| byte ^ 1).collect();
    assert!(test.received(at) == flipped);
    let (got, last) = reader.join().unwrap();
    assert!(got == letter() && &last == b"more");
    test.until("the end", |witness| witness.ended == [(at, None)]);
}

#[test]
fn places_are_used_again_and_bounded_and_hold_no_descriptor() {
    let (listener, mut test) = (listener(), Test::new(2));
    let descriptors = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let (first, theirs) = test.connect(&listener);
    let before = descriptors();
    let (second, mut others) = test.connect(&listener);
    assert_eq!(descriptors(), before + 1, "only the other end has one");
    let spare = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    assert!(test.ring.add(spare.into()).is_err(), "there is no third place");
    drop(listener.accept().unwrap());

    drop(theirs);
    test.until("the end", |witness| witness.ended == [(first, None)]);
    let again = Instant::now() + PATIENCE;
    let third = loop {
        let ours = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (theirs, _) = listener.accept().unwrap();
        match test.ring.add(ours.into()) {
            Ok(at) => break (at, theirs),
            Err(_) => assert!(Instant::now() < again, "the place is not free again"),
        }
        test.turn();
    };
    assert_eq!(third.0, first);
    // What was ended by us is told no more, and the other side sees it.
    test.ring.send(second, &mut b"bye".to_vec());
    test.ring.end(second);
    test.turns();
    let mut got = Vec::new();
    others.read_to_end(&mut got).unwrap();
    assert_eq!(got, b"bye");
    test.turn();
    assert_eq!(test.witness.ended, [(first, None)]);
}

#[test]
fn a_paused_connection_is_told_nothing_until_it_goes_on() {
    let (listener, mut test) = (listener(), Test::new(4));
    let (at, mut theirs) = test.connect(&listener);
    theirs.write_all(b"a").unwrap();
    test.until("the first byte", |witness| witness.received.contains_key(&at));
    test.ring.pause(at);
    test.turn();
    theirs.write_all(b"b").unwrap();
    drop(theirs);
    test.turn();
    test.turn();
    assert_eq!((test.received(at).len(), test.witness.ended.len()), (1, 0));
    test.ring.resume(at);
    test.until("the end", |witness| witness.ended == [(at, None)]);
    assert_eq!(test.received(at).len(), 2);
    // Ended while paused and asked for at once.
    let (at, mut theirs) = test.connect(&listener);
    test.ring.pause(at);
    test.ring.end(at);
    test.turns();
    assert_eq!(theirs.read(&mut [0]).unwrap(), 0);
}

#[test]
fn a_listener_is_served_and_who_is_refused_is_told_no_more() {
    let (listener, mut test) = (listener(), Test::new(16));
    let address = listener.local_addr().unwrap();
    test.ring.listen(listener);
    assert!(test.ring.add(TcpStream::connect(address).unwrap().into()).is_err(), "one kind alone");
    test.until("the first", |witness| witness.entered.len() == 1);
    test.witness.refuses = true;
    let mut clients: Vec<TcpStream> = (0..5).map(|_| TcpStream::connect(address).unwrap()).collect();
    test.until("the others", |witness| witness.entered.len() == 6);
    let refused = test.witness.entered[1..].to_vec();
    for client in &mut clients {
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        client.write_all(b"x").unwrap();
    }
    test.until("their bytes", |witness| refused.iter().all(|at| witness.received.contains_key(at)));
    test.turns();
    for client in &mut clients {
        // Closed, or reset.
        assert!(!matches!(client.read(&mut [0]), Ok(1..)));
    }
    assert!(test.witness.ended.iter().all(|(at, _)| !refused.contains(at)));
}

#[test]
fn a_wait_ends_when_its_time_is_up_and_what_is_pending_can_be_seen() {
    let (listener, mut test) = (listener(), Test::new(4));
    let (at, mut theirs) = test.connect(&listener);
    test.ring.submit().unwrap();
    let began = Instant::now();
    test.ring.wait(Some(Duration::from_millis(30))).unwrap();
    assert!(began.elapsed() >= Duration::from_millis(29));
    assert!(!test.ring.is_pending());
    theirs.write_all(b"a").unwrap();
    let limit = Instant::now() + PATIENCE;
    while !test.ring.is_pending() {
        assert!(Instant::now() < limit, "it is never seen");
    }
    test.ring.gather().unwrap();
    assert_eq!(test.ring.unhandled(), 1);
    test.ring.handle(0, &mut test.witness).unwrap();
    assert_eq!(test.ring.unhandled(), 1);
    test.ring.handle(9, &mut test.witness).unwrap();
    assert_eq!((test.ring.unhandled(), test.received(at)), (0, &[b'a' ^ 1][..]));
}
