//! Whether episodes are drawn from the distributions that are promised, and depend on nothing else.
//!
//! Each test compares counts with their exact expectation by a chi-squared statistic and fails beyond
//! the value that chance exceeds once in a million. Seeds are fixed, so a test that passes goes on to
//! pass; the million says how sure it is that a failure is a fault. Beside each stands a sampler with a
//! fault that is often made, which the same test must find.

use std::collections::BTreeMap;

use fewshot_data::{
    ClassDraw, Drawn, Episode, EpisodeSpec, Episodes, ImageClasses, Item, MultiLabelImages, MultiLabelTasks, Pipeline,
    Split, Stream,
};

/// Standard deviations of the normal distribution that chance exceeds once in a million.
const LIMIT: f64 = 4.75;

/// How far counts lie from what is expected, as the deviation of a normal number with the same chance
/// of being exceeded (Wilson and Hilferty's approximation).
fn deviation(statistic: f64, freedom: f64) -> f64 {
    let spread = 2.0 / (9.0 * freedom);
    ((statistic / freedom).cbrt() - (1.0 - spread)) / spread.sqrt()
}

/// Of counts that come one by one, each cell by its probability. Cells are joined with their successors
/// until at least ten are expected in each.
fn counted(counts: &[usize], probabilities: &[f64]) -> f64 {
    assert_eq!(counts.len(), probabilities.len());
    assert!((probabilities.iter().sum::<f64>() - 1.0).abs() < 1e-9, "{probabilities:?}");
    let all: usize = counts.iter().sum();
    let mut cells: Vec<(f64, f64)> = Vec::new();
    let mut open = false;
    for (&count, &probability) in counts.iter().zip(probabilities) {
        let (count, expected) = (count as f64, probability * all as f64);
        match cells.last_mut() {
            Some(last) if open => (last.0, last.1) = (last.0 + count, last.1 + expected),
            _ => cells.push((count, expected)),
        }
        open = cells.last().is_some_and(|cell| cell.1 < 10.0);
    }
    if open && cells.len() > 1 {
        let (count, expected) = cells.pop().unwrap();
        let last = cells.last_mut().unwrap();
        (last.0, last.1) = (last.0 + count, last.1 + expected);
    }
    let statistic = cells.iter().map(|(count, expected)| (count - expected).powi(2) / expected).sum();
    deviation(statistic, cells.len() as f64 - 1.0)
}

fn uniform(counts: &[usize]) -> f64 {
    counted(counts, &vec![1.0 / counts.len() as f64; counts.len()])
}

/// Of counts of `n` things, `k` different ones of which are drawn at a time: such counts vary less than
/// independent ones.
fn subsets(counts: &[usize], k: usize) -> f64 {
    let (n, k) = (counts.len() as f64, k as f64);
    let draws = counts.iter().sum::<usize>() as f64 / k;
    let squares: f64 = counts.iter().map(|&count| (count as f64 - draws * k / n).powi(2)).sum();
    deviation(squares * n * (n - 1.0) / (draws * k * (n - k)), n - 1.0)
}

/// The chances of 0, 1, ... things in common to two draws of `k` out of `n`.
fn hypergeometric(n: usize, k: usize) -> Vec<f64> {
    let choose = |n: usize, k: usize| (0..k).map(|i| (n - i) as f64 / (i + 1) as f64).product::<f64>();
    let common = |c: usize| if k - c > n - k { 0.0 } else { choose(k, c) * choose(n - k, k - c) / choose(n, k) };
    (0..=k).map(common).collect()
}

fn overlap<T: PartialEq>(a: &[T], b: &[T]) -> usize {
    a.iter().filter(|item| b.contains(item)).count()
}

/// Classes of these groups with so many images each.
fn data(groups: &[(&str, usize)], images: usize) -> ImageClasses {
    let mut data = ImageClasses::new([1, 1, 1]).unwrap();
    for &(group, classes) in groups {
        (0..classes).for_each(|class| data.push(format!("{group}/{class}"), group, vec![0; images]).unwrap());
    }
    data
}

