//! How a command fails: one line on standard error and an exit code.

/// Why a command did not do what it was asked.
#[derive(Debug)]
pub(crate) enum Failure {
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
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) => 2,
            Self::Failed(_) | Self::Told => 1,
        }
    }

    /// Says what went wrong, in one line.
    pub(crate) fn tell(&self) {
        if let Self::Usage(error) | Self::Failed(error) = self {
            eprintln!("ringway: {}", one_line(&format!("{error:#}")));
        }
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_one_line() {
        assert_eq!(one_line("cannot open\n  the file: \n\t gone"), "cannot open the file: gone");
    }

    #[test]
    fn wrong_use_and_failure_have_different_exit_codes() {
        assert_eq!(Failure::Usage(anyhow::anyhow!("x")).exit_code(), 2);
        assert_eq!(Failure::from(anyhow::anyhow!("x")).exit_code(), 1);
        assert_eq!(Failure::Told.exit_code(), 1);
    }
}
