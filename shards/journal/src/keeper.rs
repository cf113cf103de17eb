//! The keeper: lets released segments go and has the next segment file ready before it is needed.
//!
//! A task of the journal thread; the file work itself runs on glommio's blocking thread, so that it holds
//! up neither commits nor reads. Woken by `release`, by a rotation and by a writer that wants a spare, or will soon.
//!
//! Segments go strictly from the oldest on, and the folder is flushed after each, so that a power cut
//! never leaves a hole between segments.

use std::io::ErrorKind;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use crate::folder;
use crate::state::{Core, Spare};

/// Runs until the journal stops.
pub(crate) async fn run(core: Rc<Core>) {
    while !core.demand.stop.load(Relaxed) {
        while let_go_of_one(&core).await {}
        core.state.borrow_mut().cache.release(core.shared.released.load(Relaxed));
        provide_spare(&core).await;
        core.count_files();
        core.shared.keeper_wake.notified().await;
    }
    // What was released while a spare was being written.
    while let_go_of_one(&core).await {}
}

/// Removes or recycles the oldest segment if it is released. Whether there may be another.
async fn let_go_of_one(core: &Core) -> bool {
    let (path, recycles) = {
        let state = core.state.borrow();
        if !state.front_is_released(core.shared.released.load(Relaxed)) {
            return false;
        }
        let Some(front) = state.segments.front() else { return false };
        let fits = front.file_bytes() == core.shared.config.segment_bytes;
        (front.path.clone(), fits && state.spare == Spare::Absent)
    };
    let folder_path = core.shared.config.folder.clone();
    let done = glommio::executor()
        .spawn_blocking({
            let path = path.clone();
            move || {
                if recycles {
                    folder::recycle(&folder_path, &path)
                } else {
                    folder::remove_if_there(&path).and_then(|()| folder::sync(&folder_path))
                }
            }
        })
        .await;
    if let Err(error) = done {
        // Left in place and tried again at the next wake.
        tracing::warn!(file = %path.display(), %error, "a released journal segment could not be removed");
        return false;
    }
    let front = {
        let mut state = core.state.borrow_mut();
        if recycles {
            state.spare = Spare::Ready { zeroed: false };
        }
        state.segments.pop_front()
    };
    if recycles {
        core.spare_changed.notify_one();
    }
    if let Some(front) = front {
        // A reader may still hold it; the last holder closes it.
        let _ = front.file.close_rc().await;
    }
    true
}

/// Makes the next segment's file if it is needed soon, there is none and there is room. Until then a segment
/// that is released may become it: writing a new one costs the disk as much as what will be written into it,
/// and delays the flushes of those who write.
async fn provide_spare(core: &Core) {
    let config = &core.shared.config;
    let bytes = config.segment_bytes;
    {
        let state = core.state.borrow();
        let needed = core.demand.hurry.load(Relaxed) || state.needs_spare_soon(bytes);
        if state.spare != Spare::Absent || !needed {
            return;
        }
    }
    if core.disk_bytes() + bytes > config.journal_bytes_max {
        core.state.borrow_mut().refusal = Some(format!("its bound of {} bytes is reached", config.journal_bytes_max));
        core.spare_changed.notify_one();
        return;
    }
    let folder_path = config.folder.clone();
    let demand = Arc::clone(&core.demand);
    let made = glommio::executor().spawn_blocking(move || folder::make_spare(&folder_path, bytes, &demand)).await;
    match made {
        Ok(()) => core.state.borrow_mut().spare = Spare::Ready { zeroed: true },
        Err(error) if error.kind() == ErrorKind::Interrupted => {}
        Err(error) => {
            core.state.borrow_mut().refusal = Some(format!("no room for another segment: {error}"));
        }
    }
    core.spare_changed.notify_one();
}
