//! TLS towards a name server and a broker that speak nothing else.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use ringway_rocketmq::{RocketConfig, RocketError, RocketLog, RocketQueues, TlsFiles};
use ringway_stack::{Folder, RocketMq, RocketMqOptions, RocketMqTls};
use ringway_store::ports::{AppendError, EventLog as _, LogOffset};

use crate::harness::{Stack, open, queue_of, record};

/// A refusal is found out within the time of a connect.
const SOON: Duration = Duration::from_secs(4);

/// An authority, and certificates from it for the servers and a client.
struct Issued {
    authority: PathBuf,
    server: (PathBuf, PathBuf),
    client: (PathBuf, PathBuf),
}

fn issue(folder: &Folder, name: &str, host: &str) -> Issued {
    let file = |kind: &str, text: &str| {
        let path = folder.path().join(format!("{name}-{kind}.pem"));
        fs::write(&path, text).unwrap();
        path
    };
    let mut authority = rcgen::CertificateParams::new(Vec::new()).unwrap();
    // Else its certificates would bear its own name, as if each had signed itself.
    authority.distinguished_name.push(rcgen::DnType::CommonName, name);
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let authority_key = rcgen::KeyPair::generate().unwrap();
    let authority_file = file("authority", &authority.self_signed(&authority_key).unwrap().pem());
    let issuer = rcgen::Issuer::new(authority, authority_key);
    let issued = |kind: &str| {
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = rcgen::CertificateParams::new(vec![host.to_owned()]).unwrap().signed_by(&key, &issuer);
        (file(kind, &certificate.unwrap().pem()), file(&format!("{kind}-key"), &key.serialize_pem()))
    };
    Issued { authority: authority_file, server: issued("server"), client: issued("client") }
}

fn start(folder: &Folder, issued: &Issued, asks_clients: bool) -> RocketMq {
    let (certificate, key) = issued.server.clone();
    let tls = RocketMqTls { authority: issued.authority.clone(), certificate, key, asks_clients };
    let options = RocketMqOptions { tls: Some(tls), ..RocketMqOptions::default() };
    RocketMq::start_with(folder.path(), options).unwrap()
}

fn config(servers: &RocketMq, authorities: Option<&PathBuf>, client: Option<&(PathBuf, PathBuf)>) -> RocketConfig {
    let tls = Some(TlsFiles { authorities: authorities.cloned(), client: client.cloned() });
    RocketConfig { tls, ..RocketConfig::new(vec![servers.namesrv()]) }
}

/// Records go there and back.
async fn serves(config: &RocketConfig, text: &str) {
    let (log, queues) = open(config).await;
    let queue = queue_of(&queues, 3);
    let end = queue.end();
    log.append(vec![record(3, text), record(3, &"x".repeat(1_000_000))]).await.unwrap();
    queue.wait_for(LogOffset(end.0 + 1)).await.unwrap();
    let records = queue.read(end, 2, 4_000_000).await.unwrap();
    assert_eq!((records.len(), &records[0].bytes[..], records[1].bytes.len()), (2, text.as_bytes(), 1_000_000));
    queue.release(LogOffset(end.0 + 2));
    queues.close().await;
    let queues = RocketQueues::open(config.clone()).await.unwrap();
    assert_eq!(queues.committed().await.unwrap()[3], Some(LogOffset(end.0 + 2)));
    queues.close().await;
    log.close().await;
}

/// Neither a log nor its queues get through, and both say why.
async fn refuses(config: &RocketConfig, expected: &[&str]) {
    let began = Instant::now();
    let log = RocketLog::open(config.clone()).await.unwrap();
    let AppendError::Unavailable(why) = log.append(vec![record(3, "x")]).await.unwrap_err() else { panic!("away") };
    log.close().await;
    let Some(RocketError::Unavailable(read)) = RocketQueues::open(config.clone()).await.err() else { panic!("away") };
    assert!(began.elapsed() < 2 * SOON, "{:?}", began.elapsed());
    for text in [why, read] {
        assert!(expected.iter().any(|expected| text.contains(expected)), "{expected:?}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_that_speak_nothing_but_tls_are_trusted_by_their_certificate() {
    let folder = Folder::new().unwrap();
    let issued = issue(&folder, "one", "127.0.0.1");
    let other = issue(&folder, "other", "127.0.0.1");
    let servers = start(&folder, &issued, false);
    serves(&config(&servers, Some(&issued.authority), None), "over TLS").await;
    // One that nobody asks for does no harm.
    serves(&config(&servers, Some(&issued.authority), Some(&issued.client)), "with a certificate").await;

    refuses(&config(&servers, Some(&other.authority), None), &["UnknownIssuer"]).await;
    refuses(&config(&servers, None, None), &["UnknownIssuer", "root_certificates"]).await;
    let plain = RocketConfig { tls: None, ..config(&servers, None, None) };
    refuses(&plain, &["it speaks TLS, which is not configured here"]).await;
    // The certificate is for an address, not for this name.
    let named = config(&servers, Some(&issued.authority), None);
    let name_servers = vec![servers.namesrv().replace("127.0.0.1", "localhost")];
    refuses(&RocketConfig { name_servers, ..named }, &["not valid for name"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_that_ask_for_a_certificate_get_ours() {
    let folder = Folder::new().unwrap();
    let issued = issue(&folder, "one", "127.0.0.1");
    let other = issue(&folder, "other", "127.0.0.1");
    let servers = start(&folder, &issued, true);
    serves(&config(&servers, Some(&issued.authority), Some(&issued.client)), "with a certificate").await;
    refuses(&config(&servers, Some(&issued.authority), None), &["ertificate"]).await;
    refuses(&config(&servers, Some(&issued.authority), Some(&other.client)), &["ertificate"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_is_not_spoken_with_servers_that_do_not_speak_it() {
    let folder = Folder::new().unwrap();
    let issued = issue(&folder, "one", "127.0.0.1");
    refuses(&config(&Stack::shared().servers, Some(&issued.authority), None), &["tls handshake eof"]).await;
}
