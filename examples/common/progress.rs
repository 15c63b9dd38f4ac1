//! Progress on standard error: a bar where somebody watches, plain lines elsewhere.
//!
//! Does not know: what is being trained or tested.

use burn_meta::Report;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use crate::arguments::{note, watched};

/// Log of a training run: shows progress, and keeps the averages it shows.
#[derive(Debug)]
pub struct TrainingLog {
    bar: ProgressBar,
    averages: Averages,
    points: Vec<TrainingPoint>,
    tasks: usize,
    unreliable: usize,
}

/// Averages over the meta-steps since the point before.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TrainingPoint {
    /// Meta-steps done.
    pub iteration: usize,
    /// Mean query loss after adaptation.
    pub loss: f64,
    /// Mean query accuracy after adaptation, of 1, where there are classes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accuracy: Option<f64>,
}

impl TrainingLog {
    /// A log for a number of meta-steps: twenty points, or one every hundred meta-steps if that is more.
    pub fn new(iterations: usize) -> Self {
        let (bar, averages) = (bar(iterations, "training"), Averages::new(iterations));
        Self { bar, averages, points: Vec::new(), tasks: 0, unreliable: 0 }
    }

    /// One meta-step.
    pub fn add(&mut self, loss: f64, accuracy: Option<f64>) {
        self.bar.inc(1);
        let Some(point) = self.averages.add(loss, accuracy) else { return };
        let accuracy = point.accuracy.map(|of_one| format!("  accuracy {:5.2} %", 100.0 * of_one));
        let message = format!("loss {:.4}{}", point.loss, accuracy.unwrap_or_default());
        if watched() {
            self.bar.set_message(message);
        } else {
            note(format!("meta-step {}/{}  {message}", point.iteration, self.averages.iterations));
        }
        self.points.push(point);
    }

    /// What a meta-step says of its estimates.
    pub fn watch(&mut self, report: &Report) {
        self.tasks += report.tasks;
        self.unreliable += report.unreliable;
    }

    /// The averages. Says so if estimates were unreliable.
    pub fn finish(self) -> Vec<TrainingPoint> {
        // The last state of the bar stays on the screen.
        self.bar.abandon();
        if self.unreliable > 0 {
            note(format!(
                "warning: in {} of {} task(s) the estimate of the meta-gradient was mostly error by its own account: the inner \
                 learning rate times the curvature is more than it can follow (a smaller rate, a higher order or exact)",
                self.unreliable, self.tasks
            ));
        }
        self.points
    }
}

/// Sums since the last point. When there is a point depends on the number of iterations alone, not on who watches.
#[derive(Debug, Default)]
pub(crate) struct Averages {
    iterations: usize,
    every: usize,
    done: usize,
    since: usize,
    loss: f64,
    accuracy: Option<f64>,
}

impl Averages {
    pub(crate) fn new(iterations: usize) -> Self {
        Self { iterations, every: (iterations / 20).clamp(1, 100), ..Self::default() }
    }

    /// Of a run that goes on after so many meta-steps.
    pub(crate) fn resumed(iterations: usize, done: usize) -> Self {
        Self { done, ..Self::new(iterations) }
    }

    pub(crate) fn add(&mut self, loss: f64, accuracy: Option<f64>) -> Option<TrainingPoint> {
        self.done += 1;
        self.since += 1;
        self.loss += loss;
        self.accuracy = accuracy.map(|now| now + self.accuracy.unwrap_or(0.0));
        if !self.done.is_multiple_of(self.every) && self.done != self.iterations {
            return None;
        }
        let n = self.since as f64;
        let accuracy = self.accuracy.take().map(|sum| sum / n);
        let point = TrainingPoint { iteration: self.done, loss: self.loss / n, accuracy };
        (self.loss, self.since) = (0.0, 0);
        Some(point)
    }
}

/// A bar for a number of like things, which shows nothing where nobody watches.
pub fn bar(length: usize, what: &'static str) -> ProgressBar {
    if !watched() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{prefix} {wide_bar} {pos}/{len}  {elapsed} (left: {eta})  {msg}");
    let bar = ProgressBar::new(length as u64).with_prefix(what);
    style.map_or(bar.clone(), |style| bar.with_style(style))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_are_averages_over_their_own_steps() {
        let mut averages = Averages::new(51);
        let points: Vec<_> = (0..51).filter_map(|step| averages.add(f64::from(step), Some(0.5))).collect();
        assert_eq!(points.len(), 26);
        assert_eq!(points[1], TrainingPoint { iteration: 4, loss: 2.5, accuracy: Some(0.5) });
        assert_eq!(points[25], TrainingPoint { iteration: 51, loss: 50.0, accuracy: Some(0.5) });
    }
}
