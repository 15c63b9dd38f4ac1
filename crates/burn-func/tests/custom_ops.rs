//! Operations of a user's own: the same numbers as the operations they expand into, and errors for what is wrong in them.
#![allow(missing_docs)]

mod common;

use std::sync::LazyLock;

use burn::tensor::Tensor;
use burn::tensor::activation::sigmoid;
use burn_autodiff::Autodiff;
use burn_backend::{AutodiffBackend, TensorMetadata};
use burn_dispatch::backends::Capture;
use burn_func::rules::{Batching, CustomOp, CustomRule, Derivative, register};
use burn_func::{Emitter, Error, Jvp, Params, Transform, linearize, trace};
use burn_ir::{CustomOpIr, OperationIr, ScalarIr, TensorIr};
use burn_router::{RouterClient, RouterTensor};
use common::custom::soft_abs;
use common::*;

/// `sqrt(x^2 + eps)`: one operand and a number.
static SOFT_ABS: LazyLock<CustomOp> = LazyLock::new(|| register(soft_abs("test.soft_abs")).unwrap());

/// `a b` of two operands, bilinear. Its backward pass is two more of itself.
static PRODUCT: LazyLock<CustomOp> = LazyLock::new(|| {
    register(CustomRule {
        id: "test.product",
        lower: |emit, x, _| emit.mul(&x[0], &x[1]),
        backward: |emit, op, grad| vec![product(emit, grad, &op.inputs[1]), product(emit, &op.inputs[0], grad)],
        derivative: Derivative::Bilinear(0, 1),
        batching: Batching::Elementwise,
    })
    .unwrap()
});

fn product(emit: &mut Emitter, a: &TensorIr, b: &TensorIr) -> TensorIr {
    let out = emit.like(a);
    let op = CustomOpIr::new("test.product", &[a.clone(), b.clone()], std::slice::from_ref(&out));
    emit.push(OperationIr::Custom(op), out)
}

/// Loss, gradient and product of two closures on one network.
fn compare(custom: impl Fn(&Mlp, Tensor<2>) -> Tensor<1>, plain: impl Fn(&Mlp, Tensor<2>) -> Tensor<1>) {
    let (model, x) = (Mlp::new(3, 8, 2), data([5, 3], 1));
    let v = waves(&Params::from_module(&model).unwrap(), 1.0, 100);
    let (custom, plain) = (linearize(&model, &x, custom).unwrap(), linearize(&model, &x, plain).unwrap());
    let difference = (custom.loss().clone() - plain.loss().clone()).into_scalar::<f64>().abs();
    assert!(difference <= 1e-12, "loss off by {difference:.2e}");
    // Roundings alone: the terms are the same, their order is not.
    let error = relative(custom.grad(), plain.grad());
    assert!(error <= 1e-12, "gradient off by {error:.2e}");
    let error = relative(&custom.hvp(&v).unwrap(), &plain.hvp(&v).unwrap());
    assert!(error <= 1e-12, "HVP off by {error:.2e}");
}

#[test]
fn one_operand_and_a_number() {
    let custom = |model: &Mlp, x| {
        let y: Tensor<2> = SOFT_ABS.apply([model.forward(x, Act::Tanh)], &[1e-2]).unwrap();
        (y.clone() * y).mean() + SOFT_ABS.apply::<1, 2, 2>([model.a.weight.val()], &[0.5]).unwrap().sum()
    };
    let plain = |model: &Mlp, x| {
        let y = (model.forward(x, Act::Tanh).powf_scalar(2.0) + 1e-2).sqrt();
        (y.clone() * y).mean() + (model.a.weight.val().powf_scalar(2.0) + 0.5).sqrt().sum()
    };
    compare(custom, plain);
}

#[test]
fn two_operands_and_a_backward_pass_of_custom_operations() {
    // A fused swish, of an operand with and of one without a gradient.
    let custom = |model: &Mlp, x: Tensor<2>| {
        let y = model.a.forward(x.clone());
        let swish: Tensor<2> = PRODUCT.apply([y.clone(), sigmoid(y)], &[]).unwrap();
        let x: Tensor<2> = PRODUCT.apply([x.clone(), x], &[]).unwrap();
        let both: Tensor<2> = PRODUCT.apply([model.forward(x.clone(), Act::Tanh), x.slice([0..5, 0..2])], &[]).unwrap();
        swish.powf_scalar(2.0).sum() + both.exp().mean()
    };
    let plain = |model: &Mlp, x: Tensor<2>| {
        let y = model.a.forward(x.clone());
        let swish = y.clone() * sigmoid(y);
        let x = x.clone() * x;
        let both = model.forward(x.clone(), Act::Tanh) * x.slice([0..5, 0..2]);
        swish.powf_scalar(2.0).sum() + both.exp().mean()
    };
    compare(custom, plain);
}

