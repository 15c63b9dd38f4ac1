//! Hessian-vector products against central differences of the gradient, and the gradient against Burn's own.
#![allow(missing_docs)]

mod common;

use burn::module::Module;
use burn::optim::GradientsParams;
use burn::tensor::Tensor;
use burn_func::{Params, trace};
use common::hvp::check_hvp;
use common::*;

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
