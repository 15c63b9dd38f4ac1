//! What an output was made with: version, commit, date, machine.
//!
//! Does not know: what was made.

use std::path::Path;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

/// What may differ between two runs with the same settings.
#[derive(Clone, Debug, Serialize)]
pub struct Provenance {
    /// Version of the programs.
    pub version: &'static str,
    /// `git describe` of the checkout that the program runs in, with `-dirty` for changes that were not committed; `unknown`
    /// outside of one.
    pub commit: String,
    /// Day and time in UTC.
    pub date: String,
    /// Cores that this process may use.
    pub cpus: usize,
    /// Processes that wanted a core on average, in the last 1, 5 and 15 minutes, where the system tells: times are only worth
    /// what this leaves of the cores.
    pub load: Option<[f64; 3]>,
    /// The program was built without optimisation: no time of it means anything.
    pub unoptimised: bool,
}

impl Provenance {
    /// Of this moment.
    pub fn now() -> Self {
        let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        Self {
            version: env!("CARGO_PKG_VERSION"),
            commit: commit().unwrap_or_else(|| "unknown".into()),
            date: date(seconds),
            cpus: std::thread::available_parallelism().map_or(0, usize::from),
            load: load(),
            unoptimised: cfg!(debug_assertions),
        }
    }

    /// In a line.
    pub fn line(&self) -> String {
        let Self { version, commit, date, cpus, load, unoptimised } = self;
        let load = load.map_or_else(String::new, |[one, ..]| format!(", load {one:.1}"));
        let built = if *unoptimised { ", built without optimisation" } else { "" };
        format!("version {version}, commit {commit}, {date}, {cpus} cores{load}{built}")
    }
}

/// Of the checkout around the current directory, if it is one of this project.
fn commit() -> Option<String> {
    let git = |args: &[&str]| {
        let output = Command::new("git").args(args).output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?.trim().to_owned();
        (output.status.success() && !text.is_empty()).then_some(text)
    };
    let top = git(&["rev-parse", "--show-toplevel"])?;
    Path::new(&top).join("examples/paper.rs").is_file().then(|| git(&["describe", "--always", "--tags", "--dirty"]))?
}

fn load() -> Option<[f64; 3]> {
    let text = std::fs::read_to_string("/proc/loadavg").ok()?;
    let numbers: Vec<f64> = text.split_whitespace().take(3).map(str::parse).collect::<Result<_, _>>().ok()?;
    numbers.try_into().ok()
}

/// Seconds since 1970 as `2026-11-23T20:05:00Z`.
fn date(seconds: u64) -> String {
    let (mut days, clock) = (seconds / 86400, seconds % 86400);
    let leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let mut year = 1970;
    while days >= 365 + u64::from(leap(year)) {
        days -= 365 + u64::from(leap(year));
        year += 1;
    }
    let lengths = [31, 28 + u64::from(leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 0;
    while days >= lengths[month] {
        days -= lengths[month];
        month += 1;
    }
    let (hour, minute, second) = (clock / 3600, clock / 60 % 60, clock % 60);
    format!("{year}-{:02}-{:02}T{hour:02}:{minute:02}:{second:02}Z", month + 1, days + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_those_of_the_calendar() {
        // The first two from the calendar; the others by `date -u -d @N`.
        for (seconds, day) in [
            (0, "1970-01-01T00:00:00Z"),
            (86399, "1970-01-01T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_709_251_199, "2024-02-29T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(date(seconds), day);
        }
    }
}
