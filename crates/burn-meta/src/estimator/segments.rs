//! The steps in a few segments, each with one Hessian: that of its middle step.
//!
//! Between the steps of an inner loop the Hessian changes less than it does much: `(I - a H)^n` has high powers of a
//! Hessian that is nearly the same. A segment of n steps takes d products with one Hessian, and keeps one step's residuals. Two
//! errors remain: what the Hessian changes within a segment, least from its middle (the midpoint rule), and what a
//! polynomial of degree d misses, see `krylov.rs`. One segment is the frozen estimate, K are the exact one.
//!
//! Does not know: how the products are taken.

use std::ops::Range;

use crate::estimator::krylov::{fit, still};
use crate::estimator::sweep::{end, with_source};
use crate::unrolled::{Descent, Unrolled};
use crate::vector::Vector;

/// The steps of each segment, in order, as equal as can be; the shorter ones come first, so that `K = 5` in three is 1, 2, 2.
pub(super) fn segments(steps: usize, count: usize) -> impl DoubleEndedIterator<Item = Range<usize>> {
    (0..count).map(move |at| at * steps / count..(at + 1) * steps / count)
}

/// The step whose Hessian stands for a segment.
pub(super) fn middle(segment: &Range<usize>) -> usize {
    segment.start + segment.len() / 2
}

/// Steps whose residuals are read: the middle ones, and all of a segment that is not longer than its degree.
pub(super) fn reads(steps: usize, count: usize, degree: usize) -> Vec<usize> {
    let of =
        |segment: Range<usize>| if segment.len() <= degree { segment } else { middle(&segment)..middle(&segment) + 1 };
    segments(steps, count).flat_map(of).collect()
}

/// Hessian-vector products: up to `degree` for each segment, all in sequence.
pub(super) fn products(steps: usize, count: usize, degree: usize) -> usize {
    segments(steps, count).map(|segment| segment.len().min(degree)).sum()
}

/// The estimate, and the products it took.
pub(super) fn estimate<U: Unrolled>(
    system: &U,
    count: usize,
    degree: usize,
    mut observe: impl FnMut(usize, &U::State),
) -> Result<(U::State, usize), U::Error> {
    let (mut z, mut products) = (end(system), 0);
    for segment in segments(system.steps(), count).rev() {
        let fit = match segment.len() <= degree {
            true => None,
            false => Some(fit(system, middle(&segment), (segment.len(), 1.0), &z, degree)?),
        };
        products += fit.as_ref().map_or(segment.len(), |fit| fit.products);
        for step in segment.rev() {
            observe(step, &z);
            let before = match &fit {
                Some(fit) => still(system, fit, step, &z),
                None => system.still(step, &z).axpy(1.0, &system.curved(step, &z)?),
            };
            z = with_source(system, step, before);
        }
    }
    Ok((z, products))
}

/// The steps, where all are gradient descent and there is one loss.
pub(super) fn descents<U: Unrolled>(system: &U) -> Option<Vec<Descent>> {
    let one_loss = (0..system.steps()).all(|step| system.source(step).is_none());
    (0..system.steps()).map(|step| system.descent(step).filter(|_| one_loss)).collect()
}

/// The same for gradient descent, with the steps of a segment run in the space of the fit, where they cost nothing.
pub(super) fn run_back<U: Unrolled>(
    system: &U,
    descents: &[Descent],
    count: usize,
    degree: usize,
) -> Result<(U::State, usize), U::Error> {
    segments(system.steps(), count).rev().try_fold((end(system), 0), |(z, products), segment| {
        if segment.len() <= degree {
            return segment.rev().try_fold((z, products), |(z, products), step| {
                let curved = system.curved(step, &z)?;
                Ok((system.still(step, &z).axpy(1.0, &curved), products + 1))
            });
        }
        let fit = fit(system, middle(&segment), (segment.len(), 1.0), &z, degree)?;
        Ok((fit.run_back(&z, &descents[segment]), products + fit.products))
    })
}
