//! Many runs as one program: products with several vectors, one loss at several points or on several batches.
//!
//! A program over items takes a tensor per item for whatever differs between items, stacks it, runs the batched graph and
//! cuts the results apart.
//!
//! Does not know: how an operation is batched.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use burn::tensor::{Shape, Slice, Tensor};
use burn_ir::{BaseOperationIr, CatOpIr, ShapeOpIr, SliceOpIr, TensorIr};

use crate::batch::Batch;
use crate::compiled::Compiled;
use crate::emit::{Emitter, base};
use crate::error::{Error, Result, Transform};
use crate::executor::run;
use crate::graph::{Graph, Input};
use crate::lower::expands;
use crate::params::Params;
use crate::passes::simplified;
use crate::program::Program;
use crate::transforms::{Linearization, Traced, scalar};
use crate::value::Value;
use crate::verify::verify;
use crate::vmap::vmap;

/// Which graph of a recorded closure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    /// Loss, gradients, auxiliary tensors.
    Gradient,
    /// Loss, gradients, residuals.
    Primal,
    /// From tangents and residuals to the tangents of the gradients.
    Linear,
}

/// What a program over items was made for: part, inputs that differ between items, number of items.
type Key = (Part, Vec<bool>, usize);

/// The programs over items that were used last.
#[derive(Debug, Default)]
pub(crate) struct BatchedPrograms {
    made: Mutex<Vec<(Key, Result<Arc<Program>>)>>,
}

/// A training loop needs two or three; the last chunk of a list has a size of its own.
const CAPACITY: usize = 16;

impl BatchedPrograms {
    fn get(&self, key: Key, make: impl FnOnce(&Key) -> Result<Program>) -> Result<Arc<Program>> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = match made.iter().position(|(known, _)| *known == key) {
            Some(at) => made.remove(at),
            None => {
                let program = make(&key).map(Arc::new);
                (key, program)
            }
        };
        let program = entry.1.clone();
        made.insert(0, entry);
        made.truncate(CAPACITY);
        program
    }
}

impl Compiled {
    fn over_items(&self, part: Part, differs: &[bool], n: usize) -> Result<Arc<Program>> {
        let graph = match part {
            Part::Gradient => &self.graph,
            Part::Primal => &self.linearized()?.graphs.primal,
            Part::Linear => &self.linearized()?.graphs.linear,
        };
        let key = (part, differs.to_vec(), n);
        self.batched().get(key, |(_, differs, n)| {
            let batched = vmap(graph, differs, *n)?;
            // Expansions of users have met no batch axis before.
            expands(&batched, Transform::Vmap)?;
            Ok(self.program(&over_items(graph, batched, differs, *n)?))
        })
    }

    #[cfg(test)]
    pub(crate) fn hvps_program(&self, n: usize) -> Result<Arc<Program>> {
        let inputs = self.linearized()?.graphs.linear.inputs.len();
        self.over_items(Part::Linear, &Vec::from_iter((0..inputs).map(|at| at < self.parameters)), n)
    }
}

/// A batched graph with an input per item in place of each batched one, next to each other, and all outputs of the first
/// item, then all of the second.
pub(crate) fn over_items(graph: &Graph, batched: Graph, differs: &[bool], n: usize) -> Result<Graph> {
    let mut emit = Emitter::starting_at(batched.next_id());
    let mut inputs = Vec::new();
    for ((input, item), differs) in batched.inputs.iter().zip(&graph.inputs).zip(differs) {
        if !differs {
            inputs.push(input.clone());
            continue;
        }
        let items: Vec<TensorIr> = (0..n).map(|_| emit.like(&item.tensor)).collect();
        stack(&mut emit, &items, &input.tensor);
        inputs.extend(items.into_iter().map(|tensor| Input { tensor, role: input.role }));
    }
    emit.ops.extend(batched.ops);
    let folded: Vec<TensorIr> = batched.outputs.iter().map(|all| unstacked(&mut emit, all)).collect();
    let mut outputs = Vec::new();
    for at in 0..n {
        outputs.extend(folded.iter().zip(&graph.outputs).map(|(all, one)| item(&mut emit, all, one, at)));
    }
    let graph = simplified(&Graph { inputs, ops: emit.ops, outputs });
    if cfg!(debug_assertions) {
        graph.check()?;
    }
    Ok(graph)
}

/// Items one after the other along their first axis, and then in an axis of their own: one operation, not one per item.
fn stack(emit: &mut Emitter, items: &[TensorIr], out: &TensorIr) {
    let joined = emit.value(one_after_the_other(out), out.dtype);
    let cat = CatOpIr { tensors: items.to_vec(), dim: 0, out: joined.clone() };
    let input = emit.push(base(out, BaseOperationIr::Cat(cat)), joined);
    emit.ops.push(base(out, BaseOperationIr::Reshape(ShapeOpIr { input, out: out.clone() })));
}

