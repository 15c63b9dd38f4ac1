//! The disk, as far as it can be full.
//!
//! Does not know: what is written.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

/// What a download asks of the disk; tests put a small one in its place.
pub(super) trait Disk: Send + Sync {
    /// Bytes that can still be written in a directory, where the system tells.
    fn free(&self, directory: &Path) -> Option<u64>;

    /// Writes all these bytes.
    fn write(&self, file: &mut File, bytes: &[u8]) -> io::Result<()>;
}

/// The disk of this system.
#[derive(Debug)]
pub(super) struct System;

impl Disk for System {
    #[cfg(unix)]
    fn free(&self, directory: &Path) -> Option<u64> {
        let about = rustix::fs::statvfs(directory).ok()?;
        about.f_bavail.checked_mul(about.f_frsize)
    }

    #[cfg(not(unix))]
    fn free(&self, _: &Path) -> Option<u64> {
        None
    }

    fn write(&self, file: &mut File, bytes: &[u8]) -> io::Result<()> {
        file.write_all(bytes)
    }
}

/// Whether an error says that the disk, or the user's share of it, is full.
pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
