//! tieredImageNet: a pickled list of PNG files or an archive of one array, and the labels in a
//! pickle of their own.
//!
//! Source: github.com/renmengye/few-shot-ssl-public. Its arrays of pixels were made with OpenCV, so
//! their channels are blue, green, red; its PNG files decode to red, green, blue.
//!
//! Does not know: image decoders.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::labelled::{IMAGES, LABELS};
use super::table::Table;
use super::{Found, names, open_table};
use crate::array::Array;
use crate::index::{Encoded, Images, IndexedClass, IndexedSet, rows_by_label};
use crate::pickle::Pickle;
use crate::{Error, Layout, Limits};

/// More labels than any dataset has: a `range` of a few bytes may claim to be any number of them.
const MOST_LABELS: usize = 1 << 26;

/// A pickled list of image files; `None` for another pickle.
pub(super) fn read_list(pickle: &Pickle, limits: Limits) -> Result<Option<Found>, Error> {
    let Some(items) = pickle.sequence(pickle.root()).filter(|items| !items.is_empty()) else {
        return Ok(None);
    };
    let file = |i: usize| {
        let array = pickle.array(items[i], "list")?;
        Ok::<_, Error>(array.filter(Array::is_byte_vector))
    };
    if file(0)?.is_none_or(|first| !is_image_file(first.data())) {
        return Ok(None);
    }
    let labels = Labels::beside(pickle.path(), items.len(), limits)?;
    let mut order: Vec<usize> = (0..items.len()).collect();
    // Stable, so that images keep their order within a class.
    order.sort_by_key(|&i| labels.specific[i]);
    let mut classes = Vec::new();
    for rows in order.chunk_by(|&a, &b| labels.specific[a] == labels.specific[b]) {
        let mut images = Vec::with_capacity(rows.len());
        for &row in rows {
            let array = file(row)?.ok_or_else(|| {
                let found = pickle.describe(items[row]);
                Error::malformed(
                    pickle.path(),
                    format!("image {row}"),
                    format!("{found}; expected the bytes of a PNG file"),
                )
            })?;
            let (store, range) = array.place();
            images.push(Encoded::Slice(store, range));
        }
        let (name, group) = labels.class(labels.specific[rows[0]]);
        classes.push(IndexedClass { name, group, images: Images::Encoded(images) });
    }
    let set = IndexedSet { split: names::split_of(pickle.path()), path: pickle.path().to_owned(), classes };
    Ok(Some(("tieredImageNet pickle", vec![set], labels.problem.into_iter().collect())))
}

/// An archive with images and no labels; `None` for another table.
pub(super) fn read_archive(table: &Table, limits: Limits) -> Result<Option<Found>, Error> {
    let Table::Npz(..) = table else {
        return Ok(None);
    };
    let (Some(images), None) = (table.get("images")?, table.first(&LABELS)?) else {
        return Ok(None);
    };
    let (pixels, shape) = images.images()?;
    let layout = if pixels.layout() == Layout::Interleaved { Layout::Reversed } else { pixels.layout() };
    let pixels = pixels.with_layout(layout);
    let count = pixels.bytes().len() / shape.iter().product::<usize>().max(1);
    let labels = Labels::beside(table.path(), count, limits)?;
    let classes = rows_by_label(table.path(), &pixels, shape, &labels.specific, |label| labels.class(label))?;
    let set = IndexedSet { split: names::split_of(table.path()), path: table.path().to_owned(), classes };
    Ok(Some(("tieredImageNet archive", vec![set], labels.problem.into_iter().collect())))
}

/// A table of labels alone, which is part of something else; `None` for another table.
pub(super) fn labels_alone(table: &Table) -> Result<Option<Found>, Error> {
    if Labels::of(table, MOST_LABELS)?.is_none() {
        return Ok(None);
    }
    let problem = format!("{}: labels alone; the images they belong to are in another file", table.path().display());
    Ok(Some(("labels without images", Vec::new(), vec![problem])))
}

fn is_image_file(bytes: &[u8]) -> bool {
    bytes.starts_with(b"\x89PNG\r\n\x1a\n") || bytes.starts_with(b"\xFF\xD8\xFF")
}

/// A class for each image, and a category for each class.
struct Labels {
    specific: Vec<i64>,
    names: BTreeMap<i64, String>,
    /// Category of each class.
    groups: BTreeMap<i64, String>,
    problem: Option<String>,
}

