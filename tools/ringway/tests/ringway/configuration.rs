//! Files, environment and arguments, as the program reads them.

use tempfile::tempdir;

use crate::program::{check_fails, ringway, run};

#[test]
fn an_unknown_key_is_refused_with_the_nearest_known_one() {
    let folder = tempdir().unwrap();
    let file = folder.path().join("ringway.toml");
    std::fs::write(&file, "[gateway]\nlisten_adress = \"x\"\n").unwrap();
    for command in ["up", "config", "doctor"] {
        let mut command = ringway(&[command, "--config", file.to_str().unwrap()]);
        check_fails(&mut command, 2, "unknown key gateway.listen_adress; the nearest known is listen");
    }
    let mut command = ringway(&["config"]);
    check_fails(command.env("RINGWAY_GATEWAY_SHARD", "1"), 2, "nearest known is RINGWAY_GATEWAY_SHARDS");
}

#[test]
fn what_config_prints_is_a_configuration_that_prints_the_same() {
    let folder = tempdir().unwrap();
    let file = folder.path().join("ringway.toml");
    let printed = ringway(&["config"]).env("RINGWAY_GATEWAY_NODE", "7").output().unwrap().stdout;
    std::fs::write(&file, &printed).unwrap();
    let again = run(&["config", "--config", file.to_str().unwrap()]).stdout;
    let text = String::from_utf8(again).unwrap();
    assert_eq!(text.as_bytes(), printed);
    assert!(text.contains("\nnode = 7\n"), "{text}");
}

#[test]
fn a_file_that_is_not_there_and_one_that_is_no_toml_are_named() {
    let folder = tempdir().unwrap();
    let file = folder.path().join("ringway.toml");
    let path = file.to_str().unwrap();
    check_fails(&mut ringway(&["up", "--config", path]), 2, "ringway.toml");
    std::fs::write(&file, "[gateway]\nshards = = 1\n").unwrap();
    check_fails(&mut ringway(&["up", "--config", path]), 2, "line 2");
}

#[test]
fn without_a_command_the_help_is_shown() {
    let output = run(&[]);
    let help = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && help.contains("Usage: ringway"), "{help}");
}
