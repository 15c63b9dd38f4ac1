//! Is what is recorded what the closure computes, and are its derivatives right? A report for a model and a batch.
//!
//! Does not know: derivative rules.

use std::collections::HashMap;
use std::fmt;

use burn::module::{Flag, Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::tensor::{DType, FloatDType, Gradients, Tensor};

use crate::batch::{Batch, Output};
use crate::compiled::ProgramCache;
use crate::double::doubled;
use crate::error::{Error, Result};
use crate::graph::op_name;
use crate::params::Params;
use crate::quiet::caught;
use crate::trace::{Flags, Recording, record};
use crate::transfer::number;
use crate::transforms::{Linearization, Traced};
use crate::value::Value;
use crate::verify::near;

/// What [`check`] looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Claim {
    /// The closure records the same operations and constants a second time. If not, it holds a random number drawn on the
    /// host, a counter, or a branch on something that changes: a trace freezes one of its runs. Random operations are none
    /// of these: their numbers belong to the key of a trace.
    SameGraph,
    /// The recorded loss is the one that Burn computes. Otherwise something read by the closure differs between the two
    /// runs, or an operation runs differently from a recording.
    Loss,
    /// The recorded gradient is the one that Burn's `backward` computes.
    Gradient,
    /// Forward mode agrees with the gradient. If not, the closure calls `detach` on something that depends on a parameter
    /// (use [`stop_gradient`](crate::stop_gradient)), or a derivative rule is wrong.
    ForwardMode,
    /// Products with the Hessian are what differences of the gradient say.
    Differences,
    /// The Hessian is symmetric: u'(H v) = v'(H u). With a `detach` it is not.
    Symmetry,
    /// Rounding of the gradient: its distance from the same operations in double precision.
    GradientRounding,
    /// Rounding of a product with the Hessian, likewise.
    ProductRounding,
}

impl fmt::Display for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::SameGraph => "recorded twice: operations that differ",
            Self::Loss => "loss against Burn's own",
            Self::Gradient => "gradient against Burn's own",
            Self::ForwardMode => "gradient against forward mode",
            Self::Differences => "product against differences of gradients",
            Self::Symmetry => "symmetry of the product",
            Self::GradientRounding => "gradient against double precision",
            Self::ProductRounding => "product against double precision",
        })
    }
}

/// One claim, put to the test.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// The claim.
    pub claim: Claim,
    /// What was found: a relative difference, or a number of operations. Not finite if it could not be computed.
    pub value: f64,
    /// Largest value allowed.
    pub tolerance: f64,
    /// Where and how, if there is something to say.
    pub note: String,
}

impl Finding {
    /// Whether the value is within the tolerance. What is not a number is not.
    pub fn passed(&self) -> bool {
        self.value <= self.tolerance
    }

    fn new(claim: Claim, value: f64, tolerance: f64) -> Self {
        Self { claim, value, tolerance, note: String::new() }
    }
}

/// What [`check`] found. Prints as a table.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// One finding per claim that was tested.
    pub findings: Vec<Finding>,
}

impl Report {
    /// Whether every claim holds.
    pub fn passed(&self) -> bool {
        self.findings.iter().all(Finding::passed)
    }

    /// The finding on a claim, if it was tested.
    pub fn get(&self, claim: Claim) -> Option<&Finding> {
        self.findings.iter().find(|finding| finding.claim == claim)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<42} {:>9} {:>9}", "claim", "found", "allowed")?;
        for finding in &self.findings {
            let Finding { claim, value, tolerance, note } = finding;
            let verdict = if finding.passed() { "ok" } else { "FAILED" };
            write!(f, "\n{claim:<42} {value:>9.1e} {tolerance:>9.1e}  {verdict}")?;
            if !note.is_empty() {
                write!(f, " ({note})")?;
            }
        }
        Ok(())
    }
}

