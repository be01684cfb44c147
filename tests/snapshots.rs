//! Loading snapshots on real wasm: ids that were issued since are not reused.

use std::collections::BTreeSet;

use crate::support::upload::file;
use crate::support::{InstalledCanister, owner, stranger};
use session_migrate::build::Build;
use upload_canister::api::Error;

/// Makes sessions, capsules and memories, and returns their ids.
fn ids(world: &InstalledCanister, who: candid::Principal, round: u32) -> BTreeSet<String> {
    let mut ids = BTreeSet::new();
    for n in 0..3 {
        let capsule = world.capsule_of(who);
        let content = file(10, n);
        let session = world.begin(who, &capsule, &content, &format!("{round}, session {n}")).unwrap();
        ids.insert(world.status(who, session).unwrap().provisional_memory_id);
        ids.insert(session.to_string());
        let whole = world.put_whole(who, &capsule, &content, &format!("{round}, whole {n}")).unwrap();
        ids.extend([whole.memory_id, whole.blob_id, capsule]);
    }
    assert_eq!(ids.len(), 15, "{ids:?}");
    ids
}

#[test]
fn no_id_is_given_out_again_after_a_snapshot_is_loaded() {
    for build in Build::ALL {
        let world = InstalledCanister::new(build);
        let mut given_out = ids(&world, owner(), 0);
        let snapshot = world.take_snapshot();
        for round in 1..4 {
            // As many calls as before the load, and so the same state of everything but the canister version.
            for id in ids(&world, owner(), round) {
                assert!(given_out.insert(id.clone()), "{build}, round {round}: {id} was issued before");
            }
            world.load_snapshot(&snapshot);
        }
    }
}

#[test]
fn the_id_of_a_lost_session_is_never_someone_elses() {
    for build in [Build::Legacy, Build::Direct] {
        let world = InstalledCanister::new(build);
        let content = file(10, 1);
        let snapshot = world.take_snapshot();
        let lost = world.begin(owner(), &world.capsule(), &content, "a").unwrap();
        world.load_snapshot(&snapshot);
        let capsule = world.capsule_of(stranger());
        let new = world.begin(stranger(), &capsule, &content, "b").unwrap();
        assert_ne!(lost, new);
        for who in [owner(), stranger()] {
            let refused = world.put(who, lost, 0, &content).unwrap_err();
            assert!(matches!(refused, Error::NotFound { .. }), "{build}: {refused}");
        }
    }
}

/// A clone issues ids above all that came with the snapshot, whichever canister has had more messages, and
/// loads it again without reusing an id.
#[test]
fn a_clone_gives_no_id_out_twice_either() {
    let world = InstalledCanister::new(Build::Direct);
    let mut given_out = ids(&world, owner(), 0);
    for n in 0..20 {
        world.capsule_of(owner());
        given_out.extend(ids(&world, owner(), 100 + n));
    }
    let snapshot = world.take_snapshot();
    let world = world.cloned(&snapshot);
    let on_clone = world.take_snapshot();
    for round in 1..4 {
        for id in ids(&world, owner(), round) {
            assert!(given_out.insert(id.clone()), "round {round}: {id} was issued before");
        }
        world.load_snapshot(&on_clone);
    }
}