fn draw(data: &ImageClasses, spec: EpisodeSpec, seed: u64, count: usize) -> Vec<Episode> {
    Episodes::new(data, spec, seed).unwrap().iter().take(count).collect()
}

fn tally(cells: usize, values: impl Iterator<Item = usize>) -> Vec<usize> {
    let mut counts = vec![0; cells];
    values.for_each(|value| counts[value] += 1);
    counts
}

/// `k` different numbers below `n` by the remainder of a byte, which is unfair unless `n` divides 256.
fn by_remainder(n: usize, k: usize, index: u64) -> Vec<usize> {
    let (mut stream, mut chosen) = (Stream::for_task(1, Split::Train, index), Vec::new());
    while chosen.len() < k {
        let number = stream.below(256) % n;
        if !chosen.contains(&number) {
            chosen.push(number);
        }
    }
    chosen
}

#[test]
fn the_statistics_are_those_of_chance() {
    // Fair dice must pass, and the limits must be where the distribution has them: a number of 5 degrees
    // of freedom exceeds 35.89 once in a million, one of 19 exceeds 63.68 (integrated numerically).
    let mut dice = Stream::for_task(0, Split::Train, 0);
    assert!(uniform(&tally(6, (0..60_000).map(|_| dice.below(6)))) < LIMIT);
    assert!((deviation(35.89, 5.0) - LIMIT).abs() < 0.15, "{}", deviation(35.89, 5.0));
    assert!((deviation(63.68, 19.0) - LIMIT).abs() < 0.15, "{}", deviation(63.68, 19.0));
    let cards = hypergeometric(52, 5);
    assert!((cards.iter().sum::<f64>() - 1.0).abs() < 1e-12 && (cards[5] * 2_598_960.0 - 1.0).abs() < 1e-9);
}

#[test]
fn classes_are_drawn_uniformly() {
    let data = data(&[("A", 20)], 2);
    let episodes = draw(&data, EpisodeSpec::new(5, 1, 1), 3, 30_000);
    let fair = subsets(&tally(20, episodes.iter().flat_map(|e| e.classes().to_vec())), 5);
    let unfair = subsets(&tally(20, (0..30_000).flat_map(|index| by_remainder(20, 5, index))), 5);
    assert!(fair < LIMIT, "{fair}");
    assert!(unfair > LIMIT, "{unfair}");
}

#[test]
fn every_pair_of_support_and_query_image_is_as_likely() {
    let data = data(&[("A", 6)], 12);
    let episodes = draw(&data, EpisodeSpec::new(3, 1, 1), 4, 40_000);
    let cell = |support: usize, query: usize| support * 11 + query - usize::from(query > support);
    let items = |e: &Episode| -> Vec<usize> {
        e.support().iter().zip(e.query()).map(|(s, q)| cell(s.image, q.image)).collect()
    };
    let fair = uniform(&tally(132, episodes.iter().flat_map(items)));
    let unfair = tally(132, (0..240_000).map(|index| by_remainder(12, 2, index)).map(|pair| cell(pair[0], pair[1])));
    assert!(fair < LIMIT, "{fair}");
    assert!(uniform(&unfair) > LIMIT, "{}", uniform(&unfair));
    // Larger sets: each image as often in the support, and as often among the queries.
    let episodes = draw(&data, EpisodeSpec::new(2, 2, 5), 5, 20_000);
    let images =
        |items: fn(&Episode) -> &[Item]| tally(12, episodes.iter().flat_map(|e| items(e).to_vec()).map(|i| i.image));
    let (support, query) = (subsets(&images(Episode::support), 2), subsets(&images(Episode::query), 5));
    assert!(support < LIMIT && query < LIMIT, "{support} {query}");
}

/// Two different positions one after the other by weight: each ordered pair with its chance.
fn pairs_by_weight(weights: &[u64]) -> BTreeMap<[usize; 2], f64> {
    let all: u64 = weights.iter().sum();
    let share = |weight: u64, of: u64| weight as f64 / of as f64;
    let pair = |a: usize, b: usize| share(weights[a], all) * share(weights[b], all - weights[a]);
    let pairs = (0..weights.len()).flat_map(|a| (0..weights.len()).map(move |b| [a, b])).filter(|[a, b]| a != b);
    pairs.map(|[a, b]| ([a, b], pair(a, b))).collect()
}

