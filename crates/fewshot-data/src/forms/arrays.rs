//! Array files.
//!
//! Does not know: yet.
use crate::index::IndexedSet;
use crate::{Error, Limits};
pub(crate) fn read_file(
    _: &std::path::Path,
    _: Limits,
) -> Result<Option<(&'static str, Vec<IndexedSet>, Vec<String>)>, Error> {
    Ok(None)
}
