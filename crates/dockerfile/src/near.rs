//! The name that was probably meant.

/// Returns the candidate that `name` is most likely a misspelling of, ignoring case; `None` when nothing is near.
pub fn nearest<'c>(name: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    let wanted = name.to_lowercase();
    let reach = (wanted.chars().count() / 3).clamp(1, 3);
    candidates
        .into_iter()
        .map(|candidate| (strsim::osa_distance(&wanted, &candidate.to_lowercase()), candidate))
        .filter(|(distance, _)| *distance <= reach)
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
    }
}
