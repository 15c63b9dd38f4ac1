//! Axes of size one, written down as they lie in memory, for devices that misread them.
//!
//! An axis of size one may have any stride: `[n, h, w, 1]` permuted to `[n, 1, h, w]` keeps a stride of one for it, and so
//! does what a convolution or a pooling with one channel returns. Fused kernels of Burn 0.22.1 on Cube devices
//! (`burn-cubecl-fusion`, `src/engine/launch`) take such a tensor for one in another order and read it out of order; and a
//! `gather` that is broadcast along an axis of size one reads its indices as if they had the size broadcast to. Both come
//! right when the tensor is flattened and given its shape again. That moves data only where the other axes are out of order
//! too: what a convolution of a single image returns is copied.
//!
//! Does not know: programs, which device misreads them.

use burn::tensor::Shape;
use burn_ir::{BackendIr, BaseOperationIr as Base, HandleKind, OperationIr, TensorIr, TensorStatus};
use burn_router::TensorInterpreter;

/// Runs an operation; what it returns is settled.
pub(crate) fn register<B: BackendIr>(interpreter: &mut TensorInterpreter<B>, op: &OperationIr) {
    interpreter.register_op(op.clone());
    if !permutes(op) {
        return;
    }
    for out in op.outputs().filter(|out| is_loose(&out.shape)) {
        let taken = TensorIr { status: TensorStatus::ReadWrite, ..out.clone() };
        let handle = interpreter.get_tensor(&taken);
        interpreter.register_tensor_to_device(out.id, settled(handle, &out.shape));
    }
}

/// Whether the operation returns a view, or what was computed with its axes in another order, or a `gather`.
fn permutes(op: &OperationIr) -> bool {
    match op {
        OperationIr::BaseFloat(op) | OperationIr::BaseInt(op) | OperationIr::BaseBool(op) => {
            matches!(op, Base::Permute(_) | Base::SwapDims(_) | Base::Gather(_))
        }
        OperationIr::Module(_) => true,
        _ => false,
    }
}

fn is_loose(shape: &Shape) -> bool {
    shape.iter().any(|&size| size == 1) && shape.num_elements() > 1
}

/// The same tensor with the strides that its shape says.
pub(crate) fn settled<B: BackendIr>(handle: HandleKind<B>, shape: &Shape) -> HandleKind<B> {
    if !is_loose(shape) {
        return handle;
    }
    let flat = Shape::from([shape.num_elements()]);
    match handle {
        HandleKind::Float(x) => HandleKind::Float(B::float_reshape(B::float_reshape(x, flat), shape.clone())),
        HandleKind::Int(x) => HandleKind::Int(B::int_reshape(B::int_reshape(x, flat), shape.clone())),
        HandleKind::Bool(x) => HandleKind::Bool(B::bool_reshape(B::bool_reshape(x, flat), shape.clone())),
        quantized => quantized,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_that_have_loose_strides() {
        let loose = |shape: &[usize]| is_loose(&Shape::from(shape.to_vec()));
        assert!(loose(&[2, 1, 6, 4]) && loose(&[1, 3]) && loose(&[3, 1]));
        assert!(!loose(&[2, 3]) && !loose(&[1, 1]) && !loose(&[1]) && !loose(&[]) && !loose(&[0, 1]));
    }
}
