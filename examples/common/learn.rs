//! Meta-training and testing as the programs do it: burn-meta's trainer, with somebody who watches, and Ctrl-C.
//!
//! Does not know: networks, data, command lines, what a run's directory holds.

use std::cell::RefCell;
use std::rc::Rc;

use burn::lr_scheduler::cosine::CosineAnnealingLrSchedulerConfig;
use burn::lr_scheduler::module_lr_scheduler::ModuleLrScheduler;
use burn::module::Module;
use burn::optim::AdamConfig;
use burn_func::Batch;
use burn_meta::{
    Control, Dashboard, Ending, Error, Event, InnerRates, Judged, Losses, Maml, MetaClip, MetaLearner, MetaTrainer,
    MetaTrainerConfig, Objective, Task, Trained, Validation,
};
use serde_json::{Map, Value};

use crate::arguments::describe;
use crate::failure::Failure;
use crate::interrupt::stop;
use crate::memory;
use crate::monitor::Monitor;
use crate::progress::bar;
use crate::run_directory::{Place, keep_settings};
use crate::settings::{Estimator, Inner, LearnedRates, Run, Schedule, Test, Train, convert};

/// The settings that training and test go by.
#[derive(Clone, Copy, Debug)]
pub struct Course<'a> {
    /// The inner loop.
    pub inner: &'a Inner,
    /// The estimator of the meta-gradient.
    pub estimator: &'a Estimator,
    /// Meta-training.
    pub train: &'a Train,
    /// Validation and test.
    pub test: &'a Test,
    /// Seed and threads.
    pub run: &'a Run,
}

/// Meta-steps after which memory is looked at.
const MEMORY_AT: [u64; 2] = [100, 1000];

