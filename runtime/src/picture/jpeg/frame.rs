//! A picture's components, and how pixels are made of them.

use super::{short, transform::inverse, upsample::upsampled};

/// A component: luma, a difference of colours, or a colour.
pub(super) struct Component {
    pub(super) id: u8,
    /// Samples along each axis of an interleaved unit, in blocks: horizontally, vertically.
    pub(super) h: usize,
    pub(super) v: usize,
    /// Number of its quantization table.
    pub(super) table: usize,
    /// That table, since its first scan.
    pub(super) quantization: Option<[u16; 64]>,
    /// Samples that the picture has of it.
    pub(super) width: usize,
    pub(super) height: usize,
    /// Blocks of a row and of a column, with those that fill up the last units.
    pub(super) columns: usize,
    pub(super) rows: usize,
    /// Samples, `[rows·8, columns·8]`.
    plane: Vec<u8>,
    /// Coefficients of each block, as far as they are known, of a progressive picture.
    pub(super) blocks: Vec<[i16; 64]>,
}

/// A picture.
pub(super) struct Frame {
    pub(super) width: usize,
    pub(super) height: usize,
    pub(super) progressive: bool,
    pub(super) components: Vec<Component>,
    /// The largest `h` and `v`.
    pub(super) h_max: usize,
    pub(super) v_max: usize,
}

impl Component {
    /// Takes a block whose coefficients are all known, in their natural order.
    pub(super) fn set(&mut self, row: usize, column: usize, block: &[i16; 64]) {
        let stride = self.columns * 8;
        let at = row * 8 * stride + column * 8;
        let quantization = self.quantization.as_ref().expect("a scan checks it");
        inverse(block, quantization, &mut self.plane[at..], stride);
    }
}

impl Frame {
    /// The frame that a header describes, of this width and height; `None` where it is not of a kind that is read here.
    pub(super) fn parse(header: &[u8], progressive: bool, size: (u32, u32)) -> Result<Option<Frame>, String> {
        let &[precision, h0, h1, w0, w1, count, ref rest @ ..] = header else { return Err(short("a frame")) };
        let [height, width] = [[h0, h1], [w0, w1]].map(|side| usize::from(u16::from_be_bytes(side)));
        if precision != 8 || !matches!(count, 1 | 3) {
            return Ok(None);
        }
        if rest.len() != usize::from(count) * 3 {
            return Err(short("a frame"));
        }
        if (width as u64, height as u64) != (size.0.into(), size.1.into()) || width == 0 || height == 0 {
            return Err(format!("a frame has {width} by {height} pixels"));
        }
        let sampling: Vec<(usize, usize)> =
            rest.chunks_exact(3).map(|c| (usize::from(c[1] >> 4), usize::from(c[1] & 15))).collect();
        let h_max = sampling.iter().map(|s| s.0).max().unwrap_or(1);
        let v_max = sampling.iter().map(|s| s.1).max().unwrap_or(1);
        if sampling.iter().any(|&(h, v)| !(1..=4).contains(&h) || !(1..=4).contains(&v)) {
            return Err("a component's sampling is none".to_owned());
        }
        if sampling.iter().any(|&(h, v)| h_max % h != 0 || v_max % v != 0) {
            return Ok(None);
        }
        let units = (width.div_ceil(8 * h_max), height.div_ceil(8 * v_max));
        let component = |(c, (h, v)): (&[u8], (usize, usize))| {
            let (columns, rows) = (units.0 * h, units.1 * v);
            Component {
                id: c[0],
                h,
                v,
                table: usize::from(c[2] & 3),
                quantization: None,
                width: (width * h).div_ceil(h_max),
                height: (height * v).div_ceil(v_max),
                columns,
                rows,
                plane: vec![0; columns * rows * 64],
                blocks: if progressive { vec![[0; 64]; columns * rows] } else { Vec::new() },
            }
        };
        let components = rest.chunks_exact(3).zip(sampling).map(component).collect();
        Ok(Some(Frame { width, height, progressive, components, h_max, v_max }))
    }

    /// Red, green and blue of each pixel. What the components are follows from markers, else from their names, as in libjpeg.
    pub(super) fn into_rgb(self, jfif: bool, adobe: Option<u8>) -> Result<Vec<u8>, String> {
        let Frame { width, height, components, h_max, v_max, .. } = self;
        let ids: Vec<u8> = components.iter().map(|component| component.id).collect();
        let is_rgb = !jfif && adobe.map_or(ids == *b"RGB", |transform| transform == 0);
        let mut rgb = vec![0; width * height * 3];
        let single = components.len() == 1;
        for (i, mut component) in components.into_iter().enumerate() {
            if component.quantization.is_none() {
                return Err("a component has no scan".to_owned());
            }
            for (at, block) in std::mem::take(&mut component.blocks).iter().enumerate() {
                component.set(at / component.columns, at % component.columns, block);
            }
            let factors = (h_max / component.h, v_max / component.v);
            let size = (component.width, component.height);
            upsampled(&component.plane, component.columns * 8, size, factors, (width, height), |row, samples| {
                let row = &mut rgb[row * width * 3..][..width * 3];
                for (pixel, &sample) in row.chunks_exact_mut(3).zip(samples) {
                    if single { pixel.fill(sample) } else { pixel[i] = sample }
                }
            });
        }
        if !single && !is_rgb {
            rgb.chunks_exact_mut(3).for_each(|pixel| pixel.copy_from_slice(&from_ycc(pixel[0], pixel[1], pixel[2])));
        }
        Ok(rgb)
    }
}

/// Red, green and blue of luma and differences (JFIF 1.02), in 16 bits after the point, rounded as in libjpeg.
fn from_ycc(y: u8, cb: u8, cr: u8) -> [u8; 3] {
    let [y, cb, cr] = [y, cb, cr].map(i32::from);
    let (cb, cr) = (cb - 128, cr - 128);
    // 1.402, 0.71414, 0.34414 and 1.772 times 65536.
    let red = y + ((91_881 * cr + 32_768) >> 16);
    let green = y + ((-22_554 * cb - 46_802 * cr + 32_768) >> 16);
    let blue = y + ((116_130 * cb + 32_768) >> 16);
    [red, green, blue].map(|x| x.clamp(0, 255) as u8)
}
