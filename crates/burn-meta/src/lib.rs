#![doc = include_str!("../README.md")]
//!
//! # Layout
//!
//! One file holds one concept: `inner` the inner loop, `estimator/` the formulas, over `unrolled` (an inner loop seen from its end) and `vector`, `maml` what puts them together over a
//! module, [`models`] backbones, [`parity`] golden values.

mod error;
mod estimator;
mod implicit;
mod inner;
mod maml;
pub mod models;
pub mod parity;
mod quadratics;
mod recommend;
mod theory;
mod unrolled;
mod vector;

pub use burn_func;
pub use error::{Error, Place, Result};
pub use estimator::{Estimate, Estimator, Expansion};
pub use implicit::{Solution, SolveError, Solver};
pub use inner::InnerSgdConfig;
pub use maml::{Evaluation, Maml, MamlConfig, MetaStep, Report, Task, TaskLosses};
pub use recommend::{Budget, Recommendation, recommend};
pub use theory::{Bounds, Curvature};
pub use unrolled::{Descent, GradientDescent, Unrolled};
pub use vector::Vector;
