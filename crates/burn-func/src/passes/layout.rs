//! Chains of layouts: a reshape of a reshape, transposes that cancel, permutations in a row, reductions over axes of
//! length one. No arithmetic is touched, so every bit is kept.
//!
//! Does not know: derivatives, how a device stores what.

use burn_ir::{
    BaseOperationIr as Base, NumericOperationIr as N, OperationIr, PermuteOpIr, ShapeOpIr, SwapDimsOpIr, TensorIr,
};

use super::rewrite::Walk;
use crate::emit::base;

/// A value equal to the result of a layout operation, with fewer steps in between.
pub(super) fn fold(walk: &mut Walk, op: &OperationIr) -> Option<TensorIr> {
    match op {
        OperationIr::BaseFloat(op) | OperationIr::BaseInt(op) | OperationIr::BaseBool(op) => moved(walk, op),
        OperationIr::NumericFloat(_, op) | OperationIr::NumericInt(_, op) => reduced(op),
        _ => None,
    }
}

/// Layout chains alone.
#[cfg(test)]
pub(super) fn layout_chains(graph: &crate::graph::Graph) -> crate::graph::Graph {
    super::rewrite::rewritten(graph.clone(), fold).0
}

fn moved(walk: &mut Walk, op: &Base) -> Option<TensorIr> {
    match op {
        Base::Reshape(op) => shaped(walk, op, Base::Reshape),
        Base::Expand(op) => shaped(walk, op, Base::Expand),
        Base::SwapDims(_) | Base::Permute(_) => permuted(walk, op),
        Base::Slice(op) => {
            let whole = op.tensor.shape == op.out.shape && op.ranges.iter().all(|range| range.step == 1);
            whole.then(|| op.tensor.clone())
        }
        Base::Flip(op) => op.axes.iter().all(|&axis| op.input.shape[axis] == 1).then(|| op.input.clone()),
        Base::RepeatDim(op) => (op.times == 1).then(|| op.tensor.clone()),
        Base::Cat(op) => (op.tensors.len() == 1).then(|| op.tensors[0].clone()),
        _ => None,
    }
}

/// Reshapes and expansions: the last one of a row says it all.
fn shaped(walk: &mut Walk, op: &ShapeOpIr, kind: fn(ShapeOpIr) -> Base) -> Option<TensorIr> {
    let source = match walk.definition(&op.input).and_then(layout) {
        Some(inner) if std::mem::discriminant(inner) == std::mem::discriminant(&kind(op.clone())) => match inner {
            Base::Reshape(inner) | Base::Expand(inner) => Some(inner.input.clone()),
            _ => None,
        },
        _ => None,
    };
    let input = source.as_ref().unwrap_or(&op.input).clone();
    if input.shape == op.out.shape {
        return Some(input);
    }
    source?;
    let out = walk.emit.like(&op.out);
    let op = kind(ShapeOpIr { input, out: out.clone() });
    Some(walk.emit.push(base(&out, op), out))
}

fn layout(op: &OperationIr) -> Option<&Base> {
    match op {
        OperationIr::BaseFloat(op) | OperationIr::BaseInt(op) | OperationIr::BaseBool(op) => Some(op),
        _ => None,
    }
}

/// Input and axes of a permutation: axis `i` of the result is axis `axes[i]` of the input.
fn permutation(op: &Base) -> Option<(&TensorIr, Vec<usize>)> {
    match op {
        Base::SwapDims(op) => {
            let mut axes = Vec::from_iter(0..op.out.shape.num_dims());
            axes.swap(op.dim1, op.dim2);
            Some((&op.input, axes))
        }
        Base::Permute(op) => Some((&op.input, op.axes.clone())),
        _ => None,
    }
}

fn permuted(walk: &mut Walk, op: &Base) -> Option<TensorIr> {
    let (input, axes) = permutation(op)?;
    if identity(&axes) {
        return Some(input.clone());
    }
    let (source, inner) = permutation(walk.definition(input).and_then(layout)?)?;
    let composed: Vec<usize> = axes.iter().map(|&axis| inner[axis]).collect();
    let source = source.clone();
    if identity(&composed) {
        return Some(source);
    }
    let shape: Vec<usize> = composed.iter().map(|&axis| source.shape[axis]).collect();
    let out = walk.emit.value(shape.into(), source.dtype);
    let moved: Vec<usize> = (0..composed.len()).filter(|&axis| composed[axis] != axis).collect();
    let op = match moved[..] {
        [dim1, dim2] => Base::SwapDims(SwapDimsOpIr { input: source, out: out.clone(), dim1, dim2 }),
        _ => Base::Permute(PermuteOpIr { input: source, out: out.clone(), axes: composed }),
    };
    Some(walk.emit.push(base(&out, op), out))
}

fn identity(axes: &[usize]) -> bool {
    axes.iter().enumerate().all(|(at, &axis)| at == axis)
}

