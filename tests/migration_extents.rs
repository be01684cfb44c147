//! The second migration, from the chunk map into extents, interrupted at every message, on real wasm: it ends in the
//! same state as without interruptions, and clients that call in between get the same answers as at any other time.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::support::conversion::extents::held::Held;
use crate::support::conversion::extents::image::{UploadedFile, image};
use crate::support::conversion::extents::{InChunkMap, SECOND, storage, unit_in_progress};
use crate::support::conversion::{
    Interruption, Start, after_messages, assert_same_when_interrupted, count_messages, dump_uninterrupted,
    pause_and_resume, settle_migration,
};
use crate::support::traps::{
    assert_same_when_trapped, assert_same_when_upgrade_traps, executed, is_embedded, with_message_limit,
};
use crate::support::upload::{CHUNK, digest};
use crate::support::{InstalledCanister, controller, owner};
use session_migrate::build::Build;
use upload_canister::api::{Error, MigrationPhase, MigrationStatus, UploadFinishResult};
use upload_canister::blob::Place;
use upload_canister::migrate::Phase;
use upload_canister::stable::layout::Layout;
use upload_canister::storage::Storage;

#[test]
fn the_migration_preserves_everything_that_is_stored() {
    let before = Held::of(&storage(&InChunkMap.canister()));
    let after = dump_uninterrupted(InChunkMap);
    let (blobs, sessions) = (image().sound_blobs().count(), image().sessions().count());
    assert_eq!((before.moved_counts(), after.held.moved_counts()), ([0, 0], [blobs, sessions]));
    // The map keeps the two chunks of the damaged blob `torn`, and the chunk of the session that the first migration
    // has quarantined.
    assert_eq!(after.held.chunk_map, [3, 0]);
    // Extents are allocated in units of 64 bytes.
    let moved = image().sound_blobs().chain(image().sessions());
    let taken: usize = moved.map(|(_, uploaded)| uploaded.content.len().next_multiple_of(64)).sum();
    assert_eq!(after.held.region, taken as u64);
    assert_eq!(after.held.without_places(), before.without_places());

    let [blobs, sessions] = [blobs, sessions].map(|count| count as u64);
    assert_eq!(
        (after.phase, after.counts),
        (Phase::Converted, [sessions + blobs + 2, sessions + blobs, 2, 0])
    );
    let classes = [("session", sessions), ("blob", blobs), ("damaged blob", 2)];
    let classes = classes.map(|(name, count)| (name.to_owned(), count));
    assert!(after.classes.len() == 3 && classes.iter().all(|class| after.classes.contains(class)));
    assert_eq!((after.digests[0], after.quarantine.len()), (after.digests[1], 2));
}

#[test]
fn a_message_that_traps_changes_nothing() {
    assert_same_when_trapped(InChunkMap);
}

#[test]
fn an_upgrade_that_traps_leaves_the_old_build_running() {
    assert_same_when_upgrade_traps(InChunkMap);
}

const INTERRUPTIONS: &[(&str, Interruption)] = &[
    ("an upgrade to the same build", |canister| canister.try_upgrade(Build::Direct).unwrap()),
    ("a pause", pause_and_resume),
];

#[test]
fn any_interruption_leads_to_the_same_final_state() {
    assert_same_when_interrupted(InChunkMap, INTERRUPTIONS);
}

/// Timers do not run on a stopped canister, so only the upgrades move payload, a few chunks each.
#[test]
fn repeated_upgrades_lead_to_the_same_final_state() {
    let mut canister = InChunkMap.canister();
    canister.pic.stop_canister(canister.id, Some(controller())).unwrap();
    let (blob, mut ended_in_blob) = (image().file("long").blob.unwrap().0, 0);
    for upgrade in 0.. {
        canister.try_upgrade(Build::Direct).unwrap();
        let storage = storage(&canister);
        ended_in_blob += u32::from(unit_in_progress(&storage) == Some(blob));
        if storage.migration.state_of(SECOND).unwrap().phase == Phase::Converted {
            break;
        }
        assert!(upgrade < 60, "the migration is not converted after 60 upgrades");
    }
    assert!(ended_in_blob >= 5, "{ended_in_blob} upgrades ended in the middle of the long blob");
    canister.pic.start_canister(canister.id, Some(controller())).unwrap();
    canister.build = Build::Direct;
    assert_eq!(InChunkMap::dump(&canister), dump_uninterrupted(InChunkMap));
}

