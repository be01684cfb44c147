//! Tests of the engine with migration 1, on records of layout 1 that the compat path has written. The submodules
//! `second` and `as_they_go` use another migration in addition.

mod as_they_go;
mod batches;
mod deferred;
mod go_forward;
mod interrupted;
mod leftovers;
mod older_records;
mod quarantine;
mod reels;
mod rollback;
mod second;

use super::*;
use crate::api::{Error, MigrationPhase};
use crate::blob::{CHUNK_SIZE, ChunkPrefix};
use crate::meter::{Meter, Unmetered};
use crate::migrate::open_storage;
use crate::migrations::SplitSessions;
use crate::session::SessionId;
use crate::stable::Table;
use crate::stable::keys::TwoTexts;
use crate::stable::layout::Layout;
use crate::storage::Storage;
use crate::upload::limits::DEFAULT_SESSION_TTL_SECONDS;
use crate::upload::path::direct::DirectPath;
use crate::upload::tests::{OWNER, TestCanister, file, person, set_share};
use crate::upload::{IdemKey, RawRecord};

const CHUNK: usize = CHUNK_SIZE as usize;

/// A meter with which a message of budget 0 ends after one step.
struct OneStep;

impl Meter for OneStep {
    fn used(&self) -> u64 {
        1
    }
}

/// A session, its file, and the chunks that have arrived.
type Begun = (u64, Vec<u8>, Vec<usize>);

/// Returns a canister in layout 1 with five sessions, which have received none, some or all of their chunks.
fn canister_in_layout_1() -> (TestCanister, Vec<Begun>) {
    let mut canister = TestCanister::compat();
    canister.storage.layout.set(&Layout::LEGACY);
    let sessions = [vec![], vec![0], vec![0, 2], vec![0, 1, 2], vec![2, 1]];
    let sessions = sessions.into_iter().enumerate().map(|(n, put)| {
        let file = file(2 * CHUNK + n);
        let id = canister.begin(file.len(), &n.to_string());
        for idx in &put {
            canister.put(id, &file, *idx).unwrap();
        }
        (id, file, put)
    });
    let sessions = sessions.collect();
    (canister, sessions)
}

/// Returns the canister of [`canister_in_layout_1`] on the staged build after migration 1, which is converted but not
/// finalized.
fn staged_canister() -> (TestCanister, Vec<Begun>) {
    let (mut canister, sessions) = canister_in_layout_1();
    upgrade(&mut canister);
    canister.path = TestCanister::staged().path;
    run_to_end(&mut canister);
    (canister, sessions)
}

/// Like [`staged_canister`], but the first of the five sessions is in quarantine, since its record did not decode.
fn staged_with_one_in_quarantine() -> (TestCanister, SessionId) {
    let (mut canister, sessions) = canister_in_layout_1();
    let id = sessions[0].0;
    canister.storage.sessions.legacy.insert(id, &RawRecord(b"rubbish".to_vec()));
    upgrade(&mut canister);
    canister.path = TestCanister::staged().path;
    assert_eq!(run_to_end(&mut canister).quarantined, 1);
    (canister, SessionId(id))
}

/// Removes a session from all indexes and accounts: sessions of the first public release are in none.
fn forget(canister: &mut TestCanister, id: u64, file: &[u8], idem: &str) {
    let (caller, bytes) = (person(OWNER), file.len() as u64);
    let key = IdemKey::of(&canister.capsule, &caller, idem);
    canister.storage.index.remove_keeping_key(SessionId(id), caller, canister.now);
    canister.storage.index.remove_key_of(key, SessionId(id)).unwrap();
    canister.storage.usage.release_reserved(caller, &canister.capsule, bytes).unwrap();
}

/// Returns the phase of migration 1.
fn phase(canister: &TestCanister) -> Phase {
    canister.storage.migration.state().unwrap().phase
}

/// Makes new sessions begin on the direct path, as in the staged and the direct build after an upgrade. Neither opens
/// the memory again nor runs the engine.
fn upgrade(canister: &mut TestCanister) {
    set_share(&mut canister.storage, 0);
    canister.path = Box::<DirectPath>::default();
}

/// Runs the engine in one message until it has no work, and returns the state of migration 1.
fn run_to_end(canister: &mut TestCanister) -> MigrationState {
    assert_eq!(run(&mut canister.storage, canister.now, &Unmetered, 0), Ok(RunOutcome::Done));
    canister.storage.migration.state().unwrap()
}

