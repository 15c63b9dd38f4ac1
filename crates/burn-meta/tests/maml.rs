//! The meta-gradient of real modules, against differences of the whole adaptation; and what goes wrong.
#![allow(missing_docs)]

mod common;

use burn::module::Module;
use burn::optim::{GradientsParams, SgdConfig};
use burn::tensor::{DType, Int, Tensor, TensorData};
use burn_func::{LanczosConfig, Params, linearize};
use burn_meta::models::{Cnn4, Cnn4Config, Mlp, Norm, cross_entropy};
use burn_meta::{Error, Estimator, InnerLoopConfig, Maml, MamlConfig, Place, Task};
use common::*;

type Images = (Tensor<4>, Tensor<1, Int>);

fn maml(estimator: Estimator) -> Maml {
    MamlConfig::new(InnerLoopConfig::new(0.1).with_steps(3), estimator).init().unwrap()
}

#[test]
fn orders_about_a_fit_lead_to_exact_faster() {
    let (net, tasks) = (mlp(), tasks());
    let gradient = |estimator| maml(estimator).meta_gradient(&net, &tasks, loss).unwrap().gradient;
    let exact = gradient(Estimator::Exact);
    let fitted = |order| maml(Estimator::Fitted { order, probe: 3 }).meta_gradient(&net, &tasks, loss).unwrap();
    let mut last = f64::INFINITY;
    for order in 0..=3 {
        let step = fitted(order);
        let error = relative(&step.gradient, &exact);
        // At order 0 for each task the probe; at order 1 three more, at order 2 two more, at order 3 one more.
        assert_eq!(step.report.products, tasks.len() * (3 + [0, 3, 5, 6][order]));
        assert!(error < 0.5 * last && (order < 3 || error <= 1e-12), "order {order}: {error:e}");
        if (1..3).contains(&order) {
            assert!(error < 0.5 * relative(&gradient(Estimator::binomial(order)), &exact), "order {order}: {error:e}");
            assert!(step.report.neglected.unwrap() >= error);
        }
        last = error;
    }
}

#[test]
fn first_order_is_burns_gradient_at_the_adapted_module() {
    let (net, task) = (mlp(), tasks().remove(0));
    let maml = maml(Estimator::FirstOrder);
    let step = maml.meta_gradient(&net, std::slice::from_ref(&task), loss).unwrap();
    let adapted = maml.adapt(&net, &task.support, loss).unwrap();
    let grads = GradientsParams::from_grads(loss(&adapted, task.query.clone()).backward(), &adapted);
    let weight = &net.layers[0].weight;
    assert_eq!(step.grads.get::<2>(weight.id).unwrap().to_data(), grads.get::<2>(weight.id).unwrap().to_data());
}

#[test]
fn adaptation_is_burns_own_gradient_descent() {
    let (net, task) = (mlp(), tasks().remove(0));
    let adapted = maml(Estimator::FirstOrder).adapt(&net, &task.support, loss).unwrap();
    let mut by_hand = net.clone();
    let mut sgd = SgdConfig::new().init();
    for _ in 0..3 {
        let grads = GradientsParams::from_grads(loss(&by_hand, task.support.clone()).backward(), &by_hand);
        by_hand = sgd.step(0.1, by_hand, grads);
    }
    let (found, expected) = (Params::from_module(&adapted).unwrap(), Params::from_module(&by_hand).unwrap());
    assert!(relative(&found, &expected) <= 1e-15);
}

#[test]
fn a_meta_gradient_is_the_mean_over_tasks_and_takes_an_optimizer_down() {
    let (net, tasks) = (mlp(), tasks());
    let maml = maml(Estimator::binomial(2));
    let together = maml.meta_gradient(&net, &tasks, loss).unwrap();
    let one = |task: &Task<Points>| maml.meta_gradient(&net, std::slice::from_ref(task), loss).unwrap().gradient;
    let mean = one(&tasks[0]).add(&one(&tasks[1])).add(&one(&tasks[2])).scale(1.0 / 3.0);
    assert!(relative(&together.gradient, &mean) <= 1e-15);
    assert_eq!((together.report.gradients, together.report.products), (3 * 4, 3 * 4));

    let before = together.query_loss();
    let stepped = SgdConfig::new().init().step(0.05, net, together.grads);
    let after = maml.meta_gradient(&stepped, &tasks, loss).unwrap().query_loss();
    assert!(after < before, "{before} to {after}");
}

