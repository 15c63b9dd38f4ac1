//! Tables with a row for each image: its file and its class, as miniImageNet's splits come, and as people write them
//! for their own images.
//!
//! Does not know: archives, lists of classes.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::Path;

use super::names::{IMAGE_FOLDERS, is_image_name, split_of};
use crate::error::one_line;
use crate::index::{Encoded, Images, Index, IndexedClass, IndexedSet};
use crate::tree::{Tree, TreeFile};
use crate::{Error, Limits, Split};

/// Column names for files, classes and splits, as different distributions have them.
const FILE_COLUMNS: [&str; 11] = [
    "filename",
    "image_name",
    "file",
    "path",
    "image",
    "filepath",
    "file_name",
    "file_path",
    "image_path",
    "image_file",
    "img_path",
];
const CLASS_COLUMNS: [&str; 7] = ["label", "class", "class_name", "label_name", "category", "target", "labels"];
const SPLIT_COLUMNS: [&str; 3] = ["split", "set", "subset"];

/// The images of the tables of a tree; `None` where there is no table.
///
/// The split is that of a `split` column, else the one the file is named after.
///
/// # Errors
/// [`Error::Malformed`] for a table without the two columns or without rows, a row of another length, an empty cell, an
/// image that is not there, an image in two rows, or a second table of a split.
pub(crate) fn read(tree: &Tree, limits: Limits) -> Result<Option<Index>, Error> {
    let all: Vec<&TreeFile> = tree.files.iter().filter(|file| matches!(&*file.ending(), "csv" | "tsv")).collect();
    let named: Vec<&TreeFile> = all.iter().copied().filter(|file| split_of(&file.name).is_some()).collect();
    // Other tables beside those of the splits are somebody's notes; one table alone is the dataset, unless the folders
    // are one and it is none.
    let tables = match (named.as_slice(), all.as_slice()) {
        ([], [only]) if !has_class_folders(tree) || is_of_images(&tree.text(only, limits)?) => vec![*only],
        ([], _) => return Ok(None),
        _ => named,
    };
    let files = Files::of(tree);
    let mut sets: BTreeMap<Option<Split>, Rows> = BTreeMap::new();
    for table in tables {
        for (split, rows) in read_table(tree, table, &files, limits)? {
            if sets.insert(split, rows).is_some() {
                let name = split.map_or("whole set", Split::name);
                return Err(Error::malformed(&tree.root, &table.name, format!("a second table of the {name}")));
            }
        }
    }
    let set = |(split, rows): (_, Rows)| IndexedSet { split, path: tree.root.clone(), classes: rows.into_classes() };
    let sets = sets.into_iter().map(set).collect();
    Ok(Some(Index { form: "tables of images and classes", sets, problems: Vec::new() }))
}

fn has_class_folders(tree: &Tree) -> bool {
    tree.files.iter().any(|file| file.is_image() && file.name.contains('/'))
}

/// Whether the first row of a table is one of images and classes, or of their columns' names. An empty table may have
/// been meant to be.
fn is_of_images(text: &str) -> bool {
    reader(text).records().next().is_none_or(|record| record.is_ok_and(|record| Columns::find(&record).is_ok()))
}

fn reader(text: &str) -> csv::Reader<&[u8]> {
    let mut reader = csv::ReaderBuilder::new();
    reader.has_headers(false).delimiter(delimiter(text)).trim(csv::Trim::All);
    reader.from_reader(text.as_bytes())
}

/// Images by class, classes in the order they come in.
#[derive(Default)]
struct Rows {
    order: Vec<String>,
    images: HashMap<String, Vec<Encoded>>,
}

impl Rows {
    fn push(&mut self, class: &str, image: Encoded) {
        if !self.images.contains_key(class) {
            self.order.push(class.to_owned());
        }
        self.images.entry(class.to_owned()).or_default().push(image);
    }

