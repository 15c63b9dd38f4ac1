//! Algebraic identities that hold for every number, infinities and NaN included: `x + 0`, `x * 1`, `-(-x)`, `a + (-b)`.
//!
//! The sign of a zero is not kept: `-0 + 0` is `0`, and `x` is `-0`.
//!
//! Does not know: derivatives, layouts.

use burn::tensor::IndexingUpdateOp;
use burn_ir::{
    BaseOperationIr as Base, BinaryOpIr, FloatOperationIr as F, MaskFillOpIr, MaskWhereOpIr, NumericOperationIr as N,
    OperationIr, ScalarIr, ScalarOpIr, TensorIr,
};

use super::constants::constant;
use super::rewrite::Walk;

/// A value equal to the result of an operation, and cheaper.
pub(super) fn fold(walk: &mut Walk, op: &OperationIr) -> Option<TensorIr> {
    match op {
        OperationIr::NumericFloat(_, op) => numeric(walk, op),
        OperationIr::Float(_, F::PowfScalar(op)) => power(walk, op),
        OperationIr::BaseFloat(op) => base(walk, op),
        _ => None,
    }
}

/// Identities alone.
#[cfg(test)]
pub(super) fn identities(graph: &crate::graph::Graph) -> crate::graph::Graph {
    super::rewrite::rewritten(graph.clone(), fold).0
}

fn numeric(walk: &mut Walk, op: &N) -> Option<TensorIr> {
    match op {
        N::Neg(op) => negated(walk, &op.input),
        N::AddScalar(op) | N::SubScalar(op) => unchanged_by(op, 0.0),
        N::MulScalar(op) | N::DivScalar(op) => unchanged_by(op, 1.0),
        N::PowiScalar(op) => power(walk, op),
        N::Add(op) => sum(walk, op),
        N::Sub(op) => difference(walk, op),
        N::Mul(op) => product(walk, op),
        N::Div(op) => is(walk, &op.rhs, 1.0).then(|| walk.emit.expand(&op.lhs, &op.out.shape)),
        _ => None,
    }
}

/// What a value is the negation of.
fn negated(walk: &Walk, tensor: &TensorIr) -> Option<TensorIr> {
    match walk.definition(tensor)? {
        OperationIr::NumericFloat(_, N::Neg(op)) => Some(op.input.clone()),
        _ => None,
    }
}

fn is(walk: &Walk, tensor: &TensorIr, number: f64) -> bool {
    constant(walk, tensor) == Some(number)
}

fn unchanged_by(op: &ScalarOpIr, neutral: f64) -> Option<TensorIr> {
    (op.rhs.elem::<f64>() == neutral).then(|| op.lhs.clone())
}

fn sum(walk: &mut Walk, op: &BinaryOpIr) -> Option<TensorIr> {
    for (a, b) in [(&op.lhs, &op.rhs), (&op.rhs, &op.lhs)] {
        if is(walk, b, 0.0) {
            return Some(walk.emit.expand(a, &op.out.shape));
        }
        if let Some(b) = negated(walk, b) {
            return Some(walk.emit.sub(a, &b));
        }
        if let Some(number) = constant(walk, b).filter(|_| a.shape == op.out.shape) {
            return Some(walk.emit.add_scalar(a, number));
        }
    }
    None
}

fn difference(walk: &mut Walk, op: &BinaryOpIr) -> Option<TensorIr> {
    if is(walk, &op.rhs, 0.0) {
        return Some(walk.emit.expand(&op.lhs, &op.out.shape));
    }
    if is(walk, &op.lhs, 0.0) && op.rhs.shape == op.out.shape {
        return Some(walk.emit.neg(&op.rhs));
    }
    let rhs = negated(walk, &op.rhs)?;
    Some(walk.emit.add(&op.lhs, &rhs))
}

fn product(walk: &mut Walk, op: &BinaryOpIr) -> Option<TensorIr> {
    if let (Some(lhs), Some(rhs)) = (negated(walk, &op.lhs), negated(walk, &op.rhs)) {
        return Some(walk.emit.mul(&lhs, &rhs));
    }
    for (a, b) in [(&op.lhs, &op.rhs), (&op.rhs, &op.lhs)] {
        if is(walk, b, 1.0) {
            return Some(walk.emit.expand(a, &op.out.shape));
        }
        // By zero too: the product with the number is that with the tensor, whatever `a` is.
        if let Some(number) = constant(walk, b).filter(|_| a.shape == op.out.shape) {
            return Some(walk.emit.mul_scalar(a, number));
        }
    }
    None
}

