//! Tests of what a canary counts, and when it ends.

use crate::api::{CanaryCounts, CanaryReport, CanaryVerdict, SessionPath};
use crate::upload::limits::DEFAULT_SESSION_TTL_SECONDS;
use crate::upload::tests::{TestCanister, file, set_share, sha256};

const CHUNK: usize = crate::blob::CHUNK_SIZE as usize;

fn report(canister: &TestCanister) -> CanaryReport {
    canister.storage.counters.canary_report(2).unwrap()
}

/// Returns a canister of the staged build, with a compat share of 50 %. Its canary begins a second after ten sessions,
/// which therefore do not belong to it.
fn canister_with_canary() -> TestCanister {
    let mut canister = TestCanister::staged();
    set_share(&mut canister.storage, 50);
    for n in 0..10 {
        canister.begin(10, &format!("past {n}"));
    }
    canister.now = canister.now.plus_seconds(1);
    canister.storage.counters.begin_canary(canister.now, 50);
    canister
}

/// Begins sessions until each path has at least `min`. Returns the ids of those on the compat path, and on the direct
/// path.
fn begin_on_both(canister: &mut TestCanister, bytes: usize, min: usize) -> [Vec<u64>; 2] {
    let mut begun = [Vec::new(), Vec::new()];
    for n in 0.. {
        if begun.iter().all(|ids| ids.len() >= min) {
            break;
        }
        let id = canister.begin(bytes, &format!("{bytes} bytes, {n}"));
        let path = canister.service().status(id).unwrap().path;
        begun[usize::from(path == SessionPath::Direct)].push(id);
    }
    begun
}

fn sum(counts: &[CanaryCounts], number: fn(&CanaryCounts) -> u64) -> u64 {
    counts.iter().map(number).sum()
}

#[test]
fn sessions_count_by_the_path_and_the_size_that_they_began_with() {
    let mut canister = canister_with_canary();
    assert_eq!(sum(&report(&canister).compat, |counts| counts.begun), 0, "earlier sessions are not counted");
    let small = begin_on_both(&mut canister, 10, 3);
    let large = begin_on_both(&mut canister, CHUNK + 1, 1);
    for id in small.iter().map(|ids| ids[0]) {
        canister.put(id, &file(10), 0).unwrap();
        canister.service().finish(id, &sha256(b"wrong"), 10).unwrap_err();
        canister.finish(id, &file(10)).unwrap();
    }
    for id in small.iter().map(|ids| ids[1]) {
        canister.service().abort(id).unwrap();
    }
    // With a share of 0, a status call converts a legacy record: all remaining sessions expire on the direct path. Each
    // must still be counted for the path on which it began.
    set_share(&mut canister.storage, 0);
    for id in small.iter().chain(&large).flatten() {
        let _ = canister.service().status(*id);
    }
    canister.now = canister.now.plus_seconds(DEFAULT_SESSION_TTL_SECONDS);
    while !canister.service().sweep().unwrap() {}

    let report = report(&canister);
    for (counts, small, large) in
        [(&report.compat, &small[0], &large[0]), (&report.direct, &small[1], &large[1])]
    {
        let [one_chunk, ten_chunks, ..] = counts[..] else { panic!("{counts:?}") };
        let (begun, expired) = (small.len() as u64, small.len() as u64 - 2);
        assert_eq!([one_chunk.begun, one_chunk.finished, one_chunk.aborted], [begun, 1, 1]);
        assert_eq!([one_chunk.expired, one_chunk.bytes_finished], [expired, 10]);
        assert_eq!([one_chunk.refusals, one_chunk.internal_errors], [1, 0], "{one_chunk:?}");
        // A begin for each session, a put and two finishes for one session, an abort for another.
        assert_eq!(one_chunk.messages, begun + 4);
        let all = large.len() as u64;
        assert_eq!(
            [ten_chunks.begun, ten_chunks.expired, ten_chunks.max_chunks.unwrap().into()],
            [all, all, 10]
        );
    }
    assert_eq!(report.ended_at, None, "every session was begun on the path that the share determines");
    assert!(matches!(report.verdict, CanaryVerdict::NeedsMore { .. }), "{}", report.summary);
}

#[test]
fn a_session_on_an_unexpected_path_ends_the_canary() {
    let mut canister = canister_with_canary();
    let [compat, _] = begin_on_both(&mut canister, 10, 1);
    set_share(&mut canister.storage, 0);
    canister.now = canister.now.plus_seconds(1);
    for n in 0..20 {
        canister.begin(10, &format!("later {n}"));
    }
    let before = report(&canister);
    assert_eq!(before.ended_at, Some(canister.now.as_nanos()));
    // Sessions begun before the end of the canary are still counted when they end; later sessions are not.
    canister.service().abort(compat[0]).unwrap();
    // A repeated begin: returns the session that the loop began.
    let later = canister.begin(10, "later 0");
    canister.service().abort(later).unwrap();
    let after = report(&canister);
    assert_eq!(sum(&after.compat, |counts| counts.aborted), 1);
    assert_eq!(sum(&after.direct, |counts| counts.aborted), 0);
}

#[test]
fn a_canary_begins_from_scratch_and_survives_upgrades() {
    let mut canister = canister_with_canary();
    begin_on_both(&mut canister, 10, 2);
    let first = report(&canister);
    canister.restart(Box::<crate::upload::path::ActivePath>::default());
    assert_eq!(report(&canister), first);
    canister.now = canister.now.plus_seconds(1);
    canister.storage.counters.begin_canary(canister.now, 50);
    let second = report(&canister);
    assert_eq!(second.begun_at, canister.now.as_nanos());
    assert_eq!(sum(&second.compat, |counts| counts.begun) + sum(&second.direct, |counts| counts.begun), 0);
}

#[test]
fn a_report_without_a_canary_says_how_to_begin_one() {
    let canister = TestCanister::staged();
    let refused = canister.storage.counters.canary_report(2).unwrap_err();
    assert!(refused.to_string().contains("admin_canary_begin"), "{refused}");
}

#[test]
fn a_canary_covers_what_was_begun_from_its_start_to_its_end() {
    let mark = super::Mark { begun_at: 5, compat_share_percent: 50, ended_at: Some(8) };
    assert_eq!([4, 5, 7, 8, 9].map(|created_at| mark.covers(created_at)), [false, true, true, false, false]);
    let open = super::Mark { ended_at: None, ..mark };
    assert_eq!([4, 5, 9].map(|created_at| open.covers(created_at)), [false, true, true]);
}

/// The canary must assign a key to the same path as
/// [`UploadPath::for_new`](crate::upload::path::UploadPath::for_new).
#[test]
fn a_key_at_the_share_counts_as_direct() {
    let mark = super::Mark { begun_at: 1, compat_share_percent: 50, ended_at: None };
    let path_of = |first: u16| {
        let mut key = [0xff; 32];
        key[..2].copy_from_slice(&first.to_be_bytes());
        mark.path_for(crate::upload::IdemKey(key))
    };
    assert_eq!([0x7fff, 0x8000].map(path_of), [SessionPath::Compat, SessionPath::Direct]);
}
