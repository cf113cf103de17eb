//! What the configuration says of the archive: a replica that serves pages of history, and how many months are kept.

use ringway_client::http::{Api, From};
use ringway_mysql::Month;
use ringway_stack::{Folder, ReplicatedMariaDb};
use ringway_store::conformance::message;
use ringway_store::conformance::shared_state::now_ms;

use crate::deployment::{Deployment, keys, wait_for};
use crate::program::Program;

/// The database's name on both servers.
const DATABASE: &str = "kept";
const CONVERSATION: &str = "p2p:alice:bob";
/// One that ended in the month that goes.
const OVER: &str = "p2p:alice:carol";
/// Messages of each of the two months.
const EACH: u64 = 12;
const PAGE: u32 = 5;
/// What is written into the replica alone, to tell where a page came from.
const MARK: &str = "from the replica";

/// The numbers of a page, and whether there is more.
async fn page(api: &Api, token: &str, conv: &str, from: From) -> (Vec<u64>, bool) {
    let page = api.history(token, conv, from, PAGE).await.unwrap();
    (page.items.iter().map(|item| item.seq).collect(), page.more)
}

/// The numbers of a page, and whether all or none of it is the replica's.
async fn read_from_either(api: &Api, token: &str, from: From) -> (Vec<u64>, bool) {
    let items = api.history(token, CONVERSATION, from, PAGE).await.unwrap().items;
    let marked = items.iter().filter(|item| item.body == MARK).count();
    assert!(marked == 0 || marked == items.len(), "{items:?}");
    (items.iter().map(|item| item.seq).collect(), marked > 0)
}

#[tokio::test]
async fn pages_come_from_the_replica_and_months_past_the_retention_are_dropped() {
    // The HTTP client asks for a TLS library even for plain requests; fails when another test chose it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let folder = Folder::new().unwrap();
    let servers = ReplicatedMariaDb::start(folder.path()).unwrap();
    let mut deployment = Deployment::new();
    deployment.mysql = servers.primary.create_database(DATABASE).unwrap();
    let now = Month::of(now_ms());
    let months = [now.earlier(2), now];
    let times = [months[0].start_ms(), now_ms()];
    let sent = |conv, n, ts_ms| message(conv, "alice", &format!("c-{n}"), n, ts_ms);
    let mut events: Vec<_> = (1..=2 * EACH).map(|n| sent(CONVERSATION, n, times[usize::from(n > EACH)])).collect();
    events.push(sent(OVER, 100, times[0]));
    deployment.append(&events).await;
    let mut persist = Program::start("ringway-persist", &deployment.persist("persist-1"));
    persist.ready();
    let tables = months.map(|month| format!("{DATABASE}.{}", month.table()));
    wait_for("the messages in the tables of their months", || {
        let counts = tables.each_ref().map(|table| servers.primary.sql(&format!("SELECT COUNT(*) FROM {table}")));
        let counts = counts.map(|count| count.ok().and_then(|text| text.trim().parse().ok()));
        (counts == [Some(EACH + 1), Some(EACH)]).then_some(())
    });
    persist.stop();
    servers.wait_until_equal().unwrap();
    for table in &tables {
        servers.replica.sql(&format!("UPDATE {table} SET body = '{MARK}'")).unwrap();
    }

    let replica = keys(&[("mysql.read_url", &servers.replica.url_of(DATABASE))]);
    let mut program = Program::start("ringway-api", &[deployment.api(), replica].concat());
    let api = Api::new(program.ready()["url"].as_str().unwrap()).unwrap();
    let token = api.register("alice", "correct horse battery", "phone", "ios").await.unwrap().access_token;
    assert_eq!(read_from_either(&api, &token, From::After(0)).await, ((1..=5).collect(), true));
    assert_eq!(
        read_from_either(&api, &token, From::After(EACH - 2)).await,
        ((11..=15).collect(), true),
        "over the month's border"
    );
    assert_eq!(read_from_either(&api, &token, From::Before(2 * EACH)).await, ((19..=23).collect(), true));
    assert_eq!(
        read_from_either(&api, &token, From::After(2 * EACH - 3)).await,
        ((22..=24).collect(), false),
        "it may go on by now"
    );

    let retention = keys(&[("persist.retention_months", "1")]);
    let mut persist = Program::start("ringway-persist", &[deployment.persist("persist-1"), retention].concat());
    persist.ready();
    wait_for("the end of what is past the retention", || {
        servers.primary.sql(&format!("SELECT 1 FROM {}", tables[0])).is_err().then_some(())
    });
    // Until then its pages are those of before.
    servers.wait_until_equal().unwrap();
    // Pages begin above what is gone, and end there.
    let page = async |conv, from| page(&api, &token, conv, from).await;
    assert_eq!(page(CONVERSATION, From::After(0)).await, ((13..=17).collect(), true));
    assert_eq!(page(CONVERSATION, From::After(7)).await, ((13..=17).collect(), true));
    assert_eq!(page(CONVERSATION, From::Before(18)).await, ((13..=17).collect(), true), "it is not asked yet");
    assert_eq!(page(CONVERSATION, From::Before(16)).await, ((13..=15).collect(), false));
    assert_eq!(page(CONVERSATION, From::Before(13)).await, (vec![], false));
    assert_eq!(page(OVER, From::After(0)).await, (vec![], false));
    assert_eq!(page(OVER, From::Before(u64::MAX)).await, (vec![], false));
    program.stop();
    persist.stop();
}
