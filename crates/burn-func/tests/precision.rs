//! Half precision where the CPU backend has it: the same closures as in double precision, to what its digits allow.
#![allow(missing_docs)]

mod common;

use burn::tensor::{DType, Int, Tensor};
use burn_func::{Params, cast, trace};
use common::*;

/// Loss, gradient and one product, as numbers.
fn ladder(dtype: DType) -> [Vec<f64>; 3] {
    let model = cast(&Mlp::new(3, 8, 4), dtype);
    let batch = (data([6, 3], 1).cast(dtype), labels(6, 4));
    let traced = trace(&model, &batch, |model: &Mlp, (x, y): (Tensor<2>, Tensor<1, Int>)| {
        let logits = model.forward(x, Act::Gelu);
        burn::nn::loss::CrossEntropyLossConfig::new().init(&logits.device()).forward(logits, y)
    })
    .unwrap();
    let at = Params::from_module(&model).unwrap();
    assert!(at.specs().iter().all(|spec| spec.spec.dtype == dtype));
    let point = traced.linearize(&at, &batch).unwrap();
    let product = point.hvp(&waves(&at, 1.0, 5)).unwrap();
    assert!(product.values().iter().all(|value| value.dtype() == dtype));
    [vec![point.loss().clone().into_scalar::<f64>()], point.grad().to_f64(), product.to_f64()]
}

/// Norm of the difference over norm of the reference; NaN is over every bound.
fn check(dtype: DType, epsilon: f64) {
    let (found, expected) = (ladder(dtype), ladder(DType::F64));
    for (what, (found, expected)) in ["loss", "gradient", "product"].iter().zip(found.iter().zip(&expected)) {
        let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|x| x * x).sum::<f64>().sqrt();
        let error = norm(&mut found.iter().zip(expected).map(|(a, b)| a - b)) / norm(&mut expected.iter().copied());
        println!("{dtype:?} {what}: {error:.1e}");
        // Some ten roundings follow each other from input to product.
        assert!(error <= 10.0 * epsilon, "{dtype:?} {what}: off by {error:.1e}");
    }
}

#[test]
fn f16_has_three_digits() {
    check(DType::F16, 2.0_f64.powi(-10));
}

#[test]
fn bf16_has_two_digits() {
    check(DType::BF16, 2.0_f64.powi(-7));
}

#[test]
fn f32_has_seven_digits() {
    check(DType::F32, 2.0_f64.powi(-23));
}
