//! The graph every transform reads and writes: operations of Burn's own intermediate representation in SSA form.
//!
//! A value is a [`TensorId`] that one operation, or one input, defines. Tensor statuses (who may overwrite a buffer) are
//! meaningless here: a program assigns them when it is scheduled.
//!
//! Does not know: derivative rules, ownership of buffers, devices.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};

use burn_ir::{
    FloatOperationIr, IrVisitorMut, NumericOperationIr, OperationIr, RandomOpIr, TensorId, TensorIr, TensorStatus,
};

use crate::attributes::attributes;
use crate::error::{Error, Result};

/// What an input of a graph stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// A parameter that requires a gradient.
    Parameter,
    /// A tensor of the batch.
    Batch,
    /// A value frozen when the closure was traced: a buffer, a frozen parameter, a captured tensor.
    Constant,
    /// Random numbers, drawn anew for every key.
    Random,
    /// The tangent of a parameter.
    Tangent,
    /// A value saved by the primal part for the linear part.
    Residual,
}

/// An input of a graph.
#[derive(Clone, Debug, PartialEq, Hash)]
pub struct Input {
    /// Its value.
    pub tensor: TensorIr,
    /// What it stands for.
    pub role: Role,
}

/// Operations in execution order, with ordered inputs and outputs.
#[derive(Clone, Debug, Default, PartialEq, Hash)]
pub struct Graph {
    /// Inputs, in the order in which values are supplied.
    pub inputs: Vec<Input>,
    /// Operations; each reads inputs and results of earlier ones.
    pub ops: Vec<OperationIr>,
    /// Results, in the order in which they are handed back. An output may be an input, or stand twice.
    pub outputs: Vec<TensorIr>,
}

impl Graph {
    /// Inputs of one role, in order.
    pub fn inputs_of(&self, role: Role) -> impl Iterator<Item = &TensorIr> {
        self.inputs.iter().filter(move |input| input.role == role).map(|input| &input.tensor)
    }

    /// A hash of everything the graph says: operations, attributes, shapes, types, roles.
    pub fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.hash(&mut hasher);
        hasher.finish()
    }

    /// The first id above all that the graph uses.
    pub(crate) fn next_id(&self) -> u64 {
        let defined = self.inputs.iter().map(|input| &input.tensor).chain(self.ops.iter().flat_map(|op| op.outputs()));
        defined.map(|tensor| tensor.id.value() + 1).max().unwrap_or(0)
    }

    /// Checks that every value is defined once, before its first use, and used as it was defined (shape, type).
    ///
    /// # Errors
    ///
    /// [`Error::Malformed`] with the operations around the fault.
    pub fn check(&self) -> Result<()> {
        let mut defined: HashMap<TensorId, &TensorIr> = HashMap::new();
        for input in &self.inputs {
            if defined.insert(input.tensor.id, &input.tensor).is_some() {
                return Err(self.malformed(0, format!("input {} stands twice", Id(input.tensor.id))));
            }
        }
        for (at, op) in self.ops.iter().enumerate() {
            for read in op.inputs() {
                self.check_use(at, read, &defined)?;
            }
            for out in op.outputs() {
                if defined.insert(out.id, out).is_some() {
                    return Err(self.malformed(at, format!("{} is defined twice", Id(out.id))));
                }
            }
        }
        self.outputs.iter().try_for_each(|out| self.check_use(self.ops.len(), out, &defined))
    }

    fn check_use(&self, at: usize, read: &TensorIr, defined: &HashMap<TensorId, &TensorIr>) -> Result<()> {
        match defined.get(&read.id) {
            None => Err(self.malformed(at, format!("{} is read before it is defined", Id(read.id)))),
            Some(def) if def.shape != read.shape || def.dtype != read.dtype => {
                Err(self
                    .malformed(at, format!("{} is defined as {} and read as {}", Id(read.id), Type(def), Type(read))))
            }
            Some(_) => Ok(()),
        }
    }

    fn malformed(&self, at: usize, problem: String) -> Error {
        let (from, to) = (at.saturating_sub(3), (at + 3).min(self.ops.len()));
        let lines: Vec<String> = self.ops[from..to].iter().map(|op| format!("  {}", Line(op))).collect();
        Error::Malformed { problem, context: lines.join("\n") }
    }

    /// Keeps the given outputs and what they need; inputs stay as they are.
    pub(crate) fn restricted_to(&self, outputs: Vec<TensorIr>) -> Graph {
        let mut needed: HashSet<TensorId> = outputs.iter().map(|out| out.id).collect();
        let mut ops = Vec::new();
        for op in self.ops.iter().rev() {
            if op.outputs().any(|out| needed.contains(&out.id)) {
                needed.extend(op.inputs().map(|input| input.id));
                ops.push(op.clone());
            }
        }
        ops.reverse();
        Graph { inputs: self.inputs.clone(), ops, outputs }
    }
}