fn unstacked(emit: &mut Emitter, all: &TensorIr) -> TensorIr {
    emit.reshape(all, one_after_the_other(all))
}

/// `[n, rows, ..]` as `[n * rows, ..]`.
fn one_after_the_other(all: &TensorIr) -> Shape {
    let mut shape = all.shape.to_vec();
    let n = shape.remove(0);
    shape[0] *= n;
    shape.into()
}

/// The rows of one item.
fn item(emit: &mut Emitter, all: &TensorIr, like: &TensorIr, at: usize) -> TensorIr {
    let (one, rows) = (emit.like(like), like.shape[0]);
    let ranges = vec![Slice::from(at * rows..(at + 1) * rows)];
    let slice = SliceOpIr { tensor: all.clone(), ranges, out: one.clone() };
    emit.push(base(&one, BaseOperationIr::Slice(slice)), one)
}

/// Values for a program over items: per item for what differs, the first item's for the rest.
pub(crate) fn per_item(items: &[Vec<Value>], differs: &[bool]) -> Vec<Value> {
    let mut values = Vec::new();
    for (at, &differs) in differs.iter().enumerate() {
        let items = if differs { items } else { &items[..1] };
        values.extend(items.iter().map(|item| item[at].clone()));
    }
    values
}

fn has_no_batched_form(error: &Error) -> bool {
    matches!(error, Error::Unsupported { transform: Transform::Vmap, .. })
}

impl Linearization {
    /// The Hessian times each of several vectors, as one program: fewer and larger kernels than one product after the
    /// other. One after the other where an operation has no batched form.
    ///
    /// # Errors
    ///
    /// As [`hvp`](Self::hvp).
    ///
    /// # Cost
    ///
    /// The arithmetic of as many products, and the memory of all of them at once: hand over a long list in chunks. A number
    /// of vectors that was not used lately is compiled first. A result keeps the buffer of all results alive.
    pub fn hvps(&self, vs: &[Params]) -> Result<Vec<Params>> {
        vs.iter().try_for_each(|v| v.expect_like("the vector", self.grad.specs(), &self.device))?;
        let tangents = self.grad.values().len();
        let differs: Vec<bool> = (0..tangents + self.residuals.len()).map(|at| at < tangents).collect();
        let items: Vec<Vec<Value>> =
            vs.iter().map(|v| v.values().iter().chain(&self.residuals).cloned().collect()).collect();
        match self.run_many(&items, &differs) {
            Err(error) if has_no_batched_form(&error) => vs.iter().map(|v| self.hvp(v)).collect(),
            products => products,
        }
    }

    /// The Hessian at each point times a vector of its own, as one program where all points are of one closure (traced
    /// once, or taken from one [`ProgramCache`](crate::ProgramCache), with one choice of residuals) and every operation has
    /// a batched form.
    ///
    /// # Errors
    ///
    /// As [`hvp`](Self::hvp); [`Error::Mismatch`] unless there is a vector for every point.
    ///
    /// # Cost
    ///
    /// As [`hvps`](Self::hvps), and a copy of all residuals for the time of the run.
    pub fn hvp_each(points: &[Self], vs: &[Params]) -> Result<Vec<Params>> {
        if points.len() != vs.len() {
            let (found, expected) = (format!("{} vectors", vs.len()), format!("{} points", points.len()));
            return Err(Error::Mismatch { what: "the list of vectors".into(), found, expected });
        }
        let pairs = || points.iter().zip(vs);
        pairs().try_for_each(|(point, v)| v.expect_like("the vector", point.grad.specs(), &point.device))?;
        let Some(first) = points.first() else { return Ok(Vec::new()) };
        let one_by_one = || pairs().map(|(point, v)| point.hvp(v)).collect();
        let alike = |point: &Self| point.compiled.shares_linearization(&first.compiled) && point.device == first.device;
        if !points.iter().all(alike) {
            return one_by_one();
        }
        let items: Vec<Vec<Value>> =
            pairs().map(|(point, v)| v.values().iter().chain(&point.residuals).cloned().collect()).collect();
        match first.run_many(&items, &vec![true; first.grad.values().len() + first.residuals.len()]) {
            Err(error) if has_no_batched_form(&error) => one_by_one(),
            products => products,
        }
    }

    fn run_many(&self, items: &[Vec<Value>], differs: &[bool]) -> Result<Vec<Params>> {
        if items.is_empty() {
            return Ok(Vec::new());
        }
        let program = self.compiled.over_items(Part::Linear, differs, items.len())?;
        let outputs = run(&self.device, &program, per_item(items, differs))?;
        let specs = self.grad.shared_specs();
        Ok(outputs.chunks(specs.len()).map(|product| Params::new(specs.clone(), product.to_vec())).collect())
    }
}

