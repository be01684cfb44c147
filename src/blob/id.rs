//! The id of a blob.

/// Id of a committed blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BlobId(pub u64);

impl BlobId {
    /// Parses the id in a locator `blob_<number>`; `None` for any other text, also for a number not in its shortest
    /// form.
    pub fn from_locator(locator: &str) -> Option<Self> {
        let digits = locator.strip_prefix("blob_")?;
        // `parse` would also take a sign, and one blob must have one name.
        let canonical = digits == "0" || digits.bytes().next().is_some_and(|b| (b'1'..=b'9').contains(&b));
        if canonical { digits.parse().ok().map(Self) } else { None }
    }
}

impl std::fmt::Display for BlobId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "blob_{}", self.0)
    }
}
