//! The programs that train, as a user meets them: settings from several places, runs that go on, tests, tasks of one's own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use burn::module::Module;
use burn::tensor::Device;
use burn_meta::models::BackboneConfig;
use serde_json::Value;
use tempfile::TempDir;

/// The smallest runs that go through everything.
const TINY: &str = "--drawn-classes 25 --drawn-images 8 --image-size 16 --iterations 2 --meta-batch 2 --query 2 --test-tasks 4 \
                    --test-query 3 --filters 4 --inner-steps 2";

/// A built example: `cargo test` builds them beside the directory of the tests themselves.
fn program(name: &str) -> Command {
    let tests = std::env::current_exe().unwrap();
    let profile = tests.parent().and_then(Path::parent).unwrap();
    let path = profile.join("examples").join(name).with_extension(std::env::consts::EXE_EXTENSION);
    assert!(path.exists(), "{} is not built: `cargo build --examples` builds it", path.display());
    Command::new(path)
}

fn run(name: &str, line: &str, paths: &[(&str, &Path)]) -> Output {
    let mut command = program(name);
    command.args(line.split_whitespace());
    for (option, path) in paths {
        command.arg(option).arg(path);
    }
    command.output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[track_caller]
fn done(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(0), "{}{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}

/// That a program stopped with this code and one error that has these words.
#[track_caller]
fn refused(output: &Output, code: i32, causes: &[&str]) {
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{said}");
    let errors: Vec<&str> = said.lines().filter(|line| line.starts_with("error: ")).collect();
    let [error] = errors[..] else { panic!("{said}") };
    assert!(causes.iter().all(|cause| error.contains(cause)), "expected {causes:?} in: {error}");
}

fn settings(text: &str) -> toml::Table {
    text.parse().unwrap()
}

#[test]
fn later_settings_win_and_can_be_given_back() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("mine.toml");
    fs::write(&file, "[inner]\nsteps = 3\n[train]\nmeta_batch = 7\n").unwrap();
    let line = "train --preset paper-mini-1shot --meta-batch 9 --print-settings";
    let printed = done(&run("miniimagenet", line, &[("--settings", &file)]));
    let found = settings(&printed);
    let number = |section: &str, key: &str| found[section][key].as_integer().unwrap();
    // Of the preset, the file and the command line; what none of them says is as it is by itself.
    assert_eq!(
        (number("train", "iterations"), number("inner", "steps"), number("train", "meta_batch")),
        (20_000, 3, 9)
    );
    assert_eq!(found["run"]["device"].as_str(), Some("flex"));

    fs::write(&file, &printed).unwrap();
    assert_eq!(done(&run("miniimagenet", "train --print-settings", &[("--settings", &file)])), printed);
    // An order that was meant for another estimator does not stand in the way.
    let exact = done(&run("miniimagenet", "--print-settings --preset paper-mini-1shot --estimator exact", &[]));
    assert!(settings(&exact)["estimator"].get("order").is_none(), "{exact}");
}

#[test]
fn presets_hold_what_they_are_named_for() {
    for (name, preset, section, key, value) in [
        ("miniimagenet", "paper-mini-1shot", "test", "inner_steps", 10),
        ("miniimagenet", "paper-mini-5shot", "task", "shot", 5),
        ("miniimagenet", "maml-mini-1shot", "train", "iterations", 60_000),
        ("miniimagenet", "maml-mini-5shot", "train", "meta_batch", 2),
        ("tieredimagenet", "paper-tiered-1shot", "train", "validate_every", 1000),
        ("omniglot", "maml-omniglot-5way", "train", "meta_batch", 32),
        ("omniglot", "maml-omniglot-20way", "task", "way", 20),
        ("sinusoid", "maml-sinusoid", "train", "iterations", 70_000),
        ("cifar_fs", "quick", "task", "way", 5),
    ] {
        let printed = done(&run(name, &format!("--preset {preset} --print-settings"), &[]));
        assert_eq!(settings(&printed)[section][key].as_integer(), Some(value), "{name} {preset}: {printed}");
    }
    refused(&run("cifar_fs", "--preset fast", &[]), 2, &["--preset fast", "quick"]);
}

#[test]
fn settings_that_are_wrong_are_named_with_their_file() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("mine.toml");
    for (text, causes) in [
        ("[inner]\nstep = 3", ["mine.toml", "`inner.step`", "did you mean `inner.steps`?"]),
        ("[train]\nmeta_lr = -1.0", ["mine.toml", "meta_lr", "positive"]),
        ("[task]\nway = \"five\"", ["mine.toml", "way", "five"]),
        ("[task]\nway = = 5", ["mine.toml:2", "", ""]),
        ("[estimator]\nname = \"second-order\"", ["mine.toml", "second-order", "binomial"]),
    ] {
        fs::write(&file, text).unwrap();
        refused(&run("cifar_fs", "", &[("--settings", &file)]), 2, &causes);
    }
    refused(&run("cifar_fs", "", &[("--settings", &directory.path().join("none.toml"))]), 2, &["none.toml"]);
}

