//! Estimates of the meta-gradient from the Jacobians of the inner steps and the query gradient.
//!
//! The exact meta-gradient of K inner steps is `J_0' J_1' .. J_{K-1}' g`, with `J_k` the Jacobian of step k (see
//! [`Unrolled`]) and `g` the gradient of the query loss after the last step. An estimator says which part of that
//! product it keeps.
//!
//! Does not know: modules, losses, tasks; vectors are whatever implements [`Vector`](crate::Vector).

mod adaptive;
mod cascade;
mod fitted;
mod krylov;
mod orders;
mod segments;
mod sweep;

use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::implicit::Solver;
use crate::unrolled::{Descent, Unrolled};

/// How a meta-gradient is estimated.
///
/// | estimator | keeps | Hessian-vector products | in sequence |
/// |---|---|---|---|
/// | [`FirstOrder`](Self::FirstOrder) | no Hessian | 0 | 0 |
/// | [`Truncated`](Self::Truncated), order L | the last L steps' | L | L |
/// | [`Segments`](Self::Segments), S of degree d | the middle Hessian of S segments | S d | S d |
/// | [`Binomial`](Self::Binomial), order L | every term of up to L Hessians | L (K - L + 1) | L |
/// | [`Hybrid`](Self::Hybrid), order L in C | the same, of the last C steps | L (C - L + 1) | L |
/// | [`Fitted`](Self::Fitted), order L | every term of up to L deviations from a fit | K L - L (L - 1) / 2 and the probe | L and the probe |
/// | [`Adaptive`](Self::Adaptive) | terms until they no longer matter | as fitted, of the order it ends at | L |
/// | [`Exact`](Self::Exact) | everything | K | K |
/// | [`Implicit`](Self::Implicit) | the fixed point of the proximal problem | iterations | iterations |
/// | [`Reptile`](Self::Reptile) | the way that the inner loop went | 0 | 0 |
///
/// For five inner steps, term by term:
///
#[doc = include_str!("../../pictures/kept-terms.svg")]
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Estimator {
    /// The query gradient itself (FOMAML).
    FirstOrder,
    /// Back-propagation through the last `order` inner steps alone (TruncMAML).
    Truncated {
        /// L, of 0..=K. 0 is first-order, K is exact.
        order: usize,
    },
    /// All terms of the expanded product up to `order` (BinomMAML; arXiv 2604.13263, Theorem 3.2). The error falls
    /// super-exponentially in the order where `a ||H||` is small.
    Binomial {
        /// L, of 0..=K. 0 is first-order, K is exact.
        order: usize,
        /// Which step size stands in the expansion.
        expansion: Expansion,
    },
    /// Binomial over the last `window` inner steps, with the curvature of those before left out as truncation does (the
    /// paper's appendix D.1).
    Hybrid {
        /// L, of 0..=C. 0 is first-order; C is truncated(C).
        order: usize,
        /// C, of 0..=K. K is binomial.
        window: usize,
    },
    /// Binomial, going on from order to order until what is left is smaller than a tolerance. Where that seems to take more
    /// than K / 2 further orders it is exact, at K further products. It saves depth and never products: the first order
    /// takes as many as [`Exact`](Self::Exact).
    Adaptive {
        /// Relative error that may be left, by an estimate from how fast the orders fall.
        tolerance: f64,
    },
    /// As [`Binomial`](Self::Binomial), but about a fit of the middle step's Hessian in place of zero: all terms of up to
    /// `order` deviations from it. What has to be small is a times the change of the Hessian along the loop, not `a ||H||`: for
    /// long inner loops, and where `a ||H||` is over 0.1 or so, no estimate of the same depth that we measured is closer. It
    /// takes more products than [`Exact`](Self::Exact), which do not wait for each other. [`Estimate::neglected`] is the last
    /// order taken.
    Fitted {
        /// L, of 0..=K. 0 is the frozen estimate, K is exact.
        order: usize,
        /// Products for the fit, one after another, with the middle step's Hessian.
        probe: usize,
    },
    /// The steps in segments, each with the Hessian of its middle step and run back in the space that `degree` products with
    /// it span. Of those that take fewer products than steps it has the smallest error that we
    /// measured, and it keeps the residuals of few steps.
    Segments {
        /// S, of 1..=K. 1 is the frozen estimate, K is exact.
        count: usize,
        /// Products for each segment. Segments that are not longer are taken exactly.
        degree: usize,
    },
    /// Back-propagation through every inner step (MAML).
    Exact,
    /// Through the point where the inner loop ends, taken for the minimum of the support loss with the proximal term (iMAML,
    /// arXiv 1909.04630), whatever the rule that led there: `(I + H_K / lambda) v = g`. Wrong where the inner loop does not
    /// come near that minimum; the report says how near it came. Needs [`proximal`](crate::InnerLoopConfig::proximal).
    Implicit {
        /// How the linear system is solved.
        solver: Solver,
    },
    /// The start less the end of the inner loop (Reptile, arXiv 1803.02999). The query set is evaluated, and has no part in it.
    Reptile,
}

