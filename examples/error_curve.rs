//! Meta-trains a small network to fit sine waves from a few points, and measures how far each estimator's meta-gradient is
//! from the exact one.
//!
//! `cargo run --release --example sinusoid -- --error-curve --plot errors.svg`

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use burn::optim::AdamConfig;
use burn::tensor::{DType, Device, Tensor};
use burn_func::{Params, finite, trace};
use burn_meta::models::{Mlp, MlpConfig, mean_squared_error};
use burn_meta::{Estimator, InnerLoopConfig, Maml, MamlConfig, Task};
use clap::Parser;
use common::arguments::{EstimatorArgs, Screen, count, describe, note, parse, positive};
use common::device::{DeviceName, Precision};
use common::document::Document;
use common::error_curve::{Point, error_curve, table};
use common::failure::{Failure, exit};
use common::plot::{Labels, svg};
use common::progress::{TrainingLog, TrainingPoint};
use common::seed::seeded;
use common::sinusoids::{Batch, Purpose, Sinusoids};
use common::statistics::Summary;
use common::{files, memory};
use serde::Serialize;
use serde_json::{Map, Value, json};

/// Meta-steps after which memory is looked at: it must not grow between them.
const MEMORY_AT: [usize; 2] = [100, 1000];

/// Meta-train a 1-40-40-1 network to fit sine waves from a few points, and study the meta-gradient estimators on it.
///
/// A task is y = a sin(x - p) with a uniform in [0.1, 5], p in [0, pi] and x in [-5, 5], known at SHOT points and judged on
/// QUERY others.
#[derive(Parser, Clone, Debug, Serialize)]
#[command(version)]
struct Arguments {
    /// Support points of a task
    #[arg(long, default_value = "10", value_parser = count)]
    shot: usize,

    /// Query points of a task
    #[arg(long, default_value = "10", value_parser = count)]
    query: usize,

    #[command(flatten)]
    #[serde(skip)]
    estimator: EstimatorArgs,

    /// Inner learning rate (MAML and the binomial paper: 0.01)
    #[arg(long, value_name = "RATE", default_value = "0.01", value_parser = positive)]
    inner_lr: f64,

    /// Inner steps K in training and in the study (MAML: 1; the binomial paper: 5)
    #[arg(long, value_name = "K", default_value = "5", value_parser = count)]
    inner_steps: usize,

    /// Inner steps in the test [default: as --inner-steps]
    #[arg(long, value_name = "STEPS", value_parser = count)]
    test_inner_steps: Option<usize>,

    /// Tasks per meta-step
    #[arg(long, value_name = "TASKS", default_value = "25", value_parser = count)]
    meta_batch: usize,

    /// Learning rate of the meta-step, by Adam
    #[arg(long, value_name = "RATE", default_value = "1e-3", value_parser = positive)]
    meta_lr: f64,

    /// Meta-steps; 0 leaves the network as it was initialised (MAML: 70000)
    #[arg(long, value_name = "N", default_value = "1000")]
    iterations: usize,

    /// Test tasks, at least 2; always the same ones for the same test seed
    #[arg(long, value_name = "TASKS", default_value = "600", value_parser = clap::value_parser!(u32).range(2..=1_000_000))]
    test_tasks: u32,

    /// Compare the estimators of every order with the exact meta-gradient, at the parameters reached
    #[arg(long)]
    error_curve: bool,

    /// Tasks to compare them on, at least 2 mini-batches of them
    #[arg(long, value_name = "TASKS", default_value = "100", value_parser = clap::value_parser!(u32).range(2..=1_000_000))]
    curve_tasks: u32,

    /// Tasks of a mini-batch: its meta-gradients are compared, the mean over its tasks
    #[arg(long, value_name = "TASKS", default_value = "1", value_parser = count)]
    curve_batch: usize,

    /// Precision to compare them in; training is in single precision
    #[arg(long, value_enum, default_value = "f64")]
    dtype: Precision,

    /// Draw the comparison as an SVG picture
    #[arg(long, value_name = "FILE.svg", requires = "error_curve")]
    #[serde(skip)]
    plot: Option<PathBuf>,

