//! What a meta-step will hold in memory, from shapes alone.
//!
//! Does not know: how a meta-step is done, what an allocator keeps.

use std::fmt;

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::kind::Basic;
use burn::tensor::{Bool, Int, Tensor};
use burn_func::{Batch, BatchMapper, Traced};
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::kept::Kept;
use crate::leading::every_kind;

/// What a meta-step will hold in memory, before anything runs: [`MetaBatch::memory`](crate::MetaBatch::memory). Printed, it
/// is one line.
///
/// It counts the buffers of shapes, as [`Report::peak_bytes`](crate::Report::peak_bytes) does after the step, and that is
/// [`peak_bytes`](Self::peak_bytes) of this. What an allocator or a device keeps beyond them is not in it, nor the workspace
/// of kernels, the program and its libraries, or what an optimizer remembers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryEstimate {
    /// Bytes of the model's tensors: parameters, frozen ones and buffers, and learned rates.
    pub parameter_bytes: usize,
    /// Bytes of the support and query sets of all tasks.
    pub batch_bytes: usize,
    /// Bytes of the tasks' gradients, which wait to be summed, and of their sum.
    pub gradient_bytes: usize,
    /// Tasks in work at a time; the following are for each.
    pub tasks_in_flight: usize,
    /// Inner steps whose residuals are kept.
    pub kept_steps: usize,
    /// Bytes of those residuals.
    pub residual_bytes: usize,
    /// Bytes of points, states and vectors of the size of the parameters.
    pub vector_bytes: usize,
    /// Bytes that the largest program allocates while it runs: a gradient of the support set or of a piece of the query set,
    /// or a Hessian-vector product. Products that run side by side each take it; one is counted.
    pub program_bytes: usize,
    /// All of it.
    pub total_bytes: usize,
}

impl MemoryEstimate {
    /// Bytes beyond model and meta-batch: what the report of the meta-step says.
    pub fn peak_bytes(&self) -> usize {
        self.gradient_bytes + self.tasks_in_flight * (self.residual_bytes + self.vector_bytes + self.program_bytes)
    }

    pub(crate) fn summed(self) -> Self {
        Self { total_bytes: self.parameter_bytes + self.batch_bytes + self.peak_bytes(), ..self }
    }
}

impl fmt::Display for MemoryEstimate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, name) = if self.total_bytes < 1 << 20 { (1 << 10, "KiB") } else { (1 << 20, "MiB") };
        let of = |bytes: usize| format!("{:.1}", bytes as f64 / f64::from(unit));
        write!(
            f,
            "about {} {name}: parameters {}, meta-batch {}, gradients {}, and for each of {} task(s) at a time residuals of \
             {} step(s) {}, vectors {}, largest program {}",
            of(self.total_bytes),
            of(self.parameter_bytes),
            of(self.batch_bytes),
            of(self.gradient_bytes),
            self.tasks_in_flight,
            self.kept_steps,
            of(self.residual_bytes),
            of(self.vector_bytes),
            of(self.program_bytes),
        )
    }
}

/// Most bytes that residuals of a task and one of its programs take, over the closures of support and query sets.
pub(crate) fn residuals_and_program<'a, S, A, Q, R>(
    kept: &Kept,
    support: impl Iterator<Item = &'a Traced<S, A>>,
    query: impl Iterator<Item = &'a Traced<Q, R>>,
) -> Result<(usize, usize)>
where
    S: Batch + 'a,
    A: Batch + 'a,
    Q: Batch + 'a,
    R: Batch + 'a,
{
    let (mut residuals, mut program) = (0, 0);
    for traced in support {
        program = program.max(traced.gradient_costs().peak_bytes);
        if kept.linearizations > 0 {
            let costs = traced.costs()?;
            residuals = residuals.max(kept.linearizations * costs.residual_bytes);
            program = program.max(costs.hvp.peak_bytes);
        }
    }
    Ok((residuals, query.map(|traced| traced.gradient_costs().peak_bytes).fold(program, usize::max)))
}

/// Bytes of a batch.
pub(crate) fn batch_bytes<B: Batch>(batch: &B) -> usize {
    let mut bytes = Bytes(0);
    batch.map(&mut bytes);
    bytes.0
}

/// Bytes of a module's tensors.
pub(crate) fn module_bytes<M: Module>(module: &M) -> usize {
    let mut bytes = Bytes(0);
    module.visit(&mut bytes);
    bytes.0
}

struct Bytes(usize);

impl Bytes {
    fn count<const D: usize, K: Basic>(&mut self, tensor: &Tensor<D, K>) -> Tensor<D, K> {
        self.0 += tensor.shape().num_elements() * tensor.dtype().size();
        tensor.clone()
    }
}

every_kind!(Bytes, count);

impl ModuleVisitor for Bytes {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.count(&param.base());
    }

    fn visit_int<const D: usize>(&mut self, param: &Param<Tensor<D, Int>>) {
        self.count(&param.val());
    }

    fn visit_bool<const D: usize>(&mut self, param: &Param<Tensor<D, Bool>>) {
        self.count(&param.val());
    }
}