/// Tests on a model and a batch that what is recorded of `f` is what `f` computes, and that its derivatives are right.
///
/// Run it once when a closure is new, not in a training loop. The model is left as it is, running statistics included.
///
/// # What is compared
///
/// The closure is recorded twice and run once by Burn itself, all near the model's parameters rather than at them: away from
/// minima, and from kinks that lie there, such as ReLU at zero biases. Derivatives are tested along three fixed random
/// directions, in double precision where the device has it, whatever the model is in: differences of gradients in single
/// precision tell little. How far single precision is from that is a claim of its own.
///
/// Differences are taken at five step lengths, and those are used that change least; by how much is added to the tolerance,
/// up to a hundredth.
///
/// # Tolerances
///
/// All are relative, to the norms of what is compared.
///
/// | claim | f64 | f32 | others | why |
/// |---|---|---|---|---|
/// | loss, gradient against Burn's own | 1e-9 | 1e-4 | 5e-2 | the same operations, each once |
/// | gradient against forward mode | 1e-6 | 1e-6 | 1e-6 | in f64; Burn's backward of a division by a number multiplies by its reciprocal in f32 |
/// | product against differences | 1e-5 | 1e-5 | 1e-5 | in f64; rounding and third derivatives |
/// | symmetry | 1e-6 | 1e-6 | 1e-6 | in f64; as forward mode |
/// | gradient against double precision | | 1e-3 | 0.2 | rounding of one forward and backward pass |
/// | product against double precision | | 1e-2 | 0.5 | a ReLU or a maximum may fall the other way |
///
/// On a device without f64 the three in f64 are taken in the model's own type, with 1e-2, 0.1 and 1e-2.
///
/// # What it cannot find
///
/// A closure that changes every hundredth time; a wrong derivative that is smaller than the tolerances; kinks closer than
/// the shortest step.
///
/// # Errors
///
/// What fails before there is anything to compare: as [`trace`](crate::trace()) and [`Traced::linearize`] except
/// [`Error::GradientMismatch`], which is a finding; [`Error::Execution`] if `f` panics when Burn runs it. Numbers that are
/// not finite are no error, and pass nothing.
///
/// # Cost
///
/// About 40 gradients, and the memory of one linearization in double precision.
///
/// # Example
///
/// ```
/// use burn::nn::{Linear, LinearConfig};
/// use burn::tensor::{Device, Tensor};
/// use burn_func::{Claim, check};
///
/// let device = Device::flex().autodiff();
/// let model = LinearConfig::new(3, 2).init(&device);
/// let x = Tensor::<2>::ones([8, 3], &device);
/// let report = check(&model, &x, |model: &Linear, x: Tensor<2>| model.forward(x).tanh().powf_scalar(2.0).mean())?;
/// println!("{report}");
/// assert!(report.passed());
///
/// let report = check(&model, &x, |model: &Linear, x: Tensor<2>| {
///     let y = model.forward(x);
///     (y.clone() - y.tanh().detach()).powf_scalar(2.0).mean()
/// })?;
/// assert!(!report.get(Claim::ForwardMode).unwrap().passed());
/// # Ok::<(), burn_func::Error>(())
/// ```
pub fn check<M, B, O, F>(model: &M, batch: &B, f: F) -> Result<Report>
where
    M: Module,
    B: Batch,
    O: Output,
    F: Fn(&M, B) -> O,
{
    let at = Params::from_module(model)?;
    let first = record(model, &at, batch, &f)?;
    let second = record(model, &at, batch, &f)?;
    let mut findings = vec![same_graph(&first, &second)];
    let traced = Traced::new(&ProgramCache::new(), &at, first)?;
    let at = near_if_finite(&traced, at, batch)?;
    // Burn draws other random numbers than a trace does: there is nothing to compare.
    if !traced.is_random() {
        findings.extend(against_burn(&traced, model, &at, batch, &f)?);
    }

    let reference = match at.device().supports_dtype(FloatDType::F64) {
        true => Reference::new(traced.doubled()?, at.cast(DType::F64), doubled(batch))?,
        false => Reference::new(traced.clone(), at.clone(), batch.clone())?,
    };
    let point = reference.linearized()?;
    findings.extend(reference.derivatives(&point)?);
    if reference.at.specs() != at.specs() {
        findings.extend(rounding(&traced, &at, batch, &point)?);
    }
    Ok(Report { findings })
}

/// A point near the given one, or that one itself where the gradient is not finite near it.
fn near_if_finite<B: Batch, A: Batch>(traced: &Traced<B, A>, at: Params, batch: &B) -> Result<Params> {
    let near = Params::new(at.shared_specs().clone(), near(at.values(), &at));
    let (_, grad, _) = traced.value_and_grad(&near, batch)?;
    Ok(if grad.norm().is_finite() { near } else { at })
}

const DIRECTIONS: u64 = 3;

/// Relative to the scale; nothing differs from nothing.
fn ratio(difference: f64, scale: f64) -> f64 {
    if difference == 0.0 { 0.0 } else { difference / scale }
}

/// The largest, and not a number if one of them is not.
fn worst(values: impl IntoIterator<Item = f64>) -> f64 {
    values.into_iter().fold(0.0, |worst, value| if value > worst || value.is_nan() { value } else { worst })
}

fn distance(found: &Params, expected: &Params) -> f64 {
    ratio(found.sub(expected).norm(), expected.norm())
}

