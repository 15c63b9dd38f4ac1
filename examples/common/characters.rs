//! Characters to learn from and characters to be tested on, from files or drawn on the spot.
//!
//! Does not know: episodes, networks.

use std::path::PathBuf;

use fewshot_data::{Glyphs, ImageClasses, Omniglot, Parts, split_by_group, split_fractions};

use crate::arguments::note;
use crate::failure::Failure;

/// Images of a drawn character: as many as Omniglot has.
const DRAWINGS: usize = 20;

/// Disjoint sets of characters.
#[derive(Debug)]
pub struct Characters {
    /// For meta-training, rotations included where they were asked for.
    pub train: ImageClasses,
    /// For the test, never rotated.
    pub test: ImageClasses,
    /// Where the test classes come from, in words.
    pub held_out: String,
}

impl Characters {
    /// Characters from Omniglot archives or directories of them, or drawn ones if there is no path.
    ///
    /// Without test data of its own, every fifth alphabet is held out; where there is but one, a fifth of its characters.
    ///
    /// # Errors
    ///
    /// What reading and splitting report.
    pub fn load(data: &[PathBuf], test_data: &[PathBuf], glyphs: usize, rotations: bool) -> Result<Self, Failure> {
        let all = match read(data)? {
            Some(characters) => characters,
            None => Glyphs::new(glyphs, DRAWINGS).generate()?,
        };
        let (train, test, held_out) = match read(test_data)? {
            Some(test) => {
                let classes = test.len();
                let (kept, dropped) = test.without(&all);
                note(format!("test data: {dropped} of {classes} classes occur in the training data and were dropped"));
                if kept.is_empty() {
                    return Err(Failure::usage("--test-data: every class of it occurs in the training data"));
                }
                (all, kept, "test data of its own".to_owned())
            }
            None => held_out(&all)?,
        };
        let train = if rotations { train.with_rotations()? } else { train };
        Ok(Self { train, test, held_out })
    }
}

fn read(paths: &[PathBuf]) -> Result<Option<ImageClasses>, Failure> {
    let Some((first, more)) = paths.split_first() else { return Ok(None) };
    let archives = more.iter().fold(Omniglot::new(first), |archives, path| archives.and(path));
    Ok(Some(archives.load()?))
}

/// Classes to learn from and classes to be tested on, and which these are in words: every fifth alphabet, and where there is but one, a fifth of
/// its characters.
///
/// # Errors
///
/// What splitting reports.
pub fn held_out(all: &ImageClasses) -> Result<(ImageClasses, ImageClasses, String), Failure> {
    let groups: Vec<&str> = all.groups().into_keys().collect();
    if groups.len() < 2 {
        let fractions = Parts { train: 0.8, val: 0.0, test: 0.2 };
        let parts = split_fractions(all, &fractions, 0)?;
        let words = format!("a fifth of the characters of the only alphabet, {}", groups.join(", "));
        return Ok((parts.train, parts.test, words));
    }
    // From the end backwards, so that at least one is held out.
    let is_test = |at: usize| (groups.len() - 1 - at).is_multiple_of(5);
    let pick = |test| (0..groups.len()).filter(|&at| is_test(at) == test).map(|at| groups[at]).collect::<Vec<_>>();
    let (train, test) = (pick(false), pick(true));
    let words = format!("held-out alphabets: {}", test.join(", "));
    let parts = split_by_group(all, &Parts { train, val: Vec::new(), test })?;
    Ok((parts.train, parts.test, words))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn held_out_alphabets_are_disjoint_from_the_rest() {
        let characters = Characters::load(&[], &[], 130, true).unwrap();
        // Seven alphabets of drawn characters, of which the second and the last (10 characters) are held out.
        assert_eq!((characters.train.len(), characters.test.len()), (4 * 100, 30));
        assert_eq!(characters.held_out, "held-out alphabets: glyphs-02, glyphs-07");
        characters.test.check_disjoint(&characters.train).unwrap();
    }

    #[test]
    fn one_alphabet_is_split_by_character() {
        let characters = Characters::load(&[], &[], 20, false).unwrap();
        assert_eq!((characters.train.len(), characters.test.len()), (16, 4));
        characters.test.check_disjoint(&characters.train).unwrap();
    }
}
