//! The migration interrupted between any two of its messages, on real wasm: what it ends in is the same.
//!
//! The sessions lie in stable memory from the start, with a pace of one unit in the first message, so that a dozen
//! sessions take a message each time the pace doubles. A message on the IC happens as a whole or not at all: what is
//! inside of one is cut in the native tests of the engine, trap included.

#[path = "support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::time::Duration;

use candid::Principal;
use pocket_ic::common::rest::BlobCompression;
use session_migrate::build::Build;
use support::legacy_state::{CLIENTS, client, image, memory_of};
use support::{World, controller};
use upload_canister::api::{MigrationPhase, MigrationStatus};
use upload_canister::meter::Meter;
use upload_canister::migrate::{self, Phase};
use upload_canister::session::Time;
use upload_canister::storage::Storage;
use upload_canister::upload::RawRecord;

const SESSIONS: u64 = 12;

/// Everything that the migration makes, and what it counted; not how many messages that took.
#[derive(Debug, PartialEq)]
struct Dump {
    sessions: BTreeMap<u64, Vec<u8>>,
    metas: BTreeMap<u64, Vec<u8>>,
    legacy: Vec<u64>,
    activity: u64,
    quarantine: Vec<u64>,
    idle: Vec<u64>,
    owned: Vec<Vec<u64>>,
    accounts: u64,
    bytes: u64,
    layout: Option<u16>,
    phase: Phase,
    counts: [u64; 4],
    digests: [[u8; 32]; 2],
}

fn dump(world: &World) -> Dump {
    let raw = memory_of(&world.pic.get_stable_memory(world.id));
    let storage = Storage::open_existing(raw).unwrap();
    let tables = &storage.sessions;
    let state = storage.migration.state().unwrap();
    Dump {
        sessions: tables.sessions.keys(..).map(|id| (id, tables.sessions.get_raw(&id).unwrap())).collect(),
        metas: tables.metas.keys(..).map(|id| (id, tables.metas.get_raw(&id).unwrap())).collect(),
        legacy: tables.legacy.keys_after(None).collect(),
        activity: tables.legacy.notes(),
        quarantine: storage.migration.quarantine.keys(1, None, 99),
        idle: storage.index.idle_since(Time::from_nanos(u64::MAX), 99).into_iter().map(|id| id.0).collect(),
        owned: (0..CLIENTS.min(SESSIONS))
            .map(|n| storage.index.of(client(n), None, 99).into_iter().map(|id| id.0).collect())
            .collect(),
        accounts: storage.usage.accounts(),
        bytes: storage.usage.total().unwrap(),
        layout: storage.layout.get().unwrap().map(|layout| layout.0),
        phase: state.phase,
        counts: [state.source, state.converted + state.already, state.quarantined, state.expired],
        digests: [state.digest_before.to_bytes(), state.digest_after.to_bytes()],
    }
}

/// Where a run begins: each takes a unit in its first message, two in the next, and so on.
#[derive(Clone, Copy, Debug)]
enum Start {
    /// On the legacy build, before anything.
    Untouched,
    /// On the staged build, with every record counted and none converted.
    Counted,
}

/// A message that has room for one step.
struct OneStep;

impl Meter for OneStep {
    fn used(&self) -> u64 {
        1
    }
}

/// A canister with sessions, one of which cannot be converted.
fn world(start: Start) -> World {
    let build = match start {
        Start::Untouched => Build::Legacy,
        Start::Counted => Build::Staged,
    };
    let mut world = World::new(build);
    let now = world.pic.get_time().as_nanos_since_unix_epoch();
    let (bytes, _) = image(SESSIONS, now);
    let raw = memory_of(&bytes);
    let mut storage = Storage::open_existing(raw.clone()).unwrap();
    storage.sessions.legacy.insert(5, &RawRecord(b"rubbish".to_vec()));
    if let Start::Counted = start {
        while storage.migration.state().unwrap().phase != Phase::Converting {
            migrate::run(&mut storage, Time::from_nanos(now), &OneStep, 0).unwrap();
        }
    }
    let mut state = storage.migration.state().unwrap();
    state.pace.limit = 1;
    storage.migration.set_state(1, &state);
    drop(storage);
    let bytes = raw.borrow().clone();
    world.pic.set_stable_memory(world.id, bytes, BlobCompression::NoCompression);
    if let Start::Untouched = start {
        world.upgrade(build);
    }
    world
}

fn status(world: &World) -> MigrationStatus {
    world.query::<MigrationStatus>(Principal::anonymous(), "migration_status", ()).unwrap()
}

/// Lets the engine work until it has nothing to do.
fn settle(world: &World) -> MigrationStatus {
    for _ in 0..40 {
        let now = status(world);
        if matches!(now.phase, MigrationPhase::Converted | MigrationPhase::RolledBack | MigrationPhase::Stuck)
        {
            return now;
        }
        world.pic.advance_time(Duration::from_secs(61));
        world.pic.tick();
        world.pic.tick();
    }
    panic!("the migration does not get there: {:?}", status(world));
}

