//! The expansion, order by order until what is left no longer matters.
//!
//! Does not know: how products are taken.

use crate::estimator::Estimate;
use crate::estimator::orders::{Orders, Sum};
use crate::estimator::sweep::sweep;
use crate::unrolled::Unrolled;
use crate::vector::Vector;

/// Adds orders until the rest is estimated to be smaller than `tolerance` of the sum. Where that seems to take more than half
/// as many further orders as there are steps, the exact product is taken instead: hardly longer in sequence, and K products
/// where all orders take K (K + 1) / 2.
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
    while orders.order() < steps {
        let before = orders.after(0).cloned();
        orders.advance()?;
        products += steps - orders.order() + 1;
        sum.add(1.0, &orders);
        let (Some(before), Some(this), Some(whole)) = (&before, orders.after(0), sum.start()) else { continue };
        let (order, whole) = (orders.order(), whole.norm());
        let rest = Rest::seen(before, this, order, steps);
        let left = rest.after(order);
        neglected = if left == 0.0 { 0.0 } else { left / whole };
        if neglected <= tolerance {
            break;
        }
        let needed = (order..steps).find(|&order| rest.after(order) <= tolerance * whole).unwrap_or(steps);
        if 2 * (needed - order) > steps {
            let value = sweep(system, 0..steps, observe)?;
            return Ok(Estimate { value, order: steps, products: products + steps, neglected: Some(0.0) });
        }
    }
    Ok(Estimate { value: sum.finish(observe), order: orders.order(), products, neglected: Some(neglected) })
}

/// What the orders to come add up to, by the last two.
///
/// With one Hessian, of which the query gradient sees one eigenvalue h, order l is `C(K, l) (a h)^l`: an order over the one
/// before is `(K - l + 1) / l` times a number that stays the same.
struct Rest {
    steps: usize,
    order: usize,
    /// Norm of the last order.
    last: f64,
    /// `a h`.
    eigenvalue: f64,
}

impl Rest {
    /// Of several eigenvalues the orders see the larger ones more and more, and the ratio of their norms lags behind.
    /// `|E_l|^2 / (E_l' E_{l-1})` is ahead of it, and still not above the next ratio where there is no negative curvature
    /// (by Cauchy and Schwarz).
    fn seen<V: Vector>(before: &V, this: &V, order: usize, steps: usize) -> Self {
        let last = this.norm();
        let eigenvalue = if last == 0.0 { 0.0 } else { last * last / this.dot(before).abs() / weight(steps, order) };
        Self { steps, order, last, eigenvalue }
    }

    /// All orders after this one, which is not before the last that was seen.
    fn after(&self, order: usize) -> f64 {
        let mut term = self.last;
        let terms = (self.order + 1..=self.steps).map(|l| {
            term *= self.eigenvalue * weight(self.steps, l);
            term
        });
        terms.skip(order - self.order).sum()
    }
}

/// What the number of terms grows by from order l - 1 to l.
fn weight(steps: usize, l: usize) -> f64 {
    (steps - l + 1) as f64 / l as f64
}