    fn into_classes(mut self) -> Vec<IndexedClass> {
        let images = &mut self.images;
        let class = |name: String| {
            let images = Images::Encoded(images.remove(&name).unwrap_or_default());
            IndexedClass { name, group: String::new(), images }
        };
        self.order.into_iter().map(class).collect()
    }
}

fn read_table(
    tree: &Tree,
    table: &TreeFile,
    files: &Files,
    limits: Limits,
) -> Result<BTreeMap<Option<Split>, Rows>, Error> {
    let text = tree.text(table, limits)?;
    let malformed =
        |line: u64, problem: String| Error::malformed(&tree.root, format!("{}:{line}", table.name), problem);
    let mut reader = reader(&text);
    let mut columns: Option<Columns> = None;
    let mut sets: BTreeMap<Option<Split>, Rows> = BTreeMap::new();
    let mut seen = HashSet::new();
    for record in reader.records() {
        let record = record.map_err(|e| malformed(e.position().map_or(0, csv::Position::line), one_line(&e)))?;
        let line = record.position().map_or(0, csv::Position::line);
        let columns = match &columns {
            Some(columns) => columns,
            None => {
                let found = Columns::find(&record).map_err(|problem| malformed(line, problem))?;
                let headed = found.headed;
                let found = &*columns.insert(found);
                if headed {
                    continue;
                }
                found
            }
        };
        add(table, files, columns, &record, &mut sets, &mut seen).map_err(|problem| malformed(line, problem))?;
    }
    if sets.is_empty() {
        return Err(Error::malformed(&tree.root, &table.name, "no rows; expected one for each image"));
    }
    Ok(sets)
}

fn add(
    table: &TreeFile,
    files: &Files,
    columns: &Columns,
    record: &csv::StringRecord,
    sets: &mut BTreeMap<Option<Split>, Rows>,
    seen: &mut HashSet<String>,
) -> Result<(), String> {
    let cell = |column: usize| record.get(column).filter(|cell| !cell.is_empty());
    let (Some(file), Some(class)) = (cell(columns.file), cell(columns.class)) else {
        return Err("an empty cell; expected an image and its class".to_owned());
    };
    let split = match (columns.split.and_then(cell), split_of(&table.name)) {
        (Some(cell), _) => Some(split_of(cell).ok_or_else(|| format!("split {cell:?}; expected train, val or test"))?),
        // Beside images of a split, those of none could only be lost.
        (None, None) if columns.split.is_some() => return Err("an empty split; expected train, val or test".to_owned()),
        (None, named) => named,
    };
    let (name, image) = files.find(table, file, class)?;
    if !seen.insert(name) {
        return Err(format!("image {file} a second time; expected each image once"));
    }
    sets.entry(split).or_default().push(class, image);
    Ok(())
}

/// The character that separates columns: the most frequent candidate of the first line that is not blank.
fn delimiter(text: &str) -> u8 {
    let first = text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
    let count = |&byte: &u8| first.bytes().filter(|b| *b == byte).count();
    // The last of several maxima wins, so a line without any is comma-separated.
    [b';', b'\t', b','].into_iter().max_by_key(count).unwrap_or(b',')
}

/// Which column is what.
struct Columns {
    file: usize,
    class: usize,
    split: Option<usize>,
    headed: bool,
}

impl Columns {
    /// From the first row: its names, or, without a header, the column that looks like a file.
    fn find(first: &csv::StringRecord) -> Result<Self, String> {
        let lower: Vec<String> = first.iter().map(|cell| cell.to_ascii_lowercase().replace([' ', '-'], "_")).collect();
        let image = |cell: &String| is_image_name(cell);
        if let Some(file) = lower.iter().position(image) {
            return match lower.len() {
                2 => Ok(Self { file, class: 1 - file, split: None, headed: false }),
                n => Err(format!("{n} columns without names; expected a header, or the two columns image and class")),
            };
        }
        let named = |names: &[&str]| names.iter().find_map(|name| lower.iter().position(|cell| cell == name));
        match (named(&FILE_COLUMNS), named(&CLASS_COLUMNS)) {
            (Some(file), Some(class)) => Ok(Self { file, class, split: named(&SPLIT_COLUMNS), headed: true }),
            _ => {
                let found = first.iter().collect::<Vec<_>>().join(", ");
                Err(format!(
                    "columns {found}; expected one named filename (or path, image) and one named label (or class)"
                ))
            }
        }
    }
}