/// Which step size stands in the binomial expansion.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Expansion {
    /// The inner learning rate, as in the paper's equations. Better where `a ||H||` is small.
    #[default]
    Plain,
    /// `L a / K`, as in the paper's own code. Better where `a ||H||` is large.
    Scaled,
}

/// What an estimator came to.
#[derive(Clone, Debug)]
pub struct Estimate<V> {
    /// The estimate.
    pub value: V,
    /// The order it ended at.
    pub order: usize,
    /// Hessian-vector products taken.
    pub products: usize,
    /// The relative size of what it leaves out, as far as it can tell. An estimate, not a bound: of an adaptive estimator
    /// what is expected of the orders not taken; of a fitted one the last order taken, which is too much where orders fall.
    pub neglected: Option<f64>,
}

impl<V> Estimate<V> {
    /// Whether by its own account it may be mostly error: what it leaves out is over half of it, or not a number. The
    /// orders then do not fall, because the Hessian changes too much along the inner loop or the rate is too large for
    /// it: take [`Estimator::Exact`], a higher order, or a smaller rate. False where an estimator cannot tell.
    pub fn is_unreliable(&self) -> bool {
        self.neglected.is_some_and(|neglected| neglected > 0.5 || neglected.is_nan())
    }
}

impl Estimator {
    /// Truncated to the last `order` inner steps.
    pub fn truncated(order: usize) -> Self {
        Self::Truncated { order }
    }

    /// Binomial of the given order, with the inner learning rate as it is.
    pub fn binomial(order: usize) -> Self {
        Self::Binomial { order, expansion: Expansion::Plain }
    }

    /// Binomial of the given order, with the learning rate scaled by `order / K`.
    pub fn binomial_scaled(order: usize) -> Self {
        Self::Binomial { order, expansion: Expansion::Scaled }
    }

    /// Fitted of the given order, with four products for the fit: with two the error is larger, more than four gain little.
    pub fn fitted(order: usize) -> Self {
        Self::Fitted { order, probe: 4 }
    }

    /// One Hessian for all steps, with `products` products.
    pub fn frozen(products: usize) -> Self {
        Self::Segments { count: 1, degree: products }
    }

    /// Implicit, by at most `iterations` of conjugate gradients, to a relative residual of 1e-6.
    pub fn implicit(iterations: usize) -> Self {
        Self::Implicit { solver: Solver::ConjugateGradients { iterations, tolerance: 1e-6 } }
    }

    /// `count` segments with `degree` products each.
    pub fn segments(count: usize, degree: usize) -> Self {
        Self::Segments { count, degree }
    }

