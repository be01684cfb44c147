//! Finish: every byte hashed, in as many messages as that takes, one answer, and the same one again.

use super::*;

#[test]
fn a_file_uploaded_in_any_order_is_the_same_file() {
    on_every_path(|mut world| {
        let file = file(2 * CHUNK + 10);
        let id = world.begin(file.len(), "a");
        for idx in [2, 0, 1] {
            world.put(id, &file, idx).unwrap();
        }
        let result = world.finish(id, &file).unwrap();
        assert_eq!(read_back(&world, &result.blob_id), file);
        assert_eq!(world.checksum(&result), Some(world.digest(&file)));
        let memory = world.storage.capsules.memory(person(OWNER), &result.memory_id).unwrap();
        assert_eq!(memory.asset_metadata, metadata(file.len() as u64));
        let [chunks, bytes] = world.stored(file.len());
        assert_eq!(
            world.live(),
            [0, 0, 0, chunks, bytes],
            "a finished session leaves its bytes, nothing else"
        );
    });
}

#[test]
fn an_empty_file_is_a_file() {
    on_every_path(|mut world| {
        let id = world.begin(0, "a");
        let result = world.finish(id, b"").unwrap();
        assert_eq!((result.size, world.checksum(&result)), (0, Some(world.digest(b""))));
        assert_eq!(read_back(&world, &result.blob_id), b"");
    });
}

#[test]
fn a_lost_reply_to_finish_is_answered_again() {
    on_every_path(|mut world| {
        let file = file(10);
        let id = world.begin(file.len(), "a");
        world.put(id, &file, 0).unwrap();
        let first = world.finish(id, &file).unwrap();
        world.now = world.now.plus_seconds(60);
        assert_eq!(world.finish(id, &file).unwrap(), first);
        let other = world.service().finish(id, &sha256(b"other"), 10).unwrap_err();
        assert!(matches!(other, Error::Conflict { .. }), "{other}");
        let stranger = world.as_person(2).finish(id, &sha256(&file), 10).unwrap_err();
        assert!(matches!(stranger, Error::NotFound { .. }), "{stranger}");
        world.now = world.now.plus_seconds(DEFAULT_SESSION_TTL_SECONDS);
        while !world.service().sweep().unwrap() {}
        assert!(matches!(world.finish(id, &file), Err(Error::NotFound { .. })), "the receipt has run out");
        assert_ne!(world.begin(10, "a"), id, "and the key is free again");
    });
}

#[test]
fn a_finished_session_is_reported_as_finished() {
    on_every_path(|mut world| {
        let file = file(10);
        let id = world.begin(10, "a");
        world.put(id, &file, 0).unwrap();
        world.finish(id, &file).unwrap();
        let finished = Error::conflict("session", id, "is finished");
        assert_eq!(world.put(id, &file, 0), Err(finished.clone()));
        assert_eq!(world.service().abort(id), Err(finished));
    });
}

#[test]
fn a_wrong_hash_costs_nothing_and_can_be_corrected() {
    on_every_path(|mut world| {
        let file = file(CHUNK + 1);
        let id = world.begin(file.len(), "a");
        world.put(id, &file, 1).unwrap();
        let early = world.finish(id, &file).unwrap_err();
        assert!(matches!(early, Error::Incomplete { missing_chunks: 1, .. }), "{early}");
        world.put(id, &file, 0).unwrap();
        for _ in 0..2 {
            let wrong = world.service().finish(id, &sha256(b"wrong"), file.len() as u64).unwrap_err();
            assert_eq!(
                wrong,
                Error::ChecksumMismatch { expected: sha256(b"wrong"), got: world.digest(&file) }
            );
        }
        let short = world.service().finish(id, &ByteBuf::from([1, 2, 3]), file.len() as u64).unwrap_err();
        assert_eq!(short, Error::invalid("sha256", "32 bytes", "3 bytes"));
        let len = world.service().finish(id, &sha256(&file), 5).unwrap_err();
        assert_eq!(len, Error::invalid("total_len", file.len().to_string(), 5));
        assert!(world.finish(id, &file).is_ok());
    });
}

#[test]
fn hashing_beyond_one_message_continues_in_the_next() {
    on_every_path(|mut world| {
        let file = file(2 * CHUNK);
        let id = world.begin(file.len(), "a");
        world.meter = Box::new(Exhausted);
        world.put(id, &file, 1).unwrap();
        world.put(id, &file, 0).unwrap();
        let hashing = world.finish(id, &file).unwrap_err();
        assert_eq!(hashing, Error::Hashing { hashed: CHUNK as u64, total: file.len() as u64 });
        world.meter = Box::new(Unmetered);
        assert!(world.finish(id, &file).is_ok());
    });
}

#[test]
fn hashing_continues_without_its_client() {
    on_every_path(|mut world| {
        let file = file(2 * CHUNK);
        let id = world.begin(file.len(), "a");
        world.meter = Box::new(Exhausted);
        world.put(id, &file, 1).unwrap();
        world.put(id, &file, 0).unwrap();
        assert_eq!(world.service().hash_on(id), Ok(false), "the message has no budget for the second chunk");
        world.meter = Box::new(Unmetered);
        assert_eq!(world.service().hash_on(id), Ok(true));
        assert_eq!(world.storage.payloads.get(&id).unwrap().unwrap().next_chunk, 2);
        assert_eq!(world.service().hash_on(id + 1), Ok(true), "a session that is gone needs no hash");
        assert!(world.finish(id, &file).is_ok());
    });
}

#[test]
fn out_of_order_chunks_are_hashed_as_soon_as_possible() {
    on_every_path(|mut world| {
        let file = file(4 * CHUNK + 7);
        let id = world.begin(file.len(), "a");
        for (idx, hashed) in [(4, 0), (2, 0), (0, 1), (1, 3), (3, 5)] {
            world.put(id, &file, idx).unwrap();
            let payload = world.storage.payloads.get(&id).unwrap().unwrap_or_default();
            assert_eq!(payload.next_chunk, hashed, "after chunk {idx}");
        }
        assert!(world.finish(id, &file).is_ok());
    });
}

/// Returns the number of bytes of stable memory that differ before and after.
fn bytes_changed_by(world: &mut TestCanister, act: impl FnOnce(&mut TestCanister)) -> usize {
    let before = world.raw.borrow().clone();
    act(world);
    let after = world.raw.borrow();
    let grown = after.len() - before.len();
    before.iter().zip(after.iter()).filter(|(before, after)| before != after).count() + grown
}

#[test]
fn a_commit_writes_as_little_in_a_large_capsule_as_in_a_small() {
    on_every_path(|mut world| {
        let config = AdminConfig { max_sessions_per_caller: 10_000, ..world.storage.config().unwrap() };
        world.storage.settings.set(&Config::checked(config).unwrap());
        let fill = |world: &mut TestCanister, memories: std::ops::Range<u64>| {
            for n in memories {
                let id = world.begin(0, &n.to_string());
                world.finish(id, b"").unwrap();
            }
        };
        let commit = |world: &mut TestCanister, idem: &str| {
            let id = world.begin(0, idem);
            bytes_changed_by(world, |world| drop(world.finish(id, b"").unwrap()))
        };
        fill(&mut world, 0..10);
        let small = commit(&mut world, "small");
        fill(&mut world, 10..2_000);
        let large = commit(&mut world, "large");
        assert_eq!(world.storage.capsules.memory_total(), 2_002);
        // A record of a memory has some hundreds of bytes; two thousand of them have hundreds of thousands.
        assert!(large < small + 8 * 1024, "{large} bytes changed in a large capsule, {small} in a small one");
    });
}
