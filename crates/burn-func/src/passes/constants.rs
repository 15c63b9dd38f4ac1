//! Constant folding: what is made of zeros, ones and numbers alone is made as a constant at once.
//!
//! Arithmetic is done in the precision of the tensor, so that the folded number is the one that would be computed.
//! Nothing is assumed of other operands: `x * 0` stays, since `x` may be infinite.
//!
//! Does not know: derivatives, other identities.

use burn::tensor::DType;
use burn_ir::{ActivationOperationIr, BaseOperationIr as Base, NumericOperationIr as N, OperationIr, TensorIr};

use super::rewrite::Walk;
#[cfg(test)]
use super::rewrite::rewritten;

/// The constant an operation makes, if it makes one without being one.
pub(super) fn fold(walk: &mut Walk, op: &OperationIr) -> Option<TensorIr> {
    let value = match op {
        OperationIr::BaseFloat(base) => moved(walk, base),
        OperationIr::NumericFloat(dtype, op) => computed(walk, *dtype, op),
        OperationIr::Activation(ActivationOperationIr::ReluBackward(relu)) => zero(walk, &relu.rhs),
        _ => None,
    }?;
    let out = op.outputs().next()?;
    Some(walk.constant(out, value))
}

/// Constant folding alone.
#[cfg(test)]
pub(super) fn constants(graph: &crate::graph::Graph) -> crate::graph::Graph {
    rewritten(graph.clone(), fold).0
}

/// The number a value holds everywhere, if that is known.
pub(super) fn constant(walk: &Walk, tensor: &TensorIr) -> Option<f64> {
    match walk.definition(tensor)? {
        OperationIr::BaseFloat(Base::Zeros(_)) => Some(0.0),
        OperationIr::BaseFloat(Base::Ones(_)) => Some(1.0),
        OperationIr::NumericFloat(dtype, N::Full(full)) => rounded(*dtype, full.value.elem()),
        _ => None,
    }
}

fn zero(walk: &Walk, tensor: &TensorIr) -> Option<f64> {
    constant(walk, tensor).filter(|&value| value == 0.0)
}

/// A number as a tensor of this type holds it, where that is known here.
fn rounded(dtype: DType, value: f64) -> Option<f64> {
    match dtype {
        DType::F64 => Some(value),
        DType::F32 => Some(f64::from(value as f32)),
        _ => [0.0, 1.0, -1.0].contains(&value).then_some(value),
    }
}

/// Elements of one constant, wherever they are moved.
fn moved(walk: &Walk, op: &Base) -> Option<f64> {
    let of = |tensor: &TensorIr| constant(walk, tensor);
    let same = |a: Option<f64>, b: Option<f64>| a.filter(|_| a == b);
    match op {
        Base::Reshape(op) | Base::Expand(op) => of(&op.input),
        Base::SwapDims(op) => of(&op.input),
        Base::Permute(op) => of(&op.input),
        Base::Flip(op) => of(&op.input),
        Base::Slice(op) => of(&op.tensor),
        Base::RepeatDim(op) => of(&op.tensor),
        Base::Select(op) => of(&op.tensor),
        Base::Gather(op) => of(&op.tensor),
        Base::Cast(op) => of(&op.input).and_then(|value| rounded(op.out.dtype, value)),
        Base::Cat(op) => op.tensors.iter().map(of).reduce(same).flatten(),
        Base::SliceAssign(op) => same(of(&op.tensor), of(&op.value)),
        Base::MaskWhere(op) => same(of(&op.tensor), of(&op.value)),
        Base::MaskFill(op) => same(of(&op.tensor), rounded(op.out.dtype, op.value.elem())),
        _ => None,
    }
}

