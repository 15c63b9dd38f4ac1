//! The linear system of implicit meta-gradients: `(I + H / lambda) v = g`.
//!
//! If the inner loop ends at a stationary point of the support loss plus `lambda / 2` times the squared distance from the
//! start, the meta-gradient is this v, with H the Hessian of the support loss there and g the query gradient (iMAML;
//! Rajeswaran et al. 2019, arXiv 1909.04630). The inner steps are not needed, nor their residuals but the last.
//!
//! Does not know: inner loops, whether theirs ended at a stationary point.

use serde::{Deserialize, Serialize};

use crate::vector::Vector;

/// How the system is solved.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Solver {
    /// The method of conjugate gradients. For a Hessian with no eigenvalue at or below `-lambda`; it notices those that it
    /// meets. Of what any polynomial of the Hessian could do with as many products it does the best.
    ConjugateGradients {
        /// Most iterations; a product each. At least 1.
        iterations: usize,
        /// It ends when the residual is this small, relative to the right-hand side. Of 0..1; 0 takes all iterations. A system
        /// that is not solved to it within the iterations is no error: [`Solution::residual`] tells.
        tolerance: f64,
    },
    /// The Neumann series `sum_i (-H / lambda)^i g`. For a Hessian of a norm below `lambda` alone; slower than conjugate
    /// gradients.
    Neumann {
        /// Terms after the first; a product each. 0 is first-order.
        terms: usize,
    },
}

impl Default for Solver {
    /// Conjugate gradients of up to 20 iterations to a residual of 1e-4, which is below what the error of an inner loop that
    /// is not quite at its end point lets one see.
    fn default() -> Self {
        Self::ConjugateGradients { iterations: 20, tolerance: 1e-4 }
    }
}

/// A solution, and how good it is.
#[derive(Clone, Debug)]
pub struct Solution<V> {
    /// v.
    pub value: V,
    /// Hessian-vector products taken, with the one for the residual.
    pub products: usize,
    /// `|g - (I + H / lambda) v| / |g|`, by a product with v itself, not by the solver's own account.
    pub residual: f64,
}

/// Why a system has no solution here.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SolveError<E> {
    /// A product failed.
    #[error("Hessian-vector product: {0}")]
    Product(#[source] E),

    /// A setting that nothing can be solved with.
    #[error("{setting} is {value}: {expected} is needed")]
    Setting {
        /// Which one.
        setting: &'static str,
        /// Its value.
        value: f64,
        /// What was expected.
        expected: &'static str,
    },

    /// The system is not positive definite: the point that the inner loop ended at is no minimum of the regularised loss.
    #[error(
        "iteration {iteration} of conjugate gradients met the curvature {curvature:.3e} of I + H / lambda: a larger lambda is \
         needed, at least {:.3} times this one", 1.0 - curvature
    )]
    NegativeCurvature {
        /// The iteration, counted from 1.
        iteration: usize,
        /// `p' (I + H / lambda) p / p' p`, not positive.
        curvature: f64,
    },

    /// The Neumann series does not converge.
    #[error(
        "term {term} of the Neumann series is {growth:.3} times as long as the one before: the norm of the Hessian is no less \
         than lambda, take a larger lambda or conjugate gradients"
    )]
    Diverges {
        /// The term, counted from 1.
        term: usize,
        /// Its length over that of the one before, at least 1. The norm of the Hessian is at least this times lambda.
        growth: f64,
    },

    /// The right-hand side, a product or the solution is infinite or not a number.
    #[error("{quantity} is {value}")]
    NonFinite {
        /// Which quantity.
        quantity: &'static str,
        /// Its norm, or another number made of it.
        value: f64,
    },
}

