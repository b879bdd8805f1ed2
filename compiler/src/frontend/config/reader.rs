//! Reads values out of a configuration by the tables, and collects what is wrong with them.

use super::{
    formats::{Keys, Only},
    json::Node,
};
use serde_json::Value;
use std::ops::Range;
use toml::Spanned;

/// A configuration while it is read.
pub(super) struct Reader<'a> {
    root: Node<'a>,
    section: &'static str,
    /// What is wrong, and where.
    pub problems: Vec<(Range<usize>, String)>,
}

/// A number that counts something.
pub(super) fn count(value: &Value) -> Option<u32> {
    let number = value.as_f64().filter(|x| x.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(x));
    number.map(|x| x as u32)
}

/// The elements of a list of counts.
fn counts(value: &Value) -> Option<Vec<u32>> {
    value.as_array()?.iter().map(count).collect()
}

/// The one number of a list that repeats it, or the number itself.
fn repeated(value: &Value) -> Option<f64> {
    match value.as_array() {
        None => value.as_f64(),
        Some(list) => list.first().and_then(Value::as_f64).filter(|x| list.iter().all(|y| y.as_f64() == Some(*x))),
    }
}

impl<'a> Reader<'a> {
    /// Of a configuration; `section` is that of the model's version.
    pub fn new(root: Node<'a>, section: &'static str) -> Reader<'a> {
        Reader { root, section, problems: Vec::new() }
    }

    /// The value of the first of some keys that is there.
    pub fn find(&self, keys: &[&str]) -> Option<Node<'a>> {
        keys.iter().find_map(|key| self.root.path(&key.replace("{}", self.section)))
    }

    /// Where something is that is not there: at the start of the text.
    pub fn nowhere(&self) -> Range<usize> {
        let start = self.root.span().start;
        start..start + 1
    }

    /// Reports a problem.
    pub fn problem(&mut self, span: Range<usize>, message: impl Into<String>) {
        self.problems.push((span, message.into()));
    }

    /// A value read with `read`, or `default`; what is there but cannot be read is a problem.
    pub fn read<T>(
        &mut self,
        keys: Keys,
        default: Option<T>,
        wanted: &str,
        read: impl Fn(&Value) -> Option<T>,
    ) -> Option<Spanned<T>> {
        let Some(node) = self.find(keys) else {
            if default.is_none() && !keys.is_empty() {
                self.problem(self.nowhere(), format!("there is no `{}`", keys[0].replace("{}", self.section)));
            }
            return default.map(|value| Spanned::new(self.nowhere(), value));
        };
        if let Some(value) = read(node.value) {
            return Some(Spanned::new(node.span(), value));
        }
        self.problem(node.span(), format!("wanted {wanted}"));
        default.map(|value| Spanned::new(node.span(), value))
    }

    /// A count, perhaps as a list that repeats it.
    pub fn side(&mut self, keys: Keys, default: Option<u32>) -> Option<Spanned<u32>> {
        let wanted = "a whole number, or a list that repeats one: other lists are not supported";
        self.read(keys, default, wanted, |value| count(&repeated(value)?.into()))
    }

    /// A count, perhaps as the first element of a list.
    pub fn first(&mut self, keys: Keys, default: Option<u32>) -> Option<Spanned<u32>> {
        self.read(keys, default, "a whole number", |value| count(value.get(0).unwrap_or(value)))
    }

    /// The channels of the first stage, perhaps as a list of all stages' channels, each twice those of the one before.
    pub fn doubling(&mut self, keys: Keys, default: Option<u32>) -> Option<Spanned<u32>> {
        let wanted = "a whole number of channels, which every stage doubles";
        self.read(keys, default, wanted, |value| match counts(value) {
            Some(list) => {
                list.first().copied().filter(|_| list.windows(2).all(|two| two[0].checked_mul(2) == Some(two[1])))
            }
            None => count(value),
        })
    }

    /// A list of counts.
    pub fn list(&mut self, keys: Keys, default: Option<Vec<u32>>) -> Option<Spanned<Vec<u32>>> {
        self.read(keys, default, "a list of whole numbers", counts)
    }

    /// Height and width of an image.
    pub fn sides(&mut self, keys: Keys, default: Option<[u32; 2]>) -> Option<Spanned<[u32; 2]>> {
        let wanted = "the side of an image, or its height and width";
        self.read(keys, default, wanted, |value| match counts(value) {
            Some(list) => match list[..] {
                [side] => Some([side; 2]),
                [height, width] | [_, height, width] => Some([height, width]),
                _ => None,
            },
            None => count(value).map(|side| [side; 2]),
        })
    }

    /// A number, perhaps as a list that repeats it.
    pub fn number(&mut self, keys: Keys, default: f64) -> Option<Spanned<f64>> {
        self.read(keys, Some(default), "a number, or a list that repeats one", repeated)
    }

    /// A number for each channel, perhaps a single one for all three.
    pub fn colours(&mut self, keys: Keys, default: Option<[f32; 3]>) -> Option<Spanned<Vec<f32>>> {
        let wanted = "a list of numbers, one for each channel";
        self.read(keys, default.map(|values| values.to_vec()), wanted, |value| match value.as_array() {
            Some(list) => list.iter().map(|x| x.as_f64().map(|x| x as f32)).collect(),
            None => value.as_f64().map(|x| vec![x as f32; 3]),
        })
    }

    /// A word, in lower case.
    pub fn word(&mut self, keys: Keys) -> Option<Spanned<String>> {
        self.find(keys)?;
        self.read(keys, None, "a word", |value| Some(value.as_str()?.to_lowercase()))
    }

    /// Whether a thing is so.
    pub fn truth(&mut self, keys: Keys, default: bool) -> Option<Spanned<bool>> {
        self.read(keys, Some(default), "true or false", Value::as_bool)
    }

    /// Reports the values that would make another model than is understood.
    pub fn check_only(&mut self, rows: &[(&str, Only, &str)]) {
        for (key, only, what) in rows {
            let Some(node) = self.find(&[key]) else { continue };
            let value = node.value;
            let (fits, wanted) = match only {
                Only::Null => (false, "null".to_owned()),
                Only::Bool(b) => (value.as_bool() == Some(*b), b.to_string()),
                Only::Number(x) => (value.as_f64().is_some_and(|v| (v - x).abs() <= x.abs() * 1e-6), format!("{x:?}")),
                Only::Word(words) => {
                    let word = value.as_str().unwrap_or_default();
                    (words.iter().any(|w| w.eq_ignore_ascii_case(word)), words.join(" or "))
                }
            };
            if !fits {
                let name = key.rsplit('.').next().unwrap_or(key);
                self.problem(node.span(), format!("`{name}`, {what}: only {wanted} is supported, not {value}"));
            }
        }
    }
}
