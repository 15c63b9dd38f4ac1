//! Every form against files made by other programs (see `tests/fixtures/forms`).

use std::path::PathBuf;

use super::*;
use crate::index::{Encoded, Images, IndexedClass};
use crate::{ImageClasses, Split};

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(format!("{}/tests/fixtures/forms/{name}", env!("CARGO_MANIFEST_DIR")))
}

fn found(name: &str) -> Found {
    let found = read_file(&fixture(name), Limits::default());
    found.unwrap_or_else(|error| panic!("{error}")).unwrap_or_else(|| panic!("{name} is no form"))
}

fn error(name: &str) -> String {
    let error = read_file(&fixture(name), Limits::default()).map(|found| found.map(|found| found.0)).unwrap_err();
    let error = error.to_string();
    error.strip_prefix(&format!("{}: ", fixture(name).display())).unwrap_or(&error).to_owned()
}

/// The value of a pixel in the fixtures: image, channel, row, column.
fn value(n: usize, c: usize, y: usize, x: usize) -> u8 {
    ((17 * n + 67 * c + 4 * y + x) % 256) as u8
}

fn image(n: usize, [channels, height, width]: [usize; 3]) -> Vec<u8> {
    let pixel = |i: usize| value(n, i / (height * width), i / width % height, i % width);
    (0..channels * height * width).map(pixel).collect()
}

/// The images of a class, channel by channel.
fn images(class: &IndexedClass) -> ([usize; 3], Vec<Vec<u8>>) {
    match &class.images {
        Images::Rows { pixels, shape } => {
            let mut data = ImageClasses::new(*shape).unwrap();
            data.push("class", "", pixels.clone()).unwrap();
            (*shape, data.classes()[0].images().map(|image| image.into_owned()).collect())
        }
        Images::Encoded(files) => ([3, 5, 4], files.iter().map(decoded).collect()),
    }
}

fn decoded(file: &Encoded) -> Vec<u8> {
    let Encoded::Slice(store, range) = file else {
        panic!("{file:?}");
    };
    let image = image::load_from_memory(&(**store).as_ref()[range.clone()]).unwrap().to_rgb8();
    (0..3).flat_map(|c| image.pixels().map(move |pixel| pixel.0[c]).collect::<Vec<_>>()).collect()
}

/// Checks a set: split, and for each class its name, group and the numbers of its images.
fn check(set: &IndexedSet, split: Option<Split>, wanted: &[(&str, &str, &[usize])]) {
    assert_eq!(set.split, split, "{}", set.path.display());
    let names: Vec<_> = set.classes.iter().map(|class| (class.name.as_str(), class.group.as_str())).collect();
    assert_eq!(names, wanted.iter().map(|(name, group, _)| (*name, *group)).collect::<Vec<_>>());
    for (class, (name, _, numbers)) in set.classes.iter().zip(wanted) {
        let (shape, images) = images(class);
        let wanted: Vec<_> = numbers.iter().map(|&n| image(n, shape)).collect();
        assert_eq!(images, wanted, "{} {name}", set.path.display());
        assert_eq!(class.image_count(), numbers.len());
    }
}

const MINI: [(&str, &str, &[usize]); 3] =
    [("n01532829", "", &[0, 1, 2, 3]), ("n01558993", "", &[4, 5, 6, 7]), ("n02091831", "", &[8, 9, 10, 11])];

#[test]
fn caches_of_mini_imagenet() {
    for (name, split) in [("train", Split::Train), ("train-python2", Split::Train), ("validation", Split::Val)] {
        let (form, sets, problems) = found(&format!("mini/mini-imagenet-cache-{name}.pkl"));
        assert_eq!((form, sets.len(), problems.len()), ("miniImageNet cache", 1, 0));
        check(&sets[0], Some(split), &MINI);
    }
    // This one names its rows backwards.
    let (_, sets, _) = found("mini/mini-imagenet-cache-test.pkl");
    let backwards: [(&str, &str, &[usize]); 3] =
        [("n01532829", "", &[3, 2, 1, 0]), ("n01558993", "", &[7, 6, 5, 4]), ("n02091831", "", &[11, 10, 9, 8])];
    check(&sets[0], Some(Split::Test), &backwards);
}

#[test]
fn category_pickles() {
    let (form, sets, problems) = found("category/miniImageNet_category_split_train_phase_train.pickle");
    assert_eq!((form, problems.len()), ("category pickle", 0));
    let wanted: [(&str, &str, &[usize]); 3] =
        [("n00001000", "", &[0, 1, 2, 3]), ("n00001030", "", &[4, 5, 6, 7]), ("n00001063", "", &[8, 9, 10, 11])];
    check(&sets[0], Some(Split::Train), &wanted);
    let (_, sets, problems) = found("category/miniImageNet_category_split_val_python2.pickle");
    assert_eq!(problems.len(), 0);
    let wanted: [(&str, &str, &[usize]); 3] =
        [("n00001064", "", &[0, 1, 2, 3]), ("n00001070", "", &[4, 5, 6, 7]), ("n00001079", "", &[8, 9, 10, 11])];
    check(&sets[0], Some(Split::Val), &wanted);
    // Labels in turn: rows of a class lie apart.
    let (_, sets, _) = found("category/miniImageNet_category_split_test.pickle");
    let wanted: [(&str, &str, &[usize]); 3] =
        [("n00001080", "", &[0, 3, 6, 9]), ("n00001081", "", &[1, 4, 7, 10]), ("n00001099", "", &[2, 5, 8, 11])];
    check(&sets[0], Some(Split::Test), &wanted);
}

