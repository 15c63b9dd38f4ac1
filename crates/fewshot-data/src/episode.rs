//! Episodes: small classification tasks drawn from a dataset.
//!
//! Does not know: pixels, tensors, where the classes came from.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use crate::draw::{Domain, Stream};
use crate::{Error, ImageClasses};

/// In which order the classes of an episode get their labels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LabelOrder {
    /// Random, so that a label says nothing about its class.
    #[default]
    Shuffled,
    /// In the order of the classes in the dataset. The episode has the same classes and images as
    /// the shuffled one of the same seed and index.
    ByClass,
}

/// The size of an episode. Support and query are per class and independent of one another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EpisodeSpec {
    /// Classes.
    pub way: usize,
    /// Support images per class.
    pub shot: usize,
    /// Query images per class.
    pub query: usize,
    /// Order of the labels.
    #[serde(default)]
    pub label_order: LabelOrder,
}

impl EpisodeSpec {
    /// Episodes of `way` classes with `shot` support and `query` query images each and shuffled
    /// labels.
    pub fn new(way: usize, shot: usize, query: usize) -> Self {
        let label_order = LabelOrder::Shuffled;
        Self { way, shot, query, label_order }
    }

    /// Sets the order of the labels.
    pub fn with_label_order(mut self, label_order: LabelOrder) -> Self {
        self.label_order = label_order;
        self
    }

    /// Checks that no number is zero. An episode without queries could be adapted to but not
    /// scored, and an empty tensor is no input to a loss.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let all = [("way", self.way), ("shot", self.shot), ("query", self.query)];
        match all.into_iter().find(|&(_, value)| value == 0) {
            Some((setting, _)) => Err(Error::Setting { setting, found: "0".to_owned(), expected: "at least 1" }),
            None => Ok(()),
        }
    }
}

/// One image of an episode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Item {
    /// Index of the class in the dataset.
    pub class: usize,
    /// Index of the image in the class.
    pub image: usize,
    /// Label in the episode, 0 to way - 1.
    pub label: usize,
}

/// One task: its classes, and which images are support and query.
///
/// Support and query never share an image. Items stand label by label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Episode {
    index: u64,
    classes: Vec<usize>,
    support: Vec<Item>,
    query: Vec<Item>,
}

impl Episode {
    /// Puts an episode together from its classes in label order and, for each, its images.
    pub(crate) fn new(index: u64, classes: Vec<usize>, support: &[Vec<usize>], query: &[Vec<usize>]) -> Self {
        let items = |images: &[Vec<usize>]| -> Vec<Item> {
            let labelled = classes.iter().zip(images).enumerate();
            let each = |(label, (&class, images)): (usize, (&usize, &Vec<usize>))| {
                let item = |&image| Item { class, image, label };
                images.iter().map(item).collect::<Vec<_>>()
            };
            labelled.flat_map(each).collect()
        };
        let (support, query) = (items(support), items(query));
        Self { index, classes, support, query }
    }

    /// The index it was drawn with.
    pub fn index(&self) -> u64 {
        self.index
    }

    /// The class indices; the position is the label.
    pub fn classes(&self) -> &[usize] {
        &self.classes
    }

    /// The support items, `way * shot` of them, label by label.
    pub fn support(&self) -> &[Item] {
        &self.support
    }

    /// The query items, `way * query` of them, label by label.
    pub fn query(&self) -> &[Item] {
        &self.query
    }
}

/// All episodes of one specification and seed: a pure function from index to episode.
///
/// Nothing is remembered between calls, so workers may share it, a resumed run goes on where it
/// stopped, and episode 17 of seed 3 is the same one for everybody. The draw depends on the number
/// of classes and images in the dataset and on their order, which is why a fixed evaluation is
/// better kept as [`FrozenEpisodes`](crate::FrozenEpisodes).
///
/// With the same seed and index, more queries leave classes and support as they are, and more ways
/// keep the classes drawn so far.
///
/// # Example
/// ```
/// # use fewshot_data::{EpisodeSpec, Episodes, Glyphs};
/// let data = Glyphs::new(10, 20).generate()?;
/// let episodes = Episodes::new(&data, EpisodeSpec::new(5, 1, 15), 42)?;
/// let episode = episodes.get(7);
/// assert_eq!((episode.support().len(), episode.query().len()), (5, 75));
/// assert_eq!(episode, episodes.get(7));
/// # Ok::<(), fewshot_data::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Episodes {
    spec: EpisodeSpec,
    seed: u64,
    images: Vec<usize>,
}

impl Episodes {
    /// Episodes from this dataset.
    ///
    /// # Errors
    /// [`Error::Setting`] where way, shot or query is zero, [`Error::TooFewClasses`],
    /// [`Error::TooFewImages`] naming the smallest class.
    pub fn new(data: &ImageClasses, spec: EpisodeSpec, seed: u64) -> Result<Self, Error> {
        spec.check()?;
        let EpisodeSpec { way, shot, query, .. } = spec;
        let classes = data.len();
        if way > classes {
            return Err(Error::TooFewClasses { way, classes });
        }
        // `min_by_key` takes the first of several smallest classes.
        let smallest = data.classes().iter().min_by_key(|class| class.image_count());
        if let Some(class) = smallest.filter(|c| shot.saturating_add(query) > c.image_count()) {
            let (images, class) = (class.image_count(), class.name().to_owned());
            return Err(Error::TooFewImages { class, images, shot, query });
        }
        let images = data.classes().iter().map(|class| class.image_count()).collect();
        Ok(Self { spec, seed, images })
    }

    /// The specification.
    pub fn spec(&self) -> EpisodeSpec {
        self.spec
    }

    /// The seed.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// The episode with this index; every `u64` has one.
    ///
    /// # Cost
    /// Linear in the number of classes, and in the images of the classes drawn.
    pub fn get(&self, index: u64) -> Episode {
        let EpisodeSpec { way, shot, query, label_order } = self.spec;
        let mut stream = Stream::new(Domain::Episode, self.seed, 0, index);
        let classes = stream.choose(self.images.len(), way);
        let mut drawn = Vec::with_capacity(way);
        for (class, section) in classes.into_iter().zip(1..) {
            // Each class draws from its own section, so that one class's images do not depend on
            // how many the others need.
            stream.seek(section);
            let images = stream.choose(self.images[class], shot + query);
            drawn.push((class, images));
        }
        if label_order == LabelOrder::ByClass {
            drawn.sort_by_key(|&(class, _)| class);
        }
        let classes = drawn.iter().map(|&(class, _)| class).collect();
        let split = |(_, images): (usize, Vec<usize>)| {
            let (support, query) = images.split_at(shot);
            (support.to_vec(), query.to_vec())
        };
        let (support, query): (Vec<_>, Vec<_>) = drawn.into_iter().map(split).unzip();
        Episode::new(index, classes, &support, &query)
    }

    /// The episodes from index 0 on, without end.
    pub fn iter(&self) -> impl Iterator<Item = Episode> {
        (0..=u64::MAX).map(|index| self.get(index))
    }
}

/// Whether no image of the episode occurs twice, in support and query together.
pub(crate) fn images_are_distinct(episode: &Episode) -> bool {
    let items = episode.support.iter().chain(&episode.query);
    let mut seen = HashSet::new();
    items.into_iter().all(|item| seen.insert((item.class, item.image)))
}

#[cfg(test)]
mod tests {
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
}
