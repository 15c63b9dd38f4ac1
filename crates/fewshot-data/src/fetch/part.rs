//! The part of a file that came so far: `NAME.part`, and `.NAME.part.json` on where it came from.
//!
//! Does not know: HTTP, checksums of the manifest.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::digest::{Digests, Sums, hash};
use super::disk::Disk;
use super::lock::no_link;
use super::stamp::beside;
use crate::Error;

const VERSION: u32 = 1;

/// Where a part came from, and which version of the file it is a part of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Origin {
    schema_version: u32,
    pub(super) url: String,
    /// What the server calls this version of the file, for `If-Range`: an entity tag or a date.
    pub(super) version: Option<String>,
}

impl Origin {
    pub(super) fn new(url: &str, version: Option<String>) -> Self {
        Self { schema_version: VERSION, url: url.to_owned(), version }
    }
}

/// The places of a part.
#[derive(Clone, Debug)]
pub(super) struct Part {
    target: PathBuf,
    path: PathBuf,
    origin: PathBuf,
}

/// A part that is open for writing, with the sums of what it holds.
pub(super) struct Open {
    part: Part,
    file: File,
    digests: Digests,
}

impl Part {
    pub(super) fn of(target: &Path) -> Self {
        let name = target.file_name().unwrap_or_default().to_string_lossy();
        let path = target.with_file_name(format!("{name}.part"));
        Self { target: target.to_owned(), path, origin: beside(target, "part.json") }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// How long the part is; 0 where there is none.
    pub(super) fn bytes(&self) -> u64 {
        fs::symlink_metadata(&self.path).map_or(0, |about| about.len())
    }

    pub(super) fn origin(&self) -> Option<Origin> {
        let origin: Origin = serde_json::from_slice(&fs::read(&self.origin).ok()?).ok()?;
        (origin.schema_version == VERSION).then_some(origin)
    }

    /// Removes the part; a link in its place is left to whoever made it.
    pub(super) fn discard(&self) {
        if no_link(&self.path).is_ok() {
            fs::remove_file(&self.path).ok();
        }
        fs::remove_file(&self.origin).ok();
    }

    /// A new, empty part in place of any that was there.
    pub(super) fn create(&self, origin: &Origin) -> io::Result<Open> {
        no_link(&self.path)?;
        self.discard();
        fs::write(&self.origin, serde_json::to_vec(origin)?)?;
        let file = OpenOptions::new().write(true).create_new(true).open(&self.path)?;
        Ok(Open { part: self.clone(), file, digests: Digests::default() })
    }

    /// The part that is there, read once to have its sums.
    pub(super) fn resume(&self, each: impl FnMut(u64) -> Result<(), Error>) -> Result<Open, Error> {
        let failed = |cause| Error::Io { path: self.path.clone(), action: "read", cause };
        no_link(&self.path).map_err(failed)?;
        let mut file = OpenOptions::new().read(true).append(true).open(&self.path).map_err(failed)?;
        let digests = hash(&mut file, &self.path, each)?;
        Ok(Open { part: self.clone(), file, digests })
    }
}

impl Open {
    pub(super) fn bytes(&self) -> u64 {
        self.digests.bytes()
    }

    pub(super) fn append(&mut self, disk: &dyn Disk, bytes: &[u8]) -> io::Result<()> {
        // What a failing write left half done is cut off, or a resumed part would have it twice.
        if let Err(error) = disk.write(&mut self.file, bytes) {
            self.file.set_len(self.digests.bytes()).ok();
            return Err(error);
        }
        self.digests.update(bytes);
        Ok(())
    }

    pub(super) fn sums(&self) -> Sums {
        self.digests.clone().finish()
    }

    /// Makes the part the file: it is on the disk before it has its name.
    pub(super) fn finish(self) -> io::Result<()> {
        self.file.sync_all()?;
        let Part { target, path, origin } = &self.part;
        fs::rename(path, target)?;
        fs::remove_file(origin).ok();
        sync_directory(target);
        Ok(())
    }
}

/// Makes a rename last. Not every system can open a directory for that, and none needs to.
fn sync_directory(target: &Path) {
    if let Some(Ok(directory)) = target.parent().map(File::open) {
        directory.sync_all().ok();
    }
}
