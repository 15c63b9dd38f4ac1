//! The meta-gradient of real modules, against differences of the whole adaptation; and what goes wrong.
#![allow(missing_docs)]

use burn::module::Module;
use burn::optim::{GradientsParams, SgdConfig};
use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use burn_func::{Params, cast};
use burn_meta::models::{Activation, Cnn4, Cnn4Config, Mlp, MlpConfig, cross_entropy, mean_squared_error};
use burn_meta::{Error, Estimator, InnerSgdConfig, Maml, MamlConfig, Place, Task};

type Points = (Tensor<2>, Tensor<2>);
type Images = (Tensor<4>, Tensor<1, Int>);

fn device() -> Device {
    Device::flex().autodiff()
}

fn wave<const D: usize>(shape: [usize; D], salt: usize) -> Tensor<D> {
    let values: Vec<f64> = (0..shape.iter().product()).map(|i| ((i * 7 + salt * 13) as f64 * 0.37).sin()).collect();
    Tensor::from_data(TensorData::new(values, shape), (&device(), DType::F64))
}

fn points(n: usize, salt: usize) -> Points {
    (wave([n, 2], salt), wave([n, 1], salt + 1))
}

fn tasks() -> Vec<Task<Points>> {
    (0..3).map(|i| Task { support: points(5, 10 * i), query: points(8, 10 * i + 5) }).collect()
}

/// A smooth network at a fixed point.
fn mlp() -> Mlp {
    let net = MlpConfig::new(vec![2, 6, 1]).with_activation(Activation::Tanh).init(&device());
    let net = cast(&net, DType::F64);
    let at = Params::from_module(&net).unwrap().from_fn(|spec, i| ((i + spec.path.len()) as f64 * 0.7).sin());
    at.into_module(net).unwrap()
}

fn loss(net: &Mlp, (x, y): Points) -> Tensor<1> {
    mean_squared_error(net.forward(x), y)
}

fn maml(estimator: Estimator) -> Maml {
    MamlConfig::new(InnerSgdConfig::new(0.1).with_steps(3), estimator).init().unwrap()
}

fn relative(found: &Params, expected: &Params) -> f64 {
    found.sub(expected).norm() / expected.norm()
}

#[test]
fn exact_is_the_derivative_of_the_adapted_query_loss() {
    let (net, tasks) = (mlp(), tasks());
    let exact = maml(Estimator::Exact).meta_gradient(&net, &tasks, loss).unwrap();
    let at = Params::from_module(&net).unwrap();
    let objective = |at: Params| {
        let moved = at.into_module(net.clone()).unwrap();
        let query = |task| maml(Estimator::FirstOrder).evaluate(&moved, task, loss).unwrap().losses.query;
        tasks.iter().map(query).sum::<f64>() / tasks.len() as f64
    };
    for salt in 0..4 {
        let v = at.from_fn(|spec, i| ((i * 3 + spec.path.len() + salt) as f64).cos());
        let step = 1e-5;
        let difference = (objective(at.axpy(step, &v)) - objective(at.axpy(-step, &v))) / (2.0 * step);
        let found = exact.gradient.dot(&v);
        // Truncation and rounding of the difference are about 1e-10 each.
        assert!((found - difference).abs() <= 1e-8 * difference.abs().max(1.0), "{found} and {difference}");
    }
}

#[test]
fn orders_lead_from_first_order_to_exact() {
    let (net, tasks) = (mlp(), tasks());
    let gradient = |estimator| maml(estimator).meta_gradient(&net, &tasks, loss).unwrap().gradient;
    let exact = gradient(Estimator::Exact);
    assert_eq!(gradient(Estimator::binomial(0)).to_f64(), gradient(Estimator::FirstOrder).to_f64());
    assert!(relative(&gradient(Estimator::binomial(3)), &exact) <= 1e-14);
    assert!(relative(&gradient(Estimator::truncated(3)), &exact) <= 1e-14);
    let errors: Vec<f64> = (0..3).map(|order| relative(&gradient(Estimator::binomial(order)), &exact)).collect();
    assert!(errors[0] > 1e-2, "the first-order error is too small to tell estimators apart: {errors:?}");
    assert!(errors.windows(2).all(|pair| pair[1] < pair[0]), "{errors:?}");
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
    let mean = net.blocks[0].norm.running_mean.value_sync().to_data();
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
    assert_ne!(net.blocks[0].norm.running_mean.value_sync().to_data(), mean);
}

#[test]
fn settings_that_make_no_sense_are_refused() {
    let init = |rate, steps, estimator| MamlConfig::new(InnerSgdConfig::new(rate).with_steps(steps), estimator).init();
    assert!(matches!(init(0.1, 0, Estimator::Exact), Err(Error::NoSteps)));
    assert!(matches!(init(0.1, 5, Estimator::binomial(9)), Err(Error::Order { order: 9, steps: 5, .. })));
    assert!(matches!(init(0.1, 5, Estimator::truncated(6)), Err(Error::Order { .. })));
    for rate in [0.0, -0.1, f64::NAN, f64::INFINITY] {
        assert!(matches!(init(rate, 5, Estimator::Exact), Err(Error::LearningRate { .. })), "{rate}");
    }
    let idle = MamlConfig::new(InnerSgdConfig::new(0.1), Estimator::Exact).with_threads(Some(0)).init();
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
fn the_numbers_do_not_depend_on_the_number_of_threads() {
    let net = mlp();
    let batch: Vec<Task<Points>> = (0..7).map(|i| Task { support: points(5, i), query: points(8, i + 9) }).collect();
    let with_threads = |threads| {
        let config = MamlConfig::new(InnerSgdConfig::new(0.1).with_steps(3), Estimator::binomial(2));
        let maml = config.with_threads(Some(threads)).init().unwrap();
        let step = maml.meta_gradient(&net, &batch, loss).unwrap();
        (step.gradient.to_f64(), step.losses)
    };
    let alone = with_threads(1);
    for threads in [2, 3, 16] {
        assert_eq!(with_threads(threads), alone, "{threads} threads");
    }
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
