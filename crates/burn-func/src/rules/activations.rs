//! Activations and their backwards.
//!
//! Does not know: where an activation stands.

use std::f64::consts::PI;

use burn_ir::{
    ActivationOperationIr as Act, ClampOpIr, NumericOperationIr as Numeric, OperationIr, ScalarIr, TensorIr,
};

use super::elementwise::scaled;
use super::nonlinear::wrong_row;
use crate::emit::Emitter;
use crate::error::Result;
use crate::jvp::{Jvp, only, out};

pub fn relu(jvp: &mut Jvp, op: &OperationIr) -> Result<()> {
    unary_backward(jvp, op, Act::ReluBackward, |x, _| x.clone())
}

pub fn sigmoid(jvp: &mut Jvp, op: &OperationIr) -> Result<()> {
    unary_backward(jvp, op, Act::SigmoidBackward, |_, y| y.clone())
}

pub fn gelu(jvp: &mut Jvp, op: &OperationIr) -> Result<()> {
    unary_backward(jvp, op, Act::GeluBackward, |x, _| x.clone())
}

pub fn log_sigmoid(jvp: &mut Jvp, op: &OperationIr) -> Result<()> {
    unary_backward(jvp, op, Act::LogSigmoidBackward, |x, _| x.clone())
}

/// The backward of an elementwise activation is also its forward-mode derivative.
fn unary_backward(
    jvp: &mut Jvp,
    op: &OperationIr,
    backward: fn(burn_ir::BinaryOpIr) -> Act,
    at: impl FnOnce(&TensorIr, &TensorIr) -> TensorIr,
) -> Result<()> {
    let (input, out) = only(op);
    if let Some(tangent) = jvp.tangent(input) {
        let tangent = jvp.emit.activation(backward, &at(input, out), &tangent);
        jvp.set(out, tangent);
    }
    Ok(())
}

/// `s (1 - s) g` with `s` the sigmoid: `s (1 - s) g' + g (1 - 2 s) s'`.
pub fn sigmoid_backward(jvp: &mut Jvp, op: &OperationIr) -> Result<()> {
    backward_of(jvp, op, Act::SigmoidBackward, |e, s| {
        let slope = e.mul_scalar(s, -2.0);
        e.add_scalar(&slope, 1.0)
    })
}

/// `gelu'(x) g`: `gelu'(x) g' + g (2 - x^2) phi(x) x'`, with `phi` the normal density. Exact GELU, not its tanh form.
pub fn gelu_backward(jvp: &mut Jvp, op: &OperationIr) -> Result<()> {
    backward_of(jvp, op, Act::GeluBackward, |e, x| {
        let square = e.mul(x, x);
        let half = e.mul_scalar(&square, -0.5);
        let bell = e.exp(&half);
        let density = e.mul_scalar(&bell, 1.0 / (2.0 * PI).sqrt());
        let negative = e.neg(&square);
        let factor = e.add_scalar(&negative, 2.0);
        e.mul(&density, &factor)
    })
}

/// `s(-x) g` with `s` the sigmoid: `s(-x) g' - g s(x) s(-x) x'`.
pub fn log_sigmoid_backward(jvp: &mut Jvp, op: &OperationIr) -> Result<()> {
    backward_of(jvp, op, Act::LogSigmoidBackward, |e, x| {
        let negative = e.neg(x);
        let (above, below) = (e.activation_unary(Act::Sigmoid, x), e.activation_unary(Act::Sigmoid, &negative));
        let product = e.mul(&above, &below);
        e.neg(&product)
    })
}

/// `b(a, g)`, linear in `g`: `b(a, g') + g c(a) a'`, with `c` emitted by `curvature`.
fn backward_of(
    jvp: &mut Jvp,
    op: &OperationIr,
    backward: fn(burn_ir::BinaryOpIr) -> Act,
    curvature: impl FnOnce(&mut Emitter, &TensorIr) -> TensorIr,
) -> Result<()> {
    let operands: Vec<TensorIr> = op.inputs().cloned().collect();
    let (a, grad) = (&operands[0], &operands[1]);
    let mut terms = Vec::new();
    if let Some(tangent) = jvp.tangent(grad) {
        terms.push(jvp.emit.activation(backward, a, &tangent));
    }
    if let Some(tangent) = jvp.tangent(a) {
        let curvature = curvature(&mut jvp.emit, a);
        let factor = jvp.emit.mul(grad, &curvature);
        terms.push(jvp.emit.mul(&factor, &tangent));
    }
    jvp.set_sum(&out(op), terms);
    Ok(())
}

/// One, or the slope where the input is negative.
pub fn leaky_relu(jvp: &mut Jvp, op: &OperationIr) -> Result<()> {
    let OperationIr::Activation(Act::LeakyRelu(leaky)) = op else { return Err(wrong_row(op)) };
    let slope = leaky.rhs.elem();
    scaled(jvp, op, |e, x, _| {
        let (ones, negative) = (e.full_like(x, 1.0), e.lower_scalar(x, 0.0));
        e.mask_fill(&ones, &negative, slope)
    })
}

