//! Common subexpressions: equal operations on equal operands are computed once.
//!
//! Does not know: what an operation computes, but that a sum and a product do not mind the order of their operands.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use burn_ir::{IrVisitorMut, NumericOperationIr, OperationIr, TensorId, TensorIr};

use super::rewrite::{named, with_names};
use crate::graph::{Graph, with_tensors};

/// Merges equal operations. Keeps every bit.
pub(super) fn common_subexpressions(graph: Graph) -> Graph {
    let mut seen: HashMap<u64, Vec<(OperationIr, usize)>> = HashMap::new();
    let mut names: HashMap<TensorId, TensorId> = HashMap::new();
    let mut ops: Vec<OperationIr> = Vec::with_capacity(graph.ops.len());
    for op in graph.ops {
        let op = with_names(op, &names);
        let key = anonymous(&op);
        let bucket = seen.entry(hash(&key)).or_default();
        match bucket.iter().find(|(other, _)| *other == key) {
            Some(&(_, at)) => {
                let same = ops[at].outputs().map(|out| out.id);
                names.extend(op.outputs().map(|out| out.id).zip(same));
            }
            None => {
                bucket.push((key, ops.len()));
                ops.push(op);
            }
        }
    }
    let outputs = graph.outputs.iter().map(|out| named(out, &names)).collect();
    Graph { inputs: graph.inputs, ops, outputs }
}

/// The operation with its results' ids taken out and its operands in an order of their own, which equal ones agree in.
fn anonymous(op: &OperationIr) -> OperationIr {
    let mut key = op.clone();
    if commutes(op) {
        let mut reads: Vec<TensorIr> = op.inputs().cloned().collect();
        let outs: Vec<TensorIr> = op.outputs().cloned().collect();
        reads.sort_by_key(|read| read.id);
        key = with_tensors(op, &reads, &outs);
    }
    key.visit_mut(&mut Anonymous { operands: op.inputs().count() });
    key
}

/// Takes out the ids of what comes after the operands.
struct Anonymous {
    operands: usize,
}

impl IrVisitorMut for Anonymous {
    fn visit_tensor_mut(&mut self, tensor: &mut TensorIr) {
        match self.operands.checked_sub(1) {
            Some(left) => self.operands = left,
            None => tensor.id = TensorId::new(u64::MAX),
        }
    }
}

fn commutes(op: &OperationIr) -> bool {
    use NumericOperationIr::{Add, Mul};
    matches!(op, OperationIr::NumericFloat(_, Add(_) | Mul(_)) | OperationIr::NumericInt(_, Add(_) | Mul(_)))
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
    fn sums_and_products_commute_and_differences_do_not() {
        let mut emit = Emitter::starting_at(0);
        let (x, y) = (emit.value([4].into(), DType::F64), emit.value([4].into(), DType::F64));
        let outputs = vec![emit.mul(&x, &y), emit.mul(&y, &x), emit.add(&x, &y), emit.add(&y, &x), emit.sub(&x, &y)];
        let outputs = [outputs, vec![emit.sub(&y, &x)]].concat();
        let inputs = [x, y].map(|tensor| Input { tensor, role: Role::Batch }).to_vec();
        let merged = common_subexpressions(Graph { inputs, ops: emit.ops, outputs });
        merged.check().unwrap();
        assert_eq!(merged.ops.len(), 4);
        let ids: Vec<u64> = merged.outputs.iter().map(|out| out.id.value()).collect();
        assert!(ids[0] == ids[1] && ids[2] == ids[3] && ids[4] != ids[5], "{ids:?}");
    }
}
