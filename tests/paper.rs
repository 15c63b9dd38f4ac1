//! The program of the paper's experiments as a user meets it: every output in its smallest setting, documents that come out the same
//! again, runs that go on.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// The smallest grid of runs: two estimators, one of them the reference, and two seeds.
const TINY: [&str; 26] = [
    "--estimators",
    "first-order,exact",
    "--seeds",
    "2",
    "--iterations",
    "3",
    "--meta-batch",
    "2",
    "--inner-steps",
    "2",
    "--filters",
    "2",
    "--image-size",
    "16",
    "--train-queries",
    "2",
    "--test-queries",
    "3",
    "--test-tasks",
    "4",
    "--columns",
    "2way1shot,3way2shot",
    "--validation-tasks",
    "2",
    "--validate-every",
    "2",
];

/// `cargo test` builds examples beside the directory of the tests themselves.
fn program() -> Command {
    let tests = std::env::current_exe().unwrap();
    let profile = tests.parent().and_then(Path::parent).unwrap();
    let path = profile.join("examples/paper").with_extension(std::env::consts::EXE_EXTENSION);
    assert!(path.exists(), "{} is not built: `cargo build --examples` builds it", path.display());
    Command::new(path)
}

fn run(what: &str, out: &Path, args: &[&str]) -> Output {
    program().arg(what).arg("--out").arg(out).args(args).output().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[track_caller]
fn done(what: &str, out: &Path, args: &[&str]) -> Output {
    let output = run(what, out, args);
    assert_eq!(output.status.code(), Some(0), "{what}: {}", stderr(&output));
    output
}

/// That a mistake is found before anything is computed: one line, exit code 2, and nothing left behind.
#[track_caller]
fn mistake(what: &str, args: &[&str], cause: &str) {
    let out = TempDir::new().unwrap();
    let output = run(what, &out.path().join("new"), args);
    let text = stderr(&output);
    assert_eq!(output.status.code(), Some(2), "{what} {args:?}: {text}");
    assert!(
        text.starts_with("error: ") && text.lines().count() == 1 && text.contains(cause),
        "{what} {args:?}: {text}"
    );
    assert!(!out.path().join("new").exists(), "{what} {args:?}");
}

fn document(path: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(path).unwrap_or_else(|cause| panic!("{}: {cause}", path.display())))
        .unwrap()
}

/// A document without what may differ, and that it has what must be there.
fn lasting(out: &Path, name: &str) -> Value {
    let mut document = document(&out.join(format!("{name}.json")));
    let timing = document.as_object_mut().unwrap().remove("timing").unwrap();
    for key in ["version", "commit", "date", "cpus"] {
        assert!(!timing["provenance"][key].is_null(), "{name}: {key}");
    }
    assert_eq!(document["settings"]["output"], name);
    document
}

/// That a picture has its labels, and is a picture in both forms.
fn picture(out: &Path, name: &str, labels: &[&str]) {
    let svg = fs::read_to_string(out.join(format!("{name}.svg"))).unwrap();
    for label in labels {
        assert!(svg.contains(label), "{name}: no {label}");
    }
    assert!(!svg.contains("NaN"), "{name}");
    let file = fs::read(out.join(format!("{name}.png"))).unwrap();
    let reader = png::Decoder::new(std::io::Cursor::new(file)).read_info().unwrap();
    assert!(reader.info().width > 1000 && reader.info().height > 500);
}

fn markdown(out: &Path, name: &str) -> String {
    let text = fs::read_to_string(out.join(format!("{name}.md"))).unwrap();
    assert!(text.contains("## Made with") && text.contains("commit"), "{text}");
    // Every table is as wide in every row.
    for table in text.split("\n\n").filter(|block| block.starts_with('|')) {
        let cells = |line: &str| line.matches('|').count();
        assert!(table.trim().lines().all(|line| cells(line) == cells(table.lines().next().unwrap())), "{table}");
    }
    text
}

