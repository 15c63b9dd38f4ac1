//! How large an episode is and how its classes are drawn.
//!
//! Does not know: datasets, images.

use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use super::pool::{Place, What};
use crate::Error;
use crate::draw::Stream;

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

/// How the classes of an episode are drawn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClassDraw {
    /// Each class as likely as any other.
    #[default]
    Uniform,
    /// One class after the other, each in proportion to its number of images among those left.
    BySize,
    /// One class after the other, in proportion to weights that are given: see
    /// [`Episodes::weighted`](crate::Episodes::weighted).
    Weighted,
    /// First a group, each as likely as any other, then all classes from it: tasks of fine
    /// distinctions, such as the characters of one alphabet.
    OneGroup,
    /// As many groups as ways, then a class from each of them.
    EachItsGroup,
}

/// What becomes of classes that have too few images for the specification, and of groups that have
/// too few classes for [`ClassDraw::OneGroup`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TooSmall {
    /// An error that names the first of the smallest.
    #[default]
    Refuse,
    /// They are never drawn.
    LeaveOut,
}

/// How often a count is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Drawn {
    /// Once, for all classes of the episode.
    PerEpisode,
    /// For each class by itself: classes of different sizes.
    PerClass,
}

/// The lower bound of a count that is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Least {
    /// The smallest number.
    pub count: usize,
    /// How often it is drawn.
    pub drawn: Drawn,
}

