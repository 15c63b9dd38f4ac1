//! A pipeline fitted to images of one shape, and its run on one image.
//!
//! Does not know: datasets, episodes, threads.

use super::geometry::Fitted;
use super::{ColorJitter, Pipeline};
use crate::draw::{Domain, Stream};
use crate::resize::{PlaneResizer, check_size};
use crate::{Error, Layout};

/// What the random steps of one image are drawn from, and nothing else.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ImageKey {
    /// The seed of the episodes.
    pub seed: u64,
    /// The index of the task.
    pub task: u64,
    /// The position of the image in the task.
    pub image: u64,
}

/// Buffers that are used again for one image after the other: one for each thread.
#[derive(Debug, Default)]
pub struct Scratch {
    resizer: PlaneResizer,
    planes: Vec<u8>,
    next: Vec<u8>,
}

/// A pipeline fitted to images of one shape: see [`Pipeline::plan`].
#[derive(Clone, Debug)]
pub struct Plan {
    from: [usize; 3],
    to: [usize; 3],
    /// Each step with the size it makes.
    steps: Vec<(Fitted, [usize; 2])>,
    jitter: Option<ColorJitter>,
    /// For each channel, mean and standard deviation.
    scale: Vec<(f32, f32)>,
    /// The result for each byte, for each channel or one for all.
    tables: Vec<[f32; 256]>,
}

impl Pipeline {
    /// The pipeline for images of this shape, `[channels, height, width]`.
    ///
    /// # Errors
    /// [`Error::Transform`] for a step that its images do not fit or a setting it cannot have, and
    /// [`Error::Setting`] for impossible sizes.
    pub fn plan(&self, shape: [usize; 3]) -> Result<Plan, Error> {
        let [channels, height, width] = shape;
        check_shape(shape)?;
        if !self.steps.is_empty() {
            check_size([height, width])?;
        }
        let (mut size, mut steps) = ([height, width], Vec::with_capacity(self.steps.len()));
        for step in &self.steps {
            let (fitted, to) = step.fit(size)?;
            steps.push((fitted, to));
            size = to;
        }
        if let Some(jitter) = &self.jitter {
            jitter.check(channels)?;
        }
        let scale = self.scale(channels)?;
        let table = |&(mean, std): &(f32, f32)| std::array::from_fn(|byte| (byte as f32 / 255.0 - mean) / std);
        let tables = if self.normalize.is_some() { channels } else { 1 };
        let tables = scale.iter().take(tables).map(table).collect();
        let to = [channels, size[0], size[1]];
        check_shape(to)?;
        Ok(Plan { from: shape, to, steps, jitter: self.jitter, scale, tables })
    }

    fn scale(&self, channels: usize) -> Result<Vec<(f32, f32)>, Error> {
        let Some(normalize) = &self.normalize else {
            return Ok(vec![(0.0, 1.0); channels]);
        };
        let wrong = |found, expected| Error::Transform { step: "normalize", found, expected };
        let (mean, std) = (&normalize.mean, &normalize.std);
        if (mean.len(), std.len()) != (channels, channels) {
            let found = format!("{} means and {} deviations", mean.len(), std.len());
            return Err(wrong(found, format!("{channels} of each, one for a channel")));
        }
        let scale: Vec<(f32, f32)> = mean.iter().zip(std).map(|(&mean, &std)| (mean as f32, std as f32)).collect();
        match scale.iter().find(|(mean, std)| !(mean.is_finite() && *std > 0.0 && std.is_finite())) {
            Some((mean, std)) => {
                Err(wrong(format!("mean {mean} and deviation {std}"), "numbers, the deviation above 0".to_owned()))
            }
            None => Ok(scale),
        }
    }
}

impl Plan {
    /// The shape of the images that come out, `[channels, height, width]`.
    pub fn shape(&self) -> [usize; 3] {
        self.to
    }

    /// The shape of the images that go in, `[channels, height, width]`.
    pub fn input_shape(&self) -> [usize; 3] {
        self.from
    }

