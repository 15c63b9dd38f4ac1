//! The expansion about a fit of the curvature.
//!
//! A few products with the middle step's Hessian give a Hessian of low rank in its place, `F` (see `krylov.rs`). The
//! Jacobian of each step, `A_k + B_k H_k P`, then is `(A_k + B_k F P) + B_k (H_k - F) P`, and the product of all of them is
//! expanded in the second part alone, by how many deviations `H_k - F` a term has. Binomial is the same with F = 0, and this
//! is binomial's code on a system whose steps hold F still, whatever their rule.
//!
//! # What is left out
//!
//! For gradient descent, let y bound the norms of `rate (H_k - F)`, and c those of `keep - rate H_k` and `keep - rate F`. Order L leaves out at most
//! `C(K, L + 1) y^{L+1} c^{K-L-1}` times the norm of the query gradient: in a term left out, fix the (L+1)-th deviation
//! from the right; p steps are to the right of it, L of them deviations, and all to the left are whole Jacobians; sum
//! `C(p, L)` over p. For convex losses and `rate ||H|| <= 2` that is Theorem 3.8 of arXiv 2604.13263 with y in the place of
//! `rate ||H||`. y is no more than what the Hessian changes from the middle step to another, plus what the probe does
//! not see of the middle one. The largest eigenvalues are what it sees first: the rate times the change has to be
//! small, where polynomials in the Hessians need the rate times the norm to be.
//!
//! How large y is cannot be known without products. What is reported instead is the last order that was taken: the error
//! of the order before, all but what is left out now. Where the orders fall it is too much, by as much as they fall.
//!
//! Errors on drifting quadratics, next to binomial's: `cargo test -p burn-meta --lib fitted_is_closer -- --nocapture`.
//!
//! # Cost besides the products
//!
//! Every step that holds F still, and every product, takes an inner product and a sum with each of the `probe + 1` vectors of
//! the fit: nothing beside a Hessian-vector product of a network, but not of one with a few dozen parameters.
//!
//! Does not know: how orders are taken.

use crate::estimator::krylov::{Fit, fit, still};
use crate::estimator::orders::{Orders, Sum};
use crate::estimator::sweep::end;
use crate::estimator::{Estimate, by_order};
use crate::unrolled::Unrolled;
use crate::vector::Vector;

/// All terms of up to `order` deviations from a fit of `probe` products.
pub(super) fn estimate<U: Unrolled>(
    system: &U,
    order: usize,
    probe: usize,
    observe: impl FnMut(usize, &U::State),
) -> Result<Estimate<U::State>, U::Error> {
    // The middle is the best place: what the Hessian changes before and after it cancels in the first order.
    let steps = system.steps();
    let around = Around { system, fit: fit(system, steps / 2, (steps, 2.0), &end(system), probe)? };
    let mut orders = Orders::new(&around);
    let mut sum = Sum::new(steps);
    sum.add(1.0, &orders);
    for _ in 0..order {
        orders.advance()?;
        sum.add(1.0, &orders);
    }
    let norm = |v: Option<&U::State>| v.map_or(0.0, Vector::norm);
    let last = || norm(orders.after(0)) / norm(sum.start());
    let neglected = match order {
        0 => None,
        _ if order == steps => Some(0.0),
        _ => Some(last()),
    };
    let products = around.fit.products + by_order(steps, order);
    Ok(Estimate { value: sum.finish(observe), order, products, neglected })
}

/// A system whose steps hold a fit of the curvature still.
struct Around<'a, U: Unrolled> {
    system: &'a U,
    fit: Fit<U::State>,
}

impl<U: Unrolled> Unrolled for Around<'_, U> {
    type State = U::State;
    type Error = U::Error;

    fn steps(&self) -> usize {
        self.system.steps()
    }

    fn source(&self, step: usize) -> Option<U::State> {
        self.system.source(step)
    }

    fn still(&self, step: usize, z: &U::State) -> U::State {
        still(self.system, &self.fit, step, z)
    }

    fn through(&self, step: usize, z: &U::State) -> U::State {
        self.system.through(step, z)
    }

    fn hessian(&self, step: usize, v: &U::State) -> Result<U::State, U::Error> {
        Ok(self.system.hessian(step, v)?.axpy(-1.0, &self.fit.times(v)))
    }

    fn curved_each(&self, work: &[(usize, &U::State)]) -> Result<Vec<U::State>, U::Error> {
        let products = self.system.curved_each(work)?;
        let fitted = work.iter().map(|&(step, z)| self.fit.times(&self.system.through(step, z)));
        Ok(products.into_iter().zip(fitted).map(|(product, fitted)| product.axpy(-1.0, &fitted)).collect())
    }
}
