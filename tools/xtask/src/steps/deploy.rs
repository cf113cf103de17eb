//! What operators are given: it parses, its own tools take it, and the metrics, keys, files and pages that it names are
//! there.
//!
//! Names are looked up in the code's text, so that a metric which is renamed, or a key, fails here and not at night. The
//! tools (promtool, haproxy, nginx, systemd-analyze) look at copies in the scratch folder with stand-ins for what only a
//! real host has: certificates, users, the programs themselves. Nothing is started and nothing leaves this machine.

mod names;
mod programs;
mod tree;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use self::programs::Programs;
use self::tree::Tree;
use crate::process;
use crate::workplace::Workplace;

/// One look of one tool takes seconds.
const LIMIT: Duration = Duration::from_secs(120);
/// The programs that the units start.
const PROGRAMS: [&str; 3] = ["ringway-gateway", "ringway-persist", "ringway-api"];

/// Applies every check, each whatever came of the ones before.
pub(super) fn check(workplace: &Workplace) -> Result<String> {
    let tree = Tree::read(&workplace.root)?;
    let (found, mut offences) = names::check(&tree);
    let scratch = workplace.scratch.join("deploy");
    fs::create_dir_all(&scratch)?;
    let deploy = workplace.root.join("deploy");
    let mut look = |what: &str, looked: Result<()>| {
        if let Err(error) = looked {
            offences.push(format!("{what}: {error:#}"));
        }
    };
    look("manifests", manifests(workplace, &deploy));
    match Programs::find(workplace) {
        Ok(programs) => {
            look("rules", rules(&programs, &deploy));
            look("dashboard", dashboard(&programs, &deploy, &scratch));
            look("scrape configuration", scrape_config(&programs, &deploy, &scratch));
            look("haproxy", haproxy(&programs, &deploy, &scratch));
            look("nginx", nginx(&programs, &deploy, &scratch));
            look("units", units(&deploy, &scratch));
        }
        Err(error) => look("tools", Err(error)),
    }
    if !offences.is_empty() {
        bail!("{} offences below deploy\n{}", offences.len(), offences.join("\n"));
    }
    Ok(found)
}

/// YAML, Kubernetes' schemas, the compose specification.
fn manifests(workplace: &Workplace, deploy: &Path) -> Result<()> {
    let packages = programs::python_packages(workplace)?;
    let mut script = Command::new(crate::tools::python()?);
    script.arg(deploy.join("checks/manifests.py")).arg(deploy).env("PYTHONPATH", packages);
    process::run(script.env("PYTHONDONTWRITEBYTECODE", "1"), LIMIT)
}

/// The alerts, and their unit tests.
fn rules(programs: &Programs, deploy: &Path) -> Result<()> {
    let folder = deploy.join("dashboards");
    process::run(programs.promtool().current_dir(&folder).args(["check", "rules", "alerts.yml"]), LIMIT)?;
    process::run(programs.promtool().current_dir(&folder).args(["test", "rules", "alerts.test.yml"]), LIMIT)
}

/// The dashboard's expressions, held against the language as if they were rules.
fn dashboard(programs: &Programs, deploy: &Path, scratch: &Path) -> Result<()> {
    let board: Value = serde_json::from_str(&fs::read_to_string(deploy.join("dashboards/ringway.json"))?)?;
    let mut expressions = Vec::new();
    collect_expressions(&board, &mut expressions);
    if expressions.is_empty() {
        bail!("it has no expression");
    }
    let rule = |(number, expression): (usize, &&str)| json!({"record": format!("panel:{number}"), "expr": expression});
    let rules: Vec<Value> = expressions.iter().enumerate().map(rule).collect();
    let copy = scratch.join("dashboard.yml");
    // What is JSON is YAML.
    fs::write(&copy, json!({"groups": [{"name": "dashboard", "rules": rules}]}).to_string())?;
    process::run(programs.promtool().args(["check", "rules"]).arg(&copy), LIMIT)
}

/// The values of all fields `expr`, at any depth.
fn collect_expressions<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
    match value {
        Value::Object(fields) => {
            found.extend(fields.get("expr").and_then(Value::as_str));
            fields.values().for_each(|field| collect_expressions(field, found));
        }
        Value::Array(items) => items.iter().for_each(|item| collect_expressions(item, found)),
        _ => {}
    }
}

/// The example of what Prometheus scrapes, which wants the rules beside it.
fn scrape_config(programs: &Programs, deploy: &Path, scratch: &Path) -> Result<()> {
    fs::copy(deploy.join("compose/watch/prometheus.yml"), scratch.join("prometheus.yml"))?;
    fs::copy(deploy.join("dashboards/alerts.yml"), scratch.join("alerts.yml"))?;
    process::run(programs.promtool().args(["check", "config"]).arg(scratch.join("prometheus.yml")), LIMIT)
}

/// HAProxy's own look, with a certificate made here and without the user that its package makes.
fn haproxy(programs: &Programs, deploy: &Path, scratch: &Path) -> Result<()> {
    let certificate = certificate(scratch)?;
    for place in ["balancer/haproxy.cfg", "compose/haproxy.cfg"] {
        let text = fs::read_to_string(deploy.join(place)).with_context(|| place.to_owned())?;
        let kept: Vec<&str> = text.lines().filter(|line| !is_account(line)).collect();
        let copy = scratch.join("haproxy.cfg");
        fs::write(&copy, format!("{}\n", kept.join("\n")))?;
        let mut haproxy = programs.haproxy();
        haproxy.arg("-c").arg("-f").arg(&copy).env("TLS_CERT", &certificate);
        process::run(&mut haproxy, LIMIT).with_context(|| place.to_owned())?;
    }
    Ok(())
}

