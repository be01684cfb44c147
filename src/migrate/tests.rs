//! The engine over real layout 1 data, written by the compat path.

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

/// A message that has budget for exactly one step.
struct OneStep;

impl Meter for OneStep {
    fn used(&self) -> u64 {
        1
    }
}

/// A session, its file, and the chunks that have arrived.
type Begun = (u64, Vec<u8>, Vec<usize>);

/// Returns layout 1 with sessions in every state, and the clients' files.
fn layout_1() -> (TestCanister, Vec<Begun>) {
    let mut world = TestCanister::compat();
    world.storage.layout.set(&Layout::LEGACY);
    let sessions = [vec![], vec![0], vec![0, 2], vec![0, 1, 2], vec![2, 1]];
    let sessions = sessions.into_iter().enumerate().map(|(n, put)| {
        let file = file(2 * CHUNK + n);
        let id = world.begin(file.len(), &n.to_string());
        for idx in &put {
            if *idx < file.chunks(CHUNK).len() {
                world.put(id, &file, *idx).unwrap();
            }
        }
        (id, file, put)
    });
    let sessions = sessions.collect();
    (world, sessions)
}

/// Upgrades to the staged build, whose path serves both layouts.
fn staged() -> (TestCanister, Vec<Begun>) {
    let (mut world, sessions) = layout_1();
    upgrade(&mut world);
    world.path = TestCanister::staged().path;
    run_to_end(&mut world);
    (world, sessions)
}

/// Returns the same with the first of five sessions quarantined, since its record did not decode.
fn staged_with_one_in_quarantine() -> (TestCanister, SessionId) {
    let (mut world, sessions) = layout_1();
    let id = sessions[0].0;
    world.storage.sessions.legacy.insert(id, &RawRecord(b"rubbish".to_vec()));
    upgrade(&mut world);
    world.path = TestCanister::staged().path;
    assert_eq!(run_to_end(&mut world).quarantined, 1);
    (world, SessionId(id))
}

/// Returns layout 1 as the first public release leaves it: no index and no account knows the session.
fn forget(world: &mut TestCanister, id: u64, file: &[u8], idem: &str) {
    let (caller, bytes) = (person(OWNER), file.len() as u64);
    let key = IdemKey::of(&world.capsule, &caller, idem);
    world.storage.index.end(SessionId(id), caller, world.now);
    world.storage.index.forget_key(key, SessionId(id)).unwrap();
    world.storage.usage.end(caller, bytes).unwrap();
    world.storage.usage.free(&world.capsule, bytes).unwrap();
}

fn phase(world: &TestCanister) -> Phase {
    world.storage.migration.state().unwrap().phase
}

/// Does what the staged and the direct build do at their start.
fn upgrade(world: &mut TestCanister) {
    set_share(&mut world.storage, 0);
    world.path = Box::<DirectPath>::default();
}

fn run_to_end(world: &mut TestCanister) -> MigrationState {
    assert_eq!(run(&mut world.storage, world.now, &Unmetered, 0), Ok(Progress::Done));
    world.storage.migration.state().unwrap()
}

#[test]
fn every_session_goes_on_where_it_was() {
    let (mut world, sessions) = layout_1();
    let before: Vec<_> = sessions.iter().map(|(id, ..)| world.service().status(*id).unwrap()).collect();
    upgrade(&mut world);
    let state = run_to_end(&mut world);
    assert_eq!((state.phase, state.source, state.converted), (Phase::Converted, 5, 5));
    assert_eq!(state.digest_before, state.digest_after);
    assert_ne!(state.digest_before, MultisetDigest::default());
    assert_eq!(world.storage.layout.get(), Ok(Some(Layout::SPLIT)));
    for (mut before, (id, file, put)) in before.into_iter().zip(sessions) {
        before.path = crate::api::SessionPath::Direct;
        assert_eq!(world.service().status(id).unwrap(), before, "nothing but the path has changed");
        assert_eq!(world.begin(file.len(), &before.idem), id, "the idempotency key still finds it");
        for idx in 0..file.chunks(CHUNK).len() {
            world.put(id, &file, idx).unwrap();
        }
        let memory = world.finish(id, &file).unwrap().memory_id;
        assert_eq!(memory, before.provisional_memory_id, "{put:?}");
    }
}

