//! A meta-batch: tasks, their weights, who watches, and the work on them side by side.
//!
//! Does not know: inner loops, formulas of the estimators.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use burn::module::Module;
use burn::tensor::Tensor;
use burn_func::{Batch, LanczosConfig, Output, Params, Value};

use crate::curvature::{InnerCurvature, along};
use crate::custom::Method;
use crate::error::{Error, Place, Result};
use crate::inner::{Keep, Trajectory};
use crate::inner_step::after_steps;
use crate::maml::{Evaluation, Maml, MetaStep, Task, Use};
use crate::parallel::{CancelToken, side_by_side};
use crate::report::{ImplicitReport, Phases, Report};
use crate::task_gradient::{TaskGradient, TaskLosses, TaskWork, finite, read, support_losses};
use crate::traces::Traces;

/// How far a meta-batch is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Tasks done.
    pub done: usize,
    /// Tasks in all.
    pub tasks: usize,
}

/// Tasks to be learnt from or judged on together: see [`Maml::batch`].
///
/// # Example
///
/// Weighted tasks, other losses on support and query set, a progress line and a way to stop:
///
/// ```
/// # use burn::nn::{Linear, LinearConfig};
/// # use burn::tensor::{Device, Tensor};
/// # use burn_meta::{CancelToken, Estimator, InnerLoopConfig, MamlConfig, Task};
/// # let device = Device::flex().autodiff();
/// # let net = LinearConfig::new(1, 1).init(&device);
/// # let x = Tensor::<2>::from_data([[-1.0], [0.5], [2.0]], &device);
/// # let tasks = [1.0, 2.0].map(|s| Task { support: (x.clone(), x.clone() * s), query: (x.clone(), x.clone() * s) });
/// # let maml = MamlConfig::new(InnerLoopConfig::new(0.1).with_steps(3), Estimator::binomial(2)).init()?;
/// let squared = |net: &Linear, (x, y): (Tensor<2>, Tensor<2>)| (net.forward(x) - y).powf_scalar(2.0).mean();
/// let absolute = |net: &Linear, (x, y): (Tensor<2>, Tensor<2>)| (net.forward(x) - y).abs().mean();
/// let stop = CancelToken::new(); // stop.cancel() from another thread
/// let step = maml
///     .batch(&tasks)
///     .with_weights(&[1.0, 0.5])
///     .on_progress(|progress| eprintln!("{} of {} tasks", progress.done, progress.tasks))
///     .cancelled_by(&stop)
///     .gradient_of(&net, squared, absolute)?;
/// # Ok::<(), burn_meta::Error>(())
/// ```
#[must_use = "nothing is computed before `gradient` or `evaluate`"]
pub struct MetaBatch<'a, S, Q> {
    maml: &'a Maml,
    tasks: &'a [Task<S, Q>],
    weights: Option<&'a [f64]>,
    query_weights: Option<&'a [f64]>,
    progress: Option<Box<dyn Fn(Progress) + Sync + 'a>>,
    cancel: Option<&'a CancelToken>,
}

impl<'a, S: Batch, Q: Batch> MetaBatch<'a, S, Q> {
    pub(crate) fn new(maml: &'a Maml, tasks: &'a [Task<S, Q>]) -> Self {
        Self { maml, tasks, weights: None, query_weights: None, progress: None, cancel: None }
    }

    /// Weights of the tasks: the meta-gradient is `sum w_i g_i / sum w_i`. Finite, none negative, not all zero.
    pub fn with_weights(mut self, weights: &'a [f64]) -> Self {
        self.weights = Some(weights);
        self
    }

    /// Weights of the query losses after steps 1 to K, in place of those of the settings, for this meta-batch: a multi-step
    /// loss whose weights change over time ([`multi_step_weights`](crate::multi_step_weights)).
    pub fn with_query_weights(mut self, weights: &'a [f64]) -> Self {
        self.query_weights = Some(weights);
        self
    }

    /// Calls `progress` after each task, from the thread that did it.
    pub fn on_progress(mut self, progress: impl Fn(Progress) + Sync + 'a) -> Self {
        self.progress = Some(Box::new(progress));
        self
    }

    /// Stops between tasks once the token is cancelled, with [`Error::Cancelled`]. A cancelled meta-step counts as none.
    pub fn cancelled_by(mut self, token: &'a CancelToken) -> Self {
        self.cancel = Some(token);
        self
    }

    /// The meta-gradient, with a loss for the inner loop and another for the query set. What the query loss returns beside its
    /// value comes back for each task.
    ///
    /// # Errors
    ///
    /// As [`Maml::meta_gradient`]; [`Error::Weights`]; [`Error::Cancelled`].
    pub fn gradient_of<M, O, F, P, G>(&self, model: &M, support_loss: F, query_loss: G) -> Result<MetaStep<P::Aux>>
    where
        M: Module,
        O: Output,
        F: Fn(&M, S) -> O,
        P: Output,
        G: Fn(&M, Q) -> P,
    {
        let started = Instant::now();
        let recorded = self.two_traces(model, support_loss, query_loss)?;
        self.run(model, &recorded, started)
    }

