//! What file names and labels say: the split, the class.
//!
//! Does not know: file contents.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use crate::Split;
use crate::forms::names;

/// The split that a file is named after.
///
/// The files `..._train_phase_val` and `..._train_phase_test` hold further images of the classes for
/// training, for the evaluation of ordinary classification: they are no split of classes.
pub(super) fn split_of(path: &Path) -> Option<Split> {
    match is_held_out(path) {
        true => None,
        false => names::split_of(&path.file_name()?.to_string_lossy()),
    }
}

/// Whether a file holds images of the classes for training that are held out.
pub(super) fn is_held_out(path: &Path) -> bool {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy().to_lowercase();
    stem.contains("train_phase_val") || stem.contains("train_phase_test")
}

/// The split whose classes of miniImageNet these labels are: 0 to 63, 64 to 79, 80 to 99.
pub(super) fn mini_split_of(labels: &[i64]) -> Option<Split> {
    let within = |low, high| labels.iter().all(|label| (low..=high).contains(label));
    match labels {
        [] => None,
        _ if within(0, 63) => Some(Split::Train),
        _ if within(64, 79) => Some(Split::Val),
        _ if within(80, 99) => Some(Split::Test),
        _ => None,
    }
}

/// The name of a class of which only the number is known.
pub(super) fn numbered(label: i64) -> String {
    format!("class{label:03}")
}

/// A name from a table, or the number.
pub(super) fn named(names: &BTreeMap<i64, String>, label: i64) -> String {
    names.get(&label).cloned().unwrap_or_else(|| numbered(label))
}

/// The same names with the number behind those that occur twice: ImageNet has two cranes.
pub(super) fn unique(mut names: BTreeMap<i64, String>) -> BTreeMap<i64, String> {
    let mut count = HashMap::new();
    for name in names.values() {
        *count.entry(name.clone()).or_insert(0) += 1;
    }
    for (label, name) in &mut names {
        if count.get(name.as_str()).is_some_and(|&count| count > 1) {
            *name = format!("{name} ({label})");
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_occur_twice_get_their_numbers() {
        let names = [(0, "crane"), (1, "heron"), (4, "crane")].map(|(label, name)| (label, name.to_owned()));
        let names: Vec<_> = unique(BTreeMap::from(names)).into_values().collect();
        assert_eq!(names, ["crane (0)", "heron", "crane (4)"]);
    }

    #[test]
    fn held_out_images_of_the_classes_for_training_are_no_split() {
        let split = |name: &str| split_of(Path::new(&format!("miniImageNet_category_split_{name}.pickle")));
        assert_eq!([split("train_phase_train"), split("val"), split("test")], Split::ALL.map(Some));
        assert_eq!([split("train_phase_val"), split("train_phase_test")], [None, None]);
    }

    #[test]
    fn labels_of_mini_imagenet_name_their_split() {
        assert_eq!(mini_split_of(&[0, 63]), Some(Split::Train));
        assert_eq!(mini_split_of(&[79, 64]), Some(Split::Val));
        assert_eq!(mini_split_of(&[80, 99]), Some(Split::Test));
        assert_eq!(mini_split_of(&[63, 64]), None);
        assert_eq!(mini_split_of(&[100]), None);
    }
}
