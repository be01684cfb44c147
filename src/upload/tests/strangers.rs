//! Strangers get the same answer about every session: not found. Also calls, by anyone, that meet damaged records.

use super::*;
use crate::session::SessionId;
use crate::stable::keys::TwoTexts;
use crate::stable::{Memories, Table, memory_ids};

/// Makes every call about a session as this person, and returns the errors.
fn errors_of_every_call(canister: &mut TestCanister, who: u8, id: u64) -> Vec<Error> {
    let digest = sha256(b"");
    let mut service = canister.as_person(who);
    vec![
        service.put_chunk(id, 0, &mut &b"x"[..], None).unwrap_err(),
        service.finish(id, &digest, 1).unwrap_err(),
        service.abort(id).unwrap_err(),
        service.status(id).unwrap_err(),
        service.chunk_digests(id, 0, 9).unwrap_err(),
    ]
}

#[test]
fn a_stranger_learns_nothing_about_a_damaged_session() {
    on_every_path(|mut canister| {
        let damaged = canister.begin(1, "a");
        expiry::damage_session(&mut canister, damaged);
        canister.upgrade();
        let unknown = Error::not_found("session", damaged);
        assert!(errors_of_every_call(&mut canister, 2, damaged).iter().all(|error| *error == unknown));
        for error in errors_of_every_call(&mut canister, OWNER, damaged) {
            assert!(matches!(error, Error::Internal(_)), "the owner gets the error: {error}");
        }
    });
}

#[cfg(feature = "direct")]
#[test]
fn a_stranger_learns_nothing_about_a_session_without_its_meta() {
    for mut canister in [TestCanister::direct(), TestCanister::extents()] {
        let halved = canister.begin(1, "a");
        canister.storage.sessions.metas.remove(&halved);
        let unknown = Error::not_found("session", halved);
        assert!(errors_of_every_call(&mut canister, 2, halved).iter().all(|error| *error == unknown));
        assert!(
            errors_of_every_call(&mut canister, OWNER, halved)
                .iter()
                .all(|error| matches!(error, Error::Internal(_)))
        );
    }
}

#[test]
fn a_damaged_receipt_belongs_to_nobody() {
    on_every_path(|mut canister| {
        let id = canister.begin(0, "a");
        canister.finish(id, b"").unwrap();
        canister.storage.receipts.insert_raw(SessionId(id), b"rubbish".to_vec());
        let unknown = Error::not_found("session", id);
        for who in [OWNER, 2] {
            assert!(
                errors_of_every_call(&mut canister, who, id).iter().all(|error| *error == unknown),
                "{who}"
            );
        }
        let again = canister.try_begin(0, "a").unwrap_err();
        assert!(matches!(again, Error::Internal(_)), "a caller who knows the key gets the error: {again}");
    });
}

/// Damages one of the records that are read when a session of person 2 ends: the account of its capsule if
/// `is_account`, otherwise its payload state.
fn damage_payload_state_or_account(canister: &mut TestCanister, id: u64, is_account: bool) {
    if !is_account {
        canister.storage.payloads.insert_raw(id, b"rubbish".to_vec());
        return;
    }
    let capsule = canister.as_person(2).status(id).unwrap().capsule_id;
    raw_accounts(canister).insert(TwoTexts("capsule".into(), capsule), &RawRecord(b"rubbish".to_vec()));
}

/// Returns the accounts as raw records, which need not decode.
fn raw_accounts(canister: &TestCanister) -> Table<TwoTexts, RawRecord> {
    Table::open(&Memories::init(canister.raw.clone()), memory_ids::USAGE)
}

