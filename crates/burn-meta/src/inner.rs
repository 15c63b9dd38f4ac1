//! The inner loop: gradient descent on the support set, by a rule.
//!
//! Does not know: estimators, meta-batches.

use burn::config::Config;
use burn::tensor::Tensor;
use burn_func::{Batch, Filter, Key, Linearization, Params, Traced};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::inner_step::at_step;
use crate::rates::{RateGroup, grouped};
use crate::rule::{Rule, require};
use crate::state::State;
use crate::update::Update;

/// Settings of the inner loop.
///
/// A step takes the gradient of the support loss, clips it, adds `weight_decay` times the parameters and the proximal
/// term, and moves the parameters by the rule.
#[derive(Config, Debug, PartialEq)]
pub struct InnerLoopConfig {
    /// Inner learning rate.
    pub learning_rate: f64,
    /// Number of inner steps, K.
    #[config(default = 5)]
    pub steps: usize,
    /// How a step moves the parameters.
    #[config(default = "Rule::sgd()")]
    pub rule: Rule,
    /// Other learning rates for some of the parameters. Of several groups that match a parameter the last counts.
    #[config(default = "Vec::new()")]
    pub groups: Vec<RateGroup>,
    /// Adds this times the parameters to the gradient (as L2 regularisation does; not decoupled).
    #[config(default = 0.0)]
    pub weight_decay: f64,
    /// Strength of the pull towards the start: adds `proximal (phi - theta)` to the gradient, that of
    /// `proximal / 2 ||phi - theta||^2`. The implicit estimator needs it (iMAML's lambda).
    #[config(default = 0.0)]
    pub proximal: f64,
    /// Clips the gradient.
    pub clip: Option<Clip>,
    /// The parameters that adapt, by path, `*` standing for any characters; by default all. `["head.*"]` is ANIL
    /// (arXiv 1909.09157). The others are meta-learned too, by way of both losses: they may be a representation, or weights
    /// of the support loss.
    pub adapt: Option<Vec<String>>,
}

/// Settings of the inner loop: gradient descent unless they say otherwise.
pub type InnerSgdConfig = InnerLoopConfig;

/// A limit on an inner step's gradient.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Clip {
    /// On its Euclidean norm, over all adapting parameters. Waits for the device in every step.
    Norm(f64),
    /// On the size of each element.
    Value(f64),
}

impl InnerLoopConfig {
    /// Checks the settings.
    ///
    /// # Errors
    ///
    /// [`Error::NoSteps`], [`Error::LearningRate`], [`Error::InnerLoop`].
    pub fn check(&self) -> Result<()> {
        if self.steps == 0 {
            return Err(Error::NoSteps);
        }
        for rate in std::iter::once(self.learning_rate).chain(self.groups.iter().map(|group| group.learning_rate)) {
            if !(rate.is_finite() && rate > 0.0) {
                return Err(Error::LearningRate { rate });
            }
        }
        let not_negative =
            |setting, x: f64| require(x.is_finite() && x >= 0.0, setting, x, "zero or a positive finite number");
        not_negative("weight_decay", self.weight_decay)?;
        not_negative("proximal", self.proximal)?;
        if let Some(Clip::Norm(most) | Clip::Value(most)) = self.clip {
            require(most.is_finite() && most > 0.0, "clip", most, "a positive finite number")?;
        }
        self.rule.check()
    }

    /// Those of some parameters that adapt.
    pub(crate) fn adapting(&self, all: &Params) -> Result<Params> {
        match self.filter() {
            Some(filter) => Ok(all.only(&filter)?),
            None => Ok(all.clone()),
        }
    }

    /// Which parameters adapt, if not all do.
    pub(crate) fn filter(&self) -> Option<Filter> {
        self.adapt.as_ref().map(|paths| Filter::paths(paths.clone()))
    }

    /// The fixed learning rate of each tensor that adapts.
    pub(crate) fn rates_of(&self, adapting: &Params) -> Result<Vec<f64>> {
        grouped(&self.groups, self.learning_rate, adapting)
    }
}

/// What is asked of an inner loop beside its end.
pub(crate) struct Keep<'a> {
    /// Steps whose linearization is wanted.
    pub points: &'a [usize],
    /// States and gradients of all steps.
    pub states: bool,
    /// The parameters after these numbers of steps.
    pub after: &'a [usize],
}

impl Keep<'_> {
    pub const NOTHING: Keep<'static> = Keep { points: &[], states: false, after: &[] };
}

/// What an inner loop leaves behind.
pub(crate) struct Trajectory {
    /// The adapted parameters.
    pub end: Params,
    /// Support loss before each step.
    pub losses: Vec<Tensor<1>>,
    /// The linearization of each step, where it was kept.
    pub points: Vec<Option<Linearization>>,
    /// State before each step and the gradient there, where they were kept.
    pub states: Vec<(State, Params)>,
    /// The parameters after some numbers of steps, in their order.
    pub after: Vec<Params>,
}

impl Trajectory {
    /// Runs the loop from `start`; step k draws from `key.fold(k)`.
    pub fn run<B: Batch, A: Batch>(
        update: &Update,
        steps: usize,
        support: &Traced<B, A>,
        start: &Params,
        batch: &B,
        key: Key,
        keep: &Keep<'_>,
    ) -> Result<Self> {
        let mut state = update.begin(start);
        let (mut losses, mut points, mut states, mut after) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for step in 0..steps {
            let support = at_step(support, step).keyed(key.fold(step as u64));
            let (loss, grad, point) = if keep.points.contains(&step) {
                let point = support.linearize(&state.params, batch)?;
                (point.loss().clone(), point.grad().clone(), Some(point))
            } else {
                let (loss, grad, _) = match update.filter() {
                    Some(filter) => support.value_and_grad_of(filter, &state.params, batch)?,
                    None => support.value_and_grad(&state.params, batch)?,
                };
                (loss, grad, None)
            };
            let next = update.apply(step, &state, &grad)?;
            losses.push(loss);
            points.push(point);
            if keep.states {
                states.push((state, grad));
            }
            state = next;
            if keep.after.contains(&(step + 1)) {
                after.push(state.params.clone());
            }
        }
        Ok(Self { end: state.params, losses, points, states, after })
    }

    /// Bytes that the linearizations hold beyond points, batch and constants.
    pub fn residual_bytes(&self) -> usize {
        self.points.iter().flatten().map(Linearization::residual_bytes).sum()
    }
}
