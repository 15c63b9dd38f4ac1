//! Operations that move elements and compute nothing.

use burn::tensor::{DType, Slice};
use burn_ir::{
    BaseOperationIr as B, CastOpIr, CatOpIr, FlipOpIr, PermuteOpIr, RepeatDimOpIr, ShapeOpIr, SliceAssignOpIr,
    SliceOpIr, SwapDimsOpIr, UnfoldOpIr,
};

use super::case::{Case, base, case, id};
use super::harness::{Operand, check_to};

fn views() -> Vec<Case> {
    let x = || vec![Operand::wave(&[2, 3, 4], 1)];
    vec![
        case("reshape", x(), |e, x| {
            let op = ShapeOpIr::reshape(x[0].clone(), [6, 4].into(), || id(e));
            base(e, B::Reshape(op))
        }),
        case("reshape of nothing", vec![Operand::wave(&[0, 3], 1)], |e, x| {
            let op = ShapeOpIr::reshape(x[0].clone(), [3, 0].into(), || id(e));
            base(e, B::Reshape(op))
        }),
        case("swap", x(), |e, x| {
            let op = SwapDimsOpIr::create(x[0].clone(), 0, 2, || id(e));
            base(e, B::SwapDims(op))
        }),
        case("permute", x(), |e, x| {
            let op = PermuteOpIr::create(x[0].clone(), vec![2, 0, 1], || id(e));
            base(e, B::Permute(op))
        }),
        case("flip two axes", x(), |e, x| {
            let op = FlipOpIr::create(x[0].clone(), vec![0, 2], || id(e));
            base(e, B::Flip(op))
        }),
        case("expand", vec![Operand::wave(&[1, 3, 1], 1)], |e, x| {
            let op = ShapeOpIr::expand(x[0].clone(), [2, 3, 4].into(), || id(e));
            base(e, B::Expand(op))
        }),
        case("expand to a higher rank", vec![Operand::wave(&[3], 1)], |e, x| {
            let op = ShapeOpIr::expand(x[0].clone(), [2, 4, 3].into(), || id(e));
            base(e, B::Expand(op))
        }),
        case("unfold", x(), |e, x| {
            // Three windows of two elements, overlapping in none.
            let out = e.value([2, 3, 2, 2].into(), DType::F64);
            base(e, B::Unfold(UnfoldOpIr { input: x[0].clone(), out, dim: 2, size: 2, step: 2 }))
        }),
        case("unfold, overlapping", vec![Operand::wave(&[5, 2], 1)], |e, x| {
            let out = e.value([3, 2, 3].into(), DType::F64);
            base(e, B::Unfold(UnfoldOpIr { input: x[0].clone(), out, dim: 0, size: 3, step: 1 }))
        }),
    ]
}

fn copies() -> Vec<Case> {
    let ranges: [Vec<Slice>; 4] = [
        vec![(1..3).into(), (0..2).into()],
        vec![Slice::new(0, None, 2), Slice::new(0, None, -1)],
        vec![Slice::new(0, None, -2), Slice::new(1, Some(4), 2)],
        vec![(2..2).into(), (0..5).into()],
    ];
    let slices = ranges.clone().map(|ranges| {
        case(format!("slice {ranges:?}"), vec![Operand::wave(&[4, 5], 1)], move |e, x| {
            let op = SliceOpIr::create(x[0].clone(), ranges.clone(), || id(e));
            base(e, B::Slice(op))
        })
    });
    let assigned = [(0, vec![2, 2]), (1, vec![2, 5]), (2, vec![2, 2])].map(|(at, shape)| {
        let ranges = ranges[at].clone();
        let operands = vec![Operand::wave(&[4, 5], 1), Operand::wave(&shape, 2)];
        case(format!("assign to slice {ranges:?}"), operands, move |e, x| {
            let op = SliceAssignOpIr::create(x[0].clone(), ranges.clone(), x[1].clone(), || id(e));
            base(e, B::SliceAssign(op))
        })
    });
    let repeat = case("repeat", vec![Operand::wave(&[2, 3], 1)], |e, x| {
        let op = RepeatDimOpIr::create(x[0].clone(), 1, 3, || id(e));
        base(e, B::RepeatDim(op))
    });
    let joined = [0, 1].map(|dim| {
        let shapes = if dim == 0 { [[2, 3], [1, 3], [0, 3]] } else { [[2, 3], [2, 1], [2, 0]] };
        let operands = shapes.iter().enumerate().map(|(salt, shape)| Operand::wave(shape, salt)).collect();
        case(format!("cat along {dim}"), operands, move |e, x| {
            let op = CatOpIr::create(x.to_vec(), dim, || id(e));
            base(e, B::Cat(op))
        })
    });
    let cast = case("cast to its own type", vec![Operand::wave(&[3], 1)], |e, x| {
        let op = CastOpIr::create(x[0].clone(), DType::F64, || id(e));
        base(e, B::Cast(op))
    });
    slices.into_iter().chain(assigned).chain(joined).chain([repeat, cast]).collect()
}

pub fn cases() -> Vec<Case> {
    [views(), copies()].into_iter().flatten().collect()
}

#[test]
fn every_case() {
    cases().iter().for_each(Case::check);
}

/// The differences of a linear function are exact at any step; what is left is the rounding of single precision.
#[test]
fn cast_to_single_precision_and_back() {
    check_to(1e-6, 1.0, "cast", &[Operand::wave(&[3, 4], 1)], |e, x| {
        let narrow = CastOpIr::create(x[0].clone(), DType::F32, || id(e));
        let narrow = base(e, B::Cast(narrow));
        let wide = CastOpIr::create(narrow, DType::F64, || id(e));
        vec![base(e, B::Cast(wide))]
    });
}
