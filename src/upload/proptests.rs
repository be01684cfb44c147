//! The canister's logic compared with the model of the upload contract, natively, over a memory in the process.
//!
//! The tests cover every build: an upgrade opens the same memory again with the path of the next build. The migration
//! advances only by `Operation::Migrate`, which says how many steps it takes, one in each message.

use proptest::prelude::*;

mod native;

use native::Native;
use upload_model::{Control, Operation, Stage, operations, operations_in_little_room};

/// Runs the operations on a fresh canister, installed as the build `stage`, and on the model, and compares the answers.
fn check(stage: Stage, operations: &[Operation]) -> Result<(), TestCaseError> {
    upload_model::run(&mut Native::new(stage), operations, stage).map_err(TestCaseError::fail)
}

/// Returns a configuration with the cases of `PROPTEST_CASES`, or else `cases`, few enough for every `cargo test`.
fn config(cases: u32) -> ProptestConfig {
    let default = ProptestConfig::default();
    let cases = if std::env::var_os("PROPTEST_CASES").is_some() { default.cases } else { cases };
    ProptestConfig { cases, ..default }
}

fn begin(who: u8, capsule: u8, bytes: u64) -> Operation {
    Operation::Begin { who, capsule, key: 0, bytes, content: 0, wrong_count: false }
}

/// Found by the model: on the compat path, put and finish accepted an expired session until the timer ran, or forever
/// if the call converted the session's legacy record.
#[test]
fn an_expired_session_is_gone_before_the_sweep() {
    let expire = Operation::PassWithoutTimers { seconds: upload_model::TTL_SECONDS + 37 };
    let late = [begin(0, 0, 1), expire, Operation::Complete { session: 0 }];
    for stage in [Stage::Legacy, Stage::Staged, Stage::Direct] {
        check(stage, &late).unwrap();
    }
}

/// Found by the model: after the migration, a legacy session that was too old had a receipt only if it had also
/// been idle for too long.
#[test]
fn a_session_that_is_too_old_has_a_receipt_after_the_migration() {
    let (put, wait) =
        (Operation::PutMissing { session: 0, last: false }, Operation::PassWithoutTimers { seconds: 900 });
    let begun = [begin(0, 1, 2 * upload_model::CHUNK + 1)];
    // Each wait is shorter than `TTL_SECONDS`; together the three are longer than `AGE_SECONDS`.
    let puts = [wait, put].into_iter().cycle().take(6);
    let late = [Operation::UpgradeLate, Operation::PutMissing { session: 0, last: true }];
    let course: Vec<_> = begun.into_iter().chain(puts).chain(late).collect();
    check(Stage::Legacy, &course).unwrap();
}

/// Found by the model: after two capsules were deleted, the sweep reported that it was done after the first.
#[test]
fn the_memories_of_several_deleted_capsules_are_swept_at_once() {
    let two = [
        begin(0, 0, 1),
        begin(1, 1, 1),
        Operation::Complete { session: 0 },
        Operation::Complete { session: 1 },
    ];
    let deleted = (0..2).map(|place| Operation::DeleteCapsule { who: place, capsule: place });
    let swept = two.into_iter().chain(deleted).chain([Operation::Pass { seconds: 1 }]);
    check(Stage::Direct, &swept.collect::<Vec<_>>()).unwrap();
}

/// Uploads in flight are converted to layout 2, are converted back with what was written since, continue in the legacy
/// build, and are converted again.
#[test]
fn uploads_in_flight_survive_migration_rollback_and_migration() {
    let put = |session| Operation::PutMissing { session, last: true };
    let control = |control| Operation::Control { control };
    let course = [
        begin(0, 0, upload_model::CHUNK + 1),
        put(0),
        Operation::Upgrade { share: 0 },
        Operation::Migrate { steps: 11 },
        begin(1, 1, 2 * upload_model::CHUNK),
        put(0),
        control(Control::Rollback),
        Operation::Migrate { steps: 1 },
        control(Control::Pause),
        begin(0, 1, 1),
        control(Control::Resume),
        Operation::Migrate { steps: 11 },
        Operation::GoBack,
        begin(1, 0, 1),
        Operation::Complete { session: 3 },
        Operation::Upgrade { share: 50 },
        control(Control::Finalize),
        Operation::Complete { session: 2 },
        Operation::Complete { session: 1 },
        Operation::Upgrade { share: 0 },
        Operation::Complete { session: 0 },
    ];
    let end_of_rollback = course.iter().position(|operation| matches!(operation, Operation::GoBack)).unwrap();
    let mut native = Native::new(Stage::Legacy);
    upload_model::run(&mut native, &course[..=end_of_rollback], Stage::Legacy).unwrap();
    assert_eq!(
        native.stage,
        Stage::Legacy,
        "everything was rolled back, and the legacy build has taken over"
    );
    check(Stage::Legacy, &course).unwrap();
}

/// Found by the model: a retry did not count the sessions that the compat path had begun since the end of the
/// migration, and the migration got stuck.
#[test]
fn a_retry_counts_sessions_begun_on_the_compat_path() {
    let control = |control| Operation::Control { control };
    let course = [
        begin(0, 0, 1),
        Operation::Upgrade { share: 0 },
        Operation::Migrate { steps: 11 },
        Operation::Restart { share: 100 },
        begin(1, 1, 1),
        Operation::Restart { share: 0 },
        control(Control::Retry),
        Operation::Migrate { steps: 11 },
        Operation::Complete { session: 0 },
        Operation::Complete { session: 1 },
    ];
    check(Stage::Legacy, &course).unwrap();
}

/// Once the direct path has served a session, the compat path's heap copy of the session is stale. In this course, no
/// upgrade clears the heap between the two.
#[test]
fn a_session_back_on_the_compat_path_is_read_from_its_record() {
    let put = Operation::PutMissing { session: 0, last: false };
    let control = |control| Operation::Control { control };
    let course = [
        begin(0, 0, 2 * upload_model::CHUNK + 1),
        control(Control::Pause),
        Operation::Upgrade { share: 0 },
        put.clone(),
        control(Control::Resume),
        Operation::Migrate { steps: 11 },
        put.clone(),
        control(Control::Rollback),
        Operation::Migrate { steps: 11 },
        put.clone(),
        Operation::Complete { session: 0 },
    ];
    check(Stage::Legacy, &course).unwrap();
}

proptest! {
    #![proptest_config(config(700))]

    #[test]
    fn the_compat_path_and_every_upgrade_keep_the_contract(operations in operations(1..60)) {
        check(Stage::Legacy, &operations)?;
    }

    #[test]
    fn a_fresh_staged_build_keeps_the_contract(operations in operations(1..60)) {
        check(Stage::Staged, &operations)?;
    }

    #[test]
    fn a_fresh_direct_build_keeps_the_contract(operations in operations(1..60)) {
        check(Stage::Direct, &operations)?;
    }
}

proptest! {
    // Each case writes hundreds of megabytes.
    #![proptest_config(config(20))]

    #[test]
    fn a_memory_that_fills_up_keeps_the_contract_and_can_be_emptied(
        is_legacy in any::<bool>(),
        operations in operations_in_little_room(20..60),
    ) {
        let stage = if is_legacy { Stage::Legacy } else { Stage::Staged };
        let checked = upload_model::run(&mut Native::in_little_room(stage), &operations, stage);
        checked.map_err(TestCaseError::fail)?;
    }
}
