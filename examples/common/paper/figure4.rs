//! Figure 4: time, memory and parallel efficiency of every estimator against the order.
//!
//! Does not know: how a meta-step is timed (`cost`).

use clap::Args;
use serde_json::{Map, Value, json};

use super::cost::{Candidate, Cost, Measured, candidates, measure};
use super::output::{Output, OutputArgs, table};
use crate::arguments::{count, note};
use crate::chart::{Axis, CYCLE, Chart, Curve, Panel, Scale};
use crate::failure::Failure;

/// Time, memory and parallel efficiency of a meta-gradient against the order L, for every estimator, on the four-block network and
/// 5-way 1-shot tasks of random images with 15 queries a class. Times are medians of repeats that go round the estimators, on one
/// thread and on several; memory is the shapes' estimate, and the growth of the resident peak of a process of its own for each
/// estimator. Quick: 28 x 28 pixels, 16 filters; full: 84 x 84 in colour, 32 filters, as the paper.
#[derive(Args, Clone, Debug)]
pub struct Figure4Args {
    #[command(flatten)]
    pub(super) output: OutputArgs,

    /// Inner steps K
    #[arg(long, value_name = "K", default_value = "5", value_parser = clap::value_parser!(u8).range(2..=20))]
    inner_steps: u8,

    /// Height and width of the images, at least 16 [default: 28; with --full 84]
    #[arg(long, value_name = "PIXELS", value_parser = clap::value_parser!(u16).range(16..=512))]
    image_size: Option<u16>,

    /// Filters of each convolution [default: 16; with --full 32]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1024))]
    filters: Option<u16>,

    /// Query images of each class
    #[arg(long, value_name = "N", default_value = "15", value_parser = count)]
    train_queries: usize,

    /// Tasks of the meta-batch whose tasks are done side by side [default: 2; with --full 4]
    #[arg(long, value_name = "TASKS", value_parser = count)]
    meta_batch: Option<usize>,

    /// Times that everything is timed, after a first time that does not count [default: 5; with --full 9]
    #[arg(long, value_name = "N", value_parser = count)]
    repeats: Option<usize>,

    /// Leave the processes out that measure resident memory
    #[arg(long)]
    no_resident: bool,
}

impl Figure4Args {
    pub(super) fn new(output: OutputArgs) -> Self {
        Self {
            output,
            inner_steps: 5,
            image_size: None,
            filters: None,
            train_queries: 15,
            meta_batch: None,
            repeats: None,
            no_resident: false,
        }
    }

    fn cost(&self) -> Cost {
        let of = |quick: usize, full: usize| if self.output.full { full } else { quick };
        Cost {
            channels: of(1, 3),
            image_size: self.image_size.map_or(of(28, 84), usize::from),
            filters: self.filters.map_or(of(16, 32), usize::from),
            way: 5,
            shot: 1,
            query: self.train_queries,
            inner_steps: self.inner_steps.into(),
            inner_lr: 0.01,
            // The implicit estimator's: above the negative curvature of a network at its beginning. What it costs does not depend on it.
            proximal: 100.0,
            meta_batch: self.meta_batch.unwrap_or(of(2, 4)),
            seed: 0,
        }
    }
}

/// The figure.
pub(super) fn run(args: &Figure4Args) -> Result<(), Failure> {
    let cost = args.cost();
    args.output.prepare()?;
    let repeats = args.repeats.unwrap_or(if args.output.full { 9 } else { 5 });
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = args.output.threads.unwrap_or(cores);
    let candidates = candidates(cost.inner_steps);
    let measured = measure(&cost, &candidates, repeats, threads)?;
    let resident: Vec<Option<u64>> = if args.no_resident {
        vec![None; candidates.len()]
    } else {
        note("resident memory: a process for each estimator");
        (0..candidates.len()).map(|at| cost.resident_growth(at)).collect::<Result<_, _>>()?
    };
    let points: Vec<Point> = candidates.iter().zip(&measured).zip(resident).map(Point::from).collect();
    let results: Vec<Value> = points.iter().map(|point| point.counted(cost.inner_steps)).collect();
    let timed: Vec<Value> = points.iter().map(Point::timed).collect();
    let mut settings = serde_json::to_value(cost).map_err(Failure::failed)?;
    settings["repeats"] = repeats.into();
    Output {
        name: "figure4",
        title: "Figure 4: time, memory and parallel efficiency against the order".into(),
        settings,
        results: json!({ "points": results }),
        timing: Map::from_iter([("points".to_owned(), timed.into()), ("threads".to_owned(), threads.into())]),
        markdown: markdown(&cost, &points, (threads, cores), repeats),
        chart: Some(chart(&cost, &points, threads, repeats)),
    }
    .write(&args.output)
}