#[test]
fn figure2_is_made_of_bounds() {
    let out = TempDir::new().unwrap();
    done("figure2", out.path(), &[]);
    let results = &lasting(out.path(), "figure2")["results"];
    // Theorem 3.8 at K = 10, L = 1 and alpha H = 0.1 leaves 45 x^2 out of 10 x.
    let bound = results["panels"][1]["curves"][0]["binomial"][1].as_f64().unwrap();
    assert!((bound - 0.45).abs() < 1e-12, "{bound}");
    picture(out.path(), "figure2", &["order L", "first-order bound", "binomial, alpha H = 0.1", "convex"]);
    assert!(markdown(out.path(), "figure2").contains("![") && out.path().read_dir().unwrap().count() == 4);
}

#[test]
fn figure3_orders_the_estimators_and_comes_out_the_same_again() {
    let args = ["--iterations", "4", "--batches", "3", "--batch", "2", "--places", "2", "--inner-lr", "0.001"];
    let [first, second] = [(); 2].map(|()| TempDir::new().unwrap());
    done("figure3", first.path(), &args);
    done("figure3", second.path(), &[&args[..], &["--threads", "1"]].concat());
    let document = lasting(first.path(), "figure3");
    assert_eq!(document, lasting(second.path(), "figure3"), "threads, or chance, changed a number");
    let places = document["results"]["places"].as_array().unwrap();
    assert_eq!(places.iter().map(|place| place["iteration"].as_u64().unwrap()).collect::<Vec<_>>(), [0, 2, 4]);
    let error = |estimator: &str, order: u64| {
        let points = places[0]["points"].as_array().unwrap();
        let found = points.iter().find(|point| point["estimator"] == estimator && point["order"] == order);
        found.unwrap()["relative_error"]["median"].as_f64().unwrap()
    };
    // What the paper's figure shows where inner steps are small against the curvature, and orders of magnitude apart: mislabelled
    // curves would not.
    assert!(error("binomial", 4) < 1e-2 * error("truncated", 4));
    assert!(error("binomial", 2) < error("binomial", 1) && error("truncated", 5) < 1e-12);
    picture(
        first.path(),
        "figure3",
        &["meta-steps", "order L", "relative error", "along training, L = 4", "untrained"],
    );
    assert!(markdown(first.path(), "figure3").contains("| binomial "));
}

#[test]
fn figure4_measures_every_estimator() {
    let out = TempDir::new().unwrap();
    let args = ["--filters", "2", "--image-size", "16", "--train-queries", "1", "--repeats", "1", "--inner-steps", "3"];
    done("figure4", out.path(), &[&args[..], &["--threads", "2"]].concat());
    let document = lasting(out.path(), "figure4");
    let point = |family: &str, order: u64| {
        let points = document["results"]["points"].as_array().unwrap();
        points.iter().find(|point| point["family"] == family && point["order"] == order).unwrap().clone()
    };
    let products = |family, order| point(family, order)["products"].as_u64().unwrap();
    // L (K - L + 1); conjugate gradients take one for the residual.
    assert_eq!([products("first-order", 0), products("binomial", 2), products("exact", 3)], [0, 4, 3]);
    assert_eq!(products("implicit", 2), 3);
    let bytes = |family, order| point(family, order)["peak_bytes"].as_u64().unwrap();
    assert!(bytes("first-order", 0) < bytes("truncated", 1) && bytes("truncated", 1) < bytes("exact", 3));
    let timing = &self::document(&out.path().join("figure4.json"))["timing"]["points"];
    for timed in timing.as_array().unwrap() {
        for key in ["ratio_to_first_order", "efficiency_of_a_task", "efficiency_of_a_meta_batch"] {
            assert!(timed[key].as_f64().unwrap() > 0.0, "{timed}");
        }
        assert!(!cfg!(target_os = "linux") || timed["resident_growth_bytes"].as_u64().is_some(), "{timed}");
    }
    picture(out.path(), "figure4", &["milliseconds", "MiB", "parallel efficiency, %", "order L", "implicit"]);
    assert!(markdown(out.path(), "figure4").contains("efficiency"));
}

