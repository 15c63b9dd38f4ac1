//! A run: meta-steps, validations and checkpoints in their order.
//!
//! Does not know: what the files of a run look like.

use std::time::Instant;

use burn::module::Module;
use burn::tensor::Device;
use burn_func::Batch;
use serde_json::Value;

use super::checkpoint::{BestSoFar, Checkpoint, State};
use super::config::MetaTrainerConfig;
use super::directory::{RunDirectory, at};
use super::event::{Beginning, Control, Ending, Event, StepRecord, ValidationRecord};
use super::judge::{Cause, Judge, Validation, device_of, draw};
use super::learner::MetaLearner;
use super::objective::{Losses, Objective};
use super::{Best, MetaTrainer, Trained};
use crate::error::{Error, Result};
use crate::maml::{MetaStep, Task};
use crate::memory::MemoryEstimate;
use crate::meta_batch::MetaBatch;

/// The mean of each metric over a meta-batch, by name.
type Means = Vec<(String, f64)>;

/// Everything that a run is made of while it is going on.
pub(super) struct Run<'t, 'o, M, L, Q, A> {
    trainer: &'t mut MetaTrainer,
    objective: &'o Objective<L, Q, A>,
    learner: MetaLearner<M>,
    directory: Option<RunDirectory>,
    state: State,
    best: Option<Best<M>>,
    device: Device,
    /// Whether somebody wants to end it.
    stop: bool,
    /// The iteration of the last checkpoint.
    saved: Option<u64>,
}

impl<'t, 'o, M: Module, L, Q: Batch, A> Run<'t, 'o, M, L, Q, A> {
    /// A new run, or the one in the trainer's directory.
    pub fn open(
        trainer: &'t mut MetaTrainer,
        objective: &'o Objective<L, Q, A>,
        learner: MetaLearner<M>,
        settings: Value,
    ) -> Result<Self> {
        let device = device_of(&learner.model)?;
        let path = trainer.directory.clone();
        let directory = path.map(|path| RunDirectory::open(&path, objective.names())).transpose()?;
        let state = State::new(&learner, &settings)?;
        let (best, stop, saved) = (None, false, None);
        let mut run = Self { trainer, objective, learner, directory, state, best, device, stop, saved };
        let Some(directory) = &run.directory else { return Ok(run) };
        if let Some(checkpoint) = Checkpoint::resumable(directory.path(), &run.learner.model, &settings)? {
            let (done, asked) = (checkpoint.iteration(), run.config().iterations);
            if done > asked {
                let problem = format!("{done} meta-iterations are done already, more than the {asked} asked for");
                return Err(at(checkpoint.path(), problem));
            }
            run.resume(&checkpoint)?;
        }
        Ok(run)
    }

    fn resume(&mut self, checkpoint: &Checkpoint) -> Result<()> {
        self.learner = checkpoint.load(self.learner.clone())?;
        self.state = checkpoint.state().clone();
        if let Some((iteration, value)) = checkpoint.best_so_far() {
            let best = checkpoint.sibling(iteration)?;
            let model = best.load_model(self.learner.model.clone())?;
            let rates = self.learner.rates().map(|rates| best.load_rates(rates.clone())).transpose()?;
            self.best = Some(Best { iteration, value, model, rates });
        }
        if let Some(directory) = &mut self.directory {
            directory.cut(self.state.logs)?;
        }
        self.saved = Some(self.state.iteration);
        Ok(())
    }

    fn config(&self) -> &MetaTrainerConfig {
        &self.trainer.config
    }

    fn tell(&mut self, event: &Event<'_>) {
        for callback in &mut self.trainer.callbacks {
            self.stop |= callback.on_event(event) == Control::Stop;
        }
    }

    /// Writes a checkpoint, unless there is no directory, or it is there already.
    fn save(&mut self) -> Result<()> {
        let iteration = self.state.iteration;
        let Some(directory) = self.directory.as_ref().filter(|_| self.saved != Some(iteration)) else { return Ok(()) };
        self.state.logs = directory.sync()?;
        let path = Checkpoint::write(directory.path(), &self.learner, &self.state)?;
        self.saved = Some(iteration);
        self.tell(&Event::Saved { iteration, path: &path });
        Ok(())
    }

