//! Operations with a batch axis of their own: items one after the other in it, or side by side in the channels.
//!
//! Does not know: what a kernel computes.

use burn_ir::{ModuleOperationIr as Module, OperationIr, TensorIr};

use super::{set_reshaped, swap, wrong_row};
use crate::error::Result;
use crate::graph::with_tensors;
use crate::jvp::out;
use crate::vmap::{Vmap, unbatchable};

/// One batch with the items one after the other.
pub(super) fn fold_into_first(vmap: &mut Vmap, op: &OperationIr) -> Result<()> {
    let rows = out(op).shape.first().copied();
    let operands = op.inputs().map(|operand| folded(vmap, op, operand, rows)).collect::<Result<Vec<_>>>()?;
    emit_folded(vmap, op, &operands);
    Ok(())
}

/// `[n, N, ..]` as `[n * N, ..]`.
pub(super) fn folded(vmap: &mut Vmap, op: &OperationIr, operand: &TensorIr, rows: Option<usize>) -> Result<TensorIr> {
    let full = vmap.full(operand);
    let mut shape = full.shape.to_vec();
    match (operand.shape.first().copied(), rows) {
        (Some(own), Some(rows)) if own == rows || own == 1 => shape[1] = rows,
        _ => return Err(unbatchable(op, "its operands do not share their first axis")),
    }
    let full = vmap.emit.expand(&full, &shape.clone().into());
    let first = shape.remove(0);
    shape[0] *= first;
    Ok(vmap.emit.reshape(&full, shape.into()))
}

/// Emits an operation on folded operands and unfolds its results.
pub(super) fn emit_folded(vmap: &mut Vmap, op: &OperationIr, operands: &[TensorIr]) {
    let n = vmap.items();
    let folded = |of: &TensorIr| {
        let mut shape = of.shape.to_vec();
        shape[0] *= n;
        shape
    };
    let results: Vec<TensorIr> = op.outputs().map(|out| vmap.emit.value(folded(out).into(), out.dtype)).collect();
    vmap.emit.ops.push(with_tensors(op, operands, &results));
    op.outputs().zip(&results).for_each(|(out, result)| set_reshaped(vmap, out, result));
}

/// What an operand of an operation on channels is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Kind {
    /// `[batch, channels, ..]`.
    Image,
    /// One block per channel along the first axis: a kernel, a bias, a statistic.
    PerChannel,
}

use Kind::{Image, PerChannel};

/// Kinds of operands and of results.
pub(super) fn kinds(op: &Module) -> Option<(&'static [Kind], &'static [Kind])> {
    let kinds: (&'static [Kind], &'static [Kind]) = match op {
        Module::BatchNorm(_) => (&[Image, PerChannel, PerChannel, PerChannel, PerChannel], &[Image]),
        Module::Conv1d(_)
        | Module::Conv2d(_)
        | Module::Conv3d(_)
        | Module::ConvTranspose1d(_)
        | Module::ConvTranspose2d(_)
        | Module::ConvTranspose3d(_) => (&[Image, PerChannel, PerChannel], &[Image]),
        Module::Conv1dXBackward(_) | Module::Conv2dXBackward(_) | Module::Conv3dXBackward(_) => {
            (&[Image, PerChannel, Image], &[Image])
        }
        Module::Conv1dWeightBackward(_)
        | Module::Conv2dWeightBackward(_)
        | Module::Conv3dWeightBackward(_)
        | Module::ConvTranspose1dWeightBackward(_)
        | Module::ConvTranspose2dWeightBackward(_)
        | Module::ConvTranspose3dWeightBackward(_)
        | Module::Conv1dBiasBackward(_)
        | Module::Conv2dBiasBackward(_)
        | Module::Conv3dBiasBackward(_)
        | Module::ConvTranspose1dBiasBackward(_)
        | Module::ConvTranspose2dBiasBackward(_)
        | Module::ConvTranspose3dBiasBackward(_) => (&[Image, PerChannel, Image], &[PerChannel]),
        Module::DeformableConv2d(op) => match op.mask {
            Some(_) => (&[Image, Image, PerChannel, Image, PerChannel], &[Image]),
            None => (&[Image, Image, PerChannel, PerChannel], &[Image]),
        },
        Module::DeformableConv2dBackward(op) => match op.mask {
            Some(_) => {
                (&[Image, Image, PerChannel, Image, Image, PerChannel], &[Image, Image, PerChannel, Image, PerChannel])
            }
            None => (&[Image, Image, PerChannel, Image, PerChannel], &[Image, Image, PerChannel, PerChannel]),
        },
        _ => return None,
    };
    Some(kinds)
}

