//! Slices, and reading and writing at indices.
//!
//! Does not know: other operations.

use burn::tensor::module::embedding;
use burn::tensor::{IndexingUpdateOp, Slice, Tensor};

use crate::Family;
use crate::case::{Case, Loss, probe};
use crate::draw::Draw;

pub const FAMILIES: &[Family] = &[
    ("slice", slice),
    ("slice_assign", slice_assign),
    ("slice_fill", slice_fill),
    ("gather", gather),
    ("scatter", scatter),
    ("select", select),
    ("select_assign", select_assign),
    ("gather_nd, scatter_nd", several_indices),
    ("take", take),
    ("mask", mask),
    ("embedding", lookup),
];

const LONGEST: [usize; 4] = [10, 6, 5, 4];

/// A range of every axis: steps forward and back, ends counted from either side, or left out; and the shape selected.
fn ranges(draw: &mut Draw, shape: &[usize]) -> (Vec<Slice>, Vec<usize>) {
    let range = |&n: &usize| {
        let start = draw.below(n);
        let end = draw.between(start + 1, n);
        let step = draw.pick(&[1, 1, 2, 3, -1, -2, -3]);
        let from_end =
            |draw: &mut Draw, at: usize| if draw.once_in(3) { at as isize - n as isize } else { at as isize };
        // The end itself cannot be counted from the end: that would be zero.
        let until = match end {
            end if end == n && draw.once_in(3) => None,
            end if end == n => Some(n as isize),
            end => Some(from_end(draw, end)),
        };
        (Slice::new(from_end(draw, start), until, step), (end - start).div_ceil(step.unsigned_abs()))
    };
    shape.iter().map(range).unzip()
}

fn fixed<const D: usize, T: Copy>(values: &[T]) -> [T; D] {
    std::array::from_fn(|at| values[at])
}

fn slice(draw: &mut Draw) -> Case {
    let rank = draw.between(1, 4);
    let shape = draw.shape(rank, LONGEST[rank - 1]);
    let (ranges, selected) = ranges(draw, &shape);
    let text = format!("slice {ranges:?}");
    Case::new(text, vec![draw.plain(&shape)], ranked!(rank, slice_loss(ranges, selected)))
}

fn slice_loss<const D: usize>(ranges: Vec<Slice>, selected: Vec<usize>) -> Loss {
    Box::new(move |args| {
        let out = args.at::<D>(0).slice(fixed::<D, _>(&ranges));
        assert_eq!(out.dims().as_slice(), selected, "the shape of the slice");
        probe(out)
    })
}

fn slice_assign(draw: &mut Draw) -> Case {
    let rank = draw.between(1, 4);
    let shape = draw.shape(rank, LONGEST[rank - 1]);
    let (ranges, selected) = ranges(draw, &shape);
    let text = format!("slice_assign {ranges:?}");
    Case::new(text, vec![draw.plain(&shape), draw.plain(&selected)], ranked!(rank, slice_assign_loss(ranges)))
}

fn slice_assign_loss<const D: usize>(ranges: Vec<Slice>) -> Loss {
    Box::new(move |args| {
        let (x, values) = (args.at::<D>(0), args.at::<D>(1));
        probe(x.clone().slice_assign(fixed::<D, _>(&ranges), values) * x.exp())
    })
}

fn slice_fill(draw: &mut Draw) -> Case {
    let rank = draw.between(1, 4);
    let shape = draw.shape(rank, LONGEST[rank - 1]);
    let ((ranges, _), value) = (ranges(draw, &shape), draw.number(-1.0, 1.0));
    let text = format!("slice_fill {ranges:?} {value}");
    Case::new(text, vec![draw.plain(&shape)], ranked!(rank, slice_fill_loss(ranges, value)))
}

fn slice_fill_loss<const D: usize>(ranges: Vec<Slice>, value: f64) -> Loss {
    Box::new(move |args| {
        let x = args.at::<D>(0);
        probe(x.clone().slice_fill(fixed::<D, _>(&ranges), value) * x.exp())
    })
}

/// Shapes of a tensor and of indices along an axis of it, and the indices.
fn places(draw: &mut Draw, rank: usize) -> (Vec<usize>, usize, Vec<usize>, Vec<i64>) {
    let (shape, dim) = (draw.shape(rank, LONGEST[rank - 1]), draw.below(rank));
    let mut at = shape.clone();
    at[dim] = draw.between(1, 5);
    let indices = draw.indices(at.iter().product(), shape[dim]);
    (shape, dim, at, indices)
}

fn gather(draw: &mut Draw) -> Case {
    let rank = draw.between(1, 4);
    let (shape, dim, at, indices) = places(draw, rank);
    let text = format!("gather, axis {dim}, {indices:?} as {at:?}");
    Case::new(text, vec![draw.plain(&shape)], ranked!(rank, gather_loss(dim, at, indices)))
}

fn gather_loss<const D: usize>(dim: usize, at: Vec<usize>, indices: Vec<i64>) -> Loss {
    Box::new(move |args| probe(args.at::<D>(0).gather(dim, args.ints(fixed(&at), &indices))))
}

fn scatter(draw: &mut Draw) -> Case {
    let rank = draw.between(1, 4);
    let (shape, dim, at, indices) = places(draw, rank);
    let text = format!("scatter, axis {dim}, {indices:?} as {at:?}");
    Case::new(text, vec![draw.plain(&shape), draw.plain(&at)], ranked!(rank, scatter_loss(dim, at, indices)))
}

