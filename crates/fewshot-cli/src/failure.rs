//! Why the program stops, and the exit code that says so.
//!
//! Does not know: what any command does.

use std::fmt;
use std::process::ExitCode;

use fewshot_data::Error;

use crate::output::note;

/// Why the program stops early.
#[derive(Debug)]
pub enum Failure {
    /// The user can mend it: arguments, manifests, paths. Exit code 2.
    Usage(String),
    /// It went wrong underway, or a file is not what it should be. Exit code 1.
    Failed(String),
}

impl Failure {
    pub fn failed(message: impl fmt::Display) -> Self {
        Self::Failed(message.to_string())
    }

    pub fn usage(message: impl fmt::Display) -> Self {
        Self::Usage(message.to_string())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Usage(message) | Self::Failed(message)) = self;
        f.write_str(message)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::UnknownDataset { .. }
            | Error::UnknownFile { .. }
            | Error::Manifest { .. }
            | Error::Missing { .. }
            | Error::Setting { .. } => Self::usage(error),
            _ => Self::failed(error),
        }
    }
}

/// Turns what a command came to into the exit code, an error into one line on standard error.
pub fn exit(outcome: Result<(), Failure>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            note(format!("error: {failure}"));
            ExitCode::from(match failure {
                Failure::Failed(_) => 1,
                Failure::Usage(_) => 2,
            })
        }
    }
}