/// An estimator with what it took.
struct Point<'a> {
    candidate: &'a Candidate,
    measured: &'a Measured,
    resident: Option<u64>,
}

impl<'a> From<((&'a Candidate, &'a Measured), Option<u64>)> for Point<'a> {
    fn from(((candidate, measured), resident): ((&'a Candidate, &'a Measured), Option<u64>)) -> Self {
        Self { candidate, measured, resident }
    }
}

const MEBIBYTE: f64 = 1_048_576.0;

impl Point<'_> {
    fn counted(&self, steps: usize) -> Value {
        let Candidate { family, order, estimator } = self.candidate;
        json!({
            "family": family,
            "order": order,
            "estimator": estimator,
            "depth": estimator.depth(steps),
            "products": self.measured.products,
            "peak_bytes": self.measured.peak_bytes,
            "residual_bytes": self.measured.residual_bytes,
        })
    }

    fn timed(&self) -> Value {
        let Candidate { family, order, .. } = self.candidate;
        json!({
            "family": family,
            "order": order,
            "seconds": self.measured.seconds,
            "cpu_seconds": self.measured.cpu_seconds,
            "ratio_to_first_order": self.measured.ratio,
            "efficiency_of_a_task": self.measured.efficiency(false),
            "efficiency_of_a_meta_batch": self.measured.efficiency(true),
            "resident_growth_bytes": self.resident,
        })
    }

    fn row(&self) -> Vec<String> {
        let Candidate { family, order, .. } = self.candidate;
        let Measured { products, peak_bytes, ratio, .. } = self.measured;
        let share = |share: Option<f64>| share.map_or_else(|| "-".into(), |share| format!("{:.0} %", 100.0 * share));
        let resident = self.resident.map_or_else(|| "-".into(), |bytes| format!("{:.1}", bytes as f64 / MEBIBYTE));
        vec![
            (*family).into(),
            order.to_string(),
            products.to_string(),
            format!("{:.1}", self.milliseconds()),
            self.cpu_milliseconds().map_or_else(|| "-".into(), |cpu| format!("{cpu:.0}")),
            format!("{ratio:.2}"),
            format!("{:.2}", *peak_bytes as f64 / MEBIBYTE),
            resident,
            share(self.measured.efficiency(false)),
            share(self.measured.efficiency(true)),
        ]
    }

    fn cpu_milliseconds(&self) -> Option<f64> {
        self.measured.cpu_seconds.map(|seconds| 1e3 * seconds)
    }

    fn milliseconds(&self) -> f64 {
        1e3 * self.measured.seconds.task_one_thread
    }
}

fn setting(cost: &Cost, repeats: usize) -> String {
    let Cost { channels, image_size, filters, way, shot, query, inner_steps, .. } = cost;
    format!(
        "CNN4 with {filters} filters, {image_size} x {image_size} pixels, {channels} channel(s), {way}-way {shot}-shot, {} queries, \
         K = {inner_steps}; medians of {repeats}",
        way * query
    )
}

