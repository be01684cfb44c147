//! Compares the bytes of every committed blob with its digest.

use std::collections::HashMap;

use ic_stable_structures::Memory as _;
use sha2::{Digest, Sha256};
use upload_canister::api::HashAlgorithm;
use upload_canister::blob::extents::HEADER_BYTES;
use upload_canister::blob::{BlobRecord, Extents, Place};
use upload_canister::stable::memory_ids::numbers as ids;

use super::facts::{Facts, mapped_prefix};
use super::finding::FindingKind;
use super::report::DeepReport;
use super::scan::Scan;
use crate::snapshot::PAGE_BYTES;

/// Number of bytes of an extent that are read at once.
const BLOCK_BYTES: u64 = 1 << 20;

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

/// A blob in the chunk map while the chunks of all blobs are being read.
struct PartlyHashed {
    hasher: Hasher,
    /// Bytes of the blob that have not been hashed yet.
    unhashed: u64,
}

/// Hashes every blob, and adds a finding for each whose bytes do not have the committed digest. `progress` gets the
/// number of bytes of each part that was hashed.
pub(super) fn check(facts: &Facts, scan: &mut Scan, progress: &mut dyn FnMut(u64)) -> DeepReport {
    let mut report = DeepReport::default();
    // The id of each blob, the memory id of its table, and the digest of its bytes.
    let mut hashed: Vec<(u64, u8, [u8; 32])> = Vec::new();
    // Several blobs may have the same key prefix. The chunks under a prefix are read in the order of their numbers.
    let mut blobs_by_prefix: HashMap<[u8; 32], Vec<u64>> = HashMap::new();
    for (id, (table, blob)) in &facts.blobs {
        match &blob.place {
            Place::Chunks(prefix) => blobs_by_prefix.entry(prefix.0).or_default().push(*id),
            Place::Extents(extents) => {
                let digest = hash_extents(scan, extents, blob, progress);
                hashed.push((*id, *table, digest));
            }
        }
    }
    let mut partly_hashed: HashMap<u64, PartlyHashed> = HashMap::new();
    if !blobs_by_prefix.is_empty() {
        scan.for_each_entry(ids::CHUNKS, |(prefix, _): ([u8; 32], u32), entry, _| {
            let Some(blobs) = blobs_by_prefix.get(&prefix) else { return };
            let bytes = entry.value();
            for id in blobs {
                let Some((_, blob)) = facts.blobs.get(id) else { continue };
                let state = partly_hashed.entry(*id).or_insert_with(|| PartlyHashed {
                    hasher: Hasher::new(blob.digest.algorithm),
                    unhashed: blob.size,
                });
                let part = &bytes[..state.unhashed.min(bytes.len() as u64) as usize];
                state.hasher.update(part);
                state.unhashed -= part.len() as u64;
                progress(part.len() as u64);
            }
        });
    }
    // Without any chunk, a blob has the digest of no bytes.
    for (id, (table, blob)) in facts.blobs.iter().filter(|(_, (_, blob))| mapped_prefix(blob).is_some()) {
        let hasher =
            partly_hashed.remove(id).map_or_else(|| Hasher::new(blob.digest.algorithm), |state| state.hasher);
        hashed.push((*id, *table, hasher.finish()));
    }
    for (id, table, digest) in hashed {
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
        scan.findings.add_at_key(FindingKind::BlobDigest, table, id.to_string(), what);
    }
    report
}

/// Returns the digest of the blob's bytes in `extents`, by the algorithm of the blob's own digest.
fn hash_extents(
    scan: &Scan,
    extents: &Extents,
    blob: &BlobRecord,
    progress: &mut dyn FnMut(u64),
) -> [u8; 32] {
    let region = scan.memory(ids::EXTENT_REGION);
    let size = region.size() * PAGE_BYTES;
    let mut hasher = Hasher::new(blob.digest.algorithm);
    let mut unhashed = blob.size;
    let mut buffer = vec![0; BLOCK_BYTES as usize];
    for extent in extents.iter() {
        // The offset of an extent is relative to the payload, which follows the header of the region.
        let (mut at, end) =
            (extent.offset.saturating_add(HEADER_BYTES), extent.end().saturating_add(HEADER_BYTES));
        while at < end && unhashed > 0 {
            let part = &mut buffer[..BLOCK_BYTES.min(end - at).min(unhashed) as usize];
            // Bytes after the end of the memory were never written, and count as zeros.
            let written = size.saturating_sub(at).min(part.len() as u64) as usize;
            let (stored, unwritten) = part.split_at_mut(written);
            if !stored.is_empty() {
                region.read(at, stored);
            }
            unwritten.fill(0);
            hasher.update(part);
            let len = part.len() as u64;
            (at, unhashed) = (at + len, unhashed - len);
            progress(len);
        }
    }
    hasher.finish()
}
