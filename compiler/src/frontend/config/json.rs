//! JSON values with their places in the text.

use serde_json::Value;
use std::ops::Range;

/// A value of a JSON text that serde_json has read.
#[derive(Clone, Debug)]
pub(super) struct Node<'a> {
    /// The value.
    pub value: &'a Value,
    /// Its bytes in the text.
    span: Range<usize>,
    text: &'a str,
    /// Added to places: those of several texts differ.
    base: usize,
}

impl<'a> Node<'a> {
    /// The whole of a text.
    pub fn root(value: &'a Value, text: &'a str, base: usize) -> Node<'a> {
        let start = space(text.as_bytes(), 0);
        Node { value, span: start..end(text.as_bytes(), start), text, base }
    }

    /// Where it is.
    pub fn span(&self) -> Range<usize> {
        self.span.start + self.base..self.span.end + self.base
    }

    /// The value of a key of an object, unless it is null.
    pub fn get(&self, key: &str) -> Option<Node<'a>> {
        let value = self.value.get(key).filter(|value| !value.is_null())?;
        let span = member(self.text, self.span.clone(), key)?;
        Some(Node { value, span, ..*self })
    }

    /// As [`Node::get`], through several objects: `a.b.c`.
    pub fn path(&self, path: &str) -> Option<Node<'a>> {
        path.split('.').try_fold(self.clone(), |node, key| node.get(key))
    }
}

/// The first byte from `at` on that is not white space.
fn space(text: &[u8], at: usize) -> usize {
    let rest = text.get(at..).unwrap_or_default();
    at + rest.iter().take_while(|b| b.is_ascii_whitespace()).count()
}

/// The byte behind the string that starts at `at`.
fn end_of_string(text: &[u8], at: usize) -> usize {
    let mut i = at + 1;
    while let Some(b) = text.get(i) {
        match b {
            b'"' => return i + 1,
            b'\\' => i += 2,
            _ => i += 1,
        }
    }
    text.len()
}

/// The byte behind the value that starts at `at`.
fn end(text: &[u8], at: usize) -> usize {
    let (mut i, mut depth) = (at, 0usize);
    while let Some(b) = text.get(i) {
        match b {
            b'"' => i = end_of_string(text, i) - 1,
            b'{' | b'[' => depth += 1,
            b'}' | b']' if depth == 0 => return i,
            b'}' | b']' => depth -= 1,
            b',' | b' ' | b'\n' | b'\r' | b'\t' if depth == 0 => return i,
            _ => {}
        }
        i += 1;
        if depth == 0 && matches!(b, b'"' | b'}' | b']') {
            return i;
        }
    }
    text.len()
}

/// Where the value of a key of the object at `object` is; of the last of its name, which is the one that counts.
fn member(text: &str, object: Range<usize>, key: &str) -> Option<Range<usize>> {
    let bytes = text.as_bytes();
    let mut found = None;
    let mut at = space(bytes, object.start + 1);
    while bytes.get(at) == Some(&b'"') {
        let name = at..end_of_string(bytes, at);
        let start = space(bytes, space(bytes, name.end) + 1);
        let value = start..end(bytes, start);
        if serde_json::from_str::<String>(text.get(name)?).is_ok_and(|name| name == key) {
            found = Some(value.clone());
        }
        at = space(bytes, space(bytes, value.end) + 1);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_those_of_the_values() {
        let text = " {\"a\\\"}\": [1, {\"b\": \"]\"}],\n\t\"c\" : {\"d\":-1.5e3, \"ü\": \"x\\\\\" } , \"d\":null,\"e\": true, \"a\": 7,\"a\":8}";
        let value: Value = serde_json::from_str(text).unwrap();
        let root = Node::root(&value, text, 0);
        let at = |path: &str| root.path(path).map(|node| &text[node.span()]);
        assert_eq!(&text[root.span()], &text[1..]);
        assert_eq!(root.get("a\"}").map(|node| &text[node.span()]), Some("[1, {\"b\": \"]\"}]"));
        assert_eq!(at("c.d"), Some("-1.5e3"));
        assert_eq!(at("c.ü"), Some("\"x\\\\\""));
        assert_eq!(at("e"), Some("true"));
        assert_eq!(at("a"), Some("8"));
        assert_eq!((at("d"), at("c.x"), at("e.x")), (None, None, None));
        assert_eq!(Node::root(&value, text, 100).get("e").unwrap().span().start, 100 + text.find("true").unwrap());
    }
}
