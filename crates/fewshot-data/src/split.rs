//! Splits into train, validation and test sets: by group, by class list, or at random.
//!
//! Every split keeps the rotations of a character together and is checked to be disjoint.
//!
//! Does not know: episodes, which splits are customary for which dataset.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::draw::{Domain, Stream};
use crate::rotate::character_of;
use crate::{Error, ImageClasses};

/// The name of a part of a split, which is what its tasks are for. The tasks of one part have nothing to do with those
/// of another, though all settings and the seed be the same.
///
/// # Trap
/// Where tasks are made up (regression), one seed for training and test without a part means to be tested on the training
/// tasks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Split {
    /// For meta-training. What knows no part draws as this one does.
    #[default]
    Train,
    /// For choosing settings and the best checkpoint.
    Val,
    /// For the reported numbers.
    Test,
}

impl Split {
    /// Train, validation and test.
    pub const ALL: [Self; 3] = [Self::Train, Self::Val, Self::Test];

    /// `train`, `val` or `test`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Val => "val",
            Self::Test => "test",
        }
    }
}

impl fmt::Display for Split {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One thing for each part of a split: names, counts, fractions or datasets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parts<T> {
    /// For meta-training.
    pub train: T,
    /// For choosing settings and the best checkpoint.
    pub val: T,
    /// For the reported numbers.
    pub test: T,
}

impl<T> Parts<T> {
    /// The one for this part.
    pub fn get(&self, split: Split) -> &T {
        match split {
            Split::Train => &self.train,
            Split::Val => &self.val,
            Split::Test => &self.test,
        }
    }

    /// The one for this part, to be changed.
    pub fn get_mut(&mut self, split: Split) -> &mut T {
        match split {
            Split::Train => &mut self.train,
            Split::Val => &mut self.val,
            Split::Test => &mut self.test,
        }
    }

