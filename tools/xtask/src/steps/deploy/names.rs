//! What the files below `deploy` name: metrics, keys, variables, runbooks. Pure functions of the texts.

use std::collections::{BTreeMap, BTreeSet};

use toml::{Table, Value};

use super::tree::{File, Tree};

/// Where alerts are, and their tests.
const ALERTS: &str = "deploy/dashboards/alerts.yml";
const ALERT_TESTS: &str = "deploy/dashboards/alerts.test.yml";
const RUNBOOKS: &str = "deploy/runbooks/";
/// The printed configurations, one file a program.
const REFERENCE: &str = "deploy/config/";
/// How a metric begins, and a variable.
const METRIC: &str = "ringway_";
const VARIABLE: &str = "RINGWAY_";
/// The variable that names the configuration file is no key.
const FILE_VARIABLE: &str = "RINGWAY_CONFIG";
/// What Prometheus can be told about.
const KINDS: [&str; 4] = ["gauge", "counter", "histogram", "summary"];
/// What it adds to a histogram's name.
const PARTS: [&str; 3] = ["_bucket", "_sum", "_count"];

/// Looks at all of them; what was found, and what is wrong.
pub(super) fn check(tree: &Tree) -> (String, Vec<String>) {
    let mut offences = parse(&tree.deploy);
    let known = metrics(&tree.code);
    let (mut used, mut alerts) = (BTreeSet::new(), 0);
    for file in tree.deploy.iter().filter(|file| file.path.starts_with("deploy/dashboards/")) {
        let words = words(&file.text, METRIC);
        for word in words.iter().filter(|word| !is_known(word, &known)) {
            offences.push(format!("{}: no metric {word} in the code", file.path));
        }
        if !file.path.ends_with(".md") {
            used.extend(words);
        }
    }
    if let Some(rules) = tree.deploy.iter().find(|file| file.path == ALERTS) {
        let found = alerts_of(&rules.text);
        alerts = found.len();
        offences.extend(runbooks(&found, &tree.deploy));
    }
    offences.extend(keys(&tree.deploy));
    if used.is_empty() || alerts == 0 {
        offences.push("no metric or no alert was found to look at".to_owned());
    }
    (format!("{alerts} alerts, {} metrics, {} files", used.len(), tree.deploy.len()), offences)
}

/// JSON and TOML that does not parse.
fn parse(files: &[File]) -> Vec<String> {
    let wrong = |file: &File| {
        let error = match file.path.rsplit('.').next() {
            Some("json") => serde_json::from_str::<serde_json::Value>(&file.text).err()?.to_string(),
            Some("toml") => file.text.parse::<Table>().err()?.message().to_owned(),
            _ => return None,
        };
        Some(format!("{}: {error}", file.path))
    };
    files.iter().filter_map(wrong).collect()
}

/// The words of a text that begin like this, each once. A word is made of letters, digits and `_`.
fn words(text: &str, beginning: &str) -> BTreeSet<String> {
    let words = text.split(|character: char| !(character.is_ascii_alphanumeric() || character == '_'));
    words.filter(|word| word.len() > beginning.len() && word.starts_with(beginning)).map(str::to_owned).collect()
}

/// The metrics that code tells: by its whole name, or by an end that a template in the same file puts behind
/// `ringway_…_`: `format!("ringway_part_{name}")` with rows of `("end", "kind", …)`.
fn metrics(code: &[File]) -> BTreeSet<String> {
    let mut known = BTreeSet::new();
    for file in code {
        let (whole, beginnings): (Vec<String>, Vec<String>) =
            words(&file.text, METRIC).into_iter().partition(|word| !word.ends_with('_'));
        known.extend(whole);
        if !beginnings.is_empty() {
            let ends = ends(&file.text);
            known.extend(
                beginnings.iter().flat_map(|beginning| ends.iter().map(move |end| format!("{beginning}{end}"))),
            );
        }
    }
    known
}

/// The literals that stand right before the literal of a kind.
fn ends(text: &str) -> BTreeSet<&str> {
    let pieces: Vec<&str> = text.split('"').collect();
    let mut found = BTreeSet::new();
    for window in pieces.windows(3) {
        if let [name, between, kind] = window
            && between.trim() == ","
            && KINDS.contains(kind)
        {
            found.insert(*name);
        }
    }
    found
}

fn is_known(word: &str, known: &BTreeSet<String>) -> bool {
    let base = PARTS.iter().find_map(|part| word.strip_suffix(part)).unwrap_or(word);
    known.contains(word) || known.contains(base)
}

/// An alert and the page that it names.
#[derive(Debug, PartialEq, Eq)]
struct Alert<'a> {
    name: &'a str,
    runbook: Option<&'a str>,
}

fn alerts_of(rules: &str) -> Vec<Alert<'_>> {
    let mut alerts: Vec<Alert<'_>> = Vec::new();
    for line in rules.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix("- alert:") {
            alerts.push(Alert { name: name.trim(), runbook: None });
        } else if let (Some(page), Some(last)) = (line.strip_prefix("runbook:"), alerts.last_mut()) {
            last.runbook = Some(page.trim());
        }
    }
    alerts
}

