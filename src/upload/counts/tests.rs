//! Tests of what is counted, on which path it is counted, and that upgrades keep the counts.

use ic_stable_structures::Memory as _;
use serde_bytes::Bytes;

use crate::api::{
    CallCounts, Error, ErrorCounts, PathCounts, SessionPath, SmallFile, UploadCounts, UploadFinishResult,
};
use crate::migrate::open_storage;
use crate::stable::{Memories, RawMemory, memory_ids};
use crate::storage::Storage;
use crate::upload::limits::{DEFAULT_SESSION_TTL_SECONDS, MAX_FILES_PER_CALL};
use crate::upload::path::ActivePath;
use crate::upload::path::compat::CompatPath;
use crate::upload::path::direct::DirectPath;
use crate::upload::tests::{TestCanister, Used, file, metadata, set_share, sha256};

const INSTRUCTIONS_PER_CALL: u64 = 1_000;

fn calls(messages: u64) -> CallCounts {
    CallCounts { messages, instructions: messages * INSTRUCTIONS_PER_CALL }
}

fn small_file(canister: &TestCanister, bytes: &'static [u8], idem: &str) -> SmallFile<'static> {
    SmallFile {
        capsule_id: canister.capsule.clone(),
        asset_metadata: metadata(bytes.len() as u64),
        idem: idem.into(),
        bytes: Bytes::new(bytes),
        digest: canister.digest(bytes),
        hash: Some(canister.hash),
    }
}

fn upload(canister: &mut TestCanister, idem: &str) -> UploadFinishResult {
    let file = file(10);
    let id = canister.begin(file.len(), idem);
    canister.put(id, &file, 0).unwrap();
    canister.finish(id, &file).unwrap()
}

/// Begins five sessions under four keys, and makes calls that no path serves. Returns the counts expected for the path
/// of the sessions, and for no path.
fn count_everything(canister: &mut TestCanister) -> (PathCounts, PathCounts) {
    canister.meter = Box::new(Used(INSTRUCTIONS_PER_CALL));
    let file = file(10);
    let finished = canister.begin(10, "finished");
    canister.begin(10, "finished");
    canister.try_begin(11, "finished").unwrap_err();
    canister.finish(finished, &file).unwrap_err();
    canister.put(finished, &file, 0).unwrap();
    canister.put(finished, &file, 0).unwrap();
    canister.service().put_chunk(finished, 0, &mut &[9; 10][..], None).unwrap_err();
    canister.service().put_chunk(finished, 7, &mut &[9; 10][..], None).unwrap_err();
    canister.service().finish(finished, &sha256(b"wrong"), 10).unwrap_err();
    canister.finish(finished, &file).unwrap();
    canister.finish(finished, &file).unwrap();
    canister.put(finished, &file, 0).unwrap_err();
    canister.as_person(2).abort(finished).unwrap_err();
    let aborted = canister.begin(10, "aborted");
    canister.service().abort(aborted).unwrap();
    canister.service().abort(aborted).unwrap();
    canister.begin(10, "swept");
    canister.begin(10, "found expired");
    canister.try_begin(usize::MAX / 2, "too large").unwrap_err();
    let whole = small_file(canister, b"whole", "whole");
    canister.service().put_whole(whole).unwrap();
    let many = vec![small_file(canister, b"one", "one"), small_file(canister, b"two", "whole")];
    let results = canister.service().put_many(many).unwrap();
    assert!(results[0].is_ok() && matches!(results[1], Err(Error::Conflict { .. })), "{results:?}");
    let too_many = vec![small_file(canister, b"one", "one"); MAX_FILES_PER_CALL + 1];
    canister.service().put_many(too_many).unwrap_err();
    canister.now = canister.now.plus_seconds(DEFAULT_SESSION_TTL_SECONDS);
    canister.begin(10, "found expired");
    while !canister.service().sweep().unwrap() {}
    // Of the begins, the second of "finished" is a repetition, and the third a conflict.
    let served = PathCounts {
        sessions_begun: 5,
        sessions_finished: 1,
        sessions_aborted: 1,
        sessions_expired: 2,
        sessions_evicted: 0,
        bytes_stored: 10,
        begin: calls(7),
        put_chunk: calls(4),
        finish: calls(3),
        abort: calls(1),
        put_whole: calls(0),
        errors: ErrorCounts {
            conflict: 2,
            incomplete: 1,
            invalid_argument: 1,
            checksum_mismatch: 1,
            ..ErrorCounts::default()
        },
    };
    // Calls about ended sessions or by strangers, the begin that is too large, and whole files: 5 + 3 bytes are stored.
    let unserved = PathCounts {
        bytes_stored: 8,
        begin: calls(1),
        put_chunk: calls(1),
        finish: calls(1),
        abort: calls(2),
        put_whole: calls(3),
        errors: ErrorCounts {
            conflict: 2,
            not_found: 1,
            invalid_argument: 1,
            resource_exhausted: 1,
            ..ErrorCounts::default()
        },
        ..PathCounts::default()
    };
    (served, unserved)
}

#[test]
fn everything_is_counted_on_the_path_that_served_it() {
    let mut canister = TestCanister::compat();
    let (compat, no_path) = count_everything(&mut canister);
    assert_eq!(canister.storage.counters.all(), UploadCounts { compat, no_path, ..UploadCounts::default() });
    for mut canister in [TestCanister::direct(), TestCanister::extents()] {
        let (direct, no_path) = count_everything(&mut canister);
        assert_eq!(
            canister.storage.counters.all(),
            UploadCounts { direct, no_path, ..UploadCounts::default() }
        );
    }
}

/// A begin that a limit refuses is counted on the path on which the session would have begun.
#[test]
fn a_refused_session_is_counted_where_it_would_have_been() {
    let mut canister = TestCanister::compat();
    let mut config = canister.storage.config().unwrap();
    config.max_sessions_per_caller = 0;
    canister.storage.settings.set(&crate::config::Config::checked(config).unwrap());
    canister.try_begin(10, "one too many").unwrap_err();
    let counts = canister.storage.counters.all();
    assert_eq!(counts.compat.errors, ErrorCounts { resource_exhausted: 1, ..ErrorCounts::default() });
    assert_eq!((counts.compat.begin.messages, counts.compat.sessions_begun), (1, 0));
}

#[test]
fn staged_sessions_are_counted_on_the_path_that_serves_them() {
    let mut canister = TestCanister::staged();
    set_share(&mut canister.storage, 5);
    let mut on_compat = 0;
    for n in 0..400 {
        let idem = format!("session {n}");
        let id = canister.begin(10, &idem);
        on_compat += u64::from(canister.service().status(id).unwrap().path == SessionPath::Compat);
        canister.put(id, &file(10), 0).unwrap();
        canister.finish(id, &file(10)).unwrap();
    }
    // Twenty are expected.
    assert!((5..50).contains(&on_compat), "{on_compat} of 400 with a share of 5 %");
    let UploadCounts { compat, direct, no_path } = canister.storage.counters.all();
    for (counts, sessions) in [(compat, on_compat), (direct, 400 - on_compat)] {
        assert_eq!(counts.sessions_begun, sessions);
        assert_eq!(counts.sessions_finished, sessions);
        assert_eq!(counts.bytes_stored, 10 * sessions);
        let messages = [counts.begin, counts.put_chunk, counts.finish].map(|call| call.messages);
        assert_eq!(messages, [sessions; 3]);
        assert_eq!(counts.errors, ErrorCounts::default());
    }
    assert_eq!(no_path, PathCounts::default());
}

/// A session is converted between two calls: its begin is counted on the compat path, its outcome on the direct path.
#[test]
fn a_converted_session_is_counted_on_both_paths() {
    let mut canister = TestCanister::compat();
    let id = canister.begin(10, "a");
    canister.put(id, &file(10), 0).unwrap();
    set_share(&mut canister.storage, 0);
    canister.restart(Box::new(DirectPath));
    canister.finish(id, &file(10)).unwrap();
    let UploadCounts { compat, direct, .. } = canister.storage.counters.all();
    assert_eq!((compat.sessions_begun, compat.bytes_stored, compat.sessions_finished), (1, 10, 0));
    assert_eq!((direct.sessions_begun, direct.bytes_stored, direct.sessions_finished), (0, 0, 1));
}

#[test]
fn the_counts_survive_every_upgrade() {
    let mut canister = TestCanister::compat();
    upload(&mut canister, "a");
    let after_legacy = canister.storage.counters.all();
    assert_eq!(after_legacy.compat.sessions_finished, 1);
    canister.restart(Box::<ActivePath>::default());
    assert_eq!(canister.storage.counters.all(), after_legacy);
    set_share(&mut canister.storage, 0);
    upload(&mut canister, "b");
    canister.restart(Box::new(DirectPath));
    upload(&mut canister, "c");
    let counts = canister.storage.counters.all();
    assert_eq!((counts.compat, counts.direct.sessions_finished), (after_legacy.compat, 2));
    canister.restart(Box::<CompatPath>::default());
    assert_eq!(canister.storage.counters.all(), counts);
}

#[test]
fn a_counter_at_its_maximum_stays_there() {
    let canister = TestCanister::compat();
    canister.storage.counters.count_bytes(None, u64::MAX);
    canister.storage.counters.count_bytes(None, 2);
    assert_eq!(canister.storage.counters.all().no_path.bytes_stored, u64::MAX);
}

/// An upgrade from a release without counters finds their memory empty, just like the fresh installation tested here.
#[test]
fn counting_begins_at_zero() {
    assert_eq!(Storage::create(RawMemory::default()).unwrap().counters.all(), UploadCounts::default());
}

#[test]
fn counters_of_another_version_are_refused_with_the_version() {
    let raw = RawMemory::default();
    drop(Storage::create(raw.clone()).unwrap());
    // The version is the byte after the magic of three bytes.
    Memories::init(raw.clone()).get(memory_ids::UPLOAD_COUNTS).write(3, &[9]);
    let refused = open_storage(raw).err().expect("the version is not refused").to_string();
    assert!(refused.contains("UPLOAD_COUNTS") && refused.contains("version 9, expected 1"), "{refused}");
}
