//! Textured images, made up on the spot: a stand-in for miniImageNet that needs no files.
//!
//! A class is a palette, a pattern of some scale and a shape that stands before it. Each image is
//! another view: turned, scaled and shifted, in other light, with noise. Comparing pixels says little
//! about the class, and what does not change between views says much.
//!
//! Does not know: episodes, splits.

mod pattern;
mod shape;
mod view;

use rayon::prelude::*;

use crate::draw::{Domain, Stream};
use crate::{Error, ImageClasses};
use pattern::Pattern;
use shape::Shape;
use view::View;

/// Red, green and blue, 0 to 1.
type Colour = [f32; 3];

/// Made-up coloured classes named like `stripes/texture0007`, grouped by their pattern.
///
/// Each image is a pure function of the seed, the size and its class and image number: more classes
/// or more images leave those that were there as they are. Only exactly rounded arithmetic is used,
/// so the bytes are the same on every system.
///
/// # Example
/// ```
/// # use fewshot_data::Textures;
/// let data = Textures::new(8, 5).with_seed(7).generate()?;
/// assert_eq!((data.len(), data.shape()), (8, [3, 84, 84]));
/// assert!(data.classes()[6].name().ends_with("/texture0007"));
/// # Ok::<(), fewshot_data::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Textures {
    classes: usize,
    images: usize,
    size: usize,
    seed: u64,
}

/// What the images of a class have in common.
struct Model {
    pattern: Pattern,
    shape: Shape,
    /// Of the ground, of the pattern on it, and of the shape.
    palette: [Colour; 3],
}

impl Textures {
    /// So many classes of so many images each, 84 x 84 pixels, seed 0.
    pub fn new(classes: usize, images_per_class: usize) -> Self {
        Self { classes, images: images_per_class, size: 84, seed: 0 }
    }

    /// Sets the side of the images in pixels, 8 to 1024.
    pub fn with_size(mut self, size: usize) -> Self {
        self.size = size;
        self
    }

    /// Sets the seed: another seed makes other classes.
    pub fn with_seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Draws the images.
    ///
    /// # Shapes
    /// Images are `[3, size, size]`: red, green, blue.
    ///
    /// # Errors
    /// [`Error::Setting`] for no classes, no images, or a size out of range.
    ///
    /// # Cost
    /// About 200 microseconds for an image of 84 x 84 on one core; the images of a class are drawn by
    /// all threads.
    pub fn generate(&self) -> Result<ImageClasses, Error> {
        let image_bytes = self.check()?;
        let mut data = ImageClasses::new([3, self.size, self.size])?;
        for class in 0..self.classes {
            let model = Model::new(self.seed, class as u64);
            let mut pixels = vec![0; self.images * image_bytes];
            pixels.par_chunks_mut(image_bytes).enumerate().for_each(|(image, pixels)| {
                let mut stream = Stream::new(Domain::TextureImage, self.seed, class as u64, image as u64);
                View::new(&mut stream).draw(&model, self.size, pixels);
            });
            let group = model.pattern.name();
            data.push(format!("{group}/texture{:04}", class + 1), group, pixels)?;
        }
        Ok(data)
    }

    /// The bytes of an image.
    fn check(&self) -> Result<usize, Error> {
        let error = |setting, found: usize, expected| Error::Setting { setting, found: found.to_string(), expected };
        let &Self { classes, images, size, .. } = self;
        if classes == 0 {
            return Err(error("texture classes", 0, "at least 1"));
        }
        if !(8..=1024).contains(&size) {
            return Err(error("texture image size", size, "8 to 1024 pixels"));
        }
        let bytes = 3 * size * size;
        match images.checked_mul(bytes).filter(|&all| all > 0 && isize::try_from(all).is_ok()) {
            Some(_) => Ok(bytes),
            None => Err(error("texture images per class", images, "at least 1, and a class that fits in memory")),
        }
    }
}

impl Model {
    fn new(seed: u64, class: u64) -> Self {
        let mut stream = Stream::new(Domain::TextureClass, seed, class, 0);
        let pattern = Pattern::new(&mut stream);
        let shape = Shape::new(&mut stream);
        let ground = colour(&mut stream);
        let on_it = unlike(&mut stream, &[ground]);
        let before_it = unlike(&mut stream, &[ground, on_it]);
        Self { pattern, shape, palette: [ground, on_it, before_it] }
    }
}

fn colour(stream: &mut Stream) -> Colour {
    [(); 3].map(|()| stream.between(0.1, 0.9))
}

/// A colour that can be told from these; after a few tries any will do.
fn unlike(stream: &mut Stream, others: &[Colour]) -> Colour {
    let near = |a: &Colour, b: &Colour| a.iter().zip(b).map(|(a, b)| (a - b).abs()).sum::<f32>() < 0.7;
    let mut new = colour(stream);
    for _ in 0..8 {
        if !others.iter().any(|other| near(&new, other)) {
            break;
        }
        new = colour(stream);
    }
    new
}

#[cfg(test)]
mod tests;
