#![doc = include_str!("../README.md")]
//!
//! # Data flow
//!
#![doc = include_str!("../pictures/data-flow.svg")]
//!
//! # Layout
//!
//! One file holds one concept:
//!
//! * a step of the inner loop: `rule` (what it makes of the gradient), `rates`, `update` (the whole step and its
//!   derivative), `state`; `inner` runs them, `inner_step` tells the network which it is in;
//! * the meta-gradient: `estimator/` the formulas, over `unrolled` (an inner loop seen from its end) and `vector`;
//!   `implicit` the linear system of iMAML; `custom` estimators of one's own; `curvature` measured, `theory` what follows for the errors, `recommend` on model loops
//!   (`quadratics`);
//! * a task: `task_loop` (its inner loop as estimators see it), `task_gradient`, `kept` (what it holds meanwhile);
//! * many: `maml` settings and the meta-learner, `meta_batch` tasks side by side, `accumulate` pieces of a meta-batch,
//!   `query_chunks` pieces of a query set (`leading` cuts batches and joins them), `traces`, `parallel`, `memory` foretold,
//!   `report`;
//! * training: `trainer/` from settings and tasks to a trained module, with validation, checkpoints and logs;
//! * [`models`] backbones, [`parity`] golden values, `error`.

mod accumulate;
mod curvature;
mod custom;
mod error;
mod estimator;
#[doc = include_str!("../GUIDE.md")]
pub mod guide {}
mod implicit;
mod inner;
mod inner_step;
mod kept;
mod leading;
mod maml;
mod memory;
mod meta_batch;
pub mod models;
mod parallel;
pub mod parity;
mod quadratics;
mod query_chunks;
mod rates;
mod recommend;
mod report;
mod rule;
mod state;
mod task_gradient;
mod task_loop;
mod theory;
mod traces;
mod trainer;
mod training;
mod unrolled;
mod update;
mod vector;

pub use accumulate::Accumulator;
pub use burn_func;
pub use curvature::InnerCurvature;
pub use custom::CustomEstimator;
pub use error::{Error, Place, Result};
pub use estimator::{Estimate, Estimator, Expansion};
pub use implicit::{Solution, SolveError, Solver};
pub use inner::{Clip, InnerLoopConfig, InnerSgdConfig};
pub use inner_step::InnerStep;
pub use maml::{Evaluation, Maml, MamlConfig, MetaStep, Task, multi_step_weights};
pub use memory::MemoryEstimate;
pub use meta_batch::{MetaBatch, Progress};
pub use parallel::CancelToken;
pub use rates::{InnerRates, InnerRatesConfig, RateGroup, RatesPer};
pub use recommend::{Budget, Recommendation, recommend};
pub use report::{ImplicitReport, Phases, Report};
pub use rule::{InnerRule, Rule, RuleInput, RuleOutput};
pub use state::State;
pub use task_gradient::TaskLosses;
pub use task_loop::TaskLoop;
pub use theory::{Bounds, Curvature};
pub use trainer::{
    Beginning, Best, Better, Callback, Checkpoint, Control, Ending, Event, Judged, Losses, MetaClip, MetaLearner,
    MetaTrainer, MetaTrainerConfig, Metric, Objective, OneLoss, StepRecord, Summary, Trained, TwoLosses, Validation,
    ValidationRecord, accuracy, student95,
};
#[cfg(feature = "dashboard")]
pub use trainer::{Dashboard, MetricLog};
pub use unrolled::{Descent, GradientDescent, Unrolled};
pub use vector::Vector;
