//! Random programs of 1 to 30 operations over 1 to 3 parameters: value and gradient against Burn's own, Hessian-vector
//! products against differences of the gradient, and their symmetry.
//!
//! `BURN_META_FUZZ_CASES` says how many (default 1000, ten seconds), `BURN_META_FUZZ_SEED` which (default 1: the same in every run).
//! `BURN_META_FUZZ_CASES=10000 BURN_META_FUZZ_SEED=$RANDOM cargo test --test fuzz -- --nocapture` is the long run. A
//! failing program is printed at its smallest.
//!
//! Does not know: which rules there are.
#![allow(missing_docs)]

#[path = "../common/mod.rs"]
mod common;
mod op;
mod program;

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use burn::module::Param;
use burn::tensor::module::conv1d;
use burn::tensor::ops::ConvOptions;
use burn::tensor::{Device, Tensor};
use burn_func::graph::op_name;
use burn_func::{Params, Traced, linearize, trace};
use common::waves;
use program::{Draw, Program, parameter};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestError, TestRng, TestRunner};

type Model = Vec<Param<Tensor<3>>>;

/// What was seen over all cases.
#[derive(Default)]
struct Seen {
    checked: AtomicUsize,
    discarded: AtomicUsize,
    operations: AtomicUsize,
    names: Mutex<BTreeSet<String>>,
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name}={text}")))
}

#[test]
fn random_programs_have_the_right_products() {
    let (cases, seed) = (number("BURN_META_FUZZ_CASES", 1000), number("BURN_META_FUZZ_SEED", 1));
    let (seen, start) = (Seen::default(), Instant::now());
    // A program that panics while it is made smaller panics thousands of times: the smallest one is told of below.
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| ()));
    let failures: Vec<String> = std::thread::scope(|scope| {
        let fuzz = |worker| fuzz(cases.div_ceil(2), 2 * seed + worker, &seen);
        let workers: Vec<_> = (0..2).map(|worker| scope.spawn(move || fuzz(worker))).collect();
        workers.into_iter().filter_map(|worker| worker.join().unwrap().err()).collect()
    });
    std::panic::set_hook(hook);
    let [checked, discarded, operations] =
        [&seen.checked, &seen.discarded, &seen.operations].map(|count| count.load(Ordering::Relaxed));
    let kinds = seen.names.lock().unwrap().len();
    println!(
        "{cases} cases of seed {seed}: {checked} checked, {discarded} discarded at kinks, {operations} operations of {kinds} \
         kinds, {:.1} s",
        start.elapsed().as_secs_f64()
    );
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert!(
        discarded * 20 <= checked,
        "{discarded} of {} discarded: the differences say too little",
        checked + discarded
    );
}

/// Burn's gradient of the weights of a grouped 1-d convolution whose stride leaves a rest of the input is wrong, and mended
/// in programs: random programs, which are held against Burn's own gradient, leave it out. Once this fails, they need not
/// any more, and nothing needs mending.
#[test]
fn a_wrong_gradient_of_burns_own_is_mended() {
    let model: Model = vec![Param::from_tensor(common::data([4, 1, 2], 3))];
    let x = common::data([1, 2, 5], 5);
    let f = |model: &Model, x: Tensor<3>| {
        let options = ConvOptions::new([2], [0], [1], 2);
        conv1d(x, model[0].val(), None, options).powi_scalar(2).sum()
    };
    let point = linearize(&model, &x, f).unwrap();
    // The loss is of second degree: the slope along the parameters themselves is twice its value.
    let at = Params::from_module(&model).unwrap();
    let (loss, slope): (f64, f64) = (point.loss().clone().into_scalar(), point.grad().dot(&at));
    assert!((slope - 2.0 * loss).abs() <= 1e-13 * loss, "{slope} for a loss of {loss}");
    let own = model[0].val().grad(&f(&model, x).backward()).unwrap();
    let own: Vec<f64> = own.into_data().iter().collect();
    let off = point.grad().sub(&at.with_elements(&own).unwrap()).norm();
    assert!(off > 1e-3 * point.grad().norm(), "Burn's own gradient is right now");
}

/// Runs cases until one fails; the error is the smallest failing program and what is wrong with it.
fn fuzz(cases: u64, seed: u64, seen: &Seen) -> Result<(), String> {
    let config = Config { cases: cases as u32, max_shrink_iters: 4000, failure_persistence: None, ..Config::default() };
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
    let axis = || 1..=4_usize;
    let parameters = prop::collection::vec((axis(), axis(), axis()).prop_map(|(a, b, c)| [a, b, c]), 1..=3);
    let draw = any::<(u8, [u8; 3], u8, u8)>().prop_map(|(op, operands, p, q)| Draw { op, operands, p, q });
    let programs = (parameters, prop::collection::vec(draw, 1..=30));
    let outcome = runner.run(&programs, |(parameters, draws)| {
        let program = Program::new(parameters, &draws);
        check(&program, seen).map_err(TestCaseError::fail)
    });
    outcome.map_err(|error| match error {
        TestError::Fail(reason, (parameters, draws)) => smallest(Program::new(parameters, &draws), reason.to_string()),
        TestError::Abort(reason) => format!("aborted: {reason}"),
    })
}

/// Takes out steps for as long as what is left still fails; then the report of what is left.
fn smallest(mut program: Program, mut reason: String) -> String {
    let fails = |program: &Program| {
        let outcome = catch_unwind(AssertUnwindSafe(|| check(program, &Seen::default())));
        outcome.unwrap_or_else(|panic| Err(format!("panicked: {:?}", panic.downcast_ref::<String>()))).err()
    };
    let smaller = |program: &Program| {
        let candidates = (0..program.steps.len()).rev().filter_map(|step| program.without(step));
        candidates.into_iter().find_map(|candidate| fails(&candidate).map(|reason| (candidate, reason)))
    };
    while let Some((candidate, why)) = smaller(&program) {
        (program, reason) = (candidate, why);
    }
    format!("{reason}\n{program}")
}

