//! `fewshot inspect` as a user runs it.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

fn inspect(path: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_fewshot")).arg("inspect").arg(path).args(arguments).output().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// Rows of a table of images that are not there, in a folder of two classes whose images are web pages.
fn folder() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    for (name, text) in [("cat/1.png", "<html>"), ("cat/2.png", "<html>"), ("dog/1.png", "<html>"), ("dog/2.png", "")] {
        let path = directory.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    directory
}

#[test]
fn a_folder_is_told_with_its_problems() {
    let folder = folder();
    let output = inspect(folder.path(), &["--classes"]);
    let text = stdout(&output);
    assert!(output.status.success(), "{text}");
    assert!(text.contains("a folder for each class"), "{text}");
    assert!(
        text.contains("all: 2 classes, 4 images, 2 each, size unknown, decoded once into a cache (cat, dog)"),
        "{text}"
    );
    assert!(text.contains("    dog: 2 images"), "{text}");
    assert_eq!(text.matches("problem: image ").count(), 4, "{text}");
}

#[test]
fn json_goes_to_standard_output_alone() {
    let folder = folder();
    let output = inspect(folder.path(), &["--json", "-"]);
    let document: Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!((&document["schema_version"], &document["program"]), (&1.into(), &"fewshot inspect".into()));
    let report = &document["results"]["report"];
    assert_eq!((&report["form"], &report["sets"][0]["images"]), (&"a folder for each class".into(), &4.into()));
    assert_eq!(report["problems"].as_array().unwrap().len(), 4);
}

#[test]
fn decoding_finds_what_is_damaged() {
    let folder = folder();
    let output = inspect(folder.path(), &["--decode"]);
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.contains("a web page"), "{error}");
    // Each of them is named, not the first alone.
    assert_eq!(error.lines().filter(|line| line.starts_with("error: ")).count(), 5, "{error}");
    assert!(error.trim_end().ends_with("4 of 4 images cannot be used"), "{error}");
}

#[test]
fn a_path_that_is_not_there_is_a_mistake_of_the_user() {
    let output = inspect(Path::new("no/such/place"), &[]);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(String::from_utf8(output.stderr).unwrap().trim(), "error: no/such/place: no such file or directory");
}
