//! The reader: answers reads from the cache, else from the disk, checking every commit it reads.
//!
//! A task of the journal thread; reads are served one at a time, between the awaits of the writer. A
//! record read from disk is a slice of a copy of its commit's payload, so it keeps that payload in memory.

use std::pin::pin;
use std::rc::Rc;

use bytes::Bytes;
use futures_util::future::{Either, select};
use tokio::sync::{mpsc, oneshot};

use crate::cache::Taken;
use crate::codec::{BLOCK_BYTES, CommitFault, decode_commit, record_ranges};
use crate::error::ReadError;
use crate::state::{Core, Span};

/// One call of `read`.
#[derive(Debug)]
pub(crate) struct Read {
    pub(crate) from: u64,
    pub(crate) records_max: usize,
    pub(crate) bytes_max: usize,
    pub(crate) reply: oneshot::Sender<Result<Vec<(u64, Bytes)>, ReadError>>,
}

/// Runs until `stop`; reads that wait then are answered `Closed` by the drop of their reply.
pub(crate) async fn run(core: Rc<Core>, mut reads: mpsc::Receiver<Read>, mut stop: oneshot::Receiver<()>) {
    loop {
        let next = pin!(reads.recv());
        let read = match select(next, &mut stop).await {
            Either::Left((Some(read), _)) => read,
            Either::Left((None, _)) | Either::Right(_) => return,
        };
        let mut taken = Taken::new(read.records_max, read.bytes_max);
        let answer = gather(&core, read.from, &mut taken).await;
        let answer = match answer {
            // What was read before the trouble is good; the next read meets the trouble first.
            Err(_) if !taken.is_empty() => Ok(taken.into_records()),
            answer => answer.map(|()| taken.into_records()),
        };
        // The caller may have gone.
        let _ = read.reply.send(answer);
    }
}

async fn gather(core: &Core, from: u64, taken: &mut Taken) -> Result<(), ReadError> {
    let mut at = from;
    while !taken.is_full() {
        let first = core.first_readable();
        if at < first {
            return Err(ReadError::Released(first));
        }
        let span = {
            let state = core.state.borrow();
            if at >= state.next_ordinal {
                return Ok(());
            }
            if state.cache.first().is_some_and(|cached| cached <= at) {
                state.cache.read(at, taken);
                return Ok(());
            }
            state.locate(at, taken.bytes_left())
        };
        let missing = || ReadError::Damaged(format!("record {at} is not in the index"));
        at = match read_span(&span.ok_or_else(missing)?, at, taken).await {
            // A segment that was let go and recycled while it was read.
            Err(_) if at < core.first_readable() => return Err(ReadError::Released(core.first_readable())),
            read => read?,
        };
    }
    Ok(())
}

/// Reads a span with one I/O and takes its records from `from` on; the ordinal after the span.
async fn read_span(span: &Span, from: u64, taken: &mut Taken) -> Result<u64, ReadError> {
    let damaged = |what: String| ReadError::Damaged(format!("{}: {what}", span.path.display()));
    let blocks: u32 = span.commits.iter().map(|commit| commit.blocks).sum();
    let start = span.commits.first().map_or(0, |commit| commit.block);
    let position = u64::from(start) * BLOCK_BYTES as u64;
    let read = span.file.read_at_aligned(position, blocks as usize * BLOCK_BYTES).await;
    let read = read.map_err(|error| damaged(error.to_string()))?;
    let mut rest: &[u8] = &read;
    let mut next = from;
    for (number, placed) in (span.first_commit..).zip(&span.commits) {
        let commit = decode_commit(rest, span.salt).map_err(|fault| {
            let what = match fault {
                CommitFault::Absent => "it is not there",
                CommitFault::Broken(what) => what,
            };
            damaged(format!("commit {number} at block {}: {what}", placed.block))
        })?;
        if commit.number != number || commit.first_ordinal != placed.first_ordinal {
            return Err(damaged(format!("commit {} stands where commit {number} was", commit.number)));
        }
        let payload = Bytes::copy_from_slice(commit.payload);
        for (ordinal, range) in (commit.first_ordinal..).zip(record_ranges(commit.payload)) {
            if ordinal >= from && !taken.push(ordinal, || payload.slice(range)) {
                return Ok(ordinal);
            }
        }
        next = commit.first_ordinal + u64::from(commit.records);
        rest = rest.get(placed.blocks as usize * BLOCK_BYTES..).unwrap_or_default();
    }
    Ok(next)
}
