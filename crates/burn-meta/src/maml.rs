//! Meta-gradients over a meta-batch, adaptation to a task, evaluation on its query set.
//!
//! Does not know: formulas of the estimators, datasets.

use std::num::NonZero;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

use burn::config::Config;
use burn::module::Module;
use burn::optim::GradientsParams;
use burn::tensor::Tensor;
use burn_func::{Batch, Key, Output, Params, ProgramCache, Traced, trace_with};
use serde::Serialize;

use crate::error::{Error, Place, Result};
use crate::estimator::{Estimate, Estimator};
use crate::inner::{InnerSgdConfig, Trajectory};
use crate::unrolled::GradientDescent;

/// A task of a meta-batch: the set it is learnt from and the set it is judged on.
#[derive(Clone, Debug)]
pub struct Task<B> {
    /// Support set: the inner loop adapts to it.
    pub support: B,
    /// Query set: the meta-gradient is that of its loss after adaptation.
    pub query: B,
}

/// Settings of gradient-based meta-learning.
#[derive(Config, Debug, PartialEq)]
pub struct MamlConfig {
    /// The inner loop.
    pub inner: InnerSgdConfig,
    /// How the meta-gradient is estimated.
    pub estimator: Estimator,
    /// Tasks of a meta-batch in work at a time, each on a thread of its own; by default as many as the machine has cores
    /// for this process. The numbers do not depend on it, the memory does: every task keeps its own residuals.
    pub threads: Option<usize>,
    /// What random numbers in the closure (dropout, noise) are a function of, with the number of the meta-step, the task's
    /// index and the inner step. See [`Maml`].
    #[config(default = 0)]
    pub seed: u64,
}

impl MamlConfig {
    /// Checks the settings and makes the meta-learner.
    ///
    /// # Errors
    ///
    /// [`Error::NoSteps`], [`Error::LearningRate`], [`Error::Order`], [`Error::NoThreads`].
    pub fn init(&self) -> Result<Maml> {
        self.inner.check()?;
        self.estimator.check(self.inner.steps)?;
        if self.threads == Some(0) {
            return Err(Error::NoThreads);
        }
        Ok(Maml { config: self.clone(), programs: ProgramCache::new(), steps: Arc::default() })
    }
}

/// A meta-learner. Holds settings and compiled programs, no parameters: those are the module's.
///
/// Closures take the module and one batch, and return the mean loss over it, alone or with further tensors (logits, say):
/// `|net, batch| net.loss(batch)`. They are traced anew at every call; see [`burn_func::trace`] for what that freezes.
///
/// # Randomness
///
/// A model may have dropout. Every gradient of a meta-step draws from a key of its own, made of [`MamlConfig::seed`], the
/// number of the meta-step, the index of the task and the inner step, the query set coming after the last: a
/// Hessian-vector product sees the mask of its step's gradient, and the numbers depend neither on threads nor on the
/// device. Meta-steps are counted: the first [`meta_gradient`](Self::meta_gradient) is number 0. A run that is resumed
/// says where it was with [`at_step`](Self::at_step). [`adapt`](Self::adapt) and [`evaluate`](Self::evaluate) draw from
/// keys of seed, task and inner step alone, so that two evaluations of one task see the same masks.
///
/// # Cost of a meta-gradient
///
/// Per task K gradients on the support set, one on the query set, and [`Estimator::products`] Hessian-vector products on
/// the support set; the residuals of the steps in [`Estimator::reads`] are in memory until the task is done. Tasks are
/// independent, and done side by side on [`MamlConfig::threads`] threads.
///
/// # Example
///
/// ```
/// use burn::nn::{Linear, LinearConfig};
/// use burn::optim::AdamConfig;
/// use burn::tensor::{Device, Tensor};
/// use burn_meta::{Estimator, InnerSgdConfig, MamlConfig, Task};
///
/// let device = Device::flex().autodiff();
/// let mut net = LinearConfig::new(1, 1).init(&device);
/// let mut optim = AdamConfig::new().init();
///
/// let points = |slope: f32| {
///     let x = Tensor::<2>::from_data([[-1.0], [0.5], [2.0]], &device);
///     (x.clone(), x * slope)
/// };
/// let tasks: Vec<_> = [1.0, 2.0].map(|s| Task { support: points(s), query: points(s) }).into();
///
/// let maml = MamlConfig::new(InnerSgdConfig::new(0.1).with_steps(3), Estimator::binomial(2)).init()?;
/// let loss = |net: &Linear, (x, y): (Tensor<2>, Tensor<2>)| (net.forward(x) - y).powf_scalar(2.0).mean();
/// let step = maml.meta_gradient(&net, &tasks, loss)?;
/// net = optim.step(1e-3, net, step.grads);
/// let adapted: Linear = maml.adapt(&net, &tasks[0].support, loss)?;
/// # Ok::<(), burn_meta::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Maml {
    config: MamlConfig,
    programs: ProgramCache,
    /// Meta-steps done. Clones count together, as they share their programs.
    steps: Arc<AtomicU64>,
}

