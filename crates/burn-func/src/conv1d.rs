//! The gradient of the weights of a grouped 1-d convolution.
//!
//! Burn's kernel for it is wrong where the stride leaves a rest of the input that no window covers (`burn-backend`,
//! `conv1d_weight_grad_groups`): it does not cut the result to the size of the weights, as those for two and three axes do.
//! It is replaced where programs are made, after all transforms: one convolution for every item of a batched program is a
//! grouped one, whatever the closure's was.
//!
//! Does not know: derivatives, batches.

use burn_ir::{
    Conv1dWeightBackwardOpIr, Conv2dOptionsIr, Conv2dWeightBackwardOpIr, ModuleOperationIr as Module, OperationIr,
    TensorId, TensorIr,
};

use crate::emit::Emitter;

/// If the kernel of an operation is wrong, emits the same over two axes, the first of length one. Which value that
/// replaces, and by which.
pub(crate) fn mended(emit: &mut Emitter, op: &OperationIr) -> Option<(TensorId, TensorId)> {
    let OperationIr::Module(Module::Conv1dWeightBackward(op)) = op else { return None };
    if op.options.groups == 1 || rest(op) == 0 {
        return None;
    }
    let [x, weight, output_grad] = [&op.x, &op.weight, &op.output_grad].map(|tensor| with_axis(emit, tensor));
    let options = Conv2dOptionsIr {
        stride: [1, op.options.stride[0]],
        padding: [(0, 0), op.options.padding[0]],
        dilation: [1, op.options.dilation[0]],
        groups: op.options.groups,
    };
    let out = emit.like(&weight);
    let flat = Conv2dWeightBackwardOpIr { x, weight, output_grad, options, out: out.clone() };
    let out = emit.push(OperationIr::Module(Module::Conv2dWeightBackward(flat)), out);
    Some((op.out.id, emit.reshape(&out, op.out.shape.clone()).id))
}

/// Elements, padding included, behind the last window.
fn rest(op: &Conv1dWeightBackwardOpIr) -> usize {
    let (before, after) = op.options.padding[0];
    let reach = op.options.dilation[0] * (op.weight.shape[2] - 1) + 1;
    (op.x.shape[2] + before + after - reach) % op.options.stride[0]
}

/// `[a, b, n]` as `[a, b, 1, n]`.
fn with_axis(emit: &mut Emitter, tensor: &TensorIr) -> TensorIr {
    let mut shape = tensor.shape.to_vec();
    shape.insert(2, 1);
    emit.reshape(tensor, shape.into())
}