#[test]
fn every_session_continues_where_it_was() {
    let (mut canister, sessions) = canister_in_layout_1();
    let before: Vec<_> = sessions.iter().map(|(id, ..)| canister.service().status(*id).unwrap()).collect();
    upgrade(&mut canister);
    let state = run_to_end(&mut canister);
    assert_eq!((state.phase, state.source, state.converted), (Phase::Converted, 5, 5));
    assert_eq!(state.digest_before, state.digest_after);
    assert_ne!(state.digest_before, MultisetDigest::default());
    assert_eq!(canister.storage.layout.get(), Ok(Some(Layout::SPLIT)));
    for (mut before, (id, file, put)) in before.into_iter().zip(sessions) {
        before.path = crate::api::SessionPath::Direct;
        assert_eq!(canister.service().status(id).unwrap(), before, "nothing but the path has changed");
        assert_eq!(canister.begin(file.len(), &before.idem), id, "the idempotency key leads to the session");
        for idx in 0..file.chunks(CHUNK).len() {
            canister.put(id, &file, idx).unwrap();
        }
        let memory = canister.finish(id, &file).unwrap().memory_id;
        assert_eq!(memory, before.provisional_memory_id, "{put:?}");
    }
}

/// The first public release may have stored a session under an id above its counter. New ids continue after that one,
/// but not after `u64::MAX`, which no build can have issued.
#[test]
fn ids_continue_after_the_highest_session_of_layout_1() {
    let (mut canister, sessions) = canister_in_layout_1();
    let highest = 1 << 40;
    let raw = canister.storage.sessions.legacy.get_raw(&sessions[4].0).unwrap();
    for id in [highest, u64::MAX] {
        canister.storage.sessions.legacy.insert(id, &RawRecord(raw.clone()));
    }
    upgrade(&mut canister);
    run_to_end(&mut canister);
    assert_eq!(
        canister.begin(1, "new"),
        highest + 1,
        "ids do not continue after an id that no build has issued"
    );
}

#[test]
fn the_migration_resumes_exactly_where_a_message_ended() {
    let (mut canister, sessions) = canister_in_layout_1();
    upgrade(&mut canister);
    let mut messages = 0;
    while run(&mut canister.storage, canister.now, &OneStep, 0) == Ok(RunOutcome::More) {
        messages += 1;
        let raw = canister.raw.clone();
        canister.storage = open_storage(raw).unwrap(); // an upgrade between any two messages
    }
    let state = canister.storage.migration.state().unwrap();
    assert_eq!((state.phase, state.source, state.converted), (Phase::Converted, 5, 5));
    assert!(messages > 2 * sessions.len(), "one step per message: {messages}");
}

#[test]
fn retry_and_verify_are_refused_while_compat_is_in_use() {
    let (mut canister, sessions) = canister_in_layout_1();
    canister.storage.sessions.legacy.insert(sessions[0].0, &RawRecord(b"rubbish".to_vec()));
    upgrade(&mut canister);
    let before = run_to_end(&mut canister);
    set_share(&mut canister.storage, 5);
    for refused in [
        controls::retry(&mut canister.storage, canister.now, None),
        controls::verify(&mut canister.storage, canister.now),
    ] {
        let refused = refused.unwrap_err();
        assert!(
            matches!(refused, Error::Conflict { ref detail, .. } if detail.contains("in use")),
            "{refused}"
        );
    }
    assert_eq!(canister.storage.migration.state().unwrap(), before);
    set_share(&mut canister.storage, 0);
    controls::verify(&mut canister.storage, canister.now).unwrap();
    assert_eq!(run_to_end(&mut canister).phase, Phase::Converted);
    controls::retry(&mut canister.storage, canister.now, None).unwrap();
    let state = run_to_end(&mut canister);
    assert_eq!((state.phase, state.source, state.quarantined), (Phase::Converted, 5, 1), "{}", state.note);
}

#[test]
fn a_touched_session_is_converted_at_once_and_counted_once() {
    // One step enters each phase, five steps count, and five convert. The touched session is the last of the five.
    let steps_before_touch = [0, 1, 2, 6, 7, 9, 11, 12];
    for steps in steps_before_touch {
        let (mut canister, sessions) = canister_in_layout_1();
        upgrade(&mut canister);
        for _ in 0..steps {
            let _ = run(&mut canister.storage, canister.now, &OneStep, 0);
        }
        let (id, file, _) = &sessions[4];
        canister.put(*id, file, 0).unwrap();
        assert!(!canister.storage.sessions.legacy.contains(id));
        let state = run_to_end(&mut canister);
        assert_eq!(state.phase, Phase::Converted, "after {steps} steps: {}", state.note);
        assert_eq!((state.source, state.converted + state.already), (5, 5), "after {steps} steps");
        let expected = u64::from(steps < 12);
        assert_eq!(state.already, expected, "after {steps} steps");
    }
}