    /// From here to the end.
    pub fn train<S, E>(
        mut self,
        tasks: &mut dyn FnMut(u64) -> Result<Task<S, Q>, E>,
        mut validation: Option<Validation<'_, S, Q>>,
    ) -> Result<Trained<M>>
    where
        S: Batch,
        L: Losses<M, S, Q, Outputs = A>,
        E: Into<Cause>,
        A: Batch,
    {
        self.begin(tasks)?;
        if let Some(validation) = validation.as_mut().filter(|_| self.state.validation_due) {
            self.validate(validation)?;
            self.saved = None;
            self.save()?;
        }
        let ending = loop {
            if self.state.validation_due {
                break Ending::Stopped;
            }
            if self.state.iteration >= self.config().iterations {
                break Ending::Done;
            }
            if self.config().patience.is_some_and(|patience| self.state.since_best >= patience) {
                break Ending::EarlyStopping;
            }
            if self.stop || self.trainer.stop.is_cancelled() {
                break Ending::Stopped;
            }
            self.meta_step(tasks)?;
            let (iteration, config) = (self.state.iteration, self.config());
            let due = |every: u64| every > 0 && iteration.is_multiple_of(every);
            let (validate, save) = (due(config.validate_every) && validation.is_some(), due(config.checkpoint_every));
            if let Some(validation) = validation.as_mut().filter(|_| validate) {
                self.validate(validation)?;
            }
            if validate || save {
                self.save()?;
            }
        };
        self.save()?;
        let iteration = self.state.iteration;
        self.tell(&Event::Ended { iteration, ending });
        Ok(Trained { learner: self.learner, iteration, ending, best: self.best })
    }

    fn begin<S, E>(&mut self, tasks: &mut dyn FnMut(u64) -> Result<Task<S, Q>, E>) -> Result<()>
    where
        S: Batch,
        L: Losses<M, S, Q, Outputs = A>,
        E: Into<Cause>,
    {
        let (iteration, iterations) = (self.state.iteration, self.config().iterations);
        let metrics = self.objective.metrics.iter().map(|metric| (metric.name.clone(), metric.better)).collect();
        let memory = (iteration < iterations).then(|| self.memory(tasks)).transpose()?;
        // Not before it is known that there is something to do: a mistake leaves nothing behind.
        if self.saved.is_none()
            && let Some(directory) = &mut self.directory
        {
            directory.begin(Checkpoint::is_in(directory.path())?)?;
            self.save()?;
        }
        let validate_every = self.config().validate_every;
        self.tell(&Event::Began(&Beginning { iteration, iterations, validate_every, metrics, memory }));
        Ok(())
    }

    /// What a meta-step will take.
    fn memory<S, E>(&self, tasks: &mut dyn FnMut(u64) -> Result<Task<S, Q>, E>) -> Result<MemoryEstimate>
    where
        S: Batch,
        L: Losses<M, S, Q, Outputs = A>,
        E: Into<Cause>,
    {
        let first = self.state.iteration * self.config().meta_batch as u64;
        let drawn = [draw("training", first, tasks, &self.device)?];
        let in_memory = self.config().accumulate.unwrap_or(usize::MAX).min(self.config().meta_batch);
        // Of the first meta-step that is not first-order, if there is one: what takes most.
        let config = self.trainer.maml.config();
        let step = self.state.iteration.max(config.first_order_steps).min(self.config().iterations - 1);
        let maml = self.learner.in_front_of(&self.trainer.maml).at_step(step);
        let alike: Vec<Task<S, Q>> = std::iter::repeat_n(drawn, in_memory).flatten().collect();
        self.objective.losses.memory(&self.chunked(maml.batch(&alike)), &self.learner.model)
    }

