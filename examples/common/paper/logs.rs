//! What the logs of runs say: loss and accuracy along training, and seconds.
//!
//! Does not know: who wrote them (burn-meta's trainer).

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::failure::Failure;

/// The mean of a few meta-iterations.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bin {
    /// In the middle of them.
    pub iteration: f64,
    /// Mean query loss after adaptation.
    pub loss: f64,
    /// Mean query accuracy after adaptation, of 1.
    pub accuracy: f64,
}

/// Training losses and accuracies of a run, in up to so many means of as many meta-iterations each; nothing if there is no log.
///
/// # Errors
///
/// [`Failure::Failed`] for a log that is none.
pub fn training(run: &Path, iterations: usize, bins: usize) -> Result<Vec<Bin>, Failure> {
    let path = run.join("metrics.jsonl");
    let number = |line: &Value, key: &str| {
        let found = line[key].as_f64();
        found.ok_or_else(|| Failure::failed(format!("{}: a meta-iteration without {key}", path.display())))
    };
    let width = iterations.div_ceil(bins).max(1);
    let mut sums: Vec<([f64; 3], f64)> = Vec::new();
    for line in lines(&path)?.iter().filter(|line| line["part"] == "train") {
        let at = [number(line, "iteration")?, number(line, "loss")?, number(line, "accuracy")?];
        let bin = (at[0].max(1.0) as usize - 1) / width;
        if bin >= sums.len() {
            sums.resize(bin + 1, ([0.0; 3], 0.0));
        }
        let (sum, count) = &mut sums[bin];
        sum.iter_mut().zip(at).for_each(|(sum, value)| *sum += value);
        *count += 1.0;
    }
    let mean = |(sum, count): &([f64; 3], f64)| {
        let [iteration, loss, accuracy] = sum.map(|sum| sum / count);
        Bin { iteration, loss, accuracy }
    };
    Ok(sums.iter().filter(|(_, count)| *count > 0.0).map(mean).collect())
}

/// The median of the seconds that a meta-iteration took.
pub fn seconds(run: &Path) -> Option<f64> {
    let lines = lines(&run.join("timing.jsonl")).ok()?;
    let steps = lines.iter().filter(|line| line["part"] == "train");
    let mut seconds: Vec<f64> = steps.filter_map(|line| line["seconds"].as_f64()).collect();
    seconds.sort_by(f64::total_cmp);
    seconds.get(seconds.len() / 2).copied()
}

fn lines(path: &Path) -> Result<Vec<Value>, Failure> {
    let Ok(text) = fs::read_to_string(path) else { return Ok(Vec::new()) };
    let line = |line: &str| serde_json::from_str(line).map_err(|cause| Failure::failed(cause).at(path.display()));
    text.lines().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bins_are_means_of_their_own_iterations() {
        let run = std::env::temp_dir().join(format!("paper-logs-{}", std::process::id()));
        fs::create_dir_all(&run).unwrap();
        let step = |at: u32| format!("{{\"iteration\":{at},\"part\":\"train\",\"loss\":{at},\"accuracy\":0.5}}\n");
        let validation = "{\"iteration\":2,\"part\":\"validation\",\"loss\":100,\"accuracy\":0.1}\n";
        let text = [step(1), step(2), validation.into(), step(3), step(4), step(5)].concat();
        fs::write(run.join("metrics.jsonl"), text).unwrap();
        let bins = training(&run, 5, 3).unwrap();
        fs::remove_dir_all(&run).unwrap();
        let of = |iteration, loss| Bin { iteration, loss, accuracy: 0.5 };
        assert_eq!(bins, [of(1.5, 1.5), of(3.5, 3.5), of(5.0, 5.0)]);
        assert_eq!(training(&run, 5, 3).unwrap(), []);
    }
}
