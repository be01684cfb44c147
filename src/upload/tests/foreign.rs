//! Records of layout 1 as the first public release left them, with the defects of that release.

use super::*;
use crate::blob::BlobId;
use crate::migrate;
use crate::migrations::split_sessions::{LegacyStatus, LegacyUploadSession};
use crate::stable::{Memories, Table, memory_ids};
use crate::upload::RawRecord;

/// Returns a canister in layout 1, on the compat path. The tests then give its records the defects.
fn canister_in_layout_1() -> TestCanister {
    let mut canister = TestCanister::compat();
    canister.storage.layout.set(&Layout::LEGACY);
    canister
}

/// Changes the stored legacy record of a session.
fn rewrite(canister: &mut TestCanister, id: u64, change: impl FnOnce(&mut LegacyUploadSession)) {
    let legacy = &mut canister.storage.sessions.legacy;
    let mut record = LegacyUploadSession::decode(&legacy.get_raw(&id).unwrap()).unwrap();
    change(&mut record);
    legacy.insert(id, &RawRecord(record.encode()));
}

/// Upgrades to the direct build, which converts on touch.
fn upgrade_to_direct(canister: &mut TestCanister) {
    set_share(&mut canister.storage, 0);
    canister.path = Box::<DirectPath>::default();
}

/// Two alternatives: leave a canister on the compat path, or upgrade it to the direct build.
const UPGRADES: [fn(&mut TestCanister); 2] = [|_| {}, upgrade_to_direct];

/// Creates a canister with two complete uploads in one capsule, whose records name the same memory.
fn uploads_into_one_memory(memory_id: &str) -> (TestCanister, [(u64, Vec<u8>); 2]) {
    let mut canister = canister_in_layout_1();
    let uploads = [7, 8].map(|byte| {
        let file = vec![byte; CHUNK + 1];
        let id = canister.begin(file.len(), &byte.to_string());
        rewrite(&mut canister, id, |record| record.provisional_memory_id = memory_id.into());
        (0..2).for_each(|idx| canister.put(id, &file, idx).unwrap());
        (id, file)
    });
    (canister, uploads)
}

#[test]
fn sessions_that_name_no_memory_become_separate_memories() {
    for upgrade in UPGRADES {
        let (mut canister, uploads) = uploads_into_one_memory("");
        upgrade(&mut canister);
        let finished = uploads.each_ref().map(|(id, file)| canister.finish(*id, file).unwrap());
        let [one, two] = &finished;
        assert!(!one.memory_id.is_empty() && one.memory_id != two.memory_id, "{finished:?}");
        for ((id, file), finished) in uploads.iter().zip(&finished) {
            assert_eq!(canister.finish(*id, file).as_ref(), Ok(finished));
            assert_eq!(read_back(&canister, &finished.blob_id), *file);
        }
        assert_eq!(canister.storage.capsules.memory_total(), 2);
    }
}

#[test]
fn an_id_of_an_existing_memory_is_refused_and_loses_no_bytes() {
    for upgrade in UPGRADES {
        let (mut canister, [(first, one), (second, two)]) = uploads_into_one_memory("mem_1700000000");
        upgrade(&mut canister);
        let finished = canister.finish(first, &one).unwrap();
        let bytes = |canister: &TestCanister| {
            (canister.live_counts()[3..].to_vec(), canister.storage.blobs.blob_total())
        };
        let before = bytes(&canister);
        for _ in 0..2 {
            let refused = canister.finish(second, &two).unwrap_err();
            assert!(matches!(refused, Error::Conflict { ref kind, .. } if kind == "memory"), "{refused}");
            assert_eq!(bytes(&canister), before);
        }
        canister.service().abort(second).unwrap();
        assert_eq!(read_back(&canister, &finished.blob_id), one);
        assert_eq!(canister.live_counts()[3], 2, "the chunks of the other upload are removed");
    }
}

/// Creates a canister in layout 1 with a committed upload whose session record still exists, with this status. Returns
/// the canister, the session's id, the file, and the result of finish.
fn committed_as(
    status: LegacyStatus,
    names_its_blob: bool,
) -> (TestCanister, u64, Vec<u8>, UploadFinishResult) {
    let mut canister = canister_in_layout_1();
    let file = file(CHUNK + 1);
    let id = canister.begin(file.len(), "a");
    (0..2).for_each(|idx| canister.put(id, &file, idx).unwrap());
    let raw = canister.storage.sessions.legacy.get_raw(&id).unwrap();
    let finished = canister.finish(id, &file).unwrap();
    let end_of_time = Time::from_nanos(u64::MAX);
    canister.storage.receipts.drop_expired(end_of_time, 9);
    canister.storage.sessions.legacy.insert(id, &RawRecord(raw));
    let blob_id = BlobId::from_locator(&finished.blob_id).map(|blob| blob.0);
    rewrite(&mut canister, id, |record| {
        record.status = status;
        record.blob_id = blob_id.filter(|_| names_its_blob);
    });
    (canister, id, file, finished)
}

