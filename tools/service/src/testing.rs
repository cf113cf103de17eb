//! What the tests of a process's configuration check.

use std::collections::BTreeSet;

use crate::config::{Settings, Sources, print};
use crate::failure::one_line;

/// Panics unless every key is documented and there once, the defaults go together, and `example`, the file in
/// `deploy/config`, is the printed default.
pub fn check_table<C: Settings>(example: &str) {
    let mut paths = BTreeSet::new();
    for key in C::keys() {
        assert!(key.doc.ends_with('.') && key.doc.len() > 10, "{} has no documentation", key.path());
        assert!(paths.insert(key.path()), "{} is there twice", key.path());
    }
    let defaults = C::default();
    assert!(defaults.check().is_ok(), "the defaults do not hold: {:?}", defaults.check());
    assert!(example == print(&defaults), "write the example anew with `{}`", C::PRINTED_BY);
}

/// Panics unless the configuration, changed, is refused with a text that contains `expected`.
pub fn check_refused<C: Settings>(change: impl FnOnce(&mut C), expected: &str) {
    let mut config = C::default();
    change(&mut config);
    let error = config.check().map_or_else(|error| format!("{error:#}"), |()| "it holds".to_owned());
    assert!(error.contains(expected), "{expected:?} is not in: {error}");
}

/// Panics unless the file is a configuration of this process.
pub fn check_file<C: Settings>(path: &str) {
    let sources = Sources { file: Some(path.into()), ..Sources::default() };
    let loaded = sources.load::<C>().map(drop).map_err(|error| one_line(&error));
    assert!(loaded.is_ok(), "{loaded:?}");
}
