//! The journal thread: recovers the folder, then runs writer, keeper and reader on a glommio executor.
//!
//! The three tasks are woken from other threads and are therefore detached: glommio frees a task when its
//! last waker goes, and the main future, whose handle it also frees, is only ever woken from this thread.
//! The thread never spins: without work it sleeps in the kernel until a completion or a foreign wake.

use std::cell::RefCell;
use std::fs::File;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use glommio::{LocalExecutor, LocalExecutorBuilder, Placement};
use tokio::sync::{Notify, mpsc, oneshot, watch};

use crate::cache::TailCache;
use crate::config::{REGISTERED_BYTES, RING_ENTRIES};
use crate::error::OpenError;
use crate::reader::Read;
use crate::recover::{Found, Recovery, recover};
use crate::state::{Core, Segment, Shared, Spare, State};
use crate::support::Unsupported;
use crate::writer::{Command, Writer, open_options};
use crate::{folder, keeper, reader};

/// The receiving ends of what handles hold.
pub(crate) struct Ends {
    pub(crate) commands: mpsc::UnboundedReceiver<Command>,
    pub(crate) reads: mpsc::Receiver<Read>,
    pub(crate) end: watch::Sender<u64>,
}

/// An executor with small rings, on the calling thread.
pub(crate) fn executor() -> Result<LocalExecutor, Unsupported> {
    LocalExecutorBuilder::new(Placement::Unbound)
        .name("journal")
        .io_memory(REGISTERED_BYTES)
        .ring_depth(RING_ENTRIES)
        .make()
        .map_err(|error| Unsupported::from_executor(&error))
}

/// The body of the journal thread. `opened` is told how the start went, before anything is served.
pub(crate) fn run(shared: Arc<Shared>, ends: Ends, opened: &dyn Fn(Result<Recovery, OpenError>)) {
    let (found, lock, executor) = match start(&shared) {
        Ok(started) => started,
        Err(error) => return opened(Err(error)),
    };
    executor.run(serve(shared, found, ends, opened));
    drop(executor);
    drop(lock);
}

fn start(shared: &Shared) -> Result<(Found, File, LocalExecutor), OpenError> {
    let lock = folder::lock(&shared.config.folder)?;
    crate::support::check_direct_io(&shared.config.folder)?;
    let found = recover(&shared.config)?;
    Ok((found, lock, executor()?))
}

async fn serve(shared: Arc<Shared>, found: Found, ends: Ends, opened: &dyn Fn(Result<Recovery, OpenError>)) {
    let summary = found.summary();
    let core = match open_segments(shared, found).await {
        Ok(state) => Rc::new(state),
        Err(error) => return opened(Err(error)),
    };
    core.count_files();
    ends.end.send_replace(summary.end);
    opened(Ok(summary));

    let (stop_reader, reader_stops) = oneshot::channel();
    let reader_done = detach(reader::run(Rc::clone(&core), ends.reads, reader_stops));
    let keeper_done = detach(keeper::run(Rc::clone(&core)));
    let writer_done = detach(Writer::new(Rc::clone(&core), ends.commands, ends.end).run());

    // Each is an error only in that the task's end dropped the sender, which is what is waited for.
    let _ = writer_done.await;
    drop(stop_reader);
    core.demand.stop.store(true, Relaxed);
    core.shared.keeper_wake.notify_one();
    let _ = reader_done.await;
    let _ = keeper_done.await;
    close_segments(&core).await;
}

/// Spawns a task; the receiver ends when the task does.
fn detach(task: impl Future<Output = ()> + 'static) -> oneshot::Receiver<()> {
    let (done, ended) = oneshot::channel();
    glommio::spawn_local(async move {
        task.await;
        drop(done);
    })
    .detach();
    ended
}

async fn open_segments(shared: Arc<Shared>, found: Found) -> Result<Core, OpenError> {
    let mut state = State {
        segments: std::collections::VecDeque::with_capacity(found.segments.len()),
        next_commit: found.next_commit,
        next_ordinal: found.next_ordinal,
        cache: TailCache::new(shared.config.tail_cache_bytes),
        spare: if found.has_spare { Spare::Ready { zeroed: false } } else { Spare::Absent },
        refusal: None,
    };
    for segment in found.segments {
        let opened = open_options().dma_open(&segment.path).await;
        let file = opened.map_err(|error| OpenError::Io {
            what: "opening",
            path: segment.path.clone(),
            source: error.into(),
        })?;
        state.segments.push_back(Segment {
            path: segment.path,
            salt: segment.header.salt,
            first_ordinal: segment.header.first_ordinal,
            first_commit: segment.header.first_commit,
            file_blocks: segment.file_blocks,
            end_block: segment.end_block,
            commits: segment.commits,
            file: Rc::new(file),
        });
    }
    Ok(Core { shared, state: RefCell::new(state), spare_changed: Notify::new(), demand: Arc::default() })
}

async fn close_segments(core: &Core) {
    let segments = std::mem::take(&mut core.state.borrow_mut().segments);
    for segment in segments {
        // Everything is flushed; a failed close loses nothing.
        let _ = segment.file.close_rc().await;
    }
}
