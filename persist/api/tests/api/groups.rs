//! Groups, conversations and who reads what, over real HTTP with the SQLite directory.

use crate::harness::{Server, User};
use serde_json::{Value, json};

async fn create(server: &Server, owner: &User, members: &[&str]) -> (String, String) {
    let body = json!({ "name": "Team", "members": members });
    let answer = server.call_as(owner, "POST", "/v1/groups", Some(body)).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    let json = answer.json();
    let (id, conv) = (json["id"].as_str().unwrap(), json["conv"].as_str().unwrap());
    assert_eq!(answer.header("location"), Some(format!("/v1/groups/{id}").as_str()));
    assert_eq!(conv, format!("group:{id}"));
    (id.into(), conv.into())
}

fn names(answer: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    answer["items"].as_array().unwrap().iter().map(|item| (text(&item["uid"]), text(&item["role"]))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn members_add_and_higher_roles_remove() {
    let server = Server::start().await;
    let [ann, bob, cat, dan] = [
        server.register("ann").await,
        server.register("bob").await,
        server.register("cat").await,
        server.register("dan").await,
    ];
    let (id, _) = create(&server, &ann, &["bob"]).await;
    let members = format!("/v1/groups/{id}/members");

    let added = server.call_as(&bob, "POST", &members, Some(json!({ "uids": ["cat", "bob", "cat"] }))).await;
    assert_eq!((added.status, added.json()), (200, json!({ "added": ["cat"] })));
    let page = server.call_as(&cat, "GET", &format!("{members}?limit=2"), None).await.json();
    let pair = |uid: &str, role: &str| (uid.to_owned(), role.to_owned());
    assert_eq!((names(&page), page["more"].as_bool()), (vec![pair("ann", "owner"), pair("bob", "member")], Some(true)));
    let page = server.call_as(&cat, "GET", &format!("{members}?after=bob"), None).await.json();
    assert_eq!((names(&page), page["more"].as_bool()), (vec![pair("cat", "member")], Some(false)));

    let check = async |user: &User, method: &str, path: String, status: u16, code: Option<u64>| {
        let answer = server.call_as(user, method, &path, None).await;
        assert_eq!(answer.status, status, "{method} {path} as {}: {}", user.uid, answer.text());
        assert_eq!(code, (answer.status >= 400).then(|| answer.code()), "{method} {path}");
    };
    check(&dan, "GET", format!("/v1/groups/{id}"), 403, Some(4031)).await;
    check(&dan, "GET", members.clone(), 403, Some(4031)).await;
    check(&dan, "POST", format!("/v1/groups/{id}/leave"), 403, Some(4031)).await;
    check(&dan, "GET", "/v1/groups/none".into(), 404, Some(4040)).await;
    check(&bob, "DELETE", format!("{members}/cat"), 403, Some(4030)).await;
    check(&bob, "DELETE", format!("{members}/ann"), 403, Some(4030)).await;
    check(&ann, "DELETE", format!("{members}/dan"), 404, Some(4040)).await;
    check(&ann, "DELETE", format!("{members}/cat"), 204, None).await;
    check(&cat, "GET", format!("/v1/groups/{id}"), 403, Some(4031)).await;
    check(&bob, "DELETE", format!("{members}/bob"), 204, None).await;
    let group = server.call_as(&ann, "GET", &format!("/v1/groups/{id}"), None).await.json();
    assert_eq!((group["members"].as_u64(), group["owner"].as_str()), (Some(1), Some("ann")));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_who_leaves_hands_the_group_on() {
    let server = Server::start().await;
    let (ann, bob) = (server.register("ann").await, server.register("bob").await);
    let (id, _) = create(&server, &ann, &["bob"]).await;
    assert_eq!(server.call_as(&ann, "POST", &format!("/v1/groups/{id}/leave"), None).await.status, 204);
    let group = server.call_as(&bob, "GET", &format!("/v1/groups/{id}"), None).await.json();
    assert_eq!(group["owner"], "bob");
    assert_eq!(server.call_as(&bob, "POST", &format!("/v1/groups/{id}/leave"), None).await.status, 204);
    assert_eq!(server.call_as(&bob, "GET", &format!("/v1/groups/{id}"), None).await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn membership_changes_are_put_out_for_the_gateways() {
    let server = Server::start().await;
    let (ann, _bob) = (server.register("ann").await, server.register("bob").await);
    let (id, conv) = create(&server, &ann, &[]).await;
    let before = server.directory.outbox(100).await.unwrap().len();
    let body = json!({ "uids": ["bob"] });
    server.call_as(&ann, "POST", &format!("/v1/groups/{id}/members"), Some(body)).await;
    let entries = server.directory.outbox(100).await.unwrap();
    assert!(entries.len() > before);
    assert!(format!("{entries:?}").contains(&conv));
}

fn seqs(history: &Value) -> Vec<u64> {
    history["items"].as_array().unwrap().iter().map(|item| item["seq"].as_u64().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn history_is_for_members_from_the_moment_they_joined() {
    let server = Server::start().await;
    let (ann, bob, cat) = (server.register("ann").await, server.register("bob").await, server.register("cat").await);
    let (id, conv) = create(&server, &ann, &[]).await;
    for n in 1..=3 {
        server.say(&conv, "ann", &format!("before {n}")).await;
    }
    server.call_as(&ann, "POST", &format!("/v1/groups/{id}/members"), Some(json!({ "uids": ["bob"] }))).await;
    for n in 1..=3 {
        server.say(&conv, "ann", &format!("after {n}")).await;
    }
    let check = async |user: &User, query: &str, expected: &[u64], more: bool| {
        let path = format!("/v1/conversations/{conv}/messages{query}");
        let history = server.call_as(user, "GET", &path, None).await.json();
        assert_eq!(
            (seqs(&history), history["more"].as_bool()),
            (expected.to_vec(), Some(more)),
            "{} {query}",
            user.uid
        );
        assert_eq!(history["head"], 6);
    };
    check(&ann, "", &[1, 2, 3, 4, 5, 6], false).await;
    check(&ann, "?after_seq=1&limit=2", &[2, 3], true).await;
    check(&ann, "?before_seq=4&limit=2", &[2, 3], true).await;
    check(&bob, "", &[4, 5, 6], false).await;
    check(&bob, "?after_seq=0", &[4, 5, 6], false).await;
    check(&bob, "?after_seq=4", &[5, 6], false).await;
    check(&bob, "?before_seq=6&limit=1", &[5], true).await;
    check(&bob, "?before_seq=5&limit=5", &[4], false).await;
    check(&bob, "?before_seq=3", &[], false).await;

    let path = format!("/v1/conversations/{conv}/messages");
    assert_eq!(server.call_as(&cat, "GET", &path, None).await.code(), 4031);
    server.call_as(&ann, "DELETE", &format!("/v1/groups/{id}/members/bob"), None).await;
    assert_eq!(server.call_as(&bob, "GET", &path, None).await.code(), 4031);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pairs_history_is_for_the_two() {
    let server = Server::start().await;
    let (ann, bob, cat) = (server.register("ann").await, server.register("bob").await, server.register("cat").await);
    server.say("p2p:ann:bob", "ann", "hi").await;
    let path = "/v1/conversations/p2p:ann:bob/messages";
    for user in [&ann, &bob] {
        let history = server.call_as(user, "GET", path, None).await.json();
        assert_eq!((seqs(&history), history["items"][0]["body"].as_str()), (vec![1], Some("hi")));
        assert_eq!(history["items"][0]["msg_id"], "1", "a decimal string, as on the socket");
        let list = server.call_as(user, "GET", "/v1/conversations", None).await.json();
        assert_eq!((list["items"][0]["conv"].as_str(), list["more"].as_bool()), (Some("p2p:ann:bob"), Some(false)));
    }
    assert_eq!(server.call_as(&cat, "GET", path, None).await.code(), 4031);
    assert_eq!(server.call_as(&cat, "GET", "/v1/conversations/sys:ann/messages", None).await.code(), 4031);
    // The colon may come percent-encoded, as some clients write it.
    let encoded = "/v1/conversations/p2p%3Aann%3Abob/messages";
    assert_eq!(server.call_as(&ann, "GET", encoded, None).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_write_with_its_key_is_done_once() {
    let server = Server::start().await;
    let (ann, bob) = (server.register("ann").await, server.register("bob").await);
    let (as_ann, as_bob) = (ann.bearer(), bob.bearer());
    let call = async |bearer: &str, name: &str| {
        let headers = [("authorization", bearer), ("idempotency-key", "k-1")];
        server.call_with("POST", "/v1/groups", &headers, Some(json!({ "name": name }))).await
    };
    let first = call(&as_ann, "Team").await;
    let again = call(&as_ann, "Team").await;
    assert_eq!((first.status, again.status), (201, 201));
    assert_eq!(first.json(), again.json());
    assert_eq!(first.header("location"), again.header("location"));
    let other = call(&as_ann, "Other").await;
    assert_eq!((other.status, other.code()), (409, 4090));
    let bobs = call(&as_bob, "Team").await;
    assert_eq!(bobs.status, 201, "keys of another user are their own");
    assert_ne!(bobs.json()["id"], first.json()["id"]);
}
