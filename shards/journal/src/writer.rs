//! The writer: gathers what is queued into one commit, writes it, flushes it, answers.
//!
//! A task of the journal thread. One commit is in flight at a time; whatever is appended meanwhile goes
//! into the next, so batches grow under load by themselves. An append is answered only after the flush of
//! the commit that holds all of it. A caller that drops its future drops only the answer.
//!
//! When a commit does not fit its segment, the spare becomes the next one. If there is none and none can
//! be had, every append that waits at that moment is refused `Full`: none overtakes an earlier one. After
//! a failed write or flush nothing is taken any more, since what the disk holds is unknown.

use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::time::{Duration, Instant};

use bytes::Bytes;
use glommio::io::{DmaFile, OpenOptions};
use rustix::fs::OFlags;
use tokio::sync::{mpsc, oneshot, watch};

use crate::codec::{BLOCK_BYTES, COMMIT_HEADER_BYTES, CommitPlace, PlacedCommit, SegmentHeader};
use crate::codec::{commit_blocks, encode_commit};
use crate::config::{COMMIT_INTERVAL, FULL_RETRY_MS};
use crate::error::AppendError;
use crate::folder;
use crate::recover::new_salt;
use crate::state::{Core, Segment, Shared, Spare};

/// Bytes counted as queued until this is dropped, with the append they belong to.
#[derive(Debug)]
pub(crate) struct Reservation {
    shared: Arc<Shared>,
    bytes: u64,
}

impl Reservation {
    /// Counts `bytes` as queued, unless that passes the bound.
    pub(crate) fn try_new(shared: &Arc<Shared>, bytes: usize) -> Option<Self> {
        let bytes = bytes as u64;
        let queued = shared.counters.queued_bytes.fetch_add(bytes, Relaxed);
        let reservation = Self { shared: Arc::clone(shared), bytes };
        // A single append always fits: it is bounded by itself.
        (queued == 0 || queued + bytes <= shared.config.queued_bytes_max as u64).then_some(reservation)
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.shared.counters.queued_bytes.fetch_sub(self.bytes, SeqCst);
        self.shared.tell_idle();
    }
}

/// One call of `append`.
#[derive(Debug)]
pub(crate) struct Append {
    pub(crate) records: Vec<Bytes>,
    /// How many have gathered them.
    pub(crate) callers: usize,
    pub(crate) payload_bytes: usize,
    pub(crate) reply: oneshot::Sender<Result<u64, AppendError>>,
    pub(crate) reservation: Reservation,
}

impl Append {
    fn answer(self, answer: Result<u64, AppendError>) {
        drop(self.reservation);
        // The caller may have gone; the record stays.
        let _ = self.reply.send(answer);
    }
}

/// What handles send to the writer.
#[derive(Debug)]
pub(crate) enum Command {
    Append(Append),
    Close,
}

/// Why a step did not work.
enum Trouble {
    Full(String),
    Failed(String),
}

impl Trouble {
    fn from_error(what: &str, raw_os_error: Option<i32>, error: &dyn std::fmt::Display) -> Self {
        let text = format!("{what}: {error}");
        if folder::means_full(raw_os_error) { Self::Full(text) } else { Self::Failed(text) }
    }
}

/// When a rotation was last refused, why, and what had been released then.
struct Refused {
    at: Instant,
    released: u64,
    why: String,
}

pub(crate) struct Writer {
    core: Rc<Core>,
    commands: mpsc::UnboundedReceiver<Command>,
    end: watch::Sender<u64>,
    queue: VecDeque<Append>,
    /// No commit before this.
    paused_until: Option<Instant>,
    refused: Option<Refused>,
}

impl Writer {
    pub(crate) fn new(core: Rc<Core>, commands: mpsc::UnboundedReceiver<Command>, end: watch::Sender<u64>) -> Self {
        Self { core, commands, end, queue: VecDeque::new(), paused_until: None, refused: None }
    }

    /// Runs until the journal is closed or its last handle is gone; what is queued is written first.
    pub(crate) async fn run(mut self) {
        while self.gather().await {
            if let Some(why) = self.core.shared.failure.get() {
                self.refuse_all(&AppendError::Failed(why.clone()));
                continue;
            }
            if let Err(trouble) = self.commit().await {
                self.handle_trouble(trouble);
            }
        }
    }

