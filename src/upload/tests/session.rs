//! Sessions in flight: refused chunks, status, upgrades, and ends without a file.

use super::*;

#[test]
fn a_refused_chunk_does_not_touch_the_hash() {
    on_every_path(|mut canister| {
        let file = file(CHUNK + 1);
        let id = canister.begin(file.len(), "a");
        let stranger = canister.as_person(2).put_chunk(id, 0, &mut &file[..CHUNK], None).unwrap_err();
        assert!(matches!(stranger, Error::NotFound { .. }), "{stranger}");
        let wrong = canister.service().put_chunk(id, 0, &mut &file[..CHUNK], Some(sha256(b"x"))).unwrap_err();
        assert!(matches!(wrong, Error::ChecksumMismatch { .. }), "{wrong}");
        let short = canister.service().put_chunk(id, 0, &mut &b"short"[..], None).unwrap_err();
        assert!(matches!(short, Error::InvalidArgument { .. }), "{short}");
        let own = Some(sha256(&file[..CHUNK]));
        canister.service().put_chunk(id, 0, &mut &file[..CHUNK], own).unwrap();
        canister.put(id, &file, 0).unwrap();
        let other = canister.service().put_chunk(id, 0, &mut &vec![9; CHUNK][..], None).unwrap_err();
        assert!(matches!(other, Error::Conflict { .. }), "{other}");
        canister.put(id, &file, 1).unwrap();
        assert!(canister.finish(id, &file).is_ok());
    });
}

#[test]
fn a_session_survives_an_upgrade_at_any_point() {
    on_every_path(|mut canister| {
        let file = file(3 * CHUNK);
        let id = canister.begin(file.len(), "a");
        for idx in [1, 0, 2] {
            canister.upgrade();
            assert_eq!(canister.begin(file.len(), "a"), id);
            canister.put(id, &file, idx).unwrap();
            canister.upgrade();
            canister.put(id, &file, idx).unwrap();
        }
        canister.upgrade();
        let status = canister.service().status(id).unwrap();
        assert_eq!((status.bytes_received, status.missing.len()), (file.len() as u64, 0));
        assert!(canister.finish(id, &file).is_ok());
        canister.upgrade();
        assert!(canister.finish(id, &file).is_ok(), "the receipt survives an upgrade as well");
        assert_ne!(canister.begin(5, "b"), id, "ids are never issued twice");
    });
}

#[test]
fn status_says_what_is_missing() {
    on_every_path(|mut canister| {
        let file = file(3 * CHUNK);
        let id = canister.begin(file.len(), "a");
        canister.put(id, &file, 1).unwrap();
        let status = canister.service().status(id).unwrap();
        let ranges = |ranges: &[crate::api::ChunkRange]| {
            ranges.iter().map(|range| (range.first, range.last)).collect::<Vec<_>>()
        };
        assert_eq!(ranges(&status.received), [(1, 1)]);
        assert_eq!(ranges(&status.missing), [(0, 0), (2, 2)]);
        assert_eq!(status.next_expected, Some(0));
        assert_eq!(status.path, canister.session_path());
        assert!(!status.provisional_memory_id.is_empty());
        assert!(matches!(canister.as_person(2).status(id), Err(Error::NotFound { .. })));
    });
}

#[test]
fn a_callers_own_sessions_are_listed_in_pages() {
    on_every_path(|mut canister| {
        let ids: Vec<u64> = ["a", "b", "c"].iter().map(|idem| canister.begin(10, idem)).collect();
        let mut page = |after, limit| {
            let page = canister.service().list(after, limit).unwrap();
            page.into_iter().map(|status| status.session).collect::<Vec<_>>()
        };
        assert_eq!(page(None, 2), ids[..2]);
        assert_eq!(page(Some(ids[1]), 2), ids[2..]);
        assert_eq!(canister.as_person(2).list(None, 9).unwrap(), []);
    });
}

