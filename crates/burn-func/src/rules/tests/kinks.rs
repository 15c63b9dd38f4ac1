//! Points where a formula has no value of its own, or one of several: closed forms, and the side Burn's backward takes.

use burn_ir::{
    ActivationOperationIr as A, ClampOpIr, DimOpIr, HardSigmoidOpIr, NumericOperationIr as N, OperationIr,
    ReduceDimOpIr, ReduceOpIr, ScalarIr, ScalarOpIr, TensorIr, UnaryOpIr,
};

use super::case::{id, numeric, push};
use super::harness::{Operand, tangents};
use crate::emit::Emitter;

/// The derivative of `build` at points, each an element of one tensor.
fn slopes(at: &[f64], build: impl Fn(&mut Emitter, &TensorIr) -> TensorIr) -> Vec<f64> {
    along(at, |_| 1.0, build)
}

/// The tangent of `build` at a tensor of rank one, along a direction.
fn along(
    at: &[f64],
    direction: impl Fn(usize) -> f64,
    build: impl Fn(&mut Emitter, &TensorIr) -> TensorIr,
) -> Vec<f64> {
    let operand = Operand::active(&[at.len()], |i| at[i]);
    let build = |e: &mut Emitter, x: &[TensorIr]| vec![build(e, &x[0])];
    tangents("kink", &[operand], &build, |i, _| direction(i))[0].to_f64()
}

#[test]
fn a_power_of_zero() {
    let slope = |power: f64| slopes(&[0.0], |e, x| e.powf_scalar(x, power))[0];
    assert_eq!([0.0, 1.0, 1.5, 2.0, 3.0].map(slope), [0.0, 1.0, 0.0, 0.0, 0.0]);
    assert_eq!(slope(0.5), f64::INFINITY);
    let whole = |power: i64| {
        slopes(&[0.0], |e, x| {
            let op = ScalarOpIr::create(x.clone(), ScalarIr::Int(power), || id(e));
            numeric(e, N::PowiScalar(op))
        })[0]
    };
    assert_eq!([0, 1, 2, 3].map(whole), [0.0, 1.0, 0.0, 0.0]);
}

#[test]
fn a_power_by_a_tensor_at_zero_and_below() {
    let base = Operand::active(&[6], |i| [0.0, 0.0, 0.0, 0.0, -2.0, -2.0][i]);
    let exponent = Operand::active(&[6], |i| [0.0, 1.0, 2.0, 3.0, 2.0, 3.0][i]).held();
    let build = |e: &mut Emitter, x: &[TensorIr]| vec![e.powf(&x[0], &x[1])];
    let slopes = tangents("powf", &[base, exponent], &build, |_, _| 1.0)[0].to_f64();
    assert_eq!(slopes, [0.0, 1.0, 0.0, 0.0, -4.0, 12.0]);
}

/// The derivative of Burn's gradient of `x^p`, which has `x^(p-1)` in it, is finite where the gradient is.
#[test]
fn a_power_by_a_tensor_twice() {
    let base = Operand::active(&[3], |_| 0.0);
    let exponent = Operand::active(&[3], |i| [1.0, 2.0, 3.0][i]).held();
    let build = |e: &mut Emitter, x: &[TensorIr]| {
        let lower = e.sub_scalar(&x[1], 1.0);
        let power = e.powf(&x[0], &lower);
        vec![e.mul(&power, &x[1])]
    };
    assert_eq!(tangents("powf", &[base, exponent], &build, |_, _| 1.0)[0].to_f64(), [0.0, 2.0, 0.0]);
}

#[test]
fn absolute_value_and_root_at_zero() {
    assert_eq!(slopes(&[-1.0, 0.0, 1.0], |e, x| e.abs(x)), [-1.0, 0.0, 1.0]);
    assert_eq!(slopes(&[0.0], |e, x| e.sqrt(x)), [f64::INFINITY]);
}

#[test]
fn rectifiers_at_zero() {
    let relu = |e: &mut Emitter, x: &TensorIr| {
        let op = UnaryOpIr::create(x.clone(), || id(e));
        push(e, OperationIr::Activation(A::Relu(op)))
    };
    assert_eq!(slopes(&[-1.0, 0.0, 1.0], relu), [0.0, 0.0, 1.0]);
    let leaky = |e: &mut Emitter, x: &TensorIr| {
        let op = ScalarOpIr::create(x.clone(), ScalarIr::Float(0.25), || id(e));
        push(e, OperationIr::Activation(A::LeakyRelu(op)))
    };
    assert_eq!(slopes(&[-1.0, 0.0, 1.0], leaky), [0.25, 1.0, 1.0]);
    // The line x / 2 + 1 / 2 meets its bounds at -1 and 1.
    let hard = |e: &mut Emitter, x: &TensorIr| {
        let (alpha, beta) = (ScalarIr::Float(0.5), ScalarIr::Float(0.5));
        let op = HardSigmoidOpIr::create(x.clone(), alpha, beta, || id(e));
        push(e, OperationIr::Activation(A::HardSigmoid(op)))
    };
    assert_eq!(slopes(&[-1.5, -1.0, 0.0, 1.0, 1.5], hard), [0.0, 0.5, 0.5, 0.5, 0.0]);
}

