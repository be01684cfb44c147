//! Describes the contents of a snapshot of the first public release for the operator. A canister of that release cannot
//! be upgraded to this one; see `docs/adopting.md`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use ic_stable_structures::memory_manager::{MemoryId, MemoryManager};
use sha2::{Digest, Sha256};
use upload_canister::blob::BlobId;
use upload_canister::migrations::public_release::{
    PublicBlob, PublicBlobRef, PublicCapsule, decode, session_prefix,
};
use upload_canister::stable::memory_ids::numbers as ids;
use upload_canister::stable::{Damage, Key};

use crate::snapshot::{Entry, StableFile, Tree};

use super::scan::SnapshotMemory;

/// The highest session number that is tried to find the session of a chunk, unless higher ones are known: that release
/// counts from 1.
const LAST_SESSION: u64 = 1_000_000;

/// The contents of a stable memory of the first public release.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PublicContents {
    /// Number of capsules.
    pub capsules: u64,
    /// Number of memories in the capsules.
    pub memories: u64,
    /// Number of galleries in the capsules, for which this canister has no counterpart.
    pub galleries: u64,
    /// Number of memories with more than one asset.
    pub of_many_assets: u64,
    /// Number of committed blobs.
    pub blobs: u64,
    /// Total size of the blobs according to their records.
    pub blob_bytes: u64,
    /// Number of blobs whose stored bytes have the size and SHA-256 of the record.
    pub sound: u64,
    /// Number of chunks that belong to no blob, by number of the session. The key is `None` for chunks whose session is
    /// not known, since sessions are only on the heap.
    pub in_flight: BTreeMap<Option<u64>, u64>,
    /// Descriptions of damage, and of references to missing or replaced blobs.
    pub damage: Vec<String>,
}

/// The stored chunks under one key prefix.
#[derive(Default)]
struct StoredChunks {
    count: u64,
    /// Number of the first missing chunk, if a later chunk is stored; `None` if there is no gap.
    gap: Option<u32>,
    bytes: u64,
    sha256: Sha256,
}

impl StoredChunks {
    /// Adds a chunk; chunks are added by ascending number.
    fn add(&mut self, index: u32, bytes: &[u8]) {
        self.sha256.update(bytes);
        self.bytes += bytes.len() as u64;
        if self.count < u64::from(index) {
            self.gap.get_or_insert(u32::try_from(self.count).unwrap_or(u32::MAX));
        }
        self.count += 1;
    }
}

pub(super) fn read(memories: &MemoryManager<StableFile>) -> PublicContents {
    let mut contents = PublicContents::default();
    let mut damage = Vec::new();
    let mut references = Vec::new();
    walk(memories, ids::CAPSULES, &mut damage, |id: String, entry| {
        let capsule: PublicCapsule = decode(&entry.value()).map_err(|why| format!("capsule {id}: {why}"))?;
        contents.capsules += 1;
        contents.memories += capsule.memories.len() as u64;
        contents.galleries += capsule.galleries.len() as u64;
        for (id, memory) in capsule.memories {
            let blobs = &memory.blob_internal_assets;
            let assets = memory.inline_assets.len() + blobs.len() + memory.blob_external_assets.len();
            contents.of_many_assets += u64::from(assets > 1);
            references
                .extend(memory.blob_internal_assets.into_iter().map(|asset| (id.clone(), asset.blob_ref)));
        }
        Ok(())
    });
    let mut blobs: BTreeMap<u64, PublicBlob> = BTreeMap::new();
    walk(memories, ids::BLOB_META, &mut damage, |id: u64, entry| {
        blobs.insert(id, decode(&entry.value()).map_err(|why| format!("blob_{id}: {why}"))?);
        Ok(())
    });
    let mut stored: BTreeMap<[u8; 32], StoredChunks> = BTreeMap::new();
    walk(memories, ids::CHUNKS, &mut damage, |(key, index): ([u8; 32], u32), entry| {
        stored.entry(key).or_default().add(index, &entry.value());
        Ok(())
    });
    contents.blobs = blobs.len() as u64;
    for (id, blob) in &blobs {
        contents.blob_bytes = contents.blob_bytes.saturating_add(blob.size);
        let stored = <[u8; 32]>::try_from(blob.pmid_hash.as_slice()).ok().and_then(|key| stored.remove(&key));
        match check_blob(blob, stored) {
            Ok(()) => contents.sound += 1,
            Err(why) => damage.push(format!("blob_{id}: {why}")),
        }
    }
    for (memory, reference) in references {
        if let Err(why) = check_reference(&reference, &blobs) {
            damage.push(format!("memory {memory} refers to {why}"));
        }
    }
    for (session, prefix) in sessions_of_chunks(stored.keys().copied(), []) {
        if let Some(StoredChunks { count, .. }) = stored.remove(&prefix) {
            contents.in_flight.insert(Some(session), count);
        }
    }
    let chunks_of_unknown_sessions: u64 = stored.values().map(|stored| stored.count).sum();
    if chunks_of_unknown_sessions > 0 {
        contents.in_flight.insert(None, chunks_of_unknown_sessions);
    }
    PublicContents { damage, ..contents }
}

