//! The inner loop of one task, as estimators see it.
//!
//! Does not know: formulas of the estimators, how the loop was run.

use burn_func::Params;

use crate::error::{Error, Result};
use crate::inner::Trajectory;
use crate::parallel::side_by_side;
use crate::state::State;
use crate::unrolled::{Descent, Unrolled};
use crate::update::{Update, kept};

/// The inner loop of one task after it was run: an [`Unrolled`] system whose products are Hessian-vector products of the
/// support loss. An estimator of one's own gets it: see [`CustomEstimator`](crate::CustomEstimator).
pub struct TaskLoop<'a> {
    pub(crate) update: &'a Update,
    pub(crate) trajectory: &'a Trajectory,
    /// Gradients of the query loss, weighted, after each number of steps from 0 to K.
    pub(crate) sources: Vec<Option<Params>>,
    /// Threads for products that do not wait for each other.
    pub(crate) threads: usize,
}

impl TaskLoop<'_> {
    fn with_memory(&self, params: Params) -> State {
        State { params, memory: self.update.empty().to_vec() }
    }

    /// The learning-rate gradient of a step, by the cotangent of the state after it.
    pub(crate) fn to_rate(&self, step: usize, z: &State) -> burn::tensor::Tensor<1> {
        let (at, grad) = &self.trajectory.states[step];
        self.update.to_rate(step, at, grad, z)
    }
}

impl Unrolled for TaskLoop<'_> {
    type State = State;
    type Error = Error;

    fn steps(&self) -> usize {
        self.trajectory.losses.len()
    }

    fn source(&self, step: usize) -> Option<State> {
        self.sources[step].clone().map(|grad| self.with_memory(grad))
    }

    fn still(&self, step: usize, z: &State) -> State {
        match self.update.descent(step) {
            Some(Descent { keep, .. }) => kept(z, keep),
            None => {
                let (at, grad) = &self.trajectory.states[step];
                self.update.still(step, at, grad, z)
            }
        }
    }

    fn through(&self, step: usize, z: &State) -> State {
        self.with_memory(match self.update.descent(step) {
            Some(Descent { rate, .. }) => z.params.scale(-rate),
            None => {
                let (at, grad) = &self.trajectory.states[step];
                self.update.to_grad(step, at, grad, z)
            }
        })
    }

    fn hessian(&self, step: usize, v: &State) -> Result<State> {
        let point = self.trajectory.points[step].as_ref().ok_or_else(|| Error::Estimator {
            estimator: "this estimator",
            problem: format!("asked for a product at inner step {step}, which is not among the steps it reads"),
        })?;
        Ok(self.with_memory(point.hvp(&v.params)?))
    }

    fn curved_each(&self, work: &[(usize, &State)]) -> Result<Vec<State>> {
        let product = |at: usize| {
            let (step, z) = work[at];
            self.curved(step, z)
        };
        side_by_side(work.len(), self.threads, product).into_iter().collect()
    }

    fn adapting(&self, v: &State) -> Option<State> {
        (!self.update.adapts_all()).then(|| self.with_memory(self.update.padded(&self.update.part(&v.params))))
    }

    fn descent(&self, step: usize) -> Option<Descent> {
        self.update.descent(step)
    }
}
