//! The inner loop: plain gradient descent on the support set.
//!
//! Does not know: estimators, meta-batches.

use burn::config::Config;
use burn::tensor::Tensor;
use burn_func::{Batch, Key, Linearization, Params, Traced};

use crate::error::{Error, Result};

/// Settings of the inner loop.
#[derive(Config, Debug, PartialEq)]
pub struct InnerSgdConfig {
    /// Inner learning rate.
    pub learning_rate: f64,
    /// Number of inner steps, K.
    #[config(default = 5)]
    pub steps: usize,
}

impl InnerSgdConfig {
    /// Checks the settings.
    ///
    /// # Errors
    ///
    /// [`Error::NoSteps`], [`Error::LearningRate`].
    pub fn check(&self) -> Result<()> {
        if self.steps == 0 {
            return Err(Error::NoSteps);
        }
        let rate = self.learning_rate;
        if rate.is_finite() && rate > 0.0 { Ok(()) } else { Err(Error::LearningRate { rate }) }
    }

    /// Runs the loop from `start`; step k draws from `key.fold(k)`. Steps for which `keep` holds leave their linearization
    /// behind.
    pub(crate) fn run<B: Batch, A: Batch>(
        &self,
        support: &Traced<B, A>,
        start: &Params,
        batch: &B,
        key: Key,
        keep: impl Fn(usize) -> bool,
    ) -> Result<Trajectory> {
        let mut trajectory = Trajectory { end: start.clone(), losses: Vec::new(), points: Vec::new() };
        for step in 0..self.steps {
            let support = support.keyed(key.fold(step as u64));
            let (loss, grad, point) = if keep(step) {
                let point = support.linearize(&trajectory.end, batch)?;
                (point.loss().clone(), point.grad().clone(), Some(point))
            } else {
                let (loss, grad, _) = support.value_and_grad(&trajectory.end, batch)?;
                (loss, grad, None)
            };
            trajectory.points.push(point);
            trajectory.end = trajectory.end.axpy(-self.learning_rate, &grad);
            trajectory.losses.push(loss);
        }
        Ok(trajectory)
    }
}

impl Trajectory {
    /// The product of the Hessian before a step with `v`.
    ///
    /// # Panics
    ///
    /// Panics if the step's linearization was not kept.
    pub fn hvp(&self, step: usize, v: &Params) -> Result<Params> {
        let point = self.points[step].as_ref().expect("an estimator multiplies with the steps that it reads");
        Ok(point.hvp(v)?)
    }

    /// Bytes that the linearizations hold beyond points, batch and constants.
    pub fn residual_bytes(&self) -> usize {
        self.points.iter().flatten().map(Linearization::residual_bytes).sum()
    }
}

/// What an inner loop leaves behind.
pub(crate) struct Trajectory {
    /// The adapted parameters.
    pub end: Params,
    /// Support loss before each step.
    pub losses: Vec<Tensor<1>>,
    /// The linearization of each step, where it was kept.
    pub points: Vec<Option<Linearization>>,
}
