//! What a task keeps in memory while it is in work, known before it runs.
//!
//! Does not know: shapes, how the inner loop is run.

use crate::custom::Method;
use crate::estimator::Estimator;
use crate::update::Update;

/// What a task keeps for its meta-gradient.
pub(crate) struct Kept {
    /// Inner steps whose linearization is kept.
    pub points: Vec<usize>,
    /// Whether states and gradients of all steps are.
    pub states: bool,
    /// Numbers of steps, fewer than all, after which there is a query loss.
    pub after: Vec<usize>,
    /// Linearizations alive at a time.
    pub linearizations: usize,
    /// Vectors of the size of the parameters alive at a time, about.
    pub vectors: usize,
}

impl Kept {
    /// For an inner loop of `steps` steps; `rate_grads` if the gradients of the learning rates are wanted.
    pub fn of(method: &Method, update: &Update, steps: usize, query_weights: Option<&[f64]>, rate_grads: bool) -> Self {
        let general = (0..steps).any(|step| update.descent(step).is_none());
        let states = rate_grads || general && method.is_unrolled();
        let points = method.reads(steps);
        let at_the_end = matches!(method.estimator(), Some(Estimator::Implicit { .. }));
        let after: Vec<usize> =
            (1..steps).filter(|step| query_weights.is_some_and(|weights| weights[step - 1] != 0.0)).collect();
        // A linearization holds its point and its gradient, and shares them with the states where those are kept.
        let held = if states { steps * (2 + update.empty().len()) } else { 2 * points.len() };
        let vectors = held + 2 * after.len() + method.vectors(steps);
        Self { linearizations: points.len() + usize::from(at_the_end), points, states, after, vectors }
    }
}
