//! What holds of every estimator: one table, one suite.
#![allow(missing_docs)]

mod common;

use std::sync::Mutex;

use burn::tensor::{DType, Tensor};
use burn_func::{Residuals, cast};
use burn_meta::models::{Mlp, mean_squared_error};
use burn_meta::{
    CancelToken, CustomEstimator, Error, Estimate, Estimator, InnerLoopConfig, InnerRatesConfig, Maml, MamlConfig,
    Phases, Progress, Report, SolveError, Solver, State, Task, TaskLoop, Unrolled, Vector,
};
use common::*;

const STEPS: usize = 4;

fn table() -> Vec<Estimator> {
    vec![
        Estimator::FirstOrder,
        Estimator::truncated(2),
        Estimator::binomial(2),
        Estimator::binomial_scaled(2),
        Estimator::Hybrid { order: 1, window: 3 },
        Estimator::Adaptive { tolerance: 1e-3 },
        Estimator::fitted(2),
        Estimator::frozen(2),
        Estimator::segments(2, 1),
        Estimator::Exact,
        Estimator::implicit(20),
        Estimator::Implicit { solver: Solver::Neumann { terms: 3 } },
        Estimator::Reptile,
    ]
}

fn config(estimator: Estimator) -> MamlConfig {
    let inner = InnerLoopConfig::new(0.02).with_steps(STEPS);
    let proximal = if matches!(estimator, Estimator::Implicit { .. }) { 40.0 } else { 0.0 };
    MamlConfig::new(inner.with_proximal(proximal), estimator)
}

/// Back-propagation through every other step.
#[derive(Debug)]
struct EveryOther;

impl CustomEstimator for EveryOther {
    fn name(&self) -> &'static str {
        "every other"
    }

    fn reads(&self, steps: usize) -> Vec<usize> {
        (0..steps).step_by(2).collect()
    }

    fn estimate(&self, task: &TaskLoop<'_>) -> burn_meta::Result<Estimate<State>> {
        let mut z = task.source(task.steps()).unwrap();
        for step in (0..task.steps()).rev() {
            let still = task.still(step, &z);
            z = if step % 2 == 0 { still.axpy(1.0, &task.curved(step, &z)?) } else { still };
        }
        let products = self.reads(task.steps()).len();
        Ok(Estimate { value: z, order: products, products, neglected: None })
    }
}

/// Every estimator of the table, and one of our own.
fn each(check: impl Fn(&str, Maml)) {
    for estimator in table() {
        check(&format!("{estimator:?}"), config(estimator).init().unwrap());
    }
    check("every other", config(Estimator::Exact).init().unwrap().with_estimator(EveryOther));
}

/// The same, on other numbers of threads.
fn each_with_threads(threads: &[usize], check: impl Fn(&str, &[Maml])) {
    let on = |estimator, threads| config(estimator).with_threads(Some(threads)).init().unwrap();
    for estimator in table() {
        let mamls: Vec<Maml> = threads.iter().map(|n| on(estimator, *n)).collect();
        check(&format!("{estimator:?}"), &mamls);
    }
    let own: Vec<Maml> = threads.iter().map(|n| on(Estimator::Exact, *n).with_estimator(EveryOther)).collect();
    check("every other", &own);
}

#[test]
fn the_numbers_do_not_depend_on_threads() {
    let net = mlp();
    // More tasks than threads, as many, and fewer: products of one task then run side by side.
    for tasks in [tasks(), tasks()[..1].to_vec()] {
        each_with_threads(&[1, 2, 3, 8], |name, mamls| {
            let gradients = mamls.iter().map(|maml| {
                let step = maml.meta_gradient(&net, &tasks, loss).unwrap();
                (step.gradient.to_f64(), step.losses, step.report.products)
            });
            let gradients: Vec<_> = gradients.collect();
            assert!(gradients.windows(2).all(|pair| pair[0] == pair[1]), "{name}");
        });
    }
}

