//! Memories created without an upload, changed, and removed.

use super::*;
use crate::api::{AdminConfig, AssetType, StorageBackend};
use crate::config::Config;
use crate::stable::keys::NumberAndText;
use crate::stable::{Memories, Table, memory_ids};
use crate::upload::RawRecord;
use crate::upload::path::ActivePath;
use crate::upload::tests::{OWNER, TestCanister, file, metadata, person, sha256};

fn no_content() -> NewContent {
    NewContent { inline: None, blob: None, external: None }
}

fn inline(bytes: &[u8]) -> NewContent {
    NewContent { inline: Some(ByteBuf::from(bytes)), ..no_content() }
}

fn try_create(
    canister: &mut TestCanister,
    who: u8,
    new: NewContent,
    bytes: u64,
    idem: &str,
) -> Result<String> {
    let (capsule, now) = (canister.capsule.clone(), canister.now);
    create(&mut canister.storage, person(who), now, capsule, new, metadata(bytes), idem)
}

/// Reads a memory as the owner of the capsule.
fn read(canister: &TestCanister, id: &str) -> Result<Memory> {
    Ok(canister.storage.capsules.memory(person(OWNER), id)?)
}

#[test]
fn small_bytes_are_kept_in_the_record_within_a_budget() {
    let mut canister = TestCanister::direct();
    let id = try_create(&mut canister, OWNER, inline(b"hello"), 5, "a").unwrap();
    let memory = read(&canister, &id).unwrap();
    assert_eq!(memory.inline.as_deref().map(|bytes| bytes.as_slice()), Some(&b"hello"[..]));
    assert_eq!((memory.blob.locator.as_str(), memory.blob.hash), ("inline", Some(sha256(b"hello"))));
    assert_eq!(
        try_create(&mut canister, OWNER, inline(b"hello"), 5, "a"),
        Ok(id.clone()),
        "the same call returns the same memory"
    );
    let other = try_create(&mut canister, OWNER, inline(b"other"), 5, "a").unwrap_err();
    assert!(matches!(other, Error::Conflict { .. }), "{other}");

    let large = vec![0; 32 * 1024 + 1];
    let refused = try_create(&mut canister, OWNER, inline(&large), large.len() as u64, "b").unwrap_err();
    assert_eq!(refused, Error::invalid("inline", "at most 32768 bytes", "32769 bytes"));
    let rest = vec![0; 32 * 1024 - 5];
    try_create(&mut canister, OWNER, inline(&rest), rest.len() as u64, "c").unwrap();
    let full = try_create(&mut canister, OWNER, inline(b"1"), 1, "d").unwrap_err();
    assert_eq!(full, Error::exhausted("inline bytes per capsule", 32 * 1024, 32 * 1024 + 1));
    delete(&mut canister.storage, person(OWNER), &id).unwrap();
    assert!(try_create(&mut canister, OWNER, inline(b"1"), 1, "d").is_ok(), "deleting releases the budget");
    assert_ne!(try_create(&mut canister, OWNER, inline(b"1"), 1, "a"), Ok(id), "deleting releases the key");
}

#[test]
fn a_memory_can_share_a_blob_of_its_own_capsule_and_of_no_other() {
    let mut canister = TestCanister::direct();
    let file = file(10);
    let session = canister.begin(10, "a");
    canister.put(session, &file, 0).unwrap();
    let uploaded = canister.finish(session, &file).unwrap();
    let blob = |len, hash| {
        let blob = BlobRef { locator: uploaded.blob_id.clone(), hash, len, blake3: None };
        NewContent { blob: Some(blob), ..no_content() }
    };
    let shared = try_create(&mut canister, OWNER, blob(10, None), 10, "b").unwrap();
    let wrong_len = try_create(&mut canister, OWNER, blob(9, None), 9, "c").unwrap_err();
    assert_eq!(wrong_len, Error::invalid("blob_ref.len", "10", 9));
    let wrong_hash = try_create(&mut canister, OWNER, blob(10, Some(sha256(b"x"))), 10, "c").unwrap_err();
    assert!(matches!(wrong_hash, Error::Conflict { .. }), "{wrong_hash}");

    let capsule = std::mem::take(&mut canister.capsule);
    canister.capsule = canister.storage.capsules.create(person(OWNER), None, canister.now).unwrap().id;
    let from_other_capsule = try_create(&mut canister, OWNER, blob(10, None), 10, "b").unwrap_err();
    assert!(matches!(from_other_capsule, Error::NotFound { .. }), "{from_other_capsule}");
    canister.capsule = capsule;

    let id = BlobId::from_locator(&uploaded.blob_id).unwrap();
    let in_use = delete_blob(&mut canister.storage, person(OWNER), id).unwrap_err();
    assert!(matches!(in_use, Error::Conflict { .. }), "{in_use}");
    delete(&mut canister.storage, person(OWNER), &uploaded.memory_id).unwrap();
    assert_eq!(canister.storage.blobs.blob_total(), 1, "the other memory still refers to the blob");
    delete_blob(&mut canister.storage, person(OWNER), id).unwrap();
    assert!(
        matches!(read(&canister, &shared), Err(Error::NotFound { .. })),
        "the memory is deleted with the blob"
    );
    let [.., chunks, _] = canister.live_counts();
    assert_eq!((canister.storage.blobs.blob_total(), chunks), (0, 0));
}

