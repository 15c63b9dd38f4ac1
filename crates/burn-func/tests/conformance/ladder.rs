//! The ladder: each derivative against the one below it, and everything against Burn's own where Burn has it.
//!
//! Does not know: which models are tried.

use std::collections::{BTreeSet, HashMap};

use burn::module::{Module, ModuleVisitor, Param, ParamId};
use burn::tensor::{DType, Gradients, Tensor};
use burn_func::graph::{Graph, op_name};
use burn_func::{Batch, Error, Params, Result, Traced, trace};

use crate::common::{relative, waves};
use crate::site::Site;

/// One comparison: what was compared, how far it is off, how far it may be.
#[derive(Clone, Debug)]
pub struct Rung {
    pub name: &'static str,
    pub error: f64,
    pub tolerance: f64,
}

impl Rung {
    pub fn holds(&self) -> bool {
        self.error <= self.tolerance // false for NaN
    }
}

/// What a case came to.
#[derive(Clone, Debug, Default)]
pub struct Found {
    pub loss: f64,
    pub grad: Vec<f64>,
    pub hvp: Vec<f64>,
    pub rungs: Vec<Rung>,
    /// The kinds of operation in its trace.
    pub kinds: BTreeSet<String>,
    /// Why it did not get to the top.
    pub problem: Option<String>,
    /// That is because the device has no kernel for it.
    pub refused: bool,
}

impl Found {
    /// Whether it got to the top and every comparison held.
    pub fn holds(&self) -> bool {
        self.problem.is_none() && !self.rungs.is_empty() && self.rungs.iter().all(Rung::holds)
    }
}

/// Allowed relative errors.
struct Tolerances {
    /// Against Burn's own loss and gradient: the same operations, perhaps in another order.
    eager: f64,
    /// The gradient against differences of the loss.
    gradient: f64,
    /// The product against differences of the gradient.
    product: f64,
    /// `u'Hv` against `v'Hu`.
    symmetry: f64,
}

/// In f64: the replay is Burn's own kernels in Burn's own order, and 1e-14 is a few roundings. Fourth-order differences with a
/// step of 2e-5 round to some 1e-11 of the function. Burn's backward of `x / 3.0` multiplies by the reciprocal in single
/// precision: with such a division the gradient is that of a function 6e-8 away, and its derivative is not symmetric
/// to more than that; the product is still the derivative of that gradient. In f32 an operation rounds to 6e-8, and
/// hundreds with cancellation lose three digits more.
fn tolerances(site: &Site, graph: &Graph) -> Tolerances {
    let divides = graph.ops.iter().any(|op| op_name(op) == "NumericFloat::DivScalar");
    let (gradient, symmetry) = if divides { (2e-7, 1e-7) } else { (1e-9, 1e-11) };
    match site.dtype {
        DType::F64 => Tolerances { eager: 1e-14, gradient, product: 1e-8, symmetry },
        _ => Tolerances { eager: 2e-4, gradient: f64::NAN, product: f64::NAN, symmetry: 2e-4 },
    }
}

impl Site {
    /// Climbs the ladder of `f` at the parameters of `model`.
    pub fn ladder<M: Module, B: Batch>(&self, model: M, batch: B, f: impl Fn(&M, B) -> Tensor<1>) -> Found {
        let mut found = Found::default();
        let outcome = climb(self, &model, &batch, &f, &mut found);
        found.refused = matches!(outcome, Err(Error::NoKernel { .. }));
        found.problem = outcome.err().map(|error| error.to_string());
        found
    }
}

type Loss<'a, M, B> = &'a dyn Fn(&M, B) -> Tensor<1>;

