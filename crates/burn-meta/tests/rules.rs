//! Every estimator over every inner rule: one table of inner loops, one suite for all of them.
#![allow(missing_docs)]

mod common;

use burn::optim::SgdConfig;
use burn::tensor::{Tensor, TensorData};
use burn_func::Params;
use burn_meta::models::Mlp;
use burn_meta::{
    Clip, Error, Estimator, InnerLoopConfig, InnerRates, InnerRatesConfig, InnerRule, Maml, MamlConfig, RateGroup,
    RatesPer, Rule, RuleInput, RuleOutput, Task, multi_step_weights,
};
use common::*;

const STEPS: usize = 4;

fn base() -> InnerLoopConfig {
    InnerLoopConfig::new(0.04).with_steps(STEPS)
}

/// Inner loops that differ in one thing from plain gradient descent, and some in several.
fn loops() -> Vec<(&'static str, InnerLoopConfig)> {
    let head = || Some(vec!["layers.1.*".to_string()]);
    let dampened = Rule::Sgd { momentum: 0.8, dampening: 0.3, nesterov: false };
    // Large enough that its derivative does not blow up where a gradient is small.
    let adam = Rule::Adam { beta_1: 0.8, beta_2: 0.9, epsilon: 1e-2 };
    let rms_prop = Rule::RmsProp { decay: 0.8, epsilon: 1e-2 };
    vec![
        ("plain", base()),
        ("weight decay", base().with_weight_decay(0.2)),
        ("proximal", base().with_proximal(0.5)),
        ("momentum", base().with_rule(Rule::momentum(0.9))),
        ("dampened momentum", base().with_rule(dampened)),
        ("Nesterov", base().with_rule(Rule::nesterov(0.9)).with_weight_decay(0.1)),
        ("Adam", base().with_rule(adam)),
        ("RMSProp", base().with_rule(rms_prop)),
        ("clipped norm", base().with_clip(Some(Clip::Norm(4.0)))),
        ("clipped values", base().with_clip(Some(Clip::Value(1.5)))),
        ("groups", base().with_groups(vec![RateGroup::new(["*.bias"], 0.3), RateGroup::new(["layers.1.*"], 0.05)])),
        ("ANIL", base().with_adapt(head())),
        ("ANIL by Adam", base().with_adapt(head()).with_rule(adam).with_proximal(0.3)),
        (
            "everything",
            base()
                .with_rule(Rule::momentum(0.5))
                .with_weight_decay(0.1)
                .with_proximal(0.2)
                .with_clip(Some(Clip::Norm(6.0)))
                .with_groups(vec![RateGroup::new(["*.weight"], 0.03)]),
        ),
    ]
}

fn gradient(inner: &InnerLoopConfig, estimator: Estimator) -> Params {
    maml(inner, estimator).meta_gradient(&mlp(), &tasks(), loss).unwrap().gradient
}

/// Mean query loss after adaptation, of a network whose parameters are moved.
fn adapted_loss(maml: &Maml, net: &Mlp, at: &Params, tasks: &[Task<Points>]) -> f64 {
    let moved = at.clone().into_module(net.clone()).unwrap();
    let done = maml.evaluate_all(&moved, tasks, loss).unwrap();
    done.iter().map(|task| task.losses.query).sum::<f64>() / tasks.len() as f64
}

#[test]
fn exact_is_the_derivative_of_the_adapted_query_loss() {
    let (net, tasks) = (mlp(), tasks());
    let at = Params::from_module(&net).unwrap();
    for (name, inner) in loops() {
        let exact = maml(&inner, Estimator::Exact).meta_gradient(&net, &tasks, loss).unwrap().gradient;
        let by_value = maml(&inner, Estimator::Exact);
        for salt in 0..3 {
            let v = direction(&at, salt);
            let expected = difference(&at, &v, |at| adapted_loss(&by_value, &net, at, &tasks));
            let found = exact.dot(&v);
            assert!((found - expected).abs() <= 1e-8 * expected.abs().max(1.0), "{name}: {found} and {expected}");
        }
    }
}

