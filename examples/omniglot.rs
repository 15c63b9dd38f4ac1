//! Meta-trains a convolutional network on handwritten characters, and tests how well it learns new ones.
//!
//! `cargo run --release --example omniglot` needs no data: it draws characters of its own. With the Omniglot archives:
//! `cargo run --release --example omniglot -- --data images_background.zip --test-data images_evaluation.zip`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use burn::module::Module;
use burn::optim::AdamConfig;
use burn::tensor::{Device, Int, Tensor};
use burn_meta::models::{Cnn4, Cnn4Config, cross_entropy};
use burn_meta::{Estimator, InnerLoopConfig, Maml, MamlConfig, Task};
use clap::Parser;
use common::arguments::{EstimatorArgs, Screen, count, describe, note, parse, positive};
use common::batch_norm::settled;
use common::characters::Characters;
use common::device::DeviceName;
use common::document::{Document, SCHEMA_VERSION};
use common::failure::{Failure, exit};
use common::progress::{TrainingLog, TrainingPoint, bar};
use common::seed::seeded;
use common::statistics::Summary;
use common::{files, memory};
use fewshot_data::{Episode, EpisodeSpec, Episodes, FrozenEpisodes, ImageClasses};
use serde::Serialize;
use serde_json::{Value, json};

/// Meta-train a four-block convolutional network to tell characters apart from few examples, and test it.
///
/// Each task has WAY characters it must tell apart after SHOT examples of each. The inner loop adapts the network to a
/// task by gradient descent; the meta-gradient moves the network to where adapting works best. Without --data the
/// characters are drawn on the spot, and the run takes a minute or two on two cores.
#[derive(Parser, Clone, Debug, Serialize)]
#[command(version)]
struct Arguments {
    /// Omniglot zip archives, or directories of them, to train on [default: characters drawn on the spot]
    #[arg(long, value_name = "FILE|DIR", num_args = 1..)]
    data: Vec<PathBuf>,

    /// Archives or directories to test on; classes that occur in the training data are dropped
    /// [default: a fifth of the alphabets, held out from training]
    #[arg(long, value_name = "FILE|DIR", num_args = 1..)]
    test_data: Vec<PathBuf>,

    /// Number of characters to draw where there is no --data
    #[arg(long, value_name = "CLASSES", default_value = "200", value_parser = count, conflicts_with = "data")]
    glyphs: usize,

    /// Train on the characters as they are (by default each turn by 90 degrees is a class of its own in training; test
    /// classes are never turned)
    #[arg(long, overrides_with = "rotations")]
    no_rotations: bool,

    /// Train on each character turned by 0, 90, 180 and 270 degrees as four classes; this is the default
    #[arg(long, overrides_with = "no_rotations")]
    #[serde(skip)]
    rotations: bool,

    /// Classes of a task
    #[arg(long, default_value = "5", value_parser = count)]
    way: usize,

    /// Support images per class
    #[arg(long, default_value = "1", value_parser = count)]
    shot: usize,

    /// Query images per class in training
    #[arg(long, default_value = "5", value_parser = count)]
    query: usize,

    /// Query images per class in the test
    #[arg(long, default_value = "15", value_parser = count)]
    test_query: usize,

    #[command(flatten)]
    #[serde(skip)]
    estimator: EstimatorArgs,

    /// Inner learning rate (MAML on Omniglot: 0.4 for 5-way, 0.1 for 20-way)
    #[arg(long, value_name = "RATE", default_value = "0.4", value_parser = positive)]
    inner_lr: f64,

    /// Inner steps K in training (MAML on Omniglot: 1 for 5-way, 5 for 20-way)
    #[arg(long, value_name = "K", default_value = "1", value_parser = count)]
    inner_steps: usize,

    /// Inner steps in the test [default: as --inner-steps] (MAML: 3 for 5-way, 5 for 20-way)
    #[arg(long, value_name = "STEPS", value_parser = count)]
    test_inner_steps: Option<usize>,

    /// Tasks per meta-step (MAML on Omniglot: 32 for 5-way, 16 for 20-way)
    #[arg(long, value_name = "TASKS", default_value = "8", value_parser = count)]
    meta_batch: usize,

    /// Learning rate of the meta-step, by Adam
    #[arg(long, value_name = "RATE", default_value = "1e-3", value_parser = positive)]
    meta_lr: f64,

    /// Meta-steps; 0 tests the untrained network (MAML: 60000)
    #[arg(long, value_name = "N", default_value = "200")]
    iterations: usize,