/// The image files a table may speak of.
struct Files<'a> {
    tree: &'a Tree,
    by_name: HashMap<&'a str, &'a TreeFile>,
    /// By the name in the last folder; `None` where several files have it.
    by_last: HashMap<&'a str, Option<&'a TreeFile>>,
    /// What the tree's folder or archive is called.
    root: Option<&'a str>,
}

impl<'a> Files<'a> {
    fn of(tree: &'a Tree) -> Self {
        let (mut by_name, mut by_last) = (HashMap::new(), HashMap::new());
        for file in tree.files.iter().filter(|file| file.is_image()) {
            by_name.insert(file.name.as_str(), file);
            by_last.entry(file.split().1).and_modify(|found| *found = None).or_insert(Some(file));
        }
        let root = if tree.root.is_dir() { tree.root.file_name() } else { tree.root.file_stem() };
        Self { tree, by_name, by_last, root: root.and_then(|root| root.to_str()) }
    }

    /// The image a row names: a path from the table or the root on, or a name in the folder of images or of the class;
    /// a path from elsewhere without its first folders; or a bare name that only one image has.
    fn find(&self, table: &TreeFile, file: &str, class: &str) -> Result<(String, Encoded), String> {
        let file = file.replace('\\', "/");
        let file = file.trim_start_matches("./");
        let places = places_of(table.split().0, file, class);
        let named = |place: &str| self.by_name.get(place).copied();
        let found = places.iter().find_map(|place| named(place));
        // A path that names a folder means no image of another folder, whatever that is called.
        let bare = || self.by_last.get(file).copied().flatten();
        let in_tree = |file: &TreeFile| Ok((file.name.clone(), file.place.clone()));
        if let Some(found) = found.or_else(bare) {
            return in_tree(found);
        }
        // A table may stand outside the folder of its images; an archive's table may not.
        if let Encoded::File(table) = &table.place {
            let folder = table.parent().unwrap_or(Path::new(""));
            let places = places_of("", file, class);
            let parent = folder.file_name().and_then(|name| name.to_str());
            let mut all = places.iter().map(String::as_str).chain(endings(file, parent));
            if let Some(path) = all.find_map(|place| Some(folder.join(place)).filter(|path| path.is_file())) {
                return Ok((path.display().to_string(), Encoded::File(path)));
            }
        }
        let within = |ending: &str| match table.split().0 {
            "" => named(ending),
            folder => named(&format!("{folder}/{ending}")).or_else(|| named(ending)),
        };
        if let Some(found) = endings(file, self.root).find_map(within) {
            return in_tree(found);
        }
        match self.by_last.contains_key(file) {
            true => Err(format!("image {file} is in several folders below {}", self.tree.root.display())),
            false => Err(format!("image {file} is not there; looked for {}", places.join(", "))),
        }
    }
}

fn places_of(folder: &str, file: &str, class: &str) -> Vec<String> {
    let within = |folder: &str| if folder.is_empty() { String::new() } else { format!("{folder}/") };
    let mut places = Vec::new();
    for base in [within(folder), String::new()] {
        places.push(format!("{base}{file}"));
        places.extend(IMAGE_FOLDERS.iter().map(|images| format!("{base}{images}/{file}")));
        places.push(format!("{base}{class}/{file}"));
    }
    let mut seen = BTreeSet::new();
    places.retain(|place| seen.insert(place.clone()));
    places
}