fn control(world: &World, method: &str) -> MigrationStatus {
    world.update(controller(), method, ()).unwrap_or_else(|error| panic!("{method}: {error}"))
}

/// Upgrades to the staged build and lets the engine have `k` messages more.
fn after(start: Start, k: u32) -> World {
    let mut world = world(start);
    world.try_upgrade(Build::Staged).unwrap();
    world.build = Build::Staged;
    for _ in 0..k {
        world.pic.tick();
    }
    world
}

/// Messages that the migration takes when nobody interrupts it.
fn messages(start: Start) -> u32 {
    let world = after(start, 0);
    let mut messages = 0;
    while status(&world).phase != MigrationPhase::Converted {
        world.pic.tick();
        messages += 1;
        assert!(messages < 40, "{:?}", status(&world));
    }
    messages
}

type Interruption = fn(&mut World);

const INTERRUPTIONS: &[(&str, Interruption)] = &[
    ("an upgrade to the same build", |world| world.try_upgrade(Build::Staged).unwrap()),
    ("an upgrade to the next build", |world| world.try_upgrade(Build::Direct).unwrap()),
    ("a downgrade", |world| {
        // Refused from the first conversion on; before that nothing has happened yet.
        let refused = world.try_upgrade(Build::Legacy);
        let layout = status(world).layout;
        assert_eq!(refused.is_err(), layout == 2, "layout {layout}: {refused:?}");
        if refused.is_ok() {
            world.try_upgrade(Build::Staged).unwrap();
        }
    }),
    ("a stop and a start", |world| {
        world.pic.stop_canister(world.id, Some(controller())).unwrap();
        world.pic.tick();
        world.pic.start_canister(world.id, Some(controller())).unwrap();
    }),
    ("a pause", |world| {
        if matches!(status(world).phase, MigrationPhase::Validating | MigrationPhase::Converting) {
            assert_eq!(control(world, "migration_pause").phase, MigrationPhase::Paused);
            let paused = status(world);
            world.pic.advance_time(Duration::from_secs(61));
            world.pic.tick();
            assert_eq!(status(world), paused, "a pause holds");
            control(world, "migration_resume");
        }
    }),
    ("a rollback", |world| {
        control(world, "migration_rollback");
        assert_eq!(settle(world).phase, MigrationPhase::RolledBack);
        control(world, "migration_resume");
    }),
    ("want of cycles", |world| {
        let settings = |threshold: u64| pocket_ic::CanisterSettings {
            freezing_threshold: Some(threshold.into()),
            ..Default::default()
        };
        let set = |world: &World, threshold| {
            world.pic.update_canister_settings(world.id, Some(controller()), settings(threshold)).unwrap();
        };
        set(world, u64::MAX >> 1);
        world.pic.advance_time(Duration::from_secs(61));
        world.pic.tick();
        set(world, 2_592_000);
    }),
];

fn interrupted_everywhere(start: Start) {
    let messages = messages(start);
    assert!(messages >= 3, "{messages} messages leave nothing to interrupt");
    let undisturbed = after(start, 0);
    assert_eq!(settle(&undisturbed).phase, MigrationPhase::Converted);
    let expected = dump(&undisturbed);
    assert_eq!((expected.counts, expected.quarantine.len()), ([SESSIONS, SESSIONS - 1, 1, 0], 1));
    for (what, interrupt) in INTERRUPTIONS {
        for k in 0..=messages {
            let mut world = after(start, k);
            interrupt(&mut world);
            let state = settle(&world);
            assert_eq!(state.phase, MigrationPhase::Converted, "{what} after {k} messages: {}", state.note);
            assert_eq!(dump(&world), expected, "{what} after {k} messages");
        }
    }
}

#[test]
fn whatever_interrupts_the_counting_it_ends_in_the_same_state() {
    interrupted_everywhere(Start::Untouched);
}

#[test]
fn whatever_interrupts_the_conversion_it_ends_in_the_same_state() {
    interrupted_everywhere(Start::Counted);
}

/// The direct build cannot serve layout 1: an upgrade to it after a rollback, or in the middle of one, turns round.
#[test]
fn the_next_build_goes_forward_from_a_rollback() {
    let undisturbed = after(Start::Untouched, 0);
    settle(&undisturbed);
    let expected = dump(&undisturbed);
    let world = after(Start::Counted, 1);
    control(&world, "migration_rollback");
    world.try_upgrade(Build::Direct).unwrap();
    assert_eq!(settle(&world).phase, MigrationPhase::Converted);
    let found = dump(&world);
    assert_eq!(
        (found.sessions, found.metas, found.quarantine),
        (expected.sessions, expected.metas, expected.quarantine)
    );
    assert_eq!((found.legacy, found.idle, found.owned), (expected.legacy, expected.idle, expected.owned));
}
