//! Chains of scalar factors on tangents: `2 (x / 3)`, `-(2 x)`, `x + x`, factors moved past reductions, a mean beside a
//! sum of the same axis.
//!
//! These merge arithmetic: results move by rounding, a few units in the last place of each term. So the pass touches
//! only what depends on a tangent. Factors alone are merged: sums with numbers, `(x + a) + b`, lose what cancels, and a
//! product of two tensors may overflow where a chain of products does not.
//!
//! Does not know: which graph is differentiated.

use std::collections::{HashMap, HashSet};

use burn::tensor::DType;
use burn_ir::{
    BaseOperationIr as Base, NumericOperationIr as N, OperationIr, ReduceDimOpIr, ScalarIr, ScalarOpIr, TensorId,
    TensorIr,
};

use super::rewrite::{Walk, rewritten};
use crate::graph::{Graph, Role};

/// Merges scalar factors of whatever depends on an input of role [`Role::Tangent`]; also tells whether there were any.
pub(super) fn scalar_chains(graph: Graph) -> (Graph, bool) {
    let mut active: HashSet<TensorId> = graph.inputs_of(Role::Tangent).map(|tensor| tensor.id).collect();
    let mut merge = Merge { readers: readers(&graph), sums: HashMap::new() };
    rewritten(graph, |walk, op| {
        if !op.inputs().any(|read| active.contains(&read.id)) {
            return None;
        }
        let first_new = walk.emit.ops.len();
        let merged = merge.merged(walk, op);
        active.extend(walk.emit.ops[first_new..].iter().flat_map(|op| op.outputs()).map(|out| out.id));
        active.extend(op.outputs().map(|out| out.id));
        if let (Some(value), Some(out)) = (&merged, op.outputs().next()) {
            merge.hand_over(out, value);
        }
        merged
    })
}

/// How often each value is read.
fn readers(graph: &Graph) -> HashMap<TensorId, usize> {
    let mut readers = HashMap::new();
    for read in graph.ops.iter().flat_map(|op| op.inputs()).chain(&graph.outputs) {
        *readers.entry(read.id).or_default() += 1;
    }
    readers
}

struct Merge {
    readers: HashMap<TensorId, usize>,
    /// Sums and means along an axis seen so far: which of the two, and the result.
    sums: HashMap<(TensorId, usize), (bool, TensorIr)>,
}

impl Merge {
    fn merged(&mut self, walk: &mut Walk, op: &OperationIr) -> Option<TensorIr> {
        if let Some((tensor, factor)) = scale(op) {
            let source = walk.definition(&tensor).and_then(scale);
            return match source {
                Some((source, inner)) => times(walk, &source, factor * inner),
                None if matches!(op, OperationIr::NumericFloat(_, N::Add(_))) => times(walk, &tensor, factor),
                None => None,
            };
        }
        self.shared_sum(walk, op).or_else(|| self.sunk(walk, op))
    }

    /// A mean is the sum over a number, and the other way round.
    fn shared_sum(&mut self, walk: &mut Walk, op: &OperationIr) -> Option<TensorIr> {
        let (is_mean, reduce) = along_axis(op)?;
        let n = reduce.input.shape[reduce.axis] as f64;
        match self.sums.get(&(reduce.input.id, reduce.axis)) {
            Some((seen_mean, seen)) if *seen_mean != is_mean => {
                let (seen, factor) = (seen.clone(), if is_mean { 1.0 / n } else { n });
                times(walk, &seen, factor)
            }
            Some(_) => None,
            None => {
                self.sums.insert((reduce.input.id, reduce.axis), (is_mean, reduce.out.clone()));
                None
            }
        }
    }

    /// A reduction of a multiple is the multiple of the reduction, which is smaller. Looks through layouts between them
    /// as long as nobody else reads what lies between.
    fn sunk(&self, walk: &mut Walk, op: &OperationIr) -> Option<TensorIr> {
        if !is_reduction(op) {
            return None;
        }
        let mut views: Vec<OperationIr> = Vec::new();
        let mut tensor = op.inputs().next()?.clone();
        let (mut value, factor) = loop {
            if self.readers.get(&tensor.id) != Some(&1) {
                return None;
            }
            let definition = walk.definition(&tensor)?;
            if let Some(found) = scale(definition) {
                break found;
            }
            if !is_view(definition) {
                return None;
            }
            let view = definition.clone();
            tensor = view.inputs().next()?.clone();
            views.push(view);
        };
        if !is_ordinary(factor, value.dtype) {
            return None;
        }
        for view in views.iter().rev() {
            value = walk.on(view, &value);
        }
        let reduced = walk.on(op, &value);
        times(walk, &reduced, factor)
    }

    /// The readers of a replaced value read the other one.
    fn hand_over(&mut self, of: &TensorIr, to: &TensorIr) {
        let more = self.readers.get(&of.id).copied().unwrap_or_default();
        *self.readers.entry(to.id).or_default() += more;
    }
}

/// `factor * tensor`, one operation or none; nothing where the factor could overflow or vanish.
fn times(walk: &mut Walk, tensor: &TensorIr, factor: f64) -> Option<TensorIr> {
    if !is_ordinary(factor, tensor.dtype) {
        return None;
    }
    Some(match factor {
        1.0 => tensor.clone(),
        -1.0 => walk.emit.neg(tensor),
        factor => walk.emit.mul_scalar(tensor, factor),
    })
}

/// Whether a merged factor is far from the limits of a type, so that merging changes rounding alone. Half precision has
/// too few digits to spare.
fn is_ordinary(factor: f64, dtype: DType) -> bool {
    matches!(dtype, DType::F32 | DType::F64) && (1e-20..1e20).contains(&factor.abs())
}

