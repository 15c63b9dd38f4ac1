//! Few-shot classification on tieredImageNet, or on drawn textures where there is no data.
//!
//! `cargo run --release --example tieredimagenet` needs no data and takes about two minutes on two cores; `-- --help` says more.
//! With the real thing, in any form it comes in: `cargo run --release --example tieredimagenet -- --data data/tiered-imagenet`.

use std::process::ExitCode;

use common::presets;
use common::vision::{self, Drawn, Program};
use fewshot_data::Benchmark;

fn main() -> ExitCode {
    vision::main(&Program {
        name: "tieredimagenet",
        dataset: "tieredImageNet",
        example_data: "data/tiered-imagenet",
        benchmark: Benchmark::tiered_imagenet,
        drawn: Drawn::Textures,
        quick: include_str!("common/presets/mini_imagenet_quick.toml"),
        presets: presets::TIERED_IMAGENET,
        reference: presets::TIERED_IMAGENET[0],
    })
}
