//! The name that was probably meant, as BuildKit finds it: at most two edits away, case counts.

/// Returns the option nearest to `name`; `None` when nothing is near or `name` is an option itself.
pub(crate) fn suggest<'o>(name: &str, options: impl IntoIterator<Item = &'o str>) -> Option<&'o str> {
    let mut nearest = None;
    let mut least = 3;
    for option in options {
        if option == name {
            return None;
        }
        if name.len().abs_diff(option.len()) > 8 {
            // More than two edits, however they are encoded.
            continue;
        }
        let distance = strsim::levenshtein(name, option);
        if distance < least {
            least = distance;
            nearest = Some(option);
        }
    }
    nearest
}