/// What a key is for.
#[derive(Clone, Copy)]
enum Use {
    MetaStep(u64),
    Evaluation,
}

/// What a meta-step needs and says.
#[derive(Debug)]
pub struct MetaStep<A> {
    /// Mean of the tasks' meta-gradients, for any Burn optimizer.
    pub grads: GradientsParams,
    /// The same as a vector.
    pub gradient: Params,
    /// Losses of each task.
    pub losses: Vec<TaskLosses>,
    /// What the closure returned beside the loss on each task's query set.
    pub outputs: Vec<A>,
    /// What was done.
    pub report: Report,
}

impl<A> MetaStep<A> {
    /// Mean query loss after adaptation.
    pub fn query_loss(&self) -> f64 {
        self.losses.iter().map(|task| task.query).sum::<f64>() / self.losses.len() as f64
    }
}

/// Losses of one task.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TaskLosses {
    /// Support loss before each inner step.
    pub support: Vec<f64>,
    /// Query loss after the last.
    pub query: f64,
}

/// What a meta-gradient took.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// The estimator.
    pub estimator: Estimator,
    /// Its order; of an adaptive estimator the largest that a task took.
    pub order: usize,
    /// Gradients taken, on support and query sets.
    pub gradients: usize,
    /// Hessian-vector products taken.
    pub products: usize,
    /// The relative size of what the estimate leaves out, of the task that leaves out most, where the estimator can tell.
    pub neglected: Option<f64>,
    /// Most bytes that the residuals of one task kept alive.
    pub residual_bytes: usize,
    /// Seconds. Differs from run to run.
    pub seconds: f64,
}

/// A task after adaptation.
#[derive(Clone, Debug)]
pub struct Evaluation<A> {
    /// Losses.
    pub losses: TaskLosses,
    /// What the closure returned beside the loss on the query set.
    pub outputs: A,
}

impl Maml {
    /// The settings.
    pub fn config(&self) -> &MamlConfig {
        &self.config
    }

    /// The number of the next meta-step: how many meta-gradients were taken.
    pub fn step(&self) -> u64 {
        self.steps.load(Ordering::Relaxed)
    }

    /// The same meta-learner with `step` as the number of its next meta-step, counting by itself from there.
    #[must_use]
    pub fn at_step(&self, step: u64) -> Self {
        Self { steps: Arc::new(AtomicU64::new(step)), ..self.clone() }
    }

    /// What a task's random numbers are drawn from; folded with the inner step, or their number for the query set.
    fn key(&self, of: Use, task: usize) -> Key {
        let seed = Key::new(self.config.seed);
        let of = match of {
            Use::MetaStep(step) => seed.fold(0).fold(step),
            Use::Evaluation => seed.fold(1),
        };
        of.fold(task as u64)
    }

