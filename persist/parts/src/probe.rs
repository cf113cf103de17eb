//! Asking the parts whether they still answer.
//!
//! Each part is asked once a second by a task of its own, with a limit, so that one which hangs is told as one that
//! is away, and in time: what dies turns `/readyz` red within a few seconds. The tasks end with [`Probes`].
//! One more keeps a flag at what `/readyz` says, for threads that must not wait for the board.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ringway_service::failure::one_line;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::board::Board;

/// How often a part is asked.
const PROBE_EVERY: Duration = Duration::from_secs(1);
/// Time for its answer. Past it the part counts as away.
const PROBE_LIMIT: Duration = Duration::from_secs(3);

/// The tasks that ask.
pub struct Probes {
    every: Duration,
    limit: Duration,
    tasks: JoinSet<()>,
}

impl Default for Probes {
    fn default() -> Self {
        Self { every: PROBE_EVERY, limit: PROBE_LIMIT, tasks: JoinSet::new() }
    }
}

impl Probes {
    /// Asks a part from here on. Its errors are written on the board, and told once each time that it goes away.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn ask<F>(&mut self, board: &Arc<Board>, part: &'static str, mut ask: impl FnMut() -> F + Send + 'static)
    where
        F: Future<Output = anyhow::Result<()>> + Send,
    {
        let (board, limit) = (Arc::clone(board), self.limit);
        let mut ticks = interval(self.every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        self.tasks.spawn(async move {
            loop {
                ticks.tick().await;
                let answer = timeout(limit, ask()).await;
                let answer = answer.unwrap_or_else(|_| Err(anyhow::anyhow!("no answer in time")));
                match answer {
                    Ok(()) if board.found(part) => tracing::info!(part, "answers again"),
                    Ok(()) => {}
                    Err(error) => {
                        let why = one_line(&error);
                        if board.miss(part, &why) {
                            tracing::warn!(part, why, "does not answer");
                        }
                    }
                }
            }
        });
    }

    /// Keeps this flag at whether nothing speaks against the process, looked at as often as parts are asked.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn keep(&mut self, board: &Arc<Board>, ready: Arc<AtomicBool>) {
        let board = Arc::clone(board);
        let mut ticks = interval(self.every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        self.tasks.spawn(async move {
            loop {
                ticks.tick().await;
                ready.store(board.reasons().is_empty(), Ordering::Relaxed);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::Ordering::Relaxed;
    use tokio::time::{Instant, sleep};

    async fn until(board: &Board, expected: &[&str]) {
        let began = Instant::now();
        while board.reasons() != expected {
            assert!(began.elapsed() < Duration::from_secs(10), "{:?}", board.reasons());
            sleep(Duration::from_millis(1)).await;
        }
    }

    #[tokio::test]
    async fn a_part_that_fails_or_hangs_is_on_the_board_until_it_answers() {
        let board = Arc::new(Board::default());
        let bad = Arc::new(AtomicBool::new(true));
        let (every, limit) = (Duration::from_millis(5), Duration::from_millis(20));
        let mut probes = Probes { every, limit, ..Probes::default() };
        let failing = Arc::clone(&bad);
        probes.ask(&board, "mysql", move || {
            let fails = failing.load(Relaxed);
            async move { if fails { Err(anyhow::anyhow!("gone")) } else { Ok(()) } }
        });
        let hanging = Arc::clone(&bad);
        probes.ask(&board, "redis", move || {
            let hangs = hanging.load(Relaxed);
            async move { if hangs { std::future::pending().await } else { Ok(()) } }
        });
        until(&board, &["mysql: gone", "redis: no answer in time"]).await;
        bad.store(false, Relaxed);
        until(&board, &[]).await;
    }

    #[tokio::test]
    async fn a_flag_follows_what_speaks_against_the_process() {
        let board = Board::new();
        let ready = Arc::new(AtomicBool::new(true));
        let mut probes = Probes { every: Duration::from_millis(5), ..Probes::default() };
        probes.keep(&board, Arc::clone(&ready));
        let follows = async |expected| {
            let began = Instant::now();
            while ready.load(Relaxed) != expected {
                assert!(began.elapsed() < Duration::from_secs(10), "the flag is not {expected}");
                sleep(Duration::from_millis(1)).await;
            }
        };
        follows(false).await;
        board.found("process");
        follows(true).await;
        board.add_judge(|| vec!["the spool is full".to_owned()]);
        follows(false).await;
    }
}
