//! The four-block convolutional network of MAML and most of what followed.
//!
//! Does not know: losses.

use burn::config::Config;
use burn::module::{Module, Param};
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::pool::{MaxPool2d, MaxPool2dConfig};
use burn::nn::{BatchNorm, BatchNormConfig, Initializer, Linear, LinearConfig, PaddingConfig2d};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor};

/// Settings of a [`Cnn4`].
#[derive(Config, Debug)]
pub struct Cnn4Config {
    /// Channels of the images: 1 or 3.
    pub channels: usize,
    /// Height and width of the images, at least 16.
    pub image_size: usize,
    /// Number of classes.
    pub ways: usize,
    /// Filters of each block.
    #[config(default = 32)]
    pub hidden: usize,
}

/// Four blocks of 3x3 convolution, batch normalisation, ReLU and 2x2 max-pooling, and a linear head. With 32 filters, three
/// channels, 84x84 pixels and 5 classes it has 32,901 parameters.
///
/// On an autodiff device batch normalisation takes the statistics of the batch, at test time too (transductive), as MAML
/// does: the query set of a task is normalised by its own statistics.
#[derive(Module, Debug)]
pub struct Cnn4 {
    /// Its four blocks.
    pub blocks: Vec<Cnn4Block>,
    /// Linear classifier.
    pub head: Linear,
}

/// One block of a [`Cnn4`].
#[derive(Module, Debug)]
pub struct Cnn4Block {
    /// 3x3 convolution with padding 1 and a bias.
    pub conv: Conv2d,
    /// Batch normalisation.
    pub norm: BatchNorm,
    pool: MaxPool2d,
}

impl Cnn4Config {
    /// Number of features that the head sees: `hidden (image_size / 16)^2`.
    pub fn features(&self) -> usize {
        let side = self.image_size / 16;
        self.hidden * side * side
    }

    /// Makes the network on a device, which must be an autodiff device for it to be trained. Weights are Xavier uniform,
    /// biases zero.
    pub fn init(&self, device: &Device) -> Cnn4 {
        let inputs = std::iter::once(self.channels).chain(std::iter::repeat(self.hidden));
        let blocks = inputs.take(4).map(|channels| self.block(channels, device)).collect();
        let xavier = Initializer::XavierUniform { gain: 1.0 };
        let mut head = LinearConfig::new(self.features(), self.ways).with_initializer(xavier).init(device);
        head.bias = head.bias.map(|_| zeros(self.ways, device));
        Cnn4 { blocks, head }
    }

    fn block(&self, channels: usize, device: &Device) -> Cnn4Block {
        let mut conv = Conv2dConfig::new([channels, self.hidden], [3, 3])
            .with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1))
            .with_initializer(Initializer::XavierUniform { gain: 1.0 })
            .init(device);
        conv.bias = conv.bias.map(|_| zeros(self.hidden, device));
        let norm = BatchNormConfig::new(self.hidden).init(device);
        Cnn4Block { conv, norm, pool: MaxPool2dConfig::new([2, 2]).with_strides([2, 2]).init() }
    }
}

fn zeros(n: usize, device: &Device) -> Param<Tensor<1>> {
    Initializer::Zeros.init([n], device)
}

impl Cnn4 {
    /// Images `[n, channels, image_size, image_size]` to logits `[n, ways]`.
    pub fn forward(&self, images: Tensor<4>) -> Tensor<2> {
        let features = self.blocks.iter().fold(images, |x, block| block.forward(x));
        self.head.forward(features.flatten(1, 3))
    }
}

impl Cnn4Block {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        self.pool.forward(relu(self.norm.forward(self.conv.forward(x))))
    }
}
