//! Inner rules: what a step makes of the gradient.
//!
//! A rule is an ordinary function of Burn tensors. Its derivatives, which every meta-gradient but the plainest needs, are
//! Burn's own autodiff of that function: see `update.rs`.
//!
//! Does not know: modules, losses, estimators.

use std::fmt;

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// What a rule reads in one step. All tensors are flat, over the adapting parameters in the module's order, d elements each;
/// operations between them are elementwise, and norms are those of the whole.
#[derive(Clone, Debug)]
pub struct RuleInput {
    /// Which step it is, counted from 0.
    pub step: usize,
    /// The parameters before the step.
    pub params: Tensor<1>,
    /// Gradient of the support loss there: clipped, with weight decay and proximal term, where the inner loop has them.
    pub grad: Tensor<1>,
    /// What the rule remembers, zero before the first step.
    pub memory: Vec<Tensor<1>>,
    /// The learning rate: one element, or one for each parameter.
    pub rate: Tensor<1>,
}

/// What a step leaves behind.
#[derive(Clone, Debug)]
pub struct RuleOutput {
    /// The parameters after the step.
    pub params: Tensor<1>,
    /// What the rule remembers: as many vectors as before.
    pub memory: Vec<Tensor<1>>,
}

/// An inner rule: how a step moves the parameters.
///
/// [`Rule`] has the usual ones. One of one's own is a function of tensors, given to
/// [`Maml::with_rule`](crate::Maml::with_rule). It is differentiated by Burn's autodiff, so that every operation in it must
/// be differentiable where it is used: a square root at zero has no derivative (put an epsilon inside), and what is read to
/// the host or detached counts as constant.
///
/// # Example
///
/// Gradient descent that looks at signs alone, softened so that it has a derivative:
///
/// ```
/// use burn_meta::{Estimator, InnerLoopConfig, InnerRule, MamlConfig, RuleInput, RuleOutput};
///
/// #[derive(Debug)]
/// struct SoftSign { width: f64 }
///
/// impl InnerRule for SoftSign {
///     fn step(&self, at: RuleInput) -> RuleOutput {
///         let size = (at.grad.clone().powi_scalar(2) + self.width * self.width).sqrt();
///         RuleOutput { params: at.params - at.rate * at.grad / size, memory: at.memory }
///     }
/// }
///
/// let config = MamlConfig::new(InnerLoopConfig::new(0.01), Estimator::binomial(2));
/// let maml = config.init()?.with_rule(SoftSign { width: 1e-3 })?;
/// # Ok::<(), burn_meta::Error>(())
/// ```
pub trait InnerRule: fmt::Debug + Send + Sync {
    /// How many vectors it remembers from step to step.
    fn memory(&self) -> usize {
        0
    }

    /// One step.
    fn step(&self, at: RuleInput) -> RuleOutput;

    /// Whether a step is `params - rate * grad` and nothing else: gradient descent then goes the short way, and estimators
    /// that need it are allowed.
    fn is_descent(&self) -> bool {
        false
    }
}

/// The usual inner rules.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Rule {
    /// Gradient descent, with momentum unless that is zero: `s = momentum s + (1 - dampening) g`, undamped in the first step,
    /// as in PyTorch.
    Sgd {
        /// How much of the velocity is kept, in 0..1.
        momentum: f64,
        /// How much of the gradient the velocity leaves out, in 0..=1.
        dampening: f64,
        /// Goes by `g + momentum s` in place of `s`.
        nesterov: bool,
    },
    /// Adam (arXiv 1412.6980), with `epsilon` inside the root: `m / sqrt(v + epsilon)`, both corrected for their bias. Outside
    /// of it, as in training, the derivative at a zero gradient would be infinite.
    Adam {
        /// Decay of the mean, in 0..1.
        beta_1: f64,
        /// Decay of the mean square, in 0..1.
        beta_2: f64,
        /// Added to the mean square; positive.
        epsilon: f64,
    },
    /// RMSProp, with `epsilon` inside the root: `g / sqrt(v + epsilon)`, `v = decay v + (1 - decay) g^2`.
    RmsProp {
        /// Decay of the mean square, in 0..1.
        decay: f64,
        /// Added to the mean square; positive.
        epsilon: f64,
    },
}

impl Default for Rule {
    fn default() -> Self {
        Self::sgd()
    }
}

