//! Batched forms, one function per class of operations.
//!
//! A class reads what it needs (axes, groups, which operand is a weight) off the operation itself, so that one function
//! serves all operations of a class, and an operation that stands in a class which cannot tell its axes is refused.
//!
//! Does not know: which operation is in which class.

mod axes;
mod folding;
mod indexing;
mod products;

use burn_ir::{
    BaseOperationIr as Base, CreationOpIr, LayerNormOpIr, ModuleOperationIr as Module, OperationIr, SwapDimsOpIr,
    TensorIr,
};

use super::{BatchFormula, Batching};
use crate::emit::{Emitter, base};
use crate::error::Result;
use crate::vmap::{Vmap, unbatchable};
use axes::shift_axes;
use folding::{fold_into_channels, fold_into_first, kinds};
use indexing::{embedding, embedding_backward};
use products::{linear, matmul};

/// Emits the batched form of an operation, some operand of which is batched.
pub(crate) fn apply_batching(vmap: &mut Vmap, op: &OperationIr, class: Batching) -> Result<()> {
    match class {
        // An operation of a user's own has no axes to shift.
        Batching::Elementwise if matches!(op, OperationIr::Custom(_)) => {
            vmap.same(op);
            Ok(())
        }
        Batching::Elementwise | Batching::ShiftAxes => own_form(op).unwrap_or(shift_axes)(vmap, op),
        Batching::FoldIntoFirst => own_form(op).unwrap_or(fold_into_first)(vmap, op),
        Batching::FoldIntoChannels | Batching::GroupedConvolution => own_form(op).unwrap_or(refused)(vmap, op),
        Batching::Matmul => own_form(op).unwrap_or(matmul)(vmap, op),
        Batching::Formula(formula) => formula(vmap, op),
        Batching::Unbatchable(reason) => Err(unbatchable(op, reason)),
    }
}

/// The form of an operation whose operands play different parts, which no class could tell.
fn own_form(op: &OperationIr) -> Option<BatchFormula> {
    let OperationIr::Module(module) = op else { return None };
    match module {
        Module::Embedding(_) => Some(embedding),
        Module::EmbeddingBackward(_) => Some(embedding_backward),
        Module::Linear(_)
        | Module::LinearXBackward(_)
        | Module::LinearWeightBackward(_)
        | Module::LinearBiasBackward(_) => Some(linear),
        Module::LayerNorm(_) => Some(layer_norm),
        Module::CtcLoss(_) | Module::CtcLossBackward(_) => Some(refused),
        _ => kinds(module).map(|_| fold_into_channels as BatchFormula),
    }
}

/// Over the last axis: the normalised input takes leading axes, scale and shift are per item.
fn layer_norm(vmap: &mut Vmap, op: &OperationIr) -> Result<()> {
    let OperationIr::Module(Module::LayerNorm(norm)) = op else { return Err(wrong_row(op)) };
    let gamma = vmap.emit.like(&norm.gamma);
    let gamma = vmap.emit.push(OperationIr::BaseFloat(Base::Ones(CreationOpIr { out: gamma.clone() })), gamma);
    let input = vmap.full(&norm.input);
    let normal = vmap.emit.like(&input);
    let plain = LayerNormOpIr { input, gamma, beta: None, epsilon: norm.epsilon, out: normal.clone() };
    let normal = vmap.emit.push(OperationIr::Module(Module::LayerNorm(plain)), normal);
    let rank = norm.out.shape.num_dims();
    let gamma = vmap.wide(&norm.gamma, rank);
    let mut result = vmap.emit.mul(&normal, &gamma);
    if let Some(beta) = &norm.beta {
        let beta = vmap.wide(beta, rank);
        result = vmap.emit.add(&result, &beta);
    }
    vmap.set(&norm.out, result);
    Ok(())
}

fn swap(emit: &mut Emitter, input: &TensorIr, dim1: usize, dim2: usize) -> TensorIr {
    let mut shape = input.shape.to_vec();
    shape.swap(dim1, dim2);
    let out = emit.value(shape.into(), input.dtype);
    let op = Base::SwapDims(SwapDimsOpIr { input: input.clone(), out: out.clone(), dim1, dim2 });
    emit.push(base(&out, op), out)
}

fn refused(_: &mut Vmap, op: &OperationIr) -> Result<()> {
    Err(unbatchable(op, "what its axes mean is not known"))
}

fn wrong_row(op: &OperationIr) -> crate::Error {
    unbatchable(op, "it stands in the row of another operation")
}

/// The batched value of `of` is `value` in another shape.
fn set_reshaped(vmap: &mut Vmap, of: &TensorIr, value: &TensorIr) {
    let shape = vmap.shape(of);
    let value = vmap.emit.reshape(value, shape);
    vmap.set(of, value);
}