fn climb<M: Module, B: Batch>(site: &Site, model: &M, batch: &B, f: Loss<M, B>, found: &mut Found) -> Result<()> {
    let traced = trace(model, batch, f)?;
    let allowed = tolerances(site, traced.graph());
    found.kinds.extend(traced.graph().ops.iter().map(op_name));
    let at = Params::from_module(model)?;
    let (loss, grad, ()) = traced.value_and_grad(&at, batch)?;
    (found.loss, found.grad) = (number(&loss), grad.to_f64());
    let mut rung = |name, error, tolerance| found.rungs.push(Rung { name, error, tolerance });

    let (u, v) = (waves(&at, 1.0, 1), waves(&at, 1.0, 100));
    let moved = at.axpy(0.05, &u);
    // Elsewhere Burn's own kernels are others than those of a program (`gelu`, `sigmoid`), so Flex alone is held against it.
    if site.differences {
        let eager = f(model, batch.clone());
        rung("loss", (number(&loss) - number(&eager)).abs() / number(&eager).abs(), allowed.eager);
        rung("eager", relative(&grad, &eager_gradient(model, &at, &eager.backward())), allowed.eager);
        // What is frozen into a trace by mistake agrees where the trace was made, and nowhere else.
        let there = moved.clone().into_module(model.clone())?;
        let expected = eager_gradient(&there, &at, &f(&there, batch.clone()).backward());
        rung("elsewhere", relative(&traced.value_and_grad(&moved, batch)?.1, &expected), allowed.eager);
        let error = gradient_error(site, &traced, &at, batch, &grad, [&u, &v])?;
        rung("gradient", error, allowed.gradient);
    }

    let point = traced.linearize(&at, batch)?;
    let same = relative(point.grad(), &grad).max((number(point.loss()) / number(&loss) - 1.0).abs());
    rung("point", same, allowed.eager);
    let (hu, hv) = (point.hvp(&u)?, point.hvp(&v)?);
    found.hvp = hv.to_f64();
    let mut rung = |name, error, tolerance| found.rungs.push(Rung { name, error, tolerance });
    rung("symmetry", (u.dot(&hv) - v.dot(&hu)).abs() / (hv.norm() * u.norm()), allowed.symmetry);
    if site.differences {
        rung("product", relative(&hv, &differences(site, &traced, &at, batch, &v)?), allowed.product);
        let hv = traced.linearize(&moved, batch)?.hvp(&v)?;
        rung("product elsewhere", relative(&hv, &differences(site, &traced, &moved, batch, &v)?), allowed.product);
    }
    if site.threads {
        let together = std::thread::scope(|scope| {
            let one = || Ok((traced.value_and_grad(&at, batch)?.1.to_f64(), point.hvp(&v)?.to_f64()));
            let threads: Vec<_> = (0..3).map(|_| scope.spawn(one)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Result<Vec<_>>>()
        })?;
        let of_grad = together.iter().map(|(grad, _)| distance(grad, &found.grad));
        let error = of_grad.chain(together.iter().map(|(_, hvp)| distance(hvp, &found.hvp))).fold(0.0, worst);
        // The same kernels in the same order: equal bits in f64, on the CPUs.
        let tolerance = if site.dtype == DType::F64 { 0.0 } else { allowed.eager };
        found.rungs.push(Rung { name: "threads", error, tolerance });
    }
    Ok(())
}

/// The larger of two, or NaN if one of them is.
pub fn worst(a: f64, b: f64) -> f64 {
    if a.is_nan() || a > b { a } else { b }
}

/// Norm of the difference over norm of the second.
pub fn distance(found: &[f64], expected: &[f64]) -> f64 {
    if found.len() != expected.len() {
        return f64::NAN;
    }
    let difference: f64 = found.iter().zip(expected).map(|(a, b)| (a - b) * (a - b)).sum();
    (difference / expected.iter().map(|b| b * b).sum::<f64>()).sqrt()
}

fn number(scalar: &Tensor<1>) -> f64 {
    scalar.clone().into_scalar()
}

/// The largest error of `<gradient, d>` against fourth-order differences of the loss along `d`, relative to the norms.
fn gradient_error<B: Batch>(
    site: &Site,
    traced: &Traced<B>,
    at: &Params,
    batch: &B,
    grad: &Params,
    along: [&Params; 2],
) -> Result<f64> {
    let mut error = 0.0;
    let own = grad.scale(along[0].norm() / grad.norm());
    for d in [along[0], along[1], &own] {
        let loss = |step: f64| Ok(number(&traced.value(&at.axpy(step, d), batch)?.0));
        let central = |step: f64| Ok((loss(step)? - loss(-step)?) * (0.5 / step));
        let expected = central(site.step)? * (4.0 / 3.0) - central(2.0 * site.step)? / 3.0;
        error = worst(error, (grad.dot(d) - expected).abs() / (grad.norm() * d.norm()));
    }
    Ok(error)
}

/// Fourth-order differences of the gradient along `v`.
fn differences<B: Batch>(site: &Site, traced: &Traced<B>, at: &Params, batch: &B, v: &Params) -> Result<Params> {
    let grad = |step: f64| Ok(traced.value_and_grad(&at.axpy(step, v), batch)?.1);
    let central = |step: f64| Ok(grad(step)?.sub(&grad(-step)?).scale(0.5 / step));
    Ok(central(site.step)?.scale(4.0 / 3.0).axpy(-1.0 / 3.0, &central(2.0 * site.step)?))
}

/// Burn's own gradient, as a point; zero for a parameter without one.
fn eager_gradient<M: Module>(model: &M, like: &Params, grads: &Gradients) -> Params {
    let mut collect = Collect { grads, found: HashMap::new() };
    model.visit(&mut collect);
    like.from_fn(|spec, i| collect.found.get(&spec.id).map_or(0.0, |values| values[i]))
}

struct Collect<'a> {
    grads: &'a Gradients,
    found: HashMap<ParamId, Vec<f64>>,
}

impl ModuleVisitor for Collect<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(grad) = param.val().grad(self.grads) {
            self.found.insert(param.id, grad.into_data().iter::<f64>().collect());
        }
    }
}
