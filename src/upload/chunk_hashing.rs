//! Hashing of stored chunks: the chunk that has just arrived, and chunks that were stored without being added to the
//! intermediate digest.

use crate::api::{Error, HashAlgorithm, Result};
use crate::blob::{BlobStore, Extents, Place};
use crate::session::{Session, SessionError, SinkError};

use super::PayloadState;
use super::hashing::{
    ChunkHasher, LEAF_BYTES, LeafHasher, PrefixHash, Sha256, Subtree, TreePrefix, from_chaining_values,
    leaf_count, leaf_range_within, subtree_heights, to_chaining_values,
};

/// Bytes of a slot, which has room for the chaining values of one chunk: its leaves, at most 1,758, form at most 22
/// subtrees, each with a value of 32 bytes.
const SLOT_BYTES: u64 = 22 * 32;

/// Returns the size of the slots of this many chunks. The slots are in the order of the chunks, so this is also the
/// offset of the slot of the chunk with this number.
pub fn bytes_of_slots(chunks: u32) -> u64 {
    u64::from(chunks).saturating_mul(SLOT_BYTES)
}

/// Returns the hasher for chunk `idx`, which is arriving: [`ChunkHasher::Skip`] if the hash of the chunk could not be
/// used.
pub fn hasher_for(payload: &PayloadState, session: &Session, idx: u32) -> ChunkHasher {
    match &payload.hash {
        PrefixHash::Sha256(sha256) if idx == payload.next_chunk => ChunkHasher::Sha256(sha256.clone()),
        PrefixHash::Blake3(_) if idx == payload.next_chunk || payload.subtrees.is_some() => {
            ChunkHasher::Blake3(leaf_hasher_for(session, idx))
        }
        PrefixHash::Sha256(_) | PrefixHash::Blake3(_) => ChunkHasher::Skip,
    }
}

/// Grows stable memory for the chaining values of chunk `idx`, if they will have to be stored, since the chunk arrives
/// out of order. An `idx` beyond the last chunk is ignored here, and refused later.
pub fn grow_slot(blobs: &mut BlobStore, payload: &PayloadState, session: &Session, idx: u32) -> Result<()> {
    let slots =
        payload.subtrees.as_ref().filter(|_| idx != payload.next_chunk && idx < session.chunk_count());
    let Some(slots) = slots else { return Ok(()) };
    let grown = blobs.extents_mut().grow_for(slots, bytes_of_slots(idx), SLOT_BYTES as usize);
    Ok(grown.map_err(SessionError::from)?)
}

/// If the stored chunk `idx` is the next one to be hashed, adds its hash to the intermediate digest and returns `true`.
/// Otherwise stores the chunk's chaining values, if it has a slot, and returns `false`. A hasher for SHA-256 exists
/// only for the next chunk, see [`hasher_for`].
pub fn add_hashed_chunk(
    blobs: &mut BlobStore,
    payload: &mut PayloadState,
    place: &Place,
    session: &Session,
    idx: u32,
    hasher: ChunkHasher,
) -> Result<bool> {
    match hasher {
        ChunkHasher::Skip => return Ok(false),
        ChunkHasher::Sha256(sha256) => payload.hash = PrefixHash::Sha256(sha256),
        ChunkHasher::Blake3(leaf_hasher) if idx == payload.next_chunk => {
            let subtrees = leaf_hasher.finish();
            push_subtrees(blobs, payload, place, session, idx, &subtrees)?;
        }
        ChunkHasher::Blake3(leaf_hasher) => {
            if let Some(slots) = &payload.subtrees {
                let values = to_chaining_values(&leaf_hasher.finish());
                blobs
                    .extents_mut()
                    .write_at(slots, bytes_of_slots(idx), &values)
                    .map_err(to_internal_error)?;
            }
            return Ok(false);
        }
    }
    payload.next_chunk = payload.next_chunk.saturating_add(1);
    Ok(true)
}

/// Adds the next chunk to the intermediate digest, from its stored chaining values or from its stored bytes.
pub fn add_stored_chunk(
    blobs: &mut BlobStore,
    payload: &mut PayloadState,
    place: &Place,
    session: &Session,
) -> Result<()> {
    let idx = payload.next_chunk;
    let mut hasher = match (&payload.hash, &payload.subtrees) {
        (PrefixHash::Blake3(_), Some(slots)) => {
            let subtrees = stored_subtrees(blobs, slots, session, idx)?;
            push_subtrees(blobs, payload, place, session, idx, &subtrees)?;
            payload.next_chunk = payload.next_chunk.saturating_add(1);
            return Ok(());
        }
        (PrefixHash::Sha256(sha256), _) => ChunkHasher::Sha256(sha256.clone()),
        (PrefixHash::Blake3(_), None) => ChunkHasher::Blake3(leaf_hasher_for(session, idx)),
    };
    let len = session.chunking().len(idx);
    blobs.read(place, session.offset(idx), len, &mut |block| hasher.update(block))?;
    add_hashed_chunk(blobs, payload, place, session, idx, hasher).map(drop)
}

