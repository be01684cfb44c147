//! Expiry in slices: a slice is what one call of the sweep does. Despite damaged entries and used-up budgets, exactly
//! the sessions that have expired are ended.

use super::*;
use crate::session::SessionId;
use crate::upload::RawRecord;

/// Runs the sweep `times` times, and returns its errors.
fn sweep(canister: &mut TestCanister, times: usize) -> Vec<Error> {
    (0..times).filter_map(|_| canister.service().sweep().err()).collect()
}

/// Damages the record of a session, in whichever layout it is.
pub fn damage_session(canister: &mut TestCanister, id: u64) {
    let tables = &mut canister.storage.sessions;
    if tables.legacy.contains(&id) {
        tables.legacy.insert(id, &RawRecord(b"rubbish".to_vec()));
    } else {
        tables.sessions.insert_raw(id, b"rubbish".to_vec());
    }
}

/// The chunks of [`SWEEP_BATCH`] sessions may be too many to release in one message, so a slice may end fewer sessions.
#[test]
fn a_slice_ends_when_its_instructions_are_used_up() {
    on_every_path(|mut canister| {
        for idem in ["a", "b", "c"] {
            let id = canister.begin(1, idem);
            canister.put(id, &file(1), 0).unwrap();
        }
        canister.now = canister.now.plus_seconds(DEFAULT_SESSION_TTL_SECONDS);
        canister.meter = Box::new(Exhausted);
        for left in [2, 1, 0] {
            assert_eq!(canister.service().sweep(), Ok(false));
            assert_eq!(canister.storage.index.len(), left);
        }
        while !canister.service().sweep().unwrap() {}
        assert_eq!(canister.live_counts(), [0; 5]);
    });
}

#[test]
fn a_slice_continues_while_it_is_within_its_budget() {
    on_every_path(|mut canister| {
        for idem in ["a", "b", "c"] {
            canister.begin(1, idem);
        }
        canister.now = canister.now.plus_seconds(DEFAULT_SESSION_TTL_SECONDS);
        canister.meter = Box::new(Used(SWEEP_INSTRUCTIONS));
        assert_eq!(canister.service().sweep(), Ok(true));
        assert_eq!(canister.live_counts(), [0; 5]);
    });
}

#[test]
fn a_wrong_index_entry_ends_no_session() {
    on_every_path(|mut canister| {
        let id = canister.begin(1, "a");
        canister.now = START.plus_seconds(DEFAULT_SESSION_TTL_SECONDS - 1);
        canister.put(id, &file(1), 0).unwrap();
        // Adds a second, wrong entry, according to which the session has been idle since it began.
        canister.storage.index.move_activity(SessionId(id), Time::default(), START);
        canister.now = START.plus_seconds(DEFAULT_SESSION_TTL_SECONDS);
        assert_eq!(sweep(&mut canister, 3), []);
        assert_eq!(canister.service().status(id).unwrap().bytes_received, 1);
        assert_eq!(canister.storage.index.len(), 1, "the wrong entry is gone");
        canister.now = canister.now.plus_seconds(DEFAULT_SESSION_TTL_SECONDS);
        assert_eq!(sweep(&mut canister, 3), []);
        assert_eq!(
            (canister.storage.index.len(), canister.live_counts()),
            (0, [0; 5]),
            "the right entry has expired"
        );
    });
}

#[test]
fn dangling_entries_do_not_stop_the_others() {
    on_every_path(|mut canister| {
        for n in 0..=SWEEP_BATCH as u64 {
            // Index entries without a session, older than the session.
            canister.storage.index.insert_without_key(SessionId(1_000 + n), person(3), START);
        }
        canister.now = START.plus_seconds(1);
        canister.begin(1, "a");
        canister.now = canister.now.plus_seconds(DEFAULT_SESSION_TTL_SECONDS);
        assert_eq!(sweep(&mut canister, 3), []);
        assert_eq!(canister.service().sweep(), Ok(true));
        assert_eq!((canister.storage.index.len(), canister.live_counts()), (0, [0; 5]));
    });
}

