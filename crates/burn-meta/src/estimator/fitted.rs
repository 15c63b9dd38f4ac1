//! Weights for the orders of the expansion, fitted to an interval that holds the spectrum.
//!
//! With one Hessian for all steps order l is `a_l H^l g`, where `a_l` is the coefficient of `x^l` in
//! `f(x) = prod_k (keep_k - rate_k x)`. All orders up to L with weight one are the Taylor polynomial of f at zero, which is
//! good near zero alone. A sum with weights is any polynomial of degree L; here it is the one of f's Chebyshev series on
//! the interval, cut off at L, within a small factor of the best there is.
//!
//! Does not know: orders as vectors.

use crate::estimator::krylov::ends;
use crate::estimator::sweep::end;
use crate::unrolled::{Descent, Unrolled};
use crate::vector::Vector;

/// An interval that holds the eigenvalues of the Hessians.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Interval {
    low: f64,
    high: f64,
}

/// The weights of orders 0..=L, and the largest error of their polynomial over the spectrum of the middle step's Hessian, as
/// far as `probe` products with it tell.
pub(super) fn weights_for<U: Unrolled>(
    system: &U,
    steps: &[Descent],
    order: usize,
    probe: usize,
) -> Result<(Vec<f64>, f64), U::Error> {
    let step = steps.len() / 2;
    let per_rate = -1.0 / steps[step].rate;
    let (low, high) = ends(&end(system), probe, |v| Ok(system.curved(step, v)?.scale(per_rate)))?;
    // Most eigenvalues of a network's Hessian are near zero.
    let on = Interval { low: low.min(0.0), high: high.max(0.0) };
    Ok(if on.high > on.low { weights(steps, order, on) } else { (vec![1.0; order + 1], 0.0) })
}

/// The weights of orders 0..=L, and the largest error of the polynomial on the interval.
fn weights(steps: &[Descent], order: usize, on: Interval) -> (Vec<f64>, f64) {
    let exact = product(steps);
    let fitted = chebyshev(|x| value(&exact, x), order, on);
    let weights = fitted.iter().zip(&exact).map(|(fitted, exact)| if *exact == 0.0 { 0.0 } else { fitted / exact });
    let error = points(on, 4 * POINTS).map(|x| (value(&fitted, x) - value(&exact, x)).abs()).fold(0.0, f64::max);
    (weights.collect(), error)
}

/// Where a function is sampled for its Chebyshev series: exact for polynomials of lower degree.
const POINTS: usize = 64;

/// The coefficients of `prod_k (keep_k - rate_k x)`, lowest first.
fn product(steps: &[Descent]) -> Vec<f64> {
    steps.iter().fold(vec![1.0], |sum, step| {
        let kept = sum.iter().map(|c| c * step.keep).chain([0.0]);
        let moved = [0.0].into_iter().chain(sum.iter().map(|c| -c * step.rate));
        kept.zip(moved).map(|(a, b)| a + b).collect()
    })
}

fn value(polynomial: &[f64], x: f64) -> f64 {
    polynomial.iter().rev().fold(0.0, |sum, c| sum * x + c)
}

/// The Chebyshev points of an interval.
fn points(on: Interval, n: usize) -> impl Iterator<Item = f64> {
    let (middle, half) = centred(on);
    (0..n).map(move |i| middle + half * angle(i, n).cos())
}

fn angle(i: usize, n: usize) -> f64 {
    std::f64::consts::PI * (i as f64 + 0.5) / n as f64
}

fn centred(on: Interval) -> (f64, f64) {
    (0.5 * (on.low + on.high), 0.5 * (on.high - on.low))
}

/// Coefficients, lowest first, of the Chebyshev series of `f` on an interval, up to a degree.
fn chebyshev(f: impl Fn(f64) -> f64, degree: usize, on: Interval) -> Vec<f64> {
    let (middle, half) = centred(on);
    let samples: Vec<f64> = points(on, POINTS).map(f).collect();
    let series = |j: usize| {
        let sum: f64 = samples.iter().enumerate().map(|(i, y)| y * (j as f64 * angle(i, POINTS)).cos()).sum();
        sum * if j == 0 { 1.0 } else { 2.0 } / POINTS as f64
    };
    // T_0 = 1, T_1 = y, T_{j+1} = 2 y T_j - T_{j-1}, with y = (x - middle) / half.
    let times_y = |p: &[f64]| -> Vec<f64> {
        let moved = [0.0].into_iter().chain(p.iter().copied());
        let kept = p.iter().copied().chain([0.0]);
        moved.zip(kept).map(|(moved, kept)| (moved - middle * kept) / half).collect()
    };
    let mut sum = vec![0.0; degree + 1];
    let (mut before, mut this) = (Vec::new(), vec![1.0]);
    for j in 0..=degree {
        let factor = series(j);
        sum.iter_mut().zip(&this).for_each(|(sum, c)| *sum += factor * c);
        let mut next = times_y(&this);
        if j > 0 {
            next.iter_mut().for_each(|c| *c *= 2.0);
        }
        next.iter_mut().zip(&before).for_each(|(next, before)| *next -= before);
        before = std::mem::replace(&mut this, next);
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(n: usize) -> Vec<Descent> {
        (0..n).map(|k| Descent { keep: 1.0, rate: 0.1 * (1.0 + 0.2 * k as f64) }).collect()
    }

    #[test]
    fn the_full_order_has_weights_of_one() {
        let on = Interval { low: -0.5, high: 9.0 };
        let (weights, error) = weights(&steps(5), 5, on);
        assert!(weights.iter().all(|w| (w - 1.0).abs() < 1e-10) && error < 1e-10, "{weights:?} {error:e}");
    }

    #[test]
    fn a_fit_is_closer_than_the_taylor_polynomial() {
        let (steps, on) = (steps(6), Interval { low: -0.2, high: 6.0 });
        let exact = product(&steps);
        let mut last = f64::INFINITY;
        for order in 1..6 {
            let (_, error) = weights(&steps, order, on);
            let taylor = points(on, 500).map(|x| (value(&exact[..=order], x) - value(&exact, x)).abs());
            let taylor = taylor.fold(0.0, f64::max);
            assert!(error < 0.6 * taylor && error < last, "order {order}: {error:e}, Taylor {taylor:e}");
            last = error;
        }
    }
}
