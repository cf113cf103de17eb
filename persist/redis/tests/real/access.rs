//! Signing in and TLS.

use std::fs;
use std::net::TcpListener;

use ringway_redis::{RedisConfig, TlsFiles};
use ringway_stack::{Folder, RedisOptions, RedisServer};
use ringway_store::conformance::{routes, shared_state};
use ringway_store::ports::Drift as _;

use crate::harness::{Single, Sql};

/// What the adapter needs, and nothing else: the line of the README.
const RULES: [&str; 38] = [
    "resetkeys",
    "~im:*",
    "resetchannels",
    "-@all",
    "+@connection",
    "+info",
    "+role",
    "+cluster|slots",
    "+cluster|info",
    "+eval",
    "+evalsha",
    "+scan",
    "+time",
    "+get",
    "+set",
    "+del",
    "+pexpire",
    "+pexpireat",
    "+hget",
    "+hmget",
    "+hset",
    "+hdel",
    "+hlen",
    "+hvals",
    "+hgetall",
    "+hrandfield",
    "+lindex",
    "+lrange",
    "+lset",
    "+lpop",
    "+rpush",
    "+@sortedset",
    "+sadd",
    "+srem",
    "+scard",
    "+sismember",
    "+smembers",
    "+srandmember",
];

#[tokio::test]
async fn an_acl_user_with_the_rules_of_the_readme_suffices() {
    let single = Single::start().await;
    let mut words = vec!["ACL", "SETUSER", "ringway", "on", ">secret"];
    words.extend(RULES);
    single.tell(&words);
    single.tell(&["ACL", "SETUSER", "default", "off"]);
    let with = |password: &str| RedisConfig {
        user: Some("ringway".to_owned()),
        password: Some(password.to_owned()),
        ..single.config()
    };
    let state = single.sql.open(with("secret")).await.unwrap();
    shared_state::cursors(single.sql.stores(&state)).await;
    routes::entries(&state.routes()).await;
    routes::nodes(&state.routes()).await;
    let mut round = state.round();
    while let Some(page) = round.next().await.unwrap() {
        assert_eq!(page.repairs(), 0);
    }
    let sql = Sql::new().await;
    let refused = sql.open(with("wrong")).await.unwrap_err().to_string();
    assert!(refused.contains("Auth") || refused.contains("WRONGPASS"), "{refused}");
    assert!(!refused.contains("wrong\""), "no password in an error: {refused}");
}

#[test]
fn the_readme_names_the_rules() {
    let readme = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    assert!(readme.contains(&RULES.join(" ")), "{}", RULES.join(" "));
}

#[tokio::test]
async fn tls_with_a_client_certificate_is_spoken_where_it_is_configured() {
    let folder = Folder::new().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        path
    };
    let mut authority = rcgen::CertificateParams::new(Vec::new()).unwrap();
    // Else its certificates would bear its own name, as if each had signed itself.
    authority.distinguished_name.push(rcgen::DnType::CommonName, "authority");
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let authority_key = rcgen::KeyPair::generate().unwrap();
    let authority_file = file("authority.pem", &authority.self_signed(&authority_key).unwrap().pem());
    let issuer = rcgen::Issuer::new(authority, authority_key);
    let issued = |name: &str| {
        let key = rcgen::KeyPair::generate().unwrap();
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let certificate = rcgen::CertificateParams::new(names).unwrap().signed_by(&key, &issuer).unwrap();
        let certificate = file(&format!("{name}.pem"), &certificate.pem());
        (certificate, file(&format!("{name}.key"), &key.serialize_pem()))
    };
    let ((server, server_key), client) = (issued("server"), issued("client"));
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let text = |path: &std::path::Path| path.display().to_string();
    let arguments = vec![
        "--tls-port".to_owned(),
        port.to_string(),
        "--tls-cert-file".to_owned(),
        text(&server),
        "--tls-key-file".to_owned(),
        text(&server_key),
        "--tls-ca-cert-file".to_owned(),
        text(&authority_file),
    ];
    let options = RedisOptions { arguments, ..RedisOptions::default() };
    let _server = RedisServer::start_with(folder.path(), options).unwrap();
    let sql = Sql::new().await;
    let config = |tls: Option<TlsFiles>| RedisConfig { tls, ..RedisConfig::single("127.0.0.1", port) };
    let files = TlsFiles { authorities: Some(authority_file), client: Some(client) };
    let state = sql.open(config(Some(files.clone()))).await.unwrap();
    shared_state::numbers(sql.stores(&state)).await;
    for refused in [None, Some(TlsFiles { client: None, ..files }), Some(TlsFiles::default())] {
        assert!(Sql::new().await.open(config(refused)).await.is_err());
    }
}