    /// Its name.
    pub fn name(&self) -> &'static str {
        match self {
            Self::FirstOrder => "first-order",
            Self::Truncated { .. } => "truncated",
            Self::Binomial { .. } => "binomial",
            Self::Hybrid { .. } => "hybrid",
            Self::Adaptive { .. } => "adaptive",
            Self::Fitted { .. } => "fitted",
            Self::Segments { .. } => "segments",
            Self::Exact => "exact",
            Self::Implicit { .. } => "implicit",
            Self::Reptile => "reptile",
        }
    }

    /// Its order, for a number of inner steps: the most Hessians in a term. Of an adaptive estimator the largest it may end at.
    pub fn order(&self, steps: usize) -> usize {
        match *self {
            Self::FirstOrder | Self::Reptile => 0,
            Self::Truncated { order } | Self::Binomial { order, .. } => order,
            Self::Hybrid { order, .. } | Self::Fitted { order, .. } => order,
            Self::Segments { count, degree } => segments::products(steps, count, degree),
            Self::Adaptive { .. } | Self::Exact => steps,
            Self::Implicit { solver } => solver.products(),
        }
    }

    /// Checks the settings for a number of inner steps.
    ///
    /// # Errors
    ///
    /// [`Error::Order`] for an order, window or number of segments above K, [`Error::Estimator`] for other settings.
    pub fn check(&self, steps: usize) -> Result<(), Error> {
        let estimator = self.name();
        let at_most =
            |order, most| if order <= most { Ok(()) } else { Err(Error::Order { estimator, order, steps: most }) };
        let require = |holds: bool, problem: &'static str| {
            if holds { Ok(()) } else { Err(Error::Estimator { estimator, problem: problem.into() }) }
        };
        match *self {
            Self::FirstOrder | Self::Exact | Self::Reptile => Ok(()),
            Self::Implicit { solver } => solver.check::<burn_func::Error>().map_err(|error| {
                let problem = error.to_string();
                Error::Estimator { estimator, problem }
            }),
            Self::Truncated { order } | Self::Binomial { order, .. } => at_most(order, steps),
            Self::Hybrid { order, window } => at_most(window, steps).and(at_most(order, window)),
            Self::Fitted { order, probe } => {
                at_most(order, steps)?;
                require(probe > 0, "0 products fit nothing: at least 1 is needed")
            }
            Self::Adaptive { tolerance } => {
                require(tolerance.is_finite() && tolerance > 0.0, "the tolerance has to be a positive finite number")
            }
            Self::Segments { count, degree } => {
                at_most(count, steps)?;
                require(count > 0 && degree > 0, "at least 1 segment and 1 product are needed")
            }
        }
    }

    /// Whether it is made of the Jacobians of the inner steps, as all are but the implicit estimator and Reptile.
    pub fn is_unrolled(&self) -> bool {
        !matches!(self, Self::Implicit { .. } | Self::Reptile)
    }

    /// The inner steps whose Hessians it multiplies with, in order: those must keep their residuals.
    pub fn reads(&self, steps: usize) -> Vec<usize> {
        match *self {
            Self::FirstOrder | Self::Reptile | Self::Implicit { .. } => Vec::new(),
            Self::Truncated { order } => (steps - order..steps).collect(),
            Self::Hybrid { order: 0, .. } | Self::Binomial { order: 0, .. } => Vec::new(),
            Self::Hybrid { window, .. } => (steps - window..steps).collect(),
            Self::Segments { count, degree } => segments::reads(steps, count, degree),
            Self::Fitted { order: 0, .. } => vec![steps / 2],
            Self::Binomial { .. } | Self::Fitted { .. } | Self::Adaptive { .. } | Self::Exact => (0..steps).collect(),
        }
    }

    /// Number of Hessian-vector products for gradient descent and one query loss; of an adaptive estimator the most it may
    /// take. Elsewhere binomial and hybrid take as many as fitted.
    pub fn products(&self, steps: usize) -> usize {
        match *self {
            Self::Binomial { order, .. } => order * (steps - order + 1),
            Self::Hybrid { order, window } => order * (window - order + 1),
            Self::Fitted { order, probe } => by_order(steps, order) + probe,
            Self::Adaptive { .. } => by_order(steps, steps),
            _ => self.order(steps),
        }
    }

    /// How many of them in sequence, where products that do not wait for each other run side by side.
    pub fn depth(&self, steps: usize) -> usize {
        match *self {
            Self::Fitted { order, probe } => order + probe,
            _ => self.order(steps),
        }
    }

    /// The estimate for an inner loop that was run.
    ///
    /// The settings must hold for its number of steps ([`check`](Self::check)); products are asked for steps in
    /// [`reads`](Self::reads) alone.
    ///
    /// # Errors
    ///
    /// Those of the products.
    ///
    /// # Panics
    ///
    /// Panics for the estimators that are not made of the steps' Jacobians ([`is_unrolled`](Self::is_unrolled)).
    pub fn estimate<U: Unrolled>(&self, system: &U) -> Result<Estimate<U::State>, U::Error> {
        match *self {
            Self::Binomial { order, expansion } if cascade::applies(system) => {
                let value = cascade::cascade(system, order, expansion.factor(order, system.steps()))?;
                Ok(self.fixed(system.steps(), value))
            }
            Self::Hybrid { order, window } if cascade::applies(system) => {
                let last = Window { system, from: system.steps() - window };
                Ok(self.fixed(system.steps(), cascade::cascade(&last, order, 1.0)?))
            }
            Self::Segments { count, degree } if let Some(descents) = segments::descents(system) => {
                let (value, products) = segments::run_back(system, &descents, count, degree)?;
                Ok(Estimate { products, ..self.fixed(system.steps(), value) })
            }
            _ => self.estimate_observed(system, |_, _| ()),
        }
    }

    /// [`estimate`](Self::estimate), with `observe` told the estimated cotangent of the state after each step, from the last
    /// step to the first: a gradient with respect to what a step computes with is made of it. Binomial and hybrid go order by
    /// order, at more products; segments step by step, at more sums of vectors.
    ///
    /// # Errors
    ///
    /// As [`estimate`](Self::estimate).
    ///
    /// # Panics
    ///
    /// As [`estimate`](Self::estimate).
    pub fn estimate_observed<U: Unrolled>(
        &self,
        system: &U,
        mut observe: impl FnMut(usize, &U::State),
    ) -> Result<Estimate<U::State>, U::Error> {
        let steps = system.steps();
        let order = self.order(steps);
        match *self {
            Self::FirstOrder | Self::Truncated { .. } | Self::Exact => {
                Ok(self.fixed(steps, sweep::sweep(system, steps - order..steps, observe)?))
            }
            Self::Binomial { expansion, .. } => {
                let factor = expansion.factor(order, steps);
                let weights: Vec<f64> = (0..=order as i32).map(|l| factor.powi(l)).collect();
                let value = orders::weighted(system, &weights, observe)?;
                Ok(Estimate { products: by_order(steps, order), ..self.fixed(steps, value) })
            }
            Self::Hybrid { window, .. } => {
                let from = steps - window;
                let last = Window { system, from };
                let z = orders::weighted(&last, &vec![1.0; order + 1], |step, z| observe(from + step, z))?;
                let value = sweep::still(system, from, z, observe);
                Ok(Estimate { products: by_order(window, order), ..self.fixed(steps, value) })
            }
            Self::Adaptive { tolerance } => adaptive::estimate(system, tolerance, observe),
            Self::Fitted { probe, .. } => fitted::estimate(system, order, probe, observe),
            Self::Segments { count, degree } => {
                let (value, products) = segments::estimate(system, count, degree, observe)?;
                Ok(Estimate { products, ..self.fixed(steps, value) })
            }
            Self::Implicit { .. } | Self::Reptile => panic!("{} is not made of the steps' Jacobians", self.name()),
        }
    }

    fn fixed<V>(&self, steps: usize, value: V) -> Estimate<V> {
        Estimate { value, order: self.order(steps), products: self.products(steps), neglected: None }
    }
}

