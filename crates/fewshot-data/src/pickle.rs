//! Pickles, read without running anything.
//!
//! A pickle is a program for a stack machine that may call whatever it imports. Here imports are
//! names from a short list, calls are cases of a match, and everything else is an error, so a file
//! from anywhere can be opened. Bytes stay where they are in the mapped file.
//!
//! Does not know: which keys a dataset has.

mod array;
mod global;
mod input;
mod machine;
mod object;
#[cfg(test)]
mod tests;
mod value;

use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::Error;
use crate::array::Array;
use crate::mapped::SharedBytes;
use machine::Machine;
use value::{Arena, Data, LONGEST_NAME, Span};
pub(crate) use value::{Id, Node};

/// The values of a pickle.
pub(crate) struct Pickle {
    path: PathBuf,
    bytes: SharedBytes,
    arena: Arena,
    root: Id,
}

/// Whether a file begins as a pickle of protocol 2 to 5 does.
pub(crate) fn is_pickle(start: &[u8]) -> bool {
    matches!(start, [0x80, 2..=5, ..])
}

/// Whether a file begins as a pickle of protocol 0 or 1 may: a container, with or without its memo entry.
pub(crate) fn is_old_pickle(start: &[u8]) -> bool {
    ["(dp", "(lp", "}q", "]q", "(dq", "(lq", "cnumpy\n", "cnumpy.", "ccollections\n"]
        .iter()
        .any(|s| start.starts_with(s.as_bytes()))
}

impl Pickle {
    /// Reads the pickle that a file begins with.
    ///
    /// # Errors
    /// [`Error::Pickle`], [`Error::ForbiddenGlobal`].
    ///
    /// # Cost
    /// At most about 100 bytes for each byte of the pickle that is not in a string, in practice about
    /// 30 for each number of a list and 170 for each small array.
    pub fn read(path: &Path, bytes: SharedBytes) -> Result<Self, Error> {
        let (arena, root) = Machine::new(path, (*bytes).as_ref()).run()?;
        Ok(Self { path: path.to_owned(), bytes, arena, root })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The value that was pickled.
    pub fn root(&self) -> Id {
        self.root
    }

    /// A value.
    pub fn node(&self, id: Id) -> Node {
        self.arena.node(id)
    }

    /// The items of a list or tuple.
    pub fn sequence(&self, id: Id) -> Option<&[Id]> {
        self.arena.sequence(id)
    }

    /// The keys and values of a dictionary.
    pub fn entries(&self, id: Id) -> Option<impl Iterator<Item = (Id, Id)> + '_> {
        let entries = self.arena.entries(id)?;
        Some(entries.chunks_exact(2).map(|pair| (pair[0], pair[1])))
    }

    /// The value of a key. Of several, the last, as in Python.
    pub fn get(&self, id: Id, key: &str) -> Option<Id> {
        let mut entries = self.entries(id)?;
        let mut found = None;
        for (name, value) in &mut entries {
            if self.bytes_of(name).is_some_and(|name| name == key.as_bytes()) {
                found = Some(value);
            }
        }
        found
    }

    /// A name, whether a string of Python 2 or 3, of up to 1,000 bytes.
    pub fn text(&self, id: Id) -> Option<&str> {
        let bytes = self.bytes_of(id).filter(|bytes| bytes.len() <= LONGEST_NAME)?;
        std::str::from_utf8(bytes).ok()
    }

    /// A whole number; of floating-point ones those that are whole.
    pub fn int(&self, id: Id) -> Option<i64> {
        match self.node(id) {
            Node::Float(value) if value.fract() == 0.0 && value.abs() < 9e15 => Some(value as i64),
            _ => self.arena.int(id),
        }
    }

    /// The numbers of a `range`: where it starts, how many there are, and the step.
    pub fn range(&self, id: Id) -> Option<(i64, u64, i64)> {
        let Node::Range(range) = self.node(id) else {
            return None;
        };
        let &[start, stop, step] = self.arena.ranges.get(range as usize)?;
        let way = i128::from(stop) - i128::from(start);
        let way = if step < 0 { -way } else { way };
        let count = way.max(0).unsigned_abs().div_ceil(u128::from(step.unsigned_abs().max(1)));
        Some((start, u64::try_from(count).unwrap_or(u64::MAX), step))
    }

    /// An array.
    ///
    /// # Errors
    /// [`Error::Malformed`] at `place` for one that contradicts itself.
    pub fn array(&self, id: Id, place: &str) -> Result<Option<Array>, Error> {
        let Node::Array(index) = self.node(id) else {
            return Ok(None);
        };
        let failed = |problem: String| Error::malformed(&self.path, place, problem);
        let raw = self.arena.arrays.get(index as usize).copied();
        let raw = raw.ok_or_else(|| failed("an array that is not there".to_owned()))?;
        let dims = raw.dims as usize..raw.dims as usize + usize::from(raw.rank);
        let dims = self.arena.dims.get(dims).unwrap_or_default();
        let (store, range): (SharedBytes, Range<usize>) = match raw.data {
            Data::Unset => return Err(failed("an array without content".to_owned())),
            Data::Span(Span { start, len }) => (self.bytes.clone(), start..start + len),
            Data::Blob(blob) => {
                let blob = self.arena.blobs.get(blob as usize).cloned().unwrap_or_default();
                let len = blob.len();
                (blob, 0..len)
            }
        };
        Array::new(raw.dtype, dims, raw.fortran, store, range).map(Some).map_err(failed)
    }

    fn bytes_of(&self, id: Id) -> Option<&[u8]> {
        match self.node(id) {
            Node::Text(Span { start, len }) | Node::Bytes(Span { start, len }) => {
                let all: &[u8] = (*self.bytes).as_ref();
                all.get(start..start.checked_add(len)?)
            }
            Node::Blob(blob) => self.arena.blobs.get(blob as usize).map(|blob| blob.as_slice()),
            _ => None,
        }
    }

    /// What a value is, for messages.
    pub fn describe(&self, id: Id) -> String {
        match self.node(id) {
            Node::None => "nothing".to_owned(),
            Node::Bool(value) => value.to_string(),
            Node::Int(value) => value.to_string(),
            Node::Huge => "a very large number".to_owned(),
            Node::Float(value) => value.to_string(),
            Node::Text(span) | Node::Bytes(span) => format!("a string of {} bytes", span.len),
            Node::Blob(_) => "a string".to_owned(),
            Node::Tuple { len, .. } => format!("a tuple of {len} items"),
            Node::List(_) => format!("a list of {} items", self.sequence(id).map_or(0, <[Id]>::len)),
            Node::Dict(_) => self.describe_keys(id),
            Node::Set(_) => "a set".to_owned(),
            Node::Range(_) => "a range".to_owned(),
            Node::Global(global) => format!("the name {global:?}"),
            Node::Dtype(_) => "an array type".to_owned(),
            Node::Array(_) => match self.array(id, "") {
                Ok(Some(array)) => format!("an array of {}", array.describe()),
                _ => "an array without content".to_owned(),
            },
        }
    }

    fn describe_keys(&self, id: Id) -> String {
        let keys = self.entries(id).into_iter().flatten().filter_map(|(key, _)| self.text(key)).take(6);
        let keys: Vec<String> = keys.map(|key| key.chars().take(40).collect::<String>()).collect();
        let count = self.entries(id).map_or(0, Iterator::count);
        format!("a dictionary of {count} keys: {}", keys.join(", ").escape_debug())
    }
}

impl std::fmt::Debug for Pickle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Pickle({}, {} values)", self.path.display(), self.arena.nodes.len())
    }
}
