//! Parses the `Range` header field (RFC 9110, section 14).

use std::num::NonZeroUsize;

use http_range_header::{RangeUnsatisfiableError, parse_range_header_with_max_ranges};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestedRange {
    /// The whole representation: there is no `Range` field, or one that a server ignores.
    Whole,
    /// The bytes `first..end`, at least one.
    Part { first: u64, end: u64 },
    /// No byte of the representation: all are beyond its end, or the last 0 bytes are requested.
    Unsatisfiable,
}

/// The number of ranges that are parsed: one more than is supported, to distinguish one range from several.
const MAX_RANGES: NonZeroUsize = NonZeroUsize::MIN.saturating_add(1);

/// Returns what a header field requests of a representation of `size` bytes. Units other than bytes, fields that do not
/// parse, and several ranges at once are ignored, as the standard allows: `multipart/byteranges` could not be streamed,
/// and no media element requests it.
pub fn parse(field: Option<&str>, size: u64) -> RequestedRange {
    let Some(Ok(ranges)) = field.map(|field| parse_range_header_with_max_ranges(field, MAX_RANGES)) else {
        return RequestedRange::Whole;
    };
    if ranges.len() != 1 {
        return RequestedRange::Whole;
    }
    match ranges.validate(size).as_deref() {
        Ok([range]) => RequestedRange::Part { first: *range.start(), end: range.end().saturating_add(1) },
        Err(RangeUnsatisfiableError::Unsatisfiable) => RequestedRange::Unsatisfiable,
        _ => RequestedRange::Whole,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn one_range_is_answered_and_anything_odd_is_ignored() {
        let part = |first, end| RequestedRange::Part { first, end };
        for (field, expected) in [
            ("bytes=0-0", part(0, 1)),
            ("bytes=2-5", part(2, 6)),
            ("Bytes=2-5", part(2, 6)),
            ("bytes= 2-5", part(2, 6)),
            ("bytes=2-", part(2, 10)),
            ("bytes=-3", part(7, 10)),
            ("bytes=-30", part(0, 10)),
            ("bytes=5-99999999999999999999999", part(5, 10)),
            ("bytes=10-", RequestedRange::Unsatisfiable),
            ("bytes=10-11", RequestedRange::Unsatisfiable),
            ("bytes=99999999999999999999999-", RequestedRange::Unsatisfiable),
            ("bytes=-0", RequestedRange::Unsatisfiable),
            ("bytes=0-1,3-4", RequestedRange::Whole),
            ("bytes=5-2", RequestedRange::Whole),
            ("bytes=-", RequestedRange::Whole),
            ("bytes=", RequestedRange::Whole),
            ("bytes", RequestedRange::Whole),
            ("", RequestedRange::Whole),
            ("lines=0-1", RequestedRange::Whole),
            ("bytes=+1-2", RequestedRange::Whole),
            ("bytes=1-2-3", RequestedRange::Whole),
            ("bytes=é-", RequestedRange::Whole),
        ] {
            assert_eq!(parse(Some(field), 10), expected, "{field}");
        }
        assert_eq!(parse(None, 10), RequestedRange::Whole);
    }

    #[test]
    fn an_empty_representation_has_no_first_byte() {
        assert_eq!(parse(Some("bytes=0-"), 0), RequestedRange::Unsatisfiable);
        assert_eq!(parse(Some("bytes=0-0"), 0), RequestedRange::Unsatisfiable);
        assert_eq!(parse(Some("bytes=-5"), 0), RequestedRange::Whole);
    }

    proptest! {
        #[test]
        fn any_text_is_answered_within_the_whole(field in ".{0,40}", size: u64) {
            if let RequestedRange::Part { first, end } = parse(Some(&format!("bytes={field}")), size) {
                prop_assert!(first < end && end <= size, "{first}..{end} of {size}");
            }
            parse(Some(&field), size);
        }

        #[test]
        fn a_single_range_is_what_the_standard_says(first: u64, last: u64, size: u64, kind in 0..3) {
            // The bytes from `first` on, the final `last` bytes, or those from `first` to `last`.
            let (field, bounds) = match kind {
                0 => (format!("bytes={first}-"), Some((first, u64::MAX))),
                1 => (format!("bytes=-{last}"), (last > 0).then(|| (size.saturating_sub(last), u64::MAX))),
                _ if first > last => {
                    prop_assert_eq!(parse(Some(&format!("bytes={first}-{last}")), size), RequestedRange::Whole);
                    return Ok(());
                }
                _ => (format!("bytes={first}-{last}"), Some((first, last))),
            };
            let expected = match bounds {
                Some((first, last)) if first < size => {
                    RequestedRange::Part { first, end: last.saturating_add(1).min(size) }
                }
                // A suffix of an empty representation is the whole of it.
                Some(_) if size == 0 && kind == 1 => RequestedRange::Whole,
                _ => RequestedRange::Unsatisfiable,
            };
            prop_assert_eq!(parse(Some(&field), size), expected, "{} of {}", field, size);
        }
    }
}
