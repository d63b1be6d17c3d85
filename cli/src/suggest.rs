//! Names that a reader may have meant.

/// `did you mean w-01, w-10?`, or `see: COMMAND` if no name is similar.
pub(crate) fn hint<'a>(wanted: &str, names: impl IntoIterator<Item = &'a str>, command: &str) -> String {
    match similar(wanted, names).as_slice() {
        [] => format!("see: {command}"),
        names => format!("did you mean {}?", names.join(", ")),
    }
}

/// The names with an edit distance of at most three, or that contain `wanted`; most similar first, at most three.
fn similar<'a>(wanted: &str, names: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let mut found: Vec<(usize, &str)> = names
        .into_iter()
        .filter_map(|name| {
            let distance = edit_distance(wanted, name);
            (distance <= 3.min(wanted.len() / 2) || name.contains(wanted)).then_some((distance, name))
        })
        .collect();
    found.sort_unstable();
    found.truncate(3);
    found.into_iter().map(|(_, name)| name).collect()
}

/// Inserted, removed and changed characters between two names (Levenshtein).
fn edit_distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (index, letter) in left.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = index + 1;
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
    fn a_mistyped_name_finds_its_node() {
        let nodes = ["node-1", "node-2", "db-1"];
        assert_eq!(similar("nod-1", nodes), ["node-1", "node-2"]);
        assert_eq!(similar("2", nodes), ["node-2"]);
        assert_eq!(
            hint("nod-1", nodes, "kubectl get nodes"),
            "did you mean node-1, node-2?"
        );
        assert_eq!(hint("frontend", nodes, "kubectl get nodes"), "see: kubectl get nodes");
    }
}