impl Rule {
    /// Plain gradient descent.
    pub fn sgd() -> Self {
        Self::momentum(0.0)
    }

    /// Gradient descent with momentum.
    pub fn momentum(momentum: f64) -> Self {
        Self::Sgd { momentum, dampening: 0.0, nesterov: false }
    }

    /// Gradient descent with Nesterov's momentum.
    pub fn nesterov(momentum: f64) -> Self {
        Self::Sgd { momentum, dampening: 0.0, nesterov: true }
    }

    /// Adam with the usual decays, 0.9 and 0.999, and an epsilon of 1e-8 inside the root.
    pub fn adam() -> Self {
        Self::Adam { beta_1: 0.9, beta_2: 0.999, epsilon: 1e-8 }
    }

    /// RMSProp with a decay of 0.99 and an epsilon of 1e-8 inside the root.
    pub fn rms_prop() -> Self {
        Self::RmsProp { decay: 0.99, epsilon: 1e-8 }
    }

    /// Checks the settings.
    ///
    /// # Errors
    ///
    /// [`Error::InnerLoop`].
    pub fn check(&self) -> Result<()> {
        let decay = |what: &'static str, x: f64| require((0.0..1.0).contains(&x), what, x, "a number in 0..1");
        let positive = |x: f64| require(x.is_finite() && x > 0.0, "epsilon", x, "a positive finite number");
        match *self {
            Self::Sgd { momentum, dampening, nesterov } => {
                decay("momentum", momentum)?;
                require((0.0..=1.0).contains(&dampening), "dampening", dampening, "a number in 0..=1")?;
                let fits = !nesterov || (momentum > 0.0 && dampening == 0.0);
                require(fits, "momentum with nesterov", momentum, "a positive momentum and no dampening")
            }
            Self::Adam { beta_1, beta_2, epsilon } => {
                decay("beta_1", beta_1).and(decay("beta_2", beta_2)).and(positive(epsilon))
            }
            Self::RmsProp { decay: kept, epsilon } => decay("decay", kept).and(positive(epsilon)),
        }
    }
}

/// An error unless a setting of the inner loop holds.
pub(crate) fn require(holds: bool, setting: &'static str, found: f64, expected: &'static str) -> Result<()> {
    if holds { Ok(()) } else { Err(Error::InnerLoop { setting, problem: format!("{found}, expected {expected}") }) }
}

impl InnerRule for Rule {
    fn memory(&self) -> usize {
        match self {
            _ if self.is_descent() => 0,
            Self::Sgd { .. } | Self::RmsProp { .. } => 1,
            Self::Adam { .. } => 2,
        }
    }

    fn step(&self, RuleInput { step, params, grad, memory, rate }: RuleInput) -> RuleOutput {
        let mut remembered = memory.into_iter();
        let (direction, memory) = match (*self, remembered.next(), remembered.next()) {
            (Self::Sgd { momentum, dampening, nesterov }, Some(velocity), _) => {
                let taken = if step == 0 { 1.0 } else { 1.0 - dampening };
                let velocity = velocity * momentum + grad.clone() * taken;
                let direction = if nesterov { grad + velocity.clone() * momentum } else { velocity.clone() };
                (direction, vec![velocity])
            }
            (Self::Adam { beta_1, beta_2, epsilon }, Some(mean), Some(square)) => {
                let mean = mean * beta_1 + grad.clone() * (1.0 - beta_1);
                let square = square * beta_2 + grad.clone() * grad * (1.0 - beta_2);
                let unbiased = |beta: f64| 1.0 / (1.0 - beta.powi(step as i32 + 1));
                let root = (square.clone() * unbiased(beta_2) + epsilon).sqrt();
                (mean.clone() * unbiased(beta_1) / root, vec![mean, square])
            }
            (Self::RmsProp { decay, epsilon }, Some(square), _) => {
                let square = square * decay + grad.clone() * grad.clone() * (1.0 - decay);
                (grad / (square.clone() + epsilon).sqrt(), vec![square])
            }
            _ => (grad, Vec::new()),
        };
        RuleOutput { params: params - rate * direction, memory }
    }

    fn is_descent(&self) -> bool {
        matches!(self, Self::Sgd { momentum, .. } if *momentum == 0.0)
    }
}