fn markdown(cost: &Cost, points: &[Point<'_>], (threads, cores): (usize, usize), repeats: usize) -> String {
    let head = [
        "estimator",
        "L",
        "products",
        "ms",
        "CPU ms",
        "over first-order",
        "estimate, MiB",
        "resident, MiB",
        "efficiency, task",
        "efficiency, batch",
    ];
    let rows: Vec<Vec<String>> = points.iter().map(Point::row).collect();
    let parallel = if threads < 2 || cores < 2 {
        format!(
            "There is no second thread here ({cores} core(s), {threads} thread(s)): parallel efficiency cannot be measured."
        )
    } else {
        format!(
            "Efficiency is the time on one thread over {threads} times that on {threads} threads: of one task, whose products that do not \
             wait for each other run side by side (estimators that have none cannot gain), and of a meta-batch of {} tasks, which \
             run side by side. This machine has {cores} cores, which other work may share: what a GPU or more cores would gain is \
             not measured here.",
            cost.meta_batch
        )
    };
    format!(
        "{}. Times of a meta-gradient of one task on one thread, of which repeats go round the estimators; the ratio is the median of \
         ratios within a round. CPU time is a mean, counted in hundredths of a second, and the one to trust where others use the \
         machine; where it is above the wall clock's, the backend computed single operations on threads of its own \
         (RAYON_NUM_THREADS=1 keeps it to one, and makes efficiencies those of products and tasks alone). The estimate counts shapes; resident is the growth of the resident peak over a process that has \
         network and task, with what the first meta-step loads and compiles. L of frozen and segments is their products, of \
         implicit its iterations, which take one product more.\n\n{}\n{parallel}",
        setting(cost, repeats),
        table(&head.map(String::from), &rows)
    )
}

fn chart(cost: &Cost, points: &[Point<'_>], threads: usize, repeats: usize) -> Chart {
    type Of<'a> = &'a dyn Fn(&Point<'_>) -> Option<f64>;
    let panel = |title: &str, y: &str, scale: Scale, of: Of<'_>| Panel {
        title: title.into(),
        x: Axis::new("order L", Scale::Whole),
        y: Axis::new(y, scale),
        curves: curves(points, of),
    };
    let time = |point: &Point<'_>| Some(point.milliseconds());
    let cpu = |point: &Point<'_>| point.cpu_milliseconds();
    let estimate = |point: &Point<'_>| Some(point.measured.peak_bytes as f64 / MEBIBYTE);
    let resident = |point: &Point<'_>| Some(point.resident? as f64 / MEBIBYTE);
    let of_task = |point: &Point<'_>| Some(100.0 * point.measured.efficiency(false)?);
    let of_batch = |point: &Point<'_>| Some(100.0 * point.measured.efficiency(true)?);
    let (task, batch) =
        (format!("products of a task on {threads} threads"), format!("tasks of a meta-batch on {threads} threads"));
    let panels = [
        panel("(a) time, one task, one thread", "milliseconds", Scale::Linear, &time),
        panel("(a') CPU time, one task, one thread", "milliseconds", Scale::Linear, &cpu),
        panel("(b) memory, estimated from shapes", "MiB", Scale::Linear, &estimate),
        panel("(b') memory, growth of the resident peak", "MiB", Scale::Linear, &resident),
        panel(&format!("(c) {task}"), "parallel efficiency, %", Scale::Linear, &of_task),
        panel(&format!("(c') {batch}"), "parallel efficiency, %", Scale::Linear, &of_batch),
    ];
    Chart {
        title: "Cost of a meta-gradient against the order".into(),
        subtitle: vec![
            setting(cost, repeats),
            "L of frozen and segments: products; of implicit: iterations; efficiency: time on one thread / (threads x time on them)".into(),
        ],
        panels: panels.into_iter().filter(|panel| !panel.curves.is_empty()).collect(),
        same_y: false,
    }
}

/// A curve for each family that has something to show.
fn curves(points: &[Point<'_>], of: &dyn Fn(&Point<'_>) -> Option<f64>) -> Vec<Curve> {
    let mut families: Vec<&str> = points.iter().map(|point| point.candidate.family).collect();
    families.dedup();
    let curve = |(at, family): (usize, &&str)| {
        let members = points.iter().filter(|point| point.candidate.family == *family);
        let places = members.filter_map(|point| Some((point.candidate.order as f64, of(point)?))).collect();
        Curve::new(*family, CYCLE[(at + CYCLE.len() - 1) % CYCLE.len()], places)
    };
    families.iter().enumerate().map(curve).filter(|curve| !curve.points.is_empty()).collect()
}