#[test]
fn weights_are_respected() {
    let weights = [1, 2, 3, 4, 10, 0];
    let data = data(&[("A", 6)], 2);
    let classes = |way, seed| {
        let episodes = Episodes::weighted(&data, EpisodeSpec::new(way, 1, 1), &weights, seed).unwrap();
        episodes.iter().take(40_000).map(|episode| episode.classes().to_vec()).collect::<Vec<_>>()
    };
    let expected: Vec<f64> = weights.iter().map(|&weight| weight as f64 / 20.0).collect();
    let single = tally(6, classes(1, 1).into_iter().map(|classes| classes[0]));
    assert!(single[5] == 0 && counted(&single[..5], &expected[..5]) < LIMIT, "{single:?}");

    // Two ways: pairs in either order, since labels are shuffled.
    let ordered = pairs_by_weight(&weights[..5]);
    let pairs: Vec<[usize; 2]> = ordered.keys().copied().filter(|[a, b]| a < b).collect();
    let expected: Vec<f64> = pairs.iter().map(|&[a, b]| ordered[&[a, b]] + ordered[&[b, a]]).collect();
    let cell = |classes: &[usize]| {
        let pair = [classes[0].min(classes[1]), classes[0].max(classes[1])];
        pairs.iter().position(|other| *other == pair).unwrap()
    };
    let counts = tally(pairs.len(), classes(2, 2).iter().map(|classes| cell(classes)));
    assert!(counted(&counts, &expected) < LIMIT, "{counts:?}");
    // The fault: both drawn from all classes, and again where they are equal, favours light pairs.
    let repeated = |index| {
        let mut stream = Stream::for_task(2, Split::Train, index);
        let mut by_weight = || {
            let mut at = stream.below(20) as u64;
            weights
                .iter()
                .position(|&weight| {
                    let found = at < weight;
                    at = at.wrapping_sub(weight);
                    found
                })
                .unwrap()
        };
        loop {
            let pair = [by_weight(), by_weight()];
            if pair[0] != pair[1] {
                return pair;
            }
        }
    };
    let unfair = tally(pairs.len(), (0..40_000).map(|index| cell(&repeated(index))));
    assert!(counted(&unfair, &expected) > LIMIT, "{unfair:?}");
}

#[test]
fn labels_say_nothing_of_weights() {
    // The heaviest class has each label equally often.
    let data = data(&[("A", 5)], 2);
    let episodes = Episodes::weighted(&data, EpisodeSpec::new(3, 1, 1), &[9, 1, 1, 1, 1], 8).unwrap();
    let labels = episodes.iter().take(20_000).filter_map(|e| e.classes().iter().position(|&class| class == 0));
    let fair = uniform(&tally(3, labels));
    assert!(fair < LIMIT, "{fair}");
    // The fault: labels in the order of drawing, where the heavy class comes first.
    let pairs = pairs_by_weight(&[9, 1, 1, 1, 1]);
    let first: f64 = pairs.iter().filter(|(pair, _)| pair[0] == 0).map(|(_, chance)| chance).sum();
    let second: f64 = pairs.iter().filter(|(pair, _)| pair[1] == 0).map(|(_, chance)| chance).sum();
    let unfair = [first, second].map(|chance| (20_000.0 * chance) as usize);
    assert!(uniform(&unfair) > LIMIT, "{unfair:?}");
}

#[test]
fn sizes_are_weights_where_asked() {
    let mut data = ImageClasses::new([1, 1, 1]).unwrap();
    (1..=6).for_each(|n| data.push(format!("{n}"), "", vec![0; 2 * n]).unwrap());
    let classes = |class_draw, seed| {
        let spec = EpisodeSpec::new(1, 1, 1).with_class_draw(class_draw);
        tally(6, draw(&data, spec, seed, 20_000).iter().map(|e| e.classes()[0]))
    };
    let shares: Vec<f64> = (1..=6).map(|n| n as f64 / 21.0).collect();
    assert!(counted(&classes(ClassDraw::BySize, 0), &shares) < LIMIT);
    assert!(counted(&classes(ClassDraw::Uniform, 0), &shares) > LIMIT);
    assert!(uniform(&classes(ClassDraw::Uniform, 0)) < LIMIT);
}