#[test]
fn table1_pairs_runs_and_figure5_takes_the_same() {
    let out = TempDir::new().unwrap();
    done("table1", out.path(), &TINY);
    let table = lasting(out.path(), "table1");
    assert_eq!(table["results"]["missing"].as_array().unwrap().len(), 0);
    let runs = out.path().join("runs");
    for run in ["textures-2way1shot/first-order/seed-1", "textures-3way2shot/exact/seed-0"] {
        assert!(runs.join(run).join("test.json").exists() && runs.join(run).join("metrics.csv").exists(), "{run}");
    }
    for column in table["results"]["columns"].as_array().unwrap() {
        let [first_order, exact] = &column["rows"].as_array().unwrap()[..] else { panic!("two rows") };
        let mean = |cell: &Value| cell["mean"].as_f64().unwrap();
        let gap = mean(&first_order["accuracy"]) - mean(&exact["accuracy"]);
        assert!((mean(&first_order["gap"]) - gap).abs() < 1e-12 && exact["gap"].is_null());
        assert_eq!(exact["runs"].as_array().unwrap().len(), 2);
        assert!(exact["accuracy"]["both95"].as_f64().is_some());
    }
    let text = markdown(out.path(), "table1");
    assert!(text.contains("FOMAML (L=0)") && text.contains("MAML (exact, K=2)") && !text.contains("Missing"), "{text}");

    let before = stamps(&runs);
    let output = done("figure5", out.path(), &TINY);
    assert_eq!(before, stamps(&runs), "finished runs were done again: {}", stderr(&output));
    let rows = &lasting(out.path(), "figure5")["results"]["columns"][1]["rows"];
    assert_eq!(rows[0]["runs"][1]["iteration_loss_accuracy"].as_array().unwrap().len(), 3);
    picture(out.path(), "figure5", &["meta-iterations", "meta-training accuracy, %", "meta-training loss", "FOMAML"]);
    markdown(out.path(), "figure5");

    // The same in another directory, on another number of threads.
    let other = TempDir::new().unwrap();
    done("table1", other.path(), &[&TINY[..], &["--threads", "1"]].concat());
    assert_eq!(table, lasting(other.path(), "table1"));
}

/// When the finished runs were written.
fn stamps(runs: &Path) -> Vec<(PathBuf, std::time::SystemTime)> {
    let mut found = Vec::new();
    let mut folders = vec![runs.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            match entry.path() {
                path if path.is_dir() => folders.push(path),
                path if path.ends_with("test.json") => {
                    found.push((path.clone(), path.metadata().unwrap().modified().unwrap()))
                }
                _ => {}
            }
        }
    }
    found.sort();
    assert!(!found.is_empty());
    found
}

