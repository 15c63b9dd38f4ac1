//! Why a program stops, and the exit code that says so: 0 done, 1 failed or over tolerance, 2 bad usage or input.
//!
//! Does not know: what any program does.

use std::fmt;
use std::io::Write;
use std::process::ExitCode;

/// Why a program stops early.
#[derive(Debug)]
pub enum Failure {
    /// The user can mend it: options, files, data. Exit code 2.
    Usage(String),
    /// It went wrong underway, or a result is over its tolerance. Exit code 1.
    Failed(String),
}

impl Failure {
    /// A mistake in the options or the input.
    pub fn usage(message: impl fmt::Display) -> Self {
        Self::Usage(message.to_string())
    }

    /// Something that went wrong underway.
    pub fn failed(message: impl fmt::Display) -> Self {
        Self::Failed(message.to_string())
    }

    /// The same, with the place it happened at in front.
    #[must_use]
    pub fn at(self, place: impl fmt::Display) -> Self {
        match self {
            Self::Usage(message) => Self::Usage(format!("{place}: {message}")),
            Self::Failed(message) => Self::Failed(format!("{place}: {message}")),
        }
    }

    fn code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::Failed(_) => 1,
            Self::Usage(_) => 2,
        })
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Usage(message) | Self::Failed(message)) = self;
        let lines: Vec<&str> = message.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        f.write_str(&lines.join(" "))
    }
}

impl From<fewshot_data::Error> for Failure {
    fn from(error: fewshot_data::Error) -> Self {
        Self::usage(error)
    }
}

impl From<burn_func::Error> for Failure {
    fn from(error: burn_func::Error) -> Self {
        Self::failed(error)
    }
}

impl From<burn_meta::Error> for Failure {
    fn from(error: burn_meta::Error) -> Self {
        use burn_meta::Error;
        match error {
            Error::During { what, cause } => Self::from(*cause).at(what),
            Error::Run { .. }
            | Error::Trainer { .. }
            | Error::Backbone { .. }
            | Error::Order { .. }
            | Error::Estimator { .. }
            | Error::NoSteps
            | Error::LearningRate { .. }
            | Error::Fixture { .. } => Self::usage(error),
            _ => Self::failed(error),
        }
    }
}

/// Turns what a program's `main` came to into its exit code, an error into one line on standard error.
pub fn exit(outcome: Result<(), Failure>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // Nobody is left to hear it if standard error is closed.
            let _ = writeln!(std::io::stderr(), "error: {failure}");
            failure.code()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_one_line() {
        let failure = Failure::failed("first\n   second\n\nthird").at("meta-step 3");
        assert_eq!(failure.to_string(), "meta-step 3: first second third");
    }

    #[test]
    fn settings_are_the_users_and_losses_the_programs() {
        let settings = burn_meta::Estimator::binomial(9).check(5).unwrap_err();
        assert!(matches!(Failure::from(settings), Failure::Usage(_)));
        let loss = burn_meta::Error::NonFinite { task: 0, place: burn_meta::Place::Query, value: f64::NAN };
        assert!(matches!(Failure::from(loss), Failure::Failed(_)));
    }
}