/// The first power is the number itself, and the power of zero is one even for NaN.
fn power(walk: &mut Walk, op: &ScalarOpIr) -> Option<TensorIr> {
    match op.rhs.elem::<f64>() {
        0.0 => Some(walk.constant(&op.out, 1.0)),
        1.0 => Some(op.lhs.clone()),
        _ => None,
    }
}

fn base(walk: &mut Walk, op: &Base) -> Option<TensorIr> {
    match op {
        Base::Cast(op) if op.input.dtype == op.out.dtype => Some(op.input.clone()),
        Base::MaskWhere(op) => filled(walk, op),
        Base::Scatter(op) if op.update == IndexingUpdateOp::Add && is(walk, &op.value, 0.0) => Some(op.tensor.clone()),
        Base::SelectAssign(op) if op.update == IndexingUpdateOp::Add && is(walk, &op.value, 0.0) => {
            Some(op.tensor.clone())
        }
        _ => None,
    }
}

/// A constant chosen by a mask is a number filled in.
fn filled(walk: &mut Walk, op: &MaskWhereOpIr) -> Option<TensorIr> {
    let value = constant(walk, &op.value)?;
    if op.tensor.shape != op.out.shape || op.mask.shape != op.out.shape {
        return None;
    }
    let out = walk.emit.like(&op.out);
    let value = ScalarIr::Float(value);
    let fill = MaskFillOpIr { tensor: op.tensor.clone(), mask: op.mask.clone(), value, out: out.clone() };
    Some(walk.emit.push(OperationIr::BaseFloat(Base::MaskFill(fill)), out))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::emit::Emitter;
    use crate::graph::{Graph, Input, Role, op_name};
    use burn::tensor::DType;

    /// Names of what is left of what `build` emits from `x` and `y`.
    fn left(build: impl FnOnce(&mut Emitter, &TensorIr, &TensorIr) -> TensorIr) -> Vec<String> {
        let mut emit = Emitter::starting_at(0);
        let (x, y) = (emit.value([2, 3].into(), DType::F32), emit.value([2, 3].into(), DType::F32));
        let out = build(&mut emit, &x, &y);
        let inputs = [x, y].map(|tensor| Input { tensor, role: Role::Batch }).to_vec();
        let graph = identities(&Graph { inputs, ops: emit.ops, outputs: vec![out] });
        graph.check().unwrap();
        graph.ops.iter().map(op_name).collect()
    }

    #[test]
    fn neutral_numbers_vanish() {
        let nothing: [String; 0] = [];
        assert_eq!(left(|e, x, _| e.add_scalar(x, 0.0)), nothing);
        assert_eq!(left(|e, x, _| e.mul_scalar(x, 1.0)), nothing);
        assert_eq!(left(|e, x, _| e.powf_scalar(x, 1.0)), nothing);
        assert_eq!(left(|e, x, _| e.powf_scalar(x, 0.0)), ["BaseFloat::Ones"]);
        assert_eq!(left(|e, x, _| e.mul_scalar(x, 0.0)), ["NumericFloat::MulScalar"]); // x may be infinite
    }

    #[test]
    fn sums_with_zeros_and_negations() {
        let zeros = left(|e, x, y| {
            let zeros = e.zeros_like(y);
            e.add(&zeros, x)
        });
        assert_eq!(zeros, ["BaseFloat::Zeros"]); // now without a reader
        let sub = left(|e, x, y| {
            let negative = e.neg(y);
            e.add(&negative, x)
        });
        assert_eq!(sub, ["NumericFloat::Neg", "NumericFloat::Sub"]);
        let add = left(|e, x, y| {
            let negative = e.neg(y);
            e.sub(x, &negative)
        });
        assert_eq!(add, ["NumericFloat::Neg", "NumericFloat::Add"]);
        let twice = left(|e, x, _| {
            let negative = e.neg(x);
            e.neg(&negative)
        });
        assert_eq!(twice, ["NumericFloat::Neg"]);
    }

    #[test]
    fn a_broadcast_zero_still_widens() {
        let wide = left(|e, x, _| {
            let row = e.reshape(x, [1, 6].into());
            let like = e.value([4, 6].into(), DType::F32);
            let zeros = e.zeros_like(&like);
            e.add(&row, &zeros)
        });
        assert_eq!(wide, ["BaseFloat::Reshape", "BaseFloat::Zeros", "BaseFloat::Expand"]);
    }
}
