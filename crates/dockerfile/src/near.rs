//! The name that was probably meant.

/// Returns the candidate that `name` is most likely a misspelling or the beginning of, ignoring case; `None` when
/// nothing is near.
pub fn nearest<'c>(name: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    // A hostile name may have megabytes, and nobody misspells that much.
    if name.len() > 256 {
        return None;
    }
    let wanted = name.to_lowercase();
    let reach = (wanted.chars().count() / 3).clamp(1, 3);
    let distance = |candidate: &str| {
        let candidate = candidate.to_lowercase();
        let begins = wanted.len() > 2 && candidate.starts_with(&wanted);
        let edits = strsim::osa_distance(&wanted, &candidate);
        // A beginning is a worse match than a slip of the finger, however much is missing.
        if edits <= reach { Some(edits) } else { begins.then_some(reach + 1) }
    };
    candidates
        .into_iter()
        .filter_map(|candidate| Some((distance(candidate)?, candidate)))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_misspelt_and_only_that() {
        let names = ["RUN", "COPY", "ENTRYPOINT", "EXPOSE"];
        assert_eq!(nearest("RUM", names), Some("RUN"));
        assert_eq!(nearest("cpoy", names), Some("COPY"));
        assert_eq!(nearest("ENTRYPIONT", names), Some("ENTRYPOINT"));
        assert_eq!(nearest("banana", names), None);
        assert_eq!(nearest("prod", ["builder", "production"]), Some("production"));
    }
}
