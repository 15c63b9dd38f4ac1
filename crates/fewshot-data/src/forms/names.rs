//! What folders and files are called in datasets.
//!
//! Does not know: what is in them.

use std::collections::BTreeSet;

use crate::Split;

/// Folders that hold images without being classes.
pub(super) const IMAGE_FOLDERS: [&str; 4] = ["images", "data", "imgs", "image"];

/// Endings of image files that are read, and of files that people take for images as well.
const IMAGES: [&str; 5] = ["png", "jpg", "jpeg", "jpe", "jfif"];
const OTHER_IMAGES: [&str; 11] = ["webp", "gif", "bmp", "tif", "tiff", "heic", "heif", "avif", "jp2", "ppm", "pgm"];

/// Whether a name in lower case ends as PNG and JPEG files do.
pub(crate) fn is_image_name(name: &str) -> bool {
    name.rsplit_once('.').is_some_and(|(_, ending)| IMAGES.contains(&ending))
}

/// Whether a name in lower case ends as images of formats do that are not read.
pub(crate) fn is_other_image_name(name: &str) -> bool {
    name.rsplit_once('.').is_some_and(|(_, ending)| OTHER_IMAGES.contains(&ending))
}

/// The split that a file or folder is named after: `train.csv`, `meta-val`, `mini-imagenet-cache-validation.pkl`. A name
/// with the words of two splits says nothing.
pub(crate) fn split_of(name: &str) -> Option<Split> {
    let last = name.rsplit('/').next().unwrap_or(name).to_lowercase();
    let stem = last.split_once('.').map_or(last.as_str(), |(stem, _)| stem);
    let words = stem.split(|c: char| !c.is_ascii_alphanumeric());
    let found: BTreeSet<Split> = words.filter_map(of_word).collect();
    let mut found = found.into_iter();
    found.next().filter(|_| found.next().is_none())
}

fn of_word(word: &str) -> Option<Split> {
    match word {
        "train" | "training" | "base" => Some(Split::Train),
        "val" | "valid" | "validation" => Some(Split::Val),
        "test" | "testing" | "novel" => Some(Split::Test),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_their_split() {
        for (name, split) in [
            ("train.csv", Some(Split::Train)),
            ("splits/bertinetto/val.txt", Some(Split::Val)),
            ("mini-imagenet-cache-validation.pkl", Some(Split::Val)),
            ("CIFAR_FS_val.pickle", Some(Split::Val)),
            ("tiered-imagenet-test_images_png.pkl", Some(Split::Test)),
            ("miniImageNet_category_split_train_phase_train.pickle", Some(Split::Train)),
            ("meta-train", Some(Split::Train)),
            ("train_or_test.pkl", None),
            ("trainer.pkl", None),
            ("n01532829", None),
            ("data.hdf5", None),
        ] {
            assert_eq!(split_of(name), split, "{name}");
        }
    }
}
