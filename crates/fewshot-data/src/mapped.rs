//! Files mapped into memory.
//!
//! The one place in this crate with unsafe code: a mapped file is a slice only as long as nobody
//! changes it underneath.
//!
//! Does not know: what is in a file.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;

use memmap2::Mmap;

use crate::Error;

/// Bytes that several datasets share: a mapped file, or a vector.
pub type SharedBytes = Arc<dyn AsRef<[u8]> + Send + Sync>;

/// Maps a file. Pages are read when they are first touched, and the system may drop them again, so
/// a mapped file of any size costs no memory of its own.
///
/// # Errors
/// [`Error::Missing`], [`Error::Io`] (also for a directory).
pub(crate) fn map(path: &Path) -> Result<SharedBytes, Error> {
    let failed = |cause| Error::reading(path, cause);
    let file = File::open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    if metadata.is_dir() {
        return Err(failed(io::ErrorKind::IsADirectory.into()));
    }
    if metadata.len() == 0 {
        // Some systems refuse to map nothing.
        return Ok(Arc::new(Vec::new()));
    }
    // SAFETY: the slice is sound while the file keeps its length and bytes. Datasets are files that
    // are written once; the store of this crate replaces its files by renaming and never writes into
    // one that is there. A process that cuts a mapped file short ends this one with a bus error, as
    // it does for every program that maps files; `fewshot-data`'s documentation says so.
    let mapped = unsafe { Mmap::map(&file) }.map_err(failed)?;
    Ok(Arc::new(mapped))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_mapped_as_they_are() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("data");
        for content in [vec![], vec![7u8; 10_000]] {
            std::fs::write(&path, &content).unwrap();
            let mapped = map(&path).unwrap();
            assert_eq!((*mapped).as_ref(), content);
        }
    }

    #[test]
    fn what_cannot_be_mapped_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let error = |path: &Path| map(path).err().map(|e| e.to_string()).unwrap_or_default();
        assert!(error(directory.path()).contains("cannot read"), "{}", error(directory.path()));
        assert!(error(&directory.path().join("none")).ends_with("no such file or directory"));
    }
}
