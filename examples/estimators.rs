//! Measures the meta-gradient estimators against the exact meta-gradient, from inner steps that are small against the
//! curvature to such that diverge.
//!
//! `cargo run --release --example estimators -- --problem sinusoid --plot estimators.svg`

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use burn::module::Module;
use burn::optim::AdamConfig;
use burn::tensor::{DType, Device, Int, Tensor};
use burn_func::{Batch, cast};
use burn_meta::models::{Cnn4, Cnn4Config, Mlp, MlpConfig, cross_entropy, mean_squared_error};
use burn_meta::{Estimator, InnerLoopConfig, MamlConfig, Task};
use clap::{Parser, ValueEnum};
use common::arguments::{Screen, count, note, parse, positive};
use common::characters::Characters;
use common::device::{DeviceName, Precision};
use common::document::Document;
use common::error_curve::Point;
use common::failure::{Failure, exit};
use common::families::{Contender, FAMILIES, contenders};
use common::files;
use common::landscape::{Landscapes, height, origin};
use common::panels::{self, Axes, Curve, Panel};
use common::plot::{COLOURS, Labels};
use common::progress::TrainingLog;
use common::seed::seeded;
use common::sinusoids::{self, Purpose, Sinusoids};
use common::study::{Budget, Measured, Row, StepSize, best_table, loops_table, measure, table};
use common::tolerances;
use fewshot_data::{Episode, EpisodeSpec, Episodes, ImageClasses};
use serde::Serialize;
use serde_json::json;

/// Measure how far each estimator's meta-gradient is from the exact one, for how many Hessian-vector products.
///
/// What decides is the reach: the inner learning rate times the largest curvature that the inner loop meets. For each reach
/// every task gets the rate that leads to it; all estimators read the same inner loop. The families: truncated
/// (the last L steps), binomial (all terms of up to L Hessians, exact and scaled rate), hybrid (the same over the last four
/// fifths of the steps), fitted (the same about a fit of one step's Hessian, by 1 or 4 products), frozen (one Hessian for all steps) and segments (2, 3 or 5 of them).
/// On two cores the defaults take seconds, and two minutes for characters.
#[derive(Parser, Clone, Debug, Serialize)]
#[command(version)]
struct Arguments {
    /// What the inner loop descends
    #[arg(long, value_enum, default_value = "sinusoid")]
    problem: Problem,

    /// Inner steps K
    #[arg(long, value_name = "K", default_value = "5", value_parser = count)]
    inner_steps: usize,

    /// Reaches to measure at: rate times largest curvature; gradient descent on a parabola diverges above 2
    #[arg(long, value_name = "X", num_args = 1.., default_values = ["0.01", "0.03", "0.1", "0.3", "1", "3"], value_parser = positive)]
    reach: Vec<f64>,

    /// Inner learning rates to measure at instead
    #[arg(long, value_name = "RATE", num_args = 1.., conflicts_with = "reach", value_parser = positive)]
    rate: Vec<f64>,

    /// Largest order or degree; truncated goes on to K [default: K, or 8 if that is less]
    #[arg(long, value_name = "L")]
    order: Option<usize>,

    /// Tasks to measure on, at least 2 [default: 30; characters: 10]
    #[arg(long, value_name = "TASKS", value_parser = clap::value_parser!(u32).range(2..=1_000_000))]
    tasks: Option<u32>,

    /// Measure whether the adaptive estimator keeps the tolerances it is asked for, instead of comparing families
    #[arg(long, conflicts_with_all = ["plot", "order"])]
    adaptive: bool,

    /// Relative errors to ask it for
    #[arg(long, value_name = "ERROR", num_args = 1.., requires = "adaptive", default_values = ["1e-1", "1e-2", "1e-3", "1e-4", "1e-6"], value_parser = positive)]
    tolerance: Vec<f64>,

    /// Meta-steps of training before the measurement, with the exact meta-gradient; 0 measures the network as initialised
    #[arg(long, value_name = "N", default_value = "0")]
    iterations: usize,

    /// Inner learning rate of that training
    #[arg(long, value_name = "RATE", default_value = "0.01", value_parser = positive)]
    train_lr: f64,

    /// Learning rate of its meta-steps, by Adam
    #[arg(long, value_name = "RATE", default_value = "1e-3", value_parser = positive)]
    meta_lr: f64,

    /// Its tasks per meta-step [default: 25; characters: 8]
    #[arg(long, value_name = "TASKS", value_parser = count)]
    meta_batch: Option<usize>,

    /// Support points of a sinusoid task (as many queries), or support images per class (five queries)
    /// [default: 10; characters: 1]
    #[arg(long, value_parser = count)]
    shot: Option<usize>,

