//! Wide residual networks.
//!
//! Does not know: losses.

use burn::config::Config;
use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{Dropout, DropoutConfig, Initializer, Linear, PaddingConfig2d};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor};

use super::backbone::{Backbone, head, mean_over_pixels, no_pixels, not_positive, zeros};
use super::norm::{Norm, NormConfig, applied};

/// Filters of the first convolution, and of each stage before they are widened.
const STEM: usize = 16;
const STAGES: [usize; 3] = [16, 32, 64];

/// Settings of a [`WideResNet`].
#[derive(Config, Debug, PartialEq)]
pub struct WideResNetConfig {
    /// Channels of the images: 1 or 3.
    pub channels: usize,
    /// Height and width of the images.
    pub image_size: usize,
    /// Number of classes.
    pub ways: usize,
    /// Number of layers, 6 n + 4: three stages of n blocks.
    #[config(default = 28)]
    pub depth: usize,
    /// How much wider than 16, 32 and 64 filters the stages are.
    #[config(default = 10)]
    pub width: usize,
    /// Normalisation before each convolution but the first.
    #[config(default = "NormConfig::Batch")]
    pub norm: NormConfig,
    /// Whether convolutions have a bias, as in learn2learn. The paper's have none.
    #[config(default = true)]
    pub bias: bool,
    /// Probability of dropout between the convolutions of a block, in training.
    #[config(default = 0.0)]
    pub dropout: f64,
}

/// Wide residual network (Zagoruyko and Komodakis, arXiv 1605.07146): a 3x3 convolution, three stages of blocks that normalise
/// first, normalisation, ReLU, the mean over all pixels, and a linear head. WRN-28-10 without biases has 36,479,194
/// parameters with a head of 10 classes.
///
/// It is that of few-shot learning (FEAT, arXiv 1812.03664, and learn2learn): of the two convolutions of the first block of a
/// stage the second has stride 2, and the 1x1 convolution beside them sees the block's input as it is. The paper's own code
/// has the stride in the first, and normalises the input for both.
#[derive(Module, Debug)]
pub struct WideResNet {
    /// First convolution.
    pub conv: Conv2d,
    /// All blocks, from stage to stage.
    pub blocks: Vec<WideResNetBlock>,
    /// Last normalisation.
    pub norm: Option<Norm>,
    /// Linear classifier.
    pub head: Linear,
}

/// One block of a [`WideResNet`].
#[derive(Module, Debug)]
pub struct WideResNetBlock {
    /// What normalises the input.
    pub norm1: Option<Norm>,
    /// First 3x3 convolution.
    pub conv1: Conv2d,
    /// What normalises it.
    pub norm2: Option<Norm>,
    /// Second 3x3 convolution, with the stride.
    pub conv2: Conv2d,
    /// 1x1 convolution of the block's input, where the block changes its shape.
    pub shortcut: Option<Conv2d>,
    dropout: Dropout,
}

impl WideResNetConfig {
    /// Number of features that the head sees.
    pub fn features(&self) -> usize {
        STAGES[2] * self.width
    }

    /// Blocks of a stage.
    fn blocks(&self) -> usize {
        self.depth.saturating_sub(4) / 6
    }

    /// What no network can be made of.
    pub(super) fn problem(&self) -> Option<String> {
        let depth = self.blocks() == 0 || self.depth != 6 * self.blocks() + 4;
        let depth = depth.then(|| format!("`depth` is {}, expected 10, 16, 22, 28 or another 6 n + 4", self.depth));
        let dropout = !(0.0..1.0).contains(&self.dropout);
        let dropout = dropout.then(|| format!("`dropout` is {}, expected at least 0 and less than 1", self.dropout));
        not_positive(&[("channels", self.channels), ("ways", self.ways), ("width", self.width)])
            .or_else(|| no_pixels(self.image_size, self.image_size))
            .or(depth)
            .or(dropout)
            .or_else(|| self.norm.problem())
    }

    /// Makes the network on a device, which must be an autodiff device for it to be trained. Weights of convolutions are Xavier
    /// uniform with a gain of the root of 2, biases zero; those of the head Xavier uniform. A depth that is no 6 n + 4 is taken
    /// as the next smaller one.
    pub fn init(&self, device: &Device) -> WideResNet {
        let conv = conv(self.channels, STEM, (3, 1), self.bias, device);
        let mut blocks = Vec::new();
        let mut from = STEM;
        for (stage, filters) in STAGES.iter().enumerate() {
            let to = filters * self.width;
            for block in 0..self.blocks() {
                let stride = if stage > 0 && block == 0 { 2 } else { 1 };
                blocks.push(self.block(from, to, stride, device));
                from = to;
            }
        }
        let norm = self.norm.init(from, device);
        WideResNet { conv, blocks, norm, head: head(self.features(), self.ways, device) }
    }

    fn block(&self, from: usize, to: usize, stride: usize, device: &Device) -> WideResNetBlock {
        let changes = stride != 1 || from != to;
        WideResNetBlock {
            norm1: self.norm.init(from, device),
            conv1: conv(from, to, (3, 1), self.bias, device),
            norm2: self.norm.init(to, device),
            conv2: conv(to, to, (3, stride), self.bias, device),
            shortcut: changes.then(|| conv(from, to, (1, stride), self.bias, device)),
            dropout: DropoutConfig::new(self.dropout).init(),
        }
    }
}

fn conv(from: usize, to: usize, (size, stride): (usize, usize), bias: bool, device: &Device) -> Conv2d {
    let pad = size / 2;
    let mut conv = Conv2dConfig::new([from, to], [size, size])
        .with_stride([stride, stride])
        .with_padding(PaddingConfig2d::Explicit(pad, pad, pad, pad))
        .with_bias(bias)
        .with_initializer(Initializer::XavierUniform { gain: 2f64.sqrt() })
        .init(device);
    conv.bias = conv.bias.map(|_| zeros(to, device));
    conv
}

impl WideResNet {
    /// Images `[n, channels, image_size, image_size]` to logits `[n, ways]`.
    pub fn forward(&self, images: Tensor<4>) -> Tensor<2> {
        self.head.forward(self.features(images))
    }
}

impl Backbone for WideResNet {
    fn features(&self, images: Tensor<4>) -> Tensor<2> {
        let x = self.blocks.iter().fold(self.conv.forward(images), |x, block| block.forward(x));
        mean_over_pixels(relu(applied(&self.norm, x)))
    }

    fn head(&self) -> &Linear {
        &self.head
    }

    fn head_mut(&mut self) -> &mut Linear {
        &mut self.head
    }

    fn norms(&self) -> Vec<&Norm> {
        let blocks = self.blocks.iter().flat_map(|block| [&block.norm1, &block.norm2]);
        blocks.chain([&self.norm]).flatten().collect()
    }

    fn norms_mut(&mut self) -> Vec<&mut Norm> {
        let blocks = self.blocks.iter_mut().flat_map(|block| [&mut block.norm1, &mut block.norm2]);
        blocks.chain([&mut self.norm]).flatten().collect()
    }
}

impl WideResNetBlock {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let beside = match &self.shortcut {
            Some(shortcut) => shortcut.forward(x.clone()),
            None => x.clone(),
        };
        let x = self.conv1.forward(relu(applied(&self.norm1, x)));
        let x = relu(applied(&self.norm2, self.dropout.forward(x)));
        self.conv2.forward(x) + beside
    }
}
