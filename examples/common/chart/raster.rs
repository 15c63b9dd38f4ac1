//! Drawing in pixels: plotters' bitmap backend, magnified, with text from a font in the program.
//!
//! plotters itself takes fonts from the system, and some have none.
//!
//! Does not know: charts.

use ab_glyph::{Font, FontRef, Glyph, InvalidFont, PxScale, ScaleFont, point};
use plotters::backend::BitMapBackend;
use plotters_backend::text_anchor::{HPos, VPos};
use plotters_backend::{BackendColor, BackendStyle, BackendTextStyle, DrawingBackend, DrawingErrorKind};

/// Pixels, each of which is magnified.
pub struct Raster<'a> {
    bitmap: BitMapBackend<'a>,
    size: (u32, u32),
    scale: u32,
    font: FontRef<'static>,
}

type Coordinate = (i32, i32);
type Outcome<'a> = Result<(), DrawingErrorKind<<BitMapBackend<'a> as DrawingBackend>::ErrorType>>;

/// A style whose lines are magnified.
struct Magnified {
    colour: BackendColor,
    width: u32,
}

impl BackendStyle for Magnified {
    fn color(&self) -> BackendColor {
        self.colour
    }

    fn stroke_width(&self) -> u32 {
        self.width
    }
}

impl<'a> Raster<'a> {
    /// Over a buffer of `3 scale^2 width height` bytes.
    pub fn new(pixels: &'a mut [u8], size: (u32, u32), scale: u32) -> Result<Self, InvalidFont> {
        let bitmap = BitMapBackend::with_buffer(pixels, (size.0 * scale, size.1 * scale));
        let font = FontRef::try_from_slice(epaint_default_fonts::UBUNTU_LIGHT)?;
        Ok(Self { bitmap, size, scale, font })
    }

    fn at(&self, (x, y): Coordinate) -> Coordinate {
        (x * self.scale as i32, y * self.scale as i32)
    }

    fn style(&self, style: &impl BackendStyle) -> Magnified {
        Magnified { colour: style.color(), width: style.stroke_width() * self.scale }
    }

    /// Glyphs of a line from 0 to its width, with the baseline at 0, in pixels of the bitmap; its width and ascent.
    fn line(&self, text: &str, size: f64) -> (Vec<Glyph>, f32, f32) {
        // plotters' SVG has letters of this size; the font counts from its deepest to its highest.
        let em = size as f32 / 1.24 * self.scale as f32;
        let height = em * self.font.height_unscaled() / self.font.units_per_em().unwrap_or(1000.0);
        let font = self.font.as_scaled(PxScale::from(height));
        let mut x = 0.0;
        let glyphs = text.chars().map(|letter| {
            let id = font.glyph_id(letter);
            let glyph = id.with_scale_and_position(height, point(x, 0.0));
            x += font.h_advance(id);
            glyph
        });
        (glyphs.collect(), x, 0.7 * em)
    }
}

impl<'a> DrawingBackend for Raster<'a> {
    type ErrorType = <BitMapBackend<'a> as DrawingBackend>::ErrorType;

    fn get_size(&self) -> (u32, u32) {
        self.size
    }

    fn ensure_prepared(&mut self) -> Outcome<'a> {
        self.bitmap.ensure_prepared()
    }

    fn present(&mut self) -> Outcome<'a> {
        self.bitmap.present()
    }

    fn draw_pixel(&mut self, place: Coordinate, colour: BackendColor) -> Outcome<'a> {
        let (x, y) = self.at(place);
        let last = self.scale as i32 - 1;
        let style = Magnified { colour, width: 1 };
        self.bitmap.draw_rect((x, y), (x + last, y + last), &style, true)
    }

    fn draw_line<S: BackendStyle>(&mut self, from: Coordinate, to: Coordinate, style: &S) -> Outcome<'a> {
        let (from, to, style) = (self.at(from), self.at(to), self.style(style));
        // Wide lines are polygons there.
        self.bitmap.draw_path([from, to], &style)
    }

    fn draw_rect<S: BackendStyle>(&mut self, from: Coordinate, to: Coordinate, style: &S, fill: bool) -> Outcome<'a> {
        let (from, to, style) = (self.at(from), self.at(to), self.style(style));
        self.bitmap.draw_rect(from, to, &style, fill)
    }

    fn draw_path<S: BackendStyle, I: IntoIterator<Item = Coordinate>>(&mut self, path: I, style: &S) -> Outcome<'a> {
        let mut path: Vec<Coordinate> = path.into_iter().map(|place| self.at(place)).collect();
        // A joint between two places that are one has no angle.
        path.dedup();
        if path.len() < 2 {
            return Ok(());
        }
        let style = self.style(style);
        self.bitmap.draw_path(path, &style)
    }

    fn draw_circle<S: BackendStyle>(&mut self, centre: Coordinate, radius: u32, style: &S, fill: bool) -> Outcome<'a> {
        let (centre, style) = (self.at(centre), self.style(style));
        self.bitmap.draw_circle(centre, radius * self.scale, &style, fill)
    }

    fn fill_polygon<S: BackendStyle, I: IntoIterator<Item = Coordinate>>(
        &mut self,
        corners: I,
        style: &S,
    ) -> Outcome<'a> {
        let corners: Vec<Coordinate> = corners.into_iter().map(|place| self.at(place)).collect();
        let style = self.style(style);
        self.bitmap.fill_polygon(corners, &style)
    }

    fn draw_text<T: BackendTextStyle>(&mut self, text: &str, style: &T, place: Coordinate) -> Outcome<'a> {
        let (glyphs, width, ascent) = self.line(text, style.size());
        let left = match style.anchor().h_pos {
            HPos::Left => 0.0,
            HPos::Right => -width,
            HPos::Center => -width / 2.0,
        };
        let base = match style.anchor().v_pos {
            VPos::Top => ascent,
            VPos::Center => ascent / 2.0,
            VPos::Bottom => -0.3 * ascent,
        };
        let ((across, down), turn, colour) = (self.at(place), style.transform(), style.color());
        for glyph in glyphs {
            let Some(outline) = self.font.outline_glyph(glyph) else { continue };
            let corner = outline.px_bounds().min;
            let mut covered = Vec::new();
            outline.draw(|x, y, share| covered.push((x as f32 + corner.x + left, y as f32 + corner.y + base, share)));
            for (x, y, share) in covered.into_iter().filter(|(_, _, share)| *share > 0.0) {
                let (x, y) = turn.transform(x.round() as i32, y.round() as i32);
                let alpha = colour.alpha * f64::from(share.min(1.0));
                self.bitmap.draw_pixel((across + x, down + y), BackendColor { alpha, ..colour })?;
            }
        }
        Ok(())
    }

    fn estimate_text_size<T: BackendTextStyle>(
        &self,
        text: &str,
        style: &T,
    ) -> Result<(u32, u32), DrawingErrorKind<Self::ErrorType>> {
        let (_, width, ascent) = self.line(text, style.size());
        let scale = self.scale as f32;
        Ok(((width / scale).ceil() as u32, (1.4 * ascent / scale).ceil() as u32))
    }
}