/// A message of the timers moves more bytes than any blob of the image has, and none of these messages ends in the
/// middle of a blob. The message of the upgrade moves fewer bytes, and ends in the middle of the long session. Further
/// upgrades end in the middle of a blob (see the test above).
#[test]
fn a_message_ends_in_the_middle_of_a_session() {
    let units: BTreeSet<u64> = (0..count_messages(InChunkMap))
        .filter_map(|k| unit_in_progress(&storage(&after_messages(InChunkMap, k))))
        .collect();
    let session = image().file("long session").session;
    assert!(units.contains(&session), "no message ends in session {session}, only in {units:?}");
}

/// Calls of clients, with checks of the answers, which must not depend on the progress of the migration.
const CLIENTS: &[(&str, Interruption)] = &[
    ("everything is read", |canister| {
        for (name, uploaded) in image().sound_blobs() {
            assert!(canister.read_back(owner(), &uploaded.locator()) == uploaded.content, "{name}");
        }
        let UploadedFile { content, .. } = image().file("long");
        let (at, len) = (content.len() / 3, 1_000_000);
        let range =
            canister.read_range(owner(), &image().file("long").locator(), at as u64, len as u64).unwrap();
        assert!(range == content[at..at + len], "a range of the long blob");
    }),
    ("chunks arrive", |canister| {
        for (name, idx) in [("long session", 3), ("begun, by BLAKE3", 0), ("nothing has come", 0)] {
            let UploadedFile { session, content, .. } = image().file(name);
            canister.put(owner(), *session, idx, content).unwrap();
            let mut other = content.clone();
            other.fill(1);
            let refused = canister.put(owner(), *session, idx, &other).unwrap_err();
            assert!(matches!(refused, Error::Conflict { .. }), "{name}: {refused}");
            assert!(
                canister.status(owner(), *session).unwrap().missing.iter().all(|range| range.first != idx)
            );
        }
    }),
    ("uploads are finished", |canister| {
        for name in ["complete", "complete, by BLAKE3"] {
            let uploaded = image().file(name);
            let finished = finish(canister, uploaded);
            assert_eq!(finish(canister, uploaded), finished, "{name}");
            assert!(canister.read_back(owner(), &finished.blob_id) == uploaded.content, "{name}");
        }
    }),
    ("an upload is completed and finished", |canister| {
        let uploaded = image().file("long session");
        canister.put(owner(), uploaded.session, 3, &uploaded.content).unwrap();
        let finished = finish(canister, uploaded);
        assert!(canister.read_back(owner(), &finished.blob_id) == uploaded.content);
    }),
    ("blobs are deleted", |canister| {
        for name in ["long", "short", "two, by BLAKE3"] {
            let locator = image().file(name).locator();
            canister.update::<()>(owner(), "blob_delete", (&locator,)).unwrap();
            let gone = canister.blob_meta(owner(), &locator).unwrap_err();
            assert!(matches!(gone, Error::NotFound { .. }), "{name}: {gone}");
        }
    }),
    ("uploads are aborted", |canister| {
        for name in ["long session", "begun, by BLAKE3"] {
            let UploadedFile { session, .. } = image().file(name);
            canister.abort(owner(), *session).unwrap();
        }
    }),
];

fn finish(canister: &InstalledCanister, uploaded: &UploadedFile) -> UploadFinishResult {
    let digest = digest(uploaded.hash, &uploaded.content);
    canister.finish_with_digest(owner(), uploaded.session, &digest, uploaded.content.len() as u64).unwrap()
}

/// Waits until the migration and the timers have nothing left to do. Returns everything that is stored, without times.
fn held_at_rest(canister: &InstalledCanister) -> Held {
    let state = settle_migration(canister);
    assert_eq!(state.phase, MigrationPhase::Converted, "{}", state.note);
    let accounted = state.converted + state.already + state.quarantined + state.expired;
    assert_eq!((state.source, state.digest_before), (accounted, state.digest_after));
    canister.run_timers_until(|_| true);
    Held::of(&storage(canister)).without_times()
}

#[test]
fn client_calls_between_messages_answer_as_after_migration_2() {
    let messages = count_messages(InChunkMap);
    for (what, act) in CLIENTS {
        let mut canister = after_messages(InChunkMap, messages);
        act(&mut canister);
        let expected = held_at_rest(&canister);
        for k in 0..messages {
            let mut canister = after_messages(InChunkMap, k);
            act(&mut canister);
            assert_eq!(held_at_rest(&canister), expected, "{what} after {k} messages");
        }
    }
}

/// Lets time pass and runs a round. After a minute, the sweep starts; without waiting, the next message of a running
/// sweep is executed. Returns the number of chunks in the chunk map afterwards.
fn sweep(canister: &InstalledCanister, seconds: u64) -> u64 {
    canister.pic.advance_time(Duration::from_secs(seconds));
    canister.pic.tick();
    canister.stats().chunks
}

