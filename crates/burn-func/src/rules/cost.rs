//! Arithmetic and memory traffic of an operation, from its shapes.
//!
//! Does not know: what a device reaches of it.

use std::ops::Add;

use burn_ir::{InterpolateModeIr, ModuleOperationIr as M, OperationIr, TensorIr};

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
    /// This many per element of the last input.
    PerLast(u32),
    /// Two per element of the result and of the contracted axis, the last of the first input.
    Matmul,
    /// Two per element of the first input and of the last axis of the second, over which nothing is summed.
    WeightGradient,
    /// Two per element of the image and of the weights that an element meets: output channels of a convolution, input
    /// channels of a transposed one. Its backwards contract the same index set.
    Convolution,
    /// One per element of a pooled image and of the window behind it, two where the window has weights; or its transpose.
    Window,
    /// Two products of queries, keys and values, and five operations per score.
    Attention,
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
        Work::PerLast(n) => Cost { flops: u64::from(n) * op.inputs().last().map_or(0, elements), bytes: bytes() },
        Work::Matmul => Cost { flops: matmul(op), bytes: bytes() },
        Work::WeightGradient => Cost { flops: weight_gradient(op), bytes: bytes() },
        Work::Convolution => Cost { flops: convolution(op), bytes: bytes() },
        Work::Window => Cost { flops: window(op), bytes: bytes() },
        Work::Attention => Cost { flops: attention(op), bytes: bytes() },
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

fn weight_gradient(op: &OperationIr) -> u64 {
    let mut inputs = op.inputs();
    let x = inputs.next().map_or(0, elements);
    2 * x * inputs.next().and_then(|grad| grad.shape.last().copied()).unwrap_or(1) as u64
}

/// Forward, x-backward and weight-backward of one convolution contract the same index set: two operations per element of
/// `image` and of the weights that one of its channels meets, which are those of one index of the weight's first axis.
fn convolution(op: &OperationIr) -> u64 {
    let OperationIr::Module(op) = op else { return 0 };
    let (weight, image) = match op {
        M::Conv1d(op) => (&op.weight, &op.out),
        M::Conv1dXBackward(op) => (&op.weight, &op.output_grad),
        M::Conv1dWeightBackward(op) => (&op.weight, &op.output_grad),
        M::Conv2d(op) => (&op.weight, &op.out),
        M::Conv2dXBackward(op) => (&op.weight, &op.output_grad),
        M::Conv2dWeightBackward(op) => (&op.weight, &op.output_grad),
        M::Conv3d(op) => (&op.weight, &op.out),
        M::Conv3dXBackward(op) => (&op.weight, &op.output_grad),
        M::Conv3dWeightBackward(op) => (&op.weight, &op.output_grad),
        // Weights are [in, out / groups, ..]: an element of the input meets all of one index.
        M::ConvTranspose1d(op) => (&op.weight, &op.x),
        M::ConvTranspose1dWeightBackward(op) => (&op.weight, &op.x),
        M::ConvTranspose2d(op) => (&op.weight, &op.x),
        M::ConvTranspose2dWeightBackward(op) => (&op.weight, &op.x),
        M::ConvTranspose3d(op) => (&op.weight, &op.x),
        M::ConvTranspose3dWeightBackward(op) => (&op.weight, &op.x),
        // Beside the product, every weight of one channel reads four pixels; the backward also has the weight's product.
        M::DeformableConv2d(op) => return deformed(&op.weight, &op.out, 1),
        M::DeformableConv2dBackward(op) => return deformed(&op.weight, &op.out_grad, 2),
        _ => return 0,
    };
    2 * per_first(weight) * elements(image)
}

fn deformed(weight: &TensorIr, image: &TensorIr, products: u64) -> u64 {
    let places = elements(image) / image.shape[1].max(1) as u64;
    2 * products * per_first(weight) * elements(image) + 8 * products * per_first(weight) * places
}

/// Elements of one index of the first axis.
fn per_first(tensor: &TensorIr) -> u64 {
    elements(tensor) / tensor.shape[0].max(1) as u64
}

