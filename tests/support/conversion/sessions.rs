//! The first migration: a dozen sessions of layout 1.

use std::collections::BTreeMap;

use session_migrate::build::Build;
use upload_canister::migrate::open_storage;
use upload_canister::migrate::{self, Phase};
use upload_canister::session::Time;
use upload_canister::upload::RawRecord;

use super::{OneStep, Start};
use crate::support::InstalledCanister;
use crate::support::legacy_state::{CLIENTS, client, memory_of, small_image};

/// Number of sessions; the record of session 5 does not decode.
pub const SESSIONS: u64 = 12;

/// The records, indexes and counts of a canister: `legacy` has the keys of the legacy records, and `activity` is the
/// number of their activity entries.
#[derive(Debug, PartialEq)]
pub struct Dump {
    pub sessions: BTreeMap<u64, Vec<u8>>,
    pub metas: BTreeMap<u64, Vec<u8>>,
    pub legacy: Vec<u64>,
    pub activity: u64,
    pub quarantine: Vec<u64>,
    /// All sessions in the index, by last activity.
    pub by_activity: Vec<u64>,
    /// The sessions of each client.
    pub owned: Vec<Vec<u64>>,
    pub accounts: u64,
    pub bytes: u64,
    pub layout: Option<u16>,
    pub phase: Phase,
    /// Source units; converted, also on touch; quarantined; expired.
    pub counts: [u64; 4],
    /// Before and after the migration.
    pub digests: [[u8; 32]; 2],
}

/// The start of migration 1: a canister with [`SESSIONS`] legacy records.
#[derive(Clone, Copy, Debug)]
pub enum Sessions {
    /// On the legacy build, before the migration.
    Untouched,
    /// On the staged build, with every record counted and none converted.
    Counted,
}

impl Start for Sessions {
    const BUILD: Build = Build::Staged;

    type Dump = Dump;

    fn canister(self) -> InstalledCanister {
        let build = match self {
            Sessions::Untouched => Build::Legacy,
            Sessions::Counted => Build::Staged,
        };
        let mut canister = InstalledCanister::empty(build);
        let now = canister.pic.get_time().as_nanos_since_unix_epoch();
        let (bytes, _) = small_image(SESSIONS, now);
        let raw = memory_of(&bytes);
        let mut storage = open_storage(raw.clone()).unwrap();
        storage.sessions.legacy.insert(5, &RawRecord(b"rubbish".to_vec()));
        if let Sessions::Counted = self {
            while storage.migration.state().unwrap().phase != Phase::Converting {
                migrate::run(&mut storage, Time::from_nanos(now), &OneStep, 0).unwrap();
            }
        }
        let mut state = storage.migration.state().unwrap();
        state.pace.limit = 1;
        storage.migration.set_state(1, &state);
        drop(storage);
        canister.set_stable_memory(&raw);
        if let Sessions::Untouched = self {
            canister.upgrade(build);
        }
        canister
    }

    fn dump(canister: &InstalledCanister) -> Dump {
        let storage = open_storage(canister.stable_memory()).unwrap();
        let tables = &storage.sessions;
        let state = storage.migration.state().unwrap();
        Dump {
            sessions: tables
                .sessions
                .keys(..)
                .map(|id| (id, tables.sessions.get_raw(&id).unwrap()))
                .collect(),
            metas: tables.metas.keys(..).map(|id| (id, tables.metas.get_raw(&id).unwrap())).collect(),
            legacy: tables.legacy.keys_after(None).collect(),
            activity: tables.legacy.activity_count(),
            quarantine: storage.migration.quarantine.keys(1, None, 99),
            by_activity: storage
                .index
                .idle_since(Time::from_nanos(u64::MAX), 99)
                .into_iter()
                .map(|(_, id)| id.0)
                .collect(),
            owned: (0..CLIENTS.min(SESSIONS))
                .map(|n| storage.index.sessions_of(client(n), None, 99).into_iter().map(|id| id.0).collect())
                .collect(),
            accounts: storage.usage.account_count(),
            bytes: storage.usage.total().unwrap(),
            layout: storage.layout.get().unwrap().map(|layout| layout.0),
            phase: state.phase,
            counts: [state.source, state.converted + state.already, state.quarantined, state.expired],
            digests: [state.digest_before.to_bytes(), state.digest_after.to_bytes()],
        }
    }
}