    /// Omniglot zip archives, or directories of them, for characters [default: characters drawn on the spot]
    #[arg(long, value_name = "FILE|DIR", num_args = 1..)]
    data: Vec<PathBuf>,

    /// Filters of each convolution, for characters
    #[arg(long, default_value = "16", value_parser = clap::value_parser!(u16).range(1..=1024))]
    filters: u16,

    /// Parameters of a quadratic
    #[arg(long, value_name = "N", default_value = "100", value_parser = clap::value_parser!(u16).range(2..=2000))]
    dimension: u16,

    /// Curvature of a quadratic that changes along the way, of the largest there is
    #[arg(long, default_value = "0.3", value_parser = positive)]
    drift: f64,

    /// Precision to measure in; training is in single precision
    #[arg(long, value_enum, default_value = "f64")]
    dtype: Precision,

    /// Draw median errors against what --against says, one panel for each step size, as an SVG picture
    #[arg(long, value_name = "FILE.svg")]
    #[serde(skip)]
    plot: Option<PathBuf>,

    /// What the picture's horizontal axis is
    #[arg(long, value_enum, default_value = "products", requires = "plot")]
    #[serde(skip)]
    against: Against,

    /// Tasks in work at a time [default: the number of cores]; the results do not depend on it
    #[arg(long, value_name = "N", value_parser = count)]
    #[serde(skip)]
    threads: Option<usize>,

    /// Seed of initial weights and tasks
    #[arg(long, default_value = "0")]
    seed: u64,

    /// Where to compute
    #[arg(long, value_enum, default_value = "flex")]
    device: DeviceName,

    /// Write settings and results as JSON; `-` is standard output, and what else would stand there goes to standard error
    #[arg(long, value_name = "FILE")]
    #[serde(skip)]
    json: Option<PathBuf>,
}

/// What the inner loop descends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
enum Problem {
    /// Random quadratics with spectra like those of networks, whose curvature drifts along the way.
    Quadratic,
    /// A 1-40-40-1 network on sine waves, known at a few points.
    Sinusoid,
    /// A four-block convolutional network on 5-way tasks of handwritten characters.
    Characters,
}

/// What error is drawn against.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Against {
    /// Hessian-vector products.
    Products,
    /// Products in sequence.
    Depth,
    /// Steps whose residuals are kept.
    Kept,
    /// Order L; of segments the number of products.
    Order,
}

/// Classes of a task of characters, and its queries per class.
const WAY: usize = 5;
const QUERIES: usize = 5;

/// Characters to draw where there are no files.
const GLYPHS: usize = 200;

/// The largest order that is compared if nothing is said: what is worth its products lies below.
const ORDERS: usize = 8;

fn main() -> ExitCode {
    exit(parse().and_then(run))
}

fn run(args: Arguments) -> Result<(), Failure> {
    let study = Study::prepare(&args)?;
    let screen = Screen::new(args.json.as_deref());
    let started = Instant::now();
    let measured = match args.problem {
        Problem::Quadratic => study.quadratic(),
        Problem::Sinusoid => study.sinusoid(),
        Problem::Characters => study.characters(),
    }?;
    let seconds = started.elapsed().as_secs_f64();
    let results =
        if args.adaptive { study.tolerances(&measured, screen) } else { study.families(&measured, screen)? };
    if let Some(path) = &args.json {
        let mut settings = serde_json::to_value(&args).map_err(Failure::failed)?;
        settings["tasks"] = study.tasks().into();
        Document::new("estimators", settings, results).with_timing("seconds", seconds).write(path)?;
    }
    note(format!("took {seconds:.1} s"));
    Ok(())
}

/// Everything a run needs, checked before it begins.
struct Study<'a> {
    args: &'a Arguments,
    device: Device,
    dtype: DType,
    step_sizes: Vec<StepSize>,
    contenders: Vec<Contender>,
    estimators: Vec<Estimator>,
    maml: MamlConfig,
}

impl<'a> Study<'a> {
    fn prepare(args: &'a Arguments) -> Result<Self, Failure> {
        if args.problem == Problem::Quadratic && args.iterations > 0 {
            return Err(Failure::usage("--iterations: there is nothing to train in --problem quadratic"));
        }
        if args.problem != Problem::Characters && !args.data.is_empty() {
            return Err(Failure::usage("--data belongs to --problem characters"));
        }
        let inner = InnerLoopConfig::new(args.train_lr).with_steps(args.inner_steps);
        let maml = MamlConfig::new(inner, Estimator::Exact).with_threads(args.threads);
        args.json.as_deref().map_or(Ok(()), files::check_file)?;
        args.plot.as_deref().map_or(Ok(()), files::check_file)?;
        let device = args.device.open()?;
        let dtype = args.dtype.on(&device)?;
        let step_sizes = match &args.rate[..] {
            [] => args.reach.iter().map(|&reach| StepSize::Reach(reach)).collect(),
            rates => rates.iter().map(|&rate| StepSize::Rate(rate)).collect(),
        };
        let contenders = contenders(args.inner_steps, args.order.unwrap_or(ORDERS));
        let estimators = if args.adaptive {
            tolerances::estimators(&args.tolerance)
        } else {
            contenders.iter().map(|contender| contender.estimator).collect()
        };
        Ok(Self { args, device, dtype, step_sizes, contenders, estimators, maml })
    }

