//! Payload moving from the chunk map into extents, message by message, with client calls in between.

mod damaged;
mod full;
mod released;
mod targets;

use super::MoveToExtents;
use crate::blob::{BlobId, CHUNK_SIZE, ChunkPrefix, Place};
use crate::meter::{Meter, Unmetered};
use crate::migrate::controls::Control;
use crate::migrate::{Engine, MessageBudget, Migration, MigrationState, Phase, RunOutcome, Treatment};
use crate::session::SessionId;
use crate::stable::layout::Layout;
use crate::upload::tests::{ALL_LAYOUTS, OWNER, TestCanister, file, person};

const CHUNK: usize = CHUNK_SIZE as usize;

const MIGRATION: MoveToExtents = MoveToExtents { layouts: ALL_LAYOUTS };

/// A meter with which a message ends after its first chunk.
struct OneChunk;

impl Meter for OneChunk {
    fn used(&self) -> u64 {
        u64::MAX
    }
}

/// Returns a canister in layout 2 whose migration 1 is finalized.
fn finalized_canister() -> TestCanister {
    let mut canister = TestCanister::direct();
    let state = MigrationState { phase: Phase::Finalized, ..MigrationState::default() };
    canister.storage.migration.set_state(1, &state);
    canister
}

fn control(canister: &mut TestCanister) -> Control<'_> {
    Control::of(&MIGRATION, &mut canister.storage, canister.now).unwrap()
}

/// Runs one message of migration 2, after an upgrade.
fn run_message(canister: &mut TestCanister) -> RunOutcome {
    canister.restart(Box::<crate::upload::path::direct::DirectPath>::default());
    let message = MessageBudget { now: canister.now.into(), meter: &OneChunk, budget: 0 };
    Engine::new(&[&MIGRATION]).run(&mut canister.storage, message).unwrap()
}

/// Runs messages until there is nothing left to do, or the migration waits or is stuck; returns its state.
fn run_to_end(canister: &mut TestCanister) -> MigrationState {
    let mut messages = 0;
    while run_message(canister) == RunOutcome::More {
        messages += 1;
        assert!(messages < 10_000, "the migration does not end");
    }
    state(canister)
}

/// Returns the state of migration 2.
fn state(canister: &TestCanister) -> MigrationState {
    canister.storage.migration.state_of(2).unwrap()
}

/// Uploads a file from begin to finish, and returns the locator of its blob.
fn upload(canister: &mut TestCanister, file: &[u8], idem: &str) -> String {
    let id = canister.begin(file.len(), idem);
    for idx in 0..file.len().div_ceil(CHUNK) {
        canister.put(id, file, idx).unwrap();
    }
    canister.finish(id, file).unwrap().blob_id
}

fn read_back(canister: &TestCanister, locator: &str) -> Vec<u8> {
    let id = BlobId::from_locator(locator).unwrap();
    let size = canister.storage.blobs.blob(id).unwrap().size;
    canister.storage.blobs.read_range(id, 0, size).unwrap()
}

fn is_in_extents(canister: &TestCanister, locator: &str) -> bool {
    let blob = canister.storage.blobs.blob(BlobId::from_locator(locator).unwrap()).unwrap();
    matches!(blob.place, Place::Extents(_))
}

/// Asserts that sweeping empties the chunk map, and that the region holds exactly files and sessions of these lengths.
fn assert_all_moved(canister: &mut TestCanister, lens: &[usize]) {
    while !canister.service().sweep().unwrap() {}
    assert_eq!(canister.storage.blobs.chunk_total(), 0, "nothing is left in the chunk map");
    let extents = canister.storage.blobs.extents();
    assert_eq!(extents.check(), Ok(()));
    let expected: u64 = lens.iter().map(|len| len.next_multiple_of(64) as u64).sum();
    assert_eq!(extents.taken_bytes(), Ok(expected), "no room was lost");
}

