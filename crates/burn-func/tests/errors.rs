//! Every error, produced through the public functions: what it names, and what it says to do.
#![allow(missing_docs)]

mod common;

use burn::module::Module;
use burn::tensor::{DType, Device, IndexingUpdateOp, Int, Tensor};
use burn_autodiff::Autodiff;
use burn_backend::{AutodiffBackend, TensorMetadata};
use burn_dispatch::backends::Capture;
use burn_func::{
    Batch, Error, Filter, Output, Params, ProgramCache, Traced, Transform, cast, finite, linearize, trace,
    trace_filtered,
};
use burn_ir::{CustomOpIr, OperationIr, TensorIr};
use burn_router::{RouterClient, RouterTensor};
use common::*;

fn mlp_batch() -> (Tensor<2>, Tensor<2>) {
    (data([5, 3], 1), data([5, 2], 2))
}

fn loss(model: &Mlp, (x, y): (Tensor<2>, Tensor<2>)) -> Tensor<1> {
    mse(model.forward(x, Act::Tanh), y)
}

fn refused<O: Output>(f: impl Fn(&Mlp, Tensor<2>) -> O) -> Error
where
    O::Aux: std::fmt::Debug,
{
    trace(&Mlp::new(3, 4, 2), &data([5, 3], 1), f).unwrap_err()
}

/// The closure fails with a message that has all of the parts.
fn assert_closure<O: Output>(name: &str, parts: &[&str], f: impl Fn(&Mlp, Tensor<2>) -> O)
where
    O::Aux: std::fmt::Debug,
{
    match refused(f) {
        Error::Closure { message } => {
            let missing: Vec<_> = parts.iter().filter(|part| !message.contains(**part)).collect();
            assert!(missing.is_empty(), "{name}: {missing:?} not in: {message}");
        }
        other => panic!("{name}: {other}"),
    }
}

#[test]
fn not_autodiff() {
    let error = linearize(&Mlp::new(3, 4, 2).valid(), &mlp_batch(), loss).unwrap_err();
    assert_eq!(error, Error::NotAutodiff { parameters: 6 });
    assert!(error.to_string().contains("device.autodiff()"));
}

#[test]
fn two_devices() {
    let elsewhere = Device::capture();
    let (mut x, model) = (None, Mlp::new(3, 4, 2));
    let made = elsewhere.capture_scope(|scope| {
        x = Some(Tensor::<2>::zeros([5, 3], (&elsewhere, DType::F64)));
        scope.complete([], [])
    });
    made.unwrap();
    let x = x.unwrap();
    let f = |model: &Mlp, x: Tensor<2>| model.forward(x, Act::Tanh).mean();
    let assert_named = |error: Error| match error {
        Error::TwoDevices { what, found, .. } => {
            assert_eq!(what, "batch tensor 0");
            assert!(found.contains("Capture"), "{found}");
        }
        other => panic!("{other}"),
    };
    assert_named(trace(&model, &x, f).unwrap_err());
    let traced = trace(&model, &data([5, 3], 1), f).unwrap();
    assert_named(traced.value(&Params::from_module(&model).unwrap(), &x).unwrap_err());
}

#[test]
fn closure_that_reads() {
    let here = ["no value is known yet", "return what is to be read beside the loss", file!()];
    assert_closure("into_scalar", &here, |model: &Mlp, x| {
        let scale: f64 = model.forward(x.clone(), Act::Tanh).sum().into_scalar();
        model.forward(x, Act::Tanh).mean() * scale
    });
    assert_closure("into_data", &here, |model: &Mlp, x| {
        let positive = model.forward(x.clone(), Act::Tanh).into_data().iter::<f64>().all(|y| y > 0.0);
        model.forward(x, Act::Tanh).mean() * f64::from(u8::from(positive))
    });
    assert_closure("the batch", &here, |model: &Mlp, x| {
        let _ = x.to_data();
        model.forward(x, Act::Tanh).mean()
    });
}

#[test]
fn closure_that_differentiates() {
    let advice = ["cannot be called in a traced closure", "stop_gradient"];
    assert_closure("backward", &advice, |model: &Mlp, x| {
        let loss = model.forward(x, Act::Tanh).mean();
        let _ = loss.backward();
        loss
    });
    assert_closure("inner", &advice, |model: &Mlp, x| {
        let y = model.forward(x, Act::Tanh);
        (y.clone() - Tensor::from_inner(y.inner())).mean()
    });
    assert_closure("valid", &advice, |model: &Mlp, x| model.valid().forward(x.inner(), Act::Tanh).mean());
}

