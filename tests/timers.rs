//! The canister's timers, on real wasm: how they get lost, and how the next update restarts them.

use std::time::Duration;

use crate::support::conversion::sessions::Sessions;
use crate::support::conversion::{after_messages, dump_uninterrupted, settle_migration};
use crate::support::traps::{begin_cost, executed, is_embedded, with_message_limit};
use crate::support::upload::file;
use crate::support::{InstalledCanister, controller, owner, stranger};
use pocket_ic::CanisterSettings;
use session_migrate::build::Build;
use session_migrate::costs::MessageCost;
use upload_canister::api::{Error, RecentError, Result, UploadFinishResult};

/// Instruction limit under which no message of the timers completes.
const TOO_FEW_INSTRUCTIONS: u64 = 2_000;

/// More than enough time for a session to expire: the default time to live is a day.
const LONG_AFTER_EXPIRY: Duration = Duration::from_secs(50 * 3_600);

/// Makes an update that changes nothing.
fn call_as_stranger(canister: &InstalledCanister) {
    let refused: Result<()> = canister.update(stranger(), "uploads_abort", (0_u64,));
    assert!(matches!(refused, Err(Error::NotFound { .. })), "{refused:?}");
}

/// Returns the error log.
fn recent_errors(canister: &InstalledCanister) -> Vec<RecentError> {
    canister.query(controller(), "admin_errors", ()).unwrap()
}

fn pass_minute(canister: &InstalledCanister) {
    canister.pic.advance_time(Duration::from_secs(61));
    canister.pic.tick();
    canister.pic.tick();
}

/// Lets time pass, and then runs the timers that are due, for several rounds.
fn pass_time(canister: &InstalledCanister, time: Duration) {
    canister.pic.advance_time(time);
    for _ in 0..5 {
        canister.pic.tick();
    }
}

fn put_whole(canister: &InstalledCanister, capsule: &str, n: u64) -> UploadFinishResult {
    canister.put_whole(owner(), capsule, &file(10, n), &format!("whole {n}")).unwrap()
}

#[test]
fn an_update_restarts_timers_lost_by_a_trap() {
    if !is_embedded() {
        return;
    }
    for build in [Build::Legacy, Build::Direct] {
        let mut canister = InstalledCanister::new(build);
        let capsule = canister.create_capsule();
        canister.begin(owner(), &capsule, &file(10, 1), "left alone").unwrap();
        let trapped = with_message_limit(&canister, TOO_FEW_INSTRUCTIONS, pass_minute);
        assert_eq!(trapped.len(), 1, "{trapped:?}");
        assert_eq!(trapped[0].entry, "global_timer");

        pass_time(&canister, LONG_AFTER_EXPIRY);
        assert_eq!(canister.stats().sessions, 1, "{build}: no timer runs, and a query does not change that");
        call_as_stranger(&canister);
        canister.run_timers_until(|stats| stats.sessions == 0);
        with_message_limit(&canister, TOO_FEW_INSTRUCTIONS, pass_minute);
        pass_time(&canister, Duration::from_secs(3_600));
        call_as_stranger(&canister);

        // Both traps are reported in one entry, which the log lines of finished uploads do not displace.
        for n in 0..60 {
            put_whole(&canister, &capsule, n);
        }
        let reported = recent_errors(&canister);
        let is_of_the_sweep =
            |error: &&RecentError| error.source == "timers" && error.message.contains("sweep");
        let counts: Vec<u64> = reported.iter().filter(is_of_the_sweep).map(|error| error.count).collect();
        assert_eq!(counts, [2], "{reported:?}");
        canister.upgrade(build);
        assert_eq!(recent_errors(&canister), reported, "{build}: an upgrade keeps the errors");
    }
}

