//! Datasets in every form of arrays, written by Python (see `fixtures/forms`), opened by their path alone.

use std::path::{Path, PathBuf};

use fewshot_data::{Benchmark, Cache, Error, ImageClasses, Limits, Sets, Source, Split};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/forms").join(name)
}

/// A copy of fixtures in a directory of their own, under other names where those are given.
fn directory(files: &[(&str, &str)]) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    for (from, to) in files {
        std::fs::copy(fixture(from), directory.path().join(to)).unwrap();
    }
    directory
}

fn load(path: &Path) -> Sets {
    Source::open(path).unwrap().with_cache(Cache::Memory).load().unwrap()
}

/// Pixel (row, column) of channel c of image n, in all fixtures.
fn value(n: usize, c: usize, y: usize, x: usize) -> u8 {
    ((17 * n + 67 * c + 4 * y + x) % 256) as u8
}

/// Checks that a class has the images of these numbers.
fn check(data: &ImageClasses, class: &str, numbers: &[usize]) {
    let [channels, height, width] = data.shape();
    let class = &data.classes()[data.index_of(class).unwrap_or_else(|| panic!("no class {class}"))];
    assert_eq!(class.image_count(), numbers.len());
    for (image, &n) in class.images().zip(numbers) {
        let pixel = |i: usize| value(n, i / (height * width), i / width % height, i % width);
        let expected: Vec<u8> = (0..channels * height * width).map(pixel).collect();
        assert_eq!(*image, expected, "image {n} of {}", class.name());
    }
}

#[test]
fn a_directory_of_caches_is_a_split_dataset() {
    let files = [
        ("mini/mini-imagenet-cache-train.pkl", "mini-imagenet-cache-train.pkl"),
        ("category/miniImageNet_category_split_val_python2.pickle", "ignored.txt"),
    ];
    let directory = directory(&files[..1]);
    let parts = load(directory.path()).parts().unwrap();
    check(&parts.train, "n01558993", &[4, 5, 6, 7]);
    assert!(parts.val.is_empty() && parts.test.is_empty());
    // The arrays of the file itself are used, not a copy.
    let report = Source::open(directory.path()).unwrap().report();
    assert!(report.sets[0].in_place, "{report:?}");
}

#[test]
fn the_same_classes_in_two_parts_are_told_and_refused() {
    let report = Source::open(fixture("mini")).err().map(|e| e.to_string()).unwrap_or_default();
    // Two files there are called train.
    assert!(report.contains("a second train beside"), "{report}");
}

#[test]
fn names_do_not_matter_to_what_is_recognised() {
    let files = [("mini/mini-imagenet-cache-train-python2.pkl", "notes.txt"), ("npz/few-shot-train.npz", "val.zip")];
    for (file, class, numbers) in [(0, "n02091831", [8, 9, 10, 11]), (1, "class010", [4, 5, 6, 7])] {
        let directory = directory(&files[file..=file]);
        let path = directory.path().join(files[file].1);
        let data = match load(&path) {
            Sets::Whole(data) => data,
            Sets::Parts(parts) => {
                [parts.train, parts.val, parts.test].into_iter().find(|part| !part.is_empty()).unwrap()
            }
        };
        check(&data, class, &numbers);
    }
}

#[test]
fn tiered_image_net_is_the_same_in_all_of_its_forms() {
    let images = |name: &str| {
        let val = load(&fixture(name)).parts().unwrap().val;
        val.classes().iter().flat_map(|class| class.images().map(|image| image.into_owned())).collect::<Vec<_>>()
    };
    let expected = images("tiered");
    assert_eq!(expected.len(), 6);
    for form in ["tiered-python2", "tiered4", "tiered-npz"] {
        assert_eq!(images(form), expected, "{form}");
    }
    let val = load(&fixture("tiered")).parts().unwrap().val;
    check(&val, "n02363005", &[2, 3]);
    assert_eq!(val.groups().into_keys().collect::<Vec<_>>(), ["n01861778", "n02469914"]);
}

#[test]
fn raw_cifar_100_splits_into_its_benchmarks() {
    let source = Source::open(fixture("cifar-100-python")).unwrap();
    assert_eq!(source.form(), "CIFAR-100");
    let sets = source.load().unwrap();
    check(&sets.clone().whole().unwrap(), "beaver", &[2, 5, 0]);
    let fs = Benchmark::cifar_fs(5, 1).partial().load_sets(sets.clone()).unwrap();
    assert_eq!(Split::ALL.map(|split| fs.parts().get(split).len()), [2, 1, 0]);
    let fc = Benchmark::fc100(5, 1).partial().load_sets(sets.clone()).unwrap();
    assert_eq!(Split::ALL.map(|split| fc.parts().get(split).len()), [2, 0, 1]);
    let error = Benchmark::fc100(5, 1).load_sets(sets).unwrap_err();
    assert!(matches!(error, Error::NotTheBenchmark { .. }), "{error}");
}

#[cfg(feature = "hdf5")]
#[test]
fn hdf5_is_read_where_the_feature_is_on() {
    let train = load(&fixture("hdf5/train_data.hdf5")).parts().unwrap().train;
    assert_eq!(train.shape()[0], 3);
    let (class, count) = (train.classes()[0].name().to_owned(), train.classes()[0].image_count());
    assert!(class.starts_with('n') && count > 1, "{class} {count}");
}

#[cfg(not(feature = "hdf5"))]
#[test]
fn hdf5_is_recognised_where_the_feature_is_off() {
    let error = Source::open(fixture("hdf5/train_data.hdf5")).unwrap_err().to_string();
    assert!(error.contains("feature"), "{error}");
}

#[test]
fn arrays_of_another_size_are_scaled_into_the_cache() {
    let cache = tempfile::tempdir().unwrap();
    let source = || Source::open(fixture("mini/mini-imagenet-cache-train.pkl")).unwrap().with_size(12);
    let cached = source().with_cache(Cache::Directory(cache.path().to_owned())).load().unwrap().parts().unwrap();
    assert_eq!(cached.train.shape(), [3, 12, 12]);
    assert_eq!(std::fs::read_dir(cache.path()).unwrap().count(), 1);
    let fresh = source().with_cache(Cache::Memory).load().unwrap().parts().unwrap();
    assert_eq!(cached.train.fingerprint(), fresh.train.fingerprint());
}

#[test]
fn what_a_pickle_must_not_name_is_an_error_that_names_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("data.pkl");
    std::fs::write(&path, b"\x80\x02cposix\nsystem\nX\x09\x00\x00\x00touch /x\x85R.").unwrap();
    let error = Source::open(&path).unwrap_err();
    assert!(
        matches!(&error, Error::ForbiddenGlobal { global, .. } if global.contains("posix") && global.contains("system"))
    );
    assert!(error.to_string().contains("nothing to run"), "{error}");
}

#[test]
fn limits_can_be_set() {
    let path = fixture("npz/compressed_test.npz");
    let error = Source::open_with(&path, Limits::default().with_floor(100).with_factor(0)).unwrap_err();
    assert!(matches!(error, Error::TooLarge { limit: 100, .. }), "{error}");
}
