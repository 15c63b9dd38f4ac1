//! Directories full of files of arrays: most often one for each split.
//!
//! Does not know: the forms.

use std::collections::HashMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::{Container, Found, container, read_file};
use crate::index::{IndexedClass, IndexedSet};
use crate::{Error, Limits};

/// Forms whose classes are named by numbers or by words that other classes may have too, so that one
/// name in two splits does not mean one class.
const LOOSELY_NAMED: [&str; 3] = ["images and labels", "tieredImageNet pickle", "tieredImageNet archive"];

/// Reads all files of arrays directly in a directory. `None` where there is none with images.
///
/// Files that are not arrays are passed over, and arrays that are no dataset are a problem in words, as
/// are sets of no split beside sets with one. CIFAR-100, which is several files, is read once.
///
/// # Errors
/// Those of [`read_file`]; [`Error::Malformed`] where files are of several forms.
pub(crate) fn read_directory(directory: &Path, limits: Limits) -> Result<Option<Found>, Error> {
    let mut all: Option<Found> = None;
    let mut unknown = Vec::new();
    for file in files(directory)? {
        let found = match read_file(&file, limits) {
            Err(error @ Error::Unrecognised { .. }) => {
                unknown.push(error.to_string());
                continue;
            }
            found => found?.filter(|found| !found.1.is_empty()),
        };
        let Some((form, sets, problems)) = found else {
            continue;
        };
        let (first, known, known_problems) = all.get_or_insert_with(|| (form, Vec::new(), Vec::new()));
        if *first != form {
            let problem = format!("{form} beside {first}; expected one dataset in a directory");
            return Err(Error::malformed(&file, "form", problem));
        }
        let new: Vec<_> = sets.into_iter().filter(|set| known.iter().all(|other| other.path != set.path)).collect();
        if !new.is_empty() {
            known.extend(new);
            known_problems.extend(problems);
        }
    }
    if let Some((form, sets, problems)) = &mut all {
        problems.extend(unknown);
        leave_out_the_rest(sets, problems);
        if LOOSELY_NAMED.contains(form) {
            name_apart(sets);
        }
    }
    Ok(all)
}

/// The files that may hold arrays, in the order of their names.
fn files(directory: &Path) -> Result<Vec<PathBuf>, Error> {
    let entries = std::fs::read_dir(directory).map_err(|cause| Error::reading(directory, cause))?;
    let mut files: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    files.retain(|file| file.is_file() && may_be_arrays(file));
    files.sort();
    Ok(files)
}

/// Whether the first bytes of a file are those of a file of arrays.
fn may_be_arrays(path: &Path) -> bool {
    let mut start = [0; 512];
    let read = std::fs::File::open(path).and_then(|mut file| file.read(&mut start)).unwrap_or(0);
    matches!(container(start.get(..read).unwrap_or_default()), Container::Pickle | Container::Zip | Container::Hdf5)
}

/// Beside sets of a split, sets of none are left out: further images of the classes for training, or
/// training and validation once more in one file.
fn leave_out_the_rest(sets: &mut Vec<IndexedSet>, problems: &mut Vec<String>) {
    if sets.iter().any(|set| set.split.is_some()) {
        let rest = sets.iter().filter(|set| set.split.is_none());
        problems.extend(rest.map(|set| format!("{}: belongs to no split and is left out", set.path.display())));
        sets.retain(|set| set.split.is_some());
    }
}

/// Puts the split before names that occur in several sets.
fn name_apart(sets: &mut [IndexedSet]) {
    let mut count = HashMap::new();
    let names = sets.iter().flat_map(|set| &set.classes).map(|class| class.name.clone());
    names.for_each(|name| *count.entry(name).or_insert(0) += 1);
    for set in sets {
        let Some(split) = set.split else {
            continue;
        };
        let twice = |class: &&mut IndexedClass| count.get(&class.name).is_some_and(|&count| count > 1);
        set.classes.iter_mut().filter(twice).for_each(|class| class.name = format!("{split}/{}", class.name));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Split;

    fn fixture(name: &str) -> PathBuf {
        PathBuf::from(format!("{}/tests/fixtures/forms/{name}", env!("CARGO_MANIFEST_DIR")))
    }

    /// A directory with copies of fixtures under other names.
    fn directory(files: &[(&str, &str)]) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        for (from, to) in files {
            std::fs::copy(fixture(from), directory.path().join(to)).unwrap();
        }
        directory
    }

    #[test]
    fn splits_are_read_in_the_order_of_their_names() {
        let (form, sets, problems) = read_directory(&fixture("tiered-python2"), Limits::default()).unwrap().unwrap();
        assert_eq!((form, sets.len(), problems.len()), ("tieredImageNet pickle", 1, 0));
        let (_, sets, _) = read_directory(&fixture("mini"), Limits::default()).unwrap().unwrap();
        let splits: Vec<_> = sets.into_iter().map(|set| set.split).collect();
        assert_eq!(splits, [Split::Test, Split::Train, Split::Train, Split::Val].map(Some));
    }

    #[test]
    fn images_that_are_held_out_are_left_out() {
        let train = "category/miniImageNet_category_split_train_phase_train.pickle";
        let test = "category/miniImageNet_category_split_test.pickle";
        let directory = directory(&[
            (train, "miniImageNet_category_split_train_phase_train.pickle"),
            (train, "miniImageNet_category_split_train_phase_val.pickle"),
            (train, "miniImageNet_category_split_train_phase_test.pickle"),
            (test, "miniImageNet_category_split_test.pickle"),
        ]);
        let (_, sets, problems) = read_directory(directory.path(), Limits::default()).unwrap().unwrap();
        let splits: Vec<_> = sets.iter().map(|set| set.split).collect();
        assert_eq!(splits, [Some(Split::Test), Some(Split::Train)]);
        assert_eq!(problems.iter().filter(|problem| problem.ends_with("is left out")).count(), 2, "{problems:?}");
    }

    #[test]
    fn numbers_that_start_anew_in_each_file_are_told_apart() {
        let file = "npz/compressed_test.npz";
        let directory = directory(&[(file, "test.npz"), (file, "train.npz"), ("npz/few-shot-train.npz", "val.npz")]);
        let (_, sets, _) = read_directory(directory.path(), Limits::default()).unwrap().unwrap();
        let names = |set: &IndexedSet| set.classes.iter().map(|class| class.name.clone()).collect::<Vec<_>>();
        let all: Vec<_> = sets.iter().map(names).collect();
        assert_eq!(all[0], ["test/class005", "test/class006"]);
        assert_eq!(all[1], ["train/class005", "train/class006"]);
        assert_eq!(all[2], ["class009", "class010", "class011"]);
    }

    #[test]
    fn two_datasets_in_one_directory_are_an_error() {
        let directory =
            directory(&[("npz/few-shot-train.npz", "a.npz"), ("mini/mini-imagenet-cache-test.pkl", "b.pkl")]);
        let error = read_directory(directory.path(), Limits::default()).unwrap_err().to_string();
        assert!(error.contains("miniImageNet cache beside images and labels"), "{error}");
    }
}