#[test]
fn closure_that_changes_devices() {
    assert_closure("to_device", &["a traced closure has one device", "to_device"], |model: &Mlp, x| {
        model.forward(x.to_device(&device()), Act::Tanh).mean()
    });
    assert_closure("to its own", &["`to_device` in the closure"], |model: &Mlp, x| {
        let device = x.device();
        model.forward(x, Act::Tanh).to_device(&device).mean()
    });
}

#[test]
fn closure_that_captures() {
    let advice = ["from outside the closure", "with the batch"];
    let captured = data([5, 2], 3);
    let plain = captured.clone().inner();
    let (rows, mask) = (labels(5, 2), captured.clone().greater_elem(0.0));
    let other = Mlp::new(3, 4, 2);
    let net = |model: &Mlp, x| model.forward(x, Act::Tanh);
    assert_closure("a tensor", &advice, |model: &Mlp, x| (net(model, x) - captured.clone()).mean());
    assert_closure("a plain tensor", &advice, |model: &Mlp, x| (net(model, x) - plain.clone()).mean());
    assert_closure("on the left", &advice, |model: &Mlp, x| (plain.clone() - net(model, x)).mean());
    assert_closure("integers", &advice, |model: &Mlp, x| net(model, x).select(0, rows.clone()).mean());
    assert_closure("booleans", &advice, |model: &Mlp, x| net(model, x).mask_fill(mask.clone(), 0.0).mean());
    assert_closure("in a list", &advice, |model: &Mlp, x| Tensor::cat(vec![net(model, x), captured.clone()], 0).mean());
    assert_closure("a module", &advice, |model: &Mlp, x: Tensor<2>| mse(net(model, x.clone()), net(&other, x)));
    assert_closure("made elsewhere", &["x.device()"], |model: &Mlp, x| {
        net(model, x).mean() + Tensor::<1>::ones([1], (&device(), DType::F64))
    });
    // The same tensor in the batch.
    assert!(finite(linearize(&other, &mlp_batch(), loss).unwrap().loss()).unwrap() > 0.0);
}

#[test]
fn closure_that_panics_by_itself() {
    assert_closure("its own words", &["no such thing", file!()], |_: &Mlp, _| -> Tensor<1> { panic!("no such thing") });
    assert_closure("shapes", &["expected 3, got 5"], |model: &Mlp, x: Tensor<2>| {
        model.forward(x.transpose(), Act::Tanh).mean()
    });
    assert_closure("types", &["different element types"], |model: &Mlp, x: Tensor<2>| {
        model.forward(x.cast(DType::F32), Act::Tanh).mean()
    });
}

#[test]
fn not_scalar() {
    let error = refused(|model: &Mlp, x| model.forward(x, Act::Tanh).reshape([10]));
    assert_eq!(error, Error::NotScalar { shape: vec![10] });
    assert!(error.to_string().contains(".mean()"));
}

#[test]
fn no_gradient() {
    assert_eq!(refused(|_: &Mlp, x: Tensor<2>| x.mean()), Error::NoGradient);
    assert_eq!(refused(|model: &Mlp, x| model.forward(x, Act::Tanh).mean().detach()), Error::NoGradient);
}

#[test]
fn foreign_output() {
    let alone = refused(|_: &Mlp, _| Tensor::<1>::zeros([1], &device()));
    assert_eq!(alone, Error::ForeignOutput { what: "the loss".into() });
    let captured = data([5, 2], 3);
    let beside = refused(|model: &Mlp, x| (model.forward(x, Act::Tanh).mean(), captured.clone()));
    assert_eq!(beside, Error::ForeignOutput { what: "an auxiliary tensor".into() });
}

/// An operation that nobody has a rule for, on what autodiff takes for a constant.
fn mystery(x: Tensor<2>) -> Tensor<2> {
    let inner = Autodiff::<Capture>::inner(x.try_into_primitive::<Autodiff<Capture>>().unwrap());
    let (client, shape, dtype) = (inner.client.clone(), inner.shape(), inner.dtype());
    let out = TensorIr::uninit(client.create_empty_handle(), shape.clone(), dtype);
    let op = CustomOpIr::new("tests.mystery", &[inner.into_ir()], std::slice::from_ref(&out));
    client.register_op(OperationIr::Custom(op));
    let out = RouterTensor::new(out.id, shape, dtype, client);
    Tensor::from_primitive::<Autodiff<Capture>>(Autodiff::<Capture>::from_inner(out))
}

