//! The suites of the routes, on one server and on a cluster, and what they leave in it.

use ringway_redis::{RedisConfig, RedisRoutes};
use ringway_stack::{ClusterRedis, Folder, RedisServer, Reply};
use ringway_store::conformance::routes;
use ringway_store::conformance::routes::{node, route, run};
use ringway_store::ports::Routes as _;

use crate::harness::{cluster_config, tell, until};

async fn open(server: &RedisServer, prefix: &str) -> RedisRoutes {
    let config = RedisConfig::from_url(&server.url()).unwrap();
    RedisRoutes::open(&RedisConfig { prefix: format!("{prefix}:"), ..config }).await.unwrap()
}

#[tokio::test]
async fn one_server_conforms() {
    let folder = Folder::new().unwrap();
    let server = RedisServer::start(folder.path()).unwrap();
    routes::entries(&open(&server, "entries").await).await;
    routes::fences(&open(&server, "fences").await).await;
    routes::run_out(&open(&server, "run_out").await).await;
    routes::conversations(&open(&server, "conversations").await).await;
    routes::nodes(&open(&server, "nodes").await).await;
    routes::health(&open(&server, "health").await).await;
    let emptied = open(&server, "im").await;
    routes::put_back(&emptied, || drop(tell(&server, &["FLUSHALL"]))).await;
    emptied.close().await;
}

#[tokio::test]
async fn a_cluster_conforms_too() {
    let folder = Folder::new().unwrap();
    let cluster = ClusterRedis::start(folder.path()).unwrap();
    let open = async |prefix: &str| RedisRoutes::open(&cluster_config(&cluster, prefix)).await.unwrap();
    routes::entries(&open("entries").await).await;
    routes::fences(&open("fences").await).await;
    routes::run_out(&open("run_out").await).await;
    routes::conversations(&open("conversations").await).await;
    routes::nodes(&open("nodes").await).await;
    routes::health(&open("health").await).await;
    let empty = || cluster.nodes.iter().for_each(|node| drop(tell(node, &["FLUSHALL"])));
    routes::put_back(&open("im").await, empty).await;
}

#[tokio::test]
async fn nothing_is_left_of_nodes_that_are_gone() {
    let folder = Folder::new().unwrap();
    let server = RedisServer::start(folder.path()).unwrap();
    let routes = open(&server, "im").await;
    let one = run("one", 1);
    routes.enter(&route("a", "phone", &one, 1), 100).await.unwrap();
    routes.seat(&one, &[ringway_store::conformance::conv("group:g")], 100).await.unwrap();
    routes.renew_node(&node(&one, 1), 100, 100).await.unwrap();
    until("an empty server", async || {
        assert!(routes.nodes().await.unwrap().len() < 2);
        tell(&server, &["DBSIZE"]) == Reply::Number(0)
    })
    .await;
}

#[tokio::test]
async fn a_server_that_comes_back_empty_is_filled_by_renewals() {
    let folder = Folder::new().unwrap();
    let mut server = RedisServer::start(folder.path()).unwrap();
    let routes = open(&server, "im").await;
    let (one, held) = (run("one", 1), [route("a", "phone", &run("one", 1), 1)]);
    routes.renew(&held, 60_000).await.unwrap();
    server.kill().unwrap();
    assert!(routes.renew(&held, 60_000).await.is_err(), "nobody is told that it stays");
    server.restart_empty().unwrap();
    until("a renewal", async || routes.renew(&held, 60_000).await.is_ok()).await;
    let convs = [&ringway_store::conformance::conv("p2p:a:b")];
    assert_eq!(routes.holders(&convs).await.unwrap(), [vec![one]]);
}
