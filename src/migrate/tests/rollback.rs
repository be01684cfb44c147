//! Rollback: everything is converted back to layout 1, including later writes, until finalization.

use super::*;

#[test]
fn a_rollback_includes_everything_that_came_since() {
    let (mut world, sessions) = staged();
    let (id, new_file, _) = &sessions[0];
    world.put(*id, new_file, 1).unwrap();
    let since = world.begin(10, "since");
    let before: Vec<_> = world.service().list(None, 99).unwrap();
    controls::rollback(&mut world.storage, world.now).unwrap();
    run_to_end(&mut world);
    assert_eq!((phase(&world), world.storage.layout.get()), (Phase::RolledBack, Ok(Some(Layout::LEGACY))));
    assert_eq!((world.storage.sessions.legacy.len(), world.storage.sessions.sessions.len()), (6, 0));

    let legacy = TestCanister::compat();
    world.restart(legacy.path);
    taken_over(&mut world.storage, world.now).unwrap();
    set_share(&mut world.storage, 100); // what the legacy build is compiled to
    let mut after = world.service().list(None, 99).unwrap();
    for status in &mut after {
        assert_eq!(status.path, crate::api::SessionPath::Compat);
        status.path = crate::api::SessionPath::Direct;
    }
    assert_eq!(after, before, "nothing but the path has changed");
    world.put(since, &file(10), 0).unwrap();
    world.finish(since, &file(10)).unwrap();

    upgrade(&mut world);
    let state = run_to_end(&mut world);
    assert_eq!((state.phase, state.source, state.converted), (Phase::Converted, 5, 5), "{}", state.note);
    for (id, file, _) in sessions {
        for idx in 0..file.chunks(CHUNK).len() {
            world.put(id, &file, idx).unwrap();
        }
        world.finish(id, &file).unwrap();
    }
}

#[test]
fn clients_go_on_in_the_middle_of_a_rollback() {
    for steps in 0..8 {
        let (mut world, sessions) = staged();
        controls::rollback(&mut world.storage, world.now).unwrap();
        for _ in 0..steps {
            let _ = run(&mut world.storage, world.now, &OneStep, 0);
        }
        let begun = world.begin(10, "in the middle");
        assert!(world.storage.sessions.legacy.contains(&begun), "new sessions are legacy records");
        for (id, file, _) in &sessions {
            world.put(*id, file, 0).unwrap();
        }
        run_to_end(&mut world);
        assert_eq!((phase(&world), world.storage.sessions.legacy.len()), (Phase::RolledBack, 6));
        for (id, file, _) in sessions {
            for idx in 0..file.chunks(CHUNK).len() {
                world.put(id, &file, idx).unwrap();
            }
            world.finish(id, &file).unwrap();
        }
    }
}

#[test]
fn a_rollback_can_be_thought_better_of() {
    let (mut world, _) = staged();
    controls::rollback(&mut world.storage, world.now).unwrap();
    let _ = run(&mut world.storage, world.now, &OneStep, 0);
    controls::pause(&mut world.storage, world.now).unwrap();
    let begun = world.begin(10, "while paused");
    assert!(world.storage.sessions.legacy.contains(&begun), "it is still the way back");
    controls::resume(&mut world.storage, world.now).unwrap();
    run_to_end(&mut world);
    controls::resume(&mut world.storage, world.now).unwrap();
    let state = run_to_end(&mut world);
    assert_eq!((state.phase, state.source, state.converted), (Phase::Converted, 6, 6));
}

#[test]
fn what_was_in_quarantine_is_rolled_back_as_it_was() {
    let (mut world, damaged) = staged_with_one_in_quarantine();
    controls::rollback(&mut world.storage, world.now).unwrap();
    run_to_end(&mut world);
    assert_eq!(world.storage.sessions.legacy.get_raw(&damaged.0), Some(b"rubbish".to_vec()));
    assert!(world.storage.migration.quarantine.is_empty());
}

#[test]
fn a_session_that_layout_1_cannot_hold_stops_the_rollback() {
    let (mut world, sessions) = staged();
    let id = sessions[2].0;
    let mut meta = world.storage.sessions.metas.get(&id).unwrap().unwrap();
    meta.expected_chunks += 1;
    world.storage.sessions.metas.insert(id, &meta);
    controls::rollback(&mut world.storage, world.now).unwrap();
    let state = run_to_end(&mut world);
    assert_eq!(state.phase, Phase::Stuck);
    assert!(state.note.contains(&format!("session {id}")), "{}", state.note);
    assert_eq!(world.storage.sessions.metas.get(&id), Ok(Some(meta)));
    assert_eq!(world.storage.layout.get(), Ok(Some(Layout::SPLIT)), "the legacy build must still refuse");
}

