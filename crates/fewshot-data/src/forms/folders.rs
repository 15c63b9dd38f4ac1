//! A folder for each class, with or without folders of splits above them: what people make of their own images, and
//! what most archives unpack to.
//!
//! Does not know: lists, archives.

use std::collections::BTreeMap;

use super::names::{IMAGE_FOLDERS, split_of};
use crate::index::{Images, Index, IndexedClass, IndexedSet};
use crate::tree::{Tree, TreeFile};
use crate::{Error, Split};

/// Folders of images as classes; `None` where no image is in a folder.
///
/// The first folder is a split where all first folders are called like one; the last is the class; those between are
/// its group. Images that lie above the classes are a problem that is told.
pub(crate) fn read(tree: &Tree) -> Result<Option<Index>, Error> {
    let images: Vec<&TreeFile> = tree.files.iter().filter(|file| file.is_image()).collect();
    let (inside, above): (Vec<&TreeFile>, Vec<_>) = images.into_iter().partition(|file| file.name.contains('/'));
    if inside.is_empty() {
        return Ok(None);
    }
    let in_split = |file: &&&TreeFile| top_split(file).is_some() && file.name.matches('/').count() > 1;
    let by_split = inside.iter().all(|file| in_split(&file));
    let mut problems = Vec::new();
    if let (false, Some(split), Some(other)) =
        (by_split, inside.iter().find(in_split), inside.iter().find(|file| !in_split(file)))
    {
        let top = split.name.split('/').next().unwrap_or_default();
        problems.push(format!(
            "{top} is called like a part of a split, but {} is in no class of such a part; all are taken for classes",
            other.name
        ));
    }
    let mut sets: BTreeMap<Option<Split>, Classes> = BTreeMap::new();
    for file in inside {
        let split = by_split.then(|| top_split(file)).flatten();
        let skip = if by_split { file.name.find('/').map_or(0, |at| at + 1) } else { 0 };
        let folder = file.split().0.get(skip..).unwrap_or_default();
        sets.entry(split).or_default().entry(class_name(folder)).or_default().push(file.place.clone());
    }
    if let Some(stray) = above.first() {
        problems.push(format!(
            "{} images are in no class folder, such as {}; they are left out",
            above.len(),
            stray.name
        ));
    }
    let form = if by_split { "folders of splits and classes" } else { "a folder for each class" };
    let set = |(split, classes): (Option<Split>, Classes)| {
        let class = |(name, images): (String, Vec<_>)| IndexedClass {
            group: name.rsplit_once('/').map_or("", |(group, _)| group).to_owned(),
            name,
            images: Images::Encoded(images),
        };
        IndexedSet { split, path: tree.root.clone(), classes: classes.into_iter().map(class).collect() }
    };
    Ok(Some(Index { form, sets: sets.into_iter().map(set).collect(), problems }))
}

type Classes = BTreeMap<String, Vec<crate::index::Encoded>>;

fn top_split(file: &TreeFile) -> Option<Split> {
    file.name.split_once('/').and_then(|(top, _)| split_of(top))
}

/// The folder without folders that only say that there are images: `n01532829/images` is the class `n01532829`.
fn class_name(folder: &str) -> String {
    let parts: Vec<&str> = folder.split('/').collect();
    let kept: Vec<&str> = parts.iter().copied().filter(|part| !IMAGE_FOLDERS.contains(part)).collect();
    if kept.is_empty() { folder.to_owned() } else { kept.join("/") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::Encoded;
    use std::path::PathBuf;

    fn index(names: &[&str]) -> Option<Index> {
        let file = |&name: &&str| TreeFile { name: name.to_owned(), place: Encoded::File(PathBuf::from(name)) };
        let tree = Tree { root: PathBuf::from("root"), files: names.iter().map(file).collect() };
        read(&tree).unwrap()
    }

    fn classes(set: &IndexedSet) -> Vec<(&str, &str, usize)> {
        set.classes.iter().map(|c| (c.name.as_str(), c.group.as_str(), c.image_count())).collect()
    }

    #[test]
    fn folders_are_classes_and_those_above_groups() {
        let index = index(&["pets/cat/1.png", "pets/cat/2.jpg", "pets/dog/1.JPEG", "wild/owl/1.png", "a.txt"]).unwrap();
        assert_eq!(index.sets.len(), 1);
        let expected = [("pets/cat", "pets", 2), ("pets/dog", "pets", 1), ("wild/owl", "wild", 1)];
        assert_eq!(classes(&index.sets[0]), expected);
        assert_eq!(index.sets[0].split, None);
    }

    #[test]
    fn folders_called_like_splits_are_splits() {
        let index = index(&["test/a/1.png", "train/b/1.png", "train/c/1.png", "validation/d/images/1.png"]).unwrap();
        let splits: Vec<_> = index.sets.iter().map(|set| (set.split, set.classes.len())).collect();
        assert_eq!(splits, [(Some(Split::Train), 2), (Some(Split::Val), 1), (Some(Split::Test), 1)]);
        assert_eq!(classes(&index.sets[1]), [("d", "", 1)]);
    }

    #[test]
    fn a_class_called_train_is_a_class() {
        let index = index(&["train/1.png", "boat/1.png"]).unwrap();
        assert_eq!(classes(&index.sets[0]).len(), 2);
        assert_eq!(index.sets[0].split, None);
        assert!(index.problems.is_empty());
    }

    #[test]
    fn a_split_with_a_part_that_has_no_classes_is_told() {
        // As competitions give out data: nobody may know the classes of the test.
        let index = index(&["test/1.png", "test/2.png", "train/cat/1.png", "train/dog/1.png"]).unwrap();
        let expected = "train is called like a part of a split, but test/1.png is in no class of such a part; all are \
                        taken for classes";
        assert_eq!(index.problems, [expected]);
    }

    #[test]
    fn images_above_the_classes_are_told_and_alone_are_nothing() {
        assert!(index(&["1.png"]).is_none());
        let problems = index(&["1.png", "a/1.png"]).unwrap().problems;
        assert_eq!(problems, ["1 images are in no class folder, such as 1.png; they are left out"]);
    }
}
