//! The dry run of a deferred migration: it counts every record, and its estimate is between three quarters and one and
//! a half times the instructions that the conversion takes.

use crate::support::legacy_state::image;
use crate::support::{InstalledCanister, controller};
use candid::Principal;
use pocket_ic::common::rest::BlobCompression;
use session_migrate::build::Build;
use upload_canister::api::{DryRun, MigrationPhase, MigrationStatus, Result};

const SESSIONS: u64 = 2_000;

/// Number of records on a page: as many as fit into one query.
const PAGE: u32 = 1_000;

fn status(canister: &InstalledCanister) -> MigrationStatus {
    canister.query::<MigrationStatus>(Principal::anonymous(), "migration_status", ()).unwrap()
}

#[test]
fn a_dry_run_counts_every_record_and_estimates_the_price() {
    let mut canister = InstalledCanister::new(Build::Legacy);
    let (bytes, _) = image(SESSIONS, canister.pic.get_time().as_nanos_since_unix_epoch());
    canister.pic.set_stable_memory(canister.id, bytes, BlobCompression::NoCompression);
    canister.upgrade(Build::Legacy);
    let paused: Result<MigrationStatus> = canister.update(controller(), "migration_pause", ());
    assert_eq!(paused.unwrap().phase, MigrationPhase::Paused);
    canister.try_upgrade(Build::Staged).unwrap();

    let (mut units, mut estimated, mut after) = (0, 0, None);
    loop {
        let arguments: (Option<u64>, Option<u32>) = (after, Some(PAGE));
        let page = canister.query::<DryRun>(controller(), "migration_dry_run", arguments).unwrap();
        units += page.units;
        estimated += page.estimated_instructions;
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(
        (units, status(&canister).phase, status(&canister).layout),
        (SESSIONS, MigrationPhase::Paused, 1)
    );

    let resumed: Result<MigrationStatus> = canister.update(controller(), "migration_resume", ());
    resumed.unwrap();
    while status(&canister).phase != MigrationPhase::Converted {
        canister.pic.tick();
    }
    let used = status(&canister).instructions;
    println!("estimated {estimated}, used {used}");
    assert!(estimated > used / 4 * 3 && estimated < used / 2 * 3, "estimated {estimated}, used {used}");
}
