//! What a trace promises: the model untouched, constants, shared and frozen parameters, errors that say what to do.
#![allow(missing_docs)]

mod common;

use burn::module::{Module, Param};
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{DType, IndexingUpdateOp, Int, Tensor};
use burn_func::{Error, Params, ProgramCache, Transform, cast, finite, linearize, stop_gradient, trace, trace_with};
use common::*;

fn mlp_batch() -> (Tensor<2>, Tensor<2>) {
    (data([5, 3], 1), data([5, 2], 2))
}

fn loss(model: &Mlp, (x, y): (Tensor<2>, Tensor<2>)) -> Tensor<1> {
    mse(model.forward(x, Act::Tanh), y)
}

#[test]
fn running_statistics_stay_as_they_were() {
    let model = Cnn::new();
    let batch = (data([4, 2, 9, 8], 1), labels(4, 4));
    let _ = model.loss(batch.clone()); // statistics that differ from the initial ones
    let mean = model.norm1.running_mean.value_sync().to_data();
    let clone = model.clone(); // shares its running statistics with the model
    let traced = trace(&clone, &batch, |model, batch| model.loss(batch)).unwrap();
    traced.linearize(&Params::from_module(&model).unwrap(), &batch).unwrap();
    assert_eq!(model.norm1.running_mean.value_sync().to_data(), mean);
    assert!(model.norm1.running_mean.value_sync().device() == device(), "statistics moved to another device");
    assert!(model.norm1.training.is_enabled());
}

#[test]
fn training_flags_choose_the_mode() {
    let model = Cnn::new();
    let frozen_mode = model.clone().freeze().set_require_grad(true);
    let batch = (data([4, 2, 9, 8], 1), labels(4, 4));
    let at = Params::from_module(&model).unwrap();
    let value = |model: &Cnn| {
        let traced = trace(model, &batch, |model, batch| model.loss(batch)).unwrap();
        finite(&traced.value(&at, &batch).unwrap().0).unwrap()
    };
    let eager = |model: &Cnn| finite(&model.loss(batch.clone()).detach()).unwrap();
    assert_eq!(value(&model), eager(&model));
    assert_eq!(value(&frozen_mode), eager(&frozen_mode));
    assert_ne!(value(&model), value(&frozen_mode));
}

#[test]
fn frozen_parameters_are_constants() {
    let mut model = Mlp::new(3, 4, 2);
    model.b = model.b.no_grad();
    let batch = mlp_batch();
    let point = linearize(&model, &batch, loss).unwrap();
    let paths: Vec<&str> = point.grad().specs().iter().map(|spec| spec.path.as_str()).collect();
    assert_eq!(paths, ["a.weight", "a.bias", "c.weight", "c.bias"]);
    let product = point.hvp(&waves(point.grad(), 1.0, 3)).unwrap();
    assert!(product.norm() > 0.0);
}

#[test]
fn a_parameter_the_loss_never_touches_gets_zeros() {
    let model = Mlp::new(3, 4, 2);
    let point = linearize(&model, &data([5, 3], 1), |model, x| model.a.forward(x).powf_scalar(2.0).mean()).unwrap();
    assert_eq!(point.grad().get::<2>("c.weight").unwrap().abs().sum().into_scalar::<f64>(), 0.0);
    let product = point.hvp(&waves(point.grad(), 1.0, 3)).unwrap();
    assert_eq!(product.get::<2>("c.weight").unwrap().abs().sum().into_scalar::<f64>(), 0.0);
    assert!(product.get::<2>("a.weight").unwrap().abs().sum().into_scalar::<f64>() > 0.0);
}

#[derive(Module, Debug)]
struct Tied {
    encode: Param<Tensor<2>>,
    decode: Param<Tensor<2>>,
}

#[test]
fn a_shared_parameter_is_counted_once() {
    let weight = Param::from_tensor(data([3, 3], 5));
    let model = Tied { encode: weight.clone(), decode: weight };
    let x = data([4, 3], 1);
    let f = |model: &Tied, x: Tensor<2>| {
        x.clone().matmul(model.encode.val()).matmul(model.decode.val()).sub(x).powf_scalar(2.0).mean()
    };
    let point = linearize(&model, &x, f).unwrap();
    assert_eq!(point.grad().specs().len(), 1);
    let eager = f(&model, x.clone()).backward();
    let expected = model.encode.val().grad(&eager).unwrap().to_data();
    assert_eq!(point.grad().get::<2>("encode").unwrap().to_data(), expected);
}

