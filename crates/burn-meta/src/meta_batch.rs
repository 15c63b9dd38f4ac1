//! A meta-batch: tasks, their weights, who watches, and the work on them side by side.
//!
//! Does not know: inner loops, formulas of the estimators.

use std::borrow::Cow;
use std::sync::atomic::{AtomicUsize, Ordering};

use burn::module::Module;
use burn_func::{Batch, LanczosConfig, Output, Params, Value};

use crate::accumulate::Piece;
use crate::curvature::{InnerCurvature, along};
use crate::custom::Method;
use crate::error::{Error, Place, Result};
use crate::inner::{Keep, Trajectory};
use crate::kept::Kept;
use crate::maml::{Evaluation, Maml, MetaStep, Task, Use};
use crate::memory::{MemoryEstimate, batch_bytes, module_bytes, residuals_and_program};
use crate::parallel::{CancelToken, side_by_side};
use crate::query_chunks::{Cut, QuerySets, samples};
use crate::task_gradient::{TaskLosses, TaskWork, finite, read, support_losses};
use crate::traces::Traces;
use crate::update::Update;

/// How far a meta-batch is. Of a piece of one ([`Accumulator`](crate::Accumulator)): with the pieces before it, and none of
/// those to come.
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
    query_chunk: Option<usize>,
    /// The number of the first task, where tasks are evaluated piece by piece: for random numbers.
    first: usize,
    progress: Option<Box<dyn Fn(Progress) + Sync + 'a>>,
    cancel: Option<&'a CancelToken>,
}

impl<'a, S: Batch, Q: Batch> MetaBatch<'a, S, Q> {
    pub(crate) fn new(maml: &'a Maml, tasks: &'a [Task<S, Q>]) -> Self {
        let (weights, query_weights, query_chunk) = (None, None, None);
        Self { maml, tasks, weights, query_weights, query_chunk, first: 0, progress: None, cancel: None }
    }

    /// Numbers the tasks of an evaluation from another one than 0.
    pub(crate) fn numbered_from(mut self, first: usize) -> Self {
        self.first = first;
        self
    }

    /// Weights of the tasks: the meta-gradient is `sum w_i g_i / sum w_i`. Finite, none negative, not all zero (over all
    /// pieces, where there are several).
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

    /// Takes the query loss and its gradient over pieces of at most this many examples, as equal as can be, for query sets
    /// that do not fit in memory: the mean over the pieces, weighted by their sizes. The outputs of the closure are put
    /// together again along their leading axis.
    ///
    /// The examples are along the leading axis of every tensor of the query set. **Right only where the loss is a mean over
    /// examples and nothing couples them**: no statistics of the batch, no loss over pairs, no weights that sum to one. What
    /// can be found is refused:
    ///
    /// * a layer that takes the statistics of its batch, as batch normalisation in training does, by its name;
    /// * in the first meta-step or evaluation with a closure, a loss of a piece that is not the mean over its two halves, at the
    ///   first query set: this finds a sum in the place of a mean too. A closure with random numbers (dropout) draws others for
    ///   other shapes: it is not tried, and every piece draws numbers of its own.
    ///
    /// A query set of no more examples is taken whole, and nothing is refused.
    ///
    /// # Errors
    ///
    /// Of [`gradient`](Self::gradient), [`evaluate`](Self::evaluate) and [`memory`](Self::memory): [`Error::QueryChunk`], also
    /// for tensors of different leading axes, and for an output that has not one row for each example.
    pub fn with_query_chunk(mut self, examples: usize) -> Self {
        self.query_chunk = Some(examples);
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
        let mut sum = self.maml.accumulate();
        sum.add_of(self, model, support_loss, query_loss)?;
        sum.finish()
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
        let recorded = self.two_traces(model, support_loss, &query_loss)?;
        self.judge(model, &self.tried(recorded, model, query_loss)?)
    }

    /// [`memory`](MetaBatch::memory), with a loss for the inner loop and another for the query set.
    ///
    /// # Errors
    ///
    /// As [`memory`](MetaBatch::memory).
    pub fn memory_of<M, O, F, P, G>(&self, model: &M, support_loss: F, query_loss: G) -> Result<MemoryEstimate>
    where
        M: Module,
        O: Output,
        F: Fn(&M, S) -> O,
        P: Output,
        G: Fn(&M, Q) -> P,
    {
        self.foretold(model, &self.two_traces(model, support_loss, query_loss)?)
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
        let support = self.maml.traces(model, self.support_sets(), support_loss)?;
        let start = Params::from_module(model)?;
        let update = self.maml.update(&start)?;
        let inner = &self.maml.config().inner;
        let found = self.each(0, |index| {
            let key = self.maml.key(Use::Evaluation, index);
            let at = (&start, &self.tasks[index].support, key);
            along(&update, (inner.steps, inner.learning_rate), support.of(index), at, config)
        });
        found.into_iter().collect()
    }