/// A sum or a mean over axes of length one.
fn reduced(op: &N) -> Option<TensorIr> {
    let unchanged = |input: &TensorIr, out: &TensorIr| (input.shape == out.shape).then(|| input.clone());
    match op {
        N::Sum(op) | N::Mean(op) if op.input.shape.num_elements() == 1 => unchanged(&op.input, &op.out),
        N::SumDim(op) | N::MeanDim(op) if op.input.shape[op.axis] == 1 => unchanged(&op.input, &op.out),
        N::SumDims(op) if op.axes.iter().all(|&axis| op.input.shape[axis] == 1) => unchanged(&op.input, &op.out),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::emit::Emitter;
    use crate::graph::{Graph, Input, Role, op_name};
    use burn::tensor::DType;
    use burn_ir::ReduceDimOpIr;

    fn swap(e: &mut Emitter, x: &TensorIr, dim1: usize, dim2: usize) -> TensorIr {
        let mut shape = x.shape.clone();
        shape.swap(dim1, dim2);
        let out = e.value(shape, x.dtype);
        let op = Base::SwapDims(SwapDimsOpIr { input: x.clone(), out: out.clone(), dim1, dim2 });
        e.push(base(&out, op), out)
    }

    fn permute(e: &mut Emitter, x: &TensorIr, axes: &[usize]) -> TensorIr {
        let shape: Vec<usize> = axes.iter().map(|&axis| x.shape[axis]).collect();
        let out = e.value(shape.into(), x.dtype);
        let op = Base::Permute(PermuteOpIr { input: x.clone(), out: out.clone(), axes: axes.to_vec() });
        e.push(base(&out, op), out)
    }

    /// What the output of `build` comes down to on an input of shape `[2, 3, 1]`.
    fn left(build: impl FnOnce(&mut Emitter, &TensorIr) -> TensorIr) -> Vec<OperationIr> {
        let mut emit = Emitter::starting_at(0);
        let x = emit.value([2, 3, 1].into(), DType::I64);
        let out = build(&mut emit, &x);
        let inputs = vec![Input { tensor: x, role: Role::Batch }];
        let graph = layout_chains(&Graph { inputs, ops: emit.ops, outputs: vec![out.clone()] });
        graph.check().unwrap();
        assert_eq!(graph.outputs[0].shape, out.shape);
        let outputs = graph.outputs.clone();
        graph.restricted_to(outputs).ops
    }

    fn names(ops: &[OperationIr]) -> Vec<String> {
        ops.iter().map(op_name).collect()
    }

    #[test]
    fn reshapes_in_a_row_are_one_or_none() {
        let away = left(|e, x| {
            let flat = e.reshape(x, [6].into());
            let wide = e.reshape(&flat, [3, 2].into());
            e.reshape(&wide, [1, 6].into())
        });
        assert_eq!(names(&away), ["BaseInt::Reshape"]);
        let back = left(|e, x| {
            let flat = e.reshape(x, [6].into());
            e.reshape(&flat, [2, 3, 1].into())
        });
        assert_eq!(names(&back), [""; 0]);
    }

    #[test]
    fn an_expansion_of_a_reshape_stays() {
        let both = left(|e, x| {
            let flat = e.reshape(x, [1, 6].into());
            let wide = e.expand(&flat, &[4, 6].into());
            e.reshape(&wide, [24].into())
        });
        assert_eq!(names(&both), ["BaseInt::Reshape", "BaseInt::Expand", "BaseInt::Reshape"]);
    }

    #[test]
    fn transposes_cancel_or_compose() {
        let cancelled = left(|e, x| {
            let there = swap(e, x, 0, 1);
            swap(e, &there, 1, 0)
        });
        assert_eq!(names(&cancelled), [""; 0]);
        let composed = left(|e, x| {
            let there = swap(e, x, 0, 1);
            swap(e, &there, 1, 2)
        });
        let [OperationIr::BaseInt(Base::Permute(op))] = &composed[..] else { panic!("{composed:?}") };
        assert_eq!((op.axes.as_slice(), &*op.out.shape), (&[1, 2, 0][..], &[3, 1, 2][..]));
        // A rotation and a swap that undo each other but for two axes.
        let swapped = left(|e, x| {
            let rotated = permute(e, x, &[1, 2, 0]);
            swap(e, &rotated, 1, 2)
        });
        let [OperationIr::BaseInt(Base::SwapDims(op))] = &swapped[..] else { panic!("{swapped:?}") };
        assert_eq!((op.dim1, op.dim2, &*op.out.shape), (0, 1, &[3, 2, 1][..]));
    }

    #[test]
    fn a_sum_over_one_element_is_that_element() {
        let sum = |axis: usize| {
            left(|e, x| {
                let mut shape = x.shape.clone();
                shape[axis] = 1;
                let out = e.value(shape, x.dtype);
                let op = ReduceDimOpIr { input: x.clone(), out: out.clone(), axis, accumulator_len: 1 };
                e.push(OperationIr::NumericInt(x.dtype, N::SumDim(op)), out)
            })
        };
        assert_eq!(names(&sum(2)), [""; 0]);
        assert_eq!(names(&sum(1)), ["NumericInt::SumDim"]);
    }
}
