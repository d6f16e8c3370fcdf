//! The name a user may have meant.

/// Returns the candidate nearest to `wanted`, when one is near enough to be worth a question.
pub fn nearest<'a>(wanted: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if wanted.len() > 256 {
        return None;
    }
    let scored = candidates.into_iter().map(|candidate| (strsim::jaro_winkler(wanted, candidate), candidate));
    let best = scored.max_by(|a, b| a.0.total_cmp(&b.0))?;
    (best.0 > 0.8).then_some(best.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_near_names_are_proposed() {
        assert_eq!(nearest("bakend", ["frontend", "backend"]), Some("backend"));
        assert_eq!(nearest("x", ["frontend", "backend"]), None);
        assert_eq!(nearest("x", []), None);
    }
}
