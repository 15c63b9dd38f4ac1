//! What is known of CIFAR-100: its classes, and the two few-shot splits of them.
//!
//! FC100 keeps coarse classes together ("TADAM", Oreshkin et al. 2018); CIFAR-FS does not
//! ("Meta-learning with differentiable closed-form solvers", Bertinetto et al. 2019).
//!
//! Does not know: files.

use crate::Split::{self, Test, Train, Val};

/// The fine classes in the order of their numbers: name, coarse class, split of CIFAR-FS.
pub(super) const FINE: [(&str, u8, Split); 100] = [
    ("apple", 4, Train),
    ("aquarium_fish", 1, Train),
    ("baby", 14, Test),
    ("bear", 8, Train),
    ("beaver", 0, Val),
    ("bed", 6, Test),
    ("bee", 7, Train),
    ("beetle", 7, Val),
    ("bicycle", 18, Test),
    ("bottle", 3, Train),
    ("bowl", 3, Train),
    ("boy", 14, Train),
    ("bridge", 9, Train),
    ("bus", 18, Train),
    ("butterfly", 7, Val),
    ("camel", 11, Val),
    ("can", 3, Train),
    ("castle", 9, Train),
    ("caterpillar", 7, Train),
    ("cattle", 11, Val),
    ("chair", 6, Train),
    ("chimpanzee", 11, Test),
    ("clock", 5, Train),
    ("cloud", 10, Train),
    ("cockroach", 7, Train),
    ("couch", 6, Train),
    ("crab", 13, Val),
    ("crocodile", 15, Val),
    ("cup", 3, Train),
    ("dinosaur", 15, Train),
    ("dolphin", 0, Train),
    ("elephant", 11, Train),
    ("flatfish", 1, Val),
    ("forest", 10, Train),
    ("fox", 12, Test),
    ("girl", 14, Train),
    ("hamster", 16, Train),
    ("house", 9, Train),
    ("kangaroo", 11, Train),
    ("keyboard", 5, Train),
    ("lamp", 5, Val),
    ("lawn_mower", 19, Train),
    ("leopard", 8, Test),
    ("lion", 8, Train),
    ("lizard", 15, Train),
    ("lobster", 13, Train),
    ("man", 14, Test),
    ("maple_tree", 17, Val),
    ("motorcycle", 18, Val),
    ("mountain", 10, Train),
    ("mouse", 16, Train),
    ("mushroom", 4, Train),
    ("oak_tree", 17, Train),
    ("orange", 4, Train),
    ("orchid", 2, Train),
    ("otter", 0, Val),
    ("palm_tree", 17, Train),
    ("pear", 4, Train),
    ("pickup_truck", 18, Test),
    ("pine_tree", 17, Train),
    ("plain", 10, Test),
    ("plate", 3, Train),
    ("poppy", 2, Test),
    ("porcupine", 12, Train),
    ("possum", 12, Train),
    ("rabbit", 16, Train),
    ("raccoon", 12, Train),
    ("ray", 1, Train),
    ("road", 9, Train),
    ("rocket", 19, Test),
    ("rose", 2, Test),
    ("sea", 10, Val),
    ("seal", 0, Train),
    ("shark", 1, Val),
    ("shrew", 16, Train),
    ("skunk", 12, Train),
    ("skyscraper", 9, Train),
    ("snail", 13, Test),
    ("snake", 15, Train),
    ("spider", 13, Train),
    ("squirrel", 16, Train),
    ("streetcar", 19, Train),
    ("sunflower", 2, Train),
    ("sweet_pepper", 4, Test),
    ("table", 6, Test),
    ("tank", 19, Train),
    ("telephone", 5, Test),
    ("television", 5, Val),
    ("tiger", 8, Train),
    ("tractor", 19, Val),
    ("train", 18, Train),
    ("trout", 1, Train),
    ("tulip", 2, Train),
    ("turtle", 15, Train),
    ("wardrobe", 6, Test),
    ("whale", 0, Test),
    ("willow_tree", 17, Train),
    ("wolf", 8, Train),
    ("woman", 14, Test),
    ("worm", 13, Test),
];

