//! Operations that move elements: shapes, axes, repetition, padding, windows, pieces.
//!
//! Does not know: other operations.

use burn::tensor::Tensor;
use burn::tensor::ops::PadMode;

use crate::Family;
use crate::case::{Case, Loss, probe};
use crate::draw::Draw;

pub const FAMILIES: &[Family] = &[
    ("reshape", reshape),
    ("axes", axes),
    ("expand, repeat", repeat),
    ("pad", pad),
    ("unfold", unfold),
    ("cat, stack", join),
    ("split, chunk", split),
];

fn reshape(draw: &mut Draw) -> Case {
    let (rank, to) = (draw.between(1, 4), draw.between(1, 4));
    let shape = draw.shape(rank, 4);
    let mut rest: usize = shape.iter().product();
    let wanted = (0..to).map(|axis| {
        let divisors: Vec<usize> = (1..=rest).filter(|d| rest.is_multiple_of(*d)).collect();
        let n = if axis + 1 == to { rest } else { draw.pick(&divisors) };
        rest /= n;
        n
    });
    let wanted: Vec<usize> = wanted.collect();
    Case::new(format!("reshape to {wanted:?}"), vec![draw.plain(&shape)], ranked!(rank, reshape_loss(wanted)))
}

fn reshape_loss<const D: usize>(wanted: Vec<usize>) -> Loss {
    fn to<const D: usize, const E: usize>(x: Tensor<D>, wanted: &[usize]) -> Tensor<1> {
        let wanted: [usize; E] = wanted.try_into().expect("as many axes");
        probe(x.reshape(wanted))
    }
    Box::new(move |args| {
        let x = args.at::<D>(0);
        match wanted.len() {
            1 => to::<D, 1>(x, &wanted),
            2 => to::<D, 2>(x, &wanted),
            3 => to::<D, 3>(x, &wanted),
            _ => to::<D, 4>(x, &wanted),
        }
    })
}

fn axes(draw: &mut Draw) -> Case {
    let rank = draw.between(1, 4);
    let name = draw.pick(&["permute", "swap_dims", "flip", "roll", "movedim"]);
    // Flex panics on flipped tensors of no element (burn-flex, src/ops/binary.rs).
    let shape = if name == "flip" { draw.shape(rank, 4) } else { draw.shape_or_empty(rank, 4) };
    let (order, some, shift) = (draw.order(rank), draw.some_axes(rank), draw.between(0, 8) as i64 - 4);
    let text = format!("{name}, {order:?}, {some:?}, {shift}");
    Case::new(text, vec![draw.plain(&shape)], ranked!(rank, axes_loss(name, order, some, shift)))
}

fn axes_loss<const D: usize>(name: &'static str, order: Vec<usize>, some: Vec<usize>, shift: i64) -> Loss {
    Box::new(move |args| {
        let x = args.at::<D>(0);
        let (first, last) = (order[0], order[D - 1]);
        probe(match name {
            "permute" => x.permute::<usize>(order.as_slice().try_into().expect("as many axes")),
            "swap_dims" => x.swap_dims(first, last),
            "flip" => match *some.as_slice() {
                [a] => x.flip([a]),
                [a, b] => x.flip([a, b]),
                [a, b, c] => x.flip([a, b, c]),
                _ => x.flip([0, 1, 2, 3]),
            },
            "roll" => x.roll(&vec![shift; some.len()], &some),
            _ => x.movedim(first, last),
        })
    })
}

fn repeat(draw: &mut Draw) -> Case {
    let rank = draw.between(1, 4);
    // No axis of zero: Burn expands to none, and cannot record repeating one (burn-ir, src/builder.rs).
    let (shape, name) =
        (draw.shape(rank, 3), draw.pick(&["expand", "expand to a higher rank", "repeat_dim", "repeat"]));
    let (dim, times) = (draw.below(rank), draw.between(1, 3));
    let mut wanted = shape.clone();
    wanted.iter_mut().filter(|n| **n == 1).for_each(|n| *n = draw.between(1, 3));
    let counts: Vec<usize> = (0..rank).map(|_| draw.between(1, 2)).collect();
    let text = format!("{name}, to {wanted:?}, axis {dim}, {times}, {counts:?}");
    Case::new(text, vec![draw.plain(&shape)], ranked!(rank, repeat_loss(name, wanted, dim, times, counts)))
}

fn repeat_loss<const D: usize>(
    name: &'static str,
    wanted: Vec<usize>,
    dim: usize,
    times: usize,
    counts: Vec<usize>,
) -> Loss {
    Box::new(move |args| {
        let x = args.at::<D>(0);
        let same: [usize; D] = wanted.as_slice().try_into().expect("as many axes");
        match name {
            "expand" => probe(x.expand(same)),
            "repeat_dim" => probe(x.repeat_dim(dim, times)),
            "repeat" => probe(x.repeat(&counts)),
            _ => {
                let mut higher = [times; 5];
                higher[5 - D..].copy_from_slice(&wanted);
                probe(x.expand::<5, _>(higher))
            }
        }
    })
}

