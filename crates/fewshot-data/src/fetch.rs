//! Downloads: the files of a manifest, whole and verified, or an error that says what each mirror said.
//!
//! A file goes to `NAME.part` first and gets its name once its checksum is right and its bytes are on
//! the disk. What was interrupted goes on where it stopped, also in a later run. Files that are there
//! already are verified instead; a hidden stamp beside each spares reading it every time.
//!
//! Does not know: what the files hold, how progress is shown.

mod digest;
mod disk;
mod download;
mod event;
mod find;
mod http;
mod lock;
mod part;
mod stamp;
#[cfg(test)]
mod tests;
mod unpack;
mod verify;

use std::cell::RefCell;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

pub use digest::Verified;
pub use event::{Cancel, Event};
pub use verify::{Verdict, verify};

use crate::{Error, Manifest, ManifestFile};
use disk::Disk;
use download::Job;
use find::Found;
use http::Timeouts;
use lock::Lock;

/// Where a file came from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Source {
    /// It was there.
    There,
    /// It was in another of the directories given, and is used where it lies.
    Elsewhere,
    /// It was downloaded from this URL.
    Mirror(String),
}

/// A file that is there and was verified.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct FetchedFile {
    /// Its name in the manifest.
    pub name: String,
    /// Where it lies.
    pub path: PathBuf,
    /// Where it came from.
    pub source: Source,
    /// By what it was found to be the right one.
    pub verified: Verified,
    /// Bytes.
    pub bytes: u64,
    /// Its MD5.
    pub md5: String,
    /// Its SHA-256.
    pub sha256: String,
    /// The directory it was unpacked to, where the manifest says to unpack it.
    pub unpacked: Option<PathBuf>,
}

type Tell = Arc<dyn Fn(&Event<'_>) + Send + Sync>;

/// How a download goes about it.
struct Settings {
    only: Vec<String>,
    have: Vec<PathBuf>,
    replace: bool,
    timeouts: Timeouts,
    retries: u32,
    backoff: Duration,
    longest_wait: Duration,
    lock_patience: Duration,
    tell: Tell,
    cancel: Cancel,
    disk: Box<dyn Disk>,
}

/// Fetches the files of a dataset into a directory.
///
/// Without [`with_only`](Self::with_only) these are all that are not optional. Two processes may
/// fetch into one directory: the second waits for the first, file by file.
///
/// # Example
/// ```no_run
/// # use fewshot_data::{Manifest, fetch::{Event, Fetch}};
/// let omniglot = Manifest::named("omniglot")?;
/// let files = Fetch::new(&omniglot, "data/omniglot")
///     .with_have(["/shared/datasets"]) // used in place where a file is there
///     .with_progress(|event| {
///         if let Event::Receiving { file, done, total } = event {
///             println!("{file}: {done} of {total:?} bytes");
///         }
///     })
///     .run()?;
/// println!("{}", files[0].path.display());
/// # Ok::<(), fewshot_data::Error>(())
/// ```
pub struct Fetch {
    manifest: Manifest,
    into: PathBuf,
    settings: Settings,
    agent: ureq::Agent,
}

impl fmt::Debug for Fetch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fetch").field("manifest", &self.manifest.name).field("into", &self.into).finish_non_exhaustive()
    }
}

impl Fetch {
    /// The files of this manifest, into this directory, which is made where it is missing and needed.
    pub fn new(manifest: &Manifest, into: impl Into<PathBuf>) -> Self {
        let timeouts = Timeouts { connect: Duration::from_secs(30), read: Duration::from_secs(60) };
        let settings = Settings {
            only: Vec::new(),
            have: Vec::new(),
            replace: false,
            timeouts,
            retries: 5,
            backoff: Duration::from_millis(500),
            longest_wait: Duration::from_secs(120),
            lock_patience: Duration::from_secs(24 * 3600),
            tell: Arc::new(|_| ()),
            cancel: Cancel::new(),
            disk: Box::new(disk::System),
        };
        Self { manifest: manifest.clone(), into: into.into(), settings, agent: http::agent(timeouts) }
    }

    /// Only the files with these names, optional ones too.
    pub fn with_only<S: Into<String>>(mut self, names: impl IntoIterator<Item = S>) -> Self {
        self.settings.only = names.into_iter().map(Into::into).collect();
        self
    }

