#![doc = include_str!("../README.md")]
//!
//! # Layout
//!
//! One file holds one concept: `inner` the inner loop, `estimator` the formulas, `maml` what puts them together over a
//! module, [`models`] backbones, [`parity`] golden values.

mod error;
mod estimator;
mod inner;
mod maml;
pub mod models;
pub mod parity;

pub use burn_func;
pub use error::{Error, Place, Result};
pub use estimator::{Estimator, Expansion, Vector};
pub use inner::InnerSgdConfig;
pub use maml::{Evaluation, Maml, MamlConfig, MetaStep, Report, Task, TaskLosses};
