//! Traces of a closure, one for each shape of batch among some tasks.
//!
//! Does not know: tasks, what the closure computes.

use std::sync::Arc;

use burn::module::Module;
use burn_func::{Batch, Output, ProgramCache, Residuals, Traced, trace_with};

use crate::error::Result;

/// Which trace each of some batches takes.
pub(crate) struct Traces<B, A> {
    made: Arc<Vec<Traced<B, A>>>,
    of: Vec<usize>,
}

impl<B: Batch, A: Batch> Traces<B, A> {
    pub fn new<'b, M, O, F>(
        programs: &ProgramCache,
        residuals: Residuals,
        model: &M,
        batches: impl Iterator<Item = &'b B>,
        loss: F,
    ) -> Result<Self>
    where
        B: 'b,
        M: Module,
        O: Output<Aux = A>,
        F: Fn(&M, B) -> O,
    {
        let mut made: Vec<Traced<B, A>> = Vec::new();
        let index = |batch: &B| -> Result<usize> {
            match made.iter().position(|traced| traced.accepts(batch)) {
                Some(at) => Ok(at),
                None => {
                    made.push(trace_with(programs, model, batch, &loss)?.with_residuals(residuals));
                    Ok(made.len() - 1)
                }
            }
        };
        let of = batches.map(index).collect::<Result<_>>()?;
        Ok(Self { made: Arc::new(made), of })
    }

    /// Those of the first `n` batches, and those of the others.
    pub fn split_at(mut self, n: usize) -> (Self, Self) {
        let rest = self.of.split_off(n);
        let others = Self { made: self.made.clone(), of: rest };
        (self, others)
    }

    pub fn of(&self, batch: usize) -> &Traced<B, A> {
        &self.made[self.of[batch]]
    }

    /// All that were made.
    pub fn made(&self) -> &[Traced<B, A>] {
        &self.made
    }
}
