//! Derivatives that need a formula.
//!
//! Factors that depend on the point alone are emitted as operations of their own: they land in the primal part and are
//! computed once, whatever the number of tangents. They are written as Burn's backward pass writes them where it
//! computes the same thing, so that common subexpressions meet.
//!
//! Does not know: which part an operation lands in.

use std::f64::consts::{FRAC_2_SQRT_PI, PI};

use burn::tensor::{IndexingUpdateOp, Shape};
use burn_ir::{
    ActivationOperationIr as Act, BaseOperationIr as Base, FloatOperationIr, GatherOpIr, ModuleOperationIr,
    NumericOperationIr, OperationIr, ScalarIr, ScalarOpIr, TensorIr,
};

use crate::emit::{Emitter, base};
use crate::error::Result;
use crate::jvp::{Jvp, only, out, unsupported};
use crate::stop::is_stop;

/// `f'(x) x'` for a function of one variable, its derivative emitted by `factor` from input and result.
fn scaled(
    jvp: &mut Jvp,
    op: &OperationIr,
    factor: impl FnOnce(&mut Emitter, &TensorIr, &TensorIr) -> TensorIr,
) -> Result<()> {
    let (input, out) = only(op);
    if let Some(tangent) = jvp.tangent(input) {
        let factor = factor(&mut jvp.emit, input, out);
        let tangent = jvp.emit.mul(&tangent, &factor);
        jvp.set(out, tangent);
    }
    Ok(())
}

pub fn exp(jvp: &mut Jvp, op: &OperationIr) -> Result<()> {
    scaled(jvp, op, |_, _, y| y.clone())
}

pub fn log(jvp: &mut Jvp, op: &OperationIr) -> Result<()> {
    scaled(jvp, op, |e, x, _| e.recip(x))
}

pub fn log1p(jvp: &mut Jvp, op: &OperationIr) -> Result<()> {
    scaled(jvp, op, |e, x, _| {
        let shifted = e.add_scalar(x, 1.0);
        e.recip(&shifted)
    })
}

pub fn sqrt(jvp: &mut Jvp, op: &OperationIr) -> Result<()> {
    scaled(jvp, op, |e, _, y| {
        let inverse = e.recip(y);
        e.mul_scalar(&inverse, 0.5)
    })
}

pub fn recip(jvp: &mut Jvp, op: &OperationIr) -> Result<()> {
    scaled(jvp, op, |e, _, y| {
        let square = e.mul(y, y);
        e.neg(&square)
    })
}

pub fn erf(jvp: &mut Jvp, op: &OperationIr) -> Result<()> {
    scaled(jvp, op, |e, x, _| {
        let square = e.mul(x, x);
        let negative = e.neg(&square);
        let bell = e.exp(&negative);
        e.mul_scalar(&bell, FRAC_2_SQRT_PI)
    })
}

pub fn sin(jvp: &mut Jvp, op: &OperationIr) -> Result<()> {
    scaled(jvp, op, |e, x, _| e.cos(x))
}

pub fn cos(jvp: &mut Jvp, op: &OperationIr) -> Result<()> {
    scaled(jvp, op, |e, x, _| {
        let sin = e.sin(x);
        e.neg(&sin)
    })
}

pub fn tanh(jvp: &mut Jvp, op: &OperationIr) -> Result<()> {
    scaled(jvp, op, |e, _, y| {
        let square = e.mul(y, y);
        let negative = e.neg(&square);
        e.add_scalar(&negative, 1.0)
    })
}

pub fn abs(jvp: &mut Jvp, op: &OperationIr) -> Result<()> {
    scaled(jvp, op, |e, x, _| e.sign(x))
}

pub fn powf_scalar(jvp: &mut Jvp, op: &OperationIr) -> Result<()> {
    let OperationIr::Float(_, FloatOperationIr::PowfScalar(power)) = op else { return Err(wrong_row(op)) };
    let exponent: f64 = power.rhs.elem();
    scaled(jvp, op, |e, x, _| {
        let lower = e.powf_scalar(x, exponent - 1.0);
        e.mul_scalar(&lower, exponent)
    })
}

/// With a whole exponent, which may stand on a negative base.
pub fn powi_scalar(jvp: &mut Jvp, op: &OperationIr) -> Result<()> {
    let OperationIr::NumericFloat(dtype, NumericOperationIr::PowiScalar(power)) = op else { return Err(wrong_row(op)) };
    let exponent: i64 = power.rhs.elem();
    scaled(jvp, op, |e, x, _| {
        let out = e.like(x);
        let lower = ScalarOpIr { lhs: x.clone(), rhs: ScalarIr::Int(exponent - 1), out: out.clone() };
        let lower = e.push(OperationIr::NumericFloat(*dtype, NumericOperationIr::PowiScalar(lower)), out);
        e.mul_scalar(&lower, exponent as f64)
    })
}

