//! SIGTERM under load: clients are told to come back, the process ends well and in time, nothing is lost.

use std::time::{Duration, Instant};

use ringway_e2e::load::{Load, Site, judge};
use ringway_e2e::peer::{Login, Peer};
use ringway_e2e::server::{Server, Settings};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_tells_clients_ends_with_0_in_time_and_loses_nothing() {
    // Two shards: the drain and the history have both to hold over the mailboxes too.
    let mut server = Server::start_with(Settings { shards: 2, ..Settings::default() }).unwrap();
    let mut load = Load::start(Site::of(&server).await.unwrap()).await.unwrap();
    load.until_acknowledged(1_000).await.unwrap();
    let (mut idle, _) = Peer::connect(server.addresses().ws, &Login::new(&load.site.tokens[5], "idle")).await.unwrap();
    for _ in 0..2 {
        let began = Instant::now();
        server.terminate().unwrap();
        let status = server.wait_exit(Duration::from_secs(11)).unwrap();
        assert!(status.success(), "{status}");
        assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
        server.launch().unwrap();
        load.until_acknowledged(load.acknowledged() + 500).await.unwrap();
    }
    let reconnect = idle.wait(|packet| packet.reconnect.clone()).await.unwrap();
    assert!(reconnect.after_ms > 0);
    let code = idle.ended().await.unwrap();
    assert!(matches!(code, Some(1001 | 3001)), "{code:?}");
    judge(&load.finish().await.unwrap()).unwrap();
}
