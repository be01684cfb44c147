//! Bad chunks: found by their digests, and replaced after a finish has failed on the checksum.

use std::cell::Cell;

use super::*;
use crate::api::ChunkDigests;

/// The meter of a message that has hashed one chunk when it reaches its instruction limit: 0 at the first reading, and
/// the limit at every later one. The cell says whether it was read.
struct OneChunk(Cell<bool>);

impl Meter for OneChunk {
    fn used(&self) -> u64 {
        if self.0.replace(true) { u64::MAX } else { 0 }
    }
}

/// Begins an upload and puts all chunks, the `bad` ones with other bytes. Returns the session and the good file.
fn upload_with_bad_chunks(canister: &mut TestCanister, bad: &[usize]) -> (u64, Vec<u8>) {
    let good = file(3 * CHUNK + 7);
    let mut sent = good.clone();
    for idx in bad {
        sent[idx * CHUNK] ^= 1;
    }
    let id = canister.begin(good.len(), "a");
    for idx in [2, 0, 3, 1] {
        canister.put(id, &sent, idx).unwrap();
    }
    (id, good)
}

/// Returns the stored chunks whose digests differ from those of the file's chunks, read in pages of `limit` digests.
fn differing_chunks(canister: &mut TestCanister, id: u64, file: &[u8], limit: usize) -> Vec<u32> {
    let (mut found, mut from) = (Vec::new(), 0);
    loop {
        let ChunkDigests { digests, next } = canister.service().chunk_digests(id, from, limit).unwrap();
        assert!(!digests.is_empty() && digests.len() <= limit);
        let differs =
            |idx: u32, digest: &ByteBuf| *digest != sha256(file.chunks(CHUNK).nth(idx as usize).unwrap());
        found.extend(digests.iter().filter(|one| differs(one.idx, &one.sha256)).map(|one| one.idx));
        let Some(next) = next else { return found };
        assert!(next > from, "the next page starts later");
        from = next;
    }
}

#[test]
fn a_bad_chunk_is_found_and_replaced_after_a_failed_finish() {
    for bad in [&[0][..], &[1], &[3], &[0, 2, 3]] {
        on_every_path(|mut canister| {
            let (id, file) = upload_with_bad_chunks(&mut canister, bad);
            let early = canister.put(id, &file, bad[0]).unwrap_err();
            assert!(
                matches!(early, Error::Conflict { .. }),
                "no chunk is replaced before a finish has failed: {early}"
            );
            let failed = canister.finish(id, &file).unwrap_err();
            assert!(matches!(failed, Error::ChecksumMismatch { .. }), "{failed}");

            let found = differing_chunks(&mut canister, id, &file, 3);
            assert_eq!(found, bad.iter().map(|idx| *idx as u32).collect::<Vec<_>>());
            for idx in bad {
                for _ in 0..2 {
                    canister.put(id, &file, *idx).unwrap();
                }
            }
            assert_eq!(differing_chunks(&mut canister, id, &file, 100), Vec::<u32>::new());
            let finished = canister.finish(id, &file).unwrap();
            assert_eq!(read_back(&canister, &finished.blob_id), file);
            assert_eq!(canister.checksum(&finished), Some(canister.digest(&file)));
            let [chunks, bytes] = canister.committed_size(file.len());
            assert_eq!(canister.live_counts(), [0, 0, 0, chunks, bytes], "only the committed bytes are left");
        });
    }
}

#[test]
fn replacing_survives_upgrades_and_short_messages() {
    on_every_path(|mut canister| {
        let (id, file) = upload_with_bad_chunks(&mut canister, &[1]);
        canister.finish(id, &file).unwrap_err();
        canister.upgrade();
        canister.put(id, &file, 1).unwrap();
        canister.upgrade();
        canister.meter = Box::new(OneChunk(Cell::new(false)));
        let hashing = canister.finish(id, &file).unwrap_err();
        assert_eq!(hashing, Error::Hashing { hashed: CHUNK as u64, total: file.len() as u64 });
        canister.upgrade();
        // Chunk 2 is not hashed yet, so the intermediate digest stays valid.
        canister.service().put_chunk(id, 2, &mut &vec![5; CHUNK][..], None).unwrap();
        assert_eq!(canister.storage.payload_of(crate::session::SessionId(id)).unwrap().next_chunk, 1);
        canister.put(id, &file, 2).unwrap();
        canister.meter = Box::new(Unmetered);
        assert!(canister.finish(id, &file).is_ok());
    });
}

