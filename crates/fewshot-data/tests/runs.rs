//! The one-shot runs of Omniglot, in archives of the form they come in.

use std::io::Write;
use std::path::{Path, PathBuf};

use burn::tensor::Device;
use fewshot_data::{Error, OneShotRuns};
use zip::write::SimpleFileOptions;

/// A drawing of 105 x 105 bits with as many ink pixels in the first row as `ink`.
fn drawing(ink: usize) -> Vec<u8> {
    let mut bits = vec![0xffu8; 14 * 105];
    (0..ink).for_each(|x| bits[x / 8] &= !(0x80 >> (x % 8)));
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, 105, 105);
    encoder.set_color(png::ColorType::Grayscale);
    encoder.set_depth(png::BitDepth::One);
    encoder.write_header().unwrap().write_image_data(&bits).unwrap();
    bytes
}

/// The class that query `item` (from 1) is of: a permutation that is not its own inverse.
fn class_of(item: usize) -> usize {
    (item * 7) % 20 + 1
}

/// Two runs whose support drawing `k` has `k` ink pixels and whose queries have those of their class.
fn runs(change: impl Fn(&str) -> Option<String>) -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("all_runs.zip");
    let mut zip = zip::ZipWriter::new(std::fs::File::create(&path).unwrap());
    let mut add = |name: String, bytes: &[u8]| {
        zip.start_file(name, SimpleFileOptions::default()).unwrap();
        zip.write_all(bytes).unwrap();
    };
    for run in ["run01", "run02"] {
        let mut list = String::new();
        for item in 1..=20 {
            add(format!("{run}/training/class{item:02}.png"), &drawing(item));
            add(format!("{run}/test/item{item:02}.png"), &drawing(class_of(item)));
            let class = class_of(item);
            list += &format!("{run}/test/item{item:02}.png {run}/training/class{class:02}.png\n");
        }
        add(format!("{run}/class_labels.txt"), change(&list).unwrap_or(list).as_bytes());
    }
    zip.finish().unwrap();
    (directory, path)
}

fn load(path: &Path) -> Result<fewshot_data::Runs, Error> {
    OneShotRuns::new(path).with_size(105).load()
}

#[test]
fn queries_know_the_drawing_of_their_class() {
    let (_directory, path) = runs(|_| None);
    let runs = load(&path).unwrap();
    assert_eq!(runs.iter().len(), 2);
    for run in runs.iter() {
        let ink = |batch: &fewshot_data::LabeledImages| -> Vec<f32> {
            batch.images.clone().sum_dims(&[1, 2, 3]).into_data().iter().collect()
        };
        let (support, query) = (run.support_batch(&Device::flex()), run.query_batch(&Device::flex()));
        assert_eq!(query.images.dims(), [20, 1, 105, 105]);
        let (support_ink, query_ink) = (ink(&support), ink(&query));
        for (item, class) in run.answers().enumerate() {
            assert_eq!(class + 1, class_of(item + 1));
            assert_eq!(support_ink[class], query_ink[item]);
        }
        let labels: Vec<i64> = query.labels.into_data().iter().collect();
        assert!(run.answers().eq(labels.into_iter().map(|label| label as usize)));
    }
}

#[test]
fn the_score_is_the_mean_error_over_runs() {
    let (_directory, path) = runs(|_| None);
    let runs = load(&path).unwrap();
    let right: Vec<Vec<usize>> = runs.iter().map(|run| run.answers().collect()).collect();
    assert_eq!(runs.error(&right).unwrap(), 0.0);
    // All wrong in one run, one of twenty in the other.
    let mut guesses = right.clone();
    guesses[0].iter_mut().for_each(|guess| *guess = (*guess + 1) % 20);
    guesses[1][3] = (guesses[1][3] + 1) % 20;
    assert!((runs.error(&guesses).unwrap() - (1.0 + 0.05) / 2.0).abs() < 1e-12);
    guesses[1].pop();
    let error = runs.error(&guesses).unwrap_err().to_string();
    assert_eq!(error, "number of guesses is [20, 19]; expected one for each query of each run");
}

#[test]
fn damaged_runs_are_errors_that_name_the_line() {
    let says = |change: fn(&str) -> Option<String>| {
        let (_directory, path) = runs(change);
        load(&path).unwrap_err().to_string().split_once(".zip: ").unwrap().1.to_owned()
    };
    assert_eq!(
        says(|list| Some(list.replace("item03", "item33"))),
        "run01/class_labels.txt:3: drawing run01/test/item33.png is not there"
    );
    assert_eq!(
        says(|_| Some("a b c\n".to_owned())),
        "run01/class_labels.txt:1: \"a b c\"; expected a query and its support drawing"
    );
    assert_eq!(says(|list| list.lines().next().map(str::to_owned)), "run01/class_labels.txt:1: 1 pairs; expected 20");
    assert!(says(|list| Some(list.replace("class08", "class15"))).contains("19 support drawings"));
}
