//! A lock on a file that is being fetched, so that two processes do not write one part together.
//!
//! The lock is the system's own on a file `.NAME.lock`, which ends with the process that holds it:
//! a lock file left behind by a crash blocks nobody. Where the file system knows no locks there is
//! none.
//!
//! Does not know: what is done under it.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::stamp::beside;
use crate::Error;

/// Held until dropped, which removes the lock file too.
#[derive(Debug)]
pub(super) struct Lock {
    path: PathBuf,
    // Removed first and let go afterwards: whoever waits for it sees that it is no longer there.
    _file: File,
}

impl Lock {
    /// Takes the lock of a file, waiting for up to `patience`. `wait` is called every now and then
    /// while another holds it, and can end the waiting.
    pub(super) fn take(
        target: &Path,
        patience: Duration,
        mut wait: impl FnMut() -> Result<(), Error>,
    ) -> Result<Self, Error> {
        let path = beside(target, "lock");
        let failed = |cause| Error::Io { path: path.clone(), action: "lock", cause };
        let start = Instant::now();
        loop {
            let file = open(&path).map_err(failed)?;
            match file.try_lock() {
                Ok(()) if is_at(&file, &path) => return Ok(Self { path, _file: file }),
                // Its holder removed it meanwhile.
                Ok(()) => continue,
                Err(TryLockError::WouldBlock) => (),
                Err(TryLockError::Error(e)) if e.kind() == io::ErrorKind::Unsupported => {
                    return Ok(Self { path, _file: file });
                }
                Err(TryLockError::Error(cause)) => return Err(failed(cause)),
            }
            if start.elapsed() >= patience {
                return Err(Error::Locked { path: target.to_owned(), lock: path, seconds: patience.as_secs() });
            }
            wait()?;
            std::thread::sleep(Duration::from_millis(100).min(patience));
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        fs::remove_file(&self.path).ok();
    }
}

fn open(path: &Path) -> io::Result<File> {
    no_link(path)?;
    OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)
}

/// An error where the path is a symbolic link: writing would change a file elsewhere.
pub(super) fn no_link(path: &Path) -> io::Result<()> {
    match path.symlink_metadata().is_ok_and(|about| about.is_symlink()) {
        true => Err(io::Error::other("it is a symbolic link; remove it")),
        false => Ok(()),
    }
}

/// Whether the open file is still the one at the path.
#[cfg(unix)]
fn is_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let id = |about: io::Result<fs::Metadata>| about.ok().map(|about| (about.dev(), about.ino()));
    let here = id(file.metadata());
    here.is_some() && here == id(path.metadata())
}

/// Elsewhere an open file cannot be replaced by another of its name.
#[cfg(not(unix))]
fn is_at(_: &File, _: &Path) -> bool {
    true
}
