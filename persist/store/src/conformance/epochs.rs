//! Conformance of [`Epochs`], with the archive that it fences.

use super::{conv, message, seqs};
use crate::ports::{
    Advanced, Archive, ArchiveBatch, CommitError, Epoch, Epochs, LogOffset, NumberedMessage, PageFrom, Records, Start,
};

/// Messages of one conversation, under these numbers; a message's id is its number and the epoch.
fn run(of: &str, epoch: u64, numbers: impl IntoIterator<Item = u64>) -> Vec<NumberedMessage> {
    let one = |seq| {
        let id = seq * 10 + epoch;
        NumberedMessage { event: message(of, "a", &format!("c-{id}"), id, 1), epoch, seq }
    };
    numbers.into_iter().map(one).collect()
}

async fn commit(archive: &dyn Archive, messages: Vec<NumberedMessage>) -> Result<(), CommitError> {
    archive.commit(&ArchiveBatch { messages, next_offset: LogOffset(1), ..ArchiveBatch::default() }).await
}

async fn advance(epochs: &dyn Epochs, from: u64, server: &str) -> Epoch {
    match epochs.advance(from, server).await.unwrap() {
        Advanced::Won(epoch) => epoch,
        Advanced::Lost(epoch) => panic!("epoch {} was taken by {}", epoch.number, epoch.server),
    }
}

/// An epoch is taken once, and the one who comes late is told whose it is.
pub async fn compare_and_set(epochs: &dyn Epochs) {
    assert_eq!(epochs.current().await.unwrap(), Epoch { number: 1, server: String::new(), started_ms: 0 });
    let second = advance(epochs, 1, "server-a").await;
    assert_eq!((second.number, second.server.as_str()), (2, "server-a"));
    assert!(second.started_ms > 0);
    assert_eq!(epochs.current().await.unwrap(), second);
    for late in [0, 1, 3, 99] {
        assert_eq!(epochs.advance(late, "server-b").await.unwrap(), Advanced::Lost(second.clone()), "from {late}");
    }
    // A server may come back.
    let servers = ["b".repeat(8_000), "server-a".into()];
    for (from, server) in (2..).zip(&servers) {
        assert_eq!(&advance(epochs, from, server).await.server, server);
    }
}

/// What was numbered under an epoch that is over is refused whole, unless it is archived already.
pub async fn fence(epochs: &dyn Epochs, archive: &dyn Archive) {
    commit(archive, run("p2p:a:b", 1, 1..=3)).await.unwrap();
    advance(epochs, 1, "server").await;
    let fresh = run("p2p:a:c", 2, 1..=1);
    let stale = [fresh.clone(), run("p2p:a:b", 1, 3..=4)].concat();
    let refused = commit(archive, stale).await.unwrap_err();
    assert!(matches!(refused, CommitError::Stale { numbered: 1, current: 2 }), "{refused}");
    assert!(archive.page(&conv("p2p:a:c"), PageFrom::After(0), 10).await.unwrap().is_empty());
    // Numbers of an epoch that nobody has taken are as wrong.
    let refused = commit(archive, run("p2p:a:b", 3, 4..=4)).await.unwrap_err();
    assert!(matches!(refused, CommitError::Stale { numbered: 3, current: 2 }), "{refused}");
    let again = [run("p2p:a:b", 1, 1..=3), fresh, run("p2p:a:b", 2, 4..=5)].concat();
    for _ in 0..2 {
        commit(archive, again.clone()).await.unwrap();
    }
    let page = archive.page(&conv("p2p:a:b"), PageFrom::After(0), 10).await.unwrap();
    assert_eq!(
        page.iter().map(|item| (item.seq, item.epoch)).collect::<Vec<_>>(),
        [(1, 1), (2, 1), (3, 1), (4, 2), (5, 2)]
    );
    // The same number, but now another message's: numbered again, not an alarm.
    let refused = commit(archive, run("p2p:a:b", 1, 4..=4)).await.unwrap_err();
    assert!(matches!(refused, CommitError::Stale { .. }), "{refused}");
}

