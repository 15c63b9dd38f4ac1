//! The four-block convolutional network of MAML and most of what followed.
//!
//! Does not know: losses.

use burn::config::Config;
use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::pool::{MaxPool2d, MaxPool2dConfig};
use burn::nn::{Initializer, Linear, PaddingConfig2d};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use super::backbone::{Backbone, head, no_pixels, zeros};
use super::norm::{Norm, NormConfig};

const BLOCKS: usize = 4;

/// How a block of a [`Cnn4`] halves its images.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Downsample {
    /// 2x2 max-pooling after the ReLU (mini-ImageNet).
    #[default]
    MaxPool,
    /// Convolutions of stride 2 (Omniglot in MAML).
    Stride,
}

/// Settings of a [`Cnn4`].
#[derive(Config, Debug, PartialEq)]
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
    /// Normalisation after each convolution.
    #[config(default = "NormConfig::Batch")]
    pub norm: NormConfig,
    /// What halves the images.
    #[config(default = "Downsample::MaxPool")]
    pub downsample: Downsample,
    /// Zeros around the images before each convolution: 1, or 0.
    #[config(default = 1)]
    pub padding: usize,
    /// Whether the features are averaged over the pixels that are left, or flattened in the order channel, row, column.
    #[config(default = false)]
    pub mean: bool,
}

/// Four blocks of 3x3 convolution, normalisation, ReLU and 2x2 max-pooling, and a linear head. With 32 filters, three
/// channels, 84x84 pixels and 5 classes it has 32,901 parameters.
///
/// With the normalisation it has by default it takes the statistics of the batch on an autodiff device, at test time too
/// (transductive), as MAML does: the query set of a task is normalised by its own statistics. See [`NormConfig`] for others.
#[derive(Module, Debug)]
pub struct Cnn4 {
    /// Its four blocks.
    pub blocks: Vec<Cnn4Block>,
    /// Linear classifier.
    pub head: Linear,
    mean: bool,
}

/// One block of a [`Cnn4`].
#[derive(Module, Debug)]
pub struct Cnn4Block {
    /// 3x3 convolution with a bias.
    pub conv: Conv2d,
    /// Normalisation.
    pub norm: Option<Norm>,
    pool: Option<MaxPool2d>,
}

impl Cnn4Config {
    /// The network for Omniglot of MAML (arXiv 1703.03400), as learn2learn has it: 28x28 pixels of one channel, 64 filters,
    /// convolutions of stride 2 with padding 1 in place of pooling, and the mean over the 2x2 pixels that are left. For 5
    /// classes it has 112,261 parameters.
    ///
    /// MAML's own code pads as TensorFlow does, an even image on the right and below only: a difference at the border.
    ///
    /// ```
    /// use burn::module::Module;
    /// use burn::tensor::{Device, Tensor};
    /// use burn_meta::models::Cnn4Config;
    ///
    /// let device = Device::flex().autodiff();
    /// let net = Cnn4Config::omniglot(5).init(&device);
    /// assert_eq!(net.num_params() - 4 * 2 * 64, 112_261); // Burn counts running statistics among the parameters
    /// assert_eq!(net.forward(Tensor::zeros([2, 1, 28, 28], &device)).dims(), [2, 5]);
    /// ```
    pub fn omniglot(ways: usize) -> Self {
        Self::new(1, 28, ways).with_hidden(64).with_downsample(Downsample::Stride).with_mean(true)
    }

    /// Height and width of the images that each block gives, from `image_size` on; 0 where there is nothing left.
    fn sides(&self) -> [usize; BLOCKS + 1] {
        let mut side = self.image_size;
        let mut sides = [side; BLOCKS + 1];
        for block in &mut sides[1..] {
            let inner = (side + 2 * self.padding).saturating_sub(2);
            side = match self.downsample {
                Downsample::MaxPool => inner / 2,
                Downsample::Stride => inner.div_ceil(2),
            };
            *block = side;
        }
        sides
    }

    /// Number of features that the head sees: `hidden (image_size / 16)^2` by default.
    pub fn features(&self) -> usize {
        let side = if self.mean { 1 } else { self.sides()[BLOCKS] };
        self.hidden * side * side
    }

    /// What no network can be made of.
    pub(super) fn problem(&self) -> Option<String> {
        let pixels = no_pixels(self.image_size, self.sides()[BLOCKS]);
        let positive = [("channels", self.channels), ("ways", self.ways), ("hidden", self.hidden)];
        super::backbone::not_positive(&positive).or(pixels).or_else(|| self.norm.problem())
    }

    /// Makes the network on a device, which must be an autodiff device for it to be trained. Weights are Xavier uniform,
    /// biases zero.
    pub fn init(&self, device: &Device) -> Cnn4 {
        let inputs = std::iter::once(self.channels).chain(std::iter::repeat(self.hidden));
        let blocks = inputs.take(BLOCKS).map(|channels| self.block(channels, device)).collect();
        Cnn4 { blocks, head: head(self.features(), self.ways, device), mean: self.mean }
    }

    fn block(&self, channels: usize, device: &Device) -> Cnn4Block {
        let pad = self.padding;
        let stride = if self.downsample == Downsample::Stride { [2, 2] } else { [1, 1] };
        let mut conv = Conv2dConfig::new([channels, self.hidden], [3, 3])
            .with_stride(stride)
            .with_padding(PaddingConfig2d::Explicit(pad, pad, pad, pad))
            .with_initializer(Initializer::XavierUniform { gain: 1.0 })
            .init(device);
        conv.bias = conv.bias.map(|_| zeros(self.hidden, device));
        let pool = MaxPool2dConfig::new([2, 2]).with_strides([2, 2]).init();
        let pool = (self.downsample == Downsample::MaxPool).then_some(pool);
        Cnn4Block { conv, norm: self.norm.init(self.hidden, device), pool }
    }
}

impl Cnn4 {
    /// Images `[n, channels, image_size, image_size]` to logits `[n, ways]`.
    pub fn forward(&self, images: Tensor<4>) -> Tensor<2> {
        self.head.forward(self.features(images))
    }
}

impl Backbone for Cnn4 {
    fn features(&self, images: Tensor<4>) -> Tensor<2> {
        let features = self.blocks.iter().fold(images, |x, block| block.forward(x));
        match self.mean {
            true => super::backbone::mean_over_pixels(features),
            false => features.flatten(1, 3),
        }
    }

    fn head(&self) -> &Linear {
        &self.head
    }

    fn head_mut(&mut self) -> &mut Linear {
        &mut self.head
    }

    fn norms(&self) -> Vec<&Norm> {
        self.blocks.iter().flat_map(|block| &block.norm).collect()
    }

    fn norms_mut(&mut self) -> Vec<&mut Norm> {
        self.blocks.iter_mut().flat_map(|block| &mut block.norm).collect()
    }
}

impl Cnn4Block {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let x = self.conv.forward(x);
        let x = relu(super::norm::applied(&self.norm, x));
        match &self.pool {
            Some(pool) => pool.forward(x),
            None => x,
        }
    }
}