    /// Applies `f` to train, validation and test in this order.
    pub fn try_map<U, E>(&self, mut f: impl FnMut(&T) -> Result<U, E>) -> Result<Parts<U>, E> {
        let (train, val, test) = (f(&self.train)?, f(&self.val)?, f(&self.test)?);
        Ok(Parts { train, val, test })
    }
}

impl Parts<ImageClasses> {
    /// Checks that no character is in two parts, whatever its rotation.
    ///
    /// # Errors
    /// [`Error::SharedClass`], naming it.
    pub fn check_disjoint(&self) -> Result<(), Error> {
        self.train.check_disjoint(&self.val)?;
        self.train.check_disjoint(&self.test)?;
        self.val.check_disjoint(&self.test)
    }
}

/// Splits by group (alphabet) names. Groups that no part names are left out.
///
/// # Errors
/// [`Error::UnknownGroup`]; [`Error::SharedClass`] where two parts name the same group.
///
/// # Example
/// ```
/// # use fewshot_data::{Glyphs, Parts, split_by_group};
/// let data = Glyphs::new(60, 2).generate()?;
/// let parts = split_by_group(&data, &Parts {
///     train: vec!["glyphs-01"],
///     val: vec![],
///     test: vec!["glyphs-03"],
/// })?;
/// assert_eq!((parts.train.len(), parts.val.len(), parts.test.len()), (20, 0, 20));
/// # Ok::<(), fewshot_data::Error>(())
/// ```
pub fn split_by_group<S: AsRef<str>>(
    data: &ImageClasses,
    groups: &Parts<Vec<S>>,
) -> Result<Parts<ImageClasses>, Error> {
    let known = data.groups();
    disjoint(groups.try_map(|names| {
        let names: BTreeSet<&str> = names.iter().map(AsRef::as_ref).collect();
        if let Some(&unknown) = names.iter().find(|&&name| !known.contains_key(name)) {
            return Err(Error::UnknownGroup { group: unknown.to_owned(), known: listing(known.keys()) });
        }
        Ok(data.filter(|class| names.contains(class.group())))
    }))
}

/// Splits by class names. Classes that no part names are left out.
///
/// A name without a rotation stands for all rotations of the character that the dataset has; a
/// name with one stands for that class alone. Classes are in dataset order in each part.
///
/// # Errors
/// [`Error::UnknownClass`]; [`Error::SharedClass`] where two parts name the same character.
pub fn split_by_class<S: AsRef<str>>(data: &ImageClasses, lists: &Parts<Vec<S>>) -> Result<Parts<ImageClasses>, Error> {
    let characters = data.characters();
    disjoint(lists.try_map(|names| {
        let names: BTreeSet<&str> = names.iter().map(AsRef::as_ref).collect();
        let there = |name: &str| data.index_of(name).is_some() || characters.contains(name);
        if let Some(&unknown) = names.iter().find(|&&name| !there(name)) {
            return Err(unknown_class(unknown, &characters));
        }
        Ok(data.filter(|c| names.contains(c.name()) || names.contains(c.character())))
    }))
}

fn unknown_class(class: &str, characters: &BTreeSet<&str>) -> Error {
    let unrotated = characters.contains(character_of(class));
    let hint = match unrotated {
        true => "; its character is, so the rotations have to be made first",
        false => "",
    };
    Error::UnknownClass { class: class.to_owned(), hint: hint.to_owned() }
}

/// Splits at random into parts of so many characters each; what is left over is left out.
///
/// The characters are sorted by name, shuffled with the seed, and dealt out: the first to train,
/// the next to val, the next to test. So the split depends on the names and the seed alone, and
/// every rotation of a character goes where the character goes. Classes are in dataset order in
/// each part.
///
/// # Errors
/// [`Error::SplitTooLarge`].
pub fn split_random(data: &ImageClasses, counts: &Parts<usize>, seed: u64) -> Result<Parts<ImageClasses>, Error> {
    let sorted: Vec<&str> = data.characters().into_iter().collect();
    let wanted = [counts.train, counts.val, counts.test];
    let wanted = wanted.into_iter().fold(0usize, usize::saturating_add);
    if wanted > sorted.len() {
        let available = sorted.len();
        return Err(Error::SplitTooLarge { wanted, available });
    }
    let order = Stream::new(Domain::Split, seed, 0, 0).choose(sorted.len(), wanted);
    let mut dealt = order.iter().map(|&i| sorted[i]);
    disjoint(counts.try_map(|&count| {
        let names: BTreeSet<&str> = dealt.by_ref().take(count).collect();
        Ok(data.filter(|class| names.contains(class.character())))
    }))
}

/// Splits at random into parts of these fractions of the characters.
///
/// As [`split_random`], with the ends of the parts rounded to the nearest character: fractions that
/// sum to 1 leave nothing out.
///
/// # Errors
/// [`Error::Setting`] for a fraction below 0 or not finite, or a sum above 1.
pub fn split_fractions(data: &ImageClasses, fractions: &Parts<f64>, seed: u64) -> Result<Parts<ImageClasses>, Error> {
    let characters = data.characters().len();
    let (mut sum, mut dealt) = (0.0, 0);
    let counts = fractions.try_map(|&fraction| {
        sum += fraction;
        // A sum such as 0.6 + 0.3 + 0.1 may exceed 1 by a rounding error.
        if !(fraction >= 0.0 && sum <= 1.0 + 1e-9) {
            return Err(Error::Setting {
                setting: "split fraction",
                found: format!("{fraction} (sum so far {sum})"),
                expected: "fractions of at least 0 that sum to 1 at most",
            });
        }
        let end = ((sum * characters as f64).round() as usize).min(characters);
        let count = end - dealt;
        dealt = end;
        Ok(count)
    })?;
    split_random(data, &counts, seed)
}

/// Reads a class list: see [`parse_class_list`].
///
/// # Errors
/// [`Error::Missing`], [`Error::Io`] (also for text that is not UTF-8), [`Error::ClassLine`].
pub fn read_class_list(path: impl AsRef<Path>) -> Result<Vec<String>, Error> {
    let path = path.as_ref();
    let text = fs::read_to_string(path).map_err(|cause| match cause.kind() {
        std::io::ErrorKind::NotFound => Error::Missing { path: path.to_owned() },
        _ => Error::Io { path: path.to_owned(), action: "read", cause },
    })?;
    parse_class_list(&text, &path.display().to_string())
}

/// The class names of a list with one `Alphabet/characterNN` or `Alphabet/characterNN/rotXXX` on
/// each line (`rot000`, `rot090`, `rot180`, `rot270`); empty lines are passed over. `place` is what
/// an error calls the text.
///
/// # Errors
/// [`Error::ClassLine`] with the line's number.
///
/// # Source
/// The form of the split of Vinyals et al. 2016, with 1,028, 172 and 423 characters.
pub fn parse_class_list(text: &str, place: &str) -> Result<Vec<String>, Error> {
    let mut names = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let name = line.trim();
        if name.is_empty() {
            continue;
        }
        let parts: Vec<&str> = character_of(name).split('/').collect();
        if parts.len() != 2 || parts.iter().any(|part| part.is_empty()) {
            return Err(Error::ClassLine { place: place.to_owned(), line: number + 1, text: line.to_owned() });
        }
        names.push(name.to_owned());
    }
    Ok(names)
}

