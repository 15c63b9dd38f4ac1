//! A meta-batch taken piece by piece: what its tasks come to, added up.
//!
//! Does not know: how the tasks of a piece are worked on, formulas of the estimators.

use std::time::Instant;

use burn::module::Module;
use burn::tensor::Tensor;
use burn_func::{Batch, Output, Params};

use crate::custom::Method;
use crate::error::{Error, Result};
use crate::maml::{Maml, MetaStep};
use crate::memory::MemoryEstimate;
use crate::meta_batch::{MetaBatch, Recorded};
use crate::report::{ImplicitReport, Phases, Report};
use crate::task_gradient::{TaskGradient, TaskLosses};

/// A meta-batch that is taken piece by piece: see [`Maml::accumulate`].
///
/// Tasks are numbered over all pieces, and so are their random numbers, and errors that name a task: the result is that of
/// one meta-batch of all tasks, bit for bit, wherever it is divided. Memory is that of one piece, losses and outputs aside:
/// with pieces of as many tasks as there are threads it is least, and nothing waits.
///
/// A piece that fails or is cancelled leaves no trace: what was added before is still there, and the piece may be tried again.
/// The meta-step counts once [`finish`](Self::finish) has given its result.
///
/// # Cost
///
/// That of the tasks, and per piece what recording the closures takes (programs are made once).
///
/// # Example
///
/// ```
/// # use burn::nn::{Linear, LinearConfig};
/// # use burn::tensor::{Device, Tensor};
/// # use burn_meta::{Estimator, InnerLoopConfig, MamlConfig, Task};
/// # let device = Device::flex().autodiff();
/// # let net = LinearConfig::new(1, 1).init(&device);
/// # let x = Tensor::<2>::from_data([[-1.0], [0.5], [2.0]], &device);
/// # let task = |i: u32| Task { support: (x.clone(), x.clone() * i as f64), query: (x.clone(), x.clone() * i as f64) };
/// # let loss = |net: &Linear, (x, y): (Tensor<2>, Tensor<2>)| (net.forward(x) - y).powf_scalar(2.0).mean();
/// # let maml = MamlConfig::new(InnerLoopConfig::new(0.1).with_steps(3), Estimator::binomial(2)).init()?;
/// let mut sum = maml.accumulate();
/// for piece in 0..4 {
///     let tasks = [task(2 * piece), task(2 * piece + 1)]; // made when they are needed
///     sum.add(&maml.batch(&tasks), &net, loss)?;
/// }
/// let step = sum.finish()?;
/// assert_eq!((step.report.tasks, maml.step()), (8, 1));
/// # Ok::<(), burn_meta::Error>(())
/// ```
#[derive(Debug)]
#[must_use = "nothing comes of it before `finish`"]
pub struct Accumulator<A> {
    maml: Maml,
    sum: Sum,
    shares: Vec<f64>,
    losses: Vec<TaskLosses>,
    outputs: Vec<A>,
    report: Report,
}

impl<A: Batch> Accumulator<A> {
    pub(crate) fn new(maml: &Maml) -> Self {
        let meta_step = maml.step();
        Self {
            maml: maml.clone(),
            sum: Sum::default(),
            shares: Vec::new(),
            losses: Vec::new(),
            outputs: Vec::new(),
            report: Report::of(meta_step, &maml.method_of(meta_step)),
        }
    }

    /// Tasks so far.
    pub fn tasks(&self) -> usize {
        self.shares.len()
    }

    /// What the query loss returned beside its value, for each task so far.
    pub(crate) fn outputs(&self) -> &[A] {
        &self.outputs
    }