/// The first public release may have stored a session under an id above its counter.
#[test]
fn ids_continue_after_the_highest_session_of_layout_1() {
    let (mut world, sessions) = layout_1();
    let highest = 1 << 40;
    let raw = world.storage.sessions.legacy.get_raw(&sessions[4].0).unwrap();
    for id in [highest, u64::MAX] {
        world.storage.sessions.legacy.insert(id, &RawRecord(raw.clone()));
    }
    upgrade(&mut world);
    run_to_end(&mut world);
    assert_eq!(world.begin(1, "new"), highest + 1, "an id that no build issues is not continued after");
}

#[test]
fn the_migration_resumes_exactly_where_a_message_ended() {
    let (mut world, sessions) = layout_1();
    upgrade(&mut world);
    let mut messages = 0;
    while run(&mut world.storage, world.now, &OneStep, 0) == Ok(Progress::More) {
        messages += 1;
        let raw = world.raw.clone();
        world.storage = Storage::open_existing(raw).unwrap(); // an upgrade between any two messages
    }
    let state = world.storage.migration.state().unwrap();
    assert_eq!((state.phase, state.source, state.converted), (Phase::Converted, 5, 5));
    assert!(messages > 2 * sessions.len(), "one step a message: {messages}");
}

#[test]
fn retry_and_verify_are_refused_while_compat_is_in_use() {
    let (mut world, sessions) = layout_1();
    world.storage.sessions.legacy.insert(sessions[0].0, &RawRecord(b"rubbish".to_vec()));
    upgrade(&mut world);
    let before = run_to_end(&mut world);
    set_share(&mut world.storage, 5);
    for refused in [
        controls::retry(&mut world.storage, world.now, None),
        controls::verify(&mut world.storage, world.now),
    ] {
        let refused = refused.unwrap_err();
        assert!(
            matches!(refused, Error::Conflict { ref detail, .. } if detail.contains("in use")),
            "{refused}"
        );
    }
    assert_eq!(world.storage.migration.state().unwrap(), before);
    set_share(&mut world.storage, 0);
    controls::verify(&mut world.storage, world.now).unwrap();
    assert_eq!(run_to_end(&mut world).phase, Phase::Converted);
    controls::retry(&mut world.storage, world.now, None).unwrap();
    let state = run_to_end(&mut world);
    assert_eq!((state.phase, state.source, state.quarantined), (Phase::Converted, 5, 1), "{}", state.note);
}

#[test]
fn a_touched_session_is_converted_at_once_and_counted_once() {
    // One step enters each phase, five count, five convert; the session is the last of the five.
    let steps_before_touch = [0, 1, 2, 6, 7, 9, 11, 12];
    for steps in steps_before_touch {
        let (mut world, sessions) = layout_1();
        upgrade(&mut world);
        for _ in 0..steps {
            let _ = run(&mut world.storage, world.now, &OneStep, 0);
        }
        let (id, file, _) = &sessions[4];
        world.put(*id, file, 0).unwrap();
        assert!(!world.storage.sessions.legacy.contains(id));
        let state = run_to_end(&mut world);
        assert_eq!(state.phase, Phase::Converted, "after {steps} steps: {}", state.note);
        assert_eq!((state.source, state.converted + state.already), (5, 5), "after {steps} steps");
        let expected = u64::from(steps < 12);
        assert_eq!(state.already, expected, "after {steps} steps");
    }
}

