//! What a source holds, in numbers and sentences, for people and for programs.
//!
//! Does not know: how it is printed.

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde::Serialize;

use crate::index::{Encoded, Images, IndexedClass, IndexedSet};
use crate::picture::dimensions;
use crate::{Benchmark, Limits, Source, Split};

/// Image files whose headers are looked at in each class.
const SAMPLE: usize = 3;

/// What a [`Source`] holds.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The path it was opened at.
    pub path: PathBuf,
    /// The form, in words.
    pub form: String,
    /// The parts of its split, or the one set it is.
    pub sets: Vec<SetReport>,
    /// What is odd about it, a sentence each.
    pub problems: Vec<String>,
}

/// One part of a source.
#[derive(Clone, Debug, Serialize)]
pub struct SetReport {
    /// Which part; `None` where the source has no split.
    pub split: Option<Split>,
    /// The file or directory it is in.
    pub path: PathBuf,
    /// How many classes it has.
    pub classes: usize,
    /// How many different groups (alphabets, categories) the classes belong to.
    pub groups: usize,
    /// How many images it has.
    pub images: usize,
    /// Images of the smallest and of the largest class.
    pub images_per_class: [usize; 2],
    /// The sizes of its images as `[height, width]`, smallest first; of image files the first three of each class are
    /// looked at.
    pub sizes: Vec<[usize; 2]>,
    /// Whether the images are arrays that can be used where they are; others are decoded into a cache.
    pub in_place: bool,
    /// The names of the classes.
    pub class_names: Vec<String>,
    /// The images of each class, in the order of the names.
    pub class_images: Vec<usize>,
    /// The part of a benchmark that has as many classes, of as many images and of this size.
    pub like: Option<String>,
}

impl Source {
    /// What was found, with the problems that can be told without decoding the images.
    ///
    /// # Cost
    /// The headers of three image files of each class.
    pub fn report(&self) -> Report {
        let index = self.index();
        let mut problems = index.problems.clone();
        let sets: Vec<_> = index.sets.iter().map(|set| set_report(set, self.limits(), &mut problems)).collect();
        problems.extend(shared_classes(&index.sets));
        Report { path: self.path().to_owned(), form: index.form.to_owned(), sets, problems }
    }
}

fn set_report(set: &IndexedSet, limits: Limits, problems: &mut Vec<String>) -> SetReport {
    let counts: Vec<usize> = set.classes.iter().map(IndexedClass::image_count).collect();
    let name = set.split.map_or("the dataset", Split::name);
    let mut sizes = BTreeSet::new();
    for class in &set.classes {
        sizes_of(class, limits, &mut sizes, problems);
    }
    if let Some(class) = set.classes.iter().find(|class| class.image_count() < 2) {
        let few = counts.iter().filter(|&&count| count < 2).count();
        problems.push(format!(
            "{few} classes of {name} have fewer than 2 images, such as {}: support and query share no image",
            class.name
        ));
    }
    if sizes.len() > 1 {
        problems.push(format!("images of {name} have different sizes; set one to load them"));
    }
    let groups: BTreeSet<&str> =
        set.classes.iter().map(|class| class.group.as_str()).filter(|g| !g.is_empty()).collect();
    SetReport {
        split: set.split,
        path: set.path.clone(),
        classes: set.classes.len(),
        groups: groups.len(),
        images: counts.iter().sum(),
        images_per_class: [counts.iter().min(), counts.iter().max()].map(|count| count.copied().unwrap_or(0)),
        sizes: sizes.iter().copied().collect(),
        in_place: set.classes.iter().all(|class| matches!(class.images, Images::Rows { .. })),
        class_names: set.classes.iter().map(|class| class.name.clone()).collect(),
        like: Benchmark::like(set.split, &counts, sizes.first().copied()),
        class_images: counts,
    }
}

fn sizes_of(class: &IndexedClass, limits: Limits, sizes: &mut BTreeSet<[usize; 2]>, problems: &mut Vec<String>) {
    let encoded: &[Encoded] = match &class.images {
        Images::Rows { shape: [_, height, width], .. } => {
            sizes.insert([*height, *width]);
            return;
        }
        Images::Encoded(images) => images,
    };
    for image in encoded.iter().take(SAMPLE) {
        match image.read(limits).map(|bytes| dimensions(&bytes)) {
            Ok(Ok(size)) => drop(sizes.insert(size)),
            Ok(Err(problem)) => problems.push(format!("image {image:?} of class {}: {problem}", class.name)),
            // Names the file already.
            Err(error) => problems.push(format!("class {}: {error}", class.name)),
        }
    }
}

/// Classes in two parts, which no few-shot test may have.
fn shared_classes(sets: &[IndexedSet]) -> Vec<String> {
    let mut problems = Vec::new();
    for (at, first) in sets.iter().enumerate() {
        let names: BTreeSet<&str> = first.classes.iter().map(|class| class.name.as_str()).collect();
        for second in &sets[at + 1..] {
            let shared: Vec<&str> =
                second.classes.iter().map(|class| class.name.as_str()).filter(|name| names.contains(name)).collect();
            if let (Some(example), [Some(a), Some(b)]) = (shared.first(), [first.split, second.split]) {
                problems.push(format!("{} classes are in both {a} and {b}, such as {example}", shared.len()));
            }
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_report_tells_numbers_and_problems() {
        let directory = tempfile::tempdir().unwrap();
        let png = |side: u32| {
            let mut bytes = Vec::new();
            let encoder = png::Encoder::new(&mut bytes, side, side);
            encoder.write_header().unwrap().write_image_data(&vec![0; (side * side) as usize]).unwrap();
            bytes
        };
        let files = [
            ("train/a/1.png", 4),
            ("train/a/2.png", 4),
            ("train/b/1.png", 5),
            ("test/a/1.png", 4),
            ("test/a/2.png", 0),
        ];
        for (name, side) in files {
            let path = directory.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, if side > 0 { png(side) } else { b"GIF89a".to_vec() }).unwrap();
        }
        let report = Source::open(directory.path()).unwrap().report();
        let [train, test] = &report.sets[..] else { panic!("{report:?}") };
        assert_eq!(
            (train.split, train.classes, train.images, train.images_per_class),
            (Some(Split::Train), 2, 3, [1, 2])
        );
        assert_eq!((&train.sizes, test.images), (&vec![[4, 4], [5, 5]], 2));
        let expected = [
            "1 classes of train have fewer than 2 images, such as b: support and query share no image",
            "images of train have different sizes; set one to load them",
            "begins with \"GIF89a\"",
            "1 classes are in both train and test, such as a",
        ];
        assert_eq!(report.problems.len(), expected.len(), "{:?}", report.problems);
        assert!(report.problems.iter().zip(expected).all(|(found, expected)| found.contains(expected)), "{report:?}");
    }
}
