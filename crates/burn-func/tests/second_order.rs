//! Hessian-vector products against central differences of the gradient, and the gradient against Burn's own.
#![allow(missing_docs)]

mod common;

use burn::module::Module;
use burn::optim::GradientsParams;
use burn::tensor::Tensor;
use burn_func::{Batch, Params, Traced, trace};
use common::*;

/// Central differences of the gradient along `v`, extrapolated from two steps to fourth order.
fn differences<B: Batch>(traced: &Traced<B>, at: &Params, batch: &B, v: &Params) -> Params {
    let grad = |step: f64| traced.value_and_grad(&at.axpy(step, v), batch).unwrap().1;
    let central = |step: f64| grad(step).sub(&grad(-step)).scale(0.5 / step);
    let step = 2e-5;
    central(step).scale(4.0 / 3.0).axpy(-1.0 / 3.0, &central(2.0 * step))
}

/// Rounding of the differences is about 1e-11 relative; 1e-8 leaves room for curvature and is far below a wrong term.
fn check_hvp<M: Module, B: Batch>(name: &str, model: &M, batch: &B, f: impl Fn(&M, B) -> Tensor<1>) {
    let traced = trace(model, batch, f).unwrap_or_else(|error| panic!("{name}: {error}"));
    let at = Params::from_module(model).unwrap();
    let point = traced.linearize(&at, batch).unwrap_or_else(|error| panic!("{name}: {error}"));
    let (u, v) = (waves(&at, 1.0, 1), waves(&at, 1.0, 100));
    let (hu, hv) = (point.hvp(&u).unwrap(), point.hvp(&v).unwrap());
    let error = relative(&hv, &differences(&traced, &at, batch, &v));
    println!("{name}: {error:.1e}");
    assert!(error <= 1e-8, "{name}: HVP off by {error:.2e}");
    let (uhv, vhu) = (u.dot(&hv), v.dot(&hu));
    assert!((uhv - vhu).abs() <= 1e-11 * hv.norm() * u.norm(), "{name}: not symmetric, {uhv} and {vhu}");
}

#[test]
fn mlp_with_every_activation() {
    let model = Mlp::new(3, 8, 2);
    let batch = (data([5, 3], 1), data([5, 2], 2));
    for act in ACTS {
        check_hvp(&format!("{act:?}"), &model, &batch, |model, (x, y)| mse(model.forward(x, act), y));
    }
}

#[test]
fn softplus_where_it_turns_linear() {
    // Inputs of up to 60 cross the threshold of 20 from which softplus is the identity.
    let model = Mlp::new(3, 8, 2);
    let batch = (data([5, 3], 1).mul_scalar(60.0), data([5, 2], 2));
    check_hvp("softplus", &model, &batch, |model, (x, y)| mse(model.forward(x, Act::Softplus), y));
}

#[test]
fn cnn_with_batch_statistics() {
    let batch = (data([4, 2, 9, 8], 1), labels(4, 4));
    check_hvp("cnn", &Cnn::new(), &batch, |model, batch| model.loss(batch));
}

#[test]
fn cnn_with_running_statistics() {
    let model = Cnn::new().freeze().set_require_grad(true);
    let batch = (data([4, 2, 9, 8], 1), labels(4, 4));
    check_hvp("cnn", &model, &batch, |model, batch| model.loss(batch));
}

#[test]
fn elementwise_functions() {
    let model = Mlp::new(3, 4, 2);
    let batch = data([5, 3], 1);
    check_hvp("exp, log, sqrt", &model, &batch, |model, x| {
        let y = model.forward(x, Act::Tanh);
        (y.clone().exp() + 1.0).log().sqrt().mean() + y.powf_scalar(4.0).mean()
    });
    check_hvp("sin, cos, erf, abs", &model, &batch, |model, x| {
        let y = model.forward(x, Act::Tanh);
        (y.clone().sin() * y.clone().cos() + y.clone().erf() * y.abs()).sum()
    });
    check_hvp("div, recip, log1p", &model, &batch, |model, x| {
        let y = model.forward(x, Act::Tanh);
        let z = y.clone() * y.clone() + 1.5;
        (y.clone() / z.clone() + z.clone().recip() + z.log1p() * (y / 4.0 - 1.0)).mean()
    });
    check_hvp("layout", &model, &batch, |model, x| {
        let y = model.forward(x, Act::Tanh);
        let both = Tensor::cat(vec![y.clone(), y.clone() * y.clone()], 1);
        let part = both.clone().slice([0..4, 1..3]).transpose().flip([0]);
        let wide = both.slice([1..2, 0..4]).expand([3, 4]) * 2.0;
        part.sum_dim(0).powf_scalar(2.0).sum() + wide.permute([1, 0]).mean_dim(1).exp().sum()
            - y.cumsum(0).tanh().mean()
    });
}

#[test]
fn gradient_is_burns_own() {
    let model = Cnn::new();
    let batch = (data([4, 2, 9, 8], 1), labels(4, 4));
    let traced = trace(&model, &batch, |model, batch| model.loss(batch)).unwrap();
    let at = Params::from_module(&model).unwrap();
    let (loss, grad, ()) = traced.value_and_grad(&at, &batch).unwrap();

    let eager = model.loss(batch);
    assert_eq!(eager.to_data(), loss.to_data());
    let grads = GradientsParams::from_grads(eager.backward(), &model);
    let weight = grads.get::<4>(model.conv1.weight.id).unwrap();
    assert_eq!(grad.get::<4>("conv1.weight").unwrap().to_data(), weight.to_data());
    let gamma = grads.get::<1>(model.norm2.gamma.id).unwrap();
    assert_eq!(grad.get::<1>("norm2.gamma").unwrap().to_data(), gamma.to_data());
}
