//! Files that are there already.
//!
//! Does not know: downloads.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use super::digest::{Sums, Verified, check, hash};
use super::stamp;
use crate::{Error, ManifestFile};

/// What lies at a path.
pub(super) enum Found {
    /// Nothing.
    Nothing,
    /// The file of the manifest.
    Right(Sums, Verified),
    /// Something else; what differs.
    Wrong(String),
}

/// Looks whether the file of the manifest is at a path. A stamp saves reading it again where
/// `trust_stamp`; a file that had to be read gets one. `each` is told the bytes read and the size.
pub(super) fn look(
    path: &Path,
    file: &ManifestFile,
    trust_stamp: bool,
    mut each: impl FnMut(u64, u64) -> Result<(), Error>,
) -> Result<Found, Error> {
    let about = match fs::metadata(path) {
        Ok(about) => about,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Ok(match path.symlink_metadata() {
                Ok(_) => Found::Wrong("it is a symbolic link that leads nowhere".to_owned()),
                Err(_) => Found::Nothing,
            });
        }
        Err(cause) => return Err(Error::Io { path: path.to_owned(), action: "read", cause }),
    };
    if !about.is_file() {
        let what = if about.is_dir() { "a directory" } else { "no plain file" };
        return Ok(Found::Wrong(format!("it is {what}")));
    }
    if let Some(size) = file.size.filter(|&size| size != about.len()) {
        return Ok(Found::Wrong(format!("it has {} bytes; expected {size}", about.len())));
    }
    let stamped = stamp::read(path, &about).filter(|_| trust_stamp);
    let write_stamp = trust_stamp && stamped.is_none();
    let sums = match stamped {
        Some(sums) => sums,
        None => {
            let open = File::open(path).map_err(|cause| Error::Io { path: path.to_owned(), action: "read", cause });
            hash(&mut open?, path, |done| each(done, about.len()))?.finish()
        }
    };
    Ok(match check(file, &sums) {
        Ok(verified) => {
            if write_stamp {
                stamp::write(path, &about, &sums);
            }
            Found::Right(sums, verified)
        }
        Err(difference) => Found::Wrong(difference),
    })
}