    /// Tasks in work at a time [default: the number of cores]; the results do not depend on it
    #[arg(long, value_name = "N", value_parser = count)]
    #[serde(skip)]
    threads: Option<usize>,

    /// Seed of the initial weights and of the training tasks
    #[arg(long, default_value = "0")]
    seed: u64,

    /// Seed of the tasks of the test and of the comparison
    #[arg(long, value_name = "SEED", default_value = "0")]
    test_seed: u64,

    /// Where to compute
    #[arg(long, value_enum, default_value = "flex")]
    device: DeviceName,

    /// Write settings and results as JSON; `-` is standard output, and what else would stand there goes to standard error
    #[arg(long, value_name = "FILE")]
    #[serde(skip)]
    json: Option<PathBuf>,
}

fn main() -> ExitCode {
    exit(parse().and_then(run))
}

fn run(args: Arguments) -> Result<(), Failure> {
    let run = Run::prepare(&args)?;
    let screen = Screen::new(args.json.as_deref());
    let estimator = run.maml.config().estimator;
    note(format!(
        "{} support points, {} inner step(s) of {}, {}",
        args.shot,
        args.inner_steps,
        args.inner_lr,
        describe(estimator, args.inner_steps)
    ));

    let started = Instant::now();
    let net = seeded(args.seed, &run.device, |device| MlpConfig::new(vec![1, 40, 40, 1]).init(device))?;
    let trained = run.train(&args, net)?;
    let training_seconds = started.elapsed().as_secs_f64();
    let (before, after) = run.test(&args, &trained.net)?;
    let started = Instant::now();
    let curve = if args.error_curve { Some(run.study(&args, &trained.net)?) } else { None };

    if let (Some(path), Some(curve)) = (&args.plot, &curve) {
        let labels = Labels {
            title: format!("Meta-gradient estimators, K = {} inner steps of {}", args.inner_steps, args.inner_lr),
            subtitle: format!(
                "sinusoid regression after {} meta-steps; median over {} {}, bars: 10th to 90th percentile; exact at L = K",
                args.iterations,
                args.curve_tasks as usize / args.curve_batch,
                if args.curve_batch == 1 { "tasks".into() } else { format!("mini-batches of {}", args.curve_batch) },
            ),
        };
        let picture = svg(curve, args.inner_steps, &labels).map_err(Failure::failed)?;
        files::write(path, &picture)?;
    }
    if let Some(path) = &args.json {
        let mut settings = serde_json::to_value(&args).map_err(Failure::failed)?;
        settings["estimator"] = serde_json::to_value(estimator).map_err(Failure::failed)?;
        settings["proximal"] = args.estimator.proximal.into();
        settings["test_inner_steps"] = run.test_maml.config().inner.steps.into();
        let results = json!({
            "training": trained.points,
            "query_loss_before": before,
            "query_loss_after": after,
            "error_curve": curve,
        });
        Document::new("sinusoid", settings, results)
            .with_timing("training_seconds", training_seconds)
            .with_timing("seconds_per_meta_step", training_seconds / args.iterations as f64)
            .with_timing("error_curve_seconds", started.elapsed().as_secs_f64())
            .with_timing("resident_bytes_at", trained.resident_bytes_at)
            .write(path)?;
    }
    note(format!("training took {training_seconds:.1} s"));
    if let Some(curve) = &curve {
        screen.result(
            "relative error of the meta-gradient by order L; products, products in sequence, steps kept for them\n",
        );
        screen.result(format_args!("{}\n", table(curve)));
    }
    screen.result(format_args!("query loss before adaptation {:.4} +- {:.4}", before.mean, before.interval95));
    screen.result(format_args!("query loss after adaptation {:.4} +- {:.4}", after.mean, after.interval95));
    Ok(())
}

/// Everything a run needs, checked before it begins.
struct Run {
    device: Device,
    study_dtype: DType,
    maml: Maml,
    test_maml: Maml,
}

/// What training leaves behind.
struct Trained {
    net: Mlp,
    points: Vec<TrainingPoint>,
    resident_bytes_at: Map<String, Value>,
}

fn loss(net: &Mlp, (x, y): Batch) -> Tensor<1> {
    mean_squared_error(net.forward(x), y)
}

