#![doc = include_str!("../README.md")]
//!
//! # How it works
//!
//! ```text
//! closure --trace--> graph --linearize--> primal + linear --program--> any Burn backend
//! ```
//!
//! [`trace`] runs the closure once on a capture device with autodiff on top: forward and backward pass become one
//! [`graph`] of Burn's own intermediate representation. Forward-mode differentiation of that graph, operation by
//! operation after the [table of rules](rules), gives Hessian-vector products. [`Traced::linearize`] runs what depends on
//! the point once; [`Linearization::hvp`] runs what is linear in the vector, as often as wanted.
//!
//! One file holds one concept: `trace`, `graph`, `passes`, `rules/`, `jvp`, `linearize`, `program`, `executor`, `params`,
//! `transforms`, in the order in which data flows.

mod batch;
mod capture;
mod cast;
mod compiled;
mod emit;
mod error;
mod executor;
pub mod graph;
mod jvp;
mod linearize;
mod params;
mod passes;
mod program;
pub mod rules;
mod stop;
mod trace;
mod transforms;
mod value;
mod verify;

pub use batch::{Batch, BatchMapper, Output};
pub use cast::cast;
pub use compiled::ProgramCache;
pub use emit::Emitter;
pub use error::{Error, Result, Transform};
pub use jvp::Jvp;
pub use linearize::Linearized;
pub use params::{ParamSpec, Params};
pub use stop::stop_gradient;
pub use transforms::{Costs, Linearization, Traced, finite, hvp, linearize, trace, trace_with, value_and_grad};
pub use value::{TensorSpec, Value};
