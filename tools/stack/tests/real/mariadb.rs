//! One MariaDB server.

use ringway_stack::{Folder, MariaDb};

use crate::check;

#[test]
fn mariadb_keeps_what_was_committed_over_a_kill() {
    let folder = Folder::new().unwrap();
    let mut mariadb = MariaDb::start(folder.path()).unwrap();
    let (pid, port) = (mariadb.pid().unwrap(), mariadb.port());
    check::only_on_loopback(pid, &[port]);
    let url = mariadb.create_database("one").unwrap();
    assert_eq!(url, format!("mysql://ringway:ringway@127.0.0.1:{port}/one"));
    mariadb.sql("CREATE TABLE one.t (a INT); INSERT INTO one.t VALUES (7);").unwrap();
    mariadb.kill().unwrap();
    assert!(mariadb.sql("SELECT 1;").is_err());
    mariadb.restart().unwrap();
    assert_ne!(mariadb.pid().unwrap(), pid);
    assert_eq!(mariadb.sql("SELECT a FROM one.t;").unwrap(), "7\n");
    mariadb.terminate().unwrap();
    mariadb.restart_empty().unwrap();
    assert!(mariadb.sql("SELECT a FROM one.t;").is_err());
    assert_eq!(mariadb.port(), port);
    let pid = mariadb.pid().unwrap();
    drop(mariadb);
    check::gone(pid, &[port]);
}
