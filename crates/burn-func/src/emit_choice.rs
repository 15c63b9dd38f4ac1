//! The emitter's second half: comparisons, masks, positions, and what is chosen by them.
//!
//! Written as Burn's backward passes write the same things, down to the kind of a scalar, so that common subexpressions
//! meet.
//!
//! Does not know: why an operation is wanted.

use burn::tensor::{DType, Shape};
use burn_ir::{
    BaseOperationIr, BinaryOpIr, BoolOperationIr, CastOpIr, CreationOpIr, DimOpIr, FullOpIr, GatherOpIr, MaskFillOpIr,
    MaskWhereOpIr, NumericOperationIr, OperationIr, ReduceDimOpIr, ScalarIr, ScalarOpIr, TensorIr, UnaryOpIr,
};

use crate::emit::{Emitter, base, broadcast};

impl Emitter {
    /// One number everywhere, in the shape and type of a tensor.
    pub fn full_like(&mut self, tensor: &TensorIr, value: f64) -> TensorIr {
        let out = self.like(tensor);
        let op = NumericOperationIr::Full(FullOpIr { out: out.clone(), value: ScalarIr::Float(value) });
        self.push(OperationIr::NumericFloat(out.dtype, op), out)
    }

    /// Where a tensor is zero.
    pub fn is_zero(&mut self, input: &TensorIr) -> TensorIr {
        let out = self.value(input.shape.clone(), self.bool_dtype);
        let op = ScalarOpIr { lhs: input.clone(), rhs: ScalarIr::Int(0), out: out.clone() };
        self.push(OperationIr::BaseFloat(BaseOperationIr::EqualElem(op)), out)
    }

    /// Where a tensor is smaller than a number.
    pub fn lower_scalar(&mut self, lhs: &TensorIr, rhs: f64) -> TensorIr {
        let out = self.value(lhs.shape.clone(), self.bool_dtype);
        let op = ScalarOpIr { lhs: lhs.clone(), rhs: ScalarIr::Float(rhs), out: out.clone() };
        self.push(OperationIr::NumericFloat(lhs.dtype, NumericOperationIr::LowerElem(op)), out)
    }

    /// Where two tensors are equal.
    pub fn equal(&mut self, lhs: &TensorIr, rhs: &TensorIr) -> TensorIr {
        self.compare(lhs, rhs, BaseOperationIr::Equal)
    }

    /// Where two tensors differ.
    pub fn not_equal(&mut self, lhs: &TensorIr, rhs: &TensorIr) -> TensorIr {
        self.compare(lhs, rhs, BaseOperationIr::NotEqual)
    }

    fn compare(&mut self, lhs: &TensorIr, rhs: &TensorIr, kind: fn(BinaryOpIr) -> BaseOperationIr) -> TensorIr {
        let out = self.value(broadcast(&lhs.shape, &rhs.shape), self.bool_dtype);
        let op = kind(BinaryOpIr { lhs: lhs.clone(), rhs: rhs.clone(), out: out.clone() });
        self.push(base(lhs, op), out)
    }

    /// The opposite of a mask.
    pub fn not(&mut self, mask: &TensorIr) -> TensorIr {
        let out = self.like(mask);
        let op = BoolOperationIr::Not(UnaryOpIr { input: mask.clone(), out: out.clone() });
        self.push(OperationIr::Bool(op), out)
    }

    /// Where both masks hold.
    pub fn and(&mut self, lhs: &TensorIr, rhs: &TensorIr) -> TensorIr {
        let out = self.like(lhs);
        let op = BoolOperationIr::And(BinaryOpIr { lhs: lhs.clone(), rhs: rhs.clone(), out: out.clone() });
        self.push(OperationIr::Bool(op), out)
    }

    /// One where a mask holds, zero elsewhere.
    pub fn indicator(&mut self, mask: &TensorIr, dtype: DType) -> TensorIr {
        let out = self.value(mask.shape.clone(), dtype);
        let cast = CastOpIr { input: mask.clone(), out: out.clone() };
        let op = if dtype.is_float() { BoolOperationIr::IntoFloat(cast) } else { BoolOperationIr::IntoInt(cast) };
        self.push(OperationIr::Bool(op), out)
    }