#[test]
fn a_name_that_contradicts_the_labels_is_a_problem() {
    let (_, sets, problems) = found("category/miniImageNet_category_split_val_wrong.pickle");
    assert_eq!(sets[0].split, Some(Split::Val));
    assert!(problems[0].ends_with("the name says val, but its labels are those of the test classes"), "{problems:?}");
}

#[test]
fn pickles_without_names() {
    for (name, split, numbers) in [("CIFAR_FS_val", Split::Val, [1, 2, 5]), ("FC100_test", Split::Test, [3, 15, 31])] {
        let (form, sets, problems) = found(&format!("category/{name}.pickle"));
        assert_eq!((form, problems.len()), ("images and labels", 0));
        let names = numbers.map(|n| format!("class{n:03}"));
        let rows: [&[usize]; 3] = [&[0, 1, 2, 3], &[4, 5, 6, 7], &[8, 9, 10, 11]];
        let wanted: Vec<(&str, &str, &[usize])> =
            names.iter().zip(rows).map(|(n, rows)| (n.as_str(), "", rows)).collect();
        check(&sets[0], Some(split), &wanted);
    }
}

#[test]
fn pickles_with_the_labels_of_cifar_100_get_its_names() {
    let (form, sets, _) = found("category/CIFAR_FS_novel.npz");
    assert_eq!((form, sets[0].split, sets[0].classes.len()), ("CIFAR few-shot pickle", Some(Split::Test), 20));
    let class = &sets[0].classes[1];
    assert_eq!((class.name.as_str(), class.group.as_str()), ("bed", "household_furniture"));
}

const TIERED: [(&str, &str, &[usize]); 3] =
    [("n02356798", "n02469914", &[0, 1]), ("n02363005", "n01861778", &[2, 3]), ("n03000684", "n02469914", &[4, 5])];

#[test]
fn tiered_image_net() {
    for directory in ["tiered/", "tiered-python2/", "tiered4/tiered-imagenet-"] {
        let (form, sets, problems) = found(&format!("{directory}val_images_png.pkl"));
        assert_eq!((form, problems.len()), ("tieredImageNet pickle", 0));
        check(&sets[0], Some(Split::Val), &TIERED);
        let (form, sets, problems) = found(&format!("{directory}val_labels.pkl"));
        assert_eq!((form, sets.len()), ("labels without images", 0));
        assert!(problems[0].contains("labels alone"));
    }
    // Blue, green, red in the file.
    let (form, sets, _) = found("tiered-npz/val_images.npz");
    assert_eq!(form, "tieredImageNet archive");
    let wanted: [(&str, &str, &[usize]); 3] =
        [("class000", "", &[0, 1]), ("class001", "", &[2, 3]), ("class002", "", &[4, 5])];
    check(&sets[0], Some(Split::Val), &wanted);
}

#[test]
fn categories_that_are_numbered_wrongly_are_left_out() {
    let (_, sets, problems) = found("tiered-wrong/val_images_png.pkl");
    assert!(sets[0].classes.iter().all(|class| class.group.is_empty()));
    assert!(problems[0].contains("label_general numbers 1 classes beyond the 2 categories"), "{problems:?}");
}

#[test]
fn images_without_their_labels_are_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("val_images_png.pkl");
    std::fs::copy(fixture("tiered/val_images_png.pkl"), &path).unwrap();
    let error = || read_file(&path, Limits::default()).unwrap_err().to_string();
    assert!(error().contains("no labels (a pickle such as val_labels.pkl"), "{}", error());
    // Labels of another number of images, and those of another split.
    std::fs::copy(fixture("tiered-npz/val_labels.pkl"), directory.path().join("train_labels.pkl")).unwrap();
    assert!(error().ends_with("it has none beside it"), "{}", error());
}

#[test]
fn archives_of_arrays() {
    let (form, sets, _) = found("npz/few-shot-train.npz");
    assert_eq!(form, "images and labels");
    let wanted: [(&str, &str, &[usize]); 3] =
        [("class009", "", &[0, 1, 2, 3]), ("class010", "", &[4, 5, 6, 7]), ("class011", "", &[8, 9, 10, 11])];
    check(&sets[0], Some(Split::Train), &wanted);
    let (_, sets, _) = found("npz/compressed_test.npz");
    check(&sets[0], Some(Split::Test), &[("class005", "", &[0, 1, 2]), ("class006", "", &[3, 4, 5])]);
    assert_eq!(error("npz/floats.npz"), "images: images are float32 of shape [2, 5, 4, 3]; expected uint8, 0 to 255");
    assert!(error("npz/objects.npz").contains("Python objects"), "{}", error("npz/objects.npz"));
    assert!(error("npz/fortran.npz").contains("Fortran order"));
    assert!(error("npy/version1.npy").contains("one array of uint8 of shape [2, 5, 4, 3], without labels"));
}