    /// [`Maml::evaluate_all`], with a loss for the inner loop and another for the query set.
    ///
    /// # Errors
    ///
    /// As [`Maml::meta_gradient`]; [`Error::Cancelled`].
    pub fn evaluate_of<M, O, F, P, G>(
        &self,
        model: &M,
        support_loss: F,
        query_loss: G,
    ) -> Result<Vec<Evaluation<P::Aux>>>
    where
        M: Module,
        O: Output,
        F: Fn(&M, S) -> O,
        P: Output,
        G: Fn(&M, Q) -> P,
    {
        let recorded = self.two_traces(model, support_loss, query_loss)?;
        self.judge(model, &recorded)
    }

    /// The curvature of the support loss along the inner loop of each task: what
    /// [`Bounds`](crate::Bounds) and [`recommend`](crate::recommend) take.
    ///
    /// # Errors
    ///
    /// As [`Maml::meta_gradient`]; [`Error::Cancelled`]; those of [`burn_func::lanczos`].
    ///
    /// # Cost
    ///
    /// Per task K gradients, and up to K times the products that the settings allow, in sequence; the residuals of all steps.
    ///
    /// # Example
    ///
    /// ```
    /// # use burn::nn::{Linear, LinearConfig};
    /// # use burn::tensor::{Device, Tensor};
    /// # use burn_meta::{Budget, Estimator, InnerLoopConfig, MamlConfig, Task, recommend};
    /// # use burn_meta::burn_func::LanczosConfig;
    /// # let device = Device::flex().autodiff();
    /// # let net = LinearConfig::new(1, 1).init(&device);
    /// # let x = Tensor::<2>::from_data([[-1.0], [0.5], [2.0]], &device);
    /// # let tasks = [1.0, 2.0].map(|s| Task { support: (x.clone(), x.clone() * s), query: (x.clone(), x.clone() * s) });
    /// # let loss = |net: &Linear, (x, y): (Tensor<2>, Tensor<2>)| (net.forward(x) - y).powf_scalar(2.0).mean();
    /// let maml = MamlConfig::new(InnerLoopConfig::new(0.05).with_steps(10), Estimator::Exact).init()?;
    /// let tasks = maml.batch(&tasks).curvature(&net, loss, &LanczosConfig::new())?;
    /// let norm = tasks.iter().map(|task| task.norm()).fold(0.0, f64::max);
    /// println!("{}", recommend(10, 0.05, norm, &Budget { depth: Some(4), ..Budget::default() })?);
    /// # Ok::<(), burn_meta::Error>(())
    /// ```
    pub fn curvature<M, O, F>(&self, model: &M, support_loss: F, config: &LanczosConfig) -> Result<Vec<InnerCurvature>>
    where
        M: Module,
        O: Output,
        F: Fn(&M, S) -> O,
    {
        let support = self.maml.traces(model, self.tasks.iter().map(|task| &task.support), support_loss)?;
        let start = Params::from_module(model)?;
        let update = self.maml.update(&start)?;
        let inner = &self.maml.config().inner;
        let found = self.each(|index| {
            let key = self.maml.key(Use::Evaluation, index);
            let at = (&start, &self.tasks[index].support, key);
            along(&update, (inner.steps, inner.learning_rate), support.of(index), at, config)
        });
        found.into_iter().collect()
    }

    fn two_traces<M, O, F, P, G>(
        &self,
        model: &M,
        support_loss: F,
        query_loss: G,
    ) -> Result<Recorded<S, O::Aux, Q, P::Aux>>
    where
        M: Module,
        O: Output,
        F: Fn(&M, S) -> O,
        P: Output,
        G: Fn(&M, Q) -> P,
    {
        let (support, query) = (self.tasks.iter().map(|t| &t.support), self.tasks.iter().map(|t| &t.query));
        let support = self.maml.traces(model, support, support_loss)?;
        Ok(Recorded { support, query: self.maml.traces(model, query, query_loss)? })
    }

