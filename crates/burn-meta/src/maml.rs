//! Meta-gradients over a meta-batch, adaptation to a task, evaluation on its query set.
//!
//! Does not know: formulas of the estimators, datasets.

use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use burn::config::Config;
use burn::module::Module;
use burn::optim::GradientsParams;
use burn_func::{Batch, Key, Output, Params, ProgramCache, Residuals, trace_with};

use crate::accumulate::Accumulator;
use crate::custom::{CustomEstimator, Method};
use crate::error::{Error, Result};
use crate::estimator::Estimator;
use crate::inner::{InnerLoopConfig, Keep, Trajectory};
use crate::inner_step::{InnerStep, is_stepped};
use crate::meta_batch::MetaBatch;
use crate::parallel::cores;
use crate::rates::InnerRates;
use crate::report::Report;
use crate::rule::InnerRule;
use crate::task_gradient::{TaskLosses, support_losses};
use crate::traces::Traces;
use crate::update::Update;

/// A task of a meta-batch: the set it is learnt from and the set it is judged on. They are batches of one type unless
/// the losses on them differ ([`MetaBatch::gradient_of`]).
#[derive(Clone, Debug)]
pub struct Task<S, Q = S> {
    /// Support set: the inner loop adapts to it.
    pub support: S,
    /// Query set: the meta-gradient is that of its loss after adaptation.
    pub query: Q,
}

/// Settings of gradient-based meta-learning.
#[derive(Config, Debug, PartialEq)]
pub struct MamlConfig {
    /// The inner loop.
    pub inner: InnerLoopConfig,
    /// How the meta-gradient is estimated.
    pub estimator: Estimator,
    /// Meta-steps at the beginning that are first-order whatever the estimator: a cheap start, as MAML++ has it.
    #[config(default = 0)]
    pub first_order_steps: u64,
    /// Weights of the query losses after inner steps 1 to K (MAML++'s multi-step loss); by default the last alone counts.
    pub query_weights: Option<Vec<f64>>,
    /// Threads, by default as many as the machine has cores for this process. Tasks of a meta-batch are in work on one each,
    /// and where there are fewer tasks than threads, products that do not wait for each other are. The numbers do not depend
    /// on it, the memory does: every task in work keeps its own residuals.
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
    /// [`Error::NoSteps`], [`Error::LearningRate`], [`Error::InnerLoop`], [`Error::Order`], [`Error::Estimator`],
    /// [`Error::Weights`], [`Error::NoThreads`].
    pub fn init(&self) -> Result<Maml> {
        self.inner.check()?;
        self.estimator.check(self.inner.steps)?;
        if self.threads == Some(0) {
            return Err(Error::NoThreads);
        }
        let maml = Maml {
            rule: Arc::new(self.inner.rule),
            rates: None,
            method: Method::Known(self.estimator),
            residuals: Residuals::Store,
            programs: ProgramCache::new(),
            steps: Arc::default(),
            tried: Arc::default(),
            config: self.clone(),
        };
        maml.check_method(&maml.method, self.query_weights.as_deref())?;
        Ok(maml)
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
/// independent, and done side by side on [`MamlConfig::threads`] threads. Inner rules other than gradient descent at one
/// rate add a few passes over vectors of the size of the parameters.
///
/// # Example
///
/// ```
/// use burn::nn::{Linear, LinearConfig};
/// use burn::optim::AdamConfig;
/// use burn::tensor::{Device, Tensor};
/// use burn_meta::{Estimator, InnerLoopConfig, MamlConfig, Task};
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
/// let maml = MamlConfig::new(InnerLoopConfig::new(0.1).with_steps(3), Estimator::binomial(2)).init()?;
/// let loss = |net: &Linear, (x, y): (Tensor<2>, Tensor<2>)| (net.forward(x) - y).powf_scalar(2.0).mean();
/// let step = maml.meta_gradient(&net, &tasks, loss)?;
/// net = optim.step(1e-3, net, step.grads);
/// let adapted: Linear = maml.adapt(&net, &tasks[0].support, loss)?;
/// # Ok::<(), burn_meta::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Maml {
    config: MamlConfig,
    rule: Arc<dyn InnerRule>,
    rates: Option<InnerRates>,
    method: Method,
    residuals: Residuals,
    programs: ProgramCache,
    /// Meta-steps done. Clones count together, as they share their programs.
    steps: Arc<AtomicU64>,
    /// Closures that were found to be means over examples, by the hashes of their graphs.
    tried: Arc<Mutex<HashSet<u64>>>,
}

/// What a key is for.
#[derive(Clone, Copy)]
pub(crate) enum Use {
    MetaStep(u64),
    Evaluation,
}

/// What a meta-step needs and says.
#[derive(Debug)]
pub struct MetaStep<A> {
    /// Mean of the tasks' meta-gradients, weighted where tasks have weights, for any Burn optimizer.
    pub grads: GradientsParams,
    /// The same as a vector.
    pub gradient: Params,
    /// Gradients of the inner learning rates, where they are learned: for an optimizer of [`InnerRates`].
    pub rate_grads: Option<GradientsParams>,
    /// Losses of each task.
    pub losses: Vec<TaskLosses>,
    /// What the closure returned beside the loss on each task's query set.
    pub outputs: Vec<A>,
    /// What was done.
    pub report: Report,
    pub(crate) query_loss: f64,
}

impl<A> MetaStep<A> {
    /// Mean query loss after adaptation, weighted where tasks have weights.
    pub fn query_loss(&self) -> f64 {
        self.query_loss
    }
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