#[test]
fn records_that_do_not_decode_do_not_stop_the_others() {
    on_every_path(|mut canister| {
        let damaged = SWEEP_BATCH as u64 + 1;
        for n in 0..damaged {
            let id = canister.begin(1, &n.to_string());
            damage_session(&mut canister, id);
        }
        let finished = canister.begin(0, "finished");
        canister.finish(finished, b"").unwrap();
        canister.now = START.plus_seconds(1);
        let good = canister.begin(1, "good");
        canister.now = canister.now.plus_seconds(DEFAULT_SESSION_TTL_SECONDS);
        let errors = sweep(&mut canister, 3);
        assert!(errors[0].to_string().contains("session"), "the error is about a session: {errors:?}");
        assert!(
            !canister.storage.index.contains(SessionId(good), person(OWNER)),
            "the good session has expired"
        );
        assert_eq!(
            canister.storage.receipts.len(),
            1,
            "the old receipt has expired: only that of the good session is left"
        );
        assert_eq!(canister.storage.index.len(), damaged, "damaged sessions stay in the index");
        assert_eq!(
            canister.service().sweep(),
            Ok(true),
            "damaged sessions are not checked again immediately"
        );
    });
}

#[cfg(feature = "direct")]
#[test]
fn receipts_that_do_not_decode_do_not_stop_the_others() {
    let mut canister = TestCanister::direct();
    let ids: Vec<u64> = (0..=SWEEP_BATCH).map(|n| canister.begin(0, &n.to_string())).collect();
    ids.iter().for_each(|id| drop(canister.finish(*id, b"").unwrap()));
    let memories = crate::stable::Memories::init(canister.raw.clone());
    let mut receipts: crate::stable::Table<u64, RawRecord> =
        crate::stable::Table::open(&memories, crate::stable::memory_ids::RECEIPTS);
    receipts.insert(ids[0], &RawRecord(b"rubbish".to_vec()));
    canister.now = canister.now.plus_seconds(DEFAULT_SESSION_TTL_SECONDS);
    let errors = sweep(&mut canister, 3);
    assert!(errors.len() == 1 && errors[0].to_string().contains("receipt"), "{errors:?}");
    assert!(canister.storage.receipts.is_empty());
}

#[test]
fn the_timer_continues_after_a_full_slice() {
    on_every_path(|mut canister| {
        let begun: Vec<u64> = (0..=SWEEP_BATCH).map(|n| canister.begin(0, &n.to_string())).collect();
        let sweeps =
            |canister: &mut TestCanister| (1..).find(|_| canister.service().sweep().unwrap()).unwrap();
        canister.now = canister.now.plus_seconds(DEFAULT_SESSION_TTL_SECONDS);
        assert_eq!((sweeps(&mut canister), canister.storage.index.len()), (2, 0));
        assert_eq!(canister.storage.receipts.len(), begun.len() as u64);
        canister.now = canister.now.plus_seconds(DEFAULT_SESSION_TTL_SECONDS);
        assert_eq!((sweeps(&mut canister), canister.storage.receipts.len()), (2, 0));
    });
}

/// The sweep does not look ahead: after a full slice it reports that there is more, even if nothing is left.
#[test]
fn a_full_slice_of_receipts_says_that_there_is_more() {
    on_every_path(|mut canister| {
        for n in 0..SWEEP_BATCH {
            let id = canister.begin(0, &n.to_string());
            canister.service().abort(id).unwrap();
        }
        canister.now = canister.now.plus_seconds(2 * DEFAULT_SESSION_TTL_SECONDS);
        assert_eq!(canister.service().sweep(), Ok(false));
        assert_eq!((canister.service().sweep(), canister.storage.receipts.len()), (Ok(true), 0));
    });
}

#[test]
fn an_expiry_entry_without_a_receipt_counts_in_a_full_slice() {
    on_every_path(|mut canister| {
        let begun: Vec<u64> = (0..=SWEEP_BATCH).map(|n| canister.begin(0, &n.to_string())).collect();
        begun.iter().for_each(|id| canister.service().abort(*id).unwrap());
        // The first receipt gets a second entry, which expires earlier. With that entry, the sweep drops the receipt,
        // so the first receipt's original entry is left without one.
        let first = SessionId(begun[0]);
        let mut receipt = canister.storage.receipts.get(first).unwrap().unwrap();
        receipt.expires_at -= 1;
        canister.storage.receipts.insert(first, &receipt);
        canister.now = canister.now.plus_seconds(2 * DEFAULT_SESSION_TTL_SECONDS);
        assert_eq!((canister.service().sweep(), canister.storage.receipts.len()), (Ok(false), 2));
        assert_eq!((canister.service().sweep(), canister.storage.receipts.len()), (Ok(true), 0));
    });
}

#[test]
fn a_key_is_forgotten_with_its_receipt() {
    on_every_path(|mut canister| {
        let key = IdemKey::of(&canister.capsule, &person(OWNER), "a");
        let id = canister.begin(0, "a");
        canister.finish(id, b"").unwrap();
        assert_eq!(canister.storage.index.find(key), Ok(Some(SessionId(id))));
        canister.now = canister.now.plus_seconds(2 * DEFAULT_SESSION_TTL_SECONDS);
        while !canister.service().sweep().unwrap() {}
        assert_eq!(canister.storage.index.find(key), Ok(None));
    });
}

