//! Messages of the engine that trap and are rolled back; and verifications that go stale.

use super::*;
use crate::migrate::Watched;
use crate::migrations::split_sessions::{CLASSES, Class};
use crate::upload::UploadMeta;

/// Everything that the migration makes, with what it counted.
type Outcome = (Vec<(u64, Vec<u8>, UploadMeta)>, Vec<u64>, [u64; 4], MultisetDigest, MultisetDigest, Phase);

fn outcome(world: &TestCanister) -> Outcome {
    let Storage { sessions, migration, .. } = &world.storage;
    let state = migration.state().unwrap();
    let split = sessions.sessions.keys(..).map(|id| {
        let meta = sessions.metas.get(&id).unwrap().unwrap();
        (id, sessions.sessions.get_raw(&id).unwrap(), meta)
    });
    let counts = [state.source, state.converted + state.already, state.quarantined, state.expired];
    let digests = (state.digest_before, state.digest_after);
    (split.collect(), sessions.legacy.keys_after(None).collect(), counts, digests.0, digests.1, state.phase)
}

/// Does what the IC does to a message that traps: memory is rolled back, and the heap is rebuilt from it.
fn undo(world: &mut TestCanister, message: impl FnOnce(&mut TestCanister)) {
    let before = world.raw.borrow().clone();
    message(world);
    *world.raw.borrow_mut() = before;
    world.storage = Storage::open_existing(world.raw.clone()).unwrap();
}

fn one_step(world: &mut TestCanister) -> Progress {
    run(&mut world.storage, world.now, &OneStep, 0).unwrap()
}

#[test]
fn a_step_that_traps_leaves_no_trace_wherever_it_is() {
    let (mut undisturbed, _) = layout_1();
    upgrade(&mut undisturbed);
    let mut steps = 0;
    while one_step(&mut undisturbed) == Progress::More {
        steps += 1;
    }
    let expected = outcome(&undisturbed);
    assert!(steps > 12, "{steps} steps");
    for k in 0..=steps {
        let (mut world, _) = layout_1();
        upgrade(&mut world);
        for _ in 0..k {
            one_step(&mut world);
        }
        undo(&mut world, |world| {
            assert_eq!(one_step(world), if k < steps { Progress::More } else { Progress::Done })
        });
        while one_step(&mut world) == Progress::More {}
        assert_eq!(outcome(&world), expected, "step {k}");
    }
}

/// Returns a world in which every message that converts one record traps, the number of that record, and how
/// many did.
fn with_one_trapped() -> (TestCanister, u64, u64) {
    let (world, sessions) = layout_1();
    trapped_by(world, sessions[2].0)
}

/// Does the same in a layout 1 whose session `poison` it is.
fn trapped_by(mut world: TestCanister, poison: u64) -> (TestCanister, u64, u64) {
    upgrade(&mut world);
    let mut seen = None;
    let mut trapped = 0;
    for _ in 0..100 {
        if ENGINE.watch(&mut world.storage, world.now, &mut seen).unwrap() == Watched::Quiet {
            continue;
        }
        let state = world.storage.migration.state().unwrap();
        let before = world.raw.borrow().clone();
        let progress = run(&mut world.storage, world.now, &Unmetered, 0).unwrap();
        let converted = world.storage.sessions.sessions.contains(&poison);
        if converted && !state.pace.skip_next {
            trapped += 1;
            *world.raw.borrow_mut() = before;
            world.storage = Storage::open_existing(world.raw.clone()).unwrap();
        } else if progress == Progress::Done {
            break;
        }
    }
    (world, poison, trapped)
}

#[test]
fn a_poison_record_is_quarantined_alone() {
    let (mut world, poison, trapped) = with_one_trapped();
    let state = world.storage.migration.state().unwrap();
    assert_eq!((state.phase, state.converted, state.quarantined), (Phase::Converted, 4, 1), "{}", state.note);
    assert!(trapped > 5, "the batch was halved: {trapped}");
    assert!(world.storage.migration.quarantine.contains(1, poison));
    let class = CLASSES[Class::CutOff.index()].name;
    assert!(state.classes.contains(&(class.to_owned(), 1)), "{:?}", state.classes);
    controls::retry(&mut world.storage, world.now, Some(poison)).unwrap();
    let state = run_to_end(&mut world);
    assert_eq!((state.phase, state.converted, state.quarantined), (Phase::Converted, 5, 0));
    world.now = world.now.plus_seconds(DEFAULT_SESSION_TTL_SECONDS);
    while !world.service().sweep().unwrap() {}
    assert!(world.storage.index.is_empty(), "it expires like the others");
    assert_eq!((world.live(), world.storage.usage.accounts()), ([0; 5], 0));
}

#[test]
fn a_poison_record_does_not_stop_the_sweep() {
    let (mut world, poison, _) = with_one_trapped();
    world.now = world.now.plus_seconds(DEFAULT_SESSION_TTL_SECONDS);
    while !world.service().sweep().unwrap() {}
    assert!(world.storage.index.is_empty(), "everything else has expired");
    assert!(world.storage.migration.quarantine.contains(1, poison));
}

#[test]
fn a_retried_poison_record_without_index_gets_its_key() {
    let (mut world, sessions) = layout_1();
    let (id, file, _) = &sessions[2];
    forget(&mut world, *id, file, "2");
    let (mut world, poison, _) = trapped_by(world, *id);
    controls::retry(&mut world.storage, world.now, Some(poison)).unwrap();
    assert!(!world.storage.index.contains(SessionId(*id), person(OWNER)), "it is as it was");
    assert_eq!(run_to_end(&mut world).converted, 5);
    assert_eq!(world.begin(file.len(), "2"), *id, "its key leads to it");
}