    /// Filters of each convolution (MAML on Omniglot: 64)
    #[arg(long, default_value = "32", value_parser = clap::value_parser!(u16).range(1..=1024))]
    filters: u16,

    /// Test tasks, at least 2; always the same ones for the same data and sizes
    #[arg(long, value_name = "TASKS", default_value = "600", value_parser = clap::value_parser!(u32).range(2..=1_000_000))]
    test_tasks: u32,

    /// Also test, on this many of the test tasks, the adapted network by itself: batch normalisation then has running
    /// statistics, those of the initialisation or those of the support set, where the test has the query set's own
    #[arg(long, value_name = "TASKS", value_parser = clap::value_parser!(u32).range(2..=1_000_000))]
    batch_norm: Option<u32>,

    /// Tasks in work at a time [default: the number of cores]; the results do not depend on it
    #[arg(long, value_name = "N", value_parser = count)]
    #[serde(skip)]
    threads: Option<usize>,

    /// Seed of the initial weights and of the training tasks
    #[arg(long, default_value = "0")]
    seed: u64,

    /// Seed of the test tasks
    #[arg(long, value_name = "SEED", default_value = "0")]
    test_seed: u64,

    /// Where to compute
    #[arg(long, value_enum, default_value = "flex")]
    device: DeviceName,

    /// Write settings and results as JSON; `-` is standard output, and what else would stand there goes to standard error
    #[arg(long, value_name = "FILE")]
    #[serde(skip)]
    json: Option<PathBuf>,

    /// Directory to save the trained network (model.bpk) and its settings (settings.json) in
    #[arg(long, value_name = "DIR", default_value = "out/omniglot")]
    #[serde(skip)]
    save: PathBuf,
}

fn main() -> ExitCode {
    exit(parse().and_then(run))
}

fn run(args: Arguments) -> Result<(), Failure> {
    let run = Run::prepare(&args)?;
    let screen = Screen::new(args.json.as_deref());
    run.announce(&args);

    let started = Instant::now();
    let net = seeded(args.seed, &run.device, |device| run.model.init(device))?;
    let (net, training) = run.train(&args, net)?;
    let training_seconds = started.elapsed().as_secs_f64();

    let started = Instant::now();
    let tests = run.test(&net)?;
    let accuracy = Summary::of(&tests.iter().map(|test| test.accuracy).collect::<Vec<_>>());
    let loss = Summary::of(&tests.iter().map(|test| test.loss).collect::<Vec<_>>());

    let alone = args.batch_norm.map(|tasks| run.alone(&net, tasks as usize)).transpose()?;

    let settings = run.settings(&args)?;
    let results = json!({
        "train_classes": run.data.train.len(),
        "train_fingerprint": run.data.train.fingerprint().digest(),
        "test_classes": run.data.test.len(),
        "test_fingerprint": run.test_tasks.fingerprint().digest(),
        "training": training,
        "test_accuracy": accuracy,
        "test_loss": loss,
        "running_statistics": alone,
    });
    let document = Document::new("omniglot", settings.clone(), results)
        .with_timing("training_seconds", training_seconds)
        .with_timing("seconds_per_meta_step", training_seconds / args.iterations as f64)
        .with_timing("test_seconds", started.elapsed().as_secs_f64());
    save(&args.save, net, &json!({ "schema_version": SCHEMA_VERSION, "program": "omniglot", "settings": settings }))?;
    if let Some(path) = &args.json {
        document.write(path)?;
    }
    note(format!(
        "training took {training_seconds:.1} s, {:.0} MiB of memory",
        memory::resident_bytes().unwrap_or_default() as f64 / 1048576.0
    ));
    if let Some(alone) = &alone {
        for (statistics, accuracy) in [
            ("the query set's statistics", alone.query),
            ("the support set's", alone.support),
            ("running ones, as they were initialised", alone.initial),
        ] {
            let (mean, interval) = (100.0 * accuracy.mean, 100.0 * accuracy.interval95);
            screen.result(format_args!("batch normalisation with {statistics}: {mean:.2} % +- {interval:.2} %"));
        }
    }
    screen.result(format_args!("network saved in {}", args.save.display()));
    screen.result(format_args!("test accuracy {:.2} % +- {:.2} %", 100.0 * accuracy.mean, 100.0 * accuracy.interval95));
    Ok(())
}

