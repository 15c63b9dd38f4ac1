//! Who learns: a module, its optimizer and learning rate; and learned inner rates with theirs.
//!
//! Does not know: tasks, losses.

use burn::lr_scheduler::module_lr_scheduler::ModuleLrScheduler;
use burn::module::Module;
use burn::optim::{GradientsParams, ModuleOptimizer};

use crate::maml::Maml;
use crate::rates::InnerRates;

/// A module with any Burn optimizer and any Burn learning-rate scheduler, with groups of parameters of their own or without; a
/// number is a constant rate.
///
/// # Example
///
/// ```
/// use burn::lr_scheduler::cosine::CosineAnnealingLrSchedulerConfig;
/// use burn::nn::LinearConfig;
/// use burn::optim::AdamConfig;
/// use burn::tensor::Device;
/// use burn_meta::MetaLearner;
///
/// let net = LinearConfig::new(1, 1).init(&Device::flex().autodiff());
/// let constant = MetaLearner::new(net.clone(), AdamConfig::new().init(), 1e-3);
/// let schedule = CosineAnnealingLrSchedulerConfig::new(1e-3, 20_000).init()?;
/// let annealed = MetaLearner::new(net, AdamConfig::new().init(), schedule);
/// # Ok::<(), String>(())
/// ```
///
/// Groups of parameters that a run in a directory is to find again have to be by path (`ParamGroup::from_paths` and the like):
/// those by id are of the module that is made anew in every process, and a resumed one has the ids of the first.
///
/// Burn's optimizers take their own epsilon: MAML and its successors train with Adam's at 1e-8, where Burn's default is 1e-5.
#[derive(Clone)]
pub struct MetaLearner<M> {
    pub(super) model: M,
    pub(super) pace: Pace,
    pub(super) rates: Option<(InnerRates, Pace)>,
}

/// An optimizer and how fast it goes.
#[derive(Clone)]
pub(super) struct Pace {
    pub optimizer: ModuleOptimizer,
    pub schedule: ModuleLrScheduler,
}

impl Pace {
    fn new(optimizer: impl Into<ModuleOptimizer>, schedule: impl Into<ModuleLrScheduler>) -> Self {
        Self { optimizer: optimizer.into(), schedule: schedule.into() }
    }

    /// The module after a step, and the learning rate it was taken with: that of parameters in no group of their own.
    fn step<M: Module>(&mut self, module: M, grads: GradientsParams) -> (M, f64) {
        let rate = self.schedule.step();
        let base = rate.base();
        (self.optimizer.step(rate, module, grads), base)
    }
}

impl<M: Module> MetaLearner<M> {
    /// A module on an autodiff device, an optimizer and a learning rate.
    pub fn new(model: M, optimizer: impl Into<ModuleOptimizer>, schedule: impl Into<ModuleLrScheduler>) -> Self {
        Self { model, pace: Pace::new(optimizer, schedule), rates: None }
    }

    /// Learns the inner rates too ([`InnerRatesConfig`](crate::InnerRatesConfig)), by an optimizer of their own.
    #[must_use]
    pub fn with_rates(
        self,
        rates: InnerRates,
        optimizer: impl Into<ModuleOptimizer>,
        schedule: impl Into<ModuleLrScheduler>,
    ) -> Self {
        Self { rates: Some((rates, Pace::new(optimizer, schedule))), ..self }
    }

    /// The module as it is now.
    pub fn model(&self) -> &M {
        &self.model
    }

    /// The learned inner rates as they are now, where there are any.
    pub fn rates(&self) -> Option<&InnerRates> {
        self.rates.as_ref().map(|(rates, _)| rates)
    }

    /// The meta-learner with the learned rates as they are now.
    pub(super) fn in_front_of(&self, maml: &Maml) -> Maml {
        self.rates().map_or_else(|| maml.clone(), |rates| maml.with_rates(rates))
    }

    /// Takes a meta-step, and returns the learning rate it took.
    pub(super) fn step(&mut self, grads: GradientsParams, rate_grads: Option<GradientsParams>) -> f64 {
        let (model, rate) = self.pace.step(self.model.clone(), grads);
        self.model = model;
        if let (Some((rates, pace)), Some(grads)) = (&mut self.rates, rate_grads) {
            *rates = pace.step(rates.clone(), grads).0;
        }
        rate
    }
}