#[test]
fn groups_are_as_likely_whatever_their_size() {
    let data = data(&[("A", 3), ("B", 4), ("C", 9)], 2);
    let group = |class: usize| usize::from(class >= 3) + usize::from(class >= 7);
    let spec = EpisodeSpec::new(3, 1, 1).with_class_draw(ClassDraw::OneGroup);
    let episodes = draw(&data, spec, 6, 30_000);
    assert!(episodes.iter().all(|e| e.classes().iter().all(|&class| group(class) == group(e.classes()[0]))));
    let groups = tally(3, episodes.iter().map(|e| group(e.classes()[0])));
    assert!(uniform(&groups) < LIMIT, "{groups:?}");
    let in_c = tally(9, episodes.iter().flat_map(|e| e.classes().to_vec()).filter(|&c| c >= 7).map(|c| c - 7));
    assert!(subsets(&in_c, 3) < LIMIT, "{in_c:?}");
    // The fault: the group of a class drawn first, which favours large groups.
    let of_class = tally(3, (0..30_000).map(|index| group(Stream::for_task(0, Split::Train, index).below(16))));
    assert!(uniform(&of_class) > LIMIT, "{of_class:?}");
}

#[test]
fn each_class_of_another_group_is_drawn_uniformly() {
    let data = data(&[("A", 2), ("B", 3), ("C", 4), ("D", 1)], 2);
    let group = |class: usize| [2, 5, 9].iter().filter(|&&first| class >= first).count();
    let spec = EpisodeSpec::new(2, 1, 1).with_class_draw(ClassDraw::EachItsGroup);
    let episodes = draw(&data, spec, 7, 30_000);
    assert!(episodes.iter().all(|e| group(e.classes()[0]) != group(e.classes()[1])));
    let groups = tally(4, episodes.iter().flat_map(|e| e.classes().to_vec()).map(group));
    assert!(subsets(&groups, 2) < LIMIT, "{groups:?}");
    let in_c =
        tally(4, episodes.iter().flat_map(|e| e.classes().to_vec()).filter(|c| (5..9).contains(c)).map(|c| c - 5));
    assert!(uniform(&in_c) < LIMIT, "{in_c:?}");
    // Pairs of classes in A and B are draws of their own: catches one number used for both.
    let both = |e: &Episode| -> Option<usize> {
        let [mut a, mut b] = [e.classes()[0], e.classes()[1]];
        if a > b {
            std::mem::swap(&mut a, &mut b);
        }
        (a < 2 && (2..5).contains(&b)).then(|| 3 * a + b - 2)
    };
    let pairs = tally(6, episodes.iter().filter_map(both));
    assert!(uniform(&pairs) < LIMIT, "{pairs:?}");
}

#[test]
fn drawn_counts_are_uniform_and_independent() {
    let data = data(&[("A", 8)], 12);
    let spec = EpisodeSpec::new(2, 1, 1).with_ways(2..=5).with_shots(1..=4, Drawn::PerClass);
    let episodes = draw(&data, spec.with_queries(3..=5, Drawn::PerEpisode), 9, 30_000);
    let count = |items: &[Item], label| items.iter().filter(|item| item.label == label).count();
    // Ways, the shots of two classes and the queries, all together in one table.
    let cell = |e: &Episode| {
        let way = e.classes().len();
        assert!((0..way).all(|label| count(e.query(), label) == count(e.query(), 0)));
        let shots = [0, 1].map(|label| count(e.support(), label) - 1);
        ((way - 2) * 16 + shots[0] * 4 + shots[1]) * 3 + count(e.query(), 0) - 3
    };
    let table = tally(4 * 4 * 4 * 3, episodes.iter().map(cell));
    assert!(uniform(&table) < LIMIT, "{table:?}");
    // The fault: one draw of shots for all classes.
    let even = draw(&data, spec.with_shots(1..=4, Drawn::PerEpisode).with_queries(3..=5, Drawn::PerEpisode), 9, 30_000);
    assert!(uniform(&tally(192, even.iter().map(cell))) > LIMIT);
}

