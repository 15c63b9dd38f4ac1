//! Query sets, whole or in pieces of some examples each: their losses and gradients, and whether pieces may be taken.
//!
//! The loss of a query set that is the mean over its examples is the mean of the losses of its pieces, weighted by their
//! sizes, and so is its gradient. It takes the memory of one piece.
//!
//! Does not know: inner loops, estimators, where the point comes from.

use std::borrow::Cow;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Range;

use burn::module::Module;
use burn::tensor::Tensor;
use burn_func::{Batch, Key, Output, Params, Traced};

use crate::error::{Error, Place, Result};
use crate::inner_step::after_steps;
use crate::leading::{joined, sizes, slice};
use crate::maml::{Maml, Task};
use crate::task_gradient::{finite, read};
use crate::traces::Traces;

/// How a query set is cut.
pub(crate) struct Cut {
    /// The examples of each piece, as equal as can be, the smaller ones first; empty if the set is taken whole.
    pieces: Vec<Range<usize>>,
}

impl Cut {
    /// In pieces of at most `chunk` examples.
    pub fn of<Q: Batch>(set: &Q, chunk: Option<usize>) -> Result<Self> {
        let Some(chunk) = chunk else { return Ok(Self { pieces: Vec::new() }) };
        if chunk == 0 {
            return refused("pieces of 0 examples: at least 1 is needed".into());
        }
        let examples = leading(set)?;
        let count = examples.div_ceil(chunk);
        let pieces = (0..count).map(|at| at * examples / count..(at + 1) * examples / count);
        Ok(Self { pieces: if count > 1 { pieces.collect() } else { Vec::new() } })
    }

    fn is_whole(&self) -> bool {
        self.pieces.is_empty()
    }

    /// One of each size of its pieces, the smaller first: there are at most two sizes.
    fn sizes(&self) -> impl Iterator<Item = &Range<usize>> {
        let (first, last) = (self.pieces.first(), self.pieces.last());
        first.into_iter().chain(last.filter(|last| first.is_some_and(|first| first.len() != last.len())))
    }

    /// A batch of every shape that is to be traced.
    fn samples<'b, Q: Batch>(&self, set: &'b Q) -> Vec<Cow<'b, Q>> {
        match self.is_whole() {
            true => vec![Cow::Borrowed(set)],
            false => self.sizes().map(|range| Cow::Owned(slice(set, range.clone()))).collect(),
        }
    }
}

/// The number of examples: the leading size of all tensors.
fn leading<Q: Batch>(set: &Q) -> Result<usize> {
    let found = sizes(set);
    match found.first() {
        Some(&examples) if found.iter().all(|size| *size == examples) => Ok(examples),
        Some(_) => refused(format!(
            "the tensors of a query set have leading axes of {found:?}, expected one size, the number of examples"
        )),
        None => refused("a query set has no tensors, expected some with the examples along their leading axes".into()),
    }
}

fn refused<T>(problem: String) -> Result<T> {
    Err(Error::QueryChunk { problem })
}

/// The query sets of some tasks, with the closure recorded for every shape that is run.
pub(crate) struct QuerySets<Q, R> {
    cuts: Vec<Cut>,
    /// For each task, its first place among the traces.
    first: Vec<usize>,
    traces: Traces<Q, R>,
}

/// Every shape among the query sets.
pub(crate) fn samples<'b, S, Q: Batch>(cuts: &[Cut], tasks: &'b [Task<S, Q>]) -> impl Iterator<Item = Cow<'b, Q>> {
    tasks.iter().zip(cuts).flat_map(|(task, cut)| cut.samples(&task.query))
}

impl<Q: Batch, R: Batch> QuerySets<Q, R> {
    /// With the traces of [`samples`].
    ///
    /// A closure that updates running statistics computes with those of its batch, here of a piece: such a layer is named.
    pub fn new(cuts: Vec<Cut>, traces: Traces<Q, R>) -> Result<Self> {
        let mut next = 0;
        let place = |cut: &Cut| {
            let traced = cut.sizes().count().max(1);
            next += traced;
            next - traced
        };
        let sets = Self { first: cuts.iter().map(place).collect(), cuts, traces };
        for (cut, first) in sets.cuts.iter().zip(&sets.first).filter(|(cut, _)| !cut.is_whole()) {
            if let Some(statistic) = sets.traces.of(first + cut.sizes().count() - 1).updates().first() {
                let layer = statistic.path.rsplit_once('.').map_or("the model", |(layer, _)| layer);
                return refused(format!(
                    "`{layer}` takes the statistics of its batch, which couples the examples: those of a piece are others. \
                     Take query sets whole, or a normalisation that looks at one example at a time"
                ));
            }
        }
        Ok(sets)
    }

    /// The query set of a task.
    pub fn of<'a>(&'a self, task: usize, set: &'a Q) -> QuerySet<'a, Q, R> {
        QuerySet { set, cut: &self.cuts[task], first: self.first[task], traces: &self.traces }
    }

    /// Every trace that is run.
    pub fn used(&self) -> impl Iterator<Item = &Traced<Q, R>> {
        self.traces.used()
    }

