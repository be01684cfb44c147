//! Units that are damaged or whose message trapped stay in place, counted and quarantined, until they are retried.
//! Damaged records stop the migration. A torn unit has a chunk that is too short or missing.

use super::*;
use crate::blob::BlobRecord;
use crate::stable::{Table, memory_ids, preflight};

/// Returns how many units were counted, converted and quarantined.
fn unit_counts(state: &MigrationState) -> [u64; 3] {
    [state.source, state.converted, state.quarantined]
}

/// Begins a session and sends all its chunks. Returns its id, and the prefix under which the chunks are stored.
fn begin_and_send(canister: &mut TestCanister, content: &[u8], idem: &str) -> (u64, ChunkPrefix) {
    let id = canister.send(content, idem);
    let status = canister.service().status(id).unwrap();
    (id, ChunkPrefix::of(&status.provisional_memory_id, SessionId(id)))
}

#[test]
fn a_session_with_a_lost_chunk_is_quarantined_in_place() {
    let mut canister = finalized_canister();
    let content = file(3 * CHUNK);
    let (id, prefix) = begin_and_send(&mut canister, &content, "a chunk will be lost");
    assert_eq!(run_until_in_progress(&mut canister), id);
    // Chunk 0 has been copied already; chunk 1 is the first one that is missed.
    canister.storage.blobs.release(prefix);
    let other = begin_and_send(&mut canister, &file(CHUNK), "after it").0;
    let state = run_to_end(&mut canister);
    assert_eq!((state.phase, unit_counts(&state)), (Phase::Converted, [1, 0, 1]), "{}", state.note);
    assert!(other > id && canister.storage.payloads.get(&other).unwrap().unwrap().extents.is_some());
    let reason = canister.storage.migration.quarantine.get(2, id).unwrap().unwrap().reason;
    assert!(reason.contains(&format!("session {id}")) && reason.contains("chunk 1 "), "{reason}");
    assert_eq!(state.classes, [("damaged session".to_owned(), 1)]);
    assert_eq!(canister.storage.blobs.extents().taken_bytes(), Ok((CHUNK as u64).next_multiple_of(64)));

    let chunks = content.chunks(CHUNK);
    chunks.zip(0..).for_each(|(chunk, idx)| canister.storage.blobs.write_chunk(prefix, idx, chunk));
    control(&mut canister).retry(Some(id)).unwrap();
    let state = run_to_end(&mut canister);
    assert_eq!((state.phase, unit_counts(&state)), (Phase::Converted, [1, 1, 0]), "{}", state.note);
    assert_all_moved(&mut canister, &[content.len(), CHUNK]);
}

/// Otherwise the end of the chunk would be whatever the extents held before.
#[test]
fn a_session_with_a_chunk_of_another_length_is_quarantined() {
    let content = file(CHUNK + 10);
    for (idx, stored, expected) in [(0, &content[1..CHUNK], CHUNK), (1, &content[..11], 10)] {
        let mut canister = finalized_canister();
        let (id, prefix) = begin_and_send(&mut canister, &content, "a chunk will be replaced");
        canister.storage.blobs.write_chunk(prefix, idx, stored);
        let state = run_to_end(&mut canister);
        assert_eq!((state.phase, unit_counts(&state)), (Phase::Converted, [1, 0, 1]), "{}", state.note);
        let reason = canister.storage.migration.quarantine.get(2, id).unwrap().unwrap().reason;
        let length = format!("chunk {idx} has {} bytes instead of {expected}", stored.len());
        assert_eq!(reason, format!("session {id}: {length}"));
        assert_eq!(canister.storage.blobs.extents().taken_bytes(), Ok(0), "the copy is freed");
    }
}

#[test]
fn a_damaged_blob_stays_in_place_and_its_reason_is_recorded() {
    let mut canister = finalized_canister();
    let good = upload(&mut canister, &file(2 * CHUNK), "good");
    let torn_file = file(2 * CHUNK + 1);
    let (torn, prefix) = begin_and_send(&mut canister, &torn_file, "torn");
    let torn_blob = canister.finish(torn, &torn_file).unwrap().blob_id;
    // Too short by one byte.
    canister.storage.blobs.write_chunk(prefix, 1, &torn_file[CHUNK + 1..2 * CHUNK]);

    let state = run_to_end(&mut canister);
    assert_eq!((state.phase, state.source, state.converted, state.quarantined), (Phase::Converted, 2, 1, 1));
    assert_eq!(state.digest_before, state.digest_after);
    assert!(is_in_extents(&canister, &good) && !is_in_extents(&canister, &torn_blob));
    let key = BlobId::from_locator(&torn_blob).unwrap().0;
    let record = canister.storage.migration.quarantine.get(2, key).unwrap().unwrap();
    assert!(record.reason.contains(&torn_blob) && record.reason.contains("chunk 1 "), "{}", record.reason);
    while !canister.service().sweep().unwrap() {}
    let id = BlobId::from_locator(&torn_blob).unwrap();
    assert_eq!(
        canister.storage.blobs.read_chunk(id, 0).unwrap(),
        torn_file[..CHUNK],
        "the intact chunk of the damaged blob can be read"
    );
    assert_eq!(canister.storage.blobs.extents().taken_bytes(), Ok((2 * CHUNK as u64).next_multiple_of(64)));
    assert_eq!(run_message(&mut canister), RunOutcome::Done, "the quarantined blob is not retried");
}

