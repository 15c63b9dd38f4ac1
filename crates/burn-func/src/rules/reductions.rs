//! Extremes, products and running reductions: what their tangents are taken from, and with which factors.
//!
//! Does not know: shapes beyond the axis that is reduced.

use burn::tensor::Shape;
use burn_ir::{NumericOperationIr as Numeric, OperationIr, TensorIr};

use super::nonlinear::wrong_row;
use crate::emit::Emitter;
use crate::error::Result;
use crate::jvp::{Jvp, only};

type Position = fn(&mut Emitter, &TensorIr, usize) -> TensorIr;

pub fn max(jvp: &mut Jvp, op: &OperationIr) -> Result<()> {
    extreme(jvp, op, Emitter::argmax)
}

pub fn min(jvp: &mut Jvp, op: &OperationIr) -> Result<()> {
    extreme(jvp, op, Emitter::argmin)
}

/// The tangent of the first extreme of all elements.
fn extreme(jvp: &mut Jvp, op: &OperationIr, position: Position) -> Result<()> {
    let (input, out) = only(op);
    if let Some(tangent) = jvp.tangent(input) {
        let flat = Shape::from([input.shape.num_elements()]);
        let values = jvp.emit.reshape(input, flat.clone());
        let at = position(&mut jvp.emit, &values, 0);
        let tangents = jvp.emit.reshape(&tangent, flat);
        let tangent = jvp.emit.gather(&tangents, 0, &at);
        jvp.set(out, tangent);
    }
    Ok(())
}

/// The tangent where the absolute value is largest, with the sign that the value has there.
pub fn max_abs(jvp: &mut Jvp, op: &OperationIr) -> Result<()> {
    let (input, out) = only(op);
    if let Some(tangent) = jvp.tangent(input) {
        let flat = Shape::from([input.shape.num_elements()]);
        let values = jvp.emit.reshape(input, flat.clone());
        let tangents = jvp.emit.reshape(&tangent, flat);
        let tangent = at_largest(&mut jvp.emit, &values, &tangents, 0);
        jvp.set(out, tangent);
    }
    Ok(())
}

/// As [`max_abs`], along an axis.
pub fn max_abs_dim(jvp: &mut Jvp, op: &OperationIr) -> Result<()> {
    let OperationIr::NumericFloat(_, Numeric::MaxAbsDim(reduce)) = op else { return Err(wrong_row(op)) };
    if let Some(tangent) = jvp.tangent(&reduce.input) {
        let tangent = at_largest(&mut jvp.emit, &reduce.input, &tangent, reduce.axis);
        jvp.set(&reduce.out, tangent);
    }
    Ok(())
}

fn at_largest(e: &mut Emitter, values: &TensorIr, tangents: &TensorIr, axis: usize) -> TensorIr {
    let magnitude = e.abs(values);
    let at = e.argmax(&magnitude, axis);
    let value = e.gather(values, axis, &at);
    let sign = e.sign(&value);
    let tangent = e.gather(tangents, axis, &at);
    e.mul(&tangent, &sign)
}

/// The tangents at the positions that the operation itself reports.
pub fn with_indices(jvp: &mut Jvp, op: &OperationIr) -> Result<()> {
    let OperationIr::NumericFloat(_, op_of) = op else { return Err(wrong_row(op)) };
    let (input, dim, indices, out) = match op_of {
        Numeric::MaxDimWithIndices(op) | Numeric::MinDimWithIndices(op) => {
            (&op.tensor, op.dim, &op.out_indices, &op.out)
        }
        Numeric::TopKWithIndices(op) => (&op.tensor, op.dim, &op.out_indices, &op.out),
        Numeric::SortWithIndices(op) => (&op.input, op.dim, &op.out_indices, &op.out),
        _ => return Err(wrong_row(op)),
    };
    if let Some(tangent) = jvp.tangent(input) {
        let tangent = jvp.emit.gather(&tangent, dim, indices);
        jvp.set(out, tangent);
    }
    Ok(())
}

/// `sum_i x'_i prod_{j != i} x_j`, over all elements.
pub fn prod(jvp: &mut Jvp, op: &OperationIr) -> Result<()> {
    let (input, out) = only(op);
    if let Some(tangent) = jvp.tangent(input) {
        let factor = product_of_others(&mut jvp.emit, input, None);
        let scaled = jvp.emit.mul(&tangent, &factor);
        let tangent = jvp.emit.sum(&scaled);
        jvp.set(out, tangent);
    }
    Ok(())
}