fn scatter_loss<const D: usize>(dim: usize, at: Vec<usize>, indices: Vec<i64>) -> Loss {
    Box::new(move |args| {
        let indices = args.ints(fixed::<D, _>(&at), &indices);
        probe(args.at::<D>(0).scatter(dim, indices, args.at(1), IndexingUpdateOp::Add))
    })
}

fn select(draw: &mut Draw) -> Case {
    let rank = draw.between(1, 4);
    let (shape, dim) = (draw.shape(rank, LONGEST[rank - 1]), draw.below(rank));
    let count = draw.between(1, 6);
    let indices = draw.indices(count, shape[dim]);
    Case::new(
        format!("select, axis {dim}, {indices:?}"),
        vec![draw.plain(&shape)],
        ranked!(rank, select_loss(dim, indices)),
    )
}

fn select_loss<const D: usize>(dim: usize, indices: Vec<i64>) -> Loss {
    Box::new(move |args| probe(args.at::<D>(0).select(dim, args.ints([indices.len()], &indices))))
}

fn select_assign(draw: &mut Draw) -> Case {
    let rank = draw.between(1, 4);
    let (shape, dim) = (draw.shape(rank, LONGEST[rank - 1]), draw.below(rank));
    let count = draw.between(1, 6);
    let (indices, mut values) = (draw.indices(count, shape[dim]), shape.clone());
    values[dim] = count;
    let text = format!("select_assign, axis {dim}, {indices:?}");
    Case::new(text, vec![draw.plain(&shape), draw.plain(&values)], ranked!(rank, select_assign_loss(dim, indices)))
}

fn select_assign_loss<const D: usize>(dim: usize, indices: Vec<i64>) -> Loss {
    Box::new(move |args| {
        let indices = args.ints([indices.len()], &indices);
        probe(args.at::<D>(0).select_assign(dim, indices, args.at(1), IndexingUpdateOp::Add))
    })
}

/// Indices of one to three axes at once. Burn leaves open what it means to write twice to one place, but for sums.
fn several_indices(draw: &mut Draw) -> Case {
    let shape = draw.shape(3, 4);
    let (axes, name) = (draw.between(1, 3), draw.pick(&["gather_nd", "scatter_nd Add", "scatter_nd Assign"]));
    let places: usize = shape[..axes].iter().product();
    let mut flat: Vec<usize> =
        if name == "scatter_nd Assign" { draw.order(places) } else { (0..5).map(|_| draw.below(places)).collect() };
    let count = draw.between(1, flat.len());
    flat.truncate(count);
    let place = |mut at: usize| {
        let mut place: Vec<i64> = Vec::new();
        for n in shape[..axes].iter().rev() {
            place.insert(0, (at % n) as i64);
            at /= n;
        }
        place
    };
    let indices: Vec<i64> = flat.into_iter().flat_map(place).collect();
    let values = [&[count], &shape[axes..]].concat();
    let mut operands = vec![draw.plain(&shape)];
    if name != "gather_nd" {
        operands.push(draw.plain(&values));
    }
    let text = format!("{name}, {axes} axes, {indices:?}");
    let loss: Loss = match axes {
        1 => several_loss::<3>(name, count, axes, indices),
        2 => several_loss::<2>(name, count, axes, indices),
        _ => several_loss::<1>(name, count, axes, indices),
    };
    Case::new(text, operands, loss)
}

fn several_loss<const V: usize>(name: &'static str, count: usize, axes: usize, indices: Vec<i64>) -> Loss {
    Box::new(move |args| {
        let (x, indices) = (args.at::<3>(0), args.ints([count, axes], &indices));
        match name {
            "gather_nd" => probe(x.gather_nd::<2, V>(indices)),
            "scatter_nd Add" => probe(x.scatter_nd(indices, args.at::<V>(1), IndexingUpdateOp::Add)),
            _ => probe(x.clone().scatter_nd(indices, args.at::<V>(1), IndexingUpdateOp::Assign) * x.exp()),
        }
    })
}

fn take(draw: &mut Draw) -> Case {
    let (shape, dim) = (draw.shape(2, 5), draw.below(2));
    let at = [draw.between(1, 3), draw.between(1, 3)];
    let indices = draw.indices(at.iter().product(), shape[dim]);
    let text = format!("take, axis {dim}, {indices:?} as {at:?}");
    let loss: Loss = Box::new(move |args| {
        let indices = args.ints(at, &indices);
        probe(args.at::<2>(0).take::<2, 3>(dim as isize, indices))
    });
    Case::new(text, vec![draw.plain(&shape)], loss)
}

fn mask(draw: &mut Draw) -> Case {
    let rank = draw.between(1, 4);
    let shape = draw.shape_or_empty(rank, LONGEST[rank - 1]);
    let (mask, value) = (draw.mask(shape.iter().product()), draw.number(-1.0, 1.0));
    Case::new(format!("mask_fill {value}"), vec![draw.plain(&shape)], ranked!(rank, mask_loss(mask, value)))
}

fn mask_loss<const D: usize>(mask: Vec<bool>, value: f64) -> Loss {
    Box::new(move |args| {
        let x = args.at::<D>(0);
        let mask = args.mask(x.dims(), &mask);
        probe(x.clone().mask_fill(mask, value) * x.exp())
    })
}

fn lookup(draw: &mut Draw) -> Case {
    let (table, at) = (draw.shape(2, 5), [draw.between(1, 3), draw.between(1, 4)]);
    let indices = draw.indices(at.iter().product(), table[0]);
    let text = format!("embedding, {indices:?} as {at:?}");
    let loss: Loss = Box::new(move |args| {
        let indices = args.ints(at, &indices);
        let found: Tensor<3> = embedding(args.at(0), indices);
        probe(found)
    });
    Case::new(text, vec![draw.plain(&table)], loss)
}
