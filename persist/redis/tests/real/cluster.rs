//! A cluster of three masters.

use std::collections::BTreeMap;

use ringway_stack::{ClusterRedis, Folder};
use ringway_store::conformance::{conv, message, shared_state};
use ringway_store::ports::{Epochs as _, SharedState as _};

use crate::harness::{Sql, cluster_config};

#[tokio::test]
async fn a_cluster_conforms_as_one_server_does() {
    let folder = Folder::new().unwrap();
    let cluster = ClusterRedis::start(folder.path()).unwrap();
    macro_rules! conforms {
        ($($suite:ident),*) => {$(
            let sql = Sql::new().await;
            let state = sql.open(cluster_config(&cluster, stringify!($suite))).await.unwrap();
            shared_state::$suite(sql.stores(&state)).await;
        )*};
    }
    conforms!(numbers, old_ids, pages, cursors, floors, lists, read_marks);

    let sql = Sql::new().await;
    let state = sql.open(cluster_config(&cluster, "many")).await.unwrap();
    let other = sql.open(cluster_config(&cluster, "many")).await.unwrap();
    shared_state::many_callers(sql.stores(&state), &[&other]).await;
}

#[tokio::test]
async fn one_lost_master_ends_the_epoch_for_all_of_a_cluster() {
    let folder = Folder::new().unwrap();
    let mut cluster = ClusterRedis::start(folder.path()).unwrap();
    let sql = Sql::new().await;
    let state = sql.open(cluster_config(&cluster, "im")).await.unwrap();
    let recorded = sql.database.current().await.unwrap();
    assert_eq!(recorded.server.split(',').count(), 3, "{}", recorded.server);
    let pairs: Vec<String> = (10..60).map(|n| format!("p2p:a:b{n}")).collect();
    let batch: Vec<_> = pairs.iter().zip(1..).map(|(pair, id)| message(pair, "a", "c-1", id, 1)).collect();
    state.number(&batch).await.unwrap();

    cluster.nodes[1].restart().unwrap();
    cluster.wait_until_whole().unwrap();
    let fresh: Vec<_> = pairs.iter().zip(101..).map(|(pair, id)| message(pair, "a", "c-2", id, 1)).collect();
    crate::harness::until("an epoch with the master that came back", async || {
        state.number(&fresh).await.is_ok_and(|numbers| numbers.iter().all(|number| number.epoch > recorded.number))
    })
    .await;
    let mut given: BTreeMap<u64, u64> = BTreeMap::new();
    for pair in &pairs {
        let (epoch, head) = state.head(&conv(pair)).await.unwrap();
        *given.entry(epoch).or_default() += head;
    }
    // Nothing was archived, so both messages of each pair are numbered from 1 again.
    assert_eq!(given.into_iter().collect::<Vec<_>>(), [(sql.epoch().await, 100)]);
}
