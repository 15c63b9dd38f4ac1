//! The split of Omniglot that most results are on.
//!
//! Does not know: archives, rotations.

use crate::{Error, ImageClasses, Parts};

/// Whole alphabets for validation: 172 characters.
const VALIDATION: [&str; 5] = ["Armenian", "Bengali", "Early_Aramaic", "Hebrew", "Mkhedruli_(Georgian)"];

/// Whole alphabets for the test: 419 characters.
const TEST: [&str; 12] = [
    "Kannada",
    "Keble",
    "Malayalam",
    "Manipuri",
    "Mongolian",
    "Old_Church_Slavonic_(Cyrillic)",
    "Oriya",
    "Sylheti",
    "Syriac_(Serto)",
    "Tengwar",
    "Tibetan",
    "ULOG",
];

/// And the last four characters of one more.
const TEST_CHARACTERS: [&str; 4] =
    ["Gurmukhi/character42", "Gurmukhi/character43", "Gurmukhi/character44", "Gurmukhi/character45"];

/// Classes of all parts, by character.
const COUNTS: Parts<usize> = Parts { train: 1028, val: 172, test: 423 };

/// Splits all of Omniglot, both archives, into 1,028 characters for training, 172 for validation and 423 for the test.
///
/// Rotations go with their character.
///
/// # Errors
/// [`Error::NotTheBenchmark`] where the dataset has not exactly these characters.
///
/// # Source
/// Vinyals et al., "Matching networks for one shot learning" (2016). The lists are those that prototypical networks
/// (Snell et al. 2017), few-shot-ssl-public (Ren et al. 2018) and Torchmeta give out.
pub fn vinyals_split(data: &ImageClasses) -> Result<Parts<ImageClasses>, Error> {
    let is_val = |class: &crate::Class| VALIDATION.contains(&class.group());
    let is_test = |class: &crate::Class| TEST.contains(&class.group()) || TEST_CHARACTERS.contains(&class.character());
    let parts = Parts {
        train: data.filter(|class| !is_val(class) && !is_test(class)),
        val: data.filter(is_val),
        test: data.filter(is_test),
    };
    let found = Parts {
        train: parts.train.characters().len(),
        val: parts.val.characters().len(),
        test: parts.test.characters().len(),
    };
    if found == COUNTS {
        return Ok(parts);
    }
    let words = |parts: Parts<usize>| format!("{}, {} and {} characters", parts.train, parts.val, parts.test);
    Err(Error::NotTheBenchmark {
        benchmark: "Omniglot (images_background.zip and images_evaluation.zip)",
        found: format!("{} to train, validate and test on", words(found)),
        expected: words(COUNTS),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_of_omniglot_is_split_as_the_lists_have_it() {
        // The alphabets of both archives and how many characters they have; the counts are what the lists sum to.
        let others = 1028 - 41;
        let alphabets = [
            ("Armenian", 41),
            ("Bengali", 46),
            ("Early_Aramaic", 22),
            ("Hebrew", 22),
            ("Mkhedruli_(Georgian)", 41),
            ("Kannada", 41),
            ("Keble", 26),
            ("Malayalam", 47),
            ("Manipuri", 40),
            ("Mongolian", 30),
            ("Old_Church_Slavonic_(Cyrillic)", 45),
            ("Oriya", 46),
            ("Sylheti", 28),
            ("Syriac_(Serto)", 23),
            ("Tengwar", 25),
            ("Tibetan", 42),
            ("ULOG", 26),
            ("Gurmukhi", 45),
            ("all others", others),
        ];
        let mut data = ImageClasses::new([1, 1, 1]).unwrap();
        for (alphabet, characters) in alphabets {
            for character in 1..=characters {
                data.push(format!("{alphabet}/character{character:02}"), alphabet, vec![0]).unwrap();
            }
        }
        assert_eq!(data.len(), 1623);
        let parts = vinyals_split(&data.with_rotations().unwrap()).unwrap();
        assert_eq!([parts.train.len(), parts.val.len(), parts.test.len()], [4 * 1028, 4 * 172, 4 * 423]);
        parts.check_disjoint().unwrap();
        assert!(parts.train.index_of("Gurmukhi/character41/rot000").is_some());
        assert!(parts.test.index_of("Gurmukhi/character42/rot090").is_some());
        let less = data.filter(|class| class.group() != "Keble");
        let error = vinyals_split(&less).unwrap_err().to_string();
        assert!(error.contains("1028, 172 and 397 characters"), "{error}");
    }
}