#[test]
fn a_meta_batch_is_the_weighted_mean_of_its_tasks() {
    let (net, tasks) = (mlp(), tasks());
    let weights = [0.5, 0.0, 2.0];
    each(|name, maml| {
        let alone = |at: usize| maml.meta_gradient(&net, std::slice::from_ref(&tasks[at]), loss).unwrap();
        let parts = [alone(0), alone(1), alone(2)];
        let mean = parts[0].gradient.add(&parts[1].gradient).add(&parts[2].gradient).scale(1.0 / 3.0);
        let step = maml.meta_gradient(&net, &tasks, loss).unwrap();
        assert!(relative(&step.gradient, &mean) <= 1e-14, "{name}");
        let step = maml.batch(&tasks).with_weights(&weights).gradient(&net, loss).unwrap();
        let weighted = parts[0].gradient.scale(0.2).axpy(0.8, &parts[2].gradient);
        assert!(relative(&step.gradient, &weighted) <= 1e-14, "{name}");
        let query = 0.2 * parts[0].query_loss() + 0.8 * parts[2].query_loss();
        assert!((step.query_loss() - query).abs() <= 1e-14 * query.abs(), "{name}");
    });
}

#[test]
fn reports_say_what_was_done() {
    let (net, tasks) = (mlp(), tasks());
    each(|name, maml| {
        let report = maml.meta_gradient(&net, &tasks, loss).unwrap().report;
        let Report { gradients, products, residual_bytes, peak_bytes, seconds, phases, .. } = report.clone();
        match report.estimator {
            Some(estimator @ (Estimator::Adaptive { .. } | Estimator::Implicit { .. })) => {
                assert!(products > 0 && products <= 3 * estimator.products(STEPS) + 3, "{name}: {products}");
            }
            Some(estimator) => assert_eq!(products, 3 * estimator.products(STEPS), "{name}"),
            None => assert_eq!(products, 3 * 2, "{name}"),
        }
        let queries = match report.estimator {
            Some(Estimator::Reptile) => 0,
            Some(Estimator::Implicit { .. }) => 2,
            _ => 1,
        };
        assert_eq!(gradients, 3 * (STEPS + queries), "{name}");
        assert_eq!(residual_bytes > 0, products > 0, "{name}: residuals are kept for products alone");
        assert!(peak_bytes > residual_bytes && seconds > 0.0, "{name}");
        let parts = [phases.trace, phases.inner, phases.query, phases.estimate];
        assert!(parts.iter().all(|part| *part >= 0.0) && phases.inner > 0.0, "{name}: {phases:?}");
        // Measured numbers may lose their last digit as text.
        let (neglected, implicit) = (report.neglected.map(|_| 0.5), report.implicit.map(|_| Default::default()));
        let report = Report { seconds: 0.5, phases: Phases::default(), neglected, implicit, ..report };
        let read: Report = serde_json::from_str(&serde_json::to_string(&report).unwrap()).unwrap();
        assert_eq!(read, report, "{name}");
    });
}

#[test]
fn estimates_that_cannot_follow_say_so() {
    let report = |rate: f64, estimator| {
        let config = MamlConfig::new(InnerLoopConfig::new(rate).with_steps(STEPS), estimator);
        config.init().unwrap().meta_gradient(&mlp(), &tasks(), loss).unwrap().report
    };
    for estimator in [Estimator::fitted(1), Estimator::Adaptive { tolerance: 1e-2 }] {
        assert_eq!(report(0.005, estimator).unreliable, 0, "{estimator:?}");
    }
    let lost = report(0.4, Estimator::Fitted { order: 1, probe: 1 });
    assert!(lost.unreliable > 0 && lost.neglected.unwrap() > 0.5, "{lost:?}");
}

#[test]
fn settings_survive_being_written_down() {
    for estimator in table() {
        let config = config(estimator).with_query_weights(None).with_threads(Some(3)).with_first_order_steps(7);
        let read: MamlConfig = serde_json::from_str(&serde_json::to_string(&config).unwrap()).unwrap();
        assert_eq!(read, config);
    }
}