    /// Tries whether the loss is a mean over examples that do not depend on each other, where a set is cut and this closure
    /// was not tried before: the loss of a piece against the mean of those of its halves.
    ///
    /// They may differ by `sqrt(epsilon)` of their size, with the epsilon of the loss's type (3e-4 in single precision): far
    /// above what another order of summation does (a few epsilon, times what the network amplifies), far below what a sum
    /// (a half) or statistics of the batch (some per cent) do. A loss near zero is the difference of larger numbers, whence
    /// 100 epsilon of slack. A closure with random numbers draws others for other shapes, and is not tried.
    pub fn try_mean<S, M, O, F>(&self, maml: &Maml, tasks: &[Task<S, Q>], model: &M, loss: F) -> Result<()>
    where
        M: Module,
        O: Output<Aux = R>,
        F: Fn(&M, Q) -> O,
    {
        let Some(task) = self.cuts.iter().position(|cut| !cut.is_whole()) else { return Ok(()) };
        let traced = self.traces.of(self.first[task]);
        let mut hasher = DefaultHasher::new();
        traced.graph().hash(&mut hasher);
        let closure = hasher.finish();
        if traced.is_random() || maml.is_tried(closure) {
            return Ok(());
        }
        let examples = self.cuts[task].pieces[0].len().max(2);
        let half = examples / 2;
        let parts = [0..examples, 0..half, half..examples].map(|range| slice(&tasks[task].query, range));
        let traces = maml.traces(model, parts.iter().map(Cow::Borrowed), loss)?;
        let at = Params::from_module(model)?;
        let loss = |part: usize| Ok::<_, Error>(traces.of(part).value(&at, &parts[part])?.0);
        let value = |loss: Tensor<1>| finite(read(&loss), task, Place::Query);
        let whole = loss(0)?;
        let epsilon = whole.dtype().finfo().map_or(f64::EPSILON, |info| info.epsilon);
        let (whole, former, latter) = (value(whole)?, value(loss(1)?)?, value(loss(2)?)?);
        let mean = (half as f64 * former + (examples - half) as f64 * latter) / examples as f64;
        let allowed = epsilon.sqrt() * whole.abs().max(mean.abs()) + 100.0 * epsilon;
        if (whole - mean).abs() > allowed {
            return refused(format!(
                "the loss of {examples} examples is {whole}, the mean over its two halves is {mean}: the loss is no mean over \
                 examples that do not depend on each other. Take query sets whole, or a mean for a loss"
            ));
        }
        maml.note_tried(closure);
        Ok(())
    }
}

/// The query set of one task.
pub(crate) struct QuerySet<'a, Q, R> {
    set: &'a Q,
    cut: &'a Cut,
    first: usize,
    traces: &'a Traces<Q, R>,
}

impl<Q: Batch, R: Batch> QuerySet<'_, Q, R> {
    /// Loss and outputs, after so many inner steps.
    pub fn value(&self, at: &Params, steps: usize, key: Key) -> Result<(Tensor<1>, R)> {
        let value = |traced: &Traced<Q, R>, set: &Q| traced.value(at, set).map(|(loss, outputs)| (loss, None, outputs));
        let (loss, _, outputs) = self.mean(steps, key, value)?;
        Ok((loss, outputs))
    }

    /// Loss, gradient and outputs, after so many inner steps.
    pub fn value_and_grad(&self, at: &Params, steps: usize, key: Key) -> Result<(Tensor<1>, Params, R)> {
        let all = |traced: &Traced<Q, R>, set: &Q| {
            traced.value_and_grad(at, set).map(|(loss, grad, outputs)| (loss, Some(grad), outputs))
        };
        let (loss, grad, outputs) = self.mean(steps, key, all)?;
        Ok((loss, grad.expect("every piece has a gradient"), outputs))
    }

    /// The mean over pieces, by their sizes and in their order, with the outputs of all. A piece draws from a key of its own.
    fn mean(
        &self,
        steps: usize,
        key: Key,
        of: impl Fn(&Traced<Q, R>, &Q) -> burn_func::Result<(Tensor<1>, Option<Params>, R)>,
    ) -> Result<(Tensor<1>, Option<Params>, R)> {
        let pieces = &self.cut.pieces;
        let Some(last) = pieces.last() else {
            return Ok(of(&after_steps(self.traces.of(self.first), steps).keyed(key), self.set)?);
        };
        let (mut mean, mut outputs) = (None, Vec::with_capacity(pieces.len()));
        for (at, range) in pieces.iter().enumerate() {
            let traced = after_steps(self.traces.of(self.first + usize::from(range.len() != pieces[0].len())), steps);
            let (loss, grad, aux) = of(&traced.keyed(key.fold(at as u64)), &slice(self.set, range.clone()))?;
            check_outputs(&aux, range.len())?;
            outputs.push(aux);
            let share = range.len() as f64 / last.end as f64;
            mean = Some(match mean {
                None => (loss * share, grad.map(|grad| grad.scale(share))),
                Some((sum, grads)) => (sum + loss * share, added(grads, share, grad)),
            });
        }
        let (loss, grad) = mean.expect("a set that is cut has pieces");
        match joined(&outputs) {
            Some(outputs) => Ok((loss, grad, outputs)),
            None => refused("the outputs of pieces of different sizes differ in more than their leading axes".into()),
        }
    }
}

fn added(sum: Option<Params>, share: f64, grad: Option<Params>) -> Option<Params> {
    Some(sum?.axpy(share, &grad?))
}

/// An output that is no row per example, such as an accuracy, would come out once per piece.
fn check_outputs<R: Batch>(outputs: &R, examples: usize) -> Result<()> {
    match sizes(outputs).iter().position(|size| *size != examples) {
        None => Ok(()),
        Some(at) => refused(format!(
            "output {at} of the query loss has a leading axis of {}, expected one row for each of {examples} examples: \
             compute means outside of the closure",
            sizes(outputs)[at]
        )),
    }
}
