//! One Hessian in the small space that a few products with it span, and many steps with it.
//!
//! Does not know: where the Hessian comes from, which steps are taken with it.

use crate::unrolled::{Descent, Unrolled};
use crate::vector::Vector;

/// A Hessian as far as d products with it, from `v` on, tell: an orthonormal basis of the space of `v, H v, .. H^d v`, and H in
/// it.
///
/// The Lanczos process gives both, but for the last element of a tridiagonal matrix, which would take another product.
/// That one is chosen so that the matrix has the eigenvalue zero, as Gauss-Radau quadrature does with an end of the
/// spectrum: the Hessians of networks have nearly all of theirs there. The d other eigenvalues are those that `v` sees.
///
/// # What is believed
///
/// One Hessian stands for those of n steps, and a step multiplies what it sees of an eigenvalue h with `1 - a h`. Taken to the
/// n-th power that is worth nothing where it is large: an inner loop that overshoots at its middle step, `a h > 1`, does not do so
/// at all of them, or it would not end. So no eigenvalue is believed over `1 / a`, where a step takes all there is, nor under
/// `-1 / (n a)`, where n steps grow by e. Without it a few tasks whose curvature is large have meta-gradients that drown all
/// others, and meta-training suffers though the median error does not (docs/adr/0011). An expansion about the fit makes up for
/// what is not believed; up to `2 / a` it is closer with it.
///
/// Where some parameters alone adapt, all of this is about the block of those; what the products have in the others is kept as it is.
pub(super) struct Fit<V> {
    basis: Vec<V>,
    /// Eigenvalues of H in the basis, and their eigenvectors in it.
    pairs: Vec<(f64, Vec<f64>)>,
    /// What the product with each of the basis has in parameters that do not adapt; empty where all do.
    cross: Vec<V>,
    /// Products taken: fewer than asked for where the space is invariant.
    pub products: usize,
}

/// The Hessian of a step, from a cotangent on, to stand for those of `steps` steps, with no eigenvalue over `overshoot` by the
/// rate. One product gives
/// `H z = (v' z) t v`, near enough, with `v` along the gradient's cotangent and `t = |H v|^2 / (v' H v)`.
pub(super) fn fit<U: Unrolled>(
    system: &U,
    step: usize,
    (steps, overshoot): (usize, f64),
    z: &U::State,
    products: usize,
) -> Result<Fit<U::State>, U::Error> {
    let v = system.through(step, z);
    let norm = v.norm();
    if norm == 0.0 || !norm.is_finite() {
        return Ok(Fit { basis: Vec::new(), pairs: Vec::new(), cross: Vec::new(), products: 0 });
    }
    let Lanczos { basis, mut small, cross } = lanczos(system, step, v.scale(1.0 / norm), products)?;
    let products = small.diagonal.len();
    // What the step multiplies a gradient with, for this cotangent: the rate, in gradient descent.
    let rate = norm / z.norm();
    if small.beside.len() == products {
        small.anchor(2.0 / rate);
    }
    let mut pairs = small.pairs();
    for (value, _) in &mut pairs {
        *value = value.clamp(-1.0 / (steps as f64 * rate), overshoot / rate);
    }
    Ok(Fit { basis, pairs, cross, products })
}

/// A cotangent taken back through a step whose Hessian is a fit.
pub(super) fn still<U: Unrolled>(system: &U, fit: &Fit<U::State>, step: usize, z: &U::State) -> U::State {
    system.still(step, z).axpy(1.0, &fit.times(&system.through(step, z)))
}

impl<V: Vector> Fit<V> {
    /// What stands for `H v`.
    pub fn times(&self, v: &V) -> V {
        let within = v.dots(&self.basis);
        let product = self.combined(&self.function(&within, |value| value)).unwrap_or_else(|| v.scale(0.0));
        self.cross.iter().zip(&within).fold(product, |sum, (cross, c)| sum.axpy(*c, cross))
    }

    /// `prod_k (keep_k - rate_k H) z` of the `z` it was made from, by gradient descent: `p(H) z` with the polynomial of degree d
    /// that agrees with the product at zero and at the eigenvalues of the fit. Takes no products.
    pub fn run_back(&self, z: &V, steps: &[Descent]) -> V {
        let mut within: Vec<f64> = self.basis.iter().take(1).map(|unit| unit.dot(z)).collect();
        within.resize(self.basis.len(), 0.0);
        let product = |value| steps.iter().map(|Descent { keep, rate }| keep - rate * value).product();
        self.combined(&self.function(&within, product)).unwrap_or_else(|| z.clone())
    }

    /// A function of the small matrix times a vector.
    fn function(&self, y: &[f64], of: impl Fn(f64) -> f64) -> Vec<f64> {
        let mut sum = vec![0.0; y.len()];
        for (value, vector) in &self.pairs {
            let along: f64 = vector.iter().zip(y).map(|(a, b)| a * b).sum();
            sum.iter_mut().zip(vector).for_each(|(sum, unit)| *sum += of(*value) * along * unit);
        }
        sum
    }

