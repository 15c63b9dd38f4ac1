//! What a backend of Burn has no kernel for, or computes wrongly: refused by name before anything runs.
//!
//! Read off Burn 0.22.1 (`burn-ndarray/src/ops/module.rs`, `burn-cubecl/src/kernel`); the conformance table fails where an
//! operation is refused that works, and where one works that is refused.
//!
//! Does not know: types, how a program runs.

use burn_ir::{InterpolateModeIr as Mode, ModuleOperationIr as Module, OperationIr};

/// Why the backend of this name cannot run the operation, if it cannot.
pub(crate) fn gap(backend: &str, op: &OperationIr) -> Option<&'static str> {
    let OperationIr::Module(op) = op else { return None };
    match (backend, op) {
        ("NdArray", Module::Interpolate(op)) if matches!(op.options.mode, Mode::NearestExact) => {
            Some("Burn's NdArray backend has no kernel for this mode")
        }
        ("NdArray" | "Cube", Module::InterpolateBackward(op)) if !has_backward(backend, &op.options.mode) => {
            Some("Burn's backend has no backward kernel for this mode: interpolate with `InterpolateMode::Nearest`")
        }
        ("Cube", Module::ConvTranspose3d(op)) => steps_over(&op.weight.shape, op.options.stride, op.options.dilation),
        ("Cube", Module::Conv3dXBackward(op)) => steps_over(&op.weight.shape, op.options.stride, op.options.dilation),
        _ => None,
    }
}

fn has_backward(backend: &str, mode: &Mode) -> bool {
    matches!((backend, mode), (_, Mode::Nearest) | ("Cube", Mode::NearestExact))
}

/// The kernel for three dimensions takes the reach of a weight, `dilation * size - stride`, for how many positions it looks
/// at: none where that is negative, and zeros come out.
fn steps_over(weight: &[usize], stride: [usize; 3], dilation: [usize; 3]) -> Option<&'static str> {
    (0..3).any(|axis| stride[axis] > dilation[axis] * weight[2 + axis]).then_some(
        "with a stride larger than the kernel Burn's backend returns zeros here: use a kernel as large as the stride",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strides_beyond_the_kernel() {
        let at = |stride, dilation| steps_over(&[2, 2, 2, 1, 3], stride, dilation).is_some();
        assert!(!at([2, 1, 3], [1, 1, 1]) && !at([2, 2, 3], [1, 2, 1]));
        assert!(at([3, 1, 3], [1, 1, 1]) && at([1, 2, 1], [1, 1, 1]) && at([1, 1, 4], [9, 9, 1]));
    }
}