#[test]
fn an_unconvertible_record_is_quarantined_with_the_reason() {
    let (mut world, sessions) = layout_1();
    let [undecodable, stray] = [sessions[0].0, sessions[1].0];
    world.storage.sessions.legacy.insert(undecodable, &RawRecord(b"rubbish".to_vec()));
    let status = world.service().status(stray).unwrap();
    let prefix = ChunkPrefix::of(&status.provisional_memory_id, SessionId(stray));
    world.storage.blobs.write_chunk(prefix, 77, b"stray");
    upgrade(&mut world);
    let state = run_to_end(&mut world);
    assert_eq!(state.phase, Phase::Converted, "{}", state.note);
    assert_eq!((state.source, state.converted, state.quarantined), (5, 3, 2));
    let quarantine = world.storage.migration.quarantined(None);
    assert_eq!(quarantine.len(), 2);
    assert_eq!(quarantine[0].raw.as_slice(), b"rubbish");
    assert!(quarantine[1].reason.contains("chunk 77"), "{}", quarantine[1].reason);
    let put = world.put(stray, &sessions[1].1, 0).unwrap_err();
    assert!(matches!(put, Error::Conflict { ref detail, .. } if detail.contains("chunk 77")), "{put}");
    assert!(world.storage.blobs.has_chunk(prefix, 0), "its chunks are not touched");
    let status = world.service().status(undecodable).unwrap_err();
    assert!(matches!(status, Error::Conflict { .. }), "its owner is told as well: {status}");
    for id in [undecodable, stray] {
        let stranger = world.as_person(2).status(id);
        assert_eq!(stranger, Err(Error::not_found("session", id)), "nobody else is told anything");
    }
}

#[test]
fn a_session_is_converted_for_its_owner_and_for_no_stranger() {
    let (mut world, sessions) = layout_1();
    upgrade(&mut world);
    let (id, file, _) = &sessions[1];
    let stranger = world.as_person(2).status(*id);
    assert_eq!(stranger, Err(Error::not_found("session", id)));
    let stranger = world.as_person(2).put_chunk(*id, 0, &mut &file[..CHUNK], None);
    assert_eq!(stranger, Err(Error::not_found("session", id)));
    assert!(world.storage.sessions.legacy.contains(id), "nothing was changed for a stranger");
    assert_eq!(world.storage.layout.get(), Ok(Some(Layout::LEGACY)));
    world.service().status(*id).unwrap();
    assert!(!world.storage.sessions.legacy.contains(id));
}

#[test]
fn expired_sessions_are_released_and_accounted_for() {
    let (mut world, sessions) = layout_1();
    world.now = world.now.plus_seconds(DEFAULT_SESSION_TTL_SECONDS);
    let active = &sessions[3];
    world.storage.sessions.legacy.note(active.0, world.now);
    upgrade(&mut world);
    let state = run_to_end(&mut world);
    assert_eq!((state.phase, state.expired, state.converted), (Phase::Converted, 4, 1), "{}", state.note);
    assert_eq!(world.live(), [0, 2, 1, 3, 0], "what is left is the active session");
}

#[test]
fn a_lost_record_is_noticed() {
    let (mut world, sessions) = layout_1();
    upgrade(&mut world);
    while world.storage.migration.state().unwrap().phase != Phase::Converting {
        let _ = run(&mut world.storage, world.now, &OneStep, 0);
    }
    world.storage.sessions.legacy.remove(&sessions[2].0);
    let state = run_to_end(&mut world);
    assert_eq!(state.phase, Phase::Stuck);
    assert!(state.note.contains("source 5"), "{}", state.note);
}

#[test]
fn a_changed_record_is_noticed() {
    let (mut world, sessions) = layout_1();
    upgrade(&mut world);
    while world.storage.migration.state().unwrap().phase != Phase::Converting {
        let _ = run(&mut world.storage, world.now, &OneStep, 0);
    }
    let id = sessions[2].0;
    let raw = world.storage.sessions.legacy.get_raw(&id).unwrap();
    let mut legacy = crate::migrations::split_sessions::LegacyUploadSession::decode(&raw).unwrap();
    legacy.created_at += 1;
    world.storage.sessions.legacy.insert(id, &RawRecord(legacy.encode()));
    let state = run_to_end(&mut world);
    assert_eq!(state.phase, Phase::Stuck);
    assert!(state.note.contains("digest"), "{}", state.note);
}

#[test]
fn while_the_compat_path_is_in_use_nothing_is_converted() {
    let (mut world, _) = layout_1();
    assert_eq!(run(&mut world.storage, world.now, &Unmetered, 0), Ok(Progress::Done));
    assert_eq!(world.storage.sessions.legacy.len(), 5);
    assert_eq!(world.storage.migration.state().unwrap(), MigrationState::default());
}

