//! One table of composed models and losses; every case climbs the whole ladder of derivatives.
//!
//! `BURN_META_TEST_DEVICE` names the device (default `flex`). On Flex everything is in f64 and each derivative is held
//! against differences of the one below it. On another device a case runs in that device's precision (f64 on `ndarray`
//! and `remote`, f32 elsewhere), and its loss, gradient and one product are held against the results in f64 on Flex,
//! with the same parameters and data. `BURN_META_TEST_SHORT=1` runs a good third of the
//! table, with every class of operation in it; `BURN_META_TEST_CASE=text` the cases with that text in their names.
//! `cargo test --test conformance -- --nocapture` prints a line per case.
//!
//! Does not know: derivative rules.
#![allow(missing_docs)]

mod activations;
#[path = "../common/mod.rs"]
mod common;
mod composed;
mod ladder;
mod layers;
mod losses;
mod site;
mod table;
mod tensors;

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use burn::tensor::{DType, Device, DeviceConfig, FloatDType};
use burn_func::rules::rows;
use common::devices::{self, fresh_device};
use ladder::{Found, Rung, distance};
use site::Site;
use table::Case;

#[test]
fn every_case_climbs_the_ladder() {
    // What a closure creates has the default type of its device.
    let mut flex = Device::flex();
    flex.configure(DeviceConfig::default().float_dtype(FloatDType::F64)).unwrap();
    let name = devices::name();
    // The remote device of these tests has Flex behind it.
    let dtype = if matches!(name.as_str(), "flex" | "ndarray" | "remote") { DType::F64 } else { DType::F32 };

    let short = std::env::var("BURN_META_TEST_SHORT").is_ok_and(|value| value == "1");
    let only = std::env::var("BURN_META_TEST_CASE").unwrap_or_default();
    let cases: Vec<Case> =
        table::cases().into_iter().filter(|case| (!short || case.short) && case.name.contains(&only)).collect();
    let start = Instant::now();
    let results = run(&cases, dtype);
    let refused = results.iter().filter(|found| found.refused).count();
    let failures = cases.iter().zip(&results).filter(|(case, found)| !passes(case, found, &name));
    let failures: Vec<String> = failures.map(|(case, found)| describe(case, found)).collect();
    let kinds: BTreeSet<&String> = results.iter().flat_map(|found| &found.kinds).collect();
    let missed =
        rows().into_iter().filter(|row| !kinds.iter().any(|kind| kind.starts_with(row.name))).map(|row| row.name);
    println!("operations in no trace of these cases: {}", missed.collect::<Vec<_>>().join(", "));
    let (n, failed, seconds) = (cases.len(), failures.len(), start.elapsed().as_secs_f64());
    println!(
        "{name}: {n} cases with {} kinds of operation, {failed} failed, {refused} refused as they should, {seconds:.1} s",
        kinds.len()
    );
    assert!(n > refused, "all of {n} cases are refused");
    assert!(failures.is_empty(), "{failed} of {n} failed:\n{}", failures.join("\n"));
}

/// Whether it got to the top, or was refused where it has to be.
fn passes(case: &Case, found: &Found, device: &str) -> bool {
    if case.refused_on.contains(&device) { found.refused } else { found.holds() }
}

/// The device under test, and the type of what a closure creates there.
struct Place {
    device: Device,
    dtype: DType,
}

impl Place {
    fn fresh(dtype: DType) -> Self {
        let mut device = fresh_device().without_autodiff();
        if dtype == DType::F64 && device.settings().float_dtype != FloatDType::F64 {
            device.configure(DeviceConfig::default().float_dtype(FloatDType::F64)).unwrap();
        }
        Self { device: device.autodiff(), dtype }
    }
}

/// Runs all cases, two at a time, and prints a line for each. What panics in a server ends the session:
/// every thread has a session of its own, and another after a failure.
fn run(cases: &[Case], dtype: DType) -> Vec<Found> {
    let (next, results) = (AtomicUsize::new(0), Mutex::new(BTreeMap::new()));
    let work = |mut place: Place| {
        while let Some((at, case)) = take(cases, &next) {
            let found = catch_unwind(AssertUnwindSafe(|| measure(case, &place)))
                .unwrap_or_else(|panic| Found { problem: Some(message(&*panic)), ..Found::default() });
            if !found.holds() {
                place = Place::fresh(dtype);
            }
            println!("{}", describe(case, &found));
            results.lock().unwrap().insert(at, found);
        }
    };
    let places: Vec<Place> = (0..2).map(|_| Place::fresh(dtype)).collect();
    std::thread::scope(|scope| places.into_iter().for_each(|place| drop(scope.spawn(|| work(place)))));
    results.into_inner().unwrap().into_values().collect()
}

fn take<'a>(cases: &'a [Case], next: &AtomicUsize) -> Option<(usize, &'a Case)> {
    let at = next.fetch_add(1, Ordering::Relaxed);
    Some((at, cases.get(at)?))
}

fn message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    format!("panicked: {}", text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message"))
}

fn measure(case: &Case, place: &Place) -> Found {
    let flex = Device::flex().autodiff();
    let reference = Site {
        device: flex.clone(),
        dtype: DType::F64,
        differences: true,
        threads: case.threads,
        step: if case.single { 2e-3 } else { 2e-5 },
    };
    if place.device == flex {
        return loosened(case, (case.run)(&reference));
    }
    let expected = (case.run)(&Site { differences: false, threads: false, ..reference.clone() });
    if expected.problem.is_some() {
        return Found { refused: false, ..expected };
    }
    let site = Site { device: place.device.clone(), dtype: place.dtype, differences: false, ..reference };
    let mut found = (case.run)(&site);
    let (first, second) = against(place.dtype);
    let mut rung = |name, error, tolerance| found.rungs.push(Rung { name, error, tolerance });
    rung("loss on Flex", (found.loss - expected.loss).abs() / expected.loss.abs(), first);
    rung("gradient on Flex", distance(&found.grad, &expected.grad), first);
    rung("product on Flex", distance(&found.hvp, &expected.hvp), second);
    loosened(case, found)
}

/// Allowed difference from f64 on Flex, of loss and gradient and of products. In f64 the NdArray backend
/// computes some functions (norms, the logistic one) through f32, which rounds to 6e-8; the rest agrees to 1e-14. In f32 on Flex the table's largest are 5e-6 and 1e-5; GPUs approximate
/// exponentials and error functions to some 1e-4, of which a product holds several. A wrong term is of the order of one.
fn against(dtype: DType) -> (f64, f64) {
    match dtype {
        DType::F64 => (1e-7, 1e-7),
        _ => (1e-3, 5e-3),
    }
}

/// Cases in which Burn itself goes through single precision cannot be exact in double precision.
fn loosened(case: &Case, mut found: Found) -> Found {
    if case.single {
        for rung in &mut found.rungs {
            rung.tolerance = rung.tolerance.max(1e-3);
        }
    }
    found
}

fn describe(case: &Case, found: &Found) -> String {
    if let (true, Some(problem)) = (found.refused, &found.problem) {
        return format!("{}: refused, {problem}", case.name);
    }
    let rungs = found.rungs.iter().map(|rung| {
        let mark = if rung.holds() { "" } else { " (!)" };
        format!("{} {:.0e}{mark}", rung.name, rung.error)
    });
    let rungs = rungs.collect::<Vec<_>>().join(", ");
    let problem = found.problem.iter().map(|problem| format!(" PROBLEM {problem}")).collect::<String>();
    format!("{}: {rungs}{problem}", case.name)
}
