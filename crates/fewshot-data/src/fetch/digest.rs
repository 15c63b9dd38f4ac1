//! Checksums of files, and whether they are those of the manifest.
//!
//! Does not know: downloads, stamps.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use md5::Md5;
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::{Error, ManifestFile};

/// How much is read, hashed and written at once.
pub(super) const CHUNK: usize = 256 << 10;

/// By what a file was found to be the right one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Verified {
    /// The checksum of the manifest.
    Checksum,
    /// The checksum of a file of this name that was published elsewhere.
    ChecksumElsewhere,
    /// Its size alone.
    Size,
    /// Nothing: the manifest has neither checksum nor size.
    Nothing,
    /// Nothing, and its checksum is another than that of the file of this name published elsewhere.
    UnlikeElsewhere,
}

/// What was counted over all bytes of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sums {
    pub(super) bytes: u64,
    pub(super) md5: String,
    pub(super) sha256: String,
}

/// Sums in the making.
#[derive(Clone, Default)]
pub(super) struct Digests {
    bytes: u64,
    md5: Md5,
    sha256: Sha256,
}

impl Digests {
    pub(super) fn update(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        self.md5.update(bytes);
        self.sha256.update(bytes);
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn finish(self) -> Sums {
        let hex = |digest: &[u8]| digest.iter().map(|byte| format!("{byte:02x}")).collect();
        Sums { bytes: self.bytes, md5: hex(&self.md5.finalize()), sha256: hex(&self.sha256.finalize()) }
    }
}

/// Hashes the rest of a file. `each` is told how much was read so far, and can stop it.
pub(super) fn hash(
    file: &mut File,
    path: &Path,
    mut each: impl FnMut(u64) -> Result<(), Error>,
) -> Result<Digests, Error> {
    let mut digests = Digests::default();
    let mut buffer = vec![0; CHUNK];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(digests),
            Ok(read) => digests.update(&buffer[..read]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(cause) => return Err(Error::Io { path: path.to_owned(), action: "read", cause }),
        }
        each(digests.bytes)?;
    }
}

/// Whether these are the sums of this file; otherwise what differs.
pub(super) fn check(file: &ManifestFile, sums: &Sums) -> Result<Verified, String> {
    let differs = |what, found: &str, expected: &str| Err(format!("{what} is {found}; expected {expected}"));
    match file.size {
        Some(size) if size != sums.bytes => return Err(format!("it has {} bytes; expected {size}", sums.bytes)),
        _ => (),
    }
    match (&file.sha256, &file.md5) {
        (Some(expected), _) if *expected != sums.sha256 => differs("the sha256", &sums.sha256, expected),
        (_, Some(expected)) if *expected != sums.md5 => differs("the md5", &sums.md5, expected),
        (None, None) => Ok(match (&file.md5_elsewhere, file.size) {
            (Some(elsewhere), _) if *elsewhere == sums.md5 => Verified::ChecksumElsewhere,
            (Some(_), _) => Verified::UnlikeElsewhere,
            (None, Some(_)) => Verified::Size,
            (None, None) => Verified::Nothing,
        }),
        _ => Ok(Verified::Checksum),
    }
}
