//! A folder for each class, and text files that say which classes are in which split: `data/<class>/*` with
//! `splits/<name>/{train,val,test}.txt`, as CIFAR-FS and some forms of miniImageNet come.
//!
//! Does not know: archives, tables with a row for each image.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::folders;
use super::names::split_of;
use crate::index::{Index, IndexedClass, IndexedSet};
use crate::tree::{Tree, TreeFile};
use crate::{Error, Limits, Split};

/// Classes by the lists that come with them; `None` where there is no list.
///
/// # Errors
/// [`Error::Malformed`] where there are lists of several splits to choose from, or a listed class has no folder, or two
/// lists name it, or two folders are called alike.
pub(crate) fn read(tree: &Tree, limits: Limits) -> Result<Option<Index>, Error> {
    let lists: Vec<(Split, &TreeFile)> = tree.files.iter().filter_map(|file| Some((list_split(file)?, file))).collect();
    let folders: BTreeSet<&str> = lists.iter().map(|(_, file)| file.split().0).collect();
    let Some(&folder) = folders.first() else { return Ok(None) };
    if folders.len() > 1 {
        let found = folders.into_iter().collect::<Vec<_>>().join(", ");
        return Err(Error::malformed(&tree.root, "class lists", format!("in {found}; expected those of one split")));
    }
    let images = tree.files.iter().filter(|file| file.is_image()).cloned().collect();
    let Some(whole) = folders::read(&Tree { root: tree.root.clone(), files: images }.unwrapped())? else {
        return Ok(None);
    };
    let mut classes = by_name(tree, whole.sets.into_iter().flat_map(|set| set.classes).collect())?;
    let mut sets = Vec::new();
    for (split, file) in lists {
        let text = tree.text(file, limits)?;
        let classes = listed(tree, file, &text, &mut classes)?;
        sets.push(IndexedSet { split: Some(split), path: tree.root.clone(), classes });
    }
    let mut problems = whole.problems;
    if let Some(name) = classes.keys().next() {
        problems
            .push(format!("{} classes are in no list of {folder}, such as {name}; they are left out", classes.len()));
    }
    Ok(Some(Index { form: "class folders with lists of splits", sets, problems }))
}

/// Classes by the names lists have for them: that of the last folder, whatever folders there are above it, or the whole
/// path where several last folders are called alike.
fn by_name(tree: &Tree, all: Vec<IndexedClass>) -> Result<BTreeMap<String, IndexedClass>, Error> {
    let last = |class: &IndexedClass| class.name.rsplit('/').next().unwrap_or(&class.name).to_owned();
    let mut count: HashMap<String, usize> = HashMap::new();
    all.iter().for_each(|class| *count.entry(last(class)).or_default() += 1);
    let mut classes = BTreeMap::new();
    for class in all {
        let last = last(&class);
        let name = if count.get(&last) == Some(&1) { last } else { class.name.clone() };
        if classes.insert(name.clone(), IndexedClass { name: name.clone(), ..class }).is_some() {
            return Err(Error::malformed(&tree.root, "class folders", format!("two of class {name}; expected one")));
        }
    }
    Ok(classes)
}

fn list_split(file: &TreeFile) -> Option<Split> {
    (file.ending() == "txt").then(|| split_of(&file.name)).flatten()
}

fn listed(
    tree: &Tree,
    file: &TreeFile,
    text: &str,
    classes: &mut BTreeMap<String, IndexedClass>,
) -> Result<Vec<IndexedClass>, Error> {
    let mut found = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let name = line.trim();
        if name.is_empty() {
            continue;
        }
        let class = classes.remove(name).ok_or_else(|| {
            let place = format!("{}:{}", file.name, number + 1);
            Error::malformed(&tree.root, place, format!("class {name:?} has no folder of images, or is listed twice"))
        })?;
        found.push(class);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn read_directory(files: &[(&str, &str)]) -> Result<Option<Index>, Error> {
        let directory = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = directory.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        read(&Tree::walk(directory.path()).unwrap(), Limits::default())
    }

    const IMAGES: [(&str, &str); 3] = [("data/apple/1.png", ""), ("data/bee/1.png", ""), ("data/cup/1.png", "")];

    #[test]
    fn lists_say_the_split_of_a_class() {
        let lists = [("splits/b/train.txt", "cup\napple\n"), ("splits/b/test.txt", "bee\r\n\n")];
        let index = read_directory(&[IMAGES.as_slice(), &lists].concat()).unwrap().unwrap();
        let sets: Vec<(_, Vec<_>)> =
            index.sets.iter().map(|s| (s.split, s.classes.iter().map(|c| c.name.as_str()).collect())).collect();
        assert_eq!(sets, [(Some(Split::Test), vec!["bee"]), (Some(Split::Train), vec!["cup", "apple"])]);
        assert!(index.problems.is_empty());
    }

    #[test]
    fn folders_called_alike_are_different_classes() {
        let images = [("data/x/cat/1.png", ""), ("data/y/cat/1.png", ""), ("data/x/dog/1.png", "")];
        let lists = [("s/train.txt", "x/cat\ndog\n"), ("s/test.txt", "y/cat\n")];
        let index = read_directory(&[images.as_slice(), &lists].concat()).unwrap().unwrap();
        let names: Vec<_> = index.sets.iter().flat_map(|set| &set.classes).map(|class| class.name.as_str()).collect();
        assert_eq!(names, ["y/cat", "x/cat", "dog"]);
        // Which of them is meant is not to be guessed.
        let error = read_directory(&[images.as_slice(), &[("s/train.txt", "cat\n")]].concat()).unwrap_err();
        assert!(error.to_string().contains("class \"cat\" has no folder"), "{error}");
    }

    #[test]
    fn classes_that_are_missing_listed_twice_or_not_at_all_are_told() {
        let says = |lists: &[(&str, &str)]| match read_directory(&[&IMAGES, lists].concat()) {
            Err(error) => error.to_string(),
            Ok(index) => index.unwrap().problems.join("\n"),
        };
        assert!(says(&[("s/train.txt", "apple\nfig\n")]).contains("s/train.txt:2: class \"fig\" has no folder"));
        assert!(says(&[("s/train.txt", "bee\n"), ("s/val.txt", "bee\n")]).contains("listed twice"));
        assert!(says(&[("s/train.txt", "bee\n"), ("t/train.txt", "bee\n")]).contains("in s, t; expected those of one"));
        assert_eq!(
            says(&[("s/train.txt", "bee\n")]),
            "2 classes are in no list of s, such as apple; they are left out"
        );
    }
}
