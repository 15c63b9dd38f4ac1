//! What folders and files are called in datasets.
//!
//! Does not know: what is in them.

use crate::Split;

/// Folders that hold images without being classes.
pub(super) const IMAGE_FOLDERS: [&str; 4] = ["images", "data", "imgs", "image"];

/// The split that a file or folder is named after: `train.csv`, `meta-val`, `mini-imagenet-cache-validation.pkl`.
pub(crate) fn split_of(name: &str) -> Option<Split> {
    let stem = name.rsplit('/').next().unwrap_or(name).to_ascii_lowercase();
    let stem = stem.split('.').next().unwrap_or_default().to_owned();
    // The last word tells: `train_phase_val` are images for validation.
    let word = stem.rsplit(['_', '-', ' ']).find_map(of_word);
    word.or_else(|| of_word(&stem))
}

fn of_word(word: &str) -> Option<Split> {
    match word {
        "train" | "training" | "metatrain" => Some(Split::Train),
        "val" | "valid" | "validation" | "metaval" => Some(Split::Val),
        "test" | "testing" | "metatest" => Some(Split::Test),
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
            ("miniImageNet_category_split_train_phase_test.pickle", Some(Split::Test)),
            ("FC100_test.pickle", Some(Split::Test)),
            ("train_images_png.pkl", Some(Split::Train)),
            ("meta-train", Some(Split::Train)),
            ("n01532829", None),
            ("latest", None),
        ] {
            assert_eq!(split_of(name), split, "{name}");
        }
    }
}
