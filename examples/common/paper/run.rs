//! A run: a network trained by one estimator and tested, kept in `OUT/runs/<column>/<estimator>/seed-<n>`.
//!
//! A run that was stopped or killed goes on from its last checkpoint; one that is asked for more meta-iterations is lengthened;
//! one that is finished is read.
//!
//! Does not know: which runs there are, what is made of them.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use burn::optim::AdamConfig;
use burn::tensor::{Device, Tensor};
use burn_meta::models::{Cnn4, Cnn4Config, cross_entropy};
use burn_meta::{
    Checkpoint, Control, Ending, Error, Event, InnerLoopConfig, MamlConfig, MetaLearner, MetaTrainer,
    MetaTrainerConfig, Metric, Objective, Validation, accuracy,
};
use fewshot_data::{ImageTasks, Split};
use indicatif::ProgressBar;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::data::{Batch, Column, Images, task};
use super::grid::{Common, Grid};
use crate::arguments::note;
use crate::estimator_list::Named;
use crate::failure::Failure;
use crate::files;
use crate::interrupt::stop;
use crate::progress::bar;
use crate::seed::seeded;

/// A finished run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Tested {
    /// Everything that it depends on, as JSON.
    identity: String,
    /// Meta-iterations after which the tested network was the best in validation, or the last.
    pub tested_iteration: u64,
    /// Accuracy on each test task, of 1.
    pub accuracies: Vec<f64>,
    /// Query loss on each test task.
    pub losses: Vec<f64>,
}

/// What became of a run.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// It is finished.
    Done(Tested),
    /// It is not, and why.
    Missing(String),
}

/// What all runs take place in.
pub struct Stage<'a> {
    /// Settings.
    pub grid: &'a Grid,
    /// Images.
    pub images: Images,
    /// Where runs are kept.
    pub directory: PathBuf,
    /// Where to compute.
    pub device: Device,
    /// Tasks in work at a time.
    pub threads: Option<usize>,
    /// Whether what is not finished is done.
    pub training: bool,
    /// What the classes are.
    pub summary: Value,
}

impl Stage<'_> {
    /// The network that runs of this seed begin with.
    ///
    /// # Errors
    ///
    /// Those of the network.
    pub fn network(&self, column: Column, seed: u64) -> Result<Cnn4, Failure> {
        let [channels, side, _] = self.images.shape();
        let config = Cnn4Config::new(channels, side, column.way).with_hidden(self.grid.common.filters);
        seeded(seed, &self.device, |device| config.init(device))
    }
}

/// The file of a finished run.
const TESTED: &str = "test.json";
/// Seeds of validation and test tasks.
pub const TEST_SEED: u64 = 0;

/// The loss that inner loop and meta-gradient differentiate, and the logits `[n, ways]`.
fn loss(net: &Cnn4, (images, labels): Batch) -> (Tensor<1>, Tensor<2>) {
    let logits = net.forward(images);
    (cross_entropy(logits.clone(), labels), logits)
}

/// One run.
pub struct Run<'r, 'a> {
    /// Where it takes place.
    pub stage: &'r Stage<'a>,
    /// Ways and shots.
    pub column: Column,
    /// The estimator.
    pub row: &'r Named,
    /// Of initial weights and training tasks.
    pub seed: u64,
}

impl Run<'_, '_> {
    /// Column, estimator and seed.
    pub fn name(&self) -> String {
        format!("{}, {}, seed {}", self.stage.grid.column_name(self.column), self.row.name, self.seed)
    }

    /// Its directory.
    pub fn place(&self) -> PathBuf {
        let column = self.stage.grid.column_name(self.column);
        // A colon has no place in names on some systems.
        let row = self.row.name.replace(':', "-");
        self.stage.directory.join(column).join(row).join(format!("seed-{}", self.seed))
    }

    /// All that the numbers of a run depend on, and the trainer does not know.
    fn own(&self) -> Value {
        let Common { train_queries, meta_lr, filters, test_queries, .. } = self.stage.grid.common;
        json!({
            "column": self.stage.grid.column_name(self.column),
            "data": self.stage.summary,
            "train_queries": train_queries,
            "validation_queries": test_queries,
            "filters": filters,
            "optimizer": { "name": "adam", "epsilon": 1e-8, "rate": meta_lr },
            "seed": self.seed,
        })
    }

