//! Compares the bytes of every committed blob with its digest.

use std::collections::HashMap;

use ic_stable_structures::Memory as _;
use sha2::{Digest, Sha256};
use upload_canister::api::HashAlgorithm;
use upload_canister::blob::extents::HEADER_BYTES;
use upload_canister::blob::{BlobRecord, Extents, Place};
use upload_canister::stable::memory_ids::numbers as ids;

use super::facts::{Facts, mapped};
use super::finding::FindingKind;
use super::report::DeepReport;
use super::scan::Scan;
use crate::snapshot::PAGE_BYTES;

/// Number of bytes that are read at once.
const BLOCK: u64 = 1 << 20;

enum Hasher {
    Sha256(Sha256),
    Blake3(Box<blake3::Hasher>),
}

impl Hasher {
    fn new(algorithm: HashAlgorithm) -> Hasher {
        match algorithm {
            HashAlgorithm::Sha256 => Hasher::Sha256(Sha256::new()),
            HashAlgorithm::Blake3 => Hasher::Blake3(Box::default()),
        }
    }

    fn update(&mut self, bytes: &[u8]) {
        match self {
            Hasher::Sha256(hasher) => hasher.update(bytes),
            Hasher::Blake3(hasher) => drop(hasher.update(bytes)),
        }
    }

    fn finish(self) -> [u8; 32] {
        match self {
            Hasher::Sha256(hasher) => hasher.finalize().into(),
            Hasher::Blake3(hasher) => hasher.finalize().into(),
        }
    }
}

/// A blob in the chunk map while its chunks are being read.
struct Partial {
    hasher: Hasher,
    /// Bytes of the blob that have not been hashed yet.
    left: u64,
}

/// Hashes every blob, and records those whose bytes differ from the committed digest. `progress` gets the numbers of
/// hashed bytes.
pub(super) fn check(facts: &Facts, scan: &mut Scan, progress: &mut dyn FnMut(u64)) -> DeepReport {
    let mut report = DeepReport::default();
    let mut hashed: Vec<(u64, u8, [u8; 32])> = Vec::new();
    // Several blobs may have the same key prefix. The chunks under a prefix are read in the order of their numbers.
    let mut wanted: HashMap<[u8; 32], Vec<u64>> = HashMap::new();
    for (id, (memory, blob)) in &facts.blobs {
        match &blob.place {
            Place::Chunks(prefix) => wanted.entry(prefix.0).or_default().push(*id),
            Place::Extents(extents) => {
                let digest = hash_extents(scan, extents, blob, progress);
                hashed.push((*id, *memory, digest));
            }
        }
    }
    let mut partial: HashMap<u64, Partial> = HashMap::new();
    if !wanted.is_empty() {
        scan.entries(ids::CHUNKS, |(prefix, _): ([u8; 32], u32), entry, _| {
            let Some(blobs) = wanted.get(&prefix) else { return };
            let bytes = entry.value();
            for id in blobs {
                let Some((_, blob)) = facts.blobs.get(id) else { continue };
                let state = partial.entry(*id).or_insert_with(|| Partial {
                    hasher: Hasher::new(blob.digest.algorithm),
                    left: blob.size,
                });
                let part = &bytes[..state.left.min(bytes.len() as u64) as usize];
                state.hasher.update(part);
                state.left -= part.len() as u64;
                progress(part.len() as u64);
            }
        });
    }
    for (id, (memory, blob)) in facts.blobs.iter().filter(|(_, (_, blob))| mapped(blob).is_some()) {
        let hasher =
            partial.remove(id).map_or_else(|| Hasher::new(blob.digest.algorithm), |state| state.hasher);
        hashed.push((*id, *memory, hasher.finish()));
    }
    for (id, memory, digest) in hashed {
        let Some((_, blob)) = facts.blobs.get(&id) else { continue };
        report.blobs += 1;
        report.bytes += blob.size;
        if digest == blob.digest.bytes {
            report.sound += 1;
            continue;
        }
        let (committed, found) = (hex::encode(blob.digest.bytes), hex::encode(digest));
        let what = format!(
            "blob_{id} was committed under the {:?} {committed}, but its bytes have {found}",
            blob.digest.algorithm
        );
        scan.findings.at(FindingKind::BlobDigest, memory, id.to_string(), what);
    }
    report
}

fn hash_extents(
    scan: &Scan,
    extents: &Extents,
    blob: &BlobRecord,
    progress: &mut dyn FnMut(u64),
) -> [u8; 32] {
    let region = scan.memory(ids::EXTENT_REGION);
    let size = region.size() * PAGE_BYTES;
    let mut hasher = Hasher::new(blob.digest.algorithm);
    let mut left = blob.size;
    let mut buffer = vec![0; BLOCK as usize];
    for extent in extents.iter() {
        let (mut at, end) =
            (extent.offset.saturating_add(HEADER_BYTES), extent.end().saturating_add(HEADER_BYTES));
        while at < end && left > 0 {
            let part = &mut buffer[..BLOCK.min(end - at).min(left) as usize];
            // Bytes after the end of the memory were never written, and count as zeros.
            let written = size.saturating_sub(at).min(part.len() as u64) as usize;
            let (stored, never) = part.split_at_mut(written);
            if !stored.is_empty() {
                region.read(at, stored);
            }
            never.fill(0);
            hasher.update(part);
            let len = part.len() as u64;
            (at, left) = (at + len, left - len);
            progress(len);
        }
    }
    hasher.finish()
}