    /// Takes in what has been appended, after the pause and waiting for something if there is nothing. False at the end.
    async fn gather(&mut self) -> bool {
        if self.queue.is_empty() {
            if let Some(until) = self.paused_until.take() {
                let rest = until.saturating_duration_since(Instant::now());
                if !rest.is_zero() {
                    glommio::timer::sleep(rest).await;
                }
            }
            self.core.shared.end_pause();
            match self.commands.recv().await {
                Some(command) => self.handle_command(command),
                None => return false,
            }
        }
        while let Ok(command) = self.commands.try_recv() {
            self.handle_command(command);
        }
        true
    }

    fn handle_command(&mut self, command: Command) {
        match command {
            Command::Append(append) => self.queue.push_back(append),
            Command::Close => self.commands.close(),
        }
    }

    fn refuse_all(&mut self, error: &AppendError) {
        for append in self.queue.drain(..) {
            append.answer(Err(error.clone()));
        }
    }

    fn handle_trouble(&mut self, trouble: Trouble) {
        let counters = &self.core.shared.counters;
        match trouble {
            Trouble::Full(why) => {
                if !counters.full.swap(true, Relaxed) {
                    tracing::warn!(reason = %why, "journal is full, appends are refused");
                }
                self.refuse_all(&AppendError::Full(why));
            }
            Trouble::Failed(why) => {
                tracing::error!(reason = %why, "journal has failed and takes nothing more");
                counters.failed.store(true, Relaxed);
                let why = self.core.shared.failure.get_or_init(|| why).clone();
                self.refuse_all(&AppendError::Failed(why));
            }
        }
    }

    /// Writes one commit of what stands first in the queue.
    async fn commit(&mut self) -> Result<(), Trouble> {
        let Some(first) = self.queue.front() else { return Ok(()) };
        if self.room_bytes() < commit_blocks(first.payload_bytes) * BLOCK_BYTES {
            self.rotate().await?;
        }
        let started = Instant::now();
        let (mut appends, payload_bytes) = self.take_batch();
        // Whoever appends alone is not kept waiting; where several do, more come within the pause.
        let callers: usize = appends.iter().map(|append| append.callers).sum();
        self.paused_until = (callers > 1 && self.queue.is_empty()).then(|| started + COMMIT_INTERVAL);
        self.core.shared.pausing.store(self.paused_until.is_some(), Relaxed);
        let mut records = Vec::with_capacity(appends.iter().map(|append| append.records.len()).sum());
        let counts: Vec<u64> = appends.iter().map(|append| append.records.len() as u64).collect();
        for append in &mut appends {
            records.append(&mut append.records);
        }
        let written = self.write(&records, payload_bytes).await;
        match written {
            Ok(first_ordinal) => {
                let bytes = payload_bytes - records.len() * crate::codec::RECORD_PREFIX_BYTES;
                self.core.shared.counters.committed(records.len(), bytes, started.elapsed());
                let end = first_ordinal + records.len() as u64;
                self.core.state.borrow_mut().cache.push(first_ordinal, records);
                self.end.send_replace(end);
                let mut ordinal = first_ordinal;
                for (append, count) in appends.into_iter().zip(counts) {
                    append.answer(Ok(ordinal));
                    ordinal += count;
                }
                Ok(())
            }
            Err(trouble) => {
                // Back to the front: they are refused together with what waits behind them.
                for append in appends.into_iter().rev() {
                    self.queue.push_front(append);
                }
                Err(trouble)
            }
        }
    }

    fn room_bytes(&self) -> usize {
        self.core.state.borrow().segments.back().map_or(0, Segment::room_bytes)
    }

    /// Appends that go into one commit: the first always, more while they fit.
    fn take_batch(&mut self) -> (Vec<Append>, usize) {
        let room_bytes = self.room_bytes().saturating_sub(COMMIT_HEADER_BYTES);
        let bytes_max = room_bytes.min(self.core.shared.config.commit_bytes_max);
        let mut batch = Vec::new();
        let mut payload_bytes = 0;
        while let Some(append) = self.queue.front() {
            if !batch.is_empty() && payload_bytes + append.payload_bytes > bytes_max {
                break;
            }
            payload_bytes += append.payload_bytes;
            batch.extend(self.queue.pop_front());
        }
        (batch, payload_bytes)
    }

