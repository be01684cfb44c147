//! A migration on real wasm, with so few units in a message that it takes several messages, and can be interrupted
//! between any two of them.
//!
//! Owns: running a migration message by message, and interrupting it. Does not own: the migrated data and the expected
//! result, which are in [`sessions`] for the first migration and in [`extents`] for the second.

pub mod extents;
pub mod sessions;

use std::fmt::Debug;
use std::time::Duration;

use candid::Principal;
use session_migrate::build::Build;
use upload_canister::api::{MigrationPhase, MigrationStatus};
use upload_canister::meter::Meter;

use super::{InstalledCanister, controller};

/// The state from which a migration starts. The migration handles a unit or two in its first message, twice as many in
/// the next, and so on.
pub trait Start: Copy {
    /// The build that runs the migration.
    const BUILD: Build;

    /// Everything that the migration produces and counts, without the number of its messages, which interruptions
    /// change.
    type Dump: PartialEq + Debug;

    /// Returns a canister before the upgrade to the build that runs the migration.
    fn canister(self) -> InstalledCanister;

    /// Reads the dump of a canister whose migration has ended.
    fn dump(canister: &InstalledCanister) -> Self::Dump;
}

/// An action on a canister between two messages.
pub type Interruption = fn(&mut InstalledCanister);

/// A meter that always reports one used instruction: with a budget of 0, the engine takes a single step.
pub struct OneStep;

impl Meter for OneStep {
    fn used(&self) -> u64 {
        1
    }
}

/// Returns the migration's status, as anyone gets it; the canister's `migration_status` asks as the controller.
pub fn status(canister: &InstalledCanister) -> MigrationStatus {
    canister.query::<MigrationStatus>(Principal::anonymous(), "migration_status", ()).unwrap()
}

/// Runs the timers until the migration is converted, rolled back or stuck; returns its status. The test fails if this
/// takes more than 40 minutes.
pub fn settle_migration(canister: &InstalledCanister) -> MigrationStatus {
    for _ in 0..40 {
        let now = status(canister);
        if matches!(now.phase, MigrationPhase::Converted | MigrationPhase::RolledBack | MigrationPhase::Stuck)
        {
            return now;
        }
        canister.pic.advance_time(Duration::from_secs(61));
        canister.pic.tick();
        canister.pic.tick();
    }
    panic!("the migration does not settle: {:?}", status(canister));
}

/// Makes a controller's call to the migration, and returns the status before the engine's next message. The test fails
/// if the call is refused.
pub fn control(canister: &InstalledCanister, method: &str) -> MigrationStatus {
    canister.update(controller(), method, ()).unwrap_or_else(|error| panic!("{method}: {error}"))
}

/// If the migration is validating or converting, pauses it, checks that it stays paused, and resumes it.
pub fn pause_and_resume(canister: &mut InstalledCanister) {
    if matches!(status(canister).phase, MigrationPhase::Validating | MigrationPhase::Converting) {
        assert_eq!(control(canister, "migration_pause").phase, MigrationPhase::Paused);
        let paused = status(canister);
        canister.pic.advance_time(Duration::from_secs(61));
        canister.pic.tick();
        assert_eq!(status(canister), paused, "the migration stays paused");
        control(canister, "migration_resume");
    }
}

/// Upgrades to the build of the migration and runs the engine for `k` more messages.
pub fn after_messages<S: Start>(start: S, k: u32) -> InstalledCanister {
    let mut canister = start.canister();
    canister.try_upgrade(S::BUILD).unwrap();
    canister.build = S::BUILD;
    for _ in 0..k {
        canister.pic.tick();
    }
    canister
}

/// Returns how many messages an uninterrupted migration takes after the upgrade's own message.
pub fn count_messages(start: impl Start) -> u32 {
    let canister = after_messages(start, 0);
    let mut messages = 0;
    while status(&canister).phase != MigrationPhase::Converted {
        canister.pic.tick();
        messages += 1;
        assert!(messages < 40, "not converted after {messages} messages: {:?}", status(&canister));
    }
    messages
}

/// Returns the dump after an uninterrupted migration.
pub fn dump_uninterrupted<S: Start>(start: S) -> S::Dump {
    let canister = after_messages(start, 0);
    let state = settle_migration(&canister);
    assert_eq!(state.phase, MigrationPhase::Converted, "{}", state.note);
    S::dump(&canister)
}

/// Interrupts the migration in each of these ways, after the upgrade and after each further message, and checks that it
/// always ends as if nothing had happened. Returns the dump.
pub fn assert_same_when_interrupted<S: Start>(start: S, interruptions: &[(&str, Interruption)]) -> S::Dump {
    let messages = count_messages(start);
    assert!(messages >= 2, "{messages} messages after the upgrade are too few to interrupt");
    let expected = dump_uninterrupted(start);
    for (what, interrupt) in interruptions {
        for k in 0..=messages {
            let mut canister = after_messages(start, k);
            interrupt(&mut canister);
            let state = settle_migration(&canister);
            assert_eq!(state.phase, MigrationPhase::Converted, "{what} after {k} messages: {}", state.note);
            assert_eq!(S::dump(&canister), expected, "{what} after {k} messages");
        }
    }
    expected
}