#[test]
fn unsupported() {
    let model = Mlp::new(3, 4, 2);
    let x = data([5, 3], 1);
    let f = |model: &Mlp, x: Tensor<2>| {
        let y = model.forward(x, Act::Tanh);
        (y.clone() * mystery(y)).mean()
    };
    match trace(&model, &x, f).unwrap_err() {
        Error::Unsupported { op, transform: Transform::Trace, reason } => {
            assert_eq!(op, "Custom::tests.mystery");
            assert!(reason.contains("register"), "{reason}");
        }
        other => panic!("{other}"),
    }
    let scattered = |model: &Mlp, x: Tensor<2>| {
        let (y, first) = (model.forward(x.clone(), Act::Tanh), Tensor::<2, Int>::zeros([1, 2], &x.device()));
        y.clone().scatter(0, first, y.slice([0..1, 0..2]), IndexingUpdateOp::Mul).mean()
    };
    let traced: Traced<_> = trace(&model, &x, scattered).unwrap();
    match traced.linearize(&Params::from_module(&model).unwrap(), &x).unwrap_err() {
        Error::Unsupported { op, transform: Transform::Jvp, .. } => assert_eq!(op, "BaseFloat::Scatter"),
        other => panic!("{other}"),
    }
}

#[test]
fn gradient_mismatch() {
    let model = Mlp::new(3, 4, 2);
    let hidden = |model: &Mlp, (x, y)| loss(model, (x, y)) + model.a.weight.val().powf_scalar(2.0).mean().detach();
    let error = linearize(&model, &mlp_batch(), hidden).unwrap_err();
    assert!(matches!(error, Error::GradientMismatch { .. }), "{error}");
    assert!(error.to_string().contains("burn_func::stop_gradient"));
}

fn assert_mismatch<T: std::fmt::Debug>(result: Result<T, Error>, place: &str, now: &str, then: &str) {
    match result.unwrap_err() {
        Error::Mismatch { what, found, expected } => {
            assert_eq!(what, place);
            assert!(found.contains(now) && expected.contains(then), "{found}, {expected}");
        }
        other => panic!("{other}"),
    }
}

#[test]
fn mismatch() {
    let model = Mlp::new(3, 4, 2);
    let (x, y) = mlp_batch();
    let traced = trace(&model, &(x.clone(), y.clone()), loss).unwrap();
    let at = Params::from_module(&model).unwrap();
    let other = (data([6, 3], 1), data([6, 2], 2));
    assert!(!traced.accepts(&other));
    assert_mismatch(traced.value(&at, &other), "batch tensor 0", "[6, 3]", "[5, 3]");
    assert_mismatch(traced.value(&at, &(x.clone(), y.cast(DType::F32))), "batch tensor 1", "F32", "F64");

    let single = Params::from_module(&cast(&model, DType::F32)).unwrap();
    let smaller = Params::from_module(&Mlp::new(3, 5, 2)).unwrap();
    let fewer = Params::from_module_filtered(&model, &Filter::paths(["a.*"])).unwrap();
    let batch = mlp_batch();
    assert_mismatch(traced.value(&single, &batch), "the point at `a.weight`", "F32", "F64");
    assert_mismatch(traced.value(&smaller, &batch), "the point at `a.weight`", "[3, 5]", "[3, 4]");
    assert_mismatch(traced.value(&fewer, &batch), "the point", "2 parameters", "6");
    let point = traced.linearize(&at, &batch).unwrap();
    assert_mismatch(point.hvp(&single), "the vector at `a.weight`", "F32", "F64");
    assert_mismatch(point.hvp(&fewer), "the vector", "2 parameters", "6");
    assert_mismatch(at.check_like(&smaller), "the vector at `a.weight`", "[3, 5]", "[3, 4]");
    assert_eq!(at.check_like(point.grad()), Ok(()));

    let lists = trace(&model, &vec![x.clone()], |model: &Mlp, xs: Vec<Tensor<2>>| {
        xs.into_iter().map(|x| model.forward(x, Act::Tanh).mean()).reduce(|a, b| a + b).unwrap()
    });
    assert_mismatch(
        lists.unwrap().value(&at, &vec![x.clone(), x]),
        "the structure of the batch",
        "2 tensors",
        "1 tensor",
    );
}

