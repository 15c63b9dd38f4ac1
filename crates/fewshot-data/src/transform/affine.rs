//! Images turned, scaled, slanted and moved about their middle.
//!
//! Does not know: pipelines, colours.

use serde::{Deserialize, Serialize};

use super::Fill;
use super::geometry::within;
use crate::Error;
use crate::draw::Stream;

/// Entries of maps are multiples of one part in this: sines differ between systems in bits below it.
const PARTS: f64 = (1 << 20) as f64;

/// An image turned, scaled, slanted and moved by amounts drawn between bounds, with bilinear weights. Its size stays.
///
/// # Example
/// ```
/// use fewshot_data::{Affine, Fill, Pipeline};
/// // Characters written by more hands: up to 10 degrees, 0.9 to 1.1 times as large, up to 5 degrees slanted.
/// let training = Pipeline::new().affine(Affine::new(10.0).with_scale(0.9, 1.1).with_shear(5.0).with_translate(0.05));
/// # assert!(training.is_random());
/// ```
///
/// # Source
/// torchvision's `RandomAffine` with bilinear interpolation: `T R(degrees) Shear S` about the middle of the image. Here moves
/// are of any fraction of a pixel, and what lies beyond the edge may be a mirror image.
///
/// # Cost
/// Four reads and about twenty operations for each pixel of each channel.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Affine {
    /// Turned by up to this many degrees either way: 0 to 180.
    pub degrees: f32,
    /// Bounds of the factor that things are larger by, above 0.
    pub scale: [f32; 2],
    /// Slanted along rows by up to this many degrees either way: 0 to 80.
    pub shear: f32,
    /// Moved by up to this fraction of the height and of the width either way: 0 to 1.
    pub translate: f32,
    /// What is beyond the edge.
    pub fill: Fill,
}

impl Default for Affine {
    fn default() -> Self {
        Self { degrees: 0.0, scale: [1.0, 1.0], shear: 0.0, translate: 0.0, fill: Fill::Zero }
    }
}

impl Affine {
    /// Turned by up to this many degrees either way, and nothing else.
    pub fn new(degrees: f32) -> Self {
        Self { degrees, ..Self::default() }
    }

    /// Sets the bounds of the factor that things are larger by.
    pub fn with_scale(mut self, least: f32, most: f32) -> Self {
        self.scale = [least, most];
        self
    }

    /// Sets by how many degrees things are slanted at most.
    pub fn with_shear(mut self, degrees: f32) -> Self {
        self.shear = degrees;
        self
    }

    /// Sets by which fraction of height and width things are moved at most.
    pub fn with_translate(mut self, fraction: f32) -> Self {
        self.translate = fraction;
        self
    }

    /// Sets what is beyond the edge.
    pub fn with_fill(mut self, fill: Fill) -> Self {
        self.fill = fill;
        self
    }

    pub(super) fn check(&self) -> Result<(), Error> {
        let Self { degrees, scale: [least, most], shear, translate, .. } = *self;
        // Written so that NaN fails.
        let wrong = [
            (!(0.0..=180.0).contains(&degrees), format!("degrees {degrees}"), "0 to 180"),
            (!(1e-3 <= least && least <= most && most <= 1e3), format!("scale {least} to {most}"), "0.001 to 1000"),
            (!(0.0..=80.0).contains(&shear), format!("shear {shear}"), "0 to 80 degrees"),
            (!(0.0..=1.0).contains(&translate), format!("translate {translate}"), "a fraction, 0 to 1"),
        ];
        match wrong.into_iter().find(|(wrong, ..)| *wrong) {
            Some((_, found, expected)) => {
                Err(Error::Transform { step: "affine", found, expected: expected.to_owned() })
            }
            None => Ok(()),
        }
    }

    /// Runs it on planes of this size.
    pub(super) fn run(&self, image: &[u8], size: [usize; 2], out: &mut Vec<u8>, draws: &mut Stream) {
        let mut either_way = |most: f32| f64::from(draws.between(-most, most));
        let (turn, shear) = (either_way(self.degrees).to_radians(), either_way(self.shear).to_radians());
        let shift = size.map(|side| either_way(self.translate) * side as f64);
        let scale = f64::from(draws.between(self.scale[0], self.scale[1]));
        let map = Map::back(turn, shear, scale, shift, size);
        let pixels = size[0] * size[1];
        out.resize(image.len(), 0);
        for (plane, out) in image.chunks_exact(pixels).zip(out.chunks_exact_mut(pixels)) {
            map.run(plane, out, size, self.fill);
        }
    }
}

