//! The forms datasets are distributed in, one file for each family: from files to an index.
//!
//! Does not know: how images are decoded, where decoded images are kept.

pub(crate) mod arrays;
pub(crate) mod class_lists;
pub(crate) mod folders;
pub(crate) mod names;
pub(crate) mod omniglot;
pub(crate) mod tables;

use crate::index::Index;
use crate::tree::Tree;
use crate::{Error, Limits};

/// Reads a tree of image files, in whichever form it is; `None` where it is in none.
///
/// # Errors
/// Those of the form it is in.
pub(crate) fn read_tree(tree: &Tree, limits: Limits) -> Result<Option<Index>, Error> {
    if let Some(index) = tables::read(tree, limits)? {
        return Ok(Some(index));
    }
    if let Some(index) = class_lists::read(tree, limits)? {
        return Ok(Some(index));
    }
    folders::read(tree)
}
