//! Batches a graph: chosen inputs get a new leading axis, and so does all that depends on them.
//!
//! The batched graph does to every item what the graph does to one. Values that depend on no batched input stay as they
//! are and are computed once for all items.
//!
//! Does not know: names of operations ([`rules`](crate::rules) does), what the items are.

use std::collections::HashMap;

use burn::tensor::Shape;
use burn_ir::{OperationIr, TensorId, TensorIr};

use crate::emit::Emitter;
use crate::error::{Error, Result, Transform};
use crate::graph::{Graph, Input, as_random, op_name, with_tensors};
use crate::jvp::expect_alike;
use crate::passes::simplified;
use crate::rules::{Batching, apply_batching, rule};

/// The graph over `n` items: inputs marked in `batched`, and all outputs, have a new leading axis of length `n`.
///
/// Random operations in a graph draw for each item, as a loop over the items would; in a traced closure they are inputs.
/// Differentiate before, not after: a maximum over
/// everything becomes one along an axis, which burn-autodiff records for constants alone and the rules take for one.
///
/// # Errors
///
/// [`Error::Unsupported`] for an operation without a batched form; [`Error::Mismatch`] if `batched` is not one flag per
/// input, or `n` is zero.
///
/// # Cost
///
/// The arithmetic is that of `n` runs where something depends on the item, and of one elsewhere. Operands that are not
/// batched are broadcast, most of them without a copy. Convolutions whose weights differ between items become one with
/// `n` times the groups.
pub fn vmap(graph: &Graph, batched: &[bool], n: usize) -> Result<Graph> {
    vmap_by(graph, batched, n, |op| rule(op).map(|rule| rule.batching))
}

/// As [`vmap`], with the classes of operations from elsewhere than the table.
pub(crate) fn vmap_by(
    graph: &Graph,
    batched: &[bool],
    n: usize,
    class: impl Fn(&OperationIr) -> Option<Batching>,
) -> Result<Graph> {
    if batched.len() != graph.inputs.len() || n == 0 {
        return Err(Error::Mismatch {
            what: "the batch of a graph".into(),
            found: format!("{n} items, {} flags", batched.len()),
            expected: format!("one item or more, {} flags", graph.inputs.len()),
        });
    }
    let mut vmap = Vmap { emit: Emitter::starting_at(graph.next_id()), n, batched: HashMap::new() };
    let mut inputs = graph.inputs.clone();
    for (input, _) in inputs.iter_mut().zip(batched).filter(|(_, batched)| **batched) {
        *input = Input { tensor: vmap.result(&input.tensor), ..input.clone() };
    }
    for op in &graph.ops {
        vmap.step(op, &class)?;
    }
    let outputs = graph.outputs.iter().map(|out| vmap.full(out)).collect();
    let graph = Graph { inputs, ops: vmap.emit.ops, outputs };
    graph.check()?; // formulas of users may have left out something
    Ok(simplified(&graph))
}

/// The state of a pass: what has been emitted, and the batched values known so far. A value without one is the same for
/// all items.
#[derive(Debug)]
pub struct Vmap {
    /// Where operations go.
    pub emit: Emitter,
    n: usize,
    batched: HashMap<TensorId, TensorIr>,
}

impl Vmap {
    /// Number of items.
    pub fn items(&self) -> usize {
        self.n
    }

    /// Whether a value differs between items.
    pub fn is_batched(&self, of: &TensorIr) -> bool {
        self.batched.contains_key(&of.id)
    }

    /// The shape of a value with the batch axis in front.
    pub fn shape(&self, of: &TensorIr) -> Shape {
        with_leading(self.n, of.shape.as_slice())
    }

    /// A batched value that the next operation defines.
    pub fn result(&mut self, of: &TensorIr) -> TensorIr {
        let result = self.emit.value(self.shape(of), of.dtype);
        self.set(of, result.clone());
        result
    }

    /// Says what a value is for all items, a tensor of its type with the batch axis in front.
    pub fn set(&mut self, of: &TensorIr, batched: TensorIr) {
        self.batched.insert(of.id, batched);
    }

    /// A value of some rank with a leading axis: of length `n` where it differs between items, of length one elsewhere.
    pub fn wide(&mut self, of: &TensorIr, rank: usize) -> TensorIr {
        let (value, items) = match self.batched.get(&of.id) {
            Some(batched) => (batched.clone(), self.n),
            None => (of.clone(), 1),
        };
        let mut shape = vec![items];
        shape.resize(1 + rank.saturating_sub(of.shape.num_dims()), 1);
        shape.extend(of.shape.iter());
        self.emit.reshape(&value, shape.into())
    }

    /// A value with a leading axis of length `n`.
    pub fn full(&mut self, of: &TensorIr) -> TensorIr {
        let wide = self.wide(of, of.shape.num_dims());
        let shape = self.shape(of);
        self.emit.expand(&wide, &shape)
    }

    /// Emits an operation on operands that all have the batch axis, its results having it too.
    pub fn same(&mut self, op: &OperationIr) {
        let operands: Vec<TensorIr> = op.inputs().map(|operand| self.full(operand)).collect();
        let results: Vec<TensorIr> = op.outputs().map(|out| self.result(out)).collect();
        self.emit.ops.push(with_tensors(op, &operands, &results));
    }

    fn step(&mut self, op: &OperationIr, class: &impl Fn(&OperationIr) -> Option<Batching>) -> Result<()> {
        if as_random(op).is_some() {
            self.same(op);
            return Ok(());
        }
        if !op.inputs().any(|input| self.is_batched(input)) {
            self.emit.ops.push(op.clone());
            return Ok(());
        }
        let Some(class) = class(op) else {
            return Err(unbatchable(op, "no batched form is known here for it"));
        };
        apply_batching(self, op, class)?;
        for out in op.outputs() {
            expect_alike("a batched value", op, self.batched.get(&out.id), &self.shape(out), out.dtype)?;
        }
        Ok(())
    }
}

/// A shape with one more axis in front.
pub(crate) fn with_leading(n: usize, shape: &[usize]) -> Shape {
    std::iter::once(n).chain(shape.iter().copied()).collect::<Vec<_>>().into()
}

pub(crate) fn unbatchable(op: &OperationIr, reason: &str) -> Error {
    Error::Unsupported { op: op_name(op), transform: Transform::Vmap, reason: reason.into() }
}

#[cfg(test)]
mod random_graphs;
#[cfg(test)]
mod tests;
