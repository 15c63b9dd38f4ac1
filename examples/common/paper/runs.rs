//! Runs of a grid: trained, tested and kept in `OUT/runs/<column>/<estimator>/seed-<n>`, each once.
//!
//! A run that was stopped or killed goes on from its last checkpoint; one that is asked for more meta-iterations is lengthened;
//! one that is finished is read.
//!
//! Does not know: what is made of runs.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Instant;

use burn::optim::AdamConfig;
use burn::tensor::{Device, Tensor};
use burn_meta::models::{Cnn4, Cnn4Config, cross_entropy};
use burn_meta::{
    CancelToken, Checkpoint, Control, Ending, Error, Event, InnerLoopConfig, MamlConfig, MetaLearner, MetaTrainer,
    MetaTrainerConfig, Metric, Objective, Validation, accuracy,
};
use fewshot_data::{ImageTasks, Split};
use indicatif::ProgressBar;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::data::{Batch, Column, Images, task};
use super::grid::{Common, Grid, GridArgs};
use crate::arguments::note;
use crate::device::DeviceName;
use crate::estimator_list::Named;
use crate::failure::Failure;
use crate::files;
use crate::progress::bar;
use crate::seed::seeded;

/// A finished run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Tested {
    /// Everything that it depends on.
    identity: Value,
    /// Meta-iterations after which the tested network was the best in validation, or the last.
    pub tested_iteration: u64,
    /// Accuracy on each test task, of 1.
    pub accuracies: Vec<f64>,
    /// Query loss on each test task.
    pub losses: Vec<f64>,
}

/// The runs of a grid.
pub struct Runs<'a> {
    /// Settings.
    pub grid: &'a Grid,
    /// Images.
    pub images: Images,
    /// Where runs are.
    directory: PathBuf,
    device: Device,
    threads: Option<usize>,
    training: bool,
    summary: Value,
    found: Vec<Vec<Vec<Outcome>>>,
}

/// What became of a run.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// It is finished.
    Done(Tested),
    /// It is not, and why.
    Missing(String),
}

/// The file of a finished run.
const TESTED: &str = "test.json";
/// Seeds of validation and test tasks.
const TEST_SEED: u64 = 0;

/// The loss that inner loop and meta-gradient differentiate, and the logits `[n, ways]`.
fn loss(net: &Cnn4, (images, labels): Batch) -> (Tensor<1>, Tensor<2>) {
    let logits = net.forward(images);
    (cross_entropy(logits.clone(), labels), logits)
}

impl<'a> Runs<'a> {
    /// Loads the data, and does every run that is not finished, seed by seed: what is stopped early can be compared.
    ///
    /// # Errors
    ///
    /// Those of data and trainer. A run that diverges, and all that are left when somebody stops the program, are missing, which
    /// is none.
    pub fn all(args: &GridArgs, grid: &'a Grid) -> Result<Self, Failure> {
        let device = DeviceName::Flex.open()?;
        let images = Images::load(grid.dataset, &args.data, grid.common.image_size)?;
        let summary = images.summary()?;
        let mut runs = Self {
            grid,
            images,
            directory: args.output.out.join("runs"),
            device,
            threads: args.output.threads,
            training: !args.training.no_training,
            summary,
            found: Vec::new(),
        };
        runs.check_sizes()?;
        runs.found = runs.do_all()?;
        Ok(runs)
    }

    /// Before hours of training.
    fn check_sizes(&self) -> Result<(), Failure> {
        let Common { train_queries, test_queries, .. } = self.grid.common;
        for column in &self.grid.columns {
            self.images.tasks(Split::Train, *column, train_queries, 0)?;
            self.images.tasks(Split::Test, *column, test_queries, TEST_SEED)?;
        }
        Ok(())
    }

