//! Files → red, green, blue.

use super::{Picture, jpeg};
use image::{
    DynamicImage, ImageBuffer, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits, Pixel, RgbImage,
    metadata::Orientation,
};
use std::io::Cursor;

/// Most pixels of a picture: a quarter of a GiB of them, as Pillow's `MAX_IMAGE_PIXELS`.
const MAX_PIXELS: u64 = (1 << 28) / 3;

/// Most memory of a decoder, in bytes: a quarter more than the largest picture takes.
const MAX_BYTES: u64 = 5 << 26;

pub(super) fn decode(bytes: &[u8]) -> Result<Picture, String> {
    let unreadable = |error: ImageError| match error {
        ImageError::Limits(_) => format!("its decoder would take more than {MAX_BYTES} bytes of memory"),
        error => format!("not a readable picture: {error}"),
    };
    let mut reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format().map_err(|e| e.to_string())?;
    let format = reader.format().ok_or("not a picture: it begins as no PNG, JPEG or WebP file does")?;
    let mut limits = Limits::default();
    limits.max_alloc = Some(MAX_BYTES);
    reader.limits(limits);
    let mut decoder = reader.into_decoder().map_err(unreadable)?;
    // JPEG's decoder and WebP's have no limit of their own.
    let (width, height) = decoder.dimensions();
    if !(1..=MAX_PIXELS).contains(&(u64::from(width) * u64::from(height))) {
        return Err(format!("a picture of {width} by {height} pixels: there may be 1 to {MAX_PIXELS}"));
    }
    if format == ImageFormat::Jpeg && is_cut_off(bytes) {
        return Err("the JPEG file is cut off: it has no end".to_owned());
    }
    if format == ImageFormat::WebP && !has_all_chunks(bytes) {
        return Err("the WebP file is cut off: a chunk goes on beyond its end".to_owned());
    }
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let own = if format == ImageFormat::Jpeg { jpeg::decode(bytes) } else { Ok(None) };
    let own = own.map_err(|error| format!("not a readable JPEG file: {error}"))?;
    let own = own.and_then(|pixels| RgbImage::from_raw(width, height, pixels)).map(DynamicImage::ImageRgb8);
    let image = own.map_or_else(|| DynamicImage::from_decoder(decoder), Ok).map_err(unreadable)?;
    let mut image = match image {
        DynamicImage::ImageLuma16(image) => DynamicImage::ImageLuma8(upper(image)),
        DynamicImage::ImageLumaA16(image) => DynamicImage::ImageLumaA8(upper(image)),
        DynamicImage::ImageRgb16(image) => DynamicImage::ImageRgb8(upper(image)),
        DynamicImage::ImageRgba16(image) => DynamicImage::ImageRgba8(upper(image)),
        image => image,
    };
    image.apply_orientation(orientation);
    let rgb = image.into_rgb8();
    let (width, height) = rgb.dimensions();
    Ok(Picture { pixels: rgb.into_raw(), width, height })
}

/// The upper 8 of 16 bits.
fn upper<From, To>(image: ImageBuffer<From, Vec<u16>>) -> ImageBuffer<To, Vec<u8>>
where
    From: Pixel<Subpixel = u16>,
    To: Pixel<Subpixel = u8>,
{
    let (width, height) = image.dimensions();
    let bytes = image.into_raw().into_iter().map(|sample| (sample >> 8) as u8).collect();
    ImageBuffer::from_raw(width, height, bytes).expect("as many samples as before")
}

/// Whether a WebP file has all that its chunks say they have: the decoder takes as much memory at once as one says.
/// (WebP Container Specification, RIFF file format)
fn has_all_chunks(bytes: &[u8]) -> bool {
    let length = |at: usize| Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?) as usize);
    let Some(end) = length(4).map(|of_file| (8 + of_file).min(bytes.len())) else { return false };
    let mut at = 12;
    while at + 8 <= end {
        let Some(next) = length(at + 4).map(|of_chunk| at + 8 + of_chunk) else { return false };
        if next > bytes.len() {
            return false;
        }
        // Chunks begin at even places.
        at = next.next_multiple_of(2);
    }
    true
}

/// Whether a JPEG file's last scan has no end: the decoder would make up the rest.
fn is_cut_off(bytes: &[u8]) -> bool {
    let last = |marker: [u8; 2]| bytes.windows(2).rposition(|pair| pair == marker);
    let (start_of_scan, end_of_image) = (last([0xff, 0xda]), last([0xff, 0xd9]));
    end_of_image.is_none() || end_of_image < start_of_scan
}
