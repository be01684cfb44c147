//! Finish: hashes every byte, in several messages if necessary, and gives a repeated call the same result.

use super::*;

#[test]
fn a_file_uploaded_in_any_order_is_the_same_file() {
    on_every_path(|mut canister| {
        let file = file(2 * CHUNK + 10);
        let id = canister.begin(file.len(), "a");
        for idx in [2, 0, 1] {
            canister.put(id, &file, idx).unwrap();
        }
        let result = canister.finish(id, &file).unwrap();
        assert_eq!(read_back(&canister, &result.blob_id), file);
        assert_eq!(canister.checksum(&result), Some(canister.digest(&file)));
        let memory = canister.storage.capsules.memory(person(OWNER), &result.memory_id).unwrap();
        assert_eq!(memory.asset_metadata, metadata(file.len() as u64));
        let [chunks, bytes] = canister.committed_size(file.len());
        assert_eq!(
            canister.live_counts(),
            [0, 0, 0, chunks, bytes],
            "a finished session leaves its bytes, nothing else"
        );
    });
}

#[test]
fn an_empty_file_can_be_finished() {
    on_every_path(|mut canister| {
        let id = canister.begin(0, "a");
        let result = canister.finish(id, b"").unwrap();
        assert_eq!((result.size, canister.checksum(&result)), (0, Some(canister.digest(b""))));
        assert_eq!(read_back(&canister, &result.blob_id), b"");
    });
}

#[test]
fn a_finish_whose_reply_was_lost_is_answered_again() {
    on_every_path(|mut canister| {
        let file = file(10);
        let id = canister.send(&file, "a");
        let first = canister.finish(id, &file).unwrap();
        canister.now = canister.now.plus_seconds(60);
        assert_eq!(canister.finish(id, &file).unwrap(), first);
        let other = canister.service().finish(id, &sha256(b"other"), 10).unwrap_err();
        assert!(matches!(other, Error::Conflict { .. }), "{other}");
        let stranger = canister.as_person(2).finish(id, &sha256(&file), 10).unwrap_err();
        assert!(matches!(stranger, Error::NotFound { .. }), "{stranger}");
        canister.now = canister.now.plus_seconds(DEFAULT_SESSION_TTL_SECONDS);
        while !canister.service().sweep().unwrap() {}
        assert!(matches!(canister.finish(id, &file), Err(Error::NotFound { .. })), "the receipt has expired");
        assert_ne!(canister.begin(10, "a"), id, "the key is free again");
    });
}

#[test]
fn a_finished_session_is_reported_as_finished() {
    on_every_path(|mut canister| {
        let file = file(10);
        let id = canister.send(&file, "a");
        canister.finish(id, &file).unwrap();
        let finished = Error::conflict("session", id, "is finished");
        assert_eq!(canister.put(id, &file, 0), Err(finished.clone()));
        assert_eq!(canister.service().abort(id), Err(finished));
    });
}

#[test]
fn a_finish_with_wrong_arguments_can_be_corrected() {
    on_every_path(|mut canister| {
        let file = file(CHUNK + 1);
        let id = canister.begin(file.len(), "a");
        canister.put(id, &file, 1).unwrap();
        let early = canister.finish(id, &file).unwrap_err();
        assert!(matches!(early, Error::Incomplete { missing_chunks: 1, .. }), "{early}");
        canister.put(id, &file, 0).unwrap();
        for _ in 0..2 {
            let wrong = canister.service().finish(id, &sha256(b"wrong"), file.len() as u64).unwrap_err();
            assert_eq!(
                wrong,
                Error::ChecksumMismatch { expected: sha256(b"wrong"), got: canister.digest(&file) }
            );
        }
        let short = canister.service().finish(id, &ByteBuf::from([1, 2, 3]), file.len() as u64).unwrap_err();
        assert_eq!(short, Error::invalid("digest", "32 bytes", "3 bytes"));
        let len = canister.service().finish(id, &sha256(&file), 5).unwrap_err();
        assert_eq!(len, Error::invalid("total_len", file.len().to_string(), 5));
        assert!(canister.finish(id, &file).is_ok());
    });
}

#[test]
fn hashing_beyond_one_message_continues_in_the_next() {
    on_every_path(|mut canister| {
        let file = file(2 * CHUNK);
        let id = canister.begin(file.len(), "a");
        canister.meter = Box::new(Exhausted);
        canister.put(id, &file, 1).unwrap();
        canister.put(id, &file, 0).unwrap();
        let hashing = canister.finish(id, &file).unwrap_err();
        assert_eq!(hashing, Error::Hashing { hashed: CHUNK as u64, total: file.len() as u64 });
        canister.meter = Box::new(Unmetered);
        assert!(canister.finish(id, &file).is_ok());
    });
}