#[test]
fn what_a_linearization_keeps_does_not_change_the_numbers() {
    let (net, tasks) = (mlp(), tasks());
    each(|name, maml| {
        let stored = maml.meta_gradient(&net, &tasks, loss).unwrap();
        let lean = maml.with_residuals(Residuals::Recompute).meta_gradient(&net, &tasks, loss).unwrap();
        assert_eq!(lean.gradient.to_f64(), stored.gradient.to_f64(), "{name}");
        assert_eq!(lean.report.residual_bytes, 0, "{name}");
    });
}

#[test]
fn single_precision_agrees_with_double() {
    let narrow = |(x, y): Points| (x.cast(DType::F32), y.cast(DType::F32));
    let tasks64 = tasks();
    let tasks32: Vec<Task<Points>> = tasks64
        .iter()
        .map(|task| Task { support: narrow(task.support.clone()), query: narrow(task.query.clone()) })
        .collect();
    let (net64, net32) = (mlp(), cast(&mlp(), DType::F32));
    each(|name, maml| {
        let double = maml.meta_gradient(&net64, &tasks64, loss).unwrap().gradient.to_f64();
        let single = maml.meta_gradient(&net32, &tasks32, loss).unwrap().gradient.to_f64();
        let norm = |v: &mut dyn Iterator<Item = f64>| v.map(|x| x * x).sum::<f64>().sqrt();
        let error = norm(&mut double.iter().zip(&single).map(|(a, b)| a - b)) / norm(&mut double.iter().copied());
        // Rounding of 1e-7, amplified a hundredfold at most by four steps; the solver stops at 1e-6.
        assert!(error <= 1e-5, "{name}: {error:e}");
    });
}

#[test]
fn losses_may_differ_between_support_and_query() {
    let net = mlp();
    // Inputs alone on the support set: what is learnt there needs no labels.
    let tasks: Vec<Task<Tensor<2>, Points>> =
        (0..2).map(|i| Task { support: wave([5, 2], i), query: points(8, 10 * i + 5) }).collect();
    let unsupervised = |net: &Mlp, x: Tensor<2>| (net.forward(x) - 0.5).powf_scalar(2.0).mean();
    let judged = |net: &Mlp, (x, y): Points| {
        let prediction = net.forward(x);
        (mean_squared_error(prediction.clone(), y), prediction)
    };
    each(|name, maml| {
        let step = maml.batch(&tasks).gradient_of(&net, unsupervised, judged).unwrap();
        let evaluated = maml.batch(&tasks).evaluate_of(&net, unsupervised, judged).unwrap();
        assert_eq!(step.outputs.len(), 2, "{name}");
        for (at, evaluation) in evaluated.iter().enumerate() {
            assert_eq!(step.losses[at].query, evaluation.losses.query, "{name}");
            assert_eq!(step.outputs[at].dims(), [8, 1], "{name}");
            assert_eq!(step.outputs[at].to_data(), evaluation.outputs.to_data(), "{name}");
        }
    });
    // The exact one is the derivative of what is evaluated.
    let maml = config(Estimator::Exact).init().unwrap();
    let at = burn_func::Params::from_module(&net).unwrap();
    let v = direction(&at, 4);
    let expected = difference(&at, &v, |at| {
        let moved = at.clone().into_module(net.clone()).unwrap();
        let done = maml.batch(&tasks).evaluate_of(&moved, unsupervised, judged).unwrap();
        done.iter().map(|task| task.losses.query).sum::<f64>() / 2.0
    });
    let found = maml.batch(&tasks).gradient_of(&net, unsupervised, judged).unwrap().gradient.dot(&v);
    assert!((found - expected).abs() <= 1e-8 * expected.abs().max(1.0), "{found} and {expected}");
}

#[test]
fn progress_is_told_after_every_task() {
    let (net, tasks) = (mlp(), tasks());
    let maml = config(Estimator::binomial(1)).with_threads(Some(2)).init().unwrap();
    let told = Mutex::new(Vec::new());
    maml.batch(&tasks).on_progress(|progress| told.lock().unwrap().push(progress)).gradient(&net, loss).unwrap();
    let mut told = told.into_inner().unwrap();
    told.sort_by_key(|progress| progress.done);
    let expected: Vec<Progress> = (1..=3).map(|done| Progress { done, tasks: 3 }).collect();
    assert_eq!(told, expected);
}

