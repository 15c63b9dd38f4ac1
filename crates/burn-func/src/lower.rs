//! Expands operations of somebody's own into plain ones, and one of Burn's that is wrong.
//!
//! Does not know: derivatives, who wrote them.

use std::collections::HashMap;

use burn::tensor::DType;
use burn_ir::{IrVisitorMut, OperationIr, TensorId, TensorIr};

use crate::conv1d::mended;
use crate::emit::Emitter;
use crate::error::{Error, Result, Transform};
use crate::graph::{Graph, op_name, with_tensors};
use crate::rules::custom::{UNREGISTERED, registered};
use crate::stop::is_stop;

/// The graph in plain operations. Where an operation expands into one of its inputs, as a stopped gradient does, its
/// result becomes another name of that input.
///
/// # Errors
///
/// [`Error::Unsupported`] for an operation without a rule, [`Error::Malformed`] for one whose rule is wrong.
pub(crate) fn lowered(graph: &Graph, transform: Transform) -> Result<Graph> {
    let mut names: HashMap<TensorId, TensorId> = HashMap::new();
    let mut emit = Emitter::starting_at(graph.next_id());
    for op in &graph.ops {
        let op = renamed(op, &names);
        if let Some((out, result)) = mended(&mut emit, &op) {
            names.insert(out, result);
            continue;
        }
        let OperationIr::Custom(custom) = &op else {
            emit.ops.push(op);
            continue;
        };
        let Some(rule) = registered(&custom.id) else {
            return Err(Error::Unsupported { op: op_name(&op), transform, reason: UNREGISTERED.into() });
        };
        let result = rule.lowered(&mut emit, custom)?;
        names.extend(custom.outputs.iter().map(|out| (out.id, result.id)));
    }
    let outputs = graph.outputs.iter().map(|out| named(out, &names)).collect();
    Ok(Graph { inputs: graph.inputs.clone(), ops: emit.ops, outputs })
}

/// Checks that everything in a graph can be expanded, into something sound.
///
/// # Errors
///
/// As [`lowered`].
pub(crate) fn expands(graph: &Graph, transform: Transform) -> Result<()> {
    match graph.ops.iter().any(|op| matches!(op, OperationIr::Custom(_)) && !is_stop(op)) {
        true => lowered(graph, transform)?.check(),
        false => Ok(()),
    }
}

/// The graph in plain operations, booleans stored in one way: rules emit masks without knowing the device. What cannot be
/// expanded stays, see [`expands`].
pub(crate) fn plain(graph: &Graph, bool_dtype: DType) -> Graph {
    stored(lowered(graph, Transform::Jvp).unwrap_or_else(|_| graph.clone()), bool_dtype)
}

/// The graph with its booleans stored in one way.
pub(crate) fn stored(mut graph: Graph, bool_dtype: DType) -> Graph {
    let mut booleans = Booleans(bool_dtype);
    graph.inputs.iter_mut().for_each(|input| booleans.visit_tensor_mut(&mut input.tensor));
    graph.ops.iter_mut().for_each(|op| op.visit_mut(&mut booleans));
    graph.outputs.iter_mut().for_each(|out| booleans.visit_tensor_mut(out));
    graph
}

struct Booleans(DType);

impl IrVisitorMut for Booleans {
    fn visit_tensor_mut(&mut self, tensor: &mut TensorIr) {
        if tensor.dtype.is_bool() {
            tensor.dtype = self.0;
        }
    }
}

fn named(tensor: &TensorIr, names: &HashMap<TensorId, TensorId>) -> TensorIr {
    TensorIr { id: names.get(&tensor.id).copied().unwrap_or(tensor.id), ..tensor.clone() }
}

fn renamed(op: &OperationIr, names: &HashMap<TensorId, TensorId>) -> OperationIr {
    let reads: Vec<TensorIr> = op.inputs().map(|read| named(read, names)).collect();
    let outs: Vec<TensorIr> = op.outputs().cloned().collect();
    with_tensors(op, &reads, &outs)
}

#[cfg(test)]
mod tests {
    use burn_ir::CustomOpIr;

    use super::*;
    use crate::graph::{Input, Role};

    #[test]
    fn what_has_no_rule_is_named() {
        let mut emit = Emitter::starting_at(0);
        let x = emit.value([2].into(), DType::F64);
        let y = emit.like(&x);
        let op = CustomOpIr::new("nobody.knows", std::slice::from_ref(&x), std::slice::from_ref(&y));
        emit.ops.push(OperationIr::Custom(op));
        let graph = Graph { inputs: vec![Input { tensor: x, role: Role::Parameter }], ops: emit.ops, outputs: vec![y] };
        let error = lowered(&graph, Transform::Trace).unwrap_err();
        assert!(matches!(&error, Error::Unsupported { op, .. } if op == "Custom::nobody.knows"), "{error}");
        let error = crate::linearize::linearize(&graph, &graph.outputs).unwrap_err();
        assert!(matches!(&error, Error::Unsupported { op, .. } if op == "Custom::nobody.knows"), "{error}");
    }
}