/// Inputs of a graph for several items, and which of them differ between items.
struct Items {
    values: Vec<Vec<Value>>,
    differs: Vec<bool>,
}

impl<B: Batch, A: Batch> Traced<B, A> {
    /// Loss, gradient and auxiliary tensors at each of several points and on each of several batches, as one program. One
    /// point serves all batches, one batch all points; else the first batch belongs to the first point, and so on. One
    /// after the other where an operation has no batched form.
    ///
    /// Batches of one example each give the gradient per example; statistics over the batch (batch normalisation) are
    /// then of one example, too. Random operations draw from the one [key](Self::keyed) of the closure, so that all items
    /// see the same dropout mask.
    ///
    /// # Errors
    ///
    /// As [`value_and_grad`](Self::value_and_grad); [`Error::Mismatch`] if there are several points and another number of
    /// batches.
    ///
    /// # Cost
    ///
    /// The arithmetic of as many gradients, and the memory of all of them at once: hand over a long list in chunks. A number
    /// of items that was not used lately is compiled first. A result keeps the buffer of all results alive.
    ///
    /// # Example
    ///
    /// ```
    /// use burn::nn::{Linear, LinearConfig};
    /// use burn::tensor::{Device, Tensor};
    /// use burn_func::{Params, trace};
    ///
    /// let device = Device::flex().autodiff();
    /// let model = LinearConfig::new(2, 1).init(&device);
    /// let examples = [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]].map(|x| Tensor::<2>::from_data([x], &device));
    /// let traced = trace(&model, &examples[0], |model: &Linear, x| model.forward(x).powf_scalar(2.0).mean())?;
    ///
    /// let at = Params::from_module(&model)?;
    /// let gradients = traced.value_and_grad_many(&[at], &examples)?; // one per example
    /// assert_eq!(gradients.len(), 3);
    /// # Ok::<(), burn_func::Error>(())
    /// ```
    pub fn value_and_grad_many(&self, points: &[Params], batches: &[B]) -> Result<Vec<(Tensor<1>, Params, A)>> {
        let run_one = |(at, batch): (&Params, &B)| self.value_and_grad(at, batch);
        self.many(points, batches, Part::Gradient, run_one, |outputs, _| {
            let mut outputs = outputs.iter().cloned();
            let loss = scalar(outputs.next())?;
            let grad = outputs.by_ref().take(self.specs.len()).collect();
            Ok((loss, Params::new(self.specs.clone(), grad), self.aux(outputs)))
        })
    }

    /// Linearizes at each of several points and on each of several batches, as one program: see
    /// [`value_and_grad_many`](Self::value_and_grad_many). [`Linearization::hvp_each`] takes the results.
    ///
    /// # Errors
    ///
    /// As [`linearize`](Self::linearize) and [`value_and_grad_many`](Self::value_and_grad_many).
    pub fn linearize_many(&self, points: &[Params], batches: &[B]) -> Result<Vec<Linearization>> {
        let run_one = |(at, batch): (&Params, &B)| self.linearize(at, batch);
        self.many(points, batches, Part::Primal, run_one, |outputs, inputs| {
            let outputs = with_own_inputs(&self.compiled.linearized()?.graphs.primal, outputs, inputs);
            let (results, residuals) = outputs.split_at(1 + self.specs.len());
            let loss = scalar(results.first().cloned())?;
            let grad = Params::new(self.specs.clone(), results[1..].to_vec());
            verify(&self.compiled, &self.device, inputs, &grad)?;
            let (compiled, device, residuals) = (self.compiled.clone(), self.device.clone(), residuals.to_vec());
            Ok(Linearization { compiled, device, loss, grad, residuals })
        })
    }

    /// Runs a part over all items; `finish` makes a result of an item's outputs and inputs.
    fn many<T>(
        &self,
        points: &[Params],
        batches: &[B],
        part: Part,
        run_one: impl Fn((&Params, &B)) -> Result<T>,
        finish: impl Fn(&[Value], &[Value]) -> Result<T>,
    ) -> Result<Vec<T>> {
        let pairs = pairs(points, batches)?;
        if pairs.len() < 2 {
            return pairs.into_iter().map(run_one).collect();
        }
        let items = self.items(&pairs, points.len() > 1, batches.len() > 1)?;
        let program = match self.compiled.over_items(part, &items.differs, pairs.len()) {
            Err(error) if has_no_batched_form(&error) => return pairs.into_iter().map(run_one).collect(),
            program => program?,
        };
        let outputs = run(&self.device, &program, per_item(&items.values, &items.differs))?;
        let per_item = outputs.chunks(outputs.len() / pairs.len());
        per_item.zip(&items.values).map(|(outputs, inputs)| finish(outputs, inputs)).collect()
    }

