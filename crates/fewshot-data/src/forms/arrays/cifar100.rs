//! CIFAR-100 as published: pickles `train`, `test` and `meta` of Python 2.
//!
//! Source: <https://www.cs.toronto.edu/~kriz/cifar.html>. The files `train` and `test` hold 500 and
//! 100 images of the same 100 classes; FC100 and CIFAR-FS split classes, and use all 600 images.
//!
//! Does not know: pickles.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::cifar_classes::{COARSE, FINE};
use super::table::Table;
use super::{Found, names, open_table};
use crate::index::{IndexedSet, rows_by_label};
use crate::{Error, Limits, Pixels};

const SHAPE: [usize; 3] = [3, 32, 32];

/// Reads `train` or `test` together with what lies beside it; `None` for another table.
pub(super) fn read(table: &Table, limits: Limits) -> Result<Option<Found>, Error> {
    if table.get("fine_label_names")?.is_some() && table.get("data")?.is_none() {
        let problem = format!("{}: class names alone; the images are in train and test", table.path().display());
        return Ok(Some(("CIFAR-100 class names", Vec::new(), vec![problem])));
    }
    let Some(mut all) = Part::of(table)? else {
        return Ok(None);
    };
    let mut problems = Vec::new();
    match sibling(table.path(), "train", "test", limits)?.map_or(Ok(None), |other| Part::of(&other))? {
        // Always in the same order, whichever was asked for.
        Some(other) if is_called(table.path(), "test") => all = other.joined(all, table.path(), limits)?,
        Some(other) => all = all.joined(other, table.path(), limits)?,
        None => problems.push(format!(
            "{}: train or test alone; FC100 and CIFAR-FS use the images of both",
            table.path().display()
        )),
    }
    let meta = open_beside(table.path(), "meta", limits)?;
    let set = all.index(table.path(), meta.as_ref())?;
    Ok(Some(("CIFAR-100", vec![set], problems)))
}

/// Images and labels of one file or of both.
struct Part {
    pixels: Pixels,
    fine: Vec<i64>,
    coarse: Vec<i64>,
}

impl Part {
    fn of(table: &Table) -> Result<Option<Self>, Error> {
        let (Some(data), Some(fine)) = (table.get("data")?, table.get("fine_labels")?) else {
            return Ok(None);
        };
        let array = data.array()?.and_then(|array| Some((array.byte_rows(SHAPE.iter().product())?, array)));
        let (images, array) =
            array.ok_or_else(|| data.fail(format!("{}; expected uint8 of shape [n, 3072]", data.describe())))?;
        let fine_labels = fine.ints(images)?;
        let coarse = table.get("coarse_labels")?.map_or(Ok(Vec::new()), |coarse| coarse.ints(images))?;
        let wrong = fine_labels.len() != images || !(coarse.is_empty() || coarse.len() == images);
        if wrong || images == 0 {
            return Err(fine.fail(format!(
                "{} fine and {} coarse labels for {images} images; expected one for each",
                fine_labels.len(),
                coarse.len()
            )));
        }
        let (store, range) = array.place();
        let pixels = Pixels::shared(store, range)?;
        Ok(Some(Self { pixels, fine: fine_labels, coarse }))
    }

    /// Both parts as one array, which has to be a copy: 184 MB for the real files.
    fn joined(mut self, other: Self, path: &Path, limits: Limits) -> Result<Self, Error> {
        let bytes = self.pixels.bytes().len() as u64 + other.pixels.bytes().len() as u64;
        let size = limits.check(path, "train and test together", bytes, bytes)?;
        let mut all = Vec::with_capacity(size);
        all.extend_from_slice(self.pixels.bytes());
        all.extend_from_slice(other.pixels.bytes());
        self.fine.extend(other.fine);
        self.coarse.extend(other.coarse);
        Ok(Self { pixels: Pixels::shared(Arc::new(all), 0..size)?, ..self })
    }

    fn index(&self, path: &Path, meta: Option<&Table>) -> Result<IndexedSet, Error> {
        let name_table = |key| match meta.map(|meta| meta.get(key)).transpose()?.flatten() {
            Some(value) => value.names().map(Some),
            None => Ok(None),
        };
        let fine = name_table("fine_label_names")?
            .unwrap_or_else(|| (0..).zip(FINE.iter().map(|fine| fine.0.to_owned())).collect());
        let coarse = name_table("coarse_label_names")?
            .unwrap_or_else(|| (0..).zip(COARSE.iter().map(|&name| name.to_owned())).collect());
        let mut groups = BTreeMap::new();
        for (&class, &group) in self.fine.iter().zip(&self.coarse) {
            let first = *groups.entry(class).or_insert(group);
            if first != group {
                let problem = format!("class {class} has the coarse labels {first} and {group}; expected one");
                return Err(Error::malformed(path, "coarse_labels", problem));
            }
        }
        let class = |label| {
            let group = groups.get(&label).map_or(String::new(), |&group| names::named(&coarse, group));
            (names::named(&fine, label), group)
        };
        let classes = rows_by_label(path, &self.pixels, SHAPE, &self.fine, class)?;
        Ok(IndexedSet { split: None, path: path.parent().unwrap_or(path).to_owned(), classes })
    }
}

fn is_called(path: &Path, name: &str) -> bool {
    path.file_stem().is_some_and(|stem| stem == name)
}

/// The other one of two files.
fn sibling(path: &Path, first: &str, second: &str, limits: Limits) -> Result<Option<Table>, Error> {
    match (is_called(path, first), is_called(path, second)) {
        (true, _) => open_beside(path, second, limits),
        (_, true) => open_beside(path, first, limits),
        _ => Ok(None),
    }
}

fn open_beside(path: &Path, name: &str, limits: Limits) -> Result<Option<Table>, Error> {
    let other = path.with_file_name(name);
    if other.is_file() { open_table(&other, limits) } else { Ok(None) }
}
