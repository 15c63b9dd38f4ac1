//! Drawn characters, made up on the spot: a stand-in for Omniglot that needs no files.
//!
//! A character is a few pen strokes. Each image is by another hand: the strokes bend a little, the
//! whole is turned, stretched, slanted and shifted, and the pen is thinner or thicker. Comparing
//! pixels solves the task in part; learning to see strokes solves it better, as with Omniglot.
//!
//! Does not know: episodes, splits.

mod stroke;

use crate::draw::{Domain, Stream};
use crate::{Error, ImageClasses};
use stroke::{Canvas, Point, Stroke};

/// Classes of an alphabet; the last one may have fewer.
const CLASSES_PER_GROUP: usize = 20;

/// Made-up characters named like `glyphs-03/character07`, in alphabets of 20.
///
/// Each image is a pure function of the seed and its class and image number: more classes or more
/// images leave those that were there as they are. Only exactly rounded arithmetic is used, so the
/// bytes are the same on every system.
///
/// # Example
/// ```
/// # use fewshot_data::Glyphs;
/// let data = Glyphs::new(200, 20).with_seed(7).generate()?;
/// assert_eq!((data.len(), data.shape()), (200, [1, 28, 28]));
/// assert_eq!(data.classes()[46].name(), "glyphs-03/character07");
/// # Ok::<(), fewshot_data::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Glyphs {
    classes: usize,
    images: usize,
    size: usize,
    seed: u64,
}

impl Glyphs {
    /// So many classes of so many images each, 28 x 28 pixels, seed 0.
    pub fn new(classes: usize, images_per_class: usize) -> Self {
        Self { classes, images: images_per_class, size: 28, seed: 0 }
    }

    /// Sets the side of the images in pixels, 8 to 1024.
    pub fn with_size(mut self, size: usize) -> Self {
        self.size = size;
        self
    }

    /// Sets the seed: another seed draws other characters.
    pub fn with_seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Draws the characters.
    ///
    /// # Shapes
    /// Images are `[1, size, size]` with ink 255 on 0.
    ///
    /// # Errors
    /// [`Error::Setting`] for no classes, no images or a size out of range.
    ///
    /// # Cost
    /// About 10 microseconds for an image of 28 x 28.
    pub fn generate(&self) -> Result<ImageClasses, Error> {
        self.check()?;
        let mut data = ImageClasses::new([1, self.size, self.size])?;
        for class in 0..self.classes {
            let group = format!("glyphs-{:02}", class / CLASSES_PER_GROUP + 1);
            let name = format!("{group}/character{:02}", class % CLASSES_PER_GROUP + 1);
            let model = character(self.seed, class as u64);
            let image = |image| self.draw(&model, class as u64, image as u64);
            let pixels: Vec<u8> = (0..self.images).flat_map(image).collect();
            data.push(name, group, pixels)?;
        }
        Ok(data)
    }

    fn check(&self) -> Result<(), Error> {
        let error =
            |setting, found: usize, expected| Err(Error::Setting { setting, found: found.to_string(), expected });
        match self {
            Self { classes: 0, .. } => error("glyph classes", 0, "at least 1"),
            Self { images: 0, .. } => error("glyph images per class", 0, "at least 1"),
            &Self { size, .. } if !(8..=1024).contains(&size) => error("glyph image size", size, "8 to 1024 pixels"),
            _ => Ok(()),
        }
    }

    /// One image of a character.
    fn draw(&self, model: &[Stroke], class: u64, image: u64) -> Vec<u8> {
        let mut hand = Stream::new(Domain::GlyphImage, self.seed, class, image);
        let pose = Pose::new(&mut hand);
        let width = hand.between(0.036, 0.054);
        let mut canvas = Canvas::new(self.size);
        for stroke in model {
            let bent = stroke.map(|point| pose.apply(jitter(&mut hand, point)));
            canvas.draw(&bent, width);
        }
        canvas.into_bytes()
    }
}

/// The strokes of a character, in a unit square with some margin.
fn character(seed: u64, class: u64) -> Vec<Stroke> {
    let mut stream = Stream::new(Domain::GlyphClass, seed, class, 0);
    let count = 2 + stream.below(3);
    let mut strokes: Vec<Stroke> = Vec::with_capacity(count);
    for _ in 0..count {
        let start = match stream.below(2) {
            0 => fresh(&mut stream),
            _ => touching(&mut stream, &strokes),
        };
        let end = far_from(&mut stream, start);
        let (bend, turn) = (fresh(&mut stream), fresh(&mut stream));
        strokes.push([start, bend, turn, end]);
    }
    strokes
}

fn fresh(stream: &mut Stream) -> Point {
    [stream.between(0.14, 0.86), stream.between(0.14, 0.86)]
}

/// A point on an earlier stroke, as most strokes of real letters meet another.
fn touching(stream: &mut Stream, strokes: &[Stroke]) -> Point {
    match strokes.get(stream.below(strokes.len())) {
        Some(stroke) => stroke::point_at(stroke, stream.below(3) as f32 / 2.0),
        None => fresh(stream),
    }
}

/// A point that makes a stroke more than a dot; after a few tries any point will do.
fn far_from(stream: &mut Stream, start: Point) -> Point {
    let mut end = fresh(stream);
    for _ in 0..8 {
        if stroke::distance(start, end) > 0.35 {
            break;
        }
        end = fresh(stream);
    }
    end
}