#[test]
#[should_panic(expected = "arithmetic on parameters of two modules: the vector at `a.weight` has shape [3, 5]")]
fn arithmetic_of_two_modules_panics_as_that_of_two_shapes_does() {
    let point = |hidden| Params::from_module(&Mlp::new(3, hidden, 2)).unwrap();
    let _ = point(4).dot(&point(5));
}

#[test]
fn non_finite() {
    let model = Mlp::new(3, 4, 2);
    let error = linearize(&model, &data([5, 3], 1), |model, x| model.forward(x, Act::Tanh).mean() / 0.0).unwrap_err();
    assert!(matches!(error, Error::NonFinite { loss } if loss.is_infinite()), "{error}");
}

#[test]
fn no_executor() {
    // Every device that can train has an executor in this build.
    let reason = "enable the feature `vulkan`, `wgpu` or `cuda`";
    let error = Error::NoExecutor { device: "Cube(..)".into(), reason, known: "flex".into() };
    let expected = "no executor for device Cube(..): enable the feature `vulkan`, `wgpu` or `cuda` (this build runs \
                    programs on: flex)";
    assert_eq!(error.to_string(), expected);
}

#[test]
fn execution() {
    let model = Mlp::new(3, 4, 2);
    let x = data([5, 3], 1);
    let rows = |at: [i64; 2]| Tensor::<1, Int>::from_data(at, &device());
    let f = |model: &Mlp, (x, rows): (Tensor<2>, Tensor<1, Int>)| model.forward(x, Act::Tanh).select(0, rows).mean();
    let traced = trace(&model, &(x.clone(), rows([0, 1])), f).unwrap();
    let at = Params::from_module(&model).unwrap();
    assert!(traced.value(&at, &(x.clone(), rows([3, 4]))).is_ok());
    match traced.value(&at, &(x, rows([3, 99]))).unwrap_err() {
        Error::Execution { message } => assert!(message.contains("99"), "{message}"),
        other => panic!("{other}"),
    }
}

#[test]
fn params() {
    let model = Mlp::new(3, 4, 2);
    let at = Params::from_module(&model).unwrap();
    match at.clone().into_module(Mlp::new(3, 4, 2)).unwrap_err() {
        Error::Params { problem, .. } => assert_eq!(problem, "is not in the module"), // another module, other ids
        other => panic!("{other}"),
    }
    let grown = at.clone().into_module(model.clone()).unwrap();
    let grown = Mlp { a: reshaped(grown.a), ..grown };
    match at.into_module(grown).unwrap_err() {
        Error::Params { path, problem } => {
            assert_eq!(path, "a.weight");
            assert_eq!(problem, "has shape [4, 3] in the module, [3, 4] here");
        }
        other => panic!("{other}"),
    }
}

fn reshaped(mut linear: burn::nn::Linear) -> burn::nn::Linear {
    linear.weight = burn::module::Param::initialized(linear.weight.id, data([4, 3], 1).require_grad());
    linear
}

#[test]
fn nothing_chosen() {
    let model = Mlp::new(3, 4, 2);
    let choose =
        |filter: Filter| trace_filtered(&ProgramCache::new(), &model, &mlp_batch(), &filter, loss).unwrap_err();
    let error = choose(Filter::paths(["c.*", "head.*"]));
    let known = "a.weight, a.bias, b.weight, b.bias, c.weight, c.bias";
    assert_eq!(error, Error::NothingChosen { filter: "pattern `head.*`".into(), known: known.into() });
    let text = format!("pattern `head.*` matches no trainable parameter of the module; it has {known}");
    assert_eq!(error.to_string(), text);
    assert!(matches!(choose(Filter::by(|_| false)), Error::NothingChosen { .. }));
}

#[test]
fn malformed() {
    let traced = trace(&Mlp::new(3, 4, 2), &mlp_batch(), loss).unwrap();
    let mut graph = traced.graph().clone();
    graph.ops.reverse();
    match graph.check().unwrap_err() {
        Error::Malformed { problem, context } => {
            assert!(problem.ends_with("is read before it is defined"), "{problem}");
            assert!(context.contains("::"), "{context}");
        }
        other => panic!("{other}"),
    }
}

#[test]
fn errors_go_between_threads() {
    fn check<T: Send + Sync + std::error::Error + 'static>() {}
    check::<Error>();
    fn batch<T: Batch>() {}
    batch::<()>();
}