#[test]
fn replacing_a_chunk_keeps_every_other_rule_of_put() {
    on_every_path(|mut canister| {
        let (id, file) = upload_with_bad_chunks(&mut canister, &[1]);
        canister.finish(id, &file).unwrap_err();
        let before = canister.service().status(id).unwrap();
        canister.now = canister.now.plus_seconds(10);
        canister.put(id, &file, 0).unwrap();
        assert_eq!(canister.service().status(id).unwrap(), before, "the same bytes again change nothing");
        let good = &file[CHUNK..2 * CHUNK];
        let wrong = canister.service().put_chunk(id, 1, &mut { good }, Some(sha256(b"x"))).unwrap_err();
        assert!(matches!(wrong, Error::ChecksumMismatch { .. }), "{wrong}");
        let short = canister.service().put_chunk(id, 1, &mut &good[1..], None).unwrap_err();
        assert!(matches!(short, Error::InvalidArgument { .. }), "{short}");
        let stranger = canister.as_person(2).put_chunk(id, 1, &mut { good }, None).unwrap_err();
        assert_eq!(stranger, Error::not_found("session", id));
        assert_eq!(differing_chunks(&mut canister, id, &file, 100), [1], "no chunk was replaced");
        canister.put(id, &file, 1).unwrap();
        let status = canister.service().status(id).unwrap();
        assert_eq!(status.last_seen, canister.now.as_nanos(), "other bytes count as activity");
        assert_eq!((status.bytes_received, status.received), (before.bytes_received, before.received));
        assert_eq!(canister.storage.promises.total(), 0);
    });
}

#[test]
fn digests_of_chunks_are_for_the_owner_and_skip_missing_ones() {
    on_every_path(|mut canister| {
        let file = file(3 * CHUNK);
        let id = canister.begin(file.len(), "a");
        assert_eq!(
            canister.service().chunk_digests(id, 0, 9).unwrap(),
            ChunkDigests { digests: vec![], next: None }
        );
        canister.put(id, &file, 2).unwrap();
        canister.put(id, &file, 0).unwrap();
        let idxs = |page: ChunkDigests| page.digests.iter().map(|one| one.idx).collect::<Vec<_>>();
        assert_eq!(idxs(canister.service().chunk_digests(id, 0, 9).unwrap()), [0, 2]);
        assert_eq!(idxs(canister.service().chunk_digests(id, 1, 9).unwrap()), [2]);
        assert_eq!(idxs(canister.service().chunk_digests(id, u32::MAX, 9).unwrap()), Vec::<u32>::new());
        let stranger = canister.as_person(2).chunk_digests(id, 0, 9).unwrap_err();
        assert_eq!(stranger, Error::not_found("session", id));
        // A message at its limit still returns one digest, so that paging makes progress.
        canister.meter = Box::new(Exhausted);
        let page = canister.service().chunk_digests(id, 0, 9).unwrap();
        assert_eq!((page.next, idxs(page)), (Some(2), vec![0]));
    });
}

/// The SHA-256 in the metadata must not contradict the SHA-256 given to finish or with a whole file; with BLAKE3,
/// neither call gives one.
#[test]
fn contradicting_digests_of_one_file_are_refused() {
    on_every_path(|mut canister| {
        let file = file(10);
        let mut claimed = metadata(10);
        if let AssetMetadata::Image(image) = &mut claimed {
            image.base.sha256 = Some(sha256(b"something else"));
        }
        let (capsule, hash) = (canister.capsule.clone(), canister.hash);
        let id = canister.service().begin(capsule, claimed.clone(), 1, "a".into(), hash).unwrap();
        canister.put(id, &file, 0).unwrap();
        let finished = canister.finish(id, &file);
        let whole = SmallFile { asset_metadata: claimed, ..small_file(&canister, &file, "b") };
        let whole = canister.service().put_whole(whole);
        if canister.hash == HashAlgorithm::Blake3 {
            assert!(finished.is_ok() && whole.is_ok(), "a BLAKE3 digest does not contradict a SHA-256");
            return;
        }
        let [one, two] = [sha256(b"something else"), sha256(&file)].map(hex::encode);
        for refused in [finished, whole] {
            let refused = refused.unwrap_err().to_string();
            assert!(refused.contains(&one) && refused.contains(&two), "{refused}");
        }
        let other = canister.service().finish(id, &sha256(b"something else"), 10).unwrap_err();
        assert!(matches!(other, Error::ChecksumMismatch { .. }), "{other}");
        canister.service().abort(id).unwrap();
        assert_eq!(canister.live_counts(), [0; 5], "neither upload is stored");

        let mut right = metadata(10);
        if let AssetMetadata::Image(image) = &mut right {
            image.base.sha256 = Some(sha256(&file));
        }
        let whole = SmallFile { asset_metadata: right, ..small_file(&canister, &file, "c") };
        assert!(canister.service().put_whole(whole).is_ok());
    });
}
