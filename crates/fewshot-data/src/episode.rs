//! Episodes: small classification tasks drawn from a dataset.
//!
//! Does not know: pixels, tensors, where the classes came from.

mod pool;
mod spec;

use std::collections::HashSet;

use crate::draw::Domain;
use crate::{Error, ImageClasses, Split};

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
    part: Split,
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
        Ok(Self { spec, seed, part: Split::default(), images, weights: weights.map(<[_]>::to_vec), pool })
    }

    /// Sets what the episodes are for. With the same seed, those of one part have nothing to do with
    /// those of another: they do not draw the same positions from two datasets of the same sizes.
    pub fn with_split(mut self, part: Split) -> Self {
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
    pub fn split(&self) -> Split {
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
mod tests;
