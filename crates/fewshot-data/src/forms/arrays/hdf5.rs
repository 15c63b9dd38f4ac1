//! HDF5 files of torchmeta: groups with one dataset for each class.
//!
//! Source: github.com/tristandeleu/pytorch-meta. Classes of miniImageNet and tieredImageNet are in the
//! group `datasets`, those of Omniglot in a group for each alphabet; images are an array of bytes, or
//! PNG files in variable-length arrays.
//!
//! Does not know: how HDF5 is laid out (`reader.rs`).

use std::path::Path;

use super::Found;
use crate::mapped::SharedBytes;
use crate::{Error, Limits};

#[cfg(feature = "hdf5")]
mod heap;
#[cfg(feature = "hdf5")]
mod reader;

/// Whether a file begins as HDF5 does.
pub(super) fn is_hdf5(start: &[u8]) -> bool {
    start.starts_with(b"\x89HDF\r\n\x1a\n")
}

#[cfg(feature = "hdf5")]
pub(super) fn read(path: &Path, bytes: SharedBytes, limits: Limits) -> Result<Found, Error> {
    use super::names;
    use crate::index::IndexedSet;

    let classes = reader::classes(path, bytes, limits)?;
    let set = IndexedSet { split: names::split_of(path), path: path.to_owned(), classes };
    Ok(("torchmeta HDF5", vec![set], Vec::new()))
}

#[cfg(not(feature = "hdf5"))]
pub(super) fn read(path: &Path, _bytes: SharedBytes, _limits: Limits) -> Result<Found, Error> {
    let found = "an HDF5 file, which this program was built without; the feature hdf5 reads it".to_owned();
    Err(Error::Unrecognised { path: path.to_owned(), found })
}
