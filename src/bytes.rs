//! Comparison of byte strings word by word: in wasm, slices are compared byte by byte, which takes ten times as long.

/// Returns whether both have the same length and bytes.
pub fn is_same(left: &[u8], right: &[u8]) -> bool {
    let ((left_words, left_rest), (right_words, right_rest)) = (left.as_chunks(), right.as_chunks());
    let mut pairs = left_words.iter().zip(right_words);
    left.len() == right.len()
        && pairs.all(|(left, right)| u64::from_ne_bytes(*left) == u64::from_ne_bytes(*right))
        && left_rest == right_rest
}

#[cfg(test)]
mod tests {
    use super::is_same;

    #[test]
    fn bytes_are_compared_to_the_last() {
        let bytes: Vec<u8> = (0..21).collect();
        for len in 0..=bytes.len() {
            let (same, rest) = bytes.split_at(len);
            assert!(is_same(same, &bytes[..len]));
            assert!(rest.is_empty() || !is_same(same, &bytes));
            for place in 0..len {
                let mut other = same.to_vec();
                other[place] ^= 0x80;
                assert!(!is_same(same, &other), "byte {place} of {len}");
            }
        }
    }
}
