//! The known name that is nearest to a misspelt one.

/// The nearest of `known` by edits of single characters, if it is near enough to be meant.
pub(super) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let measured = known.map(|candidate| (distance(name, candidate), candidate));
    let (edits, candidate) = measured.min_by_key(|(edits, _)| *edits)?;
    (edits <= 2 + candidate.len() / 3 || name.starts_with(candidate)).then_some(candidate)
}

/// Levenshtein's distance, in bytes: names of keys are ASCII.
fn distance(one: &str, other: &str) -> usize {
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (line, a) in one.bytes().enumerate() {
        let mut diagonal = line;
        let mut left = line + 1;
        let mut next = vec![left];
        for (b, above) in other.bytes().zip(row.iter().skip(1)) {
            left = (diagonal + usize::from(a != b)).min(left + 1).min(above + 1);
            diagonal = *above;
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_name_finds_its_neighbour_and_a_stranger_none() {
        let known = ["listen", "shards", "connections_max"];
        let check = |name, expected| assert_eq!(nearest(name, known.into_iter()), expected, "{name}");
        check("lisen", Some("listen"));
        check("shard", Some("shards"));
        check("listen_address", Some("listen"));
        check("connection_max", Some("connections_max"));
        check("zzzzzzzzzzzzzzzzzzzzzzzz", None);
    }

    #[test]
    fn the_distance_is_the_number_of_edits() {
        for (one, other, edits) in [("", "", 0), ("", "abc", 3), ("kitten", "sitting", 3), ("abc", "abc", 0)] {
            assert_eq!(distance(one, other), edits, "{one} {other}");
            assert_eq!(distance(other, one), edits, "{other} {one}");
        }
    }
}