    /// Writes and flushes one commit at the end of the last segment; its first ordinal.
    async fn write(&self, records: &[Bytes], payload_bytes: usize) -> Result<u64, Trouble> {
        let blocks = commit_blocks(payload_bytes);
        let (file, block, place) = {
            let state = self.core.state.borrow();
            let no_segment = || Trouble::Failed("there is no segment to write to".into());
            let segment = state.segments.back().ok_or_else(no_segment)?;
            let place =
                CommitPlace { salt: segment.salt, number: state.next_commit, first_ordinal: state.next_ordinal };
            (Rc::clone(&segment.file), segment.end_block, place)
        };
        let mut buffer = file.alloc_dma_buffer(blocks * BLOCK_BYTES);
        encode_commit(buffer.as_bytes_mut(), place, records);
        write_all(&file, buffer, u64::from(block) * BLOCK_BYTES as u64).await?;

        let mut state = self.core.state.borrow_mut();
        let blocks = blocks as u32;
        state.next_commit += 1;
        state.next_ordinal += records.len() as u64;
        let segment_bytes = self.core.shared.config.segment_bytes;
        let needed_spare = state.needs_spare_soon(segment_bytes);
        if let Some(segment) = state.segments.back_mut() {
            segment.end_block += blocks;
            segment.commits.push(PlacedCommit { first_ordinal: place.first_ordinal, block, blocks });
        }
        if !needed_spare && state.needs_spare_soon(segment_bytes) {
            self.core.shared.keeper_wake.notify_one();
        }
        Ok(place.first_ordinal)
    }

    /// Makes the spare the segment that is written to.
    async fn rotate(&mut self) -> Result<(), Trouble> {
        let zeroed = self.take_spare().await?;
        let segment = match self.activate(zeroed).await {
            Ok(segment) => segment,
            Err(trouble) => {
                self.core.state.borrow_mut().spare = Spare::Ready { zeroed: false };
                return Err(trouble);
            }
        };
        let replaced = {
            let mut state = self.core.state.borrow_mut();
            // An append larger than a whole, still empty segment: the new file has taken over its name.
            let replaces = state.segments.back().is_some_and(|last| last.commits.is_empty());
            let replaced = if replaces { state.segments.pop_back() } else { None };
            state.segments.push_back(segment);
            state.spare = Spare::Absent;
            replaced
        };
        if let Some(replaced) = replaced {
            // Its name is gone already; a failed close leaks a descriptor and nothing else.
            let _ = replaced.file.close_rc().await;
        }
        self.refused = None;
        if self.core.shared.counters.full.swap(false, Relaxed) {
            tracing::info!("journal has room again");
        }
        self.core.count_files();
        self.core.shared.keeper_wake.notify_one();
        Ok(())
    }

    /// Waits for the spare, which is ready as a rule; asks for one if the last attempt failed.
    async fn take_spare(&mut self) -> Result<bool, Trouble> {
        let released = self.core.shared.released.load(Relaxed);
        if let Some(refused) = &self.refused
            && refused.released == released
            && refused.at.elapsed() < Duration::from_millis(FULL_RETRY_MS)
        {
            return Err(Trouble::Full(refused.why.clone()));
        }
        self.core.state.borrow_mut().refusal = None;
        loop {
            {
                let mut state = self.core.state.borrow_mut();
                if let Spare::Ready { zeroed } = state.spare {
                    state.spare = Spare::Taken;
                    self.core.demand.hurry.store(false, Relaxed);
                    return Ok(zeroed);
                }
                self.core.demand.hurry.store(true, Relaxed);
                if let Some(why) = state.refusal.take() {
                    self.refused = Some(Refused { at: Instant::now(), released, why: why.clone() });
                    return Err(Trouble::Full(why));
                }
            }
            self.core.shared.keeper_wake.notify_one();
            self.core.spare_changed.notified().await;
        }
    }

    /// Writes the header into the spare, flushes it, and only then gives it its name: a segment's header
    /// is never torn, and a segment exists only if all commits before it are on disk.
    async fn activate(&self, zeroed: bool) -> Result<Segment, Trouble> {
        let failed =
            |error: glommio::GlommioError<()>| Trouble::from_error("starting a segment", error.raw_os_error(), &error);
        let salted = new_salt().map_err(|error| Trouble::Failed(format!("drawing a salt: {error}")));
        let (salt, core) = (salted?, &self.core);
        let (first_commit, first_ordinal) = {
            let state = core.state.borrow();
            (state.next_commit, state.next_ordinal)
        };
        let folder_path = &core.shared.config.folder;
        let spare_path = folder::spare_path(folder_path);
        let file = open_options().dma_open(spare_path).await.map_err(failed)?;
        let file_bytes = file.file_size().await.map_err(failed)?;
        let mut buffer = file.alloc_dma_buffer(BLOCK_BYTES);
        let header = SegmentHeader { salt, first_commit, first_ordinal, zeroed };
        buffer.as_bytes_mut().copy_from_slice(&header.encode());
        write_all(&file, buffer, 0).await?;
        // Blocking, once a segment: nothing else can be written before it anyway.
        let path = folder::activate(folder_path, first_ordinal)
            .map_err(|error| Trouble::from_error("naming a segment", error.raw_os_error(), &error))?;
        Ok(Segment {
            path,
            salt,
            first_ordinal,
            first_commit,
            file_blocks: u32::try_from(file_bytes / BLOCK_BYTES as u64).unwrap_or(u32::MAX),
            end_block: 1,
            commits: Vec::new(),
            file: Rc::new(file),
        })
    }
}

