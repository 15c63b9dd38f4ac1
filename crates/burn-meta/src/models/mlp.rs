//! Fully connected network.
//!
//! Does not know: losses.

use burn::config::Config;
use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::activation::{gelu, relu, sigmoid, silu, softplus, tanh};
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

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
#[derive(Config, Debug)]
pub struct MlpConfig {
    /// Widths, from input to output; `[1, 40, 40, 1]` is the sinusoid network of MAML.
    pub sizes: Vec<usize>,
    /// Nonlinearity between layers.
    #[config(default = "Activation::Relu")]
    pub activation: Activation,
}

/// Fully connected network with a nonlinearity between its layers.
#[derive(Module, Debug)]
pub struct Mlp {
    /// Its layers.
    pub layers: Vec<Linear>,
    #[module(skip)]
    activation: Activation,
}

impl MlpConfig {
    /// Makes the network on a device, which must be an autodiff device for it to be trained.
    pub fn init(&self, device: &Device) -> Mlp {
        let layers = self.sizes.windows(2).map(|pair| LinearConfig::new(pair[0], pair[1]).init(device));
        Mlp { layers: layers.collect(), activation: self.activation }
    }
}

impl Mlp {
    /// `[n, sizes[0]]` to `[n, sizes[last]]`.
    pub fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        let last = self.layers.len().saturating_sub(1);
        self.layers.iter().enumerate().fold(x, |x, (at, layer)| {
            let y = layer.forward(x);
            if at == last { y } else { self.activation.apply(y) }
        })
    }
}
