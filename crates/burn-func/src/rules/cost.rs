//! Arithmetic and memory traffic of an operation, from its shapes.
//!
//! Does not know: what a device reaches of it.

use std::ops::Add;

use burn_ir::{ModuleOperationIr, OperationIr, TensorIr};

use super::rule;

/// Arithmetic of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// A view or a constant: no arithmetic, and no memory is moved.
    View,
    /// This many floating-point operations per element of the result.
    PerOutput(u32),
    /// This many per element of the first input.
    PerInput(u32),
    /// Two per element of the result and of the contracted axis.
    Matmul,
    /// Two per element of the result and of the weights of one output channel, or its transpose.
    Convolution,
}

/// Floating-point operations and bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// Floating-point operations; a multiplication and an addition are two.
    pub flops: u64,
    /// Bytes read and written, each operand once.
    pub bytes: u64,
}

impl Add for Cost {
    type Output = Self;

    fn add(self, rhs: Self) -> Self {
        Self { flops: self.flops + rhs.flops, bytes: self.bytes + rhs.bytes }
    }
}

impl std::iter::Sum for Cost {
    fn sum<I: Iterator<Item = Self>>(iter: I) -> Self {
        iter.fold(Self::default(), Add::add)
    }
}

/// Cost of one operation; nothing is known of one without a row.
pub fn cost(op: &OperationIr) -> Cost {
    let Some(rule) = rule(op) else { return Cost::default() };
    let bytes = || op.nodes().into_iter().map(bytes).sum();
    match rule.work {
        Work::View => Cost::default(),
        Work::PerOutput(n) => Cost { flops: u64::from(n) * op.outputs().next().map_or(0, elements), bytes: bytes() },
        Work::PerInput(n) => Cost { flops: u64::from(n) * op.inputs().next().map_or(0, elements), bytes: bytes() },
        Work::Matmul => Cost { flops: matmul(op), bytes: bytes() },
        Work::Convolution => Cost { flops: convolution(op), bytes: bytes() },
    }
}

fn elements(tensor: &TensorIr) -> u64 {
    tensor.shape.num_elements() as u64
}

fn bytes(tensor: &TensorIr) -> u64 {
    elements(tensor) * tensor.dtype.size() as u64
}

fn matmul(op: &OperationIr) -> u64 {
    let contracted = op.inputs().next().and_then(|lhs| lhs.shape.last().copied()).unwrap_or(1);
    2 * contracted as u64 * op.outputs().next().map_or(0, elements)
}

/// Forward, x-backward and weight-backward of one convolution contract the same index set.
fn convolution(op: &OperationIr) -> u64 {
    let OperationIr::Module(op) = op else { return 0 };
    let (weight, image) = match op {
        ModuleOperationIr::Conv2d(op) => (&op.weight, &op.out),
        ModuleOperationIr::Conv2dXBackward(op) => (&op.weight, &op.output_grad),
        ModuleOperationIr::Conv2dWeightBackward(op) => (&op.weight, &op.output_grad),
        _ => return 0,
    };
    let per_output = elements(weight) / weight.shape[0].max(1) as u64;
    2 * per_output * elements(image)
}
