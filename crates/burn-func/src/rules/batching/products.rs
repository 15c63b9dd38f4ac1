//! Matrix products and linear layers.
//!
//! Does not know: convolutions.

use burn_ir::{
    FloatOperationIr, MatmulOpIr, ModuleOperationIr as Module, NumericOperationIr as Numeric, OperationIr,
    ReduceDimOpIr, TensorIr,
};

use super::folding::{emit_folded, folded};
use super::{set_reshaped, swap, wrong_row};
use crate::emit::Emitter;
use crate::error::Result;
use crate::graph::with_tensors;
use crate::jvp::out;
use crate::vmap::Vmap;

/// Leading axes of a matrix product broadcast. Items times one matrix are one product of all their rows.
pub(super) fn matmul(vmap: &mut Vmap, op: &OperationIr) -> Result<()> {
    let rank = out(op).shape.num_dims();
    let right = op.inputs().nth(1).expect("a product has two operands");
    if rank == 2 && !vmap.is_batched(right) {
        let left = op.inputs().next().expect("a product has two operands");
        let rows = folded(vmap, op, left, left.shape.first().copied())?;
        emit_folded(vmap, op, &[rows, right.clone()]);
        return Ok(());
    }
    let operands: Vec<TensorIr> = op.inputs().map(|operand| vmap.wide(operand, rank)).collect();
    let result = vmap.result(&out(op));
    vmap.emit.ops.push(with_tensors(op, &operands, &[result]));
    Ok(())
}

/// A linear layer or one of its backwards. One weight for all items takes any leading axes; else it is a matrix product of
/// items with their rows in one axis.
pub(super) fn linear(vmap: &mut Vmap, op: &OperationIr) -> Result<()> {
    let OperationIr::Module(module) = op else { return Err(wrong_row(op)) };
    let operands: Vec<&TensorIr> = op.inputs().collect();
    let images = match module {
        Module::Linear(_) => 0,
        Module::LinearXBackward(_) => 1,
        _ => usize::MAX,
    };
    let differ: Vec<usize> = (0..operands.len()).filter(|&at| vmap.is_batched(operands[at])).collect();
    if differ == [images] {
        let mut operands: Vec<TensorIr> = operands.into_iter().cloned().collect();
        operands[images] = vmap.full(&operands[images]);
        let result = vmap.result(&out(op));
        vmap.emit.ops.push(with_tensors(op, &operands, &[result]));
        return Ok(());
    }
    let product = match module {
        Module::Linear(linear) => {
            let (x, weight) = (rows(vmap, &linear.x), vmap.wide(&linear.weight, 2));
            let product = product(&mut vmap.emit, x, weight);
            match &linear.bias {
                Some(bias) => {
                    let bias = vmap.wide(bias, 1);
                    let bias = vmap.emit.reshape(&bias, [bias.shape[0], 1, bias.shape[1]].into());
                    vmap.emit.add(&product, &bias)
                }
                None => product,
            }
        }
        Module::LinearXBackward(linear) => {
            let (weight, grad) = (vmap.wide(&linear.weight, 2), rows(vmap, &linear.output_grad));
            let weight = swap(&mut vmap.emit, &weight, 1, 2);
            product(&mut vmap.emit, grad, weight)
        }
        Module::LinearWeightBackward(linear) => {
            let (x, grad) = (rows(vmap, &linear.x), rows(vmap, &linear.output_grad));
            let x = swap(&mut vmap.emit, &x, 1, 2);
            product(&mut vmap.emit, x, grad)
        }
        Module::LinearBiasBackward(linear) => {
            let input = rows(vmap, &linear.output_grad);
            let sum = vmap.emit.value([input.shape[0], 1, input.shape[2]].into(), input.dtype);
            let reduce = ReduceDimOpIr { input, out: sum.clone(), axis: 1, accumulator_len: 1 };
            vmap.emit.push(OperationIr::NumericFloat(sum.dtype, Numeric::SumDim(reduce)), sum)
        }
        _ => return Err(wrong_row(op)),
    };
    set_reshaped(vmap, &out(op), &product);
    Ok(())
}

/// All axes but the last in one: `[n or 1, rows, features]`.
fn rows(vmap: &mut Vmap, of: &TensorIr) -> TensorIr {
    let wide = vmap.wide(of, of.shape.num_dims());
    let features = of.shape.last().copied().unwrap_or(1);
    let rows = of.shape.iter().rev().skip(1).product();
    vmap.emit.reshape(&wide, [wide.shape[0], rows, features].into())
}

fn product(emit: &mut Emitter, lhs: TensorIr, rhs: TensorIr) -> TensorIr {
    let out = emit.value([lhs.shape[0].max(rhs.shape[0]), lhs.shape[1], rhs.shape[2]].into(), lhs.dtype);
    let op = FloatOperationIr::Matmul(MatmulOpIr { lhs, rhs, out: out.clone() });
    emit.push(OperationIr::Float(out.dtype, op), out)
}