#[test]
fn the_engine_is_stuck_when_every_attempt_traps_and_can_resume() {
    let (mut world, _) = layout_1();
    upgrade(&mut world);
    let mut seen = None;
    let mut tried = 0;
    while phase(&world) != Phase::Stuck {
        if ENGINE.watch(&mut world.storage, world.now, &mut seen).unwrap() == Watched::Run {
            tried += 1;
            undo(&mut world, |world| drop(run(&mut world.storage, world.now, &Unmetered, 0)));
        }
        assert!(tried < 30);
    }
    let state = world.storage.migration.state().unwrap();
    assert!(state.note.contains("trapped"), "{}", state.note);
    controls::resume(&mut world.storage, world.now).unwrap();
    assert_eq!(run_to_end(&mut world).phase, Phase::Converted);
}

/// Runs the engine, and traps in every message that is tried, this many times.
fn trap_times(world: &mut TestCanister, times: u32) {
    let mut seen = None;
    for _ in 0..times {
        while ENGINE.watch(&mut world.storage, world.now, &mut seen).unwrap() != Watched::Run {
            assert_ne!(phase(world), Phase::Stuck);
        }
        undo(world, |world| drop(run(&mut world.storage, world.now, &Unmetered, 0)));
    }
}

/// Counting has trapped down to a single record; that says nothing about the first record that is converted.
#[test]
fn a_record_is_quarantined_only_for_its_own_traps() {
    let (mut world, _) = layout_1();
    upgrade(&mut world);
    one_step(&mut world);
    assert_eq!(phase(&world), Phase::Validating);
    trap_times(&mut world, 10);
    while run(&mut world.storage, world.now, &Unmetered, 0) == Ok(Progress::More) {}
    let state = world.storage.migration.state().unwrap();
    assert_eq!((state.phase, state.converted, state.quarantined), (Phase::Converted, 5, 0), "{}", state.note);

    let (mut world, _) = layout_1();
    upgrade(&mut world);
    one_step(&mut world);
    trap_times(&mut world, 10);
    let mut seen = Some(world.storage.migration.state().unwrap().pace.messages);
    while phase(&world) != Phase::Stuck {
        assert_eq!(ENGINE.watch(&mut world.storage, world.now, &mut seen), Ok(Watched::Quiet));
    }
    let note = world.storage.migration.state().unwrap().note;
    assert!(note.contains("Validating") && note.contains("trapped"), "{note}");
}

#[test]
fn finalizing_looks_again_at_what_was_written_since() {
    let (mut world, sessions) = staged();
    let (id, file, _) = &sessions[3];
    world.now = world.now.plus_seconds(1);
    world.put(*id, file, 0).unwrap();
    let meta = world.storage.sessions.metas.get(id).unwrap().unwrap();
    let broken = UploadMeta { expected_chunks: meta.expected_chunks + 1, ..meta.clone() };
    world.storage.sessions.metas.insert(*id, &broken);
    let refused = controls::finalize(&mut world.storage, world.now, false).unwrap_err().to_string();
    assert!(refused.contains(&format!("session {id}")), "{refused}");

    controls::verify(&mut world.storage, world.now).unwrap();
    let state = run_to_end(&mut world);
    assert_eq!((state.phase, state.proven_since), (Phase::Converted, None));
    assert!(state.note.contains("1 of 5 records are not sound") && state.note.contains(&id.to_string()));
    let refused = controls::finalize(&mut world.storage, world.now, false).unwrap_err().to_string();
    assert!(refused.contains(&format!("session {id}")), "{refused}");

    world.storage.sessions.metas.insert(*id, &meta);
    controls::verify(&mut world.storage, world.now).unwrap();
    let state = run_to_end(&mut world);
    assert_eq!((state.proven_since, state.note.as_str()), (Some(world.now.as_nanos()), ""));
    controls::finalize(&mut world.storage, world.now, false).unwrap();
}

#[test]
fn an_unsound_record_stays_noted_while_the_compat_path_is_used() {
    let (mut world, sessions) = staged();
    let id = sessions[3].0;
    let meta = world.storage.sessions.metas.get(&id).unwrap().unwrap();
    let broken = UploadMeta { expected_chunks: meta.expected_chunks + 1, ..meta.clone() };
    world.storage.sessions.metas.insert(id, &broken);
    controls::verify(&mut world.storage, world.now).unwrap();
    assert_eq!(run_to_end(&mut world).proven_since, None);

    world.now = world.now.plus_seconds(1);
    set_share(&mut world.storage, 100);
    world.begin(10, "by the compat path");
    set_share(&mut world.storage, 0);
    let state = run_to_end(&mut world);
    assert_eq!((state.phase, state.source, state.proven_since), (Phase::Converted, 6, None));
    let refused = controls::finalize(&mut world.storage, world.now, false).unwrap_err().to_string();
    assert!(refused.contains(&format!("session {id}")), "{refused}");
    world.storage.sessions.metas.insert(id, &meta);
    controls::finalize(&mut world.storage, world.now, false).unwrap();
}

#[test]
fn a_verification_goes_stale_with_many_writes() {
    let (mut world, _) = staged();
    let now = world.now.plus_seconds(1);
    for n in 0..1_001 {
        let owner = candid::Principal::self_authenticating([n as u8]);
        let id = SessionId(1_000_000 + n);
        world.storage.index.insert_without_key(id, owner, now);
    }
    let refused = controls::finalize(&mut world.storage, now, false).unwrap_err().to_string();
    assert!(refused.contains("stale") && refused.contains("verify again"), "{refused}");
    controls::verify(&mut world.storage, now.plus_seconds(1)).unwrap();
    run_to_end(&mut world);
    controls::finalize(&mut world.storage, now.plus_seconds(1), false).unwrap();
}