    /// Adds a piece, with one loss on support and query sets. The weights of its tasks count against those of all pieces; a
    /// piece without tasks adds nothing.
    ///
    /// # Errors
    ///
    /// As [`MetaBatch::gradient`]; [`Error::Accumulation`] for a piece of another meta-learner, or another model (by the ids of
    /// its parameters and where they are: that their values are the same is the caller's word).
    pub fn add<B, M, O, F>(&mut self, piece: &MetaBatch<'_, B, B>, model: &M, loss: F) -> Result<()>
    where
        B: Batch,
        M: Module,
        O: Output<Aux = A>,
        F: Fn(&M, B) -> O,
    {
        self.take(piece, model, || piece.one_trace(model, &loss).and_then(|made| piece.tried(made, model, &loss)))
    }

    /// Adds a piece, with a loss for the inner loop and another for the query sets.
    ///
    /// # Errors
    ///
    /// As [`add`](Self::add).
    pub fn add_of<S, Q, M, O, F, P, G>(
        &mut self,
        piece: &MetaBatch<'_, S, Q>,
        model: &M,
        support_loss: F,
        query_loss: G,
    ) -> Result<()>
    where
        S: Batch,
        Q: Batch,
        M: Module,
        O: Output,
        F: Fn(&M, S) -> O,
        P: Output<Aux = A>,
        G: Fn(&M, Q) -> P,
    {
        let record = || {
            let made = piece.two_traces(model, support_loss, &query_loss)?;
            piece.tried(made, model, &query_loss)
        };
        self.take(piece, model, record)
    }

    /// The meta-gradient of all tasks. Counts one meta-step.
    ///
    /// # Errors
    ///
    /// [`Error::EmptyMetaBatch`] if no piece had a task; [`Error::Weights`] if all weights are zero.
    pub fn finish(self) -> Result<MetaStep<A>> {
        let Self { maml, sum, shares, losses, outputs, report } = self;
        let total = shares.iter().sum::<f64>();
        if total == 0.0 && !shares.is_empty() {
            return Err(Error::Weights { of: "tasks", problem: "all are zero".into() });
        }
        let (gradient, rate_grads) = sum.scaled(1.0 / total).ok_or(Error::EmptyMetaBatch)?;
        maml.count_step();
        let weighted = losses.iter().zip(&shares).map(|(task, share)| task.query * share);
        Ok(MetaStep {
            grads: gradient.clone().into_grads(),
            gradient,
            rate_grads: maml.rates().map(|rates| rates.grads(rate_grads)),
            query_loss: weighted.sum::<f64>() / total,
            losses,
            outputs,
            report,
        })
    }

    /// Works on a piece and adds it, or leaves everything as it was.
    fn take<S: Batch, Q: Batch, B: Batch, M: Module>(
        &mut self,
        piece: &MetaBatch<'_, S, Q>,
        model: &M,
        record: impl FnOnce() -> Result<Recorded<S, B, Q, A>>,
    ) -> Result<()> {
        let started = Instant::now();
        if !self.maml.counts_with(piece.maml()) {
            return Err(Error::Accumulation { problem: "a piece is of another meta-learner than the others".into() });
        }
        if piece.is_empty() {
            return Ok(());
        }
        let start = Params::from_module(model)?;
        if self.sum.gradient.as_ref().is_some_and(|sum| sum.specs() != start.specs() || sum.device() != start.device())
        {
            return Err(Error::Accumulation { problem: "a piece has another model than the others".into() });
        }
        let recorded = record()?;
        let traced = started.elapsed().as_secs_f64();
        let done = piece.gradients(model, &start, &recorded, self.report.meta_step, self.tasks())?;
        self.report.phases.trace += traced;
        for (task, share) in done.tasks.into_iter().zip(done.shares) {
            self.report.add(&task);
            self.sum.add(share, task.gradient, task.rate_grads);
            self.shares.push(share);
            self.losses.push(task.losses);
            self.outputs.push(task.outputs);
        }
        self.report.hold(&done.memory);
        self.report.seconds += started.elapsed().as_secs_f64();
        Ok(())
    }
}

/// What the tasks of a piece came to, in their order.
pub(crate) struct Piece<A> {
    pub tasks: Vec<TaskGradient<A>>,
    pub shares: Vec<f64>,
    pub memory: MemoryEstimate,
}

/// A weighted sum over tasks, in their order, so that the numbers do not depend on which was done first.
#[derive(Debug, Default)]
struct Sum {
    gradient: Option<Params>,
    rates: Vec<Tensor<1>>,
}

impl Sum {
    fn add(&mut self, share: f64, gradient: Params, rates: Vec<Tensor<1>>) {
        self.gradient = Some(match self.gradient.take() {
            Some(sum) => sum.axpy(share, &gradient),
            None if share == 1.0 => gradient,
            None => gradient.scale(share),
        });
        let scaled = rates.into_iter().map(|rate| rate * share);
        self.rates = match self.rates.is_empty() {
            true => scaled.collect(),
            false => std::mem::take(&mut self.rates).into_iter().zip(scaled).map(|(sum, rate)| sum + rate).collect(),
        };
    }

    fn scaled(self, scale: f64) -> Option<(Params, Vec<Tensor<1>>)> {
        let rates = self.rates.into_iter().map(|rate| rate * scale).collect();
        Some((self.gradient?.scale(scale), rates))
    }
}

impl Report {
    /// Before any task.
    fn of(meta_step: u64, method: &Method) -> Self {
        Self {
            meta_step,
            name: method.name().into(),
            estimator: method.estimator(),
            order: 0,
            tasks: 0,
            gradients: 0,
            products: 0,
            neglected: None,
            unreliable: 0,
            implicit: None,
            residual_bytes: 0,
            peak_bytes: 0,
            threads: 0,
            seconds: 0.0,
            phases: Phases::default(),
        }
    }

    fn add<R>(&mut self, task: &TaskGradient<R>) {
        self.tasks += 1;
        self.order = self.order.max(task.order);
        self.gradients += task.gradients;
        self.products += task.products;
        self.neglected = either(f64::max, self.neglected, task.neglected);
        self.unreliable += usize::from(task.unreliable);
        self.implicit = either(ImplicitReport::worst, self.implicit, task.implicit);
        self.residual_bytes = self.residual_bytes.max(task.residual_bytes);
        self.phases.add(&task.phases);
    }

    /// What a piece held.
    fn hold(&mut self, memory: &MemoryEstimate) {
        self.threads = self.threads.max(memory.tasks_in_flight);
        self.peak_bytes = self.peak_bytes.max(memory.peak_bytes());
    }
}

/// Both combined, where there are both.
fn either<T>(combine: impl Fn(T, T) -> T, a: Option<T>, b: Option<T>) -> Option<T> {
    match (a, b) {
        (Some(a), Some(b)) => Some(combine(a, b)),
        (a, b) => a.or(b),
    }
}
