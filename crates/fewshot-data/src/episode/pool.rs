//! The classes an episode may have, and how some of them are drawn.
//!
//! Does not know: images, labels, what the classes are of.

use std::collections::BTreeMap;

use crate::draw::{Domain, Stream};
use crate::{ClassDraw, EpisodeSpec, Error, Split, TooSmall};

/// Where an episode is drawn: the whole of what its draws depend on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub domain: Domain,
    pub seed: u64,
    pub part: Split,
    pub index: u64,
}

/// What is drawn at a place, each from a stream of its own.
#[derive(Clone, Copy, Debug)]
pub(crate) enum What {
    /// Classes in the first section, then the images of one class in each.
    Classes = 0,
    /// Ways, shots and queries, a section each.
    Counts = 1,
    /// Groups, or classes within groups.
    Groups = 2,
}

impl Place {
    pub(crate) fn stream(&self, what: What) -> Stream {
        // The first part and kind have key 0, with which all episodes of version 1 were drawn.
        let key = (self.part as u64) << 8 | what as u64;
        Stream::new(self.domain, self.seed, key, self.index)
    }
}

/// What the draw of classes is to know of one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ClassSize<'a> {
    pub name: &'a str,
    pub group: &'a str,
    pub images: usize,
}

/// The classes that may be drawn, by index in the dataset.
#[derive(Clone, Debug)]
pub(crate) enum ClassPool {
    Uniform(Vec<usize>),
    /// Classes and their weights.
    Weighted(Vec<usize>, Vec<u64>),
    OneGroup(Vec<Vec<usize>>),
    EachItsGroup(Vec<Vec<usize>>),
}

impl ClassPool {
    /// The classes that have enough images, or an error.
    pub(crate) fn new(classes: &[ClassSize], spec: &EpisodeSpec, weights: Option<&[u64]>) -> Result<Self, Error> {
        spec.check()?;
        let weights = weights_of(classes, spec.class_draw, weights)?;
        let drawable = |&class: &usize| weights.as_ref().is_none_or(|weights| weights[class] > 0);
        let all: Vec<usize> = (0..classes.len()).filter(drawable).collect();
        check_ways(spec.way, all.len())?;
        let usable = usable(classes, all, spec)?;
        match (spec.class_draw, weights) {
            (ClassDraw::OneGroup, _) => one_group(classes, &usable, spec),
            (ClassDraw::EachItsGroup, _) => {
                let groups: Vec<_> = by_group(classes, &usable).into_values().collect();
                match spec.way > groups.len() {
                    true => Err(Error::TooFewGroups { way: spec.way, groups: groups.len() }),
                    false => Ok(Self::EachItsGroup(groups)),
                }
            }
            (_, None) => Ok(Self::Uniform(usable)),
            (_, Some(weights)) => {
                let weights: Vec<u64> = usable.iter().map(|&class| weights[class]).collect();
                Ok(Self::Weighted(usable, weights))
            }
        }
    }

    /// `way` different classes in random order.
    pub(crate) fn draw(&self, place: &Place, way: usize) -> Vec<usize> {
        let mut stream = place.stream(What::Classes);
        let mut groups = place.stream(What::Groups);
        let pick = |from: &[usize], at: Vec<usize>| -> Vec<usize> { at.into_iter().map(|i| from[i]).collect() };
        match self {
            Self::Uniform(classes) => pick(classes, stream.choose(classes.len(), way)),
            Self::Weighted(classes, weights) => {
                let mut chosen = stream.choose_weighted(weights, way);
                // Heavy classes come first: without this a label would say something of its class.
                stream.shuffle(&mut chosen);
                pick(classes, chosen)
            }
            Self::OneGroup(all) => {
                let group = &all[groups.below(all.len())];
                pick(group, stream.choose(group.len(), way))
            }
            Self::EachItsGroup(all) => {
                let chosen = stream.choose(all.len(), way);
                chosen.into_iter().map(|group| all[group][groups.below(all[group].len())]).collect()
            }
        }
    }
}

fn check_ways(way: usize, classes: usize) -> Result<(), Error> {
    if way > classes { Err(Error::TooFewClasses { way, classes }) } else { Ok(()) }
}

/// The weight of each class, or `None` for a draw without weights.
fn weights_of(classes: &[ClassSize], draw: ClassDraw, given: Option<&[u64]>) -> Result<Option<Vec<u64>>, Error> {
    let weights = match (draw, given) {
        (ClassDraw::BySize, _) => classes.iter().map(|class| class.images as u64).collect(),
        (ClassDraw::Weighted, Some(given)) => given.to_vec(),
        (ClassDraw::Weighted, None) => {
            let found = "to be by weights that are not given".to_owned();
            return Err(Error::Setting { setting: "class draw", found, expected: "Episodes::weighted to give them" });
        }
        _ => return Ok(None),
    };
    let found = |what: String| Error::Setting {
        setting: "the list of class weights",
        found: what,
        expected: "a whole number for each class, with a sum below 2^64",
    };
    if weights.len() != classes.len() {
        return Err(found(format!("{} numbers for {} classes", weights.len(), classes.len())));
    }
    let sum = weights.iter().try_fold(0u64, |sum, &weight| sum.checked_add(weight));
    sum.map(|_| Some(weights)).ok_or_else(|| found("too large in sum".to_owned()))
}

/// Those of the classes that have the images the specification may ask for.
fn usable(classes: &[ClassSize], all: Vec<usize>, spec: &EpisodeSpec) -> Result<Vec<usize>, Error> {
    let &EpisodeSpec { way, shot, query, too_small, .. } = spec;
    let is_small = |&class: &usize| classes[class].images < spec.images_per_class();
    // `min_by_key` takes the first of several smallest classes.
    let smallest = all.iter().copied().filter(is_small).min_by_key(|&class| classes[class].images);
    match (smallest, too_small) {
        (None, _) => Ok(all),
        (Some(class), TooSmall::Refuse) => {
            let ClassSize { name, images, .. } = classes[class];
            Err(Error::TooFewImages { class: name.to_owned(), images, shot, query })
        }
        (Some(_), TooSmall::LeaveOut) => {
            let classes = all.len();
            let usable: Vec<usize> = all.into_iter().filter(|class| !is_small(class)).collect();
            if way > usable.len() {
                return Err(Error::TooFewUsable { way, usable: usable.len(), classes, shot, query });
            }
            Ok(usable)
        }
    }
}

fn by_group<'a>(classes: &[ClassSize<'a>], usable: &[usize]) -> BTreeMap<&'a str, Vec<usize>> {
    let mut groups: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    usable.iter().for_each(|&class| groups.entry(classes[class].group).or_default().push(class));
    groups
}

fn one_group(classes: &[ClassSize], usable: &[usize], spec: &EpisodeSpec) -> Result<ClassPool, Error> {
    let way = spec.way;
    let mut groups = by_group(classes, usable);
    let all = groups.len();
    let smallest = groups.iter().min_by_key(|(_, classes)| classes.len());
    match (smallest.map(|(group, classes)| (*group, classes.len())), spec.too_small) {
        (Some((group, classes)), TooSmall::Refuse) if way > classes => {
            return Err(Error::SmallGroup { group: group.to_owned(), classes, way });
        }
        _ => groups.retain(|_, classes| classes.len() >= way),
    }
    if groups.is_empty() {
        return Err(Error::NoLargeGroup { way, groups: all });
    }
    Ok(ClassPool::OneGroup(groups.into_values().collect()))
}
