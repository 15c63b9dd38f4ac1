//! A run that is killed again and again leaves the same numbers as one that nothing happened to.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tempfile::TempDir;

const ITERATIONS: usize = 200;
const KILLS: usize = 10;

/// A built example: `cargo test` builds them beside the directory of the tests themselves.
fn training(directory: &Path) -> Command {
    let tests = std::env::current_exe().unwrap();
    let profile = tests.parent().and_then(Path::parent).unwrap();
    let mut command = Command::new(profile.join("examples/sinusoid").with_extension(std::env::consts::EXE_EXTENSION));
    command.args(["train", "--iterations", &ITERATIONS.to_string(), "--meta-batch", "3", "--hidden", "16,16"]);
    command.args([
        "--checkpoint-every",
        "3",
        "--validate-every",
        "20",
        "--validation-tasks",
        "20",
        "--test-tasks",
        "20",
    ]);
    command.arg("--out").arg(directory).stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

#[track_caller]
fn finish(mut command: Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn logs(directory: &Path) -> [String; 2] {
    ["metrics.csv", "metrics.jsonl"].map(|name| fs::read_to_string(directory.join(name)).unwrap())
}

fn lines(directory: &Path) -> usize {
    fs::read(directory.join("metrics.jsonl")).map_or(0, |text| text.iter().filter(|&&byte| byte == b'\n').count())
}

/// Kills the run once it has logged as many lines, and a moment later: wherever it is then, in a meta-step, in a validation,
/// in the middle of a line or of a checkpoint.
fn kill_after(child: &mut Child, directory: &Path, at: usize, moment: Duration) {
    let started = Instant::now();
    while lines(directory) < at {
        assert!(started.elapsed() < Duration::from_secs(120), "{} of {at} lines", lines(directory));
        assert!(child.try_wait().unwrap().is_none(), "the run ended with {} lines", lines(directory));
        std::thread::sleep(Duration::from_millis(1));
    }
    std::thread::sleep(moment);
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_killed_run_leaves_the_same_numbers() {
    let [whole, killed] = [(); 2].map(|()| TempDir::new().unwrap());
    finish(training(whole.path()));
    let lines_in_all = lines(whole.path());
    assert_eq!(lines_in_all, ITERATIONS + ITERATIONS / 20);

    let mut draws = ChaCha8Rng::seed_from_u64(20);
    let mut moments: Vec<usize> = (0..KILLS).map(|_| draws.random_range(1..lines_in_all - 20)).collect();
    moments.sort_unstable();
    let mut found = Vec::new();
    for at in moments {
        let mut child = training(killed.path()).spawn().unwrap();
        kill_after(&mut child, killed.path(), at, Duration::from_micros(draws.random_range(0..8000)));
        found.push(lines(killed.path()));
    }
    println!("killed with {found:?} of {lines_in_all} lines logged");
    finish(training(killed.path()));
    let (expected, found) = (logs(whole.path()), logs(killed.path()));
    assert_eq!(found, expected);
    // Not because every loss is the same: the losses of meta-steps differ.
    let losses: std::collections::HashSet<&str> =
        expected[0].lines().filter_map(|line| line.split(',').nth(2)).collect();
    assert!(losses.len() > ITERATIONS / 2);
}
