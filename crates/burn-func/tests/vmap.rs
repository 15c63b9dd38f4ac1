//! Many runs as one program: losses, gradients and Hessian-vector products equal those one by one.
//!
//! A kernel over all items may add in another order than one over an item. Over a whole network that is a few units in the
//! last place, 5e-15 of the norm here; the smallest wrong term would be near 1.
#![allow(missing_docs)]

mod common;

use burn::module::{Module, Param};
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::transformer::{TransformerEncoder, TransformerEncoderConfig, TransformerEncoderInput};
use burn::nn::{Linear, LinearConfig, PaddingConfig2d};
use burn::tensor::activation::{relu, softmax, tanh};
use burn::tensor::{Int, Tensor};
use burn_func::{Batch, Error, Linearization, Params, Traced, finite, stop_gradient, trace, vmap};
use common::*;

const TOLERANCE: f64 = 1e-13;

fn close(name: &str, found: &Params, expected: &Params) {
    let error = relative(found, expected);
    assert!(error <= TOLERANCE, "{name}: off by {error:.1e}");
    assert_eq!(found.specs(), expected.specs(), "{name}");
    let specs = found.values().iter().map(|value| value.spec());
    assert!(specs.eq(expected.values().iter().map(|value| value.spec())), "{name}");
}

fn same_loss(name: &str, found: &Tensor<1>, expected: &Tensor<1>) {
    let (found, expected) = (finite(found).unwrap(), finite(expected).unwrap());
    assert!((found - expected).abs() <= TOLERANCE * expected.abs().max(1.0), "{name}: {found}, {expected}");
}

/// No operation of the closure falls back to one by one.
fn assert_batched<B: Batch>(name: &str, traced: &Traced<B>) {
    let parts = traced.linearized_graph().unwrap_or_else(|error| panic!("{name}: {error}"));
    for graph in [traced.graph(), &parts.primal, &parts.linear] {
        let flags = vec![true; graph.inputs.len()];
        vmap(graph, &flags, 2).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
}

/// Points, batches and both batched; tangents alone; everything.
fn check<M: Module, B: Batch>(name: &str, model: &M, batches: [B; 3], f: impl Fn(&M, B) -> Tensor<1>) {
    let traced = trace(model, &batches[0], f).unwrap_or_else(|error| panic!("{name}: {error}"));
    assert_batched(name, &traced);
    let at = Params::from_module(model).unwrap();
    let points: Vec<Params> = (0..3).map(|k| at.axpy(0.1 * k as f64, &waves(&at, 1.0, 30 * k))).collect();
    let vectors: Vec<Params> = (0..3).map(|k| waves(&at, 1.0, 40 + k)).collect();
    for (what, points, batches) in [
        ("points", &points[..], &batches[..1]),
        ("batches", &points[..1], &batches[..]),
        ("both", &points[..], &batches[..]),
    ] {
        let name = format!("{name}, {what}");
        let one = |k: usize| (&points[k % points.len()], &batches[k % batches.len()]);
        let many = traced.value_and_grad_many(points, batches).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(many.len(), 3);
        for (k, (loss, grad, ())) in many.iter().enumerate() {
            let (expected_loss, expected, ()) = traced.value_and_grad(one(k).0, one(k).1).unwrap();
            same_loss(&name, loss, &expected_loss);
            close(&name, grad, &expected);
        }
        let linearized = traced.linearize_many(points, batches).unwrap_or_else(|error| panic!("{name}: {error}"));
        let products = Linearization::hvp_each(&linearized, &vectors).unwrap();
        for (k, point) in linearized.iter().enumerate() {
            let expected = traced.linearize(one(k).0, one(k).1).unwrap();
            same_loss(&name, point.loss(), expected.loss());
            close(&name, point.grad(), expected.grad());
            close(&name, &point.hvp(&vectors[k]).unwrap(), &expected.hvp(&vectors[k]).unwrap());
            close(&name, &products[k], &expected.hvp(&vectors[k]).unwrap());
        }
    }
    let point = traced.linearize(&at, &batches[0]).unwrap();
    for (product, v) in point.hvps(&vectors).unwrap().iter().zip(&vectors) {
        close(&format!("{name}, tangents"), product, &point.hvp(v).unwrap());
    }
}

fn three<T>(item: impl Fn(usize) -> T) -> [T; 3] {
    [item(0), item(1), item(2)]
}

#[test]
fn mlp_with_every_activation() {
    let model = Mlp::new(3, 8, 2);
    for act in ACTS {
        let batches = three(|k| (data([5, 3], 1 + k), data([5, 2], 7 + k)));
        check(&format!("{act:?}"), &model, batches, |model, (x, y)| mse(model.forward(x, act), y));
    }
}

#[test]
fn cnn() {
    let batches = || three(|k| (data([4, 2, 9, 8], 1 + k), shifted_labels(4, k)));
    check("batch statistics", &Cnn::new(), batches(), |model, batch| model.loss(batch));
    let model = Cnn::new().freeze().set_require_grad(true);
    check("running statistics", &model, batches(), |model, batch| model.loss(batch));
}

fn shifted_labels(classes: usize, by: usize) -> Tensor<1, Int> {
    (labels(4, classes) + by as i64).remainder_scalar(classes as i64)
}

#[derive(Module, Debug)]
struct Grouped {
    conv: Conv2d,
    head: Conv2d,
}

#[test]
fn convolutions_with_groups_strides_and_dilation() {
    let conv = Conv2dConfig::new([4, 6], [3, 2]).with_groups(2).with_stride([2, 1]).with_dilation([1, 2]);
    let conv = conv.with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1)).init(&device());
    let head = Conv2dConfig::new([6, 3], [2, 2]).with_groups(3).with_bias(false).init(&device());
    let model = settled(&Grouped { conv, head });
    let batches = three(|k| data([2, 4, 6, 5], 1 + k));
    check("groups", &model, batches, |model, x| {
        let x = model.head.forward(tanh(model.conv.forward(x)));
        (x.clone() * x.exp()).mean()
    });
}

