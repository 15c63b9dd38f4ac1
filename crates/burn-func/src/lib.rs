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
//! the point once; [`Linearization::hvp`] runs what is linear in the vector, as often as wanted. [`vmap`] makes one program
//! of many runs: [`Linearization::hvps`], [`Traced::value_and_grad_many`].
//!
//! One file holds one concept:
//!
//! * what goes in: `params` (points and directions), `filter` (which parameters), `batch`, `value` (a tensor without its
//!   rank), `buffers` (running statistics), `fill` (constants set
//!   from outside), `random` (what random operations draw), `cast`, `transfer` (to other devices);
//! * recording: `capture` (devices that record), `trace`, `stop` and `custom` (operations of one's own in a closure);
//! * graphs: `graph`, `attributes` and `dot` (listings and drawings), `emit` with `emit_choice` (appending operations),
//!   `lower` (expanding custom operations), `legalize` (a graph for a device), `passes/` (simplification);
//! * derivatives: `rules/` (what is known of each operation), `jvp` (forward mode), `linearize` (what depends on the point,
//!   what on the vector), `vmap` with `vmap/` (a batch axis);
//! * running: `residuals` (what is kept), `memory` (who shares a buffer), `program`, `compiled` (the programs of a graph, and
//!   their cache), `costs`, `executor`, `quiet` (caught panics);
//! * what comes out: `transforms`, `forward`, `vector`, `many`, `gauss_newton`, `dense`, `hutchinson`, `lanczos` on
//!   `tridiagonal`;
//! * doubt: `verify` (gradients against forward mode), `check` on `double` (a closure in double precision), `error`.

mod attributes;
mod batch;
mod buffers;
mod capture;
mod cast;
mod check;
mod compiled;
mod conv1d;
mod costs;
mod custom;
mod dense;
mod dot;
mod double;
mod emit;
mod emit_choice;
mod error;
mod executor;
mod fill;
mod filter;
mod forward;
mod gaps;
mod gauss_newton;
pub mod graph;
mod hutchinson;
mod jvp;
mod lanczos;
mod layout;
mod legalize;
mod linearize;
mod lower;
mod many;
mod memory;
mod params;
mod passes;
mod program;
mod quiet;
mod random;
#[cfg(feature = "remote")]
mod remote;
mod residuals;
pub mod rules;
mod stop;
mod trace;
mod transfer;
mod transforms;
mod tridiagonal;
mod value;
mod vector;
mod verify;
mod vmap;

pub use batch::{Batch, BatchMapper, Output};
pub use buffers::Buffers;
/// Implements [`trait@Batch`] for a struct: see there.
pub use burn_func_derive::Batch;
pub use cast::cast;
pub use check::{Claim, Finding, Report, check};
pub use compiled::{CacheCounts, ProgramCache};
pub use costs::{Costs, ProgramCosts};
pub use dense::{DENSE_LIMIT, dense};
pub use emit::Emitter;
pub use error::{Error, Result, Transform};
pub use filter::Filter;
pub use forward::jvp;
pub use gauss_newton::{GaussNewton, TracedGaussNewton, gauss_newton, trace_gauss_newton};
pub use hutchinson::{DiagonalEstimate, TraceEstimate, estimate_diagonal, estimate_trace};
pub use jvp::Jvp;
pub use lanczos::{
    LanczosConfig, Ritz, RitzPair, SpectralNorm, Spectrum, lanczos, lanczos_from, spectral_norm, spectral_norm_from,
};
pub use linearize::Linearized;
pub use params::{ParamSpec, Params};
pub use random::Key;
pub use residuals::Residuals;
pub use stop::stop_gradient;
pub use transforms::{
    Linearization, Traced, finite, hvp, linearize, trace, trace_filtered, trace_with, value_and_grad,
};
pub use value::{TensorSpec, Value};
pub use vector::{TracedVector, VectorLinearization, trace_vector, trace_vector_with};
pub use vmap::{Vmap, vmap};
