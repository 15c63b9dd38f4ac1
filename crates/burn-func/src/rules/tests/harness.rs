//! Holds the derivative of a small graph, as the rules make it, against central differences of the graph itself.

use burn::tensor::{DType, Device, TensorData};
use burn_ir::TensorIr;

use crate::emit::Emitter;
use crate::executor::run;
use crate::graph::{Graph, Input, Role, with_tensors};
use crate::linearize::linearize;
use crate::program::Program;
use crate::value::{TensorSpec, Value};

/// An operand of the operation under test.
#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant, reason = "a few per test")]
pub enum Operand {
    /// Differentiated with respect to.
    Active(TensorSpec, Vec<f64>),
    /// Held fixed: an index, a mask, a weight that carries no tangent.
    Fixed(Value),
}

impl Operand {
    /// A float operand in f64; `value` gives the element at a row-major index.
    pub fn active(shape: &[usize], mut value: impl FnMut(usize) -> f64) -> Self {
        let n = shape.iter().product();
        Self::Active(TensorSpec { shape: shape.to_vec(), dtype: DType::F64 }, (0..n).map(&mut value).collect())
    }

    /// Smooth numbers in (-1, 1) without a pattern, different for every salt.
    pub fn wave(shape: &[usize], salt: usize) -> Self {
        Self::active(shape, |i| wave(i, salt))
    }

    /// The same operand without a tangent.
    pub fn held(self) -> Self {
        match self {
            Self::Active(spec, values) => Self::Fixed(Value::from_host(values, &spec, &device())),
            fixed => fixed,
        }
    }

    /// Whole numbers, in I64.
    pub fn indices(shape: &[usize], values: Vec<i64>) -> Self {
        Self::Fixed(Value::from_data(TensorData::new(values, shape.to_vec()), &device()))
    }

    /// A mask.
    pub fn mask(shape: &[usize], mut value: impl FnMut(usize) -> bool) -> Self {
        let values: Vec<bool> = (0..shape.iter().product()).map(&mut value).collect();
        Self::Fixed(Value::from_data(TensorData::new(values, shape.to_vec()), &device()))
    }

    /// Shape and type.
    pub fn spec(&self) -> TensorSpec {
        match self {
            Self::Active(spec, _) => spec.clone(),
            Self::Fixed(value) => value.spec(),
        }
    }
}

/// Smooth numbers in (-1, 1) without a pattern.
pub fn wave(i: usize, salt: usize) -> f64 {
    ((i * 7 + salt * 13) as f64 * 0.37 + 0.11).sin()
}

pub fn device() -> Device {
    Device::flex()
}

/// Emits the operations under test.
pub type Build = dyn Fn(&mut Emitter, &[TensorIr]) -> Vec<TensorIr>;

/// Differentiates what `build` emits with respect to its active operands, along a fixed direction, and compares every
/// result with differences of fourth order: their own error is about 1e-11 where the function is smooth within 2e-3 of
/// the operands, so a relative 1e-8 leaves no room for a wrong term.
pub fn check(name: &str, operands: &[Operand], build: impl Fn(&mut Emitter, &[TensorIr]) -> Vec<TensorIr>) {
    check_to(1e-8, 1e-3, name, operands, build);
}

/// As [`check`], to another relative tolerance and with another step. For a polynomial of at most fourth degree the
/// differences are exact at any step, so that a large one reaches the rounding of a kernel in single precision.
pub fn check_to(
    tolerance: f64,
    step: f64,
    name: &str,
    operands: &[Operand],
    build: impl Fn(&mut Emitter, &[TensorIr]) -> Vec<TensorIr>,
) {
    let (graph, active) = graph(operands, &build);
    for op in &graph.ops {
        // Operands are replaced by position: an operation must be visited in the order in which it lists its tensors.
        let (reads, outs): (Vec<_>, Vec<_>) = (op.inputs().cloned().collect(), op.outputs().cloned().collect());
        assert_eq!(with_tensors(op, &reads, &outs), *op, "{name}");
    }
    let tangents = tangents(name, operands, &build, |i, salt| wave(i, 100 + salt));
    let at = |step: f64| execute(name, &graph, values(operands, &active, step));
    let (p1, m1, p2, m2) = (at(step), at(-step), at(2.0 * step), at(-2.0 * step));
    for (i, (tangent, out)) in tangents.iter().zip(&graph.outputs).enumerate() {
        assert_eq!(tangent.spec().shape, out.shape.to_vec(), "{name}: tangent {i}");
        let [p1, m1, p2, m2] = [&p1, &m1, &p2, &m2].map(|values| values[i].to_f64());
        let differences: Vec<f64> =
            (0..p1.len()).map(|j| (8.0 * (p1[j] - m1[j]) - (p2[j] - m2[j])) / (12.0 * step)).collect();
        let error = distance(&tangent.to_f64(), &differences);
        assert!(error <= tolerance, "{name}: result {i} off by {error:.2e}\n{graph}");
    }
}

