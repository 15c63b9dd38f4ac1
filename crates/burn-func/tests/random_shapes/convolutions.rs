//! Convolutions and transposed ones of random windows, unfolding and folding.
//!
//! Does not know: other operations.

use burn::tensor::Tensor;
use burn::tensor::module as nn;
use burn::tensor::ops::{ConvOptions, ConvTransposeOptions, DeformConvOptions, UnfoldOptions};

use crate::Family;
use crate::case::{Args, Case, Loss, Operand, probe};
use crate::draw::Draw;

pub const FAMILIES: &[Family] = &[
    ("conv1d", |draw| {
        convolution(draw, [3, 8], |args, bias, options| probe(nn::conv1d(args.at(0), args.at(1), bias, options)))
    }),
    ("conv2d", |draw| {
        convolution(draw, [3, 5], |args, bias, options| probe(nn::conv2d(args.at(0), args.at(1), bias, options)))
    }),
    ("conv3d", |draw| {
        convolution(draw, [2, 3], |args, bias, options| probe(nn::conv3d(args.at(0), args.at(1), bias, options)))
    }),
    ("conv_transpose1d", |draw| {
        transposed(draw, 6, |args, bias, options| probe(nn::conv_transpose1d(args.at(0), args.at(1), bias, options)))
    }),
    ("conv_transpose2d", |draw| {
        transposed(draw, 3, |args, bias, options| probe(nn::conv_transpose2d(args.at(0), args.at(1), bias, options)))
    }),
    ("conv_transpose3d", |draw| {
        transposed(draw, 2, |args, bias, options| probe(nn::conv_transpose3d(args.at(0), args.at(1), bias, options)))
    }),
    ("deform_conv2d", deformable),
    ("unfold4d, fold4d", patches),
];

fn drawn<const N: usize>(mut one: impl FnMut(usize) -> usize) -> [usize; N] {
    std::array::from_fn(&mut one)
}

/// Groups and channels, in and out, of each.
fn channels(draw: &mut Draw) -> [usize; 3] {
    [draw.between(1, 3), draw.between(1, 2), draw.between(1, 2)]
}

/// Input, weights and perhaps bias.
fn operands(draw: &mut Draw, input: &[usize], weight: &[usize], bias: Option<usize>) -> Vec<Operand> {
    let mut operands = vec![draw.plain(input), draw.operand(weight, -0.8, 0.8)];
    operands.extend(bias.map(|channels| draw.plain(&[channels])));
    operands
}

/// `largest` are those of the kernel and of what the input has beyond the first window.
fn convolution<const N: usize>(
    draw: &mut Draw,
    largest: [usize; 2],
    f: fn(&Args, Option<Tensor<1>>, ConvOptions<N>) -> Tensor<1>,
) -> Case {
    let [groups, inputs, outputs] = channels(draw);
    let kernel: [usize; N] = drawn(|_| draw.between(1, largest[0]));
    let (stride, dilation): ([_; N], [_; N]) = (drawn(|_| draw.between(1, 4)), drawn(|_| draw.between(1, 2)));
    let begin: [usize; N] = drawn(|_| draw.below(3));
    // Burn has no other padding behind than before in three dimensions.
    let end = if N < 3 && draw.once_in(3) { drawn(|_| draw.below(3)) } else { begin };
    let reach: [usize; N] = drawn(|axis| dilation[axis] * (kernel[axis] - 1) + 1);
    let size: [usize; N] = drawn(|axis| {
        let padding = begin[axis] + end[axis];
        reach[axis].saturating_sub(padding).max(1) + draw.between(0, largest[1])
    });
    let rest = |axis: usize| (size[axis] + begin[axis] + end[axis] - reach[axis]) % stride[axis];
    // Burn's gradient of the weights of a grouped 1-d convolution is wrong where the stride leaves a rest of the input
    // (burn-backend, src/backend/ops/modules/conv.rs). Programs mend it.
    let wrong = N == 1 && groups > 1 && rest(0) > 0;
    let bias = draw.once_in(2);
    let input = [&[draw.between(1, 2), groups * inputs], size.as_slice()].concat();
    let weight = [&[groups * outputs, inputs], kernel.as_slice()].concat();
    let padding: [(usize, usize); N] = std::array::from_fn(|axis| (begin[axis], end[axis]));
    let options = ConvOptions::new_with_padding(stride, padding, dilation, groups);
    let text = format!("{options:?}");
    let operands = operands(draw, &input, &weight, bias.then_some(groups * outputs));
    let loss: Loss = Box::new(move |args| f(args, bias.then(|| args.at(2)), options.clone()));
    Case::new(text, operands, loss).own_is_wrong(wrong)
}

