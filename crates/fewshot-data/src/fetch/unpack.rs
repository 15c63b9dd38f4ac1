//! Unpacking archives: plain files and directories only, inside one directory, within bounds.
//!
//! The members go into a hidden directory beside their place, which gets its name at the end: an
//! unpacked directory is complete. Where an archive holds a single directory, that one's contents
//! are what is unpacked.
//!
//! Does not know: downloads, what the members are.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};

use flate2::read::MultiGzDecoder;
use tar::EntryType;

use super::digest::CHUNK;
use super::disk::{Disk, is_full};
use super::stamp::beside;
use crate::{Error, Unpack};

/// Bytes that members may always have, whatever the size of their archive.
const ALWAYS: u64 = 64 << 20;

/// Bytes that members may have for each byte of their archive: deflate reaches 1,032 at most.
const RATIO: u64 = 1_100;

/// What the name and the place of a member count for, so that empty members are bounded too.
const MEMBER: u64 = 512;

/// An archive and its place.
pub(super) struct Archive<'a> {
    pub(super) path: &'a Path,
    pub(super) kind: Unpack,
    pub(super) into: &'a Path,
    pub(super) disk: &'a dyn Disk,
    /// Bytes that its members may have.
    pub(super) most: u64,
}

/// The members of an archive on their way out.
struct Members<'a, F> {
    archive: &'a Archive<'a>,
    root: PathBuf,
    done: u64,
    each: F,
}

/// The directory an archive is unpacked to: its name without the ending, beside `target`.
pub(super) fn directory(target: &Path, kind: Unpack) -> Option<PathBuf> {
    let endings: &[&str] = match kind {
        Unpack::None => return None,
        Unpack::Zip => &[".zip"],
        Unpack::Tar => &[".tar"],
        Unpack::TarGz => &[".tar.gz", ".tgz"],
    };
    let name = target.file_name()?.to_str()?;
    let stem = endings.iter().find_map(|ending| name.strip_suffix(ending)).filter(|stem| !stem.is_empty());
    Some(target.with_file_name(stem.map_or_else(|| format!("{name}.unpacked"), str::to_owned)))
}

/// Bytes that the members of an archive of so many bytes may have.
pub(super) fn bound(archive: u64) -> u64 {
    ALWAYS.max(archive.saturating_mul(RATIO))
}

/// Unpacks an archive, unless its directory is there already. `each` is told the bytes so far.
pub(super) fn unpack(archive: &Archive<'_>, each: impl FnMut(u64) -> Result<(), Error>) -> Result<(), Error> {
    if archive.into.is_dir() {
        return Ok(());
    }
    let root = beside(archive.into, "unpacking");
    // What an earlier run was stopped at.
    fs::remove_dir_all(&root).ok();
    let io = |path: &Path, action| {
        let path = path.to_owned();
        move |cause| Error::Io { path, action, cause }
    };
    fs::create_dir(&root).map_err(io(&root, "create"))?;
    let mut members = Members { archive, root: root.clone(), done: 0, each };
    let done = members.all().and_then(|()| {
        let whole = only_directory(&root).unwrap_or_else(|| root.clone());
        fs::rename(whole, archive.into).map_err(io(archive.into, "create"))
    });
    fs::remove_dir_all(&root).ok();
    done
}

/// The one directory in a directory, where there is nothing else.
fn only_directory(root: &Path) -> Option<PathBuf> {
    let mut entries = fs::read_dir(root).ok()?;
    let only = entries.next()?.ok()?;
    let alone = entries.next().is_none() && only.file_type().ok()?.is_dir();
    alone.then(|| only.path())
}

