//! One key of a configuration, and what a table of keys can do.

use toml::Value;

use super::value::{Raw, Setting};

/// What is known of a key besides its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key {
    /// Its section; empty while its table is in none.
    pub section: &'static str,
    /// Its name in the section.
    pub name: &'static str,
    /// Unit of its value; empty when it has none.
    pub unit: &'static str,
    /// Smallest and largest value, of a number.
    pub bounds: Option<(u64, u64)>,
    /// Whether a change takes effect on SIGHUP.
    pub reloads: bool,
    /// What it is.
    pub doc: &'static str,
}

impl Key {
    /// The same key in a section.
    #[must_use]
    pub fn in_section(self, section: &'static str) -> Self {
        Self { section, ..self }
    }

    /// `section.name`.
    #[must_use]
    pub fn path(&self) -> String {
        format!("{}.{}", self.section, self.name)
    }

    /// The environment variable that sets it.
    #[must_use]
    pub fn variable(&self) -> String {
        format!("RINGWAY_{}_{}", self.section, self.name).to_uppercase()
    }

    /// Refuses a number outside the bounds.
    ///
    /// # Errors
    /// The bounds and the number.
    pub fn check_bounds<T: Setting>(&self, value: &T) -> Result<(), String> {
        match (self.bounds, value.number()) {
            (Some((min, max)), Some(number)) if number < min || number > max => {
                Err(format!("must lie between {min} and {max}, not {number}"))
            }
            _ => Ok(()),
        }
    }
}

/// A table of keys: a section of a configuration, or a share of one. Made by [`keys!`](crate::keys).
pub trait Keys: Default {
    /// Its keys, in the order in which they are printed, in no section yet.
    const KEYS: &'static [Key];

    /// Sets one key.
    ///
    /// # Errors
    /// What was expected and what was found.
    fn set(&mut self, name: &str, raw: &Raw<'_>) -> Result<(), String>;

    /// The value of one key, as TOML; `None` when it has no such key.
    fn get(&self, name: &str) -> Option<Value>;

    /// Takes over the values of those keys that may change while running.
    fn adopt_reloadable(&mut self, new: &Self);
}

/// A whole configuration: the tables of one process. Made by [`settings!`](crate::settings).
pub trait Settings: Default + Clone {
    /// Whose configuration it is, as its page says.
    const OWNER: &'static str;
    /// The command that prints it.
    const PRINTED_BY: &'static str;
    /// Sections with what they are about, in the order in which they are printed.
    const SECTIONS: &'static [(&'static str, &'static str)];

    /// All keys, in the order in which they are printed.
    fn keys() -> Vec<Key>;

    /// Sets one key.
    ///
    /// # Errors
    /// What was expected and what was found.
    fn set(&mut self, key: &Key, raw: &Raw<'_>) -> Result<(), String>;

    /// The value of one key, as TOML.
    fn get(&self, key: &Key) -> Value;

    /// Takes over the values of those keys that may change while running.
    fn adopt_reloadable(&mut self, new: &Self);

    /// What the values of single keys cannot say about themselves: what they mean, and how they go together.
    ///
    /// # Errors
    /// One line that names the key.
    fn check(&self) -> anyhow::Result<()>;
}

/// Keys whose values differ.
#[must_use]
pub fn changed<C: Settings>(old: &C, new: &C) -> Vec<Key> {
    C::keys().into_iter().filter(|key| old.get(key) != new.get(key)).collect()
}
