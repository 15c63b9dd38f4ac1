//! Derivatives of normalisations.
//!
//! Does not know: which part an operation lands in.

use burn::tensor::Shape;
use burn_ir::{ModuleOperationIr as M, NumericOperationIr, OperationIr, ReduceDimOpIr, TensorIr};

use super::nonlinear::wrong_row;
use crate::emit::Emitter;
use crate::error::Result;
use crate::jvp::Jvp;

/// `[C]` as `[1, .., C, .., 1]`, with `C` at `axis`.
pub fn along(emit: &mut Emitter, tensor: &TensorIr, rank: usize, axis: usize) -> TensorIr {
    let mut shape = vec![1; rank];
    shape[axis] = tensor.shape.num_elements();
    emit.reshape(tensor, shape.into())
}

/// `y = gamma (x - mean) s + beta` with `s = 1 / sqrt(var + eps)`. Its tangent is `a x' + b xhat + c`, where
/// `a = gamma s` is known at the point and `b = gamma' - gamma s^2 var' / 2`, `c = beta' - a mean'` are small, one number
/// per channel: four passes over the image.
pub fn batch_norm(jvp: &mut Jvp, op: &OperationIr) -> Result<()> {
    let OperationIr::Module(M::BatchNorm(norm)) = op else { return Err(wrong_row(op)) };
    let rank = norm.x.shape.num_dims();
    let wide = |jvp: &mut Jvp, t: &TensorIr| jvp.tangent(t).map(|t| along(&mut jvp.emit, &t, rank, 1));
    let (gamma_t, beta_t) = (wide(jvp, &norm.gamma), wide(jvp, &norm.beta));
    let (mean_t, var_t) = (wide(jvp, &norm.mean), wide(jvp, &norm.variance));

    let e = &mut jvp.emit;
    let shifted = e.add_scalar(&norm.variance, norm.epsilon.elem());
    let deviation = e.sqrt(&shifted);
    let inverse = e.recip(&deviation);
    let s = along(e, &inverse, rank, 1);
    let mean = along(e, &norm.mean, rank, 1);
    let centred = e.sub(&norm.x, &mean);
    let xhat = e.mul(&centred, &s);
    let gamma = along(e, &norm.gamma, rank, 1);
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

/// `y = gamma xhat + beta` with `xhat = (x - mean) r`, `r = 1 / sqrt(var + eps)` over the last axis, the variance biased.
/// Then `xhat' = r (x' - mean(x') - xhat mean(xhat x'))`.
pub fn layer_norm(jvp: &mut Jvp, op: &OperationIr) -> Result<()> {
    let OperationIr::Module(M::LayerNorm(norm)) = op else { return Err(wrong_row(op)) };
    let rank = norm.input.shape.num_dims();
    let wide = |jvp: &mut Jvp, t: &TensorIr| jvp.tangent(t).map(|t| along(&mut jvp.emit, &t, rank, rank - 1));
    let gamma_t = wide(jvp, &norm.gamma);
    let beta_t = norm.beta.as_ref().and_then(|beta| wide(jvp, beta));
    let x_t = jvp.tangent(&norm.input);

    let e = &mut jvp.emit;
    let mean = mean_last(e, &norm.input);
    let centred = e.sub(&norm.input, &mean);
    let square = e.mul(&centred, &centred);
    let variance = mean_last(e, &square);
    let shifted = e.add_scalar(&variance, norm.epsilon.elem());
    let deviation = e.sqrt(&shifted);
    let r = e.recip(&deviation);
    let xhat = e.mul(&centred, &r);

    let mut terms = Vec::new();
    if let Some(x) = x_t {
        let gamma = along(e, &norm.gamma, rank, rank - 1);
        let product = e.mul(&xhat, &x);
        let share = mean_last(e, &product);
        let projected = e.mul(&xhat, &share);
        let mean = mean_last(e, &x);
        let centred = e.sub(&x, &mean);
        let rest = e.sub(&centred, &projected);
        let scale = e.mul(&gamma, &r);
        terms.push(e.mul(&scale, &rest));
    }
    terms.extend(gamma_t.map(|gamma| e.mul(&gamma, &xhat)));
    terms.extend(beta_t);
    jvp.set_sum(&norm.out, terms);
    Ok(())
}

/// The mean over the last axis, kept with length one.
fn mean_last(emit: &mut Emitter, input: &TensorIr) -> TensorIr {
    let axis = input.shape.num_dims() - 1;
    let mut shape: Shape = input.shape.clone();
    shape[axis] = 1;
    let out = emit.value(shape, input.dtype);
    let mean = ReduceDimOpIr { input: input.clone(), out: out.clone(), axis, accumulator_len: 1 };
    emit.push(OperationIr::NumericFloat(out.dtype, NumericOperationIr::MeanDim(mean)), out)
}