/// A path from elsewhere without its first folders, longest first. The bare name is among them only where the folder
/// before it is called as the one it is looked for in.
fn endings<'a>(file: &'a str, folder: Option<&'a str>) -> impl Iterator<Item = &'a str> {
    let slashes = file.match_indices('/').map(|(at, _)| (&file[..at], &file[at + 1..]));
    let here = move |before: &str| folder.is_some() && before.rsplit('/').next() == folder;
    slashes.filter(move |(before, after)| after.contains('/') || here(before)).map(|(_, after)| after)
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

    fn classes(files: &[(&str, &str)]) -> Vec<(Option<Split>, String, usize)> {
        let index = read_directory(files).unwrap().unwrap();
        let of = |set: &IndexedSet| {
            set.classes.iter().map(|c| (set.split, c.name.clone(), c.image_count())).collect::<Vec<_>>()
        };
        index.sets.iter().flat_map(of).collect()
    }

    const IMAGES: [(&str, &str); 3] = [("images/a1.jpg", ""), ("images/a2.jpg", ""), ("images/b1.jpg", "")];

    #[test]
    fn the_tables_of_splits_are_read_in_any_of_their_forms() {
        let expected = [(Some(Split::Train), "b".to_owned(), 1), (Some(Split::Test), "a".to_owned(), 2)];
        let forms: [[(&str, &str); 2]; 4] = [
            [("train.csv", "filename,label\nb1.jpg,b\n"), ("test.csv", "filename,label\na1.jpg,a\na2.jpg,a\n")],
            [
                ("split/train.csv", "filename,class\r\n\r\nb1.jpg,b\r\n"),
                ("split/test.csv", "class_name,image_name\na,a2.jpg\na,a1.jpg\n"),
            ],
            [("train.csv", "images/b1.jpg;b\n"), ("test.csv", "a\t./images/a1.jpg\na\timages\\a2.jpg\n")],
            [
                ("train.csv", "\u{feff}path,label\n\"b1.jpg\",b\n"),
                ("test.csv", "label,note,image\na,x,a1.jpg\na,y,a2.jpg\n"),
            ],
        ];
        for tables in forms {
            assert_eq!(classes(&[IMAGES.as_slice(), &tables].concat()), expected, "{tables:?}");
        }
    }

    #[test]
    fn one_table_may_have_a_column_of_splits_or_none() {
        let one = |text| classes(&[IMAGES.as_slice(), &[("mine.csv", text)]].concat());
        let split = one("path,label,split\na1.jpg,a,train\nb1.jpg,b,validation\n");
        assert_eq!(split, [(Some(Split::Train), "a".to_owned(), 1), (Some(Split::Val), "b".to_owned(), 1)]);
        assert_eq!(one("path,label\na1.jpg,a\n"), [(None, "a".to_owned(), 1)]);
    }

    #[test]
    fn folders_of_classes_tell_equal_names_apart() {
        let images = [("a/1.png", ""), ("b/1.png", ""), ("all.csv", "filename,label\n1.png,a\n1.png,b\n")];
        assert_eq!(classes(&images), [(None, "a".to_owned(), 1), (None, "b".to_owned(), 1)]);
        let error = read_directory(&[("x/1.png", ""), ("y/1.png", ""), ("all.csv", "filename,label\n1.png,a\n")]);
        assert!(error.unwrap_err().to_string().contains("is in several folders"));
    }

    #[test]
    fn an_image_of_another_folder_is_never_taken_for_the_one_that_is_named() {
        // cat/1.png is missing; the only image of that name is a dog.
        let error = read_directory(&[("dog/1.png", ""), ("all.csv", "filename,label\ncat/1.png,cat\n")]).unwrap_err();
        assert!(error.to_string().contains("all.csv:2: image cat/1.png is not there"), "{error}");
    }

    #[test]
    fn paths_from_elsewhere_are_found_by_their_last_folders() {
        let images = [("cat/1.png", ""), ("dog/1.png", "")];
        for path in ["C:\\Users\\me\\pets\\dog\\1.png", "/home/me/pets/dog/1.png", "../pets/dog/1.png"] {
            let table = format!("filename,label\n{path},dog\n");
            assert_eq!(classes(&[images.as_slice(), &[("all.csv", &table)]].concat()), [(None, "dog".to_owned(), 1)]);
        }
        assert_eq!(endings("a/pets/1.png", Some("pets")).collect::<Vec<_>>(), ["pets/1.png", "1.png"]);
        assert_eq!(endings("a/cat/1.png", Some("pets")).collect::<Vec<_>>(), ["cat/1.png"]);
    }

    #[test]
    fn an_empty_split_is_an_error_where_others_are_told() {
        let table = [("all.csv", "path,label,split\na1.jpg,a,train\nb1.jpg,b,\n")];
        let error = read_directory(&[IMAGES.as_slice(), &table].concat()).unwrap_err().to_string();
        assert!(error.ends_with("all.csv:3: an empty split; expected train, val or test"), "{error}");
        // The name of the table tells it as well.
        let named = [("train.csv", "path,label,split\nb1.jpg,b,\n")];
        assert_eq!(classes(&[IMAGES.as_slice(), &named].concat()), [(Some(Split::Train), "b".to_owned(), 1)]);
    }

    #[test]
    fn tables_as_spreadsheets_write_them() {
        for (name, text) in [
            ("all.tsv", "filename\tlabel\na1.jpg\ta\n"),
            ("all.csv", "\n\nFile Name;Label\na1.jpg;a\n"),
            ("all.csv", "image_path,Class Name\nimages/a1.jpg,a\n"),
        ] {
            let found = classes(&[IMAGES.as_slice(), &[(name, text)]].concat());
            assert_eq!(found, [(None, "a".to_owned(), 1)], "{text:?}");
        }
        for empty in ["", "filename,label\n"] {
            let error = read_directory(&[IMAGES.as_slice(), &[("all.csv", empty)]].concat()).unwrap_err().to_string();
            assert!(error.ends_with("all.csv: no rows; expected one for each image"), "{error}");
        }
    }

    #[test]
    fn bad_tables_are_errors_with_the_line() {
        let says = |text: &str| match read_directory(&[IMAGES.as_slice(), &[("train.csv", text)]].concat()) {
            Err(error) => error.to_string().split_once("train.csv:").unwrap().1.to_owned(),
            Ok(_) => String::new(),
        };
        assert!(
            says("filename,label\na9.jpg,a\n").starts_with("2: image a9.jpg is not there; looked for a9.jpg, images/")
        );
        assert_eq!(
            says("filename,label\na1.jpg,a\na1.jpg,b\n"),
            "3: image a1.jpg a second time; expected each image once"
        );
        assert!(says("x,y\na1.jpg,a\n").starts_with("1: columns x, y; expected one named filename"));
        assert!(says("filename,label\na1.jpg\n").starts_with("2: "));
        assert_eq!(says("filename,label\na1.jpg,\n"), "2: an empty cell; expected an image and its class");
        assert_eq!(says("filename,label,split\na1.jpg,a,dev\n"), "2: split \"dev\"; expected train, val or test");
        let twice = [("a/train.csv", "b1.jpg,b\n"), ("b/train.csv", "a1.jpg,a\n")];
        let error = read_directory(&[IMAGES.as_slice(), &twice].concat()).unwrap_err().to_string();
        assert!(error.ends_with("b/train.csv: a second table of the train"), "{error}");
    }

    #[test]
    fn a_table_may_stand_outside_its_images() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("mine.csv");
        fs::create_dir(directory.path().join("images")).unwrap();
        fs::write(directory.path().join("images/a1.jpg"), "").unwrap();
        fs::write(&path, "filename,label\na1.jpg,a\n").unwrap();
        let file = TreeFile { name: "mine.csv".to_owned(), place: Encoded::File(path.clone()) };
        let index = read(&Tree { root: path, files: vec![file] }, Limits::default()).unwrap().unwrap();
        assert_eq!(index.sets[0].classes[0].image_count(), 1);
    }
}
