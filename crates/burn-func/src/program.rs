//! A graph made ready to run: scheduled, with the last use of every buffer marked.
//!
//! Does not know: derivatives, which device runs it.

use std::collections::{HashMap, HashSet};

use burn_ir::{OperationIr, TensorId, TensorIr, TensorStatus};

use crate::graph::{Graph, with_tensors};
use crate::rules::{Cost, cost};
use crate::stop::is_stop;

/// Operations with statuses: a buffer is handed over to its last reader, which may overwrite it, and dropped when the
/// last reader cannot take it.
#[derive(Debug)]
pub struct Program {
    pub(crate) inputs: Vec<TensorIr>,
    pub(crate) ops: Vec<OperationIr>,
    pub(crate) outputs: Vec<TensorIr>,
    cost: Cost,
}

impl Program {
    /// Schedules a graph in its own order.
    pub fn new(graph: &Graph) -> Self {
        let (ops, outputs) = without_stops(graph);
        let cost = ops.iter().map(cost).sum();
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
            inputs: graph.inputs.iter().map(|input| input.tensor.clone()).collect(),
            ops: scheduled,
            outputs: outputs.iter().map(with_status).collect(),
            cost,
        }
    }

    /// Arithmetic and memory traffic of one run.
    pub fn cost(&self) -> Cost {
        self.cost
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

/// A stopped gradient computes nothing: its result is another name of its input.
fn without_stops(graph: &Graph) -> (Vec<OperationIr>, Vec<TensorIr>) {
    let mut names: HashMap<TensorId, TensorId> = HashMap::new();
    let rename = |names: &HashMap<_, _>, tensor: &TensorIr| TensorIr {
        id: names.get(&tensor.id).copied().unwrap_or(tensor.id),
        ..tensor.clone()
    };
    let mut ops = Vec::with_capacity(graph.ops.len());
    for op in &graph.ops {
        let reads: Vec<TensorIr> = op.inputs().map(|read| rename(&names, read)).collect();
        let outs: Vec<TensorIr> = op.outputs().cloned().collect();
        match is_stop(op) {
            true => drop(names.insert(outs[0].id, reads[0].id)),
            false => ops.push(with_tensors(op, &reads, &outs)),
        }
    }
    let outputs = graph.outputs.iter().map(|out| rename(&names, out)).collect();
    (ops, outputs)
}
