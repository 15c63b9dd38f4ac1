//! One view of a class: from where it is seen, in which light, through how much noise.
//!
//! Does not know: what classes there are.

use super::pattern::{mix, smooth, unit};
use super::{Colour, Model};
use crate::draw::Stream;

/// A point, x to the right and y down; 1 is the side of the image.
pub(super) type Point = [f32; 2];

/// How an image differs from others of its class.
pub(super) struct View {
    /// From the image to the scene: turned and scaled.
    matrix: [[f32; 2]; 2],
    /// Where the middle of the image lies in the pattern.
    shift: Point,
    /// Where the shape is in the image, and how it is turned and scaled.
    place: Point,
    turned: [[f32; 2]; 2],
    brightness: f32,
    contrast: f32,
    cast: Colour,
    /// Light that falls from one side.
    slope: Point,
    noise: f32,
    key: u64,
}

impl View {
    pub(super) fn new(stream: &mut Stream) -> Self {
        let pattern = angle(stream);
        let scale = 1.0 / stream.between(0.75, 1.35);
        let flip = if stream.below(2) == 0 { scale } else { -scale };
        let [pattern, shape] =
            [pattern, angle(stream)].map(|[cos, sin]| [[cos * scale, -sin * scale], [sin * flip, cos * flip]]);
        Self {
            matrix: pattern,
            shift: [stream.between(-0.4, 0.4), stream.between(-0.4, 0.4)],
            place: [stream.between(-0.22, 0.22), stream.between(-0.22, 0.22)],
            turned: shape,
            brightness: 0.10 * stream.bell(),
            contrast: stream.between(0.6, 1.1),
            cast: [(); 3].map(|()| stream.between(0.7, 1.3)),
            slope: [0.15 * stream.bell(), 0.15 * stream.bell()],
            noise: stream.between(0.04, 0.16),
            key: stream.word(),
        }
    }

    /// Draws an image of this size, all red first, then all green, then all blue.
    pub(super) fn draw(&self, model: &Model, size: usize, pixels: &mut [u8]) {
        let area = size * size;
        let step = 1.0 / size as f32;
        for row in 0..size {
            for column in 0..size {
                let at = [(column as f32 + 0.5) * step - 0.5, (row as f32 + 0.5) * step - 0.5];
                let colour = self.lit(self.scene(model, at, step), at);
                let index = row * size + column;
                let chance = mix(self.key.wrapping_add(index as u64));
                for (channel, value) in colour.into_iter().enumerate() {
                    let grain = unit(chance << (20 * channel)) - 0.5;
                    // Every slice here has three times the area. The cast stops at 0 and 255.
                    if let Some(pixel) = pixels.get_mut(channel * area + index) {
                        *pixel = (255.0 * (value + self.noise * grain) + 0.5) as u8;
                    }
                }
            }
        }
    }

    /// The colour of the scene at a point of the image.
    fn scene(&self, model: &Model, at: Point, step: f32) -> Colour {
        let [ground, on_it, before_it] = &model.palette;
        let [x, y] = product(self.matrix, at);
        let value = model.pattern.at([x + self.shift[0], y + self.shift[1]], self.key);
        let back = blend(ground, on_it, value);
        let depth = model.shape.inside(product(self.turned, [at[0] - self.place[0], at[1] - self.place[1]]));
        if depth <= -step {
            return back;
        }
        // An edge is two pixels wide.
        let cover = smooth((0.5 + 0.5 * depth / step).min(1.0)) * (1.0 - model.shape.clear());
        blend(&back, before_it, cover)
    }

    /// That colour in the light of the view.
    fn lit(&self, colour: Colour, [x, y]: Point) -> Colour {
        let light = self.brightness + self.slope[0] * x + self.slope[1] * y + 0.5;
        let lit = |channel: usize| self.cast[channel] * ((colour[channel] - 0.5) * self.contrast + light);
        [lit(0), lit(1), lit(2)]
    }
}

/// Cosine and sine of some angle of the whole circle, through the tangent of half of it: divisions
/// are rounded alike on every system, sines are not.
fn angle(stream: &mut Stream) -> [f32; 2] {
    let half = stream.between(-1.0, 1.0);
    let norm = 1.0 + half * half;
    let (cos, sin) = ((1.0 - half * half) / norm, 2.0 * half / norm);
    if stream.below(2) == 0 { [cos, sin] } else { [-cos, -sin] }
}

fn product([first, second]: [[f32; 2]; 2], [x, y]: Point) -> Point {
    [first[0] * x + first[1] * y, second[0] * x + second[1] * y]
}

fn blend(from: &Colour, to: &Colour, share: f32) -> Colour {
    let mixed = |channel: usize| from[channel] + share * (to[channel] - from[channel]);
    [mixed(0), mixed(1), mixed(2)]
}
