//! How curved the support loss is along an inner loop: what bounds and recommendations go by.
//!
//! Does not know: estimators.

use burn_func::{Batch, Key, LanczosConfig, Linearization, Params, Traced, lanczos, lanczos_from};
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::inner::{Keep, Trajectory};
use crate::theory::{Bounds, Curvature};
use crate::update::Update;

/// Ends of the spectrum of the support loss's Hessian, over all steps of a task's inner loop, in the parameters that adapt.
/// Found by the Lanczos process: from within, never beyond the true ends.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct InnerCurvature {
    /// Inner steps, K.
    pub steps: usize,
    /// Inner learning rate, a.
    pub rate: f64,
    /// The largest eigenvalue at any step.
    pub largest: f64,
    /// The smallest eigenvalue at any step.
    pub smallest: f64,
    /// Whether all were settled to the tolerance.
    pub converged: bool,
    /// Hessian-vector products taken.
    pub products: usize,
}

impl InnerCurvature {
    /// The largest norm of a Hessian.
    pub fn norm(&self) -> f64 {
        self.largest.abs().max(self.smallest.abs())
    }

    /// `a ||H||`: what expansions in the Hessians are expansions in. Over 2 the inner loop diverges.
    pub fn reach(&self) -> f64 {
        self.rate * self.norm()
    }

    /// The bounds on the estimators' errors (arXiv 2604.13263) for this norm, of the sharpest kind whose assumption holds for the
    /// eigenvalues found. Since those are from within, it is an estimate of a bound.
    pub fn bounds(&self) -> Bounds {
        let curvature = match self.smallest {
            least if least > 0.0 => Curvature::StronglyConvex { least },
            0.0 if self.reach() <= 2.0 => Curvature::Convex,
            _ => Curvature::Lipschitz,
        };
        Bounds { steps: self.steps, rate: self.rate, norm: self.norm(), curvature }
    }
}

/// Runs the inner loop of a task and looks at the Hessian of every step, from the eigenvectors of the step before on.
pub(crate) fn along<B: Batch, A: Batch>(
    update: &Update,
    (steps, rate): (usize, f64),
    support: &Traced<B, A>,
    (start, batch, key): (&Params, &B, Key),
    config: &LanczosConfig,
) -> Result<InnerCurvature> {
    let all: Vec<usize> = (0..steps).collect();
    let keep = Keep { points: &all, ..Keep::NOTHING };
    let trajectory = Trajectory::run(update, steps, support, start, batch, key, &keep)?;
    let (largest, smallest) = (f64::NEG_INFINITY, f64::INFINITY);
    let mut found = InnerCurvature { steps, rate, largest, smallest, converged: true, products: 0 };
    let mut near: Option<Params> = None;
    for point in trajectory.points.iter().flatten() {
        let spectrum = match &near {
            Some(near) => lanczos_from(near, config, |v| product(update, point, v))?,
            None => lanczos(&update.part(start), config, |v| product(update, point, v))?,
        };
        found.largest = found.largest.max(spectrum.largest.value);
        found.smallest = found.smallest.min(spectrum.smallest.value);
        found.converged &= spectrum.converged;
        found.products += spectrum.products;
        near = Some(spectrum.largest.vector.add(&spectrum.smallest.vector));
    }
    Ok(found)
}

/// The product in the parameters that adapt.
fn product(update: &Update, point: &Linearization, v: &Params) -> burn_func::Result<Params> {
    Ok(update.part(&point.hvp(&update.padded(v))?))
}