#[derive(Module, Debug)]
struct Attention {
    query: Linear,
    key: Linear,
    value: Linear,
    out: Linear,
    scale: Param<Tensor<1>>,
}

impl Attention {
    fn new(width: usize) -> Self {
        let linear = || LinearConfig::new(width, width).init(&device());
        let scale = Param::from_tensor(Tensor::ones([width], &device()));
        settled(&Self { query: linear(), key: linear(), value: linear(), out: linear(), scale })
    }

    /// Two heads, a causal mask, a residual branch and a normalisation over the features.
    fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let [batch, length, width] = x.dims();
        let heads = |y: Tensor<3>| y.reshape([batch, length, 2, width / 2]).swap_dims(1, 2);
        let (q, k) = (heads(self.query.forward(x.clone())), heads(self.key.forward(x.clone())));
        let scores = q.matmul(k.transpose()) / (width as f64 / 2.0).sqrt();
        let mask = Tensor::<2>::ones([length, length], &x.device()).cumsum(1).cast(scores.dtype());
        let mask = mask.clone().lower_equal(mask.transpose()).bool_not().unsqueeze::<4>().expand(scores.dims());
        let weights = softmax(scores.mask_fill(mask, -1e9), 3);
        let mixed =
            weights.matmul(heads(self.value.forward(x.clone()))).swap_dims(1, 2).reshape([batch, length, width]);
        let y = x + self.out.forward(mixed);
        let centred = y.clone() - y.mean_dim(2);
        let spread = ((centred.clone() * centred.clone()).mean_dim(2) + 1e-5).sqrt();
        centred / spread * self.scale.val().unsqueeze()
    }
}

#[test]
fn attention() {
    let batches = three(|k| (data([2, 4, 6], 1 + k), data([2, 4, 6], 9 + k)));
    check("attention", &Attention::new(6), batches, |model, (x, y)| (model.forward(x) - y).powf_scalar(2.0).mean());
}

#[test]
fn a_transformer_of_burn() {
    let model = TransformerEncoderConfig::new(6, 8, 2, 1).with_dropout(0.0).init(&device());
    let model: TransformerEncoder = settled(&model);
    let batches = three(|k| data([2, 4, 6], 1 + k));
    check("transformer", &model, batches, |model, x| {
        let y = model.forward(TransformerEncoderInput::new(x));
        (y.clone() * y.sin()).mean()
    });
}

#[test]
fn stopped_gradients() {
    let model = Mlp::new(3, 4, 2);
    let batches = three(|k| data([5, 3], 1 + k));
    check("stop", &model, batches, |model, x| {
        let y = model.forward(x, Act::Tanh);
        (relu(y.clone()) * stop_gradient(y.clone()) + y.powf_scalar(2.0)).mean()
    });
}

#[test]
fn gradients_per_example() {
    let model = Mlp::new(3, 4, 2);
    let (x, y) = (data([6, 3], 1), data([6, 2], 2));
    let whole =
        trace(&model, &(x.clone(), y.clone()), |model: &Mlp, (x, y)| mse(model.forward(x, Act::Gelu), y)).unwrap();
    let example = |k: usize| (x.clone().slice([k..k + 1, 0..3]), y.clone().slice([k..k + 1, 0..2]));
    let examples: Vec<_> = (0..6).map(example).collect();
    let one = trace(&model, &examples[0], |model: &Mlp, (x, y)| mse(model.forward(x, Act::Gelu), y)).unwrap();
    let at = Params::from_module(&model).unwrap();
    let grads = one.value_and_grad_many(std::slice::from_ref(&at), &examples).unwrap();
    let sum = grads.iter().fold(at.zeros_like(), |sum, (_, grad, ())| sum.add(grad));
    let (_, expected, ()) = whole.value_and_grad(&at, &(x, y)).unwrap();
    close("mean of the gradients", &sum.scale(1.0 / 6.0), &expected);
}

