//! Learning rates of the inner loop: fixed ones, by group of parameters; and learned ones, as a module.
//!
//! Does not know: rules, estimators.

use burn::config::Config;
use burn::module::{Module, Param};
use burn::optim::GradientsParams;
use burn::tensor::{Tensor, TensorData};
use burn_func::{Filter, Params};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::inner::InnerLoopConfig;

/// A learning rate for some of the parameters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RateGroup {
    /// Which, by path; `*` stands for any characters. Of several groups that match a parameter the last counts.
    pub paths: Vec<String>,
    /// Their learning rate.
    pub learning_rate: f64,
}

impl RateGroup {
    /// A learning rate for the parameters whose path matches one of the patterns.
    pub fn new<P: Into<String>>(paths: impl IntoIterator<Item = P>, learning_rate: f64) -> Self {
        Self { paths: paths.into_iter().map(Into::into).collect(), learning_rate }
    }
}

/// What a learned rate is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RatesPer {
    /// All parameters.
    Model,
    /// One tensor: a layer's weight, a layer's bias.
    #[default]
    Tensor,
    /// One element of a tensor.
    Element,
}

/// Settings of [`InnerRates`].
#[derive(Config, Debug, PartialEq)]
pub struct InnerRatesConfig {
    /// What a rate is for.
    #[config(default = "RatesPer::Tensor")]
    pub per: RatesPer,
    /// Whether every inner step has rates of its own.
    #[config(default = true)]
    pub per_step: bool,
}

/// Learned learning rates of the inner loop: a module of its own, trained beside the network by any Burn optimizer with the
/// gradients that a meta-step hands back ([`MetaStep::rate_grads`](crate::MetaStep::rate_grads)). They start at those of the
/// inner loop's settings. Nothing keeps them positive.
///
/// # Example
///
/// ```
/// use burn::nn::{Linear, LinearConfig};
/// use burn::optim::AdamConfig;
/// use burn::tensor::{Device, Tensor};
/// use burn_meta::{Estimator, InnerLoopConfig, InnerRatesConfig, MamlConfig, Task};
///
/// # let device = Device::flex().autodiff();
/// # let x = Tensor::<2>::from_data([[-1.0], [0.5], [2.0]], &device);
/// # let tasks = [Task { support: (x.clone(), x.clone()), query: (x.clone(), x.clone()) }];
/// # let loss = |net: &Linear, (x, y): (Tensor<2>, Tensor<2>)| (net.forward(x) - y).powf_scalar(2.0).mean();
/// let mut net = LinearConfig::new(1, 1).init(&device);
/// let inner = InnerLoopConfig::new(0.1).with_steps(3);
/// let mut rates = InnerRatesConfig::meta_sgd().init(&net, &inner)?;
/// let maml = MamlConfig::new(inner, Estimator::Exact).init()?;
/// let (mut optim, mut rate_optim) = (AdamConfig::new().init(), AdamConfig::new().init());
///
/// let step = maml.with_rates(&rates).meta_gradient(&net, &tasks, loss)?;
/// net = optim.step(1e-3, net, step.grads);
/// rates = rate_optim.step(1e-4, rates, step.rate_grads.expect("there are rates to learn"));
/// # Ok::<(), burn_meta::Error>(())
/// ```
#[derive(Module, Debug)]
pub struct InnerRates {
    /// One tensor for all steps, or one for each; of one element, one for each tensor that adapts, or one for each element of
    /// those.
    values: Vec<Param<Tensor<1>>>,
}

impl InnerRatesConfig {
    /// A rate for every element, the same in all steps (Meta-SGD, arXiv 1707.09835).
    pub fn meta_sgd() -> Self {
        Self { per: RatesPer::Element, per_step: false }
    }

    /// A rate for every tensor and step (LSLR of MAML++, arXiv 1810.09502).
    pub fn per_layer_per_step() -> Self {
        Self { per: RatesPer::Tensor, per_step: true }
    }