fn same_graph<A>(first: &Recording<A>, second: &Recording<A>) -> Finding {
    let (a, b) = (&first.graph, &second.graph);
    let unequal = a.ops.iter().zip(&b.ops).filter(|(a, b)| a != b).count();
    let constants = first.constants.iter().zip(&second.constants).filter(|(a, b)| a != b).count();
    let lengths = a.ops.len().abs_diff(b.ops.len()) + first.constants.len().abs_diff(second.constants.len());
    // Which numbers are drawn is a matter of the key; from which distribution is not, and stands beside the graph.
    let draws = first.draws.iter().zip(&second.draws).filter(|(a, b)| a != b).count();
    let rest = usize::from(a.inputs != b.inputs || a.outputs != b.outputs);
    let count = unequal + constants + draws + lengths + rest;
    let mut finding = Finding::new(Claim::SameGraph, count as f64, 0.0);
    if let Some((a, b)) = a.ops.iter().zip(&b.ops).find(|(a, b)| a != b) {
        finding.note = match (op_name(a), op_name(b)) {
            (a, b) if a == b => format!("the first is a `{a}` with other numbers or operands"),
            (a, b) => format!("the first is `{a}`, then `{b}`"),
        };
    } else if constants > 0 {
        finding.note = "in a tensor made by the closure".into();
    } else if draws > 0 {
        finding.note = "in what a random operation draws from".into();
    }
    finding
}

/// The recording against one run of the closure by Burn.
fn against_burn<M, B, O, F>(
    traced: &Traced<B, O::Aux>,
    model: &M,
    at: &Params,
    batch: &B,
    f: &F,
) -> Result<[Finding; 2]>
where
    M: Module,
    B: Batch,
    O: Output,
    F: Fn(&M, B) -> O,
{
    let (loss, grad, _) = traced.value_and_grad(at, batch)?;
    let mut flags = Flags::default();
    model.visit(&mut flags);
    // Fresh leaves and fresh running statistics, so that nothing here reaches the user's own.
    let model = at.clone().into_module(model.valid().train())?.map(&mut RestoreFlags(flags));
    let eager = || {
        let (loss, _) = f(&model, batch.clone()).into_parts();
        let mut collect = Collect { grads: loss.backward(), found: HashMap::new() };
        model.visit(&mut collect);
        (loss.detach().into_scalar::<f64>(), collect.found)
    };
    let (expected, found) =
        caught(eager).map_err(|message| Error::Execution { message: format!("run by Burn: {message}") })?;
    let zeros = at.zeros_like();
    let eager = at.specs().iter().zip(zeros.values()).map(|(spec, zero)| found.get(&spec.id).unwrap_or(zero).clone());
    let eager = Params::new(at.shared_specs().clone(), eager.collect());
    let loss = number(&loss)?;
    let tolerance = match at.values()[0].dtype() {
        DType::F64 => 1e-9,
        DType::F32 => 1e-4,
        _ => 5e-2,
    };
    let of_loss = ratio((loss - expected).abs(), expected.abs());
    Ok([
        Finding::new(Claim::Loss, of_loss, tolerance),
        Finding::new(Claim::Gradient, distance(&grad, &eager), tolerance),
    ])
}

/// Sets training flags as they were.
struct RestoreFlags(Flags);

impl ModuleMapper for RestoreFlags {
    fn map_flag(&mut self, flag: Param<Flag>) -> Param<Flag> {
        let enabled = self.0.0.get(&flag.id).copied().unwrap_or(false);
        flag.with_value(enabled)
    }
}

/// Gradients by parameter. A shared parameter is one leaf, met in several places.
struct Collect {
    grads: Gradients,
    found: HashMap<ParamId, Value>,
}

impl ModuleVisitor for Collect {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let Some(grad) = param.base().grad(&self.grads) else { return };
        self.found.insert(param.id, Value::new(grad));
    }
}

/// A recording in the precision in which derivatives are tested.
struct Reference<B, A> {
    traced: Traced<B, A>,
    /// The same with what `stop_gradient` stops held at its values: the gradients that differences are taken of.
    held: Traced<B, A>,
    at: Params,
    batch: B,
    precision: Precision,
}

/// Step lengths for differences, relative to one plus the length of the point, and tolerances.
struct Precision {
    steps: [f64; 5],
    forward: f64,
    product: f64,
    symmetry: f64,
}

const DOUBLE: Precision =
    Precision { steps: [1e-4, 1e-5, 1e-6, 1e-7, 1e-8], forward: 1e-6, product: 1e-5, symmetry: 1e-6 };
const SINGLE: Precision =
    Precision { steps: [3e-2, 1e-2, 3e-3, 1e-3, 3e-4], forward: 1e-2, product: 0.1, symmetry: 1e-2 };

impl<B: Batch, A: Batch> Reference<B, A> {
    fn new(traced: Traced<B, A>, at: Params, batch: B) -> Result<Self> {
        let precision = if at.values()[0].dtype() == DType::F64 { DOUBLE } else { SINGLE };
        let held = traced.clone().with_stops_held(&at, &batch)?;
        Ok(Self { traced, held, at, batch, precision })
    }