    fn items(&self, pairs: &[(&Params, &B)], points: bool, batches: bool) -> Result<Items> {
        let values = pairs.iter().map(|(at, batch)| self.inputs(at, batch)).collect::<Result<Vec<_>>>()?;
        // Constants and random numbers are the same for all items.
        let (parameters, constants) = (self.specs.len(), self.constants.len() + self.draws.len());
        let mut differs = vec![points; parameters];
        differs.resize(values[0].len() - constants, batches);
        differs.resize(values[0].len(), false);
        Ok(Items { values, differs })
    }
}

/// Outputs of an item; one that is an input of the graph is the item's own tensor, not a copy.
fn with_own_inputs(graph: &Graph, outputs: &[Value], inputs: &[Value]) -> Vec<Value> {
    let own: HashMap<_, &Value> = graph.inputs.iter().map(|input| input.tensor.id).zip(inputs).collect();
    graph.outputs.iter().zip(outputs).map(|(out, value)| own.get(&out.id).copied().unwrap_or(value).clone()).collect()
}

/// Points with their batches; a single one serves all of the other list.
fn pairs<'a, B>(points: &'a [Params], batches: &'a [B]) -> Result<Vec<(&'a Params, &'a B)>> {
    let n = match (points.len(), batches.len()) {
        (p, b) if p == b => p,
        (1, b) => b,
        (p, 1) => p,
        (p, b) => {
            let (found, expected) = (format!("{b} batches"), format!("{p} (one per point), or one"));
            return Err(Error::Mismatch { what: "the list of batches".into(), found, expected });
        }
    };
    Ok((0..n).map(|at| (&points[at % points.len()], &batches[at % batches.len()])).collect())
}

#[cfg(test)]
mod tests {
    use burn::nn::{Linear, LinearConfig};
    use burn::tensor::{DType, Device};

    use super::*;
    use crate::graph::Role;
    use crate::transforms::trace;

    #[test]
    fn what_has_no_batched_form_runs_one_by_one() {
        let device = Device::flex().autodiff();
        let model = LinearConfig::new(2, 1).init(&device);
        let batches = [Tensor::<2>::from_data([[1.0, 2.0]], &device), Tensor::from_data([[3.0, -1.0]], &device)];
        let f = |model: &Linear, x: Tensor<2>| model.forward(x).powf_scalar(2.0).mean();
        let traced = trace(&model, &batches[0], f).unwrap();
        let refuse = |_: &Key| {
            let transform = Transform::Vmap;
            Err(Error::Unsupported { op: "Custom::other".into(), transform, reason: "for the test".into() })
        };
        traced.compiled.batched().get((Part::Gradient, vec![false, false, true], 2), refuse).unwrap_err();
        let at = Params::from_module(&model).unwrap();
        let found = traced.value_and_grad_many(std::slice::from_ref(&at), &batches).unwrap();
        assert_eq!(found.len(), 2);
        for ((_, grad, ()), batch) in found.iter().zip(&batches) {
            assert_eq!(grad.to_f64(), traced.value_and_grad(&at, batch).unwrap().1.to_f64());
        }
    }

    #[test]
    fn an_output_that_is_an_input_is_the_items_own() {
        let mut emit = Emitter::starting_at(0);
        let x = emit.value([1].into(), DType::F32);
        let y = emit.exp(&x);
        let inputs = vec![Input { tensor: x.clone(), role: Role::Parameter }];
        let graph = Graph { inputs, ops: emit.ops, outputs: vec![y, x] };
        let value = |number: f32| Value::new(Tensor::<1>::from_data([number], &Device::flex()));
        let found = with_own_inputs(&graph, &[value(1.0), value(2.0)], &[value(3.0)]);
        assert_eq!(found.iter().flat_map(Value::to_f64).collect::<Vec<_>>(), [1.0, 3.0]);
    }

    #[test]
    fn the_programs_used_last_are_kept() {
        let programs = BatchedPrograms::default();
        let empty = || Ok(Program::new(&Graph::default()));
        let mut made = 0;
        let mut ask = |n: usize| {
            programs.get((Part::Linear, Vec::new(), n), |_| {
                made += 1;
                empty()
            })
        };
        (1..=CAPACITY).for_each(|n| drop(ask(n).unwrap()));
        ask(1).unwrap(); // known, and used last from now on
        ask(CAPACITY + 1).unwrap(); // pushes out 2
        ask(1).unwrap();
        ask(2).unwrap();
        assert_eq!(made, CAPACITY + 2);
        assert_eq!(programs.made.lock().unwrap().len(), CAPACITY);
    }
}
