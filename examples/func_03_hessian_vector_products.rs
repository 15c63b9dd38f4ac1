//! Hessian-vector products of a convolutional network: linearize once, multiply as often as wanted.
//!
//! `cargo run --release --example func_03_hessian_vector_products`

use std::time::Instant;

use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::loss::CrossEntropyLossConfig;
use burn::nn::{BatchNorm, BatchNormConfig, Linear, LinearConfig, PaddingConfig2d};
use burn::tensor::activation::gelu;
use burn::tensor::{Device, Distribution, Int, Tensor};
use burn_func::{Error, Params, trace};

#[derive(Module, Debug)]
struct Net {
    convolution: Conv2d,
    norm: BatchNorm,
    head: Linear,
}

impl Net {
    fn loss(&self, (images, labels): (Tensor<4>, Tensor<1, Int>)) -> Tensor<1> {
        let features = gelu(self.norm.forward(self.convolution.forward(images)));
        let logits = self.head.forward(features.flatten(1, 3));
        CrossEntropyLossConfig::new().init(&logits.device()).forward(logits, labels)
    }
}

fn main() -> Result<(), Error> {
    let device = Device::flex().autodiff();
    device.seed(0);
    let padding = PaddingConfig2d::Explicit(1, 1, 1, 1);
    let net = Net {
        convolution: Conv2dConfig::new([3, 8], [3, 3]).with_padding(padding).init(&device),
        norm: BatchNormConfig::new(8).init(&device),
        head: LinearConfig::new(8 * 16 * 16, 5).init(&device),
    };
    let images = Tensor::random([10, 3, 16, 16], Distribution::Uniform(0.0, 1.0), &device);
    let labels = Tensor::from_data([0, 1, 2, 3, 4, 0, 1, 2, 3, 4], &device);
    let batch = (images, labels);

    // Traced once, it can be evaluated at any point and on any batch of these shapes.
    let traced = trace(&net, &batch, |net: &Net, batch| net.loss(batch))?;
    println!("{}\n", traced.costs()?);

    let at = Params::from_module(&net)?;
    let point = traced.linearize(&at, &batch)?;
    let (u, v) = (at.normal(0, 0), at.normal(0, 1));
    let (hu, hv) = (point.hvp(&u)?, point.hvp(&v)?);
    println!("{} parameters; u'Hv = {:.6}, v'Hu = {:.6}", at.len(), u.dot(&hv), v.dot(&hu));
    assert!((u.dot(&hv) - v.dot(&hu)).abs() <= 1e-3 * hv.norm() * u.norm());

    // What a product costs against a gradient, over a few of each.
    let seconds = |body: &dyn Fn() -> Result<(), Error>| {
        let start = Instant::now();
        (0..20).try_for_each(|_| body()).map(|()| start.elapsed().as_secs_f64())
    };
    let gradient = seconds(&|| traced.value_and_grad(&at, &batch).map(drop))?;
    let product = seconds(&|| point.hvp(&v).map(drop))?;
    println!("a product takes as long as {:.2} gradients", product / gradient);

    // Many products at one point can run as one program: fewer and larger kernels, which pays where kernels are small.
    let together = point.hvps(&[u, v])?;
    assert!(together[0].sub(&hu).norm() <= 1e-4 * hu.norm() && together[1].sub(&hv).norm() <= 1e-4 * hv.norm());
    Ok(())
}
