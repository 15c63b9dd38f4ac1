//! The settings of a grid of runs: estimators times columns times seeds, alike but for that.
//!
//! Does not know: how a run is done, what is made of runs.

use burn_meta::{Estimator, Expansion};
use clap::Args;
use serde::Serialize;
use serde_json::{Value, json};

use super::data::{Column, DataArgs, DatasetName};
use super::output::OutputArgs;
use crate::arguments::{count, positive};
use crate::estimator_list::{NAMES, Named, named};
use crate::failure::Failure;

/// Options of what trains networks.
#[derive(Args, Clone, Debug)]
pub struct GridArgs {
    #[command(flatten)]
    pub(super) output: OutputArgs,

    #[command(flatten)]
    pub(super) data: DataArgs,

    #[command(flatten)]
    pub(super) training: TrainingArgs,
}

/// Options of training and test.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Training")]
pub struct TrainingArgs {
    #[arg(long, value_name = "NAME", value_delimiter = ',', value_parser = named, help = format!("Estimators, divided by commas: {NAMES} [default: the rows of the paper]"))]
    estimators: Vec<Named>,

    /// Ways and shots, divided by commas [default: 5way1shot; with --full 5way1shot,5way5shot, and 20way1shot of omniglot]
    #[arg(long, value_name = "WAYSHOT", value_delimiter = ',')]
    columns: Vec<Column>,

    /// Runs of each estimator, each with initial weights and training tasks of its own, the same for all estimators
    /// [default: 3]
    #[arg(long, value_name = "N", value_parser = count)]
    seeds: Option<usize>,

    /// Meta-iterations, the same for all. More than before lengthen the runs that are there [default: 100; with --full 20000]
    #[arg(long, value_name = "N", value_parser = count)]
    iterations: Option<usize>,

    /// Tasks of a meta-iteration [default: 4]
    #[arg(long, value_name = "TASKS", value_parser = count)]
    meta_batch: Option<usize>,

    /// Learning rate of meta-iterations, by Adam [default: 0.001]
    #[arg(long, value_name = "RATE", value_parser = positive)]
    meta_lr: Option<f64>,

    /// Inner steps K in training [default: 5]
    #[arg(long, value_name = "K", value_parser = count)]
    inner_steps: Option<usize>,

    /// Inner learning rate [default: 0.01, as the paper; 0.1 for omniglot]
    #[arg(long, value_name = "RATE", value_parser = positive)]
    inner_lr: Option<f64>,

    /// Filters of each convolution [default: 16; with --full 32]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1024))]
    filters: Option<u16>,

    /// Height and width of drawn textures, at least 16 [default: 28; with --full 84]
    #[arg(long, value_name = "PIXELS", value_parser = clap::value_parser!(u16).range(16..=512))]
    image_size: Option<u16>,

    /// Query images of each class in training [default: 5; with --full 15]
    #[arg(long, value_name = "N", value_parser = count)]
    train_queries: Option<usize>,

    /// Query images of each class in validation and test [default: 15; but 5 for textures drawn]
    #[arg(long, value_name = "N", value_parser = count)]
    test_queries: Option<usize>,

    /// Test tasks, at least 2, the same for all runs of a column [default: 100; with --full 600]
    #[arg(long, value_name = "TASKS", value_parser = clap::value_parser!(u32).range(2..=1_000_000))]
    test_tasks: Option<u32>,

    /// Inner steps in validation and test [default: as in training; with --full 10, but for omniglot]
    #[arg(long, value_name = "STEPS", value_parser = count)]
    test_inner_steps: Option<usize>,

    /// Meta-iterations from one validation to the next, of which the best is tested; 0 for none, and the last is tested
    /// [default: 0; with --full 1000, where the dataset has classes to validate on]
    #[arg(long, value_name = "N")]
    validate_every: Option<u32>,

    /// Tasks of a validation [default: 100; with --full 600]
    #[arg(long, value_name = "TASKS", value_parser = count)]
    validation_tasks: Option<usize>,

    /// Train nothing: make the output of the finished runs that are there
    #[arg(long)]
    pub(super) no_training: bool,
}

/// The settings in full.
#[derive(Clone, Debug)]
pub struct Grid {
    /// What is trained and tested on.
    pub dataset: DatasetName,
    /// Rows.
    pub estimators: Vec<Named>,
    /// Columns.
    pub columns: Vec<Column>,
    /// Seeds.
    pub seeds: Vec<u64>,
    /// All that runs have in common.
    pub common: Common,
    /// Of the quick setting.
    pub full: bool,
}

/// What all runs have in common.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Common {
    pub iterations: usize,
    pub meta_batch: usize,
    pub meta_lr: f64,
    pub inner_steps: usize,
    pub inner_lr: f64,
    pub filters: usize,
    pub image_size: usize,
    pub train_queries: usize,
    pub test_queries: usize,
    pub test_tasks: usize,
    pub test_inner_steps: usize,
    pub validate_every: usize,
    pub validation_tasks: usize,
}

/// Rows of the paper's table 1, with the orders of the quick setting.
pub const TABLE1: [&str; 6] = ["first-order", "truncated:1", "truncated:2", "binomial:1", "binomial:2", "exact"];
/// And the one that the full setting adds.
const ADDED: &str = "binomial:3";

impl GridArgs {
    /// The settings, with these estimators if none are asked for.
    ///
    /// # Errors
    ///
    /// [`Failure::Usage`].
    pub fn grid(&self, rows: &[&str]) -> Result<Grid, Failure> {
        let dataset = self.data.dataset()?;
        let (full, args) = (self.output.full, &self.training);
        let common = self.common(dataset);
        let grid = Grid {
            dataset,
            estimators: self.estimators(rows, common.inner_steps)?,
            columns: columns(args, full, dataset)?,
            seeds: (0..args.seeds.unwrap_or(3) as u64).collect(),
            common,
            full,
        };
        Ok(grid)
    }

