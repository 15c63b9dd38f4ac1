//! Meta-training: from settings, tasks and a loss to a trained module.
//!
//! * what is learned: `objective`, `metric`; who learns: `learner`; for how long and how: `config`;
//! * the work: `run` (meta-steps, validations, checkpoints in order), `judge` (many tasks), `summary`;
//! * what remains: `directory` (logs), `checkpoint`, `compare`; who watches: `event`, and burn-train's dashboard and loggers,
//!   `dashboard`.
//!
//! Does not know: formulas of the estimators, datasets.

mod checkpoint;
mod compare;
mod config;
#[cfg(feature = "dashboard")]
mod dashboard;
mod directory;
mod event;
mod judge;
mod learner;
mod metric;
mod objective;
mod run;
mod summary;

use std::path::PathBuf;

use burn::module::Module;
use burn_func::{Batch, Params};
use serde_json::{Value, json};

pub use checkpoint::Checkpoint;
pub use config::{MetaClip, MetaTrainerConfig};
#[cfg(feature = "dashboard")]
pub use dashboard::{Dashboard, MetricLog};
pub use event::{Beginning, Callback, Control, Ending, Event, StepRecord, ValidationRecord};
pub use judge::{Judged, Validation};
pub use learner::MetaLearner;
pub use metric::{Better, Metric, accuracy};
pub use objective::{Losses, Objective, OneLoss, TwoLosses};
pub use summary::{Summary, student95};

use crate::error::Result;
use crate::maml::{Maml, Task};
use crate::parallel::CancelToken;
use crate::rates::InnerRates;
use judge::{Cause, Judge};
use run::Run;

/// Meta-trains a module: meta-batches, the meta-step of any Burn optimizer, validation, checkpoints, logs.
///
/// Tasks come from a function of their number: 0, 1, 2 ... as training goes, so that a resumed run sees those it would have
/// seen. They may be on another device than the module, and are moved to it.
///
/// # A run that can be stopped
///
/// With [`in_directory`](Self::in_directory), everything that makes the run is written there every so often, whole or not at
/// all. [`run`](Self::run) in a directory that holds a checkpoint goes on from it: killed at any moment and called again with
/// the same settings, it leaves the same `metrics.csv` and `metrics.jsonl`, byte for byte, as a run that nothing happened to
/// (on devices whose sums do not change from run to run: Flex and NdArray). A checkpoint of another module, of other settings
/// or of another version of this crate is refused, and the difference named; so is a damaged one. `iterations` may grow, and
/// `checkpoint_every`, `patience`, `accumulate` and the number of threads may change. Where no meta-step was kept, anything may. What this crate cannot see, it cannot compare: say with
/// [`with_settings`](Self::with_settings) which optimizer, learning rate and data a run is made of.
///
/// # Example
///
/// ```
/// use burn::optim::AdamConfig;
/// use burn::tensor::{Device, Distribution, Tensor};
/// use burn_meta::models::{Mlp, MlpConfig, mean_squared_error};
/// use burn_meta::{Estimator, InnerLoopConfig, MamlConfig, MetaLearner, MetaTrainerConfig, Objective, Task, Validation};
///
/// # fn main() -> Result<(), burn_meta::Error> {
/// let device = Device::flex();
/// let line = |index: u64| -> Result<_, burn_meta::Error> {
///     let slope = (index % 7) as f32 - 3.0;
///     let x = Tensor::<2>::from_data([[-1.0], [-0.5], [0.5], [1.0]], &device);
///     let points = (x.clone(), x * slope);
///     Ok(Task { support: points.clone(), query: points })
/// };
/// let net = MlpConfig::new(vec![1, 16, 1]).init(&device.clone().autodiff());
/// let loss = |net: &Mlp, (x, y): (Tensor<2>, Tensor<2>)| mean_squared_error(net.forward(x), y);
///
/// let maml = MamlConfig::new(InnerLoopConfig::new(0.05).with_steps(3), Estimator::binomial(2)).init()?;
/// let mut trainer = MetaTrainerConfig::new(20).with_validate_every(10).init(maml)?;
/// let learner = MetaLearner::new(net, AdamConfig::new().init(), 1e-2);
/// let trained = trainer.run(learner, &Objective::new(loss), line, Some(Validation::new(10, line)))?;
///
/// let best = trained.best.expect("there were validations");
/// let judged = trainer.evaluate(&best.model, &Objective::new(loss), 20, line)?;
/// println!("query loss {} +- {}", judged.loss().mean, judged.loss().interval95);
/// # Ok(())
/// # }
/// ```
pub struct MetaTrainer {
    config: MetaTrainerConfig,
    maml: Maml,
    /// With the inner steps of validation and test.
    evaluation: Maml,
    /// Those, where they are not those of training.
    evaluation_steps: Option<usize>,
    directory: Option<PathBuf>,
    settings: Value,
    callbacks: Vec<Box<dyn Callback>>,
    stop: CancelToken,
    task_weight: Option<Box<dyn Fn(u64) -> f64>>,
}