    /// Other directories where files may be already: in `DIRECTORY/FILE` or `DIRECTORY/DATASET/FILE`.
    /// A file found there is verified and used in place; nothing is written there but its stamp.
    pub fn with_have<P: Into<PathBuf>>(mut self, directories: impl IntoIterator<Item = P>) -> Self {
        self.settings.have = directories.into_iter().map(Into::into).collect();
        self
    }

    /// Whether a file that is there and is another one is replaced, once the right one has come.
    /// Otherwise it is an error.
    pub fn with_replace(mut self, replace: bool) -> Self {
        self.settings.replace = replace;
        self
    }

    /// How long to wait for a connection (30 s without this), and for bytes to come (60 s).
    pub fn with_timeouts(mut self, connect: Duration, read: Duration) -> Self {
        self.settings.timeouts = Timeouts { connect, read };
        self.agent = http::agent(self.settings.timeouts);
        self
    }

    /// How often one mirror is asked again after something that may pass, such as a timeout, a lost
    /// connection, or an answer of 429 or 5xx; 5 times without this. Waits double from 0.5 s to 30 s;
    /// `Retry-After` in seconds is honoured up to 2 minutes. After every 16 MiB the count starts anew.
    pub fn with_retries(mut self, retries: u32) -> Self {
        self.settings.retries = retries;
        self
    }