#[test]
fn omniglot_pickles() {
    let (form, sets, _) = found("omniglot/train_vinyals_aug90.pkl");
    assert_eq!(form, "Omniglot pickle");
    let set = &sets[0];
    let names: Vec<_> = set.classes.iter().map(|class| (class.name.as_str(), class.group.as_str())).collect();
    let wanted = [
        ("Greek/character01/rot090", "Greek"),
        ("Greek/character01/rot180", "Greek"),
        ("Latin/character01/rot000", "Latin"),
    ];
    assert_eq!((names, set.split), (wanted.to_vec(), Some(Split::Train)));
    let (shape, images) = images(&set.classes[2]);
    // The fixture holds 255 minus the value.
    let inverted: Vec<u8> = image(4, shape).iter().map(|value| 255 - value).collect();
    assert_eq!((shape, &images[0]), ([1, 28, 28], &inverted));
}

#[test]
fn cifar_100_joins_train_and_test() {
    let wanted: [(&str, &str, &[usize]); 3] = [
        ("apple", "fruit_and_vegetables", &[0, 3, 2]),
        ("aquarium_fish", "fish", &[1, 4, 1]),
        ("beaver", "aquatic_mammals", &[2, 5, 0]),
    ];
    for name in ["train", "test"] {
        let (form, sets, problems) = found(&format!("cifar-100-python/{name}"));
        assert_eq!((form, problems.len()), ("CIFAR-100", 0));
        check(&sets[0], None, &wanted);
    }
    assert!(found("cifar-100-python/meta").1.is_empty());
    let all = || read_directory(&fixture("cifar-100-python"), Limits::default()).unwrap().unwrap().1;
    assert_eq!(all().len(), 1);
    let parts = |name| [cifar_fs_part(name), fc100_part(name)];
    assert_eq!(parts("apple"), [Some(Split::Train), Some(Split::Train)]);
    assert_eq!(parts("beaver"), [Some(Split::Val), Some(Split::Test)]);
    assert_eq!(parts("n01532829"), [None, None]);
}

#[cfg(feature = "hdf5")]
#[test]
fn hdf5_files_of_torchmeta() {
    let (form, sets, _) = found("hdf5/train_data.hdf5");
    assert_eq!(form, "torchmeta HDF5");
    check(&sets[0], Some(Split::Train), &MINI);
    let (_, sets, _) = found("hdf5/chunked_val_data.hdf5");
    check(&sets[0], Some(Split::Val), &MINI[..1]);
    let (_, sets, _) = found("hdf5/vlen_test_data.hdf5");
    let wanted: [(&str, &str, &[usize]); 2] = [("n02356798", "", &[0, 1, 2]), ("n02363005", "", &[3, 4, 5])];
    check(&sets[0], Some(Split::Test), &wanted);
    let (_, sets, _) = found("hdf5/omniglot.hdf5");
    let wanted: [(&str, &str, &[usize]); 4] = [
        ("Greek/character01", "Greek", &[0, 1]),
        ("Greek/character02", "Greek", &[2, 3]),
        ("Latin/character01", "Latin", &[4, 5]),
        ("Latin/character02", "Latin", &[6, 7]),
    ];
    check(&sets[0], None, &wanted);
    assert!(error("hdf5/floats.hdf5").contains("images are float32"));
}

#[cfg(not(feature = "hdf5"))]
#[test]
fn hdf5_without_the_feature_names_it() {
    assert!(error("hdf5/train_data.hdf5").contains("feature hdf5"));
}

#[test]
fn what_is_no_data_says_what_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.pkl");
    let read = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        read_file(&path, Limits::default()).map(|found| found.is_some())
    };
    assert!(matches!(read(b"\n<!DOCTYPE html>"), Err(Error::WebPage { .. })));
    assert!(matches!(read(b"(dp0\nS'a'\n."), Err(Error::Pickle { offset: 0, .. })));
    assert!(!read(b"").unwrap() && !read(b"hello").unwrap());
    let error = read(b"\x80\x02}X\x01\0\0\0aK\x01s.").unwrap_err().to_string();
    assert!(error.ends_with("found a pickle of a dictionary of 1 keys: a"), "{error}");
}

#[test]
fn rows_that_contradict_each_other_are_errors() {
    let cases = [
        ("lists", "row 3 belongs to two classes"),
        ("range", "row 12; image_data has 12"),
        ("negative", "row -1; image_data has 12"),
        ("endless", "row 12; image_data has 12"),
        ("text", "a row that is not a whole number"),
    ];
    for (name, wanted) in cases {
        let error = error(&format!("damaged/{name}.pkl"));
        assert!(error.starts_with("class_dict, class ") && error.contains(wanted), "{error}");
    }
    assert!(error("damaged/labels.pkl").contains("3 labels for 4 images"), "{}", error("damaged/labels.pkl"));
    assert!(error("damaged/fraction.pkl").contains("a number that is not whole"));
}