/// How the classes, and the images of one class, of pairs of episodes overlap.
fn independence(first: &[Episode], second: &[Episode], classes: (usize, usize), images: (usize, usize)) -> [f64; 2] {
    let of_class = |e: &Episode, class: usize| -> Vec<usize> {
        let items = e.support().iter().chain(e.query());
        items.filter(|item| item.class == class).map(|item| item.image).collect()
    };
    let pairs = || first.iter().zip(second);
    let shared = tally(classes.1 + 1, pairs().map(|(a, b)| overlap(a.classes(), b.classes())));
    let in_shared_class = |(a, b): (&Episode, &Episode)| -> Option<usize> {
        let class = *a.classes().iter().find(|class| b.classes().contains(class))?;
        Some(overlap(&of_class(a, class), &of_class(b, class)))
    };
    let shared_images = tally(images.1 + 1, pairs().filter_map(in_shared_class));
    [
        counted(&shared, &hypergeometric(classes.0, classes.1)),
        counted(&shared_images, &hypergeometric(images.0, images.1)),
    ]
}

#[test]
fn episodes_share_what_chance_has_them_share() {
    let data = data(&[("A", 12)], 10);
    let spec = EpisodeSpec::new(4, 2, 2);
    let count = 20_000;
    let part = |seed, part| {
        let episodes = Episodes::new(&data, spec, seed).unwrap().with_split(part);
        episodes.iter().take(count).collect::<Vec<_>>()
    };
    let [train, val, test] = [Split::Train, Split::Val, Split::Test].map(|p| part(0, p));
    let next = part(1, Split::Train);
    let (even, odd): (Vec<_>, Vec<_>) = train.iter().cloned().partition(|e| e.index() % 2 == 0);
    let alternatives = [
        ("neighbours", &even[..], &odd[..]),
        ("seeds", &train, &next),
        ("a seed and the next index of the seed before", &train[1..], &next),
        ("train and val", &train, &val),
        ("train and test", &train, &test),
        ("val and test", &val, &test),
    ];
    for (what, first, second) in alternatives {
        let found = independence(first, second, (12, 4), (10, 4));
        assert!(found.iter().all(|deviation| *deviation < LIMIT), "{what}: {found:?}");
    }
    // The faults: a task that is there twice, as with streams keyed by the sum of seed and index, ...
    assert!(independence(&train, &train, (12, 4), (10, 4)).iter().all(|deviation| *deviation > LIMIT));
    // ... and one that avoids what was drawn before, as a shuffle that goes on from task to task does.
    let shuffled = |index: u64| Stream::for_task(0, Split::Train, index).choose(12, 8);
    let avoided = tally(5, (0..10_000).map(shuffled).map(|classes| overlap(&classes[..4], &classes[4..])));
    assert!(counted(&avoided, &hypergeometric(12, 4)) > LIMIT);
}

#[test]
fn multi_label_classes_and_images_are_drawn_uniformly() {
    // One label each, so that no class takes images from another: 8 classes of 12 images.
    let names = (0..8).map(|class| format!("{class}")).collect();
    let images = MultiLabelImages::new([1, 1, 1], names, vec![0; 96], (0..96).map(|i| vec![i % 8]).collect()).unwrap();
    let tasks = MultiLabelTasks::new(images, EpisodeSpec::new(3, 1, 2), 0, &Pipeline::new()).unwrap();
    let episodes: Vec<_> = (0..20_000).map(|index| tasks.episode(index)).collect();
    let classes = tally(8, episodes.iter().flat_map(|e| e.classes.clone()));
    let query = tally(12, episodes.iter().flat_map(|e| e.query.clone()).map(|image| image / 8));
    assert!(subsets(&classes, 3) < LIMIT && subsets(&query, 2) < LIMIT, "{classes:?} {query:?}");
}
