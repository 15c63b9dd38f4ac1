//! What a meta-step did, and what it took.
//!
//! Does not know: how any of it is done.

use serde::{Deserialize, Serialize};

use crate::estimator::Estimator;

/// What a meta-gradient took.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The number of the meta-step.
    pub meta_step: u64,
    /// Name of the estimator that ran.
    pub name: String,
    /// Its settings; none for an estimator of one's own.
    pub estimator: Option<Estimator>,
    /// Its order; of an adaptive estimator the largest that a task took.
    pub order: usize,
    /// Tasks of the meta-batch.
    pub tasks: usize,
    /// Gradients taken, on support and query sets.
    pub gradients: usize,
    /// Hessian-vector products taken.
    pub products: usize,
    /// The relative size of what the estimate leaves out, of the task that leaves out most, where the estimator can tell.
    pub neglected: Option<f64>,
    /// Tasks whose estimate may be mostly error by its own account ([`Estimate::is_unreliable`](crate::Estimate::is_unreliable)):
    /// rate times curvature is more than it can follow.
    pub unreliable: usize,
    /// Of the implicit estimator.
    pub implicit: Option<ImplicitReport>,
    /// Most bytes that the residuals of one task kept alive.
    pub residual_bytes: usize,
    /// Most bytes alive at a time beyond model and batches: residuals, points, vectors and the largest program for all tasks in
    /// work, and the gradients of the tasks that wait to be summed. An estimate, made of shapes;
    /// [`MetaBatch::memory`](crate::MetaBatch::memory) has it beforehand.
    pub peak_bytes: usize,
    /// Threads that tasks were spread over.
    pub threads: usize,
    /// Seconds from beginning to end. Differs from run to run.
    pub seconds: f64,
    /// Where they went. Differs from run to run.
    pub phases: Phases,
}

/// How near the assumptions of the implicit estimator were to hold, in the task where they were farthest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ImplicitReport {
    /// `||b - A v|| / ||b||` of the linear system.
    pub residual: f64,
    /// `||a + b|| / (||a|| + ||b||)` with the gradient a of the support loss and the proximal term b, which cancel where the
    /// inner problem is solved: 0 there, 1 far from it. The meta-gradient is that of a solved inner problem, and wrong by
    /// about as much as this is from zero.
    pub stationarity: f64,
}

/// Seconds by phase, summed over tasks: on several threads they add up to more than passed. A device that works ahead of the
/// host is waited for in the phase that reads from it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Phases {
    /// Recording the closures.
    pub trace: f64,
    /// Inner loops.
    pub inner: f64,
    /// Query losses and their gradients.
    pub query: f64,
    /// Estimates of the meta-gradient.
    pub estimate: f64,
}

impl Phases {
    pub(crate) fn add(&mut self, other: &Self) {
        self.trace += other.trace;
        self.inner += other.inner;
        self.query += other.query;
        self.estimate += other.estimate;
    }
}

impl ImplicitReport {
    /// The worse of each.
    pub(crate) fn worst(self, other: Self) -> Self {
        Self { residual: self.residual.max(other.residual), stationarity: self.stationarity.max(other.stationarity) }
    }
}
