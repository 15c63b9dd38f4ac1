//! The meta-gradient of one task.
//!
//! Does not know: meta-batches, threads of tasks, formulas of the estimators.

use std::time::Instant;

use burn::tensor::Tensor;
use burn_func::{Batch, Key, Params, Traced};
use serde::{Deserialize, Serialize};

use crate::custom::Method;
use crate::error::{Error, Place, Result};
use crate::estimator::{Estimate, Estimator};
use crate::implicit::Solver;
use crate::inner::{InnerLoopConfig, Keep, Trajectory};
use crate::inner_step::after_steps;
use crate::kept::Kept;
use crate::query_chunks::QuerySet;
use crate::report::{ImplicitReport, Phases};
use crate::task_loop::TaskLoop;
use crate::update::Update;

/// Losses of one task.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TaskLosses {
    /// Support loss before each inner step.
    pub support: Vec<f64>,
    /// Query loss after the last.
    pub query: f64,
    /// Query loss after each inner step, of a multi-step loss: where its weight is zero there is none, and it is not a number.
    /// Empty otherwise.
    pub query_steps: Vec<f64>,
}

/// All that the meta-gradient of one task is made of.
pub(crate) struct TaskWork<'a, S, A, Q, R> {
    pub inner: &'a InnerLoopConfig,
    pub update: &'a Update,
    pub method: &'a Method,
    /// Weights of the query losses after each step; none for the last alone.
    pub query_weights: Option<&'a [f64]>,
    /// Whether the gradients of the learning rates are wanted.
    pub rate_grads: bool,
    pub kept: &'a Kept,
    pub start: &'a Params,
    pub set: &'a S,
    pub support: &'a Traced<S, A>,
    pub query: QuerySet<'a, Q, R>,
    pub index: usize,
    pub key: Key,
    /// Threads for products that do not wait for each other.
    pub threads: usize,
}

/// What comes of it.
pub(crate) struct TaskGradient<R> {
    pub gradient: Params,
    /// Of each step.
    pub rate_grads: Vec<Tensor<1>>,
    pub losses: TaskLosses,
    pub outputs: R,
    pub order: usize,
    pub gradients: usize,
    pub products: usize,
    pub neglected: Option<f64>,
    pub unreliable: bool,
    pub implicit: Option<ImplicitReport>,
    pub residual_bytes: usize,
    pub phases: Phases,
}

/// Gradients of the query losses.
struct Queries<R> {
    /// After each number of steps from 0 to K, weighted.
    grads: Vec<Option<Params>>,
    last: Tensor<1>,
    earlier: Vec<(usize, Tensor<1>)>,
    outputs: R,
}