    fn run<M: Module, A: Batch, R: Batch>(
        &self,
        model: &M,
        Recorded { support, query }: &Recorded<S, A, Q, R>,
        started: Instant,
    ) -> Result<MetaStep<R>> {
        let traced = started.elapsed().as_secs_f64();
        let shares = self.shares()?;
        let maml = self.maml;
        let inner = &maml.config().inner;
        let query_weights = self.query_weights.or(maml.config().query_weights.as_deref());
        let start = Params::from_module(model)?;
        let update = maml.update(&start)?;
        let meta_step = maml.step();
        let method = maml.method_of(meta_step);
        maml.check_method(&method, query_weights)?;
        let n = self.tasks.len();
        let threads = maml.threads();
        let in_flight = threads.min(n);
        let done = self.each(|index| {
            let work = TaskWork {
                inner,
                update: &update,
                method: &method,
                query_weights,
                rate_grads: maml.rates().is_some(),
                start: &start,
                support: support.of(index),
                query: query.of(index),
                task: &self.tasks[index],
                index,
                key: maml.key(Use::MetaStep(meta_step), index),
                threads: threads / in_flight,
            };
            work.run()
        });

        let mut report = Report::of(meta_step, &method, n, in_flight);
        let Gathered { sum, losses, outputs, vectors } = Gathered::of(done, &shares, &mut report)?;
        let (gradient, rate_grads) = sum.finish(&shares).ok_or(Error::EmptyMetaBatch)?;
        maml.count_step();
        let vector_bytes: usize = start.values().iter().map(Value::bytes).sum();
        let program = largest_program(support, query, !method.reads(inner.steps).is_empty())?;
        report.peak_bytes = in_flight * (report.residual_bytes + vectors * vector_bytes + program);
        report.phases.trace = traced;
        report.seconds = started.elapsed().as_secs_f64();
        let weighted = losses.iter().zip(&shares).map(|(task, share)| task.query * share);
        Ok(MetaStep {
            grads: gradient.clone().into_grads(),
            gradient,
            rate_grads: maml.rates().map(|rates| rates.grads(rate_grads)),
            query_loss: weighted.sum::<f64>() / shares.iter().sum::<f64>(),
            losses,
            outputs,
            report,
        })
    }

    fn judge<M: Module, A: Batch, R: Batch>(
        &self,
        model: &M,
        Recorded { support, query }: &Recorded<S, A, Q, R>,
    ) -> Result<Vec<Evaluation<R>>> {
        let start = Params::from_module(model)?;
        let update = self.maml.update(&start)?;
        let steps = self.maml.config().inner.steps;
        let evaluate = |index: usize| {
            let (task, key) = (&self.tasks[index], self.maml.key(Use::Evaluation, index));
            let support = support.of(index);
            let trajectory = Trajectory::run(&update, steps, support, &start, &task.support, key, &Keep::NOTHING)?;
            let query = after_steps(query.of(index), steps).keyed(key.fold(steps as u64));
            let (query_loss, outputs) = query.value(&trajectory.end, &task.query)?;
            let support = support_losses(&trajectory, index)?;
            let query = finite(read(&query_loss), index, Place::Query)?;
            Ok(Evaluation { losses: TaskLosses { support, query, query_steps: Vec::new() }, outputs })
        };
        self.each(evaluate).into_iter().collect()
    }

    /// Work on every task, side by side.
    fn each<T: Send>(&self, work: impl Fn(usize) -> Result<T> + Sync) -> Vec<Result<T>> {
        let finished = AtomicUsize::new(0);
        let tasks = self.tasks.len();
        side_by_side(tasks, self.maml.threads(), |index| {
            if self.cancel.is_some_and(CancelToken::is_cancelled) {
                return Err(Error::Cancelled { done: finished.load(Ordering::Relaxed), tasks });
            }
            let result = work(index);
            let done = 1 + finished.fetch_add(1, Ordering::Relaxed);
            if let Some(progress) = &self.progress {
                progress(Progress { done, tasks });
            }
            result
        })
    }

    /// The weight of each task.
    fn shares(&self) -> Result<Vec<f64>> {
        let n = self.tasks.len();
        if n == 0 {
            return Err(Error::EmptyMetaBatch);
        }
        let Some(weights) = self.weights else { return Ok(vec![1.0; n]) };
        let fail = |problem| Err(Error::Weights { of: "tasks", problem });
        if weights.len() != n {
            return fail(format!("{} weights for {n} tasks", weights.len()));
        }
        if let Some(wrong) = weights.iter().find(|weight| !(weight.is_finite() && **weight >= 0.0)) {
            return fail(format!("{wrong}, expected finite numbers that are not negative"));
        }
        if weights.iter().all(|weight| *weight == 0.0) {
            return fail("all are zero".into());
        }
        Ok(weights.to_vec())
    }
}

impl<'a, B: Batch> MetaBatch<'a, B, B> {
    /// The meta-gradient, with one loss on support and query sets: [`Maml::meta_gradient`].
    ///
    /// # Errors
    ///
    /// As [`Maml::meta_gradient`]; [`Error::Weights`]; [`Error::Cancelled`].
    pub fn gradient<M, O, F>(&self, model: &M, loss: F) -> Result<MetaStep<O::Aux>>
    where
        M: Module,
        O: Output,
        F: Fn(&M, B) -> O,
    {
        let started = Instant::now();
        let recorded = self.one_trace(model, loss)?;
        self.run(model, &recorded, started)
    }

