//! `fewshot`: look at few-shot datasets and fetch them.
//!
//! Does not know: how any of it is done; each command has a file of its own.
#![deny(missing_docs)]
#![forbid(unsafe_code)]

mod dataset;
mod failure;
mod fetch;
mod inspect;
mod list;
mod output;
mod progress;
mod verify;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Fetch few-shot datasets and look at them.
#[derive(Parser)]
#[command(
    version,
    after_help = "Every command writes what it found with --json FILE (- for standard output), and ends with exit code 0 when \
                  done, 1 when something failed or a file is not what it should be, 2 for a mistake in its arguments or input."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Fetch(fetch::Args),
    Inspect(inspect::Args),
    Verify(verify::Args),
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Fetch(args) => fetch::run(&args),
        Command::Inspect(args) => inspect::run(&args),
        Command::Verify(args) => verify::run(&args),
    };
    failure::exit(outcome)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_arguments_make_sense() {
        // Catches two options of one name, a required one after an optional one and the like.
        super::Cli::command().debug_assert();
    }
}