#[test]
fn bounds_pass_the_derivative() {
    let clamp = |e: &mut Emitter, x: &TensorIr| {
        let op = ClampOpIr::create(x.clone(), ScalarIr::Float(-1.0), ScalarIr::Float(1.0), || id(e));
        numeric(e, N::Clamp(op))
    };
    assert_eq!(slopes(&[-2.0, -1.0, 0.0, 1.0, 2.0], clamp), [0.0, 1.0, 1.0, 1.0, 0.0]);
}

/// The running number of the direction tells which element the tangent was taken from.
fn counted(at: &[f64], build: impl Fn(&mut Emitter, &TensorIr) -> TensorIr) -> Vec<f64> {
    along(at, |i| i as f64, build)
}

#[test]
fn equal_extremes() {
    let whole = |kind: fn(ReduceOpIr) -> N| {
        move |e: &mut Emitter, x: &TensorIr| {
            let op = kind(ReduceOpIr::create(x.clone(), || id(e)));
            numeric(e, op)
        }
    };
    assert_eq!(counted(&[1.0, 3.0, 3.0, 1.0], whole(N::Max)), [1.0]);
    assert_eq!(counted(&[2.0, 1.0, 3.0, 1.0], whole(N::Min)), [1.0]);
    assert_eq!(counted(&[1.0, -3.0, 3.0], whole(N::MaxAbs)), [-1.0]);
    let running = |kind: fn(DimOpIr) -> N| {
        move |e: &mut Emitter, x: &TensorIr| {
            let op = kind(DimOpIr::create(x.clone(), 0, || id(e)));
            numeric(e, op)
        }
    };
    assert_eq!(counted(&[1.0, 3.0, 3.0, 2.0], running(N::CumMax)), [0.0, 1.0, 2.0, 2.0]);
    assert_eq!(counted(&[1.0, 3.0, 1.0, 2.0], running(N::CumMin)), [0.0, 0.0, 2.0, 2.0]);
}

#[test]
fn products_with_zeros() {
    let dim = |e: &mut Emitter, x: &TensorIr| {
        let op = ReduceDimOpIr::create(x.clone(), 0, 1, || id(e));
        numeric(e, N::ProdDim(op))
    };
    let direction = |i: usize| [1.0, 10.0, 100.0][i];
    for build in [dim, |e: &mut Emitter, x: &TensorIr| e.prod(x)] {
        assert_eq!(along(&[2.0, 3.0, 5.0], direction, build), [15.0 + 100.0 + 600.0]);
        assert_eq!(along(&[2.0, 0.0, 5.0], direction, build), [100.0]);
        assert_eq!(along(&[2.0, 0.0, 0.0], direction, build), [0.0]);
    }
}

#[test]
fn running_products_with_zeros() {
    let build = |e: &mut Emitter, x: &TensorIr| e.cumprod(x, 0);
    let direction = |i: usize| [1.0, 10.0, 100.0, 1000.0, 1.0][i];
    // y = x0, x0 x1, ..: of its derivatives only those by the first zero are left behind it, until a second one.
    assert_eq!(along(&[2.0, 0.0, 3.0, 0.0, 5.0], direction, build), [1.0, 20.0, 60.0, 0.0, 0.0]);
    assert_eq!(along(&[0.0, 2.0, 3.0, 4.0, 5.0], direction, build), [1.0, 2.0, 6.0, 24.0, 120.0]);
    assert_eq!(along(&[1.0, 2.0, 3.0, 4.0, 0.0], direction, build)[4], 24.0);
}

#[test]
fn nothing_is_left_undefined_far_out() {
    let far = [-800.0, -40.0, 0.0, 40.0, 800.0];
    let twice = |e: &mut Emitter, x: &TensorIr| {
        let ones = e.full_like(x, 1.0);
        let (backward, op) = (e.activation(A::LogSigmoidBackward, x, &ones), UnaryOpIr::create(x.clone(), || id(e)));
        let log = push(e, OperationIr::Activation(A::LogSigmoid(op)));
        e.add(&backward, &log)
    };
    // s(-x) - s(x) s(-x) = s(-x)^2.
    let expected = far.map(|x: f64| (1.0 / (1.0 + x.exp())).powi(2));
    for (found, expected) in slopes(&far, twice).into_iter().zip(expected) {
        assert!((found - expected).abs() <= 1e-15, "{found} and {expected}");
    }
}
