//! The twelve-layer residual network of few-shot learning.
//!
//! Does not know: losses.

use burn::config::Config;
use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::pool::{MaxPool2d, MaxPool2dConfig};
use burn::nn::{Dropout, DropoutConfig, Initializer, Linear, PaddingConfig2d};
use burn::tensor::activation::leaky_relu;
use burn::tensor::{Device, Tensor};

use super::backbone::{Backbone, head, mean_over_pixels, no_pixels, not_positive};
use super::norm::{Norm, NormConfig, applied};

/// Slope of the LeakyReLU below zero.
const SLOPE: f64 = 0.1;

/// Settings of a [`ResNet12`].
#[derive(Config, Debug, PartialEq)]
pub struct ResNet12Config {
    /// Channels of the images: 1 or 3.
    pub channels: usize,
    /// Height and width of the images, at least 16.
    pub image_size: usize,
    /// Number of classes.
    pub ways: usize,
    /// Filters of the four blocks. `[64, 128, 256, 512]` is the narrow one.
    #[config(default = "[64, 160, 320, 640]")]
    pub filters: [usize; 4],
    /// Normalisation after each convolution.
    #[config(default = "NormConfig::Batch")]
    pub norm: NormConfig,
    /// Whether the features are averaged over the pixels that are left (5x5 of 84x84), or flattened in the order channel, row,
    /// column.
    #[config(default = true)]
    pub mean: bool,
    /// Probability of dropout of single elements after each block, in training.
    #[config(default = 0.0)]
    pub dropout: f64,
}

/// Four residual blocks of three 3x3 convolutions without bias, each followed by normalisation, with LeakyReLU of slope 0.1, a
/// 1x1 convolution beside them, and 2x2 max-pooling after each block; then a linear head. Without the head it has
/// 12,424,320 parameters.
///
/// The network of MetaOptNet (arXiv 1904.03758) and learn2learn. Theirs has DropBlock in the last two blocks, which this has
/// not: [`ResNet12Config::dropout`] is plain dropout in all four.
#[derive(Module, Debug)]
pub struct ResNet12 {
    /// Its four blocks.
    pub blocks: Vec<ResNet12Block>,
    /// Linear classifier.
    pub head: Linear,
    mean: bool,
}

/// One block of a [`ResNet12`].
#[derive(Module, Debug)]
pub struct ResNet12Block {
    /// First 3x3 convolution.
    pub conv1: Conv2d,
    /// What normalises it.
    pub norm1: Option<Norm>,
    /// Second 3x3 convolution.
    pub conv2: Conv2d,
    /// What normalises it.
    pub norm2: Option<Norm>,
    /// Third 3x3 convolution.
    pub conv3: Conv2d,
    /// What normalises it.
    pub norm3: Option<Norm>,
    /// 1x1 convolution of the block's input, which is added before the last LeakyReLU.
    pub shortcut: Conv2d,
    /// What normalises it.
    pub shortcut_norm: Option<Norm>,
    pool: MaxPool2d,
    dropout: Dropout,
}

impl ResNet12Config {
    /// Number of features that the head sees: the last filters, times `(image_size / 16)^2` if they are not averaged.
    pub fn features(&self) -> usize {
        let side = if self.mean { 1 } else { self.image_size / 16 };
        self.filters[3] * side * side
    }

    /// What no network can be made of.
    pub(super) fn problem(&self) -> Option<String> {
        let filters = self.filters.map(|filters| ("filters", filters));
        let dropout = !(0.0..1.0).contains(&self.dropout);
        let dropout = dropout.then(|| format!("`dropout` is {}, expected at least 0 and less than 1", self.dropout));
        not_positive(&[("channels", self.channels), ("ways", self.ways)])
            .or_else(|| not_positive(&filters))
            .or_else(|| no_pixels(self.image_size, self.image_size / 16))
            .or(dropout)
            .or_else(|| self.norm.problem())
    }

    /// Makes the network on a device, which must be an autodiff device for it to be trained. Weights of convolutions are
    /// normal with variance 2 / (outputs times pixels of the kernel), as in MetaOptNet; those of the head Xavier uniform.
    pub fn init(&self, device: &Device) -> ResNet12 {
        let inputs = std::iter::once(self.channels).chain(self.filters);
        let blocks = inputs.zip(self.filters).map(|(from, to)| self.block(from, to, device)).collect();
        ResNet12 { blocks, head: head(self.features(), self.ways, device), mean: self.mean }
    }

    fn block(&self, from: usize, to: usize, device: &Device) -> ResNet12Block {
        let conv = |from: usize, size: usize| {
            let pad = size / 2;
            Conv2dConfig::new([from, to], [size, size])
                .with_padding(PaddingConfig2d::Explicit(pad, pad, pad, pad))
                .with_bias(false)
                .with_initializer(Initializer::KaimingNormal { gain: 2f64.sqrt(), fan_out_only: true })
                .init(device)
        };
        let norm = || self.norm.init(to, device);
        ResNet12Block {
            conv1: conv(from, 3),
            norm1: norm(),
            conv2: conv(to, 3),
            norm2: norm(),
            conv3: conv(to, 3),
            norm3: norm(),
            shortcut: conv(from, 1),
            shortcut_norm: norm(),
            pool: MaxPool2dConfig::new([2, 2]).with_strides([2, 2]).init(),
            dropout: DropoutConfig::new(self.dropout).init(),
        }
    }
}

impl ResNet12 {
    /// Images `[n, channels, image_size, image_size]` to logits `[n, ways]`.
    pub fn forward(&self, images: Tensor<4>) -> Tensor<2> {
        self.head.forward(self.features(images))
    }
}

impl Backbone for ResNet12 {
    fn features(&self, images: Tensor<4>) -> Tensor<2> {
        let features = self.blocks.iter().fold(images, |x, block| block.forward(x));
        if self.mean { mean_over_pixels(features) } else { features.flatten(1, 3) }
    }

    fn head(&self) -> &Linear {
        &self.head
    }

    fn head_mut(&mut self) -> &mut Linear {
        &mut self.head
    }

    fn norms(&self) -> Vec<&Norm> {
        let blocks = self.blocks.iter();
        blocks.flat_map(|block| [&block.norm1, &block.norm2, &block.norm3, &block.shortcut_norm]).flatten().collect()
    }

    fn norms_mut(&mut self) -> Vec<&mut Norm> {
        let of = self
            .blocks
            .iter_mut()
            .flat_map(|block| [&mut block.norm1, &mut block.norm2, &mut block.norm3, &mut block.shortcut_norm]);
        of.flatten().collect()
    }
}

impl ResNet12Block {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let beside = applied(&self.shortcut_norm, self.shortcut.forward(x.clone()));
        let x = leaky_relu(applied(&self.norm1, self.conv1.forward(x)), SLOPE);
        let x = leaky_relu(applied(&self.norm2, self.conv2.forward(x)), SLOPE);
        let x = leaky_relu(applied(&self.norm3, self.conv3.forward(x)) + beside, SLOPE);
        self.dropout.forward(self.pool.forward(x))
    }
}
