//! Mailboxes between real threads, on shards and on another executor.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "tests and their helpers")]

mod common;

use std::cell::Cell;
use std::io::{Read, Write};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use common::{PATIENCE, connect, echo_one, listen, shard, wait_until};
use proptest::prelude::*;
use ringway_ring::mailbox::{self, Inbox, Sender};
use ringway_ring::runtime::{self, spawn_local};

/// What one thread does between two flushes.
#[derive(Debug, Clone)]
struct Step {
    items: usize,
    pause_us: u64,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let pause = prop_oneof![4 => Just(0_u64), 3 => 1_u64..20, 2 => 20_u64..200, 1 => 200_u64..1_500];
    prop::collection::vec((0_usize..40, pause).prop_map(|(items, pause_us)| Step { items, pause_us }), 1..60)
}

fn produce(mut sender: Sender<usize>, steps: &[Step]) -> usize {
    let mut next = 0;
    for step in steps {
        for _ in 0..step.items {
            while sender.push(next).is_err() {
                std::thread::yield_now();
            }
            next += 1;
        }
        sender.flush();
        pause(step.pause_us);
    }
    next
}

fn pause(us: u64) {
    if us > 0 {
        std::thread::sleep(Duration::from_micros(us));
    }
}

/// Drains until all senders are gone, pausing as told; gives what came from each.
async fn consume(mut inbox: Inbox<usize>, senders: usize, max: usize, pauses: Vec<u64>) -> Vec<Vec<usize>> {
    let mut got = vec![Vec::new(); senders];
    let mut pauses = pauses.into_iter().cycle();
    while inbox.wait().await {
        assert!(inbox.drain(max, &mut |sender, item| got[sender].push(item)) > 0);
        pause(pauses.next().unwrap_or(0));
    }
    got
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_item_comes_once_in_its_senders_order_and_no_wake_is_lost(
        capacity in 1_usize..64,
        max in 1_usize..100,
        by_sender in prop::collection::vec(steps(), 1..3),
        pauses in prop::collection::vec(prop_oneof![3 => Just(0_u64), 1 => 1_u64..300], 1..16),
        tokio in any::<bool>(),
    ) {
        let count = by_sender.len();
        let (senders, inbox) = mailbox::inbox::<usize>(count, capacity);
        let (done, end) = std::sync::mpsc::channel();
        let main = move || async move {
            done.send(consume(inbox, count, max, pauses).await).unwrap();
        };
        let shard = if tokio {
            std::thread::spawn(|| {
                tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(main());
            });
            None
        } else {
            Some(shard(0, main))
        };
        let producers: Vec<_> = senders
            .into_iter()
            .zip(by_sender)
            .map(|(sender, steps)| std::thread::spawn(move || produce(sender, &steps)))
            .collect();
        let sent: Vec<usize> = producers.into_iter().map(|producer| producer.join().unwrap()).collect();
        // A lost wake shows as a receiver that never ends.
        let got = end.recv_timeout(PATIENCE).expect("the receiver sleeps although there is something to read");
        for (sent, got) in sent.into_iter().zip(got) {
            prop_assert_eq!(got, (0..sent).collect::<Vec<_>>());
        }
        if let Some(shard) = shard {
            shard.join().unwrap();
        }
    }
}

#[test]
fn a_full_ring_gives_the_item_back_and_takes_it_later() {
    let (mut senders, mut inbox) = mailbox::inbox(1, 2);
    let sender = &mut senders[0];
    assert_eq!((sender.push(1), sender.push(2), sender.push(3)), (Ok(()), Ok(()), Err(3)));
    assert_eq!((sender.free(), inbox.depth()), (0, 2));
    assert_eq!(inbox.drain(1, &mut |_, item| assert_eq!(item, 1)), 1);
    assert_eq!(sender.push(3), Ok(()));
    let mut rest = Vec::new();
    assert_eq!(inbox.drain(10, &mut |_, item| rest.push(item)), 2);
    assert_eq!(rest, [2, 3]);
}