#[test]
fn auxiliary_outputs_come_back() {
    let model = Mlp::new(3, 4, 2);
    let batch = mlp_batch();
    let traced = trace(&model, &batch, |model, (x, y)| {
        let prediction = model.forward(x, Act::Tanh);
        let best = prediction.clone().argmax(1);
        (mse(prediction.clone(), y), (prediction, Some(best)))
    });
    let traced = traced.unwrap();
    let at = Params::from_module(&model).unwrap();
    let (_, (prediction, best)) = traced.value(&at, &batch).unwrap();
    let eager = model.forward(batch.0.clone(), Act::Tanh);
    assert_eq!(prediction.to_data(), eager.to_data());
    assert_eq!(best.unwrap().to_data(), eager.argmax(1).to_data());
    let (_, _, (prediction, _)) = traced.value_and_grad(&at, &batch).unwrap();
    assert_eq!(prediction.dims(), [5, 2]);
}

#[test]
fn the_same_graph_is_compiled_once() {
    let cache = ProgramCache::new();
    let model = Mlp::new(3, 4, 2);
    let batch = mlp_batch();
    for _ in 0..3 {
        trace_with(&cache, &model, &batch, loss).unwrap();
    }
    assert_eq!((cache.len(), cache.hits()), (1, 2));
    trace_with(&cache, &model, &(data([6, 3], 1), data([6, 2], 2)), loss).unwrap();
    assert_eq!((cache.len(), cache.hits()), (2, 2));
}

#[test]
fn every_recorded_operation_stands_in_a_row_of_its_name() {
    let batch = (data([4, 2, 9, 8], 1), labels(4, 4));
    let traced = trace(&Cnn::new(), &batch, |model: &Cnn, batch| model.loss(batch)).unwrap();
    for op in &traced.graph().ops {
        let (rule, name) = (burn_func::rules::rule(op), burn_func::graph::op_name(op));
        assert!(rule.is_some_and(|rule| name.starts_with(rule.name)), "{name}: {rule:?}");
    }
}

#[test]
fn a_convolution_costs_what_its_sums_say() {
    let batch = (data([4, 2, 9, 8], 1), labels(4, 4));
    let traced = trace(&Cnn::new(), &batch, |model: &Cnn, batch| model.loss(batch)).unwrap();
    let first = traced.graph().ops.iter().find(|op| burn_func::graph::op_name(op) == "Module::Conv2d").unwrap();
    // 4 images, 3 filters, 9x8 places; each a sum over 2 channels and 3x3 weights.
    assert_eq!(burn_func::rules::cost(first).flops, 2 * (4 * 3 * 9 * 8) * (2 * 3 * 3));
    let costs = traced.costs().unwrap();
    let (gradient, product) = (costs.gradient.cost.flops, costs.hvp.cost.flops);
    assert!(product > gradient && product < 3 * gradient);
}

#[test]
fn a_layer_may_be_used_twice() {
    let model = Mlp::new(3, 4, 2);
    let batch = mlp_batch();
    let twice =
        |model: &Mlp, (x, y): (Tensor<2>, Tensor<2>)| loss(model, (x.clone() * 0.5, y.clone())) + loss(model, (x, y));
    let point = linearize(&model, &batch, twice).unwrap();
    let eager = twice(&model, batch).backward();
    let expected = model.a.weight.val().grad(&eager).unwrap().to_data();
    assert_eq!(point.grad().get::<2>("a.weight").unwrap().to_data(), expected);
}

#[test]
fn a_layer_with_running_statistics_used_twice_is_explained() {
    let batch = (data([4, 2, 9, 8], 1), labels(4, 4));
    let twice =
        |model: &Cnn, (x, y): (Tensor<4>, Tensor<1, Int>)| model.loss((x.clone(), y.clone())) + model.loss((x, y));
    match linearize(&Cnn::new(), &batch, twice).unwrap_err() {
        Error::Closure { message } => assert!(message.contains("running statistics"), "{message}"),
        other => panic!("{other}"),
    }
}

#[test]
fn many_threads_share_one_linearization() {
    let batch = (data([4, 2, 9, 8], 1), labels(4, 4));
    let model = Cnn::new();
    let point = linearize(&model, &batch, |model, batch| model.loss(batch)).unwrap();
    let v = waves(point.grad(), 1.0, 7);
    let alone = point.hvp(&v).unwrap().to_f64();
    let products: Vec<Vec<f64>> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| point.hvp(&v).unwrap().to_f64())).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(products.iter().all(|product| *product == alone));
}

