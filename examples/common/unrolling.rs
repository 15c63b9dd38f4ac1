//! The inner loop of a task, run and linearized at every step, at a rate or at a reach: the rate times the largest norm of a
//! Hessian along the loop.
//!
//! Does not know: estimators, where tasks come from.

use burn_func::{Batch, Error, LanczosConfig, Linearization, Params, Traced};
use burn_meta::{GradientDescent, Task, Unrolled};

use crate::failure::Failure;

/// A task whose inner loop can be run.
pub struct Adaptable<'a, B> {
    /// Trace of the loss on a support set.
    pub support: &'a Traced<B>,
    /// Trace of the loss on a query set.
    pub query: &'a Traced<B>,
    /// Where the loop starts.
    pub start: &'a Params,
    /// The task.
    pub task: &'a Task<B>,
}

/// An inner loop of gradient descent that was run.
pub struct Unrolling {
    /// The inner learning rate.
    pub rate: f64,
    points: Vec<Linearization>,
    query_grad: Params,
}

/// How close a reach is to what was asked for: far closer than the values that are compared lie to each other.
const CLOSE: f64 = 0.02;

/// Loops that are run for a reach. Nearly all are close after one or two.
const TRIES: usize = 20;

impl<B: Batch> Adaptable<'_, B> {
    /// The loop at a rate.
    ///
    /// # Errors
    ///
    /// Those of [`Traced::linearize`].
    pub fn at_rate(&self, steps: usize, rate: f64) -> Result<Unrolling, Error> {
        let mut end = self.start.clone();
        let mut points = Vec::with_capacity(steps);
        for _ in 0..steps {
            let point = self.support.linearize(&end, &self.task.support)?;
            end = end.axpy(-rate, point.grad());
            points.push(point);
        }
        let (_, query_grad, ()) = self.query.value_and_grad(&end, &self.task.query)?;
        Ok(Unrolling { rate, points, query_grad })
    }

    /// The loop at a reach.
    ///
    /// The curvature along the loop depends on the rate. The reach is zero at rate zero, and at least as large as asked at the
    /// rate that the start's curvature suggests: in between there is one, which is searched for. Where curvature jumps, as
    /// it does with kinks in the loss, there may be none that is close, and the last one tried is taken.
    ///
    /// # Errors
    ///
    /// Those of [`Traced::linearize`]; [`Failure::Failed`] where the loss has no curvature at the start.
    pub fn at_reach(&self, steps: usize, reach: f64) -> Result<Unrolling, Failure> {
        let flat = || Failure::failed("the support loss has no curvature at the start: no rate gives a reach");
        let start = norm(&self.support.linearize(self.start, &self.task.support)?)?;
        let (mut low, mut high) = (0.0, reach / start);
        if !high.is_finite() {
            return Err(flat());
        }
        let mut run = self.at_rate(steps, high)?;
        for _ in 1..TRIES {
            let found = run.reach()?;
            if (found / reach - 1.0).abs() <= CLOSE {
                break;
            }
            if found < reach {
                low = run.rate
            } else {
                high = run.rate
            }
            // As if curvature stayed as it is; by halves where that leaves the interval.
            let next = run.rate * reach / found;
            let next = if low < next && next < high { next } else { 0.5 * (low + high) };
            run = self.at_rate(steps, next)?;
        }
        Ok(run)
    }
}

impl Unrolling {
    /// What the estimators read.
    pub fn system(&self) -> impl Unrolled<State = Params, Error = Error> + '_ {
        let hvp = |step: usize, v: &Params| self.points[step].hvp(v);
        GradientDescent::new(self.points.len(), self.rate, self.query_grad.clone(), hvp)
    }

    /// The rate times the largest norm of a Hessian along the loop; infinite where the loop diverged.
    ///
    /// # Errors
    ///
    /// Those of the products.
    pub fn reach(&self) -> Result<f64, Error> {
        self.points.iter().try_fold(0.0, |largest: f64, point| Ok(largest.max(self.rate * norm(point)?)))
    }

    /// How much the Hessian changes along the loop, where it matters: `||(H_{K-1} - H_0) g|| / ||H_0 g||`.
    ///
    /// # Errors
    ///
    /// Those of the products.
    pub fn drift(&self) -> Result<f64, Error> {
        let [first, .., last] = &self.points[..] else { return Ok(0.0) };
        let (first, last) = (first.hvp(&self.query_grad)?, last.hvp(&self.query_grad)?);
        Ok(last.sub(&first).norm() / first.norm())
    }
}

/// The largest magnitude of an eigenvalue, to about a per mille: the error of the value is quadratic in the residual.
fn norm(point: &Linearization) -> Result<f64, Error> {
    match point.spectral_norm(&LanczosConfig::new().with_steps(30).with_tolerance(0.03)) {
        Ok(norm) => Ok(norm.value),
        Err(Error::NonFiniteValue { .. }) => Ok(f64::INFINITY),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{DType, Device, Tensor};
    use burn_func::{cast, trace};
    use burn_meta::models::{Mlp, MlpConfig, mean_squared_error};

    use super::*;
    use crate::seed::seeded;
    use crate::sinusoids::{Batch, Purpose, Sinusoids};

    #[test]
    fn a_reach_is_found_along_the_whole_loop() {
        let device = Device::flex().autodiff();
        let net = seeded(0, &device, |device| MlpConfig::new(vec![1, 40, 40, 1]).init(device)).unwrap();
        let net = cast(&net, DType::F64);
        let task = Sinusoids { seed: 0, shot: 10, query: 10 }.task(Purpose::Study, 0, 0, (&device, DType::F64));
        let loss = |net: &Mlp, (x, y): Batch| -> Tensor<1> { mean_squared_error(net.forward(x), y) };
        let (traced, start) = (trace(&net, &task.support, loss).unwrap(), Params::from_module(&net).unwrap());
        let task = Adaptable { support: &traced, query: &traced, start: &start, task: &task };
        for reach in [0.01, 0.3, 1.0] {
            let found = task.at_reach(5, reach).unwrap();
            // By the definition, with eigenvalues to more digits.
            let norms = found.points.iter().map(|point| point.spectral_norm(&LanczosConfig::new()).unwrap().value);
            let largest = found.rate * norms.fold(0.0, f64::max);
            assert!((largest / reach - 1.0).abs() <= CLOSE + 0.01, "{largest} for {reach}");
        }
    }
}
