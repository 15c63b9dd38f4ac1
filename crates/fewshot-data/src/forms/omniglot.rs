//! Omniglot's drawings, listed: `<set>/<Alphabet>/characterNN/GGGG_DD.png` in archives or unpacked.
//!
//! Does not know: how they are scaled and inverted; [`Omniglot`](crate::Omniglot) reads them.

use std::collections::BTreeMap;
use std::path::Path;

use crate::Error;
use crate::index::{Encoded, Images, Index, IndexedClass, IndexedSet};
use crate::omniglot::drawing_name;
use crate::tree::{Tree, TreeFile};

/// What the form is called.
pub(crate) const FORM: &str = "Omniglot drawings";

/// Whether all images of a tree are named as drawings are.
pub(crate) fn is_omniglot(tree: &Tree) -> bool {
    let mut images = tree.files.iter().filter(|file| file.is_image()).peekable();
    images.peek().is_some() && images.all(|file| drawing_name(&file.name).is_some())
}

/// The characters of these trees; copies of a character count once.
pub(crate) fn read(path: &Path, trees: &[Tree]) -> Result<Index, Error> {
    let mut classes: BTreeMap<String, BTreeMap<u32, Encoded>> = BTreeMap::new();
    for file in trees.iter().flat_map(|tree| &tree.files) {
        let TreeFile { name, place } = file;
        if let Some((_, class, drawer)) = drawing_name(name) {
            classes.entry(class).or_default().entry(drawer).or_insert_with(|| place.clone());
        }
    }
    let class = |(name, drawings): (String, BTreeMap<u32, Encoded>)| IndexedClass {
        group: name.split('/').next().unwrap_or_default().to_owned(),
        name,
        images: Images::Encoded(drawings.into_values().collect()),
    };
    let classes = classes.into_iter().map(class).collect();
    let set = IndexedSet { split: None, path: path.to_owned(), classes };
    Ok(Index { form: FORM, sets: vec![set], problems: Vec::new() })
}
