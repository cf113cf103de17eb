//! Accounts and sign-in over real HTTP with the SQLite directory.

use crate::harness::{Answer, PASSWORD, Server, User};
use ringway_api::ServeLimits;
use serde_json::json;

async fn login(server: &Server, user: &str, password: &str) -> Answer {
    let body = json!({ "user": user, "password": password, "device": "phone-1", "platform": "ios" });
    server.call("POST", "/v1/auth/login", Some(body)).await
}

async fn refresh(server: &Server, token: &str) -> Answer {
    server.call("POST", "/v1/auth/refresh", Some(json!({ "refresh_token": token }))).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registered_user_signs_in_and_reads_the_own_account() {
    let server = Server::start().await;
    let body = json!({ "user": "alice", "password": PASSWORD, "name": "Alice 王" });
    let answer = server.call("POST", "/v1/auth/register", Some(body.clone())).await;
    assert_eq!((answer.status, answer.json()["expires_in"].as_u64()), (201, Some(3_600)));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let alice = User::from(&answer);
    let me = server.call_as(&alice, "GET", "/v1/me", None).await.json();
    assert_eq!((me["uid"].as_str(), me["name"].as_str()), (Some("alice"), Some("Alice 王")));

    let again = server.call("POST", "/v1/auth/register", Some(body)).await;
    assert_eq!((again.status, again.code()), (409, 4090));

    let signed_in = login(&server, "alice", PASSWORD).await;
    assert_eq!(signed_in.status, 200);
    let on_phone = User::from(&signed_in);
    let renamed = server.call_as(&on_phone, "PATCH", "/v1/me", Some(json!({ "name": "Al" }))).await;
    assert_eq!((renamed.status, renamed.json()["name"].as_str()), (200, Some("Al")));
    let bob = server.register("bob").await;
    assert_eq!(server.call_as(&bob, "GET", "/v1/users/alice", None).await.json()["name"], "Al");
    let claims = server.tokens.verify(&on_phone.access, 0).unwrap();
    assert_eq!(claims.dev.unwrap().as_str(), "phone-1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_token_serves_once_and_its_reuse_ends_the_session() {
    let server = Server::start().await;
    let first = User::from(&login_new(&server).await);
    let second = refresh(&server, &first.refresh).await;
    assert_eq!(second.status, 200);
    let second = User::from(&second);
    assert_ne!(second.refresh, first.refresh);
    let claims = server.tokens.verify(&second.access, 0).unwrap();
    assert_eq!(claims.dev.unwrap().as_str(), "phone-1", "the device stays with the session");

    let reused = refresh(&server, &first.refresh).await;
    assert_eq!((reused.status, reused.code()), (401, 4012));
    let after = refresh(&server, &second.refresh).await;
    assert_eq!((after.status, after.code()), (401, 4012), "the thief and the owner are both out");
}

async fn login_new(server: &Server) -> Answer {
    server.register("alice").await;
    login(server, "alice", PASSWORD).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_to_refresh_is_given_again_to_the_same_key() {
    let server = Server::start().await;
    let user = server.register("alice").await;
    let body = json!({ "refresh_token": user.refresh });
    let key = [("idempotency-key", "r-1")];
    let first = server.call_with("POST", "/v1/auth/refresh", &key, Some(body.clone())).await;
    let again = server.call_with("POST", "/v1/auth/refresh", &key, Some(body)).await;
    assert_eq!((first.status, again.status), (200, 200));
    assert_eq!(first.json(), again.json());
    let next = User::from(&again);
    assert_eq!(refresh(&server, &next.refresh).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn logout_ends_the_access_token_at_once() {
    let server = Server::start().await;
    let user = server.register("alice").await;
    assert_eq!(server.call_as(&user, "GET", "/v1/me", None).await.status, 200);
    assert_eq!(server.call_as(&user, "POST", "/v1/auth/logout", None).await.status, 204);
    let refused = server.call_as(&user, "GET", "/v1/me", None).await;
    assert_eq!((refused.status, refused.code()), (401, 4012));
    assert_eq!(refresh(&server, &user.refresh).await.status, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_token_says_so() {
    let server = Server::start_with(|config| config.access_ttl_ms = 0, ServeLimits::default()).await;
    let user = server.register("alice").await;
    let refused = server.call_as(&user, "GET", "/v1/me", None).await;
    assert_eq!((refused.status, refused.code(), refused.header("www-authenticate")), (401, 4013, Some("bearer")));
}

#[tokio::test(flavor = "multi_thread")]
async fn guessing_is_limited_by_address_and_by_account() {
    let adapt = |config: &mut ringway_api::ApiConfig| {
        config.failed_logins_per_minute_max = 3;
        config.trusted_peers = vec!["127.0.0.0/8".parse().unwrap()];
    };
    let server = Server::start_with(adapt, ServeLimits::default()).await;
    server.register("alice").await;
    server.register("bob").await;
    let try_from = async |address: &str, user: &str, password: &str| {
        let body = json!({ "user": user, "password": password });
        server.call_with("POST", "/v1/auth/login", &[("x-forwarded-for", address)], Some(body)).await
    };
    // Unknown users count and answer like known ones.
    for user in ["alice", "bob", "nobody"] {
        let refused = try_from("1.1.1.1", user, "wrong horse").await;
        assert_eq!((refused.status, refused.code()), (401, 4014));
    }
    let limited = try_from("1.1.1.1", "bob", PASSWORD).await;
    assert_eq!((limited.status, limited.code()), (429, 4290));
    let wait: u64 = limited.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=60).contains(&wait));
    assert_eq!(try_from("2.2.2.2", "bob", PASSWORD).await.status, 200, "another address is not concerned");

    for address in ["3.3.3.3", "4.4.4.4"] {
        assert_eq!(try_from(address, "alice", "wrong horse").await.status, 401);
    }
    let limited = try_from("5.5.5.5", "alice", PASSWORD).await;
    assert_eq!((limited.status, limited.code()), (429, 4290), "the account's minute is used up");
}

#[tokio::test(flavor = "multi_thread")]
async fn addresses_are_not_taken_from_peers_that_nobody_trusts() {
    let adapt = |config: &mut ringway_api::ApiConfig| config.registrations_per_minute_max = 2;
    let server = Server::start_with(adapt, ServeLimits::default()).await;
    let mut statuses = Vec::new();
    for user in ["a", "b", "c"] {
        let body = json!({ "user": user, "password": PASSWORD });
        let forwarded = format!("9.9.9.{}", statuses.len());
        let answer =
            server.call_with("POST", "/v1/auth/register", &[("x-forwarded-for", &forwarded)], Some(body)).await;
        statuses.push(answer.status);
    }
    assert_eq!(statuses, [201, 201, 429]);
}
