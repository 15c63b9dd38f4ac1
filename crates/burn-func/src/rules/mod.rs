//! What is known of each operation: how it differentiates, how it takes a leading batch axis, what it costs.
//!
//! `table.rs` holds one row per operation; a linear or bilinear operation is one line of it. `nonlinear.rs` holds the
//! derivatives that need a formula.
//!
//! Does not know: graphs as a whole, in which order they are walked.

mod cost;
mod nonlinear;
mod table;

pub use cost::{Cost, Work, cost};
pub use table::{rows, rule};

use burn_ir::OperationIr;

use crate::error::Result;
use crate::jvp::Jvp;

/// One row of the table.
#[derive(Debug)]
pub struct Rule {
    /// Name of the operation, as [`op_name`](crate::graph::op_name) gives it.
    pub name: &'static str,
    /// How it differentiates.
    pub derivative: Derivative,
    /// How it takes a leading batch axis.
    pub batching: Batching,
    /// What it costs.
    pub work: Work,
}

/// Derivative class of an operation. Positions count the operation's inputs.
#[derive(Clone, Copy, Debug)]
pub enum Derivative {
    /// The results carry no tangent: integers, booleans, comparisons, constants, steps.
    Zero,
    /// The tangent of the result is the tangent of the only input, as for `x + 3`.
    Identity,
    /// Jointly linear in the operands at these positions; the same operation on their tangents. Other operands give
    /// shapes or indices.
    Linear(&'static [usize]),
    /// Jointly linear in all operands, however many.
    LinearAll,
    /// Linear in either of two operands with the other fixed: `f(a', b) + f(a, b')`. Further operands give shapes.
    Bilinear(usize, usize),
    /// A formula.
    Formula(Formula),
    /// No derivative, with the reason.
    Unsupported(&'static str),
}

/// Emits the tangents of an operation's results.
pub type Formula = fn(&mut Jvp, &OperationIr) -> Result<()>;

/// How an operation takes a leading batch axis on its inputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Batching {
    /// Element by element with broadcasting: unbatched inputs are given a leading axis of length one.
    Elementwise,
    /// The same with every axis number, shape or range shifted by one.
    ShiftAxes,
    /// The inputs' leading axes are batch already: fold the new axis into the first.
    FoldIntoFirst,
    /// A matrix product: stack along the leading axes.
    Matmul,
    /// A convolution: fold into the first axis, or into groups where weights are batched.
    GroupedConvolution,
    /// No batched form, with the reason.
    Unbatchable(&'static str),
}
