//! Burn's own dashboard, renderers and metric loggers (`burn-train`), as callbacks.
//!
//! Does not know: how metrics are made.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use burn_train::Interrupter;
use burn_train::logger::MetricLogger;
use burn_train::metric::store::{EpochSummary, MetricsUpdate, NumericMetricUpdate, Split};
use burn_train::metric::{
    MetricDefinition, MetricEntry, MetricId, NumericAttributes, NumericEntry, SerializedEntry, format_float,
};
use burn_train::renderer::tui::TuiMetricsRendererWrapper;
use burn_train::renderer::{MetricState, MetricsRenderer};

use super::event::{Beginning, Callback, Control, Event, StepRecord, ValidationRecord};
use super::metric::Better;

/// Shows a run in a renderer of `burn-train`: the terminal dashboard with its plots, or any other
/// [`MetricsRenderer`].
///
/// What `burn-train` calls an epoch is the stretch from one validation to the next, and its items are tasks. In the
/// dashboard `q` asks whether to stop; the run then ends after its meta-step, with a checkpoint. The terminal is in raw mode
/// meanwhile, where Ctrl-C is a key like any other.
pub struct Dashboard {
    /// None once it is closed.
    renderer: Option<Box<dyn MetricsRenderer>>,
    interrupter: Interrupter,
    names: Names,
    every: usize,
    iterations: usize,
}

impl Dashboard {
    /// The dashboard in this terminal. `validate_every` is the trainer's, 0 for none.
    ///
    /// # Panics
    ///
    /// Where standard output is no terminal: ask [`std::io::IsTerminal`] first.
    pub fn terminal(validate_every: u64) -> Self {
        let interrupter = Interrupter::new();
        let renderer = TuiMetricsRendererWrapper::new(interrupter.clone(), None);
        Self::with_renderer(Box::new(renderer), interrupter, validate_every)
    }

    /// A renderer of one's own. The run ends when the interrupter is stopped.
    pub fn with_renderer(renderer: Box<dyn MetricsRenderer>, interrupter: Interrupter, validate_every: u64) -> Self {
        let every = usize::try_from(validate_every).unwrap_or(usize::MAX);
        Self { renderer: Some(renderer), interrupter, names: Names::default(), every, iterations: 0 }
    }

    fn began(&mut self, beginning: &Beginning) {
        self.names = Names::of(&beginning.metrics);
        self.iterations = beginning.iterations as usize;
        if self.every == 0 {
            self.every = self.iterations.max(1);
        }
        let (every, done) = (self.every, beginning.iteration as usize);
        let Some(renderer) = &mut self.renderer else { return };
        for definition in self.names.definitions() {
            renderer.register_metric(definition);
        }
        let epochs = self.iterations.div_ceil(every);
        renderer.start(epochs, done / every, Some(every), Some("Meta-training"));
        renderer.start_split("train", every);
        if let Some(memory) = &beginning.memory {
            renderer.log_event_training(memory.to_string());
        }
    }

    fn step(&mut self, step: &StepRecord) {
        let Some(renderer) = &mut self.renderer else { return };
        for (id, value) in self.names.step(step) {
            renderer.update_train(state(id, value));
        }
        let done = step.iteration as usize;
        renderer.update_epoch((done - 1) / self.every);
        renderer.update_split((done - 1) % self.every + 1);
    }

    fn validating(&mut self, done: u64, tasks: u64) {
        let Some(renderer) = &mut self.renderer else { return };
        renderer.start_split("valid", tasks as usize);
        renderer.update_split(done as usize);
    }

    fn validated(&mut self, validation: &ValidationRecord) {
        let Some(renderer) = &mut self.renderer else { return };
        for (id, value) in self.names.validation(validation) {
            renderer.update_valid(state(id, value));
        }
        renderer.end_split();
        renderer.start_split("train", self.every);
    }

    fn show(&mut self, event: &Event<'_>) {
        match event {
            Event::Began(beginning) => self.began(beginning),
            Event::Step(step) => self.step(step),
            Event::Validating { done, tasks, .. } => self.validating(*done, *tasks),
            Event::Validated(validation) => self.validated(validation),
            Event::Saved { .. } => {}
            // Dropped, a terminal renderer hands the terminal back.
            Event::Ended { .. } => {
                if let Some(mut renderer) = self.renderer.take() {
                    renderer.end();
                }
            }
        }
    }
}

impl Callback for Dashboard {
    fn on_event(&mut self, event: &Event<'_>) -> Control {
        // The dashboard's `kill` is a panic. Here it ends the run as a stop does.
        let killed = catch_unwind(AssertUnwindSafe(|| self.show(event))).is_err();
        if killed {
            self.renderer = None;
        }
        if killed || self.interrupter.should_stop() { Control::Stop } else { Control::Continue }
    }
}