    fn linearized(&self) -> Result<Linearization> {
        self.traced.linearize_unverified(self.traced.inputs(&self.at, &self.batch)?)
    }

    fn derivatives(&self, point: &Linearization) -> Result<[Finding; 3]> {
        let directions: Vec<Params> = (0..DIRECTIONS).map(|draw| direction(&self.at, draw)).collect();
        let products: Result<Vec<Params>> = directions.iter().map(|v| point.hvp(v)).collect();
        let products = products?;
        Ok([
            self.forward(point.grad(), &directions)?,
            self.differences(point.grad(), &directions, &products)?,
            self.symmetry(&directions, &products),
        ])
    }

    fn forward(&self, grad: &Params, directions: &[Params]) -> Result<Finding> {
        let mut values = Vec::new();
        // Random directions see the parameters that a `detach` hides; the gradient's own carries its whole length.
        for v in directions.iter().cloned().chain(grad.normalized()) {
            let (_, derivative, _) = self.traced.jvp_unverified(self.traced.inputs(&self.at, &self.batch)?, &v)?;
            let derivative: f64 = derivative.into_scalar();
            values.push(ratio((derivative - grad.dot(&v)).abs(), grad.norm()));
        }
        Ok(Finding::new(Claim::ForwardMode, worst(values), self.precision.forward))
    }

    fn differences(&self, grad: &Params, vs: &[Params], products: &[Params]) -> Result<Finding> {
        let length = 1.0 + self.at.norm();
        // A Hessian that is zero has no scale of its own.
        let least = 1e-3 * grad.norm() / length;
        let (mut values, mut spreads) = (Vec::new(), Vec::new());
        for (v, product) in vs.iter().zip(products) {
            let (difference, spread) = self.difference(v, length)?;
            let scale = product.norm().max(least);
            values.push(ratio(product.sub(&difference).norm(), scale));
            spreads.push(ratio(spread, scale));
        }
        let spread = worst(spreads);
        let tolerance = self.precision.product + (2.0 * spread).min(1e-2);
        let mut finding = Finding::new(Claim::Differences, worst(values), tolerance);
        finding.note = format!("the differences themselves to {spread:.0e}");
        Ok(finding)
    }

    /// The difference quotient of the gradient along `v` that changes least from one step length to the next, and by how
    /// much it does. A longer step meets kinks and third derivatives, a shorter one rounding.
    fn difference(&self, v: &Params, length: f64) -> Result<(Params, f64)> {
        let grad = |step: f64| Ok(self.held.value_and_grad(&self.at.axpy(step, v), &self.batch)?.1);
        let mut best: Option<(Params, f64)> = None;
        let mut last: Option<Params> = None;
        for step in self.precision.steps {
            let step = step * length;
            let quotient = grad(step)?.sub(&grad(-step)?).scale(0.5 / step);
            if let Some(last) = last.replace(quotient.clone()) {
                let change = quotient.sub(&last).norm();
                if best.as_ref().is_none_or(|(_, least)| change < *least || least.is_nan()) {
                    best = Some((quotient, change));
                }
            }
        }
        best.ok_or_else(|| Error::Execution { message: "no step length".into() })
    }

    fn symmetry(&self, vs: &[Params], products: &[Params]) -> Finding {
        let pairs = (0..vs.len()).flat_map(|i| (0..i).map(move |j| (i, j)));
        let values = pairs.map(|(i, j)| {
            let difference = (vs[i].dot(&products[j]) - vs[j].dot(&products[i])).abs();
            ratio(difference, products[i].norm().max(products[j].norm()))
        });
        Finding::new(Claim::Symmetry, worst(values), self.precision.symmetry)
    }
}

/// A random direction of length one.
fn direction(like: &Params, draw: u64) -> Params {
    let noise = like.normal(7, draw);
    noise.scale(1.0 / noise.norm())
}

/// The model's own precision against a linearization of the same point in double precision.
fn rounding<B: Batch, A: Batch>(
    traced: &Traced<B, A>,
    at: &Params,
    batch: &B,
    reference: &Linearization,
) -> Result<[Finding; 2]> {
    let own = traced.linearize_unverified(traced.inputs(at, batch)?)?;
    let v = direction(at, 0);
    let product = own.hvp(&v)?.cast(DType::F64);
    let tolerances = if at.values()[0].dtype() == DType::F32 { [1e-3, 1e-2] } else { [0.2, 0.5] };
    let of_gradient = distance(&own.grad().cast(DType::F64), reference.grad());
    let of_product = distance(&product, &reference.hvp(&v.cast(DType::F64))?);
    Ok([
        Finding::new(Claim::GradientRounding, of_gradient, tolerances[0]),
        Finding::new(Claim::ProductRounding, of_product, tolerances[1]),
    ])
}
