//! The blob store and its sink.

use super::*;
use crate::api::HashAlgorithm;
use crate::session::{ByteSink, SessionId, SinkError, Time};
use crate::stable::{Memories, RawMemory, Record, StableRoom, Table, memory_ids};

fn store() -> BlobStore {
    let raw = RawMemory::default();
    let memories = Memories::init(raw.clone());
    BlobStore::open(&memories, &StableRoom::of(&memories, raw))
}

fn prefix(n: u64) -> ChunkPrefix {
    ChunkPrefix::of("mem", SessionId(n))
}

fn record(prefix: ChunkPrefix, size: u64) -> BlobRecord {
    let digest = ContentDigest::sha256([7; 32]);
    BlobRecord { size, digest, created_at: Time::from_nanos(5), place: Place::Chunks(prefix) }
}

#[test]
fn the_prefix_is_the_hash_of_memory_id_hash_sign_and_session_id() {
    // The id that the first public release issued: the first eight bytes of SHA-256("#" ‖ 7 as eight bytes).
    let prefix_of_empty_id = ChunkPrefix::of("", SessionId(7));
    assert_eq!(prefix_of_empty_id.blob_id(), BlobId(11_410_754_707_272_541_975));
    assert_ne!(prefix(1), prefix(2));
    assert_ne!(prefix(1), ChunkPrefix::of("mem2", SessionId(1)));
}

#[test]
fn a_locator_names_one_blob_in_one_way() {
    let id = BlobId(42);
    assert_eq!(BlobId::from_locator(&id.to_string()), Some(id));
    for other in ["42", "blob_", "blob_+42", "blob_042", "blob_42 ", "blob_18446744073709551616", ""] {
        assert_eq!(BlobId::from_locator(other), None, "{other:?}");
    }
}

#[test]
fn a_sink_takes_aligned_chunks_once() {
    let mut blobs = store();
    let place = Place::Chunks(prefix(1));
    let mut sink = StableBlobSink::new(&mut blobs, &place, 4);
    sink.write_at(4, b"abcd").unwrap();
    assert_eq!(sink.holds_at(4, b"abcd"), Ok(true));
    assert_eq!(sink.holds_at(4, b"abce"), Ok(false));
    assert_eq!(sink.holds_at(0, b""), Ok(false));
    assert_eq!(sink.write_at(4, b"xxxx"), Err(SinkError::Occupied { offset: 4 }));
    assert_eq!(sink.write_at(2, b"xx"), Err(SinkError::UnalignedOffset { offset: 2, chunk_size: 4 }));
    let oversized = SinkError::OversizedChunk { offset: 0, got: 5, chunk_size: 4 };
    assert_eq!(sink.write_at(0, b"12345"), Err(oversized));
    let far = 4 * (u64::from(u32::MAX) + 1);
    assert_eq!(sink.write_at(far, b"1"), Err(SinkError::OffsetTooLarge { offset: far }));
    assert_eq!(blobs.stored_chunks(prefix(1)).ranges().collect::<Vec<_>>(), [(1, 1)]);
}

/// Commits to the destination that the store chooses.
fn commit(
    blobs: &mut BlobStore,
    id: BlobId,
    record: &BlobRecord,
    memory_id: &str,
    capsule_id: &str,
) -> Result<Destination, BlobError> {
    let to = blobs.destination(id, record.digest, capsule_id)?;
    blobs.commit(to, record, memory_id, capsule_id)?;
    Ok(to)
}

