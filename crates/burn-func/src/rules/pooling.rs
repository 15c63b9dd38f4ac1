//! Derivatives of pooling that need a formula. Averages, interpolation and all backwards are linear and stand in the table.
//!
//! Does not know: which part an operation lands in.

use burn::tensor::Shape;
use burn_ir::{BaseOperationIr, GatherOpIr, ModuleOperationIr as M, OperationIr, TensorIr};

use super::nonlinear::wrong_row;
use crate::emit::base;
use crate::error::Result;
use crate::jvp::Jvp;

/// The tangents of the maxima, found through their indices. On every backend an index counts the elements of its own
/// plane of one batch element and channel, row by row and without padding.
pub fn max_pool(jvp: &mut Jvp, op: &OperationIr) -> Result<()> {
    let (x, out, indices) = match op {
        OperationIr::Module(M::MaxPool1dWithIndices(pool)) => (&pool.x, &pool.out, &pool.out_indices),
        OperationIr::Module(M::MaxPool2dWithIndices(pool)) => (&pool.x, &pool.out, &pool.out_indices),
        _ => return Err(wrong_row(op)),
    };
    let Some(tangent) = jvp.tangent(x) else { return Ok(()) };
    let planes = jvp.emit.reshape(&tangent, flat(x));
    let indices = jvp.emit.reshape(indices, flat(out));
    let picked = jvp.emit.value(flat(out), tangent.dtype);
    let gather = BaseOperationIr::Gather(GatherOpIr { tensor: planes, dim: 2, indices, out: picked.clone() });
    let picked = jvp.emit.push(base(&picked, gather), picked);
    let tangent = jvp.emit.reshape(&picked, out.shape.clone());
    jvp.set(out, tangent);
    Ok(())
}

/// `[N, C, ..]` with the plane as one axis.
fn flat(tensor: &TensorIr) -> Shape {
    let (outer, plane) = tensor.shape.as_slice().split_at(2);
    [outer[0], outer[1], plane.iter().product()].into()
}