#[test]
fn migration_2_waits_for_migration_1_and_a_layout_3_build() {
    let mut canister = finalized_canister();
    let of_staged_build = MoveToExtents { layouts: &[Layout::LEGACY, Layout::SPLIT] };
    let message = MessageBudget { now: canister.now.into(), meter: &OneChunk, budget: 0 };
    assert_eq!(
        Engine::new(&[&of_staged_build]).run(&mut canister.storage, message).unwrap(),
        RunOutcome::Done
    );
    // A direct build, but migration 1 is not finalized.
    canister.storage.migration.set_state(1, &MigrationState::default());
    assert_eq!(run_message(&mut canister), RunOutcome::Done);
    assert_eq!(state(&canister), MigrationState::default());
    assert_eq!(canister.storage.layout.get(), Ok(Some(Layout::SPLIT)));
}

#[test]
fn an_empty_canister_is_in_layout_3_at_once() {
    let mut canister = finalized_canister();
    assert_eq!(run_to_end(&mut canister).phase, Phase::Converted);
    assert_eq!(canister.storage.layout.get(), Ok(Some(Layout::EXTENTS)));
    let id = canister.begin(10, "a");
    assert!(canister.storage.payloads.get(&id).unwrap().unwrap().extents.is_some());
    assert_eq!(run_message(&mut canister), RunOutcome::Done, "there is work left in layout 3");
}

#[test]
fn blobs_and_sessions_move_whatever_their_size_and_digest() {
    let mut canister = finalized_canister();
    let files = [file(3 * CHUNK + 5), file(1), file(0)];
    let mut uploaded = Vec::new();
    for (n, file) in files.iter().enumerate() {
        uploaded.push((upload(&mut canister, file, &format!("sha {n}")), file));
    }
    let mut canister = canister.with_blake3();
    uploaded.push((upload(&mut canister, &files[0], "blake3"), &files[0]));
    let begun = file(2 * CHUNK + 9);
    let by_blake3 = canister.begin(begun.len(), "in flight, BLAKE3");
    canister.put(by_blake3, &begun, 2).unwrap();
    canister.put(by_blake3, &begun, 0).unwrap();
    let mut canister = canister.with_sha256();
    let by_sha256 = canister.begin(begun.len(), "in flight, SHA-256");
    canister.put(by_sha256, &begun, 2).unwrap();
    canister.put(by_sha256, &begun, 0).unwrap();
    let untouched = canister.begin(begun.len(), "nothing has arrived");

    let state = run_to_end(&mut canister);
    assert_eq!((state.phase, state.note.as_str()), (Phase::Converted, ""));
    assert_eq!((state.source, state.converted, state.quarantined), (7, 7, 0));
    assert_eq!(state.digest_before, state.digest_after);
    assert_eq!(state.classes, [("session".to_owned(), 3), ("blob".to_owned(), 4)]);
    for (locator, file) in &uploaded {
        assert!(is_in_extents(&canister, locator) && read_back(&canister, locator) == **file);
    }
    let lens = [&files[0], &files[1], &files[0], &begun, &begun, &begun].map(Vec::len);
    assert_all_moved(&mut canister, &lens);
    for (id, is_blake3) in [(by_sha256, false), (untouched, false), (by_blake3, true)] {
        if is_blake3 {
            canister = canister.with_blake3();
        }
        for idx in 0..3 {
            canister.put(id, &begun, idx).unwrap();
        }
        let finished = canister.finish(id, &begun).unwrap();
        assert!(
            is_in_extents(&canister, &finished.blob_id) && read_back(&canister, &finished.blob_id) == begun
        );
    }
    assert_eq!(run_message(&mut canister), RunOutcome::Done);
}