/// If the account were read after the memory was created, the session would end without a receipt, and a repeated
/// finish would find neither the session nor a receipt.
#[test]
fn a_finish_with_a_damaged_account_changes_nothing() {
    for account in ["caller", "capsule", "canister"] {
        on_every_path(|mut canister| {
            let file = file(CHUNK + 5);
            let [first, id] = ["first", "second"].map(|idem| canister.send(&file, idem));
            // The second file has the same content, so its bytes are freed.
            canister.finish(first, &file).unwrap();
            let name = match account {
                "caller" => person(OWNER).to_text(),
                "capsule" => canister.capsule.clone(),
                _ => String::new(),
            };
            let key = TwoTexts(account.into(), name);
            let sound = raw_accounts(&canister).get(&key).unwrap().unwrap();
            raw_accounts(&canister).insert(key.clone(), &RawRecord(b"rubbish".to_vec()));
            let (live, memories) = (canister.live_counts(), canister.storage.capsules.memory_total());
            let refused = canister.finish(id, &file).unwrap_err();
            assert!(matches!(refused, Error::Internal(_)), "{account}: {refused}");
            assert_eq!(canister.live_counts(), live, "{account}");
            assert_eq!(canister.storage.capsules.memory_total(), memories, "{account}");
            raw_accounts(&canister).insert(key, &sound);
            canister.finish(id, &file).unwrap();
        });
    }
}

/// If the account were read only after the blob was removed, the bytes of the blob would stay on the account forever.
#[test]
fn a_deletion_with_a_damaged_account_changes_nothing() {
    on_every_path(|mut canister| {
        let file = file(100);
        let id = canister.send(&file, "a");
        let memory = canister.finish(id, &file).unwrap().memory_id;
        let key = TwoTexts("capsule".into(), canister.capsule.clone());
        let sound = raw_accounts(&canister).get(&key).unwrap().unwrap();
        raw_accounts(&canister).insert(key.clone(), &RawRecord(b"rubbish".to_vec()));
        let held =
            |canister: &TestCanister| (canister.live_counts(), canister.storage.capsules.memory_total());
        let before = held(&canister);
        let refused = crate::memories::delete(&mut canister.storage, person(OWNER), &memory).unwrap_err();
        assert!(matches!(refused, Error::Internal(_)), "{refused}");
        assert_eq!(held(&canister), before);
        raw_accounts(&canister).insert(key, &sound);
        crate::memories::delete(&mut canister.storage, person(OWNER), &memory).unwrap();
        assert_eq!((held(&canister), canister.storage.usage.account_count()), (([0; 5], 0), 0));
    });
}

/// Returns the free extents as raw records, which need not decode.
#[cfg(feature = "direct")]
fn free_extents(canister: &TestCanister) -> Table<u64, RawRecord> {
    Table::open(&Memories::init(canister.raw.clone()), memory_ids::FREE_EXTENTS)
}

/// Creates canisters with a free extent before the extents of a session in flight, so that freeing the session's
/// extents reads it. Passes each canister to `rule`, with the id of the session, the file, and the memory that has the
/// same content.
#[cfg(feature = "direct")]
fn with_a_free_extent(rule: impl Fn(&mut TestCanister, u64, &[u8], &str)) {
    for mut canister in [TestCanister::extents(), TestCanister::extents().with_blake3()] {
        let file = file(CHUNK + 5);
        let hole = canister.begin(64, "hole");
        let first = canister.send(&file, "first");
        let memory = canister.finish(first, &file).unwrap().memory_id;
        let id = canister.send(&file, "second");
        canister.service().abort(hole).unwrap();
        rule(&mut canister, id, &file, &memory);
    }
}

/// Makes a call while the first free extent is damaged, and again when it is sound. The first attempt must change
/// nothing.
#[cfg(feature = "direct")]
#[track_caller]
fn assert_unchanged_by_damage(
    canister: &mut TestCanister,
    mut call: impl FnMut(&mut TestCanister) -> Result<()>,
) {
    let offset = free_extents(canister).keys(..).next().unwrap();
    let sound = free_extents(canister).get(&offset).unwrap().unwrap();
    free_extents(canister).insert(offset, &RawRecord(b"rubbish".to_vec()));
    let held = |canister: &TestCanister| {
        let Storage { capsules, blobs, usage, .. } = &canister.storage;
        (canister.live_counts(), capsules.memory_total(), blobs.blob_total(), usage.total().unwrap())
    };
    let before = held(canister);
    let refused = call(canister).unwrap_err();
    assert!(matches!(refused, Error::Internal(_)), "{refused}");
    assert_eq!(held(canister), before);
    free_extents(canister).insert(offset, &sound);
    call(canister).unwrap();
    assert_eq!(canister.storage.blobs.extents().check(), Ok(()));
}