#[test]
fn auxiliary_tensors_come_back_for_every_item() {
    let model = Mlp::new(3, 4, 2);
    let batches = three(|k| data([5, 3], 1 + k));
    let traced = trace(&model, &batches[0], |model: &Mlp, x| {
        let y = model.forward(x.clone(), Act::Tanh);
        (y.clone().mean(), (y.clone().argmax(1), y.greater_elem(0.0), x.sum()))
    });
    let traced = traced.unwrap();
    let at = Params::from_module(&model).unwrap();
    for (found, batch) in traced.value_and_grad_many(std::slice::from_ref(&at), &batches).unwrap().iter().zip(&batches)
    {
        let (_, _, expected) = traced.value_and_grad(&at, batch).unwrap();
        assert_eq!(found.2.0.to_data(), expected.0.to_data());
        assert_eq!(found.2.1.to_data(), expected.1.to_data());
        same_loss("sum", &found.2.2, &expected.2);
    }
}

#[test]
fn lists_of_one_and_of_none() {
    let model = Mlp::new(3, 4, 2);
    let (at, batch) = (Params::from_module(&model).unwrap(), data([5, 3], 1));
    let f = |model: &Mlp, x| model.forward(x, Act::Tanh).powf_scalar(2.0).mean();
    let traced = trace(&model, &batch, f).unwrap();
    let point = traced.linearize(&at, &batch).unwrap();
    let v = waves(&at, 1.0, 3);
    let expected = point.hvp(&v).unwrap();
    close("one vector", &point.hvps(std::slice::from_ref(&v)).unwrap()[0], &expected);
    assert!(point.hvps(&[]).unwrap().is_empty());
    assert!(traced.value_and_grad_many(&[], std::slice::from_ref(&batch)).unwrap().is_empty());
    assert!(traced.linearize_many(std::slice::from_ref(&at), &[]).unwrap().is_empty());
    let one = traced.value_and_grad_many(std::slice::from_ref(&at), std::slice::from_ref(&batch)).unwrap();
    close("one item", &one[0].1, point.grad());
    assert!(Linearization::hvp_each(&[], &[]).unwrap().is_empty());
}

#[test]
fn lists_that_do_not_fit_are_refused() {
    let model = Mlp::new(3, 4, 2);
    let (at, batch) = (Params::from_module(&model).unwrap(), data([5, 3], 1));
    let f = |model: &Mlp, x| model.forward(x, Act::Tanh).powf_scalar(2.0).mean();
    let traced = trace(&model, &batch, f).unwrap();
    let (two, three) = (vec![at.clone(); 2], vec![batch.clone(); 3]);
    assert!(matches!(traced.value_and_grad_many(&two, &three), Err(Error::Mismatch { .. })));
    assert!(matches!(traced.linearize_many(&two, &[]), Err(Error::Mismatch { .. })));
    let wide = [batch.clone(), data([6, 3], 1)];
    assert!(matches!(traced.value_and_grad_many(&two[..1], &wide), Err(Error::Mismatch { .. })));

    let points = traced.linearize_many(&two, std::slice::from_ref(&batch)).unwrap();
    assert!(matches!(Linearization::hvp_each(&points, &two[..1]), Err(Error::Mismatch { .. })));
    let other = Params::from_module(&LinearConfig::new(2, 2).init(&device())).unwrap();
    assert!(matches!(points[0].hvps(&[at.clone(), other.clone()]), Err(Error::Mismatch { .. })));
    assert!(matches!(points[0].hvp(&other), Err(Error::Mismatch { .. })));
}

#[test]
fn points_of_two_traces_are_taken_one_by_one() {
    let model = Mlp::new(3, 4, 2);
    let (at, batch) = (Params::from_module(&model).unwrap(), data([5, 3], 1));
    let point = |act: Act| {
        let f = |model: &Mlp, x| model.forward(x, act).powf_scalar(2.0).mean();
        trace(&model, &batch, f).unwrap().linearize(&at, &batch).unwrap()
    };
    let points = [point(Act::Tanh), point(Act::Sigmoid)];
    let vectors = [waves(&at, 1.0, 3), waves(&at, 1.0, 5)];
    let products = Linearization::hvp_each(&points, &vectors).unwrap();
    for ((product, point), v) in products.iter().zip(&points).zip(&vectors) {
        assert_eq!(product.to_f64(), point.hvp(v).unwrap().to_f64());
    }
}