#[test]
fn a_run_goes_on_where_it_was_and_only_there() {
    let directory = TempDir::new().unwrap();
    let (whole, parts) = (directory.path().join("whole"), directory.path().join("parts"));
    let line = format!("{TINY} --validate-every 1 --validation-tasks 3 --way 3");
    done(&run("cifar_fs", &format!("{line} --iterations 4"), &[("--out", &whole)]));
    done(&run("cifar_fs", &line, &[("--out", &parts)]));
    let on = run("cifar_fs", &format!("{line} --iterations 4 --threads 1"), &[("--out", &parts)]);
    done(&on);
    assert!(text(&on.stderr).contains("going on after meta-step 2 of 4"), "{}", text(&on.stderr));
    let metrics = |run: &Path| fs::read_to_string(run.join("metrics.csv")).unwrap();
    assert_eq!(metrics(&whole), metrics(&parts));
    let results = |run: &Path| -> Value {
        serde_json::from_str::<Value>(&fs::read_to_string(run.join("results.json")).unwrap()).unwrap()["results"]
            .clone()
    };
    assert_eq!(results(&whole), results(&parts));

    let other = run("cifar_fs", &format!("{line} --inner-lr 0.3"), &[("--out", &parts)]);
    refused(&other, 2, &["a checkpoint of another run", "learning_rate"]);
    refused(&run("miniimagenet", &line, &[("--out", &parts)]), 2, &["a checkpoint of another"]);
    assert_eq!(metrics(&whole), metrics(&parts));
}

#[test]
fn what_was_trained_can_be_tested_again() {
    let directory = TempDir::new().unwrap();
    let out = directory.path().join("run");
    let trained = done(&run("tieredimagenet", TINY, &[("--out", &out)]));
    let again = done(&run("tieredimagenet", "test", &[("--out", &out)]));
    assert_eq!(trained.lines().last(), again.lines().last());
    // More tasks and inner steps are another number, in the document too.
    let json = directory.path().join("test.json");
    let line = "test --tasks 9 --inner-steps 3 --batch-norm 2";
    let more = done(&run("tieredimagenet", line, &[("--out", &out), ("--json", &json)]));
    assert_ne!(again.lines().last(), more.lines().last());
    assert_eq!(more.lines().filter(|line| line.starts_with("batch normalisation with ")).count(), 3, "{more}");
    let document: Value = serde_json::from_str(&fs::read_to_string(&json).unwrap()).unwrap();
    assert_eq!(document["results"]["test_accuracy"]["count"], 9);
    assert_eq!(document["settings"]["test"]["inner_steps"], 3);
    refused(
        &run("tieredimagenet", "test", &[("--out", directory.path())]),
        2,
        &["no checkpoint of a meta-training run"],
    );
    refused(&run("tieredimagenet", "test --image-size 20", &[("--out", &out)]), 2, &["--image-size"]);
    refused(&run("cifar_fs", "test", &[("--out", &out)]), 2, &["tieredimagenet", "not of cifar_fs"]);
}