#[test]
fn detach_is_found_and_stop_gradient_is_not() {
    let model = Mlp::new(3, 4, 2);
    let batch = data([5, 3], 1);
    let f = |stop: fn(Tensor<2>) -> Tensor<2>| {
        move |model: &Mlp, x: Tensor<2>| {
            let target = stop(model.forward(x.clone(), Act::Relu));
            mse(model.forward(x, Act::Tanh), target)
        }
    };
    let error = linearize(&model, &batch, f(|y| y.detach())).unwrap_err();
    assert!(matches!(error, Error::GradientMismatch { .. }), "{error}");
    assert!(error.to_string().contains("stop_gradient"));

    let point = linearize(&model, &batch, f(stop_gradient)).unwrap();
    let eager = f(|y| y.detach())(&model, batch.clone()).backward();
    let expected = model.c.weight.val().grad(&eager).unwrap().to_data();
    assert_eq!(point.grad().get::<2>("c.weight").unwrap().to_data(), expected);
    // The product must treat the target as constant too: the difference of gradients at a fixed target says so.
    let target = model.forward(batch.clone(), Act::Relu);
    let fixed = linearize(&model, &(batch, target), loss).unwrap();
    let v = waves(point.grad(), 1.0, 3);
    assert!(relative(&point.hvp(&v).unwrap(), &fixed.hvp(&v).unwrap()) <= 1e-13);
}

#[test]
fn a_detach_in_single_precision_is_found_too() {
    let model = cast(&Cnn::new(), DType::F32);
    let batch = (data([4, 2, 9, 8], 1).cast(DType::F32), labels(4, 4));
    assert!(linearize(&model, &batch, |model, batch| model.loss(batch)).is_ok());
    let error = linearize(&model, &batch, |model, (x, y)| {
        let penalty = model.head.weight.val().powf_scalar(2.0).sum().detach();
        model.loss((x, y)) + penalty
    });
    assert!(matches!(error, Err(Error::GradientMismatch { .. })), "{error:?}");
}

#[test]
fn a_batch_that_is_not_finite_does_not_pass_for_a_check() {
    let model = Mlp::new(3, 4, 2);
    let (x, y) = mlp_batch();
    let f = |model: &Mlp, (x, y): (Tensor<2>, Tensor<2>)| {
        loss(model, (x, y)) + model.a.weight.val().powf_scalar(2.0).mean().detach()
    };
    let traced = trace(&model, &(x.clone(), y.clone()), f).unwrap();
    let at = Params::from_module(&model).unwrap();
    let poisoned = (x.clone(), y.clone().mul_scalar(f64::NAN));
    assert!(finite(traced.linearize(&at, &poisoned).unwrap().loss()).is_err());
    assert!(matches!(traced.linearize(&at, &(x, y)), Err(Error::GradientMismatch { .. })));
}

#[test]
fn a_minimum_is_no_mismatch() {
    // In single precision at a minimum: the gradient vanishes, the rounding of its terms does not.
    let model = LinearConfig::new(3, 1).init(&device());
    let batch = (data([40, 3], 1).cast(DType::F32), data([40, 1], 50).cast(DType::F32));
    let f = |model: &Linear, (x, y): (Tensor<2>, Tensor<2>)| mse(model.forward(x), y);
    let traced = trace(&model, &batch, f).unwrap();
    let mut at = Params::from_module(&model).unwrap();
    for _ in 0..3000 {
        at = at.axpy(-0.3, &traced.value_and_grad(&at, &batch).unwrap().1);
    }
    let point = traced.linearize(&at, &batch).unwrap();
    assert!(point.grad().norm() < 1e-6, "{}", point.grad().norm());
}

#[test]
fn what_cannot_be_differentiated_is_named() {
    let model = Mlp::new(3, 4, 2);
    let batch = data([5, 3], 1);
    let scattered = |model: &Mlp, x: Tensor<2>| {
        let (y, first) = (model.forward(x.clone(), Act::Tanh), Tensor::<2, Int>::zeros([1, 2], &x.device()));
        y.clone().scatter(0, first, y.slice([0..1, 0..2]), IndexingUpdateOp::Mul).mean()
    };
    match trace(&model, &batch, scattered)
        .and_then(|traced| traced.linearize(&Params::from_module(&model)?, &batch).map(drop))
    {
        Err(Error::Unsupported { op, transform: Transform::Jvp, .. }) => assert_eq!(op, "BaseFloat::Scatter"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn parameters_go_into_a_module_and_back() {
    let model = Mlp::new(3, 4, 2);
    let moved = waves(&Params::from_module(&model).unwrap(), 1.0, 9);
    let filled = moved.clone().into_module(model.clone()).unwrap();
    assert_eq!(Params::from_module(&filled).unwrap().to_f64(), moved.to_f64());
    assert_eq!(filled.a.weight.id, model.a.weight.id);
    assert!(filled.a.weight.val().is_require_grad());
    let error = moved.into_module(Mlp::new(3, 4, 2)).unwrap_err(); // another module, other ids
    assert!(matches!(error, Error::Params { .. }), "{error}");
}
