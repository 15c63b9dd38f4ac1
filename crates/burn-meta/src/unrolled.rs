//! An inner loop, seen from its end: what its steps do to a cotangent.
//!
//! A step takes the state z (the parameters, and what the rule remembers, such as a momentum) to another with the help of the
//! gradient of the support loss. Its Jacobian has two parts, `J_k = A_k + B_k H_k P`: what it does with the gradient held
//! still, and what comes by way of the gradient, with `H_k` the Hessian and P taking the parameters out of the state. The
//! exact meta-gradient is `J_0' J_1' .. J_{K-1}' g`; every estimate of it is made of the two parts, transposed. For gradient
//! descent at rate a they are `z` and `-a H_k z`.
//!
//! Does not know: estimators, modules, losses.

use crate::vector::Vector;

/// An inner loop that was run, as estimators of its meta-gradient see it.
pub trait Unrolled {
    /// A cotangent of the state: of the parameters and of what the rule remembers.
    type State: Vector;
    /// What a Hessian-vector product may fail with.
    type Error;

    /// Number of inner steps, K.
    fn steps(&self) -> usize;

    /// Gradient of the query loss with respect to the state after `step` steps, if there is a loss there. There is one after
    /// the last step, and in a multi-step loss after others too.
    fn source(&self, step: usize) -> Option<Self::State>;

    /// `A_k' z`: back through a step whose gradient is held still.
    fn still(&self, step: usize, z: &Self::State) -> Self::State;

    /// `P B_k' z`: the cotangent of the step's gradient. A state with nothing but parameters: none in a memory, and none in
    /// parameters that do not adapt.
    fn through(&self, step: usize, z: &Self::State) -> Self::State;

    /// `P' H_k P v`, for a `v` with nothing but parameters that adapt. One Hessian-vector product.
    ///
    /// # Errors
    ///
    /// Those of the product.
    fn hessian(&self, step: usize, v: &Self::State) -> Result<Self::State, Self::Error>;

    /// `P' H_k B_k' z`: what of a cotangent comes by way of the gradient. One Hessian-vector product.
    ///
    /// # Errors
    ///
    /// Those of the product.
    fn curved(&self, step: usize, z: &Self::State) -> Result<Self::State, Self::Error> {
        self.hessian(step, &self.through(step, z))
    }

    /// [`curved`](Self::curved) of several steps that do not wait for each other, in their order. One after another unless a
    /// system knows better.
    ///
    /// # Errors
    ///
    /// Those of the products.
    fn curved_each(&self, work: &[(usize, &Self::State)]) -> Result<Vec<Self::State>, Self::Error> {
        work.iter().map(|&(step, z)| self.curved(step, z)).collect()
    }

    /// Of a product with a Hessian what is in the parameters that adapt; none where all do.
    fn adapting(&self, v: &Self::State) -> Option<Self::State> {
        let _ = v;
        None
    }

    /// The step, where its Jacobian is `keep - rate H`: estimators then take short ways. None for a rule with a memory, with a
    /// rate for each parameter, or that adapts some of the parameters alone.
    fn descent(&self, step: usize) -> Option<Descent> {
        let _ = step;
        None
    }
}

/// A step of gradient descent: `phi` becomes `keep phi - rate grad`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Descent {
    /// One, less what weight decay takes.
    pub keep: f64,
    /// The learning rate.
    pub rate: f64,
}

/// Gradient descent at one rate, with its Hessians as a function.
///
/// ```
/// use burn_meta::{Estimator, GradientDescent, Vector};
/// # #[derive(Clone)] struct Number(f64);
/// # impl Vector for Number {
/// #     fn axpy(&self, scale: f64, rhs: &Self) -> Self { Number(self.0 + scale * rhs.0) }
/// #     fn scale(&self, scale: f64) -> Self { Number(scale * self.0) }
/// #     fn dot(&self, rhs: &Self) -> f64 { self.0 * rhs.0 }
/// # }
/// // Five steps at rate 0.1 down a parabola of curvature 2, in one dimension.
/// let loop_ = GradientDescent::new(5, 0.1, Number(1.0), |_step, v: &Number| Ok::<_, ()>(v.scale(2.0)));
/// let exact = Estimator::Exact.estimate(&loop_)?.value.0;
/// assert!((exact - 0.8f64.powi(5)).abs() < 1e-15);
/// # Ok::<(), ()>(())
/// ```
pub struct GradientDescent<V, F> {
    steps: usize,
    rate: f64,
    query_grad: V,
    hvp: F,
}

impl<V, F> GradientDescent<V, F> {
    /// `steps` steps at `rate`; the gradient of the query loss after them; `hvp(k, v)` is the product of the support Hessian
    /// before step k with v.
    pub fn new(steps: usize, rate: f64, query_grad: V, hvp: F) -> Self {
        Self { steps, rate, query_grad, hvp }
    }
}

impl<V: Vector, E, F: Fn(usize, &V) -> Result<V, E>> Unrolled for GradientDescent<V, F> {
    type State = V;
    type Error = E;

    fn steps(&self) -> usize {
        self.steps
    }

    fn source(&self, step: usize) -> Option<V> {
        (step == self.steps).then(|| self.query_grad.clone())
    }

    fn still(&self, _step: usize, z: &V) -> V {
        z.clone()
    }

    fn through(&self, _step: usize, z: &V) -> V {
        z.scale(-self.rate)
    }

    fn hessian(&self, step: usize, v: &V) -> Result<V, E> {
        (self.hvp)(step, v)
    }

    fn descent(&self, _step: usize) -> Option<Descent> {
        Some(Descent { keep: 1.0, rate: self.rate })
    }
}