pub fn add(jvp: &mut Jvp, op: &OperationIr) -> Result<()> {
    let terms: Vec<TensorIr> = op.inputs().filter_map(|input| jvp.tangent(input)).collect();
    jvp.set_sum(&out(op), terms);
    Ok(())
}

pub fn sub(jvp: &mut Jvp, op: &OperationIr) -> Result<()> {
    let operands: Vec<&TensorIr> = op.inputs().collect();
    let tangent = match (jvp.tangent(operands[0]), jvp.tangent(operands[1])) {
        (Some(lhs), Some(rhs)) => Some(jvp.emit.sub(&lhs, &rhs)),
        (Some(lhs), None) => Some(lhs),
        (None, Some(rhs)) => Some(jvp.emit.neg(&rhs)),
        (None, None) => None,
    };
    jvp.set_sum(&out(op), tangent);
    Ok(())
}

/// `y = a / b`: `y' = (a' - y b') / b`.
pub fn div(jvp: &mut Jvp, op: &OperationIr) -> Result<()> {
    let operands: Vec<TensorIr> = op.inputs().cloned().collect();
    let y = out(op);
    let inverse = jvp.emit.recip(&operands[1]);
    let mut terms = Vec::new();
    if let Some(numerator) = jvp.tangent(&operands[0]) {
        terms.push(jvp.emit.mul(&numerator, &inverse));
    }
    if let Some(denominator) = jvp.tangent(&operands[1]) {
        let ratio = jvp.emit.mul(&y, &inverse);
        let factor = jvp.emit.neg(&ratio);
        terms.push(jvp.emit.mul(&factor, &denominator));
    }
    jvp.set_sum(&y, terms);
    Ok(())
}

/// The filled places are constant.
pub fn mask_fill(jvp: &mut Jvp, op: &OperationIr) -> Result<()> {
    let OperationIr::BaseFloat(Base::MaskFill(fill)) = op else { return Err(wrong_row(op)) };
    if let Some(tangent) = jvp.tangent(&fill.tensor) {
        let result = jvp.emit.like(&fill.out);
        let mut fill = fill.clone();
        let of = std::mem::replace(&mut fill.out, result.clone());
        (fill.tensor, fill.value) = (tangent, ScalarIr::Float(0.0));
        let tangent = jvp.emit.push(OperationIr::BaseFloat(Base::MaskFill(fill)), result);
        jvp.set(&of, tangent);
    }
    Ok(())
}

/// Linear in tensor and value where values are added or assigned.
pub fn scatter(jvp: &mut Jvp, op: &OperationIr) -> Result<()> {
    let OperationIr::BaseFloat(Base::Scatter(scatter)) = op else { return Err(wrong_row(op)) };
    indexed_update(jvp, op, &scatter.update)
}

/// As [`scatter`].
pub fn select_assign(jvp: &mut Jvp, op: &OperationIr) -> Result<()> {
    let OperationIr::BaseFloat(Base::SelectAssign(assign)) = op else { return Err(wrong_row(op)) };
    indexed_update(jvp, op, &assign.update)
}

fn indexed_update(jvp: &mut Jvp, op: &OperationIr, update: &IndexingUpdateOp) -> Result<()> {
    if !matches!(update, IndexingUpdateOp::Add | IndexingUpdateOp::Assign) {
        return Err(unsupported(op, "only updates that add or assign are differentiable"));
    }
    let mut operands: Vec<TensorIr> = op.inputs().cloned().collect();
    for at in [0, 2] {
        operands[at] = jvp.tangent_or_zeros(&operands[at]);
    }
    let tangent = jvp.same(op, &operands);
    jvp.set(&out(op), tangent);
    Ok(())
}

pub fn relu(jvp: &mut Jvp, op: &OperationIr) -> Result<()> {
    unary_backward(jvp, op, Act::ReluBackward, |x, _| x.clone())
}

pub fn sigmoid(jvp: &mut Jvp, op: &OperationIr) -> Result<()> {
    unary_backward(jvp, op, Act::SigmoidBackward, |_, y| y.clone())
}

