//! What a linearization keeps of the point, and what every product computes again.
//!
//! Does not know: derivatives, how values are computed.

use std::collections::{HashMap, HashSet};

use burn_ir::{OperationIr, TensorId, TensorIr};

use crate::memory::Memory;
use crate::rules::cost;

/// How much memory a linearization holds between its products.
///
/// A product with the Hessian reads values of the forward and backward pass. Kept, they cost memory for as long as the
/// linearization lives; computed again from point and batch, they cost arithmetic in every product. Results are the same
/// bit for bit: the same operations run on the same numbers. It is a choice about products with the Hessian; the
/// derivatives of vector-valued closures always store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Residuals {
    /// Keeps all that products read. The most memory, the fewest operations per product.
    #[default]
    Store,
    /// Keeps nothing beyond point, batch and constants, which the caller holds anyway. A product then costs up to a gradient
    /// more, and holds what it computes again while it runs.
    Recompute,
    /// Keeps new buffers of at most this many bytes: those that save the most arithmetic per byte. A larger budget never
    /// makes a product dearer. While a product runs, what it computes again comes on top.
    Budget(usize),
}

/// What the linear part gets from outside, and what it runs.
pub(crate) struct Plan {
    /// Values handed over, inputs of the graph among them, in order of first use.
    pub residuals: Vec<TensorIr>,
    /// The linear part, with what is computed again right before its first use.
    pub ops: Vec<OperationIr>,
    /// Bytes of the buffers that the residuals keep alive, beyond those of inputs.
    pub bytes: usize,
}

/// Divides the values that the linear part reads among kept ones and recomputed ones.
pub(crate) fn plan(primal: &[OperationIr], linear: &[OperationIr], reads: Vec<TensorIr>, policy: Residuals) -> Plan {
    let source = Primal::new(primal, &reads);
    let kept = match policy {
        Residuals::Store => vec![true; primal.len()],
        Residuals::Recompute => vec![false; primal.len()],
        Residuals::Budget(bytes) => source.within(bytes),
    };
    let needed = source.needed(&kept);
    let residuals: Vec<TensorIr> = needed.values.iter().map(|&value| source.values[value].clone()).collect();
    let bytes = source.memory.bytes(&residuals);
    Plan { residuals, ops: interleaved(primal, linear, &needed.recomputed), bytes }
}

/// The linear operations, each preceded by those that make what it reads and that have not run yet.
fn interleaved(primal: &[OperationIr], linear: &[OperationIr], recomputed: &[bool]) -> Vec<OperationIr> {
    let makers: HashMap<TensorId, usize> = (0..primal.len())
        .filter(|&at| recomputed[at])
        .flat_map(|at| primal[at].outputs().map(move |out| (out.id, at)))
        .collect();
    let mut done = vec![false; primal.len()];
    let mut ops = Vec::with_capacity(linear.len());
    for op in linear {
        let mut due = Vec::new();
        let mut open: Vec<&TensorIr> = op.inputs().collect();
        while let Some(read) = open.pop() {
            let Some(&at) = makers.get(&read.id) else { continue };
            if !std::mem::replace(&mut done[at], true) {
                due.push(at);
                open.extend(primal[at].inputs());
            }
        }
        due.sort_unstable(); // the order they ran in the first time
        ops.extend(due.into_iter().map(|at| primal[at].clone()));
        ops.push(op.clone());
    }
    // An output may be a value of the point itself.
    ops.extend((0..primal.len()).filter(|&at| recomputed[at] && !done[at]).map(|at| primal[at].clone()));
    ops
}

/// The primal part as numbers: values and the operations that make them.
struct Primal<'a> {
    ops: &'a [OperationIr],
    values: Vec<TensorIr>,
    /// The operation that makes each value; none makes an input.
    makers: Vec<Option<usize>>,
    /// Values each operation reads.
    operands: Vec<Vec<usize>>,
    /// Values the linear part reads.
    reads: Vec<usize>,
    memory: Memory,
}

/// What a choice of kept operations comes to.
struct Needed {
    /// Values handed over.
    values: Vec<usize>,
    /// Operations that run again.
    recomputed: Vec<bool>,
}

impl<'a> Primal<'a> {
    fn new(ops: &'a [OperationIr], reads: &[TensorIr]) -> Self {
        let mut index: HashMap<TensorId, usize> = HashMap::new();
        let (mut values, mut makers): (Vec<TensorIr>, Vec<Option<usize>>) = (Vec::new(), Vec::new());
        let mut number = |tensor: &TensorIr, maker: Option<usize>| {
            *index.entry(tensor.id).or_insert_with(|| {
                values.push(tensor.clone());
                makers.push(maker);
                values.len() - 1
            })
        };
        let mut operands = Vec::with_capacity(ops.len());
        for (at, op) in ops.iter().enumerate() {
            operands.push(op.inputs().map(|read| number(read, None)).collect());
            for out in op.outputs() {
                number(out, Some(at));
            }
        }
        let reads = reads.iter().map(|read| number(read, None)).collect();
        Self { ops, values, makers, operands, reads, memory: Memory::of(ops) }
    }

