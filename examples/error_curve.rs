//! How far each estimator's meta-gradient is from the exact one, by order, on sinusoid regression: what Figure 3 of the binomial
//! paper shows.
//!
//! `cargo run --release --example error_curve -- --plot errors.svg`

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use burn::optim::AdamConfig;
use burn::tensor::{DType, Device, Tensor};
use burn_meta::models::{Mlp, MlpConfig, mean_squared_error};
use burn_meta::{InnerLoopConfig, Maml, MamlConfig, Task};
use clap::Parser;
use common::arguments::{EstimatorArgs, Screen, count, describe, note, parse, positive};
use common::device::{DeviceName, Precision};
use common::document::Document;
use common::error_curve::{Point, error_curve, table};
use common::failure::{Failure, exit};
use common::files;
use common::plot::{Labels, svg};
use common::progress::{TrainingLog, TrainingPoint};
use common::seed::seeded;
use common::sinusoids::{Batch, Purpose, Sinusoids};
use serde::Serialize;
use serde_json::json;

/// Meta-train a 1-40-40-1 network to fit sine waves from a few points, and hold the estimators of every order against the exact
/// meta-gradient at the parameters reached.
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

    /// Tasks per meta-step
    #[arg(long, value_name = "TASKS", default_value = "25", value_parser = count)]
    meta_batch: usize,

    /// Learning rate of the meta-step, by Adam
    #[arg(long, value_name = "RATE", default_value = "1e-3", value_parser = positive)]
    meta_lr: f64,

    /// Meta-steps; 0 leaves the network as it was initialised (MAML: 70000)
    #[arg(long, value_name = "N", default_value = "1000")]
    iterations: usize,

    /// Tasks to compare them on, at least 2 mini-batches of them
    #[arg(long, value_name = "TASKS", default_value = "100", value_parser = clap::value_parser!(u32).range(2..=1_000_000))]
    tasks: u32,

    /// Tasks of a mini-batch: its meta-gradients are compared, the mean over its tasks
    #[arg(long, value_name = "TASKS", default_value = "1", value_parser = count)]
    batch: usize,

    /// Precision to compare them in; training is in single precision
    #[arg(long, value_enum, default_value = "f64")]
    dtype: Precision,

    /// Draw the comparison as an SVG picture
    #[arg(long, value_name = "FILE.svg")]
    #[serde(skip)]
    plot: Option<PathBuf>,

    /// Tasks in work at a time [default: the number of cores]; the results do not depend on it
    #[arg(long, value_name = "N", value_parser = count)]
    #[serde(skip)]
    threads: Option<usize>,

    /// Seed of the initial weights and of the training tasks
    #[arg(long, default_value = "0")]
    seed: u64,

    /// Seed of the tasks of the comparison
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
    let (net, training) = run.train(&args, net)?;
    let training_seconds = started.elapsed().as_secs_f64();
    note(format!("training took {training_seconds:.1} s"));
    let started = Instant::now();
    let curve = run.study(&args, &net)?;

    if let Some(path) = &args.plot {
        let labels = Labels {
            title: format!("Meta-gradient estimators, K = {} inner steps of {}", args.inner_steps, args.inner_lr),
            subtitle: format!(
                "sinusoid regression after {} meta-steps; median over {} {}, bars: 10th to 90th percentile; exact at L = K",
                args.iterations,
                args.tasks as usize / args.batch,
                if args.batch == 1 { "tasks".into() } else { format!("mini-batches of {}", args.batch) },
            ),
        };
        let picture = svg(&curve, args.inner_steps, &labels).map_err(Failure::failed)?;
        files::write(path, &picture)?;
    }
    if let Some(path) = &args.json {
        let mut settings = serde_json::to_value(&args).map_err(Failure::failed)?;
        settings["estimator"] = serde_json::to_value(estimator).map_err(Failure::failed)?;
        settings["proximal"] = args.estimator.proximal.into();
        let results = json!({ "training": training, "error_curve": curve });
        Document::new("error_curve", settings, results)
            .with_timing("training_seconds", training_seconds)
            .with_timing("error_curve_seconds", started.elapsed().as_secs_f64())
            .write(path)?;
    }
    screen.result(
        "relative error of the meta-gradient by order L; products, products in sequence, steps kept for them\n",
    );
    screen.result(table(&curve));
    Ok(())
}

/// Everything a run needs, checked before it begins.
struct Run {
    device: Device,
    study_dtype: DType,
    maml: Maml,
}

fn loss(net: &Mlp, (x, y): Batch) -> Tensor<1> {
    mean_squared_error(net.forward(x), y)
}

impl Run {
    fn prepare(args: &Arguments) -> Result<Self, Failure> {
        let inner = args.estimator.inner(InnerLoopConfig::new(args.inner_lr).with_steps(args.inner_steps));
        let estimator = args.estimator.estimator(args.inner_steps)?;
        if args.estimator.proximal.is_some() {
            return Err(Failure::usage("--proximal: estimators are compared for plain gradient descent inside"));
        }
        let maml = MamlConfig::new(inner, estimator).with_threads(args.threads).init()?;
        if (args.tasks as usize) < 2 * args.batch {
            return Err(Failure::usage("--tasks: at least 2 mini-batches of --batch tasks are needed"));
        }
        args.json.as_deref().map_or(Ok(()), files::check_file)?;
        args.plot.as_deref().map_or(Ok(()), files::check_file)?;
        let device = args.device.open()?;
        let study_dtype = args.dtype.on(&device)?;
        Ok(Self { device, study_dtype, maml })
    }

    fn train(&self, args: &Arguments, mut net: Mlp) -> Result<(Mlp, Vec<TrainingPoint>), Failure> {
        let tasks = Sinusoids { seed: args.seed, shot: args.shot, query: args.query };
        // Burn's own default for epsilon is 1e-5; MAML and its successors train with 1e-8.
        let mut optim = AdamConfig::new().with_epsilon(1e-8).init();
        let mut log = TrainingLog::new(args.iterations);
        for iteration in 1..=args.iterations {
            let task = |index| tasks.task(Purpose::Training, iteration as u64, index, (&self.device, DType::F32));
            let batch: Vec<Task<Batch>> = (0..args.meta_batch as u64).map(task).collect();
            let step = self.maml.meta_gradient(&net, &batch, loss);
            let step = step.map_err(|error| Failure::from(error).at(format!("meta-step {iteration}")))?;
            log.watch(&step.report);
            log.add(step.query_loss(), None);
            net = optim.step(args.meta_lr, net, step.grads);
        }
        Ok((net, log.finish()))
    }

    fn study(&self, args: &Arguments, net: &Mlp) -> Result<Vec<Point>, Failure> {
        let tasks = Sinusoids { seed: args.test_seed, shot: args.shot, query: args.query };
        let on = (&self.device, self.study_dtype);
        let tasks: Vec<_> = (0..args.tasks.into()).map(|index| tasks.task(Purpose::Study, 0, index, on)).collect();
        let net = burn_func::cast(net, self.study_dtype);
        error_curve(&net, &tasks, args.batch, &self.maml.config().inner, loss)
    }
}
