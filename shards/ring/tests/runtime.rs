//! The start and the end of a shard's thread.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "tests and their helpers")]

mod common;

use std::rc::Rc;
use std::time::{Duration, Instant};

use common::shard;
use ringway_ring::mailbox;
use ringway_ring::runtime::{self, ShardThread, StartError, spawn, spawn_local};

#[test]
fn a_shard_runs_its_main_future_on_a_named_pinned_thread() {
    let allowed = rustix::thread::sched_getaffinity(None).unwrap();
    let core = (0..rustix::thread::CpuSet::MAX_CPU).find(|core| allowed.is_set(*core)).unwrap();
    let thread = ShardThread { index: 3, core: Some(core), entries: 0 };
    let ran = spawn(thread, || async {
        runtime::sleep(1).await;
        assert!(runtime::on_shard());
        let cores = rustix::thread::sched_getaffinity(None).unwrap();
        (std::thread::current().name().map(str::to_owned), cores.count())
    });
    assert_eq!(ran.unwrap().join().unwrap(), (Some("ringway-shard-3".to_owned()), 1));
    assert!(!runtime::on_shard());
}

#[test]
fn a_core_that_does_not_exist_is_told_before_the_main_future_runs() {
    for core in [1_000, usize::MAX] {
        let thread = ShardThread { index: 0, core: Some(core), entries: 4_096 };
        let refused = spawn(thread, || async { panic!("the main future ran") });
        assert!(matches!(refused, Err(StartError::Pin { index: 0, .. })), "{refused:?}");
    }
}

#[test]
fn a_panic_on_a_shard_comes_back_from_join() {
    let panicked = shard(0, || async {
        spawn_local(async { std::future::pending().await });
        runtime::sleep(1).await;
        std::panic::resume_unwind(Box::new("broken"));
    });
    assert_eq!(panicked.join().unwrap_err().downcast_ref(), Some(&"broken"));
}

#[test]
fn the_end_of_a_shard_drops_its_tasks_on_its_thread() {
    struct OnDrop(std::thread::ThreadId, std::sync::mpsc::Sender<bool>);
    impl Drop for OnDrop {
        fn drop(&mut self) {
            self.1.send(self.0 == std::thread::current().id() && runtime::on_shard()).unwrap();
        }
    }
    let (dropped, drops) = std::sync::mpsc::channel();
    let ended = shard(0, || async move {
        let own = std::thread::current().id();
        let shared = Rc::new(OnDrop(own, dropped.clone()));
        for _ in 0..3 {
            let shared = shared.clone();
            spawn_local(async move {
                let _held = shared;
                std::future::pending::<()>().await;
            });
        }
        let last = OnDrop(own, dropped);
        spawn_local(async move {
            let _held = last;
            // A task that is started while the shard ends goes with it.
            spawn_local(std::future::pending());
            runtime::sleep(3_600_000).await;
        });
        runtime::turn().await;
    });
    ended.join().unwrap();
    assert_eq!(drops.iter().collect::<Vec<_>>(), [true, true]);
}

#[test]
fn tasks_go_on_while_others_take_turns() {
    let order = shard(0, || async {
        let order = Rc::new(std::cell::RefCell::new(Vec::new()));
        for name in ["a", "b"] {
            let order = order.clone();
            spawn_local(async move {
                for _ in 0..3 {
                    order.borrow_mut().push(name);
                    runtime::turn().await;
                }
            });
        }
        while order.borrow().len() < 6 {
            runtime::turn().await;
        }
        order.take()
    });
    assert_eq!(order.join().unwrap(), ["a", "b", "a", "b", "a", "b"]);
}

#[test]
fn the_loop_counts_its_turns_and_the_tasks_it_polls() {
    const TURNS: u64 = 100;
    let counted = shard(0, || async {
        let before = runtime::loop_counts().unwrap();
        for _ in 0..TURNS {
            runtime::turn().await;
        }
        (before, runtime::loop_counts().unwrap())
    });
    let (before, after) = counted.join().unwrap();
    assert_eq!(after.turns - before.turns, TURNS);
    assert_eq!(after.polls - before.polls, TURNS);
    assert!(after.cpu_us > before.cpu_us);
    assert_eq!(runtime::loop_counts(), None, "this thread is no shard");
}

#[test]
fn a_wake_by_another_thread_is_counted() {
    let (mut senders, mut inbox) = mailbox::inbox::<()>(1, 4);
    let counted = shard(0, move || async move {
        let before = runtime::loop_counts().unwrap();
        inbox.wait().await;
        (before, runtime::loop_counts().unwrap())
    });
    // It may not sleep yet; then nothing need wake it.
    std::thread::sleep(std::time::Duration::from_millis(50));
    senders[0].push(()).unwrap();
    senders[0].flush();
    let (before, after) = counted.join().unwrap();
    assert!(after.wakes - before.wakes <= 1 && after.turns > before.turns, "{before:?} {after:?}");
}

#[test]
fn sleepers_wake_in_the_order_of_their_times_in_whichever_they_came() {
    let woken = shard(0, || async {
        let began = Instant::now();
        let woken = Rc::new(std::cell::RefCell::new(Vec::new()));
        // An earlier one moves the timer; one that is given up leaves it as it was; a busy shard keeps it.
        assert!(runtime::timeout(5, runtime::sleep(10_000)).await.is_none());
        for ms in [90, 30, 60, 30] {
            let woken = woken.clone();
            spawn_local(async move {
                runtime::sleep(ms).await;
                woken.borrow_mut().push((ms, began.elapsed() >= Duration::from_millis(ms)));
            });
        }
        runtime::sleep(45).await;
        while woken.borrow().len() < 4 {
            runtime::turn().await;
        }
        woken.take()
    });
    assert_eq!(woken.join().unwrap(), [(30, true), (30, true), (60, true), (90, true)]);
}

#[test]
fn a_shard_that_sleeps_is_left_alone_until_the_first_wakes() {
    let counted = shard(0, || async {
        runtime::sleep(1).await;
        let before = runtime::loop_counts().unwrap();
        runtime::sleep(200).await;
        (before, runtime::loop_counts().unwrap())
    });
    let (before, after) = counted.join().unwrap();
    assert!(after.turns - before.turns <= 2, "{before:?} {after:?}");
}
