//! How a command fails: one line on standard error and an exit code.

use std::process::ExitCode;

/// Why a command did not do what it was asked.
#[derive(Debug)]
pub enum Failure {
    /// Arguments or configuration are wrong: exit code 2, as for arguments that cannot be read at all.
    Usage(anyhow::Error),
    /// Anything else: exit code 1.
    Failed(anyhow::Error),
    /// The command has said itself what is wrong: exit code 1.
    Told,
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::Failed(error)
    }
}

impl Failure {
    /// The exit code of the process.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) => 2,
            Self::Failed(_) | Self::Told => 1,
        }
    }

    /// Says what went wrong, in one line.
    pub fn tell(&self, program: &str) {
        if let Self::Usage(error) | Self::Failed(error) = self {
            eprintln!("{program}: {}", one_line(error));
        }
    }
}

/// How a program ends; what failed is told.
#[must_use]
pub fn exit(program: &str, outcome: Result<(), Failure>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.tell(program);
            ExitCode::from(failure.exit_code())
        }
    }
}

/// An error and its causes in one line. A cause that the text before it tells already is not told again.
#[must_use]
pub fn one_line(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain() {
        let cause = cause.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
        if !text.ends_with(&cause) {
            text = if text.is_empty() { cause } else { format!("{text}: {cause}") };
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_one_line_that_tells_each_cause_once() {
        let error = anyhow::anyhow!("gone\n\t away").context("cannot open\n  the file");
        assert_eq!(one_line(&error), "cannot open the file: gone away");
        assert_eq!(one_line(&error.context("start: cannot open the file")), "start: cannot open the file: gone away");
    }

    #[test]
    fn wrong_use_and_failure_have_different_exit_codes() {
        assert_eq!(Failure::Usage(anyhow::anyhow!("x")).exit_code(), 2);
        assert_eq!(Failure::from(anyhow::anyhow!("x")).exit_code(), 1);
        assert_eq!(Failure::Told.exit_code(), 1);
    }
}