/// Expired sessions that the sweep has not ended yet are not listed, and leave no gap in a page.
#[test]
fn a_page_of_sessions_is_full_as_long_as_there_are_more() {
    on_every_path(|mut canister| {
        let expired = ["a", "b"].map(|idem| canister.begin(10, idem));
        canister.now = canister.now.plus_seconds(DEFAULT_SESSION_TTL_SECONDS);
        let alive = ["c", "d", "e"].map(|idem| canister.begin(10, idem));
        let mut pages = Vec::new();
        let mut after = None;
        loop {
            let page = canister.service().list(after, 2).unwrap();
            let Some(last) = page.last() else { break };
            after = Some(last.session);
            pages.push(page.iter().map(|status| status.session).collect::<Vec<_>>());
        }
        assert_eq!(pages, [&alive[..2], &alive[2..]], "the expired sessions {expired:?} are not listed");
    });
}

#[test]
fn revoked_access_is_refused_at_put_and_finish() {
    on_every_path(|mut canister| {
        let (capsule, file) = (canister.capsule.clone(), file(10));
        let set_writers = |canister: &mut TestCanister, writers| {
            let access = CapsuleAccess { owners: vec![person(OWNER)], writers, readers: vec![] };
            canister.storage.capsules.set_access(person(OWNER), &capsule, access).unwrap();
        };
        set_writers(&mut canister, vec![person(2)]);
        let capsule = canister.capsule.clone();
        let id =
            canister.as_person(2).begin(capsule, metadata(10), 1, "a".into(), HashAlgorithm::Sha256).unwrap();
        set_writers(&mut canister, vec![]);
        let put = canister.as_person(2).put_chunk(id, 0, &mut &file[..], None).unwrap_err();
        assert!(matches!(put, Error::Unauthorized { .. }), "{put}");
        set_writers(&mut canister, vec![person(2)]);
        canister.as_person(2).put_chunk(id, 0, &mut &file[..], None).unwrap();
        set_writers(&mut canister, vec![]);
        let finish = canister.as_person(2).finish(id, &sha256(&file), 10).unwrap_err();
        assert!(matches!(finish, Error::Unauthorized { .. }), "{finish}");
        assert_eq!(canister.storage.blobs.blob_total(), 0, "nothing was committed");
        canister.as_person(2).abort(id).unwrap();
    });
}

#[test]
fn abort_and_expiry_release_everything() {
    on_every_path(|mut canister| {
        let file = file(CHUNK + 1);
        let aborted = canister.begin(file.len(), "a");
        let idle = canister.begin(file.len(), "b");
        let active = canister.begin(file.len(), "c");
        for id in [aborted, idle, active] {
            canister.put(id, &file, 0).unwrap();
        }
        let one_alive = canister.live_counts().map(|count| count / 3);
        let stranger = canister.as_person(2).abort(aborted).unwrap_err();
        assert!(matches!(stranger, Error::NotFound { .. }), "{stranger}");
        canister.service().abort(aborted).unwrap();
        canister.service().abort(aborted).unwrap();
        let put = canister.put(aborted, &file, 0).unwrap_err();
        assert!(matches!(put, Error::Conflict { ref detail, .. } if detail == "was aborted"), "{put}");
        canister.now = canister.now.plus_seconds(DEFAULT_SESSION_TTL_SECONDS - 1);
        canister.put(active, &file, 1).unwrap();
        canister.now = canister.now.plus_seconds(1);
        while !canister.service().sweep().unwrap() {}
        let expired = || Error::conflict("session", idle, "has expired; begin the upload again");
        assert_eq!(canister.service().status(idle), Err(expired()));
        assert_eq!(canister.put(idle, &file, 1), Err(expired()));
        assert_eq!(canister.finish(idle, &file), Err(expired()));
        assert_eq!(canister.service().abort(idle), Err(expired()));
        assert_eq!(canister.as_person(2).status(idle), Err(Error::not_found("session", idle)));
        // The active session has its second chunk by now. In extents, `one_alive[3]` is 0: there are no chunks to
        // count.
        let one_chunk_more = one_alive[3] + one_alive[3].min(1);
        assert_eq!(canister.live_counts()[..3], one_alive[..3]);
        assert_eq!(canister.live_counts()[3..], [one_chunk_more, one_alive[4]]);
        assert!(canister.finish(active, &file).is_ok(), "activity keeps a session alive");
        assert_ne!(canister.begin(file.len(), "b"), idle, "the key of an expired session is free");
    });
}

