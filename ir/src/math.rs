//! Float functions as fixed sequences of IEEE-754 `f32` operations (+, −, ×, ÷, √, floor, comparisons; never fused).
//!
//! A kernel that performs the same sequence gives the same bits, on any device and without a math library. The kernels
//! that do are in `runtime`'s `kernels::math`; change both together.

/// Coefficients of the polynomial of `e^r` on |r| ≤ ln 2 / 2, from degree 0 (minimax fit).
pub const EXP: [f32; 7] = [1.0, 1.0, 0.5, 0.166_664_14, 0.041_666_08, 0.008_375_232, 0.001_395_621_8];
/// log2 e.
pub const LOG2_E: f32 = std::f32::consts::LOG2_E;
/// The high part of ln 2, short enough that products with small integers are exact.
pub const LN2_HIGH: f32 = 355.0 / 512.0;
/// ln 2 − [`LN2_HIGH`].
pub const LN2_LOW: f32 = -2.121_944_4e-4;
/// [`exp`]'s arguments are clamped to ± this.
pub const EXP_LIMIT: f32 = 87.0;

#[allow(clippy::approx_constant)] // The fit's first coefficient is near erf'(0), and is its own.
/// Coefficients of `erf(x)/x` in powers of x², for |x| < 1 (minimax fit).
pub const ERF_SMALL: [f32; 7] =
    [1.128_379_1, -0.376_126_26, 0.112_836, -0.026_854_448, 0.005_189_541_7, -8.020_894_6e-4, 7.889_284_5e-5];
/// Coefficients of `−ln(erfc(t))/t` in powers of t, for 1 ≤ t ≤ 4 (minimax fit of erf's error).
pub const ERF_LARGE: [f32; 7] =
    [1.128_697_2, 0.634_958_45, 0.106_548_92, -0.024_025_368, 0.003_764_601_7, -3.523_196e-4, 1.413_273_6e-5];
/// Beyond this, erf is ±1 to within half a unit in the last place.
pub const ERF_LIMIT: f32 = 4.0;

/// `Σ c[i] x^i` by Horner's rule, multiply and add rounded apart.
pub fn polynomial(c: &[f32; 7], x: f32) -> f32 {
    let mut y = c[6];
    for i in (0..6).rev() {
        y = y * x + c[i];
    }
    y
}

/// `e^x`, relative error below 3e-7 for |x| ≤ 87; arguments beyond are clamped.
///
/// `x = n ln 2 + r`, a polynomial for `e^r`, and `2^n` by its bits (Cody and Waite, *Software Manual for the Elementary
/// Functions*, 1980).
pub fn exp(x: f32) -> f32 {
    // `clamp` would keep a NaN, which has no integer part below.
    #[allow(clippy::manual_clamp)]
    let x = x.max(-EXP_LIMIT).min(EXP_LIMIT);
    let n = (x * LOG2_E + 0.5).floor();
    let r = x - n * LN2_HIGH - n * LN2_LOW;
    polynomial(&EXP, r) * f32::from_bits(((n as i32 + 127) << 23) as u32)
}

/// The error function, absolute error below 3e-7.
///
/// An odd polynomial below 1, `1 − exp(−t·Q(t))` above.
pub fn erf(x: f32) -> f32 {
    let t = x.abs();
    if t < 1.0 {
        x * polynomial(&ERF_SMALL, x * x)
    } else {
        let t = t.min(ERF_LIMIT);
        let y = 1.0 - exp(0.0 - t * polynomial(&ERF_LARGE, t));
        if x < 0.0 { 0.0 - y } else { y }
    }
}

/// `x · Φ(x) = x/2 · (1 + erf(x/√2))`, the exact GELU and not its tanh approximation.
pub fn gelu(x: f32) -> f32 {
    0.5 * x * (1.0 + erf(x * std::f32::consts::FRAC_1_SQRT_2))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn worst(low: f64, high: f64, error: impl Fn(f32) -> f64) -> f64 {
        (0..=400_000).map(|i| error((low + (high - low) * i as f64 / 400_000.0) as f32)).fold(0.0, f64::max)
    }

    #[test]
    fn exp_is_within_its_bound_of_libm() {
        assert!(worst(-87.0, 87.0, |x| (exp(x) as f64 / libm::exp(x as f64) - 1.0).abs()) < 3e-7);
    }

    #[test]
    fn erf_is_within_its_bound_of_libm() {
        assert!(worst(-6.0, 6.0, |x| (erf(x) as f64 - libm::erf(x as f64)).abs()) < 3e-7);
        assert_eq!(erf(f32::INFINITY), 1.0);
        assert_eq!(erf(f32::NEG_INFINITY), -1.0);
    }

    #[test]
    fn gelu_is_the_erf_form() {
        let exact = |x: f64| 0.5 * x * (1.0 + libm::erf(x / std::f64::consts::SQRT_2));
        assert!(worst(-8.0, 8.0, |x| (gelu(x) as f64 - exact(x as f64)).abs()) < 2e-6);
    }
}