#[test]
fn orders_lead_from_first_order_to_exact() {
    println!("relative error by order       L = 0      1      2      3      4");
    for (name, inner) in loops() {
        let exact = gradient(&inner, Estimator::Exact);
        for (family, make) in [
            ("binomial", Estimator::binomial as fn(usize) -> Estimator),
            ("truncated", Estimator::truncated),
            ("hybrid", |order| Estimator::Hybrid { order, window: STEPS }),
        ] {
            let errors: Vec<f64> = (0..=STEPS).map(|order| relative(&gradient(&inner, make(order)), &exact)).collect();
            let first = relative(&gradient(&inner, Estimator::FirstOrder), &exact);
            println!("{name:<20}{family:<10}{}", errors.iter().map(|e| format!("{e:>9.1e}")).collect::<String>());
            assert!(errors[0] == first, "{name}, {family}: {errors:?}, first-order {first:e}");
            // The same products and sums in another order.
            assert!(errors[STEPS] <= 1e-13, "{name}, {family}: {errors:?}");
            assert!(first > 1e-2, "{name}: the first-order error tells no estimators apart: {first:e}");
            if family != "truncated" {
                assert!(errors[STEPS - 1] < 0.1 * first, "{name}, {family}: {errors:?}");
            }
        }
        for (estimator, tolerance) in [
            (Estimator::Adaptive { tolerance: 1e-30 }, 1e-13),
            (Estimator::segments(STEPS, 1), 1e-13),
            (Estimator::frozen(STEPS), 1e-13),
            // The fit is taken away again, which leaves its rounding.
            (Estimator::fitted(STEPS), 1e-11),
        ] {
            let error = relative(&gradient(&inner, estimator), &exact);
            assert!(error <= tolerance, "{name}, {estimator:?}: {error:e}");
        }
        let errors = [Estimator::fitted(1), Estimator::fitted(2), Estimator::frozen(2), Estimator::segments(2, 1)]
            .map(|estimator| relative(&gradient(&inner, estimator), &exact));
        let [one, two, frozen, segments] = errors;
        println!(
            "{:<20}fitted 1 {one:.1e}, fitted 2 {two:.1e}, frozen 2 {frozen:.1e}, segments 2x1 {segments:.1e}",
            ""
        );
        let first = relative(&gradient(&inner, Estimator::FirstOrder), &exact);
        assert!(two < 0.2 * first && frozen < first, "{name}: {errors:?}, first-order {first:e}");
    }
}

#[test]
fn rules_are_those_of_burns_optimizers() {
    let task = &tasks()[0];
    let plain = maml(&base().with_weight_decay(0.3), Estimator::FirstOrder).adapt(&mlp(), &task.support, loss).unwrap();
    let mut by_hand = mlp();
    let decay = burn::optim::decay::WeightDecayConfig::new(0.3);
    let mut sgd = SgdConfig::new().with_weight_decay(Some(decay)).init();
    for _ in 0..STEPS {
        let grads = loss(&by_hand, task.support.clone()).backward();
        let grads = burn::optim::GradientsParams::from_grads(grads, &by_hand);
        by_hand = sgd.step(0.04, by_hand, grads);
    }
    let of = |net: &Mlp| Params::from_module(net).unwrap();
    assert!(relative(&of(&plain), &of(&by_hand)) <= 1e-6, "Burn keeps the decay in single precision");
}

#[test]
fn learned_rates_have_the_gradient_of_the_adapted_query_loss() {
    let (net, tasks) = (mlp(), tasks());
    for (name, inner) in loops() {
        for per in [RatesPer::Model, RatesPer::Tensor, RatesPer::Element] {
            for per_step in [false, true] {
                let config = InnerRatesConfig { per, per_step };
                let rates = config.init(&net, &inner).unwrap();
                let step = maml(&inner, Estimator::Exact).with_rates(&rates).meta_gradient(&net, &tasks, loss).unwrap();
                let at = Params::from_module(&rates).unwrap();
                let grads = step.rate_grads.unwrap();
                let found: Vec<f64> = at
                    .specs()
                    .iter()
                    .flat_map(|spec| grads.get::<1>(spec.id).unwrap().into_data().iter::<f64>().collect::<Vec<_>>())
                    .collect();
                let v = direction(&at, 1);
                let found: f64 = found.iter().zip(v.to_f64()).map(|(a, b)| a * b).sum();
                let expected = difference(&at, &v, |at| {
                    let moved: InnerRates = at.clone().into_module(rates.clone()).unwrap();
                    let maml = maml(&inner, Estimator::Exact).with_rates(&moved);
                    adapted_loss(&maml, &net, &Params::from_module(&net).unwrap(), &tasks)
                });
                let what = format!("{name}, {per:?}, per step: {per_step}");
                assert!((found - expected).abs() <= 1e-8 * expected.abs().max(1.0), "{what}: {found} and {expected}");
            }
        }
    }
}