#[test]
fn rollback_is_refused_after_finalize() {
    let (mut world, _) = layout_1();
    upgrade(&mut world);
    assert!(controls::finalize(&mut world.storage, world.now, false).is_err(), "nothing is converted yet");
    run_to_end(&mut world);
    set_share(&mut world.storage, 1);
    assert!(controls::finalize(&mut world.storage, world.now, false).is_err(), "the compat path is in use");
    set_share(&mut world.storage, 0);
    controls::finalize(&mut world.storage, world.now, false).unwrap();
    assert_eq!(run_to_end(&mut world).phase, Phase::Finalized);
    let back = controls::rollback(&mut world.storage, world.now).unwrap_err();
    assert!(matches!(back, Error::Conflict { ref detail, .. } if detail.contains("finalized")), "{back}");
    assert!(controls::check_share(&world.storage, 1).is_err());
    assert_eq!(controls::check_share(&world.storage, 0), Ok(()));
}

#[test]
fn the_status_tells_how_far_a_rollback_is() {
    let (mut world, id) = staged_with_one_in_quarantine();
    assert_eq!(world.storage.migration.status(Layout::SPLIT).unwrap().rollback_left, None);
    controls::rollback(&mut world.storage, world.now).unwrap();
    let mut before = (0, 5);
    loop {
        let status = world.storage.migration.status(Layout::SPLIT).unwrap();
        let now = (status.rollback_done.unwrap(), status.rollback_left.unwrap());
        assert!(now.0 >= before.0 && now.1 <= before.1 && now.0 + now.1 == 5, "{before:?}, then {now:?}");
        before = now;
        if run(&mut world.storage, world.now, &OneStep, 0) == Ok(Progress::Done) {
            break;
        }
    }
    let status = world.storage.migration.status(Layout::LEGACY).unwrap();
    assert_eq!(
        (status.phase, status.rollback_done, status.rollback_left),
        (MigrationPhase::RolledBack, Some(5), Some(0))
    );
    assert!(world.storage.sessions.legacy.contains(&id.0));
}

#[test]
fn what_is_refused_says_what_to_do_in_this_phase() {
    let (mut world, _) = staged();
    let now = world.now;
    let said = |refused: Result<(), Error>| refused.unwrap_err().to_string();
    controls::rollback(&mut world.storage, now).unwrap();
    let legacy = |world: &TestCanister| {
        let refused = Storage::open_accepting(world.raw.clone(), &[Layout::LEGACY]);
        refused.err().expect("it is refused").to_string()
    };
    let refused = legacy(&world);
    assert!(refused.contains("the rollback is in progress") && !refused.contains("roll the"), "{refused}");
    let refused = said(controls::finalize(&mut world.storage, now, false));
    assert!(refused.contains("being rolled back"), "{refused}");
    assert!(said(controls::rollback(&mut world.storage, now)).contains("being rolled back already"));
    controls::pause(&mut world.storage, now).unwrap();
    assert!(legacy(&world).contains("resume it"), "{}", legacy(&world));
    assert!(said(controls::pause(&mut world.storage, now)).contains("paused already"));
    controls::resume(&mut world.storage, now).unwrap();
    run_to_end(&mut world);
    assert!(Storage::open_accepting(world.raw.clone(), &[Layout::LEGACY]).is_ok());
    assert!(said(controls::rollback(&mut world.storage, now)).contains("rolled back already"));
    controls::resume(&mut world.storage, now).unwrap();
    run_to_end(&mut world);
    controls::finalize(&mut world.storage, now, false).unwrap();
    for refused in [
        said(controls::finalize(&mut world.storage, now, false)),
        said(controls::verify(&mut world.storage, now)),
        said(controls::retry(&mut world.storage, now, None)),
    ] {
        assert!(refused.contains("finalized already"), "{refused}");
    }
}

#[test]
fn taking_over_where_nothing_was_counted_leaves_no_entry() {
    let (mut world, _) = layout_1();
    taken_over(&mut world.storage, world.now).unwrap();
    assert_eq!(world.storage.migration.journal(0).unwrap(), []);
    let (mut world, _) = staged();
    controls::finalize(&mut world.storage, world.now, false).unwrap();
    let before = (world.storage.migration.state().unwrap(), world.storage.migration.journal(0).unwrap());
    taken_over(&mut world.storage, world.now).unwrap();
    assert_eq!(
        (world.storage.migration.state().unwrap(), world.storage.migration.journal(0).unwrap()),
        before
    );
}
