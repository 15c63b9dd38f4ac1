//! Tests of single episodes; distributions are in `tests/episode_statistics.rs`.
//!
//! Does not know: tensors, files.

use super::*;
use crate::dataset::tests::flat;
use proptest::prelude::*;

fn episodes(spec: EpisodeSpec, seed: u64) -> Episodes {
    Episodes::new(&flat(&[("A", 12)], 9), spec, seed).unwrap()
}

#[test]
fn an_episode_is_pinned() {
    // Catches any change of the draw: published seeds would mean other tasks. The numbers were
    // computed apart from this crate as well, with ChaCha8 written out in Python.
    let episode = episodes(EpisodeSpec::new(3, 1, 2), 42).get(7);
    let images = |items: &[Item]| items.iter().map(|i| i.image).collect::<Vec<_>>();
    assert_eq!(episode.classes(), PINNED.0);
    assert_eq!(images(episode.support()), PINNED.1);
    assert_eq!(images(episode.query()), PINNED.2);
}

const PINNED: ([usize; 3], [usize; 3], [usize; 6]) = ([10, 2, 4], [4, 3, 7], [2, 7, 5, 6, 1, 4]);

#[test]
fn any_order_and_any_thread_gives_the_same_episodes() {
    // Catches hidden state: a generator that is advanced from one call to the next.
    let episodes = episodes(EpisodeSpec::new(5, 2, 3), 1);
    let forward: Vec<_> = (0..64).map(|i| episodes.get(i)).collect();
    let mut backward: Vec<_> = (0..64).rev().map(|i| episodes.get(i)).collect();
    backward.reverse();
    assert_eq!(forward, backward);
    let part = |t| (0..64).skip(t).step_by(4).map(|i| episodes.get(i)).collect::<Vec<_>>();
    let parts: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|t| scope.spawn(move || part(t))).collect();
        threads.into_iter().map(|t| t.join().unwrap()).collect()
    });
    for (i, episode) in forward.iter().enumerate() {
        assert_eq!(&parts[i % 4][i / 4], episode);
    }
    assert_eq!(forward, episodes.iter().take(64).collect::<Vec<_>>());
}

#[test]
fn seeds_and_indices_give_different_episodes() {
    let draw = |seed, index| episodes(EpisodeSpec::new(5, 1, 1), seed).get(index).classes;
    assert_ne!(draw(1, 0), draw(2, 0));
    assert_ne!(draw(1, 0), draw(1, 1));
    assert_ne!(draw(1, u64::MAX), draw(1, 0));
}

#[test]
fn every_class_gets_every_label_equally_often() {
    // 6,000 episodes of 3 of 12 classes: each pair of class and label is expected 500 times.
    let episodes = episodes(EpisodeSpec::new(3, 1, 1), 5);
    let mut counts = [[0i32; 3]; 12];
    for episode in episodes.iter().take(6_000) {
        let labelled = episode.classes().iter().enumerate();
        labelled.for_each(|(label, &class)| counts[class][label] += 1);
    }
    let all = counts.as_flattened();
    assert!(all.iter().all(|count| (count - 500).abs() < 110), "{counts:?}");
}

#[test]
fn class_order_only_relabels() {
    let spec = EpisodeSpec::new(6, 2, 3);
    let shuffled = episodes(spec, 3).get(11);
    let ordered = episodes(spec.with_label_order(LabelOrder::ByClass), 3).get(11);
    assert!(ordered.classes().is_sorted());
    assert!(!shuffled.classes().is_sorted());
    let bare = |items: &[Item]| -> HashSet<_> { items.iter().map(|item| (item.class, item.image)).collect() };
    assert_eq!(bare(shuffled.support()), bare(ordered.support()));
    assert_eq!(bare(shuffled.query()), bare(ordered.query()));
}

#[test]
fn more_queries_leave_the_support_alone() {
    let few = episodes(EpisodeSpec::new(4, 2, 1), 9).get(2);
    let many = episodes(EpisodeSpec::new(4, 2, 7), 9).get(2);
    assert_eq!(few.support(), many.support());
    let more_ways = episodes(EpisodeSpec::new(6, 2, 1), 9).get(2);
    assert_eq!(few.classes(), &more_ways.classes()[..4]);
    assert_eq!(few.query(), &more_ways.query()[..4]);
}

