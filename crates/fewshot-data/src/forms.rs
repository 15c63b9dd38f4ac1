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
use crate::tree::{Tree, TreeFile};
use crate::{Error, Limits};

/// Reads a tree of image files, in whichever form it is; `None` where it is in none.
///
/// # Errors
/// Those of the form it is in.
pub(crate) fn read_tree(tree: &Tree, limits: Limits) -> Result<Option<Index>, Error> {
    if let Some(index) = tables::read(tree, limits)? {
        return Ok(Some(index));
    }
    let index = match class_lists::read(tree, limits)? {
        Some(index) => Some(index),
        None => folders::read(tree)?,
    };
    Ok(index.map(|mut index| {
        index.problems.extend(images_not_read(tree));
        index
    }))
}

/// Files that are images in formats that are not read, which would be missed without a word.
fn images_not_read(tree: &Tree) -> Option<String> {
    let is_other = |file: &&TreeFile| names::is_other_image_name(&file.name.to_lowercase());
    let count = tree.files.iter().filter(is_other).count();
    let example = tree.files.iter().find(is_other)?;
    Some(format!("{count} images are neither PNG nor JPEG, such as {}; they are left out (convert them)", example.name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::Encoded;
    use std::path::PathBuf;

    #[test]
    fn images_of_other_formats_are_told() {
        let file = |name: &str| TreeFile { name: name.to_owned(), place: Encoded::File(PathBuf::from(name)) };
        let files = ["a/1.png", "a/2.WEBP", "a/Thumbs.db", "b/1.jfif", "b/2.heic"].map(file).to_vec();
        let index = read_tree(&Tree { root: PathBuf::new(), files }, Limits::default()).unwrap().unwrap();
        assert_eq!(index.sets[0].classes.len(), 2);
        let expected = "2 images are neither PNG nor JPEG, such as a/2.WEBP; they are left out (convert them)";
        assert_eq!(index.problems, [expected]);
    }
}