/// The size of an episode. Support and query are per class and independent of one another.
///
/// # Example
/// ```
/// use fewshot_data::{ClassDraw, Drawn, EpisodeSpec};
/// let plain = EpisodeSpec::new(5, 1, 15);
/// let uneven = plain.with_ways(5..=20).with_shots(1..=10, Drawn::PerClass);
/// assert_eq!((uneven.way, uneven.shot, uneven.query), (20, 10, 15));
/// let fine = plain.with_class_draw(ClassDraw::OneGroup);
/// # assert_ne!(fine, plain);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EpisodeSpec {
    /// Classes; the most of them where `least_way` is set.
    pub way: usize,
    /// Support images per class; the most of them where `least_shot` is set.
    pub shot: usize,
    /// Query images per class; the most of them where `least_query` is set.
    pub query: usize,
    /// Order of the labels.
    #[serde(default)]
    pub label_order: LabelOrder,
    /// The fewest classes, where their number is drawn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub least_way: Option<usize>,
    /// The fewest support images of a class, where their number is drawn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub least_shot: Option<Least>,
    /// The fewest query images of a class, where their number is drawn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub least_query: Option<Least>,
    /// How classes are drawn.
    #[serde(default, skip_serializing_if = "is_default")]
    pub class_draw: ClassDraw,
    /// What becomes of classes with too few images.
    #[serde(default, skip_serializing_if = "is_default")]
    pub too_small: TooSmall,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl EpisodeSpec {
    /// Episodes of `way` classes with `shot` support and `query` query images each, classes drawn
    /// uniformly, and shuffled labels.
    pub fn new(way: usize, shot: usize, query: usize) -> Self {
        Self {
            way,
            shot,
            query,
            label_order: LabelOrder::default(),
            least_way: None,
            least_shot: None,
            least_query: None,
            class_draw: ClassDraw::default(),
            too_small: TooSmall::default(),
        }
    }

    /// Sets the order of the labels.
    pub fn with_label_order(mut self, label_order: LabelOrder) -> Self {
        self.label_order = label_order;
        self
    }

    /// A number of classes that is drawn for each episode, each number as likely as any other.
    pub fn with_ways(mut self, ways: RangeInclusive<usize>) -> Self {
        (self.least_way, self.way) = (Some(*ways.start()), *ways.end());
        self
    }

    /// A number of support images that is drawn, each number as likely as any other.
    ///
    /// A class must have the most support and query images that may be asked of it: numbers are not
    /// cut to what a class has, which would give small classes other tasks.
    pub fn with_shots(mut self, shots: RangeInclusive<usize>, drawn: Drawn) -> Self {
        (self.least_shot, self.shot) = (Some(Least { count: *shots.start(), drawn }), *shots.end());
        self
    }

    /// A number of query images that is drawn: see [`with_shots`](Self::with_shots).
    pub fn with_queries(mut self, queries: RangeInclusive<usize>, drawn: Drawn) -> Self {
        (self.least_query, self.query) = (Some(Least { count: *queries.start(), drawn }), *queries.end());
        self
    }

    /// Sets how classes are drawn.
    pub fn with_class_draw(mut self, class_draw: ClassDraw) -> Self {
        self.class_draw = class_draw;
        self
    }

    /// Sets what becomes of classes with too few images.
    pub fn with_too_small(mut self, too_small: TooSmall) -> Self {
        self.too_small = too_small;
        self
    }

    /// The most images that a class may be asked for; `usize::MAX` stands for more than there are.
    pub(crate) fn images_per_class(&self) -> usize {
        self.shot.saturating_add(self.query)
    }

    /// Whether the first version of frozen lists can hold it: exact counts and no choices.
    pub(crate) fn is_plain(&self) -> bool {
        let Self { way, shot, query, label_order, .. } = *self;
        *self == Self::new(way, shot, query).with_label_order(label_order)
    }

    /// Bounds of ways, shots and queries.
    pub(crate) fn bounds(&self) -> [RangeInclusive<usize>; 3] {
        let from = |least: Option<Least>, most| least.map_or(most, |least| least.count)..=most;
        let ways = self.least_way.unwrap_or(self.way)..=self.way;
        [ways, from(self.least_shot, self.shot), from(self.least_query, self.query)]
    }

    /// Checks that no number is zero. An episode without queries could be adapted to but not
    /// scored, and an empty tensor is no input to a loss.
    pub(crate) fn check(&self) -> Result<(), Error> {
        for (setting, bounds) in ["way", "shot", "query"].into_iter().zip(self.bounds()) {
            let (least, most) = (*bounds.start(), *bounds.end());
            if least == most && most == 0 {
                return Err(Error::Setting { setting, found: "0".to_owned(), expected: "at least 1" });
            }
            if least == 0 || least > most {
                let expected = "bounds of at least 1, the lower one first";
                return Err(Error::Setting { setting, found: format!("drawn from {least} to {most}"), expected });
            }
        }
        Ok(())
    }

    /// The counts of the episode drawn at this place. Exact ones take no draw.
    pub(crate) fn sizes(&self, place: &Place) -> Sizes {
        let [ways, shots, queries] = self.bounds();
        let way = uniform(&ways, &mut place.stream(What::Counts));
        let counts = |least: Option<Least>, bounds: &RangeInclusive<usize>, section| {
            // Each kind of count in a section of its own: more ways leave the shots drawn so far.
            let mut stream = place.stream(What::Counts);
            stream.seek(section);
            match least.map(|least| least.drawn) {
                None | Some(Drawn::PerEpisode) => vec![uniform(bounds, &mut stream); way],
                Some(Drawn::PerClass) => (0..way).map(|_| uniform(bounds, &mut stream)).collect(),
            }
        };
        let shots = counts(self.least_shot, &shots, 1);
        let queries = counts(self.least_query, &queries, 2);
        Sizes { way, shots, queries }
    }
}

/// A number within bounds that [`EpisodeSpec::check`] has passed.
fn uniform(bounds: &RangeInclusive<usize>, stream: &mut Stream) -> usize {
    let (least, most) = (*bounds.start(), *bounds.end());
    if least == most { most } else { least + stream.below(most - least + 1) }
}

/// How many classes an episode has, and how many images of each.
pub(crate) struct Sizes {
    pub way: usize,
    pub shots: Vec<usize>,
    pub queries: Vec<usize>,
}