#[test]
fn an_unconvertible_record_is_quarantined_with_the_reason() {
    let (mut canister, sessions) = canister_in_layout_1();
    let [undecodable, stray] = [sessions[0].0, sessions[1].0];
    canister.storage.sessions.legacy.insert(undecodable, &RawRecord(b"rubbish".to_vec()));
    let status = canister.service().status(stray).unwrap();
    let prefix = ChunkPrefix::of(&status.provisional_memory_id, SessionId(stray));
    canister.storage.blobs.write_chunk(prefix, 77, b"stray");
    upgrade(&mut canister);
    let state = run_to_end(&mut canister);
    assert_eq!(state.phase, Phase::Converted, "{}", state.note);
    assert_eq!((state.source, state.converted, state.quarantined), (5, 3, 2));
    let quarantine = canister.storage.migration.quarantined(None);
    assert_eq!(quarantine.len(), 2);
    assert_eq!(quarantine[0].raw.as_slice(), b"rubbish");
    assert!(quarantine[1].reason.contains("chunk 77"), "{}", quarantine[1].reason);
    let put = canister.put(stray, &sessions[1].1, 0).unwrap_err();
    assert!(matches!(put, Error::Conflict { ref detail, .. } if detail.contains("chunk 77")), "{put}");
    assert!(canister.storage.blobs.has_chunk(prefix, 0), "the chunks of a quarantined session stay");
    let status = canister.service().status(undecodable).unwrap_err();
    assert!(
        matches!(status, Error::Conflict { .. }),
        "the owner of a record that does not decode is told: {status}"
    );
    for id in [undecodable, stray] {
        let stranger = canister.as_person(2).status(id);
        assert_eq!(stranger, Err(Error::not_found("session", id)), "a stranger is told nothing");
    }
}

#[test]
fn a_session_is_converted_for_its_owner_and_for_no_stranger() {
    let (mut canister, sessions) = canister_in_layout_1();
    upgrade(&mut canister);
    let (id, file, _) = &sessions[1];
    let stranger = canister.as_person(2).status(*id);
    assert_eq!(stranger, Err(Error::not_found("session", id)));
    let stranger = canister.as_person(2).put_chunk(*id, 0, &mut &file[..CHUNK], None);
    assert_eq!(stranger, Err(Error::not_found("session", id)));
    assert!(canister.storage.sessions.legacy.contains(id), "nothing was changed for a stranger");
    assert_eq!(canister.storage.layout.get(), Ok(Some(Layout::LEGACY)));
    canister.service().status(*id).unwrap();
    assert!(!canister.storage.sessions.legacy.contains(id));
}

#[test]
fn expired_sessions_are_released_and_accounted_for() {
    let (mut canister, sessions) = canister_in_layout_1();
    canister.now = canister.now.plus_seconds(DEFAULT_SESSION_TTL_SECONDS);
    let active = &sessions[3];
    canister.storage.sessions.legacy.record_activity(active.0, canister.now);
    upgrade(&mut canister);
    let state = run_to_end(&mut canister);
    assert_eq!((state.phase, state.expired, state.converted), (Phase::Converted, 4, 1), "{}", state.note);
    assert_eq!(canister.live_counts(), [0, 2, 1, 3, 0], "only the active session is left");
}

#[test]
fn a_lost_record_is_noticed() {
    let (mut canister, sessions) = canister_in_layout_1();
    upgrade(&mut canister);
    while canister.storage.migration.state().unwrap().phase != Phase::Converting {
        let _ = run(&mut canister.storage, canister.now, &OneStep, 0);
    }
    canister.storage.sessions.legacy.remove(&sessions[2].0);
    let state = run_to_end(&mut canister);
    assert_eq!(state.phase, Phase::Stuck);
    assert!(state.note.contains("source 5"), "{}", state.note);
}

#[test]
fn a_changed_record_is_noticed() {
    let (mut canister, sessions) = canister_in_layout_1();
    upgrade(&mut canister);
    while canister.storage.migration.state().unwrap().phase != Phase::Converting {
        let _ = run(&mut canister.storage, canister.now, &OneStep, 0);
    }
    let id = sessions[2].0;
    let raw = canister.storage.sessions.legacy.get_raw(&id).unwrap();
    let mut legacy = crate::migrations::split_sessions::LegacyUploadSession::decode(&raw).unwrap();
    legacy.created_at += 1;
    canister.storage.sessions.legacy.insert(id, &RawRecord(legacy.encode()));
    let state = run_to_end(&mut canister);
    assert_eq!(state.phase, Phase::Stuck);
    assert!(state.note.contains("digest"), "{}", state.note);
}