/// Arithmetic of constants; sums of zeros.
fn computed(walk: &Walk, dtype: DType, op: &N) -> Option<f64> {
    let of = |tensor: &TensorIr| constant(walk, tensor);
    // In double precision and rounded, these four are what single precision gives.
    let scalar = |op: &burn_ir::ScalarOpIr, f: fn(f64, f64) -> f64| {
        rounded(dtype, f(of(&op.lhs)?, rounded(dtype, op.rhs.elem())?))
    };
    let binary = |op: &burn_ir::BinaryOpIr, f: fn(f64, f64) -> f64| rounded(dtype, f(of(&op.lhs)?, of(&op.rhs)?));
    match op {
        N::Full(full) => Some(full.value.elem()).filter(|value: &f64| [0.0, 1.0].contains(value)),
        N::AddScalar(op) => scalar(op, |a, b| a + b),
        N::SubScalar(op) => scalar(op, |a, b| a - b),
        N::MulScalar(op) => scalar(op, |a, b| a * b),
        N::DivScalar(op) => scalar(op, |a, b| a / b),
        N::Add(op) => binary(op, |a, b| a + b),
        N::Sub(op) => binary(op, |a, b| a - b),
        N::Mul(op) => binary(op, |a, b| a * b),
        N::Div(op) => binary(op, |a, b| a / b),
        N::Neg(op) => of(&op.input).map(|value| -value),
        N::Sum(op) | N::Mean(op) => zero(walk, &op.input),
        N::SumDim(op) | N::MeanDim(op) => zero(walk, &op.input),
        N::SumDims(op) => zero(walk, &op.input),
        _ => None,
    }
    .filter(|value| !value.is_nan())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::emit::Emitter;
    use crate::graph::{Graph, Input, Role};

    fn graph(build: impl FnOnce(&mut Emitter, &TensorIr) -> TensorIr) -> Graph {
        let mut emit = Emitter::starting_at(0);
        let x = emit.value([2, 3].into(), DType::F32);
        let out = build(&mut emit, &x);
        Graph { inputs: vec![Input { tensor: x, role: Role::Batch }], ops: emit.ops, outputs: vec![out] }
    }

    /// The definition of the output after folding.
    fn folded(build: impl FnOnce(&mut Emitter, &TensorIr) -> TensorIr) -> OperationIr {
        let graph = constants(&graph(build));
        graph.check().unwrap();
        let made = graph.ops.into_iter().find(|op| op.outputs().any(|out| out.id == graph.outputs[0].id));
        made.expect("the output is computed")
    }

    #[test]
    fn arithmetic_is_done_in_the_tensors_precision() {
        let third = folded(|e, x| {
            let zeros = e.zeros_like(x);
            let tenth = e.add_scalar(&zeros, 0.1);
            e.mul_scalar(&tenth, 0.3)
        });
        let OperationIr::NumericFloat(DType::F32, N::Full(full)) = third else { panic!("{third:?}") };
        assert_eq!(full.value.elem::<f64>(), f64::from(0.1_f32 * 0.3_f32));
        assert_ne!(full.value.elem::<f64>(), 0.1 * 0.3);
    }

    #[test]
    fn a_moved_constant_is_a_constant() {
        let out = folded(|e, x| {
            let zeros = e.zeros_like(x);
            let flat = e.reshape(&zeros, [1, 6].into());
            let wide = e.expand(&flat, &[4, 6].into());
            e.neg(&wide)
        });
        assert!(matches!(&out, OperationIr::BaseFloat(Base::Zeros(zeros)) if *zeros.out.shape == [4, 6]), "{out:?}");
    }

    #[test]
    fn a_product_with_zeros_stays() {
        let out = folded(|e, x| {
            let zeros = e.zeros_like(x);
            e.mul(x, &zeros)
        });
        assert!(matches!(out, OperationIr::NumericFloat(_, N::Mul(_))), "{out:?}");
    }

    #[test]
    fn infinity_times_zero_stays() {
        let out = folded(|e, x| {
            let zeros = e.zeros_like(x);
            e.mul_scalar(&zeros, f64::INFINITY)
        });
        assert!(matches!(out, OperationIr::NumericFloat(_, N::MulScalar(_))), "{out:?}");
    }
}
