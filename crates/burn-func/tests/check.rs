//! `check` passes what is clean, in both precisions, and finds what is not.
#![allow(missing_docs)]

mod common;

use std::sync::atomic::{AtomicUsize, Ordering};

use burn::module::Module;
use burn::tensor::{DType, Tensor};
use burn_func::{Batch, Claim, Error, Report, cast, check, stop_gradient};
use common::*;

fn mlp_batch() -> (Tensor<2>, Tensor<2>) {
    (data([5, 3], 1), data([5, 2], 2))
}

fn clean<M: Module, B: Batch>(name: &str, model: &M, batch: &B, f: impl Fn(&M, B) -> Tensor<1>) -> Report {
    let report = check(model, batch, f).unwrap_or_else(|error| panic!("{name}: {error}"));
    println!("{name}\n{report}\n");
    assert!(report.passed(), "{name}\n{report}");
    report
}

fn failing(report: &Report) -> Vec<Claim> {
    report.findings.iter().filter(|finding| !finding.passed()).map(|finding| finding.claim).collect()
}

#[test]
fn a_clean_network_passes_in_both_precisions() {
    let model = Mlp::new(3, 8, 2);
    let (x, y) = mlp_batch();
    for act in ACTS {
        let f = |model: &Mlp, (x, y): (Tensor<2>, Tensor<2>)| mse(model.forward(x, act), y);
        let report = clean(&format!("mlp {act:?}"), &model, &(x.clone(), y.clone()), f);
        assert_eq!(report.findings.len(), 6);
        let (model, batch) = (cast(&model, DType::F32), (x.clone().cast(DType::F32), y.clone().cast(DType::F32)));
        let report = clean(&format!("mlp {act:?}, f32"), &model, &batch, f);
        assert_eq!(report.findings.len(), 8);
        // Single precision rounds: were this zero, nothing would have been compared.
        assert!(report.get(Claim::GradientRounding).unwrap().value > 1e-9);
    }
}

#[test]
fn a_clean_convolutional_network_passes_in_both_precisions() {
    let model = Cnn::new();
    let (x, y) = (data([4, 2, 9, 8], 1), labels(4, 4));
    clean("cnn", &model, &(x.clone(), y.clone()), |model, batch| model.loss(batch));
    let mean = model.norm1.running_mean.value_sync().to_data();
    let single = cast(&model, DType::F32);
    clean("cnn, f32", &single, &(x.clone().cast(DType::F32), y.clone()), |model, batch| model.loss(batch));
    assert_eq!(model.norm1.running_mean.value_sync().to_data(), mean, "the check moved the running statistics");
    // With running statistics, and with an output beside the loss.
    let frozen = model.freeze().set_require_grad(true);
    let with_logits = |model: &Cnn, (x, y): (Tensor<4>, _)| (model.loss((x.clone(), y)), model.forward(x));
    let report = check(&frozen, &(x, y), with_logits).unwrap();
    assert!(report.passed(), "{report}");
}

#[test]
fn a_linear_loss_and_shared_parameters_pass() {
    let model = Mlp::new(3, 4, 2);
    let linear = |model: &Mlp, x: Tensor<2>| model.a.forward(x).mean();
    clean("linear", &model, &data([5, 3], 1), linear);
    let mut tied = Mlp::new(4, 4, 4);
    tied.c.weight = tied.a.weight.clone();
    tied.b.bias = tied.b.bias.map(|bias| bias.no_grad());
    clean("tied", &tied, &data([5, 4], 1), |model: &Mlp, x| model.forward(x, Act::Tanh).powf_scalar(2.0).mean());
}

#[test]
fn a_point_at_a_kink_or_a_minimum_passes() {
    // All parameters zero: every ReLU sits at its kink, and the gradient is zero but for the last bias.
    let model = Mlp::new(3, 4, 2);
    let zero = burn_func::Params::from_module(&model).unwrap().zeros_like().into_module(model).unwrap();
    let (x, _) = mlp_batch();
    let f = |model: &Mlp, x: Tensor<2>| model.forward(x, Act::Relu).powf_scalar(2.0).mean();
    clean("zeros", &zero, &x, f);
    clean("zeros, f32", &cast(&zero, DType::F32), &x.cast(DType::F32), f);
}

