//! Tokens that are not ours, not for us, or no longer good: an error, then a close that says whether to come back.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use ringway_e2e::http;
use ringway_e2e::peer::{Login, Peer};
use ringway_e2e::people::People;
use ringway_e2e::server::Server;
use ringway_e2e::wire::Wire;
use ringway_engine::packet::Format;
use ringway_engine::packet::schema::{Command, Connect};
use serde_json::{Value, json};

use super::check_unharmed;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_bad_token_is_told_and_closed() {
    let server = Server::start().unwrap();
    let (ws, api) = (server.addresses().ws, server.addresses().api);
    let people = People::of(&server.data()).await.unwrap();
    let good = people.add("ann").await.unwrap();
    let key = std::fs::read(server.data().join("token.key")).unwrap();
    let claims = json!({"sub":"ann","aud":"ringway","iat":1,"exp":4_000_000_000_u64,"sid":"forged"});
    let signed = |algorithm, key: &[u8], claims: &Value| {
        encode(&Header::new(algorithm), claims, &EncodingKey::from_secret(key)).unwrap()
    };
    let with = |name: &str, value: Value| {
        let mut changed = claims.clone();
        changed[name] = value;
        signed(Algorithm::HS256, &key, &changed)
    };
    let headed = |header: &str| {
        let (_, rest) = good.split_once('.').unwrap();
        format!("{}.{rest}", URL_SAFE_NO_PAD.encode(header))
    };
    let parts: Vec<&str> = good.split('.').collect();
    let promoted = URL_SAFE_NO_PAD.encode(claims.to_string().replace("ann", "root"));
    let refused = [
        ("none", format!("{}.{}.", URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#), parts[1])),
        ("none with a signature", headed(r#"{"alg":"none"}"#)),
        ("RS256", headed(r#"{"alg":"RS256"}"#)),
        ("HS512 with our key", signed(Algorithm::HS512, &key, &claims)),
        ("a foreign key", signed(Algorithm::HS256, &[7; 32], &claims)),
        ("an empty key", signed(Algorithm::HS256, &[], &claims)),
        ("claims changed", format!("{}.{promoted}.{}", parts[0], parts[2])),
        ("no signature", format!("{}.{}.", parts[0], parts[1])),
        ("a foreign audience", with("aud", json!("other"))),
        ("no audience", with("aud", json!(null))),
        ("a subject that is none", with("sub", json!("Ann\u{0}"))),
        ("rubbish", "rubbish".to_owned()),
        ("empty", String::new()),
    ];
    let expired = ("expired", people.expired_token("ann", 10).unwrap());
    let cases = refused.iter().map(|case| (case, 4012, 3501)).chain([(&expired, 4013, 4001)]);
    for ((name, token), error, code) in cases {
        let mut peer = Peer::open(ws, Format::Json).await.unwrap();
        let connect = Connect { token: token.clone(), device: "phone".into(), ..Connect::default() };
        let reply = peer.refused(Command { connect: Some(connect), ..Command::default() }).await.unwrap();
        assert_eq!((reply.code, reply.temporary), (error, false), "{name}");
        assert_eq!(peer.ended().await.unwrap(), Some(code), "{name}");
        let answer = http::call(api, token, "GET", "/v1/me", None).await.unwrap();
        assert_eq!(answer.status, 401, "{name}: {}", answer.text);
    }
    // Nothing of a token ever reaches the log.
    let logged = server.logged();
    for (name, token) in refused.iter().chain([&expired]).filter(|(_, token)| token.len() > 10) {
        assert!(!logged.contains(token.as_str()), "{name} was logged");
    }
    let (_peer, _) = Peer::connect(ws, &Login::new(&good, "phone")).await.unwrap();
    assert_eq!(http::call(api, &good, "GET", "/v1/me", None).await.unwrap().status, 200);
    check_unharmed(&server).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_is_taken_from_the_header_and_never_from_the_url() {
    let server = Server::start().unwrap();
    let ws = server.addresses().ws;
    let token = People::of(&server.data()).await.unwrap().add("ann").await.unwrap();
    let request = Wire::request(ws, Format::Json.subprotocol());
    let in_header = format!("{request}Authorization: Bearer {token}\r\n\r\n");
    let in_url = format!("{}\r\n", request.replacen("/v1/ws", &format!("/v1/ws?token={token}"), 1));
    for (upgrade, expected) in [(in_header, "\"connected\""), (in_url, "4012")] {
        let mut wire = Wire::open(ws).await.unwrap();
        wire.write(upgrade.as_bytes()).await.unwrap();
        assert_eq!(wire.answer().await.unwrap().status, 101);
        let connect = br#"{"id":1,"connect":{"device":"phone"}}"#;
        wire.send(ringway_engine::websocket::Opcode::Text, connect).await.unwrap();
        let ringway_e2e::wire::Frame::Text(text) = wire.frame().await.unwrap() else { panic!("no text") };
        assert!(String::from_utf8_lossy(&text).contains(expected), "{text:?}");
    }
    assert!(!server.logged().contains(&token));
}
