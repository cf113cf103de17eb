//! The configuration: one table of keys, and what is made of it.
//!
//! `table` holds every key once; `key` makes types, names and documentation from it; `source` reads file,
//! environment and arguments; `print` writes the file that `ringway config` shows. A key that is not in the
//! table is an error wherever it turns up.

mod check;
mod key;
mod nearest;
mod print;
mod source;
mod table;
mod value;

pub(crate) use key::Key;
pub(crate) use print::print;
pub(crate) use source::Sources;
pub(crate) use table::Config;
pub(crate) use value::LogFormat;

use table::KEYS;

/// Keys whose values differ.
pub(crate) fn changed(old: &Config, new: &Config) -> Vec<&'static Key> {
    KEYS.iter().filter(|key| old.get(key) != new.get(key)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reload_takes_over_only_what_may_change() {
        let old = Config::default();
        let mut new = Config::default();
        new.log.level = "debug".to_owned();
        new.gateway.shards = 7;
        let paths: Vec<String> = changed(&old, &new).iter().map(|key| key.path()).collect();
        assert_eq!(paths, ["gateway.shards", "log.level"]);
        let mut running = old.clone();
        running.adopt_reloadable(&new);
        assert_eq!((running.gateway.shards, running.log.level.as_str()), (0, "debug"));
        let left: Vec<String> = changed(&running, &new).iter().map(|key| key.path()).collect();
        assert_eq!(left, ["gateway.shards"]);
    }
}