#[test]
fn a_detach_is_found() {
    let model = Mlp::new(3, 4, 2);
    let x = data([5, 3], 1);
    let f = |stop: fn(Tensor<2>) -> Tensor<2>| {
        move |model: &Mlp, x: Tensor<2>| {
            let target = stop(model.forward(x.clone(), Act::Relu));
            mse(model.forward(x, Act::Tanh), target)
        }
    };
    for (model, x) in [(model.clone(), x.clone()), (cast(&model, DType::F32), x.cast(DType::F32))] {
        let report = check(&model, &x, f(|y| y.detach())).unwrap();
        assert_eq!(failing(&report), [Claim::ForwardMode, Claim::Symmetry], "{report}");
        clean("stop_gradient", &model, &x, f(stop_gradient));
    }
}

#[test]
fn a_branch_that_changes_between_calls_is_found() {
    let model = Mlp::new(3, 4, 2);
    let batch = mlp_batch();
    let calls = AtomicUsize::new(0);
    let report = check(&model, &batch, |model: &Mlp, (x, y)| {
        let act = if calls.fetch_add(1, Ordering::Relaxed).is_multiple_of(2) { Act::Tanh } else { Act::Relu };
        mse(model.forward(x, act), y)
    });
    let report = report.unwrap();
    assert!(failing(&report).contains(&Claim::SameGraph), "{report}");
    let note = &report.get(Claim::SameGraph).unwrap().note;
    assert!(note.contains("Tanh") || note.contains("Relu"), "{note}");
}

#[test]
fn a_number_that_changes_between_calls_is_found() {
    let model = Mlp::new(3, 4, 2);
    let batch = mlp_batch();
    let calls = AtomicUsize::new(0);
    let random = || (calls.fetch_add(1, Ordering::Relaxed) as f64 * 12.9898).sin(); // a random number to anyone else
    let scaled = |model: &Mlp, (x, y): (Tensor<2>, Tensor<2>)| mse(model.forward(x, Act::Tanh), y) * random();
    let report = check(&model, &batch, scaled).unwrap();
    assert_eq!(failing(&report), [Claim::SameGraph, Claim::Loss, Claim::Gradient], "{report}");
    // The same as data of a tensor that the closure makes.
    let noisy = |model: &Mlp, (x, y): (Tensor<2>, Tensor<2>)| {
        let noise = Tensor::<1>::from_data([random(), random()], (&x.device(), x.dtype()));
        mse(model.forward(x, Act::Tanh) + noise.unsqueeze(), y)
    };
    let report = check(&model, &batch, noisy).unwrap();
    assert!(failing(&report).contains(&Claim::SameGraph), "{report}");
    assert!(report.get(Claim::SameGraph).unwrap().note.contains("tensor made by the closure"), "{report}");
}

#[test]
fn what_is_not_finite_never_passes() {
    let model = Mlp::new(3, 4, 2);
    for poison in [f64::NAN, f64::INFINITY] {
        let (x, y) = mlp_batch();
        let f = |model: &Mlp, (x, y): (Tensor<2>, Tensor<2>)| mse(model.forward(x, Act::Tanh), y);
        let report = check(&model, &(x, y * poison), f).unwrap();
        let failing = failing(&report);
        for claim in [Claim::Loss, Claim::Gradient, Claim::ForwardMode, Claim::Differences, Claim::Symmetry] {
            assert!(failing.contains(&claim), "{claim} passed\n{report}");
        }
    }
}

#[test]
fn what_cannot_be_checked_is_an_error() {
    let model = Mlp::new(3, 4, 2);
    let batch = mlp_batch();
    let f = |model: &Mlp, (x, y): (Tensor<2>, Tensor<2>)| mse(model.forward(x, Act::Tanh), y);
    assert!(matches!(check(&model.valid(), &batch, f), Err(Error::NotAutodiff { .. })));
    let calls = AtomicUsize::new(0);
    let third = |model: &Mlp, batch| {
        assert!(calls.fetch_add(1, Ordering::Relaxed) < 2, "no third time");
        f(model, batch)
    };
    match check(&model, &batch, third).unwrap_err() {
        Error::Execution { message } => assert!(message.contains("no third time"), "{message}"),
        other => panic!("{other}"),
    }
}

#[test]
fn a_report_reads_as_a_table() {
    let report = check(&Mlp::new(3, 4, 2), &data([5, 3], 1), |model: &Mlp, x: Tensor<2>| {
        let y = model.forward(x, Act::Tanh);
        (y.clone() * y.detach()).mean()
    });
    let table = report.unwrap().to_string();
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(lines.len(), 7);
    assert!(lines[0].starts_with("claim") && lines[0].ends_with("allowed"), "{table}");
    assert!(lines[1].starts_with("recorded twice") && lines[1].ends_with("ok"), "{table}");
    assert!(lines[4].contains("forward mode") && lines[4].ends_with("FAILED"), "{table}");
}