#[test]
fn a_sender_learns_that_its_inbox_is_gone() {
    let (mut senders, inbox) = mailbox::inbox(1, 2);
    assert!(!senders[0].is_closed());
    drop(inbox);
    assert!(senders[0].is_closed());
    assert_eq!(senders[0].push(1), Err(1));
}

#[test]
fn senders_take_turns_when_all_have_more_than_one_drain_takes() {
    let (mut senders, mut inbox) = mailbox::inbox(3, 1_000);
    for sender in &mut senders {
        (0..1_000).for_each(|item| sender.push(item).unwrap());
    }
    let mut by_sender = [0; 3];
    for _ in 0..9 {
        assert_eq!(inbox.drain(100, &mut |sender, _| by_sender[sender] += 1), 100);
    }
    assert!(by_sender.iter().all(|count| *count >= 200), "{by_sender:?}");
}

#[test]
fn a_mesh_carries_items_between_all_pairs_and_to_no_thread_itself() {
    const THREADS: usize = 3;
    let shards: Vec<_> = mailbox::mesh::<(usize, usize)>(THREADS, 8)
        .into_iter()
        .enumerate()
        .map(|(own, (mut senders, mut inbox))| {
            assert!(senders.iter().enumerate().all(|(to, sender)| sender.is_none() == (to == own)));
            shard(own, move || async move {
                for (to, sender) in senders.iter_mut().enumerate() {
                    if let Some(sender) = sender {
                        sender.push((own, to)).unwrap();
                        sender.flush();
                    }
                }
                drop(senders);
                let mut from = Vec::new();
                while inbox.wait().await {
                    inbox.drain(8, &mut |sender, item| {
                        assert_eq!(item, (sender, own));
                        from.push(sender);
                    });
                }
                from.sort_unstable();
                from
            })
        })
        .collect();
    for (own, shard) in shards.into_iter().enumerate() {
        let others: Vec<_> = (0..THREADS).filter(|other| *other != own).collect();
        assert_eq!(shard.join().unwrap(), others);
    }
}

#[test]
fn a_batch_wakes_an_inbox_that_sleeps_once_and_one_that_is_awake_not_at_all() {
    let (mut senders, mut inbox) = mailbox::inbox(1, 8);
    let mut context = std::task::Context::from_waker(Waker::noop());
    for woken in [1, 2] {
        let mut wait = Box::pin(inbox.wait());
        assert!(wait.as_mut().poll(&mut context).is_pending(), "nothing is there");
        (0..3).for_each(|item| senders[0].push(item).unwrap());
        senders[0].flush();
        assert_eq!(wait.as_mut().poll(&mut context), Poll::Ready(true));
        drop(wait);
        assert_eq!((inbox.woken(), inbox.drain(2, &mut |_, _| {})), (woken, 2));
        let mut wait = Box::pin(inbox.wait());
        while wait.as_mut().poll(&mut context).is_pending() {}
        drop(wait);
        assert_eq!((inbox.woken(), inbox.drain(2, &mut |_, _| {})), (woken, 1), "it had not slept");
    }
}

#[test]
fn a_wait_that_is_given_up_loses_nothing() {
    let (mut senders, mut inbox) = mailbox::inbox(1, 8);
    let receiver = shard(0, move || async move {
        assert!(runtime::timeout(5, inbox.wait()).await.is_none());
        assert!(runtime::timeout(20_000, inbox.wait()).await.expect("no wake"));
        inbox.drain(8, &mut |_, item| assert_eq!(item, 1))
    });
    std::thread::sleep(Duration::from_millis(20));
    senders[0].push(1).unwrap();
    senders[0].flush();
    assert_eq!(receiver.join().unwrap(), 1);
}

