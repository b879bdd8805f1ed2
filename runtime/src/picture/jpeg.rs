//! JPEG files by libjpeg-turbo, and so to the very pixels that Pillow makes of them. Another decoder's levels differ by up to 4, and then
//! predictions now and then.

use mozjpeg::{ColorSpace, Decompress};
use std::panic::catch_unwind;

/// Most scans: each goes over the whole picture, however little it says.
const MOST_SCANS: usize = 200;

/// Red, green and blue of each pixel, row by row; `None` for colours that it does not turn into these: of four inks.
///
/// # Errors
/// When the file is damaged.
pub(super) fn decode(bytes: &[u8]) -> Result<Option<Vec<u8>>, String> {
    let scans = bytes.windows(2).filter(|pair| **pair == [0xff, 0xda]).count();
    if scans > MOST_SCANS {
        return Err(format!("it has {scans} scans, and there may be {MOST_SCANS}"));
    }
    let pixels = || -> Result<Option<Vec<u8>>, std::io::Error> {
        let file = Decompress::new_mem(bytes)?;
        if matches!(file.color_space(), ColorSpace::JCS_CMYK | ColorSpace::JCS_YCCK) {
            return Ok(None);
        }
        let mut rows = file.rgb()?;
        let pixels: Vec<[u8; 3]> = rows.read_scanlines()?;
        rows.finish()?;
        Ok(Some(pixels.into_flattened()))
    };
    // The library leaves by unwinding what it cannot read.
    match catch_unwind(pixels) {
        Ok(result) => result.map_err(|error| error.to_string()),
        Err(said) => Err(said.downcast_ref::<String>().map_or("it is damaged", |said| said).to_owned()),
    }
}