/// The answer depends only on the time, not on whether the sweep has ended the session: a conflict until the receipt
/// expires or would expire, and then not found.
#[test]
fn an_expired_session_is_a_conflict_for_a_day() {
    on_every_path(|mut canister| {
        let ttl = DEFAULT_SESSION_TTL_SECONDS;
        let [first, second] = ["a", "b"].map(|idem| canister.begin(10, idem));
        let expired = |id: u64| Error::conflict("session", id, "has expired; begin the upload again");
        canister.now = START.plus_seconds(ttl);
        assert_eq!(canister.service().status(second), Err(expired(second)), "before the timer has run");
        while !canister.service().sweep().unwrap() {}
        canister.now = START.plus_seconds(2 * ttl - 1);
        assert_eq!(canister.service().status(first), Err(expired(first)));
        canister.now = START.plus_seconds(2 * ttl);
        assert_eq!(canister.service().status(first), Err(Error::not_found("session", first)));
        while !canister.service().sweep().unwrap() {}
        assert!(canister.storage.receipts.is_empty());

        let late = canister.begin(10, "late");
        canister.now = canister.now.plus_seconds(2 * ttl);
        assert_eq!(canister.service().status(late), Err(Error::not_found("session", late)));
        while !canister.service().sweep().unwrap() {}
        assert!(
            canister.storage.receipts.is_empty(),
            "a receipt that would already have expired is not left"
        );
    });
}

#[test]
fn expiry_runs_in_slices_of_bounded_length() {
    on_every_path(|mut canister| {
        let sessions = 2 * SWEEP_BATCH as u64 + 1;
        for n in 0..sessions {
            let id = canister.begin(1, &n.to_string());
            canister.put(id, &file(1), 0).unwrap();
        }
        canister.now = canister.now.plus_seconds(DEFAULT_SESSION_TTL_SECONDS);
        let mut left = vec![sessions];
        while !canister.service().sweep().unwrap() {
            left.push(canister.storage.index.len());
        }
        let slices: Vec<u64> = left.windows(2).map(|pair| pair[0] - pair[1]).collect();
        assert!(slices.len() > 1 && slices.iter().all(|slice| *slice <= SWEEP_BATCH as u64), "{slices:?}");
        assert_eq!((canister.storage.index.len(), canister.live_counts()), (0, [0; 5]));
    });
}

/// A client that aborts an upload and begins it again gets a new session, which accepts chunks that the first one had.
#[test]
fn the_key_of_an_aborted_session_is_free() {
    on_every_path(|mut canister| {
        let file = file(CHUNK + 1);
        let aborted = canister.begin(file.len(), "a");
        canister.put(aborted, &file, 1).unwrap();
        canister.service().abort(aborted).unwrap();
        let again = canister.begin(file.len(), "a");
        assert_ne!(again, aborted);
        assert_eq!(canister.begin(file.len(), "a"), again, "the second session is begun only once");
        canister.service().abort(aborted).unwrap();
        canister.put(again, &file, 0).unwrap();
        canister.now = canister.now.plus_seconds(DEFAULT_SESSION_TTL_SECONDS - 1);
        canister.put(again, &file, 1).unwrap();
        canister.now = canister.now.plus_seconds(1);
        while !canister.service().sweep().unwrap() {}
        assert_eq!(
            canister.begin(file.len(), "a"),
            again,
            "the receipt of the aborted session has expired, and the key is still in use"
        );
        assert!(canister.finish(again, &file).is_ok());

        let ten_bytes = &file[..10];
        let aborted = canister.begin(10, "b");
        canister.service().abort(aborted).unwrap();
        let whole = small_file(&canister, ten_bytes, "b");
        assert!(canister.service().put_whole(whole).is_ok());
    });
}
