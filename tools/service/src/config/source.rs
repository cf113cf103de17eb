//! Where the configuration comes from: a file, then the environment, then arguments, each stronger than
//! the one before.

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use toml::{Table, Value};

use super::key::{Key, Settings};
use super::nearest::nearest;
use super::value::Raw;

/// The sources of one process. They are kept, so that a reload reads them again.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// The file, if one was named.
    pub file: Option<PathBuf>,
    /// Variables of the environment that begin with `RINGWAY_`.
    pub variables: Vec<(String, String)>,
    /// Keys set by arguments: `section.name`, the argument's name, its value.
    pub flags: Vec<(String, String, String)>,
}

impl Sources {
    /// The file with this process's environment.
    #[must_use]
    pub fn new(file: Option<PathBuf>) -> Self {
        let variables = std::env::vars_os().filter_map(|(name, value)| {
            let name = name.into_string().ok().filter(|name| name.starts_with("RINGWAY_"))?;
            Some((name, value.to_string_lossy().into_owned()))
        });
        Self { file, variables: variables.collect(), flags: Vec::new() }
    }

    /// Adds an argument, if it was given.
    #[must_use]
    pub fn flag(mut self, path: &str, name: &str, value: Option<impl ToString>) -> Self {
        self.flags.extend(value.map(|value| (path.to_owned(), name.to_owned(), value.to_string())));
        self
    }

    /// Reads them all.
    ///
    /// # Errors
    /// One line that names the source, the key and what is wrong.
    pub fn load<C: Settings>(&self) -> anyhow::Result<C> {
        let keys = C::keys();
        let mut config = C::default();
        if let Some(path) = &self.file {
            let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
            read_file(&mut config, &keys, &text).with_context(|| path.display().to_string())?;
        }
        for (name, value) in &self.variables {
            if let Some(key) = variable_key(name, &keys)? {
                set(&mut config, key, &Raw::Text(value)).with_context(|| name.clone())?;
            }
        }
        for (path, name, value) in &self.flags {
            let key = keys.iter().find(|key| key.path() == *path).with_context(|| format!("no key {path}"))?;
            set(&mut config, key, &Raw::Text(value)).with_context(|| name.clone())?;
        }
        config.check()?;
        Ok(config)
    }
}

fn set<C: Settings>(config: &mut C, key: &Key, raw: &Raw<'_>) -> anyhow::Result<()> {
    config.set(key, raw).map_err(|error| anyhow::anyhow!("{} {error}", key.path()))
}

fn read_file<C: Settings>(config: &mut C, keys: &[Key], text: &str) -> anyhow::Result<()> {
    let table: Table = text.parse().map_err(|error: toml::de::Error| {
        let line = error.span().map_or(0, |span| text.bytes().take(span.start).filter(|byte| *byte == b'\n').count());
        anyhow::anyhow!("line {}: {}", line + 1, error.message().lines().next().unwrap_or_default())
    })?;
    for (section, content) in &table {
        if !C::SECTIONS.iter().any(|(known, _)| known == section) {
            bail!("unknown section [{section}]{}", hint(section, C::SECTIONS.iter().map(|(known, _)| *known)));
        }
        let Value::Table(content) = content else { bail!("[{section}] must be a section, not a value") };
        for (name, value) in content {
            let mut keys = keys.iter().filter(|key| key.section == section);
            match keys.clone().find(|key| key.name == name) {
                Some(key) => set(config, key, &Raw::Toml(value))?,
                None => bail!("unknown key {section}.{name}{}", hint(name, keys.by_ref().map(|key| key.name))),
            }
        }
    }
    Ok(())
}

/// The key that a variable sets. Variables outside our sections belong to others.
fn variable_key<'a>(variable: &str, keys: &'a [Key]) -> anyhow::Result<Option<&'a Key>> {
    if let Some(key) = keys.iter().find(|key| key.variable() == variable) {
        return Ok(Some(key));
    }
    let prefix_of = |section: &str| format!("RINGWAY_{}_", section.to_uppercase());
    if keys.iter().any(|key| variable.starts_with(&prefix_of(key.section))) {
        let known: Vec<String> = keys.iter().map(Key::variable).collect();
        bail!("unknown variable {variable}{}", hint(variable, known.iter().map(String::as_str)));
    }
    Ok(None)
}

fn hint<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> String {
    nearest(name, known).map_or_else(String::new, |near| format!("; the nearest known is {near}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::sample::Config;

    fn load(file: &str, variables: &[(&str, &str)]) -> Result<Config, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ringway.toml");
        std::fs::write(&path, file).unwrap();
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let sources = Sources { file: Some(path), variables, flags: Vec::new() };
        sources.load().map_err(|error| format!("{error:#}"))
    }

    fn check_refused(file: &str, variables: &[(&str, &str)], expected: &str) {
        let error = load(file, variables).unwrap_err();
        assert!(error.contains(expected) && !error.contains('\n'), "{error}");
    }

    #[test]
    fn arguments_win_over_the_environment_and_that_over_the_file() {
        let file = "[gateway]\nshards = 1\nnode = 2\npin = false\n";
        let config = load(file, &[("RINGWAY_GATEWAY_NODE", "3"), ("RINGWAY_PASSWORD", "x")]).unwrap();
        assert_eq!((config.gateway.shards, config.numbering.node, config.gateway.pin), (1, 3, false));
        let mut sources = Sources::default().flag("gateway.node", "--node", Some(4));
        sources.variables = vec![("RINGWAY_GATEWAY_NODE".into(), "3".into())];
        assert_eq!(sources.load::<Config>().unwrap().numbering.node, 4);
    }

    #[test]
    fn unknown_names_are_refused_with_the_nearest_known_one() {
        check_refused(
            "[gateway]\nlisten_on = \"x\"\n",
            &[],
            "unknown key gateway.listen_on; the nearest known is listen",
        );
        check_refused("[gatway]\n", &[], "unknown section [gatway]; the nearest known is gateway");
        check_refused("shards = 1\n", &[], "unknown section [shards]");
        check_refused("gateway = 1\n", &[], "[gateway] must be a section");
        let variable = [("RINGWAY_GATEWAY_SHARD", "1")];
        check_refused(
            "",
            &variable,
            "unknown variable RINGWAY_GATEWAY_SHARD; the nearest known is RINGWAY_GATEWAY_SHARDS",
        );
    }

    #[test]
    fn wrong_values_are_refused_with_their_key() {
        check_refused("[gateway]\nshards = \"two\"\n", &[], "gateway.shards expects a whole number");
        check_refused("[gateway]\nshards = 65\n", &[], "gateway.shards must lie between 0 and 64, not 65");
        check_refused("", &[("RINGWAY_API_LISTEN", "here")], "RINGWAY_API_LISTEN: api.listen expects an IP address");
        check_refused("[gateway]\n\nshards = \n", &[], "line 3: ");
    }
}