    /// Walks back from what the linear part reads, as far as kept values and inputs.
    fn needed(&self, kept: &[bool]) -> Needed {
        let mut seen = vec![false; self.values.len()];
        let mut needed = Needed { values: Vec::new(), recomputed: vec![false; self.ops.len()] };
        let mut open: Vec<usize> = self.reads.iter().rev().copied().collect();
        while let Some(value) = open.pop() {
            if std::mem::replace(&mut seen[value], true) {
                continue;
            }
            match self.makers[value] {
                Some(at) if !kept[at] => {
                    if !std::mem::replace(&mut needed.recomputed[at], true) {
                        open.extend(self.operands[at].iter().rev());
                    }
                }
                _ => needed.values.push(value),
            }
        }
        needed
    }

    /// Which operations to keep the results of.
    ///
    /// Operations are ranked by the arithmetic they save per byte of their results, and kept from the top as far as the
    /// budget reaches: what a larger budget keeps contains what a smaller one keeps, so no product gets dearer. Values that
    /// nobody reads any more, since what was made of them is kept itself, take no memory.
    fn within(&self, budget: usize) -> Vec<bool> {
        let ranked = self.ranked();
        let mut kept = vec![false; self.ops.len()];
        ranked.iter().for_each(|&at| kept[at] = true);
        for &at in ranked.iter().rev() {
            if self.bytes(&self.needed(&kept)) <= budget {
                return kept;
            }
            kept[at] = false;
        }
        kept
    }

    fn ranked(&self) -> Vec<usize> {
        let everything = self.needed(&vec![false; self.ops.len()]).recomputed;
        let worth = |at: usize| {
            let op = &self.ops[at];
            let bytes = op.outputs().map(|out| self.memory.size(out.id)).sum::<usize>();
            // A view costs nothing to make again, whatever its row says.
            let saved = if bytes == 0 { 0 } else { cost(op).flops };
            (saved as f64 / bytes.max(1) as f64, bytes)
        };
        let mut ranked: Vec<(usize, (f64, usize))> =
            (0..self.ops.len()).filter(|&at| everything[at]).map(|at| (at, worth(at))).collect();
        ranked.sort_by(|(_, (a, a_bytes)), (_, (b, b_bytes))| b.total_cmp(a).then(a_bytes.cmp(b_bytes)));
        ranked.into_iter().map(|(at, _)| at).collect()
    }

    fn bytes(&self, needed: &Needed) -> usize {
        let roots: HashSet<TensorId> =
            needed.values.iter().map(|&value| self.memory.root(self.values[value].id)).collect();
        roots.into_iter().map(|root| self.memory.size(root)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::emit::Emitter;
    use burn::tensor::DType;

    /// A chain `x -> exp -> exp -> sqrt`, of which the linear part reads the last two.
    struct Chain {
        primal: Vec<OperationIr>,
        linear: Vec<OperationIr>,
        values: [TensorIr; 4],
    }

    fn chain() -> Chain {
        let mut e = Emitter::starting_at(0);
        let (x, t) = (e.value([10].into(), DType::F64), e.value([10].into(), DType::F64));
        let a = e.exp(&x);
        let b = e.exp(&a);
        let c = e.sqrt(&b);
        let primal = std::mem::take(&mut e.ops);
        let first = e.mul(&t, &b);
        e.mul(&first, &c);
        Chain { primal, linear: e.ops, values: [x, a, b, c] }
    }

    fn planned(policy: Residuals) -> (Vec<u64>, Vec<String>, usize) {
        let Chain { primal, linear, values: [_, _, b, c] } = chain();
        let plan = plan(&primal, &linear, vec![b, c], policy);
        let names = plan.ops.iter().map(crate::graph::op_name);
        (plan.residuals.iter().map(|value| value.id.value()).collect(), names.collect(), plan.bytes)
    }

    #[test]
    fn stored_values_are_those_read() {
        let [_, _, b, c] = chain().values.map(|value| value.id.value());
        let (residuals, ops, bytes) = planned(Residuals::Store);
        assert_eq!((residuals, bytes), (vec![b, c], 160));
        assert_eq!(ops, ["NumericFloat::Mul", "NumericFloat::Mul"]);
    }

    #[test]
    fn recomputed_values_come_right_before_their_use() {
        let (residuals, ops, bytes) = planned(Residuals::Recompute);
        assert_eq!((residuals, bytes), (vec![chain().values[0].id.value()], 0));
        assert_eq!(ops, ["Float::Exp", "Float::Exp", "NumericFloat::Mul", "Float::Sqrt", "NumericFloat::Mul"]);
    }

    #[test]
    fn a_budget_is_kept_and_more_of_it_is_never_dearer() {
        let mut before = usize::MAX;
        for budget in [0, 79, 80, 159, 160, 1000] {
            let (_, ops, bytes) = planned(Residuals::Budget(budget));
            assert!(bytes <= budget, "{bytes} bytes of {budget}");
            assert!(ops.len() <= before);
            before = ops.len();
        }
        assert_eq!(before, 2);
        assert_eq!(planned(Residuals::Budget(0)), planned(Residuals::Recompute));
        assert_eq!(planned(Residuals::Budget(160)), planned(Residuals::Store));
    }
}
