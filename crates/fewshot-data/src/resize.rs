//! Scaling of 8-bit images as Pillow does it.
//!
//! Does not know: files, classes.

use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};
use serde::{Deserialize, Serialize};

/// A filter to scale images with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Filter {
    /// Lanczos with three lobes.
    #[default]
    Lanczos,
}

pub(crate) fn resize(
    pixels: &[u8],
    from: [usize; 2],
    channels: usize,
    to: [usize; 2],
    _: Filter,
) -> Result<Vec<u8>, String> {
    let kind = if channels == 1 { PixelType::U8 } else { PixelType::U8x3 };
    let source = ImageRef::new(from[1] as u32, from[0] as u32, pixels, kind).map_err(|e| e.to_string())?;
    let mut target = Image::new(to[1] as u32, to[0] as u32, kind);
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Lanczos3));
    Resizer::new().resize(&source, &mut target, &options).map_err(|e| e.to_string())?;
    Ok(target.into_vec())
}