    fn tasks(&self) -> u64 {
        let default = if self.args.problem == Problem::Characters { 10 } else { 30 };
        self.args.tasks.unwrap_or(default).into()
    }

    fn quadratic(&self) -> Result<Vec<Measured>, Failure> {
        let n = self.args.dimension.into();
        let landscapes = Landscapes { seed: self.args.seed, dimension: n, drift: self.args.drift };
        let tasks: Vec<_> = (0..self.tasks()).map(|index| landscapes.task(index, (&self.device, self.dtype))).collect();
        self.measure(&origin(n, &self.device), &tasks, height)
    }

    fn sinusoid(&self) -> Result<Vec<Measured>, Failure> {
        let shot = self.args.shot.unwrap_or(10);
        let tasks = Sinusoids { seed: self.args.seed, shot, query: shot };
        let loss = |net: &Mlp, (x, y): sinusoids::Batch| mean_squared_error(net.forward(x), y);
        let net = seeded(self.args.seed, &self.device, |device| MlpConfig::new(vec![1, 40, 40, 1]).init(device))?;
        let on = (&self.device, DType::F32);
        let batch =
            |step: u64, n: u64| Ok((0..n).map(|index| tasks.task(Purpose::Training, step, index, on)).collect());
        let net = self.train(net, 25, batch, loss)?;
        let on = (&self.device, self.dtype);
        let tasks: Vec<_> = (0..self.tasks()).map(|index| tasks.task(Purpose::Study, 0, index, on)).collect();
        self.measure(&net, &tasks, loss)
    }

    fn characters(&self) -> Result<Vec<Measured>, Failure> {
        let args = self.args;
        let Characters { train, test, held_out } = Characters::load(&args.data, &[], GLYPHS, true)?;
        note(format!("measured on tasks of the {held_out}"));
        let spec = EpisodeSpec::new(WAY, args.shot.unwrap_or(1), QUERIES);
        let (for_training, for_study) =
            (Episodes::new(&train, spec, args.seed)?, Episodes::new(&test, spec, args.seed)?);
        let [channels, side, _] = train.shape();
        let model = Cnn4Config::new(channels, side, WAY).with_hidden(args.filters.into());
        let net = seeded(args.seed, &self.device, |device| model.init(device))?;
        let loss = |net: &Cnn4, (images, labels): Images| cross_entropy(net.forward(images), labels);
        let batch = |step: u64, n: u64| {
            (0..n).map(|index| self.task(&for_training.get((step - 1) * n + index), &train, DType::F32)).collect()
        };
        let net = self.train(net, 8, batch, loss)?;
        let tasks = (0..self.tasks()).map(|index| self.task(&for_study.get(index), &test, self.dtype));
        self.measure(&net, &tasks.collect::<Result<Vec<_>, _>>()?, loss)
    }

    fn task(&self, episode: &Episode, data: &ImageClasses, dtype: DType) -> Result<Task<Images>, Failure> {
        let support = episode.support_batch(data, &self.device)?;
        let query = episode.query_batch(data, &self.device)?;
        Ok(Task {
            support: (support.images.cast(dtype), support.labels),
            query: (query.images.cast(dtype), query.labels),
        })
    }

    /// Meta-trains by the exact meta-gradient; meta-steps are counted from 1.
    fn train<M: Module, B: Batch>(
        &self,
        mut net: M,
        default_batch: usize,
        batch: impl Fn(u64, u64) -> Result<Vec<Task<B>>, Failure>,
        loss: impl Fn(&M, B) -> Tensor<1>,
    ) -> Result<M, Failure> {
        let args = self.args;
        let maml = self.maml.init()?;
        // Burn's own default for epsilon is 1e-5; MAML and its successors train with 1e-8.
        let mut optim = AdamConfig::new().with_epsilon(1e-8).init();
        let mut log = TrainingLog::new(args.iterations);
        for iteration in 1..=args.iterations {
            let tasks = batch(iteration as u64, args.meta_batch.unwrap_or(default_batch) as u64)?;
            let step = maml.meta_gradient(&net, &tasks, &loss);
            let step = step.map_err(|error| Failure::from(error).at(format!("meta-step {iteration}")))?;
            log.add(step.query_loss(), None);
            net = optim.step(args.meta_lr, net, step.grads);
        }
        log.finish();
        Ok(net)
    }

