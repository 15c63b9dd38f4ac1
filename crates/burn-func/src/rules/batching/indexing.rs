//! Operations that read or write at indices, which may differ between items.
//!
//! Does not know: where indices come from.

use burn::tensor::{DType, IndexingUpdateOp};
use burn_ir::{
    BaseOperationIr as Base, CatOpIr, CreationOpIr, DimOpIr, GatherOpIr, ModuleOperationIr as Module,
    NumericOperationIr as Numeric, OperationIr, PermuteOpIr, ScalarIr, ScalarOpIr, ScatterOpIr, SelectAssignOpIr,
    SelectOpIr, TensorIr,
};

use super::{set_reshaped, wrong_row};
use crate::emit::{Emitter, base};
use crate::error::Result;
use crate::graph::with_tensors;
use crate::jvp::out;
use crate::vmap::{Vmap, with_leading};

/// With indices of its own for each item this is a gather, unless all items read one tensor.
pub(super) fn select(vmap: &mut Vmap, op: &SelectOpIr) {
    let result = select_rows(vmap, op);
    vmap.set(&op.out, result);
}

fn select_rows(vmap: &mut Vmap, op: &SelectOpIr) -> TensorIr {
    let shape = vmap.shape(&op.out);
    match (vmap.is_batched(&op.tensor), vmap.is_batched(&op.indices)) {
        (_, false) => {
            let tensor = vmap.full(&op.tensor);
            let picked = vmap.emit.value(shape, op.out.dtype);
            let select = SelectOpIr { tensor, dim: op.dim + 1, indices: op.indices.clone(), out: picked.clone() };
            vmap.emit.push(base(&picked, Base::Select(select)), picked)
        }
        (true, true) => {
            let (tensor, indices) = (vmap.full(&op.tensor), along(vmap, &op.indices, &op.out, op.dim));
            let picked = vmap.emit.value(shape, op.out.dtype);
            let gather = GatherOpIr { tensor, dim: op.dim + 1, indices, out: picked.clone() };
            vmap.emit.push(base(&picked, Base::Gather(gather)), picked)
        }
        (false, true) => {
            let (n, k) = (vmap.items(), op.indices.shape.num_elements());
            let indices = vmap.full(&op.indices);
            let indices = vmap.emit.reshape(&indices, [n * k].into());
            let mut shape = op.out.shape.to_vec();
            shape[op.dim] = n * k;
            let picked = vmap.emit.value(shape.clone().into(), op.out.dtype);
            let select = SelectOpIr { tensor: op.tensor.clone(), dim: op.dim, indices, out: picked.clone() };
            let picked = vmap.emit.push(base(&picked, Base::Select(select)), picked);
            shape.splice(op.dim..=op.dim, [n, k]);
            let picked = vmap.emit.reshape(&picked, shape.into());
            to_front(&mut vmap.emit, &picked, op.dim)
        }
    }
}

/// With indices of its own for each item this is a scatter.
pub(super) fn select_assign(vmap: &mut Vmap, op: &SelectAssignOpIr) {
    let (tensor, value) = (vmap.full(&op.tensor), vmap.full(&op.value));
    let (dim, update) = (op.dim + 1, op.update);
    let update = if vmap.is_batched(&op.indices) {
        let indices = along(vmap, &op.indices, &op.value, op.dim);
        let out = vmap.result(&op.out);
        Base::Scatter(ScatterOpIr { tensor, dim, indices, value, update, out })
    } else {
        let (indices, out) = (op.indices.clone(), vmap.result(&op.out));
        Base::SelectAssign(SelectAssignOpIr { tensor, dim, indices, value, update, out })
    };
    vmap.emit.ops.push(base(&op.out, update));
}

/// Batched indices `[n, k]` spread over the shape of `like`, whose axis `dim` they number.
fn along(vmap: &mut Vmap, indices: &TensorIr, like: &TensorIr, dim: usize) -> TensorIr {
    let mut shape = vec![1; like.shape.num_dims()];
    shape[dim] = indices.shape.num_elements();
    let indices = vmap.full(indices);
    let indices = vmap.emit.reshape(&indices, with_leading(vmap.items(), &shape));
    let shape = vmap.shape(like);
    vmap.emit.expand(&indices, &shape)
}