fn running_mean(net: &Cnn4) -> TensorData {
    let norm = net.blocks[0].norm.as_ref().and_then(Norm::batch_norm).unwrap();
    norm.running_mean.value_sync().to_data()
}

fn cnn() -> Cnn4 {
    Cnn4Config::new(1, 16, 3).with_hidden(4).init(&device())
}

fn image_task(support: usize, query: usize) -> Task<Images> {
    let images = |n: usize, salt| {
        let labels: Vec<i64> = (0..n as i64).map(|i| i % 3).collect();
        let labels = Tensor::from_data(TensorData::new(labels, [n]), &device());
        (wave([n, 1, 16, 16], salt).cast(DType::F32), labels)
    };
    Task { support: images(support, 1), query: images(query, 2) }
}

#[test]
fn outputs_and_modes_are_those_of_the_closure() {
    let net = cnn();
    let mean = running_mean(&net);
    let task = image_task(3, 6);
    let maml = maml(Estimator::binomial(2));
    let with_logits = |net: &Cnn4, (x, y): Images| {
        let logits = net.forward(x);
        (cross_entropy(logits.clone(), y), logits)
    };
    let step = maml.meta_gradient(&net, std::slice::from_ref(&task), with_logits).unwrap();
    let evaluation = maml.evaluate(&net, &task, with_logits).unwrap();
    assert_eq!(step.outputs[0].to_data(), evaluation.outputs.to_data());
    assert_eq!(step.losses[0], evaluation.losses);
    // The same adapted parameters in training mode, on the autodiff device, see batch statistics too.
    let adapted = maml.adapt(&net, &task.support, with_logits).unwrap();
    assert_eq!(adapted.forward(task.query.0).inner().to_data(), evaluation.outputs.to_data());
    // `adapted` shares the running statistics with `net`, and its forward pass above has updated them; the traces did not.
    assert_ne!(running_mean(&net), mean);
}

#[test]
fn settings_that_make_no_sense_are_refused() {
    let init = |rate, steps, estimator| MamlConfig::new(InnerLoopConfig::new(rate).with_steps(steps), estimator).init();
    assert!(matches!(init(0.1, 0, Estimator::Exact), Err(Error::NoSteps)));
    assert!(matches!(init(0.1, 5, Estimator::binomial(9)), Err(Error::Order { order: 9, steps: 5, .. })));
    assert!(matches!(init(0.1, 5, Estimator::truncated(6)), Err(Error::Order { .. })));
    for rate in [0.0, -0.1, f64::NAN, f64::INFINITY] {
        assert!(matches!(init(rate, 5, Estimator::Exact), Err(Error::LearningRate { .. })), "{rate}");
    }
    let idle = MamlConfig::new(InnerLoopConfig::new(0.1), Estimator::Exact).with_threads(Some(0)).init();
    assert!(matches!(idle, Err(Error::NoThreads)));
    let error = init(0.1, 5, Estimator::binomial(9)).unwrap_err().to_string();
    assert_eq!(error, "order 9 with 5 inner step(s): the order of binomial is at most the number of inner steps");
}

#[test]
fn batches_and_models_that_cannot_be_used_are_refused() {
    let maml = maml(Estimator::binomial(2));
    assert!(matches!(maml.meta_gradient(&mlp(), &[], loss), Err(Error::EmptyMetaBatch)));
    let plain = mlp().valid();
    let error = maml.meta_gradient(&plain, &tasks(), loss).unwrap_err();
    assert!(matches!(error, Error::Func(burn_func::Error::NotAutodiff { .. })), "{error}");
}

#[test]
fn a_loss_that_is_not_finite_names_task_and_place() {
    let net = mlp();
    let poisoned = |(x, y): Points| (x, y.mul_scalar(f64::NAN));
    let mut batch = tasks();
    batch[1].query = poisoned(batch[1].query.clone());
    let error = maml(Estimator::binomial(2)).meta_gradient(&net, &batch, loss).unwrap_err();
    assert!(matches!(error, Error::NonFinite { task: 1, place: Place::Query, .. }), "{error}");

    let mut batch = tasks();
    batch[2].support = poisoned(batch[2].support.clone());
    let error = maml(Estimator::FirstOrder).meta_gradient(&net, &batch, loss).unwrap_err();
    assert!(matches!(error, Error::NonFinite { task: 2, place: Place::InnerStep(0), .. }), "{error}");
}