/// A sweep whose instructions are used up ends no session that is too old but in use.
#[test]
fn a_message_at_its_limit_ends_no_session_for_its_age() {
    on_every_path(|mut canister| {
        let ttl = DEFAULT_SESSION_TTL_SECONDS;
        let id = canister.begin(2, "a");
        let age = canister.storage.config().unwrap().max_session_age_seconds.unwrap();
        // According to the index, the session is not idle, so only its age can end it.
        canister.storage.index.move_activity(SessionId(id), canister.now, canister.now.plus_seconds(age));
        canister.now = canister.now.plus_seconds(age.max(ttl));
        canister.meter = Box::new(Exhausted);
        canister.service().sweep().unwrap();
        let lives = |canister: &TestCanister| canister.live_counts()[..2].iter().any(|records| *records > 0);
        assert!(lives(&canister));
        canister.meter = Box::new(Used(SWEEP_INSTRUCTIONS));
        canister.service().sweep().unwrap();
        assert!(!lives(&canister));
    });
}

/// The first public release may have recorded the beginning of a session in another unit: such a time counts as
/// unknown.
#[test]
fn a_session_of_unknown_beginning_is_as_old_as_its_activity() {
    on_every_path(|mut canister| {
        let id = SessionId(canister.begin(2, "a"));
        let mut upload = canister.path.load(&mut canister.storage, id, None, canister.now).unwrap().unwrap();
        let last_seen = upload.session.session_meta.last_seen;
        for created_at in [0, 5, START.as_nanos() / 1_000_000] {
            upload.meta.created_at = created_at;
            assert_eq!(upload.begun_at(), last_seen);
        }
        upload.meta.created_at = START.as_nanos() - 1;
        assert_eq!(upload.begun_at().as_nanos(), START.as_nanos() - 1);
    });
}

#[test]
fn the_timer_continues_while_released_chunks_are_left() {
    let mut canister = canisters().remove(0);
    let prefix = crate::blob::ChunkPrefix([1; 32]);
    let at_once = crate::blob::RELEASE_AT_ONCE as u32;
    (0..=2 * at_once).for_each(|idx| canister.storage.blobs.write_chunk(prefix, idx, b"chunk"));
    // The chunks in use are so many that the map is not emptied in one step.
    let in_use = at_once + 1;
    (0..in_use).for_each(|idx| {
        canister.storage.blobs.write_chunk(crate::blob::ChunkPrefix([2; 32]), idx, b"in use");
    });
    canister.storage.blobs.release(prefix);
    let sweep_and_count = |canister: &mut TestCanister| {
        let is_done = canister.service().sweep().unwrap();
        (is_done, canister.storage.blobs.chunk_total() - u64::from(in_use))
    };
    assert_eq!(
        sweep_and_count(&mut canister),
        (false, u64::from(at_once) + 1),
        "after the first message, which begins a survey"
    );
    assert_eq!([sweep_and_count(&mut canister), sweep_and_count(&mut canister)], [(false, 1), (true, 0)]);
}

/// A message that ends sessions instead of emptying the chunk map must not count as a trapped attempt to empty it.
#[test]
fn sessions_that_end_first_do_not_make_a_compaction_fail() {
    let mut canister = canisters().remove(0);
    let [released, in_use] = [1, 2].map(|n| crate::blob::ChunkPrefix([n; 32]));
    (0..40).for_each(|idx| canister.storage.blobs.write_chunk(released, idx, b"chunk"));
    canister.storage.blobs.write_chunk(in_use, 0, b"in use");
    canister.storage.blobs.release_copied(released);
    assert_eq!((canister.service().sweep(), canister.storage.blobs.chunk_total()), (Ok(false), 41));
    for n in 0..3 {
        canister.begin(1, &n.to_string());
    }
    canister.now = canister.now.plus_seconds(DEFAULT_SESSION_TTL_SECONDS);
    canister.meter = Box::new(Used(SWEEP_INSTRUCTIONS + 1));
    for left in [2, 1, 0] {
        canister.storage.blobs.watch_removals();
        assert_eq!((canister.service().sweep(), canister.storage.index.len()), (Ok(false), left));
    }
    canister.meter = Box::new(Unmetered);
    assert_eq!((canister.service().sweep(), canister.storage.blobs.chunk_total()), (Ok(false), 41));
    assert_eq!((canister.service().sweep(), canister.storage.blobs.chunk_total()), (Ok(true), 1));
}
