//! Strokes, and drawing them with soft edges.
//!
//! Does not know: characters, hands, randomness.

/// A point in the unit square, x to the right and y down.
pub(super) type Point = [f32; 2];

/// A cubic Bezier curve by its four control points.
pub(super) type Stroke = [Point; 4];

/// Straight pieces a stroke is drawn in; at 28 pixels each is less than three pixels long.
const PIECES: usize = 16;

/// The point of a stroke at `t` in [0, 1].
pub(super) fn point_at(stroke: &Stroke, t: f32) -> Point {
    let u = 1.0 - t;
    let weights = [u * u * u, 3.0 * u * u * t, 3.0 * u * t * t, t * t * t];
    let along = |axis: usize| {
        let parts = stroke.iter().zip(weights);
        parts.map(|(point, weight)| point[axis] * weight).sum()
    };
    [along(0), along(1)]
}

/// The distance of two points.
pub(super) fn distance(a: Point, b: Point) -> f32 {
    squared([a[0] - b[0], a[1] - b[1]]).sqrt()
}

fn squared([x, y]: Point) -> f32 {
    x * x + y * y
}

/// A square image that strokes are drawn into.
pub(super) struct Canvas {
    size: usize,
    ink: Vec<f32>,
}

impl Canvas {
    pub(super) fn new(size: usize) -> Self {
        let ink = vec![0.0; size * size];
        Self { size, ink }
    }

    /// Draws a stroke with a round pen of this width (1 is the side of the image). A pixel's ink is
    /// how far the pen's edge reaches past its centre, in pixels from -1/2 to +1/2.
    pub(super) fn draw(&mut self, stroke: &Stroke, width: f32) {
        let scale = self.size as f32;
        let corner = |i: usize| {
            let [x, y] = point_at(stroke, i as f32 / PIECES as f32);
            // Pixel centres lie at whole numbers.
            [x * scale - 0.5, y * scale - 0.5]
        };
        let radius = 0.5 * width * scale;
        for i in 0..PIECES {
            self.draw_piece(corner(i), corner(i + 1), radius);
        }
    }

    fn draw_piece(&mut self, a: Point, b: Point, radius: f32) {
        let reach = radius + 0.5;
        let bounds = |axis: usize| {
            let low = (a[axis].min(b[axis]) - reach).ceil().max(0.0) as usize;
            let high = (a[axis].max(b[axis]) + reach).floor() + 1.0;
            // A negative number becomes 0: nothing to draw.
            low..(high as usize).min(self.size)
        };
        let (columns, rows) = (bounds(0), bounds(1));
        for y in rows {
            for x in columns.clone() {
                let away = distance_to_piece([x as f32, y as f32], a, b);
                let ink = (reach - away).clamp(0.0, 1.0);
                let pixel = &mut self.ink[y * self.size + x];
                *pixel = pixel.max(ink);
            }
        }
    }

    /// The image, 255 for full ink.
    pub(super) fn into_bytes(self) -> Vec<u8> {
        let byte = |ink: f32| (ink * 255.0).round() as u8;
        self.ink.into_iter().map(byte).collect()
    }
}

fn distance_to_piece(point: Point, a: Point, b: Point) -> f32 {
    let along = [b[0] - a[0], b[1] - a[1]];
    let from = [point[0] - a[0], point[1] - a[1]];
    let length = squared(along);
    // A piece without length is its first point.
    let t = match length > 0.0 {
        true => ((from[0] * along[0] + from[1] * along[1]) / length).clamp(0.0, 1.0),
        false => 0.0,
    };
    distance(point, [a[0] + t * along[0], a[1] + t * along[1]])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A straight stroke from left to right through the middle.
    const LEVEL: Stroke = [[0.2, 0.5], [0.4, 0.5], [0.6, 0.5], [0.8, 0.5]];

    #[test]
    fn a_curve_begins_and_ends_at_its_outer_points() {
        let bent = [[0.1, 0.2], [0.9, 0.0], [0.0, 0.9], [0.7, 0.6]];
        assert_eq!(point_at(&bent, 0.0), bent[0]);
        assert_eq!(point_at(&bent, 1.0), bent[3]);
        let [x, y] = point_at(&LEVEL, 0.5);
        assert!((x - 0.5).abs() < 1e-6 && (y - 0.5).abs() < 1e-6);
    }

    #[test]
    fn a_level_stroke_inks_the_rows_it_covers() {
        // On 10 pixels the line runs between rows 4 and 5; a pen of 2 pixels covers both.
        let mut canvas = Canvas::new(10);
        canvas.draw(&LEVEL, 0.2);
        let image = canvas.into_bytes();
        let rows: Vec<_> = image.chunks(10).map(|row| row[5]).collect();
        assert_eq!(rows, [0, 0, 0, 0, 255, 255, 0, 0, 0, 0]);
        assert_eq!(image[5 * 10], 0);
    }

    #[test]
    fn strokes_outside_the_canvas_draw_nothing_and_fail_nothing() {
        let mut canvas = Canvas::new(10);
        for shift in [-9.0, 9.0, 1e30, f32::NAN] {
            canvas.draw(&LEVEL.map(|[x, y]| [x + shift, y]), 0.2);
            canvas.draw(&LEVEL.map(|[x, y]| [x, y + shift]), 0.2);
        }
        assert!(canvas.into_bytes().iter().all(|&byte| byte == 0));
    }
}
