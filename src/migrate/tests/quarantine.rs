//! Quarantined records: retries, listing, damage, and the accounts of their owners.

use super::*;
use crate::migrate::open_storage;
use crate::stable::keys::TwoTexts;
use crate::stable::{Memories, Table, memory_ids, preflight};

#[test]
fn a_retried_record_without_index_gets_its_key() {
    let (mut canister, sessions) = canister_in_layout_1();
    let (id, file, _) = &sessions[1];
    let status = canister.service().status(*id).unwrap();
    let prefix = ChunkPrefix::of(&status.provisional_memory_id, SessionId(*id));
    let usage = canister.storage.usage.total().unwrap();
    forget(&mut canister, *id, file, "1");
    canister.storage.blobs.write_chunk(prefix, 77, b"stray");
    upgrade(&mut canister);
    assert_eq!(run_to_end(&mut canister).quarantined, 1);

    canister.storage.blobs.release(prefix);
    controls::retry(&mut canister.storage, canister.now, Some(*id)).unwrap();
    assert!(
        !canister.storage.index.contains(SessionId(*id), person(OWNER)),
        "the restored session is in no index, as before"
    );
    let state = run_to_end(&mut canister);
    assert_eq!((state.phase, state.converted, state.quarantined), (Phase::Converted, 5, 0), "{}", state.note);
    assert_eq!(canister.begin(file.len(), "1"), *id, "the idempotency key leads to the session");
    assert_eq!(canister.storage.usage.total(), Ok(usage));
    for idx in 0..3 {
        canister.put(*id, file, idx).unwrap();
    }
    canister.finish(*id, file).unwrap();
}

#[test]
fn finalize_requires_consent_to_leave_quarantine() {
    let (mut canister, sessions) = canister_in_layout_1();
    let rubbish = sessions[0].0;
    canister.storage.sessions.legacy.insert(rubbish, &RawRecord(b"rubbish".to_vec()));
    upgrade(&mut canister);
    run_to_end(&mut canister);
    let refused = controls::finalize(&mut canister.storage, canister.now, false).unwrap_err().to_string();
    assert!(refused.contains("quarantine"), "{refused}");
    assert_eq!(phase(&canister), Phase::Converted);
    controls::finalize(&mut canister.storage, canister.now, true).unwrap();

    // In the direct build, migration 2 is the current one from here on; its keys are independent of migration 1.
    canister.storage.migration.set_state(2, &MigrationState::default());
    for key in rubbish..=60 {
        let record = QuarantineRecord::new(format!("blob {key}"), vec![2]);
        canister.storage.migration.quarantine.insert(2, key, &record);
    }
    let mut listed = Vec::new();
    loop {
        let page = canister.storage.migration.quarantined(listed.last().map(|(key, _)| *key));
        if page.is_empty() {
            break;
        }
        // 50, and one more if both migrations have a record under the last key.
        assert!(page.len() <= 51, "{}", page.len());
        listed.extend(page.into_iter().map(|record| (record.session, record.raw.into_vec())));
    }
    let expected: Vec<_> = [(rubbish, b"rubbish".to_vec())]
        .into_iter()
        .chain((rubbish..=60).map(|key| (key, vec![2])))
        .collect();
    assert_eq!(listed, expected);
}

/// Opens the memory of a canister independently of its storage, to read and damage what is stored.
fn memories(canister: &TestCanister) -> Memories {
    preflight::open_existing(canister.raw.clone()).unwrap()
}

/// Returns a staged canister with the sessions at these places in quarantine, and their ids. The quarantine record of
/// the session at the first of the places is damaged.
fn with_damaged_quarantine(places: &[usize]) -> (TestCanister, Vec<u64>) {
    let (mut canister, sessions) = canister_in_layout_1();
    let ids: Vec<u64> = places.iter().map(|place| sessions[*place].0).collect();
    for id in &ids {
        canister.storage.sessions.legacy.insert(*id, &RawRecord(b"rubbish".to_vec()));
    }
    upgrade(&mut canister);
    canister.path = TestCanister::staged().path;
    assert_eq!(run_to_end(&mut canister).quarantined, ids.len() as u64);
    damage_quarantined(&mut canister, ids[0]);
    (canister, ids)
}