#[test]
fn learned_rates_at_their_start_change_nothing() {
    let (net, tasks) = (mlp(), tasks());
    for (name, inner) in loops() {
        let rates = InnerRatesConfig::per_layer_per_step().init(&net, &inner).unwrap();
        let learned = maml(&inner, Estimator::binomial(2)).with_rates(&rates).meta_gradient(&net, &tasks, loss);
        let fixed = gradient(&inner, Estimator::binomial(2));
        assert!(relative(&learned.unwrap().gradient, &fixed) <= 1e-13, "{name}");
    }
}

#[test]
fn a_multi_step_loss_is_the_sum_of_its_steps() {
    let (net, tasks) = (mlp(), tasks());
    let weights = [0.3, 0.0, 0.2, 0.5];
    for (name, inner) in loops() {
        let config = MamlConfig::new(inner.clone(), Estimator::Exact).with_query_weights(Some(weights.to_vec()));
        let step = config.init().unwrap().meta_gradient(&net, &tasks, loss).unwrap();
        let parts = weights.iter().enumerate().filter(|(_, weight)| **weight > 0.0).map(|(at, weight)| {
            let shorter = inner.clone().with_steps(at + 1);
            gradient(&shorter, Estimator::Exact).scale(*weight)
        });
        let expected = parts.reduce(|sum, part| sum.add(&part)).unwrap();
        assert!(relative(&step.gradient, &expected) <= 1e-13, "{name}");
        for order in [0, STEPS] {
            let config = MamlConfig::new(inner.clone(), Estimator::binomial(order));
            let maml = config.init().unwrap();
            let binomial = maml.batch(&tasks).with_query_weights(&weights).gradient(&net, loss).unwrap();
            let error = relative(&binomial.gradient, &step.gradient);
            assert!(if order == STEPS { error <= 1e-13 } else { error > 1e-3 }, "{name}, order {order}: {error:e}");
        }
        let steps = &step.losses[0].query_steps;
        assert!(steps[1].is_nan() && steps[3] == step.losses[0].query && steps[0].is_finite(), "{steps:?}");
    }
    for progress in [0.0, 0.4, 1.0, 2.0] {
        let weights = multi_step_weights(5, progress);
        assert!((weights.iter().sum::<f64>() - 1.0).abs() < 1e-12 && weights.iter().all(|w| *w > 0.0), "{weights:?}");
    }
}

#[test]
fn implicit_is_the_derivative_through_the_minimum() {
    let (net, tasks) = (mlp(), tasks());
    let at = Params::from_module(&net).unwrap();
    let implicit =
        Estimator::Implicit { solver: burn_meta::Solver::ConjugateGradients { iterations: 200, tolerance: 1e-13 } };
    let head = Some(vec!["layers.1.*".to_string()]);
    // So many steps that the minimum is reached to rounding.
    let inner = InnerLoopConfig::new(0.1).with_steps(1000).with_proximal(4.0);
    for (name, inner) in [
        ("all", inner.clone()),
        ("weight decay", inner.clone().with_weight_decay(0.3)),
        ("ANIL", inner.clone().with_adapt(head)),
        ("momentum", inner.with_rule(Rule::momentum(0.5)).with_steps(500)),
    ] {
        let maml = maml(&inner, implicit);
        let step = maml.meta_gradient(&net, &tasks, loss).unwrap();
        let report = step.report.implicit.unwrap();
        assert!(report.residual <= 1e-12 && report.stationarity <= 1e-11, "{name}: {report:?}");
        let v = direction(&at, 2);
        let (found, expected) =
            (step.gradient.dot(&v), difference(&at, &v, |at| adapted_loss(&maml, &net, at, &tasks)));
        assert!((found - expected).abs() <= 1e-7 * expected.abs().max(1.0), "{name}: {found} and {expected}");
    }
}

#[test]
fn an_unsolved_inner_problem_shows_in_the_report() {
    let inner = base().with_proximal(4.0);
    let step = maml(&inner, Estimator::implicit(50)).meta_gradient(&mlp(), &tasks(), loss).unwrap();
    let report = step.report.implicit.unwrap();
    assert!(report.stationarity > 0.1 && report.residual <= 1e-6, "{report:?}");
}

