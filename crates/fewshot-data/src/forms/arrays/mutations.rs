//! Damaged files: whatever is done to a fixture, reading it ends, without a panic, in data that can be
//! used or in an error of one line.
//!
//! `MUTATIONS=2000` makes that many of each file; a few of each are made otherwise.

use std::path::{Path, PathBuf};

use super::*;
use crate::ImageClasses;
use crate::index::Images;

/// Splitmix64 (Steele et al. 2014): a few lines that give every run the same damage.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }
}

fn damaged(whole: &[u8], other: &[u8], random: &mut Random) -> Vec<u8> {
    let mut bytes = whole.to_vec();
    for _ in 0..=random.below(3) {
        // Headers matter more than pixels, and most of them stand at the start or the end.
        let at = match random.below(3) {
            0 => random.below(bytes.len().min(200)),
            1 => bytes.len().saturating_sub(1 + random.below(200)),
            _ => random.below(bytes.len()),
        };
        match random.below(6) {
            0 => bytes.truncate(at),
            1 => bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1 << random.below(8)),
            2 => bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte = random.next() as u8),
            3 => bytes.iter_mut().skip(at).take(8).for_each(|byte| *byte = 0xFF),
            4 => {
                let part = other.iter().skip(random.below(other.len())).take(1 + random.below(64));
                bytes.splice(at.min(bytes.len())..at.min(bytes.len()), part.copied());
            }
            _ => {
                let end = (at + random.below(32)).min(bytes.len());
                bytes.drain(at.min(end)..end);
            }
        }
    }
    bytes
}

fn use_all(sets: &[IndexedSet]) {
    for class in sets.iter().flat_map(|set| &set.classes) {
        match &class.images {
            Images::Rows { pixels, shape } => {
                let mut data = ImageClasses::new(*shape).unwrap();
                data.push("class", "", pixels.clone()).unwrap();
                assert_eq!(data.classes()[0].images().count(), class.image_count());
            }
            Images::Encoded(files) => assert!(files.iter().all(|file| match file {
                crate::index::Encoded::Slice(store, range) => (**store).as_ref().get(range.clone()).is_some(),
                _ => false,
            })),
        }
    }
}

/// All fixtures with their directories.
fn fixtures() -> Vec<PathBuf> {
    let mut open = vec![PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/forms"))];
    let mut files = Vec::new();
    while let Some(path) = open.pop() {
        match std::fs::read_dir(&path) {
            Ok(entries) => open.extend(entries.map(|entry| entry.unwrap().path())),
            Err(_) => files.push(path),
        }
    }
    files.retain(|file| file.extension().is_none_or(|end| end != "py" && end != "md"));
    files.sort();
    files
}

fn mutate(path: &Path, other: &[u8], count: u64) -> u64 {
    let directory = tempfile::tempdir().unwrap();
    for beside in std::fs::read_dir(path.parent().unwrap()).unwrap() {
        let beside = beside.unwrap().path();
        std::fs::copy(&beside, directory.path().join(beside.file_name().unwrap())).unwrap();
    }
    let whole = std::fs::read(path).unwrap();
    let target = directory.path().join(path.file_name().unwrap());
    let limits = Limits::default().with_floor(1 << 20).with_factor(100);
    let mut errors = 0;
    for seed in 0..count {
        // A new file each time: a file may not shrink while it is mapped.
        std::fs::remove_file(&target).unwrap();
        std::fs::write(&target, damaged(&whole, other, &mut Random(seed))).unwrap();
        match read_file(&target, limits) {
            Ok(found) => use_all(&found.map(|found| found.1).unwrap_or_default()),
            Err(error) => {
                assert!(!error.to_string().contains(char::is_control), "{seed}: {error}");
                errors += 1;
            }
        }
    }
    errors
}

#[test]
fn damaged_files_are_data_or_an_error() {
    let count = std::env::var("MUTATIONS").ok().and_then(|count| count.parse().ok()).unwrap_or(25);
    let files = fixtures();
    assert!(files.len() > 30);
    let mut errors = 0;
    for (i, path) in files.iter().enumerate() {
        let other = std::fs::read(&files[(i + 7) % files.len()]).unwrap();
        errors += mutate(path, &other, count);
    }
    // Most of the damage must be noticed, or the damage does nothing.
    assert!(errors > count * files.len() as u64 / 4, "{errors} errors");
}