/// Where each pixel of the result comes from: `source = matrix * (row, column) + offset`.
struct Map {
    matrix: [[f64; 2]; 2],
    offset: [f64; 2],
}

impl Map {
    /// Back through a move by `shift` after a turn after a slant after a scaling, about the middle.
    fn back(turn: f64, shear: f64, scale: f64, shift: [f64; 2], size: [usize; 2]) -> Self {
        let rounded = |value: f64| (value * PARTS).round() / PARTS;
        let ((sin, cos), tan) = (turn.sin_cos(), shear.tan());
        // With (row, column): back from the turn, then from the slant, which moves columns by rows.
        let turned = [[cos, -sin], [sin, cos]];
        let slanted = [turned[0], [turned[1][0] - tan * turned[0][0], turned[1][1] - tan * turned[0][1]]];
        let matrix = slanted.map(|row| row.map(|entry| rounded(entry / scale)));
        let middle = size.map(|side| (side as f64 - 1.0) / 2.0);
        let from = [0, 1].map(|i| middle[i] + shift[i]);
        let offset = [0, 1].map(|i| rounded(middle[i] - matrix[i][0] * from[0] - matrix[i][1] * from[1]));
        Self { matrix, offset }
    }

    fn run(&self, plane: &[u8], out: &mut [u8], [height, width]: [usize; 2], fill: Fill) {
        let Self { matrix: [to_row, to_column], offset } = self;
        let pixel = |row: isize, column: isize| {
            let place = within(row, height, fill).zip(within(column, width, fill));
            place.map_or(0.0, |(row, column)| f64::from(plane[row * width + column]))
        };
        for (at, out) in out.iter_mut().enumerate() {
            let [row, column] = [at / width, at % width].map(|position| position as f64);
            let y = to_row[0] * row + to_row[1] * column + offset[0];
            let x = to_column[0] * row + to_column[1] * column + offset[1];
            let (top, left) = (y.floor(), x.floor());
            let (down, right) = (y - top, x - left);
            let (top, left) = (top as isize, left as isize);
            let line = |row| pixel(row, left) * (1.0 - right) + pixel(row, left + 1) * right;
            *out = (line(top) * (1.0 - down) + line(top + 1) * down).round() as u8;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draw::Domain;
    use proptest::prelude::*;

    fn mapped(map: &Map, plane: &[u8], size: [usize; 2], fill: Fill) -> Vec<u8> {
        let mut out = vec![7; plane.len()];
        map.run(plane, &mut out, size, fill);
        out
    }

    fn run(affine: Affine, image: &[u8], size: [usize; 2], index: u64) -> Vec<u8> {
        let mut out = vec![];
        affine.check().unwrap();
        affine.run(image, size, &mut out, &mut Stream::new(Domain::Transform, 0, 0, index));
        out
    }

    #[test]
    fn a_quarter_turn_is_one() {
        // Anticlockwise on the screen is the way of positive angles in torchvision's `rotate`; either way is drawn here.
        let plane = [1, 2, 3, 4, 5, 6, 7, 8, 9];
        let turned = mapped(&Map::back(90f64.to_radians(), 0.0, 1.0, [0.0; 2], [3, 3]), &plane, [3, 3], Fill::Zero);
        assert!([[3, 6, 9, 2, 5, 8, 1, 4, 7], [7, 4, 1, 8, 5, 2, 9, 6, 3]].contains(&turned[..].try_into().unwrap()));
        let around = mapped(&Map::back(180f64.to_radians(), 0.0, 1.0, [0.0; 2], [3, 3]), &plane, [3, 3], Fill::Zero);
        assert_eq!(around, [9, 8, 7, 6, 5, 4, 3, 2, 1]);
    }

    #[test]
    fn moves_by_pixels_move_pixels() {
        let plane = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12];
        let moved = |shift, fill| mapped(&Map::back(0.0, 0.0, 1.0, shift, [3, 4]), &plane, [3, 4], fill);
        assert_eq!(moved([1.0, 0.0], Fill::Zero), [0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(moved([0.0, -2.0], Fill::Zero), [3, 4, 0, 0, 7, 8, 0, 0, 11, 12, 0, 0]);
        assert_eq!(moved([0.0, 2.0], Fill::Reflect), [3, 2, 1, 2, 7, 6, 5, 6, 11, 10, 9, 10]);
        // Half a pixel is the mean of two, halves away from zero.
        assert_eq!(moved([0.0, 0.5], Fill::Reflect)[..4], [2, 2, 3, 4]);
    }

    #[test]
    fn a_slant_moves_rows_apart_and_a_scale_spreads_from_the_middle() {
        let plane = [0, 0, 9, 0, 0, 0, 0, 9, 0, 0, 0, 0, 9, 0, 0];
        let slanted = Map::back(0.0, 45f64.to_radians(), 1.0, [0.0; 2], [3, 5]);
        let slanted = mapped(&slanted, &plane, [3, 5], Fill::Zero);
        assert_eq!(slanted, [0, 9, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 9, 0]);
        let doubled = mapped(&Map::back(0.0, 0.0, 2.0, [0.0; 2], [1, 5]), &[0, 10, 30, 50, 0], [1, 5], Fill::Zero);
        assert_eq!(doubled, [10, 20, 30, 40, 50]);
    }

    #[test]
    fn drawn_amounts_keep_their_bounds_and_reach_them() {
        // A point, moved along the row: 21 places of a row of 41, by a quarter of it either way.
        let mut row = vec![0; 41];
        row[20] = 255;
        let affine = Affine::default().with_translate(0.25);
        let mut seen = [0; 41];
        for index in 0..4_000 {
            let out = run(affine, &row, [1, 41], index);
            let brightest = (0..41).max_by_key(|&place| out[place]).unwrap();
            // The row itself moves too, by a quarter of one pixel at most.
            assert!(out[brightest] >= 95, "{out:?}");
            seen[brightest] += 1;
        }
        assert!(seen[..10].iter().chain(&seen[31..]).all(|&count| count == 0), "{seen:?}");
        // 195 of each, within 5 sigma; the outermost are reached by half a step less or so.
        assert!(seen[11..30].iter().all(|&count: &i32| (count - 195).abs() < 70), "{seen:?}");
    }

    proptest! {
        #[test]
        fn planes_that_rise_evenly_stay_so(
            degrees in -180.0..180.0f64, shear in -40.0..40.0f64, scale in 0.7..2.0f64, dy in -3.0..3.0f64, dx in -3.0..3.0f64,
        ) {
            // Bilinear weights are exact on them, so each pixel that comes from inside is that of the map by hand.
            let size = [15, 17];
            let value = |y: f64, x: f64| 20.0 + 7.0 * y + 5.0 * x;
            let plane: Vec<u8> = (0..255).map(|i| value((i / 17) as f64, (i % 17) as f64) as u8).collect();
            let (turn, slant) = (degrees.to_radians(), shear.to_radians());
            let out = mapped(&Map::back(turn, slant, scale, [dy, dx], size), &plane, size, Fill::Zero);
            let mut inside = 0;
            for (at, found) in out.into_iter().enumerate() {
                let (y, x) = ((at / 17) as f64 - 7.0 - dy, (at % 17) as f64 - 8.0 - dx);
                let (y, x) = (y * turn.cos() - x * turn.sin(), y * turn.sin() + x * turn.cos());
                let (y, x) = (y / scale + 7.0, (x - y * slant.tan()) / scale + 8.0);
                if (0.01..13.99).contains(&y) && (0.01..15.99).contains(&x) {
                    inside += 1;
                    prop_assert!((f64::from(found) - value(y, x)).abs() <= 0.51, "{at}: {found} {}", value(y, x));
                }
            }
            prop_assert!(inside > 10);
        }
    }

    #[test]
    fn nothing_drawn_is_nothing_done() {
        let image: Vec<u8> = (0..60).collect();
        assert_eq!(run(Affine::default(), &image, [4, 5], 3), image);
    }

    #[test]
    fn settings_out_of_range_are_named() {
        let says = |affine: Affine| affine.check().unwrap_err().to_string();
        assert_eq!(says(Affine::new(181.0)), "transform affine: degrees 181; expected 0 to 180");
        assert!(says(Affine::new(f32::NAN)).contains("degrees NaN"));
        assert!(says(Affine::default().with_scale(1.2, 0.8)).contains("scale 1.2 to 0.8"));
        assert!(says(Affine::default().with_scale(0.0, 0.8)).contains("scale 0 to 0.8"));
        assert!(says(Affine::default().with_shear(90.0)).contains("shear 90"));
        assert!(says(Affine::default().with_translate(-0.1)).contains("translate -0.1"));
    }
}
