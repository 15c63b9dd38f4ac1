//! Arithmetic and functions of one or two variables, element by element.
//!
//! Does not know: axes.

use std::f64::consts::PI;

use burn_ir::{
    BoolOperationIr, CastOpIr, FloatOperationIr as Float, IntOperationIr, NumericOperationIr as Numeric, OperationIr,
    ScalarIr, ScalarOpIr, TensorIr,
};

use super::nonlinear::wrong_row;
use crate::emit::Emitter;
use crate::error::Result;
use crate::jvp::{Jvp, only, out};

/// `f'(x) x'` for a function of one variable, its derivative emitted by `factor` from input and result.
pub(super) fn scaled(
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
    scaled(jvp, op, |e, x, _| {
        let inverse = e.powf_scalar(x, -0.5);
        e.div_scalar(&inverse, 2.0)
    })
}

/// `-(x' y) y`, not `-x' (y y)`: the square overflows long before the reciprocal does, and would make NaN of a tangent of
/// zero. Burn divides by the smallest positive number where a row of attention is masked altogether.
pub fn recip(jvp: &mut Jvp, op: &OperationIr) -> Result<()> {
    let (input, out) = only(op);
    if let Some(tangent) = jvp.tangent(input) {
        let once = jvp.emit.mul(&tangent, out);
        let twice = jvp.emit.mul(&once, out);
        let tangent = jvp.emit.neg(&twice);
        jvp.set(out, tangent);
    }
    Ok(())
}