#[test]
fn what_cannot_be_drawn_is_an_error() {
    let mut data = flat(&[("A", 3)], 6);
    data.push("B/character01", "B", vec![0; 5 * 4]).unwrap();
    let error = |way, shot, query| {
        let spec = EpisodeSpec::new(way, shot, query);
        Episodes::new(&data, spec, 0).unwrap_err().to_string()
    };
    assert_eq!(error(0, 1, 1), "way is 0; expected at least 1");
    assert_eq!(error(2, 0, 1), "shot is 0; expected at least 1");
    assert_eq!(error(2, 1, 0), "query is 0; expected at least 1");
    assert_eq!(error(5, 1, 1), "5-way episodes need 5 classes; the dataset has 4");
    let small = "class B/character01 has 5 images; expected at least 3 support + 3 query";
    assert!(error(2, 3, 3).starts_with(small), "{}", error(2, 3, 3));
    assert!(error(2, usize::MAX, 1).starts_with("class B/character01"));
    assert!(Episodes::new(&data, EpisodeSpec::new(4, 2, 3), 0).is_ok());
}

proptest! {
    #[test]
    fn every_episode_is_well_formed(
        way in 1usize..=12, shot in 1usize..=5, query in 1usize..=4, seed: u64, index: u64,
    ) {
        let episode = episodes(EpisodeSpec::new(way, shot, query), seed).get(index);
        prop_assert!(images_are_distinct(&episode));
        let distinct: HashSet<_> = episode.classes().iter().collect();
        prop_assert_eq!(distinct.len(), way);
        for (items, per_class) in [(episode.support(), shot), (episode.query(), query)] {
            prop_assert_eq!(items.len(), way * per_class);
            for (position, item) in items.iter().enumerate() {
                prop_assert_eq!(item.label, position / per_class);
                prop_assert_eq!(item.class, episode.classes()[item.label]);
                prop_assert!(item.image < 9);
            }
        }
    }
}

proptest! {
    #[test]
    fn episodes_of_drawn_sizes_are_well_formed(
        ways in (1usize..=3, 1usize..=3), shots in (1usize..=4, 1usize..=4), queries in (1usize..=4, 1usize..=4),
        each in (any::<bool>(), any::<bool>()), draw in 0..4usize, seed: u64, index: u64,
    ) {
        let range = |(a, b): (usize, usize)| a.min(b)..=a.max(b);
        let drawn = |per_class| if per_class { Drawn::PerClass } else { Drawn::PerEpisode };
        let draws = [ClassDraw::Uniform, ClassDraw::BySize, ClassDraw::OneGroup, ClassDraw::EachItsGroup];
        let spec = EpisodeSpec::new(1, 1, 1).with_ways(range(ways)).with_class_draw(draws[draw]);
        let spec = spec.with_shots(range(shots), drawn(each.0)).with_queries(range(queries), drawn(each.1));
        let data = flat(&[("A", 3), ("B", 3), ("C", 4)], 9);
        let episode = Episodes::new(&data, spec, seed).unwrap().get(index);
        let way = episode.classes().len();
        prop_assert!(range(ways).contains(&way) && images_are_distinct(&episode));
        prop_assert_eq!(episode.classes().iter().collect::<HashSet<_>>().len(), way);
        for (items, bounds, per_class) in [(episode.support(), shots, each.0), (episode.query(), queries, each.1)] {
            prop_assert!(items.is_sorted_by_key(|item| item.label));
            prop_assert!(items.iter().all(|item| item.class == episode.classes()[item.label] && item.image < 9));
            let counts: Vec<usize> = (0..way).map(|label| items.iter().filter(|item| item.label == label).count()).collect();
            prop_assert!(counts.iter().all(|count| range(bounds).contains(count)));
            prop_assert!(per_class || counts.iter().all(|count| *count == counts[0]));
        }
    }
}

/// Three groups of 2, 3 and 4 classes of 9 images.
fn grouped() -> ImageClasses {
    flat(&[("A", 2), ("B", 3), ("C", 4)], 9)
}

#[test]
fn drawn_counts_stay_within_their_bounds_and_reach_them() {
    let spec = EpisodeSpec::new(5, 4, 2).with_ways(2..=5).with_shots(1..=4, Drawn::PerClass);
    let episodes = episodes(spec, 3);
    let (mut ways, mut shots) = (HashSet::new(), HashSet::new());
    let mut uneven = false;
    for episode in episodes.iter().take(200) {
        let way = episode.classes().len();
        let count = |items: &[Item], label| items.iter().filter(|item| item.label == label).count();
        let each: Vec<usize> = (0..way).map(|label| count(episode.support(), label)).collect();
        assert!((0..way).all(|label| count(episode.query(), label) == 2));
        assert!(images_are_distinct(&episode));
        uneven |= each.iter().any(|shot| *shot != each[0]);
        ways.insert(way);
        shots.extend(each);
    }
    assert!(uneven);
    assert_eq!((ways, shots), (HashSet::from([2, 3, 4, 5]), HashSet::from([1, 2, 3, 4])));
}