fn transposed<const N: usize>(
    draw: &mut Draw,
    longest: usize,
    f: fn(&Args, Option<Tensor<1>>, ConvTransposeOptions<N>) -> Tensor<1>,
) -> Case {
    let [groups, inputs, outputs] = channels(draw);
    let kernel: [usize; N] = drawn(|_| draw.between(1, 3));
    let (stride, dilation): ([_; N], [_; N]) = (drawn(|_| draw.between(1, 4)), drawn(|_| draw.between(1, 2)));
    let size: [usize; N] = drawn(|_| draw.between(1, longest));
    // As many as other libraries allow: fewer than the stride or the dilation.
    let out: [usize; N] = drawn(|axis| draw.below(stride[axis].max(dilation[axis])));
    let full: [usize; N] =
        drawn(|axis| (size[axis] - 1) * stride[axis] + dilation[axis] * (kernel[axis] - 1) + 1 + out[axis]);
    let padding: [usize; N] = drawn(|axis| draw.between(0, ((full[axis] - 1) / 2).min(2)));
    let bias = draw.once_in(2);
    let input = [&[draw.between(1, 2), groups * inputs], size.as_slice()].concat();
    let weight = [&[groups * inputs, outputs], kernel.as_slice()].concat();
    let options = ConvTransposeOptions::new(stride, padding, out, dilation, groups);
    let text = format!("{options:?}");
    let operands = operands(draw, &input, &weight, bias.then_some(groups * outputs));
    let loss: Loss = Box::new(move |args| f(args, bias.then(|| args.at(2)), options.clone()));
    Case::new(text, operands, loss)
}

/// Its offsets and mask carry no derivative: there is no rule for their tangents.
fn deformable(draw: &mut Draw) -> Case {
    let [groups, inputs, outputs] = channels(draw);
    let (kernel, stride): ([_; 2], [_; 2]) = (drawn(|_| draw.between(1, 2)), drawn(|_| draw.between(1, 3)));
    let (padding, dilation): ([_; 2], [_; 2]) = (drawn(|_| draw.below(2)), drawn(|_| draw.between(1, 2)));
    let reach: [usize; 2] = drawn(|axis| dilation[axis] * (kernel[axis] - 1) + 1);
    let size: [usize; 2] = drawn(|axis| reach[axis].saturating_sub(2 * padding[axis]).max(1) + draw.between(0, 3));
    let out: [usize; 2] = drawn(|axis| (size[axis] + 2 * padding[axis] - reach[axis]) / stride[axis] + 1);
    let offset_groups = if draw.once_in(2) { 1 } else { groups * inputs };
    let (batch, masked, bias) = (draw.between(1, 2), draw.once_in(2), draw.once_in(2));
    let taps = offset_groups * kernel[0] * kernel[1];
    let plane = |draw: &mut Draw, channels: usize, low: f64, high: f64| {
        let operand = draw.operand(&[batch, channels, out[0], out[1]], low, high);
        Operand { active: false, ..operand }
    };
    let input = [batch, groups * inputs, size[0], size[1]];
    let weight = [groups * outputs, inputs, kernel[0], kernel[1]];
    let mut operands = operands(draw, &input, &weight, bias.then_some(groups * outputs));
    operands.push(plane(draw, 2 * taps, -0.4, 0.4));
    if masked {
        operands.push(plane(draw, taps, 0.2, 1.0));
    }
    let options = DeformConvOptions::new(stride, padding, dilation, groups, offset_groups);
    let text = format!("{options:?}");
    let loss: Loss = Box::new(move |args| {
        let (bias, at) = (bias.then(|| args.at(2)), 2 + usize::from(bias));
        let mask = masked.then(|| args.at(at + 1));
        probe(nn::deform_conv2d(args.at(0), args.at(at), args.at(1), mask, bias, options.clone()))
    });
    // Flex computes the backward pass in single precision.
    Case::new(text, operands, loss).single(true)
}

fn patches(draw: &mut Draw) -> Case {
    let (kernel, stride): ([_; 2], [_; 2]) = (drawn(|_| draw.between(1, 3)), drawn(|_| draw.between(1, 4)));
    let (padding, dilation): ([_; 2], [_; 2]) = (drawn(|_| draw.below(3)), drawn(|_| draw.between(1, 2)));
    let reach: [usize; 2] = drawn(|axis| dilation[axis] * (kernel[axis] - 1) + 1);
    let size: [usize; 2] = drawn(|axis| reach[axis].saturating_sub(2 * padding[axis]).max(1) + draw.between(0, 3));
    let out: [usize; 2] = drawn(|axis| (size[axis] + 2 * padding[axis] - reach[axis]) / stride[axis] + 1);
    let [_, channels, batch] = self::channels(draw);
    let options = UnfoldOptions::new(stride, padding, dilation);
    if draw.once_in(2) {
        let text = format!("unfold4d {kernel:?}, {options:?}");
        let input = [batch, channels, size[0], size[1]];
        let loss: Loss = Box::new(move |args| probe(nn::unfold4d(args.at(0), kernel, options.clone())));
        return Case::new(text, vec![draw.plain(&input)], loss);
    }
    let text = format!("fold4d to {size:?}, {kernel:?}, {options:?}");
    let input = [batch, channels * kernel[0] * kernel[1], out[0] * out[1]];
    let loss: Loss = Box::new(move |args| probe(nn::fold4d(args.at(0), size, kernel, options.clone())));
    Case::new(text, vec![draw.plain(&input)], loss)
}
