//! What is known of each operation: how it differentiates, how it takes a leading batch axis, what it costs.
//!
//! `table.rs` holds one row per operation; a linear or bilinear operation is one line of it. The derivatives that need a
//! formula stand in one file per concept: those of modules in `convolutions.rs`, `pooling.rs` and `normalisation.rs`, the
//! rules of operations that users define in `custom.rs`, the rest gathered by `nonlinear.rs`.
//!
//! Does not know: graphs as a whole, in which order they are walked.
//!
#![doc = include_str!("../../COVERAGE.md")]

mod activations;
mod batching;
mod convolutions;
mod cost;
pub(crate) mod custom;
mod elementwise;
mod indexing;
mod nonlinear;
mod normalisation;
mod pooling;
mod reductions;
mod table;
#[cfg(test)]
mod tests;

pub(crate) use batching::apply_batching;
pub use cost::{Cost, Work, cost};
pub use custom::{Backward, CustomOp, CustomRule, Lower, register};
pub use table::rows;

use burn_ir::OperationIr;

use crate::error::Result;
use crate::jvp::Jvp;
use crate::vmap::Vmap;

/// The row of an operation: of the table, or the one registered for a custom operation.
pub fn rule(op: &OperationIr) -> Option<&'static Rule> {
    match op {
        OperationIr::Custom(op) => Some(custom::row(op)),
        op => table::rule(op),
    }
}

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
    /// What a reader of the table should know, or nothing.
    pub note: &'static str,
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
///
/// A module operation whose operands play different parts (a linear layer, an embedding, a convolution, batch and layer
/// normalisation) is known by itself: it has the same form under every class but `Formula` and `Unbatchable`.
#[derive(Clone, Copy, Debug)]
pub enum Batching {
    /// Element by element with broadcasting: every operand takes the axis.
    Elementwise,
    /// The same with every axis number, shape or range shifted by one. An operation that names no axis works element by
    /// element, so that a row for a whole family of integer or boolean operations may say this.
    ShiftAxes,
    /// The operands' leading axes are batch already: fold the new axis into the first.
    FoldIntoFirst,
    /// Images `[batch, channels, ..]` and one number per channel: fold into the channels where the latter are batched, into
    /// the first axis where the images alone are.
    FoldIntoChannels,
    /// A matrix product: stack along the leading axes.
    Matmul,
    /// A convolution: as [`FoldIntoChannels`](Self::FoldIntoChannels), an item being a group.
    GroupedConvolution,
    /// A formula.
    Formula(BatchFormula),
    /// No batched form, with the reason.
    Unbatchable(&'static str),
}

/// Emits the batched form of an operation.
pub type BatchFormula = fn(&mut Vmap, &OperationIr) -> Result<()>;