    fn estimators(&self, rows: &[&str], steps: usize) -> Result<Vec<Named>, Failure> {
        let named_row = |row: &&str| named(row).map_err(Failure::failed);
        let estimators = match &self.training.estimators[..] {
            [] => {
                let added = [ADDED].into_iter().filter(|_| self.output.full && rows == TABLE1);
                let mut all: Vec<Named> =
                    rows.iter().copied().chain(added).map(|row| named_row(&row)).collect::<Result<_, _>>()?;
                // Fewer inner steps have fewer orders.
                all.retain(|row| row.estimator.check(steps).is_ok());
                all
            }
            given => given.to_vec(),
        };
        for (at, row) in estimators.iter().enumerate() {
            let place = || format!("--estimators {}", row.name);
            row.estimator.check(steps).map_err(|error| Failure::from(error).at(place()))?;
            if estimators[..at].iter().any(|other| other.name == row.name) {
                return Err(Failure::usage("twice").at(place()));
            }
        }
        Ok(estimators)
    }

    fn common(&self, dataset: DatasetName) -> Common {
        let args = &self.training;
        let of = |quick: usize, full: usize| if self.output.full { full } else { quick };
        let omniglot = dataset == DatasetName::Omniglot;
        let inner_steps = args.inner_steps.unwrap_or(5);
        let textures = dataset == DatasetName::Textures;
        Common {
            iterations: args.iterations.unwrap_or(of(100, 20_000)),
            meta_batch: args.meta_batch.unwrap_or(4),
            meta_lr: args.meta_lr.unwrap_or(1e-3),
            inner_steps,
            inner_lr: args.inner_lr.unwrap_or(if omniglot { 0.1 } else { 0.01 }),
            filters: args.filters.map_or(of(16, 32), usize::from),
            image_size: match dataset {
                DatasetName::Textures => args.image_size.map_or(of(28, 84), usize::from),
                DatasetName::Omniglot => 28,
                DatasetName::Mini | DatasetName::Tiered => 84,
            },
            train_queries: args.train_queries.unwrap_or(of(5, 15)),
            // There are 20 images of a drawn texture, of which five shots take five.
            test_queries: args.test_queries.unwrap_or(if textures { of(5, 15) } else { 15 }),
            test_tasks: args.test_tasks.map_or(of(100, 600), |tasks| tasks as usize),
            test_inner_steps: args.test_inner_steps.unwrap_or(if self.output.full && !omniglot {
                10
            } else {
                inner_steps
            }),
            validate_every: args.validate_every.map_or(if omniglot { 0 } else { of(0, 1000) }, |every| every as usize),
            validation_tasks: args.validation_tasks.unwrap_or(of(100, 600)),
        }
    }
}

fn columns(args: &TrainingArgs, full: bool, dataset: DatasetName) -> Result<Vec<Column>, Failure> {
    let default: &[(usize, usize)] = match (full, dataset) {
        (false, _) | (true, DatasetName::Tiered) => &[(5, 1)],
        (true, DatasetName::Omniglot) => &[(5, 1), (5, 5), (20, 1)],
        (true, _) => &[(5, 1), (5, 5)],
    };
    let columns = match &args.columns[..] {
        [] => default.iter().map(|&(way, shot)| Column { way, shot }).collect(),
        given => given.to_vec(),
    };
    match columns.iter().enumerate().find(|(at, column)| columns[..*at].contains(column)) {
        Some((_, column)) => Err(Failure::usage(format!("--columns {column}: twice"))),
        None => Ok(columns),
    }
}

impl Grid {
    /// The settings as they stand in a document.
    pub fn document(&self) -> Value {
        let estimators: Vec<Value> =
            self.estimators.iter().map(|row| json!({ "name": row.name, "estimator": row.estimator })).collect();
        json!({
            "dataset": self.dataset,
            "columns": self.columns.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "estimators": estimators,
            "seeds": self.seeds,
            "full": self.full,
            "network": "CNN4, batch normalisation by the statistics of the batch",
            "optimizer": "Adam, epsilon 1e-8",
            "common": self.common,
        })
    }

    /// The settings in words.
    pub fn describe(&self) -> String {
        let Common { iterations, meta_batch, inner_steps, inner_lr, filters, test_tasks, test_queries, .. } =
            self.common;
        format!(
            "{iterations} meta-iterations of {meta_batch} tasks, CNN4 with {filters} filters, {inner_steps} inner steps of {inner_lr}, \
             {} seed(s), {test_tasks} test tasks with {test_queries} queries a class",
            self.seeds.len()
        )
    }

    /// Name of a column's directory, and above it in a table.
    pub fn column_name(&self, column: Column) -> String {
        format!("{}-{column}", self.dataset)
    }
}

/// An estimator by the name it has in the paper's tables.
pub fn paper_name(row: &Named, steps: usize) -> String {
    match row.estimator {
        Estimator::FirstOrder => "FOMAML (L=0)".into(),
        Estimator::Truncated { order } => format!("TruncMAML L={order}"),
        Estimator::Binomial { order, expansion: Expansion::Plain } => format!("BinomMAML L={order}"),
        Estimator::Hybrid { order, window } => format!("hybrid L={order}, C={window}"),
        Estimator::Exact => format!("MAML (exact, K={steps})"),
        _ => row.name.clone(),
    }
}