fn pad(draw: &mut Draw) -> Case {
    let rank = draw.between(1, 4);
    let (shape, name) = (draw.shape(rank, 4), draw.pick(&["constant", "reflect", "edge"]));
    let padded = draw.between(1, rank);
    let pairs = shape[rank - padded..].iter().map(|n| {
        let most = if name == "reflect" { n - 1 } else { 3 };
        (draw.between(0, most), draw.between(0, most))
    });
    let pairs: Vec<(usize, usize)> = pairs.collect();
    let value = draw.number(-1.0, 1.0) as f32;
    let mode = match name {
        "constant" => PadMode::Constant(value),
        "reflect" => PadMode::Reflect,
        _ => PadMode::Edge,
    };
    Case::new(format!("pad {pairs:?}, {mode:?}"), vec![draw.plain(&shape)], ranked!(rank, pad_loss(pairs, mode)))
}

fn pad_loss<const D: usize>(pairs: Vec<(usize, usize)>, mode: PadMode) -> Loss {
    Box::new(move |args| probe(args.at::<D>(0).pad(pairs.as_slice(), mode)))
}

fn unfold(draw: &mut Draw) -> Case {
    let rank = draw.between(1, 4);
    let (shape, dim) = (draw.shape(rank, if rank == 1 { 9 } else { 5 }), draw.below(rank));
    let (size, step) = (draw.between(1, shape[dim]), draw.between(1, 4));
    let text = format!("unfold, axis {dim}, size {size}, step {step}");
    let loss: Loss = match rank {
        1 => Box::new(move |args| probe(args.at::<1>(0).unfold::<2, _>(dim, size, step))),
        2 => Box::new(move |args| probe(args.at::<2>(0).unfold::<3, _>(dim, size, step))),
        3 => Box::new(move |args| probe(args.at::<3>(0).unfold::<4, _>(dim, size, step))),
        _ => Box::new(move |args| probe(args.at::<4>(0).unfold::<5, _>(dim, size, step))),
    };
    Case::new(text, vec![draw.plain(&shape)], loss)
}

fn join(draw: &mut Draw) -> Case {
    let rank = draw.between(1, 4);
    let (shape, dim, count) = (draw.shape(rank, 3), draw.below(rank), draw.between(1, 3));
    let stacked = draw.once_in(3);
    let operands = (0..count).map(|at| {
        let mut shape = shape.clone();
        if !stacked {
            // Burn cuts the graph where all are empty.
            shape[dim] = if at > 0 && draw.once_in(8) { 0 } else { draw.between(1, 3) };
        }
        draw.plain(&shape)
    });
    let mut operands: Vec<_> = operands.collect();
    operands[0].active = true;
    let text = format!("{}, axis {dim}", if stacked { "stack" } else { "cat" });
    Case::new(text, operands, ranked!(rank, join_loss(dim, count, stacked)))
}

fn join_loss<const D: usize>(dim: usize, count: usize, stacked: bool) -> Loss {
    fn stack<const D: usize, const E: usize>(parts: Vec<Tensor<D>>, dim: usize) -> Tensor<1> {
        probe(Tensor::stack::<E>(parts, dim))
    }
    Box::new(move |args| {
        // The first one comes twice: its tangent is a sum.
        let parts: Vec<Tensor<D>> = (0..=count).map(|at| args.at::<D>(at % count)).collect();
        match (stacked, D) {
            (false, _) => probe(Tensor::cat(parts, dim)),
            (true, 1) => stack::<D, 2>(parts, dim),
            (true, 2) => stack::<D, 3>(parts, dim),
            (true, 3) => stack::<D, 4>(parts, dim),
            _ => stack::<D, 5>(parts, dim),
        }
    })
}

fn split(draw: &mut Draw) -> Case {
    let rank = draw.between(1, 4);
    let (shape, dim) = (draw.shape(rank, 5), draw.below(rank));
    let (name, size) = (draw.pick(&["split", "chunk", "split_with_sizes", "narrow"]), draw.between(1, shape[dim]));
    let (keep, start) = (draw.below(8), draw.below(shape[dim] - size + 1));
    // Burn's `chunk` makes all pieces but the last one longer, and panics where nothing is left for the last one
    // (burn-tensor, src/tensor/api/base.rs).
    let n = shape[dim];
    let size = if name == "chunk" && (size - 1) * n.div_ceil(size) >= n { 1 } else { size };
    let text = format!("{name}, axis {dim}, size {size}, piece {keep}, start {start}");
    Case::new(text, vec![draw.plain(&shape)], ranked!(rank, split_loss(name, dim, size, keep, start)))
}

fn split_loss<const D: usize>(name: &'static str, dim: usize, size: usize, keep: usize, start: usize) -> Loss {
    Box::new(move |args| {
        let x = args.at::<D>(0);
        let n = x.dims()[dim];
        let parts = match name {
            "split" => x.split(size, dim),
            "chunk" => x.chunk(size, dim),
            "narrow" => vec![x.narrow(dim, start, size)],
            _ if size == n => x.split_with_sizes(vec![n], dim),
            _ => x.split_with_sizes(vec![size, n - size], dim),
        };
        // One piece enters twice, and the others may be equal in shape or not.
        let twice = probe(parts[keep % parts.len()].clone().exp());
        parts.into_iter().map(probe).fold(twice, |sum, part| sum + part)
    })
}
