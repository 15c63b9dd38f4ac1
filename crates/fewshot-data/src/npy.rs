//! Arrays in numpy's own files: `.npy`, and `.npz`, a zip archive of them.
//!
//! Does not know: which arrays a dataset has.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use crate::archive::Archive;
use crate::array::{Array, Dtype};
use crate::mapped::SharedBytes;
use crate::{Error, Limits};

const MAGIC: &[u8] = b"\x93NUMPY";

/// What numpy allows a header at most, unless told otherwise.
const LONGEST_HEADER: usize = 10_000;

/// Whether a file begins as an `.npy` file does.
pub(crate) fn is_npy(start: &[u8]) -> bool {
    start.starts_with(MAGIC)
}

/// The array in part of a store, used where it is.
///
/// # Errors
/// [`Error::Malformed`] at `place`.
pub(crate) fn parse(path: &Path, place: &str, store: SharedBytes, range: Range<usize>) -> Result<Array, Error> {
    let failed = |problem: String| Error::malformed(path, place, problem);
    let bytes = (*store).as_ref().get(range.clone()).unwrap_or_default();
    let (text, data) = header_text(bytes).map_err(failed)?;
    let header = Header::parse(text).ok_or_else(|| {
        let start: String = text.chars().take(80).collect();
        failed(format!("header {:?}; expected descr, fortran_order and shape of plain numbers", start.trim_end()))
    })?;
    let dtype = Dtype::parse(header.descr)
        .ok_or_else(|| failed(format!("array type {:?}; expected plain numbers or strings", header.descr)))?;
    let data = range.start + data..range.end;
    Array::new(dtype, &header.shape, header.fortran, store, data).map_err(failed)
}

/// The header and where the data begins.
fn header_text(bytes: &[u8]) -> Result<(&str, usize), String> {
    let version = bytes.strip_prefix(MAGIC).ok_or("not an array of numpy; expected \"\\x93NUMPY\" at the start")?;
    let (length, start) = match *version {
        [1, 0, a, b, ..] => (usize::from(u16::from_le_bytes([a, b])), 10),
        [2 | 3, 0, a, b, c, d, ..] => (u32::from_le_bytes([a, b, c, d]) as usize, 12),
        [major, minor, ..] => return Err(format!("version {major}.{minor} of the format; expected 1.0, 2.0 or 3.0")),
        _ => return Err("the file ends within the header".to_owned()),
    };
    if length > LONGEST_HEADER {
        return Err(format!("a header of {length} bytes; expected {LONGEST_HEADER} at most"));
    }
    let text = bytes.get(start..start + length).ok_or("the file ends within the header")?;
    let text = std::str::from_utf8(text).map_err(|_| "a header that is not text")?;
    Ok((text, start + length))
}

/// The three facts of a header, which is a dictionary in Python's syntax.
struct Header<'a> {
    descr: &'a str,
    fortran: bool,
    shape: Vec<u64>,
}

impl<'a> Header<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let mut rest = Tokens(text);
        let (mut descr, mut fortran, mut shape) = (None, None, None);
        rest.take('{')?;
        while rest.take('}').is_none() {
            let key = rest.string()?;
            rest.take(':')?;
            match key {
                "descr" if descr.is_none() => descr = Some(rest.string()?),
                "fortran_order" if fortran.is_none() => fortran = Some(rest.truth()?),
                "shape" if shape.is_none() => shape = Some(rest.tuple()?),
                _ => return None,
            }
            if rest.take(',').is_none() {
                rest.take('}')?;
                break;
            }
        }
        rest.0.trim().is_empty().then_some(())?;
        Some(Self { descr: descr?, fortran: fortran?, shape: shape? })
    }
}

/// What is left of a header.
struct Tokens<'a>(&'a str);

impl<'a> Tokens<'a> {
    fn take(&mut self, token: char) -> Option<()> {
        self.0 = self.0.trim_start().strip_prefix(token)?;
        Some(())
    }

    fn string(&mut self) -> Option<&'a str> {
        let text = self.0.trim_start();
        let quote = text.chars().next().filter(|quote| matches!(quote, '\'' | '"'))?;
        let (string, rest) = text[1..].split_once(quote)?;
        self.0 = rest;
        (!string.contains('\\')).then_some(string)
    }

    fn truth(&mut self) -> Option<bool> {
        let text = self.0.trim_start();
        let (value, rest) = match text.strip_prefix("True") {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix("False")?),
        };
        self.0 = rest;
        Some(value)
    }

    fn tuple(&mut self) -> Option<Vec<u64>> {
        self.take('(')?;
        let mut items = Vec::new();
        while self.take(')').is_none() {
            let text = self.0.trim_start();
            let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
            items.push(text[..end].parse().ok()?);
            // Python 2 marks long integers.
            self.0 = text[end..].strip_prefix('L').unwrap_or(&text[end..]);
            if self.take(',').is_none() {
                self.take(')')?;
                break;
            }
        }
        Some(items)
    }
}

/// An archive of arrays.
#[derive(Debug)]
pub(crate) struct Npz {
    archive: Archive,
}

impl Npz {
    /// Opens an archive, if it holds arrays.
    ///
    /// # Errors
    /// As [`Archive::open`].
    pub fn open(path: &Path) -> Result<Option<Self>, Error> {
        let archive = Archive::open(path)?;
        let holds_arrays = archive.files().any(|(_, name)| name.ends_with(".npy"));
        Ok(holds_arrays.then_some(Self { archive }))
    }