/// Returns the digest of a session whose chunks are all hashed.
pub fn final_digest(
    blobs: &BlobStore,
    payload: &PayloadState,
    place: &Place,
    session: &Session,
) -> Result<[u8; 32]> {
    match &payload.hash {
        PrefixHash::Sha256(sha256) => Ok(sha2::Digest::finalize(sha256.clone()).into()),
        // A file of at most one leaf has no tree: its leaf is the root, and is hashed here.
        PrefixHash::Blake3(_) if leaf_count(session.bytes_expected) < 2 => {
            let mut hasher = blake3::Hasher::new();
            blobs.read(place, 0, session.bytes_expected, &mut |block| {
                hasher.update(block);
            })?;
            Ok(hasher.finalize().into())
        }
        PrefixHash::Blake3(prefix) => prefix.digest().ok_or_else(|| {
            let (hashed_leaves, total_leaves) = (prefix.leaves(), leaf_count(session.bytes_expected));
            Error::Internal(format!("{hashed_leaves} of {total_leaves} leaves are hashed"))
        }),
    }
}

/// Returns how many bytes of the file are in the intermediate digest.
pub fn hashed_bytes(payload: &PayloadState, session: &Session) -> u64 {
    session.offset(payload.next_chunk).min(session.bytes_expected)
}

/// Returns the digest of a whole file that is in memory.
pub fn digest_of_bytes(algorithm: HashAlgorithm, bytes: &[u8]) -> [u8; 32] {
    match algorithm {
        HashAlgorithm::Sha256 => <Sha256 as sha2::Digest>::digest(bytes).into(),
        HashAlgorithm::Blake3 => blake3::hash(bytes).into(),
    }
}

/// Returns a hasher of the leaves that lie entirely within chunk `idx`.
fn leaf_hasher_for(session: &Session, idx: u32) -> LeafHasher {
    LeafHasher::new(session.offset(idx), session.chunking().end(idx), session.bytes_expected)
}

/// Appends the subtrees of chunk `idx` to the intermediate digest, and before them the leaf, if any, that begins in the
/// previous chunk and ends in this one. Does nothing for a file of at most one leaf.
fn push_subtrees(
    blobs: &BlobStore,
    payload: &mut PayloadState,
    place: &Place,
    session: &Session,
    idx: u32,
    subtrees: &[Subtree],
) -> Result<()> {
    let PrefixHash::Blake3(prefix) = &mut payload.hash else { return Ok(()) };
    let total_leaves = leaf_count(session.bytes_expected);
    if total_leaves < 2 {
        return Ok(());
    }
    if prefix.leaves().saturating_mul(LEAF_BYTES) < session.offset(idx) {
        for subtree in spanning_leaf(blobs, prefix, place, session)? {
            prefix.push(subtree, total_leaves);
        }
    }
    for subtree in subtrees {
        prefix.push(*subtree, total_leaves);
    }
    Ok(())
}

/// Hashes the leaf that follows the prefix: a single subtree. The leaf spans two chunks, both of which are stored.
fn spanning_leaf(
    blobs: &BlobStore,
    prefix: &TreePrefix,
    place: &Place,
    session: &Session,
) -> Result<Vec<Subtree>> {
    let from = prefix.leaves().saturating_mul(LEAF_BYTES);
    let to = from.saturating_add(LEAF_BYTES).min(session.bytes_expected);
    let mut hasher = LeafHasher::new(from, to, session.bytes_expected);
    blobs.read(place, from, to.saturating_sub(from), &mut |block| hasher.update(block))?;
    Ok(hasher.finish())
}

/// Returns the subtrees of a chunk that arrived out of order, from its stored chaining values.
fn stored_subtrees(blobs: &BlobStore, slots: &Extents, session: &Session, idx: u32) -> Result<Vec<Subtree>> {
    let total_bytes = session.bytes_expected;
    let (first_leaf, end_leaf) =
        leaf_range_within(session.offset(idx), session.chunking().end(idx), total_bytes);
    let heights: Vec<u8> = subtree_heights(first_leaf, end_leaf, leaf_count(total_bytes)).collect();
    let mut values = Vec::new();
    let len = heights.len().saturating_mul(blake3::OUT_LEN);
    let mut append = |block: &[u8]| {
        values.extend_from_slice(block);
        Ok(())
    };
    blobs.extents().read_at(slots, bytes_of_slots(idx), len, &mut append).map_err(to_internal_error)?;
    Ok(from_chaining_values(&values, heights.into_iter()))
}

fn to_internal_error(error: SinkError) -> Error {
    Error::Internal(error.to_string())
}