#[test]
fn a_committed_blob_is_not_overwritten_and_bounds_its_reads() {
    let mut blobs = store();
    blobs.write_chunk(prefix(1), 0, b"abc");
    blobs.write_chunk(prefix(1), 1, b"a stale chunk after the end");
    let id = prefix(1).blob_id();
    commit(&mut blobs, id, &record(prefix(1), 3), "mem", "capsule_1").unwrap();
    let again = commit(&mut blobs, id, &record(prefix(2), 9), "mem2", "capsule_2");
    assert_eq!(again, Err(BlobError::AlreadyExists(id)));
    let itself = commit(&mut blobs, id, &record(prefix(1), 3), "mem", "capsule_1");
    assert_eq!(
        itself,
        Err(BlobError::AlreadyExists(id)),
        "the bytes of the blob must not be released as a duplicate"
    );
    let same = commit(&mut blobs, prefix(4).blob_id(), &record(prefix(4), 3), "mem4", "capsule_1");
    assert_eq!(same, Ok(Destination { id, is_new: false }), "the capsule has this content already");
    assert_eq!(blobs.unref(id, "mem4", "capsule_1"), Ok(0), "another memory still refers to the blob");
    assert_eq!(blobs.read_chunk(id, 0), Ok(b"abc".to_vec()));
    assert_eq!(blobs.read_chunk(id, 1), Err(BlobError::NoSuchChunk { blob: id, idx: 1, chunks: 1 }));
    assert_eq!(blobs.capsule_of(id), Ok("capsule_1".into()));
    assert_eq!(blobs.capsule_of(BlobId(1)), Err(BlobError::NotFound(BlobId(1))));
    let other = prefix(3).blob_id();
    commit(&mut blobs, other, &record(prefix(3), 1), "mem3", "capsule_2").unwrap();
    let missing = BlobError::MissingChunk { prefix: prefix(3).0, idx: 0 };
    assert_eq!(
        blobs.read_chunk(other, 0),
        Err(missing),
        "a missing chunk is an error and not a short result"
    );
}

#[test]
fn last_reference_frees_the_blob_and_its_content() {
    let mut blobs = store();
    blobs.write_chunk(prefix(1), 0, b"abc");
    let id = prefix(1).blob_id();
    commit(&mut blobs, id, &record(prefix(1), 3), "mem1", "capsule_1").unwrap();
    blobs.add_ref(id, "mem2", "capsule_1");
    assert_eq!(blobs.unref(id, "mem1", "capsule_1"), Ok(0), "mem2 still refers to the blob");
    assert_eq!(blobs.refs(id).collect::<Vec<_>>(), [Ok(("mem2".into(), "capsule_1".into()))]);
    assert_eq!(blobs.unref(id, "mem2", "capsule_1"), Ok(3));
    assert_eq!(blobs.blob(id), Err(BlobError::NotFound(id)));
    assert_eq!((blobs.has_chunk(prefix(1), 0), blobs.blob_total()), (false, 0));
    assert_eq!(blobs.unref(id, "mem2", "capsule_1"), Err(BlobError::NotFound(id)));
    // The index by content does not refer to the removed blob.
    blobs.write_chunk(prefix(2), 0, b"abc");
    let later = prefix(2).blob_id();
    let again = commit(&mut blobs, later, &record(prefix(2), 3), "mem3", "capsule_1");
    assert_eq!(again, Ok(Destination { id: later, is_new: true }));
}

#[test]
fn content_stored_twice_is_found_while_one_copy_is_left() {
    let mut blobs = store();
    // An adopted capsule may have the same content twice; the index refers to the second copy.
    let [first, second] = [1, 2].map(|n| {
        blobs.write_chunk(prefix(n), 0, b"abc");
        let id = prefix(n).blob_id();
        blobs
            .commit(Destination { id, is_new: true }, &record(prefix(n), 3), &format!("mem{n}"), "capsule_1")
            .unwrap();
        id
    });
    let found = |blobs: &BlobStore| blobs.destination(BlobId(9), record(prefix(3), 3).digest, "capsule_1");
    assert_eq!(found(&blobs), Ok(Destination { id: second, is_new: false }));
    assert_eq!(blobs.unref(first, "mem1", "capsule_1"), Ok(3));
    assert_eq!(
        found(&blobs),
        Ok(Destination { id: second, is_new: false }),
        "the second copy is still found"
    );
    assert_eq!(blobs.read_chunk(second, 0), Ok(b"abc".to_vec()));
    assert_eq!(blobs.unref(second, "mem2", "capsule_1"), Ok(3));
    assert_eq!(found(&blobs), Ok(Destination { id: BlobId(9), is_new: true }));
}