fn disjoint(parts: Result<Parts<ImageClasses>, Error>) -> Result<Parts<ImageClasses>, Error> {
    let parts = parts?;
    parts.check_disjoint()?;
    Ok(parts)
}

/// The first few names, for an error message.
fn listing<'a>(names: impl ExactSizeIterator<Item = &'a &'a str>) -> String {
    let count = names.len();
    let first: Vec<&str> = names.take(8).copied().collect();
    match count {
        0 => "none".to_owned(),
        1..=8 => first.join(", "),
        _ => format!("{} and {} more", first.join(", "), count - 8),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Class;
    use crate::dataset::tests::flat;

    fn names(data: &ImageClasses) -> Vec<&str> {
        data.classes().iter().map(Class::name).collect()
    }

    fn parts<T: Clone>(train: &[T], val: &[T], test: &[T]) -> Parts<Vec<T>> {
        let (train, val, test) = (train.to_vec(), val.to_vec(), test.to_vec());
        Parts { train, val, test }
    }

    #[test]
    fn groups_go_where_they_are_named() {
        let data = flat(&[("A", 2), ("B", 1), ("C", 3)], 1);
        let split = split_by_group(&data, &parts(&["C"], &[], &["A"])).unwrap();
        assert_eq!((split.train.len(), split.val.len()), (3, 0));
        assert_eq!(names(&split.test), ["A/character01", "A/character02"]);
    }

    #[test]
    fn unknown_and_shared_groups_are_errors() {
        let data = flat(&[("A", 1), ("B", 1)], 1);
        let error = split_by_group(&data, &parts(&["A"], &["X"], &[])).unwrap_err();
        assert_eq!(error.to_string(), "group X is not in the dataset; it has A, B");
        let error = split_by_group(&data, &parts(&["A"], &[], &["B", "A"])).unwrap_err();
        assert!(matches!(error, Error::SharedClass { .. }), "{error}");
    }

    #[test]
    fn class_lists_take_characters_or_single_rotations() {
        let data = flat(&[("A", 3)], 1).with_rotations().unwrap();
        let lists = parts(&["A/character01"], &["A/character02/rot090"], &["A/character03"]);
        let split = split_by_class(&data, &lists).unwrap();
        assert_eq!((split.train.len(), split.test.len()), (4, 4));
        assert_eq!(names(&split.val), ["A/character02/rot090"]);
    }

    #[test]
    fn unknown_and_shared_classes_are_errors() {
        let data = flat(&[("A", 2)], 1);
        let error = split_by_class(&data, &parts(&["A/character07"], &[], &[])).unwrap_err();
        assert_eq!(error.to_string(), "class A/character07 is not in the dataset");
        let error = split_by_class(&data, &parts(&["A/character01/rot090"], &[], &[])).unwrap_err();
        assert!(error.to_string().contains("rotations have to be made first"), "{error}");
        // Two rotations of one character in two parts would leak it from one to the other.
        let rotated = data.with_rotations().unwrap();
        let lists = parts(&["A/character01/rot000"], &[], &["A/character01/rot090"]);
        let error = split_by_class(&rotated, &lists).unwrap_err();
        assert!(matches!(error, Error::SharedClass { .. }), "{error}");
    }

    #[test]
    fn random_splits_are_pinned_and_ignore_class_order() {
        let data = flat(&[("A", 6)], 1);
        let counts = Parts { train: 3, val: 1, test: 2 };
        let split = split_random(&data, &counts, 1).unwrap();
        // Catches a split that changes between releases.
        assert_eq!(names(&split.train), PINNED);
        let backwards = data.select(&[5, 4, 3, 2, 1, 0]).unwrap();
        let again = split_random(&backwards, &counts, 1).unwrap();
        let set =
            |data: &ImageClasses| -> BTreeSet<String> { data.characters().into_iter().map(str::to_owned).collect() };
        assert_eq!(set(&split.train), set(&again.train));
        assert_eq!(set(&split.test), set(&again.test));
    }

    const PINNED: [&str; 3] = ["A/character01", "A/character03", "A/character05"];

    #[test]
    fn random_splits_keep_rotations_together_and_seeds_differ() {
        let data = flat(&[("A", 12), ("B", 12)], 1).with_rotations().unwrap();
        let counts = Parts { train: 10, val: 4, test: 10 };
        let split = split_random(&data, &counts, 3).unwrap();
        assert_eq!((split.train.len(), split.val.len(), split.test.len()), (40, 16, 40));
        split.check_disjoint().unwrap();
        let other = split_random(&data, &counts, 4).unwrap();
        assert_ne!(names(&split.train), names(&other.train));
    }

    #[test]
    fn a_split_of_more_than_there_is_is_an_error() {
        let data = flat(&[("A", 2)], 1).with_rotations().unwrap();
        let counts = Parts { train: 2, val: 0, test: 1 };
        let error = split_random(&data, &counts, 0).unwrap_err();
        assert!(matches!(error, Error::SplitTooLarge { wanted: 3, available: 2 }), "{error}");
        let huge = Parts { train: usize::MAX, val: 1, test: 0 };
        assert!(split_random(&data, &huge, 0).is_err());
    }

    #[test]
    fn fractions_that_sum_to_one_leave_nothing_out() {
        for classes in 1..40 {
            let data = flat(&[("A", classes)], 1);
            let fractions = Parts { train: 0.6, val: 0.3, test: 0.1 };
            let split = split_fractions(&data, &fractions, 0).unwrap();
            assert_eq!(split.train.len() + split.val.len() + split.test.len(), classes);
            assert!(split.train.len().abs_diff(classes * 6 / 10) <= 1);
        }
    }

    #[test]
    fn bad_fractions_are_errors() {
        let data = flat(&[("A", 4)], 1);
        for (train, test) in [(-0.1, 0.5), (0.8, 0.3), (f64::NAN, 0.1), (f64::INFINITY, 0.0)] {
            let fractions = Parts { train, val: 0.0, test };
            let error = split_fractions(&data, &fractions, 0).unwrap_err();
            assert!(matches!(error, Error::Setting { .. }), "{error}");
        }
    }

    #[test]
    fn class_lists_are_read_line_by_line() {
        let text = "A/character01\r\n\nB_(c)/character02/rot270\n";
        let names = parse_class_list(text, "list").unwrap();
        assert_eq!(names, ["A/character01", "B_(c)/character02/rot270"]);
        for bad in ["A", "A//rot000", "/character01", "A/character01/rot45", "A/b/c/rot000"] {
            let error = parse_class_list(&format!("A/b\n{bad}\n"), "list").unwrap_err();
            assert!(error.to_string().starts_with("list:2: "), "{bad}: {error}");
        }
    }

    #[test]
    fn class_lists_come_from_files() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("train.txt");
        assert!(matches!(read_class_list(&path), Err(Error::Missing { .. })));
        assert!(matches!(read_class_list(directory.path()), Err(Error::Io { .. })));
        fs::write(&path, "A/character01\n").unwrap();
        assert_eq!(read_class_list(&path).unwrap(), ["A/character01"]);
    }
}