/// Multiplies the groups of a convolution.
fn multiply_groups(op: &mut Module, n: usize) {
    match op {
        Module::Conv1d(op) => op.options.groups *= n,
        Module::Conv2d(op) => op.options.groups *= n,
        Module::Conv3d(op) => op.options.groups *= n,
        Module::Conv1dXBackward(op) => op.options.groups *= n,
        Module::Conv2dXBackward(op) => op.options.groups *= n,
        Module::Conv3dXBackward(op) => op.options.groups *= n,
        Module::Conv1dWeightBackward(op) => op.options.groups *= n,
        Module::Conv2dWeightBackward(op) => op.options.groups *= n,
        Module::Conv3dWeightBackward(op) => op.options.groups *= n,
        Module::ConvTranspose1d(op) => op.options.groups *= n,
        Module::ConvTranspose2d(op) => op.options.groups *= n,
        Module::ConvTranspose3d(op) => op.options.groups *= n,
        Module::ConvTranspose1dWeightBackward(op) => op.options.groups *= n,
        Module::ConvTranspose2dWeightBackward(op) => op.options.groups *= n,
        Module::ConvTranspose3dWeightBackward(op) => op.options.groups *= n,
        Module::DeformableConv2d(op) => {
            op.options.weight_groups *= n;
            op.options.offset_groups *= n;
        }
        Module::DeformableConv2dBackward(op) => {
            op.options.weight_groups *= n;
            op.options.offset_groups *= n;
        }
        _ => {}
    }
}

/// Items side by side in the channels, each a group of its own; where images alone differ between items and images alone
/// result, one batch of them instead.
pub(super) fn fold_into_channels(vmap: &mut Vmap, op: &OperationIr) -> Result<()> {
    let OperationIr::Module(module) = op else { return Err(wrong_row(op)) };
    let Some((kinds, results)) = kinds(module) else { return Err(unbatchable(op, "its channels are not known")) };
    let one_weight = op.inputs().zip(kinds).all(|(operand, kind)| *kind == Image || !vmap.is_batched(operand));
    if one_weight && results.iter().all(|kind| *kind == Image) {
        let rows = out(op).shape.first().copied();
        let operand = |(operand, kind): (&TensorIr, &Kind)| match kind {
            Image => folded(vmap, op, operand, rows),
            PerChannel => Ok(operand.clone()),
        };
        let operands = op.inputs().zip(kinds).map(operand).collect::<Result<Vec<_>>>()?;
        emit_folded(vmap, op, &operands);
        return Ok(());
    }
    let operands: Vec<TensorIr> =
        op.inputs().zip(kinds).map(|(operand, kind)| into_channels(vmap, operand, *kind)).collect();
    let n = vmap.items();
    let wide = |of: &TensorIr, kind: Kind| {
        let mut shape = of.shape.to_vec();
        shape[if kind == Image { 1 } else { 0 }] *= n;
        shape
    };
    let wide: Vec<TensorIr> =
        op.outputs().zip(results).map(|(of, kind)| vmap.emit.value(wide(of, *kind).into(), of.dtype)).collect();
    let mut module = module.clone();
    multiply_groups(&mut module, n);
    vmap.emit.ops.push(with_tensors(&OperationIr::Module(module), &operands, &wide));
    for ((of, kind), result) in op.outputs().zip(results).zip(&wide) {
        out_of_channels(vmap, of, *kind, result);
    }
    Ok(())
}

/// `[n, batch, channels, ..]` as `[batch, n * channels, ..]`; `[n, channels, ..]` as `[n * channels, ..]`.
fn into_channels(vmap: &mut Vmap, operand: &TensorIr, kind: Kind) -> TensorIr {
    let full = vmap.full(operand);
    let full = if kind == Image { swap(&mut vmap.emit, &full, 0, 1) } else { full };
    let mut shape = full.shape.to_vec();
    let at = if kind == Image { 1 } else { 0 };
    let items = shape.remove(at);
    shape[at] *= items;
    vmap.emit.reshape(&full, shape.into())
}

fn out_of_channels(vmap: &mut Vmap, of: &TensorIr, kind: Kind, result: &TensorIr) {
    if kind == PerChannel {
        return set_reshaped(vmap, of, result);
    }
    let mut shape = of.shape.to_vec();
    shape.insert(1, vmap.items());
    let apart = vmap.emit.reshape(result, shape.into());
    let apart = swap(&mut vmap.emit, &apart, 0, 1);
    vmap.set(of, apart);
}
