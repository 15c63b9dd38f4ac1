//! An array of images and a label for each, in a pickle or an archive of arrays: the category
//! pickles of miniImageNet, the pickles of CIFAR-FS and FC100, the archives of TADAM, the pickles of
//! Omniglot, and whatever else uses the customary names.
//!
//! Sources: github.com/gidariss/FewShotWithoutForgetting and github.com/kjunelee/MetaOptNet (`data`,
//! `labels`, `catname2label`), github.com/ServiceNow/TADAM (`features`, `targets`),
//! github.com/renmengye/few-shot-ssl-public (`images`, `labels`, `label_str`).
//!
//! Does not know: pickles, archives.

use std::collections::BTreeMap;

use super::cifar_classes::{COARSE, FINE, split_of_fine};
use super::table::Table;
use super::{Found, names};
use crate::index::{IndexedSet, rows_by_label};
use crate::{Error, Split};

/// Customary names of images, the likeliest first.
pub(super) const IMAGES: [&str; 7] = ["images", "data", "features", "x", "X", "image_data", "x_data"];

/// Customary names of labels.
pub(super) const LABELS: [&str; 6] = ["labels", "targets", "y", "Y", "label", "y_data"];

/// `None` where images or labels are not there.
pub(super) fn read(table: &Table) -> Result<Option<Found>, Error> {
    let (Some(images), Some(labels)) = (table.first(&IMAGES)?, table.first(&LABELS)?) else {
        return Ok(None);
    };
    let (pixels, shape) = images.images()?;
    let count = pixels.bytes().len() / shape.iter().product::<usize>().max(1);
    let labels = labels.ints(count)?;
    let distinct = distinct(&labels);
    let known = Known::of(table, &distinct, shape)?;
    let classes = rows_by_label(table.path(), &pixels, shape, &labels, |label| known.class(label))?;
    let (split, problems) = split(table, &known, &distinct);
    let set = IndexedSet { split, path: table.path().to_owned(), classes };
    Ok(Some((known.form, vec![set], problems)))
}

fn distinct(labels: &[i64]) -> Vec<i64> {
    let mut labels = labels.to_vec();
    labels.sort_unstable();
    labels.dedup();
    labels
}

/// What a table says of its classes.
struct Known {
    form: &'static str,
    names: BTreeMap<i64, String>,
    groups: Groups,
}

/// Where the group of a class comes from.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Groups {
    None,
    /// What stands before the first slash of the name.
    Path,
    /// The coarse class of CIFAR-100, by the label.
    Cifar,
}

impl Known {
    fn of(table: &Table, distinct: &[i64], shape: [usize; 3]) -> Result<Self, Error> {
        let known = |form, names, groups| Ok(Self { form, names, groups });
        if let Some(value) = table.first(&["catname2label", "label2catname"])? {
            return known("category pickle", names::unique(value.names()?), Groups::None);
        }
        if let Some(value) = table.get("label_str")? {
            return known("Omniglot pickle", names::unique(rotations(value.names()?)), Groups::Path);
        }
        if shape == [3, 32, 32] && split_of_fine(distinct).is_some() {
            let name = |&label: &i64| Some((label, FINE.get(usize::try_from(label).ok()?)?.0.to_owned()));
            return known("CIFAR few-shot pickle", distinct.iter().filter_map(name).collect(), Groups::Cifar);
        }
        known("images and labels", BTreeMap::new(), Groups::None)
    }

    /// Name and group of a class.
    fn class(&self, label: i64) -> (String, String) {
        let name = names::named(&self.names, label);
        let group = match self.groups {
            Groups::None => String::new(),
            Groups::Path => name.split_once('/').map_or(String::new(), |(group, _)| group.to_owned()),
            Groups::Cifar => {
                let fine = usize::try_from(label).ok().and_then(|label| FINE.get(label));
                fine.and_then(|fine| COARSE.get(usize::from(fine.1))).map_or(String::new(), |&group| group.to_owned())
            }
        };
        (name, group)
    }
}

/// Names such as `Greek/character01_0` as this crate names rotations. That code rotates before it
/// numbers, by 90 degrees anticlockwise each time: 0 stands for 90 degrees, 3 for none. Other names stay.
fn rotations(names: BTreeMap<i64, String>) -> BTreeMap<i64, String> {
    const TURNED: [(&str, &str); 4] = [("_0", "/rot090"), ("_1", "/rot180"), ("_2", "/rot270"), ("_3", "/rot000")];
    let turned = |name: &String| {
        let (end, turn) = TURNED.iter().find(|(end, _)| name.ends_with(end))?;
        Some(format!("{}{turn}", name.strip_suffix(end)?))
    };
    let all: Option<BTreeMap<_, _>> = names.iter().map(|(&label, name)| Some((label, turned(name)?))).collect();
    all.unwrap_or(names)
}

/// The split, by the file's name and by the labels, and what is odd about it.
fn split(table: &Table, known: &Known, distinct: &[i64]) -> (Option<Split>, Vec<String>) {
    let path = table.path();
    let shown = path.display();
    if names::is_held_out(path) {
        let problem =
            format!("{shown}: further images of the classes for training; of no use for episodes of new classes");
        return (None, vec![problem]);
    }
    let named = names::split_of(path);
    let found = match known.form {
        // All of 0 to 63 are needed to say so: another dataset may number its classes from 0 in each file.
        "category pickle" => names::mini_split_of(distinct)
            .filter(|split| distinct.len() == [64, 16, 20][*split as usize] || *split != Split::Train),
        "CIFAR few-shot pickle" => split_of_fine(distinct),
        _ => None,
    };
    match (named, found) {
        (Some(named), Some(found)) if named != found => {
            let problem = format!("{shown}: the name says {named}, but its labels are those of the {found} classes");
            (Some(named), vec![problem])
        }
        _ => (named.or(found), Vec::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rotations_are_named_as_in_this_crate() {
        let names = |names: [&str; 2]| (0..).zip(names.map(str::to_owned)).collect::<BTreeMap<i64, _>>();
        let turned = rotations(names(["Greek/character01_0", "Greek/character01_3"]));
        assert_eq!(turned, names(["Greek/character01/rot090", "Greek/character01/rot000"]));
        // One name without a rotation, and the numbers are part of the names.
        let plain = names(["Greek/character01_0", "Greek/character02"]);
        assert_eq!(rotations(plain.clone()), plain);
    }
}
