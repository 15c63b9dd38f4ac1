//! A clock that can be stopped: by the wall, or by what this process has computed.
//!
//! Does not know: what is timed.

use std::time::Instant;

use clap::ValueEnum;
use serde::Serialize;

use crate::failure::Failure;

/// What a second is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Clock {
    /// A second that passes, whoever has the machine.
    Wall,
    /// A second that a core of the CPU works for this process: on a machine that others use, too. Linux only, in hundredths.
    Cpu,
}

impl Clock {
    /// Checks that this system has it.
    ///
    /// # Errors
    ///
    /// [`Failure::Usage`].
    pub fn check(self) -> Result<(), Failure> {
        if self == Self::Cpu && cpu_seconds().is_none() {
            return Err(Failure::usage("--clock cpu: this system does not tell; pass --clock wall"));
        }
        Ok(())
    }
}

/// Sums the seconds between its starts and stops.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch {
    clock: Clock,
    began: Instant,
    cpu_began: f64,
    before: f64,
}

impl Stopwatch {
    /// A watch that runs, and has counted `before` seconds already.
    pub fn start(clock: Clock, before: f64) -> Self {
        Self { clock, began: Instant::now(), cpu_began: cpu_seconds().unwrap_or(0.0), before }
    }

    /// Seconds counted.
    pub fn seconds(&self) -> f64 {
        let since = match self.clock {
            Clock::Wall => self.began.elapsed().as_secs_f64(),
            Clock::Cpu => cpu_seconds().unwrap_or(f64::INFINITY) - self.cpu_began,
        };
        self.before + since
    }
}

/// Seconds that the threads of this process have computed; `None` where the system does not say (other than Linux).
fn cpu_seconds() -> Option<f64> {
    // User and system time are fields 14 and 15, in ticks of 1/100 s; the name in field 2 may hold blanks, and ends in `)`.
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = |at: usize| fields.get(at)?.parse::<f64>().ok();
    Some((ticks(11)? + ticks(12)?) / 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sleeping_process_computes_nothing() {
        let [wall, cpu] = [Clock::Wall, Clock::Cpu].map(|clock| Stopwatch::start(clock, 2.0));
        std::thread::sleep(std::time::Duration::from_millis(300));
        assert!(wall.seconds() >= 2.3);
        if Clock::Cpu.check().is_ok() {
            // Other tests of this binary compute meanwhile, on as many cores as there are.
            assert!(cpu.seconds() >= 2.0 && cpu.seconds().is_finite());
            let mut sum = 0u64;
            while cpu.seconds() <= 2.02 {
                sum = std::hint::black_box(sum + 1);
            }
        }
    }
}
