//! What a meta-gradient costs: seconds on one thread and on several, bytes by estimate and by the growth of a process.
//!
//! Does not know: figures.

use std::process::Command;
use std::time::Instant;

use burn::tensor::{Device, Int, Tensor, TensorData};
use burn_meta::models::{Cnn4, Cnn4Config, cross_entropy};
use burn_meta::{Estimator, InnerLoopConfig, Maml, MamlConfig, Solver, Task};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::clock::{Clock, Stopwatch};
use crate::device::DeviceName;
use crate::failure::Failure;
use crate::families::contenders;
use crate::progress::bar;
use crate::seed::seeded;

/// What a meta-gradient is taken of.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Cost {
    pub channels: usize,
    pub image_size: usize,
    pub filters: usize,
    pub way: usize,
    pub shot: usize,
    pub query: usize,
    pub inner_steps: usize,
    pub inner_lr: f64,
    pub proximal: f64,
    pub meta_batch: usize,
    pub seed: u64,
}

/// An estimator with its place in the figure.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Candidate {
    pub family: &'static str,
    pub order: usize,
    pub estimator: Estimator,
}

/// What an estimator took.
#[derive(Clone, Debug)]
pub struct Measured {
    pub products: usize,
    pub peak_bytes: usize,
    pub residual_bytes: usize,
    pub seconds: Seconds,
    /// Mean seconds that a core computed for it, of one task on one thread, where the system tells: in hundredths, and the same
    /// whoever else has the machine.
    pub cpu_seconds: Option<f64>,
    /// To first-order: the median of ratios within a round, of one task on one thread.
    pub ratio: f64,
    /// Threads of the times on several.
    pub threads: usize,
}

/// Medians of the seconds of a meta-gradient.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Seconds {
    pub task_one_thread: f64,
    pub task_threads: Option<f64>,
    pub batch_one_thread: f64,
    pub batch_threads: Option<f64>,
}

impl Measured {
    /// Time on one thread over the threads' number times theirs, of one task or of a meta-batch.
    pub fn efficiency(&self, batch: bool) -> Option<f64> {
        let Seconds { task_one_thread, task_threads, batch_one_thread, batch_threads } = self.seconds;
        let (one, many) = if batch { (batch_one_thread, batch_threads) } else { (task_one_thread, task_threads) };
        many.map(|many| one / (self.threads as f64 * many))
    }
}

/// First-order, exact and the families, each with all its orders.
pub fn candidates(steps: usize) -> Vec<Candidate> {
    let level = |family, order, estimator| Candidate { family, order, estimator };
    let mut all = vec![level("first-order", 0, Estimator::FirstOrder)];
    // Another rate or another fit costs what its sister costs.
    let families = contenders(steps, steps);
    let families =
        families.into_iter().filter(|member| !["binomial, scaled", "fitted, probe 1"].contains(&member.family));
    all.extend(families.map(|member| level(member.family, member.estimator.order(steps), member.estimator)));
    all.push(level("exact", steps, Estimator::Exact));
    all.extend((1..=steps).map(|iterations| {
        let solver = Solver::ConjugateGradients { iterations, tolerance: 0.0 };
        level("implicit", iterations, Estimator::Implicit { solver })
    }));
    all
}

type Images = (Tensor<4>, Tensor<1, Int>);

fn loss(net: &Cnn4, (images, labels): Images) -> Tensor<1> {
    cross_entropy(net.forward(images), labels)
}

impl Cost {
    fn net(&self, device: &Device) -> Result<Cnn4, Failure> {
        let config = Cnn4Config::new(self.channels, self.image_size, self.way).with_hidden(self.filters);
        seeded(self.seed, device, |device| config.init(device))
    }

    /// Tasks of random images: what they show costs nothing.
    fn tasks(&self, device: &Device) -> Vec<Task<Images>> {
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        let mut batch = |per_class: usize| {
            let n = self.way * per_class;
            let shape = [n, self.channels, self.image_size, self.image_size];
            let pixels: Vec<f32> = (0..shape.iter().product()).map(|_| rng.random_range(-1.0..1.0)).collect();
            let labels: Vec<i64> = (0..n).map(|at| (at / per_class) as i64).collect();
            let labels = Tensor::from_data(TensorData::new(labels, [n]), device);
            (Tensor::from_data(TensorData::new(pixels, shape), device), labels)
        };
        (0..self.meta_batch).map(|_| Task { support: batch(self.shot), query: batch(self.query) }).collect()
    }

    fn maml(&self, estimator: Estimator, threads: usize) -> Result<Maml, Failure> {
        let inner = InnerLoopConfig::new(self.inner_lr).with_steps(self.inner_steps);
        let implicit = matches!(estimator, Estimator::Implicit { .. });
        let inner = inner.with_proximal(if implicit { self.proximal } else { 0.0 });
        Ok(MamlConfig::new(inner, estimator).with_threads(Some(threads)).init()?)
    }

    /// The growth of the resident peak of a process that takes a meta-gradient of one task by one of the candidates; none where
    /// the system does not tell.
    pub fn resident_growth(&self, at: usize) -> Result<Option<u64>, Failure> {
        let settings = serde_json::to_string(self).map_err(Failure::failed)?;
        let failed =
            |cause: &dyn std::fmt::Display| Failure::failed(format!("a process that measures memory: {cause}"));
        let program = std::env::current_exe().map_err(|cause| failed(&cause))?;
        let output = Command::new(program).args(["point", &settings, &at.to_string()]).output();
        let output = output.map_err(|cause| failed(&cause))?;
        let text = String::from_utf8_lossy(&output.stdout);
        if !output.status.success() {
            return Err(failed(&String::from_utf8_lossy(&output.stderr).trim()));
        }
        Ok(text.trim().parse().ok())
    }