    /// The names of the arrays.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.archive.files().filter_map(|(_, name)| name.strip_suffix(".npy"))
    }

    /// An array: in place if the archive stores it uncompressed, decompressed otherwise.
    ///
    /// # Errors
    /// [`Error::Malformed`], [`Error::DamagedEntry`], [`Error::TooLarge`].
    pub fn get(&self, name: &str, limits: Limits) -> Result<Option<Array>, Error> {
        let mut files = self.archive.files();
        let Some((entry, full)) = files.find(|(_, file)| file.strip_suffix(".npy") == Some(name)) else {
            return Ok(None);
        };
        let place = format!("entry {full}");
        if let Some(range) = self.archive.stored(entry)? {
            return parse(self.archive.path(), &place, self.archive.bytes().clone(), range).map(Some);
        }
        let bytes = self.archive.read(entry, limits)?;
        let range = 0..bytes.len();
        parse(self.archive.path(), &place, Arc::new(bytes), range).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mapped;
    use std::path::PathBuf;

    fn fixture(name: &str) -> PathBuf {
        PathBuf::from(format!("{}/tests/fixtures/forms/{name}", env!("CARGO_MANIFEST_DIR")))
    }

    fn read(bytes: Vec<u8>) -> Result<Array, String> {
        let range = 0..bytes.len();
        parse(Path::new("a.npy"), "header", Arc::new(bytes), range).map_err(|error| error.to_string())
    }

    fn with_header(text: &str, data: usize) -> Vec<u8> {
        [MAGIC, &[1, 0], &(text.len() as u16).to_le_bytes(), text.as_bytes(), &vec![7; data]].concat()
    }

    #[test]
    fn all_versions_of_numpy_are_read() {
        for version in 1..=3 {
            let path = fixture(&format!("npy/version{version}.npy"));
            let bytes = mapped::map(&path).unwrap();
            let range = 0..(*bytes).as_ref().len();
            let array = parse(&path, "header", bytes, range).unwrap();
            assert_eq!((array.describe(), array.data()[119]), ("uint8 of shape [2, 5, 4, 3]".to_owned(), 170));
        }
    }

    #[test]
    fn headers_of_other_writers_are_read() {
        for text in [
            "{'descr': '|u1', 'fortran_order': False, 'shape': (2, 3), }  \n",
            "{\"shape\":(2L,3L),\"descr\":\"<u1\",\"fortran_order\":False}",
        ] {
            assert_eq!(read(with_header(text, 6)).unwrap().shape, [2, 3]);
        }
        assert_eq!(read(with_header("{'descr':'|u1','fortran_order':True,'shape':(6,),}", 6)).unwrap().shape, [6]);
        assert!(read(with_header("{'descr':'|u1','fortran_order':True,'shape':(),}", 1)).unwrap().shape.is_empty());
    }

    #[test]
    fn damaged_headers_are_errors() {
        let whole = "{'descr': '|u1', 'fortran_order': False, 'shape': (2, 3), }";
        for (text, data) in [
            (whole, 5),
            (whole, 7),
            ("{'descr': '|u1', 'fortran_order': False, 'shape': (18446744073709551615, 2), }", 6),
            ("{'descr': '|u1', 'fortran_order': False, 'shape': (-2, 3), }", 6),
            ("{'descr': '|u1', 'fortran_order': False}", 6),
            ("{'descr': '|u1', 'descr': '|u1', 'fortran_order': False, 'shape': (6,)}", 6),
            ("{'descr': [('a', '|u1')], 'fortran_order': False, 'shape': (6,)}", 6),
            ("{'descr': '|O', 'fortran_order': False, 'shape': (6,)}", 48),
            ("{'descr': '|u1', 'fortran_order': False, 'shape': (6,)} x", 6),
            ("{'descr': 'é', 'fortran_order': False, 'shape': (6,)}", 6),
            ("{", 0),
            ("", 0),
        ] {
            assert!(read(with_header(text, data)).is_err(), "{text}");
        }
        let mut long = with_header(whole, 6);
        long[8..10].copy_from_slice(&[0xFF, 0xFF]);
        assert_eq!(read(long).unwrap_err(), "a.npy: header: a header of 65535 bytes; expected 10000 at most");
        for end in 0..with_header(whole, 6).len() {
            assert!(read(with_header(whole, 6)[..end].to_vec()).is_err(), "{end}");
        }
        assert!(read([MAGIC, &[9, 0, 0, 0]].concat()).unwrap_err().contains("version 9.0"));
    }

    #[test]
    fn stored_arrays_are_used_in_place_and_others_decompressed() {
        for (name, key, in_place) in [("few-shot-train.npz", "features", true), ("compressed_test.npz", "x", false)] {
            let npz = Npz::open(&fixture("npz").join(name)).unwrap().unwrap();
            let array = npz.get(key, Limits::default()).unwrap().unwrap();
            let (store, _) = array.place();
            assert_eq!(Arc::ptr_eq(&store, npz.archive.bytes()), in_place, "{name}");
            assert_eq!(array.data()[..3], if in_place { [0, 67, 134] } else { [0, 1, 2] }, "{name}");
            assert!(npz.get("nothing", Limits::default()).unwrap().is_none());
        }
        let strict = Limits::default().with_floor(100).with_factor(1);
        let npz = Npz::open(&fixture("npz/compressed_test.npz")).unwrap().unwrap();
        assert!(matches!(npz.get("x", strict), Err(Error::TooLarge { .. })));
    }
}
