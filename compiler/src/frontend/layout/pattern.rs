//! The patterns of the tables: names with placeholders.

/// What the placeholders of a pattern stand for in a name.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Place<'a> {
    stage: usize,
    block: usize,
    rest: &'a str,
}

/// What a pattern's placeholders stand for in `name`, if that is of its form; `last` is the last stage.
pub(super) fn place<'a>(pattern: &str, name: &'a str, last: usize) -> Option<Place<'a>> {
    let mut place = Place::default();
    let mut left = Some(name);
    for part in pattern.split('.') {
        let rest = left?;
        if part == "*" {
            return Some(Place { rest, ..place });
        }
        let (segment, tail) = rest.split_once('.').map_or((rest, None), |(segment, tail)| (segment, Some(tail)));
        match part {
            "{s}" => place.stage = segment.parse().ok()?,
            "{b}" => place.block = segment.parse().ok()?,
            "{last}" => place.stage = segment.parse().ok().filter(|stage| *stage == last)?,
            _ if part == segment => {}
            _ => return None,
        }
        left = tail;
    }
    left.is_none().then_some(place)
}

/// The name of a pattern's form; `None` where there is no such stage.
pub(super) fn fill(pattern: &str, place: Place<'_>) -> Option<String> {
    let Place { stage, block, rest } = place;
    let segments: Option<Vec<String>> = (pattern.split('.'))
        .map(|part| match part {
            "{s}" | "{last}" => Some(stage.to_string()),
            "{s-1}" => Some(stage.checked_sub(1)?.to_string()),
            "{2s}" => Some((2 * stage).to_string()),
            "{2s+1}" => Some((2 * stage + 1).to_string()),
            "{b}" => Some(block.to_string()),
            "*" => Some(rest.to_owned()),
            _ => Some(part.to_owned()),
        })
        .collect();
    segments.map(|segments| segments.join("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_taken_apart_and_put_together() {
        let cases = [
            ("layers.{s}.blocks.{b}.*", "layers.3.blocks.11.mlp.fc1.weight", "f.{2s+1}.{b}.*", "f.7.11.mlp.fc1.weight"),
            ("layers.{s}.downsample", "layers.2.downsample", "features.{2s}", "features.4"),
            ("layers.{last}", "layers.3", "encoder.layers.{last}", "encoder.layers.3"),
            ("layers.{s}.downsample.*", "layers.1.downsample.norm.bias", "x.{s-1}.*", "x.0.norm.bias"),
            ("*", "norm.weight", "*", "norm.weight"),
        ];
        for (pattern, name, other, wanted) in cases {
            assert_eq!(fill(other, place(pattern, name, 3).expect(name)).as_deref(), Some(wanted));
        }
        for (pattern, name) in [
            ("layers.{s}", "layers.x"),
            ("layers.{s}", "layers.1.blocks"),
            ("layers.{s}.blocks", "layers.1"),
            ("norm.*", "norm"),
            ("layers.{last}", "layers.2"),
        ] {
            assert_eq!(place(pattern, name, 3), None, "{name}");
        }
        assert_eq!(fill("layers.{s-1}", Place::default()), None);
    }
}
