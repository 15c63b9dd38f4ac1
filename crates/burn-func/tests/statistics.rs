//! Running statistics: read back, put into a module, gone on from; and frozen parameters taken from another module.
#![allow(missing_docs)]

mod common;

use burn::module::Module;
use burn::tensor::{Int, Tensor};
use burn_func::{Error, Params, finite, trace};
use common::*;

type Images = (Tensor<4>, Tensor<1, Int>);

fn images(salt: usize) -> Images {
    (data([4, 2, 9, 8], salt), labels(4, 4))
}

const STATISTICS: [&str; 4] = ["norm1.running_mean", "norm1.running_var", "norm2.running_mean", "norm2.running_var"];

fn statistics_of(model: &Cnn) -> [Vec<f64>; 4] {
    let (one, two) = (&model.norm1, &model.norm2);
    [&one.running_mean, &one.running_var, &two.running_mean, &two.running_var]
        .map(|state| state.value_sync().into_data().iter::<f64>().collect())
}

/// Largest difference; what the same operations on the same numbers may leave is nothing or the last bit.
fn assert_close(found: &[Vec<f64>; 4], expected: &[Vec<f64>; 4]) {
    for (found, expected) in found.iter().flatten().zip(expected.iter().flatten()) {
        assert!((found - expected).abs() <= 1e-12, "{found} and {expected}");
    }
}

#[test]
fn statistics_are_those_of_an_eager_forward_pass() {
    let model = Cnn::new();
    let before = statistics_of(&model);
    let at = waves(&Params::from_module(&model).unwrap(), 0.4, 3);
    let traced = trace(&model, &images(1), |model: &Cnn, batch| model.loss(batch)).unwrap();
    let buffers = traced.statistics(&at, &images(2)).unwrap();
    let paths: Vec<&str> = buffers.specs().iter().map(|spec| spec.path.as_str()).collect();
    assert_eq!(paths, STATISTICS);
    assert_eq!(statistics_of(&model), before, "the model changed before it was asked to");

    let clone = model.clone();
    let filled = at.clone().into_module(buffers.into_module(model.clone()).unwrap()).unwrap();
    let eager = at.into_module(model.clone()).unwrap().valid().train(); // running statistics of its own
    let _ = eager.loss(images(2));
    assert_close(&statistics_of(&filled), &statistics_of(&eager));
    assert_ne!(statistics_of(&filled), before);
    assert_eq!(statistics_of(&clone), before, "a clone of the module changed");
    assert!(filled.norm1.training.is_enabled() && filled.conv1.weight.val().is_require_grad());
    assert_eq!(filled.conv1.weight.id, model.conv1.weight.id);
    // In evaluation mode both see the same statistics.
    let (found, expected) = (filled.valid().loss(images(5)), eager.valid().loss(images(5)));
    assert!((found.into_scalar::<f64>() - expected.into_scalar::<f64>()).abs() <= 1e-12);
}

/// A tensor that is no parameter, which no mapper reaches.
#[derive(Module, Debug)]
struct WithConstant {
    norms: Vec<burn::nn::BatchNorm>,
    offset: Tensor<2>,
}

#[test]
fn statistics_beside_a_tensor_that_is_no_parameter() {
    let norms = (0..3).map(|_| burn::nn::BatchNormConfig::new(3).init(&device())).collect();
    let model = settled(&WithConstant { norms, offset: data([1, 3], 9) });
    let x = data([5, 3], 1);
    let f = |model: &WithConstant, x: Tensor<2>| {
        let x = x * model.offset.clone();
        model.norms.iter().fold(x, |x, norm| norm.forward(x.tanh())).powf_scalar(2.0).mean()
    };
    let traced = trace(&model, &x, f).unwrap();
    let buffers = traced.statistics(&Params::from_module(&model).unwrap(), &x).unwrap();
    assert_eq!(buffers.specs().len(), 6);
    let filled = buffers.into_module(model.clone()).unwrap();
    let _ = f(&model, x);
    for (found, expected) in filled.norms.iter().zip(&model.norms) {
        let difference = found.running_var.value_sync() - expected.running_var.value_sync();
        assert!(difference.abs().max().into_scalar::<f64>() <= 1e-12);
        let difference = found.running_mean.value_sync() - expected.running_mean.value_sync();
        assert!(difference.abs().max().into_scalar::<f64>() <= 1e-12);
    }
}

