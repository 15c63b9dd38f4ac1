//! Selections and updates by index, mask or border: linear where values are copied or added.
//!
//! Does not know: what the indices are.

use burn::tensor::IndexingUpdateOp;
use burn_ir::{
    BaseOperationIr as Base, FloatOperationIr as Float, NumericOperationIr as Numeric, OperationIr, PadModeIr,
    ScalarIr, TensorIr,
};

use super::nonlinear::wrong_row;
use crate::error::Result;
use crate::jvp::{Jvp, out, unsupported};

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

/// A constant border stays as it is; a border made of the tensor's own elements takes their tangents.
pub fn pad(jvp: &mut Jvp, op: &OperationIr) -> Result<()> {
    let OperationIr::NumericFloat(dtype, Numeric::Pad(pad)) = op else { return Err(wrong_row(op)) };
    if let Some(tangent) = jvp.tangent(&pad.input) {
        let result = jvp.emit.like(&pad.out);
        let mut pad = pad.clone();
        let of = std::mem::replace(&mut pad.out, result.clone());
        pad.input = tangent;
        if let PadModeIr::Constant(value) = &mut pad.mode {
            *value = ScalarIr::Float(0.0);
        }
        let tangent = jvp.emit.push(OperationIr::NumericFloat(*dtype, Numeric::Pad(pad)), result);
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
pub fn scatter_nd(jvp: &mut Jvp, op: &OperationIr) -> Result<()> {
    let OperationIr::BaseFloat(Base::ScatterNd(scatter)) = op else { return Err(wrong_row(op)) };
    indexed_update(jvp, op, &scatter.reduction)
}

/// As [`scatter`].
pub fn select_assign(jvp: &mut Jvp, op: &OperationIr) -> Result<()> {
    let OperationIr::BaseFloat(Base::SelectAssign(assign)) = op else { return Err(wrong_row(op)) };
    indexed_update(jvp, op, &assign.update)
}

fn indexed_update(jvp: &mut Jvp, op: &OperationIr, update: &IndexingUpdateOp) -> Result<()> {
    if !matches!(update, IndexingUpdateOp::Add | IndexingUpdateOp::Assign) {
        return Err(unsupported(
            op,
            "only updates that add or assign are differentiable: gather, combine, and assign the result",
        ));
    }
    let mut operands: Vec<TensorIr> = op.inputs().cloned().collect();
    for at in [0, 2] {
        operands[at] = jvp.tangent_or_zeros(&operands[at]);
    }
    let tangent = jvp.same(op, &operands);
    jvp.set(&out(op), tangent);
    Ok(())
}

/// Linear in the image; the grid must be constant. Autodiff takes a sampling with tracked operands apart.
pub fn grid_sample(jvp: &mut Jvp, op: &OperationIr) -> Result<()> {
    let OperationIr::Float(_, Float::GridSample2d(sample)) = op else { return Err(wrong_row(op)) };
    if jvp.tangent(&sample.grid).is_some() {
        return Err(unsupported(op, "it is differentiable in the image alone, not in the grid"));
    }
    if let Some(tangent) = jvp.tangent(&sample.tensor) {
        let tangent = jvp.same(op, &[tangent, sample.grid.clone()]);
        jvp.set(&sample.out, tangent);
    }
    Ok(())
}