#[test]
fn clients_continue_during_the_migration() {
    let mut canister = finalized_canister();
    let large = file(4 * CHUNK);
    let uploaded = upload(&mut canister, &large, "kept");
    let deleted = upload(&mut canister, &file(3 * CHUNK), "deleted");
    let [finished, aborted, grows] =
        ["finished", "aborted", "grows"].map(|idem| canister.begin(large.len(), idem));
    for id in [finished, aborted, grows] {
        for idx in [0, 1, 3] {
            canister.put(id, &large, idx).unwrap();
        }
    }
    let mut step = 0;
    let mut locators = Vec::new();
    while run_message(&mut canister) == RunOutcome::More {
        step += 1;
        assert!(read_back(&canister, &uploaded) == large, "read in step {step}");
        match step {
            2 => canister.put(grows, &large, 2).unwrap(),
            3 => canister.put(finished, &large, 2).unwrap(),
            4 => locators.push(canister.finish(finished, &large).unwrap().blob_id),
            5 => canister.service().abort(aborted).unwrap(),
            6 => {
                let id = BlobId::from_locator(&deleted).unwrap();
                crate::memories::delete_blob(&mut canister.storage, person(OWNER), id).unwrap();
            }
            7 => locators.push(upload(&mut canister, &file(CHUNK + 1), "begun in layout 3")),
            _ => {}
        }
    }
    assert!(step > 7, "{step} messages are too few for the client to come in between");
    let state = run_to_end(&mut canister);
    assert_eq!((state.phase, state.note.as_str(), state.quarantined), (Phase::Converted, "", 0));
    assert_eq!(state.digest_before, state.digest_after);
    let [finished_blob, new_blob] = &locators[..] else { panic!("{locators:?}") };
    assert_eq!(*finished_blob, uploaded, "the same content in the same capsule is stored once");
    assert!(read_back(&canister, new_blob) == file(CHUNK + 1));
    let grown_blob = canister.finish(grows, &large).unwrap().blob_id;
    assert!(read_back(&canister, &grown_blob) == large);
    assert_all_moved(&mut canister, &[large.len(), CHUNK + 1]);
}

/// Runs messages until a unit is in progress, and returns it.
fn run_until_in_progress(canister: &mut TestCanister) -> u64 {
    loop {
        assert_eq!(
            run_message(canister),
            RunOutcome::More,
            "the migration has ended, and no unit was in progress between two messages"
        );
        if let Some(unit) = state(canister).unit {
            return unit.key;
        }
    }
}

#[test]
fn a_unit_removed_by_its_client_frees_its_extents() {
    let mut canister = finalized_canister();
    let locator = upload(&mut canister, &file(3 * CHUNK), "deleted in between");
    let id = BlobId::from_locator(&locator).unwrap();
    assert_eq!(run_until_in_progress(&mut canister), id.0);
    crate::memories::delete_blob(&mut canister.storage, person(OWNER), id).unwrap();
    let state = run_to_end(&mut canister);
    assert_eq!((state.phase, state.source, state.unit), (Phase::Converted, 0, None));
    assert_all_moved(&mut canister, &[]);

    let mut canister = finalized_canister();
    let content = file(3 * CHUNK);
    let id = canister.begin(content.len(), "aborted in between");
    (0..3).for_each(|idx| canister.put(id, &content, idx).unwrap());
    assert_eq!(run_until_in_progress(&mut canister), id);
    canister.service().abort(id).unwrap();
    assert_eq!(run_to_end(&mut canister).phase, Phase::Converted);
    assert_all_moved(&mut canister, &[]);
}

#[test]
fn the_digest_of_a_blob_covers_every_field_but_its_place() {
    let mut canister = finalized_canister();
    let locator = upload(&mut canister, &file(10), "a");
    let id = BlobId::from_locator(&locator).unwrap();
    let blob = canister.storage.blobs.blob(id).unwrap();
    let digest = super::blob::digest(id, &blob);
    let mut moved = blob.clone();
    moved.place = Place::Extents(canister.storage.blobs.allocate(10).unwrap());
    assert_eq!(super::blob::digest(id, &moved), digest);
    let mut changed = [blob.clone(), blob.clone(), blob];
    changed[0].size += 1;
    changed[1].digest.bytes[31] ^= 1;
    changed[2].created_at = canister.now.plus_seconds(1);
    assert!(changed.iter().all(|changed| super::blob::digest(id, changed) != digest));
    assert_ne!(super::blob::digest(BlobId(id.0 ^ 1), &moved), digest);
}