    fn chunked<'a, S: Batch>(&self, batch: MetaBatch<'a, S, Q>) -> MetaBatch<'a, S, Q> {
        match self.config().query_chunk {
            Some(examples) => batch.with_query_chunk(examples),
            None => batch,
        }
    }

    fn meta_step<S, E>(&mut self, tasks: &mut dyn FnMut(u64) -> Result<Task<S, Q>, E>) -> Result<()>
    where
        S: Batch,
        L: Losses<M, S, Q, Outputs = A>,
        E: Into<Cause>,
        A: Batch,
    {
        let started = Instant::now();
        let iteration = self.state.iteration + 1;
        let done = self.meta_gradient(tasks).map_err(|cause| cause.during(format!("meta-iteration {iteration}")));
        let (step, metrics) = done.map_err(|cause| self.kept(cause))?;
        let loss = step.query_loss();
        let gradient_norm = step.gradient.norm();
        let grads = match self.config().clip {
            Some(clip) => clip.apply(step.gradient, gradient_norm)?.into_grads(),
            None => step.grads,
        };
        let learning_rate = self.learner.step(grads, step.rate_grads);
        self.state.iteration = iteration;
        let seconds = started.elapsed().as_secs_f64();
        let report = step.report;
        let record = StepRecord { iteration, loss, metrics, learning_rate, gradient_norm, seconds, report };
        if let Some(directory) = &mut self.directory {
            directory.log_step(&record)?;
        }
        self.tell(&Event::Step(&record));
        Ok(())
    }

    /// After a failure: what was done before is not to be done again. The failure matters more than another one now.
    fn kept(&mut self, cause: Error) -> Error {
        let _ = self.save();
        cause
    }

    /// The meta-gradient of the next meta-batch, and the mean of each metric, weighted as the tasks are.
    fn meta_gradient<S, E>(&self, tasks: &mut dyn FnMut(u64) -> Result<Task<S, Q>, E>) -> Result<(MetaStep<A>, Means)>
    where
        S: Batch,
        L: Losses<M, S, Q, Outputs = A>,
        E: Into<Cause>,
        A: Batch,
    {
        let meta_batch = self.config().meta_batch as u64;
        let (first, at_a_time) = (self.state.iteration * meta_batch, self.config().accumulate.unwrap_or(usize::MAX));
        let maml = self.learner.in_front_of(&self.trainer.maml).at_step(self.state.iteration);
        let mut sum = maml.accumulate();
        let mut means = vec![0.0; self.objective.metrics.len()];
        let (mut total, mut left) = (0.0, first..first + meta_batch);
        while !left.is_empty() {
            let piece: Vec<u64> = left.by_ref().take(at_a_time).collect();
            let drawn = piece.iter().map(|&index| draw("training", index, tasks, &self.device));
            let drawn: Vec<_> = drawn.collect::<Result<_>>()?;
            let weights = self.weights(&piece);
            let batch = self.chunked(maml.batch(&drawn));
            let batch = match &weights {
                Some(weights) => batch.with_weights(weights),
                None => batch,
            };
            self.objective.losses.add(&mut sum, &batch, &self.learner.model)?;
            drop(batch);
            let outputs = &sum.outputs()[sum.tasks() - drawn.len()..];
            for (place, (task, outputs)) in drawn.iter().zip(outputs).enumerate() {
                let values = self.objective.judge(piece[place], &task.query, outputs)?;
                let weight = weights.as_ref().map_or(1.0, |weights| weights[place]);
                total += weight;
                means.iter_mut().zip(values).for_each(|(mean, value)| *mean += weight * value);
            }
        }
        let step = sum.finish()?;
        means.iter_mut().for_each(|mean| *mean /= total);
        Ok((step, self.objective.names().into_iter().zip(means).collect()))
    }

    fn weights(&self, tasks: &[u64]) -> Option<Vec<f64>> {
        let weight = self.trainer.task_weight.as_ref()?;
        Some(tasks.iter().map(|&task| weight(task)).collect())
    }

    fn validate<S>(&mut self, validation: &mut Validation<'_, S, Q>) -> Result<()>
    where
        S: Batch,
        L: Losses<M, S, Q, Outputs = A>,
    {
        let started = Instant::now();
        let (iteration, tasks) = (self.state.iteration, validation.count);
        let maml = self.learner.in_front_of(&self.trainer.evaluation);
        let query_chunk = self.config().query_chunk;
        let cancel = self.trainer.stop.clone();
        let judge = Judge { maml: &maml, objective: self.objective, query_chunk, cancel: &cancel, part: "validation" };
        let model = self.learner.model.clone();
        let progress = |done| self.tell(&Event::Validating { iteration, done, tasks });
        let judged = judge.judge(&model, tasks, &mut validation.tasks, progress);
        // A run that goes on begins with what failed here.
        self.state.validation_due = judged.is_err();
        if let Err(Error::Cancelled { .. }) = judged {
            return Ok(());
        }
        let judged = judged.map_err(|cause| cause.during(format!("after meta-iteration {iteration}")));
        let judged = judged.map_err(|cause| self.kept(cause))?;
        let (loss, metrics) = (judged.loss(), judged.summaries());
        let value = metrics.first().map_or(loss.mean, |(_, summary)| summary.mean);
        let is_best = self.rank(value);
        let seconds = started.elapsed().as_secs_f64();
        let record = ValidationRecord { iteration, loss, metrics, is_best, seconds };
        if let Some(directory) = &mut self.directory {
            directory.log_validation(&record)?;
        }
        self.tell(&Event::Validated(&record));
        Ok(())
    }

    /// Keeps the module if it is the best so far.
    fn rank(&mut self, value: f64) -> bool {
        let (_, better) = self.objective.criterion();
        let is_best = value.is_finite() && self.best.as_ref().is_none_or(|best| better.improves(value, best.value));
        self.state.since_best = if is_best { 0 } else { self.state.since_best + 1 };
        if is_best {
            let iteration = self.state.iteration;
            self.state.best = Some(BestSoFar::new(iteration, value));
            let (model, rates) = (self.learner.model.clone(), self.learner.rates().cloned());
            self.best = Some(Best { iteration, value, model, rates });
        }
        is_best
    }
}

impl Error {
    /// The same, with what was being done in front.
    pub(super) fn during(self, what: String) -> Self {
        Self::During { what, cause: Box::new(self) }
    }
}
