//! Reading the configuration again while running.

use super::key::{Key, Settings, changed};
use super::source::Sources;
use crate::failure::one_line;
use crate::log::Log;

/// Reads the configuration again and has it applied; what is wrong with it is logged, and then nothing has
/// changed. `config` follows the keys that may change while running; others that changed are named in the log.
pub fn reload<C: Settings>(
    sources: &Sources,
    config: &mut C,
    log: &Log,
    level: impl Fn(&C) -> &str,
    apply: impl FnOnce(&C) -> anyhow::Result<()>,
) {
    let applied = sources.load::<C>().and_then(|new| apply(&new).map(|()| new));
    let new = match applied {
        Ok(new) => new,
        Err(error) => {
            let error = one_line(&error);
            return tracing::error!(error, "the configuration cannot be reloaded: nothing has changed");
        }
    };
    if let Err(error) = log.set_level(level(&new)) {
        tracing::error!(error = one_line(&error), "the log's level stays as it was");
    }
    let (reloaded, waiting): (Vec<_>, Vec<_>) = changed(config, &new).into_iter().partition(|key| key.reloads);
    let names = |keys: Vec<Key>| keys.iter().map(Key::path).collect::<Vec<_>>().join(", ");
    if !waiting.is_empty() {
        tracing::warn!(keys = names(waiting), "changed in the configuration, but need a restart to take effect");
    }
    tracing::info!(keys = names(reloaded), "configuration reloaded");
    config.adopt_reloadable(&new);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::sample::Config;

    #[test]
    fn a_reload_takes_over_only_what_may_change() {
        let old = Config::default();
        let mut new = Config::default();
        new.log.level = "debug".to_owned();
        new.gateway.shards = 7;
        let paths: Vec<String> = changed(&old, &new).iter().map(Key::path).collect();
        assert_eq!(paths, ["gateway.shards", "log.level"]);
        let mut running = old.clone();
        running.adopt_reloadable(&new);
        assert_eq!((running.gateway.shards, running.log.level.as_str()), (0, "debug"));
        let left: Vec<String> = changed(&running, &new).iter().map(Key::path).collect();
        assert_eq!(left, ["gateway.shards"]);
    }
}
