//! The command `test`: a trained network on held-out classes.
//!
//! Does not know: how it was trained.

use std::path::{Path, PathBuf};
use std::time::Instant;

use burn::module::Module;
use burn::tensor::Device;
use burn_meta::models::{Backbone as _, Network};
use burn_meta::{Maml, Metric, Objective, Summary, accuracy};
use clap::Args;
use fewshot_data::{ImageTasks, Split};
use serde::Serialize;
use serde_json::json;

use super::data::Classes;
use super::saved::Saved;
use super::{Program, Vision, VisionOptions, loss, task};
use crate::arguments::{Screen, note};
use crate::document::{Document, settings_of};
use crate::failure::Failure;
use crate::files;
use crate::monitor::metric;
use crate::progress::bar;
use crate::run_directory::Which;
use crate::settings::{DataOptions, RunOptions, TestOptions, convert};

/// Arguments of the command. What is not given is as it was in training.
#[derive(Args, Clone, Debug)]
pub struct Arguments {
    /// Directory of the run to test [default: out/ and the program's name]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,

    /// Which checkpoint of it
    #[arg(long, value_enum, value_name = "WHICH", default_value = "best")]
    checkpoint: Which,

    /// Test tasks, as --test-tasks
    #[arg(long, value_name = "TASKS", value_parser = clap::value_parser!(u32).range(2..=1_000_000), conflicts_with = "test-tasks")]
    tasks: Option<u32>,

    /// Inner steps, as --test-inner-steps
    #[arg(long, value_name = "STEPS", value_parser = clap::value_parser!(u32).range(1..=1_000_000), conflicts_with = "test-inner-steps")]
    inner_steps: Option<u32>,

    /// Also test, on this many of the test tasks, the adapted network by itself: batch normalisation then has running
    /// statistics, those of the initialisation or those of the support set, where the test has the query set's own
    #[arg(long, value_name = "TASKS", value_parser = clap::value_parser!(u32).range(2..=1_000_000))]
    batch_norm: Option<u32>,

    /// Write settings and results as JSON; `-` is standard output, and what else would stand there goes to standard error
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,

    #[command(flatten)]
    test: TestOptions,

    #[command(flatten)]
    data: DataOptions,

    #[command(flatten)]
    run: RunOptions,
}

impl Arguments {
    /// The settings of a run, with what was asked for in their place.
    fn settings(&self, saved: &Saved) -> Result<Vision, Failure> {
        let DataOptions { path, split, rotations, drawn_classes, drawn_images, .. } = &self.data;
        let other = [
            ("--split", split.is_some()),
            ("--rotations", rotations.is_some()),
            ("--drawn-classes", drawn_classes.is_some()),
            ("--drawn-images", drawn_images.is_some()),
        ];
        if let Some((option, _)) = other.iter().find(|(_, given)| *given && path.is_none()) {
            return Err(Failure::usage(format!(
                "{option}: a network is tested on classes that it was not trained on, which are those of its run; with --data it may \
                 be others"
            )));
        }
        let options = VisionOptions {
            data: self.data.clone(),
            test: self.test.clone(),
            run: self.run.clone(),
            ..Default::default()
        };
        let mut short = toml::Table::new();
        let given = [("tasks", self.tasks), ("inner_steps", self.inner_steps)];
        short.extend(given.into_iter().filter_map(|(key, value)| Some((key.to_owned(), i64::from(value?).into()))));
        let short = toml::Table::from_iter([("test".to_owned(), short.into())]);
        saved.layers.clone().over::<Vision>("command line", short)?.over_options::<Vision>(&options)?.settings()
    }
}

