//! Appends operations to a list, working out shapes on the way.
//!
//! Does not know: why an operation is wanted.

use burn::tensor::{BoolStore, DType, Shape};
use burn_ir::{
    ActivationOperationIr, BaseOperationIr, BinaryOpIr, CreationOpIr, DimOpIr, FloatOperationIr, NumericOperationIr,
    OperationIr, ReduceDimOpIr, ReduceOpIr, ScalarIr, ScalarOpIr, ShapeOpIr, TensorId, TensorIr, UnaryOpIr,
};

use crate::graph::Graph;

/// Operations under construction.
#[derive(Debug)]
pub struct Emitter {
    /// What has been emitted.
    pub ops: Vec<OperationIr>,
    next: u64,
    /// Type of masks.
    pub(crate) bool_dtype: DType,
    /// Type of positions.
    pub(crate) int_dtype: DType,
}

impl Default for Emitter {
    fn default() -> Self {
        Self::starting_at(0)
    }
}

macro_rules! unary {
    ($($(#[$doc:meta])* $name:ident => $variant:ident;)*) => {$(
        $(#[$doc])*
        pub fn $name(&mut self, input: &TensorIr) -> TensorIr {
            self.float_unary(input, FloatOperationIr::$variant)
        }
    )*};
}

macro_rules! numeric_unary {
    ($($(#[$doc:meta])* $name:ident => $variant:ident;)*) => {$(
        $(#[$doc])*
        pub fn $name(&mut self, input: &TensorIr) -> TensorIr {
            let out = self.like(input);
            let op = NumericOperationIr::$variant(UnaryOpIr { input: input.clone(), out: out.clone() });
            self.push(OperationIr::NumericFloat(out.dtype, op), out)
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

macro_rules! reduction {
    ($($(#[$doc:meta])* $name:ident => $variant:ident;)*) => {$(
        $(#[$doc])*
        pub fn $name(&mut self, input: &TensorIr) -> TensorIr {
            let out = self.value([1].into(), input.dtype);
            let op = NumericOperationIr::$variant(ReduceOpIr { input: input.clone(), out: out.clone() });
            self.push(OperationIr::NumericFloat(out.dtype, op), out)
        }
    )*};
}

macro_rules! reduction_dim {
    ($($(#[$doc:meta])* $name:ident => $variant:ident;)*) => {$(
        $(#[$doc])*
        pub fn $name(&mut self, input: &TensorIr, axis: usize) -> TensorIr {
            let mut shape = input.shape.clone();
            shape[axis] = 1;
            let out = self.value(shape, input.dtype);
            let op = ReduceDimOpIr { input: input.clone(), out: out.clone(), axis, accumulator_len: 1 };
            self.push(OperationIr::NumericFloat(out.dtype, NumericOperationIr::$variant(op)), out)
        }
    )*};
}

macro_rules! running {
    ($($(#[$doc:meta])* $name:ident => $variant:ident;)*) => {$(
        $(#[$doc])*
        pub fn $name(&mut self, input: &TensorIr, axis: usize) -> TensorIr {
            let out = self.like(input);
            let op = NumericOperationIr::$variant(DimOpIr { input: input.clone(), out: out.clone(), axis });
            self.push(OperationIr::NumericFloat(out.dtype, op), out)
        }
    )*};
}

impl Emitter {
    /// New values get ids from `next` on.
    pub fn starting_at(next: u64) -> Self {
        let (bool_dtype, int_dtype) = (DType::Bool(BoolStore::Native), DType::I32);
        Self { ops: Vec::new(), next, bool_dtype, int_dtype }
    }

    /// New values get ids that are free in the graph; masks and positions get the types that the graph's own have.
    pub(crate) fn extending(graph: &Graph) -> Self {
        let mut emit = Self::starting_at(graph.next_id());
        let values = graph.inputs.iter().map(|input| &input.tensor).chain(graph.ops.iter().flat_map(|op| op.outputs()));
        let dtypes: Vec<DType> = values.map(|tensor| tensor.dtype).collect();
        let first = |wanted: fn(&DType) -> bool| dtypes.iter().copied().find(wanted);
        emit.bool_dtype = first(DType::is_bool).unwrap_or(emit.bool_dtype);
        emit.int_dtype = first(|dtype| matches!(dtype, DType::I32 | DType::I64)).unwrap_or(emit.int_dtype);
        emit
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
        /// Hyperbolic sine.
        sinh => Sinh;
        /// Hyperbolic cosine.
        cosh => Cosh;
        /// Natural logarithm.
        log => Log;
        /// The largest whole number that is not larger.
        floor => Floor;
    }

    numeric_unary! {
        /// Negation.
        neg => Neg;
        /// Sign: -1, 0 or 1.
        sign => Sign;
        /// Absolute value.
        abs => Abs;
    }

    reduction! {
        /// Sum of all elements.
        sum => Sum;
        /// Product of all elements.
        prod => Prod;
    }

    reduction_dim! {
        /// Sum along an axis, which stays with length one.
        sum_dim => SumDim;
        /// Product along an axis, which stays with length one.
        prod_dim => ProdDim;
    }

    running! {
        /// Running sum along an axis.
        cumsum => CumSum;
        /// Running product along an axis.
        cumprod => CumProd;
    }

    binary! {
        /// Sum, broadcasting.
        add => Add;
        /// Difference, broadcasting.
        sub => Sub;
        /// Product, broadcasting.
        mul => Mul;
        /// Quotient, broadcasting.
        div => Div;
    }

    scalar! {
        /// Sum with a number.
        add_scalar => AddScalar;
        /// Difference with a number.
        sub_scalar => SubScalar;
        /// Product with a number.
        mul_scalar => MulScalar;
        /// Quotient with a number.
        div_scalar => DivScalar;
    }

    /// Power with a number as exponent.
    pub fn powf_scalar(&mut self, lhs: &TensorIr, rhs: f64) -> TensorIr {
        let out = self.like(lhs);
        let op = ScalarOpIr { lhs: lhs.clone(), rhs: ScalarIr::Float(rhs), out: out.clone() };
        self.push(OperationIr::Float(out.dtype, FloatOperationIr::PowfScalar(op)), out)
    }

    /// Power with a tensor as exponent, broadcasting.
    pub fn powf(&mut self, lhs: &TensorIr, rhs: &TensorIr) -> TensorIr {
        let out = self.value(broadcast(&lhs.shape, &rhs.shape), lhs.dtype);
        let op = FloatOperationIr::Powf(BinaryOpIr { lhs: lhs.clone(), rhs: rhs.clone(), out: out.clone() });
        self.push(OperationIr::Float(out.dtype, op), out)
    }

    /// An activation without further operands.
    pub fn activation_unary(&mut self, kind: fn(UnaryOpIr) -> ActivationOperationIr, input: &TensorIr) -> TensorIr {
        let out = self.like(input);
        let op = kind(UnaryOpIr { input: input.clone(), out: out.clone() });
        self.push(OperationIr::Activation(op), out)
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

pub(crate) fn broadcast(a: &Shape, b: &Shape) -> Shape {
    a.iter().zip(b.iter()).map(|(&a, &b)| if a == 1 { b } else { a }).collect::<Vec<_>>().into()
}