#[test]
fn a_blob_with_a_damaged_reference_is_not_called_missing() {
    let mut canister = TestCanister::direct();
    let file = file(10);
    let session = canister.send(&file, "a");
    let uploaded = canister.finish(session, &file).unwrap();
    let id = BlobId::from_locator(&uploaded.blob_id).unwrap();
    let memories = Memories::init(canister.raw.clone());
    let mut refs: Table<NumberAndText, RawRecord> = Table::open(&memories, memory_ids::BLOB_REFS);
    refs.insert(NumberAndText(id.0, uploaded.memory_id), &RawRecord(vec![0xff]));
    let blob = BlobRef { locator: uploaded.blob_id, hash: None, len: 10, blake3: None };
    let new = NewContent { blob: Some(blob), ..no_content() };
    let refused = try_create(&mut canister, OWNER, new, 10, "b").unwrap_err();
    assert!(matches!(refused, Error::Internal(_)), "{refused}");
}

#[test]
fn an_asset_elsewhere_is_recorded_as_the_client_says() {
    let mut canister = TestCanister::direct();
    let asset = |backend| ExternalAsset { backend, storage_key: Some("key".into()), url: None };
    let external =
        |backend, sha256| NewContent { external: Some((asset(backend), 7, sha256)), ..no_content() };
    let id = try_create(&mut canister, OWNER, external(StorageBackend::S3, None), 7, "a").unwrap();
    let memory = read(&canister, &id).unwrap();
    assert_eq!(memory.external, Some(asset(StorageBackend::S3)));
    assert_eq!((memory.blob.locator.as_str(), memory.blob.len), ("external", 7));
    let here = try_create(&mut canister, OWNER, external(StorageBackend::Icp, None), 7, "b").unwrap_err();
    assert_eq!(here, Error::invalid("backend", "a store other than this one", "Icp"));
    let short = Some(ByteBuf::from([1]));
    assert!(try_create(&mut canister, OWNER, external(StorageBackend::S3, short), 7, "b").is_err());
}

#[test]
fn create_names_the_reason_of_a_refusal() {
    let mut canister = TestCanister::direct();
    let stranger = try_create(&mut canister, 2, inline(b"1"), 1, "a").unwrap_err();
    assert!(matches!(stranger, Error::Unauthorized { .. }), "{stranger}");
    let nothing = try_create(&mut canister, OWNER, no_content(), 0, "a").unwrap_err();
    assert!(matches!(nothing, Error::InvalidArgument { ref field, .. } if field == "content"), "{nothing}");
    let declared = try_create(&mut canister, OWNER, inline(b"12"), 1, "a").unwrap_err();
    assert_eq!(declared, Error::invalid("asset_metadata.bytes", "2", 1));
    assert_eq!(canister.storage.capsules.memory_total(), 0);
}

#[test]
fn metadata_can_change_and_the_size_cannot() {
    let mut canister = TestCanister::direct();
    let id = try_create(&mut canister, OWNER, inline(b"hello"), 5, "a").unwrap();
    let mut changed = metadata(5);
    if let AssetMetadata::Image(image) = &mut changed {
        image.base.asset_type = AssetType::Preview;
    }
    let memory = update(&mut canister.storage, person(OWNER), &id, changed.clone()).unwrap();
    assert_eq!((memory.asset_metadata, read(&canister, &id).unwrap().inline.is_some()), (changed, true));
    let resized = update(&mut canister.storage, person(OWNER), &id, metadata(6)).unwrap_err();
    assert_eq!(resized, Error::invalid("asset_metadata.bytes", "5", 6));
    assert!(update(&mut canister.storage, person(2), &id, metadata(5)).is_err());
}