#[test]
fn a_killed_table_goes_on_and_a_longer_one_lengthens_its_runs() {
    let out = TempDir::new().unwrap();
    let long = [&TINY[..4], &["--iterations", "60"], &TINY[6..20], &["--columns", "2way1shot"]].concat();
    let mut child = program();
    child.arg("table1").arg("--out").arg(out.path()).args(&long).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = child.spawn().unwrap();
    // Killed as soon as one run is finished: the second is under way, or is about to be.
    let finished = out.path().join("runs/textures-2way1shot/first-order/seed-0/test.json");
    let began = Instant::now();
    while !finished.exists() && child.try_wait().unwrap().is_none() {
        assert!(began.elapsed() < Duration::from_secs(300), "no run was finished");
        std::thread::sleep(Duration::from_millis(20));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let text = fs::read_to_string(&finished).unwrap();

    // What is there is told without training, and what is not.
    done("table1", out.path(), &[&long[..], &["--no-training"]].concat());
    let partial = lasting(out.path(), "table1");
    let missing = partial["results"]["missing"].as_array().unwrap().clone();
    assert!((1..=3).contains(&missing.len()), "{missing:?}");
    assert!(markdown(out.path(), "table1").contains("are not in this table"));

    done("table1", out.path(), &long);
    assert_eq!(fs::read_to_string(&finished).unwrap(), text, "a finished run was done again");
    let whole = TempDir::new().unwrap();
    done("table1", whole.path(), &long);
    assert_eq!(
        lasting(out.path(), "table1"),
        lasting(whole.path(), "table1"),
        "a killed table differs from a whole one"
    );

    let longer = [&long[..4], &["--iterations", "70"], &long[6..]].concat();
    let output = done("table1", out.path(), &longer);
    let lines = fs::read_to_string(finished.with_file_name("metrics.csv")).unwrap().lines().count();
    assert_eq!(lines, 71, "a header and 70 meta-iterations: {}", stderr(&output));

    // A shorter one is not made of longer runs, and takes nothing away.
    let before = markdown(out.path(), "table1");
    let output = run("table1", out.path(), &long);
    assert!(output.status.code() == Some(2) && stderr(&output).contains("--iterations 60: the run has 70"));
    assert_eq!(markdown(out.path(), "table1"), before);

    // Other settings in the same directory are refused, and named.
    let other = [&longer[..], &["--inner-lr", "0.2"]].concat();
    let output = run("table1", out.path(), &other);
    let text = stderr(&output);
    assert!(output.status.code() != Some(0) && text.contains("another run") && text.contains("0.2"), "{text}");
}

#[test]
fn table2_has_the_hybrid_and_its_parents() {
    let out = TempDir::new().unwrap();
    let args = [&TINY[4..8], &TINY[10..20], &["--seeds", "2", "--columns", "2way1shot"]].concat();
    done("table2", out.path(), &args);
    let document = lasting(out.path(), "table2");
    let column = &document["results"]["columns"][0];
    let names: Vec<&str> =
        column["rows"].as_array().unwrap().iter().map(|row| row["estimator"].as_str().unwrap()).collect();
    assert_eq!(names, ["first-order", "truncated:1", "truncated:4", "binomial:1", "hybrid:1x4", "exact"]);
    let error = |row: usize| column["meta_gradients"][row]["untrained"]["median"].as_f64().unwrap();
    assert!(error(5) < 1e-12 && error(3) < error(0) && error(4) < error(0), "{column}");
    assert_eq!(column["meta_gradients"][4]["spent"]["products"], 4);
    assert!(markdown(out.path(), "table2").contains("hybrid L=1, C=4"));
}

#[test]
fn a_document_goes_to_standard_output_alone() {
    let out = TempDir::new().unwrap();
    let output = done("figure2", out.path(), &["--json", "-"]);
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document["program"], "paper");
    assert_eq!(document["results"], self::document(&out.path().join("figure2.json"))["results"]);
}

#[test]
fn mistakes_are_one_line() {
    mistake("figure2", &["--reach", "0.5,3"], "convex");
    mistake("figure3", &["--orders", "5"], "expected less");
    mistake("figure3", &["--dataset", "mini"], "--dataset");
    mistake("figure4", &["--image-size", "8"], "--image-size");
    mistake("table1", &["--estimators", "binomial:9"], "--estimators binomial:9");
    mistake("table1", &["--estimators", "exact,exact"], "twice");
    mistake("table1", &["--columns", "5way"], "5way1shot");
    mistake("table1", &["--columns", "5way1shot,5way1shot"], "twice");
    mistake("table1", &["--dataset", "mini"], "needs --data");
    mistake("table1", &["--dataset", "textures", "--data", "x"], "drawn");
    mistake("table1", &["--test-tasks", "1"], "--test-tasks");
    mistake("all", &["--json", "x.json"], "--json");
    mistake("figure6", &[], "figure6");
}
