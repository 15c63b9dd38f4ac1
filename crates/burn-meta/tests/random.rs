//! Meta-gradients of a model with dropout: a function of the seed and of the meta-step, and exact at a fixed key.
#![allow(missing_docs)]

use burn::module::Module;
use burn::nn::{Dropout, DropoutConfig};
use burn::optim::SgdConfig;
use burn::tensor::{DType, Device, Tensor, TensorData};
use burn_func::{Params, cast};
use burn_meta::models::{Activation, Mlp, MlpConfig, mean_squared_error};
use burn_meta::{Estimator, InnerLoopConfig, Maml, MamlConfig, Task};

type Points = (Tensor<2>, Tensor<2>);

#[derive(Module, Debug)]
struct Dropped {
    body: Mlp,
    dropout: Dropout,
    head: Mlp,
}

fn device() -> Device {
    Device::flex().autodiff()
}

fn wave<const D: usize>(shape: [usize; D], salt: usize) -> Tensor<D> {
    let values: Vec<f64> = (0..shape.iter().product()).map(|i| ((i * 7 + salt * 13) as f64 * 0.37).sin()).collect();
    Tensor::from_data(TensorData::new(values, shape), (&device(), DType::F64))
}

fn tasks(n: usize) -> Vec<Task<Points>> {
    let points = |n: usize, salt| (wave([n, 2], salt), wave([n, 1], salt + 1));
    (0..n).map(|i| Task { support: points(5, 10 * i), query: points(8, 10 * i + 5) }).collect()
}

fn net() -> Dropped {
    let mlp = |sizes: Vec<usize>| MlpConfig::new(sizes).with_activation(Activation::Tanh).init(&device());
    let net = Dropped { body: mlp(vec![2, 8]), dropout: DropoutConfig::new(0.3).init(), head: mlp(vec![8, 1]) };
    let net = cast(&net, DType::F64);
    let at = Params::from_module(&net).unwrap().from_fn(|spec, i| ((i + spec.path.len()) as f64 * 0.7).sin());
    at.into_module(net).unwrap()
}

fn loss(net: &Dropped, (x, y): Points) -> Tensor<1> {
    mean_squared_error(net.head.forward(net.dropout.forward(net.body.forward(x).tanh())), y)
}

fn config(estimator: Estimator) -> MamlConfig {
    MamlConfig::new(InnerLoopConfig::new(0.1).with_steps(3), estimator)
}

fn gradient(maml: &Maml, net: &Dropped, tasks: &[Task<Points>]) -> Vec<f64> {
    maml.meta_gradient(net, tasks, loss).unwrap().gradient.to_f64()
}

#[test]
fn a_meta_gradient_depends_on_seed_and_step_and_not_on_threads() {
    let (net, tasks) = (net(), tasks(5));
    let run = |seed, threads| {
        let maml = config(Estimator::binomial(2)).with_seed(seed).with_threads(Some(threads)).init().unwrap();
        [(); 2].map(|()| gradient(&maml, &net, &tasks))
    };
    let [first, second] = run(1, 1);
    assert_eq!(run(1, 2), [first.clone(), second.clone()]);
    assert_ne!(first, second, "two meta-steps saw the same masks");
    assert_ne!(run(2, 1)[0], first, "two seeds gave the same masks");
}

#[test]
fn a_resumed_run_draws_what_the_first_one_would_have() {
    let (net, tasks) = (net(), tasks(2));
    let maml = config(Estimator::Exact).init().unwrap();
    let whole: Vec<_> = (0..3).map(|_| gradient(&maml, &net, &tasks)).collect();
    assert_eq!(maml.step(), 3);
    let resumed = config(Estimator::Exact).init().unwrap().at_step(2);
    assert_eq!(gradient(&resumed, &net, &tasks), whole[2]);
    assert_eq!((resumed.step(), maml.step()), (3, 3));
}

#[test]
fn tasks_and_inner_steps_see_masks_of_their_own() {
    let net = net();
    let twice = vec![tasks(1).remove(0); 2];
    let step = config(Estimator::FirstOrder).init().unwrap().meta_gradient(&net, &twice, loss).unwrap();
    assert_ne!(step.losses[0].support[0], step.losses[1].support[0]);
    // At a learning rate that leaves the parameters where they are, only the masks tell the steps apart.
    let still = MamlConfig::new(InnerLoopConfig::new(1e-300).with_steps(3), Estimator::FirstOrder).init().unwrap();
    let losses = still.meta_gradient(&net, &twice[..1], loss).unwrap().losses.remove(0).support;
    assert!(losses[0] != losses[1] && losses[1] != losses[2] && losses[0] != losses[2], "{losses:?}");
}

#[test]
fn exact_is_the_derivative_of_the_whole_adaptation_at_a_fixed_key() {
    let (net, tasks) = (net(), tasks(2));
    let exact = config(Estimator::Exact).init().unwrap().at_step(4).meta_gradient(&net, &tasks, loss).unwrap();
    let at = Params::from_module(&net).unwrap();
    let objective = |at: Params| {
        let moved = at.into_module(net.clone()).unwrap();
        let maml = config(Estimator::FirstOrder).init().unwrap().at_step(4);
        maml.meta_gradient(&moved, &tasks, loss).unwrap().query_loss()
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
fn two_evaluations_see_the_same_masks() {
    let (net, tasks) = (net(), tasks(3));
    let maml = config(Estimator::FirstOrder).init().unwrap();
    let first = maml.evaluate_all(&net, &tasks, loss).unwrap();
    maml.meta_gradient(&net, &tasks, loss).unwrap();
    let second = maml.evaluate_all(&net, &tasks, loss).unwrap();
    assert!(first.iter().zip(&second).all(|(a, b)| a.losses == b.losses));
}

#[test]
fn a_model_with_dropout_meta_trains() {
    let (mut net, tasks) = (net(), tasks(4));
    let maml = config(Estimator::binomial(1)).init().unwrap();
    let judge = |net: &Dropped| {
        let done = maml.evaluate_all(net, &tasks, loss).unwrap();
        done.iter().map(|task| task.losses.query).sum::<f64>()
    };
    let before = judge(&net);
    let mut optim = SgdConfig::new().init();
    for _ in 0..40 {
        let step = maml.meta_gradient(&net, &tasks, loss).unwrap();
        net = optim.step(0.05, net, step.grads);
    }
    let after = judge(&net);
    assert!(after < 0.9 * before, "{before} to {after}");
}
