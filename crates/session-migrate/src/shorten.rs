//! Shortens long digests, dumps and texts for display.

/// Number of hexadecimal digits of a SHA-256 digest; longer sequences are dumps.
const DIGEST_DIGITS: usize = 64;

/// Maximum number of consecutive hexadecimal digits that [`shorten`] leaves; it shortens longer sequences.
const MAX_DIGITS: usize = 32;

/// Number of digits shown of a shortened sequence, and of common characters shown before a difference.
const SHOWN_CHARS: usize = 16;

/// Maximum number of characters that are shown of a text.
const MAX_CHARS: usize = 200;

/// Shortens a value: digests and dumps to their first digits, then the whole text to 200 characters.
pub fn shorten(text: &str) -> String {
    shorten_width(&shorten_digits(text, MAX_DIGITS))
}

/// Shortens a message: dumps to their first digits. Digests are kept whole, since files are named by them. The length
/// of the text is not limited.
pub fn shorten_dumps(text: &str) -> String {
    shorten_digits(text, DIGEST_DIGITS)
}

/// Shortens both sides of a difference. If that would hide the difference, both begin shortly before it.
pub fn shorten_both(a: &str, b: &str) -> (String, String) {
    let short = (shorten(a), shorten(b));
    if short.0 != short.1 || a == b {
        return short;
    }
    let common = a.chars().zip(b.chars()).take_while(|(a, b)| a == b).count();
    let from = common.saturating_sub(SHOWN_CHARS);
    let from_difference =
        |text: &str| shorten_width(&format!("…{}", text.chars().skip(from).collect::<String>()));
    (from_difference(a), from_difference(b))
}

fn shorten_width(text: &str) -> String {
    let length = text.chars().count();
    if length <= MAX_CHARS {
        return text.to_owned();
    }
    format!("{}… ({length} characters)", text.chars().take(MAX_CHARS).collect::<String>())
}

fn shorten_digits(text: &str, max: usize) -> String {
    let mut short = String::with_capacity(text.len().min(2 * MAX_CHARS));
    let mut rest = text;
    while let Some(start) = rest.find(|c: char| c.is_ascii_hexdigit()) {
        let (before, from) = rest.split_at(start);
        let end = from.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(from.len());
        let (digits, after) = from.split_at(end);
        short.push_str(before);
        // A digest is shortened without its length; of a dump, the length is shown.
        match digits.len() {
            length if length <= max => short.push_str(digits),
            ..=DIGEST_DIGITS => short.extend([&digits[..SHOWN_CHARS], "…"]),
            length => short.push_str(&format!("{}… ({length} hexadecimal digits)", &digits[..SHOWN_CHARS])),
        }
        rest = after;
    }
    short.push_str(rest);
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_and_dumps_are_shown_by_their_beginning() {
        let digest = "18485c90f0a3371a".repeat(4);
        assert_eq!(
            shorten(&format!("sha256:{digest}, 21827484 bytes")),
            "sha256:18485c90f0a3371a…, 21827484 bytes"
        );
        let dump = format!("Cannot parse header {}", "4449444c".repeat(338));
        assert_eq!(shorten(&dump), "Cannot parse header 4449444c4449444c… (2704 hexadecimal digits)");
        assert_eq!(shorten_dumps(&digest), digest);
        assert!(shorten_dumps(&dump).ends_with("… (2704 hexadecimal digits)"));
        for short in
            ["", "bkyz2-fmaaa-aaaaa-qaaaq-cai", "a facade decade", "0123456789abcdef0123456789abcdef"]
        {
            assert_eq!(shorten(short), short);
        }
    }

    #[test]
    fn a_long_text_says_how_long_it_is() {
        let short = shorten(&"blob ö".repeat(100));
        assert!(short.starts_with("blob öblob ö") && short.ends_with("… (600 characters)"), "{short}");
    }

    #[test]
    fn a_difference_far_inside_is_still_shown() {
        let a = format!("{}1{}", "ab".repeat(300), "cd".repeat(300));
        let b = format!("{}2{}", "ab".repeat(300), "cd".repeat(300));
        let (short_a, short_b) = shorten_both(&a, &b);
        assert!(short_a.starts_with("…abababababababab1cdcd"), "{short_a}");
        assert!(short_b.starts_with("…abababababababab2cdcd"), "{short_b}");
        assert_eq!(shorten_both("same", "same"), ("same".into(), "same".into()));
    }
}