    fn combined(&self, coefficients: &[f64]) -> Option<V> {
        let mut terms = self.basis.iter().zip(coefficients);
        let first = terms.next().map(|(unit, c)| unit.scale(*c))?;
        Some(terms.fold(first, |sum, (unit, c)| sum.axpy(*c, unit)))
    }
}

/// An orthonormal basis, and H in it: a matrix of a row for each product, and what stands beside its last element. Without
/// that where the space is invariant.
struct Lanczos<V> {
    basis: Vec<V>,
    small: Tridiagonal,
    cross: Vec<V>,
}

/// The basis that begins with `unit`.
fn lanczos<U: Unrolled>(
    system: &U,
    step: usize,
    unit: U::State,
    products: usize,
) -> Result<Lanczos<U::State>, U::Error> {
    let mut found = Lanczos { basis: vec![unit], small: Tridiagonal::default(), cross: Vec::new() };
    for at in 0..products {
        let mut product = system.hessian(step, &found.basis[at])?;
        if let Some(adapting) = system.adapting(&product) {
            found.cross.push(product.axpy(-1.0, &adapting));
            product = adapting;
        }
        let (next, diagonal) = orthogonalised(product, &found.basis);
        found.small.diagonal.push(diagonal);
        let length = next.norm();
        // What is left is rounding: the space is invariant.
        if length.is_nan() || length <= f64::from(f32::EPSILON) * found.small.largest() {
            break;
        }
        found.small.beside.push(length);
        found.basis.push(next.scale(1.0 / length));
    }
    Ok(found)
}

/// What of a vector is orthogonal to a basis, and its component along the last of the basis. Twice is enough: the second pass
/// takes away what rounding left of the first.
fn orthogonalised<V: Vector>(v: V, basis: &[V]) -> (V, f64) {
    let mut along = 0.0;
    let mut rest = v;
    for _ in 0..2 {
        let components = rest.dots(basis);
        rest = basis.iter().zip(&components).fold(rest, |rest, (unit, component)| rest.axpy(-component, unit));
        along += components[basis.len() - 1];
    }
    (rest, along)
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
    /// the inverse of what is there. If H has no negative eigenvalue that element is positive, no more than the one it
    /// stands for, and all eigenvalues then are inside of the spectrum.
    ///
    /// Negative curvature may cancel what there is to invert and leave any number. A negative one is proof of it, and so
    /// is an eigenvalue over `limit`, at which a step overshoots by more than it was off and the inner loop itself
    /// diverges. Then zero takes the place: the curvature in a direction not looked at is most likely small.
    fn anchor(&mut self, limit: f64) {
        let rows = self.diagonal.len();
        let mut pivot = self.diagonal[0];
        for at in 1..rows {
            pivot = self.diagonal[at] - self.beside[at - 1].powi(2) / pivot;
        }
        let last = self.beside[rows - 1].powi(2) / pivot;
        self.diagonal.push(last);
        if !(last > 0.0 && last.is_finite()) || self.pairs().iter().any(|(value, _)| *value > limit) {
            self.diagonal[rows] = 0.0;
        }
    }

    /// Eigenvalues and eigenvectors, by Jacobi's rotations: each makes an element beside the diagonal zero.
    fn pairs(&self) -> Vec<(f64, Vec<f64>)> {
        let n = self.diagonal.len();
        let mut matrix = vec![vec![0.0; n]; n];
        for i in 0..n {
            matrix[i][i] = self.diagonal[i];
            if i + 1 < n {
                (matrix[i][i + 1], matrix[i + 1][i]) = (self.beside[i], self.beside[i]);
            }
        }
        let mut vectors: Vec<Vec<f64>> =
            (0..n).map(|i| (0..n).map(|j| f64::from(u8::from(i == j))).collect()).collect();
        // Converges quadratically: a dozen sweeps are more than enough for a few rows.
        for _ in 0..12 {
            for (p, q) in (0..n).flat_map(|p| (p + 1..n).map(move |q| (p, q))) {
                rotate(&mut matrix, &mut vectors, p, q);
            }
        }
        (0..n).map(|i| matrix[i][i]).zip(vectors).collect()
    }
}

/// Turns rows and columns p and q of a symmetric matrix so that the element between them is zero; the rows of `vectors` with
/// them.
fn rotate(matrix: &mut [Vec<f64>], vectors: &mut [Vec<f64>], p: usize, q: usize) {
    let between = matrix[p][q];
    if between == 0.0 {
        return;
    }
    let ratio = (matrix[q][q] - matrix[p][p]) / (2.0 * between);
    let tangent = ratio.signum() / (ratio.abs() + ratio.hypot(1.0));
    let cosine = 1.0 / tangent.hypot(1.0);
    let sine = tangent * cosine;
    let turned = |a: f64, b: f64| (cosine * a - sine * b, sine * a + cosine * b);
    for row in matrix.iter_mut() {
        (row[p], row[q]) = turned(row[p], row[q]);
    }
    for rows in [matrix, vectors] {
        for at in 0..rows[p].len() {
            (rows[p][at], rows[q][at]) = turned(rows[p][at], rows[q][at]);
        }
    }
}