    /// Rates for the parameters of a module that an inner loop adapts, beginning with those of its settings.
    ///
    /// # Errors
    ///
    /// Those of the settings; [`burn_func::Error::NotAutodiff`]; a pattern that matches nothing.
    pub fn init<M: Module>(&self, model: &M, inner: &InnerLoopConfig) -> Result<InnerRates> {
        inner.check()?;
        let adapting = inner.adapting(&Params::from_module(model)?)?;
        let fixed = inner.rates_of(&adapting)?;
        let sizes = adapting.specs().iter().map(|param| param.spec.shape.iter().product());
        let values: Vec<f64> = match self.per {
            RatesPer::Model => vec![inner.learning_rate],
            RatesPer::Tensor => fixed,
            RatesPer::Element => fixed.into_iter().zip(sizes).flat_map(|(rate, n)| vec![rate; n]).collect(),
        };
        let dtype = adapting.specs()[0].spec.dtype;
        let device = adapting.device().autodiff();
        let n = values.len();
        let param = || Param::from_tensor(Tensor::from_data(TensorData::new(values.clone(), [n]), (&device, dtype)));
        let steps = if self.per_step { inner.steps } else { 1 };
        Ok(InnerRates { values: (0..steps).map(|_| param()).collect() })
    }
}

impl InnerRates {
    /// The rates of a step, without autodiff. Steps share them where there is one tensor alone.
    ///
    /// # Panics
    ///
    /// Panics for a step that has none.
    pub fn of_step(&self, step: usize) -> Tensor<1> {
        self.values[self.place(step)].val().inner()
    }

    fn place(&self, step: usize) -> usize {
        if self.values.len() == 1 { 0 } else { step }
    }

    /// Checks that there are rates for an inner loop over these parameters.
    pub(crate) fn check(&self, steps: usize, adapting: &Params) -> Result<()> {
        let fail = |problem| Err(Error::Rates { problem });
        if self.values.len() != 1 && self.values.len() < steps {
            return fail(format!("rates for {} step(s), the inner loop has {steps}", self.values.len()));
        }
        let (tensors, elements) = (adapting.specs().len(), adapting.len());
        for value in &self.values {
            let [found] = value.shape().dims();
            if ![1, tensors, elements].contains(&found) {
                return fail(format!(
                    "{found} rates, expected 1, {tensors} (one for each tensor that adapts) or {elements} (one for each element)"
                ));
            }
        }
        Ok(())
    }

    /// Gradients of the rates from the gradients of each step's.
    pub(crate) fn grads(&self, of_steps: Vec<Tensor<1>>) -> GradientsParams {
        let mut sums: Vec<Option<Tensor<1>>> = vec![None; self.values.len()];
        for (step, grad) in of_steps.into_iter().enumerate() {
            let sum = &mut sums[self.place(step)];
            *sum = Some(match sum.take() {
                Some(sum) => sum + grad,
                None => grad,
            });
        }
        let mut grads = GradientsParams::new();
        for (param, sum) in self.values.iter().zip(sums) {
            if let Some(sum) = sum {
                grads.register(param.id, sum);
            }
        }
        grads
    }
}

/// The learning rates of one step.
#[derive(Clone, Debug)]
pub(crate) enum StepRate {
    /// One for all.
    One(f64),
    /// Compact: one, one for each tensor, or one for each element.
    Each(Box<Tensor<1>>),
}

/// The rates of each step of an inner loop over these parameters.
pub(crate) fn step_rates(
    inner: &InnerLoopConfig,
    learned: Option<&InnerRates>,
    adapting: &Params,
) -> Result<Vec<StepRate>> {
    if let Some(learned) = learned {
        learned.check(inner.steps, adapting)?;
        return Ok((0..inner.steps).map(|step| StepRate::Each(Box::new(learned.of_step(step)))).collect());
    }
    let fixed = inner.rates_of(adapting)?;
    let rate = match fixed.iter().all(|rate| *rate == fixed[0]) {
        true => StepRate::One(fixed[0]),
        false => {
            let spec = &adapting.specs()[0].spec;
            let n = fixed.len();
            let rates = Tensor::from_data(TensorData::new(fixed, [n]), (&adapting.device(), spec.dtype));
            StepRate::Each(Box::new(rates))
        }
    };
    Ok(vec![rate; inner.steps])
}

/// The rates of the groups, on top of one for all: one for each tensor.
pub(crate) fn grouped(groups: &[RateGroup], otherwise: f64, adapting: &Params) -> Result<Vec<f64>> {
    let mut rates = vec![otherwise; adapting.specs().len()];
    for group in groups {
        let chosen = adapting.only(&Filter::paths(group.paths.clone()))?;
        for (rate, param) in rates.iter_mut().zip(adapting.specs()) {
            if chosen.specs().iter().any(|chosen| chosen.id == param.id) {
                *rate = group.learning_rate;
            }
        }
    }
    Ok(rates)
}
