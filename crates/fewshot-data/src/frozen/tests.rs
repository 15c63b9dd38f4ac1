//! Tests of frozen lists.
//!
//! Does not know: how episodes are drawn.

use super::*;
use crate::dataset::tests::flat;
use serde_json::{Value, json};
use tempfile::TempDir;

fn list(data: &ImageClasses) -> FrozenEpisodes {
    FrozenEpisodes::draw(data, EpisodeSpec::new(3, 1, 2), 5, 10..14).unwrap()
}

/// A saved list of a dataset of 6 classes, changed by `change`, and what loading it says.
fn load_changed(change: impl FnOnce(&mut Value)) -> Result<FrozenEpisodes, Error> {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("list.json");
    let data = flat(&[("A", 6)], 4);
    list(&data).save(&path).unwrap();
    let mut value: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    change(&mut value);
    fs::write(&path, value.to_string()).unwrap();
    FrozenEpisodes::load(&path, &data)
}

fn problem(change: impl FnOnce(&mut Value)) -> String {
    match load_changed(change) {
        Err(Error::FrozenEpisode { position, problem, .. }) => format!("{position}: {problem}"),
        other => format!("{other:?}"),
    }
}

#[test]
fn a_list_comes_back_as_it_was() {
    let directory = TempDir::new().unwrap();
    let (first, second) = (directory.path().join("a.json"), directory.path().join("b.json"));
    let data = flat(&[("A", 6)], 4);
    let frozen = list(&data);
    frozen.save(&first).unwrap();
    let loaded = FrozenEpisodes::load(&first, &data).unwrap();
    assert_eq!(loaded, frozen);
    assert_eq!((loaded.seed(), loaded.spec().way, loaded.episodes().len()), (5, 3, 4));
    assert_eq!(loaded.episodes()[1].index(), 11);
    loaded.save(&second).unwrap();
    assert_eq!(fs::read(&first).unwrap(), fs::read(&second).unwrap());
    // Nothing is left of the writing.
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2);
}

#[test]
fn classes_are_found_by_name_in_another_order() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("a.json");
    let data = flat(&[("A", 6)], 4);
    let frozen = list(&data);
    frozen.save(&path).unwrap();
    let turned = data.select(&[5, 4, 3, 2, 1, 0]).unwrap();
    let loaded = FrozenEpisodes::load(&path, &turned).unwrap();
    for (ours, theirs) in frozen.episodes().iter().zip(loaded.episodes()) {
        let turn: Vec<_> = theirs.classes().iter().map(|class| 5 - class).collect();
        assert_eq!(ours.classes(), turn);
        assert!(ours.query().iter().zip(theirs.query()).all(|(a, b)| a.image == b.image));
    }
    // Saved again, it is the same file.
    let again = directory.path().join("b.json");
    loaded.save(&again).unwrap();
    assert_eq!(fs::read(&path).unwrap(), fs::read(&again).unwrap());
}

#[test]
fn other_data_is_an_error_naming_the_difference() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("a.json");
    list(&flat(&[("A", 6)], 4)).save(&path).unwrap();
    let says = |data: &ImageClasses| match FrozenEpisodes::load(&path, data) {
        Err(Error::OtherData { difference, .. }) => difference,
        other => format!("{other:?}"),
    };
    let fewer = flat(&[("A", 5)], 4);
    assert_eq!(says(&fewer), "class A/character06 is not in the dataset");
    let longer = flat(&[("A", 6)], 5);
    assert_eq!(says(&longer), "class A/character01 has 5 images; expected 4");
}

#[test]
fn files_of_something_else_are_errors() {
    let directory = TempDir::new().unwrap();
    let data = flat(&[("A", 6)], 4);
    let path = directory.path().join("a.json");
    let missing = FrozenEpisodes::load(&path, &data).unwrap_err();
    assert!(matches!(missing, Error::Missing { .. }));
    let folder = FrozenEpisodes::load(directory.path(), &data).unwrap_err();
    assert!(matches!(folder, Error::Io { .. }), "{folder}");
    for text in ["", "[]", "{\"format\": 3}", "{\"format\": \"other\", \"version\": 1}"] {
        fs::write(&path, text).unwrap();
        let error = FrozenEpisodes::load(&path, &data).unwrap_err();
        assert!(matches!(error, Error::NotFrozen { .. }), "{text}: {error}");
    }
    let whole = {
        list(&data).save(&path).unwrap();
        fs::read(&path).unwrap()
    };
    fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    let cut = FrozenEpisodes::load(&path, &data).unwrap_err();
    assert!(matches!(cut, Error::NotFrozen { .. }), "{cut}");
    assert!(!cut.to_string().contains('\n'));
}