    /// The meta-gradient, averaged over the tasks, by the configured estimator.
    ///
    /// # Errors
    ///
    /// [`Error::EmptyMetaBatch`]; [`Error::NonFinite`]; what [`burn_func::trace`] and [`burn_func::Traced::linearize`]
    /// report, a model that is not on an autodiff device among it.
    pub fn meta_gradient<M, B, O, F>(&self, model: &M, tasks: &[Task<B>], loss: F) -> Result<MetaStep<O::Aux>>
    where
        M: Module,
        B: Batch,
        O: Output,
        F: Fn(&M, B) -> O,
    {
        let started = Instant::now();
        if tasks.is_empty() {
            return Err(Error::EmptyMetaBatch);
        }
        let start = Params::from_module(model)?;
        let traces = TaskTraces::new(&self.programs, model, tasks, loss)?;
        let step = Use::MetaStep(self.steps.fetch_add(1, Ordering::Relaxed));
        let done = side_by_side(tasks.len(), self.threads(), |index| {
            self.task_gradient(&traces, &start, &tasks[index], index, self.key(step, index))
        });

        // Summed in the order of the tasks, so that the numbers do not depend on which was done first.
        let (mut sum, mut losses, mut outputs): (Option<Params>, _, _) = (None, Vec::new(), Vec::new());
        let (mut residual_bytes, mut order, mut products, mut neglected) = (0, 0, 0, None);
        for task in done {
            let task = task?;
            order = order.max(task.estimate.order);
            products += task.estimate.products;
            neglected = worst(neglected, task.estimate.neglected);
            let gradient = task.estimate.value;
            sum = Some(match sum {
                Some(sum) => sum.add(&gradient),
                None => gradient,
            });
            losses.push(task.losses);
            outputs.push(task.outputs);
            residual_bytes = residual_bytes.max(task.residual_bytes);
        }
        let gradient = sum.ok_or(Error::EmptyMetaBatch)?.scale(1.0 / tasks.len() as f64);
        let (estimator, steps) = (self.config.estimator, self.config.inner.steps);
        let report = Report {
            estimator,
            order,
            gradients: tasks.len() * (steps + 1),
            products,
            neglected,
            residual_bytes,
            seconds: started.elapsed().as_secs_f64(),
        };
        Ok(MetaStep { grads: gradient.clone().into_grads(), gradient, losses, outputs, report })
    }

    fn threads(&self) -> usize {
        let cores = || std::thread::available_parallelism().map_or(1, NonZero::get);
        self.config.threads.unwrap_or_else(cores)
    }

    fn task_gradient<B: Batch, A: Batch>(
        &self,
        traces: &TaskTraces<B, A>,
        start: &Params,
        task: &Task<B>,
        index: usize,
        key: Key,
    ) -> Result<TaskGradient<A>> {
        let MamlConfig { inner, estimator, .. } = &self.config;
        let reads = estimator.reads(inner.steps);
        let trajectory = inner.run(traces.support(index), start, &task.support, key, |step| reads.contains(&step))?;
        let query = traces.query(index).keyed(key.fold(inner.steps as u64));
        let (query_loss, query_grad, outputs) = query.value_and_grad(&trajectory.end, &task.query)?;
        let losses = task_losses(&trajectory, &query_loss, index)?;
        let system = GradientDescent::new(inner.steps, inner.learning_rate, query_grad, |step, v: &Params| {
            trajectory.hvp(step, v)
        });
        let estimate = estimator.estimate(&system)?;
        finite(estimate.value.norm(), index, Place::MetaGradient)?;
        let residual_bytes = trajectory.residual_bytes();
        Ok(TaskGradient { estimate, losses, outputs, residual_bytes })
    }

    /// The module adapted to a support set by the configured inner loop. Its adapted parameters are fresh leaves that
    /// require gradients; everything else is the module's.
    ///
    /// Batch normalisation takes batch statistics on an autodiff device with its training flag alone: on a plain device,
    /// or after `valid()`, the adapted module uses running statistics, which adaptation does not update. To judge
    /// adaptation use [`evaluate`](Self::evaluate).
    ///
    /// # Errors
    ///
    /// As [`meta_gradient`](Self::meta_gradient).
    pub fn adapt<M, B, O, F>(&self, model: &M, support: &B, loss: F) -> Result<M>
    where
        M: Module,
        B: Batch,
        O: Output,
        F: Fn(&M, B) -> O,
    {
        let start = Params::from_module(model)?;
        let traced = trace_with(&self.programs, model, support, loss)?;
        let trajectory = self.config.inner.run(&traced, &start, support, self.key(Use::Evaluation, 0), |_| false)?;
        support_losses(&trajectory, 0)?;
        Ok(trajectory.end.into_module(model.clone())?)
    }

    /// Adapts to a task's support set and evaluates the closure on its query set, in the mode the module is in: with
    /// batch statistics where the inner loop has them.
    ///
    /// # Errors
    ///
    /// As [`meta_gradient`](Self::meta_gradient).
    ///
    /// # Cost
    ///
    /// K gradients on the support set and one forward pass on the query set.
    pub fn evaluate<M, B, O, F>(&self, model: &M, task: &Task<B>, loss: F) -> Result<Evaluation<O::Aux>>
    where
        M: Module,
        B: Batch,
        O: Output,
        F: Fn(&M, B) -> O,
    {
        let done = self.evaluate_all(model, std::slice::from_ref(task), loss)?;
        done.into_iter().next().ok_or(Error::EmptyMetaBatch)
    }