impl fmt::Display for Graph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for input in &self.inputs {
            writeln!(f, "{} : {} = input {:?}", Id(input.tensor.id), Type(&input.tensor), input.role)?;
        }
        for op in &self.ops {
            writeln!(f, "{}", Line(op))?;
        }
        let outputs: Vec<String> = self.outputs.iter().map(|out| Id(out.id).to_string()).collect();
        write!(f, "return {}", outputs.join(", "))
    }
}

pub(crate) struct Id(pub TensorId);

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "%{}", self.0.value())
    }
}

pub(crate) struct Type<'a>(pub &'a TensorIr);

impl fmt::Display for Type<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}{:?}", self.0.dtype, self.0.shape.as_slice())
    }
}

struct Line<'a>(&'a OperationIr);

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let outs: Vec<String> = self.0.outputs().map(|out| format!("{} : {}", Id(out.id), Type(out))).collect();
        let reads = self.0.inputs().map(|read| Id(read.id).to_string());
        let arguments: Vec<String> = reads.chain(attributes(self.0)).collect();
        write!(f, "{} = {}({})", outs.join(", "), op_name(self.0), arguments.join(", "))
    }
}

/// What an operation draws, if it is a random one.
pub(crate) fn as_random(op: &OperationIr) -> Option<&RandomOpIr> {
    match op {
        OperationIr::Float(_, FloatOperationIr::Random(random))
        | OperationIr::NumericFloat(_, NumericOperationIr::IntRandom(random))
        | OperationIr::NumericInt(_, NumericOperationIr::IntRandom(random)) => Some(random),
        _ => None,
    }
}

/// Name of an operation as the intermediate representation spells it, as in `NumericFloat::Add`.
pub fn op_name(op: &OperationIr) -> String {
    if let OperationIr::Custom(custom) = op {
        return format!("Custom::{}", custom.id);
    }
    let text = format!("{op:?}");
    let is_name = |part: &&str| part.starts_with(|c: char| c.is_ascii_uppercase()) && !part.ends_with("Ir");
    let mut words = text.split(|c: char| !c.is_alphanumeric()).filter(is_name);
    let family = words.next().unwrap_or_default().to_owned();
    // Families that carry a type name it first: `NumericFloat(F32, Add(..))`.
    let typed = matches!(family.as_str(), "NumericFloat" | "NumericInt" | "Float");
    match words.nth(usize::from(typed)) {
        Some(kind) => format!("{family}::{kind}"),
        None => family,
    }
}

struct Replace<'a> {
    tensors: std::slice::Iter<'a, TensorIr>,
}

impl IrVisitorMut for Replace<'_> {
    fn visit_tensor_mut(&mut self, tensor: &mut TensorIr) {
        if let Some(new) = self.tensors.next() {
            *tensor = new.clone();
        }
    }
}

/// The same operation on other operands and results: `operands` in the order of `op.inputs()`, then `results`.
pub fn with_tensors(op: &OperationIr, operands: &[TensorIr], results: &[TensorIr]) -> OperationIr {
    let tensors = [operands, results].concat();
    debug_assert_eq!(tensors.len(), op.nodes().len());
    let mut op = op.clone();
    op.visit_mut(&mut Replace { tensors: tensors.iter() });
    op
}