impl Solver {
    /// Checks the settings.
    ///
    /// # Errors
    ///
    /// [`SolveError::Setting`].
    pub fn check<E>(&self) -> Result<(), SolveError<E>> {
        match *self {
            Self::ConjugateGradients { iterations: 0, .. } => {
                Err(SolveError::Setting { setting: "the number of iterations", value: 0.0, expected: "at least 1" })
            }
            Self::ConjugateGradients { tolerance, .. } if !(0.0..1.0).contains(&tolerance) => {
                Err(SolveError::Setting {
                    setting: "the tolerance of conjugate gradients",
                    value: tolerance,
                    expected: "a number from 0 to below 1",
                })
            }
            _ => Ok(()),
        }
    }

    /// Most products it takes, with the one for the residual.
    pub fn products(&self) -> usize {
        match *self {
            Self::ConjugateGradients { iterations, .. } => iterations + 1,
            Self::Neumann { terms } => terms + 1,
        }
    }

    /// Solves `(I + H / lambda) v = right`, with `hessian` the product with H, which has to be symmetric.
    ///
    /// # Errors
    ///
    /// [`SolveError`]: those of the products, settings out of range, a system that is not positive definite, a series that
    /// grows, numbers that are not finite.
    ///
    /// # Cost
    ///
    /// A product for each iteration or term, in sequence, and one for the residual. None for a right-hand side of zero.
    ///
    /// # Example
    ///
    /// ```
    /// use burn_meta::{Solver, Vector};
    /// # #[derive(Clone)] struct Number(f64);
    /// # impl Vector for Number {
    /// #     fn axpy(&self, scale: f64, rhs: &Self) -> Self { Number(self.0 + scale * rhs.0) }
    /// #     fn scale(&self, scale: f64) -> Self { Number(scale * self.0) }
    /// #     fn dot(&self, rhs: &Self) -> f64 { self.0 * rhs.0 }
    /// # }
    /// // In one dimension, with a curvature of 3 and lambda 2.
    /// let solution = Solver::default().solve(&Number(5.0), 2.0, |v: &Number| Ok::<_, std::fmt::Error>(v.scale(3.0)))?;
    /// assert!((solution.value.0 - 2.0).abs() < 1e-12 && solution.products == 2);
    /// # Ok::<(), burn_meta::SolveError<std::fmt::Error>>(())
    /// ```
    pub fn solve<V: Vector, E>(
        &self,
        right: &V,
        lambda: f64,
        hessian: impl FnMut(&V) -> Result<V, E>,
    ) -> Result<Solution<V>, SolveError<E>> {
        self.check()?;
        if !(lambda.is_finite() && lambda > 0.0) {
            let expected = "a positive finite number";
            return Err(SolveError::Setting { setting: "lambda", value: lambda, expected });
        }
        let size = finite("the norm of the right-hand side", right.norm())?;
        if size == 0.0 {
            return Ok(Solution { value: right.clone(), products: 0, residual: 0.0 });
        }
        let mut system = System { lambda, hessian, products: 0 };
        let value = match *self {
            Self::ConjugateGradients { iterations, tolerance } => {
                system.conjugate_gradients(right, iterations, tolerance * size)?
            }
            Self::Neumann { terms } => system.neumann(right, terms)?,
        };
        let rest = right.axpy(-1.0, &system.times(&value)?);
        let residual = finite("the residual", rest.norm() / size)?;
        Ok(Solution { value, products: system.products, residual })
    }
}

/// The operator, and how often it was applied.
struct System<F> {
    lambda: f64,
    hessian: F,
    products: usize,
}

impl<F> System<F> {
    /// `H v / lambda`.
    fn curved<V: Vector, E>(&mut self, v: &V) -> Result<V, SolveError<E>>
    where
        F: FnMut(&V) -> Result<V, E>,
    {
        self.products += 1;
        Ok((self.hessian)(v).map_err(SolveError::Product)?.scale(1.0 / self.lambda))
    }

    /// `(I + H / lambda) v`.
    fn times<V: Vector, E>(&mut self, v: &V) -> Result<V, SolveError<E>>
    where
        F: FnMut(&V) -> Result<V, E>,
    {
        Ok(self.curved(v)?.axpy(1.0, v))
    }

