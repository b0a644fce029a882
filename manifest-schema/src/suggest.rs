//! Nearest-name suggestions.

/// The candidate that `given` was most likely meant to be, or `None` when nothing is near.
///
/// Near means: at most one edit away for each three characters, case and `-`, `_`, `.` not counted; failing
/// that, one name begins with the other (`quota`, `quota_bytes`).
///
/// ```
/// use mpkg_manifest::suggest;
/// assert_eq!(suggest("netwrok", ["storage", "network"]), Some("network"));
/// assert_eq!(suggest("zebra", ["storage", "network"]), None);
/// ```
#[must_use]
pub fn suggest<'a>(given: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // The distance is quadratic in length; a hostile name of 256 KiB must not cost seconds.
    if given.len() > 128 {
        return None;
    }
    let plain = fold(given);
    let far = 100;
    candidates
        .into_iter()
        .filter(|candidate| *candidate != given)
        .filter_map(|candidate| {
            let folded = fold(candidate);
            let (shorter, longer) =
                if plain.len() < folded.len() { (&plain, &folded) } else { (&folded, &plain) };
            let distance = strsim::osa_distance(&plain, &folded);
            let allowed = (longer.chars().count() / 3).clamp(1, 4);
            let begins = shorter.len() >= 4 && longer.starts_with(shorter.as_str());
            match (distance <= allowed, begins) {
                (true, _) => Some((distance, candidate)),
                (false, true) => Some((far + distance, candidate)),
                (false, false) => None,
            }
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

fn fold(name: &str) -> String {
    name.chars().filter(|c| !matches!(c, '-' | '_' | '.' | ' ')).flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::suggest;

    #[test]
    fn near_names_only() {
        assert_eq!(suggest("userProfile", ["user.profile", "files"]), Some("user.profile"));
        assert_eq!(suggest("colour_scheme", ["color_scheme", "pages"]), Some("color_scheme"));
        assert_eq!(suggest("quota", ["quota_bytes"]), Some("quota_bytes"));
        assert_eq!(suggest("language", ["lang", "name"]), Some("lang"));
        assert_eq!(suggest("x", ["files"]), None);
        assert_eq!(suggest("", ["files"]), None);
        assert_eq!(suggest(&"a".repeat(100_000), ["files"]), None);
    }
}
