//! Shapes: how far inside a point is.
//!
//! Does not know: colours, patterns, images.

use super::view::Point;
use crate::draw::Stream;

/// Half of the square root of 3.
const SIN_60: f32 = 0.866_025_4;

/// Directions of the sides of a triangle.
const THREE: [Point; 3] = [[0.0, 1.0], [SIN_60, -0.5], [-SIN_60, -0.5]];

/// The shape of a class, about the origin.
#[derive(Clone, Debug)]
pub(super) struct Shape {
    kind: usize,
    /// Half of its size; 1 is the side of the image.
    radius: f32,
    /// How much of the pattern shows through, 0 to 1.
    clear: f32,
}

impl Shape {
    pub(super) fn new(stream: &mut Stream) -> Self {
        let kind = stream.below(7);
        Self { kind, radius: stream.between(0.16, 0.30), clear: stream.between(0.0, 0.35) }
    }

    pub(super) fn clear(&self) -> f32 {
        self.clear
    }

    /// The distance of a point from the outline, positive inside; roughly, at corners.
    pub(super) fn inside(&self, [x, y]: Point) -> f32 {
        let (a, b, r) = (x.abs(), y.abs(), self.radius);
        // All shapes lie within this square.
        if a.max(b) > 1.25 * r {
            return r - a.max(b);
        }
        let round = || (x * x + y * y).sqrt();
        let triangle = |turn: f32| 0.6 * r - THREE.iter().map(|[s, t]| s * x + turn * t * y).fold(f32::MIN, f32::max);
        match self.kind {
            0 => r - round(),
            1 => 0.85 * r - a.max(b),
            2 => triangle(1.0),
            3 => 0.3 * r - (round() - 0.8 * r).abs(),
            4 => (r - a.max(3.0 * b)).max(r - b.max(3.0 * a)) * 0.6,
            // A star of two triangles.
            5 => triangle(1.0).max(triangle(-1.0)),
            _ => 0.75 * (r - (a + 0.5 * b).max(b)),
        }
    }
}