struct Renumber<'a> {
    ids: &'a mut HashMap<TensorId, TensorId>,
}

impl IrVisitorMut for Renumber<'_> {
    fn visit_tensor_mut(&mut self, tensor: &mut TensorIr) {
        let next = TensorId::new(self.ids.len() as u64);
        tensor.id = *self.ids.entry(tensor.id).or_insert(next);
        tensor.status = TensorStatus::NotInit;
    }
}

/// Rewrites a graph with dense ids in order of definition and without statuses, so that equal graphs compare equal.
pub(crate) fn normalized(mut graph: Graph) -> Graph {
    let mut ids = HashMap::new();
    let mut renumber = Renumber { ids: &mut ids };
    for input in &mut graph.inputs {
        renumber.visit_tensor_mut(&mut input.tensor);
    }
    for op in &mut graph.ops {
        op.visit_mut(&mut renumber);
    }
    for out in &mut graph.outputs {
        renumber.visit_tensor_mut(out);
    }
    graph
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::emit::Emitter;
    use burn::tensor::DType;

    /// `y = x + x; z = exp(y)`.
    fn graph() -> Graph {
        let mut emit = Emitter::starting_at(0);
        let x = emit.value([2, 3].into(), DType::F64);
        let y = emit.add(&x, &x);
        let z = emit.exp(&y);
        Graph { inputs: vec![Input { tensor: x, role: Role::Batch }], ops: emit.ops, outputs: vec![z] }
    }

    fn problem(graph: &Graph) -> String {
        match graph.check() {
            Err(Error::Malformed { problem, .. }) => problem,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_sound_graph_passes_and_prints() {
        assert_eq!(graph().check(), Ok(()));
        let expected = "%0 : F64[2, 3] = input Batch\n%1 : F64[2, 3] = NumericFloat::Add(%0, %0)\n\
                        %2 : F64[2, 3] = Float::Exp(%1)\nreturn %2";
        assert_eq!(graph().to_string(), expected);
    }

    #[test]
    fn a_use_before_the_definition_is_found() {
        let mut graph = graph();
        graph.ops.swap(0, 1);
        assert_eq!(problem(&graph), "%1 is read before it is defined");
    }

    #[test]
    fn a_second_definition_is_found() {
        let mut graph = graph();
        graph.ops.push(graph.ops[0].clone());
        assert_eq!(problem(&graph), "%1 is defined twice");
    }

    #[test]
    fn a_use_in_another_shape_is_found() {
        let mut graph = graph();
        graph.outputs[0].shape = [3, 2].into();
        assert_eq!(problem(&graph), "%2 is defined as F64[2, 3] and read as F64[3, 2]");
    }

    #[test]
    fn operands_are_replaced_by_position() {
        let graph = graph();
        let mut emit = Emitter::starting_at(9);
        let (a, b, c) = (emit.like(&graph.outputs[0]), emit.like(&graph.outputs[0]), emit.like(&graph.outputs[0]));
        let op = with_tensors(&graph.ops[0], &[a.clone(), b.clone()], std::slice::from_ref(&c));
        assert_eq!(op.inputs().collect::<Vec<_>>(), [&a, &b]);
        assert_eq!(op.outputs().collect::<Vec<_>>(), [&c]);
    }

    #[test]
    fn equal_graphs_are_equal_whatever_their_ids() {
        let mut shifted = graph();
        let shift = |tensor: &TensorIr| TensorIr { id: TensorId::new(tensor.id.value() + 40), ..tensor.clone() };
        shifted.inputs[0].tensor = shift(&shifted.inputs[0].tensor);
        shifted.outputs[0] = shift(&shifted.outputs[0]);
        for op in &mut shifted.ops {
            let reads: Vec<TensorIr> = op.inputs().map(shift).collect();
            let outs: Vec<TensorIr> = op.outputs().map(shift).collect();
            *op = with_tensors(op, &reads, &outs);
        }
        assert_ne!(shifted, graph());
        assert_eq!(normalized(shifted), normalized(graph()));
    }
}