/// The coarse classes in the order of their numbers.
pub(super) const COARSE: [&str; 20] = [
    "aquatic_mammals",
    "fish",
    "flowers",
    "food_containers",
    "fruit_and_vegetables",
    "household_electrical_devices",
    "household_furniture",
    "insects",
    "large_carnivores",
    "large_man-made_outdoor_things",
    "large_natural_outdoor_scenes",
    "large_omnivores_and_herbivores",
    "medium_mammals",
    "non-insect_invertebrates",
    "people",
    "reptiles",
    "small_mammals",
    "trees",
    "vehicles_1",
    "vehicles_2",
];

/// The split of FC100 that a coarse class belongs to.
pub(super) fn fc100_split(coarse: u8) -> Option<Split> {
    match coarse {
        1..=6 | 9 | 10 | 15 | 17..=19 => Some(Train),
        8 | 11 | 13 | 16 => Some(Val),
        0 | 7 | 12 | 14 => Some(Test),
        _ => None,
    }
}

/// The part of CIFAR-FS that a class of CIFAR-100 belongs to; `None` for another class.
pub(crate) fn cifar_fs_part(name: &str) -> Option<Split> {
    FINE.iter().find(|fine| fine.0 == name).map(|fine| fine.2)
}

/// The part of FC100 that a class of CIFAR-100 belongs to; `None` for another class.
pub(crate) fn fc100_part(name: &str) -> Option<Split> {
    FINE.iter().find(|fine| fine.0 == name).and_then(|fine| fc100_split(fine.1))
}

/// The few-shot split whose classes these are, each once and in order, if all classes of it are there.
/// Labels that pass are the numbers of CIFAR-100.
pub(super) fn split_of_fine(labels: &[i64]) -> Option<Split> {
    let is = |wanted: &dyn Fn(&(&str, u8, Split)) -> bool| {
        let all = FINE.iter().enumerate().filter(|(_, fine)| wanted(fine)).map(|(i, _)| i as i64);
        all.eq(labels.iter().copied())
    };
    let splits = Split::ALL.into_iter();
    splits.into_iter().find(|split| is(&|fine| fine.2 == *split) || is(&|fine| fc100_split(fine.1) == Some(*split)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The coarse class of each fine class, as published with continual-learning code: written down
    /// independently of the table above.
    const COARSE_OF_FINE: [u8; 100] = [
        4, 1, 14, 8, 0, 6, 7, 7, 18, 3, 3, 14, 9, 18, 7, 11, 3, 9, 7, 11, 6, 11, 5, 10, 7, 6, 13, 15, 3, 15, 0, 11, 1,
        10, 12, 14, 16, 9, 11, 5, 5, 19, 8, 8, 15, 13, 14, 17, 18, 10, 16, 4, 17, 4, 2, 0, 17, 4, 18, 17, 10, 3, 2, 12,
        12, 16, 12, 1, 9, 19, 2, 10, 0, 1, 16, 12, 9, 13, 15, 13, 16, 19, 2, 4, 6, 19, 5, 5, 8, 19, 18, 1, 2, 15, 6, 0,
        17, 8, 14, 13,
    ];

    #[test]
    fn the_table_agrees_with_itself_and_with_another() {
        assert!(FINE.is_sorted_by(|a, b| a.0 < b.0) && COARSE.is_sorted_by(|a, b| a < b));
        assert_eq!(FINE.map(|fine| fine.1), COARSE_OF_FINE);
        let count = |split| FINE.iter().filter(|fine| fine.2 == split).count();
        assert_eq!(Split::ALL.map(count), [64, 16, 20]);
        let count = |split| FINE.iter().filter(|fine| fc100_split(fine.1) == Some(split)).count();
        assert_eq!(Split::ALL.map(count), [60, 20, 20]);
    }

    #[test]
    fn the_classes_of_a_split_are_recognised_only_together() {
        let val: Vec<i64> = (0..).zip(FINE).filter(|(_, fine)| fine.2 == Val).map(|(i, _)| i).collect();
        assert_eq!(split_of_fine(&val), Some(Val));
        assert_eq!(split_of_fine(&val[1..]), None);
        let fc: Vec<i64> = (0..).zip(FINE).filter(|(_, f)| fc100_split(f.1) == Some(Test)).map(|(i, _)| i).collect();
        assert_eq!(split_of_fine(&fc), Some(Test));
        assert_eq!(split_of_fine(&(0..64).collect::<Vec<_>>()), None);
    }
}
