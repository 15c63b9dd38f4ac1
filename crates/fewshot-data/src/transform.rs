//! What is done to an image between its bytes and the network.
//!
//! Settings are here; [`Pipeline::plan`] fits them to a shape of images and [`Plan::apply`] runs them.
//!
//! Does not know: episodes, tensors, which dataset wants what.

mod affine;
mod geometry;
mod jitter;
mod plan;

use serde::{Deserialize, Serialize};

use crate::{Filter, Parts};

pub use affine::Affine;
pub use jitter::ColorJitter;
pub use plan::{ImageKey, Plan, Scratch};

/// One step on the bytes of an image. Sizes are `[height, width]`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Step {
    /// To this size, whatever it does to the proportions: see [`resize`](crate::resize()).
    Resize {
        /// The new size.
        size: [usize; 2],
        /// The weights.
        #[serde(default)]
        filter: Filter,
    },
    /// The shorter side to this length, the longer one in proportion, rounded down.
    ShorterSide {
        /// The new length of the shorter side.
        side: usize,
        /// The weights.
        #[serde(default)]
        filter: Filter,
    },
    /// The middle; where that lies between two pixels, half a pixel to the even side.
    CenterCrop {
        /// The size cut out.
        size: [usize; 2],
    },
    /// A part at a random place, each as likely as any other.
    RandomCrop {
        /// The size cut out.
        size: [usize; 2],
        /// Pixels added on each side before.
        #[serde(default)]
        padding: usize,
        /// What the added pixels are.
        #[serde(default)]
        fill: Fill,
    },
    /// Left and right change places, with this probability.
    Flip {
        /// 0 to 1.
        probability: f32,
    },
    /// Turned, scaled, slanted and moved at random.
    Affine(Affine),
}

/// What is beyond the edge of an image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fill {
    /// Zeros: black.
    #[default]
    Zero,
    /// The image mirrored at its outermost pixels, which are not repeated.
    Reflect,
}

/// Mean and standard deviation of each channel, on the scale where 255 is 1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Normalize {
    /// Subtracted.
    pub mean: Vec<f64>,
    /// Divided by, after that.
    pub std: Vec<f64>,
}

/// What is done to every image, in this order: the steps on bytes one after the other, 255 becomes 1.0,
/// colour jitter, normalisation.
///
/// Random steps draw from a key that is given with the image, each step from a section of its own:
/// the same image of the same task is always the same, on any number of threads, and a flip added
/// last leaves the crops as they are.
///
/// # Example
/// ```
/// use fewshot_data::{ColorJitter, Fill, ImageKey, Layout, Pipeline, Scratch};
/// let training = Pipeline::new()
///     .random_crop([84, 84], 8, Fill::Reflect)
///     .flip(0.5)
///     .jitter(ColorJitter::new(0.4, 0.4, 0.4, 0.0))
///     .normalize(&[0.47, 0.45, 0.40], &[0.28, 0.27, 0.28]);
/// let plan = training.plan([3, 84, 84])?;
/// let (image, mut out) = (vec![7; 3 * 84 * 84], vec![0.0; 3 * 84 * 84]);
/// let key = ImageKey { seed: 42, task: 7, image: 0 };
/// plan.apply(&image, Layout::Planar, key, &mut Scratch::default(), &mut out)?;
/// let testing = training.without_chance(); // its crop is the middle, nothing is flipped or jittered
/// # assert!(!testing.is_random());
/// # Ok::<(), fewshot_data::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Pipeline {
    /// Steps on bytes.
    pub steps: Vec<Step>,
    /// Colour jitter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jitter: Option<ColorJitter>,
    /// Normalisation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub normalize: Option<Normalize>,
}

impl Pipeline {
    /// Nothing but 255 to 1.0.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a step.
    pub fn step(mut self, step: Step) -> Self {
        self.steps.push(step);
        self
    }

    /// Adds [`Step::Resize`].
    pub fn resize(self, size: [usize; 2], filter: Filter) -> Self {
        self.step(Step::Resize { size, filter })
    }

    /// Adds [`Step::ShorterSide`].
    pub fn shorter_side(self, side: usize, filter: Filter) -> Self {
        self.step(Step::ShorterSide { side, filter })
    }

    /// Adds [`Step::CenterCrop`].
    pub fn center_crop(self, size: [usize; 2]) -> Self {
        self.step(Step::CenterCrop { size })
    }

    /// Adds [`Step::RandomCrop`].
    pub fn random_crop(self, size: [usize; 2], padding: usize, fill: Fill) -> Self {
        self.step(Step::RandomCrop { size, padding, fill })
    }

    /// Adds [`Step::Flip`].
    pub fn flip(self, probability: f32) -> Self {
        self.step(Step::Flip { probability })
    }

    /// Adds [`Step::Affine`].
    pub fn affine(self, affine: Affine) -> Self {
        self.step(Step::Affine(affine))
    }

    /// Sets the colour jitter.
    pub fn jitter(mut self, jitter: ColorJitter) -> Self {
        self.jitter = Some(jitter);
        self
    }

    /// Sets mean and standard deviation of each channel, on the scale where 255 is 1.
    pub fn normalize(mut self, mean: &[f64], std: &[f64]) -> Self {
        self.normalize = Some(Normalize { mean: mean.to_vec(), std: std.to_vec() });
        self
    }

    /// Whether the same image may become different ones.
    pub fn is_random(&self) -> bool {
        let random = |step: &Step| matches!(step, Step::RandomCrop { .. } | Step::Flip { .. } | Step::Affine(_));
        self.jitter.is_some() || self.steps.iter().any(random)
    }

    /// The same without chance, for validation and test: random crops become the middle of the image
    /// without padding, flips, affine maps and jitter are left out.
    ///
    /// # Trap
    /// A crop larger than the image without its padding then has no middle, which
    /// [`plan`](Self::plan) says.
    pub fn without_chance(&self) -> Self {
        let step = |step: &Step| match *step {
            Step::RandomCrop { size, .. } => Some(Step::CenterCrop { size }),
            Step::Flip { .. } | Step::Affine(_) => None,
            other => Some(other),
        };
        Self { steps: self.steps.iter().filter_map(step).collect(), jitter: None, normalize: self.normalize.clone() }
    }

    /// This for training, and the same without chance for validation and test.
    pub fn into_parts(self) -> Parts<Self> {
        let plain = self.without_chance();
        Parts { train: self, val: plain.clone(), test: plain }
    }
}
