//! Who watches a run on standard error: a bar on a terminal, plain lines elsewhere.
//!
//! Does not know: what is being trained.

use burn_meta::{Beginning, Callback, Control, Event, StepRecord, Summary, ValidationRecord};
use indicatif::ProgressBar;

use crate::arguments::{note, watched};
use crate::progress::{Averages, bar};

/// Shows the progress of a run. What it says when depends on the number of meta-steps alone.
#[derive(Debug)]
pub struct Monitor {
    bar: ProgressBar,
    averages: Averages,
    iterations: u64,
    message: String,
    tasks: usize,
    unreliable: usize,
}

impl Default for Monitor {
    fn default() -> Self {
        Self::new()
    }
}

impl Monitor {
    /// Nothing is shown before the run begins.
    pub fn new() -> Self {
        let (bar, averages) = (ProgressBar::hidden(), Averages::new(0));
        Self { bar, averages, iterations: 0, message: String::new(), tasks: 0, unreliable: 0 }
    }

    fn begin(&mut self, beginning: &Beginning) {
        let Beginning { iteration, iterations, memory, .. } = beginning;
        self.iterations = *iterations;
        self.averages = Averages::resumed(*iterations as usize, *iteration as usize);
        if *iteration > 0 {
            note(format!("going on after meta-step {iteration} of {iterations}"));
        }
        if let Some(memory) = memory {
            note(format!("memory: {memory}"));
        }
        self.bar = bar(*iterations as usize, "training");
        self.bar.set_position(*iteration);
        self.bar.reset_eta();
    }

    fn step(&mut self, step: &StepRecord) {
        self.bar.inc(1);
        self.tasks += step.report.tasks;
        self.unreliable += step.report.unreliable;
        let accuracy = step.metrics.iter().find(|(name, _)| name == "accuracy").map(|(_, value)| *value);
        let Some(point) = self.averages.add(step.loss, accuracy) else { return };
        let accuracy = point.accuracy.map(|of_one| format!("  accuracy {:5.2} %", 100.0 * of_one));
        self.message = format!("loss {:.4}{}", point.loss, accuracy.unwrap_or_default());
        if watched() {
            self.bar.set_message(self.message.clone());
        } else {
            note(format!("meta-step {}/{}  {}", point.iteration, self.iterations, self.message));
        }
    }

    fn validated(&mut self, validation: &ValidationRecord) {
        let best = if validation.is_best { ", the best so far" } else { "" };
        let metrics = validation.metrics.iter().map(|(name, value)| metric(name, value));
        let said: Vec<String> = metrics.chain([metric("loss", &validation.loss)]).collect();
        let line = format!("meta-step {}: validation: {}{best}", validation.iteration, said.join(", "));
        self.bar.set_message(self.message.clone());
        match self.bar.is_hidden() {
            true => note(line),
            false => self.bar.println(line),
        }
    }

    fn end(&mut self) {
        // The last state of the bar stays on the screen.
        self.bar.abandon();
        if self.unreliable > 0 {
            note(format!(
                "warning: in {} of {} task(s) the estimate of the meta-gradient was mostly error by its own account: the inner \
                 learning rate times the curvature is more than it can follow (a smaller rate, a higher order or exact)",
                self.unreliable, self.tasks
            ));
        }
    }
}

impl Callback for Monitor {
    fn on_event(&mut self, event: &Event<'_>) -> Control {
        match event {
            Event::Began(beginning) => self.begin(beginning),
            Event::Step(step) => self.step(step),
            Event::Validating { done, tasks, .. } => self.bar.set_message(format!("validating {done}/{tasks}")),
            Event::Validated(validation) => self.validated(validation),
            Event::Ended { .. } => self.end(),
            _ => {}
        }
        Control::Continue
    }
}

/// A metric with its interval: accuracies in per cent.
pub fn metric(name: &str, value: &Summary) -> String {
    match name {
        "accuracy" => format!("accuracy {:.2} % +- {:.2} %", 100.0 * value.mean, 100.0 * value.interval95),
        _ => format!("{name} {:.4} +- {:.4}", value.mean, value.interval95),
    }
}