/// Compares a blob with its chunks. The error says why it is not sound.
fn check_blob(blob: &PublicBlob, stored: Option<StoredChunks>) -> Result<(), String> {
    let Some(StoredChunks { gap, bytes, sha256, .. }) = stored else {
        return Err("none of its chunks is stored, or another blob has them".into());
    };
    if let Some(gap) = gap {
        return Err(format!("chunk {gap} is missing, and a later chunk is stored"));
    }
    let sha256 = sha256.finalize();
    if bytes == blob.size && sha256.as_slice() == blob.checksum.as_slice() {
        return Ok(());
    }
    let (committed_bytes, committed_sha256) = (blob.size, hex::encode(&blob.checksum));
    Err(format!(
        "{bytes} bytes with the SHA-256 {} are stored, but {committed_bytes} bytes with {committed_sha256} were committed",
        hex::encode(sha256)
    ))
}

/// Checks a memory's reference to a blob. The error is the blob's locator, and why the reference is damaged.
fn check_reference(reference: &PublicBlobRef, blobs: &BTreeMap<u64, PublicBlob>) -> Result<(), String> {
    let PublicBlobRef { locator, hash, .. } = reference;
    match BlobId::from_locator(locator).and_then(|id| blobs.get(&id.0)) {
        None => Err(format!("{locator}, which is not stored")),
        Some(blob) if hash.as_ref().is_some_and(|hash| *hash != blob.checksum) => {
            Err(format!("{locator} with another SHA-256: a later upload has replaced it"))
        }
        Some(_) => Ok(()),
    }
}

/// Finds the sessions to which the chunks under `prefixes` belong, and returns the prefix of each session found. A
/// prefix is only a hash of the session's number, so the `known` numbers are tried, then all numbers up to a million.
/// Prefixes of other sessions are missing from the result.
pub(crate) fn sessions_of_chunks(
    prefixes: impl IntoIterator<Item = [u8; 32]>,
    known: impl IntoIterator<Item = u64>,
) -> BTreeMap<u64, [u8; 32]> {
    let mut unmatched: BTreeSet<[u8; 32]> = prefixes.into_iter().collect();
    let mut found = BTreeMap::new();
    for session in known.into_iter().chain(1..=LAST_SESSION) {
        if unmatched.is_empty() {
            break;
        }
        let prefix = session_prefix(session);
        if unmatched.remove(&prefix) {
            found.insert(session, prefix);
        }
    }
    found
}

/// Passes every entry of a map to `each`, and adds damage of the map and of its entries to `damage`.
fn walk<K: Key>(
    memories: &MemoryManager<StableFile>,
    id: u8,
    damage: &mut Vec<String>,
    mut each: impl FnMut(K, &Entry<'_, SnapshotMemory>) -> Result<(), String>,
) {
    let memory = memories.get(MemoryId::new(id));
    let describe = |damage: Damage| format!("memory id {id}, offset {}: {}", damage.offset, damage.what);
    let walked = match Tree::open(&memory) {
        Ok(None) => return,
        Ok(Some(tree)) => tree.walk::<K>(&mut |key, entry| damage.extend(each(key, entry).err())),
        Err(found) => return damage.push(describe(found)),
    };
    damage.extend(walked.damage.into_iter().map(describe));
}

impl fmt::Display for PublicContents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { capsules, memories, galleries, of_many_assets, blobs, blob_bytes, sound, .. } = self;
        let chunks: u64 = self.in_flight.values().sum();
        write!(
            f,
            "{capsules} capsules with {memories} memories, {of_many_assets} of more than one asset, and {galleries} galleries; {blobs} blobs of {blob_bytes} bytes, {sound} of them with the SHA-256 of their records; {chunks} chunks of uploads that are in flight or were abandoned, whose sessions are on the heap alone"
        )?;
        let sessions: Vec<String> = self.in_flight.keys().flatten().map(u64::to_string).collect();
        if !sessions.is_empty() {
            write!(f, " (sessions {})", sessions.join(", "))?;
        }
        self.damage.iter().try_for_each(|damage| write!(f, "\n  damaged: {damage}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_of_chunks_are_found_up_to_a_million_or_if_known() {
        let sessions = [1, 100_001, LAST_SESSION, u64::MAX - 1];
        let prefixes = || sessions.map(session_prefix).into_iter().chain([[9; 32]]);
        let found = |known: &[u64]| -> Vec<u64> {
            sessions_of_chunks(prefixes(), known.iter().copied()).into_keys().collect()
        };
        assert_eq!(found(&[]), sessions[..3]);
        assert_eq!(found(&[u64::MAX, u64::MAX - 1]), sessions);
    }
}