#[test]
fn another_version_is_an_error() {
    for version in [0, 3] {
        let error = load_changed(|value| value["version"] = json!(version)).unwrap_err();
        assert!(matches!(error, Error::FrozenVersion { expected: 2, .. }), "{error}");
    }
    let error = load_changed(|value| value["spec"]["way"] = json!(0)).unwrap_err();
    assert!(matches!(error, Error::NotFrozen { .. }), "{error}");
}

#[test]
fn episodes_that_contradict_the_list_are_errors() {
    assert!(load_changed(|_| ()).is_ok());
    let episode = |value: &mut Value| value["episodes"][2].take();
    let says = problem(|value| {
        let mut changed = episode(value);
        changed["classes"][0] = json!("A/character77");
        value["episodes"][2] = changed;
    });
    assert_eq!(says, "2: class A/character77 is not in the dataset");
    let says = problem(|value| {
        let second = value["episodes"][0]["classes"][1].clone();
        value["episodes"][0]["classes"][0] = second;
    });
    assert_eq!(says, "0: a class or an image occurs twice");
    let says = problem(|value| {
        let support = value["episodes"][1]["support"][0][0].clone();
        value["episodes"][1]["query"][0][1] = support;
    });
    assert_eq!(says, "1: a class or an image occurs twice");
    let says = problem(|value| value["episodes"][0]["query"][2] = json!([1]));
    assert!(says.starts_with("0: query images per class are [2, 2, 1]"), "{says}");
    let says = problem(|value| value["episodes"][0]["support"][0] = json!([4]));
    assert!(says.starts_with("0: support image 4 of A/character0"), "{says}");
    let says = problem(|value| value["spec"]["way"] = json!(4));
    assert_eq!(says, "0: 3 classes; expected 4");
}

/// Ten classes in three groups, 9 images each.
fn grouped() -> ImageClasses {
    flat(&[("A", 4), ("B", 3), ("C", 3)], 9)
}

fn saved(frozen: &FrozenEpisodes, data: &ImageClasses) -> Value {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("list.json");
    frozen.save(&path).unwrap();
    assert_eq!(&FrozenEpisodes::load(&path, data).unwrap(), frozen);
    serde_json::from_slice(&fs::read(&path).unwrap()).unwrap()
}

#[test]
fn plain_lists_are_still_version_1() {
    // Catches files that a program of before cannot read though it could draw the same list.
    let data = grouped();
    let value = saved(&list(&data), &data);
    let keys: Vec<&String> = value.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["dataset", "episodes", "format", "seed", "spec", "version"]);
    assert_eq!(value["version"], 1);
    assert_eq!(value["spec"], json!({"way": 3, "shot": 1, "query": 2, "label_order": "shuffled"}));
}

#[test]
fn a_file_of_version_1_means_the_same_tasks() {
    // Written before there was a version 2. Catches both a reader that no longer takes it and a
    // draw that has changed.
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/frozen/version1.json");
    let data = grouped();
    let old = FrozenEpisodes::load(&path, &data).unwrap();
    assert_eq!(old, list(&data));
    let directory = TempDir::new().unwrap();
    let again = directory.path().join("again.json");
    old.save(&again).unwrap();
    assert_eq!(fs::read(&path).unwrap(), fs::read(&again).unwrap());
}

#[test]
fn a_file_of_version_2_means_the_same_tasks() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/frozen/version2.json");
    let data = grouped();
    let spec = EpisodeSpec::new(3, 1, 2).with_ways(2..=3).with_shots(1..=4, Drawn::PerClass);
    let weights = [1, 2, 3, 4, 5, 6, 7, 8, 9, 0];
    let episodes = Episodes::weighted(&data, spec, &weights, 5).unwrap().with_split(Split::Test);
    let drawn = FrozenEpisodes::freeze(&data, &episodes, 10..14).unwrap();
    assert_eq!(FrozenEpisodes::load(&path, &data).unwrap(), drawn);
}