#[test]
fn the_number_of_memories_in_a_capsule_is_limited() {
    let mut canister = TestCanister::direct();
    let config = AdminConfig { max_memories_per_capsule: Some(2), ..canister.storage.config().unwrap() };
    canister.storage.settings.set(&Config::checked(config).unwrap());
    let asset = ExternalAsset { backend: StorageBackend::S3, storage_key: None, url: None };
    let elsewhere = NewContent { external: Some((asset, 7, None)), ..no_content() };
    let first = try_create(&mut canister, OWNER, elsewhere.clone(), 7, "a").unwrap();
    try_create(&mut canister, OWNER, inline(b"1"), 1, "b").unwrap();
    let full = Err(Error::exhausted("memories per capsule", 2, 3));
    assert_eq!(try_create(&mut canister, OWNER, elsewhere.clone(), 7, "c"), full);
    assert_eq!(try_create(&mut canister, OWNER, inline(b"1"), 1, "c"), full);
    assert_eq!(canister.try_begin(1, "c"), Err(Error::exhausted("memories per capsule", 2, 3)));
    assert_eq!(
        try_create(&mut canister, OWNER, elsewhere.clone(), 7, "a"),
        Ok(first.clone()),
        "a repeated call finds the memory"
    );
    delete(&mut canister.storage, person(OWNER), &first).unwrap();
    assert!(canister.try_begin(1, "c").is_ok());
}

/// A memory may have many chunks to release, so a sweep whose budget is used up ends after one memory, instead of
/// `MEMORIES_PER_SWEEP`.
#[cfg(feature = "compat")]
#[test]
fn memories_of_a_deleted_capsule_are_removed_within_the_budget() {
    let mut canister = TestCanister::compat();
    for n in 0..3 {
        try_create(&mut canister, OWNER, inline(b"1"), 1, &n.to_string()).unwrap();
    }
    let capsule = canister.capsule.clone();
    canister.storage.capsules.delete(person(OWNER), &capsule).unwrap();
    for left in [2, 1, 0] {
        assert_eq!(sweep(&mut canister.storage, &crate::upload::tests::Exhausted), Ok(false));
        assert_eq!(canister.storage.capsules.memory_total(), left);
    }
    assert_eq!(sweep(&mut canister.storage, &crate::upload::tests::Exhausted), Ok(true));
}

#[cfg(feature = "compat")]
#[test]
fn a_sweep_that_has_used_exactly_its_budget_continues() {
    let mut canister = TestCanister::compat();
    for n in 0..3 {
        try_create(&mut canister, OWNER, inline(b"1"), 1, &n.to_string()).unwrap();
    }
    let capsule = canister.capsule.clone();
    canister.storage.capsules.delete(person(OWNER), &capsule).unwrap();
    let at_budget = crate::upload::tests::Used(limits::SWEEP_INSTRUCTIONS);
    assert_eq!(sweep(&mut canister.storage, &at_budget), Ok(false));
    assert_eq!(canister.storage.capsules.memory_total(), 0);
}

#[test]
fn a_claimed_sha256_must_be_that_of_the_content() {
    let mut canister = TestCanister::direct();
    let claiming = |bytes: u64, digest: &ByteBuf| {
        let mut asset_metadata = metadata(bytes);
        if let AssetMetadata::Image(image) = &mut asset_metadata {
            image.base.sha256 = Some(digest.clone());
        }
        asset_metadata
    };
    let file = file(10);
    let session = canister.begin(10, "a");
    canister.put(session, &file, 0).unwrap();
    let uploaded = canister.finish(session, &file).unwrap();
    let blob = BlobRef { locator: uploaded.blob_id.clone(), hash: None, len: 10, blake3: None };
    let asset = ExternalAsset { backend: StorageBackend::S3, storage_key: None, url: None };
    let (right, wrong) = (sha256(&file), sha256(b"something else"));
    let contents = [
        inline(&file),
        NewContent { blob: Some(blob), ..no_content() },
        NewContent { external: Some((asset, 10, Some(right.clone()))), ..no_content() },
    ];
    for (n, content) in contents.into_iter().enumerate() {
        let (capsule, now) = (canister.capsule.clone(), canister.now);
        let mut make = |digest: &ByteBuf| {
            let (content, asset_metadata, idem) = (content.clone(), claiming(10, digest), n.to_string());
            create(&mut canister.storage, person(OWNER), now, capsule.clone(), content, asset_metadata, &idem)
        };
        let expected = Error::invalid("asset_metadata.sha256", hex::encode(&right), hex::encode(&wrong));
        assert_eq!(make(&wrong), Err(expected.clone()), "{n}");
        let created = make(&right).unwrap();
        let changed =
            update(&mut canister.storage, person(OWNER), &created, claiming(10, &wrong)).unwrap_err();
        assert_eq!(changed, expected, "{n}");
        update(&mut canister.storage, person(OWNER), &created, claiming(10, &right)).unwrap();
    }
}

