//! The forms that are arrays: pickles, numpy's archives, HDF5. Each is recognised by what is in it;
//! file names only tell the split where the content does not.
//!
//! Does not know: image files, directories of images.

mod cifar100;
mod cifar_classes;
mod directory;
mod hdf5;
mod labelled;
mod mini;
mod names;
mod table;
#[cfg(test)]
mod tests;
mod tiered;

use std::path::Path;

pub(crate) use cifar_classes::{cifar_fs_part, fc100_part};
use table::Table;

use crate::index::IndexedSet;
use crate::npy::{self, Npz};
use crate::pickle::{self, Pickle};
use crate::{Error, Limits, mapped};

pub(crate) use directory::read_directory;

/// What was found: the form in words, the sets, and what is odd about them. A file that is only part
/// of a dataset, such as labels, has no sets and a sentence that says what it is.
pub(crate) type Found = (&'static str, Vec<IndexedSet>, Vec<String>);

/// What a file is, by its first bytes.
enum Container {
    Pickle,
    OldPickle,
    Zip,
    Npy,
    Hdf5,
    Page,
    Other,
}

fn container(start: &[u8]) -> Container {
    match start {
        _ if pickle::is_pickle(start) => Container::Pickle,
        _ if pickle::is_old_pickle(start) => Container::OldPickle,
        _ if npy::is_npy(start) => Container::Npy,
        _ if hdf5::is_hdf5(start) => Container::Hdf5,
        _ if start.starts_with(b"PK") => Container::Zip,
        // A byte order mark or blank lines may come first.
        _ if is_page(start) => Container::Page,
        _ => Container::Other,
    }
}

fn is_page(start: &[u8]) -> bool {
    let start = start.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(start);
    start.trim_ascii_start().starts_with(b"<")
}

/// Reads a file of arrays. `None` for a file of another kind, such as an image or a zip archive of
/// images.
///
/// # Errors
/// [`Error::WebPage`]; [`Error::Unrecognised`] for arrays that are no dataset; [`Error::Pickle`],
/// [`Error::ForbiddenGlobal`], [`Error::Malformed`], [`Error::MissingPart`], [`Error::TooLarge`],
/// [`Error::DamagedArchive`], [`Error::DamagedEntry`], [`Error::Missing`], [`Error::Io`].
pub(crate) fn read_file(path: &Path, limits: Limits) -> Result<Option<Found>, Error> {
    let bytes = mapped::map(path)?;
    let all: &[u8] = (*bytes).as_ref();
    match container(all.get(..all.len().min(512)).unwrap_or_default()) {
        Container::Page => Err(Error::WebPage { path: path.to_owned() }),
        Container::Hdf5 => hdf5::read(path, bytes, limits).map(Some),
        Container::Npy => {
            let range = 0..all.len();
            let array = npy::parse(path, "header", bytes.clone(), range)?;
            let found = format!("one array of {}, without labels", array.describe());
            Err(Error::Unrecognised { path: path.to_owned(), found })
        }
        // Opens it once more: files are mapped, which costs nothing.
        _ => match open_table(path, limits)? {
            Some(table) => read_table(&table, limits).map(Some),
            None => Ok(None),
        },
    }
}

/// A file of named values: a pickle or an archive of arrays. `None` for anything else.
fn open_table(path: &Path, limits: Limits) -> Result<Option<Table>, Error> {
    let bytes = mapped::map(path)?;
    let all: &[u8] = (*bytes).as_ref();
    match container(all.get(..all.len().min(512)).unwrap_or_default()) {
        // Of an old one the reader says what is wrong with it.
        Container::Pickle | Container::OldPickle => Pickle::read(path, bytes).map(Table::Pickle).map(Some),
        Container::Zip => {
            let npz = Npz::open(path)?;
            Ok(npz.map(|npz| Table::Npz(Box::new(npz), path.to_owned(), limits)))
        }
        _ => Ok(None),
    }
}

fn read_table(table: &Table, limits: Limits) -> Result<Found, Error> {
    if let Some(set) = mini::read(table)? {
        return Ok(("miniImageNet cache", vec![set], Vec::new()));
    }
    if let Some(found) = cifar100::read(table, limits)? {
        return Ok(found);
    }
    if let Some(found) = labelled::read(table)? {
        return Ok(found);
    }
    if let Some(found) = tiered::read_archive(table, limits)? {
        return Ok(found);
    }
    if let Table::Pickle(pickle) = table
        && let Some(found) = tiered::read_list(pickle, limits)?
    {
        return Ok(found);
    }
    if let Some(found) = tiered::labels_alone(table)? {
        return Ok(found);
    }
    Err(Error::Unrecognised { path: table.path().to_owned(), found: table.describe() })
}