#[test]
fn a_hidden_detach_is_reported() {
    let detached = |net: &Mlp, (x, y): Points| {
        let penalty = net.layers[0].weight.val().powf_scalar(2.0).mean().detach();
        loss(net, (x, y)) + penalty
    };
    let error = maml(Estimator::binomial(2)).meta_gradient(&mlp(), &tasks(), detached).unwrap_err();
    assert!(matches!(error, Error::Func(burn_func::Error::GradientMismatch { .. })), "{error}");
}

#[test]
fn of_several_errors_the_first_task_is_named() {
    let mut batch: Vec<Task<Points>> =
        (0..9).map(|i| Task { support: points(5, i), query: points(8, i + 9) }).collect();
    for index in [3, 4, 8] {
        batch[index].query.1 = batch[index].query.1.clone().mul_scalar(f64::INFINITY);
    }
    let error = maml(Estimator::Exact).meta_gradient(&mlp(), &batch, loss).unwrap_err();
    assert!(matches!(error, Error::NonFinite { task: 3, .. }), "{error}");
}

#[test]
fn tasks_of_several_shapes_share_a_meta_batch() {
    let net = mlp();
    let batch = vec![
        Task { support: points(5, 0), query: points(8, 1) },
        Task { support: points(3, 2), query: points(8, 3) },
        Task { support: points(5, 4), query: points(2, 5) },
    ];
    let step = maml(Estimator::binomial(1)).meta_gradient(&net, &batch, loss).unwrap();
    assert_eq!(step.losses.len(), 3);
}

#[test]
fn curvature_is_that_of_the_steps_and_its_bounds_hold() {
    let (net, tasks) = (mlp(), tasks());
    let inner = InnerLoopConfig::new(0.02).with_steps(3);
    let exact = MamlConfig::new(inner.clone(), Estimator::Exact).init().unwrap();
    let found = exact.batch(&tasks).curvature(&net, loss, &LanczosConfig::new().with_tolerance(1e-8)).unwrap();
    for (task, found) in tasks.iter().zip(&found) {
        // The dense Hessian of each step.
        let mut ends = (f64::INFINITY, f64::NEG_INFINITY);
        let mut at = net.clone();
        for _ in 0..3 {
            let spectrum = linearize(&at, &task.support, loss).unwrap().eigenvalues(&LanczosConfig::new()).unwrap();
            ends = (ends.0.min(spectrum.smallest.value), ends.1.max(spectrum.largest.value));
            let one = MamlConfig::new(inner.clone().with_steps(1), Estimator::Exact).init().unwrap();
            at = one.adapt(&at, &task.support, loss).unwrap();
        }
        assert!((found.smallest - ends.0).abs() < 1e-3 * found.norm(), "{found:?} {ends:?}");
        assert!((found.largest - ends.1).abs() < 1e-3 * found.norm(), "{found:?} {ends:?}");
        let bounds = found.bounds();
        let gradient = |estimator| {
            let maml = MamlConfig::new(inner.clone(), estimator).init().unwrap();
            maml.meta_gradient(&net, std::slice::from_ref(task), loss).unwrap().gradient
        };
        let (exact, query) = (gradient(Estimator::Exact), gradient(Estimator::FirstOrder).norm());
        for order in 0..3 {
            let error = |estimator| gradient(estimator).sub(&exact).norm() / query;
            let (binomial, truncated) = (error(Estimator::binomial(order)), error(Estimator::truncated(order)));
            // The norm is from below, by less than the tolerance.
            assert!(binomial <= bounds.binomial(order) * 1.001, "order {order}: {binomial} {bounds:?}");
            assert!(truncated <= bounds.truncated(order) * 1.001, "order {order}: {truncated} {bounds:?}");
        }
    }
    // In the head alone the curvature is less.
    let head = inner.with_adapt(Some(vec!["layers.1.*".into()]));
    let head = MamlConfig::new(head, Estimator::Exact).init().unwrap();
    let part = head.batch(&tasks).curvature(&net, loss, &LanczosConfig::new()).unwrap();
    assert!(part.iter().zip(&found).all(|(part, all)| part.norm() < all.norm() && part.smallest > -1e-6));
}