/// Whether a line of HAProxy's configuration names the account to run under.
fn is_account(line: &str) -> bool {
    matches!(line.split_whitespace().collect::<Vec<_>>().as_slice(), ["user" | "group", "haproxy"])
}

/// nginx's own look, with its files in the scratch folder.
fn nginx(programs: &Programs, deploy: &Path, scratch: &Path) -> Result<()> {
    certificate(scratch)?;
    let text = fs::read_to_string(deploy.join("balancer/nginx.conf"))?;
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .iter()
        .map(|kind| format!("    {kind}_temp_path {};\n", scratch.join(format!("nginx-{kind}")).display()))
        .collect();
    let text = text.replace("http {\n", &format!("http {{\n{temporary}"));
    let copy = scratch.join("nginx.conf");
    fs::write(&copy, text.replace("/var/log/nginx/error.log", "stderr"))?;
    let mut nginx = programs.nginx();
    nginx.args(["-t", "-e", "stderr", "-p"]).arg(scratch).arg("-c").arg(&copy);
    nginx.arg("-g").arg(format!("pid {};", scratch.join("nginx.pid").display()));
    process::run(&mut nginx, LIMIT)
}

/// A certificate with its key in one file, as HAProxy wants it, and the key alone; made once a run.
fn certificate(scratch: &Path) -> Result<PathBuf> {
    let folder = scratch.join("tls");
    let both = folder.join("im.example.pem");
    if both.is_file() {
        return Ok(both);
    }
    fs::create_dir_all(&folder)?;
    let (key, alone) = (folder.join("im.example.key"), folder.join("alone.pem"));
    let mut openssl = Command::new("openssl");
    openssl.args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=im.example", "-keyout"]);
    process::run(openssl.arg(&key).arg("-out").arg(&alone), LIMIT)?;
    fs::write(&both, fs::read_to_string(&alone)? + &fs::read_to_string(&key)?)?;
    Ok(both)
}

/// Units and the user's file, below a root of their own with stand-ins for the programs.
fn units(deploy: &Path, scratch: &Path) -> Result<()> {
    let root = scratch.join("root");
    let (from, to) = (deploy.join("systemd"), root.join("etc/systemd/system"));
    fs::create_dir_all(&to)?;
    let mut units = Vec::new();
    for entry in fs::read_dir(&from)? {
        let path = entry?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
        if !name.ends_with(".service") || path.is_dir() {
            continue;
        }
        // A template is looked at as one of its instances.
        let unit = name.replace("@.service", "@1.service");
        fs::copy(&path, to.join(name))?;
        fs::copy(&path, to.join(&unit))?;
        units.push(unit);
    }
    if units.len() <= PROGRAMS.len() {
        bail!("units are missing: there are {}", units.join(", "));
    }
    let cores = to.join("ringway-gateway.service.d/cores.conf");
    fs::create_dir_all(cores.parent().context("a file without a folder")?)?;
    fs::copy(from.join("ringway-gateway.service.d/cores.conf.example"), &cores)?;
    for program in PROGRAMS.iter().map(|name| format!("usr/bin/{name}")).chain(["bin/kill".to_owned()]) {
        stand_in(&root.join(program))?;
    }
    programs::systemd()?;
    let mut verify = Command::new("systemd-analyze");
    verify.args(["verify", "--man=no", "--recursive-errors=no", "--root"]).arg(&root).args(&units);
    heard(&mut verify)?;

    let sysusers = root.join("usr/lib/sysusers.d/ringway.conf");
    fs::create_dir_all(sysusers.parent().context("a file without a folder")?)?;
    fs::copy(from.join("ringway.sysusers.conf"), &sysusers)?;
    process::run(Command::new("systemd-sysusers").arg("--dry-run").arg("--root").arg(&root), LIMIT)
}

/// A program that does nothing.
fn stand_in(path: &Path) -> Result<()> {
    fs::create_dir_all(path.parent().context("a program without a folder")?)?;
    fs::write(path, "#!/bin/sh\n")?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))?;
    Ok(())
}

/// Runs a command that must say nothing: an unknown key of a unit is told, and ends with 0 nevertheless.
fn heard(command: &mut Command) -> Result<()> {
    let output = command.output().with_context(|| format!("cannot run {}", command.get_program().display()))?;
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    if !output.status.success() || !said.trim().is_empty() {
        bail!("{}: {}", output.status, said.trim());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_account_of_the_balancer_is_left_out_and_nothing_else() {
        assert!(is_account("    user haproxy") && is_account("group haproxy"));
        assert!(!is_account("    user nobody") && !is_account("    stats socket /run/haproxy/admin.sock"));
    }

    #[test]
    fn expressions_are_found_at_any_depth() {
        let board = json!({"panels": [{"targets": [{"expr": "a"}, {"expr": "b"}]}], "expr": "c", "title": "expr"});
        let mut found = Vec::new();
        collect_expressions(&board, &mut found);
        found.sort_unstable();
        assert_eq!(found, ["a", "b", "c"]);
    }

    #[test]
    fn a_command_that_says_something_has_failed() {
        heard(Command::new("sh").args(["-c", "exit 0"])).unwrap();
        let error = heard(Command::new("sh").args(["-c", "echo unknown key >&2"])).unwrap_err().to_string();
        assert!(error.contains("unknown key"), "{error}");
        heard(Command::new("sh").args(["-c", "exit 3"])).unwrap_err();
    }
}