impl<S: Batch, A: Batch, Q: Batch, R: Batch> TaskWork<'_, S, A, Q, R> {
    pub fn run(&self) -> Result<TaskGradient<R>> {
        let mut phases = Phases::default();
        let estimator = self.method.estimator();
        let trajectory = timed(&mut phases.inner, || self.adapt())?;
        let queries = timed(&mut phases.query, || self.queries(&trajectory, estimator == Some(Estimator::Reptile)))?;
        let losses = timed(&mut phases.inner, || self.losses(&trajectory, &queries))?;
        let steps = self.inner.steps;
        let mut done = TaskGradient {
            gradient: self.start.clone(),
            rate_grads: Vec::new(),
            losses,
            outputs: queries.outputs,
            order: 0,
            gradients: steps + queries.grads.iter().flatten().count(),
            products: 0,
            neglected: None,
            unreliable: false,
            implicit: None,
            residual_bytes: trajectory.residual_bytes(),
            phases: Phases::default(),
        };
        timed(&mut phases.estimate, || {
            match estimator {
                Some(Estimator::Reptile) => done.gradient = self.start.sub(&trajectory.end),
                Some(Estimator::Implicit { solver }) => {
                    let query_grad = queries.grads.into_iter().next_back().flatten();
                    self.implicit(&trajectory, &query_grad.expect("there is a query loss"), solver, &mut done)?;
                }
                _ => self.unrolled(&trajectory, queries.grads, &mut done)?,
            }
            finite(done.gradient.norm(), self.index, Place::MetaGradient)
        })?;
        done.phases = phases;
        Ok(done)
    }

    fn adapt(&self) -> Result<Trajectory> {
        let Kept { points, states, after, .. } = self.kept;
        let keep = Keep { points, states: *states, after };
        Trajectory::run(self.update, self.inner.steps, self.support, self.start, self.set, self.key, &keep)
    }

    fn queries(&self, trajectory: &Trajectory, value_alone: bool) -> Result<Queries<R>> {
        let steps = self.inner.steps;
        let key = self.key.fold(steps as u64);
        let mut grads = vec![None; steps + 1];
        if value_alone {
            let (last, outputs) = self.query.value(&trajectory.end, steps, key)?;
            return Ok(Queries { grads, last, earlier: Vec::new(), outputs });
        }
        let mut earlier = Vec::new();
        let weight = |step: usize| self.query_weights.map_or(1.0, |weights| weights[step - 1]);
        for (&step, at) in self.kept.after.iter().zip(&trajectory.after) {
            let (loss, grad, _) = self.query.value_and_grad(at, step, key)?;
            grads[step] = Some(grad.scale(weight(step)));
            earlier.push((step, loss));
        }
        let (last, grad, outputs) = self.query.value_and_grad(&trajectory.end, steps, key)?;
        grads[steps] = Some(if self.query_weights.is_some() { grad.scale(weight(steps)) } else { grad });
        Ok(Queries { grads, last, earlier, outputs })
    }

    fn losses(&self, trajectory: &Trajectory, queries: &Queries<R>) -> Result<TaskLosses> {
        let support = support_losses(trajectory, self.index)?;
        let query = finite(read(&queries.last), self.index, Place::Query)?;
        let mut query_steps = Vec::new();
        if self.query_weights.is_some() {
            query_steps = vec![f64::NAN; self.inner.steps];
            query_steps[self.inner.steps - 1] = query;
            for (step, loss) in &queries.earlier {
                query_steps[step - 1] = finite(read(loss), self.index, Place::QueryAfter(*step))?;
            }
        }
        Ok(TaskLosses { support, query, query_steps })
    }

    fn unrolled(
        &self,
        trajectory: &Trajectory,
        sources: Vec<Option<Params>>,
        done: &mut TaskGradient<R>,
    ) -> Result<()> {
        let task = TaskLoop { update: self.update, trajectory, sources, threads: self.threads };
        let mut rate_grads = Vec::new();
        let estimate = match self.method {
            Method::Known(estimator) if self.rate_grads => {
                // From the last step to the first.
                estimator.estimate_observed(&task, |step, z| rate_grads.push(task.to_rate(step, z)))?
            }
            Method::Known(estimator) => estimator.estimate(&task)?,
            Method::Custom(custom) => custom.estimate(&task)?,
        };
        rate_grads.reverse();
        done.unreliable = estimate.is_unreliable();
        let Estimate { value, order, products, neglected } = estimate;
        done.gradient = self.update.to_start(value);
        (done.rate_grads, done.order, done.products, done.neglected) = (rate_grads, order, products, neglected);
        Ok(())
    }

    /// Through the fixed point of the proximal inner problem (iMAML, arXiv 1909.04630). With the adapting parameters a and
    /// the others b, `H_aa u / lambda + u = g_a`; the meta-gradient is u for a, and `g_b - H_ba u / lambda` for b.
    fn implicit(
        &self,
        trajectory: &Trajectory,
        query_grad: &Params,
        solver: Solver,
        done: &mut TaskGradient<R>,
    ) -> Result<()> {
        let InnerLoopConfig { proximal, weight_decay, steps, .. } = *self.inner;
        let key = self.key.fold(steps as u64 + 1);
        let point = after_steps(self.support, steps).keyed(key).linearize(&trajectory.end, self.set)?;
        let update = self.update;
        let hessian = |v: &Params| point.hvp(&update.padded(v));
        let curved = |v: &Params| -> burn_func::Result<Params> {
            let product = update.part(&hessian(v)?);
            Ok(if weight_decay == 0.0 { product } else { product.axpy(weight_decay, v) })
        };
        let found = solver.solve(&update.part(query_grad), proximal, curved);
        let solution = found.map_err(|problem| Error::Solve { task: self.index, problem })?;
        done.products = solution.products;
        done.order = solution.products;
        done.gradient = match update.adapts_all() {
            true => solution.value,
            false => {
                done.products += 1;
                let cross = query_grad.axpy(-1.0 / proximal, &hessian(&solution.value)?);
                cross.with(&solution.value)?
            }
        };
        let (end, start) = (update.part(&trajectory.end), update.part(self.start));
        let slope = update.part(point.grad()).axpy(weight_decay, &end);
        let pull = end.sub(&start).scale(proximal);
        let sum = slope.norm() + pull.norm();
        let stationarity = if sum > 0.0 { slope.add(&pull).norm() / sum } else { 0.0 };
        done.implicit = Some(ImplicitReport { residual: solution.residual, stationarity });
        done.gradients += 1;
        done.residual_bytes += point.residual_bytes();
        Ok(())
    }
}

/// Adds the seconds that some work takes.
fn timed<T>(seconds: &mut f64, work: impl FnOnce() -> T) -> T {
    let started = Instant::now();
    let done = work();
    *seconds += started.elapsed().as_secs_f64();
    done
}

pub(crate) fn support_losses(trajectory: &Trajectory, task: usize) -> Result<Vec<f64>> {
    let losses = trajectory.losses.iter().enumerate();
    losses.map(|(step, loss)| finite(read(loss), task, Place::InnerStep(step))).collect()
}

pub(crate) fn read(loss: &Tensor<1>) -> f64 {
    loss.clone().into_scalar()
}

pub(crate) fn finite(value: f64, task: usize, place: Place) -> Result<f64> {
    if value.is_finite() { Ok(value) } else { Err(Error::NonFinite { task, place, value }) }
}
