//! Tests of the sessions that `list` returns and skips, and of how many sessions one call looks up.

use super::*;
use crate::blob::Extents;
use crate::upload::tests::TestCanister;

/// Returns a canister in layout 2, and the ids of its five sessions. The bytes of the second are in extents, those of
/// the others in the chunk map.
fn canister_with_five_sessions() -> (TestCanister, Vec<u64>) {
    let mut canister = TestCanister::direct();
    let ids: Vec<u64> = (0..5).map(|n| canister.begin(1, &n.to_string())).collect();
    let moved = PayloadState { extents: Some(Extents::default()), ..PayloadState::default() };
    canister.storage.payloads.insert(ids[1], &moved);
    (canister, ids)
}

#[test]
fn sessions_that_have_moved_are_skipped() {
    let (mut canister, ids) = canister_with_five_sessions();
    let in_map = [ids[0], ids[2], ids[3], ids[4]];
    assert_eq!(list(&canister.storage, None, 9).unwrap(), in_map, "while no range is recorded");
    close_range(&mut canister.storage).unwrap();
    canister.begin(1, "after the closed range");
    assert_eq!(list(&canister.storage, None, 9).unwrap(), in_map);
    assert_eq!(list(&canister.storage, None, 2).unwrap(), in_map[..2]);
    assert_eq!(list(&canister.storage, Some(ids[2]), 9).unwrap(), in_map[2..]);
}

#[test]
fn retried_sessions_are_listed_first_and_once() {
    let (mut canister, ids) = canister_with_five_sessions();
    let range = MappedSessions { after: ids[3], through: ids[4], again: ids[..3].to_vec() };
    canister.storage.mapped_sessions.set(&range);
    let listed = |after, limit| list(&canister.storage, after, limit).unwrap();
    assert_eq!(listed(None, 9), [ids[0], ids[2], ids[4]]);
    assert_eq!(listed(None, 1), [ids[0]]);
    assert_eq!(listed(Some(ids[0]), 9), [ids[2], ids[4]]);
    assert_eq!(listed(Some(ids[2]), 9), [ids[4]]);
}

/// Retrying the whole quarantine may add more sessions than a message can look up, so each call is bounded.
#[test]
fn one_call_checks_a_bounded_number_of_retried_sessions() {
    let (mut canister, ids) = canister_with_five_sessions();
    let storage = &mut canister.storage;
    let session = storage.sessions.sessions.get(&ids[1]).unwrap().unwrap();
    let moved = storage.payloads.get(&ids[1]).unwrap().unwrap();
    // Two and a half times as many as a call skips. All but the last have moved.
    let (first, last) = (ids[4] + 1, ids[4] + 2_500);
    for id in first..=last {
        storage.sessions.sessions.insert(id, &session);
        if id < last {
            storage.payloads.insert(id, &moved);
        }
    }
    let range = MappedSessions { after: last, through: last, again: (first..=last).collect() };
    storage.mapped_sessions.set(&range);
    for calls in 0.. {
        assert!(calls < 9, "the last session is never listed");
        LOOKED_UP.set(0);
        let listed = list(storage, None, 9).unwrap();
        assert!(LOOKED_UP.get() <= MAX_SKIPPED, "{} looked up in a list", LOOKED_UP.get());
        if listed == [last] {
            break;
        }
        LOOKED_UP.set(0);
        shrink_range(storage).unwrap();
        // At the end, `shrink_range` also looks up the session at which it stops.
        assert!(LOOKED_UP.get() <= MAX_SKIPPED + 1, "{} looked up to shrink", LOOKED_UP.get());
    }
}
