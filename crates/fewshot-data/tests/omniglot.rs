//! The real Omniglot archives `images_background_small1.zip` and `images_background_small2.zip`, in
//! the directory that the environment variable `FEWSHOT_OMNIGLOT` names. Without it these tests say
//! so and pass.

use std::collections::BTreeMap;
use std::path::PathBuf;

use fewshot_data::{
    Class, EpisodeSpec, Episodes, Error, FrozenEpisodes, ImageClasses, Omniglot, Parts, split_by_group,
};

/// The directory, or `None` after a word on why.
fn directory() -> Option<PathBuf> {
    let directory = std::env::var_os("FEWSHOT_OMNIGLOT").map(PathBuf::from);
    if directory.is_none() {
        println!("skipped: FEWSHOT_OMNIGLOT does not name a directory with the Omniglot archives");
    }
    directory
}

fn load(name: &str) -> Option<ImageClasses> {
    let path = directory()?.join(name);
    Some(Omniglot::new(path).load().expect("the archive can be read"))
}

fn small() -> Option<(ImageClasses, ImageClasses)> {
    let first = load("images_background_small1.zip")?;
    Some((first, load("images_background_small2.zip")?))
}

#[test]
fn classes_and_images_are_all_there() {
    let Some((first, second)) = small() else { return };
    assert_eq!((first.len(), second.len()), (136, 156));
    assert_eq!(first.shape(), [1, 28, 28]);
    let expected =
        BTreeMap::from([("Balinese", 24), ("Early_Aramaic", 22), ("Greek", 24), ("Korean", 40), ("Latin", 26)]);
    assert_eq!(first.groups(), expected);
    assert!(first.classes().iter().chain(second.classes()).all(|class| class.image_count() == 20));
    assert!(first.classes().is_sorted_by_key(Class::name));
}

#[test]
fn ink_is_high_and_paper_low() {
    // Catches the polarity: 1 is white in these files, about 92 % of the bits.
    let Some((first, second)) = small() else { return };
    for class in first.classes().iter().chain(second.classes()) {
        let bytes = class.pixels().bytes();
        let ink = bytes.iter().map(|&b| f64::from(b)).sum::<f64>() / (255.0 * bytes.len() as f64);
        assert!((0.02..0.35).contains(&ink), "{}: {ink}", class.name());
    }
}

#[test]
fn drawings_are_as_the_archive_has_them() {
    // Counted with Python's zipfile and Pillow: ink pixels of Greek/character01 by drawer 1, 2, 20.
    // Catches images in another order, and bits in another.
    let Some(directory) = directory() else { return };
    let archive = directory.join("images_background_small1.zip");
    let data = Omniglot::new(archive).with_size(105).load().unwrap();
    let class = &data.classes()[data.index_of("Greek/character01").unwrap()];
    let ink = |image| class.image(image).unwrap().iter().filter(|&&b| b == 255).count();
    assert_eq!([ink(0), ink(1), ink(19)], INK);
}

const INK: [usize; 3] = [822, 776, 777];

#[test]
fn scaled_images_are_pillows() {
    // The sum over all bytes of `255 - resize((28, 28), LANCZOS)` of every drawing of small1, with
    // Pillow 13.0.0. One value in a thousand differs by a level or two; filtering columns before rows
    // is 9,000 off, the nearest neighbour far more.
    let Some(data) = load("images_background_small1.zip") else { return };
    let bytes = data.classes().iter().flat_map(|class| class.pixels().bytes());
    let sum: i64 = bytes.map(|&b| i64::from(b)).sum();
    assert!((sum - SUM).abs() < 4_000, "{sum}");
}

const SUM: i64 = 43_337_648;

