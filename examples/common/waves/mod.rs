//! Few-shot regression of sine waves as a program: `train`, `test` and `adapt`.
//!
//! Does not know: images.

mod adapt;
mod points;
mod test;
mod train;

use std::process::ExitCode;

use burn::tensor::{Device, Tensor};
use burn_meta::Task;
use burn_meta::models::{Mlp, MlpConfig, mean_squared_error};
use fewshot_data::{Points as Drawn, Regression, Sinusoid, Split, Tasks, ToDevice};

use crate::command::{About, Command, read};
use crate::failure::{Failure, exit};
use crate::learn::Course;
use crate::presets;
use crate::seed::seeded;
use crate::settings::{Count, settings};

/// Its name.
const NAME: &str = "sinusoid";

settings! {
    /// Settings of the program.
    Waves, WavesOptions {
        /// Tasks.
        task: Points, PointsOptions;
        /// The network.
        model: Widths, WidthsOptions;
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

impl Waves {
    /// The same with paths in the place of words for them.
    fn resolved(self) -> Self {
        let last = format!("layers.{}.*", self.model.hidden.len());
        Self { inner: self.inner.with_head(&[last]), ..self }
    }

    /// What training and test go by.
    fn course(&self) -> Course<'_> {
        let Self { inner, estimator, train, test, run, .. } = self;
        Course { inner, estimator, train, test, run }
    }

    /// The tasks of a part, with so many queries.
    fn tasks(&self, split: Split, query: Count, seed: u32) -> Result<Regression<Sinusoid>, Failure> {
        let tasks = Regression::new(Sinusoid::default(), self.task.shot.get(), query.get(), seed.into())?;
        Ok(tasks.with_split(split))
    }

    /// The network's settings: from one number to one number.
    fn network(&self) -> MlpConfig {
        let hidden = self.model.hidden.iter().map(|width| width.get());
        MlpConfig::new([1].into_iter().chain(hidden).chain([1]).collect())
    }

    /// A network whose weights depend on the seed alone.
    fn init(&self, device: &Device) -> Result<Mlp, Failure> {
        seeded(self.run.seed.into(), device, |device| self.network().init(device))
    }
}

/// Inputs and targets, `[n, 1]` each.
type Batch = (Tensor<2>, Tensor<2>);

/// The loss, and the predictions `[n, 1]`.
fn loss(net: &Mlp, (x, y): Batch) -> (Tensor<1>, Tensor<2>) {
    let predicted = net.forward(x);
    (mean_squared_error(predicted.clone(), y), predicted)
}

/// The task with this index, on a device.
fn task(tasks: &Regression<Sinusoid>, index: u64, device: &Device) -> Result<Task<Batch>, fewshot_data::Error> {
    let task = tasks.draw(index)?.to_device(device);
    let batch = |Drawn { x, y }| (x, y);
    Ok(Task { support: batch(task.support), query: batch(task.query) })
}

fn about() -> About {
    let summary = format!(
        "Meta-train a network to fit a sine wave from a few of its points\n\n\
         A task is y = a sin(x - p) with a uniform in [0.1, 5], p in [0, pi] and x in [-5, 5], known at SHOT points and judged on \
         QUERY others. Everything goes to out/{NAME}: checkpoints, metrics.csv, settings.toml and results.json. Ctrl-C ends a run \
         with a checkpoint, and the same command goes on from there."
    );
    let examples = [
        ("", "meta-train, and test"),
        ("--preset maml-sinusoid", "with published settings"),
        ("--estimator first-order --out out/first-order", "with another estimator of the meta-gradient"),
        ("test --inner-steps 10", "test what was trained"),
        ("adapt --support points.csv --query inputs.csv", "fit points of your own, and predict at others"),
    ];
    let examples =
        examples.map(|(line, says)| format!("  {}\n      {says}", format!("{NAME} {line}").trim_end())).join("\n");
    let quick = include_str!("../presets/sinusoid_quick.toml");
    About { name: NAME, summary, examples, quick, presets: presets::SINUSOID }
}

/// Runs the program.
pub fn main() -> ExitCode {
    exit(run())
}

fn run() -> Result<(), Failure> {
    match read::<Waves, test::Arguments, adapt::Arguments>(&about())? {
        Command::Train(args) => train::run(&args),
        Command::Test(args) => test::run(&args),
        Command::Adapt(args) => adapt::run(&args),
    }
}