/// Everything a run needs, checked before it begins.
struct Run {
    device: Device,
    data: Characters,
    episodes: Episodes,
    test_tasks: FrozenEpisodes,
    model: Cnn4Config,
    maml: Maml,
    test_maml: Maml,
}

/// Images `[n, 1, 28, 28]` and their labels `[n]`.
type Batch = (Tensor<4>, Tensor<1, Int>);

/// Test tasks that are in memory at a time.
const TEST_CHUNK: usize = 50;

/// Accuracies by what batch normalisation takes its statistics from, on the same tasks.
#[derive(Clone, Copy, Debug, Serialize)]
struct Statistics {
    query: Summary,
    support: Summary,
    initial: Summary,
}

/// How a test task went.
struct Test {
    loss: f64,
    accuracy: f64,
}

/// The loss that inner loop and meta-gradient differentiate, and the logits to count right answers by.
fn loss(net: &Cnn4, (images, labels): Batch) -> (Tensor<1>, Tensor<2>) {
    let logits = net.forward(images);
    (cross_entropy(logits.clone(), labels), logits)
}

impl Run {
    fn prepare(args: &Arguments) -> Result<Self, Failure> {
        let inner = args.estimator.inner(InnerLoopConfig::new(args.inner_lr).with_steps(args.inner_steps));
        let estimator = args.estimator.estimator(args.inner_steps)?;
        let maml = MamlConfig::new(inner.clone(), estimator).with_threads(args.threads).init()?;
        let test_inner = inner.with_steps(args.test_inner_steps.unwrap_or(args.inner_steps));
        let test_maml = MamlConfig::new(test_inner, Estimator::FirstOrder).with_threads(args.threads).init()?;
        args.json.as_deref().map_or(Ok(()), files::check_file)?;
        files::check_directory(&args.save)?;
        let device = args.device.open()?;

        let data = Characters::load(&args.data, &args.test_data, args.glyphs, !args.no_rotations)?;
        let spec = EpisodeSpec::new(args.way, args.shot, args.query);
        let in_training = |error| Failure::from(error).at("training data");
        let episodes = Episodes::new(&data.train, spec, args.seed).map_err(in_training)?;
        let spec = EpisodeSpec::new(args.way, args.shot, args.test_query);
        let tasks = 0..u64::from(args.test_tasks);
        let in_test = |error| Failure::from(error).at("test data");
        let test_tasks = FrozenEpisodes::draw(&data.test, spec, args.test_seed, tasks).map_err(in_test)?;
        let [channels, side, _] = data.train.shape();
        let model = Cnn4Config::new(channels, side, args.way).with_hidden(args.filters.into());
        Ok(Self { device, data, episodes, test_tasks, model, maml, test_maml })
    }

    fn announce(&self, args: &Arguments) {
        let Characters { train, test, held_out } = &self.data;
        let rotations = if args.no_rotations { "" } else { " (rotations are classes)" };
        note(format!("training classes: {}{rotations}; test classes: {}, {held_out}", train.len(), test.len()));
        let estimator = self.maml.config().estimator;
        let steps = args.inner_steps;
        note(format!(
            "{}-way {}-shot, {steps} inner step(s) of {}, {}",
            args.way,
            args.shot,
            args.inner_lr,
            describe(estimator, steps)
        ));
    }

    fn settings(&self, args: &Arguments) -> Result<Value, Failure> {
        let mut settings = serde_json::to_value(args).map_err(Failure::failed)?;
        settings["estimator"] = serde_json::to_value(self.maml.config().estimator).map_err(Failure::failed)?;
        settings["proximal"] = args.estimator.proximal.into();
        settings["test_inner_steps"] = self.test_maml.config().inner.steps.into();
        settings["model"] = json!({
            "kind": "cnn4",
            "channels": self.model.channels,
            "image_size": self.model.image_size,
            "ways": self.model.ways,
            "hidden": self.model.hidden,
        });
        Ok(settings)
    }

