//! Deferred migrations, and sessions that begin before the first conversion.

use super::*;
use crate::api::SessionPath;

/// Returns the staged build after a legacy build on which the migration was deferred.
fn deferred() -> (TestCanister, Vec<Begun>) {
    let (mut world, sessions) = layout_1();
    hold(&mut world.storage, world.now).unwrap();
    assert!(hold(&mut world.storage, world.now).is_err(), "it is deferred already");
    set_share(&mut world.storage, 0);
    let staged = TestCanister::staged().path;
    world.restart(staged);
    (world, sessions)
}

#[test]
fn a_deferred_migration_serves_layout_1_and_dry_runs() {
    let (mut world, sessions) = deferred();
    assert_eq!(run_to_end(&mut world).phase, Phase::Paused);
    let new = world.begin(10, "new");
    for (id, file, _) in &sessions {
        world.put(*id, file, 0).unwrap();
        assert_eq!(world.service().status(*id).unwrap().path, SessionPath::Compat);
    }
    assert!(world.storage.sessions.legacy.contains(&new) && world.storage.sessions.sessions.is_empty());
    assert_eq!(world.storage.layout.get(), Ok(Some(Layout::LEGACY)), "the legacy build may come back");
    assert_eq!(controls::check_share(&world.storage, 50), Ok(()));
    let message = Message { now: world.now.into(), meter: &Unmetered, budget: 1 };
    assert_eq!(dry_run(&world.storage, message, None, None).unwrap().units, 6);

    controls::resume(&mut world.storage, world.now).unwrap();
    let state = run_to_end(&mut world);
    assert_eq!((state.phase, state.converted), (Phase::Converted, 6));
    let events = world.storage.migration.journal(0).unwrap().into_iter().map(|entry| entry.event);
    assert_eq!(events.take(3).collect::<Vec<_>>(), ["held back", "idle", "validating"]);
}

#[test]
fn the_legacy_build_keeps_a_deferral_and_may_lift_it() {
    let (mut world, _) = deferred();
    world.restart(TestCanister::compat().path);
    taken_over(&mut world.storage, world.now).unwrap();
    assert!(world.storage.migration.state().unwrap().is_deferred());
    release(&mut world.storage, world.now).unwrap();
    assert!(release(&mut world.storage, world.now).is_err(), "it is not deferred");
    upgrade(&mut world);
    assert_eq!(run_to_end(&mut world).phase, Phase::Converted);
}

#[test]
fn a_deferred_migration_can_be_rolled_back() {
    let (mut world, _) = deferred();
    controls::rollback(&mut world.storage, world.now).unwrap();
    assert_eq!(run_to_end(&mut world).phase, Phase::RolledBack);
    assert_eq!(world.storage.sessions.legacy.len(), 5);
}

/// The legacy build would not find it.
#[test]
fn a_new_session_in_layout_2_locks_the_legacy_build_out() {
    let (mut world, _) = layout_1();
    upgrade(&mut world);
    let _ = run(&mut world.storage, world.now, &OneStep, 0);
    assert_eq!((phase(&world), world.storage.layout.get()), (Phase::Validating, Ok(Some(Layout::LEGACY))));
    let begun = world.begin(10, "while records are counted");
    assert!(world.storage.sessions.sessions.contains(&begun));
    assert_eq!(world.storage.layout.get(), Ok(Some(Layout::SPLIT)));
    let state = run_to_end(&mut world);
    assert_eq!((state.phase, state.source, state.converted), (Phase::Converted, 5, 5), "{}", state.note);
}
