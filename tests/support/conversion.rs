//! A dozen sessions of layout 1 that are converted on real wasm, so few in a message that it takes many, and what comes
//! of it.

use std::collections::BTreeMap;
use std::time::Duration;

use candid::Principal;
use pocket_ic::common::rest::BlobCompression;
use session_migrate::build::Build;
use upload_canister::api::{MigrationPhase, MigrationStatus};
use upload_canister::meter::Meter;
use upload_canister::migrate::{self, Phase};
use upload_canister::session::Time;
use upload_canister::storage::Storage;
use upload_canister::upload::RawRecord;

use super::legacy_state::{CLIENTS, client, memory_of, small_image};
use super::{World, controller};

/// Sessions, one of which does not decode.
pub const SESSIONS: u64 = 12;

/// Everything that the migration makes, and what it counted; not how many messages that took.
#[derive(Debug, PartialEq)]
pub struct Dump {
    pub sessions: BTreeMap<u64, Vec<u8>>,
    pub metas: BTreeMap<u64, Vec<u8>>,
    pub legacy: Vec<u64>,
    pub activity: u64,
    pub quarantine: Vec<u64>,
    pub idle: Vec<u64>,
    pub owned: Vec<Vec<u64>>,
    pub accounts: u64,
    pub bytes: u64,
    pub layout: Option<u16>,
    pub phase: Phase,
    pub counts: [u64; 4],
    pub digests: [[u8; 32]; 2],
}

pub fn dump(world: &World) -> Dump {
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
pub enum Start {
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
pub fn world(start: Start) -> World {
    let build = match start {
        Start::Untouched => Build::Legacy,
        Start::Counted => Build::Staged,
    };
    let mut world = World::new(build);
    let now = world.pic.get_time().as_nanos_since_unix_epoch();
    let (bytes, _) = small_image(SESSIONS, now);
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

pub fn status(world: &World) -> MigrationStatus {
    world.query::<MigrationStatus>(Principal::anonymous(), "migration_status", ()).unwrap()
}

/// Lets the engine work until it has nothing to do.
pub fn settle(world: &World) -> MigrationStatus {
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

pub fn control(world: &World, method: &str) -> MigrationStatus {
    world.update(controller(), method, ()).unwrap_or_else(|error| panic!("{method}: {error}"))
}

/// Upgrades to the staged build and lets the engine have `k` messages more.
pub fn after(start: Start, k: u32) -> World {
    let mut world = world(start);
    world.try_upgrade(Build::Staged).unwrap();
    world.build = Build::Staged;
    for _ in 0..k {
        world.pic.tick();
    }
    world
}

/// Messages that the migration takes when nobody interrupts it.
pub fn messages(start: Start) -> u32 {
    let world = after(start, 0);
    let mut messages = 0;
    while status(&world).phase != MigrationPhase::Converted {
        world.pic.tick();
        messages += 1;
        assert!(messages < 40, "{:?}", status(&world));
    }
    messages
}
