//! Servers that belong together: replicas, sentinels, a cluster.

use ringway_stack::{ClusterRedis, Connection, Folder, ReplicatedMariaDb, Reply, SENTINEL_SERVICE, SentinelRedis};

use crate::check;

#[test]
fn sentinels_promote_a_replica_that_was_held_back_and_take_the_old_primary_in() {
    let folder = Folder::new().unwrap();
    let mut redis = SentinelRedis::start(folder.path()).unwrap();
    redis.primary.connect().unwrap().command(&["SET", "seen", "by both"]).unwrap();
    check::until("the replica has it", || redis.replica.connect().unwrap().text(&["GET", "seen"]).is_ok());
    redis.hold_replica_back().unwrap();
    redis.primary.connect().unwrap().command(&["SET", "seen", "by one"]).unwrap();
    redis.primary.kill().unwrap();
    redis.wait_for_failover().unwrap();
    let mut promoted = redis.replica.connect().unwrap();
    assert_eq!(promoted.text(&["GET", "seen"]).unwrap(), "by both");
    promoted.command(&["SET", "seen", "by the new one"]).unwrap();

    redis.primary.restart().unwrap();
    check::until("the old primary follows", || redis.primary.connect().unwrap().info("role").unwrap() == "slave");
    for sentinel in &redis.sentinels {
        assert!(sentinel.is_running());
    }
    assert!(redis.url().starts_with("redis-sentinel://127.0.0.1:"), "{}", redis.url());
}

#[test]
fn a_replica_too_far_behind_for_the_sentinels_is_promoted_on_demand() {
    let folder = Folder::new().unwrap();
    let redis = SentinelRedis::start(folder.path()).unwrap();
    // They pass over a replica that was away for ten times this.
    for sentinel in &redis.sentinels {
        let mut connection = Connection::open(sentinel.plan().port()).unwrap();
        connection.command(&["SENTINEL", "SET", SENTINEL_SERVICE, "down-after-milliseconds", "100"]).unwrap();
    }
    redis.hold_replica_back().unwrap();
    redis.primary.connect().unwrap().command(&["SET", "seen", "by one"]).unwrap();
    check::until("the replica is too far behind", || {
        let away = redis.replica.connect().unwrap().info("master_link_down_since_seconds").unwrap();
        away.parse::<u32>().unwrap() >= 2
    });
    redis.promote_replica().unwrap();
    assert_eq!(redis.replica.connect().unwrap().command(&["GET", "seen"]).unwrap(), Reply::Nil);
}

#[test]
fn a_cluster_is_whole_again_when_its_killed_node_is_back() {
    let folder = Folder::new().unwrap();
    let mut redis = ClusterRedis::start(folder.path()).unwrap();
    for node in &redis.nodes {
        check::only_on_loopback(node.pid().unwrap(), &[node.port(), node.port() + 1]);
    }
    // Each slot has one owner: of the three nodes one takes the write, the others say where to go.
    let taken = |redis: &ClusterRedis| {
        redis.nodes.iter().filter(|node| node.connect().unwrap().command(&["SET", "a", "1"]).is_ok()).count()
    };
    assert_eq!(taken(&redis), 1);
    redis.nodes[1].kill().unwrap();
    redis.nodes[1].restart().unwrap();
    redis.wait_until_whole().unwrap();
    assert_eq!(taken(&redis), 1);
    assert!(redis.url().starts_with("redis-cluster://127.0.0.1:"), "{}", redis.url());
}

#[test]
fn a_replica_of_mariadb_has_what_the_primary_has() {
    let folder = Folder::new().unwrap();
    let mut mariadb = ReplicatedMariaDb::start(folder.path()).unwrap();
    mariadb.primary.sql("CREATE TABLE ringway.t (a INT); INSERT INTO ringway.t VALUES (7);").unwrap();
    mariadb.wait_until_equal().unwrap();
    assert_eq!(mariadb.replica.sql("SELECT a FROM ringway.t;").unwrap(), "7\n");

    mariadb.replica.kill().unwrap();
    mariadb.primary.sql("INSERT INTO ringway.t VALUES (8);").unwrap();
    mariadb.replica.restart().unwrap();
    mariadb.wait_until_equal().unwrap();
    assert_eq!(mariadb.replica.sql("SELECT COUNT(*) FROM ringway.t;").unwrap(), "2\n");
    mariadb.primary.restart().unwrap();
    mariadb.primary.sql("INSERT INTO ringway.t VALUES (9);").unwrap();
    mariadb.wait_until_equal().unwrap();
}