/// `Err` says what is wrong.
fn check(program: &Program, seen: &Seen) -> Result<(), String> {
    let device = Device::flex().autodiff();
    let shapes = program.parameters.iter().enumerate();
    let model: Model = shapes.map(|(i, shape)| Param::from_tensor(parameter(i, *shape, &device))).collect();
    let f = |model: &Model, ()| program.run(model.iter().map(Param::val).collect());
    let traced = trace(&model, &(), f).map_err(|error| error.to_string())?;
    seen.operations.fetch_add(traced.graph().ops.len(), Ordering::Relaxed);
    seen.names.lock().unwrap().extend(traced.graph().ops.iter().map(op_name));

    let at = Params::from_module(&model).map_err(|error| error.to_string())?;
    let (loss, grad) = value_and_grad(&traced, &at)?;
    let eager = f(&model, ());
    let expected: f64 = eager.clone().into_scalar();
    if loss != expected {
        return Err(format!("the loss is {loss}, Burn's own {expected}"));
    }
    let grads = eager.backward();
    let own = model.iter().map(|param| param.val().grad(&grads).map(|grad| grad.into_data().iter::<f64>().collect()));
    let own: Vec<Option<Vec<f64>>> = own.collect();
    let own = at.from_fn(|spec, i| {
        let which = at.specs().iter().position(|other| other.id == spec.id).expect("a parameter of the model");
        own[which].as_ref().map_or(0.0, |grad| grad[i])
    });
    let off = grad.sub(&own).norm();
    if over(off, 1e-13 * own.norm()) {
        return Err(format!("the gradient is {off:.1e} off Burn's own, of length {:.1e}", own.norm()));
    }
    if let Err(error) = products(&traced, &at, &grad, seen) {
        let (slope, expected) = slopes(&traced, &at, &grad)?;
        return Err(format!(
            "{error}\nalong a direction the gradient says {slope:.9e}, differences of the loss {expected:.9e}"
        ));
    }
    Ok(())
}

/// The slope of the loss along a direction, by the gradient and by differences: tells a wrong gradient, which is
/// Burn's, from a wrong product.
fn slopes(traced: &Traced<()>, at: &Params, grad: &Params) -> Result<(f64, f64), String> {
    let u = waves(at, 1.0, 1);
    let loss = |step: f64| Ok::<_, String>(value_and_grad(traced, &at.axpy(step, &u))?.0);
    Ok((grad.dot(&u), (loss(1e-5)? - loss(-1e-5)?) / 2e-5))
}

/// Whether an error is beyond what is allowed; NaN is.
fn over(error: f64, allowed: f64) -> bool {
    error > allowed || error.is_nan() || allowed.is_nan()
}

fn value_and_grad(traced: &Traced<()>, at: &Params) -> Result<(f64, Params), String> {
    let (loss, grad, ()) = traced.value_and_grad(at, &()).map_err(|error| error.to_string())?;
    Ok((loss.into_scalar(), grad))
}

fn products(traced: &Traced<()>, at: &Params, grad: &Params, seen: &Seen) -> Result<(), String> {
    let point = traced.linearize(at, &()).map_err(|error| error.to_string())?;
    let (u, v) = (waves(at, 1.0, 1), waves(at, 1.0, 100));
    let (hu, hv) = [&u, &v].map(|d| point.hvp(d).map_err(|error| error.to_string())).into();
    let (hu, hv) = (hu?, hv?);
    // Products that nearly cancel are known to the rounding of the gradient's terms alone, and those of a constant to the
    // rounding of the loss, which is of the order of one.
    let scale = hv.norm() + 1e-3 * grad.norm() * v.norm() + 1e-4;
    let asymmetry = (u.dot(&hv) - v.dot(&hu)).abs();
    // Burn's backward of a division by a number rounds its reciprocal to single precision.
    let divides = traced.graph().ops.iter().any(|op| op_name(op) == "NumericFloat::DivScalar");
    let tolerance = if divides { 1e-6 } else { 1e-9 };
    if over(asymmetry, tolerance * scale * u.norm()) {
        return Err(format!("not symmetric: {asymmetry:.1e} of {:.1e}", scale * u.norm()));
    }
    // Differences round to about 1e-11 of the gradient and are wrong where a kink lies within two steps. A case goes
    // unchecked only if the differences of two step sizes contradict each other by as much as they do the product.
    let first = differences(traced, at, &v, 2e-5)?;
    let error = first.sub(&hv).norm();
    if error <= 1e-6 * scale {
        seen.checked.fetch_add(1, Ordering::Relaxed);
        return Ok(());
    }
    let second = differences(traced, at, &v, 3e-6)?;
    if over(first.sub(&second).norm(), 0.1 * error) {
        seen.discarded.fetch_add(1, Ordering::Relaxed);
        return Ok(());
    }
    Err(format!("the product is {error:.1e} off, of length {scale:.1e}"))
}

/// Fourth-order differences of the gradient along `v`.
fn differences(traced: &Traced<()>, at: &Params, v: &Params, step: f64) -> Result<Params, String> {
    let grad = |step: f64| Ok::<_, String>(value_and_grad(traced, &at.axpy(step, v))?.1);
    let central = |step: f64| Ok::<_, String>(grad(step)?.sub(&grad(-step)?).scale(0.5 / step));
    Ok(central(step)?.scale(4.0 / 3.0).axpy(-1.0 / 3.0, &central(2.0 * step)?))
}