#[test]
fn drawn_counts_weights_parts_and_groups_come_back() {
    let data = grouped();
    let spec = EpisodeSpec::new(3, 1, 2);
    let uneven = spec.with_ways(2..=3).with_shots(1..=4, Drawn::PerClass).with_queries(2..=5, Drawn::PerEpisode);
    let weights = [1, 2, 3, 4, 5, 6, 7, 8, 9, 0];
    let all = [
        Episodes::new(&data, uneven, 1).unwrap(),
        Episodes::weighted(&data, spec, &weights, 1).unwrap(),
        Episodes::new(&data, spec, 1).unwrap().with_split(Split::Test),
        Episodes::new(&data, spec.with_class_draw(ClassDraw::OneGroup), 1).unwrap(),
        Episodes::new(&data, spec.with_class_draw(ClassDraw::EachItsGroup), 1).unwrap(),
    ];
    for episodes in all {
        let frozen = FrozenEpisodes::freeze(&data, &episodes, 0..20).unwrap();
        let value = saved(&frozen, &data);
        assert_eq!(value["version"], 2);
        assert_eq!(frozen.split(), episodes.split());
        assert!(frozen.episodes().iter().zip(0..).all(|(frozen, i)| *frozen == episodes.get(i)));
    }
}

#[test]
fn weights_go_by_class_name() {
    let (directory, data) = (TempDir::new().unwrap(), flat(&[("A", 3)], 4));
    let path = directory.path().join("list.json");
    let episodes = Episodes::weighted(&data, EpisodeSpec::new(2, 1, 1), &[1, 5, 9], 0).unwrap();
    FrozenEpisodes::freeze(&data, &episodes, 0..3).unwrap().save(&path).unwrap();
    let turned = FrozenEpisodes::load(&path, &data.select(&[2, 1, 0]).unwrap()).unwrap();
    assert_eq!(turned.weights, Some(vec![9, 5, 1]));
}

#[test]
fn counts_and_groups_that_contradict_the_list_are_errors() {
    let data = grouped();
    let says = |spec: EpisodeSpec, change: fn(&mut Value)| {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("list.json");
        let frozen = FrozenEpisodes::draw(&data, spec, 3, 0..1).unwrap();
        let mut value = saved(&frozen, &data);
        change(&mut value);
        fs::write(&path, value.to_string()).unwrap();
        match FrozenEpisodes::load(&path, &data) {
            Err(Error::FrozenEpisode { problem, .. }) => problem,
            other => format!("{other:?}"),
        }
    };
    let even = EpisodeSpec::new(2, 3, 1).with_shots(1..=3, Drawn::PerEpisode);
    let one_off = |value: &mut Value| {
        let mut support = value["episodes"][0]["support"][0].take();
        let images = support.as_array_mut().unwrap();
        if images.len() == 1 {
            images.push(json!(8))
        } else {
            images.truncate(1)
        }
        value["episodes"][0]["support"][0] = support;
    };
    assert!(says(even, one_off).ends_with("expected the same 1 to 3 for each of 2 classes"), "{}", says(even, one_off));
    let ways = EpisodeSpec::new(3, 1, 1).with_ways(2..=3);
    let fewer = |value: &mut Value| {
        for list in ["classes", "support", "query"] {
            value["episodes"][0][list].as_array_mut().unwrap().truncate(1);
        }
    };
    assert_eq!(says(ways, fewer), "1 classes; expected 2 to 3");
    let mixed = |value: &mut Value| value["episodes"][0]["classes"] = json!(["A/character01", "B/character01"]);
    let one_group = EpisodeSpec::new(2, 1, 1).with_class_draw(ClassDraw::OneGroup);
    assert_eq!(says(one_group, mixed), "classes of 2 groups; expected one group");
    let same = |value: &mut Value| value["episodes"][0]["classes"] = json!(["A/character01", "A/character02"]);
    let own_groups = EpisodeSpec::new(2, 1, 1).with_class_draw(ClassDraw::EachItsGroup);
    assert_eq!(says(own_groups, same), "2 classes of 1 groups; expected a group for each");
}

#[test]
fn episodes_of_another_dataset_cannot_be_frozen() {
    let episodes = Episodes::new(&grouped(), EpisodeSpec::new(10, 1, 1), 0).unwrap();
    let error = FrozenEpisodes::freeze(&flat(&[("A", 4)], 9), &episodes, 0..1).unwrap_err();
    assert!(matches!(error, Error::ForeignEpisode { .. }), "{error}");
}

#[test]
fn a_failed_write_leaves_the_old_file() {
    let directory = TempDir::new().unwrap();
    let frozen = list(&flat(&[("A", 6)], 4));
    let nowhere = directory.path().join("no-such-folder").join("a.json");
    let error = frozen.save(&nowhere).unwrap_err();
    assert!(matches!(error, Error::Io { action: "write", .. }), "{error}");
    // A directory in the place cannot be replaced; what was written beside it goes again.
    let taken = directory.path().join("taken");
    fs::create_dir(&taken).unwrap();
    assert!(frozen.save(&taken).is_err());
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
}