#[test]
fn evaluations_go_on_from_updated_statistics() {
    let model = Cnn::new();
    let at = Params::from_module(&model).unwrap();
    let mut traced = trace(&model, &images(1), |model: &Cnn, batch| model.loss(batch)).unwrap();
    let mut updated = model.clone();
    for salt in 1..4 {
        updated = traced.statistics(&at, &images(salt)).unwrap().into_module(updated).unwrap();
        traced = traced.with_frozen_of(&updated).unwrap();
    }
    let eager = model.clone().valid().train();
    for salt in 1..4 {
        let _ = eager.loss(images(salt));
    }
    assert_close(&statistics_of(&updated), &statistics_of(&eager));
}

#[test]
fn statistics_in_use_are_taken_from_the_module_given() {
    // Flags off: the forward pass reads the running statistics.
    let model = Cnn::new().freeze().set_require_grad(true);
    let at = Params::from_module(&model).unwrap();
    let traced = trace(&model, &images(1), |model: &Cnn, batch| model.loss(batch)).unwrap();
    assert!(traced.statistics(&at, &images(1)).unwrap().specs().is_empty());
    let moved = {
        let training = trace(&Cnn::new(), &images(1), |model: &Cnn, batch| model.loss(batch)).unwrap();
        assert_eq!(training.statistics(&at, &images(2)).unwrap().values().len(), 4);
        let fresh = model.clone().valid().train();
        let fresh = at.clone().into_module(fresh).unwrap();
        let fresh = with_mean(fresh, 0.7);
        let traced = traced.with_frozen_of(&fresh).unwrap();
        (finite(&traced.value(&at, &images(3)).unwrap().0).unwrap(), finite(&fresh.loss(images(3)).detach()).unwrap())
    };
    assert_eq!(moved.0, moved.1);
    assert_ne!(moved.0, finite(&traced.value(&at, &images(3)).unwrap().0).unwrap());
}

fn with_mean(mut model: Cnn, mean: f64) -> Cnn {
    let state = model.norm1.running_mean.value().full_like(mean);
    model.norm1.running_mean = burn::module::RunningState::from_record(burn::module::Param::initialized(
        burn::module::ParamId::from(id_of(&model, "norm1.running_mean")),
        state,
    ));
    model
}

/// The id of a running statistic, which its field does not tell.
fn id_of(model: &Cnn, path: &str) -> u64 {
    let training = trace(&model.clone().map(&mut Thaw), &images(1), |model: &Cnn, batch| model.loss(batch)).unwrap();
    let at = Params::from_module(model).unwrap();
    let buffers = training.statistics(&at, &images(1)).unwrap();
    buffers.specs().iter().find(|spec| spec.path == path).unwrap().id.val()
}

struct Thaw;

impl burn::module::ModuleMapper for Thaw {
    fn map_flag(&mut self, flag: burn::module::Param<burn::module::Flag>) -> burn::module::Param<burn::module::Flag> {
        flag.with_value(true)
    }
}

#[test]
fn a_module_without_statistics_has_none() {
    let model = Mlp::new(3, 4, 2);
    let batch = (data([5, 3], 1), data([5, 2], 2));
    let traced = trace(&model, &batch, |model: &Mlp, (x, y)| mse(model.forward(x, Act::Tanh), y)).unwrap();
    let at = Params::from_module(&model).unwrap();
    assert!(traced.statistics(&at, &batch).unwrap().specs().is_empty());
}

#[test]
fn statistics_of_another_module_are_refused_by_name() {
    let (model, other) = (Cnn::new(), Cnn::new());
    let at = Params::from_module(&model).unwrap();
    let traced = trace(&model, &images(1), |model: &Cnn, batch| model.loss(batch)).unwrap();
    match traced.statistics(&at, &images(1)).unwrap().into_module(other).unwrap_err() {
        Error::Params { path, problem } => {
            assert_eq!((path.as_str(), problem.as_str()), ("norm1.running_mean", "is not in the module"));
        }
        other => panic!("{other}"),
    }
    let error = traced.with_frozen_of(&Mlp::new(3, 4, 2)).unwrap_err();
    assert!(matches!(error, Error::Params { .. }), "{error}");
}
