//! Stamps: what a file was when it was last hashed, so that 13 GB are not hashed at every run.
//!
//! The stamp of `a.zip` is `.a.zip.verified` beside it. It counts for as long as size and time of
//! the file's last change are the same.
//!
//! Does not know: what the checksums should be.

use std::fs::{self, Metadata};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};

use super::digest::Sums;

const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
struct Stamp {
    schema_version: u32,
    size: u64,
    /// Nanoseconds since 1970, as text: JSON numbers end before they do.
    modified: String,
    md5: String,
    sha256: String,
}

/// A hidden file beside `path`: `.NAME.ENDING`.
pub(super) fn beside(path: &Path, ending: &str) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.{ending}"))
}

/// The sums of a file, where a stamp tells them and the file has not changed since.
pub(super) fn read(path: &Path, about: &Metadata) -> Option<Sums> {
    let stamp: Stamp = serde_json::from_slice(&fs::read(beside(path, "verified")).ok()?).ok()?;
    let same = stamp.schema_version == VERSION && stamp.size == about.len() && stamp.modified == modified(about)?;
    same.then_some(Sums { bytes: stamp.size, md5: stamp.md5, sha256: stamp.sha256 })
}

/// Leaves a stamp. Where that is not possible, as in a directory of another user, the file is
/// hashed again next time.
pub(super) fn write(path: &Path, about: &Metadata, sums: &Sums) {
    let Some(modified) = modified(about) else { return };
    let (md5, sha256) = (sums.md5.clone(), sums.sha256.clone());
    let stamp = Stamp { schema_version: VERSION, size: sums.bytes, modified, md5, sha256 };
    let Ok(mut text) = serde_json::to_vec(&stamp) else { return };
    text.push(b'\n');
    let (place, new) = (beside(path, "verified"), beside(path, &format!("verified-{}", std::process::id())));
    if fs::write(&new, &text).and_then(|()| fs::rename(&new, &place)).is_err() {
        fs::remove_file(&new).ok();
    }
}

fn modified(about: &Metadata) -> Option<String> {
    let since = about.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
    Some(since.as_nanos().to_string())
}
