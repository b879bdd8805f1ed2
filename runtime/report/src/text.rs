//! Numbers and names as a page shows them.

/// A narrow space that no line is broken at.
const THIN: char = '\u{202f}';

/// Most characters of a name that are shown.
const LONGEST: usize = 300;

/// Three significant digits; without zeros at the end that say nothing.
pub fn significant(value: f64) -> String {
    if !value.is_finite() {
        return if value.is_nan() { "–".to_owned() } else { if value > 0.0 { "∞" } else { "−∞" }.to_owned() };
    }
    if value == 0.0 {
        return "0".to_owned();
    }
    let magnitude = value.abs().log10().floor();
    if !(-4.0..6.0).contains(&magnitude) {
        return format!("{value:.2e}");
    }
    let text = format!("{value:.*}", (2.0 - magnitude).max(0.0) as usize);
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

fn scaled(value: f64, base: f64, units: &[&str]) -> String {
    let mut value = value;
    let mut unit = 0;
    while value.abs() >= base && unit + 1 < units.len() {
        value /= base;
        unit += 1;
    }
    format!("{}{THIN}{}", significant(value), units[unit]).trim_end_matches(THIN).to_owned()
}

/// `1.5 KiB`.
pub fn bytes(n: f64) -> String {
    scaled(n, 1024.0, &["B", "KiB", "MiB", "GiB", "TiB"])
}

/// `1.5 M`.
pub fn count(n: f64) -> String {
    scaled(n, 1000.0, &["", "k", "M", "G", "T", "P"])
}

/// `1.5 ms`, of microseconds.
pub fn time(us: f64) -> String {
    if us == 0.0 {
        return "0".to_owned();
    }
    if us.abs() < 1.0 {
        return scaled(us * 1000.0, 1000.0, &["ns", "µs"]);
    }
    scaled(us, 1000.0, &["µs", "ms", "s"])
}

/// `1 234 567`.
pub fn whole(n: usize) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(THIN);
        }
        text.push(digit);
    }
    text
}

/// A text out of a file, with a mark for each control character and each that turns the direction of what follows.
pub fn plain(text: &str) -> String {
    let hidden = |c: char| {
        c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars().map(|c| if hidden(c) { '\u{fffd}' } else { c }).collect()
}

/// A name out of a file: [`plain`], and not endless.
pub fn name(text: &str) -> String {
    let mut shown: String = plain(text).chars().take(LONGEST).collect();
    if text.chars().nth(LONGEST).is_some() {
        shown.push('…');
    }
    shown
}

/// `3 launches`, `1 launch`.
pub fn plural(n: usize, one: &str, more: &str) -> String {
    format!("{} {}", whole(n), if n == 1 { one } else { more })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_digits_and_a_unit() {
        for (value, text) in [
            (0.0, "0"),
            (1.0, "1"),
            (12.345, "12.3"),
            (0.012_345, "0.0123"),
            (123_456.0, "123456"),
            (1e-9, "1.00e-9"),
            (f64::INFINITY, "∞"),
            (f64::NAN, "–"),
        ] {
            assert_eq!(significant(value), text);
        }
        assert_eq!(bytes(1536.0), "1.5\u{202f}KiB");
        assert_eq!(count(999.0), "999");
        assert_eq!(count(1.5e9), "1.5\u{202f}G");
        assert_eq!(
            [time(0.0), time(0.25), time(12.0), time(1.5e6)],
            ["0", "250\u{202f}ns", "12\u{202f}µs", "1.5\u{202f}s"]
        );
        assert_eq!(whole(1_234_567), "1\u{202f}234\u{202f}567");
        assert_eq!(whole(123), "123");
    }

    #[test]
    fn names_cannot_hide_or_turn_what_follows() {
        assert_eq!(name("a\u{202e}b\nc\0"), "a\u{fffd}b\u{fffd}c\u{fffd}");
        assert_eq!(name(&"x".repeat(1000)).chars().count(), LONGEST + 1);
    }
}
