//! Resizes as Pillow does, to the last bit: antialiased, columns first, rounded to 8 bits, then rows.
//!
//! (Pillow 13 takes rows first where a picture becomes wider and less high; no version before it did.)

use super::Picture;
use swint_compiler::frontend::{Interpolation, Preprocess, Resize};
use swint_ir::Pair;

/// Most pixels of a resized picture, and of the one between the two passes.
const MAX_PIXELS: u64 = 1 << 26;

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
    let resized = convolved(pixels, (width, height), (to_width, to_height), p.interpolation);
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

/// Bits after the point of a weight.
const BITS: u32 = 22;

/// What a pixel is made of: the first of its sources, and the weights of them.
struct Taps {
    first: usize,
    weights: Vec<i32>,
}

/// What each of `to` pixels of a line is made of, from `from`: Pillow's weights, in its integers.
fn taps(from: usize, to: usize, how: Interpolation) -> Vec<Taps> {
    let (filter, support): (fn(f64) -> f64, f64) = match how {
        Interpolation::Bicubic => (cubic, 2.0),
        Interpolation::Bilinear => (|x| (1.0 - x.abs()).max(0.0), 1.0),
    };
    let scale = from as f64 / to as f64;
    // Wider where the line becomes shorter: antialiasing.
    let stretch = scale.max(1.0);
    let of_pixel = |i: usize| {
        let centre = (i as f64 + 0.5) * scale;
        let first = (centre - support * stretch + 0.5).max(0.0) as usize;
        let end = ((centre + support * stretch + 0.5) as usize).min(from);
        let weight = |x: usize| filter((x as f64 - centre + 0.5) * (1.0 / stretch));
        let sum: f64 = (first..end).map(weight).sum();
        let rounded = |x: usize| (weight(x) / sum * f64::from(1 << BITS)).round() as i32;
        Taps { first, weights: (first..end).map(rounded).collect() }
    };
    (0..to).map(of_pixel).collect()
}

/// Cubic convolution, a = −1/2. (Keys, "Cubic convolution interpolation for digital image processing", 1981)
fn cubic(x: f64) -> f64 {
    let x = x.abs();
    if x < 1.0 {
        (1.5 * x - 2.5) * x * x + 1.0
    } else if x < 2.0 {
        (((x - 5.0) * x + 8.0) * x - 4.0) * -0.5
    } else {
        0.0
    }
}

/// Resizes along the axes that differ, columns first, and rounds to 8 bits after each. `from` and `to` are width and height.
pub(super) fn convolved(pixels: Vec<u8>, from: (u32, u32), to: (u32, u32), how: Interpolation) -> Vec<u8> {
    let [(width, height), (to_width, to_height)] = [from, to].map(|(x, y)| (x as usize, y as usize));
    let rounded = |sum: i32| (sum >> BITS).clamp(0, 255) as u8;
    let mut pixels = pixels;
    if width != to_width {
        let taps = taps(width, to_width, how);
        let mut out = Vec::with_capacity(to_width * height * 3);
        for row in pixels.chunks_exact(width * 3) {
            for Taps { first, weights } in &taps {
                let mut sums = [1 << (BITS - 1); 3];
                for (pixel, weight) in row[first * 3..].as_chunks::<3>().0.iter().zip(weights) {
                    (0..3).for_each(|c| sums[c] += i32::from(pixel[c]) * weight);
                }
                out.extend(sums.map(rounded));
            }
        }
        pixels = out;
    }
    if height != to_height {
        let stride = to_width * 3;
        let mut out = Vec::with_capacity(stride * to_height);
        let mut sums = Vec::new();
        for Taps { first, weights } in taps(height, to_height, how) {
            sums.clear();
            sums.resize(stride, 1 << (BITS - 1));
            for (row, weight) in pixels[first * stride..].chunks_exact(stride).zip(weights) {
                sums.iter_mut().zip(row).for_each(|(sum, &sample)| *sum += i32::from(sample) * weight);
            }
            out.extend(sums.iter().map(|&sum| rounded(sum)));
        }
        pixels = out;
    }
    pixels
}