#[test]
fn dropping_the_first_set_from_the_second_leaves_three_alphabets() {
    let Some((first, second)) = small() else { return };
    assert!(matches!(first.check_disjoint(&second), Err(Error::SharedClass { .. })));
    let (fresh, dropped) = second.without(&first);
    assert_eq!((fresh.len(), dropped), (106, 50));
    let expected = BTreeMap::from([("Japanese_(katakana)", 47), ("Sanskrit", 42), ("Tagalog", 17)]);
    assert_eq!(fresh.groups(), expected);
    let rotated = first.with_rotations().unwrap();
    assert_eq!(rotated.len(), 544);
    rotated.check_disjoint(&fresh).unwrap();
    assert_eq!(second.without(&rotated).1, 50);
}

#[test]
fn a_directory_merges_what_its_archives_share() {
    // Greek and Latin are in both, with the same drawings.
    let Some(directory) = directory() else { return };
    let all = Omniglot::new(&directory).load().unwrap();
    assert_eq!((all.len(), all.image_count()), (136 + 106, 20 * (136 + 106)));
    let (first, second) = small().unwrap();
    let joined = first.concat(&second.without(&first).0).unwrap();
    assert_eq!(all.fingerprint(), joined.fingerprint());
}

#[test]
fn threads_and_order_do_not_matter() {
    let Some(directory) = directory() else { return };
    let (first, second) = ("images_background_small1.zip", "images_background_small2.zip");
    let load = |a, b, threads| {
        let archives = Omniglot::new(directory.join(a)).and(directory.join(b));
        archives.with_threads(threads).load().unwrap()
    };
    let (one, seven) = (load(first, second, 1), load(second, first, 7));
    let names =
        |data: &ImageClasses| -> Vec<String> { data.classes().iter().map(|class| class.name().to_owned()).collect() };
    assert_eq!(names(&one), names(&seven));
    assert_eq!(one.fingerprint(), seven.fingerprint());
}

#[test]
fn a_frozen_evaluation_comes_back() {
    let Some((first, second)) = small() else { return };
    let (test, _) = second.without(&first);
    let frozen = FrozenEpisodes::draw(&test, EpisodeSpec::new(5, 1, 15), 0, 0..50).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("test.json");
    frozen.save(&path).unwrap();
    assert_eq!(FrozenEpisodes::load(&path, &test).unwrap(), frozen);
    let error = FrozenEpisodes::load(&path, &second).unwrap_err();
    assert!(matches!(error, Error::OtherData { .. }), "{error}");
}

#[test]
fn alphabets_split_the_set() {
    let Some(data) = load("images_background_small1.zip") else { return };
    let parts = Parts { train: vec!["Balinese", "Korean"], val: vec!["Greek"], test: vec!["Latin"] };
    let split = split_by_group(&data, &parts).unwrap();
    assert_eq!((split.train.len(), split.val.len(), split.test.len()), (64, 24, 26));
}

#[test]
fn pixels_alone_do_better_than_chance_and_far_from_well() {
    // Catches labels that do not belong to their images (chance is 0.2), and an episode whose
    // queries are among its support images (1.0).
    let Some(data) = load("images_background_small2.zip") else { return };
    let episodes = Episodes::new(&data, EpisodeSpec::new(5, 1, 15), 0).unwrap();
    let (mut right, mut all) = (0, 0);
    for episode in episodes.iter().take(200) {
        let image = |class: usize, image| data.classes()[class].image(image).unwrap();
        for query in episode.query() {
            let pixels = image(query.class, query.image);
            let far = |other: &[u8]| -> u64 {
                let pairs = pixels.iter().zip(other);
                pairs.map(|(&a, &b)| u64::from(a.abs_diff(b)).pow(2)).sum()
            };
            let nearest = episode.support().iter().min_by_key(|s| far(&image(s.class, s.image)));
            right += usize::from(nearest.is_some_and(|s| s.label == query.label));
            all += 1;
        }
    }
    let accuracy = f64::from(right as u32) / f64::from(all);
    println!("nearest neighbour, 5-way 1-shot: {accuracy:.3}");
    assert!((0.33..0.60).contains(&accuracy), "{accuracy}");
}
