//! Meta-steps leave nothing behind: resident memory stays where it is, whatever the rule.
#![allow(missing_docs)]
#![cfg(target_os = "linux")]

mod common;

use burn_meta::{Clip, Estimator, InnerLoopConfig, InnerRatesConfig, MamlConfig, Rule};
use common::*;

fn resident_bytes() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    4096 * statm.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap()
}

#[test]
fn rules_that_are_differentiated_by_autodiff_leave_no_graphs_behind() {
    let (net, tasks) = (mlp(), tasks());
    let inner = InnerLoopConfig::new(0.02).with_steps(4).with_rule(Rule::adam()).with_clip(Some(Clip::Norm(2.0)));
    let rates = InnerRatesConfig::meta_sgd().init(&net, &inner).unwrap();
    let maml = MamlConfig::new(inner, Estimator::binomial(2)).init().unwrap();
    let steps = |n: usize| {
        for _ in 0..n {
            maml.with_rates(&rates).meta_gradient(&net, &tasks, loss).unwrap();
        }
        resident_bytes()
    };
    let (early, late) = (steps(60), steps(400));
    // A graph per step of each task would be 400 * 3 * 4 of some kilobytes.
    assert!(late as f64 <= 1.05 * early as f64 + 8e6, "{early} bytes after 60 meta-steps, {late} after 460");
    println!("{early} bytes after 60 meta-steps, {late} after 460");
}