impl<F: FnMut(u64) -> Result<(), Error>> Members<'_, F> {
    fn all(&mut self) -> Result<(), Error> {
        let file = File::open(self.archive.path).map_err(|e| self.problem(e))?;
        match self.archive.kind {
            Unpack::Zip => self.zip(file),
            Unpack::Tar => self.tar(file),
            _ => self.tar(MultiGzDecoder::new(io::BufReader::with_capacity(CHUNK, file))),
        }
    }

    fn tar(&mut self, reader: impl Read) -> Result<(), Error> {
        let mut archive = tar::Archive::new(reader);
        for entry in archive.entries().map_err(|e| self.problem(e))? {
            let mut entry = entry.map_err(|e| self.problem(e))?;
            let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            match entry.header().entry_type() {
                EntryType::Directory => self.directory(&name)?,
                EntryType::Regular | EntryType::Continuous => self.file(&name, &mut entry)?,
                EntryType::XGlobalHeader => (),
                other => return Err(self.problem(format!("entry {name:?} is {}", kind(other)))),
            }
        }
        Ok(())
    }

    fn zip(&mut self, file: File) -> Result<(), Error> {
        let mut archive = zip::ZipArchive::new(io::BufReader::new(file)).map_err(|e| self.problem(e))?;
        for index in 0..archive.len() {
            let mut entry = archive.by_index(index).map_err(|e| self.problem(e))?;
            let name = entry.name().to_owned();
            match (entry.is_symlink(), entry.is_dir()) {
                (true, _) => return Err(self.problem(format!("entry {name:?} is a symbolic link"))),
                (false, true) => self.directory(&name)?,
                (false, false) => self.file(&name, &mut entry)?,
            }
        }
        Ok(())
    }

    fn directory(&mut self, name: &str) -> Result<(), Error> {
        self.count(name, MEMBER)?;
        let path = self.place(name)?;
        fs::create_dir_all(&path).map_err(|e| self.unwritten(name, e))
    }

    fn file(&mut self, name: &str, entry: &mut impl Read) -> Result<(), Error> {
        self.count(name, MEMBER)?;
        let path = self.place(name)?;
        let parent = path.parent().unwrap_or(&self.root);
        fs::create_dir_all(parent).map_err(|e| self.unwritten(name, e))?;
        let file = OpenOptions::new().write(true).create_new(true).open(&path);
        let mut file = file.map_err(|e| self.unwritten(name, e))?;
        let mut buffer = vec![0; CHUNK];
        loop {
            let read = entry.read(&mut buffer).map_err(|e| self.problem(format!("entry {name:?}: {e}")))?;
            if read == 0 {
                return Ok(());
            }
            self.count(name, read as u64)?;
            self.archive.disk.write(&mut file, &buffer[..read]).map_err(|e| self.unwritten(name, e))?;
        }
    }

    fn unwritten(&self, name: &str, error: io::Error) -> Error {
        match is_full(&error) {
            true => Error::DiskFull { path: self.archive.path.to_owned(), kept: String::new() },
            false => self.problem(format!("entry {name:?}: {error}")),
        }
    }

    fn count(&mut self, name: &str, bytes: u64) -> Result<(), Error> {
        self.done = self.done.saturating_add(bytes);
        let most = self.archive.most;
        if self.done > most {
            return Err(self.problem(format!("up to entry {name:?} its members have more than {most} bytes")));
        }
        (self.each)(self.done)
    }

    /// Where a member goes: below the root, or nowhere.
    fn place(&self, name: &str) -> Result<PathBuf, Error> {
        let mut place = self.root.clone();
        // A backslash or a colon leads elsewhere on some systems, and is no part of a sane name.
        let mut inside = !name.contains(['\\', ':', '\0']);
        for component in Path::new(name).components() {
            match component {
                Component::Normal(part) => place.push(part),
                Component::CurDir => (),
                _ => inside = false,
            }
        }
        match inside {
            true => Ok(place),
            false => Err(self.problem(format!("entry {name:?} leads out of the directory"))),
        }
    }

    fn problem(&self, problem: impl ToString) -> Error {
        let problem = problem.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
        Error::Unpack { path: self.archive.path.to_owned(), problem }
    }
}

fn kind(entry: EntryType) -> &'static str {
    match entry {
        EntryType::Symlink => "a symbolic link",
        EntryType::Link => "a hard link",
        EntryType::Fifo | EntryType::Char | EntryType::Block => "a device",
        _ => "neither a file nor a directory",
    }
}