    /// What that process does.
    pub fn resident_here(&self, at: usize) -> Result<Option<u64>, Failure> {
        let candidates = candidates(self.inner_steps);
        let candidate = candidates.get(at).ok_or_else(|| Failure::usage(format!("{at}: no such estimator")))?;
        let device = DeviceName::Flex.open()?;
        let (net, tasks) = (self.net(&device)?, self.tasks(&device));
        let maml = self.maml(candidate.estimator, 1)?;
        // The peak so far is forgotten, where the kernel lets a process do that; making the tasks is below it anyway.
        let _ = std::fs::write("/proc/self/clear_refs", "5");
        let before = status("VmRSS");
        for _ in 0..2 {
            maml.meta_gradient(&net, &tasks[..1], loss)?;
        }
        Ok(before.zip(status("VmHWM")).map(|(before, peak)| peak.saturating_sub(before)))
    }
}

/// Bytes that Linux tells of this process under a name.
fn status(name: &str) -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(1024 * kibibytes)
}

/// One way of taking a meta-gradient: tasks, and whether on one thread.
const WAYS: [(bool, bool); 4] = [(false, true), (false, false), (true, true), (true, false)];

/// Times every candidate, round by round, of which the first is thrown away: closures are compiled in it.
pub fn measure(
    cost: &Cost,
    candidates: &[Candidate],
    repeats: usize,
    threads: usize,
) -> Result<Vec<Measured>, Failure> {
    let device = DeviceName::Flex.open()?;
    let (net, tasks) = (cost.net(&device)?, cost.tasks(&device));
    let learners =
        |threads| candidates.iter().map(move |c| cost.maml(c.estimator, threads)).collect::<Result<Vec<_>, _>>();
    let (one, many) = (learners(1)?, learners(threads)?);
    let ways: Vec<(bool, bool)> = WAYS.into_iter().filter(|(_, alone)| *alone || threads > 1).collect();
    // By way, candidate and round.
    let mut seconds = vec![vec![Vec::with_capacity(repeats); candidates.len()]; ways.len()];
    let mut reports = Vec::with_capacity(candidates.len());
    let mut cpu = Clock::Cpu.check().ok().map(|()| vec![0.0; candidates.len()]);
    let bar = bar((repeats + 1) * ways.len() * candidates.len(), "timing");
    for round in 0..=repeats {
        for (way, (batch, alone)) in ways.iter().enumerate() {
            let (learners, tasks) = (if *alone { &one } else { &many }, if *batch { &tasks[..] } else { &tasks[..1] });
            for (at, (maml, candidate)) in learners.iter().zip(candidates).enumerate() {
                let (started, watch) = (Instant::now(), Stopwatch::start(Clock::Cpu, 0.0));
                let step = maml.meta_gradient(&net, tasks, loss);
                let step = step.map_err(|error| Failure::from(error).at(format!("{:?}", candidate.estimator)))?;
                bar.inc(1);
                match round {
                    0 if way == 0 => reports.push(step.report),
                    0 => {}
                    _ => seconds[way][at].push(started.elapsed().as_secs_f64()),
                }
                if let Some(cpu) = cpu.as_mut().filter(|_| round > 0 && way == 0) {
                    cpu[at] += watch.seconds() / repeats as f64;
                }
            }
        }
    }
    bar.finish_and_clear();
    let of = |way: (bool, bool), at: usize| Some(median(&seconds[ways.iter().position(|found| *found == way)?][at]));
    let ratio = |at: usize| {
        let rounds = seconds[0][at].iter().zip(&seconds[0][0]);
        median(&rounds.map(|(this, first_order)| this / first_order).collect::<Vec<_>>())
    };
    let measured = |(at, report): (usize, burn_meta::Report)| Measured {
        products: report.products,
        peak_bytes: report.peak_bytes,
        residual_bytes: report.residual_bytes,
        seconds: Seconds {
            task_one_thread: median(&seconds[0][at]),
            task_threads: of((false, false), at),
            batch_one_thread: of((true, true), at).unwrap_or(f64::NAN),
            batch_threads: of((true, false), at),
        },
        cpu_seconds: cpu.as_ref().map(|cpu| cpu[at]),
        ratio: ratio(at),
        threads,
    };
    Ok(reports.into_iter().enumerate().map(measured).collect())
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let half = sorted.len() / 2;
    match (sorted.len() % 2, sorted.get(half)) {
        (_, None) => f64::NAN,
        (0, Some(upper)) => (sorted[half - 1] + upper) / 2.0,
        (_, Some(middle)) => *middle,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_by_hand() {
        assert_eq!((median(&[3.0, 1.0, 2.0]), median(&[4.0, 1.0, 3.0, 2.0])), (2.0, 2.5));
        assert!(median(&[]).is_nan());
    }

    #[test]
    fn the_first_candidate_is_first_order_and_families_stand_together() {
        // Ratios are to the first, and curves are made of neighbours.
        let all = candidates(5);
        assert_eq!(all[0].estimator, Estimator::FirstOrder);
        let mut families: Vec<&str> = all.iter().map(|candidate| candidate.family).collect();
        families.dedup();
        let names: std::collections::BTreeSet<&str> = families.iter().copied().collect();
        assert_eq!(names.len(), families.len());
        for name in ["truncated", "binomial", "hybrid", "fitted, probe 4", "frozen", "segments, 2", "exact", "implicit"]
        {
            assert!(names.contains(name), "{name}");
        }
    }
}