    /// Is told what happens, on the thread that fetches. It is called for every few KiB: cheap work
    /// only.
    pub fn with_progress(mut self, tell: impl Fn(&Event<'_>) + Send + Sync + 'static) -> Self {
        self.settings.tell = Arc::new(tell);
        self
    }

    /// What stops it.
    pub fn with_cancel(mut self, cancel: &Cancel) -> Self {
        self.settings.cancel = cancel.clone();
        self
    }

    /// Fetches, verifies and unpacks.
    ///
    /// # Errors
    /// The first file that cannot be had ends it; what is there by then stays, and the next run goes
    /// on from there. [`Error::UnknownFile`]; [`Error::WrongFile`] for one that is there and is not
    /// the right one; [`Error::Download`] with what each mirror said; [`Error::ByHand`], after all
    /// others were fetched; [`Error::NoSpace`] and [`Error::DiskFull`]; [`Error::Locked`];
    /// [`Error::Cancelled`]; [`Error::Unpack`]; [`Error::Io`].
    pub fn run(&self) -> Result<Vec<FetchedFile>, Error> {
        let wanted = wanted(&self.manifest, &self.settings.only)?;
        let (by_hand, by_program): (Vec<_>, Vec<_>) = wanted.into_iter().partition(|file| file.urls.is_empty());
        by_program.into_iter().chain(by_hand).map(|file| self.one(file)).collect()
    }

    fn one(&self, file: &ManifestFile) -> Result<FetchedFile, Error> {
        let target = self.into.join(&file.name);
        let mut fetched = match self.there(file, &target)? {
            Some(there) => there,
            None => self.fetched(file, &target)?,
        };
        fetched.unpacked = self.unpack(file, &fetched.path, &target)?;
        self.tell(&Event::Finished { file: &fetched });
        Ok(fetched)
    }

    /// The file where it lies already at its place.
    fn at(&self, file: &ManifestFile, target: &Path) -> Result<Option<FetchedFile>, Error> {
        match self.look(file, target, Source::There)? {
            Ok(there) => Ok(there),
            // What a link leads to, or what is no file, is nobody's to replace.
            Err(_) if self.settings.replace && target.symlink_metadata().is_ok_and(|about| about.is_file()) => Ok(None),
            Err(difference) => Err(Error::WrongFile { path: target.to_owned(), difference }),
        }
    }

    /// The file where it lies already, here or elsewhere.
    fn there(&self, file: &ManifestFile, target: &Path) -> Result<Option<FetchedFile>, Error> {
        let there = self.at(file, target)?;
        if there.is_some() {
            return Ok(there);
        }
        for directory in &self.settings.have {
            for path in [directory.join(&file.name), directory.join(&self.manifest.name).join(&file.name)] {
                let why = match self.look(file, &path, Source::Elsewhere) {
                    Ok(Ok(Some(there))) => return Ok(Some(there)),
                    Ok(Ok(None)) => continue,
                    Ok(Err(difference)) => difference,
                    Err(Error::Io { cause, .. }) => cause.to_string(),
                    Err(other) => return Err(other),
                };
                self.tell(&Event::Skipped { file: &file.name, path: &path, why: &why });
            }
        }
        Ok(None)
    }

    /// The file at a path, nothing, or what differs.
    fn look(
        &self,
        file: &ManifestFile,
        path: &Path,
        source: Source,
    ) -> Result<Result<Option<FetchedFile>, String>, Error> {
        let found = find::look(path, file, true, |done, total| {
            self.tell(&Event::Hashing { file: &file.name, done, total });
            self.stop(path)
        })?;
        Ok(match found {
            Found::Nothing => Ok(None),
            Found::Wrong(difference) => Err(difference),
            Found::Right(sums, verified) => Ok(Some(FetchedFile::new(file, path, source, verified, sums))),
        })
    }

    /// Downloads the file, unless another process does so first.
    fn fetched(&self, file: &ManifestFile, target: &Path) -> Result<FetchedFile, Error> {
        if file.urls.is_empty() {
            let how = file.by_hand.clone().unwrap_or_default();
            return Err(Error::ByHand { path: target.to_owned(), how });
        }
        let _lock = self.lock(file, target)?;
        // It may have come while the lock was waited for.
        if let Some(there) = self.at(file, target)? {
            return Ok(there);
        }
        let job = Job { fetch: self, file, target: target.to_owned(), held: RefCell::default() };
        let done = job.run()?;
        if let Ok(about) = fs::metadata(target) {
            stamp::write(target, &about, &done.sums);
        }
        Ok(FetchedFile::new(file, target, Source::Mirror(done.url), done.verified, done.sums))
    }

    fn unpack(&self, file: &ManifestFile, path: &Path, target: &Path) -> Result<Option<PathBuf>, Error> {
        let Some(into) = unpack::directory(target, file.unpack) else { return Ok(None) };
        if !into.is_dir() {
            let _lock = self.lock(file, target)?;
            let read = |cause| Error::Io { path: path.to_owned(), action: "read", cause };
            let most = unpack::bound(fs::metadata(path).map_err(read)?.len());
            let archive = unpack::Archive { path, kind: file.unpack, into: &into, disk: &*self.settings.disk, most };
            unpack::unpack(&archive, |done| {
                self.tell(&Event::Unpacking { file: &file.name, done });
                self.stop(path)
            })?;
        }
        Ok(Some(into))
    }

    /// The lock of a file; its directory is made where it is missing.
    fn lock(&self, file: &ManifestFile, target: &Path) -> Result<Lock, Error> {
        let create = |cause| Error::Io { path: self.into.clone(), action: "create", cause };
        fs::create_dir_all(&self.into).map_err(create)?;
        Lock::take(target, self.settings.lock_patience, || {
            self.tell(&Event::Waiting { file: &file.name });
            self.stop(target)
        })
    }

    fn stop(&self, path: &Path) -> Result<(), Error> {
        match self.settings.cancel.is_cancelled() {
            true => Err(Error::Cancelled { path: path.to_owned(), kept: String::new() }),
            false => Ok(()),
        }
    }

    fn tell(&self, event: &Event<'_>) {
        (self.settings.tell)(event);
    }
}

impl FetchedFile {
    fn new(file: &ManifestFile, path: &Path, source: Source, verified: Verified, sums: digest::Sums) -> Self {
        let (name, path) = (file.name.clone(), path.to_owned());
        let digest::Sums { bytes, md5, sha256 } = sums;
        Self { name, path, source, verified, bytes, md5, sha256, unpacked: None }
    }
}

/// The files asked for: those named, or all that are not optional.
fn wanted<'a>(manifest: &'a Manifest, only: &[String]) -> Result<Vec<&'a ManifestFile>, Error> {
    match only {
        [] => Ok(manifest.files.iter().filter(|file| !file.optional).collect()),
        names => names.iter().map(|name| manifest.file(name)).collect(),
    }
}