/// Replaces a quarantine record by bytes that do not decode, and opens the memory again.
fn damage_quarantined(canister: &mut TestCanister, id: u64) {
    let mut table: Table<u64, RawRecord> = Table::open(&memories(canister), memory_ids::MIGRATION_QUARANTINE);
    table.insert(id, &RawRecord(b"damaged".to_vec()));
    canister.storage = open_storage(canister.raw.clone()).unwrap();
}

#[test]
fn a_damaged_quarantine_record_does_not_block_retry_of_others() {
    for places in [[0, 1, 2], [2, 0, 1], [4, 1, 3]] {
        let (mut canister, ids) = with_damaged_quarantine(&places);
        controls::retry(&mut canister.storage, canister.now, None).unwrap();
        let note = canister.storage.migration.state().unwrap().note;
        assert!(
            note.contains("1 records could not be restored") && note.contains(&ids[0].to_string()),
            "{note}"
        );
        let state = run_to_end(&mut canister);
        assert_eq!(
            (state.phase, state.source, state.quarantined),
            (Phase::Converted, 5, 3),
            "{}",
            state.note
        );
        let damaged = controls::retry(&mut canister.storage, canister.now, Some(ids[0])).unwrap_err();
        assert!(damaged.to_string().contains("damaged"), "{damaged}");
        assert_eq!(phase(&canister), Phase::Converted, "nothing was changed");
    }
    let (mut canister, _) = with_damaged_quarantine(&[3]);
    let before = canister.storage.migration.state().unwrap();
    assert!(
        controls::retry(&mut canister.storage, canister.now, None).is_err(),
        "only a damaged record is in quarantine"
    );
    assert_eq!(canister.storage.migration.state().unwrap(), before);
}

#[test]
fn a_damaged_quarantine_record_stops_no_rollback_or_resume() {
    let (mut canister, ids) = with_damaged_quarantine(&[1, 2]);
    controls::rollback(&mut canister.storage, canister.now).unwrap();
    let state = run_to_end(&mut canister);
    assert_eq!(state.phase, Phase::RolledBack, "{}", state.note);
    assert!(state.note.contains("1 records in quarantine do not decode"), "{}", state.note);
    assert_eq!(canister.storage.sessions.legacy.len(), 4, "the other sessions are rolled back");
    let rolled_back = canister.raw.borrow().clone();
    controls::resume(&mut canister.storage, canister.now).unwrap();
    let state = run_to_end(&mut canister);
    assert_eq!((state.phase, state.source, state.quarantined), (Phase::Converted, 5, 2), "{}", state.note);
    canister.raw.borrow_mut().clone_from(&rolled_back);
    canister.storage = open_storage(canister.raw.clone()).unwrap();
    controls::go_forward(&mut canister.storage, canister.now, false).unwrap();
    let state = run_to_end(&mut canister);
    assert_eq!((state.phase, state.source, state.quarantined), (Phase::Converted, 5, 2), "{}", state.note);
    let page = canister.storage.migration.quarantined(None);
    assert_eq!(page.len(), 2);
    assert_eq!((page[0].session, page[0].raw.as_slice()), (ids[0], b"damaged".as_slice()));
    assert!(page[0].reason.contains("damaged"), "{}", page[0].reason);
    assert!(canister.service().status(ids[0]).is_err());
    assert_eq!(canister.as_person(2).status(ids[0]), Err(Error::not_found("session", ids[0])));
}

#[test]
fn a_quarantined_session_promises_nothing() {
    let (mut canister, sessions) = canister_in_layout_1();
    let missing = |canister: &mut TestCanister, id: u64| {
        let status = canister.service().status(id).unwrap();
        status.bytes_expected - status.bytes_received
    };
    let all: u64 = sessions.iter().map(|(id, ..)| missing(&mut canister, *id)).sum();
    assert_eq!(canister.storage.promises.total(), all);
    // The session to be quarantined has some of its chunks.
    let id = sessions[1].0;
    let others = all - missing(&mut canister, id);
    let prefix =
        ChunkPrefix::of(&canister.service().status(id).unwrap().provisional_memory_id, SessionId(id));
    canister.storage.blobs.write_chunk(prefix, 77, b"stray");
    upgrade(&mut canister);
    assert_eq!(run_to_end(&mut canister).quarantined, 1);
    assert_eq!(canister.storage.promises.total(), others);
}

