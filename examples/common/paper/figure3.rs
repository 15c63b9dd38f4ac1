//! Figure 3: how far meta-gradients are from the exact one on sinusoid regression, along training and against the order.
//!
//! Does not know: how estimators are compared (`error_curve`).

use std::time::Instant;

use burn::optim::AdamConfig;
use burn::tensor::{DType, Device, Tensor};
use burn_func::{Params, cast, trace};
use burn_meta::models::{Mlp, MlpConfig, mean_squared_error};
use burn_meta::{Estimator, InnerLoopConfig, MamlConfig, Task};
use clap::Args;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::output::{Output, OutputArgs, table};
use crate::arguments::{count, note, positive};
use crate::chart::{Axis, Chart, Curve, Panel, Scale};
use crate::comparison::Trial;
use crate::device::DeviceName;
use crate::error_curve::{Point, error_trials};
use crate::failure::Failure;
use crate::families::{Contender, FAMILIES, contenders};
use crate::plot::COLOURS;
use crate::progress::bar;
use crate::seed::seeded;
use crate::sinusoids::{Batch, Purpose, Sinusoids};
use crate::statistics::Distribution;
use crate::unrolling::Adaptable;

/// Relative error of every estimator's meta-gradient on sinusoid regression with K = 5: along meta-training (by the exact
/// meta-gradient), and against the order L on the network as initialised and as trained. All estimators read the same inner loops,
/// in double precision.
#[derive(Args, Clone, Debug)]
pub struct Figure3Args {
    #[command(flatten)]
    pub(super) output: OutputArgs,

    /// Inner steps K
    #[arg(long, value_name = "K", default_value = "5", value_parser = clap::value_parser!(u8).range(2..=20))]
    inner_steps: u8,

    /// Inner learning rate
    #[arg(long, value_name = "RATE", default_value = "0.01", value_parser = positive)]
    inner_lr: f64,

    /// Orders L to follow along training, divided by commas
    #[arg(long, value_name = "L", default_value = "1,2,4", value_delimiter = ',', value_parser = count)]
    orders: Vec<usize>,

    /// Meta-steps of training [default: 500; with --full 70000, as MAML: the paper's number is not known to us]
    #[arg(long, value_name = "N", value_parser = count)]
    iterations: Option<usize>,

    /// Mini-batches that errors are measured on, at least 2 [default: 10; with --full 100]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(2..=1_000_000))]
    batches: Option<u32>,

    /// Tasks of a mini-batch [default: 4; with --full 25]
    #[arg(long, value_name = "TASKS", value_parser = count)]
    batch: Option<usize>,

    /// Networks, each with initial weights and tasks of its own [default: 1; with --full 3]
    #[arg(long, value_name = "N", value_parser = count)]
    seeds: Option<usize>,

    /// Places along training to measure at, beside the beginning
    #[arg(long, value_name = "N", default_value = "10", value_parser = count)]
    places: usize,
}

/// The settings in full.
#[derive(Clone, Debug, Serialize)]
struct Settings {
    network: &'static str,
    shot: usize,
    query: usize,
    inner_steps: usize,
    inner_lr: f64,
    orders: Vec<usize>,
    iterations: usize,
    meta_batch: usize,
    meta_lr: f64,
    batches: usize,
    batch: usize,
    seeds: Vec<u64>,
    places: usize,
}

impl Figure3Args {
    pub(super) fn new(output: OutputArgs) -> Self {
        Self {
            output,
            inner_steps: 5,
            inner_lr: 0.01,
            orders: vec![1, 2, 4],
            iterations: None,
            batches: None,
            batch: None,
            seeds: None,
            places: 10,
        }
    }

    fn settings(&self) -> Result<Settings, Failure> {
        let steps = self.inner_steps.into();
        if let Some(order) = self.orders.iter().find(|order| **order >= steps) {
            return Err(Failure::usage(format!(
                "--orders {order}: with {steps} inner steps that is exact; expected less"
            )));
        }
        let of = |quick: usize, full: usize| if self.output.full { full } else { quick };
        Ok(Settings {
            network: "1-40-40-1, ReLU",
            shot: 10,
            query: 10,
            inner_steps: steps,
            inner_lr: self.inner_lr,
            orders: self.orders.clone(),
            iterations: self.iterations.unwrap_or(of(500, 70_000)),
            meta_batch: 25,
            meta_lr: 1e-3,
            batches: self.batches.map_or(of(10, 100), |batches| batches as usize),
            batch: self.batch.unwrap_or(of(4, 25)),
            seeds: (0..self.seeds.unwrap_or(of(1, 3)) as u64).collect(),
            places: self.places,
        })
    }
}

/// Errors at one place of training.
#[derive(Clone, Debug, Serialize)]
struct Place {
    iteration: usize,
    /// Inner rate times the largest norm of a Hessian along the inner loop, over the first tasks.
    reach: Distribution,
    points: Vec<Point>,
}

/// What one network measures at a place: trials of every contender, and reaches.
type Trials = (Vec<Vec<Trial>>, Vec<f64>);

