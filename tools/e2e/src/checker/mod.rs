//! The history checker: says which promises a run broke, if any.
//!
//! Pure: [`check`] takes a [`History`] and gives its violations. The read-back of each conversation is the
//! reference; `archive` judges it against what was sent and acknowledged, `views` judges what each device
//! was shown against it. Each breach is reported as one kind, so that a planted fault is told from others:
//! a number that nobody has is a `Hole` and not also `Lost` for every device.

mod archive;
mod history;
#[cfg(test)]
mod tests;
mod views;
mod violation;

pub use history::{Acknowledged, Attempt, History, Item, Session};
pub use violation::{Kind, Violation};

/// All violations of a history.
#[must_use]
pub fn check(history: &History) -> Vec<Violation> {
    let mut found = Vec::new();
    archive::check(history, &mut found);
    views::check(history, &mut found);
    found
}

/// The violations as text, the first of many; `None` when there are none.
#[must_use]
pub fn report(history: &History) -> Option<String> {
    const SHOWN_MAX: usize = 30;
    let found = check(history);
    let lines: Vec<String> = found.iter().take(SHOWN_MAX).map(Violation::to_string).collect();
    (!found.is_empty()).then(|| format!("{} violations:\n{}", found.len(), lines.join("\n")))
}