#[test]
fn a_retry_that_fails_has_changed_no_account_and_no_index() {
    let (mut canister, sessions) = canister_in_layout_1();
    let (id, ..) = &sessions[1];
    let status = canister.service().status(*id).unwrap();
    let prefix = ChunkPrefix::of(&status.provisional_memory_id, SessionId(*id));
    canister.storage.blobs.write_chunk(prefix, 77, b"stray");
    upgrade(&mut canister);
    assert_eq!(run_to_end(&mut canister).quarantined, 1);
    let accounts = |canister: &TestCanister| -> Table<TwoTexts, RawRecord> {
        Table::open(&memories(canister), memory_ids::USAGE)
    };
    let capsule = TwoTexts("capsule".into(), canister.capsule.clone());
    accounts(&canister).insert(capsule, &RawRecord(b"rubbish".to_vec()));
    add_last_account(accounts(&canister));
    canister.storage = open_storage(canister.raw.clone()).unwrap();
    let state = canister.storage.migration.state().unwrap();
    assert!(controls::retry(&mut canister.storage, canister.now, Some(*id)).is_err());
    assert!(!canister.storage.index.contains(SessionId(*id), person(OWNER)));
    assert_eq!(canister.storage.migration.state().unwrap(), state);
}

#[test]
fn a_quarantine_page_fits_a_reply_whatever_the_records() {
    let (mut canister, _) = canister_in_layout_1();
    let large = [1_700_000, 1_700_000, 400_000, 900_000, 900_000, 10, 5_000_000];
    for (key, len) in (1..).zip(large) {
        let record = QuarantineRecord::new("x".repeat(9_000), vec![key as u8; len]);
        canister.storage.migration.quarantine.insert(1, key, &record);
    }
    canister.storage.migration.set_state(2, &MigrationState::default());
    for key in [2, 6] {
        canister.storage.migration.quarantine.insert(
            2,
            key,
            &QuarantineRecord::new(String::new(), vec![9; 800_000]),
        );
    }
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let page = canister.storage.migration.quarantined(after);
        let Some(last) = page.last() else { break };
        after = Some(last.session);
        let reply = candid::encode_one(Ok::<_, ()>(&page)).unwrap().len();
        assert!(reply < 1_600_000, "{reply} bytes after {after:?}");
        for record in &page {
            // Records are truncated only if those under one key are larger than a page. Each then gets its share of
            // the 1.5 MB: half if two migrations have the key.
            let len = record.raw_len.unwrap_or(record.raw.len() as u64);
            assert!(record.raw.len() as u64 == len || record.raw.len() > 700_000, "{}", record.raw.len());
            seen.push((record.session, len));
        }
    }
    let mut expected: Vec<_> = (1..).zip(large.map(|len| len as u64)).collect();
    expected.extend([(2, 800_000), (6, 800_000)]);
    expected.sort_by_key(|(key, _)| *key);
    assert_eq!(seen, expected);
}

/// Returns the number of an owner's sessions in the index, and the bytes on the owner's account; `None` if there is no
/// account, since it would be 0.
fn sessions_and_bytes_of(canister: &TestCanister, owner: u8) -> (usize, Option<u64>) {
    let table: Table<TwoTexts, u64> = Table::open(&memories(canister), memory_ids::USAGE);
    let bytes = table.get(&TwoTexts("caller".into(), person(owner).to_text())).unwrap();
    (canister.storage.index.sessions_of(person(owner), None, 99).len(), bytes)
}