#[test]
fn the_digest_of_a_session_covers_both_its_records() {
    let mut canister = finalized_canister();
    let [id, other] = ["one", "other"].map(|idem| SessionId(canister.begin(2 * CHUNK, idem)));
    let digest = |canister: &TestCanister, id| super::session::digest(&canister.storage, id).unwrap();
    let begun = digest(&canister, id);
    assert_ne!(digest(&canister, other), begun);
    canister.put(id.0, &file(2 * CHUNK), 0).unwrap();
    let filled = digest(&canister, id);
    assert_ne!(filled, begun, "the digest covers what has arrived");
    let mut meta = canister.storage.sessions.metas.get(&id.0).unwrap().unwrap();
    meta.expected_chunks += 1;
    canister.storage.sessions.metas.insert(id.0, &meta);
    assert_ne!(digest(&canister, id), filled, "the digest covers the metadata");
}

#[test]
fn the_readme_lists_every_class_and_every_field() {
    let readme = include_str!("README.md");
    let plan = MIGRATION.plan();
    let classes = plan.classes.iter();
    let classes: Vec<_> = classes
        .map(|class| format!("| {} | {} | {} |", class.name, class.treatment.name(), class.what))
        .collect();
    let fields: Vec<_> = plan.fields.iter().map(|(field, place)| format!("| {field} | {place} |")).collect();
    for table in [classes.join("\n"), fields.join("\n")] {
        assert!(readme.contains(&table), "the table is:\n{table}");
    }
}

#[test]
fn the_class_of_a_trapped_unit_is_quarantined() {
    let class = &MIGRATION.plan().classes[MIGRATION.trapped_class()];
    assert_eq!((class.name, class.treatment), ("cut off", Treatment::Quarantine));
}

#[test]
fn the_estimated_cost_of_a_unit_depends_on_its_bytes() {
    let mut canister = finalized_canister();
    let blob = upload(&mut canister, &file(CHUNK), "a blob");
    let empty = upload(&mut canister, &[], "an empty blob");
    let session = canister.begin(2 * CHUNK, "a session");
    canister.put(session, &file(2 * CHUNK), 0).unwrap();
    let cost = |key| MIGRATION.cost_beyond_digest(&canister.storage, key).unwrap();
    let cost_of_blob = |locator: &str| cost(BlobId::from_locator(locator).unwrap().0);
    let chunk = CHUNK as u64;
    assert_eq!(
        [cost_of_blob(&empty), cost_of_blob(&blob), cost(session)],
        [0, 12, 12].map(|per_byte| 500_000 + per_byte * chunk)
    );
}

#[test]
fn a_dry_run_counts_what_is_in_the_chunk_map() {
    let mut canister = finalized_canister();
    upload(&mut canister, &file(CHUNK), "a blob");
    let session = canister.begin(2 * CHUNK, "a session");
    canister.put(session, &file(2 * CHUNK), 0).unwrap();
    let units = |canister: &TestCanister| {
        let message = MessageBudget { now: canister.now.into(), meter: &Unmetered, budget: 0 };
        Engine::dry_run_of(&MIGRATION, &canister.storage, message, None, None).unwrap().units
    };
    assert_eq!(units(&canister), 2);
    run_to_end(&mut canister);
    assert_eq!(units(&canister), 0);
}

/// The client sends a chunk again after the migration has copied it, since finish has failed on the digest.
#[test]
fn chunks_that_clients_replace_meanwhile_are_copied_again() {
    for blake3 in [false, true] {
        let canister = finalized_canister();
        let mut canister = if blake3 { canister.with_blake3() } else { canister };
        let file = file(3 * CHUNK + 5);
        let mut sent = file.clone();
        sent[0] ^= 1;
        let id = canister.begin(file.len(), "a");
        (0..4).for_each(|idx| canister.put(id, &sent, idx).unwrap());
        canister.finish(id, &file).unwrap_err();
        while state(&canister).unit.is_none() {
            run_message(&mut canister);
        }
        run_message(&mut canister);
        canister.put(id, &file, 0).unwrap();
        assert_eq!(run_to_end(&mut canister).phase, Phase::Converted);
        assert!(canister.storage.payloads.get(&id).unwrap().unwrap().extents.is_some());
        let finished = canister.finish(id, &file).unwrap();
        assert!(read_back(&canister, &finished.blob_id) == file);
        assert_all_moved(&mut canister, &[file.len()]);
    }
}