    /// From zero, until the residual is no longer than `enough`.
    fn conjugate_gradients<V: Vector, E>(
        &mut self,
        right: &V,
        iterations: usize,
        enough: f64,
    ) -> Result<V, SolveError<E>>
    where
        F: FnMut(&V) -> Result<V, E>,
    {
        let (mut value, mut rest, mut direction) = (right.scale(0.0), right.clone(), right.clone());
        let mut squared = rest.dot(&rest);
        for iteration in 1..=iterations {
            let product = self.times(&direction)?;
            let curvature = finite("a product", direction.dot(&product) / direction.dot(&direction))?;
            if curvature <= 0.0 {
                return Err(SolveError::NegativeCurvature { iteration, curvature });
            }
            let step = squared / direction.dot(&product);
            value = value.axpy(step, &direction);
            rest = rest.axpy(-step, &product);
            let before = std::mem::replace(&mut squared, rest.dot(&rest));
            if finite("the residual", squared.sqrt())? <= enough || squared == 0.0 {
                break;
            }
            direction = rest.axpy(squared / before, &direction);
        }
        Ok(value)
    }

    /// Of a symmetric matrix a term over the one before never gets smaller from term to term: one that grows is followed by
    /// none that shrinks.
    fn neumann<V: Vector, E>(&mut self, right: &V, terms: usize) -> Result<V, SolveError<E>>
    where
        F: FnMut(&V) -> Result<V, E>,
    {
        let (mut value, mut last) = (right.clone(), right.clone());
        let mut size = last.norm();
        for term in 1..=terms {
            last = self.curved(&last)?.scale(-1.0);
            let growth = finite("a product", last.norm() / size)?;
            if growth >= 1.0 {
                return Err(SolveError::Diverges { term, growth });
            }
            value = value.axpy(1.0, &last);
            size = last.norm();
            if size == 0.0 {
                break;
            }
        }
        Ok(value)
    }
}

