//! Pictures: decoded as Pillow decodes them, turned as their EXIF data says, resized and cropped as torchvision does.

mod decode;
mod jpeg;
mod resize;

use resize::{convolved, fitted};
use swint_compiler::frontend::{Interpolation, Preprocess};
use swint_ir::Pair;

/// What the names of pictures that can be read end with.
pub const EXTENSIONS: [&str; 4] = ["png", "jpg", "jpeg", "webp"];

/// A decoded picture.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Picture {
    /// Red, green and blue of each pixel, row by row.
    pub pixels: Vec<u8>,
    /// Pixels of a row.
    pub width: u32,
    /// Rows.
    pub height: u32,
}

impl Picture {
    /// Decodes a PNG, JPEG or WebP file, and turns it as its EXIF orientation says.
    ///
    /// As Pillow's `convert("RGB")`, to the last bit but for CMYK: grey is repeated, a palette looked up, transparency dropped; of 16 bits the upper 8 are taken
    /// (of 16-bit grey, too, which Pillow clips at 255 instead, to white). CMYK is
    /// multiplied out, without a colour profile.
    ///
    /// # Errors
    /// When it is no such file, is cut off, or would be larger than 89,478,485 pixels (where Pillow warns of a decompression bomb).
    pub fn decode(bytes: &[u8]) -> Result<Picture, String> {
        decode::decode(bytes)
    }

    /// Resized and cropped as a model's preprocessing says, to `size` pixels.
    ///
    /// # Errors
    /// When the resized picture is too large.
    pub fn preprocessed(self, size: impl Into<Pair<usize>>, preprocess: &Preprocess) -> Result<Vec<u8>, String> {
        fitted(self, size.into(), preprocess)
    }

    /// A part of it, resized to `size` pixels.
    ///
    /// # Errors
    /// When the part is empty or not within the picture.
    pub fn cropped(
        &self,
        (left, top): (u32, u32),
        (width, height): (u32, u32),
        size: impl Into<Pair<usize>>,
        how: Interpolation,
    ) -> Result<Vec<u8>, String> {
        let ends = (left.checked_add(width), top.checked_add(height));
        if width == 0 || height == 0 || ends.0.is_none_or(|x| x > self.width) || ends.1.is_none_or(|y| y > self.height)
        {
            return Err(format!("no part of {width} by {height} pixels at {left}, {top}"));
        }
        let rows = (top..top + height).flat_map(|row| {
            let start = (row as usize * self.width as usize + left as usize) * 3;
            &self.pixels[start..start + width as usize * 3]
        });
        let Pair { rows: to_height, columns: to_width } = size.into().map(|side| side as u32);
        Ok(convolved(rows.copied().collect(), (width, height), (to_width, to_height), how))
    }
}
