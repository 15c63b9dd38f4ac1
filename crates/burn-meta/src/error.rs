//! What can go wrong, with the task, the step and what was expected.
//!
//! Does not know: how any of it came about.

use std::fmt;

use crate::implicit::SolveError;

/// Where in a task something happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Place {
    /// The support loss of an inner step, counted from 0.
    InnerStep(usize),
    /// The query loss after adaptation.
    Query,
    /// The query loss after this many inner steps, of a multi-step loss.
    QueryAfter(usize),
    /// The meta-gradient itself.
    MetaGradient,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InnerStep(step) => write!(f, "support loss of inner step {step}"),
            Self::Query => f.write_str("query loss"),
            Self::QueryAfter(steps) => write!(f, "query loss after {steps} inner step(s)"),
            Self::MetaGradient => f.write_str("meta-gradient"),
        }
    }
}

/// Error of an inner loop or an estimator.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The order of an estimator is not one of 0..=K.
    #[error("order {order} with {steps} inner step(s): the order of {estimator} is at most the number of inner steps")]
    Order {
        /// The estimator asked for.
        estimator: &'static str,
        /// Its order.
        order: usize,
        /// Inner steps.
        steps: usize,
    },

    /// A setting of an estimator that nothing can be estimated with.
    #[error("{estimator}: {problem}")]
    Estimator {
        /// The estimator asked for.
        estimator: &'static str,
        /// What is wrong with its settings, and what was expected.
        problem: String,
    },

    /// Numbers that a bound cannot be computed with.
    #[error("no bound: {problem}")]
    Theory {
        /// What is wrong with them, and what was expected.
        problem: String,
    },

    /// An inner loop without steps adapts nothing.
    #[error("the inner loop has 0 steps: at least 1 is needed to adapt")]
    NoSteps,

    /// The inner learning rate is not a positive number.
    #[error("the inner learning rate is {rate}: a positive finite number is needed")]
    LearningRate {
        /// The rate asked for.
        rate: f64,
    },

    /// A setting of the inner loop is out of range.
    #[error("inner loop: {setting} is {problem}")]
    InnerLoop {
        /// The setting.
        setting: &'static str,
        /// Its value, and what was expected.
        problem: String,
    },

    /// Learned rates that do not fit the inner loop or the module.
    #[error("learned rates: {problem}")]
    Rates {
        /// What there is, and what was expected.
        problem: String,
    },

    /// Weights that nothing can be averaged with.
    #[error("weights of the {of}: {problem}")]
    Weights {
        /// What they are for.
        of: &'static str,
        /// What is wrong with them, and what was expected.
        problem: String,
    },

    /// Query sets that cannot be taken in pieces.
    #[error("query sets in pieces: {problem}")]
    QueryChunk {
        /// What stands against it, and what was expected.
        problem: String,
    },

    /// A piece that does not go with the others of its meta-batch.
    #[error("accumulation: {problem}")]
    Accumulation {
        /// What is wrong with it, and what was expected.
        problem: String,
    },

    /// The meta-batch was called off.
    #[error("cancelled after {done} of {tasks} task(s)")]
    Cancelled {
        /// Tasks that were done.
        done: usize,
        /// Tasks in all.
        tasks: usize,
    },

    /// A setting of a trainer that nothing can be trained with.
    #[error("trainer: {setting}: {problem}")]
    Trainer {
        /// The setting.
        setting: &'static str,
        /// What is wrong with it, and what was expected.
        problem: String,
    },

    /// A task could not be drawn.
    #[error("task {index} of the {part}: {cause}")]
    Draw {
        /// What it was for.
        part: &'static str,
        /// Its number.
        index: u64,
        /// Why not.
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
    },

    /// A metric is infinite or not a number.
    #[error("metric {metric} of task {task} is {value}")]
    Metric {
        /// Its name.
        metric: String,
        /// Number of the task.
        task: u64,
        /// Its value.
        value: f64,
    },

    /// A file of a run cannot be read, written or used.
    #[error("{path}: {problem}")]
    Run {
        /// The file or directory.
        path: String,
        /// What is wrong with it, and what was expected.
        problem: String,
    },

    /// Something went wrong in the course of a longer work.
    #[error("{what}: {cause}")]
    During {
        /// What was being done.
        what: String,
        /// What went wrong.
        cause: Box<Error>,
    },

    /// The linear system of the implicit estimator was not solved.
    #[error("task {task}, implicit meta-gradient: {problem}")]
    Solve {
        /// Index of the task in the meta-batch.
        task: usize,
        /// Why not.
        problem: SolveError<burn_func::Error>,
    },

    /// Nothing can be done on no thread.
    #[error("0 threads: at least 1 is needed")]
    NoThreads,

    /// A meta-batch without tasks has no meta-gradient.
    #[error("the meta-batch has no tasks: at least 1 is needed")]
    EmptyMetaBatch,

    /// A loss or gradient is infinite or not a number.
    #[error("task {task}: the {place} is {value} (a smaller inner learning rate may help)")]
    NonFinite {
        /// Index of the task in the meta-batch.
        task: usize,
        /// Which quantity.
        place: Place,
        /// Its value.
        value: f64,
    },

    /// A closure cannot be traced or differentiated, or a program failed.
    #[error(transparent)]
    Func(#[from] burn_func::Error),

    /// A fixture cannot be read or used.
    #[error("{path}: {problem}")]
    Fixture {
        /// The file concerned.
        path: String,
        /// What is wrong with it, and what was expected.
        problem: String,
    },

    /// A file of weights cannot be read, does not fit the network, or cannot be written.
    #[error("{path}: {problem}")]
    WeightsFile {
        /// The file concerned.
        path: String,
        /// What is wrong with it, and what was expected.
        problem: String,
    },

    /// Settings that no backbone can be made with.
    #[error("{name}: {problem}")]
    Backbone {
        /// The name of the backbone.
        name: String,
        /// What is wrong with its settings, and what was expected.
        problem: String,
    },
}

/// Result of an inner loop or an estimator.
pub type Result<T, E = Error> = std::result::Result<T, E>;
