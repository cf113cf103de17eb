//! What there is to measure: the files of `perf/scenarios`, one a scenario.
//!
//! Their figures are the generator's to read; here count their names, what they are, and how the server is started.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use toml::Table;

/// A scenario, as its file has it.
#[derive(Debug, Clone)]
pub(crate) struct Scenario {
    pub(crate) name: String,
    /// In a sentence.
    pub(crate) what: String,
    plain: Table,
}

impl Scenario {
    /// All of a checkout, by name.
    ///
    /// # Errors
    /// A file cannot be read.
    pub(crate) fn all(tree: &Path) -> Result<Vec<Self>> {
        let folder = tree.join("perf/scenarios");
        let entries = fs::read_dir(&folder).with_context(|| format!("{}", folder.display()))?;
        let mut files = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
        files.retain(|file| file.extension().is_some_and(|extension| extension == "toml"));
        files.sort();
        files.iter().map(|file| Self::read(file)).collect()
    }

    /// The one of this name.
    ///
    /// # Errors
    /// There is none.
    pub(crate) fn named(tree: &Path, name: &str) -> Result<Self> {
        let all = Self::all(tree)?;
        let names = all.iter().map(|scenario| scenario.name.clone()).collect::<Vec<_>>().join(", ");
        let Some(found) = all.into_iter().find(|scenario| scenario.name == name) else {
            bail!("{name} is no scenario; there are {names}");
        };
        Ok(found)
    }

    fn read(file: &Path) -> Result<Self> {
        let text = fs::read_to_string(file).with_context(|| format!("{}", file.display()))?;
        let plain: Table = toml::from_str(&text).with_context(|| format!("{}", file.display()))?;
        let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let what = plain.get("what").and_then(|what| what.as_str()).unwrap_or_default().to_owned();
        Ok(Self { name, what, plain })
    }

    /// Whether there is a variant of this name.
    pub(crate) fn has(&self, variant: &str) -> bool {
        self.variant(variant).is_some()
    }

    /// Shards of the server: the variant's `shards`, else the scenario's, else one.
    pub(crate) fn shards(&self, variant: Option<&str>) -> usize {
        let of = |table: &Table| usize::try_from(table.get("shards")?.as_integer()?).ok();
        variant.and_then(|name| of(self.variant(name)?)).or_else(|| of(&self.plain)).unwrap_or(1)
    }

    fn variant(&self, name: &str) -> Option<&Table> {
        self.plain.get("variant")?.get(name)?.as_table()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_are_the_variants_then_the_scenarios_then_one() {
        let plain =
            toml::from_str("what = \"x\"\nshards = 3\n[variant.two]\nshards = 2\n[variant.any]\nrate = 1").unwrap();
        let scenario = Scenario { name: "scale".into(), what: "x".into(), plain };
        assert_eq!([Some("two"), Some("any"), None].map(|variant| scenario.shards(variant)), [2, 3, 3]);
        assert!(scenario.has("any") && !scenario.has("none"));
        let tree = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let fan = Scenario::named(&tree, "room_fan").unwrap();
        assert_eq!((fan.shards(Some("1000")), fan.has("1000"), fan.what.is_empty()), (1, true, false));
        assert!(Scenario::named(&tree, "none").unwrap_err().to_string().contains("room_fan"));
    }
}
