//! Files, environment and arguments, as the programs read them. No server is asked.

use rustix::process::Signal;

use crate::deployment::{Deployment, keys};
use crate::program::{Program, check_fails, command};

const PROGRAMS: [&str; 3] = ["ringway-gateway", "ringway-persist", "ringway-api"];

#[test]
fn what_config_prints_is_a_configuration_that_prints_the_same() {
    let folder = tempfile::tempdir().unwrap();
    for program in PROGRAMS {
        let file = folder.path().join(program);
        let arguments = keys(&[("redis.prefix", "other:")]);
        let printed = command(program, &[vec!["config".to_owned()], arguments].concat()).output().unwrap().stdout;
        std::fs::write(&file, &printed).unwrap();
        let again = ["config", "--config", file.to_str().unwrap()].map(str::to_owned);
        let text = String::from_utf8(command(program, &again).output().unwrap().stdout).unwrap();
        assert_eq!(text.as_bytes(), printed);
        assert!(text.contains("\nprefix = \"other:\"\n"), "{text}");
    }
}

#[test]
fn what_is_wrong_with_the_configuration_is_told_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ringway.toml");
    std::fs::write(&file, "[redis]\nulr = \"x\"\n").unwrap();
    for program in PROGRAMS {
        let given = ["--config", file.to_str().unwrap()].map(str::to_owned);
        check_fails(program, &given, 2, "unknown key redis.ulr; the nearest known is url");
        check_fails(program, &keys(&[("mysql.url", "x")]), 2, "mysql.url must begin with mysql://");
        check_fails(program, &keys(&[("admin.listen", "x")]), 2, "--admin.listen: admin.listen expects an IP address");
        check_fails(program, &keys(&[("peers.key_file", "no-such"), ("admin.listen", "127.0.0.1:0")]), 1, "key_file: ");
    }
    check_fails("ringway-persist", &keys(&[("replay-from", "all=7")]), 2, "--replay-from all=7: ");
    check_fails("ringway-persist", &keys(&[("push.url", "x")]), 2, "push.url: \"x\" is no URL that begins with http");
    check_fails("ringway-persist", &keys(&[("push.push_after_ms", "3000")]), 2, "above push.nudge_after_ms");
}

#[test]
fn a_reload_takes_what_may_change_and_names_the_rest() {
    let deployment = Deployment::new();
    let file = deployment.folder().join("api.toml");
    std::fs::write(&file, "[log]\nlevel = \"info\"\n").unwrap();
    let with_file = ["--config", file.to_str().unwrap()].map(str::to_owned);
    let mut api = Program::start("ringway-api", &[deployment.api(), with_file.to_vec()].concat());
    api.ready();
    std::fs::write(&file, "[log]\nlevel = \"debug\"\n[api]\naccess_token_ttl_s = 7\n").unwrap();
    api.signal(Signal::HUP);
    assert_eq!(api.wait_for_log("need a restart")["keys"], "api.access_token_ttl_s");
    assert_eq!(api.wait_for_log("configuration reloaded")["keys"], "log.level");
    api.stop();
}
