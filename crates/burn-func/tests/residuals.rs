//! Residual policies: the same products from less memory.
#![allow(missing_docs)]

mod common;

use burn::module::Module;
use burn::tensor::Tensor;
use burn_func::{Batch, Params, Residuals, Traced, trace};
use common::*;

fn product<B: Batch>(traced: &Traced<B>, at: &Params, batch: &B) -> (Vec<f64>, Vec<f64>) {
    let point = traced.linearize(at, batch).unwrap();
    let v = waves(at, 1.0, 5);
    (point.grad().to_f64(), point.hvp(&v).unwrap().to_f64())
}

/// The same operations on the same numbers: equal bit for bit, whatever is kept.
fn check<M: Module, B: Batch>(name: &str, model: &M, batch: &B, f: impl Fn(&M, B) -> Tensor<1>) {
    let at = Params::from_module(model).unwrap();
    let mut traced = trace(model, batch, f).unwrap();
    let expected = product(&traced, &at, batch);
    let stored = traced.residual_bytes().unwrap();
    let store_flops = traced.costs().unwrap().hvp.cost.flops;
    assert!(stored > 0);

    traced = traced.with_residuals(Residuals::Recompute);
    let recompute_flops = traced.costs().unwrap().hvp.cost.flops;
    assert_eq!(traced.residual_bytes().unwrap(), 0, "{name}");
    assert_eq!(product(&traced, &at, batch), expected, "{name}: recomputed");
    assert!(recompute_flops > store_flops, "{name}");

    let mut before = u64::MAX;
    for part in 0..=16 {
        let budget = stored * part / 16;
        traced = traced.with_residuals(Residuals::Budget(budget));
        let bytes = traced.residual_bytes().unwrap();
        let flops = traced.costs().unwrap().hvp.cost.flops;
        assert!(bytes <= budget, "{name}: {bytes} bytes of {budget}");
        assert!(flops <= before, "{name}: {budget} bytes make a product dearer");
        assert!(flops <= recompute_flops && flops >= store_flops, "{name}");
        if [3, 9, 14].contains(&part) {
            assert_eq!(product(&traced, &at, batch), expected, "{name}: {budget} bytes");
            assert!(bytes > 0, "{name}: {budget} bytes, and none of them used");
        }
        before = flops;
    }
    assert_eq!(before, store_flops, "{name}: the whole budget");
}

#[test]
fn products_agree_bit_for_bit_and_budgets_hold() {
    let mlp = Mlp::new(3, 8, 2);
    let batch = (data([5, 3], 1), data([5, 2], 2));
    for act in [Act::Relu, Act::Tanh, Act::Gelu] {
        check(&format!("{act:?}"), &mlp, &batch, |model, (x, y)| mse(model.forward(x, act), y));
    }
    let batch = (data([4, 2, 9, 8], 1), labels(4, 4));
    check("cnn", &Cnn::new(), &batch, |model, batch| model.loss(batch));
}

#[test]
fn the_estimate_is_what_the_linearization_holds() {
    // One hidden layer of 8 units on 5 points. Tangents read its output, the derivative of tanh there and the derivative of
    // the loss, each 5x8; and the four parameters that the loss never touches have zeros of their shapes for tangents. The
    // batch, and a view of it, are the caller's.
    let model = Mlp::new(3, 8, 2);
    let batch = (data([5, 3], 1), data([5, 8], 2));
    let f = |model: &Mlp, (x, y): (Tensor<2>, Tensor<2>)| mse(Act::Tanh.apply(model.a.forward(x)), y);
    let traced = trace(&model, &batch, f).unwrap();
    let bytes = traced.residual_bytes().unwrap();
    assert_eq!(bytes, 8 * (3 * 5 * 8 + 8 * 8 + 8 + 8 * 2 + 2));
    let point = traced.linearize(&Params::from_module(&model).unwrap(), &batch).unwrap();
    assert_eq!(point.residual_bytes(), bytes);
    assert_eq!(traced.costs().unwrap().residual_bytes, bytes);
}