fn finite<E>(quantity: &'static str, value: f64) -> Result<f64, SolveError<E>> {
    if value.is_finite() { Ok(value) } else { Err(SolveError::NonFinite { quantity, value }) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quadratics::{Dense, Numbers, orthonormal, symmetric};

    const N: usize = 8;

    type Failed = SolveError<&'static str>;

    /// A symmetric matrix with these eigenvalues, and a right-hand side.
    fn system(eigenvalues: &[f64; N], seed: u64) -> (Vec<f64>, Dense) {
        let mut numbers = Numbers(seed);
        let frame: Vec<Dense> = (0..N).map(|_| numbers.vector(N)).collect();
        (symmetric(eigenvalues, &orthonormal(&frame)), numbers.vector(N))
    }

    fn solve(solver: Solver, (matrix, right): &(Vec<f64>, Dense), lambda: f64) -> Result<Solution<Dense>, Failed> {
        let mut taken = 0;
        let solution = solver.solve(right, lambda, |v: &Dense| {
            taken += 1;
            Ok(v.times(matrix))
        });
        if let Ok(solution) = &solution {
            assert_eq!(solution.products, taken);
        }
        solution
    }

    /// `(I + H / lambda)^-1 right` by elimination with pivots.
    fn dense((matrix, right): &(Vec<f64>, Dense), lambda: f64) -> Dense {
        let unit = |i: usize, j: usize| f64::from(u8::from(i == j));
        let row = |i: usize| -> Vec<f64> {
            (0..N).map(|j| matrix[i * N + j] / lambda + unit(i, j)).chain([right.0[i]]).collect()
        };
        let mut rows: Vec<Vec<f64>> = (0..N).map(row).collect();
        for at in 0..N {
            let pivot = (at..N).max_by(|&a, &b| rows[a][at].abs().total_cmp(&rows[b][at].abs())).unwrap();
            rows.swap(at, pivot);
            let top = rows[at].clone();
            for (_, row) in rows.iter_mut().enumerate().filter(|(i, _)| *i != at) {
                let factor = row[at] / top[at];
                row.iter_mut().zip(&top).for_each(|(x, top)| *x -= factor * top);
            }
        }
        Dense(rows.iter().enumerate().map(|(i, row)| row[N] / row[i]).collect())
    }

    const CONVEX: [f64; N] = [0.0, 0.1, 0.3, 1.0, 2.0, 5.0, 20.0, 90.0];

    fn cg(iterations: usize, tolerance: f64) -> Solver {
        Solver::ConjugateGradients { iterations, tolerance }
    }

    #[test]
    fn conjugate_gradients_solve_to_their_tolerance() {
        for seed in 0..20 {
            for (lambda, tolerance) in [(1.0, 1e-12), (10.0, 1e-12), (100.0, 1e-6), (0.3, 1e-3)] {
                let system = system(&CONVEX, seed);
                let solution = solve(cg(60, tolerance), &system, lambda).unwrap();
                // The true residual is the solver's own but for rounding times the condition, at most 301.
                assert!(solution.residual <= tolerance + 1e-13, "{:e} of {tolerance:e}", solution.residual);
                let expected = dense(&system, lambda);
                // The least eigenvalue of the system is 1: the error is no larger than the residual.
                let error = solution.value.axpy(-1.0, &expected).norm() / system.1.norm();
                assert!(error <= tolerance + 1e-12, "{error:e} at {tolerance:e}");
                let rest = solution.value.times(&system.0).scale(1.0 / lambda).axpy(1.0, &solution.value);
                let residual = rest.axpy(-1.0, &system.1).norm() / system.1.norm();
                assert!((residual - solution.residual).abs() <= 1e-15, "the residual is not the true one");
            }
        }
    }

    #[test]
    fn conjugate_gradients_end_with_what_they_have() {
        let system = system(&CONVEX, 3);
        let mut last = f64::INFINITY;
        for iterations in 1..=N {
            let solution = solve(cg(iterations, 0.0), &system, 1.0).unwrap();
            assert_eq!(solution.products, iterations + 1);
            // The error in the norm of the system falls with every iteration.
            let error = solution.value.axpy(-1.0, &dense(&system, 1.0));
            let energy = error.dot(&error.times(&system.0).axpy(1.0, &error));
            assert!(energy < last, "{energy:e} after {last:e}");
            last = energy;
        }
        // In exact arithmetic the last one leaves nothing; rounding delays the end.
        assert!(last < 1e-10, "{last:e}");
        // A multiple of the identity takes one iteration.
        let solution = solve(Solver::default(), &self::system(&[4.0; N], 1), 2.0).unwrap();
        assert!(solution.products == 2 && solution.residual < 1e-15);
    }

    #[test]
    fn the_neumann_series_converges_where_it_may() {
        let eigenvalues = [-0.4, 0.0, 0.1, 0.2, 0.3, 0.4, 0.45, 0.5];
        for seed in 0..10 {
            let system = system(&eigenvalues, seed);
            for terms in [0, 1, 5, 45] {
                let solution = solve(Solver::Neumann { terms }, &system, 1.0).unwrap();
                assert_eq!(solution.products, terms + 1);
                // What is left is the next term.
                assert!(solution.residual <= 0.5f64.powi(terms as i32 + 1) + 1e-15, "{:e}", solution.residual);
                let error = solution.value.axpy(-1.0, &dense(&system, 1.0)).norm() / system.1.norm();
                assert!(error <= 0.5f64.powi(terms as i32 + 1) / 0.6 + 1e-15, "{error:e} after {terms} terms");
            }
        }
        let first_order = solve(Solver::Neumann { terms: 0 }, &system(&eigenvalues, 0), 1.0).unwrap();
        assert_eq!(first_order.value.0, system(&eigenvalues, 0).1.0);
    }

    #[test]
    fn negative_curvature_is_an_error_that_says_how_much() {
        let eigenvalues = [-3.0, 0.0, 0.1, 0.2, 0.3, 0.4, 0.45, 0.5];
        for seed in 0..10 {
            let system = system(&eigenvalues, seed);
            let error = solve(cg(50, 1e-12), &system, 2.0).unwrap_err();
            let Failed::NegativeCurvature { iteration, curvature } = error else { panic!("{error:?}") };
            // The least eigenvalue of the system is -0.5.
            assert!((1..=N + 1).contains(&iteration) && (-0.5..=0.0).contains(&curvature), "{iteration}: {curvature}");
            let text = error.to_string();
            assert!(text.contains(&format!("iteration {iteration} ")) && text.contains("larger lambda"), "{text}");
            // With the same Hessian and lambda over 3 it is positive definite.
            assert!(solve(cg(50, 1e-12), &system, 3.1).unwrap().residual <= 1e-10);
        }
    }

    #[test]
    fn a_growing_neumann_series_is_an_error() {
        for (lambda, seed) in [(89.0, 0), (5.0, 1), (0.1, 2)] {
            let error = solve(Solver::Neumann { terms: 5000 }, &system(&CONVEX, seed), lambda).unwrap_err();
            let Failed::Diverges { term, growth } = error else { panic!("{error:?}") };
            assert!(term >= 1 && growth >= 1.0 && growth <= 90.0 / lambda * (1.0 + 1e-12), "term {term}: {growth}");
            assert!(error.to_string().contains("no less than lambda"));
        }
        assert!(solve(Solver::Neumann { terms: 50 }, &system(&CONVEX, 0), 91.0).is_ok());
    }

    #[test]
    fn numbers_that_are_not_finite_never_pass() {
        let (matrix, right) = system(&CONVEX, 0);
        let mut broken = matrix.clone();
        broken[9] = f64::NAN;
        let mut right_broken = right.clone();
        right_broken.0[2] = f64::NAN;
        for solver in [Solver::default(), Solver::Neumann { terms: 2 }, Solver::Neumann { terms: 0 }] {
            let product = solve(solver, &(broken.clone(), right.clone()), 100.0);
            assert!(matches!(product, Err(Failed::NonFinite { .. })), "{product:?}");
            let side = solve(solver, &(matrix.clone(), right_broken.clone()), 100.0);
            assert!(matches!(side, Err(Failed::NonFinite { quantity: "the norm of the right-hand side", .. })));
            let refused: Result<Solution<Dense>, Failed> = solver.solve(&right, 1.0, |_| Err("no product"));
            assert_eq!(refused.unwrap_err(), Failed::Product("no product"));
        }
    }

    #[test]
    fn a_right_hand_side_of_zero_takes_no_product() {
        for solver in [Solver::default(), Solver::Neumann { terms: 3 }] {
            let solution = solve(solver, &(system(&CONVEX, 0).0, Dense(vec![0.0; N])), 1.0).unwrap();
            assert_eq!((solution.value.0, solution.products, solution.residual), (vec![0.0; N], 0, 0.0));
        }
    }

    #[test]
    fn settings_are_checked() {
        let system = system(&CONVEX, 0);
        for lambda in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            let error = solve(Solver::default(), &system, lambda).unwrap_err();
            assert!(matches!(error, Failed::Setting { setting: "lambda", .. }), "{error}");
        }
        for tolerance in [-1e-3, 1.0, f64::NAN, f64::INFINITY] {
            assert!(matches!(solve(cg(5, tolerance), &system, 1.0), Err(Failed::Setting { .. })), "{tolerance}");
        }
        assert!(matches!(solve(cg(0, 0.1), &system, 1.0), Err(Failed::Setting { .. })));
    }

    #[test]
    fn a_solver_is_a_setting() {
        let read: Solver = serde_json::from_str(r#"{ "name": "neumann", "terms": 7 }"#).unwrap();
        assert_eq!(read, Solver::Neumann { terms: 7 });
        let text = serde_json::to_string(&Solver::default()).unwrap();
        assert_eq!(text, r#"{"name":"conjugate-gradients","iterations":20,"tolerance":0.0001}"#);
    }
}
