//! Replays leave nothing behind. One test, alone in its process, so that no other's memory is seen.
#![allow(missing_docs)]

mod common;

use burn_func::{Params, linearize, trace};
use common::*;

/// Resident bytes of this process; zero where the system does not say, which lets the test pass there.
fn resident() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    pages.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).map_or(0, |pages| pages * 4096)
}

/// Runs `body` `warm` times, then `times` times, after which no more than `allowed` bytes may have come.
fn stays_flat(name: &str, warm: usize, times: usize, allowed: usize, body: impl Fn()) {
    (0..warm).for_each(|_| body());
    let before = resident();
    (0..times).for_each(|_| body());
    let after = resident();
    println!("{name}: {before} bytes before {times} runs, {after} after");
    assert!(after <= before + allowed, "{name}: {before} bytes before, {after} after");
}

#[test]
fn replays_leave_memory_as_it_was() {
    let model = Mlp::new(3, 4, 2);
    let batch = (data([5, 3], 1), data([5, 2], 2));
    let point = linearize(&model, &batch, |model, (x, y)| mse(model.forward(x, Act::Tanh), y)).unwrap();
    let v = waves(point.grad(), 1.0, 3);
    // 10,000 leaked tensors are more than 4 MiB.
    stays_flat("products of a network", 500, 10_000, 4 << 20, || drop(point.hvp(&v).unwrap()));

    let model = Cnn::new();
    let batch = (data([4, 2, 9, 8], 1), labels(4, 4));
    let traced = trace(&model, &batch, |model: &Cnn, batch| model.loss(batch)).unwrap();
    let at = Params::from_module(&model).unwrap();
    let v = waves(&at, 1.0, 3);
    // One linearization holds 50 KiB of residuals: 500 of them leaked would be 25 MB.
    let held = traced.linearize(&at, &batch).unwrap().residual_bytes();
    assert!(held > 10_000, "{held}");
    stays_flat("linearizations of a convolutional network", 200, 500, 4 << 20, || {
        let point = traced.linearize(&at, &batch).unwrap();
        drop((point.hvp(&v).unwrap(), point.hvp(point.grad()).unwrap()));
    });
    stays_flat("gradients of a convolutional network", 100, 1000, 4 << 20, || {
        drop(traced.value_and_grad(&at, &batch).unwrap());
    });
    // A trace anew each time: capture devices go back to their pool, programs with the trace.
    stays_flat("traces of a convolutional network", 100, 300, 8 << 20, || {
        let traced = trace(&model, &batch, |model: &Cnn, batch| model.loss(batch)).unwrap();
        drop(traced.value_and_grad(&at, &batch).unwrap());
    });
}