    /// The same meta-learner with an inner rule of one's own, in place of that of the settings.
    ///
    /// # Errors
    ///
    /// [`Error::Estimator`] if the estimator is for gradient descent alone, and this rule is another.
    pub fn with_rule(&self, rule: impl InnerRule + 'static) -> Result<Self> {
        let maml = Self { rule: Arc::new(rule), ..self.clone() };
        maml.check_method(&maml.method, self.config.query_weights.as_deref())?;
        Ok(maml)
    }

    /// The same meta-learner with an estimator of one's own, in place of that of the settings.
    #[must_use]
    pub fn with_estimator(&self, estimator: impl CustomEstimator + 'static) -> Self {
        Self { method: Method::Custom(Arc::new(estimator)), ..self.clone() }
    }

    /// The same meta-learner with learned rates as they are now, in place of those of the settings; a meta-gradient then comes
    /// with theirs. Cheap: call it in every meta-step.
    #[must_use]
    pub fn with_rates(&self, rates: &InnerRates) -> Self {
        Self { rates: Some(rates.clone()), ..self.clone() }
    }

    /// The same meta-learner with another choice of what the linearization of an inner step keeps in memory.
    #[must_use]
    pub fn with_residuals(&self, residuals: Residuals) -> Self {
        Self { residuals, ..self.clone() }
    }

    /// What a task's random numbers are drawn from; folded with the inner step, or their number for the query set.
    pub(crate) fn key(&self, of: Use, task: usize) -> Key {
        let seed = Key::new(self.config.seed);
        let of = match of {
            Use::MetaStep(step) => seed.fold(0).fold(step),
            Use::Evaluation => seed.fold(1),
        };
        of.fold(task as u64)
    }

    /// Some tasks, to say more about before the work on them begins: weights, another loss on the query sets, who is told of
    /// progress.
    pub fn batch<'a, S: Batch, Q: Batch>(&'a self, tasks: &'a [Task<S, Q>]) -> MetaBatch<'a, S, Q> {
        MetaBatch::new(self, tasks)
    }

    /// A meta-batch to be taken piece by piece, for as many tasks as do not fit in memory together: the next meta-step of this
    /// meta-learner.
    pub fn accumulate<A: Batch>(&self) -> Accumulator<A> {
        Accumulator::new(self)
    }

    /// The meta-gradient, averaged over the tasks, by the configured estimator.
    ///
    /// # Errors
    ///
    /// [`Error::EmptyMetaBatch`]; [`Error::NonFinite`]; [`Error::Rates`]; [`Error::Solve`] of the implicit
    /// estimator; what [`burn_func::trace`] and [`burn_func::Traced::linearize`] report, a model that is not on an
    /// autodiff device among it.
    pub fn meta_gradient<M, B, O, F>(&self, model: &M, tasks: &[Task<B>], loss: F) -> Result<MetaStep<O::Aux>>
    where
        M: Module,
        B: Batch,
        O: Output,
        F: Fn(&M, B) -> O,
    {
        self.batch(tasks).gradient(model, loss)
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
        let (steps, key) = (self.config.inner.steps, self.key(Use::Evaluation, 0));
        let update = self.update(&start)?;
        let trajectory = Trajectory::run(&update, steps, &traced, &start, support, key, &Keep::NOTHING)?;
        support_losses(&trajectory, 0)?;
        let adapted = trajectory.end.into_module(model.clone())?;
        Ok(if is_stepped(&traced) { InnerStep::at(adapted, steps.saturating_sub(1)) } else { adapted })
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
        self.batch(tasks).evaluate(model, loss)
    }

