//! A graph made ready to run: scheduled, with the last use of every buffer marked.
//!
//! Does not know: derivatives, which device runs it.

use std::collections::{HashMap, HashSet};

use burn_ir::{OperationIr, TensorId, TensorIr, TensorStatus};

use crate::error::Transform;
use crate::graph::{Graph, with_tensors};
use crate::lower::lowered;
use crate::memory::Memory;
use crate::rules::{Cost, cost};

/// Operations with statuses: a buffer is handed over to its last reader, which may overwrite it, and dropped when the
/// last reader cannot take it.
#[derive(Debug)]
pub struct Program {
    pub(crate) inputs: Vec<TensorIr>,
    pub(crate) ops: Vec<OperationIr>,
    pub(crate) outputs: Vec<TensorIr>,
    cost: Cost,
    peak_bytes: usize,
}

impl Program {
    /// Schedules a graph in its own order, in plain operations. What cannot be expanded stays as it is, and fails when it
    /// runs; [`expands`](crate::lower::expands) has told before.
    pub fn new(graph: &Graph) -> Self {
        let Graph { inputs, ops, outputs } = lowered(graph, Transform::Jvp).unwrap_or_else(|_| graph.clone());
        let cost = ops.iter().map(cost).sum();
        let peak_bytes = Memory::of(&ops).peak(&ops, &outputs);
        let kept: HashSet<TensorId> = outputs.iter().map(|out| out.id).collect();
        let mut last = HashMap::new();
        for (at, op) in ops.iter().enumerate() {
            last.extend(op.inputs().map(|read| (read.id, at)));
        }
        let mut scheduled = Vec::with_capacity(ops.len());
        for (at, op) in ops.iter().enumerate() {
            let dies = |tensor: &TensorIr| !kept.contains(&tensor.id) && last.get(&tensor.id).is_none_or(|&l| l == at);
            schedule(op, dies, &mut scheduled);
        }
        let with_status = |tensor: &TensorIr| TensorIr { status: TensorStatus::ReadOnly, ..tensor.clone() };
        Self {
            inputs: inputs.into_iter().map(|input| input.tensor).collect(),
            ops: scheduled,
            outputs: outputs.iter().map(with_status).collect(),
            cost,
            peak_bytes,
        }
    }

    /// Arithmetic and memory traffic of one run.
    pub fn cost(&self) -> Cost {
        self.cost
    }

    /// Bytes allocated at most at a time in one run, results included and inputs not: an estimate from shapes and last uses.
    pub fn peak_bytes(&self) -> usize {
        self.peak_bytes
    }

    /// Operations that compute something.
    pub fn operations(&self) -> usize {
        self.ops.iter().filter(|op| !matches!(op, OperationIr::Drop(_))).count()
    }
}

/// Appends an operation with statuses, and drops for the buffers nobody takes over.
fn schedule(op: &OperationIr, dies: impl Fn(&TensorIr) -> bool, scheduled: &mut Vec<OperationIr>) {
    let reads: Vec<&TensorIr> = op.inputs().collect();
    let mut drops: Vec<TensorIr> = Vec::new();
    let mut operands = Vec::with_capacity(reads.len());
    for read in &reads {
        let once = reads.iter().filter(|other| other.id == read.id).count() == 1;
        let status = if dies(read) && once { TensorStatus::ReadWrite } else { TensorStatus::ReadOnly };
        operands.push(TensorIr { status, ..(*read).clone() });
        if dies(read) && !once && drops.iter().all(|drop| drop.id != read.id) {
            drops.push((*read).clone());
        }
    }
    let results: Vec<TensorIr> = op.outputs().cloned().collect();
    drops.extend(results.iter().filter(|out| dies(out)).cloned());
    scheduled.push(with_tensors(op, &operands, &results));
    let drop = |tensor: TensorIr| OperationIr::Drop(TensorIr { status: TensorStatus::ReadWrite, ..tensor });
    scheduled.extend(drops.into_iter().map(drop));
}
#[cfg(test)]
mod tests {
    use super::*;
    use crate::emit::Emitter;
    use crate::graph::{Input, Role};
    use burn::tensor::DType;

    /// What each operation does to the buffers it reads: `w` may overwrite, `r` may not; drops by themselves.
    fn schedule_of(program: &Program) -> Vec<String> {
        let status = |tensor: &TensorIr| match tensor.status {
            TensorStatus::ReadWrite => format!("w{}", tensor.id.value()),
            TensorStatus::ReadOnly => format!("r{}", tensor.id.value()),
            TensorStatus::NotInit => "?".into(),
        };
        let line = |op: &OperationIr| match op {
            OperationIr::Drop(tensor) => format!("drop {}", tensor.id.value()),
            op => op.inputs().map(status).collect::<Vec<_>>().join(" "),
        };
        program.ops.iter().map(line).collect()
    }

    #[test]
    fn every_buffer_goes_at_its_last_use() {
        let mut e = Emitter::starting_at(0);
        let x = e.value([4].into(), DType::F64); // 0
        let a = e.exp(&x); // 1, read twice more
        let b = e.mul(&a, &a); // 2, read once, dies in the next but one
        let c = e.add(&b, &a); // 3, the last use of both
        let square = e.mul(&c, &c); // 4; an operand that stands twice cannot be handed over
        let inputs = vec![Input { tensor: x.clone(), role: Role::Parameter }];
        let program = Program::new(&Graph { inputs, ops: e.ops, outputs: vec![square.clone(), square] });
        assert_eq!(schedule_of(&program), ["w0", "r1 r1", "w2 w1", "r3 r3", "drop 3"]);
        assert_eq!(program.operations(), 4);
        assert_eq!(program.peak_bytes(), 96); // a, b and c side by side
    }

    #[test]
    fn outputs_and_unread_results() {
        let mut e = Emitter::starting_at(0);
        let x = e.value([4].into(), DType::F64);
        let a = e.exp(&x);
        let b = e.exp(&a);
        let _unread = e.exp(&b);
        let inputs = vec![Input { tensor: x, role: Role::Parameter }];
        let program = Program::new(&Graph { inputs, ops: e.ops, outputs: vec![a, b] });
        assert_eq!(schedule_of(&program), ["w0", "r1", "r2", "drop 3"]);
    }
}
