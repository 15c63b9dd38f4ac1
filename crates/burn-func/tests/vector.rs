//! Forward mode alone, and vector-valued closures in both directions.
#![allow(missing_docs)]

mod common;

use burn::module::{Module, Param};
use burn::nn::Linear;
use burn::tensor::{DType, Tensor, TensorData};
use burn_func::{
    Batch, Error, Params, ProgramCache, TracedVector, cast, jvp, linearize, trace, trace_vector, trace_vector_with,
    value_and_grad,
};
use common::*;

fn mlp_batch() -> (Tensor<2>, Tensor<2>) {
    (data([5, 3], 1), data([5, 2], 2))
}

fn loss(model: &Mlp, (x, y): (Tensor<2>, Tensor<2>)) -> Tensor<1> {
    mse(model.forward(x, Act::Tanh), y)
}

fn host<const D: usize>(tensor: &Tensor<D>) -> Vec<f64> {
    tensor.to_data().iter::<f64>().collect()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn norm(a: &[f64]) -> f64 {
    dot(a, a).sqrt()
}

fn off(found: &[f64], expected: &[f64]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let difference: Vec<f64> = found.iter().zip(expected).map(|(a, b)| a - b).collect();
    norm(&difference) / norm(expected)
}

/// Duality <w, J v> = <J' w, v>, the value against the closure itself, and J v against differences of the value.
///
/// Rounding of the duality is 1e-16 (f64) or 1e-7 (f32) times the conditioning of the network, below 100 here. Differences
/// extrapolated to fourth order round at about 1e-11.
fn check_both<M: Module, B: Batch, const D: usize>(name: &str, model: &M, batch: &B, f: impl Fn(&M, B) -> Tensor<D>) {
    let traced = trace_vector(model, batch, &f).unwrap_or_else(|error| panic!("{name}: {error}"));
    let at = Params::from_module(model).unwrap();
    let single = at.values()[0].dtype() == DType::F32;
    let point = traced.linearize(&at, batch).unwrap_or_else(|error| panic!("{name}: {error}"));
    let eager = f(model, batch.clone());
    assert!(off(&host(point.value()), &host(&eager)) <= if single { 1e-6 } else { 1e-14 }, "{name}: value");
    assert_eq!(host(&traced.value(&at, batch).unwrap()), host(point.value()), "{name}: value alone");

    for salt in 1..4 {
        let v = waves(&at, 1.0, salt);
        let w = data(point.value().dims(), 10 * salt).cast(point.value().dtype());
        let (jv, jw) = (point.jvp(&v).unwrap(), point.vjp(&w).unwrap());
        assert_eq!(jv.dims(), w.dims());
        let (forward, reverse) = (dot(&host(&w), &host(&jv)), jw.dot(&v));
        let tolerance = if single { 1e-5 } else { 1e-14 } * jw.norm() * v.norm();
        assert!((forward - reverse).abs() <= tolerance, "{name}: <w, J v> = {forward}, <J' w, v> = {reverse}");
        assert!(forward != 0.0);
    }
    if !single {
        let v = waves(&at, 1.0, 9);
        let error = off(&host(&point.jvp(&v).unwrap()), &differences(&traced, &at, batch, &v));
        assert!(error <= 1e-8, "{name}: J v off by {error:.1e}");
    }
}

fn differences<B: Batch, const D: usize>(traced: &TracedVector<B, D>, at: &Params, batch: &B, v: &Params) -> Vec<f64> {
    let value = |step: f64| traced.value(&at.axpy(step, v), batch).unwrap();
    let central = |step: f64| (value(step) - value(-step)) * (0.5 / step);
    host(&(central(2e-5) * (4.0 / 3.0) - central(4e-5) / 3.0))
}

#[test]
fn tangents_and_cotangents_agree() {
    let model = Mlp::new(3, 4, 2);
    let x = data([5, 3], 1);
    for act in [Act::Tanh, Act::Relu, Act::Gelu] {
        check_both(&format!("mlp {act:?}"), &model, &x, |model, x| model.forward(x, act));
        let (model, x) = (cast(&model, DType::F32), x.clone().cast(DType::F32));
        check_both(&format!("mlp {act:?} f32"), &model, &x, |model: &Mlp, x| model.forward(x, act));
    }
    let cnn = Cnn::new();
    let batch = (data([4, 2, 9, 8], 1), labels(4, 4));
    check_both("cnn", &cnn, &batch, |model, (x, _)| model.forward(x));
    check_both("feature maps", &cnn, &batch, |model, (x, _)| model.norm1.forward(model.conv1.forward(x)));
    let (cnn, batch) = (cast(&cnn, DType::F32), (batch.0.cast(DType::F32), batch.1));
    check_both("cnn f32", &cnn, &batch, |model: &Cnn, (x, _)| model.forward(x));
}

#[test]
fn a_scalar_may_be_a_vector_of_one() {
    let model = Mlp::new(3, 4, 2);
    let batch = mlp_batch();
    let traced = trace_vector(&model, &batch, loss).unwrap();
    let at = Params::from_module(&model).unwrap();
    let (_, gradient) =
        traced.vjp(&at, &batch, &Tensor::from_data(TensorData::from([1.0_f64]), (&device(), DType::F64))).unwrap();
    let (_, expected, ()) = trace(&model, &batch, loss).unwrap().value_and_grad(&at, &batch).unwrap();
    assert!(relative(&gradient, &expected) <= 1e-14);
}

#[derive(Module, Debug)]
struct Point {
    x: Param<Tensor<1>>,
    unused: Param<Tensor<2>>,
}

#[test]
fn closed_forms() {
    // y = A (x * x): J = 2 A diag(x).
    let a = [[1.0, 2.0, -1.0], [0.5, 0.0, 3.0]];
    let (x, v, w) = ([0.3, -2.0, 1.5], [1.0, 2.0, 3.0], [-1.0, 0.25]);
    let model = Point { x: Param::from_tensor(tensor(&x, [3])), unused: Param::from_tensor(data([2, 2], 1)) };
    let batch = tensor(&a.concat(), [2, 3]);
    let f = |model: &Point, a: Tensor<2>| {
        let x = model.x.val();
        a.matmul((x.clone() * x).reshape([3, 1])).reshape([2])
    };
    let traced = trace_vector(&model, &batch, f).unwrap();
    let at = Params::from_module(&model).unwrap();
    let direction = at.with_elements(&[v.as_slice(), &[7.0; 4]].concat()).unwrap();
    let (value, tangent) = traced.jvp(&at, &batch, &direction).unwrap();
    let (_, cotangent) = traced.vjp(&at, &batch, &tensor(&w, [2])).unwrap();
    let row = |i: usize, of: &[f64]| dot(&a[i], of);
    let squares = x.map(|x| x * x);
    let xv: Vec<f64> = x.iter().zip(&v).map(|(x, v)| 2.0 * x * v).collect();
    assert!(off(&host(&value), &[row(0, &squares), row(1, &squares)]) <= 1e-15);
    assert!(off(&host(&tangent), &[row(0, &xv), row(1, &xv)]) <= 1e-15);
    let expected: Vec<f64> = (0..3).map(|j| 2.0 * x[j] * (a[0][j] * w[0] + a[1][j] * w[1])).collect();
    assert!(off(&cotangent.to_f64()[..3], &expected) <= 1e-15);
    assert_eq!(cotangent.to_f64()[3..], [0.0; 4], "a parameter that is not read gets zeros");
}

fn tensor<const D: usize>(values: &[f64], shape: [usize; D]) -> Tensor<D> {
    Tensor::from_data(TensorData::new(values.to_vec(), shape), (&device(), DType::F64))
}

#[test]
fn an_output_may_be_a_parameter_itself() {
    let model = Point { x: Param::from_tensor(data([4], 3)), unused: Param::from_tensor(data([2, 2], 1)) };
    let point = |f: fn(&Point, ()) -> Tensor<1>| {
        trace_vector(&model, &(), f).unwrap().linearize(&Params::from_module(&model).unwrap(), &()).unwrap()
    };
    let (v, w) = (waves(&Params::from_module(&model).unwrap(), 1.0, 5), data([4], 6));
    for point in [point(|model, ()| model.x.val()), point(|model, ()| model.x.val() * 1.0)] {
        assert_eq!(host(&point.jvp(&v).unwrap()), v.to_f64()[..4]);
        assert_eq!(point.vjp(&w).unwrap().to_f64()[..4], host(&w));
    }
}

#[test]
fn one_linearization_serves_any_number_of_threads() {
    let (model, x) = (Mlp::new(3, 4, 2), data([5, 3], 1));
    let at = Params::from_module(&model).unwrap();
    let traced = trace_vector(&model, &x, |model: &Mlp, x| model.forward(x, Act::Tanh)).unwrap();
    let point = traced.linearize(&at, &x).unwrap();
    let (v, w) = (waves(&at, 1.0, 1), data([5, 2], 3));
    let expected = (host(&point.jvp(&v).unwrap()), point.vjp(&w).unwrap().to_f64());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| assert_eq!((host(&point.jvp(&v).unwrap()), point.vjp(&w).unwrap().to_f64()), expected));
        }
    });
    assert!(point.residual_bytes() > 0);
}

