//! Resizes as Pillow does: antialiased, columns first, rounded to 8 bits, then rows.

use super::Picture;
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer, images::Image};
use swint_compiler::frontend::{Interpolation, Preprocess, Resize};
use swint_ir::{Data, Elem, Pair};

/// Most pixels of a resized picture, and of the one between the two passes: 800 MB while it is resized.
const MAX_PIXELS: u64 = 1 << 26;

/// Pixels that are resized at once where rows do not depend on each other: 12 MB of floats.
const BAND: usize = 1 << 20;

/// Resizes and crops the centre, as torchvision does.
pub(super) fn fitted(picture: Picture, size: Pair<usize>, p: &Preprocess) -> Result<Vec<u8>, String> {
    let Picture { pixels, width, height } = picture;
    let (to_width, to_height) = match p.resize {
        Resize::Exact => (size.columns as u32, size.rows as u32),
        Resize::Short(short) => {
            let long = |long: u32, other: u32| (u64::from(short) * u64::from(long) / u64::from(other.max(1))) as u32;
            if width <= height { (short, long(height, width)) } else { (long(width, height), short) }
        }
    };
    if u64::from(to_width) * u64::from(height.max(to_height)) > MAX_PIXELS {
        return Err(format!("resizing {width} by {height} to {to_width} by {to_height} would take too much memory"));
    }
    let narrowed = convolved(pixels, (width, height), (to_width, height), p.interpolation)?;
    let resized = convolved(narrowed, (to_width, height), (to_width, to_height), p.interpolation)?;
    Ok(centre(&resized, Pair::new(to_height as usize, to_width as usize), size))
}

/// The middle `size` pixels, black where there are fewer: torchvision's `center_crop`.
fn centre(pixels: &[u8], from: Pair<usize>, size: Pair<usize>) -> Vec<u8> {
    // Offset in the picture (halves to even) and in the result, and how much is taken.
    let part = from.zip(size, |from, size| {
        let skipped = (from.saturating_sub(size) as f64 / 2.0).round_ties_even() as usize;
        (skipped, size.saturating_sub(from) / 2, from.min(size))
    });
    let mut out = vec![0; size.rows * size.columns * 3];
    let (left, to_left, columns) = part.columns;
    let (top, to_top, rows) = part.rows;
    for row in 0..rows {
        let source = ((top + row) * from.columns + left) * 3;
        let target = ((to_top + row) * size.columns + to_left) * 3;
        out[target..target + columns * 3].copy_from_slice(&pixels[source..source + columns * 3]);
    }
    out
}

/// Resizes along one axis in `f32` and rounds half up. `from` and `to` are width and height.
pub(super) fn convolved(
    pixels: Vec<u8>,
    from: (u32, u32),
    to: (u32, u32),
    how: Interpolation,
) -> Result<Vec<u8>, String> {
    if from == to {
        return Ok(pixels);
    }
    let filter = match how {
        Interpolation::Bicubic => FilterType::CatmullRom,
        Interpolation::Bilinear => FilterType::Bilinear,
    };
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(filter));
    let mut resizer = Resizer::new();
    let rows = if from.1 == to.1 { (BAND / (from.0.max(to.0) as usize).max(1)).max(1) } else { from.1 as usize };
    let mut result = Vec::with_capacity(to.0 as usize * to.1 as usize * 3);
    for band in pixels.chunks(rows * from.0 as usize * 3) {
        let rows = (band.len() / (from.0 as usize * 3)) as u32;
        let floats = band.iter().flat_map(|&p| f32::from(p).to_ne_bytes()).collect();
        let source = Image::from_vec_u8(from.0, rows, floats, PixelType::F32x3).map_err(|e| e.to_string())?;
        let mut out = Image::new(to.0, if from.1 == to.1 { rows } else { to.1 }, PixelType::F32x3);
        resizer.resize(&source, &mut out, &options).map_err(|e| e.to_string())?;
        let Data::F32(values) = Data::from_bytes(Elem::F32, out.buffer()) else { unreachable!("asked for f32") };
        result.extend(values.into_iter().map(|v| (v + 0.5).floor().clamp(0.0, 255.0) as u8));
    }
    Ok(result)
}