/// Wrong bytes do not make a blob damaged; only a missing or short chunk does.
#[test]
fn bytes_that_were_damaged_before_move_as_they_are() {
    let mut canister = finalized_canister();
    let content = file(2 * CHUNK + 1);
    let (id, prefix) = begin_and_send(&mut canister, &content, "damaged");
    let blob = canister.finish(id, &content).unwrap().blob_id;
    let other = vec![7; CHUNK];
    canister.storage.blobs.write_chunk(prefix, 1, &other);
    let state = run_to_end(&mut canister);
    assert_eq!((state.phase, unit_counts(&state)), (Phase::Converted, [1, 1, 0]), "{}", state.note);
    assert!(is_in_extents(&canister, &blob));
    assert!(read_back(&canister, &blob) == [&content[..CHUNK], &other, &content[2 * CHUNK..]].concat());
}

#[test]
fn a_retried_damaged_blob_is_counted_once() {
    let mut canister = finalized_canister();
    let content = file(2 * CHUNK);
    let (id, prefix) = begin_and_send(&mut canister, &content, "torn");
    let blob = canister.finish(id, &content).unwrap().blob_id;
    canister.storage.blobs.write_chunk(prefix, 1, &[7; CHUNK - 1]);
    assert_eq!(unit_counts(&run_to_end(&mut canister)), [1, 0, 1]);
    control(&mut canister).retry(None).unwrap();
    let state = run_to_end(&mut canister);
    assert_eq!((state.phase, unit_counts(&state)), (Phase::Converted, [1, 0, 1]), "{}", state.note);

    canister.storage.blobs.write_chunk(prefix, 1, &content[CHUNK..]);
    control(&mut canister).retry(None).unwrap();
    let state = run_to_end(&mut canister);
    assert_eq!((state.phase, unit_counts(&state)), (Phase::Converted, [1, 1, 0]), "{}", state.note);
    assert!(is_in_extents(&canister, &blob));
    control(&mut canister).finalize(false).unwrap();
}

#[test]
fn a_poison_session_is_counted_and_frees_its_extents() {
    let mut canister = finalized_canister();
    let content = file(3 * CHUNK);
    let (id, _) = begin_and_send(&mut canister, &content, "trapped");
    assert_eq!(run_until_in_progress(&mut canister), id);
    // As if the message that converted only this session had trapped.
    let mut trapped = state(&canister);
    trapped.pace.skip_next = true;
    canister.storage.migration.set_state(2, &trapped);
    let state = run_to_end(&mut canister);
    assert_eq!((state.phase, unit_counts(&state)), (Phase::Converted, [1, 0, 1]), "{}", state.note);
    assert_eq!(canister.storage.blobs.extents().taken_bytes(), Ok(0));
    control(&mut canister).retry(Some(id)).unwrap();
    assert_eq!(unit_counts(&run_to_end(&mut canister)), [1, 1, 0]);
    assert_all_moved(&mut canister, &[content.len()]);
}

#[test]
fn a_damaged_payload_state_hides_no_session() {
    let mut canister = finalized_canister();
    let content = file(CHUNK);
    let (damaged, _) = begin_and_send(&mut canister, &content, "its payload state does not decode");
    begin_and_send(&mut canister, &content, "after it");
    let sound = canister.storage.payloads.get_raw(&damaged).unwrap();
    canister.storage.payloads.insert_raw(damaged, vec![9]);
    let state = run_to_end(&mut canister);
    assert_eq!(state.phase, Phase::Stuck);
    assert!(
        state.note.contains("payload state") && state.note.contains(&damaged.to_string()),
        "{}",
        state.note
    );
    canister.storage.payloads.insert_raw(damaged, sound);
    control(&mut canister).resume().unwrap();
    assert_eq!(unit_counts(&run_to_end(&mut canister)), [2, 2, 0]);
}

