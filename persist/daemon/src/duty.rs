//! A duty: a lease, and the task that runs while it is held.
//!
//! ```text
//!             taken                       asked to end
//!   Free ───────────────► Running ──────────────────────► Ending ──ended, or out of time──► let go, Free
//!    ▲                       │ │                             │
//!    │     lost, or out of time: dropped at once ◄───────────┘
//!    └───────────────────────┘ │ ended by itself: its queue cannot be read
//!                              ▼
//!                            Failed: the lease is kept, so that no other process fails in its turn
//! ```

use std::time::Duration;

use ringway_store::ports::LogReadError;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::limits::STOP_MS;

/// A task that ends when its owner does.
struct Task(JoinHandle<Result<(), LogReadError>>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

enum Work {
    Running { task: Task, stop: watch::Sender<bool> },
    Ending { task: Task, since: Instant },
    Failed(String),
}

struct Held {
    /// The lease has run out then, at the latest.
    until: Instant,
    work: Work,
}

/// See the module's doc.
pub(crate) struct Duty {
    pub(crate) lease: String,
    held: Option<Held>,
}

/// What became of a task since the last look.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// It goes on.
    No,
    /// As it was asked to: the lease may be let go.
    AsAsked,
    /// Its queue cannot be read.
    Failed(String),
    /// It panicked: it may be begun again.
    Panicked,
}

impl Duty {
    pub(crate) fn new(lease: String) -> Self {
        Self { lease, held: None }
    }

    pub(crate) fn is_held(&self) -> bool {
        self.held.is_some()
    }

    /// Held, and not about to be let go.
    pub(crate) fn is_kept(&self) -> bool {
        matches!(&self.held, Some(Held { work: Work::Running { .. } | Work::Failed(_), .. }))
    }

    pub(crate) fn is_running(&self) -> bool {
        matches!(&self.held, Some(Held { work: Work::Running { .. }, .. }))
    }

    pub(crate) fn failure(&self) -> Option<&str> {
        match &self.held {
            Some(Held { work: Work::Failed(why), .. }) => Some(why),
            _ => None,
        }
    }

    /// The lease is held until then: begins the work.
    pub(crate) fn begin<F>(&mut self, until: Instant, work: impl FnOnce(watch::Receiver<bool>) -> F)
    where
        F: Future<Output = Result<(), LogReadError>> + Send + 'static,
    {
        let (stop, stopped) = watch::channel(false);
        let task = Task(tokio::spawn(work(stopped)));
        self.held = Some(Held { until, work: Work::Running { task, stop } });
    }

    pub(crate) fn renewed(&mut self, until: Instant) {
        if let Some(held) = &mut self.held {
            held.until = until;
        }
    }

    /// Whether the lease has run out at `at`.
    pub(crate) fn runs_out_by(&self, at: Instant) -> bool {
        self.held.as_ref().is_some_and(|held| held.until <= at)
    }

    /// The lease is another's, or anyone's: drops the work where it is.
    pub(crate) fn lost(&mut self) {
        self.held = None;
    }

    /// Asks the work to end.
    pub(crate) fn end(&mut self) {
        let Some(Held { until, work }) = self.held.take() else { return };
        let work = match work {
            Work::Running { task, stop } => {
                stop.send_replace(true);
                Work::Ending { task, since: Instant::now() }
            }
            other => other,
        };
        self.held = Some(Held { until, work });
    }

    /// Looks whether the work has ended.
    pub(crate) async fn look(&mut self) -> Ended {
        let Some(held) = &mut self.held else { return Ended::No };
        match &mut held.work {
            Work::Running { task, .. } if task.0.is_finished() => match (&mut task.0).await {
                Ok(outcome) => {
                    let why = outcome.err().unwrap_or(LogReadError::Closed).to_string();
                    held.work = Work::Failed(why.clone());
                    Ended::Failed(why)
                }
                Err(_) => {
                    self.held = None;
                    Ended::Panicked
                }
            },
            Work::Ending { task, since } => {
                let ended = task.0.is_finished() || since.elapsed() >= Duration::from_millis(STOP_MS);
                if ended { Ended::AsAsked } else { Ended::No }
            }
            _ => Ended::No,
        }
    }

    /// Waits for the work that was asked to end; then drops it.
    pub(crate) async fn ended(&mut self) {
        if let Some(Held { work: Work::Ending { task, .. }, .. }) = &mut self.held {
            // Out of time, or a panic that was reported: what was not committed is done by the next one.
            let _ = tokio::time::timeout(Duration::from_millis(STOP_MS), &mut task.0).await;
        }
        self.held = None;
    }
}
