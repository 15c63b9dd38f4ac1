//! Zip archives, read in place from a mapped file.
//!
//! Does not know: what the entries are.

use std::fmt;
use std::io::{Cursor, Read};
use std::ops::Range;
use std::path::{Path, PathBuf};

use zip::{CompressionMethod, ZipArchive};

use crate::error::{one_line, printable};
use crate::mapped::{self, SharedBytes};
use crate::{Error, Limits};

/// An open zip archive. Reading an entry takes no lock: any number of threads may do it.
pub(crate) struct Archive {
    path: PathBuf,
    zip: ZipArchive<Cursor<View>>,
    bytes: SharedBytes,
    names: Vec<String>,
}

/// The mapped file as the zip reader wants it.
#[derive(Clone)]
struct View(SharedBytes);

impl AsRef<[u8]> for View {
    fn as_ref(&self) -> &[u8] {
        (*self.0).as_ref()
    }
}

impl Archive {
    /// Maps the file and reads its directory.
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::Io`], [`Error::NotAZip`] for a file that does not begin as an archive does,
    /// [`Error::DamagedArchive`].
    pub fn open(path: &Path) -> Result<Self, Error> {
        let bytes = mapped::map(path)?;
        let start = (*bytes).as_ref();
        if !start.starts_with(b"PK") {
            // Most often this is the page of a server that refused the download.
            let found = match start.get(..start.len().min(16)) {
                None | Some([]) => "nothing (0 bytes)".to_owned(),
                Some(start) => format!("{:?}", start.escape_ascii().to_string()),
            };
            return Err(Error::NotAZip { path: path.to_owned(), found });
        }
        let zip = ZipArchive::new(Cursor::new(View(bytes.clone())))
            .map_err(|error| Error::DamagedArchive { path: path.to_owned(), cause: one_line(&error) })?;
        let name = |index| zip.name_for_index(index).unwrap_or_default().to_owned();
        let names = (0..zip.len()).map(name).collect();
        Ok(Self { path: path.to_owned(), zip, bytes, names })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The mapped file.
    pub fn bytes(&self) -> &SharedBytes {
        &self.bytes
    }

    /// How many entries there are, directories included.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// The name of an entry, with `/` between folders; empty beyond the last.
    pub fn name(&self, entry: usize) -> &str {
        self.names.get(entry).map_or("", String::as_str)
    }

    /// The files, by index and name, without directories, hidden files and what a Macintosh adds.
    pub fn files(&self) -> impl Iterator<Item = (usize, &str)> {
        let all = self.names.iter().map(String::as_str).enumerate();
        all.filter(|(_, name)| !name.ends_with('/') && !name.is_empty() && !is_noise(name))
    }

    /// The bytes of an entry, decompressed and checked against its checksum.
    ///
    /// # Errors
    /// [`Error::DamagedEntry`]; [`Error::TooLarge`] for an entry over the limit, whatever its header claims.
    pub fn read(&self, entry: usize, limits: Limits) -> Result<Vec<u8>, Error> {
        let name = self.name(entry);
        let damaged = |cause: String| Error::DamagedEntry { path: self.path.clone(), entry: printable(name), cause };
        let mut zip = self.zip.clone();
        let file = zip.by_index(entry).map_err(|e| damaged(one_line(&e)))?;
        let (claimed, packed) = (file.size(), file.compressed_size());
        let input = packed.min((*self.bytes).as_ref().len() as u64);
        let size = limits.check(&self.path, &format!("entry {}", printable(name)), claimed, input)?;
        let mut bytes = Vec::with_capacity(size);
        // What the header claims is what is read: more than that is damage, not more memory.
        file.take(claimed.saturating_add(1)).read_to_end(&mut bytes).map_err(|e| damaged(one_line(&e)))?;
        if bytes.len() != size {
            return Err(damaged(format!("{} bytes; expected {size} as its header says", bytes.len())));
        }
        Ok(bytes)
    }

    /// Where the bytes of an entry lie in the file, if they are not compressed.
    ///
    /// # Errors
    /// [`Error::DamagedEntry`].
    pub fn stored(&self, entry: usize) -> Result<Option<Range<usize>>, Error> {
        let damaged =
            |cause: String| Error::DamagedEntry { path: self.path.clone(), entry: printable(self.name(entry)), cause };
        let mut zip = self.zip.clone();
        let file = zip.by_index_raw(entry).map_err(|e| damaged(one_line(&e)))?;
        if file.compression() != CompressionMethod::Stored || file.encrypted() {
            return Ok(None);
        }
        let start = file.data_start().and_then(|start| usize::try_from(start).ok());
        let size = usize::try_from(file.size()).ok().filter(|_| file.size() == file.compressed_size());
        let range = start.zip(size).and_then(|(start, size)| Some(start..start.checked_add(size)?));
        let inside = range.filter(|range| range.end <= (*self.bytes).as_ref().len());
        inside.map(Some).ok_or_else(|| damaged("reaches beyond the end of the archive".to_owned()))
    }
}

impl fmt::Debug for Archive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Archive({}, {} entries)", self.path.display(), self.len())
    }
}

/// Hidden files, and what a Macintosh adds to an archive: what is passed over in directories as well.
fn is_noise(entry: &str) -> bool {
    let hidden = |part: &str| part.starts_with('.') && part != "." && part != "..";
    entry.split(['/', '\\']).any(|part| part == "__MACOSX" || hidden(part))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use zip::write::SimpleFileOptions;

    fn archive(method: CompressionMethod) -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.zip");
        let mut zip = zip::ZipWriter::new(std::fs::File::create(&path).unwrap());
        let options = SimpleFileOptions::default().compression_method(method);
        for (name, bytes) in
            [("x/a.bin", vec![5u8; 1000]), ("__MACOSX/._a.bin", vec![1]), ("x/.ipynb_checkpoints/a.bin", vec![2])]
        {
            zip.start_file(name, options).unwrap();
            zip.write_all(&bytes).unwrap();
        }
        zip.finish().unwrap();
        (directory, path)
    }

    #[test]
    fn entries_are_read_and_stored_ones_found_in_place() {
        for (method, in_place) in [(CompressionMethod::Stored, true), (CompressionMethod::Deflated, false)] {
            let (_directory, path) = archive(method);
            let archive = Archive::open(&path).unwrap();
            assert_eq!(archive.files().collect::<Vec<_>>(), [(0, "x/a.bin")]);
            assert_eq!(archive.read(0, Limits::default()).unwrap(), vec![5; 1000]);
            let range = archive.stored(0).unwrap();
            assert_eq!(range.is_some(), in_place);
            if let Some(range) = range {
                assert_eq!((**archive.bytes()).as_ref()[range], vec![5; 1000]);
            }
        }
    }

    #[test]
    fn an_entry_over_the_limit_is_an_error() {
        let (_directory, path) = archive(CompressionMethod::Deflated);
        let strict = Limits::default().with_floor(10).with_factor(10);
        let error = Archive::open(&path).unwrap().read(0, strict).unwrap_err();
        assert!(matches!(error, Error::TooLarge { wanted: 1000, .. }), "{error}");
    }
}
