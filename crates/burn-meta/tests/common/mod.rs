//! A small smooth network, its tasks, and differences of a whole adaptation.
#![allow(dead_code, missing_docs)]

use burn::tensor::{DType, Device, Tensor, TensorData};
use burn_func::{Params, cast};
use burn_meta::models::{Activation, Mlp, MlpConfig, mean_squared_error};
use burn_meta::{Estimator, InnerLoopConfig, Maml, MamlConfig, Task};

pub type Points = (Tensor<2>, Tensor<2>);

pub fn device() -> Device {
    Device::flex().autodiff()
}

pub fn wave<const D: usize>(shape: [usize; D], salt: usize) -> Tensor<D> {
    let values: Vec<f64> = (0..shape.iter().product()).map(|i| ((i * 7 + salt * 13) as f64 * 0.37).sin()).collect();
    Tensor::from_data(TensorData::new(values, shape), (&device(), DType::F64))
}

pub fn points(n: usize, salt: usize) -> Points {
    (wave([n, 2], salt), wave([n, 1], salt + 1))
}

pub fn tasks() -> Vec<Task<Points>> {
    (0..3).map(|i| Task { support: points(5, 10 * i), query: points(8, 10 * i + 5) }).collect()
}

/// A smooth network at a fixed point.
pub fn mlp() -> Mlp {
    let net = MlpConfig::new(vec![2, 6, 1]).with_activation(Activation::Tanh).init(&device());
    let net = cast(&net, DType::F64);
    let at = Params::from_module(&net).unwrap().from_fn(|spec, i| ((i + spec.path.len()) as f64 * 0.7).sin());
    at.into_module(net).unwrap()
}

pub fn loss(net: &Mlp, (x, y): Points) -> Tensor<1> {
    mean_squared_error(net.forward(x), y)
}

pub fn maml(inner: &InnerLoopConfig, estimator: Estimator) -> Maml {
    MamlConfig::new(inner.clone(), estimator).init().unwrap()
}

pub fn relative(found: &Params, expected: &Params) -> f64 {
    found.sub(expected).norm() / expected.norm()
}

/// Difference of a function of the parameters along a direction, of fourth order. With a step of 5e-5 its own error and its
/// rounding are about 1e-11 of the function each.
pub fn difference(at: &Params, along: &Params, f: impl Fn(&Params) -> f64) -> f64 {
    let step = 5e-5;
    let of = |h: f64| f(&at.axpy(h, along)) - f(&at.axpy(-h, along));
    (8.0 * of(step) - of(2.0 * step)) / (12.0 * step)
}

/// A direction that prefers no parameter.
pub fn direction(at: &Params, salt: usize) -> Params {
    at.from_fn(|spec, i| ((i * 3 + spec.path.len() + salt) as f64).cos())
}