#[test]
fn reptile_is_the_way_the_inner_loop_went() {
    let (net, tasks) = (mlp(), tasks());
    let reptile = maml(&base(), Estimator::Reptile);
    let step = reptile.meta_gradient(&net, &tasks, loss).unwrap();
    let start = Params::from_module(&net).unwrap();
    let ends =
        tasks.iter().map(|task| Params::from_module(&reptile.adapt(&net, &task.support, loss).unwrap()).unwrap());
    let mean = ends.reduce(|sum, end| sum.add(&end)).unwrap().scale(1.0 / 3.0);
    assert!(relative(&step.gradient, &start.sub(&mean)) <= 1e-14);
    assert_eq!((step.report.gradients, step.report.products), (3 * STEPS, 0));
}

#[test]
fn anil_teaches_the_body_by_way_of_both_losses() {
    let inner = base().with_adapt(Some(vec!["layers.1.*".into()]));
    let (first, exact) = (gradient(&inner, Estimator::FirstOrder), gradient(&inner, Estimator::Exact));
    let body = |params: &Params| params.get::<2>("layers.0.weight").unwrap();
    let apart: f64 = (body(&first) - body(&exact)).abs().max().into_scalar();
    assert!(apart > 1e-3, "the body's gradient has no cross terms: {apart:e}");
    let adapted = maml(&inner, Estimator::Exact).adapt(&mlp(), &tasks()[0].support, loss).unwrap();
    let weight = |net: &Mlp, layer: usize| net.layers[layer].weight.val().into_data();
    assert_eq!(weight(&adapted, 0), weight(&mlp(), 0));
    assert_ne!(weight(&adapted, 1), weight(&mlp(), 1));
}

/// Heavy ball, written anew.
#[derive(Debug)]
struct HeavyBall(f64);

impl InnerRule for HeavyBall {
    fn memory(&self) -> usize {
        1
    }

    fn step(&self, RuleInput { params, grad, memory, rate, .. }: RuleInput) -> RuleOutput {
        let velocity = memory[0].clone() * self.0 + grad;
        RuleOutput { params: params - rate * velocity.clone(), memory: vec![velocity] }
    }
}

#[test]
fn a_rule_of_ones_own_is_as_good_as_ours() {
    let ours = gradient(&base().with_rule(Rule::momentum(0.9)), Estimator::binomial(2));
    let own = maml(&base(), Estimator::binomial(2)).with_rule(HeavyBall(0.9)).unwrap();
    let own = own.meta_gradient(&mlp(), &tasks(), loss).unwrap().gradient;
    assert_eq!(own.to_f64(), ours.to_f64());
}

/// Forgets to hand its memory back.
#[derive(Debug)]
struct Forgetful;

impl InnerRule for Forgetful {
    fn memory(&self) -> usize {
        1
    }

    fn step(&self, RuleInput { params, grad, rate, .. }: RuleInput) -> RuleOutput {
        RuleOutput { params: params - rate * grad, memory: Vec::new() }
    }
}

#[test]
fn a_rule_that_returns_something_else_is_refused() {
    let own = maml(&base(), Estimator::binomial(2)).with_rule(Forgetful).unwrap();
    let error = own.meta_gradient(&mlp(), &tasks(), loss).unwrap_err().to_string();
    assert_eq!(error, "inner loop: the rule is left tensors of [25] elements, expected 1 + 1 of 25");
}

#[test]
fn the_first_meta_steps_may_be_first_order() {
    let config = MamlConfig::new(base(), Estimator::Exact).with_first_order_steps(2);
    let maml = config.init().unwrap();
    let names: Vec<String> = (0..4).map(|_| maml.meta_gradient(&mlp(), &tasks(), loss).unwrap().report.name).collect();
    assert_eq!(names, ["first-order", "first-order", "exact", "exact"]);
    let resumed = maml.at_step(1).meta_gradient(&mlp(), &tasks(), loss).unwrap();
    assert_eq!((resumed.report.name.as_str(), resumed.report.meta_step), ("first-order", 1));
}

