//! Arrays and lists by name, from a pickled dictionary or an archive of arrays alike.
//!
//! Does not know: which names a dataset has.

use std::collections::BTreeMap;
use std::path::Path;

use crate::array::Array;
use crate::npy::Npz;
use crate::pickle::{Id, Pickle};
use crate::{Error, Limits, Pixels};

/// A file of named values.
#[derive(Debug)]
pub(super) enum Table {
    Pickle(Pickle),
    Npz(Box<Npz>, std::path::PathBuf, Limits),
}

/// A value of a table.
pub(super) struct Value<'a> {
    path: &'a Path,
    key: &'a str,
    content: Content<'a>,
}

enum Content<'a> {
    Pickled(&'a Pickle, Id),
    Array(Array),
}

impl Table {
    /// The file.
    pub fn path(&self) -> &Path {
        match self {
            Self::Pickle(pickle) => pickle.path(),
            Self::Npz(_, path, _) => path,
        }
    }

    /// The value of a name.
    pub fn get<'a>(&'a self, key: &'a str) -> Result<Option<Value<'a>>, Error> {
        let content = match self {
            Self::Pickle(pickle) => pickle.get(pickle.root(), key).map(|id| Content::Pickled(pickle, id)),
            Self::Npz(npz, _, limits) => npz.get(key, *limits)?.map(Content::Array),
        };
        Ok(content.map(|content| Value { path: self.path(), key, content }))
    }

    /// The value of the first of these names that is there.
    pub fn first<'a>(&'a self, keys: &[&'a str]) -> Result<Option<Value<'a>>, Error> {
        for key in keys {
            if let Some(value) = self.get(key)? {
                return Ok(Some(value));
            }
        }
        Ok(None)
    }

    /// What is there, for messages.
    pub fn describe(&self) -> String {
        match self {
            Self::Pickle(pickle) => format!("a pickle of {}", pickle.describe(pickle.root())),
            Self::Npz(npz, ..) => {
                let names: Vec<&str> = npz.names().take(6).collect();
                format!("an archive of arrays: {}", names.join(", ").escape_debug())
            }
        }
    }
}

impl<'a> Value<'a> {
    /// An error about this value.
    pub fn fail(&self, problem: impl Into<String>) -> Error {
        Error::malformed(self.path, self.key, problem)
    }

    /// The pickle and place of a value that is in one.
    pub fn pickled(&self) -> Option<(&'a Pickle, Id)> {
        match self.content {
            Content::Pickled(pickle, id) => Some((pickle, id)),
            Content::Array(_) => None,
        }
    }

    /// The value as an array, if it is one.
    pub fn array(&self) -> Result<Option<Array>, Error> {
        match &self.content {
            Content::Pickled(pickle, id) => pickle.array(*id, self.key),
            Content::Array(array) => Ok(Some(array.clone())),
        }
    }

    /// The value as images, with `[channels, height, width]`.
    pub fn images(&self) -> Result<(Pixels, [usize; 3]), Error> {
        let array =
            self.array()?.ok_or_else(|| self.fail(format!("{}; expected an array of images", self.describe())))?;
        array.images().map_err(|problem| self.fail(problem))
    }

    /// The value as whole numbers, from a list, a range or an array; `at_most` so many.
    pub fn ints(&self, at_most: usize) -> Result<Vec<i64>, Error> {
        if let Some(array) = self.array()? {
            return array.ints().map_err(|problem| self.fail(problem));
        }
        let Content::Pickled(pickle, id) = self.content else {
            return Ok(Vec::new());
        };
        if let Some((start, count, step)) = pickle.range(id) {
            if count > at_most as u64 {
                return Err(self.fail(format!("a range of {count} numbers; expected {at_most} at most")));
            }
            // Each is between the ends of the range, which fit.
            return Ok((0..count as i64).map(|i| start.wrapping_add(i.wrapping_mul(step))).collect());
        }
        let items = pickle.sequence(id);
        let items = items.ok_or_else(|| self.fail(format!("{}; expected a list of whole numbers", self.describe())))?;
        let int = |&item: &Id| {
            let int = pickle.int(item);
            int.ok_or_else(|| self.fail(format!("{} in a list; expected whole numbers", pickle.describe(item))))
        };
        items.iter().map(int).collect()
    }

    /// Names by number: a list or array of names, or a dictionary in either direction.
    pub fn names(&self) -> Result<BTreeMap<i64, String>, Error> {
        if let Some(array) = self.array()? {
            let names = array.strings().map_err(|problem| self.fail(problem))?;
            return Ok((0..).zip(names).collect());
        }
        let Content::Pickled(pickle, id) = self.content else {
            return Ok(BTreeMap::new());
        };
        let found = if let Some(items) = pickle.sequence(id) {
            let name = |(i, &item): (usize, &Id)| Some((i as i64, pickle.text(item)?.to_owned()));
            items.iter().enumerate().map(name).collect()
        } else {
            let name = |(key, value): (Id, Id)| match (pickle.text(key), pickle.text(value)) {
                (Some(name), None) => Some((pickle.int(value)?, name.to_owned())),
                (None, Some(name)) => Some((pickle.int(key)?, name.to_owned())),
                _ => None,
            };
            pickle.entries(id).and_then(|entries| entries.map(name).collect::<Option<BTreeMap<_, _>>>())
        };
        found.ok_or_else(|| self.fail(format!("{}; expected names and their numbers", self.describe())))
    }

    /// What the value is, for messages.
    pub fn describe(&self) -> String {
        match &self.content {
            Content::Pickled(pickle, id) => pickle.describe(*id),
            Content::Array(array) => format!("an array of {}", array.describe()),
        }
    }
}
