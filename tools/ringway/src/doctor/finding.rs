//! What one check found.

use std::fmt;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Level {
    /// Nothing to do.
    Ok,
    /// A node runs, but not as well or as far as it could.
    Warn,
    /// A node does not run.
    Fail,
}

/// One line of the report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Finding {
    /// How bad it is.
    pub(super) level: Level,
    name: &'static str,
    text: String,
}

impl Finding {
    pub(super) fn ok(name: &'static str, text: impl Into<String>) -> Self {
        Self { level: Level::Ok, name, text: text.into() }
    }

    /// `text` says what was found and what to do.
    pub(super) fn warn(name: &'static str, text: impl Into<String>) -> Self {
        Self { level: Level::Warn, name, text: text.into() }
    }

    /// As [`Finding::warn`].
    pub(super) fn fail(name: &'static str, text: impl Into<String>) -> Self {
        Self { level: Level::Fail, name, text: text.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let level = match self.level {
            Level::Ok => "ok",
            Level::Warn => "warn",
            Level::Fail => "FAIL",
        };
        write!(formatter, "{level:<4} {}: {}", self.name, self.text)
    }
}

/// Bytes in the largest unit that leaves a whole part.
pub(super) fn bytes(count: u64) -> String {
    let (unit, name) = [(1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")]
        .into_iter()
        .find(|(unit, _)| count >= *unit)
        .unwrap_or((1, "bytes"));
    let tenths = count.saturating_mul(10) / unit;
    if unit == 1 || tenths.is_multiple_of(10) {
        format!("{} {name}", count / unit)
    } else {
        format!("{}.{} {name}", tenths / 10, tenths % 10)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_is_level_name_and_text() {
        assert_eq!(Finding::ok("kernel", "6.1").to_string(), "ok   kernel: 6.1");
        assert_eq!(Finding::warn("disk", "small").to_string(), "warn disk: small");
        assert_eq!(Finding::fail("disk", "none").to_string(), "FAIL disk: none");
    }

    #[test]
    fn bytes_are_shown_in_a_unit_that_fits() {
        for (count, text) in [(0, "0 bytes"), (1_023, "1023 bytes"), (8 << 20, "8 MiB"), (1_610_612_736, "1.5 GiB")] {
            assert_eq!(bytes(count), text);
        }
    }
}