    /// A tensor with a number where a mask of its shape holds.
    pub fn mask_fill(&mut self, tensor: &TensorIr, mask: &TensorIr, value: f64) -> TensorIr {
        let out = self.like(tensor);
        let (tensor, mask, value) = (tensor.clone(), mask.clone(), ScalarIr::Float(value));
        let op = MaskFillOpIr { tensor, mask, value, out: out.clone() };
        self.push(base(&out, BaseOperationIr::MaskFill(op)), out)
    }

    /// `value` where a mask holds, `tensor` elsewhere; all of one shape.
    pub fn mask_where(&mut self, tensor: &TensorIr, mask: &TensorIr, value: &TensorIr) -> TensorIr {
        let out = self.like(tensor);
        let (tensor, mask, value) = (tensor.clone(), mask.clone(), value.clone());
        let op = MaskWhereOpIr { tensor, mask, value, out: out.clone() };
        self.push(base(&out, BaseOperationIr::MaskWhere(op)), out)
    }

    /// The elements of a tensor at positions along an axis.
    pub fn gather(&mut self, tensor: &TensorIr, dim: usize, indices: &TensorIr) -> TensorIr {
        let out = self.value(indices.shape.clone(), tensor.dtype);
        let op = GatherOpIr { tensor: tensor.clone(), dim, indices: indices.clone(), out: out.clone() };
        self.push(base(&out, BaseOperationIr::Gather(op)), out)
    }

    /// Position of the largest element along an axis.
    pub fn argmax(&mut self, input: &TensorIr, axis: usize) -> TensorIr {
        self.position_of(input, axis, NumericOperationIr::ArgMax)
    }

    /// Position of the smallest element along an axis.
    pub fn argmin(&mut self, input: &TensorIr, axis: usize) -> TensorIr {
        self.position_of(input, axis, NumericOperationIr::ArgMin)
    }

    fn position_of(
        &mut self,
        input: &TensorIr,
        axis: usize,
        kind: fn(ReduceDimOpIr) -> NumericOperationIr,
    ) -> TensorIr {
        let mut shape = input.shape.clone();
        shape[axis] = 1;
        let out = self.value(shape, self.int_dtype);
        let op = kind(ReduceDimOpIr { input: input.clone(), out: out.clone(), axis, accumulator_len: 1 });
        self.push(OperationIr::NumericFloat(input.dtype, op), out)
    }

    /// Along an axis, the position of the last element so far where a mask holds, or 0 before the first.
    pub fn last_position(&mut self, mask: &TensorIr, axis: usize) -> TensorIr {
        let (shape, dtype) = (&mask.shape, self.int_dtype);
        let positions = self.positions(shape, axis);
        let mask = self.indicator(mask, dtype);
        let marked = self.like(&positions);
        let op = NumericOperationIr::Mul(BinaryOpIr { lhs: positions, rhs: mask, out: marked.clone() });
        let input = self.push(OperationIr::NumericInt(dtype, op), marked);
        let out = self.like(&input);
        let op = NumericOperationIr::CumMax(DimOpIr { input, out: out.clone(), axis });
        self.push(OperationIr::NumericInt(dtype, op), out)
    }

    /// The position of every element along an axis. A running sum of ones: an operation cannot hold a list of numbers.
    fn positions(&mut self, shape: &Shape, axis: usize) -> TensorIr {
        let dtype = self.int_dtype;
        let mut line = vec![1; shape.num_dims()];
        line[axis] = shape[axis];
        let ones = self.value(line.into(), dtype);
        let op = BaseOperationIr::Ones(CreationOpIr { out: ones.clone() });
        let input = self.push(base(&ones, op), ones);
        let count = self.like(&input);
        let op = NumericOperationIr::CumSum(DimOpIr { input, out: count.clone(), axis });
        let lhs = self.push(OperationIr::NumericInt(dtype, op), count);
        let out = self.like(&lhs);
        let op = NumericOperationIr::SubScalar(ScalarOpIr { lhs, rhs: ScalarIr::Int(1), out: out.clone() });
        let positions = self.push(OperationIr::NumericInt(dtype, op), out);
        self.expand(&positions, shape)
    }
}
