//! What the graphs of a closure say of its cost, before anything runs.
//!
//! Does not know: what a device reaches of it.

use std::fmt;

use crate::program::Program;
use crate::rules::Cost;

/// Size of the programs of a traced closure. Printed, it is a small table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Costs {
    /// One gradient.
    pub gradient: ProgramCosts,
    /// One Hessian-vector product at a linearized point.
    pub hvp: ProgramCosts,
    /// Bytes that a linearization holds beyond point, batch and constants:
    /// [`Traced::residual_bytes`](crate::Traced::residual_bytes).
    pub residual_bytes: usize,
}

/// Size of one program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProgramCosts {
    /// Operations that compute something or make a view.
    pub operations: usize,
    /// Arithmetic and memory traffic.
    pub cost: Cost,
    /// Bytes that the run allocates at most at a time, its results included and its inputs not. An estimate: buffers that a
    /// device overwrites in place make it less, workspace of kernels makes it more.
    pub peak_bytes: usize,
}

impl ProgramCosts {
    pub(crate) fn of(program: &Program) -> Self {
        Self { operations: program.operations(), cost: program.cost(), peak_bytes: program.peak_bytes() }
    }
}

impl fmt::Display for ProgramCosts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mega = |n: u64| n as f64 / 1e6;
        let (flops, moved, peak) = (mega(self.cost.flops), mega(self.cost.bytes), mega(self.peak_bytes as u64));
        let operations = self.operations;
        write!(f, "{operations:>5} operations, {flops:>9.3} MFLOP, {moved:>9.3} MB moved, {peak:>9.3} MB at most")
    }
}

impl fmt::Display for Costs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "gradient  {}", self.gradient)?;
        writeln!(f, "product   {}", self.hvp)?;
        write!(f, "residuals {:.3} MB", self.residual_bytes as f64 / 1e6)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn printed_it_says_all_of_it() {
        let of = |operations, peak_bytes| {
            let cost = Cost { flops: 1_500_000, bytes: 2_000_000 };
            ProgramCosts { operations, cost, peak_bytes }
        };
        let costs = Costs { gradient: of(39, 250_000), hvp: of(42, 1_000), residual_bytes: 7_000 };
        let expected = "gradient     39 operations,     1.500 MFLOP,     2.000 MB moved,     0.250 MB at most\n\
                        product      42 operations,     1.500 MFLOP,     2.000 MB moved,     0.001 MB at most\n\
                        residuals 0.007 MB";
        assert_eq!(costs.to_string(), expected);
    }
}
