//! One inner step as a function of parameters, memory, gradient and rates; and its derivative, by Burn's autodiff.
//!
//! Gradient descent at one rate goes a short way that needs no derivative. Everything else is put together here from the
//! settings of the inner loop and a rule, on flat tensors over the adapting parameters, and differentiated as it is: no
//! rule has a derivative of its own that could be wrong.
//!
//! Does not know: losses, estimators.

use std::sync::Arc;

use burn::tensor::{Tensor, TensorData};
use burn_func::{Filter, Params};

use crate::error::{Error, Result};
use crate::inner::{Clip, InnerLoopConfig};
use crate::rates::{InnerRates, StepRate, step_rates};
use crate::rule::{InnerRule, RuleInput, RuleOutput};
use crate::state::State;
use crate::unrolled::Descent;
use crate::vector::Vector;

/// What a step does, in all steps of an inner loop over one module.
pub(crate) struct Update {
    config: InnerLoopConfig,
    rule: Arc<dyn InnerRule>,
    rates: Vec<StepRate>,
    /// The steps that are plain gradient descent at one rate. Looked up often, and the rate may have to be read from a device.
    descents: Vec<Option<Descent>>,
    filter: Option<Filter>,
    /// The adapting parameters, for their shapes.
    adapting: Params,
    /// All parameters, zero.
    zeros: Params,
    /// The memory of a rule that remembers nothing yet, or of a cotangent that has no part in it.
    empty: Vec<Tensor<1>>,
}

/// Cotangents of what a step reads.
struct Pulled {
    params: Tensor<1>,
    memory: Vec<Tensor<1>>,
    grad: Tensor<1>,
    rate: Tensor<1>,
}

impl Update {
    pub fn new(
        config: &InnerLoopConfig,
        rule: &Arc<dyn InnerRule>,
        learned: Option<&InnerRates>,
        start: &Params,
    ) -> Result<Self> {
        let adapting = config.adapting(start)?;
        let rates = step_rates(config, learned, &adapting)?;
        let slots = rule.memory() + usize::from(config.proximal > 0.0);
        let empty = if slots > 0 { vec![adapting.flatten().zeros_like(); slots] } else { Vec::new() };
        let zeros = start.zeros_like();
        let plain = rule.is_descent() && config.clip.is_none() && config.proximal == 0.0 && config.adapt.is_none();
        let descents = rates.iter().map(|rate| descent(rate, config.weight_decay).filter(|_| plain)).collect();
        let (config, rule, filter) = (config.clone(), rule.clone(), config.filter());
        Ok(Self { config, rule, rates, descents, filter, adapting, zeros, empty })
    }

    /// The state before the first step. The proximal term needs the start in every step: it is the last of the memory.
    pub fn begin(&self, start: &Params) -> State {
        let mut memory = self.empty.clone();
        if self.config.proximal > 0.0 {
            memory.pop();
            memory.push(self.flat(start));
        }
        State { params: start.clone(), memory }
    }

    /// The cotangent of the start, by that of the state before the first step.
    pub fn to_start(&self, z: State) -> Params {
        match z.memory.last() {
            Some(start) if self.config.proximal > 0.0 => z.params.add(&self.replaced(&self.zeros, start)),
            _ => z.params,
        }
    }

    /// The memory that is zero.
    pub fn empty(&self) -> &[Tensor<1>] {
        &self.empty
    }

    /// Which parameters adapt, if not all do.
    pub fn filter(&self) -> Option<&Filter> {
        self.filter.as_ref()
    }

    /// Adapting parameters alone.
    pub fn part(&self, params: &Params) -> Params {
        match &self.filter {
            Some(filter) => params.only(filter).expect("the patterns matched these parameters before"),
            None => params.clone(),
        }
    }

    /// Adapting parameters, and zero for the others.
    pub fn padded(&self, part: &Params) -> Params {
        if self.adapts_all() { part.clone() } else { self.with_part(&self.zeros, part) }
    }

    /// Whether every parameter adapts.
    pub fn adapts_all(&self) -> bool {
        self.adapting.specs().len() == self.zeros.specs().len()
    }

    /// The step, where it is `keep - rate H` with one rate for all parameters.
    pub fn descent(&self, step: usize) -> Option<Descent> {
        self.descents[step]
    }

    /// One step.
    pub fn apply(&self, step: usize, at: &State, grad: &Params) -> Result<State> {
        if let Some(Descent { keep, rate }) = self.descent(step) {
            let kept = if keep == 1.0 { at.params.clone() } else { at.params.scale(keep) };
            return Ok(State { params: kept.axpy(-rate, grad), memory: Vec::new() });
        }
        let params = self.flat(&at.params);
        let [elements] = params.dims();
        let read = RuleInput { step, params, grad: self.flat(grad), memory: at.memory.clone(), rate: self.rate(step) };
        let out = self.run(read);
        let sizes = std::iter::once(&out.params).chain(&out.memory).map(|tensor| tensor.dims()[0]);
        if out.memory.len() != self.empty.len() || sizes.clone().any(|n| n != elements) {
            let found: Vec<usize> = sizes.collect();
            let expected = self.empty.len();
            let problem = format!("left tensors of {found:?} elements, expected 1 + {expected} of {elements}");
            return Err(Error::InnerLoop { setting: "the rule", problem });
        }
        Ok(State { params: self.replaced(&at.params, &out.params), memory: out.memory })
    }

