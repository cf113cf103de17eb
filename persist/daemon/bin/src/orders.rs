//! What a process is ordered to do beside its keys: `--replay-from`, queues that are read again before it begins, and
//! `--check-drift`, which it does instead of its work.

use std::sync::Arc;

use anyhow::{Context as _, bail};
use clap::ArgMatches;
use ringway_persist::replay_from;
use ringway_store::ports::{Archive, LogOffset, LogQueue, LogReadError};

/// The argument.
pub(crate) const REPLAY: &str = "replay-from";

/// The other one.
pub(crate) const CHECK_DRIFT: &str = "check-drift";

/// Every queue.
const ALL: &str = "all";
/// Its first record that is still there.
const EARLIEST: &str = "earliest";

/// What is read again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Replay {
    /// `None` for all queues.
    queue: Option<String>,
    /// `None` for the earliest record.
    from: Option<LogOffset>,
}

/// What the arguments say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Orders {
    /// Before anything else.
    pub(crate) replays: Vec<Replay>,
    /// Instead of anything else.
    pub(crate) check_drift: bool,
}

/// Reads the arguments.
///
/// # Errors
/// One line that names it.
pub(crate) fn orders(arguments: &ArgMatches) -> anyhow::Result<Orders> {
    let given = arguments.get_many::<String>(REPLAY).into_iter().flatten();
    let replays = given.map(|text| parse(text).with_context(|| format!("--{REPLAY} {text}")));
    Ok(Orders { replays: replays.collect::<anyhow::Result<_>>()?, check_drift: arguments.get_flag(CHECK_DRIFT) })
}

fn parse(text: &str) -> anyhow::Result<Replay> {
    let (queue, from) = text.rsplit_once('=').context("expects QUEUE=OFFSET")?;
    let queue = (queue != ALL).then(|| queue.to_owned());
    let from = match from {
        EARLIEST => None,
        _ => Some(LogOffset(from.parse().context("expects a number or \"earliest\" as the offset")?)),
    };
    if queue.is_none() && from.is_some() {
        bail!("offsets are those of one queue: all queues are read again from \"earliest\" only");
    }
    Ok(Replay { queue, from })
}

/// A queue with the archive that has its offset.
type Queue = (Arc<dyn LogQueue>, Arc<dyn Archive>);

/// Does as ordered, before any queue is consumed here.
///
/// # Errors
/// No such queue, or one cannot be read from there.
pub(crate) async fn carry_out(orders: &[Replay], queues: &[Queue]) -> anyhow::Result<()> {
    for order in orders {
        let named: Vec<_> =
            queues.iter().filter(|(queue, _)| order.queue.as_deref().is_none_or(|name| name == queue.name())).collect();
        if named.is_empty() {
            let known: Vec<&str> = queues.iter().map(|(queue, _)| queue.name()).collect();
            bail!("--{REPLAY}: no queue {}; there are {}", order.queue.as_deref().unwrap_or(ALL), known.join(", "));
        }
        for (queue, archive) in named {
            let from = match order.from {
                Some(from) => from,
                None => earliest(&**queue).await.with_context(|| format!("--{REPLAY}: {}", queue.name()))?,
            };
            replay_from(&**queue, &**archive, from).await.with_context(|| format!("--{REPLAY}: {}", queue.name()))?;
        }
    }
    Ok(())
}

/// The first record that is still there.
async fn earliest(queue: &dyn LogQueue) -> Result<LogOffset, LogReadError> {
    match queue.read(LogOffset(0), 1, 1).await {
        Ok(_) => Ok(LogOffset(0)),
        Err(LogReadError::Released(first)) => Ok(first),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_is_read_again_from_an_offset_or_its_start() {
        let queue = Some("im_event/broker-a/3".to_owned());
        let replay = |text: &str| parse(text).unwrap();
        assert_eq!(replay("im_event/broker-a/3=42"), Replay { queue: queue.clone(), from: Some(LogOffset(42)) });
        assert_eq!(replay("im_event/broker-a/3=earliest"), Replay { queue, from: None });
        assert_eq!(replay("all=earliest"), Replay { queue: None, from: None });
        for wrong in ["x", "x=latest", "x=-1", "all=7"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
