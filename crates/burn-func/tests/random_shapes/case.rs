//! One operation at fixed shapes and options, and what is checked of it.
//!
//! A case's operands pass through an exponential before the operation sees them, so that its tangents have tangents of
//! their own, and every element of its result enters the loss nonlinearly and with a weight of its own.
//!
//! Does not know: operations.

use std::fmt;

use burn::module::{Module, Param};
use burn::tensor::{Bool, DType, Device, Gradients, Int, Tensor, TensorData};
use burn_func::graph::op_name;
use burn_func::{Linearization, Params, Traced, trace};

use crate::common::layers::differences;
use crate::common::{probes, waves};

/// A tensor that a case is computed from.
pub struct Operand {
    pub shape: Vec<usize>,
    pub values: Vec<f64>,
    /// Whether it is differentiated with respect to; otherwise it is frozen.
    pub active: bool,
}

/// An operand in a model, of any rank.
#[derive(Module, Debug)]
pub enum Leaf {
    One(Param<Tensor<1>>),
    Two(Param<Tensor<2>>),
    Three(Param<Tensor<3>>),
    Four(Param<Tensor<4>>),
    Five(Param<Tensor<5>>),
}

/// The same for every rank.
macro_rules! each {
    ($leaf:expr, $param:ident => $body:expr) => {
        match $leaf {
            Leaf::One($param) => $body,
            Leaf::Two($param) => $body,
            Leaf::Three($param) => $body,
            Leaf::Four($param) => $body,
            Leaf::Five($param) => $body,
        }
    };
}

impl Leaf {
    fn new(operand: &Operand) -> Self {
        let values: Vec<f64> = operand.values.iter().map(|value| (value + 2.0).ln()).collect();
        let data = TensorData::new(values, operand.shape.clone());
        fn param<const D: usize>(data: TensorData) -> Param<Tensor<D>> {
            Param::from_tensor(Tensor::from_data(data, (&Device::flex().autodiff(), DType::F64)))
        }
        let leaf = match operand.shape.len() {
            1 => Self::One(param(data)),
            2 => Self::Two(param(data)),
            3 => Self::Three(param(data)),
            4 => Self::Four(param(data)),
            5 => Self::Five(param(data)),
            rank => unreachable!("no operand of rank {rank}"),
        };
        leaf.set_require_grad(operand.active)
    }

    /// Burn's own gradient, of what has one; of an empty loss nothing has.
    fn own(&self, grads: &Gradients) -> Vec<f64> {
        each!(self, param => {
            let zeros = || param.val().inner().zeros_like();
            param.val().grad(grads).unwrap_or_else(zeros).into_data().iter().collect()
        })
    }
}

type Model = Vec<Leaf>;

/// What the operation is given.
pub struct Args<'a>(&'a Model);

impl Args<'_> {
    /// An operand, past the exponential.
    pub fn at<const D: usize>(&self, at: usize) -> Tensor<D> {
        each!(&self.0[at], param => {
            let tensor = param.val().exp() - 2.0;
            let shape: [usize; D] = tensor.dims().as_slice().try_into().expect("an operand of this rank");
            tensor.reshape(shape)
        })
    }

    pub fn device(&self) -> Device {
        each!(&self.0[0], param => param.val().device())
    }

    /// A constant of the closure.
    pub fn ints<const D: usize>(&self, shape: [usize; D], values: &[i64]) -> Tensor<D, Int> {
        Tensor::from_data(TensorData::new(values.to_vec(), shape), &self.device())
    }

    /// A constant of the closure.
    pub fn mask<const D: usize>(&self, shape: [usize; D], values: &[bool]) -> Tensor<D, Bool> {
        Tensor::from_data(TensorData::new(values.to_vec(), shape), &self.device())
    }
}

/// The loss of an operation.
pub type Loss = Box<dyn Fn(&Args) -> Tensor<1>>;