#[test]
fn settings_that_do_not_go_together_are_refused() {
    let refused = |inner: InnerLoopConfig, estimator: Estimator, expected: &str| {
        let error = MamlConfig::new(inner, estimator).init().unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    };
    refused(base().with_rule(Rule::momentum(1.0)), Estimator::Exact, "momentum is 1, expected a number in 0..1");
    refused(base().with_rule(Rule::nesterov(0.0)), Estimator::Exact, "a positive momentum and no dampening");
    refused(base().with_weight_decay(-1.0), Estimator::Exact, "weight_decay is -1");
    refused(base().with_proximal(f64::NAN), Estimator::Exact, "proximal is NaN");
    refused(base().with_clip(Some(Clip::Norm(0.0))), Estimator::Exact, "clip is 0");
    let adam = Rule::Adam { beta_1: 0.9, beta_2: 0.999, epsilon: 0.0 };
    refused(base().with_rule(adam), Estimator::Exact, "epsilon is 0");
    refused(base().with_groups(vec![RateGroup::new(["*"], -0.1)]), Estimator::Exact, "learning rate is -0.1");
    refused(base(), Estimator::implicit(5), "proximal");
    let weighted =
        |weights: Vec<f64>| MamlConfig::new(base(), Estimator::Exact).with_query_weights(Some(weights)).init();
    assert!(matches!(weighted(vec![1.0; 3]), Err(Error::Weights { of: "query losses", .. })));
    assert!(weighted(vec![0.0; 4]).is_err() && weighted(vec![f64::NAN; 4]).is_err());
    // A pattern that matches nothing is found with the module.
    let inner = base().with_adapt(Some(vec!["tail.*".into()]));
    let error = maml(&inner, Estimator::Exact).meta_gradient(&mlp(), &tasks(), loss).unwrap_err();
    assert!(error.to_string().contains("tail.*"), "{error}");
}

#[test]
fn rates_of_another_network_are_refused() {
    let inner = base();
    let rates = InnerRatesConfig::meta_sgd().init(&mlp(), &inner).unwrap();
    let head = inner.clone().with_adapt(Some(vec!["layers.1.*".into()]));
    let error = maml(&head, Estimator::Exact).with_rates(&rates).meta_gradient(&mlp(), &tasks(), loss).unwrap_err();
    assert!(matches!(error, Error::Rates { .. }), "{error}");
    let rates = InnerRatesConfig::per_layer_per_step().init(&mlp(), &inner).unwrap();
    let longer = maml(&inner.with_steps(9), Estimator::Exact).with_rates(&rates);
    let error = longer.meta_gradient(&mlp(), &tasks(), loss).unwrap_err().to_string();
    assert_eq!(error, "learned rates: rates for 4 step(s), the inner loop has 9");
}

#[test]
fn rates_are_learned_by_an_optimizer() {
    let (net, tasks) = (mlp(), tasks());
    let inner = base();
    let mut rates = InnerRatesConfig::new().init(&net, &inner).unwrap();
    let maml = maml(&inner, Estimator::binomial(2));
    let mut optim = SgdConfig::new().init();
    let mut losses = Vec::new();
    for _ in 0..20 {
        let step = maml.with_rates(&rates).meta_gradient(&net, &tasks, loss).unwrap();
        losses.push(step.query_loss());
        rates = optim.step(1e-4, rates, step.rate_grads.unwrap());
    }
    assert!(losses.windows(2).all(|pair| pair[1] < pair[0]) && losses[19] < 0.9 * losses[0], "{losses:?}");
    let first: Vec<f64> = rates.of_step(0).into_data().iter().collect();
    assert!(first.iter().all(|rate| *rate != 0.04), "{first:?}");
}

#[test]
fn an_epsilon_inside_the_root_keeps_adam_differentiable() {
    // A constant prediction that is right: every gradient is zero.
    let net = mlp();
    let net = Params::from_module(&net).unwrap().zeros_like().into_module(net).unwrap();
    let zeros =
        |n: usize| Tensor::<2>::from_data(TensorData::zeros::<f64, _>([n, 1]), (&device(), burn::tensor::DType::F64));
    let task = Task { support: (wave([5, 2], 1), zeros(5)), query: points(8, 3) };
    for rule in [Rule::adam(), Rule::rms_prop()] {
        let step =
            maml(&base().with_rule(rule), Estimator::Exact).meta_gradient(&net, std::slice::from_ref(&task), loss);
        assert!(step.unwrap().gradient.norm().is_finite());
    }
}
