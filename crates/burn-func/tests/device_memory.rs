//! Replays leave nothing behind. Alone in its process, so that no other test's memory is seen.
#![allow(missing_docs)]

mod common;

use burn::tensor::Device;
use burn_func::linearize;
use common::devices::{on, single, test_device};
use common::*;

#[test]
fn thousands_of_products_leave_memory_as_it_was() {
    let device = test_device();
    let model = single(&device, &Mlp::new(3, 4, 2));
    let batch = on(&device, &(data([5, 3], 1), data([5, 2], 2)));
    let point = linearize(&model, &batch, |model, (x, y)| mse(model.forward(x, Act::Tanh), y)).unwrap();
    let v = waves(point.grad(), 1.0, 3);
    let run = |n: usize| {
        // Reading now and then is what a training loop does: devices that queue their work catch up there.
        for i in 0..n {
            let product = point.hvp(&v).unwrap();
            assert!(i % 50 > 0 || product.norm() > 0.0);
        }
        device.sync().unwrap();
    };
    let times = if device == Device::flex() { 10_000 } else { 1_000 };
    run(500);
    let before = (resident(), allocations(&device));
    run(times);
    let after = (resident(), allocations(&device));
    // Leaked, one tensor of each product would be this many allocations on the device, and some hundred bytes each here;
    // a device's driver and queues may grow by a few pages.
    let room = if device == Device::flex() { 4 << 20 } else { 16 << 20 };
    assert!(after.0 <= before.0 + room, "{} bytes before, {} after", before.0, after.0);
    assert!(after.1 <= before.1 + 100, "{} allocations on the device before, {} after", before.1, after.1);
}

/// Bytes of memory this process holds.
fn resident() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    pages.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).map_or(0, |pages| pages * 4096)
}

/// Buffers alive on the device, where it counts them.
fn allocations(device: &Device) -> u64 {
    device.memory_pool_usage().map_or(0, |usage| usage.number_allocs)
}
