//! A module judged on many tasks: validation and test.
//!
//! Does not know: training, files.

use burn::module::Module;
use burn::tensor::{Bool, Device, Int, Tensor};
use burn_func::{Batch, BatchMapper, Params};

use super::objective::{Losses, Objective};
use super::summary::Summary;
use crate::error::{Error, Result};
use crate::maml::{Maml, Task};
use crate::parallel::CancelToken;

/// Tasks in memory at a time.
const AT_A_TIME: u64 = 16;

/// Any error of a task source.
pub(super) type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Draws the task of an index.
type Draw<'a, S, Q> = Box<dyn FnMut(u64) -> Result<Task<S, Q>, Cause> + 'a>;

/// The tasks that a run is validated on: a fixed list, drawn anew every time.
pub struct Validation<'a, S, Q = S> {
    pub(super) count: u64,
    pub(super) tasks: Draw<'a, S, Q>,
}

impl<'a, S, Q> Validation<'a, S, Q> {
    /// Tasks 0 to `count` of a source, which must give the same task for the same index.
    pub fn new<E: Into<Cause>>(count: u64, mut tasks: impl FnMut(u64) -> Result<Task<S, Q>, E> + 'a) -> Self {
        Self { count, tasks: Box::new(move |index| tasks(index).map_err(Into::into)) }
    }
}

/// How a module did on a list of tasks.
#[derive(Clone, Debug, PartialEq)]
pub struct Judged {
    /// Query loss of each task after adaptation.
    pub losses: Vec<f64>,
    /// Each metric, by name: a number for each task.
    pub metrics: Vec<(String, Vec<f64>)>,
}

impl Judged {
    /// Mean query loss and its 95 % interval.
    pub fn loss(&self) -> Summary {
        Summary::of(&self.losses)
    }

    /// Mean of a metric and its 95 % interval.
    pub fn metric(&self, name: &str) -> Option<Summary> {
        self.metrics.iter().find(|(found, _)| found == name).map(|(_, values)| Summary::of(values))
    }

    pub(super) fn summaries(&self) -> Vec<(String, Summary)> {
        self.metrics.iter().map(|(name, values)| (name.clone(), Summary::of(values))).collect()
    }
}

/// A task that could not be drawn, of the part that it is for.
pub(super) fn draw<S: Batch, Q: Batch, E: Into<Cause>>(
    part: &'static str,
    index: u64,
    tasks: &mut dyn FnMut(u64) -> Result<Task<S, Q>, E>,
    device: &Device,
) -> Result<Task<S, Q>> {
    let task = tasks(index).map_err(|cause| Error::Draw { part, index, cause: cause.into() })?;
    let mut on = OnDevice(device);
    Ok(Task { support: task.support.map(&mut on), query: task.query.map(&mut on) })
}

/// Where the parameters of a module are, as batches have to be.
pub(super) fn device_of<M: Module>(model: &M) -> Result<Device> {
    Ok(Params::from_module(model)?.device())
}

/// What to judge by.
pub(super) struct Judge<'a, L, Q, A> {
    pub maml: &'a Maml,
    pub objective: &'a Objective<L, Q, A>,
    pub query_chunk: Option<usize>,
    pub cancel: &'a CancelToken,
    pub part: &'static str,
}

impl<L, Q: Batch, A> Judge<'_, L, Q, A> {
    /// Judges tasks 0 to `count`, a few in memory at a time; `progress` is told how many are done.
    pub fn judge<M, S, E>(
        &self,
        model: &M,
        count: u64,
        tasks: &mut dyn FnMut(u64) -> Result<Task<S, Q>, E>,
        mut progress: impl FnMut(u64),
    ) -> Result<Judged>
    where
        M: Module,
        S: Batch,
        L: Losses<M, S, Q, Outputs = A>,
        E: Into<Cause>,
    {
        let device = device_of(model)?;
        let names = self.objective.names();
        let mut judged = Judged { losses: Vec::new(), metrics: names.into_iter().map(|name| (name, vec![])).collect() };
        for first in (0..count).step_by(AT_A_TIME as usize) {
            let indices = first..count.min(first + AT_A_TIME);
            let drawn: Vec<_> = indices.map(|index| draw(self.part, index, tasks, &device)).collect::<Result<_>>()?;
            let batch = self.maml.batch(&drawn).numbered_from(first as usize).cancelled_by(self.cancel);
            let batch = match self.query_chunk {
                Some(examples) => batch.with_query_chunk(examples),
                None => batch,
            };
            let done = self.objective.losses.evaluate(&batch, model);
            let done = done.map_err(|cause| match cause {
                Error::Cancelled { done, .. } => {
                    Error::Cancelled { done: first as usize + done, tasks: count as usize }
                }
                cause => cause.during(format!("{}, from task {first}", self.part)),
            })?;
            for ((index, task), done) in (first..).zip(&drawn).zip(done) {
                judged.losses.push(done.losses.query);
                let values = self.objective.judge(index, &task.query, &done.outputs)?;
                judged.metrics.iter_mut().zip(values).for_each(|((_, list), value)| list.push(value));
            }
            progress(judged.losses.len() as u64);
        }
        Ok(judged)
    }
}

/// Moves batches to a device.
struct OnDevice<'a>(&'a Device);

impl BatchMapper for OnDevice<'_> {
    fn float<const D: usize>(&mut self, tensor: &Tensor<D>) -> Tensor<D> {
        let tensor = tensor.clone().inner();
        if tensor.device() == *self.0 { tensor } else { tensor.to_device(self.0) }
    }

    fn int<const D: usize>(&mut self, tensor: &Tensor<D, Int>) -> Tensor<D, Int> {
        let tensor = tensor.clone().inner();
        if tensor.device() == *self.0 { tensor } else { tensor.to_device(self.0) }
    }

    fn bool<const D: usize>(&mut self, tensor: &Tensor<D, Bool>) -> Tensor<D, Bool> {
        let tensor = tensor.clone().inner();
        if tensor.device() == *self.0 { tensor } else { tensor.to_device(self.0) }
    }
}
