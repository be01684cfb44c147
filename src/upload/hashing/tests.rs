//! BLAKE3 computed in parts against BLAKE3 of the whole file.

use proptest::prelude::*;

use super::*;

/// Returns the digest of `file`, hashed separately in chunks of `chunk` bytes, each in blocks of `block` bytes.
fn digest_in_parts(file: &[u8], chunk: usize, block: usize) -> [u8; 32] {
    let total = file.len() as u64;
    let mut prefix = TreePrefix::default();
    for (n, bytes) in file.chunks(chunk).enumerate() {
        let from = (n * chunk) as u64;
        let to = from + bytes.len() as u64;
        let mut hasher = LeafHasher::new(from, to, total);
        bytes.chunks(block).for_each(|block| hasher.update(block));
        let subtrees = hasher.finish();

        let (first_leaf, end_leaf) = leaf_range_within(from, to, total);
        let heights: Vec<u8> = subtree_heights(first_leaf, end_leaf, leaf_count(total)).collect();
        let restored = from_chaining_values(&to_chaining_values(&subtrees), heights.into_iter());
        assert_eq!(restored, subtrees, "the subtrees are restored from their chaining values");

        // If a leaf spans the previous chunk and this one, it is the next to be appended.
        let prefix_end = prefix.leaves() * LEAF_BYTES;
        if leaf_count(total) > 1 && prefix_end < from {
            let leaf_end = (prefix_end + LEAF_BYTES).min(total);
            let mut hasher = LeafHasher::new(prefix_end, leaf_end, total);
            hasher.update(&file[prefix_end as usize..leaf_end as usize]);
            hasher.finish().into_iter().for_each(|subtree| prefix.push(subtree, leaf_count(total)));
        }
        restored.into_iter().for_each(|subtree| prefix.push(subtree, leaf_count(total)));
    }
    assert!(prefix.leaves() == leaf_count(total) || leaf_count(total) < 2);
    // A file of at most one leaf has no tree.
    prefix.digest().unwrap_or_else(|| blake3::hash(file).into())
}

fn file(len: usize) -> Vec<u8> {
    (0..len).map(|n| (n * 31 % 253) as u8).collect()
}

#[test]
fn files_of_up_to_seventy_leaves_have_their_digests() {
    for len in 0..70 * 1024 {
        // Of the lengths more than one byte from a leaf boundary, only the multiples of 97 are tested.
        if len % 1024 > 1 && len % 1024 < 1023 && len % 97 != 0 {
            continue;
        }
        let file = file(len);
        let expected: [u8; 32] = blake3::hash(&file).into();
        assert_eq!(digest_in_parts(&file, 5_000, 1_500), expected, "{len} bytes");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn chunks_and_blocks_of_any_length_give_the_digest_of_the_whole(
        len in 0..3_000_000_usize,
        chunk in 1_024..2_000_000_usize,
        block in 1..70_000_usize,
    ) {
        let file = file(len);
        let expected: [u8; 32] = blake3::hash(&file).into();
        prop_assert_eq!(digest_in_parts(&file, chunk, block), expected);
    }
}

#[test]
fn the_chaining_values_of_a_chunk_fit_its_slot() {
    use crate::blob::CHUNK_SIZE;
    use crate::upload::limits::{MAX_CHUNKS, MAX_UPLOAD_BYTES};
    let (chunk, total) = (u64::from(CHUNK_SIZE), MAX_UPLOAD_BYTES);
    let most = (0..u64::from(MAX_CHUNKS))
        .map(|n| leaf_range_within(n * chunk, (n + 1) * chunk, total))
        .map(|(first_leaf, end_leaf)| subtree_heights(first_leaf, end_leaf, leaf_count(total)).count())
        .max();
    assert!(
        most.unwrap() * blake3::OUT_LEN <= crate::upload::chunk_hashing::bytes_of_slots(1) as usize,
        "{most:?} subtrees"
    );
}