/// A conversation starts at its archived head, and what is missing below is named until it is there.
pub async fn starts(epochs: &dyn Epochs, archive: &dyn Archive) {
    commit(archive, run("p2p:a:b", 1, 1..=4)).await.unwrap();
    commit(archive, run("p2p:a:c", 1, [1, 2, 5, 6, 9])).await.unwrap();
    commit(archive, run("p2p:a:d", 1, [3])).await.unwrap();
    let of = ["p2p:a:c", "p2p:x:y", "p2p:a:b", "p2p:a:d"];
    let start = |dense, head, holes: &[u64]| Start { dense, head, holes: holes.to_vec() };
    let found = epochs.starts(&of).await.unwrap();
    assert_eq!(found, [start(2, 9, &[3, 4, 7, 8]), Start::default(), start(4, 4, &[]), start(0, 3, &[1, 2])]);
    commit(archive, [run("p2p:a:c", 1, [8]), run("p2p:a:d", 1, [2])].concat()).await.unwrap();
    commit(archive, [run("p2p:a:c", 1, [3, 4, 10]), run("p2p:a:d", 1, [1])].concat()).await.unwrap();
    let found = epochs.starts(&of).await.unwrap();
    assert_eq!(found, [start(6, 10, &[7]), Start::default(), start(4, 4, &[]), start(3, 3, &[])]);
    commit(archive, run("p2p:a:c", 1, [7])).await.unwrap();
    assert_eq!(epochs.starts(&["p2p:a:c"]).await.unwrap(), [start(10, 10, &[])]);
    // A gap below a long run is found and closed.
    let numbers: Vec<u64> = (1..=3_000).filter(|number| *number != 7).collect();
    commit(archive, run("group:g", 1, numbers)).await.unwrap();
    assert_eq!(epochs.starts(&["group:g"]).await.unwrap(), [start(6, 3_000, &[7])]);
    commit(archive, run("group:g", 1, [7])).await.unwrap();
    assert_eq!(epochs.starts(&["group:g"]).await.unwrap(), [start(3_000, 3_000, &[])]);
    let page = archive.page(&conv("group:g"), PageFrom::After(5), 3).await.unwrap();
    assert_eq!(seqs(&page), [6, 7, 8]);
}

/// A client of an earlier epoch knows what was dense when that epoch ended for its conversation.
pub async fn floors(epochs: &dyn Epochs, archive: &dyn Archive) {
    commit(archive, [run("p2p:a:b", 1, 1..=4), run("p2p:a:c", 1, 1..=2)].concat()).await.unwrap();
    commit(archive, run("p2p:a:d", 1, [1, 3])).await.unwrap();
    assert_eq!(epochs.floors(&[("p2p:a:b", 1), ("p2p:a:b", 7)]).await.unwrap(), [u64::MAX, u64::MAX]);
    advance(epochs, 1, "two").await;
    let ends = [("p2p:a:b", 1), ("p2p:a:c", 1), ("p2p:a:d", 1), ("p2p:a:e", 1)];
    assert_eq!(epochs.floors(&ends).await.unwrap(), [4, 2, 1, 0], "nothing is archived in the new epoch");
    let second = [run("p2p:a:b", 2, 5..=6), run("p2p:a:d", 2, [2, 4]), run("p2p:a:e", 2, 1..=3)].concat();
    commit(archive, second).await.unwrap();
    assert_eq!(epochs.floors(&ends).await.unwrap(), [4, 2, 1, 0]);
    advance(epochs, 2, "three").await;
    commit(archive, [run("p2p:a:b", 3, 7..=7), run("p2p:a:c", 3, 3..=3)].concat()).await.unwrap();
    assert_eq!(epochs.floors(&ends).await.unwrap(), [4, 2, 1, 0]);
    let of = [("p2p:a:b", 2), ("p2p:a:c", 2), ("p2p:a:d", 2), ("p2p:a:b", 3), ("p2p:a:b", 0)];
    assert_eq!(epochs.floors(&of).await.unwrap(), [6, 2, 4, u64::MAX, 4]);
}

/// An epoch that closes holes takes over what an earlier one archived above them: places rise with the numbers.
pub async fn places_rise(epochs: &dyn Epochs, archive: &dyn Archive, records: &dyn Records) {
    let of = conv("p2p:a:b");
    let places = async |from| -> Vec<(u64, u64)> {
        let page = archive.page(&of, from, 20).await.unwrap();
        page.iter().map(|item| (item.epoch, item.seq)).collect()
    };
    commit(archive, run("p2p:a:b", 1, [1, 2, 5, 6, 9])).await.unwrap();
    advance(epochs, 1, "two").await;
    commit(archive, run("p2p:a:b", 2, [3, 4, 7])).await.unwrap();
    let second = [(1, 1), (1, 2), (2, 3), (2, 4), (2, 5), (2, 6), (2, 7), (2, 9)];
    assert_eq!(places(PageFrom::After(0)).await, second);
    advance(epochs, 2, "three").await;
    assert_eq!(places(PageFrom::After(0)).await, second, "nothing is archived in the new epoch");
    commit(archive, run("p2p:a:b", 3, [8, 10])).await.unwrap();
    assert_eq!(places(PageFrom::Before(11)).await, [&second[..7], &[(3, 8), (3, 9), (3, 10)]].concat());
    // Whoever asks for one of them hears the same place.
    let found = archive.message(51).await.unwrap().unwrap();
    assert_eq!((found.message.epoch, found.message.seq), (2, 5));
    let sends = records.sends(&[("p2p:a:b", "a", "c-91"), ("p2p:a:b", "a", "c-11")]).await.unwrap();
    assert_eq!(sends.iter().map(|(_, held)| (held.epoch, held.seq)).collect::<Vec<_>>(), [(3, 9), (1, 1)]);
    let at = records.messages_at(&[("p2p:a:b", 6)]).await.unwrap();
    assert_eq!(at.get("p2p:a:b").map(|message| (message.epoch, message.seq)), Some((2, 6)));
}