#[test]
fn the_same_closure_is_compiled_once() {
    let (cache, model, x) = (ProgramCache::new(), Mlp::new(3, 4, 2), data([5, 3], 1));
    for _ in 0..2 {
        trace_vector_with(&cache, &model, &x, |model: &Mlp, x| model.forward(x, Act::Tanh)).unwrap();
    }
    assert_eq!((cache.len(), cache.hits()), (1, 1));
}

#[test]
fn what_does_not_fit_is_named() {
    let (model, x) = (Mlp::new(3, 4, 2), data([5, 3], 1));
    let at = Params::from_module(&model).unwrap();
    let f = |model: &Mlp, x| model.forward(x, Act::Tanh);
    let traced = trace_vector(&model, &x, f).unwrap();
    let point = traced.linearize(&at, &x).unwrap();
    let mismatch = |error: Error, expected: &str| match error {
        Error::Mismatch { what, .. } => assert_eq!(what, expected),
        other => panic!("{other}"),
    };
    mismatch(point.vjp(&data([2, 5], 1)).unwrap_err(), "the cotangent");
    mismatch(point.vjp(&data([5, 2], 1).cast(DType::F32)).unwrap_err(), "the cotangent");
    let other = Params::from_module(&Mlp::new(3, 5, 2)).unwrap();
    mismatch(point.jvp(&other).unwrap_err(), "the direction at `a.weight`");
    let fewer = Params::from_module(&model.a).unwrap();
    mismatch(point.jvp(&fewer).unwrap_err(), "the direction");
    mismatch(traced.value(&at, &data([6, 3], 1)).unwrap_err(), "batch tensor 0");
    mismatch(jvp(&model, &x, |model: &Mlp, x| f(model, x).mean(), &fewer).unwrap_err(), "the direction");

    // A vector of a larger module that begins with the same parameters.
    let first = linearize(&model.a, &x, |model: &Linear, x| model.forward(x).powf_scalar(2.0).mean()).unwrap();
    mismatch(first.hvp(&at).unwrap_err(), "the vector");

    let constant = trace_vector(&model, &x, |_: &Mlp, x: Tensor<2>| x).unwrap_err();
    assert_eq!(constant, Error::NoGradient);
    let elsewhere = trace_vector(&model, &x, |_: &Mlp, _| Tensor::<2>::zeros([2, 2], &device())).unwrap_err();
    assert!(matches!(elsewhere, Error::ForeignOutput { .. }), "{elsewhere}");
    let panics = trace_vector(&model, &x, |_: &Mlp, _| -> Tensor<2> { panic!("no") }).unwrap_err();
    assert!(matches!(panics, Error::Closure { .. }), "{panics}");
}