pub fn gelu(jvp: &mut Jvp, op: &OperationIr) -> Result<()> {
    unary_backward(jvp, op, Act::GeluBackward, |x, _| x.clone())
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

/// Bilinear in image and weight, plus a bias.
pub fn conv2d(jvp: &mut Jvp, op: &OperationIr) -> Result<()> {
    let OperationIr::Module(ModuleOperationIr::Conv2d(conv)) = op else { return Err(wrong_row(op)) };
    let mut bias = conv.bias.as_ref().and_then(|bias| jvp.tangent(bias));
    let mut terms = Vec::new();
    for (x, weight) in [(true, false), (false, true)] {
        let tangent = jvp.tangent(if x { &conv.x } else { &conv.weight });
        let Some(tangent) = tangent else { continue };
        let mut conv = conv.clone();
        *(if weight { &mut conv.weight } else { &mut conv.x }) = tangent;
        conv.bias = bias.take();
        conv.out = jvp.emit.like(&conv.out);
        let result = conv.out.clone();
        terms.push(jvp.emit.push(OperationIr::Module(ModuleOperationIr::Conv2d(conv)), result));
    }
    if let Some(bias) = bias {
        terms.push(per_channel(&mut jvp.emit, &bias, conv.out.shape.num_dims()));
    }
    jvp.set_sum(&conv.out, terms);
    Ok(())
}

/// `[C]` as `[1, C, 1, ..]`.
fn per_channel(emit: &mut Emitter, tensor: &TensorIr, rank: usize) -> TensorIr {
    let mut shape = vec![1; rank];
    shape[1] = tensor.shape.num_elements();
    emit.reshape(tensor, shape.into())
}

/// `y = gamma (x - mean) s + beta` with `s = 1 / sqrt(var + eps)`. Its tangent is `a x' + b xhat + c`, where
/// `a = gamma s` is known at the point and `b = gamma' - gamma s^2 var' / 2`, `c = beta' - a mean'` are small, one number
/// per channel: four passes over the image.
pub fn batch_norm(jvp: &mut Jvp, op: &OperationIr) -> Result<()> {
    let OperationIr::Module(ModuleOperationIr::BatchNorm(norm)) = op else { return Err(wrong_row(op)) };
    let rank = norm.x.shape.num_dims();
    let wide = |jvp: &mut Jvp, t: &TensorIr| jvp.tangent(t).map(|t| per_channel(&mut jvp.emit, &t, rank));
    let (gamma_t, beta_t) = (wide(jvp, &norm.gamma), wide(jvp, &norm.beta));
    let (mean_t, var_t) = (wide(jvp, &norm.mean), wide(jvp, &norm.variance));

    let e = &mut jvp.emit;
    let shifted = e.add_scalar(&norm.variance, norm.epsilon.elem());
    let deviation = e.sqrt(&shifted);
    let inverse = e.recip(&deviation);
    let s = per_channel(e, &inverse, rank);
    let mean = per_channel(e, &norm.mean, rank);
    let centred = e.sub(&norm.x, &mean);
    let xhat = e.mul(&centred, &s);
    let gamma = per_channel(e, &norm.gamma, rank);
    let a = e.mul(&gamma, &s);

    let mut terms = Vec::new();
    if let Some(x) = jvp.tangent(&norm.x) {
        terms.push(jvp.emit.mul(&a, &x));
    }
    let e = &mut jvp.emit;
    let from_var = var_t.map(|var| {
        let square = e.mul(&s, &s);
        let product = e.mul(&gamma, &square);
        let factor = e.mul_scalar(&product, -0.5);
        e.mul(&factor, &var)
    });
    let b = gamma_t.into_iter().chain(from_var).reduce(|p, q| e.add(&p, &q));
    terms.extend(b.map(|b| e.mul(&b, &xhat)));
    let from_mean = mean_t.map(|mean| {
        let negative = e.neg(&a);
        e.mul(&negative, &mean)
    });
    terms.extend(beta_t.into_iter().chain(from_mean).reduce(|p, q| e.add(&p, &q)));
    jvp.set_sum(&norm.out, terms);
    Ok(())
}

/// The tangents of the maxima, found through their indices, which count within a plane.
pub fn max_pool2d(jvp: &mut Jvp, op: &OperationIr) -> Result<()> {
    let OperationIr::Module(ModuleOperationIr::MaxPool2dWithIndices(pool)) = op else { return Err(wrong_row(op)) };
    let Some(tangent) = jvp.tangent(&pool.x) else { return Ok(()) };
    let flat = |tensor: &TensorIr| -> Shape {
        let [n, c, h, w] = tensor.shape.dims();
        [n, c, h * w].into()
    };
    let planes = jvp.emit.reshape(&tangent, flat(&pool.x));
    let indices = jvp.emit.reshape(&pool.out_indices, flat(&pool.out));
    let picked = jvp.emit.value(flat(&pool.out), tangent.dtype);
    let gather = Base::Gather(GatherOpIr { tensor: planes, dim: 2, indices, out: picked.clone() });
    let picked = jvp.emit.push(base(&picked, gather), picked);
    let tangent = jvp.emit.reshape(&picked, pool.out.shape.clone());
    jvp.set(&pool.out, tangent);
    Ok(())
}

/// A stopped gradient is constant; any other custom operation has no rule here.
pub fn custom(_: &mut Jvp, op: &OperationIr) -> Result<()> {
    if is_stop(op) {
        return Ok(());
    }
    Err(unsupported(op, "custom operations have no derivative here"))
}

fn wrong_row(op: &OperationIr) -> crate::Error {
    unsupported(op, "it stands in the row of another operation")
}