    pub(crate) fn two_traces<M, O, F, P, G>(
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
        let cuts = self.cuts()?;
        let support = self.maml.traces(model, self.support_sets(), support_loss)?;
        let query = self.maml.traces(model, samples(&cuts, self.tasks), query_loss)?;
        Ok(Recorded { support, query: QuerySets::new(cuts, query)? })
    }

    /// The closures, once it is known that the query loss may be taken over pieces, where it is.
    pub(crate) fn tried<M, A, P, G>(
        &self,
        recorded: Recorded<S, A, Q, P::Aux>,
        model: &M,
        query_loss: G,
    ) -> Result<Recorded<S, A, Q, P::Aux>>
    where
        M: Module,
        P: Output,
        G: Fn(&M, Q) -> P,
    {
        recorded.query.try_mean(self.maml, self.tasks, model, query_loss)?;
        Ok(recorded)
    }

    fn support_sets(&self) -> impl Iterator<Item = Cow<'a, S>> + use<'a, S, Q> {
        self.tasks.iter().map(|task| Cow::Borrowed(&task.support))
    }

    fn cuts(&self) -> Result<Vec<Cut>> {
        self.tasks.iter().map(|task| Cut::of(&task.query, self.query_chunk)).collect()
    }

    pub(crate) fn maml(&self) -> &Maml {
        self.maml
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.tasks.is_empty()
    }

    /// The meta-gradients of the tasks, as those of a meta-step after its first `first` ones.
    pub(crate) fn gradients<M: Module, A: Batch, R: Batch>(
        &self,
        model: &M,
        start: &Params,
        recorded: &Recorded<S, A, Q, R>,
        meta_step: u64,
        first: usize,
    ) -> Result<Piece<R>> {
        let shares = self.shares()?;
        let work = self.work(start, meta_step)?;
        let memory = self.estimate(model, start, recorded, &work.kept)?;
        let maml = self.maml;
        let tasks = self.each(first, |at| {
            let task = &self.tasks[at];
            let index = first + at;
            let one = TaskWork {
                inner: &maml.config().inner,
                update: &work.update,
                method: &work.method,
                query_weights: self.query_weights(),
                rate_grads: maml.rates().is_some(),
                kept: &work.kept,
                start,
                set: &task.support,
                support: recorded.support.of(at),
                query: recorded.query.of(at, &task.query),
                index,
                key: maml.key(Use::MetaStep(meta_step), index),
                threads: maml.threads() / self.in_flight(),
            };
            one.run()
        });
        Ok(Piece { tasks: tasks.into_iter().collect::<Result<_>>()?, shares, memory })
    }

    /// What every task of a meta-step goes by.
    fn work(&self, start: &Params, meta_step: u64) -> Result<Work> {
        let (maml, query_weights) = (self.maml, self.query_weights());
        let update = maml.update(start)?;
        let method = maml.method_of(meta_step);
        maml.check_method(&method, query_weights)?;
        let kept = Kept::of(&method, &update, maml.config().inner.steps, query_weights, maml.rates().is_some());
        Ok(Work { update, method, kept })
    }

    fn foretold<M: Module, A: Batch, R: Batch>(
        &self,
        model: &M,
        recorded: &Recorded<S, A, Q, R>,
    ) -> Result<MemoryEstimate> {
        if self.is_empty() {
            return Err(Error::EmptyMetaBatch);
        }
        let start = Params::from_module(model)?;
        let work = self.work(&start, self.maml.step())?;
        self.estimate(model, &start, recorded, &work.kept)
    }

    fn estimate<M: Module, A: Batch, R: Batch>(
        &self,
        model: &M,
        start: &Params,
        Recorded { support, query }: &Recorded<S, A, Q, R>,
        kept: &Kept,
    ) -> Result<MemoryEstimate> {
        let (residual_bytes, program_bytes) = residuals_and_program(kept, support.used(), query.used())?;
        let vector: usize = start.values().iter().map(Value::bytes).sum();
        let rates = self.maml.rates();
        let of_rates: usize = rates.map_or(0, |rates| {
            // A gradient for every step, also where steps share their rates.
            let steps = (0..self.maml.config().inner.steps).map(|step| batch_bytes(&rates.of_step(step)));
            steps.sum()
        });
        let of_task = |task: &Task<S, Q>| batch_bytes(&task.support) + batch_bytes(&task.query);
        let estimate = MemoryEstimate {
            parameter_bytes: module_bytes(model) + rates.map_or(0, module_bytes),
            batch_bytes: self.tasks.iter().map(of_task).sum(),
            gradient_bytes: (self.tasks.len() + 1) * (vector + of_rates),
            tasks_in_flight: self.in_flight(),
            kept_steps: kept.linearizations,
            residual_bytes,
            vector_bytes: kept.vectors * vector,
            program_bytes,
            total_bytes: 0,
        };
        Ok(estimate.summed())
    }

