//! The queue between threads that log and standard error.
//!
//! Bounded: when its reader is slow and the queue full, a line is dropped and counted, and the count is
//! written once there is room. A shard must never wait for a terminal or a pipe.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};

/// Lines that wait to be written.
const LINES_MAX: usize = 8_192;
/// How long the end of the process waits for them.
const FLUSH_MS: u64 = 500;

enum Item {
    Line(Vec<u8>),
    Flush(SyncSender<()>),
}

/// Where lines are given in. Clones share the queue.
#[derive(Debug, Clone)]
pub(super) struct Lines {
    sender: SyncSender<Item>,
    dropped: Arc<AtomicU64>,
}

impl Lines {
    /// Starts the thread that writes to standard error.
    ///
    /// # Errors
    /// The system gave no thread.
    pub(super) fn start() -> io::Result<Self> {
        // Told through the queue itself, in the log's own format, now that there is room again.
        Self::start_to(io::stderr(), LINES_MAX, |lines| tracing::warn!(lines, "log lines dropped"))
    }

    fn start_to(
        output: impl Write + Send + 'static,
        lines_max: usize,
        lost: impl Fn(u64) + Send + 'static,
    ) -> io::Result<Self> {
        let (sender, lines) = sync_channel(lines_max);
        let dropped = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&dropped);
        std::thread::Builder::new().name("ringway-log".into()).spawn(move || write(output, &lines, &counter, &lost))?;
        Ok(Self { sender, dropped })
    }

    /// Waits until everything given in before is written, at most half a second.
    pub(super) fn flush(&self) {
        let end = Instant::now() + Duration::from_millis(FLUSH_MS);
        let (done, written) = sync_channel(1);
        let mut item = Item::Flush(done);
        while let Err(TrySendError::Full(back)) = self.sender.try_send(item) {
            if Instant::now() >= end {
                return;
            }
            item = back;
            std::thread::sleep(Duration::from_millis(1));
        }
        // Late is as good as never here: the process ends either way.
        let _ = written.recv_timeout(end.saturating_duration_since(Instant::now()));
    }
}

impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.sender.try_send(Item::Line(line.to_vec())).is_err() {
            self.dropped.fetch_add(1, Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A failed write has nobody to be told to.
fn write(mut output: impl Write, lines: &Receiver<Item>, dropped: &AtomicU64, lost: &dyn Fn(u64)) {
    while let Ok(item) = lines.recv() {
        match item {
            Item::Line(line) => drop(output.write_all(&line)),
            Item::Flush(done) => {
                let _ = output.flush();
                let _ = done.try_send(());
            }
        }
        let count = dropped.swap(0, Relaxed);
        if count > 0 {
            lost(count);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;
    use std::sync::mpsc::channel;

    /// An output that takes its first line only when the gate opens.
    struct Gated {
        gate: Option<Receiver<()>>,
        entered: SyncSender<()>,
        written: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for Gated {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if let Some(gate) = self.gate.take() {
                self.entered.send(()).unwrap();
                gate.recv().unwrap();
            }
            self.written.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_that_stands_still_costs_lines_and_never_time() {
        let (open, gate) = channel();
        let (entered, inside) = sync_channel(1);
        let written = Arc::new(Mutex::new(Vec::new()));
        let output = Gated { gate: Some(gate), entered, written: Arc::clone(&written) };
        let (tell, told) = channel();
        let mut lines = Lines::start_to(output, 2, move |count| tell.send(count).unwrap()).unwrap();
        lines.write_all(b"one\n").unwrap();
        inside.recv().unwrap();
        for line in [&b"two\n"[..], b"three\n", b"lost\n", b"lost too\n"] {
            lines.write_all(line).unwrap();
        }
        open.send(()).unwrap();
        assert_eq!(told.recv().unwrap(), 2);
        Lines::flush(&lines);
        let text = String::from_utf8(written.lock().unwrap().clone()).unwrap();
        assert_eq!(text, "one\ntwo\nthree\n");
    }
}
