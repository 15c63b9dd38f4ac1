//! Random graphs of elementwise, layout, reduction and product operations, batched and item by item.

use burn::tensor::{DType, Slice};
use burn_ir::{
    BaseOperationIr as Base, BinaryOpIr, CatOpIr, DimOpIr, FlipOpIr, FloatOperationIr, MaskWhereOpIr, MatmulOpIr,
    NumericOperationIr as Numeric, OperationIr, ReduceDimOpIr, ReduceOpIr, SliceOpIr, SortOpIr, SwapDimsOpIr, TensorIr,
    UnfoldOpIr,
};
use proptest::prelude::*;

use super::tests::check_items;
use crate::emit::{Emitter, base};

/// Values stay small enough to run by the thousand.
const LARGEST: usize = 256;

/// Appends one operation, chosen by `kind`, on values chosen by `i` and `j`; nothing if it does not fit them.
fn grow(e: &mut Emitter, values: &mut Vec<TensorIr>, (kind, i, j): (u8, usize, usize)) {
    let (x, y) = (values[i % values.len()].clone(), values[j % values.len()].clone());
    let axis = j % x.shape.num_dims();
    let made = match kind {
        0 => broadcasts(&x, &y).then(|| e.add(&x, &y)),
        1 => broadcasts(&x, &y).then(|| e.mul(&x, &y)),
        2 => broadcasts(&x, &y).then(|| e.sub(&x, &y)),
        3 => Some(swap(e, &x, axis)),
        4 => Some(layout(e, &x, x.shape.to_vec(), |input, out| Base::Flip(FlipOpIr { input, out, axes: vec![axis] }))),
        5 => Some(halved(e, &x, axis)),
        6 => Some(reduced(e, &x, axis, Numeric::SumDim)),
        7 => Some(reduced(e, &x, axis, Numeric::MaxDim)),
        8 => Some(numeric(e, &x, x.shape.to_vec(), |input, out| Numeric::CumSum(DimOpIr { input, out, axis }))),
        9 => product(e, &x, &y),
        10 => Some(e.reshape(&x, [vec![1], x.shape.to_vec()].concat().into())),
        11 => Some(e.reshape(&x, [x.shape.num_elements(), 1].into())),
        12 => (x.shape[axis] == 1).then(|| expanded(e, &x, axis)),
        13 => (x.shape.as_slice()[1..] == y.shape.as_slice()[1..]).then(|| joined(e, &x, &y)),
        14 => Some(whole(e, &x)),
        15 => (x.shape == y.shape).then(|| larger(e, &x, &y)),
        16 => {
            let sort = |input, out| Numeric::Sort(SortOpIr { input, out, dim: axis, descending: j % 2 == 0 });
            Some(numeric(e, &x, x.shape.to_vec(), sort))
        }
        _ => (x.shape[axis] > 1).then(|| unfolded(e, &x, axis)),
    };
    // A sine keeps chains of products in range.
    if let Some(made) = made.filter(|made| made.shape.num_elements() <= LARGEST && made.shape.num_dims() < 6) {
        values.push(e.sin(&made));
    }
}

fn broadcasts(x: &TensorIr, y: &TensorIr) -> bool {
    let fits = |(&a, &b): (&usize, &usize)| a == b || a == 1 || b == 1;
    x.shape.num_dims() == y.shape.num_dims() && x.shape.iter().zip(y.shape.iter()).all(fits)
}

fn layout(e: &mut Emitter, x: &TensorIr, shape: Vec<usize>, op: impl FnOnce(TensorIr, TensorIr) -> Base) -> TensorIr {
    let out = e.value(shape.into(), x.dtype);
    e.push(base(&out, op(x.clone(), out.clone())), out)
}

fn numeric(
    e: &mut Emitter,
    x: &TensorIr,
    shape: Vec<usize>,
    op: impl FnOnce(TensorIr, TensorIr) -> Numeric,
) -> TensorIr {
    let out = e.value(shape.into(), x.dtype);
    e.push(OperationIr::NumericFloat(x.dtype, op(x.clone(), out.clone())), out)
}

