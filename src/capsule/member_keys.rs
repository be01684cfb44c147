//! Capsule ids as the second part of the keys in the index by member.

use ic_stable_structures::storable::Blob;

/// Returns a key of bounded length for a capsule id: `capsule_` and a number have at most 28 bytes. An id of
/// more than 32 bytes, which no capsule has, gives the empty key.
pub fn member_key(capsule: &str) -> Blob<32> {
    Blob::try_from(capsule.as_bytes()).unwrap_or_default()
}

/// Returns the capsule id of a [`member_key`].
pub fn parse_member_key(key: &Blob<32>) -> String {
    String::from_utf8_lossy(key.as_slice()).into_owned()
}