/// If the extents were freed after the session was removed, a repeated finish would find neither a session nor a
/// receipt.
#[cfg(feature = "direct")]
#[test]
fn a_finish_with_damaged_free_extents_changes_nothing() {
    with_a_free_extent(|canister, id, file, _| {
        assert_unchanged_by_damage(canister, |canister| canister.finish(id, file).map(drop));
        assert_eq!(canister.storage.capsules.memory_total(), 2);
    });
}

#[cfg(feature = "direct")]
#[test]
fn an_abort_with_damaged_free_extents_changes_nothing() {
    with_a_free_extent(|canister, id, _, _| {
        assert_unchanged_by_damage(canister, |canister| canister.service().abort(id));
        assert_eq!(room::reported_state(canister, OWNER, id), "was aborted");
    });
}

/// The file has the content of another memory, so its commit frees its bytes, which the damage prevents.
#[cfg(feature = "direct")]
#[test]
fn a_whole_file_with_damaged_free_extents_changes_nothing() {
    for mut canister in [TestCanister::extents(), TestCanister::extents().with_blake3()] {
        // Too large for the free extent, which would otherwise be used, and then not be read.
        let file = file(100_000);
        let hole = canister.begin(64, "hole");
        let stored = small_file(&canister, &file, "stored");
        canister.service().put_whole(stored).unwrap();
        canister.service().abort(hole).unwrap();
        assert_unchanged_by_damage(&mut canister, |canister| {
            let again = small_file(canister, &file, "again");
            canister.service().put_whole(again).map(drop)
        });
        assert_eq!(canister.storage.capsules.memory_total(), 2);
    }
}

#[cfg(feature = "direct")]
#[test]
fn a_deletion_with_damaged_free_extents_changes_nothing() {
    with_a_free_extent(|canister, _, _, memory| {
        assert_unchanged_by_damage(canister, |canister| {
            crate::memories::delete(&mut canister.storage, person(OWNER), memory)
        });
        assert_eq!(canister.storage.blobs.blob_total(), 0);
    });
}

/// If eviction did not skip a session that cannot be ended, every begin that needs room would fail and report the
/// damage.
#[test]
fn a_session_that_cannot_be_ended_is_skipped_by_eviction() {
    for is_account in [false, true] {
        on_every_path(|mut canister| {
            room::change_limits(&mut canister, |config| config.max_bytes = 100);
            let damaged = room::begin_as(&mut canister, 2, 20, "damaged").unwrap();
            damage_payload_state_or_account(&mut canister, damaged, is_account);
            let sound = room::begin_as(&mut canister, 3, 20, "sound").unwrap();
            canister.begin(20, "a");
            assert_eq!(room::reported_state(&mut canister, 3, sound), "was evicted");
            assert_eq!(room::reported_state(&mut canister, 2, damaged), "in flight");
        });
    }
}

/// If the record were removed although the account is damaged, the session would count against its owner forever.
#[test]
fn a_session_ends_whole_or_not_at_all() {
    on_every_path(|mut canister| {
        let id = room::begin_as(&mut canister, 2, 20, "a").unwrap();
        damage_payload_state_or_account(&mut canister, id, true);
        let before = canister.live_counts();
        for _ in 0..2 {
            let refused = canister.as_person(2).abort(id).unwrap_err();
            assert!(matches!(refused, Error::Internal(_)), "{refused}");
            assert_eq!(canister.live_counts(), before);
        }
    });
}