    /// `A' z`: the cotangent of the state before a step, its gradient held still.
    pub fn still(&self, step: usize, at: &State, grad: &Params, z: &State) -> State {
        let pulled = self.pull(step, at, grad, z);
        State { params: self.replaced(&z.params, &pulled.params), memory: pulled.memory }
    }

    /// `B' z`: the cotangent of a step's gradient, zero where nothing adapts.
    pub fn to_grad(&self, step: usize, at: &State, grad: &Params, z: &State) -> Params {
        self.replaced(&self.zeros, &self.pull(step, at, grad, z).grad)
    }

    /// The cotangent of a step's rates, in the shape that they have.
    pub fn to_rate(&self, step: usize, at: &State, grad: &Params, z: &State) -> Tensor<1> {
        self.pull(step, at, grad, z).rate
    }

    fn flat(&self, params: &Params) -> Tensor<1> {
        self.part(params).flatten()
    }

    /// Some parameters, with those that adapt taken from a flat tensor.
    fn replaced(&self, params: &Params, flat: &Tensor<1>) -> Params {
        let part = self.adapting.with_flat(flat).expect("a rule's tensors have the size of the adapting parameters");
        if self.adapts_all() { part } else { self.with_part(params, &part) }
    }

    fn with_part(&self, params: &Params, part: &Params) -> Params {
        params.with(part).expect("the adapting parameters are among all")
    }

    fn rate(&self, step: usize) -> Tensor<1> {
        match &self.rates[step] {
            StepRate::Each(rates) => Tensor::clone(rates),
            StepRate::One(rate) => {
                let spec = &self.adapting.specs()[0].spec;
                Tensor::from_data(TensorData::new(vec![*rate], [1]), (&self.adapting.device(), spec.dtype))
            }
        }
    }

    /// Clipping, weight decay, the proximal term, the rule.
    fn run(&self, RuleInput { step, params, grad, mut memory, rate }: RuleInput) -> RuleOutput {
        let InnerLoopConfig { weight_decay, proximal, ref clip, .. } = self.config;
        let start = if proximal > 0.0 { memory.pop() } else { None };
        let mut grad = match clip {
            Some(clip) => clip.of(grad),
            None => grad,
        };
        if weight_decay != 0.0 {
            grad = grad + params.clone() * weight_decay;
        }
        if let Some(start) = &start {
            grad = grad + (params.clone() - start.clone()) * proximal;
        }
        let mut out = self.rule.step(RuleInput { step, params, grad, memory, rate: self.expanded(rate) });
        out.memory.extend(start);
        out
    }

    /// One rate, or one for each element.
    fn expanded(&self, rate: Tensor<1>) -> Tensor<1> {
        let sizes: Vec<usize> = self.adapting.specs().iter().map(|param| param.spec.shape.iter().product()).collect();
        let [n] = rate.dims();
        if n == 1 || n == sizes.iter().sum::<usize>() {
            return rate;
        }
        let each = sizes.iter().enumerate().map(|(at, size)| rate.clone().slice(at..at + 1).expand([*size]));
        Tensor::cat(each.collect(), 0)
    }

    fn pull(&self, step: usize, at: &State, grad: &Params, z: &State) -> Pulled {
        let leaf = |tensor: Tensor<1>| tensor.autodiff().require_grad();
        let memory: Vec<Tensor<1>> = at.memory.iter().cloned().map(leaf).collect();
        let (params, grad, rate) = (leaf(self.flat(&at.params)), leaf(self.flat(grad)), leaf(self.rate(step)));
        let read =
            RuleInput { step, params: params.clone(), grad: grad.clone(), memory: memory.clone(), rate: rate.clone() };
        let out = self.run(read);
        let along = |out: Tensor<1>, z: Tensor<1>| (out * z.autodiff()).sum();
        let remembered = out.memory.into_iter().zip(&z.memory).map(|(out, z)| along(out, z.clone()));
        let sum = remembered.fold(along(out.params, self.flat(&z.params)), |sum, term| sum + term);
        let grads = sum.backward();
        let of = |leaf: &Tensor<1>| leaf.grad(&grads).unwrap_or_else(|| leaf.clone().inner().zeros_like());
        Pulled { params: of(&params), memory: memory.iter().map(of).collect(), grad: of(&grad), rate: of(&rate) }
    }
}

impl Clip {
    fn of(self, grad: Tensor<1>) -> Tensor<1> {
        match self {
            Self::Value(most) => grad.clamp(-most, most),
            Self::Norm(most) => {
                let norm = (grad.clone() * grad.clone()).sum().sqrt();
                // Read to the host: at a zero gradient the quotient has no derivative, and is not needed.
                let is_over = norm.clone().inner().into_scalar::<f64>() > most;
                if is_over { grad * (norm.recip() * most) } else { grad }
            }
        }
    }
}

/// A step of gradient descent, if its rate is one for all parameters.
fn descent(rate: &StepRate, weight_decay: f64) -> Option<Descent> {
    let rate = match rate {
        StepRate::One(rate) => *rate,
        StepRate::Each(rates) if rates.dims() == [1] => Tensor::clone(rates).into_scalar(),
        StepRate::Each(_) => return None,
    };
    Some(Descent { keep: 1.0 - rate * weight_decay, rate })
}

/// The cotangent after a step of gradient descent, taken back with its gradient held still.
pub(crate) fn kept(z: &State, keep: f64) -> State {
    if keep == 1.0 { z.clone() } else { z.scale(keep) }
}
