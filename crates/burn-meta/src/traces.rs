//! Traces of a closure, one for each shape of batch among some tasks.
//!
//! Does not know: tasks, what the closure computes.

use std::borrow::Cow;
use std::collections::BTreeSet;
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
        batches: impl Iterator<Item = Cow<'b, B>>,
        loss: F,
    ) -> Result<Self>
    where
        B: 'b,
        M: Module,
        O: Output<Aux = A>,
        F: Fn(&M, B) -> O,
    {
        let mut made: Vec<Traced<B, A>> = Vec::new();
        let index = |batch: Cow<'b, B>| -> Result<usize> {
            match made.iter().position(|traced| traced.accepts(&batch)) {
                Some(at) => Ok(at),
                None => {
                    made.push(trace_with(programs, model, batch.as_ref(), &loss)?.with_residuals(residuals));
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

    /// Those that a batch takes, each once.
    pub fn used(&self) -> impl Iterator<Item = &Traced<B, A>> {
        let used: BTreeSet<usize> = self.of.iter().copied().collect();
        used.into_iter().map(|at| &self.made[at])
    }
}