    /// [`Maml::evaluate_all`].
    ///
    /// # Errors
    ///
    /// As [`Maml::meta_gradient`]; [`Error::Cancelled`].
    pub fn evaluate<M, O, F>(&self, model: &M, loss: F) -> Result<Vec<Evaluation<O::Aux>>>
    where
        M: Module,
        O: Output,
        F: Fn(&M, B) -> O,
    {
        let recorded = self.one_trace(model, loss)?;
        self.judge(model, &recorded)
    }

    /// One closure, traced once for each shape that support and query sets have.
    fn one_trace<M, O, F>(&self, model: &M, loss: F) -> Result<Recorded<B, O::Aux, B, O::Aux>>
    where
        M: Module,
        O: Output,
        F: Fn(&M, B) -> O,
    {
        let (support, query) = (self.tasks.iter().map(|t| &t.support), self.tasks.iter().map(|t| &t.query));
        let (support, query) = self.maml.traces(model, support.chain(query), loss)?.split_at(self.tasks.len());
        Ok(Recorded { support, query })
    }
}

/// The closures of a meta-batch, recorded.
struct Recorded<S, A, Q, R> {
    support: Traces<S, A>,
    query: Traces<Q, R>,
}

/// What the tasks of a meta-batch came to.
struct Gathered<R> {
    sum: Sum,
    losses: Vec<TaskLosses>,
    outputs: Vec<R>,
    /// Vectors of the size of the parameters that a task held at most.
    vectors: usize,
}

impl<R> Gathered<R> {
    /// In the order of the tasks; the error of the first that has one.
    fn of(done: Vec<Result<TaskGradient<R>>>, shares: &[f64], report: &mut Report) -> Result<Self> {
        let (losses, outputs) = (Vec::with_capacity(done.len()), Vec::with_capacity(done.len()));
        let mut gathered = Self { sum: Sum::default(), losses, outputs, vectors: 0 };
        for (task, share) in done.into_iter().zip(shares) {
            let task = task?;
            report.add(&task);
            gathered.vectors = gathered.vectors.max(task.vectors);
            gathered.sum.add(*share, task.gradient, task.rate_grads);
            gathered.losses.push(task.losses);
            gathered.outputs.push(task.outputs);
        }
        Ok(gathered)
    }
}

/// A weighted sum over tasks, in their order, so that the numbers do not depend on which was done first.
#[derive(Default)]
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

    fn finish(self, shares: &[f64]) -> Option<(Params, Vec<Tensor<1>>)> {
        let scale = 1.0 / shares.iter().sum::<f64>();
        let rates = self.rates.into_iter().map(|rate| rate * scale).collect();
        Some((self.gradient?.scale(scale), rates))
    }
}

impl Report {
    /// Before any task.
    fn of(meta_step: u64, method: &Method, tasks: usize, threads: usize) -> Self {
        Self {
            meta_step,
            name: method.name().into(),
            estimator: method.estimator(),
            order: 0,
            tasks,
            gradients: 0,
            products: 0,
            neglected: None,
            unreliable: 0,
            implicit: None,
            residual_bytes: 0,
            peak_bytes: 0,
            threads,
            seconds: 0.0,
            phases: Phases::default(),
        }
    }

    fn add<R>(&mut self, task: &TaskGradient<R>) {
        self.order = self.order.max(task.order);
        self.gradients += task.gradients;
        self.products += task.products;
        self.neglected = either(f64::max, self.neglected, task.neglected);
        self.unreliable += usize::from(task.unreliable);
        self.implicit = either(ImplicitReport::worst, self.implicit, task.implicit);
        self.residual_bytes = self.residual_bytes.max(task.residual_bytes);
        self.phases.add(&task.phases);
    }
}

/// Both combined, where there are both.
fn either<T>(combine: impl Fn(T, T) -> T, a: Option<T>, b: Option<T>) -> Option<T> {
    match (a, b) {
        (Some(a), Some(b)) => Some(combine(a, b)),
        (a, b) => a.or(b),
    }
}

/// Bytes that the largest program allocates at a time.
fn largest_program<S: Batch, A: Batch, Q: Batch, R: Batch>(
    support: &Traces<S, A>,
    query: &Traces<Q, R>,
    products: bool,
) -> Result<usize> {
    let mut most = 0;
    for traced in support.made() {
        most = most.max(traced.gradient_costs().peak_bytes);
        if products {
            most = most.max(traced.costs()?.hvp.peak_bytes);
        }
    }
    Ok(query.made().iter().map(|traced| traced.gradient_costs().peak_bytes).fold(most, usize::max))
}
