//! What a download tells while it runs, and how it is stopped.
//!
//! Does not know: how progress is shown.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::FetchedFile;

/// Something that happened to one file. Rates and times left are for whoever shows them.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A file that is there already, or a part of it, is read to see what it is.
    Hashing {
        /// Its name in the manifest.
        file: &'a str,
        /// Bytes read so far.
        done: u64,
        /// Bytes it has.
        total: u64,
    },
    /// A file that was found and is not the one wanted.
    Skipped {
        /// Its name in the manifest.
        file: &'a str,
        /// Where it lies.
        path: &'a std::path::Path,
        /// What is wrong with it.
        why: &'a str,
    },
    /// Another process is fetching the file.
    Waiting {
        /// Its name in the manifest.
        file: &'a str,
    },
    /// A mirror is asked for the file.
    Asking {
        /// Its name in the manifest.
        file: &'a str,
        /// The mirror.
        url: &'a str,
        /// Bytes that are there from an earlier run.
        done: u64,
    },
    /// Bytes came.
    Receiving {
        /// Its name in the manifest.
        file: &'a str,
        /// Bytes that are there by now.
        done: u64,
        /// Bytes it will have, where that is known.
        total: Option<u64>,
    },
    /// Something failed that may pass; the same mirror is asked again.
    Retrying {
        /// Its name in the manifest.
        file: &'a str,
        /// The mirror.
        url: &'a str,
        /// What failed.
        why: &'a str,
        /// How long is waited before.
        wait: Duration,
    },
    /// A mirror was given up.
    GaveUp {
        /// Its name in the manifest.
        file: &'a str,
        /// The mirror.
        url: &'a str,
        /// What failed.
        why: &'a str,
    },
    /// An archive is unpacked.
    Unpacking {
        /// Its name in the manifest.
        file: &'a str,
        /// Bytes written so far.
        done: u64,
    },
    /// The file is there.
    Finished {
        /// What became of it.
        file: &'a FetchedFile,
    },
}

/// Stops a download from another thread. Clones stop the same one.
///
/// What came so far is kept for the next run. A read that is waiting for the network ends first,
/// which takes as long as its timeout at most.
#[derive(Clone, Debug, Default)]
pub struct Cancel(Arc<AtomicBool>);

impl Cancel {
    /// Not cancelled.
    pub fn new() -> Self {
        Self::default()
    }

    /// Cancels.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether it was cancelled.
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
