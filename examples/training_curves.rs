//! Meta-trains with one estimator after the other for the same time, from the same start and on the same tasks, and compares
//! the validation losses on the way: at equal time, and at equal meta-steps.
//!
//! `cargo run --release --example training_curves -- --plot curves.svg`
//!
//! An estimator of the meta-gradient is judged by two things at once, how far a meta-step brings the network and how long it
//! takes. The error of the meta-gradient (`--example error_curve`) tells neither.

use std::path::PathBuf;
use std::process::ExitCode;

use burn::module::Module;
use burn::optim::AdamConfig;
use burn::tensor::{DType, Device, Int, Tensor};
use burn_meta::models::{Cnn4, Cnn4Config, Mlp, MlpConfig, cross_entropy, mean_squared_error};
use burn_meta::{Error, Estimator, InnerLoopConfig, Maml, MamlConfig, Task};
use clap::{Parser, ValueEnum};
use common::arguments::{Screen, count, note, parse, positive};
use common::characters::Characters;
use common::clock::{Clock, Stopwatch};
use common::curves::{Axis, Curve, Reading, Row, best, compare, table};
use common::device::DeviceName;
use common::document::Document;
use common::estimator_list::{Named, named};
use common::failure::{Failure, exit};
use common::plot::Labels;
use common::progress::bar;
use common::seed::seeded;
use common::sinusoids::{Purpose, Sinusoids};
use common::{curves_plot, files};
use fewshot_data::{Episode, EpisodeSpec, Episodes, ImageClasses};
use serde::Serialize;
use serde_json::json;

/// Parts of the budget at which losses are told.
const PARTS: [f64; 3] = [0.25, 0.5, 1.0];

/// Meta-train with several estimators of the meta-gradient for the same time each, and compare them.
///
/// Every estimator begins with the same network and sees the same tasks in the same order, one estimator at a time, on one
/// thread unless --threads says otherwise. The loss on fixed validation tasks after adaptation is measured every --every
/// meta-steps; the time that takes does not count. Times are those of this machine at this hour: repeats go round the
/// estimators, so that a machine that slows down does not slow one of them alone, and --clock cpu counts the time that this
/// process computed, which is the better measure where others compute at the same time.
#[derive(Parser, Clone, Debug, Serialize)]
#[command(version)]
struct Arguments {
    /// Estimators to compare, divided by commas: first-order, exact, reptile, truncated:L, binomial:L, scaled:L, hybrid:LxC,
    /// fitted:L, frozen:D, segments:SxD, adaptive:TOLERANCE
    #[arg(
        long,
        value_name = "NAMES",
        value_delimiter = ',',
        value_parser = named,
        default_value = "first-order,truncated:1,truncated:2,binomial:2,fitted:2,frozen:1,segments:3x1,exact"
    )]
    #[serde(skip)]
    estimators: Vec<Named>,

    /// What is learned
    #[arg(long, value_enum, default_value = "sinusoid")]
    problem: ProblemName,

    /// Seconds of training for each estimator and repeat
    #[arg(long, default_value = "20", value_parser = positive)]
    seconds: f64,

    /// Train for so many meta-steps in place of --seconds; losses are then the same in every run
    #[arg(long, value_name = "N", value_parser = count, conflicts_with = "seconds")]
    meta_steps: Option<usize>,

    /// What a second is
    #[arg(long, value_enum, default_value = "wall")]
    clock: Clock,

    /// Runs of each estimator, each with initial weights and tasks of its own
    #[arg(long, value_name = "RUNS", default_value = "3", value_parser = count)]
    repeats: usize,

    /// Meta-steps between two measurements
    #[arg(long, value_name = "N", default_value = "50", value_parser = count)]
    every: usize,

    /// Validation tasks
    #[arg(long, value_name = "TASKS", default_value = "100", value_parser = count)]
    validation_tasks: usize,

    /// Inner steps K
    #[arg(long, value_name = "K", default_value = "5", value_parser = count)]
    inner_steps: usize,

    /// Inner learning rate [default: 0.01 for sinusoid, 0.1 for glyphs]
    #[arg(long, value_name = "RATE", value_parser = positive)]
    inner_lr: Option<f64>,

    /// Support examples: points of a sinusoid, images of each class [default: 10 for sinusoid, 1 for glyphs]
    #[arg(long, value_parser = count)]
    shot: Option<usize>,

    /// Query examples: points of a sinusoid, images of each class [default: 10 for sinusoid, 5 for glyphs]
    #[arg(long, value_parser = count)]
    query: Option<usize>,

    /// Tasks per meta-step [default: 10 for sinusoid, 4 for glyphs]
    #[arg(long, value_name = "TASKS", value_parser = count)]
    meta_batch: Option<usize>,

    /// Learning rate of the meta-step, by Adam
    #[arg(long, value_name = "RATE", default_value = "1e-3", value_parser = positive)]
    meta_lr: f64,

    /// Tasks in work at a time
    #[arg(long, value_name = "N", default_value = "1", value_parser = count)]
    threads: usize,

    /// Seed of the first repeat's initial weights and training tasks; further repeats count up
    #[arg(long, default_value = "0")]
    seed: u64,

    /// Seed of the validation tasks
    #[arg(long, value_name = "SEED", default_value = "0")]
    test_seed: u64,

    /// Draw the curves as an SVG picture
    #[arg(long, value_name = "FILE.svg")]
    #[serde(skip)]
    plot: Option<PathBuf>,

    /// Where to compute
    #[arg(long, value_enum, default_value = "flex")]
    device: DeviceName,

    /// Write settings and results as JSON; `-` is standard output, and what else would stand there goes to standard error
    #[arg(long, value_name = "FILE")]
    #[serde(skip)]
    json: Option<PathBuf>,
}