/// How a hand bends a stroke.
fn jitter(hand: &mut Stream, [x, y]: Point) -> Point {
    const BEND: f32 = 0.035;
    [x + BEND * hand.bell(), y + BEND * hand.bell()]
}

/// How a hand places the whole character.
struct Pose {
    matrix: [[f32; 2]; 2],
    shift: Point,
}

impl Pose {
    fn new(hand: &mut Stream) -> Self {
        // The sine and cosine of a small angle, through the tangent of its half: divisions are
        // rounded alike on every system, sines are not.
        let half = 0.05 * hand.bell();
        let norm = 1.0 + half * half;
        let (cos, sin) = ((1.0 - half * half) / norm, 2.0 * half / norm);
        let (wide, high) = (1.0 + 0.10 * hand.bell(), 1.0 + 0.10 * hand.bell());
        let slant = 0.10 * hand.bell();
        Self {
            matrix: [[cos * wide, (cos * slant - sin) * high], [sin * wide, (sin * slant + cos) * high]],
            shift: [0.035 * hand.bell(), 0.035 * hand.bell()],
        }
    }

    fn apply(&self, [x, y]: Point) -> Point {
        let (x, y) = (x - 0.5, y - 0.5);
        let place = |[a, b]: [f32; 2], shift: f32| a * x + b * y + 0.5 + shift;
        [place(self.matrix[0], self.shift[0]), place(self.matrix[1], self.shift[1])]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{EpisodeSpec, Episodes};

    #[test]
    fn an_image_depends_on_seed_class_and_number_alone() {
        let few = Glyphs::new(3, 2).with_seed(4).generate().unwrap();
        let many = Glyphs::new(25, 5).with_seed(4).generate().unwrap();
        for (a, b) in few.classes().iter().zip(many.classes()) {
            assert_eq!((a.name(), a.image(0), a.image(1)), (b.name(), b.image(0), b.image(1)));
        }
        let other = Glyphs::new(3, 2).with_seed(5).generate().unwrap();
        assert_ne!(few.classes()[0].image(0), other.classes()[0].image(0));
    }

    #[test]
    fn the_bytes_are_pinned() {
        // Catches a change of the drawing, and arithmetic that differs between systems.
        let digest = Glyphs::new(30, 4).with_seed(1).generate().unwrap().fingerprint().digest();
        assert_eq!(digest, PINNED);
    }

    const PINNED: &str = "39036b2679ebe3f42415ff4985fedae5c9dc922538b2bb74a899a40e946f7342";

    #[test]
    fn names_and_groups_count_from_one() {
        let data = Glyphs::new(41, 1).generate().unwrap();
        let name = |i: usize| data.classes()[i].name();
        assert_eq!((name(0), name(19)), ("glyphs-01/character01", "glyphs-01/character20"));
        assert_eq!(name(40), "glyphs-03/character01");
        assert_eq!(data.groups()["glyphs-03"], 1);
    }

    #[test]
    fn every_image_has_ink_and_paper() {
        let data = Glyphs::new(100, 10).generate().unwrap();
        for class in data.classes() {
            for image in class.pixels().bytes().chunks(28 * 28) {
                let ink = image.iter().map(|&b| f64::from(b)).sum::<f64>() / (255.0 * 784.0);
                assert!((0.01..0.35).contains(&ink), "{}: {ink}", class.name());
            }
        }
    }

    #[test]
    fn settings_out_of_range_are_errors() {
        for glyphs in
            [Glyphs::new(0, 1), Glyphs::new(1, 0), Glyphs::new(1, 1).with_size(7), Glyphs::new(1, 1).with_size(1025)]
        {
            assert!(matches!(glyphs.generate(), Err(Error::Setting { .. })), "{glyphs:?}");
        }
    }

    /// Share of queries whose nearest support image by `distance` has their label.
    fn nearest(data: &ImageClasses, distance: impl Fn(&[u8], &[u8]) -> f64) -> f64 {
        let episodes = Episodes::new(data, EpisodeSpec::new(5, 1, 5), 0).unwrap();
        let (mut right, mut all) = (0, 0);
        for episode in episodes.iter().take(200) {
            let image = |i: &crate::Item| data.classes()[i.class].image(i.image).unwrap();
            for query in episode.query() {
                let far = |s: &&crate::Item| distance(&image(s), &image(query));
                let closest = episode.support().iter().min_by(|a, b| far(a).total_cmp(&far(b)));
                right += usize::from(closest.is_some_and(|s| s.label == query.label));
                all += 1;
            }
        }
        right as f64 / all as f64
    }

    #[test]
    fn pixels_solve_the_task_in_part_and_the_amount_of_ink_hardly() {
        // A task that is trivial, or impossible, would make every method look the same. Chance
        // is 0.2; the bounds are wide enough for any seed.
        let data = Glyphs::new(100, 20).generate().unwrap();
        let by_pixels =
            nearest(&data, |a, b| a.iter().zip(b).map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2)).sum());
        let ink = |image: &[u8]| image.iter().map(|&b| f64::from(b)).sum::<f64>();
        let by_ink = nearest(&data, |a, b| (ink(a) - ink(b)).abs());
        println!("nearest neighbour: {by_pixels:.3} by pixels, {by_ink:.3} by ink");
        assert!((0.45..0.80).contains(&by_pixels), "{by_pixels}");
        assert!(by_ink < 0.5 && by_ink < by_pixels - 0.1, "{by_ink}");
    }
}