    /// The same meta-learner with another number of inner steps, to evaluate by.
    pub(crate) fn with_steps(&self, steps: usize) -> Result<Self> {
        if steps == 0 {
            return Err(Error::NoSteps);
        }
        let inner = self.config.inner.clone().with_steps(steps);
        Ok(Self { config: MamlConfig { inner, ..self.config.clone() }, ..self.clone() })
    }

    pub(crate) fn method_name(&self) -> &'static str {
        self.method.name()
    }

    /// The rule of the inner loop in words, one's own too.
    pub(crate) fn rule_name(&self) -> String {
        format!("{:?}", self.rule)
    }

    pub(crate) fn threads(&self) -> usize {
        self.config.threads.unwrap_or_else(cores)
    }

    pub(crate) fn rates(&self) -> Option<&InnerRates> {
        self.rates.as_ref()
    }

    pub(crate) fn count_step(&self) {
        self.steps.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether two count their meta-steps together and learn their rates alike.
    pub(crate) fn counts_with(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.steps, &other.steps) && self.rates.is_some() == other.rates.is_some()
    }

    /// Whether a closure was found to be a mean over examples.
    pub(crate) fn is_tried(&self, closure: u64) -> bool {
        self.tried.lock().unwrap_or_else(PoisonError::into_inner).contains(&closure)
    }

    pub(crate) fn note_tried(&self, closure: u64) {
        self.tried.lock().unwrap_or_else(PoisonError::into_inner).insert(closure);
    }

    pub(crate) fn update(&self, start: &Params) -> Result<Update> {
        Update::new(&self.config.inner, &self.rule, self.rates.as_ref(), start)
    }

    pub(crate) fn traces<'b, M, B, O, F>(
        &self,
        model: &M,
        batches: impl Iterator<Item = Cow<'b, B>>,
        loss: F,
    ) -> Result<Traces<B, O::Aux>>
    where
        M: Module,
        B: Batch + 'b,
        O: Output,
        F: Fn(&M, B) -> O,
    {
        Traces::new(&self.programs, self.residuals, model, batches, loss)
    }

    /// What a meta-step goes by.
    pub(crate) fn method_of(&self, meta_step: u64) -> Method {
        match meta_step < self.config.first_order_steps {
            true => Method::Known(Estimator::FirstOrder),
            false => self.method.clone(),
        }
    }

    /// Whether an estimator goes with the inner loop and the losses that it is to see.
    pub(crate) fn check_method(&self, method: &Method, query_weights: Option<&[f64]>) -> Result<()> {
        let inner = &self.config.inner;
        if let Some(weights) = query_weights {
            check_query_weights(weights, inner.steps)?;
        }
        let require = |holds: bool, problem: &str| match holds {
            true => Ok(()),
            false => Err(Error::Estimator { estimator: method.name(), problem: problem.into() }),
        };
        let no_rates = "has no gradient for learned rates";
        let Some(estimator) = method.estimator() else { return require(self.rates.is_none(), no_rates) };
        let one_loss = query_weights.is_none();
        if !estimator.is_unrolled() {
            require(one_loss, "takes the query loss after the last step alone, and no weights for others")?;
            require(self.rates.is_none(), no_rates)?;
        }
        if let Estimator::Implicit { .. } = estimator {
            require(inner.proximal > 0.0, "needs the inner loop's proximal term: set `proximal` to a positive number")?;
        }
        Ok(())
    }
}

fn check_query_weights(weights: &[f64], steps: usize) -> Result<()> {
    let fail = |problem| Err(Error::Weights { of: "query losses", problem });
    if weights.len() != steps {
        return fail(format!("{} weights, expected one for each of {steps} inner step(s)", weights.len()));
    }
    match weights.iter().find(|weight| !weight.is_finite()) {
        Some(weight) => fail(format!("{weight}, expected finite numbers")),
        None if weights.iter().all(|weight| *weight == 0.0) => fail("all are zero".into()),
        None => Ok(()),
    }
}

/// Weights of the query losses after inner steps 1 to K as MAML++ has them (arXiv 1810.09502): equal at the beginning, and
/// moving to the last step as `progress` goes from 0 to 1; the others keep 0.03 / K.
///
/// # Example
///
/// ```
/// let weights = burn_meta::multi_step_weights(4, 0.5);
/// assert!((weights.iter().sum::<f64>() - 1.0).abs() < 1e-12 && weights[3] > weights[0]);
/// ```
pub fn multi_step_weights(steps: usize, progress: f64) -> Vec<f64> {
    let equal = 1.0 / steps as f64;
    let earlier = (equal * (1.0 - progress.clamp(0.0, 1.0))).max(0.03 * equal);
    let mut weights = vec![earlier; steps];
    if let Some(last) = weights.last_mut() {
        *last = 1.0 - (steps - 1) as f64 * earlier;
    }
    weights
}