/// Coordinates get the number of the item in front.
pub(super) fn with_item_coordinate(vmap: &mut Vmap, op: &OperationIr, indices: &TensorIr) {
    let full = vmap.full(indices);
    let mut shape = full.shape.to_vec();
    if let Some(last) = shape.last_mut() {
        *last = 1;
    }
    let n = vmap.items();
    let numbers = item_numbers(&mut vmap.emit, n, full.dtype);
    let mut column = vec![1; shape.len()];
    column[0] = n;
    let numbers = vmap.emit.reshape(&numbers, column.into());
    let numbers = vmap.emit.expand(&numbers, &shape.clone().into());
    let axis = shape.len() - 1;
    shape[axis] = 1 + full.shape[axis];
    let coordinates = vmap.emit.value(shape.into(), full.dtype);
    let cat = CatOpIr { tensors: vec![numbers, full], dim: axis, out: coordinates.clone() };
    let coordinates = vmap.emit.push(base(&coordinates, Base::Cat(cat)), coordinates);
    let operands: Vec<TensorIr> = op
        .inputs()
        .map(|operand| if operand.id == indices.id { coordinates.clone() } else { vmap.full(operand) })
        .collect();
    let result = vmap.result(&out(op));
    vmap.emit.ops.push(with_tensors(op, &operands, &[result]));
}

/// `[0, 1, .., n - 1]`.
fn item_numbers(emit: &mut Emitter, n: usize, dtype: DType) -> TensorIr {
    let ones = emit.value([n].into(), dtype);
    let ones = emit.push(base(&ones, Base::Ones(CreationOpIr { out: ones.clone() })), ones);
    let counts = emit.like(&ones);
    let sum = DimOpIr { input: ones, out: counts.clone(), axis: 0 };
    let counts = emit.push(OperationIr::NumericInt(dtype, Numeric::CumSum(sum)), counts);
    let numbers = emit.like(&counts);
    let less = ScalarOpIr { lhs: counts, rhs: ScalarIr::Int(1), out: numbers.clone() };
    emit.push(OperationIr::NumericInt(dtype, Numeric::SubScalar(less)), numbers)
}

/// Rows of a table: a selection by indices of any shape.
pub(super) fn embedding(vmap: &mut Vmap, op: &OperationIr) -> Result<()> {
    let OperationIr::Module(Module::Embedding(embedding)) = op else { return Err(wrong_row(op)) };
    let (count, width) = (embedding.indices.shape.num_elements(), embedding.weights.shape[1]);
    let indices = flat(vmap, &embedding.indices, &[count]);
    let out = vmap.emit.value([count, width].into(), embedding.out.dtype);
    let rows = select_rows(vmap, &SelectOpIr { tensor: embedding.weights.clone(), dim: 0, indices, out });
    set_reshaped(vmap, &embedding.out, &rows);
    Ok(())
}

/// Gradients added up in the rows they belong to.
pub(super) fn embedding_backward(vmap: &mut Vmap, op: &OperationIr) -> Result<()> {
    let OperationIr::Module(Module::EmbeddingBackward(embedding)) = op else { return Err(wrong_row(op)) };
    let (count, width) = (embedding.indices.shape.num_elements(), embedding.weights.shape[1]);
    let indices = flat(vmap, &embedding.indices, &[count]);
    let value = flat(vmap, &embedding.out_grad, &[count, width]);
    let tensor = vmap.emit.zeros_like(&embedding.out);
    let (update, out) = (IndexingUpdateOp::Add, embedding.out.clone());
    select_assign(vmap, &SelectAssignOpIr { tensor, dim: 0, indices, value, update, out });
    Ok(())
}

/// A value in another shape, batched if it is.
fn flat(vmap: &mut Vmap, of: &TensorIr, shape: &[usize]) -> TensorIr {
    if !vmap.is_batched(of) {
        return vmap.emit.reshape(of, shape.to_vec().into());
    }
    let batched = vmap.full(of);
    let flat = vmap.emit.value(shape.to_vec().into(), of.dtype); // stands for the items and is never defined itself
    set_reshaped(vmap, &flat, &batched);
    flat
}

/// Moves an axis to the front.
fn to_front(emit: &mut Emitter, input: &TensorIr, axis: usize) -> TensorIr {
    let rank = input.shape.num_dims();
    let axes: Vec<usize> = std::iter::once(axis).chain((0..rank).filter(|&other| other != axis)).collect();
    let shape: Vec<usize> = axes.iter().map(|&axis| input.shape[axis]).collect();
    let out = emit.value(shape.into(), input.dtype);
    let op = Base::Permute(PermuteOpIr { input: input.clone(), out: out.clone(), axes });
    emit.push(base(&out, op), out)
}
