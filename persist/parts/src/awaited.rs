//! Opening a part again until it is there.
//!
//! A part that is away when a process starts is no reason to end: whoever starts both need not order them. What can
//! never heal ends the process instead: a database of a newer format, a wrong setting.

use std::time::Duration;

use ringway_service::failure::one_line;
use tokio::time::{Instant, sleep_until, timeout};

use crate::board::Board;

/// A try is begun at most this often, and each that fails is logged.
const TRY_EVERY: Duration = Duration::from_secs(1);
/// Time for one try. Past it the part counts as away; it is tried again.
const TRY_LIMIT: Duration = Duration::from_secs(30);

/// Opens a part; while `heals` says of an error that it may pass, tries again.
///
/// A dropped call drops the try at hand.
///
/// # Errors
/// The first one that does not heal.
pub async fn awaited<T, E: Into<anyhow::Error>>(
    board: &Board,
    part: &str,
    heals: impl Fn(&E) -> bool,
    mut open: impl AsyncFnMut() -> Result<T, E>,
) -> anyhow::Result<T> {
    loop {
        let next = Instant::now() + TRY_EVERY;
        let why = match timeout(TRY_LIMIT, open()).await {
            Ok(Ok(opened)) => {
                if board.found(part) {
                    tracing::info!(part, "is there now");
                }
                return Ok(opened);
            }
            Ok(Err(error)) if !heals(&error) => return Err(error.into()),
            Ok(Err(error)) => one_line(&error.into()),
            Err(_) => "no answer in time".to_owned(),
        };
        board.miss(part, &why);
        tracing::warn!(part, why, "is not there yet; trying again");
        sleep_until(next).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_part_is_tried_again_until_it_is_there_or_can_never_be() {
        let board = Board::default();
        let mut tries = 0;
        let opened = awaited(
            &board,
            "mysql",
            |_: &anyhow::Error| true,
            async || {
                tries += 1;
                if tries < 2 { Err(anyhow::anyhow!("refused")) } else { Ok(board.reasons()) }
            },
        );
        assert_eq!(opened.await.unwrap(), ["mysql: refused"], "the board told while it was away");
        assert!(board.reasons().is_empty());
        let refused =
            awaited(&board, "mysql", |_: &anyhow::Error| false, async || Err::<(), _>(anyhow::anyhow!("newer")));
        assert_eq!(refused.await.unwrap_err().to_string(), "newer");
    }
}