#[test]
fn a_cancelled_meta_batch_stops_between_tasks() {
    let (net, tasks) = (mlp(), tasks());
    let maml = config(Estimator::binomial(1)).with_threads(Some(1)).init().unwrap();
    let stop = CancelToken::new();
    let batch = maml.batch(&tasks).cancelled_by(&stop).on_progress(|progress| {
        if progress.done == 2 {
            stop.cancel();
        }
    });
    let error = batch.gradient(&net, loss).unwrap_err();
    assert!(matches!(error, Error::Cancelled { done: 2, tasks: 3 }), "{error}");
    assert_eq!(error.to_string(), "cancelled after 2 of 3 task(s)");
    // It counts as no meta-step, and evaluations go by the same token.
    assert_eq!(maml.step(), 0);
    assert!(matches!(maml.batch(&tasks).cancelled_by(&stop).evaluate(&net, loss), Err(Error::Cancelled { .. })));
    assert!(maml.meta_gradient(&net, &tasks, loss).is_ok() && maml.step() == 1);
}

#[test]
fn weights_that_average_nothing_are_refused() {
    let (net, tasks) = (mlp(), tasks());
    let maml = config(Estimator::Exact).init().unwrap();
    for weights in [vec![1.0; 2], vec![0.0; 3], vec![1.0, -1.0, 1.0], vec![1.0, f64::NAN, 1.0]] {
        let error = maml.batch(&tasks).with_weights(&weights).gradient(&net, loss).unwrap_err();
        assert!(matches!(error, Error::Weights { of: "tasks", .. }), "{error}");
    }
    assert!(maml.batch(&tasks).with_query_weights(&[1.0; 3]).gradient(&net, loss).is_err());
    let empty: [Task<Points>; 0] = [];
    assert!(matches!(maml.batch(&empty).gradient(&net, loss), Err(Error::EmptyMetaBatch)));
}

/// Multiplies with a step whose linearization it did not ask for.
#[derive(Debug)]
struct Greedy;

impl CustomEstimator for Greedy {
    fn name(&self) -> &'static str {
        "greedy"
    }

    fn reads(&self, _: usize) -> Vec<usize> {
        vec![0]
    }

    fn estimate(&self, task: &TaskLoop<'_>) -> burn_meta::Result<Estimate<State>> {
        let z = task.source(task.steps()).unwrap();
        Ok(Estimate { value: task.curved(1, &z)?, order: 1, products: 1, neglected: None })
    }
}

#[test]
fn an_estimator_gets_the_products_it_asked_for_alone() {
    let maml = config(Estimator::Exact).init().unwrap().with_estimator(Greedy);
    let error = maml.meta_gradient(&mlp(), &tasks(), loss).unwrap_err().to_string();
    assert!(error.contains("inner step 1, which is not among the steps it reads"), "{error}");
}

#[test]
fn what_has_no_gradient_for_learned_rates_says_so() {
    let own = config(Estimator::Exact).init().unwrap().with_estimator(EveryOther);
    for maml in [own, config(Estimator::Reptile).init().unwrap(), config(Estimator::implicit(5)).init().unwrap()] {
        let rates = InnerRatesConfig::new().init(&mlp(), &maml.config().inner).unwrap();
        let error = maml.with_rates(&rates).meta_gradient(&mlp(), &tasks(), loss).unwrap_err().to_string();
        assert!(error.ends_with("has no gradient for learned rates"), "{error}");
    }
}

#[test]
fn negative_curvature_stops_the_implicit_estimator_by_name() {
    let inner = InnerLoopConfig::new(0.02).with_steps(STEPS).with_proximal(0.1);
    let maml = MamlConfig::new(inner, Estimator::implicit(50)).init().unwrap();
    let error = maml.meta_gradient(&mlp(), &tasks(), loss).unwrap_err();
    assert!(matches!(&error, Error::Solve { task: 0, problem: SolveError::NegativeCurvature { .. } }), "{error}");
}
