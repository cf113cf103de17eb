//! Signing in, rights and TLS.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use ringway_mysql::{Database, MySqlConfig, Tls, TlsMode};
use ringway_stack::{Folder, MariaDb, MariaDbOptions};
use ringway_store::conformance::shared_state::now_ms;
use ringway_store::conformance::{archive, directory};

use crate::harness::{Opened, fresh, shared};

/// What the account needs, and nothing else: the line of the README.
const RIGHTS: &str = "SELECT, INSERT, UPDATE, DELETE, CREATE, DROP, ALTER, INDEX, REFERENCES";

/// A fresh database on the shared server, and an account for it alone, called the same.
fn account(rights: &str, password: &str) -> (String, MySqlConfig) {
    let url = fresh(shared());
    let name = url.rsplit_once('/').unwrap().1.to_owned();
    let statements = format!(
        "CREATE USER {name}@'127.0.0.1' IDENTIFIED BY '{password}'; GRANT {rights} ON {name}.* TO {name}@'127.0.0.1';"
    );
    shared().sql(&statements).unwrap();
    let config = MySqlConfig {
        user: Some(name.clone()),
        password: Some(password.to_owned()),
        ..MySqlConfig::new(format!("mysql://127.0.0.1:{}/{name}", shared().port()))
    };
    (name, config)
}

#[tokio::test]
async fn an_account_with_the_rights_of_the_readme_suffices() {
    let (_, mut config) = account(RIGHTS, "secret@/:");
    config.retention_months = Some(1);
    let opened = Opened::with(config).await;
    archive::commits(&opened.archive).await;
    directory::groups(&opened.directory).await;
    assert!(opened.database.keep_months(now_ms() + 200 * 24 * 3_600_000).await.unwrap().dropped.len() > 1);
}

#[test]
fn the_readme_names_the_rights() {
    let readme = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    assert!(readme.contains(&format!("GRANT {RIGHTS} ON")), "{RIGHTS}");
}

#[tokio::test]
async fn a_wrong_password_is_refused_at_once_and_not_shown() {
    let (name, mut config) = account(RIGHTS, "right");
    config.password = Some("wr0ng".to_owned());
    let began = Instant::now();
    let refused = Database::open(config.clone()).await.unwrap_err();
    let text = format!("{refused} {refused:?} {config:?}");
    assert!(text.contains("Access denied") && text.contains(&name), "{text}");
    assert!(!text.contains("wr0ng"), "{text}");
    assert!(began.elapsed() < Duration::from_secs(3));
}

/// An authority, and a server's certificate from it.
struct Issued {
    authority: PathBuf,
    certificate: PathBuf,
    key: PathBuf,
}

fn issue(folder: &Folder, name: &str, host: &str) -> Issued {
    let file = |kind: &str, text: &str| {
        let path = folder.path().join(format!("{name}-{kind}.pem"));
        fs::write(&path, text).unwrap();
        path
    };
    let mut authority = rcgen::CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let authority_key = rcgen::KeyPair::generate().unwrap();
    let authority_pem = authority.self_signed(&authority_key).unwrap().pem();
    let issuer = rcgen::Issuer::new(authority, authority_key);
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate =
        rcgen::CertificateParams::new(vec![host.to_owned()]).unwrap().signed_by(&key, &issuer).unwrap().pem();
    Issued {
        authority: file("authority", &authority_pem),
        certificate: file("certificate", &certificate),
        key: file("key", &key.serialize_pem()),
    }
}

async fn open(config: &MySqlConfig, mode: TlsMode, ca: Option<&PathBuf>) -> Result<Database, String> {
    let tls = Some(Tls { mode, ca: ca.cloned(), client: None });
    Database::open(MySqlConfig { tls, ..config.clone() }).await.map_err(|error| error.to_string())
}

#[tokio::test]
async fn tls_is_demanded_of_the_server_where_it_is_configured() {
    let config = MySqlConfig::new(fresh(shared()));
    for mode in [TlsMode::Required, TlsMode::VerifyCa, TlsMode::VerifyIdentity] {
        let refused = open(&config, mode, None).await.unwrap_err();
        assert!(refused.contains("TLS"), "{refused}");
    }
    for mode in [TlsMode::Disabled, TlsMode::Preferred] {
        open(&config, mode, None).await.unwrap();
    }
}

#[tokio::test]
async fn a_server_is_trusted_by_its_certificate() {
    // As the processes do; an error means that there is a provider.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let folder = Folder::new().unwrap();
    let issued = issue(&folder, "server", "127.0.0.1");
    let other = issue(&folder, "other", "127.0.0.1");
    let arguments = vec![
        format!("--ssl-cert={}", issued.certificate.display()),
        format!("--ssl-key={}", issued.key.display()),
        format!("--ssl-ca={}", issued.authority.display()),
    ];
    let server = MariaDb::start_with(folder.path(), MariaDbOptions { arguments }).unwrap();
    server
        .sql("CREATE USER safe@'127.0.0.1' IDENTIFIED BY 'safe' REQUIRE SSL; GRANT ALL ON *.* TO safe@'127.0.0.1';")
        .unwrap();
    let mut config = MySqlConfig::new(server.url());
    config.user = Some("safe".to_owned());
    config.password = Some("safe".to_owned());
    let authority = Some(&issued.authority);
    for (mode, ca, trusted) in [
        (TlsMode::VerifyIdentity, authority, true),
        (TlsMode::VerifyCa, authority, true),
        (TlsMode::Required, None, true),
        (TlsMode::Preferred, None, true),
        // The server wants TLS of this account.
        (TlsMode::Disabled, None, false),
        // Signed by nobody we know.
        (TlsMode::VerifyCa, Some(&other.authority), false),
        (TlsMode::VerifyIdentity, None, false),
    ] {
        assert_eq!(open(&config, mode, ca).await.is_ok(), trusted, "{mode:?} {ca:?}");
    }
    // Its certificate is for an address, not for this name.
    config.url = format!("mysql://localhost:{}/ringway", server.port());
    open(&config, TlsMode::VerifyCa, authority).await.unwrap();
    assert!(open(&config, TlsMode::VerifyIdentity, authority).await.is_err());
    // What the archive writes goes through as it does without.
    let tls = Some(Tls { mode: TlsMode::VerifyCa, ca: Some(issued.authority), client: None });
    archive::commits(&Opened::with(MySqlConfig { tls, ..config }).await.archive).await;
}
