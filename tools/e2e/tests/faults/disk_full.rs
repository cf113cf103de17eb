//! A disk without room: refused before it is acknowledged, and recovered from without a restart.
//!
//! The test runs itself once more in a mount namespace where the data folder is a small tmpfs; namespace and
//! mount end with that process.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use ringway_e2e::http;
use ringway_e2e::peer::{Login, Peer, send, user};
use ringway_e2e::people::{People, pair};
use ringway_e2e::server::{Server, Settings};
use ringway_engine::errors::ErrorCode;

/// Names the small disk to the run inside.
const SMALL_DISK: &str = "RINGWAY_E2E_SMALL_DISK";
const NAME: &str = "disk_full::a_full_disk_refuses_what_it_cannot_keep_and_recovers_without_a_restart";

fn run_on_a_small_disk() {
    let mount_point = tempfile::tempdir().unwrap();
    let script = "mount -t tmpfs -o size=48m tmpfs \"$1\" && exec \"$2\" --exact \"$3\" --nocapture";
    let output = Command::new("unshare")
        .args(["--mount", "--map-root-user", "--", "sh", "-c", script, "sh"])
        .arg(mount_point.path())
        .arg(std::env::current_exe().unwrap())
        .arg(NAME)
        .env(SMALL_DISK, mount_point.path())
        .output()
        .expect("this test needs unshare(1)");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "this test needs mount and user namespaces\n{out}\n{err}");
    assert!(out.contains("1 passed"), "{out}\n{err}");
}

/// Takes all the room there is.
fn fill(disk: &Path) -> PathBuf {
    let path = disk.join("ballast");
    let mut ballast = File::options().create(true).append(true).open(&path).unwrap();
    while ballast.write_all(&[1; 4096]).is_ok() {}
    path
}

#[test]
fn a_full_disk_refuses_what_it_cannot_keep_and_recovers_without_a_restart() {
    match std::env::var_os(SMALL_DISK) {
        None => run_on_a_small_disk(),
        Some(disk) => {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
            runtime.block_on(on_a_small_disk(Path::new(&disk)));
        }
    }
}

async fn on_a_small_disk(disk: &Path) {
    let config = "[journal]\nsegment_bytes = 1048576\njournal_bytes_max = 33554432\n".to_owned();
    let data = Some(disk.join("data"));
    let mut server = Server::start_with(Settings { config, data, ..Settings::default() }).unwrap();
    let tokens = People::of(&server.data()).await.unwrap().add_all(&["ann", "ben"]).await.unwrap();
    let ws = server.addresses().ws;
    let (mut ann, _) = Peer::connect(ws, &Login::new(&tokens[0], "phone")).await.unwrap();
    let body = "b".repeat(8 * 1024);
    let mut kept: Vec<(String, u64)> = Vec::new();
    for round in 0..2 {
        let ballast = fill(disk);
        // What is prewritten still takes some; then every send is refused for a while.
        let mut refused = 0;
        for n in 0..4_000 {
            let id = format!("r{round}-{n}");
            let packet = ann.ask(send(&user("ben"), &id, &body)).await.unwrap();
            match (packet.sent, packet.error) {
                (Some(sent), _) => kept.push((id, sent.seq)),
                (None, Some(error)) => {
                    assert_eq!((error.code, error.temporary), (ErrorCode::StorageFull.code(), true), "{error:?}");
                    assert!(error.retry_after_ms > 0);
                    refused += 1;
                }
                other => panic!("{other:?}"),
            }
            // The archive is stuck as well, so what was released before makes no room for ever.
            if refused == 20 {
                break;
            }
        }
        assert_eq!(refused, 20, "the disk never became full; {} messages kept", kept.len());
        std::fs::remove_file(ballast).unwrap();
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let id = format!("r{round}-after");
            let mut command = send(&user("ben"), &id, &body);
            command.send.as_mut().unwrap().retry = true;
            let packet = ann.ask(command).await.unwrap();
            if let Some(sent) = packet.sent {
                kept.push((id, sent.seq));
                break;
            }
            let error = packet.error.expect("an answer");
            assert!(error.temporary && Instant::now() < deadline, "still refused: {error:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    check_kept(&mut ann, &kept).await;
    // Ready again, and the same after a kill.
    let ready = http::call(server.addresses().admin, "", "GET", "/readyz", None).await.unwrap();
    assert_eq!(ready.status, 200, "{}", ready.text);
    server.kill().unwrap();
    server.launch().unwrap();
    let (mut ben, _) = Peer::connect(ws, &Login::new(&tokens[1], "phone")).await.unwrap();
    check_kept(&mut ben, &kept).await;
}

/// Everything acknowledged is there under its number; the numbers have no hole.
async fn check_kept(peer: &mut Peer, kept: &[(String, u64)]) {
    let all = peer.read_all(&pair("ann", "ben"), 0).await.unwrap();
    assert!(all.iter().map(|message| message.seq).eq(1..=all.len() as u64));
    for (id, seq) in kept {
        assert_eq!(&all[*seq as usize - 1].client_msg_id, id);
    }
}