/// What an operation multiplies by a number, and the number.
fn scale(op: &OperationIr) -> Option<(TensorIr, f64)> {
    let OperationIr::NumericFloat(_, op) = op else { return None };
    let scalar = |op: &ScalarOpIr, f: fn(f64) -> f64| match op.rhs {
        ScalarIr::Bool(_) => None,
        rhs => Some((op.lhs.clone(), f(rhs.elem()))),
    };
    match op {
        N::MulScalar(op) => scalar(op, |factor| factor),
        N::DivScalar(op) => scalar(op, |divisor| 1.0 / divisor),
        N::Neg(op) => Some((op.input.clone(), -1.0)),
        N::Add(op) if op.lhs.id == op.rhs.id => Some((op.lhs.clone(), 2.0)),
        _ => None,
    }
}

/// Whether it is a mean, and the reduction.
fn along_axis(op: &OperationIr) -> Option<(bool, &ReduceDimOpIr)> {
    match op {
        OperationIr::NumericFloat(_, N::SumDim(op)) => Some((false, op)),
        OperationIr::NumericFloat(_, N::MeanDim(op)) => Some((true, op)),
        _ => None,
    }
}

fn is_reduction(op: &OperationIr) -> bool {
    use N::{Mean, MeanDim, Sum, SumDim, SumDims};
    matches!(op, OperationIr::NumericFloat(_, Sum(_) | SumDim(_) | SumDims(_) | Mean(_) | MeanDim(_)))
}

fn is_view(op: &OperationIr) -> bool {
    matches!(op, OperationIr::BaseFloat(Base::Reshape(_) | Base::SwapDims(_) | Base::Permute(_)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::emit::Emitter;
    use crate::graph::Input;
    use crate::graph::op_name;

    /// What is left of what `build` emits from a tangent and a residual of shape `[2, 3]`.
    fn left(dtype: DType, build: impl FnOnce(&mut Emitter, &TensorIr, &TensorIr) -> TensorIr) -> Vec<OperationIr> {
        let mut emit = Emitter::starting_at(0);
        let (t, r) = (emit.value([2, 3].into(), dtype), emit.value([2, 3].into(), dtype));
        let out = build(&mut emit, &t, &r);
        let input = |tensor, role| Input { tensor, role };
        let inputs = vec![input(t, Role::Tangent), input(r, Role::Residual)];
        let graph = scalar_chains(Graph { inputs, ops: emit.ops, outputs: vec![out] }).0;
        graph.check().unwrap();
        let outputs = graph.outputs.clone();
        graph.restricted_to(outputs).ops
    }

    fn reduce(e: &mut Emitter, x: &TensorIr, kind: fn(ReduceDimOpIr) -> N) -> TensorIr {
        let out = e.value([2, 1].into(), x.dtype);
        let op = ReduceDimOpIr { input: x.clone(), out: out.clone(), axis: 1, accumulator_len: 1 };
        e.push(OperationIr::NumericFloat(x.dtype, kind(op)), out)
    }

    fn factor(op: &OperationIr) -> f64 {
        scale(op).expect("a multiple").1
    }

    fn names(ops: &[OperationIr]) -> Vec<String> {
        ops.iter().map(op_name).collect()
    }

    #[test]
    fn factors_merge() {
        let ops = left(DType::F32, |e, t, _| {
            let twice = e.add(t, t);
            let negative = e.neg(&twice);
            e.mul_scalar(&negative, 0.25)
        });
        assert_eq!(names(&ops), ["NumericFloat::MulScalar"]);
        assert_eq!(factor(&ops[0]), -0.5);
    }

    #[test]
    fn factors_that_would_vanish_in_single_precision_stay() {
        let ops = left(DType::F32, |e, t, _| {
            let small = e.mul_scalar(t, 1e-15);
            e.mul_scalar(&small, 1e-15)
        });
        assert_eq!(ops.len(), 2);
    }

    #[test]
    fn what_depends_on_no_tangent_is_left_alone() {
        let ops = left(DType::F64, |e, t, r| {
            let twice = e.mul_scalar(r, 2.0);
            let four = e.mul_scalar(&twice, 2.0);
            e.mul(&four, t)
        });
        assert_eq!(ops.len(), 3);
    }

    #[test]
    fn a_factor_sinks_below_a_sum_unless_someone_else_reads_it() {
        let sunk = left(DType::F64, |e, t, _| {
            let wide = e.mul_scalar(t, 3.0);
            reduce(e, &wide, N::SumDim)
        });
        assert_eq!(names(&sunk), ["NumericFloat::SumDim", "NumericFloat::MulScalar"]);
        let read = left(DType::F64, |e, t, _| {
            let wide = e.mul_scalar(t, 3.0);
            let sum = reduce(e, &wide, N::SumDim);
            e.mul(&wide, &sum)
        });
        assert_eq!(names(&read), ["NumericFloat::MulScalar", "NumericFloat::SumDim", "NumericFloat::Mul"]);
    }

    #[test]
    fn a_mean_beside_a_sum_is_a_multiple_of_it() {
        let ops = left(DType::F64, |e, t, _| {
            let (sum, mean) = (reduce(e, t, N::SumDim), reduce(e, t, N::MeanDim));
            e.mul(&sum, &mean)
        });
        assert_eq!(names(&ops), ["NumericFloat::SumDim", "NumericFloat::MulScalar", "NumericFloat::Mul"]);
        assert_eq!(factor(&ops[1]), 1.0 / 3.0);
    }
}