#[test]
fn only_a_blob_with_a_sha256_has_a_sha256_blob_record() {
    let raw = RawMemory::default();
    let memories = Memories::init(raw.clone());
    let mut blobs = BlobStore::open(&memories, &StableRoom::of(&memories, raw));
    let by_sha256 = record(prefix(1), 3);
    let digest = ContentDigest { algorithm: HashAlgorithm::Blake3, bytes: [8; 32] };
    let by_blake3 = BlobRecord { digest, ..record(prefix(2), 3) };
    for (n, blob) in [(1, &by_sha256), (2, &by_blake3)] {
        blobs.write_chunk(prefix(n), 0, b"abc");
        commit(&mut blobs, prefix(n).blob_id(), blob, &format!("mem{n}"), "capsule_1").unwrap();
        assert_eq!(blobs.blob(prefix(n).blob_id()).as_ref(), Ok(blob));
    }
    let sha256_blobs: Table<u64, Sha256Blob> = Table::open(&memories, memory_ids::BLOB_META);
    let BlobRecord { size, created_at, .. } = by_sha256;
    let expected = Sha256Blob { size, sha256: [7; 32], created_at, prefix: prefix(1) };
    assert_eq!(sha256_blobs.get(&prefix(1).blob_id().0), Ok(Some(expected)));
    assert_eq!(sha256_blobs.len(), 1);
}

#[test]
fn only_released_chunks_are_removed_and_in_slices() {
    let mut blobs = store();
    for idx in 0..100 {
        blobs.write_chunk(prefix(1), idx, b"mine");
    }
    blobs.write_chunk(prefix(2), 0, b"somebody else's");
    assert_eq!(blobs.release_total(), 0);
    blobs.release(prefix(1));
    assert_eq!(blobs.release_total(), 1);
    let after_first = blobs.chunk_total();
    assert!((2..101).contains(&after_first), "a first slice immediately, and not everything: {after_first}");
    while !blobs.sweep() {}
    assert_eq!((blobs.chunk_total(), blobs.release_total()), (1, 0));
    assert!(blobs.has_chunk(prefix(2), 0));
    assert!(blobs.sweep(), "no released chunk is left");
}

#[test]
fn a_blob_record_round_trips_and_damage_is_named() {
    let record = record(prefix(1), 1_800_001);
    assert_eq!(BlobRecord::decode(&record.encode()), Ok(record.clone()));
    assert_eq!(record.chunk_count(), 2);
    assert!(BlobRecord::decode(b"").is_err());
}

#[test]
fn a_range_is_exactly_what_was_requested() {
    let mut blobs = store();
    let chunk = CHUNK_SIZE as usize;
    let bytes: Vec<u8> = (0..2 * chunk + 5).map(|i| (i % 253) as u8).collect();
    for (idx, chunk) in bytes.chunks(chunk).enumerate() {
        blobs.write_chunk(prefix(1), idx as u32, chunk);
    }
    let (id, size) = (prefix(1).blob_id(), bytes.len());
    commit(&mut blobs, id, &record(prefix(1), size as u64), "mem", "capsule_1").unwrap();
    for (offset, len) in
        [(0, 0), (0, 1), (chunk - 1, 2), (1, 2 * chunk), (2 * chunk, 5), (size, 0), (0, size)]
    {
        let range = blobs.read_range(id, offset as u64, len as u64).unwrap();
        assert!(range == bytes[offset..offset + len], "{len} bytes at {offset}");
    }
    for (offset, len) in [(0, size as u64 + 1), (size as u64 + 1, 0), (u64::MAX, 1), (1, u64::MAX)] {
        let range = blobs.read_range(id, offset, len);
        assert_eq!(range, Err(BlobError::NoSuchRange { blob: id, offset, len, size: size as u64 }));
    }
}