/// Replaces the record of a memory with bytes that do not decode.
fn damage_memory(canister: &TestCanister, id: &str) {
    let memories = Memories::init(canister.raw.clone());
    let mut table: Table<String, RawRecord> = Table::open(&memories, memory_ids::MEMORIES);
    table.insert(id.to_owned(), &RawRecord(b"rubbish".to_vec()));
}

/// Replaces the record of a blob, not its payload, with bytes that do not decode.
fn damage_blob(canister: &TestCanister, locator: &str) {
    let memories = Memories::init(canister.raw.clone());
    let mut table: Table<u64, RawRecord> = Table::open(&memories, memory_ids::BLOBS);
    let id = BlobId::from_locator(locator).unwrap();
    assert!(table.contains(&id.0));
    table.insert(id.0, &RawRecord(b"rubbish".to_vec()));
}

/// Sweeps until no memory is left to remove; returns the reported errors.
fn sweep_to_end(canister: &mut TestCanister) -> Vec<String> {
    let mut errors = Vec::new();
    for _ in 0..100 {
        match sweep(&mut canister.storage, &crate::meter::Unmetered) {
            Ok(true) => return errors,
            Ok(false) => {}
            Err(error) => errors.push(error.to_string()),
        }
    }
    panic!("the sweep does not end: {errors:?}");
}

#[test]
fn a_damaged_memory_does_not_block_removal_of_others() {
    let mut canister = TestCanister::extents();
    let deleted: Vec<String> = (0..3)
        .map(|_| canister.storage.capsules.create(person(OWNER), None, canister.now).unwrap().id)
        .collect();
    let mut created = Vec::new();
    for capsule in &deleted {
        canister.capsule.clone_from(capsule);
        for n in 0..MEMORIES_PER_SWEEP + 5 {
            created.push(try_create(&mut canister, OWNER, inline(b"1"), 1, &n.to_string()).unwrap());
        }
        let file = file(10);
        let session = canister.begin(10, "blob");
        canister.put(session, &file, 0).unwrap();
        let finished = canister.finish(session, &file).unwrap();
        if capsule == &deleted[1] {
            damage_blob(&canister, &finished.blob_id);
        }
    }
    // The first and the last inline memory of the first capsule, and the last one of the third.
    for id in [&created[0], &created[MEMORIES_PER_SWEEP + 4], &created[created.len() - 1]] {
        damage_memory(&canister, id);
    }
    // The next build refuses a table of memories if its first and its last record are both damaged. The first one is,
    // so a sound memory is added as the last.
    canister.capsule = canister.storage.capsules.create(person(OWNER), None, canister.now).unwrap().id;
    try_create(&mut canister, OWNER, inline(b"1"), 1, "kept").unwrap();
    for capsule in &deleted {
        canister.storage.capsules.delete(person(OWNER), capsule).unwrap();
    }

    let errors = sweep_to_end(&mut canister);
    assert_eq!(errors.len(), 4, "each damaged record is reported once: {errors:?}");
    assert_eq!(errors.iter().filter(|text| text.contains("memory")).count(), 3, "{errors:?}");
    assert_eq!(errors.iter().filter(|text| text.contains("blob")).count(), 1, "{errors:?}");
    assert_eq!(
        canister.storage.capsules.memory_total(),
        5,
        "three are damaged, one has a damaged blob, and one is in a capsule that was not deleted"
    );
    assert_eq!(
        sweep(&mut canister.storage, &crate::meter::Unmetered),
        Ok(true),
        "the damage is not reported again"
    );

    canister.restart(Box::<ActivePath>::default());
    assert_eq!(sweep_to_end(&mut canister).len(), 4, "the next build checks the damaged records again");
}

#[test]
fn a_memory_whose_blob_is_damaged_is_kept() {
    let mut canister = TestCanister::extents();
    let file = file(10);
    let session = canister.begin(10, "a");
    canister.put(session, &file, 0).unwrap();
    let uploaded = canister.finish(session, &file).unwrap();
    damage_blob(&canister, &uploaded.blob_id);
    let refused = delete(&mut canister.storage, person(OWNER), &uploaded.memory_id).unwrap_err();
    assert!(matches!(refused, Error::Internal(_)), "{refused}");
    assert!(read(&canister, &uploaded.memory_id).is_ok(), "a call that fails has changed nothing");
}