impl Labels {
    /// Name and category of a class.
    fn class(&self, label: i64) -> (String, String) {
        (names::named(&self.names, label), self.groups.get(&label).cloned().unwrap_or_default())
    }

    /// The labels of a table that has no images.
    fn of(table: &Table, at_most: usize) -> Result<Option<Self>, Error> {
        let keys = [&["label_specific"][..], &LABELS[..]].concat();
        let Some(value) = table.first(&keys)? else {
            return Ok(None);
        };
        if table.first(&IMAGES)?.is_some() {
            return Ok(None);
        }
        let specific = value.ints(at_most)?;
        let names = table.get("label_specific_str")?.map_or(Ok(BTreeMap::new()), |value| value.names())?;
        let names = names::unique(names);
        let (groups, problem) = Self::groups(table, &specific)?;
        Ok(Some(Self { specific, names, groups, problem }))
    }

    /// The category of each class, or why they are left out.
    ///
    /// The code that wrote the files numbers a category by how many there are so far, also where the
    /// category is not new. After the last new one all classes get a number that no category has, which
    /// gives it away; those before are wrong as well.
    fn groups(table: &Table, specific: &[i64]) -> Result<(BTreeMap<i64, String>, Option<String>), Error> {
        let Some(value) = table.get("label_general")? else {
            return Ok((BTreeMap::new(), None));
        };
        let general = value.ints(specific.len())?;
        let groups = groups(specific, &general).map_err(|problem| value.fail(problem))?;
        let Some(names) = table.get("label_general_str")? else {
            let numbered = groups.into_iter().map(|(class, group)| (class, format!("category{group:03}")));
            return Ok((numbered.collect(), None));
        };
        let names = names.names()?;
        let name = |(class, group): (i64, i64)| Some((class, names.get(&group)?.clone()));
        let beyond = groups.values().filter(|group| !names.contains_key(group)).count();
        match groups.into_iter().map(name).collect() {
            Some(groups) => Ok((groups, None)),
            None => {
                let path = table.path().display();
                let problem = format!(
                    "{path}: label_general numbers {beyond} classes beyond the {} categories, an error of the code \
                     that wrote it; categories are left out",
                    names.len()
                );
                Ok((BTreeMap::new(), Some(problem)))
            }
        }
    }

    /// The labels in the same directory that fit so many images.
    fn beside(path: &Path, images: usize, limits: Limits) -> Result<Self, Error> {
        let mut other = None;
        for candidate in candidates(path)? {
            let labels = open_table(&candidate, limits)?.map_or(Ok(None), |table| Self::of(&table, MOST_LABELS))?;
            match labels {
                Some(labels) if labels.specific.len() == images => return Ok(labels),
                Some(labels) => other = Some((candidate, labels.specific.len())),
                None => {}
            }
        }
        let found = other.map_or("none beside it".to_owned(), |(path, labels)| {
            format!("{labels} labels in {} for {images} images", path.display())
        });
        let wanted = "labels (a pickle such as val_labels.pkl in the same directory)".to_owned();
        Err(Error::MissingPart { path: path.to_owned(), wanted, found })
    }
}

/// Files in the same directory that may hold the labels of images: those called so, of the same split.
fn candidates(path: &Path) -> Result<Vec<PathBuf>, Error> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let entries = std::fs::read_dir(directory).map_err(|cause| Error::reading(directory, cause))?;
    let mut found: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    let called_labels = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
        name.contains("label") && path.is_file()
    };
    found.retain(|other| called_labels(other) && other != path && names::split_of(other) == names::split_of(path));
    // The order of a directory is arbitrary.
    found.sort();
    Ok(found)
}

/// The category of each class, which must be the same for all of its images.
fn groups(specific: &[i64], general: &[i64]) -> Result<BTreeMap<i64, i64>, String> {
    if specific.len() != general.len() {
        return Err(format!("{} categories for {} labels; expected one for each", general.len(), specific.len()));
    }
    let mut groups = BTreeMap::new();
    for (&class, &group) in specific.iter().zip(general) {
        let first = *groups.entry(class).or_insert(group);
        if first != group {
            return Err(format!("class {class} is in the categories {first} and {group}; expected one"));
        }
    }
    Ok(groups)
}