/// Operations per window, and the image that has one element per window.
fn window(op: &OperationIr) -> u64 {
    let OperationIr::Module(op) = op else { return 0 };
    let (per_window, image) = match op {
        M::AvgPool1d(op) => (op.kernel_size, &op.out),
        M::AvgPool1dBackward(op) => (op.kernel_size, &op.grad),
        M::AvgPool2d(op) => (op.kernel_size.iter().product(), &op.out),
        M::AvgPool2dBackward(op) => (op.kernel_size.iter().product(), &op.grad),
        M::MaxPool1d(op) => (op.kernel_size, &op.out),
        M::MaxPool1dWithIndices(op) => (op.kernel_size, &op.out),
        M::MaxPool2d(op) => (op.kernel_size.iter().product(), &op.out),
        M::MaxPool2dWithIndices(op) => (op.kernel_size.iter().product(), &op.out),
        M::AdaptiveAvgPool1d(op) => (adaptive(&op.x, &op.out), &op.out),
        M::AdaptiveAvgPool1dBackward(op) => (adaptive(&op.x, &op.grad), &op.grad),
        M::AdaptiveAvgPool2d(op) => (adaptive(&op.x, &op.out), &op.out),
        M::AdaptiveAvgPool2dBackward(op) => (adaptive(&op.x, &op.grad), &op.grad),
        M::AdaptiveAvgPool3d(op) => (adaptive(&op.x, &op.out), &op.out),
        M::AdaptiveAvgPool3dBackward(op) => (adaptive(&op.x, &op.grad), &op.grad),
        M::Interpolate(op) => (taps(&op.options.mode), &op.out),
        M::InterpolateBackward(op) => (taps(&op.options.mode), &op.grad),
        _ => return 0,
    };
    per_window as u64 * elements(image)
}

/// Elements in the largest window of an adaptive pool.
fn adaptive(x: &TensorIr, out: &TensorIr) -> usize {
    x.shape[2..].iter().zip(&out.shape[2..]).map(|(x, out)| x.div_ceil((*out).max(1))).product()
}

/// A multiplication and an addition per pixel that an interpolated one reads.
fn taps(mode: &InterpolateModeIr) -> usize {
    match mode {
        InterpolateModeIr::Nearest | InterpolateModeIr::NearestExact => 0,
        InterpolateModeIr::Bilinear => 8,
        InterpolateModeIr::Bicubic => 32,
        InterpolateModeIr::Lanczos3 => 72,
    }
}

fn attention(op: &OperationIr) -> u64 {
    let OperationIr::Module(M::Attention(op)) = op else { return 0 };
    let last = |tensor: &TensorIr| tensor.shape.last().copied().unwrap_or(1) as u64;
    let scores = elements(&op.query) / last(&op.query).max(1) * op.key.shape[2] as u64;
    scores * (2 * last(&op.query) + 2 * last(&op.value) + 5)
}

#[cfg(test)]
mod tests {
    use burn::tensor::DType;
    use burn_ir::{
        AvgPool2dOpIr, Conv3dOpIr, Conv3dOptionsIr, ConvTranspose2dOpIr, ConvTranspose2dOptionsIr, LinearOpIr,
        LinearWeightBackwardOpIr, LinearXBackwardOpIr,
    };

    use super::*;
    use crate::emit::Emitter;

    fn flops(op: M) -> u64 {
        cost(&OperationIr::Module(op)).flops
    }

    #[test]
    fn products_count_multiplications_and_additions() {
        let mut e = Emitter::starting_at(0);
        let mut value = |shape: &[usize]| e.value(shape.to_vec().into(), DType::F32);
        let id = || burn_ir::TensorId::new(99);

        // 3 x 5 rows, 7 to 11 features: three products of the same size.
        let (x, w, g) = (value(&[3, 5, 7]), value(&[7, 11]), value(&[3, 5, 11]));
        let product = 2 * 3 * 5 * 7 * 11;
        assert_eq!(flops(M::Linear(LinearOpIr::create(x.clone(), w.clone(), None, id))), product);
        assert_eq!(flops(M::LinearXBackward(LinearXBackwardOpIr::create(w, g.clone(), id))), product);
        assert_eq!(flops(M::LinearWeightBackward(LinearWeightBackwardOpIr::create(x, g, id))), product);

        // 4 to 6 channels in 2 groups, kernel 3 x 1 x 2: each of 6 x 3 x 5 x 4 results reads 2 x 6 numbers.
        let options = Conv3dOptionsIr { stride: [1; 3], padding: [0; 3], dilation: [1; 3], groups: 2 };
        let (x, w) = (value(&[1, 4, 5, 5, 5]), value(&[6, 2, 3, 1, 2]));
        assert_eq!(flops(M::Conv3d(Conv3dOpIr::create(x, w, None, options, id))), 2 * (6 * 3 * 5 * 4) * (2 * 6));

        // Transposed, 4 to 6 channels in 2 groups: each of 4 x 5 x 5 numbers is added to 3 x 9 results.
        let (stride, padding, padding_out, dilation) = ([2; 2], [1; 2], [0; 2], [1; 2]);
        let options = ConvTranspose2dOptionsIr { stride, padding, padding_out, dilation, groups: 2 };
        let (x, w) = (value(&[1, 4, 5, 5]), value(&[4, 3, 3, 3]));
        let op = ConvTranspose2dOpIr::create(x, w, None, options, id);
        assert_eq!(flops(M::ConvTranspose2d(op)), 2 * (4 * 5 * 5) * (3 * 9));

        let pool = AvgPool2dOpIr::create(value(&[2, 3, 8, 8]), [2, 3], [2, 1], [0, 0], true, false, id);
        assert_eq!(flops(M::AvgPool2d(pool)), 2 * 3 * (4 * 6) * 6);
    }
}
