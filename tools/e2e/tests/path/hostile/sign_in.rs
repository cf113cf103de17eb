//! The sign-in: guesses are counted, names are checked.

use ringway_e2e::http::{self, PASSWORD};
use ringway_e2e::server::{Server, Settings};
use serde_json::json;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guessing_passwords_is_stopped_after_ten_in_a_minute() {
    let server = Server::start().unwrap();
    let api = server.addresses().api;
    http::register(api, "ann").await.unwrap();
    let login = |password: &str| json!({"user": "ann", "password": password, "device": "d", "platform": "web"});
    for n in 0..10 {
        let guess = Some(login(&format!("a wrong guess {n}")));
        let answer = http::call(api, "", "POST", "/v1/auth/login", guess).await.unwrap();
        assert_eq!((answer.status, answer.code()), (401, 4014), "{n}: {}", answer.text);
    }
    // Neither another guess nor the right password helps now, nor another account from the same address.
    let other = json!({"user": "ben", "password": PASSWORD, "device": "d", "platform": "web"});
    for body in [login("one more guess"), login(PASSWORD), other] {
        let answer = http::call(api, "", "POST", "/v1/auth/login", Some(body)).await.unwrap();
        assert_eq!((answer.status, answer.code()), (429, 4290), "{}", answer.text);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn registrations_are_limited_by_address() {
    let config = "[api]\nregistrations_per_minute_max = 3\n".to_owned();
    let server = Server::start_with(Settings { config, ..Settings::default() }).unwrap();
    let api = server.addresses().api;
    for user in ["ann", "ben", "cem"] {
        http::register(api, user).await.unwrap();
    }
    let body = json!({"user": "dot", "password": PASSWORD});
    let answer = http::call(api, "", "POST", "/v1/auth/register", Some(body)).await.unwrap();
    assert_eq!((answer.status, answer.code()), (429, 4290), "{}", answer.text);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_with_control_characters_are_refused() {
    let server = Server::start().unwrap();
    let api = server.addresses().api;
    let token = http::register(api, "ann").await.unwrap().access;
    let register = |user: &str, name: &str| json!({"user": user, "password": PASSWORD, "name": name});
    let cases = [
        ("/v1/auth/register", register("b\u{0}n", "Ben")),
        ("/v1/auth/register", register("b\u{7f}n", "Ben")),
        ("/v1/auth/register", register("Ben", "Ben")),
        ("/v1/auth/register", register("", "Ben")),
        ("/v1/auth/register", register(&"b".repeat(33), "Ben")),
        ("/v1/auth/register", register("ben", "B\u{1b}[31mn")),
        ("/v1/auth/login", json!({"user": "ann", "password": PASSWORD, "device": "a\nb", "platform": "web"})),
        ("/v1/auth/login", json!({"user": "ann", "password": PASSWORD, "device": "a", "platform": "w\u{0}b"})),
        ("/v1/groups", json!({"name": "a\u{0}b", "members": []})),
        ("/v1/groups", json!({"name": "ab", "members": ["b\u{0}n"]})),
    ];
    for (path, body) in cases {
        let answer = http::call(api, &token, "POST", path, Some(body.clone())).await.unwrap();
        assert_eq!((answer.status, answer.code()), (400, 4002), "{path} {body}: {}", answer.text);
    }
    for path in ["/v1/conversations/group:a%00b/messages", "/v1/users/b%0an", "/v1/groups/a%1bb"] {
        let answer = http::call(api, &token, "GET", path, None).await.unwrap();
        assert_eq!((answer.status, answer.code()), (400, 4002), "{path}: {}", answer.text);
    }
}