pub struct Case {
    text: String,
    operands: Vec<Operand>,
    loss: Loss,
    /// Whether Burn computes in single precision whatever the type.
    single: bool,
    /// Whether Burn's own gradient is known to be wrong.
    own_is_wrong: bool,
}

/// What came of a case that did not fail.
pub enum Outcome {
    Checked,
    /// A kink lies so close that differences of two step sizes contradict each other.
    Kink,
}

impl Case {
    pub fn new(text: impl Into<String>, mut operands: Vec<Operand>, loss: Loss) -> Self {
        if operands.iter().all(|operand| !operand.active) {
            operands[0].active = true;
        }
        Self { text: text.into(), operands, loss, single: false, own_is_wrong: false }
    }

    /// Of an operation that Burn computes in single precision.
    pub fn single(mut self, single: bool) -> Self {
        self.single = single;
        self
    }

    /// With a gradient that Burn itself gets wrong.
    pub fn own_is_wrong(mut self, wrong: bool) -> Self {
        self.own_is_wrong = wrong;
        self
    }

    /// Loss and gradient by Burn's reverse mode.
    fn own(&self, model: &Model) -> (f64, Vec<f64>) {
        let loss = (self.loss)(&Args(model));
        let grads = loss.backward();
        let active = model.iter().zip(&self.operands).filter(|(_, operand)| operand.active);
        (loss.into_scalar(), active.flat_map(|(leaf, _)| leaf.own(&grads)).collect())
    }

    /// `Err` says what is wrong.
    pub fn check(&self) -> Result<Outcome, String> {
        let model: Model = self.operands.iter().map(Leaf::new).collect();
        // First, so that what Burn itself cannot do is told as a panic and not as a failed program.
        let (own_loss, own_grad) = self.own(&model);
        let traced = trace(&model, &(), |model: &Model, ()| (self.loss)(&Args(model))).map_err(text)?;
        let check = Check { case: self, traced, at: Params::from_module(&model).map_err(text)? };
        let (loss, grad, ()) = check.traced.value_and_grad(&check.at, &()).map_err(text)?;
        // The same kernels compute the same loss; sums of gradients may be in another order.
        let loss: f64 = loss.into_scalar();
        if loss != own_loss {
            return Err(format!("the loss is {loss}, Burn's own {own_loss}"));
        }
        let own_grad = check.at.with_elements(&own_grad).map_err(text)?;
        let off = grad.sub(&own_grad).norm();
        if !self.own_is_wrong && over(off, 1e-13 * own_grad.norm()) {
            return Err(format!("the gradient is {off:.1e} off Burn's own, of length {:.1e}", own_grad.norm()));
        }
        if !check.slope(&grad)? {
            return Ok(Outcome::Kink);
        }
        check.products(&grad)
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of", self.text)?;
        for Operand { shape, active, .. } in &self.operands {
            write!(f, " {shape:?}{}", if *active { "" } else { " (held)" })?;
        }
        Ok(())
    }
}

/// The sum of what every element adds.
pub fn probe<const D: usize>(x: Tensor<D>) -> Tensor<1> {
    probes(x).sum()
}

fn text(error: burn_func::Error) -> String {
    error.to_string()
}

/// Whether an error is beyond what is allowed; NaN is.
fn over(error: f64, allowed: f64) -> bool {
    error > allowed || error.is_nan() || allowed.is_nan()
}

/// A case that was traced.
struct Check<'a> {
    case: &'a Case,
    traced: Traced<()>,
    at: Params,
}

