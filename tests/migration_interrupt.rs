//! The migration interrupted between any two of its messages, on real wasm: the final state is the same.
//!
//! The sessions are written into stable memory directly, with a pace that allows one unit in the first message. The
//! pace doubles with each message, so that even a dozen sessions take several messages. A message on the IC commits as
//! a whole or not at all; `migration_traps.rs` tests traps within a message.

use std::time::Duration;

use crate::support::conversion::sessions::{SESSIONS, Sessions};
use crate::support::conversion::{
    Interruption, Start, after_messages, assert_same_when_interrupted, control, dump_uninterrupted,
    pause_and_resume, settle_migration, status,
};
use crate::support::legacy_state::{image, memory_of};
use crate::support::{InstalledCanister, controller};
use session_migrate::build::Build;
use upload_canister::api::MigrationPhase;

/// So many sessions that their migration takes about ten messages.
const MANY: u64 = 40_000;

const INTERRUPTIONS: &[(&str, Interruption)] = &[
    ("an upgrade to the same build", |canister| canister.try_upgrade(Build::Staged).unwrap()),
    ("an upgrade to the next build", |canister| canister.try_upgrade(Build::Direct).unwrap()),
    ("a downgrade", |canister| {
        // The downgrade is refused from the first conversion on. Before that, the canister is still in layout 1.
        let refused = canister.try_upgrade(Build::Legacy);
        let layout = status(canister).layout;
        assert_eq!(refused.is_err(), layout == 2, "layout {layout}: {refused:?}");
        if refused.is_ok() {
            canister.try_upgrade(Build::Staged).unwrap();
        }
    }),
    ("a stop and a start", |canister| {
        canister.pic.stop_canister(canister.id, Some(controller())).unwrap();
        canister.pic.tick();
        canister.pic.start_canister(canister.id, Some(controller())).unwrap();
    }),
    ("a pause", pause_and_resume),
    ("a rollback", |canister| {
        control(canister, "migration_rollback");
        assert_eq!(settle_migration(canister).phase, MigrationPhase::RolledBack);
        control(canister, "migration_resume");
    }),
    ("a lack of cycles", |canister| {
        let settings = |threshold: u64| pocket_ic::CanisterSettings {
            freezing_threshold: Some(threshold.into()),
            ..Default::default()
        };
        let set = |canister: &InstalledCanister, threshold| {
            canister
                .pic
                .update_canister_settings(canister.id, Some(controller()), settings(threshold))
                .unwrap();
        };
        // No balance suffices for this freezing threshold.
        set(canister, u64::MAX >> 1);
        canister.pic.advance_time(Duration::from_secs(61));
        canister.pic.tick();
        // The IC's default, 30 days.
        set(canister, 2_592_000);
    }),
];

/// Checks each of the interruptions; the counts are source, converted, quarantined and expired.
fn check_interruptions(start: Sessions) {
    let expected = assert_same_when_interrupted(start, INTERRUPTIONS);
    assert_eq!((expected.counts, expected.quarantine.len()), ([SESSIONS, SESSIONS - 1, 1, 0], 1));
}

#[test]
fn interrupted_counting_ends_in_the_same_state() {
    check_interruptions(Sessions::Untouched);
}

#[test]
fn interrupted_conversion_ends_in_the_same_state() {
    check_interruptions(Sessions::Counted);
}

/// The direct build cannot serve layout 1: an upgrade to that build after or during a rollback makes the migration
/// run forward again.
#[test]
fn the_next_build_goes_forward_from_a_rollback() {
    let expected = dump_uninterrupted(Sessions::Untouched);
    let canister = after_messages(Sessions::Counted, 1);
    control(&canister, "migration_rollback");
    canister.try_upgrade(Build::Direct).unwrap();
    assert_eq!(settle_migration(&canister).phase, MigrationPhase::Converted);
    let found = Sessions::dump(&canister);
    assert_eq!(
        (found.sessions, found.metas, found.quarantine),
        (expected.sessions, expected.metas, expected.quarantine)
    );
    assert_eq!(
        (found.legacy, found.by_activity, found.owned),
        (expected.legacy, expected.by_activity, expected.owned)
    );
    let [source, converted, quarantined, expired] = found.counts;
    assert_eq!((source, quarantined, expired), (converted + 1, 1, 0), "what is in quarantine stays counted");
    assert_eq!(found.digests[0], found.digests[1]);
}

/// Calls by a controller schedule a message, too, but must not start a second chain of messages: each message of the
/// engine schedules exactly one more.
#[test]
fn repeated_controls_start_no_second_chain_of_messages() {
    let mut canister = InstalledCanister::new(Build::Legacy);
    let (bytes, _) = image(MANY, canister.pic.get_time().as_nanos_since_unix_epoch());
    canister.set_stable_memory(&memory_of(&bytes));
    canister.upgrade(Build::Legacy);
    canister.try_upgrade(Build::Staged).unwrap();
    for _ in 0..3 {
        control(&canister, "migration_pause");
        control(&canister, "migration_resume");
    }
    let mut before = status(&canister);
    while before.phase != MigrationPhase::Converted {
        canister.pic.tick();
        let after = status(&canister);
        assert!(after.messages <= before.messages + 1, "{} after {}", after.messages, before.messages);
        before = after;
    }
    assert_eq!((before.source, before.converted), (MANY, MANY));
}