/// Folders of images of one colour each, which tells the class, with some noise; the colours are the same for every seed.
fn coloured(root: &Path, classes: &[(&str, [u8; 3])], images: usize, seed: usize) {
    for (class, colour) in classes {
        fs::create_dir_all(root.join(class)).unwrap();
        for image in 0..images {
            let noise = |at: usize| ((at * 31 + (image + seed) * 17) % 23) as u8;
            let pixels: Vec<u8> = (0..20 * 20 * 3).map(|at| colour[at % 3].saturating_add(noise(at))).collect();
            let file = fs::File::create(root.join(class).join(format!("{image}.png"))).unwrap();
            let mut png = png::Encoder::new(file, 20, 20);
            png.set_color(png::ColorType::Rgb);
            png.write_header().unwrap().write_image_data(&pixels).unwrap();
        }
    }
}

const COLOURS: [(&str, [u8; 3]); 6] = [
    ("blue", [10, 20, 220]),
    ("green", [20, 210, 30]),
    ("red", [220, 20, 10]),
    ("black", [0, 0, 0]),
    ("white", [230, 230, 230]),
    ("yellow", [220, 220, 10]),
];

#[test]
fn a_network_adapts_to_folders_of_images() {
    let directory = TempDir::new().unwrap();
    let at = |name: &str| directory.path().join(name);
    coloured(&at("support"), &COLOURS[..3], 4, 0);
    coloured(&at("query"), &COLOURS[..3], 5, 100);
    let run_out = at("run");
    done(&run("cifar_fs", &format!("{TINY} --iterations 10"), &[("--out", &run_out)]));
    let adapt = |more: &str, support: &str, query: &Path| {
        let paths =
            [("--from", run_out.as_path()), ("--support", &at(support)), ("--query", query), ("--out", &at("adapted"))];
        run("cifar_fs", &format!("adapt --inner-steps 20 {more}"), &paths)
    };
    let output = adapt("", "support", &at("query"));
    let said = done(&output);
    // Colours are told apart by a network that learns at all; one that does not is right once in three times.
    let right: usize = said
        .lines()
        .find_map(|line| line.strip_suffix(" of 15 right, by the folders they are in")?.parse().ok())
        .unwrap();
    assert!(right >= 12, "{said}");
    assert!(text(&output.stderr).contains("the network has 5 outputs: the first 3"), "{}", text(&output.stderr));

    let table = fs::read_to_string(at("adapted").join("predictions.csv")).unwrap();
    let rows: Vec<Vec<&str>> = table.lines().map(|line| line.split(',').collect()).collect();
    assert_eq!(rows[0][3..], ["probability of blue", "probability of green", "probability of red"]);
    assert_eq!((rows.len(), rows[1][0]), (16, "blue/0.png"));
    for row in &rows[1..] {
        let sum: f64 = row[3..].iter().map(|cell| cell.parse::<f64>().unwrap()).sum();
        assert!((sum - 1.0).abs() < 1e-5 && COLOURS[..3].iter().any(|(class, _)| *class == row[1]), "{row:?}");
    }
    // As its README says.
    let document: Value =
        serde_json::from_str(&fs::read_to_string(at("adapted").join("adapted.json")).unwrap()).unwrap();
    let config: BackboneConfig = serde_json::from_value(document["model"].clone()).unwrap();
    assert!(fs::read_to_string(at("adapted").join("README.md")).unwrap().contains("\"hidden\":4"));
    config.init(&Device::flex()).unwrap().try_load_file(at("adapted").join("model.bpk")).unwrap();

    let one = adapt("", "support", &at("query/red/1.png"));
    done(&one);
    assert!(text(&one.stderr).contains("warning: batch normalisation has the statistics of 1 query image"));
    let alone = adapt("--statistics support", "support", &at("query/red/1.png"));
    assert!(done(&alone).contains("1.png: ") && !text(&alone.stderr).contains("warning"));

    coloured(&at("many"), &COLOURS, 2, 0);
    refused(&adapt("", "many", &at("query")), 2, &["6 classes", "trained to tell 5 apart", "--fresh-head"]);
    let fresh = adapt("--fresh-head", "many", &at("query"));
    done(&fresh);
    assert!(text(&fresh.stderr).contains("warning: the head for 6 classes is untrained"));
    refused(&adapt("", "query/red", &at("query")), 2, &["--support", "in no folder of its class"]);
    refused(&adapt("", "support", &at("nothing")), 2, &["--query", "nothing"]);
}