/// What is learned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
enum ProblemName {
    /// Sine waves from a few points, by a 1-40-40-1 network.
    Sinusoid,
    /// Drawn characters, 5 classes a task, by a four-block convolutional network of 16 filters.
    Glyphs,
}

fn main() -> ExitCode {
    exit(parse().and_then(run))
}

fn run(args: Arguments) -> Result<(), Failure> {
    let device = prepare(&args)?;
    let curves = match args.problem {
        ProblemName::Sinusoid => all_curves(&args, &SineWaves::new(&args, &device))?,
        ProblemName::Glyphs => all_curves(&args, &Drawings::new(&args, &device)?)?,
    };
    let comparison = Comparison::of(&args, &curves);
    comparison.show(&args, Screen::new(args.json.as_deref()));
    if let Some(path) = &args.plot {
        let labels = Labels {
            title: format!("Meta-training by estimator: K = {} inner steps of {}", args.inner_steps, args.inner_lr()),
            subtitle: format!("{}; mean of {} run(s); times of one machine", args.problem.words(), args.repeats),
        };
        let picture = curves_plot::svg(&curves, &labels).map_err(Failure::failed)?;
        files::write(path, &picture)?;
    }
    match &args.json {
        Some(path) => write_document(&args, &curves, &comparison, path),
        None => Ok(()),
    }
}

/// Checks what can be checked before anything is computed.
fn prepare(args: &Arguments) -> Result<Device, Failure> {
    for named in &args.estimators {
        args.maml(named.estimator).map_err(|error| error.at(format!("--estimators {}", named.name)))?;
        let same = |other: &&Named| other.name == named.name;
        if args.estimators.iter().filter(same).count() > 1 {
            return Err(Failure::usage(format!("--estimators: {} twice", named.name)));
        }
    }
    args.clock.check()?;
    args.json.as_deref().map_or(Ok(()), files::check_file)?;
    args.plot.as_deref().map_or(Ok(()), files::check_file)?;
    args.device.open()
}

impl ProblemName {
    fn words(self) -> &'static str {
        match self {
            Self::Sinusoid => "sinusoid regression",
            Self::Glyphs => "drawn characters, 5-way",
        }
    }

    /// One default for each problem.
    fn of<T>(self, sinusoid: T, glyphs: T) -> T {
        match self {
            Self::Sinusoid => sinusoid,
            Self::Glyphs => glyphs,
        }
    }
}

impl Arguments {
    fn inner_lr(&self) -> f64 {
        self.inner_lr.unwrap_or(self.problem.of(0.01, 0.1))
    }

    fn shot(&self) -> usize {
        self.shot.unwrap_or(self.problem.of(10, 1))
    }

    fn query(&self) -> usize {
        self.query.unwrap_or(self.problem.of(10, 5))
    }

    fn meta_batch(&self) -> usize {
        self.meta_batch.unwrap_or(self.problem.of(10, 4))
    }

