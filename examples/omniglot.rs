//! Few-shot classification on Omniglot, or on drawn characters where there is no data.
//!
//! `cargo run --release --example omniglot` needs no data and takes about two minutes on two cores; `-- --help` says more.
//! With the real thing, in any form it comes in: `cargo run --release --example omniglot -- --data images_background.zip images_evaluation.zip`.
//! `--data A.zip --test-data B.zip` trains on one archive and tests on those characters of another that it lacks.

use std::process::ExitCode;

use common::presets;
use common::vision::{self, Drawn, Program};
use fewshot_data::Benchmark;

fn main() -> ExitCode {
    vision::main(&Program {
        name: "omniglot",
        dataset: "Omniglot",
        example_data: "images_background.zip images_evaluation.zip",
        benchmark: Benchmark::omniglot,
        drawn: Drawn::Glyphs,
        quick: include_str!("common/presets/omniglot_quick.toml"),
        presets: presets::OMNIGLOT,
        reference: presets::OMNIGLOT[0],
    })
}