    /// Runs the pipeline on one image; `out` becomes planar, `channels * height * width` values.
    ///
    /// # Errors
    /// [`Error::ValueCount`] where image or `out` are not of the plan's shapes.
    ///
    /// # Cost
    /// Without steps and jitter one look-up for each value, half a millisecond for 80 images of
    /// 84 x 84 x 3. Nothing is allocated once the buffers have grown.
    pub fn apply(
        &self,
        image: &[u8],
        layout: Layout,
        key: ImageKey,
        scratch: &mut Scratch,
        out: &mut [f32],
    ) -> Result<(), Error> {
        check_count("an image", image.len(), self.from)?;
        check_count("the place for a transformed image", out.len(), self.to)?;
        let ImageKey { seed, task, image: position } = key;
        let mut draws = Stream::new(Domain::Transform, seed, position, task);
        if self.steps.is_empty() {
            self.look_up(image, layout, out);
        } else {
            let planes = self.run_steps(image, layout, scratch, &mut draws);
            self.look_up(planes, Layout::Planar, out);
        }
        if let Some(jitter) = &self.jitter {
            draws.seek(0);
            jitter.run(out, self.to[0], &mut draws);
            self.normalize(out);
        }
        Ok(())
    }

    /// The planes after all steps, in one of the buffers or, where nothing was to be done, the image.
    fn run_steps<'a>(&self, image: &'a [u8], layout: Layout, scratch: &'a mut Scratch, draws: &mut Stream) -> &'a [u8] {
        let Scratch { resizer, planes, next } = scratch;
        let mut in_image = layout == Layout::Planar;
        if !in_image {
            planes.resize(image.len(), 0);
            split_planes(image, layout, self.from[0], planes, |_| |byte| byte);
        }
        let mut size = [self.from[1], self.from[2]];
        for (&(step, to), section) in self.steps.iter().zip(1..) {
            draws.seek(section);
            let current = if in_image { image } else { &*planes };
            if step.run((current, size), (&mut *next, to), resizer, draws) {
                std::mem::swap(planes, next);
                in_image = false;
            }
            size = to;
        }
        if in_image { image } else { planes }
    }

    /// Bytes to values by table; with jitter only to [0, 1], since normalisation comes after it.
    fn look_up(&self, image: &[u8], layout: Layout, out: &mut [f32]) {
        let channels = self.to[0];
        if self.jitter.is_some() {
            return split_planes(image, layout, channels, out, |_| |byte| f32::from(byte) / 255.0);
        }
        split_planes(image, layout, channels, out, |channel| {
            let table = &self.tables[channel % self.tables.len()];
            move |byte| table[usize::from(byte)]
        });
    }

    fn normalize(&self, out: &mut [f32]) {
        let plane = out.len() / self.to[0];
        for (plane, &(mean, std)) in out.chunks_exact_mut(plane).zip(&self.scale) {
            plane.iter_mut().for_each(|value| *value = (*value - mean) / std);
        }
    }
}

/// Checks that a shape holds something, and no more than can be counted.
fn check_shape(shape: [usize; 3]) -> Result<(), Error> {
    let values = shape.iter().try_fold(1usize, |product, &side| product.checked_mul(side));
    if values.is_some_and(|values| values > 0) {
        return Ok(());
    }
    let expected = "[channels, height, width], each at least 1";
    Err(Error::Setting { setting: "image shape", found: format!("{shape:?}"), expected })
}

fn check_count(what: &str, found: usize, [channels, height, width]: [usize; 3]) -> Result<(), Error> {
    // The product was checked when the plan was made.
    if found == channels * height * width {
        return Ok(());
    }
    Err(Error::ValueCount { what: what.to_owned(), found, expected: format!("{channels} x {height} x {width}") })
}

/// Writes each channel as a plane of its own, each byte as what the channel's function makes of it.
fn split_planes<T, F: Fn(u8) -> T>(
    image: &[u8],
    layout: Layout,
    channels: usize,
    out: &mut [T],
    function: impl Fn(usize) -> F,
) {
    let plane = image.len() / channels;
    for (channel, out) in out.chunks_exact_mut(plane).enumerate() {
        let value = function(channel);
        let (first, step) = match layout {
            Layout::Planar => (channel * plane, 1),
            Layout::Interleaved => (channel, channels),
            Layout::Reversed => (channels - 1 - channel, channels),
        };
        // One body three times: compilers make the first two fast, and these are nearly all there is.
        match step {
            1 => out.iter_mut().zip(&image[first..]).for_each(|(out, &byte)| *out = value(byte)),
            3 => {
                let pixels = image.as_chunks::<3>().0;
                out.iter_mut().zip(pixels).for_each(|(out, pixel)| *out = value(pixel[first]));
            }
            _ => out.iter_mut().zip(image[first..].iter().step_by(step)).for_each(|(out, &byte)| *out = value(byte)),
        }
    }
}

#[cfg(test)]
mod tests;
