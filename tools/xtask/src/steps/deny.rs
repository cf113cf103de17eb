//! Dependencies: licenses, bans and sources by cargo-deny, and what the all-in-one program must not link.
//!
//! Advisories are not checked: their database is fetched from outside every package registry, and a check that cannot
//! run everywhere would be a check that is skipped.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Result, bail};

use crate::process;
use crate::tools;
use crate::workplace::Workplace;

const LIMIT: Duration = Duration::from_secs(10 * 60);

/// Clients of the production backends, and what comes with RocketMQ's alone, by how their packages' names begin:
/// `ringway` is the embedded all-in-one and links none of them.
const BACKEND_CLIENTS: &[&str] =
    &["rocketmq", "redis", "fred", "mysql", "sqlx-mysql", "sqlx-postgres", "opentelemetry", "aws-lc"];

/// Runs cargo-deny and looks through the tree of `ringway`.
pub(super) fn check(workplace: &Workplace) -> Result<String> {
    let folder = tools::CARGO_DENY.folder(workplace)?;
    let mut deny = workplace.cargo([]);
    let path = std::env::var_os("PATH").unwrap_or_default();
    deny.env("PATH", std::env::join_paths(std::iter::once(folder).chain(std::env::split_paths(&path)))?);
    deny.args(["deny", "--locked", "--config", ".deny.toml", "check", "bans", "licenses", "sources"]);
    let denied = process::run(&mut deny, LIMIT);

    let arguments = ["tree", "--locked", "-p", "ringway", "-e", "normal,build", "--prefix", "none", "-f", "{p}"];
    let tree = process::output(&mut workplace.cargo(arguments))?;
    let clients = backend_clients(&tree);
    if !clients.is_empty() {
        bail!("ringway links clients of production backends: {}", clients.join(", "));
    }
    denied?;
    let packages: BTreeSet<&str> = tree.lines().map(|line| line.trim_end_matches(" (*)")).collect();
    Ok(format!("{} packages in ringway, no backend client", packages.len()))
}

fn backend_clients(tree: &str) -> Vec<&str> {
    let names = tree.lines().filter_map(|line| line.split_whitespace().next());
    let is_client = |name: &&str| {
        BACKEND_CLIENTS
            .iter()
            .any(|client| name.strip_prefix(client).is_some_and(|rest| rest.is_empty() || rest.starts_with(['-', '_'])))
    };
    let mut clients: Vec<_> = names.filter(is_client).collect();
    clients.dedup();
    clients
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backend_client_is_found_by_its_name() {
        let tree = "ringway v0.1.0 (/tree)\nserde v1.0.0\nrocketmq-client-rust v1.0.0\nfred v10.1.0 (*)\n";
        assert_eq!(backend_clients(tree), ["rocketmq-client-rust", "fred"]);
    }

    #[test]
    fn a_name_that_only_looks_alike_is_none() {
        assert!(backend_clients("frederic v1.0.0\nsqlx-sqlite v0.9.0\nredistribute v1.0.0\n").is_empty());
    }
}
