//! Deferred migrations, and sessions that begin before the first conversion.

use super::*;
use crate::api::SessionPath;

/// Returns a canister upgraded to the staged build, after the migration was deferred on the legacy build.
fn staged_deferred() -> (TestCanister, Vec<Begun>) {
    let (mut canister, sessions) = canister_in_layout_1();
    defer(&mut canister.storage, canister.now).unwrap();
    assert!(defer(&mut canister.storage, canister.now).is_err(), "the migration is deferred already");
    set_share(&mut canister.storage, 0);
    let staged = TestCanister::staged().path;
    canister.restart(staged);
    (canister, sessions)
}

#[test]
fn a_deferred_migration_serves_layout_1_and_dry_runs() {
    let (mut canister, sessions) = staged_deferred();
    assert_eq!(run_to_end(&mut canister).phase, Phase::Paused);
    let new = canister.begin(10, "new");
    for (id, file, _) in &sessions {
        canister.put(*id, file, 0).unwrap();
        assert_eq!(canister.service().status(*id).unwrap().path, SessionPath::Compat);
    }
    assert!(canister.storage.sessions.legacy.contains(&new) && canister.storage.sessions.sessions.is_empty());
    assert_eq!(
        canister.storage.layout.get(),
        Ok(Some(Layout::LEGACY)),
        "the legacy build may be installed again"
    );
    assert_eq!(controls::check_share(&canister.storage, 50), Ok(()));
    let message = MessageBudget { now: canister.now.into(), meter: &Unmetered, budget: 1 };
    assert_eq!(dry_run(&canister.storage, message, None, None).unwrap().units, 6);

    controls::resume(&mut canister.storage, canister.now).unwrap();
    let state = run_to_end(&mut canister);
    assert_eq!((state.phase, state.converted), (Phase::Converted, 6));
    let events = canister.storage.migration.journal(0).unwrap().into_iter().map(|entry| entry.event);
    assert_eq!(events.take(3).collect::<Vec<_>>(), ["held back", "idle", "validating"]);
}

#[test]
fn the_legacy_build_keeps_a_deferral_and_may_lift_it() {
    let (mut canister, _) = staged_deferred();
    canister.restart(TestCanister::compat().path);
    discard_progress(&mut canister.storage, canister.now).unwrap();
    assert!(canister.storage.migration.state().unwrap().is_deferred());
    release(&mut canister.storage, canister.now).unwrap();
    assert!(release(&mut canister.storage, canister.now).is_err(), "the migration is no longer deferred");
    upgrade(&mut canister);
    assert_eq!(run_to_end(&mut canister).phase, Phase::Converted);
}

#[test]
fn a_deferred_migration_can_be_rolled_back() {
    let (mut canister, _) = staged_deferred();
    controls::rollback(&mut canister.storage, canister.now).unwrap();
    assert_eq!(run_to_end(&mut canister).phase, Phase::RolledBack);
    assert_eq!(canister.storage.sessions.legacy.len(), 5);
}

/// The legacy build would not find a session in layout 2, so it must refuse the memory.
#[test]
fn a_new_session_in_layout_2_locks_the_legacy_build_out() {
    let (mut canister, _) = canister_in_layout_1();
    upgrade(&mut canister);
    let _ = run(&mut canister.storage, canister.now, &OneStep, 0);
    assert_eq!(
        (phase(&canister), canister.storage.layout.get()),
        (Phase::Validating, Ok(Some(Layout::LEGACY)))
    );
    let begun = canister.begin(10, "while records are counted");
    assert!(canister.storage.sessions.sessions.contains(&begun));
    assert_eq!(canister.storage.layout.get(), Ok(Some(Layout::SPLIT)));
    let state = run_to_end(&mut canister);
    assert_eq!((state.phase, state.source, state.converted), (Phase::Converted, 5, 5), "{}", state.note);
}

#[test]
fn new_sessions_take_layout_1_while_deferred_or_rolled_back() {
    let (canister, _) = staged_deferred();
    assert_eq!(compat_share(&canister.storage), Ok(100));
    let (mut canister, _) = staged_canister();
    assert_eq!(compat_share(&canister.storage), Ok(0));
    controls::rollback(&mut canister.storage, canister.now).unwrap();
    assert_eq!(compat_share(&canister.storage), Ok(100));
    assert_eq!(run_to_end(&mut canister).phase, Phase::RolledBack);
    assert_eq!(compat_share(&canister.storage), Ok(100));
}

#[test]
fn a_staged_build_without_a_share_converts_what_is_touched() {
    let (mut canister, sessions) = canister_in_layout_1();
    set_share(&mut canister.storage, 0);
    canister.path = TestCanister::staged().path;
    let (id, file, _) = &sessions[0];
    canister.put(*id, file, 0).unwrap();
    assert!(!canister.storage.sessions.legacy.contains(id));
}