impl Run {
    fn prepare(args: &Arguments) -> Result<Self, Failure> {
        let inner = args.estimator.inner(InnerLoopConfig::new(args.inner_lr).with_steps(args.inner_steps));
        let estimator = args.estimator.estimator(args.inner_steps)?;
        if args.error_curve && args.estimator.proximal.is_some() {
            return Err(Failure::usage("--error-curve is for plain gradient descent inside, without --proximal"));
        }
        let maml = MamlConfig::new(inner.clone(), estimator).with_threads(args.threads).init()?;
        let test_inner = inner.with_steps(args.test_inner_steps.unwrap_or(args.inner_steps));
        let test_maml = MamlConfig::new(test_inner, Estimator::FirstOrder).with_threads(args.threads).init()?;
        if (args.curve_tasks as usize) < 2 * args.curve_batch {
            return Err(Failure::usage("--curve-tasks: at least 2 mini-batches of --curve-batch tasks are needed"));
        }
        args.json.as_deref().map_or(Ok(()), files::check_file)?;
        args.plot.as_deref().map_or(Ok(()), files::check_file)?;
        let device = args.device.open()?;
        let study_dtype = if args.error_curve { args.dtype.on(&device)? } else { DType::F32 };
        Ok(Self { device, study_dtype, maml, test_maml })
    }

    fn train(&self, args: &Arguments, mut net: Mlp) -> Result<Trained, Failure> {
        let tasks = Sinusoids { seed: args.seed, shot: args.shot, query: args.query };
        // Burn's own default for epsilon is 1e-5; MAML and its successors train with 1e-8.
        let mut optim = AdamConfig::new().with_epsilon(1e-8).init();
        let mut log = TrainingLog::new(args.iterations);
        let mut resident_bytes_at = Map::new();
        for iteration in 1..=args.iterations {
            let task = |index| tasks.task(Purpose::Training, iteration as u64, index, (&self.device, DType::F32));
            let batch: Vec<Task<Batch>> = (0..args.meta_batch as u64).map(task).collect();
            let step = self.maml.meta_gradient(&net, &batch, loss);
            let step = step.map_err(|error| Failure::from(error).at(format!("meta-step {iteration}")))?;
            log.watch(&step.report);
            log.add(step.query_loss(), None);
            net = optim.step(args.meta_lr, net, step.grads);
            if MEMORY_AT.contains(&iteration) {
                resident_bytes_at.insert(iteration.to_string(), memory::resident_bytes().into());
            }
        }
        Ok(Trained { net, points: log.finish(), resident_bytes_at })
    }

    /// Query losses before and after adaptation.
    fn test(&self, args: &Arguments, net: &Mlp) -> Result<(Summary, Summary), Failure> {
        let tasks = Sinusoids { seed: args.test_seed, shot: args.shot, query: args.query };
        let start = Params::from_module(net)?;
        let task = |index| tasks.task(Purpose::Test, 0, index, (&self.device, DType::F32));
        let tasks: Vec<Task<Batch>> = (0..args.test_tasks.into()).map(task).collect();
        let traced = trace(net, &tasks[0].query, loss)?;
        let unadapted = tasks.iter().map(|task| finite(&traced.value(&start, &task.query)?.0));
        let before: Vec<f64> = unadapted.collect::<Result<_, _>>()?;
        let adapted = self.test_maml.evaluate_all(net, &tasks, loss);
        let adapted = adapted.map_err(|error| Failure::from(error).at("test"))?;
        let after: Vec<f64> = adapted.iter().map(|task| task.losses.query).collect();
        Ok((Summary::of(&before), Summary::of(&after)))
    }

    fn study(&self, args: &Arguments, net: &Mlp) -> Result<Vec<Point>, Failure> {
        let tasks = Sinusoids { seed: args.test_seed, shot: args.shot, query: args.query };
        let on = (&self.device, self.study_dtype);
        let tasks: Vec<_> =
            (0..args.curve_tasks.into()).map(|index| tasks.task(Purpose::Study, 0, index, on)).collect();
        let net = burn_func::cast(net, self.study_dtype);
        error_curve(&net, &tasks, args.curve_batch, &self.maml.config().inner, loss)
    }
}