    fn measure<M: Module, B: Batch>(
        &self,
        net: &M,
        tasks: &[Task<B>],
        loss: impl Fn(&M, B) -> Tensor<1>,
    ) -> Result<Vec<Measured>, Failure> {
        let net = cast(net, self.dtype);
        note(format!(
            "{} tasks, {} inner step(s), {} estimators",
            tasks.len(),
            self.args.inner_steps,
            self.estimators.len()
        ));
        measure((&net, tasks, loss), self.args.inner_steps, &self.step_sizes, &self.estimators, self.args.threads)
    }

    fn tolerances(&self, measured: &[Measured], screen: Screen) -> serde_json::Value {
        let rows = tolerances::kept(measured, &self.args.tolerance);
        screen.result("adaptive estimator: relative error asked for and made, order and products it took (means)\n");
        screen.result(tolerances::table(&rows));
        json!({ "tolerances": rows })
    }

    fn families(&self, measured: &[Measured], screen: Screen) -> Result<serde_json::Value, Failure> {
        let steps = self.args.inner_steps;
        let rows: Vec<Row> = measured.iter().map(|at| Row::of(at, &self.contenders, steps)).collect();
        if let Some(path) = &self.args.plot {
            files::write(path, &self.picture(&rows)?)?;
        }
        screen.result("median relative error of the meta-gradient\n");
        screen.result(table(&rows));
        screen.result(
            "\nthe inner loops: medians of rate, reach, and relative change of the Hessian along the query gradient\n",
        );
        screen.result(loops_table(&rows));
        for (budget, words) in [
            (Budget::Products, "products"),
            (Budget::Depth, "products in sequence"),
            (Budget::Kept, "steps that keep residuals"),
        ] {
            screen.result(format_args!("\nthe least median error with at most so many {words} (exact: {steps})\n"));
            screen.result(best_table(&rows, budget, steps));
        }
        Ok(json!({ "step_sizes": rows }))
    }

    fn picture(&self, rows: &[Row]) -> Result<String, Failure> {
        let args = self.args;
        let panels: Vec<Panel> = rows.iter().map(|row| panel(row, args.inner_steps, args.against)).collect();
        let (words, mark) = match args.against {
            Against::Products => ("Hessian-vector products", "exact"),
            Against::Depth => ("products in sequence", "exact"),
            Against::Kept => ("steps that keep their residuals", "all steps"),
            Against::Order => ("order L", "L = K"),
        };
        let axes = Axes {
            x: words.into(),
            y: "relative error".into(),
            level: "first-order".into(),
            mark: (args.inner_steps as f64, mark.into()),
        };
        let problem = match args.problem {
            Problem::Quadratic => "quadratics with drifting curvature".into(),
            Problem::Sinusoid => format!("sinusoid regression, 1-40-40-1, after {} meta-steps", args.iterations),
            Problem::Characters => {
                format!(
                    "{WAY}-way characters, CNN4 with {} filters, after {} meta-steps",
                    args.filters, args.iterations
                )
            }
        };
        let labels = Labels {
            title: format!("Error of the meta-gradient against {words}, K = {}", args.inner_steps),
            subtitle: format!("{problem}; median over {} tasks", self.tasks()),
        };
        panels::svg(&panels, &axes, &labels).map_err(Failure::failed)
    }
}

/// Images `[n, 1, 28, 28]` and their labels `[n]`.
type Images = (Tensor<4>, Tensor<1, Int>);

/// Order K, where all that have it are exact, is left out.
fn panel(row: &Row, steps: usize, against: Against) -> Panel {
    let x = |point: &Point| match against {
        Against::Products => point.products,
        Against::Depth => point.depth,
        Against::Kept => point.reads,
        Against::Order => point.order,
    };
    let of = |family: &str| {
        let points = row.points.iter().filter(|point| point.estimator == family && point.order < steps);
        let mut points: Vec<(f64, f64)> = points.map(|point| (x(point) as f64, point.relative_error.median)).collect();
        // Of those that take the same, as all that read every step do, the closest.
        if against == Against::Kept {
            points.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
            points.dedup_by_key(|point| point.0);
        }
        points
    };
    let curves = FAMILIES.iter().zip(COLOURS);
    let curves = curves.map(|(family, colour)| Curve { name: family.name, colour, points: of(family.name) });
    let curves = curves.filter(|curve| !curve.points.is_empty()).collect();
    let first_order = row.points.iter().find(|point| point.products == 0);
    let title = match row.step_size {
        StepSize::Reach(reach) => format!("rate x curvature = {reach}"),
        StepSize::Rate(rate) => format!("rate {rate}, times curvature {:.2}", row.loops.reach.median),
    };
    Panel { title, curves, level: first_order.map_or(0.0, |point| point.relative_error.median) }
}
