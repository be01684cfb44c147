//! Loading snapshots on real wasm: ids that were issued after the snapshot was taken are not reused.

use std::collections::BTreeSet;

use crate::support::upload::file;
use crate::support::{InstalledCanister, owner, stranger};
use session_migrate::build::Build;
use upload_canister::api::Error;

/// Creates sessions, capsules and memories, and returns their ids. In each `round`, the keys are different.
fn issue_ids(canister: &InstalledCanister, who: candid::Principal, round: u32) -> BTreeSet<String> {
    let mut ids = BTreeSet::new();
    for n in 0..3 {
        let capsule = canister.create_capsule_of(who);
        let content = file(10, n);
        let session = canister.begin(who, &capsule, &content, &format!("{round}, session {n}")).unwrap();
        ids.insert(canister.status(who, session).unwrap().provisional_memory_id);
        ids.insert(session.to_string());
        let whole = canister.put_whole(who, &capsule, &content, &format!("{round}, whole {n}")).unwrap();
        ids.extend([whole.memory_id, whole.blob_id, capsule]);
    }
    assert_eq!(ids.len(), 15, "{ids:?}");
    ids
}

#[test]
fn no_id_is_issued_again_after_a_snapshot_is_loaded() {
    for build in Build::ALL {
        let canister = InstalledCanister::new(build);
        let mut issued = issue_ids(&canister, owner(), 0);
        let snapshot = canister.take_snapshot();
        for round in 1..4 {
            // Each round begins in the same state; only the canister version is different.
            for id in issue_ids(&canister, owner(), round) {
                assert!(issued.insert(id.clone()), "{build}, round {round}: {id} was issued before");
            }
            canister.load_snapshot(&snapshot);
        }
    }
}

#[test]
fn the_id_of_a_lost_session_is_never_someone_elses() {
    for build in [Build::Legacy, Build::Direct] {
        let canister = InstalledCanister::new(build);
        let content = file(10, 1);
        let snapshot = canister.take_snapshot();
        let lost = canister.begin(owner(), &canister.create_capsule(), &content, "a").unwrap();
        canister.load_snapshot(&snapshot);
        let capsule = canister.create_capsule_of(stranger());
        let new = canister.begin(stranger(), &capsule, &content, "b").unwrap();
        assert_ne!(lost, new);
        for who in [owner(), stranger()] {
            let refused = canister.put(who, lost, 0, &content).unwrap_err();
            assert!(matches!(refused, Error::NotFound { .. }), "{build}: {refused}");
        }
    }
}

/// The original has executed more messages than the clone. Nevertheless the clone issues no id of the original again,
/// not even when it loads a snapshot of its own.
#[test]
fn a_clone_issues_no_id_twice_either() {
    let canister = InstalledCanister::new(Build::Direct);
    let mut issued = issue_ids(&canister, owner(), 0);
    for n in 0..20 {
        canister.create_capsule_of(owner());
        issued.extend(issue_ids(&canister, owner(), 100 + n));
    }
    let snapshot = canister.take_snapshot();
    let canister = canister.cloned(&snapshot);
    let snapshot_of_clone = canister.take_snapshot();
    for round in 1..4 {
        for id in issue_ids(&canister, owner(), round) {
            assert!(issued.insert(id.clone()), "round {round}: {id} was issued before");
        }
        canister.load_snapshot(&snapshot_of_clone);
    }
}
