//! Counts events of a key in windows of a minute: failed logins, registrations.
//!
//! A window starts with a key's first event and ends a minute later, whatever happened in it. The
//! table is bounded by [`LIMITER_KEYS_MAX`]. One short lock; nothing is awaited under it.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};

use crate::limits::{LIMITER_KEYS_MAX, LIMITER_WINDOW_MS};

/// The key has used up its window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Refused {
    /// Seconds until the window ends, at least 1.
    pub(crate) retry_after_s: u64,
}

#[derive(Debug, Clone, Copy)]
struct Window {
    ends_ms: u64,
    count: u32,
}

/// Counts per key.
#[derive(Debug)]
pub(crate) struct Limiter<K> {
    per_window_max: u32,
    keys_max: usize,
    windows: Mutex<HashMap<K, Window>>,
}

impl<K: Hash + Eq> Limiter<K> {
    /// At most `per_window_max` events a key in a window.
    pub(crate) fn new(per_window_max: u32) -> Self {
        Self { per_window_max, keys_max: LIMITER_KEYS_MAX, windows: Mutex::default() }
    }

    /// Whether one more event may happen; counts nothing.
    pub(crate) fn check(&self, key: &K, now_ms: u64) -> Result<(), Refused> {
        let windows = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
        match windows.get(key) {
            Some(window) if now_ms < window.ends_ms && window.count >= self.per_window_max => {
                Err(Refused { retry_after_s: (window.ends_ms - now_ms).div_ceil(1_000) })
            }
            _ => Ok(()),
        }
    }

    /// Counts one event, or refuses it.
    pub(crate) fn count(&self, key: K, now_ms: u64) -> Result<(), Refused> {
        let mut windows = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
        if windows.len() >= self.keys_max && !windows.contains_key(&key) {
            windows.retain(|_, window| now_ms < window.ends_ms);
            if windows.len() >= self.keys_max {
                return Err(Refused { retry_after_s: LIMITER_WINDOW_MS / 1_000 });
            }
        }
        let fresh = Window { ends_ms: now_ms + LIMITER_WINDOW_MS, count: 0 };
        let window = windows.entry(key).or_insert(fresh);
        // A clock set back must not keep a key refused for longer than a window.
        if now_ms >= window.ends_ms || window.ends_ms > fresh.ends_ms {
            *window = fresh;
        }
        if window.count >= self.per_window_max {
            return Err(Refused { retry_after_s: (window.ends_ms - now_ms).div_ceil(1_000) });
        }
        window.count += 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_refused_until_its_window_ends() {
        let limiter = Limiter::new(2);
        for now in [1_000, 30_000] {
            assert_eq!(limiter.check(&"a", now), Ok(()));
            assert_eq!(limiter.count("a", now), Ok(()));
        }
        assert_eq!(limiter.check(&"a", 31_500), Err(Refused { retry_after_s: 30 }));
        assert_eq!(limiter.count("a", 60_999), Err(Refused { retry_after_s: 1 }));
        assert_eq!(limiter.count("b", 60_999), Ok(()));
        assert_eq!(limiter.count("a", 61_000), Ok(()));
    }

    #[test]
    fn the_table_is_bounded_and_forgets_what_is_over() {
        let limiter = Limiter { keys_max: 2, ..Limiter::new(1) };
        assert!(limiter.count(1, 0).is_ok() && limiter.count(2, 10).is_ok());
        assert!(limiter.count(3, 20).is_err());
        assert!(limiter.count(3, LIMITER_WINDOW_MS).is_ok());
        assert_eq!(limiter.windows.lock().unwrap().len(), 2);
    }
}