/// Writes metrics by any logger of `burn-train`, its `FileMetricLogger` for one, whose files its tools read.
///
/// What `burn-train` calls an epoch is the stretch from one validation to the next, counted from 1. A resumed run writes the
/// epoch that it goes on with anew, from its checkpoint on: for exact logs there are those of the trainer.
pub struct MetricLog {
    logger: Box<dyn MetricLogger>,
    names: Names,
    epoch: usize,
}

impl MetricLog {
    /// A callback that logs by `logger`.
    pub fn new(logger: impl MetricLogger + 'static) -> Self {
        Self { logger: Box::new(logger), names: Names::default(), epoch: 1 }
    }

    fn log(&mut self, values: Vec<(MetricId, f64)>, split: &Split) {
        let numeric = values.into_iter().map(|(id, value)| {
            let number = NumericEntry::Value(value);
            let text = SerializedEntry::new(format_float(value, 4), number.serialize());
            NumericMetricUpdate::new(MetricEntry::new(id, text), Some(number.clone()), Some(number))
        });
        self.logger.log(MetricsUpdate::new(Vec::new(), numeric.collect()), self.epoch, split);
    }
}

impl Callback for MetricLog {
    fn on_event(&mut self, event: &Event<'_>) -> Control {
        match event {
            Event::Began(beginning) => {
                self.names = Names::of(&beginning.metrics);
                self.epoch = 1 + beginning.iteration.checked_div(beginning.validate_every).unwrap_or(0) as usize;
                for definition in self.names.definitions() {
                    self.logger.log_metric_definition(definition);
                }
            }
            Event::Step(step) => self.log(self.names.step(step), &Split::Train),
            Event::Validated(validation) => {
                self.log(self.names.validation(validation), &Split::Valid);
                for split in [Split::Train, Split::Valid] {
                    self.logger.log_epoch_summary(EpochSummary::new(self.epoch, split));
                }
                self.epoch += 1;
            }
            _ => {}
        }
        Control::Continue
    }
}

/// The metrics of a run as `burn-train` knows them.
#[derive(Default)]
struct Names {
    /// In the order in which they are shown.
    metrics: Vec<(String, Better)>,
    ids: HashMap<String, MetricId>,
}

impl Names {
    fn of(metrics: &[(String, Better)]) -> Self {
        let own = metrics.iter().cloned();
        let ours = ["loss", "gradient_norm", "learning_rate"].map(|name| (name.to_owned(), Better::Lower));
        let metrics: Vec<_> = own.chain(ours).collect();
        let id = |name: &String| (name.clone(), MetricId::new(Arc::new(name.clone())));
        let ids = metrics.iter().map(|(name, _)| id(name)).collect();
        Self { metrics, ids }
    }

    fn definitions(&self) -> Vec<MetricDefinition> {
        let define = |(name, better): &(String, Better)| MetricDefinition {
            metric_id: self.ids[name].clone(),
            name: Arc::new(title(name)),
            description: None,
            attributes: NumericAttributes { unit: None, higher_is_better: *better == Better::Higher }.into(),
        };
        self.metrics.iter().map(define).collect()
    }

    fn step(&self, step: &StepRecord) -> Vec<(MetricId, f64)> {
        let ours = [("loss", step.loss), ("gradient_norm", step.gradient_norm), ("learning_rate", step.learning_rate)];
        self.known(step.metrics.iter().map(|(name, value)| (name.as_str(), *value)).chain(ours))
    }

    fn validation(&self, validation: &ValidationRecord) -> Vec<(MetricId, f64)> {
        let metrics = validation.metrics.iter().map(|(name, value)| (name.as_str(), value.mean));
        self.known(metrics.chain([("loss", validation.loss.mean)]))
    }

    fn known<'a>(&self, values: impl Iterator<Item = (&'a str, f64)>) -> Vec<(MetricId, f64)> {
        values.filter_map(|(name, value)| Some((self.ids.get(name)?.clone(), value))).collect()
    }
}

/// `gradient_norm` as `Gradient norm`.
fn title(name: &str) -> String {
    let words = name.replace('_', " ");
    let mut letters = words.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

fn state(id: MetricId, value: f64) -> MetricState {
    let number = NumericEntry::Value(value);
    let text = SerializedEntry::new(format_float(value, 4), number.serialize());
    MetricState::Numeric(MetricEntry::new(id, text), Some(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_titles() {
        assert_eq!(title("gradient_norm"), "Gradient norm");
        assert_eq!(title(""), "");
    }
}
