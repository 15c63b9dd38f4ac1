//! Operations on two tensors of shapes that broadcast.
//!
//! Does not know: other operations.

use burn::tensor::module::linear;
use burn::tensor::{Tensor, activation as act};

use crate::Family;
use crate::case::{Case, Loss, probe};
use crate::draw::Draw;

pub const FAMILIES: &[Family] = &[
    ("binary", binary),
    ("binary choice", choice),
    ("matmul", matmul),
    ("linear", dense),
    ("cross, dot", cross),
    ("prelu", prelu),
];

/// Name and the intervals of both operands.
const BINARY: &[(&str, f64, f64, f64, f64)] = &[
    ("add", -1.2, 1.2, -1.2, 1.2),
    ("sub", -1.2, 1.2, -1.2, 1.2),
    ("mul", -1.2, 1.2, -1.2, 1.2),
    ("div", -1.2, 1.2, 0.5, 2.0),
    ("powf", 0.4, 2.0, -1.5, 2.5),
    ("powi", 0.4, 2.0, -1.5, 2.5),
    ("atan2", -1.2, 1.2, 0.4, 2.0),
    ("hypot", -1.2, 1.2, 0.4, 2.0),
    ("max_pair", -1.2, 1.2, -1.2, 1.2),
    ("min_pair", -1.2, 1.2, -1.2, 1.2),
    ("remainder", -1.5, 3.0, 0.7, 2.0),
    ("fmod", -1.5, 3.0, 0.7, 2.0),
    ("squares", -1.2, 1.2, -1.2, 1.2),
];

fn apply<const D: usize>(name: &str, a: Tensor<D>, b: Tensor<D>) -> Tensor<D> {
    match name {
        "add" => a + b,
        "sub" => a - b,
        "mul" => a * b,
        "div" => a / b,
        "powf" => a.powf(b),
        "powi" => a.powi(b.round()),
        "atan2" => a.atan2(b),
        "hypot" => a.hypot(b),
        "max_pair" => a.max_pair(b),
        "min_pair" => a.min_pair(b),
        "remainder" => a.remainder(b),
        "fmod" => a.fmod(b),
        "squares" => (a.clone() - b.clone()) * (a + b),
        _ => unreachable!("{name} is not in the table"),
    }
}

/// Two shapes that broadcast.
fn shapes(draw: &mut Draw, rank: usize) -> (Vec<usize>, Vec<usize>) {
    let a = draw.shape_or_empty(rank, [12, 6, 4, 3][rank - 1]);
    let mut b = a.clone();
    let ones = |draw: &mut Draw, shape: &mut Vec<usize>| {
        shape.iter_mut().for_each(|n| {
            if draw.once_in(4) {
                *n = 1;
            }
        })
    };
    let mut a = a;
    ones(draw, &mut a);
    ones(draw, &mut b);
    (a, b)
}

fn binary(draw: &mut Draw) -> Case {
    let (name, low, high, least, most) = draw.pick(BINARY);
    let rank = draw.between(1, 4);
    let (a, b) = shapes(draw, rank);
    let operands = vec![draw.operand(&a, low, high), draw.operand(&b, least, most)];
    Case::new(name, operands, ranked!(rank, binary_loss(name)))
}

fn binary_loss<const D: usize>(name: &'static str) -> Loss {
    Box::new(move |args| probe(apply(name, args.at::<D>(0), args.at::<D>(1))))
}

/// Elements of one or the other tensor; masks have the shape of what they are applied to.
fn choice(draw: &mut Draw) -> Case {
    let rank = draw.between(1, 4);
    let shape = draw.shape_or_empty(rank, [12, 6, 4, 3][rank - 1]);
    let (name, mask) = (draw.pick(&["greater", "lower_equal", "mask"]), draw.mask(shape.iter().product()));
    let operands = vec![draw.plain(&shape), draw.plain(&shape)];
    Case::new(format!("mask_where, {name}"), operands, ranked!(rank, choice_loss(name, mask)))
}

