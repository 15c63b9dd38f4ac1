//! From the files of an archive or a directory to the compressed drawings in them, sorted.
//!
//! Does not know: pixels.

use std::path::Path;

use crate::tree::{Tree, TreeFile};
use crate::{Error, Limits};

/// A drawing of 105 x 105 bits has 1.5 kB; whatever is longer than this is not one.
const LONGEST_DRAWING: Limits = Limits::exactly(1 << 20);

/// One PNG file of an archive and what its name says.
#[derive(Debug)]
pub(super) struct Drawing {
    /// What stands before the alphabet, such as `images_background`.
    pub set: String,
    /// `Alphabet/characterNN`.
    pub class: String,
    pub drawer: u32,
    pub entry: String,
    pub png: Vec<u8>,
}

/// The drawings of an archive or a directory, sorted by set, class and drawer; at least one.
pub(super) fn read(tree: &Tree) -> Result<Vec<Drawing>, Error> {
    let mut drawings = Vec::new();
    let mut stray = None;
    for TreeFile { name, place } in tree.files.iter().filter(|file| file.name.ends_with(".png")) {
        match parse(name) {
            Some((set, class, drawer)) => {
                let png = place.read(LONGEST_DRAWING)?.into_owned();
                drawings.push(Drawing { set, class, drawer, entry: name.clone(), png });
            }
            None => stray = stray.or(Some(name)),
        }
    }
    let path = tree.root.clone();
    if drawings.is_empty() {
        let example = tree.files.first().map(|file| format!("{:?}", file.name));
        return Err(Error::NotOmniglot { path, found: example.unwrap_or("an empty archive".to_owned()) });
    }
    if let Some(entry) = stray {
        return Err(Error::UnexpectedEntry { path, entry: entry.clone() });
    }
    drawings.sort_by(|a, b| key(a).cmp(&key(b)));
    check_drawers(&path, &drawings)?;
    Ok(drawings)
}

fn key(drawing: &Drawing) -> (&str, &str, u32, &str) {
    let Drawing { set, class, drawer, entry, .. } = drawing;
    (set, class, *drawer, entry)
}

/// `<set>/<Alphabet>/characterNN/GGGG_DD.png` as set, class and drawer.
pub(crate) fn parse(entry: &str) -> Option<(String, String, u32)> {
    let (folder, file) = entry.rsplit_once('/')?;
    let (folder, character) = folder.rsplit_once('/')?;
    let (set, alphabet) = folder.rsplit_once('/').unwrap_or(("", folder));
    let (global, drawer) = file.strip_suffix(".png")?.split_once('_')?;
    let number = character.strip_prefix("character")?;
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if alphabet.is_empty() || !digits(number) || !digits(global) || !digits(drawer) {
        return None;
    }
    let class = format!("{alphabet}/{character}");
    Some((set.to_owned(), class, drawer.parse().ok()?))
}

fn check_drawers(path: &Path, sorted: &[Drawing]) -> Result<(), Error> {
    let clash = |pair: &&[Drawing]| {
        let [a, b] = pair else { return false };
        (&a.set, &a.class, a.drawer) == (&b.set, &b.class, b.drawer)
    };
    match sorted.windows(2).find(clash) {
        Some([a, b]) => Err(Error::DuplicateImage {
            path: path.to_owned(),
            class: a.class.clone(),
            drawer: a.drawer,
            first: a.entry.clone(),
            second: b.entry.clone(),
        }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_set_class_and_drawer() {
        let entry = "images_background/Malay_(Jawi_-_Arabic)/character03/0512_07.png";
        let (set, class, drawer) = parse(entry).unwrap();
        assert_eq!(set, "images_background");
        assert_eq!((class.as_str(), drawer), ("Malay_(Jawi_-_Arabic)/character03", 7));
        let (set, class, _) = parse("Greek/character01/0394_01.png").unwrap();
        assert_eq!((set.as_str(), class.as_str()), ("", "Greek/character01"));
    }

    #[test]
    fn other_names_are_no_drawings() {
        for entry in [
            "run01/training/class01.png",
            "images/Greek/character01/0394_01 (1).png",
            "images/Greek/character/0394_01.png",
            "images/Greek/letter01/0394_01.png",
            "images/Greek/character01/0394_.png",
            "character01/0394_01.png",
            "/character01/0394_01.png",
        ] {
            assert!(parse(entry).is_none(), "{entry}");
        }
    }
}