/// Every alert has a page that names it, and a test; every page names alerts that there are.
fn runbooks(alerts: &[Alert<'_>], files: &[File]) -> Vec<String> {
    let mut offences = Vec::new();
    let text_of = |path: &str| files.iter().find(|file| file.path == path).map(|file| file.text.as_str());
    let tested = words(text_of(ALERT_TESTS).unwrap_or_default(), "Ringway");
    for Alert { name, runbook } in alerts {
        match runbook.map(|page| (page, text_of(page))) {
            None => offences.push(format!("{ALERTS}: {name} names no runbook")),
            Some((page, None)) => offences.push(format!("{ALERTS}: {name} names {page}, which is not there")),
            Some((page, Some(text))) if !text.contains(&format!("`{name}`")) => {
                offences.push(format!("{page}: does not name {name}, which leads to it"));
            }
            Some(_) => {}
        }
        if !tested.contains(*name) {
            offences.push(format!("{ALERT_TESTS}: no test of {name}"));
        }
    }
    for page in files.iter().filter(|file| file.path.starts_with(RUNBOOKS)) {
        for line in page.text.lines().filter(|line| line.starts_with("**Alert**")) {
            let named = words(line, "Ringway");
            let strangers = named.iter().filter(|word| !alerts.iter().any(|alert| alert.name == word.as_str()));
            offences.extend(strangers.map(|word| format!("{}: there is no alert {word}", page.path)));
        }
    }
    offences
}

/// Keys in the configuration files, and variables anywhere, that no program knows.
fn keys(files: &[File]) -> Vec<String> {
    let mut known: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for file in files {
        if let Some(name) = file.path.strip_prefix(REFERENCE).filter(|name| name.ends_with(".toml")) {
            known.insert(name, keys_of(&file.text));
        }
    }
    let variables: BTreeSet<String> = known.values().flatten().map(|key| variable(key)).collect();
    let mut offences = Vec::new();
    for file in files.iter().filter(|file| !file.path.starts_with(REFERENCE)) {
        let name = file.path.rsplit('/').next().unwrap_or_default();
        if name.ends_with(".toml") {
            match known.get(name) {
                Some(known) => {
                    let strangers = keys_of(&file.text).into_iter().filter(|key| !known.contains(key));
                    offences.extend(strangers.map(|key| format!("{}: {REFERENCE}{name} has no key {key}", file.path)));
                }
                None => offences.push(format!("{}: there is no {REFERENCE}{name} to hold it against", file.path)),
            }
        }
        let named = words(&file.text, VARIABLE);
        let strangers = named.iter().filter(|word| *word != FILE_VARIABLE && !variables.contains(*word));
        offences.extend(strangers.map(|word| format!("{}: no program has a variable {word}", file.path)));
    }
    offences
}

/// `section.key` of every key. A text that does not parse has none; that is told elsewhere.
fn keys_of(text: &str) -> BTreeSet<String> {
    let table: Table = text.parse().unwrap_or_default();
    let mut keys = BTreeSet::new();
    for (section, content) in &table {
        if let Value::Table(content) = content {
            keys.extend(content.keys().map(|key| format!("{section}.{key}")));
        }
    }
    keys
}

fn variable(key: &str) -> String {
    format!("{VARIABLE}{}", key.replace('.', "_").to_uppercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str) -> File {
        File { path: path.to_owned(), text: text.to_owned() }
    }

    #[test]
    fn metrics_are_known_by_their_whole_name_or_by_their_end() {
        let rows = "[(\"lag\", \"gauge\", \"Lag.\"),\n(\"done_total\",\n \"counter\", \"x\")] format!(\"ringway_part_{name}\")";
        let known = metrics(&[file("a.rs", rows), file("b.rs", "\"counter\", \"ringway_sent_total\", \"Sent.\"")]);
        for name in ["ringway_part_lag", "ringway_part_done_total", "ringway_sent_total", "ringway_sent_total_bucket"] {
            assert!(is_known(name, &known), "{name} {known:?}");
        }
        for name in ["ringway_lag", "ringway_part_Lag", "ringway_part_done", "ringway_other_total"] {
            assert!(!is_known(name, &known), "{name} {known:?}");
        }
    }

    #[test]
    fn an_alert_without_page_or_test_is_found() {
        let rules = "rules:\n  - alert: RingwayA\n    runbook: deploy/runbooks/a.md\n  - alert: RingwayB\n";
        let alerts = alerts_of(rules);
        assert_eq!(alerts.last(), Some(&Alert { name: "RingwayB", runbook: None }));
        let files =
            [file("deploy/runbooks/a.md", "**Alert**: `RingwayA`, `RingwayC`\n"), file(ALERT_TESTS, "RingwayA")];
        let expected = [
            "deploy/dashboards/alerts.yml: RingwayB names no runbook",
            "deploy/dashboards/alerts.test.yml: no test of RingwayB",
            "deploy/runbooks/a.md: there is no alert RingwayC",
        ];
        assert_eq!(runbooks(&alerts, &files), expected);
    }

    #[test]
    fn keys_and_variables_that_no_program_has_are_found() {
        let files = [
            file("deploy/config/api.toml", "[api]\nlisten = \"x\"\n"),
            file("deploy/k8s/config/api.toml", "[api]\nlisten = \"y\"\nlisten_on = 1\n"),
            file("deploy/k8s/config/other.toml", ""),
            file("deploy/a.yaml", "RINGWAY_API_LISTEN: x\nRINGWAY_CONFIG: y\nRINGWAY_API_PORT: 1\n"),
        ];
        let expected = [
            "deploy/k8s/config/api.toml: deploy/config/api.toml has no key api.listen_on",
            "deploy/k8s/config/other.toml: there is no deploy/config/other.toml to hold it against",
            "deploy/a.yaml: no program has a variable RINGWAY_API_PORT",
        ];
        assert_eq!(keys(&files), expected);
    }

    #[test]
    fn what_does_not_parse_is_found() {
        let files = [file("deploy/a.json", "{"), file("deploy/b.toml", "a = \n"), file("deploy/c.json", "[1]")];
        let offences = parse(&files);
        assert!(
            matches!(offences.as_slice(), [a, b] if a.starts_with("deploy/a.json: ") && b.starts_with("deploy/b.toml: "))
        );
    }
}