    fn maml(&self, estimator: Estimator) -> Result<Maml, Failure> {
        let inner = InnerLoopConfig::new(self.inner_lr()).with_steps(self.inner_steps);
        Ok(MamlConfig::new(inner, estimator).with_threads(Some(self.threads)).init()?)
    }

    /// Whether a run is over.
    fn is_over(&self, meta_step: usize, watch: &Stopwatch) -> bool {
        self.meta_steps.map_or_else(|| watch.seconds() >= self.seconds, |steps| meta_step >= steps)
    }

    /// What the losses of two estimators are compared with.
    fn reference(&self) -> &str {
        let exact = self.estimators.iter().find(|named| named.estimator == Estimator::Exact);
        exact.or(self.estimators.first()).map_or("", |named| &named.name)
    }
}

/// Something to meta-train on.
trait Problem {
    type Net: Module;
    type Batch: burn_func::Batch;

    /// The network that a repeat begins with.
    fn net(&self, seed: u64) -> Result<Self::Net, Failure>;

    /// Tasks of a meta-step.
    fn tasks(&self, seed: u64, meta_step: usize) -> Result<Vec<Task<Self::Batch>>, Failure>;

    /// Validation tasks, the same for all.
    fn validation(&self) -> Result<Vec<Task<Self::Batch>>, Failure>;

    fn loss(net: &Self::Net, batch: Self::Batch) -> Tensor<1>;
}

/// Repeats go round the estimators.
fn all_curves<P: Problem>(args: &Arguments, problem: &P) -> Result<Vec<Curve>, Failure> {
    let validation = problem.validation()?;
    let runs = args.repeats * args.estimators.len();
    let bar = bar(runs, "runs");
    let mut curves = Vec::with_capacity(runs);
    for repeat in 0..args.repeats {
        for named in &args.estimators {
            let curve = one_curve(args, problem, &validation, named, repeat)?;
            let last = curve.readings.last().map_or(f64::NAN, |reading| reading.loss);
            let end = curve.diverged_at.map_or_else(|| format!("loss {last:.4}"), |step| format!("diverged at {step}"));
            note(format!(
                "run {}/{runs}: {}, {} meta-steps in {:.1} s, {end}",
                curves.len() + 1,
                named.name,
                curve.end(Axis::MetaSteps),
                curve.end(Axis::Time)
            ));
            bar.inc(1);
            curves.push(curve);
        }
    }
    bar.finish_and_clear();
    Ok(curves)
}

fn one_curve<P: Problem>(
    args: &Arguments,
    problem: &P,
    validation: &[Task<P::Batch>],
    named: &Named,
    repeat: usize,
) -> Result<Curve, Failure> {
    let maml = args.maml(named.estimator)?;
    let products = named.estimator.products(args.inner_steps);
    let mut curve = Curve { estimator: named.name.clone(), repeat, products, readings: Vec::new(), diverged_at: None };
    let seed = args.seed + repeat as u64;
    let mut net = problem.net(seed)?;
    // Burn's own default for epsilon is 1e-5; MAML and its successors train with 1e-8.
    let mut optim = AdamConfig::new().with_epsilon(1e-8).init();
    let (mut done, mut seconds) = (0, 0.0);
    loop {
        let measured = maml.evaluate_all(&net, validation, P::loss).map(|tasks| {
            let loss = tasks.iter().map(|task| task.losses.query).sum::<f64>() / tasks.len() as f64;
            Reading { meta_step: done, seconds, loss }
        });
        let Some(reading) = finite(measured)? else { return Ok(Curve { diverged_at: Some(done), ..curve }) };
        curve.readings.push(reading);
        let watch = Stopwatch::start(args.clock, seconds);
        if args.is_over(done, &watch) {
            return Ok(curve);
        }
        for _ in 0..args.every {
            let tasks = problem.tasks(seed, done)?;
            let Some(step) = finite(maml.meta_gradient(&net, &tasks, P::loss))? else {
                return Ok(Curve { diverged_at: Some(done), ..curve });
            };
            net = optim.step(args.meta_lr, net, step.grads);
            done += 1;
            if args.is_over(done, &watch) {
                break;
            }
        }
        seconds = watch.seconds();
    }
}

