//! What came of the steps, and how it is told at the end of a run.

use std::fmt::Write as _;
use std::time::Duration;

/// What came of one step.
pub(crate) struct Outcome {
    /// The step's name as given on the command line.
    pub(crate) name: String,
    /// A few words on what was checked, or why it failed (its first line goes into the table).
    pub(crate) result: Result<String, String>,
    /// How long it took.
    pub(crate) took: Duration,
}

/// A table with one row a step, in the order they ran.
pub(crate) fn table(outcomes: &[Outcome]) -> String {
    let mut text = String::from("\nstep        result   seconds  detail\n");
    for Outcome { name, result, took } in outcomes {
        let (word, detail) = match result {
            Ok(detail) => ("ok", detail),
            Err(detail) => ("FAILED", detail),
        };
        let detail = detail.lines().next().unwrap_or_default();
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{name:<11} {word:<7} {:>8.1}  {detail}", took.as_secs_f64());
    }
    text
}

/// The line that closes a run; it stands alone, in a form that CI systems read.
pub(crate) fn closing_line(outcomes: &[Outcome]) -> String {
    let failed = outcomes.iter().filter(|outcome| outcome.result.is_err()).count();
    format!("{} passed, {failed} failed", outcomes.len() - failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(name: &str, result: Result<&str, &str>) -> Outcome {
        Outcome {
            name: name.to_owned(),
            result: result.map(str::to_owned).map_err(str::to_owned),
            took: Duration::from_millis(1500),
        }
    }

    #[test]
    fn a_failed_step_is_counted_and_told_by_its_first_line() {
        let outcomes = [outcome("fmt", Ok("2 workspaces")), outcome("style", Err("3 offences\nmore"))];
        assert_eq!(closing_line(&outcomes), "1 passed, 1 failed");
        let table = table(&outcomes);
        assert!(table.contains("fmt         ok           1.5  2 workspaces\n"), "{table}");
        assert!(table.contains("style       FAILED       1.5  3 offences\n"), "{table}");
    }
}