#[test]
fn an_idle_shard_is_woken_promptly_and_uses_no_cpu_meanwhile() {
    const ROUNDS: usize = 50;
    let (mut senders, mut inbox) = mailbox::inbox::<Instant>(1, 8);
    let received = Arc::new(AtomicUsize::new(0));
    let counter = received.clone();
    let receiver = shard(0, move || async move {
        let mut delays = Vec::new();
        while inbox.wait().await {
            inbox.drain(8, &mut |_, sent| delays.push(sent.elapsed()));
            counter.fetch_add(1, Ordering::Relaxed);
        }
        delays.sort_unstable();
        (delays[delays.len() / 2], common::thread_cpu())
    });
    for round in 0..ROUNDS {
        // Long enough for the ring to be parked: there is nothing else for it to do.
        std::thread::sleep(Duration::from_millis(10));
        senders[0].push(Instant::now()).unwrap();
        senders[0].flush();
        wait_until("received", || received.load(Ordering::Relaxed) > round);
    }
    drop(senders);
    let (median, cpu) = receiver.join().unwrap();
    assert!(median < Duration::from_millis(5), "woken after {median:?}");
    assert!(cpu < Duration::from_millis(150), "an idle shard used {cpu:?} in half a second");
}

/// Echoes and timers on a shard whose mailbox is never at rest; `main` gets what ends it.
fn check_that_io_goes_on<F, Fut>(main: F)
where
    F: FnOnce(Rc<Cell<bool>>) -> Fut + Send + 'static,
    Fut: Future<Output = ()> + 'static,
{
    let (listener, address) = listen();
    let shard = shard(0, move || async move {
        let stop = Rc::new(Cell::new(false));
        let stopped = stop.clone();
        spawn_local(async move {
            echo_one(listener).await;
            runtime::sleep(1).await;
            stopped.set(true);
        });
        main(stop).await;
    });
    let mut peer = connect(address);
    for _ in 0..100 {
        // The shard's poll is armed by now; bytes that are there before it would complete it at once.
        pause(300);
        peer.write_all(b"hello").unwrap();
        peer.read_exact(&mut [0; 5]).unwrap();
    }
    drop(peer);
    shard.join().unwrap();
}

#[test]
fn an_inbox_that_is_never_empty_does_not_keep_sockets_and_timers_waiting() {
    check_that_io_goes_on(|stop| async move {
        // The shard feeds itself, so that there is always something to read.
        let (mut senders, mut inbox) = mailbox::inbox(1, 64);
        (0..64).for_each(|item| senders[0].push(item).unwrap());
        while !stop.get() && inbox.wait().await {
            let mut again = Vec::new();
            inbox.drain(16, &mut |_, item| again.push(item));
            again.into_iter().for_each(|item| senders[0].push(item).unwrap());
        }
    });
}

#[test]
fn an_unbroken_stream_of_wakes_does_not_keep_sockets_and_timers_waiting() {
    let (mut senders, mut inbox) = mailbox::inbox(1, 4);
    let asked = Arc::new(AtomicUsize::new(0));
    let sent = Arc::new(AtomicUsize::new(0));
    let (ask, answer) = (asked.clone(), sent.clone());
    let partner = std::thread::spawn(move || {
        while !senders[0].is_closed() {
            if asked.load(Ordering::Acquire) > sent.load(Ordering::Relaxed) {
                let _ = senders[0].push(());
                senders[0].flush();
                sent.fetch_add(1, Ordering::Release);
            } else {
                std::thread::yield_now();
            }
        }
    });
    check_that_io_goes_on(move |stop| async move {
        // Each time the inbox has gone to sleep, this task has it woken before the shard can wait.
        let sleeper: Rc<Cell<Option<Waker>>> = Rc::default();
        let alarm = sleeper.clone();
        spawn_local(std::future::poll_fn(move |context| {
            alarm.set(Some(context.waker().clone()));
            let number = ask.fetch_add(1, Ordering::Release) + 1;
            while answer.load(Ordering::Acquire) < number {
                std::thread::yield_now();
            }
            Poll::Pending
        }));
        while !stop.get() && inbox.wait().await {
            inbox.drain(4, &mut |_, ()| ());
            sleeper.take().into_iter().for_each(Waker::wake);
        }
    });
    partner.join().unwrap();
}