    /// Tasks in work at a time.
    fn in_flight(&self) -> usize {
        self.maml.threads().min(self.tasks.len())
    }

    fn query_weights(&self) -> Option<&[f64]> {
        self.query_weights.or(self.maml.config().query_weights.as_deref())
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
            let (task, key) = (&self.tasks[index], self.maml.key(Use::Evaluation, self.first + index));
            let support = support.of(index);
            let trajectory = Trajectory::run(&update, steps, support, &start, &task.support, key, &Keep::NOTHING)?;
            let query = query.of(index, &task.query);
            let (query_loss, outputs) = query.value(&trajectory.end, steps, key.fold(steps as u64))?;
            let support = support_losses(&trajectory, index)?;
            let query = finite(read(&query_loss), index, Place::Query)?;
            Ok(Evaluation { losses: TaskLosses { support, query, query_steps: Vec::new() }, outputs })
        };
        self.each(0, evaluate).into_iter().collect()
    }

    /// Work on every task, side by side, after `first` others that were done before.
    fn each<T: Send>(&self, first: usize, work: impl Fn(usize) -> Result<T> + Sync) -> Vec<Result<T>> {
        let finished = AtomicUsize::new(first);
        let tasks = first + self.tasks.len();
        side_by_side(self.tasks.len(), self.maml.threads(), |index| {
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
        let Some(weights) = self.weights else { return Ok(vec![1.0; n]) };
        let fail = |problem| Err(Error::Weights { of: "tasks", problem });
        if weights.len() != n {
            return fail(format!("{} weights for {n} tasks", weights.len()));
        }
        if let Some(wrong) = weights.iter().find(|weight| !(weight.is_finite() && **weight >= 0.0)) {
            return fail(format!("{wrong}, expected finite numbers that are not negative"));
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
        let mut sum = self.maml.accumulate();
        sum.add(self, model, loss)?;
        sum.finish()
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
        let recorded = self.one_trace(model, &loss)?;
        self.judge(model, &self.tried(recorded, model, loss)?)
    }

    /// What a meta-step on these tasks will hold in memory, told from shapes: the closure is recorded, and nothing is computed.
    ///
    /// # Errors
    ///
    /// As [`gradient`](Self::gradient), as far as they show before anything runs.
    ///
    /// # Cost
    ///
    /// That of recording the closure, and of making the programs, which the meta-steps then find made.
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
    /// # let tasks = [1.0, 2.0].map(|s| Task { support: (x.clone(), x.clone() * s), query: (x.clone(), x.clone() * s) });
    /// # let loss = |net: &Linear, (x, y): (Tensor<2>, Tensor<2>)| (net.forward(x) - y).powf_scalar(2.0).mean();
    /// let maml = MamlConfig::new(InnerLoopConfig::new(0.1).with_steps(3), Estimator::Exact).init()?;
    /// let memory = maml.batch(&tasks).memory(&net, loss)?;
    /// println!("{memory}");
    /// let step = maml.batch(&tasks).gradient(&net, loss)?;
    /// assert_eq!(step.report.peak_bytes, memory.peak_bytes());
    /// # Ok::<(), burn_meta::Error>(())
    /// ```
    pub fn memory<M, O, F>(&self, model: &M, loss: F) -> Result<MemoryEstimate>
    where
        M: Module,
        O: Output,
        F: Fn(&M, B) -> O,
    {
        self.foretold(model, &self.one_trace(model, loss)?)
    }

    /// One closure, traced once for each shape that support and query sets have.
    pub(crate) fn one_trace<M, O, F>(&self, model: &M, loss: F) -> Result<Recorded<B, O::Aux, B, O::Aux>>
    where
        M: Module,
        O: Output,
        F: Fn(&M, B) -> O,
    {
        let cuts = self.cuts()?;
        let all = self.support_sets().chain(samples(&cuts, self.tasks));
        let (support, query) = self.maml.traces(model, all, loss)?.split_at(self.tasks.len());
        Ok(Recorded { support, query: QuerySets::new(cuts, query)? })
    }
}

/// The closures of a meta-batch, recorded.
pub(crate) struct Recorded<S, A, Q, R> {
    support: Traces<S, A>,
    query: QuerySets<Q, R>,
}

/// What every task of a meta-step goes by.
struct Work {
    update: Update,
    method: Method,
    kept: Kept,
}
