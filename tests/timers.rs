//! The canister's timers, on real wasm: what loses them, and that the next update finds them again.

use std::time::Duration;

use crate::support::conversion::sessions::Sessions;
use crate::support::conversion::{after, settle, undisturbed};
use crate::support::traps::{begin_costs, executed, is_embedded, with_message_limit};
use crate::support::upload::file;
use crate::support::{InstalledCanister, controller, owner, stranger};
use pocket_ic::CanisterSettings;
use session_migrate::build::Build;
use session_migrate::costs::MessageCost;
use upload_canister::api::{Error, RecentError, Result, UploadFinishResult};

/// Instruction limit under which no message of the timers completes.
const TOO_FEW: u64 = 2_000;

/// More than enough time for a session to be idle too long.
const TWO_DAYS: Duration = Duration::from_secs(50 * 3_600);

/// Makes an update that changes nothing.
fn anybody_calls(world: &InstalledCanister) {
    let refused: Result<()> = world.update(stranger(), "uploads_abort", (0_u64,));
    assert!(matches!(refused, Err(Error::NotFound { .. })), "{refused:?}");
}

fn errors(world: &InstalledCanister) -> Vec<RecentError> {
    world.query(controller(), "admin_errors", ()).unwrap()
}

fn minute(world: &InstalledCanister) {
    world.pic.advance_time(Duration::from_secs(61));
    world.pic.tick();
    world.pic.tick();
}

fn pass(world: &InstalledCanister, time: Duration) {
    world.pic.advance_time(time);
    for _ in 0..5 {
        world.pic.tick();
    }
}

fn put_whole(world: &InstalledCanister, capsule: &str, n: u64) -> UploadFinishResult {
    world.put_whole(owner(), capsule, &file(10, n), &format!("whole {n}")).unwrap()
}

#[test]
fn an_update_restarts_timers_lost_by_a_trap() {
    if !is_embedded() {
        return;
    }
    for build in [Build::Legacy, Build::Direct] {
        let mut world = InstalledCanister::new(build);
        let capsule = world.capsule();
        world.begin(owner(), &capsule, &file(10, 1), "left alone").unwrap();
        let cut = with_message_limit(&world, TOO_FEW, minute);
        assert_eq!(cut.len(), 1, "{cut:?}");
        assert_eq!(cut[0].entry, "global_timer");

        pass(&world, TWO_DAYS);
        assert_eq!(world.stats().sessions, 1, "{build}: no timer runs, and a query changes nothing");
        anybody_calls(&world);
        world.settle(|stats| stats.sessions == 0);

        // It is reported, and forty-eight lines of finished uploads do not displace it.
        for n in 0..60 {
            put_whole(&world, &capsule, n);
        }
        let told = errors(&world);
        assert!(
            told.iter().any(|error| error.source == "timers" && error.message.contains("sweep")),
            "{told:?}"
        );
        world.upgrade(build);
        assert_eq!(errors(&world), told, "{build}: nor does an upgrade");
    }
}

#[test]
fn an_update_restarts_timers_lost_by_a_freeze() {
    let world = InstalledCanister::new(Build::Direct);
    let capsule = world.capsule();
    world.begin(owner(), &capsule, &file(10, 1), "left alone").unwrap();
    let freeze = |seconds: u64| {
        let settings = CanisterSettings { freezing_threshold: Some(seconds.into()), ..Default::default() };
        world.pic.update_canister_settings(world.id, Some(controller()), settings).unwrap();
    };
    freeze(u64::MAX);
    pass(&world, TWO_DAYS);
    freeze(0);
    anybody_calls(&world);
    world.settle(|stats| stats.sessions == 0);
}

#[test]
fn a_clone_sweeps_after_its_first_update() {
    for build in [Build::Legacy, Build::Direct] {
        let world = InstalledCanister::new(build);
        let capsule = world.capsule();
        world.begin(owner(), &capsule, &file(10, 1), "left alone").unwrap();
        minute(&world);
        let snapshot = world.take_snapshot();
        let world = world.cloned(&snapshot);
        pass(&world, TWO_DAYS);
        assert_eq!(world.stats().sessions, 1, "{build}: nothing runs by itself");
        anybody_calls(&world);
        world.settle(|stats| stats.sessions == 0);
        minute(&world);
        let age = world.scrape()["timer_job_age_seconds{job=\"sweep\"}"];
        assert!(age < 60.0, "{age}");
    }
}

#[test]
fn a_clone_continues_the_migration_of_its_original() {
    let expected = undisturbed(Sessions::Counted);
    for k in 0..2 {
        let world = after(Sessions::Counted, k);
        let snapshot = world.take_snapshot();
        let world = world.cloned(&snapshot);
        world.pic.advance_time(Duration::from_secs(301));
        anybody_calls(&world);
        let state = settle(&world);
        assert_eq!(<Sessions as crate::support::conversion::Start>::dump(&world), expected, "{}", state.note);
    }
}

#[test]
fn the_sweep_is_one_chain_of_messages() {
    if !is_embedded() {
        return;
    }
    let world = InstalledCanister::new(Build::Direct);
    let capsule = world.capsule();
    for n in 0..400 {
        put_whole(&world, &capsule, n);
    }
    let deleted: Result<()> = world.update(owner(), "capsules_delete", (&capsule,));
    deleted.unwrap();
    for round in 0..11 {
        let all = executed(&world, |world| {
            world.pic.advance_time(Duration::from_secs(61));
            world.pic.tick();
        });
        let jobs = all.iter().filter(|message: &&MessageCost| message.entry == "update").count();
        assert!(
            jobs <= 4,
            "round {round}: sweep, watch, the key of tokens and one that follows, but there are {jobs}"
        );
    }
    world.settle(|stats| stats.memories == 0);
}

/// The caches that make all later calls cheaper are written again if the first attempt fails.
#[test]
fn type_tables_are_written_when_the_first_minute_is_lost() {
    if !is_embedded() {
        return;
    }
    for build in [Build::Legacy, Build::Direct] {
        let cost = |first_minute: fn(&InstalledCanister)| {
            let world = InstalledCanister::new(build);
            let capsule = world.capsule();
            first_minute(&world);
            minute(&world);
            minute(&world);
            begin_costs(&world, &capsule)
        };
        let usual = cost(minute);
        let lost = cost(|world| {
            // Enough for the jobs and too little for the tables.
            let cut = with_message_limit(world, 3_000_000, minute);
            assert!(!cut.is_empty(), "the tables were written");
        });
        assert!(lost < usual + usual / 10, "{build}: {lost} instead of {usual}");
    }
}
