//! Derivatives that need a formula.
//!
//! Factors that depend on the point alone are emitted as operations of their own: they land in the primal part and are
//! computed once, whatever the number of tangents. They are written as Burn's backward pass writes them where it
//! computes the same thing, so that common subexpressions meet. At kinks they take the side that Burn's backward takes.
//!
//! Does not know: which part an operation lands in.

use burn_ir::OperationIr;

pub use super::activations::*;
pub use super::elementwise::*;
pub use super::indexing::*;
pub use super::reductions::*;
use crate::jvp::unsupported;

/// The row of one operation names the formula of another: a fault of the table.
pub(super) fn wrong_row(op: &OperationIr) -> crate::Error {
    unsupported(op, "it stands in the row of another operation")
}