    /// [`evaluate`](Self::evaluate) of many tasks, side by side on [`MamlConfig::threads`] threads, in their order.
    ///
    /// # Errors
    ///
    /// As [`meta_gradient`](Self::meta_gradient); that of the first task that has one.
    pub fn evaluate_all<M, B, O, F>(&self, model: &M, tasks: &[Task<B>], loss: F) -> Result<Vec<Evaluation<O::Aux>>>
    where
        M: Module,
        B: Batch,
        O: Output,
        F: Fn(&M, B) -> O,
    {
        let start = Params::from_module(model)?;
        let traces = TaskTraces::new(&self.programs, model, tasks, loss)?;
        let evaluate = |index: usize| {
            let task = &tasks[index];
            let (inner, key) = (&self.config.inner, self.key(Use::Evaluation, index));
            let trajectory = inner.run(traces.support(index), &start, &task.support, key, |_| false)?;
            let query = traces.query(index).keyed(key.fold(inner.steps as u64));
            let (query_loss, outputs) = query.value(&trajectory.end, &task.query)?;
            Ok(Evaluation { losses: task_losses(&trajectory, &query_loss, index)?, outputs })
        };
        side_by_side(tasks.len(), self.threads(), evaluate).into_iter().collect()
    }
}

struct TaskGradient<A> {
    estimate: Estimate<Params>,
    losses: TaskLosses,
    outputs: A,
    residual_bytes: usize,
}

/// Traces of one closure, one for each shape of batch among some tasks.
struct TaskTraces<B, A> {
    made: Vec<Traced<B, A>>,
    /// Which of them each task's support and query set take.
    of: Vec<[usize; 2]>,
}

impl<B: Batch, A: Batch> TaskTraces<B, A> {
    fn new<M, O, F>(programs: &ProgramCache, model: &M, tasks: &[Task<B>], loss: F) -> Result<Self>
    where
        M: Module,
        O: Output<Aux = A>,
        F: Fn(&M, B) -> O,
    {
        let mut made: Vec<Traced<B, A>> = Vec::new();
        let mut index = |batch: &B| -> Result<usize> {
            match made.iter().position(|traced| traced.accepts(batch)) {
                Some(at) => Ok(at),
                None => {
                    made.push(trace_with(programs, model, batch, &loss)?);
                    Ok(made.len() - 1)
                }
            }
        };
        let of = tasks.iter().map(|task| Ok([index(&task.support)?, index(&task.query)?]));
        let of = of.collect::<Result<_>>()?;
        Ok(Self { made, of })
    }

    fn support(&self, task: usize) -> &Traced<B, A> {
        &self.made[self.of[task][0]]
    }

    fn query(&self, task: usize) -> &Traced<B, A> {
        &self.made[self.of[task][1]]
    }
}

/// Results of `work` for 0..n, in order, from up to `threads` threads that each take the next index there is.
fn side_by_side<T: Send>(n: usize, threads: usize, work: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let threads = threads.min(n);
    if threads <= 1 {
        return (0..n).map(work).collect();
    }
    let next = AtomicUsize::new(0);
    let take = || std::iter::repeat_with(|| next.fetch_add(1, Ordering::Relaxed)).take_while(|&index| index < n);
    let mut done: Vec<(usize, T)> = std::thread::scope(|scope| {
        let one = || take().map(|index| (index, work(index))).collect::<Vec<_>>();
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(one)).collect();
        let results = workers.into_iter().map(|worker| worker.join());
        results.flat_map(|result| result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
    });
    done.sort_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, result)| result).collect()
}

fn task_losses(trajectory: &Trajectory, query: &Tensor<1>, task: usize) -> Result<TaskLosses> {
    let support = support_losses(trajectory, task)?;
    Ok(TaskLosses { support, query: finite(read(query), task, Place::Query)? })
}

fn support_losses(trajectory: &Trajectory, task: usize) -> Result<Vec<f64>> {
    let losses = trajectory.losses.iter().enumerate();
    losses.map(|(step, loss)| finite(read(loss), task, Place::InnerStep(step))).collect()
}

/// The larger of two, where there are any.
fn worst(a: Option<f64>, b: Option<f64>) -> Option<f64> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.max(b)),
        (a, b) => a.or(b),
    }
}

fn read(loss: &Tensor<1>) -> f64 {
    loss.clone().into_scalar()
}

fn finite(value: f64, task: usize, place: Place) -> Result<f64> {
    if value.is_finite() { Ok(value) } else { Err(Error::NonFinite { task, place, value }) }
}
