//! LEB128 numbers, as Candid writes its lengths: seven bits to a byte, the lowest first.

/// Takes a number off the front of `rest`; `None` if it is truncated, or if it has more bytes than `max` or than five;
/// `rest` is then unspecified. Overlong encodings are accepted.
pub fn take(rest: &mut &[u8], max: usize) -> Option<u64> {
    take_with_shortness(rest, max).map(|(value, _)| value)
}

/// Does the same as [`take`], but accepts only the shortest encoding, which is the one that encoders write.
pub fn take_shortest(rest: &mut &[u8], max: usize) -> Option<u64> {
    take_with_shortness(rest, max).filter(|(_, is_shortest)| *is_shortest).map(|(value, _)| value)
}

/// Does the same as [`take`], and also returns whether the encoding is the shortest.
fn take_with_shortness(rest: &mut &[u8], max: usize) -> Option<(u64, bool)> {
    let mut value = 0;
    for shift in [0, 7, 14, 21, 28].into_iter().take(max) {
        let (byte, following) = rest.split_first()?;
        *rest = following;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some((value, *byte != 0 || shift == 0));
        }
    }
    None
}

/// Writes a number in its shortest encoding.
pub fn push(mut value: u64, out: &mut Vec<u8>) {
    while value > 0x7f {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_taken_as_they_are_pushed() {
        for value in [0, 1, 127, 128, 300, 16_383, 16_384, (1 << 28) - 1] {
            let mut bytes = Vec::new();
            push(value, &mut bytes);
            bytes.push(9);
            for take in [take, take_shortest] {
                let mut rest = bytes.as_slice();
                assert_eq!((take(&mut rest, 4), rest), (Some(value), &[9][..]));
            }
        }
    }

    #[test]
    fn overlong_and_truncated_numbers_are_refused() {
        assert_eq!(take(&mut &[0x80, 0x80, 0x80, 0x80, 1][..], 4), None);
        assert_eq!(take(&mut &[0x80, 0x80][..], 4), None);
        assert_eq!(take(&mut &[0x81, 0x00][..], 4), Some(1), "an overlong encoding is accepted");
        assert_eq!(take_shortest(&mut &[0x81, 0x00][..], 4), None);
        assert_eq!(take_shortest(&mut &[0x00][..], 4), Some(0));
    }
}
