//! Few-shot classification on miniImageNet, or on drawn textures where there is no data.
//!
//! `cargo run --release --example miniimagenet` needs no data and takes about two minutes on two cores; `-- --help` says more.
//! With the real thing, in any form it comes in: `cargo run --release --example miniimagenet -- --data data/mini-imagenet`.

use std::process::ExitCode;

use common::presets;
use common::vision::{self, Drawn, Program};
use fewshot_data::Benchmark;

fn main() -> ExitCode {
    vision::main(&Program {
        name: "miniimagenet",
        dataset: "miniImageNet",
        example_data: "data/mini-imagenet",
        benchmark: Benchmark::mini_imagenet,
        drawn: Drawn::Textures,
        quick: include_str!("common/presets/mini_imagenet_quick.toml"),
        presets: presets::MINI_IMAGENET,
        reference: presets::MINI_IMAGENET[0],
    })
}
