//! The binomial estimate in fewer products, for gradient descent and a loss after the last step alone.
//!
//! Does not know: orders one by one.

use crate::estimator::sweep::end;
use crate::unrolled::Unrolled;
use crate::vector::Vector;

/// The sum of all terms of up to `order` Hessians by L stages of K - L + 1 independent products (arXiv 2604.13263, Theorem 3.2
/// and Algorithm 1), each Hessian multiplied by `factor`.
///
/// Stage i multiplies copy j with `H_{L-1-i+j}`. A copy then is the last copy of the stage before, which holds the
/// truncated estimate, less the sum of the products from its own on.
pub(super) fn cascade<U: Unrolled>(system: &U, order: usize, factor: f64) -> Result<U::State, U::Error> {
    let mut copies = vec![end(system); system.steps() - order + 1];
    for stage in 0..order {
        let first = order - 1 - stage;
        let work: Vec<(usize, &U::State)> = copies.iter().enumerate().map(|(j, v)| (first + j, v)).collect();
        let products = system.curved_each(&work)?;
        let mut running = copies[copies.len() - 1].clone();
        for (copy, product) in copies.iter_mut().zip(&products).rev() {
            running = running.axpy(factor, product);
            *copy = running.clone();
        }
    }
    Ok(copies.swap_remove(0))
}

/// Whether the cascade applies: plain gradient descent, and one loss.
pub(super) fn applies<U: Unrolled>(system: &U) -> bool {
    let steps = system.steps();
    let plain = |step| system.descent(step).is_some_and(|descent| descent.keep == 1.0);
    (0..steps).all(plain) && (0..steps).all(|step| system.source(step).is_none())
}