fn swap(e: &mut Emitter, x: &TensorIr, axis: usize) -> TensorIr {
    let mut shape = x.shape.to_vec();
    shape.swap(0, axis);
    layout(e, x, shape, |input, out| Base::SwapDims(SwapDimsOpIr { input, out, dim1: 0, dim2: axis }))
}

fn halved(e: &mut Emitter, x: &TensorIr, axis: usize) -> TensorIr {
    let mut shape = x.shape.to_vec();
    shape[axis] = shape[axis].div_ceil(2);
    let ranges = shape.iter().map(|&to| Slice::from(0..to)).collect();
    layout(e, x, shape, |tensor, out| Base::Slice(SliceOpIr { tensor, ranges, out }))
}

fn reduced(e: &mut Emitter, x: &TensorIr, axis: usize, kind: fn(ReduceDimOpIr) -> Numeric) -> TensorIr {
    let mut shape = x.shape.to_vec();
    shape[axis] = 1;
    numeric(e, x, shape, |input, out| kind(ReduceDimOpIr { input, out, axis, accumulator_len: 1 }))
}

fn product(e: &mut Emitter, x: &TensorIr, y: &TensorIr) -> Option<TensorIr> {
    let rank = x.shape.num_dims();
    let inner = rank >= 2 && broadcasts(x, y) && x.shape[rank - 1] == y.shape[rank - 2];
    if !inner {
        return None;
    }
    let mut shape: Vec<usize> = x.shape.iter().zip(y.shape.iter()).map(|(&a, &b)| a.max(b)).collect();
    (shape[rank - 2], shape[rank - 1]) = (x.shape[rank - 2], y.shape[rank - 1]);
    let out = e.value(shape.into(), x.dtype);
    let op = FloatOperationIr::Matmul(MatmulOpIr { lhs: x.clone(), rhs: y.clone(), out: out.clone() });
    Some(e.push(OperationIr::Float(x.dtype, op), out))
}

fn expanded(e: &mut Emitter, x: &TensorIr, axis: usize) -> TensorIr {
    let mut shape = x.shape.to_vec();
    shape[axis] = 3;
    e.expand(x, &shape.into())
}

fn joined(e: &mut Emitter, x: &TensorIr, y: &TensorIr) -> TensorIr {
    let mut shape = x.shape.to_vec();
    shape[0] += y.shape[0];
    let tensors = vec![x.clone(), y.clone()];
    layout(e, x, shape, |_, out| Base::Cat(CatOpIr { tensors, dim: 0, out }))
}

fn whole(e: &mut Emitter, x: &TensorIr) -> TensorIr {
    let mean = numeric(e, x, vec![1], |input, out| Numeric::Mean(ReduceOpIr { input, out }));
    e.reshape(&mean, vec![1; x.shape.num_dims()].into())
}

fn larger(e: &mut Emitter, x: &TensorIr, y: &TensorIr) -> TensorIr {
    let mask = e.value(x.shape.clone(), DType::Bool(burn::tensor::BoolStore::Native));
    let greater = Numeric::Greater(BinaryOpIr { lhs: x.clone(), rhs: y.clone(), out: mask.clone() });
    let mask = e.push(OperationIr::NumericFloat(x.dtype, greater), mask);
    let value = y.clone();
    layout(e, x, x.shape.to_vec(), |tensor, out| Base::MaskWhere(MaskWhereOpIr { tensor, mask, value, out }))
}

fn unfolded(e: &mut Emitter, x: &TensorIr, axis: usize) -> TensorIr {
    let mut shape = x.shape.to_vec();
    shape[axis] -= 1;
    shape.push(2);
    layout(e, x, shape, |input, out| Base::Unfold(UnfoldOpIr { input, out, dim: axis, size: 2, step: 1 }))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_graphs(
        (rows, inner, columns, items) in (1_usize..4, 1_usize..4, 1_usize..4, 1_usize..4),
        operations in prop::collection::vec((0_u8..18, 0_usize..64, 0_usize..64), 1..24),
    ) {
        let shapes: [&[usize]; 3] = [&[rows, inner], &[inner, columns], &[rows, 1]];
        check_items("a random graph", &shapes, items, |e, inputs| {
            let mut values = inputs.to_vec();
            operations.iter().for_each(|&operation| grow(e, &mut values, operation));
            values.split_off(inputs.len().min(values.len() - 1))
        });
    }
}
