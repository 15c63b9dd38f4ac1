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
            let (loss, grad) = if keep(step) {
                let point = support.linearize(&trajectory.end, batch)?;
                let taken = (point.loss().clone(), point.grad().clone());
                trajectory.points.push(point);
                taken
            } else {
                let (loss, grad, _) = support.value_and_grad(&trajectory.end, batch)?;
                (loss, grad)
            };
            trajectory.end = trajectory.end.axpy(-self.learning_rate, &grad);
            trajectory.losses.push(loss);
        }
        Ok(trajectory)
    }
}

/// What an inner loop leaves behind.
pub(crate) struct Trajectory {
    /// The adapted parameters.
    pub end: Params,
    /// Support loss before each step.
    pub losses: Vec<Tensor<1>>,
    /// Linearizations of the steps that were kept, in order.
    pub points: Vec<Linearization>,
}
