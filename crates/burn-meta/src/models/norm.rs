//! Normalisation layers of the backbones, and what each takes its statistics from.
//!
//! Does not know: networks.

use burn::module::{Module, Param};
use burn::nn::{BatchNorm, BatchNormConfig, GroupNorm, GroupNormConfig, Initializer};
use burn::tensor::module::{batch_norm, batch_norm_train};
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use crate::inner_step::InnerStep;

/// Added to variances.
const EPSILON: f64 = 1e-5;

/// What the normalisation layers of a backbone take their statistics from. Results of different kinds do not compare: a
/// transductive one sees the whole query set before it judges any image of it.
///
/// In settings files `"batch"`, `"running"`, `{ "per-step": { "steps": 5 } }`, `"layer"`, `"none"`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NormConfig {
    /// Batch normalisation as in MAML's code: statistics of the batch, in the inner loop and on the query set (transductive),
    /// wherever the network is on an autodiff device. On a plain device, or after `valid()`, Burn's batch normalisation takes its
    /// running statistics, which nothing but [`Backbone::with_statistics_of`](super::Backbone::with_statistics_of) or an ordinary
    /// forward pass in training moves.
    #[default]
    Batch,
    /// Batch normalisation with its running statistics, on every device, in training and in the inner loop: constants, until
    /// [`Backbone::with_statistics_of`](super::Backbone::with_statistics_of) moves them. One image's output does not depend on the
    /// others. Scale and shift are learned, and adapt. They begin as mean 0 and variance 1: give a network statistics of its
    /// training images before meta-training, and in a loop of your own again between meta-steps; [`MetaTrainer`](crate::MetaTrainer)
    /// leaves them as they are.
    Running,
    /// Batch normalisation with a scale and a shift for each inner step (MAML++, arXiv 1810.09502), and statistics of the batch
    /// always, on every device. Of the paper's statistics for each step nothing is kept: its authors' code gathers them, and
    /// normalises with those of the batch at test time too.
    ///
    /// Needs the number of the step from the inner loop, see [`InnerStep`]. In MAML++ scale and shift do not adapt: leave
    /// them out of [`InnerLoopConfig::adapt`](crate::InnerLoopConfig::adapt). If they do, step k moves the row of step k alone.
    PerStep {
        /// Rows of the tables. Steps beyond take the last.
        steps: usize,
    },
    /// Each image by its own mean and variance over channels and pixels (group normalisation with one group, arXiv
    /// 1803.08494), with a scale and a shift for each channel.
    Layer,
    /// No normalisation.
    None,
}

impl NormConfig {
    /// The layer for a number of channels, if there is one.
    pub fn init(&self, channels: usize, device: &Device) -> Option<Norm> {
        let batch = || BatchNormConfig::new(channels).with_epsilon(EPSILON).init(device);
        match *self {
            Self::Batch => Some(Norm::Batch(batch())),
            Self::Running => Some(Norm::Running(batch())),
            Self::PerStep { steps } => Some(Norm::PerStep(PerStepNorm::new(steps, channels, device))),
            Self::Layer => Some(Norm::Layer(GroupNormConfig::new(1, channels).with_epsilon(EPSILON).init(device))),
            Self::None => None,
        }
    }

    /// Why nothing can be made of it.
    pub(crate) fn problem(&self) -> Option<String> {
        match self {
            Self::PerStep { steps: 0 } => Some("`norm` has parameters for 0 steps, expected at least 1".into()),
            _ => None,
        }
    }
}

/// A normalisation layer: see [`NormConfig`].
#[derive(Module, Debug)]
#[allow(clippy::large_enum_variant)]
pub enum Norm {
    /// Statistics of the batch on an autodiff device.
    Batch(BatchNorm),
    /// Running statistics.
    Running(BatchNorm),
    /// Statistics of the batch; scale and shift by inner step.
    PerStep(PerStepNorm),
    /// Statistics of each image.
    Layer(GroupNorm),
}

impl Norm {
    /// `[n, channels, ..]` to the same.
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        match self {
            Self::Batch(norm) => norm.forward(x),
            Self::Running(norm) => {
                let device = x.device();
                let [mean, variance] = [&norm.running_mean, &norm.running_var].map(|s| s.value().to_device(&device));
                batch_norm(x, norm.gamma.val(), norm.beta.val(), mean, variance, norm.epsilon)
            }
            Self::PerStep(norm) => norm.forward(x),
            Self::Layer(norm) => norm.forward(x),
        }
    }

    /// Whether an example's output depends on the others of its batch, in training.
    pub fn batch_statistics(&self) -> bool {
        matches!(self, Self::Batch(_) | Self::PerStep(_))
    }

    /// Burn's batch normalisation, of those kinds that keep running statistics.
    pub fn batch_norm(&self) -> Option<&BatchNorm> {
        match self {
            Self::Batch(norm) | Self::Running(norm) => Some(norm),
            Self::PerStep(_) | Self::Layer(_) => None,
        }
    }

    /// With running statistics that follow those of the batch.
    pub(super) fn following(self, momentum: f64) -> Self {
        match self {
            Self::Batch(norm) | Self::Running(norm) => Self::Batch(BatchNorm { momentum, ..norm }),
            other => other,
        }
    }
}

/// Batch normalisation with a scale and a shift for each inner step: [`NormConfig::PerStep`].
#[derive(Module, Debug)]
pub struct PerStepNorm {
    /// Scales, `[steps, channels]`.
    pub gamma: Param<Tensor<2>>,
    /// Shifts, `[steps, channels]`.
    pub beta: Param<Tensor<2>>,
    /// The step it is.
    pub step: InnerStep,
}

impl PerStepNorm {
    fn new(steps: usize, channels: usize, device: &Device) -> Self {
        let table = |fill: Initializer| fill.init([steps, channels], device);
        Self { gamma: table(Initializer::Ones), beta: table(Initializer::Zeros), step: InnerStep::new(steps, device) }
    }

    fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        let [gamma, beta] = [&self.gamma, &self.beta].map(|table| self.step.row(table.val()));
        batch_norm_train(x, gamma, beta, EPSILON).output
    }
}

/// Through the layer, if there is one.
pub(super) fn applied<const D: usize>(norm: &Option<Norm>, x: Tensor<D>) -> Tensor<D> {
    match norm {
        Some(norm) => norm.forward(x),
        None => x,
    }
}
