//! What happens in a run, for those who watch it.
//!
//! Does not know: who watches.

use std::fmt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::metric::Better;
use super::summary::Summary;
use crate::memory::MemoryEstimate;
use crate::report::Report;

/// Something that happened.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// The first meta-step is about to be taken.
    Began(&'a Beginning),
    /// A meta-step was taken.
    Step(&'a StepRecord),
    /// Some tasks of a validation are done.
    Validating {
        /// Meta-iterations done.
        iteration: u64,
        /// Tasks judged so far.
        done: u64,
        /// Tasks in all.
        tasks: u64,
    },
    /// A validation is done.
    Validated(&'a ValidationRecord),
    /// A checkpoint was written.
    Saved {
        /// Meta-iterations done.
        iteration: u64,
        /// Its directory.
        path: &'a Path,
    },
    /// Training is over.
    Ended {
        /// Meta-iterations done.
        iteration: u64,
        /// Why.
        ending: Ending,
    },
}

/// What is known before the first meta-step.
#[derive(Clone, Debug)]
pub struct Beginning {
    /// Meta-iterations done before, of a resumed run.
    pub iteration: u64,
    /// Meta-iterations in all.
    pub iterations: u64,
    /// Meta-iterations from one validation to the next; 0 for none.
    pub validate_every: u64,
    /// Names of the metrics, with the way they get better.
    pub metrics: Vec<(String, Better)>,
    /// What a meta-step is expected to take; none where no meta-step is left to take.
    pub memory: Option<MemoryEstimate>,
}

/// A meta-step.
#[derive(Clone, Debug)]
pub struct StepRecord {
    /// Meta-iterations done, this one included.
    pub iteration: u64,
    /// Mean query loss after adaptation, before the meta-step; weighted as the tasks are.
    pub loss: f64,
    /// Mean over the tasks of each metric, by name; weighted as the tasks are.
    pub metrics: Vec<(String, f64)>,
    /// Learning rate of the meta-step.
    pub learning_rate: f64,
    /// Euclidean norm of the meta-gradient, before it was clipped.
    pub gradient_norm: f64,
    /// Seconds it took, drawing the tasks included. Differs from run to run.
    pub seconds: f64,
    /// What the meta-gradient took.
    pub report: Report,
}

/// A validation.
#[derive(Clone, Debug, PartialEq)]
pub struct ValidationRecord {
    /// Meta-iterations done.
    pub iteration: u64,
    /// Query loss after adaptation.
    pub loss: Summary,
    /// Each metric, by name.
    pub metrics: Vec<(String, Summary)>,
    /// Whether it is the best so far.
    pub is_best: bool,
    /// Seconds it took. Differs from run to run.
    pub seconds: f64,
}

/// Why training is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ending {
    /// All meta-iterations were done.
    Done,
    /// As many validations as the patience allows passed without an improvement.
    EarlyStopping,
    /// A callback or a [`CancelToken`](crate::CancelToken) asked for it; a checkpoint was written, and the same call goes on.
    Stopped,
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Done => "all meta-iterations are done",
            Self::EarlyStopping => "validation has not improved for as long as was allowed",
            Self::Stopped => "stopped on request",
        })
    }
}

/// What a callback wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a run stops if a callback says so"]
pub enum Control {
    /// Go on.
    Continue,
    /// End after this meta-step, with a checkpoint.
    Stop,
}

/// Watches a run: a progress bar, a dashboard, a log of one's own. Closures are callbacks.
///
/// # Example
///
/// ```
/// use burn_meta::{Control, Event};
///
/// let stop_when_good = |event: &Event<'_>| match event {
///     Event::Step(step) if step.loss < 0.1 => Control::Stop,
///     _ => Control::Continue,
/// };
/// # fn callback(_: impl burn_meta::Callback) {}
/// # callback(stop_when_good);
/// ```
pub trait Callback {
    /// Called for every event, in order, between meta-steps: what takes long here holds the training up.
    fn on_event(&mut self, event: &Event<'_>) -> Control;
}

impl<F: FnMut(&Event<'_>) -> Control> Callback for F {
    fn on_event(&mut self, event: &Event<'_>) -> Control {
        self(event)
    }
}