    fn do_all(&self) -> Result<Vec<Vec<Vec<Outcome>>>, Failure> {
        let Grid { columns, estimators, seeds, .. } = self.grid;
        let missing = || Outcome::Missing("not begun".into());
        let mut found = vec![vec![vec![missing(); seeds.len()]; estimators.len()]; columns.len()];
        let all = columns.len() * estimators.len() * seeds.len();
        let mut nth = 0;
        for (at_column, &column) in columns.iter().enumerate() {
            for (at_seed, &seed) in seeds.iter().enumerate() {
                for (at_row, row) in estimators.iter().enumerate() {
                    nth += 1;
                    let run = Run { runs: self, column, row, seed };
                    let outcome = run.outcome(&format!("run {nth}/{all}"));
                    found[at_column][at_row][at_seed] = outcome.map_err(|failure| failure.at(run.name()))?;
                }
            }
        }
        Ok(found)
    }

    /// What became of the run of a column, an estimator and a seed, by their places in the grid.
    pub fn outcome(&self, column: usize, row: usize, seed: usize) -> &Outcome {
        &self.found[column][row][seed]
    }

    /// Its directory.
    pub fn place(&self, column: usize, row: usize, seed: usize) -> PathBuf {
        let Grid { columns, estimators, seeds, .. } = self.grid;
        Run { runs: self, column: columns[column], row: &estimators[row], seed: seeds[seed] }.place()
    }

    /// The seeds, by their places, of which a column has a finished run of each of these estimators.
    pub fn seeds_with(&self, column: usize, rows: &[usize]) -> Vec<usize> {
        let done = |seed: &usize| rows.iter().all(|row| matches!(self.outcome(column, *row, *seed), Outcome::Done(_)));
        (0..self.grid.seeds.len()).filter(done).collect()
    }

    /// Accuracies of an estimator in a column by these seeds, and by task.
    pub fn accuracies(&self, column: usize, row: usize, seeds: &[usize]) -> Vec<Vec<f64>> {
        let of = |seed: &usize| match self.outcome(column, row, *seed) {
            Outcome::Done(tested) => Some(tested.accuracies.clone()),
            Outcome::Missing(_) => None,
        };
        seeds.iter().filter_map(of).collect()
    }

    /// The runs that are missing, each with the reason.
    pub fn missing(&self) -> Vec<String> {
        let Grid { columns, estimators, seeds, .. } = self.grid;
        let mut missing = Vec::new();
        for (c, column) in columns.iter().enumerate() {
            for (e, row) in estimators.iter().enumerate() {
                for (s, seed) in seeds.iter().enumerate() {
                    if let Outcome::Missing(reason) = self.outcome(c, e, s) {
                        missing.push(format!(
                            "{}, {}, seed {seed}: {reason}",
                            self.grid.column_name(*column),
                            row.name
                        ));
                    }
                }
            }
        }
        missing
    }

    /// What the classes are.
    pub fn summary(&self) -> &Value {
        &self.summary
    }

    /// The first test tasks of a column, as training has them but for their number of queries.
    ///
    /// # Errors
    ///
    /// Those of the data.
    pub fn study_tasks(&self, column: usize, count: usize) -> Result<Vec<burn_meta::Task<Batch>>, Failure> {
        let tasks =
            self.images.tasks(Split::Test, self.grid.columns[column], self.grid.common.train_queries, TEST_SEED)?;
        let drawn = (0..count as u64).map(|index| task(&tasks, index, &self.device));
        drawn.collect::<Result<_, _>>().map_err(Failure::from)
    }

    /// The network that a run of this seed begins with.
    ///
    /// # Errors
    ///
    /// Those of the network.
    pub fn initial(&self, column: usize, seed: u64) -> Result<Cnn4, Failure> {
        self.network(self.grid.columns[column], seed)
    }

    fn network(&self, column: Column, seed: u64) -> Result<Cnn4, Failure> {
        let [channels, side, _] = self.images.shape();
        let config = Cnn4Config::new(channels, side, column.way).with_hidden(self.grid.common.filters);
        seeded(seed, &self.device, |device| config.init(device))
    }

    /// That somebody stopped the program.
    ///
    /// # Errors
    ///
    /// [`Failure::Failed`] if so.
    pub fn stopped(&self) -> Result<(), Failure> {
        if stop().is_cancelled() {
            return Err(Failure::failed("stopped; the same command goes on from there"));
        }
        Ok(())
    }
}