/// The engine digests a unit before taking the unit's progress out of the migration's state, so no extents are lost if
/// a record is damaged.
#[test]
fn a_session_damaged_while_it_moves_keeps_its_progress() {
    let mut canister = finalized_canister();
    let content = file(3 * CHUNK);
    let (id, _) = begin_and_send(&mut canister, &content, "damaged in the middle");
    assert_eq!(run_until_in_progress(&mut canister), id);
    let begun_unit = state(&canister).unit;
    let sound = canister.storage.sessions.metas.get_raw(&id).unwrap();
    canister.storage.sessions.metas.insert_raw(id, vec![9]);
    let stuck = run_to_end(&mut canister);
    assert_eq!((stuck.phase, stuck.unit), (Phase::Stuck, begun_unit), "{}", stuck.note);
    canister.storage.sessions.metas.insert_raw(id, sound);
    control(&mut canister).resume().unwrap();
    assert_eq!(unit_counts(&run_to_end(&mut canister)), [1, 1, 0]);
    assert_all_moved(&mut canister, &[content.len()]);
}

/// The test sets up the state left by a build whose range of sessions to move could not advance past a session in
/// quarantine.
#[test]
fn one_call_skips_a_bounded_number_of_sessions() {
    let mut canister = finalized_canister();
    let content = file(CHUNK);
    let (torn, prefix) = begin_and_send(&mut canister, &content, "torn");
    let (last, _) = begin_and_send(&mut canister, &content, "last");
    canister.storage.blobs.release(prefix);
    assert_eq!(unit_counts(&run_to_end(&mut canister)), [2, 1, 1]);
    // Copies of the last session stand for sessions that have moved in the meantime.
    let session = canister.storage.sessions.sessions.get(&last).unwrap().unwrap();
    let payload = canister.storage.payloads.get(&last).unwrap().unwrap();
    for id in last + 1..last + 10_500 {
        canister.storage.sessions.sessions.insert(id, &session);
        canister.storage.payloads.insert(id, &payload);
    }
    canister.storage.sessions.ids.continue_after(last + 10_500);
    crate::upload::mapped_sessions::close_range(&mut canister.storage).unwrap();

    let mut max = 0;
    let mut messages = 0;
    loop {
        crate::upload::mapped_sessions::LOOKED_UP.set(0);
        let outcome = run_message(&mut canister);
        max = max.max(crate::upload::mapped_sessions::LOOKED_UP.get());
        messages += 1;
        if outcome == RunOutcome::Done {
            break;
        }
        assert!(messages < 100, "the migration does not end");
    }
    // A message makes a few calls that each skip up to 1,000 sessions.
    assert!(max < 5_000, "{max} sessions were looked up in a message");
    assert_eq!(state(&canister).phase, Phase::Converted);
    crate::upload::mapped_sessions::LOOKED_UP.set(0);
    assert_eq!(run_message(&mut canister), RunOutcome::Done);
    let looked_up = crate::upload::mapped_sessions::LOOKED_UP.get();
    assert!(looked_up <= 1_001, "{looked_up} sessions are looked up when there is nothing to do");

    // The quarantined session is found again when it is retried.
    control(&mut canister).retry(Some(torn)).unwrap();
    assert_eq!(unit_counts(&run_to_end(&mut canister)), [2, 1, 1], "the chunk is still missing");
    canister.storage.blobs.write_chunk(prefix, 0, &content);
    control(&mut canister).retry(None).unwrap();
    assert_eq!(unit_counts(&run_to_end(&mut canister)), [2, 2, 0]);
}

#[test]
fn verify_finds_a_blob_that_is_longer_than_its_extents() {
    let mut canister = finalized_canister();
    let sound = upload(&mut canister, &file(CHUNK), "sound");
    let changed = upload(&mut canister, &file(2 * CHUNK), "changed");
    assert_eq!(run_to_end(&mut canister).converted, 2);
    control(&mut canister).verify().unwrap();
    let state = run_to_end(&mut canister);
    assert_eq!((state.phase, state.note.as_str()), (Phase::Converted, ""));

    let id = BlobId::from_locator(&changed).unwrap();
    let mut blobs: Table<u64, BlobRecord> =
        Table::open(&preflight::open_existing(canister.raw.clone()).unwrap(), memory_ids::BLOBS);
    let record = blobs.get(&id.0).unwrap().unwrap();
    blobs.insert(id.0, &BlobRecord { size: record.size + 64, ..record });
    run_message(&mut canister);
    control(&mut canister).verify().unwrap();
    let state = run_to_end(&mut canister);
    assert_eq!((state.phase, state.proven_since), (Phase::Converted, None));
    assert!(state.note.starts_with("1 of 2 records are not sound"), "{}", state.note);
    assert!(state.note.contains(&changed) && !state.note.contains(&sound), "{}", state.note);
}
