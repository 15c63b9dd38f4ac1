//! The caches of miniImageNet: a pickle of `image_data` and, by class, the rows of it.
//!
//! Written by the code of "Meta-Learning for Semi-Supervised Few-Shot Classification" (Ren et al.
//! 2018) and downloaded by learn2learn.
//!
//! Does not know: pickles.

use std::path::Path;
use std::sync::Arc;

use super::names;
use super::table::{Table, Value};
use crate::index::{Images, IndexedClass, IndexedSet};
use crate::pickle::{Id, Pickle};
use crate::{Error, Pixels};

/// `None` where the keys are others.
pub(super) fn read(table: &Table) -> Result<Option<IndexedSet>, Error> {
    let (Some(data), Some(rows)) = (table.get("image_data")?, table.get("class_dict")?) else {
        return Ok(None);
    };
    let (pixels, shape) = data.images()?;
    let images = pixels.bytes().len() / shape.iter().product::<usize>().max(1);
    let classes = classes(table.path(), &rows, images, |rows| Images::Rows { pixels: picked(&pixels, rows), shape })?;
    Ok(Some(IndexedSet { split: names::split_of(table.path()), path: table.path().to_owned(), classes }))
}

fn picked(pixels: &Pixels, rows: Vec<u32>) -> Pixels {
    pixels.clone().with_rows(Arc::<[u32]>::from(rows))
}

fn classes(
    path: &Path,
    value: &Value<'_>,
    images: usize,
    class: impl Fn(Vec<u32>) -> Images,
) -> Result<Vec<IndexedClass>, Error> {
    let (pickle, entries) = value
        .pickled()
        .and_then(|(pickle, id)| Some((pickle, pickle.entries(id)?)))
        .ok_or_else(|| value.fail(format!("{}; expected lists of rows by class", value.describe())))?;
    let mut taken = vec![false; images];
    let mut classes = Vec::new();
    for (key, rows) in entries {
        let name = pickle.text(key).map(str::to_owned).or_else(|| pickle.int(key).map(names::numbered));
        let name = name.ok_or_else(|| value.fail("a class whose name is neither text nor a number"))?;
        let rows = take_rows(path, pickle, rows, &name, &mut taken)?;
        classes.push(IndexedClass { name, group: String::new(), images: class(rows) });
    }
    if classes.is_empty() {
        return Err(value.fail("no classes; expected at least one"));
    }
    // The order of a dictionary of Python 2 is arbitrary.
    classes.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(classes)
}

/// The rows of a class, each of them within the array and in no class before.
fn take_rows(path: &Path, pickle: &Pickle, id: Id, name: &str, taken: &mut [bool]) -> Result<Vec<u32>, Error> {
    let failed = |problem: String| Error::malformed(path, format!("class_dict, class {name}"), problem);
    let images = taken.len();
    let mut rows = Vec::new();
    let mut take = |row: Option<i64>| {
        let place = row.and_then(|row| usize::try_from(row).ok()).filter(|&row| row < images);
        let place = place.ok_or_else(|| match row {
            Some(row) => failed(format!("row {row}; image_data has {images}")),
            None => failed("a row that is not a whole number".to_owned()),
        })?;
        if std::mem::replace(&mut taken[place], true) {
            return Err(failed(format!("row {place} belongs to two classes, or twice to this one")));
        }
        rows.push(u32::try_from(place).map_err(|_| failed(format!("row {place}; expected below 2^32")))?);
        Ok(())
    };
    if let Some((start, count, step)) = pickle.range(id) {
        // Ends at the first row out of range or taken twice, so at the latest after all images.
        (0..count).try_for_each(|i| {
            let row = i128::from(start) + i128::from(i) * i128::from(step);
            take(i64::try_from(row).ok())
        })?;
    } else if let Some(items) = pickle.sequence(id) {
        items.iter().try_for_each(|&item| take(pickle.int(item)))?;
    } else if let Some(array) = pickle.array(id, "class_dict")? {
        array.ints().map_err(failed)?.into_iter().try_for_each(|row| take(Some(row)))?;
    } else {
        return Err(failed(format!("{}; expected a list of rows", pickle.describe(id))));
    }
    if rows.is_empty() {
        return Err(failed("no rows; expected at least one".to_owned()));
    }
    Ok(rows)
}