#[test]
fn an_id_is_registered_once_whoever_comes_first() {
    let attempts = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| register(soft_abs("test.raced")).is_ok())).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
    });
    assert_eq!(attempts.iter().filter(|ok| **ok).count(), 1);
    for id in ["test.raced", "burn_func.stop_gradient"] {
        let error = register(soft_abs(id)).unwrap_err();
        assert_eq!(error, Error::DuplicateRule { id: id.into() });
    }
}

#[test]
fn outside_of_a_trace_it_is_refused() {
    let error = SOFT_ABS.apply::<1, 2, 2>([data([2, 2], 1)], &[0.1]).unwrap_err();
    assert!(matches!(&error, Error::Unsupported { op, .. } if op == "Custom::test.soft_abs"), "{error}");
}

/// Records an operation that nobody has registered.
fn unknown(tensor: Tensor<2>) -> Tensor<2> {
    let inner = Autodiff::<Capture>::inner(tensor.try_into_primitive::<Autodiff<Capture>>().unwrap());
    let (client, shape, dtype) = (inner.client.clone(), inner.shape(), inner.dtype());
    let out = TensorIr::uninit(client.create_empty_handle(), shape.clone(), dtype);
    let op = CustomOpIr::with_scalars(
        "test.unknown",
        &[inner.into_ir()],
        std::slice::from_ref(&out),
        Vec::<ScalarIr>::new(),
    );
    client.register_op(OperationIr::Custom(op));
    Tensor::from_primitive::<Autodiff<Capture>>(Autodiff::<Capture>::from_inner(RouterTensor::new(
        out.id, shape, dtype, client,
    )))
}

#[test]
fn an_operation_without_a_rule_is_named() {
    let (model, x) = (Mlp::new(3, 8, 2), data([5, 3], 1));
    let error = trace(&model, &x, |model, x| {
        let y = model.forward(x, Act::Tanh);
        (unknown(y.clone()) * y).mean()
    })
    .unwrap_err();
    assert!(
        matches!(&error, Error::Unsupported { op, transform: Transform::Trace, .. } if op == "Custom::test.unknown"),
        "{error}"
    );
}

fn trace_of(op: CustomOp) -> Result<(), Error> {
    let (model, x) = (Mlp::new(3, 8, 2), data([5, 3], 1));
    let f = |model: &Mlp, x| op.apply::<1, 2, 2>([model.forward(x, Act::Tanh)], &[1e-2]).unwrap().mean();
    linearize(&model, &x, f).map(|_| ())
}

#[test]
fn a_wrong_rule_is_an_error() {
    let halved = |jvp: &mut Jvp, op: &OperationIr| {
        let (x, y) = (op.inputs().next().unwrap().clone(), op.outputs().next().unwrap().clone());
        if let Some(tangent) = jvp.tangent(&x) {
            let tangent = jvp.emit.mul_scalar(&tangent, 0.5);
            jvp.set(&y, tangent);
        }
        Ok(())
    };
    let op =
        register(CustomRule { derivative: Derivative::Formula(halved), ..soft_abs("test.wrong_formula") }).unwrap();
    let error = trace_of(op).unwrap_err();
    assert!(matches!(error, Error::GradientMismatch { .. }), "{error}");

    let nowhere = |jvp: &mut Jvp, op: &OperationIr| {
        let (x, y) = (op.inputs().next().unwrap().clone(), op.outputs().next().unwrap().clone());
        if let Some(tangent) = jvp.tangent(&x) {
            let out = jvp.emit.like(&y);
            let op = CustomOpIr::new("test.nowhere", &[tangent], std::slice::from_ref(&out));
            let tangent = jvp.emit.push(OperationIr::Custom(op), out);
            jvp.set(&y, tangent);
        }
        Ok(())
    };
    let op =
        register(CustomRule { derivative: Derivative::Formula(nowhere), ..soft_abs("test.leads_nowhere") }).unwrap();
    let error = trace_of(op).unwrap_err();
    assert!(
        matches!(&error, Error::Unsupported { op, transform: Transform::Jvp, .. } if op == "Custom::test.nowhere"),
        "{error}"
    );

    let op = register(CustomRule { backward: |_, _, _| Vec::new(), ..soft_abs("test.wrong_backward") }).unwrap();
    let error = trace_of(op).unwrap_err();
    assert!(matches!(&error, Error::Closure { message } if message.contains("test.wrong_backward")), "{error}");

    let lower = |emit: &mut Emitter, x: &[TensorIr], _: &[ScalarIr]| product(emit, &x[0], &x[0]);
    let op = register(CustomRule { lower, ..soft_abs("test.wrong_expansion") }).unwrap();
    let error = trace_of(op).unwrap_err();
    assert!(matches!(&error, Error::Malformed { problem, .. } if problem.contains("test.wrong_expansion")), "{error}");
}
