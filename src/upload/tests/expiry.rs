//! Expiry in slices, and what must stop it from ending neither too much nor too little.

use super::*;
use crate::session::SessionId;
use crate::upload::RawRecord;

/// Runs turns of the timer; returns their errors.
fn turns(canister: &mut TestCanister, turns: usize) -> Vec<Error> {
    (0..turns).filter_map(|_| canister.service().sweep().err()).collect()
}

/// Makes the record of a session undecodable, on whichever path it is.
pub fn damage(canister: &mut TestCanister, id: u64) {
    let tables = &mut canister.storage.sessions;
    if tables.legacy.contains(&id) {
        tables.legacy.insert(id, &RawRecord(b"rubbish".to_vec()));
    } else {
        tables.sessions.insert_raw(id, b"rubbish".to_vec());
    }
}

/// A session may have so many chunks to release that twenty sessions do not fit into one message.
#[test]
fn a_slice_ends_with_its_message() {
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
        assert_eq!(canister.live(), [0; 5]);
    });
}

#[test]
fn an_entry_of_the_index_alone_ends_no_upload() {
    on_every_path(|mut canister| {
        let id = canister.begin(1, "a");
        canister.now = START.plus_seconds(DEFAULT_SESSION_TTL_SECONDS - 1);
        canister.put(id, &file(1), 0).unwrap();
        canister.storage.index.touch(SessionId(id), Time::default(), START);
        canister.now = START.plus_seconds(DEFAULT_SESSION_TTL_SECONDS);
        assert_eq!(turns(&mut canister, 3), []);
        assert_eq!(canister.service().status(id).unwrap().bytes_received, 1);
        assert_eq!(canister.storage.index.len(), 1, "the wrong entry is gone");
        canister.now = canister.now.plus_seconds(DEFAULT_SESSION_TTL_SECONDS);
        assert_eq!(turns(&mut canister, 3), []);
        assert_eq!(
            (canister.storage.index.len(), canister.live()),
            (0, [0; 5]),
            "and the right one has expired"
        );
    });
}

#[test]
fn dangling_entries_do_not_stop_the_others() {
    on_every_path(|mut canister| {
        for n in 0..=SWEEP_BATCH as u64 {
            canister.storage.index.insert_without_key(SessionId(1_000 + n), person(3), START);
        }
        canister.now = START.plus_seconds(1);
        canister.begin(1, "a");
        canister.now = canister.now.plus_seconds(DEFAULT_SESSION_TTL_SECONDS);
        assert_eq!(turns(&mut canister, 3), []);
        assert_eq!(canister.service().sweep(), Ok(true));
        assert_eq!((canister.storage.index.len(), canister.live()), (0, [0; 5]));
    });
}

#[test]
fn records_that_do_not_decode_do_not_stop_the_others() {
    on_every_path(|mut canister| {
        let damaged = SWEEP_BATCH as u64 + 1;
        for n in 0..damaged {
            let id = canister.begin(1, &n.to_string());
            damage(&mut canister, id);
        }
        let finished = canister.begin(0, "finished");
        canister.finish(finished, b"").unwrap();
        canister.now = START.plus_seconds(1);
        let good = canister.begin(1, "good");
        canister.now = canister.now.plus_seconds(DEFAULT_SESSION_TTL_SECONDS);
        let wrong = turns(&mut canister, 3);
        assert!(wrong[0].to_string().contains("session"), "it is told which one: {wrong:?}");
        assert!(!canister.storage.index.contains(SessionId(good), person(OWNER)), "the good one has expired");
        assert_eq!(
            canister.storage.receipts.len(),
            1,
            "and so has the receipt, so that there is that of the good one"
        );
        assert_eq!(canister.storage.index.len(), damaged, "nothing is done to what cannot be read");
        assert_eq!(canister.service().sweep(), Ok(true), "it is not looked at again at once");
    });
}

#[cfg(feature = "direct")]
#[test]
fn receipts_that_do_not_decode_do_not_stop_the_others() {
    let mut canister = TestCanister::direct();
    for n in 0..=SWEEP_BATCH {
        let id = canister.begin(0, &n.to_string());
        canister.finish(id, b"").unwrap();
    }
    let memories = crate::stable::Memories::init(canister.raw.clone());
    let mut receipts: crate::stable::Table<u64, RawRecord> =
        crate::stable::Table::open(&memories, crate::stable::memory_ids::RECEIPTS);
    receipts.insert(1, &RawRecord(b"rubbish".to_vec()));
    canister.now = canister.now.plus_seconds(DEFAULT_SESSION_TTL_SECONDS);
    let wrong = turns(&mut canister, 3);
    assert!(wrong.len() == 1 && wrong[0].to_string().contains("receipt"), "{wrong:?}");
    assert!(canister.storage.receipts.is_empty());
}
