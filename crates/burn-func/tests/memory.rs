//! Replays leave nothing behind. Alone in its process, so that no other test's memory is seen.
#![allow(missing_docs)]

mod common;

use burn_func::linearize;
use common::*;

#[test]
fn ten_thousand_products_leave_memory_as_it_was() {
    let model = Mlp::new(3, 4, 2);
    let batch = (data([5, 3], 1), data([5, 2], 2));
    let point = linearize(&model, &batch, |model, (x, y)| mse(model.forward(x, Act::Tanh), y)).unwrap();
    let v = waves(point.grad(), 1.0, 3);
    let resident = || {
        let pages = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
        pages.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).map_or(0, |pages| pages * 4096)
    };
    let run = |n: usize| (0..n).for_each(|_| drop(point.hvp(&v).unwrap()));
    run(500);
    let before = resident();
    run(10_000);
    let after = resident();
    assert!(after <= before + (4 << 20), "{before} bytes before, {after} after"); // 10,000 leaked tensors are more
}
