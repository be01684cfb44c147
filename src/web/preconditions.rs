//! Compares the entity tags in a request's preconditions with the tag of the content (RFC 9110, section 13).

/// Returns whether a list of entity tags contains `etag`, or is `*`. Comparison is strong: a weak tag never matches.
/// The list is split at every comma, since `etag` contains none.
pub fn contains(list: &str, etag: &str) -> bool {
    list.split(',').map(str::trim).any(|tag| tag == "*" || tag == etag)
}

/// Does the same as [`contains`] with weak comparison: a weak tag in the list matches the strong `etag` with the same
/// text.
pub fn contains_weakly(list: &str, etag: &str) -> bool {
    list.split(',').map(str::trim).any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_found_in_a_list_and_a_weak_one_only_weakly() {
        let etag = "\"sha256-ab\"";
        for (list, strongly, weakly) in [
            ("\"sha256-ab\"", true, true),
            (" \"x\" ,\t\"sha256-ab\" ", true, true),
            ("*", true, true),
            ("W/\"sha256-ab\"", false, true),
            ("\"x\", W/\"sha256-ab\"", false, true),
            ("sha256-ab", false, false),
            ("\"sha256-abc\"", false, false),
            ("\"a,b\"", false, false),
            ("", false, false),
            (",,,", false, false),
        ] {
            assert_eq!((contains(list, etag), contains_weakly(list, etag)), (strongly, weakly), "{list}");
        }
    }
}