/// How segments are opened for writing. `O_DSYNC` makes a write and its flush one request: on a busy core a
/// commit costs half of what it does with an `fdatasync` behind it.
pub(crate) fn open_options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).custom_flags(OFlags::DSYNC.bits() as i32);
    options
}

/// Writes a buffer to a file of [`open_options`]: it is on disk when this returns.
async fn write_all(file: &DmaFile, buffer: glommio::io::DmaBuffer, at: u64) -> Result<(), Trouble> {
    let bytes = buffer.len();
    let written = file.write_at(buffer, at).await;
    // A write without room changes nothing that counts: the same place is written again later. After any
    // other error nobody knows what the disk holds.
    let written = written.map_err(|error| Trouble::from_error("writing", error.raw_os_error(), &error))?;
    if written != bytes {
        return Err(Trouble::Failed(format!("writing: {written} of {bytes} bytes were taken")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use tokio::sync::Notify;

    use super::*;
    use crate::cache::TailCache;
    use crate::config::JournalConfig;
    use crate::recover::recover;
    use crate::state::State;

    fn send_append(commands: &mpsc::UnboundedSender<Command>, shared: &Arc<Shared>) -> Answer {
        let (reply, answer) = oneshot::channel();
        let records = vec![Bytes::from_static(b"record")];
        let reservation = Reservation::try_new(shared, 100).unwrap();
        commands.send(Command::Append(Append { records, callers: 1, payload_bytes: 10, reply, reservation })).unwrap();
        answer
    }

    type Answer = oneshot::Receiver<Result<u64, AppendError>>;

    /// A segment that cannot be written (its file is open for reading only) stands for a disk that fails.
    #[test]
    fn after_a_failed_write_every_append_fails_and_nothing_is_taken_any_more() {
        let folder = tempfile::tempdir().unwrap();
        let config = JournalConfig { segment_bytes: 64 * 1024, ..JournalConfig::new(folder.path()) };
        let mut found = recover(&config).unwrap();
        let shared = Arc::new(Shared::new(config));
        let (commands, commands_end) = mpsc::unbounded_channel();
        let (end_sender, end) = watch::channel(0);
        let waiting = [send_append(&commands, &shared), send_append(&commands, &shared)];
        let later_shared = Arc::clone(&shared);
        crate::thread::executor().unwrap().run(async move {
            let found = found.segments.pop().unwrap();
            let file = OpenOptions::new().read(true).dma_open(&found.path).await.unwrap();
            let segment = Segment {
                path: found.path,
                salt: found.header.salt,
                first_ordinal: 0,
                first_commit: 0,
                file_blocks: found.file_blocks,
                end_block: found.end_block,
                commits: Vec::new(),
                file: Rc::new(file),
            };
            let core = Rc::new(Core {
                shared: later_shared,
                state: std::cell::RefCell::new(State {
                    segments: VecDeque::from([segment]),
                    next_commit: 0,
                    next_ordinal: 0,
                    cache: TailCache::new(1000),
                    spare: Spare::Absent,
                    refusal: None,
                }),
                spare_changed: Notify::new(),
                demand: Arc::default(),
            });
            let writer = glommio::spawn_local(Writer::new(Rc::clone(&core), commands_end, end_sender).run());
            for answer in waiting {
                let answer = answer.await.unwrap();
                assert!(matches!(answer, Err(AppendError::Failed(_))), "{answer:?}");
            }
            let later = send_append(&commands, &core.shared).await.unwrap();
            assert!(matches!(later, Err(AppendError::Failed(_))), "{later:?}");
            drop(commands);
            writer.await;
        });
        assert!(shared.failure.get().is_some() && shared.counters.failed.load(Relaxed));
        assert_eq!((*end.borrow(), shared.counters.queued_bytes.load(Relaxed)), (0, 0));
    }
}
