//! `kill -9` twenty times under load: nothing acknowledged is lost, doubled, moved or renumbered.

use std::sync::atomic::Ordering;
use std::time::Instant;

use ringway_e2e::load::{Load, Site, judge};
use ringway_e2e::server::{Server, Settings};

const KILLS: u64 = 20;

/// Answers between a start and the next kill: from a handful, where the archive has just begun, to enough
/// that it works at full speed. Rises and falls without a pattern that the server's own periods share.
fn answers_before_kill(round: u64) -> u64 {
    40 + round.wrapping_mul(2_654_435_761) % 5_900
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_kills_under_load_lose_double_and_move_nothing() {
    // Segments that are full every few kills, so that some land on a change of segments and on a release.
    let config = "[journal]\nsegment_bytes = 1048576\n".to_owned();
    let mut server = Server::start_with(Settings { shards: 2, config, ..Settings::default() }).unwrap();
    let mut load = Load::start(Site::of(&server).await.unwrap()).await.unwrap();
    let began = Instant::now();
    for round in 0..KILLS {
        let before = load.acknowledged();
        // The fault lands on sends that are being answered.
        load.until_acknowledged(before + answers_before_kill(round)).await.unwrap();
        server.kill().unwrap();
        server.launch().unwrap();
    }
    let before = load.acknowledged();
    load.until_acknowledged(before + 200).await.unwrap();
    let connections = load.orders.connections.load(Ordering::Relaxed);
    assert!(connections > KILLS * 6, "only {connections} connections: the kills did not land");
    let took = began.elapsed();
    let history = load.finish().await.unwrap();
    let read: usize = history.archive.values().map(Vec::len).sum();
    println!("{KILLS} kills in {took:?}, {connections} connections, {read} messages read back");
    judge(&history).unwrap();
}
