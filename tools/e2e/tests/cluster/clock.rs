//! Wall clocks that are set back while sends are acknowledged.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use ringway_e2e::http;
use ringway_e2e::load::Load;
use ringway_e2e::peer::{Login, Peer, user};
use ringway_e2e::program;
use ringway_engine::packet::schema::Sent;
use ringway_stack::Folder;

use crate::deployment::{Servers, blocking};
use crate::faults::{ENOUGH, last};

const HOUR_MS: u64 = 3_600_000;

/// A gateway, then the persist daemon and the API, live an hour before everybody else from one moment to the next.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_may_step_back_under_load() {
    let clocks = Clocks::new();
    let programs = clocks.programs.clone();
    let mut deployment = blocking(move || Servers::start(&[]).running(&programs, &|_, servers| servers)).await;
    let site = deployment.site().await;
    // Two who are no part of the load.
    let [gus, hal] = ["gus", "hal"].map(|name| http::register(deployment.api, name));
    let token = gus.await.unwrap().access;
    hal.await.unwrap();
    let (mut gus, _) = Peer::connect(deployment.gateways[0], &Login::new(&token, "phone")).await.unwrap();
    let mut load = Load::start(site).await.unwrap();
    deployment.answered(&mut load, ENOUGH, "the start").await;
    let before = gus.say(&user("hal"), "c-before", "before").await.unwrap();
    assert!(age_ms(&before) < HOUR_MS / 2);

    clocks.set_back("gateway-1");
    // The library looks at its file once a second.
    last(&mut load, 5).await;
    let after = gus.say(&user("hal"), "c-after", "after").await.unwrap();
    assert!(age_ms(&after) > HOUR_MS / 2, "the clock of its gateway was not set back");
    assert!(after.msg_id > before.msg_id && after.seq == before.seq + 1, "{before:?}, then {after:?}");

    for name in ["persist-1", "api"] {
        clocks.set_back(name);
    }
    let answered = load.acknowledged();
    last(&mut load, 5).await;
    assert!(load.acknowledged() > answered + ENOUGH, "sends go on");
    deployment.archived(&mut load).await;
    println!("{} messages judged", deployment.judge(load).await);
}

/// How long ago a message was taken by its own account.
fn age_ms(sent: &Sent) -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64;
    now.saturating_sub(sent.ts)
}

/// The production programs, each with a wall clock of its own; steady clocks are left alone, as a set clock leaves them.
struct Clocks {
    folder: Folder,
    programs: PathBuf,
}

impl Clocks {
    fn new() -> Self {
        let folder = Folder::new().unwrap();
        let (programs, library) = (folder.path().join("programs"), library());
        fs::create_dir(&programs).unwrap();
        for name in program::PRODUCTION {
            let program = program::production().unwrap().join(name);
            // Each is started in a folder of its own, which has its name.
            let script = format!(
                "#!/bin/sh\nexport LD_PRELOAD={library:?} FAKETIME_DONT_FAKE_MONOTONIC=1 FAKETIME_CACHE_DURATION=1 \
                 FAKETIME_TIMESTAMP_FILE={clocks:?}/\"${{PWD##*/}}\"\nexec {program:?} \"$@\"\n",
                clocks = folder.path(),
            );
            fs::write(programs.join(name), script).unwrap();
            fs::set_permissions(programs.join(name), fs::Permissions::from_mode(0o755)).unwrap();
        }
        let clocks = Self { folder, programs };
        for name in ["gateway-1", "gateway-2", "gateway-3", "persist-1", "persist-2", "api"] {
            clocks.set(name, "+0");
        }
        clocks
    }

    fn set_back(&self, process: &str) {
        self.set(process, "-1h");
    }

    /// Replaced in one step: half a file would be another time.
    fn set(&self, process: &str, to: &str) {
        let (file, new) = (self.folder.path().join(process), self.folder.path().join("new"));
        fs::write(&new, to).unwrap();
        fs::rename(new, file).unwrap();
    }
}

/// libfaketime, where Debian's package puts it.
fn library() -> PathBuf {
    let found = fs::read_dir("/usr/lib").unwrap().filter_map(|entry| {
        let library = entry.ok()?.path().join("faketime/libfaketimeMT.so.1");
        library.is_file().then_some(library)
    });
    found.chain([Path::new("/usr/lib/faketime/libfaketimeMT.so.1").to_owned()]).next().unwrap()
}