/// Runs the command.
pub fn run(program: &Program, args: &Arguments) -> Result<(), Failure> {
    let directory = args.out.clone().unwrap_or_else(|| Path::new("out").join(program.name));
    let saved = Saved::open(program, &directory, args.checkpoint)?;
    let settings = args.settings(&saved)?;
    if settings.data.image_size != saved.settings.data.image_size {
        return Err(Failure::usage("--image-size: the network was trained on images of another size"));
    }
    args.json.as_deref().map_or(Ok(()), files::check_file)?;
    let course = settings.course();
    let device = settings.run.device.open()?;
    let net = saved.network(program, &device)?;
    let rates = saved.rates(&net)?;
    let classes = Classes::load(program, &settings.data, settings.train.validate_every > 0)?;
    let tasks = classes.tasks(Split::Test, &settings.task, settings.test.query.get(), settings.test.seed)?;

    let screen = Screen::new(args.json.as_deref());
    note(format!("data: {}", classes.describe()));
    let (steps, done) = (course.test_steps(), saved.iteration());
    note(format!("the network after {done} meta-steps, {steps} inner step(s) of {}", settings.inner.learning_rate));

    let objective = Objective::new(loss).with_metric(Metric::higher("accuracy", accuracy));
    let started = Instant::now();
    let judged = course.test((&net, rates.as_ref()), &objective, |index| task(&tasks, index, &device))?;
    let judged_loss = judged.loss();
    let right = judged.metric("accuracy").ok_or_else(|| Failure::failed("the test has no accuracy"))?;
    let maml = convert::adapting(&settings.inner, steps, rates.as_ref(), &settings.run)?;
    let alone = args.batch_norm.map(|count| alone(&net, &maml, (&tasks, count.into()), &device)).transpose()?;
    if let Some(path) = &args.json {
        let results = json!({
            "iteration": done,
            "data": classes.summary(),
            "test_accuracy": right,
            "test_loss": judged_loss,
            "running_statistics": alone,
        });
        let document = Document::new(program.name, settings_of(&settings)?, results);
        document.with_timing("test_seconds", started.elapsed().as_secs_f64()).write(path)?;
    }
    alone.iter().for_each(|alone| alone.show(&screen));
    note(format!("test {}", metric("loss", &judged_loss)));
    screen.result(format_args!("test {}", metric("accuracy", &right)));
    Ok(())
}

/// Accuracies by what batch normalisation takes its statistics from, on the same tasks.
#[derive(Clone, Copy, Debug, Serialize)]
struct Statistics {
    query: Summary,
    support: Summary,
    initial: Summary,
}

impl Statistics {
    fn show(&self, screen: &Screen) {
        for (statistics, accuracy) in [
            ("the query set's statistics", self.query),
            ("the support set's", self.support),
            ("running ones, as they were initialised", self.initial),
        ] {
            let (mean, interval) = (100.0 * accuracy.mean, 100.0 * accuracy.interval95);
            screen.result(format_args!("batch normalisation with {statistics}: {mean:.2} % +- {interval:.2} %"));
        }
    }
}

/// The adapted network as an ordinary module on a plain device, where batch normalisation has running statistics.
fn alone(net: &Network, maml: &Maml, tasks: (&ImageTasks, u64), device: &Device) -> Result<Statistics, Failure> {
    let bar = bar(tasks.1 as usize, "testing alone");
    let mut accuracies: [Vec<f64>; 3] = Default::default();
    for index in 0..tasks.1 {
        let task = task(tasks.0, index, device)?;
        let query = maml.evaluate(net, &task, loss)?.outputs;
        let adapted = maml.adapt(net, &task.support, loss)?;
        let images = task.query.0.clone().inner();
        let initial = adapted.clone().valid().forward(images.clone());
        let support = adapted.with_statistics_of(task.support.0, 1.0).valid().forward(images);
        for (accuracies, logits) in accuracies.iter_mut().zip([&query, &support, &initial]) {
            accuracies.push(accuracy(&task.query, logits));
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    let [query, support, initial] = accuracies.map(|accuracies| Summary::of(&accuracies));
    Ok(Statistics { query, support, initial })
}
