//! Episodes: small classification tasks drawn from a dataset.
//!
//! Does not know: pixels, tensors, where the classes came from.

mod pool;
mod spec;

use std::collections::HashSet;

use crate::draw::Domain;
use crate::{Error, ImageClasses, Part};

pub(crate) use pool::{ClassPool, ClassSize, Place, What};
pub(crate) use spec::Sizes;
pub use spec::{ClassDraw, Drawn, EpisodeSpec, LabelOrder, Least, TooSmall};

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
/// Support and query never share an image. Items stand label by label; where counts are drawn, the
/// labels of items say how many each class has.
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

    /// The support items, `way * shot` of them where shots are exact, label by label.
    pub fn support(&self) -> &[Item] {
        &self.support
    }

    /// The query items, `way * query` of them where queries are exact, label by label.
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
/// keep the classes drawn so far (but not where they are drawn by weight).
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
    part: Part,
    images: Vec<usize>,
    weights: Option<Vec<u64>>,
    pool: ClassPool,
}

impl Episodes {
    /// Episodes from this dataset.
    ///
    /// # Errors
    /// [`Error::Setting`] where way, shot or query is zero, [`Error::TooFewClasses`],
    /// [`Error::TooFewImages`] naming the smallest class (or [`Error::TooFewUsable`] where such
    /// classes are left out); for classes drawn by group [`Error::TooFewGroups`],
    /// [`Error::SmallGroup`] naming the smallest group and [`Error::NoLargeGroup`].
    pub fn new(data: &ImageClasses, spec: EpisodeSpec, seed: u64) -> Result<Self, Error> {
        Self::of(&class_sizes(data), spec, seed, None)
    }

    /// Episodes whose classes are drawn by weights, one for each class of the dataset: one class
    /// after the other, each in proportion to its weight among those left. A class of weight 0 is
    /// never drawn.
    ///
    /// Weights are whole numbers so that the draw is exact; scale fractions to what precision they
    /// need.
    ///
    /// # Errors
    /// Those of [`new`](Self::new); [`Error::Setting`] where there is not one weight for each class.
    ///
    /// # Example
    /// ```
    /// # use fewshot_data::{EpisodeSpec, Episodes, Glyphs};
    /// let data = Glyphs::new(4, 2).generate()?;
    /// let episodes = Episodes::weighted(&data, EpisodeSpec::new(2, 1, 1), &[9, 1, 0, 1], 42)?;
    /// assert!(episodes.iter().take(100).all(|episode| !episode.classes().contains(&2)));
    /// # Ok::<(), fewshot_data::Error>(())
    /// ```
    pub fn weighted(data: &ImageClasses, spec: EpisodeSpec, weights: &[u64], seed: u64) -> Result<Self, Error> {
        Self::of(&class_sizes(data), spec.with_class_draw(ClassDraw::Weighted), seed, Some(weights))
    }

    /// Episodes of anything that has classes.
    pub(crate) fn of(
        classes: &[ClassSize],
        spec: EpisodeSpec,
        seed: u64,
        weights: Option<&[u64]>,
    ) -> Result<Self, Error> {
        let pool = ClassPool::new(classes, &spec, weights)?;
        let images = classes.iter().map(|class| class.images).collect();
        Ok(Self { spec, seed, part: Part::default(), images, weights: weights.map(<[_]>::to_vec), pool })
    }

    /// Sets what the episodes are for. With the same seed, those of one part have nothing to do with
    /// those of another: they do not draw the same positions from two datasets of the same sizes.
    pub fn with_part(mut self, part: Part) -> Self {
        self.part = part;
        self
    }

    /// The specification.
    pub fn spec(&self) -> EpisodeSpec {
        self.spec
    }

    /// The seed.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// What the episodes are for.
    pub fn part(&self) -> Part {
        self.part
    }

    /// The weights of the classes, where they were given.
    pub fn weights(&self) -> Option<&[u64]> {
        self.weights.as_deref()
    }

    /// The episode with this index; every `u64` has one.
    ///
    /// # Cost
    /// Linear in the number of classes (times ways, where they are drawn by weight), and in the
    /// images of the classes drawn.
    pub fn get(&self, index: u64) -> Episode {
        let place = Place { domain: Domain::Episode, seed: self.seed, part: self.part, index };
        let Sizes { way, shots, queries } = self.spec.sizes(&place);
        let classes = self.pool.draw(&place, way);
        let mut stream = place.stream(What::Classes);
        let mut drawn = Vec::with_capacity(way);
        for (((class, shot), query), section) in classes.into_iter().zip(shots).zip(queries).zip(1..) {
            // Each class draws from its own section, so that one class's images do not depend on
            // how many the others need.
            stream.seek(section);
            let mut support = stream.choose(self.images[class], shot + query);
            let query = support.split_off(shot.min(support.len()));
            drawn.push((class, support, query));
        }
        if self.spec.label_order == LabelOrder::ByClass {
            drawn.sort_by_key(|&(class, ..)| class);
        }
        let classes = drawn.iter().map(|&(class, ..)| class).collect();
        let (support, query): (Vec<_>, Vec<_>) = drawn.into_iter().map(|(_, support, query)| (support, query)).unzip();
        Episode::new(index, classes, &support, &query)
    }

    /// The episodes from index 0 on, without end.
    pub fn iter(&self) -> impl Iterator<Item = Episode> {
        (0..=u64::MAX).map(|index| self.get(index))
    }
}

fn class_sizes(data: &ImageClasses) -> Vec<ClassSize<'_>> {
    let size = |class| {
        let (name, group, images) = (crate::Class::name(class), class.group(), class.image_count());
        ClassSize { name, group, images }
    };
    data.classes().iter().map(size).collect()
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