#[test]
fn drawing_one_count_leaves_the_rest_alone() {
    let spec = EpisodeSpec::new(4, 2, 3);
    let exact = episodes(spec, 9).get(5);
    // Classes stay where ways are drawn, as far as they go; support stays where queries are.
    let ways = episodes(spec.with_ways(2..=4), 9).get(5);
    assert_eq!(ways.classes(), &exact.classes()[..ways.classes().len()]);
    assert_eq!(ways.support(), &exact.support()[..ways.support().len()]);
    let queries = episodes(spec.with_queries(1..=5, Drawn::PerClass), 9).get(5);
    assert_eq!(queries.support(), exact.support());
    // Bounds of one number are that number.
    let narrow = spec.with_ways(4..=4).with_shots(2..=2, Drawn::PerClass).with_queries(3..=3, Drawn::PerEpisode);
    assert_eq!(episodes(narrow, 9).get(5), exact);
    // Shots of the first classes stay where there are more classes.
    let shots = |way| episodes(EpisodeSpec::new(way, 2, 1).with_shots(1..=4, Drawn::PerClass), 9).get(5);
    let few = shots(3).support().len();
    assert_eq!(shots(3).support(), &shots(6).support()[..few]);
}

#[test]
fn small_classes_are_left_out_where_asked() {
    let mut data = flat(&[("A", 3)], 6);
    data.push("B/character01", "B", vec![0; 2 * 4]).unwrap();
    data.push("B/character02", "B", vec![0; 6 * 4]).unwrap();
    let spec = EpisodeSpec::new(3, 2, 2).with_too_small(TooSmall::LeaveOut);
    let episodes = Episodes::new(&data, spec, 1).unwrap();
    let seen: HashSet<usize> = episodes.iter().take(100).flat_map(|episode| episode.classes).collect();
    assert_eq!(seen, HashSet::from([0, 1, 2, 4]));
    let error = Episodes::new(&data, EpisodeSpec { way: 5, ..spec }, 1).unwrap_err().to_string();
    let expected =
        "5-way episodes need 5 classes; 4 of the dataset's 5 have the 2 support + 2 query images asked of each";
    assert_eq!(error, expected);
    // Where nothing is left out, the choice changes no draw.
    let large = flat(&[("A", 5)], 6);
    let draw = |spec| Episodes::new(&large, spec, 1).unwrap().get(3);
    assert_eq!(draw(spec), draw(EpisodeSpec::new(3, 2, 2)));
}

#[test]
fn groups_that_do_not_do_are_errors_or_left_out() {
    let data = grouped();
    let make = |spec: EpisodeSpec| Episodes::new(&data, spec, 1);
    let says = |spec: EpisodeSpec| make(spec).unwrap_err().to_string();
    let one = EpisodeSpec::new(3, 1, 1).with_class_draw(ClassDraw::OneGroup);
    assert_eq!(says(one), "group A has 2 classes; expected at least 3 for 3-way episodes from one group");
    let left = make(one.with_too_small(TooSmall::LeaveOut)).unwrap();
    let seen: HashSet<usize> = left.iter().take(100).flat_map(|episode| episode.classes).collect();
    assert_eq!(seen, (2..9).collect());
    let none = EpisodeSpec { way: 5, ..one }.with_too_small(TooSmall::LeaveOut);
    assert_eq!(
        says(none),
        "none of the 3 groups has 5 classes; expected one or more for 5-way episodes from one group"
    );
    let each = EpisodeSpec::new(4, 1, 1).with_class_draw(ClassDraw::EachItsGroup);
    let groups = "4-way episodes with each class from another group need 4 groups; the dataset has 3";
    assert_eq!(says(each), groups);
    assert!(make(EpisodeSpec { way: 3, ..each }).is_ok());
}

