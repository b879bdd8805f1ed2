//! Components that have fewer samples than pixels: libjpeg-turbo's "fancy" interpolation for factors of 1 and 2, by the triangle filter
//! of 3/4 and 1/4; copies for others.

/// Gives `each` the rows of a plane, `stride` apart, at the picture's size: row number and samples.
///
/// `size` is width and height of what counts in the plane, `factors` how many pixels a sample stands for, and `picture` the picture's size.
pub(super) fn upsampled(
    plane: &[u8],
    stride: usize,
    size: (usize, usize),
    factors: (usize, usize),
    picture: (usize, usize),
    mut each: impl FnMut(usize, &[u8]),
) {
    let (width, height) = size;
    let row = |i: usize| &plane[i * stride..][..width];
    let mut out = Vec::new();
    for y in 0..picture.1 {
        let near = row(y / factors.1);
        // The row that the pixel lies towards; the last one beyond the border.
        let far = || {
            let i = y / factors.1;
            row(if y % 2 == 0 { i.saturating_sub(1) } else { (i + 1).min(height - 1) })
        };
        out.clear();
        match factors {
            (1, 1) => out.extend(near),
            (1, 2) => {
                let bias = 1 + (y % 2) as u16;
                out.extend(
                    near.iter().zip(far()).map(|(&a, &b)| ((u16::from(a) * 3 + u16::from(b) + bias) >> 2) as u8),
                );
            }
            (2, 1) if width > 2 => {
                let sums: Vec<u16> = near.iter().map(|&a| a.into()).collect();
                widened(&sums, 2, (1, 2), &mut out);
            }
            (2, 2) if width > 2 => {
                let sums: Vec<u16> = near.iter().zip(far()).map(|(&a, &b)| u16::from(a) * 3 + u16::from(b)).collect();
                widened(&sums, 4, (8, 7), &mut out);
            }
            (h, _) => out.extend(near.iter().flat_map(|&a| std::iter::repeat_n(a, h))),
        }
        each(y, &out[..picture.0]);
    }
}

/// Two pixels for each sum, divided by 2^`shift`; left and right pixels are rounded differently.
fn widened(sums: &[u16], shift: u32, bias: (u16, u16), out: &mut Vec<u8>) {
    let last = sums.len() - 1;
    for (i, &sum) in sums.iter().enumerate() {
        let (left, right) = (sums[i.saturating_sub(1)], sums[(i + 1).min(last)]);
        out.push(((sum * 3 + left + bias.0) >> shift) as u8);
        out.push(((sum * 3 + right + bias.1) >> shift) as u8);
    }
}