#[test]
fn a_detach_is_found() {
    let (model, x) = (Mlp::new(3, 4, 2), data([5, 3], 1));
    let at = Params::from_module(&model).unwrap();
    let f = |model: &Mlp, x: Tensor<2>| {
        let y = model.forward(x, Act::Tanh);
        y.clone() * y.detach()
    };
    let traced = trace_vector(&model, &x, f).unwrap();
    assert!(matches!(traced.linearize(&at, &x), Err(Error::GradientMismatch { .. })));
    let error = jvp(&model, &x, |model: &Mlp, x| f(model, x).mean(), &waves(&at, 1.0, 1)).unwrap_err();
    assert!(matches!(error, Error::GradientMismatch { .. }), "{error}");
}

/// The derivative along `v` is <gradient, v>: rounding 1e-16 (f64) or 1e-7 (f32) times some ten operations in a row.
#[test]
fn forward_mode_gives_the_inner_product_with_the_gradient() {
    let cnn = Cnn::new();
    let batch = (data([4, 2, 9, 8], 1), labels(4, 4));
    let single = (batch.0.clone().cast(DType::F32), batch.1.clone());
    for (model, batch, tolerance) in [(cnn.clone(), batch, 1e-14), (cast(&cnn, DType::F32), single, 1e-5)] {
        let traced = trace(&model, &batch, |model: &Cnn, batch| model.loss(batch)).unwrap();
        let at = Params::from_module(&model).unwrap();
        let (loss, grad, ()) = traced.value_and_grad(&at, &batch).unwrap();
        for salt in 1..4 {
            let v = waves(&at, 1.0, salt);
            let (value, derivative, ()) = traced.jvp(&at, &batch, &v).unwrap();
            assert_eq!(value.to_data(), loss.to_data());
            let (derivative, expected): (f64, f64) = (derivative.into_scalar(), grad.dot(&v));
            assert!((derivative - expected).abs() <= tolerance * grad.norm() * v.norm(), "{derivative} for {expected}");
        }
    }
}