/// `x` where it is not negative, `a x` elsewhere: `a` a parameter that may be broadcast.
pub fn prelu(jvp: &mut Jvp, op: &OperationIr) -> Result<()> {
    let OperationIr::Activation(Act::PRelu(prelu)) = op else { return Err(wrong_row(op)) };
    let negative = jvp.emit.lower_scalar(&prelu.lhs, 0.0);
    let negative = jvp.emit.expand(&negative, &prelu.out.shape);
    let mut terms = Vec::new();
    if let Some(tangent) = jvp.tangent(&prelu.lhs) {
        let ones = jvp.emit.full_like(&prelu.out, 1.0);
        let slope = jvp.emit.expand(&prelu.rhs, &prelu.out.shape);
        let factor = jvp.emit.mask_where(&ones, &negative, &slope);
        terms.push(jvp.emit.mul(&factor, &tangent));
    }
    if let Some(tangent) = jvp.tangent(&prelu.rhs) {
        let x = jvp.emit.expand(&prelu.lhs, &prelu.out.shape);
        let zeros = jvp.emit.zeros_like(&x);
        let factor = jvp.emit.mask_where(&zeros, &negative, &x);
        terms.push(jvp.emit.mul(&factor, &tangent));
    }
    jvp.set_sum(&prelu.out, terms);
    Ok(())
}

/// `clamp(a x + b, 0, 1)`: `a` where the line is not cut off. The line is computed again in the tensor's own type, since
/// some backends compute the result in single precision.
pub fn hard_sigmoid(jvp: &mut Jvp, op: &OperationIr) -> Result<()> {
    let OperationIr::Activation(Act::HardSigmoid(hard)) = op else { return Err(wrong_row(op)) };
    let (alpha, beta) = (hard.alpha.elem(), hard.beta.elem());
    scaled(jvp, op, |e, x, _| {
        let scaled = e.mul_scalar(x, alpha);
        let line = e.add_scalar(&scaled, beta);
        let out = e.like(&line);
        let (min, max) = (ScalarIr::Float(0.0), ScalarIr::Float(1.0));
        let clamp = ClampOpIr { tensor: line.clone(), min, max, out: out.clone() };
        let clamped = e.push(OperationIr::NumericFloat(out.dtype, Numeric::Clamp(clamp)), out);
        let cut = e.not_equal(&line, &clamped);
        let slope = e.full_like(x, alpha);
        e.mask_fill(&slope, &cut, 0.0)
    })
}

/// `y (x' - sum(y x'))`.
pub fn softmax(jvp: &mut Jvp, op: &OperationIr) -> Result<()> {
    let OperationIr::Activation(Act::Softmax(softmax)) = op else { return Err(wrong_row(op)) };
    if let Some(tangent) = jvp.tangent(&softmax.input) {
        let mean = mean_under(&mut jvp.emit, &softmax.out, &tangent, softmax.axis);
        let centred = jvp.emit.sub(&tangent, &mean);
        let tangent = jvp.emit.mul(&softmax.out, &centred);
        jvp.set(&softmax.out, tangent);
    }
    Ok(())
}

/// The softmax of `-x`: `y (sum(y x') - x')`.
pub fn softmin(jvp: &mut Jvp, op: &OperationIr) -> Result<()> {
    let OperationIr::Activation(Act::Softmin(softmin)) = op else { return Err(wrong_row(op)) };
    if let Some(tangent) = jvp.tangent(&softmin.input) {
        let mean = mean_under(&mut jvp.emit, &softmin.out, &tangent, softmin.axis);
        let centred = jvp.emit.sub(&mean, &tangent);
        let tangent = jvp.emit.mul(&softmin.out, &centred);
        jvp.set(&softmin.out, tangent);
    }
    Ok(())
}

/// `x' - sum(p x')`, with `p` the softmax.
pub fn log_softmax(jvp: &mut Jvp, op: &OperationIr) -> Result<()> {
    let OperationIr::Activation(Act::LogSoftmax(softmax)) = op else { return Err(wrong_row(op)) };
    if let Some(tangent) = jvp.tangent(&softmax.input) {
        let probability = jvp.emit.exp(&softmax.out);
        let mean = mean_under(&mut jvp.emit, &probability, &tangent, softmax.axis);
        let tangent = jvp.emit.sub(&tangent, &mean);
        jvp.set(&softmax.out, tangent);
    }
    Ok(())
}

/// `sum(p t)` along an axis.
fn mean_under(e: &mut Emitter, probability: &TensorIr, tangent: &TensorIr, axis: usize) -> TensorIr {
    let weighted = e.mul(probability, tangent);
    e.sum_dim(&weighted, axis)
}