impl Check<'_> {
    /// Steps whose differences are extrapolated to fourth order. Those of double precision round to 1e-12 of the
    /// gradient; in single precision the step must be larger than what 6e-8 is to the derivative.
    fn step(&self) -> f64 {
        if self.case.single { 1e-2 } else { 1e-4 }
    }

    fn tolerance(&self) -> f64 {
        if self.case.single { 1e-3 } else { 1e-7 }
    }

    fn loss(&self, at: &Params) -> Result<f64, String> {
        let (loss, _, ()) = self.traced.value_and_grad(at, &()).map_err(text)?;
        Ok(loss.into_scalar())
    }

    /// Fourth-order differences of the loss along `u`.
    fn loss_differences(&self, u: &Params, step: f64) -> Result<f64, String> {
        let central = |step: f64| {
            let (more, less) = (self.loss(&self.at.axpy(step, u))?, self.loss(&self.at.axpy(-step, u))?);
            Ok::<_, String>((more - less) * 0.5 / step)
        };
        Ok(central(step)? * 4.0 / 3.0 - central(2.0 * step)? / 3.0)
    }

    /// Whether the gradient could be compared with differences of the loss.
    fn slope(&self, grad: &Params) -> Result<bool, String> {
        let value = self.loss(&self.at)?;
        for salt in [1, 50] {
            let u = waves(&self.at, 1.0, salt);
            let (slope, first) = (grad.dot(&u), self.loss_differences(&u, self.step())?);
            // A loss is known to its own rounding.
            let scale = grad.norm() * u.norm() + 1e-3 * value.abs();
            let error = (slope - first).abs();
            if !over(error, self.tolerance() * scale) {
                continue;
            }
            let second = self.loss_differences(&u, self.step() / 7.0)?;
            if over((first - second).abs(), 0.1 * error) {
                return Ok(false);
            }
            return Err(format!("the gradient says {slope:.9e}, differences of the loss {first:.9e}"));
        }
        Ok(true)
    }

    fn products(&self, grad: &Params) -> Result<Outcome, String> {
        let point = self.traced.linearize(&self.at, &()).map_err(text)?;
        let (u, v) = (waves(&self.at, 1.0, 1), waves(&self.at, 1.0, 100));
        let (hu, hv) = (point.hvp(&u).map_err(text)?, point.hvp(&v).map_err(text)?);
        // Products that nearly cancel are known to the rounding of the gradient's terms alone.
        let scale = hv.norm() + 1e-3 * grad.norm() * v.norm();
        self.symmetric((&u, &hu), (&v, &hv), scale)?;
        self.together(&point, &[u, v.clone()], &[hu, hv.clone()], scale)?;
        let first = differences(&self.traced, &self.at, &(), &v, self.step());
        let error = first.sub(&hv).norm();
        if !over(error, self.tolerance() * scale) {
            return Ok(Outcome::Checked);
        }
        let second = differences(&self.traced, &self.at, &(), &v, self.step() / 7.0);
        if over(first.sub(&second).norm(), 0.1 * error) {
            return Ok(Outcome::Kink);
        }
        Err(format!("the product is {error:.1e} off, of length {scale:.1e}"))
    }

    fn symmetric(&self, (u, hu): (&Params, &Params), (v, hv): (&Params, &Params), scale: f64) -> Result<(), String> {
        // Burn's backward of a division by a number rounds its reciprocal to single precision.
        let divides = self.traced.graph().ops.iter().any(|op| op_name(op) == "NumericFloat::DivScalar");
        let tolerance = if self.case.single {
            1e-4
        } else if divides {
            1e-6
        } else {
            1e-10
        };
        let asymmetry = (u.dot(hv) - v.dot(hu)).abs();
        if over(asymmetry, tolerance * scale * u.norm()) {
            return Err(format!("not symmetric: {asymmetry:.1e} of {:.1e}", scale * u.norm()));
        }
        Ok(())
    }

    /// Several products as one program, which is what the batched forms of the operations are for.
    fn together(&self, point: &Linearization, vs: &[Params], each: &[Params], scale: f64) -> Result<(), String> {
        let both = point.hvps(vs).map_err(|error| format!("several products: {error}"))?;
        let off = both.iter().zip(each).map(|(a, b)| a.sub(b).norm()).fold(0.0, f64::max);
        let tolerance = if self.case.single { 1e-5 } else { 1e-11 };
        let scale = scale.max(each[0].norm());
        if over(off, tolerance * scale) {
            return Err(format!("several products at once are {off:.1e} off, of length {scale:.1e}"));
        }
        Ok(())
    }
}
