//! Many steps with one Hessian, in the small space that a few products with it span.
//!
//! Does not know: where the Hessian comes from, which steps are taken with it.

use crate::unrolled::Descent;
use crate::vector::Vector;

/// `prod_k (keep_k - rate_k H) v` in the space of `v, H v, .. H^d v`, from d products.
///
/// The Lanczos process gives an orthonormal basis of that space, and H in it as a tridiagonal matrix but for its last
/// element, which would take another product. That one is chosen so that the matrix has the eigenvalue zero, as
/// Gauss-Radau quadrature does with an end of the spectrum: the Hessians of networks have nearly all of theirs there. The
/// result is `p(H) v` with the polynomial of degree d that agrees with the product at zero and at the d other
/// eigenvalues of that matrix, which are those that `v` sees. One product (d = 1) gives
/// `v + (f(t) - 1) / t H v` with `t = |H v|^2 / (v' H v)`.
///
/// Exact where the space is invariant, and for d not less than the number of steps; the caller takes those one by one.
pub(super) fn run_back<V: Vector, E>(
    v: &V,
    steps: &[Descent],
    products: usize,
    hessian: impl FnMut(&V) -> Result<V, E>,
) -> Result<V, E> {
    let norm = v.norm();
    if norm == 0.0 || !norm.is_finite() {
        return Ok(v.clone());
    }
    let (basis, mut small) = lanczos(v.scale(1.0 / norm), products, hessian)?;
    if small.beside.len() == small.diagonal.len() {
        // A step that overshoots by more than it was off grows what it should shrink, in the inner loop too.
        let fastest = steps.iter().map(|step| step.rate).fold(0.0, f64::max);
        small.anchor(2.0 / fastest);
    }
    Ok(combined(&basis, &small.run_back(steps), norm))
}

/// The ends of the spectrum of H, as `products` products tell that start from `v`. Inside of the true ones.
pub(super) fn ends<V: Vector, E>(
    v: &V,
    products: usize,
    hessian: impl FnMut(&V) -> Result<V, E>,
) -> Result<(f64, f64), E> {
    let norm = v.norm();
    if norm == 0.0 || !norm.is_finite() {
        return Ok((0.0, 0.0));
    }
    let (_, mut small) = lanczos(v.scale(1.0 / norm), products, hessian)?;
    small.beside.truncate(small.diagonal.len() - 1);
    Ok(small.ends())
}

/// An orthonormal basis that begins with `unit`, and H in it: a matrix of `products` rows, and what stands beside its last
/// element. Without that where the space is invariant.
fn lanczos<V: Vector, E>(
    unit: V,
    products: usize,
    mut hessian: impl FnMut(&V) -> Result<V, E>,
) -> Result<(Vec<V>, Tridiagonal), E> {
    let (mut basis, mut small) = (vec![unit], Tridiagonal::default());
    for at in 0..products {
        let (next, diagonal) = orthogonalised(hessian(&basis[at])?, &basis);
        small.diagonal.push(diagonal);
        let length = next.norm();
        // What is left is rounding: the space is invariant.
        if length.is_nan() || length <= f64::from(f32::EPSILON) * small.largest() {
            break;
        }
        small.beside.push(length);
        basis.push(next.scale(1.0 / length));
    }
    Ok((basis, small))
}

/// What of a vector is orthogonal to a basis, and its component along the last of the basis. Twice is enough: the second pass
/// takes away what rounding left of the first.
fn orthogonalised<V: Vector>(v: V, basis: &[V]) -> (V, f64) {
    let mut along = 0.0;
    let mut rest = v;
    for _ in 0..2 {
        for (at, unit) in basis.iter().enumerate() {
            let component = rest.dot(unit);
            rest = rest.axpy(-component, unit);
            if at + 1 == basis.len() {
                along += component;
            }
        }
    }
    (rest, along)
}

fn combined<V: Vector>(basis: &[V], coefficients: &[f64], scale: f64) -> V {
    let first = basis[0].scale(scale * coefficients[0]);
    basis.iter().zip(coefficients).skip(1).fold(first, |sum, (unit, c)| sum.axpy(scale * c, unit))
}

/// A symmetric tridiagonal matrix.
#[derive(Default)]
struct Tridiagonal {
    diagonal: Vec<f64>,
    beside: Vec<f64>,
}

impl Tridiagonal {
    fn largest(&self) -> f64 {
        self.diagonal.iter().chain(&self.beside).fold(0.0, |largest, x| x.abs().max(largest))
    }

    /// Appends the last element of the diagonal: the one that makes the matrix singular, `b^2` times the last element of
    /// the inverse of what is there. With a Hessian that has no negative eigenvalue all eigenvalues then are inside of
    /// the spectrum. Negative curvature may cancel what there is to invert, and the largest eigenvalue be anywhere; zero in
    /// that place keeps it within the norm, and is taken where an eigenvalue reaches `limit`.
    fn anchor(&mut self, limit: f64) {
        let rows = self.diagonal.len();
        let mut pivot = self.diagonal[0];
        for at in 1..rows {
            pivot = self.diagonal[at] - self.beside[at - 1].powi(2) / pivot;
        }
        let last = self.beside[rows - 1].powi(2) / pivot;
        self.diagonal.push(last);
        if !last.is_finite() || self.below(limit) <= rows {
            self.diagonal[rows] = 0.0;
        }
    }

    /// The least and the largest eigenvalue, by bisection.
    fn ends(&self) -> (f64, f64) {
        let radius = 3.0 * self.largest();
        let n = self.diagonal.len();
        let search = |wanted: usize| {
            let (mut low, mut high) = (-radius, radius);
            for _ in 0..100 {
                let middle = 0.5 * (low + high);
                if self.below(middle) >= wanted { high = middle } else { low = middle }
            }
            0.5 * (low + high)
        };
        (search(1), search(n))
    }

    /// How many eigenvalues are less than `x`: as many as the matrix less `x` has negative pivots.
    fn below(&self, x: f64) -> usize {
        let mut pivot = 1.0;
        let mut count = 0;
        for (at, diagonal) in self.diagonal.iter().enumerate() {
            let beside = if at > 0 { self.beside[at - 1].powi(2) } else { 0.0 };
            pivot = diagonal - x - beside / pivot;
            if pivot == 0.0 {
                pivot = f64::MIN_POSITIVE.sqrt();
            }
            count += usize::from(pivot < 0.0);
        }
        count
    }

    /// `prod_k (keep_k - rate_k T) e_1`.
    fn run_back(&self, steps: &[Descent]) -> Vec<f64> {
        let n = self.diagonal.len();
        let mut y = vec![0.0; n];
        y[0] = 1.0;
        for Descent { keep, rate } in steps {
            let times = |i: usize| {
                let left = if i > 0 { self.beside[i - 1] * y[i - 1] } else { 0.0 };
                let right = if i + 1 < n { self.beside[i] * y[i + 1] } else { 0.0 };
                self.diagonal[i] * y[i] + left + right
            };
            y = (0..n).map(|i| keep * y[i] - rate * times(i)).collect();
        }
        y
    }
}