impl Course<'_> {
    /// The meta-learner.
    ///
    /// # Errors
    ///
    /// [`Failure::Usage`].
    pub fn maml(&self) -> Result<Maml, Failure> {
        if self.test.tasks.get() < 2 {
            return Err(Failure::usage("--test-tasks 1: an interval needs at least 2"));
        }
        if self.train.patience.is_some() && self.train.validate_every == 0 {
            return Err(Failure::usage("--patience counts validations, and there are none: see --validate-every"));
        }
        let (trained, tested) = (self.inner.steps.get(), self.test_steps());
        if self.inner.learned_rates == Some(LearnedRates::PerLayerPerStep) && tested > trained {
            let problem = "a rate is learned for each of the inner steps in training";
            return Err(Failure::usage(format!("--test-inner-steps {tested}: {problem}, expected {trained} at most")));
        }
        convert::maml(self.inner, self.estimator, self.train, self.run)
    }

    /// Inner steps in validation and test.
    pub fn test_steps(&self) -> usize {
        self.test.inner_steps.unwrap_or(self.inner.steps).get()
    }

    /// Inner loop and estimator in words.
    pub fn describe(&self, maml: &Maml) -> String {
        let (steps, rate) = (self.inner.steps, self.inner.learning_rate);
        format!("{steps} inner step(s) of {rate}, {}", describe(maml.config().estimator, steps.get()))
    }

    fn trainer(&self) -> Result<MetaTrainer, Failure> {
        let Train { iterations, meta_batch, validate_every, checkpoint_every, .. } = self.train;
        let Train { patience, clip, accumulate, query_chunk, .. } = self.train;
        let config = MetaTrainerConfig::new(*iterations as u64)
            .with_meta_batch(meta_batch.get())
            .with_validate_every(*validate_every as u64)
            .with_checkpoint_every(checkpoint_every.get() as u64)
            .with_patience(patience.map(usize::from))
            .with_accumulate(accumulate.map(usize::from))
            .with_query_chunk(query_chunk.map(usize::from))
            .with_clip(clip.map(|norm| MetaClip::Norm(norm.get())));
        Ok(config.init(self.maml()?)?.with_evaluation_steps(self.test_steps())?)
    }

    fn schedule(&self) -> Result<ModuleLrScheduler, Failure> {
        let rate = self.train.meta_lr.get();
        Ok(match self.train.schedule {
            Schedule::Constant => rate.into(),
            Schedule::Cosine => {
                let steps = self.train.iterations.max(1);
                CosineAnnealingLrSchedulerConfig::new(rate, steps).init().map_err(Failure::usage)?
            }
        })
    }

    /// Meta-trains from the start, or from where the directory's run was. With it come the bytes of this process in memory after
    /// some numbers of meta-steps, between which they must not grow.
    ///
    /// # Errors
    ///
    /// Those of the trainer; [`Failure::Failed`] for a run that was stopped, which the same call goes on with.
    pub fn train<M, B, L, E>(
        &self,
        place: &Place<'_>,
        net: M,
        objective: &Objective<L, B, L::Outputs>,
        tasks: impl FnMut(u64) -> Result<Task<B>, E>,
        validation: impl FnMut(u64) -> Result<Task<B>, E>,
    ) -> Result<(Trained<M>, Map<String, Value>), Failure>
    where
        M: Module,
        B: Batch,
        L: Losses<M, B, B>,
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        // Burn's own default for epsilon is 1e-5; MAML and its successors train with 1e-8.
        let adam = AdamConfig::new().with_epsilon(1e-8);
        let rates = self.inner.rates(&net)?;
        let mut learner = MetaLearner::new(net, adam.init(), self.schedule()?);
        if let Some(rates) = rates {
            learner = learner.with_rates(rates, adam.init(), self.schedule()?);
        }
        let validates = self.train.validate_every > 0;
        let validation = validates.then(|| Validation::new(self.train.validation_tasks.get() as u64, validation));
        let resident = Rc::default();
        let mut trainer = self
            .trainer()?
            .in_directory(place.directory)
            .with_settings(place.identity.clone())
            .with_callback(keep_settings(place))
            .with_callback(watch_memory(&resident))
            .stopped_by(stop());
        trainer = match place.dashboard {
            true => trainer.with_callback(Dashboard::terminal(self.train.validate_every as u64)),
            false => trainer.with_callback(Monitor::new()),
        };
        let trained = trainer.run(learner, objective, tasks, validation)?;
        if trained.ending == Ending::Stopped {
            let (done, all) = (trained.iteration, self.train.iterations);
            return Err(Failure::failed(format!(
                "stopped after meta-step {done} of {all}; the same command goes on from there"
            )));
        }
        let resident = resident.take();
        Ok((trained, resident))
    }

    /// Tests a network, and learned inner rates if there are any, on the first of some tasks.
    ///
    /// # Errors
    ///
    /// Those of the trainer.
    pub fn test<M, B, L, E>(
        &self,
        (net, rates): (&M, Option<&InnerRates>),
        objective: &Objective<L, B, L::Outputs>,
        tasks: impl FnMut(u64) -> Result<Task<B>, E>,
    ) -> Result<Judged, Failure>
    where
        M: Module,
        B: Batch,
        L: Losses<M, B, B>,
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let count = self.test.tasks.get();
        let bar = bar(count, "testing");
        let trainer = self.trainer()?.stopped_by(stop());
        let judged = trainer.evaluate_with(net, rates, objective, count as u64, tasks, |done| bar.set_position(done));
        bar.finish_and_clear();
        judged.map_err(|error| match error {
            Error::Cancelled { done, tasks } => {
                Failure::failed(format!("stopped after {done} of {tasks} test tasks; the same command tests again"))
            }
            error => error.into(),
        })
    }
}

/// Notes what is in memory after some meta-steps.
fn watch_memory(resident: &Rc<RefCell<Map<String, Value>>>) -> impl FnMut(&Event<'_>) -> Control + 'static {
    let resident = resident.clone();
    move |event| {
        if let Event::Step(step) = event
            && MEMORY_AT.contains(&step.iteration)
        {
            resident.borrow_mut().insert(step.iteration.to_string(), memory::resident_bytes().into());
        }
        Control::Continue
    }
}
