//! Patterns: a number from 0 to 1 at each point of the plane.
//!
//! Does not know: colours, images.

use super::view::Point;
use crate::draw::Stream;

const NAMES: [&str; 8] = ["stripes", "checks", "rings", "dots", "blobs", "grain", "waves", "bricks"];

/// The pattern of a class. One period is one unit of its own plane.
#[derive(Clone, Debug)]
pub(super) struct Pattern {
    kind: usize,
    /// Periods per side of the image.
    frequency: f32,
    /// How much shorter a period is in the second direction.
    stretch: f32,
    /// What of a period is above the middle.
    share: f32,
    /// Another number that some patterns use.
    bend: f32,
}

impl Pattern {
    pub(super) fn new(stream: &mut Stream) -> Self {
        let kind = stream.below(NAMES.len());
        let frequency = 1.0 / stream.between(0.09, 0.32);
        let (stretch, share) = (stream.between(1.0, 1.8), stream.between(0.3, 0.7));
        Self { kind, frequency, stretch, share, bend: stream.between(0.3, 1.2) }
    }

    pub(super) fn name(&self) -> &'static str {
        NAMES[self.kind]
    }

    /// The pattern at a point of the scene. `key` is what differs between two scenes that have
    /// patterns made of chance.
    pub(super) fn at(&self, [x, y]: Point, key: u64) -> f32 {
        let (u, v) = (x * self.frequency, y * self.frequency * self.stretch);
        match self.kind {
            0 => self.edge(wave(u)),
            1 => {
                let (a, b) = (self.edge(wave(u)), self.edge(wave(v)));
                a + b - 2.0 * a * b
            }
            2 => self.edge(wave((u * u + v * v).sqrt())),
            3 => {
                let (a, b) = (fraction(u) - 0.5, fraction(v) - 0.5);
                self.edge(1.0 - 1.6 * (a * a + b * b).sqrt())
            }
            4 => self.edge(noise(u, v, key)),
            5 => 0.6 * noise(1.5 * u, 1.5 * v, key) + 0.4 * noise(4.0 * u, 4.0 * v, key ^ 1),
            6 => self.edge(wave(u + self.bend * wave(0.5 * v))),
            _ => {
                let row = floor(v);
                let (a, b) = (fraction(0.5 * u + fraction(0.5 * row)), fraction(v));
                let gap = 0.08 + 0.1 * self.share;
                self.edge(if a < 0.6 * gap || b < gap { 0.0 } else { 1.0 })
            }
        }
    }

    /// Steeper around the middle, as most things have edges.
    fn edge(&self, value: f32) -> f32 {
        smooth((3.0 * (value - self.share) + 0.5).clamp(0.0, 1.0))
    }
}

/// From 1 at whole numbers to 0 halfway and back.
fn wave(x: f32) -> f32 {
    smooth((2.0 * fraction(x) - 1.0).abs())
}

/// The whole number below. Numbers here are small, and `f32::floor` is a call on many processors.
fn floor(x: f32) -> f32 {
    let whole = x as i32 as f32;
    if whole > x { whole - 1.0 } else { whole }
}

fn fraction(x: f32) -> f32 {
    x - floor(x)
}

/// A step from 0 to 1 that begins and ends level.
pub(super) fn smooth(t: f32) -> f32 {
    t * t * (3.0 - 2.0 * t)
}

/// Numbers of chance at the whole points, and smooth between them.
fn noise(u: f32, v: f32, key: u64) -> f32 {
    let (column, row) = (floor(u), floor(v));
    let (s, t) = (smooth(u - column), smooth(v - row));
    let at = |i: i64, j: i64| {
        let place = ((column as i64 + i) as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ ((row as i64 + j) as u64);
        unit(mix(place.wrapping_add(key)))
    };
    let line = |j: i64| at(0, j) + s * (at(1, j) - at(0, j));
    let (above, below) = (line(0), line(1));
    above + t * (below - above)
}

/// The finisher of SplitMix64: bits that look unrelated for neighbouring numbers.
pub(super) fn mix(word: u64) -> u64 {
    let word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    word ^ (word >> 31)
}

/// The upper bits as a number in [0, 1).
pub(super) fn unit(word: u64) -> f32 {
    (word >> 40) as f32 / (1u32 << 24) as f32
}