/// A token that the first Ctrl-C cancels; the second ends the program.
fn stop() -> &'static CancelToken {
    static TOKEN: OnceLock<CancelToken> = OnceLock::new();
    TOKEN.get_or_init(|| {
        let token = CancelToken::new();
        let asked = token.clone();
        let handler = move || {
            if asked.is_cancelled() {
                std::process::exit(130);
            }
            asked.cancel();
            note("stopping after this meta-iteration, with a checkpoint; Ctrl-C again stops at once");
        };
        // A program that has a handler already is not hindered.
        let _ = ctrlc::set_handler(handler);
        token
    })
}

/// One run.
struct Run<'r, 'a> {
    runs: &'r Runs<'a>,
    column: Column,
    row: &'r Named,
    seed: u64,
}

impl Run<'_, '_> {
    fn name(&self) -> String {
        format!("{}, {}, seed {}", self.runs.grid.column_name(self.column), self.row.name, self.seed)
    }

    fn place(&self) -> PathBuf {
        let column = self.runs.grid.column_name(self.column);
        // A colon has no place in names on some systems.
        let row = self.row.name.replace(':', "-");
        self.runs.directory.join(column).join(row).join(format!("seed-{}", self.seed))
    }

    /// All that the numbers of a run depend on, and the trainer does not know.
    fn own(&self) -> Value {
        let Common { train_queries, meta_lr, filters, test_queries, .. } = self.runs.grid.common;
        json!({
            "column": self.runs.grid.column_name(self.column),
            "data": self.runs.summary,
            "train_queries": train_queries,
            "validation_queries": test_queries,
            "filters": filters,
            "optimizer": { "name": "adam", "epsilon": 1e-8, "rate": meta_lr },
            "seed": self.seed,
        })
    }