pub fn erf(jvp: &mut Jvp, op: &OperationIr) -> Result<()> {
    scaled(jvp, op, |e, x, _| {
        let square = e.mul(x, x);
        let negative = e.neg(&square);
        let bell = e.exp(&negative);
        let twice = e.mul_scalar(&bell, 2.0);
        e.div_scalar(&twice, PI.sqrt())
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

pub fn tan(jvp: &mut Jvp, op: &OperationIr) -> Result<()> {
    scaled(jvp, op, |e, _, y| {
        let square = e.mul(y, y);
        e.add_scalar(&square, 1.0)
    })
}

pub fn sinh(jvp: &mut Jvp, op: &OperationIr) -> Result<()> {
    scaled(jvp, op, |e, x, _| e.cosh(x))
}

pub fn cosh(jvp: &mut Jvp, op: &OperationIr) -> Result<()> {
    scaled(jvp, op, |e, x, _| e.sinh(x))
}

pub fn tanh(jvp: &mut Jvp, op: &OperationIr) -> Result<()> {
    scaled(jvp, op, |e, _, y| one_minus_square(e, y))
}

pub fn asin(jvp: &mut Jvp, op: &OperationIr) -> Result<()> {
    scaled(jvp, op, |e, x, _| inverse_of_cosine(e, x))
}

pub fn acos(jvp: &mut Jvp, op: &OperationIr) -> Result<()> {
    scaled(jvp, op, |e, x, _| {
        let inverse = inverse_of_cosine(e, x);
        e.neg(&inverse)
    })
}

pub fn atan(jvp: &mut Jvp, op: &OperationIr) -> Result<()> {
    scaled(jvp, op, |e, x, _| {
        let square = e.mul(x, x);
        let shifted = e.add_scalar(&square, 1.0);
        e.recip(&shifted)
    })
}

pub fn asinh(jvp: &mut Jvp, op: &OperationIr) -> Result<()> {
    scaled(jvp, op, |e, x, _| {
        let square = e.mul(x, x);
        let shifted = e.add_scalar(&square, 1.0);
        let root = e.sqrt(&shifted);
        e.recip(&root)
    })
}

pub fn acosh(jvp: &mut Jvp, op: &OperationIr) -> Result<()> {
    scaled(jvp, op, |e, x, _| {
        let square = e.mul(x, x);
        let shifted = e.sub_scalar(&square, 1.0);
        let root = e.sqrt(&shifted);
        e.recip(&root)
    })
}

pub fn atanh(jvp: &mut Jvp, op: &OperationIr) -> Result<()> {
    scaled(jvp, op, |e, x, _| {
        let difference = one_minus_square(e, x);
        e.recip(&difference)
    })
}

/// `1 - x^2`.
fn one_minus_square(e: &mut Emitter, x: &TensorIr) -> TensorIr {
    let square = e.mul(x, x);
    let negative = e.neg(&square);
    e.add_scalar(&negative, 1.0)
}

/// `1 / sqrt(1 - x^2)`.
fn inverse_of_cosine(e: &mut Emitter, x: &TensorIr) -> TensorIr {
    let difference = one_minus_square(e, x);
    let root = e.sqrt(&difference);
    e.recip(&root)
}

/// The sign, which is 0 at 0.
pub fn abs(jvp: &mut Jvp, op: &OperationIr) -> Result<()> {
    scaled(jvp, op, |e, x, _| e.sign(x))
}

/// Constant where a bound replaced the value; on a bound itself the derivative is one.
pub fn clamp(jvp: &mut Jvp, op: &OperationIr) -> Result<()> {
    let (input, out) = only(op);
    if let Some(tangent) = jvp.tangent(input) {
        let replaced = jvp.emit.not_equal(input, out);
        let tangent = jvp.emit.mask_fill(&tangent, &replaced, 0.0);
        jvp.set(out, tangent);
    }
    Ok(())
}

/// `c x^(c-1)`. The exponents 0 and 1 are cases of their own: at `x = 0` the formula has `0 * inf` for them.
pub fn powf_scalar(jvp: &mut Jvp, op: &OperationIr) -> Result<()> {
    let OperationIr::Float(_, Float::PowfScalar(power)) = op else { return Err(wrong_row(op)) };
    match power.rhs.elem::<f64>() {
        0.0 => Ok(()),
        1.0 => identity(jvp, op),
        exponent => scaled(jvp, op, |e, x, _| {
            let lower = if exponent == 2.0 { x.clone() } else { e.powf_scalar(x, exponent - 1.0) };
            e.mul_scalar(&lower, exponent)
        }),
    }
}

/// As [`powf_scalar`], with a whole exponent, which may stand on a negative base.
pub fn powi_scalar(jvp: &mut Jvp, op: &OperationIr) -> Result<()> {
    let OperationIr::NumericFloat(dtype, Numeric::PowiScalar(power)) = op else { return Err(wrong_row(op)) };
    match power.rhs.elem::<i64>() {
        0 => Ok(()),
        1 => identity(jvp, op),
        exponent => scaled(jvp, op, |e, x, _| {
            let lower = if exponent == 2 { x.clone() } else { powi(e, *dtype, x, exponent - 1) };
            e.mul_scalar(&lower, exponent as f64)
        }),
    }
}

fn powi(e: &mut Emitter, dtype: burn::tensor::DType, x: &TensorIr, exponent: i64) -> TensorIr {
    let out = e.like(x);
    let power = ScalarOpIr { lhs: x.clone(), rhs: ScalarIr::Int(exponent), out: out.clone() };
    e.push(OperationIr::NumericFloat(dtype, Numeric::PowiScalar(power)), out)
}

fn identity(jvp: &mut Jvp, op: &OperationIr) -> Result<()> {
    let (input, out) = only(op);
    jvp.set_sum(out, jvp.tangent(input));
    Ok(())
}

/// `x^p`: `p x^(p-1) x' + x^p log(x) p'`.
pub fn powf(jvp: &mut Jvp, op: &OperationIr) -> Result<()> {
    let OperationIr::Float(_, Float::Powf(power)) = op else { return Err(wrong_row(op)) };
    let mut terms = Vec::new();
    if let Some(base) = jvp.tangent(&power.lhs) {
        let factor = power_factor(&mut jvp.emit, &power.lhs, &power.rhs);
        terms.push(jvp.emit.mul(&base, &factor));
    }
    if let Some(exponent) = jvp.tangent(&power.rhs) {
        let log = jvp.emit.log(&power.lhs);
        let factor = jvp.emit.mul(&power.out, &log);
        terms.push(jvp.emit.mul(&exponent, &factor));
    }
    jvp.set_sum(&power.out, terms);
    Ok(())
}

/// As [`powf`], with whole exponents, which carry no tangent.
pub fn powi_tensor(jvp: &mut Jvp, op: &OperationIr) -> Result<()> {
    let OperationIr::NumericFloat(dtype, Numeric::Powi(power)) = op else { return Err(wrong_row(op)) };
    if let Some(tangent) = jvp.tangent(&power.lhs) {
        let e = &mut jvp.emit;
        let exponent = e.value(power.rhs.shape.clone(), *dtype);
        let cast = CastOpIr { input: power.rhs.clone(), out: exponent.clone() };
        let cast = match power.rhs.dtype.is_bool() {
            true => OperationIr::Bool(BoolOperationIr::IntoFloat(cast)),
            false => OperationIr::Int(IntOperationIr::IntoFloat(cast)),
        };
        let exponent = e.push(cast, exponent);
        let factor = power_factor(e, &power.lhs, &exponent);
        let tangent = e.mul(&tangent, &factor);
        jvp.set(&power.out, tangent);
    }
    Ok(())
}

/// `p x^(p-1)`, and 0 where `p` is 0: there the formula has `0 * inf` at `x = 0`. Burn's gradient of `x^1` differentiates
/// into that case.
fn power_factor(e: &mut Emitter, x: &TensorIr, p: &TensorIr) -> TensorIr {
    let lower = e.sub_scalar(p, 1.0);
    let power = e.powf(x, &lower);
    let factor = e.mul(&power, p);
    let constant = e.is_zero(p);
    let constant = e.expand(&constant, &factor.shape);
    e.mask_fill(&factor, &constant, 0.0)
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

/// `f_a a' + f_b b'` for a function of two variables, its partial derivatives emitted where they are wanted. `None` stands
/// for one.
fn partials(
    jvp: &mut Jvp,
    op: &OperationIr,
    by_first: impl FnOnce(&mut Emitter, &TensorIr, &TensorIr) -> Option<TensorIr>,
    by_second: impl FnOnce(&mut Emitter, &TensorIr, &TensorIr) -> TensorIr,
) -> Result<()> {
    let operands: Vec<TensorIr> = op.inputs().cloned().collect();
    let (a, b) = (&operands[0], &operands[1]);
    let mut terms = Vec::new();
    if let Some(tangent) = jvp.tangent(a) {
        terms.push(match by_first(&mut jvp.emit, a, b) {
            Some(factor) => jvp.emit.mul(&tangent, &factor),
            None => tangent,
        });
    }
    if let Some(tangent) = jvp.tangent(b) {
        let factor = by_second(&mut jvp.emit, a, b);
        terms.push(jvp.emit.mul(&tangent, &factor));
    }
    jvp.set_sum(&out(op), terms);
    Ok(())
}

/// `a / b`: `a' / b - ((a / b) / b) b'`. The square of a small `b` would be zero.
pub fn div(jvp: &mut Jvp, op: &OperationIr) -> Result<()> {
    let ratio = out(op);
    let by_numerator = |e: &mut Emitter, _: &TensorIr, b: &TensorIr| Some(e.recip(b));
    partials(jvp, op, by_numerator, |e, _, b| {
        let factor = e.div(&ratio, b);
        e.neg(&factor)
    })
}

/// `a - floor(a / b) b`, a step in `a / b` apart.
pub fn rem(jvp: &mut Jvp, op: &OperationIr) -> Result<()> {
    partials(
        jvp,
        op,
        |_, _, _| None,
        |e, a, b| {
            let ratio = e.div(a, b);
            let whole = e.floor(&ratio);
            e.neg(&whole)
        },
    )
}

/// The angle of `(x, y)`: `(x y' - y x') / (x^2 + y^2)`.
pub fn atan2(jvp: &mut Jvp, op: &OperationIr) -> Result<()> {
    let norm = |e: &mut Emitter, y: &TensorIr, x: &TensorIr| {
        let (x, y) = (e.mul(x, x), e.mul(y, y));
        e.add(&x, &y)
    };
    let by_y = |e: &mut Emitter, y: &TensorIr, x: &TensorIr| {
        let norm = norm(e, y, x);
        Some(e.div(x, &norm))
    };
    partials(jvp, op, by_y, |e, y, x| {
        let norm = norm(e, y, x);
        let ratio = e.div(y, &norm);
        e.neg(&ratio)
    })
}

/// `sqrt(a^2 + b^2)`: `(a a' + b b') / hypot(a, b)`.
pub fn hypot(jvp: &mut Jvp, op: &OperationIr) -> Result<()> {
    let length = out(op);
    let by_first = |e: &mut Emitter, a: &TensorIr, _: &TensorIr| Some(e.div(a, &length));
    partials(jvp, op, by_first, |e, _, b| e.div(b, &length))
}