/// Returns a canister that is about to compact its chunk map, and the number of chunks in the map.
fn before_compaction() -> (InstalledCanister, u64) {
    let canister = after_messages(InChunkMap, count_messages(InChunkMap));
    let chunks = canister.stats().chunks;
    assert_eq!(sweep(&canister, 61), chunks, "the map is only marked for compaction");
    (canister, chunks)
}

/// Number of chunks that stay in the chunk map because their units are quarantined, in migration 1 or 2.
const QUARANTINED: u64 = 3;

#[test]
fn chunks_in_quarantine_are_stored_again_in_an_emptied_map() {
    let (canister, chunks) = before_compaction();
    let mut expected = Held::of(&storage(&canister));
    assert!(chunks > 3 * QUARANTINED, "most of the {chunks} chunks can be removed");
    let seen: BTreeSet<u64> = (0..4).map(|_| sweep(&canister, 0)).filter(|left| *left != chunks).collect();
    assert_eq!(seen, BTreeSet::from([QUARANTINED]), "all other chunks are removed at once");
    expected.chunk_map = [QUARANTINED, 0];
    assert_eq!(Held::of(&storage(&canister)), expected);
    assert_eq!(InChunkMap::dump(&canister), dump_uninterrupted(InChunkMap));

    // The missing bytes of a quarantined blob are stored again, and the blob is retried.
    let torn = image().file("torn");
    let raw = canister.stable_memory();
    {
        let mut storage = Storage::open_accepting(raw.clone(), &[Layout::EXTENTS]).unwrap();
        let Place::Chunks(prefix) = storage.blobs.blob(torn.blob.unwrap()).unwrap().place else {
            panic!("the quarantined blob is not in the chunk map")
        };
        storage.blobs.write_chunk(prefix, 1, &torn.content[CHUNK..]);
    }
    canister.set_stable_memory(&raw);
    canister.try_upgrade(Build::Direct).unwrap();
    let retried: upload_canister::api::Result<MigrationStatus> =
        canister.update(controller(), "migration_retry", (Some(torn.blob.unwrap().0),));
    assert_eq!(retried.unwrap().quarantined, 1);
    assert_eq!(settle_migration(&canister).phase, MigrationPhase::Converted);
    canister.run_timers_until(|stats| stats.chunks == 1);
    assert!(canister.read_back(owner(), &torn.locator()) == torn.content);
}

#[test]
fn a_compaction_that_traps_changes_nothing() {
    if !is_embedded() {
        return;
    }
    const PARTS: u64 = 6;
    let expected = dump_uninterrupted(InChunkMap);
    let (canister, chunks) = before_compaction();
    let all = executed(&canister, |canister| {
        sweep(canister, 0);
    });
    assert_eq!(canister.stats().chunks, QUARANTINED, "{all:?}");
    let cost = all.iter().map(|message| message.instructions).max().unwrap();
    for part in 1..PARTS {
        let (canister, _) = before_compaction();
        let before = Held::of(&storage(&canister));
        let trapped = with_message_limit(&canister, cost * part / PARTS, |canister| {
            sweep(canister, 0);
        });
        assert_eq!(trapped.len(), 1, "part {part}: {trapped:?}");
        assert_eq!(Held::of(&storage(&canister)), before, "part {part}");
        assert_eq!(sweep(&canister, 61), QUARANTINED, "part {part}: the compaction is repeated");
        assert_eq!(InChunkMap::dump(&canister), expected, "part {part}");
    }
    // Now the compaction traps each time, until the sweep no longer repeats it.
    let (canister, _) = before_compaction();
    let trapped = with_message_limit(&canister, cost / 2, |canister| {
        for _ in 0..4 {
            sweep(canister, 61);
        }
    });
    // After that, chunks are removed one by one. These messages trap, too, but at this limit they have written nothing
    // yet.
    let compactions = trapped.iter().filter(|message| message.stable_bytes_written > 0).count();
    assert!((1..4).contains(&compactions), "{trapped:?}");
    // A sweep whose message has trapped begins again after a minute.
    let seconds = [61].into_iter().chain([1; 20]);
    let seen: BTreeSet<u64> = seconds.map(|seconds| sweep(&canister, seconds)).collect();
    assert!(seen.iter().any(|left| (QUARANTINED + 1..chunks).contains(left)), "one by one: {seen:?}");
    assert_eq!(InChunkMap::dump(&canister), expected);
}
