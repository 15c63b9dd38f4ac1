//! The expansion, order by order until what is left no longer matters.
//!
//! Does not know: how products are taken.

use crate::estimator::Estimate;
use crate::estimator::orders::{Orders, Sum};
use crate::unrolled::Unrolled;
use crate::vector::Vector;

/// Adds orders until the rest is estimated to be smaller than `tolerance` of the sum, or there are no more.
///
/// With one Hessian, of which the query gradient sees one eigenvalue h, order l is `C(K, l) (a h)^l`: an order over the one before is
/// `(K - l + 1) / l` times a number that stays the same. That number is taken from the latest two orders, and what is left
/// is the sum of the orders that it predicts.
pub(super) fn estimate<U: Unrolled>(
    system: &U,
    tolerance: f64,
    observe: impl FnMut(usize, &U::State),
) -> Result<Estimate<U::State>, U::Error> {
    let steps = system.steps();
    let mut orders = Orders::new(system);
    let mut sum = Sum::new(steps);
    sum.add(1.0, &orders);
    let (mut products, mut neglected) = (0, f64::INFINITY);
    let mut last = orders.after(0).map_or(0.0, Vector::norm);
    while orders.order() < steps && (neglected > tolerance || neglected.is_nan()) {
        orders.advance()?;
        products += steps - orders.order() + 1;
        sum.add(1.0, &orders);
        let this = orders.after(0).map_or(0.0, Vector::norm);
        let whole = sum.start().map_or(0.0, Vector::norm);
        neglected = remainder(steps, orders.order(), last, this) / whole;
        last = this;
    }
    let order = orders.order();
    Ok(Estimate { value: sum.finish(observe), order, products, neglected: Some(neglected) })
}

/// The orders after `order`, added up, by the last two.
fn remainder(steps: usize, order: usize, before: f64, this: f64) -> f64 {
    if this == 0.0 {
        return 0.0;
    }
    let weight = |l: usize| (steps - l + 1) as f64 / l as f64;
    let eigenvalue = this / before / weight(order);
    let mut term = this;
    (order + 1..=steps)
        .map(|l| {
            term *= eigenvalue * weight(l);
            term
        })
        .sum()
}
