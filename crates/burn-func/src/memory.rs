//! Which values of a list of operations share a buffer, and what it takes to hold them.
//!
//! An estimate after what the CPU backend does: transposes, permutations, expansions and slices are views that keep the
//! whole buffer they look into; a reshape is one unless what it reads is laid out out of order, which makes it a copy.
//!
//! Does not know: padding and workspace of kernels, what a device overwrites in place, what an allocator keeps.

use std::collections::{HashMap, HashSet};

use burn_ir::{BaseOperationIr as Base, OperationIr, TensorId, TensorIr};

use crate::stop::is_stop;

/// The buffers behind the values of some operations.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    /// The value that a view looks into.
    source: HashMap<TensorId, TensorId>,
    /// Values not laid out in row-major order.
    strided: HashSet<TensorId>,
    /// Size of every buffer that an operation makes. Inputs are the caller's and have none.
    made: HashMap<TensorId, usize>,
}

impl Memory {
    /// Memory of all results of operations in order.
    pub fn of(ops: &[OperationIr]) -> Self {
        let mut memory = Self::default();
        for op in ops {
            memory.extend(op);
        }
        memory
    }

    fn extend(&mut self, op: &OperationIr) {
        match self.view(op) {
            Some((input, out)) => drop(self.source.insert(out.id, self.root(input.id))),
            None => self.made.extend(op.outputs().map(|out| (out.id, size(out)))),
        }
    }

    /// Input and result of a view, noting whether the result is in order.
    fn view<'a>(&mut self, op: &'a OperationIr) -> Option<(&'a TensorIr, &'a TensorIr)> {
        let (input, out) = (op.inputs().next()?, op.outputs().next()?);
        let strided = match op {
            OperationIr::BaseFloat(op) | OperationIr::BaseInt(op) | OperationIr::BaseBool(op) => match op {
                Base::Reshape(_) if self.strided.contains(&input.id) => return None,
                Base::Reshape(_) => false,
                Base::SwapDims(_) | Base::Permute(_) | Base::Expand(_) | Base::Slice(_) => true,
                _ => return None,
            },
            op if is_stop(op) => self.strided.contains(&input.id),
            _ => return None,
        };
        if strided {
            self.strided.insert(out.id);
        }
        Some((input, out))
    }

    /// The value whose buffer a value lives in.
    pub fn root(&self, value: TensorId) -> TensorId {
        self.source.get(&value).copied().unwrap_or(value)
    }

    /// Size of the buffer of a root; 0 for an input.
    pub fn size(&self, root: TensorId) -> usize {
        self.made.get(&root).copied().unwrap_or_default()
    }

    /// Bytes of the buffers behind some values, each counted once and inputs not at all.
    pub fn bytes<'a>(&self, values: impl IntoIterator<Item = &'a TensorIr>) -> usize {
        let roots: HashSet<TensorId> = values.into_iter().map(|value| self.root(value.id)).collect();
        roots.into_iter().map(|root| self.size(root)).sum()
    }

    /// The most that is alive at once when the operations run in order and every buffer goes after its last use. Operands
    /// and results of an operation stand side by side.
    pub fn peak(&self, ops: &[OperationIr], outputs: &[TensorIr]) -> usize {
        let kept: HashSet<TensorId> = outputs.iter().map(|out| self.root(out.id)).collect();
        let mut last: HashMap<TensorId, usize> = HashMap::new();
        for (at, op) in ops.iter().enumerate() {
            last.extend(op.nodes().into_iter().map(|value| (self.root(value.id), at)));
        }
        let mut dying: Vec<Vec<TensorId>> = vec![Vec::new(); ops.len()];
        for (root, at) in last {
            if !kept.contains(&root) {
                dying[at].push(root);
            }
        }
        let (mut alive, mut peak) = (0, 0);
        for (op, dying) in ops.iter().zip(dying) {
            alive += op.outputs().map(|out| self.size(out.id)).sum::<usize>();
            peak = peak.max(alive);
            alive -= dying.into_iter().map(|root| self.size(root)).sum::<usize>();
        }
        peak
    }
}

fn size(tensor: &TensorIr) -> usize {
    tensor.shape.num_elements() * tensor.dtype.size()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::emit::{Emitter, base};
    use burn::tensor::DType;
    use burn_ir::SwapDimsOpIr;

    fn transposed(e: &mut Emitter, x: &TensorIr) -> TensorIr {
        let mut shape = x.shape.clone();
        shape.swap(0, 1);
        let out = e.value(shape, x.dtype);
        let swap = SwapDimsOpIr { input: x.clone(), out: out.clone(), dim1: 0, dim2: 1 };
        e.push(base(&out, Base::SwapDims(swap)), out)
    }

    #[test]
    fn a_view_has_no_bytes_of_its_own_and_a_copy_has() {
        let mut e = Emitter::starting_at(0);
        let x = e.value([2, 5].into(), DType::F64);
        let of_input = e.reshape(&x, [10].into());
        let y = e.exp(&x);
        let across = transposed(&mut e, &y);
        let flat = e.reshape(&across, [10].into()); // out of order: a copy
        let memory = Memory::of(&e.ops);
        assert_eq!(memory.bytes([&x, &of_input]), 0);
        assert_eq!(memory.bytes([&y, &across]), 80);
        assert_eq!(memory.bytes([&y, &across, &flat]), 160);
    }

    #[test]
    fn the_peak_counts_what_is_alive_at_once() {
        let mut e = Emitter::starting_at(0);
        let x = e.value([10].into(), DType::F64);
        let a = e.exp(&x);
        let b = e.exp(&a); // a and b: 160
        let c = e.exp(&b); // a is gone, b and c: 160
        let wide = e.reshape(&c, [1, 10].into()); // the same buffer
        let out = e.add(&wide, &wide); // c and the result: 160
        assert_eq!(Memory::of(&e.ops).peak(&e.ops, std::slice::from_ref(&out)), 160);
        // With `a` an output too it stays: 240.
        assert_eq!(Memory::of(&e.ops).peak(&e.ops, &[a, out]), 240);
    }
}