    /// All that the numbers of its test depend on.
    fn identity(&self) -> String {
        let identity = json!({
            "version": env!("CARGO_PKG_VERSION"),
            "estimator": self.row.estimator,
            "own": self.own(),
            "common": self.stage.grid.common,
        });
        identity.to_string()
    }

    /// What becomes of it: it is done if it is not finished. `nth` says which it is, on the screen.
    ///
    /// # Errors
    ///
    /// Those of data and trainer.
    pub fn outcome(&self, nth: &str) -> Result<Outcome, Failure> {
        let (file, identity) = (self.place().join(TESTED), self.identity());
        if let Some(tested) = read(&file, &identity)? {
            return Ok(Outcome::Done(tested));
        }
        if !self.stage.training {
            return Ok(Outcome::Missing(self.progress()));
        }
        if stop().is_cancelled() {
            return Ok(Outcome::Missing(format!("stopped; {}", self.progress())));
        }
        let (asked, there) = (self.stage.grid.common.iterations as u64, self.iterations().unwrap_or(0));
        if there > asked {
            return Err(Failure::usage(format!("--iterations {asked}: the run has {there} meta-iterations already")));
        }
        let started = Instant::now();
        match self.train_and_test(nth)? {
            End::Tested(tested_iteration, accuracies, losses) => {
                let tested = Tested { identity, tested_iteration, accuracies, losses };
                let text = serde_json::to_string(&tested).map_err(Failure::failed)?;
                files::write(&file, &text)?;
                // As it will be read: a number may come back with another last bit.
                let tested: Tested = serde_json::from_str(&text).map_err(Failure::failed)?;
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
        let all = self.stage.grid.common.iterations;
        self.iterations().map_or_else(|| "not begun".into(), |done| format!("{done} of {all} meta-iterations"))
    }

    /// Meta-iterations of its last checkpoint.
    fn iterations(&self) -> Option<u64> {
        Checkpoint::latest(self.place()).ok().map(|checkpoint| checkpoint.iteration())
    }

    fn tasks(&self, split: Split) -> Result<ImageTasks, Failure> {
        let Common { train_queries, test_queries, .. } = self.stage.grid.common;
        match split {
            Split::Train => self.stage.images.tasks(split, self.column, train_queries, self.seed),
            Split::Val | Split::Test => self.stage.images.tasks(split, self.column, test_queries, TEST_SEED),
        }
    }

    fn trainer(&self, bar: &ProgressBar) -> Result<MetaTrainer, Failure> {
        let Common { iterations, meta_batch, inner_steps, inner_lr, test_inner_steps, validate_every, .. } =
            self.stage.grid.common;
        let inner = InnerLoopConfig::new(inner_lr).with_steps(inner_steps);
        let maml = MamlConfig::new(inner, self.row.estimator).with_threads(self.stage.threads).init()?;
        let bar = bar.clone();
        let show = move |event: &Event<'_>| {
            match event {
                Event::Began(beginning) => bar.set_position(beginning.iteration),
                Event::Step(_) => bar.inc(1),
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
        let Common { iterations, meta_lr, test_tasks, validate_every, validation_tasks, .. } = self.stage.grid.common;
        let (train, test) = (self.tasks(Split::Train)?, self.tasks(Split::Test)?);
        let validates = validate_every > 0 && self.stage.images.validates();
        let validation = validates.then(|| self.tasks(Split::Val)).transpose()?;
        let device = &self.stage.device;
        let validation = validation
            .as_ref()
            .map(|tasks| Validation::new(validation_tasks as u64, move |index| task(tasks, index, device)));
        let net = self.stage.network(self.column, self.seed)?;
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
            Err(Error::Cancelled { .. }) => return Ok(End::Stopped),
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
fn read(file: &Path, identity: &str) -> Result<Option<Tested>, Failure> {
    let Ok(text) = fs::read_to_string(file) else { return Ok(None) };
    let tested: Tested = serde_json::from_str(&text).map_err(|cause| Failure::usage(cause).at(file.display()))?;
    Ok(Some(tested).filter(|tested| tested.identity == identity))
}

fn diverged(error: &Error) -> bool {
    match error {
        Error::NonFinite { .. } => true,
        Error::During { cause, .. } => diverged(cause),
        _ => false,
    }
}