/// The record of a committed session may contradict itself: it is pending but names its blob, or it is committed but
/// names none.
#[test]
fn ending_a_committed_session_keeps_its_blob() {
    let committed = LegacyStatus::Committed { completed_at: START.as_nanos() };
    for (status, names_its_blob) in [(committed, true), (LegacyStatus::Pending, true), (committed, false)] {
        check_every_end(status, names_its_blob);
    }
}

#[test]
fn a_pending_session_that_names_another_blob_frees_its_bytes() {
    let mut canister = canister_in_layout_1();
    let id = canister.begin(CHUNK + 1, "a");
    (0..2).for_each(|idx| canister.put(id, &file(CHUNK + 1), idx).unwrap());
    rewrite(&mut canister, id, |record| record.blob_id = Some(9));
    canister.service().abort(id).unwrap();
    while !canister.service().sweep().unwrap() {}
    assert_eq!(canister.live_counts(), [0; 5]);
}

type End = fn(&mut TestCanister, u64);

/// The ways in which a session ends without creating a memory, each with its name.
const ENDS: [(&str, End); 3] = [
    ("aborted", |canister, id| canister.service().abort(id).unwrap()),
    ("expired in layout 1", |canister, _| {
        canister.now = canister.now.plus_seconds(DEFAULT_SESSION_TTL_SECONDS);
        upgrade_to_direct(canister);
        migrate::run(&mut canister.storage, canister.now, &Unmetered, 0).unwrap();
    }),
    ("expired in layout 2", |canister, id| {
        upgrade_to_direct(canister);
        canister.service().status(id).unwrap();
        canister.now = canister.now.plus_seconds(DEFAULT_SESSION_TTL_SECONDS);
        while !canister.service().sweep().unwrap() {}
    }),
];

fn check_every_end(status: LegacyStatus, names_its_blob: bool) {
    for (what, end) in ENDS {
        let (mut canister, id, file, finished) = committed_as(status, names_its_blob);
        end(&mut canister, id);
        while !canister.service().sweep().unwrap() {}
        assert_eq!(canister.live_counts()[..3], [0; 3], "{what}: the session is gone");
        assert_eq!(read_back(&canister, &finished.blob_id), file, "{what}");
        crate::memories::delete(&mut canister.storage, person(OWNER), &finished.memory_id).unwrap();
        assert_eq!(canister.live_counts(), [0; 5], "{what}");
    }
}

/// The bytes of a committed session belong to its blob, so they are not replaced, even after a finish has failed.
#[test]
fn chunks_of_a_committed_session_are_not_replaced() {
    for upgrade in UPGRADES {
        let (mut canister, id, file, finished) = committed_as(LegacyStatus::Pending, true);
        upgrade(&mut canister);
        let mut other = file.clone();
        other[0] ^= 1;
        let failed = canister.finish(id, &other).unwrap_err();
        assert!(matches!(failed, Error::ChecksumMismatch { .. }), "{failed}");
        let refused = canister.put(id, &other, 0).unwrap_err();
        assert!(matches!(refused, Error::Conflict { .. }), "{refused}");
        assert_eq!(read_back(&canister, &finished.blob_id), file);
    }
}

/// If the blob record is damaged, it is unknown whether the chunks belong to the blob: they stay, but the session ends.
#[test]
fn a_session_ends_though_the_record_of_its_blob_is_damaged() {
    for (what, end) in ENDS {
        let (mut canister, id, _, finished) = committed_as(LegacyStatus::Pending, true);
        let blob = BlobId::from_locator(&finished.blob_id).unwrap();
        let memories = Memories::init(canister.raw.clone());
        let mut blobs: Table<u64, RawRecord> = Table::open(&memories, memory_ids::BLOB_META);
        blobs.insert(blob.0, &RawRecord(b"rubbish".to_vec()));
        end(&mut canister, id);
        while !canister.service().sweep().unwrap() {}
        assert_eq!(canister.live_counts()[..3], [0; 3], "{what}: the session is gone");
        assert_eq!(canister.storage.index.len(), 0, "{what}");
        assert_eq!(canister.live_counts()[3], 2, "{what}: the chunks of the session are still stored");
    }
}

/// A session of the first public release is in no index, and may be the only one in flight.
#[test]
fn a_session_in_no_index_expires_on_the_compat_path() {
    let mut canister = canister_in_layout_1();
    let bytes = CHUNK + 1;
    let id = canister.begin(bytes, "a");
    (0..2).for_each(|idx| canister.put(id, &file(bytes), idx).unwrap());
    let owner = person(OWNER);
    let key = IdemKey::of(&canister.capsule, &owner, "a");
    canister.storage.index.remove_keeping_key(crate::session::SessionId(id), owner, canister.now);
    canister.storage.index.remove_key(key);
    canister.storage.usage.release_reserved(owner, &canister.capsule, bytes as u64).unwrap();
    assert_eq!(canister.service().status(id).unwrap().bytes_received, bytes as u64);
    canister.now = canister.now.plus_seconds(DEFAULT_SESSION_TTL_SECONDS);
    while !canister.service().sweep().unwrap() {}
    assert_eq!((canister.live_counts(), canister.storage.usage.account_count()), ([0; 5], 0));
    let refused = canister.service().status(id).unwrap_err();
    assert!(
        matches!(&refused, Error::Conflict { detail, .. } if detail.contains("has expired")),
        "{refused}"
    );
}
