//! The example programs as a user meets them: exit codes, one-line errors, reproducible documents.

use std::fs;
use std::io::{Cursor, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use burn::tensor::Device;
use burn_func::Params;
use burn_meta::Checkpoint;
use burn_meta::models::BackboneConfig;
use serde_json::Value;
use tempfile::TempDir;

/// The smallest run that goes through everything.
const TINY: [&str; 14] = [
    "--drawn-classes",
    "40",
    "--iterations",
    "2",
    "--meta-batch",
    "2",
    "--query",
    "2",
    "--test-tasks",
    "4",
    "--test-query",
    "3",
    "--filters",
    "4",
];

/// A built example: `cargo test` builds them beside the directory of the tests themselves.
fn program(name: &str) -> Command {
    let tests = std::env::current_exe().unwrap();
    let profile = tests.parent().and_then(Path::parent).unwrap();
    let path = profile.join("examples").join(name).with_extension(std::env::consts::EXE_EXTENSION);
    assert!(path.exists(), "{} is not built: `cargo build --examples` builds it", path.display());
    Command::new(path)
}

fn run(name: &str, args: &[&str]) -> Output {
    program(name).args(args).output().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[track_caller]
fn assert_done(output: &Output) {
    assert_eq!(output.status.code(), Some(0), "{}{}", stdout(output), stderr(output));
}

/// That a program stopped with this code, its last and only `error: ` line naming the cause.
#[track_caller]
fn assert_error(output: &Output, code: i32, cause: &str) {
    let text = stderr(output);
    assert_eq!(output.status.code(), Some(code), "{text}");
    assert!(!text.contains("panicked"), "{text}");
    assert_eq!(text.lines().filter(|line| line.starts_with("error: ")).count(), 1, "{text}");
    let last = text.lines().last().unwrap_or_default();
    assert!(last.starts_with("error: ") && last.contains(cause), "expected an error with `{cause}`, found: {text}");
}

/// That a mistake is found before anything is done: one line, exit code 2.
#[track_caller]
fn assert_mistake(name: &str, args: &[&str], cause: &str) {
    let output = run(name, args);
    assert_error(&output, 2, cause);
    assert_eq!(stderr(&output).lines().count(), 1, "{}", stderr(&output));
    assert_eq!(stdout(&output), "", "{name} {args:?}");
}

fn document(path: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

/// The text of a document outside `timing`.
fn lasting(path: &Path) -> String {
    let mut document = document(path);
    assert!(document.as_object_mut().unwrap().remove("timing").is_some());
    document.to_string()
}

fn names_in(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn help_tells_defaults() {
    for (name, word) in [
        ("omniglot", "maml-omniglot-20way"),
        ("miniimagenet", "--preset paper-mini-1shot"),
        ("tieredimagenet", "paper-tiered-1shot"),
        ("cifar_fs", "out/cifar_fs"),
        ("sinusoid", "maml-sinusoid"),
        ("error_curve", "[default: 0.01]"),
        ("bounds", "0.1,0.5,1"),
        ("estimators", "[default: 0.01 0.03 0.1 0.3 1 3]"),
        ("reweighting", "[default: exact]"),
        ("training_curves", "segments:SxD"),
        ("parity", "FIXTURE_DIR"),
    ] {
        let output = run(name, &["--help"]);
        assert_done(&output);
        assert!(stdout(&output).contains(word), "{}", stdout(&output));
    }
    for (name, command, words) in [
        ("omniglot", "train", ["[default: 0.4]", "[default: out/omniglot]"]),
        ("sinusoid", "train", ["[default: 40,40]", "[default: 0.01]"]),
        ("miniimagenet", "test", ["--batch-norm", "--checkpoint"]),
        ("miniimagenet", "adapt", ["--fresh-head", "one image alone is judged badly"]),
    ] {
        let output = run(name, &[command, "--help"]);
        assert_done(&output);
        assert!(words.iter().all(|word| stdout(&output).contains(word)), "{}", stdout(&output));
    }
}

#[test]
fn mistakes_in_the_options_are_one_line() {
    assert_mistake("omniglot", &["--order", "9", "--inner-steps", "5"], "order 9 with 5 inner step(s)");
    assert_mistake("sinusoid", &["--order", "9"], "order 9 with 5 inner step(s)");
    assert_mistake("omniglot", &["--order", "1", "--estimator", "exact"], "--order belongs to");
    assert_mistake("omniglot", &["--scaled", "--estimator", "truncated"], "--scaled belongs to");
    assert_mistake("omniglot", &["--estimator", "second-order"], "second-order");
    assert_mistake("sinusoid", &["--window", "3"], "--window belongs to --estimator hybrid");
    assert_mistake("sinusoid", &["--estimator", "frozen", "--segments", "2"], "--segments belongs to");
    assert_mistake(
        "sinusoid",
        &["--estimator", "segments", "--degree", "0"],
        "--estimator segments: segments: at least 1",
    );
    assert_mistake("sinusoid", &["--estimator", "hybrid", "--window", "6"], "order 6 with 5 inner step(s)");
    assert_mistake("sinusoid", &["--estimator", "adaptive", "--tolerance", "0"], "--tolerance");
    assert_mistake("error_curve", &["--tasks", "20", "--batch", "15"], "at least 2 mini-batches");
    assert_mistake("estimators", &["--reach", "0"], "--reach");
    assert_mistake("estimators", &["--reach", "1", "--rate", "0.1"], "cannot be used with");
    assert_mistake("estimators", &["--tolerance", "0.1"], "--adaptive");
    assert_mistake("estimators", &["--adaptive", "--plot", "x.svg"], "cannot be used with");
    assert_mistake("estimators", &["--tasks", "1"], "--tasks");
    assert_mistake("estimators", &["--data", "x.zip"], "--data belongs to --problem characters");
    assert_mistake("estimators", &["--problem", "quadratic", "--iterations", "5"], "nothing to train");
    assert_mistake("estimators", &["--plot", "no/where.svg"], "does not exist");
    assert_mistake("omniglot", &["--metabatch", "5"], "did you mean --meta-batch?");
    assert_mistake("omniglot", &["learn"], "learn");
    assert_mistake("omniglot", &["--way", "1"], "--way 1: there is nothing to tell apart");
    assert_mistake("sinusoid", &["--patience", "3"], "--patience counts validations");
    assert_mistake("omniglot", &["--split", "0.5,0.2,0.3", "--test-data", "x.zip"], "--split and --test-data");
    assert_mistake("omniglot", &["--inner-momentum", "0.5"], "--inner-rule");
    assert_mistake("omniglot", &["--test-tasks", "1"], "--test-tasks");
    assert_mistake("omniglot", &["--image-size", "8"], "image_size");
    assert_mistake("miniimagenet", &["--filters", "8,8"], "[model]: ");
    assert_mistake("miniimagenet", &["--split", "0.5,0.5"], "expected three");
    assert_mistake("parity", &[], "FIXTURE_DIR");
    assert_mistake("bounds", &["--reach", "0.5,3"], "convex");
    assert_mistake("bounds", &["--least", "1.5"], "strongly convex");
    assert_mistake("bounds", &["--inner-steps", "101"], "100 or less");
    for size in
        ["--way", "--shot", "--query", "--test-query", "--meta-batch", "--test-tasks", "--filters", "--inner-steps"]
    {
        assert_mistake("omniglot", &[size, "0"], size);
    }
    for size in ["--shot", "--query", "--meta-batch", "--test-tasks", "--inner-steps", "--hidden"] {
        assert_mistake("sinusoid", &[size, "0"], size);
    }
    for size in ["--train", "--validation", "--test", "--inner-steps", "--hidden", "--classes", "--side"] {
        assert_mistake("reweighting", &[size, "0"], size);
    }
    for share in ["--noise", "--momentum"] {
        assert_mistake("reweighting", &[share, "1"], "to below 1");
    }
    for size in ["--repeats", "--every", "--meta-steps", "--validation-tasks", "--inner-steps", "--seconds"] {
        assert_mistake("training_curves", &[size, "0"], size);
    }
    assert_mistake("training_curves", &["--meta-steps", "5", "--seconds", "5"], "cannot be used with");
    assert_mistake("training_curves", &["--estimators", "exact,second-order"], "second-order");
    assert_mistake("training_curves", &["--estimators", "fitted:9"], "--estimators fitted:9: order 9");
    assert_mistake("training_curves", &["--estimators", "exact,truncated:1,exact"], "exact twice");
    for rate in ["nan", "inf", "-inf", "0", "-1", "fast"] {
        assert_mistake("omniglot", &[&format!("--inner-lr={rate}")], "--inner-lr");
        assert_mistake("sinusoid", &[&format!("--meta-lr={rate}")], "--meta-lr");
    }
}

#[test]
#[cfg(not(feature = "cuda"))]
fn a_backend_that_is_not_built_in_says_how_to_get_it() {
    for name in ["omniglot", "sinusoid", "estimators"] {
        assert_mistake(name, &["--device", "cuda"], "--features cuda");
    }
}

#[test]
fn tasks_larger_than_the_data_are_mistakes() {
    assert_mistake("omniglot", &["--drawn-classes", "40", "--way", "500"], "500-way episodes need 500 classes");
    assert_mistake("omniglot", &["--drawn-classes", "40", "--way", "25"], "test data: 25-way episodes need 25 classes");
    assert_mistake("omniglot", &["--shot", "18"], "at least 18 support + 5 query images");
    assert_mistake("omniglot", &["--drawn-classes", "2"], "test data");
    assert_mistake("miniimagenet", &["--drawn-classes", "25", "--validate-every", "1"], "validation data");
}

#[test]
fn data_that_cannot_be_read_is_a_mistake() {
    let directory = TempDir::new().unwrap();
    let file = |name: &str, bytes: &[u8]| {
        let path = directory.path().join(name);
        fs::write(&path, bytes).unwrap();
        path.into_os_string().into_string().unwrap()
    };
    let whole = archive(&["Greek/character01"]);
    let missing = directory.path().join("missing.zip").into_os_string().into_string().unwrap();
    let truncated = file("truncated.zip", &whole[..whole.len() / 2]);
    let foreign = file("foreign.zip", &zip_of(&[("notes/readme.txt", b"hello".to_vec())]));
    let text = file("text.zip", b"not an archive");
    let empty = TempDir::new().unwrap();
    for (path, cause) in [
        (missing.as_str(), "no such file"),
        (&truncated, "truncated"),
        (&foreign, "notes/readme.txt"),
        (&text, "columns not an archive"),
        (empty.path().to_str().unwrap(), "an empty folder"),
    ] {
        assert_mistake("omniglot", &["--data", path], cause);
        assert_mistake("omniglot", &["--test-data", path], cause);
    }
}

#[test]
fn places_that_cannot_be_written_are_found_before_training() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, "").unwrap();
    let path = |path: PathBuf| path.into_os_string().into_string().unwrap();
    assert_mistake("omniglot", &["--json", &path(directory.path().join("no/where.json"))], "does not exist");
    assert_mistake("sinusoid", &["--json", &path(directory.path().to_owned())], "is a directory");
    assert_mistake("omniglot", &["--out", &path(file.join("below"))], "is not a directory");
    assert_eq!(names_in(directory.path()), ["file"]);
}

#[cfg(unix)]
#[test]
fn documents_are_written_through_links_and_into_pipes() {
    let directory = TempDir::new().unwrap();
    let (file, link) = (directory.path().join("file.json"), directory.path().join("link.json"));
    fs::write(&file, "before").unwrap();
    std::os::unix::fs::symlink(&file, &link).unwrap();
    let bounds = |json: &Path| program("bounds").arg("--json").arg(json).output().unwrap();
    assert_done(&bounds(&link));
    assert!(link.is_symlink() && document(&file)["program"] == "bounds");
    let pipe = directory.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let reader = Command::new("cat").arg(&pipe).stdout(std::process::Stdio::piped()).spawn().unwrap();
    assert_done(&bounds(&pipe));
    let read: Value = serde_json::from_slice(&reader.wait_with_output().unwrap().stdout).unwrap();
    assert_eq!(read["results"], document(&file)["results"]);
}

#[test]
fn a_diverging_run_fails_and_leaves_nothing_half_written() {
    let directory = TempDir::new().unwrap();
    let (out, json) = (directory.path().join("net"), directory.path().join("run.json"));
    let mut omniglot = program("omniglot");
    omniglot.args(TINY).args(["--inner-lr", "1e30"]).arg("--out").arg(&out).arg("--json").arg(&json);
    assert_error(&omniglot.output().unwrap(), 1, "meta-iteration 1: task 0: the");
    assert_eq!(names_in(directory.path()), ["net"]);
    // The run as it began, whole, which any other may take the place of.
    assert_eq!(Checkpoint::latest(&out).unwrap().iteration(), 0);
    let mut sinusoid = program("sinusoid");
    assert_error(&sinusoid.args(["--inner-lr", "1e30", "--out"]).arg(&out).output().unwrap(), 1, "is NaN");
}

#[test]
fn omniglot_is_reproducible_and_saves_what_it_trained() {
    let directory = TempDir::new().unwrap();
    let at = |name: &str| directory.path().join(name);
    for (name, seed) in [("first", "7"), ("second", "7"), ("other", "8")] {
        let mut omniglot = program("omniglot");
        omniglot.args(TINY).args(["--seed", seed]).arg("--out").arg(at(name));
        let output = omniglot.arg("--json").arg(at(name).with_extension("json")).output().unwrap();
        assert_done(&output);
        assert_is_accuracy(stdout(&output).lines().last().unwrap());
        assert!(stderr(&output).contains("held-out alphabets: glyphs-02"), "{}", stderr(&output));
    }
    let (first, second, other) = (at("first.json"), at("second.json"), at("other.json"));
    assert_eq!(lasting(&first), lasting(&second));
    assert_eq!(lasting(&first), lasting(&at("first").join("results.json")));
    assert_ne!(document(&first)["results"]["training"], document(&other)["results"]["training"]);
    assert_eq!(document(&first)["schema_version"], 1);
    assert_eq!(document(&first)["settings"]["estimator"]["name"], "binomial");

    let files =
        [".lock", "checkpoints", "metrics.csv", "metrics.jsonl", "results.json", "settings.toml", "timing.jsonl"];
    assert_eq!(names_in(&at("first")), files);
    let [first, second, other] = ["first", "second", "other"].map(|name| saved(&at(name)));
    assert_eq!(first, second);
    assert_ne!(first, other);
}

#[test]
fn what_takes_less_memory_changes_nothing_and_what_learns_changes_everything() {
    let directory = TempDir::new().unwrap();
    let at = |name: &str| directory.path().join(name);
    let train = |name: &str, options: &[&str]| {
        assert_done(&program("omniglot").args(TINY).args(options).arg("--out").arg(at(name)).output().unwrap());
        saved(&at(name))
    };
    let plain = train("plain", &[]);
    assert_eq!(train("accumulated", &["--accumulate", "1"]), plain);
    for (name, options) in [
        ("augmented", &["--augment"][..]),
        ("per-layer", &["--learned-rates", "per-layer-per-step", "--inner-steps", "2"]),
        ("meta-sgd", &["--learned-rates", "meta-sgd"]),
    ] {
        assert_ne!(train(name, options), plain, "{name}");
        let trained = document(&at(name).join("results.json"));
        // The test reads the rates back, and changes nothing but itself.
        let json = at("test.json");
        let mut test = program("omniglot");
        assert_done(&test.args(["test", "--out"]).arg(at(name)).arg("--json").arg(&json).output().unwrap());
        assert_eq!(document(&json)["results"]["test_accuracy"], trained["results"]["test_accuracy"], "{name}");
    }
    assert_mistake(
        "omniglot",
        &["--learned-rates", "per-layer-per-step", "--test-inner-steps", "9"],
        "--test-inner-steps 9: a rate is learned for each of the inner steps in training, expected 1 at most",
    );
    let mut chunked = program("omniglot");
    chunked.args(TINY).args(["--query-chunk", "5"]).arg("--out").arg(at("refused"));
    assert_error(&chunked.output().unwrap(), 1, "takes the statistics of its batch");
    let mut chunked = program("omniglot");
    chunked.args(TINY).args(["--query-chunk", "5", "--norm", "layer"]).arg("--out").arg(at("chunked"));
    assert_done(&chunked.output().unwrap());
}

/// What a run was begun with is what it goes on with; before its first meta-step it may be anything else.
#[test]
fn a_directory_holds_one_run() {
    let directory = TempDir::new().unwrap();
    let at = |name: &str| directory.path().join(name);
    let omniglot = |out: &str, options: &[&str]| {
        program("omniglot").args(TINY).args(options).arg("--out").arg(at(out)).output().unwrap()
    };
    assert_error(&omniglot("typo", &["--adapt-only", "haed"]), 1, "`haed` matches no trainable parameter");
    assert_error(&omniglot("diverged", &["--inner-lr", "1e30"]), 1, "is NaN");
    let head = ["--adapt-only", "head", "--backbone", "linear"];
    for out in ["typo", "diverged"] {
        assert_done(&omniglot(out, &head));
    }
    let fewer = [&head[..], &["--iterations", "1"]].concat();
    assert_error(&omniglot("typo", &fewer), 2, "2 meta-iterations are done already, more than the 1");

    // As many classes of as many images, but others.
    for (name, alphabet) in [("a.zip", "Greek"), ("b.zip", "Latin")] {
        let classes: Vec<String> = (1..=10).map(|n| format!("{alphabet}/character{n:02}")).collect();
        fs::write(at(name), archive(&classes.iter().map(String::as_str).collect::<Vec<_>>())).unwrap();
    }
    let on = |data: &str, iterations: &str| {
        let mut omniglot = program("omniglot");
        omniglot.args(&TINY[4..]).args(["--iterations", iterations, "--split", "0.5,0,0.5", "--data"]).arg(at(data));
        omniglot.arg("--out").arg(at("real")).output().unwrap()
    };
    assert_done(&on("a.zip", "2"));
    assert_error(&on("b.zip", "3"), 2, "fingerprint");
    assert_done(&on("a.zip", "3"));
    let other = program("omniglot").args(["test", "--split", "0,0,1", "--out"]).arg(at("real")).output().unwrap();
    assert_error(&other, 2, "--split: a network is tested on classes that it was not trained on");
    let mut test = program("sinusoid");
    assert_error(
        &test.args(["test", "--out"]).arg(at("real")).output().unwrap(),
        2,
        "a run of the program \"omniglot\"",
    );
}

/// The trained parameters.
fn saved(directory: &Path) -> Vec<f64> {
    let model = BackboneConfig::named("cnn4").unwrap().with_images(1, 28).with_filters(&[4]).unwrap();
    let fresh = model.init(&Device::flex().autodiff()).unwrap();
    let net = Checkpoint::latest(directory).unwrap().load_model(fresh.clone()).unwrap();
    let values = Params::from_module(&net).unwrap().to_f64();
    assert_ne!(values, Params::from_module(&fresh).unwrap().to_f64());
    values
}

/// `test accuracy 86.31 % +- 0.72 %`
#[track_caller]
fn assert_is_accuracy(line: &str) {
    let parts: Vec<&str> = line.split(' ').collect();
    let ["test", "accuracy", mean, "%", "+-", interval, "%"] = parts[..] else { panic!("{line}") };
    for number in [mean, interval] {
        assert!(number.split_once('.').is_some_and(|(_, digits)| digits.len() == 2), "{line}");
        assert!((0.0..=100.0).contains(&number.parse::<f64>().unwrap()), "{line}");
    }
}

#[test]
fn omniglot_reads_archives_and_drops_shared_classes() {
    let directory = TempDir::new().unwrap();
    let classes = |alphabet: &str| (1..=5).map(|n| format!("{alphabet}/character{n:02}")).collect::<Vec<_>>();
    let write = |name: &str, alphabets: &[&str]| {
        let classes: Vec<String> = alphabets.iter().flat_map(|alphabet| classes(alphabet)).collect();
        let path = directory.path().join(name);
        fs::write(&path, archive(&classes.iter().map(String::as_str).collect::<Vec<_>>())).unwrap();
        path
    };
    let (a, b) = (write("a.zip", &["Greek"]), write("b.zip", &["Latin"]));
    let test = write("test.zip", &["Latin", "Tagalog"]);
    let mut omniglot = program("omniglot");
    omniglot.args(&TINY[2..]).arg("--data").args([a, b]).arg("--test-data").arg(test).arg("--rotations=false");
    let output = omniglot.arg("--out").arg(directory.path().join("net")).args(["--json", "-"]).output().unwrap();
    assert_done(&output);
    assert!(
        stderr(&output).contains("5 of 10 classes occur in the training data and were dropped"),
        "{}",
        stderr(&output)
    );
    // Standard output is the document, whole and alone.
    let document: Value = serde_json::from_str(&stdout(&output)).unwrap();
    let classes = |part: &str| document["results"]["data"][part]["classes"].as_u64().unwrap();
    assert_eq!((classes("train"), classes("validation"), classes("test")), (10, 0, 5));
}

/// An Omniglot archive of these classes with five drawings each.
fn archive(classes: &[&str]) -> Vec<u8> {
    let entries = classes.iter().enumerate().flat_map(|(at, class)| {
        (1..=5).map(move |drawer| (format!("images/{class}/{:04}_{drawer:02}.png", at + 1), drawing(at, drawer)))
    });
    let entries: Vec<(String, Vec<u8>)> = entries.collect();
    zip_of(&entries.iter().map(|(name, bytes)| (name.as_str(), bytes.clone())).collect::<Vec<_>>())
}

/// A bar at a place that tells the class, of a width that tells the drawer.
fn drawing(class: usize, drawer: usize) -> Vec<u8> {
    const SIDE: usize = 105;
    let row: Vec<u8> =
        (0..SIDE.div_ceil(8)).map(|byte| if byte == class % 14 { 0xff >> drawer } else { 0xff }).collect();
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, SIDE as u32, SIDE as u32);
    encoder.set_color(png::ColorType::Grayscale);
    encoder.set_depth(png::BitDepth::One);
    encoder.write_header().unwrap().write_image_data(&row.repeat(SIDE)).unwrap();
    bytes
}

fn zip_of(entries: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in entries {
        zip.start_file(*name, zip::write::SimpleFileOptions::default()).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

#[test]
fn the_error_curve_falls_to_nothing() {
    let directory = TempDir::new().unwrap();
    let (json, plot) = (directory.path().join("curve.json"), directory.path().join("curve.svg"));
    let mut curve = program("error_curve");
    // A step size at which the expansion converges: alpha ||H|| well below 1.
    curve.args(["--iterations", "3", "--meta-batch", "2", "--tasks", "20", "--inner-lr", "0.001"]);
    curve.arg("--json").arg(&json).arg("--plot").arg(&plot);
    let output = curve.output().unwrap();
    assert_done(&output);
    assert!(stdout(&output).contains("|  5 |"), "{}", stdout(&output));

    let document = document(&json);
    let errors = |estimator: &str| -> Vec<f64> {
        let points = document["results"]["error_curve"].as_array().unwrap().iter();
        let points = points.filter(|point| point["estimator"] == estimator);
        points.map(|point| point["relative_error"]["mean"].as_f64().unwrap()).collect()
    };
    for estimator in ["truncated", "binomial", "binomial, scaled"] {
        let errors = errors(estimator);
        assert_eq!(errors.len(), 6);
        assert!(errors[5] < 1e-10, "{estimator}: {errors:?}");
        assert!(errors[0] > 1e-3 && errors.windows(2).all(|pair| pair[1] < pair[0]), "{estimator}: {errors:?}");
    }
    // Half the steps in two segments of one product each, and what it takes.
    let points = document["results"]["error_curve"].as_array().unwrap();
    let segments = points.iter().find(|point| point["estimator"] == "segments, 2").unwrap();
    assert_eq!([&segments["products"], &segments["depth"], &segments["reads"]], [2; 3]);
    assert_eq!(segments["settings"]["name"], "segments");
    assert!(segments["cosine"]["median"].as_f64().unwrap() > 0.99, "{segments}");
    assert!(segments["relative_error"]["mean"].as_f64().unwrap() < 0.5 * errors("truncated")[2]);

    // What the expansion is for.
    let (binomial, truncated) = (errors("binomial"), errors("truncated"));
    assert!((1..5).all(|order| binomial[order] < 0.5 * truncated[order]), "{binomial:?} {truncated:?}");

    let plot = fs::read_to_string(&plot).unwrap();
    assert!(plot.starts_with("<svg") && plot.trim_end().ends_with("</svg>"));
    assert!(["order L", "relative error", "truncated", "1e-2"].iter().all(|word| plot.contains(word)));
    assert_eq!(names_in(directory.path()), ["curve.json", "curve.svg"]);
}

#[test]
fn every_estimator_trains() {
    let mut ends = Vec::new();
    for (options, words) in [
        ("--estimator first-order", "first-order meta-gradient, 0 "),
        ("--estimator truncated", "truncated meta-gradient of order 2, 2 "),
        ("--order 3 --scaled", "of order 3, scaled, 9 "),
        ("--estimator hybrid --order 1", "of order 1 over the last 4 step(s), 4 "),
        ("--estimator fitted --order 1", "fitted meta-gradient of order 1, "),
        ("--estimator frozen --degree 1", "frozen meta-gradient of degree 1, 1 "),
        ("--estimator segments --segments 3", "of 3 segments of degree 1, 3 "),
        ("--estimator adaptive --tolerance 0.3", "adaptive meta-gradient within 0.3, at most "),
        ("--estimator exact", "exact meta-gradient, 5 "),
    ] {
        let directory = TempDir::new().unwrap();
        let mut sinusoid = program("sinusoid");
        sinusoid
            .args(["--iterations", "5", "--meta-batch", "2", "--test-tasks", "5", "--json", "-", "--out"])
            .arg(directory.path());
        let output = sinusoid.args(options.split(' ')).output().unwrap();
        assert_done(&output);
        assert!(stderr(&output).contains(words), "{options}: {}", stderr(&output));
        let document: Value = serde_json::from_str(&stdout(&output)).unwrap();
        ends.push(document["results"]["query_loss_after"]["mean"].as_f64().unwrap());
    }
    // No two of them are the same under another name, and none goes astray.
    for (at, end) in ends.iter().enumerate() {
        assert!((end - ends[8]).abs() < 0.5 && ends[..at].iter().all(|other| other != end), "{ends:?}");
    }
}

/// Points of a document of the program `estimators` at one of its step sizes.
fn errors_of(document: &Value, step_size: usize, family: &str) -> Vec<f64> {
    let points = document["results"]["step_sizes"][step_size]["points"].as_array().unwrap().iter();
    let points = points.filter(|point| point["estimator"] == family);
    points.map(|point| point["relative_error"]["median"].as_f64().unwrap()).collect()
}

#[test]
fn estimators_are_told_apart_by_their_reach() {
    let directory = TempDir::new().unwrap();
    let at = |name: &str| directory.path().join(name);
    for threads in ["1", "3"] {
        let mut estimators = program("estimators");
        estimators.args(["--problem", "quadratic", "--dimension", "30", "--tasks", "6", "--reach", "0.03", "1"]);
        estimators.args(["--threads", threads]).arg("--json").arg(at(threads)).arg("--plot").arg(at("plot.svg"));
        let output = estimators.output().unwrap();
        assert_done(&output);
        assert!(["reach 0.03", "steps that keep", "frozen L=1"].iter().all(|word| stdout(&output).contains(word)));
    }
    assert_eq!(lasting(&at("1")), lasting(&at("3")));
    let document = document(&at("1"));
    for (step_size, reach) in [0.03, 1.0].into_iter().enumerate() {
        let found = &document["results"]["step_sizes"][step_size]["loops"]["reach"];
        let [low, high] = ["p10", "p90"].map(|end| found[end].as_f64().unwrap() / reach);
        assert!(low > 0.97 && high < 1.03, "{found}");
    }
    // Small steps: each order of the expansion is far better than the one before, and one frozen Hessian than truncation.
    // Large ones: the expansion is of no use.
    let of = |step_size, family| errors_of(&document, step_size, family);
    let (small, large) = (of(0, "binomial"), of(1, "binomial"));
    assert!((0..5).all(|order| small[order + 1] < 0.2 * small[order]) && small[5] < 1e-12, "{small:?}");
    assert!(of(0, "frozen")[0] < 0.1 * of(0, "truncated")[4] && of(0, "fitted, probe 4")[1] < small[2]);
    assert!(large[1] > large[0] && of(1, "segments, 2")[0] < 0.5 * large[0], "{large:?}");
    let plot = fs::read_to_string(at("plot.svg")).unwrap();
    assert!(["rate x curvature = 0.03", "segments, 3", "1e-2"].iter().all(|word| plot.contains(word)));
}

#[test]
fn estimators_go_over_networks_as_trained() {
    let tiny = ["--inner-steps", "3", "--order", "1", "--tasks", "2", "--rate", "0.001", "--meta-batch", "2"];
    for (problem, filters) in [("sinusoid", "1"), ("characters", "2")] {
        let losses = ["0", "2"].map(|iterations| {
            let mut estimators = program("estimators");
            estimators.args(["--problem", problem, "--filters", filters, "--iterations", iterations, "--json", "-"]);
            let output = estimators.args(tiny).output().unwrap();
            assert_done(&output);
            let document: Value = serde_json::from_str(&stdout(&output)).unwrap();
            let first_order = errors_of(&document, 0, "truncated")[0];
            assert!(first_order > 0.0 && errors_of(&document, 0, "binomial")[1] < 0.5 * first_order, "{document}");
            first_order
        });
        assert_ne!(losses[0], losses[1]);
    }
}

#[test]
fn an_adaptive_order_is_held_against_its_tolerance() {
    let args = ["--adaptive", "--tasks", "20", "--rate", "0.001", "--tolerance", "0.1", "0.001", "--json", "-"];
    let output = run("estimators", &args);
    assert_done(&output);
    let document: Value = serde_json::from_str(&stdout(&output)).unwrap();
    let rows = document["results"]["tolerances"].as_array().unwrap();
    let [loose, tight] = &rows[..] else { panic!("{rows:?}") };
    for row in [loose, tight] {
        // Of 200 tasks 99.5 % and more were within.
        assert!(row["within"].as_f64().unwrap() >= 0.9, "{row}");
        assert!(row["relative_error"]["median"].as_f64().unwrap() <= row["tolerance"].as_f64().unwrap(), "{row}");
    }
    assert!(tight["order"]["mean"].as_f64() > loose["order"]["mean"].as_f64(), "{rows:?}");
    assert!(loose["largest_error"].as_f64().unwrap() > 1e-4, "exact without being asked: {loose}");
}

#[test]
fn sinusoid_is_reproducible_and_its_memory_stays_flat() {
    let directory = TempDir::new().unwrap();
    let documents = ["a", "b"].map(|name| directory.path().join(name).with_extension("json"));
    for path in &documents {
        let args = ["--iterations", "1000", "--meta-batch", "1", "--inner-steps", "1", "--test-tasks", "5"];
        let out = path.with_extension("");
        assert_done(&program("sinusoid").args(args).arg("--out").arg(out).arg("--json").arg(path).output().unwrap());
    }
    assert_eq!(lasting(&documents[0]), lasting(&documents[1]));
    let resident = &document(&documents[0])["timing"]["resident_bytes_at"];
    if let (Some(early), Some(late)) = (resident["100"].as_f64(), resident["1000"].as_f64()) {
        assert!(late <= 1.05 * early + 8388608.0, "{early} bytes after 100 meta-steps, {late} after 1000");
    }
}

#[test]
fn bounds_are_those_of_the_theorems() {
    let directory = TempDir::new().unwrap();
    let (json, plot) = (directory.path().join("bounds.json"), directory.path().join("bounds.svg"));
    let output = program("bounds").arg("--json").arg(&json).arg("--plot").arg(&plot).output().unwrap();
    assert_done(&output);
    assert_eq!(stdout(&output).matches("binomial, ").count(), 3 * 3, "{}", stdout(&output));
    let document = document(&json);
    let curve = |panel: usize, at: usize| &document["results"]["panels"][panel]["curves"][at];
    let bound = |panel, at, name: &str, order: usize| curve(panel, at)[name][order].as_f64().unwrap();
    let close = |found: f64, expected: f64| assert!((found / expected - 1.0).abs() < 1e-12, "{found}, not {expected}");
    // K = 10, alpha H = 0.1. Theorem 3.6 at L = 9 leaves x^10 out, first-order 1.1^10 - 1; Theorem 3.8 at L = 1 leaves
    // 45 x^2 out of 10 x.
    close(bound(0, 0, "binomial", 9), 1e-10 / (1.1f64.powi(10) - 1.0));
    close(bound(1, 0, "binomial", 1), 0.45);
    close(bound(1, 2, "truncated", 4), 0.6);
    for (panel, at) in (0..3).flat_map(|panel| (0..3).map(move |at| (panel, at))) {
        close(bound(panel, at, "binomial", 0), 1.0);
        close(bound(panel, at, "truncated", 0), 1.0);
    }
    let picture = fs::read_to_string(&plot).unwrap();
    assert!(
        ["Lipschitz gradient", "strongly convex", "binomial, alpha H = 0.5"].iter().all(|text| picture.contains(text))
    );
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("crates/burn-meta/tests/fixtures").join(name)
}

fn parity(fixtures: &[PathBuf], options: &[&str]) -> Output {
    program("parity").args(fixtures).args(options).output().unwrap()
}

#[test]
fn golden_values_are_met_in_both_precisions() {
    let fixtures = ["sine-mlp-relu", "sine-mlp-tanh", "cnn4-gray28"].map(fixture);
    for dtype in ["f64", "f32"] {
        let output = parity(&fixtures, &["--dtype", dtype]);
        assert_done(&output);
        assert!(!stdout(&output).contains("OVER") && stdout(&output).lines().count() > 40, "{}", stdout(&output));
    }
}

/// A copy of a fixture whose tensor file is changed by `edit`, which gets its header and its data.
fn altered(edit: impl Fn(&mut String, &mut [u8])) -> TempDir {
    let (original, copy) = (fixture("sine-mlp-tanh"), TempDir::new().unwrap());
    fs::copy(original.join("fixture.json"), copy.path().join("fixture.json")).unwrap();
    let mut bytes = fs::read(original.join("fixture.safetensors")).unwrap();
    let mut data = bytes.split_off(8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize);
    let mut header = String::from_utf8(bytes.split_off(8)).unwrap();
    edit(&mut header, &mut data);
    let parts = [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &data];
    fs::write(copy.path().join("fixture.safetensors"), parts.concat()).unwrap();
    copy
}

#[test]
fn a_golden_value_that_was_altered_is_over_tolerance() {
    // Catches a comparison that passes whatever it compares: one element of one gradient is 1% off.
    let copy = altered(|header, data| {
        let header: Value = serde_json::from_str(header).unwrap();
        let start = header["grads.binom2.layers.1.weight"]["data_offsets"][0].as_u64().unwrap() as usize;
        let largest =
            (start..start + 8 * 40).step_by(8).max_by(|&a, &b| value(data, a).total_cmp(&value(data, b))).unwrap();
        let changed = 1.01 * value(data, largest);
        data[largest..largest + 8].copy_from_slice(&changed.to_le_bytes());
    });
    let json = copy.path().join("parity.json");
    let output = parity(&[copy.path().to_owned()], &["--json", json.to_str().unwrap()]);
    assert_error(&output, 1, "1 of 13 quantities are over their tolerance");
    let over: Vec<String> = stdout(&output).lines().filter(|line| line.ends_with("OVER")).map(str::to_owned).collect();
    assert!(over.len() == 1 && over[0].contains(" binom2 "), "{over:?}");
    assert_eq!(document(&json)["results"]["over_tolerance"], 1);
}

#[test]
fn a_golden_value_that_is_not_a_number_is_over_tolerance() {
    let copy = altered(|header, data| {
        let header: Value = serde_json::from_str(header).unwrap();
        let start = header["grads.maml.layers.0.bias"]["data_offsets"][0].as_u64().unwrap() as usize;
        data[start..start + 8].copy_from_slice(&f64::NAN.to_le_bytes());
    });
    assert_error(&parity(&[copy.path().to_owned()], &[]), 1, "1 of 13 quantities are over");
}

fn value(data: &[u8], at: usize) -> f64 {
    f64::from_le_bytes(data[at..at + 8].try_into().unwrap())
}

#[test]
fn fixtures_that_cannot_be_read_are_mistakes() {
    let missing = altered(|header, _| *header = header.replace("grads.maml.layers.0.bias", "grads.maml.layers.0.BIAS"));
    let output = parity(&[missing.path().to_owned()], &[]);
    assert_error(&output, 2, "tensor `grads.maml.layers.0.bias` is missing");
    let broken = altered(|header, _| *header = header.replace('{', "("));
    assert_error(&parity(&[broken.path().to_owned()], &[]), 2, "fixture.safetensors");
    let nowhere = broken.path().join("nowhere");
    assert_error(&parity(&[fixture("sine-mlp-tanh"), nowhere], &[]), 2, "nowhere/fixture.json");
}

/// Every number in them that has a closed form is compared with it: a program ends with an error otherwise.
#[test]
fn the_guide_runs() {
    let lines = [
        ("func_01_gradients", "step 500"),
        ("func_02_jvp_vjp", "(J'w)'v"),
        ("func_03_hessian_vector_products", "residuals"),
        ("func_04_curvature", "Gauss-Newton"),
        ("func_05_graphs", "digraph"),
        ("func_06_newton_cg", "weights"),
        ("func_07_laplace", "log evidence"),
    ];
    for (name, line) in lines {
        let output = run(name, &[]);
        assert_done(&output);
        assert!(stdout(&output).contains(line), "{name}: {}", stdout(&output));
    }
}

/// Sixty drawn characters of four kinds, half of them with a wrong label.
#[rustfmt::skip]
const REWEIGHTING: [&str; 16] = [
    "--classes", "4", "--side", "12", "--train", "15", "--validation", "4", "--test", "25", "--hidden", "16",
    "--inner-steps", "20", "--outer-steps", "30",
];

fn reweighting(args: &[&str], json: &Path) -> Value {
    let output = program("reweighting").args(REWEIGHTING).args(args).arg("--json").arg(json).output().unwrap();
    assert_done(&output);
    assert!(stdout(&output).contains("trained on training samples by learned weights"), "{}", stdout(&output));
    document(json)["results"].clone()
}

#[test]
fn learned_weights_tell_wrong_labels_from_right_ones() {
    let directory = TempDir::new().unwrap();
    let at = |name: &str| directory.path().join(name);
    let plot = at("weights.svg");
    let results = reweighting(&["--plot", plot.to_str().unwrap()], &at("a.json"));
    let number = |results: &Value, key: &str| results[key].as_f64().unwrap();
    // Weights that say nothing have 1/2.
    assert!(number(&results, "auc") > 0.7, "{results}");
    assert!(number(&results, "mean_weight_clean") > 0.2 + number(&results, "mean_weight_wrong"), "{results}");
    let accuracy = |results: &Value, on: &str| {
        let row =
            results["test"].as_array().unwrap().iter().find(|row| row["trained_on"].as_str().unwrap().starts_with(on));
        row.unwrap()["accuracy"]["mean"].as_f64().unwrap()
    };
    let [alike, learned] =
        ["all training samples alike", "training samples by learned"].map(|on| accuracy(&results, on));
    assert!(learned > 0.05 + alike, "{alike} {learned}");
    let losses: Vec<f64> = results["training"].as_array().unwrap().iter().map(|point| number(point, "loss")).collect();
    assert!(losses.last() < losses.first(), "{losses:?}");
    assert!(fs::read_to_string(&plot).unwrap().contains("wrong label"));
    reweighting(&["--plot", plot.to_str().unwrap()], &at("b.json"));
    assert_eq!(lasting(&at("a.json")), lasting(&at("b.json")));
    // Where all labels are right there is nothing to tell apart.
    let clean = reweighting(&["--noise", "0", "--learn-start"], &at("clean.json"));
    assert_eq!((&clean["auc"], &clean["mean_weight_wrong"]), (&Value::Null, &Value::Null));
}

#[test]
fn first_order_gives_hyper_parameters_nothing() {
    let directory = TempDir::new().unwrap();
    let json = directory.path().join("run.json");
    let mut first_order = program("reweighting");
    first_order.args(REWEIGHTING).args(["--estimator", "first-order"]).arg("--json").arg(&json);
    let output = first_order.output().unwrap();
    assert_done(&output);
    assert!(stderr(&output).contains("warning: first-order leaves all second derivatives out"), "{}", stderr(&output));
    let results = &document(&json)["results"];
    assert_eq!((&results["auc"], &results["mean_weight_clean"]), (&0.5.into(), &0.5.into()));
    // One product, with the last step's Hessian, gives them something.
    let truncated = reweighting(&["--estimator", "truncated", "--order", "1"], &json);
    assert!(truncated["auc"].as_f64().unwrap() > 0.5, "{truncated}");
}

#[test]
fn training_curves_begin_alike_and_are_reproducible() {
    let directory = TempDir::new().unwrap();
    let at = |name: &str| directory.path().join(name);
    let plot = at("curves.svg");
    let args =
        ["--estimators", "first-order,segments:2x1,exact", "--meta-steps", "12", "--every", "5", "--repeats", "2"];
    let small = ["--inner-steps", "3", "--meta-batch", "2", "--validation-tasks", "3"];
    for name in ["a.json", "b.json"] {
        let mut curves = program("training_curves");
        curves.args(args).args(small).arg("--json").arg(at(name)).arg("--plot").arg(&plot);
        let output = curves.output().unwrap();
        assert_done(&output);
        assert!(stdout(&output).contains("at equal meta-steps:"), "{}", stdout(&output));
    }
    assert_eq!(lasting(&at("a.json")), lasting(&at("b.json")));
    let document = document(&at("a.json"));
    let curves = document["results"]["curves"].as_array().unwrap();
    assert_eq!(curves.len(), 6);
    for curve in curves {
        let points = curve["loss_at"].as_array().unwrap();
        assert_eq!(points.iter().map(|point| point[0].as_u64().unwrap()).collect::<Vec<_>>(), [0, 5, 10, 12]);
        let other = curves.iter().find(|other| other["repeat"] == curve["repeat"]).unwrap();
        assert_eq!(points[0], other["loss_at"][0]);
    }
    // Other repeats have other networks, and other estimators other meta-gradients.
    assert_ne!(curves[0]["loss_at"][0], curves[3]["loss_at"][0]);
    assert_ne!(curves[0]["loss_at"][3], curves[2]["loss_at"][3]);
    assert_eq!(document["timing"]["equal_meta_steps"], 12.0);
    assert!(["segments:2x1", "meta-steps"].iter().all(|word| fs::read_to_string(&plot).unwrap().contains(word)));
}

#[test]
fn training_curves_at_equal_time_are_timing() {
    let args = ["--estimators", "first-order,truncated:1", "--seconds", "0.2", "--every", "3", "--repeats", "1"];
    let small = ["--inner-steps", "2", "--meta-batch", "1", "--validation-tasks", "2", "--problem", "glyphs"];
    let output = program("training_curves").args(args).args(small).args(["--json", "-"]).output().unwrap();
    assert_done(&output);
    let document: Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(document["results"], serde_json::json!({}));
    assert_eq!(document["timing"]["equal_seconds"], 0.2);
    for curve in document["timing"]["curves"].as_array().unwrap() {
        assert!(curve["readings"].as_array().unwrap().last().unwrap()["seconds"].as_f64().unwrap() >= 0.2, "{curve}");
    }
}

#[test]
fn an_estimator_that_diverges_does_not_stop_the_others() {
    let mut curves = program("training_curves");
    curves.args(["--estimators", "first-order,exact", "--meta-steps", "4", "--repeats", "1", "--inner-lr", "1e30"]);
    let output = curves.output().unwrap();
    assert_done(&output);
    assert!(stdout(&output).contains("exact (1 diverged)"), "{}", stdout(&output));
    assert!(stdout(&output).contains("smallest mean loss at equal time: none"), "{}", stdout(&output));
}

#[test]
fn the_implicit_estimator_and_reptile_are_there_to_be_chosen() {
    let small = ["--iterations", "2", "--meta-batch", "2", "--test-tasks", "2", "--json", "-", "--out"];
    let sinusoid = |more: &[&str]| {
        let directory = TempDir::new().unwrap();
        program("sinusoid").args(small).arg(directory.path()).args(more).output().unwrap()
    };
    let implicit = sinusoid(&["--estimator", "implicit", "--proximal", "20", "--degree", "5"]);
    assert_done(&implicit);
    let document: serde_json::Value = serde_json::from_str(&stdout(&implicit)).unwrap();
    assert_eq!(document["settings"]["estimator"]["name"], "implicit");
    assert_eq!(document["settings"]["inner"]["proximal"], 20.0);
    assert_done(&sinusoid(&["--estimator", "reptile"]));
    let refused = sinusoid(&["--estimator", "implicit"]);
    assert_eq!(refused.status.code(), Some(2), "{}", stderr(&refused));
    assert!(stderr(&refused).contains("proximal"), "{}", stderr(&refused));
}
