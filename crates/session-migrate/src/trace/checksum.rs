//! The checksum at the end of every line.
//!
//! Each checksum covers its line and the previous checksum. So a changed, added or removed line is detected at its
//! place or in the next line.

use sha2::{Digest, Sha256};

/// Text before the checksum in a line.
const FIELD: &str = ",\"sum\":\"";

/// Text after the checksum in a line.
const CLOSE: &str = "\"}";

/// The checksum of the last line; empty before the first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ChecksumChain(String);

/// A line whose checksum does not match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mismatch {
    pub expected: String,
    pub got: String,
}

impl ChecksumChain {
    /// Adds the checksum to the end of a line that is one JSON object with at least one field.
    pub fn seal(&mut self, object: &str) -> String {
        let body = object.strip_suffix('}').unwrap_or(object);
        self.advance(body);
        format!("{body}{FIELD}{}{CLOSE}", self.0)
    }

    /// Checks the checksum at the end of a line, and returns the object without it.
    pub fn unseal(&mut self, line: &str) -> Result<String, Mismatch> {
        // In the error, `missing` stands in place of a checksum.
        let (body, got) =
            line.strip_suffix(CLOSE).and_then(|rest| rest.rsplit_once(FIELD)).unwrap_or((line, "missing"));
        self.advance(body);
        if got == self.0 {
            Ok(format!("{body}}}"))
        } else {
            Err(Mismatch { expected: self.0.clone(), got: got.into() })
        }
    }

    fn advance(&mut self, body: &str) {
        let digest = Sha256::new().chain_update(&self.0).chain_update(body).finalize();
        // 12 digits are enough to detect damage and edits; the checksum is not a signature.
        let hex = hex::encode(digest);
        self.0 = format!("{hex:.12}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealed(lines: &[&str]) -> Vec<String> {
        let mut checksums = ChecksumChain::default();
        lines.iter().map(|line| checksums.seal(line)).collect()
    }

    fn first_bad(lines: &[String]) -> Option<usize> {
        let mut checksums = ChecksumChain::default();
        lines.iter().position(|line| checksums.unseal(line).is_err())
    }

    #[test]
    fn a_line_with_its_checksum_reads_back_unchanged() {
        let lines = sealed(&[r#"{"a":1}"#, r#"{"b":"},"}"#]);
        let mut checksums = ChecksumChain::default();
        assert_eq!(checksums.unseal(&lines[0]).unwrap(), r#"{"a":1}"#);
        assert_eq!(checksums.unseal(&lines[1]).unwrap(), r#"{"b":"},"}"#);
    }

    #[test]
    fn a_change_is_found_at_its_line() {
        let lines = sealed(&[r#"{"a":1}"#, r#"{"a":2}"#, r#"{"a":3}"#]);
        assert_eq!(first_bad(&lines), None);
        let mut changed = lines.clone();
        changed[1] = changed[1].replace("\"a\":2", "\"a\":4");
        assert_eq!(first_bad(&changed), Some(1));
        // The line after the removed one fails, since its checksum covers the removed one's.
        let mut removed = lines.clone();
        removed.remove(1);
        assert_eq!(first_bad(&removed), Some(1));
        let mut unsealed = lines;
        unsealed[2] = r#"{"a":3}"#.into();
        assert_eq!(first_bad(&unsealed), Some(2));
    }
}
