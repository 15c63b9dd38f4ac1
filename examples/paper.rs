//! The experiments of the binomial paper: `cargo run --release --example paper -- figure2`, and so on; `-- --help` says more.

use std::process::ExitCode;

use common::arguments::parse;
use common::failure::exit;
use common::paper;

fn main() -> ExitCode {
    exit(parse().and_then(paper::run))
}