/// As [`prod`], along an axis.
pub fn prod_dim(jvp: &mut Jvp, op: &OperationIr) -> Result<()> {
    let OperationIr::NumericFloat(_, Numeric::ProdDim(reduce)) = op else { return Err(wrong_row(op)) };
    if let Some(tangent) = jvp.tangent(&reduce.input) {
        let factor = product_of_others(&mut jvp.emit, &reduce.input, Some(reduce.axis));
        let scaled = jvp.emit.mul(&tangent, &factor);
        let tangent = jvp.emit.sum_dim(&scaled, reduce.axis);
        jvp.set(&reduce.out, tangent);
    }
    Ok(())
}

/// For every element the product of all others, finite where factors are zero. Operation by operation what Burn's backward
/// of a product emits.
fn product_of_others(e: &mut Emitter, x: &TensorIr, axis: Option<usize>) -> TensorIr {
    let is_zero = e.is_zero(x);
    let zeros = e.indicator(&is_zero, x.dtype);
    let safe = e.add(x, &zeros);
    let (count, product) = match axis {
        Some(axis) => (e.sum_dim(&zeros, axis), e.prod_dim(&safe, axis)),
        None => (e.sum(&zeros), e.prod(&safe)),
    };
    let none = e.lower_scalar(&count, 0.5);
    let at_most_one = e.lower_scalar(&count, 1.5);
    let some = e.not(&none);
    let one = e.and(&some, &at_most_one);
    let product = match axis {
        Some(_) => product,
        None => e.reshape(&product, vec![1; x.shape.num_dims()].into()),
    };
    let (none, one) = (e.expand(&none, &x.shape), e.expand(&one, &x.shape));
    let ordinary = e.div(&product, &safe);
    let empty = e.zeros_like(x);
    let at_the_zero = e.mask_where(&empty, &is_zero, &ordinary);
    let factor = e.mask_where(&empty, &none, &ordinary);
    e.mask_where(&factor, &one, &at_the_zero)
}

/// `y_j = prod_{i <= j} x_i`: `y'_j = y_j sum_{i <= j} x'_i / x_i` before the first zero, at position `z`; from there on
/// only `x'_z` is left, times the product without the zero.
pub fn cumprod(jvp: &mut Jvp, op: &OperationIr) -> Result<()> {
    let OperationIr::NumericFloat(_, Numeric::CumProd(running)) = op else { return Err(wrong_row(op)) };
    let Some(tangent) = jvp.tangent(&running.input) else { return Ok(()) };
    let (e, x, axis) = (&mut jvp.emit, &running.input, running.axis);
    let is_zero = e.is_zero(x);
    let zeros = e.indicator(&is_zero, x.dtype);
    let seen = e.cumsum(&zeros, axis);
    let until_second = e.lower_scalar(&seen, 1.5);
    let until_second = e.indicator(&until_second, x.dtype);
    let at_first = e.mul(&zeros, &until_second);
    let without = e.add(x, &at_first);
    let product = e.cumprod(&without, axis);
    let safe = e.add(x, &zeros);
    let inverse = e.recip(&safe);

    let before = e.mul(&tangent, &inverse);
    let before = e.cumsum(&before, axis);
    let before = e.mul(&running.out, &before);
    let after = e.mul(&tangent, &at_first);
    let after = e.cumsum(&after, axis);
    let after = e.mul(&product, &after);
    let tangent = e.add(&before, &after);
    jvp.set(&running.out, tangent);
    Ok(())
}

/// The tangent of the running extreme: of the last element so far that equals it.
pub fn running_extreme(jvp: &mut Jvp, op: &OperationIr) -> Result<()> {
    let OperationIr::NumericFloat(_, Numeric::CumMax(running) | Numeric::CumMin(running)) = op else {
        return Err(wrong_row(op));
    };
    if let Some(tangent) = jvp.tangent(&running.input) {
        let is_extreme = jvp.emit.equal(&running.out, &running.input);
        let at = jvp.emit.last_position(&is_extreme, running.axis);
        let tangent = jvp.emit.gather(&tangent, running.axis, &at);
        jvp.set(&running.out, tangent);
    }
    Ok(())
}
