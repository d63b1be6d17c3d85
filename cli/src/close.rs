//! Names that somebody may have meant.

/// The names at most three slips away from `wanted`, or that contain it; closest first, at most three.
pub(crate) fn close<'a>(wanted: &str, names: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let mut found: Vec<(usize, &str)> = names
        .into_iter()
        .filter_map(|name| {
            let slips = slips(wanted, name);
            (slips <= 3.min(wanted.len() / 2) || name.contains(wanted)).then_some((slips, name))
        })
        .collect();
    found.sort_unstable();
    found.truncate(3);
    found.into_iter().map(|(_, name)| name).collect()
}

/// Inserted, lost and changed characters between two names (Levenshtein).
fn slips(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (done, letter) in left.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = done + 1;
        for (column, other) in right.iter().enumerate() {
            let changed = diagonal + usize::from(letter != *other);
            diagonal = row[column + 1];
            row[column + 1] = changed.min(row[column] + 1).min(diagonal + 1);
        }
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_finger_finds_its_node() {
        let nodes = ["node-1", "node-2", "db-1"];
        assert_eq!(close("nod-1", nodes), ["node-1", "node-2"]);
        assert_eq!(close("2", nodes), ["node-2"]);
        assert_eq!(close("frontend", nodes), Vec::<&str>::new());
    }
}
