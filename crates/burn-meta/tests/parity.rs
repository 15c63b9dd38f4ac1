//! Golden meta-gradients.
#![allow(missing_docs)]

use std::path::Path;

use burn::tensor::{DType, Device};
use burn_meta::parity::Fixture;

fn compare(name: &str, dtype: DType) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name);
    let rows = Fixture::open(&folder).and_then(|fixture| fixture.compare(&Device::flex(), dtype)).unwrap();
    assert!(rows.len() >= 4, "{name}: only {} golden values", rows.len());
    for row in rows {
        println!("{name} {dtype:?} {}: {:.2e}", row.name, row.relative_error);
        assert!(row.passed(), "{name} {dtype:?} {}: {:.2e} over {:.0e}", row.name, row.relative_error, row.tolerance);
    }
}

#[test]
fn every_fixture_in_double_and_in_single_precision() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    let mut names: Vec<String> = entries
        .filter(|entry| entry.path().join("fixture.json").exists())
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names.len(), 16, "{names:?}");
    for name in &names {
        compare(name, DType::F64);
        compare(name, DType::F32);
    }
}

/// A copy of a fixture with one tensor of 64-bit numbers changed in place; removed with the directory.
fn altered(fixture: &str, tensor: &str, change: impl Fn(&mut [u8])) -> String {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(fixture);
    let copy = tempfile::tempdir().unwrap();
    std::fs::copy(source.join("fixture.json"), copy.path().join("fixture.json")).unwrap();
    let mut bytes = std::fs::read(source.join("fixture.safetensors")).unwrap();
    let header = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let place = {
        let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        let data = file.tensor(tensor).unwrap().data();
        let start = data.as_ptr() as usize - bytes.as_ptr() as usize;
        assert!(start >= header);
        start..start + data.len()
    };
    change(&mut bytes[place]);
    std::fs::write(copy.path().join("fixture.safetensors"), bytes).unwrap();
    let rows = Fixture::open(copy.path()).and_then(|fixture| fixture.compare(&Device::flex(), DType::F64));
    match rows {
        Err(error) => error.to_string(),
        Ok(rows) => {
            let over: Vec<String> = rows.into_iter().filter(|row| !row.passed()).map(|row| row.name).collect();
            format!("over: {}", over.join(" "))
        }
    }
}

#[test]
fn one_wrong_number_is_found_where_it_is() {
    let wrong = |data: &mut [u8]| data[..8].copy_from_slice(&1e-3f64.to_le_bytes());
    assert_eq!(altered("sine-mlp-tanh", "grads.binom2.layers.1.weight", wrong), "over: binom2");
    let nan = |data: &mut [u8]| data[..8].copy_from_slice(&f64::NAN.to_le_bytes());
    assert_eq!(altered("sine-mlp-tanh", "grads.trunc1.layers.0.bias", nan), "over: trunc1");
}

#[test]
fn a_label_out_of_range_is_an_error() {
    let wrong = |data: &mut [u8]| data[..8].copy_from_slice(&7i64.to_le_bytes());
    let message = altered("cnn4-gray28", "query.y", wrong);
    assert!(message.ends_with("tensor `query.y` has label 7, expected 0 to 4"), "{message}");
}