/// Tasks whose reach is looked at.
const REACHES: usize = 10;

/// The figure.
pub(super) fn run(args: &Figure3Args) -> Result<(), Failure> {
    let settings = args.settings()?;
    args.output.prepare()?;
    let device = DeviceName::Flex.open()?;
    let started = Instant::now();
    let study = Study { settings: &settings, device, threads: args.output.threads };
    let places = study.places()?;
    let seconds = started.elapsed().as_secs_f64();
    let results = json!({ "places": places });
    let timing = Map::from_iter([("seconds".to_owned(), Value::from(seconds))]);
    Output {
        name: "figure3",
        title: "Figure 3: error of the meta-gradient on sinusoid regression".into(),
        markdown: markdown(&settings, &places),
        chart: Some(chart(&settings, &places)),
        settings: serde_json::to_value(&settings).map_err(Failure::failed)?,
        results,
        timing,
    }
    .write(&args.output)
}

struct Study<'a> {
    settings: &'a Settings,
    device: Device,
    threads: Option<usize>,
}

fn loss(net: &Mlp, (x, y): Batch) -> Tensor<1> {
    mean_squared_error(net.forward(x), y)
}

impl Study<'_> {
    fn inner(&self) -> InnerLoopConfig {
        InnerLoopConfig::new(self.settings.inner_lr).with_steps(self.settings.inner_steps)
    }

    /// At the beginning, at the end, and evenly between them.
    fn iterations(&self) -> Vec<usize> {
        let Settings { iterations, places, .. } = self.settings;
        let mut all: Vec<usize> = (0..=*places).map(|place| iterations * place / places).collect();
        all.dedup();
        all
    }

    fn places(&self) -> Result<Vec<Place>, Failure> {
        let steps = self.settings.inner_steps;
        let contenders = contenders(steps, steps);
        let at = self.iterations();
        let mut trials: Vec<Trials> = vec![(vec![Vec::new(); contenders.len()], Vec::new()); at.len()];
        for &seed in &self.settings.seeds {
            for ((all, reaches), (more, reach)) in trials.iter_mut().zip(self.one(seed, &at, &contenders)?) {
                all.iter_mut().zip(more).for_each(|(all, more)| all.extend(more));
                reaches.extend(reach);
            }
        }
        let place = |(&iteration, (trials, reaches)): (&usize, Trials)| {
            let points = contenders.iter().zip(&trials).map(|(contender, trials)| Point::of(*contender, steps, trials));
            Place { iteration, reach: Distribution::of(&reaches), points: points.collect() }
        };
        Ok(at.iter().zip(trials).map(place).collect())
    }

    /// One network: trials of every contender, at every place.
    fn one(&self, seed: u64, at: &[usize], contenders: &[Contender]) -> Result<Vec<Trials>, Failure> {
        let Settings { shot, query, iterations, meta_batch, meta_lr, .. } = *self.settings;
        let tasks = Sinusoids { seed, shot, query };
        let maml = MamlConfig::new(self.inner(), Estimator::Exact).with_threads(self.threads).init()?;
        // Burn's own default for epsilon is 1e-5; MAML and its successors train with 1e-8.
        let mut optim = AdamConfig::new().with_epsilon(1e-8).init();
        let mut net = seeded(seed, &self.device, |device| MlpConfig::new(vec![1, 40, 40, 1]).init(device))?;
        let bar = bar(iterations, "training");
        let mut measured = Vec::new();
        for iteration in 0..=iterations {
            if at.contains(&iteration) {
                measured.push(self.measure(&net, &tasks, contenders)?);
                note(format!("seed {seed}: errors measured after meta-step {iteration} of {iterations}"));
            }
            if iteration < iterations {
                let on = (&self.device, DType::F32);
                let task = |index| tasks.task(Purpose::Training, iteration as u64 + 1, index, on);
                let batch: Vec<Task<Batch>> = (0..meta_batch as u64).map(task).collect();
                let step = maml.meta_gradient(&net, &batch, loss);
                let step =
                    step.map_err(|error| Failure::from(error).at(format!("seed {seed}, meta-step {iteration}")))?;
                net = optim.step(meta_lr, net, step.grads);
                bar.inc(1);
            }
        }
        bar.finish_and_clear();
        Ok(measured)
    }

    fn measure(&self, net: &Mlp, tasks: &Sinusoids, contenders: &[Contender]) -> Result<Trials, Failure> {
        let Settings { batches, batch, inner_steps, inner_lr, .. } = *self.settings;
        let on = (&self.device, DType::F64);
        let task = |index| tasks.task(Purpose::Study, 0, index, on);
        let tasks: Vec<Task<Batch>> = (0..(batches * batch) as u64).map(task).collect();
        let net = cast(net, DType::F64);
        let trials = error_trials(&net, &tasks, batch, &self.inner(), loss, (contenders, self.threads))?;
        let (support, query) = (trace(&net, &tasks[0].support, loss)?, trace(&net, &tasks[0].query, loss)?);
        let start = Params::from_module(&net)?;
        let reach = |task| {
            Adaptable { support: &support, query: &query, start: &start, task }.at_rate(inner_steps, inner_lr)?.reach()
        };
        Ok((trials, tasks.iter().take(REACHES).map(reach).collect::<Result<_, _>>()?))
    }
}