#[test]
fn records_left_in_quarantine_count_against_no_limit() {
    for others_live in [true, false] {
        let (mut canister, sessions) = canister_in_layout_1();
        let [rubbish, trapped] = [sessions[0].0, sessions[1].0];
        canister.storage.sessions.legacy.insert(rubbish, &RawRecord(b"rubbish".to_vec()));
        if !others_live {
            sessions[2..].iter().for_each(|(id, ..)| canister.service().abort(*id).unwrap());
        }
        upgrade(&mut canister);
        canister.path = TestCanister::staged().path;
        run_to_end(&mut canister);
        // The rollback restores the record of `trapped`, which is then quarantined without being read, like a poison
        // record.
        assert!(canister.storage.sessions.metas.contains(&trapped), "the session has been converted");
        controls::rollback(&mut canister.storage, canister.now).unwrap();
        run_to_end(&mut canister);
        let raw = canister.storage.sessions.legacy.get_raw(&trapped).unwrap();
        let record =
            QuarantineRecord { was_indexed: Some(true), ..QuarantineRecord::new("cut off".into(), raw) };
        canister.storage.sessions.legacy.remove(&trapped);
        canister.storage.migration.quarantine.insert(1, trapped, &record);
        controls::go_forward(&mut canister.storage, canister.now, false).unwrap();
        let state = run_to_end(&mut canister);
        assert_eq!((state.phase, state.quarantined), (Phase::Converted, 2), "{}", state.note);
        assert_eq!(sessions_and_bytes_of(&canister, OWNER).0, if others_live { 5 } else { 2 });
        controls::finalize(&mut canister.storage, canister.now, true).unwrap();

        let live = if others_live { &sessions[2..] } else { &[] };
        let bytes: usize = live.iter().map(|(_, file, _)| file.len()).sum();
        let bytes = Some(bytes as u64).filter(|bytes| *bytes > 0);
        assert_eq!(sessions_and_bytes_of(&canister, OWNER), (live.len(), bytes));
        for id in [rubbish, trapped] {
            let refused = canister.service().status(id).unwrap_err();
            assert!(matches!(refused, Error::Conflict { .. }), "the owner is told: {refused}");
            assert_eq!(canister.as_person(2).status(id), Err(Error::not_found("session", id)));
        }
        assert_eq!(canister.service().list(None, 99).unwrap().len(), live.len());
    }
}

/// The size of a damaged session is in its upload meta, too; without an upload meta, the size is unknown.
#[test]
fn an_owners_bytes_are_recounted_despite_a_damaged_session() {
    for has_meta in [true, false] {
        let (mut canister, sessions) = canister_in_layout_1();
        let [rubbish, damaged] = [sessions[0].0, sessions[2].0];
        canister.storage.sessions.legacy.insert(rubbish, &RawRecord(b"rubbish".to_vec()));
        canister.now = canister.now.plus_seconds(1);
        upgrade(&mut canister);
        assert_eq!(run_to_end(&mut canister).quarantined, 1);
        canister.storage.sessions.sessions.insert_raw(damaged, b"rubbish".to_vec());
        if !has_meta {
            canister.storage.sessions.metas.remove(&damaged);
        }
        controls::finalize(&mut canister.storage, canister.now, true).unwrap();
        let known = sessions[1..].iter().filter(|(id, ..)| has_meta || *id != damaged);
        let bytes: usize = known.map(|(_, file, _)| file.len()).sum();
        assert_eq!(sessions_and_bytes_of(&canister, OWNER), (4, Some(bytes as u64)));
    }
}

#[test]
fn a_quarantine_with_a_record_of_any_migration_is_not_empty() {
    for number in [1, 2] {
        let mut canister = TestCanister::direct();
        let quarantine = &mut canister.storage.migration.quarantine;
        assert!(quarantine.is_empty());
        quarantine.insert(number, 5_u64, &QuarantineRecord::new("damaged".into(), vec![7; 3]));
        assert!(!quarantine.is_empty(), "migration {number}");
    }
}

#[test]
fn only_a_truncated_record_says_how_long_it_is() {
    for (max, raw, raw_len) in [(3, vec![7; 3], None), (2, vec![7; 2], Some(3))] {
        let shown = QuarantineRecord::new("damaged".into(), vec![7; 3]).into_api(1, max);
        assert_eq!((shown.raw.into_vec(), shown.raw_len), (raw, raw_len));
    }
}
