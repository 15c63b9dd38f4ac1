//! Few-shot classification on CIFAR-FS, or on drawn textures where there is no data.
//!
//! `cargo run --release --example cifar_fs` needs no data and takes about two minutes on two cores; `-- --help` says more.
//! With the real thing, in any form it comes in: `cargo run --release --example cifar_fs -- --data data/cifar-fs`.

use std::process::ExitCode;

use common::presets;
use common::vision::{self, Drawn, Program};
use fewshot_data::Benchmark;

fn main() -> ExitCode {
    vision::main(&Program {
        name: "cifar_fs",
        dataset: "CIFAR-FS",
        example_data: "data/cifar-fs",
        benchmark: Benchmark::cifar_fs,
        drawn: Drawn::Textures,
        quick: include_str!("common/presets/cifar_fs_quick.toml"),
        presets: presets::CIFAR_FS,
        reference: presets::MINI_IMAGENET[0],
    })
}
