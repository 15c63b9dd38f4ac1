//! What is learned: the loss of a task, and by what its outputs are judged.
//!
//! Does not know: optimizers, files, how long training goes on.

use burn::module::Module;
use burn_func::{Batch, Output};

use super::metric::{Better, Metric};
use crate::accumulate::Accumulator;
use crate::error::{Error, Result};
use crate::maml::Evaluation;
use crate::memory::MemoryEstimate;
use crate::meta_batch::MetaBatch;

/// A loss for support and query sets, or one for each, and metrics of the query set.
///
/// The first metric, or the query loss where there is none, decides which validation is the best.
///
/// # Example
///
/// ```
/// use burn::nn::Linear;
/// use burn::tensor::{Int, Tensor};
/// use burn_meta::models::cross_entropy;
/// use burn_meta::{Metric, Objective, accuracy};
///
/// let objective = Objective::new(|net: &Linear, (x, labels): (Tensor<2>, Tensor<1, Int>)| {
///     let logits = net.forward(x);
///     (cross_entropy(logits.clone(), labels), logits)
/// })
/// .with_metric(Metric::higher("accuracy", accuracy));
/// ```
pub struct Objective<L, Q, A> {
    pub(super) losses: L,
    pub(super) metrics: Vec<Metric<Q, A>>,
}

/// One loss on support and query sets.
pub struct OneLoss<F>(F);

/// A loss on support sets and another on query sets.
pub struct TwoLosses<F, G>(F, G);

impl<F, B, A> Objective<OneLoss<F>, B, A> {
    /// One loss for both sets: a closure of module and batch, as [`Maml::meta_gradient`](crate::Maml::meta_gradient) takes it.
    pub fn new<M, O>(loss: F) -> Self
    where
        M: Module,
        B: Batch,
        O: Output<Aux = A>,
        F: Fn(&M, B) -> O,
    {
        Self { losses: OneLoss(loss), metrics: Vec::new() }
    }
}

impl<F, G, Q, A> Objective<TwoLosses<F, G>, Q, A> {
    /// A loss for the inner loop and another for the query sets, whose batches may be of other types.
    pub fn of<M, S, O, P>(support: F, query: G) -> Self
    where
        M: Module,
        S: Batch,
        Q: Batch,
        O: Output,
        P: Output<Aux = A>,
        F: Fn(&M, S) -> O,
        G: Fn(&M, Q) -> P,
    {
        Self { losses: TwoLosses(support, query), metrics: Vec::new() }
    }
}

impl<L, Q, A> Objective<L, Q, A> {
    /// Adds a metric.
    #[must_use]
    pub fn with_metric(mut self, metric: Metric<Q, A>) -> Self {
        self.metrics.push(metric);
        self
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.metrics.iter().map(|metric| metric.name.clone()).collect()
    }

    /// Name and direction of what decides.
    pub(super) fn criterion(&self) -> (&str, Better) {
        self.metrics.first().map_or(("loss", Better::Lower), |metric| (&metric.name, metric.better))
    }

    /// The metrics of a task.
    pub(super) fn judge(&self, task: u64, query: &Q, outputs: &A) -> Result<Vec<f64>> {
        let judged = self.metrics.iter().map(|metric| {
            let value = (metric.of)(query, outputs);
            if value.is_finite() {
                return Ok(value);
            }
            Err(Error::Metric { metric: metric.name.clone(), task, value })
        });
        judged.collect()
    }
}

/// The ways in which losses are given: [`Objective::new`] and [`Objective::of`].
pub trait Losses<M, S, Q>: sealed::Sealed {
    /// What the query loss returns beside its value.
    type Outputs: Batch;

    #[doc(hidden)]
    fn add(&self, sum: &mut Accumulator<Self::Outputs>, batch: &MetaBatch<'_, S, Q>, model: &M) -> Result<()>;

    #[doc(hidden)]
    fn evaluate(&self, batch: &MetaBatch<'_, S, Q>, model: &M) -> Result<Vec<Evaluation<Self::Outputs>>>;

    #[doc(hidden)]
    fn memory(&self, batch: &MetaBatch<'_, S, Q>, model: &M) -> Result<MemoryEstimate>;
}

mod sealed {
    pub trait Sealed {}
    impl<F> Sealed for super::OneLoss<F> {}
    impl<F, G> Sealed for super::TwoLosses<F, G> {}
}

impl<M, B, O, F> Losses<M, B, B> for OneLoss<F>
where
    M: Module,
    B: Batch,
    O: Output,
    F: Fn(&M, B) -> O,
{
    type Outputs = O::Aux;

    fn add(&self, sum: &mut Accumulator<O::Aux>, batch: &MetaBatch<'_, B, B>, model: &M) -> Result<()> {
        sum.add(batch, model, &self.0)
    }

    fn evaluate(&self, batch: &MetaBatch<'_, B, B>, model: &M) -> Result<Vec<Evaluation<O::Aux>>> {
        batch.evaluate(model, &self.0)
    }

    fn memory(&self, batch: &MetaBatch<'_, B, B>, model: &M) -> Result<MemoryEstimate> {
        batch.memory(model, &self.0)
    }
}

impl<M, S, Q, O, P, F, G> Losses<M, S, Q> for TwoLosses<F, G>
where
    M: Module,
    S: Batch,
    Q: Batch,
    O: Output,
    P: Output,
    F: Fn(&M, S) -> O,
    G: Fn(&M, Q) -> P,
{
    type Outputs = P::Aux;

    fn add(&self, sum: &mut Accumulator<P::Aux>, batch: &MetaBatch<'_, S, Q>, model: &M) -> Result<()> {
        sum.add_of(batch, model, &self.0, &self.1)
    }

    fn evaluate(&self, batch: &MetaBatch<'_, S, Q>, model: &M) -> Result<Vec<Evaluation<P::Aux>>> {
        batch.evaluate_of(model, &self.0, &self.1)
    }

    fn memory(&self, batch: &MetaBatch<'_, S, Q>, model: &M) -> Result<MemoryEstimate> {
        batch.memory_of(model, &self.0, &self.1)
    }
}
