//! The inverse cosine transform.

/// Bits after the point of the constants below, and of values between the two passes.
const BITS: u32 = 13;
const BETWEEN: u32 = 2;

/// The samples of a block: 8 rows of `out`, `stride` apart.
///
/// Loeffler, Ligtenberg, Moschytz, "Practical fast 1-D DCT algorithms with 11 multiplications", ICASSP 1989, in the integers and with
/// the roundings of libjpeg's `islow`.
pub(super) fn inverse(block: &[i16; 64], quantization: &[u16; 64], out: &mut [u8], stride: usize) {
    let mut between = [0i64; 64];
    for column in 0..8 {
        let input: [i64; 8] =
            std::array::from_fn(|row| i64::from(block[row * 8 + column]) * i64::from(quantization[row * 8 + column]));
        for (row, value) in pass(input, BITS - BETWEEN).into_iter().enumerate() {
            between[row * 8 + column] = value;
        }
    }
    for (row, input) in between.as_chunks::<8>().0.iter().enumerate() {
        // A block's mean is 8 times its first coefficient.
        let values = pass(*input, BITS + BETWEEN + 3);
        for (sample, value) in out[row * stride..][..8].iter_mut().zip(values) {
            *sample = (value + 128).clamp(0, 255) as u8;
        }
    }
}

/// One dimension, divided by 2^`shift` and rounded.
fn pass(x: [i64; 8], shift: u32) -> [i64; 8] {
    // √2·cos(kπ/16) and sums of such, times 8192; named as in libjpeg.
    let z = (x[2] + x[6]) * 4433;
    let (even2, even3) = (z - x[6] * 15_137, z + x[2] * 6270);
    let (even0, even1) = ((x[0] + x[4]) << BITS, (x[0] - x[4]) << BITS);
    let even = [even0 + even3, even1 + even2, even1 - even2, even0 - even3];

    let [t0, t1, t2, t3] = [x[7], x[5], x[3], x[1]];
    let z5 = (t0 + t2 + t1 + t3) * 9633;
    let (z1, z2) = ((t0 + t3) * -7373, (t1 + t2) * -20_995);
    let (z3, z4) = ((t0 + t2) * -16_069 + z5, (t1 + t3) * -3196 + z5);
    let odd = [t3 * 12_299 + z1 + z4, t2 * 25_172 + z2 + z3, t1 * 16_819 + z2 + z4, t0 * 2446 + z1 + z3];

    let rounded = |value: i64| (value + (1 << (shift - 1))) >> shift;
    std::array::from_fn(|i| rounded(if i < 4 { even[i] + odd[i] } else { even[7 - i] - odd[7 - i] }))
}
