//! Few-shot classification of images as a program: `train`, `test` and `adapt` over any benchmark.
//!
//! * `data` where images come from and how their classes are split; `network` what sees them;
//! * `train`, `test`, `adapt` the commands; `folders` and `predictions` what `adapt` reads and writes.
//!
//! Does not know: any one benchmark; the programs name theirs.

mod adapt;
mod data;
mod folders;
mod network;
mod predictions;
mod saved;
mod test;
mod train;

use std::process::ExitCode;

use burn::tensor::{Device, Int, Tensor};
use burn_meta::Task;
use burn_meta::models::{Network, cross_entropy};
use fewshot_data::{Benchmark, ImageTasks, LabeledImages, Tasks, ToDevice};

use crate::command::{About, Command, read};
use crate::failure::{Failure, exit};
use crate::learn::Course;
use crate::presets::Preset;
use crate::settings::settings;

/// A program: a benchmark, and what stands in for it where there is no data.
#[derive(Clone, Copy, Debug)]
pub struct Program {
    /// Its name, that of the example.
    pub name: &'static str,
    /// What the benchmark is called.
    pub dataset: &'static str,
    /// Where its data may lie, for an example in the help.
    pub example_data: &'static str,
    /// The benchmark, of ways and shots.
    pub benchmark: fn(usize, usize) -> Benchmark,
    /// What is drawn where there is no data.
    pub drawn: Drawn,
    /// Its settings where nothing else is said.
    pub quick: &'static str,
    /// Published settings.
    pub presets: &'static [Preset],
    /// What the quick settings are held against on the screen.
    pub reference: Preset,
}

impl Program {
    /// What it says of itself.
    fn about(&self) -> About {
        let Self { name, dataset, example_data, quick, presets, .. } = *self;
        let drawn = match self.drawn {
            Drawn::Textures => "textures",
            Drawn::Glyphs => "characters",
        };
        let preset = presets.first().map_or_else(String::new, |preset| format!(" --preset {}", preset.name));
        let summary = format!(
            "Meta-train a network to tell images apart from a few examples, on {dataset} or images of your own\n\n\
             Each task has WAY classes that are to be told apart after SHOT images of each. The inner loop adapts the network to a \
             task by gradient descent; the meta-gradient moves the network to where adapting works best. Without --data, {drawn} are \
             drawn on the spot, and training and test take a minute or two on two \
             cores. Everything goes to out/{name}: \
             checkpoints, metrics.csv, settings.toml and results.json. Ctrl-C ends a run with a checkpoint, and the same command \
             goes on from there."
        );
        let examples = [
            (String::new(), "meta-train on what is drawn, and test"),
            (format!("--data {example_data}{preset}"), "with published settings"),
            ("--data my-photos --split 0.6,0.2,0.2".into(), "a folder for each class, split at random"),
            ("train --print-settings > mine.toml".into(), "settings to change, and to give back: --settings mine.toml"),
            ("test --tasks 1000 --inner-steps 10".into(), "test what was trained"),
            (
                "adapt --support new --query unknown".into(),
                "learn the classes of a folder, and predict those of another",
            ),
        ];
        let line = |(line, says): (String, &str)| format!("  {}\n      {says}", format!("{name} {line}").trim_end());
        let examples = examples.map(line).join("\n");
        About { name, summary, examples, quick, presets }
    }
}

/// Images that need no files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drawn {
    /// Coloured textures.
    Textures,
    /// Characters, in alphabets; held out by alphabet, as real ones are that come without a split.
    Glyphs,
}

settings! {
    /// Settings of a program for images.
    Vision, VisionOptions {
        /// Images.
        data: Data, DataOptions;
        /// Tasks.
        task: Task, TaskOptions;
        /// The network.
        model: Model, ModelOptions;
        /// The inner loop.
        inner: Inner, InnerOptions;
        /// The estimator of the meta-gradient.
        estimator: Estimator, EstimatorOptions;
        /// Meta-training.
        train: Train, TrainOptions;
        /// The test.
        test: Test, TestOptions;
        /// Device, seed and threads.
        run: Run, RunOptions;
    }
}

impl Vision {
    /// The same with paths in the place of words for them.
    fn resolved(self, program: &Program) -> Result<Self, Failure> {
        if self.task.way.get() < 2 {
            return Err(Failure::usage("--way 1: there is nothing to tell apart; expected at least 2"));
        }
        let shape = (program.benchmark)(5, 1).with_size(self.data.image_size.get()).shape();
        let head = network::config(&self, shape)?.head_paths();
        Ok(Self { inner: self.inner.with_head(&head), ..self })
    }

    /// What training and test go by.
    fn course(&self) -> Course<'_> {
        let Self { inner, estimator, train, test, run, .. } = self;
        Course { inner, estimator, train, test, run }
    }
}

/// Images `[n, channels, size, size]` and labels `[n]`.
type Batch = (Tensor<4>, Tensor<1, Int>);

/// The loss that inner loop and meta-gradient differentiate, and the logits `[n, ways]`.
fn loss(net: &Network, (images, labels): Batch) -> (Tensor<1>, Tensor<2>) {
    let logits = net.forward(images);
    (cross_entropy(logits.clone(), labels), logits)
}

/// The task with this index, on a device.
fn task(tasks: &ImageTasks, index: u64, device: &Device) -> Result<Task<Batch>, fewshot_data::Error> {
    let task = tasks.draw(index)?.to_device(device);
    let batch = |LabeledImages { images, labels }| (images, labels);
    Ok(Task { support: batch(task.support), query: batch(task.query) })
}

/// Runs a program.
pub fn main(program: &Program) -> ExitCode {
    exit(run(program))
}

fn run(program: &Program) -> Result<(), Failure> {
    match read::<Vision, test::Arguments, adapt::Arguments>(&program.about())? {
        Command::Train(args) => train::run(program, &args),
        Command::Test(args) => test::run(program, &args),
        Command::Adapt(args) => adapt::run(program, &args),
    }
}