/// [`check`] with every choice of active operands among those at `free`.
pub fn check_each(
    name: &str,
    operands: &[Operand],
    free: &[usize],
    build: impl Fn(&mut Emitter, &[TensorIr]) -> Vec<TensorIr>,
) {
    for chosen in choices(free) {
        check(&format!("{name}, active {chosen:?}"), &held_but(operands, &chosen), &build);
    }
}

/// Every choice of at least one.
pub fn choices(free: &[usize]) -> Vec<Vec<usize>> {
    let chosen =
        |set: usize| free.iter().enumerate().filter(|(bit, _)| set >> bit & 1 == 1).map(|(_, &at)| at).collect();
    (1..1 << free.len()).map(chosen).collect()
}

/// The operands, active at `chosen` alone.
pub fn held_but(operands: &[Operand], chosen: &[usize]) -> Vec<Operand> {
    let held = |(at, operand): (usize, &Operand)| match chosen.contains(&at) {
        true => operand.clone(),
        false => operand.clone().held(),
    };
    operands.iter().enumerate().map(held).collect()
}

/// The tangents of the results along a direction: `direction` gives its element at an index of the active operand that
/// has a number.
pub fn tangents(
    name: &str,
    operands: &[Operand],
    build: &impl Fn(&mut Emitter, &[TensorIr]) -> Vec<TensorIr>,
    direction: impl Fn(usize, usize) -> f64,
) -> Vec<Value> {
    let (graph, active) = graph(operands, build);
    graph.check().unwrap_or_else(|error| panic!("{name}: {error}"));
    let outputs = graph.outputs.clone();
    let parts = linearize(&graph, &outputs).unwrap_or_else(|error| panic!("{name}: {error}"));
    let primal = execute(name, &parts.primal, values(operands, &active, 0.0));
    assert_eq!(primal.len(), outputs.len() + parts.residuals, "{name}");
    let residuals = primal[outputs.len()..].to_vec();
    let directions = active.iter().enumerate().map(|(salt, &at)| {
        let spec = operands[at].spec();
        let n = spec.shape.iter().product();
        Value::from_host((0..n).map(|i| direction(i, salt)).collect(), &spec, &device())
    });
    execute(name, &parts.linear, directions.chain(residuals).collect())
}

/// Largest difference over the largest reference, or over one where that is smaller. NaN counts as infinite.
fn distance(found: &[f64], expected: &[f64]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let scale = expected.iter().fold(1.0_f64, |max, x| max.max(x.abs()));
    found.iter().zip(expected).map(|(f, e)| (f - e).abs() / scale).fold(0.0, |max, d| match d.is_nan() {
        true => f64::INFINITY,
        false => max.max(d),
    })
}

/// The graph that `build` emits, and which operands are active.
pub fn graph(operands: &[Operand], build: &impl Fn(&mut Emitter, &[TensorIr]) -> Vec<TensorIr>) -> (Graph, Vec<usize>) {
    let mut emit = Emitter::starting_at(0);
    let irs: Vec<TensorIr> = operands
        .iter()
        .map(|operand| {
            let spec = operand.spec();
            emit.value(spec.shape.into(), spec.dtype)
        })
        .collect();
    let outputs = build(&mut emit, &irs);
    let active: Vec<usize> = (0..operands.len()).filter(|&at| matches!(operands[at], Operand::Active(..))).collect();
    let role = |at: usize| if active.contains(&at) { Role::Parameter } else { Role::Batch };
    let inputs = irs.into_iter().enumerate().map(|(at, tensor)| Input { tensor, role: role(at) }).collect();
    (Graph { inputs, ops: emit.ops, outputs }, active)
}

/// Values of all operands, the active ones moved along the direction.
fn values(operands: &[Operand], active: &[usize], step: f64) -> Vec<Value> {
    let moved = |at: usize, spec: &TensorSpec, values: &[f64]| {
        let salt = active.iter().position(|&a| a == at).unwrap_or_default();
        let moved = values.iter().enumerate().map(|(i, x)| x + step * wave(i, 100 + salt)).collect();
        Value::from_host(moved, spec, &device())
    };
    let value = |(at, operand): (usize, &Operand)| match operand {
        Operand::Active(spec, values) => moved(at, spec, values),
        Operand::Fixed(value) => value.clone(),
    };
    operands.iter().enumerate().map(value).collect()
}

fn execute(name: &str, graph: &Graph, inputs: Vec<Value>) -> Vec<Value> {
    run(&device(), &Program::new(graph), inputs).unwrap_or_else(|error| panic!("{name}: {error}\n{graph}"))
}
