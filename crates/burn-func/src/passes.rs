//! Rewrites of a graph that leave its results as they are.
//!
//! Does not know: derivatives, devices.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use burn_ir::{OperationIr, TensorId, TensorIr};

use crate::graph::{Graph, with_tensors};

/// Computes equal things once and drops what no output needs.
///
/// Reverse mode recomputes forward values (the `tanh` of its own derivative, say), and so do derivative formulas.
pub(crate) fn simplified(graph: &Graph) -> Graph {
    let mut seen: HashMap<u64, Vec<usize>> = HashMap::new();
    let mut renamed: HashMap<TensorId, TensorId> = HashMap::new();
    let mut ops: Vec<OperationIr> = Vec::new();
    for op in &graph.ops {
        let op = rename_reads(op, &renamed);
        let key = anonymous(&op);
        let bucket = seen.entry(hash(&key)).or_default();
        match bucket.iter().find(|&&at| anonymous(&ops[at]) == key) {
            Some(&at) => {
                let same = ops[at].outputs().map(|out| out.id);
                renamed.extend(op.outputs().map(|out| out.id).zip(same));
            }
            None => {
                bucket.push(ops.len());
                ops.push(op);
            }
        }
    }
    let outputs = graph.outputs.iter().map(|out| renamed_tensor(out, &renamed)).collect();
    Graph { inputs: graph.inputs.clone(), ops, outputs: Vec::new() }.restricted_to(outputs)
}

fn renamed_tensor(tensor: &TensorIr, renamed: &HashMap<TensorId, TensorId>) -> TensorIr {
    let mut tensor = tensor.clone();
    tensor.id = renamed.get(&tensor.id).copied().unwrap_or(tensor.id);
    tensor
}

fn rename_reads(op: &OperationIr, renamed: &HashMap<TensorId, TensorId>) -> OperationIr {
    let reads: Vec<TensorIr> = op.inputs().map(|read| renamed_tensor(read, renamed)).collect();
    let outs: Vec<TensorIr> = op.outputs().cloned().collect();
    with_tensors(op, &reads, &outs)
}

/// The operation with its results' ids taken out, which equal operations agree in.
fn anonymous(op: &OperationIr) -> OperationIr {
    let reads: Vec<TensorIr> = op.inputs().cloned().collect();
    let mut outs: Vec<TensorIr> = op.outputs().cloned().collect();
    outs.iter_mut().for_each(|out| out.id = TensorId::new(u64::MAX));
    with_tensors(op, &reads, &outs)
}

fn hash(op: &OperationIr) -> u64 {
    let mut hasher = DefaultHasher::new();
    op.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::emit::Emitter;
    use crate::graph::{Input, Role};
    use burn::tensor::DType;

    #[test]
    fn equal_operations_merge_and_unused_ones_go() {
        let mut emit = Emitter::starting_at(0);
        let x = emit.value([4].into(), DType::F32);
        let (a, b) = (emit.exp(&x), emit.exp(&x));
        let (p, q) = (emit.mul_scalar(&a, 2.0), emit.mul_scalar(&b, 2.0)); // equal once `b` is `a`
        let other = emit.mul_scalar(&a, 3.0); // differs in the number alone
        let _unused = emit.sqrt(&x);
        let pq = emit.add(&p, &q);
        let out = emit.add(&pq, &other);
        let graph = Graph { inputs: vec![Input { tensor: x, role: Role::Batch }], ops: emit.ops, outputs: vec![out] };
        let simple = simplified(&graph);
        simple.check().unwrap();
        assert_eq!(graph.ops.len(), 8);
        assert_eq!(simple.ops.len(), 5);
    }
}