/// What a run came to.
#[derive(Clone)]
pub struct Trained<M> {
    /// Module, optimizer and learning rate after the last meta-step.
    pub learner: MetaLearner<M>,
    /// Meta-iterations done.
    pub iteration: u64,
    /// Why it ended.
    pub ending: Ending,
    /// The module at the best validation; none where there was no validation.
    pub best: Option<Best<M>>,
}

/// The module at the best validation.
#[derive(Clone, Debug)]
pub struct Best<M> {
    /// Meta-iterations done then.
    pub iteration: u64,
    /// The first metric there, or the query loss.
    pub value: f64,
    /// The module.
    pub model: M,
    /// The learned inner rates, where there are any.
    pub rates: Option<InnerRates>,
}

impl<M: Module> Trained<M> {
    /// The module at the best validation, or the last one where there was none.
    pub fn into_model(self) -> M {
        self.into_learned().0
    }

    /// The same with the learned inner rates that belong to it, where there are any.
    pub fn into_learned(self) -> (M, Option<InnerRates>) {
        match self.best {
            Some(best) => (best.model, best.rates),
            None => (self.learner.model, self.learner.rates.map(|(rates, _)| rates)),
        }
    }
}

impl MetaTrainerConfig {
    /// A trainer with this meta-learner.
    ///
    /// # Errors
    ///
    /// [`Error::Trainer`](crate::Error::Trainer), naming the setting.
    pub fn init(&self, maml: Maml) -> Result<MetaTrainer> {
        self.check()?;
        Ok(MetaTrainer {
            config: self.clone(),
            evaluation: maml.clone(),
            evaluation_steps: None,
            maml,
            directory: None,
            settings: Value::Null,
            callbacks: Vec::new(),
            stop: CancelToken::new(),
            task_weight: None,
        })
    }
}

impl MetaTrainer {
    /// Takes another number of inner steps in validation and test, as MAML does on miniImageNet: 5 in training, 10 there.
    ///
    /// # Errors
    ///
    /// [`Error::NoSteps`](crate::Error::NoSteps).
    pub fn with_evaluation_steps(mut self, steps: usize) -> Result<Self> {
        self.evaluation = self.maml.with_steps(steps)?;
        self.evaluation_steps = Some(steps);
        Ok(self)
    }

    /// Keeps logs and checkpoints in a directory, which is made if it is not there, and goes on with the run it holds.
    #[must_use]
    pub fn in_directory(mut self, path: impl Into<PathBuf>) -> Self {
        self.directory = Some(path.into());
        self
    }

    /// Further settings of the run: written into its checkpoints, and compared when it is resumed.
    #[must_use]
    pub fn with_settings(mut self, settings: Value) -> Self {
        self.settings = settings;
        self
    }

    /// Adds somebody who watches, called after those before.
    #[must_use]
    pub fn with_callback(mut self, callback: impl Callback + 'static) -> Self {
        self.callbacks.push(Box::new(callback));
        self
    }

    /// Ends after the meta-step in work, with a checkpoint, once the token is cancelled: for Ctrl-C, say. A validation is broken
    /// off between tasks, and is the first thing when the run goes on; [`evaluate`](Self::evaluate) is too, with
    /// [`Error::Cancelled`](crate::Error::Cancelled).
    #[must_use]
    pub fn stopped_by(mut self, token: &CancelToken) -> Self {
        self.stop = token.clone();
        self
    }

    /// Weighs the tasks of a meta-batch by a function of their number: the meta-gradient is `sum w_i g_i / sum w_i`, and so are
    /// the loss and the metrics that are logged. Weights are finite and not negative, and those of a meta-batch not all zero:
    /// the run ends with [`Error::Weights`](crate::Error::Weights) otherwise.
    #[must_use]
    pub fn with_task_weights(mut self, weight: impl Fn(u64) -> f64 + 'static) -> Self {
        self.task_weight = Some(Box::new(weight));
        self
    }

