//! Files that appear whole or not at all.
//!
//! Does not know: what is in them.

use std::fs::{self, OpenOptions};
use std::io::{Error, Write};
use std::path::{Path, PathBuf};

use crate::failure::Failure;

/// Checks that a file could be written here, so that hours of work do not end in a mistyped folder. `-` is standard output.
///
/// # Errors
///
/// [`Failure::Usage`].
pub fn check_file(path: &Path) -> Result<(), Failure> {
    let refuse = |problem: &str| Err(Failure::usage(format!("{}: {problem}", path.display())));
    if path == Path::new("-") || is_special(path) {
        return Ok(());
    }
    if path.is_dir() {
        return refuse("is a directory; expected the name of a file");
    }
    if path.file_name().is_none() {
        return refuse("is not the name of a file");
    }
    let parent = parent(path);
    if !parent.is_dir() {
        return refuse("cannot be written: its directory does not exist");
    }
    try_writing_in(parent)
}

/// Checks that a directory exists or could be made, and that files could be written in it. Leaves nothing behind.
///
/// # Errors
///
/// [`Failure::Usage`].
pub fn check_directory(path: &Path) -> Result<(), Failure> {
    let there = path.ancestors().find(|ancestor| ancestor.exists() || ancestor.as_os_str().is_empty());
    let there = there.filter(|found| !found.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if there.is_dir() {
        try_writing_in(there)
    } else {
        Err(Failure::usage(format!("{}: {} is not a directory", path.display(), there.display())))
    }
}

fn try_writing_in(directory: &Path) -> Result<(), Failure> {
    let probe = directory.join(format!(".writable-{}", std::process::id()));
    let tried = fs::write(&probe, []).and_then(|()| fs::remove_file(&probe));
    tried.map_err(|cause| Failure::usage(format!("{}: cannot write here: {cause}", directory.display())))
}

/// Writes a file by `write` under another name beside its place, and then renames it.
///
/// # Errors
///
/// [`Failure::Failed`] naming the file; nothing is left behind.
pub fn write_with(path: &Path, write: impl FnOnce(&Path) -> Result<(), String>) -> Result<(), Failure> {
    // A link stays one: what it leads to is replaced.
    let path = &fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let temporary = temporary_beside(path);
    let written = write(&temporary).and_then(|()| fs::rename(&temporary, path).map_err(|cause| cause.to_string()));
    written.map_err(|cause| {
        let _ = fs::remove_file(&temporary);
        Failure::failed(format!("{}: cannot write: {cause}", path.display()))
    })
}

/// Writes text to a file, which appears whole or not at all.
///
/// # Errors
///
/// As [`write_with`].
pub fn write(path: &Path, text: &str) -> Result<(), Failure> {
    if is_special(path) {
        let write = || OpenOptions::new().write(true).open(path)?.write_all(text.as_bytes());
        return write().map_err(|cause: Error| Failure::failed(format!("{}: cannot write: {cause}", path.display())));
    }
    write_with(path, |temporary| fs::write(temporary, text).map_err(|cause| cause.to_string()))
}

/// Whether this is a device or a pipe, which is written into and not replaced.
fn is_special(path: &Path) -> bool {
    path.metadata().is_ok_and(|found| !found.is_file() && !found.is_dir())
}

fn temporary_beside(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.{}.tmp", std::process::id()))
}

fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
