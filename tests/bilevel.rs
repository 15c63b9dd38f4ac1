//! Gradients of hyper-parameters: parameters that the inner loop does not adapt and the inner objective reads, where the outer
//! objective is another one.

use burn::module::{Module, Param};
use burn::nn::{Linear, LinearConfig};
use burn::tensor::activation::{sigmoid, tanh};
use burn::tensor::{DType, Device, Tensor, TensorData};
use burn_func::{Filter, Params, cast};
use burn_meta::{Estimator, InnerLoopConfig, Maml, MamlConfig, Rule, Task};

const SAMPLES: usize = 6;
const STEPS: usize = 5;
const HYPER: [&str; 2] = ["samples", "log_l2"];

type Batch = (Tensor<2>, Tensor<2>);

/// A regression with a weight for each sample and a penalty.
#[derive(Module, Debug)]
struct Weighted {
    layer: Linear,
    head: Linear,
    samples: Param<Tensor<1>>,
    log_l2: Param<Tensor<1>>,
}

fn device() -> Device {
    Device::flex().autodiff()
}

/// Values between -1 and 1.
fn wave<const D: usize>(shape: [usize; D], phase: f64) -> Tensor<D> {
    let n = shape.iter().product();
    let values: Vec<f64> = (0..n).map(|at| (1.7 * at as f64 + phase).sin()).collect();
    Tensor::from_data(TensorData::new(values, shape), (&device(), DType::F64))
}

fn net() -> Weighted {
    let device = device();
    let net = Weighted {
        layer: LinearConfig::new(2, 3).init(&device),
        head: LinearConfig::new(3, 1).init(&device),
        samples: Param::from_tensor(Tensor::zeros([SAMPLES], &device)),
        log_l2: Param::from_tensor(Tensor::zeros([1], &device)),
    };
    let net = cast(&net, DType::F64);
    let at = Params::from_module(&net).unwrap();
    at.from_fn(|_, at| 0.8 * (2.3 * at as f64 + 0.4).sin()).into_module(net).unwrap()
}

fn tasks() -> [Task<Batch>; 1] {
    let batch = |n: usize, phase: f64| (wave([n, 2], phase), wave([n, 1], phase + 0.5));
    [Task { support: batch(SAMPLES, 0.1), query: batch(4, 2.0) }]
}

/// The inner objective.
fn inner(net: &Weighted, (x, y): Batch) -> Tensor<1> {
    let errors = (net.head.forward(tanh(net.layer.forward(x))) - y).powi_scalar(2).squeeze_dim::<1>(1);
    let penalty = net.layer.weight.val().powi_scalar(2).sum() * net.log_l2.val().exp();
    (sigmoid(net.samples.val()) * errors).mean() + penalty
}

/// The outer one, which reads no hyper-parameter.
fn outer(net: &Weighted, (x, y): Batch) -> Tensor<1> {
    (net.head.forward(tanh(net.layer.forward(x))) - y).abs().mean()
}

fn maml(estimator: Estimator, rule: Rule) -> Maml {
    let config = InnerLoopConfig::new(0.1).with_steps(STEPS).with_rule(rule);
    let adapt = Some(vec!["layer.*".to_owned(), "head.*".to_owned()]);
    MamlConfig::new(config.with_adapt(adapt), estimator).init().unwrap()
}

fn gradient(net: &Weighted, estimator: Estimator, rule: Rule) -> Params {
    maml(estimator, rule).batch(&tasks()).gradient_of(net, inner, outer).unwrap().gradient
}

fn hyper(gradient: &Params) -> Params {
    gradient.only(&Filter::paths(HYPER)).unwrap()
}

#[test]
fn exact_hyper_gradients_are_those_of_differences() {
    let net = net();
    let at = Params::from_module(&net).unwrap();
    for rule in [Rule::sgd(), Rule::momentum(0.9), Rule::adam()] {
        let maml = maml(Estimator::Exact, rule);
        let value = |at: Params| {
            let moved = at.into_module(net.clone()).unwrap();
            maml.batch(&tasks()).evaluate_of(&moved, inner, outer).unwrap()[0].losses.query
        };
        let found = gradient(&net, Estimator::Exact, rule);
        // In every sample's weight, and in the strength of the penalty.
        let first = at.len() - SAMPLES - 1;
        assert_eq!(hyper(&found).len(), SAMPLES + 1);
        for element in first..at.len() {
            let v = at.basis(element);
            let h = 1e-5;
            let difference = (value(at.axpy(h, &v)) - value(at.axpy(-h, &v))) / (2.0 * h);
            let found = found.dot(&v);
            // Differences are good to h^2 and to 1e-16 / h.
            assert!((found - difference).abs() <= 1e-8, "{rule:?}, {element}: {found} and {difference}");
            assert!(difference.abs() > 1e-5, "{rule:?}, {element}: a gradient of {difference} tests nothing");
        }
    }
}

#[test]
fn without_second_derivatives_there_is_no_hyper_gradient() {
    let net = net();
    let exact = hyper(&gradient(&net, Estimator::Exact, Rule::sgd()));
    for estimator in [Estimator::FirstOrder, Estimator::Reptile, Estimator::truncated(0), Estimator::binomial(0)] {
        assert_eq!(hyper(&gradient(&net, estimator, Rule::sgd())).norm(), 0.0, "{estimator:?}");
    }
    for estimator in [Estimator::truncated(STEPS), Estimator::binomial(STEPS)] {
        let full = hyper(&gradient(&net, estimator, Rule::sgd()));
        assert!(full.sub(&exact).norm() <= 1e-12 * exact.norm(), "{estimator:?}");
    }
    // What each of them keeps of it points the right way.
    for estimator in [Estimator::truncated(2), Estimator::binomial(1)] {
        let part = hyper(&gradient(&net, estimator, Rule::sgd()));
        let cosine = part.dot(&exact) / (part.norm() * exact.norm());
        assert!(cosine > 0.8 && part.sub(&exact).norm() > 1e-3 * exact.norm(), "{estimator:?}: cosine {cosine}");
    }
}
