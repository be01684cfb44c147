//! Content of finished uploads: stored once in each capsule, and released with the last memory that refers to it.

use super::*;

#[test]
fn the_same_content_is_stored_once_in_a_capsule() {
    on_every_path(|mut canister| {
        let file = file(CHUNK + 1);
        let [one, two] = ["a", "b"].map(|idem| {
            let id = canister.begin(file.len(), idem);
            canister.put(id, &file, 0).unwrap();
            canister.put(id, &file, 1).unwrap();
            canister.finish(id, &file).unwrap()
        });
        assert_eq!(one.blob_id, two.blob_id);
        assert_ne!(one.memory_id, two.memory_id);
        assert_eq!(
            canister.live_counts()[3..],
            canister.committed_size(file.len()),
            "the content of both uploads is stored once"
        );
        assert_eq!(canister.storage.usage.total(), Ok(file.len() as u64));

        let delete = |canister: &mut TestCanister, id: &str| {
            crate::memories::delete(&mut canister.storage, person(OWNER), id)
        };
        let stranger = crate::memories::delete(&mut canister.storage, person(2), &one.memory_id);
        assert!(matches!(stranger, Err(Error::NotFound { .. })));
        delete(&mut canister, &one.memory_id).unwrap();
        assert_eq!(read_back(&canister, &two.blob_id), file, "the other memory still has its bytes");
        delete(&mut canister, &two.memory_id).unwrap();
        assert_eq!(canister.live_counts(), [0; 5]);
        assert_eq!((canister.storage.usage.account_count(), canister.storage.blobs.blob_total()), (0, 0));
    });
}

#[test]
fn content_is_not_shared_between_capsules() {
    on_every_path(|mut canister| {
        let file = file(10);
        let upload = |canister: &mut TestCanister| {
            let id = canister.send(&file, "a");
            canister.finish(id, &file).unwrap().blob_id
        };
        let first = upload(&mut canister);
        canister.capsule = canister.storage.capsules.create(person(OWNER), None, START).unwrap().id;
        assert_ne!(upload(&mut canister), first);
        assert_eq!(canister.live_counts()[3..], canister.committed_size(file.len()).map(|once| 2 * once));
    });
}

#[test]
fn a_deleted_upload_can_be_repeated_under_its_key() {
    on_every_path(|mut canister| {
        let file = file(10);
        let upload = |canister: &mut TestCanister| {
            let id = canister.begin(10, "a");
            canister.put(id, &file, 0).map(|()| canister.finish(id, &file).unwrap().memory_id)
        };
        let first = upload(&mut canister).unwrap();
        upload(&mut canister).unwrap_err(); // the upload is finished
        crate::memories::delete(&mut canister.storage, person(OWNER), &first).unwrap();
        assert_ne!(upload(&mut canister).unwrap(), first);
    });
}

#[test]
fn a_deleted_capsule_vanishes_and_its_bytes_are_swept() {
    on_every_path(|mut canister| {
        let file = file(CHUNK + 1);
        let finished = canister.begin(file.len(), "a");
        canister.put(finished, &file, 0).unwrap();
        canister.put(finished, &file, 1).unwrap();
        let memory = canister.finish(finished, &file).unwrap().memory_id;
        let pending = canister.begin(file.len(), "b");
        canister.put(pending, &file, 0).unwrap();
        let capsule = canister.capsule.clone();
        assert!(canister.storage.capsules.delete(person(2), &capsule).is_err());
        canister.storage.capsules.delete(person(OWNER), &capsule).unwrap();
        assert!(canister.storage.capsules.memory(person(OWNER), &memory).is_err());
        assert_eq!(canister.storage.capsules.list_capsules(person(OWNER), None, 9), Ok(vec![]));
        let put = canister.put(pending, &file, 1).unwrap_err();
        assert!(matches!(put, Error::Unauthorized { .. }), "{put}");
        let finish = canister.finish(pending, &file).unwrap_err();
        assert!(matches!(finish, Error::Unauthorized { .. }), "{finish}");
        while !crate::memories::sweep(&mut canister.storage, &Unmetered).unwrap() {}
        canister.service().abort(pending).unwrap();
        assert_eq!(canister.live_counts(), [0; 5]);
        assert_eq!(canister.storage.usage.account_count(), 0);
    });
}

#[test]
fn a_deleted_memory_leaves_no_record_of_its_blob() {
    on_every_path(|mut canister| {
        let file = file(10);
        let id = canister.send(&file, "a");
        let memory = canister.finish(id, &file).unwrap().memory_id;
        assert_eq!(canister.storage.blobs.blob_total(), 1);
        crate::memories::delete(&mut canister.storage, person(OWNER), &memory).unwrap();
        assert_eq!(canister.storage.blobs.blob_total(), 0);
    });
}

/// Damages the index entry that leads from the content of this file to its blob.
pub fn damage_content_entry(canister: &TestCanister, file: &[u8]) {
    use crate::stable::keys::TwoTexts;
    use crate::stable::{Memories, Table, memory_ids};
    let memories = Memories::init(canister.raw.clone());
    let mut entries: Table<TwoTexts, RawRecord> = Table::open(&memories, memory_ids::BLOB_BY_CONTENT);
    let bytes = digest_of_bytes(canister.hash, file);
    let digest = crate::blob::ContentDigest { algorithm: canister.hash, bytes };
    let key = crate::blob::content_key(&canister.capsule, digest);
    assert!(entries.contains(&key));
    entries.insert(key, &RawRecord(b"rubbish".to_vec()));
}

#[test]
fn a_memory_is_deleted_though_its_content_entry_is_damaged() {
    on_every_path(|mut canister| {
        let file = file(100);
        let whole = small_file(&canister, &file, "a");
        let stored = canister.service().put_whole(whole).unwrap();
        damage_content_entry(&canister, &file);
        crate::memories::delete(&mut canister.storage, person(OWNER), &stored.memory_id).unwrap();
        assert_eq!((canister.live_counts(), canister.storage.usage.account_count()), ([0; 5], 0));
        assert_eq!(canister.storage.capsules.memory_total(), 0);
        let again = small_file(&canister, &file, "again");
        assert!(canister.service().put_whole(again).is_ok());
    });
}
