//! Backbones of the few-shot literature, as Burn modules.
//!
//! Does not know: tasks, inner loops.

mod backbone;
mod cnn4;
#[cfg(feature = "store")]
mod import;
mod mlp;
mod network;
mod norm;
mod resnet12;
mod wide_resnet;

pub use backbone::Backbone;
pub use cnn4::{Cnn4, Cnn4Block, Cnn4Config, Downsample};
#[cfg(feature = "store")]
pub use import::{Loaded, Weights, save_weights};
pub use mlp::{Activation, Mlp, MlpConfig};
pub use network::{BackboneConfig, Network};
pub use norm::{Norm, NormConfig, PerStepNorm};
pub use resnet12::{ResNet12, ResNet12Block, ResNet12Config};
pub use wide_resnet::{WideResNet, WideResNetBlock, WideResNetConfig};

use burn::nn::loss::CrossEntropyLossConfig;
use burn::tensor::{Int, Tensor};

/// Mean squared error over all elements.
pub fn mean_squared_error(prediction: Tensor<2>, target: Tensor<2>) -> Tensor<1> {
    let error = prediction - target;
    (error.clone() * error).mean()
}

/// Cross-entropy of logits `[n, classes]` and class indices `[n]`, averaged over the n.
pub fn cross_entropy(logits: Tensor<2>, labels: Tensor<1, Int>) -> Tensor<1> {
    CrossEntropyLossConfig::new().init(&logits.device()).forward(logits, labels)
}
