//! Those who come late: sending to them while they are away, and waiting until they have all they missed.

use crate::clock::{now_ns, seconds};
use crate::network::Network;
use crate::traffic::Traffic;

/// Who gets nothing for this long gets nothing more.
const PROGRESS_S_MAX: f64 = 15.0;
/// Messages of one sender's connection without an answer.
const UNANSWERED_MAX: usize = 256;
/// Between two looks at what was answered, at most.
const LOOK_NS: u64 = 10_000_000;

/// Sends `count` messages of each stream, and waits until all are answered. The streams of one connection take turns.
///
/// # Errors
/// The kernel refuses to wait.
pub(super) fn send_each(
    network: &mut Network,
    traffic: &mut Traffic,
    streams: &[usize],
    count: u64,
) -> anyhow::Result<()> {
    let mut rest: Vec<usize> = (0..count).flat_map(|_| streams.iter().copied()).rev().collect();
    let mut held = Vec::new();
    let mut limit = now_ns() + seconds(PROGRESS_S_MAX);
    let mut answered = traffic.tally.acknowledged;
    while now_ns() < limit {
        while let Some(stream) = rest.pop() {
            let room = traffic.unanswered(stream) < UNANSWERED_MAX;
            if !room || !traffic.send(network, stream, now_ns()) {
                held.push(stream);
                break;
            }
        }
        rest.append(&mut held);
        if rest.is_empty() && streams.iter().all(|stream| traffic.unanswered(*stream) == 0) {
            return Ok(());
        }
        network.flush();
        network.poll((now_ns() + LOOK_NS).min(limit), traffic)?;
        if traffic.tally.acknowledged != answered {
            answered = traffic.tally.acknowledged;
            limit = now_ns() + seconds(PROGRESS_S_MAX);
        }
    }
    Ok(())
}

/// Waits until `is_done`, or until nothing more comes; `turn` is called with what caught up and may connect more.
///
/// # Errors
/// The kernel refuses to wait, or the turn fails.
pub(super) fn wait(
    network: &mut Network,
    traffic: &mut Traffic,
    mut turn: impl FnMut(&mut Network, &mut Traffic) -> anyhow::Result<bool>,
) -> anyhow::Result<()> {
    let mut limit = now_ns() + seconds(PROGRESS_S_MAX);
    let mut packets = traffic.tally.packets;
    while !turn(network, traffic)? && now_ns() < limit {
        network.flush();
        network.poll((now_ns() + LOOK_NS).min(limit), traffic)?;
        traffic.send_acks(network);
        if traffic.tally.packets != packets {
            packets = traffic.tally.packets;
            limit = now_ns() + seconds(PROGRESS_S_MAX);
        }
    }
    traffic.send_last_acks(network);
    network.flush();
    Ok(())
}
