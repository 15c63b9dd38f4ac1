//! The walk that passes share: operation by operation, each kept or replaced by a value known to be equal.
//!
//! Does not know: which values are equal.

use std::collections::HashMap;

use burn_ir::{BaseOperationIr, CreationOpIr, FullOpIr, NumericOperationIr, OperationIr, ScalarIr, TensorId, TensorIr};

use crate::emit::Emitter;
use crate::graph::{Graph, with_tensors};

/// The graph as rewritten so far.
pub(super) struct Walk {
    /// Where new operations go.
    pub emit: Emitter,
    definitions: HashMap<TensorId, usize>,
    indexed: usize,
}

impl Walk {
    /// The operation that makes a value; none makes an input.
    pub fn definition(&self, of: &TensorIr) -> Option<&OperationIr> {
        self.definitions.get(&of.id).map(|&at| &self.emit.ops[at])
    }

    /// The same operation on another first operand of the same shape and type, with a new result.
    pub fn on(&mut self, op: &OperationIr, operand: &TensorIr) -> TensorIr {
        let mut operands: Vec<TensorIr> = op.inputs().cloned().collect();
        operands[0] = operand.clone();
        let outs: Vec<TensorIr> = op.outputs().map(|out| self.emit.like(out)).collect();
        let op = with_tensors(op, &operands, &outs);
        let out = self.emit.push(op, outs[0].clone());
        self.index();
        out
    }

    /// A value like `out` with the same number everywhere.
    pub fn constant(&mut self, out: &TensorIr, value: f64) -> TensorIr {
        let out = self.emit.like(out);
        let op = match value {
            0.0 => OperationIr::BaseFloat(BaseOperationIr::Zeros(CreationOpIr { out: out.clone() })),
            1.0 => OperationIr::BaseFloat(BaseOperationIr::Ones(CreationOpIr { out: out.clone() })),
            value => {
                let full = FullOpIr { out: out.clone(), value: ScalarIr::Float(value) };
                OperationIr::NumericFloat(out.dtype, NumericOperationIr::Full(full))
            }
        };
        self.emit.push(op, out)
    }

    fn index(&mut self) {
        for at in self.indexed..self.emit.ops.len() {
            self.definitions.extend(self.emit.ops[at].outputs().map(|out| (out.id, at)));
        }
        self.indexed = self.emit.ops.len();
    }
}

/// Walks a graph. Where `rule` returns a value, it takes the place of the first result of the operation, which must be
/// the only one. Also tells whether that happened at all.
pub(super) fn rewritten(
    graph: Graph,
    mut rule: impl FnMut(&mut Walk, &OperationIr) -> Option<TensorIr>,
) -> (Graph, bool) {
    let emit = Emitter::starting_at(graph.next_id());
    let mut walk = Walk { emit, definitions: HashMap::new(), indexed: 0 };
    let mut names: HashMap<TensorId, TensorId> = HashMap::new();
    for op in graph.ops {
        let op = with_names(op, &names);
        match rule(&mut walk, &op) {
            Some(value) => {
                debug_assert!(op.outputs().count() == 1);
                debug_assert!(op.outputs().all(|out| out.shape == value.shape && out.dtype == value.dtype), "{op:?}");
                names.extend(op.outputs().map(|out| (out.id, value.id)));
            }
            None => walk.emit.ops.push(op),
        }
        walk.index();
    }
    let outputs = graph.outputs.iter().map(|out| named(out, &names)).collect();
    (Graph { inputs: graph.inputs, ops: walk.emit.ops, outputs }, !names.is_empty())
}

/// A value under its new name.
pub(super) fn named(tensor: &TensorIr, names: &HashMap<TensorId, TensorId>) -> TensorIr {
    TensorIr { id: names.get(&tensor.id).copied().unwrap_or(tensor.id), ..tensor.clone() }
}

/// An operation that reads values under their new names.
pub(super) fn with_names(op: OperationIr, names: &HashMap<TensorId, TensorId>) -> OperationIr {
    if !op.inputs().any(|read| names.contains_key(&read.id)) {
        return op;
    }
    let reads: Vec<TensorIr> = op.inputs().map(|read| named(read, names)).collect();
    let outs: Vec<TensorIr> = op.outputs().cloned().collect();
    with_tensors(&op, &reads, &outs)
}
