//! Appends operations to a list, working out shapes on the way.
//!
//! Does not know: why an operation is wanted.

use burn::tensor::{DType, Shape};
use burn_ir::{
    ActivationOperationIr, BaseOperationIr, BinaryOpIr, CreationOpIr, FloatOperationIr, NumericOperationIr,
    OperationIr, ScalarIr, ScalarOpIr, ShapeOpIr, TensorId, TensorIr, UnaryOpIr,
};

/// Operations under construction.
#[derive(Debug, Default)]
pub struct Emitter {
    /// What has been emitted.
    pub ops: Vec<OperationIr>,
    next: u64,
}

macro_rules! unary {
    ($($(#[$doc:meta])* $name:ident => $variant:ident;)*) => {$(
        $(#[$doc])*
        pub fn $name(&mut self, input: &TensorIr) -> TensorIr {
            self.float_unary(input, FloatOperationIr::$variant)
        }
    )*};
}

macro_rules! binary {
    ($($(#[$doc:meta])* $name:ident => $variant:ident;)*) => {$(
        $(#[$doc])*
        pub fn $name(&mut self, lhs: &TensorIr, rhs: &TensorIr) -> TensorIr {
            let out = self.value(broadcast(&lhs.shape, &rhs.shape), lhs.dtype);
            let op = BinaryOpIr { lhs: lhs.clone(), rhs: rhs.clone(), out };
            let (dtype, out) = (op.out.dtype, op.out.clone());
            self.push(OperationIr::NumericFloat(dtype, NumericOperationIr::$variant(op)), out)
        }
    )*};
}

macro_rules! scalar {
    ($($(#[$doc:meta])* $name:ident => $variant:ident;)*) => {$(
        $(#[$doc])*
        pub fn $name(&mut self, lhs: &TensorIr, rhs: f64) -> TensorIr {
            let out = self.value(lhs.shape.clone(), lhs.dtype);
            let op = ScalarOpIr { lhs: lhs.clone(), rhs: ScalarIr::Float(rhs), out: out.clone() };
            self.push(OperationIr::NumericFloat(out.dtype, NumericOperationIr::$variant(op)), out)
        }
    )*};
}

impl Emitter {
    /// New values get ids from `next` on.
    pub fn starting_at(next: u64) -> Self {
        Self { ops: Vec::new(), next }
    }

    /// A value nothing has defined yet.
    pub fn value(&mut self, shape: Shape, dtype: DType) -> TensorIr {
        self.next += 1;
        TensorIr::uninit(TensorId::new(self.next - 1), shape, dtype)
    }

    /// A value of the same shape and type.
    pub fn like(&mut self, tensor: &TensorIr) -> TensorIr {
        self.value(tensor.shape.clone(), tensor.dtype)
    }

    /// Appends an operation and hands back its result.
    pub fn push(&mut self, op: OperationIr, out: TensorIr) -> TensorIr {
        self.ops.push(op);
        out
    }

    fn float_unary(&mut self, input: &TensorIr, kind: fn(UnaryOpIr) -> FloatOperationIr) -> TensorIr {
        let out = self.like(input);
        let op = kind(UnaryOpIr { input: input.clone(), out: out.clone() });
        self.push(OperationIr::Float(out.dtype, op), out)
    }

    unary! {
        /// Exponential.
        exp => Exp;
        /// Reciprocal.
        recip => Recip;
        /// Square root.
        sqrt => Sqrt;
        /// Sine.
        sin => Sin;
        /// Cosine.
        cos => Cos;
    }

    binary! {
        /// Sum, broadcasting.
        add => Add;
        /// Difference, broadcasting.
        sub => Sub;
        /// Product, broadcasting.
        mul => Mul;
    }

    scalar! {
        /// Sum with a number.
        add_scalar => AddScalar;
        /// Product with a number.
        mul_scalar => MulScalar;
    }

    /// Power with a number as exponent.
    pub fn powf_scalar(&mut self, lhs: &TensorIr, rhs: f64) -> TensorIr {
        let out = self.like(lhs);
        let op = ScalarOpIr { lhs: lhs.clone(), rhs: ScalarIr::Float(rhs), out: out.clone() };
        self.push(OperationIr::Float(out.dtype, FloatOperationIr::PowfScalar(op)), out)
    }

    /// Negation.
    pub fn neg(&mut self, input: &TensorIr) -> TensorIr {
        let out = self.like(input);
        let op = NumericOperationIr::Neg(UnaryOpIr { input: input.clone(), out: out.clone() });
        self.push(OperationIr::NumericFloat(out.dtype, op), out)
    }

    /// Sign: -1, 0 or 1.
    pub fn sign(&mut self, input: &TensorIr) -> TensorIr {
        let out = self.like(input);
        let op = NumericOperationIr::Sign(UnaryOpIr { input: input.clone(), out: out.clone() });
        self.push(OperationIr::NumericFloat(out.dtype, op), out)
    }

    /// One of the backward activations, `f(lhs, grad)`.
    pub fn activation(
        &mut self,
        kind: fn(BinaryOpIr) -> ActivationOperationIr,
        lhs: &TensorIr,
        grad: &TensorIr,
    ) -> TensorIr {
        let out = self.like(grad);
        let op = kind(BinaryOpIr { lhs: lhs.clone(), rhs: grad.clone(), out: out.clone() });
        self.push(OperationIr::Activation(op), out)
    }

    /// The same elements in another shape.
    pub fn reshape(&mut self, input: &TensorIr, shape: Shape) -> TensorIr {
        if input.shape == shape {
            return input.clone();
        }
        let out = self.value(shape, input.dtype);
        let op = BaseOperationIr::Reshape(ShapeOpIr { input: input.clone(), out: out.clone() });
        self.push(base(&out, op), out)
    }

    /// Broadcast to a larger shape.
    pub fn expand(&mut self, input: &TensorIr, shape: &Shape) -> TensorIr {
        if input.shape == *shape {
            return input.clone();
        }
        let out = self.value(shape.clone(), input.dtype);
        let op = BaseOperationIr::Expand(ShapeOpIr { input: input.clone(), out: out.clone() });
        self.push(base(&out, op), out)
    }

    /// Zeros of the same shape and type.
    pub fn zeros_like(&mut self, tensor: &TensorIr) -> TensorIr {
        let out = self.like(tensor);
        self.push(OperationIr::BaseFloat(BaseOperationIr::Zeros(CreationOpIr { out: out.clone() })), out)
    }
}

/// A layout operation, in the family of its result's type.
pub fn base(out: &TensorIr, op: BaseOperationIr) -> OperationIr {
    if out.dtype.is_float() {
        OperationIr::BaseFloat(op)
    } else if out.dtype.is_bool() {
        OperationIr::BaseBool(op)
    } else {
        OperationIr::BaseInt(op)
    }
}

fn broadcast(a: &Shape, b: &Shape) -> Shape {
    a.iter().zip(b.iter()).map(|(&a, &b)| if a == 1 { b } else { a }).collect::<Vec<_>>().into()
}