    /// Trains to the end of the settings, from the start or from where the directory's run was.
    ///
    /// `tasks` is asked for every task in order, from that of the next meta-iteration on (and for the first of them once
    /// more, before training, to tell how much memory it will take).
    ///
    /// # Errors
    ///
    /// Those of a meta-step, with the meta-iteration; [`Error::Draw`](crate::Error::Draw) for a task that cannot be drawn;
    /// [`Error::Metric`](crate::Error::Metric); [`Error::Run`](crate::Error::Run) for the files of the run, a checkpoint that
    /// does not fit among them. What was written before remains, and the run can be resumed.
    ///
    /// # Cost
    ///
    /// Beside the meta-gradients: the norm of each, a reading of the metrics for each task, and K + 1 gradients' worth for
    /// each validation task.
    pub fn run<M, S, Q, L, E>(
        &mut self,
        learner: MetaLearner<M>,
        objective: &Objective<L, Q, L::Outputs>,
        mut tasks: impl FnMut(u64) -> Result<Task<S, Q>, E>,
        validation: Option<Validation<'_, S, Q>>,
    ) -> Result<Trained<M>>
    where
        M: Module,
        S: Batch,
        Q: Batch,
        L: Losses<M, S, Q>,
        E: Into<Cause>,
    {
        check_names(&objective.names())?;
        if let Some(Validation { count: 0, .. }) = validation {
            return config::setting("validation", "0 tasks, expected at least 1".into());
        }
        if self.config.patience.is_some() && (validation.is_none() || self.config.validate_every == 0) {
            return config::setting("patience", "there are no validations to count".into());
        }
        if let Some(rates) = learner.rates() {
            let start = Params::from_module(learner.model())?;
            for maml in [&self.maml, &self.evaluation] {
                let inner = &maml.config().inner;
                rates.check(inner.steps, &inner.adapting(&start)?)?;
            }
        }
        let metrics = objective.metrics.iter().map(|metric| json!([metric.name, metric.better])).collect();
        let settings = self.all_settings(metrics, validation.as_ref().map(|validation| validation.count))?;
        Run::open(self, objective, learner, settings)?.train(&mut tasks, validation)
    }

    /// Judges a module on tasks 0 to `count` of a source, as in validation.
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run).
    pub fn evaluate<M, S, Q, L, E>(
        &self,
        model: &M,
        objective: &Objective<L, Q, L::Outputs>,
        count: u64,
        mut tasks: impl FnMut(u64) -> Result<Task<S, Q>, E>,
    ) -> Result<Judged>
    where
        M: Module,
        S: Batch,
        Q: Batch,
        L: Losses<M, S, Q>,
        E: Into<Cause>,
    {
        self.evaluate_with(model, None, objective, count, &mut tasks, |_| {})
    }

    /// [`evaluate`](Self::evaluate) with learned inner rates, and somebody who is told how many tasks are done.
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run); [`Error::Rates`](crate::Error::Rates).
    pub fn evaluate_with<M, S, Q, L, E>(
        &self,
        model: &M,
        rates: Option<&InnerRates>,
        objective: &Objective<L, Q, L::Outputs>,
        count: u64,
        mut tasks: impl FnMut(u64) -> Result<Task<S, Q>, E>,
        progress: impl FnMut(u64),
    ) -> Result<Judged>
    where
        M: Module,
        S: Batch,
        Q: Batch,
        L: Losses<M, S, Q>,
        E: Into<Cause>,
    {
        let maml = rates.map_or_else(|| self.evaluation.clone(), |rates| self.evaluation.with_rates(rates));
        let judge =
            Judge { maml: &maml, objective, query_chunk: self.config.query_chunk, cancel: &self.stop, part: "test" };
        judge.judge(model, count, &mut tasks, progress)
    }

    /// All that the numbers of a run depend on, as far as it is known here.
    fn all_settings(&self, metrics: Vec<Value>, validation_tasks: Option<u64>) -> Result<Value> {
        let document =
            |value: serde_json::Result<Value>| value.map_err(|cause| directory::at("settings".as_ref(), cause));
        let mut maml = document(serde_json::to_value(self.maml.config()))?;
        let mut trainer = document(serde_json::to_value(&self.config))?;
        for (document, free) in [
            (&mut maml, &["threads"][..]),
            (&mut trainer, &["iterations", "checkpoint_every", "patience", "accumulate"]),
        ] {
            if let Value::Object(map) = document {
                map.retain(|key, _| !free.contains(&key.as_str()));
            }
        }
        Ok(json!({
            "maml": maml,
            "method": self.maml.method_name(),
            "rule": self.maml.rule_name(),
            "trainer": trainer,
            "evaluation_steps": self.evaluation_steps,
            "validation_tasks": validation_tasks,
            "metrics": metrics,
            "own": self.settings,
        }))
    }
}

/// Names become columns and keys.
fn check_names(names: &[String]) -> Result<()> {
    const TAKEN: [&str; 7] = ["iteration", "part", "loss", "learning_rate", "gradient_norm", "tasks", "is_best"];
    for (at, name) in names.iter().enumerate() {
        let plain = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
        let problem = if name.is_empty() || !name.chars().all(plain) {
            "expected letters, digits, `_`, `-` and `.`"
        } else if TAKEN.contains(&name.as_str()) || name.ends_with("_interval95") || names[..at].contains(name) {
            "the name is taken"
        } else {
            continue;
        };
        return config::setting("metrics", format!("`{name}`: {problem}"));
    }
    Ok(())
}
