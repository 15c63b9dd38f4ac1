//! Few-shot regression: a network that learns a sine wave from a few of its points.
//!
//! `cargo run --release --example sinusoid` takes about a minute on two cores; `-- --help` says more.

use std::process::ExitCode;

fn main() -> ExitCode {
    common::waves::main()
}