impl Expansion {
    /// What each Hessian is multiplied by.
    fn factor(self, order: usize, steps: usize) -> f64 {
        match self {
            Self::Plain => 1.0,
            Self::Scaled => order as f64 / steps as f64,
        }
    }
}

/// Products that all orders up to L take: K - l + 1 for order l.
fn by_order(steps: usize, order: usize) -> usize {
    (1..=order).map(|l| steps - l + 1).sum()
}

/// The last steps of a system.
struct Window<'a, U> {
    system: &'a U,
    from: usize,
}

impl<U: Unrolled> Unrolled for Window<'_, U> {
    type State = U::State;
    type Error = U::Error;

    fn steps(&self) -> usize {
        self.system.steps() - self.from
    }

    fn source(&self, step: usize) -> Option<U::State> {
        self.system.source(self.from + step)
    }

    fn still(&self, step: usize, z: &U::State) -> U::State {
        self.system.still(self.from + step, z)
    }

    fn through(&self, step: usize, z: &U::State) -> U::State {
        self.system.through(self.from + step, z)
    }

    fn hessian(&self, step: usize, v: &U::State) -> Result<U::State, U::Error> {
        self.system.hessian(self.from + step, v)
    }

    fn curved_each(&self, work: &[(usize, &U::State)]) -> Result<Vec<U::State>, U::Error> {
        let work: Vec<_> = work.iter().map(|&(step, z)| (self.from + step, z)).collect();
        self.system.curved_each(&work)
    }

    fn adapting(&self, v: &U::State) -> Option<U::State> {
        self.system.adapting(v)
    }

    fn descent(&self, step: usize) -> Option<Descent> {
        self.system.descent(self.from + step)
    }
}

#[cfg(test)]
mod tests;
