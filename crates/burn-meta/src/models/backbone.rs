//! What all backbones have: features, a linear head, normalisation layers.
//!
//! Does not know: any of their architectures.

use burn::module::{Module, Param};
use burn::nn::{Initializer, Linear, LinearConfig};
use burn::tensor::{Device, Tensor};
use burn_func::cast;

use super::norm::Norm;
use crate::training::is_training;

/// A network that sees images, makes features of them, and classifies these linearly.
pub trait Backbone: Module {
    /// Images `[n, channels, image_size, image_size]` to features `[n, features]`.
    fn features(&self, images: Tensor<4>) -> Tensor<2>;

    /// The linear classifier of the features.
    fn head(&self) -> &Linear;

    /// The linear classifier, to put another in its place.
    fn head_mut(&mut self) -> &mut Linear;

    /// All normalisation layers.
    fn norms(&self) -> Vec<&Norm>;

    /// All normalisation layers, to be changed.
    fn norms_mut(&mut self) -> Vec<&mut Norm>;

    /// Images `[n, channels, image_size, image_size]` to logits `[n, ways]`.
    fn forward(&self, images: Tensor<4>) -> Tensor<2> {
        self.head().forward(self.features(images))
    }

    /// Whether an image's logits depend on the other images of its batch, in training: then a query set that is taken in
    /// parts gives other numbers than the whole.
    fn batch_statistics(&self) -> bool {
        self.norms().into_iter().any(Norm::batch_statistics)
    }

    /// The network with a fresh head for another number of classes.
    #[must_use]
    fn with_head(mut self, ways: usize) -> Self {
        let weight = self.head().weight.val();
        *self.head_mut() = cast(&head(weight.dims()[0], ways, &weight.device()), weight.dtype());
        self
    }

    /// The network with the running statistics of its batch normalisation moved towards those of some images: they are
    /// `momentum` times those of the images, plus the rest of what they were. A momentum of 1 replaces them, 0.1 is the usual
    /// average over meta-steps. Parameters and their ids stay; statistics of clones of the network stay too. Without
    /// [`NormConfig::Batch`](super::NormConfig::Batch) or [`Running`](super::NormConfig::Running) nothing changes, and neither do
    /// layers that are frozen.
    ///
    /// Each layer's statistics are of what comes in when the layers before it normalise by the images' own, as in ordinary
    /// training. Variances are biased (PyTorch's running ones are not).
    ///
    /// # Example
    ///
    /// ```
    /// use burn::tensor::{Device, Distribution, Tensor};
    /// use burn_meta::models::{Backbone, Cnn4Config, NormConfig};
    ///
    /// let device = Device::flex().autodiff();
    /// let net = Cnn4Config::new(1, 16, 2).with_hidden(4).with_norm(NormConfig::Running).init(&device);
    /// let images = Tensor::<4>::random([8, 1, 16, 16], Distribution::Uniform(0.0, 1.0), &device);
    /// let net = net.with_statistics_of(images.clone(), 1.0);
    /// // One image alone has the logits that it has among others.
    /// let alone = net.forward(images.clone().narrow(0, 3, 1));
    /// let among = net.forward(images).narrow(0, 3, 1);
    /// assert!((alone - among).abs().max().into_scalar::<f32>() < 1e-5);
    /// ```
    ///
    /// # Cost
    ///
    /// One forward pass.
    #[must_use]
    fn with_statistics_of(self, images: Tensor<4>, momentum: f64) -> Self {
        let training = is_training(&self);
        // `valid` and `train` make running statistics of the network's own: clones share theirs.
        let mut net = self.valid().train();
        let before: Vec<Norm> = net.norms().into_iter().cloned().collect();
        for norm in net.norms_mut() {
            *norm = norm.clone().following(momentum);
        }
        net.features(Tensor::from_inner(images.inner()));
        for (norm, before) in net.norms_mut().into_iter().zip(before) {
            // Statistics are shared with the one that was moved.
            *norm = before;
            if let Some(norm) = norm.batch_norm() {
                norm.running_mean.value_sync();
                norm.running_var.value_sync();
            }
        }
        if training { net } else { net.valid() }
    }
}

/// A linear head with Xavier uniform weights and a bias of zero.
pub(super) fn head(features: usize, ways: usize, device: &Device) -> Linear {
    let xavier = Initializer::XavierUniform { gain: 1.0 };
    let mut head = LinearConfig::new(features, ways).with_initializer(xavier).init(device);
    head.bias = head.bias.map(|_| zeros(ways, device));
    head
}

pub(super) fn zeros(n: usize, device: &Device) -> Param<Tensor<1>> {
    Initializer::Zeros.init([n], device)
}

/// `[n, channels, height, width]` to `[n, channels]`.
pub(super) fn mean_over_pixels(x: Tensor<4>) -> Tensor<2> {
    x.flatten::<3>(2, 3).mean_dim(2).flatten(1, 2)
}

/// The first setting that is zero.
pub(super) fn not_positive(settings: &[(&str, usize)]) -> Option<String> {
    let zero = settings.iter().find(|(_, value)| *value == 0);
    zero.map(|(name, _)| format!("`{name}` is 0, expected a positive number"))
}

/// Images that are too small for all the halving.
pub(super) fn no_pixels(image_size: usize, left: usize) -> Option<String> {
    (left == 0).then(|| format!("`image_size` is {image_size}: nothing is left of so small an image"))
}