#[test]
fn while_the_compat_path_is_in_use_nothing_is_converted() {
    let (mut canister, _) = canister_in_layout_1();
    assert_eq!(run(&mut canister.storage, canister.now, &Unmetered, 0), Ok(RunOutcome::Done));
    assert_eq!(canister.storage.sessions.legacy.len(), 5);
    assert_eq!(canister.storage.migration.state().unwrap(), MigrationState::default());
}

#[test]
fn sessions_that_the_compat_path_made_later_are_converted_later() {
    let (mut canister, _) = canister_in_layout_1();
    upgrade(&mut canister);
    run_to_end(&mut canister);
    let direct_path = std::mem::replace(&mut canister.path, TestCanister::compat().path);
    let id = canister.begin(10, "late");
    canister.path = direct_path;
    assert!(canister.storage.sessions.legacy.contains(&id));
    let state = run_to_end(&mut canister);
    assert_eq!((state.phase, state.source, state.converted), (Phase::Converted, 6, 6));
}

#[test]
fn empty_layout_1_becomes_layout_2_and_fresh_layout_2_stays() {
    let mut canister = TestCanister::direct();
    assert_eq!(run_to_end(&mut canister), MigrationState::default());
    canister.storage.layout.set(&Layout::LEGACY);
    assert_eq!(run_to_end(&mut canister).phase, Phase::Converted);
    assert_eq!(canister.storage.layout.get(), Ok(Some(Layout::SPLIT)));
}

#[test]
fn the_journal_is_a_chain_of_what_happened() {
    let (mut canister, _) = canister_in_layout_1();
    upgrade(&mut canister);
    run_to_end(&mut canister);
    let journal = canister.storage.migration.journal(0).unwrap();
    let events: Vec<_> = journal.iter().map(|entry| entry.event.as_str()).collect();
    assert_eq!(events, ["validating", "layout 2", "converting", "verifying", "converted"]);
    assert_eq!(journal[0].previous.as_slice(), [0; 32]);
    for pair in journal.windows(2) {
        assert_eq!(pair[1].previous, pair[0].hash);
    }
    let status = canister.storage.migration.status(Layout::SPLIT).unwrap();
    assert_eq!((status.phase, status.journal_entries), (MigrationPhase::Converted, 5));
    assert_eq!(canister.storage.migration.journal(5), Ok(vec![]));
}

#[test]
fn a_digest_does_not_depend_on_order_and_tells_one_from_three() {
    let digest_of = |members: &[[u8; 32]]| {
        let mut digest = MultisetDigest::default();
        members.iter().for_each(|member| digest.add(*member));
        digest
    };
    let (a, b) = ([1; 32], [255; 32]);
    assert_eq!(digest_of(&[a, b]), digest_of(&[b, a]));
    assert_ne!(digest_of(&[a]), digest_of(&[a, a, a]));
    assert_ne!(digest_of(&[a]).to_bytes(), digest_of(&[b]).to_bytes());
}

#[test]
fn a_resume_continues_where_the_pause_stopped() {
    let (mut canister, _) = canister_in_layout_1();
    upgrade(&mut canister);
    assert!(controls::pause(&mut canister.storage, canister.now).is_err(), "nothing is running");
    for _ in 0..8 {
        let _ = run(&mut canister.storage, canister.now, &OneStep, 0);
    }
    controls::pause(&mut canister.storage, canister.now).unwrap();
    let paused = run_to_end(&mut canister);
    assert_eq!((paused.phase, paused.converted), (Phase::Paused, 1));
    controls::resume(&mut canister.storage, canister.now).unwrap();
    let state = run_to_end(&mut canister);
    assert_eq!((state.phase, state.converted), (Phase::Converted, 5));
    assert!(controls::resume(&mut canister.storage, canister.now).is_err(), "there is nothing to resume");
}

#[test]
fn the_compat_path_cannot_be_opened_while_converting() {
    let (mut canister, _) = canister_in_layout_1();
    upgrade(&mut canister);
    assert_eq!(controls::check_share(&canister.storage, 50), Ok(()), "nothing has begun");
    let _ = run(&mut canister.storage, canister.now, &OneStep, 0);
    while phase(&canister) != Phase::Converted {
        let refused = controls::check_share(&canister.storage, 50).unwrap_err();
        assert!(matches!(refused, Error::Conflict { .. }), "{refused}");
        assert_eq!(controls::check_share(&canister.storage, 0), Ok(()));
        let _ = run(&mut canister.storage, canister.now, &OneStep, 0);
    }
    assert_eq!(controls::check_share(&canister.storage, 50), Ok(()));
}

/// Adds an account after all others, because the preflight would refuse a damaged account at an end of the table.
fn add_last_account(mut accounts: Table<TwoTexts, RawRecord>) {
    accounts.insert(TwoTexts("~".into(), String::new()), &RawRecord(vec![0; 8]));
}
