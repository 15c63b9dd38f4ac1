//! Estimators of one's own.
//!
//! Does not know: how an inner loop is run.

use std::fmt;
use std::sync::Arc;

use crate::error::Result;
use crate::estimator::{Estimate, Estimator};
use crate::state::State;
use crate::task_loop::TaskLoop;

/// An estimator of one's own, for [`Maml::with_estimator`](crate::Maml::with_estimator).
///
/// It sees the inner loop of a task from its end ([`Unrolled`](crate::Unrolled)): the gradient of the query loss, the way
/// back through a step with its gradient held still, and the Hessian-vector product. What it makes of them is the
/// meta-gradient. It works for every inner rule, memory and filter, since those are in the steps.
///
/// # Example
///
/// Back-propagation through every other step:
///
/// ```
/// use burn_meta::{CustomEstimator, Estimate, Result, State, TaskLoop, Unrolled, Vector};
///
/// #[derive(Debug)]
/// struct EveryOther;
///
/// impl CustomEstimator for EveryOther {
///     fn name(&self) -> &'static str {
///         "every other"
///     }
///
///     fn reads(&self, steps: usize) -> Vec<usize> {
///         (0..steps).filter(|step| step % 2 == 0).collect()
///     }
///
///     fn estimate(&self, task: &TaskLoop<'_>) -> Result<Estimate<State>> {
///         let steps = task.steps();
///         let mut z = task.source(steps).expect("a query loss after the last step");
///         for step in (0..steps).rev() {
///             let still = task.still(step, &z);
///             z = if step % 2 == 0 { still.axpy(1.0, &task.curved(step, &z)?) } else { still };
///             if let Some(source) = task.source(step) {
///                 z = z.axpy(1.0, &source); // of a multi-step loss
///             }
///         }
///         let products = self.reads(steps).len();
///         Ok(Estimate { value: z, order: products, products, neglected: None })
///     }
/// }
///
/// # use burn_meta::{Estimator, InnerLoopConfig, MamlConfig};
/// let maml = MamlConfig::new(InnerLoopConfig::new(0.01), Estimator::Exact).init()?.with_estimator(EveryOther);
/// # Ok::<(), burn_meta::Error>(())
/// ```
pub trait CustomEstimator: fmt::Debug + Send + Sync {
    /// Its name, for reports.
    fn name(&self) -> &'static str;

    /// The inner steps whose Hessians it multiplies with: those keep their residuals, and no others.
    fn reads(&self, steps: usize) -> Vec<usize>;

    /// The cotangent of the state before the first step.
    ///
    /// # Errors
    ///
    /// Those of the products.
    fn estimate(&self, task: &TaskLoop<'_>) -> Result<Estimate<State>>;
}

/// What makes a meta-gradient of an inner loop.
#[derive(Clone, Debug)]
pub(crate) enum Method {
    Known(Estimator),
    Custom(Arc<dyn CustomEstimator>),
}

impl Method {
    pub fn name(&self) -> &'static str {
        match self {
            Self::Known(estimator) => estimator.name(),
            Self::Custom(custom) => custom.name(),
        }
    }

    pub fn estimator(&self) -> Option<Estimator> {
        match self {
            Self::Known(estimator) => Some(*estimator),
            Self::Custom(_) => None,
        }
    }

    pub fn reads(&self, steps: usize) -> Vec<usize> {
        match self {
            Self::Known(estimator) => estimator.reads(steps),
            Self::Custom(custom) => custom.reads(steps),
        }
    }

    /// Whether it is made of the steps' Jacobians.
    pub fn is_unrolled(&self) -> bool {
        self.estimator().is_none_or(|estimator| estimator.is_unrolled())
    }

    /// Vectors it holds at a time, about.
    pub fn vectors(&self, steps: usize) -> usize {
        match self.estimator() {
            Some(Estimator::FirstOrder | Estimator::Reptile) => 2,
            Some(Estimator::Truncated { .. } | Estimator::Exact) => 3,
            Some(Estimator::Binomial { order, .. }) => 2 * (steps - order + 1) + 1,
            Some(Estimator::Implicit { .. }) => 6,
            Some(Estimator::Segments { degree, .. }) => degree + 4,
            _ => 3 * (steps + 1),
        }
    }
}