/// A session of an earlier build has no payload state. A message that cannot hash a single chunk must not store a
/// payload state for it.
#[test]
fn a_finish_that_hashes_nothing_stores_no_payload_state() {
    let mut canister = canisters().remove(0);
    let file = file(CHUNK + 1);
    let id = canister.begin(file.len(), "a");
    (0..2).for_each(|idx| canister.put(id, &file, idx).unwrap());
    canister.storage.payloads.remove(&id);
    canister.meter = Box::new(Exhausted);
    let hashing = canister.finish(id, &file).unwrap_err();
    assert_eq!(hashing, Error::Hashing { hashed: 0, total: file.len() as u64 });
    assert_eq!(canister.storage.payloads.len(), 0);
    canister.meter = Box::new(Unmetered);
    assert!(canister.finish(id, &file).is_ok());
}

#[test]
fn hashing_continues_without_its_client() {
    on_every_path(|mut canister| {
        let file = file(2 * CHUNK);
        let id = canister.begin(file.len(), "a");
        canister.meter = Box::new(Exhausted);
        canister.put(id, &file, 1).unwrap();
        canister.put(id, &file, 0).unwrap();
        assert_eq!(
            canister.service().continue_hashing(id),
            Ok(false),
            "the message has no budget for the second chunk"
        );
        canister.meter = Box::new(Unmetered);
        assert_eq!(canister.service().continue_hashing(id), Ok(true));
        assert_eq!(canister.storage.payloads.get(&id).unwrap().unwrap().next_chunk, 2);
        assert_eq!(
            canister.service().continue_hashing(id + 1),
            Ok(true),
            "a session that does not exist needs no hashing"
        );
        assert!(canister.finish(id, &file).is_ok());
    });
}

#[test]
fn out_of_order_chunks_are_hashed_as_soon_as_possible() {
    on_every_path(|mut canister| {
        let file = file(4 * CHUNK + 7);
        let id = canister.begin(file.len(), "a");
        for (idx, hashed) in [(4, 0), (2, 0), (0, 1), (1, 3), (3, 5)] {
            canister.put(id, &file, idx).unwrap();
            let payload = canister.storage.payloads.get(&id).unwrap().unwrap_or_default();
            assert_eq!(payload.next_chunk, hashed, "after chunk {idx}");
        }
        assert!(canister.finish(id, &file).is_ok());
    });
}

/// Returns how many bytes of stable memory `act` changes or adds.
fn bytes_changed_by(canister: &mut TestCanister, act: impl FnOnce(&mut TestCanister)) -> usize {
    let before = canister.raw.borrow().clone();
    act(canister);
    let after = canister.raw.borrow();
    let grown = after.len() - before.len();
    before.iter().zip(after.iter()).filter(|(before, after)| before != after).count() + grown
}

#[test]
fn a_commit_writes_as_little_in_a_large_capsule_as_in_a_small() {
    on_every_path(|mut canister| {
        let config = AdminConfig { max_sessions_per_caller: 10_000, ..canister.storage.config().unwrap() };
        canister.storage.settings.set(&Config::checked(config).unwrap());
        let fill = |canister: &mut TestCanister, memories: std::ops::Range<u64>| {
            for n in memories {
                let id = canister.begin(0, &n.to_string());
                canister.finish(id, b"").unwrap();
            }
        };
        let commit = |canister: &mut TestCanister, idem: &str| {
            let id = canister.begin(0, idem);
            bytes_changed_by(canister, |canister| drop(canister.finish(id, b"").unwrap()))
        };
        fill(&mut canister, 0..10);
        let small = commit(&mut canister, "small");
        fill(&mut canister, 10..2_000);
        let large = commit(&mut canister, "large");
        assert_eq!(canister.storage.capsules.memory_total(), 2_002);
        // The record of a memory has a few hundred bytes: if a commit wrote the records of all two thousand, it would
        // change hundreds of thousands of bytes.
        assert!(large < small + 8 * 1024, "{large} bytes changed in a large capsule, {small} in a small one");
    });
}

#[test]
fn files_of_a_few_leaves_of_the_hash_tree_are_finished() {
    on_every_path(|mut canister| {
        for len in [0, 1, 1_024, 1_025, 2_048, 2_049, 4_096, 4_097, 8_192] {
            let file = file(len);
            let id = canister.send(&file, &len.to_string());
            let finished = canister.finish(id, &file).unwrap();
            assert_eq!(canister.checksum(&finished), Some(canister.digest(&file)), "{len} bytes");
        }
    });
}
