//! A task beside the work of the process, which ends when it is told to and shows on the board when it ends by itself.

use std::time::Duration;

use ringway_parts::board::Board;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// The task. Dropping it lets it end by itself.
pub(crate) struct Background {
    name: &'static str,
    task: JoinHandle<()>,
    stop: watch::Sender<bool>,
}

impl Background {
    /// Begins what `run` makes; it is to end once its receiver turns true. `ended` is why the process is not ready, should
    /// it end before.
    pub(crate) fn start<F>(
        name: &'static str,
        ended: &'static str,
        board: &Board,
        run: impl FnOnce(watch::Receiver<bool>) -> F,
    ) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(run(stopped));
        let judged = task.abort_handle();
        board.add_judge(move || judged.is_finished().then(|| ended.to_owned()).into_iter().collect());
        Self { name, task, stop }
    }

    /// Ends it; its name, and whether it did so in time.
    pub(crate) async fn end(mut self, limit: Duration) -> (&'static str, bool) {
        self.stop.send_replace(true);
        let ended = timeout(limit, &mut self.task).await;
        match &ended {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(%error, task = self.name, "a task has failed"),
            Err(_) => self.task.abort(),
        }
        (self.name, ended.is_ok())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    /// One on which nothing speaks against the process.
    fn board() -> Arc<Board> {
        let board = Board::new();
        board.found("process");
        board
    }

    #[tokio::test]
    async fn one_that_obeys_ends_in_time_and_one_that_does_not_is_cut_off() {
        let board = board();
        let obeys = |mut stop: watch::Receiver<bool>| async move {
            let _ = stop.wait_for(|stop| *stop).await;
        };
        let obeying = Background::start("obeying", "it has ended", &board, obeys);
        let deaf = Background::start("deaf", "it has ended", &board, |_| std::future::pending());
        assert!(board.reasons().is_empty());
        assert_eq!(obeying.end(LIMIT).await, ("obeying", true));
        assert_eq!(deaf.end(Duration::from_millis(1)).await, ("deaf", false));
    }

    #[tokio::test]
    async fn one_that_ends_by_itself_or_fails_shows() {
        let board = board();
        let ending = Background::start("ending", "it has ended", &board, |_| std::future::ready(()));
        let failing = Background::start("failing", "it has failed", &board, |_| async { panic!("as it is to") });
        let both = async {
            while board.reasons() != ["it has ended", "it has failed"] {
                tokio::task::yield_now().await;
            }
        };
        timeout(LIMIT, both).await.unwrap();
        assert_eq!(ending.end(LIMIT).await, ("ending", true));
        assert_eq!(failing.end(LIMIT).await, ("failing", true));
    }
}