#[test]
fn auxiliary_tensors_come_along() {
    let model = Mlp::new(3, 4, 2);
    let batch = mlp_batch();
    let f = |model: &Mlp, (x, y): (Tensor<2>, Tensor<2>)| {
        let prediction = model.forward(x, Act::Tanh);
        (mse(prediction.clone(), y), prediction)
    };
    let v = waves(&Params::from_module(&model).unwrap(), 1.0, 4);
    let (value, derivative, prediction) = jvp(&model, &batch, f, &v).unwrap();
    let (expected, grads, _) = value_and_grad(&model, &batch, f).unwrap();
    assert_eq!(value, expected);
    assert!(derivative != 0.0 && grads.len() == 6);
    assert_eq!(host(&prediction), host(&model.forward(batch.0, Act::Tanh)));
}

#[test]
fn a_derivative_that_is_not_finite_is_an_error() {
    let model = Mlp::new(3, 4, 2);
    let v = waves(&Params::from_module(&model).unwrap(), 1.0, 4);
    // Zero has a square root, which has no derivative.
    let root = |model: &Mlp, x: Tensor<2>| (model.forward(x, Act::Tanh) * 0.0).abs().sqrt().mean();
    let error = jvp(&model, &data([5, 3], 1), root, &v).unwrap_err();
    assert!(matches!(error, Error::NonFiniteValue { .. }), "{error}");
    let nan = |model: &Mlp, x: Tensor<2>| model.forward(x, Act::Tanh).mean() / 0.0;
    assert!(matches!(jvp(&model, &data([5, 3], 1), nan, &v), Err(Error::NonFinite { .. })));
}
