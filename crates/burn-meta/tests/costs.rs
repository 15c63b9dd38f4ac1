//! What the graphs of the reference networks cost, as upper bounds: a pass that stops working, or a rule that emits more
//! than it did, is found here. `cargo test --test costs -- --nocapture` prints the tables.
#![allow(missing_docs)]

use burn::tensor::{Device, Distribution, Int, Tensor};
use burn_func::{Batch, Costs, Params, Residuals, Traced, trace};
use burn_meta::models::{Cnn4, Cnn4Config, Mlp, MlpConfig, cross_entropy, mean_squared_error};

/// Prints the costs under every policy; hands back those of the default.
fn costs<B: Batch>(name: &str, mut traced: Traced<B>) -> Costs {
    let costs = traced.costs().unwrap();
    println!("{name}\n{costs}");
    let stored = costs.residual_bytes;
    let budgets = [3, 6, 12, 25, 50, 75].map(|part| Residuals::Budget(stored * part / 100));
    for policy in [[Residuals::Recompute].as_slice(), &budgets].concat() {
        traced = traced.with_residuals(policy);
        println!("{policy:?}\n{}", traced.costs().unwrap());
    }
    costs
}

fn assert_at_most(what: &str, found: u64, bound: u64) {
    assert!(found <= bound, "{what}: {found}, was {bound}");
}

#[test]
fn sinusoid_mlp() {
    let device = Device::flex().autodiff();
    let mlp = MlpConfig::new(vec![1, 40, 40, 1]).init(&device);
    let x = Tensor::<2>::random([10, 1], Distribution::Uniform(-5.0, 5.0), &device);
    let y = x.clone().sin();
    let loss = |net: &Mlp, (x, y): (Tensor<2>, Tensor<2>)| mean_squared_error(net.forward(x), y);
    let costs = costs("MLP 1-40-40-1, 10 points", trace(&mlp, &(x, y), loss).unwrap());
    assert_at_most("operations of a gradient", costs.gradient.operations as u64, 34);
    assert_at_most("operations of a product", costs.hvp.operations as u64, 41);
}

#[test]
fn four_block_cnn() {
    let device = Device::flex().autodiff();
    device.seed(0);
    let cnn = Cnn4Config::new(3, 84, 5).init(&device);
    let images = Tensor::<4>::random([5, 3, 84, 84], Distribution::Uniform(0.0, 1.0), &device);
    let labels = Tensor::<1, Int>::from_data([0, 1, 2, 3, 4], &device);
    let batch = (images, labels);
    let loss = |net: &Cnn4, (x, y): (Tensor<4>, Tensor<1, Int>)| cross_entropy(net.forward(x), y);
    let traced = trace(&cnn, &batch, loss).unwrap();
    let at = Params::from_module(&cnn).unwrap();
    let product = |traced: &Traced<_>| traced.linearize(&at, &batch).unwrap().hvp(&at).unwrap().to_f64();
    let expected = product(&traced);
    let costs = costs("CNN4, 32 filters, 5 images of 84x84", traced);
    assert_at_most("operations of a gradient", costs.gradient.operations as u64, 207);
    assert_at_most("operations of a product", costs.hvp.operations as u64, 307);
    assert_at_most("bytes moved by a product", costs.hvp.cost.bytes, 430_000_000);

    // The same operations on the same numbers, in single precision too.
    let lean = trace(&cnn, &batch, loss).unwrap().with_residuals(Residuals::Recompute);
    assert_eq!(product(&lean), expected);
    let some = lean.with_residuals(Residuals::Budget(costs.residual_bytes / 4));
    assert_eq!(product(&some), expected);
}