/// Training that diverges is a result like another.
fn finite<T>(outcome: Result<T, Error>) -> Result<Option<T>, Failure> {
    match outcome {
        Ok(value) => Ok(Some(value)),
        Err(Error::NonFinite { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Sinusoid regression.
struct SineWaves {
    shot: usize,
    query: usize,
    meta_batch: usize,
    validation_tasks: usize,
    test_seed: u64,
    device: Device,
}

impl SineWaves {
    fn new(args: &Arguments, device: &Device) -> Self {
        Self {
            shot: args.shot(),
            query: args.query(),
            meta_batch: args.meta_batch(),
            validation_tasks: args.validation_tasks,
            test_seed: args.test_seed,
            device: device.clone(),
        }
    }

    fn some(&self, seed: u64, purpose: Purpose, meta_step: usize, tasks: usize) -> Vec<Task<(Tensor<2>, Tensor<2>)>> {
        let sinusoids = Sinusoids { seed, shot: self.shot, query: self.query };
        let task = |index| sinusoids.task(purpose, meta_step as u64, index, (&self.device, DType::F32));
        (0..tasks as u64).map(task).collect()
    }
}

impl Problem for SineWaves {
    type Net = Mlp;
    type Batch = (Tensor<2>, Tensor<2>);

    fn net(&self, seed: u64) -> Result<Mlp, Failure> {
        seeded(seed, &self.device, |device| MlpConfig::new(vec![1, 40, 40, 1]).init(device))
    }

    fn tasks(&self, seed: u64, meta_step: usize) -> Result<Vec<Task<Self::Batch>>, Failure> {
        Ok(self.some(seed, Purpose::Training, meta_step, self.meta_batch))
    }

    fn validation(&self) -> Result<Vec<Task<Self::Batch>>, Failure> {
        Ok(self.some(self.test_seed, Purpose::Test, 0, self.validation_tasks))
    }

    fn loss(net: &Mlp, (x, y): Self::Batch) -> Tensor<1> {
        mean_squared_error(net.forward(x), y)
    }
}

/// Characters drawn on the spot, those of the validation tasks from alphabets of their own.
struct Drawings {
    characters: Characters,
    spec: EpisodeSpec,
    meta_batch: usize,
    validation_tasks: usize,
    test_seed: u64,
    device: Device,
}

/// Classes of a task of drawn characters.
const WAY: usize = 5;

impl Drawings {
    fn new(args: &Arguments, device: &Device) -> Result<Self, Failure> {
        let this = Self {
            characters: Characters::load(&[], &[], 200, true)?,
            spec: EpisodeSpec::new(WAY, args.shot(), args.query()),
            meta_batch: args.meta_batch(),
            validation_tasks: args.validation_tasks,
            test_seed: args.test_seed,
            device: device.clone(),
        };
        Episodes::new(&this.characters.train, this.spec, 0)?;
        Ok(this)
    }

    fn task(&self, episode: &Episode, data: &ImageClasses) -> Result<Task<(Tensor<4>, Tensor<1, Int>)>, Failure> {
        let [support, query] = [episode.support_batch(data, &self.device)?, episode.query_batch(data, &self.device)?];
        Ok(Task { support: (support.images, support.labels), query: (query.images, query.labels) })
    }
}

impl Problem for Drawings {
    type Net = Cnn4;
    type Batch = (Tensor<4>, Tensor<1, Int>);

    fn net(&self, seed: u64) -> Result<Cnn4, Failure> {
        let [channels, side, _] = self.characters.train.shape();
        seeded(seed, &self.device, |device| Cnn4Config::new(channels, side, WAY).with_hidden(16).init(device))
    }

    fn tasks(&self, seed: u64, meta_step: usize) -> Result<Vec<Task<Self::Batch>>, Failure> {
        let data = &self.characters.train;
        let episodes = Episodes::new(data, self.spec, seed)?;
        let first = (meta_step * self.meta_batch) as u64;
        (first..).take(self.meta_batch).map(|index| self.task(&episodes.get(index), data)).collect()
    }

    fn validation(&self) -> Result<Vec<Task<Self::Batch>>, Failure> {
        let data = &self.characters.test;
        let episodes = Episodes::new(data, self.spec, self.test_seed)?;
        (0..self.validation_tasks as u64).map(|index| self.task(&episodes.get(index), data)).collect()
    }

    fn loss(net: &Cnn4, (images, labels): Self::Batch) -> Tensor<1> {
        cross_entropy(net.forward(images), labels)
    }
}

/// What the curves come to.
struct Comparison {
    seconds: f64,
    at_equal_time: Vec<Row>,
    meta_steps: f64,
    at_equal_meta_steps: Vec<Row>,
}

impl Comparison {
    /// At parts of the time, and of the meta-steps, that every run reached that did not diverge.
    fn of(args: &Arguments, curves: &[Curve]) -> Self {
        let reached = |axis| {
            let ends = curves.iter().filter(|curve| curve.diverged_at.is_none()).map(|curve| curve.end(axis));
            ends.reduce(f64::min).unwrap_or(0.0)
        };
        let rows = |axis, all: f64| compare(curves, axis, &PARTS.map(|part| part * all), args.reference());
        let (seconds, meta_steps) = (reached(Axis::Time), reached(Axis::MetaSteps));
        // The last meta-step of a run ends a little after its time is over.
        let seconds = if args.meta_steps.is_none() { seconds.min(args.seconds) } else { seconds };
        Self {
            seconds,
            at_equal_time: rows(Axis::Time, seconds),
            meta_steps,
            at_equal_meta_steps: rows(Axis::MetaSteps, meta_steps),
        }
    }

    fn show(&self, args: &Arguments, screen: Screen) {
        let clock = match args.clock {
            Clock::Wall => "by the wall clock",
            Clock::Cpu => "of CPU time",
        };
        let spread = if args.repeats > 1 { "; mean of the runs +- half the 95 % interval (Student's t)" } else { "" };
        screen.result(format_args!(
            "validation loss after adaptation, {}, K = {}, inner rate {}, {} run(s){spread}\n",
            args.problem.words(),
            args.inner_steps,
            args.inner_lr(),
            args.repeats
        ));
        screen.result(format_args!("at equal time, seconds {clock} on {} thread(s) of this machine:\n", args.threads));
        let places = PARTS.map(|part| format!("{:.3} s", part * self.seconds).replace(".000", ""));
        screen.result(table(&self.at_equal_time, &places, args.reference()));
        screen.result("\nat equal meta-steps:\n");
        let places = PARTS.map(|part| format!("{:.0}", part * self.meta_steps));
        screen.result(table(&self.at_equal_meta_steps, &places, args.reference()));
        let winner = |rows: &[Row]| best(rows).map_or_else(|| "none".to_owned(), |row| row.estimator.clone());
        screen.result(format_args!("\nsmallest mean loss at equal time: {}", winner(&self.at_equal_time)));
        screen.result(format_args!("smallest mean loss at equal meta-steps: {}", winner(&self.at_equal_meta_steps)));
    }
}

/// Losses are results where the number of meta-steps is given; where time is, they hang on the machine.
fn write_document(
    args: &Arguments,
    curves: &[Curve],
    comparison: &Comparison,
    path: &std::path::Path,
) -> Result<(), Failure> {
    let mut settings = serde_json::to_value(args).map_err(Failure::failed)?;
    settings["inner_lr"] = args.inner_lr().into();
    settings["shot"] = args.shot().into();
    settings["query"] = args.query().into();
    settings["meta_batch"] = args.meta_batch().into();
    settings["estimators"] =
        args.estimators.iter().map(|named| json!({ named.name.as_str(): named.estimator })).collect();
    let losses = |curve: &Curve| {
        let points: Vec<_> = curve.readings.iter().map(|reading| json!([reading.meta_step, reading.loss])).collect();
        json!({ "estimator": curve.estimator, "repeat": curve.repeat, "loss_at": points, "diverged_at": curve.diverged_at })
    };
    let results = match args.meta_steps {
        Some(_) => json!({ "curves": curves.iter().map(losses).collect::<Vec<_>>() }),
        None => json!({}),
    };
    let value = |rows: &[Row]| serde_json::to_value(rows).map_err(Failure::failed);
    Document::new("training_curves", settings, results)
        .with_timing("curves", serde_json::to_value(curves).map_err(Failure::failed)?)
        .with_timing("parts", PARTS.to_vec())
        .with_timing("equal_seconds", comparison.seconds)
        .with_timing("at_equal_time", value(&comparison.at_equal_time)?)
        .with_timing("equal_meta_steps", comparison.meta_steps)
        .with_timing("at_equal_meta_steps", value(&comparison.at_equal_meta_steps)?)
        .write(path)
}