/// Rows of estimators, of the first place and the last.
fn markdown(settings: &Settings, places: &[Place]) -> String {
    let (Some(first), Some(last)) = (places.first(), places.last()) else { return String::new() };
    let head =
        ["estimator", "L", "products", "depth", "kept", "untrained: median", "90th p.", "trained: median", "90th p."];
    let rows: Vec<Vec<String>> = first
        .points
        .iter()
        .zip(&last.points)
        .map(|(untrained, trained)| {
            let counts =
                [untrained.order, untrained.products, untrained.depth, untrained.reads].map(|count| count.to_string());
            let errors = [untrained, trained].map(|point| [point.relative_error.median, point.relative_error.p90]);
            let errors = errors.into_iter().flatten().map(|error| format!("{error:.2e}"));
            std::iter::once(untrained.estimator.to_owned()).chain(counts).chain(errors).collect()
        })
        .collect();
    let Settings { inner_steps, inner_lr, iterations, batches, batch, seeds, .. } = settings;
    format!(
        "Relative error of the meta-gradient, `||estimate - exact|| / ||exact||`, over {batches} mini-batches of {batch} task(s) and \
         {} seed(s): K = {inner_steps} inner steps of {inner_lr}, untrained and after {iterations} meta-steps by the exact \
         meta-gradient. L of frozen and segments is their number of products; depth is products in sequence, kept the inner steps \
         whose residuals stay in memory. Inner rate times the largest norm of a Hessian along the inner loop, alpha H, which decides \
         who is close: {:.3} untrained, {:.3} trained (medians).\n\n{}",
        seeds.len(),
        first.reach.median,
        last.reach.median,
        table(&head.map(String::from), &rows)
    )
}

fn chart(settings: &Settings, places: &[Place]) -> Chart {
    let Settings { inner_steps, inner_lr, iterations, batches, batch, seeds, orders, .. } = settings;
    let along = orders.iter().enumerate().map(|(at, order)| along_training(at, *order, places));
    let ends = [(places.first(), "untrained".to_owned()), (places.last(), format!("after {iterations} meta-steps"))];
    let against = ends
        .into_iter()
        .enumerate()
        .filter_map(|(at, (place, title))| Some(against_order(orders.len() + at, &title, place?, *inner_steps)));
    Chart {
        title: format!("Error of the meta-gradient, sinusoid regression, K = {inner_steps} inner steps of {inner_lr}"),
        subtitle: vec![
            format!(
                "median over {batches} mini-batches of {batch} task(s), {} seed(s); bars: 10th to 90th percentile; exact at L = K; L of \
             frozen and segments: products",
                seeds.len()
            ),
            "alpha H: inner rate times the largest norm of a Hessian along the inner loop, median over tasks".into(),
        ],
        panels: along.chain(against).collect(),
        same_y: true,
    }
}

fn letter(at: usize) -> char {
    char::from(b'a' + at as u8 % 26)
}

fn along_training(at: usize, order: usize, places: &[Place]) -> Panel {
    let curve = |(family, colour): (&crate::families::Family, _)| {
        let of = |place: &Place| {
            let found = place.points.iter().find(|point| point.estimator == family.name && point.order == order)?;
            Some((place.iteration as f64, found.relative_error.median))
        };
        Curve::new(family.name, colour, places.iter().filter_map(of).collect())
    };
    let curves = FAMILIES.iter().zip(COLOURS).map(curve).filter(|curve| !curve.points.is_empty());
    Panel {
        title: format!("({}) along training, L = {order}", letter(at)),
        x: Axis::new("meta-steps", Scale::Linear),
        y: Axis::new("relative error", Scale::Log),
        curves: curves.collect(),
    }
}

/// Order K, where all that have it are exact, is left out.
fn against_order(at: usize, title: &str, place: &Place, steps: usize) -> Panel {
    let curves = FAMILIES.iter().zip(COLOURS).enumerate().map(|(nth, (family, colour))| {
        // Side by side, so that bars do not hide one another.
        let x = |point: &Point| point.order as f64 + 0.04 * (nth as f64 - 4.5);
        let of = || place.points.iter().filter(|point| point.estimator == family.name && point.order < steps);
        let points = of().map(|point| (x(point), point.relative_error.median)).collect();
        let bars = of().map(|point| (x(point), point.relative_error.p10, point.relative_error.p90)).collect();
        Curve::new(family.name, colour, points).with_bars(bars)
    });
    Panel {
        title: format!("({}) {title}", letter(at)),
        x: Axis::new("order L", Scale::Whole),
        y: Axis::new("relative error", Scale::Log),
        curves: curves.filter(|curve| !curve.points.is_empty()).collect(),
    }
}
