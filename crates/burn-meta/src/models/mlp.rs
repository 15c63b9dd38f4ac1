//! Fully connected network.
//!
//! Does not know: losses.

use burn::config::Config;
use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::activation::{gelu, relu, sigmoid, silu, softplus, tanh};
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use super::backbone::Backbone;
use super::norm::{Norm, NormConfig};

/// Nonlinearity between layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Activation {
    /// `max(x, 0)`.
    Relu,
    /// Hyperbolic tangent.
    Tanh,
    /// `x Phi(x)` with the normal distribution function, exact.
    Gelu,
    /// `log(1 + exp(x))`, linear above 20.
    Softplus,
    /// `x sigmoid(x)`.
    Silu,
    /// `1 / (1 + exp(-x))`.
    Sigmoid,
}

impl Activation {
    fn apply(self, x: Tensor<2>) -> Tensor<2> {
        match self {
            Self::Relu => relu(x),
            Self::Tanh => tanh(x),
            Self::Gelu => gelu(x),
            Self::Softplus => softplus(x, 1.0),
            Self::Silu => silu(x),
            Self::Sigmoid => sigmoid(x),
        }
    }
}

/// Settings of an [`Mlp`].
#[derive(Config, Debug, PartialEq)]
pub struct MlpConfig {
    /// Widths, from input to output; `[1, 40, 40, 1]` is the sinusoid network of MAML.
    pub sizes: Vec<usize>,
    /// Nonlinearity between layers.
    #[config(default = "Activation::Relu")]
    pub activation: Activation,
    /// Normalisation before each nonlinearity.
    #[config(default = "NormConfig::None")]
    pub norm: NormConfig,
}

/// Fully connected network with a nonlinearity between its layers. As a [`Backbone`] it sees flattened images, its last layer is
/// the head, and it has to have one.
#[derive(Module, Debug)]
pub struct Mlp {
    /// Its layers.
    pub layers: Vec<Linear>,
    /// What normalises the outputs of all layers but the last; none where nothing does.
    pub norms: Vec<Norm>,
    #[module(skip)]
    activation: Activation,
}

impl MlpConfig {
    /// Makes the network on a device, which must be an autodiff device for it to be trained.
    pub fn init(&self, device: &Device) -> Mlp {
        let layers = self.sizes.windows(2).map(|pair| LinearConfig::new(pair[0], pair[1]).init(device));
        let hidden = self.sizes.iter().take(self.sizes.len().saturating_sub(1)).skip(1);
        let norms = hidden.filter_map(|width| self.norm.init(*width, device)).collect();
        Mlp { layers: layers.collect(), norms, activation: self.activation }
    }

    /// What no network can be made of.
    pub(super) fn problem(&self) -> Option<String> {
        let wrong = self.sizes.len() < 2 || self.sizes.contains(&0);
        let sizes = wrong.then(|| format!("`sizes` is {:?}, expected at least two positive widths", self.sizes));
        sizes.or_else(|| self.norm.problem())
    }
}

impl Mlp {
    /// `[n, sizes[0]]` to `[n, sizes[last]]`.
    pub fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        match self.layers.last() {
            Some(last) => last.forward(self.hidden(x)),
            None => x,
        }
    }

    /// What the last layer sees.
    fn hidden(&self, x: Tensor<2>) -> Tensor<2> {
        let before_last = self.layers.len().saturating_sub(1);
        self.layers.iter().take(before_last).enumerate().fold(x, |x, (at, layer)| {
            let y = layer.forward(x);
            let y = match self.norms.get(at) {
                Some(norm) => norm.forward(y),
                None => y,
            };
            self.activation.apply(y)
        })
    }
}

impl Backbone for Mlp {
    fn features(&self, images: Tensor<4>) -> Tensor<2> {
        self.hidden(images.flatten(1, 3))
    }

    fn head(&self) -> &Linear {
        &self.layers[self.layers.len() - 1]
    }

    fn head_mut(&mut self) -> &mut Linear {
        let last = self.layers.len() - 1;
        &mut self.layers[last]
    }

    fn norms(&self) -> Vec<&Norm> {
        self.norms.iter().collect()
    }

    fn norms_mut(&mut self) -> Vec<&mut Norm> {
        self.norms.iter_mut().collect()
    }
}