#[test]
fn images_of_ones_own_are_split_on_request() {
    let directory = TempDir::new().unwrap();
    let (data, out) = (directory.path().join("data"), directory.path().join("run"));
    coloured(&data, &COLOURS, 6, 0);
    let tiny =
        "--way 2 --iterations 1 --meta-batch 1 --query 2 --test-tasks 2 --test-query 2 --filters 4 --image-size 16";
    let cifar = |more: &str| {
        let mut command = program("cifar_fs");
        command.env("FEWSHOT_CACHE", directory.path().join("cache"));
        command.args(tiny.split(' ')).args(more.split_whitespace()).arg("--data").arg(&data).arg("--out").arg(&out);
        command.output().unwrap()
    };
    refused(&cifar(""), 2, &["6 classes of 36 images without a split", "--split 0.64,0.16,0.2"]);
    let split = cifar("--split 0.5,0,0.5");
    done(&split);
    assert!(
        text(&split.stderr).contains("classes: 3 to train, 0 to validate, 3 to test on"),
        "{}",
        text(&split.stderr)
    );
}

#[test]
fn points_of_ones_own_are_fitted() {
    let directory = TempDir::new().unwrap();
    let at = |name: &str| -> PathBuf { directory.path().join(name) };
    done(&run("sinusoid", "--iterations 3 --meta-batch 2 --test-tasks 3", &[("--out", &at("run"))]));
    let points: String = (0..10).map(|k| f64::from(k) - 5.0).map(|x| format!("{x},{}\n", 2.0 * x.sin())).collect();
    fs::write(at("support.csv"), format!("x,y\n{points}")).unwrap();
    fs::write(at("query.csv"), "x\n0.5\n1.5\n").unwrap();
    let adapt = |more: &str, query: &str| {
        let (run_out, support, query, out) = (at("run"), at("support.csv"), at(query), at("adapted"));
        let paths: [(&str, &Path); 4] =
            [("--from", &run_out), ("--support", &support), ("--query", &query), ("--out", &out)];
        run("sinusoid", &format!("adapt {more}"), &paths)
    };
    let predicted = |more: &str| -> Vec<f64> {
        done(&adapt(more, "query.csv"));
        let table = fs::read_to_string(at("adapted").join("predictions.csv")).unwrap();
        assert!(table.starts_with("x,predicted\n0.5,"), "{table}");
        table.lines().skip(1).map(|line| line.split_once(',').unwrap().1.parse().unwrap()).collect()
    };
    let wrong =
        |predicted: &[f64]| (predicted[0] - 2.0 * 0.5f64.sin()).abs() + (predicted[1] - 2.0 * 1.5f64.sin()).abs();
    // A thousand steps fit better than one.
    assert!(wrong(&predicted("--inner-steps 1000")) < 0.7 * wrong(&predicted("--inner-steps 1")));
    refused(&adapt("", "none.csv"), 2, &["none.csv"]);
    let tested = done(&run("sinusoid", "test --test-tasks 5", &[("--out", &at("run"))]));
    assert!(tested.lines().last().unwrap().starts_with("query loss after adaptation "), "{tested}");
}

#[test]
#[cfg(unix)]
fn ctrl_c_ends_a_run_with_a_checkpoint() {
    let directory = TempDir::new().unwrap();
    let out = directory.path().join("run");
    let mut command = program("sinusoid");
    command
        .args("--iterations 900000 --meta-batch 1 --inner-steps 1 --checkpoint-every 900000 --out".split(' '))
        .arg(&out);
    let run = command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap();
    let lines = || fs::read_to_string(out.join("metrics.csv")).map_or(0, |text| text.lines().count());
    let began = std::time::Instant::now();
    while lines() < 20 && began.elapsed().as_secs() < 60 {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    assert!(Command::new("kill").args(["-INT", &run.id().to_string()]).status().unwrap().success());
    let output = run.wait_with_output().unwrap();
    refused(&output, 1, &["stopped after meta-step", "the same command goes on"]);
    let done = burn_meta::Checkpoint::latest(&out).unwrap().iteration();
    // A line for every meta-step, and the names above them: the checkpoint is of the last one.
    assert!(done >= 19 && lines() as u64 == done + 1, "{done} {}", lines());
}