    fn train(&self, args: &Arguments, mut net: Cnn4) -> Result<(Cnn4, Vec<TrainingPoint>), Failure> {
        // Burn's own default for epsilon is 1e-5; MAML and its successors train with 1e-8.
        let mut optim = AdamConfig::new().with_epsilon(1e-8).init();
        let mut log = TrainingLog::new(args.iterations);
        for iteration in 0..args.iterations {
            let first = (iteration * args.meta_batch) as u64;
            let episodes = (first..).take(args.meta_batch).map(|index| self.episodes.get(index));
            let episodes: Vec<Episode> = episodes.collect();
            let tasks = episodes.iter().map(|episode| self.task(episode, &self.data.train));
            let tasks: Vec<Task<Batch>> = tasks.collect::<Result<_, _>>()?;
            let step = self.maml.meta_gradient(&net, &tasks, loss);
            let step = step.map_err(|error| Failure::from(error).at(format!("meta-step {}", iteration + 1)))?;
            let answers = step.outputs.iter().zip(&episodes).map(|(logits, episode)| accuracy(logits, episode));
            log.watch(&step.report);
            log.add(step.query_loss(), Some(answers.sum::<f64>() / args.meta_batch as f64));
            net = optim.step(args.meta_lr, net, step.grads);
        }
        Ok((net, log.finish()))
    }

    fn test(&self, net: &Cnn4) -> Result<Vec<Test>, Failure> {
        let episodes = self.test_tasks.episodes();
        let bar = bar(episodes.len(), "testing");
        let mut tests = Vec::with_capacity(episodes.len());
        for episodes in episodes.chunks(TEST_CHUNK) {
            let tasks = episodes.iter().map(|episode| self.task(episode, &self.data.test));
            let tasks: Vec<Task<Batch>> = tasks.collect::<Result<_, _>>()?;
            // By the same closure as in training: batch normalisation takes the statistics of the query set.
            let done = self.test_maml.evaluate_all(net, &tasks, loss);
            let done = done.map_err(|error| Failure::from(error).at(format!("test, from task {}", tests.len())))?;
            let scored = done.iter().zip(episodes);
            tests.extend(
                scored.map(|(done, episode)| Test {
                    loss: done.losses.query,
                    accuracy: accuracy(&done.outputs, episode),
                }),
            );
            bar.inc(episodes.len() as u64);
        }
        bar.finish_and_clear();
        Ok(tests)
    }

    /// The adapted network as an ordinary module on a plain device, where batch normalisation has running statistics.
    fn alone(&self, net: &Cnn4, tasks: usize) -> Result<Statistics, Failure> {
        let episodes = &self.test_tasks.episodes()[..tasks.min(self.test_tasks.episodes().len())];
        let bar = bar(episodes.len(), "testing alone");
        let mut accuracies: [Vec<f64>; 3] = Default::default();
        for episode in episodes {
            let task = self.task(episode, &self.data.test)?;
            let query = self.test_maml.evaluate(net, &task, loss)?.outputs;
            let adapted = self.test_maml.adapt(net, &task.support, loss)?;
            let images = task.query.0.inner();
            let initial = adapted.clone().valid().forward(images.clone());
            let support = settled(adapted, &task.support, loss)?.valid().forward(images);
            for (accuracies, logits) in accuracies.iter_mut().zip([&query, &support, &initial]) {
                accuracies.push(accuracy(logits, episode));
            }
            bar.inc(1);
        }
        bar.finish_and_clear();
        let [query, support, initial] = accuracies.map(|accuracies| Summary::of(&accuracies));
        Ok(Statistics { query, support, initial })
    }

    fn task(&self, episode: &Episode, data: &ImageClasses) -> Result<Task<Batch>, Failure> {
        let support = episode.support_batch(data, &self.device)?;
        let query = episode.query_batch(data, &self.device)?;
        Ok(Task { support: (support.images, support.labels), query: (query.images, query.labels) })
    }
}

/// Fraction of the queries whose largest logit is that of their class.
fn accuracy(logits: &Tensor<2>, episode: &Episode) -> f64 {
    let [queries, ways] = logits.dims();
    let logits: Vec<f32> = logits.to_data().iter::<f32>().collect();
    let answer = |row: &[f32]| (0..ways).max_by(|&a, &b| row[a].total_cmp(&row[b]));
    let right = logits.chunks(ways).zip(episode.query()).filter(|(row, item)| answer(row) == Some(item.label));
    right.count() as f64 / queries as f64
}

fn save(directory: &Path, net: Cnn4, settings: &Value) -> Result<(), Failure> {
    let failed = |cause| Failure::failed(format!("{}: cannot make the directory: {cause}", directory.display()));
    std::fs::create_dir_all(directory).map_err(failed)?;
    files::write_with(&directory.join("model.bpk"), |path| net.save_file(path).map_err(|cause| cause.to_string()))?;
    let settings = serde_json::to_string_pretty(settings).map_err(Failure::failed)?;
    files::write(&directory.join("settings.json"), &(settings + "\n"))
}
