//! The frozen record types decode the records that `upload_model::public_release` generates, and the golden ones.

use candid::Principal;
use serde_bytes::ByteBuf;
use upload_model::public_release::{self as model, CHUNK_SIZE, PublicRelease};

use super::*;
use crate::blob::Sha256Blob;
use crate::stable::{Memories, RawMemory, Record as _, memory_ids};
use ic_stable_structures::StableBTreeMap;

const NOW: u64 = 1_759_000_000_000_000_000;

fn owner() -> Principal {
    Principal::self_authenticating([1])
}

/// Returns a generated release with one capsule and one upload, and the id of the capsule.
fn release() -> (PublicRelease, String) {
    let mut release = PublicRelease::new(1);
    let capsule = release.create_capsule(owner(), NOW);
    release.upload(&capsule, 1, &vec![7; CHUNK_SIZE + 5], NOW + 1);
    (release, capsule)
}

/// Returns the stored bytes of the generated release's only capsule and only blob.
fn stored_records() -> [Vec<u8>; 2] {
    let (release, capsule) = release();
    let raw = RawMemory::new(std::cell::RefCell::new(release.stable_memory()));
    let memories = Memories::init(raw);
    let capsules = StableBTreeMap::<String, Vec<u8>, _>::init(memories.get(memory_ids::CAPSULES));
    let blobs = StableBTreeMap::<u64, Vec<u8>, _>::init(memories.get(memory_ids::BLOB_META));
    [capsules.get(&capsule).unwrap(), blobs.get(&model::blob_of(1)).unwrap()]
}

/// A capsule and a blob in the format of the first public release, written once by `upload_model::public_release` (not
/// taken from a real canister). Never replace these files.
const GOLDEN: [&[u8]; 2] = [include_bytes!("golden/capsule.bin"), include_bytes!("golden/blob.bin")];

#[test]
fn the_golden_records_are_those_of_the_generator_and_decode() {
    let stored_records = stored_records();
    for (stored, golden) in stored_records.iter().zip(GOLDEN) {
        assert!(stored == golden, "the generator writes {}", hex::encode(stored));
    }
    let [capsule, blob] = GOLDEN;
    let blob: PublicBlob = decode(blob).unwrap();
    assert_eq!((blob.size, blob.created_at), (CHUNK_SIZE as u64 + 5, NOW + 1));
    assert_eq!(blob.pmid_hash, ByteBuf::from(session_prefix(1)));
    let capsule: PublicCapsule = decode(capsule).unwrap();
    assert_eq!(capsule.owners[0].0.principal(), Some(owner()));
    let (id, memory) = &capsule.memories[0];
    assert_eq!((id, memory.blob_internal_assets.len(), capsule.galleries.len()), (&memory.id, 1, 1));
    let reference = &memory.blob_internal_assets[0].blob_ref;
    assert_eq!(reference.locator, format!("blob_{}", model::blob_of(1)));
    assert_eq!(reference.hash.as_ref(), Some(&blob.checksum));
}

/// The fields of the two blob records are the same, but the first public release encodes version and record as one
/// Candid argument, a tuple; this canister encodes them as two arguments.
#[test]
fn neither_release_reads_the_blob_records_of_the_other() {
    let [_, golden_blob] = GOLDEN;
    let refused = Sha256Blob::decode(golden_blob).unwrap_err();
    assert!(!refused.is_empty());
    let ours = Sha256Blob {
        size: 3,
        sha256: [7; 32],
        created_at: crate::session::Time::from_nanos(NOW),
        prefix: crate::blob::ChunkPrefix([8; 32]),
    };
    decode::<PublicBlob>(&ours.encode()).unwrap_err();
    assert_eq!(Sha256Blob::decode(&ours.encode()), Ok(ours));
}

#[test]
fn another_version_and_every_truncation_are_errors() {
    let [capsule, blob] = GOLDEN;
    for cut in 0..blob.len() {
        decode::<PublicBlob>(&blob[..cut]).unwrap_err();
    }
    for cut in (0..capsule.len()).step_by(7) {
        decode::<PublicCapsule>(&capsule[..cut]).unwrap_err();
    }
    let later = candid::encode_one((2_u16, decode::<PublicBlob>(blob).unwrap())).unwrap();
    assert_eq!(decode::<PublicBlob>(&later).unwrap_err(), "record version 2, expected 1");
}

#[test]
fn session_prefixes_are_those_of_the_generator() {
    for session in [1, 2, 500] {
        assert_eq!(session_prefix(session), model::chunk_prefix_of(session));
    }
}
