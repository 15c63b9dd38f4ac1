//! Modules and helpers the tests share: everything in f64 on the CPU unless a test says otherwise.
#![allow(dead_code, missing_docs)]

pub mod custom;
pub mod devices;
pub mod hvp;
pub mod layers;

use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::loss::CrossEntropyLossConfig;
use burn::nn::pool::{MaxPool2d, MaxPool2dConfig};
use burn::nn::{BatchNorm, BatchNormConfig, Linear, LinearConfig, PaddingConfig2d};
use burn::tensor::activation::{gelu, relu, sigmoid, silu, softplus, tanh};
use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use burn_func::{Params, cast};

pub fn device() -> Device {
    Device::flex().autodiff()
}

/// Smooth numbers without a pattern that a bug could match.
pub fn wave(i: usize, salt: usize) -> f64 {
    ((i * 7 + salt * 13) as f64 * 0.37).sin()
}

pub fn data<const D: usize>(shape: [usize; D], salt: usize) -> Tensor<D> {
    let values: Vec<f64> = (0..shape.iter().product()).map(|i| wave(i, salt)).collect();
    Tensor::from_data(TensorData::new(values, shape), (&device(), DType::F64))
}

/// What every element adds to a scalar, nonlinearly and with a weight of its own, so that no exchange of elements and no
/// constant factor goes unseen.
pub fn probes<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    let shape = x.dims();
    let weights: Vec<f64> = (0..shape.iter().product()).map(|i| wave(i, 40)).collect();
    let data = TensorData::new(weights, shape).convert_dtype(x.dtype());
    let w = Tensor::<D>::from_data(data, (&x.device(), x.dtype()));
    let shifted = x.clone() + w.clone();
    shifted.clone() * shifted * 0.5 + x.sin() * w
}

pub fn labels(n: usize, classes: usize) -> Tensor<1, Int> {
    let labels: Vec<i64> = (0..n).map(|i| ((i * 3 + 1) % classes) as i64).collect();
    Tensor::from_data(TensorData::new(labels, [n]), &device())
}

/// A point of the module's shapes that depends on nothing but `salt`.
pub fn waves(like: &Params, scale: f64, salt: usize) -> Params {
    let mut count = salt;
    like.from_fn(|_, i| {
        count += usize::from(i == 0);
        scale * wave(i, count)
    })
}

/// The module in f64 at a fixed point, off the kinks of ReLU and pooling that a random one may come close to.
pub fn settled<M: Module>(module: &M) -> M {
    let module = cast(module, DType::F64);
    let mut count = 0;
    let at = Params::from_module(&module).unwrap().from_fn(|spec, i| {
        count += usize::from(i == 0);
        f64::from(u8::from(spec.path.ends_with("gamma"))) + 0.5 * wave(i, count)
    });
    at.into_module(module).unwrap()
}

#[derive(Clone, Copy, Debug)]
pub enum Act {
    Relu,
    Tanh,
    Gelu,
    Silu,
    Sigmoid,
    Softplus,
}

pub const ACTS: [Act; 6] = [Act::Relu, Act::Tanh, Act::Gelu, Act::Silu, Act::Sigmoid, Act::Softplus];

impl Act {
    pub fn apply<const D: usize>(self, x: Tensor<D>) -> Tensor<D> {
        match self {
            Act::Relu => relu(x),
            Act::Tanh => tanh(x),
            Act::Gelu => gelu(x),
            Act::Silu => silu(x),
            Act::Sigmoid => sigmoid(x),
            Act::Softplus => softplus(x, 1.0),
        }
    }
}

#[derive(Module, Debug)]
pub struct Mlp {
    pub a: Linear,
    pub b: Linear,
    pub c: Linear,
}

impl Mlp {
    pub fn new(inputs: usize, hidden: usize, outputs: usize) -> Self {
        let linear = |i, o| LinearConfig::new(i, o).init(&device());
        settled(&Self { a: linear(inputs, hidden), b: linear(hidden, hidden), c: linear(hidden, outputs) })
    }

    pub fn forward(&self, x: Tensor<2>, act: Act) -> Tensor<2> {
        self.c.forward(act.apply(self.b.forward(act.apply(self.a.forward(x)))))
    }
}

pub fn mse(prediction: Tensor<2>, target: Tensor<2>) -> Tensor<1> {
    (prediction - target).powf_scalar(2.0).mean()
}

#[derive(Module, Debug)]
pub struct Cnn {
    pub conv1: Conv2d,
    pub norm1: BatchNorm,
    pub conv2: Conv2d,
    pub norm2: BatchNorm,
    pub pool: MaxPool2d,
    pub head: Linear,
}

impl Cnn {
    pub fn new() -> Self {
        let conv = |i, o| {
            let padding = PaddingConfig2d::Explicit(1, 1, 1, 1);
            Conv2dConfig::new([i, o], [3, 3]).with_padding(padding).init(&device())
        };
        let cnn = Self {
            conv1: conv(2, 3),
            norm1: BatchNormConfig::new(3).init(&device()),
            conv2: conv(3, 3),
            norm2: BatchNormConfig::new(3).init(&device()),
            pool: MaxPool2dConfig::new([2, 2]).with_strides([2, 2]).init(),
            head: LinearConfig::new(12, 4).init(&device()),
        };
        settled(&cnn)
    }

    pub fn forward(&self, x: Tensor<4>) -> Tensor<2> {
        let x = self.pool.forward(relu(self.norm1.forward(self.conv1.forward(x))));
        let x = self.pool.forward(relu(self.norm2.forward(self.conv2.forward(x))));
        self.head.forward(x.flatten(1, 3))
    }

    pub fn loss(&self, (x, y): (Tensor<4>, Tensor<1, Int>)) -> Tensor<1> {
        CrossEntropyLossConfig::new().init(&x.device()).forward(self.forward(x), y)
    }
}

/// Norm of the difference over norm of the reference.
pub fn relative(found: &Params, expected: &Params) -> f64 {
    found.sub(expected).norm() / expected.norm()
}