fn choice_loss<const D: usize>(name: &'static str, mask: Vec<bool>) -> Loss {
    Box::new(move |args| {
        let (a, b) = (args.at::<D>(0), args.at::<D>(1));
        let mask = match name {
            "greater" => a.clone().greater(b.clone()),
            "lower_equal" => a.clone().lower_equal(b.clone()),
            _ => args.mask(a.dims(), &mask),
        };
        probe(a.sin().mask_where(mask, b))
    })
}

fn matmul(draw: &mut Draw) -> Case {
    let rank = draw.between(2, 4);
    let (mut a, mut b) = shapes(draw, rank);
    let mut axis = || if draw.once_in(20) { 0 } else { draw.between(1, 4) };
    let (m, k, n) = (axis(), axis(), axis());
    a[rank - 2..].copy_from_slice(&[m, k]);
    b[rank - 2..].copy_from_slice(&[k, n]);
    // Flex takes one for the length of a batch axis of zero against one, and reads what is not there (burn-flex,
    // src/ops/matmul.rs).
    for axis in 0..rank - 2 {
        if a[axis] * b[axis] == 0 {
            (a[axis], b[axis]) = (0, 0);
        }
    }
    Case::new("matmul", vec![draw.plain(&a), draw.plain(&b)], ranked!(rank, matmul_loss()))
}

fn matmul_loss<const D: usize>() -> Loss {
    Box::new(|args| probe(args.at::<D>(0).matmul(args.at::<D>(1))))
}

fn dense(draw: &mut Draw) -> Case {
    let rank = draw.between(1, 4);
    let (mut shape, outputs) = (draw.shape_or_empty(rank, 4), draw.between(1, 4));
    // As above, against the batch axes of the weights; and the reshape of a vector takes zero for another axis' length.
    let rows = if rank == 1 { 1 } else { rank - 2 };
    shape[..rows].iter_mut().for_each(|n| *n = (*n).max(1));
    let weight = [shape[rank - 1], outputs];
    let mut operands = vec![draw.plain(&shape), draw.plain(&weight)];
    let bias = draw.once_in(2);
    if bias {
        operands.push(draw.plain(&[outputs]));
    }
    Case::new("linear", operands, ranked!(rank, dense_loss(bias)))
}

fn dense_loss<const D: usize>(bias: bool) -> Loss {
    Box::new(move |args| probe(linear(args.at::<D>(0), args.at(1), bias.then(|| args.at(2)))))
}

fn cross(draw: &mut Draw) -> Case {
    if draw.once_in(3) {
        let n = draw.between(0, 6);
        return Case::new(
            "dot",
            vec![draw.plain(&[n]), draw.plain(&[n])],
            Box::new(|args| probe(args.at::<1>(0).dot(args.at(1)))),
        );
    }
    let rank = draw.between(1, 4);
    let ((mut a, mut b), dim) = (shapes(draw, rank), draw.below(rank));
    (a[dim], b[dim]) = (3, 3);
    // Flex panics on flipped and cut tensors of no element (burn-flex, src/ops/binary.rs).
    a.iter_mut().chain(&mut b).for_each(|n| *n = (*n).max(1));
    Case::new(format!("cross, axis {dim}"), vec![draw.plain(&a), draw.plain(&b)], ranked!(rank, cross_loss(dim)))
}

fn cross_loss<const D: usize>(dim: usize) -> Loss {
    Box::new(move |args| probe(args.at::<D>(0).cross(args.at(1), dim)))
}

fn prelu(draw: &mut Draw) -> Case {
    let rank = draw.between(2, 4);
    let shape = draw.shape(rank, 4);
    let weights = if draw.once_in(2) { 1 } else { shape[1] };
    Case::new("prelu", vec![draw.plain(&shape), draw.operand(&[weights], 0.1, 0.8)], ranked!(rank, prelu_loss()))
}

fn prelu_loss<const D: usize>() -> Loss {
    Box::new(|args| probe(act::prelu(args.at::<D>(0), args.at(1))))
}
