//! Pools of random windows, and resampling.
//!
//! Does not know: other operations.

use burn::tensor::module as nn;
use burn::tensor::ops::{AvgPoolOptions, InterpolateMode, InterpolateOptions, MaxPoolOptions};

use crate::Family;
use crate::case::{Case, Loss, probe};
use crate::draw::Draw;

pub const FAMILIES: &[Family] = &[
    ("max_pool1d", |draw| {
        maximum(draw, 9, |options| Box::new(move |args| probe(nn::max_pool1d(args.at(0), options.clone()))))
    }),
    ("max_pool2d", |draw| {
        maximum(draw, 5, |options| Box::new(move |args| probe(nn::max_pool2d(args.at(0), options.clone()))))
    }),
    ("max_pool1d_with_indices", |draw| {
        maximum(draw, 9, |options| {
            Box::new(move |args| probe(nn::max_pool1d_with_indices(args.at(0), options.clone()).0))
        })
    }),
    ("max_pool2d_with_indices", |draw| {
        maximum(draw, 5, |options| {
            Box::new(move |args| probe(nn::max_pool2d_with_indices(args.at(0), options.clone()).0))
        })
    }),
    ("avg_pool1d", |draw| {
        average(draw, 9, |options| Box::new(move |args| probe(nn::avg_pool1d(args.at(0), options.clone()))))
    }),
    ("avg_pool2d", |draw| {
        average(draw, 5, |options| Box::new(move |args| probe(nn::avg_pool2d(args.at(0), options.clone()))))
    }),
    ("adaptive_avg_pool", adaptive),
    ("interpolate", interpolate),
];

/// A window that fits into its input, padded by half of it at most.
struct Window<const N: usize> {
    kernel: [usize; N],
    stride: [usize; N],
    dilation: [usize; N],
    padding: [(usize, usize); N],
    input: Vec<usize>,
}

impl<const N: usize> Window<N> {
    fn draw(draw: &mut Draw, longest: usize, dilated: bool) -> Self {
        let kernel: [usize; N] = std::array::from_fn(|_| draw.between(1, 3));
        let stride = std::array::from_fn(|_| draw.between(1, 4));
        let dilation: [usize; N] = std::array::from_fn(|_| if dilated { draw.between(1, 2) } else { 1 });
        let uneven = draw.once_in(4);
        let padding: [(usize, usize); N] = std::array::from_fn(|axis| {
            let begin = draw.between(0, kernel[axis] / 2);
            (begin, if uneven { draw.between(0, kernel[axis] / 2) } else { begin })
        });
        let size: [usize; N] = std::array::from_fn(|axis| {
            let reach = dilation[axis] * (kernel[axis] - 1) + 1;
            let padding = padding[axis].0 + padding[axis].1;
            // A shorter input lies between the steps of a window that begins before it: the largest of no element.
            let least = reach.saturating_sub(padding).max(dilation[axis]);
            draw.between(least, least.max(longest))
        });
        let input = [&[draw.between(1, 2), draw.between(1, 2)], size.as_slice()].concat();
        Self { kernel, stride, dilation, padding, input }
    }
}

fn maximum<const N: usize>(draw: &mut Draw, longest: usize, f: fn(MaxPoolOptions<N>) -> Loss) -> Case {
    let window = Window::<N>::draw(draw, longest, true);
    let options = MaxPoolOptions::new(window.kernel).with_stride(window.stride).with_dilation(window.dilation);
    let options = options.with_padding_pairs(window.padding).with_ceil_mode(draw.once_in(2));
    Case::new(format!("{options:?}"), vec![draw.plain(&window.input)], f(options))
}

fn average<const N: usize>(draw: &mut Draw, longest: usize, f: fn(AvgPoolOptions<N>) -> Loss) -> Case {
    let window = Window::<N>::draw(draw, longest, false);
    let options = AvgPoolOptions::new(window.kernel).with_stride(window.stride).with_padding_pairs(window.padding);
    let options = options.with_ceil_mode(draw.once_in(2)).with_count_include_pad(draw.once_in(2));
    Case::new(format!("{options:?}"), vec![draw.plain(&window.input)], f(options))
}

fn adaptive(draw: &mut Draw) -> Case {
    let axes = draw.between(1, 3);
    let longest = [9, 6, 4][axes - 1];
    let size = |draw: &mut Draw| -> Vec<usize> { (0..axes).map(|_| draw.between(1, longest)).collect() };
    let (size, out) = (size(draw), size(draw));
    let input = [&[draw.between(1, 2), draw.between(1, 2)], size.as_slice()].concat();
    let text = format!("adaptive_avg_pool{axes}d to {out:?}");
    let loss: Loss = match *out.as_slice() {
        [a] => Box::new(move |args| probe(nn::adaptive_avg_pool1d(args.at(0), a))),
        [a, b] => Box::new(move |args| probe(nn::adaptive_avg_pool2d(args.at(0), [a, b]))),
        [a, b, c] => Box::new(move |args| probe(nn::adaptive_avg_pool3d(args.at(0), [a, b, c]))),
        _ => unreachable!("at most three axes"),
    };
    Case::new(text, vec![draw.plain(&input)], loss)
}

fn interpolate(draw: &mut Draw) -> Case {
    let input: Vec<usize> = [2, 2, 6, 6].map(|longest| draw.between(1, longest)).to_vec();
    let out = [draw.between(1, 9), draw.between(1, 9)];
    // Of the other two modes, Flex lacks one in double precision and the backward pass of one (burn-flex,
    // src/ops/module.rs).
    let mode = match draw.below(3) {
        0 => InterpolateMode::Nearest,
        1 => InterpolateMode::Bilinear,
        _ => InterpolateMode::Bicubic,
    };
    let options = InterpolateOptions::new(mode).with_output_size(out).with_align_corners(draw.once_in(2));
    let text = format!("{options:?}");
    let loss: Loss = Box::new(move |args| probe(nn::interpolate(args.at(0), options.clone())));
    Case::new(text, vec![draw.plain(&input)], loss)
}