    /// All that the numbers of its test depend on.
    fn identity(&self) -> Value {
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "estimator": self.row.estimator,
            "own": self.own(),
            "common": self.runs.grid.common,
        })
    }

    fn outcome(&self, nth: &str) -> Result<Outcome, Failure> {
        let (file, identity) = (self.place().join(TESTED), self.identity());
        if let Some(tested) = read(&file, &identity)? {
            return Ok(Outcome::Done(tested));
        }
        if !self.runs.training {
            return Ok(Outcome::Missing(self.progress()));
        }
        if stop().is_cancelled() {
            return Ok(Outcome::Missing(format!("stopped; {}", self.progress())));
        }
        let started = Instant::now();
        match self.train_and_test(nth)? {
            End::Tested(tested_iteration, accuracies, losses) => {
                let tested = Tested { identity, tested_iteration, accuracies, losses };
                files::write(&file, &serde_json::to_string(&tested).map_err(Failure::failed)?)?;
                let right = 100.0 * tested.accuracies.iter().sum::<f64>() / tested.accuracies.len() as f64;
                note(format!(
                    "{nth}: {}: test accuracy {right:.2} %, {:.1} s",
                    self.name(),
                    started.elapsed().as_secs_f64()
                ));
                Ok(Outcome::Done(tested))
            }
            End::Stopped => Ok(Outcome::Missing(format!("stopped; {}", self.progress()))),
            End::Diverged(error) => {
                note(format!("{nth}: {}: diverged: {error}", self.name()));
                Ok(Outcome::Missing(format!("diverged: {error}")))
            }
        }
    }

    /// How far it is.
    fn progress(&self) -> String {
        match Checkpoint::latest(self.place()) {
            Ok(checkpoint) => {
                format!("{} of {} meta-iterations", checkpoint.iteration(), self.runs.grid.common.iterations)
            }
            Err(_) => "not begun".into(),
        }
    }

    fn tasks(&self, split: Split) -> Result<ImageTasks, Failure> {
        let Common { train_queries, test_queries, .. } = self.runs.grid.common;
        match split {
            Split::Train => self.runs.images.tasks(split, self.column, train_queries, self.seed),
            Split::Val | Split::Test => self.runs.images.tasks(split, self.column, test_queries, TEST_SEED),
        }
    }

    fn trainer(&self, bar: &ProgressBar) -> Result<MetaTrainer, Failure> {
        let Common { iterations, meta_batch, inner_steps, inner_lr, test_inner_steps, validate_every, .. } =
            self.runs.grid.common;
        let inner = InnerLoopConfig::new(inner_lr).with_steps(inner_steps);
        let maml = MamlConfig::new(inner, self.row.estimator).with_threads(self.runs.threads).init()?;
        let bar = bar.clone();
        let show = move |event: &Event<'_>| {
            match event {
                Event::Began(beginning) => bar.set_position(beginning.iteration),
                Event::Step(step) => bar.inc(u64::from(step.iteration > 0)),
                _ => {}
            }
            Control::Continue
        };
        let config = MetaTrainerConfig::new(iterations as u64)
            .with_meta_batch(meta_batch)
            .with_validate_every(validate_every as u64)
            .with_checkpoint_every(CHECKPOINT_EVERY);
        Ok(config
            .init(maml)?
            .with_evaluation_steps(test_inner_steps)?
            .in_directory(self.place())
            .with_settings(self.own())
            .with_callback(show)
            .stopped_by(stop()))
    }

    fn train_and_test(&self, nth: &str) -> Result<End, Failure> {
        let Common { iterations, meta_lr, test_tasks, validate_every, validation_tasks, .. } = self.runs.grid.common;
        let (train, test) = (self.tasks(Split::Train)?, self.tasks(Split::Test)?);
        let validates = validate_every > 0 && self.runs.images.validates();
        let validation = validates.then(|| self.tasks(Split::Val)).transpose()?;
        let device = &self.runs.device;
        let validation = validation
            .as_ref()
            .map(|tasks| Validation::new(validation_tasks as u64, move |index| task(tasks, index, device)));
        let net = self.runs.network(self.column, self.seed)?;
        let learner = MetaLearner::new(net, AdamConfig::new().with_epsilon(1e-8).init(), meta_lr);
        let objective = Objective::new(loss).with_metric(Metric::higher("accuracy", accuracy));
        let bar = bar(iterations, "training");
        bar.set_message(format!("{nth}: {}", self.name()));
        let mut trainer = self.trainer(&bar)?;
        let trained = trainer.run(learner, &objective, |index| task(&train, index, device), validation);
        bar.finish_and_clear();
        let trained = match trained {
            Err(error) if diverged(&error) => return Ok(End::Diverged(error.to_string())),
            trained => trained?,
        };
        if trained.ending == Ending::Stopped && trained.iteration < iterations as u64 {
            return Ok(End::Stopped);
        }
        let iteration = trained.best.as_ref().map_or(trained.iteration, |best| best.iteration);
        let net = trained.into_model();
        let judged = match trainer.evaluate(&net, &objective, test_tasks as u64, |index| task(&test, index, device)) {
            Err(error) if diverged(&error) => return Ok(End::Diverged(error.to_string())),
            judged => judged?,
        };
        let accuracies = judged.metrics.into_iter().next().map(|(_, values)| values).unwrap_or_default();
        Ok(End::Tested(iteration, accuracies, judged.losses))
    }
}

/// How the work on a run ended.
enum End {
    /// The meta-iteration that was tested, with accuracies and losses by task.
    Tested(u64, Vec<f64>, Vec<f64>),
    Stopped,
    Diverged(String),
}

/// Meta-iterations that a kill can cost.
const CHECKPOINT_EVERY: u64 = 50;

/// A finished run with these settings. One that was shorter, or tested otherwise, is none.
fn read(file: &Path, identity: &Value) -> Result<Option<Tested>, Failure> {
    let Ok(text) = fs::read_to_string(file) else { return Ok(None) };
    let tested: Tested = serde_json::from_str(&text).map_err(|cause| Failure::usage(cause).at(file.display()))?;
    Ok(Some(tested).filter(|tested| tested.identity == *identity))
}

fn diverged(error: &Error) -> bool {
    match error {
        Error::NonFinite { .. } => true,
        Error::During { cause, .. } => diverged(cause),
        _ => false,
    }
}