#[test]
fn sessions_that_the_compat_path_made_later_are_converted_later() {
    let (mut world, _) = layout_1();
    upgrade(&mut world);
    run_to_end(&mut world);
    let mut late = TestCanister::compat();
    std::mem::swap(&mut world.path, &mut late.path);
    let id = world.begin(10, "late");
    std::mem::swap(&mut world.path, &mut late.path);
    assert!(world.storage.sessions.legacy.contains(&id));
    let state = run_to_end(&mut world);
    assert_eq!((state.phase, state.source, state.converted), (Phase::Converted, 6, 6));
}

#[test]
fn empty_layout_1_becomes_layout_2_and_fresh_layout_2_stays() {
    let mut world = TestCanister::direct();
    assert_eq!(run_to_end(&mut world), MigrationState::default());
    world.storage.layout.set(&Layout::LEGACY);
    assert_eq!(run_to_end(&mut world).phase, Phase::Converted);
    assert_eq!(world.storage.layout.get(), Ok(Some(Layout::SPLIT)));
}

#[test]
fn the_journal_is_a_chain_of_what_happened() {
    let (mut world, _) = layout_1();
    upgrade(&mut world);
    run_to_end(&mut world);
    let journal = world.storage.migration.journal(0).unwrap();
    let events: Vec<_> = journal.iter().map(|entry| entry.event.as_str()).collect();
    assert_eq!(events, ["validating", "layout 2", "converting", "verifying", "converted"]);
    assert_eq!(journal[0].previous.as_slice(), [0; 32]);
    for pair in journal.windows(2) {
        assert_eq!(pair[1].previous, pair[0].hash);
    }
    let status = world.storage.migration.status(Layout::SPLIT).unwrap();
    assert_eq!((status.phase, status.journal_entries), (MigrationPhase::Converted, 5));
    assert_eq!(world.storage.migration.journal(5), Ok(vec![]));
}

#[test]
fn a_digest_does_not_depend_on_order_and_tells_one_from_three() {
    let of = |members: &[[u8; 32]]| {
        let mut digest = MultisetDigest::default();
        members.iter().for_each(|member| digest.add(*member));
        digest
    };
    let (a, b) = ([1; 32], [255; 32]);
    assert_eq!(of(&[a, b]), of(&[b, a]));
    assert_ne!(of(&[a]), of(&[a, a, a]));
    assert_ne!(of(&[a]).to_bytes(), of(&[b]).to_bytes());
}

#[test]
fn a_pause_holds_and_a_resume_goes_on_where_it_was() {
    let (mut world, _) = layout_1();
    upgrade(&mut world);
    assert!(controls::pause(&mut world.storage, world.now).is_err(), "nothing is running");
    for _ in 0..8 {
        let _ = run(&mut world.storage, world.now, &OneStep, 0);
    }
    controls::pause(&mut world.storage, world.now).unwrap();
    let paused = run_to_end(&mut world);
    assert_eq!((paused.phase, paused.converted), (Phase::Paused, 1));
    controls::resume(&mut world.storage, world.now).unwrap();
    let state = run_to_end(&mut world);
    assert_eq!((state.phase, state.converted), (Phase::Converted, 5));
    assert!(controls::resume(&mut world.storage, world.now).is_err(), "there is nothing to resume");
}

#[test]
fn the_compat_path_cannot_be_opened_while_converting() {
    let (mut world, _) = layout_1();
    upgrade(&mut world);
    assert_eq!(controls::check_share(&world.storage, 50), Ok(()), "nothing has begun");
    let _ = run(&mut world.storage, world.now, &OneStep, 0);
    while phase(&world) != Phase::Converted {
        let refused = controls::check_share(&world.storage, 50).unwrap_err();
        assert!(matches!(refused, Error::Conflict { .. }), "{refused}");
        assert_eq!(controls::check_share(&world.storage, 0), Ok(()));
        let _ = run(&mut world.storage, world.now, &OneStep, 0);
    }
    assert_eq!(controls::check_share(&world.storage, 50), Ok(()));
}

/// Adds an account after all others: the preflight would refuse a damaged one at an end of the table.
fn not_last(mut accounts: Table<TwoTexts, RawRecord>) {
    accounts.insert(TwoTexts("~".into(), String::new()), &RawRecord(vec![0; 8]));
}