/// If a canister is frozen when its timer is due, the IC keeps the deadline, and runs the timer after the freeze.
#[test]
fn timers_continue_by_themselves_after_a_freeze() {
    let canister = InstalledCanister::new(Build::Direct);
    let capsule = canister.create_capsule();
    canister.begin(owner(), &capsule, &file(10, 1), "left alone").unwrap();
    let freeze = |seconds: u64| {
        let settings = CanisterSettings { freezing_threshold: Some(seconds.into()), ..Default::default() };
        canister.pic.update_canister_settings(canister.id, Some(controller()), settings).unwrap();
    };
    freeze(u64::MAX);
    if is_embedded() {
        let all = executed(&canister, |canister| pass_time(canister, LONG_AFTER_EXPIRY));
        assert!(all.is_empty(), "a frozen canister runs nothing: {all:?}");
    } else {
        pass_time(&canister, LONG_AFTER_EXPIRY);
    }
    freeze(0);
    // No update call is made.
    canister.run_timers_until(|stats| stats.sessions == 0);
}

#[test]
fn a_clone_sweeps_after_its_first_update() {
    for build in [Build::Legacy, Build::Direct] {
        let canister = InstalledCanister::new(build);
        let capsule = canister.create_capsule();
        canister.begin(owner(), &capsule, &file(10, 1), "left alone").unwrap();
        pass_minute(&canister);
        let snapshot = canister.take_snapshot();
        let canister = canister.cloned(&snapshot);
        pass_time(&canister, LONG_AFTER_EXPIRY);
        assert_eq!(canister.stats().sessions, 1, "{build}: nothing runs by itself");
        call_as_stranger(&canister);
        canister.run_timers_until(|stats| stats.sessions == 0);
        pass_minute(&canister);
        let age = canister.scrape()["timer_job_age_seconds{job=\"sweep\"}"];
        assert!(age < 60.0, "{age}");
    }
}

#[test]
fn a_clone_continues_the_migration_of_its_original() {
    let expected = dump_uninterrupted(Sessions::Counted);
    for k in 0..2 {
        let canister = after_messages(Sessions::Counted, k);
        let snapshot = canister.take_snapshot();
        let canister = canister.cloned(&snapshot);
        canister.pic.advance_time(Duration::from_secs(301));
        call_as_stranger(&canister);
        let state = settle_migration(&canister);
        assert_eq!(
            <Sessions as crate::support::conversion::Start>::dump(&canister),
            expected,
            "{}",
            state.note
        );
    }
}

#[test]
fn the_sweep_is_one_chain_of_messages() {
    if !is_embedded() {
        return;
    }
    let canister = InstalledCanister::new(Build::Direct);
    let capsule = canister.create_capsule();
    for n in 0..400 {
        put_whole(&canister, &capsule, n);
    }
    let deleted: Result<()> = canister.update(owner(), "capsules_delete", (&capsule,));
    deleted.unwrap();
    for round in 0..11 {
        let all = executed(&canister, |canister| {
            canister.pic.advance_time(Duration::from_secs(61));
            canister.pic.tick();
        });
        // The timers' library runs each job in a call of the canister to itself.
        let jobs = all.iter().filter(|message: &&MessageCost| message.entry == "update").count();
        assert!(
            jobs <= 4,
            "round {round}: expected sweep, watch, the key of tokens and one message that these schedule, got {jobs}"
        );
    }
    canister.run_timers_until(|stats| stats.memories == 0);
}

/// Cached Candid headers make all later calls cheaper. If the message that caches the headers traps, a later message
/// caches them.
#[test]
fn candid_headers_are_cached_after_a_lost_first_minute() {
    if !is_embedded() {
        return;
    }
    for build in [Build::Legacy, Build::Direct] {
        let begin_cost_after = |first_minute: fn(&InstalledCanister)| {
            let canister = InstalledCanister::new(build);
            let capsule = canister.create_capsule();
            first_minute(&canister);
            pass_minute(&canister);
            pass_minute(&canister);
            begin_cost(&canister, &capsule)
        };
        let usual_cost = begin_cost_after(pass_minute);
        let cost_after_trap = begin_cost_after(|canister| {
            // The limit is enough for the timers' other jobs, but not for the headers.
            let trapped = with_message_limit(canister, 3_000_000, pass_minute);
            assert!(!trapped.is_empty(), "the message that caches the headers traps");
        });
        assert!(
            cost_after_trap < usual_cost + usual_cost / 10,
            "{build}: {cost_after_trap} instead of {usual_cost}"
        );
    }
}