#[test]
fn weights_that_do_not_do_are_errors() {
    let data = flat(&[("A", 3)], 4);
    let spec = EpisodeSpec::new(2, 1, 1);
    let says = |weights: &[u64]| Episodes::weighted(&data, spec, weights, 0).unwrap_err().to_string();
    let expected = "; expected a whole number for each class, with a sum below 2^64";
    assert_eq!(says(&[1, 2]), format!("the list of class weights is 2 numbers for 3 classes{expected}"));
    assert_eq!(says(&[1, u64::MAX, 0]), format!("the list of class weights is too large in sum{expected}"));
    assert_eq!(says(&[0, 4, 0]), "2-way episodes need 2 classes; the dataset has 1");
    let missing = Episodes::new(&data, spec.with_class_draw(ClassDraw::Weighted), 0).unwrap_err().to_string();
    assert!(missing.ends_with("expected Episodes::weighted to give them"), "{missing}");
    // A class that is never drawn may be as small as it likes.
    let mut small = data.clone();
    small.push("B/character01", "B", vec![0; 4]).unwrap();
    assert!(Episodes::weighted(&small, spec, &[1, 1, 1, 0], 0).is_ok());
    assert!(Episodes::weighted(&small, spec, &[1, 1, 1, 1], 0).is_err());
}

#[test]
fn impossible_bounds_are_errors() {
    let data = flat(&[("A", 3)], 6);
    let says = |spec| Episodes::new(&data, spec, 0).unwrap_err().to_string();
    let spec = EpisodeSpec::new(2, 1, 1);
    let ways = says(spec.with_ways(0..=2));
    assert_eq!(ways, "way is drawn from 0 to 2; expected bounds of at least 1, the lower one first");
    assert!(
        says(EpisodeSpec { shot: 1, ..spec.with_shots(3..=9, Drawn::PerClass) })
            .starts_with("shot is drawn from 3 to 1")
    );
    assert!(
        says(spec.with_queries(1..=6, Drawn::PerClass)).starts_with("class A/character01 has 6 images; expected at")
    );
    assert!(says(spec.with_shots(1..=usize::MAX, Drawn::PerClass)).starts_with("class A/character01"));
}

#[test]
fn parts_draw_for_themselves_and_train_as_ever() {
    let plain = episodes(EpisodeSpec::new(5, 1, 1), 2);
    let part = |part| plain.clone().with_split(part).get(4);
    assert_eq!(part(Split::Train), plain.get(4));
    assert!(part(Split::Val) != part(Split::Train) && part(Split::Val) != part(Split::Test));
    assert_ne!(part(Split::Test), part(Split::Train));
}

#[test]
fn new_kinds_of_draws_are_pinned() {
    // Catches a change of what published seeds mean. Computed apart from this crate as well, with
    // ChaCha8 and the draws written out in Python.
    let data = grouped();
    let classes = |episodes: Episodes| episodes.get(7).classes;
    let spec = EpisodeSpec::new(2, 1, 1);
    let group = |draw| classes(Episodes::new(&data, spec.with_class_draw(draw), 42).unwrap());
    assert_eq!(group(ClassDraw::OneGroup), PINNED_ONE_GROUP);
    assert_eq!(group(ClassDraw::EachItsGroup), PINNED_EACH);
    let weights = [1, 2, 3, 4, 5, 6, 7, 8, 9];
    assert_eq!(classes(Episodes::weighted(&data, EpisodeSpec::new(4, 1, 1), &weights, 42).unwrap()), PINNED_WEIGHTED);
    let uneven = spec.with_ways(1..=9).with_shots(1..=4, Drawn::PerClass).with_queries(1..=5, Drawn::PerEpisode);
    let episode = Episodes::new(&data, uneven, 42).unwrap().with_split(Split::Test).get(7);
    let images = |items: &[Item]| items.iter().map(|item| (item.label, item.image)).collect::<Vec<_>>();
    assert_eq!((episode.classes(), images(episode.support())), (&PINNED_UNEVEN.0[..], PINNED_UNEVEN.1.to_vec()));
    assert_eq!(episode.query().len(), PINNED_UNEVEN.2);
}

const PINNED_ONE_GROUP: [usize; 2] = [8, 6];
const PINNED_EACH: [usize; 2] = [7, 3];
const PINNED_WEIGHTED: [usize; 4] = [2, 8, 4, 3];
type Uneven = ([usize; 3], [(usize, usize); 7], usize);
const PINNED_UNEVEN: Uneven = ([4, 0, 3], [(0, 0), (0, 6), (1, 1), (1, 5), (1, 6), (1, 3), (2, 0)], 9);
